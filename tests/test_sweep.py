"""A sweep computes each draw once, keeps it, survives being killed, and shares its store."""

import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from helpers.experiments import check_same, counted, run_cached, tiny, tiny_plan

from hmm_utils import files
from hmm_utils.data import mnist
from hmm_utils.files import DamagedFileWarning
from hmm_utils.model.networks import random_network
from hmm_utils.runs import archive, cache, experiments, sweep
from hmm_utils.sgd import block, checkpoints

# ---- What is computed -----------------------------------------------------------------------------------------------


def test_a_sweep_gives_the_results_of_run_plan(tmp_path, monkeypatch):
    """Computed or read, by name, with all draws and attributes; and nothing is computed twice."""
    plan = tiny_plan("fig3_left", "fig3_right")
    expected = experiments.run_plan(plan, progress=False)
    computed = counted(monkeypatch)
    for _ in range(2):
        found = run_cached(plan, tmp_path, workers=1)
        assert list(found) == list(plan)
        for name in plan:
            check_same(found[name], expected[name])
        assert sorted(computed) == [(name, draw) for name in sorted(plan) for draw in range(2)]
    assert {path.suffix for path in tmp_path.iterdir()} <= {".nc", ".lock"}


def test_only_what_is_missing_is_computed(tmp_path, monkeypatch):
    """More draws, or another experiment, need only the new ones; a draw that was deleted only itself."""
    plan = tiny_plan("fig3_left")
    run_cached(plan, tmp_path)
    computed = counted(monkeypatch)
    more = tiny_plan("fig3_left", n_draws=3) | tiny_plan("fig3_right", n_draws=1)
    assert [(u.name, u.draw) for u in sweep.missing(sweep.units(more, tmp_path), tmp_path)] == [
        ("fig3_left", 2),
        ("fig3_right", 0),
    ]
    run_cached(more, tmp_path)
    assert computed == [("fig3_left", 2), ("fig3_right", 0)]
    cache.path(tmp_path, sweep.units(more, tmp_path)[1].key).unlink()
    run_cached(more, tmp_path)
    assert computed[2:] == [("fig3_left", 1)]


def test_equal_content_is_computed_once(tmp_path, monkeypatch):
    """Two figures may show the same runs: they are computed once and named as each asks for them."""
    plan = tiny_plan("fig3_left")
    other = replace(plan["fig3_left"], name="fig3_right", figure="Fig. 8", profile="paper", n_draws=1)
    computed = counted(monkeypatch)
    found = run_cached(plan | {"again": other}, tmp_path)
    assert computed == [("fig3_left", 0), ("fig3_left", 1)]
    assert (found["again"].attrs["figure"], found["again"].sizes["draw"]) == ("Fig. 8", 1)
    assert found["again"].attrs["name"] == "fig3_right" and found["fig3_left"].attrs["figure"] == "Fig. 3 left"


# every field of an experiment, with another value; the first four do not decide the numbers of a draw
OTHERS = {
    "name": "x", "figure": "x", "profile": "paper", "n_draws": 9,
    "inputs": "gaussian", "task": "teacher", "activation": "relu", "layers": "first", "labels": "real", "f": "relu",
    "lr": 0.1, "time": 5.0, "init_scale": 0.5, "widths": (1, 3), "n_pairs": 1, "n_inputs": 21, "n_latent": 4,
    "teacher_width": 5, "n_test": 61, "n_times": 6, "seed": 2, "n_train": 50, "n_test_along": 30,
    "teacher_v": "ones", "teacher_activation": "relu",
}  # fmt: skip


def test_what_decides_the_numbers_is_in_the_key(monkeypatch):
    """Another value of a field gives another key, unless it is only what a run is called; so do another draw, teacher,
    engine and, for digits, other images. Equal numbers of different types are one number."""
    e, digits, taught = tiny("fig3_left"), experiments.experiment("fig1_left"), experiments.experiment("fig4")
    assert set(experiments.Experiment.__dataclass_fields__) == {*OTHERS, "data"}, "a new field must be thought of"
    same = {name for name, value in OTHERS.items() if cache.key(replace(e, **{name: value}), 0) == cache.key(e, 0)}
    assert same == {"name", "figure", "profile", "n_draws"}
    assert cache.key(replace(e, time=3, init_scale=1, seed=np.int64(1)), 0) == cache.key(e, 0)
    assert cache.key(replace(e, data="mnist"), 0) == cache.key(e, 0), "there are no images in structured inputs"
    keys = [cache.key(e, 0), cache.key(e, 1), cache.key(digits, 0), cache.key(replace(digits, data="digits"), 0)]
    keys += [cache.key(taught, 0, random_network(784, 4, rng=np.random.default_rng(seed))) for seed in (1, 2)]
    monkeypatch.setattr(block, "VERSION", block.VERSION + 1)
    assert len({*keys, cache.key(e, 0)}) == 7
    with pytest.raises(ValueError, match="fig4 has a teacher that is trained before"):
        cache.key(taught, 0)


def test_a_pretrained_teacher_is_handed_on(tmp_path):
    """Experiments of task "pretrained" get the teacher, in this process and in others, and no other experiment does."""
    plan = tiny_plan("fig4", "fig3_left", n_draws=1)
    teacher = random_network(20, 4, rng=np.random.default_rng(3))
    expected = experiments.run_plan(plan, teacher=teacher, progress=False)
    for workers in (1, 2):
        found = run_cached(plan, tmp_path / str(workers), teacher=teacher, workers=workers)
        for name in plan:
            check_same(found[name], expected[name])


def test_which_digits_are_meant(tmp_path, monkeypatch):
    """data = "auto" takes MNIST from the store or from the disk, and the small digits only if neither has it."""
    plan = tiny_plan("fig1_left", data="auto", n_train=50)

    def none():
        raise mnist.DataError("there are no images here.")

    monkeypatch.setattr(mnist, "load", none)
    monkeypatch.setattr(sweep, "_have_mnist", lambda: False)
    small = run_cached(plan, tmp_path)["fig1_left"]
    assert small.attrs["n_inputs"] == 64 and "stand in" in small.attrs["notice"]
    monkeypatch.setattr(sweep, "_have_mnist", lambda: True)
    rng = np.random.default_rng(0)
    images, digits = rng.integers(256, size=(60, 784), dtype="u1"), rng.integers(10, size=60, dtype="u1")
    monkeypatch.setattr(mnist, "load", lambda: mnist.Mnist(images, digits, images, digits))
    assert run_cached(plan, tmp_path)["fig1_left"].attrs["n_inputs"] == 784
    monkeypatch.setattr(sweep, "_have_mnist", lambda: False)
    computed = counted(monkeypatch)
    assert run_cached(plan, tmp_path)["fig1_left"].attrs["n_inputs"] == 784 and not computed


def test_profiles_that_are_archived(tmp_path, monkeypatch):
    """Runs of the paper profile go through the store and the stored figures; those of the quick one through neither."""
    monkeypatch.setenv("HMM_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(archive, "FOLDER", tmp_path / "figures")
    quick, paper = tiny("fig3_left"), tiny("fig3_right", "paper")
    plan = {"b": paper, "a": quick}
    expected = experiments.run_plan(plan, progress=False)
    computed = counted(monkeypatch)
    for _ in range(2):
        found = sweep.load_or_run(plan, progress=False)
        assert list(found) == ["b", "a"]
        check_same(found["b"], expected["b"])
        xr.testing.assert_identical(found["a"], expected["a"])
    assert computed == [("b", 0), ("b", 1), ("a", 0), ("a", 1), ("a", 0), ("a", 1)]
    assert len(list((tmp_path / "store").glob("*.nc"))) == 2
    archive.save(tmp_path / "figures", {"b": paper}, {"b": found["b"]})
    monkeypatch.setenv("HMM_STORE", str(tmp_path / "empty"))
    computed.clear()
    sweep.load_or_run({"b": paper}, progress=False)
    assert not computed
    monkeypatch.setenv("HMM_STORE", "")
    assert cache.default_folder().name == "store" and cache.default_folder().is_absolute()


# ---- Damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "flipped", "not netCDF", "renamed", "other version", "no attributes"]
)
def test_what_cannot_be_used_is_set_aside_and_computed_again(damage, tmp_path, monkeypatch):
    """A damaged file, or one that is not what its name says, is named, renamed, and its draw is computed again."""
    plan = tiny_plan("fig3_left")
    expected = run_cached(plan, tmp_path)
    first, second = (cache.path(tmp_path, unit.key) for unit in sweep.units(plan, tmp_path))
    held = first.read_bytes()
    if damage == "flipped":
        with h5py.File(first) as file:
            place = file["W"].id.get_chunk_info(0).byte_offset + 20
        first.write_bytes(held[:place] + bytes([held[place] ^ 255]) + held[place + 1 :])
    elif damage == "renamed":
        first.write_bytes(second.read_bytes())
    elif damage in ("other version", "no attributes"):
        with h5py.File(first, "r+") as file:
            del file.attrs["engine"]
            if damage == "other version":
                file.attrs["engine"] = block.VERSION + 1
    else:
        first.write_bytes({"cut": held[: len(held) // 2], "empty": b"", "not netCDF": b"x" * 5000}[damage])
    held = first.read_bytes()
    computed = counted(monkeypatch)
    with pytest.warns(DamagedFileWarning, match=rf"^{first.name} .*: it was renamed to .* and is computed again\.$"):
        found = run_cached(plan, tmp_path)
    assert computed == [("fig3_left", 0)]
    assert first.with_name(first.name + ".damaged-0").read_bytes() == held
    for name in expected:
        xr.testing.assert_equal(found[name], expected[name])


def test_a_full_disk_is_reported_and_leaves_nothing_half(tmp_path, monkeypatch):
    """Where a result cannot be written the sweep ends with the reason; what was stored before is still there."""
    plan = tiny_plan("fig3_left")
    save, written = xr.Dataset.to_netcdf, []

    def full(self, place, **how):
        if written:
            Path(place).write_bytes(b"half a file")
            raise OSError(28, "No space left on device")
        written.append(place)
        return save(self, place, **how)

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="No space left"):
        run_cached(plan, tmp_path, workers=1)
    assert [path.name for path in tmp_path.glob("*.nc")] and not list(tmp_path.glob(".*.nc.*"))
    monkeypatch.undo()
    computed = counted(monkeypatch)
    run_cached(plan, tmp_path)
    assert len(computed) == 1


def test_files_hold_what_was_run(tmp_path):
    """A file has no pickles, is compressed single precision, and says with what, when and where it was made."""
    plan = tiny_plan("fig3_left", n_draws=1)
    run_cached(plan, tmp_path)
    (unit,) = sweep.units(plan, tmp_path)
    with xr.open_dataset(cache.path(tmp_path, unit.key), engine="h5netcdf") as file:
        assert {v.dtype for v in file.data_vars.values()} == {np.dtype("f4")}
        assert all(v.encoding["zlib"] and v.encoding["fletcher32"] for v in file.data_vars.values())
        at = file.attrs
    assert at["key"] == unit.key and at["engine"] == block.VERSION and at["seconds"] >= 0
    assert "numpy" in at["versions"] and "cores" in at["machine"] and at["date"].endswith("+00:00")
    assert at["lr"] == 0.2 and list(at["widths"]) == [1, 2]


# ---- Killed, and side by side ---------------------------------------------------------------------------------------

LONG = dict(n_inputs=100, widths=[1, 2], n_pairs=2, n_draws=2, time=30_000.0, n_times=5, n_test=60)
SCRIPT = """
import sys
from pathlib import Path
from hmm_utils import experiments, sweep, training
training._SAVE_EVERY = 0.05
if __name__ == "__main__":
    plan = {{"fig3_right": experiments.experiment("fig3_right", **{settings!r})}}
    sweep.run_cached(plan, Path(sys.argv[1]), workers=int(sys.argv[2]), progress=False)
    print("finished")
"""


def start(folder, workers, tmp_path, **more):
    """A sweep in a process group of its own."""
    script = tmp_path / "sweep_script.py"
    script.write_text(SCRIPT.format(settings=LONG | more))
    command = [sys.executable, str(script), str(folder), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_sweep_goes_on_where_it_was(workers, tmp_path, monkeypatch):
    """kill -9 in the middle of a draw: the next sweep starts from the checkpoint and gives the same numbers."""
    folder = tmp_path / "store"
    process = start(folder, workers, tmp_path)
    until(lambda: list(folder.glob(".*.state")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    states = list(folder.glob(".*.state"))
    assert states, "it was killed before it was finished"
    reached = [int(files.read_arrays(state)["done"]) for state in states]
    assert all(0 < done < 3_000_000 for done in reached)
    plan = {"fig3_right": experiments.experiment("fig3_right", **LONG)}
    started = []
    load = checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda *given: started.append(found := load(*given)) or found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run_cached(plan, folder, workers=1)
    assert sorted(found[0] for found in started if found) == sorted(reached)
    check_same(result["fig3_right"], experiments.run_plan(plan, progress=False)["fig3_right"])
    assert not list(folder.glob(".*.state")) and not list(folder.glob(".*.nc.*"))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_two_sweeps_share_the_work(tmp_path):
    """Two at once on one store: no draw is computed twice, both end, and both find everything."""
    folder, settings = tmp_path / "store", dict(n_draws=4, time=3000.0)
    both = [start(folder, 1, tmp_path, **settings) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=240)
        assert (process.returncode, out) == (0, "finished\n"), err
    plan = {"fig3_right": experiments.experiment("fig3_right", **(LONG | settings))}
    assert not sweep.missing(sweep.units(plan, folder), folder)
    assert len(list(folder.glob("*.nc"))) == 4


def test_what_another_sweep_computes_is_waited_for(tmp_path, monkeypatch):
    """A locked draw is left to whoever holds the lock, and read when it is there."""
    plan = tiny_plan("fig3_left")
    run_cached(plan, tmp_path / "other")
    first = sweep.units(plan, tmp_path)[0]
    tmp_path.joinpath("store").mkdir()
    folder = tmp_path / "store"
    lock = sweep.lock(folder, first.key)
    lock.acquire()
    computed, looked = counted(monkeypatch), []

    def sleep(_):
        looked.append(None)
        if len(looked) == 2:  # the other one is done
            cache.path(folder, first.key).write_bytes(cache.path(tmp_path / "other", first.key).read_bytes())
            lock.release()

    monkeypatch.setattr(sweep.time, "sleep", sleep)
    run_cached(plan, folder, workers=1)
    assert computed == [("fig3_left", 1)] and len(looked) == 2


def test_a_worker_that_dies_is_replaced(tmp_path, monkeypatch):
    """A draw whose process died is tried again; one that kills its process every time is reported."""
    plan = tiny_plan("fig3_left", n_draws=3)
    marker = tmp_path / "died"
    monkeypatch.setenv("HMM_TEST_MARKER", str(marker))
    monkeypatch.setattr(sweep, "_compute", _dies_once)
    found = run_cached(plan, tmp_path / "store", workers=2)
    assert marker.exists() and found["fig3_left"].sizes["draw"] == 3
    monkeypatch.setattr(sweep, "_compute", _dies)
    with pytest.raises(RuntimeError, match=r"draw \d of fig3_left died 3 times"):
        run_cached(tiny_plan("fig3_left", seed=5), tmp_path / "store", workers=2)


def test_a_failing_draw_is_reported(tmp_path):
    """What a draw raises comes through, from this process and from others."""
    plan = tiny_plan("fig1_left", n_train=10**6)
    for workers in (1, 2):
        with pytest.raises(ValueError, match=r"n_train must be between 1 and 1347 .*, got 1000000"):
            run_cached(plan, tmp_path / str(workers), workers=workers)


_real_compute = sweep._compute


def _dies_once(*given):
    marker = Path(os.environ["HMM_TEST_MARKER"])
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return _real_compute(*given)
    os._exit(9)


def _dies(*_):
    os._exit(9)
