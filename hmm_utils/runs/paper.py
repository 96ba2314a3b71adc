"""The whole paper at its own scale: which runs the archive lacks, computing them, reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from hmm_utils.runs import archive, experiments, measurements, scan, sweep
from hmm_utils.runs.experiments import Experiment

__all__ = ["PROFILE", "asked_for", "compute", "lacking", "plan", "stored_runs", "unmeasured", "write"]

PROFILE = "paper"
_PRETRAINING = "fig4_pretraining"


def plan() -> dict[str, Experiment]:
    """List every run of the archive, by name."""
    return experiments.whole_plan(PROFILE) | experiments.longer(PROFILE) | scan.points(PROFILE)


def asked_for(plans: Iterable[Mapping[str, Experiment]], *, as_stated: bool = True) -> list[dict[str, Experiment]]:
    """Join the runs of several plans, in as few sweeps as their names allow.

    Parameters
    ----------
    as_stated : bool
        Whether no value was changed: then a set-up's longer run, and the points of the scan around it, belong to it.
    """
    sweeps: list[dict[str, Experiment]] = []
    for asked in plans:
        runs = dict(asked)
        if as_stated:
            names = {e.name for e in asked.values()}
            runs |= {name: e for name, e in plan().items() if name not in runs and "/" in name and e.name in names}
        fits = (s for s in sweeps if all(s.get(name, e) == e for name, e in runs.items()))
        if (sweep_of_all := next(fits, None)) is None:
            sweeps.append(sweep_of_all := {})
        sweep_of_all.update(runs)
    return sweeps


def lacking(runs: Mapping[str, Experiment], folder: Path, archive_folder: Path) -> dict[str, int]:
    """Count the draws of each run that are neither in the archive nor in the cache in ``folder``.

    Each file is read once. One that is damaged is set aside with a warning, and its draws are counted.
    """
    stored = archive.keys(archive_folder, whole=True)
    teacher, counts = None, {}
    # the teacher first: without it the keys of the runs that it teaches are not known
    for name, e in sorted(runs.items(), key=lambda item: item[0] != _PRETRAINING):
        if e.task == "pretrained" and teacher is None:
            counts[name] = e.n_draws
            continue
        draws = sweep.units({name: e}, folder, teacher, stored)
        cached = [unit for unit in draws if unit.key not in stored]
        counts[name] = len(cached) - len(sweep.load_draws(cached, folder, {}))
        if name == _PRETRAINING and counts[name] == 0:
            pretraining = sweep.load_draws(draws, folder, stored)
            teacher = archive.pretrained_teacher(experiments.combine([*pretraining.values()]))
    return {name: counts[name] for name in runs if counts[name]}


def unmeasured(names: Iterable[str], archive_folder: Path) -> dict[str, int]:
    """Count the parts of measurements, by their names, that are not in the archive."""
    wanted = {name.partition("/")[0] for name in names}
    counts = {name: len(measurements.missing(name, PROFILE, archive_folder)) for name in wanted}
    return {name: counts[name] for name in measurements.MEASUREMENTS if counts.get(name)}


def compute(runs: Mapping[str, Experiment], folder: Path, archive_folder: Path, **how: Any) -> dict[str, xr.Dataset]:
    """Read these runs from the archive or the cache, or compute them and put them into the cache.

    Parameters
    ----------
    **how
        ``device``, ``workers``, ``client`` and ``progress`` of :func:`hmm_utils.runs.sweep.run_cached`, which also says
        what is raised.
    """
    teacher = None
    if any(e.task == "pretrained" for e in runs.values()):
        first = {_PRETRAINING: runs[_PRETRAINING]}
        pretraining = sweep.run_cached(first, folder, archive_folder=archive_folder, **how)[_PRETRAINING]
        teacher = archive.pretrained_teacher(pretraining)
    return sweep.run_cached(runs, folder, teacher=teacher, archive_folder=archive_folder, **how)


def write(results: Mapping[str, xr.Dataset], runs: Mapping[str, Experiment], archive_folder: Path) -> list[Path]:
    """Write the figures all of whose runs are given and not all of whose draws are stored; the new files."""
    stored, planned = archive.keys(archive_folder), plan()
    by_file: dict[str, list[str]] = {}
    for name, e in planned.items():
        by_file.setdefault(archive.figure_file(e), []).append(name)
    new = []
    for names in by_file.values():
        whole = all(runs.get(name) == planned[name] for name in names)
        if whole and any(key not in stored for name in names for key in results[name].attrs["keys"]):
            new += archive.save(archive_folder, planned, {name: results[name] for name in names})
    return new


def stored_runs(archive_folder: Path | None = None) -> dict[str, xr.Dataset]:
    """Read the stored results of the figures' runs by name; nothing is computed.

    The points of the scan are not among them (:func:`hmm_utils.runs.scan.load`).

    Raises
    ------
    FileNotFoundError
        If one is missing.
    """
    folder = archive_folder or archive.FOLDER
    wanted = {name: e for name, e in plan().items() if not e.figure.endswith(archive.SCANNED)}
    found = {name: result for name, e in wanted.items() if (result := archive.load(folder, name, e)) is not None}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of {len(wanted)} runs, {missing[0]} for one: compute them with "
            f"`hmm run all --profile {PROFILE}`."
        )
    return found
