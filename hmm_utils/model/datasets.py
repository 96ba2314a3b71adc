"""Data sets: inputs × task.

Inputs are i.i.d. Gaussian, structured (Eq. 6), handwritten digits (:mod:`hmm_utils.data.digits`), or your own arrays.
Tasks are a teacher on the inputs (Eq. 4), a teacher on the latent coordinates (Eq. 7), the labels of the data, or
random labels.

Inputs are standardised as in the paper's program: the mean of the whole matrix is subtracted and the result is divided
by the standard deviation of the whole matrix (the text says "covariance"), one number each, separately for training and
test inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import sqrt

import numpy as np
from jaxtyping import Float, Shaped

from hmm_utils.model import nonlinearities, parameters
from hmm_utils.model.networks import Network, sign
from hmm_utils.model.parameters import choice, whole

__all__ = [
    "LABELS", "Dataset", "Inputs", "from_arrays", "gaussian", "labelled_task", "latent_task", "random_task",
    "relabelled",
    "standardise", "structured", "teacher_task",
]  # fmt: skip

LABELS = ("sign", "real")


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """Training and test inputs, and their origin.

    Attributes
    ----------
    x_train, x_test : (P, N) and (P*, N) float32 arrays
        Standardised inputs.
    description : str
        One line.
    kind : {"gaussian", "structured", "mnist", "digits8x8", "own"}
    latent_train, latent_test : (P, D) and (P*, D) float32 arrays, optional
        Coordinates c on the manifold.
    features : (D, N) float32 array, optional
        F of Eq. (6).
    labels_train, labels_test : (P,) and (P*,) float32 arrays, optional
        Labels that came with the data.
    image_shape : (int, int), optional
        Rows and columns of inputs that are images.
    notice : str, optional
        A sentence for readers of results.
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
        """Number of inputs N."""
        return self.x_train.shape[1]

    @property
    def n_train(self) -> int:
        """Number of training samples P."""
        return len(self.x_train)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Inputs with the labels of one task.

    Attributes
    ----------
    inputs : Inputs
    y_train, y_test : (P,) and (P*,) float32 arrays
    task : str
        One line on the origin of the labels.
    task_kind : {"teacher", "latent", "own", "random"}
        "own": labels that came with the data.
    teacher : Network, optional
        The network that labels.
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
        """Training inputs (P, N)."""
        return self.inputs.x_train

    @property
    def x_test(self) -> np.ndarray:
        """Test inputs (P*, N)."""
        return self.inputs.x_test

    @property
    def description(self) -> str:
        """Inputs and task in one line."""
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


def standardise(x: Float[np.ndarray, "P N"], slab: int = 1024) -> Float[np.ndarray, "P N"]:
    """Subtract the mean of the whole matrix and divide by its standard deviation, in place.

    Sums are accumulated in double precision over slabs, so that no second matrix of this size is needed.

    Returns
    -------
    (P, N) float array
        The argument.

    Raises
    ------
    ValueError
        For a matrix whose entries are all equal or not all finite.
    """
    x -= x.mean(dtype=np.float64).astype(x.dtype)
    slabs = (x[start : start + slab] for start in range(0, len(x), slab))
    variance = sum(float(np.sum(np.square(part, dtype=np.float64))) for part in slabs) / x.size
    if not np.isfinite(variance) or variance <= 1e-30:
        raise ValueError("the inputs are constant or not finite: standardising needs finite values that vary.")
    x /= x.dtype.type(sqrt(variance))
    return x


def gaussian(n_inputs: int, n_train: int, n_test: int, *, rng: np.random.Generator) -> Inputs:
    """Draw i.i.d. inputs x ~ N(0, I_N): the inputs of the vanilla teacher–student set-up, Section 2.1."""
    N, sizes = whole("n_inputs", n_inputs), (parameters.n_train(n_train), whole("n_test", n_test))
    x_train, x_test = (standardise(rng.standard_normal((n, N), dtype=np.float32)) for n in sizes)
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
    """Draw inputs on a hidden manifold, Eq. (6).

    With C (P, D) and F (D, N) i.i.d. N(0, 1)::

        X = f(CF/√D)

    Parameters
    ----------
    f : str or callable
        A name from :data:`hmm_utils.model.nonlinearities.NONLINEARITIES`, or any function that acts component-wise on
        arrays.
    n_inputs, n_latent, n_train, n_test : int
        N, D, P and P*.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        For an unknown name, a size below 1, or an f that does not map arrays component-wise.
    """
    sizes = {"n_inputs": n_inputs, "n_latent": n_latent, "n_train": n_train, "n_test": n_test}
    for name, size in sizes.items():
        whole(name, size)
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


def _labelled(labels: str) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Map from real outputs to labels, and its description."""
    return (sign, "labels ±1") if choice("labels", labels, LABELS) == "sign" else (lambda phi: phi, "real labels")


def teacher_task(inputs: Inputs, teacher: Network, *, labels: str = "sign") -> Dataset:
    """Labels of a teacher on the inputs, Eq. (4): y* = φ(x; θ*), or its sign.

    Parameters
    ----------
    inputs : Inputs
    teacher : Network
        Drawn at random, or trained before.
    labels : {"sign", "real"}
    """
    return _of_teacher(inputs, teacher, labels, "teacher", (inputs.x_train, inputs.x_test))


def latent_task(inputs: Inputs, teacher: Network, *, labels: str = "sign") -> Dataset:
    """Labels of a teacher on the coordinates c of the manifold, Eq. (7): ỹ* = φ(c; θ̃*), or its sign.

    Parameters
    ----------
    inputs : Inputs
    teacher : Network
        Takes the D latent coordinates.
    labels : {"sign", "real"}

    Raises
    ------
    ValueError
        If the inputs have no latent coordinates.
    """
    if inputs.latent_train is None or inputs.latent_test is None:
        raise ValueError(f"{inputs.description} have no latent coordinates: a latent task needs structured inputs.")
    return _of_teacher(inputs, teacher, labels, "latent", (inputs.latent_train, inputs.latent_test))


def relabelled(dataset: Dataset, labels: str) -> Dataset:
    """Make the same inputs and teacher into a data set with the other kind of labels, {"sign", "real"}.

    Raises
    ------
    ValueError
        If no teacher labels the data set.
    """
    if dataset.teacher is None:
        raise ValueError(f"{dataset.description}: only a teacher's labels can be real numbers or their signs.")
    task = latent_task if dataset.task_kind == "latent" else teacher_task
    return task(dataset.inputs, dataset.teacher, labels=labels)


def _of_teacher(
    inputs: Inputs, teacher: Network, labels: str, kind: str, seen: tuple[np.ndarray, np.ndarray]
) -> Dataset:
    label, described = _labelled(labels)
    y_train, y_test = (label(teacher(z)) for z in seen)
    task = f"{kind} task, M = {teacher.width}, {described}"
    return Dataset(inputs=inputs, y_train=y_train, y_test=y_test, task=task, task_kind=kind, teacher=teacher)


def labelled_task(inputs: Inputs, task: str = "the labels of the data") -> Dataset:
    """Labels that came with the data; raises ValueError if there are none."""
    if inputs.labels_train is None or inputs.labels_test is None:
        raise ValueError(f"{inputs.description} came without labels: choose a teacher, latent or random task.")
    return Dataset(inputs=inputs, y_train=inputs.labels_train, y_test=inputs.labels_test, task=task)


def random_task(inputs: Inputs, *, labels: str = "sign", rng: np.random.Generator) -> Dataset:
    """Draw labels without any rule: ±1 with equal probability, or N(0, 1) if they are real."""
    label, described = _labelled(labels)
    y_train, y_test = (label(rng.standard_normal(len(x), dtype=np.float32)) for x in (inputs.x_train, inputs.x_test))
    task = f"random task, {described}"
    return Dataset(inputs=inputs, y_train=y_train, y_test=y_test, task=task, task_kind="random")


def from_arrays(
    x: Shaped[np.ndarray, " ..."] | Sequence,
    y: Shaped[np.ndarray, " ..."] | Sequence,
    *,
    labels: str = "sign",
    test_fraction: float = 0.2,
    name: str = "own data",
    rng: np.random.Generator,
) -> Dataset:
    """Split your own arrays at random into a training and a test set, and standardise the inputs.

    Parameters
    ----------
    x : (samples, …) array
        One input per index of the first axis; images (samples, rows, columns) can be shown.
    y : (samples,) array
        For ``labels="sign"`` two different values, of which the smaller becomes −1 and the larger +1; for
        ``labels="real"`` any finite numbers, which are used as they are.
    labels : {"sign", "real"}
    test_fraction : float
        The part of the samples that is reserved for testing.
    name : str
        Description of the inputs.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If lengths differ, values are not finite, y does not fit ``labels``, or a part would be empty.
    """
    _, described = _labelled(labels)
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
    return labelled_task(inputs, task=f"own labels, {described}")
