"""The equations of motion of the hidden manifold model: `theory.motion.integrate` against Euler's method.

    python benchmarks/integrator.py [--quick]

K = M = 4, D = 500, N = 5000, sgn, η = 0.2, first layer, to time 1000. Euler's method with steps of 0.01 is one compiled
loop over the same compiled averages and derivatives. All are timed in turns, in seconds of the processor, and medians
of the rounds taken. Errors are the largest relative deviations of ε_g at 100 times from a run on all modes with a much
smaller tolerance. Prints a table and writes it to build/bench-integrator.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from numba import njit

from hmm_utils.model.networks import random_network
from hmm_utils.model.nonlinearities import constants
from hmm_utils.theory.online import averages, motion

OUT = Path(__file__).resolve().parent.parent / "build" / "bench-integrator.json"
SIGN = constants("sgn")
LR = 0.2


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured; only tests and curious readers change it."""

    K: int = 4
    D: int = 500
    N: int = 5000
    time: float = 1000.0
    step: float = 0.01
    rounds: int = 7


@njit(cache=True)
def _euler(sigma, r, tt, W, T, v, v_teacher, decay, drive, noise, in_Q, in_R, zeta, c0, eta, h, steps, every):
    """ε_g after every `every` steps of length h."""
    K, M, _ = r.shape
    sigma, r, W, u = sigma.copy(), r.copy(), W.copy(), np.concatenate((v, -v_teacher))
    C, d_sigma, d_r, d_W = np.empty((K + M, K + M)), np.empty_like(sigma), np.empty_like(r), np.empty_like(W)
    eps_g = np.empty(steps // every)
    for i in range(steps + 1):
        motion.covariance(sigma, r, W, T, in_Q, in_R, zeta, C)
        error, h_k, J, _, E4 = averages.erf_averages(C, u, K)
        if i and i % every == 0:
            eps_g[i // every - 1] = error
        motion.derivatives(sigma, r, tt, C, v, v_teacher, h_k, J, E4, decay, drive, noise, c0, eta, d_sigma, d_r, d_W)
        sigma += h * d_sigma
        r += h * d_r
        W += h * d_W
    return eps_g


def euler(start: motion.Start, size: Size, n_times: int) -> np.ndarray:
    steps = round(size.time / size.step)
    return _euler(
        *(start.sigma[np.tril_indices(size.K)], start.r, start.tt, start.W, start.T, start.v, start.v_teacher),
        *(start.coefficient(name) for name in ("decay", "drive", "noise")),
        *(start.p * start.coefficient(name) for name in ("in_Q", "in_R")),
        *(start.coefficients.zeta, float(start.coefficients.c0), LR, size.step, steps, steps // n_times),
    )


def measure(size: Size, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Seconds, error and speed relative to Euler's method of each way."""
    student = random_network(size.N, size.K, rng=rng, layers="first")
    teacher = random_network(size.D, size.K, rng=rng, layers="first")
    start = motion.hidden_manifold(student, teacher, rng.standard_normal((size.D, size.N)), SIGN)
    times = np.linspace(0, size.time, 101)[1:]

    def integrate(start: motion.Start, rtol: float) -> np.ndarray:
        return motion.integrate(start, times, lr=LR, lr_v=0, rtol=rtol)["eps_g_mse"].values

    ways = {
        f"Euler's method, steps of {size.step}": partial(euler, start, size, len(times)),
        "all modes, rtol 2e-7": partial(integrate, start, 2e-7),
        "quadrature with 12 nodes, rtol 2e-7": lambda: integrate(motion.quadrature(start, 12), 2e-7),
        "10 bins, rtol 1e-4": lambda: integrate(motion.binned(start, 10), 1e-4),
        "quadrature with 4 nodes, rtol 1e-4": lambda: integrate(motion.quadrature(start, 4), 1e-4),
    }
    reference = integrate(start, 1e-9)
    euler(start, Size(K=size.K, D=size.D, N=size.N, time=1.0, step=0.01), 1)  # compiled from here on
    seconds, errors = {way: [] for way in ways}, {}
    for _ in range(size.rounds):
        for way, run in ways.items():
            begin = process_time()
            eps_g = run()
            seconds[way].append(process_time() - begin)
            errors[way] = float(np.abs(eps_g / reference - 1).max())
    of_euler = next(iter(seconds.values()))
    return {
        way: {
            "seconds": median(taken),
            "faster": median(e / t for e, t in zip(of_euler, taken, strict=True)),
            "error": errors[way],
            "samples": taken,
        }
        for way, taken in seconds.items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Times the integrator of the equations of motion.")
    parser.add_argument("--quick", action="store_true", help="a small problem, once")
    quick = parser.parse_args(arguments).quick
    size = Size(K=2, D=50, N=500, time=20.0, rounds=1) if quick else Size()
    rows = measure(size, np.random.default_rng(1))
    print(f"{'':38} {'seconds':>8} {'faster':>8} {'error':>9}")
    for way, row in rows.items():
        print(f"{way:38} {row['seconds']:8.3f} {row['faster']:7.0f}× {row['error']:9.1e}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
