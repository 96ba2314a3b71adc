"""`hmm doctor`: each problem is found, reported in one line with advice, and decides the exit code."""

import json
import shutil
import socket
import sys
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import h5py
import pytest

from hmm_utils.app import doctor
from hmm_utils.app.doctor import Finding
from hmm_utils.data import mnist
from hmm_utils.runs import archive, measurements, paper
from hmm_utils.sgd import block, hardware

ROOT = Path(__file__).resolve().parent.parent


def only(check):
    """(kind, text) of the one finding of a check; its kind is fine, note or wrong."""
    (finding,) = check()
    kind = ("wrong" if finding.wrong else "note") if finding.advice else "fine"
    return kind, f"{finding.state} → {finding.advice}"


# ---- Software and data ----------------------------------------------------------------------------------------------


def test_versions(monkeypatch):
    monkeypatch.setattr(doctor, "_SHOWN", ["numpy", "no-such-package"])
    python, package, others = (finding.state for finding in doctor._versions())
    assert sys.executable in python and doctor.hmm_utils.__version__ in package
    assert others == f"numpy {doctor.metadata.version('numpy')}, no-such-package missing"


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """An empty folder for MNIST."""
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("HMM_OFFLINE", raising=False)
    return tmp_path


@pytest.mark.parametrize(("missing", "kind", "text"), [(0, "fine", "hashes correct"), (1, "wrong", "1 of 4 files")])
def test_images(digits, monkeypatch, missing, kind, text):
    found = dict.fromkeys(mnist.FILES, "") | dict.fromkeys(list(mnist.FILES)[:missing], "missing")
    monkeypatch.setattr(mnist, "problems", lambda: found)
    assert only(doctor._images)[0] == kind and text in only(doctor._images)[1]


def test_no_images(digits, monkeypatch):
    """The advice is one that can be followed: a network is needed, and a folder."""
    kind, text = only(doctor._images)
    assert kind == "note" and "8×8" in text and "→ hmm data" in text
    monkeypatch.setenv("HMM_OFFLINE", "1")
    assert "→ unset HMM_OFFLINE" in only(doctor._images)[1]
    monkeypatch.setenv("HMM_DATA_DIR", str(digits / "nowhere"))
    kind, text = only(doctor._images)
    assert kind == "wrong" and "nowhere" in text


def test_images_damaged(digits):
    """Bytes that are not the digits, with the sentence that says what to delete."""
    for name in mnist.FILES:
        (digits / name).write_bytes(b"no digits")
    assert ["delete it" in finding.advice for finding in doctor._images() if finding.wrong] == [True] * 4


OLDER = {**measurements.MEASUREMENTS, "t1": replace(measurements.MEASUREMENTS["t1"], version=-1)}


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A copy of two stored figures and of all measurements, and a plan of the figures' runs."""
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("fig2.nc", "fig4.nc", "intrinsic_dimension.nc", "t1.nc", "t2.nc"):
        shutil.copy(ROOT / "results" / name, folder)
    plan = {name: e for name, e in paper.plan().items() if archive.figure_file(e) in ("fig2.nc", "fig4.nc")}
    monkeypatch.setattr(archive, "FOLDER", folder)
    monkeypatch.setattr(paper, "plan", lambda: plan)
    return folder


def plan_fig4(folder, monkeypatch, **change):
    """Plans a figure with another value than it was stored with."""
    plan = paper.plan()
    monkeypatch.setattr(paper, "plan", lambda: plan | {"fig4": replace(plan["fig4"], **change)})


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda folder, patch: None, "fine", ""),
        (lambda folder, patch: (folder / "fig4.nc").unlink(), "wrong", "fig4_pretraining is missing"),
        (lambda folder, patch: patch.setattr(archive, "_stored_teacher", Mock(return_value=None)), "note", "9 of 11"),
        (lambda folder, patch: shutil.rmtree(folder), "wrong", ""),
        (lambda folder, patch: patch.setattr(block, "VERSION", -1), "note", "0 of"),
        (lambda folder, patch: (folder / "t2.nc").unlink(), "note", "; incomplete or outdated: t2 →"),
        (lambda folder, patch: patch.setattr(measurements, "MEASUREMENTS", OLDER), "note", "or outdated: t1 →"),
        *(
            (partial(plan_fig4, **{name: value}), "note", "; incomplete or outdated: fig4 →")
            for name, value in dict(n_draws=99, n_test=7, seed=99, time=1.0, widths=(1,)).items()
        ),
    ],
    ids=range(12),
)
def test_results(stored, monkeypatch, change, kind, text):
    change(stored, monkeypatch)
    found = only(doctor._results)
    assert found[0] == kind and text in found[1]


@pytest.mark.parametrize("how", ["cut", "bit", "other"])
def test_results_damaged(stored, how):
    """A file that is cut off, has one wrong bit, or is something else; nothing is renamed or repaired."""
    place = stored / "fig2.nc"
    whole = place.read_bytes()
    with h5py.File(place) as file:
        chunk = file["fig2_left_iid, first/eps_g_mse"].id.get_chunk_info(0)
    middle = chunk.byte_offset + chunk.size // 2
    bit = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    damaged = {"cut": whole[:middle], "bit": bit, "other": b"no netCDF"}[how]
    place.write_bytes(damaged)
    kind, text = only(doctor._results)
    assert kind == "wrong" and "fig2.nc is damaged" in text and "git checkout" in text
    assert place.read_bytes() == damaged and len(list(stored.iterdir())) == 5


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("HMM_STORE", str(folder))
    return folder


def test_cache(cache):
    assert only(doctor._cache) == ("fine", f"{cache}, which does not exist yet → ")
    cache.mkdir()
    for name in ("one.nc", ".one.state"):
        (cache / name).write_bytes(bytes(3_000_000))
    assert only(doctor._cache) == ("fine", f"{cache}, 1 draws, 3 MB → ")
    shutil.rmtree(cache)
    cache.touch()
    kind, text = only(doctor._cache)
    assert kind == "wrong" and "HMM_STORE" in text


# ---- Machine --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "share", "kind", "text"),
    [
        ({}, 9, "fine", "no limit is set"),
        ({"OMP_NUM_THREADS": "2"}, 9, "fine", "2 to train on"),
        *(({"NUMBA_NUM_THREADS": value}, 9, "wrong", "NUMBA_NUM_THREADS") for value in ("two", "0", "-1", "1.5")),
        ({"OPENBLAS_NUM_THREADS": "5"}, 9, "note", "4 at most"),
        # as on Binder, which grants one core and shows all
        ({}, 1.5, "note", "OMP_NUM_THREADS=1"),
        ({"OMP_NUM_THREADS": "1"}, 1.5, "fine", "1 to train on"),
    ],
)
def test_threads(monkeypatch, environment, share, kind, text):
    for name in doctor._THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    monkeypatch.setattr(doctor, "_cpu_share", lambda: share)
    found = only(doctor._threads)
    assert found[0] == kind and text in found[1]


def test_share_of_a_container(tmp_path):
    assert doctor._cpu_share(tmp_path) == inf
    for text, share in (("max 100000", inf), ("150000 100000", 1.5)):
        (tmp_path / "cpu.max").write_text(f"{text}\n")
        assert doctor._cpu_share(tmp_path) == share


@pytest.mark.parametrize(("driver", "kind", "text"), [(False, "fine", "processor"), (True, "note", "CUDA")])
def test_device(monkeypatch, driver, kind, text):
    monkeypatch.setattr(hardware, "_has_gpu", lambda: False)
    monkeypatch.setattr(hardware, "_has_driver", lambda: driver)
    assert only(doctor._device)[0] == kind and text in only(doctor._device)[1]


@pytest.mark.parametrize(("total", "free", "kind"), [(8e9, 2e9, "fine"), (8e9, 1e9, "note"), (1e9, 9e8, "wrong")])
def test_memory(monkeypatch, total, free, kind):
    monkeypatch.setattr(doctor, "_memory_bytes", lambda: (total, free))
    assert only(doctor._memory)[0] == kind


def test_memory_of_a_container(tmp_path, monkeypatch):
    machine = SimpleNamespace(total=8e9, available=5e9)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: machine)
    assert doctor._memory_bytes(tmp_path) == (8e9, 5e9)
    (tmp_path / "memory.current").write_text("500000000\n")
    for limit, memory in (("max", (8e9, 5e9)), ("2000000000", (2e9, 1.5e9))):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert doctor._memory_bytes(tmp_path) == memory


def test_disk(monkeypatch, cache):
    assert only(doctor._disk)[0] == "fine"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e8))
    assert only(doctor._disk)[0] == "wrong"


# ---- The whole ------------------------------------------------------------------------------------------------------


def test_every_check_is_made_without_a_network(monkeypatch):
    """Even if one of them fails, which is then a finding."""
    monkeypatch.setattr(socket.socket, "connect", Mock(side_effect=AssertionError("hmm doctor asks the network")))
    monkeypatch.setattr(doctor, "_memory", Mock(side_effect=ZeroDivisionError("by zero"), __name__="_fails"))
    found = {finding.topic: finding for finding in doctor.examine()}
    assert found["fails"].wrong and "ZeroDivisionError: by zero" in found["fails"].state
    checked = {"Python", "hmm_utils", "packages", "MNIST", "results", "cache", "threads", "device", "disk"}
    assert checked <= found.keys()


def test_homes_are_not_shown(monkeypatch):
    monkeypatch.setenv("HMM_STORE", str(Path.home() / "some" / "store"))
    (state,) = (finding.state for finding in doctor.examine() if finding.topic == "cache")
    assert state == f"{Path('~', 'some', 'store')}, which does not exist yet"


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
    assert max(map(len, out.splitlines())) <= 80
    shown = ["  Python  3.11\n", "· MNIST   not here\n          → hmm data\n", "! disk    full"]
    assert [line in out for line in shown] == [i < len(findings) for i in range(3)]
    returned, out, _ = hmm("doctor", "--json")
    assert returned == code and [Finding(**entry) for entry in json.loads(out)] == findings


def test_doctor_without_what_it_needs(hmm, monkeypatch):
    monkeypatch.delattr("hmm_utils.app.doctor", raising=False)
    monkeypatch.setitem(sys.modules, "hmm_utils.app.doctor", None)
    code, out, err = hmm("doctor")
    assert (code, out) == (1, "") and "pip install -r requirements.lock" in err and err.count("\n") == 1
