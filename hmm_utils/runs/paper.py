"""The whole paper at its own scale: what the stored results lack, computing it, reading it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import xarray as xr

from hmm_utils.model.networks import Network
from hmm_utils.runs import archive, experiments, measurements, scan, sweep
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import training

__all__ = ["asked_for", "compute", "lacking", "plan", "stored_runs", "unmeasured", "write"]

PROFILE = "paper"
_TAUGHT_BY = "fig4_pretraining"
_SCAN = "scan/"


def plan() -> dict[str, Experiment]:
    """Every run that is stored, by name."""
    return experiments.whole_plan(PROFILE) | experiments.longer(PROFILE) | scan.points(PROFILE)


_BESIDE = {"01_independent_students": "fig1_right/longer", "03_hidden_manifold_model": ("fig3_right/longer", _SCAN)}


def asked_for(
    plans: Mapping[str, Mapping[str, Experiment]], *, as_stated: bool = True
) -> list[dict[str, Experiment]]:
    """The runs that notebooks ask for (notebook → plan), in as few sweeps as their names allow.

    as_stated  whether no value was changed: then the runs that are trained on and the scan belong to it as well
    """
    sweeps: list[dict[str, Experiment]] = []
    for notebook, asked in plans.items():
        beside = _BESIDE.get(notebook, ()) if as_stated else ()
        runs = dict(asked) | {name: e for name, e in plan().items() if beside and name.startswith(beside)}
        fits = (s for s in sweeps if all(s.get(name, e) == e for name, e in runs.items()))
        if (known := next(fits, None)) is None:
            sweeps.append(known := {})
        known.update(runs)
    return sweeps


def _teacher(pretraining: xr.Dataset) -> Network:
    """The network of Fig. 4: it was trained on digits, and its weights are stored."""
    return training.student(pretraining.isel(draw=0), width=int(pretraining["width"][0]))


def lacking(runs: Mapping[str, Experiment], folder: Path, archive_folder: Path) -> dict[str, int]:
    """How many draws of each run are neither among the stored figures in `archive_folder` nor in the store in `folder`.

    Files are read, so that a damaged one is found, set aside with a warning and counted.
    """
    figures, counts, teacher = archive.keys(archive_folder), {}, None
    # the teacher first: without it the content of the runs that it teaches is not known
    for name, e in sorted(runs.items(), key=lambda item: item[1].task == "pretrained"):
        if e.task == "pretrained" and teacher is None:
            counts[name] = e.n_draws
            continue
        wanted = sweep.units({name: e}, folder, teacher, figures)
        found = sweep.load_draws(wanted, folder, figures)
        counts[name] = sum(unit.key not in found for unit in wanted)
        if name == _TAUGHT_BY and counts[name] == 0:
            teacher = _teacher(experiments.combine([found[wanted[0].key]]))
    return {name: counts[name] for name in runs if counts[name]}


def unmeasured(notebooks: Collection[str], archive_folder: Path) -> dict[str, int]:
    """How many parts of what notebooks measure without training the figures' students are not in the archive."""
    names = {of.partition("/")[0] for notebook in notebooks for of in experiments.NOTEBOOKS[notebook].measurements}
    counts = ((name, len(measurements.missing(name, PROFILE, archive_folder))) for name in measurements.MEASUREMENTS)
    return {name: n for name, n in counts if name in names and n}


def compute(runs: Mapping[str, Experiment], folder: Path, archive_folder: Path, **how: object) -> dict[str, xr.Dataset]:
    """The results of these runs by name: those that are stored are read, the others computed and put into the store.

    how  `device`, `workers`, `client`, `progress` of `sweep.run_cached`, which see for what is raised
    """
    teacher = None
    if any(e.task == "pretrained" for e in runs.values()):
        first = {_TAUGHT_BY: runs[_TAUGHT_BY]}
        teacher = _teacher(sweep.run_cached(first, folder, archive_folder=archive_folder, **how)[_TAUGHT_BY])
    return sweep.run_cached(runs, folder, teacher=teacher, archive_folder=archive_folder, **how)


def write(found: Mapping[str, xr.Dataset], runs: Mapping[str, Experiment], archive_folder: Path) -> list[Path]:
    """Writes the figures whose runs are all there and not all stored yet; the files that are new."""
    there = archive.keys(archive_folder)
    by_file: dict[str, list[str]] = {}
    for name, e in plan().items():
        by_file.setdefault(archive.figure_file(e), []).append(name)
    new = []
    for names in by_file.values():
        whole = all(runs.get(name) == e for name, e in plan().items() if name in names)
        if whole and not all(key in there for name in names for key in found[name].attrs["keys"]):
            chosen = ({name: items[name] for name in names} for items in (runs, found))
            new += archive.save(archive_folder, *chosen)
    return new


def stored_runs(archive_folder: Path | None = None) -> dict[str, xr.Dataset]:
    """The stored results of the figures' runs by name, from a folder or from the project's; nothing is computed. (The
    points of the scan are read by `scan.load`.)

    Raises FileNotFoundError if one is missing.
    """
    archive_folder = archive_folder or archive.FOLDER
    found = {name: archive.load(archive_folder, name, e) for name, e in plan().items() if not name.startswith(_SCAN)}
    missing = [name for name, result in found.items() if result is None]
    if missing:
        raise FileNotFoundError(
            f"{archive_folder} lacks {len(missing)} of {len(found)} runs, {missing[0]} for one: compute them with "
            f"`hmm run all --profile {PROFILE}`."
        )
    return found
