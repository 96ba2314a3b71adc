"""Range of validity of the claims C9 and C17: for which N, D, P, layers, labels and times they hold."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hmm_utils.claims.hidden_manifold import CHANCE
from hmm_utils.claims.independent_students import RATIO
from hmm_utils.figures.style import BLUE, LABELS, LAYERS, ORANGE, PAGE, TIME, Look, footnote

__all__ = ["scan_lines", "scan_map", "scan_overfitting"]

_MODES = [(labels, layers) for labels in LABELS for layers in LAYERS]
_MEANS = "Means over draws; a cross stands for students that diverged."


def _examples(alpha: float) -> str:
    return "$P = N$" if alpha == 1 else f"$P = {alpha:g}N$"


def _modes(measured: xr.Dataset) -> list[tuple[str, str]]:
    """Measured combinations of labels and layers."""
    found = set(zip(measured["labels"].values, measured["layers"].values, strict=True))
    return [mode for mode in _MODES if mode in found]


def _of_mode(measured: xr.Dataset, labels: str, layers: str) -> xr.Dataset:
    return measured.isel(point=(measured["labels"] == labels) & (measured["layers"] == layers))


def scan_map(measured: xr.Dataset) -> Figure:
    """Where C9 holds: largest K (up), end of training (right) and P/N (columns), for labels and layers (rows).

    Colour is the disagreement ε₁,₂ on Gaussian inputs at that K; cells with a dot meet all three parts of the claim,
    hatched ones are still learning. Inside the orange line ε₁,₂/ε_g on structured inputs is about one.

    Parameters
    ----------
    measured : Dataset
        From :func:`hmm_utils.claims.validity.like_mnist`; the points with N and D as at the first are shown.
    """
    for axis in ("n_inputs", "n_latent"):
        measured = measured.isel(point=measured[axis] == measured[axis].values[0])
    alphas, modes = np.unique(measured["alpha"])[::-1], _modes(measured)
    size = (PAGE, 1.35 * len(modes) + 1.2)
    fig, axes = plt.subplots(len(modes), len(alphas), figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, mode in zip(axes, modes, strict=True):
        of_mode = _of_mode(measured, *mode)
        row[0].set_ylabel(f"{LABELS[mode[0]]}, {LAYERS[mode[1]]}\nlargest $K$")
        for axis, alpha in zip(row, alphas, strict=True):
            points = of_mode.isel(point=of_mode["alpha"] == alpha)
            if points.sizes["point"]:
                colours = _draw_map(axis, points.isel(point=0))
    for axis, alpha in zip(axes[0], alphas, strict=True):
        axis.set_title(_examples(alpha))
    for axis in axes[-1]:
        axis.set_xlabel("end of training,\n" + TIME)
    bar = fig.colorbar(colours, ax=axes, label=r"$\epsilon_{1,2}$ on Gaussian inputs at the largest $K$", shrink=0.8)
    bar.ax.axhline(CHANCE, color="white", lw=1.5)
    handles = [
        Line2D([], [], ls="", marker="o", ms=4, mfc="white", mec="black", label="all three parts of the claim are met"),
        Line2D([], [], color=ORANGE, label=rf"here $\epsilon_{{1,2}}/\epsilon_g$ leaves 1/{RATIO:g} to {RATIO:g}"),
        Patch(fc="white", ec="0.5", hatch="////", label="still learning"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    footnote(fig, [f"{_size(measured)}. {_MEANS}"])
    return fig


def _size(measured: xr.Dataset) -> str:
    N, D = (" or ".join(f"{n}" for n in np.unique(measured[axis])) for axis in ("n_inputs", "n_latent"))
    return f"N = {N}, D = {D}"


def _draw_map(axis: Axes, point: xr.Dataset) -> mpl.cm.ScalarMappable:
    point = point.sel(time=point["time"] > 0).transpose("width", "time")
    t, K = point["time"].values, point["width"].values
    edges = (_edges(t), _edges(K))
    colours = axis.pcolormesh(*edges, point["chance"], vmin=0, vmax=0.5, cmap="viridis")
    learning = np.where(point["learnt"] | point["diverged"], np.nan, 1.0)
    axis.pcolor(*edges, learning, hatch="////", cmap=mpl.colors.ListedColormap(["#ffffff90"]), ec="0.5", lw=0)
    looks: dict[str, Look] = {
        "diverged": {"marker": "x", "c": "0.4", "lw": 0.8},
        "holds": {"marker": "o", "c": "white", "ec": "black", "lw": 0.6},
    }
    for flag, look in looks.items():
        rows, columns = np.nonzero(point[flag].values)
        axis.scatter(t[columns], K[rows], s=11, zorder=3, **look)
    axis.add_collection(LineCollection(_border(point["agrees"].values, *edges), colors=ORANGE, lw=1.5))
    axis.set(xscale="log", yscale="log", yticks=K, yticklabels=K)
    axis.minorticks_off()
    return colours


def _border(inside: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[list[tuple[float, float]]]:
    """Edges between cells inside and cells outside: ``inside`` (rows, columns), cell boundaries x and y."""
    upright = [[(x[j + 1], y[i]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(inside[:, 1:] != inside[:, :-1])]
    level = [[(x[j], y[i + 1]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(inside[1:] != inside[:-1])]
    return upright + level


def _edges(centres: np.ndarray) -> np.ndarray:
    """Edges of cells around centres on a logarithmic axis."""
    middle = np.sqrt(centres[1:] * centres[:-1])
    return np.concatenate([[centres[0] ** 2 / middle[0]], middle, [centres[-1] ** 2 / middle[-1]]])


_MODE_COLOURS = dict(zip(LABELS, (BLUE, ORANGE), strict=True))


def _two_widths(measured: xr.Dataset) -> list[int]:
    """Largest K of the paper's figures, 8, and largest of all."""
    widths = measured["width"].values
    return sorted({int(widths[widths <= 8].max()), int(widths.max())})


def _marked(axis: Axes, y: xr.DataArray, along: str, *, colour: str, filled: bool, dashed: bool, label: str) -> None:
    y = y.sortby(along)
    look: Look = {"marker": "o", "ms": 5, "lw": 1.2, "ls": "--" if dashed else "-"}
    axis.plot(y[along], y, color=colour, mfc=colour if filled else "white", label=label, **look)


def scan_lines(mnist: xr.Dataset, overfit: xr.Dataset) -> Figure:
    """How the numbers behind C9 and C17 depend on D (left) and on N (right) at the end of training.

    Colours: real-valued labels and signs. Dotted: what the claim must exceed; grey: ratios that count as about the
    same.

    Parameters
    ----------
    mnist, overfit : Dataset
        From :func:`~hmm_utils.claims.validity.like_mnist` and :func:`~hmm_utils.claims.validity.overfits` for the
        same points; all else is as at the first point.
    """
    N, D = (mnist[axis].values[0] for axis in ("n_inputs", "n_latent"))
    alike = (mnist["alpha"] == mnist["alpha"][0]) & (mnist["layers"] == mnist["layers"][0])
    numbers = (
        (mnist["chance"], r"$\epsilon_{1,2}$, Gaussian inputs," "\nlargest $K$"),
        (mnist["ratio"], r"$\epsilon_{1,2}/\epsilon_g$," "\nstructured inputs"),
        (overfit["end"], r"$d\epsilon_g/d\,\ln K$"),
    )
    rest = f"{_examples(mnist['alpha'].values[0])}, {LAYERS[mnist['layers'].values[0]]}"
    lines = (
        ("n_latent", mnist["n_inputs"] == N, f"$N = {N}$", "dimension of the manifold $D$"),
        ("n_inputs", mnist["n_latent"] == D, f"$D = {D}$", "number of inputs $N$"),
    )
    fig, axes = plt.subplots(len(numbers), 2, figsize=(PAGE, 6.4), sharey="row", sharex="col")
    for row, (values, name) in zip(axes, numbers, strict=True):
        row[0].set_ylabel(name)
        for axis, (along, on_line, _, _) in zip(row, lines, strict=True):
            for labels, colour in _MODE_COLOURS.items():
                some = values.isel(point=alike & on_line & (mnist["labels"] == labels), time=-1)
                for K in _two_widths(mnist):
                    _marked(axis, some.sel(width=K), along, colour=colour, filled=K > 8, dashed=K <= 8,
                            label=f"{LABELS[labels]}, $K \\leq {K}$")  # fmt: skip
    for axis in axes[0]:
        axis.axhline(CHANCE, color="0.4", ls=":", lw=1)
        axis.set_ylim(0, 0.55)
    for axis in axes[1]:
        axis.axhspan(1 / RATIO, RATIO, color="0.9", zorder=0)
        axis.set(ylim=(0, 1.1 * RATIO))
    for axis in axes[2]:
        axis.axhline(0, color="0.4", ls=":", lw=1)
    for column, (along, on_line, title, name) in zip(axes.T, lines, strict=True):
        ticks = np.unique(mnist[along].values[on_line & alike])
        column[0].set_title(f"{title}, {rest}")
        column[-1].set(xscale="log", xticks=ticks, xticklabels=ticks, xlabel=name)
        column[-1].minorticks_off()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    footnote(fig, [
        f"End of training, t = {float(mnist['time'][-1]):g}. Means over draws. Dotted: what the claim needs to exceed "
        f"({CHANCE} above, 0 below); grey: the ratio that passes for 'about the same'."
    ])  # fmt: skip
    return fig


def scan_overfitting(overfit: xr.Dataset) -> Figure:
    """Where C17 holds for latent labels: growth of ε_g with K against P/N for D = N/2, by labels and layers (columns).

    Top: dε_g/d ln K at the end of training and with early stopping; bottom: ε_g over that at D = 10.

    Parameters
    ----------
    overfit : Dataset
        From :func:`~hmm_utils.claims.validity.overfits`; the points of the smallest N with D = N/2 are
        shown, as in Fig. 9.
    """
    many = overfit.isel(point=2 * overfit["n_latent"] == overfit["n_inputs"], time=-1)
    many = many.isel(point=many["n_inputs"] == many["n_inputs"].min())
    modes = _modes(many)
    size = (PAGE, 4.6)
    fig, axes = plt.subplots(2, len(modes), figsize=size, sharex=True, sharey="row", squeeze=False)
    for column, mode in zip(axes.T, modes, strict=True):
        points = _of_mode(many, *mode)
        column[0].set_title(f"{LABELS[mode[0]]}, {LAYERS[mode[1]]}")
        for K, colour in zip(_two_widths(many), (BLUE, ORANGE), strict=False):
            of_width = points.sel(width=K)
            for name, filled in (("end", True), ("early", False)):
                when = "end" if filled else "early stopping"
                _marked(column[0], of_width[name], "alpha", colour=colour, filled=filled, dashed=not filled,
                        label=f"$K \\leq {K}$, {when}")  # fmt: skip
            _marked(column[1], of_width["times"], "alpha", colour=colour, filled=True, dashed=False, label="")
        column[0].axhline(0, color="0.4", ls=":", lw=1)
        column[1].axhline(RATIO, color="0.4", ls=":", lw=1)
        ticks = np.unique(many["alpha"])
        column[1].set(xscale="log", xticks=ticks, xticklabels=[f"{alpha:g}" for alpha in ticks], xlabel="$P/N$")
        column[1].minorticks_off()
    axes[0, 0].set_ylabel(r"$d\epsilon_g/d\,\ln K$")
    axes[1, 0].set_ylabel(r"$\epsilon_g(D = N/2)\,/\,\epsilon_g(D = 10)$")
    axes[1, 0].set_ylim(bottom=0)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    footnote(fig, [
        f"{_size(many)}; end of training, t = {float(many['time']):g}. Means over draws. The claim: both slopes above "
        f"0, that of early stopping the smaller, and the quotient above {RATIO:g} (dotted)."
    ])  # fmt: skip
    return fig
