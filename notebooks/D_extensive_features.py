# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 9
#     section: D
#     setups:
#     - fig9_latent
#     - fig9_teacher
#     title: As many features as inputs
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
# # As many features as inputs
#
# *Appendix D of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1): Fig. 9. Claim C17.*
#
# **What you'll do.** Repeat Fig. 3 with a manifold of half as many dimensions as there are inputs, $D=N/2$, and read off the error at the
# end of training and the best one on the way.
#
# **What you'll learn.** When the manifold is not low-dimensional, a latent label is hard to read off the inputs; wider students
# only over-fit more. Teacher labels do not care.
#
# **What you'll need.** `quick`: half a minute on one core, 0.6 GB. `paper`: seconds, because its runs are stored; 5 minutes on two cores and 1 GB to compute them anew.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student widths K (None: the profile's)
n_pairs: int = None  # pairs of students per width (None: the profile's)
n_draws: int = None  # draws of inputs, features and teacher (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
n_times: int = None  # number of times at which errors are measured (None: the profile's)
activation: str = "erf"  # of students and teachers: erf, relu, identity or quadratic
n_inputs: int = None  # N (None: the profile's)
n_latent: int = None  # D, dimension of the hidden manifold (None: half the profile's N)
f: str = "sgn"  # non-linearity f of Eq. (6): sgn, relu, identity, erf, tanh, abs, …
teacher_width: int = None  # M (None: 1 for latent labels, 4 for teacher labels)
n_train: int = None  # P (None: 76N)
labels: str = None  # labels of the tasks: real or sign (None: signs for latent, real for teacher labels)
layers: str = "both"  # layers that are trained: both or first
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
from hmm_utils import claims, experiments, figures, paper, paper_figures, sweep
from hmm_utils.model.observables import early_stopping, final

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, n_times=n_times, activation=activation,
    n_inputs=n_inputs, n_latent=n_latent, f=f, teacher_width=teacher_width, n_train=n_train, labels=labels,
    layers=layers, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig9_latent", "fig9_teacher"], profile, chosen)
low = experiments.plan(["fig3_left", "fig3_right"], profile, chosen | {"n_latent": None})

# %% [markdown]
# ## The experiment
#
# MNIST has $N=784$ pixels and, by several estimates, about 14 dimensions. Up to here $D=10$ stood for that. Now $D$ is *extensive*: the
# paper takes $N=500$ and $D=250$, with $f=\mathrm{sgn}$, erf students and $\eta=0.2$ as before. The `quick` profile keeps $D/N=1/2$ at
# $N=100$ and trains as long as the paper, because over-fitting takes time. $P=76N$ is not repeated under Fig. 9; it is that of all
# other figures.
#
# For comparison the runs of Fig. 3, with $D=10$, are made as well.

# %%
results = sweep.load_or_run(plan | {name: low[name] for name in ("fig3_left", "fig3_right")}, device=device)

# %% [markdown]
# ## Figure 9
#
# Top: the error at the end of training. Bottom: the smallest error on the way, as in [notebook C](C_early_stopping.ipynb).

# %%
figure = paper_figures.fig9(results)
figures.save(figure, "fig9", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C17"]
stored = paper.stored_runs()
figure = paper_figures.fig9(stored)
figures.save(figure, "fig9_paper", out)

# %% [markdown]
# **At full scale.** *Left, top:* the error grows with $K$, slowly ($0.195$ to $0.216$), and it is eight times what it is at $D=10$. *Left, bottom:* early
# stopping takes away nearly all of that growth, and fifteen draws see the small part that it leaves. *Right:* as at $D=10$, and wide students get there sooner.
#
# **Reading the figure.** *Left, top:* with latent labels one answer in five is wrong, and wide students do worse than narrow ones.
# *Left, bottom:* stopped in time, wide students do nearly as well as narrow ones, and those hardly better than they did at the
# end. So stopping early mends the over-fitting, most of it here and in part in the paper's figure, but not the error itself.
# *Right:* with teacher labels nothing has changed since Fig. 3, and early stopping makes no difference for $K\ge M$.
#
# How much higher the errors are than with $D=10$, averaged over widths:

# %%
for name, label in (("fig9_latent", "fig3_left"), ("fig9_teacher", "fig3_right")):
    extensive, few = (float(final(stored[key]["eps_g_frac"]).mean()) for key in (name, label))
    dimensions = [stored[key].attrs["n_latent"] for key in (name, label)]
    print(f"{plan[name].task} labels: {extensive:.3f} with D = {dimensions[0]}, {few:.3f} with D = {dimensions[1]}")

# %% [markdown]
# The learning curves show the over-fitting itself: the error of wide students has a minimum early on, and rises.

# %%
latent = stored["fig9_latent"]
narrow, wide = int(latent["width"].min()), int(latent["width"].max())
figure = figures.learning_curves({f"latent labels, K = {K}": {"both": latent.sel(width=[K])} for K in (narrow, wide)})
figures.save(figure, "fig9_curves", out)

# %% [markdown]
# A student sees $\mathbf x=\mathrm{sgn}(\mathbf{cF}/\sqrt D)$: $N$ signs from which to guess $D$ numbers. With $D=10$ there are 78 signs for each
# number, with $D=N/2$ there are two. What one layer of hidden units reads off them is coarse. The rest of the label looks like
# noise, and $KN$ weights learn some of the noise of $76N$ examples.
#
# ## Verdicts
#
# Intervals are 95 % confidence intervals over independent runs. A verdict speaks about the runs above, at their scale.

# %%
verdicts = claims.judge("D_extensive_features", results)
claims.save(verdicts, "D_extensive_features", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("D_extensive_features", stored)

# %% [markdown]
# ## Small and quick enough to check every time
#
# The printed lines are compared with a fresh run whenever the notebook is tested.

# %% tags=["nbval-check-output"]
small = dict(n_inputs=100, widths=[1, 8], n_pairs=3, n_draws=2, time=6000, n_times=12)
error = {}
for D in (5, 50):
    run = experiments.run_experiment(experiments.experiment("fig9_latent", n_latent=D, **small), progress=False)["eps_g_frac"]
    error[D] = {
        name: value(run).mean(["draw", "init", "student"]) for name, value in (("end", final), ("best", early_stopping))
    }
at_end, best = error[50]["end"], error[50]["best"]
print("N = 100: the error at D = 50 is more than four times that at D = 5:", bool((at_end > 4 * error[5]["end"]).all()))
print("D = 50: at the end students with K = 8 do worse than those with K = 1:", bool(at_end[1] > at_end[0]))
print(
    "D = 50: early stopping takes away most of that difference:", bool(best[1] - best[0] < (at_end[1] - at_end[0]) / 2)
)

# %% [markdown]
# ## Change it
#
# ```
# hmm run D -p n_latent 20 --out fewer-features
# hmm run D -p n_train 50000 --out many-examples
# papermill D_extensive_features.ipynb wide.ipynb -p widths "[1, 16]"
# ```
#
# **Next:** [E — ReLU students](E_relu_students.ipynb).
