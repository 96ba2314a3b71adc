"""A stabilised explicit integrator of fourth order, for dy/dt = f(y) with many real, negative rates.

An explicit method needs steps of about ``2/|λ|``, with λ the fastest rate of the equation, however slow its solution
has become. If the stability function of a method with s stages is a shifted Chebyshev polynomial, it takes steps of
order ``s²/|λ|``: s stages do the work of s² Euler steps. The method here combines two published parts.

1. RKC, of second order (Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88, 315 (1998), whose symbols are used):
   stability function P(z) = a_s + b_s T_s(w₀ + w₁ z), w₀ = 1 + ε/s², real stability bound β = (w₀ + 1)/w₁.
2. Richardson extrapolation to step size 0 (Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, II.9).
   The error of n steps of RKC of length h/n is e₂/n² + e₃/n³ + …, so that of the results y_n for n = 1, 2, 3 ::

       y = y₁/12 − (4/3) y₂ + (9/4) y₃   is of fourth,   ŷ = −(4/5) y₂ + (9/5) y₃   of third order,

   and ``|y − ŷ|`` measures the error of a step.

The damping is ε = 1, not 2/13 as in RKC: P then stays between 0.31 and 0.75 on most of the interval of stability, and
the stability function P₁(z)/12 − (4/3) P₂(z/2)² + (9/4) P₃(z/3)³ of the whole step between −1 and 1 on all of it; with
less damping it does not. It costs a tenth of the bound, β = 0.59 (s² − 1) instead of 0.65 (s² − 1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil, isfinite, sqrt

import numpy as np
from jaxtyping import Float
from numba import njit

__all__ = ["BOUND", "coefficients", "solve", "stages"]

_DAMPING = 1.0
BOUND = 0.5918
"""Lower bound of β/(s² − 1), its limit for large s."""

Derivative = Callable[[np.ndarray, np.ndarray], None]

_WEIGHTS = np.array([1 / 12, -4 / 3, 9 / 4])
_WEIGHTS_OF_ERROR = _WEIGHTS - np.array([0, -4 / 5, 9 / 5])

# The estimate of the fastest rate comes from below, and the rate changes along the way.
_MARGIN, _RATE_HOLDS_FOR = 1.1, 25


def stages(z: float) -> int:
    """Smallest number of stages s ≥ 2 for which a step h is stable, ``z = h |λ|``.

    Examples
    --------
    >>> stages(100.0)
    14
    """
    return max(2, ceil(sqrt(1 + z / BOUND)))


@cache
def coefficients(s: int) -> tuple[float, np.ndarray]:
    """Coefficients of RKC with s stages: μ̃₁ and the rows (μ_j, ν_j, μ̃_j, γ̃_j) for j = 2 … s.

    ::

        b_j = T_j''(w₀)/T_j'(w₀)², b₀ = b₂, b₁ = 1/w₀; a_j = 1 − b_j T_j(w₀); w₁ = T_s'(w₀)/T_s''(w₀);
        μ̃₁ = b₁ w₁, μ_j = 2 b_j w₀/b_{j−1}, ν_j = −b_j/b_{j−2}, μ̃_j = 2 b_j w₁/b_{j−1}, γ̃_j = −a_{j−1} μ̃_j.
    """
    w0 = 1 + _DAMPING / s**2
    T, dT, d2T = np.zeros((3, s + 1))
    T[0], T[1], dT[1] = 1, w0, 1
    for j in range(2, s + 1):
        T[j] = 2 * w0 * T[j - 1] - T[j - 2]
        dT[j] = 2 * T[j - 1] + 2 * w0 * dT[j - 1] - dT[j - 2]
        d2T[j] = 4 * dT[j - 1] + 2 * w0 * d2T[j - 1] - d2T[j - 2]
    w1 = dT[s] / d2T[s]
    b = np.empty(s + 1)
    b[2:] = d2T[2:] / dT[2:] ** 2
    b[0], b[1] = b[2], 1 / w0
    a = 1 - b * T
    mu, nu, mu_tilde = 2 * b[2:] * w0 / b[1:-1], -b[2:] / b[:-2], 2 * b[2:] * w1 / b[1:-1]
    return b[1] * w1, np.stack([mu, nu, mu_tilde, -a[1:-1] * mu_tilde], axis=1)


_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


@_compiled
def _first_stage(mu_tilde_h, y, f0, y0, y1):
    """y0 ← y and y1 ← y + μ̃ h f0."""
    for i in range(y.size):
        y0[i] = y[i]
        y1[i] = y[i] + mu_tilde_h * f0[i]


@_compiled
def _stage(mu, nu, mu_tilde_h, gamma_tilde_h, y0, y1, y2, f1, f0):
    """y2 ← (1 − μ − ν) y0 + μ y1 + ν y2 + μ̃ h f1 + γ̃ h f0."""
    for i in range(y0.size):
        y2[i] = (1 - mu - nu) * y0[i] + mu * y1[i] + nu * y2[i] + mu_tilde_h * f1[i] + gamma_tilde_h * f0[i]


@_compiled
def _combine(weights, rows, out):
    """Write Σ_j weights_j rows_j to ``out``, in pieces that stay in the cache."""
    piece = 512
    for begin in range(0, out.size, piece):
        total = out[begin : begin + piece]
        total[:] = 0
        for j in range(weights.size):
            weight, row = weights[j], rows[j, begin : begin + piece]
            for i in range(total.size):
                total[i] += weight * row[i]


@_compiled
def _norm(x):
    """|x|, without BLAS, which numpy calls: its threads, where they have to wait for a core, take most of the time."""
    total = 0.0
    for i in range(x.size):
        total += x[i] ** 2
    return sqrt(total)


def _step(f: Derivative, y0: np.ndarray, f0: np.ndarray, h: float, s: int, space: np.ndarray) -> np.ndarray:
    """One step of RKC with s stages.

    ::

        Y₀ = y, Y₁ = Y₀ + μ̃₁ h f(Y₀),
        Y_j = (1 − μ_j − ν_j) Y₀ + μ_j Y_{j−1} + ν_j Y_{j−2} + h [μ̃_j f(Y_{j−1}) + γ̃_j f(Y₀)].

    The result is a row of `space` (3, size), which is overwritten.
    """
    before, now, f1 = space
    first, rest = coefficients(s)
    _first_stage(first * h, y0, f0, before, now)
    for mu, nu, mu_tilde_h, gamma_tilde_h in (rest * np.array([1, 1, h, h])).tolist():
        f(now, f1)
        _stage(mu, nu, mu_tilde_h, gamma_tilde_h, y0, now, before, f1, f0)
        before, now = now, before
    return now


# rows of an array: y₁, y₂ and y₃ at the end of a step, y₃ after a third and two thirds of it, y before and after it
_RESULTS, _THIRDS, _BEFORE, _AFTER, _DENSE = slice(3), (3, 4), 5, 6, slice(2, 7)


def _extrapolated(f: Derivative, f0: np.ndarray, h: float, s: int, rows: np.ndarray, space: np.ndarray) -> np.ndarray:
    """Take a step of length h from rows[_BEFORE], where f is f0, to rows[_AFTER]; the rows between are written too.

    Returns an estimate of its error, a row of ``space`` (5, size), which is overwritten. s is the same for all n, as
    the error of RKC depends on it.
    """
    f_n, error = space[3:]
    for n, y_n in enumerate(rows[_RESULTS], 1):
        y_n[:] = _step(f, rows[_BEFORE], f0, h / n, s, space[:3])
        for i in range(n - 1):
            if n == 3:
                rows[_THIRDS[i]] = y_n
            f(y_n, f_n)
            y_n[:] = _step(f, y_n, f_n, h / n, s, space[:3])
    _combine(_WEIGHTS, rows[_RESULTS], rows[_AFTER])
    _combine(_WEIGHTS_OF_ERROR, rows[_RESULTS], error)
    return error


def _between(x: float) -> np.ndarray:
    """Weights of rows[_DENSE] for y at t + x h: the cubic polynomial through y before, at thirds of, and after a step.

    At the thirds y is y₃, whose error grows evenly along the step up to order h⁴. At the end it is known, y₃ − y, and a
    third and two thirds of it are subtracted. The polynomial through y and f at both ends would be as good for a smooth
    y; but in a step with ``h|λ| ≫ 1`` the small remaining errors of fast modes are ``h|λ|`` times as large in h f.
    """
    before, after = (1 - 3 * x) * (2 - 3 * x) * (1 - x) / 2, x * (3 * x - 1) * (3 * x - 2) / 2
    first, second = 9 * x * (2 - 3 * x) * (1 - x) / 2, 9 * x * (3 * x - 1) * (1 - x) / 2
    correction = first / 3 + 2 * second / 3
    return np.array([-correction, first, second, before, after + correction])


def _fastest_rate(f: Derivative, y: np.ndarray, f0: np.ndarray, direction: np.ndarray) -> tuple[float, np.ndarray]:
    """Estimate ``|λ|`` by the power method on differences of f; also returns the direction in which it was found.

    Stops when ``|λ|`` changes by less than 2 %; from a direction found before that is after two or three evaluations.
    """
    rate, size = 0.0, 1e-6 * max(_norm(y), 1e-3)
    for _ in range(50):
        norm = _norm(direction)
        if norm == 0:
            return rate, f0
        change = np.empty_like(y)
        f(y + size / norm * direction, change)
        change = (change - f0) / size
        before, rate, direction = rate, _norm(change), change
        if abs(rate - before) < 0.02 * rate:
            break
    return rate, direction


def solve(
    f: Derivative, y: Float[np.ndarray, " size"], times: Float[np.ndarray, " n"], *, rtol: float
) -> tuple[Float[np.ndarray, "n size"], dict[str, int]]:
    """Solve dy/dt = f(y) with y given at time 0.

    Between steps a cubic polynomial is taken.

    Parameters
    ----------
    f : callable
        f(y, out) writes f(y) to ``out``; what ``out`` held before is undefined.
    y : (size,) float array
        At time 0.
    times : (n,) float array
        Increasing, not negative.
    rtol : float
        Error of a step over ``|y|`` (Euclidean norms).

    Returns
    -------
    path : (n, size) float array
        y at these times.
    work : dict
        Numbers of ``steps``, ``rejected`` ones among them, and ``evaluations`` of f.

    Raises
    ------
    ArithmeticError
        Where the solution grows beyond all bounds.
    """
    work = {"steps": 0, "rejected": 0, "evaluations": 0}

    def counted(y: np.ndarray, out: np.ndarray) -> None:
        work["evaluations"] += 1
        f(y, out)

    out = np.empty((len(times), y.size))
    done = int(np.searchsorted(times, 0, side="right"))
    out[:done] = y
    if done == len(times):
        return out, work
    t, end = 0.0, float(times[-1])
    rows, space, f0 = np.empty((7, y.size)), np.empty((5, y.size)), np.empty(y.size)
    rows[_BEFORE] = y
    y, new = rows[_BEFORE], rows[_AFTER]
    counted(y, f0)
    # any direction will do that has a part along the fastest one
    rate, direction = _fastest_rate(counted, y, f0, f0 + _norm(f0) / sqrt(y.size) * np.cos(np.arange(y.size)))
    h, known = min(end, 0.1 / max(rate, 0.1 / end)), 0
    while done < len(times):
        if known == _RATE_HOLDS_FOR:
            rate, direction = _fastest_rate(counted, y, f0, direction)
            known = 0
        error = _extrapolated(counted, f0, h, stages(h * _MARGIN * rate), rows, space)
        work["steps"] += 1
        known += 1
        size = max(_norm(y), _norm(new))
        relative = _norm(error) / (rtol * size) if size else 0.0
        # the error of a step is of fourth order in h
        factor = 0.9 * max(relative, 1e-4) ** -0.25 if isfinite(relative) else 0.1
        if not relative <= 1:
            work["rejected"] += 1
            h *= max(factor, 0.1)
            # the rate may have grown
            known = _RATE_HOLDS_FOR
            if h < 1e-12 * (t + 1 / max(rate, 1 / end)):
                raise ArithmeticError(f"the solution grows beyond all bounds at time {t:.4g}: use a smaller lr.")
            continue
        arrived = end - (t + h) < 1e-12 * end
        stop = len(times) if arrived else int(np.searchsorted(times, t + h, side="right"))
        for i in range(done, stop):
            _combine(_between((times[i] - t) / h), rows[_DENSE], out[i])
        done, t, y[:] = stop, t + h, new
        counted(y, f0)
        h = min(h * min(factor, 5.0), end - t)
    return out, work
