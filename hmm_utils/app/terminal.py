"""What a run shows on stderr: whole lines, and the state of progress bars.

On a terminal a bar is one line that changes. In a file its state becomes a new line every few seconds.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, TextIO, cast

from tqdm import tqdm

__all__ = ["cell_bar", "overall_bar", "redirected", "relay", "say", "without_progress"]

SECONDS = 5.0
"""Least time between two states of a bar in a file."""

_UP = "\x1b[A"  # how tqdm goes back from the second bar to the first


def overall_bar(total: int) -> tqdm:
    """Make a bar over this many notebooks."""
    form = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} notebooks [{elapsed}]"
    return tqdm(total=total, desc="run", bar_format=form, dynamic_ncols=True)


def cell_bar(name: str) -> dict[str, object]:
    """Options of papermill for the bar over the cells of a notebook, below the overall bar."""
    return {"desc": name, "leave": False, "dynamic_ncols": True, "position": 1}


def say(text: str) -> None:
    """Write a message on stderr above the bars."""
    tqdm.write(text, file=sys.stderr)


@contextmanager
def redirected() -> Iterator[None]:
    """Write bars as lines in the block where stderr is no terminal."""
    stream = sys.stderr
    if stream.isatty():
        yield
        return
    lines = _Lines(lambda line: print(line, file=stream, flush=True), every=SECONDS, stream=stream)
    try:
        with redirect_stderr(cast(TextIO, lines)):
            yield
    finally:
        lines.close()


@contextmanager
def relay(bar: tqdm) -> Iterator[TextIO]:
    """Yield the file that a kernel's stderr is written to: messages above the bars, the training bar below them.

    Parameters
    ----------
    bar : tqdm
        The overall bar; where it is disabled, so is the training bar.
    """
    if not (bar.disable or sys.stderr.isatty()):
        yield sys.stderr
        return
    with tqdm(total=0, position=2, bar_format="{desc}", leave=False, dynamic_ncols=True, disable=bar.disable) as last:
        lines = _Lines(say, last.set_description_str)
        yield cast(TextIO, lines)
        lines.close()


class _Lines:
    """A text file that passes on whole lines without progress bars, and the state of the bars.

    Parameters
    ----------
    line : callable
        Takes a line.
    state : callable, optional
        Takes the state of a bar; ``line`` if not given.
    every : float
        Seconds from one state of a bar to the next that is passed on.
    stream : TextIO, optional
        Answers what else is asked of a file.
    """

    def __init__(
        self,
        line: Callable[[str], object],
        state: Callable[[str], object] | None = None,
        every: float = 0.0,
        stream: TextIO | None = None,
    ):
        self._line, self._state, self._every, self._stream = line, state or line, every, stream
        self._rest = ""
        self._due: dict[str, float] = {}

    def write(self, text: str) -> int:
        *lines, rest = (self._rest + text).split("\n")
        # Of an unfinished line only what follows the last return is visible.
        self._rest = "".join(rest.rpartition("\r")[1:])
        self._pass_on(lines)
        state = rest.replace(_UP, "").rpartition("\r")[2].strip()
        label = re.match(r"(.*?): +\d", state)  # of the bar; those without one count as one bar
        bar, now = label[1] if label else "", time.monotonic()
        if "\r" in rest and state and now >= self._due.get(bar, now):
            self._due[bar] = now + self._every
            self._state(state)
        return len(text)

    def flush(self) -> None:
        """Do nothing: an unfinished line waits for its end."""

    def close(self) -> None:
        """Pass on a last line without an end."""
        self._pass_on([self._rest])
        self._rest = ""

    def _pass_on(self, lines: Iterable[str]) -> None:
        for line in map(_message, lines):
            if line.strip():
                self._line(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def without_progress(text: str) -> str:
    """Remove progress bars from what a kernel wrote to stderr: "" if nothing else is left."""
    text = text.replace("\r\n", "\n")
    if text.strip() and "\r" not in text and _UP not in text:
        return text
    lines = [line for line in map(_message, text.split("\n")) if line.strip()]
    return "".join(f"{line}\n" for line in lines)


def _message(line: str) -> str:
    """Keep what a terminal finally shows of a line, without the progress bar."""
    if "\r" not in line and _UP not in line:
        return line
    last = line.replace(_UP, "").rpartition("\r")[2].strip()
    # A message may follow its bar without a line break.
    if end := re.search(r"\[\d+:\d\d[^\]]*\]+", last):
        last = last[end.end() :].strip()
    return last if re.search(r"\w", last) and "%|" not in last else ""
