"""The state of training in a file, from which an interrupted run continues with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from hmm_utils.files import read_arrays, set_aside, write_arrays
from hmm_utils.model.networks import Network
from hmm_utils.sgd.backends import Array, Pair

__all__ = ["Records", "load", "save", "to_numpy"]

Records = list[dict[str, dict[str, np.ndarray]]]
"""Measurements at each time so far, by the samples they were made on, then by name."""


def to_numpy(records: Sequence[Mapping[str, Mapping[str, Array]]]) -> Records:
    """Convert records to arrays of numpy, copied from a device if they are there."""
    return [{part: {k: _host(v) for k, v in now.items()} for part, now in record.items()} for record in records]


def _host(value: Array) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else value.cpu().numpy()


def save(
    path: Path,
    steps: Int64[np.ndarray, " times"],
    done: int,
    pairs: Sequence[Pair],
    alive: Bool[Array, "pairs 2 U"],
    records: Sequence[Mapping[str, Mapping[str, Array]]],
) -> None:
    """Write the state of training.

    Parameters
    ----------
    path : Path
        File to write.
    steps : (times,) int64 array
        Steps after which errors are measured.
    done : int
        Steps trained so far.
    pairs : sequence of Pair
        The students now.
    alive : (pairs, 2, U) bool array or tensor
        False for students that have diverged.
    records : sequence
        Measurements so far, see :data:`Records`, which may be on a device.
    """
    state = {
        "steps": steps,
        "done": np.array(done),
        "alive": _host(alive),
        "W": np.stack([[np.concatenate([n.W for n in students]) for students in pair] for pair in pairs]),
        "v": np.stack([[np.concatenate([n.v for n in students]) for students in pair] for pair in pairs]),
    }
    for i, record in enumerate(to_numpy(records)):
        state |= {f"record/{i}/{part}/{name}": v for part, now in record.items() for name, v in now.items()}
    write_arrays(path, state)


def load(
    path: Path, steps: Int64[np.ndarray, " times"], pairs: Sequence[Pair]
) -> tuple[int, list[Pair], Bool[np.ndarray, "pairs 2 U"], Records] | None:
    """Read the state of training.

    A file that is damaged, or that belongs to a run with other steps or students, is set aside with a warning.

    Parameters
    ----------
    path, steps
        As for :func:`save`.
    pairs : sequence of Pair
        The initial students.

    Returns
    -------
    done, pairs, alive, records
        As given to :func:`save`; None if there is no state.
    """
    state = read_arrays(path)
    if state is None:
        return None
    widths, N = [network.width for network in pairs[0][0]], pairs[0][0][0].n_inputs
    if not np.array_equal(state.get("steps", []), steps) or state["W"].shape != (len(pairs), 2, sum(widths), N):
        set_aside(path, "belongs to a run with other parameters")
        return None
    cuts, activation = np.cumsum(widths)[:-1], pairs[0][0][0].activation

    def students(W: np.ndarray, v: np.ndarray) -> list[Network]:
        return [Network(w, u, activation) for w, u in zip(np.split(W, cuts), np.split(v, cuts), strict=True)]

    fleets = [students(*now) for now in zip(np.concatenate(state["W"]), np.concatenate(state["v"]), strict=True)]
    measured = [key.split("/") for key in state if key.startswith("record/")]
    records: Records = [{} for _ in range(len({i for _, i, _, _ in measured}))]
    for _, i, part, name in measured:
        records[int(i)].setdefault(part, {})[name] = state[f"record/{i}/{part}/{name}"]
    return int(state["done"]), list(zip(fleets[::2], fleets[1::2], strict=True)), state["alive"], records
