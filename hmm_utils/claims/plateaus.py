"""Claims C6 and C7, Sec. 3.2: plateaus of the test error, and how the strength of a plateau is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from hmm_utils.claims.logic import above, by_case, negate
from hmm_utils.claims.measuring import INITS, exp, independent_units, log, mean_of, parts_of, widths_of
from hmm_utils.claims.records import Claim, Finding, Results

NOTEBOOK = "02_plateaus"

FLAT = 0.25
WINDOW = 3.0
PLATEAU = 0.2
PLATEAU_WHY = (
    "curves that flatten for good stay below about 0.1 in this measure, noise included, a plateau with a drop gives "
    "0.3 to 1"
)
PLATEAU_RULE = (
    f"steepening s(t₂) − s(t₁) after s(t₁) < {FLAT}, with s = −dlnε/dlnt and t₁, t₂ chosen on the pairs' other "
    f"students, above {PLATEAU}"
)
NO_PLATEAU_RULE = f"steepening after a flat stretch below {PLATEAU}"


def plateau_strength(time: np.ndarray, log_eps: np.ndarray) -> float:
    """How much an error curve steepens again after it has become flat.

    With s averaged over a factor WINDOW in time, and t₁ < t₂ the times with the largest steepening::

        s(t₂) − s(t₁),    s = max(−dlnε/dlnt, 0),    s(t₁) < FLAT,    ε(t₁) < ε(first time)/4

    Parameters
    ----------
    time, log_eps : (T,) float arrays
        Times above 0, and ln ε.

    Returns
    -------
    strength : float
        0 for a curve that flattens for good, NaN for one that is too short or has gaps.

    Notes
    -----
    The maximum over times makes the strength of a single noisy curve positive. :func:`has_plateau` has no such bias.
    """
    s = _slopes(time, log_eps)[-1]
    if s.size == 0:
        return math.nan
    bend = _bend(time, log_eps)
    return float(s[bend[1]] - max(s[bend[0]], 0)) if bend else 0.0


def _slopes(time: np.ndarray, log_eps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid of ln t and ln ε, four times per window of a factor w, and s(t) = −[ln ε(t√w) − ln ε(t/√w)] / ln w there."""
    log_t, step = np.log(time), np.log(WINDOW) / 4
    grid = np.arange(log_t[0], log_t[-1] + 1e-9, step)
    smooth = np.interp(grid, log_t, log_eps)
    if grid.size < 8 or not np.isfinite(smooth).all():
        return np.array([]), np.array([]), np.array([])
    return grid[2:-2], smooth[2:-2], (smooth[:-4] - smooth[4:]) / np.log(WINDOW)


def _bend(time: np.ndarray, log_eps: np.ndarray) -> tuple[int, int] | None:
    """Find t₁ and t₂, as indices into :func:`_slopes`; None if there is no steepening.

    ε(t₁) must have fallen below a quarter, since a shoulder in the first decay is no plateau. A rising error, s < 0,
    counts as flat, s = 0: otherwise the end of a rise would look like the end of a plateau. Of several flat times t₁
    is the last.
    """
    _, smooth, s = _slopes(time, log_eps)
    s = np.maximum(s, 0)
    flat = np.where((smooth < log_eps[0] - np.log(4)) & (s < FLAT), s, np.inf)
    gain = s - np.minimum.accumulate(flat)
    if gain.size == 0 or not gain.max() > 0:
        return None
    steep = int(gain.argmax())
    return steep - int(flat[steep::-1].argmin()), steep


def log_curves(result: xr.Dataset) -> xr.DataArray | None:
    """Curves ln ε_g^mse (draw, init, student, time) at K = M, or at the only width; None if K = M was not trained.

    A student that diverges later shows nothing about earlier times either and is NaN throughout.
    """
    K = result.attrs["teacher_width"] if result.sizes["width"] > 1 else widths_of(result)[0]
    if K not in widths_of(result):
        return None
    curve = result["eps_g_mse"].sel(width=K).where(result["time"] > 0, drop=True)
    return log(curve.where(curve.notnull().all("time"))).transpose("draw", "init", "student", "time")


def _steepening(time: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """s(t₂) − s(t₁), with s = −dlnε/dlnt, of every pair of a draw: runs (init, student, time), result (init,).

    t₁ and t₂ are chosen on the geometric mean over the other students of all pairs, and s is measured on the student
    itself, then averaged over the two. The two students of a pair see samples in different orders, so that the noise of
    one is independent of the times that were chosen on the other, and the maximum over times causes no bias.
    """
    values = np.full(runs.shape[:2], np.nan)
    for student, other in ((0, 1), (1, 0)):
        others = runs[np.isfinite(runs[:, other]).all(axis=1), other]
        if len(others) == 0:
            continue
        bend = _bend(time, others.mean(axis=0))
        for init, curve in enumerate(runs[:, student]):
            s = _slopes(time, curve)[-1]
            if s.size:
                values[init, student] = s[bend[1]] - s[bend[0]] if bend else 0.0
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def has_plateau(name: str, result: xr.Dataset) -> Finding:
    """Judge whether ε_g^mse has a plateau: mean steepening above PLATEAU.

    Curves of different draws are not averaged, because every teacher has a plateau of its own length.
    """
    curves = log_curves(result)
    if curves is None:
        return above(mean_of(name, np.array([]), INITS), PLATEAU)
    time = curves["time"].values
    strengths = np.stack([_steepening(time, runs) for runs in curves.values])
    return above(mean_of(name, *independent_units(xr.DataArray(strengths, dims=("draw", "init")))), PLATEAU)


def plateau_heights(result: xr.Dataset) -> xr.DataArray:
    """ε_g^mse (draw, init) at t₁ of the geometric mean over the runs of each draw; NaN where there is no plateau."""
    curves = log_curves(result)
    assert curves is not None, "K = M was not trained"
    time, pairs = curves["time"].values, curves.mean("student")
    heights = pairs.isel(time=0) * np.nan
    for draw, runs in enumerate(pairs.values):
        whole = runs[np.isfinite(runs).all(axis=1)]
        bend = _bend(time, whole.mean(axis=0)) if len(whole) else None
        if bend:
            log_t = _slopes(time, whole.mean(axis=0))[0][bend[0]]
            heights[draw] = [np.interp(log_t, np.log(time), run) for run in runs]
    return exp(heights)


LAYERS = {"first": "the first layer alone is trained", "both": "both layers are trained"}


def plateaus_by_layers(results: Results, setup: str, labels: str = "") -> dict[str, Finding]:
    """Judge whether runs have a plateau, by the layers that are trained."""
    runs = {run.attrs["layers"]: run for run in parts_of(results, setup).values()}
    return {layers: has_plateau(f"plateau strength{labels}, {layers}", run) for layers, run in runs.items()}


def by_layers(findings: Mapping[str, Finding]) -> Finding:
    """Combine findings by the layers that are trained, which are alternatives if there are two."""
    if len(findings) == 1:
        return next(iter(findings.values()))
    one, other = ((LAYERS[layers], finding) for layers, finding in findings.items())
    return by_case(one, other)


def strength_is_above_border(results: Results, setup: str) -> Finding:
    """C6: the error has a plateau."""
    return by_layers(plateaus_by_layers(results, setup))


C6 = Claim(
    "C6", "With i.i.d. inputs and a teacher the test error stays on a plateau and then drops.", "3.2",
    "Fig. 2 left", NOTEBOOK, ("fig2_left_iid",), PLATEAU_RULE, PLATEAU_WHY, strength_is_above_border,
)  # fmt: skip


def strength_is_below_border(results: Results, setup: str) -> Finding:
    """C7: the error has no plateau."""
    findings = plateaus_by_layers(results, setup)
    return by_layers({layers: negate(finding) for layers, finding in findings.items()})


C7 = Claim(
    "C7", "On MNIST there is no plateau.", "3.2", "Fig. 2 left", NOTEBOOK, ("fig2_left_digits",),
    NO_PLATEAU_RULE, PLATEAU_WHY, strength_is_below_border,
)  # fmt: skip

CLAIMS = (C6, C7)
