"""Training pairs of independent students and measuring them during training: from a data set to labelled results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64
from threadpoolctl import ThreadpoolController, threadpool_limits
from tqdm import tqdm

from hmm_utils.model import parameters
from hmm_utils.model.activations import ACTIVATIONS, Activation, get
from hmm_utils.model.datasets import Dataset, standardise
from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import checkpoints
from hmm_utils.sgd.backends import Array, CpuBackend, Pair, Samples, TorchBackend
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
# Steps between two calls of ``stop``: a tenth of a second for the largest students.
_STEPS_BETWEEN_STOPS = 1 << 12
_SAVE_EVERY = 30.0  # seconds

# The second number of the seeds of initial weights, streams of samples, and Gaussian inputs.
_WEIGHTS, _SAMPLES, _GAUSS = range(3)


class DivergenceWarning(RuntimeWarning):
    """A student's error became infinite; its training stops, and it is NaN from then on."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FleetPair:
    """A pair of fleets to be trained on one data set: what may differ between pairs trained at the same time.

    The first fleet holds the first student of every pair, the second fleet the second. The attributes are explained at
    :func:`train`.

    Attributes
    ----------
    dataset : Dataset
    rng : Generator
    lr : float
    layers : str
    init_scale : float
    """

    dataset: Dataset
    rng: np.random.Generator
    lr: float = 0.2
    layers: str = "both"
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        parameters.learning_rate(self.lr)
        parameters.positive("init_scale", self.init_scale)

    @property
    def n_inputs(self) -> int:
        """Number N of inputs."""
        return self.dataset.x_train.shape[1]


def evaluation_times(time: float, n: int = 40, first: float = 0.1) -> Float64[np.ndarray, " times"]:
    """List 0 and n − 1 log-spaced times from ``first`` to ``time``, in units of steps/N.

    Examples
    --------
    >>> evaluation_times(100, n=5)
    array([  0. ,   0.1,   1. ,  10. , 100. ])
    """
    return np.unique(np.append(0.0, np.geomspace(min(first, time), time, n - 1)))


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
    evaluate_at: Sequence[float] | np.ndarray | None = None,
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
    """Train pairs of independent students on a data set with one-sample SGD, Eq. (2), and measure them.

    For every width K and each of ``n_pairs`` initialisations, two students start from independent weights
    W ~ N(0, init_scale²) and see independent streams of training samples, drawn with replacement. All first students
    share one stream, and so do all second ones.

    Parameters
    ----------
    dataset : Dataset
        P training and P* test samples.
    widths : sequence of int
        Widths K.
    n_pairs : int
        Pairs of students for each width.
    lr : float
        Learning rate η of the first layer; the second layer, if trained, learns with η/N.
    time : float
        End of training in units of steps/N.
    activation : str or Activation
        Non-linearity g of the students.
    layers : str
        "both", or "first": every second-layer weight is 1 and fixed.
    init_scale : float
        Standard deviation of the initial weights.
    evaluate_at : sequence of float, optional
        Increasing times (steps/N) at which to measure; by default those of :func:`evaluation_times`. The end is
        always measured.
    n_test_along : int, optional
        Inputs on which errors are measured before the end, the first of the test set and of the Gaussian ones; at the
        end all are used. By default all are always used.
    n_gauss : int, optional
        Number of Gaussian inputs on which ε₁,₂ is measured; by default the size P* of the test set.
    train_error : bool
        Whether to measure the error on the training set too.
    block : int, optional
        SGD steps done at once, which affects rounding only.
    device : str
        "cpu": one core for every stream of samples. "cuda": all students at once on a GPU through torch. "auto": a GPU
        if there is one and the activation is one of the package.
    tf32 : bool
        Whether a GPU may round the factors of matrix products to 10 bits, for speed.
    checkpoint : Path, optional
        File in which the state is saved every half minute. If it exists, a run with the same arguments continues from
        it, with the same numbers. The caller removes it.
    rng : Generator
        Source of initial weights, samples and Gaussian inputs. The weights of a student depend only on ``rng``, its
        width, its initialisation and its place in the pair, not on what else is trained.
    progress : str, optional
        Label of the progress bar; None for no bar.

    Returns
    -------
    Dataset
        Over init, student, width and time (steps/N):

        - ``eps_g_mse``, ``eps_g_frac`` (init, student, width, time): test error, Eq. (3)
        - ``eps_12_mse``, ``eps_12_frac`` (inputs, init, width, time): disagreement of the pair, Eq. (5), on inputs
          "test" (the test set) and "gauss" (i.i.d. Gaussian inputs)
        - ``eps_t_mse``, ``eps_t_frac`` (init, student, width, time): training error, if asked for
        - each of these with ``_se``: the standard error due to the finite number of inputs
        - ``W``, ``v`` (init, student, width, hidden[, input]): final weights, NaN for hidden ≥ K

        A student whose error becomes infinite is stopped, NaN from the next evaluation on, and named once in a
        :class:`DivergenceWarning`; the others are not affected.

    Raises
    ------
    ValueError
        For impossible arguments.
    """
    pair = FleetPair(dataset=dataset, rng=rng, lr=lr, layers=layers, init_scale=init_scale)
    return train_fleets(
        [pair],
        widths=widths, n_pairs=n_pairs, time=time, activation=activation, evaluate_at=evaluate_at,
        n_test_along=n_test_along, n_gauss=n_gauss, train_error=train_error, block=block, device=device, tf32=tf32,
        checkpoint=checkpoint, progress=progress,
    )[0]  # fmt: skip


def train_fleets(
    fleet_pairs: Sequence[FleetPair],
    *,
    widths: Sequence[int],
    n_pairs: int = 1,
    time: float = 100.0,
    activation: str | Activation = "erf",
    evaluate_at: Sequence[float] | np.ndarray | None = None,
    n_test_along: int | None = None,
    n_gauss: int | None = None,
    train_error: bool = False,
    block: int | None = None,
    device: str = "cpu",
    tf32: bool = False,
    checkpoint: Path | None = None,
    progress: str | None = "training",
) -> list[xr.Dataset]:
    """Train several pairs of fleets at the same time.

    Each result is that of :func:`train` for the pair alone, up to rounding. On a GPU, many pairs cost little more than
    one. On the processor, each pair has two streams of samples and every stream a core; pairs that differ in their
    labels alone (the same ``Inputs``, equal random states, η and layers) share both streams and form one fleet each.

    Parameters
    ----------
    fleet_pairs : sequence of FleetPair
        The pairs, which must agree in N.
    widths, n_pairs, time, activation, evaluate_at, n_test_along, n_gauss, train_error, block, device, tf32
        As for :func:`train`, for all pairs.
    checkpoint, progress
        As for :func:`train`.

    Returns
    -------
    list of Dataset
        A result for each pair.
    """
    plan = _prepare(
        fleet_pairs, widths=widths, n_pairs=n_pairs, time=time, activation=activation, evaluate_at=evaluate_at,
        n_test_along=n_test_along, n_gauss=n_gauss, block=block, device=device,
    )  # fmt: skip
    steps, streams, pairs = plan.steps, plan.streams, plan.pairs
    done, alive, records = 0, np.ones((len(pairs), 2, len(plan.names)), dtype=bool), checkpoints.Records()
    saved = None if checkpoint is None else checkpoints.load(checkpoint, steps, pairs)
    if saved is not None:
        done, pairs, alive, records = saved
        for stream in streams:
            stream.skip(done)
    warned = ~records[-1]["students"]["alive"] if records else ~alive
    # An explicit disable= would override TQDM_DISABLE.
    hidden = {"disable": True} if progress is None else {}
    total, before = int(len(streams) * steps[-1]), len(streams) * done
    with (
        # Streams are independent of each other.
        ThreadPoolExecutor(max_workers=threads()) as pool,
        # The matrix products of a block are too small to gain from threads, and threads that wait for each other on a
        # busy machine cost ten times more than they save.
        threadpool_limits(limits=1, user_api="blas"),
        tqdm(total=total, initial=before, desc=progress, unit="step", unit_scale=True, **hidden) as bar,
    ):
        backend = plan.backend(pairs, alive, pool, tf32)
        last_save = monotonic()
        for step in steps[len(records) :]:
            for indices in _pieces(streams, int(step - done), _INDEX_CHUNK):
                backend.advance(indices)
                bar.update(len(indices[0]) * len(streams))
                done += len(indices[0])
                if checkpoint is not None and monotonic() - last_save > _SAVE_EVERY:
                    checkpoints.save(checkpoint, steps, done, backend.pairs(), backend.alive(), records)
                    last_save = monotonic()
            records.append(_measure(backend, step == steps[-1], train_error))
            if plan.where == "cpu":
                warned = plan.warn_of_diverged(records[-1], warned, step)
        # The program waits for a GPU only from here on, so its warnings come at the end.
        records, pairs = checkpoints.to_numpy(records), backend.pairs()
    if plan.where != "cpu":
        for step, record in zip(steps, records, strict=True):
            warned = plan.warn_of_diverged(record, warned, step)
    return plan.results(records, steps, pairs)


def watch(
    dataset: Dataset,
    *,
    rng: np.random.Generator,
    lr: float = 0.2,
    layers: str = "both",
    init_scale: float = 1.0,
    train_error: bool = False,
    tf32: bool = False,
    stop: Callable[[], bool] = lambda: False,
    **arguments: Any,
) -> Iterator[xr.Dataset]:
    """Train as :func:`train` does, and yield a snapshot at each evaluation time.

    A snapshot is the result of :func:`train` at one time: ``time`` has length 1, and W and v are the weights at that
    time. Concatenated along ``time``, the snapshots are the result of :func:`train` with the same arguments, bit for
    bit. Students that diverge are NaN, without a warning. Training proceeds only while the next snapshot is awaited,
    and the iterator can be closed between two snapshots.

    Parameters
    ----------
    dataset, rng, lr, layers, init_scale, train_error, tf32
        As for :func:`train`.
    **arguments
        The others of :func:`train` but for ``checkpoint`` and ``progress``. Impossible ones raise ValueError before the
        first snapshot is asked for.
    stop : callable
        Called every few thousand steps; when it returns True, the iterator ends at once.

    Yields
    ------
    Dataset
        A snapshot.
    """
    pair = FleetPair(dataset=dataset, rng=rng, lr=lr, layers=layers, init_scale=init_scale)
    plan = _prepare([pair], **arguments)
    return _snapshots(plan, train_error, tf32, stop)


def _snapshots(plan: _Plan, train_error: bool, tf32: bool, stop: Callable[[], bool]) -> Iterator[xr.Dataset]:
    """Carry out the plan of :func:`watch`."""
    between = plan.block * max(_STEPS_BETWEEN_STOPS // plan.block, 1) if plan.block else _STEPS_BETWEEN_STOPS
    # As in `train_fleets`, but other code has its threads back between two snapshots.
    limited = partial(ThreadpoolController().limit, limits=1, user_api="blas")
    done = 0
    with ThreadPoolExecutor(max_workers=threads()) as pool:
        backend = plan.backend(plan.pairs, None, pool, tf32)
        for step in plan.steps:
            for indices in _pieces(plan.streams, int(step - done), between if plan.where == "cpu" else _INDEX_CHUNK):
                if stop():
                    return
                with limited():
                    backend.advance(indices)
            done = step
            with limited():
                records = checkpoints.to_numpy([_measure(backend, step == plan.steps[-1], train_error)])
            yield from plan.results(records, np.array([step]), backend.pairs())


class _Stream:
    """Sample indices, uniform with replacement.

    They are drawn in chunks of a fixed length, so that the stream does not depend on how it is consumed.
    """

    def __init__(self, seed: tuple[int, ...], n_train: int) -> None:
        self._rng, self._n_train, self._left = np.random.default_rng(seed), n_train, np.empty(0, np.int64)

    def skip(self, n: int) -> None:
        """Pass over n indices."""
        while n:
            n -= self.take(min(n, _INDEX_CHUNK)).size

    def take(self, n: int) -> np.ndarray:
        """Return the next n indices."""
        while self._left.size < n:
            self._left = np.concatenate([self._left, self._rng.integers(self._n_train, size=_INDEX_CHUNK)])
        taken, self._left = self._left[:n], self._left[n:]
        return taken


def _pieces(streams: Sequence[_Stream], n: int, piece: int) -> Iterator[list[np.ndarray]]:
    """Iterate over the next n indices of every stream, at most ``piece`` at a time.

    Results do not depend on the size of a piece if it is a multiple of the block.
    """
    while n:
        taken = [stream.take(min(n, _INDEX_CHUNK)) for stream in streams]
        for start in range(0, len(taken[0]), piece):
            yield [indices[start : start + piece] for indices in taken]
        n -= len(taken[0])


def _measure(backend: CpuBackend | TorchBackend, last: bool, train_error: bool) -> dict[str, dict[str, Array]]:
    """Measure the errors at one time, by data set and name, and afterwards which students are alive."""
    purposes = {"test": "test" if last else "test along", "gauss": "gauss" if last else "gauss along"}
    purposes |= {"train": "train"} if train_error else {}
    measured = {name: backend.errors(purpose) for name, purpose in purposes.items()}
    return measured | {"students": {"alive": backend.alive()}}


@dataclass(frozen=True, eq=False, kw_only=True)
class _Plan:
    """Pairs of fleets that are ready to be trained.

    Attributes
    ----------
    steps : (times,) int64 array
        Steps after which errors are measured.
    pairs : list of Pair
        The initial students.
    streams : list of _Stream
        Sample indices; streams 2p and 2p + 1 belong to pair p.
    samples : dict
        See :func:`_samples`.
    groups : list of list of int
        Pairs that differ in their labels alone.
    where : str
        "cpu" or "cuda".
    """

    fleet_pairs: Sequence[FleetPair]
    widths: Sequence[int]
    n_pairs: int
    activation: Activation
    block: int | None
    steps: np.ndarray
    pairs: list[Pair]
    streams: list[_Stream]
    samples: Samples
    groups: list[list[int]]
    where: str

    @property
    def n_inputs(self) -> int:
        return self.fleet_pairs[0].n_inputs

    @property
    def names(self) -> list[str]:
        """Names of the students of a fleet in warnings."""
        return [f"K={K}, init {i}" for K in self.widths for i in range(self.n_pairs)]

    def backend(
        self, pairs: Sequence[Pair], alive: np.ndarray | None, pool: Executor, tf32: bool
    ) -> CpuBackend | TorchBackend:
        """Make the backend that trains these students."""
        lr, layers = [pair.lr for pair in self.fleet_pairs], [pair.layers for pair in self.fleet_pairs]
        if self.where == "cpu":
            return CpuBackend(
                pairs, self.samples, lr, layers, alive=alive, block=self.block, pool=pool, groups=self.groups
            )
        return TorchBackend(pairs, self.samples, lr, layers, alive=alive, block=self.block, where=self.where, tf32=tf32)

    def warn_of_diverged(self, record: dict[str, dict[str, np.ndarray]], warned: np.ndarray, step: int) -> np.ndarray:
        """Warn of students that are dead but not in ``warned``, (pairs, 2, U), and return all dead ones."""
        alive = record["students"]["alive"]
        for new, pair in zip(~alive & ~warned, self.fleet_pairs, strict=True):
            if new.any():
                who = "; ".join(f"{self.names[u]}, student {s + 1}" for s, u in np.argwhere(new))
                where = f" in {pair.dataset.description}" if len(self.fleet_pairs) > 1 else ""
                warnings.warn(
                    f"diverged before time {step / self.n_inputs:.4g} with lr = {pair.lr:g} and NaN from here "
                    f"on{where}: {who}; use a smaller lr or init_scale.",
                    DivergenceWarning,
                    stacklevel=4,
                )
        return ~alive

    def results(self, records: checkpoints.Records, steps: np.ndarray, pairs: Sequence[Pair]) -> list[xr.Dataset]:
        """Label the measurements made after these steps, and the students as they are now: a result for each pair."""
        results = []
        for p, pair in enumerate(self.fleet_pairs):
            own = [{part: {k: v[p] for k, v in now.items()} for part, now in record.items()} for record in records]
            dead = ~own[-1]["students"]["alive"]
            curves = _label([_observables(record) for record in own], steps / self.n_inputs, self.widths, self.n_pairs)
            result = curves.merge(_weights(pairs[p], dead, self.widths, self.n_pairs))
            result.attrs = {
                "dataset": pair.dataset.description,
                "kind": pair.dataset.inputs.kind,
                "activation": self.activation.name,
                "layers": pair.layers,
                "lr": pair.lr,
                "init_scale": pair.init_scale,
                "n_inputs": self.n_inputs,
                "n_train": len(pair.dataset.x_train),
                "n_test": len(pair.dataset.x_test),
                "n_gauss": len(self.samples["gauss"][p][0]),
                "device": self.where,
            }
            results.append(result)
        return results


def _prepare(
    fleet_pairs: Sequence[FleetPair],
    *,
    widths: Sequence[int],
    n_pairs: int = 1,
    time: float = 100.0,
    activation: str | Activation = "erf",
    evaluate_at: Sequence[float] | np.ndarray | None = None,
    n_test_along: int | None = None,
    n_gauss: int | None = None,
    block: int | None = None,
    device: str = "cpu",
) -> _Plan:
    """Check the arguments and draw all that precedes the first step."""
    activation = get(activation)
    if len({pair.n_inputs for pair in fleet_pairs}) != 1:
        raise ValueError("give at least one pair of fleets, all with the same number of inputs N.")
    widths, end, N = parameters.widths(widths), parameters.time(time), fleet_pairs[0].n_inputs
    for name, value, least in (
        ("n_pairs", n_pairs, 1), ("block", block, 1), ("n_test_along", n_test_along, 2), ("n_gauss", n_gauss, 2),
    ):  # fmt: skip
        if value is not None or name == "n_pairs":
            parameters.whole(name, value, least)
    # A GPU knows only the activations of the package.
    where = resolve("cpu" if device == "auto" and ACTIVATIONS.get(activation.name) is not activation else device)
    given = evaluation_times(end) if evaluate_at is None else evaluate_at
    times = parameters.times(given, end=end, name="evaluate_at")

    seeds = [int(pair.rng.integers(2**63)) for pair in fleet_pairs]
    return _Plan(
        fleet_pairs=fleet_pairs,
        widths=widths,
        n_pairs=n_pairs,
        activation=activation,
        block=block,
        steps=np.unique(np.rint(np.append(times, end) * N).astype(np.int64)),
        pairs=[
            _initial_pair(pair, seed, widths, n_pairs, activation)
            for pair, seed in zip(fleet_pairs, seeds, strict=True)
        ],
        streams=[
            _Stream((seed, _SAMPLES, s), len(pair.dataset.x_train))
            for pair, seed in zip(fleet_pairs, seeds, strict=True)
            for s in range(2)
        ],
        samples=_samples(fleet_pairs, seeds, n_gauss, n_test_along),
        groups=_alike(fleet_pairs, seeds),
        where=where,
    )


def _alike(fleet_pairs: Sequence[FleetPair], seeds: Sequence[int]) -> list[list[int]]:
    """Group the pairs that have the same inputs, initial weights, streams of samples, η and layers."""
    groups: dict[tuple, list[int]] = {}
    for p, (pair, seed) in enumerate(zip(fleet_pairs, seeds, strict=True)):
        groups.setdefault((id(pair.dataset.inputs), seed, pair.lr, pair.layers, pair.init_scale), []).append(p)
    return list(groups.values())


def _initial(
    N: int, K: int, init: int, place: int, seed: int, activation: str | Activation, layers: str, scale: float
) -> Network:
    """Draw a student before training from the seed, its width, its initialisation and its place in the pair."""
    rng = np.random.default_rng((seed, _WEIGHTS, K, init, place))
    return random_network(N, K, rng=rng, activation=activation, layers=layers, scale=scale)


def _initial_pair(pair: FleetPair, seed: int, widths: Sequence[int], n_pairs: int, activation: Activation) -> Pair:
    """Draw the students of both fleets before training, by width and initialisation."""
    first, second = (
        [
            _initial(pair.n_inputs, K, i, s, seed, activation, pair.layers, pair.init_scale)
            for K in widths
            for i in range(n_pairs)
        ]
        for s in range(2)
    )
    return first, second


def _samples(
    fleet_pairs: Sequence[FleetPair], seeds: Sequence[int], n_gauss: int | None, n_test_along: int | None
) -> Samples:
    """Collect the samples of every pair, by purpose: "train", "test", "gauss", "test along" and "gauss along"."""
    samples: dict[str, list[tuple[np.ndarray, np.ndarray | None]]] = {"train": [], "test": [], "gauss": []}
    drawn: dict[tuple[int, int], np.ndarray] = {}
    for pair, seed in zip(fleet_pairs, seeds, strict=True):
        data = pair.dataset
        n = len(data.x_test) if n_gauss is None else n_gauss
        if (n, seed) not in drawn:
            rng = np.random.default_rng((seed, _GAUSS))
            drawn[n, seed] = standardise(rng.standard_normal((n, pair.n_inputs), dtype=np.float32))
        gauss = drawn[n, seed]
        for purpose, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
            samples[purpose].append((np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)))
        samples["gauss"].append((gauss, None))
    along = slice(n_test_along)
    return samples | {
        f"{purpose} along": [(x[along], None if y is None else y[along]) for x, y in samples[purpose]]
        for purpose in ("test", "gauss")
    }


def _observables(record: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Name the measurements of one pair as in the result, (2, U) each; NaN for students that are dead."""
    alive = record["students"]["alive"]
    named = {}
    for kind in ("mse", "frac", "mse_se", "frac_se"):
        between = np.stack([record["test"][f"12_{kind}"], record["gauss"][f"12_{kind}"]])
        named[f"eps_g_{kind}"] = np.where(alive, record["test"][kind], np.nan)
        named[f"eps_12_{kind}"] = np.where(alive.all(axis=0), between, np.nan)
        if "train" in record:
            named[f"eps_t_{kind}"] = np.where(alive, record["train"][kind], np.nan)
    return named


_LONG_NAMES = {"eps_g": "ε_g", "eps_12": "ε₁,₂", "eps_t": "training error"}


def _label(records: list[dict[str, np.ndarray]], time: np.ndarray, widths: Sequence[int], n_pairs: int) -> xr.Dataset:
    """Stack the observables (…, U) of all times and name their dimensions."""
    variables = {}
    for key in records[0]:
        values = np.stack([record[key] for record in records])
        values = values.reshape(len(time), 2, len(widths), n_pairs)
        first = "inputs" if key.startswith("eps_12") else "student"
        dims = ("inputs", "init", "width", "time") if first == "inputs" else ("init", "student", "width", "time")
        what, kind = key.removesuffix("_se").rsplit("_", 1)
        name = f"{_LONG_NAMES[what]} ({kind})"
        name = f"standard error of {name}, from the number of inputs" if key.endswith("_se") else name
        array = xr.DataArray(values, dims=("time", first, "width", "init"), attrs={"long_name": name})
        variables[key] = array.transpose(*dims)
    coords = {
        "time": ("time", time, {"long_name": "steps / N"}),
        "width": ("width", list(widths), {"long_name": "K"}),
        "init": np.arange(n_pairs),
        "student": [1, 2],
        "inputs": ["test", "gauss"],
    }
    return xr.Dataset(variables, coords=coords)


def _weights(pair: Pair, dead: np.ndarray, widths: Sequence[int], n_pairs: int) -> xr.Dataset:
    """Label the weights of all students, padded with NaN to the largest width; NaN for dead students (2, U)."""
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
    """Extract one trained student from a result of :func:`train`.

    Parameters
    ----------
    result : Dataset
        Of one data set.
    width, init, student : int
        Which student.
    activation : Activation, optional
        Needed only for a custom one, of which the result holds only the name.

    Returns
    -------
    Network

    Raises
    ------
    KeyError
        If the result has no such student.
    ValueError
        For an unknown activation.
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
    """Draw a student of a result of :func:`train` as it was before training.

    Parameters
    ----------
    result, width, init, student, activation
        As for :func:`student`.
    rng : Generator
        In the state in which it was passed to :func:`train`; ``experiments.start`` knows it.

    Returns
    -------
    Network
    """
    at, seed = result.attrs, int(rng.integers(2**63))
    g = get(at["activation"] if activation is None else activation)
    return _initial(at["n_inputs"], width, init, student - 1, seed, g, at["layers"], at["init_scale"])
