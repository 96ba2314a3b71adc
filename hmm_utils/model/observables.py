"""The generalisation error ε_g, Eq. (3), the disagreement ε₁,₂, Eq. (5), early stopping, and order parameters Q, R, T.

Errors come in two kinds, ``mse``, half the mean squared difference, and ``frac``, the fraction of inputs on which two
signs differ, without the factor ½ that Eq. (5) prints: ½ is then "no better than chance", as the text says.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped

__all__ = [
    "Overlaps", "covariance_overlaps", "early_stopping", "eps_g_erf", "errors", "final", "frac",
    "gaussian_overlaps", "half_mse", "hidden_manifold_overlaps", "latent_overlaps", "moments", "sampled_overlaps",
    "standard_error",
]  # fmt: skip


def half_mse(phi: Shaped[np.ndarray, "*rows P"], y: Shaped[np.ndarray, "*labels P"]) -> np.ndarray | np.floating:
    """1/(2P*) Σ_i (φ_i − y_i)², Eq. (3), over the last axis, in double precision."""
    return np.mean(np.square(np.subtract(phi, y, dtype=np.float64)), axis=-1) / 2


def frac(phi: Shaped[np.ndarray, "*rows P"], y: Shaped[np.ndarray, "*labels P"]) -> Float[np.ndarray, " ..."]:
    """1/P* Σ_i Θ(−φ_i y_i) over the last axis: the fraction of differing signs, with sgn(0) = +1.

    NaN where any φ or y of the row is NaN: a student that diverged has no sign.
    """
    differ = np.mean((phi >= 0) != (y >= 0), axis=-1)
    return np.where(np.any(np.isnan(phi) | np.isnan(y), axis=-1), np.nan, differ)


def moments(phi: Shaped[np.ndarray, "*rows P"], y: Shaped[np.ndarray, "*labels P"]) -> Float[np.ndarray, "3 ..."]:
    """Σ q, Σ q² and the number of differing signs over the last axis, with q_i = ½(φ_i − y_i)².

    Moments of parts of a sample add up to those of the whole, so that errors can be measured piece by piece.

    Returns
    -------
    (3, …) float64 array
    """
    q = np.square(np.subtract(phi, y, dtype=np.float64)) / 2
    return np.stack([q.sum(axis=-1), np.square(q).sum(axis=-1), np.sum((phi >= 0) != (y >= 0), axis=-1)])


def errors(moments: Float[np.ndarray, "3 ..."], n: int) -> dict[str, Any]:
    """Errors over n inputs from their :func:`moments`, with the standard errors due to the number of inputs.

    With p = frac and the unbiased standard deviation s of q::

        mse_se = s/√n,    frac_se = √(p(1 − p)/n)

    Returns
    -------
    dict
        mse, mse_se (NaN for n = 1), frac and frac_se, arrays like one of the moments.
    """
    mse, square, frac = moments / n
    # rounding can make the variance of equal values negative
    variance = np.maximum(square - mse**2, 0) * (n / (n - 1) if n > 1 else np.nan)
    return {
        "mse": mse,
        "mse_se": np.sqrt(variance / n),
        "frac": frac,
        "frac_se": np.sqrt(frac * (1 - frac) / n),
    }


def final(curve: xr.DataArray) -> xr.DataArray:
    """Asymptotic value: the observable at the last evaluation time."""
    return curve.isel(time=-1)


def early_stopping(curve: xr.DataArray) -> xr.DataArray:
    """ε̂ = min_t ε(t), Appendix C: the minimum over all evaluation times, NaN for a student that diverged."""
    return curve.min("time", skipna=False)


def standard_error(values: xr.DataArray, dim: str | list[str] = "init") -> xr.DataArray:
    """Uncertainty of a mean over ``dim``, s/√n with the unbiased s of the finite values; NaN for n < 2."""
    n = values.notnull().sum(dim)
    return (values.std(dim, ddof=1) / np.sqrt(n)).where(n > 1)


# ---- order parameters --------------------------------------------------------------------------------------------

Overlaps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Q = E λλᵀ, R = E λνᵀ and T = E ννᵀ of the local fields λ_k = w_k·x/√N of students and ν_m of teachers."""


def gaussian_overlaps(W: Shaped[np.ndarray, "K N"], *, wt: Shaped[np.ndarray, "M N"]) -> Overlaps:
    """Order parameters for i.i.d. inputs and a teacher w̃ (M, N) on the inputs.

    ::

        Q = WWᵀ/N,    R = Ww̃ᵀ/N,    T = w̃w̃ᵀ/N
    """
    W, wt = np.asarray(W, float), np.asarray(wt, float)
    N = W.shape[1]
    return W @ W.T / N, W @ wt.T / N, wt @ wt.T / N


def hidden_manifold_overlaps(
    W: Shaped[np.ndarray, "K N"], *, F: Float[np.ndarray, "D N"], wt: Shaped[np.ndarray, "M D"], b: float, zeta: float
) -> Overlaps:
    """Order parameters on the hidden manifold, by Gaussian equivalence.

    With S = WFᵀ/√N::

        Q = ζ WWᵀ/N + b² SSᵀ/D,    R = (b/D) Sw̃ᵀ,    T = w̃w̃ᵀ/D

    Exact for N, D → ∞ and weights that are not aligned with single features.

    Parameters
    ----------
    W : (K, N) array
        First layer of the students, which see x = f(cF/√D) − a.
    F : (D, N) float array
        Features.
    wt : (M, D) array
        First layer of the teacher, which sees c.
    b, zeta : float
        E u f(u) and E f(u)² − a² − b² for u ~ N(0, 1): see :mod:`hmm_utils.model.nonlinearities`.
    """
    own, known, shared, T = latent_overlaps(W, F=F, wt=wt)
    return zeta * own + b**2 * known, b * shared, T


def latent_overlaps(
    W: Shaped[np.ndarray, "K N"], *, F: Float[np.ndarray, "D N"], wt: Shaped[np.ndarray, "M D"]
) -> tuple[np.ndarray, ...]:
    """WWᵀ/N, Σ = SSᵀ/D, Sw̃ᵀ/D and T = w̃w̃ᵀ/D with S = WFᵀ/√N: the overlaps that f weighs with b and ζ."""
    D, N = F.shape
    # in the precision of F: a copy of a large F takes longer than the product
    S = np.asarray(np.asarray(W, F.dtype) @ F.T, float) / np.sqrt(N)
    W, wt = np.asarray(W, float), np.asarray(wt, float)
    return W @ W.T / N, S @ S.T / D, S @ wt.T / D, wt @ wt.T / D


def covariance_overlaps(
    W: Shaped[np.ndarray, "K N"],
    *,
    omega: Float[np.ndarray, "N N"],
    phi: Float[np.ndarray, "N D"],
    wt: Shaped[np.ndarray, "M D"],
) -> Overlaps:
    """Order parameters for any generator with Ω = E xxᵀ and Φ = E xcᵀ, and a teacher w̃ (M, D) on c.

    ::

        Q = WΩWᵀ/N,    R = WΦw̃ᵀ/√(ND),    T = w̃w̃ᵀ/D
    """
    W, wt = np.asarray(W, float), np.asarray(wt, float)
    N, D = phi.shape
    return W @ omega @ W.T / N, W @ phi @ wt.T / np.sqrt(N * D), wt @ wt.T / D


def sampled_overlaps(
    W: Shaped[np.ndarray, "K N"],
    *,
    x: Float[np.ndarray, "n N"],
    z: Float[np.ndarray, "n Z"],
    wt: Shaped[np.ndarray, "M Z"],
) -> Overlaps:
    """Order parameters as means over samples of any source, with a standard error of order 1/√n.

    Parameters
    ----------
    W : (K, N) array
        First layer of the students.
    x : (n, N) float array
        Inputs.
    z : (n, D) or (n, N) float array
        What the teacher sees of them: see :meth:`hmm_utils.data.streams.Source.samples`.
    wt : (M, D) or (M, N) array
        First layer of the teacher.
    """
    lam = np.asarray(x @ np.asarray(W, x.dtype).T, float) / np.sqrt(x.shape[1])
    nu = np.asarray(z @ np.asarray(wt, z.dtype).T, float) / np.sqrt(z.shape[1])
    return lam.T @ lam / len(x), lam.T @ nu / len(x), nu.T @ nu / len(x)


def eps_g_erf(
    Q: Float[np.ndarray, "K K"],
    R: Float[np.ndarray, "K M"],
    T: Float[np.ndarray, "M M"],
    v: Shaped[np.ndarray, " K"],
    vt: Shaped[np.ndarray, " M"],
) -> float:
    """ε_g = ½ E(φ − y)², Eq. (3), for g = erf(·/√2) in student and teacher and Gaussian fields.

    With u = (v, −ṽ) and C = [[Q, R], [Rᵀ, T]]::

        ε_g = ½ Σ_ab u_a u_b I₂(a, b),
        I₂(a, b) = E g(x_a) g(x_b) = (2/π) arcsin(C_ab / √((1 + C_aa)(1 + C_bb)))
    """
    C = np.block([[Q, R], [R.T, T]])
    u = np.concatenate([v, -vt])
    scale = np.sqrt(1 + np.diag(C))
    return float(u @ np.arcsin(C / np.outer(scale, scale)) @ u / pi)
