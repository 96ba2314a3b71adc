"""Verdicts in files: reading those that notebooks write to ``OUT/claims/NAME.json``, joining, showing, comparing them.

Nothing heavy is imported here, so that the command line starts quickly.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hmm_utils.files import write_text

__all__ = ["ClaimsError", "Comparison", "claims_text", "compare", "read_claims", "read_verdicts", "write_claims"]

_COLUMNS = ("claim", "statement", "section", "figure", "measured", "verdict", "notebook", "scale")
_NUMBERS = ("mean", "low", "high", "n")


class ClaimsError(RuntimeError):
    """Claims are missing or unreadable; the message is one sentence that says what to do."""


def read_claims(out: str | os.PathLike, names: Iterable[str] | None = None) -> list[dict]:
    """Read the claims that notebooks have written.

    Parameters
    ----------
    out : path
        The folder that contains ``claims/``.
    names : iterable of str, optional
        Only these notebooks.

    Returns
    -------
    claims : list of dict
        In the order of their numbers.

    Raises
    ------
    ClaimsError
        If a file cannot be read.
    """
    # A hidden file is one that a notebook is writing.
    paths = [path for path in (Path(out) / "claims").glob("*.json") if not path.name.startswith(".")]
    wanted = {path.stem for path in paths} if names is None else set(names)
    claims = [claim for path in paths if path.stem in wanted for claim in _claims_in(path)]
    return sorted(claims, key=lambda claim: (_natural(claim["claim"]), claim["notebook"]))


def _claims_in(path: Path) -> list[dict]:
    claims = _records(path, _COLUMNS)
    if claims is None or not all(_is_measured(claim.get("values")) for claim in claims):
        raise ClaimsError(f"{path} is not a list of claims: run {path.stem} again with --overwrite.")
    return claims


def _records(path: Path, keys: Sequence[str]) -> list[dict] | None:
    """Read a list of records with texts at these keys from a JSON file; None if it is not one."""
    try:
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return entries if _have_texts(entries, keys) else None


def _have_texts(entries: object, keys: Sequence[str]) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and isinstance(entry.get(key), str) for entry in entries for key in keys
    )


def _is_measured(values: Any) -> bool:
    """Whether these are measured values: a name, and numbers, or null where nothing is known."""
    return _have_texts(values, ("name", "over")) and all(
        type(value.get(key, "")) in (int, float, type(None)) for value in values for key in _NUMBERS
    )


@dataclass(frozen=True)
class Comparison:
    """Verdicts compared with expected ones.

    Attributes
    ----------
    different : tuple of str
        A sentence for each difference.
    n_same : int
        How many agree.
    not_run : tuple of str
        Notebooks with expected claims only.
    """

    different: tuple[str, ...]
    n_same: int
    not_run: tuple[str, ...]


def read_verdicts(path: str | os.PathLike) -> list[dict]:
    """Read the claims in a file as ``hmm claims --json`` prints it.

    Raises
    ------
    ClaimsError
        If it cannot be read, or a claim, its notebook, verdict or scale is missing.
    """
    claims = _records(Path(path), ("claim", "notebook", "verdict", "scale"))
    if claims is None:
        raise ClaimsError(f"{path} is not a list of verdicts: make one with `hmm claims --json > {path}`.")
    return claims


def compare(claims: Iterable[Mapping], expected: Iterable[Mapping]) -> Comparison:
    """Compare verdicts by number and notebook.

    A claim that only one side has is a difference, unless its notebook was not run.
    """
    found, known = ({(c["claim"], c["notebook"]): c for c in side} for side in (claims, expected))
    run = {notebook for _, notebook in found}
    keys = [key for key in found.keys() | known.keys() if key[1] in run]
    keys.sort(key=lambda key: (_natural(key[0]), key[1]))
    same = [key for key in keys if key in found and key in known and found[key]["verdict"] == known[key]["verdict"]]
    return Comparison(
        tuple(_difference(key, found.get(key), known.get(key)) for key in keys if key not in same),
        len(same),
        tuple(sorted({notebook for _, notebook in known} - run)),
    )


def _difference(key: tuple[str, str], found: Mapping | None, known: Mapping | None) -> str:
    return f"{key[0]} ({key[1]}): {_side(found, 'not judged')} here, {_side(known, 'not known')} there."


def _side(claim: Mapping | None, without: str) -> str:
    return f'"{claim["verdict"]}" ({claim["scale"]})' if claim else without


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key that puts C2 before C10."""
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d+)|(\D+)", text)]


def write_claims(out: str | os.PathLike) -> tuple[Path, ...]:
    """Join the claims of all notebooks under ``out`` in its files claims.md and claims.json.

    Returns
    -------
    paths : tuple of Path
        The two files; none if there are no claims.

    Raises
    ------
    ClaimsError
        If a file of claims cannot be read.
    """
    claims = read_claims(out)
    if not claims:
        return ()
    plain = json.dumps(claims, indent=1, ensure_ascii=False)
    texts = {"claims.md": _markdown(claims), "claims.json": f"{plain}\n"}
    for name, text in texts.items():
        write_text(Path(out) / name, text)
    return tuple(Path(out) / name for name in texts)


def _markdown(claims: Sequence[Mapping]) -> str:
    cells = [[_markdown_cell(claim[column]) for column in _COLUMNS] for claim in claims]
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *cells]
    return "# Claims\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def claims_text(claims: Sequence[Mapping], width: int = 120) -> str:
    """Lay out claims as a table for a terminal of this width."""
    header = ("claim", "what was measured", "verdict", "notebook")
    rows = [(f"{c['claim']} {c['statement']}", c["measured"], c["verdict"], c["notebook"]) for c in claims]
    notebook = max(len(row[-1]) for row in [header, *rows])
    verdict = min(30, max(len(row[-2]) for row in [header, *rows]))
    text = max(20, (width - notebook - verdict - 6) // 2)
    widths = (text, text, verdict, notebook)
    rule = tuple("─" * w for w in widths)
    return "\n".join(line for row in (header, rule, *rows) for line in _table_lines(row, widths))


def _table_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, w) for cell, w in zip(row, widths, strict=True)]
    lines = zip_longest(*cells, fillvalue="")
    return ["  ".join(part.ljust(w) for part, w in zip(line, widths, strict=True)).rstrip() for line in lines]
