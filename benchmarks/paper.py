"""How long the paper's profile takes on this machine: every set-up for a hundredth of its training time, extrapolated.

    python benchmarks/paper.py [--fraction 0.01]

Of every set-up the first group of draws that train side by side is made and trained for this fraction of the time, and
measured once as along the run and once as at its end. The whole is then

    groups · (data + training / fraction + (evaluations − 1) · one along the run + the one at the end).

Prints a table and writes it to build/bench-paper.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
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
    """What was measured of one set-up, in seconds, and what the whole takes.

    groups                 groups of draws, one after the other
    data, training         making the data of a group, Gaussian inputs included; training it for a fraction of the time
    along, end             measuring all errors once before the end, and at the end
    """

    name: str
    rows: int
    groups: int
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
def timed() -> Iterator[dict[str, list[float]]]:
    """The seconds of every call that trains and of every call that measures errors."""
    spent: dict[str, list[float]] = {"advance": [], "errors": []}

    def watched(name: str) -> Callable[..., object]:
        original = getattr(backends.OnCpu, name)

        def call(*args: object) -> object:
            start = perf_counter()
            result = original(*args)
            spent[name].append(perf_counter() - start)
            return result

        return call

    with patch.multiple(backends.OnCpu, advance=watched("advance"), errors=watched("errors")):
        yield spent


def sample(key: str, e: experiments.Experiment, fraction: float) -> Sample:
    """A fraction of the training of the first group of draws of an experiment."""
    groups = list(experiments.together({key: e}, "cpu"))
    # any network does as long as it takes: what it learnt makes no difference to the time
    teacher = networks.random_network(784, e.teacher_width, rng=np.random.default_rng(0))
    start = perf_counter()
    runs = [
        training.Run(
            dataset=experiments.dataset(
                e, rng=np.random.default_rng(draw), teacher=teacher if e.task == "pretrained" else None
            ),
            rng=np.random.default_rng(draw),
            lr=e.lr,
            layers=e.layers,
            init_scale=e.init_scale,
        )
        for _, draw in groups[0]
    ]
    with timed() as spent:
        training.train_together(
            runs,
            widths=e.widths,
            n_pairs=e.n_pairs,
            time=e.time * fraction,
            activation=e.activation,
            evaluate_at=[0],
            n_test_along=e.n_test_along,
            n_gauss=e.n_test,
            progress=None,
        )
    whole, steps = perf_counter() - start, sum(spent["advance"])
    # test and Gaussian inputs, at time 0 and at the end
    along, end = sum(spent["errors"][:2]), sum(spent["errors"][2:])
    rows = sum(e.widths) * e.n_pairs
    return Sample(key, rows, len(groups), e.n_times, fraction, whole - steps - along - end, steps, along, end)


def line(name: str, rows: str, groups: str, measured: float, whole: float) -> str:
    return f"{name:28} {rows:>6} {groups:>7} {measured:14.1f} {whole / 60:14.1f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Extrapolates the time of the paper's profile from a sample of it.")
    parser.add_argument("--fraction", type=float, default=0.01, help="part of the training time that is run (0.01)")
    fraction = parser.parse_args(arguments).fraction
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
    for name, e in plan.items():
        samples.append(sample(name, e, fraction))
        now = samples[-1]
        print(line(name, str(now.rows), str(now.groups), now.measured, now.whole), flush=True)
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
