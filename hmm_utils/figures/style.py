"""What all figures share: the style sheet, the widths they are printed at, the colours, the line below, the files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hmm_utils.files import replace

__all__ = [
    "BLUE", "COLOURS", "COLUMN", "FOOTNOTE", "GREEN", "ORANGE", "PAGE", "SMALL", "TIME", "footnote", "heading", "save",
    "use_style",
]  # fmt: skip

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches of a figure that fills one column of a journal's page, and of one that fills both."""

SMALL, FOOTNOTE = 7.0, 6.5
"""Font sizes in points; nothing is smaller."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255", "#F0E442")
"""The colours of Okabe & Ito, and one more, in the order of the style sheet's cycle."""

BLUE, ORANGE, GREEN = COLOURS[:3]

TIME = r"time $t$ = steps / $N$"


def use_style() -> None:
    """Sets the look of every figure that follows in this session."""
    plt.style.use(str(files("hmm_utils.figures").joinpath("paper.mplstyle")))


def _broken(text: str, width: float, size: float) -> str:
    """Text in lines that fit into so many inches at a font size in points."""
    # in a typical line a letter is less than 0.58 em wide
    return textwrap.fill(text, int(72 * width / (0.58 * size)))


def heading(title: str, width: float) -> str:
    """The title of a panel that, with its tick labels, has so many inches."""
    return _broken(title, width - 0.1, 8)


def footnote(fig: Figure, lines: Sequence[str]) -> None:
    """Text below the panels, each line once, broken to the figure's width: the scale of the runs, what bars are."""
    text = "\n".join(_broken(line, fig.get_figwidth(), FOOTNOTE) for line in dict.fromkeys(lines))
    fig.supxlabel(text, fontsize=FOOTNOTE, color="0.35", x=0.01, ha="left")


def save(fig: Figure, name: str, out: str | Path) -> None:
    """Writes the figure to OUT/figures/NAME.png and .pdf, aside first; an empty `out` writes nothing."""
    if not str(out):
        return
    for kind in ("png", "pdf"):
        with mpl.rc_context({"pdf.fonttype": 42}):
            replace(Path(out) / "figures" / f"{name}.{kind}", partial(fig.savefig, format=kind))
