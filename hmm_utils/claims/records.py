"""What a claim is and what becomes of it: records of statement, finding and verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import xarray as xr

HOLDS = "holds"
ONLY_IF = "holds only if "
FAILS = "does not follow from the stated parameters"
UNDECIDED = "not enough data"

Results = Mapping[str, xr.Dataset]
# what is read off a curve ε(t): its last value (`final`) or its smallest (`early_stopping`)
Reading = Callable[[xr.DataArray], xr.DataArray]


@dataclass(frozen=True)
class Value:
    """A measured number with its 95 % confidence interval; `over` says what the n independent units are."""

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
    """What was measured, the verdict, and what else must be said about them."""

    values: tuple[Value, ...]
    verdict: str
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> str:
        return "; ".join([*map(str, self.values), *self.notes])


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    statement   in this project's words          section, figure   where the paper makes it
    setups      the runs it is judged on          criterion         the formula, with its tolerance
    tolerance   why that tolerance                check             results of the set-ups → Finding
    compared    runs of another notebook that it is compared with; without them that part is undecided
    """

    number: str
    statement: str
    section: str
    figure: str
    notebook: str
    setups: tuple[str, ...]
    criterion: str
    tolerance: str
    check: Callable[[Results], Finding]
    compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """A claim with its finding, ready for a table or a JSON file; `measured` is `values` and notes in words."""

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


class Judgements(tuple):
    """Judgements that show themselves as a table in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th style='text-align:left'>{h}</th>" for h in ("", "claim", "measured", "criterion", "verdict")
        )
        rows = "".join(
            "<tr style='vertical-align:top'>"
            + "".join(
                f"<td style='text-align:left'>{escape(cell)}</td>"
                for cell in (
                    j.claim,
                    f"{j.statement} (Sec. {j.section}, {j.figure})",
                    j.measured,
                    j.criterion,
                    j.verdict,
                )
            )
            + "</tr>"
            for j in self
        )
        return f"<table>{'<tr>' + head + '</tr>'}{rows}</table>"

    def __repr__(self) -> str:
        return "\n".join(f"{j.claim}: {j.verdict}. {j.measured}" for j in self)
