"""Spectra of the latent covariance Ω = FFᵀ/N: the Marchenko–Pastur law, and those of drawn or trained features.

F (D, N) holds the features of N inputs, as in Eq. (6) (``datasets.Inputs.features``); δ = D/N. For i.i.d. F ~ N(0, 1)
and N, D → ∞ the D eigenvalues ρ of Ω have the density ::

    p(ρ) = √((ρ₊ − ρ)(ρ − ρ₋)) / (2πδρ),   ρ± = (1 ± √δ)²,

with, for δ > 1, a fraction 1 − 1/δ of them at 0 (Marchenko & Pastur, Math. USSR Sb. 1, 457).
Functions of δ raise ValueError unless it is positive and finite.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal

from hmm_utils.model import parameters

__all__ = ["density", "edges", "eigenvalues", "histogram", "mass_at_zero", "nodes"]


def edges(delta: float) -> tuple[float, float]:
    """ρ± = (1 ± √δ)²: between them lie all eigenvalues that are not 0.

    Examples
    --------
    >>> edges(0.25)
    (0.25, 2.25)
    """
    root = sqrt(parameters.positive("delta", delta))
    return (1 - root) ** 2, (1 + root) ** 2


def mass_at_zero(delta: float) -> float:
    """max(0, 1 − 1/δ): N inputs span at most N of the D latent directions."""
    return max(0.0, 1 - 1 / parameters.positive("delta", delta))


def density(rho: Float[np.ndarray, "*shape"], delta: float) -> Float[np.ndarray, "*shape"]:
    """Density of the Marchenko–Pastur law, 0 outside its edges; its integral is 1 − :func:`mass_at_zero`.

    ::

        p(ρ) = √((ρ₊ − ρ)(ρ − ρ₋)) / (2πδρ)

    Parameters
    ----------
    rho : float array
        Where the density is taken.
    delta : float
        δ = D/N > 0.
    """
    low, high = edges(delta)
    rho = np.asarray(rho, dtype=float)
    inside = np.sqrt(np.maximum((high - rho) * (rho - low), 0))
    return np.divide(inside, 2 * np.pi * delta * rho, out=np.zeros_like(rho), where=inside > 0)


def nodes(delta: float, n: int = 100) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Gauss quadrature of the Marchenko–Pastur law, mass at zero included.

    For polynomials h of degree below 2n ::

        Σ_τ p_τ h(ρ_τ) = ∫ dp(ρ) h(ρ).

    The polynomials orthogonal under the law obey a recursion with constant coefficients, 1 + δ and √δ (for the first,
    the mean of the law, 1), whose matrix has the ρ_τ as eigenvalues.

    Parameters
    ----------
    delta : float
        δ = D/N > 0.
    n : int
        Number of nodes.

    Returns
    -------
    rho, p : (n,) float arrays
        Nodes ρ_τ, ascending, and their weights, Σ_τ p_τ = 1.

    Raises
    ------
    ValueError
        Unless δ > 0 and n ≥ 1.

    References
    ----------
    Golub & Welsch, Math. Comp. 23, 221 (1969).
    """
    diagonal = np.full(parameters.whole("n", n), 1 + parameters.positive("delta", delta))
    diagonal[0] = 1
    rho, vectors = eigh_tridiagonal(diagonal, np.full(n - 1, sqrt(delta)))
    # Ω has no negative eigenvalue: what is below 0 is rounding
    return np.maximum(rho, 0), vectors[0] ** 2


def eigenvalues(F: Float[np.ndarray, "D N"]) -> Float[np.ndarray, " D"]:
    """Eigenvalues of Ω = FFᵀ/N, ascending, exactly 0 for the last D − N if D > N.

    Parameters
    ----------
    F : (D, N) float array
        Features, Eq. (6).

    Raises
    ------
    ValueError
        If F is no matrix or holds values that are not finite.
    """
    F = np.asarray(F, dtype=float)
    if F.ndim != 2 or not np.isfinite(F).all():
        raise ValueError(f"F has shape {F.shape}: give the features as a matrix (D, N) of finite numbers.")
    D, N = F.shape
    rho = np.zeros(D)
    singular = np.linalg.svd(F, compute_uv=False)
    rho[: len(singular)] = singular**2 / N
    return rho[::-1]


def histogram(rho: Float[np.ndarray, " D"], bins: int = 50) -> xr.DataArray:
    """Density of eigenvalues over equally wide bins; its integral is 1.

    Parameters
    ----------
    rho : (D,) float array
        Eigenvalues.
    bins : int
        Number of bins.

    Returns
    -------
    density : DataArray
        Over the coordinate ``rho``, the centres of the bins.

    Raises
    ------
    ValueError
        If an eigenvalue is not finite.
    """
    rho = np.asarray(rho, dtype=float)
    if not np.isfinite(rho).all():
        raise ValueError("some eigenvalues are not finite: check the matrix that they come from.")
    height, edge = np.histogram(rho, bins=bins, density=True)
    return xr.DataArray(height, coords={"rho": (edge[1:] + edge[:-1]) / 2}, dims="rho", name="density")
