"""The two-layer network of Eq. (1), its initialisation, and teachers."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from hmm_utils.model.activations import Activation, get

__all__ = ["LAYERS", "Network", "random_network", "sign"]

LAYERS = ("both", "first")


def sign(phi: np.ndarray) -> np.ndarray:
    """sgn(φ) ∈ {−1, +1} with sgn(0) = +1, in the precision of φ."""
    return np.where(phi >= 0, 1, -1).astype(phi.dtype)


@dataclass(frozen=True, eq=False)
class Network:
    """φ(x; W, v) = Σ_k v_k g(w_k·x / √N), Eq. (1).

    W           (K, N) first layer
    v           (K,) second layer
    activation  g
    """

    W: np.ndarray
    v: np.ndarray
    activation: Activation

    def __post_init__(self) -> None:
        if self.W.ndim != 2 or self.v.shape != self.W.shape[:1]:
            raise ValueError(
                f"W has shape {self.W.shape} and v has shape {self.v.shape}: give W as (K, N) and v as (K,)."
            )

    @property
    def width(self) -> int:
        return self.W.shape[0]

    @property
    def n_inputs(self) -> int:
        return self.W.shape[1]

    def __call__(self, x: np.ndarray, slab: int = 8192) -> np.ndarray:
        """φ(x) for inputs x (P, N): shape (P,). Works through `slab` inputs at a time, so that memory stays flat."""
        if x.ndim != 2 or x.shape[1] != self.n_inputs:
            raise ValueError(f"inputs have shape {x.shape}: this network takes (P, {self.n_inputs}).")
        W, v = self.W.astype(x.dtype), self.v.astype(x.dtype)
        phi = np.empty(len(x), dtype=x.dtype)
        for start in range(0, len(x), slab):
            part = slice(start, start + slab)
            phi[part] = self.activation.g(x[part] @ W.T / x.dtype.type(sqrt(self.n_inputs))) @ v
        return phi

    def __repr__(self) -> str:
        return f"Network(K={self.width}, N={self.n_inputs}, g={self.activation.name})"


def random_network(
    n_inputs: int,
    width: int,
    *,
    rng: np.random.Generator,
    activation: str | Activation = "erf",
    layers: str = "both",
    scale: float = 1.0,
) -> Network:
    """A network with W_kn ~ N(0, scale²), and v_k ~ N(0, scale²) if both layers are trained.

    With layers="first" every second-layer weight is 1 and stays there (the convention of the paper's program for
    teachers and students alike). Section 2: scale 1 for sigmoidal networks, 1e-3 for ReLU.

    Raises ValueError for width < 1, n_inputs < 1, or an unknown `layers`.
    """
    if width < 1 or n_inputs < 1:
        raise ValueError(f"width = {width} and n_inputs = {n_inputs}: both must be at least 1.")
    if layers not in LAYERS:
        raise ValueError(f"layers = {layers!r}: choose one of {', '.join(LAYERS)}.")
    W = scale * rng.standard_normal((width, n_inputs))
    v = scale * rng.standard_normal(width) if layers == "both" else np.ones(width)
    return Network(W, v, get(activation))
