"""hmm_utils.runs.comparison, equivalence and predictions: deviations on made-up data, a tiny comparison."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers.comparison import CASE, HOW, made_up

from hmm_utils.figures import dynamics
from hmm_utils.model.nonlinearities import constants
from hmm_utils.runs.comparison import compare, deviations, exponent, jackknife
from hmm_utils.theory.online import equivalence, predictions


@pytest.fixture(scope="module")
def compared():
    return compare(CASE, **HOW)


# ---- deviations --------------------------------------------------------------------------------------------------


def test_deviations_are_their_formula():
    """The mean over simulations is compared, relative to itself, and entries of Q and R by their largest difference."""
    off = deviations(made_up(0.25)).isel(draw=0, student=0)
    np.testing.assert_allclose([off["mean"], off.largest], 0.25 / 1.25)
    np.testing.assert_allclose(off.largest_averaged, abs(1.25 - 2) / 1.25)
    np.testing.assert_allclose(off.mean_averaged, (0.2 + 0.2 + 0.6) / 3)
    np.testing.assert_allclose([off.Q, off.R], [0.2, 0.05])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """For a statistic that is a mean, √(n − 1) times the spread of the means without one is s/√n."""
    values = np.random.default_rng(1).standard_normal(7)
    found = xr.Dataset({"x": ("simulation", values)})
    error = jackknife(found, lambda d: d.mean("simulation"))["x"]
    np.testing.assert_allclose(error, values.std(ddof=1) / np.sqrt(7))


def test_the_exponent_is_that_of_a_power_law():
    """Deviations 10/N of three sizes give α = 1 without error; one size gives none."""
    parts = {}
    for N in (100, 200, 400):
        d = 10 / N
        parts[f"t1/scaling/sgn_N{N}"] = made_up(d / (1 - d), n_draws=2, n_inputs=N)
    alpha, error, n = exponent(parts)
    np.testing.assert_allclose([alpha, error], [1, 0], atol=1e-7)
    assert n == 6
    with pytest.raises(ValueError, match="a fit needs two sizes"):
        exponent({"t1/scaling/sgn_N100": parts["t1/scaling/sgn_N100"]})


# ---- a comparison ------------------------------------------------------------------------------------------------


def test_theory_and_simulation_start_from_the_same_weights(compared):
    """At the first time, 15 steps of η/√N each, they differ by what so few steps can move: Q by less than 0.02."""
    first = compared.isel(time=0, draw=0).mean("simulation")
    for name in ("Q", "R"):
        np.testing.assert_allclose(first[name], first[f"{name}_theory"].transpose(*first[name].dims), atol=0.02)
    np.testing.assert_allclose(first.eps_g, first.eps_g_theory, rtol=0.05)


def test_theory_is_within_the_spread_of_runs(compared):
    """The mean of 6 runs is within 5 of its standard errors of theory, and 0.6/√N = 3.5 % of it for what is left at
    N = 300, while ε_g falls by a third at least."""
    mean, spread = compared.eps_g.mean("simulation"), compared.eps_g.std("simulation", ddof=1)
    allowed = 5 * spread / np.sqrt(6) + 0.6 / np.sqrt(300) * compared.eps_g_theory
    assert bool((abs(mean - compared.eps_g_theory) < allowed).all())
    assert float((mean.isel(time=0) / mean.isel(time=-1)).min()) > 1.5


def test_dimensions_and_padding(compared):
    """Students of different widths share an array; what is not there is NaN in theory and simulation alike."""
    assert compared.eps_g.dims == ("draw", "simulation", "student", "time")
    for name in ("Q", "R"):
        missing = compared[name].isnull().isel(simulation=0)
        xr.testing.assert_equal(missing, compared[f"{name}_theory"].isnull().transpose(*missing.dims))
    assert compared.width.values.tolist() == [2, 3]


# ---- the Gaussian equivalence ------------------------------------------------------------------------------------


def test_moments_are_their_formulas():
    """Skewness m₃/m₂^{3/2} and excess kurtosis m₄/m₂² − 3 from central moments; the largest error of a covariance."""
    x = np.random.default_rng(4).standard_normal((50, 2)) ** 2
    C, measured = np.array([[4.0, 1.0], [1.0, 1.0]]), np.array([[2.0, 1.5], [1.5, 1.2]])
    pair = ("field", "other")
    sampled = xr.Dataset(
        {"fields": (("sample", "field"), x), "predicted": (pair, C), "measured": (pair, measured)},
        {"field": ["λ1", "ν1"]},
    )
    off = equivalence.moments(sampled)
    m2, m3, m4 = (((x - x.mean(0)) ** k).mean(0) for k in (2, 3, 4))
    np.testing.assert_allclose(off.skewness, m3 / m2**1.5)
    np.testing.assert_allclose(off.kurtosis, m4 / m2**2 - 3)
    assert float(off.covariance) == 0.5


def test_fields_have_the_predicted_covariance():
    """N = 400, f = erf: sampled over 8000 inputs, within 5 standard errors √(2/n) and 5/√N·ζ/c₀ of what is left."""
    found = equivalence.local_fields("erf", 400, 100, n_samples=8000, rng=np.random.default_rng(5))
    left = 5 / np.sqrt(400) * constants("erf").zeta / constants("erf").c0
    assert float(equivalence.moments(found).covariance) < 5 * np.sqrt(2 / 8000) + left


def test_convergence_is_labelled():
    found = equivalence.convergence(("sgn",), (20, 40), ratio=0.1, n_samples=200, n_draws=2, seed=1)
    assert found.skewness.dims == ("f", "n_inputs") and found.n_inputs.values.tolist() == [20, 40]


# ---- predictions -------------------------------------------------------------------------------------------------


def test_error_against_delta_is_the_analytic_one():
    """Extrapolated to η = 0 the integrated error is the analytic one, up to O(η²): a hundredth for η = 0.1."""
    found = predictions.error_against_delta(n_draws=1, seed=1, deltas=(0.1,))
    np.testing.assert_allclose(found.extrapolated, found.analytic, rtol=0.01)
    assert bool((found.eps_g > found.analytic).all())


def test_predictions_are_labelled():
    """Few draws of small problems, all finite."""
    widths = predictions.error_against_width(n_draws=1, seed=1, widths=(1, 2), n_inputs=100, n_latent=10)
    assert widths.eps_g.dims == ("draw", "layers", "width")
    curves = predictions.plateaus(n_draws=1, seed=1, tasks=(("iid", 0), ("erf", 10)), n_inputs=100, end=5.0)
    assert curves.eps_g.dims == ("draw", "layers", "task", "time")
    np.testing.assert_allclose(curves.noise, [0, constants("erf").zeta / constants("erf").c0])
    for found in (widths, curves):
        assert bool(np.isfinite(found.eps_g).all()) and bool((found.eps_g > 0).all())


# ---- figures -----------------------------------------------------------------------------------------------------


def test_trajectories_show_points_on_lines(compared):
    """A line of theory and points of simulations for every student, and their quotient in per cent below."""
    fig = dynamics.trajectories({"one": compared})
    top, below = fig.axes
    drawn = {line.get_label(): line for line in top.lines if not line.get_label().startswith("_")}
    assert list(drawn) == [r"$K = 2$, first layer, $\eta = 0.2$", r"$K = 3$, both layers, $\eta = 0.2$"]
    for u, line in enumerate(drawn.values()):
        one = compared.isel(draw=0, student=u)
        np.testing.assert_array_equal(line.get_ydata(), one.eps_g_theory)
        percent = 100 * (one.eps_g.mean("simulation") / one.eps_g_theory - 1)
        np.testing.assert_allclose(below.lines[u].get_ydata(), percent)
    points = [bars.lines[0].get_ydata(orig=False) for bars in top.containers]
    np.testing.assert_allclose(points, compared.eps_g.isel(draw=0).mean("simulation"))
    plt.close(fig)
