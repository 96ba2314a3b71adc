"""Running the notebooks: make jobs of what is asked for, execute them, put the results in their places.

`prepare` refuses everything that can be refused before a kernel starts; `run` executes what it returns, one `Job` per
notebook. A result gets its final name only when it is complete: papermill writes to `.NAME.partial.ipynb`, which is
moved to `NAME.ipynb`, or to `NAME.failed.ipynb`.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import multiprocessing
import os
import platform
import re
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

import hmm_utils
from hmm_utils.app import terminal
from hmm_utils.app.notebooks import NotebookInfo, Refused, assign, choose, discover, listed, notebooks_folder, unknown
from hmm_utils.runs import checkout
from hmm_utils.sgd.hardware import cores, resolve

if TYPE_CHECKING:
    from hmm_utils.runs.experiments import Experiment

# papermill, nbformat, jupyter_client and hmm_utils.runs.experiments take seconds to import: the functions that need
# them do it.

__all__ = ["Job", "Outcome", "Prepared", "prepare", "run"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One notebook to execute.

    source, target   the notebook and where its executed copy goes
    partial, failed  where the copy is until then, and where it goes if it fails
    given            the values injected into it; all other parameters keep their defaults
    record           what is written into the copy's metadata before the run is measured
    """

    name: str
    source: Path
    target: Path
    given: Mapping[str, object]
    record: Mapping[str, object]

    @property
    def partial(self) -> Path:
        return self.target.with_name(f".{self.name}.partial.ipynb")

    @property
    def failed(self) -> Path:
        return self.target.with_name(f"{self.name}.failed.ipynb")


@dataclass(frozen=True)
class Prepared:
    """Jobs that are ready to run, the sentences the user should read first, and what each notebook will ask for.

    plans  notebook → what `experiments.plan` makes of its values
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    plans: Mapping[str, Mapping[str, Experiment]]


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `path` is the finished or failed copy (None: there is none), `error` empty if finished."""

    name: str
    path: Path | None
    error: str


# --- preparing ---------------------------------------------------------------------------------------------------


def prepare(
    names: Sequence[str],
    *,
    profile: str = "quick",
    values: Sequence[tuple[str, str]] = (),
    out: str | os.PathLike = "build",
    n_jobs: int = 1,
    overwrite: bool = False,
    notebooks: str | os.PathLike | None = None,
) -> Prepared:
    """The jobs of `hmm run`: every name, value and path checked, nothing executed and nothing written.

    values  pairs of a parameter's name and the text of its value

    Raises Refused for whatever cannot be run as it is asked for.
    """
    from hmm_utils.runs import experiments

    folder = notebooks_folder(notebooks)
    chosen = choose(names, discover(folder))
    if profile not in experiments.PROFILES:
        raise unknown("There is no profile", profile, experiments.PROFILES)
    if n_jobs < 1:
        raise Refused(f"--jobs must be at least 1, not {n_jobs}: give the number of notebooks to run side by side.")
    overrides, notes = assign(values, chosen)
    plans = {name: _plan(name, profile, given) for name, given in overrides.items()}
    _check_out(Path(out), folder)
    host = {"platform": platform.platform(), "cores": cores()}
    state = {"profile": profile, "versions": _versions(), **_checkout(folder), "host": host}
    jobs = tuple(_job(info, Path(out), overrides[info.name], state) for info in chosen)
    return Prepared(jobs, (*notes, *_replacements(jobs, overwrite)), plans)


def _plan(name: str, profile: str, given: Mapping[str, object]) -> Mapping[str, Experiment]:
    from hmm_utils.runs import experiments

    try:
        resolve(given.get("device", "cpu"))
        return experiments.plan(name, profile, {key: value for key, value in given.items() if key != "device"})
    except ValueError as error:
        raise Refused(f"{name}: {error}") from None


def _check_out(out: Path, folder: Path) -> None:
    if out.resolve() == folder:
        raise Refused(f"--out {out} is the folder of the notebooks themselves: choose another one.")
    inner = next(parent for parent in [out, *out.parents] if parent.exists())
    if not inner.is_dir():
        raise Refused(f"{inner} is not a folder: choose another --out.")
    if not os.access(inner, os.W_OK):
        raise Refused(f"{inner} cannot be written to: choose another --out.")


def _replacements(jobs: Sequence[Job], overwrite: bool) -> list[str]:
    """A note for each finished result that would be replaced."""
    present = [str(job.target) for job in jobs if job.target.exists()]
    if present and not overwrite:
        there = "is already there" if len(present) == 1 else "are already there"
        raise Refused(f"{listed(present)} {there}: add --overwrite to replace, or choose another --out.")
    return [f"{target} will be replaced." for target in present]


def _job(info: NotebookInfo, out: Path, overrides: Mapping[str, object], state: Mapping[str, object]) -> Job:
    # The kernel runs in the notebooks' folder; inside the project a relative path keeps the executed copy free of
    # where the project lies.
    place = out.absolute()
    if place.is_relative_to(info.path.parent.parent):
        place = Path(os.path.relpath(place, info.path.parent))
    given = {"profile": state["profile"], "out": place.as_posix(), **overrides}
    parameters = {parameter.name: parameter.default for parameter in info.parameters} | given
    record = {"parameters": parameters, "seed": parameters["seed"], **state}
    return Job(info.name, info.path, out / f"{info.name}.ipynb", given, record)


def _versions() -> dict[str, str]:
    libraries = {name: importlib.metadata.version(name) for name in ("numpy", "numba", "torch")}
    return {"python": platform.python_version(), "hmm_utils": hmm_utils.__version__, **libraries}


def _checkout(folder: Path) -> dict[str, object]:
    """The commit of the checkout that `folder` lies in, and whether it has changes beside; "unknown" outside git."""
    commit, dirty = checkout.commit(folder, untracked=True) or ("unknown", None)
    return {"commit": commit, "dirty": dirty}


# --- one after the other, or side by side ------------------------------------------------------------------------


def run(jobs: Sequence[Job], n_jobs: int = 1) -> list[Outcome]:
    """Execute jobs, `n_jobs` at a time, and say on stderr how it goes; a failure does not keep the others from running.

    A KeyboardInterrupt passes through, after the kernels have been stopped and the unfinished copies removed.
    """
    for job in jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _in_turn(jobs) if min(n_jobs, len(jobs)) <= 1 else _side_by_side(jobs, n_jobs)
    finally:
        for job in jobs:
            job.partial.unlink(missing_ok=True)


def _in_turn(jobs: Sequence[Job]) -> list[Outcome]:
    outcomes = []
    with terminal.overall_bar(len(jobs)) as bar:
        for job in jobs:
            with terminal.relay(bar) as stderr:
                outcome = _execute(job, terminal.cell_bar(job.name), stderr)
            outcomes.append(outcome)
            _tell(outcome, bar)
    return outcomes


def _side_by_side(jobs: Sequence[Job], n_jobs: int) -> list[Outcome]:
    context = multiprocessing.get_context("spawn")
    waiting, at_work, outcomes = list(jobs), {}, {}
    with terminal.overall_bar(len(jobs)) as bar, _stopping(at_work):
        while waiting or at_work:
            while waiting and len(at_work) < n_jobs:
                job = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, n_jobs, theirs), daemon=True)
                process.start()
                theirs.close()
                at_work[ours] = job, process
            bar.set_postfix_str(", ".join(job.name for job, _ in at_work.values()))
            for connection in wait(list(at_work)):
                job, process = at_work[connection]
                outcomes[job.name] = _received(connection, job, process)
                del at_work[connection]
                _tell(outcomes[job.name], bar)
    return [outcomes[job.name] for job in jobs]


def _received(connection: Connection, job: Job, process: BaseProcess) -> Outcome:
    outcome = None
    with connection, suppress(EOFError):
        outcome = connection.recv()
    process.join()
    if outcome is None:
        error = f"The process that ran it died (exit code {process.exitcode})."
        outcome = Outcome(job.name, _keep(job, error), error)
    return outcome


@contextmanager
def _stopping(at_work: Mapping[Connection, tuple[Job, BaseProcess]]) -> Iterator[None]:
    """Leave no process behind, however the block ends."""
    try:
        yield
    finally:
        for _, process in at_work.values():
            process.terminate()
        for _, process in at_work.values():
            process.join(20)
            process.kill()


def _work(job: Job, n_jobs: int, connection: Connection) -> None:
    """What a process started by `_side_by_side` does."""
    # The terminal sends Ctrl-C to this process too; it is the parent that decides, once, by SIGTERM. SIG_IGN would be
    # inherited by the kernel.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _interrupt)
    # Kernels that each start a pool of threads for all cores are slower together than one after the other.
    os.environ.update(dict.fromkeys(_THREADS, str(max(1, cores() // n_jobs))))
    with suppress(KeyboardInterrupt):
        connection.send(_execute(job, False, None))


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell(outcome: Outcome, bar: tqdm) -> None:
    if outcome.error:
        where = f"\nthe failed copy is {outcome.path}" if outcome.path else ""
        terminal.say(f"{outcome.name} failed\n{textwrap.indent(outcome.error + where, '  ')}")
    bar.update()


# --- one notebook ------------------------------------------------------------------------------------------------


def _execute(job: Job, progress_bar: bool | dict, stderr: TextIO | None) -> Outcome:
    """Execute one notebook and put the copy in its place."""
    from papermill import execute_notebook

    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="hmm-", ignore_cleanup_errors=True) as sockets:
            notebook = execute_notebook(
                _literal(job.source),
                _literal(job.partial),
                dict(job.given),
                kernel_name="python3",
                language="python",
                progress_bar=progress_bar,
                stderr_file=stderr,
                cwd=job.source.parent,
                kernel_manager_class=_own_kernel(),
                config=_channels(sockets),
            )
        error = _stopped(notebook)
    except Exception as raised:
        error = _summary(raised)
    seconds = round(time.perf_counter() - clock, 3)
    if job.partial.exists():
        _polish(job, {**job.record, "started": started.isoformat(timespec="seconds"), "seconds": seconds})
    return Outcome(job.name, _keep(job, error), error)


def _literal(path: Path) -> str:
    """A path that papermill, which formats it, leaves as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _own_kernel() -> type:
    """A kernel manager whose `python3` is the running interpreter.

    A kernelspec of the same name in the user's or a system folder may belong to an interpreter without this package.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class OwnKernel(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

        async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
            # After Ctrl-C a gentle end would print the kernel's and the client's surprise about each other.
            interrupted = isinstance(sys.exception(), KeyboardInterrupt)
            if interrupted:
                _drop_tasks()
            await super().shutdown_kernel(now=now or interrupted, restart=restart)

    return OwnKernel


def _drop_tasks() -> None:
    """Cancel what else the event loop does, without a word."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()


def _channels(folder: str) -> object:
    """The configuration of a kernel that is talked to through `folder`, which no other kernel may use."""
    import zmq
    from traitlets.config import Config

    # Two kernels that start at once may choose the same TCP port. The path of a socket is limited to 104 bytes.
    ipc = os.name == "posix" and len(os.fsencode(folder)) <= 80
    # A kernel that answers unencrypted TCP says so on the terminal.
    encryption = "auto" if not ipc and zmq.has("curve") else "disabled"
    # The sockets lie beside this file, and without it in the current folder, the same ones for all kernels.
    file = os.path.join(folder, "kernel.json")
    transport = "ipc" if ipc else "tcp"
    return Config(KernelManager={"transport": transport, "transport_encryption": encryption, "connection_file": file})


def _stopped(notebook: Mapping) -> str:
    """The error of a notebook that papermill takes for finished although it was left early: `sys.exit(0)`."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return next((f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"), "")


def _summary(error: Exception) -> str:
    """The last lines of an error and the line of the notebook that raised it."""
    if not hasattr(error, "ename"):
        return f"{type(error).__name__}: {error}".strip()
    text = "\n".join(f"{error.ename}: {error.evalue}".strip().splitlines()[-5:])
    plain = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    arrow = re.search(r"^-+> *(\d+) +(.*)$", plain, re.M)
    where = f", line {arrow[1]}: {arrow[2].strip()}" if arrow else ""
    return f"{text}\nin cell [{error.exec_count}]{where}"


def _keep(job: Job, error: str) -> Path | None:
    """Give the executed copy its name; None if there is no copy."""
    if not job.partial.exists():
        return None
    if error:
        return job.partial.replace(job.failed)
    # What an earlier try left would be taken for the state of things.
    job.failed.unlink(missing_ok=True)
    return job.partial.replace(job.target)


def _polish(job: Job, record: Mapping[str, object]) -> None:
    """Write the record into the executed copy and take the progress bars out of it."""
    import nbformat

    notebook = nbformat.read(job.partial, as_version=4)
    notebook.metadata["hmm"] = record
    notebook.metadata.papermill.update(input_path=job.source.name, output_path=job.target.name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_quiet, cell.outputs) if output.get("text") != ""]
    nbformat.write(notebook, job.partial)


def _quiet(output: Mapping) -> Mapping:
    if output.output_type == "stream" and output.name == "stderr":
        output.text = terminal.without_progress(output.text)
    return output
