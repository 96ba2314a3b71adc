"""The stored verdicts as a table of the book, each claim with the figure that it is judged on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hmm_book.chapters import Chapter, Figure
from hmm_book.errors import BookError
from hmm_utils.claims.report import ClaimsError, read_verdicts

__all__ = ["KINDS", "figure_of", "kind", "read", "summary", "table"]

# a verdict's first words → its class, a sign that can be told apart without colours, and how it is called in short
KINDS = {
    "holds": ("holds", "✓", "holds"),
    "holds only if": ("only-if", "◐", "holds only if …"),
    "does not follow": ("fails", "✗", "does not follow"),
    "not enough data": ("open", "?", "not enough data"),
}

# Figures of claims that name none: claims of the introduction and of the chapters beyond version 1.
_SHOWN_BY = {
    "C19": "sec1_intrinsic_dimension",
    "T1.1": "T1_errors_stored",
    "T1.2": "T1_overlaps",
    "T1.3": "T1_scaling",
    "T1.4": "T1_averaging",
    "T1.5": "T1_delta",
    "T1.6": "T1_plateaus",
    "T1.7": "T1_width",
    "T2.1": "t2_learning_stored",
    "T2.2": "t2_learning_stored",
    "T2.3": "t2_gaussianity",
    "T2.4": "t2_propagation_stored",
}
_NEEDED = ("claim", "statement", "section", "figure", "notebook", "verdict")


def read(path: Path) -> list[dict]:
    """The verdicts of a file. Raises BookError if they are not there or one of them lacks something."""
    try:
        claims = read_verdicts(path)
    except ClaimsError as error:
        raise BookError(str(error)) from None
    for claim in claims:
        if lacking := [key for key in _NEEDED if not isinstance(claim.get(key), str)]:
            raise BookError(f"claim {claim.get('claim', '?')} in {path.name} has no {lacking[0]}: write the file anew.")
    return claims


def kind(verdict: str) -> tuple[str, str, str]:
    """Class, sign and short name of a verdict. Raises BookError for one that is not known."""
    # the longest first words that fit, as "holds" begins "holds only if" too
    for words in sorted(KINDS, key=len, reverse=True):
        if verdict.startswith(words):
            return KINDS[words]
    raise BookError(f'the verdict "{verdict}" is none of {", ".join(KINDS)}: say in claims_table how it looks.')


def figure_of(claim: Mapping[str, str], chapter: Chapter) -> Figure:
    """The figure of the chapter that shows a claim: the paper's at the paper's scale, or the one listed above.

    Raises BookError if there is none.
    """
    saved = _SHOWN_BY.get(claim["claim"])
    names = [saved] if saved else []
    if found := re.match(r"Fig\. (\d+)(?: (\w+))?", claim["figure"]):
        names += [f"fig{found[1]}_{found[2]}_paper", f"fig{found[1]}_paper"]
    anchors = {figure.anchor: figure for figure in chapter.figures}
    for name in names:
        if figure := anchors.get(name.lower().replace("_", "-")):
            return figure
    raise BookError(
        f"claim {claim['claim']} ({claim['figure']}) has no figure in {chapter.name}: name one in claims_table."
    )


def _place(claim: Mapping[str, str]) -> str:
    """Where the paper, or the later one that a chapter follows, makes the claim."""
    section, figure = claim["section"], claim["figure"]
    if section == "v4":
        return "version 4 {cite}`goldt2020`"
    if re.fullmatch(r"\d{4}\.\d{5}", section):
        return f"arXiv:{section} {{cite}}`goldt2020equivalence`"
    where = f"Appendix {section}" if section.isalpha() else f"Sec. {section}"
    return f"{where}, {figure}" if figure.startswith("Fig") else where


def badge(verdict: str) -> str:
    """Sign and words on a coloured ground: what is told by colour is told by both others as well."""
    name, sign, short = kind(verdict)
    return _ground(name, sign, short)


def _ground(name: str, sign: str, words: str) -> str:
    return f'<span class="verdict {name}"><span aria-hidden="true">{sign}</span> {words}</span>'


def table(claims: Sequence[Mapping[str, str]], chapters: Iterable[Chapter]) -> str:
    """All claims as a MyST table. Raises BookError for a claim whose chapter or figure is not in the book."""
    known = {chapter.name: chapter for chapter in chapters}
    rows = ["::::{list-table}", ":header-rows: 1", ":class: claims", ":widths: auto", ""]
    rows += ["* - ", "  - claim", "  - verdict", "  - in the paper", "  - judged in"]
    for claim in claims:
        if claim["notebook"] not in known:
            raise BookError(f"claim {claim['claim']} is judged in {claim['notebook']}, which is no chapter: add it.")
        chapter = known[claim["notebook"]]
        figure = figure_of(claim, chapter)
        rest = claim["verdict"].removeprefix("holds only if ") if kind(claim["verdict"])[0] == "only-if" else ""
        rows += [
            f"* - (claim-{claim['claim'].lower().replace('.', '-')})=",
            f"    **{claim['claim']}**",
            f"  - {_escaped(claim['statement'])}",
            f"  - {badge(claim['verdict'])}" + (f" {_escaped(rest)}" if rest else ""),
            f"  - {_place(claim)}",
            f"  - [{figure.label}](#{figure.anchor}), [{chapter.title}](chapters/{chapter.name}.ipynb)",
        ]
    return "\n".join([*rows, "::::", ""])


def summary(claims: Iterable[Mapping[str, str]]) -> str:
    """How many claims there are, and how many have which verdict: a line of badges."""
    counts = Counter(kind(claim["verdict"]) for claim in claims)
    parts = [_ground(name, sign, f"{counts[name, sign, short]} {short}") for name, sign, short in KINDS.values()]
    return f"{counts.total()} claims, judged on runs at the paper's scale: {' '.join(parts)}\n"


def _escaped(text: str) -> str:
    return re.sub(r"([*_$\\<\[\]|])", r"\\\1", text)
