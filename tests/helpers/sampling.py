"""Comparison with distributions and in single precision."""

import math

import numpy as np

SE = 5  # standard errors allowed: one test in two million fails by chance
U = 2.0**-24  # unit roundoff of float32


def standardised(x):
    """(x − mean)/standard deviation of all entries, in double precision."""
    x = np.asarray(x, dtype=float)
    return (x - x.mean()) / x.std()


def check_standard_normal(z):
    """Mean, variance and fourth moment of i.i.d. N(0, 1) numbers, each within SE standard errors."""
    z = np.asarray(z, dtype=float).ravel()
    for value, expected, variance in ((z, 0, 1), (z**2, 1, 2), (z**4, 3, 96)):
        assert abs(value.mean() - expected) < SE * math.sqrt(variance / z.size)
