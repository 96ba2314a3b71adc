"""Errors of two independent students: against their width at the end of training, and against time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmm_utils.data.digits import kind_of
from hmm_utils.figures import style
from hmm_utils.figures.style import BLUE, COLUMN, GREEN, LAYERS, ORANGE, PAGE, TIME, Look, footnote, heading
from hmm_utils.model.observables import early_stopping, final, standard_error
from hmm_utils.runs.experiments import scale_note

__all__ = ["independent_students", "learning_curves"]

Value = Callable[[xr.DataArray], xr.DataArray]
Modes = Mapping[str, xr.Dataset]

_BANDS = "bands: 16 % to 84 % of runs."


def _scales(results: Mapping[str, xr.Dataset]) -> list[str]:
    """How each result's scale compares with the paper's, and the notices of its data."""
    lines = [f"{label}: {scale_note(result)}" for label, result in results.items()]
    return lines + [r.attrs["notice"] for r in results.values() if r.attrs.get("notice")]


def independent_students(
    results: Mapping[str, xr.Dataset],
    *,
    value: Value | Sequence[Value] = final,
    inset: Mapping[str, Modes] | None = None,
) -> Figure:
    """Fractional errors of two independent students against their width K.

    Blue dots: test error ε_g. Green diamonds and orange crosses: disagreement ε₁,₂ of the two students on Gaussian
    inputs and on test inputs. Bars are ± 1 standard error over initialisations and draws of the data. Symbols with
    hats: the smallest error along training (early stopping, Appendix C).

    Parameters
    ----------
    results : mapping of str to Dataset
        One column of panels per result of :func:`hmm_utils.runs.experiments.run_experiment`, with its key as the title
        (Figs. 1, 3–6 and 8–10).
    value : function or sequence of functions
        Reduces a curve to a number: :func:`hmm_utils.model.observables.final` or
        :func:`hmm_utils.model.observables.early_stopping`. Several give a row of panels each, with one scale per
        column (Fig. 9).
    inset : mapping of str to mapping, optional
        Learning curves of one width for an inset in the last panel (Fig. 4), as for :func:`learning_curves`.
    """
    values = list(value) if isinstance(value, Sequence) else [value]
    size = (COLUMN if len(results) == 1 and not inset else PAGE, 0.3 + 2.6 * len(values))
    fig, axes = plt.subplots(len(values), len(results), figsize=size, squeeze=False)
    for reduce, row in zip(values, axes, strict=True):
        for axis, result in zip(row, results.values(), strict=True):
            _draw_students(axis, result, reduce)
        hat = reduce is early_stopping
        row[0].set_ylabel(r"fractional error, early stopping $\hat\epsilon$" if hat else "fractional error")
    for column, title in zip(axes.T, results, strict=True):
        column[0].set_title(heading(title, size[0] / len(results)))
        column[-1].set_xlabel("$K$")
        # room for the legend above the data, and never a panel that magnifies noise around zero
        top = max(0.06, *(1.6 * axis.dataLim.y1 for axis in column))
        for axis in column:
            axis.set_ylim(0, top)
    lines = ["Bars: ± 1 standard error over initialisations and draws."]
    if early_stopping in values:
        lines.append("Hats: the smallest error along training, early stopping (App. C).")
    if inset:
        _draw_inset(axes[-1, -1], inset)
        lines.append(f"Inset: means; {_BANDS}")
    footnote(fig, [*_scales(results), " ".join(lines)])
    return fig


def _draw_inset(axis: Axes, curves: Mapping[str, Modes]) -> None:
    axis.set_ylim(0, 2.6 * axis.dataLim.y1)
    small = axis.inset_axes((0.6, 0.56, 0.39, 0.42))
    _draw_curves(small, curves, width=None)
    small.set(xscale="log", yscale="log")
    small.set_xlabel(TIME, fontsize=style.SMALL)
    small.set_ylabel(r"$\epsilon_g^{\mathrm{mse}}$", fontsize=style.SMALL)
    small.legend(fontsize=style.FOOTNOTE)


def _draw_students(axis: Axes, result: xr.Dataset, value: Value) -> None:
    """ε_g and ε₁,₂ of one result against K."""
    hat = r"\hat\epsilon" if value is early_stopping else r"\epsilon"
    test = "MNIST images" if kind_of(result.attrs) == "mnist" else "test inputs"
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
        look: Look = {"color": colour, "marker": marker, "ls": ":", "lw": 0.8, "capsize": 2, "clip_on": False}
        axis.errorbar(y["width"], y.mean("sample"), bar, label=label, **look)
    axis.set_xticks(result["width"].values)
    axis.legend(loc="upper left", ncols=1)


def _draw_curves(ax: Axes, results: Mapping[str, Modes], width: int | None) -> None:
    over = ["draw", "init", "student"]
    for (label, modes), colour in zip(results.items(), (BLUE, ORANGE, GREEN), strict=False):
        for layers, result in modes.items():
            curve = result["eps_g_mse"].sel(width=result["width"].values[0] if width is None else width)
            curve = curve.where(curve["time"] > 0, drop=True)
            low, high = (curve.quantile(q, over) for q in (0.16, 0.84))
            name, ls = f"{label}, {LAYERS[layers]}", "--" if layers == "first" else "-"
            ax.plot(curve["time"], curve.mean(over), color=colour, ls=ls, label=name)
            ax.fill_between(curve["time"], low, high, color=colour, alpha=0.15, lw=0)


def learning_curves(results: Mapping[str, Modes], *, width: int | None = None, ends: bool = False) -> Figure:
    """Test error ε_g^mse against time t = steps/N, with a linear (left) and a logarithmic error axis (right).

    Lines are means over initialisations, draws of the data and the two students; bands reach from the 16 % to the 84 %
    quantile. Dashed: the first layer is trained; solid: both layers.

    Parameters
    ----------
    results : mapping of str to mapping
        Label → ``{"first": result, "both": result}``, one colour per label (Figs. 2, 7 and the inset of Fig. 4).
    width : int, optional
        K, if the results hold several.
    ends : bool
        Mark the height at which each curve ends by a thin dotted line (Fig. 7).
    """
    fig, axes = plt.subplots(1, 2, figsize=(PAGE, 2.9))
    for ax in axes:
        _draw_curves(ax, results, width)
        for line in list(ax.lines) if ends else ():
            ax.axhline(line.get_ydata()[-1], color=line.get_color(), ls=":", lw=0.8)
    for ax, y_scale in zip(axes, ("linear", "log"), strict=True):
        ax.set(xscale="log", yscale=y_scale, xlabel=TIME, ylabel=r"test error $\epsilon_g^{\mathrm{mse}}$")
    axes[0].set_ylim(bottom=0)
    # a student that has found its teacher reaches the limit of single precision, and would flatten the other curves
    axes[1].set_ylim(bottom=min(float(np.nanmin(line.get_ydata())) for line in axes[1].lines) / 10)
    axes[0].legend(loc="upper right")
    one_each = {label: next(iter(modes.values())) for label, modes in results.items() if modes}
    caption = f"Lines: means over initialisations, draws and the two students; {_BANDS}"
    footnote(fig, [*_scales(one_each), caption + (" Dotted: where a line ends." if ends else "")])
    return fig
