"""Numbers with intervals, read off labelled results.

What is averaged over what: the two students of a pair first, then the initialisations of a draw, because they share the
inputs, the teacher and the order of the samples. Draws of inputs and teacher are the independent units. A result with a
single draw (there is one MNIST) has its initialisations as units, and its interval speaks about that draw alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.claims.records import Reading, Value

DRAWS, INITS = "draws", "initialisations"


def units_of(values: xr.DataArray) -> tuple[np.ndarray, str]:
    """The independent numbers in values (draw, init, …), and what they are: the means of draws or, of a single draw,
    its initialisations. Students that diverged are left out."""
    if "student" in values.dims:
        values = values.mean("student")
    if values.sizes["draw"] > 1:
        return values.mean("init").transpose("draw", ...).values, DRAWS
    return values.isel(draw=0).transpose("init", ...).values, INITS


def value_of(name: str, units: np.ndarray, over: str) -> Value:
    """x̄ ± t₀.₉₇₅(n − 1) s/√n of independent numbers; NaNs are left out, one number has an infinite interval."""
    x = units[np.isfinite(units)]
    mean = float(x.mean()) if x.size else math.nan
    half = float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size)) if x.size > 1 else math.inf
    # NaN ± ∞ is NaN, but nothing is known where nothing was measured
    low, high = (mean - half, mean + half) if x.size else (-math.inf, math.inf)
    return Value(name, mean, low, high, int(x.size), over)


def quotient(name: str, a: xr.DataArray, b: xr.DataArray) -> Value:
    """Geometric mean of a over that of b with Welch's interval, for errors a and b of different runs."""
    (x, over), (y, other) = units_of(np.log(a)), units_of(np.log(b))
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    n, over = int(x.size + y.size), over if over == other else f"{over} and {other}"
    if min(x.size, y.size) < 2:
        mean = math.exp(x.mean() - y.mean()) if x.size and y.size else math.nan
        return Value(name, mean, 0.0, math.inf, n, over)
    middle = x.mean() - y.mean()
    u, v = x.var(ddof=1) / x.size, y.var(ddof=1) / y.size
    # Welch and Satterthwaite's degrees of freedom; without any scatter they do not matter
    freedom = (u + v) ** 2 / (u**2 / (x.size - 1) + v**2 / (y.size - 1)) if u + v > 0 else 1.0
    half = stats.t.ppf(0.975, freedom) * math.sqrt(u + v)
    # e^709 is the largest number there is
    return Value(name, *(math.exp(min(z, 709.0)) for z in (middle, middle - half, middle + half)), n, over)


def on_inputs(result: xr.Dataset, inputs: str) -> xr.DataArray:
    """ε₁,₂^frac on "test" or on "gauss" inputs."""
    return result["eps_12_frac"].sel(inputs=inputs)


def slope_in_log_width(name: str, curve: xr.DataArray, at: Reading) -> Value:
    """dε/dlnK by least squares, in every unit."""
    if curve.sizes["width"] < 2:
        return value_of(name, np.array([]), INITS)
    values, over = units_of(at(curve))
    return value_of(name, np.polyfit(np.log(curve["width"].values), values.T, 1)[0], over)


def mean_over_widths(name: str, curve: xr.DataArray, widths: Sequence[int], at: Reading) -> Value:
    """Mean over these widths."""
    return value_of(name, *units_of(at(curve).sel(width=list(widths)).mean("width")))


def ratio_of(name: str, a: xr.DataArray, b: xr.DataArray, at: Reading) -> Value:
    """Mean over widths of a over that of b, of the same runs: in every run, then over runs."""
    means = (at(curve) for curve in (a, b))
    a, b = (m.mean(["student", "width"] if "student" in m.dims else ["width"]) for m in means)
    # two students without any error neither agree nor disagree with their errors
    return value_of(name, *units_of(a / b.where(b > 0)))


def widths_of(result: xr.Dataset) -> list[int]:
    return [int(K) for K in result["width"].values]


def split_widths(result: xr.Dataset) -> tuple[list[int], list[int]]:
    """Widths K < M and K ≥ M."""
    M = result.attrs["teacher_width"]
    return [K for K in widths_of(result) if K < M], [K for K in widths_of(result) if K >= M]
