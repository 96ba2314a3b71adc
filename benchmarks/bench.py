"""Speed and memory of SGD in blocks, beside the matrix-product rate of the machine; on one core unless noted otherwise.

    python benchmarks/bench.py [--quick] [--plot]

Prints a table and writes it, with every sample it rests on, to build/bench.json; --plot draws engine.png beside this
file. How: see README.md there.
"""

from __future__ import annotations

import os

# read by these libraries once, when they are loaded
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"))

import argparse
import ctypes
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from math import sqrt
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np
import threadpoolctl
from numba import njit

from hmm_utils.data import digits, mnist
from hmm_utils.model import datasets, networks
from hmm_utils.sgd import backends, block, hardware, reference, training

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "build" / "bench.json"
PLOT = HERE / "engine.png"
STAGES = ("gather", "Gram", "pre-activations", "recursion", "update")

LR = 0.2
BLOCKS = 40  # blocks of matrix products timed at once


@dataclass(frozen=True)
class Size:
    """How much is measured. The problem is the paper's; only tests and curious readers change it.

    rounds                         repeats of every timing, interleaved
    train_time, train_evaluations  the call of `train`: its end in steps/N, and how often it evaluates
    train_rounds                   repeats of it
    squares                        sizes n of the n × n matrices for the matrix-product rate
    all_widths, inits              the paper profile's widths, and numbers of initialisations to see fleets of all sizes
    *_steps                        SGD steps in one timing; those of two threads must be long beside their start
    """

    rounds: int = 15
    train_rounds: int = 3
    train_time: float = 20.0
    train_evaluations: int = 8
    squares: tuple[int, ...] = (1024, 1536, 2048)
    fleet_steps: int = 4096
    long_steps: int = 16384
    loop_steps: int = 1000
    live_steps: int = 20000
    n_inputs: int = 784
    n_train: int = 76 * 784
    n_test: int = 10000
    live_train: int = 10000
    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10)
    n_pairs: int = 10
    all_widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 10)
    inits: tuple[int, ...] = (1, 2, 4, 6, 10, 20)
    use_mnist: bool = False

    @property
    def n_students(self) -> int:
        return len(self.widths) * self.n_pairs

    @property
    def n_rows(self) -> int:
        return sum(self.widths) * self.n_pairs


FULL = Size()
QUICK = Size(rounds=4, train_rounds=1, train_time=10.0, train_evaluations=4)


def median(values: np.ndarray) -> float:
    return float(np.median(values))


@dataclass(frozen=True)
class Row:
    """One line of the table; `target` is a bound on `value`, if there is one."""

    what: str
    value: float
    unit: str
    target: str = ""


def cpu_model() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def machine() -> dict[str, object]:
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "cores": os.cpu_count(),
        "cpu": cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        # Apple's Accelerate is not among the libraries that threadpoolctl knows
        "blas": sorted(
            {" ".join(str(p[k]) for k in ("internal_api", "version", "architecture") if p.get(k)) for p in pools}
        ),
        "blas_threads": sorted({pool["num_threads"] for pool in pools}),
    }


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def interleave(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each run, `rounds` times each, one after the other in every round; a first round is thrown away.

    What the machine does besides then hits all runs alike, and a ratio of two within a round is free of slow drifts.
    """
    samples = [[seconds(run) for run in runs.values()] for _ in range(rounds + 1)]
    return dict(zip(runs, np.array(samples[1:]).T, strict=True))


def product(n: int, rng: np.random.Generator) -> Callable[[], object]:
    a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    out = np.empty((n, n), np.float32)
    return lambda: np.matmul(a, b, out=out)


def engine_products(size: Size, rng: np.random.Generator) -> tuple[Callable[[], object], int]:
    """The three matrix products of a block of 64 steps with numpy and nothing else, over and over, and their flops."""
    R, N, B = size.n_rows, size.n_inputs, 64
    W, x, D = (rng.standard_normal(shape, dtype=np.float32) for shape in ((R, N), (B, N), (R, B)))
    # numpy notices the product of a matrix with its own transpose, and then computes half of it only
    same = x.copy()
    wx, xx, change = np.empty((R, B), np.float32), np.empty((B, B), np.float32), np.empty((R, N), np.float32)

    def run() -> None:
        for _ in range(BLOCKS):
            np.matmul(W, x.T, out=wx)
            np.matmul(x, same.T, out=xx)
            np.matmul(D, x, out=change)

    return run, 2 * BLOCKS * B * N * (2 * R + B)


def gaussian_task(size: Size, n_train: int, rng: np.random.Generator) -> datasets.Dataset:
    inputs = datasets.gaussian(size.n_inputs, n_train, size.n_test, rng=rng)
    return datasets.teacher_task(inputs, networks.random_network(size.n_inputs, 4, rng=rng))


def mnist_task(rng: np.random.Generator) -> datasets.Dataset:
    return datasets.labelled_task(digits.load("mnist", rng=rng), "odd against even")


def fleet_of(n_inputs: int, widths: tuple[int, ...], n_pairs: int, rng: np.random.Generator) -> block.Fleet:
    return block.Fleet.of([networks.random_network(n_inputs, K, rng=rng) for K in widths for _ in range(n_pairs)])


def whole_fleet(size: Size, rng: np.random.Generator) -> block.Fleet:
    return fleet_of(size.n_inputs, size.widths, size.n_pairs, rng)


def advance(fleet: block.Fleet, data: datasets.Dataset, steps: int, rng: np.random.Generator) -> Callable[[], object]:
    def run() -> None:
        indices = rng.integers(len(data.x_train), size=steps)
        block.advance(fleet, data.x_train, data.y_train, indices, lr=LR, layers="both")

    return run


def in_two_threads(run: Callable[[], object], other: Callable[[], object]) -> Callable[[], object]:
    def both() -> None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            for future in [pool.submit(run), pool.submit(other)]:
                future.result()

    return both


@cache
def timed_advance() -> Callable[..., None]:
    """`block._advance` for one tile, with a look at the clock after each of its functions: adds seconds to `spent`.

    Called one by one from Python, the functions would spend more time on the calls than on a small fleet.
    """
    look = ctypes.CDLL(None).clock_gettime
    look.argtypes, look.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_int
    monotonic = 1 if sys.platform == "linux" else 6

    @njit
    def now(time):
        look(monotonic, time.ctypes)
        return time[0] + 1e-9 * time[1]

    @njit
    def advance(sgemm, W, v, owner, levels, task, alive, x, y, indices, fields, eta, B, piece, spent):
        R, N = W.shape
        xb, yb, XX = np.empty((B, N), np.float32), np.empty((B, 1), np.float32), np.empty((B, B), np.float32)
        A, a, D = np.empty((R, B), np.float32), np.empty((B, R), np.float32), np.empty((B, R), np.float32)
        time = np.empty(2, np.int64)
        for start in range(0, indices.size - B + 1, B):
            t0 = now(time)
            block._gather(x, y, indices[start : start + B], xb, yb)
            t1 = now(time)
            block._gram(sgemm, xb, XX)
            t2 = now(time)
            block._preactivations(sgemm, W, xb, piece, A)
            t3 = now(time)
            block._by_sample(A, a)
            block._recursion(a, XX, yb, v, levels, owner, task, alive, fields, eta / N, eta / N, D)
            t4 = now(time)
            block._update(sgemm, W, D, xb, eta, piece)
            spent += np.array([t1 - t0, t2 - t1, t3 - t2, t4 - t3, now(time) - t4])

    return advance


def stages(
    fleet: block.Fleet, data: datasets.Dataset, steps: int, rng: np.random.Generator, *, lr: float = LR
) -> np.ndarray:
    """Seconds per step that the functions of a block take one by one, in the order of STAGES."""
    B = block.default_block(len(fleet.W))
    steps = steps // B * B
    (levels,) = fleet.levels
    spent = np.zeros(len(STAGES))
    timed_advance()(
        *(block.SGEMM, fleet.W, fleet.v, fleet.owner, levels, fleet.task, fleet.alive),
        *(data.x_train, data.y_train[:, None]),
        *(rng.integers(len(data.x_train), size=steps), fleet.activation.fields, np.float32(lr)),
        *(B, block.piece_rows(B, fleet.W.shape[1]), spent),
    )
    return spent / steps


def torch_sgd(
    network: networks.Network, x: np.ndarray, y: np.ndarray, indices: np.ndarray, *, lr: float
) -> networks.Network:
    """`reference.sgd` for an erf network with both layers trained, as one writes it with PyTorch's autograd."""
    import torch

    torch.set_num_threads(1)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    n_inputs = x.shape[1]
    W = torch.tensor(network.W, dtype=inputs.dtype, requires_grad=True)
    v = torch.tensor(network.v, dtype=inputs.dtype, requires_grad=True)
    for i in indices.tolist():
        a = W @ inputs[i] / sqrt(n_inputs)
        loss = (v @ torch.erf(a / sqrt(2)) - labels[i]) ** 2 / 2
        loss.backward()
        with torch.no_grad():
            W -= lr * W.grad
            v -= lr / n_inputs * v.grad
            W.grad = v.grad = None
    return networks.Network(W.detach().numpy(), v.detach().numpy(), network.activation)


def loop(
    sgd: Callable[..., object], data: datasets.Dataset, steps: int, rng: np.random.Generator
) -> Callable[[], object]:
    """One student, K = 4, one sample a step, in float32."""
    start = networks.random_network(data.x_train.shape[1], 4, rng=rng)
    start = networks.Network(start.W.astype(np.float32), start.v.astype(np.float32), start.activation)
    return lambda: sgd(start, data.x_train, data.y_train, rng.integers(len(data.x_train), size=steps), lr=LR)


def in_evaluation(size: Size, data: datasets.Dataset) -> tuple[float, float]:
    """Seconds that `train` takes with pairs of the whole fleet, and how many of them go into measuring errors."""
    spent = []

    def timed(*args: object) -> object:
        start = perf_counter()
        result = measure_errors(*args)
        spent.append(perf_counter() - start)
        return result

    measure_errors = backends.CpuBackend.errors
    with patch.object(backends.CpuBackend, "errors", timed):
        whole = seconds(
            lambda: training.train(
                data,
                widths=size.widths,
                n_pairs=size.n_pairs,
                lr=LR,
                time=size.train_time,
                evaluate_at=training.evaluation_times(size.train_time, size.train_evaluations),
                rng=np.random.default_rng(3),
                progress=None,
            )
        )
    return whole, sum(spent)


def own_peak_memory(size: Size) -> int:
    """Peak resident bytes of this process, after it has loaded data and trained and measured pairs of the fleet."""
    import resource

    rng = np.random.default_rng(2)
    data = mnist_task(rng) if size.use_mnist else gaussian_task(size, size.n_train, rng)
    training.train(
        data,
        widths=size.widths,
        n_pairs=size.n_pairs,
        lr=LR,
        time=0.2,
        evaluate_at=[0.1, 0.2],
        train_error=True,
        rng=rng,
        progress=None,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_memory(size: Size) -> int:
    """`own_peak_memory` of a fresh process."""
    command = [sys.executable, __file__, "--peak-memory", json.dumps(asdict(size))]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"the run whose memory is measured failed: {result.stderr.strip().splitlines()[-1]}")
    return int(result.stdout)


def measure(size: Size) -> tuple[list[Row], dict[str, list[float]], dict[str, dict[str, float]]]:
    """The table, the samples in seconds behind it, and what the plots show.

    Raises RuntimeError if a student diverges: NaN has a speed of its own.
    """
    # before anything else, because on Linux the peak of a child starts at what its parent held when it was started
    peak = peak_memory(size)

    rng = np.random.default_rng(1)
    gauss, few = gaussian_task(size, size.n_train, rng), gaussian_task(size, size.live_train, rng)
    data = {"Gaussian inputs": gauss} | ({"MNIST": mnist_task(rng)} if size.use_mnist else {})
    fleets = {name: whole_fleet(size, rng) for name in data}
    twin = whole_fleet(size, rng)
    one = block.Fleet.of([networks.random_network(size.n_inputs, 4, rng=rng)])
    sizes = {n: fleet_of(size.n_inputs, size.all_widths, n, rng) for n in size.inits}
    last = list(data)[-1]

    runs = {f"product {n}": product(n, rng) for n in size.squares}
    runs["engine's products"], flops = engine_products(size, rng)
    runs |= {f"fleet, {name}": advance(fleets[name], data[name], size.fleet_steps, rng) for name in data}
    runs["one fleet, longer"] = advance(fleets[last], data[last], size.long_steps, rng)
    # a generator of random numbers for each: they are not made for two threads
    runs["two fleets, two threads"] = in_two_threads(
        advance(fleets[last], data[last], size.long_steps, np.random.default_rng(4)),
        advance(twin, data[last], size.long_steps, np.random.default_rng(5)),
    )
    runs["one student"] = advance(one, few, size.live_steps, rng)
    runs |= {f"{n} of every width": advance(sizes[n], gauss, size.fleet_steps, rng) for n in sizes}
    runs["PyTorch loop"] = loop(torch_sgd, gauss, size.loop_steps, rng)
    runs["numpy loop"] = loop(partial(reference.sgd, layers="both"), gauss, size.loop_steps, rng)
    took = interleave(runs, size.rounds)
    by_stage = {
        "the whole fleet": np.median(
            [stages(fleets[last], data[last], size.fleet_steps, rng) for _ in range(size.rounds + 1)][1:], axis=0
        ),
        "two of every width": np.median(
            [stages(sizes[2], gauss, size.fleet_steps, rng) for _ in range(size.rounds + 1)][1:], axis=0
        ),
        "one student": np.median([stages(one, few, size.live_steps, rng) for _ in range(size.rounds + 1)][1:], axis=0),
    }
    trained = np.array([in_evaluation(size, gauss) for _ in range(size.train_rounds)])
    if not all(fleet.alive.all() for fleet in (*fleets.values(), twin, one, *sizes.values())):
        raise RuntimeError("a student of the benchmark diverged: its time says nothing.")

    rates = {n: 2 * n**3 / took[f"product {n}"] for n in size.squares}
    best = max(rates, key=lambda n: np.median(rates[n]))
    rows = [
        Row(f"float32 matrix products, {best} × {best}", median(rates[best]) / 1e9, "Gflop/s"),
        Row("float32 matrix products, shapes of the fleet", median(flops / took["engine's products"]) / 1e9, "Gflop/s"),
    ]
    for name in data:
        step = took[f"fleet, {name}"] / size.fleet_steps
        useful = 4 * size.n_rows * size.n_inputs / step
        rows += [
            Row(f"fleet, {name}: a student-step", median(step) / size.n_students * 1e6, "µs", "≤ 0.35"),
            Row(f"fleet, {name}: useful rate / matrix products", 100 * median(useful / rates[best]), "%", "≥ 65"),
        ]
    if hardware.cores() > 1:
        gain = 2 * took["one fleet, longer"] / took["two fleets, two threads"]
        rows.append(Row(f"two fleets on two cores, {last}: speed / one on one", median(gain), "times", "≥ 1.8"))
    share = {
        sum(size.all_widths) * n: 100
        * median(
            4 * sum(size.all_widths) * n * size.n_inputs * size.fleet_steps
            / took[f"{n} of every width"] / rates[best]
        )
        for n in sizes
    }  # fmt: skip
    rows += [
        Row(f"{n} of each of the paper's widths: useful rate / matrix products", value, "%")
        for n, value in zip(sizes, share.values(), strict=True)
        if n in (1, 2)
    ]
    rows.append(Row("one student, small P: a step", median(took["one student"]) / size.live_steps * 1e6, "µs", "≤ 1"))
    for fleet, times in by_stage.items():
        rows += [
            Row(f"{fleet}: {stage}, per step", 1e6 * value, "µs") for stage, value in zip(STAGES, times, strict=True)
        ]

    fleet_step = took["fleet, Gaussian inputs"] / size.fleet_steps / size.n_students
    for name, target in (("PyTorch loop", "≥ 400"), ("numpy loop", "")):
        step = took[name] / size.loop_steps
        rows += [
            Row(f"{name}: a step", median(step) * 1e6, "µs"),
            Row(f"{name} / fleet, per student-step", median(step / fleet_step), "times", target),
        ]

    whole, evaluating = trained.T
    # 99 evaluations and one on five times as many inputs, against 10 000 units of time
    paper = median(104 * evaluating / size.train_evaluations / ((whole - evaluating) / size.train_time)) / 1e4
    rows += [
        Row(f"train, to time {size.train_time:g} with {size.train_evaluations} evaluations", median(whole), "s"),
        Row(
            "an evaluation on 10 000 test and 10 000 Gaussian inputs", median(evaluating / size.train_evaluations), "s"
        ),
        Row("evaluations in a run of the paper's length", 100 * paper / (1 + paper), "%", "≤ 25"),
        Row(f"peak memory, pairs of the fleet on {last}", peak / 1e9, "GB", "≤ 1.5"),
    ]
    samples = took | {"train": whole, "train: evaluations": evaluating}
    shown = {"share": share, "stages": {fleet: times.tolist() for fleet, times in by_stage.items()}}
    return rows, {name: sample.tolist() for name, sample in samples.items()}, shown


def plot(shown: Mapping[str, Mapping], rate: float) -> None:
    """Draws how the speed depends on the size of the fleet, and where the time of a step goes."""
    import matplotlib.pyplot as plt

    from hmm_utils import figures

    figures.use_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(list(shown["share"]), list(shown["share"].values()), "o-")
    left.axhline(100, color="0.6", lw=1)
    left.text(min(shown["share"]), 97, f"the machine's matrix products, {rate:.0f} Gflop/s", va="top")
    left.set(
        xlabel="hidden units in the fleet", ylabel="useful rate (% of matrix products)", xscale="log", ylim=(0, 108)
    )
    left.set_xticks(list(shown["share"]), list(shown["share"]))
    left.minorticks_off()
    names = list(shown["stages"])
    start = np.zeros(len(names))
    totals = np.array([sum(shown["stages"][name]) for name in names])
    for j, stage in enumerate(STAGES):
        part = 100 * np.array([shown["stages"][name][j] for name in names]) / totals
        right.barh(names, part, left=start, label=stage)
        start += part
    right.set(xlabel="share of the time of a step (%)", xlim=(0, 100))
    right.invert_yaxis()
    right.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    figure.savefig(PLOT, dpi=120)
    plt.close(figure)


def table(rows: list[Row]) -> str:
    lines = [("", "measured", "", "target"), *((r.what, f"{r.value:.3g}", r.unit, r.target) for r in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"{what:{widths[0]}}  {value:>{widths[1]}} {unit:{widths[2]}}  {target}".rstrip()
        for what, value, unit, target in lines
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures speed and memory of SGD on one core.")
    parser.add_argument("--quick", action="store_true", help="a few repeats only: a quarter of a minute")
    parser.add_argument("--plot", action="store_true", help=f"draw {PLOT.name} too")
    parser.add_argument("--peak-memory", metavar="SIZE", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peak_memory:
        print(own_peak_memory(Size(**json.loads(given.peak_memory))))
        return
    size = replace(QUICK if given.quick else FULL, use_mnist=mnist.is_available())
    here = machine()
    print(*(f"{key}: {value}" for key, value in here.items()), "", sep="\n", flush=True)
    rows, samples, shown = measure(size)
    print(table(rows))
    OUT.parent.mkdir(exist_ok=True)
    result = {"machine": here, "size": asdict(size), "rows": [asdict(row) for row in rows], "seconds": samples} | shown
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.plot:
        plot(shown, rows[0].value)


if __name__ == "__main__":
    main()
