"""hmm_utils.theory.online.order_parameters against sums written as loops, and against sampled fields."""

import math
from inspect import unwrap

import numpy as np
import pytest

from hmm_utils.model.nonlinearities import constants
from hmm_utils.theory.online import order_parameters as op

SE = 5  # standard errors allowed: one number in two million is further off by chance
SIGN = constants("sgn")
K, M, D, N = 3, 2, 7, 11


@pytest.fixture(scope="module")
def weights():
    """w (K, N), w̃ (M, D) and F (D, N)."""
    rng = np.random.default_rng(5)
    return rng.standard_normal((K, N)), rng.standard_normal((M, D)), rng.standard_normal((D, N))


def test_hidden_manifold_by_loops(weights):
    """Q, R, T, Σ and W from their definitions, one sum at a time."""
    w, wt, F = weights
    found = op.hidden_manifold(w, wt, F, SIGN)
    S = [[sum(w[k, i] * F[r, i] for i in range(N)) / math.sqrt(N) for r in range(D)] for k in range(K)]
    for k in range(K):
        for l in range(K):  # noqa: E741
            W = sum(w[k, i] * w[l, i] for i in range(N)) / N
            Sigma = sum(S[k][r] * S[l][r] for r in range(D)) / D
            assert found["W"].values[k, l] == pytest.approx(W, abs=1e-14)
            assert found["Sigma"].values[k, l] == pytest.approx(Sigma, abs=1e-14)
            assert found["Q"].values[k, l] == pytest.approx(SIGN.zeta * W + SIGN.b**2 * Sigma, abs=1e-14)
        for m in range(M):
            R = SIGN.b * sum(S[k][r] * wt[m, r] for r in range(D)) / D
            assert found["R"].values[k, m] == pytest.approx(R, abs=1e-14)
    np.testing.assert_allclose(found["T"], [[sum(wt[m] * wt[n]) / D for n in range(M)] for m in range(M)], rtol=1e-14)


def assert_are_covariances(order_parameters, lam, nu):
    """Q, R, T are the second moments of sampled fields (K, draws) and (M, draws), up to SE standard errors."""
    for name, x, y in (("Q", lam, lam), ("R", lam, nu), ("T", nu, nu)):
        product = x[:, None] * y
        error = product.std(axis=-1) / math.sqrt(product.shape[-1])
        assert (np.abs(product.mean(axis=-1) - order_parameters[name].values) < SE * error).all()


def test_order_parameters_are_covariances_of_fields(weights):
    """E λλ, E λν, E νν for inputs b u + √ζ z with u = cF/√D, of which the theory keeps nothing but what they have."""
    w, wt, F = weights
    rng = np.random.default_rng(6)
    c, z = rng.standard_normal((100_000, D)), rng.standard_normal((100_000, N))
    x = SIGN.b * c @ F / math.sqrt(D) + math.sqrt(SIGN.zeta) * z
    lam, nu = w @ x.T / math.sqrt(N), wt @ c.T / math.sqrt(D)
    assert_are_covariances(op.hidden_manifold(w, wt, F, SIGN), lam, nu)
    # the same inputs seen as those of a generator, and c itself as the input of a teacher on inputs
    Omega, Phi = SIGN.b**2 * F.T @ F / D + SIGN.zeta * np.eye(N), SIGN.b * F.T / math.sqrt(D)
    assert_are_covariances(op.generator(w, wt, Omega, Phi), lam, nu)
    assert_are_covariances(op.iid(w[:, :D], wt), w[:, :D] @ c.T / math.sqrt(D), nu)


def test_modes_diagonalise(weights):
    """Ω ψ_τ = ρ_τ ψ_τ with |ψ_τ|² = n, for Ω = F Fᵀ/N and for Ω = E x xᵀ."""
    F = weights[2]
    for modes, Omega in ((op.latent_modes(F), F @ F.T / N), (op.generator_modes(F.T @ F / D), F.T @ F / D)):
        np.testing.assert_allclose(Omega @ modes.psi, modes.rho * modes.psi, atol=1e-13)
        np.testing.assert_allclose(modes.psi.T @ modes.psi, len(Omega) * np.eye(len(Omega)), atol=1e-13)
        # N − D eigenvalues of the second are 0; rounding must not make them negative
        assert (modes.rho >= 0).all()


def test_densities_average_to_order_parameters(weights):
    """Σ = ⟨σ⟩, R = b⟨r⟩, T = ⟨t̃⟩, and ⟨ρ t̃⟩ is the teachers' overlap through Ω."""
    w, wt, F = weights
    whole = op.hidden_manifold(w, wt, F, SIGN)
    found = op.densities(w, wt, F, op.latent_modes(F))
    mean = found.mean("mode")
    for name, value in (("Sigma", mean["sigma"]), ("R", SIGN.b * mean["r"]), ("T", mean["tt"])):
        np.testing.assert_allclose(value, whole[name], atol=1e-13)
    np.testing.assert_allclose((found["rho"] * found["tt"]).mean("mode"), wt @ (F @ F.T / N) @ wt.T / D, atol=1e-13)


def test_densities_of_a_generator_average_to_order_parameters(weights):
    """Q = ⟨ρσ⟩ and R = ⟨r⟩/√δ for any Ω and Φ; ⟨t̃⟩ = w̃ ΦᵀΦ w̃ᵀ/N is not T."""
    w, wt, _ = weights
    a = np.random.default_rng(7).standard_normal((N, N + D + 3))
    Omega, Phi = a @ a.T / (N + D), a[:, :D] / 2
    whole = op.generator(w, wt, Omega, Phi)
    found = op.generator_densities(w, wt, Phi, op.generator_modes(Omega))
    np.testing.assert_allclose((found["rho"] * found["sigma"]).mean("mode"), whole["Q"], atol=1e-13)
    np.testing.assert_allclose(found["r"].mean("mode") / math.sqrt(D / N), whole["R"], atol=1e-13)
    np.testing.assert_allclose(found["tt"].mean("mode"), wt @ Phi.T @ Phi @ wt.T / N, atol=1e-13)
    np.testing.assert_allclose(whole["W"], w @ w.T / N, atol=1e-14)


def test_covariance_puts_the_blocks_together():
    """C = [[Q, R], [Rᵀ, T]], a singular one among them: a student that is its teacher."""
    Q, R, T = np.array([[2.0, 0.1], [0.1, 1.0]]), np.array([[0.5], [-0.3]]), np.array([[1.0]])
    C = op.covariance(Q, R, T)
    np.testing.assert_array_equal(C, [[2, 0.1, 0.5], [0.1, 1, -0.3], [0.5, -0.3, 1]])
    np.testing.assert_array_equal(op.covariance(T, T, T), [[1, 1], [1, 1]])


def test_impossible_matrices_are_refused(weights):
    """One sentence each: shapes that do not agree, no units, NaN, and no covariance."""
    w, wt, F = weights
    one, eye = np.ones((1, 1)), np.eye(N)
    for function, arguments, message in (
        (op.hidden_manifold, (w[:, :D], wt, F, SIGN), r"w has shape \(3, 7\)"),
        (op.hidden_manifold, (w, wt[:0], F, SIGN), r"w_teacher has shape \(0, 7\)"),
        (op.densities, (w[:0], wt, F, op.latent_modes(F)), r"w has shape \(0, 11\)"),
        (op.generator, (w, wt, np.eye(D), F.T), r"Omega has shape \(7, 7\)"),
        (op.generator, (w, wt, eye, np.full((N, D), np.nan)), "Phi holds values that are not finite"),
        (op.generator_modes, (np.triu(np.ones((3, 3))),), "not square and symmetric"),
        (op.iid, (w, wt), r"w_teacher has shape \(2, 7\)"),
        (op.covariance, (one, 2 * one, one), "positive semi-definite"),
        (op.covariance, (np.eye(2), one, one), r"give \(K, K\)"),
        (op.covariance, (one, np.nan * one, one), "R holds values that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            unwrap(function)(*arguments)
