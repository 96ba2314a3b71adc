"""The plain loop against torch's autograd in double precision; one step of it is tested with Eq. (2)."""

import math

import numpy as np
import pytest
import torch
from helpers.sgd import LAYERS, NAMES, STABLE

from hmm_utils.model.networks import random_network
from hmm_utils.sgd import reference

G = {"erf": lambda a: torch.erf(a / 2**0.5), "relu": torch.relu, "identity": lambda a: a, "quadratic": torch.square}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", NAMES)
def test_sgd_is_autograd_descent(name, layers):
    """Samples are taken in the given order, with η for W and η/N for v if it is trained; the argument is unchanged."""
    rng = np.random.default_rng(22)
    lr, scale = STABLE[name]
    network = random_network(23, 3, rng=rng, activation=name, layers=layers, scale=scale)
    x, y = rng.standard_normal((40, 23)), rng.standard_normal(40)
    indices = rng.integers(40, size=60)
    before = network.W.copy(), network.v.copy()
    W, v = (torch.tensor(w, requires_grad=True) for w in before)
    for i in indices:
        phi = G[name](W @ torch.tensor(x[i]) / math.sqrt(23)) @ v
        dW, dv = torch.autograd.grad((phi - y[i]) ** 2 / 2, (W, v))
        with torch.no_grad():
            W -= lr * dW
            if layers == "both":
                v -= lr / 23 * dv
    ours = reference.sgd(network, x, y, indices, lr=lr, layers=layers)
    # 60 stable steps, each with a few dozen roundings of 1.1e-16 of numbers of order 1
    np.testing.assert_allclose(ours.W, W.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.v, v.detach().numpy(), rtol=0, atol=1e-12)
    for now, given in zip((network.W, network.v), before, strict=True):
        np.testing.assert_array_equal(now, given)
