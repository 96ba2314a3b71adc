# ---
# jupyter:
#   hidden_manifold:
#     measurements:
#     - t1/simulation
#     - t1/scaling
#     - t1/error_against_delta
#     - t1/error_against_width
#     - t1/plateaus
#     section: v4
#     title: The equations of motion
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
# # Theory I: the equations of motion
#
# *Beyond [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1), following the model of its version 4. Claims T1.1–T1.7.*
#
# **What you'll do.** Watch the local fields of students on structured inputs become Gaussian. Solve the equations that this
# leaves for online SGD, and lay their curves over simulations that start from the very same weights.
#
# **What you'll learn.** That the non-linearity $f$ enters through two numbers only; that the theory needs one equation per eigenvalue of
# $\mathbf F\mathbf F^T/N$ and what goes wrong with fewer; where students end; and what decides whether there is a plateau.
#
# **What you'll need.** About a minute with the `quick` profile on one core. With `paper`, cases that are stored are read and the others computed,
# one after the other: three quarters of an hour on one core for all of them.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the simulations: quick or paper
seed: int = 1  # of all random numbers
out: str = ""  # folder for figures and verdicts (empty: nothing is written)

# %%
import numpy as np

from hmm_utils import archive, claims, comparison, experiments, figures, measurements, networks, nonlinearities
from hmm_utils.figures import dynamics
from hmm_utils.theory.online import equivalence, motion, spectra

figures.use_style()
experiments.plan([], profile, dict(seed=seed))
rng = np.random.default_rng(seed)

# %% [markdown]
# ## The Gaussian equivalence
#
# An input is $x_i=f(u_i)-a$ with $u_i=\sum_rc_rF_{ri}/\sqrt D$. A student sees it through $\lambda_k=\mathbf w_k\cdot\mathbf x/\sqrt N$, a sum of
# many weakly correlated terms; the teacher acts on $\mathbf c$ through $\nu_m=\tilde{\mathbf w}_m\cdot\mathbf c/\sqrt D$, which is Gaussian anyhow. For $N,D\to\infty$
# all of them together are Gaussian. Their covariance,
#
# $$Q=\zeta W+b^2\Sigma,\qquad R=\frac bD\,S\tilde w^T,\qquad T=\frac1D\tilde w\tilde w^T,\qquad S=\frac1{\sqrt N}wF^T,$$
#
# depends on the non-linearity only through $a=\mathbb E f(u)$, $b=\mathbb E\,uf(u)$ and $\zeta=\mathbb E f(u)^2-a^2-b^2$, the variance that is noise to a linear function of $\mathbf c$:

# %% tags=["nbval-check-output"]
for f in ("sgn", "erf", "relu", "identity", "abs"):
    of = nonlinearities.constants(f)
    print(f"{f:8}: a = {of.a:.3f}, b = {of.b:.3f}, noise ζ/c₀ = {abs(of.zeta) / of.c0:.3f}")

# %%
samples = {
    "sgn, $N = 20$": equivalence.local_fields("sgn", 20, 2, n_samples=40_000, rng=rng),
    "sgn, $N = 500$": equivalence.local_fields("sgn", 500, 50, n_samples=40_000, rng=rng),
    "abs, $N = 500$": equivalence.local_fields("abs", 500, 50, n_samples=40_000, rng=rng),
}
figure = dynamics.histograms(samples)
figures.save(figure, "T1_histograms", out)

# %% [markdown]
# How fast? Skewness and excess kurtosis are zero for a Gaussian. Even $f$ are the hard case: $|u|$ has $b=0$, all of it is noise, and what is
# left of $\mathbf c$ in $\lambda$ is a quadratic form.

# %%
converging = equivalence.convergence(
    ("sgn", "erf", "relu", "abs"), (20, 50, 100, 200, 400), ratio=0.1, n_samples=10_000, n_draws=4, seed=seed
)
figure = dynamics.gaussianity(converging)
figures.save(figure, "T1_gaussianity", out)

# %% [markdown]
# **Reading the figure.** Odd $f$ have symmetric fields: their skewness is that of a finite sample (dashed) at every $N$. What they lack
# is in the fourth moment, which falls as $1/N$ or so for all of them. Even and one-sided $f$ are skewed as well: every $x_i$ holds a term of
# $|\mathbf c|^2/D-1$, which all inputs share and which shrinks only as $1/\sqrt D$.
#
# Where $b=0$ the theorem holds and leaves nothing to learn: $R=bS\tilde w^T/D$ vanishes, and stays there.

# %% tags=["nbval-check-output"]
check = np.random.default_rng(0)
F, teacher = check.standard_normal((20, 200)), networks.random_network(20, 2, rng=check, layers="first")
student = networks.random_network(200, 2, rng=check, layers="first")
for f in ("sgn", "abs"):
    start = motion.hidden_manifold(student, teacher, F, nonlinearities.constants(f))
    end = motion.integrate(start, [100], lr=0.2, lr_v=0)
    print(f"{f}: largest overlap with the teacher after t = 100 above 0.3: {float(abs(end.R).max()) > 0.3}")

# %% [markdown]
# ## One equation per mode
#
# In the eigenbasis of $\Omega=\mathbf F\mathbf F^T/N$ (eigenvalues $\rho_\tau$) the averages over samples that SGD needs are Gaussian integrals of the current $Q,R,T$,
# and the densities $\sigma^{kl}_\tau$, $r^{km}_\tau$ of $\Sigma$ and $R$ obey, with $\delta=D/N$ and $d_\tau=\zeta\delta+b^2\rho_\tau$,
#
# $$\frac{dr_\tau}{dt}=-\frac\eta\delta\left[d_\tau\,G\,r_\tau-b\rho_\tau\,P\,\tilde t_\tau\right],\qquad
# \frac{d\sigma_\tau}{dt}=-\frac\eta\delta\left[d_\tau\,G\,\sigma_\tau-b\rho_\tau\,P\,r_\tau^T\right]+\text{transposed}+\eta^2\frac{\rho_\tau d_\tau}{\delta}E,$$
#
# and $dW/dt$, $dv/dt$ likewise ([the code](../hmm_utils/theory/online/motion.py) has all of them). $G$, $P$, $E$ are the integrals, the same for all modes.
# $\tilde t_\tau$ is the teacher's own overlap with the mode.
#
# Simulations of a draw start from the same weights, and so does theory. Points are means over simulations:

# %%
live = measurements.measure(comparison.NAME, profile, archive.FOLDER, seed=seed)
stored = live if profile == "paper" else measurements.load(comparison.NAME, "paper", archive.FOLDER)
simulated = comparison.simulations(live)
figure = dynamics.trajectories(simulated)
figures.save(figure, "T1_errors", out)

# %% [markdown]
# **Reading the figure.** Lines run through the points from the first decay through the plateau of the erf students, with their features still
# alike, to the end. The grey band is one per cent. The deviation is largest where $\epsilon_g$ is small or changes fastest. For the ReLU, and $N=500$, it
# reaches a fifth at the end: its inputs share the term $|\mathbf c|^2/D-1$ of above, which is not in the equations and is gone only for large $D$. Stored, at
# $N=4000$:

# %% tags=["T1.1"]
at_paper_scale = comparison.simulations(stored)
if at_paper_scale and profile != "paper":
    figure = dynamics.trajectories(at_paper_scale)
    figures.save(figure, "T1_errors_stored", out)

# %% [markdown]
# The overlaps say what the students are doing. While $R_{11}\approx R_{12}$ a unit imitates both of the teacher's at once; it specialises when
# they part:

# %% tags=["T1.2"]
figure = dynamics.overlaps(dict(list((at_paper_scale or simulated).items())[:3]))
figures.save(figure, "T1_overlaps", out)

# %% tags=["nbval-check-output"]
print("close to theory, all entries within 0.1 and ε_g within 30 % on average:")
for compared in simulated.values():
    off = comparison.deviations(compared)
    print(f"{compared.f:5} D/N = {compared.n_latent / compared.n_inputs:.1f}: {bool(max(off.Q.max(), off.R.max()) < 0.1 and off['mean'].max() < 0.3)}")

# %% [markdown]
# In numbers, for every student:

# %%
for compared in (simulated | at_paper_scale).values():
    off = comparison.deviations(compared).isel(draw=0)
    for u, (K, layers, lr) in enumerate(zip(compared.width.values, compared.layers.values, compared.lr.values, strict=True)):
        of = off.isel(student=u)
        print(
            f"{compared.f:4} N = {compared.n_inputs:4} D = {compared.n_latent:4} K = {K} {layers:5} η = {lr}: ε_g off by {float(of['mean']):6.2%} on average, "
            f"{float(of.largest):6.2%} at most; ΔQ {float(of.Q):.3f}, ΔR {float(of.R):.3f}; averaged teacher {float(of.largest_averaged):.0%}"
        )

# %% [markdown]
# ## Why not an average?
#
# On average over teachers $\tilde t_\tau$ is $T$ in every mode, and it is tempting to put that, or its mean weighted with $\rho_\tau$, in place of $D$ numbers.
# But a teacher is one draw: $\tilde t_\tau=(\tilde{\mathbf w}\cdot\psi_\tau)^2/D$ scatters by as much as itself. The student's end,
# $r_\tau=(b\rho_\tau/d_\tau)G^{-1}P\,\tilde t_\tau$, is a sum over modes of just these. An error that is small because much cancels misses all that did not:

# %% tags=["T1.4"]
worst = max((at_paper_scale or simulated).values(), key=lambda compared: float(comparison.deviations(compared).largest_averaged[0, 0]))
figure = dynamics.averaging(worst)
figures.save(figure, "T1_averaging", out)

# %% [markdown]
# ## The deviation falls with $N$
#
# At $D/N=0.1$, all else equal; a point is a draw of features and weights.

# %% tags=["T1.3"]
sizes = {profile: live} | ({"stored, paper": stored} if comparison.simulations(stored, scaling=True) and profile != "paper" else {})
figure = dynamics.scaling(sizes)
figures.save(figure, "T1_scaling", out)

# %% [markdown]
# ## The weights at the start, or their average?
#
# Averaged over features, $\rho$ has the density of Marchenko and Pastur and students start from $W_{kl}=\delta_{kl}$. The overlaps $R\sim1/\sqrt D$ that they happen
# to have average to zero, and for $R=0$ no student ever leaves the state in which all units are equal. Their typical size must be put in by hand:

# %%
N, D, times = 784, 78, np.geomspace(0.1, 1000, 80)
curves = []
for _ in range(8):
    F, teacher = rng.standard_normal((D, N)), networks.random_network(D, 2, rng=rng, layers="first")
    student = networks.random_network(N, 2, rng=rng, layers="first")
    start = motion.quadrature(motion.hidden_manifold(student, teacher, F, nonlinearities.constants("erf")), 12)
    curves.append(motion.integrate(start, times, lr=0.5, lr_v=0))
rho, p = spectra.nodes(D / N, 12)
eye, ones = np.eye(2), np.ones(2)
erf = nonlinearities.constants("erf")
average = motion.ensemble(rho, p, W=eye, R=erf.b / D**0.5 * eye, T=eye, v=ones, v_teacher=ones, delta=D / N, constants=erf)
figure = dynamics.starts(curves, motion.integrate(average, times, lr=0.5, lr_v=0))
figures.save(figure, "T1_starts", out)

# %% [markdown]
# The first decay and the end are those of the average; when a run leaves its plateau is its own affair. This is why theory and simulation are
# compared from the same weights.
#
# ## $D\ll N$
#
# For $\delta\to0$ all $\rho_\tau$ are 1 and a single mode is left: equations of Saad and Solla's form in the time steps$/D$.

# %%
single = {}
for delta in (0.01, 0.1, 0.5):
    rho, p = spectra.nodes(delta, 16)
    start = motion.ensemble(rho, p, W=eye, R=0.1 * eye, T=eye, v=ones, v_teacher=ones, delta=delta, constants=nonlinearities.constants("sgn"))
    pair = [motion.integrate(s, delta * np.geomspace(1, 3000, 60), lr=0.2, lr_v=0) for s in (start, motion.quadrature(start, 1))]
    single[f"$D/N = {delta}$"] = tuple(curve.assign_attrs(delta=delta) for curve in pair)
figure = dynamics.limit(single)
figures.save(figure, "T1_limit", out)

# %% tags=["nbval-check-output"]
for label, (whole, one) in single.items():
    off = float(abs(one.eps_g_mse / whole.eps_g_mse - 1).max())
    print(f"{label}: one mode for all is off by {off:.1%} at most")

# %% [markdown]
# ## Where students end
#
# An input holds the part $s(\delta)=\int dp(\rho)\,b^2\rho/(b^2\rho+\zeta\delta)$ of the variance of a latent field; a student with $K=M$ that learns slowly finds just that and ends
# at $\epsilon_g=\frac M\pi[\frac\pi6-\arcsin\frac s2]$. Rings: integrated with two learning rates and extrapolated to $\eta=0$.

# %% tags=["T1.5"]
figure = dynamics.error_against_delta(live["t1/error_against_delta"])
figures.save(figure, "T1_delta", out)

# %% [markdown]
# A finite rate costs an error that is proportional to it: 5 % of $\epsilon_g$ at $\eta=0.1$ and this $K$. What more units do depends on whether they can be
# weighed. With $v_k=1$ a student with $K>M$ must make the surplus cancel; if the second layer learns too, averages over units reduce the noise:

# %% tags=["T1.7"]
figure = dynamics.error_against_width(stored.get("t1/error_against_width", live["t1/error_against_width"]))
figures.save(figure, "T1_width", out)

# %% [markdown]
# ## Plateaus: the paper's question, answered by its equations
#
# Section 3.2 of the paper sees a plateau with i.i.d. inputs and none with latent labels (C6–C10), and asks why. Here are the equations at the size
# of Fig. 2: $N=784$, $K=3$, $M=4$, $\eta=0.2$, with three non-linearities and, for comparison, none at all.

# %% tags=["T1.6"]
seen = stored.get("t1/plateaus", live["t1/plateaus"])
figure = dynamics.plateaus(seen)
figures.save(figure, "T1_plateaus", out)

# %%
for layers in seen.layers.values:
    for i in range(seen.sizes["task"]):
        curves = np.log(seen.eps_g.sel(layers=layers).isel(task=i))
        strengths = [claims.plateau_strength(seen.time.values, curve) for curve in curves.values]
        told = f"{seen.f.values[i]:8} D = {seen.n_latent.values[i]:3}, ζ/c₀ = {seen.noise.values[i]:.2f}"
        print(f"{layers:5} {told}: plateau strength {np.mean(strengths):.2f} ± {np.std(strengths, ddof=1) / len(strengths) ** 0.5:.2f}")

# %% [markdown]
# So it is not the latent task as such. A plateau is the time in which all units are alike, and it is seen if the error it has is well above the
# one at the end. The noise of $f$ sets that end: with $\zeta/c_0=0.36$ for the sign and $D/N\gtrsim0.1$ the floor, about
# $\zeta\delta/b^2$, lies near the height of the plateau and there is nothing to drop to. Take the noise away, by a gentle $f$
# ($\mathrm{erf}$, $\zeta/c_0=0.05$) or of few directions ($D/N=0.01$ in the figure of the limit above, where $R$ starts small), and latent labels show a
# plateau and a drop. At $D=10$ starting overlaps of size $1/\sqrt D$ are hardly small and the few modes unequal: every draw has a course of its own, some
# with a shoulder, and where both layers learn these are enough to lift the mean of two hundred draws above the border of what counts as a plateau.

# %% [markdown]
# ## Verdicts
#
# On what was computed here, and then on what is stored. T1.1 and T1.2 are about large $N$ and about all three $f$ at both $D/N$; cases that have
# not been computed are named, and the claim is undecided until they are.

# %%
judgements = claims.judge("T1_equations_of_motion", live)
claims.save(judgements, "T1_equations_of_motion", out)
judgements

# %%
claims.judge("T1_equations_of_motion", stored)

# %% [markdown]
# ## Change it
#
# * Put `"tanh"` for `"sgn"` in $D\ll N$: only $b$ and $\zeta$ change.
# * In the cell on averages, take 3 draws with `D = 392`: do runs leave their plateaus more nearly together?
# * Start the ensemble from `R=0 * eye`, and wait.
#
# Back to [the setup](00_setup.ipynb), or to [the hidden manifold model](03_hidden_manifold_model.ipynb) in simulations alone.
