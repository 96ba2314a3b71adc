"""Exact one-sample SGD, Eq. (2), for a whole fleet of students at the speed of matrix products.

All students that share one stream of samples form a `Fleet`: the rows of one tall matrix W. B consecutive steps are
done as one block. With X_B the B inputs of the block,

    G = X_B X_Bᵀ / N            A = W X_Bᵀ / √N         (pre-activations before the block)
    for b = 0 … B−1:   a = A[:, b] + η Σ_{b'<b} G[b, b'] D[:, b']
                       e = y_b − Σ_k v_k g(a_k),   D[:, b] = e · v · g'(a),   v += (η/N) e g(a) if v is trained
    W += (η/√N) D X_B

which is the loop of `oracle.sgd` re-ordered: the same numbers up to rounding, with the N-dimensional work in three
matrix products shared by every width and initialisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import boolean, float32, int64, njit, types

from hmm_utils.activations import FIELDS_SIGNATURE, Activation
from hmm_utils.networks import Network

__all__ = ["Fleet", "advance", "outputs"]

# NaN and infinity must keep their meaning: a diverging student is found by them
_REORDER = {"contract", "reassoc", "nsz"}
_TILE_ROWS = 512

_READ_X, _READ_Y = types.Array(float32, 2, "C", readonly=True), types.Array(float32, 1, "C", readonly=True)


@dataclass(frozen=True, eq=False)
class Fleet:
    """Students trained in lockstep on one stream of samples; the arrays are updated in place.

    W           (R, N) float32: the first layers of all students, one under the other
    v           (R,) float32: their second layers
    offsets     (U+1,) int64: student u owns the rows offsets[u] : offsets[u+1]
    alive       (U,) bool: False once a student has diverged
    activation  g
    """

    W: np.ndarray
    v: np.ndarray
    offsets: np.ndarray
    alive: np.ndarray
    activation: Activation

    @staticmethod
    def of(networks: Sequence[Network]) -> Fleet:
        """A fleet of copies of these networks, which must share N and the activation."""
        if len({(n.n_inputs, n.activation.name) for n in networks}) != 1:
            raise ValueError("the networks of a fleet must have the same number of inputs and the same activation.")
        return Fleet(
            W=np.concatenate([n.W for n in networks]).astype(np.float32, order="C"),
            v=np.concatenate([n.v for n in networks]).astype(np.float32),
            offsets=np.cumsum([0, *(n.width for n in networks)]),
            alive=np.ones(len(networks), dtype=bool),
            activation=networks[0].activation,
        )

    def networks(self) -> list[Network]:
        """Copies of the students, in order."""
        rows = [slice(a, b) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]
        return [Network(self.W[r].copy(), self.v[r].copy(), self.activation) for r in rows]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDER)
def _recursion(before, XX, y, v, starts, alive, fields, step, step_v, d):
    """The recursion of the module's docstring for one block and one tile of students.

    before  (B, n) pre-activations before the block     XX  (B, B) X_B X_Bᵀ     y  (B,) labels
    v       (n,) and alive (u,), updated in place       starts  (u+1,) first row of each student
    step    η/N; step_v = η/N, or 0 where v stays       d  (B, n) output, D of the docstring
    """
    B, n = before.shape
    g, dg = np.empty(n, np.float32), np.empty(n, np.float32)
    vg, e = np.empty(n, np.float32), np.empty(n, np.float32)
    for b in range(B):
        a = before[b]
        # four earlier steps at a time: a is loaded and stored once for all of them
        for c in range(0, b - b % 4, 4):
            s0, s1, s2, s3 = step * XX[b, c], step * XX[b, c + 1], step * XX[b, c + 2], step * XX[b, c + 3]
            for r in range(n):
                a[r] += s0 * d[c, r] + s1 * d[c + 1, r] + s2 * d[c + 2, r] + s3 * d[c + 3, r]
        for c in range(b - b % 4, b):
            s0 = step * XX[b, c]
            for r in range(n):
                a[r] += s0 * d[c, r]
        fields(a, g, dg)
        for r in range(n):
            vg[r] = v[r] * g[r]
        for u in range(alive.size):
            phi = np.float32(0)
            for r in range(starts[u], starts[u + 1]):
                phi += vg[r]
            error = y[b] - phi
            # an infinite error makes the rows of this student, and only these, NaN; (np.isfinite is error − error = 0
            # inside, which re-ordering cancels)
            if not abs(error) < np.inf:
                alive[u] = False
            for r in range(starts[u], starts[u + 1]):
                e[r] = error
        for r in range(n):
            d[b, r] = e[r] * v[r] * dg[r]
            v[r] += step_v * e[r] * g[r]


@njit(
    types.void(
        *(float32[:, ::1], float32[::1], int64[::1], boolean[::1], int64[::1]),
        *(_READ_X, _READ_Y, int64[::1], types.FunctionType(FIELDS_SIGNATURE), float32, float32, int64),
    ),
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath=_REORDER,
)
def _advance(W, v, offsets, alive, tiles, x, y, indices, fields, eta, eta_v, block):
    """Trains in place on x[i], y[i] for i in `indices`, `block` steps at a time.

    Students are taken in groups tiles[t] : tiles[t+1], whose rows of W are still in cache when they are updated.
    """
    N = W.shape[1]
    root = np.sqrt(np.float32(N))
    widest = 0
    for t in range(tiles.size - 1):
        widest = max(widest, offsets[tiles[t + 1]] - offsets[tiles[t]])
    xb, yb = np.empty((block, N), np.float32), np.empty(block, np.float32)
    update = np.empty((widest, N), np.float32)
    for start in range(0, indices.size, block):
        B = min(block, indices.size - start)
        for b in range(B):
            xb[b] = x[indices[start + b]]
            yb[b] = y[indices[start + b]]
        X = xb[:B]
        XX = np.dot(X, X.T)
        for t in range(tiles.size - 1):
            u0, u1 = tiles[t], tiles[t + 1]
            r0, r1 = offsets[u0], offsets[u1]
            d = np.empty((B, r1 - r0), np.float32)
            before = np.ascontiguousarray(np.dot(W[r0:r1], X.T).T)
            for b in range(B):
                for r in range(r1 - r0):
                    before[b, r] /= root
            _recursion(before, XX, yb, v[r0:r1], offsets[u0 : u1 + 1] - r0, alive[u0:u1], fields, eta / N, eta_v / N, d)
            change = update[: r1 - r0]
            np.dot(np.ascontiguousarray(d.T), X, change)
            for r in range(r1 - r0):
                for n in range(N):
                    W[r0 + r, n] += eta / root * change[r, n]


@njit(
    types.void(
        float32[:, ::1], float32[::1], int64[::1], types.FunctionType(FIELDS_SIGNATURE), float32, float32[:, ::1]
    ),
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath=_REORDER,
)
def _second_layer(WX, v, offsets, fields, n_inputs, phi):
    """φ (U, P) = Σ_k v_k g(WX_k / √N) per student; WX (R, P) is overwritten."""
    scale = np.float32(1) / np.sqrt(n_inputs)
    P = WX.shape[1]
    g, dg = np.empty(P, np.float32), np.empty(P, np.float32)
    phi[:] = np.float32(0)
    for u in range(offsets.size - 1):
        for r in range(offsets[u], offsets[u + 1]):
            for i in range(P):
                WX[r, i] *= scale
            fields(WX[r], g, dg)
            for i in range(P):
                phi[u, i] += v[r] * g[i]


def outputs(fleet: Fleet, x: np.ndarray) -> np.ndarray:
    """φ(x) of every student: x (P, N) float32 → (U, P) float32."""
    phi = np.empty((fleet.alive.size, len(x)), np.float32)
    _second_layer(fleet.W @ x.T, fleet.v, fleet.offsets, fleet.activation.fields, np.float32(x.shape[1]), phi)
    return phi


def _tiles(offsets: np.ndarray) -> np.ndarray:
    """Consecutive students in groups of at most _TILE_ROWS rows (or one wider student)."""
    starts = [0]
    for u in range(1, offsets.size - 1):
        if offsets[u + 1] - offsets[starts[-1]] > _TILE_ROWS:
            starts.append(u)
    return np.array([*starts, offsets.size - 1], dtype=np.int64)


def _default_block(rows: int) -> int:
    # The Gram matrix costs 2BN a step whatever the number of rows: a small fleet wants small blocks, a large one the
    # blocks at which matrix products run best. Measured for 4 to 390 rows.
    return min(max(rows // 4, 16), 64)


def advance(
    fleet: Fleet, x: np.ndarray, y: np.ndarray, indices: np.ndarray, *, lr: float, layers: str, block: int | None = None
) -> None:
    """Trains the fleet in place with one SGD step on each sample (x[i], y[i]) for i in `indices`, in that order.

    x (P, N) and y (P,) float32. `block` is the number of steps done at once; it changes rounding only.
    Raises IndexError for an index that is not in 0 … P−1 (compiled code would read whatever lies there).
    """
    if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < len(x):
        raise IndexError(f"indices reach from {np.min(indices)} to {np.max(indices)}: there are {len(x)} samples.")
    _advance(
        *(fleet.W, fleet.v, fleet.offsets, fleet.alive, _tiles(fleet.offsets)),
        *(x, y, indices, fleet.activation.fields),
        *(np.float32(lr), np.float32(lr if layers == "both" else 0), block or _default_block(len(fleet.W))),
    )
