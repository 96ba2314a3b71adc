"""Claims T1.1 to T1.7, versions 2 to 4 of the paper: the equations of motion of online SGD."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.claims.logic import ZERO_WHY, above, all_of, below, noted, undecided
from hmm_utils.claims.measuring import DRAWS, log, mean_of, parts_of
from hmm_utils.claims.plateaus import LAYERS, PLATEAU, PLATEAU_WHY, by_layers, plateau_strength
from hmm_utils.claims.records import UNDECIDED, Claim, Finding, Results, Value
from hmm_utils.runs import comparison

NOTEBOOK = "T1_equations_of_motion"

LIMIT = 4000
FEW = {"mean": 0.01, "largest": 0.03, "Q": 0.03, "R": 0.03}
FINITE_WHY = (
    "the theory is that of N → ∞ and says nothing of how far N is from there; the tolerances are several times what "
    "the mean of ten simulations leaves"
)
COMPARED = tuple((f, delta) for f in ("sgn", "erf", "relu") for delta in (0.1, 0.5))
_WORDS = {
    "mean": "mean deviation of ε_g", "largest": "largest deviation of ε_g", "Q": "largest |ΔQ|", "R": "largest |ΔR|",
    "largest_averaged": "largest deviation of ε_g, teacher's overlaps averaged",
}  # fmt: skip


def largest_deviations(simulations: Iterable[xr.Dataset], measures: Sequence[str]) -> list[Value]:
    """Deviations of the students that are furthest from theory, with the intervals that their simulations leave.

    Parameters
    ----------
    simulations : iterable of Dataset
        Results of ``comparison``, for several f and D/N.
    measures : sequence of str
        "mean" or "largest" relative deviation of ε_g over times, "largest_averaged" for the theory with averaged
        overlaps of the teacher, "Q" or "R" for the largest absolute deviation of an overlap.
    """
    candidates = [
        _largest_deviations(result, comparison.deviations(result), comparison.jackknife(result), measures)
        for result in simulations
    ]
    # a student that diverged is the furthest from theory
    return [
        max(values, key=lambda value: value.mean if math.isfinite(value.mean) else math.inf)
        for values in zip(*candidates, strict=True)
    ]


def _largest_deviations(
    result: xr.Dataset, deviations: xr.Dataset, errors: xr.Dataset, measures: Sequence[str]
) -> list[Value]:
    at, n, values = result.attrs, result.sizes["simulation"], []
    for of in measures:
        u = int(np.argmax(deviations[of].values[0]))
        K, layers = int(result["width"][u]), result["layers"].values[u]
        name = f"{_WORDS[of]} ({at['f']}, D/N = {at['n_latent'] / at['n_inputs']:.2g}, K = {K}, {layers})"
        mean, half = float(deviations[of][0, u]), float(errors[of][0, u]) * float(stats.t.ppf(0.975, n - 1))
        low, high = (max(mean - half, 0.0), mean + half) if math.isfinite(mean) else (-math.inf, math.inf)
        values.append(Value(name, mean, low, high, n, "runs"))
    return values


def deviations_are_small(measures: Sequence[str], results: Results, setup: str) -> Finding:
    """T1.1 and T1.2: every deviation is below its border FEW for N ≥ LIMIT, for every f and D/N in COMPARED."""
    simulations = list(parts_of(results, setup).values())
    values = largest_deviations(simulations, measures)
    parts = [below(value, FEW[of]) for of, value in zip(measures, values, strict=True)]
    N = min(result.attrs["n_inputs"] for result in simulations)
    if N < LIMIT:
        # a deviation that falls with N is no failure of a theory of large N
        return replace(noted(all_of(*parts), f"N = {N} is below {LIMIT}"), verdict=UNDECIDED)
    found = {(r.attrs["f"], round(r.attrs["n_latent"] / r.attrs["n_inputs"], 2)) for r in simulations}
    missing = [f"{f} at D/N = {delta}" for f, delta in COMPARED if (f, delta) not in found]
    return all_of(*parts, *([undecided(f"no simulations of {', '.join(missing)}")] if missing else []))


T1_1 = Claim(
    "T1.1", "With one equation per mode, the equations of motion predict the error of online SGD at all times.",
    "v4", "theory", NOTEBOOK, ("t1/simulation",),
    f"deviation of ε_g from the mean of the simulations, over itself, at N ≥ {LIMIT}: mean over log-spaced times "
    f"below {FEW['mean']:g}, largest below {FEW['largest']:g}, for every student", FINITE_WHY,
    partial(deviations_are_small, ("mean", "largest")),
)  # fmt: skip

T1_2 = Claim(
    "T1.2", "They predict every overlap of students with each other and with the teacher.", "v4", "theory",
    NOTEBOOK, ("t1/simulation",),
    f"largest |ΔQ| and |ΔR| over entries and times at N ≥ {LIMIT} below {FEW['Q']:g}", FINITE_WHY,
    partial(deviations_are_small, ("Q", "R")),
)  # fmt: skip


def deviation_falls_with_size(results: Results, setup: str) -> Finding:
    """T1.3: α > 0 in a fit of mean deviation ∝ N^−α."""
    try:
        alpha, error, n = comparison.exponent(parts_of(results, setup))
    except ValueError as why:
        return undecided(str(why).rstrip("."))
    if not math.isfinite(alpha):
        return undecided("a simulation diverged")
    half = error * float(stats.t.ppf(0.975, n - 2))
    return above(Value("α of mean deviation ∝ N^−α", float(alpha), alpha - half, alpha + half, n, DRAWS), 0)


T1_3 = Claim(
    "T1.3", "What is left between theory and simulation falls as N grows at fixed D/N.", "v4", "theory",
    NOTEBOOK, ("t1/scaling",), "α of a fit of mean deviation ∝ N^−α above 0", ZERO_WHY, deviation_falls_with_size,
)  # fmt: skip


def averaged_overlaps_deviate(results: Results, setup: str) -> Finding:
    """T1.4: the deviation with averaged overlaps is above the border of T1.1."""
    (value,) = largest_deviations(parts_of(results, setup).values(), ["largest_averaged"])
    return above(value, FEW["largest"])


T1_4 = Claim(
    "T1.4", "One average over modes does not do in place of the teacher's overlap with each.", "v4", "theory",
    NOTEBOOK, ("t1/simulation",),
    f"largest deviation of ε_g with averaged overlaps above {FEW['largest']:g}, the border of T1.1",
    "an approximation is told from the theory by what the theory is held to", averaged_overlaps_deviate,
)  # fmt: skip


def asymptotic_error_is_linear_estimate(results: Results, setup: str) -> Finding:
    """T1.5: ``|ε(η → 0)/ε_analytic − 1|`` below a border at every D/N."""
    result = results[setup]
    off = float(abs(result["extrapolated"] / result["analytic"] - 1).max())
    value = Value("largest |ε(η → 0)/ε_analytic − 1|", off, off, off, result.sizes["delta"], "values of D/N")
    return below(value, FEW["largest"])


T1_5 = Claim(
    "T1.5", "For a vanishing learning rate the error ends where the best linear estimate of the latent fields puts "
    "it, at any D/N.", "v4", "theory", NOTEBOOK, ("t1/error_against_delta",),
    f"integrated error, extrapolated from η = 0.1 and 0.05, over the analytic one: off by less than "
    f"{FEW['largest']:g} for D/N = 0.005 to 0.8",
    "the extrapolation leaves O(η²), which is 0.01 of the error at most", asymptotic_error_is_linear_estimate,
)  # fmt: skip


def only_teacher_task_has_plateau(results: Results, setup: str) -> Finding:
    """T1.6: a plateau in the teacher task, and none in the latent task with f = sgn at any D."""
    result = results[setup]
    latent = [int(D) for D in result["n_latent"].values[result["f"].values == "sgn"]]
    findings = {}
    for layers in LAYERS:
        teacher = _mean_strength(f"plateau strength, {layers}, i.i.d. inputs", result, "iid", 0, layers)
        strengths = [_mean_strength(f"latent labels, D = {D}", result, "sgn", D, layers) for D in latent]
        findings[layers] = all_of(above(teacher, PLATEAU), *(below(value, PLATEAU) for value in strengths))
    return by_layers(findings)


def _mean_strength(name: str, result: xr.Dataset, f: str, D: int, layers: str) -> Value:
    """Mean :func:`plateau_strength` of the draws of a task."""
    task = int(np.flatnonzero((result["f"] == f) & (result["n_latent"] == D))[0])
    curves, time = result["eps_g"].sel(layers=layers).isel(task=task), result["time"].values
    return mean_of(name, np.array([plateau_strength(time, np.log(curve)) for curve in curves.values]), DRAWS)


T1_6 = Claim(
    "T1.6", "The equations alone show a plateau in the teacher task and none in the latent task with f = sgn.",
    "v4", "theory", NOTEBOOK, ("t1/plateaus",),
    f"steepening after a flat stretch, mean over draws of the weights, above {PLATEAU} with teacher labels and "
    "below it with latent ones, for every D and whichever layers are trained", PLATEAU_WHY,
    only_teacher_task_has_plateau,
)  # fmt: skip


def error_grows_with_width_in_first_layer_mode(results: Results, setup: str) -> Finding:
    """T1.7: dlnε_g/dlnK over K ≥ M = 2 above 0 where the first layer is trained, below 0 where both are."""
    eps_g = log(results[setup]["eps_g"].sel(width=slice(2, None)))
    log_K = np.log(eps_g["width"].values)
    log_K -= log_K.mean()
    slopes = (eps_g * log_K).sum("width", skipna=False) / (log_K @ log_K)
    first, both = (mean_of(f"dlnε_g/dlnK, {layers}", slopes.sel(layers=layers).values, DRAWS) for layers in LAYERS)
    return all_of(above(first, 0), below(both, 0))


T1_7 = Claim(
    "T1.7", "Beyond K = M, wider students end worse if the first layer alone is trained, and better if both are.",
    "v4", "theory", NOTEBOOK, ("t1/error_against_width",),
    "dlnε_g/dlnK over K ≥ M above 0 for the first layer, below 0 for both", ZERO_WHY,
    error_grows_with_width_in_first_layer_mode,
)  # fmt: skip

CLAIMS = (T1_1, T1_2, T1_3, T1_4, T1_5, T1_6, T1_7)
