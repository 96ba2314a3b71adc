"""The other benchmarks measure what they say; how long anything takes is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import tiny_plan
from helpers.throwaway import write_notebook

from hmm_utils.sgd import backends, hardware, training

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = dict(n_inputs=20, widths=[1, 2], n_pairs=2, n_draws=2, time=4.0, n_times=6, n_test=90, data="digits")


@pytest.fixture
def torch_on_cpu(monkeypatch):
    """What asks for a GPU gets torch's CPU device, on the same path."""
    pytest.importorskip("torch")
    for module in (hardware, training):
        monkeypatch.setattr(module, "resolve", lambda name: "cpu" if name == "cpu" else "cpu:0")


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook of these cells."""

    def write(name, *cells):
        write_notebook(tmp_path, name, cells)
        return tmp_path / f"{name}.ipynb"

    return write


# ---- The whole paper ------------------------------------------------------------------------------------------------


def test_paper_is_extrapolated_from_what_was_timed(load, tmp_path, capsys, monkeypatch):
    """Every set-up is trained for the fraction, on its first group of draws, measured twice, and written as printed."""
    paper = load("paper")
    plan = tiny_plan("fig1_left", "fig3_left", n_draws=3, time=4.0, n_times=6, n_test_along=40)
    monkeypatch.setattr(paper, "OUT", tmp_path / "build" / "paper.json")
    monkeypatch.setattr(paper.experiments, "whole_plan", lambda profile: {"paper": plan}[profile])
    monkeypatch.setattr(paper.mnist, "is_available", lambda: False)
    monkeypatch.setattr(hardware, "threads", lambda: 4)
    steps, measured = [], []
    advance, errors = backends.CpuBackend.advance, backends.CpuBackend.errors
    monkeypatch.setattr(backends.CpuBackend, "advance", lambda o, i: steps.append([len(s) for s in i]) or advance(o, i))
    monkeypatch.setattr(backends.CpuBackend, "errors", lambda o, which: measured.append(which) or errors(o, which))
    paper.main(["--fraction", "0.25"])
    assert steps == [[64, 64], [20, 20, 20, 20]], "a quarter of 4 N steps; two of three draws side by side"
    assert measured == 2 * ["test along", "gauss along", "test", "gauss"]
    written = json.loads(paper.OUT.read_text("utf-8"))
    for one, groups in zip(written["samples"], (1, 2), strict=True):
        assert min(one["data"], one["training"], one["along"], one["end"]) > 0
        assert (one["rows"], one["groups"], one["evaluations"]) == (6, groups, 6)
        expected = groups * (one["data"] + one["training"] / 0.25 + 5 * one["along"] + one["end"])
        assert one["whole"] == pytest.approx(expected)
    assert written["whole_min"] == pytest.approx(sum(one["whole"] for one in written["samples"]) / 60)
    printed = capsys.readouterr().out
    assert "MNIST is not here" in printed
    assert printed.split()[-2:] == [f"{written['measured_s']:.1f}", f"{written['whole_min']:.1f}"]


@pytest.mark.parametrize("fraction", ["0", "-1", "1.5", "nan"])
def test_impossible_fractions_are_refused(load, fraction, capsys):
    with pytest.raises(SystemExit) as left:
        load("paper").main(["--fraction", fraction])
    assert left.value.code == 2 and "between 0 and 1" in capsys.readouterr().err


# ---- Online SGD -----------------------------------------------------------------------------------------------------


@pytest.fixture
def online(load, monkeypatch):
    """With chunks of 64 samples."""
    online = load("online")
    monkeypatch.setattr(hardware, "cores", lambda: 2)
    monkeypatch.setattr(online.streams, "_CHUNK_ENTRIES", 64 * 30)
    return online


@pytest.fixture
def tiny(online):
    return online.Size(rounds=2, squares=(16, 24), chunks=2, n_inputs=30, n_latent=5, widths=(1, 3))


def test_online_script(online, tiny, tmp_path, capsys, monkeypatch):
    """Every row is printed and written, and is a positive number."""
    monkeypatch.setattr(online, "QUICK", tiny)
    monkeypatch.setattr(online, "OUT", tmp_path / "build" / "online.json")
    online.main(["--quick"])
    printed = capsys.readouterr().out
    written = json.loads(online.OUT.read_text("utf-8"))
    assert len(written["rows"]) == 1 + 3 * 2 + 1 + 1 + len(online.STAGES) + 3
    for row in written["rows"]:
        assert np.isfinite(row["value"]) and row["value"] > 0, row
        (line,) = (line for line in printed.splitlines() if line.startswith(f"{row['what']}  "))
        assert f"{row['value']:.3g}" in line


def test_arithmetic_of_the_online_table(online, tiny, monkeypatch):
    """With every timing known the ratios are known too: two chunks of 64 samples, products at 1 and 3 Gflop/s."""
    took = {
        "product 16": 2 * 16**3 / 1e9,
        "product 24": 2 * 24**3 / 3e9,
        "one student, f = sgn": 128 * 10e-6,
        "one student, f = erf": 128 * 20e-6,
        "2 students, f = sgn": 128 * 40e-6,
        "one student, Gaussian inputs": 128 * 50e-6,
        "two simulations, two threads": 128 * 16e-6,
        "normal numbers": 64 * 1e-6,
        "product cF": 64 * 2e-6,
        "folding f": 64 * 3e-6,
        "labels": 64 * 4e-6,
        "order parameters": 5e-3,
    }
    monkeypatch.setattr(online.bench, "interleave", lambda runs, n: {run: np.full(n, took[run]) for run in runs})
    monkeypatch.setattr(online, "engine_stages", lambda *_: np.arange(5) * 1e-6)
    value = {row.what: row.value for row in online.measure(tiny)[0]}
    expected = {
        "float32 matrix products, 24 × 24": 3.0,
        "one student, f = sgn: student-steps a second": 1e5,
        # 2DN + 4N ΣK operations a step: D = 5, N = 30, K = 2, and K = 1 and 3
        "one student, f = sgn: useful rate / matrix products": 100 * (300 + 240) / 10e-6 / 3e9,
        "2 students, f = sgn: useful rate / matrix products": 100 * (300 + 480) / 40e-6 / 3e9,
        "two simulations on two cores: speed / one on one": 20 / 16,
        "one student, f = sgn: folding f, per step": 3.0,
        "one student, f = sgn: a step": 10.0,
        "one student, f = sgn: share of the product cF": 20.0,
        "order parameters of 4 hidden units, once": 5.0,
    }
    assert {what: value[what] for what in expected} == pytest.approx(expected)


def test_diverged_student_is_no_online_benchmark(online, tiny, monkeypatch):
    monkeypatch.setattr(online.bench, "LR", 1e30)
    with pytest.raises(RuntimeError, match="diverged"):
        online.measure(tiny)


# ---- Start ----------------------------------------------------------------------------------------------------------


def test_nothing_imports_torch(load):
    """Importing the package is quick because neither it nor what training needs imports torch."""
    start = load("start")
    for module in ("hmm_utils", "hmm_utils.sgd.training"):
        start.import_seconds(module)
    with pytest.raises(RuntimeError, match="imports torch"):
        start.import_seconds("hmm_utils.sgd.gpu")


def test_time_to_the_first_figure(load, notebook):
    """A notebook is run up to its first figure and no further; one without a figure is an error."""
    start = load("start")
    png = "display({'image/png': 'iVBORw0KGgo='}, raw=True)"
    assert start.first_figure(notebook("some", "1", png, "raise SystemError")) > 0
    with pytest.raises(RuntimeError, match=r"none\.ipynb shows no figure"):
        start.first_figure(notebook("none", "1"))


# ---- GPU ------------------------------------------------------------------------------------------------------------


def test_without_a_gpu_nothing_is_claimed(load, monkeypatch):
    """Where there is no GPU the benchmark says so and writes nothing."""
    gpu = load("gpu")
    monkeypatch.setattr(hardware, "_has_gpu", lambda: False)
    before = sorted(FOLDER.iterdir())
    with pytest.raises(SystemExit) as left:
        gpu.main([])
    assert str(left.value).startswith("nothing was measured: ") and sorted(FOLDER.iterdir()) == before


def test_agreement_is_measured_against_float64(load, torch_on_cpu):
    """Both engines stay within float32 rounding of the float64 run, which differs from both and has moved far."""
    found = load("gpu").agreement("cpu:0", n_inputs=50, steps=2048)
    assert found["largest change"] > 1
    for name in ("CPU engine", "GPU", "GPU with TF32"):
        # weights of size 4 rounded 2048 times at random: 2⁻²⁴ · 4 · √2048 ≈ 1e-5, and not exactly nothing
        assert 0 < found[name] < 1e-4


def test_figure_1_agrees_between_devices(load, torch_on_cpu, monkeypatch):
    """Equal seeds give equal statistics on both devices; a device that trains on other samples does not."""
    gpu = load("gpu")
    assert gpu.figure_1("cpu:0", **TINY) < 0.1
    advance = backends.TorchBackend.advance
    monkeypatch.setattr(backends.TorchBackend, "advance", lambda o, indices: advance(o, [i // 2 for i in indices]))
    assert gpu.figure_1("cpu:0", **TINY) > 0.1


def test_useful_operations_of_the_paper(load, torch_on_cpu, monkeypatch):
    """4KN for every student and step, over all runs; both set-ups have one size, so one group stands for all."""
    gpu = load("gpu")
    plan = tiny_plan("fig3_left", "fig3_right", time=4.0)
    monkeypatch.setattr(gpu.experiments, "whole_plan", lambda profile: plan)
    found = gpu.whole_paper("cpu:0", 0.5)
    (sample,) = found["samples"]
    # two runs, two draws, two initialisations, two students, 1 + 2 hidden units, N = 20, 4 N steps
    assert sample["groups"] * sample["operations"] == 2 * 2 * 2 * 2 * 4 * 3 * 20 * 80
    parts = [value for key, value in found.items() if key.startswith("of these")]
    assert min(parts) > 0 and sum(parts) == pytest.approx(found["minutes"])


def test_integrators_solve_the_same_equations(load):
    """Every way that is timed comes to the same ε_g: to what its tolerance, its nodes or its steps leave."""
    module = load("integrator")
    rows = module.measure(module.Size(K=2, D=20, N=200, time=2.0, rounds=1), np.random.default_rng(3))
    errors = [row["error"] for row in rows.values()]
    # Euler's method with steps of 0.01 is of first order, with rates of about 5; of a few
    # bins the error is that of a few bins; the others as the names of the rows say
    for error, allowed in zip(errors, (0.05, 2e-6, 2e-6, 0.05, 5e-3), strict=True):
        assert error < allowed
    assert all(row["seconds"] > 0 and len(row["samples"]) == 1 for row in rows.values())


# ---- Memory ---------------------------------------------------------------------------------------------------------


HOLD = "block = bytearray({0}); block[::4096] = bytes([1]) * len(block[::4096])"


def test_peak_memory_is_the_peak_of_the_notebook(notebook):
    """300 MB that are held for a moment are in it, though they are gone when it is asked for, and nothing else is; on
    Linux its own account and ru_maxrss agree, in a process smaller than the kernel: the latter is that of whoever
    started it, if that is more."""
    paths = [notebook("small", "1"), notebook("large", HOLD.format(300_000_000), "del block", "1")]
    code = f"""
import pathlib, sys
sys.path.insert(0, {str(FOLDER)!r})
import memory
small, large = (memory.measure(pathlib.Path(path)) for path in {list(map(str, paths))})
memory.Path = lambda place: pathlib.Path("nowhere")
print(small.children, small.kernel, large.kernel, memory.measure(pathlib.Path({str(paths[1])!r})).kernel)
"""
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    children, small, large, other = map(int, asked.stdout.split())
    assert children == 0 and 20e6 < small < 300e6
    # what a kernel takes by itself differs by a few MB from one start to the next
    assert large - small == pytest.approx(300e6, abs=30e6) and other == pytest.approx(large, abs=30e6)


def test_memory_of_processes_that_a_notebook_starts(load, notebook):
    code = f"{HOLD.format(200_000_000)}; import time; time.sleep(2)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    peak = load("memory").measure(notebook("parent", start))
    assert peak.kernel < 200e6 < peak.children < 300e6


def test_memory_table(load, notebook, tmp_path, capsys, monkeypatch):
    """Every notebook is printed and written; one above the limit, with what it starts, is said and fails."""
    memory = load("memory")
    peaks = [memory.Peak("01_one", 700_000_000, 0, 3.0), memory.Peak("02_two", 10**9, 3 * 10**8, 4.0)]
    for peak in peaks:
        notebook(peak.notebook, "1")
    monkeypatch.setattr(memory, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(memory, "OUT", tmp_path / "build" / "memory.json")
    monkeypatch.setattr(memory, "measure", lambda path: next(p for p in peaks if p.notebook == path.stem))
    assert memory.main([]) == 1
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("01_one", "0.70", "0.30")) and printed.endswith("Above 1.2 GB: 02_two.\n")
    assert [entry["kernel"] for entry in json.loads(memory.OUT.read_text())["peaks"]] == [700_000_000, 10**9]
    assert memory.main(["01"]) == 0 and "Above" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        memory.main(["07"])


# ---- Size -----------------------------------------------------------------------------------------------------------


def test_size_is_that_of_the_locked_packages(load, tmp_path, monkeypatch, capsys):
    """What the lock has for this system, once each, and nothing else; bytes of the files that are there."""
    size = load("size")
    assert {"torch", "numba", "jupyterlab"} <= set(size.locked())
    for name, n in (("asked", 1000), ("other", 3)):
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "RECORD").write_text(f"{name}.py,,\ngone.py,,\n")
        (tmp_path / f"{name}.py").write_bytes(bytes(n))
    monkeypatch.syspath_prepend(str(tmp_path))
    lock = '# comment\n--extra-index-url x\nasked==1.0\nother==1.0; sys_platform == "nowhere"\n'
    (tmp_path / "lock").write_text(lock)
    monkeypatch.setattr(size, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(size, "OUT", tmp_path / "size.json")
    size.main([])
    assert json.loads(size.OUT.read_text()) == {"total": 1000, "packages": {"asked": 1000}}
    assert "all 1" in capsys.readouterr().out
