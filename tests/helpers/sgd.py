"""Small tasks, and how closely outputs and errors in single precision must agree with double precision."""

import math

import numpy as np

from hmm_utils.model.activations import ACTIVATIONS, custom
from hmm_utils.model.datasets import gaussian, teacher_task
from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import training

SE = 5  # standard errors allowed: one test in two million fails by chance
NAMES = list(ACTIVATIONS)
LAYERS = ["both", "first"]
KINDS = ("mse", "frac", "mse_se", "frac_se")
# (lr, init_scale) at which training is stable
STABLE = {"erf": (0.2, 1.0), "relu": (0.1, 1.0), "identity": (0.05, 1.0), "quadratic": (0.02, 0.3)}


def single(network, dtype=float):
    """The network with its weights rounded to float32, in the given precision."""
    return Network(network.W.astype("f4").astype(dtype), network.v.astype("f4").astype(dtype), network.activation)


def tanh():
    """A custom activation."""
    return custom("tanh", lambda x: math.tanh(x), lambda x: 1 - math.tanh(x) ** 2)


def made(rng, *, N=23, P=157, n_test=401, M=2, labels="sign"):
    """A small teacher task on Gaussian inputs."""
    return teacher_task(gaussian(N, P, n_test, rng=rng), random_network(N, M, rng=rng), labels=labels)


def quietly(dataset, *, seed=1, **arguments):
    return training.train(dataset, **arguments, rng=np.random.default_rng(seed), progress=None)


def check_errors(phi, y, mse, frac, mse_se, frac_se):
    """Errors of outputs φ against y and their standard errors, where the package has them from float32 outputs.

    These are good to 1e-5 (erf to 1e-6 and a dozen roundings, times Σ|v| ≤ 10), so that q = ½(φ − y)² moves by at most
    |φ − y| times that, and the sign only of outputs smaller than that. The standard error s/√n of q is a norm of q
    without its mean, so that it moves by √(Σ (Δq)²/(n − 1)/n) at most. The rest is for sums in double precision.
    """
    n, q, off = len(y), (phi - y) ** 2 / 2, 1e-5 * np.abs(phi - y)
    assert abs(mse - q.mean()) <= off.mean()
    assert abs(frac - np.mean((phi >= 0) != (y >= 0))) <= np.mean(np.minimum(np.abs(phi), np.abs(y)) < 1e-5) + 1e-12
    assert abs(mse_se - q.std(ddof=1) / math.sqrt(n)) <= math.sqrt(np.sum(off**2) / (n - 1) / n) + 1e-9
    np.testing.assert_allclose(frac_se, math.sqrt(frac * (1 - frac) / n), rtol=1e-12)
