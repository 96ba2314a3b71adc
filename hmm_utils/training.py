"""Training pairs of independent students and measuring them on the way: from a data set to labelled results."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hmm_utils.activations import Activation, get
from hmm_utils.datasets import Dataset, standardise
from hmm_utils.engine import Fleet, advance, outputs
from hmm_utils.networks import LAYERS, Network, random_network
from hmm_utils.observables import frac, mse

__all__ = ["DivergenceWarning", "evaluation_times", "student", "train"]

_INDEX_CHUNK = 1 << 16
_SLAB = 1024


class DivergenceWarning(RuntimeWarning):
    """A student's error became infinite; the student is stopped and NaN from then on."""


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


def _check(
    widths: Sequence[int], n_inits: int, block: int | None, lr: float, time: float, init_scale: float, layers: str
) -> None:
    whole = all(isinstance(K, int | np.integer) for K in widths)
    if not len(widths) or not whole or min(widths) < 1 or len(set(widths)) != len(widths):
        raise ValueError(f"widths = {list(widths)}: give different whole numbers of at least 1.")
    for name, value in (("n_inits", n_inits), ("block", 1 if block is None else block)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} = {value}: give a whole number of at least 1.")
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
    _check(widths, n_inits, block, lr, time, init_scale, layers)
    x, y = (np.ascontiguousarray(part, dtype=np.float32) for part in (dataset.x_train, dataset.y_train))
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
    gauss = standardise(np.random.default_rng(gauss_seed).standard_normal(dataset.x_test.shape, dtype=np.float32))

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


def student(
    result: xr.Dataset, *, width: int, init: int = 0, student: int = 1, activation: Activation | None = None
) -> Network:
    """One trained student of a result of `train`, as a network.

    activation  needed only if it is one of your own: a result knows its activation by name

    Raises KeyError if the result holds no such student, ValueError for an unknown activation.
    """
    g = get(result.attrs["activation"] if activation is None else activation)
    chosen = result[["W", "v"]].sel(width=width, init=init, student=student).isel(hidden=slice(width))
    return Network(chosen["W"].values.astype(float), chosen["v"].values.astype(float), g)
