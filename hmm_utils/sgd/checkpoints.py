"""The state of a training run in a file, so that a run that was killed goes on where it was, with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hmm_utils.files import read_arrays, set_aside, write_arrays
from hmm_utils.model.networks import Network
from hmm_utils.sgd.backends import Pair

if TYPE_CHECKING:
    import torch

__all__ = ["Records", "load", "save", "to_numpy"]

# what was measured at each time so far: by the samples it was measured on, then by name
Records = list[dict[str, dict[str, np.ndarray]]]


def to_numpy(records: Sequence[Mapping[str, Mapping[str, np.ndarray | torch.Tensor]]]) -> Records:
    """The records as arrays of numpy, copied from a device if that is where they are."""
    return [{part: {k: _host(v) for k, v in now.items()} for part, now in record.items()} for record in records]


def _host(value: np.ndarray | torch.Tensor) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else value.cpu().numpy()


def save(
    path: Path,
    steps: np.ndarray,
    done: int,
    pairs: Sequence[Pair],
    alive: np.ndarray | torch.Tensor,
    records: Sequence[Mapping[str, Mapping[str, np.ndarray | torch.Tensor]]],
) -> None:
    """Writes how far training has come.

    steps    at which the run measures       done     steps it has trained
    pairs    of students of each run now     alive    (runs, 2, U): which of them have not diverged
    records  what was measured so far, of all runs together
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


def load(path: Path, steps: np.ndarray, pairs: Sequence[Pair]) -> tuple[int, list[Pair], np.ndarray, Records] | None:
    """`done`, `pairs`, `alive` and `records` as they were saved; None if nothing was.

    A file that is damaged, or that belongs to a run with other steps or other students than these initial `pairs`, is
    set aside with a warning.
    """
    state = read_arrays(path)
    if state is None:
        return None
    widths = [network.width for network in pairs[0][0]]
    shape = (len(pairs), 2, sum(widths), pairs[0][0][0].n_inputs)
    if not np.array_equal(state.get("steps"), steps) or state["W"].shape != shape:
        set_aside(path, "belongs to a run with other parameters")
        return None
    cuts, activation = np.cumsum(widths)[:-1], pairs[0][0][0].activation

    def students(W: np.ndarray, v: np.ndarray) -> list[Network]:
        return [Network(w, u, activation) for w, u in zip(np.split(W, cuts), np.split(v, cuts), strict=True)]

    trained = [tuple(map(students, Ws, vs)) for Ws, vs in zip(state["W"], state["v"], strict=True)]
    measured = [key.split("/") for key in state if key.startswith("record/")]
    records: Records = [{} for _ in range(len({i for _, i, _, _ in measured}))]
    for _, i, part, name in measured:
        records[int(i)].setdefault(part, {})[name] = state[f"record/{i}/{part}/{name}"]
    return int(state["done"]), trained, state["alive"], records
