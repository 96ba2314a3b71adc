"""Checks of the installation, with one line of advice for each problem: ``hmm doctor``.

Nothing is changed, downloaded or trained. What is ``wrong`` stops a notebook or falsifies what it shows; advice without
it is a note for those whose figure does not come out as it should. Packages and kernels are left to ``pip check`` and
``jupyter kernelspec list``.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import psutil

import hmm_utils
from hmm_utils.data import mnist
from hmm_utils.sgd import hardware

# hmm_utils.runs.paper and what it imports take a second: the functions that need them do it.

__all__ = ["Finding", "as_text", "examine"]

NEEDED = 1.2e9
"""Bytes of memory that the largest notebook needs in the quick profile (benchmarks/memory.py)."""
ROOM = 0.5e9
"""Bytes of disk below which a run may not have room for what it writes."""

# what decides numbers and pictures, and what runs notebooks
_SHOWN = ("numpy", "scipy", "numba", "torch", "xarray", "matplotlib", "jupyterlab", "jupytext", "papermill")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    topic, state : str
        What was checked, and what was found.
    advice : str
        What to do about it; empty if nothing is to be done.
    wrong : bool
        Whether it stops a notebook or falsifies what it shows.
    """

    topic: str
    state: str
    advice: str = ""
    wrong: bool = False


def examine() -> list[Finding]:
    """Make all checks; one that fails is a finding, too, so that the others are still made."""
    checks: Iterable[Callable[[], Iterator[Finding]]] = (
        _versions, _images, _results, _cache, _threads, _device, _memory, _disk,
    )  # fmt: skip
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            advice = "this is a fault of hmm doctor, or of a package that it asks: report it with this line."
            found.append(Finding(check.__name__.strip("_"), f"could not be checked ({reason})", advice, wrong=True))
    return [replace(one, state=_from_home(one.state), advice=_from_home(one.advice)) for one in found]


def _from_home(text: str) -> str:
    """With ~ for the user's folder, as the text is meant to be shown to others."""
    return text.replace(f"{Path.home()}{os.sep}", f"~{os.sep}")


def as_text(findings: Sequence[Finding], columns: int = 120) -> str:
    """Format findings for a terminal of this width, those with advice marked, and the number of problems."""
    width = max((len(finding.topic) for finding in findings), default=0)
    lines = []
    for finding in findings:
        mark = "!" if finding.wrong else "·" if finding.advice else " "
        lines += _wrapped(f"{mark} {finding.topic:<{width}}  ", finding.state, columns)
        lines += _wrapped(f"  {'':<{width}}  → ", finding.advice, columns) if finding.advice else []
    n_wrong = sum(finding.wrong for finding in findings)
    n_notes = sum(bool(finding.advice) for finding in findings) - n_wrong
    verdict = {0: "No problems found", 1: "1 problem (!)"}.get(n_wrong, f"{n_wrong} problems (!)")
    notes = {0: "", 1: "; 1 note (·)"}.get(n_notes, f"; {n_notes} notes (·)")
    return "\n".join([*lines, "", f"{verdict}{notes}."])


def _wrapped(start: str, text: str, columns: int) -> list[str]:
    # a command or a path that is cut cannot be copied
    wrap = textwrap.TextWrapper(max(40, columns - len(start)), break_long_words=False, break_on_hyphens=False)
    first, *more = wrap.wrap(text)
    return [start + first, *(" " * len(start) + line for line in more)]


def _some(words: Sequence[str], n: int = 4) -> str:
    return ", ".join(words[:n]) + (f" and {len(words) - n} more" if len(words) > n else "")


# --- software and data -------------------------------------------------------------------------------------------


def _versions() -> Iterator[Finding]:
    from hmm_utils.runs import cache

    package = Path(hmm_utils.__file__).resolve().parent
    commit = cache.provenance()["commit"]
    at = f", commit {commit[:10]}{' with changed files' if commit.endswith('+') else ''}" if commit else ""
    yield Finding("Python", f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}")
    yield Finding("hmm_utils", f"{hmm_utils.__version__}, in {package}{at}")
    yield Finding("packages", ", ".join(f"{name} {_version(name)}" for name in _SHOWN))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _images() -> Iterator[Finding]:
    folder, problems = mnist.data_dir(), mnist.problems()
    damaged = [problem for problem in problems.values() if problem not in ("", "missing")]
    missing = [name for name, problem in problems.items() if problem == "missing"]
    get = "unset HMM_OFFLINE: hmm data" if mnist.is_offline() else "hmm data"
    for sentence in damaged:
        yield Finding("MNIST", "a file is damaged", sentence, wrong=True)
    if not missing and not damaged:
        yield Finding("MNIST", f"in {folder}, {len(problems)} files, all hashes correct")
    elif len(missing) == len(problems):
        if os.environ.get("HMM_DATA_DIR") and not folder.is_dir():
            yield Finding("MNIST", f"HMM_DATA_DIR is {folder}, which is no folder", "correct or unset it", wrong=True)
        else:
            state = f"not in {folder}: the 8×8 digits of scikit-learn are used instead, and figures say so"
            yield Finding("MNIST", state, f"{get} downloads it, 12 MB")
    elif missing:
        state = f"{len(missing)} of {len(problems)} files are missing from {folder}: {_some(missing)}"
        yield Finding("MNIST", state, f"{get} downloads the rest", wrong=True)


def _results() -> Iterator[Finding]:
    from hmm_utils.runs import archive, measurements, paper

    if not archive.FOLDER.is_dir():
        advice = "run hmm in the project's checkout, beside its results/ folder"
        yield Finding("results", f"there are no stored results in {archive.FOLDER}", advice, wrong=True)
        return
    plan = paper.plan()
    found = archive.examine(archive.FOLDER, plan)
    wrong = [*(f"{name} is damaged" for name in found.damaged), *(f"{name} is missing" for name in found.missing)]
    state = f"{found.n_runs} of {len(plan)} planned runs are stored, all checksums correct"
    compute = "hmm run all --profile paper computes what is missing"
    if wrong:
        state = f"{found.n_runs} of {len(plan)} planned runs are stored in {archive.FOLDER}; {_some(wrong)}"
        yield Finding("results", state, f"git checkout -- results restores what was committed; {compute}", wrong=True)
    elif outdated := [*found.incomplete, *paper.unmeasured(measurements.MEASUREMENTS, archive.FOLDER)]:
        yield Finding("results", f"{state}; incomplete or outdated: {_some(outdated)}", compute)
    else:
        yield Finding("results", state)


def _cache() -> Iterator[Finding]:
    from hmm_utils.runs import cache

    folder = cache.default_folder()
    if not folder.exists():
        yield Finding("cache", f"{folder}, which does not exist yet")
    elif not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = "set HMM_STORE to a folder that you can write to, or change its permissions"
        yield Finding("cache", f"{folder} cannot be written to", advice, wrong=True)
    else:
        sizes = [path.stat().st_size for path in folder.glob("[!.]*.nc")]
        yield Finding("cache", f"{folder}, {len(sizes)} draws, {_gigabytes(sum(sizes))}")


# --- machine -----------------------------------------------------------------------------------------------------


def _threads(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    cores, share = hardware.cores(), _cpu_share()
    given = {name: environment[name] for name in _THREADS if environment.get(name)}
    limits = {name: int(n) if (n := value.split(",")[0].strip()).isdecimal() else 0 for name, value in given.items()}
    limited = ", ".join(f"{name}={value}" for name, value in given.items()) or "no limit is set"
    state = f"{hardware.threads()} to train on, {cores} of {os.cpu_count()} cores; {limited}"
    invalid = [name for name, limit in limits.items() if limit < 1]
    if invalid:
        yield Finding("threads", state, f"{_some(invalid)} must be a whole number of at least 1", wrong=True)
    elif max(limits.values(), default=0) > cores:
        yield Finding("threads", state, f"more threads than cores wait for each other: set them to {cores} at most")
    elif share < cores and hardware.threads() > max(share, 1):
        limit = max(1, int(share))
        advice = f"this container gets the time of {share:g} cores: export {' '.join(f'{n}={limit}' for n in _THREADS)}"
        yield Finding("threads", state, advice)
    else:
        yield Finding("threads", state)


def _cpu_share(root: Path = _CGROUP) -> float:
    """Cores whose time a container gets; inf where nothing limits it."""
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


def _memory_bytes(root: Path = _CGROUP) -> tuple[float, float]:
    """All memory and how much of it is free: the machine's, or a container's where that is less."""
    machine = psutil.virtual_memory()
    try:
        limit = int((root / "memory.max").read_text())
        free = limit - int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return machine.total, machine.available
    return min(limit, machine.total), min(free, machine.available)


def _disk() -> Iterator[Finding]:
    from hmm_utils.runs import cache

    places = {"here": Path.cwd(), "the cache": cache.default_folder(), "MNIST": mnist.data_dir()}
    free = {name: shutil.disk_usage(_existing(place)).free for name, place in places.items()}
    state = ", ".join(f"{_gigabytes(n)} free for {name}" for name, n in free.items())
    low = min(free.values()) < ROOM
    yield Finding("disk", state, "make room: what cannot be written stops a run" if low else "", wrong=low)


def _existing(place: Path) -> Path:
    """Find the folder itself or the first one above it that exists."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())


def _gigabytes(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.0f} MB"
