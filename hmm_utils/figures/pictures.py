"""Pictures of the data: the hidden manifold model, inputs, and the manifold before and after the non-linearity f.

Every point, pixel and number shown comes from data that were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from matplotlib.tri import Triangulation
from mpl_toolkits.mplot3d import Axes3D

from hmm_utils.figures.style import BLUE, FOOTNOTE, ORANGE, PAGE, SMALL, Look, footnote, heading
from hmm_utils.model.datasets import Dataset, Inputs
from hmm_utils.model.nonlinearities import NONLINEARITIES

__all__ = ["manifold", "model", "picture", "samples"]

_GREY: Look = {"cmap": "gray_r", "vmin": -2, "vmax": 2}
_GREYS = "Grey: from −2 (white) to 2 (black)."


def _shape(inputs: Inputs) -> tuple[int, int]:
    """Rows and columns of the picture of an input; without an image's shape, the most nearly square rectangle."""
    n = inputs.n_inputs
    rows = max(d for d in range(1, int(n**0.5) + 1) if n % d == 0)
    return inputs.image_shape or (rows, n // rows)


def picture(axis: Axes, x: np.ndarray, shape: tuple[int, int], **look: Any) -> None:
    """Draw a vector as an image without ticks.

    Parameters
    ----------
    axis : Axes
        Where it is drawn.
    x : (N,) array
        Values of the pixels, row by row.
    shape : (int, int)
        Rows and columns of the image.
    **look
        Passed to ``Axes.imshow``.
    """
    axis.imshow(x[: shape[0] * shape[1]].reshape(shape), **look)
    axis.set(xticks=[], yticks=[])


def samples(inputs: Mapping[str, Inputs], n: int = 4) -> Figure:
    """Training inputs as pictures, one column per kind of input.

    Inputs that are not images are shown as the most nearly square rectangle; neighbouring pixels mean nothing there.

    Parameters
    ----------
    inputs : mapping of str to Inputs
        One column per entry, with its key as the title.
    n : int
        How many of each kind are shown, from the first on.
    """
    side = PAGE / max(len(inputs), 5)
    fig, axes = plt.subplots(n, len(inputs), figsize=(side * len(inputs), side * n + 0.5), squeeze=False)
    for column, (label, kind) in zip(axes.T, inputs.items(), strict=True):
        for axis in column[len(kind.x_train) :]:
            axis.axis("off")
        for axis, x in zip(column, kind.x_train, strict=False):
            picture(axis, x, _shape(kind), **_GREY)
        column[0].set_title(",\n".join(heading(words, side + 0.1) for words in label.split(", ")))
    footnote(fig, [_GREYS])
    return fig


# ---- the model ---------------------------------------------------------------------------------------------------

_HEIGHT = 3.75  # inches of the figure of the model; positions below are in inches, too


def _box(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    return fig.add_axes((left / PAGE, bottom / _HEIGHT, width / PAGE, height / _HEIGHT))


def _say(fig: Figure, left: float, bottom: float, text: str, **look: Any) -> None:
    fig.text(left / PAGE, bottom / _HEIGHT, text, **({"ha": "center", "va": "center"} | look))


def _arrow(fig: Figure, *corners: tuple[float, float]) -> None:
    path = Path([(left / PAGE, bottom / _HEIGHT) for left, bottom in corners])
    look: Look = {"arrowstyle": "-|>", "mutation_scale": 9, "lw": 1.1, "color": "0.25", "fill": False}
    fig.add_artist(FancyArrowPatch(path=path, transform=fig.transFigure, **look))


_NUMBER: Look = {"color": "white", "fontsize": SMALL, "weight": "bold"}


def _manifold_of(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Latent coordinates c (P, D) of the training inputs and features F (D, N). Raises ValueError without them."""
    if inputs.latent_train is None or inputs.features is None:
        raise ValueError(f"{inputs.description} have no latent coordinates: give structured inputs.")
    return inputs.latent_train, inputs.features


def _sign_colour(y: float) -> str:
    return ORANGE if y > 0 else BLUE


def _sign(task: Dataset) -> str:
    return r"\mathrm{sgn}\," if set(np.unique(task.y_train)) <= {-1, 1} else ""


def model(latent: Dataset, taught: Dataset, f: str, *, shown: Sequence[int] = (0, 1, 2)) -> Figure:
    """How the hidden manifold model makes an input and its label, for D = 2.

    Points c of the latent plane become inputs x by Eq. (6). The latent label, Eq. (7), is a function of c; for
    comparison, a teacher's label, Eq. (4), is a function of x. Orange: labels above zero; blue: below.

    Parameters
    ----------
    latent, taught : Dataset
        The latent task and the teacher task on the same inputs.
    f : str
        Name of the non-linearity of the inputs.
    shown : sequence of three int
        Which training inputs are followed.
    """
    c, F = _manifold_of(latent.inputs)
    x, shape = latent.inputs.x_train, _shape(latent.inputs)
    u = c @ F / np.sqrt(F.shape[0])
    fig = plt.figure(figsize=(PAGE, _HEIGHT), layout="none")

    plane = _box(fig, 0.42, 0.98, 1.55, 1.55)
    colours = np.where(latent.y_train > 0, ORANGE, BLUE)
    plane.scatter(c[:, 0], c[:, 1], c=colours, s=2.5, alpha=0.5, lw=0)
    for number, i in enumerate(shown, start=1):
        plane.plot(*c[i], "o", ms=9, color=colours[i], mec="white", mew=0.8)
        plane.annotate(f"{number}", c[i], ha="center", va="center_baseline", **_NUMBER)
    plane.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    plane.set_xlabel("$c_1$", labelpad=1)
    plane.set_ylabel("$c_2$", labelpad=-2)

    for number, bottom in enumerate((1.88, 1.14)):
        picture(_box(fig, 2.48, bottom, 0.5, 0.5), F[number], shape, **_GREY)
        _say(fig, 2.44, bottom + 0.25, rf"$c_{number + 1}\,\times$", ha="right")
    _say(fig, 2.73, 1.76, "+")
    for row, (i, bottom) in enumerate(zip(shown, (2.16, 1.42, 0.68), strict=True), start=1):
        for left, values in ((3.38, u[i]), (4.78, x[i])):
            picture(_box(fig, left, bottom, 0.68, 0.68), values, shape, **_GREY)
            disc = {"boxstyle": "circle,pad=0.15", "fc": colours[i], "ec": "none"}
            _say(fig, left - 0.09, bottom + 0.34, f"{row}", bbox=disc, **_NUMBER)
        for left, y, form in ((5.89, latent.y_train[i], "+.0f"), (6.58, taught.y_train[i], "+.2f")):
            _say(fig, left, bottom + 0.34, format(float(y), form).replace("-", "−"), color="white", weight="bold",
                 bbox={"boxstyle": "round,pad=0.3", "fc": _sign_colour(y), "ec": "none"})  # fmt: skip
    bend = _box(fig, 4.19, 1.9, 0.36, 0.3)
    line = np.linspace(-2, 2, 401)
    bend.plot(line, NONLINEARITIES[f](line), color="0.25")
    bend.set(xticks=[0], yticks=[0], xticklabels=[], yticklabels=[])

    for left, name, what in (
        (1.2, "latent point", r"$\mathbf{c}\in\mathbb{R}^D$, here $D=2$"),
        (2.68, "features", r"the rows of $\mathbf{F}$"),
        (3.72, "flat", r"$\mathbf{cF}/\sqrt{D}$"),
        (4.37, "folded", f"by $f$ = {f}"),
        (5.12, "input", rf"$\mathbf{{x}}\in\mathbb{{R}}^N$, $N={x.shape[1]}$"),
        (5.89, "latent\nlabel", ""),
        (6.58, "teacher's\nlabel", ""),
    ):
        _say(fig, left, 3.2 if what else 3.09, name, weight="bold")
        _say(fig, left, 3.04, what, fontsize=SMALL)
    _arrow(fig, (2.05, 1.76), (2.33, 1.76))
    _arrow(fig, (3.02, 1.76), (3.22, 1.76))
    _arrow(fig, (4.12, 1.76), (4.62, 1.76))
    _arrow(fig, (1.2, 3.3), (1.2, 3.5), (5.89, 3.5), (5.89, 3.26))
    _arrow(fig, (5.12, 0.62), (5.12, 0.42), (6.58, 0.42), (6.58, 0.8))
    of_c, of_x = (_sign(task) + r"\phi(" for task in (latent, taught))
    equation = rf"latent label, read off $\mathbf{{c}}$:  $\tilde y^*={of_c}\mathbf{{c}};\tilde\theta^*)$, Eq. (7)"
    _say(fig, 3.55, 3.5, equation, bbox={"fc": "white", "ec": "none", "pad": 2})
    _say(fig, 3.7, 0.42, r"input:  $\mathbf{x}=f(\mathbf{cF}/\sqrt{D})$, Eq. (6)")
    equation = rf"teacher's label, read off $\mathbf{{x}}$:  $y^*={of_x}\mathbf{{x}};\theta^*)$, Eq. (4)"
    _say(fig, 6.93, 0.2, equation, ha="right")
    _say(fig, 0.1, 0.42, "A student is shown $\\mathbf{x}$ and one of the labels,\nnever $\\mathbf{c}$. Colours: "
         "labels above (orange)\nand below zero (blue).", fontsize=FOOTNOTE, color="0.35", ha="left")  # fmt: skip
    return fig


# ---- the manifold ------------------------------------------------------------------------------------------------

_LABELS = LinearSegmentedColormap.from_list("labels", [BLUE, "#dcdcdc", ORANGE])
_TORN = 0.3  # longest edge of a triangle of the sheet, as a part of the extent of the inputs


def _coloured(y: np.ndarray, most: float) -> Look:
    return {"c": y, "cmap": _LABELS, "vmin": -most, "vmax": most, "lw": 0}


def manifold(inputs: Mapping[str, Inputs], labels: Mapping[str, np.ndarray]) -> Figure:
    """Hidden manifold for D = 2: latent plane (left), and three of the N input components for each f (right).

    Colour is the latent label. The sheet between the points is drawn where f is continuous. Inputs that coincide, as
    they do for f = sgn, are one dot whose area shows their number and whose colour is their mean label.

    Parameters
    ----------
    inputs : mapping of str to Inputs
        One box per entry, with its key as the name of f; all have the same latent coordinates.
    labels : mapping of str to (P,) array
        The labels of the training inputs, with the same keys.
    """
    names = list(inputs)
    rows = 1 if len(names) <= 3 else 2
    columns = -(-len(names) // rows)
    most = max(float(np.abs(y).max()) for y in labels.values())
    fig = plt.figure(figsize=(PAGE, 2.5 if rows == 1 else 4.4))
    left, right = fig.subfigures(1, 2, width_ratios=(1.1, columns), squeeze=False)[0]
    plane = left.add_subplot()
    c, _ = _manifold_of(inputs[names[0]])
    plane.scatter(c[:, 0], c[:, 1], s=4, **_coloured(labels[names[0]], most))
    plane.set(title="before: the latent plane", xlabel="$c_1$", ylabel="$c_2$", aspect="equal")
    for i, (name, of_f) in enumerate(inputs.items(), start=1):
        axis = right.add_subplot(rows, columns, i, projection="3d")
        _draw_sheet(axis, of_f, labels[name], most)
        axis.set_title(f"after: $f$ = {name}")
    signs = all(set(np.unique(y)) <= {-1, 1} for y in labels.values())
    orange, blue = ("+1", "−1") if signs else ("positive", "negative")
    shared = " Dots of several inputs: area by their number, colour by their mean label." if _coincide(inputs) else ""
    footnote(fig, [
        f"Colour: latent label, orange {orange}, blue {blue}. Three of the N components of the input are shown.{shared}"
    ])  # fmt: skip
    return fig


def _coincide(inputs: Mapping[str, Inputs]) -> bool:
    return any(len(np.unique(i.x_train[:, :3], axis=0)) < len(i.x_train) / 2 for i in inputs.values())


def _draw_sheet(axis: Axes3D, inputs: Inputs, y: np.ndarray, most: float) -> None:
    x, (c, F) = inputs.x_train[:, :3], _manifold_of(inputs)
    corners = Triangulation(*c.T).triangles
    extent = np.ptp(x, axis=0).max()
    edges = np.linalg.norm(x[corners] - x[np.roll(corners, 1, axis=1)], axis=2)
    whole = corners[(edges.max(1) < _TORN * extent) & (edges.min(1) > 0)]
    if len(whole):
        sheet = axis.plot_trisurf(*x.T, triangles=whole, cmap=_LABELS, lw=0, alpha=0.35, antialiased=False)
        sheet.set_array(y[whole].mean(1))
        sheet.set_clim(-most, most)
    places, which, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    mean = np.bincount(which.ravel(), weights=y) / counts
    area = 3 + 250 * (counts - 1) / len(x)
    axis.scatter(*places.T, s=area, depthshade=False, **_coloured(mean, most))
    for which_axis in (axis.xaxis, axis.yaxis, axis.zaxis):
        which_axis.set_pane_color((1, 1, 1, 0))
        which_axis.set_ticklabels([])
        which_axis.labelpad = -13
        which_axis._axinfo["grid"].update(color="0.9", linewidth=0.4)
    axis.set(xlabel="$x_1$", ylabel="$x_2$", zlabel="$x_3$")
    axis.set_box_aspect((1, 1, 1), zoom=1.05)
    axis.view_init(elev=28, azim=_view(F))


def _view(F: np.ndarray) -> float:
    """Azimuth in degrees from which, 28° above the ground, the plane cF in three components looks widest.

    It stays close to a diagonal of the cube: the image of a ReLU is hard to see from elsewhere.
    """
    azimuths = np.concatenate([np.arange(15, 76, 5), np.arange(-165, -104, 5)])
    a, e = np.radians(azimuths), np.radians(28)
    towards = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.full(len(a), np.sin(e))])
    return float(azimuths[np.argmax(np.abs(np.cross(*F[:, :3]) @ towards))])
