# ---
# jupyter:
#   hidden_manifold:
#     parameters:
#     - inputs
#     - task
#     - width
#     title: A network to play with
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: hidden_manifold,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A network to play with
#
# *All set-ups of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1), and those between them.*
#
# **What you'll do.** Choose inputs, labels and a network, press *train*, and watch two students learn. Choose again, and compare.
#
# **What you'll learn.** Which of the two ingredients, structured inputs and latent labels, takes the plateau away and makes the students
# disagree off the manifold; and what learning rate, widths and the number of examples change about it.
#
# **What you'll need.** Seconds on one core, 0.4 GB (0.6 GB for MNIST). The curves are trained while you watch them: nothing is stored. `paper`: starts at $N=784$, where
# a training to the end takes a minute on one core, 0.6 GB.

# %% tags=["parameters"]
profile: str = "quick"  # scale at which the controls start: quick or paper
inputs: str = None  # inputs: gaussian, structured or digits (None: structured)
f: str = None  # non-linearity f of structured inputs, Eq. (6): sgn, relu, identity, erf, tanh, abs, … (None: sgn)
data: str = None  # handwritten digits: auto, mnist or digits (None: auto)
task: str = None  # where labels come from: teacher (on inputs), latent or own (None: latent)
labels: str = None  # labels of a teacher: sign or real (None: sign)
layers: str = None  # layers that are trained: both or first (None: both)
n_inputs: int = None  # N (None: the profile's)
n_latent: int = None  # D, dimension of the hidden manifold (None: 10)
n_train: int = None  # P (None: 76N, or all images there are)
width: int = None  # student width K (None: 4)
teacher_width: int = None  # M (None: 4)
lr: float = None  # learning rate (None: 0.2)
time: float = None  # end of training in steps/N (None: the profile's)
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures (empty: nothing is written)

# %%
from hmm_utils import experiments, figures, play

chosen = dict(
    inputs=inputs, f=f, data=data, task=task, labels=labels, layers=layers, n_inputs=n_inputs, n_latent=n_latent,
    n_train=n_train, width=width, teacher_width=teacher_width, lr=lr, time=time, seed=seed,
)  # fmt: skip
experiments.plan([], profile, chosen, extra_parameters=["inputs", "task", "width"])
settings = play.at_scale(profile, **chosen)

# %% [markdown]
# ## Choose, and press *train*

# %%
play.app(settings)

# %% [markdown]
# **What is drawn.** Left, the test error $\epsilon_g$ of Eq. (3) against time; one unit of time is $N$ steps, each on one example. In the middle,
# the part $\epsilon_{1,2}$ of inputs to which the two students give different signs, Eq. (5), on test inputs and on i.i.d. Gaussian
# ones; the dotted line is chance. Right, the order parameters of the first student, with the local fields
# $\lambda_k=\mathbf w_k\cdot\mathbf x/\sqrt N$ of its units and $\nu_m$ of the teacher's:
#
# $$Q_{kl}=\mathbb E\,\lambda_k\lambda_l,\qquad R_{km}=\mathbb E\,\lambda_k\nu_m.$$
#
# On the plateau all rows of $R$ look alike; after it every unit of the student has a unit of the teacher to itself.
#
# ## Things to try
#
# * **Make a plateau.** i.i.d. Gaussian inputs, *teacher on x*, real labels, first layer, $K=M=3$, end 3000. Then $K=M=2$, and a larger $\eta$.
# * **Take it away.** The same labels from a *teacher on latent c*, with structured inputs.
# * **Learn one function, or two.** Compare the dashed lines of a teacher on $\mathbf x$ and of a latent teacher; then try $f$ = identity, with which
#   the manifold is flat and the students know nothing about what is off it.
# * **Over-fit.** $N=200$, $D=100$, latent teacher, $P=5N$: the error has a minimum. Which width has the deepest one?
# * **Too fast.** Raise $\eta$ until a student diverges.
# * **Digits.** Real images with their own labels. Which of the curves above do they look like?
#
# ## The same without a reader
#
# What the button does, in two lines: a short training, with the numbers that `training.train` gives for it.

# %%
trained = play.train_pair(settings)
figure = play.figure({"": trained})
figures.save(figure, "playground", out)

# %% tags=["nbval-check-output"]
curve = trained["eps_g_mse"].mean("student")
print("the students have learnt:", bool(curve[-1] < 0.5 * curve[0]))
print("they agree better on test inputs than on Gaussian ones:", bool(trained["eps_12_frac"][0, -1] < trained["eps_12_frac"][1, -1]))

# %% [markdown]
# ## Change it
#
# ```
# make play                                                             # this page without its code, in a browser
# hmm run playground -p inputs gaussian -p task teacher --out vanilla
# papermill playground.ipynb fast.ipynb -p lr 1.0
# ```
#
# **Next:** [the paper on one page](index.ipynb).
