"""What can be chosen in the playground, as a view of an experiment, and the data set that it stands for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from hmm_utils.data import digits, mnist
from hmm_utils.figures.style import LABELS, LAYERS
from hmm_utils.model import datasets, parameters
from hmm_utils.model.datasets import Dataset
from hmm_utils.model.networks import random_network
from hmm_utils.runs import experiments
from hmm_utils.runs.experiments import Experiment

__all__ = [
    "N_TEST", "Settings", "at_scale", "available_memory", "dataset", "differences", "found", "image_count", "memory",
    "of_data", "problem", "without_meaning",
]  # fmt: skip

N_TEST = 2000
"""Number of test inputs, and of Gaussian ones; ε₁,₂ = 0.01 is then known to within 0.002."""

# of the free memory; the rest is for the picture, and for the reader's browser where it runs on the same machine
_SHARE = 0.8

_DEFAULTS = experiments.settings()["defaults"] | experiments.settings()["profiles"]["quick"]["playground"]
_TASKS = {"teacher": "teacher on inputs", "latent": "latent teacher", "own": "own labels"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training of two independent students: the parameters of an experiment that a reader can change.

    They have the names of :class:`hmm_utils.runs.experiments.Experiment`, but one width. Any value can be written
    down; :func:`problem` says which cannot be trained, and why.

    Attributes
    ----------
    inputs : {"gaussian", "structured", "digits"}
        i.i.d. inputs, structured inputs (Eq. 6) or images.
    task : {"teacher", "latent", "own"}
        Origin of the labels: a teacher on the inputs (Eq. 4), a teacher on the latent coordinates (Eq. 7), or the
        images, odd against even.
    width, teacher_width : int
        K and M.
    f, n_latent : str, int
        Non-linearity and D of structured inputs.
    data : {"auto", "mnist", "digits"}
        Which images, as for :func:`hmm_utils.data.digits.load`.
    labels : {"sign", "real"}
        Labels of a teacher.
    layers : {"both", "first"}
        Layers that are trained.
    n_inputs : int
        N of inputs that are not images.
    n_train : int, optional
        P; by default 76N, or all images if these are fewer.
    lr, time : float
        η, and the end of training in steps/N.
    seed : int
        Of all random numbers.
    """

    inputs: str = "structured"
    task: str = "latent"
    width: int = 4
    f: str = _DEFAULTS["f"]
    data: str = _DEFAULTS["data"]
    labels: str = _DEFAULTS["labels"]
    layers: str = _DEFAULTS["layers"]
    n_inputs: int = _DEFAULTS["n_inputs"]
    n_latent: int = _DEFAULTS["n_latent"]
    n_train: int | None = None
    teacher_width: int = _DEFAULTS["teacher_width"]
    lr: float = _DEFAULTS["lr"]
    time: float = _DEFAULTS["time"]
    seed: int = _DEFAULTS["seed"]

    @property
    def N(self) -> int:
        """Number of inputs; that of pixels, where the inputs are images."""
        return digits.SIZES[found(self.data)][0] if self.inputs == "digits" else self.n_inputs

    @property
    def P(self) -> int:
        """Number of training samples."""
        if self.n_train is not None:
            return self.n_train
        return min(76 * self.N, image_count(self)) if self.inputs == "digits" else 76 * self.N

    def experiment(self) -> Experiment:
        """Experiment with one pair of students. Raises ValueError for impossible values."""
        values = _DEFAULTS | {f.name: getattr(self, f.name) for f in fields(self)}
        parameters.choice("task", self.task, _TASKS)
        width = parameters.whole("width", values.pop("width"))
        return Experiment(
            name="playground", figure="", profile="quick", widths=(width,), n_pairs=1, n_draws=1, n_times=3,
            n_test=N_TEST, n_test_along=N_TEST, **values,
        )  # fmt: skip


def at_scale(profile: str, **chosen: object) -> Settings:
    """Start of the playground at a profile's scale, with some values replaced.

    Parameters
    ----------
    profile : {"quick", "paper"}
        Scale.
    **chosen
        Values of :class:`Settings`; None keeps the profile's.

    Raises
    ------
    ValueError
        For an unknown profile or name, and for an impossible value.
    """
    parameters.known("profile", profile, experiments.PROFILES)
    for name in chosen:
        parameters.known("parameter", name, sorted(f.name for f in fields(Settings)))
    scale = experiments.settings()["profiles"][profile]["playground"]
    settings = Settings(**(scale | {name: value for name, value in chosen.items() if value is not None}))
    settings.experiment()
    return settings


def found(data: str) -> str:
    """Images that ``data`` stands for on this machine: "mnist", or "digits" where MNIST would have to be downloaded."""
    return "mnist" if data != "digits" and mnist.is_available() else "digits"


def image_count(settings: Settings) -> int:
    """Images available for training."""
    return digits.SIZES[found(settings.data)][1]


# ---- what goes together ------------------------------------------------------------------------------------------


def without_meaning(settings: Settings) -> frozenset[str]:
    """Names of the settings that have no effect, such as D of i.i.d. inputs, N of images and M of own labels."""
    unused = experiments.without_meaning({"inputs": settings.inputs, "task": settings.task})
    return frozenset(unused) & {f.name for f in fields(settings)}


def problem(settings: Settings, *, held: int = 0) -> str | None:
    """Why these settings cannot be trained, in one sentence that says what to choose instead.

    Parameters
    ----------
    settings : Settings
        What would be trained.
    held : int
        Bytes of memory in use that would be freed.

    Returns
    -------
    str or None
        None if they can be trained.
    """
    try:
        _checked(settings, held)
    except ValueError as error:
        return str(error)
    return None


def _checked(settings: Settings, held: int = 0) -> Experiment:
    """Experiment of settings that can be trained. Raises ValueError for others."""
    s, experiment = settings, settings.experiment()
    if s.task == "latent" and s.inputs != "structured":
        what = "Images have no known" if s.inputs == "digits" else "i.i.d. inputs have no"
        other = "the images' own labels" if s.inputs == "digits" else "structured inputs"
        raise ValueError(
            f"{what} latent coordinates that a label could depend on: choose a teacher on the inputs, or {other}."
        )
    if s.task == "own" and s.inputs != "digits":
        raise ValueError("Only images come with labels of their own: choose labels of a teacher, or images as inputs.")
    if s.inputs == "digits":
        parameters.n_train(s.P, image_count(s), _images(s))
    need, free = memory(s), available_memory() + held
    if need > _SHARE * free:
        raise ValueError(
            f"P = {s.P} samples of N = {s.N} numbers take {need / 1e6:.0f} MB, and there are "
            f"{max(free, 0) / 1e6:.0f} MB free here: choose a smaller P or N."
        )
    return experiment


def memory(settings: Settings) -> int:
    """Peak memory in bytes while the data set is drawn: P + P* inputs, and as many Gaussian ones as P*."""
    s = settings
    if s.inputs == "digits" and found(s.data) == "mnist":
        # what is stored (one byte a pixel), once more in the order drawn, and all test images
        return s.N * (70_000 + s.P + 4 * (s.P + 10_000 + N_TEST))
    latent = s.n_latent if s.inputs == "structured" else 0
    return 4 * (s.N + latent) * (s.P + N_TEST) + 4 * s.N * N_TEST


def available_memory() -> float:
    """Memory in bytes that this process can still get: what is free, or less where a container sets a limit."""
    own = psutil.Process().memory_info().rss
    free = [psutil.virtual_memory().available]
    with suppress(ValueError):
        free.append(int(os.environ.get("MEM_LIMIT", "")) - own)
    with suppress(OSError, ValueError):
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text()) - own)
    return min(free)


# ---- the data set ------------------------------------------------------------------------------------------------


def dataset(settings: Settings, *, rng: np.random.Generator) -> Dataset:
    """Draw the inputs and labels that the settings stand for.

    Parameters
    ----------
    settings : Settings
        What is drawn.
    rng : numpy.random.Generator
        Source of all random numbers.

    Raises
    ------
    ValueError
        For settings that have a :func:`problem`.
    """
    e = replace(_checked(settings), data=found(settings.data))
    if e.inputs == "digits" and e.task == "teacher":
        # no experiment of the paper has a teacher on images
        images = digits.load(e.data, n_train=e.n_train, rng=rng)
        teacher = random_network(images.n_inputs, e.teacher_width, rng=rng, layers=e.layers)
        return datasets.teacher_task(images, teacher, labels=e.labels)
    return experiments.dataset(e, rng=rng)


# ---- in words ----------------------------------------------------------------------------------------------------


def _images(s: Settings) -> str:
    return "MNIST" if found(s.data) == "mnist" else "8×8 digits"


def _words(s: Settings) -> dict[str, str]:
    """Each thing that may differ between two trainings, as a legend says it; only those that have an effect."""
    ratio = s.P / s.N
    words = {
        "inputs": {"gaussian": "i.i.d. inputs", "structured": f"f = {s.f}", "digits": _images(s)}[s.inputs],
        "task": _TASKS[s.task],
        "labels": LABELS[s.labels],
        "layers": LAYERS[s.layers],
        "n_inputs": f"N = {s.N}",
        "n_latent": f"D = {s.n_latent}",
        "n_train": f"P = {ratio:.0f}N" if ratio == round(ratio) else f"P = {s.P}",
        "width": f"K = {s.width}",
        "teacher_width": f"M = {s.teacher_width}",
        "lr": f"η = {s.lr:g}",
        "time": f"to time {s.time:g}",
        "seed": f"seed {s.seed}",
    }
    return {name: word for name, word in words.items() if name not in without_meaning(s) - {"n_inputs"}}


def differences(settings: Sequence[Settings]) -> list[str]:
    """Labels of a legend: for each of several trainings what distinguishes it from the others. No label repeats.

    The end of training shows in the curve itself, and is named only where nothing else differs.

    Parameters
    ----------
    settings : sequence of Settings
        One per training.
    """
    words = [_words(s) for s in settings]
    names = [name for name in _words(Settings()) if len({w.get(name) for w in words}) > 1]
    names = [name for name in names if name != "time"] or names
    labels = [", ".join(w[name] for name in names if name in w) or "the same" for w in words]
    counts: Counter[str] = Counter()
    for i, label in enumerate(labels):
        counts[label] += 1
        labels[i] = label if labels.count(label) == 1 and counts[label] == 1 else f"{label}, run {counts[label]}"
    return labels


def of_data(settings: Settings) -> Settings:
    """Key of the data set of some settings: what it does not depend on has its default value."""
    unused = {"width", "lr", "time"} | without_meaning(settings)
    defaults: dict[str, Any] = {f.name: f.default for f in fields(Settings) if f.name in unused}
    known = replace(settings, **defaults)
    return replace(known, n_train=settings.P, data=found(settings.data) if settings.inputs == "digits" else "auto")
