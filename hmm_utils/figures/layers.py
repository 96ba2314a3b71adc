"""Weights of two-layer networks: first layers as images, their parts in input space, overlaps with teachers."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hmm_utils.figures.pictures import picture
from hmm_utils.figures.style import BLUE, COLUMN, FOOTNOTE, GREEN, PAGE, SMALL, Look, footnote, heading

__all__ = ["first_layers", "overlaps", "parts", "weights"]


def overlaps(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Overlap matrices R_km = w_k·w*_m/N of students with teachers, on one colour scale.

    Parameters
    ----------
    matrices : mapping of str to (K, M) array
        One heat map per entry, with its key as the title.
    """
    fig, axes = plt.subplots(1, len(matrices), figsize=(COLUMN if len(matrices) == 1 else PAGE, 2.2), squeeze=False)
    limit = max(np.abs(R).max() for R in matrices.values())
    for axis, (title, R) in zip(axes[0], matrices.items(), strict=True):
        image = axis.imshow(R, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set(title=title, xlabel="teacher unit $m$", xticks=range(R.shape[1]), yticks=range(R.shape[0]))
    axes[0, 0].set_ylabel("student unit $k$")
    fig.colorbar(image, ax=axes[0].tolist(), label="$R_{km}$", shrink=0.85)
    return fig


def weights(network_rows: Mapping[str, np.ndarray], image_shape: tuple[int, int]) -> Figure:
    """Weights w_k of first layers as images, one row of pictures per network.

    Red: positive, blue: negative; every picture has its own scale.

    Parameters
    ----------
    network_rows : mapping of str to (K, N) array
        One row of pictures per entry, with its key as the title.
    image_shape : (int, int)
        Rows and columns of an input.
    """
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
    """Name of each part of the input space, in two lines."""
    leading, rest, none = found["n_directions"].values
    return {
        "leading": f"{leading} directions with\n{found.attrs['share']:.0%} of $|\\mathbf{{x}}|^2$",
        "rest": f"{rest} directions\nwith the rest",
        "none": f"{none} directions\nthat no input has",
    }


def first_layers(found: xr.Dataset, image_shape: tuple[int, int], *, units: int = 4) -> Figure:
    """First layers of two students before and after training, and the latter split by directions in input space.

    Left: units of student 1; right: the units of student 2 that are most like them on the inputs, up to a sign, with
    the cosine of the two pictures below. A row has one scale: red is positive, blue negative. Parts without directions
    have no row.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.theory.directions.compare`.
    image_shape : (int, int)
        Rows and columns of an input.
    units : int
        How many units of a student are shown at most.
    """
    found = found.isel(hidden=slice(units))
    K = found.sizes["hidden"]
    whole = found["W"].sum("part")
    rows = {"before training": whole.sel(when="start"), "after training": whole.sel(when="end")}
    rows |= {
        f"after, in the\n{name}": found["W"].sel(part=part, when="end")
        for part, name in _part_names(found).items()
        if int(found["n_directions"].sel(part=part))
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
            picture(axis, pair[s, k], image_shape, cmap="coolwarm", vmin=-limit, vmax=limit)
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
    """Where first-layer weights lie, how much of the start is left there, and what two students share there.

    Left: share of ``|w_k|²`` in the leading principal directions of the inputs, in the rest, and in the directions
    that no input has. Middle: cosine of the weights at the end with those at the start. Right: cosine of the weights
    of two students. One symbol per unit; diamonds before, dots after training.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.theory.directions.compare`.
    """
    leading, rest, none = found["n_directions"].values
    names = {
        "leading": f"{leading} with\n{found.attrs['share']:.0%}",
        "rest": f"{rest} with\nthe rest",
        "none": f"{none} with\nnothing",
    }
    fig, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    panels: tuple[tuple[xr.DataArray, str, tuple[float, float]], ...] = (
        (found["weight"], r"share of $|\mathbf{w}_k|^2$", (0, 1.02)),
        (found["cosine_start_end"].expand_dims(when=["end"]), "cosine, end with start", (-0.15, 1.05)),
        (abs(found["cosine_students"]), "|cosine|, student 1 with 2", (-0.03, 1.05)),
    )
    looks: dict[str, Look] = {
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
