"""Directions of input space that training can reach, and the agreement of two students in each (Sec. 3.1).

SGD adds multiples of inputs to the rows w_k of the first layer, Eq. (2). Directions in which inputs vary much are
therefore learnt early, those in which they vary little are learnt late, and the part of w_k that is orthogonal to all
inputs keeps its random initial value, in which two students have nothing in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped
from scipy.optimize import linear_sum_assignment

from hmm_utils.model.networks import Network
from hmm_utils.model.observables import frac

__all__ = ["PARTS", "compare", "disagreement", "principal", "summary"]

PARTS = ("leading", "rest", "none")
"""Directions with most of the inputs' second moment, directions with the rest of it, directions that no input has."""


def principal(
    x: Shaped[np.ndarray, "P N"], *, slab: int = 1024
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N N"]]:
    """Principal directions of inputs.

    ::

        XᵀX/P = Σ_j λ_j e_j e_jᵀ

    The second moment is not centred, because SGD adds the inputs as they are.

    Parameters
    ----------
    x : (P, N) array
        Inputs.
    slab : int
        Number of inputs that are converted to double precision at a time.

    Returns
    -------
    variance : (N,) float array
        λ_j, descending; exactly 0 where no input has a component along e_j, up to rounding.
    axes : (N, N) float array
        e_j, as rows.
    """
    moment = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), slab):
        part = x[start : start + slab].astype(float)
        moment += part.T @ part
    variance, axes = np.linalg.eigh(moment / len(x))
    variance, axes = variance[::-1], axes.T[::-1]
    return np.where(variance > len(variance) * np.finfo(float).eps * variance[0], variance, 0), axes


def _matched(
    one: Network, two: Network, variance: np.ndarray, axes: np.ndarray
) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    """For each unit of ``one`` the unit of ``two`` with the most similar local field w·x, and its sign.

    Every unit is used once. The sign is −1 where (−w, −v), the same unit if the activation is odd, is more similar.
    """
    p, q = ((network.W @ axes.T) * np.sqrt(variance) for network in (one, two))
    cosine = p @ q.T / np.outer(np.linalg.norm(p, axis=1), np.linalg.norm(q, axis=1))
    u = np.linspace(-2, 2, 5)
    odd = np.allclose(one.activation.g(-u), -one.activation.g(u))
    rows, columns = linear_sum_assignment(-(np.abs(cosine) if odd else cosine))
    return columns, np.where(odd & (cosine[rows, columns] < 0), -1, 1)


def compare(
    start: Sequence[Network], end: Sequence[Network], x: Shaped[np.ndarray, "P N"], *, share: float = 0.9
) -> xr.Dataset:
    """First layers of a pair of students before and after training, split by directions.

    Units of student 2 are put in the order of the most similar units of student 1, and given the same sign where the
    activation is odd.

    Parameters
    ----------
    start, end : two Networks each
        The students before and after training.
    x : (P, N) array
        The inputs that they were trained on.
    share : float
        The part of Σ λ_j that the leading directions hold.

    Returns
    -------
    xarray.Dataset
        Over part (``PARTS``), when (start, end), student, hidden and input; cosines are NaN in a part without
        directions:

        - ``W`` (part, when, student, hidden, input): the projection of w_k on the part; the projections sum to w_k
        - ``n_directions``, ``variance`` (part): the number of directions, and their share of Σ λ_j
        - ``weight`` (part, when, student, hidden): their share of ‖w_k‖²
        - ``cosine_start_end`` (part, student, hidden): between the projections before and after training
        - ``cosine_students`` (part, when, hidden): between the projections of the two students
        - ``axes`` (direction, input), ``member`` (direction): the directions e_j, and the part that contains each

    Raises
    ------
    ValueError
        If the students do not have one width, or do not take inputs like ``x``.
    """
    shapes = {network.W.shape for network in (*start, *end)}
    if len(start) != 2 or len(end) != 2 or len(shapes) != 1 or start[0].n_inputs != x.shape[1]:
        raise ValueError(
            f"inputs have {x.shape[1]} components and first layers the shapes {sorted(shapes)}: "
            "give two students of one width before and after training, and the inputs they were trained on."
        )
    variance, axes = principal(x)
    leading = np.cumsum(variance) < share * variance.sum()
    leading[np.count_nonzero(leading)] = True  # the one that reaches the share
    members = {"leading": leading, "rest": ~leading & (variance > 0), "none": variance == 0}

    order, sign = _matched(end[0], end[1], variance, axes)
    pairs = np.array([[one.W, sign[:, None] * two.W[order]] for one, two in (start, end)])
    dims = ("when", "student", "hidden", "input")
    parts = [xr.DataArray(pairs @ axes[chosen].T @ axes[chosen], dims=dims) for chosen in members.values()]
    coords = {"part": list(PARTS), "when": ["start", "end"], "student": [1, 2]}
    W = xr.concat(parts, "part").assign_coords(coords)

    def cosine(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
        lengths = cast(xr.DataArray, np.sqrt((a**2).sum("input") * (b**2).sum("input")))
        return (a * b).sum("input") / lengths.where(lengths > 0)

    squared = (W**2).sum("input")
    return xr.Dataset(
        {
            "W": W,
            "n_directions": ("part", [int(chosen.sum()) for chosen in members.values()]),
            "variance": ("part", [variance[chosen].sum() / variance.sum() for chosen in members.values()]),
            "weight": squared / squared.sum("part"),
            "cosine_start_end": cosine(W.sel(when="start", drop=True), W.sel(when="end", drop=True)),
            "cosine_students": cosine(W.sel(student=1, drop=True), W.sel(student=2, drop=True)),
            "axes": (("direction", "input"), axes),
            "member": ("direction", np.array(PARTS)[np.argmax(list(members.values()), axis=0)]),
        },
        attrs={"share": share},
    )


def disagreement(pair: Sequence[Network], found: xr.Dataset, *, n: int, rng: np.random.Generator) -> xr.DataArray:
    """ε₁,₂^frac, Eq. (5), of two students on Gaussian inputs restricted to one part of the directions.

    Parameters
    ----------
    pair : two Networks
    found : xarray.Dataset
        The result of :func:`compare`.
    n : int
        Number of inputs, whose mean squared length is N in every part.
    rng : numpy.random.Generator

    Returns
    -------
    xarray.DataArray
        Over part; NaN in a part without directions.
    """
    z = rng.standard_normal((n, found.sizes["input"]))
    values = []
    for part in found["part"].values:
        axes = found["axes"].values[found["member"].values == part]
        x = z @ axes.T @ axes * np.sqrt(len(found["axes"]) / max(len(axes), 1))
        values.append(frac(*(network(x) for network in pair)) if len(axes) else np.nan)
    return xr.DataArray(np.array(values, float), {"part": found["part"]}, name="eps_12_frac")


def summary(found: xr.Dataset, pair: Sequence[Network], *, n: int, rng: np.random.Generator) -> xr.Dataset:
    """Table of the result of :func:`compare`: means over units, and the :func:`disagreement` of the pair.

    Parameters
    ----------
    found : xarray.Dataset
        The result of :func:`compare`.
    pair : two Networks
        The students after training.
    n : int
        Number of Gaussian inputs for the disagreement.
    rng : numpy.random.Generator

    Returns
    -------
    xarray.Dataset
        Over part, with the headings of the table as names.
    """
    weight = found["weight"].mean(["student", "hidden"])
    return xr.Dataset(
        {
            "directions": found["n_directions"],
            "|x|² in them": found["variance"],
            "|w|² before": weight.sel(when="start", drop=True),
            "|w|² after": weight.sel(when="end", drop=True),
            "cosine with start": found["cosine_start_end"].mean(["student", "hidden"]),
            "|cosine| of students": abs(found["cosine_students"].sel(when="end", drop=True)).mean("hidden"),
            "ε₁,₂ on noise": disagreement(pair, found, n=n, rng=rng),
        }
    )
