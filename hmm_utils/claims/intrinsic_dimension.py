"""Claim C19, Sec. 1: the intrinsic dimension of MNIST."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from hmm_utils.claims.logic import all_of, between, by_case, undecided
from hmm_utils.claims.measuring import mean_of, ratio_between_runs
from hmm_utils.claims.records import UNDECIDED, Claim, Finding, Results
from hmm_utils.data.digits import kind_of
from hmm_utils.runs import dimension

AROUND = 1.2
AROUND_WHY = (
    f"'around {dimension.PAPER}' is read as closer to {dimension.PAPER} than to 10, the D of the paper's own manifold, "
    f"or to 20: within a factor of √(20/14) ≈ {AROUND}; estimates from few inputs are too low, the more so the higher "
    "the dimension, and dividing by those of a manifold of known dimension mends that"
)


def dimension_is_around_14(results: Results, name: str) -> Finding:
    """C19: 1/AROUND < d/d(D = 14) < AROUND, with d of digits and of structured inputs by the same estimator.

    Two estimators give every image a radius of its own, one takes the same radius for all images; these are
    alternatives.
    """
    result = results[name]
    missing = [f"k = {k} for {estimator}" for estimator, k in dimension.USUAL.items() if k not in result["neighbours"]]
    if missing:
        return undecided(f"no neighbourhoods of {', '.join(missing)}: larger subsamples are needed")
    mle, two_nn, corr_int = (_is_around_14(result, estimator, k) for estimator, k in dimension.USUAL.items())
    finding = by_case(
        ("every image has a radius of its own (MLE, TwoNN)", all_of(mle, two_nn)),
        ("one radius is taken for all images (CorrInt)", corr_int),
    )
    # the 8×8 digits say nothing about MNIST
    return finding if kind_of(result.attrs) == "mnist" else replace(finding, verdict=UNDECIDED)


def _is_around_14(result: xr.Dataset, estimator: str, k: int) -> Finding:
    d = result["dimension"].sel(estimator=estimator, neighbours=k).rename(subsample="draw").expand_dims("init")
    digits, manifold = (d.sel(inputs=inputs) for inputs in ("digits", "structured"))
    absolute = mean_of(f"{estimator} (k = {k})", digits.values[0], "subsamples")
    name = f"{estimator}/{estimator} at D = {dimension.PAPER}"
    relative = between(ratio_between_runs(name, digits, manifold, "subsamples"), 1 / AROUND, AROUND)
    return replace(relative, values=(absolute, *relative.values))


C19 = Claim(
    "C19", f"The intrinsic dimension of MNIST is around {dimension.PAPER}.", "1", "text", "00_setup",
    (dimension.NAME,),
    f"dimension by MLE, TwoNN and CorrInt, each with its usual neighbourhoods, k = "
    f"{', '.join(map(str, dimension.USUAL.values()))}, over what it gives for as many structured inputs "
    f"(f = tanh) with D = {dimension.PAPER}, between 1/{AROUND} and {AROUND}", AROUND_WHY, dimension_is_around_14,
)  # fmt: skip

CLAIMS = (C19,)
