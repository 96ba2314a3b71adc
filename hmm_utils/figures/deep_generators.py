"""Deep generative models of inputs: local fields and learning curves against theory (chapter T2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi, sqrt

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hmm_utils.figures.style import BLUE, COLOURS, COLUMN, ORANGE, PAGE, TIME, footnote
from hmm_utils.runs import deep

__all__ = ["against_gaussianity", "fields", "images", "learning", "propagation", "spectra"]


def images(samples: Mapping[str, np.ndarray]) -> Figure:
    """Pictures of inputs, one row per generator.

    Grey: from −2 (white) to 2 (black), in units of the standard deviation of a pixel. Colours: each channel from −2
    (dark) to 2 (bright).

    Parameters
    ----------
    samples : mapping of str to array
        Inputs (n, rows, columns) or (n, channels, rows, columns) of mean 0 and standard deviation 1 per generator.
    """
    n = max(map(len, samples.values()))
    heights = [PAGE / n * min(x[0].shape[-2] / x[0].shape[-1], 1) + 0.25 for x in samples.values()]
    fig, axes = plt.subplots(
        len(samples), n, figsize=(PAGE, sum(heights) + 0.2), squeeze=False, height_ratios=heights
    )  # fmt: skip
    for row, (label, pictures) in zip(axes, samples.items(), strict=True):
        for axis, x in zip(row, pictures, strict=False):
            coloured = np.clip(np.moveaxis(x, 0, -1) / 4 + 0.5, 0, 1) if x.ndim == 3 else x
            axis.imshow(coloured, vmin=-2, vmax=2)
            axis.set(xticks=[], yticks=[])
        row[0].set_title(label, loc="left")
    footnote(fig, ["Grey: from −2 (white) to 2 (black). Colours: each channel from −2 (dark) to 2 (bright)."])
    return fig


def _names(result: xr.Dataset, names: Sequence[str] | None) -> list[str]:
    return [str(name) for name in result["generator"].values] if names is None else list(names)


def spectra(result: xr.Dataset) -> Figure:
    """Eigenvalues of the inputs' covariance Ω, largest first, on logarithmic axes; participation ratio in brackets.

    Parameters
    ----------
    result : Dataset
        From :func:`hmm_utils.runs.deep.measure`.
    """
    fig, axis = plt.subplots(figsize=(PAGE, 3.0))
    for name, colour in zip(_names(result, None), COLOURS, strict=False):
        one = result.sel(generator=name)
        label = f"{name} ({float(one['participation']):.0f})"
        axis.plot(one["eigenvalue_rank"], one["eigenvalue"], color=colour, label=label)
    axis.set(xscale="log", yscale="log", xlabel="rank", ylabel=r"eigenvalue of $\Omega$", ylim=(1e-4, None))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="participation ratio in brackets")
    return fig


def fields(result: xr.Dataset, names: Sequence[str] | None = None) -> Figure:
    """Densities of students' local fields λ before and after training, against a Gaussian (dashed).

    Parameters
    ----------
    result : Dataset
        From :func:`hmm_utils.runs.deep.measure`.
    names : sequence of str, optional
        Which generators are shown; all by default.
    """
    fig, axes = plt.subplots(1, 2, figsize=(PAGE, 2.8), sharey=True)
    bins = result["bin"]
    for axis, when, title in zip(axes, ("start", "end"), ("before training", "after training"), strict=True):
        axis.plot(bins, np.exp(-(bins**2) / 2) / sqrt(2 * pi), color="0.4", ls="--", lw=1, label="Gaussian")
        for i, name in enumerate(_names(result, names)):
            density = result["density"].sel(generator=name, when=when)
            axis.plot(bins, density.where(density > 0), color=COLOURS[i], label=name, lw=1.3)
        axis.set(yscale="log", ylim=(1e-4, None), title=title, xlabel=r"$\lambda$ / standard deviation")
    axes[0].set_ylabel("density")
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def learning(result: xr.Dataset, names: Sequence[str] | None = None) -> Figure:
    """Generalisation error ε_g against time: theory (lines), simulations from Q, R (dots) and on test inputs (rings).

    One panel per generator, one colour per draw of teacher and student; dots and rings are means over simulations.

    Parameters
    ----------
    result : Dataset
        From :func:`hmm_utils.runs.deep.measure`.
    names : sequence of str, optional
        Which generators are shown; all by default.
    """
    names = _names(result, names)
    columns = 3 if len(names) > 2 else len(names)
    rows = -(-len(names) // columns)
    size = (PAGE if columns > 1 else COLUMN, 2.0 * rows + 0.6)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True)
    for axis, name in zip(axes.ravel(), names, strict=False):
        _draw_learning(axis, result.sel(generator=name))
        condition = str(result["condition"].sel(generator=name).values)
        axis.set_title(f"{name}\n({condition})" if condition else name)
    for axis in axes.ravel()[len(names) :]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set_xlabel(TIME)
    for axis in axes[:, 0]:
        axis.set_ylabel(r"$\epsilon_g^{\mathrm{mse}}$")
    fig.legend(
        axes[0, 0].lines[:3], ["theory", "from $Q$ and $R$", "on test inputs"], loc="outside upper center", ncols=3
    )
    footnote(fig, ["A colour per draw of teacher and student; dots and rings: means over simulations."])
    return fig


def _draw_learning(axis: Axes, result: xr.Dataset) -> None:
    later = result.where(result["time"] > 0, drop=True)
    for i in range(later.sizes["start"]):
        one, colour = later.isel(start=i), COLOURS[i % len(COLOURS)]
        axis.plot(one["time"], one["theory"], color=colour, lw=1.2)
        axis.plot(one["time"], one["eps_g_mse"].mean("simulation"), ".", color=colour, ms=5)
        test = one["eps_g_test_mse"].mean("simulation")
        axis.plot(one["time"], test, "o", color=colour, mfc="none", ms=5, mew=0.6)
    axis.set(xscale="log", yscale="log")


def propagation(result: xr.Dataset) -> Figure:
    """Relative deviation of ε_g on test inputs from theory, with sampled (blue) and propagated covariances (orange).

    Propagated covariances follow from layer to layer; shown are the generators that allow it. Lines are means over
    draws of teacher and student, bands ± 1 standard error.

    Parameters
    ----------
    result : Dataset
        From :func:`hmm_utils.runs.deep.measure`.
    """
    names = [name for name in _names(result, deep.RANDOM) if result["propagated"].sel(generator=name).notnull().all()]
    size = (PAGE if len(names) > 1 else COLUMN, 2.5)
    fig, axes = plt.subplots(1, len(names), figsize=size, squeeze=False, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        one = result.sel(generator=name).where(result["time"] > 0, drop=True)
        simulated = one["eps_g_test_mse"].mean("simulation")
        for theory, colour, label in (("theory", BLUE, "sampled"), ("propagated", ORANGE, "propagated")):
            d = simulated / one[theory] - 1
            mean, error = d.mean("start"), d.std("start", ddof=1) / sqrt(d.sizes["start"])
            axis.plot(d["time"], mean, color=colour, label=label)
            axis.fill_between(d["time"], mean - error, mean + error, color=colour, alpha=0.2, lw=0)
        axis.axhline(0, color="0.35", lw=0.8)
        axis.set(xscale="log", xlabel=TIME, title=name)
    axes[0, 0].set_ylabel(r"$\epsilon_g$ / theory $-$ 1")
    axes[0, 0].legend(title="covariances")
    footnote(fig, ["Lines: means over draws of teacher and student. Bands: ± 1 standard error."])
    return fig


def against_gaussianity(summary: xr.Dataset) -> Figure:
    """Mean deviation of ε_g from theory against the non-Gaussianity of the local fields, one colour per generator.

    Dots: ε_g from the order parameters Q and R; rings: on test inputs.

    Parameters
    ----------
    summary : Dataset
        From :func:`hmm_utils.runs.deep.summary`.
    """
    fig, axis = plt.subplots(figsize=(PAGE, 2.8))
    for name, colour in zip(_names(summary, None), COLOURS, strict=False):
        one = summary.sel(generator=name)
        x, low, high = (float(one[key]) for key in ("non_gaussianity", "mean", "test_mean"))
        axis.plot([x, x], [low, high], color=colour, lw=0.8)
        axis.plot(x, low, "o", color=colour, label=name)
        axis.plot(x, high, "o", color=colour, mfc="white")
    axis.set(xscale="log", yscale="log", xlabel=r"non-Gaussianity $\langle\kappa_3^2/12+\kappa_4^2/48\rangle^{1/2}$")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel(r"mean of $|\epsilon_g/\mathrm{theory}-1|$")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="dots: from $Q$, $R$; rings: tests")
    return fig
