"""Matrix products for compiled code: the BLAS that scipy brings, called on arrays in row-major order.

numba's own `np.dot` can only write a product to a new array or over an old one; the update of the weights adds to one.
Compiled functions take `SGEMM` as an argument, which keeps its address out of the machine code that numba stores. numba
stores it by the file that a function is in: after a change here, `make clean`, or change `engine.py` too.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, njit, types
from numba.extending import get_cython_function_address

__all__ = ["SGEMM", "SGEMM_SIGNATURE", "add_transposed_product", "product_with_transposed"]

_char, _int, _real = types.CPointer(types.int8), types.CPointer(int32), types.CPointer(float32)
# transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc: all by address, as Fortran passes them
SGEMM_SIGNATURE = types.void(*(_char, _char, _int, _int, _int, _real, _real, _int, _real, _int, _real, _real, _int))


class _Sgemm(types.WrapperAddressProtocol):
    """What numba asks of a foreign function that is passed as an argument."""

    def __wrapper_address__(self) -> int:
        return get_cython_function_address("scipy.linalg.cython_blas", "sgemm")

    def signature(self) -> types.FunctionType:
        return SGEMM_SIGNATURE


SGEMM = _Sgemm()


@njit(nogil=True)
def _leading(a):
    """Distance of two rows in elements; BLAS wants at least the length of a row even where there is only one row."""
    return max(a.strides[0] // a.itemsize, a.shape[1], 1)


@njit(nogil=True)
def _column_major(sgemm, transposed_a, transposed_b, m, n, k, alpha, a, b, beta, c):
    """C = α op(A) op(B) + β C for column-major A, B, C: what BLAS sees in the transposes of row-major arrays."""
    flags = np.empty(2, np.int8)
    flags[0], flags[1] = (84 if transposed_a else 78), (84 if transposed_b else 78)  # "T", "N"
    sizes = np.empty(6, np.int32)
    sizes[0], sizes[1], sizes[2] = m, n, k
    sizes[3], sizes[4], sizes[5] = _leading(a), _leading(b), _leading(c)
    factors = np.empty(2, np.float32)
    factors[0], factors[1] = alpha, beta
    sgemm(
        *(flags[0:].ctypes, flags[1:].ctypes, sizes[0:].ctypes, sizes[1:].ctypes, sizes[2:].ctypes),
        *(factors[0:].ctypes, a.ctypes, sizes[3:].ctypes, b.ctypes, sizes[4:].ctypes),
        *(factors[1:].ctypes, c.ctypes, sizes[5:].ctypes),
    )


@njit(nogil=True)
def product_with_transposed(sgemm, alpha, a, b, out):
    """out (m, n) = α a bᵀ with a (m, k) and b (n, k) float32; the columns of every array must be contiguous."""
    _column_major(sgemm, True, False, b.shape[0], a.shape[0], a.shape[1], alpha, b, a, 0, out)


@njit(nogil=True)
def add_transposed_product(sgemm, alpha, a, b, out):
    """out (m, n) += α aᵀ b with a (k, m) and b (k, n) float32; the columns of every array must be contiguous."""
    _column_major(sgemm, False, True, b.shape[1], a.shape[1], a.shape[0], alpha, b, a, 1, out)
