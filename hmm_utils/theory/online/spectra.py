"""Spectra of the latent covariance Ω = FFᵀ/N: the Marchenko–Pastur law, and those of drawn or trained features.

F (D, N) holds the features of N inputs, as in Eq. (6) (`datasets.Inputs.features`); δ = D/N. For i.i.d. F ~ N(0, 1)
and N, D → ∞ the D eigenvalues ρ of Ω have the density

    p(ρ) = √((ρ₊ − ρ)(ρ − ρ₋)) / (2πδρ),   ρ± = (1 ± √δ)²,

with, for δ > 1, a fraction 1 − 1/δ of them at 0 (Marchenko & Pastur, Math. USSR Sb. 1, 457).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import xarray as xr
from scipy.linalg import eigh_tridiagonal

__all__ = ["density", "edges", "eigenvalues", "histogram", "mass_at_zero", "nodes"]


def _check(delta: float) -> None:
    if not 0 < delta < np.inf:
        raise ValueError(f"delta = {delta}: δ = D/N is a positive, finite number.")


def edges(delta: float) -> tuple[float, float]:
    """ρ± = (1 ± √δ)²: between them lie all eigenvalues that are not 0. Raises ValueError unless δ > 0."""
    _check(delta)
    return (1 - sqrt(delta)) ** 2, (1 + sqrt(delta)) ** 2


def mass_at_zero(delta: float) -> float:
    """max(0, 1 − 1/δ): N inputs span at most N of the D latent directions. Raises ValueError unless δ > 0."""
    _check(delta)
    return max(0.0, 1 - 1 / delta)


def density(rho: np.ndarray, delta: float) -> np.ndarray:
    """p(ρ) = √((ρ₊ − ρ)(ρ − ρ₋)) / (2πδρ) between the edges and 0 elsewhere; its integral is 1 − `mass_at_zero`.

    Raises ValueError unless δ > 0.
    """
    low, high = edges(delta)
    rho = np.asarray(rho, dtype=float)
    inside = np.sqrt(np.maximum((high - rho) * (rho - low), 0))
    return np.divide(inside, 2 * np.pi * delta * rho, out=np.zeros_like(rho), where=inside > 0)


def nodes(delta: float, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """n eigenvalues ρ_τ, ascending, and weights p_τ with Σ_τ p_τ = 1 that stand for the whole law.

    The Gauss quadrature of the law, mass at zero included: Σ_τ p_τ h(ρ_τ) = ∫ dp(ρ) h(ρ) for polynomials h of degree
    below 2n. The polynomials orthogonal under the law obey a recursion with constant coefficients, the (1 + δ) and √δ
    below (for the first, the mean of the law, 1), whose matrix has the ρ_τ as eigenvalues (Golub & Welsch 1969).

    Raises ValueError unless δ > 0 and n ≥ 1.
    """
    _check(delta)
    if n < 1:
        raise ValueError(f"n = {n}: give at least 1 node.")
    diagonal = np.full(n, 1 + delta)
    diagonal[0] = 1
    rho, vectors = eigh_tridiagonal(diagonal, np.full(n - 1, sqrt(delta)))
    # Ω has no negative eigenvalue: what is below 0 is rounding
    return np.maximum(rho, 0), vectors[0] ** 2


def eigenvalues(F: np.ndarray) -> np.ndarray:
    """The D eigenvalues of Ω = FFᵀ/N for features F (D, N), ascending, exactly 0 for the last D − N if D > N.

    Raises ValueError if F is no matrix or holds values that are not finite.
    """
    F = np.asarray(F, dtype=float)
    if F.ndim != 2 or not np.isfinite(F).all():
        raise ValueError(f"F has shape {F.shape}: give the features as a matrix (D, N) of finite numbers.")
    D, N = F.shape
    rho = np.zeros(D)
    singular = np.linalg.svd(F, compute_uv=False)
    rho[: len(singular)] = singular**2 / N
    return rho[::-1]


def histogram(rho: np.ndarray, bins: int = 50) -> xr.DataArray:
    """Density of eigenvalues over the centres `rho` of equally wide bins; its integral is 1.

    Raises ValueError if an eigenvalue is not finite.
    """
    rho = np.asarray(rho, dtype=float)
    if not np.isfinite(rho).all():
        raise ValueError("some eigenvalues are not finite: check the matrix that they come from.")
    height, edge = np.histogram(rho, bins=bins, density=True)
    return xr.DataArray(height, coords={"rho": (edge[1:] + edge[:-1]) / 2}, dims="rho", name="density")
