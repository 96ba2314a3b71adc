# ---
# jupyter:
#   hidden_manifold:
#     measurements:
#     - t2
#     section: '2006.14709'
#     title: Deep generators
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
# # Deep generators
#
# *Beyond [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1), following the model of Goldt, Loureiro, Reeves, Krzakala,
# Mézard & Zdeborová, [arXiv:2006.14709](https://arxiv.org/abs/2006.14709). Claims T2.1–T2.4.*
#
# **What you'll do.** Replace the single layer of Eq. (6) by deep generators, random ones and one that was trained on digits, and predict
# the test error of online SGD on their inputs at all times from two covariance matrices.
#
# **What you'll learn.** How much of a generator a student sees: for most of them, no more than the covariances. When it sees more, and
# by how much the prediction is then off.
#
# **What you'll need.** `quick`: three quarters of a minute on one core, 0.8 GB. `paper`: a quarter of an hour on one core, 1.5 GB (extrapolated).

# %% tags=["parameters"]
profile: str = "quick"  # scale of the runs: quick or paper
n_inputs: int = None  # N of the fully connected generators (None: the profile's)
n_latent: int = None  # D of the random generators (None: the profile's)
teacher_width: int = None  # M (None: the profile's)
lr: float = None  # learning rate (None: the profile's)
time: float = None  # end of training in steps/N (None: the profile's)
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np

from hmm_utils import archive, claims, deep, figures, generators, measurements
from hmm_utils.figures import deep_generators

figures.use_style()
chosen = dict(n_inputs=n_inputs, n_latent=n_latent, teacher_width=teacher_width, lr=lr, time=time, seed=seed)
c = measurements.configuration(deep.NAME, profile, **chosen)

# %% [markdown]
# ## The conjecture
#
# A generator makes an input of $N$ numbers from $D$ latent coordinates, $\mathbf x=G(\mathbf c)-\mathbb E\,G(\mathbf c)$ with
# $\mathbf c\sim\mathcal N(0,\mathbf I_D)$. Labels come from a teacher on $\mathbf c$, Eq. (7). Student and teacher see $\mathbf x$ and $\mathbf c$ through
# their local fields alone,
#
# $$\lambda_k=\frac{\mathbf w_k\cdot\mathbf x}{\sqrt N},\qquad \nu_m=\frac{\tilde{\mathbf w}_m\cdot\mathbf c}{\sqrt D}.$$
#
# If these are jointly Gaussian, everything follows from
#
# $$\Omega=\mathbb E\,\mathbf x\mathbf x^{\mathsf T},\qquad \Phi=\mathbb E\,\mathbf x\mathbf c^{\mathsf T}:\qquad
# Q=\frac{\mathbf w\,\Omega\,\mathbf w^{\mathsf T}}{N},\quad R=\frac{\mathbf w\,\Phi\,\tilde{\mathbf w}^{\mathsf T}}{\sqrt{ND}},\quad
# T=\frac{\tilde{\mathbf w}\tilde{\mathbf w}^{\mathsf T}}{D},$$
#
# the error at any moment from $Q$, $R$, $T$, and how these move from equations with one unknown per eigenvector of $\Omega$
# (`hmm_utils.theory.online.motion`). For a single layer, $\mathbf x=f(\mathbf cF)$ with columns of $F$ that are nearly orthogonal and weights
# that are not aligned with them, this is a theorem in the limit $N,D\to\infty$. For deeper and trained generators it is a conjecture.
#
# ## Two covariances
#
# Any generator's can be sampled. Of one random layer they are known: with $f=\mathrm{sgn}$ and columns $\mathbf F_i$,
# $\Omega_{ij}=\frac2\pi\arcsin\frac{\mathbf F_i\cdot\mathbf F_j}{|\mathbf F_i||\mathbf F_j|}$ and
# $\Phi_i=\sqrt{2/\pi}\,\mathbf F_i/|\mathbf F_i|$.

# %% tags=["nbval-check-output"]
check = np.random.default_rng(0)
layers = generators.random_layers([20, 60], "sgn", rng=check)
sampled = generators.covariances(generators.fully_connected(layers), n_samples=40_000, rng=check)
columns = (layers[0].F / np.linalg.norm(layers[0].F, axis=0)).T
exact = {"phi": np.sqrt(2 / np.pi) * columns, "omega": 2 / np.pi * np.arcsin(np.clip(columns @ columns.T, -1, 1))}
for name, values in exact.items():
    worst = np.abs(sampled[name] - values).max() / sampled[f"{name}_error"]
    print(f"{name:5}: sampled entries within 5 standard errors of the exact ones: {bool(worst < 5)}")

# %% [markdown]
# ## The generators
#
# * one layer of signs, the hidden manifold of Eq. (6), and three layers of signs or of $\tanh$, with random weights;
# * transposed convolutions as in a DCGAN, with random kernels;
# * the decoder of a variational autoencoder that this project trained on digits (`tools/train_generator.py`; two layers, $D=64$),
#   at the `quick` profile on every second pixel of every second row.
#
# And some that are made to break the conditions: few latent dimensions, an even $f$, and a student that looks at single inputs. All inputs are
# shifted and scaled to mean 0 and, overall, variance 1.

# %%
cases = {name: deep.with_moments(c, name)[0] for name in (*deep.RANDOM, deep.TRAINED, "decoder, few latents")}
pictures = {name: deep.pictures(case, 8, rng=np.random.default_rng(seed)) for name, case in cases.items()}
figure = deep_generators.images(pictures)
figures.save(figure, "t2_samples", out)

# %% [markdown]
# Only the convolutions and the decoder make pictures; what the others give has no neighbours. With all but a few latent coordinates at 0 the
# decoder's digits blur into each other.
#
# ## Theory and simulation
#
# For each generator teachers and students are drawn. Every student is trained on fresh inputs, several times from the same weights
# ($K=M=2$, both layers, $\eta=0.2$), and the equations are solved from these weights.

# %%
live = measurements.measure(deep.NAME, profile, archive.FOLDER, **chosen)
result = live[deep.NAME]
figure = deep_generators.learning(result)
figures.save(figure, "t2_learning", out)

# %% [markdown]
# **Reading the figure.** Colours are draws of teacher and student, lines the theory. Dots are means over simulations with $\epsilon_g$ from $Q$ and $R$: they
# test the equations. Rings are the error on test inputs, which knows nothing of Gaussians: they test whether $Q$ and $R$ are all there is.
# For random generators all three agree. So they do for the decoder: the network that was trained on digits is, for these students, a Gaussian with
# its covariances. Where conditions are broken, rings leave the lines, and dots with them where the law of the fields matters for
# the motion too.
#
# How different the covariances are, and with them the curves:

# %%
figure = deep_generators.spectra(result)
figures.save(figure, "t2_spectra", out)
for name in result.generator.values:
    one = result.sel(generator=name)
    print(f"{name:22}: a linear function of x explains {float(one.recoverability):.0%} of the variance of c")

# %% [markdown]
# $\operatorname{tr}\Phi^{\mathsf T}\Omega^+\Phi/D$, the part of $\mathbf c$ that can be recovered linearly, bounds what a student that sees Gaussian fields can
# learn. It is small for the decoder, since training has cut off most of its 64 latent coordinates, and zero for an even $f$.
#
# ## Are the fields Gaussian?

# %%
figure = deep_generators.fields(result)
figures.save(figure, "t2_fields", out)

# %% [markdown]
# Before training weights are random and $\lambda$ is a sum of many terms; training turns weights towards few directions. A student that
# looks at one sign alone has a field with two values, whose excess kurtosis is $-2$; one with random weights has none:

# %% tags=["nbval-check-output"]
signs = generators.fully_connected(generators.random_layers([100, 400], "sgn", rng=check))
W = np.stack([20 * np.eye(400)[0], check.standard_normal(400)])
lam = generators.local_fields(signs, W, mean=np.zeros(400), n_samples=20_000, rng=check)
kurtosis = generators.field_moments(lam).excess_kurtosis
print(f"excess kurtosis: aligned {float(kurtosis[0]):.1f}, random {abs(float(kurtosis[1])):.1f}")

# %% [markdown]
# ## Where conditions fail
#
# With the skewness $\kappa_3$ and the excess kurtosis $\kappa_4$ of a field, $\kappa_3^2/12+\kappa_4^2/48$ is its relative entropy to a
# Gaussian, to leading order. The table has its root (mean square over fields, the larger of start and end) beside the deviation
# $|\epsilon_g/\text{theory}-1|$: its mean and its largest value over log-spaced times. `quick` has $N$ of a few hundred, and test sets
# too small to tell less than about 0.02.

# %%
summary = deep.summary(result)
columns = ["condition", "non_gaussianity", "mean", "largest", "test_mean", "test_largest", "participation"]
summary[columns].to_dataframe()[columns].round(3)

# %% tags=["T2.3"]
figure = deep_generators.against_gaussianity(summary)
figures.save(figure, "t2_gaussianity", out)

# %% [markdown]
# * **Few latent dimensions** ($D=5$) are the worst, with signs as with the decoder. One field alone may look harmless; it is the *joint* law of
#   $\lambda$ and $\nu$ that fails: given $\nu$, the mean of $\lambda$ is no straight line.
# * **A student on single inputs** starts far from the theory and comes closer as training mixes its weights.
# * **An even $f$** breaks nothing that is seen here. $\Phi=0$: the Gaussian partner holds no trace of $\mathbf c$, the theory says that the
#   student learns to be silent, and it does.
# * **A trained generator** has fields with visible skewness and kurtosis, and the theory holds all the same, because most of what
#   the student learns is in directions in which they are nearly Gaussian.
#
# ## Covariances from layer to layer
#
# For random layers $\Omega$ and $\Phi$ need not be sampled: a layer $x'=f(xF)$ takes them to $\Omega'_{ij}=b_iS_{ij}b_j$ off the diagonal and
# $\Phi'=bF^{\mathsf T}\Phi$, with $S=F^{\mathsf T}\Omega F$ and $b_i$ the slope of $f$ at a Gaussian of variance $S_{ii}$ (`theory.online.layers.propagated`). It costs
# milliseconds instead of seconds. It takes pre-activations to be Gaussian of a fixed variance, and keeps the first order in their correlations.

# %%
figure = deep_generators.propagation(result)
figures.save(figure, "t2_propagation", out)

# %% [markdown]
# Sampling has an error of its own: entries of $Q$ and $R$ are known to about $1/\sqrt n$ with $n$ samples, which is a large part of
# $\epsilon_g$ where this has become small: the band of the sampled ones widens there. For signs, whose outputs have a fixed norm, covariances
# from layer to layer cost nothing and are no worse. For $\tanh$ the norm of a layer's output fluctuates from sample to sample, and this
# is neglected; it should show at late times, and claim T2.4 asks whether it does.
#
# ## At full size
#
# The same with $N\approx1000$ and $D=100$, from the project's stored results; without them, this run again.

# %% tags=["T2.1", "T2.2"]
stored = measurements.load(deep.NAME, "paper", archive.FOLDER) or live
full = stored[deep.NAME]
figure = deep_generators.learning(full)
figures.save(figure, "t2_learning_stored", out)

# %%
deep.summary(full)[columns].to_dataframe()[columns].round(3)

# %% tags=["T2.4"]
figure = deep_generators.propagation(full)
figures.save(figure, "t2_propagation_stored", out)

# %%
claims.judge("T2_deep_generators", stored)

# %% [markdown]
# ## Verdicts of this run

# %%
judgements = claims.judge("T2_deep_generators", live)
claims.save(judgements, "T2_deep_generators", out)
judgements

# %% [markdown]
# ## Change it
#
# `n_latent=10` makes the random generators' manifolds as small as the paper's: watch their rings leave the lines. `n_inputs=1000` alone
# does not help the cases with few latent dimensions, whose error is one of $D$. `time=100` shows the late times, where covariances
# from layer to layer part from sampled ones.
#
# **Back:** [03 — the hidden manifold model](03_hidden_manifold_model.ipynb), of which all this is the deep version.
