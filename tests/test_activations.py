"""activations: the compiled float32 kernels against torch's functions and autograd in double precision."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from helpers import sgd
from helpers.sampling import U

from hmm_utils.model.activations import ACTIVATIONS, custom, get
from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import reference
from hmm_utils.sgd.block import Fleet, advance

NAMES = list(ACTIVATIONS)
tanh = pytest.fixture(sgd.tanh)


@pytest.fixture(scope="module")
def exact():
    """name → function x ↦ (g(x), g'(x)) in double precision, the derivative from torch's autograd."""
    import torch
    from helpers.functions import FUNCTIONS

    def of(name):
        def g_and_slope(x):
            x = torch.tensor(np.asarray(x, dtype=np.float64), requires_grad=True)
            g = FUNCTIONS[name](x)
            (slope,) = torch.autograd.grad(g.sum(), x)
            return g.detach().numpy(), slope.numpy()

        return g_and_slope

    return of


def wide_range():
    """Arguments around 0 and 0 itself, in the tails, and over all magnitudes whose square is a float32."""
    large = np.geomspace(1e-18, 1e18, 2000)
    parts = [np.zeros(3), np.linspace(-6, 6, 200_000), np.linspace(-40, 40, 20_000), large, -large]
    return np.concatenate(parts).astype(np.float32)


def fields_of(activation, a):
    g, dg = np.full_like(a, 7), np.full_like(a, 7)
    activation.fields(a, g, dg)
    return g, dg


def test_fields_of_erf_are_within_1e_6(exact):
    """The compiled erf and its slope err by less than 1e-6 everywhere, as much as the approximation formula allows."""
    a = wide_range()
    g, dg = fields_of(get("erf"), a)
    exact_g, exact_dg = exact("erf")(a)
    # The formula is good to 1.5e-7. Horner's scheme rounds two numbers of size 1 to 1.5 in each of its five steps, in
    # sum at most 6.5 U = 3.9e-7 (at a = 0, where no later factor t < 1 damps them); the exponential (relative error
    # 3e-7, see below) and the final 1 − … (U) add up to 3.6e-7. The worst case of all of them together is 9e-7.
    np.testing.assert_allclose(g, exact_g, rtol=0, atol=1e-6)
    # exp(y) for the rounded argument y: its relative error 3e-7, and |y| eʸ U ≤ U/e from rounding y; times √(2/π) that
    # is 2.6e-7, and two more roundings of a number below 0.8 give 1e-7.
    np.testing.assert_allclose(dg, exact_dg, rtol=0, atol=4e-7)


def test_slope_of_erf_has_a_relative_error_of_rounding_size_in_the_tail(exact):
    """The exponential in erf's slope is relatively accurate down to exp(−50), not only small where it should be."""
    a = np.linspace(-10, 10, 100_001).astype(np.float32)
    _, dg = fields_of(get("erf"), a)
    _, exact_dg = exact("erf")(a)
    # Taylor remainder r⁷/7! relative to exp(r) with |r| ≤ ln 2/2: 1.7e-7; the seven roundings of Horner's scheme, most
    # of them damped by r: 1.3e-7; constant and product: 2 U. Rounding the argument −a²/2 shifts it by up to a²/2 · U.
    tolerance = 1.7e-7 + 1.3e-7 + 2 * U + U * a.astype(float) ** 2 / 2
    assert np.all(np.abs(dg / exact_dg - 1) <= tolerance)


@pytest.mark.parametrize("name", ["relu", "identity", "quadratic"])
def test_fields_are_the_exact_function_correctly_rounded(name, exact):
    """relu, identity and square take at most one operation, so that the kernel returns the rounded exact value."""
    a = wide_range()
    g, dg = fields_of(get(name), a)
    exact_g, exact_dg = exact(name)(a)
    np.testing.assert_array_equal(g, exact_g.astype(np.float32))
    np.testing.assert_array_equal(dg, exact_dg.astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array_views_agree_with_autograd_in_either_precision(name, dtype, exact):
    """g and dg keep shape and precision of their argument and are right to a few roundings of that precision."""
    act, unit = get(name), np.finfo(dtype).eps / 2
    x = np.linspace(-5, 5, 240).astype(dtype).reshape(2, 3, 40)
    exact_g, exact_dg = exact(name)(x)
    for ours, true in ((act.g(x), exact_g), (act.dg(x), exact_dg)):
        assert ours.shape == x.shape and ours.dtype == dtype
        # the argument of exp is rounded too, which near |x| = 5 counts x²/2 = 12.5 times
        np.testing.assert_allclose(ours, true, rtol=20 * unit, atol=2 * unit)


@pytest.mark.parametrize(
    ("name", "at_infinity"),
    [("erf", (1, -1)), ("relu", (np.inf, 0)), ("identity", (np.inf, -np.inf)), ("quadratic", (np.inf, np.inf))],
)
def test_infinity_and_nan_keep_their_meaning(name, at_infinity):
    """g(±∞) is the limit and g(NaN) is NaN in kernel and array view alike: a diverged student shows."""
    a = np.array([np.inf, -np.inf, np.nan], dtype=np.float32)
    for g in (fields_of(get(name), a)[0], get(name).g(a)):
        np.testing.assert_array_equal(g, np.array([*at_infinity, np.nan], dtype=np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_in_its_place(name):
    """One NaN among the hidden units of a tile leaves all other entries bit for bit as they are."""
    a = np.linspace(-3, 3, 97).astype(np.float32)
    g, dg = fields_of(get(name), a)
    a[40] = np.nan
    g_with, dg_with = fields_of(get(name), a)
    others = np.arange(97) != 40
    np.testing.assert_array_equal(g_with[others], g[others])
    np.testing.assert_array_equal(dg_with[others], dg[others])
    assert np.isnan(g_with[40])


def test_custom_activation_computes_what_it_was_given(tanh):
    """All three views of a custom activation are the given function and derivative."""
    a = np.linspace(-8, 8, 4001).astype(np.float32)
    g, dg = fields_of(tanh, a)
    exact_g = np.array([math.tanh(x) for x in a])
    exact_dg = np.array([1 / math.cosh(x) ** 2 for x in a])
    # tanh in float32 is good to a few units in the last place; 1 − tanh² inherits twice that, absolutely
    np.testing.assert_allclose(g, exact_g, rtol=0, atol=4 * U)
    np.testing.assert_allclose(dg, exact_dg, rtol=0, atol=10 * U)
    np.testing.assert_allclose(tanh.g(a.astype(float)), exact_g, rtol=1e-14)
    np.testing.assert_allclose(tanh.dg(a.astype(float)), exact_dg, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(fields_of(tanh, np.array([np.inf, -np.inf, np.nan], "f4"))[0], [1, -1, np.nan])


@pytest.mark.parametrize("layers", ["both", "first"])
def test_custom_activation_trains_like_the_plain_loop(tanh, layers):
    """Students with a custom activation go through the block engine and end where the double-precision loop ends."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((211, 37)).astype(np.float32)
    y = np.sign(x[:, 0])
    network = random_network(37, 3, rng=rng, activation=tanh, layers=layers)
    indices = rng.integers(211, size=1000)
    fleet = Fleet.of([network])
    advance(fleet, x, y, indices, lr=0.2, layers=layers)
    start = Network(network.W.astype("f4").astype(float), network.v.astype("f4").astype(float), tanh)
    loop = reference.sgd(start, x.astype(float), y.astype(float), indices, lr=0.2, layers=layers)
    # Each of the 1000 steps rounds weights below 4 (at most U · 4) and hands on an error of that size in the
    # pre-activations: as a random walk √1000 · 4 U = 7.5e-6. Four times that is far below the 1 that weights move.
    np.testing.assert_allclose(fleet.W, loop.W, rtol=0, atol=3e-5)
    np.testing.assert_allclose(fleet.v, loop.v, rtol=0, atol=3e-5)
    assert np.abs(loop.W - start.W).max() > 0.5


def test_custom_allows_a_kink_at_zero():
    """A leaky ReLU, whose derivative jumps at 0, is accepted."""
    leaky = custom("leaky", lambda x: x if x > 0 else 0.1 * x, lambda x: 1.0 if x > 0 else 0.1)
    g, dg = fields_of(leaky, np.array([-2, 3], np.float32))
    np.testing.assert_allclose(g, [-0.2, 3], rtol=2 * U)
    np.testing.assert_allclose(dg, [0.1, 1], rtol=2 * U)


@pytest.mark.parametrize(
    "slope",
    [
        lambda x: 1 / math.cosh(x),
        lambda x: -1 / math.cosh(x) ** 2,
        lambda x: 1.001 / math.cosh(x) ** 2,
        lambda x: math.nan,
    ],
    ids=["forgotten square", "wrong sign", "a thousandth off", "NaN"],
)
def test_custom_refuses_a_wrong_derivative(slope):
    """A derivative that is not that of g is refused, with the place and both numbers."""
    message = r"derivative given for activation 'bad' does not match g: at x = \S+ the slope of g is \S+ but dg gives"
    with pytest.raises(ValueError, match=message):
        custom("bad", lambda x: math.tanh(x), slope)


def test_activations_by_name(tanh):
    """A name stands for the activation of that name, an activation for itself; other names are refused with those there
    are and the way to add one."""
    assert [get(name).name for name in NAMES] == ["erf", "relu", "identity", "quadratic"]
    assert get(tanh) is tanh and repr(get("erf")) == "Activation(erf)"
    for name in ("sigmoid", "ERF", ""):
        with pytest.raises(ValueError, match=rf"unknown activation {name!r}: choose one of erf.*custom\(name, g, dg\)"):
            get(name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_reaches_other_processes_by_its_name(name):
    """What is sent is the name, and what arrives is the activation itself; one of your own is refused."""
    g = get(name)
    assert pickle.loads(pickle.dumps(g)) is g
    own = dataclasses.replace(g, name=name)
    with pytest.raises(TypeError, match="is not known to other processes"):
        pickle.dumps(own)
