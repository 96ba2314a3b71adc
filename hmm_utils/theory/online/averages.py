"""Gaussian averages over the local fields, which close the equations of motion: in closed form for g(x) = erf(x/√2).

The fields x = (λ_1 … λ_K, ν_1 … ν_M) of student and teacher are jointly Gaussian with zero mean and the covariance ::

    C = [[Q, R], [Rᵀ, T]],   n = K + M,

by the Gaussian equivalence property (Goldt, Mézard, Krzakala & Zdeborová, arXiv:1909.11500v4, Sec. III). The integrals
I₂, I₃ and I₄ are those of Saad & Solla, Phys. Rev. E 52, 4225 (1995). Two more appear once correlations with a third,
weakly correlated field are taken out: for a field y with small covariances c_b = E y x_b, ::

    E[g'(x_k) y g(x_a)] = c_k E[g''(x_k) g(x_a)] + c_a E[g'(x_k) g'(x_a)] = c_k H_ka + c_a J_ka

by partial integration. This holds for parallel fields too, where the linear regression of y on x_k and x_a, which is
usually written in its place, is 0/0.

Derivation of I₄: g'(x_k) g'(x_l) = (2/π) exp(−(x_k² + x_l²)/2) is the exponent of a Gaussian. Under the measure tilted
by it the fields are Gaussian with the covariance C' = C − C_{·,kl} B⁻¹ C_{kl,·} where B = 1 + C_{kl,kl} (for k = l this
is the 2 × 2 matrix with x_k counted twice), and its norm is (2/π)/√det B. What is left is an I₂ under C'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
from jaxtyping import Float
from numba import njit
from numba.extending import register_jitable

__all__ = ["I2", "I3", "I4", "Averages", "Closure", "H", "J", "erf"]


@dataclass(frozen=True, eq=False)
class Averages:
    """The averages in the equations of motion; Δ = Σ_a u_a g(x_a) is the student's error.

    Attributes
    ----------
    eps_g : float
        ½ E Δ², the generalisation error, Eq. (3).
    h : (K,) float array
        h_k = E[g''(x_k) Δ] = Σ_a u_a H_ka.
    J : (K, n) float array
        J_ka = E[g'(x_k) g'(x_a)].
    g1 : (K,) float array
        E[g(x_k) Δ].
    E4 : (K, K) float array
        E[g'(x_k) g'(x_l) Δ²].
    """

    eps_g: float
    h: np.ndarray
    J: np.ndarray
    g1: np.ndarray
    E4: np.ndarray


Closure = Callable[..., Averages]
"""``closure(C, u, *, n_students)`` → Averages, with C (n, n), u = (v, −ṽ) (n,) and K = n_students; see :func:`erf`."""


# Used by numpy on arrays and by compiled code on numbers: the same formula for both.
@register_jitable
def _i2(C_ab, C_aa, C_bb):
    return 2 / pi * np.arcsin(C_ab / np.sqrt((1 + C_aa) * (1 + C_bb)))


@register_jitable
def _j(C_ka, C_kk, C_aa):
    return 2 / pi / np.sqrt((1 + C_kk) * (1 + C_aa) - C_ka**2)


@register_jitable
def _h(C_ka, C_kk, C_aa):
    return -C_ka / (1 + C_kk) * _j(C_ka, C_kk, C_aa)


def _checked(C: np.ndarray) -> np.ndarray:
    """C in double precision; ValueError if it is not the covariance of anything."""
    C = np.asarray(C, dtype=float)
    if C.ndim != 2 or C.shape[0] != C.shape[1] or C.size == 0:
        raise ValueError(f"the covariance C has shape {C.shape}: give a square matrix (n, n) with n = K + M ≥ 1.")
    if not np.isfinite(C).all():
        raise ValueError("the covariance C holds values that are not finite: every entry must be a number.")
    scale = max(np.abs(C).max(), np.finfo(float).tiny)
    if np.abs(C - C.T).max() > 1e-9 * scale or np.linalg.eigvalsh(C).min() < -1e-9 * scale:
        raise ValueError("the covariance C is not symmetric and positive semi-definite: no Gaussian fields have it.")
    return C


def _students(C: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """C_ka, C_kk and C_aa for k < K, to be broadcast."""
    C = _checked(C)
    if not 1 <= K <= len(C):
        raise ValueError(f"K = {K} students among {len(C)} fields: give a K from 1 to the number of fields.")
    diagonal = C.diagonal()
    return C[:K], diagonal[:K, None], diagonal


def I2(C: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """I₂(a, b) = E[g(x_a) g(x_b)].

    ::

        I₂(a, b) = (2/π) arcsin C_ab / √((1 + C_aa)(1 + C_bb))

    Parameters
    ----------
    C : (n, n) float array
        Covariance of the fields.

    Raises
    ------
    ValueError
        As all functions here, for a C that is not a covariance.

    Examples
    --------
    A unit's own, for a field of variance 1: (2/π) arcsin ½.

    >>> float(I2(np.eye(1))[0, 0])
    0.333...
    """
    C = _checked(C)
    return _i2(C, C.diagonal()[:, None], C.diagonal())


def I3(C: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n n"]:
    """I₃(k, j, a) = E[g'(x_k) x_j g(x_a)].

    ::

        I₃(k, j, a) = (2/π)/√Λ₃ · (C_ja (1 + C_kk) − C_kj C_ka)/(1 + C_kk),   Λ₃ = (1 + C_kk)(1 + C_aa) − C_ka²
    """
    C = _checked(C)
    C_kk, C_kj, C_ka, C_ja = C.diagonal()[:, None, None], C[:, :, None], C[:, None, :], C[None]
    return _j(C_ka, C_kk, C.diagonal()) * (C_ja * (1 + C_kk) - C_kj * C_ka) / (1 + C_kk)


def I4(C: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n n n"]:
    """I₄(k, l, a, b) = E[g'(x_k) g'(x_l) g(x_a) g(x_b)].

    With B and C' as in the module's docstring, ::

        I₄(k, l, a, b) = (2/π)/√det B · (2/π) arcsin C'_ab / √((1 + C'_aa)(1 + C'_bb))
    """
    C = _checked(C)
    diagonal = 1 + C.diagonal()
    det = diagonal[:, None] * diagonal - C**2
    # (k, l, a) and (k, l, a, b): C B⁻¹ C = [B_ll C_ak C_kb − B_kl (C_ak C_lb + C_al C_kb) + B_kk C_al C_lb] / det B
    k, l = C[:, None, :], C[None]  # noqa: E741
    tilt = (
        diagonal[None, :, None, None] * k[..., None] * k[:, :, None]
        - C[..., None, None] * (k[..., None] * l[:, :, None] + l[..., None] * k[:, :, None])
        + diagonal[:, None, None, None] * l[..., None] * l[:, :, None]
    )
    tilted = C - tilt / det[..., None, None]
    variance = np.diagonal(tilted, axis1=2, axis2=3)
    norm = 2 / pi / np.sqrt(det)
    return norm[..., None, None] * _i2(tilted, variance[..., None], variance[..., None, :])


def J(C: Float[np.ndarray, "n n"], K: int) -> Float[np.ndarray, "{K} n"]:
    """J_ka = E[g'(x_k) g'(x_a)] = (2/π)/√((1 + C_kk)(1 + C_aa) − C_ka²)."""
    return _j(*_students(C, K))


def H(C: Float[np.ndarray, "n n"], K: int) -> Float[np.ndarray, "{K} n"]:
    """H_ka = E[g''(x_k) g(x_a)] = −C_ka/(1 + C_kk) · J_ka."""
    return _h(*_students(C, K))


@njit(cache=True, nogil=True, error_model="numpy")
def erf_averages(C, u, K):
    """Compiled :func:`erf`: the fields of :class:`Averages`, for other compiled functions.

    E4 takes K²(K+M)² values of I₄; by symmetry a quarter of them.
    """
    n = len(C)
    h, g1 = np.zeros(K), np.zeros(K)
    J, E4 = np.empty((K, n)), np.empty((K, K))
    eps_g = 0.0
    for a in range(n):
        for b in range(n):
            if a < K or b >= a:
                i2 = _i2(C[a, b], C[a, a], C[b, b])
                # pairs of teachers and a student's with a teacher's unit are met once, those of two students twice
                if b >= a:
                    eps_g += u[a] * u[b] * i2 * (0.5 if a == b else 1.0)
                if a < K:
                    g1[a] += u[b] * i2
    for k in range(K):
        for a in range(n):
            J[k, a] = _j(C[k, a], C[k, k], C[a, a])
            h[k] += u[a] * _h(C[k, a], C[k, k], C[a, a])
    x, y, root = np.empty(n), np.empty(n), np.empty(n)
    for k in range(K):
        for l in range(k + 1):  # noqa: E741
            B_kk, B_ll, B_kl = 1 + C[k, k], 1 + C[l, l], C[k, l]
            det = B_kk * B_ll - B_kl**2
            for a in range(n):
                # (x, y) = B⁻¹ (C_ka, C_la)
                x[a] = (B_ll * C[k, a] - B_kl * C[l, a]) / det
                y[a] = (B_kk * C[l, a] - B_kl * C[k, a]) / det
                root[a] = 1 / np.sqrt(1 + C[a, a] - C[k, a] * x[a] - C[l, a] * y[a])
            total = 0.0
            for a in range(n):
                for b in range(a + 1):
                    tilted = C[a, b] - C[k, a] * x[b] - C[l, a] * y[b]
                    total += (1.0 if a == b else 2.0) * u[a] * u[b] * np.arcsin(tilted * root[a] * root[b])
            E4[k, l] = E4[l, k] = (2 / pi) ** 2 / np.sqrt(det) * total
    return eps_g, h, J, g1, E4


def erf(C: Float[np.ndarray, "n n"], u: Float[np.ndarray, " n"], *, n_students: int) -> Averages:
    """Averages for students and teachers with g(x) = erf(x/√2).

    Parameters
    ----------
    C : (n, n) float array
        Covariance [[Q, R], [Rᵀ, T]] of the fields. It is used unchecked (``order_parameters.covariance`` checks one):
        an integrator calls this thousands of times, with matrices that are positive semi-definite up to its own error.
    u : (n,) float array
        (v, −ṽ), so that Δ = Σ_a u_a g(x_a).
    n_students : int
        Width K of the student.

    Raises
    ------
    ValueError
        If the shapes do not agree.
    """
    n = len(u)
    if C.shape != (n, n) or not 1 <= n_students <= n:
        raise ValueError(
            f"C has shape {C.shape}, u {u.shape} and K = {n_students}: give C as (n, n), u as (n,) and 1 ≤ K ≤ n."
        )
    return Averages(*erf_averages(C, u, n_students))
