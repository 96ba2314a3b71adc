"""How many dimensions inputs have: spectra of their covariance, and estimates of their intrinsic dimension."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hmm_utils.figures.style import BLUE, COLUMN, GREEN, ORANGE, PAGE, Look, footnote
from hmm_utils.model.datasets import Inputs
from hmm_utils.model.observables import standard_error
from hmm_utils.runs import dimension

__all__ = ["intrinsic_dimension", "spectra"]


def spectra(inputs: Mapping[str, Inputs]) -> Figure:
    """Eigenvalues of the covariance of the training inputs, largest first, on logarithmic axes.

    Parameters
    ----------
    inputs : mapping of str to Inputs
        One line per entry, with its key as the label.
    """
    fig, axis = plt.subplots(figsize=(COLUMN, 2.9))
    for label, kind in inputs.items():
        x = kind.x_train - kind.x_train.mean(0)
        values = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
        axis.plot(np.arange(1, len(values) + 1), values, label=label)
    axis.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue of the covariance", ylim=(1e-4, None))
    axis.legend()
    return fig


def intrinsic_dimension(results: Mapping[str, xr.Dataset]) -> Figure:
    """Intrinsic dimension of digits (solid) and of structured inputs with D = 14 (dotted) against the neighbourhood k.

    One colour per estimator. A ring marks the neighbourhood that an estimator has by default, a thin line the
    dimension 14. Bars are ± 1 standard error over subsamples.

    Parameters
    ----------
    results : mapping of str to Dataset
        One panel per result of :func:`hmm_utils.runs.dimension.measure`, with its key as the title.
    """
    size = (COLUMN if len(results) == 1 else PAGE, 3.2)
    fig, axes = plt.subplots(1, len(results), figsize=size, squeeze=False, sharey=True)
    looks: dict[str, Look] = {
        "digits": {"ls": "-", "mfc": None},
        "structured": {"ls": ":", "lw": 0.9, "mfc": "white"},
    }
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
    bars = "Bars: ± 1 standard error over subsamples. Rings: the usual neighbourhood of an estimator."
    footnote(fig, [*lines, *notices, bars])
    return fig
