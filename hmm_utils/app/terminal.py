"""What is shown while notebooks run: a bar over the notebooks, one over the cells of each, and the kernel's stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

__all__ = ["cell_bar", "overall_bar", "relay", "say", "without_progress"]

_UP = "\x1b[A"  # how tqdm goes back from the second bar to the first


def overall_bar(total: int) -> tqdm:
    """A bar over this many notebooks."""
    form = "{desc}: {n_fmt}/{total_fmt} notebooks |{bar}| {elapsed}{postfix}"
    return tqdm(total=total, desc="run", bar_format=form, dynamic_ncols=True)


def cell_bar(name: str) -> dict[str, object]:
    """papermill's options for the bar over the cells of a notebook."""
    # Below the overall bar on a terminal; in a file each bar starts where the last one ended.
    return {"desc": name, "leave": False, "dynamic_ncols": True, **({"position": 1} if sys.stderr.isatty() else {})}


def say(text: str) -> None:
    """Write a message on stderr above the bars."""
    tqdm.write(text, file=sys.stderr)


@contextmanager
def relay(bar: tqdm) -> Iterator[TextIO | _Relay]:
    """What a kernel's stderr is written to: messages above the bars, the training bar below them.

    bar  the overall bar: where it is disabled, so is the training bar
    """
    if not (bar.disable or sys.stderr.isatty()):
        yield sys.stderr
        return
    with tqdm(total=0, position=2, bar_format="{desc}", leave=False, dynamic_ncols=True) as line:
        lines = _Relay(line.set_description_str, say)
        yield lines
        lines.close()


class _Relay:
    """A text file that hands on the state of the last progress bar to `bar` and every other line to `line`."""

    def __init__(self, bar: Callable[[str], object], line: Callable[[str], object]):
        self._bar, self._line, self._rest = bar, line, ""

    def write(self, text: str) -> None:
        *lines, rest = (self._rest + text).split("\n")
        # Of a line that is still growing only what stands after the last return can be seen.
        self._rest = "".join(rest.rpartition("\r")[1:])
        self._hand_on(lines)
        state = rest.replace(_UP, "").rpartition("\r")[2].strip()
        if "\r" in rest and state:
            self._bar(state)

    def flush(self) -> None:
        """Nothing: a message without its end waits for it."""

    def close(self) -> None:
        """Hand on a last line without an end."""
        self._hand_on([self._rest])

    def _hand_on(self, lines: Iterable[str]) -> None:
        for line in map(_left_standing, lines):
            if line.strip():
                self._line(line)


def without_progress(text: str) -> str:
    """What a kernel wrote to stderr, without its progress bars: "" if there is nothing else."""
    text = text.replace("\r\n", "\n")
    if text.strip() and "\r" not in text and _UP not in text:
        return text
    lines = [line for line in map(_left_standing, text.split("\n")) if line.strip()]
    return "".join(f"{line}\n" for line in lines)


def _left_standing(line: str) -> str:
    """What a terminal shows of a line in the end, without the progress bar."""
    if "\r" not in line and _UP not in line:
        return line
    last = line.replace(_UP, "").rpartition("\r")[2].strip()
    # A message may follow its bar without a line break.
    if end := re.search(r"\[\d+:\d\d[^\]]*\]+", last):
        last = last[end.end() :].strip()
    return last if re.search(r"\w", last) and "%|" not in last else ""
