"""Images of handwritten digits as inputs: MNIST, or the 8×8 digits that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hmm_utils.model import parameters
from hmm_utils.model.datasets import Inputs, standardise

__all__ = ["DATA", "SIZES", "kind_of", "load"]

DATA = ("auto", "mnist", "digits")

# mnist is imported where it is needed: its download brings libraries that take longer to import than the rest

SIZES = {"mnist": (784, 60_000), "digits": (64, 1347)}
"""N, and the number of images for training."""


def load(data: str = "auto", *, n_train: int | None = None, rng: np.random.Generator) -> Inputs:
    """Images with labels of their own, −1 for even and +1 for odd digits.

    Parameters
    ----------
    data : {"auto", "mnist", "digits"}
        "mnist" for the 28×28 images of MNIST (N = 784), "digits" for the 8×8 images of scikit-learn (N = 64), "auto"
        for MNIST where it is available and the 8×8 images, with a notice, elsewhere.
    n_train : int, optional
        P, drawn without replacement. By default 76N = 59 584 images of MNIST, whose 10 000 test images are the test
        set, or three quarters of the 1797 images of scikit-learn, the rest of which are the test set.
    rng : numpy.random.Generator

    Returns
    -------
    Inputs
        Standardised images with ``labels_train``, ``labels_test`` and ``image_shape``.

    Raises
    ------
    ValueError
        For an unknown ``data`` or an impossible ``n_train``.
    hmm_utils.data.mnist.DataError
        If MNIST is asked for by name and is not available.
    """
    if parameters.choice("data", data, DATA) == "digits":
        return _small(n_train, rng)
    from hmm_utils.data import mnist

    try:
        images = mnist.load()
    except mnist.DataError as missing:
        if data == "mnist":
            raise
        # n_train may be meant for MNIST
        n_train = None if n_train is None else min(n_train, SIZES["digits"][1])
        return _small(n_train, rng, f"MNIST is not here, so 8×8 digits (N = 64) stand in. {missing}")
    n_images = len(images.x_train)
    P = parameters.n_train(76 * 784 if n_train is None else n_train, n_images, "MNIST")
    train = rng.permutation(n_images)[:P]
    x, y = (images.x_train[train], images.x_test), (images.y_train[train], images.y_test)
    return _inputs(x, y, description="MNIST images", kind="mnist", image_shape=(28, 28))


def _small(n_train: int | None, rng: np.random.Generator, notice: str | None = None) -> Inputs:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    available = 3 * len(x) // 4
    P = parameters.n_train(available if n_train is None else n_train, available, "8×8 digits")
    order = rng.permutation(len(x))
    train, test = order[:P], order[available:]
    about = {"description": "8×8 handwritten digits", "kind": "digits8x8", "image_shape": (8, 8), "notice": notice}
    return _inputs((x[train], x[test]), (y[train], y[test]), **about)


def _inputs(x: tuple[np.ndarray, ...], digit: tuple[np.ndarray, ...], **about: Any) -> Inputs:
    x_train, x_test = (standardise(images.astype(np.float32)) for images in x)
    y_train, y_test = (np.where(d % 2 == 1, 1, -1).astype(np.float32) for d in digit)
    return Inputs(x_train=x_train, x_test=x_test, labels_train=y_train, labels_test=y_test, **about)


def kind_of(attributes: Mapping[Any, Any]) -> str | None:
    """Kind of inputs, see :class:`~hmm_utils.model.datasets.Inputs`, of a result with these attributes.

    Results that were stored before they held it have the name of a set-up's inputs, and images differ in N.
    """
    if "kind" in attributes or attributes.get("inputs") != "digits":
        return attributes.get("kind", attributes.get("inputs"))
    return "digits8x8" if attributes["n_inputs"] == SIZES["digits"][0] else "mnist"
