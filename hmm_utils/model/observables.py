"""What is measured: the generalisation error ε_g, Eq. (3), the disagreement ε₁,₂, Eq. (5), early stopping, and the
order parameters Q, R, T of weights.

All errors come in two kinds. `mse` is half the mean squared difference; `frac` is the fraction of inputs on which two
signs differ, without the factor ½ that Eq. (5) prints: only so is ½ "no better than chance", as the text says.
"""

from __future__ import annotations

from math import pi

import numpy as np
import xarray as xr

__all__ = [
    "Overlaps",
    "covariance_overlaps",
    "early_stopping",
    "eps_g_erf",
    "errors",
    "final",
    "frac",
    "gaussian_overlaps",
    "half_mse",
    "hidden_manifold_overlaps",
    "latent_overlaps",
    "moments",
    "sampled_overlaps",
    "standard_error",
]


def half_mse(phi: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1/(2P*) Σ_i (φ_i − y_i)², Eq. (3), over the last axis, in double precision."""
    return np.mean(np.square(np.subtract(phi, y, dtype=np.float64)), axis=-1) / 2


def frac(phi: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1/P* Σ_i Θ(−φ_i y_i) over the last axis: the fraction of differing signs, with sgn(0) = +1.

    NaN where any φ or y of the row is NaN: a student that diverged has no sign.
    """
    differ = np.mean((phi >= 0) != (y >= 0), axis=-1)
    return np.where(np.any(np.isnan(phi) | np.isnan(y), axis=-1), np.nan, differ)


def moments(phi: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Σ q, Σ q² and the number of differing signs over the last axis, q_i = ½(φ_i − y_i)²: shape (3, …), float64.

    Moments of parts of a sample add up to those of the whole, so that errors can be measured piece by piece.
    """
    q = np.square(np.subtract(phi, y, dtype=np.float64)) / 2
    return np.stack([q.sum(axis=-1), np.square(q).sum(axis=-1), np.sum((phi >= 0) != (y >= 0), axis=-1)])


def errors(moments: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """`mse` and `frac` over n inputs from their `moments`, with the standard errors that n inputs leave.

    mse_se = s/√n with the unbiased standard deviation s of q, NaN for n = 1; frac_se = √(p(1 − p)/n).
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
    """The asymptotic value: the observable at the last evaluation time."""
    return curve.isel(time=-1)


def early_stopping(curve: xr.DataArray) -> xr.DataArray:
    """ε̂ = min_t ε(t), Appendix C: the minimum over all evaluation times, NaN for a student that diverged."""
    return curve.min("time", skipna=False)


def standard_error(values: xr.DataArray, dim: str | list[str] = "init") -> xr.DataArray:
    """Standard error of the mean over `dim`, s/√n with the unbiased s over the finite values; NaN for n < 2."""
    n = values.notnull().sum(dim)
    return (values.std(dim, ddof=1) / np.sqrt(n)).where(n > 1)


# ---- order parameters --------------------------------------------------------------------------------------------

Overlaps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Q = E λλᵀ, R = E λνᵀ and T = E ννᵀ of the local fields λ_k = w_k·x/√N of students and ν_m of teachers."""


def gaussian_overlaps(W: np.ndarray, *, wt: np.ndarray) -> Overlaps:
    """Q = WWᵀ/N, R = Ww̃ᵀ/N, T = w̃w̃ᵀ/N: i.i.d. inputs, teacher w̃ (M, N) on the inputs."""
    W, wt = np.asarray(W, float), np.asarray(wt, float)
    N = W.shape[1]
    return W @ W.T / N, W @ wt.T / N, wt @ wt.T / N


def hidden_manifold_overlaps(W: np.ndarray, *, F: np.ndarray, wt: np.ndarray, b: float, zeta: float) -> Overlaps:
    """Q = ζ WWᵀ/N + b² SSᵀ/D, R = (b/D) Sw̃ᵀ, T = w̃w̃ᵀ/D with S = WFᵀ/√N, by Gaussian equivalence.

    x = f(cF/√D) − a with F (D, N) and teacher w̃ (M, D) on c; b = E u f(u), ζ = E f(u)² − a² − b² for u ~ N(0, 1).
    Exact for N, D → ∞ and weights that are not aligned with single features.
    """
    own, known, shared, T = latent_overlaps(W, F=F, wt=wt)
    return zeta * own + b**2 * known, b * shared, T


def latent_overlaps(W: np.ndarray, *, F: np.ndarray, wt: np.ndarray) -> tuple[np.ndarray, ...]:
    """WWᵀ/N, Σ = SSᵀ/D, Sw̃ᵀ/D and T = w̃w̃ᵀ/D with S = WFᵀ/√N and F (D, N): what f weighs with b and ζ."""
    D, N = F.shape
    # in the precision of F: a copy of a large F takes longer than the product
    S = np.asarray(np.asarray(W, F.dtype) @ F.T, float) / np.sqrt(N)
    W, wt = np.asarray(W, float), np.asarray(wt, float)
    return W @ W.T / N, S @ S.T / D, S @ wt.T / D, wt @ wt.T / D


def covariance_overlaps(W: np.ndarray, *, omega: np.ndarray, phi: np.ndarray, wt: np.ndarray) -> Overlaps:
    """Q = WΩWᵀ/N, R = WΦw̃ᵀ/√(ND), T = w̃w̃ᵀ/D: any generator with Ω = E xxᵀ (N, N), Φ = E xcᵀ (N, D), w̃ (M, D) on c."""
    W, wt = np.asarray(W, float), np.asarray(wt, float)
    N, D = phi.shape
    return W @ omega @ W.T / N, W @ phi @ wt.T / np.sqrt(N * D), wt @ wt.T / D


def sampled_overlaps(W: np.ndarray, *, x: np.ndarray, z: np.ndarray, wt: np.ndarray) -> Overlaps:
    """Q, R and T as means over given samples: x (n, N), and what the teacher w̃ sees, z (n, D) or (n, N).

    For any source, with the error 1/√n of the mean; `Source.samples` gives x and z.
    """
    lam = np.asarray(x @ np.asarray(W, x.dtype).T, float) / np.sqrt(x.shape[1])
    nu = np.asarray(z @ np.asarray(wt, z.dtype).T, float) / np.sqrt(z.shape[1])
    return lam.T @ lam / len(x), lam.T @ nu / len(x), nu.T @ nu / len(x)


def eps_g_erf(Q: np.ndarray, R: np.ndarray, T: np.ndarray, v: np.ndarray, vt: np.ndarray) -> float:
    """ε_g = ½ E(φ − y)², Eq. (3), for g = erf(·/√2) in student and teacher and Gaussian fields.

    ε_g = ½ Σ_ab u_a u_b I₂(a, b) with u = (v, −ṽ), C = [[Q, R], [Rᵀ, T]] and
    I₂(a, b) = E g(x_a) g(x_b) = (2/π) arcsin(C_ab / √((1 + C_aa)(1 + C_bb))).
    """
    C = np.block([[Q, R], [R.T, T]])
    u = np.concatenate([v, -vt])
    scale = np.sqrt(1 + np.diag(C))
    return u @ np.arcsin(C / np.outer(scale, scale)) @ u / pi
