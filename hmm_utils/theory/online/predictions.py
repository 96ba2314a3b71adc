"""Predictions of the equations of motion that are not compared with simulations: claims T1.5 to T1.7.

The final error against δ = D/N and against the width K, and error curves with and without a plateau. Students and
teachers have g(x) = erf(x/√2), teachers ṽ = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import xarray as xr

from hmm_utils.model.networks import LAYERS, random_network
from hmm_utils.model.nonlinearities import constants
from hmm_utils.theory.online import asymptotics, motion, spectra

__all__ = ["PREDICTIONS", "error_against_delta", "error_against_width", "plateaus"]

DELTAS = (0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 0.8)
RATES = (0.1, 0.05)
WIDTHS = (1, 2, 3, 4, 6, 8)
# where the slowest modes, which relax as exp(−0.05 ηt), have decayed
_RELAXED = 800.0
_NODES = 12


def error_against_delta(*, n_draws: int, seed: int, deltas: tuple[float, ...] = DELTAS) -> xr.Dataset:
    """Compute the final ε_g against δ for f = sgn and K = M = 2, first layer trained, orthogonal teacher.

    It does not depend on the initial weights, so that ``n_draws`` and ``seed`` do not matter.

    Returns
    -------
    errors : Dataset
        eps_g (delta, lr), integrated with the Marchenko–Pastur density; extrapolated (delta) to η = 0, 2 ε(η/2) − ε(η);
        analytic (delta), ``asymptotics.asymptotic_error``.
    """
    sgn, eye = constants("sgn"), np.eye(2)
    eps_g = np.empty((len(deltas), len(RATES)))
    for i, delta in enumerate(deltas):
        rho, p = spectra.nodes(delta, _NODES)
        # a student that has begun to specialise is off the saddle
        start = motion.ensemble(
            rho, p, W=eye, R=0.3 * eye, T=eye, v=np.ones(2), v_teacher=np.ones(2), delta=delta, constants=sgn
        )
        for j, lr in enumerate(RATES):
            eps_g[i, j] = motion.integrate(start, [_RELAXED / lr], lr=lr, lr_v=0)["eps_g_mse"].item()
    analytic = [asymptotics.asymptotic_error(sgn, delta, width=2) for delta in deltas]
    return xr.Dataset(
        {
            "eps_g": (("delta", "lr"), eps_g),
            "extrapolated": ("delta", 2 * eps_g[:, 1] - eps_g[:, 0]),
            "analytic": ("delta", analytic),
        },
        {"delta": list(deltas), "lr": list(RATES)},
    )


def error_against_width(
    *, n_draws: int, seed: int, widths: tuple[int, ...] = WIDTHS, n_inputs: int = 2000, n_latent: int = 200
) -> xr.Dataset:
    """Compute ε_g at ηt = 800 against K, for f = sgn, η = 0.2 and M = 2, from random weights.

    Features and teacher are one draw for all students.

    Returns
    -------
    errors : Dataset
        eps_g (draw, layers, width), ``layers`` being those that are trained.
    """
    sgn, lr = constants("sgn"), 0.2
    eps_g = np.empty((n_draws, len(LAYERS), len(widths)))
    for d, rng in enumerate(np.random.default_rng([seed, 1]).spawn(n_draws)):
        F = rng.standard_normal((n_latent, n_inputs))
        teacher = random_network(n_latent, 2, rng=rng, layers="first")
        for a, layers in enumerate(LAYERS):
            for k, K in enumerate(widths):
                student = random_network(n_inputs, K, rng=rng, layers=layers)
                start = motion.quadrature(motion.hidden_manifold(student, teacher, F, sgn), _NODES)
                end = motion.integrate(start, [_RELAXED / lr], lr=lr, lr_v=lr if layers == "both" else 0, rtol=1e-5)
                eps_g[d, a, k] = end["eps_g_mse"].item()
    return xr.Dataset(
        {"eps_g": (("draw", "layers", "width"), eps_g)},
        {"layers": list(LAYERS), "width": list(widths)},
        {"n_inputs": n_inputs, "n_latent": n_latent, "lr": lr},
    )


TASKS: tuple[tuple[str, int], ...] = (
    ("iid", 0),
    ("sgn", 10),
    ("sgn", 78),
    ("sgn", 392),
    ("relu", 10),
    ("relu", 78),
    ("erf", 10),
    ("erf", 78),
    ("identity", 10),
    ("identity", 78),
)
"""f and D of latent tasks with N = 784, and i.i.d. inputs with a teacher on them (D = 0)."""


def plateaus(
    *, n_draws: int, seed: int, tasks: tuple[tuple[str, int], ...] = TASKS, n_inputs: int = 784, end: float = 3000.0
) -> xr.Dataset:
    """Compute ε_g(t) at the size of Fig. 2: N = 784, K = 3, M = 4, η = 0.2, from random weights.

    Returns
    -------
    curves : Dataset
        eps_g (draw, layers, task, time) with f, D and ζ/c₀ of each task, ζ/c₀ being the share of the inputs' variance
        that is noise to a linear function of the latent coordinates.
    """
    lr, times = 0.2, np.geomspace(0.1, end, 60)
    eps_g = np.empty((n_draws, len(LAYERS), len(tasks), times.size))
    for d, rng in enumerate(np.random.default_rng([seed, 2]).spawn(n_draws)):
        for i, (f, D) in enumerate(tasks):
            F = rng.standard_normal((D, n_inputs))
            teacher = random_network(D or n_inputs, 4, rng=rng, layers="first")
            for a, layers in enumerate(LAYERS):
                student = random_network(n_inputs, 3, rng=rng, layers=layers)
                if f == "iid":
                    start = motion.iid(student, teacher)
                else:
                    start = motion.quadrature(motion.hidden_manifold(student, teacher, F, constants(f)), _NODES)
                curve = motion.integrate(start, times, lr=lr, lr_v=lr if layers == "both" else 0, rtol=1e-5)
                eps_g[d, a, i] = curve["eps_g_mse"]
    of_f = [None if f == "iid" else constants(f) for f, _ in tasks]
    return xr.Dataset(
        {"eps_g": (("draw", "layers", "task", "time"), eps_g)},
        {
            "layers": list(LAYERS),
            "time": times,
            "f": ("task", [f for f, _ in tasks]),
            "n_latent": ("task", [D for _, D in tasks]),
            "noise": ("task", [0.0 if c is None else max(c.zeta, 0) / c.c0 for c in of_f]),
        },
        {"n_inputs": n_inputs, "lr": lr, "width": 3, "teacher_width": 4},
    )


PREDICTIONS: Mapping[str, Callable[..., xr.Dataset]] = MappingProxyType(
    {
        "error_against_delta": error_against_delta,
        "error_against_width": error_against_width,
        "plateaus": plateaus,
    }
)
"""Name → function of ``n_draws`` and ``seed``."""
