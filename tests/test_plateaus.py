"""The strength of a plateau: of known curves, and with noise."""

import numpy as np
import pytest
import xarray as xr
from helpers.claims import SE, find, results, steepening
from scipy import stats

from hmm_utils.claims import measuring, plateau_strength, plateaus

TIMES = np.geomspace(0.1, 3000, 80)


def ending(end, height=0.05, power=2):
    """A fast decay to a plateau at a height, and a drop by a power of time."""
    return lambda t: np.exp(-t) + height / (1 + (t / end) ** power)


def step(at, before, after):
    """A fast decay and a sudden step."""
    return lambda t: np.exp(-t) + np.where(t < at, before, after)


def strength(law, times=TIMES):
    return plateau_strength(times, np.log(law(times)))


def straight(slopes, pieces):
    """t and ln ε of a curve of straight pieces in the log-log plane: their slopes −dlnε/dlnt and lengths in ln t."""
    knots = np.cumsum([0, *pieces])
    log_t = np.arange(0, knots[-1] + 1e-9, 0.02)
    return np.exp(log_t), np.interp(log_t, knots, -np.cumsum([0, *np.multiply(slopes, pieces)]))


LONG, STEP = np.geomspace(0.1, 10_000, 100), (20, 200, 2000)


@pytest.mark.parametrize(
    ("law", "times", "low", "high"),
    [
        # power laws, exponentials with and without a floor, straight lines with one bend and a final rise
        *((lambda t, p=p: t**-p, TIMES, 0, 0.05) for p in (0.1, 0.3, 1, 2)),
        *((lambda t, p=p: 0.5 * (1 + t) ** -p, TIMES, 0, 0.05) for p in (0.1, 0.2, 0.3, 0.5, 1)),
        *((lambda t, a=a, b=b: np.exp(-t / a) + b, TIMES, 0, 0.05)
          for a in (0.3, 3, 30, 300) for b in (0.5, 0.1, 0.01, 1e-4)),
        (lambda t: np.exp(-t / 300), TIMES, 0, 0.05),
        (lambda t: 0.5 * (1 + t / 2) ** -0.6 + 0.02, TIMES, 0, 0.05),
        (lambda t: np.exp(-t / 3) + 0.05 * (1 + t / 1000), TIMES, 0, 0.05),
        # a level stretch at more than a quarter of the first error, which nearly every curve has
        *((lambda t, h=h: (1 - h) * np.exp(-t / 0.3) + h * np.exp(-t / 30) + 1e-3, TIMES, 0, 0.01)
          for h in (0.3, 0.5, 0.8)),
        # a plateau and a drop, at any height and length; by the first power of time
        *((ending(end, height), TIMES, 0.3, 9) for end in (50, 200, 800) for height in (0.2, 0.05, 0.01)),
        (ending(200, power=1), TIMES, 0.3, 9),
        # a drop counts once the curve goes on beyond it
        *((ending(end), np.geomspace(0.1, end / 5, 60), 0, 0.1) for end in (100, 300, 1000)),
        *((ending(end), np.geomspace(0.1, 10 * end, 90), 1.5, 9) for end in (100, 300, 1000)),
        # a sudden drop, and a sudden rise
        *((step(at, 0.05, 0.005), LONG, 1, 9) for at in STEP),
        *((step(at, 0.005, 0.05), LONG, 0, 0.01) for at in STEP),
    ],
)  # fmt: skip
def test_strength_of_curves(law, times, low, high):
    """Curves without a plateau have hardly any strength, a plateau with a drop has."""
    assert low <= strength(law, times) < high


@pytest.mark.parametrize(
    ("slopes", "level", "expected"),
    [
        ((2, 0, 1), 0.1, 1),
        ((2, 0.2, 1.5), 0.1, 1.3),
        ((2, 0.24, 0.5), 0.1, 0.26),
        ((2, 0.26, 1.5), 0.1, 0),  # not flat
        ((2, 0, 1), 0.2, 1),
        ((2, 0, 1), 0.3, 0),  # not low
        ((1, 0, -1), 0.1, 0),  # never falls again
        ((3, 1, 0), 0.1, 0),  # flattens for good
        ((2, -0.5, 0.1), 0.1, 0.1),  # rises, which is no flatter than level
        ((2, -0.5, 0, 1), 3e-4, 1),  # of a rise and a level stretch the last level time counts
        ((2, 0, 1, 0, 2), 0.02, 2),  # the sharper one of two plateaus
        ((2, 0, 2, 0, 1), 0.02, 2),
        ((2, 0, 0.4, 0, 0.3), 0.02, 0.4),
    ],
)
def test_strength_of_straight_pieces(slopes, level, expected):
    """On straight pieces down to a level and further on the strength is the last slope less the flat one before it.
    The two smoothings shift a slope by rounding only where a piece is longer than the window ln 3."""
    time, log_eps = straight(slopes, [np.log(level) / -slopes[0], *[4] * (len(slopes) - 1)])
    assert plateau_strength(time, log_eps) == pytest.approx(expected, abs=1e-9)
    if expected and slopes[-2] >= 0:
        assert plateaus._steepening(time, np.tile(log_eps, (1, 2, 1))) == pytest.approx([expected], abs=1e-9)


def test_strength_ignores_units_and_sampling():
    """Another unit of time or of the error changes nothing, twice as many times or uneven ones less than a tenth."""
    log_eps, plain = np.log(ending(200)(TIMES)), strength(ending(200))
    for scale in (1e-3, 7.0, 1e6):
        assert plateau_strength(scale * TIMES, log_eps) == pytest.approx(plain, rel=1e-9)
        assert plateau_strength(TIMES, log_eps + np.log(scale)) == pytest.approx(plain, rel=1e-9)
    for times in (np.geomspace(0.1, 3000, 160), np.union1d(np.geomspace(0.1, 3000, 60), np.geomspace(40, 60, 30))):
        assert strength(ending(200), times) == pytest.approx(plain, rel=0.1)


def test_strength_needs_a_curve():
    """A curve over less than a factor of six in time, or with a gap, has no strength."""
    assert np.isnan(strength(lambda t: 1 / t, np.geomspace(1, 5, 50)))
    log_eps = np.log(ending(200)(TIMES))
    log_eps[40] = np.nan
    assert np.isnan(plateau_strength(TIMES, log_eps))


# ---- pairs of students -------------------------------------------------------------------------------------------


def test_strength_is_averaged_over_draws():
    """C6 finds the bend on the geometric mean over the other students of each teacher, and averages the strengths of
    different teachers."""
    found = results("C6", {}, n_draws=3, n_pairs=2, layers="first")
    (result,) = found.values()
    time = result["time"].values
    curves = np.stack([ending(end)(time) for end in (30, 200, 1500)])
    factors = np.stack([(1 + time) ** power for power in (-0.1, 0.1)])
    both = (curves[:, None] * factors)[:, :, None, None]
    result["eps_g_mse"] = result["eps_g_mse"].copy(data=np.broadcast_to(both, result["eps_g_mse"].shape))
    strengths = [plateau_strength(time[1:], np.log(curve[1:])) for curve in curves]
    (value,) = find("C6", found).values
    low, high = stats.ttest_1samp(strengths, 0).confidence_interval(0.95)
    assert (value.mean, value.low, value.high) == pytest.approx((np.mean(strengths), low, high))
    assert (value.name, value.n, value.over) == ("plateau strength, first", 3, "draws")


def test_bends_are_chosen_on_the_other_student():
    """Where one student leaves its plateau early and the other one late, the times chosen on one show no steepening of
    the other."""
    log_eps = np.log([ending(60)(TIMES) + 1e-3, ending(200)(TIMES)])
    crossed = plateaus._steepening(TIMES, log_eps[None])
    expected = []
    for student, other in ((0, 1), (1, 0)):
        t1, t2 = plateaus._bend(TIMES, log_eps[other])
        s = plateaus._slopes(TIMES, log_eps[student])[-1]
        expected.append(s[t2] - s[t1])
    assert crossed == pytest.approx([np.mean(expected)])
    assert crossed[0] < min(plateau_strength(TIMES, curve) for curve in log_eps) - 0.5


LAWS = {
    "plateau": ending(200),
    "weak": lambda t: steepening(0.3)(None, t),
    "floor": lambda t: np.exp(-t) + 0.05,
    "power": lambda t: 0.5 * (1 + t) ** -0.3,
}


def noisy(law, n_draws, n_pairs, noise, rng):
    """ln ε (draw, init, student, time): another time scale for every draw and, less so, for every initialisation; noise
    at every time, half of it common to the runs of a draw that see samples in the same order."""
    shape = (n_draws, n_pairs, 2, 1)
    scale = np.exp(0.5 * rng.standard_normal((n_draws, 1, 1, 1)) + 0.1 * rng.standard_normal(shape))
    own, common = (rng.standard_normal((n_draws, n, 2, TIMES.size)) for n in (n_pairs, 1))
    return np.log(LAWS[law](TIMES / scale)) + noise * np.sqrt(0.5) * (own + common) * (TIMES > 1)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("n_draws", "n_pairs"), [(2, 4), (3, 2), (5, 2)])
def test_coverage_of_plateaus(law, n_draws, n_pairs):
    """The interval of a plateau's strength contains the mean strength of noiseless curves in about 95 % of 200 cases:
    not less, within 5 standard errors (7.7 %); curves with strength 0 may stay there without noise, and then it is
    always contained."""
    rng, cases, covered = np.random.default_rng(1), 200, 0.95
    true = np.mean([plateaus._steepening(TIMES, runs).mean() for runs in noisy(law, 100, 2, 0.0, rng)])
    inside = 0
    for _ in range(cases):
        strengths = [plateaus._steepening(TIMES, runs) for runs in noisy(law, n_draws, n_pairs, 0.03, rng)]
        value = measuring.mean_of("", *measuring.independent_units(xr.DataArray(strengths, dims=("draw", "init"))))
        inside += value.low <= true <= value.high
    assert inside / cases > covered - SE * np.sqrt(covered * (1 - covered) / cases)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("law", ["floor", "power"])
def test_noise_has_no_strength_on_average(law, noise):
    """Noise turns into strength on a single curve. Where the times are chosen on the other student it does not: within
    5 standard errors of 0 on average over 200 draws."""
    rng = np.random.default_rng(3)
    draws = [noisy(law, 1, 2, noise, rng)[0] for _ in range(200)]
    crossed = np.array([plateaus._steepening(TIMES, runs).mean() for runs in draws])
    assert abs(crossed.mean()) <= SE * crossed.std() / np.sqrt(crossed.size)
    if noise == 0.1:
        assert np.mean([plateau_strength(TIMES, runs.mean((0, 1))) for runs in draws]) > 0.03
