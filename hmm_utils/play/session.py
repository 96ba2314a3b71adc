"""Trainings that are watched while they go, in a thread of their own; no widget, no picture.

What is trained is the engine's: `training.watch` on the data set of some `Settings`. To each snapshot the order
parameters are added; nothing else is computed here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache
from time import monotonic

import numpy as np
import xarray as xr

from hmm_utils.model.datasets import Dataset
from hmm_utils.model.observables import gaussian_overlaps, sampled_overlaps
from hmm_utils.play.settings import N_TEST, Settings, dataset, memory, of_data, problem
from hmm_utils.sgd import training

__all__ = ["Session", "Training", "evaluation_times", "order_parameters", "train_pair", "watch"]

# of earlier trainings that are kept, so that each has a colour
_KEPT = 6


def evaluation_times(time: float) -> np.ndarray:
    """Log-spaced, so that a curve grows quickly at first, and never more than a fortieth of the whole apart."""
    return np.union1d(training.evaluation_times(time, 60), np.linspace(0, time, 41))


def order_parameters(W: np.ndarray, data: Dataset) -> xr.Dataset:
    """Q = E λλᵀ, R = E λνᵀ and T = E ννᵀ of students with first layers W (2, K, N) on the inputs of a data set.

    For i.i.d. inputs and a teacher on them the averages are known, Q = WWᵀ/N and R = Ww̃ᵀ/N. For all others they are
    means over the first test inputs; the teacher sees x, or c if it is a latent one. Without a teacher R and T are
    empty.

    Returns Q (student, i, j), R (student, i, m) and T (m, n).
    """
    inputs, teacher = data.inputs, data.teacher
    known = data.task_kind == "teacher" and inputs.kind == "gaussian"
    x = inputs.x_test[:N_TEST]
    z = inputs.latent_test[:N_TEST] if data.task_kind == "latent" else x
    wt = np.empty((0, z.shape[1])) if teacher is None else teacher.W
    found = [gaussian_overlaps(w, wt=wt) if known else sampled_overlaps(w, x=x, z=z, wt=wt) for w in W]
    Q, R, T = (np.stack(part) for part in zip(*found, strict=True))
    return xr.Dataset({"Q": (("student", "i", "j"), Q), "R": (("student", "i", "m"), R), "T": (("m", "n"), T[0])})


def watch(
    settings: Settings, data: Dataset | None = None, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[xr.Dataset]:
    """Trains two students and yields, at each of the `evaluation_times`, what is known then: ε_g of both and ε₁,₂ on
    test and on Gaussian inputs, as `training.train` reports them, with the order parameters Q, R and T.

    data  the data set of these settings, if it is there already
    stop  see `training.watch`

    Raises ValueError for settings that have a `problem`.
    """
    s = settings
    data_rng, train_rng = np.random.default_rng((s.seed, 0)).spawn(2)
    data = dataset(s, rng=data_rng) if data is None else data
    snapshots = training.watch(
        data,
        widths=[s.width],
        time=s.time,
        lr=s.lr,
        layers=s.layers,
        evaluate_at=evaluation_times(s.time),
        n_test_along=N_TEST,
        n_gauss=N_TEST,
        rng=train_rng,
        stop=stop,
    )
    for snapshot in snapshots:
        # of one width and one initialisation
        W = snapshot["W"].values[0, :, 0]
        Q, R, T = (order_parameters(W, data)[name].expand_dims(time=snapshot["time"]) for name in "QRT")
        yield snapshot.drop_vars(["W", "v"]).isel(width=0, init=0).assign(Q=Q, R=R, T=T.isel(time=0, drop=True))


def train_pair(settings: Settings) -> xr.Dataset:
    """All snapshots of `watch` as one result over `time`."""
    return _joined(list(watch(settings)))


def _joined(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")


class Training:
    """One training as far as it has come. Written by its thread, read by whoever shows it.

    settings  what is trained
    state     "drawing" inputs, "training", then "finished", "stopped", "diverged" or "failed"
    said      what the reader must be told, in a sentence: a notice about the data, or what went wrong
    waited    seconds from the press to the third snapshot: with two times after 0 there is a curve
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.state, self.said, self.waited = settings, "drawing", "", None
        self._begun, self._ended = monotonic(), None
        self._stop = threading.Event()
        self._snapshots: list[xr.Dataset] = []
        self._joined, self._n_joined = None, 0

    @property
    def running(self) -> bool:
        return self.state in ("drawing", "training") and not self._stop.is_set()

    @property
    def seconds(self) -> float:
        """Since it was started, or as long as it ran."""
        return (monotonic() if self._ended is None else self._ended) - self._begun

    def stop(self) -> None:
        """Ends the training within a fraction of a second; returns at once."""
        self._stop.set()

    def curves(self) -> xr.Dataset | None:
        """All snapshots so far, put together over `time`; None before the first one. For one thread of readers."""
        n = len(self._snapshots)
        if fresh := self._snapshots[self._n_joined : n]:
            self._joined = _joined(([] if self._joined is None else [self._joined]) + fresh)
            self._n_joined = n
        return self._joined

    def _train(self, data_of: Callable[[Settings], Dataset]) -> None:
        try:
            data = data_of(self.settings)
            self.said = data.inputs.notice or ""
            self.state = "training"
            for snapshot in watch(self.settings, data, stop=self._stop.is_set):
                if self._stop.is_set():
                    break  # what was measured meanwhile comes too late: the reader has seen where it stopped
                self._snapshots.append(snapshot)
                if len(self._snapshots) == 3:
                    self.waited = self.seconds
                if snapshot["eps_g_mse"].isnull().any():
                    time, lr = float(snapshot["time"][0]), self.settings.lr
                    self.said = f"A student diverged before time {time:.3g} with η = {lr:g}: choose a smaller η."
                    self.state = "diverged"
                    return
            self.state = "stopped" if self._stop.is_set() else "finished"
        except Exception as error:
            self.said, self.state = _sentence(error), "failed"
        finally:
            self._ended = monotonic()


def _sentence(error: Exception) -> str:
    """What went wrong, in one sentence. The package's own errors are sentences already."""
    if isinstance(error, MemoryError):
        return "The memory is used up: choose a smaller P or N."
    first = str(error).strip().partition("\n")[0].rstrip(".")
    if isinstance(error, ValueError) and first:
        return f"{first}."
    return f"Training failed with {type(error).__name__}{': ' * bool(first)}{first}."


class Session:
    """Trainings one after another, of which the latest may be running; earlier ones are kept for comparison.

    The data set that was drawn last is kept as well: a reader who changes η does not wait for the same inputs again.
    """

    def __init__(self) -> None:
        self.trainings: list[Training] = []
        self._drawing = threading.Lock()
        self._data: tuple[Settings, Dataset] | None = None
        self._wanted: Settings | None = None

    @property
    def running(self) -> bool:
        return bool(self.trainings) and self.trainings[-1].running

    def problem(self, settings: Settings) -> str | None:
        """Why this cannot be trained now, in one sentence; None if it can."""
        held = 0 if self._data is None else memory(self._data[0])
        return problem(settings, held=held)

    def prepare(self, settings: Settings) -> threading.Thread | None:
        """Draws the inputs of a training that may come, while the reader is still choosing; None if it cannot come."""
        if self.problem(settings) or self.running:
            return None
        self._wanted = settings

        def draw() -> None:
            # what goes wrong here goes wrong again, and is told, when the training is started
            try:
                _warm_up()
                self._data_of(settings, or_not=lambda: self._wanted is not settings)
            except Exception:
                self._data = None

        return _started(draw)

    def start(self, settings: Settings) -> Training:
        """Starts a training; one that is running is stopped. Raises ValueError for settings that have a `problem`."""
        if wrong := self.problem(settings):
            raise ValueError(wrong)
        self.stop()
        self._wanted = settings
        new = Training(settings)
        self.trainings = [*self.trainings[-_KEPT + 1 :], new]
        _started(lambda: new._train(self._data_of))
        return new

    def stop(self) -> None:
        if self.trainings:
            self.trainings[-1].stop()

    def clear(self) -> None:
        """Forgets all trainings but one that is running."""
        self.trainings = self.trainings[-1:] if self.running else []

    def _data_of(self, settings: Settings, or_not: Callable[[], bool] = lambda: False) -> Dataset | None:
        with self._drawing:
            if or_not():
                return None
            key = of_data(settings)
            if self._data is None or self._data[0] != key:
                self._data = None  # two of them may not fit into memory
                rng, _ = np.random.default_rng((settings.seed, 0)).spawn(2)
                self._data = key, dataset(settings, rng=rng)
            return self._data[1]


@cache
def _warm_up() -> None:
    """What everything costs when it is first used, a third of a second, is paid before the reader presses."""
    train_pair(Settings(inputs="gaussian", task="teacher", n_inputs=2, n_train=2, width=1, teacher_width=1, time=0.5))


def _started(target: Callable[[], None]) -> threading.Thread:
    """A thread that does not keep a kernel from ending."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread
