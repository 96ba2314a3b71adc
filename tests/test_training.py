"""What ``train`` and ``train_fleets`` report: errors, weights, divergence, on the processor and on a torch device."""

import dataclasses
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr
from helpers.sgd import KINDS, LAYERS, SE, check_errors, made, quietly, tanh

from hmm_utils.model import datasets
from hmm_utils.model.datasets import Dataset, standardise
from hmm_utils.sgd import hardware, reference, training
from hmm_utils.sgd.training import DivergenceWarning, FleetPair, evaluation_times, student, train, train_fleets

ULP = float(np.spacing(np.float32(4)))  # distance of float32 numbers just above 4, a bound for most weights here


# ---- The samples ----------------------------------------------------------------------------------------------------


def stream(n_train, seed=0):
    return training._Stream((seed,), n_train)


def test_samples_are_drawn_with_replacement():
    """Among the first P draws a part 1 − 1/e of the samples occurs, as for independent draws."""
    P = 50_000
    distinct = np.unique(stream(P, seed=1).take(P)).size / P
    # the variance of the number of distinct ones is P (1/e)(1 − 2/e) for large P
    assert abs(distinct - (1 - math.exp(-1))) < SE * math.sqrt(math.exp(-1) * (1 - 2 * math.exp(-1)) / P)


def test_consecutive_samples_are_independent():
    """Pairs of consecutive draws fall equally often into all cells, also across the borders of chunks."""
    P = 8
    drawn = stream(P, seed=2).take(200_001)
    counts = np.bincount(drawn[:-1] * P + drawn[1:], minlength=P * P)
    expected = 200_000 / P**2
    # overlapping pairs: the statistic has mean P² − 1 and a variance of at most twice that of independent pairs
    assert abs(np.sum((counts - expected) ** 2) / expected - (P**2 - 1)) < SE * math.sqrt(4 * (P**2 - 1))


def test_samples_do_not_depend_on_how_they_are_taken():
    """Taking one by one, in pieces, or all at once gives the same draws; another seed gives others."""
    sizes = [1, 2, 0, 65_530, 3, 3, 70_000, 131_072, 10]
    pieces = stream(1000)
    one_by_one = np.concatenate([pieces.take(n) for n in sizes])
    at_once = stream(1000).take(sum(sizes))
    np.testing.assert_array_equal(one_by_one, at_once)
    assert np.mean(stream(1000, seed=1).take(10_000) == at_once[:10_000]) < 0.01


# ---- train ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """(dataset, result) of one call with nothing left at its default; the test set is longer than one slab."""
    dataset = made(np.random.default_rng(31), n_test=1501, labels="real")
    result = quietly(
        dataset, widths=[3, 1, 5], n_pairs=2, lr=0.3, time=21.0, activation="erf", layers="both", init_scale=0.7,
        evaluate_at=[0, 0.5, 7.01], train_error=True, block=10,
    )  # fmt: skip
    return dataset, result


def test_result_is_labelled_as_documented(trained):
    """Dimensions, coordinates and attributes of the result are those of the docstring."""
    dataset, result = trained
    own, pairs = ("init", "student", "width", "time"), ("inputs", "init", "width", "time")
    assert {name: variable.dims for name, variable in result.data_vars.items()} == {
        **{f"eps_{which}_{kind}": own for which in "gt" for kind in KINDS},
        **{f"eps_12_{kind}": pairs for kind in KINDS},
        "W": ("init", "student", "width", "hidden", "input"), "v": ("init", "student", "width", "hidden"),
    }  # fmt: skip
    assert dict(result.sizes) == {
        "init": 2, "student": 2, "width": 3, "time": 4, "inputs": 2, "hidden": 5, "input": 23
    }  # fmt: skip
    assert result.width.values.tolist() == [3, 1, 5]
    assert result.student.values.tolist() == [1, 2]
    assert result.init.values.tolist() == [0, 1]
    assert result.inputs.values.tolist() == ["test", "gauss"]
    assert result.attrs == {
        "dataset": dataset.description, "kind": dataset.inputs.kind, "activation": "erf", "layers": "both", "lr": 0.3,
        "init_scale": 0.7, "n_inputs": 23, "n_train": 157, "n_test": 1501, "n_gauss": 1501, "device": "cpu",
    }  # fmt: skip


def test_evaluation_times_are_honoured(trained):
    """Errors are measured at the given times, in whole steps, and at the end."""
    _, result = trained
    # 0.5 · 23 = 11.5 steps are rounded to an even number, 12; 7.01 · 23 = 161.23 to 161
    np.testing.assert_array_equal(result.time, np.array([0, 12, 161, 21 * 23]) / 23)


def test_errors_are_those_of_the_final_weights(trained):
    """At the end ε_g, the training error, and ε₁,₂ on the test set, with standard errors, follow from the weights that
    ``student`` returns, for every pair."""
    dataset, result = trained
    last = result.isel(time=-1)

    def check(which, key, phi, y):
        check_errors(phi, y, *(last.sel(which)[f"{key}_{kind}"].item() for kind in KINDS))

    for init in result.init.values:
        for K in result.width.values:
            which, pair = {"init": init, "width": K}, []
            for s in (1, 2):
                network = student(result, **which, student=s)
                assert (network.width, network.n_inputs, network.activation.name) == (K, 23, "erf")
                pair.append(network(dataset.x_test.astype(float)))
                check(which | {"student": s}, "eps_g", pair[-1], dataset.y_test)
                check(which | {"student": s}, "eps_t", network(dataset.x_train.astype(float)), dataset.y_train)
            check(which | {"inputs": "test"}, "eps_12", *pair)


def test_hidden_units_beyond_the_width_are_nan(trained):
    """W and v hold numbers for hidden < K and NaN beyond."""
    _, result = trained
    index = xr.DataArray(np.arange(5), dims="hidden")
    beyond = (index >= result.width).broadcast_like(result.v).transpose(*result.v.dims)
    np.testing.assert_array_equal(result.v.isnull(), beyond)
    np.testing.assert_array_equal(result.W.isnull().all("input"), beyond)
    np.testing.assert_array_equal(result.W.isnull().any("input"), beyond)


@pytest.mark.parametrize("which", [{"width": 2}, {"width": 3, "init": 2}, {"width": 3, "student": 0}], ids=str)
def test_student_that_is_not_there_is_refused(trained, which):
    """A width, initialisation or student that was not trained is a KeyError."""
    with pytest.raises(KeyError):
        student(trained[1], **which)


@pytest.mark.parametrize("chunk", [None, 10])
@pytest.mark.parametrize("layers", LAYERS)
def test_number_of_steps_is_time_times_n(layers, chunk, monkeypatch):
    """With a single training sample the weights at time 2t are the plain loop's after t·N more steps from time t."""
    if chunk:  # long stretches between two evaluations are trained in pieces of this length
        monkeypatch.setattr(training, "_INDEX_CHUNK", chunk)
    rng = np.random.default_rng(32)
    N = 19
    x = standardise(rng.standard_normal((1, N)).astype(np.float32))
    inputs = datasets.Inputs(x_train=x, x_test=np.concatenate([x, -x]), description="one sample")
    dataset = Dataset(inputs=inputs, y_train=np.ones(1, "f4"), y_test=np.ones(2, "f4"), task="fit it")
    arguments = {"widths": [2], "lr": 0.005, "layers": layers, "evaluate_at": [0]}
    half, full = (quietly(dataset, **arguments, time=time) for time in (3.0, 6.0))
    for s in (1, 2):
        middle = student(half, width=2, student=s)
        x64 = x.astype(float)
        loop, one_less = (
            reference.sgd(middle, x64, np.ones(1), np.zeros(3 * N - n, int), lr=0.005, layers=layers) for n in (0, 1)
        )
        end = student(full, width=2, student=s)
        # 57 steps that each round weights below 4 and add an error of that size: a random walk √57 · ULP/2, times 4;
        # one step more or less moves them by a few per cent of 0.005, which is ten times as much
        np.testing.assert_allclose(end.W, loop.W, rtol=0, atol=15 * ULP)
        np.testing.assert_allclose(end.v, loop.v, rtol=0, atol=15 * ULP)
        assert np.abs(end.W - one_less.W).max() > 30 * ULP, "the test could not tell"
        if layers == "first":
            np.testing.assert_array_equal(end.v, 1)


def test_measuring_does_not_disturb_training():
    """Errors at a time do not depend on how often was measured before, nor on how long training went on."""
    dataset = made(np.random.default_rng(33))
    often = quietly(dataset, widths=[2], time=12.0, evaluate_at=np.linspace(0, 12, 25))
    once = quietly(dataset, widths=[2], time=6.0, evaluate_at=[0])
    # 138 steps in other blocks: a random walk of √138 roundings of weights, times 4; times |φ − y| and Σ|v| of order 1
    at_six = often.sel(time=6.0)
    np.testing.assert_allclose(at_six.eps_g_mse, once.eps_g_mse.isel(time=-1), rtol=0, atol=100 * ULP)
    np.testing.assert_allclose(at_six.eps_12_mse, once.eps_12_mse.isel(time=-1), rtol=0, atol=100 * ULP)
    # an error of 1e-5 in φ turns the sign of at most one output or so in 401
    np.testing.assert_allclose(at_six.eps_g_frac, once.eps_g_frac.isel(time=-1), rtol=0, atol=1.5 / 401)


def same_students(one, other, *, steps, n_test):
    """The students of two results are the same up to rounding: weights and curves.

    Weights below 4 are rounded by ULP/2 per step at most; these errors add like a random walk, √steps · ULP/2, and 8
    times that allows for what training makes of them and for the difference of two runs. Outputs differ by as much
    times Σ|v| of order 1, and so do errors; the sign of an output below 1e-4 may change, for a few inputs at most.
    """
    tolerance = 8 * math.sqrt(steps) * ULP / 2
    assert tolerance < 1e-4
    for key in ("W", "v"):
        hidden = min(one.sizes["hidden"], other.sizes["hidden"])
        a, b = (result[key].isel(hidden=slice(hidden)) for result in (one, other))
        assert a.dims == b.dims and a.notnull().any()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    for key in ("eps_g_mse", "eps_12_mse"):
        assert one[key].dims == other[key].dims
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=4 * tolerance)
    for key in ("eps_g_frac", "eps_12_frac"):
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=2.5 / n_test)


@pytest.mark.parametrize("layers", LAYERS)
def test_students_do_not_depend_on_what_else_is_trained(layers):
    """A student is the same whatever other widths and initialisations share its fleet, and in whatever order."""
    dataset = made(np.random.default_rng(34))
    arguments = {"time": 15.0, "layers": layers, "lr": 0.2}
    large = quietly(dataset, widths=[2, 3, 5], n_pairs=4, **arguments)
    alone = quietly(dataset, widths=[2], n_pairs=4, **arguments)
    fewer = quietly(dataset, widths=[2, 3, 5], n_pairs=2, **arguments)
    turned = quietly(dataset, widths=[5, 2], n_pairs=2, **arguments)
    crowd = quietly(dataset, widths=[2, 140], n_pairs=2, **(arguments | {"time": 1.0}))
    early = quietly(dataset, widths=[2], n_pairs=2, **(arguments | {"time": 1.0}))
    like = {"steps": 15 * 23, "n_test": 401}
    same_students(large.sel(width=[2]), alone, **like)
    same_students(large.sel(init=[0, 1]), fewer, **like)
    same_students(large.sel(width=[5, 2], init=[0, 1]), turned, **like)
    same_students(crowd.sel(width=[2]), early, steps=23, n_test=401)


@pytest.mark.parametrize("block", [1, 5, 64, 1000])
def test_block_changes_rounding_only(block):
    """`block` of `train` gives the same students as the default."""
    dataset = made(np.random.default_rng(35))
    arguments = {"widths": [2, 4], "n_pairs": 2, "time": 15.0}
    same_students(
        quietly(dataset, **arguments, block=block), quietly(dataset, **arguments), steps=15 * 23, n_test=401
    )  # fmt: skip


def test_same_rng_same_result():
    """Equal rng: identical results; another one: other students, other samples."""
    dataset = made(np.random.default_rng(36))
    arguments = {"widths": [2, 3], "time": 5.0}
    first, again = (quietly(dataset, **arguments, seed=7) for _ in range(2))
    xr.testing.assert_identical(first, again)
    other = quietly(dataset, **arguments, seed=8)
    assert not (other.W == first.W).any()
    assert not (other.eps_g_mse == first.eps_g_mse).any()


def test_seeds_are_those_of_stored_results():
    """Weights, samples and Gaussian inputs come from (seed, 0, K, init, place), (seed, 1, place) and (seed, 2) with the
    seed of ``rng``: another number in any of them, and stored results belong to no one."""
    dataset = made(np.random.default_rng(37), N=40, P=1000, n_test=9)
    pair = FleetPair(dataset=dataset, rng=np.random.default_rng(5), layers="first")
    plan = training._prepare(
        [pair], widths=[3, 2], n_pairs=2, time=1.0, activation="erf", evaluate_at=None, n_test_along=None, n_gauss=50,
        block=None, device="cpu",
    )  # fmt: skip
    seed = int(np.random.default_rng(5).integers(2**63))
    for s in (0, 1):
        students = ((K, i) for K in (3, 2) for i in (0, 1))
        for network, (K, i) in zip(plan.pairs[0][s], students, strict=True):
            W = np.random.default_rng((seed, 0, K, i, s)).standard_normal((K, 40))
            np.testing.assert_array_equal(network.W, W)
        np.testing.assert_array_equal(
            plan.streams[s].take(99), np.random.default_rng((seed, 1, s)).integers(1000, size=1 << 16)[:99]
        )  # fmt: skip
    gauss = np.random.default_rng((seed, 2)).standard_normal((50, 40), dtype=np.float32)
    np.testing.assert_array_equal(plan.samples["gauss"][0][0], standardise(gauss))
    result = quietly(dataset, seed=5, widths=[3], time=1.0)
    start = training.initial_student(result, width=3, init=1, student=2, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(start.W, np.random.default_rng((seed, 0, 3, 1, 1)).standard_normal((3, 40)))


@pytest.fixture(scope="module", params=LAYERS)
def untrained(request):
    """Students after a single step of negligible size: their initial weights."""
    dataset = made(np.random.default_rng(37), N=400, P=9, n_test=9)
    arguments = {"widths": [50, 51], "n_pairs": 2, "lr": 1e-12, "time": 1 / 400, "init_scale": 0.25}
    return request.param, quietly(dataset, **arguments, layers=request.param)


def test_initial_weights_are_normal_with_init_scale(untrained):
    """Weights start as N(0, init_scale²), in both layers if both are trained, else with v = 1."""
    layers, result = untrained
    for key in ("W", "v"):
        w = result[key].values[~np.isnan(result[key].values)].astype(float) / 0.25
        if key == "v" and layers == "first":
            np.testing.assert_array_equal(w, 4.0)
            continue
        # standard errors of the mean and of the mean square of n standard normal numbers
        assert abs(w.mean()) < SE / math.sqrt(w.size)
        assert abs(np.mean(w**2) - 1) < SE * math.sqrt(2 / w.size)


def test_initial_weights_are_independent(untrained):
    """No two students, of a pair, of two initialisations or of two widths, start from related weights."""
    _, result = untrained
    W = result.W.isel(hidden=slice(50)).stack(who=("init", "student", "width")).transpose("who", ...)
    W = W.values.reshape(8, -1).astype(float) / 0.25
    correlation = W @ W.T / W.shape[1]
    off = correlation[~np.eye(8, dtype=bool)]
    assert np.abs(off).max() < SE / math.sqrt(W.shape[1])


def test_students_of_a_pair_see_independent_samples():
    """The two students of a pair differ in what they learn at random, not only in how they start.

    A linear student moves by Δ_i x_i only, so that after one step from nearly zero weights W points along the sample
    it saw; over many pairs the two samples are equal as often as two independent uniform draws are.
    """
    P, pairs = 4, 100
    dataset = made(np.random.default_rng(38), N=40, P=P, n_test=2)
    seen = []
    for seed in range(pairs):
        result = quietly(
            dataset, seed=seed, widths=[1], lr=1.0, time=1 / 40, activation="identity", layers="first",
            init_scale=1e-6, evaluate_at=[0],
        )  # fmt: skip
        W = result.W.isel(init=0, width=0, hidden=0).values
        overlap = np.abs(W @ dataset.x_train.T) / np.linalg.norm(W, axis=1)[:, None]
        seen.append(np.argmax(overlap / np.linalg.norm(dataset.x_train, axis=1), axis=1))
    seen = np.array(seen)
    same = np.mean(seen[:, 0] == seen[:, 1])
    assert abs(same - 1 / P) < SE * math.sqrt((1 / P) * (1 - 1 / P) / pairs)
    for s in range(2):
        counts = np.bincount(seen[:, s], minlength=P)
        assert np.sum((counts - pairs / P) ** 2) / (pairs / P) < P - 1 + SE * math.sqrt(2 * (P - 1))


def test_gaussian_inputs_are_standard_normal():
    """ε₁,₂ on "gauss" is that of i.i.d. N(0, 1) inputs: closed forms for two linear students u₁·x/√N and u₂·x/√N.

    E ½(φ₁ − φ₂)² = |u₁ − u₂|²/(2N), a mean of P* squares of Gaussians, and the signs differ with probability angle/π.
    """
    P = 20_000
    dataset = made(np.random.default_rng(39), N=12, P=30, n_test=P)
    scaled = Dataset(
        inputs=datasets.Inputs(x_train=dataset.x_train, x_test=3 * dataset.x_test, description="three times as large"),
        y_train=dataset.y_train, y_test=dataset.y_test, task="",
    )  # fmt: skip
    result = quietly(scaled, widths=[1, 3], n_pairs=3, lr=0.05, time=2.0, activation="identity").isel(time=-1)
    for K in (1, 3):
        for init in range(3):
            u = [student(result, width=K, init=init, student=s) for s in (1, 2)]
            u = [network.v @ network.W for network in u]
            distance = np.sum((u[0] - u[1]) ** 2) / 24
            angle = math.acos(u[0] @ u[1] / (np.linalg.norm(u[0]) * np.linalg.norm(u[1])))
            on_gauss, on_test = (result.sel(inputs=which, width=K, init=init) for which in ("gauss", "test"))
            assert abs(on_gauss.eps_12_mse.item() / distance - 1) < SE * math.sqrt(2 / P)
            p = angle / math.pi
            assert abs(on_gauss.eps_12_frac.item() - p) < SE * math.sqrt(p * (1 - p) / P)
            assert abs(on_test.eps_12_mse.item() / (9 * distance) - 1) < SE * math.sqrt(2 / P)


def test_training_error_is_measured_only_if_asked_for():
    """Without train_error there is no eps_t, and nothing else changes."""
    dataset = made(np.random.default_rng(41))
    without, with_it = (quietly(dataset, widths=[2], time=3.0, train_error=flag) for flag in (False, True))
    assert "eps_t_mse" in with_it and "eps_t_frac" in with_it
    xr.testing.assert_identical(with_it.drop_vars([name for name in with_it if name.startswith("eps_t_")]), without)


@pytest.mark.parametrize("layout", ["Fortran", "strided", "read only"])
def test_memory_layout_of_the_data_does_not_matter(layout):
    """float32 arrays in Fortran order, with strides, or protected from writing are as good as any."""
    dataset = made(np.random.default_rng(47))

    def other(x):
        x = {"Fortran": np.asfortranarray(x), "strided": np.repeat(x, 2, axis=0)[::2], "read only": x.copy()}[layout]
        x.flags.writeable = layout != "read only"
        return x

    inputs = datasets.Inputs(x_train=other(dataset.x_train), x_test=other(dataset.x_test), description="")
    same = Dataset(inputs=inputs, y_train=other(dataset.y_train), y_test=other(dataset.y_test), task="")
    arguments = {"widths": [2], "time": 3.0}
    same_students(quietly(same, **arguments), quietly(dataset, **arguments), steps=69, n_test=401)


def test_errors_before_the_end_are_those_of_the_first_inputs():
    """With n_test_along = n every error but the last is that of a test set cut to n; the last is that of all of it."""
    dataset = made(np.random.default_rng(48), n_test=1300)
    arguments = {"widths": [2, 4], "n_pairs": 2, "time": 6.0, "evaluate_at": [0, 3], "train_error": True}
    arguments["n_gauss"] = 300
    every = quietly(dataset, **arguments)
    along = quietly(dataset, **arguments, n_test_along=60)
    inputs = dataclasses.replace(dataset.inputs, x_test=dataset.x_test[:60])
    few = quietly(dataclasses.replace(dataset, inputs=inputs, y_test=dataset.y_test[:60]), **arguments)
    for key in ("W", "v", *(f"eps_t_{kind}" for kind in KINDS)):
        xr.testing.assert_identical(along[key], every[key])
    for key in (f"eps_{which}_{kind}" for which in ("g", "12") for kind in KINDS):
        before, cut, whole = (
            result[key].isel(time=slice(2)).sel({"inputs": "test"} if "12" in key else {})
            for result in (along, few, every)
        )
        xr.testing.assert_identical(before, cut)
        assert not (before == whole).any(), "the test could not tell"
        xr.testing.assert_identical(along[key].isel(time=2), every[key].isel(time=2))
    assert along.attrs == every.attrs and along.attrs["n_test"] == 1300
    xr.testing.assert_identical(quietly(dataset, **arguments, n_test_along=1300), every)
    xr.testing.assert_identical(quietly(dataset, **arguments, n_test_along=10_000), every)


def test_gaussian_inputs_before_the_end_are_the_first_ones(monkeypatch):
    """n_test_along counts for the Gaussian inputs too: ε₁,₂ is that of the weights at that time on the first of them,
    and at the end on all."""
    given = []

    class Watched(training.CpuBackend):
        def __init__(self, pairs, samples, *rest, **named):
            given.append(samples["gauss"][0][0])
            super().__init__(pairs, samples, *rest, **named)

    monkeypatch.setattr(training, "CpuBackend", Watched)
    dataset = made(np.random.default_rng(49))
    arguments = {"widths": [2, 4], "n_gauss": 1100, "n_test_along": 70}
    result = quietly(dataset, **arguments, time=6.0, evaluate_at=[0, 3])
    # blocks begin at every evaluation: the same steps in the same blocks
    stopped = quietly(dataset, **arguments, time=3.0, evaluate_at=[0])
    x = given[0].astype(float)
    assert x.shape == (1100, 23)
    np.testing.assert_array_equal(given[0], given[1])
    for K in (2, 4):
        for time, weights, n in ((3.0, stopped, 70), (6.0, result, 1100)):
            phi = [student(weights, width=K, student=s)(x[:n]) for s in (1, 2)]
            measured = result.sel(inputs="gauss", width=K, init=0, time=time)
            check_errors(*phi, *(measured[f"eps_12_{kind}"].item() for kind in KINDS))


def test_number_of_gaussian_inputs():
    """n_gauss says on how many Gaussian inputs ε₁,₂ is measured; nothing else depends on it.

    For linear students q = ½(φ₁ − φ₂)² is a multiple of a squared Gaussian, whose spread is √2 times its mean, so that
    mse_se √n / mse is √2; measured on n inputs, to a part √(3/(2n)).
    """
    dataset = made(np.random.default_rng(50), n_test=90)
    arguments = {"widths": [1, 3], "n_pairs": 2, "lr": 0.05, "time": 2.0, "activation": "identity"}
    default = quietly(dataset, **arguments)
    assert default.attrs["n_gauss"] == 90
    for n in (1500, 6000):
        result = quietly(dataset, **arguments, n_gauss=n)
        assert result.attrs == default.attrs | {"n_gauss": n}
        for key, variable in result.data_vars.items():
            if key.startswith("eps_12"):
                xr.testing.assert_identical(variable.sel(inputs="test"), default[key].sel(inputs="test"))
                assert not (variable == default[key]).sel(inputs="gauss").all()
            else:
                xr.testing.assert_identical(variable, default[key])
        gauss = result.sel(inputs="gauss")
        ratio = gauss.eps_12_mse_se * math.sqrt(n) / gauss.eps_12_mse
        assert np.abs(ratio / math.sqrt(2) - 1).max() < SE * math.sqrt(1.5 / n)


def test_custom_activation_can_be_trained():
    """``train`` takes a custom activation and reports its name; "auto" trains it on the processor."""
    custom, dataset = tanh(), made(np.random.default_rng(44))
    result = quietly(dataset, widths=[2], time=10.0, activation=custom, device="auto")
    assert result.attrs["activation"] == "tanh"
    wrong = np.mean((student(result, width=2, activation=custom)(dataset.x_test) >= 0) != (dataset.y_test >= 0))
    # a sample whose output is zero to rounding may change sides
    assert abs(wrong - float(result.eps_g_frac.sel(student=1).isel(time=-1).squeeze())) <= 1 / len(dataset.y_test)
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        student(result, width=2)
    assert (result.eps_g_mse.isel(time=-1) < result.eps_g_mse.isel(time=0)).all()


def test_default_evaluation_times():
    """evaluation_times starts at 0 and goes in equal factors from 0.1 to the end; `train` rounds them to steps."""
    times = evaluation_times(1000.0, n=41)
    assert times[0] == 0 and times.size == 41
    np.testing.assert_allclose([times[1], times[-1]], [0.1, 1000], rtol=1e-12)
    np.testing.assert_allclose(times[2:] / times[1:-1], 10 ** (4 / 39), rtol=1e-12)
    assert evaluation_times(50.0).size == 40
    assert evaluation_times(0.01, n=5).max() == pytest.approx(0.01)
    result = quietly(made(np.random.default_rng(45)), widths=[1], time=8.0)
    steps = np.unique(np.rint(23 * np.append(0, 0.1 * 80 ** (np.arange(39) / 38))))
    np.testing.assert_allclose(result.time, steps / 23, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": []}, "widths = []: give at least one width"),
        ({"widths": [2, 2]}, "widths = [2, 2]: give every width once"),
        ({"n_pairs": 0}, "n_pairs = 0: give a whole number of at least 1"),
        ({"block": -3}, "block = -3: give a whole number of at least 1"),
        ({"lr": math.nan}, "lr = nan: give a positive"),
        ({"init_scale": math.inf}, "init_scale = inf: give a positive"),
        ({"time": 0}, "time = 0: give a positive"),
        ({"layers": "second"}, "layers = 'second': choose one of both, first"),
        ({"activation": "sine"}, "unknown activation 'sine'"),
        ({"evaluate_at": [1, 0.5]}, "evaluate_at must be a list of increasing numbers"),
        ({"evaluate_at": [1, 2.5]}, "evaluate_at end at 2.5: give a last time of at most 2"),
        ({"n_test_along": 1}, "n_test_along = 1: give a whole number of at least 2"),
        ({"n_gauss": 1}, "n_gauss = 1: give a whole number of at least 2"),
        ({"device": "tpu"}, "device = 'tpu': choose one of auto, cpu, cuda"),
        ({"device": "cuda"}, 'device = "cuda" needs an NVIDIA GPU'),
    ],
    ids=str,
)
@pytest.mark.parametrize("watched", [False, True], ids=["train", "watch"])
def test_impossible_arguments_are_refused(watched, arguments, message, monkeypatch):
    """Both ways to train refuse impossible arguments in one sentence before anything runs."""
    monkeypatch.setattr(hardware, "_has_gpu", lambda: False)
    given = {"widths": [2], "time": 2.0, "rng": np.random.default_rng(1)} | arguments
    with pytest.raises(ValueError) as refusal:
        (training.watch if watched else train)(made(np.random.default_rng(46)), **given)
    text = str(refusal.value)
    assert text.startswith(message) and text.endswith(".") and ". " not in text and "\n" not in text


@pytest.mark.parametrize("off", [False, True], ids=["bar", "TQDM_DISABLE"])
def test_progress_bar_shows_its_label_and_can_be_switched_off(off):
    """A bar with the label is written to stderr unless TQDM_DISABLE=1, which tqdm reads when it is imported."""
    program = (
        "import numpy as np\n"
        "from hmm_utils import datasets, networks, training\n"
        "rng = np.random.default_rng(0)\n"
        "data = datasets.teacher_task(datasets.gaussian(9, 9, 9, rng=rng), networks.random_network(9, 1, rng=rng))\n"
        "training.train(data, widths=[1], time=1.0, rng=rng, progress='some label')\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TQDM_")}
    if off:
        environment["TQDM_DISABLE"] = "1"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ("some label" in done.stderr) is not off


# ---- Divergence -----------------------------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[("quadratic", "both", 0.2), ("relu", "both", 1.5), ("identity", "both", 1.0), ("quadratic", "first", 0.1)],
    ids=lambda param: f"{param[0]}, {param[1]}",
)
def diverged(request):
    """(data, arguments, result, warnings) of a run in which some students diverge, measured every sixth step."""
    name, layers, lr = request.param
    dataset = made(np.random.default_rng(52), N=30, P=200, n_test=300)
    arguments = {"lr": lr, "activation": name, "layers": layers, "time": 4.0, "evaluate_at": np.linspace(0, 4, 21)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = quietly(dataset, widths=[1, 3, 8], n_pairs=3, train_error=True, **arguments)
    dead = result.eps_g_mse.isnull().isel(time=-1)
    assert 0 < dead.sum() < dead.size, "the test needs students of both kinds"
    return dataset, arguments, result, caught


def names_of(dead):
    """What the warnings should call the students of a boolean array over (init, student, width)."""
    flat = dead.stack(who=("init", "student", "width"))
    return sorted(f"K={who[2]}, init {who[0]}, student {who[1]}" for who in flat.who.values[flat.values])


def test_diverged_students_are_named_once(diverged):
    """Every student that ends as NaN is named in one DivergenceWarning, with the evaluation time from which on it is
    NaN, the learning rate, and the remedy; nothing else is warned of."""
    _, arguments, result, caught = diverged
    assert {w.category for w in caught} == {DivergenceWarning}, sorted({str(w.message)[:60] for w in caught})
    named = []
    for message in (str(w.message) for w in caught):
        assert f"lr = {arguments['lr']:g}" in message and message.endswith("; use a smaller lr or init_scale.")
        time = float(message.split("before time ")[1].split()[0])
        at = result.eps_g_mse.sel(time=time, method="nearest")
        assert abs(at.time.item() - time) <= 1e-3 * time
        for name in message.split("from here on: ")[1].split("; use")[0].split("; "):
            named.append(name)
            K, init, s = (int(word.split("=")[-1].split()[-1]) for word in name.split(", "))
            own = result.eps_g_mse.sel(width=K, init=init, student=s)
            assert own.sel(time=slice(at.time, None)).isnull().all()
            assert own.sel(time=slice(None, at.time)).isel(time=slice(None, -1)).notnull().all()
    assert sorted(named) == names_of(result.eps_g_mse.isnull().isel(time=-1))


def test_diverged_students_are_nan_from_then_on(diverged):
    """After its first NaN a student has no error, no disagreement and no weights any more."""
    _, _, result, _ = diverged
    dead = result.eps_g_mse.isnull()
    np.testing.assert_array_equal(dead, dead.cumsum("time") > 0)
    for key in ("eps_g_frac", "eps_t_mse", "eps_t_frac"):
        np.testing.assert_array_equal(result[key].isnull(), dead, err_msg=key)
    either = dead.any("student")
    for key in ("eps_12_mse", "eps_12_frac"):
        for where in ("test", "gauss"):
            np.testing.assert_array_equal(result[key].sel(inputs=where).isnull(), either, err_msg=f"{key}, {where}")
    at_the_end = dead.isel(time=-1)
    index = xr.DataArray(np.arange(8), dims="hidden")
    gone = (at_the_end | (index >= result.width)).transpose(*result.v.dims)
    np.testing.assert_array_equal(result.v.isnull(), gone)
    np.testing.assert_array_equal(result.W.isnull().any("input"), gone)
    np.testing.assert_array_equal(result.W.isnull().all("input"), gone)
    assert not any(np.isinf(variable).any() for variable in result.data_vars.values())


def test_students_too_large_from_the_start_are_reported():
    """Outputs that are infinite before the first step are found as well: NaN, named, and no weights to go on with."""
    dataset = made(np.random.default_rng(53))
    with pytest.warns(DivergenceWarning, match=r"diverged before time 0 .*: K=2, init 0, student 1; K=2, init 0, stud"):
        result = quietly(dataset, widths=[2], time=0.01, activation="quadratic", init_scale=1e15)
    for key in ("eps_g_mse", "eps_g_frac", "eps_12_mse", "eps_12_frac", "W", "v"):
        assert result[key].isnull().all(), key


def test_other_students_go_on_as_if_no_one_had_diverged(diverged):
    """A student that survives is the student of a run that it has to itself."""
    dataset, arguments, result, _ = diverged
    survivors = result.eps_g_mse.isel(time=-1).notnull().all(("init", "student"))
    widths = result.width.values[survivors]
    if not widths.size:
        pytest.skip("no width survives as a whole at this learning rate")
    alone = quietly(dataset, widths=widths.tolist(), n_pairs=3, **arguments)
    same_students(result.sel(width=widths), alone, steps=120, n_test=300)


# ---- Several pairs of fleets ----------------------------------------------------------------------------------------


def at_once(pairs, **arguments):
    return train_fleets(pairs, **arguments, progress=None)


def one_by_one(pairs, **arguments):
    """The result of ``train`` for each pair of fleets."""
    return [train(**vars(pair), progress=None, **arguments) for pair in pairs]


def unlike_pairs():
    """Pairs of fleets that differ in all that may differ, P and P* included, each with its rng unused."""
    rng = np.random.default_rng(54)
    short, long = made(rng, P=90, n_test=1500, M=1, labels="real"), made(rng, P=300, n_test=333, M=3)
    return [
        FleetPair(dataset=short, rng=np.random.default_rng(1)),
        FleetPair(dataset=long, rng=np.random.default_rng(2), lr=0.1, layers="first", init_scale=0.5),
        FleetPair(dataset=made(rng), rng=np.random.default_rng(3), lr=0.3, init_scale=0.7),
        FleetPair(dataset=short, rng=np.random.default_rng(4), layers="first"),
        # the inputs and streams of the first, with other labels: trained in one fleet with it
        FleetPair(dataset=datasets.teacher_task(short.inputs, short.teacher), rng=np.random.default_rng(1)),
    ]


# widths in no order, so that no row stands where it would by chance
UNLIKE = {"widths": [2, 5, 1], "n_pairs": 2, "time": 9.0, "evaluate_at": [0, 1, 4], "train_error": True}


@pytest.mark.parametrize(
    "sizes", [{}, {"n_test_along": 50, "n_gauss": 700, "block": 7}], ids=["sizes of the test sets", "sizes given"]
)
def test_fleets_trained_together_are_those_trained_alone(sizes):
    """Trained together or alone, a pair of fleets has the same result: to the last bit, attributes included, but for
    pairs that differ in their labels alone, which share a fleet, and so the rounding of its products."""
    results = at_once(unlike_pairs(), **UNLIKE, **sizes)
    assert len(results) == 5
    for ours, alone in zip(results, one_by_one(unlike_pairs(), **UNLIKE, **sizes), strict=True):
        assert ours.attrs == alone.attrs
        same_students(ours, alone, steps=9 * ours.attrs["n_inputs"], n_test=ours.attrs["n_test"])
    for p in (1, 2, 3):
        xr.testing.assert_identical(results[p], one_by_one(unlike_pairs(), **UNLIKE, **sizes)[p])
    assert not np.allclose(results[4].eps_t_mse, results[0].eps_t_mse, rtol=0.1, equal_nan=True)
    np.testing.assert_allclose(results[4].eps_12_mse[..., 0], results[0].eps_12_mse[..., 0], rtol=1e-6)
    for one in range(4):
        for other in range(one):
            assert not (results[one].W == results[other].W).any(), f"pairs {one} and {other} are not unlike"
    assert [(r.attrs["layers"], r.attrs["n_train"], r.attrs["n_test"]) for r in results[:3]] == [
        ("both", 90, 1500), ("first", 300, 333), ("both", 157, 401),
    ]  # fmt: skip


def test_number_of_threads_does_not_matter(monkeypatch):
    """One core, two, or more than there are streams at a time: the same results to the last bit."""
    results = []
    for n in (1, 2, 5, 30):
        monkeypatch.setattr(training, "threads", lambda n=n: n)
        results.append(at_once(unlike_pairs()[:3], **UNLIKE))
    for other in results[1:]:
        for ours, first in zip(other, results[0], strict=True):
            xr.testing.assert_identical(ours, first)


@pytest.mark.parametrize("inputs", [(), (23, 23, 24)], ids=str)
def test_fleets_of_different_n_or_none_are_refused(inputs):
    """Pairs of fleets that are trained together have one N, and there must be at least one."""
    rng = np.random.default_rng(55)
    with pytest.raises(ValueError, match=r"^give at least one pair of fleets, all with the same number of inputs N\.$"):
        at_once([FleetPair(dataset=made(rng, N=N), rng=rng) for N in inputs], widths=[1])


def caught(call, fleet_pairs, **arguments):
    """What `call` returns, and the DivergenceWarnings on the way, the only ones."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        results = call(fleet_pairs, **arguments)
    assert {w.category for w in found} <= {DivergenceWarning}, [str(w.message) for w in found]
    return results, [str(w.message) for w in found]


def sick_pairs():
    """Fleets whose quadratic students diverge at once, some that lose some of them slowly, and two healthy ones."""
    rng = np.random.default_rng(52)
    healthy, slow, fast = made(rng, N=30, P=200, n_test=300), made(rng, N=30, M=1), made(rng, N=30, M=5)
    return [
        FleetPair(dataset=healthy, rng=np.random.default_rng(1), lr=0.02, init_scale=0.3),
        FleetPair(dataset=fast, rng=np.random.default_rng(2), lr=0.5, layers="first"),
        FleetPair(dataset=slow, rng=np.random.default_rng(1), lr=0.2),
        FleetPair(dataset=healthy, rng=np.random.default_rng(4), lr=0.01, init_scale=0.3, layers="first"),
    ]


SICK = {"widths": [3, 1, 8], "n_pairs": 3, "activation": "quadratic", "time": 4.0, "evaluate_at": [0, 0.5, 1, 2]}


def test_divergence_stays_with_the_fleets():
    """Fleets that diverge leave the others as they are alone, to the last bit, and what is warned of is what is
    warned of alone, with the name of the data set."""
    results, messages = caught(at_once, sick_pairs(), **SICK)
    expected = []
    for ours, pair in zip(results, sick_pairs(), strict=True):
        (alone,), said = caught(one_by_one, [pair], **SICK)
        xr.testing.assert_identical(ours, alone)
        expected += [m.replace("from here on: ", f"from here on in {pair.dataset.description}: ") for m in said]
    assert sorted(messages) == sorted(expected)
    dead = [int(result.eps_g_mse.isel(time=-1).isnull().sum()) for result in results]
    assert dead[0] == dead[3] == 0 < dead[2] < dead[1] == 18, "the test needs fleets of all kinds"
    for pair in sick_pairs()[1:3]:
        own = [m for m in messages if f" in {pair.dataset.description}: " in m]
        assert own and all(f"with lr = {pair.lr:g} and" in m for m in own)


# ---- On a device ----------------------------------------------------------------------------------------------------


@pytest.fixture
def on_device(monkeypatch):
    """`train_fleets` on torch's processor device, under a name that is not "cpu": the way of a GPU."""
    pytest.importorskip("torch")

    def call(fleet_pairs, **arguments):
        with monkeypatch.context() as patch:
            patch.setattr(training, "resolve", {"cuda": "cpu:0"}.__getitem__)
            return at_once(fleet_pairs, **arguments, device="cuda")

    return call


def check_same_run(ours, expected, *, steps, least):
    """The results of two backends are the same up to rounding, see `same_students`; `least` inputs are measured on.

    A standard error of an mse, s/√n, moves by no more than the largest change of ½(φ − y)² does, times √(1/(n − 1)).
    """
    same_students(ours, expected, steps=steps, n_test=least)
    tolerance = 8 * math.sqrt(steps) * ULP / 2
    assert set(ours.data_vars) == set(expected.data_vars)
    for key in ours.data_vars:
        xr.testing.assert_equal(ours[key].isnull(), expected[key].isnull())
        assert (ours[key].dims, ours[key].dtype, ours[key].attrs) == (
            expected[key].dims, expected[key].dtype, expected[key].attrs
        )  # fmt: skip
        if key.endswith("mse") or key.endswith("mse_se"):
            # outputs and errors are of order 1, up to ten
            np.testing.assert_allclose(ours[key], expected[key], rtol=0, atol=10 * tolerance, err_msg=key)
        elif key.endswith("frac"):
            np.testing.assert_allclose(ours[key], expected[key], rtol=0, atol=2.5 / least, err_msg=key)
        elif key.endswith("frac_se"):
            # |√a − √b| ≤ √|a − b| with a = p(1 − p)/n
            np.testing.assert_allclose(ours[key], expected[key], rtol=0, atol=math.sqrt(2.5) / least, err_msg=key)
    assert ours.attrs == expected.attrs | {"device": "cpu:0"}


@pytest.mark.parametrize("block", [None, 10])
def test_device_trains_and_measures_like_the_processor(on_device, block):
    """Fleets of all kinds have the same result on a device, up to rounding."""
    arguments = UNLIKE | {"n_gauss": 700}
    results = on_device(unlike_pairs(), **arguments, block=block)
    expected = at_once(unlike_pairs(), **arguments)
    for ours, theirs in zip(results, expected, strict=True):
        check_same_run(ours, theirs, steps=9 * 23, least=90)


def test_device_measures_on_the_first_inputs_before_the_end(on_device):
    """n_test_along and n_gauss mean on a device what they mean on the processor, where test sets differ in size."""
    arguments = UNLIKE | {"n_gauss": 700, "n_test_along": 600, "train_error": False}
    results = on_device(unlike_pairs(), **arguments)
    expected = at_once(unlike_pairs(), **arguments)
    for ours, theirs in zip(results, expected, strict=True):
        check_same_run(ours, theirs, steps=9 * 23, least=333)


def test_divergence_on_a_device(on_device):
    """The same students diverge before the same times, the same warnings tell it, and all is NaN that is NaN on the
    processor; the others have the same results up to rounding."""
    ours, messages = caught(on_device, sick_pairs(), **SICK)
    expected, said = caught(at_once, sick_pairs(), **SICK)
    assert messages == said
    for one, other in zip(ours, expected, strict=True):
        for key in other.data_vars:
            xr.testing.assert_equal(one[key].isnull(), other[key].isnull())
    for healthy in (0, 3):
        check_same_run(ours[healthy], expected[healthy], steps=4 * 30, least=300)


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_students_that_are_lost_at_the_end_have_no_weights(where, on_device):
    """A student whose output is infinite on an input that is looked at only at the end is NaN there, weights included,
    and named."""
    dataset = made(np.random.default_rng(57))
    x = np.concatenate([dataset.x_test[:-1], 1e25 * dataset.x_test[-1:]])
    dataset = dataclasses.replace(dataset, inputs=dataclasses.replace(dataset.inputs, x_test=x))
    pair = FleetPair(dataset=dataset, rng=np.random.default_rng(1), lr=0.02, init_scale=0.3)
    arguments = {"widths": [2], "activation": "quadratic", "time": 2.0, "evaluate_at": [0, 1], "n_test_along": 400}
    (result,), messages = caught(on_device if where == "device" else at_once, [pair], **arguments)
    assert len(messages) == 1 and "diverged before time 2 " in messages[0] and messages[0].count("K=2") == 2
    for key in ("eps_g_mse", "eps_g_frac", "eps_g_mse_se", "eps_g_frac_se", "eps_12_mse"):
        expected = [False, False, True]
        np.testing.assert_array_equal(
            result[key].isnull().transpose(..., "time"), np.broadcast_to(expected, result[key].shape)
        )
    assert result.W.isnull().all() and result.v.isnull().all()


def test_an_activation_of_ones_own_stays_on_the_processor(on_device):
    """A device knows the package's activations; another one is refused, with what to do."""
    with pytest.raises(ValueError, match='train it with device = "cpu"'):
        on_device(unlike_pairs(), **(UNLIKE | {"activation": tanh()}))
