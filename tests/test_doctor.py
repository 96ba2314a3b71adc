"""`hmm doctor`: each thing made wrong is found, said in one line with what to do, and decides the exit code."""

import json
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import jupyter_client.kernelspec as kernelspec
import pytest
from filelock import FileLock

from hmm_utils.app import doctor
from hmm_utils.app.doctor import Finding
from hmm_utils.data import mnist
from hmm_utils.runs import archive, paper
from hmm_utils.sgd import hardware

ROOT = Path(__file__).resolve().parent.parent


def only(look, topic=None):
    """The one finding of a look, or the one on a topic."""
    found = [finding for finding in look() if topic is None or finding.topic == topic]
    assert len(found) == 1, found
    return found[0]


def fine(finding):
    return not finding.advice and not finding.wrong


def note(finding):
    return bool(finding.advice) and not finding.wrong


# ---- Software -------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes the package metadata of a distribution that is found before any other of its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, version, url=None):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if url is not None:
            (folder / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": True}}))

    return install


@pytest.mark.parametrize(("version", "wrong"), [("3.10.14", True), ("3.11.0", False), ("3.15.0", False)])
def test_python(monkeypatch, version, wrong):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    finding = only(doctor._python)
    assert finding.wrong == wrong and version in finding.state and ("3.11" in finding.advice) == wrong


def test_installed_from_here(installed):
    installed("hidden-manifold-companion", doctor.hmm_utils.__version__, ROOT.as_uri())
    finding = only(doctor._installation)
    assert fine(finding) and "editable" in finding.state and doctor.hmm_utils.__version__ in finding.state


def test_installed_from_elsewhere(installed, tmp_path):
    installed("hidden-manifold-companion", doctor.hmm_utils.__version__, (tmp_path / "other").as_uri())
    finding = only(doctor._installation)
    assert note(finding) and str(tmp_path / "other") in finding.state and "pip install" in finding.advice


def test_installed_at_another_version(installed):
    installed("hidden-manifold-companion", "0.0.7", ROOT.as_uri())
    assert note(only(doctor._installation)) and "0.0.7" in only(doctor._installation).advice


def test_not_installed(monkeypatch):
    monkeypatch.setattr(doctor, "PROJECT", "no-such-project")
    finding = only(doctor._installation)
    assert note(finding) and "not installed" in finding.state and "pip install" in finding.advice


def test_package_out_of_range(installed):
    installed("numpy", "1.26.4")
    finding = only(doctor._packages, "numpy")
    assert finding.wrong and "1.26.4" in finding.state and finding.advice == "pip install 'numpy<3,>=2.0'"
    assert "numpy 1.26.4" in only(doctor._packages, "packages").state


def test_package_missing(monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "tqdm" else version(name))
    finding = only(doctor._packages, "tqdm")
    assert finding.wrong and finding.state == "missing" and "pip install" in finding.advice


def test_package_of_another_version_than_locked(installed):
    """Another version in the range is a note; another build of the same version is nothing."""
    locked = [finding for finding in doctor._packages() if finding.topic == "lock"]
    installed("tqdm", "4.999.0")
    installed("torch", "2.13.0+some")
    finding = only(doctor._packages, "lock")
    assert note(finding) and "tqdm 4.999.0" in finding.state and "torch" not in finding.state
    assert not locked or "tqdm" not in locked[0].state


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Makes the kernel `python3` that Jupyter finds start this program."""

    def install(*command):
        folder = tmp_path / "kernels" / "python3"
        folder.mkdir(parents=True)
        about = {"argv": [*command, "-m", "ipykernel_launcher"], "display_name": "mine", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(about))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    return install


@pytest.fixture
def importable(monkeypatch):
    """A kernel finds the package that is tested, wherever the one that is installed lies."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("command", ["python", sys.executable])
def test_kernel_of_this_environment(kernel, importable, command):
    kernel(command)
    assert fine(only(doctor._kernel))


def test_kernel_of_another_environment(kernel, importable, tmp_path):
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    kernel(str(other / "bin" / "python"))
    finding = only(doctor._kernel)
    assert finding.wrong and str(other) in finding.state and "ipykernel install" in finding.advice


def test_kernel_that_does_not_run(kernel):
    kernel("/nowhere/python")
    finding = only(doctor._kernel)
    assert finding.wrong and "/nowhere/python" in finding.state and "ipykernel install" in finding.advice


def test_no_kernel(monkeypatch):
    def missing(self, name):
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", missing)
    assert only(doctor._kernel).wrong and "pip install ipykernel" in only(doctor._kernel).advice


@pytest.mark.parametrize(("code", "said"), [("", "finds another"), ("raise ImportError", "does not find")])
def test_kernel_with_another_package(kernel, tmp_path, monkeypatch, code, said):
    (tmp_path / "hmm_utils.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    kernel("python")
    finding = only(doctor._kernel)
    assert finding.wrong and said in finding.state and "pip install" in finding.advice


# ---- Data -----------------------------------------------------------------------------------------------------------


def images(monkeypatch, *problems):
    monkeypatch.setattr(mnist, "problems", lambda: dict(zip(mnist.FILES, problems, strict=True)))
    return list(doctor._images())


def test_images_in_order(monkeypatch):
    assert fine(*images(monkeypatch, "", "", "", ""))


def test_images_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("HMM_OFFLINE", raising=False)
    (finding,) = doctor._images()
    assert note(finding) and "8×8" in finding.state and finding.advice.startswith("hmm data")
    monkeypatch.setenv("HMM_OFFLINE", "1")
    assert only(doctor._images).advice.startswith("unset HMM_OFFLINE")


def test_images_in_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path / "nowhere"))
    assert only(doctor._images).wrong and "nowhere" in only(doctor._images).state


def test_images_incomplete(monkeypatch):
    (finding,) = images(monkeypatch, "", "missing", "", "")
    assert finding.wrong and "train-labels" in finding.state and "hmm data" in finding.advice


def test_images_damaged(monkeypatch, tmp_path):
    """Bytes that are not the digits, with the sentence that says what to delete."""
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path))
    for name in mnist.FILES:
        (tmp_path / name).write_bytes(b"no digits")
    found = list(doctor._images())
    assert len(found) == 4 and all(finding.wrong and "delete it" in finding.advice for finding in found)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A copy of two stored figures, and a plan of their runs."""
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("fig2.nc", "fig4.nc"):
        shutil.copy(ROOT / "results" / name, folder)
    plan = {name: e for name, e in paper.plan().items() if archive.figure_file(e) in ("fig2.nc", "fig4.nc")}
    monkeypatch.setattr(archive, "FOLDER", folder)
    monkeypatch.setattr(paper, "plan", lambda: plan)
    return folder


def test_results_in_order(stored):
    assert fine(only(doctor._stored))


def test_results_missing(stored):
    (stored / "fig4.nc").unlink()
    finding = only(doctor._stored)
    assert finding.wrong and "fig4_pretraining is missing" in finding.state and "--profile paper" in finding.advice


@pytest.mark.parametrize("how", ["cut", "bit", "other"])
def test_results_damaged(stored, how):
    """A file that is cut off, has one wrong bit, or is something else; and nothing is renamed or mended."""
    place = stored / "fig2.nc"
    whole = place.read_bytes()
    with h5py.File(place) as file:
        chunk = file["fig2_left_iid, first/eps_g_mse"].id.get_chunk_info(0)
    middle = chunk.byte_offset + chunk.size // 2
    damaged = {
        "cut": whole[:middle],
        "bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "other": b"no netCDF",
    }[how]
    place.write_bytes(damaged)
    finding = only(doctor._stored)
    assert finding.wrong and "fig2.nc is damaged" in finding.state and "git checkout" in finding.advice
    assert place.read_bytes() == damaged and len(list(stored.iterdir())) == 2


def test_results_at_another_scale(stored, monkeypatch):
    """A run that is planned with more draws than are stored, and one by another version of the engine."""
    plan = paper.plan()
    monkeypatch.setattr(paper, "plan", lambda: plan | {"fig4": replace(plan["fig4"], n_draws=99)})
    finding = only(doctor._stored)
    assert note(finding) and finding.state.endswith("not fig4")
    monkeypatch.setattr(archive.engine, "VERSION", -1)
    assert only(doctor._stored).state.startswith("0 of")


def test_results_set_aside(stored):
    (stored / "fig1.nc.damaged-0").touch()
    _, finding = doctor._stored()
    assert note(finding) and "fig1.nc.damaged-0" in finding.state


def test_no_results(stored, monkeypatch):
    monkeypatch.setattr(archive, "FOLDER", stored / "nowhere")
    assert only(doctor._stored).wrong


def test_the_projects_own_results_are_readable():
    """Some may lag behind what is planned; none may be damaged or missing."""
    state = archive.examine(archive.FOLDER, paper.plan())
    assert state.n_runs > 0 and not state.damaged and not state.missing


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("HMM_STORE", str(folder))
    return folder


def test_store(store):
    assert fine(only(doctor._store)) and "not there yet" in only(doctor._store).state
    store.mkdir()
    (store / "one.nc").write_bytes(bytes(3_000_000))
    (store / ".one.lock").touch()
    (store / ".two.lock").touch()
    with FileLock(store / ".two.lock"):
        finding = only(doctor._store)
    assert fine(finding)
    for said in ("1 draws", "3 MB", "1 being computed now", "1 lock files that nobody holds"):
        assert said in finding.state
    assert "being computed" not in only(doctor._store).state


def test_store_with_leftovers(store):
    store.mkdir()
    (store / ".some.state").touch()
    assert note(only(doctor._store)) and "1 begun and left" in only(doctor._store).state
    (store / ".some.lock").touch()
    with FileLock(store / ".some.lock"):
        assert fine(only(doctor._store)), "it is at work"
    (store / "one.nc.damaged-0").touch()
    assert note(only(doctor._store)) and "one.nc.damaged-0" in only(doctor._store).state


def test_store_that_is_no_folder(store):
    store.touch()
    assert only(doctor._store).wrong and "HMM_STORE" in only(doctor._store).advice


# ---- Machine --------------------------------------------------------------------------------------------------------


@pytest.fixture
def threads(monkeypatch):
    for name in (*doctor._THREADS, "NUMBA_DISABLE_JIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    monkeypatch.setattr(doctor, "_cpu_share", lambda: float("inf"))


def test_threads(threads, monkeypatch):
    finding = only(doctor._threads)
    assert fine(finding) and "4 to train on" in finding.state and "no limit is set" in finding.state
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert fine(only(doctor._threads)) and "2 to train on" in only(doctor._threads).state


@pytest.mark.parametrize("value", ["two", "0", "-1", "1.5"])
def test_threads_that_are_no_number(threads, monkeypatch, value):
    monkeypatch.setenv("NUMBA_NUM_THREADS", value)
    assert only(doctor._threads).wrong and "NUMBA_NUM_THREADS" in only(doctor._threads).advice


def test_more_threads_than_cores(threads, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    assert note(only(doctor._threads)) and "4 at most" in only(doctor._threads).advice


def test_more_threads_than_a_container_gets(threads, monkeypatch):
    """As on Binder, which grants one core and shows all."""
    monkeypatch.setattr(doctor, "_cpu_share", lambda: 1.5)
    finding = only(doctor._threads)
    assert note(finding) and "OMP_NUM_THREADS=1" in finding.advice
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert fine(only(doctor._threads))


def test_share_of_a_container(tmp_path):
    assert doctor._cpu_share(tmp_path) == float("inf")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert doctor._cpu_share(tmp_path) == float("inf")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert doctor._cpu_share(tmp_path) == 1.5


def test_compiler_switched_off(threads, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert only(doctor._threads, "compiler").wrong
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert fine(only(doctor._threads))


def test_device(monkeypatch):
    monkeypatch.setattr(hardware, "_has_gpu", lambda: False)
    monkeypatch.setattr(hardware, "_has_driver", lambda: False)
    assert fine(only(doctor._device)) and "processor" in only(doctor._device).state
    monkeypatch.setattr(hardware, "_has_driver", lambda: True)
    assert note(only(doctor._device)) and "CUDA" in only(doctor._device).advice


@pytest.mark.parametrize(("total", "free", "kind"), [(8e9, 2e9, fine), (8e9, 1e9, note), (1e9, 9e8, None)])
def test_memory(monkeypatch, total, free, kind):
    monkeypatch.setattr(doctor, "_memory_bytes", lambda: (total, free))
    finding = only(doctor._memory)
    assert finding.wrong if kind is None else kind(finding)


def test_memory_of_a_container(tmp_path, monkeypatch):
    machine = SimpleNamespace(total=8e9, available=5e9)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: machine)
    assert doctor._memory_bytes(tmp_path) == (8e9, 5e9)
    (tmp_path / "memory.current").write_text("500000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor._memory_bytes(tmp_path) == (8e9, 5e9)
    (tmp_path / "memory.max").write_text("2000000000\n")
    assert doctor._memory_bytes(tmp_path) == (2e9, 1.5e9)


def test_disk(monkeypatch, store):
    assert fine(only(doctor._disk))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e8))
    assert only(doctor._disk).wrong


# ---- The whole ------------------------------------------------------------------------------------------------------


def test_every_look_is_made_without_a_network(monkeypatch):
    """Even if one of them fails, which is then a finding."""

    def refuse(*_):
        raise AssertionError("hmm doctor asks the network")

    def fails():
        raise ZeroDivisionError("by zero")

    fails.__name__ = "_fails"
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(doctor, "_memory", fails)
    found = {finding.topic: finding for finding in doctor.examine()}
    assert found["fails"].wrong and "ZeroDivisionError: by zero" in found["fails"].state
    looked_at = {"Python", "hmm_utils", "packages", "kernel", "MNIST", "results", "store", "threads", "device", "disk"}
    assert looked_at <= found.keys()


def test_homes_are_not_shown(monkeypatch):
    where = Path.home() / "some" / "store"
    monkeypatch.setenv("HMM_STORE", str(where))
    (finding,) = [one for one in doctor.examine() if one.topic == "store"]
    assert finding.state == f"{Path('~', 'some', 'store')}, not there yet"


SOME = [
    Finding("Python", "3.11"),
    Finding("MNIST", "not here", "hmm data"),
    Finding("disk", "full " * 30, "make room", wrong=True),
]


@pytest.mark.parametrize(
    ("findings", "code", "end"),
    [
        (SOME[:1], 0, "Nothing is wrong."),
        (SOME[:2], 0, "Nothing is wrong; 1 to know of (·)."),
        (SOME, 1, "1 thing is wrong (!); 1 to know of (·)."),
    ],
)
def test_exit_code_and_text(hmm, monkeypatch, findings, code, end):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    returned, out, err = hmm("doctor")
    assert (returned, err) == (code, "") and out.endswith(f"\n\n{end}\n")
    assert out.startswith("  Python  3.11\n") and max(map(len, out.splitlines())) <= 80
    assert ("· MNIST   not here\n          → hmm data\n" in out) == (len(findings) > 1)
    assert ("! disk    full" in out) == (len(findings) > 2)
    returned, out, _ = hmm("doctor", "--json")
    assert returned == code and [Finding(**entry) for entry in json.loads(out)] == findings


def test_doctor_without_what_it_needs(hmm, monkeypatch):
    monkeypatch.delattr("hmm_utils.app.doctor", raising=False)
    monkeypatch.setitem(sys.modules, "hmm_utils.app.doctor", None)
    code, out, err = hmm("doctor")
    assert (code, out) == (1, "") and "pip install -r requirements.lock" in err and err.count("\n") == 1
