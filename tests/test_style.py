"""What holds for every figure of the package: it can be printed at its width and read there, every axis and every
series has a name, bars and bands say what they are, and colour-blind readers can tell the colours apart."""

import itertools
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers.directions import pair_of_students
from helpers.figures import closed  # noqa: F401
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.text import Text
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from hmm_utils import figures
from hmm_utils.claims import validity
from hmm_utils.data import digits
from hmm_utils.figures import deep_generators, dynamics, paper_figures, style
from hmm_utils.model import datasets, networks
from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.runs import archive, comparison, deep, dimension, measurements, paper, scan
from hmm_utils.theory import directions
from hmm_utils.theory.online import equivalence

RNG = np.random.default_rng(8)


@pytest.fixture(autouse=True)
def styled(closed):  # noqa: F811
    figures.use_style()


# ---- colours -----------------------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes (2009), full severity, on linear RGB
SEEN = {
    "normal": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "protanopia": [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    "deuteranopia": [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881],
    "tritanopia": [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900],
}


def lab(colour, seen):
    """CIELAB (D65) of a colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.reshape(SEEN[seen], (3, 3)) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.array([1 / 0.9505, 1, 1 / 1.089]) * (to_xyz @ linear)
    f = [np.cbrt(t) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def closest(colours, seen):
    """The smallest distance ΔE*ab of two colours; 2.3 is just noticeable side by side."""
    return min(np.linalg.norm(lab(a, seen) - lab(b, seen)) for a, b in itertools.combinations(colours, 2))


@pytest.mark.parametrize("seen", SEEN)
def test_colours_can_be_told_apart(seen):
    """Any two of the nine, and better those of Fig. 1, of labels on the latent plane, and of lines on white."""
    assert closest(style.COLOURS, seen) > 15
    assert closest([figures.BLUE, figures.ORANGE, figures.GREEN], seen) > (16 if seen == "tritanopia" else 35)
    assert closest([figures.BLUE, figures.ORANGE, "#dcdcdc"], seen) > 40  # labels of the latent plane
    assert min(closest([colour, "white"], seen) for colour in style.COLOURS[:-1]) > 25


def test_the_style_sheet_cycles_through_the_colours():
    cycle = [to_hex(entry["color"]) for entry in mpl.rcParams["axes.prop_cycle"]]
    assert cycle == [colour.lower() for colour in style.COLOURS]


# ---- every figure ------------------------------------------------------------------------------------------------


def stored(name):
    """What is stored of a measurement at the paper's scale."""
    return measurements.load(name, "paper", archive.FOLDER)


def drawn_from_results():
    """The stored results of all ten figures, and measurements on them."""
    planned = {name: e for name, e in paper.plan().items() if name.startswith("fig")}
    results = {name: archive.load(archive.FOLDER, name, e) for name, e in planned.items()}
    points = scan.load(archive.FOLDER)
    mnist, overfit = validity.like_mnist(points), validity.overfits(points)
    (measured,) = stored(dimension.NAME).values()
    yield from ((name, getattr(paper_figures, name)(results)) for name in paper_figures.__all__)
    yield "independent_students", figures.independent_students({"one": results["fig3_left"]})
    curves = {layers: results[f"fig2_left_iid/{layers}"] for layers in ("first", "both")}
    yield "learning_curves", figures.learning_curves({"one": curves}, ends=True)
    yield "intrinsic_dimension", figures.intrinsic_dimension({"quick": measured, "stored, paper": measured})
    yield "intrinsic_dimension", figures.intrinsic_dimension({"quick": measured})
    yield "overlaps", figures.overlaps({f"time {t}": RNG.standard_normal((3, 4)) for t in (1, 10, 100)})
    yield "scan_map", figures.scan_map(mnist)
    yield "scan_lines", figures.scan_lines(mnist, overfit)
    yield "scan_overfitting", figures.scan_overfitting(overfit)


def drawn_from_data():
    def folded(N, *names):
        return {f: datasets.structured(f, N, 2, 60, 5, rng=np.random.default_rng(1)) for f in names}

    inputs = folded(64, *NONLINEARITIES)
    labeller = networks.random_network(2, 1, rng=RNG)
    kinds = {"handwritten digits": digits.load("digits", rng=RNG)}
    kinds |= {"i.i.d. Gaussian": datasets.gaussian(64, 9, 9, rng=RNG)} | {f"f = {f}": x for f, x in inputs.items()}
    yield "samples", figures.samples(kinds)
    yield "spectra", figures.spectra(inputs)
    for names in (("identity", "relu", "tanh"), ("identity", "sgn", "relu", "tanh")):
        some = folded(3, *names)
        labels = {f: datasets.latent_task(x, labeller).y_train for f, x in some.items()}
        yield "manifold", figures.manifold(some, labels)
    for f in ("sgn", "relu"):
        latent = datasets.latent_task(inputs[f], labeller)
        taught = datasets.teacher_task(inputs[f], networks.random_network(64, 4, rng=RNG), labels="real")
        yield "model", figures.model(latent, taught, f)
    found = directions.compare(*pair_of_students())
    yield "first_layers", figures.first_layers(found, (3, 4))
    yield "parts", figures.parts(found)
    yield "weights", figures.weights({f"student {s}": RNG.standard_normal((4, 12)) for s in (1, 2)}, (3, 4))
    teacher = {"the teacher's first layer, second layer [1.2 -0.3 0.4]": RNG.standard_normal((8, 12))}
    yield "weights", figures.weights(teacher, (3, 4))


def drawn_from_theory():
    samples = {f"sgn, $N = {N}$": equivalence.local_fields("sgn", N, 4, n_samples=200, rng=RNG) for N in (20, 40, 80)}
    yield "histograms", dynamics.histograms(samples)
    converging = equivalence.convergence(("sgn", "relu"), (20, 40), ratio=0.1, n_samples=200, n_draws=2, seed=1)
    yield "gaussianity", dynamics.gaussianity(converging)
    of_motion = stored(comparison.NAME)
    compared = [result for name, result in of_motion.items() if "/simulation/" in name]
    for n in (1, 3, 6):
        yield "trajectories", dynamics.trajectories(dict(zip("abcdef"[:n], compared, strict=False)))
    yield "overlaps", dynamics.overlaps(dict(zip("abc", compared, strict=False)))
    yield "averaging", dynamics.averaging(compared[0])
    sizes = {name: result for name, result in of_motion.items() if "/scaling/" in name}
    yield "scaling", dynamics.scaling({"quick": sizes, "stored, paper": sizes})
    for name in ("error_against_delta", "error_against_width", "plateaus"):
        yield name, getattr(dynamics, name)(of_motion[f"t1/{name}"])
    t = np.geomspace(0.1, 100, 9)
    curve = xr.Dataset({"eps_g_mse": ("time", 1 / t)}, {"time": t}, attrs={"delta": 0.1})
    yield "starts", dynamics.starts([curve, 2 * curve], curve)
    yield "limit", dynamics.limit({"$D/N = 0.1$": (curve, curve), "$D/N = 0.5$": (curve, curve)})

    (generated,) = stored(deep.NAME).values()
    yield "images", deep_generators.images({"one": np.zeros((8, 3, 4, 4)), "two": np.zeros((8, 5, 6))})
    for name in ("spectra", "fields", "learning", "propagation"):
        yield name, getattr(deep_generators, name)(generated)
    yield "against_gaussianity", deep_generators.against_gaussianity(deep.summary(generated))


OF_DATA = {"samples", "spectra", "manifold", "model", "first_layers", "parts", "weights"}
DRAWING = {name for name in figures.__all__ if callable(getattr(figures, name))} - {"save", "use_style"}
SETS = {
    "results": (drawn_from_results, {*paper_figures.__all__, *DRAWING} - OF_DATA),
    "data": (drawn_from_data, OF_DATA),
    "theory": (drawn_from_theory, {*dynamics.__all__, *deep_generators.__all__}),
}


def panels(fig):
    """Axes with data, and not colour bars, pictures or what is switched off."""

    def is_plot(axis):
        return axis.has_data() and axis.axison and not axis.images and axis.get_label() != "<colorbar>"

    axes = [axis for axis in fig.axes if is_plot(axis)]
    return axes + [inside for axis in axes for inside in axis.child_axes]


def shares(fig, axis, other, side):
    """Whether two panels stand in one column (side 0) or row (side 1)."""
    spans = [panel.get_position().get_points()[:, side] for panel in (axis, other)]
    return np.allclose(*spans, atol=0.02)


def curves(axis):
    """Lines with more than two points, error bars included; not the marks across a whole panel."""
    return [line for line in axis.lines if len(np.atleast_1d(line.get_xdata())) > 2]


def check(name, fig):
    fig.draw_without_rendering()
    width = fig.get_figwidth()
    assert width in (style.COLUMN, style.PAGE), f"{name}: {width} in is not a width that is printed"

    for text in fig.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            assert text.get_fontsize() >= style.FOOTNOTE, f"{name}: {text.get_text()!r} has {text.get_fontsize()} pt"
    names = (text for axis in fig.axes for text in (axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label))
    placed = []
    for text in [*fig.texts, *names]:
        # what stands at the axes of a box in perspective has no place on the page before it is rendered
        if text.get_text().strip() and text.get_visible() and not isinstance(text.axes, Axes3D):
            box = text.get_window_extent().padded(-1)
            inside = box.x0 >= 0 and box.x1 <= fig.bbox.width and box.y0 >= 0 and box.y1 <= fig.bbox.height
            assert inside, f"{name}: {text.get_text()!r} leaves the figure"
            for other, its_box in placed:
                assert not box.overlaps(its_box), f"{name}: {text.get_text()!r} lies on {other!r}"
            placed.append((text.get_text(), box))

    plots = panels(fig)
    for axis in plots:
        ticks = [t.label1.get_window_extent() for t in axis.xaxis.get_major_ticks() if t.label1.get_visible()]
        ticks = [box for box in ticks if axis.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axis.bbox.x1 + 1]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(ticks, 2)), f"{name}: tick labels overlap"
        inset = axis not in fig.axes
        for side, of in ((0, "xlabel"), (1, "ylabel")):
            kin = [axis] if inset or isinstance(axis, Axes3D) else [a for a in fig.axes if shares(fig, axis, a, side)]
            # in the figure of the model, the name of f stands above its graph
            assert any(getattr(a, f"get_{of}")() for a in kin) or name == "model", f"{name}: a panel has no {of}"
    legends = [*fig.legends, *(axis.get_legend() for axis in plots if axis.get_legend())]
    lines = [line for legend in legends for line in legend.findobj(Line2D)]
    named = {to_hex(line.get_color()) for line in lines}
    for axis in plots:
        colours = {to_hex(line.get_color()) for line in curves(axis)}
        if len(colours) > 1:
            assert colours <= named or name in COLOURS_ARE_DRAWS, f"{name}: {colours - named} are in no legend"

    said = " ".join(" ".join(text.get_text() for text in fig.findobj(Text)).lower().split())
    bars = any(isinstance(c, ErrorbarContainer) for axis in plots for c in axis.containers)
    bands = any(
        isinstance(c, PolyCollection) and not isinstance(c, Poly3DCollection) and not c.get_hatch()
        for axis in plots for c in axis.collections
    )  # fmt: skip
    if bars:
        stated = r"bars: ± 1 standard error over|means over simulations with bars of ± 1 standard error"
        assert re.search(stated, said), f"{name}: what are the bars?"
    if bands:
        assert re.search(r"bands: (16 % to 84 % of runs|± 1 standard error)", said), f"{name}: what are the bands?"


COLOURS_ARE_DRAWS = {"learning", "scaling"}  # whose footnotes say so


@pytest.mark.parametrize("which", SETS)
def test_every_figure_can_be_read_in_print(which):
    """Each function that draws is in one of the sets."""
    names = set()
    for name, fig in SETS[which][0]():
        check(name, fig)
        names.add(name)
        plt.close(fig)
    assert names == SETS[which][1]
