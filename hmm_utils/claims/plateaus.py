"""What a plateau is, as a measured thing."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from hmm_utils.claims.criteria import PLATEAU, above
from hmm_utils.claims.measuring import INITS, units_of, value_of, widths_of
from hmm_utils.claims.records import UNDECIDED, Finding

FLAT = 0.25
WINDOW = 3.0


def _slopes(time: np.ndarray, log_eps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln t and ln ε on four times per window of a factor w, and s(t) = −[ln ε(t√w) − ln ε(t/√w)] / ln w there."""
    log_t, step = np.log(time), np.log(WINDOW) / 4
    grid = np.arange(log_t[0], log_t[-1] + 1e-9, step)
    smooth = np.interp(grid, log_t, log_eps)
    if grid.size < 8 or not np.isfinite(smooth).all():
        return np.array([]), np.array([]), np.array([])
    return grid[2:-2], smooth[2:-2], (smooth[:-4] - smooth[4:]) / np.log(WINDOW)


def _bend(time: np.ndarray, log_eps: np.ndarray) -> tuple[int, int] | None:
    """Where an error curve lies flat and where it is steepest again, as indices into `_slopes`: the t₁ < t₂ with the
    largest s(t₂) − s(t₁) > 0 among those with s(t₁) < FLAT and ε(t₁) below a quarter of ε at the first time, since a
    shoulder in the first decay is no plateau. None if there are none.

    A rising error, s < 0, counts as level, s = 0: otherwise the end of a rise would look like the end of a plateau.
    Of several level times t₁ is the last.
    """
    _, smooth, s = _slopes(time, log_eps)
    s = np.maximum(s, 0)
    flat = np.where((smooth < log_eps[0] - np.log(4)) & (s < FLAT), s, np.inf)
    gain = s - np.minimum.accumulate(flat)
    if gain.size == 0 or not gain.max() > 0:
        return None
    steep = int(gain.argmax())
    return steep - int(flat[steep::-1].argmin()), steep


def plateau_strength(time: np.ndarray, log_eps: np.ndarray) -> float:
    """How much an error curve steepens again after it had become flat: s(t₂) − s(t₁), with s = max(−dlnε/dlnt, 0) over
    a window of a factor of three in time, and t₁, t₂ as `_bend` finds them. 0 for a curve that flattens for good, NaN
    for one that is too short or has gaps. time (T,) > 0 and ln ε (T,).

    The largest steepening of a single noisy curve is never negative. `plateau_of` is free of that bias.
    """
    s = _slopes(time, log_eps)[-1]
    if s.size == 0:
        return math.nan
    bend = _bend(time, log_eps)
    return float(s[bend[1]] - max(s[bend[0]], 0)) if bend else 0.0


def log_curves(result: xr.Dataset) -> xr.DataArray | None:
    """ln ε_g^mse (draw, init, student, time) at K = M, or at the only width; None if M was not trained. A student that
    diverges later is no example of anything before and is NaN throughout."""
    K = result.attrs["teacher_width"] if result.sizes["width"] > 1 else widths_of(result)[0]
    if K not in widths_of(result):
        return None
    curve = result["eps_g_mse"].sel(width=K).where(result["time"] > 0, drop=True)
    return np.log(curve.where(curve.notnull().all("time"))).transpose("draw", "init", "student", "time")


def _steepening(time: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """s(t₂) − s(t₁), with s = −dlnε/dlnt, of every pair of a draw: t₁ and t₂ are found on the geometric mean over the
    other students of all pairs and s is measured on the one in hand, then averaged over the two. runs (init, student,
    time), result (init,).

    The maximum over times in `plateau_strength` turns noise into strength. The two students of a pair see samples in
    different orders, so that the noise of one does not know the times that the other chose.
    """
    values = np.full(runs.shape[:2], np.nan)
    for mine, other in ((0, 1), (1, 0)):
        others = runs[np.isfinite(runs[:, other]).all(axis=1), other]
        if len(others) == 0:
            continue
        bend = _bend(time, others.mean(axis=0))
        for init, curve in enumerate(runs[:, mine]):
            s = _slopes(time, curve)[-1]
            if s.size:
                values[init, mine] = s[bend[1]] - s[bend[0]] if bend else 0.0
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def plateau_of(name: str, result: xr.Dataset) -> Finding:
    """Whether ε_g^mse has a plateau: the mean `_steepening`. Draws are not averaged before, because another teacher
    leaves its plateau at another time."""
    curves = log_curves(result)
    if curves is None:
        return Finding((value_of(name, np.array([]), INITS),), UNDECIDED)
    time = curves["time"].values
    strengths = np.stack([_steepening(time, runs) for runs in curves.values])
    found = value_of(name, *units_of(xr.DataArray(strengths, dims=("draw", "init"))))
    return Finding((found,), above(found, PLATEAU))


def plateau_heights(result: xr.Dataset) -> xr.DataArray:
    """ε_g^mse (draw, init) at the flat time t₁ of the geometric mean over the runs of each draw; NaN where that has no
    bend."""
    curves = log_curves(result)
    time, pairs = curves["time"].values, curves.mean("student")
    heights = pairs.isel(time=0) * np.nan
    for draw, runs in enumerate(pairs.values):
        whole = runs[np.isfinite(runs).all(axis=1)]
        bend = _bend(time, whole.mean(axis=0)) if len(whole) else None
        if bend:
            log_t = _slopes(time, whole.mean(axis=0))[0][bend[0]]
            heights[draw] = [np.interp(log_t, np.log(time), run) for run in runs]
    return np.exp(heights)
