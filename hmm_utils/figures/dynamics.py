"""Equations of motion against simulations (chapter T1).

Points are simulations, with bars of one standard error; lines are theory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hmm_utils.figures.style import BLUE, COLOURS, COLUMN, GREEN, LAYERS, ORANGE, PAGE, SMALL, TIME, footnote
from hmm_utils.model.observables import standard_error
from hmm_utils.runs import comparison

__all__ = [
    "averaging", "error_against_delta", "error_against_width", "gaussianity", "histograms", "limit", "overlaps",
    "plateaus", "scaling", "starts", "trajectories",
]  # fmt: skip

_BARS = "means over simulations with bars of ± 1 standard error."
_ERROR = r"generalisation error $\epsilon_g$"
_THIN = 12  # draws shown one by one


def histograms(found: Mapping[str, xr.Dataset]) -> Figure:
    """Distribution of a student's local field λ₁/√Q₁₁ over inputs (dots) against the normal density (line).

    Parameters
    ----------
    found : mapping of str to Dataset
        One panel per sample of :func:`hmm_utils.theory.online.equivalence.local_fields`, with its key as the title.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(PAGE, 2.6), sharey=True, squeeze=False)
    grid = np.linspace(-4.5, 4.5, 200)
    for axis, (title, sample) in zip(axes[0], found.items(), strict=True):
        lam = sample["fields"].sel(field="λ1") / np.sqrt(sample["predicted"].sel(field="λ1", other="λ1"))
        density, edges = np.histogram(lam, bins=np.linspace(-4.5, 4.5, 46), density=True)
        axis.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="0.2", lw=1.2, label="normal")
        filled = density > 0
        axis.plot(((edges[1:] + edges[:-1]) / 2)[filled], density[filled], "o", ms=3.5, color=BLUE, label="sampled")
        axis.set(yscale="log", ylim=(2e-5, 3), xlabel=r"$\lambda_1/\sqrt{Q_{11}}$", title=title)
    axes[0, 0].set_ylabel("density")
    axes[0, 0].legend()
    footnote(fig, ["Dots: one student's field over all sampled inputs, binned; line: the normal density."])
    return fig


def gaussianity(found: xr.Dataset) -> Figure:
    """Deviation of local fields from a Gaussian against N, one line per non-linearity f.

    Skewness, excess kurtosis and the largest error of the covariance. Dashed: what a Gaussian sample of the same size
    has.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.theory.online.equivalence.convergence`.
    """
    n = found.attrs["n_samples"]
    panels = {"skewness": ("skewness", (6 / n) ** 0.5), "kurtosis": ("excess kurtosis", (24 / n) ** 0.5),
              "covariance": ("largest error of the covariance", None)}  # fmt: skip
    fig, axes = plt.subplots(1, 3, figsize=(PAGE, 2.6))
    for axis, (name, (label, floor)) in zip(axes, panels.items(), strict=True):
        for f, colour, marker in zip(found["f"].values, COLOURS, "osD^v", strict=False):
            axis.plot(found["n_inputs"], found[name].sel(f=f), marker=marker, color=colour, label=f)
        if floor:
            axis.axhline(floor, color="0.4", ls="--", lw=0.9, label="Gaussian sample")
        axis.set(xscale="log", yscale="log", xlabel="$N$", ylabel=label)
        N = found["n_inputs"].values
        axis.set_xticks(N, [str(size) for size in N])
        axis.set_xticks([], minor=True)
        axis.yaxis.set_minor_formatter(NullFormatter())
    axes[0].legend()
    footnote(fig, [f"From {n} samples each."])
    return fig


def _points(axis: Axes, values: xr.DataArray, **look: Any) -> None:
    mean, bar = values.mean("simulation"), standard_error(values, "simulation")
    axis.errorbar(values["time"], mean, bar, fmt="o", ms=3, capsize=1.5, lw=1, **look)


def _labels(found: xr.Dataset) -> list[str]:
    students = zip(found["width"].values, found["layers"].values, found["lr"].values, strict=True)
    return [rf"$K = {K}$, {LAYERS[layers]}, $\eta = {lr:g}$" for K, layers, lr in students]


def _title(found: xr.Dataset) -> str:
    return f"{found.attrs['f']}, $N = {found.attrs['n_inputs']}$, $D = {found.attrs['n_latent']}$"


def trajectories(results: Mapping[str, xr.Dataset]) -> Figure:
    """Generalisation error ε_g against time: simulations (points) and equations of motion (lines).

    One panel per case, one colour per student; below each, the deviation of simulations from theory in per cent.
    Points are means over simulations with bars of ± 1 standard error; grey: ± 1 %.

    Parameters
    ----------
    results : mapping of str to Dataset
        From :func:`hmm_utils.runs.comparison.compare`, one panel each.
    """
    columns = 2 if len(results) in (2, 4) else min(len(results), 3)
    rows = -(-len(results) // columns)
    fig, axes = plt.subplots(
        2 * rows, columns, figsize=(PAGE, 3.5 * rows + 0.2), squeeze=False, sharex="col",
        height_ratios=[3, 1] * rows,
    )  # fmt: skip
    for i, found in enumerate(results.values()):
        top, below = axes[2 * (i // columns), i % columns], axes[2 * (i // columns) + 1, i % columns]
        one = found.isel(draw=0)
        for u, (label, colour) in enumerate(zip(_labels(found), COLOURS, strict=False)):
            student = one.isel(student=u)
            top.plot(student["time"], student["eps_g_theory"], color=colour, label=label)
            _points(top, student["eps_g"], color=colour)
            mean = student["eps_g"].mean("simulation")
            below.plot(student["time"], 100 * (mean / student["eps_g_theory"] - 1), color=colour)
        top.set(xscale="log", yscale="log", title=_title(found))
        low, high = top.get_ylim()
        top.set_ylim(bottom=low * (low / high) ** (0.16 * len(found["student"])))  # room for the legend
        top.legend(loc="lower left")
        below.axhspan(-1, 1, color="0.9", zorder=0)
        below.axhline(0, color="0.3", lw=0.6)
        below.set_xlabel(TIME)
        below.tick_params(labelbottom=True)
        limit = max(3.3, 1.1 * np.abs(below.dataLim.intervaly).max())
        below.set_ylim(-limit, limit)
    for i in range(len(results), rows * columns):
        axes[2 * (i // columns), i % columns].set_axis_off()
        axes[2 * (i // columns) + 1, i % columns].set_axis_off()
    for row in range(rows):
        axes[2 * row, 0].set_ylabel(_ERROR)
        axes[2 * row + 1, 0].set_ylabel("off by %")
    footnote(fig, [f"Points: {_BARS} Lines: theory. Below: their deviation; grey: ± 1 %."])
    return fig


def overlaps(results: Mapping[str, xr.Dataset], *, student: int = 0) -> Figure:
    """Order parameters Q_kl and R_km against time: simulations (points) and equations of motion (lines).

    Parameters
    ----------
    results : mapping of str to Dataset
        From :func:`hmm_utils.runs.comparison.compare`, one column of panels each.
    student : int
        Which of the students of a case is shown.
    """
    fig, axes = plt.subplots(2, len(results), figsize=(PAGE, 4.4), squeeze=False, sharex="col")
    for column, found in zip(axes.T, results.values(), strict=True):
        one = found.isel(draw=0, student=student)
        K, M = int(one["width"]), one.sizes["m"]
        entries = {
            "Q": [(k, other) for k in range(K) for other in range(k, K)],
            "R": [(k, m) for k in range(K) for m in range(M)],
        }
        for axis, (name, pairs) in zip(column, entries.items(), strict=True):
            other = "l" if name == "Q" else "m"
            for (k, o), colour in zip(pairs, COLOURS, strict=False):
                at = {"k": k, other: o}
                label = f"${name}_{{{k + 1}{o + 1}}}$"
                axis.plot(one["time"], one[f"{name}_theory"].isel(at), color=colour, label=label)
                _points(axis, one[name].isel(at), color=colour)
            axis.set_xscale("log")
            axis.legend(ncols=2)
        column[0].set_title(_title(found))
        column[1].set_xlabel(TIME)
    axes[0, 0].set_ylabel("students' overlaps $Q$")
    axes[1, 0].set_ylabel("with the teacher, $R$")
    footnote(fig, [f"Points: {_BARS} Lines: theory."])
    return fig


def averaging(found: xr.Dataset, *, student: int = 0) -> Figure:
    """Generalisation error ε_g of one student: what averaging the teacher overlaps over modes changes.

    Points: simulations. Line: equations of motion with one teacher overlap per mode of the spectrum; dashed: with
    their average for all modes.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.runs.comparison.compare`.
    student : int
        Which of its students is shown.
    """
    one = found.isel(draw=0, student=student)
    fig, axis = plt.subplots(figsize=(COLUMN, 2.9))
    axis.plot(one["time"], one["eps_g_theory"], color=BLUE, label="one teacher overlap per mode")
    axis.plot(one["time"], one["eps_g_averaged"], "--", color=ORANGE, label="their average for all modes")
    _points(axis, one["eps_g"], color="0.2", label="simulations")
    axis.set(xscale="log", yscale="log", xlabel=TIME, ylabel=_ERROR, title=_title(found))
    axis.legend()
    footnote(fig, [f"Points: {_BARS}"])
    return fig


def scaling(results: Mapping[str, Mapping[str, xr.Dataset]]) -> Figure:
    """Mean deviation of ε_g from theory against N: one dot per draw, and the fitted power law N^−α (line).

    Parameters
    ----------
    results : mapping of str to mapping
        One panel per entry: the parts of a comparison by name, as for :func:`hmm_utils.runs.comparison.exponent`.
    """
    size = (PAGE if len(results) > 1 else COLUMN, 2.8)
    fig, axes = plt.subplots(1, len(results), figsize=size, squeeze=False, sharey=True)
    for axis, (title, parts) in zip(axes[0], results.items(), strict=True):
        sizes, means = [], []
        for found in comparison.simulations(parts, scaling=True).values():
            deviation = comparison.deviations(found)["mean"].mean("student").values
            N = found.attrs["n_inputs"]
            axis.plot([N] * len(deviation), 100 * deviation, "o", ms=4, color=BLUE, alpha=0.6)
            sizes.append(N)
            means.append((np.log(deviation).mean(), len(deviation)))
        alpha, error, _ = comparison.exponent(parts)
        log_N, (logs, weights) = np.log(sizes), np.array(means).T
        height = np.average(logs + alpha * log_N, weights=weights)
        label = rf"$\propto N^{{-\alpha}}$, $\alpha = {alpha:.2f} \pm {error:.2f}$"
        axis.plot(sizes, 100 * np.exp(height - alpha * log_N), color="0.2", label=label)
        axis.set(xscale="log", yscale="log", xlabel="$N$", title=title)
        axis.set_xticks(sizes, [str(N) for N in sizes])
        axis.set_xticks([], minor=True)
        axis.legend()
    axes[0, 0].set_ylabel(r"mean deviation of $\epsilon_g$, %")
    footnote(fig, [r"Dots: one draw each; line: fitted power law, $\alpha$ ± 1 standard error."])
    return fig


def limit(curves: Mapping[str, tuple[xr.Dataset, xr.Dataset]]) -> Figure:
    """Generalisation error ε_g with all modes (lines) and with a single mode, the limit D ≪ N (dashed).

    Time is in units of steps/D.

    Parameters
    ----------
    curves : mapping of str to (Dataset, Dataset)
        Label → curves with all modes and with one.
    """
    fig, axis = plt.subplots(figsize=(COLUMN, 2.8))
    for (label, (whole, single)), colour in zip(curves.items(), COLOURS, strict=False):
        delta = whole.attrs["delta"]
        axis.plot(whole["time"] / delta, whole["eps_g_mse"], color=colour, label=label)
        axis.plot(single["time"] / delta, single["eps_g_mse"], "--", color=colour)
    axis.plot([], [], "--", color="0.3", label="a single mode")
    axis.set(xscale="log", yscale="log", xlabel="time in steps / $D$", ylabel=_ERROR)
    axis.legend()
    return fig


def starts(curves: Sequence[xr.Dataset], average: xr.Dataset) -> Figure:
    """Generalisation error ε_g from the initial weights of several draws (thin), and from their average (dashed).

    Parameters
    ----------
    curves : sequence of Dataset
        Solutions of the equations of motion, one per draw.
    average : Dataset
        The solution that starts from the order parameters averaged over draws.
    """
    fig, axis = plt.subplots(figsize=(COLUMN, 2.7))
    for i, curve in enumerate(curves):
        axis.plot(curve["time"], curve["eps_g_mse"], color=BLUE, lw=0.9, label=None if i else "one draw each")
    axis.plot(average["time"], average["eps_g_mse"], "--", color=ORANGE, lw=2, label="average over draws")
    axis.set(xscale="log", yscale="log", xlabel=TIME, ylabel=_ERROR)
    axis.legend()
    return fig


def error_against_delta(found: xr.Dataset) -> Figure:
    """Asymptotic ε_g against δ = D/N: integrated equations of motion (symbols) and the analytic limit η → 0 (line).

    Right: ratio of the two. Rings: extrapolated to η = 0.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.theory.online.predictions.error_against_delta`.
    """
    fig, (axis, ratio) = plt.subplots(1, 2, figsize=(PAGE, 2.7))
    axis.plot(found["delta"], found["analytic"], color="0.2", label=r"$\eta \to 0$, analytic")
    for lr, colour, marker in zip(found["lr"].values, COLOURS, "sD", strict=False):
        axis.plot(found["delta"], found["eps_g"].sel(lr=lr), marker, ms=4, color=colour, label=rf"$\eta = {lr:g}$")
        ratio.plot(found["delta"], found["eps_g"].sel(lr=lr) / found["analytic"], marker, ms=4, color=colour)
    axis.plot(found["delta"], found["extrapolated"], "o", mfc="none", ms=8, color=GREEN, label=r"extrapolated to 0")
    ratio.plot(found["delta"], found["extrapolated"] / found["analytic"], "o", mfc="none", ms=8, color=GREEN)
    ratio.axhspan(0.97, 1.03, color="0.9", zorder=0)
    ratio.axhline(1, color="0.3", lw=0.6)
    axis.set(xscale="log", yscale="log", xlabel="$D/N$", ylabel=_ERROR)
    ratio.set(xscale="log", xlabel="$D/N$", ylabel="over the analytic error")
    axis.legend()
    footnote(fig, ["Integrated equations of motion; no noise. Grey: ± 3 % of the analytic error."])
    return fig


def error_against_width(found: xr.Dataset) -> Figure:
    """Generalisation error ε_g at ηt = 800 against the width K, by the equations of motion.

    Means over draws of features, teacher and students, with bars of ± 1 standard error. Dotted: K = M.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.theory.online.predictions.error_against_width`.
    """
    fig, axis = plt.subplots(figsize=(COLUMN, 2.8))
    for layers, colour, marker in zip(found["layers"].values, (BLUE, ORANGE), "os", strict=True):
        eps_g = found["eps_g"].sel(layers=layers)
        axis.errorbar(
            eps_g["width"], eps_g.mean("draw"), standard_error(eps_g, "draw"), marker=marker, ms=5, capsize=2,
            color=colour, label=LAYERS[str(layers)],
        )  # fmt: skip
    axis.axvline(2, color="0.6", ls=":", lw=1)
    axis.annotate("$K = M$", (2, axis.get_ylim()[1]), xytext=(4, -10), textcoords="offset points", fontsize=SMALL)
    axis.set(xlabel="$K$", ylabel=r"$\epsilon_g$ at $\eta t = 800$")
    axis.legend()
    footnote(fig, ["Bars: ± 1 standard error over draws of features, teacher and students."])
    return fig


def plateaus(found: xr.Dataset, *, layers: str = "first") -> Figure:
    """Generalisation error ε_g against time by the equations of motion: single draws (thin), geometric means (thick).

    One panel per non-linearity f, i.i.d. inputs first; one colour per D.

    Parameters
    ----------
    found : Dataset
        From :func:`hmm_utils.theory.online.predictions.plateaus`.
    layers : {"first", "both"}
        Which layers are trained.
    """
    kinds = list(dict.fromkeys(found["f"].values))
    fig, axes = plt.subplots(1, len(kinds), figsize=(PAGE, 2.7), sharey=True)
    for axis, f in zip(axes, kinds, strict=True):
        tasks = [i for i in range(found.sizes["task"]) if found["f"].values[i] == f]
        for i, colour in zip(tasks, COLOURS, strict=False):
            curves = found["eps_g"].sel(layers=layers).isel(task=i)
            D = int(found["n_latent"].values[i])
            axis.plot(found["time"], curves[:_THIN].T, color=colour, lw=0.6, alpha=0.35)
            mean = np.exp(xr.apply_ufunc(np.log, curves).mean("draw"))
            axis.plot(found["time"], mean, color=colour, label=f"$D = {D}$" if D else None)
        noise = float(found["noise"].values[tasks[0]])
        title = "i.i.d., teacher" if f == "iid" else rf"{f}, $\zeta/c_0 = {noise:.2f}$"
        axis.set(xscale="log", yscale="log", title=title, xlabel=TIME)
        if f != "iid":
            axis.legend(loc="lower left")
    axes[0].set_ylabel(_ERROR)
    axes[0].set_ylim(bottom=1e-3)
    n = found.sizes["draw"]
    thin = f"the first {_THIN} draws" if n > _THIN else "one draw each"
    footnote(fig, [f"Thin: {thin}; thick: the geometric mean of all {n}."])
    return fig
