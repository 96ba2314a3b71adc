# ---
# jupyter:
#   hidden_manifold:
#     figures:
#     - Fig. 5
#     - Fig. 6
#     section: A
#     setups:
#     - fig5_teacher
#     - fig5_latent
#     - fig6_latent
#     - fig6_teacher
#     title: The data-generating function
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
# # The data-generating function: any fold will do, no fold will not
#
# *Appendix A of [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1): Figs. 5 and 6. Claims C13 and C14.*
#
# **What you'll do.** Repeat the experiment of Fig. 3 with two other functions $f$: one that leaves the manifold flat, $f(x)=x$,
# and one that folds it in another way than the sign does, $f(x)=\max(0,x)$.
#
# **What you'll learn.** On a flat manifold two students disagree about everything off it, whatever they were taught; one line
# of linear algebra says why. Which non-linear $f$ folds the manifold matters little.
#
# **What you'll need.** `quick`: half a minute on one core, 0.6 GB. `paper`: seconds, because its runs are stored; a quarter of an hour on two cores and 1 GB to compute them anew.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student widths K (None: the profile's)
n_pairs: int = None  # pairs of students per width (None: the profile's)
n_draws: int = None  # draws of inputs, features and teacher (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
activation: str = "erf"  # of students and teachers: erf, relu, identity or quadratic
n_inputs: int = None  # N (None: the profile's)
n_latent: int = 10  # D, dimension of the hidden manifold
teacher_width: int = 1  # M
n_train: int = None  # P (None: 76N)
labels: str = None  # labels of all tasks: real or sign (None: real for teacher tasks, signs for latent tasks)
layers: str = "both"  # layers that are trained: both or first
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np

from hmm_utils import claims, experiments, figures, observables, paper, paper_figures, sweep, training

figures.use_style()
chosen = dict(
    widths=widths, n_pairs=n_pairs, n_draws=n_draws, lr=lr, time=time, activation=activation, n_inputs=n_inputs,
    n_latent=n_latent, teacher_width=teacher_width, n_train=n_train, labels=labels, layers=layers, seed=seed,
)  # fmt: skip
plan = experiments.plan(["fig5_teacher", "fig5_latent", "fig6_latent", "fig6_teacher"], profile, chosen)

# %% [markdown]
# ## Two questions about $f$
#
# Structured inputs are $\mathbf X=f(\mathbf{CF}/\sqrt D)$, Eq. (6), and in [notebook 03](03_hidden_manifold_model.ipynb) $f$ is the
# sign. Does it take a non-linear $f$, and if so, does it matter which? The paper tries
#
# $$\mathbf X=\mathbf{CF}\quad(8)\qquad\text{and}\qquad\mathbf X=\max(0,\mathbf{CF}),\quad(9)$$
#
# with $D=10$, $\eta=0.2$ and, other than in Fig. 3, one teacher unit ($M=1$) of second-layer weight $\tilde v^*_m=1$. (Eqs. 8 and 9
# leave out the $1/\sqrt D$ of Eq. 6. Standardised inputs are the same with and without, because $f(ax)=af(x)$ for these $f$ and $a>0$.)
#
# > **Where the text leaves a choice.**
# >
# > * Fig. 6 is announced as "same plot as Fig. 3", which has a teacher with $M=4$ on the right. Its caption states $M=1$ and
# >   weight 1; both panels use what is stated.
# > * The caption writes $\tilde v^*_m$, the symbol of latent teachers. Here the teachers of the left and the right panels have weight 1.
# > * Labels are not mentioned. As in Fig. 3, teacher labels are real numbers and latent labels signs.
# > * Appendix A calls the left panel of Fig. 5 the "vanilla" set-up. Its inputs are structured, Eq. (8), not i.i.d.

# %%
results = sweep.load_or_run(plan, device=device)

# %% [markdown]
# ## Figure 5: a manifold without a fold

# %%
figure = paper_figures.fig5(results)
figures.save(figure, "fig5", out)

# %% [markdown]
# ### At the paper's scale
#
# The same figure from the runs that are stored with the project, in `results/`. Nothing is trained here.

# %% tags=["C13"]
stored = paper.stored_runs()
figure = paper_figures.fig5(stored)
figures.save(figure, "fig5_paper", out)

# %% [markdown]
# **At full scale.** *Left:* as in the paper, two coins. *Right:* the disagreement on Gaussian inputs grows with $K$, to a quarter at $K=10$.
#
# **Reading the figure.** *Left:* both students have learnt the teacher to perfection, on the data. On Gaussian inputs they
# agree in half the cases, like two coins. *Right:* with latent labels they disagree on Gaussian inputs as well, less often than in
# half the cases, and more often the wider they are.
#
# **Why.** Every input is a combination of the $D$ rows of $\mathbf F$, and SGD adds multiples of inputs to $\mathbf w_k$. So the
# part of $\mathbf w_k$ inside the span of these rows learns, and the part outside stays where it was drawn. On the data only the inside
# counts. A Gaussian input sees all $N$ directions, most of which are outside. Take students with $K=1$:

# %% tags=["nbval-check-output"]
flat = experiments.experiment("fig5_teacher", n_inputs=100, n_latent=5, time=1000)
data_rng, train_rng = np.random.default_rng((1, 0)).spawn(2)
data_set = experiments.dataset(flat, rng=data_rng)
trained = training.train(data_set, widths=[1], time=1000, evaluate_at=[1000], rng=train_rng, progress=None)
w = np.concatenate([training.student(trained, width=1, student=s).W for s in (1, 2)])
F = data_set.inputs.features
inside = w @ np.linalg.pinv(F) @ F
for label, part in (("inside", inside), ("outside", w - inside)):
    cosine = abs(part[0] @ part[1]) / np.prod(np.linalg.norm(part, axis=1))
    print(f"{label} the span of F the weight vectors of the two students have a cosine of ±{cosine:.1f}")

# %% [markdown]
# **And the right panel?** With a linear $f$ the coordinates can be read off the inputs, $\mathbf c\propto\mathbf x\,\mathbf F^+$, and
# a latent task *is* a teacher task. What sets the panels apart are the labels: to come close to $\pm1$, an erf unit needs
# a large weight vector, its inside grows, and the outside weighs less. With real labels the right panel would be the left one:

# %% tags=["nbval-check-output"]
tiny = dict(n_inputs=100, n_latent=5, widths=[1], n_pairs=6, n_draws=2, time=3000, n_times=5)
for setup, kind in (("fig5_teacher", "real"), ("fig5_latent", "real"), ("fig5_latent", "sign")):
    run = experiments.run_experiment(experiments.experiment(setup, labels=kind, **tiny), progress=False)
    on_manifold, off = (
        observables.final(run["eps_12_frac"]).mean(["draw", "init", "width"]).sel(inputs=["test", "gauss"]).values
    )
    task = setup.removeprefix("fig5_")
    print(f"{task} task, {kind} labels: different on the data {on_manifold:.1f}, on Gaussian inputs {off:.1f}")

# %% [markdown]
# ## Figure 6: another fold

# %%
figure = paper_figures.fig6(results)
figures.save(figure, "fig6", out)

# %% [markdown]
# At the paper's scale:

# %% tags=["C14"]
figure = paper_figures.fig6(stored)
figures.save(figure, "fig6_paper", out)

# %% [markdown]
# **At full scale.** The fold by a ReLU leaves $\epsilon_g$ with teacher labels below half a per cent, but on Gaussian inputs wide students still differ in one
# answer of eight, and more than with latent labels: directions in which the inputs hardly vary have not been learnt at $t=10\,000$. So the two panels
# do not differ in kind here, as they do for the sign at the end of longer runs.
#
# **Reading the figure.** As with the sign: with latent labels (left) the students agree on the data and disagree on Gaussian inputs, the
# more the wider they are; with teacher labels (right) all three errors are small. A fold gives every direction some variance, so
# that none is left untouched for good. Some have little of it, which takes time: on Gaussian inputs the disagreement of wide students
# with teacher labels still falls at the end of the `quick` runs.
#
# ## Verdicts
#
# Intervals are 95 % confidence intervals over independent runs. A verdict speaks about the runs above, at their scale.

# %%
verdicts = claims.judge("A_data_generating_function", results)
claims.save(verdicts, "A_data_generating_function", out)
verdicts

# %% [markdown]
# And the verdicts on the stored runs, at the paper's scale:

# %%
claims.judge("A_data_generating_function", stored)

# %% [markdown]
# ## Change it
#
# ```
# hmm run A -p labels real --out same-panels
# hmm run A -p n_latent 50 --out more-directions
# papermill A_data_generating_function.ipynb wide.ipynb -p widths "[1, 16]"
# ```
#
# Other folds: `hmm run 03 -p f tanh`. **Next:** [B — plateau and asymptotic error](B_plateau_and_asymptotic_error.ipynb).
