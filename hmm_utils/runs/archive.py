"""The stored results of the paper's figures: one netCDF file per figure and one for the scan of what captions leave
open, one group per data set, labelled axes.

A group holds the observables of all draws of one experiment, in single precision, with the attributes of
`experiments.run_experiment` and the keys of the draws in the cache (`cache.key`), by which a draw is found again. Of
the weights, only those of networks that teach others are stored, and those of the first pair of students of the
digits, which are pictured: the other pairs' are NaN. Of the scan's points all but three errors are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from hmm_utils.files import read_dataset, write_datasets
from hmm_utils.runs import experiments
from hmm_utils.runs.cache import plain
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import block

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
    "load_draw",
    "save",
]

FOLDER = Path(__file__).resolve().parents[2] / "results"
"""The archive in a checkout of the project."""

SCANNED = ", scanned"
"""How the figure of an experiment ends that is a point of the scan (`hmm_utils.runs.scan`) around that figure."""

_TEACHES = ("fig4_pretraining",)
_LOOKED_AT = ("fig1_left", "fig10_left")
_OF_THE_SCAN = ("eps_g_frac", "eps_g_mse", "eps_12_frac")  # what is looked at of its many points


@dataclass(frozen=True)
class StoredRun:
    """One group of one file, for a table.

    complete  whether this is all that was planned
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
        days = (datetime.now(UTC) - datetime.fromisoformat(self.date)).days
        return "today" if days <= 0 else "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True)
class ArchiveState:
    """What `examine` found.

    n_runs      how many runs are stored as planned
    missing     runs that are not stored
    incomplete  runs that are stored at another scale than planned, or by another version of the engine
    damaged     files that cannot be read to the end
    """

    n_runs: int
    missing: tuple[str, ...]
    incomplete: tuple[str, ...]
    damaged: tuple[str, ...]


def figure_file(e: Experiment) -> str:
    """The file of the figure that an experiment belongs to: "Fig. 3 left" is in fig3.nc, "Fig. 3 left, scanned" with
    all other points of the scan in scan.nc."""
    if e.figure.endswith(SCANNED):
        return "scan.nc"
    number = re.match(r"Fig\. (\d+)", e.figure)
    if number is None:
        raise ValueError(f"{e.name} belongs to {e.figure}, which is no figure: only runs of figures are stored.")
    return f"fig{number[1]}.nc"


def save(folder: Path, plan: Mapping[str, Experiment], results: Mapping[str, xr.Dataset]) -> list[Path]:
    """Writes a file for each figure of the plan; results as `sweep.run_cached` returns them, with their keys.

    A figure's file is replaced as a whole: the plan should have all runs of a figure. Raises OSError if it cannot be
    written, and then the old file is still there.
    """
    by_file: dict[str, list[str]] = {}
    for name in results:
        by_file.setdefault(figure_file(plan[name]), []).append(name)
    return [_write(folder / file, {name: results[name] for name in names}) for file, names in sorted(by_file.items())]


def _write(place: Path, groups: Mapping[str, xr.Dataset]) -> Path:
    write_datasets(place, {_group(name): _thinned(name, result) for name, result in groups.items()})
    return place


def _thinned(name: str, result: xr.Dataset) -> xr.Dataset:
    """What is kept of a result."""
    if result.attrs["figure"].endswith(SCANNED):
        return result[[*_OF_THE_SCAN]]
    weights = [w for w in ("W", "v") if w in result]
    if name in _TEACHES:
        return result
    if name in _LOOKED_AT:
        first = (result["draw"] == result["draw"][0]) & (result["init"] == result["init"][0])
        return result.assign({w: result[w].where(first) for w in weights})
    return result.drop_vars(weights)


def _group(name: str) -> str:
    """A name such as "fig2_left_iid/first" as one group, not as one inside another."""
    return name.replace("/", ", ")


def load(folder: Path, name: str, e: Experiment) -> xr.Dataset | None:
    """The stored result of a run by its name in a plan; None if there is none. A file that cannot be read is set aside
    with a warning."""
    return _read(folder / figure_file(e), _group(name))


def _read(place: Path, group: str) -> xr.Dataset | None:
    result = read_dataset(place, group)
    if result is None:
        return None
    result.attrs = plain(result.attrs)
    return result


def _files(folder: Path) -> list[Path]:
    """The figures' files in the order of the figures, then the scan's."""
    numbered = {path: re.fullmatch(r"fig(\d+)\.nc", path.name) for path in folder.glob("fig*.nc")}
    figures = sorted((path for path, number in numbered.items() if number), key=lambda path: int(numbered[path][1]))
    return [*figures, *folder.glob("scan.nc")]


def keys(folder: Path) -> dict[str, tuple[Path, str, int]]:
    """Where each stored draw is, by its key: file, group, and which of its draws. Damaged files are left out here."""
    found = {}
    for place in _files(folder):
        try:
            with h5py.File(place) as file:
                for group in file:
                    for i, key in enumerate(np.atleast_1d(file[group].attrs["keys"])):
                        found[str(key)] = (place, group, i)
        except (OSError, KeyError, RuntimeError):
            continue
    return found


def load_draw(where: tuple[Path, str, int]) -> xr.Dataset | None:
    """One stored draw, from an entry of `keys`; None if it cannot be read or another version of the engine made it."""
    place, group, i = where
    result = _read(place, group)
    if result is None or result.attrs["engine"] != block.VERSION:
        return None
    at = result.attrs
    one = result.isel(draw=i).assign_attrs(key=at["keys"][i], seconds=at["seconds"] / len(at["keys"]))
    del one.attrs["keys"]
    return one


def examine(folder: Path, plan: Mapping[str, Experiment]) -> ArchiveState:
    """Looks at every netCDF file of a folder and changes none; every number is read, as only that tests its checksum.

    The runs in a damaged file count neither as stored nor as missing.
    """
    found: dict[str, dict[str, object]] = {}
    damaged = []
    for place in sorted(folder.glob("[!.]*.nc")):
        try:
            found |= _attributes(place)
        except (OSError, KeyError, RuntimeError, ValueError):
            damaged.append(place.name)
    planned = {_group(name): (name, e) for name, e in plan.items() if figure_file(e) not in damaged}
    there = {group: group in found for group in planned}
    whole = {
        name: _is_complete(found[group], e) and found[group].get("engine") == block.VERSION
        for group, (name, e) in planned.items()
        if there[group]
    }
    return ArchiveState(
        n_runs=sum(whole.values()),
        missing=tuple(name for group, (name, _) in planned.items() if not there[group]),
        incomplete=tuple(name for name, complete in whole.items() if not complete),
        damaged=tuple(damaged),
    )


def _attributes(place: Path) -> dict[str, dict[str, object]]:
    """The attributes of each group of a file that can be read to its end. Raises what h5py does if it cannot."""

    def read(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    with h5py.File(place) as file:
        file.visititems(read)
        return {
            # netCDF has no numbers, only arrays of one
            name: plain({k: v[0] if isinstance(v, np.ndarray) and v.size == 1 else v for k, v in group.attrs.items()})
            for name, group in file.items()
            if isinstance(group, h5py.Group)
        }


def _is_complete(attributes: Mapping[str, object], e: Experiment | None) -> bool:
    if e is None:
        return False
    # what a data set decides by itself is not what was planned
    given = {"n_test", "data"} | ({"n_inputs", "n_train"} if e.inputs == "digits" or e.task == "pretrained" else set())
    planned = {f.name: getattr(e, f.name) for f in fields(e) if f.name not in given}
    return all(value is None or plain({name: value})[name] == attributes.get(name) for name, value in planned.items())


def list_runs(folder: Path, plan: Mapping[str, Experiment]) -> Iterator[StoredRun]:
    """What is stored of what was planned, for a table."""
    names = {_group(name): name for name in plan}
    for place in _files(folder):
        with h5py.File(place) as file:
            groups = list(file)
        for group in groups:
            result = _read(place, group)
            if result is None:
                break
            at = result.attrs
            name = names.get(group, group)
            yield StoredRun(
                figure=at["figure"],
                name=name,
                scale=experiments.scale_note(result),
                draws=result.sizes["draw"],
                engine=int(at["engine"]),
                date=at["date"],
                seconds=float(at["seconds"]),
                complete=_is_complete(at, plan.get(name)),
            )
