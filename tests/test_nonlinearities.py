"""nonlinearities: the closed forms against quadrature, and both against drawn numbers and the data sets."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from helpers.sampling import SE

from hmm_utils.data import streams
from hmm_utils.model.datasets import structured
from hmm_utils.model.nonlinearities import NONLINEARITIES, Constants, Nonlinearity, constants, get
from hmm_utils.runs import experiments

EXACT = {
    "sgn": np.sign,
    "relu": lambda u: u * (u > 0),
    "identity": lambda u: u,
    "erf": np.vectorize(lambda u: math.erf(u / math.sqrt(2))),
    "tanh": np.vectorize(math.tanh),
    "abs": lambda u: np.sqrt(u * u),
}


@pytest.mark.parametrize("f", NONLINEARITIES.values(), ids=NONLINEARITIES)
def test_what_is_known_of_each(f):
    """Values are those of plain functions, closed forms agree with quadrature to 1e-10, the fast version with the
    function to single precision, and a, b, c with the sample means of f(u), u f(u) and f(u)² over a million u."""
    few = np.linspace(-3, 3, 60).reshape(6, 10)
    np.testing.assert_allclose(f(few), EXACT[f.name](few), rtol=0, atol=1e-15)
    assert f(few.astype(np.float32)).dtype == np.float32
    by_quadrature, k = constants(f.function), constants(f.name)
    np.testing.assert_allclose(astuple(k), astuple(by_quadrature), rtol=0, atol=1e-10)
    assert f.constants in (None, k) and NONLINEARITIES[f.name] is f
    u = np.random.default_rng(1).standard_normal(10**6)
    if f.fast is not None:
        single = u.astype(np.float32)
        fast = f.fast(single.reshape(1000, 1000))
        np.testing.assert_allclose(fast.ravel(), f(single.astype(float)), rtol=0, atol=1e-6)
        assert fast.dtype == np.float32 and fast.shape == (1000, 1000)
    f = f(u)
    for value, sample in ((k.a, f), (k.b, u * f), (k.c, f * f)):
        assert abs(sample.mean() - value) <= SE * sample.std() / 1000 + 1e-15


def test_jumps_and_kinks_anywhere():
    """A step at u = 0.3 and a hinge at −1.7 have their exact constants."""

    def density(t):
        return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)

    def above(t):
        return math.erfc(t / math.sqrt(2)) / 2

    step = constants(lambda u: np.where(u > 0.3, 1.0, 0.0))
    np.testing.assert_allclose([step.a, step.b, step.c], [above(0.3), density(0.3), above(0.3)], rtol=0, atol=1e-10)
    hinge = constants(lambda u: np.maximum(u + 1.7, 0))
    a, c = density(1.7) + 1.7 * above(-1.7), (1 + 1.7**2) * above(-1.7) + 1.7 * density(1.7)
    np.testing.assert_allclose([hinge.a, hinge.b, hinge.c], [a, above(-1.7), c], rtol=0, atol=1e-10)


def test_zeta_and_the_variance_of_a_centred_input():
    """ζ and c₀ are the variances that remain of f after taking off its linear part, and its mean."""
    u = np.random.default_rng(2).standard_normal(10**6)
    k = constants("relu")
    rest = np.maximum(u, 0) - k.a - k.b * u
    assert abs(rest.var() - k.zeta) <= SE * (rest**2).std() / 1000
    centred = np.maximum(u, 0) - k.a
    assert abs(centred.var() - k.c0) <= SE * (centred**2).std() / 1000
    assert constants("sgn").zeta == pytest.approx(1 - 2 / math.pi, rel=1e-15)
    assert constants("identity").zeta == 0


@pytest.mark.parametrize("name", ["relu", "erf", "sgn", "abs"])
def test_standardised_constants_are_those_of_the_data_set(name):
    """Inputs from `datasets.structured` correlate with their u = (CF/√D) by the standardised b, and have c = 1."""
    inputs = structured(name, 400, 400, 500, 10, rng=np.random.default_rng(3))
    u = inputs.latent_train.astype(float) @ inputs.features / 20
    k = constants(name).standardised
    assert k.a == 0 and k.c == 1 and k.zeta == pytest.approx(1 - k.b**2)
    # 200 000 products x u. The norm of c fluctuates by 1/√(2D) from sample to sample and that of F's columns likewise,
    # which moves E u x by at most as much, relatively: 1/√(2·400·500) for the mean over samples, less over the columns.
    x = inputs.x_train.astype(float)
    assert abs((u * x).mean() - k.b) <= SE * (1 / math.sqrt(u.size) + 2 / math.sqrt(2 * 400 * 400))


def test_a_new_one_is_one_entry(monkeypatch):
    """Data sets, streams, layers of generators, set-ups and moments know an f from its entry alone, with the quadrature
    and the plain function where it has no constants and no fast version."""
    cube = Nonlinearity(name="cube", function=lambda u: u**3)
    monkeypatch.setitem(NONLINEARITIES, "cube", cube)
    assert get("cube") is get(cube) is cube
    assert constants("cube").b == pytest.approx(3) and constants("cube").zeta == pytest.approx(6)
    c, F = np.random.default_rng(0).standard_normal((5, 3), dtype="f4"), np.eye(3, 7, dtype="f4")
    np.testing.assert_array_equal(streams.structured(F, "cube", 0).x_of(c), (c @ (F / np.float32(math.sqrt(3)))) ** 3)
    inputs = structured("cube", 4, 2, 3, 3, rng=np.random.default_rng(1))
    assert "f = cube, D = 2" in inputs.description
    assert experiments.experiment("fig3_left", f="cube").f == "cube"


def test_functions_of_ones_own_have_their_names():
    def wave(u):
        return np.sin(u)

    assert get(wave).name == "wave" and get(np.vectorize(math.sin)).name
    np.testing.assert_array_equal(get(wave)(np.ones(2)), wave(np.ones(2)))


def test_unknown_name_and_moments_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"unknown f 'sign': choose one of sgn, relu"):
        constants("sign")
    with pytest.raises(ValueError, match=r"the moments of f come out as .* f must be finite"):
        constants(lambda u: np.full_like(u, np.nan))


def test_record_is_frozen():
    with pytest.raises(AttributeError):
        Constants(0.0, 1.0, 1.0).a = 1.0
