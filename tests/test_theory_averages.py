"""hmm_utils.theory.online.averages against Monte Carlo, numerical quadrature and the published forms."""

import math
from functools import partial
from inspect import unwrap

import numpy as np
import pytest
from scipy.special import erf as error_function

from hmm_utils.theory.online import averages
from hmm_utils.theory.online.averages import I2, I3, I4, H, J

SE = 5  # standard errors allowed: one number in two million is further off by chance
K = 2


def g(x):
    return error_function(x / math.sqrt(2))


def dg(x):
    return math.sqrt(2 / math.pi) * np.exp(-(x**2) / 2)


def d2g(x):
    return -x * dg(x)


def some_covariance(seed, n=4):
    a = np.random.default_rng(seed).standard_normal((n, n + 1))
    return a @ a.T / 3


# x₀ = x₁, and x₂ = x₃/2: units that have become parallel
PARALLEL = np.array([[1, 1, 0.3, 0.6], [1, 1, 0.3, 0.6], [0.3, 0.3, 0.5, 1], [0.6, 0.6, 1, 2]])
COVARIANCES = {"general": some_covariance(1), "parallel": PARALLEL}


@pytest.fixture(scope="module", params=sorted(COVARIANCES))
def sample(request):
    """C and 50 000 draws of the four fields, (4, draws)."""
    C = COVARIANCES[request.param]
    values, vectors = np.linalg.eigh(C)
    z = np.random.default_rng(2).standard_normal((4, 50_000))
    return C, vectors * np.sqrt(np.maximum(values, 0)) @ z


def assert_is_mean(values, *factors):
    """`values` are the means over the last axis of the product of the factors, up to SE standard errors."""
    product = math.prod(factors)
    error = product.std(axis=-1) / math.sqrt(product.shape[-1])
    assert (np.abs(product.mean(axis=-1) - values) < SE * error + 1e-12).all()


def test_integrals_are_means(sample):
    """All five from their definitions, for all indices, equal ones among them."""
    C, x = sample
    assert_is_mean(I2(C), g(x)[:, None], g(x))
    assert_is_mean(J(C, K), dg(x)[:K, None], dg(x))
    assert_is_mean(H(C, K), d2g(x)[:K, None], g(x))
    for k in range(4):
        assert_is_mean(I3(C)[k], dg(x[k]), x[:, None], g(x))
        for l in range(4):  # noqa: E741
            assert_is_mean(I4(C)[k, l], dg(x[k]) * dg(x[l]), g(x)[:, None], g(x))


def test_closed_forms_in_two_dimensions():
    """All averages of two fields by Gauss–Hermite quadrature with 80 × 80 nodes: sharper than sampling."""
    C = np.array([[0.9, 0.4], [0.4, 0.7]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x = np.linalg.cholesky(C) @ np.stack(np.meshgrid(nodes, nodes, indexing="ij")).reshape(2, -1)
    p = np.outer(weights, weights).ravel() / (2 * math.pi)
    # the functions are entire, and g'(x)⁴ is the steepest: exp(−2x²) under variance 0.9
    close = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(I2(C), np.einsum("ap,bp,p->ab", g(x), g(x), p), **close)
    np.testing.assert_allclose(I3(C), np.einsum("kp,jp,ap,p->kja", dg(x), x, g(x), p), **close)
    np.testing.assert_allclose(I4(C), np.einsum("kp,lp,ap,bp,p->klab", dg(x), dg(x), g(x), g(x), p), **close)
    np.testing.assert_allclose(J(C, 2), np.einsum("kp,ap,p->ka", dg(x), dg(x), p), **close)
    np.testing.assert_allclose(H(C, 2), np.einsum("kp,ap,p->ka", d2g(x), g(x), p), **close)


def regression(C, k, a, c_k, c_a):
    """E[g'(x_k) y g(x_a)] in the published form: y regressed on x_k and x_a, with c = E y x. 0/0 for parallel units."""
    third = I3(C)
    if a == k:
        return c_k / C[k, k] * third[k, k, k]
    on_k = C[a, a] * third[k, k, a] - C[k, a] * third[k, a, a]
    on_a = C[k, k] * third[k, a, a] - C[k, a] * third[k, k, a]
    return (c_k * on_k + c_a * on_a) / (C[k, k] * C[a, a] - C[k, a] ** 2)


def test_partial_integration_is_the_published_regression():
    """c_k H_ka + c_a J_ka equals the regression on two fields, to rounding, where that is defined."""
    C = some_covariance(3)
    c = np.random.default_rng(4).standard_normal(4)
    j, h = J(C, 4), H(C, 4)
    for k in range(4):
        for a in range(4):
            # the determinants are of order 1, so that a few roundings are all there is
            assert abs(c[k] * h[k, a] + c[a] * j[k, a] - regression(C, k, a, c[k], c[a])) < 1e-14


@pytest.mark.parametrize("name", sorted(COVARIANCES))
@pytest.mark.parametrize("n_students", [1, 2, 4])
def test_erf_is_what_the_integrals_add_up_to(name, n_students):
    """The compiled averages are sums of I₂, I₄, J and H over u, for any division into students and teachers."""
    C = COVARIANCES[name]
    u = np.array([0.7, -1.2, 0.4, 0.9])
    found = averages.erf(C, u, n_students=n_students)
    first = slice(n_students)
    # sums of 4 or 16 terms of order 1 in double precision
    close = {"rtol": 0, "atol": 1e-14}
    np.testing.assert_allclose(found.eps_g, u @ I2(C) @ u / 2, **close)
    np.testing.assert_allclose(found.g1, (I2(C) @ u)[first], **close)
    np.testing.assert_allclose(found.J, J(C, n_students), **close)
    np.testing.assert_allclose(found.h, H(C, n_students) @ u, **close)
    np.testing.assert_allclose(found.E4, np.einsum("klab,a,b->kl", I4(C), u, u)[first, first], **close)


def test_a_student_that_is_its_teacher_makes_no_error():
    """Δ = 0: ε_g, E[g Δ], E4 and J v − J ṽ vanish for Q = R = T, a singular covariance."""
    T = np.array([[1.0, 0.2], [0.2, 0.8]])
    found = averages.erf(np.block([[T, T], [T, T]]), np.array([1, 0.5, -1, -0.5]), n_students=2)
    for value in (found.eps_g, found.g1, found.E4, found.h, found.J @ [1, 0.5, -1, -0.5]):
        assert np.abs(value).max() < 1e-15


@pytest.mark.parametrize(
    "function", [I2, I3, I4, partial(unwrap(J), K=1), partial(unwrap(H), K=1)], ids=["I2", "I3", "I4", "J", "H"]
)
def test_what_is_no_covariance_is_refused(function):
    """A matrix that is not square, not finite, not symmetric or has a negative eigenvalue."""
    for C, message in (
        (np.ones((2, 3)), r"has shape \(2, 3\)"),
        (np.array([[1, np.nan], [np.nan, 1]]), "not finite"),
        (np.array([[1.0, 2], [2, 1]]), "positive semi-definite"),
        (np.array([[1, 0.5], [0.4, 1]]), "positive semi-definite"),
    ):
        with pytest.raises(ValueError, match=message):
            unwrap(function)(C)


def test_impossible_numbers_of_students_are_refused():
    """K must lie between 1 and the number of fields, and shapes must agree."""
    C = np.eye(3)
    for k in (0, 4):
        for function in (J, H):
            with pytest.raises(ValueError, match=f"K = {k}"):
                unwrap(function)(C, k)
    for u, k in ((np.ones(3), 0), (np.ones(3), 4), (np.ones(2), 1)):
        with pytest.raises(ValueError, match="give C as"):
            unwrap(averages.erf)(C, u, n_students=k)
