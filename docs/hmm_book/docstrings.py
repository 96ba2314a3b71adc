"""The project's docstrings into reStructuredText.

A docstring is plain text in blocks: prose; formulas, indented by four; and lists of arguments and the like,

    name, other   what they are, and perhaps
                  a second line

whose names stand at the margin or indented by two. Formulas become maths, in prose as well; tables stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hmm_book import unitex

__all__ = ["to_rst"]

# the role and the target of a name in backquotes, or None
Resolve = Callable[[str], tuple[str, str] | None]

_NAME = r"(?:…?\w[\w.*]*|…_\w+)(?:\[[\w, ]+\])?(?: \([\w…, ./+²]+\))?"
_NAMES = rf"{_NAME}(?:, {_NAME})*"
_ENTRY = re.compile(rf"^( *)({_NAMES})(?: {{2,}}(?! )(\S.*))?$")
# name   what it is      other   what that is
_TWO = re.compile(rf"(\S.*?) {{3,}}({_NAMES}) {{2,}}(\S.*)")
_ITEM = re.compile(r"^( *)(\d+\.|\*|-) +(.*)$")


def to_rst(docstring: str, resolve: Resolve = lambda name: None) -> list[str]:
    """The docstring in reStructuredText, line by line."""
    out: list[str] = []
    within = ""
    for block in _blocks(docstring):
        item = _ITEM.match(block[0])
        margin = min(_indent(line) for line in block)
        if item:
            # what follows an item of a list and is indented belongs to it
            within = " " * len(item[2] + " ")
            for each in _items(block):
                out += [f"{each[0]} {_prose(each[1], resolve)}", ""]
            continue
        if margin < len(within):
            within = ""
        if margin >= len(within) + 4:
            rows = _indented(block, margin, resolve)
        else:
            rows = _mixed([line[len(within) :] for line in block], resolve)
        out += [within + row if row else "" for row in rows] + [""]
    return out


def _blocks(docstring: str) -> list[list[str]]:
    """What blank lines part."""
    blocks: list[list[str]] = [[]]
    for line in docstring.expandtabs().splitlines():
        if line.strip():
            blocks[-1].append(line.rstrip())
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _items(block: Sequence[str]) -> list[tuple[str, str]]:
    """The items of a list, each with all of its lines."""
    items: list[tuple[str, str]] = []
    for line in block:
        if match := _ITEM.match(line):
            items.append((match[2], match[3]))
        else:
            items[-1] = (items[-1][0], f"{items[-1][1]} {line.strip()}")
    return items


# --- indented blocks: formulas, programs and tables ------------------------------------------------------------------


def _indented(block: Sequence[str], margin: int, resolve: Resolve) -> list[str]:
    lines = [line[margin:] for line in block]
    rows = [_ENTRY.match(line) for line in lines]
    is_table = any(row and row[3] and row[3][0] not in "=←∝≈~<>+" for row in rows)
    if not is_table and all(unitex.is_formula(line) or _is_step(line) for line in lines):
        return [".. math::", "", f"   {unitex.display(lines)}"]
    # formulas with words about them, and no table
    if not is_table:
        whole = " ".join(part for line in lines for part in re.split(r"  +", line.strip()))
        if any(kind == "math" for kind, _ in unitex.pieces(whole)):
            return [f"   {_prose(whole, resolve)}"]
    return ["::", "", *(f"   {line}" for line in lines)]


def _is_step(line: str) -> bool:
    """A line of a program that is no equation, or goes on with one: `for b = 0 … B−1:   a = …`."""
    parts = [part for part in re.split(r" {2,}", line.strip()) if part]
    return any(unitex.is_formula(part) for part in parts) and _readable(line)


def _readable(line: str) -> bool:
    try:
        return bool(unitex.tex(line))
    except (ValueError, IndexError):
        return False


# --- prose and lists -------------------------------------------------------------------------------------------------


def _mixed(block: Sequence[str], resolve: Resolve) -> list[str]:
    """Prose with lists of names in it."""
    out: list[str] = []
    i = 0
    while i < len(block):
        entries, end = _entries(block, i)
        if entries:
            out += ["", *(row for names, told in entries for row in _definition(names, told, resolve)), ""]
            i = end
            continue
        start, i = i, i + 1
        while i < len(block) and not _entries(block, i)[0]:
            i += 1
        out += _paragraph(block[start:i], resolve)
    return out


def _paragraph(lines: Sequence[str], resolve: Resolve) -> list[str]:
    if lines[0].startswith(">>>"):
        return list(lines)
    whole = " ".join(line.strip() for line in lines)
    bare = whole.rstrip(".,")
    # nothing but a formula, and too wide for a line of text
    if len(bare) > 60 and unitex.is_formula(bare) and r"\text" not in unitex.tex(bare):
        return [".. math::", "", f"   {unitex.display([whole])}"]
    return [_prose(whole, resolve)]


def _entries(block: Sequence[str], start: int) -> tuple[list[tuple[str, str]], int]:
    """The list of names that begins at a line, and the line behind it; none if no list begins there."""
    margin = _indent(block[start])
    entries: list[tuple[str, str]] = []
    column, second, beside = 0, 0, False
    i = start
    while i < len(block):
        line = block[i]
        match = _ENTRY.match(line)
        if entries and not match and _indent(line) == margin and re.fullmatch(_NAMES, line[margin : column - 1]):
            # the longest name of a list has one blank behind it
            match = _ENTRY.match(f"{line[:column]} {line[column:]}")
        deeper = i + 1 < len(block) and _indent(block[i + 1]) >= margin + 4
        if _indent(line) == margin and match and (match[3] or (deeper and entries)):
            column = match.start(3) if match[3] else column
            two = _TWO.fullmatch(match[3] or "")
            beside = bool(two)
            if two:
                second = line.index(two[2], column + len(two[1])) if two else 0
                entries += [(match[2], two[1]), (two[2], two[3])]
            else:
                entries.append((match[2], re.sub(r" {2,}", " — ", match[3] or "")))
        elif entries and _indent(line) >= margin + 2:
            halves = (line[:second], line[second:]) if beside else ("", line)
            for k, half in zip((-2, -1), halves, strict=True):
                if half.strip():
                    entries[k] = (entries[k][0], f"{entries[k][1]} {half.strip()}".strip())
        else:
            break
        i += 1
    return entries, i


def _definition(names: str, told: str, resolve: Resolve) -> list[str]:
    # shapes stand beside names as formulas, names are the program's
    terms = [
        f"``{name}``" + (f" {_prose(rest, resolve)}" if rest else "")
        for name, rest in re.findall(r"([^\s,(]+(?:\[[^]]*\])?)(?: (\([^)]*\)))?", names)
    ]
    return [", ".join(terms), f"   {_prose(told, resolve)}"]


def _prose(text: str, resolve: Resolve) -> str:
    """A line of prose with its formulas, its code, and links where the code names something that is documented."""
    out = ""
    parts = unitex.pieces(text)
    for i, (kind, content) in enumerate(parts):
        if kind == "text":
            out += re.sub(r"([*_`|\\])", r"\\\1", content)
            continue
        if kind == "math":
            role = f":math:`{unitex.tex(content)}`"
        elif known := resolve(content):
            role = f":{known[0]}:`{content} <{known[1]}>`"
        else:
            role = f"``{content}``"
        # a role must not touch letters
        before = out[-1:]
        after = parts[i + 1][1][:1] if i + 1 < len(parts) else ""
        out += ("\\ " if before and not before.isspace() else "") + role
        out += "\\ " if after and not after.isspace() else ""
    return out
