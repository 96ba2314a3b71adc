"""datasets: inputs, their standardisation, and the tasks, against double precision and plain counting."""

import math
from html import escape

import numpy as np
import pytest
from helpers.sampling import SE, U, check_standard_normal, standardised

from hmm_utils.model import datasets
from hmm_utils.model.datasets import (
    Dataset,
    Inputs,
    from_arrays,
    gaussian,
    labelled_task,
    latent_task,
    random_task,
    standardise,
    structured,
    teacher_task,
)
from hmm_utils.model.networks import Network, random_network

# ---- Standardisation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slab", [1, 7, 300, 1024])
def test_standardise_takes_one_mean_and_one_deviation_of_the_whole_matrix(slab):
    """Columns keep their own means and widths relative to each other; nothing is done column by column."""
    rng = np.random.default_rng(71)
    columns = np.linspace(-3, 8, 11)
    x = (columns + (0.5 + np.abs(columns)) * rng.standard_normal((300, 11))).astype(np.float32)
    expected = standardised(x)
    ours = standardise(x, slab=slab)
    assert ours is x and ours.dtype == np.float32
    # each entry is rounded at the subtraction and at the division, and mean and deviation once each: a few U in all
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=8 * U)
    assert abs(ours.mean(dtype=float)) < 1e-6 and abs(ours.std(dtype=float) - 1) < 1e-5
    assert np.ptp(ours.mean(axis=0)) > 1 and np.ptp(ours.std(axis=0)) > 1, "the columns were made alike"


def test_standardise_sums_in_double_precision():
    """Pictures, most of whose entries are one and the same background, end with deviation 1 to rounding.

    In single precision equal squares are all rounded the same way as they are added up, and the errors do not cancel.
    """
    rng = np.random.default_rng(72)
    x = (rng.random((4096, 784)) * (rng.random((4096, 784)) < 0.19)).astype(np.float32)
    standardise(x)
    # what remains is the rounding of mean and deviation and of each entry, U each
    assert abs(x.mean(dtype=float)) < 4 * U
    assert abs(x.std(dtype=float) - 1) < 8 * U


@pytest.mark.parametrize("x", [np.full((3, 4), 0.1), np.zeros((3, 4)), [[1, 2], [np.nan, 4]], [[1, 2], [np.inf, 4]]])
def test_standardise_refuses_what_does_not_vary(x):
    """Constant or not finite inputs have no standard deviation to divide by."""
    with pytest.raises(ValueError, match="constant or not finite"), np.errstate(invalid="ignore"):
        standardise(np.array(x, dtype=np.float32))


# ---- Inputs ---------------------------------------------------------------------------------------------------------


def test_gaussian_inputs_are_standard_normal():
    """gaussian gives i.i.d. N(0, 1) inputs, training and test drawn independently."""
    inputs = gaussian(50, 2000, 1000, rng=np.random.default_rng(73))
    assert inputs.x_train.shape == (2000, 50) and inputs.x_test.shape == (1000, 50)
    assert inputs.x_train.dtype == inputs.x_test.dtype == np.float32
    assert (inputs.n_train, inputs.n_inputs) == (2000, 50)
    for x in (inputs.x_train, inputs.x_test):
        check_standard_normal(x)
        np.testing.assert_allclose([x.mean(dtype=float), x.std(dtype=float)], [0, 1], rtol=0, atol=1e-5)
        # neighbouring rows and columns are uncorrelated
        assert abs(np.mean(x[1:] * x[:-1], dtype=float)) < SE / math.sqrt(x.size)
        assert abs(np.mean(x[:, 1:] * x[:, :-1], dtype=float)) < SE / math.sqrt(x.size)
    overlap = np.mean(inputs.x_train[:1000] * inputs.x_test, dtype=float)
    assert abs(overlap) < SE / math.sqrt(inputs.x_test.size)


def make_structured(f, seed=74, n_inputs=60, n_latent=5, n_train=150, n_test=40):
    return structured(f, n_inputs, n_latent, n_train, n_test, rng=np.random.default_rng(seed))


def test_a_function_that_works_in_place_is_harmless():
    """A function that overwrites its argument gives the same inputs as one that does not."""
    inputs = make_structured(lambda u: np.tanh(u, out=u))
    np.testing.assert_array_equal(inputs.x_train, make_structured("tanh").x_train)


def test_latent_coordinates_and_features_are_standard_normal():
    """C and F are i.i.d. N(0, 1), and the test coordinates are new."""
    inputs = make_structured("sgn", n_inputs=300, n_latent=200, n_train=500, n_test=500)
    for z in (inputs.latent_train, inputs.latent_test, inputs.features):
        check_standard_normal(z)
    assert abs(np.mean(inputs.latent_train * inputs.latent_test, dtype=float)) < SE / math.sqrt(500 * 200)


SIZES = ("n_inputs", "n_train", "n_test")


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        *[(make, {name: 0}, f"{name} = 0: give a whole") for name in SIZES for make in ("structured", "gaussian")],
        ("structured", {"n_latent": 0}, "n_latent = 0: give a whole"),
        ("structured", {"f": "sign"}, "unknown f 'sign': choose one of sgn, relu"),
        ("structured", {"f": lambda u: u.sum(axis=1)}, r"f maps an array of shape \(9, 9\) to shape \(9,\)"),
        ("structured", {"f": lambda u: u[:, 1:]}, "f must act component-wise"),
    ],
)
def test_impossible_inputs_are_refused(make, arguments, message):
    """Sizes below 1, unknown names and functions that are not component-wise are refused."""
    plain = dict.fromkeys(SIZES, 9) | ({"n_latent": 2, "f": "sgn"} if make == "structured" else {})
    with pytest.raises(ValueError, match=message):
        getattr(datasets, make)(**(plain | arguments), rng=np.random.default_rng(0))


def test_inputs_and_labels_that_do_not_fit_are_refused():
    """Training and test inputs need the same N, and every input one label."""
    with pytest.raises(ValueError, match=r"\(5, 3\) but test inputs \(5, 4\)"):
        Inputs(x_train=np.zeros((5, 3)), x_test=np.zeros((5, 4)), description="")
    inputs = Inputs(x_train=np.zeros((5, 3)), x_test=np.zeros((4, 3)), description="")
    for y_train, y_test, shape in ((4, 4, r"\(4,\)"), (5, 5, r"\(5,\)"), ((5, 1), 4, r"\(5, 1\)")):
        with pytest.raises(ValueError, match=f"inputs have labels of shape {shape}"):
            Dataset(inputs=inputs, y_train=np.zeros(y_train), y_test=np.zeros(y_test), task="")


# ---- Tasks ----------------------------------------------------------------------------------------------------------


def test_teachers_that_do_not_fit_are_refused():
    """A latent task needs coordinates, and a teacher as many components as it takes. sgn(0) is +1."""
    inputs = gaussian(4, 10, 5, rng=np.random.default_rng(0))
    three, four = (random_network(n, 2, rng=np.random.default_rng(0)) for n in (3, 4))
    with pytest.raises(ValueError, match="Gaussian inputs have no latent coordinates"):
        latent_task(inputs, four)
    with pytest.raises(ValueError, match=r"this network takes \(P, 3\)"):
        teacher_task(inputs, three)
    np.testing.assert_array_equal(teacher_task(inputs, Network(four.W, 0 * four.v, four.activation)).y_train, 1)


def test_own_task_takes_the_labels_of_the_data():
    """The labels that came with the inputs are the task; without any there is none."""
    x, y = np.eye(3, dtype="f4"), np.array([1, -1, 1], "f4")
    dataset = labelled_task(Inputs(x_train=x, x_test=x[:2], description="", labels_train=y, labels_test=y[:2]))
    np.testing.assert_array_equal(np.concatenate([dataset.y_train, dataset.y_test]), np.concatenate([y, y[:2]]))
    with pytest.raises(ValueError, match="Gaussian inputs came without labels"):
        labelled_task(gaussian(4, 10, 5, rng=np.random.default_rng(0)))


@pytest.mark.parametrize("labels", ["sign", "real"])
def test_random_labels_know_nothing_of_the_inputs(labels):
    """Random labels are ±1 with equal probability, or N(0, 1), and uncorrelated with every component."""
    inputs = gaussian(6, 20_000, 10_000, rng=np.random.default_rng(76))
    dataset = random_task(inputs, labels=labels, rng=np.random.default_rng(77))
    for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        assert y.dtype == np.float32 and np.all(np.abs(x.T @ y / len(y)) < SE / math.sqrt(len(y)))
        if labels == "real":
            check_standard_normal(y)
        else:
            assert set(np.unique(y)) == {-1, 1} and abs(y.mean()) < SE / math.sqrt(len(y))
    assert "random task" in dataset.description


@pytest.mark.parametrize(
    "make",
    [
        lambda i, t: teacher_task(i, t, labels="signs"),
        lambda i, t: latent_task(i, t, labels="signs"),
        lambda i, t: random_task(i, labels="signs", rng=np.random.default_rng(0)),
        lambda i, t: from_arrays(np.eye(4), np.arange(4), labels="signs", rng=np.random.default_rng(0)),
    ],
    ids=["teacher", "latent", "random", "from_arrays"],
)
def test_unknown_kind_of_labels_is_refused(make):
    """labels is sign or real, for every task."""
    inputs = structured("sgn", 4, 4, 9, 9, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="labels = 'signs': choose one of sign, real"):
        make(inputs, random_network(4, 1, rng=np.random.default_rng(0)))


# ---- Own arrays -----------------------------------------------------------------------------------------------------


def numbered(n=50, shape=(6,), seed=78):
    """n samples of which y tells the number."""
    return np.random.default_rng(seed).normal(2, 3, (n, *shape)), np.arange(n)


@pytest.mark.parametrize(("fraction", "n_test"), [(0.2, 10), (0.5, 25), (0.02, 1), (0.97, 48), (0.333, 17)])
def test_split_keeps_every_sample_once(fraction, n_test):
    """Training and test set have the asked sizes, share no sample, and lose none; each input keeps its label."""
    x, y = numbered()
    dataset = from_arrays(x, y, labels="real", test_fraction=fraction, rng=np.random.default_rng(79))
    assert len(dataset.y_test) == n_test
    assert sorted([*dataset.y_train, *dataset.y_test]) == list(range(50))
    for part, labels in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        # two roundings of numbers below 4 deviations, and a deviation good to 1e-6 for a few hundred entries
        np.testing.assert_allclose(part, standardised(x[labels.astype(int)]), rtol=0, atol=1e-5)


def test_split_is_uniformly_random():
    """Over many splits every sample is in the test set equally often; one rng gives one split."""
    x, y = numbered(20)
    draws = 400
    splits = [from_arrays(x, y, labels="real", rng=np.random.default_rng(s)).y_test.astype(int) for s in range(draws)]
    counts = np.bincount(np.concatenate(splits), minlength=20)
    # each count is binomial with p = 0.2
    assert np.all(np.abs(counts - 0.2 * draws) < SE * math.sqrt(draws * 0.2 * 0.8))
    again = from_arrays(x, y, labels="real", rng=np.random.default_rng(0)).y_test
    np.testing.assert_array_equal(again, splits[0])


@pytest.mark.parametrize(("shape", "image"), [((6,), None), ((4, 5), (4, 5)), ((2, 3, 4), None)], ids=str)
def test_samples_of_any_shape_are_flattened(shape, image):
    """Everything behind the first axis is one input, read row by row; (samples, h, w) are images."""
    x, y = numbered(shape=shape)
    dataset = from_arrays(x, y, labels="real", rng=np.random.default_rng(80))
    assert dataset.inputs.image_shape == image
    ids = dataset.y_train.astype(int)
    expected = standardised(x[ids]).reshape(len(ids), -1)
    np.testing.assert_allclose(dataset.x_train, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("low", "high"), [("cat", "dog"), (0, 1), (False, True), (3, 7), (-1.0, 1.0), (0.25, 1e9)], ids=str
)
def test_two_classes_become_minus_and_plus_one(low, high):
    """The smaller of two values becomes −1, the larger +1, whatever their type."""
    x, number = numbered(40)
    truth = np.where(np.random.default_rng(81).random(40) < 0.5, -1, 1)
    dataset = from_arrays(x, np.where(truth == 1, high, low), rng=np.random.default_rng(82))
    by_number = from_arrays(x, number, labels="real", rng=np.random.default_rng(82))
    np.testing.assert_array_equal(dataset.y_train, truth[by_number.y_train.astype(int)])
    np.testing.assert_array_equal(dataset.y_test, truth[by_number.y_test.astype(int)])
    assert dataset.y_train.dtype == np.float32


def test_lists_are_accepted_and_arrays_unchanged():
    """Lists are as good as arrays, and the caller's arrays are not changed."""
    x, y = numbered(10)
    ours, lists = (
        from_arrays(*given, labels="real", name="ten points", rng=np.random.default_rng(0))
        for given in ((x, y), (x.tolist(), y.tolist()))
    )
    np.testing.assert_array_equal(x, numbered(10)[0])
    np.testing.assert_array_equal(ours.x_train, lists.x_train)
    assert ours.description == "ten points; own labels, real labels"


X, Y = np.random.default_rng(83).standard_normal((10, 3)), np.arange(10) % 2
BROKEN = np.where(np.arange(30).reshape(10, 3) == 4, np.nan, X)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X, Y[:9], {}, r"x has shape \(10, 3\) and y \(9,\)"),
        (X, Y[:, None], {}, r"y \(10, 1\)"),
        (BROKEN, Y, {}, "x holds values that are not finite"),
        (X, np.arange(10) % 3, {}, "y holds 3 different values: labels='sign' needs exactly two"),
        (X, np.zeros(10), {}, "y holds 1 different values"),
        (X, BROKEN[:, 1], {"labels": "real"}, "y holds values that are not finite"),
        (X, Y, {"test_fraction": 0}, "test_fraction = 0 leaves 10 training and 0 test samples of 10"),
        (X, Y, {"test_fraction": 1}, "leaves 0 training and 10 test samples"),
        (X, Y, {"test_fraction": 0.04}, "both parts need at least one"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x, y, options, message):
    """Every wrong input of from_arrays is refused with what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        from_arrays(x, y, **options, rng=np.random.default_rng(0))


# ---- How a data set shows itself ------------------------------------------------------------------------------------


def test_repr_holds_the_essentials():
    """The repr states inputs, task, N, P and P*; the table in a notebook also D, the teacher and moments of labels."""
    dataset = latent_task(make_structured("relu"), random_network(5, 2, rng=np.random.default_rng(0)))
    assert repr(dataset) == f"Dataset({dataset.description}; N=60, P=150, P*=40)"
    html = dataset._repr_html_()
    moments = f"mean {dataset.y_train.mean():+.2f}, standard deviation {dataset.y_train.std():.2f}"
    for text in ("f = relu", "latent task", ">60<", ">150<", ">40<", ">5<", "Network(K=2, N=5, g=erf)", moments):
        assert text in html
    assert "notice" not in html


def test_html_shows_the_notice_and_escapes_it():
    """What a reader must know is in the table; markup in names and notices is shown, not obeyed."""
    x, y = np.eye(2, dtype="f4"), np.ones(2, "f4")
    texts = {"description": "<b>bold</b> & brave", "notice": "<script>alert(1)</script>"}
    html = labelled_task(
        Inputs(x_train=x, x_test=x, labels_train=y, labels_test=y, **texts), task="x < y"
    )._repr_html_()
    assert all(escape(text) in html and text not in html for text in (*texts.values(), "x < y"))
    assert "D (latent)" not in html and "teacher" not in html


def test_data_say_what_they_are():
    """The kind of inputs and of the task are fields, and nothing is read from a description."""
    net, rng = random_network(5, 2, rng=np.random.default_rng(0)), np.random.default_rng(1)
    iid, manifold = gaussian(5, 4, 4, rng=rng), make_structured("relu")
    own = from_arrays(np.eye(5), np.arange(5), labels="real", rng=rng)
    tasks = {"teacher": teacher_task(iid, net), "latent": latent_task(manifold, net, labels="real"), "own": own}
    for kind, dataset in (tasks | {"random": random_task(iid, rng=rng)}).items():
        assert dataset.task_kind == kind and dataset.y_train.dtype == np.float32
        assert dataset.x_train is dataset.inputs.x_train and dataset.x_test is dataset.inputs.x_test
    assert [one.kind for one in (iid, manifold, own.inputs)] == ["gaussian", "structured", "own"]
    assert tasks["teacher"].teacher is tasks["latent"].teacher is net
    assert "teacher task, M = 2, labels ±1" in tasks["teacher"].description
    assert "latent task, M = 2, real labels" in tasks["latent"].description
