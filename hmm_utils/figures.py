"""Figures: one function per kind of plot, from labelled results to a matplotlib Figure. Nothing is computed here but
means and error bars, so that recolouring a plot costs nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hmm_utils import dimension
from hmm_utils.claims import CHANCE, RATIO
from hmm_utils.datasets import Inputs
from hmm_utils.experiments import scale
from hmm_utils.files import replace
from hmm_utils.observables import early_stopping, final, standard_error

__all__ = [
    "independent_students",
    "intrinsic_dimension",
    "learning_curves",
    "manifold",
    "overlaps",
    "samples",
    "save",
    "scan_lines",
    "scan_map",
    "scan_overfitting",
    "spectra",
    "style",
    "weights",
]

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def style() -> None:
    """Sets the look of every figure that follows in this session."""
    plt.style.use(str(files("hmm_utils").joinpath("paper.mplstyle")))


def _footnote(fig: Figure, lines: Sequence[str]) -> None:
    columns = int(17 * fig.get_figwidth())
    text = "\n".join(textwrap.fill(line, columns) for line in dict.fromkeys(lines))
    fig.supxlabel(text, fontsize=7, color="0.35", x=0.02, ha="left")


def _scale_lines(results: Mapping[str, xr.Dataset]) -> list[str]:
    lines = [f"{label}: {scale(result)}" for label, result in results.items()]
    return lines + [r.attrs["notice"] for r in results.values() if r.attrs.get("notice")]


Value = Callable[[xr.DataArray], xr.DataArray]


def independent_students(
    results: Mapping[str, xr.Dataset],
    *,
    value: Value | Sequence[Value] = final,
    inset: Mapping[str, Mapping[str, xr.Dataset]] | None = None,
) -> Figure:
    """Figs. 1, 3–6, 8–10: ε_g (blue dots), ε₁,₂ on Gaussian inputs (green diamonds) and on the test inputs (orange
    crosses) against K, one column per result; the title of a column is its key.

    value  what is taken from a curve: `observables.final`, or `observables.early_stopping` (Appendix C), whose symbols
           have hats; several stand for a row of panels each, with one scale per column (Fig. 9)
    inset  learning curves for an inset of the last panel (Fig. 4), given as to `learning_curves`, of one width

    Bars are ± 1 standard error over initialisations and draws.
    """
    values = list(value) if isinstance(value, Sequence) else [value]
    size = (0.6 + (5.4 if inset else 3.3) * len(results), 0.4 + 3.3 * len(values))
    fig, axes = plt.subplots(len(values), len(results), figsize=size, squeeze=False)
    for take, row in zip(values, axes, strict=True):
        for axis, result in zip(row, results.values(), strict=True):
            _draw_students(axis, result, take)
        hat = take is early_stopping
        row[0].set_ylabel(r"fractional error, early stopping $\hat\epsilon$" if hat else "fractional error")
    for column, title in zip(axes.T, results, strict=True):
        column[0].set_title(title)
        column[-1].set_xlabel("$K$")
        # room for the legend above the data, and never a panel that magnifies noise around zero
        top = max(0.06, *(1.45 * axis.dataLim.y1 for axis in column))
        for axis in column:
            axis.set_ylim(0, top)
    if inset:
        last = axes[-1, -1]
        last.set_ylim(0, 2.6 * last.dataLim.y1)
        small = last.inset_axes((0.6, 0.56, 0.39, 0.42))
        _draw_curves(small, inset, width=None)
        small.set(xscale="log", yscale="log")
        small.set_xlabel("steps / $N$", fontsize=7)
        small.set_ylabel(r"$\epsilon_g^{\mathrm{mse}}$", fontsize=7)
        small.tick_params(labelsize=6)
    _footnote(fig, [*_scale_lines(results), "Bars: ± 1 standard error over initialisations and draws."])
    return fig


def _draw_students(axis: Axes, result: xr.Dataset, value: Value) -> None:
    """ε_g and ε₁,₂ of one result against K."""
    hat = r"\hat\epsilon" if value is early_stopping else r"\epsilon"
    test = "MNIST images" if result.attrs["dataset"].startswith("MNIST") else "test inputs"
    series = (
        (result["eps_g_frac"], BLUE, "o", rf"${hat}_g$"),
        (result["eps_12_frac"].sel(inputs="gauss"), GREEN, "D", rf"${hat}_{{1,2}}$, Gaussian inputs"),
        (result["eps_12_frac"].sel(inputs="test"), ORANGE, "x", rf"${hat}_{{1,2}}$, {test}"),
    )
    for curve, colour, marker, label in series:
        y = value(curve)
        # App. C takes the minimum of each student's curve, not of the mean of two
        y = (y.mean("student") if "student" in y.dims else y).stack(sample=("draw", "init"))
        bar = standard_error(y, "sample").fillna(0)
        axis.errorbar(
            y["width"], y.mean("sample"), bar, color=colour, marker=marker, label=label, ls=":", lw=0.8, capsize=2
        )
    axis.set_xticks(result["width"].values)
    axis.legend(loc="upper left", ncols=1)


def _draw_curves(ax: Axes, results: Mapping[str, Mapping[str, xr.Dataset]], width: int | None) -> None:
    runs = ["draw", "init", "student"]
    for (label, modes), colour in zip(results.items(), (BLUE, ORANGE, GREEN), strict=False):
        for layers, result in modes.items():
            curve = result["eps_g_mse"].sel(width=result["width"].values[0] if width is None else width)
            curve = curve.where(curve["time"] > 0, drop=True)
            low, high = (curve.quantile(q, runs) for q in (0.16, 0.84))
            name = f"{label}, {'first layer' if layers == 'first' else 'both layers'}"
            ax.plot(curve["time"], curve.mean(runs), color=colour, ls="--" if layers == "first" else "-", label=name)
            ax.fill_between(curve["time"], low, high, color=colour, alpha=0.15, lw=0)


def learning_curves(
    results: Mapping[str, Mapping[str, xr.Dataset]], *, width: int | None = None, ends: bool = False
) -> Figure:
    """Figs. 2, 7 and the inset of Fig. 4: ε_g^mse against steps/N with a logarithmic time axis, as in the paper (left),
    and the same with a logarithmic error axis, on which a plateau is a plateau at any height (right).

    results  label → {"first": result, "both": result}; a colour per label, dashed where the first layer alone is
             trained and solid where both are
    width    K, if the results hold several
    ends     whether a thin dotted line marks the height at which each curve ends (Fig. 7: a plateau may be higher)

    Lines are means over initialisations, draws and the two students; bands the range between their 16 % and 84 %
    quantiles.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.0, 3.7))
    for ax in axes:
        _draw_curves(ax, results, width)
        for line in list(ax.lines) if ends else ():
            ax.axhline(line.get_ydata()[-1], color=line.get_color(), ls=":", lw=0.8)
    for ax, y_scale in zip(axes, ("linear", "log"), strict=True):
        ax.set(xscale="log", yscale=y_scale, xlabel="steps / $N$", ylabel=r"$\epsilon_g^{\mathrm{mse}}$")
    axes[0].set_ylim(bottom=0)
    # a run that has found its teacher falls to where single precision ends, and would press the others flat
    axes[1].set_ylim(bottom=min(float(np.nanmin(line.get_ydata())) for line in axes[1].lines) / 10)
    axes[0].legend(loc="upper right", fontsize=8)
    one_each = {label: next(iter(modes.values())) for label, modes in results.items() if modes}
    _footnote(fig, [*_scale_lines(one_each), "Bands: 16 % to 84 % of runs."])
    return fig


def samples(inputs: Mapping[str, Inputs], n: int = 8) -> Figure:
    """The first n training inputs of each kind as pictures, one row per kind.

    Inputs that are not images are folded into the most nearly square rectangle; their pixels have no neighbours.
    """
    fig, axes = plt.subplots(len(inputs), n, figsize=(0.85 * n, 1.05 * len(inputs)), squeeze=False)
    for row, (label, kind) in zip(axes, inputs.items(), strict=True):
        shape = kind.image_shape or _nearly_square(kind.n_inputs)
        for axis, x in zip(row, kind.x_train, strict=False):
            axis.imshow(x[: shape[0] * shape[1]].reshape(shape), vmin=-2, vmax=2)
            axis.set(xticks=[], yticks=[])
        row[0].set_title(label, loc="left")
    return fig


def _nearly_square(n: int) -> tuple[int, int]:
    rows = max(d for d in range(1, int(n**0.5) + 1) if n % d == 0)
    return (rows, n // rows)


def manifold(foldings: Mapping[str, Inputs], labels: Mapping[str, np.ndarray]) -> Figure:
    """The hidden manifold for D = 2: the latent plane coloured by the latent label, and the same points in three of the
    N input components after folding by each f."""
    fig = plt.figure(figsize=(3.1 * (len(foldings) + 1), 3.2))
    first = next(iter(foldings))
    plane = fig.add_subplot(1, len(foldings) + 1, 1)
    c = foldings[first].latent_train
    plane.scatter(c[:, 0], c[:, 1], c=labels[first], cmap="coolwarm", s=4)
    plane.set(title="latent plane $c$", xlabel="$c_1$", ylabel="$c_2$", aspect="equal")
    for i, (name, inputs) in enumerate(foldings.items()):
        axis = fig.add_subplot(1, len(foldings) + 1, i + 2, projection="3d")
        x = inputs.x_train
        axis.scatter(x[:, 0], x[:, 1], x[:, 2], c=labels[name], cmap="coolwarm", s=4)
        axis.set(title=f"$f$ = {name}", xlabel="$x_1$", ylabel="$x_2$", zlabel="$x_3$")
        axis.set_box_aspect(None, zoom=0.82)
        axis.view_init(elev=25, azim=-125)
        axis.tick_params(labelsize=6)
    return fig


def weights(network_rows: Mapping[str, np.ndarray], image_shape: tuple[int, int]) -> Figure:
    """Rows w_k of first layers as images, one row of pictures per entry (label → (K, N))."""
    widest = max(len(W) for W in network_rows.values())
    fig, axes = plt.subplots(len(network_rows), widest, figsize=(1.3 * widest, 1.5 * len(network_rows)), squeeze=False)
    for row, (label, W) in zip(axes, network_rows.items(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, w in zip(row, W, strict=False):
            limit = np.abs(w).max()
            axis.imshow(w.reshape(image_shape), cmap="coolwarm", vmin=-limit, vmax=limit)
        row[0].set_title(label, loc="left")
    return fig


def overlaps(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Overlap matrices R_km = w_k·w*_m/N of students with teachers as heat maps, (K, M) each, on one colour scale."""
    fig, axes = plt.subplots(1, len(matrices), figsize=(2.6 * len(matrices) + 0.6, 2.6), squeeze=False)
    limit = max(np.abs(R).max() for R in matrices.values())
    for axis, (title, R) in zip(axes[0], matrices.items(), strict=True):
        image = axis.imshow(R, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set(title=title, xlabel="teacher unit $m$", xticks=range(R.shape[1]), yticks=range(R.shape[0]))
    axes[0, 0].set_ylabel("student unit $k$")
    fig.colorbar(image, ax=axes[0].tolist(), label="$R_{km}$", shrink=0.85)
    return fig


def spectra(inputs: Mapping[str, Inputs]) -> Figure:
    """Eigenvalues of the covariance of the training inputs in falling order, both axes logarithmic."""
    fig, axis = plt.subplots(figsize=(5.6, 3.4))
    for label, kind in inputs.items():
        x = kind.x_train - kind.x_train.mean(0)
        values = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
        axis.plot(np.arange(1, len(values) + 1), values, label=label)
    axis.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue of the covariance", ylim=(1e-4, None))
    axis.legend(fontsize=8)
    return fig


def intrinsic_dimension(results: Mapping[str, xr.Dataset]) -> Figure:
    """The dimension of digits (solid) and of structured inputs with D = 14 (dotted) against the size k of the
    neighbourhoods, a colour per estimator; a panel per result of `dimension.measure`, whose title is its key. A ring
    marks the neighbourhood that an estimator has by default, a thin line the 14.

    Bars are ± 1 standard error over subsamples.
    """
    fig, axes = plt.subplots(1, len(results), figsize=(1.0 + 4.0 * len(results), 4.4), squeeze=False, sharey=True)
    looks = {"digits": {"ls": "-", "mfc": None}, "structured": {"ls": ":", "lw": 0.9, "mfc": "white"}}
    names = {"digits": "", "structured": f", D = {dimension.PAPER}"}
    for axis, (title, result) in zip(axes[0], results.items(), strict=True):
        axis.axhline(dimension.PAPER, color="0.35", lw=0.8, zorder=0)
        for estimator, colour, marker in zip(dimension.ESTIMATORS, (BLUE, GREEN, ORANGE), "oDs", strict=True):
            for inputs, look in looks.items():
                d = result["dimension"].sel(estimator=estimator, inputs=inputs)
                mean, bar = d.mean("subsample"), standard_error(d, "subsample").fillna(0)
                label = f"{estimator}{names[inputs]}"
                axis.errorbar(
                    d["neighbours"], mean, bar, color=colour, marker=marker, ms=5, capsize=2, label=label, **look
                )
                if inputs == "digits":
                    usual = mean.sel(neighbours=[k for k in mean["neighbours"] if k == dimension.USUAL[estimator]])
                    axis.plot(usual["neighbours"], usual, "o", ms=13, mfc="none", color=colour, mew=1)
        k = result["neighbours"].values
        axis.set(xscale="log", xlabel="neighbours $k$", title=title)
        axis.set_ylim(bottom=0)
        axis.set_xticks(k, [str(n) for n in k])
        axis.set_xticks([], minor=True)
    axes[0, 0].set_ylabel("estimated dimension")
    axes[0, 0].legend(loc="lower right", ncols=3, fontsize=7)
    lines = [f"{title}: {dimension.scale(result)}" for title, result in results.items()]
    notices = [result.attrs["notice"] for result in results.values() if result.attrs["notice"]]
    _footnote(fig, [*lines, *notices, "Bars: ± 1 standard error over subsamples."])
    return fig


# ---- what captions leave open ------------------------------------------------------------------------------------

_LABELS = {"sign": "labels ±1", "real": "real labels"}
_LAYERS = {"both": "both layers", "first": "first layer"}
_MODES = [(labels, layers) for labels in _LABELS for layers in _LAYERS]
_TWO_DRAWS = "Means over draws; a cross stands for students that diverged."


def _examples(alpha: float) -> str:
    return "$P = N$" if alpha == 1 else f"$P = {alpha:g}N$"


def _modes(measured: xr.Dataset) -> list[tuple[str, str]]:
    """Those combinations of labels and layers that there are."""
    there = set(zip(measured["labels"].values, measured["layers"].values, strict=True))
    return [mode for mode in _MODES if mode in there]


def _of_mode(measured: xr.Dataset, labels: str, layers: str) -> xr.Dataset:
    return measured.isel(point=(measured["labels"] == labels) & (measured["layers"] == layers))


def scan_map(measured: xr.Dataset) -> Figure:
    """Where C9 holds: `scan.like_mnist` of the points with N and D as at the first, over P/N (columns), labels and
    layers (rows). In each panel the end of training runs to the right, the largest width K upwards and colour is ε₁,₂
    on Gaussian inputs at that K; cells with a dot meet all three parts of the claim.
    """
    for axis in ("n_inputs", "n_latent"):
        measured = measured.isel(point=measured[axis] == measured[axis].values[0])
    alphas, modes = np.unique(measured["alpha"])[::-1], _modes(measured)
    size = (2.1 * len(alphas) + 2.0, 1.7 * len(modes) + 1.5)
    fig, axes = plt.subplots(len(modes), len(alphas), figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, mode in zip(axes, modes, strict=True):
        of_mode = _of_mode(measured, *mode)
        row[0].set_ylabel(f"{_LABELS[mode[0]]}, {_LAYERS[mode[1]]}\nlargest $K$")
        for axis, alpha in zip(row, alphas, strict=True):
            points = of_mode.isel(point=of_mode["alpha"] == alpha)
            if points.sizes["point"]:
                colours = _draw_map(axis, points.isel(point=0))
    for axis, alpha in zip(axes[0], alphas, strict=True):
        axis.set_title(_examples(alpha))
    for axis in axes[-1]:
        axis.set_xlabel("end of training, steps / $N$")
    bar = fig.colorbar(colours, ax=axes, label=r"$\epsilon_{1,2}$ on Gaussian inputs at the largest $K$", shrink=0.8)
    bar.ax.axhline(CHANCE, color="white", lw=1.5)
    handles = [
        Line2D([], [], ls="", marker="o", ms=4, mfc="white", mec="black", label="all three parts of the claim are met"),
        Line2D([], [], color=ORANGE, label=rf"here $\epsilon_{{1,2}}/\epsilon_g$ leaves 1/{RATIO:g} to {RATIO:g}"),
        Patch(fc="white", ec="0.5", hatch="////", label="still learning"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8)
    _footnote(fig, [_size(measured), _TWO_DRAWS])
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
    for flag, how in (("diverged", {"marker": "x", "c": "0.4", "lw": 0.8}),
                      ("holds", {"marker": "o", "c": "white", "ec": "black", "lw": 0.6})):  # fmt: skip
        rows, columns = np.nonzero(point[flag].values)
        axis.scatter(t[columns], K[rows], s=11, zorder=3, **how)
    axis.add_collection(LineCollection(_border(point["agrees"].values, *edges), colors=ORANGE, lw=1.5))
    axis.set(xscale="log", yscale="log", yticks=K, yticklabels=K)
    axis.minorticks_off()
    return colours


def _border(inside: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[list[tuple[float, float]]]:
    """The edges between cells that are inside and cells that are not; inside (rows, columns), edges x and y."""
    upright = [[(x[j + 1], y[i]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(inside[:, 1:] != inside[:, :-1])]
    level = [[(x[j], y[i + 1]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(inside[1:] != inside[:-1])]
    return upright + level


def _edges(centres: np.ndarray) -> np.ndarray:
    """Edges of cells around centres on a logarithmic axis."""
    middle = np.sqrt(centres[1:] * centres[:-1])
    return np.concatenate([[centres[0] ** 2 / middle[0]], middle, [centres[-1] ** 2 / middle[-1]]])


_MODE_COLOURS = dict(zip(_LABELS, (BLUE, ORANGE), strict=True))


def _two_widths(measured: xr.Dataset) -> list[int]:
    """K ≤ 8, as far as the paper's figures go, and all."""
    widths = measured["width"].values
    return sorted({int(widths[widths <= 8].max()), int(widths.max())})


def _marked(axis: Axes, y: xr.DataArray, along: str, *, colour: str, filled: bool, dashed: bool, label: str) -> None:
    y = y.sortby(along)
    how = {"marker": "o", "ms": 5, "mfc": colour if filled else "white", "ls": "--" if dashed else "-", "lw": 1.2}
    axis.plot(y[along], y, color=colour, label=label, **how)


def scan_lines(mnist: xr.Dataset, overfit: xr.Dataset) -> Figure:
    """How the numbers behind C9 and C17 depend on D (left) and on N (right), the rest being as at the first point:
    `scan.like_mnist` and `scan.overfits` of the same points, at the end of training, for real labels and signs.
    """
    N, D = (mnist[axis].values[0] for axis in ("n_inputs", "n_latent"))
    alike = (mnist["alpha"] == mnist["alpha"][0]) & (mnist["layers"] == mnist["layers"][0])
    numbers = (
        (mnist["chance"], r"$\epsilon_{1,2}$, Gaussian inputs," "\nlargest $K$"),
        (mnist["ratio"], r"$\epsilon_{1,2}/\epsilon_g$," "\nstructured inputs"),
        (overfit["end"], r"$d\epsilon_g/d\,\ln K$"),
    )
    rest = f"{_examples(mnist['alpha'].values[0])}, {_LAYERS[mnist['layers'].values[0]]}"
    lines = (
        ("n_latent", mnist["n_inputs"] == N, f"$N = {N}$", "dimension of the manifold $D$"),
        ("n_inputs", mnist["n_latent"] == D, f"$D = {D}$", "number of inputs $N$"),
    )
    fig, axes = plt.subplots(len(numbers), 2, figsize=(7.6, 7.4), sharey="row", sharex="col")
    for row, (values, name) in zip(axes, numbers, strict=True):
        row[0].set_ylabel(name)
        for axis, (along, on_line, _, _) in zip(row, lines, strict=True):
            for labels, colour in _MODE_COLOURS.items():
                some = values.isel(point=alike & on_line & (mnist["labels"] == labels), time=-1)
                for K in _two_widths(mnist):
                    _marked(axis, some.sel(width=K), along, colour=colour, filled=K > 8, dashed=K <= 8,
                            label=f"{_LABELS[labels]}, $K \\leq {K}$")  # fmt: skip
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
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    _footnote(fig, [
        f"End of training, t = {float(mnist['time'][-1]):g}. Means over draws. Dotted: what the claim needs to exceed "
        f"({CHANCE} above, 0 below); grey: the ratio that passes for 'about the same'."
    ])  # fmt: skip
    return fig


def scan_overfitting(overfit: xr.Dataset) -> Figure:
    """Where C17 holds for latent labels: `scan.overfits` at the end of training against P/N, a column for labels and
    layers. Top: dε_g/dlnK at the end and with early stopping; bottom: ε_g over that at D = 10. Drawn are the points at
    D = N/2 of the smallest N that has some: that of Fig. 9.
    """
    many = overfit.isel(point=2 * overfit["n_latent"] == overfit["n_inputs"], time=-1)
    many = many.isel(point=many["n_inputs"] == many["n_inputs"].min())
    modes = _modes(many)
    size = (2.1 * len(modes) + 1.0, 5.4)
    fig, axes = plt.subplots(2, len(modes), figsize=size, sharex=True, sharey="row", squeeze=False)
    for column, mode in zip(axes.T, modes, strict=True):
        points = _of_mode(many, *mode)
        column[0].set_title(f"{_LABELS[mode[0]]}, {_LAYERS[mode[1]]}")
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
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    _footnote(fig, [
        f"{_size(many)}; end of training, t = {float(many['time']):g}. Means over draws. The claim: both slopes above "
        f"0, that of early stopping the smaller, and the quotient above {RATIO:g} (dotted)."
    ])  # fmt: skip
    return fig


def save(fig: Figure, name: str, out: str | Path) -> None:
    """Writes the figure to OUT/figures/NAME.png and .pdf, aside first; an empty `out` writes nothing."""
    if not str(out):
        return
    for kind in ("png", "pdf"):
        with mpl.rc_context({"pdf.fonttype": 42}):
            replace(Path(out) / "figures" / f"{name}.{kind}", partial(fig.savefig, format=kind))
