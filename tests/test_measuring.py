"""Numbers of claims with their intervals: what is averaged over what, and how often an interval contains the truth."""

import numpy as np
import pytest
import xarray as xr
from helpers.claims import FAILS, HOLDS, SE, find, results
from scipy import stats

from hmm_utils.claims import measuring


def written(values):
    """Mean and 95 % interval of independent values by scipy, as a finding writes them."""
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return f"{np.mean(values):.3g} [{low:.2g}, {high:.2g}]"


def scattered(number, **overrides):
    """Results of independent uniform numbers between 0.1 and 0.9, for two draws of three initialisations."""
    found = results(number, {}, **{"n_draws": 2, "n_pairs": 3} | overrides)
    rng = np.random.default_rng(7)
    for result in found.values():
        for key in ("eps_g_frac", "eps_12_frac"):
            result[key] = result[key].copy(data=rng.uniform(0.1, 0.9, result[key].shape))
    return found


@pytest.mark.parametrize("number", ["C1", "C3"])
def test_slopes_are_student_t_over_runs(number):
    """The slopes of C1 and C3 are those of least squares in ln K for each draw and initialisation, the pair averaged,
    with a Student-t interval over these runs; there is but one draw of MNIST."""
    found = scattered(number)
    result = found["fig1_left"]
    gauss = result["eps_12_frac"].sel(inputs="gauss")
    runs = (result["eps_g_frac"].mean("student") if number == "C1" else gauss).values[0, ..., -1]
    slopes = [stats.linregress(np.log(result["width"].values), run).slope for run in runs]
    assert len(slopes) == 3
    assert find(number, found).measured.endswith(f"= {written(slopes)}")


def test_means_are_student_t_over_runs():
    """The error of C4 is averaged over the widths K ≥ M, the pair and the initialisations of a draw, with a Student-t
    interval over draws."""
    found = scattered("C4", widths=[1, 2, 4, 6])
    real, signs = (found[name]["eps_g_frac"].values[..., 2:, -1].mean((1, 2, 3)) for name in found)
    assert real.size == 2
    assert find("C4", found).measured == (
        f"real labels: ε_g(K ≥ M) = {written(real)}; labels ±1: ε_g(K ≥ M) = {written(signs)}"
    )


@pytest.mark.parametrize("n_draws", [2, 1])
def test_ratios_are_taken_within_runs(n_draws):
    """The ratio of C9 is that of each run's own ε₁,₂ and ε_g, averaged over the initialisations of a draw."""
    found = scattered("C9", widths=[1, 2], n_draws=n_draws)
    test = found["fig3_left"]["eps_12_frac"].sel(inputs="test").values[..., -1].mean(-1)
    eps_g = found["fig3_left"]["eps_g_frac"].values[..., -1].mean((2, 3))
    runs = test / eps_g
    assert written(runs.mean(1) if n_draws == 2 else runs[0]) in find("C9", found).measured


COVERED, CASES = 0.95, 4000
ALLOWED = SE * np.sqrt(COVERED * (1 - COVERED) / CASES)  # 1.7 %


@pytest.mark.parametrize(("n_draws", "n_pairs"), [(1, 3), (1, 10), (2, 3), (3, 2), (5, 2)])
@pytest.mark.parametrize("between", [0.0, 3.0])
def test_coverage_of_intervals(n_draws, n_pairs, between):
    """The interval of a mean contains the true mean in 95 % of 4000 cases, within 5 standard errors, whether or not the
    runs of a draw have something in common; of a single draw it contains the mean of that draw."""
    rng = np.random.default_rng(n_draws)
    common = between * rng.standard_normal((n_draws, 1, CASES))
    runs = xr.DataArray(common + rng.standard_normal((n_draws, n_pairs, CASES)), dims=("draw", "init", "case"))
    true = common[0, 0] if n_draws == 1 else np.zeros(CASES)
    units, over = measuring.independent_units(runs)
    values = [measuring.mean_of("", case, over) for case in units.T]
    assert abs(np.mean([v.low < x < v.high for v, x in zip(values, true, strict=True)]) - COVERED) < ALLOWED
    assert {(v.n, v.over) for v in values} == {(n_pairs, "initialisations") if n_draws == 1 else (n_draws, "draws")}


@pytest.mark.parametrize(("n", "m", "spreads"), [(5, 5, (1, 1)), (5, 3, (1, 1)), (10, 5, (0.5, 2)), (5, 2, (1, 0))])
def test_coverage_of_ratios_between_runs(n, m, spreads):
    """Welch's interval of a quotient of errors of different runs contains the true one in 95 % of 1000 cases: within 5
    standard errors and the 2 % by which Welch's degrees of freedom are off with so few numbers."""
    rng = np.random.default_rng(m)
    x, y = (rng.normal(mean, s, (CASES // 4, k)) for mean, s, k in ((0, spreads[0], n), (np.log(3), spreads[1], m)))

    def draws(values):
        return xr.DataArray(np.exp(values)[:, None], dims=("draw", "init"))

    values = [measuring.ratio_between_runs("", draws(a), draws(b)) for a, b in zip(x, y, strict=True)]
    inside = np.mean([v.low < 1 / 3 < v.high for v in values])
    assert abs(inside - COVERED) < 2 * ALLOWED + 0.02
    assert {v.n for v in values} == {n + m}
    assert values[0].mean == pytest.approx(np.exp(x[0].mean() - y[0].mean()))


def test_a_pair_is_one_run():
    """If there is no effect, a claim about a slope is decided in 5 % of 300 cases, half this way and half that, though
    the two students of a pair are alike."""
    rng = np.random.default_rng(8)
    base = results("C1", {"fig1_left": {"eps_g": 1.0}}, n_pairs=3, n_times=3, spread=0, widths=[1, 4])["fig1_left"]
    noise = rng.standard_normal((300, 1, 3, 1, 2, 1))
    found = [find("C1", {"fig1_left": base.assign(eps_g_frac=base["eps_g_frac"] + 0.1 * one)}).verdict for one in noise]
    for decided in (HOLDS, FAILS):
        assert abs(found.count(decided) / 300 - 0.025) < SE * np.sqrt(0.025 * 0.975 / 300)


def test_runs_without_errors_have_no_ratio():
    """A run without any error is left out of its draw's mean, and the other runs of the draw are not."""
    errors = xr.DataArray(np.ones((2, 2, 1)), dims=("draw", "init", "width"))
    value = measuring.ratio_within_runs("", errors, errors.where(errors["init"] + errors["draw"] > 0, 0), lambda x: x)
    assert (value.mean, value.n) == (1, 2)
