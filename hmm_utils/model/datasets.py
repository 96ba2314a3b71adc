"""Data sets = inputs × task.

Inputs: i.i.d. Gaussian, structured (Eq. 6), handwritten digits (`hmm_utils.data.digits`), or your own arrays. Tasks: a
teacher acting on the inputs (Eq. 4), a teacher acting on the latent coordinates (Eq. 7), the labels the data came with,
or random labels.

Inputs are standardised as the paper's program does it: the mean of the whole matrix is subtracted and the result is
divided by the standard deviation of the whole matrix (the text says "covariance"), one number each, separately for
training and test inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from math import sqrt

import numpy as np

from hmm_utils.model import nonlinearities
from hmm_utils.model.networks import Network, sign

__all__ = [
    "LABELS",
    "Dataset",
    "Inputs",
    "from_arrays",
    "gaussian",
    "labelled_task",
    "latent_task",
    "random_task",
    "standardise",
    "structured",
    "teacher_task",
]

LABELS = ("sign", "real")


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """Training and test inputs, and what is known about where they came from.

    x_train, x_test            (P, N), (P*, N) float32, standardised
    description                one line
    kind                       "gaussian", "structured", "mnist", "digits8x8" or "own"
    latent_train, latent_test  (P, D), (P*, D): coordinates c on the manifold, if there is one
    features                   (D, N): F of Eq. (6), if there is one
    labels_train, labels_test        (P,), (P*,): the labels that came with the data, if any did
    image_shape                how to show an input as a picture, if it is one
    notice                     what a reader must be told about these inputs, if anything
    """

    x_train: np.ndarray
    x_test: np.ndarray
    description: str
    kind: str = "own"
    latent_train: np.ndarray | None = None
    latent_test: np.ndarray | None = None
    features: np.ndarray | None = None
    labels_train: np.ndarray | None = None
    labels_test: np.ndarray | None = None
    image_shape: tuple[int, int] | None = None
    notice: str | None = None

    def __post_init__(self) -> None:
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"training inputs have shape {self.x_train.shape} but test inputs {self.x_test.shape}: "
                "both must have the same number of components."
            )

    @property
    def n_inputs(self) -> int:
        """N"""
        return self.x_train.shape[1]

    @property
    def n_train(self) -> int:
        """P"""
        return len(self.x_train)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Inputs with the labels of one task.

    inputs            see `Inputs`
    y_train, y_test   (P,), (P*,) float32
    task              one line on where the labels come from
    task_kind         the same in a word: "teacher", "latent", "own" (the labels of the data) or "random"
    teacher           the network that labels, if one does
    """

    inputs: Inputs
    y_train: np.ndarray
    y_test: np.ndarray
    task: str
    task_kind: str = "own"
    teacher: Network | None = None

    def __post_init__(self) -> None:
        for x, y in ((self.x_train, self.y_train), (self.x_test, self.y_test)):
            if y.shape != (len(x),):
                raise ValueError(f"{len(x)} inputs have labels of shape {y.shape}: give one label per input.")

    @property
    def x_train(self) -> np.ndarray:
        return self.inputs.x_train

    @property
    def x_test(self) -> np.ndarray:
        return self.inputs.x_test

    @property
    def description(self) -> str:
        return f"{self.inputs.description}; {self.task}"

    def __repr__(self) -> str:
        i = self.inputs
        return f"Dataset({self.description}; N={i.n_inputs}, P={i.n_train}, P*={len(i.x_test)})"

    def _repr_html_(self) -> str:
        i = self.inputs
        rows = {
            "inputs": i.description,
            "task": self.task,
            "N (components)": i.n_inputs,
            "P (training)": i.n_train,
            "P* (test)": len(i.x_test),
            "labels": f"mean {self.y_train.mean():+.2f}, standard deviation {self.y_train.std():.2f}",
        }
        if i.features is not None:
            rows["D (latent)"] = len(i.features)
        if self.teacher is not None:
            rows["teacher"] = repr(self.teacher)
        if i.notice:
            rows["notice"] = i.notice
        body = "".join(
            f"<tr><th style='text-align:left'>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in rows.items()
        )
        return f"<table>{body}</table>"


def standardise(x: np.ndarray, slab: int = 1024) -> np.ndarray:
    """(x − mean) / standard deviation of the whole matrix, in place on a float32 matrix; returns x.

    Sums are carried in double precision over slabs, so that no second matrix of this size is needed.
    Raises ValueError for a matrix whose entries are all equal or not all finite.
    """
    x -= x.mean(dtype=np.float64).astype(x.dtype)
    slabs = (x[start : start + slab] for start in range(0, len(x), slab))
    variance = sum(float(np.sum(np.square(part, dtype=np.float64))) for part in slabs) / x.size
    if not np.isfinite(variance) or variance <= 1e-30:
        raise ValueError("the inputs are constant or not finite: standardising needs finite values that vary.")
    x /= x.dtype.type(sqrt(variance))
    return x


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} = {value}: give at least 1.")


def gaussian(n_inputs: int, n_train: int, n_test: int, *, rng: np.random.Generator) -> Inputs:
    """i.i.d. inputs x ~ N(0, I_N): the inputs of the vanilla teacher–student set-up, Section 2.1."""
    _positive(n_inputs=n_inputs, n_train=n_train, n_test=n_test)
    x_train, x_test = (standardise(rng.standard_normal((n, n_inputs), dtype=np.float32)) for n in (n_train, n_test))
    return Inputs(x_train=x_train, x_test=x_test, description="i.i.d. Gaussian inputs", kind="gaussian")


def structured(
    f: str | Callable[[np.ndarray], np.ndarray],
    n_inputs: int,
    n_latent: int,
    n_train: int,
    n_test: int,
    *,
    rng: np.random.Generator,
) -> Inputs:
    """Inputs on a hidden manifold, X = f(CF/√D), Eq. (6), with C (P, D) and F (D, N) i.i.d. N(0, 1).

    f  a name from NONLINEARITIES or any function that acts component-wise on arrays

    Raises ValueError for an unknown name, a size below 1, or an f that does not map arrays component-wise.
    """
    _positive(n_inputs=n_inputs, n_latent=n_latent, n_train=n_train, n_test=n_test)
    f = nonlinearities.get(f)
    F = rng.standard_normal((n_latent, n_inputs), dtype=np.float32)
    C_train, C_test = (rng.standard_normal((n, n_latent), dtype=np.float32) for n in (n_train, n_test))

    def inputs(C: np.ndarray, slab: int = 4096) -> np.ndarray:
        x = np.empty((len(C), n_inputs), dtype=np.float32)
        for start in range(0, len(C), slab):
            u = C[start : start + slab] @ F / np.float32(sqrt(n_latent))
            values = np.asarray(f(u))
            if values.shape != u.shape:
                raise ValueError(
                    f"f maps an array of shape {u.shape} to shape {values.shape}: f must act component-wise."
                )
            x[start : start + slab] = values
        return standardise(x)

    return Inputs(
        x_train=inputs(C_train),
        x_test=inputs(C_test),
        description=f"structured inputs X = f(CF/√D) with f = {f.name}, D = {n_latent}",
        kind="structured",
        latent_train=C_train,
        latent_test=C_test,
        features=F,
    )


def _check_labels(labels: str) -> None:
    if labels not in LABELS:
        raise ValueError(f"labels = {labels!r}: choose one of {', '.join(LABELS)}.")


def _taught(teacher: Network, labels: str, on: np.ndarray) -> np.ndarray:
    phi = teacher(on)
    return sign(phi) if labels == "sign" else phi


def _described(labels: str) -> str:
    return "labels ±1" if labels == "sign" else "real labels"


def teacher_task(inputs: Inputs, teacher: Network, *, labels: str = "sign") -> Dataset:
    """y* = φ(x; θ*), Eq. (4), or its sign: a function of the inputs. The teacher may be a network trained before."""
    _check_labels(labels)
    return Dataset(
        inputs=inputs,
        y_train=_taught(teacher, labels, inputs.x_train),
        y_test=_taught(teacher, labels, inputs.x_test),
        task=f"teacher task, M = {teacher.width}, {_described(labels)}",
        task_kind="teacher",
        teacher=teacher,
    )


def latent_task(inputs: Inputs, teacher: Network, *, labels: str = "sign") -> Dataset:
    """ỹ* = φ(c; θ̃*), Eq. (7), or its sign: a function of the coordinates c (P, D) on the manifold alone.

    Raises ValueError if the inputs have no latent coordinates.
    """
    _check_labels(labels)
    if inputs.latent_train is None or inputs.latent_test is None:
        raise ValueError(f"{inputs.description} have no latent coordinates: a latent task needs structured inputs.")
    return Dataset(
        inputs=inputs,
        y_train=_taught(teacher, labels, inputs.latent_train),
        y_test=_taught(teacher, labels, inputs.latent_test),
        task=f"latent task, M = {teacher.width}, {_described(labels)}",
        task_kind="latent",
        teacher=teacher,
    )


def labelled_task(inputs: Inputs, task: str = "the labels of the data") -> Dataset:
    """The task that the inputs' own labels set. Raises ValueError if they came without labels."""
    if inputs.labels_train is None or inputs.labels_test is None:
        raise ValueError(f"{inputs.description} came without labels: choose a teacher, latent or random task.")
    return Dataset(inputs=inputs, y_train=inputs.labels_train, y_test=inputs.labels_test, task=task)


def random_task(inputs: Inputs, *, labels: str = "sign", rng: np.random.Generator) -> Dataset:
    """Labels without any rule: ±1 with equal probability, or N(0, 1) if real. Nothing can be generalised from them."""
    _check_labels(labels)
    draws = [rng.standard_normal(len(x), dtype=np.float32) for x in (inputs.x_train, inputs.x_test)]
    y_train, y_test = (sign(y) if labels == "sign" else y for y in draws)
    task = f"random task, {_described(labels)}"
    return Dataset(inputs=inputs, y_train=y_train, y_test=y_test, task=task, task_kind="random")


def from_arrays(
    x: np.ndarray,
    y: np.ndarray,
    *,
    labels: str = "sign",
    test_fraction: float = 0.2,
    name: str = "own data",
    rng: np.random.Generator,
) -> Dataset:
    """A data set from your own arrays, split at random into training and test set and standardised as all others.

    x              (samples, …): everything behind the first axis is one input; images (samples, h, w) can be shown
    y              (samples,): for labels="sign" two different values, the smaller becoming −1 and the larger +1; for
                   labels="real" any finite numbers, used as they are
    test_fraction  the part of the samples kept for testing

    Raises ValueError if lengths differ, values are not finite, y does not fit `labels`, or a part would be empty.
    """
    _check_labels(labels)
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"x has shape {x.shape} and y {y.shape}: give x as (samples, …) and y as (samples,).")
    image_shape = x.shape[1:] if x.ndim == 3 else None
    flat = x.reshape(len(x), -1).astype(np.float32)
    if not np.isfinite(flat).all():
        raise ValueError("x holds values that are not finite: remove or fill them first.")
    if np.issubdtype(y.dtype, np.number) and not np.isfinite(y).all():
        raise ValueError("y holds values that are not finite: remove or fill them first.")
    if labels == "sign":
        values = np.unique(y)
        if len(values) != 2:
            raise ValueError(
                f"y holds {len(values)} different values: labels='sign' needs exactly two, "
                "labels='real' takes any numbers."
            )
        y = np.where(y == values[1], 1, -1)
    y = y.astype(np.float32)
    n_test = round(test_fraction * len(x))
    if not 1 <= n_test <= len(x) - 1:
        raise ValueError(
            f"test_fraction = {test_fraction} leaves {len(x) - n_test} training and {n_test} test samples of {len(x)}: "
            "both parts need at least one."
        )
    order = rng.permutation(len(x))
    train, test = order[n_test:], order[:n_test]
    inputs = Inputs(
        x_train=standardise(flat[train]),
        x_test=standardise(flat[test]),
        description=name,
        labels_train=y[train],
        labels_test=y[test],
        image_shape=image_shape,
    )
    return labelled_task(inputs, task=f"own labels, {_described(labels)}")
