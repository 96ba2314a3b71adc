"""Claims T2.1 to T2.4, arXiv:2006.14709: inputs of deep generators."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.claims.logic import ZERO_WHY, above, all_of, below, undecided
from hmm_utils.claims.measuring import independent_units, mean_of, ratio_between_runs
from hmm_utils.claims.records import FAILS, HOLDS, Claim, Finding, Results, Value
from hmm_utils.runs import deep

NOTEBOOK = "T2_deep_generators"
PAPER = "2006.14709"

AGREES = 0.02
AGREES_WHY = (
    "means of five simulations with N = 1000 scatter by one per cent of ε_g, and Gaussian equivalence has corrections "
    f"of finite N and D besides: {AGREES:g} leaves room for both"
)
NEAR = 0.1

STARTS = "draws of teacher and student"


def deviations(result: xr.Dataset, generator: str, which: str = "mean", **how: str) -> xr.DataArray:
    """Deviation of ε_g from theory for one generator, as (draw, init) with a single initialisation."""
    deviation = deep.deviation(result.sel(generator=generator), **how)[which]
    return deviation.rename(start="draw").expand_dims("init")


def _mean_deviation(name: str, *of: xr.DataArray) -> Value:
    return mean_of(f"mean deviation, {name}", np.concatenate([independent_units(one)[0] for one in of]), STARTS)


def random_generators_agree(results: Results, setup: str) -> Finding:
    """T2.1: deviation below AGREES over all draws of all random generators, and above it for none of them."""
    of = {name: deviations(results[setup], name) for name in deep.RANDOM}
    pooled = below(_mean_deviation("random generators", *of.values()), AGREES)
    each = [above(_mean_deviation(name, one), AGREES) for name, one in of.items()]
    verdict = FAILS if any(finding.verdict == HOLDS for finding in each) else pooled.verdict
    return Finding((*pooled.values, *(value for finding in each for value in finding.values)), verdict)


T2_1 = Claim(
    "T2.1", "The equations of motion for Gaussian fields with the covariances Ω and Φ predict ε_g of online SGD on "
    "inputs of random generators, shallow, deep and convolutional.", PAPER, "text", NOTEBOOK,
    (deep.NAME,), f"|ε_g/theory − 1| with ε_g from Q and R, mean over log-spaced times, draws and random "
    f"generators, below {AGREES:g}, and above it for none of these generators",
    AGREES_WHY, random_generators_agree,
)  # fmt: skip


def trained_generator_is_near(results: Results, setup: str) -> Finding:
    """T2.2: deviation below NEAR for the trained generator, and above that of the random ones on test inputs."""
    result, of = results[setup], "eps_g_test_mse"
    random = xr.concat([deviations(result, name, of=of) for name in deep.RANDOM], "name").mean("name")
    ratio = ratio_between_runs(
        "on test inputs, over the random generators'", deviations(result, deep.TRAINED, of=of), random, STARTS
    )
    return all_of(below(_mean_deviation(deep.TRAINED, deviations(result, deep.TRAINED)), NEAR), above(ratio, 1))


T2_2 = Claim(
    "T2.2", "They predict it for a generator trained on digits too, though less well.", PAPER, "text",
    NOTEBOOK, (deep.NAME,),
    f"|ε_g/theory − 1| as in T2.1 below {NEAR:g}; with ε_g on test inputs, over the mean of the "
    "random generators, above 1", "no theorem covers trained weights, and a tenth is what a curve on a logarithmic "
    "axis still shows as agreement; 1 is the border of 'less well'", trained_generator_is_near,
)  # fmt: skip


def deviation_grows_with_non_gaussianity(results: Results, setup: str) -> Finding:
    """T2.3: Spearman's rank correlation, over generators, of deviation and non-Gaussianity is above 0.

    Deviations are those on test inputs, and the non-Gaussianity of the local fields is the larger one of start and end.
    The interval is by Fisher's transformation.
    """
    result = results[setup]
    deviation = deep.deviation(result, "eps_g_test_mse")["mean"].mean("start").values
    known = np.isfinite(deviation)
    if known.sum() < 5:
        return undecided("five generators or more are needed")
    field = deep.non_gaussianity(result).max("when").values
    rank = float(stats.spearmanr(field[known], deviation[known]).statistic)
    # 1.06 instead of 1 because ranks are correlated; a perfect order has no finite transform
    z, half = math.atanh(min(max(rank, -0.999), 0.999)), stats.norm.ppf(0.975) * math.sqrt(1.06 / (known.sum() - 3))
    low, high = math.tanh(z - half), math.tanh(z + half)
    return above(Value("rank correlation", rank, low, high, int(known.sum()), "generators"), 0)


T2_3 = Claim(
    "T2.3", "The further local fields are from a Gaussian, the further the theory is off.", PAPER, "text",
    NOTEBOOK, (deep.NAME,),
    "rank correlation, over all generators and students, of √⟨κ₃²/12 + κ₄²/48⟩ of the local fields with the "
    "deviation of ε_g on test inputs, above 0", ZERO_WHY, deviation_grows_with_non_gaussianity,
)  # fmt: skip


def propagated_covariances_deviate_more(results: Results, setup: str) -> Finding:
    """T2.4: late deviation with propagated covariances over that with sampled ones above 1, for f = tanh."""
    propagated, sampled = (
        deviations(results[setup], "tanh, deep", "late", of="eps_g_test_mse", theory=theory)
        for theory in ("propagated", "theory")
    )
    return above(ratio_between_runs("propagated over sampled, late", propagated, sampled, STARTS), 1)


T2_4 = Claim(
    "T2.4", "Covariances that are followed from layer to layer serve worse at late times than sampled ones, "
    "for f = tanh.", PAPER, "text", NOTEBOOK, (deep.NAME,),
    "deviation of ε_g on test inputs over the last quarter of the log-spaced times, with propagated covariances "
    "over that with sampled ones, above 1", "1 is the claim's own border", propagated_covariances_deviate_more,
)  # fmt: skip

CLAIMS = (T2_1, T2_2, T2_3, T2_4)
