"""Activation functions g of the two-layer network, Eq. (1), with their derivatives.

An :class:`Activation` has three versions of one function: ``g`` and ``dg`` act on numpy arrays of any shape and
precision (for teachers, and for the plain loop that tests compare with), ``fields`` is the compiled float32 kernel that
the block engine calls once per SGD step for a whole tile of hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numba import float32, njit, types, vectorize
from numba.extending import intrinsic
from scipy.special import erf as _erf

from hmm_utils.model.parameters import known

__all__ = ["ACTIVATIONS", "ERF", "FIELDS_SIGNATURE", "IDENTITY", "QUADRATIC", "RELU", "Activation", "custom", "get"]

FIELDS_SIGNATURE = types.void(float32[::1], float32[::1], float32[::1])

# NaN and infinity must keep their meaning, because they reveal a diverging student: of fast maths only the re-ordering
# part is allowed.
_REORDER = {"contract", "reassoc", "nsz", "arcp"}


@dataclass(frozen=True, kw_only=True)
class Activation:
    """Activation function g with its derivative.

    Attributes
    ----------
    name : str
        Its name in results and figures.
    g, dg : callable
        g(x) and g'(x), array → array.
    fields : callable
        Compiled (a, g_out, dg_out) → None on float32 vectors: g_out = g(a), dg_out = g'(a).
    """

    name: str
    g: Callable[[np.ndarray], np.ndarray]
    dg: Callable[[np.ndarray], np.ndarray]
    fields: Callable[[np.ndarray, np.ndarray, np.ndarray], None]

    def __repr__(self) -> str:
        return f"Activation({self.name})"

    def __reduce__(self) -> tuple[Callable[[str], Activation], tuple[str]]:
        """Pickle the name: another process has the activations of this module, and no others."""
        if ACTIVATIONS.get(self.name) is not self:
            raise TypeError(f"the activation {self.name!r} is not known to other processes: train it in this one.")
        return get, (self.name,)


@intrinsic
def _float_from_bits(typingctx, bits):
    """Float32 whose IEEE 754 representation is the given int32."""
    from llvmlite import ir

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return float32(types.int32), codegen


@njit(inline="always", fastmath=_REORDER)
def _exp_negative(x):
    """exp(x) for x ≤ 0 in float32, relative error ≤ 3e-7.

    x = n ln 2 + r with abs(r) ≤ ln 2 / 2; exp(r) by its Taylor polynomial of degree 6 (remainder r⁷/7! ≤ 1.2e-7), 2ⁿ by
    writing n into the exponent bits. Written out because it vectorises, which a library call inside the loop does not.
    """
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    # ln 2 in two parts, so that n ln 2 is subtracted without losing the low bits of r
    r = (x - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
    p = np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = p * r + np.float32(1)
    p = p * r + np.float32(1)
    return p * _float_from_bits((np.int32(n) + np.int32(127)) << np.int32(23))


@njit(FIELDS_SIGNATURE, cache=True, nogil=True, fastmath=_REORDER, error_model="numpy")
def _erf_fields(a, g, dg):
    """Compute g = erf(a/√2) and g' = √(2/π) exp(−a²/2), sharing one exponential.

    erf(z) = 1 − (a₁t + … + a₅t⁵) exp(−z²) with t = 1/(1 + pz), z ≥ 0, to 1.5e-7: Abramowitz & Stegun (1964), 7.1.26.
    """
    for r in range(a.size):
        x = a[r]
        gauss = _exp_negative(np.float32(-0.5) * x * x)
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911 / 2**0.5) * abs(x))
        p = np.float32(1.061405429)
        p = p * t + np.float32(-1.453152027)
        p = p * t + np.float32(1.421413741)
        p = p * t + np.float32(-0.284496736)
        p = p * t + np.float32(0.254829592)
        g[r] = np.copysign(np.float32(1) - p * t * gauss, x)
        dg[r] = np.float32(0.7978845608) * gauss


@njit(FIELDS_SIGNATURE, cache=True, nogil=True)
def _relu_fields(a, g, dg):
    for r in range(a.size):
        positive = a[r] > 0
        # NaN must pass through g: a diverged pre-activation is not a silent zero
        g[r] = np.float32(0) if a[r] <= 0 else a[r]
        dg[r] = np.float32(1) if positive else np.float32(0)


@njit(FIELDS_SIGNATURE, cache=True, nogil=True)
def _identity_fields(a, g, dg):
    for r in range(a.size):
        g[r] = a[r]
        dg[r] = np.float32(1)


@njit(FIELDS_SIGNATURE, cache=True, nogil=True)
def _quadratic_fields(a, g, dg):
    for r in range(a.size):
        g[r] = a[r] * a[r]
        dg[r] = np.float32(2) * a[r]


ERF = Activation(
    name="erf",
    g=lambda x: _erf(x / x.dtype.type(sqrt(2))),
    dg=lambda x: x.dtype.type(sqrt(2 / pi)) * np.exp(-x * x / 2),
    fields=_erf_fields,
)
RELU = Activation(
    name="relu",
    g=lambda x: np.maximum(x, 0),
    dg=lambda x: (x > 0).astype(x.dtype),
    fields=_relu_fields,
)
IDENTITY = Activation(name="identity", g=lambda x: x.copy(), dg=np.ones_like, fields=_identity_fields)
QUADRATIC = Activation(name="quadratic", g=lambda x: x * x, dg=lambda x: 2 * x, fields=_quadratic_fields)

ACTIVATIONS = {a.name: a for a in (ERF, RELU, IDENTITY, QUADRATIC)}


def get(activation: str | Activation) -> Activation:
    """Activation of a name; an activation is returned as it is.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if isinstance(activation, Activation):
        return activation
    own = ", or make your own with hmm_utils.model.activations.custom(name, g, dg)"
    return ACTIVATIONS[known("activation", activation, ACTIVATIONS, own)]


def custom(name: str, g: Callable[[float], float], dg: Callable[[float], float]) -> Activation:
    """Activation from your own scalar functions g(x) and g'(x).

    Parameters
    ----------
    name : str
    g, dg : callable
        Functions of one number that numba can compile.

    Raises
    ------
    ValueError
        If dg is not the derivative of g, by central differences on a grid that avoids x = 0, where a kink is allowed.

    Examples
    --------
    >>> import math
    >>> custom("tanh", lambda x: math.tanh(x), lambda x: 1 - math.tanh(x) ** 2)
    Activation(tanh)
    """
    scalar_g, scalar_dg = njit(g), njit(dg)

    @njit(FIELDS_SIGNATURE, nogil=True)
    def fields(a, g_out, dg_out):
        for r in range(a.size):
            g_out[r] = scalar_g(a[r])
            dg_out[r] = scalar_dg(a[r])

    array_g = vectorize(["float32(float32)", "float64(float64)"])(g)
    array_dg = vectorize(["float32(float32)", "float64(float64)"])(dg)
    # the truncation error of the central difference is h² g‴/6 ≈ 1e-8 g‴ and its rounding error eps·g/h ≈ 1e-12·g
    h, x = 1e-4, np.linspace(-2.95, 2.95, 60)
    slope = (array_g(x + h) - array_g(x - h)) / (2 * h)
    wrong = ~(np.abs(slope - array_dg(x)) <= 1e-5 * (1 + np.abs(slope)))  # so is NaN
    if wrong.any():
        first = x[wrong][0]
        raise ValueError(
            f"the derivative given for activation {name!r} does not match g: at x = {first:.2f} the slope of g is "
            f"{slope[wrong][0]:.6g} but dg gives {array_dg(first):.6g}; correct dg."
        )
    return Activation(name=name, g=array_g, dg=array_dg, fields=fields)
