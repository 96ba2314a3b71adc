"""Trainings that are watched while they run, in a thread of their own; no widget, no picture.

Students are trained by :func:`hmm_utils.sgd.training.watch`. The order parameters are added to each snapshot; nothing
else is computed here.
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
from hmm_utils.runs.experiments import rngs_of_draw
from hmm_utils.sgd import training

__all__ = ["Session", "Training", "evaluation_times", "order_parameters", "train_pair", "watch"]

# trainings that are shown together, so that each has a colour
_SHOWN = 6


def evaluation_times(time: float) -> np.ndarray:
    """Log-spaced times of snapshots, at most a fortieth of the whole apart."""
    return np.union1d(training.evaluation_times(time, 60), np.linspace(0, time, 41))


def order_parameters(W: np.ndarray, data: Dataset) -> xr.Dataset:
    """Order parameters of students with first layers W on the inputs of a data set.

    With local fields λ of a student and ν of the teacher::

        Q = E λλᵀ,    R = E λνᵀ,    T = E ννᵀ

    For i.i.d. inputs and a teacher on them the averages are known, Q = WWᵀ/N and R = Ww̃ᵀ/N. For all others they are
    means over the first test inputs; the teacher sees x, or c if it is a latent one. Without a teacher R and T are
    empty.

    Parameters
    ----------
    W : (2, K, N) array
        First layers of the two students.
    data : Dataset
        Inputs, and the teacher if there is one.

    Returns
    -------
    Dataset
        Q (student, i, j), R (student, i, m) and T (m, n).
    """
    inputs, teacher = data.inputs, data.teacher
    known = data.task_kind == "teacher" and inputs.kind == "gaussian"
    x = inputs.x_test[:N_TEST]
    latent = inputs.latent_test if data.task_kind == "latent" else None
    z = x if latent is None else latent[:N_TEST]
    wt = np.empty((0, z.shape[1])) if teacher is None else teacher.W
    found = [gaussian_overlaps(w, wt=wt) if known else sampled_overlaps(w, x=x, z=z, wt=wt) for w in W]
    Q, R, T = (np.stack(part) for part in zip(*found, strict=True))
    return xr.Dataset({"Q": (("student", "i", "j"), Q), "R": (("student", "i", "m"), R), "T": (("m", "n"), T[0])})


def watch(
    settings: Settings, data: Dataset | None = None, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[xr.Dataset]:
    """Train two students and yield, at each of the :func:`evaluation_times`, what is known then.

    Parameters
    ----------
    settings : Settings
        What is trained.
    data : Dataset, optional
        Its data set, if it was drawn already.
    stop : function
        See :func:`hmm_utils.sgd.training.watch`.

    Yields
    ------
    Dataset
        ε_g of both students and ε₁,₂ on test and on Gaussian inputs, as :func:`hmm_utils.sgd.training.train` reports
        them, with the order parameters Q, R and T.

    Raises
    ------
    ValueError
        For settings that have a :func:`~hmm_utils.play.settings.problem`.
    """
    data_rng, train_rng = rngs_of_draw(settings.seed, 0)
    data = dataset(settings, rng=data_rng) if data is None else data
    e = settings.experiment()
    snapshots = training.watch(
        data,
        widths=e.widths,
        time=e.time,
        lr=e.lr,
        activation=e.activation,
        layers=e.layers,
        init_scale=e.init_scale,
        evaluate_at=evaluation_times(e.time).tolist(),
        n_test_along=e.n_test_along,
        n_gauss=e.n_test,
        rng=train_rng,
        stop=stop,
    )
    for snapshot in snapshots:
        # of one width and one initialisation
        W = snapshot["W"].values[0, :, 0]
        Q, R, T = (order_parameters(W, data)[name].expand_dims(time=snapshot["time"]) for name in "QRT")
        yield snapshot.drop_vars(["W", "v"]).isel(width=0, init=0).assign(Q=Q, R=R, T=T.isel(time=0, drop=True))


def train_pair(settings: Settings) -> xr.Dataset:
    """Train two students; all snapshots of :func:`watch` as one result over time.

    Parameters
    ----------
    settings : Settings
        What is trained.
    """
    return _concatenated(list(watch(settings)))


def _concatenated(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")


class Training:
    """One training as far as it has come. Written by its thread, read by whoever shows it.

    Parameters
    ----------
    settings : Settings
        What is trained.

    Attributes
    ----------
    state : str
        "drawing" inputs, "training", then "finished", "stopped", "diverged" or "failed".
    message : str
        A notice about the data or an error, in a sentence; empty if there is none.
    waited : float or None
        Seconds from the press to the third snapshot: with two times after 0 there is a curve.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.state, self.message = settings, "drawing", ""
        self.waited: float | None = None
        self._begun = monotonic()
        self._ended: float | None = None
        self._stop = threading.Event()
        self._snapshots: list[xr.Dataset] = []
        self._joined: xr.Dataset | None = None
        self._n_joined = 0

    @property
    def running(self) -> bool:
        """Whether it goes on; False as soon as it is to stop."""
        return self.state in ("drawing", "training") and not self._stop.is_set()

    @property
    def seconds(self) -> float:
        """Seconds since it was started, or that it ran."""
        return (monotonic() if self._ended is None else self._ended) - self._begun

    def stop(self) -> None:
        """End the training within a fraction of a second; returns at once."""
        self._stop.set()

    def curves(self) -> xr.Dataset | None:
        """All snapshots so far as one result over time; None before the first one. For one thread of readers."""
        n = len(self._snapshots)
        if new := self._snapshots[self._n_joined : n]:
            self._joined = _concatenated(([] if self._joined is None else [self._joined]) + new)
            self._n_joined = n
        return self._joined

    def _train(self, data_of: Callable[[Settings], Dataset | None]) -> None:
        try:
            data = data_of(self.settings)
            assert data is not None
            self.message = data.inputs.notice or ""
            self.state = "training"
            for snapshot in watch(self.settings, data, stop=self._stop.is_set):
                if self._stop.is_set():
                    break  # a snapshot measured after *stop* would move the curve that the reader has seen stop
                self._snapshots.append(snapshot)
                if len(self._snapshots) == 3:
                    self.waited = self.seconds
                if snapshot["eps_g_mse"].isnull().any():
                    time, lr = float(snapshot["time"][0]), self.settings.lr
                    self.message = f"A student diverged before time {time:.3g} with η = {lr:g}: choose a smaller η."
                    self.state = "diverged"
                    return
            self.state = "stopped" if self._stop.is_set() else "finished"
        except Exception as error:
            self.message, self.state = _sentence(error), "failed"
        finally:
            self._ended = monotonic()


def _sentence(error: Exception) -> str:
    """Error as one sentence. The package's own errors are sentences already."""
    if isinstance(error, MemoryError):
        return "The memory is used up: choose a smaller P or N."
    first = str(error).strip().partition("\n")[0].rstrip(".")
    if isinstance(error, ValueError) and first:
        return f"{first}."
    return f"Training failed with {type(error).__name__}{': ' * bool(first)}{first}."


class Session:
    """Trainings one after another, of which the latest may be running; earlier ones remain for comparison.

    The data set drawn last is cached: a reader who changes η does not wait for the same inputs again.

    Attributes
    ----------
    trainings : list of Training
        In the order in which they were started.
    """

    def __init__(self) -> None:
        self.trainings: list[Training] = []
        self._drawing = threading.Lock()
        self._data: tuple[Settings, Dataset] | None = None
        self._wanted: Settings | None = None

    @property
    def running(self) -> bool:
        """Whether a training goes on."""
        return bool(self.trainings) and self.trainings[-1].running

    def problem(self, settings: Settings) -> str | None:
        """Reason why settings cannot be trained now, in one sentence; None if they can."""
        held = 0 if self._data is None else memory(self._data[0])
        return problem(settings, held=held)

    def prepare(self, settings: Settings) -> threading.Thread | None:
        """Draw the inputs of a training that may come, while the reader is still choosing; None if it cannot come."""
        if self.problem(settings) or self.running:
            return None
        self._wanted = settings

        def draw() -> None:
            # an error here comes again, and is reported, when the training is started
            try:
                _warm_up()
                self._data_of(settings, unless=lambda: self._wanted is not settings)
            except Exception:
                self._data = None

        return _started(draw)

    def start(self, settings: Settings) -> Training:
        """Start a training and stop one that is running. Raises ValueError for settings that have a problem."""
        if wrong := self.problem(settings):
            raise ValueError(wrong)
        self.stop()
        self._wanted = settings
        new = Training(settings)
        self.trainings = [*self.trainings[-_SHOWN + 1 :], new]
        _started(lambda: new._train(self._data_of))
        return new

    def stop(self) -> None:
        """Stop the training that is running, if there is one."""
        if self.trainings:
            self.trainings[-1].stop()

    def clear(self) -> None:
        """Forget all trainings but one that is running."""
        self.trainings = self.trainings[-1:] if self.running else []

    def _data_of(self, settings: Settings, unless: Callable[[], bool] = lambda: False) -> Dataset | None:
        with self._drawing:
            if unless():
                return None
            key = of_data(settings)
            if self._data is None or self._data[0] != key:
                self._data = None  # two of them may not fit into memory
                self._data = key, dataset(settings, rng=rngs_of_draw(settings.seed, 0)[0])
            return self._data[1]


@cache
def _warm_up() -> None:
    """Pay the cost of first use, a third of a second, before the reader presses."""
    train_pair(Settings(inputs="gaussian", task="teacher", n_inputs=2, n_train=2, width=1, teacher_width=1, time=0.5))


def _started(target: Callable[[], None]) -> threading.Thread:
    """Start a thread that does not prevent the kernel from ending."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread
