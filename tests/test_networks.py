"""hmm_utils.model.networks: the two-layer network of Eq. (1), and the distribution of random weights."""

import math

import numpy as np
import pytest
from helpers.sampling import SE, check_standard_normal

from hmm_utils.model.activations import ERF, get
from hmm_utils.model.networks import Network, random_network, sign


@pytest.mark.parametrize("slab", [1, 7, 50, 51, 8192])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_precision_of_the_inputs_and_do_not_depend_on_slabs(dtype, slab):
    """However many inputs are computed at a time, all are, in order; the formula itself is tested as Eq. (1)."""
    rng = np.random.default_rng(5)
    network = random_network(20, 3, rng=rng)
    x = rng.standard_normal((50, 20)).astype(dtype)
    phi = network(x, slab=slab)
    assert phi.dtype == dtype and phi.shape == (50,)
    # sums of 20 and of 3 terms of order 1
    one_by_one = [network(row[None].astype(float))[0] for row in x]
    np.testing.assert_allclose(phi, one_by_one, rtol=0, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("W", "v"), [((3, 5), (4,)), ((3, 5), (5,)), ((3, 5), (3, 1)), ((5,), (5,)), ((2, 3, 5), (2,))], ids=str
)
def test_weights_that_do_not_fit_are_refused(W, v):
    """W must be (K, N) and v (K,); both shapes are named."""
    with pytest.raises(ValueError, match=r"give W as \(K, N\) and v as \(K,\)") as refusal:
        Network(np.zeros(W), np.zeros(v), ERF)
    assert str(W) in str(refusal.value) and str(v) in str(refusal.value)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (4, 1), (1, 2, 4)], ids=str)
def test_inputs_that_do_not_fit_are_refused(shape):
    """Inputs must be (P, N); their shape and what is wanted are named."""
    network = Network(np.zeros((2, 4)), np.zeros(2), ERF)
    with pytest.raises(ValueError, match=r"this network takes \(P, 4\)") as refusal:
        network(np.zeros(shape))
    assert str(shape) in str(refusal.value)


def test_size_and_name_of_a_network():
    """width is K, n_inputs is N, and the repr says both."""
    network = random_network(7, 2, rng=np.random.default_rng(0), activation="relu")
    assert (network.width, network.n_inputs, network.activation) == (2, 7, get("relu"))
    assert repr(network) == "Network(K=2, N=7, g=relu)"


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_random_weights_are_normal_with_the_given_scale(scale):
    """Section 2: weights of both layers are i.i.d. N(0, scale²)."""
    rng = np.random.default_rng(6)
    check_standard_normal(random_network(400, 500, rng=rng, scale=scale).W / scale)
    check_standard_normal(random_network(1, 200_000, rng=rng, scale=scale).v / scale)


def test_random_weights_are_independent_between_units_and_layers():
    """No row of W repeats another one or the second layer: correlations vanish within standard errors."""
    network = random_network(1000, 1000, rng=np.random.default_rng(7))
    W, v = network.W, network.v
    for a, b in ((W[0], W[1]), (W[:, 0], W[:, 1]), (W[0], v), (W[:, 0], v)):
        assert abs(np.mean(a * b)) < SE / math.sqrt(a.size)


@pytest.mark.parametrize("layers", ["both", "first"])
def test_random_networks_are_reproducible(layers):
    """The same rng gives the same weights, times the scale, and continues with different ones; with layers="first"
    every v is 1, at any scale."""
    rng = np.random.default_rng(10)
    first, second = (random_network(6, 3, rng=rng, layers=layers) for _ in range(2))
    half = random_network(6, 3, rng=np.random.default_rng(10), layers=layers, scale=0.5)
    np.testing.assert_array_equal(half.W, first.W / 2)
    np.testing.assert_array_equal(half.v, first.v / 2 if layers == "both" else np.ones(3))
    assert not np.any(first.W == second.W)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width = 0: give a whole number of at least 1"),
        ({"n_inputs": -2}, "n_inputs = -2: give a whole"),
        ({"layers": "second"}, "layers = 'second': choose one of both, first"),
        ({"activation": "sine"}, "unknown activation 'sine'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_impossible_random_networks_are_refused(arguments, message):
    """Sizes below 1 and unknown names are refused by name."""
    with pytest.raises(ValueError, match=message):
        random_network(**({"n_inputs": 5, "width": 2} | arguments), rng=np.random.default_rng(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sign_of_zero_is_plus_one(dtype):
    """sgn takes the values ±1 only, with sgn(±0) = +1, in the precision of its argument."""
    phi = np.array([-3, -1e-30, -0.0, 0.0, 1e-30, 2, np.inf, -np.inf], dtype=dtype)
    labels = sign(phi)
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels, [-1, -1, 1, 1, 1, 1, 1, -1])
