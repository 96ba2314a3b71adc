# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 1
#     section: '3.1'
#     setups:
#     - fig1_left
#     - fig1_right
#     - fig1_right_signs
#     title: Independent students
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
# # Independent students: the same error, different functions
#
# *Section 3.1 and Fig. 1 of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1). Claims C1–C5.*
#
# **What you'll do.** Train pairs of students, identical but for their random start and the order of their examples, on
# handwritten digits and on a random teacher; then ask the two students of a pair the same questions.
#
# **What you'll learn.** On digits, both students get equally good and agree on digits, yet compute functions that differ
# wildly elsewhere in input space. With a random teacher on Gaussian inputs nothing of the kind happens.
#
# **What you'll need.** `quick`: half a minute on one core, 0.7 GB. `paper`: seconds, because its runs are stored; a quarter of an hour on two cores and 1 GB to compute them anew.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student widths K (None: the profile's)
n_pairs: int = None  # pairs of students per width (None: the profile's)
n_draws: int = None  # draws of inputs and teacher (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
activation: str = "erf"  # of the students: erf, relu, identity or quadratic
n_inputs: int = None  # N of the Gaussian inputs (None: the profile's)
teacher_width: int = 4  # M
n_train: int = None  # P (None: 76N)
labels: str = None  # labels of the teacher task: real or sign (None: both are shown)
layers: str = "both"  # layers that are trained: both or first
data: str = "auto"  # handwritten digits: auto, mnist or digits
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np
from IPython.display import Markdown, display

from hmm_utils import claims, directions, experiments, figures, observables, paper, paper_figures, sweep, training

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, activation=activation, n_inputs=n_inputs,
    teacher_width=teacher_width, n_train=n_train, labels=labels, layers=layers, data=data, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig1_left", "fig1_right", "fig1_right_signs"], profile, chosen)

# %% [markdown]
# ## The experiment
#
# Two students with $K$ hidden units start from independent random weights and are trained with one-sample SGD (learning rate
# $\eta$) to say whether a digit is odd or even, until their test error has settled. Three numbers are read off:
#
# * $\epsilon_g^{\rm frac}$, the fraction of test images a student gets wrong (averaged over the pair);
# * $\epsilon_{1,2}^{\rm frac}$ on the test images: how often the two disagree *in the world of the data*;
# * $\epsilon_{1,2}^{\rm frac}$ on Gaussian inputs: how often they disagree *anywhere in $\mathbb R^N$*.
#
# The control experiment replaces the digits by Gaussian inputs and the labels by a random teacher with $M$ hidden units.
#
# > **Which labels?** The caption of Fig. 1 says "teacher labels $y_i^*$ (Eq. 4)", and Eq. (4) gives real numbers;
# > Section 2.1 and the caption of Fig. 3 speak of binary classification, with the teacher's *sign* as label. The middle panel
# > trains on real labels, the right one on signs. The difference turns out to decide claim C4.
# >
# > Fig. 1's caption also writes $P^*=76N$ where the other captions write $P=76N$: the size of the training set is meant.

# %%
results = sweep.load_or_run(plan, device=device)
digits = results["fig1_left"]
if digits.attrs["notice"]:
    display(Markdown(f"> **Notice.** {digits.attrs['notice']}"))

# %% [markdown]
# ## Figure 1

# %%
figure = paper_figures.fig1(results)
figures.save(figure, "fig1", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C1", "C2", "C3", "C4", "C5"]
stored = paper.stored_runs()
figure = paper_figures.fig1(stored)
figures.save(figure, "fig1_paper", out)

# %% [markdown]
# **At full scale.** *Left:* as in the paper. The error falls from 9 % to 3 %, the disagreement on images follows it, and the disagreement on
# noise stays near 0.37 from $K=3$ on: "increasing with $K$" is true of narrow students. *Middle:* the three errors fall together, to about half a
# per cent for $K\ge M$, and are still falling when the runs end. *Right:* on signs, no student with any $K$ is better than a student with $K=1$.
#
# **Reading the figure.** *Left:* wider students make fewer mistakes (blue), and on images they contradict each other about as
# often as they err (orange). But feed both the same noise and their answers drift apart, the more the wider they are
# (green): digits fix what a student does on digits, and leave it free elsewhere. *Middle and right:* with a teacher on
# Gaussian inputs there is no elsewhere. Green and orange lie on top of each other, and where the student has at least as
# many units as the teacher, all three go to zero together, provided it was shown the teacher's real outputs. Trained on
# signs, the students agree on one function, but it is not quite the teacher's: no finite erf network outputs exactly ±1,
# and the squared error keeps paying for that.
#
# ## Where the freedom sits
#
# A step of SGD adds a multiple of an input to $\mathbf w_k$. So training moves weights along directions that inputs have, far where inputs vary
# much and little where they vary little, and not at all where no input has a component. `directions.compare` takes the students of one
# pair apart along the eigenvectors of $\frac1P\mathbf X^\top\mathbf X$: the few that hold 90 % of the length of the inputs, all others, and those with
# eigenvalue zero. (These live at the rim: pixels that are background in every digit always have the same value, and what adds up to zero
# over such pixels is orthogonal to all digits.) The weights before training are drawn anew; they follow from the seed.

# %%
K, one = 4 if 4 in digits["width"] else int(digits["width"][0]), digits.isel(draw=0)
before, after = ([of(one, width=K, student=s) for s in (1, 2)] for of in (experiments.start, training.student))
found = directions.compare(before, after, experiments.train_inputs(one))
side = int(digits.attrs["n_inputs"] ** 0.5)
figure = figures.first_layers(found, (side, side))
figures.save(figure, "fig1_weights", out)

# %%
figure = figures.parts(found)
figures.save(figure, "fig1_weights_by_direction", out)

# %%
rng = np.random.default_rng((seed, 7))
directions.summary(found, after, n=4000, rng=rng).to_pandas().round(2)

# %% [markdown]
# (A row per part: the number of directions; their share of the inputs' squared length and of $|\mathbf w_k|^2$, before and after training; the cosine
# of $\mathbf w_k$ in this part with its start, and with the unit of the other student; and $\epsilon_{1,2}$ on noise that has components in these
# directions alone.)
#
# **Reading the figures.** Where digits vary most the random start is gone, and for most units of one student there is a unit of the other that has
# found the same strokes, in a random order and with a random sign. In all other directions, which are more than nine in ten, the weights at the end
# are still mostly the ones that were drawn, and two students have nothing in common. On digits that is no harm, since hardly anything of an
# input lies there. Gaussian noise has as much in one direction as in any other. Noise in the directions that no digit has gets answers from the
# dice that were thrown at the start: the students disagree in half of all cases.
#
# The same from the stored students, which were trained until $t=10\,000$:

# %%
one = stored["fig1_left"].isel(draw=0)
if digits.attrs["n_inputs"] == one.attrs["n_inputs"]:
    before, after = ([of(one, width=4, student=s) for s in (1, 2)] for of in (experiments.start, training.student))
    found = directions.compare(before, after, experiments.train_inputs(one))
    display(directions.summary(found, after, n=4000, rng=rng).to_pandas().round(2))
else:
    print("They were trained on MNIST, whose images are not used here.")

# %% [markdown]
# Thirty times longer, and training has reached the directions in which digits vary little. Those that no digit has it can never reach.

# %% [markdown]
# ## Verdicts
#
# Intervals are 95 % confidence intervals over independent runs. A verdict speaks about the runs above, at their scale.

# %%
verdicts = claims.judge("01_independent_students", results)
claims.save(verdicts, "01_independent_students", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("01_independent_students", stored)

# %% [markdown]
# ## The same on the smallest data set that shows it
#
# The 8×8 digits that come with scikit-learn ($N=64$, 1347 training images) need no download and two seconds. All that is
# said about MNIST above can be seen on them; these printed lines are compared with a fresh run whenever the notebook is tested.

# %% tags=["nbval-check-output"]
small = experiments.experiment(
    "fig1_left", data="digits", widths=[1, 4, 8], n_pairs=8, time=1000, n_times=5, seed=1
)
final = observables.final(experiments.run_experiment(small, progress=False).isel(draw=0)).mean("init")
eps_g = final["eps_g_frac"].mean("student")
on_digits, on_noise = (final["eps_12_frac"].sel(inputs=where) for where in ("test", "gauss"))
print("ε_g falls from K = 1 to K = 8 by more than a factor of two:", bool(eps_g[0] > 2 * eps_g[-1]))
print("K = 8: disagreement on digits within a factor of three of ε_g:", bool(1 / 3 < on_digits[-1] / eps_g[-1] < 3))
print("K = 8: disagreement on noise more than five times that on digits:", bool(on_noise[-1] > 5 * on_digits[-1]))
print("disagreement on noise at K = 8 more than twice that at K = 1:", bool(on_noise[-1] > 2 * on_noise[0]))

# %% tags=["nbval-check-output"]
tiny = dict(n_inputs=50, widths=[1, 4], n_pairs=4, n_draws=4, time=6000, n_times=5)
for labels_of_teacher in ("real", "sign"):
    run = experiments.experiment("fig1_right", labels=labels_of_teacher, **tiny)
    eps_g = observables.final(experiments.run_experiment(run, progress=False)["eps_g_mse"]).mean(["draw", "init", "student"])
    much_better = bool(eps_g.sel(width=4) < eps_g.sel(width=1) / 5)
    print(f"{labels_of_teacher} labels: with K = M the mean squared error is less than a fifth of that with K = 1: {much_better}")

# %% [markdown]
# ## Change it
#
# ```
# hmm run 01_independent_students -p widths "[2, 4, 16]" -p time 1000 --out more-width
# hmm run 01_independent_students -p teacher_width 2 -p layers first --out small-teacher
# papermill 01_independent_students.ipynb relu.ipynb -p activation relu -p lr 0.1
# ```
#
# **Next:** [02 — plateaus](02_plateaus.ipynb).
