"""Training pairs of independent students and measuring them on the way: from a data set to labelled results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic

import numpy as np
import xarray as xr
from threadpoolctl import ThreadpoolController, threadpool_limits
from tqdm import tqdm

from hmm_utils.model.activations import ACTIVATIONS, Activation, get
from hmm_utils.model.datasets import Dataset, standardise
from hmm_utils.model.networks import LAYERS, Network, random_network
from hmm_utils.sgd import checkpoints
from hmm_utils.sgd.backends import CpuBackend, Pair, TorchBackend
from hmm_utils.sgd.hardware import resolve, threads

__all__ = [
    "DivergenceWarning",
    "FleetPair",
    "evaluation_times",
    "initial_student",
    "student",
    "train",
    "train_fleets",
    "watch",
]

_INDEX_CHUNK = 1 << 16
# steps between two looks at whether a watched training is to stop: a tenth of a second for the largest students
_WATCH_EVERY = 1 << 12
_SAVE_EVERY = 30.0  # seconds


class DivergenceWarning(RuntimeWarning):
    """A student's error became infinite; the student is stopped and NaN from then on."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FleetPair:
    """What may differ between runs that are trained together: see `train`."""

    dataset: Dataset
    rng: np.random.Generator
    lr: float = 0.2
    layers: str = "both"
    init_scale: float = 1.0


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

    def skip(self, n: int) -> None:
        while n:
            n -= self.take(min(n, _INDEX_CHUNK)).size

    def take(self, n: int) -> np.ndarray:
        while self._left.size < n:
            self._left = np.concatenate([self._left, next(self._chunks)])
        taken, self._left = self._left[:n], self._left[n:]
        return taken


def _pieces(streams: Sequence[_Stream], n: int, piece: int) -> Iterator[list[np.ndarray]]:
    """The next n indices of every stream, at most `piece` at a time.

    Nothing depends on the size of a piece if it is a multiple of the engine's block.
    """
    while n:
        taken = [stream.take(min(n, _INDEX_CHUNK)) for stream in streams]
        for start in range(0, len(taken[0]), piece):
            yield [indices[start : start + piece] for indices in taken]
        n -= len(taken[0])


def _record(pairs: CpuBackend | TorchBackend, last: bool, train_error: bool) -> dict[str, dict[str, np.ndarray]]:
    """What is measured at one time: by data, then by name, and which students are alive after it."""
    names = {"test": "test" if last else "test along", "gauss": "gauss" if last else "gauss along"}
    names |= {"train": "train"} if train_error else {}
    measured = {name: pairs.errors(which) for name, which in names.items()}
    return measured | {"students": {"alive": pairs.alive()}}


def _warn_of_diverged(
    alive: np.ndarray, told: np.ndarray, names: list[str], time: float, runs: Sequence[FleetPair]
) -> np.ndarray:
    """Warns about students that are dead but not in `told`, (runs, 2, U) each; returns all that are dead."""
    for new, how in zip(~alive & ~told, runs, strict=True):
        if new.any():
            who = "; ".join(f"{names[u]}, student {s + 1}" for s, u in np.argwhere(new))
            where = f" in {how.dataset.description}" if len(runs) > 1 else ""
            warnings.warn(
                f"diverged before time {time:.4g} with lr = {how.lr:g} and NaN from here on{where}: {who}; "
                "use a smaller lr or init_scale.",
                DivergenceWarning,
                stacklevel=4,
            )
    return ~alive


def _check(
    widths: Sequence[int], n_pairs: int, block: int | None, lr: float, time: float, init_scale: float, layers: str
) -> None:
    whole = all(isinstance(K, int | np.integer) for K in widths)
    if not len(widths) or not whole or min(widths) < 1 or len(set(widths)) != len(widths):
        raise ValueError(f"widths = {list(widths)}: give different whole numbers of at least 1.")
    for name, value in (("n_pairs", n_pairs), ("block", 1 if block is None else block)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} = {value}: give a whole number of at least 1.")
    for name, value in (("lr", lr), ("time", time), ("init_scale", init_scale)):
        if not 0 < value < inf:
            raise ValueError(f"{name} = {value}: give a positive, finite number.")
    if layers not in LAYERS:
        raise ValueError(f"layers = {layers!r}: choose one of {', '.join(LAYERS)}.")


def _check_sizes(n_test_along: int | None, n_gauss: int | None) -> None:
    for name, value in (("n_test_along", n_test_along), ("n_gauss", n_gauss)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 2):
            raise ValueError(f"{name} = {value}: give a whole number of at least 2.")


def train(
    dataset: Dataset,
    *,
    widths: Sequence[int],
    n_pairs: int = 1,
    lr: float = 0.2,
    time: float = 100.0,
    activation: str | Activation = "erf",
    layers: str = "both",
    init_scale: float = 1.0,
    evaluate_at: Sequence[float] | None = None,
    n_test_along: int | None = None,
    n_gauss: int | None = None,
    train_error: bool = False,
    block: int | None = None,
    device: str = "cpu",
    tf32: bool = False,
    checkpoint: Path | None = None,
    rng: np.random.Generator,
    progress: str | None = "training",
) -> xr.Dataset:
    """Trains pairs of independent students on a dataset with one-sample SGD, Eq. (2), and measures them on the way.

    For every width K in `widths` and each of `n_pairs` initialisations, two students start from independent weights
    W ~ N(0, init_scale²) and see independent streams of training samples, drawn with replacement. All first students
    share one stream, and so do all second ones.

    lr            η; the second layer, if trained, learns with η/N
    time          end of training in units of steps/N
    layers        "both", or "first": every second-layer weight is 1 and stays there
    evaluate_at   times (steps/N) at which to measure; default: 0 and 39 log-spaced ones
    n_test_along  inputs on which errors are measured before the end, the first of the test set and of the Gaussian
                  ones; at the end all count. Default: all, always
    n_gauss       number of Gaussian inputs on which ε₁,₂ is measured; default: as many as the test set has
    train_error   whether to measure the error on the training set too
    block         SGD steps done at once (rounding only); default: chosen from the size of the fleet
    device        "cpu": every stream of samples has a core; "cuda": all students at once on a GPU through torch;
                  "auto": a GPU if there is one and the activation is not one of your own
    tf32          lets a GPU round the factors of matrix products to 10 bits, for speed
    checkpoint    file in which the state is saved every half minute, and from which a run with the same arguments that
                  was killed goes on, with the same numbers; removing it afterwards is up to the caller
    rng           source of initial weights, samples and Gaussian inputs; a student's weights depend only on rng, its
                  width, its initialisation and its place in the pair, not on what else is trained with it
    progress      label of the progress bar; None: no bar

    Returns a Dataset over (init, student, width, time), time in steps/N:
      eps_g_mse, eps_g_frac      (init, student, width, time) test error, Eq. (3)
      eps_12_mse, eps_12_frac    (inputs, init, width, time) disagreement of the pair, Eq. (5), on inputs "test" (the
                                 test set) and "gauss" (i.i.d. Gaussian inputs)
      eps_t_mse, eps_t_frac      (init, student, width, time) training error, if asked for
      …_se                       of each of these, the standard error that the number of inputs leaves
      W, v                       (init, student, width, hidden[, input]) final weights, NaN for hidden ≥ K

    A student whose error becomes infinite is stopped, NaN from the next evaluation on, and named once in a
    DivergenceWarning; the others go on. Raises ValueError for impossible arguments.
    """
    run = FleetPair(dataset=dataset, rng=rng, lr=lr, layers=layers, init_scale=init_scale)
    return train_fleets(
        [run],
        widths=widths, n_pairs=n_pairs, time=time, activation=activation, evaluate_at=evaluate_at,
        n_test_along=n_test_along, n_gauss=n_gauss, train_error=train_error, block=block, device=device, tf32=tf32,
        checkpoint=checkpoint, progress=progress,
    )[0]  # fmt: skip


def train_fleets(
    runs: Sequence[FleetPair],
    *,
    widths: Sequence[int],
    n_pairs: int = 1,
    time: float = 100.0,
    activation: str | Activation = "erf",
    evaluate_at: Sequence[float] | None = None,
    n_test_along: int | None = None,
    n_gauss: int | None = None,
    train_error: bool = False,
    block: int | None = None,
    device: str = "cpu",
    tf32: bool = False,
    checkpoint: Path | None = None,
    progress: str | None = "training",
) -> list[xr.Dataset]:
    """`train` for several runs at once, which must agree in N: the results that each gives alone, up to rounding.

    The arguments are those of `train`; on a GPU many runs cost little more than one, on the processor each has two
    streams of samples and every stream a core.
    """
    begun = _begin(
        runs, widths=widths, n_pairs=n_pairs, time=time, activation=activation, evaluate_at=evaluate_at,
        n_test_along=n_test_along, n_gauss=n_gauss, block=block, device=device,
    )  # fmt: skip
    steps, streams, pairs, N = begun.steps, begun.streams, begun.pairs, begun.n_inputs
    names = [f"K={K}, init {i}" for K in widths for i in range(n_pairs)]
    done, alive, records = 0, np.ones((len(runs), 2, len(names)), dtype=bool), []
    saved = None if checkpoint is None else checkpoints.load(checkpoint, steps, pairs)
    if saved is not None:
        done, pairs, alive, records = saved
        for stream in streams:
            stream.skip(done)
    told = ~records[-1]["students"]["alive"] if records else ~alive
    # an explicit disable= would override TQDM_DISABLE
    hidden = {"disable": True} if progress is None else {}
    total, before = int(len(streams) * steps[-1]), len(streams) * done
    with (
        # streams have nothing in common but the data
        ThreadPoolExecutor(max_workers=threads()) as pool,
        # the matrix products of a block are too small to gain from threads, and threads that wait for each other on a
        # busy machine cost ten times more than they save
        threadpool_limits(limits=1, user_api="blas"),
        tqdm(total=total, initial=before, desc=progress, unit="step", unit_scale=True, **hidden) as bar,
    ):
        fleets = begun.fleets(pairs, alive, pool, tf32)
        last_save = monotonic()
        for step in steps[len(records) :]:
            for indices in _pieces(streams, int(step - done), _INDEX_CHUNK):
                fleets.advance(indices)
                bar.update(len(indices[0]) * len(streams))
                done += len(indices[0])
                if checkpoint is not None and monotonic() - last_save > _SAVE_EVERY:
                    checkpoints.save(checkpoint, steps, done, fleets.pairs(), fleets.alive(), records)
                    last_save = monotonic()
            records.append(_record(fleets, step == steps[-1], train_error))
            if begun.where == "cpu":
                told = _warn_of_diverged(records[-1]["students"]["alive"], told, names, step / N, runs)
        # a device is not waited for before this line
        records, pairs = checkpoints.to_numpy(records), fleets.pairs()
    if begun.where != "cpu":
        for step, record in zip(steps, records, strict=True):
            told = _warn_of_diverged(record["students"]["alive"], told, names, step / N, runs)
    return begun.results(records, steps, pairs)


def watch(
    dataset: Dataset,
    *,
    widths: Sequence[int],
    n_pairs: int = 1,
    lr: float = 0.2,
    time: float = 100.0,
    activation: str | Activation = "erf",
    layers: str = "both",
    init_scale: float = 1.0,
    evaluate_at: Sequence[float] | None = None,
    n_test_along: int | None = None,
    n_gauss: int | None = None,
    train_error: bool = False,
    block: int | None = None,
    device: str = "cpu",
    tf32: bool = False,
    rng: np.random.Generator,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[xr.Dataset]:
    """`train`, seen while it goes: what there is at each evaluation time, as soon as it is there.

    Yields the result of `train` at one time after another, the dimension `time` being of length 1 and W and v the
    weights at that time. Put together along `time`, the snapshots are the result of `train` with the same arguments,
    to the last bit. A student that has diverged is NaN; no warning is given to somebody who is watching.

    stop  asked every few thousand steps; the iterator ends at once when it is true. It can also be closed between two
          snapshots, and trains only when it is asked for the next one

    The other arguments are those of `train`, and impossible ones raise ValueError before the first snapshot is asked
    for.
    """
    run = FleetPair(dataset=dataset, rng=rng, lr=lr, layers=layers, init_scale=init_scale)
    begun = _begin(
        [run], widths=widths, n_pairs=n_pairs, time=time, activation=activation, evaluate_at=evaluate_at,
        n_test_along=n_test_along, n_gauss=n_gauss, block=block, device=device,
    )  # fmt: skip
    return _watched(begun, train_error, tf32, stop)


def _watched(begun: _Begun, train_error: bool, tf32: bool, stop: Callable[[], bool]) -> Iterator[xr.Dataset]:
    piece = begun.block * max(_WATCH_EVERY // begun.block, 1) if begun.block else _WATCH_EVERY
    # as in `train_fleets`, but whoever watches has the threads back in between
    limited = partial(ThreadpoolController().limit, limits=1, user_api="blas")
    done = 0
    with ThreadPoolExecutor(max_workers=threads()) as pool:
        fleets = begun.fleets(begun.pairs, None, pool, tf32)
        for step in begun.steps:
            for indices in _pieces(begun.streams, int(step - done), _INDEX_CHUNK if begun.where != "cpu" else piece):
                if stop():
                    return
                with limited():
                    fleets.advance(indices)
            done = step
            with limited():
                (record,) = checkpoints.to_numpy([_record(fleets, step == begun.steps[-1], train_error)])
            (snapshot,) = begun.results([record], np.array([step]), fleets.pairs())
            yield snapshot


@dataclass(frozen=True, eq=False, kw_only=True)
class _Begun:
    """Runs that are about to be trained together.

    steps    after which they are measured
    pairs    their initial students
    streams  of sample indices, two for each run
    samples  what the backends train on and measure on, see `_samples`
    where    "cpu" or "cuda"
    """

    runs: Sequence[FleetPair]
    widths: Sequence[int]
    n_pairs: int
    activation: Activation
    block: int | None
    steps: np.ndarray
    pairs: list[Pair]
    streams: list[_Stream]
    samples: dict[str, list[tuple[np.ndarray, np.ndarray | None]]]
    where: str

    @property
    def n_inputs(self) -> int:
        return self.runs[0].dataset.x_train.shape[1]

    def fleets(
        self, pairs: Sequence[Pair], alive: np.ndarray | None, pool: Executor, tf32: bool
    ) -> CpuBackend | TorchBackend:
        """The backend with these students, of which those in `alive` have not diverged."""
        given = pairs, self.samples, [run.lr for run in self.runs], [run.layers for run in self.runs]
        if self.where == "cpu":
            return CpuBackend(*given, alive=alive, block=self.block, pool=pool)
        return TorchBackend(*given, alive=alive, block=self.block, where=self.where, tf32=tf32)

    def results(self, records: checkpoints.Records, steps: np.ndarray, pairs: Sequence[Pair]) -> list[xr.Dataset]:
        """What was measured after these steps, and the students now: one labelled result for each run."""
        results = []
        for r, run in enumerate(self.runs):
            mine = [{part: {k: v[r] for k, v in now.items()} for part, now in record.items()} for record in records]
            dead = ~mine[-1]["students"]["alive"]
            widths, observed = [int(K) for K in self.widths], [_observables(record) for record in mine]
            result = _label(observed, steps / self.n_inputs, widths, self.n_pairs)
            result = result.merge(_weights(pairs[r], dead, self.widths, self.n_pairs))
            result.attrs = {
                "dataset": run.dataset.description,
                "kind": run.dataset.inputs.kind,
                "activation": self.activation.name,
                "layers": run.layers,
                "lr": run.lr,
                "init_scale": run.init_scale,
                "n_inputs": self.n_inputs,
                "n_train": len(run.dataset.x_train),
                "n_test": len(run.dataset.x_test),
                "n_gauss": len(self.samples["gauss"][r][0]),
                "device": self.where,
            }
            results.append(result)
        return results


def _begin(
    runs: Sequence[FleetPair],
    *,
    widths: Sequence[int],
    n_pairs: int,
    time: float,
    activation: str | Activation,
    evaluate_at: Sequence[float] | None,
    n_test_along: int | None,
    n_gauss: int | None,
    block: int | None,
    device: str,
) -> _Begun:
    """Everything up to the first step. Raises ValueError for impossible arguments."""
    activation = get(activation)
    if not runs:
        raise ValueError("there are no runs: give at least one.")
    for run in runs:
        _check(widths, n_pairs, block, run.lr, time, run.init_scale, run.layers)
    _check_sizes(n_test_along, n_gauss)
    # a device knows only the activations of the package
    where = resolve("cpu" if device == "auto" and ACTIVATIONS.get(activation.name) is not activation else device)
    N = runs[0].dataset.x_train.shape[1]
    if any(run.dataset.x_train.shape[1] != N for run in runs):
        raise ValueError("runs that are trained together must have the same number of inputs N.")
    times = evaluation_times(time) if evaluate_at is None else np.asarray(evaluate_at, dtype=float)
    if times.size == 0 or not (times >= 0).all() or not (times <= time * (1 + 1e-9)).all():
        raise ValueError(f"evaluate_at must lie between 0 and time = {time:g} (steps/N).")

    seeds = [int(run.rng.integers(2**63)) for run in runs]
    return _Begun(
        runs=runs,
        widths=widths,
        n_pairs=n_pairs,
        activation=activation,
        block=block,
        steps=np.unique(np.rint(np.append(times, time) * N).astype(np.int64)),
        pairs=[_initial_pair(run, seed, widths, n_pairs, activation) for run, seed in zip(runs, seeds, strict=True)],
        streams=[
            _Stream(_index_stream(np.random.SeedSequence((seed, _SAMPLES, s)), len(run.dataset.x_train)))
            for run, seed in zip(runs, seeds, strict=True)
            for s in range(2)
        ],
        samples=_samples(runs, seeds, n_gauss, n_test_along),
        where=where,
    )


# what a run's seed is used for
_WEIGHTS, _SAMPLES, _GAUSS = range(3)


def _initial(
    N: int, K: int, init: int, place: int, seed: int, activation: str | Activation, layers: str, scale: float
) -> Network:
    """A student before training: it depends on the seed, its width, its initialisation and its place in the pair."""
    rng = np.random.default_rng((seed, _WEIGHTS, K, init, place))
    return random_network(N, K, rng=rng, activation=activation, layers=layers, scale=scale)


def _initial_pair(run: FleetPair, seed: int, widths: Sequence[int], n_pairs: int, activation: Activation) -> Pair:
    """The students of a run before training, by width and initialisation, for both places of a pair."""
    return tuple(
        [
            _initial(run.dataset.x_train.shape[1], K, i, s, seed, activation, run.layers, run.init_scale)
            for K in widths
            for i in range(n_pairs)
        ]
        for s in range(2)
    )


def _samples(
    runs: Sequence[FleetPair], seeds: Sequence[int], n_gauss: int | None, n_test_along: int | None
) -> dict[str, list[tuple[np.ndarray, np.ndarray | None]]]:
    """What the backends train on and measure on, by what it is for."""
    samples: dict[str, list[tuple[np.ndarray, np.ndarray | None]]] = {"train": [], "test": [], "gauss": []}
    for run, seed in zip(runs, seeds, strict=True):
        data = run.dataset
        n = len(data.x_test) if n_gauss is None else n_gauss
        rng = np.random.default_rng((seed, _GAUSS))
        gauss = rng.standard_normal((n, data.x_test.shape[1]), dtype=np.float32)
        for name, *arrays in (
            ("train", data.x_train, data.y_train),
            ("test", data.x_test, data.y_test),
            ("gauss", standardise(gauss), None),
        ):
            samples[name].append(tuple(None if a is None else np.ascontiguousarray(a, np.float32) for a in arrays))
    along = {
        f"{name} along": [tuple(None if a is None else a[:n_test_along] for a in arrays) for arrays in samples[name]]
        for name in ("test", "gauss")
    }
    return samples | along


def _observables(record: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """A run's observables by their names in the result, (2, U) each; NaN for students that are no longer alive."""
    alive = record["students"]["alive"]
    named = {}
    for kind in ("mse", "frac", "mse_se", "frac_se"):
        between = np.stack([record["test"][f"12_{kind}"], record["gauss"][f"12_{kind}"]])
        named[f"eps_g_{kind}"] = np.where(alive, record["test"][kind], np.nan)
        named[f"eps_12_{kind}"] = np.where(alive.all(axis=0), between, np.nan)
        if "train" in record:
            named[f"eps_t_{kind}"] = np.where(alive, record["train"][kind], np.nan)
    return named


_LONG_NAMES = {
    "eps_g_mse": "ε_g (mse)",
    "eps_g_frac": "ε_g (frac)",
    "eps_12_mse": "ε₁,₂ (mse)",
    "eps_12_frac": "ε₁,₂ (frac)",
    "eps_t_mse": "training error (mse)",
    "eps_t_frac": "training error (frac)",
}


def _label(records: list[dict[str, np.ndarray]], time: np.ndarray, widths: list[int], n_pairs: int) -> xr.Dataset:
    """Stacks the records (…, U) of all times and names their dimensions."""
    variables = {}
    for key in records[0]:
        values = np.stack([record[key] for record in records])
        values = values.reshape(len(time), 2, len(widths), n_pairs)
        first = "inputs" if key.startswith("eps_12") else "student"
        dims = ("inputs", "init", "width", "time") if first == "inputs" else ("init", "student", "width", "time")
        name = _LONG_NAMES[key.removesuffix("_se")]
        name = f"standard error of {name}, from the number of inputs" if key.endswith("_se") else name
        array = xr.DataArray(values, dims=("time", first, "width", "init"), attrs={"long_name": name})
        variables[key] = array.transpose(*dims)
    coords = {
        "time": ("time", time, {"long_name": "steps / N"}),
        "width": ("width", widths, {"long_name": "K"}),
        "init": np.arange(n_pairs),
        "student": [1, 2],
        "inputs": ["test", "gauss"],
    }
    return xr.Dataset(variables, coords=coords)


def _weights(pair: Pair, dead: np.ndarray, widths: list[int], n_pairs: int) -> xr.Dataset:
    """The weights of all students, padded with NaN to the largest width; NaN for those that are dead (2, U)."""
    N = pair[0][0].n_inputs
    W = np.full((2, len(widths), n_pairs, max(widths), N), np.nan, dtype=np.float32)
    v = np.full(W.shape[:-1], np.nan, dtype=np.float32)
    for s, students in enumerate(pair):
        for u, network in enumerate(students):
            if not dead[s, u]:
                W[s, u // n_pairs, u % n_pairs, : network.width] = network.W
                v[s, u // n_pairs, u % n_pairs, : network.width] = network.v
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


def initial_student(
    result: xr.Dataset,
    *,
    width: int,
    init: int = 0,
    student: int = 1,
    activation: Activation | None = None,
    rng: np.random.Generator,
) -> Network:
    """A student of a result of `train` as it was before training, drawn anew.

    rng         in the state in which `train` was given it; `experiments.start` knows it
    activation  needed only if it is one of your own
    """
    at, seed = result.attrs, int(rng.integers(2**63))
    g = get(at["activation"] if activation is None else activation)
    return _initial(at["n_inputs"], width, init, student - 1, seed, g, at["layers"], at["init_scale"])
