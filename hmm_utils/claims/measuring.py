"""Numbers with intervals, read off labelled results.

The two students of a pair are averaged first, then the initialisations of a draw, because these share the inputs, the
teacher and the order of the samples. Draws of inputs and teacher are the independent units. A result with a single draw
(there is one MNIST) has its initialisations as units, and its interval is conditional on that draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.claims.records import Readout, Results, Value

# NumPy's own functions, of which a type checker does not know that they return DataArrays
log, exp = partial(xr.apply_ufunc, np.log), partial(xr.apply_ufunc, np.exp)

DRAWS, INITS = "draws", "initialisations"


def parts_of(results: Results, setup: str) -> dict[str, xr.Dataset]:
    """Results of a set-up by name: its own, one for each choice of trained layers, and those of longer runs."""
    return {name: result for name, result in results.items() if name == setup or name.startswith(f"{setup}/")}


def independent_units(values: xr.DataArray) -> tuple[np.ndarray, str]:
    """Average values over what is not independent.

    Parameters
    ----------
    values : (draw, init, …) float array
        NaN for students that diverged, which are left out; may have a dimension ``student``.

    Returns
    -------
    units : (n, …) float array
        The means of draws or, for a single draw, its initialisations.
    over : str
        Which of the two these are.
    """
    if "student" in values.dims:
        values = values.mean("student")
    if values.sizes["draw"] > 1:
        return values.mean("init").transpose("draw", ...).values, DRAWS
    return values.isel(draw=0).transpose("init", ...).values, INITS


def mean_of(name: str, units: np.ndarray, over: str) -> Value:
    """Mean of independent numbers with Student's 95 % interval.

    ::

        x̄ ± t₀.₉₇₅(n − 1) s/√n

    NaNs are left out; a single number has an infinite interval.
    """
    x = units[np.isfinite(units)]
    mean = float(x.mean()) if x.size else math.nan
    half = float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size)) if x.size > 1 else math.inf
    # NaN ± ∞ is NaN, but nothing is known where nothing was measured
    low, high = (mean - half, mean + half) if x.size else (-math.inf, math.inf)
    return Value(name, mean, low, high, int(x.size), over)


def ratio_between_runs(name: str, a: xr.DataArray, b: xr.DataArray, over: str | None = None) -> Value:
    """Ratio of the geometric means of errors of different runs, with Welch's 95 % interval of its logarithm.

    Parameters
    ----------
    a, b : (draw, init) float arrays
        Positive errors.
    over : str, optional
        What the independent units are, if not draws or initialisations.
    """
    (x, over_a), (y, over_b) = independent_units(log(a)), independent_units(log(b))
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    n, over = int(x.size + y.size), over or (over_a if over_a == over_b else f"{over_a} and {over_b}")
    if min(x.size, y.size) < 2:
        mean = math.exp(x.mean() - y.mean()) if x.size and y.size else math.nan
        return Value(name, mean, 0.0, math.inf, n, over)
    middle = x.mean() - y.mean()
    u, v = x.var(ddof=1) / x.size, y.var(ddof=1) / y.size
    # Welch and Satterthwaite's degrees of freedom; without any scatter they do not matter
    freedom = (u + v) ** 2 / (u**2 / (x.size - 1) + v**2 / (y.size - 1)) if u + v > 0 else 1.0
    half = stats.t.ppf(0.975, freedom) * math.sqrt(u + v)
    # e^709 is the largest number there is
    mean, low, high = (math.exp(min(z, 709.0)) for z in (middle, middle - half, middle + half))
    return Value(name, mean, low, high, n, over)


def ratio_within_runs(name: str, a: xr.DataArray, b: xr.DataArray, at: Readout) -> Value:
    """Ratio of two errors of the same run, each averaged over widths, then the mean over runs."""
    means = (at(curve) for curve in (a, b))
    a, b = (m.mean(["student", "width"] if "student" in m.dims else ["width"]) for m in means)
    # two students without any error neither agree nor disagree with their errors
    return mean_of(name, *independent_units(a / b.where(b > 0)))


def slope_in_log_width(name: str, curve: xr.DataArray, at: Readout) -> Value:
    """Slope dε/dlnK by least squares, in every unit."""
    if curve.sizes["width"] < 2:
        return mean_of(name, np.array([]), INITS)
    values, over = independent_units(at(curve))
    return mean_of(name, np.polyfit(np.log(curve["width"].values), values.T, 1)[0], over)


def mean_over_widths(name: str, curve: xr.DataArray, widths: Sequence[int], at: Readout) -> Value:
    """Mean of an error over these widths K."""
    return mean_of(name, *independent_units(at(curve).sel(width=list(widths)).mean("width")))


def disagreement(result: xr.Dataset, inputs: str) -> xr.DataArray:
    """ε₁,₂^frac on "test" or on "gauss" inputs."""
    return result["eps_12_frac"].sel(inputs=inputs)


def widths_of(result: xr.Dataset) -> list[int]:
    """Widths K of the students in a result."""
    return [int(K) for K in result["width"].values]


def split_widths(result: xr.Dataset) -> tuple[list[int], list[int]]:
    """Widths K < M and K ≥ M."""
    M = result.attrs["teacher_width"]
    return [K for K in widths_of(result) if K < M], [K for K in widths_of(result) if K >= M]
