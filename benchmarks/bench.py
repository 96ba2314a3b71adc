"""Speed and memory of the engine, beside the matrix-product rate of the machine; on one core, but for `train`.

    python benchmarks/bench.py [--quick]

Prints a table and writes it, with every sample it rests on, to build/bench.json. How: see README.md beside this file.
"""

from __future__ import annotations

import os

# read by these libraries once, when they are loaded
os.environ.update(
    dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"),
        "1",
    )
)

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import sqrt
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np
import threadpoolctl

from hmm_utils import datasets, engine, mnist, networks, oracle, training

OUT = Path(__file__).resolve().parent.parent / "build" / "bench.json"

LR = 0.2
BLOCKS = 40  # blocks of matrix products timed at once


@dataclass(frozen=True)
class Size:
    """How much is measured. The problem is the paper's; only tests and curious readers change it.

    rounds                         repeats of every timing, interleaved
    train_time, train_evaluations  the call of `train`: its end in steps/N, and how often it evaluates
    train_rounds                   repeats of it
    squares                        sizes n of the n × n matrices for the matrix-product rate
    *_steps                        SGD steps in one timing
    """

    rounds: int = 15
    train_rounds: int = 3
    train_time: float = 20.0
    train_evaluations: int = 8
    squares: tuple[int, ...] = (1024, 1536, 2048)
    fleet_steps: int = 4096
    loop_steps: int = 1000
    live_steps: int = 20000
    n_inputs: int = 784
    n_train: int = 76 * 784
    n_test: int = 10000
    live_train: int = 10000
    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10)
    n_inits: int = 10
    use_mnist: bool = False

    @property
    def n_students(self) -> int:
        return len(self.widths) * self.n_inits

    @property
    def n_rows(self) -> int:
        return sum(self.widths) * self.n_inits


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
    """The three matrix products of a block of the engine and nothing else, over and over, and their flops."""
    R, N, B = size.n_rows, size.n_inputs, engine._default_block(size.n_rows)
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
    return datasets.own_task(datasets.handwritten_digits("mnist", rng=rng), "odd against even")


def whole_fleet(size: Size, rng: np.random.Generator) -> engine.Fleet:
    return engine.Fleet.of(
        [networks.random_network(size.n_inputs, K, rng=rng) for K in size.widths for _ in range(size.n_inits)]
    )


def advance(fleet: engine.Fleet, data: datasets.Dataset, steps: int, rng: np.random.Generator) -> Callable[[], object]:
    def run() -> None:
        indices = rng.integers(len(data.x_train), size=steps)
        engine.advance(fleet, data.x_train, data.y_train, indices, lr=LR, layers="both")

    return run


def torch_sgd(
    network: networks.Network, x: np.ndarray, y: np.ndarray, indices: np.ndarray, *, lr: float
) -> networks.Network:
    """`oracle.sgd` for an erf network with both layers trained, as one writes it with PyTorch's autograd."""
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

    measure_errors = training._measure
    with patch.object(training, "_measure", timed):
        whole = seconds(
            lambda: training.train(
                data,
                widths=size.widths,
                n_inits=size.n_inits,
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
        n_inits=size.n_inits,
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


def measure(size: Size) -> tuple[list[Row], dict[str, list[float]]]:
    """The table, and the samples in seconds behind it.

    Raises RuntimeError if a student diverges: NaN has a speed of its own.
    """
    # before anything else, because on Linux the peak of a child starts at what its parent held when it was started
    peak = peak_memory(size)

    rng = np.random.default_rng(1)
    gauss, few = gaussian_task(size, size.n_train, rng), gaussian_task(size, size.live_train, rng)
    data = {"Gaussian inputs": gauss} | ({"MNIST": mnist_task(rng)} if size.use_mnist else {})
    fleets = {name: whole_fleet(size, rng) for name in data}
    one = engine.Fleet.of([networks.random_network(size.n_inputs, 4, rng=rng)])

    runs = {f"product {n}": product(n, rng) for n in size.squares}
    runs["engine's products"], flops = engine_products(size, rng)
    runs |= {f"fleet, {name}": advance(fleets[name], data[name], size.fleet_steps, rng) for name in data}
    runs["one student"] = advance(one, few, size.live_steps, rng)
    runs["PyTorch loop"] = loop(torch_sgd, gauss, size.loop_steps, rng)
    runs["numpy loop"] = loop(partial(oracle.sgd, layers="both"), gauss, size.loop_steps, rng)
    took = interleave(runs, size.rounds)
    trained = np.array([in_evaluation(size, gauss) for _ in range(size.train_rounds)])
    if not all(fleet.alive.all() for fleet in (*fleets.values(), one)):
        raise RuntimeError("a student of the benchmark diverged: its time says nothing.")

    rates = {n: 2 * n**3 / took[f"product {n}"] for n in size.squares}
    best = max(rates, key=lambda n: np.median(rates[n]))
    rows = [
        Row(f"float32 matrix products, {best} × {best}", median(rates[best]) / 1e9, "Gflop/s"),
        Row(
            "float32 matrix products, shapes of the engine", median(flops / took["engine's products"]) / 1e9, "Gflop/s"
        ),
    ]
    for name in data:
        step = took[f"fleet, {name}"] / size.fleet_steps
        useful = 4 * size.n_rows * size.n_inputs / step
        rows += [
            Row(f"fleet, {name}: a student-step", median(step) / size.n_students * 1e6, "µs", "≤ 0.35"),
            Row(f"fleet, {name}: useful rate / matrix products", 100 * median(useful / rates[best]), "%", "≥ 45"),
        ]
    fleet_step = took["fleet, Gaussian inputs"] / size.fleet_steps / size.n_students
    rows.append(Row("one student, small P: a step", median(took["one student"]) / size.live_steps * 1e6, "µs"))
    for name, target in (("PyTorch loop", "≥ 400"), ("numpy loop", "")):
        step = took[name] / size.loop_steps
        rows += [
            Row(f"{name}: a step", median(step) * 1e6, "µs"),
            Row(f"{name} / fleet, per student-step", median(step / fleet_step), "times", target),
        ]

    whole, evaluating = trained.T
    paper = median(evaluating / size.train_evaluations / ((whole - evaluating) / size.train_time)) / 100
    rows += [
        Row(
            f"train, pairs in two threads, to time {size.train_time:g} with {size.train_evaluations} evaluations",
            median(whole),
            "s",
        ),
        Row("    of this in evaluations", 100 * median(evaluating / whole), "%"),
        Row("    the same to time 10 000 with 100 evaluations", 100 * paper / (1 + paper), "%"),
        Row(f"peak memory, pairs of the fleet on {list(data)[-1]}", peak / 1e9, "GB", "≤ 1.5"),
    ]
    samples = took | {"train": whole, "train: evaluations": evaluating}
    return rows, {name: sample.tolist() for name, sample in samples.items()}


def table(rows: list[Row]) -> str:
    lines = [("", "measured", "", "target"), *((r.what, f"{r.value:.3g}", r.unit, r.target) for r in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"{what:{widths[0]}}  {value:>{widths[1]}} {unit:{widths[2]}}  {target}".rstrip()
        for what, value, unit, target in lines
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures speed and memory of the engine on one core.")
    parser.add_argument("--quick", action="store_true", help="a few repeats only: a quarter of a minute")
    parser.add_argument("--peak-memory", metavar="SIZE", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peak_memory:
        print(own_peak_memory(Size(**json.loads(given.peak_memory))))
        return
    size = replace(QUICK if given.quick else FULL, use_mnist=mnist.is_available())
    here = machine()
    print(*(f"{key}: {value}" for key, value in here.items()), "", sep="\n", flush=True)
    rows, samples = measure(size)
    print(table(rows))
    OUT.parent.mkdir(exist_ok=True)
    result = {"machine": here, "size": asdict(size), "rows": [asdict(row) for row in rows], "seconds": samples}
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
