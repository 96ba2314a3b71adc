"""Sweeps: runs of many experiments, in which each draw is computed once, stored, and resumed after a crash.

Draws in the archive or the cache are read, the others are computed one by one. A draw is locked while it is computed,
so that two sweeps on one cache share the work; the lock disappears with the process that holds it. A draw that was
interrupted is resumed from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from filelock import FileLock, Timeout
from tqdm import tqdm

from hmm_utils.data import mnist
from hmm_utils.model.networks import Network
from hmm_utils.runs import archive, cache, experiments
from hmm_utils.runs.cache import Computing, Unit
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import hardware

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["load_draws", "load_or_run", "missing", "run_cached", "units"]

_TRIES = 3
_POLL = 1.0  # seconds until a draw that another sweep computes is looked for again


def units(
    plan: Mapping[str, Experiment],
    folder: Path,
    teacher: Network | None = None,
    known_keys: Collection[str] = (),
) -> list[Unit]:
    """List all draws of a plan; ``teacher`` is for the experiments of task "pretrained".

    For ``data="auto"``, stored results on MNIST are taken if there are any (in ``folder`` or among ``known_keys``);
    otherwise it decides whether MNIST can be loaded now.
    """
    found = []
    for name, e in plan.items():
        weights = teacher if e.task == "pretrained" else None
        images = replace(e, data="mnist") if e.inputs == "digits" and e.data == "auto" else e
        keys = [cache.key(images, draw, weights) for draw in range(e.n_draws)]
        stored = all(key in known_keys or cache.path(folder, key).exists() for key in keys)
        if images is not e and not stored and not _have_mnist():
            images, keys = e, [cache.key(e, draw, weights) for draw in range(e.n_draws)]
        found += [Unit(name, images, draw, weights, key) for draw, key in enumerate(keys)]
    return found


def _have_mnist() -> bool:
    try:
        mnist.load()
    except mnist.DataError:
        return False
    return True


def missing(all_units: Iterable[Unit], folder: Path) -> list[Unit]:
    """List the draws that are not in the cache, each key once."""
    wanted: dict[str, Unit] = {}
    for unit in all_units:
        wanted.setdefault(unit.key, unit)
    return [unit for unit in wanted.values() if not cache.path(folder, unit.key).exists()]


def load_draws(
    wanted: Iterable[Unit], folder: Path, archived: Mapping[str, archive.Location]
) -> dict[str, xr.Dataset]:
    """Read draws by key, from the archive (:func:`hmm_utils.runs.archive.keys`) or the cache.

    Only reading shows whether a file is intact: a damaged one is set aside with a warning.
    """
    keys = dict.fromkeys(unit.key for unit in wanted)
    found = archive.load_draws({key: archived[key] for key in keys if key in archived})
    for key in keys:
        if key not in found and (result := cache.load(folder, key)) is not None:
            found[key] = result
    return found


def run_cached(
    plan: Mapping[str, Experiment],
    folder: Path,
    *,
    teacher: Network | None = None,
    archive_folder: Path | None = None,
    device: str = "cpu",
    workers: int | None = None,
    client: Client | None = None,
    progress: bool = True,
) -> dict[str, xr.Dataset]:
    """Run a plan as :func:`hmm_utils.runs.experiments.run_plan`, in single precision, by way of a cache.

    Parameters
    ----------
    folder : Path
        The cache.
    archive_folder : Path, optional
        Where draws are looked for first; these come without weights.
    workers : int, optional
        Processes that compute draws side by side; None: one for every two cores, and only this one if that is one.
    client : distributed.Client, optional
        Of a Dask cluster (:func:`hmm_utils.runs.cluster.connect`) that computes them instead; ``device`` is then one of
        its workers'.

    Raises
    ------
    OSError
        If the cache cannot be written.
    RuntimeError
        If a worker died three times on the same draw; and what :func:`hmm_utils.runs.cluster.on` raises.
    ValueError
        If both ``workers`` and ``client`` are given.
    """
    if client is not None and workers is not None:
        raise ValueError(f"workers = {workers} are processes of this machine: give them or the client of a cluster.")
    where = hardware.resolve(device) if client is None else device
    workers = max(hardware.threads() // 2, 1) if workers is None else workers
    archived = {} if archive_folder is None else archive.keys(archive_folder)
    wanted = units(plan, folder, teacher, archived)
    found = load_draws(wanted, folder, archived)
    todo = [unit for unit in missing(wanted, folder) if unit.key not in found]
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        compute = _computing(where, workers, client)
        with tqdm(total=len(todo), desc="draws", unit="draw", **({} if progress else {"disable": True})) as bar:
            for key in compute(todo, folder, where, progress):
                result = cache.load(folder, key)
                assert result is not None, "it was written just now"
                found[key] = result
                bar.update()
    return {name: _combined([unit for unit in wanted if unit.name == name], found) for name in plan}


def _computing(where: str, workers: int, client: Client | None) -> Computing:
    if client is not None:
        from hmm_utils.runs import cluster

        return cluster.on(client)
    return _in_this_process if where != "cpu" or workers == 1 else _in_processes(workers)


def load_or_run(
    plan: Mapping[str, Experiment],
    *,
    teacher: Network | None = None,
    device: str = "cpu",
    client: Client | None = None,
    progress: bool = True,
) -> dict[str, xr.Dataset]:
    """Run a plan as :func:`hmm_utils.runs.experiments.run_plan`; what is stored is not computed again.

    Runs of an archived profile are read from the archive and the cache, and what is computed of them goes to the cache.
    With the ``client`` of a Dask cluster this holds for all runs, and the cluster computes them.
    """
    through_cache = {name: e for name, e in plan.items() if client is not None or experiments.is_archived(e.profile)}
    how: dict[str, Any] = {"teacher": teacher, "device": device, "progress": progress}
    results = {}
    if through_cache:
        cached = how | {"archive_folder": archive.FOLDER, "client": client}
        results = run_cached(through_cache, cache.default_folder(), **cached)
    results |= experiments.run_plan({name: e for name, e in plan.items() if name not in through_cache}, **how)
    return {name: results[name] for name in plan}


def _combined(draws: Sequence[Unit], found: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join the draws of one experiment into one result.

    The same draws can serve two figures: the result has the names under which it was asked for.
    """
    parts = [found[unit.key] for unit in draws]
    common = set.intersection(*(set(part.data_vars) for part in parts))
    result = experiments.combine([part[[name for name in part.data_vars if name in common]] for part in parts])
    e = draws[0].experiment
    result.attrs |= {"name": e.name, "figure": e.figure, "profile": e.profile, "n_draws": e.n_draws}
    del result.attrs["key"]
    seconds = sum(part.attrs["seconds"] for part in parts)
    return result.assign_attrs(keys=[unit.key for unit in draws], seconds=round(float(seconds), 1))


# ---- Ways to compute -------------------------------------------------------------------------------------------------


def lock(folder: Path, key: str) -> FileLock:
    """Return the lock of a draw; taking it raises filelock.Timeout while another process holds it."""
    return FileLock(folder / f".{key}.lock", blocking=False)


def _compute(jobs: Sequence[Unit], folder: Path, where: str, progress: bool) -> list[str]:
    """Compute, in one fleet, those of these draws that no other process computes, and store them; their keys.

    A draw that is in the cache by the time its lock is taken counts as computed.
    """
    with ExitStack() as locks:
        todo: list[Unit] = []
        done: list[Unit] = []
        for unit in jobs:
            with suppress(Timeout):
                locks.enter_context(lock(folder, unit.key))
                (done if cache.path(folder, unit.key).exists() else todo).append(unit)
        if todo:
            fleet = hashlib.sha256("".join(unit.key for unit in todo).encode()).hexdigest()[:24]
            state = folder / f".{fleet}.state"
            start = time.perf_counter()
            computed = experiments.run_draws(
                {unit.name: unit.experiment for unit in todo},
                [(unit.name, unit.draw) for unit in todo],
                teacher=next((unit.teacher for unit in todo if unit.teacher is not None), None),
                where=where,
                checkpoint=state,
                progress=progress,
            )
            seconds = (time.perf_counter() - start) / len(todo)
            for unit, result in zip(todo, computed, strict=True):
                cache.save(folder, unit.key, result, seconds=round(seconds, 1))
            state.unlink(missing_ok=True)
        return [unit.key for unit in (*done, *todo)]


def _groups(todo: Sequence[Unit], where: str, at_once: int | None = None) -> Iterator[list[Unit]]:
    """Draws that are trained together."""
    by_job = {(unit.name, unit.draw): unit for unit in todo}
    for jobs in experiments.groups_of_draws({unit.name: unit.experiment for unit in todo}, where, at_once):
        group = [by_job[job] for job in jobs if job in by_job]
        if group:
            yield group


def _in_this_process(todo: Sequence[Unit], folder: Path, where: str, progress: bool) -> Iterator[str]:
    """Compute in this process, and wait for the draws that another sweep computes."""
    left = {unit.key: unit for unit in todo}
    while left:
        before = len(left)
        for group in list(_groups(list(left.values()), where)):
            for key in _compute(group, folder, where, progress):
                del left[key]
                yield key
        if len(left) == before:
            time.sleep(_POLL)


def _in_processes(workers: int) -> Computing:
    """Compute a draw, in all its readings, per process; a draw whose process died is tried again."""

    def compute(todo: Sequence[Unit], folder: Path, where: str, progress: bool) -> Iterator[str]:
        left, tries = {unit.key: unit for unit in todo}, dict.fromkeys((unit.key for unit in todo), 0)
        while left:
            before = len(left)
            share = str(max(hardware.threads() // workers, 1))
            with ProcessPoolExecutor(
                workers, mp_context=multiprocessing.get_context("spawn"), initializer=_cap, initargs=(share,)
            ) as pool:
                running = {
                    pool.submit(_compute, group, folder, where, False): group[0]
                    for group in _groups(list(left.values()), where, at_once=1)
                }
                while running:
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        unit = running.pop(future)
                        try:
                            keys = future.result()
                        except BrokenProcessPool:
                            # it is not known which of the running draws killed its process: all get another try
                            tries[unit.key] += 1
                            if tries[unit.key] == _TRIES:
                                raise RuntimeError(
                                    f"the process that computed draw {unit.draw} of {unit.name} died {_TRIES} times: "
                                    "look whether memory runs out, and use fewer workers."
                                ) from None
                            continue
                        for key in keys:
                            del left[key]
                            yield key
            if len(left) == before:
                time.sleep(_POLL)

    return compute


def _cap(threads: str) -> None:
    """Limit a new process's threads, before anything is computed."""
    os.environ["OMP_NUM_THREADS"] = threads
