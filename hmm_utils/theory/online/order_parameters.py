"""Order parameters measured from weights, and their densities over the spectrum of the inputs.

Students have first layers w (K, N) and local fields λ_k = w_k·x/√N, teachers w̃ (M, D) and ν_m = w̃_m·c/√D. Following
Goldt, Mézard, Krzakala & Zdeborová (arXiv:1909.11500v4), (λ, ν) is for large N and D Gaussian, and its covariance is
made of the order parameters ::

    Q_ij = E λ_i λ_j,   R_im = E λ_i ν_m,   T_mn = E ν_m ν_n.

In the results i, j number students, m, n teachers and ``mode`` the eigenvectors of a covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import xarray as xr
from jaxtyping import Float

from hmm_utils.model.nonlinearities import Constants
from hmm_utils.model.observables import covariance_overlaps, gaussian_overlaps, latent_overlaps

__all__ = [
    "Modes",
    "covariance",
    "densities",
    "generator",
    "generator_densities",
    "generator_modes",
    "hidden_manifold",
    "iid",
    "latent_modes",
]


@dataclass(frozen=True, eq=False)
class Modes:
    """Eigenvectors of a covariance Ω (n, n): Ω ψ_τ = ρ_τ ψ_τ with ``|ψ_τ|² = n``.

    Attributes
    ----------
    rho : (n,) float array
        Eigenvalues in increasing order, not negative.
    psi : (n, n) float array
        ψ_τ is psi[:, τ].
    """

    rho: np.ndarray
    psi: np.ndarray


def _modes(Omega: np.ndarray) -> Modes:
    rho, psi = np.linalg.eigh(Omega)
    return Modes(np.maximum(rho, 0), psi * sqrt(len(rho)))


def _matrix(name: str, a: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Return ``a`` in double precision; ValueError if it is not a matrix of finite numbers with this many columns."""
    a = np.asarray(a, dtype=float)
    if a.ndim != 2 or a.size == 0 or (columns is not None and a.shape[1] != columns):
        wanted = "two axes, none of them empty" if columns is None else f"at least one row and {columns} columns"
        raise ValueError(f"{name} has shape {a.shape}: give a matrix with {wanted}.")
    if not np.isfinite(a).all():
        raise ValueError(f"{name} holds values that are not finite: every entry must be a number.")
    return a


def covariance(
    Q: Float[np.ndarray, "K K"], R: Float[np.ndarray, "K M"], T: Float[np.ndarray, "M M"]
) -> Float[np.ndarray, "K+M K+M"]:
    """C = [[Q, R], [Rᵀ, T]], the covariance of the local fields (λ, ν).

    Raises
    ------
    ValueError
        If shapes do not agree, values are not finite, or C is not positive semi-definite.
    """
    Q, R, T = _matrix("Q", Q), _matrix("R", R), _matrix("T", T)
    K, M = R.shape
    if Q.shape != (K, K) or T.shape != (M, M):
        raise ValueError(f"Q, R and T have shapes {Q.shape}, {R.shape}, {T.shape}: give (K, K), (K, M) and (M, M).")
    C = np.block([[Q, R], [R.T, T]])
    # measured matrices are rounded; with a student that is its teacher the smallest eigenvalue is 0
    tolerance = 1e-9 * np.abs(C).max()
    if np.abs(C - C.T).max() > tolerance or np.linalg.eigvalsh(C).min() < -tolerance:
        raise ValueError(
            "the covariance [[Q, R], [Rᵀ, T]] is not symmetric and positive semi-definite: no weights have these "
            "order parameters."
        )
    return C


def latent_modes(F: Float[np.ndarray, "D N"]) -> Modes:
    """Modes of Ω = F Fᵀ/N (D, D), for features F (D, N) as in Eq. (6), X = f(CF/√D); v4 writes F for our Fᵀ."""
    F = _matrix("F", F)
    return _modes(F @ F.T / F.shape[1])


def hidden_manifold(
    w: Float[np.ndarray, "K N"], w_teacher: Float[np.ndarray, "M D"], F: Float[np.ndarray, "D N"], constants: Constants
) -> xr.Dataset:
    """Order parameters for inputs x = f(u) − a on a hidden manifold and a teacher on the latent coordinates.

    With S_kr = (1/√N) Σ_i w_ki F_ri, ::

        Q = ζ W + b² Σ,   Σ = S Sᵀ/D,   W = w wᵀ/N,   R = b S w̃ᵀ/D,   T = w̃ w̃ᵀ/D.

    Parameters
    ----------
    w, w_teacher : (K, N) and (M, D) float arrays
        First layers of students and teachers.
    F : (D, N) float array
        Features, Eq. (6).
    constants : Constants
        b and ζ of the non-linearity f, of inputs as the students see them (for ``datasets.structured``, which
        standardises: ``Constants.standardised``).

    Returns
    -------
    order_parameters : Dataset
        Q, W, Sigma (i, j), R (i, m), T (m, n).

    Raises
    ------
    ValueError
        For shapes that do not agree, as all functions here.
    """
    F = _matrix("F", F)
    w, w_teacher = _matrix("w", w, F.shape[1]), _matrix("w_teacher", w_teacher, F.shape[0])
    W, Sigma, shared, T = latent_overlaps(w, F=F, wt=w_teacher)
    found = _labelled(constants.zeta * W + constants.b**2 * Sigma, constants.b * shared, T)
    return found.assign(W=(("i", "j"), W), Sigma=(("i", "j"), Sigma))


def _labelled(Q: np.ndarray, R: np.ndarray, T: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"Q": (("i", "j"), Q), "R": (("i", "m"), R), "T": (("m", "n"), T)})


def densities(
    w: Float[np.ndarray, "K N"], w_teacher: Float[np.ndarray, "M D"], F: Float[np.ndarray, "D N"], modes: Modes
) -> xr.Dataset:
    """Order parameters of every mode τ of Ω = F Fᵀ/N, whose averages are those of :func:`hidden_manifold`.

    ::

        Γ^k_τ = S_k·ψ_τ/√D,   ω̃^m_τ = w̃_m·ψ_τ/√D,
        σ^{kl}_τ = Γ^k_τ Γ^l_τ,   r^{km}_τ = Γ^k_τ ω̃^m_τ,   t̃^{mn}_τ = ω̃^m_τ ω̃^n_τ,
        Σ = (1/D) Σ_τ σ_τ,   R = (b/D) Σ_τ r_τ,   T = (1/D) Σ_τ t̃_τ.

    Parameters
    ----------
    w, w_teacher, F
        As for :func:`hidden_manifold`.
    modes : Modes
        ``latent_modes(F)``: they belong to F and need to be found only once.

    Returns
    -------
    densities : Dataset
        sigma (i, j, mode), r (i, m, mode), tt (m, n, mode) and rho (mode).
    """
    F = _matrix("F", F)
    w, w_teacher = _matrix("w", w, F.shape[1]), _matrix("w_teacher", w_teacher, F.shape[0])
    D, N = F.shape
    return _products(w @ F.T @ modes.psi / sqrt(N * D), w_teacher @ modes.psi / sqrt(D), modes.rho)


def _products(student: np.ndarray, teacher: np.ndarray, rho: np.ndarray) -> xr.Dataset:
    """σ = Γ Γ, r = Γ ω̃ and t̃ = ω̃ ω̃ of every mode from Γ (K, modes) and ω̃ (M, modes)."""
    return xr.Dataset(
        {
            "sigma": (("i", "j", "mode"), student[:, None] * student),
            "r": (("i", "m", "mode"), student[:, None] * teacher),
            "tt": (("m", "n", "mode"), teacher[:, None] * teacher),
        },
        coords={"rho": ("mode", rho)},
    )


def generator_modes(Omega: Float[np.ndarray, "N N"]) -> Modes:
    """Modes of the covariance Ω = E x xᵀ (N, N) of centred inputs.

    Raises
    ------
    ValueError
        If Ω is not a square, symmetric matrix.
    """
    Omega = _matrix("Omega", Omega)
    if Omega.shape[0] != Omega.shape[1] or np.abs(Omega - Omega.T).max() > 1e-9 * np.abs(Omega).max():
        raise ValueError(f"Omega of shape {Omega.shape} is not square and symmetric: give E x xᵀ as (N, N).")
    return _modes(Omega)


def generator(
    w: Float[np.ndarray, "K N"],
    w_teacher: Float[np.ndarray, "M D"],
    Omega: Float[np.ndarray, "N N"],
    Phi: Float[np.ndarray, "N D"],
) -> xr.Dataset:
    """Order parameters for inputs x = G(c) of any generator G, centred, and a teacher on c (arXiv:2006.14709).

    ::

        Q = w Ω wᵀ/N,   R = w Φ w̃ᵀ/√(ND),   T = w̃ w̃ᵀ/D

    Parameters
    ----------
    w, w_teacher : (K, N) and (M, D) float arrays
        First layers of students and teachers.
    Omega, Phi : (N, N) and (N, D) float arrays
        Ω = E x xᵀ and Φ = E x cᵀ.

    Returns
    -------
    order_parameters : Dataset
        Q (i, j), R (i, m), T (m, n) and W = w wᵀ/N (i, j).
    """
    w, w_teacher, Phi = _of_generator(w, w_teacher, Phi)
    N = len(Phi)
    found = _labelled(*covariance_overlaps(w, omega=_matrix("Omega", Omega, N), phi=Phi, wt=w_teacher))
    return found.assign(W=(("i", "j"), w @ w.T / N))


def _of_generator(w: np.ndarray, w_teacher: np.ndarray, Phi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    Phi = _matrix("Phi", Phi)
    N, D = Phi.shape
    return _matrix("w", w, N), _matrix("w_teacher", w_teacher, D), Phi


def generator_densities(
    w: Float[np.ndarray, "K N"], w_teacher: Float[np.ndarray, "M D"], Phi: Float[np.ndarray, "N D"], modes: Modes
) -> xr.Dataset:
    """Order parameters of every mode τ of Ω = E x xᵀ, with ``|ψ_τ|² = N``.

    ::

        Γ^k_τ = w_k·ψ_τ/√N,   ω̃^m_τ = w̃_m Φᵀ ψ_τ/√N,   and their products as in :func:`densities`;
        Q = (1/N) Σ_τ ρ_τ σ_τ,   R = (1/√(ND)) Σ_τ r_τ.

    Parameters
    ----------
    w, w_teacher, Phi
        As for :func:`generator`.
    modes : Modes
        ``generator_modes(Omega)``.

    Returns
    -------
    densities : Dataset
        sigma (i, j, mode), r (i, m, mode), tt (m, n, mode) and rho (mode). T is not an average of tt here.
    """
    w, w_teacher, Phi = _of_generator(w, w_teacher, Phi)
    N = len(Phi)
    return _products(w @ modes.psi / sqrt(N), w_teacher @ Phi.T @ modes.psi / sqrt(N), modes.rho)


def iid(w: Float[np.ndarray, "K N"], w_teacher: Float[np.ndarray, "M N"]) -> xr.Dataset:
    """Order parameters for inputs x ~ N(0, I_N) and a teacher that acts on them, Eq. (4).

    ::

        Q = w wᵀ/N,   R = w w̃ᵀ/N,   T = w̃ w̃ᵀ/N

    Returns
    -------
    order_parameters : Dataset
        Q (i, j), R (i, m), T (m, n).
    """
    w = _matrix("w", w)
    w_teacher = _matrix("w_teacher", w_teacher, w.shape[1])
    return _labelled(*gaussian_overlaps(w, wt=w_teacher))
