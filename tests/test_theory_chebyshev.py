"""hmm_utils.theory.online.chebyshev on equations with known solutions."""

import math

import numpy as np
import pytest

from hmm_utils.theory.online import chebyshev


def in_place(f):
    def write(y, out):
        out[:] = f(y)

    return write


def one_step(f, y, h, s):
    """The new y and the estimated error of one step."""
    y = np.asarray(y, dtype=float)
    rows, space = np.full((7, y.size), np.nan), np.full((5, y.size), np.nan)
    rows[chebyshev._BEFORE] = y
    error = chebyshev._extrapolated(in_place(f), f(y), h, s, rows, space)
    return rows[chebyshev._AFTER], error


def pendulum(y):
    return np.array([y[1], -np.sin(y[0]) - 0.1 * y[1] ** 3])


@pytest.mark.parametrize("s", [2, 3, 7])
def test_a_step_is_of_fourth_order(s):
    """The error of a step is O(h⁵) and its estimate O(h⁴), for an equation that is not linear."""
    start, h = np.array([1.0, 0.5]), 0.1
    exact = start
    for _ in range(64):  # 64 classical Runge–Kutta steps: 64⁴ times more exact
        k1 = pendulum(exact)
        k2 = pendulum(exact + h / 128 * k1)
        k3 = pendulum(exact + h / 128 * k2)
        exact = exact + h / 384 * (k1 + 2 * k2 + 2 * k3 + pendulum(exact + h / 64 * k3))
    half = one_step(pendulum, one_step(pendulum, start, h / 2, s)[0], h / 2, s)[0]
    new, estimate = one_step(pendulum, start, h, s)
    # two half steps leave 1/16 of the error, up to the next order
    assert 10 < np.linalg.norm(new - exact) / np.linalg.norm(half - exact) < 25
    smaller = one_step(pendulum, start, h / 2, s)[1]
    assert 12 < np.linalg.norm(estimate) / np.linalg.norm(smaller) < 20
    assert np.linalg.norm(new - exact) < np.linalg.norm(estimate)


@pytest.mark.parametrize("s", [2, 3, 5, 20, 100])
def test_a_step_is_stable_up_to_its_bound(s):
    """|stability function| ≤ 1 for all rates from 0 to the one that `stages` takes for stable with s stages."""
    z = (s**2 - 1) * chebyshev.BOUND
    assert chebyshev.stages(z * (1 - 1e-9)) == s and chebyshev.stages(z * (1 + 1e-9)) == s + 1
    rates = np.linspace(0, z, 2000)
    factor, _ = one_step(lambda y: -rates * y, np.ones(2000), 1.0, s)
    # rounding grows like s² in the recursion
    assert np.abs(factor).max() <= 1 + 1e-13 * s**2
    # far beyond the bound it is not: a polynomial of degree 3s
    assert abs(one_step(lambda y: -4 * z * y, np.ones(1), 1.0, s)[0][0]) > 1


def test_rates_of_all_sizes():
    """y' = −λ(y − y∞): rates from 0.01 to 10⁴ in one system, with far fewer evaluations than Euler's method."""
    rates = np.geomspace(0.01, 1e4, 40)
    target = np.cos(np.arange(40.0))
    times = np.array([0.0, 1e-3, 0.7, 50.0])
    found, work = chebyshev.solve(in_place(lambda y: -rates * (y - target)), np.zeros(40), times, rtol=1e-6)
    exact = target * -np.expm1(-rates * times[:, None])
    # errors of a hundred steps, each 1e-6 of |y| ≈ √20
    assert np.abs(found - exact).max() < 100 * 1e-6 * math.sqrt(20)
    np.testing.assert_array_equal(found[0], 0)
    assert work["evaluations"] < 1e4 * 50 / 2 / 5, "Euler's limit is 2/λ"


def test_error_follows_the_tolerance():
    """A tolerance 10⁴ times smaller gives an error about that much smaller, at times between steps too."""
    times = np.linspace(0, 5, 23)
    exact = chebyshev.solve(in_place(pendulum), np.array([1.0, 0.5]), times, rtol=1e-13)[0]
    errors = [
        np.abs(chebyshev.solve(in_place(pendulum), np.array([1.0, 0.5]), times, rtol=rtol)[0] - exact).max()
        for rtol in (1e-4, 1e-8)
    ]
    assert errors[0] < 1e-3 and errors[1] < 1e-7


@pytest.mark.parametrize("rtol", [1e-3, 1e-5])
def test_between_steps_fast_modes_do_not_show(rtol):
    """Modes that follow a slow one, y' = −λ(y − s²): in long steps the small errors that are left of them would be λh
    times as large in a polynomial that uses f. Everywhere the error is that of some steps, rtol |y| each."""
    rates = np.geomspace(1, 1e4, 60)

    def f(y):
        return np.concatenate([[-0.01 * y[0] ** 2], -rates * (y[1:] - y[0] ** 2)])

    times, start = np.geomspace(0.1, 3000, 200), np.concatenate([[1.0], np.zeros(60)])
    found, work = chebyshev.solve(in_place(f), start, times, rtol=rtol)
    exact, _ = chebyshev.solve(in_place(f), start, times, rtol=rtol * 1e-4)
    size = np.linalg.norm(exact, axis=1)
    assert work["steps"] < 100, "most of the times lie between steps"
    assert (np.linalg.norm(found - exact, axis=1) / size).max() < 30 * rtol


def test_long_vectors_and_short_ones():
    """The same equation 700 times over: more numbers than are taken at once, and norms √700 times as large."""
    times, start = np.array([0.0, 0.4, 5.0]), np.array([1.0, 0.5])
    one, work = chebyshev.solve(in_place(pendulum), start, times, rtol=1e-8)
    many, of_many = chebyshev.solve(
        in_place(lambda y: pendulum(y.reshape(2, 700)).ravel()), np.repeat(start, 700), times, rtol=1e-8
    )
    np.testing.assert_allclose(many.reshape(3, 2, 700), one[..., None] * np.ones(700), rtol=0, atol=1e-7)
    assert many.shape == (3, 1400) and abs(of_many["steps"] - work["steps"]) <= 2


def test_a_system_at_rest_stays_there():
    """f(y) = 0: no direction, no rate, no error; nothing is divided by zero."""
    for y in (np.zeros(3), np.ones(3)):
        found, _ = chebyshev.solve(in_place(np.zeros_like), y, np.array([0.0, 10.0]), rtol=1e-6)
        np.testing.assert_array_equal(found, [y, y])


def test_time_zero_costs_nothing():
    """Only the start is asked for: f is not called."""
    found, work = chebyshev.solve(lambda y, out: pytest.fail("called"), np.ones(2), np.array([0.0]), rtol=1e-6)
    np.testing.assert_array_equal(found, [[1, 1]])
    assert work["evaluations"] == 0


def test_a_solution_that_diverges_is_reported():
    """y' = y² from 1 is infinite at time 1: an error that names the time, not NaN."""
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ArithmeticError, match=r"at time 1\b"):
        chebyshev.solve(in_place(np.square), np.ones(1), np.array([2.0]), rtol=1e-6)
