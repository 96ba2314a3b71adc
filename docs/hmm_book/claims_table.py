"""The stored verdicts as a table of the book, each claim with the figure that shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hmm_book.chapters import Chapter
from hmm_book.errors import BookError
from hmm_utils.claims.report import ClaimsError, read_verdicts

__all__ = ["KINDS", "kind", "read", "summary", "table"]

# a verdict's first words → its class, a sign that can be told apart without colours, and its short name
KINDS = {
    "holds": ("holds", "✓", "holds"),
    "holds only if": ("only-if", "◐", "holds only if …"),
    "does not follow": ("fails", "✗", "does not follow"),
    "not enough data": ("open", "?", "not enough data"),
}

_NEEDED = ("claim", "statement", "section", "figure", "notebook", "verdict")


def read(path: Path) -> list[dict]:
    """Read the verdicts of a file. Raises BookError if they are missing or incomplete."""
    try:
        claims = read_verdicts(path)
    except ClaimsError as error:
        raise BookError(str(error)) from None
    for claim in claims:
        if missing := [key for key in _NEEDED if not isinstance(claim.get(key), str)]:
            number = claim.get("claim", "?")
            raise BookError(f"Claim {number} in {path.name} has no {missing[0]}: write the file again.")
    return claims


def kind(verdict: str) -> tuple[str, str, str]:
    """Return class, sign and short name of a verdict. Raises BookError for an unknown one."""
    # "holds" begins "holds only if" too
    if words := max(filter(verdict.startswith, KINDS), key=len, default=None):
        return KINDS[words]
    raise BookError(f'The verdict "{verdict}" is none of {", ".join(KINDS)}: add its badge in claims_table.')


def _place(claim: Mapping[str, str]) -> str:
    """Return where the paper, or the later one that a chapter follows, makes the claim."""
    section, figure = claim["section"], claim["figure"]
    if section == "v4":
        return "version 4 {cite}`goldt2020`"
    if re.fullmatch(r"\d{4}\.\d{5}", section):
        return f"arXiv:{section} {{cite}}`goldt2020equivalence`"
    where = f"Appendix {section}" if section.isalpha() else f"Sec. {section}"
    return f"{where}, {figure}" if figure.startswith("Fig") else where


def _badge(name: str, sign: str, words: str) -> str:
    """Return a sign and words on a coloured ground; the colour repeats what both say."""
    return f'<span class="verdict {name}"><span aria-hidden="true">{sign}</span> {words}</span>'


def table(claims: Sequence[Mapping[str, str]], chapters: Iterable[Chapter]) -> str:
    """Return all claims as a MyST table.

    Raises
    ------
    BookError
        For a claim that no figure of its chapter shows, and for a figure that shows an unknown claim.
    """
    figures = ((chapter, figure) for chapter in chapters for figure in chapter.figures)
    shown = {(number, chapter.name): (chapter, figure) for chapter, figure in figures for number in figure.claims}
    rows = ["::::{list-table}", ":header-rows: 1", ":class: claims", ":widths: auto", ""]
    rows += ["* - ", "  - claim", "  - verdict", "  - in the paper", "  - judged in"]
    for claim in claims:
        number, notebook = claim["claim"], claim["notebook"]
        if (number, notebook) not in shown:
            raise BookError(f'Claim {number} has no figure in {notebook}: tag the cell that draws it with "{number}".')
        chapter, figure = shown.pop((number, notebook))
        name, sign, short = kind(claim["verdict"])
        rest = claim["verdict"].removeprefix("holds only if ") if name == "only-if" else ""
        rows += [
            f"* - (claim-{number.lower().replace('.', '-')})=",
            f"    **{number}**",
            f"  - {_escaped(claim['statement'])}",
            f"  - {_badge(name, sign, short)}" + (f" {_escaped(rest)}" if rest else ""),
            f"  - {_place(claim)}",
            f"  - [{figure.label}](#{figure.anchor}), [{chapter.title}](chapters/{chapter.name}.ipynb)",
        ]
    for number, notebook in shown:
        raise BookError(f'A figure in {notebook} is tagged "{number}", and no claim of that number is judged there.')
    return "\n".join([*rows, "::::", ""])


def summary(claims: Iterable[Mapping[str, str]]) -> str:
    """Return the number of claims and of each verdict, as a line of badges."""
    counts = Counter(kind(claim["verdict"]) for claim in claims)
    parts = [_badge(name, sign, f"{counts[name, sign, short]} {short}") for name, sign, short in KINDS.values()]
    return f"{counts.total()} claims, judged on runs at the paper's scale: {' '.join(parts)}\n"


def _escaped(text: str) -> str:
    return re.sub(r"([*_$\\<\[\]|])", r"\\\1", text)
