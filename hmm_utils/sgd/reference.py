"""One-sample SGD written as a plain loop: the reference that tests compare the other modules with.

Slow and simple on purpose. It computes in the precision of the arrays that are passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from jaxtyping import Float, Integer

from hmm_utils.model.networks import Network

__all__ = ["gradient", "sgd"]


def gradient(
    network: Network, x: Float[np.ndarray, " N"], y: float
) -> tuple[Float[np.ndarray, "K N"], Float[np.ndarray, " K"]]:
    """Gradient of the loss ½ [φ(x) − y]² for one sample, Eq. (2).

    With a = Wx/√N and Δ = φ(x) − y::

        ∂W_kn = Δ v_k g'(a_k) x_n / √N,    ∂v_k = Δ g(a_k)

    Parameters
    ----------
    network : Network
        Supplies W (K, N), v (K,) and g.
    x : (N,) float array
        One input.
    y : float
        Its label.

    Returns
    -------
    dW, dv : (K, N) and (K,) float arrays
    """
    W, v, act = network.W, network.v, network.activation
    a = W @ x / x.dtype.type(sqrt(network.n_inputs))
    delta = v @ act.g(a) - y
    return np.outer(delta * v * act.dg(a), x) / x.dtype.type(sqrt(network.n_inputs)), delta * act.g(a)


def sgd(
    network: Network,
    x: Float[np.ndarray, "P N"],
    y: Float[np.ndarray, " P"],
    indices: Sequence[int] | Integer[np.ndarray, " steps"],
    *,
    lr: float,
    layers: str,
) -> Network:
    """Take one SGD step, Eq. (2), on each sample (x[i], y[i]) for i in ``indices``, in that order.

    Every step changes the weights by::

        W ← W − η ∂W,    v ← v − (η/N) ∂v  if v is trained

    The factor 1/N of the second layer is that of the paper's program; Eq. (2) writes one η for both layers.

    Parameters
    ----------
    network : Network
        Initial weights; not changed.
    x, y : (P, N) and (P,) float arrays
        Inputs and labels.
    indices : (steps,) integers
        Samples, one for each step.
    lr : float
        Learning rate η.
    layers : str
        "both", or "first" for a fixed second layer.

    Returns
    -------
    Network
        The trained network.
    """
    W, v = network.W.copy(), network.v.copy()
    eta, eta_v = x.dtype.type(lr), x.dtype.type(lr / network.n_inputs)
    for i in indices:
        dW, dv = gradient(Network(W, v, network.activation), x[i], y[i])
        W -= eta * dW
        if layers == "both":
            v -= eta_v * dv
    return Network(W, v, network.activation)
