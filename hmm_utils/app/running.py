"""Running the notebooks: make jobs of what is asked for, execute them, put the results in their places.

:func:`prepare` refuses everything that can be refused before a kernel starts; :func:`run` executes what it returns, one
:class:`Job` per notebook, each in a kernel of its own. A result gets its final name only when it is complete: papermill
writes to ``.NAME.partial.ipynb``, which is moved to ``NAME.ipynb``, or to ``NAME.failed.ipynb``.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import platform
import re
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TextIO, cast

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

    Attributes
    ----------
    source, target : Path
        The notebook and where its executed copy goes.
    given : mapping
        The values injected into it; all other parameters keep their defaults.
    record : mapping
        What is written into the copy's metadata.
    """

    name: str
    source: Path
    target: Path
    given: Mapping[str, object]
    record: Mapping[str, object]

    @property
    def partial(self) -> Path:
        """Where the copy is until it is complete."""
        return self.target.with_name(f".{self.name}.partial.ipynb")

    @property
    def failed(self) -> Path:
        """Where the copy goes if the notebook fails."""
        return self.target.with_name(f"{self.name}.failed.ipynb")


@dataclass(frozen=True)
class Prepared:
    """Jobs that are ready to run.

    Attributes
    ----------
    notes : tuple of str
        Sentences that the user should read first.
    plans : mapping
        The runs that each notebook will ask for, as ``experiments.plan`` returns them.
    measurements : tuple of str
        What else they measure.
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    plans: Mapping[str, Mapping[str, Experiment]]
    measurements: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``path`` is the finished or failed copy, if there is one; ``error`` is empty if it finished."""

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
    """Make the jobs of ``hmm run``: every name, value and path is checked, nothing is executed or written.

    Parameters
    ----------
    names : sequence of str
        See :func:`hmm_utils.app.notebooks.choose`.
    profile : str
        Scale of the runs.
    values : sequence of (str, str)
        A parameter's name and the text of its value.
    out : path
        Folder of the results.
    n_jobs : int
        How many notebooks are to run side by side.
    overwrite : bool
        Whether finished results may be replaced.
    notebooks : path, optional
        Their folder; the project's if not given.

    Raises
    ------
    Refused
        For whatever cannot be run as requested.
    """
    from hmm_utils.runs import experiments

    folder = notebooks_folder(notebooks)
    chosen = choose(names, discover(folder))
    if profile not in experiments.PROFILES:
        raise unknown("There is no profile", profile, experiments.PROFILES)
    if n_jobs < 1:
        raise Refused(f"--jobs must be at least 1, not {n_jobs}: give the number of notebooks to run side by side.")
    overrides, notes = assign(values, chosen)
    plans = {info.name: _plan(info, profile, overrides[info.name]) for info in chosen}
    _check_out(Path(out), folder)
    host = {"platform": platform.platform(), "cores": cores()}
    state = {"profile": profile, "versions": _versions(), **_checkout(folder), "host": host}
    jobs = tuple(_job(info, Path(out), overrides[info.name], state) for info in chosen)
    measurements = tuple(name for info in chosen for name in info.measurements)
    return Prepared(jobs, (*notes, *_replacements(jobs, overwrite)), plans, measurements)


def _plan(info: NotebookInfo, profile: str, given: Mapping[str, object]) -> Mapping[str, Experiment]:
    from hmm_utils.runs import experiments

    try:
        resolve(str(given.get("device", "cpu")))
        extra = ("device", *info.extra)
        if not info.setups:  # The values of a notebook that trains in a way of its own obey the same rules.
            experiments.plan(["vanilla"], profile, given, extra)
        return experiments.plan(info.setups, profile, given, extra)
    except ValueError as error:
        raise Refused(f"{info.name}: {error}") from None


def _check_out(out: Path, folder: Path) -> None:
    if out.resolve() == folder:
        raise Refused(f"--out {out} is the folder of the notebooks themselves: choose another one.")
    inner = next(parent for parent in [out, *out.parents] if parent.exists())
    if not inner.is_dir():
        raise Refused(f"{inner} is not a folder: choose another --out.")
    if not os.access(inner, os.W_OK):
        raise Refused(f"{inner} cannot be written to: choose another --out.")


def _replacements(jobs: Sequence[Job], overwrite: bool) -> list[str]:
    """Make a note for each finished result that would be replaced."""
    present = [str(job.target) for job in jobs if job.target.exists()]
    if present and not overwrite:
        exist = "already exists" if len(present) == 1 else "already exist"
        raise Refused(f"{listed(present)} {exist}: add --overwrite to replace, or choose another --out.")
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
    """Find the commit of the checkout that contains ``folder``, and whether files differ; "unknown" outside git."""
    commit, dirty = checkout.commit(folder, untracked=True) or ("unknown", None)
    return {"commit": commit, "dirty": dirty}


# --- all notebooks -----------------------------------------------------------------------------------------------


def run(jobs: Sequence[Job], n_jobs: int = 1) -> list[Outcome]:
    """Execute jobs, ``n_jobs`` at a time, and report on stderr; a failure does not keep the others from running.

    A KeyboardInterrupt passes through, after the kernels have been stopped and the unfinished copies removed.
    """
    for job in jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    # What papermill logs when a kernel dies is in the outcome; without a handler it would be printed, too.
    logging.getLogger("papermill").addHandler(logging.NullHandler())
    kernels = _Kernels(n_jobs)
    try:
        with terminal.overall_bar(len(jobs)) as bar, ThreadPoolExecutor(n_jobs) as pool, terminal.relay(bar) as stderr:
            # The bars of notebooks side by side would overwrite each other.
            shown = (lambda name: terminal.cell_bar(name), stderr) if n_jobs == 1 else (lambda name: False, None)
            futures = [pool.submit(_execute, job, kernels, *shown) for job in jobs]
            try:
                for future in as_completed(futures):
                    _report(future.result(), bar)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                kernels.stop()
                raise
    finally:
        for job in jobs:
            job.partial.unlink(missing_ok=True)
    return [future.result() for future in futures]


def _report(outcome: Outcome, bar: tqdm) -> None:
    if outcome.error:
        where = f"\nthe failed copy is {outcome.path}" if outcome.path else ""
        terminal.say(f"{outcome.name} failed\n{textwrap.indent(outcome.error + where, '  ')}")
    bar.update()


class _Kernels:
    """The kernels of a run, whose ``python3`` is the running interpreter: how they start, and how all are stopped.

    A kernelspec of the same name in the user's or a system folder may belong to an interpreter without this package.
    """

    def __init__(self, n_jobs: int):
        # Kernels that each start a pool of threads for all cores are slower together than one after the other.
        share = dict.fromkeys(_THREADS, str(max(1, cores() // n_jobs))) if n_jobs > 1 else {}
        self._environment = {**os.environ, **share}
        self._stopped = Event()
        self._started: list[tuple[Any, asyncio.AbstractEventLoop]] = []

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        """Kill every kernel, from another thread than theirs."""
        self._stopped.set()
        for manager, loop in self._started:
            if manager.has_kernel and loop.is_running():
                asyncio.run_coroutine_threadsafe(manager.provisioner.kill(), loop)

    def manager(self, folder: Path) -> type:
        """Make the kernel manager for notebooks of this folder."""
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager
        from traitlets import default

        kernels = self

        class OwnKernel(AsyncKernelManager):
            @default("kernel_spec_manager")
            def _kernel_spec_manager_default(self) -> KernelSpecManager:
                return KernelSpecManager(kernel_dirs=[])

            async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
                # papermill's own `cwd` would change that of this process, for all threads.
                await super().start_kernel(cwd=folder, env=kernels._environment, **options)
                kernels._started.append((self, asyncio.get_running_loop()))
                if kernels.stopped and self.provisioner:
                    await self.provisioner.kill()

        return OwnKernel


# --- one notebook ------------------------------------------------------------------------------------------------


def _execute(job: Job, kernels: _Kernels, progress: Callable[[str], object], stderr: TextIO | None) -> Outcome:
    """Execute one notebook and put the copy in its place."""
    from jupyter_core.utils import ensure_event_loop
    from papermill import execute_notebook

    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        sockets_folder = tempfile.TemporaryDirectory(prefix="hmm-", ignore_cleanup_errors=True)
        with closing(ensure_event_loop()), sockets_folder as sockets:
            notebook = execute_notebook(
                _literal(job.source),
                _literal(job.partial),
                dict(job.given),
                kernel_name="python3",
                language="python",
                progress_bar=progress(job.name),
                stderr_file=stderr,
                kernel_manager_class=kernels.manager(job.source.parent),
                config=_channels(sockets),
            )
        error = _left_early(notebook)
    except Exception as raised:
        error = _summary(raised)
    seconds = round(time.perf_counter() - clock, 3)
    if kernels.stopped:
        return Outcome(job.name, None, error)
    if job.partial.exists():
        _polish(job, {**job.record, "started": started.isoformat(timespec="seconds"), "seconds": seconds})
    return Outcome(job.name, _put(job, error), error)


def _literal(path: Path) -> str:
    """Escape a path, which papermill formats."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _channels(folder: str) -> object:
    """Configure a kernel that communicates through ``folder``, which no other kernel may use."""
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


def _left_early(notebook: Any) -> str:
    """Find the error of a notebook that ended by ``sys.exit(0)``, which papermill takes for finished."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return next((f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"), "")


def _summary(raised: Exception) -> str:
    """Quote the last lines of an error and the line of the notebook that raised it."""
    if not hasattr(raised, "ename"):
        return f"{type(raised).__name__}: {raised}".strip()
    error = cast(Any, raised)  # papermill's PapermillExecutionError
    text = "\n".join(f"{error.ename}: {error.evalue}".strip().splitlines()[-5:])
    plain = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    arrow = re.search(r"^-+> *(\d+) +(.*)$", plain, re.M)
    where = f", line {arrow[1]}: {arrow[2].strip()}" if arrow else ""
    return f"{text}\nin cell [{error.exec_count}]{where}"


def _put(job: Job, error: str) -> Path | None:
    """Give the executed copy its name; None if there is no copy."""
    if not job.partial.exists():
        return None
    if error:
        return job.partial.replace(job.failed)
    # The failed copy of an earlier run would contradict the new one.
    job.failed.unlink(missing_ok=True)
    return job.partial.replace(job.target)


def _polish(job: Job, record: Mapping[str, object]) -> None:
    """Write the record into the executed copy and remove the progress bars."""
    import nbformat

    notebook = nbformat.read(job.partial, as_version=4)
    notebook.metadata["hmm"] = record
    notebook.metadata.papermill.update(input_path=job.source.name, output_path=job.target.name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_quiet, cell.outputs) if output.get("text") != ""]
    nbformat.write(notebook, job.partial)


def _quiet(output: Any) -> Any:
    if output.output_type == "stream" and output.name == "stderr":
        output.text = terminal.without_progress(output.text)
    return output
