"""Exact one-sample SGD, Eq. (2), for many students at once, at the speed of matrix products.

All students that share one stream of samples form a :class:`Fleet`: their first layers are the rows of one tall matrix
W, R rows in all. B consecutive steps are done as one block. With the B inputs of the block in X (B, N)::

    S = X Xᵀ                   A = W Xᵀ / √N                (pre-activations before the block)

    for b = 0 … B−1, for every student:
        a_k = A_kb + (η/N) Σ_{b'<b} S_bb' D_b'k
        e   = y_b − Σ_k v_k g(a_k),    D_bk = e v_k g'(a_k),    v_k ← v_k + (η/N) e g(a_k)  if v is trained

    W ← W + (η/√N) Dᵀ X

This is the loop of :func:`hmm_utils.sgd.reference.sgd` in another order: the same numbers up to rounding, with all
N-dimensional work in three matrix products that every width and initialisation shares. Each line is one compiled
function below, so that ``benchmarks/bench.py`` can time them one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import log2

import numpy as np
from jaxtyping import Float32, Int64
from numba import boolean, float32, int32, int64, njit, types
from numba.core.typing.templates import Signature
from numba.extending import get_cython_function_address
from threadpoolctl import threadpool_info

from hmm_utils.model.activations import FIELDS_SIGNATURE, Activation
from hmm_utils.model.networks import Network

__all__ = ["VERSION", "Fleet", "advance", "default_block", "outputs", "piece_rows"]

# Raised when trained weights change by more than rounding: results stored under another version are recomputed.
VERSION = 1

# NaN and infinity must keep their meaning, because they reveal a student that diverges.
_REORDER = {"contract", "reassoc", "nsz"}
# The rows of W of one tile stay in cache between the two products that read them.
_TILE_ROWS = 512
# OpenBLAS with AVX-512 multiplies matrices as they lie, at the peak rate, up to this number of multiplications.
_DIRECT_PRODUCT = 1_000_000
# Gram matrices up to this size are such products for N ≤ 976; in larger tiles too much of their upper half is computed.
_GRAM_TILE = 32

_READ_X, _READ_Y = types.Array(float32, 2, "C", readonly=True), types.Array(float32, 2, "C", readonly=True)


# ---- Matrix products ------------------------------------------------------------------------------------------------

# numba's own np.dot can only write a product to a new array or over an old one; the update of the weights adds to one.
# So the BLAS that scipy brings is called, on arrays in row-major order. Compiled functions take SGEMM as an argument,
# which keeps its address out of the machine code that numba stores.

_char, _int, _real = types.CPointer(types.int8), types.CPointer(int32), types.CPointer(float32)
# transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc: all by address, as Fortran passes them
SGEMM_SIGNATURE = types.void(*(_char, _char, _int, _int, _int, _real, _real, _int, _real, _int, _real, _real, _int))


class _Sgemm(types.WrapperAddressProtocol):
    """SGEMM of scipy's BLAS in the form in which numba takes a foreign function as an argument."""

    def __wrapper_address__(self) -> int:
        return get_cython_function_address("scipy.linalg.cython_blas", "sgemm")

    def signature(self) -> Signature:
        return SGEMM_SIGNATURE


SGEMM = _Sgemm()


@njit(nogil=True)
def _leading(a):
    """Distance between two rows in elements, at least the length of a row, which BLAS requires of a single row too."""
    return max(a.strides[0] // a.itemsize, a.shape[1], 1)


@njit(nogil=True)
def _column_major(sgemm, transposed_a, transposed_b, m, n, k, alpha, a, b, beta, c):
    """C = α op(A) op(B) + β C for column-major A, B and C, which is how BLAS reads row-major arrays transposed."""
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
    """Compute out (m, n) = α a bᵀ with a (m, k) and b (n, k) in float32; rows must be contiguous."""
    _column_major(sgemm, True, False, b.shape[0], a.shape[0], a.shape[1], alpha, b, a, 0, out)


@njit(nogil=True)
def add_transposed_product(sgemm, alpha, a, b, out):
    """Add α aᵀ b to out (m, n) with a (k, m) and b (k, n) in float32; rows must be contiguous."""
    _column_major(sgemm, False, True, b.shape[1], a.shape[1], a.shape[0], alpha, b, a, 1, out)


# ---- Fleets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fleet:
    """Students trained in lockstep on one stream of samples; the arrays are updated in place.

    Sums over the hidden units of a student run over all students at once if the first hidden units of all students are
    adjacent, followed by all second ones, and so on. Students are sorted by decreasing width into tiles of at most
    512 rows (or one wider student).

    Attributes
    ----------
    W : (R, N) float32 array
        First layers of all U students.
    v : (R,) float32 array
        Their second layers.
    owner : (R,) int64 array
        The student to which a row belongs. The rows of a student are in the order of its hidden units.
    levels : (tiles, K_max + 1) int64 array
        Rows levels[t, k] to levels[t, k+1] are hidden unit k of the students of tile t.
    task : (U,) int64 array
        The column of the labels that a student learns.
    alive : (U,) bool array
        False for students that have diverged.
    activation : Activation
        The non-linearity g.
    """

    W: np.ndarray
    v: np.ndarray
    owner: np.ndarray
    levels: np.ndarray
    task: np.ndarray
    alive: np.ndarray
    activation: Activation

    @staticmethod
    def of(networks: Sequence[Network], tasks: Sequence[int] | None = None) -> Fleet:
        """Make a fleet of copies of these networks.

        Parameters
        ----------
        networks : sequence of Network
            The U students.
        tasks : sequence of int, optional
            The column of the labels that each of them learns; by default the first.

        Raises
        ------
        ValueError
            If the networks differ in N or in their activation.
        """
        if len({(n.n_inputs, n.activation.name) for n in networks}) != 1:
            raise ValueError("the networks of a fleet must have the same number of inputs and the same activation.")
        owner, unit, levels = _layout([network.width for network in networks])
        return Fleet(
            W=np.stack([networks[u].W[k] for u, k in zip(owner, unit, strict=True)]).astype(np.float32, order="C"),
            v=np.array([networks[u].v[k] for u, k in zip(owner, unit, strict=True)], dtype=np.float32),
            owner=owner,
            levels=levels,
            task=np.zeros(len(networks), dtype=np.int64) if tasks is None else np.array(tasks, dtype=np.int64),
            alive=np.ones(len(networks), dtype=bool),
            activation=networks[0].activation,
        )

    def networks(self) -> list[Network]:
        """Return copies of the students, in order."""
        rows = [self.owner == u for u in range(self.alive.size)]
        return [Network(self.W[r], self.v[r], self.activation) for r in rows]


def _layout(widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student and hidden unit of every row, (R,) each, and ``Fleet.levels``."""
    tiles: list[list[int]] = []
    room = 0
    for u in sorted(range(len(widths)), key=lambda u: -widths[u]):
        if widths[u] > room:
            tiles.append([])
            room = max(_TILE_ROWS, widths[u])
        tiles[-1].append(u)
        room -= widths[u]
    rows: list[tuple[int, int]] = []
    levels: list[list[int]] = []
    for tile in tiles:
        levels.append([])
        for k in range(max(widths)):
            levels[-1].append(len(rows))
            rows += [(u, k) for u in tile if widths[u] > k]
        levels[-1].append(len(rows))
    owner, unit = np.array(rows, dtype=np.int64).T
    return np.ascontiguousarray(owner), unit, np.array(levels, dtype=np.int64)


# ---- The parts of a block -------------------------------------------------------------------------------------------

_njit = partial(njit, cache=True, nogil=True, error_model="numpy", fastmath=_REORDER)
_compiled = _njit()


@_compiled
def _gather(x, y, indices, xb, yb):
    """Copy sample i to xb[b], yb[b] for the b-th index i."""
    B, N = indices.size, x.shape[1]
    # Four rows at a time, so that their waits for memory overlap.
    for b in range(0, B - B % 4, 4):
        x0, x1, x2, x3 = x[indices[b]], x[indices[b + 1]], x[indices[b + 2]], x[indices[b + 3]]
        o0, o1, o2, o3 = xb[b], xb[b + 1], xb[b + 2], xb[b + 3]
        for n in range(N):
            o0[n], o1[n], o2[n], o3[n] = x0[n], x1[n], x2[n], x3[n]
    for b in range(B - B % 4, B):
        x0, o0 = x[indices[b]], xb[b]
        for n in range(N):
            o0[n] = x0[n]
    for b in range(B):
        for t in range(y.shape[1]):
            yb[b, t] = y[indices[b], t]


@_compiled
def _gram(sgemm, X, S):
    """S_bc = x_b · x_c for X (B, N), computed for c ≤ b (all that the recursion reads) and parts of the rest."""
    B = len(X)
    for b in range(0, B, _GRAM_TILE):
        for c in range(0, b + 1, _GRAM_TILE):
            rows, columns = X[b : b + _GRAM_TILE], X[c : c + _GRAM_TILE]
            product_with_transposed(sgemm, 1, rows, columns, S[b : b + len(rows), c : c + len(columns)])


@_compiled
def _preactivations(sgemm, W, X, piece, A):
    """Compute A (R, B) = W Xᵀ / √N, ``piece`` rows at a time."""
    for r in range(0, len(W), piece):
        product_with_transposed(sgemm, 1 / np.sqrt(np.float32(X.shape[1])), W[r : r + piece], X, A[r : r + piece])


@_compiled
def _by_sample(A, a):
    """Transpose A (R, B) into a (B, R), eight rows at a time, so that eight neighbours in a are written at once."""
    R, B = A.shape
    for r in range(0, R - R % 8, 8):
        for b in range(B):
            piece = a[b, r : r + 8]
            for j in range(8):
                piece[j] = A[r + j, b]
    for r in range(R - R % 8, R):
        for b in range(B):
            a[b, r] = A[r, b]


@_compiled
def _recursion(a, S, y, v, levels, owner, task, alive, fields, step, step_v, D):
    """Run the recursion of the module's docstring for one block and one tile of U students with n rows.

    Parameters
    ----------
    a : (B, n) array
        Pre-activations before the block; overwritten.
    S : (B, B) array
        Scalar products of the inputs.
    y : (B, T) array
        Labels.
    v : (n,) array
        Second layers, updated in place.
    levels : (K + 1,) array
        The rows of ``Fleet.levels`` counted from the first of the tile.
    owner : (n,) array
        As in :class:`Fleet`.
    task, alive : arrays
        For all students of the fleet; ``alive`` is updated in place.
    fields : compiled function
        g and g'.
    step, step_v : float
        η/N, and for the second layer η/N or 0.
    D : (B, n) array
        Output.
    """
    B, n = a.shape
    U = levels[1]  # because every student has a first hidden unit
    g, dg = np.empty(n, np.float32), np.empty(n, np.float32)
    vg, e, error = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(U, np.float32)
    own = task[owner[:U]]
    for b in range(B):
        ab, db = a[b], D[b]
        # Four earlier steps at a time, so that a is loaded and stored once for all of them.
        for c in range(0, b - b % 4, 4):
            s0, s1, s2, s3 = step * S[b, c], step * S[b, c + 1], step * S[b, c + 2], step * S[b, c + 3]
            d0, d1, d2, d3 = D[c], D[c + 1], D[c + 2], D[c + 3]
            for r in range(n):
                ab[r] += s0 * d0[r] + s1 * d1[r] + s2 * d2[r] + s3 * d3[r]
        for c in range(b - b % 4, b):
            s0, d0 = step * S[b, c], D[c]
            for r in range(n):
                ab[r] += s0 * d0[r]
        fields(ab, g, dg)
        for r in range(n):
            vg[r] = v[r] * g[r]
        _errors(y[b], own, vg, levels, error)
        for u in range(U):
            # An infinite error turns the rows of this student, and only these, into NaN. np.isfinite would not do:
            # it tests error − error = 0, which re-ordering simplifies away.
            if not abs(error[u]) < np.inf:
                alive[owner[u]] = False
        _spread(error, levels, e)
        for r in range(n):
            db[r] = e[r] * v[r] * dg[r]
            v[r] += step_v * e[r] * g[r]


@_compiled
def _errors(y, own, vg, levels, error):
    """e_u = y − Σ_k v_k g_k for every student u and its own label, y[own[u]]."""
    if error.size == 1:
        phi = np.float32(0)
        for r in range(vg.size):
            phi += vg[r]
        error[0] = y[own[0]] - phi
        return
    for u in range(error.size):
        error[u] = y[own[u]] - vg[u]
    for k in range(1, levels.size - 1):
        unit = vg[levels[k] : levels[k + 1]]
        for u in range(unit.size):
            error[u] -= unit[u]


@_compiled
def _spread(error, levels, e):
    """Copy the error of every student to its rows."""
    if error.size == 1:
        e[:] = error[0]
        return
    for k in range(levels.size - 1):
        unit = e[levels[k] : levels[k + 1]]
        for u in range(unit.size):
            unit[u] = error[u]


@_compiled
def _update(sgemm, W, D, X, eta, piece):
    """W ← W + (η/√N) Dᵀ X, ``piece`` rows at a time."""
    for r in range(0, len(W), piece):
        add_transposed_product(sgemm, eta / np.sqrt(np.float32(X.shape[1])), D[:, r : r + piece], X, W[r : r + piece])


@_njit(
    types.void(
        *(types.FunctionType(SGEMM_SIGNATURE), float32[:, ::1], float32[::1], int64[::1], int64[:, ::1]),
        *(int64[::1], boolean[::1], _READ_X, _READ_Y, int64[::1], types.FunctionType(FIELDS_SIGNATURE)),
        *(float32, float32, int64, int64),
    )
)
def _advance(sgemm, W, v, owner, levels, task, alive, x, y, indices, fields, eta, eta_v, block, piece):
    """Train in place on x[i], y[i] for i in ``indices``, ``block`` steps at a time."""
    N = W.shape[1]
    widest = 0
    for t in range(len(levels)):
        widest = max(widest, levels[t, -1] - levels[t, 0])
    xb, yb = np.empty((block, N), np.float32), np.empty((block, y.shape[1]), np.float32)
    S = np.empty((block, block), np.float32)
    space = np.empty((3, block * widest), np.float32)
    for start in range(0, indices.size, block):
        B = min(block, indices.size - start)
        X = xb[:B]
        _gather(x, y, indices[start : start + B], xb, yb)
        _gram(sgemm, X, S)
        for t in range(len(levels)):
            first, last = levels[t, 0], levels[t, -1]
            n = last - first
            A, a, D = space[0, : n * B].reshape(n, B), space[1, : B * n].reshape(B, n), space[2, : B * n].reshape(B, n)
            _preactivations(sgemm, W[first:last], X, piece, A)
            _by_sample(A, a)
            tile = slice(first, last)
            _recursion(
                a, S, yb, v[tile], levels[t] - first, owner[tile], task, alive, fields, eta / N, eta_v / N, D
            )  # fmt: skip
            _update(sgemm, W[tile], D, X, eta, piece)


@_njit(
    types.void(
        *(float32[:, ::1], float32[::1], int64[::1], types.FunctionType(FIELDS_SIGNATURE), float32, float32[:, ::1])
    )
)
def _second_layer(WX, v, owner, fields, n_inputs, phi):
    """φ (U, P) = Σ_k v_k g(WX_k / √N) for every student; WX (R, P) is overwritten."""
    scale = np.float32(1) / np.sqrt(n_inputs)
    R, P = WX.shape
    g, dg = np.empty(P, np.float32), np.empty(P, np.float32)
    phi[:] = np.float32(0)
    for r in range(R):
        for i in range(P):
            WX[r, i] *= scale
        fields(WX[r], g, dg)
        out = phi[owner[r]]
        for i in range(P):
            out[i] += v[r] * g[i]


def outputs(fleet: Fleet, x: Float32[np.ndarray, "P N"]) -> Float32[np.ndarray, "U P"]:
    """Compute the outputs φ(x), Eq. (1), of all students of a fleet on all inputs.

    Parameters
    ----------
    fleet : Fleet
        U students.
    x : (P, N) float32 array
        Inputs.

    Returns
    -------
    (U, P) float32 array
    """
    phi = np.empty((fleet.alive.size, len(x)), np.float32)
    _second_layer(fleet.W @ x.T, fleet.v, fleet.owner, fleet.activation.fields, np.float32(x.shape[1]), phi)
    return phi


@cache
def _direct_products() -> bool:
    """Whether this BLAS multiplies small matrices without copying them into its own layout first."""
    return any(
        pool["internal_api"] == "openblas" and pool.get("architecture") in ("SkylakeX", "Cooperlake", "SapphireRapids")
        for pool in threadpool_info()
    )


def default_block(rows: int) -> int:
    """Choose the number of steps done at once for a fleet of R rows: a power of two.

    The Gram matrix costs BN operations a step whatever R is, so small fleets are fastest with small blocks, and large
    ones with the blocks at which their matrix products run best. The constants follow from measurements for 1 to 460
    rows at N = 100 and 784.
    """
    share, most = (6, 32) if _direct_products() else (3, 64)
    return min(max(2 ** round(log2(rows / share)), 8), most)


def piece_rows(block: int, n_inputs: int) -> int:
    """Choose the number of rows of W multiplied at once: as many as this OpenBLAS multiplies without copying."""
    rows = _DIRECT_PRODUCT // (block * n_inputs) // 16 * 16
    return rows if rows and _direct_products() else _TILE_ROWS


def advance(
    fleet: Fleet,
    x: Float32[np.ndarray, "P N"],
    y: Float32[np.ndarray, " P"] | Float32[np.ndarray, "P T"],
    indices: Int64[np.ndarray, " steps"],
    *,
    lr: float,
    layers: str,
    block: int | None = None,
) -> None:
    """Take one SGD step, Eq. (2), on each sample (x[i], y[i]) for i in ``indices``, in that order.

    Parameters
    ----------
    fleet : Fleet
        Students; trained in place.
    x : (P, N) float32 array
        Inputs.
    y : (P,) or (P, T) float32 array
        Labels; for several tasks, a column for each, of which a student learns the one that its fleet says.
    indices : (steps,) int64 array
        Samples, one for each step.
    lr : float
        Learning rate η of the first layer; the second layer, if trained, learns with η/N.
    layers : str
        "both", or "first" for a fixed second layer.
    block : int, optional
        Number of steps done at once, which affects rounding only.

    Raises
    ------
    IndexError
        If an index is not between 0 and P − 1, or a task has no column. Compiled code would read whatever is stored
        there.
    """
    y = np.ascontiguousarray(y.reshape(len(x), -1))
    if not 0 <= fleet.task.min() <= fleet.task.max() < y.shape[1]:
        raise IndexError(f"tasks reach from {fleet.task.min()} to {fleet.task.max()}: y has {y.shape[1]} columns.")
    if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < len(x):
        raise IndexError(f"indices reach from {np.min(indices)} to {np.max(indices)}: there are {len(x)} samples.")
    block = block or default_block(len(fleet.W))
    _advance(
        *(SGEMM, fleet.W, fleet.v, fleet.owner, fleet.levels, fleet.task, fleet.alive),
        *(x, y, indices, fleet.activation.fields),
        *(np.float32(lr), np.float32(lr if layers == "both" else 0), block, piece_rows(block, x.shape[1])),
    )
