"""The benchmark of scaling measures and fits what it says; how long anything takes is not tested."""

import json
import os
from itertools import count
from math import isfinite, log

import numpy as np
import pytest

from hmm_utils.sgd import backends


@pytest.fixture(scope="module")
def scaling(load):
    return load("scaling")


# ---- The fit --------------------------------------------------------------------------------------------------------


def made_up(scaling, size, cost):
    """Points of all series with seconds cost(point), the same in every round."""
    return [scaling.asdict(p) | {"seconds": np.full(3, cost(p))} for p in scaling.series(size)]


def test_laws_are_fitted_where_they_hold(scaling):
    """Below the range of the fit the cost is another; a unit of time has N steps."""
    size = scaling.FULL

    def cost(p):
        if p.series == "P":
            return 1e-6 * p.x**0.1
        bend = size.K_from if p.series == "K" else size.N_from
        return 1e-9 * max(p.x, bend) ** (1.2 if p.students > 1 else 0.9)

    found = {(law.series, law.cost): law for law in scaling.laws(made_up(scaling, size, cost), size)}
    expected = {
        ("N", "student-step"): (1000, 10000, 1, 0.9), ("N", "unit of time"): (1000, 10000, 2, 1.9),
        ("N, fleet", "student-step"): (1000, 10000, 1, 1.2), ("N, fleet", "unit of time"): (1000, 10000, 2, 2.2),
        ("P", "student-step"): (100, 300000, 0, 0.1), ("K", "student-step"): (64, 1000, 1, 0.9),
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for key, (*of, gamma) in expected.items():
        law = found[key]
        assert [law.first, law.last, law.expected, law.exponent] == [*of, pytest.approx(gamma)] and law.se < 1e-6


def test_stages_explain_the_exponent(scaling):
    """Each stage's exponent and shares are read off its own times, and what the stages make of it is the difference
    between the exponent of their sum and the expected one."""
    x = np.array([100, 1000, 1200, 1400, 1600])
    powers = np.array([0.5, 1.0, 1.0, 0.0, 2.0])
    times = 1e-9 * (x[:, None] / 1000) ** powers
    measured = [{"series": "N", "x": n, "stages": np.tile(time, (3, 1))} for n, time in zip(x, times, strict=True)]
    gamma, se = scaling.exponent(x[1:], times[1:].sum(axis=1))
    law = scaling.Law("N", "student-step", 1000, 1600, 0.7, gamma, se)
    found = scaling.stage_laws(measured, law)
    assert list(found) == list(scaling.bench.STAGES)
    assert [one["exponent"] for one in found.values()] == pytest.approx(powers, abs=1e-9)
    for key, time in (("share_first", times[1]), ("share_last", times[-1])):
        assert [one[key] for one in found.values()] == pytest.approx(time / time.sum())
    # the shares vary by a tenth over the range, and so does the exponent of the sum
    assert sum(one["difference"] for one in found.values()) == pytest.approx(gamma - 0.7, abs=0.02)
    assert min(abs(one["difference"]) for one in found.values()) > 0.02
    # a fifth of the time each: + (2 − 0.7)/5 and + (1 − 0.7)/5
    assert scaling.explanation(law, found).split("; ")[1].startswith(f"of {gamma - 0.7:+.2f}, update for +0.3")
    within = scaling.Law("N", "student-step", 1000, 1600, 0.7, 0.75, 0.03)
    assert scaling.explanation(within, found) == "N: 0.75 ± 0.03 for 0.7, no more than its error allows."


# ---- The order ------------------------------------------------------------------------------------------------------


def test_points_are_interleaved(scaling):
    """Every round has every point once, in an order of its own."""
    keys = list(range(9))
    found, orders = scaling.interleaved({k: lambda k=k: 10 * k for k in keys}, 7, np.random.default_rng(2))
    assert found == {k: [10 * k] * 7 for k in keys}
    assert all(sorted(order) == keys for order in orders) and len(set(map(tuple, orders))) == 7


def test_drift_of_the_machine_fakes_no_exponent(scaling):
    """On a machine that becomes ten times slower while it is measured, a cost without a law gets none."""
    x, rounds = 2.0 ** np.arange(9), 7
    clock = count()

    def run():
        return 10 ** (next(clock) / (x.size * rounds))

    found, _ = scaling.interleaved(dict.fromkeys(x, run), rounds, np.random.default_rng(3))
    fitted, _ = scaling.exponent(x, [np.median(found[k]) for k in x])
    # a median lies in the middle round but for the place within it: ln 10 / 7 / √12 of scatter in ln cost
    scatter = log(10) / rounds / np.sqrt(12) / np.sqrt(np.sum((np.log(x) - np.log(x).mean()) ** 2))
    assert abs(fitted) < 4 * scatter < log(10) / log(x[-1]) / 4, "one point after the other gives ln 10 / ln 256"


# ---- What is measured -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps, calls", [(100, 1), (70000, 2)], ids=["one chunk", "two chunks"])
def test_only_sgd_steps_are_timed(scaling, steps, calls, monkeypatch):
    """All steps of both students are trained; the clock stands still while data are made and errors are measured."""
    point = scaling.Point("K", 3, 10, 50, 3, 2)
    task = scaling.tasks([point], scaling.QUICK, np.random.default_rng(5))[point]
    monkeypatch.setattr(scaling.paper, "perf_counter", count().__next__)
    streams, cpu = [], backends.CpuBackend
    advance = cpu.advance
    monkeypatch.setattr(cpu, "advance", lambda o, i: streams.append([len(s) for s in i]) or advance(o, i))
    assert scaling.train(point, task, steps) == calls
    assert [sum(lengths) for lengths in zip(*streams, strict=True)] == [steps, steps]


def test_diverged_student_is_no_benchmark(scaling, monkeypatch):
    point = scaling.Point("K", 3, 10, 50, 3, 2)
    task = scaling.tasks([point], scaling.QUICK, np.random.default_rng(5))[point]
    monkeypatch.setattr(scaling, "LR", 1e30)
    with pytest.raises(RuntimeError, match="its time says nothing"):
        scaling.train(point, task, 100)


@pytest.mark.parametrize("cost", [1e-7, 1e-5, 1.0], ids=["fast", "slow", "very slow"])
def test_steps_take_the_time_asked_for(scaling, cost):
    """Steps at a constant cost, and one at least, though every other trial waits for another program."""
    waits = count()
    found = scaling.steps_for(0.35, lambda steps: steps * cost + next(waits) % 2)
    assert found == max(round(0.35 / cost), 1)


# ---- The whole script -----------------------------------------------------------------------------------------------


def test_quick_mode_writes_everything(scaling, tmp_path, capsys, monkeypatch):
    """Every point and layout is in the file, with all its rounds, and in the tables; workers get empty stores."""
    monkeypatch.setattr(scaling, "OUT", tmp_path / "build" / "bench-scaling.json")
    monkeypatch.setattr(scaling.hardware, "cores", lambda: 2)
    swept, run = [], scaling.sweep.run_cached

    def in_this_process(plan, folder, *, workers, progress):
        swept.append((workers, os.environ["OMP_NUM_THREADS"], list(folder.iterdir())))
        return run(plan, folder, workers=1, progress=progress)

    monkeypatch.setattr(scaling.sweep, "run_cached", in_this_process)
    scaling.main(["--quick", "--plot", str(tmp_path / "scaling.png")])
    written, size = json.loads(scaling.OUT.read_text("utf-8")), scaling.QUICK
    assert sorted(swept) == sorted(2 * [(1, "1", []), (1, "2", []), (2, "2", [])])

    points = [scaling.asdict(point) for point in scaling.series(size)]
    assert [{key: one[key] for key in points[0]} for one in written["points"]] == points
    for one in written["points"]:
        assert len(one["seconds"]) == size.rounds and min(one["seconds"]) > 0
        assert one["steps"] % scaling.block.default_block(one["width"] * one["students"]) == 0 < one["steps"]
        assert ("stages" in one) == (one["series"] != "fleet")
        stages = np.array(one.get("stages", np.ones((size.rounds, len(scaling.bench.STAGES)))))
        assert stages.shape == (size.rounds, len(scaling.bench.STAGES)) and np.all(stages > 0)
    runs = 2 * len(points) - len(size.fleet)
    assert len(written["orders"]) == size.rounds and all(len(set(order)) == runs for order in written["orders"])
    assert [law["series"] for law in written["laws"]] == ["N", "N", "N, fleet", "N, fleet", "P", "K"]
    assert all(isfinite(law["exponent"]) and law["se"] > 0 for law in written["laws"])
    assert set(written["stage_laws"]) == {"N", "N, fleet", "P", "K"} and len(written["explanations"]) == 4
    # 5 widths, 2 initialisations, 2 draws, pairs; 2 · 20 steps each
    assert [(one["workers"], one["threads"]) for one in written["workers"]] == [(1, 1), (1, 2), (2, 1)]
    for one in written["workers"]:
        assert (one["students"], one["student_steps"]) == (40, 1600)
        assert len(one["seconds"]) == len(one["start"]) == size.sweep_rounds and min(one["seconds"]) > 0

    printed = capsys.readouterr().out
    rows = [f"| {p['x']} | {1e6 * np.median(p['seconds']):.3f} |" for p in written["points"] if p["series"] == "fleet"]
    rows += [f"{law['exponent']:.2f} ± {law['se']:.2f} | {law['expected']} |" for law in written["laws"]]
    assert all(row in printed for row in rows)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
