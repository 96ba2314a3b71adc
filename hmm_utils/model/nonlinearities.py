"""The component-wise non-linearities f of the hidden manifold, x = f(u), with everything that is known of each.

In Eq. (6) u = (CF/√D) is a standard normal number. A student that looks at many weakly correlated inputs sees of f only

::

    a = E f(u),    b = E u f(u),    c = E f(u)²,    u ~ N(0, 1),

as if each input were a + b u + √ζ z, with independent noise z ~ N(0, 1) and ζ = c − a² − b² [1]_.

An entry of :data:`NONLINEARITIES` is all that a new f needs.

References
----------
.. [1] Goldt, Mézard, Krzakala and Zdeborová, Phys. Rev. X 10, 041044 (2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, pi, sqrt

import numpy as np
from scipy.special import erf

from hmm_utils.model.parameters import known

__all__ = ["NONLINEARITIES", "Constants", "Nonlinearity", "constants", "get"]

# entries of u that the compiled erf takes at once, so that its second output stays in cache
_ERF_ENTRIES = 1 << 14


@dataclass(frozen=True)
class Constants:
    """The moments of f(u) for u ~ N(0, 1).

    Attributes
    ----------
    a, b, c : float
        E f(u), E u f(u) and E f(u)².
    """

    a: float
    b: float
    c: float

    @property
    def zeta(self) -> float:
        """Variance ζ = c − a² − b² of the part of f(u) that no linear function of u explains."""
        return self.c - self.a**2 - self.b**2

    @property
    def c0(self) -> float:
        """Variance c₀ = c − a² of an input, which is the second moment of a centred one."""
        return self.c - self.a**2

    @property
    def standardised(self) -> Constants:
        """Constants of the standardised inputs (f(u) − a)/√c₀, where a = 0 and c = 1."""
        return Constants(0.0, self.b / sqrt(self.c0), 1.0)


@dataclass(frozen=True, kw_only=True)
class Nonlinearity:
    """A non-linearity f, which is called like the function.

    Attributes
    ----------
    name : str
    function : callable
        f on arrays of any shape and floating-point precision, component by component.
    constants : Constants, optional
        a, b and c in closed form, if there is one; :func:`constants` integrates otherwise.
    fast : callable, optional
        A faster version for float32 arrays, where ``function`` would take as long as the product CF.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    constants: Constants | None = None
    fast: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """f(u)."""
        return self.function(u)


def _fast_erf(u: np.ndarray) -> np.ndarray:
    """erf(u/√2) in float32 by the kernel of the students' g, error below 1e-6: thirty times as fast as scipy's."""
    from hmm_utils.model.activations import ERF

    u = np.ascontiguousarray(u)
    x, slope = np.empty_like(u), np.empty(_ERF_ENTRIES, np.float32)
    flat, out = u.reshape(-1), x.reshape(-1)
    for start in range(0, u.size, _ERF_ENTRIES):
        part = flat[start : start + _ERF_ENTRIES]
        ERF.fields(part, out[start : start + _ERF_ENTRIES], slope[: part.size])
    return x


NONLINEARITIES: dict[str, Nonlinearity] = {
    f.name: f
    for f in (
        Nonlinearity(name="sgn", function=np.sign, constants=Constants(0.0, sqrt(2 / pi), 1.0)),
        Nonlinearity(
            name="relu", function=lambda u: np.maximum(u, 0), constants=Constants(1 / sqrt(2 * pi), 1 / 2, 1 / 2)
        ),
        Nonlinearity(name="identity", function=lambda u: u, constants=Constants(0.0, 1.0, 1.0)),
        Nonlinearity(
            name="erf",
            function=lambda u: erf(u / sqrt(2)).astype(u.dtype),
            constants=Constants(0.0, 1 / sqrt(pi), 1 / 3),
            fast=_fast_erf,
        ),
        Nonlinearity(name="tanh", function=np.tanh),
        Nonlinearity(name="abs", function=np.abs, constants=Constants(sqrt(2 / pi), 0.0, 1.0)),
    )
}
"""The named choices of f in X = f(CF/√D), Eq. (6)."""


def get(f: str | Callable[[np.ndarray], np.ndarray]) -> Nonlinearity:
    """Non-linearity of a name, or made of any function that acts component-wise on arrays.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if isinstance(f, str):
        return NONLINEARITIES[known("f", f, NONLINEARITIES, ", or pass a function")]
    return f if isinstance(f, Nonlinearity) else Nonlinearity(name=getattr(f, "__name__", "f"), function=f)


def constants(f: str | Callable[[np.ndarray], np.ndarray]) -> Constants:
    """Moments a, b and c of a non-linearity: in closed form where it has one, otherwise by quadrature to 1e-10.

    The adaptive Gauss–Kronrod quadrature finds kinks and jumps wherever they are.

    Parameters
    ----------
    f : str or callable
        A name from :data:`NONLINEARITIES`, or any function that acts component-wise on arrays.

    Raises
    ------
    ValueError
        For an unknown name, or moments that are not finite or cannot be found to 1e-10.

    Examples
    --------
    >>> constants("relu")
    Constants(a=0.3989422804014327, b=0.5, c=0.5)
    >>> round(constants(lambda u: u**3).zeta, 9)
    6.0
    """
    f = get(f)
    if f.constants is not None:
        return f.constants
    from scipy.integrate import quad_vec

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
