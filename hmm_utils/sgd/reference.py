"""One-sample SGD written as the loop it is: the reference that the block engine of `training` is tested against.

Slow and plain on purpose. Precision is that of the arrays passed in.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from hmm_utils.model.networks import Network

__all__ = ["gradient", "sgd"]


def gradient(network: Network, x: np.ndarray, y: float) -> tuple[np.ndarray, np.ndarray]:
    """∂/∂W and ∂/∂v of ½ [φ(x) − y]² for one sample x (N,), shapes (K, N) and (K,).

    With a = Wx/√N and Δ = φ(x) − y:  ∂W_kn = Δ v_k g'(a_k) x_n / √N,  ∂v_k = Δ g(a_k).
    """
    W, v, act = network.W, network.v, network.activation
    a = W @ x / x.dtype.type(sqrt(network.n_inputs))
    delta = v @ act.g(a) - y
    return np.outer(delta * v * act.dg(a), x) / x.dtype.type(sqrt(network.n_inputs)), delta * act.g(a)


def sgd(network: Network, x: np.ndarray, y: np.ndarray, indices: np.ndarray, *, lr: float, layers: str) -> Network:
    """The network after one SGD step, Eq. (2), on each sample (x[i], y[i]) for i in `indices`, in that order.

    First layer W ← W − η ∂W; second layer, if trained, v ← v − (η/N) ∂v: the scaling of the paper's program, where
    Eq. (2) writes one η for both.
    """
    W, v = network.W.copy(), network.v.copy()
    eta, eta_v = x.dtype.type(lr), x.dtype.type(lr / network.n_inputs)
    for i in indices:
        dW, dv = gradient(Network(W, v, network.activation), x[i], y[i])
        W -= eta * dW
        if layers == "both":
            v -= eta_v * dv
    return Network(W, v, network.activation)
