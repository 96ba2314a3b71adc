"""The Gaussian equivalence put to the test: local fields (λ, ν) sampled, and their moments.

For x = f(cF/√D) − a, students λ_k = w_k·x/√N and teachers ν_m = w̃_m·c/√D with random weights are jointly Gaussian for
N, D → ∞, with the covariance [[Q, R], [Rᵀ, T]] of `order_parameters.hidden_manifold`. At finite N the third and fourth
moments tell how far they are from that.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.data import streams
from hmm_utils.model import observables
from hmm_utils.model.networks import random_network
from hmm_utils.model.nonlinearities import constants

__all__ = ["convergence", "local_fields", "moments"]


def local_fields(
    f: str, n_inputs: int, n_latent: int, *, n_samples: int, rng: np.random.Generator, width: int = 2
) -> xr.Dataset:
    """fields (sample, field), λ_1 … λ_K and ν_1 … ν_M with K = M = `width`, of one draw of F and all weights; predicted
    and measured (field, other), their covariance by Gaussian equivalence and over the samples.

    Raises ValueError as `streams.structured` and `random_network`.
    """
    folding = constants(f)
    F = rng.standard_normal((n_inputs, n_latent), dtype=np.float32).T
    F *= np.sqrt(n_latent / (F**2).sum(axis=0))
    teacher = random_network(n_latent, width, rng=rng, layers="first")
    student = random_network(n_inputs, width, rng=rng, layers="first")
    source = streams.latent_task(streams.structured(F, f, folding.a), teacher)
    x, c, _ = source.samples(source.latent(rng, n_samples))
    lam, nu = x @ student.W.T / sqrt(n_inputs), c @ teacher.W.T / sqrt(n_latent)
    Q, R, T = observables.hidden_manifold_overlaps(student.W, F=F, wt=teacher.W, b=folding.b, zeta=folding.zeta)
    fields = np.hstack([lam, nu])
    names = [f"{kind}{i + 1}" for kind in "λν" for i in range(width)]
    return xr.Dataset(
        {
            "fields": (("sample", "field"), fields),
            "predicted": (("field", "other"), np.block([[Q, R], [R.T, T]])),
            "measured": (("field", "other"), np.cov(fields.T)),
        },
        {"field": names, "other": names},
        {"f": f, "n_inputs": n_inputs, "n_latent": n_latent},
    )


def moments(found: xr.Dataset) -> xr.Dataset:
    """Skewness and excess kurtosis (field), 0 for a Gaussian up to √(6/n) and √(24/n), and the largest error of the
    covariance over √(C_aa C_bb)."""
    C = found["predicted"].values
    off = np.abs(found["measured"].values - C) / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    values = found["fields"].values
    return xr.Dataset(
        {
            "skewness": ("field", stats.skew(values, axis=0)),
            "kurtosis": ("field", stats.kurtosis(values, axis=0)),
            "covariance": ((), off.max()),
        },
        {"field": found["field"]},
    )


def convergence(
    foldings: tuple[str, ...], sizes: tuple[int, ...], *, ratio: float, n_samples: int, n_draws: int, seed: int
) -> xr.Dataset:
    """Root mean squares over draws and students of `moments` of λ: skewness, kurtosis, covariance (f, n_inputs), at
    D/N = `ratio`. Finitely many samples leave a floor, √(6/n), √(24/n) and about 2/√n."""
    found = []
    for f in foldings:
        for N in sizes:
            rngs = np.random.default_rng([seed, N]).spawn(n_draws)
            D = max(round(ratio * N), 1)
            draws = [moments(local_fields(f, N, D, n_samples=n_samples, rng=rng)) for rng in rngs]
            students = xr.concat(draws, dim="draw").sel(field=["λ1", "λ2"])
            found.append(np.sqrt((students**2).mean(["draw", "field"])))
    by_size = [xr.concat(found[i : i + len(sizes)], dim="n_inputs") for i in range(0, len(found), len(sizes))]
    return xr.concat(by_size, dim="f").assign_coords(f=list(foldings), n_inputs=list(sizes)).assign_attrs(
        n_samples=n_samples, ratio=ratio
    )
