"""hmm_utils.figures.pictures and layers: the points, pixels and numbers that are drawn are those of the data."""

import numpy as np
import pytest
from helpers.directions import pair_of_students
from helpers.figures import BLUE, ORANGE, closed, images, words  # noqa: F401
from matplotlib.colors import to_hex

from hmm_utils.data import digits
from hmm_utils.figures import layers, pictures
from hmm_utils.model import datasets, networks
from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.theory import directions

# ---- samples -----------------------------------------------------------------------------------------------------


def test_samples():
    """The first n inputs of each kind are drawn as images, one column per kind, on one grey scale that is stated."""
    rng = np.random.default_rng(1)
    kinds = {
        "digits": digits.load("digits", rng=rng),
        "gauss": datasets.gaussian(24, 5, 5, rng=rng),
        "prime": datasets.gaussian(13, 5, 5, rng=rng),
        "own": datasets.from_arrays(rng.standard_normal((9, 2, 12)), np.arange(9), labels="real", rng=rng).inputs,
    }
    fig = pictures.samples(kinds, n=3)
    columns = np.array(fig.axes).reshape(3, 4).T
    for column, (label, kind), shape in zip(columns, kinds.items(), ((8, 8), (4, 6), (1, 13), (2, 12)), strict=True):
        assert column[0].get_title() == label
        for axis, x in zip(column, kind.x_train, strict=False):
            (image,) = images(axis)
            np.testing.assert_array_equal(image, x.reshape(shape))
            assert axis.images[0].get_clim() == (-2, 2)
            assert list(axis.get_xticks()) == list(axis.get_yticks()) == []
    assert "−2 (white) to 2 (black)" in words(fig) and columns[0, 0].images[0].get_cmap().name == "gray_r"


def test_fewer_samples_than_asked_for():
    """With fewer inputs than places the others stay empty."""
    fig = pictures.samples({"few": datasets.gaussian(9, 2, 2, rng=np.random.default_rng(1))}, n=4)
    assert [len(axis.images) for axis in fig.axes] == [1, 1, 0, 0]


# ---- the model ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sgn", "relu"])
def tasks(request):
    """The latent and the teacher task on the same inputs with D = 2, and their f."""
    rng = np.random.default_rng(2)
    inputs = datasets.structured(request.param, 36, 2, 40, 5, rng=rng)
    latent = datasets.latent_task(inputs, networks.random_network(2, 1, rng=rng))
    taught = datasets.teacher_task(inputs, networks.random_network(36, 4, rng=rng), labels="real")
    return latent, taught, request.param


def test_the_model_is_drawn_from_real_numbers(tasks):
    """The points of the plane, the rows of F, CF/√D, the input and both labels of the three that are followed."""
    latent, taught, f = tasks
    inputs, shown = latent.inputs, (3, 0, 7)
    fig = pictures.model(latent, taught, f, shown=shown)
    plane, *others = fig.axes
    (points,) = plane.collections
    np.testing.assert_array_equal(points.get_offsets(), inputs.latent_train)
    colours = [to_hex(colour) for colour in points.get_facecolor()]
    assert colours == [ORANGE if y > 0 else BLUE for y in latent.y_train] and len(set(colours)) == 2
    marked = [tuple(np.concatenate(line.get_data())) for line in plane.lines]
    assert marked == [tuple(inputs.latent_train[i]) for i in shown]

    drawn = [image.ravel() for axis in others for image in images(axis)]
    flat = inputs.latent_train @ inputs.features / np.sqrt(2)
    expected = [*inputs.features, *(picture for i in shown for picture in (flat[i], inputs.x_train[i]))]
    for image, x in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(image, x, rtol=1e-6)
    (bend,) = (axis.lines[0] for axis in others if axis.lines)
    np.testing.assert_array_equal(bend.get_ydata(), NONLINEARITIES[f](bend.get_xdata()))

    said = [text.get_text() for text in fig.texts]
    framed = {(t.get_text(), to_hex(t.get_bbox_patch().get_facecolor())) for t in fig.texts if t.get_bbox_patch()}
    for i in shown:
        for y, form in ((latent.y_train[i], "+.0f"), (taught.y_train[i], "+.2f")):
            assert (format(y, form).replace("-", "−"), ORANGE if y > 0 else BLUE) in framed
    text = " ".join(said)
    assert all(f"Eq. ({number})" in text for number in (4, 6, 7)) and f"by $f$ = {f}" in text
    # labels ±1 are signs of φ, real ones are φ
    assert r"\tilde y^*=\mathrm{sgn}\,\phi(" in text and r"$y^*=\phi(" in text


# ---- the manifold ------------------------------------------------------------------------------------------------


def test_manifold():
    """The latent plane shows the coordinates and their labels; beside it are three input components for each f."""
    inputs = {f: datasets.structured(f, 4, 2, 30, 5, rng=np.random.default_rng(2)) for f in ("identity", "tanh")}
    colours = {f: np.random.default_rng(i).standard_normal(30) for i, f in enumerate(inputs)}
    plane, *boxes = pictures.manifold(inputs, colours).axes
    (points,) = plane.collections
    np.testing.assert_array_equal(points.get_offsets(), inputs["identity"].latent_train)
    np.testing.assert_array_equal(points.get_array(), colours["identity"])
    assert len(boxes) == 2
    for box, (f, kind) in zip(boxes, inputs.items(), strict=True):
        assert box.get_title() == f"after: $f$ = {f}"
        points = box.collections[-1]
        order = np.lexsort(kind.x_train[:, 2::-1].T)
        np.testing.assert_allclose(np.array(points._offsets3d).T, kind.x_train[order, :3], rtol=1e-6)
        np.testing.assert_allclose(points.get_array(), colours[f][order])
        assert [axis() for axis in (box.get_xlabel, box.get_ylabel, box.get_zlabel)] == ["$x_1$", "$x_2$", "$x_3$"]


def test_inputs_that_fall_on_each_other():
    """For f = sgn there is a dot per corner, with the mean label, the larger the more inputs it stands for, no sheet
    between corners, and the figure says so."""
    inputs = datasets.structured("sgn", 3, 2, 300, 5, rng=np.random.default_rng(3))
    y = np.sign(np.random.default_rng(4).standard_normal(300))
    fig = pictures.manifold({"sgn": inputs}, {"sgn": y})
    (dots,) = fig.axes[1].collections
    corners = [tuple(corner) for corner in np.array(dots._offsets3d).T]
    members = [(inputs.x_train == np.array(corner, np.float32)).all(1) for corner in corners]
    assert len(corners) == 6 and sum(map(sum, members)) == 300
    np.testing.assert_allclose(dots.get_array(), [y[chosen].mean() for chosen in members])
    assert np.array_equal(np.argsort(dots.get_sizes()), np.argsort([chosen.sum() for chosen in members]))
    assert "area by their number" in words(fig) and "orange +1, blue −1" in words(fig)


def test_the_sheet_has_the_colour_of_its_labels():
    """Between the points of a flat sheet lie triangles with the mean label of their corners."""
    inputs = datasets.structured("identity", 3, 2, 200, 5, rng=np.random.default_rng(3))
    sheet = pictures.manifold({"identity": inputs}, {"identity": np.ones(200)}).axes[1].collections[0]
    assert len(sheet.get_array()) > 200 and np.all(sheet.get_array() == 1)


# ---- first layers ------------------------------------------------------------------------------------------------


def test_weights():
    """Each row of a first layer is an image on a scale symmetric around zero; shorter layers leave places empty."""
    rng = np.random.default_rng(3)
    networks = {"one": rng.standard_normal((3, 12)), "two": rng.standard_normal((2, 12))}
    rows = np.array(layers.weights(networks, (3, 4)).axes).reshape(2, 3)
    for row, (label, W) in zip(rows, networks.items(), strict=True):
        assert row[0].get_title(loc="left") == label
        assert [len(axis.images) for axis in row] == [k < len(W) for k in range(3)]
        for axis, w in zip(row, W, strict=False):
            np.testing.assert_array_equal(images(axis)[0], w.reshape(3, 4))
            low, high = axis.images[0].get_clim()
            assert low == -high and high >= np.abs(w).max()
        assert not any(axis.axison for axis in row)


def test_first_layers():
    """A row for before, for after and for each part that has directions; a column per unit of either student; below
    the pictures of student 2 the cosine with those of student 1."""
    found = directions.compare(*pair_of_students())
    fig = layers.first_layers(found, (3, 4), units=2)
    rows = np.array(fig.axes).reshape(5, 4)
    whole = found["W"].sum("part")
    expected = [whole.sel(when="start"), whole.sel(when="end")]
    expected += [found["W"].sel(part=part, when="end") for part in directions.PARTS]
    for row, W in zip(rows, expected, strict=True):
        for s in range(2):
            for k in range(2):
                (image,) = images(row[2 * s + k])
                np.testing.assert_allclose(image.ravel(), W.isel(student=s, hidden=k))
        for k in range(2):
            one, two = W.isel(hidden=k).values
            cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
            assert row[2 + k].get_xlabel() == f"cosine {cosine:+.2f}".replace("-", "−")
    assert [axis.get_title() for axis in rows[0]] == [
        "student 1,\nunit 1", "student 1,\nunit 2", "student 2,\nlike unit 1", "student 2,\nlike unit 2",
    ]  # fmt: skip


def test_a_part_without_directions_has_no_row():
    start, end, _ = pair_of_students()
    x = np.random.default_rng(5).standard_normal((50, 12))  # fills all directions
    found = directions.compare(start, end, x)
    assert int(found["n_directions"].sel(part="none")) == 0
    assert len(layers.first_layers(found, (3, 4)).axes) == 4 * 6
    layers.parts(found).draw_without_rendering()


def test_parts():
    """Rings before and dots after training: shares of |w|², what is left of the start, what the students share."""
    found = directions.compare(*pair_of_students())
    fig = layers.parts(found)
    for axis, name in zip(fig.axes, ("weight", "cosine_start_end", "cosine_students"), strict=True):
        marks = {"start": "D", "end": "o"} if name != "cosine_start_end" else {"end": "o"}
        values = np.abs(found[name]) if name == "cosine_students" else found[name]
        for when, marker in marks.items():
            drawn = np.concatenate([line.get_ydata() for line in axis.lines if line.get_marker() == marker])
            now = values.sel(when=when) if "when" in values.dims else values
            expected = np.concatenate([now.sel(part=part).values.ravel() for part in directions.PARTS])
            np.testing.assert_allclose(drawn, expected)
        assert len(axis.get_xticklabels()) == 3 and axis.get_ylabel()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["before training", "after training"]
