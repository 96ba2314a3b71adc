"""Learning curves and order parameters of trainings in one figure: from labelled results, finished or growing."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hmm_utils.figures.style import COLOURS, SHEET, Look

__all__ = ["Panels", "canvas", "figure", "png"]

# inches; by hand, because solving for a layout takes as long as drawing everything
_WIDTH, _HEIGHT, _TITLE, _FOOT, _LEGEND_ROW = 9.6, 3.3, 0.3, 0.48, 0.21
# (left, width) and (bottom, height) as parts of the width and of the height between foot and title
_PLACES = {
    "eps_g": (0.072, 0.335, 0.0, 1.0),
    "eps_12": (0.482, 0.28, 0.0, 1.0),
    "Q": (0.817, 0.118, 0.6, 0.4),
    "Q bar": (0.942, 0.009, 0.6, 0.4),
    "R": (0.817, 0.118, 0.0, 0.4),
    "R bar": (0.942, 0.009, 0.0, 0.4),
}
_MATRICES = {"Q": ("$Q_{kl}$ of student 1", ""), "R": ("$R_{km}$ with the teacher", "$m$")}
_INPUTS = {"test": ("-", "test inputs"), "gauss": ("--", "Gaussian inputs")}
# first time on the axis: N/10 samples
_FIRST = 0.1
# width of the figure, and of a legend's line with its distance, in characters of the legend's font
_LEGEND_CHARACTERS, _LEGEND_HANDLE = 145, 8


def _style() -> Any:
    """Context in which a figure is drawn in the package's style, whatever the session's."""
    return mpl.rc_context(mpl.rc_params_from_file(SHEET, use_default_template=False))


def figure(results: Mapping[str, xr.Dataset]) -> Figure:
    """Test error ε_g (left) and disagreement ε₁,₂ (middle) against time; order parameters Q and R (right).

    ε_g is the mean of the two students. ε₁,₂ is the fraction of inputs whose sign they disagree on: solid on test
    inputs, dashed on Gaussian ones; dotted: chance. Q and R are those of the first student of the last result, at its
    last time.

    Parameters
    ----------
    results : mapping of str to Dataset
        Label → result of :func:`hmm_utils.play.session.train_pair`, in a colour of its own.
    """
    with _style():
        fig = plt.figure(layout="none")
        Panels(fig).draw(results)
    return fig


def canvas() -> Figure:
    """Empty figure that no notebook shows by itself, to be drawn on repeatedly."""
    with _style():
        fig = Figure(layout="none")  # type: ignore[arg-type]  # matplotlib's types lack it
        FigureCanvasAgg(fig)
    return fig


def png(fig: Figure) -> bytes:
    """PNG of a figure as it is, quickly rather than small."""
    buffer = io.BytesIO()
    # after saving, matplotlib gives a figure without a layout the one of the session
    with mpl.rc_context({"savefig.bbox": "standard", "figure.constrained_layout.use": False}):
        fig.savefig(buffer, format="png", dpi="figure", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


class Panels:
    """Axes of a figure, on which :meth:`draw` shows one state of the results after another.

    Parameters
    ----------
    fig : Figure
        Gets the axes.
    """

    def __init__(self, fig: Figure) -> None:
        self._fig = fig
        self._lines: list[Line2D] = []
        with _style():
            self._axes = {name: fig.add_axes((left, 0, width, 1)) for name, (left, width, *_) in _PLACES.items()}
            curve, between = self._axes["eps_g"], self._axes["eps_12"]
            curve.set(xscale="log", yscale="log", ylabel=r"$\epsilon_g^{\mathrm{mse}}$")
            curve.set_title("test error, mean of the two students", loc="left")
            between.set(xscale="log", ylim=(0, 0.62), ylabel=r"$\epsilon_{1,2}^{\mathrm{frac}}$")
            between.set_title("where the students disagree", loc="left")
            between.axhline(0.5, color="0.5", ls=":", lw=1)
            looks = [Line2D([], [], color="0.3", ls=ls, label=label) for ls, label in _INPUTS.values()]
            between.legend(handles=looks, loc="lower left", fontsize=8, handlelength=2.2)
            for axis in (curve, between):
                axis.set_xlabel("time, steps / $N$")
            self._images = {name: self._axes[name].imshow([[0.0]], cmap="RdBu_r", aspect="auto") for name in _MATRICES}
            for name, (title, columns) in _MATRICES.items():
                axis, bar = self._axes[name], self._axes[f"{name} bar"]
                axis.set_title(title, fontsize=9, pad=4)
                axis.set_ylabel("$k$", fontsize=9, labelpad=4, rotation=0, va="center", ha="right")
                axis.set_xlabel(columns, fontsize=9, labelpad=1)
                fig.colorbar(self._images[name], cax=bar)
                for one in (axis, bar):
                    one.tick_params(labelsize=7, length=2, pad=2)
        self.draw({})

    def draw(self, results: Mapping[str, xr.Dataset], *, end: float = 0.0) -> None:
        """Show these results instead of the previous ones.

        Parameters
        ----------
        results : mapping of str to Dataset
            As for :func:`figure`.
        end : float
            Least end of the time axes.
        """
        with _style():
            for line in self._lines:
                line.remove()
            self._lines = [
                line
                for i, result in enumerate(results.values())
                for line in self._curves(result, COLOURS[i % len(COLOURS)], last=i == len(results) - 1)
            ]
            end = max([10 * _FIRST, end, *(float(result["time"][-1]) for result in results.values())])
            for name in ("eps_g", "eps_12"):
                self._axes[name].set_xlim(_FIRST, end)
            self._axes["eps_g"].set_ylim(*_limits(list(results.values())))
            self._place(self._name(list(results)))
            last = list(results.values())[-1:]
            for name in _MATRICES:
                self._matrix(name, last[0][name].isel(student=0, time=-1).values if last else np.zeros((0, 0)))
            taught = not last or last[0]["R"].size
            self._axes["R"].set_title(_MATRICES["R"][0] if taught else "no teacher, no $R$", fontsize=9, pad=4)

    def _curves(self, result: xr.Dataset, colour: str, last: bool) -> list[Line2D]:
        later = result.isel(time=result["time"].values > 0)
        t, eps_g = later["time"].values, later["eps_g_mse"].mean("student").values
        look: Look = {"color": colour, "lw": 1.8 if last else 1.1, "zorder": 3 if last else 2}
        lines = self._axes["eps_g"].plot(t, eps_g, **look)
        if last:
            lines += self._axes["eps_g"].plot(t[-1:], eps_g[-1:], "o", ms=5, clip_on=False, **look)
        for inputs, (ls, _) in _INPUTS.items():
            lines += self._axes["eps_12"].plot(t, later["eps_12_frac"].sel(inputs=inputs), ls=ls, **look)
        return lines

    def _name(self, labels: Sequence[str]) -> int:
        """Draw a legend above the panels, if there is more than one label; returns the number of its lines."""
        for legend in list(self._fig.legends):
            legend.remove()
        if len(labels) < 2:
            return 0
        widest = _LEGEND_CHARACTERS - _LEGEND_HANDLE
        named = [textwrap.fill(label, widest) for label in labels]
        longest = max(len(line) for label in named for line in label.splitlines())
        columns = max(min(_LEGEND_CHARACTERS // (longest + _LEGEND_HANDLE), len(labels)), 1)
        handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=label) for i, label in enumerate(named)]
        self._fig.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.06, 1.0), ncols=columns, fontsize=9,
            borderaxespad=0.2, labelspacing=0.3, columnspacing=1.6,
        )  # fmt: skip
        # a legend is filled column by column
        rows = -(-len(labels) // columns)
        return sum(max(label.count("\n") + 1 for label in named[row::rows]) for row in range(rows))

    def _place(self, legend_rows: int) -> None:
        """Make room for the legend: the panels keep their size, the figure grows."""
        height = _FOOT + _HEIGHT + _TITLE + _LEGEND_ROW * legend_rows
        self._fig.set_size_inches(_WIDTH, height)
        for name, (left, width, bottom, part) in _PLACES.items():
            self._axes[name].set_position((left, (_FOOT + bottom * _HEIGHT) / height, width, part * _HEIGHT / height))

    def _matrix(self, name: str, matrix: np.ndarray) -> None:
        rows, columns = matrix.shape
        image, axis = self._images[name], self._axes[name]
        (axis.set_axis_on if matrix.size else axis.set_axis_off)()
        self._axes[f"{name} bar"].set_visible(bool(matrix.size))
        image.set_visible(bool(matrix.size))
        if matrix.size:
            limit = max(float(np.nanmax(np.abs(matrix), initial=0.0)), 1e-6)
            image.set(data=matrix, clim=(-limit, limit), extent=(0.5, columns + 0.5, rows + 0.5, 0.5))
        axis.set_yticks(_numbers(rows))
        axis.set_xticks(_numbers(columns))


def _numbers(n: int) -> list[int]:
    """Units 1 … n with a tick: all, or a few if there are many."""
    return list(range(1, n + 1, max(-(-n // 5), 1)))


def _limits(results: Sequence[xr.Dataset]) -> tuple[float, float]:
    """Error axis in half decades, at least three, so that its limits rarely move while a curve grows."""
    values = [np.ravel(result["eps_g_mse"].isel(time=result["time"].values > 0)) for result in results]
    positive = np.concatenate([[], *values])
    positive = positive[np.isfinite(positive) & (positive > 0)]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    top = np.ceil(2 * np.log10(high) + 0.1) / 2
    return 10 ** min(np.floor(2 * np.log10(low) - 0.1) / 2, top - 1.5), 10**top
