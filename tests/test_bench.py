"""The benchmark measures what it says and prints all of it; how long anything takes is not tested."""

import json
from dataclasses import replace
from math import isfinite

import numpy as np
import pytest

from hmm_utils.model import networks
from hmm_utils.sgd import reference


@pytest.fixture(scope="module")
def bench(load):
    return load("bench")


@pytest.fixture(scope="module")
def tiny(bench):
    return bench.Size(
        rounds=2, train_rounds=1, train_time=2.0, train_evaluations=3, squares=(16, 24), fleet_steps=200,
        long_steps=300, loop_steps=20,
        live_steps=200, n_inputs=20, n_train=300, n_test=50, live_train=100, widths=(1, 3), n_pairs=2,
        all_widths=(1, 2), inits=(1, 2),
    )  # fmt: skip


def test_whole_script(bench, tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "QUICK", tiny)
    monkeypatch.setattr(bench, "OUT", tmp_path / "build" / "bench.json")
    monkeypatch.setattr(bench.mnist, "is_available", lambda: False)
    monkeypatch.setattr(bench, "PLOT", tmp_path / "engine.png")
    monkeypatch.setattr(bench.hardware, "cores", lambda: 2)
    bench.main(["--quick", "--plot"])
    printed = capsys.readouterr().out
    written = json.loads(bench.OUT.read_text("utf-8"))
    rows = written["rows"]
    assert len(rows) == 14 + 3 * len(bench.STAGES) + 2
    for row in rows:
        assert isfinite(row["value"]) and row["value"] > 0, row
        (line,) = (line for line in printed.splitlines() if line.startswith(f"{row['what']}  "))
        assert f"{row['value']:.3g} {row['unit']}" in line and line.endswith(row["target"] or row["unit"])
    assert bench.PLOT.read_bytes().startswith(b"\x89PNG")


def test_fleet_of_the_targets(bench):
    """The targets are for 80 students of these widths in 784 dimensions on 76 · 784 samples."""
    for size in (bench.FULL, bench.QUICK):
        assert (size.n_students, size.n_rows, size.n_inputs, size.n_train) == (80, 390, 784, 59584)


def test_arithmetic_of_the_table(bench, tiny, monkeypatch):
    """With every timing known the ratios are known too."""
    steps = {"fleet, Gaussian inputs": tiny.fleet_steps, "PyTorch loop": tiny.loop_steps, "numpy loop": tiny.loop_steps}
    # 2 µs per student-step of the fleet, 100 µs and 40 µs of the loops, products at 1 and 3 Gflop/s
    took = {
        "product 16": 2 * 16**3 / 1e9,
        "product 24": 2 * 24**3 / 3e9,
        "engine's products": 1.0,
        "fleet, Gaussian inputs": 2e-6 * 4,
        "one fleet, longer": 1.0,
        "two fleets, two threads": 1.6,
        "one student": 5e-6 * tiny.live_steps,
        # 3 and 6 hidden units at 3 µs and 4 µs a step
        "1 of every width": 3e-6 * tiny.fleet_steps,
        "2 of every width": 4e-6 * tiny.fleet_steps,
        "PyTorch loop": 100e-6,
        "numpy loop": 40e-6,
    }
    monkeypatch.setattr(
        bench, "interleave", lambda runs, rounds: {run: np.full(rounds, took[run] * steps.get(run, 1)) for run in runs}
    )
    monkeypatch.setattr(bench, "in_evaluation", lambda size, data: (5.0, 3.0))
    monkeypatch.setattr(bench, "peak_memory", lambda size: 10**9)
    monkeypatch.setattr(bench, "stages", lambda *_: np.arange(5) * 1e-6)
    monkeypatch.setattr(bench.hardware, "cores", lambda: 2)
    table, _, shown = bench.measure(tiny)
    value = {row.what: row.value for row in table}
    expected = {
        "float32 matrix products, 24 × 24": 3.0,
        # 4·N·ΣK flop a step of 8 µs: 20 inputs, 2 × (1 + 3) hidden units
        "fleet, Gaussian inputs: useful rate / matrix products": 100 * (4 * 20 * 8 / 8e-6) / 3e9,
        "two fleets on two cores, Gaussian inputs: speed / one on one": 2 / 1.6,
        "the whole fleet: recursion, per step": 3.0,
        "PyTorch loop / fleet, per student-step": 50.0,
        "numpy loop / fleet, per student-step": 20.0,
        "an evaluation on 10 000 test and 10 000 Gaussian inputs": 1.0,
        # 99 evaluations of 1 s each and one of 5 s, 10 000 units of time of 1 s each
        "evaluations in a run of the paper's length": 100 * 104 / 10104,
        "peak memory, pairs of the fleet on Gaussian inputs": 1.0,
    }
    assert {what: value[what] for what in expected} == pytest.approx(expected)
    assert shown["share"] == pytest.approx({3: 100 * (4 * 20 * 3 / 3e-6) / 3e9, 6: 100 * (4 * 20 * 6 / 4e-6) / 3e9})


def test_stages_are_those_of_a_block(bench, tiny):
    """The functions that are timed one by one train a fleet just as `advance` does, and all of them take time."""
    rng = np.random.default_rng(6)
    data = bench.gaussian_task(tiny, 100, rng)
    timed, plain = (bench.fleet_of(20, (1, 3), 2, np.random.default_rng(7)) for _ in range(2))
    steps = 10 * bench.block.default_block(8)
    spent = bench.stages(timed, data, steps, np.random.default_rng(8))
    bench.advance(plain, data, steps, np.random.default_rng(8))()
    assert np.all(spent > 0) and spent.shape == (len(bench.STAGES),)
    # the same functions in the same order, compiled twice: rounding may differ by a few units in the last place
    np.testing.assert_allclose(timed.W, plain.W, rtol=0, atol=1e-5)
    assert np.abs(timed.W - bench.fleet_of(20, (1, 3), 2, np.random.default_rng(7)).W).max() > 0.01


def test_torch_loop_does_the_same_update(bench):
    rng = np.random.default_rng(5)
    start = networks.random_network(10, 3, rng=rng)
    x, y, indices = rng.standard_normal((30, 10)), rng.choice([-1.0, 1.0], 30), rng.integers(30, size=50)
    ours = reference.sgd(start, x, y, indices, lr=0.2, layers="both")
    theirs = bench.torch_sgd(start, x, y, indices, lr=0.2)
    np.testing.assert_allclose(theirs.W, ours.W, rtol=1e-10)
    np.testing.assert_allclose(theirs.v, ours.v, rtol=1e-10)
    assert np.abs(ours.W - start.W).max() > 0.01


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_diverged_student_is_no_benchmark(bench, tiny, monkeypatch):
    monkeypatch.setattr(bench, "LR", 1e30)
    monkeypatch.setattr(bench, "peak_memory", lambda size: 10**9)
    monkeypatch.setattr(bench, "in_evaluation", lambda size, data: (2.0, 1.0))
    with pytest.raises(RuntimeError, match="diverged"):
        bench.measure(replace(tiny, rounds=1))


def test_failure_of_the_measured_process_is_reported(bench, tiny):
    with pytest.raises(RuntimeError, match="n_train = 0: give a whole number of at least 1"):
        bench.peak_memory(replace(tiny, n_train=0))
