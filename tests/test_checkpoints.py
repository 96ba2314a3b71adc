"""An interrupted run continues with the numbers of one that was not interrupted; files are whole or not there."""

import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import xarray as xr
from helpers.sgd import made, quietly

from hmm_utils import files
from hmm_utils.files import DamagedFileWarning
from hmm_utils.model.networks import random_network
from hmm_utils.sgd import checkpoints, training
from hmm_utils.sgd.backends import CpuBackend


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(params=["cpu", "cpu:0"], ids=["blocks", "torch"])
def device(request, monkeypatch):
    if request.param != "cpu":
        pytest.importorskip("torch")
        monkeypatch.setattr(training, "resolve", lambda name: request.param)
    return request.param


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(training, "_INDEX_CHUNK", 32)


def train(path=None, *, activation="erf", lr=0.3, time=12, widths=(3, 1), layers="both"):
    dataset = made(np.random.default_rng(1), N=11, P=80, n_test=200, labels="real")
    return quietly(
        dataset, widths=widths, n_pairs=2, lr=lr, time=time, activation=activation, layers=layers, n_test_along=50,
        evaluate_at=[0, 1, 2, 5, 9], checkpoint=path,
    )  # fmt: skip


@pytest.fixture
def kill(tmp_path, monkeypatch):
    """Trains no further than n chunks of steps, saving after each, and returns the path of the state."""

    def kill(n, **how):
        # the place where both backends pass by
        take, calls = training._Stream.take, []

        def counted(stream, size):
            calls.append(size)
            if len(calls) > 2 * n:
                raise Killed
            return take(stream, size)

        with monkeypatch.context() as patched:
            patched.setattr(training, "_SAVE_EVERY", -1)
            patched.setattr(training._Stream, "take", counted)
            with pytest.raises(Killed):
                train(tmp_path / "state", **how)
        return tmp_path / "state"

    return kill


@pytest.mark.parametrize("layers", ["both", "first"])
@pytest.mark.parametrize("chunks", [1, 2, 3, 5, 7])
def test_a_killed_run_gives_the_same_numbers(device, chunks, layers, kill, tmp_path):
    """Killed after any number of steps, before, at and after measurements: bit for bit the uninterrupted result."""
    path = kill(chunks, layers=layers)
    xr.testing.assert_identical(train(path, layers=layers), train(layers=layers))
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_goes_on_does_not_start_again(kill, monkeypatch):
    """What a checkpoint holds is not trained again."""
    trained, advance = [], CpuBackend.advance
    monkeypatch.setattr(CpuBackend, "advance", lambda self, i: trained.append(len(i[0])) or advance(self, i))
    path = kill(4)
    before = sum(trained)
    train(path)
    assert before > 0 and sum(trained) == 12 * 11


@pytest.mark.filterwarnings("ignore::hmm_utils.sgd.training.DivergenceWarning")
def test_diverged_students_stay_so(device, kill):
    """A student that diverged before the checkpoint is NaN after it, and is not named again; on a device, which names
    students at the end, it has not been named before."""
    how = {"activation": "quadratic", "lr": 0.25, "widths": (2, 5)}
    expected = train(**how)
    lost = np.isnan(expected.eps_g_mse)
    assert lost.any() and not lost.all(), "some are to diverge, not all"
    path = kill(7, **how)
    state = np.load(path)
    measured = max(int(key.split("/")[1]) for key in state if key.startswith("record/"))
    named = [f"K={(2, 5)[u // 2]}, init {u % 2}, student {s + 1}"
             for _, s, u in np.argwhere(~state[f"record/{measured}/students/alive"])]  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        xr.testing.assert_identical(train(path, **how), expected)
    again = [name for name in named if any(name in str(w.message) for w in caught)]
    assert named and again == ([] if device == "cpu" else named)


def test_nothing_is_saved_without_being_asked_for(tmp_path, monkeypatch):
    """Saving happens only with a path, and not more often than it should."""
    monkeypatch.chdir(tmp_path)
    train()
    train(tmp_path / "state")
    assert list(tmp_path.iterdir()) == [], "half a minute has not passed"


def test_state_is_saved_as_given(tmp_path):
    """`load` returns what `save` was given."""
    rng = np.random.default_rng(2)
    pairs = [tuple([random_network(4, K, rng=rng) for K in (2, 1)] for _ in range(2)) for _ in range(3)]
    steps, alive = np.array([0, 3, 8]), rng.random((3, 2, 2)) > 0.5
    records = [{"test": {"mse": rng.random((3, 2, 2))}, "gauss": {"12_mse": rng.random((3, 2))}} for _ in range(12)]
    checkpoints.save(tmp_path / "a", steps, 5, pairs, alive, records)
    done, again, lives, measured = checkpoints.load(tmp_path / "a", steps, pairs)

    def weights(pairs):
        return [[[(n.W, n.v, n.activation.name) for n in fleet] for fleet in pair] for pair in pairs]

    assert done == 5
    np.testing.assert_array_equal(lives, alive)
    np.testing.assert_equal(weights(again), weights(pairs))
    np.testing.assert_equal(measured, records)
    assert checkpoints.load(tmp_path / "none", steps, pairs) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "no zip", "pickle", "other steps", "other widths"])
def test_what_cannot_be_used_is_set_aside(damage, tmp_path, monkeypatch):
    """A damaged state, or that of another run, is renamed with a warning, and training starts again."""
    expected, path = train(), tmp_path / "state"
    with monkeypatch.context() as patched:
        patched.setattr(training, "_SAVE_EVERY", -1)
        train(path, time=11 if damage == "other steps" else 12, widths=(3, 2) if damage == "other widths" else (3, 1))
    held = path.read_bytes()
    middle = held.index(b"W.npy") + 300  # among the weights
    if damage == "pickle":
        with open(path, "wb") as file:
            np.savez(file, steps=np.array([object()]))
        held = path.read_bytes()
    else:
        held = {
            "cut": held[:middle],
            "empty": b"",
            "flipped": held[:middle] + bytes([held[middle] ^ 255]) + held[middle + 1 :],
            "no zip": b"not a zip file",
        }.get(damage, held)
        path.write_bytes(held)
    with pytest.warns(
        DamagedFileWarning, match=r"^state .*: it was renamed to state\.damaged-0 and is computed again\.$"
    ):
        xr.testing.assert_identical(train(path), expected)
    assert (tmp_path / "state.damaged-0").read_bytes() == held and not path.exists()
    path.write_bytes(b"again")
    with pytest.warns(DamagedFileWarning, match=r"state\.damaged-1"):
        train(path)


# ---- Files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    """When writing fails, the old file is still there and nothing else is."""
    path = tmp_path / "deep" / "file"
    files.replace(path, lambda aside: aside.write_text("old"))

    def half(aside):
        aside.write_text("half of")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.replace(path, half)
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    files.replace(path, lambda aside: aside.write_text("new"))
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path):
    """A process that is killed while it writes over and over leaves a file that can be read."""
    path = tmp_path / "arrays"
    code = f"""
import numpy as np
from pathlib import Path
from hmm_utils.files import write_arrays
n = 0
while True:
    n += 1
    write_arrays(Path({str(path)!r}), {{"a": np.full(200_000, n), "b": np.array(n)}})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(20):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read = files.read_arrays(path)
            assert np.all(read["a"] == read["b"])
    finally:
        process.kill()
        process.wait()
    read = files.read_arrays(path)
    assert np.all(read["a"] == read["b"])


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission"):
        files.write_arrays(tmp_path / "a", {"a": np.zeros(1)})
