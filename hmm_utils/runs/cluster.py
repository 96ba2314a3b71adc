"""Sweeps on a Dask cluster: its workers compute the draws, the process that asked for them stores them in its cache.

A worker is sent what decides a draw: the experiment, the number of the draw, the weights of a trained teacher, and the
key. It generates the data or loads them from its own disk, and returns the labelled result. It stores nothing: a draw
whose worker died is computed by another one from the start, for a draw of the paper's scale takes minutes.

dask is an optional dependency, and is imported by the functions that need it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from hmm_utils.data import mnist
from hmm_utils.runs import cache, experiments
from hmm_utils.sgd import hardware

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["ClusterError", "connect", "on"]

_PATIENCE = 10.0  # seconds in which a scheduler should answer
_OTHER_VERSION = "install the same version of the project on every machine of the cluster."


class ClusterError(RuntimeError):
    """A cluster that cannot be used, or was lost; the message is one sentence that says what to do."""


def connect(address: str) -> Client:
    """Return a client of the Dask scheduler at ``address``, such as tcp://host:8786.

    Raises
    ------
    ClusterError
        If dask is not installed, or if no scheduler answers within some seconds.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError(
            'a cluster needs dask, which is not installed: pip install "hidden-manifold-companion[cluster]".'
        ) from None
    # A client that is no longer used is closed when it is collected, and waits for the lock that another one holds
    # while the thread of its event loop starts. If that thread collected it, both would wait for each other.
    gc.collect()
    try:
        if not address:  # without one, distributed starts a cluster of its own
            raise ValueError("the address is empty")
        return Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:
        why = f"no answer within {_PATIENCE:g} s" if isinstance(error, OSError) else str(error).rstrip(".")
        raise ClusterError(
            f"no Dask scheduler can be reached at {address!r} ({why}): start one with `dask scheduler` and give its "
            "address, such as tcp://host:8786."
        ) from None


def on(client: Client) -> cache.Computing:
    """Return a way to compute draws on a client's cluster, each in one thread of a worker.

    The device is one of the worker's, and "auto" is decided there. While there is no worker, the sweep waits for one.
    Two sweeps at once may compute the same draw, with the same numbers.

    Raises
    ------
    ClusterError
        While the keys are generated, with the finished draws in the cache: if the scheduler is lost, if a draw's worker
        died each time that the scheduler tried it (four times, unless its configuration says otherwise), or if a worker
        has another version of this package, or none.
    mnist.DataError
        If a worker cannot load MNIST, or if whether it can would decide what is computed.
    """

    def compute(todo: Sequence[cache.Unit], folder: Path, device: str, progress: bool) -> Iterator[str]:
        from distributed import as_completed
        from distributed.client import ClosedClientError

        _check_data(todo)
        # pure=False: an earlier failure of the same draw must not be its result now
        running = {client.submit(_compute, unit, device, pure=False): unit for unit in todo}
        try:
            with client.as_current():
                for future in as_completed([*running]):
                    unit = running.pop(future)
                    result, made = _result(future, unit)
                    cache.save(folder, unit.key, result, **made)
                    yield unit.key
        except (CancelledError, ClosedClientError, OSError) as error:
            if isinstance(error, OSError) and client.status == "running":
                raise
            raise ClusterError(
                f"the scheduler was lost with {len(running) + 1} draws to go: start it again, connect and run again; "
                "draws in the cache are not computed again."
            ) from None
        finally:
            for future in running:
                future.release()

    return compute


def _check_data(todo: Sequence[cache.Unit]) -> None:
    """Refuse data="auto" without MNIST on this machine: each worker would decide for itself what it means."""
    for unit in todo:
        if unit.experiment.inputs == "digits" and unit.experiment.data == "auto":
            raise mnist.DataError(
                f'{unit.name} has data = "auto" and MNIST is not on this machine, so that its workers would choose: '
                'run `hmm data` here, or use data = "mnist" or data = "digits".'
            )


def _compute(unit: cache.Unit, device: str) -> tuple[xr.Dataset, dict[str, object]]:
    """Compute a draw on a worker; its result, and the attributes that say how it was made."""
    from distributed import get_worker

    # the key depends on the version of the engine and on all fields of the experiment
    if cache.key(unit.experiment, unit.draw, unit.teacher) != unit.key:
        raise ClusterError(f"the worker {get_worker().address} has another version of hmm_utils: {_OTHER_VERSION}")
    start = time.perf_counter()
    try:
        # a worker computes as many draws side by side as it has threads
        with hardware.limit_threads(1):
            (result,) = experiments.run_draws(
                {unit.name: unit.experiment}, [(unit.name, unit.draw)],
                teacher=unit.teacher, where=hardware.resolve(device), progress=False,
            )  # fmt: skip
    except mnist.DataError as error:
        why = str(error).partition(": ")[0]
        raise mnist.DataError(
            f"on the worker {get_worker().address}, {why}: run `hmm data` on its machine, or start it with "
            "HMM_DATA_DIR set to a folder that holds MNIST."
        ) from None
    return result, cache.provenance() | {"seconds": round(time.perf_counter() - start, 1)}


def _result(future: Future, unit: cache.Unit) -> tuple[xr.Dataset, dict[str, object]]:
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
            raise ClusterError(f"the scheduler or a worker cannot import hmm_utils: {_OTHER_VERSION}") from None
        raise
