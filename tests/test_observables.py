"""hmm_utils.observables against hand-made arrays, exact fractions and numpy."""

import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

from hmm_utils.observables import early_stopping, final, frac, mse, standard_error

SE = 5  # standard errors allowed: one test in two million fails by chance


def test_mse_is_half_the_mean_square():
    """mse is 1/(2P*) Σ (φ − y)², Eq. (3), per row."""
    phi = np.array([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    y = np.array([1.0, 0.0, -1.0, 0.5])
    np.testing.assert_array_equal(mse(phi, y), [(0 + 4 + 16 + 0.25) / 8, (1 + 0 + 1 + 0.25) / 8])
    assert mse(phi[0], y) == (0 + 4 + 16 + 0.25) / 8


def test_mse_sums_in_double_precision():
    """A mean of a million float32 squares is exact to double precision, where a float32 sum would lose digits."""
    phi = np.full(1_000_001, 4095, dtype=np.float32)  # 4095² is below 2²⁴, so every single square is exact
    phi[0] = 1
    exact = Fraction(4095**2 * 1_000_000 + 1, 2 * 1_000_001)
    # the sum itself is an integer below 2⁵³, so only the division and the halving round
    assert abs(mse(phi, np.zeros_like(phi)) / float(exact) - 1) < 1e-15
    in_single = float(np.mean(np.square(phi), dtype=np.float32)) / 2
    assert abs(in_single / float(exact) - 1) > 1e-9, "the test could not tell"


def test_mse_of_large_outputs_does_not_overflow():
    """Outputs of a student on its way to divergence have a finite error as long as they are finite."""
    phi = np.array([[1e30, -1e30], [1.0, 1.0]], dtype=np.float32)
    # 1e30 is rounded to float32 once
    np.testing.assert_allclose(mse(phi, np.ones(2, np.float32)), [5e59, 0], rtol=1e-6)


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
    np.testing.assert_array_equal(mse(phi, y), [0, np.nan, 1])
    # half of φ from NaN rows of one student, half from another: as for the disagreement of a pair
    np.testing.assert_array_equal(frac(phi[[0, 1, 2]], phi[[2, 0, 2]]), [0.5, np.nan, 0])
    assert np.isnan(frac(phi[0], np.array([1.0, np.nan])))


def test_frac_of_huge_outputs():
    """Huge and infinite outputs have a sign, and counting signs needs no sum that could overflow."""
    largest = np.finfo(np.float32).max
    phi = np.array([[largest] * 4 + [-largest] * 4, [np.inf, -np.inf] * 4], dtype=np.float32)
    np.testing.assert_array_equal(frac(phi, np.ones(8, np.float32)), [0.5, 0.5])


@pytest.fixture
def curves():
    """(init, width, time) curves; the second initialisation of width 2 diverged at the third time."""
    values = [[[3.0, 1.0, 2.0, 1.5], [4.0, 5.0, 0.5, 6.0]], [[1.0, 2.0, 3.0, 0.25], [2.0, 1.0, np.nan, np.nan]]]
    coords = {"width": [1, 2], "time": [0, 1, 2, 3]}
    return xr.DataArray(np.array(values), dims=("init", "width", "time"), coords=coords)


def test_early_stopping_is_the_minimum_over_time(curves):
    """ε̂ = min_t ε(t), Appendix C, and NaN for a student that diverged."""
    early = early_stopping(curves)
    assert early.dims == ("init", "width")
    np.testing.assert_array_equal(early, [[1, 0.5], [0.25, np.nan]])


def test_final_is_the_last_value(curves):
    """The asymptotic value is that of the last time, NaN for a student that diverged."""
    last = final(curves)
    assert last.dims == ("init", "width")
    np.testing.assert_array_equal(last, [[1.5, 6], [0.25, np.nan]])


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
