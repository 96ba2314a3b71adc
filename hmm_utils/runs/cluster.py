"""Sweeps on a Dask cluster: its workers compute the draws, the process that asked for them keeps them in its store.

A worker is sent what decides a draw (the experiment, the number of the draw, the weights of a teacher that was trained
before), generates the data or loads them from its own disk, and returns the labelled result. It keeps nothing: a draw
whose worker died starts anew on another one, for a draw of the paper's scale takes minutes.

dask is an optional dependency, and is imported by the functions that need it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr
from filelock import FileLock, Timeout

import hmm_utils
from hmm_utils.data import mnist
from hmm_utils.model.networks import Network
from hmm_utils.runs import cache, draws, experiments
from hmm_utils.runs.experiments import Experiment
from hmm_utils.sgd import block, hardware

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["ClusterError", "connect", "on"]

_PATIENCE = 10.0  # seconds in which a scheduler should answer
# each has a lock, which is an open file, and some systems allow a process 256 of them
_SUBMITTED = 128


class ClusterError(RuntimeError):
    """A cluster that cannot be used, or was lost; the message is one sentence that says what to do."""


def connect(address: str) -> Client:
    """A client of the Dask scheduler at `address`, such as tcp://host:8786.

    Raises ClusterError if dask is not installed, if nobody answers within some seconds, or if the scheduler or a
    worker has another version of this package or none.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError(
            'a cluster needs dask, which is not installed: pip install "hidden-manifold-companion[cluster]".'
        ) from None
    # A client that nobody uses any more is closed when it is collected, and waits for the lock that another one holds
    # while the thread of its event loop starts. Were it that thread which collects it, both would wait for each other.
    gc.collect()
    try:
        if not address:  # without one, distributed starts a cluster of its own
            raise ValueError("the address is empty")
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:
        why = f"no answer within {_PATIENCE:g} s" if isinstance(error, OSError) else str(error).rstrip(".")
        raise ClusterError(
            f"no Dask scheduler can be reached at {address!r} ({why}): start one with `dask scheduler` and give its "
            "address, such as tcp://host:8786."
        ) from None
    try:
        _check_members(client)
    except ClusterError:
        client.close()
        raise
    return client


def on(client: Client) -> draws.Computing:
    """Computes draws on the cluster of a client, each in one thread of a worker.

    The device is one of the worker's, and "auto" is decided there. A draw is locked, in the store, from when it is
    submitted until it is kept. Where no worker is left, a new one is waited for.

    Generating the keys raises, with what is finished in the store,
      ClusterError     if the scheduler is lost, if a draw's worker died each time that the scheduler tries it (four
                       times, unless its configuration says otherwise), if versions differ
      mnist.DataError  if a worker cannot load MNIST, or if whether it can would decide what is computed
    and what the draw itself raises.
    """

    def compute(todo: Sequence[draws.Unit], folder: Path, device: str, progress: bool) -> Iterator[str]:
        _check_data(todo)
        left = {unit.key: unit for unit in todo}
        locks: dict[str, FileLock] = {}
        at_work: dict[Future, draws.Unit] = {}

        def kept(unit: draws.Unit) -> str:
            del left[unit.key]
            locks.pop(unit.key).release()
            return unit.key

        try:
            with _connected(client, left):
                while left:
                    for unit in [unit for unit in left.values() if unit.key not in locks]:
                        if len(at_work) == _SUBMITTED:
                            break
                        with suppress(Timeout):
                            locks[unit.key] = _taken(folder, unit.key)
                            if cache.path(folder, unit.key).exists():
                                yield kept(unit)
                            else:
                                at_work[_submit(client, unit, device)] = unit
                    for future in _finished(client, at_work):
                        unit = at_work.pop(future)
                        result, made = _result(future, unit)
                        cache.save(folder, unit.key, result, **made)
                        yield kept(unit)
        finally:
            for future in at_work:
                future.release()
            for lock in locks.values():
                lock.release()

    return compute


def _taken(folder: Path, key: str) -> FileLock:
    """The lock of a draw, held. Raises filelock.Timeout if another process holds it."""
    lock = draws.lock(folder, key)
    lock.acquire()
    return lock


def _check_data(todo: Sequence[draws.Unit]) -> None:
    """Without MNIST here, each worker would decide for itself what data = "auto" is."""
    for unit in todo:
        if unit.experiment.inputs == "digits" and unit.experiment.data == "auto":
            raise mnist.DataError(
                f'{unit.name} has data = "auto" and MNIST is not on this machine, so that its workers would choose: '
                'run `hmm data` here, or use data = "mnist" or data = "digits".'
            )


def _submit(client: Client, unit: draws.Unit, device: str) -> Future:
    # pure=False: an earlier failure of the same draw, which somebody still looks at, must not be its result now
    return client.submit(_draw, _versions(), unit.experiment, unit.draw, unit.teacher, device, pure=False)


def _draw(
    versions: tuple[str, int], e: Experiment, draw: int, teacher: Network | None, device: str
) -> tuple[xr.Dataset, dict[str, object]]:
    """On a worker: the result of a draw, and the attributes that say how it was made."""
    from distributed import get_worker

    if _versions() != versions:
        raise ClusterError(_differ(f"the worker {get_worker().address}", _versions(), versions))
    start = time.perf_counter()
    try:
        # a worker computes as many draws side by side as it has threads
        with hardware.limit_threads(1):
            (result,) = experiments.run_draws(
                {e.name: e}, [(e.name, draw)], teacher=teacher, where=hardware.resolve(device), progress=False
            )
    except mnist.DataError as error:
        why = str(error).partition(": ")[0]
        raise mnist.DataError(
            f"on the worker {get_worker().address}, {why}: run `hmm data` on its machine, or start it with "
            "HMM_DATA_DIR set to a folder that holds MNIST."
        ) from None
    return result, cache.provenance() | {"seconds": round(time.perf_counter() - start, 1)}


def _result(future: Future, unit: draws.Unit) -> tuple[xr.Dataset, dict[str, object]]:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            f"the worker that computed draw {unit.draw} of {unit.name} died, {error.allowed_failures + 1} times in a "
            "row: look whether memory runs out, and give each worker more of it."
        ) from None
    except RuntimeError as error:
        # what is sent is unpacked by the scheduler and again by a worker
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise ClusterError(_NOT_INSTALLED) from None
        raise


def _finished(client: Client, at_work: Collection[Future]) -> set[Future]:
    """Those that are done, as soon as there are any, or none after a while: a lock may have become free."""
    from distributed import wait

    if not at_work:
        time.sleep(draws.LOOK_AGAIN)
        return set()
    try:
        with client.as_current():
            return wait(list(at_work), timeout=draws.LOOK_AGAIN, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        return set()


@contextmanager
def _connected(client: Client, left: Collection[object]) -> Iterator[None]:
    """Says so if the scheduler is lost in the block, with that many draws left."""
    from distributed.client import ClosedClientError

    try:
        yield
    except (CancelledError, ClosedClientError, OSError) as error:
        if isinstance(error, OSError) and client.status == "running":
            raise
        raise ClusterError(
            f"the scheduler was lost with {len(left)} draws to go: start it again, connect and run again, then what is "
            "in the store is not computed again."
        ) from None


# ---- Versions -------------------------------------------------------------------------------------------------------

_NOT_INSTALLED = (
    "the scheduler or a worker cannot import hmm_utils as it is here: install the same version of the project for all "
    "of them."
)


def _versions() -> tuple[str, int]:
    """What must be the same here and on the cluster: the version of the package and that of the engine."""
    return hmm_utils.__version__, block.VERSION


def _differ(who: str, there: tuple[str, int], here: tuple[str, int]) -> str:
    return (
        f"{who} has hmm_utils {there[0]} with engine {there[1]}, this process {here[0]} with engine {here[1]}: install "
        "the same version of the project for both."
    )


def _check_members(client: Client) -> None:
    """Raises ClusterError unless the scheduler and the workers that are there have this version of the package."""
    try:
        found = {"the scheduler": client.run_on_scheduler(_versions)}
        found |= {f"the worker {address}": versions for address, versions in client.run(_versions).items()}
    except ImportError:
        raise ClusterError(_NOT_INSTALLED) from None
    for who, there in found.items():
        if there != _versions():
            raise ClusterError(_differ(who, there, _versions()))
