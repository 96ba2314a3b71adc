"""Online SGD, Eq. (2) with a fresh sample at every step, and the order parameters along the way.

Students that start from given weights are trained on streams of fresh samples (:mod:`hmm_utils.data.streams`) by
:mod:`hmm_utils.sgd.block`, with the update of the equations of motion. With λ_k = w_k·x/√N and Δ = Σ_k v_k g(λ_k) − y::

    w_k ← w_k − (η/√N) v_k Δ g'(λ_k) x,    v_k ← v_k − (η/N) Δ g(λ_k)  if v is trained,    time = steps/N

With the fields ν_m of the teacher the order parameters are::

    Q = E λλᵀ,    R = E λνᵀ,    T = E ννᵀ

The functions ``…_overlaps`` of :mod:`hmm_utils.model.observables` compute them from the weights W (K, N), for several
students at once if their rows are stacked. Which of these functions is right depends on the source.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hmm_utils.data.streams import Source
from hmm_utils.model import parameters
from hmm_utils.model.activations import ERF
from hmm_utils.model.networks import LAYERS, Network
from hmm_utils.model.observables import Overlaps, eps_g_erf, errors, moments
from hmm_utils.sgd.block import Fleet, advance, outputs
from hmm_utils.sgd.hardware import threads
from hmm_utils.sgd.training import DivergenceWarning, evaluation_times

__all__ = ["Student", "train"]

# Test inputs whose outputs are computed at once.
_SLAB = 1024

_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False, kw_only=True)
class Student:
    """A student to be trained on a stream: what may differ between students on the same stream.

    Attributes
    ----------
    network : Network
        Initial weights w (K, N) and v (K,), and g.
    lr : float
        Learning rate η; the second layer, if trained, learns with η/N.
    layers : str
        "both", or "first" for a fixed second layer.
    """

    network: Network
    lr: float = 0.2
    layers: str = "both"

    def __post_init__(self) -> None:
        if self.network.width < 1:
            raise ValueError("a student has no hidden unit: give W as (K, N) and v as (K,) with K of at least 1.")
        if not (np.isfinite(self.network.W).all() and np.isfinite(self.network.v).all()):
            raise ValueError("a student starts from weights that are not finite: give finite W and v.")
        parameters.learning_rate(self.lr)
        parameters.choice("layers", self.layers, LAYERS)


def _check(
    source: Source,
    students: Sequence[Student],
    rngs: Sequence[np.random.Generator],
    test: tuple[np.ndarray, np.ndarray] | None,
    eps_g: Callable[..., float],
    block: int | None,
) -> None:
    N = source.inputs.n_inputs
    if not students:
        raise ValueError("there are no students: give at least one.")
    if any(s.network.n_inputs != N for s in students):
        taken = [s.network.n_inputs for s in students]
        raise ValueError(f"the students take N = {taken} inputs: the source gives N = {N}, and all must take as many.")
    activations = {s.network.activation for s in students}
    if len(activations) > 1:
        raise ValueError("students on one stream must have the same activation: train the others on their own.")
    if eps_g is eps_g_erf and activations | {source.teacher.activation} != {ERF}:
        raise ValueError("eps_g_erf is for erf students of an erf teacher: pass the eps_g of these activations.")
    if not rngs or len({id(rng.bit_generator) for rng in rngs}) != len(rngs):
        raise ValueError("rngs must hold a random generator of its own for each simulation: spawn them from one.")
    if block is not None:
        parameters.whole("block", block)
    if test is not None and (test[0].ndim != 2 or test[0].shape[1] != N or test[1].shape != (len(test[0]),)):
        raise ValueError(
            f"the test inputs have shape {test[0].shape} and their labels {test[1].shape}: give (n, {N}) and (n,)."
        )


def train(
    source: Source,
    students: Sequence[Student],
    *,
    time: float,
    overlaps: Callable[[np.ndarray], Overlaps],
    rngs: Sequence[np.random.Generator],
    evaluate_at: Sequence[float] | np.ndarray | None = None,
    eps_g: Callable[..., float] = eps_g_erf,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    block: int | None = None,
    progress: str | None = "online SGD",
) -> xr.Dataset:
    """Train students on streams of fresh samples, once for each generator, from the same initial weights.

    All students of a simulation see the same samples, which are made once for all of them; simulations differ only
    in their samples. Each simulation runs in a thread, and the remaining threads make samples ahead.

    Weights are float32, and a change of less than half a unit in the last place is lost. This is far below the noise of
    SGD and matters only to a student that learns its teacher perfectly. With weights of order 1, the first layer stops
    learning below ε_g ≈ ½(2⁻²⁴ √N/η)² and the second below ½(2⁻²⁴ N/η)²: 4e-10 and 4e-6 for N = 10 000, η = 0.2.

    Parameters
    ----------
    source : Source
        Fresh samples.
    students : sequence of Student
        The students.
    time : float
        End of training in units of steps/N.
    overlaps : callable
        W (rows, N) → Q (rows, rows), R (rows, M), T (M, M): a function of :mod:`hmm_utils.model.observables` with its
        constants, such as ``partial(hidden_manifold_overlaps, F=F, wt=teacher.W, b=b, zeta=zeta)``.
    rngs : sequence of Generator
        One for each simulation, and not shared with anything else.
    evaluate_at : sequence of float, optional
        Increasing times (steps/N) at which to measure; by default those of
        :func:`hmm_utils.sgd.training.evaluation_times`. The end is always measured.
    eps_g : callable
        (Q, R, T, v, ṽ) → ½ E(φ − y)² for Gaussian fields; by default for erf students of an erf teacher.
    test : pair of arrays, optional
        Inputs (n, N) and labels (n,) on which ε_g is measured too.
    block : int, optional
        SGD steps done at once, which affects rounding only.
    progress : str, optional
        Label of the progress bar; None for no bar.

    Returns
    -------
    Dataset
        Over simulation, student and time (steps/N), with the width, lr and layers of the students; NaN for hidden units
        k, l ≥ K:

        - ``eps_g_mse``: from the order parameters, with the factor ½ of Eq. (3)
        - ``eps_g_test_mse``, ``eps_g_test_mse_se``: on the test set, if it is given, and the standard error due to its
          size
        - ``Q`` (…, k, l), ``R`` (…, k, m), ``v`` (…, k) and ``T`` (m, n)
        - ``W`` (simulation, student, k, input): final weights

        A student whose error becomes infinite is stopped, NaN from the next evaluation on, and named in a
        :class:`hmm_utils.sgd.training.DivergenceWarning`.

    Raises
    ------
    ValueError
        For impossible arguments.
    """
    N = source.inputs.n_inputs
    _check(source, students, rngs, test, eps_g, block)
    _check_overlaps(source, students, overlaps)
    steps = _evaluation_steps(time, evaluate_at, N)
    if test is not None:
        test = np.ascontiguousarray(test[0], np.float32), np.ascontiguousarray(test[1], np.float32)
    running = min(threads(), len(rngs))
    # An explicit disable= would override TQDM_DISABLE.
    hidden = {"disable": True} if progress is None else {}
    with (
        ThreadPoolExecutor(max_workers=running) as pool,
        # The matrix products are too small to gain from threads of BLAS, which would slow other simulations down.
        threadpool_limits(limits=1, user_api="blas"),
        tqdm(total=int(len(rngs) * steps[-1]), desc=progress, unit="step", unit_scale=True, **hidden) as bar,
    ):

        def one(rng: np.random.Generator) -> tuple[list[dict[str, np.ndarray]], list[Network]]:
            fleets = _Fleets(students, block)
            records, done, left = [], 0, (np.empty((0, N), np.float32), np.empty(0, np.float32))
            with closing(source.chunks(rng, workers=threads() // running)) as chunks:
                for step in steps:
                    while done < step:
                        x, y = left if len(left[1]) else next(chunks)
                        n = min(step - done, len(y))
                        fleets.advance(x[:n], y[:n])
                        left, done = (x[n:], y[n:]), done + n
                        with bar.get_lock():
                            bar.update(n)
                    records.append(fleets.measure(source.teacher.v, overlaps, eps_g, test))
            return records, fleets.networks()

        simulations = list(pool.map(one, rngs))
    result = _label([records for records, _ in simulations], steps / N)
    result["W"] = _weights([networks for _, networks in simulations])
    _warn_of_diverged(result, students)
    result = result.assign_coords(
        width=("student", [s.network.width for s in students], {"long_name": "K"}),
        lr=("student", [s.lr for s in students], {"long_name": "η"}),
        layers=("student", [s.layers for s in students]),
    )
    result.attrs = {
        "source": source.description,
        "activation": students[0].network.activation.name,
        "n_inputs": N,
        "n_latent": source.inputs.n_latent,
        "n_test": 0 if test is None else len(test[1]),
    }
    return result


def _evaluation_steps(time: float, evaluate_at: Sequence[float] | np.ndarray | None, n_inputs: int) -> np.ndarray:
    """Compute the steps after which to measure, including the last one."""
    end = parameters.time(time)
    times = parameters.times(evaluation_times(end) if evaluate_at is None else evaluate_at, end=end, name="evaluate_at")
    return np.unique(np.rint(np.append(times, end) * n_inputs).astype(np.int64))


def _check_overlaps(source: Source, students: Sequence[Student], overlaps: Callable[[np.ndarray], Overlaps]) -> None:
    W = np.concatenate([s.network.W for s in students])
    rows, M = len(W), source.teacher.width
    shapes = [np.shape(part) for part in overlaps(W)]
    if shapes != [(rows, rows), (rows, M), (M, M)]:
        raise ValueError(
            f"overlaps gives Q, R, T of shapes {shapes} for {rows} rows of W and {M} hidden units of the teacher: "
            f"it must give {(rows, rows)}, {(rows, M)} and {(M, M)}."
        )


class _Fleets:
    """The students of one simulation; those with the same η and the same layers trained share a fleet."""

    def __init__(self, students: Sequence[Student], block: int | None) -> None:
        settings = [(s.lr, s.layers) for s in students]
        self._settings = sorted(set(settings))
        self._places = [[u for u, own in enumerate(settings) if own == shared] for shared in self._settings]
        self._fleets = [Fleet.of([students[u].network for u in places]) for places in self._places]
        self._block = block

    def advance(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take one SGD step with every student on each of the samples, in order."""
        for fleet, (lr, layers) in zip(self._fleets, self._settings, strict=True):
            advance(fleet, x, y, np.arange(len(y)), lr=lr, layers=layers, block=self._block)

    def _in_order(self, by_fleet: Iterable[Iterable[_Value]]) -> list[_Value]:
        """Put values for the students of each fleet into the order of all students."""
        pairs = [zip(places, values, strict=True) for places, values in zip(self._places, by_fleet, strict=True)]
        return [value for _, value in sorted((p for pair in pairs for p in pair), key=lambda p: p[0])]

    def networks(self) -> list[Network]:
        """Return copies of the students."""
        return self._in_order(fleet.networks() for fleet in self._fleets)

    def measure(
        self,
        vt: np.ndarray,
        overlaps: Callable[[np.ndarray], Overlaps],
        eps_g: Callable[..., float],
        test: tuple[np.ndarray, np.ndarray] | None,
    ) -> dict[str, np.ndarray]:
        """Measure everything reported at one time, (U, …); NaN for students that have diverged."""
        networks = self.networks()
        measured = {} if test is None else self._test_errors(*test)
        alive = self._in_order(fleet.alive for fleet in self._fleets)
        U, K, M = len(networks), max(n.width for n in networks), len(vt)
        found = {"eps_g_mse": np.full(U, np.nan), "v": np.full((U, K), np.nan)}
        found |= {"Q": np.full((U, K, K), np.nan), "R": np.full((U, K, M), np.nan)}
        # A diverging student overflows here.
        with np.errstate(over="ignore", invalid="ignore"):
            Q, R, T = overlaps(np.concatenate([n.W for n in networks]))
            last = 0
            for u, network in enumerate(networks):
                first, last = last, last + network.width
                if alive[u]:
                    rows, k = slice(first, last), slice(network.width)
                    found["Q"][u, k, k], found["R"][u, k], found["v"][u, k] = Q[rows, rows], R[rows], network.v
                    found["eps_g_mse"][u] = eps_g(Q[rows, rows], R[rows], T, network.v.astype(float), vt)
        return found | measured | {"T": T}

    def _test_errors(self, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        total: np.ndarray | float = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(x), _SLAB):
                part = slice(start, start + _SLAB)
                phi = np.stack(self._in_order(outputs(fleet, x[part]) for fleet in self._fleets))
                total = total + moments(phi, y[part])
            found = errors(np.asarray(total), len(x))
        return {"eps_g_test_mse": found["mse"], "eps_g_test_mse_se": found["mse_se"]}


_VARIABLES = {
    "eps_g_mse": ((), "ε_g (mse) from the order parameters"),
    "eps_g_test_mse": ((), "ε_g (mse) on the test set"),
    "eps_g_test_mse_se": ((), "standard error of ε_g (mse), from the number of test inputs"),
    "Q": (("k", "l"), "Q"),
    "R": (("k", "m"), "R"),
    "v": (("k",), "v"),
}


def _label(simulations: list[list[dict[str, np.ndarray]]], time: np.ndarray) -> xr.Dataset:
    """Stack the records (U, …) of all simulations and times and name their dimensions."""
    variables = {}
    for name, (dims, long_name) in _VARIABLES.items():
        if name in simulations[0][0]:
            values = np.stack([[record[name] for record in records] for records in simulations])
            array = xr.DataArray(values, dims=("simulation", "time", "student", *dims), attrs={"long_name": long_name})
            variables[name] = array.transpose("simulation", "student", "time", *dims)
    variables["T"] = xr.DataArray(simulations[0][0]["T"], dims=("m", "n"), attrs={"long_name": "T"})
    coords = {"time": ("time", time, {"long_name": "steps / N"})}
    result = xr.Dataset(variables, coords=coords)
    return result.assign_coords({dim: np.arange(size) for dim, size in result.sizes.items() if dim != "time"})


def _weights(simulations: list[list[Network]]) -> xr.DataArray:
    """Label the final first layers, padded with NaN to the largest width; those of diverged students are NaN."""
    networks = simulations[0]
    shape = (len(simulations), len(networks), max(n.width for n in networks), networks[0].n_inputs)
    W = np.full(shape, np.nan, np.float32)
    for s, u in np.ndindex(shape[:2]):
        W[s, u, : networks[u].width] = simulations[s][u].W
    return xr.DataArray(W, dims=("simulation", "student", "k", "input"), attrs={"long_name": "W"})


def _warn_of_diverged(result: xr.Dataset, students: Sequence[Student]) -> None:
    diverged = result["v"].isel(time=-1, k=0).isnull()
    for u, student in enumerate(students):
        if n := int(diverged.sel(student=u).sum()):
            warnings.warn(
                f"student {u} (K={student.network.width}) diverged with lr = {student.lr:g} in {n} of "
                f"{result.sizes['simulation']} simulations and is NaN from there on; use a smaller lr.",
                DivergenceWarning,
                stacklevel=3,
            )
