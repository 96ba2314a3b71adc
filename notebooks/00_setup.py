# ---
# jupyter:
#   hidden_manifold:
#     measurements:
#     - intrinsic_dimension
#     section: '2'
#     setups:
#     - vanilla
#     title: 'Setup: networks, SGD, errors, data'
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
# # Setup: networks, SGD, errors, data
#
# *Section 2 of [Goldt, Mézard, Krzakala, Zdeborová, arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1). Claim C19.*
#
# **What you'll do.** Meet everything the experiments are made of: the two-layer network, one-sample SGD, the two errors,
# and the kinds of data. Estimate how many dimensions handwritten digits have. Train a first pair of students.
#
# **What you'll learn.** What exactly is computed where the text leaves it open, and three places where the printed
# formulas do not say what the numbers are.
#
# **What you'll need.** Nothing: a quarter of a minute and 0.8 GB with the `quick` profile; a few minutes and 1.4 GB with `paper` on two cores (extrapolated).

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
widths: list = None  # student widths K (None: the profile's)
n_pairs: int = None  # pairs of students per width (None: the profile's)
lr: float = 0.2  # learning rate
time: float = None  # end of training in steps/N (None: the profile's)
n_inputs: int = None  # N of synthetic inputs (None: the profile's)
n_latent: int = 10  # D, dimension of the hidden manifold in the pictures
f: str = "sgn"  # non-linearity of structured inputs in the pictures
teacher_width: int = 4  # M
n_train: int = None  # P (None: 76N)
labels: str = "real"  # labels of the teacher task: real or sign
layers: str = "both"  # layers that are trained: both or first
data: str = "auto"  # handwritten digits: auto, mnist or digits
device: str = "auto"  # where to train: cpu, cuda (a GPU), or auto: a GPU if there is one
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np
import torch

from hmm_utils import (
    activations,
    archive,
    block,
    claims,
    datasets,
    digits,
    dimension,
    experiments,
    figures,
    measurements,
    networks,
    nonlinearities,
    observables,
    reference,
)

figures.use_style()
rng = np.random.default_rng(seed)
chosen = dict(
    widths=widths, n_pairs=n_pairs, lr=lr, time=time, n_inputs=n_inputs, teacher_width=teacher_width,
    n_train=n_train, labels=labels, layers=layers, seed=seed,
)  # fmt: skip
plan = experiments.plan(["vanilla"], profile, chosen)

# %% [markdown]
# ## The model in one picture
#
# Where do an input and its label come from? A point $\mathbf c$ of a plane of few dimensions is mixed by the rows of $\mathbf F$ and folded by
# $f$: that is the input, Eq. (6). In a *latent task* the label is read off the point, Eq. (7); in a *teacher task* it is read off the input,
# Eq. (4). Structured inputs with latent labels are the **hidden manifold model**. Points, pixels and labels below are real ones.

# %%
picture = np.random.default_rng((seed, 2))
plane = datasets.structured(f, 784, 2, 1500, 10, rng=picture)
latent = datasets.latent_task(plane, networks.random_network(2, 1, rng=picture))
taught = datasets.teacher_task(plane, networks.random_network(784, teacher_width, rng=picture), labels="real")
figure = figures.model(latent, taught, f, shown=(7, 4, 3))
figures.save(figure, "sec4_model", out)

# %% [markdown]
# Three inputs are followed from left to right. An input has $N=784$ components and looks like noise, but two numbers say all there is to know
# about it. The latent label asks on which side of a line these two numbers lie. The teacher's label asks what a random network makes of the
# 784 components. A student is shown inputs and labels of one kind, and has to find out.
#
# ## The network
#
# A network with $K$ hidden units maps an input $\mathbf x\in\mathbb R^N$ to one number,
#
# $$\phi(\mathbf x;\boldsymbol\theta)=\sum_{k=1}^{K} v_k\,g\!\left(\frac{\mathbf w_k\cdot\mathbf x}{\sqrt N}\right),
# \qquad \boldsymbol\theta=(\mathbf W,\mathbf v), \tag{1}$$
#
# with $g(x)=\mathrm{erf}(x/\sqrt2)$ unless said otherwise. The $1/\sqrt N$ keeps the pre-activations of order one when
# weights and inputs are. Students start from $W_{kn},v_k\sim\mathcal N(0,1)$. Where only the first layer is trained, every
# second-layer weight is 1, in teacher and student alike.

# %%
network = networks.random_network(784, 4, rng=rng)
network

# %% [markdown]
# ## Learning
#
# Training shows the network one example after the other. A step on the example $(\mathbf x, y^*)$ goes down the gradient of
# $\tfrac12[\phi(\mathbf x)-y^*]^2$, Eq. (2):
#
# $$\mathbf w_k \leftarrow \mathbf w_k-\frac{\eta}{\sqrt N}\,\Delta\,v_k\,g'(a_k)\,\mathbf x,\qquad
# v_k \leftarrow v_k-\frac{\eta}{N}\,\Delta\,g(a_k),\qquad \Delta=\phi(\mathbf x)-y^* .$$
#
# > **Told nowhere in the text.** Eq. (2) writes one $\eta$ for all weights. The authors' program gives the second layer
# > $\eta/N$, so that both layers move on the same time scale, steps$/N$; and each of the two students of a pair draws its
# > own examples from the training set, uniformly *with replacement*. This companion does the same.
#
# The gradient in `hmm_utils.sgd.reference` is the four lines of algebra above. Automatic differentiation agrees:

# %% tags=["nbval-check-output"]
check = np.random.default_rng(0)
x, y = check.standard_normal(30), 1.0
for name in activations.ACTIVATIONS:
    student = networks.random_network(30, 3, rng=check, activation=name)
    dW, dv = reference.gradient(student, x, y)
    W, v = (torch.tensor(a, requires_grad=True) for a in (student.W, student.v))
    a = W @ torch.tensor(x) / 30**0.5
    g = {"erf": lambda a: torch.erf(a / 2**0.5), "relu": torch.relu, "identity": lambda a: a, "quadratic": torch.square}
    (0.5 * (v @ g[name](a) - y) ** 2).backward()
    agrees = np.allclose(dW, W.grad, rtol=1e-12, atol=1e-14) and np.allclose(dv, v.grad, rtol=1e-12, atol=1e-14)
    print(f"{name:9}: gradient equals autograd's: {agrees}")

# %% [markdown]
# Written like this, a step costs a fraction of a millisecond and the paper's figures cost weeks. The engine in
# `hmm_utils.sgd.block` does *exactly the same steps* a block at a time: with the inputs of the next $B$ steps in hand, all
# it needs are their overlaps with each other and with the weights, three matrix products shared by every student that
# sees the same examples. After 2000 steps the two differ by rounding:

# %% tags=["nbval-check-output"]
X = check.standard_normal((500, 100)).astype(np.float32)
Y = networks.sign(X[:, 0] + X[:, 1])
student = networks.random_network(100, 3, rng=check)
order = check.integers(500, size=2000)
by_loop = reference.sgd(student, X.astype(float), Y.astype(float), order, lr=0.2, layers="both")
fleet = block.Fleet.of([student])
block.advance(fleet, X, Y, order, lr=0.2, layers="both")
moved = np.abs(by_loop.W - student.W).max()
difference = np.abs(fleet.networks()[0].W - by_loop.W).max()
print(f"largest change of a weight by training above 0.1: {moved > 0.1}")
print(f"largest difference between engine and loop below 1e-5: {difference < 1e-5}")

# %% [markdown]
# ## Two errors
#
# Against the true labels of a test set of $P^*$ inputs,
#
# $$\epsilon_g^{\mathrm{mse}}=\frac1{2P^*}\sum_i[\phi(\mathbf x_i)-y_i^*]^2 \tag{3}$$
#
# and, between two students of the same pair,
#
# $$\epsilon_{1,2}^{\mathrm{frac}}=\frac1{P^*}\sum_i\Theta[-\phi(\mathbf x_i;\boldsymbol\theta_1)\,\phi(\mathbf x_i;\boldsymbol\theta_2)]. \tag{5}$$
#
# Either error comes as `mse` (half the mean squared difference) and as `frac` (the fraction of differing signs).
# $\epsilon_{1,2}$ is measured on test inputs *and* on i.i.d. Gaussian inputs: in the world of the data, and everywhere.
#
# > **A slip in the text.** Eq. (5) is printed with $1/(2P^*)$. With that factor two independent guesses would differ on a
# > quarter of the inputs, and "in just half the cases" could never be reached. The program divides by $P^*$, and so do we:

# %% tags=["nbval-check-output"]
far = check.standard_normal((40_000, 50))
one, two = (networks.random_network(50, 4, rng=check)(far) for _ in range(2))
print(f"two independent random networks disagree on a fraction {observables.frac(one, two):.1f} of Gaussian inputs")

# %% [markdown]
# ## Data: inputs × task
#
# **Gaussian inputs**, $\mathbf x\sim\mathcal N(0,\mathbf I_N)$, have no structure. **Handwritten digits** have plenty.
# **Structured inputs** are the paper's model in between (Section 4),
#
# $$\mathbf X=f\!\left(\mathbf C\mathbf F/\sqrt D\right): \tag{6}$$
#
# $D$ coordinates $\mathbf c$ on a hidden manifold, mixed by a random matrix $\mathbf F$ and folded by a function $f$. Every
# input matrix is shifted and scaled to mean 0 and variance 1 before use.
#
# > **A slip in the text.** The paper divides by "the covariance of the entire matrix". Its program divides by the standard
# > deviation, one number for the whole matrix, separately for training and test inputs.

# %%
N = 784
kinds = {
    "handwritten digits": digits.load(data, rng=rng),
    "i.i.d. Gaussian": datasets.gaussian(N, 1000, 1000, rng=rng),
    f"structured, f = {f}, D = {n_latent}": datasets.structured(f, N, n_latent, 1000, 1000, rng=rng),
}
foldings = np.random.default_rng((seed, 6))
others = {fold: datasets.structured(fold, N, n_latent, 10, 10, rng=foldings) for fold in nonlinearities.NONLINEARITIES if fold != f}
figure = figures.samples(kinds | {f"structured, f = {fold}, D = {n_latent}": inputs for fold, inputs in others.items()})
figures.save(figure, "sec2_inputs", out)

# %% [markdown]
# Gaussian and structured inputs look alike to the eye. They are not: most of the variance of the structured ones sits in
# $D$ directions, as that of digits sits in a few. [Notebook 03](03_hidden_manifold_model.ipynb) draws the whole spectra.

# %%
for label, inputs in kinds.items():
    part = inputs.x_train[:1000]
    spectrum = np.linalg.svd(part - part.mean(0), compute_uv=False) ** 2
    print(f"{label:32}: first 10 of {part.shape[1]} directions hold {spectrum[:10].sum() / spectrum.sum():.0%}")

# %% [markdown]
# A **task** puts labels on inputs: a *teacher task* by a random network acting on $\mathbf x$ (Eq. 4), a *latent task* by one
# acting on $\mathbf c$ (Eq. 7), the *digits* by odd ($+1$) against even ($-1$). Labels are the teacher's output or its sign.
# A data set tells where it comes from:

# %%
datasets.labelled_task(kinds["handwritten digits"], "odd against even")

# %% [markdown]
# ## How many dimensions do digits have?
#
# The introduction of the paper says that digits fill "but a lower-dimensional manifold" of $\mathbb R^{784}$, whose dimension "can be
# estimated to be around $D\approx14$ based on the neighbourhoods of inputs". Near a point of a $d$-dimensional manifold the number
# of others within a distance $r$ grows as $r^d$, so that distances to neighbours tell $d$. Three estimators of
# [scikit-dimension](https://scikit-dimension.readthedocs.io) do this, on disjoint subsamples of the images:
#
# * **MLE** (Levina & Bickel, the paper's [9]): how the distances to the first $k$ neighbours of each image are spread;
# * **TwoNN** (Facco et al.): the ratio of the distances to the second and to the first neighbour alone; where every $(k/2)$-th image
#   is left, these two are as far away as $k$ neighbours were before;
# * **CorrInt** (Grassberger & Procaccia, the paper's [7]): how the number of pairs closer than $r$ grows, between the two
#   distances within which a typical image has $k/2$ and $k$ neighbours.
#
# What would they say if the dimension *were* 14? The hidden manifold of Eq. (6) tells, with as many inputs, $D=14$ and a smooth
# folding.

# %% tags=["C19"]
live = measurements.measure(dimension.NAME, profile, archive.FOLDER, data=data, seed=seed)
stored = measurements.load(dimension.NAME, "paper", archive.FOLDER) if profile != "paper" else {}
measured = {label: results[dimension.NAME] for label, results in {profile: live, "stored, paper": stored}.items() if results}
figure = figures.intrinsic_dimension(measured)
figures.save(figure, "sec1_intrinsic_dimension", out)

# %% [markdown]
# **Reading the figure.** Solid: digits; dotted: a manifold of 14 dimensions; rings: the neighbourhoods that the estimators have by
# default. A dimension is a limit of small neighbourhoods, and estimates rise to the left, but even the nearest neighbours
# are far away:

# %%
for label, result in measured.items():
    near, far_away = (float(result.radius.sel(inputs="digits", neighbours=k).mean()) for k in (2, 20))
    print(f"{label:13}: 2 neighbours within {near:.2f}, 20 within {far_away:.2f} of the typical distance of two images")

# %% [markdown]
# So a manifold of 14 dimensions is itself estimated too low, and the fair question is whether digits look like it. To MLE and TwoNN,
# which give every image a neighbourhood of its own size, they do. CorrInt, with one radius for all images, counts the crowded
# places above all, and digits are not spread evenly: most of the close pairs are pairs of ones, the digit that varies least.
# (five in six of those within the second neighbour of a typical image, among 6000). Without the ones it rises from 4 to 10 there. So "around 14" depends on how neighbourhoods are
# chosen, and one of the paper's four references is to the way in which it fails.

# %%
judgements = claims.judge("00_setup", live)
claims.save(judgements, "00_setup", out)
judgements

# %% [markdown]
# All of this needs a smooth manifold. With $f=\mathrm{sgn}$ an input is known by the direction of $\mathbf c$, which has $D-1$ dimensions,
# and two inputs differ in a fraction of their components that grows as the angle $\vartheta$ between their directions: their distance goes as
# $\sqrt\vartheta$, the number of neighbours as $r^{2(D-1)}$: 8 dimensions for $D=5$, 18 for $D=10$. And a thousand i.i.d. Gaussian inputs are
# too few to show their 784:

# %%
kinds_rng = np.random.default_rng((seed, 14))
known = {f"f = {fold}, D = {D}": datasets.structured(fold, N, D, 1000, 2, rng=kinds_rng) for fold in ("tanh", "sgn") for D in (5, 10)}
for label, inputs in (known | {"i.i.d. Gaussian": datasets.gaussian(N, 1000, 2, rng=kinds_rng)}).items():
    d = dimension.estimate(inputs.x_train, [20]).dimension.sel(neighbours=20)
    print(f"{label:16}:", ", ".join(f"{name} {float(d.sel(estimator=name)):5.1f}" for name in dimension.ESTIMATORS))

# %% [markdown]
# ## A first pair of students: the vanilla teacher–student set-up
#
# Gaussian inputs, a random teacher with $M$ hidden units, students with fewer and with as many. `train` trains pairs of
# students of every width and initialisation side by side and returns one labelled data set.

# %%
vanilla = plan["vanilla"]
result = experiments.run_experiment(vanilla, device=device)
result.drop_vars(["W", "v"])

# %% [markdown]
# Named dimensions carry the meaning: the mean over initialisations of $\epsilon_g$ for the widest student is
# `result.eps_g_mse.sel(width=4).mean(["draw", "init", "student"])`.

# %%
curves = {f"K = {K}": {layers: result.sel(width=[K])} for K in vanilla.widths[:3]}
figure = figures.learning_curves(curves)
figures.save(figure, "sec2_vanilla", out)

# %% [markdown]
# Training the students only shuffles their weights from random to less random; that $\epsilon_g$ is what theory says it is
# can be checked without training. For erf networks and Gaussian inputs the average over inputs is known in closed form,
# $\mathbb E\,g(a)g(b)=\frac2\pi\arcsin\frac{C_{ab}}{\sqrt{(1+C_{aa})(1+C_{bb})}}$:

# %% tags=["nbval-check-output"]
teacher, student = (networks.random_network(50, M, rng=check) for M in (4, 3))
W, v = np.concatenate([student.W, teacher.W]), np.concatenate([student.v, -teacher.v])
C = W @ W.T / 50
scale = np.sqrt(1 + np.diag(C))
exact = v @ (2 / np.pi * np.arcsin(C / np.outer(scale, scale))) @ v / 2
squares = (student(far) - teacher(far)) ** 2 / 2
error = squares.std() / len(far) ** 0.5
print(f"ε_g sampled on {len(far)} inputs and in closed form agree within 4 standard errors: {abs(squares.mean() - exact) < 4 * error}")

# %% [markdown]
# **Next:** [01 — two students, the same error, different functions](01_independent_students.ipynb).
