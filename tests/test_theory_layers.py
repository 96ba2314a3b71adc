"""hmm_utils.theory.online.layers: against closed forms of a single layer, products of matrices, and samples."""

import math

import numpy as np
import pytest

from hmm_utils.data.generators import Layer, covariances, fully_connected, random_layers
from hmm_utils.theory.online.layers import are_odd, propagated


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


def correlations(F):
    S = F.T.astype(float) @ F.astype(float)
    s = np.sqrt(S.diagonal())
    return S / np.outer(s, s), s


def test_propagation_through_one_layer_of_signs():
    """Ω_ij = (2/π) asin ρ_ij exactly, of which (2/π) ρ_ij remains; Φ is exact: √(2/π) F_i/|F_i|."""
    layers = random_layers((200, 150), "sgn", rng=np.random.default_rng(16))
    ours, (rho, s) = propagated(layers), correlations(layers[0].F)
    off = ~np.eye(150, dtype=bool)
    # asin ρ − ρ = ρ³/6 + … ≤ (π/2 − 1)|ρ|³
    gap = 2 / math.pi * (math.pi / 2 - 1) * np.abs(rho) ** 3
    exact = 2 / math.pi * np.arcsin(np.clip(rho, -1, 1))
    assert np.all(np.abs(ours["omega"].values - exact)[off] <= gap[off] + 1e-12)
    np.testing.assert_allclose(ours["omega"].values.diagonal(), 1, rtol=1e-12)
    np.testing.assert_allclose(ours["phi"], math.sqrt(2 / math.pi) * (layers[0].F / s).T, rtol=1e-6)


def test_propagation_through_one_layer_of_relu():
    """The mean, the variances and Φ are exact, and the rest of the arc-cosine kernel is of second order in ρ."""
    layers = random_layers((300, 100), "relu", rng=np.random.default_rng(17))
    ours, (rho, s) = propagated(layers), correlations(layers[0].F)
    rho = np.clip(rho, -1, 1)
    kernel = (np.sqrt(1 - rho**2) + (math.pi - np.arccos(rho)) * rho) / (2 * math.pi)
    exact = np.outer(s, s) * (kernel - 1 / (2 * math.pi))
    np.testing.assert_allclose(ours["mean"], s / math.sqrt(2 * math.pi), rtol=1e-12)
    np.testing.assert_allclose(ours["omega"].values.diagonal(), exact.diagonal(), rtol=1e-7)
    np.testing.assert_allclose(ours["phi"], layers[0].F.T / 2, rtol=1e-6)
    off = ~np.eye(100, dtype=bool)
    # kernel = 1/2π + ρ/4 + ρ²/4π + …, the rest of which adds less than a tenth for |ρ| < 0.5
    assert np.abs(rho[off]).max() < 0.5
    assert np.all(np.abs(ours["omega"].values - exact)[off] <= 1.1 * (np.outer(s, s) * rho**2 / (4 * math.pi))[off])


def test_propagation_through_linear_layers_is_exact():
    """Three linear layers: Φ = (F₁F₂F₃)ᵀ and Ω = ΦΦᵀ."""
    layers = random_layers((20, 30, 25, 40), "identity", rng=np.random.default_rng(18))
    ours = propagated(layers)
    product = (layers[0].F.astype(float) @ layers[1].F @ layers[2].F).T
    np.testing.assert_allclose(ours["phi"], product, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours["omega"], product @ product.T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("f", ["sgn", "tanh"])
def test_propagation_through_three_layers_is_what_is_sampled(f):
    """Away from the statistical error, propagated and sampled covariances differ by a small part of themselves."""
    layers = random_layers((150, 150, 150, 80), f, rng=np.random.default_rng(19))
    ours = propagated(layers)
    measured = covariances(fully_connected(layers), n_samples=40_000, rng=np.random.default_rng(20))
    off = ~np.eye(80, dtype=bool)
    for name, keep in (("omega", off), ("phi", np.ones((80, 150), bool))):
        expected = ours[name].values[keep]
        difference = measured[name].values[keep] - expected
        # norms in a layer of 150 fluctuate by 1/√300 = 6%, which shifts a slope by at most as much in each layer
        assert rms(difference) < 1.1 * float(measured[f"{name}_error"]) + 0.06 * rms(expected), name
        # and what is compared is far above the noise
        assert rms(expected) > 5 * float(measured[f"{name}_error"])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "a generator without layers"),
        ([Layer(np.ones((2, 3)), "sgn", np.ones(3))], "a layer has a bias: only layers without one"),
        ([Layer(np.eye(3), "relu"), Layer(np.eye(3), "sgn")], "a hidden layer of f = relu has outputs of mean 0.399"),
    ],
    ids=["none", "bias", "mean"],
)
def test_layers_that_cannot_be_followed_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        propagated(layers)


def test_odd_layers():
    """All f odd and no bias; a single even or one-sided f breaks it."""
    square = np.eye(3)
    assert are_odd([Layer(square, f) for f in ("sgn", "tanh", "erf", "identity")])
    assert not are_odd([Layer(square, "tanh"), Layer(square, "abs")]) and not are_odd([Layer(square, "relu")])
    assert not are_odd([Layer(square, "tanh", np.ones(3))])
