"""The three numbers of a folding f that the Gaussian equivalence keeps.

An input of the hidden manifold model is x = f(u), Eq. (6), with u = (CF/√D) a standard normal number. A student that
looks at many weakly correlated inputs sees of f only

    a = E f(u),   b = E u f(u),   c = E f(u)²,   u ~ N(0, 1),

as if each input were a + b u + √ζ z, with noise z ~ N(0, 1) of its own and ζ = c − a² − b² (Goldt, Mézard, Krzakala &
Zdeborová, Phys. Rev. X 10, 041044).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, pi, sqrt

import numpy as np
from scipy.integrate import quad_vec
from scipy.special import erf

__all__ = ["NONLINEARITIES", "Constants", "constants"]

NONLINEARITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sgn": np.sign,
    "relu": lambda u: np.maximum(u, 0),
    "identity": lambda u: u,
    "erf": lambda u: erf(u / sqrt(2)).astype(u.dtype),
    "tanh": np.tanh,
    "abs": np.abs,
}
"""Named choices of the non-linearity f in X = f(CF/√D), Eq. (6)."""


@dataclass(frozen=True)
class Constants:
    """a = E f(u), b = E u f(u) and c = E f(u)² for u ~ N(0, 1)."""

    a: float
    b: float
    c: float

    @property
    def zeta(self) -> float:
        """ζ = c − a² − b²: the variance of the part of f(u) that no linear function of u explains."""
        return self.c - self.a**2 - self.b**2

    @property
    def c0(self) -> float:
        """c₀ = c − a²: the variance of an input, and the second moment of a centred one."""
        return self.c - self.a**2

    @property
    def standardised(self) -> Constants:
        """Those of (f(u) − a)/√c₀, the inputs as `datasets.structured` gives them: a = 0, c = 1."""
        return Constants(0.0, self.b / sqrt(self.c0), 1.0)


_CLOSED = {
    "sgn": Constants(0.0, sqrt(2 / pi), 1.0),
    "relu": Constants(1 / sqrt(2 * pi), 1 / 2, 1 / 2),
    "identity": Constants(0.0, 1.0, 1.0),
    "erf": Constants(0.0, 1 / sqrt(pi), 1 / 3),  # erf(u/√2)
    "abs": Constants(sqrt(2 / pi), 0.0, 1.0),
}


def constants(f: str | Callable[[np.ndarray], np.ndarray]) -> Constants:
    """The constants of f: a name from `NONLINEARITIES`, or any function that acts component-wise on arrays.

    In closed form for the names sgn, relu, identity, erf and abs; otherwise by adaptive Gauss–Kronrod quadrature to
    1e-10, which finds kinks and jumps wherever they are.

    Raises ValueError for an unknown name, or an f whose moments are not finite or cannot be found to 1e-10.
    """
    if isinstance(f, str):
        if f not in NONLINEARITIES:
            raise ValueError(f"unknown f {f!r}: choose one of {', '.join(NONLINEARITIES)}, or pass a function.")
        if f in _CLOSED:
            return _CLOSED[f]
        f = NONLINEARITIES[f]

    def integrand(u: float) -> np.ndarray:
        (value,) = np.asarray(f(np.array([u])), dtype=float)
        return np.exp(-(u**2) / 2) / sqrt(2 * pi) * np.array([value, u * value, value**2])

    # beyond |u| = 12 the Gaussian weighs less than 1e-31; kinks and jumps are most often at 0
    moments, error = quad_vec(integrand, -12, 12, points=[0], epsabs=1e-12, epsrel=1e-12, limit=2000, norm="max")
    a, b, c = map(float, moments)
    if not (isfinite(a + b + c) and error <= 1e-10 * max(1, abs(c))):
        raise ValueError(
            f"the moments of f come out as a = {a:.3g}, b = {b:.3g}, c = {c:.3g} with an error of {error:.1g}: "
            "f must be finite, piecewise smooth and square integrable under a Gaussian."
        )
    return Constants(a, b, c)
