"""What all figures share: style sheet, printed widths, colours, the note below the panels, and files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hmm_utils.files import replace

__all__ = [
    "BLUE", "COLOURS", "COLUMN", "FOOTNOTE", "GREEN", "LABELS", "LAYERS", "ORANGE", "PAGE", "SHEET", "SMALL", "TIME",
    "Look", "footnote", "heading", "save", "use_style",
]  # fmt: skip

SHEET = str(files("hmm_utils.figures").joinpath("paper.mplstyle"))
"""The style sheet of the package."""

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches of a figure that fills one column of a journal's page, and of one that fills both."""

SMALL, FOOTNOTE = 7.0, 6.5
"""Font sizes in points; nothing is smaller."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255", "#F0E442")
"""The colours of Okabe & Ito, and one more, in the order of the style sheet's cycle."""

BLUE, ORANGE, GREEN = COLOURS[:3]

TIME = r"time $t$ = steps / $N$"

LABELS = {"sign": "labels ±1", "real": "real labels"}
LAYERS = {"both": "both layers", "first": "first layer"}
"""Names of the values of ``labels`` and ``layers`` in legends."""

Look = dict[str, Any]
"""Keyword arguments of matplotlib for the look of a line, a symbol, an image or a text."""


def use_style() -> None:
    """Use the package's style sheet for all further figures of this session."""
    plt.style.use(SHEET)


def _broken(text: str, width: float, size: float) -> str:
    """Text broken into lines of a width in inches at a font size in points."""
    # in a typical line a letter is less than 0.58 em wide
    return textwrap.fill(text, int(72 * width / (0.58 * size)))


def heading(title: str, width: float) -> str:
    """Title of a panel, broken into lines for its width in inches, tick labels included."""
    return _broken(title, width - 0.1, 8)


def footnote(fig: Figure, lines: Sequence[str]) -> None:
    """Write a note below the panels, each line once: the scale of the runs, the meaning of bars.

    Parameters
    ----------
    fig : Figure
        Its width decides where lines are broken.
    lines : sequence of str
        Repeated lines are written once.
    """
    text = "\n".join(_broken(line, fig.get_figwidth(), FOOTNOTE) for line in dict.fromkeys(lines))
    fig.supxlabel(text, fontsize=FOOTNOTE, color="0.35", x=0.01, ha="left")


def save(fig: Figure, name: str, out: str | Path) -> None:
    """Save a figure as ``OUT/figures/NAME.png`` and ``.pdf``.

    A file is replaced when the new one is complete.

    Parameters
    ----------
    fig : Figure
        What is saved.
    name : str
        File name without its suffix.
    out : str or Path
        Folder; nothing is written if it is empty.
    """
    if not str(out):
        return
    for kind in ("png", "pdf"):
        with mpl.rc_context({"pdf.fonttype": 42}):
            replace(Path(out) / "figures" / f"{name}.{kind}", partial(fig.savefig, format=kind))
