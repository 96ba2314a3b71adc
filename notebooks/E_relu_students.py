# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 10
#     section: E
#     setups:
#     - fig10_left
#     - fig10_latent
#     - fig10_teacher
#     title: ReLU students
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
# # Students with ReLU units
#
# *Appendix E of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1): Fig. 10. Claim C18.*
#
# **What you'll do.** Repeat Fig. 1 (left) and Fig. 3 with students of another kind: $g(x)=\max(0,x)$ and both layers trained, starting from
# weights near zero.
#
# **What you'll learn.** What carries over from sigmoidal students and what is harder to see, because a student that starts near zero keeps
# no random weights.
#
# **What you'll need.** `quick`: half a minute on one core, 0.6 GB. `paper`: seconds, because its runs are stored; 11 minutes on two cores and 1 GB to compute them anew.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student widths K (None: the profile's)
n_pairs: int = None  # pairs of students per width (None: the profile's)
n_draws: int = None  # draws of inputs, features and teacher (None: the profile's)
lr: float = 0.1  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
activation: str = "relu"  # of the students: erf, relu, identity or quadratic
init_scale: float = 0.001  # standard deviation of the initial weights
n_inputs: int = None  # N of structured inputs (None: the profile's)
n_latent: int = 10  # D, dimension of the hidden manifold
f: str = "sgn"  # non-linearity f of Eq. (6): sgn, relu, identity, erf, tanh, abs, …
teacher_width: int = None  # M (None: 1 for latent labels, 4 for teacher labels)
n_train: int = None  # P (None: 76N)
labels: str = None  # labels of the synthetic tasks: real or sign (None: signs for latent, real for teacher labels)
layers: str = "both"  # layers that are trained: both or first
data: str = "auto"  # handwritten digits: auto, mnist or digits
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
from IPython.display import Markdown, display

from hmm_utils import claims, experiments, figures, observables, paper, paper_figures, sweep, training

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, activation=activation, init_scale=init_scale,
    n_inputs=n_inputs, n_latent=n_latent, f=f, teacher_width=teacher_width, n_train=n_train, labels=labels,
    layers=layers, data=data, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig10_left", "fig10_latent", "fig10_teacher"], profile, chosen)

# %% [markdown]
# ## The experiment
#
# Digits, latent labels ($M=1$) and teacher labels ($M=4$), with $f=\mathrm{sgn}$ and $D=10$ as in Fig. 3. New are the activation, the
# learning rate $\eta=0.1$, and initial weights of variance $10^{-6}$ in both layers.
#
# > **Where the text leaves a choice.** Whether the teachers are ReLU networks as well is not said. For teacher labels they must be, or
# > no student could reach an error below $10^{-3}$. For latent labels with $M=1$ they cannot be: the sign of
# > $\tilde v\max(0,\tilde{\mathbf w}\cdot\mathbf c)$ is $+1$ for every $\mathbf c$ if $\tilde v>0$, which leaves nothing to learn. (If $\tilde v<0$ the
# > labels are those of an erf unit.) So the latent labels are the ones of Fig. 3, of an erf unit.
# >
# > The last sentence of Appendix E says that the disagreement of two students with latent labels exceeds their errors, without
# > saying on which inputs. We read it as on Gaussian ones, since it is said to be as on MNIST.

# %%
results = sweep.load_or_run(plan, device=device)
digits = results["fig10_left"]
if digits.attrs["notice"]:
    display(Markdown(f"> **Notice.** {digits.attrs['notice']}"))

# %% [markdown]
# ## Figure 10

# %%
figure = paper_figures.fig10(results)
figures.save(figure, "fig10", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C18"]
stored = paper.stored_runs()
figure = paper_figures.fig10(stored)
figures.save(figure, "fig10_paper", out)

# %% [markdown]
# **At full scale.** Ten initialisations, and long bars for narrow students: whether a student with $K\le3$ learns anything is a matter of the signs it started
# with. From $K=6$ on all three panels are as the text says, but for the teacher task: its errors are some per cent and not below $10^{-3}$.
#
# **Reading the figure.** *Left:* wide students make few mistakes on digits, contradict each other on digits less often than they err, and
# on Gaussian inputs far more often. *Centre:* from $K=4$ on, the same with latent labels: the disagreement on Gaussian inputs is above
# the error, that on structured inputs below. *Right:* with teacher labels all three fall together with $K$. The long bars of
# narrow students have a reason.
#
# **Signs that never change.** One step changes $v_k^2$ and $|\mathbf w_k|^2/N$ by the same amount, to first order in $\eta$,
# because $g(\lambda)=\lambda g'(\lambda)$ for a ReLU. Both start at about $10^{-6}$, so once a unit has grown, $v_k$ cannot
# cross zero any more: a unit adds or subtracts, and which of the two is decided early on. A student with $K=1$ and $v>0$
# says $+1$ to everything and errs in half of the cases. A student with $K=M$ can find the teacher only if it has as many positive
# and as many negative units. The paper's figure, too, has a finite error at $K=M=4$, owing to two runs of ten, which it calls
# slow. Runs with the wrong signs will not arrive at all.
#
# Where did the freedom of [notebook 01](01_independent_students.ipynb) go? There, pixels at the rim kept their random initial weights, and
# noise made them speak. Weights that start at $10^{-3}$ have little to say, and two students find some of the same features. What they
# disagree about on noise they have learnt:

# %%
K = 4 if 4 in digits["width"] else int(digits["width"][0])
side = int(digits.attrs["n_inputs"] ** 0.5)
pair = {f"student {s}": training.student(digits.isel(draw=0), width=K, student=s).W[:8] for s in (1, 2)}
figure = figures.weights(pair, (side, side))
figures.save(figure, "fig10_weights", out)

# %% [markdown]
# ## Verdicts
#
# Intervals are 95 % confidence intervals over independent runs. A verdict speaks about the runs above, at their scale.

# %%
verdicts = claims.judge("E_relu_students", results)
claims.save(verdicts, "E_relu_students", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("E_relu_students", stored)

# %% [markdown]
# ## Small and quick enough to check every time
#
# The printed lines are compared with a fresh run whenever the notebook is tested.

# %% tags=["nbval-check-output"]
small = experiments.experiment("fig10_left", data="digits", widths=[1, 8], n_pairs=8, time=2000, n_times=5)
final = observables.final(experiments.run_experiment(small, progress=False)).mean(["draw", "init"])
eps_g, noise = final["eps_g_frac"].mean("student"), final["eps_12_frac"].sel(inputs="gauss")
print("8×8 digits: ε_g falls from K = 1 to K = 8 by more than a factor of five:", bool(eps_g[0] > 5 * eps_g[1]))
print("K = 8: disagreement on noise more than three times ε_g:", bool(noise[1] > 3 * eps_g[1]))

# %% tags=["nbval-check-output"]
one_unit = experiments.experiment("fig10_latent", n_inputs=200, widths=[1], n_pairs=8, time=500, n_times=5)
run = experiments.run_experiment(one_unit, progress=False).isel(draw=0, width=0)
v, eps_g = run["v"].isel(hidden=0), observables.final(run["eps_g_frac"])
print(
    "K = 1, latent labels: students that add err in half of the cases:", bool(abs(eps_g.where(v > 0) - 0.5).max() < 0.1)
)
print("students that subtract err in less than a fifth:", bool(eps_g.where(v < 0).max() < 0.2))

# %% tags=["nbval-check-output"]
tiny = experiments.experiment("fig10_teacher", n_inputs=50, widths=[1, 8], n_pairs=4, n_draws=4, time=6000, n_times=5)
mse = observables.final(experiments.run_experiment(tiny, progress=False)["eps_g_mse"]).mean(["draw", "init", "student"])
print(
    "teacher labels: the mean squared error with K = 8 is less than a hundredth of that with K = 1:",
    bool(mse[1] < mse[0] / 100),
)

# %% [markdown]
# ## Change it
#
# ```
# hmm run E -p init_scale 1.0 --out large-start
# hmm run E -p time 5000 --out longer
# papermill E_relu_students.ipynb erf.ipynb -p activation erf -p lr 0.2
# ```
#
# **Back to** the [index](index.ipynb).
