"""How the cost of training grows: with workers, with the size of a fleet, with N, P and K.

    python benchmarks/scaling.py [--quick] [--plot FILE]

Prints tables in Markdown and writes all that they rest on to build/bench-scaling.json. How: see README.md there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TypeVar
from unittest.mock import patch

import bench
import numpy as np
import paper
from threadpoolctl import threadpool_limits

from hmm_utils.model import datasets, networks
from hmm_utils.runs import experiments, sweep
from hmm_utils.sgd import block, hardware, training

OUT = Path(__file__).resolve().parent.parent / "build" / "bench-scaling.json"
LR = 0.2
TEACHER_WIDTH = 4
N_TEST = 64

T = TypeVar("T")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    rounds, seconds      repeats of every point, and how long each of them trains
    stage_seconds        the same for the functions of a block one by one
    n_inputs, n_train    N and P where they are fixed; their product is the number of entries of all training sets
    width                K where it is fixed
    fleet                numbers of students for the series over fleets
    N, N_fleet           N for the series over N, and the number of students in the fleet trained beside one student
    P, P_inputs          P for the series over P, and N there, small so that little but P can matter
    K                    K for the series over K
    N_from, K_from       where the range of the fits begins
    product              n of the n × n matrix products
    sweep, sweep_rounds  what replaces the values of the experiment that the workers share, and repeats of it
    """

    rounds: int = 7
    seconds: float = 0.35
    stage_seconds: float = 0.1
    n_inputs: int = 784
    n_train: int = 76 * 784
    width: int = 4
    fleet: tuple[int, ...] = tuple(2**k for k in range(13))
    N: tuple[int, ...] = (100, 178, 316, 562, 1000, 1778, 3162, 5623, 10000)
    N_fleet: int = 64
    P: tuple[int, ...] = (100, 300, 1000, 3000, 10000, 30000, 100000, 300000)
    P_inputs: int = 100
    K: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
    N_from: int = 1000
    K_from: int = 64
    product: int = 1536
    sweep: tuple[tuple[str, object], ...] = (("time", 1000.0), ("n_inputs", 200), ("n_draws", 12))
    sweep_rounds: int = 3


FULL = Size()
QUICK = Size(
    rounds=2,
    seconds=0.005,
    stage_seconds=0.002,
    n_inputs=50,
    n_train=400,
    fleet=(1, 4, 16),
    N=(10, 20, 40, 80),
    N_fleet=4,
    P=(50, 100, 200),
    P_inputs=10,
    K=(1, 4, 16, 64),
    N_from=20,
    K_from=4,
    product=64,
    sweep=(("time", 2.0), ("n_inputs", 20), ("n_draws", 2), ("n_test", 50), ("n_times", 3)),
    sweep_rounds=1,
)


@dataclass(frozen=True)
class Point:
    """A fleet of `students` students of one width, on P samples of N inputs; `x` is what its series varies."""

    series: str
    x: int
    n_inputs: int
    n_train: int
    width: int
    students: int


@dataclass(frozen=True)
class Law:
    """cost ∝ x^exponent of a series, fitted over first ≤ x ≤ last, and the exponent that counting operations suggests.

    cost  "student-step", or "unit of time": N student-steps
    """

    series: str
    cost: str
    first: int
    last: int
    expected: float
    exponent: float
    se: float


# ---- What is measured -----------------------------------------------------------------------------------------------


def series(size: Size) -> list[Point]:
    """The points of all series.

    Where N varies, P is what fills the same memory at every N, so that samples come from equally far away.
    """
    N, P, K = size.n_inputs, size.n_train, size.width
    return [
        *(Point("fleet", U, N, P, K, U) for U in size.fleet),
        *(Point("N", n, n, N * P // n, K, 1) for n in size.N),
        *(Point("N, fleet", n, n, N * P // n, K, size.N_fleet) for n in size.N),
        *(Point("P", p, size.P_inputs, p, K, 1) for p in size.P),
        *(Point("K", k, N, P, k, 1) for k in size.K),
    ]


def tasks(points: Iterable[Point], size: Size, rng: np.random.Generator) -> dict[Point, datasets.Dataset]:
    """A teacher task for each point. All inputs are the same Gaussian numbers: independent in any shape."""
    widest = max(point.n_inputs for point in points)
    drawn = datasets.gaussian(size.n_inputs, size.n_train, N_TEST * widest // size.n_inputs + 1, rng=rng)
    train, test = drawn.x_train.ravel(), drawn.x_test.ravel()

    def task(N: int, P: int) -> datasets.Dataset:
        x_train, x_test = (x[: n * N].reshape(n, N) for x, n in ((train, P), (test, N_TEST)))
        inputs = datasets.Inputs(x_train=x_train, x_test=x_test, description=drawn.description)
        return datasets.teacher_task(inputs, networks.random_network(N, TEACHER_WIDTH, rng=rng))

    made = {shape: task(*shape) for shape in sorted({(point.n_inputs, point.n_train) for point in points})}
    return {point: made[point.n_inputs, point.n_train] for point in points}


def learning_rate(width: int) -> float:
    """η, smaller for wide students: a step changes the output by a sum over K hidden units."""
    return LR * min(1, TEACHER_WIDTH / width)


def train(point: Point, task: datasets.Dataset, steps: int) -> float:
    """Seconds that `training.train` spends on the SGD steps of a pair of fleets, one after the other on one core.

    Raises RuntimeError if a student diverges: NaN has a speed of its own.
    """
    with paper.timed("cpu") as spent, warnings.catch_warnings():
        warnings.simplefilter("error", training.DivergenceWarning)
        try:
            training.train(
                task,
                widths=[point.width],
                n_pairs=point.students,
                lr=learning_rate(point.width),
                time=steps / point.n_inputs,
                evaluate_at=[steps / point.n_inputs],
                n_gauss=N_TEST,
                rng=np.random.default_rng(point.x),
                progress=None,
            )
        except training.DivergenceWarning as warning:
            raise RuntimeError(f"a student of the benchmark diverged, so its time says nothing: {warning}") from None
    return sum(spent["advance"])


def steps_for(seconds: float, run: Callable[[int], float]) -> int:
    """How many steps take so many seconds, from runs that grow until they take an eighth of it.

    Of two runs the faster counts: the other may have waited for another program, or for the compiler.
    """
    steps = 64
    while (took := min(run(steps), run(steps))) < seconds / 8:
        steps *= 4
    return max(round(steps * seconds / took), 1)


def interleaved(
    runs: Mapping[Key, Callable[[], T]], rounds: int, rng: np.random.Generator
) -> tuple[dict[Key, list[T]], list[list[Key]]]:
    """What every run returns, once in every round, and the order within each round, which is drawn anew.

    A machine that becomes slower then does so for no series from its one end to its other.
    """
    keys, found = list(runs), {key: [] for key in runs}
    orders = [[keys[i] for i in rng.permutation(len(keys))] for _ in range(rounds)]
    for order in orders:
        for key in order:
            found[key].append(runs[key]())
    return found, orders


def measure(points: Sequence[Point], size: Size, rng: np.random.Generator) -> dict[str, object]:
    """Seconds per student-step of every point, as a whole and by the functions of a block, on one core.

    Raises RuntimeError if a student diverges.
    """
    data = tasks(points, size, rng)
    fleets = {
        p: bench.fleet_of(p.n_inputs, (p.width,), p.students, rng) for p in points if p.series != "fleet"
    }
    steps: dict[tuple[str, Point | None], int] = {}

    def whole(point: Point, n: int) -> float:
        return train(point, data[point], n)

    def by_stage(point: Point, n: int) -> np.ndarray:
        return bench.stages(fleets[point], data[point], n, rng, lr=learning_rate(point.width))

    def blocks(point: Point, n: int) -> int:
        """Steps that make whole blocks, a few at least."""
        B = block.default_block(point.width * point.students)
        return max(n // B, 4) * B

    def per_student_step(key: tuple[str, Point]) -> Callable[[], np.ndarray]:
        what, point = key
        n = steps[key]
        if what == "train":
            return lambda: np.array(whole(point, n) / (2 * n * point.students))
        return lambda: by_stage(point, n) / point.students

    with patch.dict(os.environ, OMP_NUM_THREADS="1"), threadpool_limits(limits=1, user_api="blas"):
        for point in points:
            trial = steps_for(size.seconds, lambda n, point=point: whole(point, n))
            steps["train", point] = blocks(point, trial)
        for point in fleets:
            trial = steps_for(size.stage_seconds, lambda n, point=point: n * by_stage(point, n).sum())
            steps["stages", point] = blocks(point, trial)
        product = bench.product(size.product, rng)
        runs = {key: per_student_step(key) for key in steps}
        runs["product", None] = lambda: np.array([bench.seconds(product) for _ in range(8)][1:]).mean()
        found, orders = interleaved(runs, size.rounds, rng)
    if not all(fleet.alive.all() for fleet in fleets.values()):
        raise RuntimeError("a student of the benchmark diverged, so its time says nothing.")
    return {
        "points": [
            asdict(point)
            | {"steps": steps["train", point], "seconds": np.array(found["train", point])}
            | ({"stages": np.array(found["stages", point])} if point in fleets else {})
            for point in points
        ],
        "product_flops": 2 * size.product**3 / bench.median(np.array(found["product", None])),
        "orders": [[f"{what} {point.series} {point.x}" for what, point in order if point] for order in orders],
    }


# ---- Workers --------------------------------------------------------------------------------------------------------


def layouts(cores: int) -> list[tuple[int, int]]:
    """(workers, threads of each): one, one with all cores, and one-core workers up to a worker for each core."""
    workers = [2**k for k in range(cores.bit_length()) if 2**k <= cores]
    return [(1, 1), *([(1, cores)] if cores > 1 else []), *((n, 1) for n in workers if n > 1)]


def swept(e: experiments.Experiment, workers: int, threads: int) -> float:
    """Seconds of `sweep.run_cached` into an empty cache: processes, data, training, evaluations, files."""
    # `sweep` divides what it may use among its workers
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, OMP_NUM_THREADS=str(workers * threads)):
        start = perf_counter()
        sweep.run_cached({e.name: e}, Path(folder), workers=workers, progress=False)
        return perf_counter() - start


def students(e: experiments.Experiment) -> int:
    """Students that an experiment trains, in pairs."""
    return 2 * len(e.widths) * e.n_pairs * e.n_draws


def against_workers(size: Size, rng: np.random.Generator) -> list[dict[str, object]]:
    """Seconds of a small experiment like the paper's for every layout, and of a start: one draw a worker of next to
    nothing."""
    e = experiments.experiment("fig1_right_signs", **dict(size.sweep))
    nothing = replace(e, n_inputs=4, n_train=8, time=1.0, n_times=3, n_test=8)
    runs = {}
    for layout in layouts(hardware.cores()):
        runs["whole", layout] = lambda layout=layout: swept(e, *layout)
        runs["start", layout] = lambda layout=layout: swept(replace(nothing, n_draws=layout[0]), *layout)
    with threadpool_limits(limits=1, user_api="blas"):
        found, _ = interleaved(runs, size.sweep_rounds, rng)
    return [
        {
            "workers": workers,
            "threads": threads,
            "students": students(e),
            "student_steps": students(e) * round(e.time * e.n_inputs),
            "seconds": np.array(found["whole", (workers, threads)]),
            "start": np.array(found["start", (workers, threads)]),
        }
        for workers, threads in layouts(hardware.cores())
    ]


# ---- What follows from it -------------------------------------------------------------------------------------------


def exponent(x: Sequence[float], cost: Sequence[float]) -> tuple[float, float]:
    """γ of cost ∝ x^γ by least squares of log cost on log x, and its standard error from the residuals."""
    line, covariance = np.polyfit(np.log(x), np.log(cost), 1, cov=True)
    return float(line[0]), float(np.sqrt(covariance[0, 0]))


def of_series(measured: Sequence[Mapping], name: str, first: int = 0) -> list[Mapping]:
    return [point for point in measured if point["series"] == name and point["x"] >= first]


def ranges(size: Size) -> dict[str, tuple[int, int]]:
    """For every series that is fitted, where the range of the fit begins and the exponent expected of a student-step.

    4KN operations a step, and whatever P is.
    """
    return {"N": (size.N_from, 1), "N, fleet": (size.N_from, 1), "P": (size.P[0], 0), "K": (size.K_from, 1)}


def laws(measured: Sequence[Mapping], size: Size) -> list[Law]:
    """The exponents of a student-step and, where N varies, of a unit of time, which has N steps."""
    found = []
    for name, (first, expected) in ranges(size).items():
        chosen = of_series(measured, name, first)
        x, cost = np.array([p["x"] for p in chosen]), np.array([np.median(p["seconds"]) for p in chosen])
        ends = int(x[0]), int(x[-1])
        found.append(Law(name, "student-step", *ends, expected, *exponent(x, cost)))
        if name.startswith("N"):
            found.append(Law(name, "unit of time", *ends, expected + 1, *exponent(x, x * cost)))
    return found


def stage_laws(measured: Sequence[Mapping], law: Law) -> dict[str, dict[str, float]]:
    """For each function of a block over the range of a fit: its exponent γ_i, its share of the time at the ends,
    and what it makes of the difference between the whole exponent and the expected one γ.

    The exponent of a sum is the mean of the exponents of its terms, weighted by their shares of it,

        d log Σ T_i / d log x − γ = Σ (T_i / T) (γ_i − γ),

    here with the mean share over the range.
    """
    chosen = of_series(measured, law.series, law.first)
    x, cost = [p["x"] for p in chosen], np.array([np.median(p["stages"], axis=0) for p in chosen])
    share = cost / cost.sum(axis=1, keepdims=True)
    found = {}
    for stage, spent, part in zip(bench.STAGES, cost.T, share.T, strict=True):
        gamma, _ = exponent(x, spent)
        found[stage] = {
            "exponent": gamma,
            "share_first": part[0],
            "share_last": part[-1],
            "difference": part.mean() * (gamma - law.expected),
        }
    return found


def explanation(law: Law, by_stage: Mapping[str, Mapping[str, float]]) -> str:
    """One sentence on where a fitted exponent differs from the expected one: the two functions that make most of it."""
    difference = law.exponent - law.expected
    says = f"{law.series}: {law.exponent:.2f} ± {law.se:.2f} for {law.expected:g}"
    if abs(difference) < 2 * law.se:
        return f"{says}, no more than its error allows."
    most = sorted(by_stage.items(), key=lambda item: -np.sign(difference) * item[1]["difference"])[:2]
    parts = " and ".join(
        f"{stage} for {one['difference']:+.2f} (exponent {one['exponent']:.2f})" for stage, one in most
    )
    return f"{says}; of {difference:+.2f}, {parts}."


def spread(samples: np.ndarray) -> float:
    """Interquartile range over median."""
    low, middle, high = np.quantile(samples, (0.25, 0.5, 0.75))
    return float((high - low) / middle)


def peak_memory() -> int:
    """Bytes that were resident at most, in this process or one that it started."""
    import resource

    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if sys.platform == "darwin" else peak * 1024


# ---- What is shown --------------------------------------------------------------------------------------------------


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---", *["---:"] * (len(head) - 1)], *rows))


def tables(found: Mapping) -> str:
    """The results as Markdown."""
    workers = [
        (
            f"{one['workers']} × {one['threads']}",
            f"{np.median(one['seconds']):.2f}",
            f"{np.median(one['start']):.2f}",
            f"{one['students'] / np.median(one['seconds']):.1f}",
            f"{one['students'] / np.median(one['seconds'] - one['start']):.1f}",
            f"{one['student_steps'] / np.median(one['seconds'] - one['start']) / 1e6:.2f}",
        )
        for one in found["workers"]
    ]
    one_student = np.median(of_series(found["points"], "fleet")[0]["seconds"])
    fleet = [
        (
            str(p["x"]),
            f"{1e6 * np.median(p['seconds']):.3f}",
            f"{1e-6 / np.median(p['seconds']):.2f}",
            f"{one_student / np.median(p['seconds']):.1f}",
            f"{100 * spread(p['seconds']):.0f} %",
        )
        for p in of_series(found["points"], "fleet")
    ]
    exponents = [
        (law.cost, law.series, f"{law.first} … {law.last}", f"{law.exponent:.2f} ± {law.se:.2f}", f"{law.expected:g}")
        for law in found["laws"]
    ]
    stages = [
        (
            name,
            *(
                f"{one['exponent']:.2f} ({100 * one['share_first']:.0f} → {100 * one['share_last']:.0f} %)"
                for one in by_stage.values()
            ),
        )
        for name, by_stage in found["stage_laws"].items()
    ]
    return "\n\n".join(
        [
            markdown(
                [
                    "workers × threads of each", "seconds", "of these start", "students per second",
                    "without the start", "10⁶ student-steps per second",
                ],
                workers,
            ),
            markdown(
                [
                    "students", "µs per student-step", "10⁶ student-steps per second", "times one student",
                    "spread",
                ],
                fleet,
            ),
            markdown(["cost of", "against", "fitted over", "exponent", "expected"], exponents),
            markdown(["against", *bench.STAGES], stages),
            "\n".join(f"- {sentence}" for sentence in found["explanations"]),
        ]
    )  # fmt: skip


def plot(found: Mapping, size: Size, file: Path) -> None:
    """Draws students per second against workers and fleet, the costs against N, P, K with their fits, and the time of
    each of the functions of a block against N."""
    import matplotlib.pyplot as plt

    from hmm_utils import figures, files

    figures.use_style()
    fig, axes = plt.subplots(2, 3, figsize=(11.5, 6.6), layout="constrained")
    points = found["points"]
    fits = {law.series: law for law in found["laws"] if law.cost == "student-step"}

    ax = axes[0, 0]
    names = [f"{one['workers']} × {one['threads']}" for one in found["workers"]]
    whole = [one["students"] / one["seconds"] for one in found["workers"]]
    trained = [one["students"] / (one["seconds"] - one["start"]) for one in found["workers"]]
    for shift, rates, label in ((-0.2, whole, "start included"), (0.2, trained, "without the start")):
        heights = np.array([np.median(rate) for rate in rates])
        ends = np.abs([[h - rate.min(), rate.max() - h] for h, rate in zip(heights, rates, strict=True)]).T
        ax.bar(np.arange(len(names)) + shift, heights, 0.38, yerr=ends, label=label, ecolor="0.3")
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel="workers × threads of each", ylabel="students per second")
    ax.legend(loc="upper left")
    ax.margins(y=0.25)

    def cost(ax: plt.Axes, name: str, color: str, marker: str, label: str | None = None, rate: bool = False) -> None:
        chosen = of_series(points, name)
        samples = np.array([p["seconds"] for p in chosen])
        samples = 1 / samples if rate else 1e6 * samples
        middle = np.median(samples, axis=1)
        ends = np.stack([middle - samples.min(axis=1), samples.max(axis=1) - middle])
        ax.errorbar([p["x"] for p in chosen], middle, ends, fmt=marker, ms=4.5, color=color, lw=1, label=label)

    ax = axes[0, 1]
    cost(ax, "fleet", figures.BLUE, "o-", rate=True)
    one = 1 / np.median(of_series(points, "fleet")[0]["seconds"])
    limit = found["product_flops"] / (4 * size.width * size.n_inputs)
    for rate, text, va in ((one, "one student", "top"), (limit, "matrix products alone", "bottom")):
        ax.axhline(rate, color="0.55", lw=1, ls="--")
        ax.text(size.fleet[-1], rate, text, ha="right", va=va, fontsize=8, color="0.3")
    ax.set(xscale="log", yscale="log", xlabel="students in the fleet", ylabel="student-steps per second")
    ax.margins(y=0.12)

    def fitted(ax: plt.Axes, law: Law, name: str, color: str) -> None:
        chosen = of_series(points, name, law.first)
        x = np.array([p["x"] for p in chosen])
        log_cost = np.log([1e6 * np.median(p["seconds"]) for p in chosen])
        for gamma, style, dark in ((law.exponent, "-", color), (law.expected, ":", "0.45")):
            ax.plot(x, np.exp(np.mean(log_cost) + gamma * (np.log(x) - np.log(x).mean())), style, color=dark, lw=1.2)

    def label(law: Law) -> str:
        return f"{law.exponent:.2f} ± {law.se:.2f}"

    for ax, name in ((axes[0, 2], "N"), (axes[1, 0], "P"), (axes[1, 1], "K")):
        curves = [(name, figures.BLUE, "o", "one student")]
        if name == "N":
            curves.append(("N, fleet", figures.ORANGE, "s", f"{size.N_fleet} students"))
        for key, color, marker, who in curves:
            law = fits[key]
            cost(ax, key, color, marker, f"{who}: exponent {label(law)}")
            fitted(ax, law, key, color)
        ax.plot([], [], ":", color="0.45", lw=1.2, label=f"expected: {law.expected:g}")
        ax.set(xscale="log", yscale="log", xlabel=name, ylabel="µs per student-step")
        ax.legend(loc="upper left", fontsize=8)
        low, high = ax.get_ylim()
        ax.set_ylim(low, max(high * (high / low) ** 0.3, 4 * low))

    ax = axes[1, 2]
    chosen = of_series(points, "N")
    for j, (stage, marker) in enumerate(zip(bench.STAGES, "osD^v", strict=True)):
        spent = [1e6 * np.median(p["stages"][:, j]) for p in chosen]
        ax.plot([p["x"] for p in chosen], spent, f"{marker}-", ms=4, label=stage)
    ax.set(xscale="log", yscale="log", xlabel="N, one student", ylabel="µs per student-step")
    ax.legend(loc="upper left", fontsize=8)
    for letter, ax in zip("abcdef", axes.flat, strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    files.replace(file, lambda aside: fig.savefig(aside, dpi=120, format=file.suffix.lstrip(".") or "png"))
    plt.close(fig)


def plain(value: object) -> object:
    """For JSON: arrays as lists, laws as dictionaries."""
    return value.tolist() if isinstance(value, np.ndarray) else asdict(value)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures how the cost of training grows.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the results into this file too")
    given = parser.parse_args(arguments)
    size, rng = QUICK if given.quick else FULL, np.random.default_rng(1)
    here = bench.machine()
    print(*(f"{key}: {value}" for key, value in here.items()), "", sep="\n", flush=True)
    start = perf_counter()
    workers = against_workers(size, rng)
    found = {"machine": here, "size": asdict(size), "workers": workers} | measure(series(size), size, rng)
    found["laws"] = laws(found["points"], size)
    steps = [law for law in found["laws"] if law.cost == "student-step"]
    found["stage_laws"] = {law.series: stage_laws(found["points"], law) for law in steps}
    found["explanations"] = [explanation(law, found["stage_laws"][law.series]) for law in steps]
    found |= {"peak_memory_bytes": peak_memory(), "took_s": perf_counter() - start}
    print(tables(found))
    print(f"\npeak memory {found['peak_memory_bytes'] / 1e9:.2f} GB, {found['took_s']:.0f} s in all")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1, ensure_ascii=False, default=plain) + "\n", encoding="utf-8")
    if given.plot:
        plot(found, size, given.plot)


if __name__ == "__main__":
    main()
