"""What can be chosen in the playground: which choices go together, and the data set that they stand for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from pathlib import Path

import numpy as np
import psutil

from hmm_utils.data import digits, mnist
from hmm_utils.model import datasets
from hmm_utils.model.datasets import Dataset
from hmm_utils.model.networks import LAYERS, random_network
from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.runs import experiments

__all__ = [
    "INPUTS", "N_TEST", "TASKS", "Settings", "at_scale", "available_memory", "dataset", "differences",
    "found", "impossible_value", "memory", "of_data", "problem", "without_meaning",
]  # fmt: skip

INPUTS = experiments.INPUTS
TASKS = ("teacher", "latent", "own")

N_TEST = 2000
"""Test inputs, and as many Gaussian ones: ε₁,₂ = 0.01 is then known to within 0.002."""

# of what is free; the rest is for the picture, and for the reader's browser where it runs on the same machine
_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training of two independent students, in the words of `experiments.Experiment`.

    inputs         "gaussian" (i.i.d.), "structured" (Eq. 6) or "digits" (images)
    f, n_latent    folding and D of structured inputs
    data           which images: "auto", "mnist" or "digits", as `digits.load` takes them
    task           where labels come from: a "teacher" on the inputs (Eq. 4), a teacher on the "latent" coordinates
                   (Eq. 7), or the images' "own", odd against even
    labels         of a teacher: "sign" (±1) or "real"
    layers         that are trained: "both" or "first"
    n_inputs       N of inputs that are not images
    n_train     P; None: 76N, or all images there are if these are fewer
    width, teacher_width   K and M
    lr, time       η and the end of training, steps/N
    seed           of all random numbers

    Anything can be written down; `problem` says what cannot be trained, and why.
    """

    inputs: str = "structured"
    f: str = "sgn"
    data: str = "auto"
    task: str = "latent"
    labels: str = "sign"
    layers: str = "both"
    n_inputs: int = 200
    n_latent: int = 10
    n_train: int | None = None
    width: int = 4
    teacher_width: int = 4
    lr: float = 0.2
    time: float = 1000.0
    seed: int = 1

    @property
    def N(self) -> int:
        """The number of inputs: that of the images, where the inputs are images."""
        return digits.SIZES[found(self.data)][0] if self.inputs == "digits" else self.n_inputs

    @property
    def P(self) -> int:
        """The number of training samples."""
        if self.n_train is not None:
            return self.n_train
        return min(76 * self.N, digits.SIZES[found(self.data)][1]) if self.inputs == "digits" else 76 * self.N


def at_scale(profile: str, **chosen: object) -> Settings:
    """The settings of the playground at a profile's scale, with some values replaced; None keeps what there is.

    Raises ValueError for an unknown profile or name, and for a value that makes no sense.
    """
    if profile not in experiments.PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(experiments.PROFILES)}.")
    known = [f.name for f in fields(Settings)]
    for name in chosen.keys() - set(known):
        raise ValueError(f"unknown parameter {name!r}: choose from {', '.join(sorted(known))}.")
    scale = experiments.settings()["profiles"][profile]["playground"]
    settings = Settings(**(scale | {name: value for name, value in chosen.items() if value is not None}))
    if wrong := impossible_value(settings):
        raise ValueError(wrong)
    return settings


def found(data: str) -> str:
    """The images that `data` stands for here, "mnist" or "digits": the small ones where MNIST is not on this machine,
    because nobody wants to wait for a download behind a button."""
    return "mnist" if data != "digits" and mnist.is_available() else "digits"


# ---- what goes together ------------------------------------------------------------------------------------------


def without_meaning(settings: Settings) -> frozenset[str]:
    """The names of settings that mean nothing beside the others: D of i.i.d. inputs, N of images, M of own labels …"""
    names: set[str] = set()
    if settings.inputs != "structured":
        names |= {"f", "n_latent"}
    names |= {"n_inputs"} if settings.inputs == "digits" else {"data"}
    if settings.task == "own":
        names |= {"labels", "teacher_width"}
    return frozenset(names)


def problem(settings: Settings, *, held: int = 0) -> str | None:
    """Why this cannot be trained, in one sentence that says what to choose instead; None if it can.

    held  bytes of the memory in use that would be given back
    """
    return next(filter(None, (check(settings) for check in _CHECKS)), None) or _too_large(settings, held)


def impossible_value(settings: Settings) -> str | None:
    """The setting whose value makes no sense whatever the others are, in a sentence; None if there is none."""
    s = settings
    choices = {
        "inputs": INPUTS, "f": tuple(NONLINEARITIES), "data": digits.DATA, "task": TASKS,
        "labels": datasets.LABELS, "layers": LAYERS,
    }  # fmt: skip
    for name, accepted in choices.items():
        if getattr(s, name) not in accepted:
            return f"{name} = {getattr(s, name)!r}: choose one of {', '.join(accepted)}."
    least = {"n_inputs": 2, "n_latent": 1, "width": 1, "teacher_width": 1, "seed": 0}
    if s.n_train is not None:
        least["n_train"] = 1
    for name, smallest in least.items():
        value = getattr(s, name)
        if not isinstance(value, int) or value < smallest:
            return f"{name} = {value!r}: give a whole number of at least {smallest}."
    for name in ("lr", "time"):
        value = getattr(s, name)
        if not isinstance(value, int | float) or not 0 < value < inf or not isfinite(value):
            return f"{name} = {value!r}: give a positive number."
    return None


def _unfit_manifold(s: Settings) -> str | None:
    if s.inputs == "structured" and s.n_latent > s.n_inputs:
        return (
            f"A manifold of D = {s.n_latent} dimensions does not fit into N = {s.n_inputs} inputs: "
            "choose D of at most N."
        )
    return None


def _labels_from_nowhere(s: Settings) -> str | None:
    if s.task == "latent" and s.inputs != "structured":
        what = "Images have no known" if s.inputs == "digits" else "i.i.d. inputs have no"
        other = "the images' own labels" if s.inputs == "digits" else "structured inputs"
        return f"{what} latent coordinates that a label could depend on: choose a teacher on the inputs, or {other}."
    if s.task == "own" and s.inputs != "digits":
        return "Only images come with labels of their own: choose labels of a teacher, or images as inputs."
    return None


def _too_few_images(s: Settings) -> str | None:
    if s.inputs != "digits":
        return None
    images = digits.SIZES[found(s.data)][1]
    if images < s.P:
        return f"There are {images} images to train on, and P = {s.P} is more: choose a smaller P."
    return None


def _too_large(s: Settings, held: int) -> str | None:
    need, free = memory(s), available_memory() + held
    if need > _SHARE * free:
        return (
            f"P = {s.P} samples of N = {s.N} numbers take {need / 1e6:.0f} MB, and there are "
            f"{max(free, 0) / 1e6:.0f} MB free here: choose a smaller P or N."
        )
    return None


_CHECKS: tuple[Callable[[Settings], str | None], ...] = (
    impossible_value, _unfit_manifold, _labels_from_nowhere, _too_few_images,
)  # fmt: skip


def memory(settings: Settings) -> int:
    """Bytes that the data set takes at most, while it is drawn: P + P* inputs, and as many Gaussian ones as P*."""
    s = settings
    if s.inputs == "digits" and found(s.data) == "mnist":
        # what is stored (one byte a pixel), once more in the order drawn, and all test images
        return s.N * (70_000 + s.P + 4 * (s.P + 10_000 + N_TEST))
    latent = s.n_latent if s.inputs == "structured" else 0
    return 4 * (s.N + latent) * (s.P + N_TEST) + 4 * s.N * N_TEST


def available_memory() -> float:
    """Bytes that this process can still get: what the machine has free, or less where a container sets a limit."""
    own = psutil.Process().memory_info().rss
    free = [psutil.virtual_memory().available]
    with suppress(ValueError):
        free.append(int(os.environ.get("MEM_LIMIT", "")) - own)
    with suppress(OSError, ValueError):
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text()) - own)
    return min(free)


# ---- the data set ------------------------------------------------------------------------------------------------


def dataset(settings: Settings, *, rng: np.random.Generator) -> Dataset:
    """The inputs and labels that the settings stand for; drawn in the order of `experiments.dataset`.

    A teacher has the students' g = erf, and v = 1 where only first layers are trained. Raises ValueError for settings
    that have a `problem`.
    """
    s = settings
    if wrong := problem(s):
        raise ValueError(wrong)
    if s.inputs == "digits":
        inputs = digits.load(found(s.data), n_train=s.P, rng=rng)
    elif s.inputs == "gaussian":
        inputs = datasets.gaussian(s.N, s.P, N_TEST, rng=rng)
    else:
        inputs = datasets.structured(s.f, s.N, s.n_latent, s.P, N_TEST, rng=rng)
    if s.task == "own":
        return datasets.labelled_task(inputs, "odd against even")
    seen = s.n_latent if s.task == "latent" else s.N
    teacher = random_network(seen, s.teacher_width, rng=rng, layers=s.layers)
    task = datasets.latent_task if s.task == "latent" else datasets.teacher_task
    return task(inputs, teacher, labels=s.labels)


# ---- in words ----------------------------------------------------------------------------------------------------

_TASKS = {"teacher": "teacher on inputs", "latent": "latent teacher", "own": "own labels"}
_LABELS = {"sign": "labels ±1", "real": "real labels"}
_LAYERS = {"both": "both layers", "first": "first layer"}


def _words(s: Settings) -> dict[str, str]:
    """Each thing that may differ between two trainings, as a legend says it; only those that mean something."""
    inputs = {"gaussian": "i.i.d. inputs", "structured": f"f = {s.f}", "digits": "8×8 digits"}[s.inputs]
    if s.inputs == "digits" and found(s.data) == "mnist":
        inputs = "MNIST"
    ratio = s.P / s.N
    words = {
        "inputs": inputs,
        "task": _TASKS[s.task],
        "labels": _LABELS[s.labels],
        "layers": _LAYERS[s.layers],
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
    """For each of several trainings what tells it from the others, as labels of a legend; all of them are different.

    The end of training tells nothing that a curve does not show, and counts only where nothing else differs.
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
    """The settings with everything forgotten that the data set does not depend on: equal for equal data."""
    plain, unused = Settings(), {"width", "lr", "time"} | without_meaning(settings)
    kept = {f.name for f in fields(Settings)} - unused
    known = replace(plain, **{name: getattr(settings, name) for name in kept})
    return replace(known, n_train=settings.P, data=found(settings.data) if settings.inputs == "digits" else "auto")
