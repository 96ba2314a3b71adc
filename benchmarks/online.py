"""Speed of online SGD on fresh samples, beside the matrix-product rate of the machine; on one core where not said
otherwise.

    python benchmarks/online.py [--quick]

Prints a table and writes it, with every sample it rests on, to build/bench-online.json. How: see README.md beside this
file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

# before numpy, because it sets the number of threads of BLAS
import bench
import numpy as np
from bench import Row, median

from hmm_utils.data import streams
from hmm_utils.model import datasets, networks, observables
from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.sgd import block, hardware

OUT = Path(__file__).resolve().parent.parent / "build" / "bench-online.json"
STAGES = ("normal numbers", "product cF", "folding f", "labels", *bench.STAGES)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    rounds        repeats of every timing, interleaved
    squares       sizes n of the n × n matrices for the matrix-product rate
    chunks        chunks of fresh samples in one timing
    widths        of the fleet; the single student has the teacher's M = 2
    """

    rounds: int = 9
    squares: tuple[int, ...] = (1024, 1536, 2048)
    chunks: int = 2
    n_inputs: int = 10_000
    n_latent: int = 1000
    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10)


FULL = Size()
QUICK = Size(rounds=3)


def hidden_manifold(size: Size, f: str, rng: np.random.Generator) -> tuple[streams.Source, np.ndarray]:
    F = rng.standard_normal((size.n_latent, size.n_inputs), dtype=np.float32)
    teacher = networks.random_network(size.n_latent, 2, rng=rng)
    return streams.latent_task(streams.structured(F, f, 0), teacher), F


def fleet_of(size: Size, widths: tuple[int, ...], rng: np.random.Generator) -> block.Fleet:
    return block.Fleet.of([networks.random_network(size.n_inputs, K, rng=rng) for K in widths])


def stream(
    size: Size, source: streams.Source, fleet: block.Fleet, rng: np.random.Generator
) -> tuple[Callable[[], object], int]:
    """Trains the fleet on so many chunks of fresh samples as `online.train` does it; and how many samples these are."""
    chunks = source.chunks(rng)
    n = len(next(chunks)[1])

    def run() -> None:
        for _ in range(size.chunks):
            block.advance(fleet, *next(chunks), np.arange(n), lr=bench.LR, layers="both")

    return run, size.chunks * n


def parts(
    size: Size, source: streams.Source, F: np.ndarray, f: str, n: int, rng: np.random.Generator
) -> dict[str, Callable[[], object]]:
    """What is done to make n samples of a hidden manifold, one by one, in the order of STAGES."""
    scaled = np.ascontiguousarray(F / sqrt(size.n_latent), np.float32)
    c = source.latent(rng, n)
    u = c @ scaled
    fold = NONLINEARITIES[f].fast or NONLINEARITIES[f]
    return {
        "normal numbers": lambda: source.latent(rng, n),
        "product cF": lambda: c @ scaled,
        "folding f": lambda: fold(u),
        "labels": lambda: source.teacher(c),
    }


def engine_stages(size: Size, source: streams.Source, fleet: block.Fleet, rng: np.random.Generator) -> np.ndarray:
    """Seconds per step that the functions of a block take one by one on samples that are there."""
    x, _, y = source.samples(source.latent(rng, 512))
    inputs = datasets.Inputs(x_train=x, x_test=x[:1], description="fresh samples")
    return bench.stages(fleet, datasets.Dataset(inputs=inputs, y_train=y, y_test=y[:1], task="teacher"), 512, rng)


def measure(size: Size) -> tuple[list[Row], dict[str, list[float]]]:
    """The table, and the samples in seconds behind it.

    Raises RuntimeError if a student diverges: NaN has a speed of its own.
    """
    rng = np.random.default_rng(1)
    sgn, F = hidden_manifold(size, "sgn", rng)
    smooth, _ = hidden_manifold(size, "erf", rng)
    gauss = streams.teacher_task(streams.gaussian(size.n_inputs), networks.random_network(size.n_inputs, 2, rng=rng))
    cases = {
        "one student, f = sgn": (sgn, (2,)),
        "one student, f = erf": (smooth, (2,)),
        f"{len(size.widths)} students, f = sgn": (sgn, size.widths),
        "one student, Gaussian inputs": (gauss, (2,)),
    }
    fleets = {name: fleet_of(size, widths, rng) for name, (_, widths) in cases.items()}
    runs = {f"product {n}": bench.product(n, rng) for n in size.squares}
    # a generator of random numbers for each: they are not made for two threads
    streamed = {
        name: stream(size, source, fleets[name], np.random.default_rng((2, j)))
        for j, (name, (source, _)) in enumerate(cases.items())
    }
    runs |= {name: run for name, (run, _) in streamed.items()}
    first = next(iter(cases))
    steps = streamed[first][1]
    twins = [fleet_of(size, (2,), rng) for _ in range(2)]
    if hardware.cores() > 1:
        runs["two simulations, two threads"] = bench.in_two_threads(
            *(stream(size, sgn, twin, np.random.default_rng((3, j)))[0] for j, twin in enumerate(twins))
        )
    making = parts(size, sgn, F, "sgn", steps // size.chunks, rng)
    runs |= making
    W, known = fleets[f"{len(size.widths)} students, f = sgn"].W, {"wt": sgn.teacher.W, "b": 0.8, "zeta": 0.4}
    runs["order parameters"] = lambda: observables.hidden_manifold_overlaps(W, F=F, **known)
    took = bench.interleave(runs, size.rounds)
    working = np.median([engine_stages(size, sgn, fleets[first], rng) for _ in range(size.rounds + 1)][1:], axis=0)
    if not all(fleet.alive.all() for fleet in (*fleets.values(), *twins)):
        raise RuntimeError("a student of the benchmark diverged: its time says nothing.")

    rates = {n: 2 * n**3 / took[f"product {n}"] for n in size.squares}
    best = max(rates, key=lambda n: np.median(rates[n]))
    rows = [Row(f"float32 matrix products, {best} × {best}", median(rates[best]) / 1e9, "Gflop/s")]
    for name, (source, widths) in cases.items():
        step = took[name] / streamed[name][1]
        rows.append(Row(f"{name}: student-steps a second", len(widths) / median(step), ""))
        if source is not gauss:
            useful = (2 * size.n_latent + 4 * sum(widths)) * size.n_inputs / step
            rows.append(Row(f"{name}: useful rate / matrix products", 100 * median(useful / rates[best]), "%"))
    if hardware.cores() > 1:
        gain = 2 * took[first] / took["two simulations, two threads"]
        rows.append(Row("two simulations on two cores: speed / one on one", median(gain), "times"))
    spent = [median(took[part]) / (steps / size.chunks) for part in making] + working.tolist()
    for stage, seconds in zip(STAGES, spent, strict=True):
        rows.append(Row(f"{first}: {stage}, per step", 1e6 * seconds, "µs"))
    whole = median(took[first]) / steps
    rows += [
        Row(f"{first}: a step", 1e6 * whole, "µs"),
        Row(f"{first}: share of the product cF", 100 * spent[STAGES.index("product cF")] / whole, "%"),
        Row(f"order parameters of {sum(size.widths)} hidden units, once", 1e3 * median(took["order parameters"]), "ms"),
    ]
    return rows, {name: sample.tolist() for name, sample in took.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures the speed of online SGD on fresh samples.")
    parser.add_argument("--quick", action="store_true", help="a few repeats only")
    size = QUICK if parser.parse_args(arguments).quick else FULL
    here = bench.machine()
    print(*(f"{key}: {value}" for key, value in here.items()), "", sep="\n", flush=True)
    rows, samples = measure(size)
    print(bench.table(rows))
    OUT.parent.mkdir(exist_ok=True)
    result = {"machine": here, "size": asdict(size), "rows": [asdict(row) for row in rows], "seconds": samples}
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
