"""hmm_utils.theory.online.motion against the published equations as plain loops, a simulation, and limits."""

import math
from dataclasses import replace
from functools import partial
from inspect import unwrap

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hmm_utils.model.activations import ERF
from hmm_utils.model.networks import Network
from hmm_utils.model.nonlinearities import constants
from hmm_utils.theory.online import averages, motion, order_parameters, spectra
from hmm_utils.theory.online.averages import I2, I3, I4
from hmm_utils.theory.online.equivalence import unit_features

SIGN = constants("sgn")


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


@pytest.mark.parametrize(("K", "M", "lr_v"), [(3, 2, 0.3), (2, 3, 0.0)], ids=["both layers", "first layer"])
def test_published_equations_as_loops(K, M, lr_v):
    """Q, R, W, v and ε_g along the way of the equations as published, solved by scipy's DOP853."""
    start, times = start_of(K, M, 12, 4, seed=1, second=True), [0.0, 0.5, 4.0]
    loop = Loop(start, 4 / 12, 0.4, lr_v)
    first = [start.sigma, start.r, start.W, start.v]
    ends = np.cumsum([a.size for a in first])[:-1]

    def parts(y):
        return [part.reshape(a.shape) for part, a in zip(np.split(y, ends), first, strict=True)]

    def move(t, y):
        return np.concatenate([a.ravel() for a in loop(*parts(y))])

    y0 = np.concatenate([a.ravel() for a in first])
    path = solve_ivp(move, (0, times[-1]), y0, method="DOP853", t_eval=times, rtol=1e-8, atol=1e-10).y.T
    found = motion.integrate(start, times, lr=0.4, lr_v=lr_v, rtol=1e-9)
    for i, y in enumerate(path):
        sigma, r, W, v = parts(y)
        C, now, u = loop.covariance(sigma, r, W), found.isel(time=i), np.concatenate([v, -start.v_teacher])
        # some hundred steps with errors of 1e-9 here and 1e-8 there
        for name, value in (("Q", C[:K, :K]), ("R", C[:K, K:]), ("T", C[K:, K:]), ("W", W), ("v", v)):
            np.testing.assert_allclose(now[name], value, rtol=0, atol=1e-6, err_msg=name)
        assert float(now["eps_g_mse"]) == pytest.approx(u @ I2(C) @ u / 2, abs=1e-6)
    assert np.abs(C - loop.covariance(start.sigma, start.r, start.W)).max() > 0.05, "the test could not tell"


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


def test_quadrature_converges_geometrically(run):
    """The default rtol and all 60 modes leave 1e-6 of ε_g; 4, 8, 12, 16 nodes win more than a digit each."""
    start, times, reference = run

    def error(modes, **how):
        return largest_deviation(motion.integrate(modes, times, lr=0.2, lr_v=0, **how), reference)

    assert error(start) < 1e-6
    errors = [error(motion.quadrature(start, n), rtol=1e-9) for n in (4, 8, 12, 16)]
    assert errors[0] < 0.02 and errors[2] < 1e-6
    assert errors[1] < errors[0] / 10 and errors[2] < errors[1] / 10 and errors[3] < 1e-7


def test_quadrature_is_exact_for_low_powers_and_in_full():
    """Σ p ρ^j x is the same for j < n, Σ p ρ^j up to 2n − 1; with a node for every mode the modes come back."""
    start, n = start_of(2, 2, 40, 8, seed=4), 3
    coarse = motion.quadrature(start, n)
    for name in ("sigma", "r", "tt"):
        for j in range(n):
            moment = getattr(coarse, name) @ (coarse.p * coarse.rho**j)
            np.testing.assert_allclose(moment, getattr(start, name) @ (start.p * start.rho**j), rtol=1e-11, atol=1e-12)
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


def modes_of_features(student, teacher, F, closure):
    """The N modes of Ω = b²FᵀF/D + ζ, Φ = bFᵀ/√D, as those of any generator."""
    D, N = F.shape
    Omega = closure.b**2 * F.T @ F / D + closure.zeta * np.eye(N)
    return motion.generator(student, teacher, Omega, closure.b * F.T / math.sqrt(D))


@pytest.mark.parametrize("D", [8, 20, None], ids=["D < N", "D > N", "i.i.d."])
def test_hidden_manifold_and_iid_inputs_are_generators(D):
    """A generator's modes give the same path as the D modes of F Fᵀ/N with W, and with Ω = Φ = 1 as i.i.d. inputs."""
    erf, times = constants("erf"), [0.0, 1.0, 10.0]
    student, teacher, _ = networks(2, 3, 12, D or 12, seed=7, second=True)
    if D:
        # with columns of length √D the diagonal of Ω is c₀ = 1/3
        F = unit_features(D, 12, np.random.default_rng(7)).astype(float)
        F *= np.sqrt(D / (F**2).sum(axis=0))
        starts = motion.hidden_manifold(student, teacher, F, erf), modes_of_features(student, teacher, F, erf)
    else:
        starts = motion.iid(student, teacher), motion.generator(student, teacher, np.eye(12), np.eye(12))
    one, other = (motion.integrate(start, times, lr=0.2, rtol=1e-10) for start in starts)
    for name in ("Q", "R", "T", "W", "v", "eps_g_mse"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-7)
    if not D:
        np.testing.assert_allclose(one["W"], one["Q"], atol=1e-12, err_msg="W and Q are the same for i.i.d. inputs")


def ensemble(delta, R, W=None, n=40):
    K, M = np.shape(R)
    rho, p = spectra.nodes(delta, n)
    W = np.eye(K) if W is None else W
    # as it is called outside of tests, so that shapes are refused in its own words
    return unwrap(motion.ensemble)(
        rho, p, W=W, R=np.array(R), T=np.eye(M), v=np.ones(K), v_teacher=np.ones(M), delta=delta, constants=SIGN
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


def start_but(**change):
    return replace(start_of(2, 2, 30, 6, seed=12), **change)


def ending(*times, **how):
    return motion.integrate(start_but(), list(times), **({"lr": 0.2} | how))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(start_but, v=np.ones(0)), "there are 0 students"),
        (partial(start_but, v_teacher=np.ones(0)), "0 teachers"),
        (partial(start_but, W=np.eye(3)), r"W has shape \(3, 3\)"),
        (partial(start_but, r=np.zeros((2, 2, 7))), r"r has shape \(2, 2, 7\)"),
        (partial(start_but, v=np.array([1, np.nan])), "v holds values that are not finite"),
        (partial(start_but, T=-np.eye(2)), "positive semi-definite"),
        (partial(ending, 2.0, 1.0), "increasing"),
        (partial(ending, 1.0, lr=0.0), "lr = 0.0: give a positive"),
        (partial(ending, 1.0, lr_v=-1.0), "lr_v = -1.0: give a positive"),
        (partial(ending, 1.0, rtol=0.0), "rtol = 0"),
        (lambda: motion.binned(start_but(), 0), "n_bins = 0"),
        (lambda: motion.binned(start_but(), 7), "n_bins = 7"),
        (lambda: motion.quadrature(start_but(), 0), "n_nodes = 0"),
        (lambda: ensemble(0.1, np.eye(2), W=np.eye(3)), "W, R and T have shapes"),
    ],
    ids=range(14),
)
def test_what_is_impossible_is_refused(call, message):
    """Starts, arguments of the integration, more bins than modes, and shapes that do not agree: in one sentence."""
    with pytest.raises(ValueError, match=message):
        call()
