"""The generalisation error that a vanishing learning rate leads to, against δ = D/N.

The teacher acts on the latent c through fields ν, the student on inputs x that hold only part of c. By the Gaussian
equivalence the best linear estimate ν̂ of a field from the input has the variance (T = 1) ::

    s = ∫ dp(ρ) b²ρ / (b²ρ + ζδ),

the rest, 1 − s, being lost to the non-linearity f. A specialised student, K = M, has λ = κν̂ in each unit, so that
R = κs and Q = κ²s = R²/s, and gradient descent with a learning rate η → 0 finds the best κ. For g(x) = erf(x/√2) and an
orthogonal teacher with ṽ = 1 this leaves ::

    ε_g = min_R (M/π) [asin(Q/(1 + Q)) + asin(1/2) − 2 asin(R/√(2(1 + Q)))],   Q = R²/s.

Given the input, ν is normal with mean ν̂ and variance 1 − s, and E[g(ν) | ν̂] = erf(ν̂/√(2(2 − s))): this is g(λ) for
κ = 1/√(2 − s). No other function of ν̂ can do better than the conditional mean, so this κ is the minimum:
Q/(1 + Q) = s/2 and ::

    ε_g = (M/π) [π/6 − asin(s/2)].
"""

from __future__ import annotations

from math import asin, pi, sqrt

from hmm_utils.model import parameters
from hmm_utils.model.nonlinearities import Constants

__all__ = ["asymptotic_error", "estimable_fraction"]


def estimable_fraction(constants: Constants, delta: float) -> float:
    """Fraction of a teacher's field that is a linear function of the inputs.

    With the Marchenko–Pastur law p(ρ) and z = ζδ/b², ::

        s(δ) = ∫ dp(ρ) b²ρ/(b²ρ + ζδ) = 1 − z m,   δz m² + (1 − δ + z) m − 1 = 0,

    where m = ∫ dp(ρ)/(ρ + z) is the positive root. Features are i.i.d. Gaussian.

    Parameters
    ----------
    constants : Constants
        b and ζ of the non-linearity f.
    delta : float
        δ = D/N > 0.

    Returns
    -------
    s : float
        Between 0, for an f without linear part (b = 0), and 1, for a linear one and δ ≤ 1.

    Raises
    ------
    ValueError
        Unless δ > 0.

    Examples
    --------
    >>> from hmm_utils.model.nonlinearities import constants
    >>> estimable_fraction(constants("sgn"), 0.1)
    0.940...
    """
    delta = parameters.positive("delta", delta)
    if constants.b == 0:
        return 0.0
    z = max(constants.zeta, 0) * delta / constants.b**2  # ζ of a linear f is 0 up to rounding
    p = 1 - delta + z
    root = sqrt(p**2 + 4 * delta * z)
    # the form of the root that subtracts nothing
    zm = 2 * z / (p + root) if p > 0 else (root - p) / (2 * delta)
    return 1 - zm


def asymptotic_error(constants: Constants, delta: float, *, width: int) -> float:
    """ε_g = (M/π)[π/6 − asin(s/2)], ½ the mean squared error, for K = M and η → 0.

    Both networks have g(x) = erf(x/√2) and second layers of ones, the teacher orthogonal rows with T = 1.

    Parameters
    ----------
    constants : Constants
        b and ζ of the non-linearity f.
    delta : float
        δ = D/N > 0.
    width : int
        K = M ≥ 1.

    Raises
    ------
    ValueError
        Unless δ > 0 and the width is at least 1.
    """
    width = parameters.whole("width", width)
    return width / pi * (pi / 6 - asin(estimable_fraction(constants, delta) / 2))
