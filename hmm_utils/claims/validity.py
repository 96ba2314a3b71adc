"""Where claims C9 and C17 hold among the settings that the captions of Figs. 3 and 9 leave open.

The points are those of :mod:`hmm_utils.runs.scan`. The end time and the largest width need no points of their own:
errors are measured along the run, and widths K ≤ K_max are read off one fleet.

The criteria are those of the claims, applied to means over draws: a scan has two draws per point, and a confidence
interval from two draws (12.7 standard errors to either side) decides nothing. The scan shows where a claim can hold
and proves none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from hmm_utils.claims.hidden_manifold import CHANCE
from hmm_utils.claims.independent_students import RATIO
from hmm_utils.claims.measuring import exp, log
from hmm_utils.runs import experiments
from hmm_utils.sgd.training import evaluation_times

__all__ = ["in_words", "like_mnist", "overfits"]

LEARNT = 0.9  # where ε_g never comes below 1/4, to be within a factor of two of its minimum is no achievement
_SETTING = ("alpha", "labels", "layers", "n_latent", "n_inputs")


def _point(name: str, result: xr.Dataset) -> xr.Dataset:
    """Errors of a point in double precision, with its place in the scan as coordinates.

    Times are those of the configuration: the whole steps nearest to them differ between N.
    """
    at = result.attrs
    times = evaluation_times(at["time"], at["n_times"])
    errors = result[["eps_g_frac", "eps_12_frac"]].astype(float).sel(time=times, method="nearest")
    return errors.assign_coords(
        time=("time", times, {"long_name": "steps / N"}),
        point=name,
        alpha=at["n_train"] / at["n_inputs"],
        labels=at["labels"],
        layers=at["layers"],
        n_latent=at["n_latent"],
        n_inputs=at["n_inputs"],
    )


def _errors(results: Mapping[str, xr.Dataset]) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Errors ε_g, and ε₁,₂ on structured and on Gaussian inputs, of all points.

    Raises ValueError if there are none, or if they differ in widths, times or draws.
    """
    if not results:
        raise ValueError("there are no points: give at least one.")
    points = [_point(name, result) for name, result in results.items()]
    errors = xr.concat(points, "point", join="exact", coords=[*_SETTING], compat="equals")
    test, gauss = (errors["eps_12_frac"].sel(inputs=name, drop=True) for name in ("test", "gauss"))
    return errors["eps_g_frac"], test, gauss


def _sum(values: xr.DataArray) -> xr.DataArray:
    """Sum over K ≤ K_max, for every K_max; NaN from the first student on that has diverged."""
    return values.cumsum("width", skipna=False)


def _slope(eps: xr.DataArray) -> xr.DataArray:
    """Slope dε/dlnK over K ≤ K_max: (nΣxy − ΣxΣy)/(nΣx² − (Σx)²) with x = lnK; NaN for a single width."""
    x = log(eps["width"])
    n, Sx, Sxx = _sum(xr.ones_like(x)), _sum(x), _sum(x**2)
    return (n * _sum(x * eps) - Sx * _sum(eps)) / (n * Sxx - Sx**2).where(n > 1)


def _mean(values: xr.DataArray) -> xr.DataArray:
    """Mean over draws and initialisations; NaN if a student of any of them has diverged."""
    return values.mean(["draw", "init"], skipna=False).transpose("point", "width", "time")


def _smallest(curve: xr.DataArray) -> xr.DataArray:
    """Minimum over t' ≤ t, early stopping; NaN from when a student has diverged."""
    return curve.copy(data=np.minimum.accumulate(curve.values, axis=curve.get_axis_num("time")))


def like_mnist(results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Apply C9 to every point, largest width K_max and end of training t.

    Parameters
    ----------
    results : mapping of str to Dataset
        Results of the points by name, with the same widths, times and number of draws.

    Returns
    -------
    measured : Dataset
        Means over draws (point, width, time)::

            ratio    ε₁,₂/ε_g on structured inputs, each averaged over K ≤ K_max
            slope    dε₁,₂/dlnK on Gaussian inputs, K ≤ K_max
            chance   ε₁,₂ on Gaussian inputs at K_max

        and what follows from them::

            agrees   1/RATIO < ratio < RATIO
            grows    slope > 0
            differs  chance > CHANCE
            learnt   ε̂_g(t) < RATIO ε̂_g(end)  and  ½ − ε̂_g(t) > LEARNT [½ − ε̂_g(end)]
            holds    all four
            diverged whether a student with K ≤ K_max has diverged in a draw; then nothing holds

    Raises
    ------
    ValueError
        If there are no points, or if they differ in widths, times or draws.

    Notes
    -----
    ε̂_g(t) is the smallest ε_g up to t, averaged over K ≤ K_max. Before training, too, students err and disagree in
    half of all cases, and the claim is about networks after convergence.
    """
    eps_g, test, gauss = _errors(results)
    total = _sum(eps_g.mean("student", skipna=False))
    best = _smallest(_mean(total)) / _sum(xr.ones_like(eps_g["width"]))
    at_last = best.isel(time=-1, drop=True)
    found = xr.Dataset(
        {
            "ratio": _mean(_sum(test) / total.where(total > 0)),
            "slope": _mean(_slope(gauss)),
            "chance": _mean(gauss),
            "learnt": (best < RATIO * at_last) & (0.5 - best > LEARNT * (0.5 - at_last)),
            "diverged": _mean(total).isnull(),
        }
    )
    found["agrees"] = (found["ratio"] > 1 / RATIO) & (found["ratio"] < RATIO)
    found["grows"] = found["slope"] > 0
    found["differs"] = found["chance"] > CHANCE
    found["holds"] = found["agrees"] & found["grows"] & found["differs"] & found["learnt"]
    return found


def overfits(results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Apply what C17 states about latent labels to every point, with arguments and errors as in :func:`like_mnist`.

    Returns
    -------
    measured : Dataset
        Means over draws (point, width, time)::

            end      dε_g/dlnK at t
            early    the same with the smallest ε_g of each student up to t
            level    ε_g averaged over K ≤ K_max, geometric mean over runs
            times    level over that of the point with D = 10 at the largest N and the same P/N, labels and layers;
                     NaN if there is none
            holds    0 < early < end and times > RATIO
            diverged as in like_mnist
    """
    eps_g, _, _ = _errors(results)
    total = _sum(eps_g.mean("student", skipna=False))
    level = total / _sum(xr.ones_like(eps_g["width"]))
    found = xr.Dataset(
        {
            "end": _mean(_slope(eps_g.mean("student", skipna=False))),
            "early": _mean(_slope(_smallest(eps_g).mean("student", skipna=False))),
            "level": exp(_mean(log(level.where(level > 0)))),
            "diverged": _mean(total).isnull(),
        }
    )
    found["times"] = found["level"] / _at_ten_dimensions(found)
    found["holds"] = (found["early"] > 0) & (found["end"] > found["early"]) & (found["times"] > RATIO)
    return found


def _at_ten_dimensions(found: xr.Dataset) -> xr.DataArray:
    """Level (point, width, time) that each point is compared with; NaN where there is none."""
    few = experiments.experiment("fig3_left", "paper").n_latent
    settings = list(zip(*(found[axis].values for axis in ("alpha", "labels", "layers")), strict=True))
    levels = xr.full_like(found["level"], np.nan)
    for i, setting in enumerate(settings):
        alike = [j for j, other in enumerate(settings) if other == setting and found["n_latent"].values[j] == few]
        if alike:
            levels[i] = found["level"].values[max(alike, key=lambda j: found["n_inputs"].values[j])]
    return levels


def in_words(holds: xr.DataArray) -> list[str]:
    """Describe where and when flags are true.

    Parameters
    ----------
    holds : (point, time) bool DataArray

    Returns
    -------
    lines : list of str
        One for each point with a true flag; first those where the last flag is true.
    """
    at_end: list[str] = []
    before: list[str] = []
    for flags in holds.transpose("point", "time"):
        times = flags["time"].values[flags.values]
        if times.size == 0:
            continue
        last = "the end" if flags.values[-1] else f"{times[-1]:.3g}"
        line = f"{_setting(flags)}: from t = {times[0]:.3g} to {last} ({times.size} of {flags.size} times)"
        (at_end if flags.values[-1] else before).append(line)
    return at_end + before


def _setting(point: xr.DataArray) -> str:
    """Describe a point."""
    alpha, D, N = (point[axis].item() for axis in ("alpha", "n_latent", "n_inputs"))
    labels = {"sign": "labels ±1", "real": "real labels"}[point["labels"].item()]
    layers = {"first": "first layer", "both": "both layers"}[point["layers"].item()]
    return f"P = {'' if alpha == 1 else f'{alpha:g}'}N, {labels}, {layers}, D = {D}, N = {N}"
