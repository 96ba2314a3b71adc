"""Results in files, found by their content: the same draw of the same experiment is computed once.

A file holds one draw. It is named by a hash of everything that decides its numbers: the experiment but for its name and
place in the paper, the draw, the teacher that was trained before, the engine's version.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

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

__all__ = ["configured", "content", "default_folder", "key", "load", "path", "plain", "provenance", "save"]

# what a run is called, where it stands and how often it is repeated does not change the numbers of a draw
_NAMES = ("name", "figure", "profile", "n_draws")

# What fields of an experiment were called when the first results were stored: keys, and so all stored results, stay.
_OLD_NAMES = {"n_train": "train_size", "n_pairs": "n_inits"}


def content(e: Experiment, draw: int, teacher: Network | None = None) -> dict[str, object]:
    """Everything that decides the numbers of a draw, in types that JSON knows."""
    # a field that is left at its default does not count, so that one can be added without making old results strange
    given = {
        _OLD_NAMES.get(f.name, f.name): getattr(e, f.name)
        for f in fields(e)
        if f.name not in _NAMES and getattr(e, f.name) != f.default
    }
    # as the first results were stored: a whole number without a fraction, but for the runs named "longer"
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
    """The name under which a draw is kept. Raises ValueError if its teacher is needed and not given."""
    text = json.dumps(content(e, draw, teacher), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def default_folder() -> Path:
    """The folder $HMM_STORE, if that is set, else a folder of the user's cache."""
    chosen = os.environ.get("HMM_STORE")
    return Path(chosen).expanduser() if chosen else mnist.cache_dir() / "store"


def path(folder: Path, key: str) -> Path:
    return folder / f"{key}.nc"


def save(folder: Path, key: str, result: xr.Dataset, **attributes: object) -> None:
    """Writes the result of a draw in single precision, compressed and with checksums. Raises OSError if it cannot.

    attributes  of the file; `provenance` is that of this process where they do not say otherwise
    """
    made = provenance() | attributes
    write_datasets(path(folder, key), {None: result.assign_attrs(key=key, engine=block.VERSION, **made)})


def load(folder: Path, key: str) -> xr.Dataset | None:
    """The result of a draw; None if it is not there.

    A file that is damaged, or was made by another version of the engine, is set aside with a warning and counts as
    none.
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
    """What a file, or a group of one, holds, if its attribute `configuration` is this text; None if not, or if there is
    no such file. One that cannot be read is set aside with a warning."""
    result = read_dataset(place, group)
    if result is None or result.attrs.get("configuration") != text:
        return None
    result.attrs = plain(result.attrs)
    return result


def plain(attributes: Mapping[str, object]) -> dict[str, object]:
    """Attributes as they were before a file held them: Python's numbers, and lists even of one element."""
    new_names = {old: new for new, old in _OLD_NAMES.items() if new not in attributes}
    kept = {
        new_names.get(name, name): value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in attributes.items()
    }
    return kept | {name: np.atleast_1d(kept[name]).tolist() for name in ("widths", "keys") if name in kept}


def provenance() -> dict[str, str]:
    """With what, where and when something was computed."""
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
    """The commit of the checkout that this package lies in, with a + if files differ from it; empty without one."""
    commit, dirty = checkout.commit(Path(__file__).resolve().parent) or ("", False)
    return commit + ("+" if dirty else "")
