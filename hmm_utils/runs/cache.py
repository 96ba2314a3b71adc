"""Results in files that are found by their content: the same draw of the same experiment is computed once.

A file holds one draw. Its name, the key, is a hash of everything that decides its numbers: the experiment without its
name and place in the paper, the draw, the weights of a trained teacher, the version of the engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import hmm_utils
from hmm_utils.data import mnist
from hmm_utils.files import read_dataset, set_aside, write_datasets
from hmm_utils.model.networks import Network
from hmm_utils.runs import checkout
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import block
from hmm_utils.sgd.hardware import cores

__all__ = [
    "Computing", "Unit", "configured", "content", "default_folder", "key", "load", "path", "plain", "provenance",
    "save",
]  # fmt: skip

# these do not change the numbers of a draw
_NAMES = ("name", "figure", "profile", "n_draws")

# names of fields when the first results were stored: their keys stay
_OLD_NAMES = {"n_train": "train_size", "n_pairs": "n_inits"}


@dataclass(frozen=True, eq=False)
class Unit:
    """One draw of one experiment, which is computed, stored and retried as a whole."""

    name: str
    experiment: Experiment
    draw: int
    teacher: Network | None
    key: str


Computing = Callable[[Sequence[Unit], Path, str, bool], Iterator[str]]
"""A way to compute draws: (draws, folder of the cache, device, whether to show bars) → keys of draws in the cache, as
they are finished."""


def content(e: Experiment, draw: int, teacher: Network | None = None) -> dict[str, object]:
    """Return everything that decides the numbers of a draw, in types that JSON knows."""
    # a field at its default does not count, so that one can be added and old results still be found
    given = {
        _OLD_NAMES.get(f.name, f.name): getattr(e, f.name)
        for f in fields(e)
        if f.name not in _NAMES and getattr(e, f.name) != f.default
    }
    # the text of numbers in the keys of stored results: 10000, but 30000.0 for the runs named "longer"
    given["time"] = int(e.time) if e.time.is_integer() and e.time != 30_000 else e.time
    if e.inputs != "digits":
        del given["data"]
    weights = None
    if e.task == "pretrained":
        if teacher is None:
            raise ValueError(f"{e.name} has a teacher that is trained before: its content is not known without it.")
        arrays = [np.ascontiguousarray(w, np.float32) for w in (teacher.W, teacher.v)]
        weights = hashlib.sha256(b"".join(w.tobytes() for w in arrays)).hexdigest()
    return given | {"widths": list(e.widths), "draw": draw, "teacher": weights, "engine": block.VERSION}


def key(e: Experiment, draw: int, teacher: Network | None = None) -> str:
    """Return the name under which a draw is stored.

    Raises
    ------
    ValueError
        If the experiment has a trained teacher and it is not given.
    """
    text = json.dumps(content(e, draw, teacher), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def default_folder() -> Path:
    """Return the folder $HMM_STORE, if that is set, else a folder of the user's cache."""
    chosen = os.environ.get("HMM_STORE")
    return Path(chosen).expanduser() if chosen else mnist.cache_dir() / "store"


def path(folder: Path, key: str) -> Path:
    """Return the file of a draw."""
    return folder / f"{key}.nc"


def save(folder: Path, key: str, result: xr.Dataset, **attributes: object) -> None:
    """Write the result of a draw in single precision, compressed and with checksums.

    Parameters
    ----------
    **attributes
        Of the file, in place of the :func:`provenance` of this process.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    made = provenance() | attributes
    write_datasets(path(folder, key), {None: result.assign_attrs(key=key, engine=block.VERSION, **made)})


def load(folder: Path, key: str) -> xr.Dataset | None:
    """Read the result of a draw; None if there is none.

    A file that is damaged, or was made by another version of the engine, is set aside with a warning.
    """
    place = path(folder, key)
    result = read_dataset(place)
    if result is None:
        return None
    if result.attrs.get("key") != key or result.attrs.get("engine") != block.VERSION:
        set_aside(place, "is not what its name says, or was made by another version of the engine")
        return None
    result.attrs = plain(result.attrs)
    return result


def configured(place: Path, text: str, group: str | None = None) -> xr.Dataset | None:
    """Read a file, or a group of one, if its attribute ``configuration`` is this text; else None.

    A file that cannot be read is set aside with a warning.
    """
    result = read_dataset(place, group)
    if result is None or result.attrs.get("configuration") != text:
        return None
    result.attrs = plain(result.attrs)
    return result


def plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as they were before a file held them: Python's numbers, and lists even of one element."""
    new_names = {old: new for new, old in _OLD_NAMES.items() if new not in attributes}
    read = {
        new_names.get(name, name): value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in attributes.items()
    }
    return read | {name: np.atleast_1d(read[name]).tolist() for name in ("widths", "keys") if name in read}


def provenance() -> dict[str, str]:
    """Say with what, where and when something was computed."""
    packages = ("numpy", "scipy", "numba", "torch", "xarray")
    return {
        "versions": ", ".join(
            [f"hmm_utils {hmm_utils.__version__}", f"Python {platform.python_version()}"]
            + [f"{name} {version(name)}" for name in packages]
        ),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _commit() -> str:
    """Return the commit of this package's checkout, with a + if files differ from it; empty without one."""
    commit, dirty = checkout.commit(Path(__file__).resolve().parent) or ("", False)
    return commit + ("+" if dirty else "")
