"""The claims that the notebooks leave in `OUT/claims/NAME.json`: reading them, writing them together, showing them."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

__all__ = ["ClaimsError", "claims_text", "read_claims", "write_claims"]

_COLUMNS = ("claim", "statement", "section", "figure", "measured", "verdict", "notebook", "scale")


class ClaimsError(RuntimeError):
    """Claims that are missing or unreadable; the message is one sentence that says what to do."""


def read_claims(out: str | os.PathLike, names: Iterable[str] | None = None) -> list[dict]:
    """The claims under `out`, in the order of their numbers; `names` restricts them to some notebooks.

    Raises ClaimsError if a file of claims cannot be read.
    """
    # A hidden file is one that a notebook is writing.
    paths = [path for path in (Path(out) / "claims").glob("*.json") if not path.name.startswith(".")]
    wanted = {path.stem for path in paths} if names is None else set(names)
    found = [claim for path in paths if path.stem in wanted for claim in _claims_in(path)]
    return sorted(found, key=lambda claim: (_natural(claim["claim"]), claim["notebook"]))


def _claims_in(path: Path) -> list[dict]:
    try:
        claims = json.loads(path.read_text("utf-8"))
        complete = isinstance(claims, list) and all(isinstance(c[key], str) for c in claims for key in _COLUMNS)
    except (OSError, ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise ClaimsError(f"{path} is not a list of claims: run {path.stem} again with --overwrite.")
    return claims


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that puts C2 before C10."""
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d+)|(\D+)", text)]


def write_claims(out: str | os.PathLike) -> tuple[Path, ...]:
    """Write all claims under `out` to its claims.md and claims.json; returns these paths, none if there are no claims.

    Raises ClaimsError if a file of claims cannot be read.
    """
    claims = read_claims(out)
    if not claims:
        return ()
    plain = json.dumps(claims, indent=1, ensure_ascii=False)
    texts = {"claims.md": _markdown(claims), "claims.json": f"{plain}\n"}
    return tuple(_write(Path(out) / name, text) for name, text in texts.items())


def _write(path: Path, text: str) -> Path:
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(text, "utf-8")
    return aside.replace(path)


def _markdown(claims: Sequence[Mapping]) -> str:
    cells = [[_markdown_cell(claim[column]) for column in _COLUMNS] for claim in claims]
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *cells]
    return "# Claims\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def claims_text(claims: Sequence[Mapping], width: int = 120) -> str:
    """The claims as a table for a terminal of this width."""
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
