"""Runs of many experiments that survive anything: each draw is computed once, kept, and picked up where it was left.

Whatever is in the store is read, the rest is computed draw by draw. A draw is locked while it is computed, so two
sweeps on one store share the work; the lock is gone with the process that held it. A draw that was killed goes on from
its last checkpoint.
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
from typing import TYPE_CHECKING

import xarray as xr
from filelock import Timeout
from tqdm import tqdm

from hmm_utils.data import mnist
from hmm_utils.model.networks import Network
from hmm_utils.runs import archive, cache, cluster, experiments
from hmm_utils.runs.draws import LOOK_AGAIN, Computing, Unit, lock
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import hardware

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "load_draws",
    "load_or_run",
    "missing",
    "run_cached",
    "units",
]

_TRIES = 3


def units(
    plan: Mapping[str, Experiment],
    folder: Path,
    teacher: Network | None = None,
    known_keys: Collection[str] = (),
) -> list[Unit]:
    """All draws of a plan; `teacher` is for the experiments of task "pretrained".

    For data = "auto", results on MNIST that are in the store will do; if there are none, what can be had now decides.
    """
    found = []
    for name, e in plan.items():
        known = teacher if e.task == "pretrained" else None
        images = replace(e, data="mnist") if e.inputs == "digits" and e.data == "auto" else e
        keys = [cache.key(images, draw, known) for draw in range(e.n_draws)]
        there = all(key in known_keys or cache.path(folder, key).exists() for key in keys)
        if images is not e and not there and not _have_mnist():
            images, keys = e, [cache.key(e, draw, known) for draw in range(e.n_draws)]
        found += [Unit(name, images, draw, known, key) for draw, key in enumerate(keys)]
    return found


def _have_mnist() -> bool:
    try:
        mnist.load()
    except mnist.DataError:
        return False
    return True


def missing(all_units: Iterable[Unit], folder: Path) -> list[Unit]:
    """Those that are not in the store, each content once."""
    wanted: dict[str, Unit] = {}
    for unit in all_units:
        wanted.setdefault(unit.key, unit)
    return [unit for unit in wanted.values() if not cache.path(folder, unit.key).exists()]


def load_draws(
    wanted: Iterable[Unit], folder: Path, figures: Mapping[str, tuple[Path, str, int]]
) -> dict[str, xr.Dataset]:
    """The draws that can be read, by key, from the stored figures (`results.keys`) or the store.

    All are read, because only reading tells whether a file is good: what is damaged is set aside with a warning.
    """
    found: dict[str, xr.Dataset] = {}
    for key in dict.fromkeys(unit.key for unit in wanted):
        result = archive.load_draw(figures[key]) if key in figures else None
        result = cache.load(folder, key) if result is None else result
        if result is not None:
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
    """The results of a plan, as `experiments.run_plan` gives them but in single precision, from the store in `folder`.

    archive_folder  of the figures' files (`archive`), where draws are looked for first; these come without weights
    workers  processes that compute draws side by side; default: one for every two cores, and none but this one if that
             is one
    client   of a Dask cluster (`cluster.connect`) that computes them instead; a device is then one of its workers'

    Raises OSError if the store cannot be written to, RuntimeError if a worker died three times on the same draw, and
    what `cluster.on` raises; ValueError if both `workers` and `client` are given.
    """
    if client is not None and workers is not None:
        raise ValueError(f"workers = {workers} are processes of this machine: give them or the client of a cluster.")
    where = hardware.resolve(device) if client is None else device
    workers = max(hardware.threads() // 2, 1) if workers is None else workers
    figures = {} if archive_folder is None else archive.keys(archive_folder)
    wanted = units(plan, folder, teacher, figures)
    found = load_draws(wanted, folder, figures)
    todo = [unit for unit in missing(wanted, folder) if unit.key not in found]
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        compute = _computing(where, workers, client)
        with tqdm(total=len(todo), desc="draws", unit="draw", **({} if progress else {"disable": True})) as bar:
            for key in compute(todo, folder, where, progress):
                found[key] = cache.load(folder, key)
                bar.update()
    return {name: _combined([unit for unit in wanted if unit.name == name], found) for name in plan}


def _computing(where: str, workers: int, client: Client | None) -> Computing:
    if client is not None:
        return cluster.on(client)
    return _here if where != "cpu" or workers == 1 else _in_processes(workers)


def load_or_run(
    plan: Mapping[str, Experiment],
    *,
    teacher: Network | None = None,
    device: str = "cpu",
    client: Client | None = None,
    progress: bool = True,
) -> dict[str, xr.Dataset]:
    """What `experiments.run_plan` gives; runs of a profile that is kept are read from the stored figures and the store,
    and what is computed of them goes there. With the `client` of a Dask cluster that is so for all runs, and the
    cluster computes them.

    The store is the folder $HMM_STORE, if that is set, else a folder of the user's cache.
    """
    archived = {name: e for name, e in plan.items() if client is not None or experiments.is_archived(e.profile)}
    how = {"teacher": teacher, "device": device, "progress": progress}
    stored = {}
    if archived:
        stored = run_cached(archived, cache.default_folder(), archive_folder=archive.FOLDER, client=client, **how)
    live = {name: e for name, e in plan.items() if name not in archived}
    computed = experiments.run_plan(live, **how)
    return {name: (stored | computed)[name] for name in plan}


def _combined(draws: Sequence[Unit], found: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The draws of one experiment as one result.

    The same content can serve two figures: the result is called what it was asked for as.
    """
    parts = [found[unit.key] for unit in draws]
    common = set.intersection(*(set(part.data_vars) for part in parts))
    result = experiments.combine([part[[name for name in part.data_vars if name in common]] for part in parts])
    e = draws[0].experiment
    result.attrs |= {"name": e.name, "figure": e.figure, "profile": e.profile, "n_draws": e.n_draws}
    del result.attrs["key"]
    seconds = sum(part.attrs["seconds"] for part in parts)
    return result.assign_attrs(keys=[unit.key for unit in draws], seconds=round(float(seconds), 1))


def _compute(jobs: Sequence[Unit], folder: Path, where: str, progress: bool) -> list[str]:
    """Computes those of these draws that no other process is at, together, and keeps them; their keys.

    What is in the store by the time that its lock is held counts as computed.
    """
    with ExitStack() as locks:
        mine, done = [], []
        for unit in jobs:
            with suppress(Timeout):
                locks.enter_context(lock(folder, unit.key))
                (done if cache.path(folder, unit.key).exists() else mine).append(unit)
        if mine:
            plan = {unit.name: unit.experiment for unit in mine}
            teacher = next((unit.teacher for unit in mine if unit.teacher is not None), None)
            together = hashlib.sha256("".join(unit.key for unit in mine).encode()).hexdigest()[:24]
            state = folder / f".{together}.state"
            start = time.perf_counter()
            computed = experiments.run_draws(
                plan,
                [(unit.name, unit.draw) for unit in mine],
                teacher=teacher,
                where=where,
                checkpoint=state,
                progress=progress,
            )
            seconds = (time.perf_counter() - start) / len(mine)
            for unit, result in zip(mine, computed, strict=True):
                cache.save(folder, unit.key, result, seconds=round(seconds, 1))
            state.unlink(missing_ok=True)
        return [unit.key for unit in (*done, *mine)]


def _groups(todo: Sequence[Unit], where: str) -> Iterator[list[Unit]]:
    """Draws that are computed together."""
    by_job = {(unit.name, unit.draw): unit for unit in todo}
    for jobs in experiments.groups_of_draws({unit.name: unit.experiment for unit in todo}, where):
        group = [by_job[job] for job in jobs if job in by_job]
        if group:
            yield group


def _here(todo: Sequence[Unit], folder: Path, where: str, progress: bool) -> Iterator[str]:
    """Computes in this process, and waits for what another sweep is at."""
    left = {unit.key: unit for unit in todo}
    while left:
        before = len(left)
        for group in list(_groups(list(left.values()), where)):
            for key in _compute(group, folder, where, progress):
                del left[key]
                yield key
        if len(left) == before:
            time.sleep(LOOK_AGAIN)


def _in_processes(workers: int) -> Computing:
    """Computes a draw per process; a draw whose process died is tried again."""

    def compute(todo: Sequence[Unit], folder: Path, where: str, progress: bool) -> Iterator[str]:
        left, tries = {unit.key: unit for unit in todo}, dict.fromkeys((unit.key for unit in todo), 0)
        while left:
            before = len(left)
            share = str(max(hardware.threads() // workers, 1))
            with ProcessPoolExecutor(
                workers, mp_context=multiprocessing.get_context("spawn"), initializer=_cap, initargs=(share,)
            ) as pool:
                at_work = {pool.submit(_compute, [unit], folder, where, False): unit for unit in left.values()}
                while at_work:
                    finished, _ = wait(at_work, return_when=FIRST_COMPLETED)
                    for future in finished:
                        unit = at_work.pop(future)
                        try:
                            keys = future.result()
                        except BrokenProcessPool:
                            # which of the draws at work killed its process is not known: all get another try
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
                time.sleep(LOOK_AGAIN)

    return compute


def _cap(threads: str) -> None:
    """In a new process, before anything is computed."""
    os.environ["OMP_NUM_THREADS"] = threads
