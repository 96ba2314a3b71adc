"""hmm_utils.runs.deep: theory and simulation where fields are Gaussian for certain, all cases, deviations."""

from dataclasses import replace
from math import sqrt
from unittest.mock import Mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from hmm_utils.data import generators, streams
from hmm_utils.data.generators import Layer
from hmm_utils.figures import deep_generators
from hmm_utils.runs import deep

TINY = deep.Configuration(
    n_inputs=24, n_latent=6, hidden=(8,), channels=(2,), stride=7, few=2, n_samples=200, n_fields=200, n_test=50,
    n_starts=2, n_simulations=2, width=2, teacher_width=1, lr=0.2, time=100.0, n_times=5, seed=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    """Streams of small inputs make 4096 · 1024 numbers at a time, far more than is used here."""
    monkeypatch.setattr(streams, "_CHUNK_ENTRIES", 1 << 14)


def linear(N, D, rng):
    """x = cF with its exact moments, for which fields are Gaussian whatever the weights; mean of x² is 1."""
    F = rng.standard_normal((N, D)).astype(np.float32).T
    F /= np.float32(sqrt((F**2).sum() / N))
    layers = (Layer(F, "identity"),)
    case = deep.Case(generator=generators.fully_connected(layers), layers=layers)
    F = F.astype(float)
    return case, xr.Dataset({"omega": (("input", "other"), F.T @ F), "phi": (("input", "latent"), F.T)})


# ---- theory and simulation ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_linear():
    rng = np.random.default_rng(0)
    case, moments = linear(400, 200, rng)
    c = replace(TINY, n_simulations=8, n_test=4000, n_fields=4000, time=4.0, n_times=6, teacher_width=2)
    return deep.compare(case, moments, c, rng=rng)


@pytest.mark.parametrize("of", ["eps_g_mse", "eps_g_test_mse"])
def test_a_linear_generator_is_predicted(of_linear, of):
    """Fields are exactly Gaussian: what is left is the scatter of the mean over simulations, that of the test set, and
    corrections of order 1/√N·1/√D, below 2 % of ε_g."""
    simulated = of_linear[of]
    error = simulated.std("simulation", ddof=1) / sqrt(simulated.sizes["simulation"])
    if of == "eps_g_test_mse":
        error = np.hypot(error, of_linear["eps_g_test_mse_se"].mean("simulation"))
    difference = abs(simulated.mean("simulation") - of_linear["theory"])
    assert (difference < 5 * error + 0.02 * of_linear["theory"]).all()
    # and there is something to predict
    assert (of_linear["theory"].isel(time=-1) < 0.8 * of_linear["theory"].isel(time=0)).all()


def test_a_linear_generator_is_followed_exactly(of_linear):
    """From layer to layer the covariances of cF are FᵀF and Fᵀ: the theory is the same to the integrator's 1e-6."""
    np.testing.assert_allclose(of_linear["propagated"], of_linear["theory"], rtol=1e-5)


def test_fields_of_a_linear_generator_are_gaussian(of_linear):
    """Skewness and excess kurtosis are within 5 of their standard errors √(6/n), √(24/n); the density integrates to 1
    but for what lies beyond 5 standard deviations."""
    n = 4000
    assert (abs(of_linear["skewness"]) < 5 * sqrt(6 / n)).all()
    assert (abs(of_linear["excess_kurtosis"]) < 5 * sqrt(24 / n)).all()
    assert deep.non_gaussianity(of_linear).max() < 5 / sqrt(n)
    width = float(np.diff(of_linear["bin"])[0])
    np.testing.assert_allclose(of_linear["density"].sum("bin") * width, 1, rtol=1e-6)


def test_the_spectrum_is_that_of_the_covariance(of_linear):
    """Eigenvalues at their ranks, from 1 to N; the participation ratio is the formula, and c can be recovered."""
    _, moments = linear(400, 200, np.random.default_rng(0))
    rho = np.linalg.eigvalsh(moments["omega"].values)[::-1]
    ranks = of_linear["eigenvalue_rank"].dropna("rank").values.astype(int)
    np.testing.assert_allclose(of_linear["eigenvalue"].dropna("rank"), rho[ranks - 1], atol=1e-10)
    assert ranks[0] == 1 and ranks[-1] == 400
    assert float(of_linear["participation"]) == pytest.approx(400**2 / (rho**2).sum())
    assert float(of_linear["recoverability"]) == pytest.approx(1)


# ---- the cases ---------------------------------------------------------------------------------------------------


def test_the_decoder_of_few_latents_is_the_decoder():
    """It is the trained one with the other latent coordinates at 0, on every 7th pixel in both directions."""
    layers, _ = generators.load_layers(generators.TRAINED)
    case = deep.CASES["decoder, few latents"](TINY, np.random.default_rng(0))
    largest = np.argsort(-np.sqrt((layers[0].F ** 2).sum(1)))[:2]
    few = np.random.default_rng(1).standard_normal((3, 2)).astype(np.float32)
    c = np.zeros((3, len(layers[0].F)), np.float32)
    c[:, largest] = few
    whole = generators.fully_connected(layers)(c).reshape(3, 28, 28)
    np.testing.assert_allclose(case.generator(few), whole[:, ::7, ::7].reshape(3, 16), rtol=1e-5, atol=1e-6)
    assert case.shape == (4, 4)


@pytest.mark.parametrize("name", deep.CASES)
def test_cases(name):
    """Inputs are standardised, of the announced sizes, and the same whatever else is measured."""
    case, moments = deep.with_moments(replace(TINY, n_samples=2000), name)
    x = case.generator(np.random.default_rng(5).standard_normal((4000, case.generator.n_latent), dtype=np.float32))
    # means and variances of 4000 inputs beside those of 2000 others, over N ≥ 16 components
    assert np.abs(x.mean(0)).max() < 6 * sqrt(1 / 2000 + 1 / 4000) * x.std(0).max()
    assert np.trace(moments["omega"].values) == pytest.approx(case.generator.n_inputs)
    again, _ = deep.with_moments(replace(TINY, n_samples=2000), name)
    assert again.generator.content == case.generator.content
    assert bool(case.condition) == (name not in deep.RANDOM)
    pictures = deep.pictures(case, 3, rng=np.random.default_rng(0))
    assert len(pictures) == 3 and pictures[0].size == case.generator.n_inputs


def test_an_aligned_student_looks_at_single_inputs():
    """λ_k = x_k."""
    case, _ = deep.with_moments(TINY, "sgn, aligned student")
    W = case.start((2, 24), np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((5, 24))
    np.testing.assert_allclose(x @ W.T / sqrt(24), x[:, :2])


# ---- deviations -------------------------------------------------------------------------------------------------


def test_deviation():
    """|mean over simulations / theory − 1|: its mean, its largest, its mean over the last quarter of the times."""
    simulated = np.array([[[1.0, 2.0, 3.0, 4.0], [1.2, 2.0, 2.0, 2.0]]])
    result = xr.Dataset(
        {
            "eps_g_mse": (("start", "simulation", "time"), simulated),
            "other": (("start", "simulation", "time"), 2 * simulated),
            "theory": (("start", "time"), [[1.0, 2.0, 2.0, 4.0]]),
        }
    )
    d = [0.1, 0, 0.25, 0.25]
    found = deep.deviation(result)
    assert found["mean"].item() == pytest.approx(np.mean(d))
    assert (found["largest"].item(), found["late"].item()) == pytest.approx((0.25, 0.25))
    assert deep.deviation(result, "other")["mean"].item() == pytest.approx(np.mean([1.2, 1, 1.5, 0.5]))


def test_non_gaussianity():
    """The root of the mean over fields of κ₃²/12 + κ₄²/48."""
    result = xr.Dataset({"skewness": ("field", [0.6, 0.0]), "excess_kurtosis": ("field", [0.0, -2.0])})
    assert float(deep.non_gaussianity(result)) == pytest.approx(sqrt((0.36 / 12 + 4 / 48) / 2))


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_moments", "time", "sentence"),
    [
        (lambda m: m.assign(omega=m["omega"] - 0.1 * np.eye(400)), 100.0, "a covariance is positive semi-def"),
        (lambda m: m.assign(omega=m["omega"] * np.nan), 100.0, "Ω holds values that are not finite"),
        (lambda m: m.isel(latent=slice(5)), 100.0, r"needs \(400, 400\) and \(400, 200\)"),
        (lambda m: m, 1.0, "n_times = 5: some are within one step of N = 400, give fewer"),
    ],
    ids=["not positive", "nan", "wrong phi", "within one step"],
)
def test_what_cannot_be_compared(break_moments, time, sentence):
    """One sentence, before anything is trained."""
    case, moments = linear(400, 200, np.random.default_rng(0))
    with pytest.raises(ValueError, match=sentence) as error:
        deep.compare(case, break_moments(moments), replace(TINY, time=time), rng=np.random.default_rng(0))
    assert str(error.value).count("\n") == 0


# ---- all cases -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_CHUNK_ENTRIES", 1 << 14)
        return deep.measure(TINY, folder=folder, progress=False), folder


def test_a_measurement_continues_where_it_stopped(measured, monkeypatch):
    """Stored cases are not computed again, those of another configuration are."""
    result, folder = measured
    monkeypatch.setattr(deep, "compare", Mock(side_effect=RuntimeError("computed")))
    again = deep.measure(TINY, folder=folder, progress=False)
    xr.testing.assert_identical(again.drop_attrs(), result.drop_attrs())
    with pytest.raises(RuntimeError, match="computed"):
        deep.measure(replace(TINY, seed=4), folder=folder, progress=False)


def test_every_case_is_measured(measured):
    """One entry per case, with numbers; the covariances of odd random layers alone are followed from layer to layer."""
    result, _ = measured
    assert list(result["generator"].values) == list(deep.CASES)
    assert np.isfinite(result["theory"]).all() and np.isfinite(result["eps_g_mse"]).all()
    followed = [str(name) for name in deep.CASES if np.isfinite(result["propagated"].sel(generator=name)).all()]
    assert followed == ["sgn, one layer", "sgn, deep", "tanh, deep", "sgn, few latents", "sgn, aligned student"]
    # texts of different lengths are not cut to that of the first
    assert str(result["condition"].sel(generator="f even").values) == "b = E u f(u) = 0"
    assert deep.note(result) == "N = 16, 24, 48, 2 teachers, 2 simulations of each up to time 100"


def test_summary_is_what_it_says(measured):
    result, _ = measured
    found, one = deep.summary(result).sel(generator="tanh, deep"), result.sel(generator="tanh, deep")
    expected = {
        "test_largest": deep.deviation(one, "eps_g_test_mse")["largest"].mean(),
        "skewness": np.sqrt((one["skewness"][1] ** 2).mean()), "non_gaussianity": deep.non_gaussianity(one).max(),
    }  # fmt: skip
    assert {name: float(found[name]) for name in expected} == pytest.approx({k: float(v) for k, v in expected.items()})


# ---- figures -----------------------------------------------------------------------------------------------------


def test_learning_draws_what_was_measured(measured):
    """A panel per case with theory, means of ε_g and means on test inputs for every start."""
    result, _ = measured
    figure = deep_generators.learning(result)
    panels = {axis.get_title().partition("\n")[0]: axis for axis in figure.axes}
    assert set(panels) == set(deep.CASES)
    later = result.sel(generator="tanh, deep").isel(time=slice(1, None))
    lines = [line.get_ydata() for line in panels["tanh, deep"].lines]
    for start in range(2):
        one = later.isel(start=start)
        expected = one["theory"], one["eps_g_mse"].mean("simulation"), one["eps_g_test_mse"].mean("simulation")
        for line, values in zip(lines[3 * start :], expected, strict=False):
            np.testing.assert_allclose(line, values)
    plt.close(figure)


def test_other_figures(measured):
    """Fields, spectra, deviations and what propagation makes of them, each with a curve or point per case."""
    result, _ = measured
    n, axes = len(deep.CASES), [*deep_generators.fields(result).axes, *deep_generators.spectra(result).axes]
    assert [len(axis.lines) for axis in axes] == [n + 1, n + 1, n]
    summary = deep.summary(result)
    points = deep_generators.against_gaussianity(summary).axes[0].lines
    for point, name in zip(points[1:3], ("mean", "test_mean"), strict=True):
        assert point.get_ydata() == pytest.approx(summary[name].values[:1])
    followed = deep_generators.propagation(result).axes
    assert [axis.get_title() for axis in followed] == ["sgn, one layer", "sgn, deep", "tanh, deep"]
    one = result.sel(generator="tanh, deep").isel(time=slice(1, None))
    expected = (one["eps_g_test_mse"].mean("simulation") / one["propagated"] - 1).mean("start")
    np.testing.assert_allclose(followed[2].lines[1].get_ydata(), expected)
    coloured = deep_generators.images({"one": np.zeros((2, 3, 4, 4)), "two": np.zeros((2, 5, 6))}).axes
    assert coloured[0].images[0].get_array().shape == (4, 4, 3) and coloured[2].images[0].get_array().shape == (5, 6)
    plt.close("all")
