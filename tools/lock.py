"""Write requirements.lock and requirements-book.lock: the exact version of every package that pyproject.toml needs.

`make lock` runs this in a fresh virtual environment that holds nothing but pip and packaging. It resolves the direct
dependencies, the extras and the build backend to the newest versions that fit, so it is also the way to upgrade.
Arguments are handed to pip; `-c requirements.lock` keeps the versions that are there. The first file has what runs and
tests the notebooks, the second what the extras of `BESIDE` need besides.

One lock serves Linux and macOS and every Python of `PYTHONS`: a package that only some of them need gets a marker.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent

# Not "the newest that fits": moving to another torch moves a download of several gigabytes on machines with the CUDA
# build and may move the last digits of every result, so it is done by hand, here and nowhere else.
TORCH = "torch==2.13.0"

# The CUDA build of torch requires these and pins them itself; the CPU build of the same version does not have them.
ACCELERATOR = re.compile(r"nvidia-|cuda-|triton")

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {"linux": "Linux", "darwin": "Darwin"}
ENVIRONMENTS = tuple(product(PYTHONS, PLATFORMS))

BESIDE = ("play", "book", "browser")

HEADER = """\
# Every package of the environment with its exact version. Written by `make lock`; edit pyproject.toml instead.
# Versions without hashes: the CPU and the GPU build of one torch version are different files.
"""
HEADER_BESIDE = """\
# What the book, the playground as a page and tests in a browser need besides requirements.lock. Written by make lock.
"""


def direct_requirements() -> tuple[list[str], list[str]]:
    """The requirements written in pyproject.toml: run time, `test` extra and build backend; and the extras beside."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    core = project["dependencies"] + extras["test"] + pyproject["build-system"]["requires"]
    return core, [requirement for name in BESIDE for requirement in extras[name]]


def resolve(requirements: list[str], pip_args: list[str]) -> dict[str, dict]:
    """Let pip choose the versions; return {canonical name: metadata} without installing anything."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        # Resolving for 3.11.0 keeps out releases that ask for a later 3.11.x than a Linux distribution may ship.
        # pip before 23.3 accepts that only with a target folder, though a dry run puts nothing there.
        target = ["--python-version", f"{PYTHONS[0]}.0", "--only-binary", ":all:", "--target", folder]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        plan_only = ["--dry-run", "--ignore-installed", "--report", str(report)]
        subprocess.run([*pip, *plan_only, *target, *pip_args, *requirements], check=True)
        installs = json.loads(report.read_text("utf-8"))["install"]
    return {canonicalize_name(item["metadata"]["name"]): item["metadata"] for item in installs}


def needed(direct: list[str], packages: dict[str, dict], python: str, platform: str) -> set[str]:
    """Names of all packages, resolved yet or not, that one Python on one platform needs."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "platform_system": PLATFORMS[platform],
    }
    todo = [Requirement(text) for text in direct]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        # The empty extra stands for the package itself.
        for extra in {"", *requirement.extras} - {extra for other, extra in seen if other == name}:
            seen.add((name, extra))
            for text in packages.get(name, {}).get("requires_dist", []):
                child = Requirement(text)
                if ACCELERATOR.match(child.name):
                    continue
                if child.marker is None or child.marker.evaluate(environment | {"extra": extra}):
                    todo.append(child)
    return {name for name, _ in seen}


def marker(environments: set[tuple[str, str]]) -> str:
    """The environment marker that is true in exactly these environments."""
    pythons = [python for python in PYTHONS if any(python == p for p, _ in environments)]
    platforms = [platform for platform in PLATFORMS if any(platform == s for _, s in environments)]
    first, last = PYTHONS.index(pythons[0]), PYTHONS.index(pythons[-1])
    if environments != set(product(PYTHONS[first : last + 1], platforms)):
        raise SystemExit(f"lock: no simple marker for {sorted(environments)}; extend tools/lock.py")
    parts = []
    if len(pythons) == 1 and 0 < first < len(PYTHONS) - 1:
        parts.append(f'python_version == "{pythons[0]}"')
    else:
        if first > 0:
            parts.append(f'python_version >= "{pythons[0]}"')
        if last < len(PYTHONS) - 1:
            parts.append(f'python_version <= "{pythons[-1]}"')
    if len(platforms) < len(PLATFORMS):
        parts.append(f'sys_platform == "{platforms[0]}"')
    return " and ".join(parts)


def lock(pip_args: list[str]) -> dict[str, str]:
    """The texts of the files, by name."""
    core, beside = direct_requirements()
    direct = core + beside
    packages: dict[str, dict] = {}
    extra_names: set[str] = set()
    # pip resolves for the interpreter it runs on; what only the other environments need is asked for by name until
    # nothing new turns up.
    while True:
        pins = [f"{name}=={Version(meta['version']).public}" for name, meta in packages.items()]
        packages |= resolve([TORCH, *direct, *pins, *sorted(extra_names)], pip_args)
        where = {environment: needed(direct, packages, *environment) for environment in ENVIRONMENTS}
        missing = set().union(*where.values()) - packages.keys()
        if not missing:
            break
        extra_names |= missing

    where_core = {environment: needed(core, packages, *environment) for environment in ENVIRONMENTS}
    of_core = set().union(*where_core.values())
    rest = {environment: names - of_core for environment, names in where.items()}
    return {
        "requirements.lock": HEADER + lines(packages, where_core),
        "requirements-book.lock": HEADER_BESIDE + lines(packages, rest),
    }


def lines(packages: dict[str, dict], where: dict[tuple[str, str], set[str]]) -> str:
    """A line for every package that some environment needs."""
    text = ""
    for name in sorted(packages):
        environments = {environment for environment, names in where.items() if name in names}
        if environments:
            condition = marker(environments)
            pin = f"{name}=={Version(packages[name]['version']).public}"
            text += f"{pin}; {condition}\n" if condition else f"{pin}\n"
    return text


if __name__ == "__main__":
    for name, text in lock(sys.argv[1:]).items():
        (ROOT / name).write_text(text, "utf-8")
        print(f"{name}: {sum(not line.startswith('#') for line in text.splitlines())} packages")
