"""What mybinder.org does with `binder/`, as far as it can be done here: install, warm, start, serve.

It is done to a copy of the project with a home of its own, in two environments. The quick one stands on the packages of
this environment; `make test-binder` makes the other from the pip section of binder/environment.yml, with venv in place
of conda, which takes minutes and a network.
"""

import json
import os
import pkgutil
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from helpers.servers import free_port, running
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

import hmm_utils

ROOT = Path(__file__).resolve().parent.parent
LEFT_BEHIND = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info")


@dataclass(frozen=True)
class Image:
    """What stands for the image: the project's folder in it, and the environment variables of its programs."""

    folder: Path
    variables: dict

    def run(self, *command, **more):
        return subprocess.run(
            [*map(str, command)], cwd=self.folder, env=self.variables | more, capture_output=True, text=True
        )


def on_top_of_this(place):
    """A virtual environment that also sees the packages of this one, and what they bring for Jupyter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "below.pth").write_text("\n".join({sysconfig.get_path(name) for name in ("purelib", "platlib")}))
    below = Path(sys.prefix)
    return {
        "JUPYTER_PATH": str(below / "share/jupyter"),
        "JUPYTER_CONFIG_PATH": str(below / "etc/jupyter"),
        "JUPYTERLAB_DIR": str(below / "share/jupyter/lab"),
    }


def from_the_lock(place):
    """A virtual environment with what Binder's has, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    of_pip = yaml.safe_load((ROOT / "binder/environment.yml").read_text("utf-8"))["dependencies"][-1]["pip"]
    # where the index of CPU builds cannot be reached, PIP_ARGS names another
    given = [word for line in of_pip for word in line.split() if "download.pytorch.org" not in word]
    given = [word for word in given if word != "--extra-index-url"] + shlex.split(os.environ.get("PIP_ARGS", ""))
    pip = [place / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *given], cwd=ROOT / "binder", check=True)
    return {}


@pytest.fixture(scope="module", params=[on_top_of_this, pytest.param(from_the_lock, marks=pytest.mark.fresh)])
def unbuilt(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("binder")
    shutil.copytree(ROOT, place / "project", ignore=LEFT_BEHIND)
    (place / "home").mkdir()
    # what is set for tests here would not be set there, and must not decide anything
    ours = ("HMM_", "JUPYTER", "NUMBA_", "PYTHON", "XDG_", "IPYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) and "_NUM_THREADS" not in k}
    variables = kept | request.param(place / "env") | {"HOME": str(place / "home"), "HMM_OFFLINE": "1"}
    variables["PATH"] = f"{place / 'env/bin'}{os.pathsep}{kept['PATH']}"
    return Image(place / "project", variables)


@pytest.fixture(scope="module")
def built(unbuilt):
    """After postBuild; what it said is beside it."""
    done = unbuilt.run("binder/postBuild")
    assert done.returncode == 0, done.stdout + done.stderr
    return unbuilt, done.stdout + done.stderr


def compiled(folder):
    return sorted(path.name for path in folder.rglob("*.nb[ic]"))


def kept_functions():
    """The functions of the package whose machine code numba keeps, by the names that it gives them."""
    names = set()
    for module in pkgutil.walk_packages(hmm_utils.__path__, "hmm_utils."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, Dispatcher) and isinstance(value._cache, FunctionCache):
                names.add(f"{value.py_func.__module__.rpartition('.')[2]}.{value.py_func.__qualname__}")
    return names


def test_the_package_is_installed_from_the_project(built):
    image, _ = built
    found = subprocess.run(
        ["python", "-c", "import hmm_utils, sys; print(hmm_utils.__file__, sys.prefix)"],
        cwd=image.folder.parent, env=image.variables, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert found == [str(image.folder / "hmm_utils/__init__.py"), str(image.folder.parent / "env")]


def test_without_a_network_the_digits_stand_in(built):
    _, said = built
    assert "HMM_OFFLINE" in said and "the 8×8 digits of scikit-learn stand in" in said


def test_every_function_is_compiled(built):
    """And is found compiled by the user who runs it, after the files' times were cut to seconds as in an image."""
    image, _ = built
    before = compiled(image.folder)
    functions = kept_functions()
    assert len(functions) > 10
    lacking = {name for name in functions if not any(file.startswith(f"{name}-") for file in before)}
    assert not lacking
    for path in image.folder.rglob("*"):
        seconds = int(path.stat().st_mtime)
        os.utime(path, (seconds, seconds))
    again = image.run("binder/start", "python", "binder/warm.py")
    assert again.returncode == 0, again.stderr
    assert compiled(image.folder) == before


def test_start_caps_threads_and_becomes_the_command(built):
    image, _ = built
    ask = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]])); sys.exit(7)"
    done = image.run("binder/start", "python", "-c", ask, "one word", "*")
    assert (done.returncode, done.stderr) == (7, "")
    variables, arguments = json.loads(done.stdout)
    assert arguments == ["one word", "*"]
    limits = {name: value for name, value in variables.items() if "_NUM_THREADS" in name}
    assert limits == {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def test_doctor_has_nothing_to_say_but_notes(built):
    done = built[0].run("binder/start", "hmm", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    noted = {finding["topic"] for finding in json.loads(done.stdout) if finding["advice"]}
    # a smaller machine, a checkout whose runs are being computed anew, and what the image is without a network
    assert noted <= {"MNIST", "results", "memory"}


def test_a_notebook_runs(built):
    image, _ = built
    done = image.run("binder/start", "hmm", "run", "index", "--out", image.folder.parent / "out")
    assert done.returncode == 0, done.stderr


def get(address):
    with urlopen(address, timeout=30) as response:
        return response.read().decode("utf-8")


def test_jupyterlab_is_served(built):
    """At the address of the README's badge; a .py notebook has cells, and JupyterLab opens it as a notebook."""
    image, _ = built
    (badge,) = (word for word in (ROOT / "README.md").read_text("utf-8").split() if "mybinder.org/v2/" in word)
    assert badge.endswith("?urlpath=lab/tree/notebooks/index.ipynb)")
    port = free_port()
    address, log = f"http://127.0.0.1:{port}", image.folder.parent / "lab.log"
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token="]
    command = ["binder/start", "python", "-m", "jupyterlab", *options]
    with running(command, answers=f"{address}/api/status", log=log, cwd=image.folder, env=image.variables):
        assert "<title>JupyterLab</title>" in get(f"{address}/lab/tree/notebooks/index.ipynb")
        model = json.loads(get(f"{address}/api/contents/notebooks/01_independent_students.py?type=notebook"))
        assert len(model["content"]["cells"]) > 10
        settings = json.loads(get(f"{address}/lab/api/settings/@jupyterlab/docmanager-extension:plugin"))
        assert settings["schema"]["properties"]["defaultViewers"]["default"] == {"python": "Jupytext Notebook"}
        asked = json.loads(get(f"{address}/lab/api/settings/@jupyterlab/apputils-extension:notification"))
        assert asked["schema"]["properties"]["fetchNews"]["default"] == "false"
        (spec,) = json.loads(get(f"{address}/api/kernelspecs"))["kernelspecs"].values()
        assert spec["name"] == "python3"
