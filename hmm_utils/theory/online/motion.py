"""The equations of motion of the hidden manifold model: one-pass SGD in the limit of many inputs.

A student φ(x) = Σ_k v_k g(λ_k) learns from a teacher Σ_m ṽ_m g(ν_m) with rate η, one fresh sample a step. Following
Goldt, Mézard, Krzakala & Zdeborová (arXiv:1909.11500v4; for generators arXiv:2006.14709), the order parameters of
``order_parameters`` obey closed equations in the time t = steps/N. With the averages h, J, E4 of ``averages``, ::

    G_kj = v_k (h_k δ_kj + J_kj v_j),    P_km = v_k J_km ṽ_m,    E_kl = v_k v_l E4_kl,

for every mode, that is eigenvalue ρ of the covariance (the index of the mode is left out), ::

    dr/dt = −η [decay · G r − drive · P t̃]                                              (K, M)
    dσ/dt = −η [decay · G σ − drive · P rᵀ] + transposed + η² noise · E                 (K, K)

and for all modes together ::

    dW/dt = −η [G Q − P Rᵀ] + transposed + η² c₀ E,     dv_k/dt = −η_v E[g(λ_k) Δ].

The input models differ in their coefficients, with d = ζδ + b²ρ and δ = D/N: ::

    hidden manifold   decay = d/δ, drive = bρ/δ, noise = ρ d/δ,   Q = ζW + b²⟨σ⟩, R = b⟨r⟩
    generator         decay = noise = ρ, drive = 1/√δ,            Q = ⟨ρσ⟩, R = ⟨r⟩/√δ
    i.i.d. inputs     all of these 1, and a single mode

Derivation. A step moves w_k by −(η/√N) v_k Δ g'(λ_k) x. Its part along a mode correlates with (λ, ν) only weakly, so
E[Δ g'(λ_k) y] for the mode's field y needs its covariances with the λ_j and ν_m to first order alone, which is the
partial integration in ``averages``: the terms with h and J. They replace the published regression of y on two fields,
which is equal to them but is 0/0 for two parallel units, as students become for K > M.

The equations of all D modes are linear in the densities once G, P and E are known as functions of time. Hence the
solution at ρ is the start at ρ times smooth functions of ρ, and averages over modes are integrals of such functions:
:func:`quadrature` takes them with a dozen nodes to six digits, where the modes are hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from numba import njit
from numpy.polynomial.polynomial import polyval
from scipy.linalg import eigh_tridiagonal

from hmm_utils.model import parameters
from hmm_utils.model.networks import Network
from hmm_utils.model.nonlinearities import Constants
from hmm_utils.theory.online import averages, chebyshev, order_parameters

__all__ = [
    "Coefficients",
    "Start",
    "averaged_teacher",
    "binned",
    "ensemble",
    "generator",
    "hidden_manifold",
    "iid",
    "integrate",
    "quadrature",
]


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Coefficients of the equations of motion that depend on the input model.

    Attributes
    ----------
    decay, drive, noise : tuple of float
        Of a mode, as polynomials in its eigenvalue ρ: (p₀, p₁, …) for p₀ + p₁ρ + …
    in_Q, in_R : tuple of float
        Polynomials likewise: Q = zeta W + ⟨in_Q σ⟩ and R = ⟨in_R r⟩.
    zeta : float
        ζ of f; 0 for inputs of a generator.
    c0 : float
        E x_i², averaged over the inputs' components.
    """

    decay: tuple[float, ...]
    drive: tuple[float, ...]
    noise: tuple[float, ...]
    in_Q: tuple[float, ...]
    in_R: tuple[float, ...]
    zeta: float
    c0: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Start:
    """Initial condition of the equations of motion; K students, M teachers, any number of modes.

    Attributes
    ----------
    rho, p : (modes,) float arrays
        Eigenvalues and their weights: ⟨…⟩ = Σ_τ p_τ …
    sigma, r, tt : (K, K, modes), (K, M, modes) and (M, M, modes) float arrays
        Densities σ, r, t̃.
    W, T : (K, K) and (M, M) float arrays
        W = w wᵀ/N and T.
    v, v_teacher : (K,) and (M,) float arrays
        Second layers v and ṽ.
    coefficients : Coefficients
        Of the input model.

    Raises
    ------
    ValueError
        For K = 0 or M = 0, shapes that do not agree, values that are not finite, or order parameters that are no
        covariance.
    """

    rho: np.ndarray
    p: np.ndarray
    sigma: np.ndarray
    r: np.ndarray
    tt: np.ndarray
    W: np.ndarray
    T: np.ndarray
    v: np.ndarray
    v_teacher: np.ndarray
    coefficients: Coefficients

    def __post_init__(self) -> None:
        K, M, n = self.v.size, self.v_teacher.size, self.rho.size
        if K == 0 or M == 0 or n == 0:
            raise ValueError(f"there are {K} students, {M} teachers and {n} modes: give at least one of each.")
        shapes = {
            "rho": (n,), "p": (n,), "sigma": (K, K, n), "r": (K, M, n), "tt": (M, M, n),
            "W": (K, K), "T": (M, M), "v": (K,), "v_teacher": (M,),
        }  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}: for K = {K}, M = {M}, {n} modes give {shape}.")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} holds values that are not finite: every entry must be a number.")
        order_parameters.covariance(self.Q, self.R, self.T)

    def coefficient(self, name: str) -> Float[np.ndarray, " modes"]:
        """One of the polynomials of ``coefficients`` at the eigenvalues."""
        return polyval(self.rho, getattr(self.coefficients, name)) * np.ones_like(self.rho)

    @property
    def Q(self) -> np.ndarray:
        """Q = ζW + ⟨in_Q σ⟩, (K, K)."""
        return self.coefficients.zeta * self.W + self.sigma @ (self.p * self.coefficient("in_Q"))

    @property
    def R(self) -> np.ndarray:
        """R = ⟨in_R r⟩, (K, M)."""
        return self.r @ (self.p * self.coefficient("in_R"))


def _hidden_manifold(delta: float, constants: Constants) -> Coefficients:
    b, zeta = constants.b, constants.zeta
    return Coefficients(
        decay=(zeta, b**2 / delta),
        drive=(0, b / delta),
        noise=(0, zeta, b**2 / delta),
        in_Q=(b**2,),
        in_R=(b,),
        zeta=zeta,
        c0=constants.c0,
    )


def _of_weights(
    densities: xr.Dataset, student: Network, teacher: Network, T: xr.DataArray, coefficients: Coefficients
) -> Start:
    rho = densities["rho"].values
    return Start(
        rho=rho,
        p=np.full(rho.size, 1 / rho.size),
        **{name: densities[name].values for name in ("sigma", "r", "tt")},
        W=student.W @ student.W.T / student.n_inputs,
        T=T.values,
        v=np.array(student.v, dtype=float),
        v_teacher=np.array(teacher.v, dtype=float),
        coefficients=coefficients,
    )


def hidden_manifold(student: Network, teacher: Network, F: Float[np.ndarray, "D N"], constants: Constants) -> Start:
    """Start on a hidden manifold from the weights of a simulation, with all D modes.

    At finite D runs from a symmetric start differ by O(1/√D), which decides the length of the plateau: theory and
    simulation are compared from the same weights.

    Parameters
    ----------
    student, teacher : Network
        φ with W (K, N), and the teacher on the latent coordinates, with W (M, D).
    F : (D, N) float array
        Features, Eq. (6).
    constants : Constants
        Of the non-linearity f: see ``order_parameters.hidden_manifold``.
    """
    measured = order_parameters.hidden_manifold(student.W, teacher.W, F, constants)
    densities = order_parameters.densities(student.W, teacher.W, F, order_parameters.latent_modes(F))
    D, N = np.shape(F)
    return _of_weights(densities, student, teacher, measured["T"], _hidden_manifold(D / N, constants))


def generator(
    student: Network, teacher: Network, Omega: Float[np.ndarray, "N N"], Phi: Float[np.ndarray, "N D"]
) -> Start:
    """Start with inputs of any generator, with all N modes, from their covariances Ω = E x xᵀ and Φ = E x cᵀ."""
    measured = order_parameters.generator(student.W, teacher.W, Omega, Phi)
    modes = order_parameters.generator_modes(Omega)
    densities = order_parameters.generator_densities(student.W, teacher.W, Phi, modes)
    N, D = np.shape(Phi)
    coefficients = Coefficients(
        decay=(0, 1),
        drive=(sqrt(N / D),),
        noise=(0, 1),
        in_Q=(0, 1),
        in_R=(sqrt(N / D),),
        zeta=0.0,
        c0=float(modes.rho.mean()),
    )
    return _of_weights(densities, student, teacher, measured["T"], coefficients)


def iid(student: Network, teacher: Network) -> Start:
    """Start with inputs x ~ N(0, I_N) and a teacher (M, N) that acts on them, Eq. (4).

    The equations are then those of Saad & Solla, Phys. Rev. E 52, 4225 (1995).
    """
    measured = order_parameters.iid(student.W, teacher.W)
    densities = xr.Dataset(
        {name: measured[of].expand_dims("mode", -1) for name, of in {"sigma": "Q", "r": "R", "tt": "T"}.items()},
        coords={"rho": ("mode", [1.0])},
    )
    coefficients = Coefficients(decay=(1,), drive=(1,), noise=(1,), in_Q=(1,), in_R=(1,), zeta=0.0, c0=1.0)
    return _of_weights(densities, student, teacher, measured["T"], coefficients)


def ensemble(
    rho: Float[np.ndarray, " modes"],
    p: Float[np.ndarray, " modes"],
    *,
    W: Float[np.ndarray, "K K"],
    R: Float[np.ndarray, "K M"],
    T: Float[np.ndarray, "M M"],
    v: Float[np.ndarray, " K"],
    v_teacher: Float[np.ndarray, " M"],
    delta: float,
    constants: Constants,
) -> Start:
    """Start on a hidden manifold averaged over features, whose spectrum is a density such as Marchenko and Pastur's.

    Students with an overlap R with the teacher have w = w_⊥ + α w̃F/√D with α = √δ R T⁻¹/b, and w_⊥ random. Then ::

        r = ρ α T/√δ,   σ = ρ (W − α T αᵀ) + ρ² α T αᵀ/δ,   t̃ = T.

    R = 0 is a saddle for K = M > 1: a student on it stays there.

    Parameters
    ----------
    rho, p : (modes,) float arrays
        Nodes and weights of a quadrature, Σ p = 1 and Σ p ρ = 1.
    W, R : (K, K) and (K, M) float arrays
        Initial order parameters; W_kl ~ δ_kl and R = 0 for random students.
    T : (M, M) float array
        Invertible.
    v, v_teacher : (K,) and (M,) float arrays
        Second layers.
    delta : float
        δ = D/N > 0.
    constants : Constants
        Of the non-linearity f.

    Raises
    ------
    ValueError
        For shapes that do not agree, and a δ that is not positive.
    """
    delta = parameters.positive("delta", delta)
    W, R, T = (np.asarray(a, dtype=float) for a in (W, R, T))
    rho = np.asarray(rho, dtype=float)
    if R.ndim != 2 or T.shape != (R.shape[1],) * 2 or W.shape != (R.shape[0],) * 2:
        raise ValueError(f"W, R and T have shapes {W.shape}, {R.shape}, {T.shape}: give (K, K), (K, M) and (M, M).")
    alpha = sqrt(delta) / constants.b * np.linalg.solve(T, R.T).T
    known = alpha @ T @ alpha.T
    return Start(
        rho=rho,
        p=np.asarray(p, dtype=float),
        sigma=(W - known)[:, :, None] * rho + known[:, :, None] * rho**2 / delta,
        r=(alpha @ T)[:, :, None] * rho / sqrt(delta),
        tt=T[:, :, None] * np.ones_like(rho),
        W=W,
        T=T,
        v=np.array(v, dtype=float),
        v_teacher=np.array(v_teacher, dtype=float),
        coefficients=_hidden_manifold(delta, constants),
    )


def _averaged(start: Start, rho: np.ndarray, p: np.ndarray, weights: np.ndarray) -> Start:
    """Replace the densities x_τ by Σ_τ weights[i, τ] x_τ for the new modes i."""
    coarse = {name: getattr(start, name) @ weights.T for name in ("sigma", "r", "tt")}
    return replace(start, rho=rho, p=p, **coarse)


def binned(start: Start, n_bins: int) -> Start:
    """Replace groups of neighbouring eigenvalues, equal in number, by their averages.

    Ten bins leave ε_g with an error of about one per cent; :func:`quadrature` needs fewer nodes for more digits.

    Raises
    ------
    ValueError
        Unless 1 ≤ n_bins ≤ number of modes.
    """
    n = start.rho.size
    if not 1 <= n_bins <= n:
        raise ValueError(f"n_bins = {n_bins}: give a whole number from 1 to {n}, the number of modes.")
    weights, p = np.zeros((n_bins, n)), np.empty(n_bins)
    for i, group in enumerate(np.array_split(np.argsort(start.rho), n_bins)):
        p[i] = start.p[group].sum()
        weights[i, group] = start.p[group] / p[i]
    return _averaged(start, weights @ start.rho, p, weights)


def quadrature(start: Start, n_nodes: int) -> Start:
    """Replace the modes by the n_nodes nodes of the Gauss quadrature of their spectrum.

    The solution at ρ is x_τ(t) = Σ A(ρ_τ, t) x_τ(0) with functions A that are smooth in ρ (see the module's
    docstring). With the nodes ρ_i and weights p_i of the Gauss rule of Σ_τ p_τ δ(ρ − ρ_τ), and ℓ_i the Lagrange
    polynomials on them, A(ρ) ≈ Σ_i A(ρ_i) ℓ_i(ρ), so that ::

        Σ_τ p_τ A(ρ_τ) x_τ(0) ≈ Σ_i p_i A(ρ_i) x_i(0),   x_i(0) = (1/p_i) Σ_τ p_τ ℓ_i(ρ_τ) x_τ(0).

    The error falls geometrically with n_nodes: twelve give ε_g to a part in 10⁶ for random features at δ = 0.1. Exact
    if n_nodes is the number of modes or above. One node is the theory for D ≪ N, where all ρ = 1: equations of Saad
    and Solla's form in the time steps/D, with an error O(δ).

    The rule comes from the tridiagonal matrix of Lanczos' method.

    Raises
    ------
    ValueError
        For n_nodes < 1.

    References
    ----------
    Golub & Welsch, Math. Comp. 23, 221 (1969).
    """
    n_nodes = parameters.whole("n_nodes", n_nodes)
    # orthonormal polynomials on the spectrum: basis[k, τ] = √p_τ π_k(ρ_τ)
    basis, alpha, beta = [np.sqrt(start.p / start.p.sum())], [], []
    while True:
        ahead = start.rho * basis[-1]
        alpha.append(ahead @ basis[-1])
        # twice, or rounding would let the polynomials lose their orthogonality
        for _ in range(2):
            ahead = ahead - np.array(basis).T @ (np.array(basis) @ ahead)
        norm = np.linalg.norm(ahead)
        # there are no more polynomials than different eigenvalues
        if len(alpha) == n_nodes or norm <= 1e-10 * max(abs(start.rho).max(), 1e-300):
            break
        beta.append(norm)
        basis.append(ahead / norm)
    rho, vectors = eigh_tridiagonal(alpha, beta)
    # p_i = vectors[0, i]², and ℓ_i = p_i Σ_k π_k(ρ_i) π_k with π_k(ρ_i) = vectors[k, i]/vectors[0, i]
    weights = vectors.T @ np.array(basis) * np.sqrt(start.p / start.p.sum()) / vectors[0][:, None]
    return _averaged(start, rho, vectors[0] ** 2 * start.p.sum(), weights)


def averaged_teacher(start: Start) -> Start:
    """Replace t̃_τ of every mode by ⟨ρ t̃⟩: an approximation, to be compared with the equations themselves.

    It is right on average over teachers, but not for one teacher with its finite number of modes: at D = 100 the error
    of ε_g reaches tens of per cent at late times, as the neglected terms decide where the student ends.
    """
    return replace(start, tt=np.repeat((start.tt @ (start.p * start.rho))[:, :, None], start.rho.size, axis=2))


# NaN must keep its meaning: it tells a step that was too long
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


@_compiled
def _pair(k, l):  # noqa: E741
    """Where σ_kl = σ_lk is among (0, 0), (1, 0), (1, 1), (2, 0) …: as ``numpy.tril_indices`` lists them."""
    return k * (k + 1) // 2 + l if k >= l else l * (l + 1) // 2 + k


@_compiled
def covariance(sigma, r, W, T, in_Q, in_R, zeta, C):
    """Write [[Q, R], [Rᵀ, T]] to C, Q = ζW + Σ_τ in_Q σ_τ, R = Σ_τ in_R r_τ; σ is (pairs, modes), r (K, M, modes)."""
    K, M, n = r.shape
    for k in range(K):
        for l in range(k + 1):  # noqa: E741
            total, density = 0.0, sigma[_pair(k, l)]
            for t in range(n):
                total += in_Q[t] * density[t]
            C[k, l] = C[l, k] = zeta * W[k, l] + total
        for m in range(M):
            total, density = 0.0, r[k, m]
            for t in range(n):
                total += in_R[t] * density[t]
            C[k, K + m] = C[K + m, k] = total
    C[K:, K:] = T


@_compiled
def derivatives(sigma, r, tt, C, v, v_teacher, h, J, E4, decay, drive, noise, c0, eta, d_sigma, d_r, d_W):
    """Write dσ/dt, dr/dt and dW/dt of the module's docstring to the last three arguments; σ is (pairs, modes)."""
    K, M, n = r.shape
    G, P = np.empty((K, K)), np.empty((K, M))
    for k in range(K):
        for j in range(K):
            G[k, j] = v[k] * J[k, j] * v[j]
        G[k, k] += v[k] * h[k]
        for m in range(M):
            P[k, m] = v[k] * J[k, K + m] * v_teacher[m]
    decaying, driving = np.empty(n), np.empty(n)
    for k in range(K):
        for m in range(M):
            decaying[:], driving[:] = 0, 0
            for j in range(K):
                a, x = G[k, j], r[j, m]
                for t in range(n):
                    decaying[t] += a * x[t]
            for j in range(M):
                a, x = P[k, j], tt[j, m]
                for t in range(n):
                    driving[t] += a * x[t]
            out = d_r[k, m]
            for t in range(n):
                out[t] = -eta * (decay[t] * decaying[t] - drive[t] * driving[t])
        for l in range(k + 1):  # noqa: E741
            decaying[:], driving[:] = 0, 0
            for j in range(K):
                a, b, x, y = G[k, j], G[l, j], sigma[_pair(j, l)], sigma[_pair(j, k)]
                for t in range(n):
                    decaying[t] += a * x[t] + b * y[t]
            for m in range(M):
                a, b, x, y = P[k, m], P[l, m], r[l, m], r[k, m]
                for t in range(n):
                    driving[t] += a * x[t] + b * y[t]
            step = eta**2 * v[k] * v[l] * E4[k, l]
            out = d_sigma[_pair(k, l)]
            for t in range(n):
                out[t] = -eta * (decay[t] * decaying[t] - drive[t] * driving[t]) + step * noise[t]
            B = 0.0
            for j in range(K):
                B += G[k, j] * C[j, l] + G[l, j] * C[j, k]
            for m in range(M):
                B -= P[k, m] * C[l, K + m] + P[l, m] * C[k, K + m]
            d_W[k, l] = d_W[l, k] = -eta * B + step * c0


class _Terms(NamedTuple):
    """Constants of the motion, in the names of :func:`covariance` and :func:`derivatives`; K students."""

    K: int
    tt: np.ndarray
    T: np.ndarray
    v_teacher: np.ndarray
    in_Q: np.ndarray
    in_R: np.ndarray
    zeta: float
    decay: np.ndarray
    drive: np.ndarray
    noise: np.ndarray
    c0: float
    eta: float
    eta_v: float


def _terms(start: Start, lr: float, lr_v: float) -> _Terms:
    tt, T, v_teacher = (np.ascontiguousarray(a, dtype=float) for a in (start.tt, start.T, start.v_teacher))
    in_Q, in_R = (start.p * start.coefficient(name) for name in ("in_Q", "in_R"))
    decay, drive, noise = (start.coefficient(name) for name in ("decay", "drive", "noise"))
    zeta, c0 = float(start.coefficients.zeta), float(start.coefficients.c0)
    return _Terms(len(start.v), tt, T, v_teacher, in_Q, in_R, zeta, decay, drive, noise, c0, float(lr), float(lr_v))


@_compiled
def _parts(y, terms):
    """Split y, the vector of all that moves, into views σ (pairs, modes), r, W and v."""
    K, (_, M, n) = terms.K, terms.tt.shape
    pairs = K * (K + 1) // 2
    ends = pairs * n, (pairs + K * M) * n, (pairs + K * M) * n + K * K
    sigma, r, W = y[: ends[0]], y[ends[0] : ends[1]], y[ends[1] : ends[2]]
    return sigma.reshape(pairs, n), r.reshape(K, M, n), W.reshape(K, K), y[ends[2] :]


@_compiled
def _covariance(y, terms, C):
    """Write the covariance of the fields at y to C."""
    sigma, r, W, _ = _parts(y, terms)
    covariance(sigma, r, W, terms.T, terms.in_Q, terms.in_R, terms.zeta, C)


@_compiled
def _derivatives(y, terms, C, h, J, g1, E4, out):
    """Write dy/dt to ``out``, from the covariance of y and its averages."""
    sigma, r, _, v = _parts(y, terms)
    d_sigma, d_r, d_W, d_v = _parts(out, terms)
    derivatives(
        sigma, r, terms.tt, C, v, terms.v_teacher, h, J, E4,
        terms.decay, terms.drive, terms.noise, terms.c0, terms.eta, d_sigma, d_r, d_W,
    )  # fmt: skip
    d_v[:] = -terms.eta_v * g1


@_compiled
def _derivatives_of_erf(y, terms, C, out):
    """Write dy/dt for ``averages.erf`` in one compiled piece: with few modes, calls between parts take most time."""
    _covariance(y, terms, C)
    u = np.concatenate((y[-terms.K :], -terms.v_teacher))
    _, h, J, g1, E4 = averages.erf_averages(C, u, terms.K)
    _derivatives(y, terms, C, h, J, g1, E4, out)


def integrate(
    start: Start,
    times: Sequence[float] | np.ndarray,
    *,
    lr: float,
    lr_v: float | None = None,
    closure: averages.Closure = averages.erf,
    rtol: float = 1e-7,
) -> xr.Dataset:
    """Solve the equations of motion from ``start`` at time 0, with times in steps/N.

    Parameters
    ----------
    start : Start
        At time 0.
    times : sequence of float
        In steps/N, increasing, not negative.
    lr : float
        η.
    lr_v : float, optional
        η_v of the second layer; default η, as in ``training.train`` with layers="both"; 0: it stays, layers="first".
    closure : callable
        Gaussian averages of the activation: ``averages.erf``, or another function with its signature.
    rtol : float
        Error of a step relative to the densities (see ``chebyshev.solve``); 1e-7 leaves ε_g with about 1e-6.

    Returns
    -------
    solution : Dataset
        eps_g_mse (time), ½ E Δ² as in Eq. (3); Q, W (time, i, j), R (time, i, m), T (m, n) and v (time, i). The
        attributes hold the learning rates and how much work it was.

    Raises
    ------
    ValueError
        For impossible arguments.
    ArithmeticError
        If the student diverges.
    """
    at = parameters.times(times)
    lr = parameters.learning_rate(lr)
    lr_v = lr if lr_v is None else parameters.learning_rate(lr_v, "lr_v")
    if not 0 < rtol < 1:
        raise ValueError(f"rtol = {rtol}: give a number between 0 and 1.")
    terms = _terms(start, lr, lr_v)
    K, M, n = start.r.shape
    C = np.empty((K + M, K + M))

    def averaged(y: np.ndarray) -> averages.Averages:
        _covariance(y, terms, C)
        return closure(C, np.concatenate([y[-K:], -terms.v_teacher]), n_students=K)

    def f(y: np.ndarray, out: np.ndarray) -> None:
        if closure is averages.erf:
            _derivatives_of_erf(y, terms, C, out)
        else:
            average = averaged(y)
            _derivatives(y, terms, C, average.h, average.J, average.g1, average.E4, out)

    first = np.concatenate([a.ravel() for a in (start.sigma[np.tril_indices(K)], start.r, start.W, start.v)])
    path, work = chebyshev.solve(f, first, at, rtol=rtol)
    eps_g, covariances = np.empty(at.size), np.empty((at.size, K + M, K + M))
    for i, y in enumerate(path):
        eps_g[i] = averaged(y).eps_g
        covariances[i] = C
    W, v = path[:, -K * K - K : -K].reshape(-1, K, K), path[:, -K:]
    return xr.Dataset(
        {
            "eps_g_mse": ("time", eps_g, {"long_name": "ε_g (mse)"}),
            "Q": (("time", "i", "j"), covariances[:, :K, :K]),
            "R": (("time", "i", "m"), covariances[:, :K, K:]),
            "T": (("m", "n"), terms.T),
            "W": (("time", "i", "j"), W),
            "v": (("time", "i"), v),
        },
        coords={"time": ("time", at, {"long_name": "steps / N"})},
        attrs={"lr": lr, "lr_v": lr_v, "rtol": rtol, "modes": n, **work},
    )
