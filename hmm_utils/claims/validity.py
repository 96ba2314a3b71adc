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
from hmm_utils.runs import experiments
from hmm_utils.sgd.training import evaluation_times

__all__ = ["in_words", "like_mnist", "overfits"]

LEARNT = 0.9  # where ε_g never comes below 1/4, to be within a factor of two of its minimum is no achievement
_SETTING = ("alpha", "labels", "layers", "n_latent", "n_inputs")


def _point(name: str, result: xr.Dataset) -> xr.Dataset:
    """The errors of a point in double precision, at the times that were asked for instead of the whole steps that these
    became, which differ between N; where it lies in the scan as coordinates."""
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
    """ε_g, and ε₁,₂ on structured and on Gaussian inputs, of all points.

    Raises ValueError if there are none, or if they differ in widths, times or draws.
    """
    if not results:
        raise ValueError("there are no points: give at least one.")
    points = [_point(name, result) for name, result in results.items()]
    errors = xr.concat(points, "point", join="exact", coords=[*_SETTING], compat="equals")
    between = errors["eps_12_frac"]
    return errors["eps_g_frac"], *(between.sel(inputs=name, drop=True) for name in ("test", "gauss"))


def _sum(values: xr.DataArray) -> xr.DataArray:
    """Σ over K ≤ K_max, for every K_max; NaN from the first student on that has diverged."""
    return values.cumsum("width", skipna=False)


def _slope(eps: xr.DataArray) -> xr.DataArray:
    """dε/dlnK over K ≤ K_max by least squares, (nΣxy − ΣxΣy)/(nΣx² − (Σx)²) with x = lnK; NaN for a single width."""
    x = np.log(eps["width"])
    n, Sx, Sxx = _sum(xr.ones_like(x)), _sum(x), _sum(x**2)
    return (n * _sum(x * eps) - Sx * _sum(eps)) / (n * Sxx - Sx**2).where(n > 1)


def _mean(values: xr.DataArray) -> xr.DataArray:
    """Mean over draws and initialisations; NaN if a student of any of them has diverged."""
    return values.mean(["draw", "init"], skipna=False).transpose("point", "width", "time")


def _smallest(curve: xr.DataArray) -> xr.DataArray:
    """min over t' ≤ t, early stopping; NaN from when a student has diverged."""
    return curve.copy(data=np.minimum.accumulate(curve.values, axis=curve.get_axis_num("time")))


def like_mnist(results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """C9 for every point, largest width K_max and end of training t, over (point, width, time): means over draws.

    ratio    ε₁,₂/ε_g on structured inputs, each averaged over K ≤ K_max      agrees   whether 1/RATIO < ratio < RATIO
    slope    dε₁,₂/dlnK on Gaussian inputs, K ≤ K_max                         grows    whether slope > 0
    chance   ε₁,₂ on Gaussian inputs at K_max                                 differs  whether chance > CHANCE
    learnt   whether ε̂_g(t), the smallest ε_g so far averaged over K ≤ K_max, is below RATIO ε̂_g at the end of the run
             and has come LEARNT of the way there from ½: before training, too, students err and disagree in half of
             all cases, and the claim speaks of networks after convergence
    diverged whether a student with K ≤ K_max has diverged in a draw; then nothing holds
    holds    whether a point agrees, grows, differs and has learnt
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
    """What C17 says of latent labels, for every point, K_max and t as in `like_mnist`: means over draws.

    end      dε_g/dlnK at t                       early    the same with the smallest ε_g of each student up to t
    level    ε_g averaged over K ≤ K_max          times    level over that of the point with D = 10 at the largest N and
             (geometric mean over runs)                    the same P/N, labels and layers; NaN if there is none
    diverged as in `like_mnist`
    holds    whether 0 < early < end and times > RATIO
    """
    eps_g, _, _ = _errors(results)
    total = _sum(eps_g.mean("student", skipna=False))
    level = total / _sum(xr.ones_like(eps_g["width"]))
    found = xr.Dataset(
        {
            "end": _mean(_slope(eps_g.mean("student", skipna=False))),
            "early": _mean(_slope(_smallest(eps_g).mean("student", skipna=False))),
            "level": np.exp(_mean(np.log(level.where(level > 0)))),
            "diverged": _mean(total).isnull(),
        }
    )
    found["times"] = found["level"] / _at_ten_dimensions(found)
    found["holds"] = (found["early"] > 0) & (found["end"] > found["early"]) & (found["times"] > RATIO)
    return found


def _at_ten_dimensions(found: xr.Dataset) -> xr.DataArray:
    """The level (point, width, time) that each point is compared with: at D = 10 and the largest N, at the same P/N,
    labels and layers; NaN where there is none."""
    few = experiments.experiment("fig3_left", "paper").n_latent
    settings = list(zip(*(found[axis].values for axis in ("alpha", "labels", "layers")), strict=True))
    levels = xr.full_like(found["level"], np.nan)
    for i, setting in enumerate(settings):
        alike = [j for j, other in enumerate(settings) if other == setting and found["n_latent"].values[j] == few]
        if alike:
            levels[i] = found["level"].values[max(alike, key=lambda j: found["n_inputs"].values[j])]
    return levels



def in_words(holds: xr.DataArray) -> list[str]:
    """In words, a line per point: where flags (point, time) are true, at which times; only points with at least one,
    and first those where the last flag is true."""
    at_end, before = [], []
    for flags in holds.transpose("point", "time"):
        times = flags["time"].values[flags.values]
        if times.size == 0:
            continue
        last = "the end" if flags.values[-1] else f"{times[-1]:.3g}"
        line = f"{_setting(flags)}: from t = {times[0]:.3g} to {last} ({times.size} of {flags.size} times)"
        (at_end if flags.values[-1] else before).append(line)
    return at_end + before


def _setting(point: xr.DataArray) -> str:
    """A point in words."""
    alpha, D, N = (point[axis].item() for axis in ("alpha", "n_latent", "n_inputs"))
    labels = {"sign": "labels ±1", "real": "real labels"}[point["labels"].item()]
    layers = {"first": "first layer", "both": "both layers"}[point["layers"].item()]
    return f"P = {'' if alpha == 1 else f'{alpha:g}'}N, {labels}, {layers}, D = {D}, N = {N}"
