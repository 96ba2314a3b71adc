"""The lists that say what the environment is made of agree with each other and with the environment that runs."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import hmm_utils

ROOT = Path(__file__).resolve().parent.parent

# The CUDA build of torch requires these and pins them itself; the CPU build of the same version does not have them.
ACCELERATOR = re.compile(r"nvidia-|cuda-|triton")


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def direct_requirements() -> list[Requirement]:
    """What pyproject.toml names: run time, tests and build backend."""
    pyproject = tomllib.loads(read("pyproject.toml"))
    project = pyproject["project"]
    texts = project["dependencies"] + project["optional-dependencies"]["test"] + pyproject["build-system"]["requires"]
    return [Requirement(text) for text in texts]


def lock_entries() -> list[tuple[str, Version, Marker | None]]:
    entries = []
    for line in read("requirements.lock").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==" and not pin.version.endswith("*"), f"{line!r} is not an exact version"
            entries.append((canonicalize_name(requirement.name), Version(pin.version), requirement.marker))
    return entries


def locked_here() -> dict[str, Version]:
    """The locked packages that apply to the Python and the platform of this run."""
    return {name: version for name, version, marker in lock_entries() if marker is None or marker.evaluate()}


def installed_version(name: str) -> Version | None:
    try:
        # Without the local part: 2.13.0+cpu and 2.13.0+cu130 are builds of one version.
        return Version(Version(importlib.metadata.version(name)).public)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_lock_has_every_package_once():
    names = [name for name, _, _ in lock_entries()]
    assert names == sorted(set(names))


@pytest.mark.parametrize("requirement", direct_requirements(), ids=lambda requirement: requirement.name)
def test_direct_dependency_is_locked_within_its_range(requirement):
    entries = [entry for entry in lock_entries() if entry[0] == canonicalize_name(requirement.name)]
    assert len(entries) == 1, f"{requirement.name} has {len(entries)} lines in requirements.lock: run `make lock`"
    _, version, marker = entries[0]
    assert requirement.specifier.contains(version), f"locked {version} is outside {requirement}: run `make lock`"
    assert marker is None, f"{requirement.name} is needed everywhere, yet locked only for {marker}"


def test_running_environment_is_the_locked_one():
    wrong = [
        f"{name}: locked {version}, installed {installed_version(name) or 'not at all'}"
        for name, version in locked_here().items()
        if installed_version(name) != version
    ]
    assert not wrong, "\n".join(["this environment was not made from requirements.lock, as `make test` does:", *wrong])


def test_lock_is_complete_and_holds_nothing_else():
    """Follow the requirements of the installed packages from the direct ones on: that must give the lock again."""
    todo = direct_requirements()
    seen: set[tuple[str, str]] = set()
    missing = []
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name not in locked_here():
            missing.append(str(requirement))
            continue
        # The empty extra stands for the package itself.
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen or installed_version(name) is None:
                continue
            seen.add((name, extra))
            for child in map(Requirement, importlib.metadata.requires(name) or []):
                wanted = child.marker is None or child.marker.evaluate({"extra": extra})
                if wanted and not ACCELERATOR.match(child.name):
                    todo.append(child)
    assert not missing, f"required but not in requirements.lock: {missing}; run `make lock`"
    superfluous = locked_here().keys() - {name for name, _ in seen}
    assert not superfluous, f"locked, but absent here or required by nothing: {sorted(superfluous)}; run `make lock`"


def test_locked_versions_accept_every_supported_python():
    """Release 0 of the oldest Python must do, and nothing may exclude a newer one."""
    oldest = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    for name in filter(installed_version, locked_here()):
        accepts = Requirement(f"python{importlib.metadata.metadata(name).get('Requires-Python') or ''}").specifier
        for python in (f"{oldest}.0", "3.12.0", "3.13.0"):
            assert accepts.contains(python), f"{name} does not support Python {python}: {accepts}"


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_environment_is_the_lock(path, tmp_path):
    """pip finds nothing to install from the file's own pip section, read as conda reads it: from the file's folder."""
    environment = yaml.safe_load(read(path))
    *of_conda, of_pip = environment["dependencies"]
    assert of_conda == ["python=3.11", "pip"] and environment["channels"] == ["conda-forge", "nodefaults"]
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    folder = (tmp_path / path).parent
    folder.mkdir(exist_ok=True)
    (folder / "pip.txt").write_text("\n".join(of_pip["pip"]))
    command = ["-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "-r", "pip.txt"]
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("already satisfied") == len(locked_here()) and "Would install" not in done.stdout


def test_version_is_the_same_everywhere():
    """It is written in the package, from where the build takes it; a citation and the changelog name it too."""
    pyproject = tomllib.loads(read("pyproject.toml"))
    assert pyproject["project"]["dynamic"] == ["version"] and "version" not in pyproject["project"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "hmm_utils.__version__"}
    version = hmm_utils.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version
    assert re.search(r"^## \[(\d\S*)\]", read("CHANGELOG.md"), re.M)[1] == version, "the newest release is another"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_test_lints_tests_and_reruns_the_notebooks():
    """On every machine, and CI calls it: no step is optional."""
    assert "\nmake test\n" in read(".ci/run") and "\nset -euo pipefail\n" in read(".ci/run")
    # Inside `make test` the outer make's flags would reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    plan = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for step in ("ruff check .", "lint-imports", "mypy", " tests", "--doctest-modules hmm_utils", " notebooks"):
        assert any(line.endswith(step) and not line.startswith("-") and "||" not in line for line in plan), step


@pytest.mark.parametrize("path", [".ci/run", "binder/postBuild", "binder/start"])
def test_script_is_executable_and_parses(path):
    assert os.access(ROOT / path, os.X_OK), f"{path} is not executable: chmod +x {path}"
    assert read(path).startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", str(ROOT / path)], check=True)
