"""Pictures of what the experiments are made of: the model, inputs, the hidden manifold, first layers.

From labelled arrays to matplotlib Figures, as in `figures`; every point, pixel and number that is shown is a real one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from matplotlib.tri import Triangulation
from mpl_toolkits.mplot3d import Axes3D

from hmm_utils.figures.style import BLUE, COLUMN, FOOTNOTE, GREEN, ORANGE, PAGE, SMALL, footnote, heading
from hmm_utils.model.datasets import Dataset, Inputs
from hmm_utils.model.nonlinearities import NONLINEARITIES

__all__ = ["first_layers", "manifold", "model", "parts", "samples", "weights"]

_GREY = {"cmap": "gray_r", "vmin": -2, "vmax": 2}
_GREYS = "Grey: from −2 (white) to 2 (black)."


def _shape(inputs: Inputs) -> tuple[int, int]:
    """That of a picture; inputs that are no images are folded into the most nearly square rectangle."""
    n = inputs.n_inputs
    rows = max(d for d in range(1, int(n**0.5) + 1) if n % d == 0)
    return inputs.image_shape or (rows, n // rows)


def _picture(axis: Axes, x: np.ndarray, shape: tuple[int, int], **look: object) -> None:
    axis.imshow(x[: shape[0] * shape[1]].reshape(shape), **look)
    axis.set(xticks=[], yticks=[])


def samples(inputs: Mapping[str, Inputs], n: int = 4) -> Figure:
    """The first n training inputs of each kind as pictures, the kinds side by side.

    Inputs that are not images are folded into the most nearly square rectangle; their pixels have no neighbours.
    """
    side = PAGE / max(len(inputs), 5)
    fig, axes = plt.subplots(n, len(inputs), figsize=(side * len(inputs), side * n + 0.5), squeeze=False)
    for column, (label, kind) in zip(axes.T, inputs.items(), strict=True):
        for axis in column[len(kind.x_train) :]:
            axis.axis("off")
        for axis, x in zip(column, kind.x_train, strict=False):
            _picture(axis, x, _shape(kind), **_GREY)
        column[0].set_title(",\n".join(heading(words, side + 0.1) for words in label.split(", ")))
    footnote(fig, [_GREYS])
    return fig


# ---- the model ---------------------------------------------------------------------------------------------------

_HEIGHT = 3.75  # of the figure of the model; what follows places its parts in inches


def _box(fig: Figure, left: float, bottom: float, width: float, height: float | None = None) -> Axes:
    high = width if height is None else height
    return fig.add_axes((left / PAGE, bottom / _HEIGHT, width / PAGE, high / _HEIGHT))


def _say(fig: Figure, left: float, bottom: float, text: str, **look: object) -> None:
    fig.text(left / PAGE, bottom / _HEIGHT, text, **({"ha": "center", "va": "center"} | look))


def _arrow(fig: Figure, *corners: tuple[float, float]) -> None:
    path = Path([(left / PAGE, bottom / _HEIGHT) for left, bottom in corners])
    look = {"arrowstyle": "-|>", "mutation_scale": 9, "lw": 1.1, "color": "0.25", "fill": False}
    fig.add_artist(FancyArrowPatch(path=path, transform=fig.transFigure, **look))


_NUMBER = {"color": "white", "fontsize": SMALL, "weight": "bold"}


def _sign_colour(y: float) -> str:
    return ORANGE if y > 0 else BLUE


def _sign(task: Dataset) -> str:
    return r"\mathrm{sgn}\," if set(np.unique(task.y_train)) <= {-1, 1} else ""


def model(latent: Dataset, taught: Dataset, f: str, *, shown: Sequence[int] = (0, 1, 2)) -> Figure:
    """How the hidden manifold model makes an input and its label, for D = 2: from points c of the latent plane by
    Eq. (6) to inputs x, with the latent label, Eq. (7), which is read off c, and for contrast the teacher's, Eq. (4),
    which is read off x.

    latent, taught  the latent task and the teacher task on the same inputs, folded by f
    shown           which three of the training inputs are followed
    """
    inputs = latent.inputs
    c, F, x, shape = inputs.latent_train, inputs.features, inputs.x_train, _shape(inputs)
    u = c @ F / np.sqrt(F.shape[0])
    fig = plt.figure(figsize=(PAGE, _HEIGHT), layout="none")

    plane = _box(fig, 0.42, 0.98, 1.55)
    colours = np.where(latent.y_train > 0, ORANGE, BLUE)
    plane.scatter(c[:, 0], c[:, 1], c=colours, s=2.5, alpha=0.5, lw=0)
    for number, i in enumerate(shown, start=1):
        plane.plot(*c[i], "o", ms=9, color=colours[i], mec="white", mew=0.8)
        plane.annotate(f"{number}", c[i], ha="center", va="center_baseline", **_NUMBER)
    plane.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    plane.set_xlabel("$c_1$", labelpad=1)
    plane.set_ylabel("$c_2$", labelpad=-2)

    for number, bottom in enumerate((1.88, 1.14)):
        _picture(_box(fig, 2.48, bottom, 0.5), F[number], shape, **_GREY)
        _say(fig, 2.44, bottom + 0.25, rf"$c_{number + 1}\,\times$", ha="right")
    _say(fig, 2.73, 1.76, "+")
    for row, (i, bottom) in enumerate(zip(shown, (2.16, 1.42, 0.68), strict=True), start=1):
        for left, picture in ((3.38, u[i]), (4.78, x[i])):
            _picture(_box(fig, left, bottom, 0.68), picture, shape, **_GREY)
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
        (5.12, "input", rf"$\mathbf{{x}}\in\mathbb{{R}}^N$, $N={inputs.n_inputs}$"),
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
_TORN = 0.3  # of the extent of the inputs


def _coloured(y: np.ndarray, most: float) -> dict[str, object]:
    return {"c": y, "cmap": _LABELS, "vmin": -most, "vmax": most, "lw": 0}


def manifold(foldings: Mapping[str, Inputs], labels: Mapping[str, np.ndarray]) -> Figure:
    """The hidden manifold for D = 2, before and after: the latent plane coloured by the latent label, and the same
    points in three of the N input components after folding by each f.

    The sheet between the points is drawn where f has not torn it. Inputs that fall on each other, as they do for
    f = sgn, are one dot whose area tells how many they are and whose colour is their mean label.
    """
    names = list(foldings)
    rows = 1 if len(names) <= 3 else 2
    columns = -(-len(names) // rows)
    most = max(float(np.abs(y).max()) for y in labels.values())
    fig = plt.figure(figsize=(PAGE, 2.5 if rows == 1 else 4.4))
    left, right = fig.subfigures(1, 2, width_ratios=(1.1, columns))
    plane = left.add_subplot()
    c = foldings[names[0]].latent_train
    plane.scatter(c[:, 0], c[:, 1], s=4, **_coloured(labels[names[0]], most))
    plane.set(title="before: the latent plane", xlabel="$c_1$", ylabel="$c_2$", aspect="equal")
    for i, (name, inputs) in enumerate(foldings.items(), start=1):
        axis = right.add_subplot(rows, columns, i, projection="3d")
        _draw_sheet(axis, inputs, labels[name], most)
        axis.set_title(f"after: $f$ = {name}")
    signs = all(set(np.unique(y)) <= {-1, 1} for y in labels.values())
    orange, blue = ("+1", "−1") if signs else ("positive", "negative")
    shared = " Dots of several inputs: area by their number, colour by their mean label." if _overlap(foldings) else ""
    footnote(fig, [
        f"Colour: latent label, orange {orange}, blue {blue}. Three of the N components of the input are shown.{shared}"
    ])  # fmt: skip
    return fig


def _overlap(foldings: Mapping[str, Inputs]) -> bool:
    return any(len(np.unique(i.x_train[:, :3], axis=0)) < len(i.x_train) / 2 for i in foldings.values())


def _draw_sheet(axis: Axes3D, inputs: Inputs, y: np.ndarray, most: float) -> None:
    x = inputs.x_train[:, :3]
    corners = Triangulation(*inputs.latent_train.T).triangles
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
    axis.view_init(elev=28, azim=_view(inputs.features))


def _view(F: np.ndarray) -> float:
    """The azimuth in degrees from which, 28° above the ground, the flat sheet through three components looks widest;
    about a diagonal of the cube, as a sheet folded by a ReLU is hard to see from elsewhere."""
    azimuths = np.concatenate([np.arange(15, 76, 5), np.arange(-165, -104, 5)])
    a, e = np.radians(azimuths), np.radians(28)
    towards = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.full(len(a), np.sin(e))])
    return float(azimuths[np.argmax(np.abs(np.cross(*F[:, :3]) @ towards))])


# ---- first layers ------------------------------------------------------------------------------------------------


def weights(network_rows: Mapping[str, np.ndarray], image_shape: tuple[int, int]) -> Figure:
    """Rows w_k of first layers as images, one row of pictures per entry (label → (K, N))."""
    widest = max(len(W) for W in network_rows.values())
    width = COLUMN if widest <= 4 else PAGE
    size = (width, (width / max(widest, 2) + 0.25) * len(network_rows) + 0.3)
    fig, axes = plt.subplots(len(network_rows), widest, figsize=size, squeeze=False)
    for row, (label, W) in zip(axes, network_rows.items(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, w in zip(row, W, strict=False):
            limit = np.abs(w).max()
            axis.imshow(w.reshape(image_shape), vmin=-limit, vmax=limit, cmap="coolwarm")
        row[0].set_title(heading(label, width), loc="left")
    footnote(fig, ["Red: positive, blue: negative weights; every picture has its own scale."])
    return fig


def _part_names(found: xr.Dataset) -> dict[str, str]:
    """What a part of `directions.compare` is, in two lines."""
    leading, rest, none = found["number"].values
    return {
        "leading": f"{leading} directions with\n{found.attrs['share']:.0%} of $|\\mathbf{{x}}|^2$",
        "rest": f"{rest} directions\nwith the rest",
        "none": f"{none} directions\nthat no input has",
    }


def first_layers(found: xr.Dataset, image_shape: tuple[int, int], *, units: int = 4) -> Figure:
    """The first layers of two students before and after training as images, and the layers after training split by
    directions, from `directions.compare`: up to so many units of student 1 (left) and those of student 2 that are most
    like them (right), with the cosine between the two below. A row has one scale; parts without directions have none.
    """
    found = found.isel(hidden=slice(units))
    K = found.sizes["hidden"]
    whole = found["W"].sum("part")
    rows = {"before training": whole.sel(when="start"), "after training": whole.sel(when="end")}
    rows |= {
        f"after, in the\n{name}": found["W"].sel(part=part, when="end")
        for part, name in _part_names(found).items()
        if int(found["number"].sel(part=part))
    }
    side = (PAGE - 1.2) / (2 * K)
    fig = plt.figure(figsize=(PAGE, (side + 0.2) * len(rows) + 0.55))
    # an empty column between the students
    grid = fig.add_gridspec(len(rows), 2 * K + 1, width_ratios=[1] * K + [0.2] + [1] * K)
    for r, (name, W) in enumerate(rows.items()):
        pair = W.transpose("student", "hidden", "input").values
        limit = np.quantile(np.abs(pair), 0.995)
        lengths = np.linalg.norm(pair, axis=2).prod(0)
        for s, k in np.ndindex(2, K):
            axis = fig.add_subplot(grid[r, k + s * (K + 1)])
            _picture(axis, pair[s, k], image_shape, cmap="coolwarm", vmin=-limit, vmax=limit)
            axis.spines[:].set_visible(False)
            if r == 0:
                axis.set_title((f"student 1,\nunit {k + 1}", f"student 2,\nlike unit {k + 1}")[s])
            if s == 1:
                cosine = pair[0, k] @ pair[1, k] / lengths[k]
                axis.set_xlabel(f"cosine {cosine:+.2f}".replace("-", "−"), fontsize=FOOTNOTE, labelpad=2)
            elif k == 0:
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL)
    footnote(fig, [
        "Red: positive, blue: negative weights; one scale per row. Beside the units of student 1 are those of student "
        "2 that are most like them on the inputs, up to a sign; the cosine is that between the two pictures."
    ])  # fmt: skip
    return fig


def parts(found: xr.Dataset) -> Figure:
    """How much of |w_k|² lies where, how much of it is left of the start, and what two students have in common there:
    `directions.compare`. A dot per unit, rings before and dots after training."""
    leading, rest, none = found["number"].values
    names = {
        "leading": f"{leading} with\n{found.attrs['share']:.0%}",
        "rest": f"{rest} with\nthe rest",
        "none": f"{none} with\nnothing",
    }
    fig, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    panels = (
        (found["weight"], r"share of $|\mathbf{w}_k|^2$", (0, 1.02)),
        (found["kept"].expand_dims(when=["end"]), "cosine, end with start", (-0.15, 1.05)),
        (np.abs(found["alike"]), "|cosine|, student 1 with 2", (-0.03, 1.05)),
    )
    looks = {
        "start": {"mfc": "white", "color": GREEN, "marker": "D", "ms": 3.5, "ls": "", "label": "before training"},
        "end": {"color": BLUE, "marker": "o", "ms": 3.5, "ls": "", "label": "after training"},
    }
    for axis, (values, label, limits) in zip(axes, panels, strict=True):
        for when in values["when"].values:
            shift = 0.0 if values.sizes["when"] == 1 else {"start": -0.15, "end": 0.15}[when]
            for p, part in enumerate(names):
                units = values.sel(when=when, part=part).values.ravel()
                spread = np.linspace(-0.08, 0.08, len(units)) if len(units) > 1 else np.zeros(1)
                axis.plot(p + shift + spread, units, **looks[when])
        axis.set(ylim=limits, ylabel=label, xlim=(-0.5, 2.5), xticks=range(3), xticklabels=names.values())
        axis.set_xlabel(r"directions and share of $|\mathbf{x}|^2$")
        axis.tick_params(axis="x", labelsize=FOOTNOTE, length=0)
        axis.axhline(0, color="0.7", lw=0.6, zorder=0)
    fig.legend(handles=[Line2D([], [], **look) for look in looks.values()], loc="outside upper center", ncols=2)
    footnote(fig, ["A symbol per unit; on the right, per pair of units that are most like each other on the inputs."])
    return fig
