"""A test of the Gaussian equivalence: local fields (λ, ν) sampled, and their moments.

For x = f(cF/√D) − a, students λ_k = w_k·x/√N and teachers ν_m = w̃_m·c/√D with random weights are jointly Gaussian for
N, D → ∞, with the covariance [[Q, R], [Rᵀ, T]] of ``order_parameters.hidden_manifold``. The third and fourth
moments measure how far they are from that at finite N.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.data import streams
from hmm_utils.model import observables
from hmm_utils.model.networks import random_network
from hmm_utils.model.nonlinearities import constants

__all__ = ["convergence", "local_fields", "moments", "unit_features"]


def unit_features(n_latent: int, n_inputs: int, rng: np.random.Generator) -> np.ndarray:
    """F ~ N(0, 1) with columns of length √D, so that each u = cF/√D is exactly N(0, 1).

    Where it is only nearly so, an f with a ≠ 0 leaves each input a mean ~ a/√(2D) of its own, and all of them together
    a direction of size a²N/(2D) in E xxᵀ that does not shrink with N and that no theory here contains.

    Returns
    -------
    F : (D, N) float32 array
    """
    F = rng.standard_normal((n_inputs, n_latent), dtype=np.float32).T
    F *= np.sqrt(n_latent / (F**2).sum(axis=0))
    return F


def local_fields(
    f: str, n_inputs: int, n_latent: int, *, n_samples: int, rng: np.random.Generator, width: int = 2
) -> xr.Dataset:
    """Sample the local fields of one draw of F and all weights, with K = M.

    Parameters
    ----------
    f : str
        Non-linearity.
    n_inputs, n_latent, n_samples, width : int
        N, D, number of samples and K = M.
    rng : Generator

    Returns
    -------
    fields : Dataset
        fields (sample, field), λ_1 … λ_K and ν_1 … ν_M; predicted and measured (field, other), their covariance by
        Gaussian equivalence and over the samples.

    Raises
    ------
    ValueError
        As ``streams.structured`` and ``networks.random_network``.
    """
    of_f = constants(f)
    F = unit_features(n_latent, n_inputs, rng)
    teacher = random_network(n_latent, width, rng=rng, layers="first")
    student = random_network(n_inputs, width, rng=rng, layers="first")
    source = streams.latent_task(streams.structured(F, f, of_f.a), teacher)
    x, c, _ = source.samples(source.latent(rng, n_samples))
    lam, nu = x @ student.W.T / sqrt(n_inputs), c @ teacher.W.T / sqrt(n_latent)
    Q, R, T = observables.hidden_manifold_overlaps(student.W, F=F, wt=teacher.W, b=of_f.b, zeta=of_f.zeta)
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


def moments(sampled: xr.Dataset) -> xr.Dataset:
    """Moments of local fields, all 0 if they are Gaussian and have the predicted covariance.

    Parameters
    ----------
    sampled : Dataset
        As :func:`local_fields` returns it.

    Returns
    -------
    moments : Dataset
        skewness and kurtosis, in excess of a Gaussian's (field), which n samples leave at √(6/n) and √(24/n);
        covariance, the largest error of C_ab over √(C_aa C_bb).
    """
    C = sampled["predicted"].values
    off = np.abs(sampled["measured"].values - C) / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    values = sampled["fields"].values
    return xr.Dataset(
        {
            "skewness": ("field", stats.skew(values, axis=0)),
            "kurtosis": ("field", stats.kurtosis(values, axis=0)),
            "covariance": ((), off.max()),
        },
        {"field": sampled["field"]},
    )


def convergence(
    fs: Sequence[str], sizes: Sequence[int], *, ratio: float, n_samples: int, n_draws: int, seed: int
) -> xr.Dataset:
    """Root mean squares of the :func:`moments` of λ over draws and students, against N.

    Finitely many samples leave a floor, √(6/n), √(24/n) and about 2/√n.

    Parameters
    ----------
    fs : sequence of str
        Non-linearities.
    sizes : sequence of int
        Numbers of inputs N.
    ratio : float
        D/N.
    n_samples, n_draws, seed : int
        Samples of each of the draws of F and all weights.

    Returns
    -------
    moments : Dataset
        skewness, kurtosis, covariance (f, n_inputs).
    """

    def of_size(f: str, N: int) -> xr.Dataset:
        rngs = np.random.default_rng([seed, N]).spawn(n_draws)
        D = max(round(ratio * N), 1)
        draws = [moments(local_fields(f, N, D, n_samples=n_samples, rng=rng)) for rng in rngs]
        students = xr.concat(draws, dim="draw").sel(field=["λ1", "λ2"])
        return (students**2).mean(["draw", "field"]) ** 0.5

    by_f = [xr.concat([of_size(f, N) for N in sizes], xr.Variable("n_inputs", list(sizes))) for f in fs]
    return xr.concat(by_f, xr.Variable("f", list(fs))).assign_attrs(n_samples=n_samples, ratio=ratio)
