"""The engine on a GPU: does it compute the same, and how fast is the whole paper?

    python benchmarks/gpu.py [--fraction 0.02]

Needs an NVIDIA GPU and a CUDA build of torch, and says so where there is none. Takes about four minutes. Prints its
findings and writes them, after each of these steps, to gpu-NAME.json beside this file, NAME being the device's:

- the rate of its float32 matrix products, TF32 off;
- agreement: students trained for 20 480 steps by the CPU engine, by the GPU and by the GPU with TF32, each against the
  same steps in float64 on the CPU;
- Fig. 1 at the quick profile on both: the largest difference of a mean observable in units of its standard error;
- the paper's profile, extrapolated from this fraction of its training time (`benchmarks/paper.py`): minutes, where they
  go, and useful operations per second of training as a share of the rate above.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
import paper
import torch

from hmm_utils.model import datasets, networks, observables
from hmm_utils.runs import experiments
from hmm_utils.sgd import block, gpu, hardware

HERE = Path(__file__).resolve().parent
STEPS = 20_480
WIDTHS = (1, 2, 4, 8)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(where: str, n: int = 8192, rounds: int = 5) -> float:
    """Operations per second in float32 products of n × n matrices: the best of a few."""
    a, b = (torch.randn(n, n, device=where) for _ in range(2))
    took = []
    for _ in range(rounds + 1):
        wait()
        start = perf_counter()
        a @ b
        wait()
        took.append(perf_counter() - start)
    return 2 * n**3 / min(took[1:])


def agreement(where: str, n_inputs: int = 784, steps: int = STEPS) -> dict[str, float]:
    """The largest error of a first-layer weight, against float64, after training by each engine."""
    rng = np.random.default_rng(1)
    data = datasets.teacher_task(
        datasets.gaussian(n_inputs, 76 * n_inputs, 2, rng=rng), networks.random_network(n_inputs, 4, rng=rng)
    )
    students = [networks.random_network(n_inputs, K, rng=rng) for K in WIDTHS]
    # every engine starts from the same numbers
    students = [networks.Network(s.W.astype(np.float32), s.v.astype(np.float32), s.activation) for s in students]
    indices = rng.integers(len(data.x_train), size=steps)
    xy = [(data.x_train, data.y_train)]

    def by_torch(on: str, dtype: torch.dtype, tf32: bool) -> np.ndarray:
        batch = gpu.batch([students], lr=[0.2], layers=["both"], data=[0], device=on, dtype=dtype)
        gpu.advance(batch, gpu.samples(xy, on), indices[None], tf32=tf32)
        return np.concatenate([student.W for student in gpu.networks(batch)[0]])

    exact = by_torch("cpu", torch.float64, False)
    fleet = block.Fleet.of(students)
    block.advance(fleet, data.x_train, data.y_train, indices, lr=0.2, layers="both")
    found = {
        "CPU engine": np.concatenate([student.W for student in fleet.networks()]),
        "GPU": by_torch(where, torch.float32, False),
        "GPU with TF32": by_torch(where, torch.float32, True),
    }
    moved = np.abs(exact - np.concatenate([student.W for student in students])).max()
    return {name: float(np.abs(W - exact).max()) for name, W in found.items()} | {"largest change": float(moved)}


def figure_1(where: str, **overrides: object) -> float:
    """The largest difference of a final mean observable between CPU and GPU in units of its standard error."""
    plan = experiments.plan(["fig1_left", "fig1_right", "fig1_right_signs"], "quick", overrides)
    ours, theirs = (experiments.run_plan(plan, device=on, progress=False) for on in ("cpu", where))
    worst = 0.0
    for name in plan:
        for observable in ("eps_g_mse", "eps_g_frac", "eps_12_mse", "eps_12_frac"):
            one, other = (observables.final(result[name][observable]) for result in (ours, theirs))
            over = [dim for dim in ("draw", "init", "student") if dim in one.dims]
            error = np.sqrt(one.var(over, ddof=1) / np.prod([one.sizes[dim] for dim in over]))
            difference = np.abs(one.mean(over) - other.mean(over))
            worst = max(worst, float((difference / error.where(error > 0)).max()))
    return worst


def whole_paper(where: str, fraction: float) -> dict[str, object]:
    """Minutes that the paper's profile takes and where they go, extrapolated; and the rate of its training."""
    plan = experiments.whole_plan("paper")
    samples = [paper.sample(plan, groups, fraction, where) for groups in paper.kinds(plan, where).values()]
    training = sum(s.groups * s.training / s.fraction for s in samples)
    data = sum(s.groups * s.data for s in samples)
    whole = sum(s.whole for s in samples)
    return {
        "fraction of the training time": fraction,
        "minutes": whole / 60,
        "of these making data on the processor": data / 60,
        "of these training": training / 60,
        "of these measuring errors": (whole - data - training) / 60,
        "useful operations per second of training": sum(s.groups * s.operations for s in samples) / training,
        "samples": [asdict(s) for s in samples],
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Checks and times the engine on a GPU.")
    parser.add_argument("--fraction", type=float, default=0.02, help="part of the paper's training time (0.02)")
    fraction = parser.parse_args(arguments).fraction
    try:
        where = hardware.resolve("cuda")
    except ValueError as error:
        sys.exit(f"nothing was measured: {error}")
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else where
    out = HERE / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    found: dict[str, object] = {"device": name, "torch": torch.__version__}

    def note(**more: object) -> None:
        found.update({key.replace("_", " "): value for key, value in more.items()})
        out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    rate = matrix_rate(where)
    note(float32_matrix_products_flop_per_s=rate)
    print(f"{name}: float32 matrix products at {rate / 1e12:.1f} Tflop/s", flush=True)
    errors = agreement(where)
    note(steps=STEPS, largest_weight_error_against_float64=errors)
    print(*(f"{who}: {value:.1e}" for who, value in errors.items()), sep="\n", flush=True)
    difference = figure_1(where)
    note(Figure_1_largest_difference_in_standard_errors=difference)
    print(f"Fig. 1, largest difference between CPU and GPU: {difference:.2g} standard errors", flush=True)
    whole = whole_paper(where, fraction)
    share = whole["useful operations per second of training"] / rate
    note(paper=whole, share_of_the_matrix_products=share)
    print(f"the paper's profile: {whole['minutes']:.0f} min, training at {share:.2%} of the rate above")
    print(f"written to {out.name}")


if __name__ == "__main__":
    main()
