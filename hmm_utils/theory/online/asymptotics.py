"""How well a student can do at best: the generalisation error that a vanishing learning rate leads to, against δ.

The teacher acts on the latent c through fields ν, the student on inputs x that hold only part of c. By the Gaussian
equivalence the best linear estimate ν̂ of a field from the input has the variance (T = 1)

    s = ∫ dp(ρ) b²ρ / (b²ρ + ζδ),

the rest, 1 − s, being lost to the folding. A specialised student, K = M, has λ = κν̂ in each unit, so that R = κs and
Q = κ²s = R²/s, and gradient descent with a learning rate η → 0 finds the best κ. For g(x) = erf(x/√2) and an orthogonal
teacher with ṽ = 1 this leaves

    ε_g = min_R (M/π) [asin(Q/(1 + Q)) + asin(1/2) − 2 asin(R/√(2(1 + Q)))],   Q = R²/s.

Given the input, ν is normal with mean ν̂ and variance 1 − s, and E[g(ν) | ν̂] = erf(ν̂/√(2(2 − s))): this is g(λ) for
κ = 1/√(2 − s). No other function of ν̂ can do better than the conditional mean, so this κ is the minimum:
Q/(1 + Q) = s/2 and

    ε_g = (M/π) [π/6 − asin(s/2)].
"""

from __future__ import annotations

from math import asin, inf, pi, sqrt

from hmm_utils.model.nonlinearities import Constants

__all__ = ["asymptotic_error", "estimable_fraction"]


def estimable_fraction(folding: Constants, delta: float) -> float:
    """s(δ) = ∫ dp(ρ) b²ρ/(b²ρ + ζδ) = 1 − z m over the Marchenko–Pastur law, z = ζδ/b².

    m = ∫ dp(ρ)/(ρ + z) is the positive root of δz m² + (1 − δ + z) m − 1 = 0. Features are i.i.d. Gaussian. s is 0 for
    a folding without linear part, b = 0, and 1 for one without any other, ζ = 0 and δ ≤ 1.

    Raises ValueError unless δ > 0.
    """
    if not 0 < delta < inf:
        raise ValueError(f"delta = {delta}: δ = D/N is a positive, finite number.")
    if folding.b == 0:
        return 0.0
    z = max(folding.zeta, 0) * delta / folding.b**2  # ζ of a linear folding is 0 up to rounding
    p = 1 - delta + z
    root = sqrt(p**2 + 4 * delta * z)
    # the form of the root that subtracts nothing
    zm = 2 * z / (p + root) if p > 0 else (root - p) / (2 * delta)
    return 1 - zm


def asymptotic_error(folding: Constants, delta: float, *, width: int) -> float:
    """ε_g = (M/π)[π/6 − asin(s/2)], ½ the mean squared error, for K = M = `width` and η → 0.

    Both networks have g(x) = erf(x/√2) and second layers of ones, the teacher orthogonal rows with T = 1.

    Raises ValueError unless δ > 0 and the width is at least 1.
    """
    if width < 1:
        raise ValueError(f"width = {width}: give at least 1.")
    return width / pi * (pi / 6 - asin(estimable_fraction(folding, delta) / 2))
