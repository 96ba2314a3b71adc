"""Which directions of input space inputs use, and what two students of the same data do in each (Sec. 3.1).

SGD adds multiples of inputs to the rows w_k of the first layer, Eq. (2). So a direction in which inputs vary much is
learnt soon, one in which they vary little is learnt late, and the part of w_k that is orthogonal to all inputs stays
what it was drawn as: there two students never have anything in common.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from hmm_utils.model.networks import Network
from hmm_utils.model.observables import frac

__all__ = ["PARTS", "compare", "disagreement", "principal", "summary"]

PARTS = ("leading", "rest", "none")
"""Directions that hold most of the inputs' second moment; the others that inputs have; those that no input has."""


def principal(x: np.ndarray, *, slab: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """λ_j (N,), falling, and e_j, the rows of (N, N), with XᵀX/P = Σ_j λ_j e_j e_jᵀ, for inputs x (P, N).

    Not centred, as SGD adds inputs as they are. λ_j is 0 where no input has a component along e_j, up to rounding.
    """
    moment = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), slab):
        part = x[start : start + slab].astype(float)
        moment += part.T @ part
    variance, axes = np.linalg.eigh(moment / len(x))
    variance, axes = variance[::-1], axes.T[::-1]
    return np.where(variance > len(variance) * np.finfo(float).eps * variance[0], variance, 0), axes


def _matched(one: Network, two: Network, variance: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each unit of the one the unit of the other whose local field w·x is most like it on the inputs, every unit
    once, and the sign that makes them alike, if the activation is odd: then (w, v) and (−w, −v) are the same unit."""
    p, q = ((network.W @ axes.T) * np.sqrt(variance) for network in (one, two))
    alike = p @ q.T / np.outer(np.linalg.norm(p, axis=1), np.linalg.norm(q, axis=1))
    u = np.linspace(-2, 2, 5)
    odd = np.allclose(one.activation.g(-u), -one.activation.g(u))
    rows, columns = linear_sum_assignment(-(np.abs(alike) if odd else alike))
    return columns, np.where(odd & (alike[rows, columns] < 0), -1, 1)


def compare(start: Sequence[Network], end: Sequence[Network], x: np.ndarray, *, share: float = 0.9) -> xr.Dataset:
    """First layers of a pair of students before and after training on inputs x (P, N), split by directions.

    share  the part of Σ λ_j that the leading directions hold

    Units of student 2 are put in the order of the units of student 1 that they are most like, and turned to point the
    same way where the activation is odd. A Dataset over part (PARTS), when (start, end), student, hidden and input:
      W         (part, when, student, hidden, input) the part of w_k in these directions; they add up to w_k
      number    (part) of directions
      variance  (part) the share of Σ λ_j that they hold
      weight    (part, when, student, hidden) their share of |w_k|²
      kept      (part, student, hidden) cosine between the part of w_k at the end and at the start
      alike     (part, when, hidden) cosine between the parts of the two students
      axes      (direction, input) the directions e_j, and member (direction), the part that each is in

    Cosines are NaN in a part without directions. Raises ValueError if the students do not fit each other or x.
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

    order, turned = _matched(*end, variance, axes)
    pairs = np.array([[one.W, turned[:, None] * two.W[order]] for one, two in (start, end)])
    dims = ("when", "student", "hidden", "input")
    parts = [xr.DataArray(pairs @ axes[chosen].T @ axes[chosen], dims=dims) for chosen in members.values()]
    coords = {"part": list(PARTS), "when": ["start", "end"], "student": [1, 2]}
    W = xr.concat(parts, "part").assign_coords(coords)

    def cosine(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
        lengths = np.sqrt((a**2).sum("input") * (b**2).sum("input"))
        return (a * b).sum("input") / lengths.where(lengths > 0)

    squared = (W**2).sum("input")
    return xr.Dataset(
        {
            "W": W,
            "number": ("part", [int(chosen.sum()) for chosen in members.values()]),
            "variance": ("part", [variance[chosen].sum() / variance.sum() for chosen in members.values()]),
            "weight": squared / squared.sum("part"),
            "kept": cosine(W.sel(when="start", drop=True), W.sel(when="end", drop=True)),
            "alike": cosine(W.sel(student=1, drop=True), W.sel(student=2, drop=True)),
            "axes": (("direction", "input"), axes),
            "member": ("direction", np.array(PARTS)[np.argmax(list(members.values()), axis=0)]),
        },
        attrs={"share": share},
    )


def disagreement(pair: Sequence[Network], found: xr.Dataset, *, n: int, rng: np.random.Generator) -> xr.DataArray:
    """ε₁,₂^frac, Eq. (5), of two students on n Gaussian inputs that have components in one part of `found` only (part),
    as long as other inputs are; NaN in a part without directions."""
    z = rng.standard_normal((n, found.sizes["input"]))
    values = []
    for part in found["part"].values:
        axes = found["axes"].values[found["member"].values == part]
        x = z @ axes.T @ axes * np.sqrt(len(found["axes"]) / max(len(axes), 1))
        values.append(frac(*(network(x) for network in pair)) if len(axes) else np.nan)
    return xr.DataArray(np.array(values, float), {"part": found["part"]}, name="eps_12_frac")


def summary(found: xr.Dataset, pair: Sequence[Network], *, n: int, rng: np.random.Generator) -> xr.Dataset:
    """`compare` of a pair in one number each, over part: `number` and `variance`; means over units of `weight` before
    and after training, of `kept` and of |`alike`| after training; and the pair's `disagreement` on n inputs."""
    weight = found["weight"].mean(["student", "hidden"])
    return xr.Dataset(
        {
            "directions": found["number"],
            "|x|² in them": found["variance"],
            "|w|² before": weight.sel(when="start", drop=True),
            "|w|² after": weight.sel(when="end", drop=True),
            "cosine with start": found["kept"].mean(["student", "hidden"]),
            "|cosine| of students": np.abs(found["alike"].sel(when="end", drop=True)).mean("hidden"),
            "ε₁,₂ on noise": disagreement(pair, found, n=n, rng=rng),
        }
    )
