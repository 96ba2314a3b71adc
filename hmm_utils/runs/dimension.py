"""The intrinsic dimension of inputs from the distances to their neighbours (Sec. 1), by scikit-dimension.

On a manifold of dimension d the number of inputs within a small distance r of one of them grows as r^d. With T_j(i) the
distance from input i to its j-th neighbour among n inputs, the estimators are ::

    MLE      1/d = mean over i and j < k of ln[T_k(i)/T_j(i)]        Levina & Bickel (2004), the paper's [9]
    TwoNN    P[T_2/T_1 > μ] = μ^{−d}, maximum likelihood with the    Facco, d'Errico, Rodriguez & Laio (2017)
             largest tenth of the ratios cut off
    CorrInt  d = ln[C(r₂)/C(r₁)] / ln(r₂/r₁)                         Grassberger & Procaccia (1983), the paper's [7]

where C(r) is the fraction of pairs closer than r, r₁ the median of T_{k/2} and r₂ that of T_k. All have the size of the
neighbourhood in common, k of n inputs. TwoNN uses two neighbours whatever k is; these are as far away as k are if only
every (k/2)-th input is used, and the mean over the k/2 ways to do that is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import xarray as xr
from tqdm import tqdm

from hmm_utils.data import digits, mnist
from hmm_utils.model import datasets, parameters

__all__ = [
    "ESTIMATORS", "NAME", "PAPER", "USUAL", "VERSION", "Configuration", "estimate", "measure", "note", "outdated",
]  # fmt: skip

# scikit-dimension takes seconds to import: the function that needs it does so.

NAME = "intrinsic_dimension"
VERSION = 1
"""Of what decides the numbers here; a stored result of another version is computed again."""

PAPER = 14
"""Dimension of MNIST according to the paper, and D of the structured inputs that it is compared with."""

ESTIMATORS = ("MLE", "TwoNN", "CorrInt")
USUAL = {"MLE": 20, "TwoNN": 2, "CorrInt": 20}
"""The neighbourhood that each estimator has by default in the library; TwoNN's is its definition."""

# so that TwoNN has 20 inputs at least for the largest neighbourhoods
_INPUTS_PER_NEIGHBOUR = 10


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Values that decide the numbers; impossible ones raise ValueError.

    Attributes
    ----------
    n_images, n_subsamples : int
        Images in each of the disjoint subsamples.
    neighbours : tuple of int
        Sizes k of the neighbourhoods.
    data : str
        Which digits, as for ``digits.load``.
    seed : int
        Of all random numbers.
    """

    n_images: int
    n_subsamples: int
    neighbours: tuple[int, ...]
    data: str
    seed: int

    def __post_init__(self) -> None:
        for name in ("n_images", "n_subsamples"):
            parameters.whole(name, getattr(self, name))


def estimate(x: np.ndarray, neighbours: Sequence[int]) -> xr.Dataset:
    """Estimate the dimension of the manifold that inputs lie on.

    Parameters
    ----------
    x : (n, N) float array
        Inputs.
    neighbours : sequence of int
        Sizes k of the neighbourhoods, even and at most n/10.

    Returns
    -------
    estimates : Dataset
        dimension (estimator, neighbours); radius (neighbours), the median distance to the k-th neighbour over the root
        mean square distance of two inputs, √(2 Σ_n Var x_n).

    Raises
    ------
    ValueError
        For other k, inputs that are not a matrix of finite numbers, and inputs of which two are equal.
    """
    import skdim
    from sklearn.metrics import pairwise_distances

    _check(x, neighbours)
    distances = pairwise_distances(x)
    T = np.sort(distances, axis=1)  # T[i, 0] = 0 is the distance of input i to itself

    def two_nn(k: int) -> float:
        # not the library's default, a linear fit, which is too high for the few inputs of each part at large k
        method, step = skdim.id.TwoNN(dist=True, method="mle"), k // 2
        parts = (np.sort(distances[first::step, first::step], axis=1)[:, 1:3] for first in range(step))
        return float(np.mean([method.fit(pair).dimension_ for pair in parts]))

    by = {
        "MLE": lambda k: skdim.id.MLE().fit(x, precomputed_knn_arrays=(T[:, 1 : k + 1], None), n_neighbors=k),
        "CorrInt": lambda k: skdim.id.CorrInt(k1=k // 2, k2=k, DM=True).fit(T),
    }
    # an input whose neighbours are all equally far away adds ln 1 = 0 to the mean, as the inverse of 1/0
    with np.errstate(divide="ignore"):
        d = [[two_nn(k) if name == "TwoNN" else by[name](k).dimension_ for k in neighbours] for name in ESTIMATORS]
    radius = np.median(T[:, list(neighbours)], axis=0) / math.sqrt(2 * float(np.var(x, axis=0, dtype=float).sum()))
    return xr.Dataset(
        {"dimension": (("estimator", "neighbours"), np.array(d, float)), "radius": ("neighbours", radius)},
        {"estimator": list(ESTIMATORS), "neighbours": list(neighbours)},
    )


def _check(x: np.ndarray, neighbours: Sequence[int]) -> None:
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"x has shape {x.shape} or is not finite: give a matrix of finite numbers, an input per row.")
    for k in neighbours:
        if k < 2 or k % 2 or _INPUTS_PER_NEIGHBOUR * k > len(x):
            raise ValueError(
                f"neighbours = {k}: give even numbers from 2 to a tenth of the number of inputs, {len(x)}."
            )
    if len(np.unique(x, axis=0)) < len(x):
        raise ValueError("two inputs are equal, and distance 0 is in every neighbourhood: leave one of them out.")


def measure(c: Configuration, *, progress: bool = True) -> xr.Dataset:
    """:func:`estimate` on disjoint subsamples of digits, and on as many structured inputs of known dimension.

    The digits are those for training, the structured inputs have f = tanh and D = 14. Where there are too few digits
    (8×8), subsamples are smaller and large neighbourhoods are omitted.

    Returns
    -------
    measured : Dataset
        dimension (subsample, inputs, estimator, neighbours) and radius (subsample, inputs, neighbours).

    Raises
    ------
    ValueError
        If a subsample is too small for k = 2; else as ``digits.load``.
    """
    start = time.perf_counter()
    digits_rng, *rngs = np.random.default_rng(c.seed).spawn(1 + c.n_subsamples)
    wanted = None if c.data == "digits" else c.n_images * c.n_subsamples
    images = digits.load(c.data, n_train=wanted, rng=digits_rng)
    n = min(c.n_images, images.n_train // c.n_subsamples)
    neighbours = [k for k in c.neighbours if _INPUTS_PER_NEIGHBOUR * k <= n]
    if not neighbours:
        raise ValueError(f"{n} images in a subsample are too few: make fewer subsamples, or larger ones.")
    of_subsamples = []
    for i, rng in enumerate(tqdm(rngs, desc="intrinsic dimension", **({} if progress else {"disable": True}))):
        manifold = datasets.structured("tanh", images.n_inputs, PAPER, n, 2, rng=rng)
        two = [estimate(x, neighbours) for x in (images.x_train[i * n : (i + 1) * n], manifold.x_train)]
        of_subsamples.append(xr.concat(two, dim=xr.Variable("inputs", ["digits", "structured"])))
    return xr.concat(of_subsamples, dim="subsample").assign_attrs(
        inputs="digits",
        n_inputs=images.n_inputs,
        kind=images.kind,
        dataset=images.description,
        notice=images.notice or "",
        images_used=n,
        seconds=round(time.perf_counter() - start, 1),
        estimators=f"scikit-dimension {version('scikit-dimension')}",
    )


def note(result: xr.Dataset) -> str:
    """One line on how much was measured."""
    what = "8×8 digits instead of MNIST; " if digits.kind_of(result.attrs) == "digits8x8" else ""
    return f"{what}{result.sizes['subsample']} × {result.attrs['images_used']} images; the paper states no number"


def outdated(c: Configuration, result: xr.Dataset) -> bool:
    """Whether 8×8 digits stood in for MNIST, which is available now."""
    return bool(result.attrs["notice"]) and mnist.is_available()
