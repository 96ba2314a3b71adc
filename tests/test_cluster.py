"""A sweep on a Dask cluster gives what it gives here, and survives the death of workers and of the scheduler.

The clusters are real: a scheduler and workers that are processes of their own, on the loopback interface.
"""

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import dask
import distributed
import numpy as np
import pytest
import xarray as xr
from helpers.experiments import counted, run_cached, tiny_plan

from hmm_utils.data import mnist
from hmm_utils.model.networks import random_network
from hmm_utils.runs import cache, cluster, experiments, sweep
from hmm_utils.sgd import block, hardware

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

ROOT = Path(__file__).resolve().parent.parent

# a second or two a draw, so that there is time to kill what computes it
LONG = dict(n_inputs=100, widths=[1, 2], n_pairs=2, time=25_000.0, n_times=5, n_test=60)


@dataclass
class Processes:
    """A scheduler and its workers."""

    address: str
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]


@contextmanager
def started(folder, n_workers, *, without=(), **environment):
    """A cluster whose workers have one thread each and no MNIST; `without`: modules that cannot be imported there."""
    program = f"import sys; sys.modules |= dict.fromkeys({list(without)!r}); from dask.__main__ import main; main()"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HMM_DATA_DIR": str(folder / "no data"),
        "HMM_OFFLINE": "1",
        "DASK_TEMPORARY_DIRECTORY": str(folder),
        **environment,
    }

    def start(*arguments):
        command = [sys.executable, "-c", program, *arguments, "--host", "127.0.0.1", "--no-dashboard"]
        with open(folder / f"{time.monotonic_ns()}.log", "w") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    file = folder / "scheduler.json"
    processes = [start("scheduler", "--port", "0", "--scheduler-file", str(file))]
    try:
        # a worker waits for the file of its scheduler
        processes += [
            start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny") for _ in range(n_workers)
        ]
        address = until(lambda: file.exists() and re.search(r"tcp://127\.0\.0\.1:\d+", file.read_text()))[0]
        yield Processes(address, processes[0], processes[1:])
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@contextmanager
def connected(processes):
    client = cluster.connect(processes.address)
    try:
        client.wait_for_workers(len(processes.workers), timeout=60)
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with started(tmp_path_factory.mktemp("cluster"), 2) as running:
        yield running


@pytest.fixture(scope="module")
def client(processes):
    with connected(processes) as client:
        yield client


def equal(found, expected):
    """The same numbers, names and attributes, but for when and how fast they were made."""
    assert list(found) == list(expected)
    for name, result in expected.items():
        xr.testing.assert_equal(found[name], result)
        assert {k: v.dtype for k, v in found[name].items()} == {k: v.dtype for k, v in result.items()}
        here, there = (
            {k: v for k, v in one.attrs.items() if k not in ("date", "seconds")} for one in (result, found[name])
        )
        assert there == here


# ---- What is computed -----------------------------------------------------------------------------------------------


def test_a_cluster_gives_what_is_computed_here(client, tmp_path, monkeypatch):
    """Bit for bit, with a teacher that was trained before too; nothing is computed here, and nothing twice."""
    plan = tiny_plan("fig3_left", "fig4")
    teacher = random_network(20, 4, rng=np.random.default_rng(3))
    expected = run_cached(plan, tmp_path / "here", teacher=teacher, workers=1)
    computed = counted(monkeypatch)
    found = run_cached(plan, tmp_path / "there", teacher=teacher, client=client)
    equal(found, expected)
    assert not computed
    monkeypatch.setattr(client, "submit", None)
    equal(run_cached(plan, tmp_path / "there", teacher=teacher, client=client), expected)
    assert {path.suffix for path in (tmp_path / "there").iterdir()} <= {".nc", ".lock"}


def test_runs_of_every_profile_go_to_the_cluster(client, tmp_path, monkeypatch):
    """Draws of the quick profile too are stored; without a cluster they are computed here, and are not."""
    monkeypatch.setenv("HMM_STORE", str(tmp_path))
    plan, computed = tiny_plan("fig3_right"), counted(monkeypatch)
    found = sweep.load_or_run(plan, client=client, progress=False)
    assert not computed and len(list(tmp_path.glob("*.nc"))) == 2
    expected = sweep.load_or_run(plan, progress=False)["fig3_right"]
    xr.testing.assert_equal(found["fig3_right"], expected.map(lambda variable: variable.astype("float32")))


def test_no_data_are_sent(client, tmp_path, monkeypatch):
    """What goes to a worker is the configuration, and the weights of a teacher."""
    teacher, submit, sent = random_network(784, 50, rng=np.random.default_rng(0)), client.submit, []

    def weighed(*given, **how):
        sent.append(len(cloudpickle.dumps((given, how))))
        return submit(*given, **how)

    monkeypatch.setattr(client, "submit", weighed)
    run_cached(tiny_plan("fig4", n_draws=1), tmp_path, teacher=teacher, client=client)
    # 3 kB are enough for the names and values of an experiment
    assert len(sent) == 1 and sent[0] < teacher.W.nbytes + teacher.v.nbytes + 3000


def test_files_say_where_they_were_made(tmp_path, client, monkeypatch):
    """Versions, machine and time are those of the worker, not of the process that writes the file."""
    monkeypatch.setattr(cache, "provenance", lambda: {"machine": "this one"})
    plan = tiny_plan("fig3_left", n_draws=1)
    run_cached(plan, tmp_path, client=client)
    (unit,) = sweep.units(plan, tmp_path)
    at = cache.load(tmp_path, unit.key).attrs
    assert "cores" in at["machine"] and "numpy" in at["versions"] and at["seconds"] >= 0


def test_a_draw_takes_one_thread(monkeypatch):
    """A worker computes as many draws at once as it has threads, so that each must be content with one."""
    monkeypatch.setattr(hardware, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    seen = []
    monkeypatch.setattr(experiments, "run_draws", lambda *_, **__: seen.append(hardware.threads()) or [xr.Dataset()])
    cluster._compute(sweep.units(tiny_plan("fig3_left"), Path())[0], "cpu")
    assert seen == [1] and hardware.threads() == 8
    thread = threading.Thread(target=lambda: seen.append(hardware.threads()))
    with hardware.limit_threads(4):  # of this thread
        thread.start()
        thread.join()
    assert seen == [1, 8]


def test_dask_is_imported_only_where_it_is_used():
    """Whoever has no cluster need not have it."""
    code = "import sys; from hmm_utils.runs import sweep; assert not {'dask', 'distributed'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- What cannot be -------------------------------------------------------------------------------------------------


def test_what_a_draw_raises_comes_through(client, tmp_path):
    """As from this process."""
    plan = tiny_plan("fig3_left", n_draws=1)
    with pytest.raises(ValueError, match=r'^device = "cuda" needs an NVIDIA GPU'):
        run_cached(plan, tmp_path, client=client, device="cuda")
    with pytest.raises(ValueError, match=r"^workers = 2 are processes of this machine: give them or the client"):
        run_cached(plan, tmp_path, client=client, workers=2)


def test_workers_without_mnist(client, tmp_path, monkeypatch):
    """Where this process has MNIST, a worker without it says so, and does not take the small digits."""
    monkeypatch.setattr(sweep, "_have_mnist", lambda: True)
    sentence = (
        r"^on the worker tcp://127\.0\.0\.1:\d+, MNIST file train-images-idx3-ubyte\.gz is missing from .*no data/mnist"
        r" and HMM_OFFLINE forbids downloading it: run `hmm data` on its machine, or start it with HMM_DATA_DIR set to"
        r" a folder that holds MNIST\.$"
    )
    with pytest.raises(mnist.DataError, match=sentence):
        run_cached(tiny_plan("fig1_left", data="auto"), tmp_path, client=client)
    assert not list(tmp_path.glob("*.nc"))


def test_mnist_here_or_on_the_workers(client, tmp_path, monkeypatch):
    """What data = "auto" means is not left to each worker; what is named is computed."""
    monkeypatch.setattr(sweep, "_have_mnist", lambda: False)
    plan = tiny_plan("fig1_left", data="auto", n_train=50)
    with pytest.raises(mnist.DataError, match=r'^fig1_left has data = "auto" and MNIST is not on this machine, .*\.$'):
        run_cached(plan, tmp_path, client=client)
    named = tiny_plan("fig1_left", n_train=50)
    equal(run_cached(named, tmp_path, client=client), run_cached(named, tmp_path / "here", workers=1))


def test_a_worker_of_another_version(client, tmp_path, monkeypatch):
    """Its key of the same draw is another one: nothing is computed with other numbers under this key."""
    monkeypatch.setattr(block, "VERSION", 7)
    with pytest.raises(cluster.ClusterError, match=r"^the worker tcp://\S+ has another version of hmm_utils: install"):
        run_cached(tiny_plan("fig3_left", n_draws=1), tmp_path, client=client)


def test_a_cluster_without_the_package(tmp_path):
    refusal = pytest.raises(cluster.ClusterError, match=r"^the scheduler or a worker cannot import hmm_utils")
    with started(tmp_path, 0, without=["hmm_utils"]) as bare, closing(cluster.connect(bare.address)) as client, refusal:
        run_cached(tiny_plan("fig3_left", n_draws=1), tmp_path / "store", client=client)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:{free}", "no answer within 0.5 s"),
        ("http://127.0.0.1:8786", "unknown address scheme"),
        ("", "the address is empty"),
    ],
    ids=["nobody", "no such scheme", "empty"],
)
def test_addresses_without_a_scheduler(address, why, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = address.format(free=taken.getsockname()[1])
        with pytest.raises(cluster.ClusterError) as refusal:
            cluster.connect(address)
    assert str(refusal.value).startswith(f"no Dask scheduler can be reached at {address!r} ({why}")
    assert str(refusal.value).endswith("): start one with `dask scheduler` and give its address, such as tcp://host:8786.")


def test_a_client_that_was_given_up_does_not_stop_the_next(processes, monkeypatch):
    """One that could not connect is closed when it is collected. It is, here at the worst moment there is: by the
    thread of the next client's event loop, while that client holds the lock that closing waits for."""
    asyncio_run = distributed.utils.asyncio_run

    def collecting(*arguments, **how):
        gc.collect()
        return asyncio_run(*arguments, **how)

    gc.disable()
    try:
        with pytest.raises(cluster.ClusterError, match="unknown address scheme"):
            cluster.connect("http://127.0.0.1:8786")
        monkeypatch.setattr(distributed.utils, "asyncio_run", collecting)
        with closing(cluster.connect(processes.address)) as client:
            assert client.status == "running"
    finally:
        gc.enable()


def test_dask_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(cluster.ClusterError, match=r'pip install "hidden-manifold-companion\[cluster\]"\.$'):
        cluster.connect("tcp://127.0.0.1:8786")


# ---- Death ----------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed(tmp_path):
    """kill -9 in the middle of a draw: another worker computes it, with the same numbers.

    A worker answers while it trains, or it could not be asked what it is at; so it does to the scheduler's heartbeat.
    """
    plan = {"fig3_right": experiments.experiment("fig3_right", n_draws=2, **LONG)}
    killed = []

    def kill(client, pids):
        def training():
            return [address for address, stack in client.call_stack().items() if "train_fleets" in str(stack)]

        def retried(dask_scheduler):
            return dask_scheduler.task_prefixes["compute"].suspicious

        killed.append(pids[until(training)[0]])
        os.kill(killed[0], signal.SIGKILL)
        until(lambda: client.run_on_scheduler(retried))

    with started(tmp_path, 2) as processes, connected(processes) as client:
        killer = threading.Thread(target=kill, args=(client, client.run(os.getpid)))
        killer.start()
        found = run_cached(plan, tmp_path / "there", client=client)
        killer.join()
        ends = {worker.pid: worker.poll() for worker in processes.workers}
        assert [end for pid, end in ends.items() if pid == killed[0]] == [-signal.SIGKILL]
        assert [end for pid, end in ends.items() if pid != killed[0]] == [None]
    equal(found, run_cached(plan, tmp_path / "here", workers=1))


def test_a_draw_that_kills_its_workers(tmp_path, monkeypatch):
    """It is tried on one worker after another, and then reported."""
    assert dask.config.get("distributed.scheduler.allowed-failures") == 3
    monkeypatch.setattr(cluster, "_compute", lambda *_: os._exit(9))
    with (
        started(tmp_path, 2, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1") as processes,
        connected(processes) as client,
    ):
        with pytest.raises(RuntimeError, match=r"^the worker that computed draw 0 of fig3_left died, 2 times"):
            run_cached(tiny_plan("fig3_left", n_draws=1), tmp_path / "store", client=client)
        assert [worker.wait() for worker in processes.workers] == [9, 9]


def test_a_scheduler_that_is_lost(tmp_path, monkeypatch):
    """What was finished is in the store; a new sweep, here on this machine, computes the rest."""
    plan = {"fig3_right": experiments.experiment("fig3_right", n_draws=3, **LONG)}
    folder = tmp_path / "store"

    def kill(process):
        until(lambda: list(folder.glob("*.nc")))
        process.kill()

    with started(tmp_path, 1) as processes, connected(processes) as client:
        killer = threading.Thread(target=kill, args=(processes.scheduler,))
        killer.start()
        with pytest.raises(RuntimeError, match=r"^the scheduler was lost with [12] draws to go: .*\.$"):
            run_cached(plan, folder, client=client)
        killer.join()
    left = sweep.missing(sweep.units(plan, folder), folder)
    assert 0 < len(left) < 3
    computed = counted(monkeypatch)
    found = run_cached(plan, folder, workers=1)
    assert computed == [(unit.name, unit.draw) for unit in left]
    equal(found, run_cached(plan, tmp_path / "here", workers=1))
