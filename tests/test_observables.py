"""hmm_utils.model.observables against hand-made arrays, exact fractions and numpy."""

import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from helpers.sampling import SE

from hmm_utils.model.observables import early_stopping, errors, final, frac, half_mse, moments, standard_error


def test_mse_is_half_the_mean_square():
    """mse is 1/(2P*) Σ (φ − y)², Eq. (3), per row."""
    phi = np.array([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    y = np.array([1.0, 0.0, -1.0, 0.5])
    np.testing.assert_array_equal(half_mse(phi, y), [(0 + 4 + 16 + 0.25) / 8, (1 + 0 + 1 + 0.25) / 8])
    assert half_mse(phi[0], y) == (0 + 4 + 16 + 0.25) / 8


def test_mse_sums_in_double_precision():
    """A mean of a million float32 squares is exact to double precision, where a float32 sum would lose digits."""
    phi = np.full(1_000_001, 4095, dtype=np.float32)  # 4095² is below 2²⁴, so every single square is exact
    phi[0] = 1
    exact = Fraction(4095**2 * 1_000_000 + 1, 2 * 1_000_001)
    # the sum itself is an integer below 2⁵³, so only the division and the halving round
    assert abs(half_mse(phi, np.zeros_like(phi)) / float(exact) - 1) < 1e-15
    in_single = float(np.mean(np.square(phi), dtype=np.float32)) / 2
    assert abs(in_single / float(exact) - 1) > 1e-9, "the test could not tell"


def test_mse_of_large_outputs_does_not_overflow():
    """Outputs of a student on its way to divergence have a finite error as long as they are finite."""
    phi = np.array([[1e30, -1e30], [1.0, 1.0]], dtype=np.float32)
    # 1e30 is rounded to float32 once
    np.testing.assert_allclose(half_mse(phi, np.ones(2, np.float32)), [5e59, 0], rtol=1e-6)


def test_frac_counts_differing_signs():
    """frac is the part of inputs on which the signs differ, per row."""
    phi = np.array([[0.1, -2.0, 3.0, -4.0, 5.0], [-0.1, 2.0, -3.0, 4.0, -5.0], [0.1, 2.0, 3.0, -4.0, 5.0]])
    y = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    np.testing.assert_array_equal(frac(phi, y), [0, 1, 0.2])
    assert frac(phi[2], y) == 0.2


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_frac_takes_the_sign_of_zero_for_plus_one(zero):
    """sgn(0) = +1 on either side: 0 agrees with 0 and with +1, not with −1."""
    z = np.full(3, zero)
    y = np.array([1.0, -1.0, 0.0])
    assert frac(z, y) == frac(y, z) == pytest.approx(1 / 3)


def test_frac_of_independent_signs_is_one_half():
    """Two random sign functions disagree on half of the inputs: no factor ½ in front of the sum."""
    rng = np.random.default_rng(61)
    phi = rng.standard_normal((2, 40_000))
    assert abs(frac(phi[0], phi[1]) - 0.5) < SE * 0.5 / math.sqrt(40_000)


def test_nan_marks_its_row_and_no_other():
    """A row with a NaN on either side has no error; the others keep theirs."""
    phi = np.array([[1.0, -1.0], [np.nan, 1.0], [1.0, 1.0]], dtype=np.float32)
    y = np.array([1.0, -1.0], dtype=np.float32)
    np.testing.assert_array_equal(frac(phi, y), [0, np.nan, 0.5])
    np.testing.assert_array_equal(half_mse(phi, y), [0, np.nan, 1])
    # half of φ from NaN rows of one student, half from another: as for the disagreement of a pair
    np.testing.assert_array_equal(frac(phi[[0, 1, 2]], phi[[2, 0, 2]]), [0.5, np.nan, 0])
    assert np.isnan(frac(phi[0], np.array([1.0, np.nan])))


def test_frac_of_huge_outputs():
    """Huge and infinite outputs have a sign, and counting signs needs no sum that could overflow."""
    largest = np.finfo(np.float32).max
    phi = np.array([[largest] * 4 + [-largest] * 4, [np.inf, -np.inf] * 4], dtype=np.float32)
    np.testing.assert_array_equal(frac(phi, np.ones(8, np.float32)), [0.5, 0.5])


@pytest.fixture(scope="module")
def measured():
    """(φ, y) of four rows of 1000 inputs in single precision, of which one agrees with y everywhere in sign."""
    rng = np.random.default_rng(63)
    y = rng.standard_normal(1000).astype(np.float32)
    phi = rng.standard_normal((4, 1000)).astype(np.float32)
    phi[2] = 0.5 * y
    return phi, y


def test_moments_are_sums_of_squares_and_of_signs():
    """Σ q, Σ q² and the number of differing signs with q = ½(φ − y)², by hand, for a row and for several."""
    phi, y = np.array([[1.0, 2.0, -3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), np.array([1.0, 0.0, -1.0, -2.0])
    # q = 0, 2, 2, 2 and ½, 0, ½, 2; the last signs differ as sgn(0) = +1, and so does the third of the zeros
    expected = [[6, 3], [12, 4.5], [1, 2]]
    np.testing.assert_array_equal(moments(phi, y), expected)
    np.testing.assert_array_equal(moments(phi[0], y), np.array(expected)[:, 0])
    assert moments(phi.astype(np.float32), y.astype(np.float32)).dtype == np.float64


def test_errors_are_mse_and_frac(measured):
    """`errors` from `moments` are `mse` and `frac`, and the moments of parts add up to those of the whole."""
    phi, y = measured
    parts = [slice(0, 1), slice(1, 400), slice(400, 400), slice(400, 1000)]
    for total in (moments(phi, y), sum(moments(phi[:, part], y[part]) for part in parts)):
        found = errors(total, 1000)
        # 1000 positive terms in double precision
        np.testing.assert_allclose(found["mse"], half_mse(phi, y), rtol=1000 * 1.2e-16)
        np.testing.assert_array_equal(found["frac"], frac(phi, y), err_msg="counts are exact")
        assert found["frac"][2] == 0


def test_standard_error_of_mse_is_that_of_a_mean(measured):
    """mse_se is s/√n with the unbiased s of q = ½(φ − y)² over the inputs, also where q hardly varies."""
    phi, y = measured
    q = (phi.astype(float) - y) ** 2 / 2
    found = errors(moments(phi, y), 1000)["mse_se"]
    # s² is a difference of numbers ten times as large at most, each a mean of 1000 rounded to double precision
    np.testing.assert_allclose(found, np.std(q, axis=-1, ddof=1) / math.sqrt(1000), rtol=10 * 1000 * 1.2e-16)
    # s² = 1e-8 beside a square of 1: eight of the sixteen digits are lost
    phi = np.sqrt(2 * (1 + 1e-4 * np.random.default_rng(64).standard_normal(1000)))
    by_hand = np.std(phi**2 / 2, ddof=1) / math.sqrt(1000)
    np.testing.assert_allclose(errors(moments(phi, np.zeros(1000)), 1000)["mse_se"], by_hand, rtol=1000 * 1.2e-8)
    # 0.3 cannot be written exactly; rounding must not make the variance of equal numbers negative
    assert 0 <= errors(moments(np.full(1000, 0.3), np.zeros(1000)), 1000)["mse_se"] < 1e-8


def test_standard_error_of_frac_is_that_of_a_binomial(measured):
    """frac_se is √(p(1 − p)/n), 0 where all signs agree or none does."""
    phi, y = measured
    found = errors(moments(phi, y), 1000)
    expected = [math.sqrt(p * (1 - p) / 1000) for p in found["frac"]]
    np.testing.assert_allclose(found["frac_se"], expected, rtol=1e-15)
    assert found["frac_se"][2] == 0 < found["frac_se"][0]
    assert errors(moments(-y, y), 1000)["frac_se"] == 0


def test_one_input_has_no_spread_and_nan_no_moments():
    """A single input leaves mse_se unknown; a row with NaN has no mse and no error of it, the others keep theirs."""
    one = errors(moments(np.array([[2.0], [0.0]]), np.zeros(1)), 1)
    np.testing.assert_array_equal(one["mse"], [2, 0])
    assert np.isnan(one["mse_se"]).all()
    three = errors(moments(np.array([[1, np.nan, 2], [1, 0, 2]], np.float32), np.ones(3, np.float32)), 3)
    np.testing.assert_array_equal(three["mse"], [np.nan, 1 / 3])
    np.testing.assert_array_equal(np.isnan(three["mse_se"]), [True, False])


@pytest.fixture
def curves():
    """(init, width, time) curves; the second initialisation of width 2 diverged at the third time."""
    values = [[[3.0, 1.0, 2.0, 1.5], [4.0, 5.0, 0.5, 6.0]], [[1.0, 2.0, 3.0, 0.25], [2.0, 1.0, np.nan, np.nan]]]
    coords = {"width": [1, 2], "time": [0, 1, 2, 3]}
    return xr.DataArray(np.array(values), dims=("init", "width", "time"), coords=coords)


def test_early_stopping_and_final_values(curves):
    """ε̂ = min_t ε(t), Appendix C, and the value at the last time; NaN for a student that diverged."""
    for found, expected in ((early_stopping(curves), [1, 0.5]), (final(curves), [1.5, 6])):
        assert found.dims == ("init", "width")
        np.testing.assert_array_equal(found, [expected, [0.25, np.nan]])


def test_standard_error_is_that_of_the_mean():
    """standard_error is s/√n with the unbiased s, over one dimension or several."""
    rng = np.random.default_rng(62)
    values = xr.DataArray(rng.standard_normal((5, 3, 4)), dims=("init", "student", "width"))
    by_hand = np.std(values.values, axis=0, ddof=1) / math.sqrt(5)
    np.testing.assert_allclose(standard_error(values), by_hand, rtol=1e-12)
    both = np.std(values.values.reshape(15, 4), axis=0, ddof=1) / math.sqrt(15)
    np.testing.assert_allclose(standard_error(values, ["init", "student"]), both, rtol=1e-12)
    assert standard_error(values).dims == ("student", "width")


def test_standard_error_skips_nan_and_needs_two_values():
    """Diverged students are left out of s and of n; with fewer than two left there is no standard error."""
    values = xr.DataArray([[1.0, 2.0, 6.0, np.nan], [1.0, 3.0, np.nan, np.nan], [5.0, np.nan, np.nan, np.nan],
                           [np.nan, np.nan, np.nan, np.nan]], dims=("width", "init"))  # fmt: skip
    error = standard_error(values)
    # 1, 2, 6: mean 3, s² = (4 + 1 + 9)/2 = 7; 1, 3: mean 2, s² = 2
    np.testing.assert_allclose(error, [math.sqrt(7 / 3), 1, np.nan, np.nan], rtol=1e-15)


def test_standard_error_of_one_run_is_nan():
    """A single initialisation has no standard error."""
    assert np.isnan(standard_error(xr.DataArray([2.0], dims="init"))).all()
