"""What a sweep is made of: one draw of one experiment, who may compute it, and what a way of computing draws is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from hmm_utils.model.networks import Network
from hmm_utils.runs.experiments import Experiment

__all__ = ["LOOK_AGAIN", "Computing", "Unit", "lock"]

LOOK_AGAIN = 1.0
"""Seconds between two looks at what another sweep computes."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One draw of one experiment: what is computed, kept and retried as a whole."""

    name: str
    experiment: Experiment
    draw: int
    teacher: Network | None
    key: str


Computing = Callable[[Sequence[Unit], Path, str, bool], Iterator[str]]
"""A way to compute draws and keep them: from the draws, the store, the device and whether to show bars, the keys of
those that are in the store, as they come."""


def lock(folder: Path, key: str) -> FileLock:
    """What a process holds while it sees to a draw; taking it raises filelock.Timeout while another process does."""
    return FileLock(folder / f".{key}.lock", blocking=False)
