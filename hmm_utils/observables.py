"""What is measured: the generalisation error ε_g, Eq. (3), the disagreement ε₁,₂, Eq. (5), and early stopping.

All errors come in two kinds. `mse` is half the mean squared difference; `frac` is the fraction of inputs on which two
signs differ, without the factor ½ that Eq. (5) prints: only so is ½ "no better than chance", as the text says.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["early_stopping", "errors", "final", "frac", "moments", "mse", "standard_error"]


def mse(phi: np.ndarray, y: np.ndarray) -> np.ndarray:
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
