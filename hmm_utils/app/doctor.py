"""`hmm doctor`: what the package finds around it, and one line of advice for each thing that is wrong.

Nothing is changed, downloaded or trained. What is `wrong` stops a notebook or falsifies what it shows; a `note` is
good to know where a figure does not come out as it should.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from packaging.requirements import Requirement
from packaging.version import Version

import hmm_utils
from hmm_utils.data import mnist
from hmm_utils.sgd import hardware

# hmm_utils.runs.paper and what it imports take a second: the function that needs them does it.

__all__ = ["Finding", "as_text", "examine"]

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "hidden-manifold-companion"

NEEDED = 1.2e9
"""Bytes of memory that the largest notebook needs in the quick profile (benchmarks/memory.py)."""
ROOM = 0.5e9
"""Bytes of disk below which a run may not have room for what it writes."""

# what decides numbers and pictures, and what runs notebooks
SHOWN = ("numpy", "scipy", "numba", "torch", "xarray", "matplotlib", "jupyterlab", "ipykernel", "jupytext", "papermill")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    state   what was found
    advice  what to do about it; empty if nothing is to be done
    wrong   whether it stops a notebook or falsifies what it shows; advice without it is a note
    """

    topic: str
    state: str
    advice: str = ""
    wrong: bool = False


def examine() -> list[Finding]:
    """Everything that there is to say. A look that fails is a finding too, so that the others are still made."""
    looks: Iterable[Callable[[], Iterator[Finding]]] = (
        _python, _installation, _packages, _kernel, _images, _stored, _store, _threads, _device, _memory, _disk,
    )  # fmt: skip
    found: list[Finding] = []
    for look in looks:
        try:
            found += look()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            advice = "this is a fault of hmm doctor, or of a package that it asks: report it with this line."
            found.append(Finding(look.__name__.strip("_"), f"could not be looked at ({reason})", advice, wrong=True))
    return [replace(one, state=_from_home(one.state), advice=_from_home(one.advice)) for one in found]


def _from_home(text: str) -> str:
    """With ~ for the user's folder, as what is printed here is meant to be shown to others."""
    return text.replace(f"{Path.home()}{os.sep}", f"~{os.sep}")


def as_text(findings: Sequence[Finding], columns: int = 120) -> str:
    """The findings for a terminal of this width, those with advice marked, and how many things are wrong."""
    width = max((len(finding.topic) for finding in findings), default=0)
    lines = []
    for finding in findings:
        mark = "!" if finding.wrong else "·" if finding.advice else " "
        lines += _wrapped(f"{mark} {finding.topic:<{width}}  ", finding.state, columns)
        lines += _wrapped(f"  {'':<{width}}  → ", finding.advice, columns) if finding.advice else []
    wrong = sum(finding.wrong for finding in findings)
    notes = sum(bool(finding.advice) for finding in findings) - wrong
    verdict = {0: "Nothing is wrong", 1: "1 thing is wrong (!)"}.get(wrong, f"{wrong} things are wrong (!)")
    return "\n".join([*lines, "", f"{verdict}; {notes} to know of (·)." if notes else f"{verdict}."])


def _wrapped(start: str, text: str, columns: int) -> list[str]:
    # a command or a path that is cut cannot be copied
    how = {"break_long_words": False, "break_on_hyphens": False}
    first, *more = textwrap.wrap(text, max(40, columns - len(start)), **how)
    return [start + first, *(" " * len(start) + line for line in more)]


# --- software ----------------------------------------------------------------------------------------------------


def _pyproject() -> dict:
    """What pyproject.toml of the checkout says; empty without a checkout."""
    try:
        return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    except OSError:
        return {}


def _python() -> Iterator[Finding]:
    state = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    needs = Requirement(f"python{_pyproject().get('requires-python', '>=3.11')}").specifier
    if needs.contains(platform.python_version(), prereleases=True):
        yield Finding("Python", state)
    else:
        yield Finding("Python", state, f"Python {needs} is needed: make PYTHON=/path/to/python3 run", wrong=True)


def _installation() -> Iterator[Finding]:
    from hmm_utils.runs import cache

    here = Path(hmm_utils.__file__).resolve().parent
    commit = cache.provenance()["commit"]
    changed = ", with changed files" if commit.endswith("+") else ""
    at = f", commit {commit[:10]}{changed}" if commit else ""
    try:
        installed = metadata.distribution(PROJECT)
    except metadata.PackageNotFoundError:
        advice = "notebooks find hmm_utils only while PYTHONPATH names this folder: pip install --no-deps -e ."
        yield Finding("hmm_utils", f"{hmm_utils.__version__}, in {here}, not installed{at}", advice)
        return
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable", False)
    place = Path(origin.get("url", "").removeprefix("file://")) / "hmm_utils" if editable else None
    place = place or Path(str(installed.locate_file("hmm_utils")))
    if place.resolve() != here:
        state = f"{hmm_utils.__version__}, in {here}{at}; another one is installed, {place}"
        advice = "which of them runs depends on PYTHONPATH and the current folder: pip install --no-deps -e . here"
        yield Finding("hmm_utils", state, advice)
        return
    state = f"{hmm_utils.__version__}, in {here}, {'editable' if editable else 'a copy'}{at}"
    if installed.version != hmm_utils.__version__:
        advice = f"it was installed as {installed.version}: pip install --no-deps -e . brings that up to date"
        yield Finding("hmm_utils", state, advice)
    else:
        yield Finding("hmm_utils", state)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    yield Finding("packages", ", ".join(f"{name} {_version(name) or 'missing'}" for name in SHOWN))
    for requirement in map(Requirement, _pyproject().get("dependencies", ())):
        version = _version(requirement.name)
        install = f"pip install '{requirement}'"
        if version is None:
            yield Finding(requirement.name, "missing", install, wrong=True)
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Finding(requirement.name, f"{version}, where {requirement.specifier} is needed", install, wrong=True)
    differ = _unlike_locked()
    if differ:
        advice = "numbers may differ in their last digits; make run sets up an environment with the locked versions."
        yield Finding("lock", f"other versions than requirements.lock: {_some(differ)}", advice)


def _unlike_locked() -> list[str]:
    """The packages of requirements.lock that are here in another version. (A build's name, 2.13.0+cpu, is no
    difference.)"""
    lock = ROOT / "requirements.lock"
    if not lock.exists():
        return []
    pins = (Requirement(line) for line in lock.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    found = []
    for pin in pins:
        here = _version(pin.name) if pin.marker is None or pin.marker.evaluate() else None
        if here is not None and not pin.specifier.contains(Version(here).public, prereleases=True):
            found.append(f"{pin.name} {here} ({pin.specifier})")
    return found


def _some(words: Iterable[str], n: int = 4) -> str:
    words = list(words)
    return ", ".join(words[:n]) + (f" and {len(words) - n} more" if len(words) > n else "")


def _kernel() -> Iterator[Finding]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    advice = "python -m ipykernel install --sys-prefix --name python3"
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield Finding("kernel", "there is no Jupyter kernel python3", f"pip install ipykernel && {advice}", wrong=True)
        return
    # as jupyter_client does it
    python = sys.executable if command in ("python", "python3", f"python3.{sys.version_info.minor}") else command
    ask = "import sys; print(sys.prefix); import hmm_utils; print(hmm_utils.__file__)"
    folder = ROOT / "notebooks"
    try:
        answer = subprocess.run(
            [python, "-c", ask], cwd=folder if folder.is_dir() else None, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("kernel", f"python3 starts {python}, which does not run ({error})", advice, wrong=True)
        return
    prefix, *package = answer.stdout.splitlines() or [""]
    if Path(prefix).resolve() != Path(sys.prefix).resolve():
        state = f"python3 belongs to another environment, {prefix or python}"
        yield Finding("kernel", state, f"JupyterLab would not run what hmm runs: {advice}", wrong=True)
    elif not package:
        state = "python3 does not find hmm_utils"
        yield Finding("kernel", state, f"pip install --no-deps -e {ROOT}", wrong=True)
    elif Path(package[0]).resolve() != Path(hmm_utils.__file__).resolve():
        state = f"python3 finds another hmm_utils, {package[0]}"
        yield Finding("kernel", state, f"pip install --no-deps -e {ROOT}", wrong=True)
    else:
        yield Finding("kernel", "python3 belongs to this environment and finds this hmm_utils")


# --- data --------------------------------------------------------------------------------------------------------


def _images() -> Iterator[Finding]:
    folder = mnist.data_dir()
    found = mnist.problems()
    damaged = [problem for problem in found.values() if problem not in ("", "missing")]
    missing = [name for name, problem in found.items() if problem == "missing"]
    get = "unset HMM_OFFLINE and run hmm data" if mnist.is_offline() else "hmm data"
    stand_in = "the 8×8 digits of scikit-learn stand in, and figures say so"
    for sentence in damaged:
        yield Finding("MNIST", "a file is damaged", sentence, wrong=True)
    if not missing and not damaged:
        yield Finding("MNIST", f"in {folder}, {len(found)} files, every hash as it should be")
    elif len(missing) == len(found):
        chosen = os.environ.get("HMM_DATA_DIR") and not folder.is_dir()
        if chosen:
            yield Finding("MNIST", f"HMM_DATA_DIR is {folder}, which is no folder", "correct or unset it", wrong=True)
        else:
            yield Finding("MNIST", f"not in {folder}: {stand_in}", f"{get} downloads it, 12 MB")
    elif missing:
        state = f"{len(missing)} of {len(found)} files are missing from {folder}: {_some(missing)}"
        yield Finding("MNIST", state, f"{get} downloads the rest", wrong=True)


def _stored() -> Iterator[Finding]:
    from hmm_utils.runs import archive, paper

    folder = archive.FOLDER
    advice = "git checkout -- results brings back what was committed"
    if not folder.is_dir():
        state = f"there are no stored results in {folder}"
        yield Finding("results", state, "run hmm in the project's checkout, beside its results/ folder", wrong=True)
        return
    plan = paper.plan()
    state = archive.examine(folder, plan)
    wrong = [*(f"{name} is damaged" for name in state.damaged), *(f"{name} is missing" for name in state.missing)]
    compute = "hmm run all --profile paper computes what is missing"
    if wrong:
        state = f"{state.n_runs} of {len(plan)} runs in {folder} are as planned; {_some(wrong)}"
        yield Finding("results", state, f"{advice}; {compute}", wrong=True)
    elif state.incomplete:
        text = f"{state.n_runs} of {len(plan)} runs are as planned, not {_some(state.incomplete)}"
        yield Finding("results", text, compute)
    else:
        yield Finding("results", f"all {len(plan)} runs of the paper's figures, every checksum as it should be")
    aside = [path.name for path in folder.glob("*.damaged-*")]
    if aside:
        text = f"{len(aside)} files were set aside because they could not be read: {_some(aside)}"
        yield Finding("results", text, f"delete them; {advice}")


def _store() -> Iterator[Finding]:
    from hmm_utils.runs import cache

    folder = cache.default_folder()
    if not folder.exists():
        yield Finding("store", f"{folder}, not there yet")
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = "set HMM_STORE to a folder that you can write to, or mend its permissions"
        yield Finding("store", f"{folder} cannot be written to", advice, wrong=True)
        return
    files = [path for path in folder.iterdir() if path.is_file()]
    draws = [path for path in files if path.suffix == ".nc" and not path.name.startswith(".")]
    state = f"{folder}, {len(draws)} draws, {_gigabytes(sum(map(_size, files)))}"
    locks = [path for path in files if path.suffix == ".lock"]
    held = sum(map(_is_held, locks))
    unfinished = [path for path in files if path.suffix == ".state"]
    state += f", {held} being computed now" if held else ""
    # a lock ends with its process, and its file stays
    state += f", {len(locks) - held} lock files that nobody holds, which do no harm" if len(locks) > held else ""
    aside = [path.name for path in files if ".damaged-" in path.name]
    if aside:
        advice = "they are computed again when they are needed; delete them"
        yield Finding("store", f"{state}; set aside because they could not be read: {_some(aside)}", advice)
    elif unfinished and not held:
        advice = "the same hmm run goes on from there; or delete .*.state in that folder"
        yield Finding("store", f"{state}, {len(unfinished)} begun and left", advice)
    else:
        yield Finding("store", state)


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, blocking=False):
            return False
    except (Timeout, OSError):
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a sweep has moved it since
        return 0


# --- machine -----------------------------------------------------------------------------------------------------

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def _threads(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    from threadpoolctl import threadpool_info

    import hmm_utils.sgd.block  # loads numba, and the BLAS that the engine calls

    assert hmm_utils.sgd.block.SGEMM is not None
    cores, share = hardware.cores(), _cpu_share()
    given = {name: environment[name] for name in _THREADS if environment.get(name)}
    limits = {name: _whole(value.split(",")[0]) for name, value in given.items()}
    pools = {f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()}
    state = (
        f"{hardware.threads()} to train on, {cores} of {os.cpu_count()} cores; {', '.join(sorted(pools))}; "
        f"{', '.join(f'{name}={value}' for name, value in given.items()) or 'no limit is set'}"
    )
    unread = [name for name, limit in limits.items() if limit < 1]
    if unread:
        yield Finding("threads", state, f"{_some(unread)} must be a whole number of at least 1", wrong=True)
    elif max(limits.values(), default=0) > cores:
        yield Finding("threads", state, f"more threads than cores wait for each other: set them to {cores} at most")
    elif share < cores and hardware.threads() > max(share, 1):
        limit = max(1, int(share))
        advice = f"this container gets the time of {share:g} cores: export {' '.join(f'{n}={limit}' for n in _THREADS)}"
        yield Finding("threads", state, advice)
    else:
        yield Finding("threads", state)
    if environment.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        yield Finding("compiler", "NUMBA_DISABLE_JIT is set", "training cannot run uncompiled: unset it", wrong=True)


def _whole(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0


def _cpu_share(root: Path = Path("/sys/fs/cgroup")) -> float:
    """The cores' worth of time that a container gets; inf where nothing limits it."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return float("inf")


def _device() -> Iterator[Finding]:
    state, unused = hardware.describe()
    advice = "to train on it, install a CUDA build of torch that fits the driver"
    yield Finding("device", state, advice if unused else "")


def _memory() -> Iterator[Finding]:
    total, available = _memory_bytes()
    state = f"{_gigabytes(total)}, {_gigabytes(available)} of it free"
    needs = f"the largest notebook takes {_gigabytes(NEEDED)} in the quick profile"
    if total < NEEDED:
        yield Finding("memory", state, f"{needs}: use a larger machine", wrong=True)
    elif available < NEEDED:
        yield Finding("memory", state, f"{needs}: shut down other kernels, or close other programs")
    else:
        yield Finding("memory", state)


def _memory_bytes(root: Path = Path("/sys/fs/cgroup")) -> tuple[float, float]:
    """All memory and what is free of it: the machine's, or a container's where that is less."""
    machine = psutil.virtual_memory()
    try:
        limit = int((root / "memory.max").read_text())
        free = limit - int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return machine.total, machine.available
    return min(limit, machine.total), min(free, machine.available)


def _disk() -> Iterator[Finding]:
    from hmm_utils.runs import cache

    places = {"here": Path.cwd(), "store": cache.default_folder(), "MNIST": mnist.data_dir()}
    free = {name: shutil.disk_usage(_existing(place)).free for name, place in places.items()}
    state = ", ".join(f"{_gigabytes(bytes_)} free for {name}" for name, bytes_ in free.items())
    if min(free.values()) < ROOM:
        yield Finding("disk", state, "make room: what cannot be written stops a run", wrong=True)
    else:
        yield Finding("disk", state)


def _existing(place: Path) -> Path:
    """The folder itself or the first one above it that is there."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())


def _gigabytes(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.0f} MB"
