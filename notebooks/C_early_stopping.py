# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 8
#     section: C
#     setups:
#     - fig1_left
#     - fig3_left
#     - fig3_right
#     title: Early stopping
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
# # Early stopping changes little
#
# *Appendix C of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1): Fig. 8. Claim C16.*
#
# **What you'll do.** Take the runs of Fig. 1 (left) and Fig. 3, and read off the best error on the way instead of the last one.
#
# **What you'll learn.** What was said about the ends of training holds for its best moments too: over-fitting is not what
# makes students agree on the data and disagree elsewhere.
#
# **What you'll need.** `quick`: 20 seconds on one core, 0.6 GB. `paper`: seconds, because its runs are stored; they are those of notebooks 01 and 03.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student widths K (None: the profile's)
n_pairs: int = None  # pairs of students per width (None: the profile's)
n_draws: int = None  # draws of inputs, features and teacher (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
n_times: int = None  # number of times at which errors are measured (None: the profile's)
activation: str = "erf"  # of students and teachers: erf, relu, identity or quadratic
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

from hmm_utils import claims, experiments, figures, paper, paper_figures, sweep
from hmm_utils.model.observables import early_stopping, final

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, n_times=n_times, activation=activation,
    n_inputs=n_inputs, n_latent=n_latent, f=f, teacher_width=teacher_width, n_train=n_train, labels=labels,
    layers=layers, data=data, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig1_left", "fig3_left", "fig3_right"], profile, chosen)

# %% [markdown]
# ## The experiment
#
# Nothing new is trained: the three set-ups are those of [notebook 01](01_independent_students.ipynb) (Fig. 1 left) and
# [notebook 03](03_hidden_manifold_model.ipynb) (Fig. 3), with $f=\mathrm{sgn}$, $D=10$, $\eta=0.2$. The asymptotic errors are replaced by
#
# $$\hat\epsilon^{\rm frac}=\min_t\,\epsilon^{\rm frac}(t),$$
#
# the minimum over the times at which errors were measured, taken for each student, or pair of students, by itself.
#
# > **Where the text leaves a choice.** It defines $\hat\epsilon$ for $\epsilon_g$ and says nothing about $\epsilon_{1,2}$. Here each of the
# > three curves has its own minimum. One could as well stop both students where $\epsilon_g$ is smallest and see how much they
# > disagree *there*; the last cell of this notebook does that.
# >
# > The caption of Fig. 8 calls two panels "Left". The teacher labels with $M=4$ are on the right.

# %%
results = sweep.load_or_run(plan, device=device)
if notice := results["fig1_left"].attrs["notice"]:
    display(Markdown(f"> **Notice.** {notice}"))

# %% [markdown]
# ## Figure 8

# %%
figure = paper_figures.fig8(results)
figures.save(figure, "fig8", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C16"]
stored = paper.stored_runs()
figure = paper_figures.fig8(stored)
figures.save(figure, "fig8_paper", out)

# %% [markdown]
# **At full scale.** The picture of the ends of training again. With latent labels the disagreement on Gaussian inputs is a little smaller and more
# regular; nothing else has moved.
#
# **Reading the figure.** The same picture as at the end of training. On digits (left) the error falls with $K$ and the disagreement on Gaussian
# inputs is many times that on images. With latent labels (centre) students agree on the data and disagree more elsewhere; with
# teacher labels (right) they agree everywhere once they are wide enough. How much lower are the minima than the ends?

# %%
for name, label in (("fig1_left", "digits"), ("fig3_left", "latent labels"), ("fig3_right", "teacher labels")):
    result = stored[name]
    eps_g, gauss = result["eps_g_frac"].mean("student"), result["eps_12_frac"].sel(inputs="gauss")
    for symbol, curve in (("ε_g", eps_g), ("ε₁,₂ on Gaussian inputs", gauss)):
        last, best = (value(curve).sel(width=curve["width"].max()).mean() for value in (final, early_stopping))
        print(f"{label}: {symbol} of the widest students {float(last):.3f} at the end, {float(best):.3f} at best")

# %% [markdown]
# ## Verdicts
#
# Intervals are 95 % confidence intervals over independent runs. A verdict speaks about the runs above, at their scale.

# %%
verdicts = claims.judge("C_early_stopping", results)
claims.save(verdicts, "C_early_stopping", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("C_early_stopping", stored)

# %% [markdown]
# ## Small and quick enough to check every time
#
# On the 8×8 digits of scikit-learn. In the last line both students are stopped where their mean $\epsilon_g$ is smallest.

# %% tags=["nbval-check-output"]
small = experiments.experiment("fig1_left", data="digits", widths=[1, 4, 8], n_pairs=8, time=1000, n_times=15)
run = experiments.run_experiment(small, progress=False).isel(draw=0)
eps_g, eps_12 = run["eps_g_frac"].mean("student"), run["eps_12_frac"]
best_g, best_12 = (early_stopping(curve).mean("init") for curve in (eps_g, eps_12))
there = eps_12.isel(time=eps_g.argmin("time")).mean("init").sel(width=8)
print("the best ε_g falls from K = 1 to K = 8 by more than a factor of two:", bool(best_g[0] > 2 * best_g[-1]))
noise, images = (float(best_12.sel(inputs=where, width=8)) for where in ("gauss", "test"))
print(f"K = 8: the smallest disagreement on noise is more than five times that on digits: {noise > 5 * images}")
noise, images = (float(there.sel(inputs=where)) for where in ("gauss", "test"))
print(f"K = 8: and so it is at the moment when ε_g is smallest: {noise > 5 * images}")

# %% [markdown]
# ## Change it
#
# ```
# hmm run C -p n_times 100 --out more-often
# hmm run C -p n_train 2000 --out few-examples
# papermill C_early_stopping.ipynb short.ipynb -p time 100
# ```
#
# **Next:** [D — as many features as inputs](D_extensive_features.ipynb), where early stopping does matter.
