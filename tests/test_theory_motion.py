"""hmm_utils.theory.online.motion against the published equations as plain loops, a simulation, and limits."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hmm_utils.model.activations import ERF
from hmm_utils.model.networks import Network
from hmm_utils.theory.online import averages, motion, order_parameters
from hmm_utils.theory.online.averages import I2, I3, I4

SIGN = SimpleNamespace(b=math.sqrt(2 / math.pi), zeta=1 - 2 / math.pi, c0=1.0)


def networks(K, M, N, D, seed, *, second=False):
    """Student, teacher on D coordinates, features; second layers of ones, or random with `second`."""
    rng = np.random.default_rng(seed)
    v, v_teacher = (rng.standard_normal(K), rng.standard_normal(M)) if second else (np.ones(K), np.ones(M))
    student = Network(rng.standard_normal((K, N)), v, ERF)
    return student, Network(rng.standard_normal((M, D)), v_teacher, ERF), rng.standard_normal((D, N))


def start_of(K, M, N, D, seed, **how):
    student, teacher, F = networks(K, M, N, D, seed, **how)
    return motion.hidden_manifold(student, teacher, F, SIGN)


def published(C, third, k, a, c):
    """E[g'(x_k) y g(x_a)] by regression of y on x_k and x_a, c = E y x: 0/0 for parallel units, as published."""
    if a == k:
        return c[k] / C[k, k] * third[k, k, k]
    on_k = C[a, a] * third[k, k, a] - C[k, a] * third[k, a, a]
    on_a = C[k, k] * third[k, a, a] - C[k, a] * third[k, k, a]
    return (c[k] * on_k + c[a] * on_a) / (C[k, k] * C[a, a] - C[k, a] ** 2)


class Loop:
    """The equations of motion of a hidden manifold, Sec. III of v4, as loops over modes and units."""

    def __init__(self, start, delta, lr, lr_v):
        self.start, self.delta, self.lr, self.lr_v = start, delta, lr, lr_v

    def covariance(self, sigma, r, W):
        Q = SIGN.zeta * W + SIGN.b**2 * sigma.mean(axis=-1)
        R = SIGN.b * r.mean(axis=-1)
        return np.block([[Q, R], [R.T, self.start.T]])

    def __call__(self, sigma, r, W, v):
        K, M, D = r.shape
        C = self.covariance(sigma, r, W)
        third, fourth = I3(C), I4(C)
        u = np.concatenate([v, -self.start.v_teacher])
        eta, n = self.lr, K + M
        d_sigma, d_r, d_W = np.zeros_like(sigma), np.zeros_like(r), np.zeros_like(W)
        noise = np.einsum("klab,a,b->kl", fourth, u, u)[:K, :K]
        for t in range(D):
            rho = self.start.rho[t]
            d = SIGN.zeta * self.delta + SIGN.b**2 * rho
            for k in range(K):
                for m in range(M):
                    # the part of x along the mode has covariances d r with λ and bρ t̃ with ν, times w̃ of the mode
                    c = np.concatenate([d * r[:, m, t], SIGN.b * rho * self.start.tt[:, m, t]])
                    d_r[k, m, t] = -eta / self.delta * v[k] * sum(u[a] * published(C, third, k, a, c) for a in range(n))
                for l in range(K):  # noqa: E741
                    c = np.concatenate([d * sigma[:, l, t], SIGN.b * rho * r[l, :, t]])
                    A = -eta / self.delta * v[k] * sum(u[a] * published(C, third, k, a, c) for a in range(n))
                    d_sigma[k, l, t] += A
                    d_sigma[l, k, t] += A
                    d_sigma[k, l, t] += (
                        eta**2 * v[k] * v[l] * (SIGN.zeta * rho + SIGN.b**2 * rho**2 / self.delta) * noise[k, l]
                    )
        for k in range(K):
            for l in range(K):  # noqa: E741
                B = -eta * v[k] * sum(u[a] * third[k, l, a] for a in range(n))
                d_W[k, l] += B
                d_W[l, k] += B
                d_W[k, l] += eta**2 * v[k] * v[l] * noise[k, l]
        return d_sigma, d_r, d_W, -self.lr_v * (I2(C) @ u)[:K]

    def solve(self, time, steps):
        """Q, R and v after classical Runge–Kutta steps."""
        y, h = (self.start.sigma, self.start.r, self.start.W, self.start.v), time / steps
        for _ in range(steps):
            k1 = self(*y)
            k2 = self(*(a + h / 2 * k for a, k in zip(y, k1, strict=True)))
            k3 = self(*(a + h / 2 * k for a, k in zip(y, k2, strict=True)))
            k4 = self(*(a + h * k for a, k in zip(y, k3, strict=True)))
            y = [a + h / 6 * (p + 2 * q + 2 * s + u) for a, p, q, s, u in zip(y, k1, k2, k3, k4, strict=True)]
        return self.covariance(*y[:3]), y[2], y[3]


@pytest.mark.parametrize(("K", "M", "lr_v"), [(3, 2, 0.3), (2, 3, 0.0)], ids=["both layers", "first layer"])
def test_published_equations_as_loops(K, M, lr_v):
    """Q, R, W and v at time 1 of the equations as published, solved by a plain Runge–Kutta method."""
    start = start_of(K, M, 12, 4, seed=1, second=True)
    loop = Loop(start, 4 / 12, 0.4, lr_v)
    C, W, v = loop.solve(1.0, 40)
    found = motion.integrate(start, [1.0], lr=0.4, lr_v=lr_v, rtol=1e-10).isel(time=0)
    # Runge–Kutta: rates are below η/δ · K · d ≈ 8, and (8/40)⁴/120 ≈ 1e-5 of what they do is the worst case
    for name, value in (("Q", C[:K, :K]), ("R", C[:K, K:]), ("T", C[K:, K:]), ("W", W), ("v", v)):
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5)
    assert np.abs(C - loop.covariance(start.sigma, start.r, start.W)).max() > 0.05, "the test could not tell"
    u = np.concatenate([v, -start.v_teacher])
    assert float(found["eps_g_mse"]) == pytest.approx(u @ I2(C) @ u / 2, abs=1e-5)


def test_start_is_what_is_measured():
    """At time 0 the order parameters are those of the weights, and so is ε_g; T, v and the labels are there."""
    student, teacher, F = networks(3, 2, 30, 9, seed=2, second=True)
    found = motion.integrate(motion.hidden_manifold(student, teacher, F, SIGN), [0.0, 1.0], lr=0.2)
    measured = order_parameters.hidden_manifold(student.W, teacher.W, F, SIGN)
    for name in ("Q", "R", "W"):
        np.testing.assert_allclose(found[name].isel(time=0), measured[name], atol=1e-13)
    np.testing.assert_array_equal(found["T"], measured["T"])
    np.testing.assert_array_equal(found["v"].isel(time=0), student.v)
    assert found["eps_g_mse"].dims == ("time",) and found["R"].dims == ("time", "i", "m")
    np.testing.assert_array_equal(found["time"], [0, 1])
    assert not np.array_equal(found["v"].isel(time=1), student.v), "both layers learn by default, as in `train`"


@pytest.fixture(scope="module")
def run():
    """A start with 60 modes at δ = 0.1, times and the solution to nine digits or so."""
    start, times = start_of(3, 2, 600, 60, seed=3), np.geomspace(0.1, 100, 20)
    return start, times, motion.integrate(start, times, lr=0.2, lr_v=0, rtol=1e-10)


@pytest.mark.parametrize("lr_v", [0, 0.2], ids=["first layer", "both layers"])
def test_all_modes_against_scipy(lr_v):
    """Q, R, W, v and ε_g of 60 modes along the way: the docstring's equations in numpy, solved by scipy's DOP853."""
    start, lr, times = start_of(3, 2, 300, 60, seed=5, second=True), 0.2, np.geomspace(0.1, 100, 12)
    (K, M, D), u_teacher = start.r.shape, start.v_teacher
    delta, zeta = 60 / 300, SIGN.zeta
    d = zeta * delta + SIGN.b**2 * start.rho

    def parts(y):
        sigma, r, W, v = np.split(y, np.cumsum([K * K * D, K * M * D, K * K]))
        sigma, r, W = sigma.reshape(K, K, D), r.reshape(K, M, D), W.reshape(K, K)
        Q, R = zeta * W + SIGN.b**2 * sigma.mean(axis=-1), SIGN.b * r.mean(axis=-1)
        return sigma, r, W, v, np.block([[Q, R], [R.T, start.T]])

    def move(t, y):
        sigma, r, _, v, C = parts(y)
        Q, R, u = C[:K, :K], C[:K, K:], np.concatenate([v, -u_teacher])
        J = averages.J(C, K)
        G = np.diag(v * (averages.H(C, K) @ u)) + v[:, None] * J[:, :K] * v
        P = v[:, None] * J[:, K:] * u_teacher
        E = np.outer(v, v) * np.einsum("klab,a,b->kl", I4(C), u, u)[:K, :K]
        dr = -lr * (
            d / delta * np.einsum("kj,jmt->kmt", G, r) - SIGN.b * start.rho / delta * np.tensordot(P, start.tt, 1)
        )
        A = d / delta * np.einsum("kj,jlt->klt", G, sigma)
        A -= SIGN.b * start.rho / delta * np.einsum("km,lmt->klt", P, r)
        dsigma = -lr * (A + A.transpose(1, 0, 2)) + lr**2 * start.rho * d / delta * E[..., None]
        B = G @ Q - P @ R.T
        dW = -lr * (B + B.T) + lr**2 * E
        return np.concatenate([dsigma.ravel(), dr.ravel(), dW.ravel(), -lr_v * (I2(C) @ u)[:K]])

    first = np.concatenate([start.sigma.ravel(), start.r.ravel(), start.W.ravel(), start.v])
    reference = solve_ivp(move, (0, 100), first, method="DOP853", t_eval=times, rtol=1e-9, atol=1e-11).y.T
    found = motion.integrate(start, times, lr=lr, lr_v=lr_v, rtol=1e-10)
    for i, y in enumerate(reference):
        _, _, W, v, C = parts(y)
        u, now = np.concatenate([v, -u_teacher]), found.isel(time=i)
        # a hundred steps or so with errors of 1e-10 here and 1e-9 there
        for name, value in (("Q", C[:K, :K]), ("R", C[:K, K:]), ("W", W), ("v", v)):
            np.testing.assert_allclose(now[name], value, rtol=0, atol=1e-7)
        assert float(now["eps_g_mse"]) == pytest.approx(u @ I2(C) @ u / 2, rel=1e-6)


def test_compiled_as_a_whole_or_in_parts():
    """erf's averages taken as any closure's give what the compiled piece gives, in the same steps, up to rounding."""
    start, times = start_of(3, 2, 60, 12, seed=6, second=True), [0.0, 0.5, 30.0]
    whole = motion.integrate(start, times, lr=0.3, lr_v=0.2)
    parts = motion.integrate(start, times, lr=0.3, lr_v=0.2, closure=lambda *C_u, **K: averages.erf(*C_u, **K))
    assert whole.attrs == parts.attrs
    for name in whole:
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-9, atol=1e-11)


def largest_deviation(found, reference):
    return float(np.abs(found["eps_g_mse"] / reference["eps_g_mse"] - 1).max())


def test_default_tolerance_leaves_six_digits(run):
    """ε_g at the default rtol is within 1e-6 of a solution with a tolerance a thousand times smaller."""
    start, times, reference = run
    assert largest_deviation(motion.integrate(start, times, lr=0.2, lr_v=0), reference) < 1e-6


def test_quadrature_converges_geometrically(run):
    """4, 8, 12, 16 nodes for 60 modes: each four nodes win more than a digit; 12 give ε_g to a part in 10⁶."""
    start, times, reference = run
    errors = [
        largest_deviation(motion.integrate(motion.quadrature(start, n), times, lr=0.2, lr_v=0, rtol=1e-9), reference)
        for n in (4, 8, 12, 16)
    ]
    assert errors[0] < 0.02 and errors[2] < 1e-6
    assert errors[1] < errors[0] / 10 and errors[2] < errors[1] / 10 and errors[3] < 1e-7


def test_quadrature_is_exact_for_low_powers_and_in_full():
    """Σ p ρ^j x is kept for j < n, Σ p ρ^j up to 2n − 1; with a node for every mode the modes come back."""
    start, n = start_of(2, 2, 40, 8, seed=4), 3
    coarse = motion.quadrature(start, n)
    for name in ("sigma", "r", "tt"):
        for j in range(n):
            kept = getattr(coarse, name) @ (coarse.p * coarse.rho**j)
            np.testing.assert_allclose(kept, getattr(start, name) @ (start.p * start.rho**j), rtol=1e-11, atol=1e-12)
    for j in range(2 * n):
        np.testing.assert_allclose(coarse.p @ coarse.rho**j, start.p @ start.rho**j, rtol=1e-12)
    assert abs(coarse.p @ coarse.rho ** (2 * n) / (start.p @ start.rho ** (2 * n)) - 1) > 1e-6
    for n in (8, 20):
        full = motion.quadrature(start, n)
        np.testing.assert_allclose(full.rho, start.rho, rtol=1e-11)
        np.testing.assert_allclose(full.r, start.r, atol=1e-9)


def test_bins_average_neighbours(run):
    """Means over equal groups of the sorted spectrum; ten give ε_g to two digits, one bin for each mode all."""
    start, times, reference = run
    mixed = np.random.default_rng(5).permutation(60)
    shuffled = replace(start, **{k: getattr(start, k)[..., mixed] for k in ("rho", "p", "sigma", "r", "tt")})
    coarse = motion.binned(shuffled, 20)
    np.testing.assert_allclose(coarse.rho, start.rho.reshape(20, 3).mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(coarse.r, start.r.reshape(3, 2, 20, 3).mean(axis=-1), atol=1e-13)
    np.testing.assert_allclose(coarse.p, 1 / 20, rtol=1e-13)
    ten = motion.integrate(motion.binned(start, 10), times, lr=0.2, lr_v=0)
    assert 1e-5 < largest_deviation(ten, reference) < 0.02
    np.testing.assert_array_equal(motion.binned(start, 60).sigma, start.sigma)


def test_averaged_teacher_is_the_mean_and_no_more(run):
    """t̃ of every mode is ⟨ρ t̃⟩; at 60 modes that is wrong by tens of per cent at late times."""
    start, times, reference = run
    averaged = motion.averaged_teacher(start)
    by_hand = sum(p * rho * start.tt[..., t] for t, (p, rho) in enumerate(zip(start.p, start.rho, strict=True)))
    for t in (0, 59):
        np.testing.assert_allclose(averaged.tt[..., t], by_hand, rtol=1e-12)
    np.testing.assert_array_equal(averaged.r, start.r)
    assert largest_deviation(motion.integrate(averaged, times, lr=0.2, lr_v=0), reference) > 0.05


@pytest.mark.parametrize("D", [8, 20], ids=["D < N", "D > N"])
def test_hidden_manifold_is_a_generator(D):
    """The N modes of Ω = b²FᵀF/D + ζ, Φ = bFᵀ/√D give the same path as the D modes of F Fᵀ/N with W."""
    student, teacher, F = networks(2, 3, 12, D, seed=7, second=True)
    Omega, Phi = SIGN.b**2 * F.T @ F / D + SIGN.zeta * np.eye(12), SIGN.b * F.T / math.sqrt(D)
    times = [0.0, 1.0, 10.0]
    # on the diagonal of Ω stands 1 only on average over features: c₀ is its mean
    c0 = SimpleNamespace(b=SIGN.b, zeta=SIGN.zeta, c0=np.trace(Omega) / 12)
    one = motion.integrate(motion.hidden_manifold(student, teacher, F, c0), times, lr=0.2, rtol=1e-10)
    other = motion.integrate(motion.generator(student, teacher, Omega, Phi), times, lr=0.2, rtol=1e-10)
    for name in ("Q", "R", "T", "W", "v", "eps_g_mse"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-7)


def test_iid_inputs_give_the_equations_of_saad_and_solla():
    """dQ and dR of i.i.d. inputs in terms of I₃ and I₄, solved by scipy."""
    student, teacher, _ = networks(2, 3, 50, 50, seed=8)
    start, lr, times = motion.iid(student, teacher), 0.3, [0.0, 2.0, 20.0]
    T, u = start.T, np.array([1.0, 1, -1, -1, -1])

    def saad_solla(t, y):
        Q, R = y[:4].reshape(2, 2), y[4:].reshape(2, 3)
        C = np.block([[Q, R], [R.T, T]])
        move = -lr * np.einsum("kja,a->kj", I3(C), u)[:2]
        noise = lr**2 * np.einsum("klab,a,b->kl", I4(C), u, u)[:2, :2]
        return np.concatenate([(move[:, :2] + move[:, :2].T + noise).ravel(), move[:, 2:].ravel()])

    first = np.concatenate([start.Q.ravel(), start.R.ravel()])
    reference = solve_ivp(saad_solla, (0, 20), first, method="DOP853", t_eval=times, rtol=1e-10, atol=1e-12).y.T
    found = motion.integrate(start, times, lr=lr, lr_v=0, rtol=1e-10)
    np.testing.assert_allclose(found["Q"].values.reshape(3, 4), reference[:, :4], atol=1e-7)
    np.testing.assert_allclose(found["R"].values.reshape(3, 6), reference[:, 4:], atol=1e-7)
    np.testing.assert_allclose(found["W"], found["Q"], atol=1e-12, err_msg="W and Q are the same here")


def marchenko_pastur(delta, n):
    """Nodes ρ = 1 + δ + 2√δ cos θ and weights ~ sin²θ/ρ of the density, δ ≤ 1."""
    theta = np.arange(1, n + 1) * math.pi / (n + 1)
    rho = 1 + delta + 2 * math.sqrt(delta) * np.cos(theta)
    p = np.sin(theta) ** 2 / rho
    return rho, p / p.sum()


def ensemble(delta, R, W=None, n=40):
    K, M = np.shape(R)
    rho, p = marchenko_pastur(delta, n)
    W = np.eye(K) if W is None else W
    return motion.ensemble(
        rho, p, W=W, R=R, T=np.eye(M), v=np.ones(K), v_teacher=np.ones(M), delta=delta, constants=SIGN
    )


def test_ensemble_is_the_average_over_features():
    """Students w = w_⊥ + α F w̃/√D measured at N = 4000: Q, R, W and densities of every eigenvalue."""
    N, D, delta = 4000, 400, 0.1
    rng = np.random.default_rng(9)
    F = rng.standard_normal((D, N))
    # orthogonal teachers, so that T = 1 exactly
    wt = np.linalg.qr(rng.standard_normal((D, 2)))[0].T * math.sqrt(D)
    R = np.array([[0.3, -0.1], [0.0, 0.2]])
    alpha = math.sqrt(delta) / SIGN.b * R
    w = rng.standard_normal((2, N)) + alpha @ wt @ F / math.sqrt(D)
    found = order_parameters.hidden_manifold(w, wt, F, SIGN)
    start = ensemble(delta, R, W=np.eye(2) + alpha @ alpha.T)
    # means over N weights or D modes of numbers of order 1
    for name in ("Q", "R", "W"):
        np.testing.assert_allclose(getattr(start, name), found[name], atol=5 / math.sqrt(D))
    np.testing.assert_allclose(start.R, R, atol=1e-12)
    of_modes = order_parameters.densities(w, wt, F, order_parameters.latent_modes(F))
    for name in ("r", "sigma"):
        # the first moment over the spectrum knows how a density depends on ρ
        moment = (of_modes["rho"] * of_modes[name]).mean("mode")
        np.testing.assert_allclose(getattr(start, name) @ (start.p * start.rho), moment, atol=5 * 2 / math.sqrt(D))


def test_one_node_is_the_limit_of_few_latent_dimensions():
    """The error of the theory with ρ = 1 alone is O(δ) at equal times steps/D."""
    errors = []
    for delta in (0.04, 0.01, 0.0025):
        start, times = ensemble(delta, [[0.3, 0.1], [0.0, 0.2]]), delta * np.geomspace(1, 200, 12)
        assert motion.quadrature(start, 1).rho == pytest.approx(1)
        one, all_modes = (motion.integrate(s, times, lr=0.2, lr_v=0) for s in (motion.quadrature(start, 1), start))
        errors.append(largest_deviation(one, all_modes))
    # a factor 4 each, up to the next order in δ, which is 4 % of the largest and 1/√δ times that where it is in √δ
    assert 3 < errors[0] / errors[1] < 5 and 3 < errors[1] / errors[2] < 5


@pytest.mark.parametrize("delta", [0.1, 0.5])
def test_asymptotes_of_small_rates(delta):
    """ε_g for t → ∞, extrapolated to η = 0, of K = M = 2 specialised units.

    The field of a unit is then R times the best linear estimate of its teacher's: ν explained to the fraction
    s = ⟨b²ρ/(b²ρ + ζδ)⟩, Q = R²/s, and R minimises the error.
    """
    rho, p = marchenko_pastur(delta, 400)
    s = p @ (SIGN.b**2 * rho / (SIGN.b**2 * rho + SIGN.zeta * delta))

    def error(R):
        Q = R**2 / s
        return 2 / math.pi * (np.arcsin(Q / (1 + Q)) + math.pi / 6 - 2 * np.arcsin(R / np.sqrt(2 * (1 + Q))))

    # near its minimum the error is flat: 1e-4 in R is 1e-8 in ε_g
    expected = error(np.linspace(0.5, 1.5, 10_001)).min()
    found = [
        motion.integrate(ensemble(delta, 0.1 * np.eye(2)), [1500 / lr], lr=lr, lr_v=0)["eps_g_mse"].item()
        for lr in (0.02, 0.01)
    ]
    # linear extrapolation leaves a term of second order, which is the square of 5–10 % at η = 0.2 times 1/200
    assert 2 * found[1] - found[0] == pytest.approx(expected, rel=1e-3)
    assert found[0] > expected * 1.003, "the test could not tell"


@pytest.mark.parametrize("lr_v", [0, 0.2], ids=["first layer", "both layers"])
def test_more_students_than_teachers(lr_v):
    """K = 4 for M = 2 to ηt = 4000: two students of a teacher become parallel, and nothing diverges."""
    start = motion.quadrature(start_of(4, 2, 600, 60, seed=10), 10)
    found = motion.integrate(start, [1.0, 1000.0, 20_000.0], lr=0.2, lr_v=lr_v, rtol=1e-6)
    assert all(np.isfinite(found[name]).all() for name in found)
    eps_g = found["eps_g_mse"].values
    assert 0 < eps_g[2] < eps_g[1] < eps_g[0]


def test_parallel_students():
    """Two students with the same weights: the covariance is singular, and the equations do not mind.

    They stay parallel until rounding is enough to specialise, as it must be at late times.
    """
    student, teacher, F = networks(2, 2, 100, 20, seed=11)
    twins = Network(np.repeat(student.W[:1], 2, axis=0), student.v, ERF)
    found = motion.integrate(motion.hidden_manifold(twins, teacher, F, SIGN), [0.0, 5.0, 20.0, 4000.0], lr=0.2, lr_v=0)
    assert np.isfinite(found["eps_g_mse"]).all()
    early = found.isel(time=slice(3))
    np.testing.assert_allclose(early["Q"], early["Q"].values[:, :1, :1] * np.ones((2, 2)), rtol=1e-9)
    np.testing.assert_allclose(early["R"][:, 0], early["R"][:, 1], atol=1e-9)
    # one unit of a student moves as its two parallel halves do: the same function, so the same error
    alone = motion.hidden_manifold(Network(student.W[:1], np.array([2.0]), ERF), teacher, F, SIGN)
    eps_g = motion.integrate(alone, [0.0], lr=0.2)["eps_g_mse"]
    assert float(eps_g[0]) == pytest.approx(float(early["eps_g_mse"][0]), rel=1e-12)


def simulated(student, teacher, F, times, lr, rng):
    """ε_g of one-pass SGD, from the order parameters of its weights at every time."""
    (D, N), w, t, eps_g = F.shape, student.W.copy(), 0, []
    u = np.concatenate([student.v, -teacher.v])
    for stop in np.rint(np.asarray(times) * N).astype(int):
        for _ in range(stop - t):
            c = rng.standard_normal(D)
            x = np.sign(c @ F)
            lam = w @ x / math.sqrt(N)
            delta = student.v @ ERF.g(lam) - teacher.v @ ERF.g(teacher.W @ c / math.sqrt(D))
            w -= lr / math.sqrt(N) * np.outer(student.v * delta * ERF.dg(lam), x)
        t = stop
        found = order_parameters.hidden_manifold(w, teacher.W, F, SIGN)
        C = order_parameters.covariance(found["Q"].values, found["R"].values, found["T"].values)
        eps_g.append(averages.erf(C, u, n_students=len(w)).eps_g)
    return np.array(eps_g)


def test_simulation_follows_the_equations():
    """One-pass SGD, N = 500, D = 50, K = M = 2, four runs to time 20, each beside theory from its own weights."""
    times, runs = np.array([1.0, 3, 8, 20]), 4
    ratios = []
    for seed in range(runs):
        student, teacher, F = networks(2, 2, 500, 50, seed=20 + seed)
        theory = motion.integrate(motion.hidden_manifold(student, teacher, F, SIGN), times, lr=0.2, lr_v=0)
        seen = simulated(student, teacher, F, times, 0.2, np.random.default_rng(30 + seed))
        ratios.append(seen / theory["eps_g_mse"].values)
    # a mean over runs is known to its standard error; the equations leave out terms of relative order 1/√N
    error = np.std(ratios, axis=0, ddof=1) / math.sqrt(runs)
    assert (np.abs(np.mean(ratios, axis=0) - 1) < 3 * error + 1 / math.sqrt(500)).all()
    assert (error < 0.05).all(), "the test could not tell"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": np.ones(0)}, "there are 0 students"),
        ({"v_teacher": np.ones(0)}, "0 teachers"),
        ({"W": np.eye(3)}, r"W has shape \(3, 3\)"),
        ({"r": np.zeros((2, 2, 7))}, r"r has shape \(2, 2, 7\)"),
        ({"v": np.array([1, np.nan])}, "v holds values that are not finite"),
        ({"T": -np.eye(2)}, "positive semi-definite"),
    ],
    ids=["no students", "no teachers", "W", "r", "NaN", "no covariance"],
)
def test_impossible_starts_are_refused(change, message):
    """One sentence on what is wrong."""
    with pytest.raises(ValueError, match=message):
        replace(start_of(2, 2, 30, 6, seed=12), **change)


@pytest.mark.parametrize(
    ("times", "how", "message"),
    [
        ([-1.0, 1.0], {"lr": 0.2}, "none of them negative"),
        ([2.0, 1.0], {"lr": 0.2}, "increasing"),
        ([], {"lr": 0.2}, "increasing"),
        ([math.nan], {"lr": 0.2}, "increasing"),
        ([math.inf], {"lr": 0.2}, "finite"),
        ([1.0], {"lr": 0.0}, "lr must be positive"),
        ([1.0], {"lr": math.nan}, "lr must be positive"),
        ([1.0], {"lr": 0.2, "lr_v": -1.0}, "lr_v not negative"),
        ([1.0], {"lr": 0.2, "rtol": 0.0}, "rtol = 0"),
    ],
)
def test_impossible_arguments_are_refused(times, how, message):
    """Times, rates and tolerances that make no sense."""
    with pytest.raises(ValueError, match=message):
        motion.integrate(start_of(1, 1, 30, 6, seed=13), times, **how)


def test_impossible_spectra_are_refused():
    """More bins than modes, no nodes, and shapes of an ensemble that do not agree."""
    start = start_of(1, 1, 30, 6, seed=14)
    for n in (0, 7):
        with pytest.raises(ValueError, match=f"n_bins = {n}"):
            motion.binned(start, n)
    with pytest.raises(ValueError, match="n_nodes = 0"):
        motion.quadrature(start, 0)
    with pytest.raises(ValueError, match="W, R and T have shapes"):
        ensemble(0.1, np.zeros((2, 2)), W=np.eye(3))
