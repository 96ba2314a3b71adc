"""Results with random errors, and what a figure of them shows."""

from functools import cache

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from hmm_utils.runs import experiments

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
TINY = dict(
    n_inputs=10, n_latent=3, widths=(1, 2, 5), n_pairs=3, n_draws=2, time=3, n_times=5, n_test=20, data="digits"
)


@pytest.fixture(autouse=True)
def closed():
    """Every test starts in the default style and leaves no figure open."""
    with mpl.rc_context():
        yield
        plt.close("all")


@cache
def _trained(name, **overrides):
    return experiments.run_experiment(experiments.experiment(name, **overrides), progress=False)


def random_result(name="fig1_right", seed=0, **overrides):
    """A real result of a tiny run in which every error is replaced by a random number."""
    result, rng = _trained(name, **(TINY | overrides)), np.random.default_rng(seed)
    errors = [key for key in result.data_vars if key.startswith("eps_")]
    return result.assign({key: result[key].copy(data=rng.uniform(0.05, 0.45, result[key].shape)) for key in errors})


def bars(axis, only=None):
    """(colour, marker) → (x, y, lower and upper ends of the bars) of each series, or only of that with a label."""
    series = {}
    for container in axis.containers:
        if only not in (None, container.get_label()):
            continue
        line, _, (collection,) = container.lines
        x, y = np.asarray(line.get_data(), dtype=float)
        low, high = np.array([segment[:, 1] for segment in collection.get_segments()]).T
        series[to_hex(line.get_color()), line.get_marker()] = (x, y, low, high)
    return series


def words(fig):
    """All text below the panels, with line breaks taken out."""
    return " ".join(fig._supxlabel.get_text().split())


def labels(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def images(axis):
    return [np.ma.filled(image.get_array(), np.nan) for image in axis.images]
