"""Running the notebooks from a terminal: find them, check what is asked of them, execute them, collect their claims.

`prepare` refuses everything that can be refused before a kernel starts; `run` executes what it returns, one `Job` per
notebook; `read_claims` and `write_claims` gather what the notebooks found. A result gets its final name only when it is
complete: papermill writes to `.NAME.partial.ipynb`, which is moved to `NAME.ipynb`, or to `NAME.failed.ipynb`.

`experiments` arguments take anything with the `NOTEBOOKS`, `PROFILES` and `plan` of `hmm_utils.experiments`, which is
the default.
"""

from __future__ import annotations

import ast
import asyncio
import difflib
import importlib
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from multiprocessing.connection import wait
from pathlib import Path

import hmm_utils

# papermill, nbformat, jupyter_client and yaml take seconds to import: the functions that need them do it.

__all__ = [
    "ClaimsError",
    "Job",
    "NotebookInfo",
    "Outcome",
    "Parameter",
    "Prepared",
    "Refused",
    "claims_text",
    "convert",
    "discover",
    "notebooks_folder",
    "prepare",
    "read_claims",
    "run",
    "without_progress",
    "write_claims",
]

_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
_EXAMPLES = {"str": "a word", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list"}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_UP = "\x1b[A"  # how tqdm goes back from the second bar to the first
_CLAIM_KEYS = ("claim", "measured", "verdict", "notebook")


class Refused(ValueError):
    """What is asked for cannot be run, and nothing was; the message is one sentence that says what to do."""


class ClaimsError(RuntimeError):
    """Claims that are missing or unreadable; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Parameter:
    """A line of a notebook's parameters cell; `type` is str, int, float, bool or list."""

    name: str
    type: str
    default: object
    help: str


@dataclass(frozen=True)
class NotebookInfo:
    """A notebook and what it says about itself."""

    name: str
    path: Path
    title: str
    section: str
    figures: tuple[str, ...]
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Job:
    """One notebook to execute.

    source, target  the notebook and where its executed copy goes
    given           the values injected into it; all other parameters keep their defaults
    record          what is written into the copy's metadata before the run is measured
    """

    name: str
    source: Path
    target: Path
    given: Mapping[str, object]
    record: Mapping[str, object]


@dataclass(frozen=True)
class Prepared:
    """Jobs that are ready to run, and the sentences the user should read first."""

    jobs: tuple[Job, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `path` is the finished or failed copy (None: there is none), `error` empty if finished."""

    name: str
    path: Path | None
    error: str
    seconds: float


# --- finding -----------------------------------------------------------------------------------------------------


def notebooks_folder(given: str | os.PathLike | None = None) -> Path:
    """The folder of the notebooks: `given`, or the project's, or that in the current folder.

    Raises Refused if there is none.
    """
    if given is not None:
        candidates = [Path(given)]
    else:
        candidates = [Path(__file__).resolve().parents[1] / "notebooks", Path("notebooks")]
    for folder in candidates:
        if any(_sources(folder)):
            return folder.resolve()
    if given is not None:
        raise Refused(f"There are no notebooks in {given}: name the folder that holds the project's NN_name.ipynb.")
    raise Refused("The notebooks are not here: run hmm in the project's checkout, beside its notebooks/ folder.")


def discover(folder: Path, experiments: object = None) -> dict[str, NotebookInfo]:
    """The notebooks of a folder by name, in order.

    Raises Refused if one of them cannot be read or a line of its parameters cell is not `name: type = value  # help`.
    """
    table = _experiments(experiments).NOTEBOOKS
    return {path.stem: _inspect(path, table.get(path.stem)) for path in _sources(folder)}


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))


def _experiments(given: object) -> object:
    return importlib.import_module("hmm_utils.experiments") if given is None else given


def _inspect(path: Path, entry: object) -> NotebookInfo:
    import nbformat
    from papermill import inspect_notebook

    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        raise Refused(f"{path.name} is not a notebook that can be read ({_first_line(error)}): restore it.") from None
    # papermill needs to know the language, and takes a path for a format string in which braces mean something.
    notebook.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    seen = inspect_notebook(notebook)
    for name in _assigned(notebook, path):
        if name not in seen:
            raise Refused(
                f"{path.name}: papermill cannot read the line of the parameter {name}; write it as "
                f"`name: type = value  # help`, with no other = in it."
            )
    return NotebookInfo(
        name=path.stem,
        path=path,
        title=getattr(entry, "title", "") or _heading(notebook) or path.stem,
        section=getattr(entry, "section", ""),
        figures=tuple(getattr(entry, "figures", ())),
        parameters=tuple(_parameter(line, path) for line in seen.values()),
    )


def _assigned(notebook: Mapping, path: Path) -> list[str]:
    """The names that the parameters cell assigns, as Python reads it."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    try:
        statements = ast.parse(tagged[0].source).body if tagged else []
    except SyntaxError as error:
        raise Refused(f"{path.name}: line {error.lineno} of the parameters cell is not Python: mend it.") from None
    targets = [t for s in statements for t in getattr(s, "targets", [getattr(s, "target", None)])]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _parameter(seen: Mapping[str, str], path: Path) -> Parameter:
    try:
        default = ast.literal_eval(seen["default"])
    except (ValueError, SyntaxError):
        raise Refused(f"{path.name}: the default of {seen['name']} is not a plain value: write a literal.") from None
    declared = seen["inferred_type_name"].partition("[")[0].strip()
    kind = declared if declared in _TYPES else type(default).__name__
    if kind not in _TYPES:
        raise Refused(f"{path.name}: {seen['name']} has no type: declare it as one of {', '.join(_TYPES)}.")
    return Parameter(seen["name"], kind, default, seen["help"].strip())


def _heading(notebook: Mapping) -> str:
    """The first heading of the first markdown cell that has one."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = (re.search(r"^#+\s+(.+?)\s*#*$", text, re.M) for text in texts)
    return next((match[1] for match in found if match), "")


# --- checking ----------------------------------------------------------------------------------------------------


def choose(names: Sequence[str], known: Mapping[str, NotebookInfo]) -> list[NotebookInfo]:
    """The notebooks of these names (`01_plateaus`, `01`, `01_plateaus.ipynb`, `all`), each once.

    Raises Refused for a name that is none.
    """
    chosen = {}
    for name in names:
        if name == "all":
            return list(known.values())
        info = _one(name, known)
        chosen[info.name] = info
    return list(chosen.values())


def _one(name: str, known: Mapping[str, NotebookInfo]) -> NotebookInfo:
    stem = name.removesuffix(".ipynb")
    matches = [info for info in known.values() if info.name == stem or info.name.partition("_")[0] == stem]
    # What the shell completes: notebooks/01_plateaus.ipynb.
    matches = matches or [info for info in known.values() if Path(name).resolve() == info.path]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Refused(f'"{name}" means {_listed([m.name for m in matches], "or")}: write the whole name.')
    raise Refused(
        f'There is no notebook "{name}"{_meant(stem, known)}: choose among {_listed([*known, "all"], "and")}.'
    )


def convert(text: str, parameter: Parameter) -> object:
    """The value that `text`, read as YAML, gives to a parameter.

    Raises Refused if it is not of the parameter's type.
    """
    import yaml

    try:
        value = yaml.load(text, Loader=_loader())
    except yaml.YAMLError:
        raise Refused(f'{parameter.name}: "{text}" cannot be read as YAML: check brackets and quotes.') from None
    except (ValueError, OverflowError):
        raise Refused(f'{parameter.name}: "{text}" looks like a number or a date, but is none: mend it.') from None
    if parameter.default is None and (value is None or text == "None"):
        return None
    value = float(value) if parameter.type == "float" and type(value) is int else value
    if type(value) is not _TYPES[parameter.type]:
        expected = f"expects {_EXAMPLES[parameter.type]} ({parameter.type})"
        raise Refused(f"{parameter.name} {expected}, not {text or 'nothing'}{_advice(text, value, parameter.type)}.")
    if not _finite(value):
        raise Refused(f"{parameter.name} is {text}, where only finite numbers make sense: give one.")
    return value


def _loader() -> type:
    """A safe YAML loader for which 1e-2 is a number, as in YAML 1.2."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    exponent = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    return Loader


def _advice(text: str, value: object, kind: str) -> str:
    if kind == "list" and isinstance(value, bool | int | float | str):
        return f": write [{text}]"
    if kind == "str" and value is not None and not isinstance(value, list | dict):
        return f": write \"'{text}'\" if you mean the word"
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return f": write {int(value)}"
    if kind == "bool" and isinstance(value, int):
        return f": write {'true' if value else 'false'}"
    return ""


def _finite(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _assign(
    values: Sequence[tuple[str, str]], chosen: Sequence[NotebookInfo]
) -> tuple[dict[str, dict[str, object]], list[str]]:
    """The values that each chosen notebook gets, and a note for each that some notebooks have no use for."""
    overrides: dict[str, dict[str, object]] = {info.name: {} for info in chosen}
    notes = []
    for name, text in values:
        takers = [(info, p) for info in chosen for p in info.parameters if p.name == name]
        _check_name(name, [n for n, _ in values].count(name), bool(takers), chosen)
        for info, parameter in takers:
            try:
                overrides[info.name][name] = convert(text, parameter)
            except Refused as refusal:
                # The same name may have another type elsewhere.
                raise Refused(f"{info.name}: {refusal}") from None
        deaf = [info.name for info in chosen if info not in [taker for taker, _ in takers]]
        if deaf:
            notes.append(f"{name} is no parameter of {_listed(deaf, 'and')}: ignored there.")
    return overrides, notes


def _check_name(name: str, count: int, known: bool, chosen: Sequence[NotebookInfo]) -> None:
    if name in ("profile", "out"):
        raise Refused(f"{name} is not set with -p: use --{name}.")
    if count > 1:
        raise Refused(f"{name} is given {count} times: give it once.")
    if not known:
        accepted = list(dict.fromkeys(p.name for info in chosen for p in info.parameters))
        accepted = [each for each in accepted if each not in ("profile", "out")]
        whom = chosen[0].name if len(chosen) == 1 else "None of the chosen notebooks"
        has = "has no" if len(chosen) == 1 else "has a"
        choices = f"choose among {_listed(accepted, 'and')}" if accepted else "there are none to choose from"
        raise Refused(f'{whom} {has} parameter "{name}"{_meant(name, accepted)}: {choices}.')


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def prepare(
    names: Sequence[str],
    *,
    profile: str = "quick",
    values: Sequence[tuple[str, str]] = (),
    out: str | os.PathLike = "build",
    n_jobs: int = 1,
    overwrite: bool = False,
    notebooks: str | os.PathLike | None = None,
    experiments: object = None,
) -> Prepared:
    """The jobs of `hmm run`: every name, value and path checked, nothing executed and nothing written.

    values  pairs of a parameter's name and the text of its value

    Raises Refused for whatever cannot be run as it is asked for.
    """
    experiments = _experiments(experiments)
    folder = notebooks_folder(notebooks)
    chosen = choose(names, discover(folder, experiments))
    if profile not in experiments.PROFILES:
        known = _listed(experiments.PROFILES, "and")
        raise Refused(f'There is no profile "{profile}"{_meant(profile, experiments.PROFILES)}: choose among {known}.')
    if n_jobs < 1:
        raise Refused(f"--jobs must be at least 1, not {n_jobs}: give the number of notebooks to run side by side.")
    overrides, notes = _assign(values, chosen)
    records = {info.name: _planned(info.name, profile, overrides[info.name], experiments.plan) for info in chosen}
    out = Path(out).absolute()
    replaced = _replaced([out / f"{info.name}.ipynb" for info in chosen], out, folder, overwrite)
    state = _checkout(folder)
    jobs = [_job(info, profile, overrides[info.name], records[info.name], out, state) for info in chosen]
    return Prepared(tuple(jobs), tuple([*notes, *(f"{_shown(path)} will be replaced." for path in replaced)]))


def _planned(name: str, profile: str, overrides: Mapping[str, object], plan: Callable) -> Mapping | Iterable:
    try:
        return plan(name, profile, overrides)
    except ValueError as error:
        raise Refused(f"{name}: {error}") from None


def _replaced(targets: Sequence[Path], out: Path, folder: Path, overwrite: bool) -> list[Path]:
    """The finished results that this run would replace."""
    if out.resolve() == folder:
        raise Refused(f"--out {_shown(out)} is the folder of the notebooks themselves: choose another one.")
    inner = next((parent for parent in [out, *out.parents] if parent.exists()), out)
    if not inner.is_dir() or not os.access(inner, os.W_OK):
        why = "cannot be written to" if inner.is_dir() else "is not a folder"
        raise Refused(f"{_shown(inner)} {why}: choose another --out.")
    present = [target for target in targets if target.exists()]
    if present and not overwrite:
        there = "is already there" if len(present) == 1 else "are already there"
        names = _listed([_shown(path) for path in present], "and")
        raise Refused(f"{names} {there}: add --overwrite to replace, or choose another --out.")
    return present


def _job(
    info: NotebookInfo,
    profile: str,
    overrides: Mapping[str, object],
    records: Mapping | Iterable,
    out: Path,
    state: Mapping,
) -> Job:
    # The kernel runs in the notebooks' folder; inside the project a relative path keeps the executed copy free of
    # where the project lies.
    inside = out.is_relative_to(info.path.parent.parent)
    place = {"profile": profile, "out": Path(os.path.relpath(out, info.path.parent)).as_posix() if inside else str(out)}
    names = {parameter.name for parameter in info.parameters}
    given = {name: value for name, value in {**place, **overrides}.items() if name in names}
    effective = {parameter.name: parameter.default for parameter in info.parameters} | given
    record = {
        "parameters": effective,
        "profile": profile,
        "seed": _seed(effective, records),
        "versions": _versions(),
        **state,
        "host": {"platform": platform.platform(), "cores": _cores()},
    }
    return Job(info.name, info.path, out / f"{info.name}.ipynb", given, record)


def _seed(parameters: Mapping[str, object], records: Mapping | Iterable) -> object:
    """The seed that was asked for, or that (those) of the planned runs."""
    if parameters.get("seed") is not None:
        return parameters["seed"]
    planned = records.values() if isinstance(records, Mapping) else records
    seeds = list(dict.fromkeys(r.seed for r in planned if isinstance(getattr(r, "seed", None), int)))
    return seeds[0] if len(seeds) == 1 else seeds or None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "hmm_utils": hmm_utils.__version__}
    for name in ("numpy", "numba", "torch"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _checkout(folder: Path) -> dict[str, object]:
    """The commit of the checkout that `folder` lies in, and whether it has changes beside; "unknown" outside git."""
    try:
        commit, status = (
            subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": None}
    return {"commit": commit, "dirty": bool(status)}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shown(path: Path) -> str:
    """A path as the user would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


# --- executing ---------------------------------------------------------------------------------------------------


def run(jobs: Sequence[Job], n_jobs: int = 1) -> list[Outcome]:
    """Execute jobs, `n_jobs` at a time, and say on stderr how it goes; a failure does not keep the others from running.

    A KeyboardInterrupt passes through, after the kernels have been stopped and the unfinished copies removed.
    """
    for folder in {job.target.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return _in_turn(jobs) if min(n_jobs, len(jobs)) <= 1 else _side_by_side(jobs, n_jobs)
    finally:
        for job in jobs:
            _partial(job).unlink(missing_ok=True)


def _in_turn(jobs: Sequence[Job]) -> list[Outcome]:
    outcomes = []
    with _overall(len(jobs)) as bar, _relay(bar) as relay:
        for job in jobs:
            outcomes.append(_execute(job, {}, _cell_bar(job.name), relay))
            if isinstance(relay, _Relay):
                relay.close()
            _tell(outcomes[-1], bar)
    return outcomes


def _side_by_side(jobs: Sequence[Job], n_jobs: int) -> list[Outcome]:
    context = multiprocessing.get_context("spawn")
    # Kernels that each start a pool of threads for all cores are slower together than one after the other.
    environment = dict.fromkeys(_THREADS, str(max(1, _cores() // n_jobs)))
    waiting, running, outcomes = list(jobs), {}, {}
    with _overall(len(jobs)) as bar, _stopping(running):
        while waiting or running:
            while waiting and len(running) < n_jobs:
                job = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, environment, theirs), daemon=True)
                process.start()
                theirs.close()
                running[ours] = job, process
            bar.set_postfix_str(", ".join(job.name for job, _ in running.values()))
            for connection in wait(list(running)):
                job, process = running[connection]
                outcomes[job.name] = _received(connection, job, process)
                del running[connection]
                _tell(outcomes[job.name], bar)
    return [outcomes[job.name] for job in jobs]


def _received(connection: object, job: Job, process: object) -> Outcome:
    try:
        outcome = connection.recv()
        process.join()
    except EOFError:
        process.join()
        error = f"The process that ran it died (exit code {process.exitcode})."
        outcome = Outcome(job.name, _keep_failed(job), error, math.nan)
    connection.close()
    return outcome


@contextmanager
def _stopping(running: Mapping):
    """Leave no process behind, however the block ends."""
    try:
        yield
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(20)
            if process.is_alive():
                process.kill()


def _work(job: Job, environment: Mapping[str, str], connection: object) -> None:
    """What a process started by `_side_by_side` does."""
    # The terminal sends Ctrl-C to this process too; it is the parent that decides, once, by SIGTERM. SIG_IGN would be
    # inherited by the kernel.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _interrupt)
    with suppress(KeyboardInterrupt):
        connection.send(_execute(job, environment, False, None))


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _execute(job: Job, environment: Mapping[str, str], progress_bar: bool | dict, relay: object) -> Outcome:
    """Execute one notebook and put the copy in its place."""
    from papermill import execute_notebook

    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="hmm-", ignore_cleanup_errors=True) as sockets:
            notebook = execute_notebook(
                _literal(job.source),
                _literal(_partial(job)),
                dict(job.given),
                kernel_name="python3",
                language="python",
                progress_bar=progress_bar,
                stderr_file=relay,
                cwd=job.source.parent,
                kernel_manager_class=_own_kernel(environment, sockets),
            )
        error = _stopped(notebook)
    except KeyboardInterrupt:
        _partial(job).unlink(missing_ok=True)
        raise
    except Exception as raised:
        error = _summary(raised)
    seconds = time.perf_counter() - clock
    if not _partial(job).exists():
        return Outcome(job.name, None, error, seconds)
    record = {**job.record, "started": started.isoformat(timespec="seconds"), "seconds": round(seconds, 3)}
    _polish(_partial(job), job, record)
    return Outcome(job.name, _keep_failed(job) if error else _keep_finished(job), error, seconds)


def _literal(path: Path) -> str:
    """A path that papermill, which formats it, leaves as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _own_kernel(environment: Mapping[str, str], folder: str) -> type:
    """A kernel manager whose `python3` is the running interpreter, with these additions to its environment.

    Its connection file and sockets are put into `folder`, which no other kernel may use.

    A kernelspec of the same name in the user's or a system folder may belong to an interpreter without this package.
    """
    import zmq
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class OwnKernel(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

        # Two kernels that start at once may choose the same TCP port. The path of a socket is limited to 104 bytes.
        @default("transport")
        def _transport_default(self) -> str:
            return "ipc" if os.name == "posix" and len(os.fsencode(folder)) <= 80 else "tcp"

        # The sockets lie beside this file, and without it in the current folder, the same ones for all kernels.
        @default("connection_file")
        def _connection_file_default(self) -> str:
            return os.path.join(folder, "kernel.json")

        # A kernel that answers unencrypted TCP says so on the terminal; older jupyter_client has no such trait.
        @default("transport_encryption")
        def _transport_encryption_default(self) -> str:
            return "auto" if self.transport == "tcp" and zmq.has("curve") else "disabled"

        async def start_kernel(self, **options: object) -> None:
            await super().start_kernel(**{**options, "env": {**os.environ, **environment}})

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


def _partial(job: Job) -> Path:
    return job.target.with_name(f".{job.name}.partial.ipynb")


def _failed(job: Job) -> Path:
    return job.target.with_name(f"{job.name}.failed.ipynb")


def _keep_finished(job: Job) -> Path:
    os.replace(_partial(job), job.target)
    # What an earlier try left would be taken for the state of things.
    _failed(job).unlink(missing_ok=True)
    return job.target


def _keep_failed(job: Job) -> Path | None:
    if not _partial(job).exists():
        return None
    os.replace(_partial(job), _failed(job))
    return _failed(job)


def _polish(path: Path, job: Job, record: Mapping[str, object]) -> None:
    """Write the record into an executed copy and take the progress bars out of it."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["hmm"] = dict(record)
    notebook.metadata.papermill.update(input_path=job.source.name, output_path=job.target.name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_quiet, cell.outputs) if output is not None]
    nbformat.write(notebook, path)


def _quiet(output: Mapping) -> Mapping | None:
    if output.output_type == "stream" and output.name == "stderr":
        output.text = without_progress(output.text)
    return output if output.get("text") != "" else None


def without_progress(text: str) -> str:
    """What a kernel wrote to stderr, without its progress bars: "" if there is nothing else."""
    text = text.replace("\r\n", "\n")
    if text.strip() and "\r" not in text and _UP not in text:
        return text
    lines = [line for line in map(_left_standing, text.split("\n")) if line.strip()]
    return "".join(f"{line}\n" for line in lines)


def _left_standing(line: str) -> str:
    """What a terminal shows of a line in the end, without the progress bar."""
    if "\r" not in line and _UP not in line:
        return line
    last = line.replace(_UP, "").rpartition("\r")[2].strip()
    # A message may follow its bar without a line break.
    end = re.search(r"\[\d+:\d\d[^\]]*\]+", last)
    if end:
        last = last[end.end() :].strip()
    return last if re.search(r"\w", last) and "%|" not in last else ""


# --- showing how it goes -----------------------------------------------------------------------------------------


def _overall(total: int) -> object:
    from tqdm import tqdm

    form = "{desc}: {n_fmt}/{total_fmt} notebooks |{bar}| {elapsed}{postfix}"
    return tqdm(total=total, desc="run", bar_format=form, dynamic_ncols=True)


def _cell_bar(name: str) -> dict:
    # Below the overall bar on a terminal; in a file each bar starts where the last one ended.
    return {"desc": name, "leave": False, "dynamic_ncols": True, **({"position": 1} if sys.stderr.isatty() else {})}


@contextmanager
def _relay(overall: object):
    """What the kernel's stderr is written to: messages above the bars, the training bar below them."""
    if overall.disable:
        relay, line = _Relay(lambda text: None, _print), nullcontext()
    elif sys.stderr.isatty():
        from tqdm import tqdm

        line = tqdm(total=0, position=2, bar_format="{desc}", leave=False, dynamic_ncols=True)
        relay = _Relay(line.set_description_str, lambda text: tqdm.write(text, file=sys.stderr))
    else:
        relay, line = sys.stderr, nullcontext()
    with line:
        yield relay


def _print(text: str) -> None:
    print(text, file=sys.stderr)


class _Relay:
    """A text file that hands on the state of the last progress bar to `bar` and every other line to `line`."""

    def __init__(self, bar: Callable[[str], object], line: Callable[[str], object]):
        self._bar, self._line, self._rest = bar, line, ""

    def write(self, text: str) -> None:
        *lines, rest = (self._rest + text).split("\n")
        # Of a line that is still growing only what stands after the last return can be seen.
        self._rest = "".join(rest.rpartition("\r")[1:])
        self._hand_on(lines)
        state = rest.replace(_UP, "").rpartition("\r")[2].strip()
        if "\r" in rest and state:
            self._bar(state)

    def flush(self) -> None:
        """Nothing: a message without its end waits for it."""

    def close(self) -> None:
        """Hand on a last line without an end, and clear the bar; the next notebook may write then."""
        self._hand_on([self._rest])
        self._rest = ""
        self._bar("")

    def _hand_on(self, lines: Iterable[str]) -> None:
        for line in map(_left_standing, lines):
            if line.strip():
                self._line(line)


def _tell(outcome: Outcome, bar: object) -> None:
    from tqdm import tqdm

    if outcome.error:
        where = f"\nthe failed copy is {_shown(outcome.path)}" if outcome.path else ""
        text = f"{outcome.name} failed\n{textwrap.indent(outcome.error + where, '  ')}"
        tqdm.write(text, file=sys.stderr)
    bar.update()


# --- claims ------------------------------------------------------------------------------------------------------


def read_claims(out: str | os.PathLike, names: Iterable[str] | None = None) -> list[dict]:
    """The claims under `out`, in the order of their numbers; `names` restricts them to some notebooks.

    Raises ClaimsError if a file of claims cannot be read.
    """
    # A hidden file is one that a notebook is writing.
    paths = sorted(path for path in (Path(out) / "claims").glob("*.json") if not path.name.startswith("."))
    wanted = {path.stem for path in paths} if names is None else set(names)
    found = [claim for path in paths if path.stem in wanted for claim in _claims_in(path)]
    return sorted(found, key=lambda claim: [*_natural(claim["claim"]), claim["notebook"]])


def _claims_in(path: Path) -> list[dict]:
    try:
        claims = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        claims = error
    if not isinstance(claims, list) or not all(
        isinstance(claim, dict) and all(isinstance(claim.get(key), str) for key in _CLAIM_KEYS) for claim in claims
    ):
        raise ClaimsError(f"{_shown(path)} is not a list of claims: run {path.stem} again with --overwrite.")
    return claims


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that puts C2 before C10."""
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d+)|(\D+)", text)]


def write_claims(out: str | os.PathLike) -> tuple[Path, ...]:
    """Write all claims under `out` to its claims.md and claims.json; returns these paths, none if there are no claims.

    Raises ClaimsError if a file of claims cannot be read.
    """
    claims = read_claims(out)
    if not claims:
        return ()
    plain = json.dumps(claims, indent=1, ensure_ascii=False)
    texts = {"claims.md": _claims_markdown(claims), "claims.json": f"{plain}\n"}
    for name, text in texts.items():
        aside = Path(out) / f".{name}.partial"
        aside.write_text(text, "utf-8")
        os.replace(aside, Path(out) / name)
    return tuple(Path(out) / name for name in texts)


def _claims_markdown(claims: Sequence[Mapping]) -> str:
    columns = ("claim", "statement", "section", "figure", "measured", "verdict", "notebook", "scale")
    rows = [columns, ["---"] * len(columns), *([_markdown_cell(claim.get(c, "")) for c in columns] for claim in claims)]
    return "# Claims\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _markdown_cell(value: object) -> str:
    return " ".join(str(value if value is not None else "").split()).replace("|", "\\|")


def claims_text(claims: Sequence[Mapping], width: int = 120) -> str:
    """The claims as a table for a terminal of this width."""
    header = ("claim", "what was measured", "verdict", "notebook")
    first = [f"{claim['claim']} {claim.get('statement', '')}".strip() for claim in claims]
    rows = [(text, *(claim[key] for key in _CLAIM_KEYS[1:])) for text, claim in zip(first, claims, strict=True)]
    last = max(len(row[-1]) for row in [header, *rows])
    verdict = min(30, max(len(row[2]) for row in [header, *rows]))
    text = max(20, (width - last - verdict - 6) // 2)
    widths = (text, text, verdict, last)
    rule = tuple("─" * w for w in widths)
    return "\n".join(line for row in (header, rule, *rows) for line in _table_lines(row, widths))


def _table_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, w) or [""] for cell, w in zip(row, widths, strict=True)]
    lines = zip_longest(*cells, fillvalue="")
    return ["  ".join(part.ljust(w) for part, w in zip(line, widths, strict=True)).rstrip() for line in lines]
