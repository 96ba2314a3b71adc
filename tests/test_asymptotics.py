"""hmm_utils.theory.online.asymptotics: the closed form against a search over R, known numbers, and regression."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from hmm_utils.model.nonlinearities import Constants, constants
from hmm_utils.theory.online import spectra
from hmm_utils.theory.online.asymptotics import asymptotic_error, estimable_fraction

SGN = constants("sgn")


def error_of(R, s, M):
    """ε_g of a specialised student with overlap R whose fields are R/s times the best linear estimates."""
    Q = R * R / s
    return (M / math.pi) * (math.asin(Q / (1 + Q)) + math.asin(1 / 2) - 2 * math.asin(R / math.sqrt(2 * (1 + Q))))


@pytest.mark.parametrize(
    ("delta", "bound"),
    [(0.005, 0.001051), (0.01, 0.002105), (0.025, 0.005287), (0.1, 0.02158), (0.25, 0.05503), (0.5, 0.1072),
     (0.8, 0.1558)],
)  # fmt: skip
def test_values_computed_elsewhere(delta, bound):
    """K = M = 2, sgn: four digits of an independent calculation that minimised over R numerically."""
    assert asymptotic_error(SGN, delta, width=2) == pytest.approx(bound, rel=5e-4)


@pytest.mark.parametrize("s", [0.05, 0.5, 0.97])
def test_closed_form_is_the_minimum_over_R(s):
    """The error at s is what a numerical search over R finds; s comes from an f with ζ → 0 and a suitable b²."""
    delta = 0.3
    # s falls from 1 to 0 as ζ grows at fixed b: bisection gives the ζ with this s
    low, high = 0.0, 1e3
    for _ in range(200):
        zeta = (low + high) / 2
        low, high = (zeta, high) if estimable_fraction(Constants(0, 1, 1 + zeta), delta) > s else (low, zeta)
    k = Constants(0, 1, 1 + zeta)
    found = minimize_scalar(error_of, bounds=(1e-6, 1.5), args=(s, 3), method="bounded", options={"xatol": 1e-10})
    # a quadratic minimum found to 1e-8 in R is exact to rounding in the error
    assert asymptotic_error(k, delta, width=3) == pytest.approx(found.fun, abs=1e-13)


@pytest.mark.parametrize("name", ["sgn", "relu", "erf", "tanh"])
@pytest.mark.parametrize("delta", [0.005, 0.3, 1.0, 2.5])
def test_fraction_is_the_integral_over_the_spectrum(name, delta):
    """The root of the quadratic equation is the integral by quadrature over the nodes."""
    k = constants(name)
    rho, p = spectra.nodes(delta, 300)
    integral = (p * k.b**2 * rho / (k.b**2 * rho + k.zeta * delta)).sum()
    # the pole at −ζδ/b² is nearest to the spectrum for δ = 1 and erf, where 300 nodes still leave less than 1e-12
    assert estimable_fraction(k, delta) == pytest.approx(integral, abs=1e-12)


def test_fraction_is_what_linear_regression_recovers():
    """1 − s is the mean squared error of the latent c regressed on inputs x = sgn(u), for one drawn F."""
    N, D, P = 400, 200, 40_000
    rng = np.random.default_rng(8)
    F, c = rng.standard_normal((N, D)).T, rng.standard_normal((P, D))
    x = np.sign(c @ F / math.sqrt(D))
    half = P // 2
    coefficients = np.linalg.solve(x[:half].T @ x[:half], x[:half].T @ c[:half])
    recovered = 1 - np.mean((c[half:] - x[half:] @ coefficients) ** 2)
    # N coefficients estimated from half the samples raise the error by the factor 1 + N/(half − N), taken off below.
    # What remains: the mean over the spectrum of one F, right to O(1/D) = 0.005, and D half/2 squares, right to 0.0007.
    s = estimable_fraction(SGN, D / N)
    assert 1 - (1 - recovered) / (1 + N / (half - N)) == pytest.approx(s, abs=0.005)


def test_limits():
    """A linear f loses nothing while D ≤ N; one without linear part loses all; small δ is linear in δ."""
    identity = constants("identity")
    assert asymptotic_error(identity, 0.7, width=2) == pytest.approx(0, abs=1e-15)
    # N inputs show N of the D directions of c
    assert estimable_fraction(identity, 2.5) == pytest.approx(1 / 2.5)
    assert estimable_fraction(constants("abs"), 0.5) == 0
    assert asymptotic_error(constants("abs"), 0.5, width=2) == pytest.approx(1 / 3)
    delta = 1e-6
    lost = SGN.zeta * delta / SGN.b**2
    # 1 − s = ζδ/b² up to a factor 1 + O(δ), and ε_g = (M/π)(1 − s)/√3 by the slope of asin at ½
    assert 1 - estimable_fraction(SGN, delta) == pytest.approx(lost, rel=1e-5)
    assert asymptotic_error(SGN, delta, width=2) == pytest.approx(2 * lost / (math.pi * math.sqrt(3)), rel=1e-5)


def test_standardising_the_inputs_changes_nothing():
    """Only ζ/b² counts, which a scale of the inputs leaves alone, and centring too."""
    k = constants("relu")
    assert estimable_fraction(k.standardised, 0.3) == pytest.approx(estimable_fraction(k, 0.3), rel=1e-14)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="delta = 0: give a positive, finite number"):
        estimable_fraction(SGN, 0)
    with pytest.raises(ValueError, match="width = 0: give a whole number"):
        asymptotic_error(SGN, 0.1, width=0)
