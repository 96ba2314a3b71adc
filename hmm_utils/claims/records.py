"""Records of a claim, of a finding about it, and of the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import xarray as xr

__all__ = ["FAILS", "HOLDS", "ONLY_IF", "UNDECIDED", "Claim", "Finding", "Judgement", "Judgements", "Results", "Value"]

HOLDS = "holds"
ONLY_IF = "holds only if "
FAILS = "does not follow from the stated parameters"
UNDECIDED = "not enough data"

Results = Mapping[str, xr.Dataset]
# the value of a curve ε(t) that is judged: the last one (`final`) or the smallest (`early_stopping`)
Readout = Callable[[xr.DataArray], xr.DataArray]


@dataclass(frozen=True)
class Value:
    """A measured number with its 95 % confidence interval.

    Attributes
    ----------
    name : str
        The symbol, and where it was measured.
    mean, low, high : float
        NaN, −∞ and ∞ where nothing was measured.
    n : int
        Number of independent units.
    over : str
        What these units are, e.g. "draws".
    """

    name: str
    mean: float
    low: float
    high: float
    n: int
    over: str

    def __str__(self) -> str:
        return f"{self.name} = {self.mean:.3g} [{self.low:.2g}, {self.high:.2g}]"


@dataclass(frozen=True)
class Finding:
    """Measured values, the verdict that follows from them, and notes to both."""

    values: tuple[Value, ...]
    verdict: str
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> str:
        """Values and notes in words."""
        return "; ".join([*map(str, self.values), *self.notes])


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, with the criterion by which it is judged.

    Attributes
    ----------
    number : str
        E.g. "C1".
    statement : str
        The claim in this project's words.
    section, figure : str
        Where the paper makes it.
    notebook : str
        The notebook that reproduces it.
    setups : tuple of str
        Runs or measurements that it is judged on.
    criterion, tolerance : str
        The formula with its tolerance, and the reason for that tolerance.
    check : callable
        The criterion as a function of the results, by name, and of the names in ``setups`` and ``compared``. It
        contains no name of a set-up itself, so that one criterion can judge several sets of runs.
    compared : tuple of str
        Runs of another notebook that it is compared with; without them that part is undecided.
    """

    number: str
    statement: str
    section: str
    figure: str
    notebook: str
    setups: tuple[str, ...]
    criterion: str
    tolerance: str
    check: Callable[..., Finding]
    compared: tuple[str, ...] = ()

    def find(self, results: Results) -> Finding:
        """Apply the criterion to results that contain all set-ups."""
        return self.check(results, *self.setups, *self.compared)


@dataclass(frozen=True)
class Judgement:
    """A claim with its finding, ready for a table or a JSON file; ``measured`` repeats values and notes in words."""

    claim: str
    statement: str
    section: str
    figure: str
    notebook: str
    measured: str
    verdict: str
    criterion: str
    tolerance: str
    scale: str
    values: tuple[Value, ...]


class Judgements(tuple[Judgement, ...]):
    """Judgements that notebooks display as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        rows = [_row("<tr>", "th", "", "claim", "measured", "criterion", "verdict")]
        for j in self:
            cells = (j.claim, f"{j.statement} (Sec. {j.section}, {j.figure})", j.measured, j.criterion, j.verdict)
            rows.append(_row("<tr style='vertical-align:top'>", "td", *cells))
        return f"<table>{''.join(rows)}</table>"

    def __repr__(self) -> str:
        return "\n".join(f"{j.claim}: {j.verdict}. {j.measured}" for j in self)


def _row(start: str, tag: str, *cells: str) -> str:
    return start + "".join(f"<{tag} style='text-align:left'>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
