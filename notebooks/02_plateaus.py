# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 2 left
#     section: '3.2'
#     setups:
#     - fig2_left_iid
#     - fig2_left_digits
#     title: Plateaus
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
# # Plateaus: when learning seems to stop
#
# *Section 3.2 and Fig. 2 (left) of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1). Claims C6 and C7.*
#
# **What you'll do.** Watch the test error *during* training, on a random teacher and on handwritten digits.
#
# **What you'll learn.** With a random teacher on Gaussian inputs the error falls, stands still for a long while, and drops
# once more. On digits it does not stand still. What happens in the network while the error waits.
#
# **What you'll need.** `quick`: half a minute on one core, 0.9 GB. `paper`: seconds, because its runs are stored; 5 minutes on two cores and 1 GB to compute them anew.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student width K, one entry (None: [3] as in the paper)
n_pairs: int = None  # pairs of students (None: the profile's)
n_draws: int = None  # draws of inputs and teacher (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
n_times: int = None  # number of times at which errors are measured (None: the profile's)
n_inputs: int = None  # N of the Gaussian inputs (None: the profile's)
teacher_width: int = 4  # M
n_train: int = None  # P (None: 76N)
labels: str = "real"  # labels of the teacher task: real or sign
layers: list = ["first", "both"]  # layers that are trained: first, both, or one run each
data: str = "auto"  # handwritten digits: auto, mnist or digits
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np
from IPython.display import Markdown, display

from hmm_utils import claims, experiments, figures, paper, paper_figures, play, sweep, training

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, n_times=n_times, n_inputs=n_inputs,
    teacher_width=teacher_width, n_train=n_train, labels=labels, layers=layers, data=data, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig2_left_iid", "fig2_left_digits"], profile, chosen)

# %% [markdown]
# ## The experiment
#
# The set-ups are those of [notebook 01](01_independent_students.ipynb), with students of $K=3$ units and a teacher of
# $M=4$; now $\epsilon_g^{\rm mse}$ is recorded at times spread evenly on a logarithmic axis. Time counts steps$/N$: in one unit
# of time a student sees $N$ examples. Each set-up is run twice, with the first layer trained alone (dashed; all second-layer
# weights are 1) and with both layers trained (solid).

# %%
results = sweep.load_or_run(plan, device=device)
modes = [layers] if isinstance(layers, str) else layers
if notice := results[f"fig2_left_digits/{modes[0]}"].attrs["notice"]:
    display(Markdown(f"> **Notice.** {notice}"))

# %% [markdown]
# ## Figure 2, left

# %%
figure = paper_figures.fig2_left(results, modes)
figures.save(figure, "fig2_left", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C6", "C7"]
stored = paper.stored_runs()
figure = paper_figures.fig2_left(stored)
figures.save(figure, "fig2_left_paper", out)

# %% [markdown]
# **At full scale.** With the first layer alone, all runs wait at the same height from $t\approx15$ to $t\approx500$, and then drop. With both layers there
# is no common plateau: five teachers with random second layers have five different ones, or none, and their mean slides down. On MNIST both
# curves bend once, for good, at an error twice as large as where the teacher task waits.
#
# **Reading the figure.** The paper draws the left panel; the right panel shows the same curves with a logarithmic error
# axis, where a plateau at a small error is as visible as one at a large error. The blue curves fall within a few units of
# time, stay nearly level for a decade or more, and fall again. The orange curves go down steadily: on a double logarithmic
# plot they are close to a straight line that bends once, for good.
#
# **What happens on the plateau?** The students first learn the best *linear* answer. For that all hidden units can do the
# same, and they do: each has about the same overlap $R_{km}=\mathbf w_k\cdot\mathbf w^*_m/N$ with every unit of the teacher. To get
# better they must break this symmetry and *specialise*, unit by unit, and near the symmetric point the force that
# drives them apart is weak. Below: overlaps of one student with its teacher, on the plateau and after it.

# %%
data_rng, train_rng = np.random.default_rng((seed, 0)).spawn(2)
run = experiments.experiment("fig2_left_iid", "quick", layers="first", teacher_width=3, n_inputs=200)
data_set = experiments.dataset(run, rng=data_rng)
overlaps = {}
for end in (3.0, 50.0, 3000.0):
    trained = training.train(
        data_set, widths=[3], time=end, layers="first", evaluate_at=[end], rng=np.random.default_rng(seed), progress=None
    )
    student = training.student(trained, width=3)
    overlaps[end] = student.W @ data_set.teacher.W.T / student.n_inputs
figure = figures.overlaps({f"time {end:g}": R for end, R in overlaps.items()})
figures.save(figure, "fig2_overlaps", out)

# %% [markdown]
# (Here $M=K=3$, so that each unit of the student can find one of the teacher. The three pictures are three moments of one
# run: the same seed, stopped at different times.)
#
# ## Watch it
#
# The same task, trained while you look. Press *train*: within a second $\epsilon_g$ comes to a stand, and all rows of $R$ look alike; when they
# part, the error drops. Which $K$, $M$ and $\eta$ make the wait longer, and which take it away?

# %%
vanilla = play.Settings(
    inputs="gaussian", task="teacher", labels="real", layers="first", width=3, teacher_width=3, time=3000.0, seed=seed
)
play.app(vanilla, controls=["width", "teacher_width", "lr", "seed"])

# %% [markdown]
# A run of it as a picture. All other choices are in [the playground](playground.ipynb).

# %%
figure = play.figure({"": play.train_pair(vanilla)})
figures.save(figure, "live_plateau", out)

# %% [markdown]
# ## Verdicts
#
# To judge a curve, one number measures how much it *steepens again after having been flat*: with the log–log slope
# $s(t)=-\mathrm d\ln\epsilon/\mathrm d\ln t$, the largest $s(t_2)-s(t_1)$ over $t_2>t_1$ with $s(t_1)$ below 0.25, once the error
# has fallen to a quarter. A curve that flattens for good scores 0.

# %%
verdicts = claims.judge("02_plateaus", results)
claims.save(verdicts, "02_plateaus", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("02_plateaus", stored)

# %% [markdown]
# ## Small and quick enough to check every time
#
# The printed lines of the next two cells are compared with a fresh run whenever the notebook is tested.

# %% tags=["nbval-check-output"]
diagonal = {end: np.sort(np.abs(R).max(axis=1) - np.median(np.abs(R), axis=1)).min() for end, R in overlaps.items()}
print("on the plateau every unit overlaps alike with all teacher units:", bool(diagonal[50.0] < 0.3))
print("after it every unit has found one teacher unit:", bool(diagonal[3000.0] > 0.5))

# %% tags=["nbval-check-output"]
small = dict(n_pairs=4, n_times=40, layers="first")
plateau = experiments.run_experiment(
    experiments.experiment("fig2_left_iid", n_inputs=200, time=1500, n_draws=1, **small), progress=False
)
none = experiments.run_experiment(experiments.experiment("fig2_left_digits", data="digits", time=300, **small), progress=False)
for label, result in (("teacher task", plateau), ("8×8 digits", none)):
    curve = result["eps_g_mse"].isel(width=0, time=slice(1, None))
    strength = claims.plateau_strength(curve["time"].values, np.log(curve).mean(["draw", "init", "student"]).values)
    print(f"{label}: a plateau, by the criterion above: {strength > claims.PLATEAU}")

# %% [markdown]
# ## Change it
#
# ```
# hmm run 02_plateaus -p n_inputs 500 -p time 3000 --out larger-N
# hmm run 02_plateaus -p teacher_width 2 -p widths "[2]" --out two-units
# papermill 02_plateaus.ipynb slow.ipynb -p lr 0.05
# ```
#
# **Next:** [03 — the hidden manifold model](03_hidden_manifold_model.ipynb).
