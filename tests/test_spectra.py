"""hmm_utils.theory.online.spectra: the Marchenko–Pastur law by exact moments, plain integration, and drawn F."""

import math
from inspect import unwrap

import numpy as np
import pytest

from hmm_utils.theory.online import spectra

DELTAS = [0.005, 0.1, 0.5, 0.99, 1.0, 1.5, 4.0]


def exact_moment(k, delta):
    """∫ dp(ρ) ρᵏ = Σ_r δʳ/(r + 1) C(k, r) C(k − 1, r): Narayana's numbers."""
    return sum(delta**r / (r + 1) * math.comb(k, r) * math.comb(k - 1, r) for r in range(k))


def plain_grid(delta, n):
    """ρ = 1 + δ + 2√δ cos θ on a uniform grid in θ: the continuous part of the law is 2/π sin²θ/ρ dθ."""
    theta = (np.arange(n) + 0.5) * np.pi / n
    rho = 1 + delta + 2 * np.sqrt(delta) * np.cos(theta)
    return rho, 2 / n * np.sin(theta) ** 2 / rho


@pytest.mark.parametrize("delta", DELTAS)
def test_nodes_have_the_exact_moments(delta):
    """n nodes give the first 2n − 1 moments of the law, and its norm, to rounding; the next one is wrong."""
    n = 5
    rho, p = spectra.nodes(delta, n)
    assert p.sum() == pytest.approx(1, rel=1e-14) and np.all(rho >= 0) and np.all(np.diff(rho) > 0)
    for k in range(1, 2 * n):
        # eigenvalues are good to a few eps ρ₊, which the power k magnifies k-fold
        assert (p * rho**k).sum() == pytest.approx(exact_moment(k, delta), rel=k * 1e-14)
    # the remainder for ρ²ⁿ is the product of the squared off-diagonal elements, δⁿ
    missing = exact_moment(2 * n, delta) - (p * rho ** (2 * n)).sum()
    assert missing == pytest.approx(delta**n, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("delta", DELTAS)
def test_nodes_give_the_integral_of_a_function_that_is_no_polynomial(delta):
    """Σ p ρ/(ρ + 0.3) agrees with a uniform grid in the angle θ, to which the mass at zero adds nothing."""
    rho, p = spectra.nodes(delta)
    on_grid, weight = plain_grid(delta, 20_000)
    # the function is analytic but for its pole at −0.3, so that 100 nodes leave less than 1e-12
    assert (p * rho / (rho + 0.3)).sum() == pytest.approx((weight * on_grid / (on_grid + 0.3)).sum(), rel=1e-10)


@pytest.mark.parametrize("delta", DELTAS)
def test_density_and_mass_at_zero_make_one(delta):
    """The density integrates to 1 − mass at zero, vanishes outside the edges, and is that of the uniform grid in θ."""
    low, high = spectra.edges(delta)
    theta = (np.arange(100_000) + 0.5) * np.pi / 100_000
    rho = 1 + delta + 2 * np.sqrt(delta) * np.cos(theta)
    integral = np.pi / 100_000 * (spectra.density(rho, delta) * 2 * np.sqrt(delta) * np.sin(theta)).sum()
    # near an edge (ρ₊ − ρ)(ρ − ρ₋) loses the digits that ρ shares with the edge: at worst a relative 1e-6 of the square
    # root in the outermost of 1e5 cells; for δ = 1 the integrand is 1/√ρ there, without a slope at fault
    assert integral == pytest.approx(1 - spectra.mass_at_zero(delta), abs=1e-7)
    np.testing.assert_array_equal(spectra.density(np.array([-1, 0, 0.99 * low, 1.01 * high]), delta), 0)
    assert spectra.mass_at_zero(delta) == pytest.approx(max(0, (delta - 1) / delta))


@pytest.mark.parametrize(("N", "D"), [(600, 150), (300, 450)], ids=["D<N", "D>N"])
def test_law_describes_drawn_features(N, D):
    """Moments of the eigenvalues of a drawn F are those of the law, and all lie between the edges but for the zeros."""
    F = np.random.default_rng(5).standard_normal((D, N))
    rho, delta = spectra.eigenvalues(F), D / N
    assert rho.shape == (D,) and np.all(np.diff(rho) >= 0)
    np.testing.assert_allclose(rho, np.linalg.eigvalsh(F @ F.T / N), atol=1e-12 * rho[-1])
    assert np.sum(rho == 0) == round(D * spectra.mass_at_zero(delta))
    # Σ_τ ρ = Σ F²/N: variance 2D/N. Higher traces fluctuate likewise by O(1) in all, O(1/D) in the mean over τ, with a
    # bias of O(1/D); the factors k² ρ₊ᵏ bound how a power magnifies a shift of the mean.
    low, high = spectra.edges(delta)
    for k in (1, 2, 3):
        scale = math.sqrt(2 / (N * D)) * k**2 * high ** (k - 1)
        assert (rho**k).mean() == pytest.approx(exact_moment(k, delta), abs=5 * scale)
    # edges fluctuate by N^(−2/3) (Tracy & Widom)
    slack = 5 * N ** (-2 / 3) * high
    bulk = rho[rho > 0]
    assert low - slack < bulk[0] < low + slack and high - slack < bulk[-1] < high + slack


def test_histogram_is_a_density_over_labelled_bins():
    """Twenty bins of eigenvalues of a drawn F integrate to one and follow the law."""
    rho = spectra.eigenvalues(np.random.default_rng(6).standard_normal((500, 2000)))
    h = spectra.histogram(rho, bins=20)
    width = float(h.rho[1] - h.rho[0])
    assert h.dims == ("rho",) and h.sizes["rho"] == 20
    assert float(h.sum()) * width == pytest.approx(1)
    assert float((h * h.rho).sum()) * width == pytest.approx(rho.mean(), abs=width / 2)
    # eigenvalues repel each other, so that the number in a bin is right to one or two; the law is taken at the centre
    # of the bin, which costs up to one more where it bends; the outermost bins, where it has an edge, are left out
    inner = slice(1, -1)
    off = (h - spectra.density(h.rho.values, 0.25))[inner]
    assert float(abs(off).max()) * width * 500 < 4


@pytest.mark.parametrize("delta", [0, -0.1, math.nan, math.inf])
def test_impossible_delta_is_refused(delta):
    for call in (spectra.edges, spectra.mass_at_zero, spectra.nodes, lambda d: spectra.density(np.ones(2), d)):
        with pytest.raises(ValueError, match=r"delta = .*: give a positive, finite number"):
            call(delta)


def test_other_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="n = 0: give a whole number"):
        spectra.nodes(0.5, 0)
    with pytest.raises(ValueError, match=r"F has shape \(3,\): give the features as a matrix"):
        unwrap(spectra.eigenvalues)(np.ones(3))
    with pytest.raises(ValueError, match=r"matrix \(D, N\) of finite numbers"):
        spectra.eigenvalues(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="some eigenvalues are not finite"):
        spectra.histogram(np.array([1, np.inf]))
