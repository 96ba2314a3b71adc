"""How long the paper's profile takes on this machine: every set-up for a hundredth of its training time, extrapolated.

    python benchmarks/paper.py [--fraction 0.01] [--device cpu]

Of every set-up the first group of draws that train side by side is trained for this fraction of the time, and measured
once as along the run and once as at its end. The whole is then

    groups · (data + training / fraction + (evaluations − 1) · one along the run + the one at the end).

On a GPU, where set-ups of one size train together, one group of each size stands for all of that size, and its draws
share one data set: what is in the data makes no difference to the time, and making it is counted for each draw.

Prints a table and writes it to build/bench-paper.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np

from hmm_utils.data import mnist
from hmm_utils.model import networks
from hmm_utils.runs import experiments
from hmm_utils.sgd import backends, hardware, training

OUT = Path(__file__).resolve().parent.parent / "build" / "bench-paper.json"


@dataclass(frozen=True)
class Sample:
    """What was measured of one group of draws, in seconds, and what all groups of its size take.

    groups                 groups of this size, one after the other
    operations             useful ones in a group: 4KN for every step of every student
    data, training         making the data of a group, Gaussian inputs included; training it for a fraction of the time
    along, end             measuring all errors once before the end, and at the end
    """

    name: str
    rows: int
    groups: int
    operations: float
    evaluations: int
    fraction: float
    data: float
    training: float
    along: float
    end: float

    @property
    def measured(self) -> float:
        return self.data + self.training + self.along + self.end

    @property
    def whole(self) -> float:
        along = (self.evaluations - 1) * self.along
        return self.groups * (self.data + self.training / self.fraction + along + self.end)


@contextmanager
def timed(where: str) -> Iterator[dict[str, list[float]]]:
    """The seconds of every call that trains and of every call that measures errors."""
    spent: dict[str, list[float]] = {"advance": [], "errors": []}
    backend = backends.CpuBackend if where == "cpu" else backends.TorchBackend

    def watched(name: str) -> Callable[..., object]:
        original = getattr(backend, name)

        def call(*args: object) -> object:
            wait(where)
            start = perf_counter()
            result = original(*args)
            wait(where)
            spent[name].append(perf_counter() - start)
            return result

        return call

    with patch.multiple(backend, advance=watched("advance"), errors=watched("errors")):
        yield spent


def wait(where: str) -> None:
    """Until a GPU has done what it was asked for."""
    if where.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def kinds(plan: Mapping[str, experiments.Experiment], where: str) -> dict[tuple, list[list[tuple[str, int]]]]:
    """The groups of draws that are trained together, by what decides their time."""
    found: dict[tuple, list[list[tuple[str, int]]]] = {}
    for jobs in experiments.groups_of_draws(plan, where):
        e = plan[jobs[0][0]]
        size = (e.inputs == "digits", e.n_inputs, e.widths, e.n_pairs, e.activation, e.time, len(jobs))
        found.setdefault((jobs[0][0],) if where == "cpu" else size, []).append(jobs)
    return found


def sample(
    plan: Mapping[str, experiments.Experiment],
    groups: Sequence[Sequence[tuple[str, int]]],
    fraction: float,
    where: str = "cpu",
) -> Sample:
    """A fraction of the training of the first of these groups of draws."""
    jobs, rng = groups[0], np.random.default_rng(0)
    name = jobs[0][0]
    e = plan[name]
    # any network does as long as it takes: what it learnt makes no difference to the time
    teacher = networks.random_network(784, e.teacher_width, rng=rng) if e.task == "pretrained" else None
    start = perf_counter()
    data = experiments.dataset(e, rng=rng, teacher=teacher)
    made = perf_counter() - start
    runs = [
        training.FleetPair(dataset=data, rng=rng, lr=plan[n].lr, layers=plan[n].layers, init_scale=plan[n].init_scale)
        for n, _ in jobs
    ]
    with timed(where) as spent:
        training.train_fleets(
            runs,
            widths=e.widths,
            n_pairs=e.n_pairs,
            time=e.time * fraction,
            activation=e.activation,
            evaluate_at=[0],
            n_test_along=e.n_test_along,
            n_gauss=e.n_test,
            device=where,
            progress=None,
        )
    whole, steps = perf_counter() - start, sum(spent["advance"])
    # test and Gaussian inputs, at time 0 and at the end
    along, end = sum(spent["errors"][:2]), sum(spent["errors"][2:])
    rest = whole - steps - along - end + (len(jobs) - 1) * made
    N = data.inputs.n_inputs
    operations = 4 * sum(e.widths) * N * 2 * e.n_pairs * len(jobs) * e.time * N
    return Sample(
        name=name if where == "cpu" else f"{name} and the like",
        rows=sum(e.widths) * e.n_pairs,
        groups=len(groups),
        operations=operations,
        evaluations=e.n_times,
        fraction=fraction,
        data=rest,
        training=steps,
        along=along,
        end=end,
    )


def line(name: str, rows: str, groups: str, measured: float, whole: float) -> str:
    return f"{name:28} {rows:>6} {groups:>7} {measured:14.1f} {whole / 60:14.1f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Extrapolates the time of the paper's profile from a sample of it.")
    parser.add_argument("--fraction", type=float, default=0.01, help="part of the training time that is run (0.01)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    chosen = parser.parse_args(arguments)
    fraction, where = chosen.fraction, hardware.resolve(chosen.device)
    if not 0 < fraction <= 1:
        parser.error("the fraction must lie between 0 and 1.")
    plan = experiments.whole_plan("paper")
    if not mnist.is_available():
        # the small digits would be measured instead
        plan = {name: replace(e, data="digits") if e.inputs == "digits" else e for name, e in plan.items()}
        print("MNIST is not here: its set-ups run on the 8×8 digits, and their times say nothing about the paper.")
    print(f"{hardware.cores()} cores\n")
    print(f"{'set-up':28} {'rows':>6} {'groups':>7} {'sample, s':>14} {'whole, min':>14}")
    samples = []
    for groups in kinds(plan, where).values():
        samples.append(sample(plan, groups, fraction, where))
        now = samples[-1]
        print(line(now.name, str(now.rows), str(now.groups), now.measured, now.whole), flush=True)
    measured, whole = sum(s.measured for s in samples), sum(s.whole for s in samples)
    print(line("all", "", "", measured, whole))
    OUT.parent.mkdir(exist_ok=True)
    result = {
        "cores": hardware.cores(),
        "measured_s": measured,
        "whole_min": whole / 60,
        "samples": [asdict(s) | {"whole": s.whole} for s in samples],
    }
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
