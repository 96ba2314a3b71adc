"""hmm_utils.figures: what is drawn is asserted on the arrays of the plots, not on pictures."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.figures import BLUE, GREEN, ORANGE, bars, closed, images, labels, random_result, words  # noqa: F401
from matplotlib.colors import to_hex
from matplotlib.image import imread

from hmm_utils import figures
from hmm_utils.model import datasets
from hmm_utils.model.observables import early_stopping, final
from hmm_utils.runs import dimension, experiments


def by_hand(values):
    """Mean and standard error over the first axis."""
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


# ---- independent students ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "kind"), [(final, "gaussian"), (final, "mnist"), (early_stopping, "digits8x8")])
def test_three_series_against_width(value, kind):
    """Blue dots are ε_g averaged over pairs, draws and initialisations, green diamonds ε₁,₂ on Gaussian inputs, orange
    crosses ε₁,₂ on test inputs, at the last time or where each student is best, against K, with bars of one standard
    error over runs. Legend and axis name them: hats for early stopping, and MNIST only where it was MNIST."""
    result = random_result().assign_attrs(kind=kind)
    (axis,) = figures.independent_students({"": result}, value=value).axes

    def numbers(errors, *student):
        curves = errors.transpose(*student, "draw", "init", "width", "time").values
        return curves[..., -1] if value is final else curves.min(-1)

    hat = r"\epsilon" if value is final else r"\hat\epsilon"
    inputs = "MNIST images" if kind == "mnist" else "test inputs"
    eps_12 = result["eps_12_frac"]
    expected = {
        (BLUE, "o"): (rf"${hat}_g$", numbers(result["eps_g_frac"], "student").mean(0)),
        (GREEN, "D"): (rf"${hat}_{{1,2}}$, Gaussian inputs", numbers(eps_12.sel(inputs="gauss"))),
        (ORANGE, "x"): (rf"${hat}_{{1,2}}$, {inputs}", numbers(eps_12.sel(inputs="test"))),
    }
    drawn, (handles, texts) = bars(axis), axis.get_legend_handles_labels()
    assert drawn.keys() == expected.keys() and labels(axis) == texts
    named = {to_hex(handle.lines[0].get_color()): text for handle, text in zip(handles, texts, strict=True)}
    for key, (name, values) in expected.items():
        mean, error = by_hand(values.reshape(6, 3))
        np.testing.assert_allclose(drawn[key], [[1, 2, 5], mean, mean - error, mean + error], rtol=1e-12)
        assert named[key[0]] == name
    early = "" if value is final else r", early stopping $\hat\epsilon$"
    assert axis.get_ylabel() == f"fractional error{early}"


def test_a_panel_per_result():
    """Each result has its own panel, with its key as title, K on the x axis and all data in view."""
    results = {"one": random_result(), "two": random_result("fig3_left", seed=1, widths=(2, 7))}
    axes = figures.independent_students(results).axes
    assert [axis.get_title() for axis in axes] == ["one", "two"]
    for axis, result in zip(axes, results.values(), strict=True):
        assert axis.get_xlabel() == "$K$"
        np.testing.assert_array_equal(axis.get_xticks(), result["width"])
        bottom, top = axis.get_ylim()
        assert bottom == 0 and top > max(high.max() for *_, high in bars(axis).values())


def test_a_row_per_value():
    """Fig. 9: the end of training above the best of it, a column per result with its title on top, one scale per
    column, K below; each panel is the one that its row and column draw alone."""
    results = {"one": random_result(), "two": random_result("fig3_left", seed=1)}
    results["two"] = results["two"].assign(eps_g_frac=results["two"]["eps_g_frac"] / 2)
    values = [final, early_stopping]
    fig = figures.independent_students(results, value=values)
    rows = np.array(fig.axes).reshape(2, 2)
    assert [axis.get_title() for axis in fig.axes] == ["one", "two", "", ""]
    assert [axis.get_xlabel() for axis in fig.axes] == ["", "", "$K$", "$K$"]
    for row, value in zip(rows, values, strict=True):
        for axis, expected in zip(row, figures.independent_students(results, value=value).axes, strict=True):
            assert labels(axis) == labels(expected) and axis.get_ylabel() == expected.get_ylabel()
            np.testing.assert_equal(bars(axis), bars(expected))
    for column in rows.T:
        assert len({axis.get_ylim() for axis in column}) == 1
        assert column[0].get_ylim()[1] > max(high.max() for axis in column for *_, high in bars(axis).values())
    assert words(fig).count("one: ") == 1


def test_diverged_students_are_left_out():
    """A pair that diverged enters neither the mean nor the standard error."""
    result = random_result(n_draws=1)
    gone = (result["init"] == 1) & (result["width"] == 2) & (result["time"] > 0.2)
    result = result.assign({key: result[key].where(~gone) for key in ("eps_g_frac", "eps_12_frac")})
    (axis,) = figures.independent_students({"": result}).axes
    drawn = np.array(bars(axis)[ORANGE, "x"])
    mean, error = by_hand(result["eps_12_frac"].sel(inputs="test", width=2, init=[0, 2]).values[0, :, -1])
    assert drawn[:, 1] == pytest.approx([2, mean, mean - error, mean + error]) and np.isfinite(drawn).all()


def test_one_perfect_run():
    """A single run has points without bars; errors of zero lie at the bottom of a panel, and are not magnified."""
    result = random_result(n_draws=1, n_pairs=1)
    zeros = result.assign({key: result[key] * 0 for key in ("eps_g_frac", "eps_12_frac")})
    (axis,) = figures.independent_students({"": zeros}).axes
    assert not np.any([numbers for _, *numbers in bars(axis).values()])
    assert axis.get_ylim()[0] == 0 and axis.get_ylim()[1] > 0.01


def test_inset_holds_learning_curves():
    """The inset of Fig. 4 draws ε_g^mse of both modes against time, dashed where the first layer alone is trained, with
    logarithmic time, inside the last panel."""
    first, both = (random_result(layers=layers, seed=i, widths=(4,)) for i, layers in enumerate(("first", "both")))
    fig = figures.independent_students({"": random_result()}, inset={"K = 4": {"first": first, "both": both}})
    (axis,) = fig.axes
    (small,) = axis.child_axes
    assert small.get_xscale() == "log"
    for line, result, style in zip(small.lines, (first, both), ("--", "-"), strict=True):
        assert line.get_linestyle() == style
        np.testing.assert_array_equal(line.get_xdata(), result["time"][1:])
        np.testing.assert_allclose(line.get_ydata(), curve(result, 4), rtol=1e-12)
    assert bars(axis).keys() == {(BLUE, "o"), (GREEN, "D"), (ORANGE, "x")}
    (axis,) = figures.independent_students({"": random_result()}, inset={}).axes
    assert axis.child_axes == []


# ---- learning curves ---------------------------------------------------------------------------------------------


def curve(result, width):
    """ε_g^mse at t > 0, averaged over all students."""
    values = result["eps_g_mse"].sel(width=width).transpose("time", "draw", "init", "student").values[1:]
    return values.reshape(len(values), -1).mean(1)


@pytest.fixture
def modes():
    """Two labels with both layer modes each."""
    return {
        label: {layers: random_result(layers=layers, seed=seed + i) for i, layers in enumerate(("first", "both"))}
        for seed, label in ((0, "teacher"), (10, "latent"))
    }


def test_learning_curves(modes):
    """Each label has a colour; lines are means over all students at t > 0, dashed where the first layer alone is
    trained and solid where both are; once with a linear and once with a logarithmic error axis, always against ln t."""
    axes = figures.learning_curves(modes, width=2).axes
    assert [(axis.get_xscale(), axis.get_yscale()) for axis in axes] == [("log", "linear"), ("log", "log")]
    for axis in axes:
        assert axis.get_xlabel() == r"time $t$ = steps / $N$" and "mse" in axis.get_ylabel()
        drawn = {(to_hex(line.get_color()), line.get_linestyle()): line for line in axis.lines}
        assert len(axis.lines) == len(drawn) == 4
        for colour, label in ((BLUE, "teacher"), (ORANGE, "latent")):
            for style, layers in (("--", "first"), ("-", "both")):
                line, result = drawn[colour, style], modes[label][layers]
                np.testing.assert_array_equal(line.get_xdata(), result["time"][1:])
                np.testing.assert_allclose(line.get_ydata(), curve(result, 2), rtol=1e-12)
                name = line.get_label()
                assert name.startswith(f"{label}, ") and (layers in name)
    assert axes[0].get_ylim()[0] == 0
    assert labels(axes[0]) == [line.get_label() for line in axes[0].lines]


def test_bands_are_quantiles(modes):
    """Bands reach from the 16 % to the 84 % quantile of all students."""
    fig = figures.learning_curves({"teacher": {"both": modes["teacher"]["both"]}}, width=5)
    values = modes["teacher"]["both"]["eps_g_mse"].sel(width=5).transpose("time", ...).values[1:].reshape(-1, 12)
    low, high = np.quantile(values, [0.16, 0.84], axis=1)
    for axis in fig.axes:
        (band,) = axis.collections
        np.testing.assert_allclose(np.unique(band.get_paths()[0].vertices[:, 1]), np.unique([low, high]), rtol=1e-9)
        assert to_hex(band.get_facecolor()[0]) == BLUE
    assert "bands: 16 % to 84 % of runs." in words(fig)


def test_ends_are_marked():
    """Fig. 7: a thin dotted line over the whole width at the height where each curve ends, in its colour, beside the
    curves; none unless asked for. The third label is green."""
    results = {label: {"first": random_result(widths=(3,), seed=seed)} for seed, label in enumerate("abc")}
    without = figures.learning_curves(results).axes
    for axis, plain in zip(figures.learning_curves(results, ends=True).axes, without, strict=True):
        assert [to_hex(line.get_color()) for line in plain.lines] == [BLUE, ORANGE, GREEN]
        for line, mark, before in zip(axis.lines[:3], axis.lines[3:], plain.lines, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), before.get_ydata())
            assert set(mark.get_ydata()) == {line.get_ydata()[-1]}
            assert list(mark.get_xdata()) == [0, 1] and mark.get_linestyle() == ":"
            assert mark.get_color() == line.get_color() and mark.get_linewidth() < line.get_linewidth()
    assert labels(figures.learning_curves(results, ends=True).axes[0]) == labels(without[0])


# ---- the note below ----------------------------------------------------------------------------------------------


def drawn(kind, results):
    """A figure of students against K or of learning curves."""
    if kind == "students":
        return figures.independent_students(results)
    return figures.learning_curves({label: {"both": result} for label, result in results.items()}, width=2)


@pytest.mark.parametrize("kind", ["students", "curves"])
def test_scale_and_notices_are_stated(kind):
    """Below the panels stands the scale of each result by its name, a notice of its data once, and what bars are."""
    notice = "These are not the digits you are looking for."
    results = {"left": random_result("fig1_left").assign_attrs(notice=notice), "right": random_result("fig3_right")}
    results["again"] = results["left"]
    text = words(drawn(kind, results))
    for label, result in results.items():
        assert f"{label}: {experiments.scale_note(result)}" in text
    assert text.count(notice) == 1 and re.search(r"16 %|standard error", text)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_text_below_is_not_wider_than_the_figure(n, monkeypatch):
    """What stands below the panels, here the long notice that MNIST is missing, is broken into lines that fit."""
    monkeypatch.setenv("HMM_OFFLINE", "1")
    monkeypatch.setenv("HMM_DATA_DIR", "nowhere")
    figures.use_style()
    result = random_result("fig1_left", data="auto")
    assert result.attrs["notice"] and result.attrs["n_inputs"] == 64
    fig = figures.independent_students({label: result for label in "abc"[:n]})
    fig.draw_without_rendering()
    assert fig._supxlabel.get_window_extent().x1 <= fig.bbox.width


# ---- overlaps and spectra ----------------------------------------------------------------------------------------


def test_overlaps():
    """Overlap matrices are drawn as they are, students down and teachers across, on one scale around zero."""
    rng = np.random.default_rng(4)
    matrices = {"early": rng.normal(0, 0.1, (2, 3)), "late": rng.normal(0, 1, (2, 3))}
    *panels, bar = figures.overlaps(matrices).axes
    most = np.abs(matrices["late"]).max()
    for axis, (title, R) in zip(panels, matrices.items(), strict=True):
        assert axis.get_title() == title
        np.testing.assert_array_equal(images(axis)[0], R)
        assert axis.images[0].get_clim() == bar.get_ylim() == (-most, most)
        np.testing.assert_array_equal(axis.get_xticks(), range(3))
        np.testing.assert_array_equal(axis.get_yticks(), range(2))
    assert "k" in panels[0].get_ylabel() and "m" in panels[0].get_xlabel() and bar.get_ylabel() == "$R_{km}$"


def test_spectra():
    """The eigenvalues of the covariance are drawn in falling order against their rank, on logarithmic axes."""
    rng = np.random.default_rng(5)
    kinds = {"wide": datasets.gaussian(6, 50, 5, rng=rng), "folded": datasets.structured("sgn", 8, 2, 50, 5, rng=rng)}
    (axis,) = figures.spectra(kinds).axes
    assert labels(axis) == ["wide", "folded"]
    for line, kind in zip(axis.lines, kinds.values(), strict=True):
        values = np.linalg.eigvalsh(np.cov(kind.x_train.T.astype(float), bias=True))[::-1]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, kind.n_inputs + 1))
        # float32 inputs: singular values to 1e-6 of the largest
        np.testing.assert_allclose(line.get_ydata(), values, rtol=0, atol=1e-5 * values[0])


# ---- style and files ---------------------------------------------------------------------------------------------


def test_save_writes_png_and_pdf(tmp_path):
    """`save` writes a PNG and a PDF with embedded TrueType fonts into a new folder `figures`, and nothing else."""
    fig, axis = plt.subplots(figsize=(2, 1), dpi=100)
    axis.plot([1, 2])
    figures.save(fig, "a", tmp_path / "new")
    pdf, png = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert (pdf, png) == tuple(tmp_path / "new" / "figures" / name for name in ("a.pdf", "a.png"))
    assert imread(png).shape[:2] == (100, 200)
    assert pdf.read_bytes().startswith(b"%PDF") and b"/Type3" not in pdf.read_bytes()


@pytest.fixture(scope="module")
def measured():
    """A measurement on small digits, in which every dimension is replaced by a random number."""
    c = dimension.Configuration(n_images=250, n_subsamples=4, neighbours=(2, 10, 20), data="digits", seed=1)
    result, rng = dimension.measure(c, progress=False), np.random.default_rng(7)
    return result.assign(dimension=result["dimension"].copy(data=rng.uniform(4, 13, result["dimension"].shape)))


def test_dimension_against_neighbours(measured):
    """A solid curve per estimator for digits and a dotted one for structured inputs, with bars of one standard error
    over subsamples; a line at 14, all in view, and a ring where an estimator has its usual neighbourhood."""
    other = measured.assign(dimension=measured["dimension"] + 1).assign_attrs(notice="No MNIST.", images_used=99)
    fig = figures.intrinsic_dimension({"one": measured, "two": other})
    looks = {"MLE": (BLUE, "o", 20), "TwoNN": (GREEN, "D", 2), "CorrInt": (ORANGE, "s", 20)}
    assert [axis.get_title() for axis in fig.axes] == ["one", "two"]
    for axis, result in zip(fig.axes, (measured, other), strict=True):
        names = {container.get_label(): container.lines[0].get_linestyle() for container in axis.containers}
        assert names == {f"{name}{inputs}": style for name in looks for inputs, style in (("", "-"), (", D = 14", ":"))}
        rings = [line for line in axis.lines if line.get_markersize() == 13]
        for i, (name, (colour, marker, k)) in enumerate(looks.items()):
            for inputs, label in (("digits", name), ("structured", f"{name}, D = 14")):
                drawn = bars(axis, only=label)[colour, marker]
                mean, error = by_hand(
                    result["dimension"].sel(inputs=inputs, estimator=name).transpose("subsample", ...).values
                )
                np.testing.assert_allclose(drawn, [[2, 10, 20], mean, mean - error, mean + error], rtol=1e-12)
            usual = float(result["dimension"].sel(inputs="digits", estimator=name, neighbours=k).mean())
            assert (*rings[i].get_xydata()[0], to_hex(rings[i].get_color())) == (k, pytest.approx(usual), colour)
        bottom, top = axis.get_ylim()
        assert bottom == 0 and top > 14
        assert [14, 14] in [list(line.get_ydata()) for line in axis.lines]
    text = words(fig)
    assert "one: 8×8 digits instead of MNIST; 4 × 250 images" in text and "× 99 images" in text and "No MNIST." in text


def test_dimension_without_the_usual_neighbourhood(measured):
    """Where subsamples are too small for an estimator's usual neighbourhood it has no ring."""
    (axis,) = figures.intrinsic_dimension({"": measured.sel(neighbours=[2, 10])}).axes
    rings = [line for line in axis.lines if line.get_markersize() == 13]
    assert [len(ring.get_xdata()) for ring in rings] == [0, 1, 0]


def test_a_figure_that_cannot_be_saved_leaves_the_earlier_file(tmp_path, monkeypatch):
    fig = plt.figure()
    figures.save(fig, "a", tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}

    def broken(path, **_):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(fig, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        figures.save(fig, "a", tmp_path)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}


def test_save_writes_nothing_without_a_folder(tmp_path, monkeypatch):
    """out="" writes nothing."""
    monkeypatch.chdir(tmp_path)
    figures.save(plt.figure(), "a", "")
    assert list(tmp_path.iterdir()) == []
