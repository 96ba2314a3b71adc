"""`hmm doctor`: each problem is found, reported in one line with advice, and decides the exit code."""

import json
import shutil
import socket
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest

from hmm_utils.app import doctor
from hmm_utils.app.doctor import Finding
from hmm_utils.data import mnist
from hmm_utils.runs import archive, paper
from hmm_utils.sgd import block, hardware

ROOT = Path(__file__).resolve().parent.parent


def only(check):
    """The one finding of a check."""
    (finding,) = check()
    return finding


def fine(finding):
    return not finding.advice and not finding.wrong


def note(finding):
    return bool(finding.advice) and not finding.wrong


def wrong(finding):
    return bool(finding.advice) and finding.wrong


# ---- Software and data ----------------------------------------------------------------------------------------------


def test_versions(monkeypatch):
    monkeypatch.setattr(doctor, "_SHOWN", ["numpy", "no-such-package"])
    python, package, others = doctor._versions()
    assert sys.executable in python.state and doctor.hmm_utils.__version__ in package.state
    assert f"numpy {doctor.metadata.version('numpy')}, no-such-package missing" == others.state


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """An empty folder for MNIST."""
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("HMM_OFFLINE", raising=False)
    return tmp_path


@pytest.mark.parametrize(("missing", "kind", "text"), [(0, fine, "hashes correct"), (1, wrong, "1 of 4 files")])
def test_images(digits, monkeypatch, missing, kind, text):
    found = dict.fromkeys(mnist.FILES, "") | dict.fromkeys(list(mnist.FILES)[:missing], "missing")
    monkeypatch.setattr(mnist, "problems", lambda: found)
    assert kind(only(doctor._images)) and text in only(doctor._images).state


def test_no_images(digits, monkeypatch):
    """The advice is one that can be followed: a network is needed, and a folder."""
    assert note(only(doctor._images)) and "8×8" in only(doctor._images).state
    assert only(doctor._images).advice.startswith("hmm data")
    monkeypatch.setenv("HMM_OFFLINE", "1")
    assert only(doctor._images).advice.startswith("unset HMM_OFFLINE")
    monkeypatch.setenv("HMM_DATA_DIR", str(digits / "nowhere"))
    assert wrong(only(doctor._images)) and "nowhere" in only(doctor._images).state


def test_images_damaged(digits):
    """Bytes that are not the digits, with the sentence that says what to delete."""
    for name in mnist.FILES:
        (digits / name).write_bytes(b"no digits")
    found = list(doctor._images())
    assert len(found) == 4 and all(wrong(finding) and "delete it" in finding.advice for finding in found)


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
    assert fine(only(doctor._results))


def test_results_missing(stored):
    (stored / "fig4.nc").unlink()
    finding = only(doctor._results)
    assert wrong(finding) and "fig4_pretraining is missing" in finding.state and "--profile paper" in finding.advice


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
    finding = only(doctor._results)
    assert wrong(finding) and "fig2.nc is damaged" in finding.state and "git checkout" in finding.advice
    assert place.read_bytes() == damaged and len(list(stored.iterdir())) == 2


@pytest.mark.parametrize("change", [{"n_draws": 99}, {"n_test": 7}, {"seed": 99}, {"time": 1.0}, {"widths": (1,)}])
def test_outdated_results(stored, monkeypatch, change):
    """A run that is planned with another value than it was stored with."""
    plan = paper.plan()
    monkeypatch.setattr(paper, "plan", lambda: plan | {"fig4": replace(plan["fig4"], **change)})
    finding = only(doctor._results)
    assert note(finding) and finding.state.endswith("; incomplete or outdated: fig4")


def test_results_of_another_version(stored, monkeypatch):
    monkeypatch.setattr(block, "VERSION", -1)
    assert note(only(doctor._results)) and only(doctor._results).state.startswith("0 of")


def test_no_results(stored, monkeypatch):
    monkeypatch.setattr(archive, "FOLDER", stored / "nowhere")
    assert only(doctor._results).wrong


def test_the_projects_own_results_are_readable():
    """Some may lag behind what is planned; none may be damaged or missing."""
    state = archive.examine(archive.FOLDER, paper.plan())
    assert state.n_runs > 0 and not state.damaged and not state.missing


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("HMM_STORE", str(folder))
    return folder


def test_cache(cache):
    assert fine(only(doctor._cache)) and "does not exist yet" in only(doctor._cache).state
    cache.mkdir()
    (cache / "one.nc").write_bytes(bytes(3_000_000))
    (cache / ".one.state").write_bytes(bytes(3_000_000))
    assert fine(only(doctor._cache)) and only(doctor._cache).state == f"{cache}, 1 draws, 3 MB"
    shutil.rmtree(cache)
    cache.touch()
    assert wrong(only(doctor._cache)) and "HMM_STORE" in only(doctor._cache).advice


# ---- Machine --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "share", "kind", "text"),
    [
        ({}, 9, fine, "no limit is set"),
        ({"OMP_NUM_THREADS": "2"}, 9, fine, "2 to train on"),
        *(({"NUMBA_NUM_THREADS": value}, 9, wrong, "NUMBA_NUM_THREADS") for value in ("two", "0", "-1", "1.5")),
        ({"OPENBLAS_NUM_THREADS": "5"}, 9, note, "4 at most"),
        # as on Binder, which grants one core and shows all
        ({}, 1.5, note, "OMP_NUM_THREADS=1"),
        ({"OMP_NUM_THREADS": "1"}, 1.5, fine, "1 to train on"),
    ],
)
def test_threads(monkeypatch, environment, share, kind, text):
    for name in doctor._THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    monkeypatch.setattr(doctor, "_cpu_share", lambda: share)
    finding = only(doctor._threads)
    assert kind(finding) and text in finding.state + finding.advice


@pytest.mark.parametrize(("text", "share"), [(None, inf), ("max 100000", inf), ("150000 100000", 1.5)])
def test_share_of_a_container(tmp_path, text, share):
    if text:
        (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert doctor._cpu_share(tmp_path) == share


def test_device(monkeypatch):
    monkeypatch.setattr(hardware, "_has_gpu", lambda: False)
    monkeypatch.setattr(hardware, "_has_driver", lambda: False)
    assert fine(only(doctor._device)) and "processor" in only(doctor._device).state
    monkeypatch.setattr(hardware, "_has_driver", lambda: True)
    assert note(only(doctor._device)) and "CUDA" in only(doctor._device).advice


@pytest.mark.parametrize(("total", "free", "kind"), [(8e9, 2e9, fine), (8e9, 1e9, note), (1e9, 9e8, wrong)])
def test_memory(monkeypatch, total, free, kind):
    monkeypatch.setattr(doctor, "_memory_bytes", lambda: (total, free))
    assert kind(only(doctor._memory))


@pytest.mark.parametrize(("limit", "memory"), [("max", (8e9, 5e9)), ("2000000000", (2e9, 1.5e9))])
def test_memory_of_a_container(tmp_path, monkeypatch, limit, memory):
    machine = SimpleNamespace(total=8e9, available=5e9)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: machine)
    assert doctor._memory_bytes(tmp_path) == (8e9, 5e9)
    (tmp_path / "memory.current").write_text("500000000\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert doctor._memory_bytes(tmp_path) == memory


def test_disk(monkeypatch, cache):
    assert fine(only(doctor._disk))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e8))
    assert wrong(only(doctor._disk))


# ---- The whole ------------------------------------------------------------------------------------------------------


def test_every_check_is_made_without_a_network(monkeypatch):
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
    checked = {"Python", "hmm_utils", "packages", "MNIST", "results", "cache", "threads", "device", "disk"}
    assert checked <= found.keys()


def test_homes_are_not_shown(monkeypatch):
    where = Path.home() / "some" / "store"
    monkeypatch.setenv("HMM_STORE", str(where))
    (finding,) = [one for one in doctor.examine() if one.topic == "cache"]
    assert finding.state == f"{Path('~', 'some', 'store')}, which does not exist yet"


SOME = [
    Finding("Python", "3.11"),
    Finding("MNIST", "not here", "hmm data"),
    Finding("disk", "full " * 30, "make room", wrong=True),
]


@pytest.mark.parametrize(
    ("findings", "code", "end"),
    [
        (SOME[:1], 0, "No problems found."),
        (SOME[:2], 0, "No problems found; 1 note (·)."),
        (SOME, 1, "1 problem (!); 1 note (·)."),
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
