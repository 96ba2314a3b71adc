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

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numba import boolean, float32, int64, njit, types
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hmm_utils.activations import FIELDS_SIGNATURE, Activation, get
from hmm_utils.networks import LAYERS, Network, random_network
from hmm_utils.observables import frac, mse

if TYPE_CHECKING:
    from hmm_utils.datasets import Dataset

__all__ = ["DivergenceWarning", "Fleet", "advance", "evaluation_times", "outputs", "student", "train"]

# NaN and infinity must keep their meaning: a diverging student is found by them
_REORDER = {"contract", "reassoc", "nsz"}
_INDEX_CHUNK = 1 << 16
_TILE_ROWS = 512
_SLAB = 1024


class DivergenceWarning(RuntimeWarning):
    """A student's error became infinite; the student is stopped and NaN from then on."""


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
        *(float32[:, ::1], float32[::1], int64[::1], types.FunctionType(FIELDS_SIGNATURE), float32, float32, int64),
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
    """
    _advance(
        *(fleet.W, fleet.v, fleet.offsets, fleet.alive, _tiles(fleet.offsets)),
        *(x, y, indices, fleet.activation.fields),
        *(np.float32(lr), np.float32(lr if layers == "both" else 0), block or _default_block(len(fleet.W))),
    )


def evaluation_times(time: float, n: int = 40, first: float = 0.1) -> np.ndarray:
    """0 and n−1 log-spaced times from `first` to `time`, in units of steps/N."""
    return np.concatenate([[0.0], np.geomspace(min(first, time), time, n - 1)])


def _index_stream(seed: np.random.SeedSequence, n_train: int) -> Iterable[np.ndarray]:
    """Sample indices, uniform with replacement, in chunks of a fixed length so that the stream does not depend on how
    it is consumed."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(n_train, size=_INDEX_CHUNK)


class _Stream:
    """Takes any number of indices from an endless iterator of chunks."""

    def __init__(self, chunks: Iterable[np.ndarray]) -> None:
        self._chunks, self._left = iter(chunks), np.empty(0, np.int64)

    def take(self, n: int) -> np.ndarray:
        while self._left.size < n:
            self._left = np.concatenate([self._left, next(self._chunks)])
        taken, self._left = self._left[:n], self._left[n:]
        return taken


def _errors(pair: tuple[Fleet, Fleet], x: np.ndarray, y: np.ndarray | None) -> dict[str, np.ndarray]:
    """ε₁,₂ of the pair on inputs x, (U,) each, and with labels y the errors of both students, (2, U) each.

    A student with an output that is not finite is marked as no longer alive.
    """
    total: dict[str, np.ndarray] = {}
    for start in range(0, len(x), _SLAB):
        part = slice(start, start + _SLAB)
        phi = np.stack([outputs(fleet, x[part]) for fleet in pair])
        for fleet, finite in zip(pair, np.isfinite(phi).all(axis=-1), strict=True):
            fleet.alive[~finite] = False
        now = {"12_mse": mse(phi[0], phi[1]), "12_frac": frac(phi[0], phi[1])}
        if y is not None:
            now |= {"mse": mse(phi, y[part]), "frac": frac(phi, y[part])}
        for key, value in now.items():
            total[key] = total.get(key, 0.0) + value * phi.shape[-1] / len(x)
    return total


def _measure(
    pair: tuple[Fleet, Fleet], dataset: Dataset, gauss: np.ndarray, train_error: bool
) -> dict[str, np.ndarray]:
    """All observables of `train` now, by name: (2, U) each; NaN for students that are no longer alive."""
    test, far = _errors(pair, dataset.x_test, dataset.y_test), _errors(pair, gauss, None)
    fit = _errors(pair, dataset.x_train, dataset.y_train) if train_error else {}
    dead = np.stack([~fleet.alive for fleet in pair])
    record = {}
    for kind in ("mse", "frac"):
        record[f"eps_g_{kind}"] = np.where(dead, np.nan, test[kind])
        record[f"eps_12_{kind}"] = np.where(dead.any(axis=0), np.nan, np.stack([test[f"12_{kind}"], far[f"12_{kind}"]]))
        if train_error:
            record[f"eps_t_{kind}"] = np.where(dead, np.nan, fit[kind])
    return record


def _stop_diverged(pair: tuple[Fleet, Fleet], told: np.ndarray, names: list[str], time: float, lr: float) -> np.ndarray:
    """Sets the weights of diverged students to NaN and warns about those not yet in `told` (2, U); the new `told`."""
    dead = np.stack([~fleet.alive for fleet in pair])
    for fleet, gone in zip(pair, dead, strict=True):
        rows = np.repeat(gone, np.diff(fleet.offsets))
        fleet.W[rows] = np.nan
        fleet.v[rows] = np.nan
    new = [f"{names[u]}, student {s + 1}" for s, u in np.argwhere(dead & ~told)]
    if new:
        warnings.warn(
            f"diverged before time {time:.4g} with lr = {lr:g} and NaN from here on: {'; '.join(new)}; "
            "use a smaller lr or init_scale.",
            DivergenceWarning,
            stacklevel=3,
        )
    return dead


def _check(widths: Sequence[int], n_inits: int, lr: float, time: float, init_scale: float, layers: str) -> None:
    if not len(widths) or min(widths) < 1 or len(set(widths)) != len(widths):
        raise ValueError(f"widths = {list(widths)}: give different widths of at least 1.")
    if n_inits < 1:
        raise ValueError(f"n_inits = {n_inits}: at least one initialisation is needed.")
    for name, value in (("lr", lr), ("time", time), ("init_scale", init_scale)):
        if not 0 < value < inf:
            raise ValueError(f"{name} = {value}: give a positive, finite number.")
    if layers not in LAYERS:
        raise ValueError(f"layers = {layers!r}: choose one of {', '.join(LAYERS)}.")


def train(
    dataset: Dataset,
    *,
    widths: Sequence[int],
    n_inits: int = 1,
    lr: float = 0.2,
    time: float = 100.0,
    activation: str | Activation = "erf",
    layers: str = "both",
    init_scale: float = 1.0,
    evaluate_at: Sequence[float] | None = None,
    train_error: bool = False,
    block: int | None = None,
    rng: np.random.Generator,
    progress: str | None = "training",
) -> xr.Dataset:
    """Trains pairs of independent students on a dataset with one-sample SGD, Eq. (2), and measures them on the way.

    For every width K in `widths` and each of `n_inits` initialisations, two students start from independent weights
    W ~ N(0, init_scale²) and see independent streams of training samples, drawn with replacement. All first students
    share one stream, and so do all second ones.

    lr           η; the second layer, if trained, learns with η/N
    time         end of training in units of steps/N
    layers       "both", or "first": every second-layer weight is 1 and stays there
    evaluate_at  times (steps/N) at which to measure; default: 0 and 39 log-spaced ones
    train_error  whether to measure the error on the training set too
    block        SGD steps done at once (rounding only); default: chosen from the size of the fleet
    rng          source of initial weights, samples and Gaussian inputs; a student's weights depend only on rng, its
                 width, its initialisation and its place in the pair, not on what else is trained with it
    progress     label of the progress bar; None: no bar

    Returns a Dataset over (init, student, width, time), time in steps/N:
      eps_g_mse, eps_g_frac      (init, student, width, time) test error, Eq. (3)
      eps_12_mse, eps_12_frac    (inputs, init, width, time) disagreement of the pair, Eq. (5), on inputs "test" (the
                                 test set) and "gauss" (as many i.i.d. Gaussian inputs)
      eps_t_mse, eps_t_frac      (init, student, width, time) training error, if asked for
      W, v                       (init, student, width, hidden[, input]) final weights, NaN for hidden ≥ K

    A student whose error becomes infinite is stopped, NaN from the next evaluation on, and named once in a
    DivergenceWarning; the others go on. Raises ValueError for impossible arguments.
    """
    activation = get(activation)
    _check(widths, n_inits, lr, time, init_scale, layers)
    x, y = dataset.x_train, dataset.y_train
    P, N = x.shape
    times = evaluation_times(time) if evaluate_at is None else np.asarray(evaluate_at, dtype=float)
    if times.size == 0 or not (times >= 0).all() or not (times <= time * (1 + 1e-9)).all():
        raise ValueError(f"evaluate_at must lie between 0 and time = {time:g} (steps/N).")
    steps = np.unique(np.rint(np.append(times, time) * N).astype(np.int64))

    entropy = int(rng.integers(2**63))
    weights_seed, stream_seed, gauss_seed = ((entropy, purpose) for purpose in range(3))
    pair = tuple(
        Fleet.of(
            [
                random_network(
                    N, K, rng=np.random.default_rng((*weights_seed, K, i, s)),
                    activation=activation, layers=layers, scale=init_scale,
                )
                for K in widths
                for i in range(n_inits)
            ]
        )
        for s in range(2)
    )  # fmt: skip
    streams = [_Stream(_index_stream(np.random.SeedSequence((*stream_seed, s)), P)) for s in range(2)]
    gauss = np.random.default_rng(gauss_seed).standard_normal(dataset.x_test.shape, dtype=np.float32)
    gauss = (gauss - gauss.mean()) / gauss.std()

    names = [f"K={K}, init {i}" for K in widths for i in range(n_inits)]
    told = np.zeros((2, len(names)), dtype=bool)
    records = []
    # an explicit disable= would override TQDM_DISABLE
    hidden = {"disable": True} if progress is None else {}
    with (
        # the two students of a pair have nothing in common but the data
        ThreadPoolExecutor(max_workers=2) as pool,
        # the matrix products of a block are too small to gain from threads, and threads that wait for each other on a
        # busy machine cost ten times more than they save
        threadpool_limits(limits=1, user_api="blas"),
        # what overflows is found and reported as divergence
        np.errstate(over="ignore", invalid="ignore"),
        tqdm(total=int(2 * steps[-1]), desc=progress, unit="step", unit_scale=True, **hidden) as bar,
    ):
        done = 0
        for step in steps:
            while done < step:
                n = int(min(step - done, _INDEX_CHUNK))
                futures = [
                    pool.submit(advance, fleet, x, y, stream.take(n), lr=lr, layers=layers, block=block)
                    for fleet, stream in zip(pair, streams, strict=True)
                ]
                for future in futures:
                    future.result()
                    bar.update(n)
                done += n
            records.append(_measure(pair, dataset, gauss, train_error))
            told = _stop_diverged(pair, told, names, step / N, lr)

    widths = [int(K) for K in widths]
    result = _label(records, steps / N, widths, n_inits).merge(_weights(pair, widths, n_inits))
    result.attrs = {
        "dataset": dataset.description,
        "activation": activation.name,
        "layers": layers,
        "lr": lr,
        "init_scale": init_scale,
        "n_inputs": N,
        "n_train": P,
        "n_test": len(dataset.x_test),
    }
    return result


_LONG_NAMES = {
    "eps_g_mse": "ε_g (mse)",
    "eps_g_frac": "ε_g (frac)",
    "eps_12_mse": "ε₁,₂ (mse)",
    "eps_12_frac": "ε₁,₂ (frac)",
    "eps_t_mse": "training error (mse)",
    "eps_t_frac": "training error (frac)",
}


def _label(records: list[dict[str, np.ndarray]], time: np.ndarray, widths: list[int], n_inits: int) -> xr.Dataset:
    """Stacks the records (…, U) of all times and names their dimensions."""
    variables = {}
    for key in records[0]:
        values = np.stack([record[key] for record in records])
        values = values.reshape(len(time), 2, len(widths), n_inits)
        first = "inputs" if key.startswith("eps_12") else "student"
        dims = ("inputs", "init", "width", "time") if first == "inputs" else ("init", "student", "width", "time")
        array = xr.DataArray(values, dims=("time", first, "width", "init"), attrs={"long_name": _LONG_NAMES[key]})
        variables[key] = array.transpose(*dims)
    coords = {
        "time": ("time", time, {"long_name": "steps / N"}),
        "width": ("width", widths, {"long_name": "K"}),
        "init": np.arange(n_inits),
        "student": [1, 2],
        "inputs": ["test", "gauss"],
    }
    return xr.Dataset(variables, coords=coords)


def _weights(pair: tuple[Fleet, Fleet], widths: list[int], n_inits: int) -> xr.Dataset:
    """The weights of all students, padded with NaN to the largest width."""
    N = pair[0].W.shape[1]
    W = np.full((2, len(widths), n_inits, max(widths), N), np.nan, dtype=np.float32)
    for s, fleet in enumerate(pair):
        for u, network in enumerate(fleet.networks()):
            W[s, u // n_inits, u % n_inits, : network.width] = network.W
    v = np.full(W.shape[:-1], np.nan, dtype=np.float32)
    for s, fleet in enumerate(pair):
        for u, network in enumerate(fleet.networks()):
            v[s, u // n_inits, u % n_inits, : network.width] = network.v
    dims = ("student", "width", "init", "hidden")
    order = ("init", "student", "width", "hidden")
    return xr.Dataset(
        {
            "W": xr.DataArray(W, dims=(*dims, "input"), attrs={"long_name": "W"}).transpose(*order, "input"),
            "v": xr.DataArray(v, dims=dims, attrs={"long_name": "v"}).transpose(*order),
        }
    )


def student(result: xr.Dataset, *, width: int, init: int = 0, student: int = 1) -> Network:
    """One trained student of a result of `train`, as a network.

    Raises KeyError if the result holds no such student.
    """
    chosen = result[["W", "v"]].sel(width=width, init=init, student=student).isel(hidden=slice(width))
    return Network(chosen["W"].values.astype(float), chosen["v"].values.astype(float), get(result.attrs["activation"]))
