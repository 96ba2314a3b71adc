"""Figures: one function per kind of plot, from labelled results to a matplotlib Figure. Nothing is computed here but
means and error bars, so that recolouring a plot costs nothing.

Here are the curves; pictures of data and networks are in `pictures`, those of the scan in `validity`. A
notebook finds all of them under this one name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmm_utils.figures.pictures import first_layers, manifold, model, parts, samples, weights
from hmm_utils.figures.style import (
    BLUE,
    COLUMN,
    FOOTNOTE,
    GREEN,
    ORANGE,
    PAGE,
    SMALL,
    TIME,
    footnote,
    heading,
    save,
    use_style,
)
from hmm_utils.figures.validity import scan_lines, scan_map, scan_overfitting
from hmm_utils.model.datasets import Inputs
from hmm_utils.model.observables import early_stopping, final, standard_error
from hmm_utils.runs import dimension
from hmm_utils.runs.experiments import scale_note

__all__ = [
    "BLUE",
    "GREEN",
    "ORANGE",
    "first_layers",
    "independent_students",
    "intrinsic_dimension",
    "learning_curves",
    "manifold",
    "model",
    "overlaps",
    "parts",
    "samples",
    "save",
    "scan_lines",
    "scan_map",
    "scan_overfitting",
    "spectra",
    "use_style",
    "weights",
]


def _scale_lines(results: Mapping[str, xr.Dataset]) -> list[str]:
    lines = [f"{label}: {scale_note(result)}" for label, result in results.items()]
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
    size = (COLUMN if len(results) == 1 and not inset else PAGE, 0.3 + 2.6 * len(values))
    fig, axes = plt.subplots(len(values), len(results), figsize=size, squeeze=False)
    for take, row in zip(values, axes, strict=True):
        for axis, result in zip(row, results.values(), strict=True):
            _draw_students(axis, result, take)
        hat = take is early_stopping
        row[0].set_ylabel(r"fractional error, early stopping $\hat\epsilon$" if hat else "fractional error")
    for column, title in zip(axes.T, results, strict=True):
        column[0].set_title(heading(title, size[0] / len(results)))
        column[-1].set_xlabel("$K$")
        # room for the legend above the data, and never a panel that magnifies noise around zero
        top = max(0.06, *(1.6 * axis.dataLim.y1 for axis in column))
        for axis in column:
            axis.set_ylim(0, top)
    if inset:
        last = axes[-1, -1]
        last.set_ylim(0, 2.6 * last.dataLim.y1)
        small = last.inset_axes((0.6, 0.56, 0.39, 0.42))
        _draw_curves(small, inset, width=None)
        small.set(xscale="log", yscale="log")
        small.set_xlabel(TIME, fontsize=SMALL)
        small.set_ylabel(r"$\epsilon_g^{\mathrm{mse}}$", fontsize=SMALL)
        small.legend(fontsize=FOOTNOTE)
    told = ["Bars: ± 1 standard error over initialisations and draws."]
    if early_stopping in values:
        told.append(r"Hats: the smallest error along training, early stopping (App. C).")
    if inset:
        told.append(f"Inset: means; {_BANDS}")
    footnote(fig, [*_scale_lines(results), " ".join(told)])
    return fig


_BANDS = "bands: 16 % to 84 % of runs."


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
        # symbols of errors near zero are not cut by the axis
        look = {"color": colour, "marker": marker, "ls": ":", "lw": 0.8, "capsize": 2, "clip_on": False}
        axis.errorbar(y["width"], y.mean("sample"), bar, label=label, **look)
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
    fig, axes = plt.subplots(1, 2, figsize=(PAGE, 2.9))
    for ax in axes:
        _draw_curves(ax, results, width)
        for line in list(ax.lines) if ends else ():
            ax.axhline(line.get_ydata()[-1], color=line.get_color(), ls=":", lw=0.8)
    for ax, y_scale in zip(axes, ("linear", "log"), strict=True):
        ax.set(xscale="log", yscale=y_scale, xlabel=TIME, ylabel=r"test error $\epsilon_g^{\mathrm{mse}}$")
    axes[0].set_ylim(bottom=0)
    # a run that has found its teacher falls to where single precision ends, and would press the others flat
    axes[1].set_ylim(bottom=min(float(np.nanmin(line.get_ydata())) for line in axes[1].lines) / 10)
    axes[0].legend(loc="upper right")
    one_each = {label: next(iter(modes.values())) for label, modes in results.items() if modes}
    told = f"Lines: means over initialisations, draws and the two students; {_BANDS}"
    footnote(fig, [*_scale_lines(one_each), told + (" Dotted: where a line ends." if ends else "")])
    return fig


def overlaps(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Overlap matrices R_km = w_k·w*_m/N of students with teachers as heat maps, (K, M) each, on one colour scale."""
    fig, axes = plt.subplots(1, len(matrices), figsize=(COLUMN if len(matrices) == 1 else PAGE, 2.2), squeeze=False)
    limit = max(np.abs(R).max() for R in matrices.values())
    for axis, (title, R) in zip(axes[0], matrices.items(), strict=True):
        image = axis.imshow(R, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set(title=title, xlabel="teacher unit $m$", xticks=range(R.shape[1]), yticks=range(R.shape[0]))
    axes[0, 0].set_ylabel("student unit $k$")
    fig.colorbar(image, ax=axes[0].tolist(), label="$R_{km}$", shrink=0.85)
    return fig


def spectra(inputs: Mapping[str, Inputs]) -> Figure:
    """Eigenvalues of the covariance of the training inputs in falling order, both axes logarithmic."""
    fig, axis = plt.subplots(figsize=(COLUMN, 2.9))
    for label, kind in inputs.items():
        x = kind.x_train - kind.x_train.mean(0)
        values = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
        axis.plot(np.arange(1, len(values) + 1), values, label=label)
    axis.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue of the covariance", ylim=(1e-4, None))
    axis.legend()
    return fig


def intrinsic_dimension(results: Mapping[str, xr.Dataset]) -> Figure:
    """The dimension of digits (solid) and of structured inputs with D = 14 (dotted) against the size k of the
    neighbourhoods, a colour per estimator; a panel per result of `dimension.measure`, whose title is its key. A ring
    marks the neighbourhood that an estimator has by default, a thin line the 14.

    Bars are ± 1 standard error over subsamples.
    """
    size = (COLUMN if len(results) == 1 else PAGE, 3.2)
    fig, axes = plt.subplots(1, len(results), figsize=size, squeeze=False, sharey=True)
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
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    lines = [f"{title}: {dimension.note(result)}" for title, result in results.items()]
    notices = [result.attrs["notice"] for result in results.values() if result.attrs["notice"]]
    told = "Bars: ± 1 standard error over subsamples. Rings: the usual neighbourhood of an estimator."
    footnote(fig, [*lines, *notices, told])
    return fig
