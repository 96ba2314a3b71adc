"""The claims of the chapters on theory, T1.1 to T2.4, one by one: from results to findings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.claims.behaviour import MODES, by_layers
from hmm_utils.claims.criteria import AGREES, NEAR, PLATEAU, above, below, noted, together, unknown
from hmm_utils.claims.measuring import DRAWS, quotient, units_of, value_of
from hmm_utils.claims.plateaus import plateau_strength
from hmm_utils.claims.records import FAILS, HOLDS, UNDECIDED, Finding, Results, Value
from hmm_utils.runs import comparison, deep

# ---- the equations of motion -------------------------------------------------------------------------------------

LIMIT = 4000
FEW = {"mean": 0.01, "largest": 0.03, "Q": 0.03, "R": 0.03}
COMPARED = tuple((f, delta) for f in ("sgn", "erf", "relu") for delta in (0.1, 0.5))
_WORDS = {
    "mean": "mean deviation of ε_g", "largest": "largest deviation of ε_g", "Q": "largest |ΔQ|", "R": "largest |ΔR|",
    "largest_averaged": "largest deviation of ε_g, teacher's overlaps averaged",
}  # fmt: skip


def _worst_deviation(found: Iterable[xr.Dataset], of: str) -> Value:
    """The deviation of the student that is furthest from theory, with the interval that its simulations leave."""
    candidates = []
    for result in found:
        values, errors = comparison.deviations(result)[of][0], comparison.jackknife(result)[of][0]
        u, at = int(np.argmax(values.values)), result.attrs
        K, layers = int(result["width"][u]), result["layers"].values[u]
        half = float(errors[u]) * float(stats.t.ppf(0.975, result.sizes["simulation"] - 1))
        name = f"{_WORDS[of]} ({at['f']}, D/N = {at['n_latent'] / at['n_inputs']:.2g}, K = {K}, {layers})"
        mean, low, high = float(values[u]), max(float(values[u]) - half, 0.0), float(values[u]) + half
        if not math.isfinite(mean):
            low, high = -math.inf, math.inf
        candidates.append(Value(name, mean, low, high, result.sizes["simulation"], "runs"))
    # a student that diverged is the furthest from theory
    return max(candidates, key=lambda value: value.mean if math.isfinite(value.mean) else math.inf)


def agrees(measures: Sequence[str], results: Results) -> Finding:
    """Every deviation is below its border for N ≥ LIMIT, for all that is COMPARED (T1.1, T1.2)."""
    found = list(comparison.simulations(results).values())
    worst = [_worst_deviation(found, of) for of in measures]
    parts = [Finding((value,), below(value, FEW[of])) for of, value in zip(measures, worst, strict=True)]
    N = min(result.attrs["n_inputs"] for result in found)
    if N < LIMIT:
        # a deviation that falls with N is no failure of a theory of large N
        return replace(noted(together(*parts), f"N = {N} is below {LIMIT}"), verdict=UNDECIDED)
    there = {(r.attrs["f"], round(r.attrs["n_latent"] / r.attrs["n_inputs"], 2)) for r in found}
    lacking = [f"{f} at D/N = {delta}" for f, delta in COMPARED if (f, delta) not in there]
    return together(*parts, *([unknown(f"no simulations of {', '.join(lacking)}")] if lacking else []))


def t1_3(results: Results) -> Finding:
    """The power of N with which the mean deviation falls."""
    try:
        alpha, error, n = comparison.exponent(results)
    except ValueError as why:
        return unknown(str(why).rstrip("."))
    if not math.isfinite(alpha):
        return unknown("a simulation diverged")
    half = error * float(stats.t.ppf(0.975, n - 2))
    value = Value("α of mean deviation ∝ N^−α", float(alpha), alpha - half, alpha + half, n, DRAWS)
    return Finding((value,), above(value, 0))


def t1_4(results: Results) -> Finding:
    value = _worst_deviation(comparison.simulations(results).values(), "largest_averaged")
    return Finding((value,), above(value, FEW["largest"]))


def t1_5(results: Results) -> Finding:
    found = results[f"{comparison.NAME}/error_against_delta"]
    off = float(abs(found["extrapolated"] / found["analytic"] - 1).max())
    value = Value("largest |ε(η → 0)/ε_analytic − 1|", off, off, off, found.sizes["delta"], "values of D/N")
    return Finding((value,), below(value, FEW["largest"]))


def _strengths(name: str, found: xr.Dataset, f: str, D: int, layers: str) -> Value:
    """The mean `plateau_strength` of the draws of a task."""
    task = int(np.flatnonzero((found["f"] == f) & (found["n_latent"] == D))[0])
    curves, time = found["eps_g"].sel(layers=layers).isel(task=task), found["time"].values
    return value_of(name, np.array([plateau_strength(time, np.log(curve)) for curve in curves.values]), DRAWS)


def t1_6(results: Results) -> Finding:
    found, modes = results[f"{comparison.NAME}/plateaus"], {}
    for layers in MODES:
        teacher = _strengths(f"plateau strength, {layers}, i.i.d. inputs", found, "iid", 0, layers)
        latent = [
            _strengths(f"latent labels, D = {D}", found, "sgn", int(D), layers)
            for D in found["n_latent"].values[found["f"].values == "sgn"]
        ]
        modes[layers] = together(
            Finding((teacher,), above(teacher, PLATEAU)),
            *(Finding((value,), below(value, PLATEAU)) for value in latent),
        )
    return by_layers(modes)


def t1_7(results: Results) -> Finding:
    """The slope of ε_g in ln K for K ≥ M = 2, of every draw."""
    found = results[f"{comparison.NAME}/error_against_width"]
    eps_g = np.log(found["eps_g"].sel(width=slice(2, None)))
    log_K = np.log(eps_g["width"].values)
    log_K -= log_K.mean()
    slopes = (eps_g * log_K).sum("width", skipna=False) / (log_K @ log_K)
    first, both = (
        value_of(f"dlnε_g/dlnK, {layers}", slopes.sel(layers=layers).values, DRAWS) for layers in ("first", "both")
    )
    return together(Finding((first,), above(first, 0)), Finding((both,), below(both, 0)))


# ---- beyond the paper: deep generators ---------------------------------------------------------------------------

STARTS = "draws of teacher and student"


def _deviations(result: xr.Dataset, name: str, which: str = "mean", **how: str) -> xr.DataArray:
    """The deviation from theory for one generator, as draws of one initialisation."""
    d = deep.deviation(result.sel(generator=name), **how)[which]
    return d.rename(start="draw").expand_dims("init")


def _deviates(result: xr.Dataset, name: str) -> Value:
    return value_of(f"mean deviation, {name}", units_of(_deviations(result, name))[0], STARTS)


def t2_1(results: Results) -> Finding:
    """Deviation below AGREES over all draws of all random generators, and above it for none of them."""
    result = results[deep.NAME]
    values = [_deviates(result, name) for name in deep.RANDOM]
    pooled = np.concatenate([units_of(_deviations(result, name))[0] for name in deep.RANDOM])
    value = value_of("mean deviation, random generators", pooled, STARTS)
    worse = any(above(one, AGREES) == HOLDS for one in values)
    return Finding((value, *values), FAILS if worse else below(value, AGREES))


def t2_2(results: Results) -> Finding:
    """Deviation below NEAR for the trained generator, and over that of the random ones above 1."""
    result = results[deep.NAME]
    trained, test = _deviates(result, deep.TRAINED), {"of": "eps_g_test_mse"}
    random = xr.concat([_deviations(result, name, **test) for name in deep.RANDOM], "name").mean("name")
    name = "on test inputs, over the random generators'"
    more = replace(quotient(name, _deviations(result, deep.TRAINED, **test), random), over=STARTS)
    return together(Finding((trained,), below(trained, NEAR)), Finding((more,), above(more, 1)))


def t2_3(results: Results) -> Finding:
    """Spearman's rank correlation, over generators, of the deviation on test inputs with the non-Gaussianity of the
    local fields, the larger of that at the start and at the end; its interval by Fisher's transformation."""
    result = results[deep.NAME]
    deviation = deep.deviation(result, "eps_g_test_mse")["mean"].mean("start").values
    known = np.isfinite(deviation)
    if known.sum() < 5:
        return unknown("five generators or more are needed")
    field = deep.non_gaussianity(result).max("when").values
    rank = float(stats.spearmanr(field[known], deviation[known]).statistic)
    # 1.06 instead of 1 because ranks are correlated; a perfect order has no finite transform
    z, half = math.atanh(min(max(rank, -0.999), 0.999)), stats.norm.ppf(0.975) * math.sqrt(1.06 / (known.sum() - 3))
    value = Value("rank correlation", rank, math.tanh(z - half), math.tanh(z + half), int(known.sum()), "generators")
    return Finding((value,), above(value, 0))


def t2_4(results: Results) -> Finding:
    """Late deviation with propagated covariances over that with sampled ones, deep generator with f = tanh."""
    result, how = results[deep.NAME], {"which": "late", "of": "eps_g_test_mse"}
    propagated, sampled = (
        _deviations(result, "tanh, deep", theory=theory, **how) for theory in ("propagated", "theory")
    )
    ratio = replace(quotient("propagated over sampled, late", propagated, sampled), over=STARTS)
    return Finding((ratio,), above(ratio, 1))
