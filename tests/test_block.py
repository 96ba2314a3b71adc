"""block: both matrix products against numpy in double precision, on arrays that lie in memory in every way."""

import numpy as np
import pytest
from numba import float32, njit, types

from hmm_utils.sgd import block
from hmm_utils.sgd.block import SGEMM, SGEMM_SIGNATURE

# one compiled version for arrays of any layout, as the slices in the engine are
_ANY = types.Array(float32, 2, "A")
_SIGNATURE = types.void(types.FunctionType(SGEMM_SIGNATURE), float32, _ANY, _ANY, _ANY)
ALPHA = np.float32(-0.3)
U = 2.0**-24  # a rounding to float32 changes a number by at most this part of it


@njit(_SIGNATURE)
def _product(sgemm, alpha, a, b, out):
    block.product_with_transposed(sgemm, alpha, a, b, out)


@njit(_SIGNATURE)
def _add(sgemm, alpha, a, b, out):
    block.add_transposed_product(sgemm, alpha, a, b, out)


# rows before, columns before, rows after, columns after: how a matrix is cut out of a larger one
CUTS = {"whole": (0, 0, 0, 0), "rows": (3, 0, 2, 0), "columns": (0, 5, 0, 1), "rows and columns": (2, 4, 1, 7)}
# (m, n, k): products of m·k and n·k numbers, the last so large that BLAS copies its factors
SHAPES = [
    (13, 7, 21), (1, 6, 9), (6, 1, 9), (1, 1, 9), (6, 5, 1), (1, 1, 1), (64, 32, 784), (130, 120, 100),
    (0, 4, 5), (4, 0, 5), (4, 5, 0), (0, 0, 0),
]  # fmt: skip


def cut(rng, shape, where):
    """A random matrix of this shape inside a larger one, and the larger one."""
    above, left, below, right = CUTS[where]
    around = rng.standard_normal((above + shape[0] + below, left + shape[1] + right)).astype(np.float32)
    return around[above : above + shape[0], left : left + shape[1]], around


def check_written(around, before, where):
    """What lies around the output is as it was."""
    above, left, below, right = CUTS[where]
    outside = np.ones(around.shape, bool)
    outside[above : around.shape[0] - below, left : around.shape[1] - right] = False
    np.testing.assert_array_equal(around[outside], before[outside])


def tolerance(a, b, k, c=0.0):
    """What float32 may make of c + α Σ a b, k products in a sum, in any order.

    Every number passes through at most k + 2 roundings: its product with α, k of the sum, one of the addition to c. To
    first order the error is that many parts U of the sum of the absolute values; a hundredth is for the rest.
    """
    return 1.01 * (k + 2) * U * (abs(float(ALPHA)) * np.abs(a) @ np.abs(b) + np.abs(c))


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_product_with_transposed(shape, where):
    """out = α a bᵀ up to rounding, whatever was in `out`, NaN included, and nothing else is written."""
    m, n, k = shape
    rng = np.random.default_rng(71)
    (a, _), (b, _), (out, around) = cut(rng, (m, k), where), cut(rng, (n, k), where), cut(rng, (m, n), where)
    out[:] = np.nan
    before, a64, b64 = around.copy(), a.astype(float), b.astype(float)
    _product(SGEMM, ALPHA, a, b, out)
    assert np.all(np.abs(out - float(ALPHA) * a64 @ b64.T) <= tolerance(a64, b64.T, k))
    check_written(around, before, where)
    np.testing.assert_array_equal(a, a64)
    np.testing.assert_array_equal(b, b64)


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_add_transposed_product(shape, where):
    """out += α aᵀ b up to rounding, and nothing else is written."""
    m, n, k = shape
    rng = np.random.default_rng(72)
    (a, _), (b, _), (out, around) = cut(rng, (k, m), where), cut(rng, (k, n), where), cut(rng, (m, n), where)
    before, a64, b64, c64 = around.copy(), a.astype(float), b.astype(float), out.astype(float)
    _add(SGEMM, ALPHA, a, b, out)
    expected = c64 + float(ALPHA) * a64.T @ b64
    assert np.all(np.abs(out - expected) <= tolerance(a64.T, b64, k, c64))
    check_written(around, before, where)
    np.testing.assert_array_equal(a, a64)
    np.testing.assert_array_equal(b, b64)


def test_a_single_row_may_have_any_stride():
    """numpy counts a row as contiguous whatever its stride: where there is one row only, BLAS is told a lawful one."""
    a = np.arange(9, dtype=np.float32)[:, None].T
    assert a.shape == (1, 9) and a.strides[0] < a.nbytes
    b, out = np.ones((2, 9), np.float32), np.full(2, np.nan, np.float32)[:, None].T
    _product(SGEMM, np.float32(1), a, b, out)
    np.testing.assert_array_equal(out, [[36, 36]])
    b, out = np.ones(9, np.float32)[:, None].T, np.zeros((9, 9), np.float32)
    _add(SGEMM, np.float32(1), a, b, out)
    np.testing.assert_array_equal(out, np.repeat(a.T, 9, axis=1))


def test_whole_numbers_are_multiplied_exactly():
    """Sums of whole numbers below 2²⁴ need no rounding: both products are numpy's in integers, term for term."""
    rng = np.random.default_rng(73)
    a, b, c = (rng.integers(-50, 51, shape) for shape in ((40, 300), (30, 300), (40, 30)))
    out = np.full((40, 30), np.nan, np.float32)
    block.product_with_transposed(SGEMM, 2, a.astype(np.float32), b.astype(np.float32), out)
    np.testing.assert_array_equal(out, 2 * a @ b.T)
    out = c.astype(np.float32)
    for times in (1, 2, 3):
        block.add_transposed_product(
            SGEMM, -0.5, np.ascontiguousarray(a.T, np.float32), np.ascontiguousarray(b.T, np.float32), out
        )
        np.testing.assert_array_equal(out, c - times * (a @ b.T) / 2)


def test_not_a_number_is_passed_on_by_the_factors():
    """A NaN in a factor or in what is added to reaches the numbers that it belongs to, and no others."""
    a, b = np.ones((3, 5), np.float32), np.ones((4, 5), np.float32)
    a[1, 2] = np.nan
    out = np.zeros((3, 4), np.float32)
    _product(SGEMM, ALPHA, a, b, out)
    np.testing.assert_array_equal(np.isnan(out), [[False] * 4, [True] * 4, [False] * 4])
    out = np.zeros((5, 5), np.float32)
    out[4, 0] = np.nan
    _add(SGEMM, ALPHA, a, a, out)
    expected = np.zeros((5, 5), bool)
    expected[2] = expected[:, 2] = expected[4, 0] = True
    np.testing.assert_array_equal(np.isnan(out), expected)
