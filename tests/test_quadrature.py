"""hmm_utils.theory.online.quadrature: against the closed forms for erf and polynomials, and against Monte Carlo."""

import math
from inspect import unwrap

import numpy as np
import pytest

from hmm_utils.model.activations import ERF, QUADRATIC, RELU
from hmm_utils.theory.online import quadrature
from hmm_utils.theory.online.averages import Averages, erf

SE = 5  # standard errors allowed: one test in two million fails by chance


def covariance(n, scale, seed):
    A = np.random.default_rng(seed).standard_normal((n, n + 2))
    return scale * A @ A.T / (n + 2)


def close(ours, exact, names, **tolerance):
    for name in names:
        np.testing.assert_allclose(getattr(ours, name), getattr(exact, name), err_msg=name, **tolerance)


def plain_error(g, dg, C, u, K, P=2**14):
    """The standard error that P plain random points leave in each E4_kl."""
    x = np.random.default_rng(99).multivariate_normal(np.zeros(len(C)), C, P, method="svd").T
    slope, delta = dg(x[:K]), u @ g(x)
    return (slope[:, None] * slope * delta**2).std(axis=-1) / math.sqrt(P)


TWO_FIELDS = ("eps_g", "h", "J", "g1")


@pytest.mark.parametrize(("scale", "error"), [(1e-4, 1e-7), (0.3, 1e-7), (1, 1e-7), (3, 1e-7), (10, 1e-5)])
@pytest.mark.parametrize(("K", "M"), [(1, 1), (2, 2), (3, 1)])
def test_erf_by_quadrature_is_the_closed_form(K, M, scale, error):
    """Averages over two fields agree as well as promised, E4 better than as many random points would."""
    C, rng = covariance(K + M, scale, seed=K), np.random.default_rng(1)
    u = rng.standard_normal(K + M)
    ours = quadrature.closure(ERF.g, ERF.dg)(C, u, n_students=K)
    exact = erf(C, u, n_students=K)
    close(ours, exact, TWO_FIELDS, rtol=0, atol=error)
    assert np.all(np.abs(ours.E4 - exact.E4) <= SE * plain_error(ERF.g, ERF.dg, C, u, K))


@pytest.mark.parametrize("gap", [0, 1e-13, 1e-7, 1e-3])
def test_parallel_fields(gap):
    """Two students that look the same way, or nearly, are nothing special; nor is one that has found the teacher."""
    C = np.array([[1.3, 1.3 - gap, 1.3], [1.3 - gap, 1.3, 1.3 - gap], [1.3, 1.3 - gap, 1.3]])
    u = np.array([1.0, 0.5, -1.0])
    smooth = quadrature.closure(ERF.g, ERF.dg)(C, u, n_students=2)
    close(smooth, erf(C, u, n_students=2), TWO_FIELDS, rtol=0, atol=1e-8)
    by_quadrature, closed = (f(C, u, n_students=2) for f in (quadrature.closure(RELU.g, RELU.dg), quadrature.relu))
    # √(C_kk C_aa − C_ka²) of a difference that is rounding: √eps
    close(by_quadrature, closed, TWO_FIELDS, rtol=0, atol=1e-7)


def test_polynomial_activation():
    """g = x²: E g g = C_kk C_aa + 2 C_ka², J = 4 C_ka, H = 2 C_aa; for one field of variance q, E4 = 4 · 15 q³."""
    C, u, K = covariance(4, 1, seed=3), np.array([1.0, 0.7, -1.0, -0.4]), 2
    ours = quadrature.closure(QUADRATIC.g, QUADRATIC.dg)(C, u, n_students=K)
    q = C.diagonal()
    I2 = np.outer(q, q) + 2 * C**2
    exact = Averages(eps_g=u @ I2 @ u / 2, h=np.full(K, 2 * q @ u), J=4 * C[:K], g1=I2[:K] @ u, E4=ours.E4)
    # the radius ends at 9, where x⁴ exp(−x²/2) has 2e-14 left; the rest is rounding
    close(ours, exact, TWO_FIELDS, rtol=1e-11)
    alone = quadrature.closure(QUADRATIC.g, QUADRATIC.dg)(np.array([[0.8]]), np.ones(1), n_students=1)
    # P Sobol points of one variable stand for its quantiles up to 1/P; the last of them carries P⁻¹ (2 ln P)³ = 0.4 of
    # the sixth moment 15, of which it misses at most a part
    np.testing.assert_allclose(alone.E4, 60 * 0.8**3, rtol=0.03)


def monte_carlo(g, dg, C, u, K, P, rng):
    """(mean, standard error) of what defines each average but h, P samples."""
    x = rng.multivariate_normal(np.zeros(len(C)), C, P, method="cholesky").T
    delta, slope = u @ g(x), dg(x)

    def mean(y):
        return y.mean(axis=-1), y.std(axis=-1) / math.sqrt(P)

    return {
        "eps_g": mean(delta**2 / 2),
        "J": mean(slope[:K, None] * slope),
        "g1": mean(g(x[:K]) * delta),
        "E4": mean(slope[:K, None] * slope[:K] * delta**2),
    }


def tanh_slope(x):
    return 1 / np.cosh(x) ** 2


@pytest.mark.parametrize(
    ("averages", "g", "dg"),
    [
        (quadrature.closure(np.tanh, tanh_slope), np.tanh, tanh_slope),
        (quadrature.closure(RELU.g, RELU.dg), RELU.g, RELU.dg),
        (quadrature.relu, RELU.g, RELU.dg),
    ],
    ids=["tanh", "relu by quadrature", "relu"],
)
def test_averages_are_those_of_random_fields(averages, g, dg):
    """All averages but h are the means over 400 000 random fields within five standard errors."""
    C, u, K = covariance(4, 1.5, seed=4), np.array([1.0, 0.6, -1.0, -0.8]), 2
    ours = averages(C, u, n_students=K)
    for name, (mean, error) in monte_carlo(g, dg, C, u, K, 400_000, np.random.default_rng(5)).items():
        # fixed points add to E4 less than 16 384 random ones would
        slack = plain_error(g, dg, C, u, K) if name == "E4" else 0
        assert np.all(np.abs(getattr(ours, name) - mean) <= SE * np.hypot(error, slack)), name


def test_h_of_tanh_is_the_average_of_its_second_derivative():
    """h_k = E[g''(x_k) Δ] over 400 000 random fields, with tanh'' written out."""
    C, u = covariance(4, 1.5, seed=6), np.array([1.0, 0.6, -1.0, -0.8])
    x = np.random.default_rng(7).multivariate_normal(np.zeros(4), C, 400_000, method="cholesky").T
    samples = -2 * np.tanh(x[:2]) * tanh_slope(x[:2]) * (u @ np.tanh(x))
    ours = quadrature.closure(np.tanh, tanh_slope)(C, u, n_students=2)
    assert np.all(np.abs(ours.h - samples.mean(axis=1)) <= SE * samples.std(axis=1) / math.sqrt(400_000))


def test_h_of_relu_is_the_average_over_its_delta_function():
    """h_k = p(x_k = 0) E[Δ | x_k = 0], the fields drawn with x_k projected out."""
    C, u = covariance(4, 1.5, seed=8), np.array([1.0, 0.6, -1.0, -0.8])
    rng = np.random.default_rng(9)
    for averages in (quadrature.relu, quadrature.closure(RELU.g, RELU.dg)):
        ours = averages(C, u, n_students=2)
        for k in range(2):
            given = C - np.outer(C[k], C[k]) / C[k, k]
            x = rng.multivariate_normal(np.zeros(4), given, 200_000, method="svd").T
            samples = u @ np.maximum(x, 0) / math.sqrt(2 * math.pi * C[k, k])
            assert abs(ours.h[k] - samples.mean()) <= SE * samples.std() / math.sqrt(200_000)


def test_relu_by_quadrature_is_the_closed_form():
    """The sectors end at the kinks, so that quadrature of ReLU is exact to rounding; E4 is over the same points."""
    C, u = covariance(5, 4, seed=10), np.array([1.0, -0.3, 0.6, -1.0, -0.8])
    ours, closed = (f(C, u, n_students=3) for f in (quadrature.closure(RELU.g, RELU.dg), quadrature.relu))
    close(ours, closed, (*TWO_FIELDS, "E4"), rtol=0, atol=1e-12)


def test_noise_follows_the_covariance_without_jumps():
    """E4 changes by O(ε) with C: also through C with equal eigenvalues, where eigenvectors jump."""
    averages, u, rng = quadrature.closure(ERF.g, ERF.dg), np.array([1.0, 1.0, -1.0, -1.0]), np.random.default_rng(11)
    at = averages(np.eye(4), u, n_students=2).E4
    for _ in range(5):
        A = rng.standard_normal((4, 4))
        near = averages(np.eye(4) + 1e-6 * (A + A.T), u, n_students=2).E4
        # all averages and their derivatives with respect to C are of order one, and A + A.T has 16 entries of order one
        assert np.abs(near - at).max() < 1e-4


def test_a_covariance_that_an_integrator_left_slightly_indefinite_is_taken():
    """C with an eigenvalue of −1e-4 gives what its neighbour with 0 gives, to that order."""
    averages, u = quadrature.closure(ERF.g, ERF.dg), np.array([1.0, -1.0])
    exact, off = (averages(np.array([[1, c], [c, 1]]), u, n_students=1) for c in (1.0, 1.0001))
    for name in (*TWO_FIELDS, "E4"):
        np.testing.assert_allclose(getattr(off, name), getattr(exact, name), atol=1e-3)


@pytest.mark.parametrize("averages", [quadrature.relu, quadrature.closure(ERF.g, ERF.dg)], ids=["relu", "closure"])
@pytest.mark.parametrize(
    ("C", "u", "K", "message"),
    [
        (np.eye(2), np.ones(3), 1, r"C has shape \(2, 2\), u \(3,\) and K = 1: give C as"),
        (np.eye(2), np.ones(2), 3, r"K = 3: give C as \(n, n\), u as \(n,\) and 1 ≤ K ≤ n"),
        (np.full((2, 2), np.nan), np.ones(2), 1, "hold values that are not finite"),
        (np.diag([1.0, 0.0]), np.ones(2), 1, "a field has no variance"),
    ],
)
def test_impossible_arguments_are_refused(averages, C, u, K, message):
    with pytest.raises(ValueError, match=message):
        unwrap(averages)(C, u, n_students=K)
