"""The two-layer network of Eq. (1), its initialisation, and teachers."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float

from hmm_utils.model.activations import Activation, get
from hmm_utils.model.parameters import choice, whole

__all__ = ["LAYERS", "Network", "random_network", "sign"]

LAYERS = ("both", "first")


def sign(phi: Float[np.ndarray, " ..."]) -> Float[np.ndarray, " ..."]:
    """sgn(φ) ∈ {−1, +1} with sgn(0) = +1, in the precision of φ."""
    return np.where(phi >= 0, 1, -1).astype(phi.dtype)


@dataclass(frozen=True, eq=False)
class Network:
    """The two-layer network of Eq. (1), which is called like a function.

    ::

        φ(x; W, v) = Σ_k v_k g(w_k·x / √N)

    Attributes
    ----------
    W : (K, N) float array
        First layer.
    v : (K,) float array
        Second layer.
    activation : Activation
        Activation function g.
    """

    W: Float[np.ndarray, "K N"]
    v: Float[np.ndarray, " K"]
    activation: Activation

    def __post_init__(self) -> None:
        if self.W.ndim != 2 or self.v.shape != self.W.shape[:1]:
            raise ValueError(
                f"W has shape {self.W.shape} and v has shape {self.v.shape}: give W as (K, N) and v as (K,)."
            )

    @property
    def width(self) -> int:
        """Number of hidden units K."""
        return self.W.shape[0]

    @property
    def n_inputs(self) -> int:
        """Number of inputs N."""
        return self.W.shape[1]

    def __call__(self, x: Float[np.ndarray, " ..."], slab: int = 8192) -> Float[np.ndarray, " P"]:
        """φ(x) in the precision of x.

        Parameters
        ----------
        x : (P, N) float array
            Inputs.
        slab : int
            Number of inputs that are computed at a time, which bounds the memory.

        Returns
        -------
        (P,) float array

        Raises
        ------
        ValueError
            For inputs of another shape.
        """
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
    """Randomly initialised network: W_kn ~ N(0, scale²), and v_k ~ N(0, scale²) if both layers are trained.

    Parameters
    ----------
    n_inputs, width : int
        N and K.
    rng : numpy.random.Generator
    activation : str or Activation
        Activation function g.
    layers : {"both", "first"}
        With "first" every second-layer weight is 1 and stays there, the convention of the paper's program for teachers
        and students alike.
    scale : float
        Section 2: 1 for sigmoidal networks, 1e-3 for ReLU.

    Raises
    ------
    ValueError
        For sizes below 1 or unknown names.
    """
    whole("n_inputs", n_inputs)
    whole("width", width)
    choice("layers", layers, LAYERS)
    W = scale * rng.standard_normal((width, n_inputs))
    v = scale * rng.standard_normal(width) if layers == "both" else np.ones(width)
    return Network(W, v, get(activation))
