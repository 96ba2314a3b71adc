"""The archive: stored results of the paper's figures, one netCDF file per figure and one for the scan.

The scan is that of what captions leave open (:mod:`hmm_utils.runs.scan`). A file has one group per run, with labelled
axes: the observables of all its draws in single precision, the attributes of
:func:`hmm_utils.runs.experiments.run_experiment`, and the keys of the draws (:func:`hmm_utils.runs.cache.key`), by
which a draw is found.

Weights are stored only of networks that teach others, and of the first pair of students of the digits, which is
pictured; the other pairs' are NaN. Of the scan's points, three errors are stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from hmm_utils.files import read_dataset, set_aside, write_datasets
from hmm_utils.model.networks import Network
from hmm_utils.runs import cache, experiments
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import training

__all__ = [
    "FOLDER",
    "SCANNED",
    "ArchiveState",
    "StoredRun",
    "examine",
    "figure_file",
    "keys",
    "list_runs",
    "load",
    "load_draws",
    "pretrained_teacher",
    "save",
]

FOLDER = Path(__file__).resolve().parents[2] / "results"
"""The archive in a checkout of the project."""

SCANNED = ", scanned"
"""How the figure of an experiment ends that is a point of the scan around that figure."""

_TEACHER = "fig4_pretraining"
_PICTURED = ("fig1_left", "fig10_left")
_OF_THE_SCAN = ("eps_g_frac", "eps_g_mse", "eps_12_frac")
_UNREADABLE = (OSError, KeyError, RuntimeError, ValueError)

Location = tuple[Path, str, int]
"""File, group, and which of its draws."""


@dataclass(frozen=True)
class StoredRun:
    """One group of one file, for a table.

    Attributes
    ----------
    complete : bool
        Whether these are the draws that are planned.
    """

    figure: str
    name: str
    scale: str
    draws: int
    engine: int
    date: str
    seconds: float
    complete: bool

    @property
    def age(self) -> str:
        """Time since it was computed, in words."""
        days = (datetime.now(UTC) - datetime.fromisoformat(self.date)).days
        return "today" if days <= 0 else "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True)
class ArchiveState:
    """State of an archive compared with a plan.

    Attributes
    ----------
    n_runs : int
        How many runs are stored as planned.
    missing : tuple of str
        Runs that are not stored.
    incomplete : tuple of str
        Runs of which other draws are stored than planned: another scale, other parameters, another version.
    damaged : tuple of str
        Files that cannot be read to the end.
    """

    n_runs: int
    missing: tuple[str, ...]
    incomplete: tuple[str, ...]
    damaged: tuple[str, ...]


def figure_file(e: Experiment) -> str:
    """Name the file of an experiment: fig3.nc for "Fig. 3 left", scan.nc for "Fig. 3 left, scanned"."""
    if e.figure.endswith(SCANNED):
        return "scan.nc"
    number = re.match(r"Fig\. (\d+)", e.figure)
    if number is None:
        raise ValueError(f"{e.name} belongs to {e.figure}, which is no figure: only runs of figures are stored.")
    return f"fig{number[1]}.nc"


# ---- Writing and reading ---------------------------------------------------------------------------------------------


def save(folder: Path, plan: Mapping[str, Experiment], results: Mapping[str, xr.Dataset]) -> list[Path]:
    """Write a file for each figure of the plan.

    A figure's file is replaced as a whole: the plan should have all runs of a figure.

    Parameters
    ----------
    results : mapping
        As :func:`hmm_utils.runs.sweep.run_cached` returns them, with their keys.

    Raises
    ------
    OSError
        If a file cannot be written; the old file is then still there.
    """
    by_file: dict[str, dict[str | None, xr.Dataset]] = {}
    for name, result in results.items():
        by_file.setdefault(figure_file(plan[name]), {})[_group(name)] = _reduced(name, result)
    for file, groups in sorted(by_file.items()):
        write_datasets(folder / file, groups)
    return [folder / file for file in sorted(by_file)]


def _reduced(name: str, result: xr.Dataset) -> xr.Dataset:
    """Select the part of a result that is stored."""
    if result.attrs["figure"].endswith(SCANNED):
        return result[[*_OF_THE_SCAN]]
    weights = [w for w in ("W", "v") if w in result]
    if name == _TEACHER:
        return result
    if name in _PICTURED:
        first = (result["draw"] == result["draw"][0]) & (result["init"] == result["init"][0])
        return result.assign({w: result[w].where(first) for w in weights})
    return result.drop_vars(weights)


def _group(name: str) -> str:
    """Write a name such as "fig2_left_iid/first" as one group, not as one inside another."""
    return name.replace("/", ", ")


def load(folder: Path, name: str, e: Experiment) -> xr.Dataset | None:
    """Read the stored result of a run by its name in a plan; None if there is none.

    A file that cannot be read is set aside with a warning.
    """
    return _read(folder / figure_file(e), _group(name))


def _read(place: Path, group: str) -> xr.Dataset | None:
    result = read_dataset(place, group)
    if result is not None:
        result.attrs = cache.plain(result.attrs)
    return result


def pretrained_teacher(pretraining: xr.Dataset) -> Network:
    """Return the teacher of Fig. 4, from the result of its training on digits."""
    return training.student(pretraining.isel(draw=0), width=int(pretraining["width"][0]))


def _files(folder: Path) -> list[Path]:
    """List the figures' files in the order of the figures, then the scan's."""
    numbers = {path: int(m[1]) for path in folder.glob("fig*.nc") if (m := re.fullmatch(r"fig(\d+)\.nc", path.name))}
    return [*sorted(numbers, key=numbers.__getitem__), *folder.glob("scan.nc")]


def _groups(place: Path, *, whole: bool = False) -> dict[str, dict[str, Any]]:
    """Read the attributes of each group of a file, and as "sizes" the numbers of draws and initialisations.

    Parameters
    ----------
    whole : bool
        Whether every number is read as well, which tests its checksum. Raises an exception of ``_UNREADABLE`` if that
        fails.
    """

    def read(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    with h5py.File(place) as file:
        if whole:
            file.visititems(read)
        return {
            # netCDF has no numbers, only arrays of one
            name: cache.plain({k: v[0] if np.size(v) == 1 and np.ndim(v) else v for k, v in group.attrs.items()})
            | {"sizes": {dim: group[dim].shape[0] for dim in ("draw", "init") if dim in group}}
            for name, group in file.items()
            if isinstance(group, h5py.Group)
        }


def keys(folder: Path, *, whole: bool = False) -> dict[str, Location]:
    """Locate each stored draw by its key, which depends on the version of the engine.

    Parameters
    ----------
    whole : bool
        Whether every number is read, once, and not only the attributes: a damaged file is then set aside with a
        warning. If not, only files that cannot be opened are found to be damaged, and these are left out.
    """
    found: dict[str, Location] = {}
    for place in _files(folder):
        try:
            groups = _groups(place, whole=whole)
        except _UNREADABLE as error:
            if whole:
                set_aside(place, f"cannot be read ({error})")
            continue
        for group, at in groups.items():
            found |= {key: (place, group, i) for i, key in enumerate(at["keys"])}
    return found


def load_draws(locations: Mapping[str, Location]) -> dict[str, xr.Dataset]:
    """Read stored draws by key, from entries of :func:`keys`; each group is read once.

    Draws that cannot be read are left out, and their file is set aside with a warning.
    """
    found = {}
    for place, group in dict.fromkeys((place, group) for place, group, _ in locations.values()):
        result = _read(place, group)
        if result is None:
            continue
        all_keys, seconds = result.attrs.pop("keys"), result.attrs["seconds"]
        for i, key in enumerate(all_keys):
            if locations.get(key) == (place, group, i):
                found[key] = result.isel(draw=i).assign_attrs(key=key, seconds=seconds / len(all_keys))
    return found


# ---- Comparing with a plan -------------------------------------------------------------------------------------------


def examine(folder: Path, plan: Mapping[str, Experiment]) -> ArchiveState:
    """Compare an archive with a plan, and change nothing.

    Every number of every netCDF file is read once, which tests its checksum. The runs in a damaged file count neither
    as stored nor as missing.
    """
    found: dict[str, dict[str, Any]] = {}
    damaged = []
    for place in sorted(folder.glob("[!.]*.nc")):
        try:
            found |= _groups(place, whole=True)
        except _UNREADABLE:
            damaged.append(place.name)
    teacher = None if "fig4.nc" in damaged else _stored_teacher(folder, plan.values())
    expected = {name: e for name, e in plan.items() if figure_file(e) not in damaged}
    stored = {name: found[_group(name)] for name in expected if _group(name) in found}
    incomplete = tuple(name for name, at in stored.items() if not _is_complete(at, plan[name], teacher))
    return ArchiveState(
        n_runs=len(stored) - len(incomplete),
        missing=tuple(name for name in expected if name not in stored),
        incomplete=incomplete,
        damaged=tuple(damaged),
    )


def list_runs(folder: Path, plan: Mapping[str, Experiment]) -> Iterator[StoredRun]:
    """List the stored runs, for a table.

    Every number is read, which tests its checksum; a damaged file is set aside with a warning.
    """
    names = {_group(name): name for name in plan}
    teacher = _stored_teacher(folder, plan.values())
    for place in _files(folder):
        try:
            groups = _groups(place, whole=True)
        except _UNREADABLE as error:
            set_aside(place, f"cannot be read ({error})")
            continue
        for group, at in groups.items():
            name = names.get(group, group)
            sizes = at.pop("sizes")
            yield StoredRun(
                figure=at["figure"],
                name=name,
                scale=experiments.scale_note(xr.Dataset(coords={k: range(n) for k, n in sizes.items()}, attrs=at)),
                draws=sizes["draw"],
                engine=int(at["engine"]),
                date=at["date"],
                seconds=float(at["seconds"]),
                complete=name in plan and _is_complete(at, plan[name], teacher),
            )


def _stored_teacher(folder: Path, planned: Iterable[Experiment]) -> Network | None:
    """Read the teacher of Fig. 4, if some of the experiments have it and it is stored."""
    place = folder / "fig4.nc"
    if not any(e.task == "pretrained" for e in planned) or not place.exists():
        return None
    try:
        with xr.open_dataset(place, group=_TEACHER, engine="h5netcdf") as file:
            return pretrained_teacher(file.load().assign_attrs(cache.plain(file.attrs)))
    except _UNREADABLE:
        return None


def _is_complete(at: Mapping[str, Any], e: Experiment, teacher: Network | None) -> bool:
    """Compare the stored keys with those of the planned draws, which depend on all that decides the numbers."""
    if e.task == "pretrained" and teacher is None:
        return False
    weights = teacher if e.task == "pretrained" else None
    # which images "auto" means is not planned; results on 8×8 digits are stored as "auto"
    images = ("mnist", "auto") if e.inputs == "digits" and e.data == "auto" else (e.data,)
    return any(
        list(at["keys"]) == [cache.key(replace(e, data=data), draw, weights) for draw in range(e.n_draws)]
        for data in images
    )
