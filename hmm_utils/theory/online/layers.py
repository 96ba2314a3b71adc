"""Covariances of inputs that random fully connected layers make, followed from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

import numpy as np
import xarray as xr

from hmm_utils.data.generators import FUNCTIONS, Layer, fully_connected

__all__ = ["are_odd", "propagated"]


def are_odd(layers: Sequence[Layer]) -> bool:
    """Whether x(−c) = −x(c): layers without a bias whose f are odd."""
    u = np.linspace(0.1, 3, 30)
    return all(layer.bias is None and np.allclose(FUNCTIONS[layer.f](-u), -FUNCTIONS[layer.f](u)) for layer in layers)


def propagated(layers: Sequence[Layer]) -> xr.Dataset:
    """Mean and covariances μ, Ω = E (x − μ)(x − μ)ᵀ and Φ = E (x − μ) cᵀ of random layers by Gaussian equivalence.

    With S = FᵀΩF the covariance of the pre-activations, s_i² = S_ii and, for z ~ N(0, 1), ::

        b_i = E z f(s_i z)/s_i,     c_i = E f(s_i z)² − (E f(s_i z))²,
        Ω'_ij = b_i S_ij b_j for i ≠ j,   Ω'_ii = c_i,   Φ' = b FᵀΦ.

    Off the diagonal this is the first order in weak correlations S_ij. Fluctuations of ``|x|`` by O(1/√N) from sample
    to sample, as in narrow layers, are neglected too.

    Parameters
    ----------
    layers : sequence of Layer
        From c to x.

    Returns
    -------
    moments : Dataset
        mean (input), omega (input, other), phi (input, latent).

    Raises
    ------
    ValueError
        For layers that do not fit, with a bias, or, but for the last, with E f(s_i z) ≠ 0: these do not keep the mean
        at 0.

    References
    ----------
    Goldt, Loureiro, Reeves, Krzakala, Mézard & Zdeborová, arXiv:2006.14709.
    """
    omega = phi = np.eye(fully_connected(layers).n_latent)
    for layer in layers:
        if layer.bias is not None:
            raise ValueError("a layer has a bias: only layers without one can be followed, sample the covariances.")
        F = layer.F.astype(np.float64)
        S = F.T @ omega @ F
        s = np.sqrt(S.diagonal())
        a, zf, ff = _gaussian_means(FUNCTIONS[layer.f], s)
        if layer is not layers[-1] and np.abs(a).max() > 1e-9:
            raise ValueError(
                f"a hidden layer of f = {layer.f} has outputs of mean {np.abs(a).max():.3g}: "
                "only odd f can be followed there, sample the covariances."
            )
        b = zf / s
        omega = b[:, None] * S * b
        np.fill_diagonal(omega, ff - a**2)
        phi = (b * F).T @ phi
    return xr.Dataset({"mean": ("input", a), "omega": (("input", "other"), omega), "phi": (("input", "latent"), phi)})


def _gaussian_means(f: Callable[[np.ndarray], np.ndarray], s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E f(s_i z), E z f(s_i z) and E f(s_i z)² for z ~ N(0, 1) and an f that is smooth but for a kink or jump at 0."""
    node, weight = np.polynomial.legendre.leggauss(100)
    # from 0 to 10, beyond which the Gaussian weighs 1e-23, and the mirror image
    z = np.concatenate([5 * (node + 1), -5 * (node + 1)])
    p = np.tile(5 * weight, 2) * np.exp(-(z**2) / 2) / sqrt(2 * pi)
    values = f(s[:, None] * z)
    return values @ p, values @ (p * z), values**2 @ p
