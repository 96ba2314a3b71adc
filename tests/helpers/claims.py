"""Made-up results, of which the verdict on a claim is known beforehand, and the laws that they follow."""

from dataclasses import asdict

import numpy as np
import xarray as xr

from helpers.notebooks import NOTEBOOKS
from hmm_utils.claims import CLAIMS
from hmm_utils.runs import deep, dimension, experiments
from hmm_utils.sgd import training

HOLDS, FAILS, UNDECIDED = "holds", "does not follow from the stated parameters", "not enough data"
BY_NUMBER = {claim.number: claim for claim in CLAIMS}
MNIST = (784, 76 * 784, 10_000, "mnist", "MNIST images")
DIGITS = (64, 1347, 450, "digits8x8", "8×8 handwritten digits")
SE = 5  # standard errors allowed: one test in two million fails by chance


def made(e, *, n_inputs=None, mnist=True, spread=0.01, seed=0, **laws):
    """A result as `experiments.run_experiment(e)` labels it, without the weights, with observables after given laws.

    laws    eps_g, mse, on_test, on_gauss: a number, a function of (K, time), or one of these per initialisation, over
            and over if there are more
    spread  standard deviation of ln(observable) between initialisations and widths
    n_inputs, mnist  what e does not say: N of a pre-trained teacher, and which digits were found
    """
    rng, K = np.random.default_rng(seed), np.array(e.widths)
    if e.inputs == "digits":
        N, P, n_test, kind, dataset = MNIST if mnist else DIGITS
    else:
        N, n_test, kind, dataset = n_inputs or e.n_inputs, e.n_test, e.inputs, "i.i.d. Gaussian inputs"
        P = 76 * N
        if e.inputs == "structured":
            dataset = f"structured inputs X = f(CF/√D) with f = {e.f}, D = {e.n_latent}"
    labels = {"sign": "labels ±1", "real": "real labels"}[e.labels]
    task = f"{'latent' if e.task == 'latent' else 'teacher'} task, M = {e.teacher_width}, {labels}"
    time = np.unique(np.rint(training.evaluation_times(e.time, e.n_times) * N)) / N

    def curves(name, *first):
        """(draw, first …, init, width, time)"""
        given = laws.get(name, 0.1)
        per_init = ((given if isinstance(given, list) else [given]) * e.n_pairs)[: e.n_pairs]
        grid = [law(K[:, None], time) if callable(law) else law for law in per_init]
        grid = np.stack([np.broadcast_to(values, (K.size, time.size)) for values in grid])
        return grid * np.exp(spread * rng.standard_normal((e.n_draws, *first, e.n_pairs, K.size, 1)))

    pair, inputs = ("draw", "init", "student", "width", "time"), ("draw", "inputs", "init", "width", "time")
    disagreement = np.stack([curves("on_test"), curves("on_gauss")], axis=1)
    variables = {
        "eps_g_mse": (pair, np.moveaxis(curves("mse", 2), 1, 2)),
        "eps_g_frac": (pair, np.moveaxis(curves("eps_g", 2), 1, 2)),
        "eps_12_mse": (inputs, disagreement / 2),
        "eps_12_frac": (inputs, disagreement),
    }
    coords = {"draw": np.arange(e.n_draws), "init": np.arange(e.n_pairs), "student": [1, 2], "width": K, "time": time}
    attrs = {key: value for key, value in asdict(e).items() if value is not None} | {
        "dataset": f"{dataset}; {'odd against even' if e.task == 'own' else task}", "kind": kind,
        "n_inputs": N, "n_train": e.n_train or P, "n_test": n_test, "n_gauss": e.n_test, "widths": list(e.widths),
        "device": "cpu", "notice": "",
    }  # fmt: skip
    return xr.Dataset(variables, coords | {"inputs": ["test", "gauss"]}, attrs)


def trained(eps, **how):
    """The run of Fig. 4 that trains a network on the digits."""
    return made(experiments.experiment("fig4_pretraining", "paper"), eps_g=eps, spread=0, **how)


def measured(ratios=(1, 1, 1), *, n=4, spread=0.01, mnist=True, neighbours=(2, 20)):
    """A result as `dimension.measure` labels it: digits whose dimension by MLE, TwoNN and CorrInt is 12 times these
    ratios, which are numbers or have a number per subsample, and structured inputs that are estimated at 12."""
    digits = np.stack([np.broadcast_to(ratio, n) for ratio in ratios], axis=1)
    d = 12 * np.stack([digits, np.ones((n, 3))], axis=1)[..., None] * np.ones(len(neighbours))
    d = d * np.random.default_rng(8).normal(1, spread, d.shape)
    N, _, _, kind, dataset = MNIST if mnist else DIGITS
    attrs = {"inputs": "digits", "n_inputs": N, "kind": kind, "dataset": dataset, "notice": "", "estimators": ""}
    return xr.Dataset(
        {
            "dimension": (("subsample", "inputs", "estimator", "neighbours"), d),
            "radius": (("subsample", "inputs", "neighbours"), np.ones((n, 2, len(neighbours)))),
        },
        {"inputs": ["digits", "structured"], "estimator": list(dimension.ESTIMATORS), "neighbours": list(neighbours)},
        attrs | {"images_used": 60, "seconds": 1.0},
    )


def theory(
    off=0.002, *, N=4000, last=None, off_Q=0.01, off_R=0.01, averaged=0.2, shrinks=0.5, against_delta=1.01, drop=(3, 0),
    power=(0.2, -0.1), compared=("sgn", "erf", "relu"), sizes=(500, 1000, 2000),
):  # fmt: skip
    """Made-up results of measurement T1: relative deviations of ε_g (and at the last time), absolute ones of Q and R,
    the power of N with which the former fall, the quotient of integrated and analytic error, how often the error of a
    teacher and of a latent task is divided by e after a flat stretch, and the powers of K for the layers first and
    both; the non-linearities f that are compared, and the sizes N at which the deviation is known."""
    rng = np.random.default_rng(1)

    def simulated(f, n_inputs, n_latent, off, n_draws=1):
        time = np.geomspace(0.05, 50, 12)
        eps_g = np.ones((n_draws, 1, 1)) * np.exp(-np.log1p(time))
        dims, shape = ("draw", "simulation", "student", "time"), (n_draws, 5, 1, 12)
        overlaps = 0.001 * rng.standard_normal((*shape, 2, 2))
        deviation = np.array([off] * 11 + [last or off])
        deviation = deviation * (np.exp(0.1 * rng.standard_normal((n_draws, 1, 1, 1))) if n_draws > 1 else 1)
        zeros = np.zeros((n_draws, 1, 12, 2, 2))
        return xr.Dataset(
            {
                "eps_g": (dims, eps_g[:, None] * (1 + deviation) * (1 + 1e-4 * rng.standard_normal(shape))),
                "Q": ((*dims, "k", "l"), off_Q + overlaps), "R": ((*dims, "k", "m"), off_R + overlaps),
                "eps_g_theory": (("draw", "student", "time"), eps_g),
                "eps_g_averaged": (("draw", "student", "time"), eps_g * (1 + averaged)),
                "Q_theory": (("draw", "student", "time", "k", "l"), zeros),
                "R_theory": (("draw", "student", "time", "k", "m"), zeros),
            },
            {"time": time, "width": ("student", [2]), "layers": ("student", ["first"]), "lr": ("student", [0.2])},
            {"f": f, "n_inputs": n_inputs, "n_latent": n_latent},
        )  # fmt: skip

    found = {f"t1/simulation/{f}_D{N // part}": simulated(f, N, N // part, off) for f in compared for part in (2, 10)}
    for n in sizes:
        found[f"t1/scaling/N{n}"] = simulated("sgn", n, n // 10, 0.01 * (n / 500) ** -shrinks, n_draws=4)
    found["t1/error_against_delta"] = xr.Dataset(
        {"extrapolated": ("delta", [0.1, 0.1 * against_delta]), "analytic": ("delta", [0.1] * 2)}, {"delta": [0.1, 0.5]}
    )
    time = np.geomspace(0.1, 3000, 60)
    late = 1 / (1 + np.exp(-8 * np.log(time / 300)))
    flat = np.maximum(-2 * np.log1p(time), -4)
    curves = np.exp([flat - late * times for times in (drop[0], drop[1], drop[-1])])
    tasks = {"f": ("task", ["iid", "sgn", "sgn"]), "n_latent": ("task", [0, 10, 78])}
    found["t1/plateaus"] = xr.Dataset(
        {"eps_g": (("draw", "layers", "task", "time"), curves * np.exp(0.01 * rng.standard_normal((5, 2, 3, 1))))},
        {"layers": ["both", "first"], "time": time} | tasks,
    )
    K = np.array([1, 2, 4, 8])
    by_layers = np.stack([0.1 * K ** power[1], 0.1 * K ** power[0]]) * np.exp(0.01 * rng.standard_normal((5, 2, 4)))
    found["t1/error_against_width"] = xr.Dataset(
        {"eps_g": (("draw", "layers", "width"), by_layers)}, {"layers": ["both", "first"], "width": K}
    )
    return found


def generated(*, overlaps=None, tests=None, fields=None, n=4, spread=0.01):
    """A result as `deep.measure` labels it: ε_g from Q and R is 1 + `overlaps` times the theory, on test inputs
    1 + `tests` times (name → deviation, a number or one per start), the theory with propagated covariances is off by
    0.03 first and by 0.1 over the last quarter of the times, and `fields` is the skewness (name → number)."""
    names, rng = list(deep.CASES), np.random.default_rng(3)
    usual = {name: 0.01 * (i + 1) for i, name in enumerate(names)}

    def off(given):
        d = np.stack([np.broadcast_to((usual | (given or {}))[name], n) for name in names])
        d = d * rng.normal(1, spread, d.shape)
        return (1 + d)[:, :, None, None] * np.ones((2, 8))

    curves, ones = ("generator", "start", "simulation", "time"), np.ones((len(names), n, 8))
    skewness = np.array([(usual | (fields or {}))[name] for name in names])[:, None, None] * np.ones((2, 4))
    return xr.Dataset(
        {
            "eps_g_mse": (curves, off({name: 0.005 for name in deep.RANDOM} | (overlaps or {}))),
            "eps_g_test_mse": (curves, off(tests)),
            "theory": (curves[:2] + curves[3:], ones),
            "propagated": (curves[:2] + curves[3:], ones * (1 + np.array([0.03] * 6 + [0.1] * 2))),
            "skewness": (("generator", "when", "field"), skewness),
            "excess_kurtosis": (("generator", "when", "field"), 0 * skewness),
            "n_inputs": ("generator", np.full(len(names), 100)),
        },
        {"generator": names, "when": ["start", "end"], "time": np.arange(8.0)},
        {"inputs": "generator", "notice": ""},
    )


def results(number, laws, spread=0.01, **overrides):
    """The results that a claim is judged on: laws by set-up for runs at the paper's scale with one draw and four
    initialisations, and what was measured for the other claims."""
    claim = BY_NUMBER[number]
    if number == "C11":
        return {"fig4_pretraining": trained(**laws, **overrides)}
    if number.startswith("T1."):
        return {name: found for name, found in theory(**laws).items() if name.startswith(claim.setups)}
    for name, make in {dimension.NAME: measured, deep.NAME: generated}.items():
        if name in claim.setups:
            return {name: make(**laws)}
    overrides = {"n_pairs": 4, "n_draws": 1} | overrides
    plan = experiments.plan(NOTEBOOKS[claim.notebook].setups, "paper", overrides)
    if claim.compared:
        plan |= experiments.plan(NOTEBOOKS["03_hidden_manifold_model"].setups, "paper", overrides)
    return {
        name: made(e, spread=spread, seed=i, **laws.get(name, laws.get(e.name, {})))
        for i, (name, e) in enumerate(plan.items())
        if e.name in claim.setups + claim.compared
    }


def find(number, results):
    """The finding on a claim, which must have a known verdict and something to report."""
    finding = BY_NUMBER[number].find(results)
    assert finding.verdict in (HOLDS, FAILS, UNDECIDED) or finding.verdict.startswith("holds only if ")
    assert finding.measured
    return finding


def verdict(number, laws, **how):
    """The verdict on a claim that results with these laws give."""
    return find(number, results(number, laws, **how)).verdict


# ---- laws: functions of K and time -------------------------------------------------------------------------------


def grows(K, t):
    return 0.1 + 0.15 * np.log(K)


def falls(K, t):
    return 0.5 - 0.15 * np.log(K)


def recovers(K, t):
    return np.where(K < 4, 0.1, 0.002)


def plateau(K, t):
    """A fast decay to a plateau at 0.05, which ends at time 200."""
    return np.exp(-t) + 0.05 / (1 + (t / 200) ** 2)


def floor(K, t):
    """A fast decay to a floor."""
    return np.exp(-t) + 0.05


def steepening(strength):
    """A law that falls as 1/t from time 0.1 to 3, not at all to 200, and then as t^−strength."""
    knots, levels = np.log([0.1, 3, 200, 10_000]), -np.log([1, 30, 30, 30 * 50**strength])
    return lambda K, t: np.exp(np.interp(np.log(np.maximum(t, 0.1)), knots, levels))


TEACHER = {"eps_g": recovers, "on_gauss": recovers}
