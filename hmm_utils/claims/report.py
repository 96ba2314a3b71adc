"""The claims that the notebooks leave in `OUT/claims/NAME.json`: reading them, writing them together, showing them,
comparing their verdicts with others.
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

__all__ = ["ClaimsError", "Comparison", "claims_text", "compare", "read_claims", "read_verdicts", "write_claims"]

_COLUMNS = ("claim", "statement", "section", "figure", "measured", "verdict", "notebook", "scale")
_NUMBERS = ("mean", "low", "high", "n")


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
    claims = _loaded(path)
    if not _texts(claims, _COLUMNS) or not all(_measured(claim.get("values")) for claim in claims):
        raise ClaimsError(f"{path} is not a list of claims: run {path.stem} again with --overwrite.")
    return claims


def _loaded(path: Path) -> object:
    """What a JSON file holds; None if it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _texts(entries: object, keys: Sequence[str]) -> bool:
    """Whether this is a list of records that have texts at these keys."""
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and isinstance(entry.get(key), str) for entry in entries for key in keys
    )


def _measured(values: object) -> bool:
    """Whether these are measured values: a name, and numbers or null where nothing is known."""
    return _texts(values, ("name", "over")) and all(
        value.get(key, "") is None or _is_number(value.get(key)) for value in values for key in _NUMBERS
    )


def _is_number(x: object) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


@dataclass(frozen=True)
class Comparison:
    """Verdicts beside expected ones: one sentence per difference, how many agree, and the notebooks not run here."""

    different: tuple[str, ...]
    n_same: int
    not_run: tuple[str, ...]


def read_verdicts(path: str | os.PathLike) -> list[dict]:
    """The claims in a file as `hmm claims --json` prints it, of which claim, notebook, verdict and scale are needed.

    Raises ClaimsError if it cannot be read.
    """
    expected = _loaded(Path(path))
    if not _texts(expected, ("claim", "notebook", "verdict", "scale")):
        raise ClaimsError(f"{path} is not a list of verdicts: make one with `hmm claims --json > {path}`.")
    return expected


def compare(claims: Iterable[Mapping], expected: Iterable[Mapping]) -> Comparison:
    """Claims by number and notebook; a claim that only one side has differs, unless its notebook was not run here."""
    here, there = ({(c["claim"], c["notebook"]): c for c in side} for side in (claims, expected))
    run = {notebook for _, notebook in here}
    keys = [key for key in here.keys() | there.keys() if key[1] in run]
    keys.sort(key=lambda key: (_natural(key[0]), key[1]))
    same = [key for key in keys if key in here and key in there and here[key]["verdict"] == there[key]["verdict"]]
    return Comparison(
        tuple(_difference(key, here.get(key), there.get(key)) for key in keys if key not in same),
        len(same),
        tuple(sorted({notebook for _, notebook in there} - run)),
    )


def _difference(key: tuple[str, str], here: Mapping | None, there: Mapping | None) -> str:
    return f"{key[0]} ({key[1]}): {_side(here, 'not judged')} here, {_side(there, 'not known')} there."


def _side(claim: Mapping | None, without: str) -> str:
    return f'"{claim["verdict"]}" ({claim["scale"]})' if claim else without


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
