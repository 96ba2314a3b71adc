"""hmm_utils.model.networks: the two-layer network of Eq. (1), and the distribution of random weights."""

import math

import numpy as np
import pytest

from hmm_utils.model.activations import ERF, get
from hmm_utils.model.networks import Network, random_network, sign

SE = 5  # standard errors allowed: one test in two million fails by chance


def plain(network, x, g):
    """φ(x) of Eq. (1) as three nested loops."""
    K, N = network.W.shape
    return [
        sum(network.v[k] * g(sum(network.W[k, n] * row[n] for n in range(N)) / math.sqrt(N)) for k in range(K))
        for row in x
    ]


@pytest.mark.parametrize(
    ("name", "g"),
    [
        ("erf", lambda a: math.erf(a / math.sqrt(2))),
        ("relu", lambda a: max(a, 0)),
        ("identity", lambda a: a),
        ("quadratic", lambda a: a * a),
    ],
)
def test_output_is_the_plain_loop(name, g):
    """A network computes Σ_k v_k g(w_k·x/√N)."""
    rng = np.random.default_rng(3)
    network = random_network(13, 4, rng=rng, activation=name)
    x = rng.standard_normal((9, 13))
    # sums of 13 and 4 products of numbers of order 1, in another order: a few dozen roundings of 1.1e-16
    np.testing.assert_allclose(network(x), plain(network, x, g), rtol=0, atol=1e-14)


@pytest.mark.parametrize("slab", [1, 7, 50, 51, 8192])
def test_slabs_do_not_change_outputs(slab):
    """However many inputs are taken at a time, all are taken, in order, with the same result."""
    rng = np.random.default_rng(4)
    network = random_network(20, 3, rng=rng)
    x = rng.standard_normal((50, 20))
    one_by_one = np.array([network(row[None])[0] for row in x])
    # the matrix product may add its 20 terms in another order
    np.testing.assert_allclose(network(x, slab=slab), one_by_one, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_that_of_the_inputs(dtype):
    """The outputs have the precision of the inputs, whatever that of the weights."""
    rng = np.random.default_rng(5)
    network = random_network(20, 3, rng=rng)
    x = rng.standard_normal((50, 20)).astype(dtype)
    phi = network(x)
    assert phi.dtype == dtype and phi.shape == (50,)
    # sums of 20 and of 3 terms of order 1
    np.testing.assert_allclose(phi, network(x.astype(float)), rtol=0, atol=50 * np.finfo(dtype).eps)


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


def check_standard_normal(z):
    """Mean, variance and fourth moment of i.i.d. N(0, 1) numbers, each within SE standard errors."""
    z = z.ravel()
    for value, expected, variance in ((z, 0, 1), (z**2, 1, 2), (z**4, 3, 96)):
        assert abs(value.mean() - expected) < SE * math.sqrt(variance / z.size)


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


def test_first_layer_mode_has_unit_second_layer():
    """With layers="first" every v is 1, at any scale, and the first layer is random as ever."""
    network = random_network(400, 500, rng=np.random.default_rng(8), layers="first", scale=0.5)
    np.testing.assert_array_equal(network.v, np.ones(500))
    check_standard_normal(network.W / 0.5)


def test_scale_multiplies():
    """The same rng with another scale gives the same weights times that scale."""
    one = random_network(6, 3, rng=np.random.default_rng(9))
    half = random_network(6, 3, rng=np.random.default_rng(9), scale=0.5)
    np.testing.assert_array_equal(half.W, one.W / 2)
    np.testing.assert_array_equal(half.v, one.v / 2)


@pytest.mark.parametrize("layers", ["both", "first"])
def test_random_network_is_reproducible(layers):
    """The same rng gives the same network, and going on with it a different one."""
    rng = np.random.default_rng(10)
    first, second = (random_network(6, 3, rng=rng, layers=layers) for _ in range(2))
    again = random_network(6, 3, rng=np.random.default_rng(10), layers=layers)
    np.testing.assert_array_equal(first.W, again.W)
    np.testing.assert_array_equal(first.v, again.v)
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
