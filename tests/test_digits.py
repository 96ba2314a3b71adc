"""hmm_utils.data.digits: images, their labels and numbers, and what replaces MNIST where it is not available."""

import math
import re
from collections import Counter

import numpy as np
import pytest

from hmm_utils.data import digits, mnist

NEEDS_MNIST = pytest.mark.skipif(not mnist.is_available(), reason="the MNIST files are not in the data directory")


def small_digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def test_small_digits_are_complete_and_rightly_labelled():
    """The 8×8 digits: three quarters for training, the rest for testing, odd +1 and even −1, each image once."""
    pixels, digit = small_digits()
    odd = [1 if d in (1, 3, 5, 7, 9) else -1 for d in digit]
    known = Counter(zip((row.astype(int).tobytes() for row in pixels), odd, strict=True))
    inputs = digits.load("digits", rng=np.random.default_rng(84))
    assert inputs.x_train.shape == (1347, 64) and inputs.x_test.shape == (450, 64)
    assert inputs.x_train.dtype == inputs.labels_train.dtype == np.float32
    assert inputs.image_shape == (8, 8) and inputs.notice is None
    assert inputs.kind == "digits8x8" and "8×8" in inputs.description
    found = Counter()
    for x, y in ((inputs.x_train, inputs.labels_train), (inputs.x_test, inputs.labels_test)):
        assert abs(x.mean(dtype=float)) < 1e-5 and abs(x.std(dtype=float) - 1) < 1e-5
        # pixels run from 0 to 16 in both parts, which undoes the standardisation
        original = np.rint(16.0 * (x - x.min()) / np.ptp(x)).astype(int)
        found.update(zip((row.tobytes() for row in original), y.astype(int).tolist(), strict=True))
    assert found == known


def test_number_of_small_digits_can_be_chosen():
    """n_train takes the first of the same random order; the test set stays."""
    few, all_of_them = (digits.load("digits", n_train=n, rng=np.random.default_rng(85)) for n in (100, None))
    assert few.x_train.shape == (100, 64) and few.labels_train.shape == (100,)
    np.testing.assert_array_equal(few.labels_train, all_of_them.labels_train[:100])
    np.testing.assert_array_equal(few.x_test, all_of_them.x_test)
    again = digits.load("digits", n_train=100, rng=np.random.default_rng(85))
    np.testing.assert_array_equal(few.x_train, again.x_train)
    other = digits.load("digits", n_train=100, rng=np.random.default_rng(86))
    assert not np.array_equal(few.labels_train, other.labels_train)


@pytest.mark.parametrize(
    ("data", "n_train", "sentence"),
    [
        ("digits", 0, "n_train = 0: give a whole number of at least 1"),
        ("digits", 1348, "n_train must be between 1 and 1347 (8×8 digits), got 1348"),
        pytest.param("auto", 0, "n_train = 0: give", marks=NEEDS_MNIST),
        pytest.param("auto", 60_001, "n_train must be between 1 and 60000 (MNIST), got 60001", marks=NEEDS_MNIST),
        ("cifar", None, "data = 'cifar': choose one of auto, mnist, digits"),
    ],
)
def test_impossible_choices_are_refused(data, n_train, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        digits.load(data, n_train=n_train, rng=np.random.default_rng(0))


@pytest.fixture
def no_mnist(monkeypatch, tmp_path):
    """An empty data directory and no network."""
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HMM_OFFLINE", "1")


@pytest.mark.usefixtures("no_mnist")
def test_auto_falls_back_on_small_digits_with_a_notice():
    """Without MNIST, "auto" gives the 8×8 digits and says so and why, also when more was asked for than there are."""
    rng = np.random.default_rng
    inputs, plain = digits.load("auto", rng=rng(87)), digits.load("digits", rng=rng(87))
    np.testing.assert_array_equal(inputs.x_train, plain.x_train)
    assert "MNIST is not here, so 8×8 digits (N = 64) stand in" in inputs.notice and "HMM_OFFLINE" in inputs.notice
    assert digits.load("auto", n_train=59_584, rng=rng(87)).n_train == 1347
    assert digits.load("auto", n_train=10, rng=rng(87)).n_train == 10
    with pytest.raises(ValueError, match="n_train = 0"):
        digits.load("auto", n_train=0, rng=rng(87))


@pytest.mark.usefixtures("no_mnist")
def test_mnist_by_name_is_not_replaced():
    """Whoever asks for MNIST by name gets an error where it cannot be had, not other images."""
    with pytest.raises(mnist.DataError, match=r"MNIST file \S+ is missing"):
        digits.load("mnist", rng=np.random.default_rng(0))


@NEEDS_MNIST
def test_mnist_has_the_papers_size():
    """P = 76N = 59 584 different training images of N = 784 pixels, 10 000 test images, labels odd against even."""
    inputs = digits.load("mnist", rng=np.random.default_rng(88))
    assert inputs.x_train.shape == (59_584, 784) and inputs.x_test.shape == (10_000, 784)
    assert inputs.labels_train.shape == (59_584,) and inputs.labels_test.shape == (10_000,)
    assert inputs.x_train.dtype == inputs.labels_train.dtype == np.float32
    assert inputs.image_shape == (28, 28) and inputs.notice is None and inputs.kind == "mnist"
    for x in (inputs.x_train, inputs.x_test):
        assert abs(x.mean(dtype=float)) < 1e-5
        assert abs(np.linalg.norm(x.astype(float)) / math.sqrt(x.size) - 1) < 1e-5
    raw = mnist.load()
    np.testing.assert_array_equal(inputs.labels_test, np.array([-1, 1])[raw.y_test & 1])
    x_test = (raw.x_test[:100] - raw.x_test.mean(dtype=float)) / raw.x_test.std(dtype=float)
    np.testing.assert_allclose(inputs.x_test[:100], x_test, rtol=1e-5, atol=1e-5)
    # drawn without replacement: weighted sums of the pixels, 255 (x − min)/(max − min), tell all images apart
    weights = np.random.default_rng(89).integers(1, 1 << 40, 784).astype(float)
    low, high = inputs.x_train.min(), inputs.x_train.max()
    drawn = np.concatenate([np.rint(255.0 * (x - low) / (high - low)) @ weights for x in np.split(inputs.x_train, 76)])
    images = raw.x_train.astype(float) @ weights
    order = np.argsort(images)
    place = order[np.searchsorted(images, drawn, sorter=order)]
    np.testing.assert_array_equal(images[place], drawn)
    assert np.unique(place).size == 59_584
    np.testing.assert_array_equal(inputs.labels_train, np.array([-1, 1])[raw.y_train[place] & 1])


@NEEDS_MNIST
def test_auto_is_mnist_where_it_is():
    """With the files in place "auto" is MNIST."""
    inputs = digits.load("auto", n_train=500, rng=np.random.default_rng(88))
    assert inputs.x_train.shape == (500, 784) and inputs.x_test.shape == (10_000, 784) and inputs.notice is None


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"kind": "own", "inputs": "digits", "n_inputs": 64}, "own"),
        ({"inputs": "digits", "n_inputs": 64}, "digits8x8"),
        ({"inputs": "digits", "n_inputs": 784}, "mnist"),
        ({"inputs": "structured", "n_inputs": 64}, "structured"),
        ({}, None),
    ],
)
def test_kind_of_a_result(attributes, kind):
    """A result says the kind of its inputs; those stored before kinds existed are known by the set-up and N."""
    assert digits.kind_of(attributes) == kind


def test_sizes_are_those_of_the_data():
    assert digits.load("digits", rng=np.random.default_rng(0)).x_train.shape[::-1] == digits.SIZES["digits"]
    assert digits.SIZES["mnist"] == (math.prod(mnist.FILES["train-images-idx3-ubyte"][1][1:]), 60_000)
