"""Simulations against theory: a tiny case, and made-up deviations."""

import numpy as np
import xarray as xr

from hmm_utils.runs.comparison import Case

CASE = Case(f="sgn", n_inputs=300, n_latent=30, time=4, students=((2, "first", 0.2), (3, "both", 0.2)))
HOW = dict(teacher_width=2, n_simulations=6, n_times=8, seed=1)


def made_up(off, n_draws=1, n_inputs=1000):
    """ε_g of theory is 1, 2, 4 and that of two simulations `off` above and below a mean that is `off` too high."""
    theory = np.ones((n_draws, 1, 1)) * np.array([1.0, 2.0, 4.0])
    eps_g = np.stack([theory * (1 + off), theory * (1 + off)], axis=1)
    eps_g = eps_g * np.array([0.9, 1.1])[:, None, None]
    dims = ("draw", "simulation", "student", "time")
    Q = np.zeros((n_draws, 2, 1, 3, 2, 2))
    Q[:, :, 0, 1, 0, 1], R = [0.1, 0.3], np.zeros((n_draws, 2, 1, 3, 2, 1))
    return xr.Dataset(
        {
            "eps_g": (dims, eps_g),
            "eps_g_theory": (("draw", "student", "time"), theory),
            "eps_g_averaged": (("draw", "student", "time"), theory * np.array([1, 1, 2])),
            "Q": ((*dims, "k", "l"), Q),
            "R": ((*dims, "k", "m"), R),
            "Q_theory": (("draw", "student", "time", "k", "l"), Q[:, 0] * 0),
            "R_theory": (("draw", "student", "time", "k", "m"), R[:, 0] - 0.05),
        },
        {"time": [1.0, 2.0, 3.0]},
        {"n_inputs": n_inputs},
    )
