# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 7
#     section: B
#     setups:
#     - fig7_latent
#     - fig7_teacher
#     title: Plateau and asymptotic error
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
# # A plateau is not a matter of how low the error can get
#
# *Appendix B of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1): Fig. 7. Claim C15.*
#
# **What you'll do.** Train one kind of student on two tasks, the hidden manifold model and the classic i.i.d. teacher, and follow the
# test error while they learn.
#
# **What you'll learn.** In [notebook 03](03_hidden_manifold_model.ipynb) the latent task has no plateau, and ends at a larger error.
# One could suspect that the plateau would lie below that error and is never seen. Here it would lie above, and still there is none.
#
# **What you'll need.** `quick`: 15 seconds on one core, 0.4 GB. `paper`: seconds, because its runs are stored; 3 minutes on two cores and 1 GB to compute them anew.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student width K, one entry (None: [6] as in the paper)
n_pairs: int = None  # pairs of students (None: the profile's)
n_draws: int = None  # draws of inputs, features and teacher (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
n_times: int = None  # number of times at which errors are measured (None: the profile's)
n_inputs: int = None  # N (None: the profile's)
n_latent: int = 10  # D, dimension of the hidden manifold
f: str = "relu"  # non-linearity f of Eq. (6): sgn, relu, identity, erf, tanh, abs, …
teacher_width: int = 5  # M
n_train: int = None  # P (None: 76N)
labels: str = "real"  # labels of both tasks: real or sign
layers: str = "first"  # layers that are trained: first or both
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np

from hmm_utils import claims, experiments, figures, paper, paper_figures, sweep

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, n_times=n_times, n_inputs=n_inputs, n_latent=n_latent,
    f=f, teacher_width=teacher_width, n_train=n_train, labels=labels, layers=layers, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig7_latent", "fig7_teacher"], profile, chosen)

# %% [markdown]
# ## The experiment
#
# Students with $K=6$ erf units and teachers with $M=5$; all second-layer weights are 1 and stay 1, the first layer is trained
# ($\eta=0.2$, $P=76N$). One task is the hidden manifold model with inputs $\mathbf X=\max(0,\mathbf{CF})$, $D=10$, and latent labels,
# Eq. (7). The other has i.i.d. Gaussian inputs and a teacher, Eq. (4). Labels are real numbers: the figure shows $\epsilon_g^{\rm mse}$.

# %%
results = sweep.load_or_run(plan, device=device)

# %% [markdown]
# ## Figure 7

# %%
figure = paper_figures.fig7(results)
figures.save(figure, "fig7", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C15"]
stored = paper.stored_runs()
figure = paper_figures.fig7(stored)
figures.save(figure, "fig7_paper", out)

# %% [markdown]
# **At full scale.** The orange curve stays between $0.1$ and $0.05$ for two decades and then falls, in nineteen students of twenty, to where single
# precision ends; one stays at $0.0014$ and makes the mean. The blue curve goes straight through the height of the plateau, to $0.0004$.
#
# **Reading the figure.** The dotted lines are the heights at which the curves end. With a teacher (orange) the error stays between $0.1$ and
# $0.05$ from about time 10 to time 500 and then collapses. With latent labels (blue) it goes down all the way, straight through
# the height of the orange plateau, and far below. So that height is not what keeps the blue curve from having a plateau.
#
# > **Where our curves differ from the text.** It says that both students end at the same error "within fluctuations". With the
# > stated parameters they pass through a common value of about $0.002$, near time 1500 for $N=250$. But a student with
# > $K>M$ units goes on to find the teacher, and its error to fall towards zero, while the latent task leaves a rest that
# > a student cannot learn. At the paper's scale the blue curve ends at $0.0004$, and most orange ones at zero.
# > The argument does not need equal ends. It needs a plateau above the blue curve's end, and that is what one sees.
#
# ## Verdicts
#
# How the strength of a plateau is measured is told in [notebook 02](02_plateaus.ipynb).

# %%
verdicts = claims.judge("B_plateau_and_asymptotic_error", results)
claims.save(verdicts, "B_plateau_and_asymptotic_error", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("B_plateau_and_asymptotic_error", stored)

# %% [markdown]
# ## Small and quick enough to check every time
#
# The printed lines are compared with a fresh run whenever the notebook is tested.

# %% tags=["nbval-check-output"]
small = dict(n_inputs=100, n_draws=1, n_pairs=4, time=3000, n_times=40)
curves = {}
for task in ("latent", "teacher"):
    run = experiments.run_experiment(experiments.experiment(f"fig7_{task}", **small), progress=False)
    error = run["eps_g_mse"].isel(draw=0, width=0).where(run["time"] > 0, drop=True)
    curves[task] = np.exp(np.log(error).mean(["init", "student"]))
    strength = claims.plateau_strength(error["time"].values, np.log(curves[task].values))
    print(f"{task} task: the error falls steeply again after a flat stretch: {strength > 0.3}")
waiting, end = float(curves["teacher"].sel(time=100, method="nearest")), float(curves["latent"].isel(time=-1))
print("the plateau with a teacher is at least twice as high as the end of the latent task:", waiting > 2 * end)

# %% [markdown]
# ## Change it
#
# ```
# hmm run B -p f sgn --out sign-fold
# hmm run B -p layers both --out both-layers
# papermill B_plateau_and_asymptotic_error.ipynb narrow.ipynb -p widths "[5]"
# ```
#
# **Next:** [C — early stopping](C_early_stopping.ipynb).
