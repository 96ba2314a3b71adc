"""hmm_utils.runs.experiments: the paper's numbers, the refusal of impossible values, and what a run returns."""

import dataclasses
import math

import numpy as np
import pytest
import xarray as xr
from helpers.experiments import at_scale, check_sentence, tiny
from helpers.notebooks import NOTEBOOKS

from hmm_utils.model.networks import random_network
from hmm_utils.runs import experiments
from hmm_utils.runs.experiments import (
    PROFILES,
    dataset,
    experiment,
    groups_of_draws,
    plan,
    run_experiment,
    run_plan,
    scale_note,
)
from hmm_utils.sgd import backends, hardware, training

SETUPS = list(experiments.settings()["setups"])


# ---- What there is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_a_plan_has_every_setup(profile):
    """One run per set-up, or one per layer mode; the paper's plan has all that belong to a figure."""
    runs = plan(SETUPS, profile)
    assert list(dict.fromkeys(name.partition("/")[0] for name in runs)) == SETUPS
    for name, e in runs.items():
        setup, _, layers = name.partition("/")
        assert (e.name, e.profile) == (setup, profile)
        assert layers in ("", e.layers)
    whole = experiments.whole_plan(profile)
    assert whole == {name: e for name, e in runs.items() if name != "vanilla"}
    assert plan([], profile, {"seed": 3}) == {}


def test_every_setup_belongs_to_a_notebook():
    """No set-up is left over, none is missing; only Fig. 8, in notebook C, is read off runs of others."""
    others = [name for key, about in NOTEBOOKS.items() if key != "C_early_stopping" for name in about.setups]
    assert sorted(others) == sorted(SETUPS)
    assert NOTEBOOKS["C_early_stopping"].setups == ("fig1_left", "fig3_left", "fig3_right")


# What the captions say other than N = 784, η = 0.2, D = 10, g = erf, f = sgn, M = 4, weights N(0, 1).
RELU = {"activation": "relu", "lr": 0.1, "init_scale": 1e-3}
ONE = {"teacher_width": 1, "teacher_v": "ones"}
CAPTIONS = {
    "fig3_left": {"teacher_width": 1},
    "fig5_teacher": {"f": "identity", **ONE},
    "fig5_latent": {"f": "identity", **ONE},
    "fig6_latent": {"f": "relu", **ONE},
    "fig6_teacher": {"f": "relu", **ONE},
    "fig7_latent": {"f": "relu", "teacher_width": 5, "layers": "first"},
    "fig7_teacher": {"teacher_width": 5, "layers": "first"},
    "fig9_latent": {"n_inputs": 500, "n_latent": 250, "teacher_width": 1},
    "fig9_teacher": {"n_inputs": 500, "n_latent": 250},
    "fig10_left": RELU,
    "fig10_latent": {**RELU, "teacher_width": 1, "teacher_activation": "erf"},
    "fig10_teacher": RELU,
}


@pytest.mark.parametrize("name", SETUPS)
def test_paper_profile_has_the_papers_numbers(name):
    """Every number that a caption states, P = 76N, up to time 10 000; widths as in the figure, ten initialisations."""
    stated = {
        "n_inputs": 784, "time": 10_000, "lr": 0.2, "n_latent": 10, "init_scale": 1, "n_train": None,
        "activation": "erf", "f": "sgn", "data": "auto", "teacher_width": 4, "teacher_v": "drawn",
        "teacher_activation": None, **CAPTIONS.get(name, {}),
    }  # fmt: skip
    for e in plan([name], "paper").values():
        assert {key: getattr(e, key) for key in stated} == stated
        if name.startswith("fig2"):
            assert e.widths == (3,), "Fig. 2 has K = 3"
        elif name.startswith("fig7"):
            assert e.widths == (6,), "Fig. 7 has K = 6"
        elif name in ("fig4_pretraining", "fig4_inset"):
            assert e.widths == (4,), "Fig. 4 has M = K = 4"
        elif name != "vanilla":
            assert set(range(1, 9)) <= set(e.widths), "the figures against K"
        if name not in ("vanilla", "fig4_pretraining"):
            assert e.n_pairs * e.n_draws >= 10
        if e.inputs == "digits":
            assert e.n_draws == 1, "there is only one MNIST"


@pytest.mark.parametrize("name", SETUPS)
def test_quick_profile_is_smaller_and_no_other_experiment(name):
    """No set-up is larger than the paper's; what a caption states beside N, time and K stays. Where D is extensive D/N
    stays, and where the label has to be read off the inputs N stays."""
    quick, paper = (experiment(name, profile, layers="both") for profile in PROFILES)
    for parameter in ("n_inputs", "time", "n_draws", "n_test", "n_times"):
        assert getattr(quick, parameter) <= getattr(paper, parameter), parameter
    assert quick.n_draws * quick.n_pairs <= paper.n_draws * paper.n_pairs
    for parameter in set(CAPTIONS.get(name, ())) - {"n_inputs", "n_latent"}:
        assert getattr(quick, parameter) == getattr(paper, parameter), parameter
    if name.startswith("fig9"):
        assert all(2 * e.n_latent == e.n_inputs for e in (quick, paper))
    if name in ("fig3_left", "fig5_latent", "fig6_latent", "fig10_latent"):
        assert quick.n_inputs == 784


@pytest.mark.parametrize("name", [name for name in SETUPS if name.startswith("fig2")])
def test_figure_2_has_a_curve_for_either_layer_mode(name):
    """Fig. 2: first layer only (dashed) and both layers (solid); `layers` may pick one of them or name both."""

    def modes(**overrides):
        return {key: e.layers for key, e in plan([name, "fig3_left"], "quick", overrides).items() if e.name == name}

    assert modes() == modes(layers=["first", "both"]) == {f"{name}/first": "first", f"{name}/both": "both"}
    assert modes(layers="first") == modes(layers=["first"]) == {f"{name}/first": "first"}
    # a list names curves, and says nothing about figures that have one
    for layers, other in (("first", "first"), (["first"], "both"), (["first", "both"], "both")):
        assert plan([name, "fig3_left"], "quick", {"layers": layers})["fig3_left"].layers == other


def test_an_experiment_is_a_record():
    """Frozen, and checked again when a copy with other values is made; numbers have one type, lists become tuples."""
    e = experiment("fig3_left", "paper")
    with pytest.raises(dataclasses.FrozenInstanceError):
        e.lr = 1
    with pytest.raises(ValueError, match="lr = -1"):
        dataclasses.replace(e, lr=-1)
    same = dataclasses.replace(e, time=10_000, widths=[*np.array(e.widths)], seed=np.int64(1), init_scale=1)
    assert same == e
    for name in ("time", "init_scale", "lr", "seed"):
        assert type(getattr(same, name)) is type(getattr(e, name)) is (int if name == "seed" else float)
    assert {type(K) for K in same.widths} == {int}


def test_longer_runs_are_those_of_their_table():
    """The same runs but for the end, the widths and the number of draws; a profile that is not stored has none."""
    table = experiments.settings()["longer"]
    longer = experiments.longer("paper")
    assert [name.partition("/")[0] for name in longer] == table["setups"]
    for name, e in longer.items():
        other = {key: getattr(e, key) for key in ("time", "widths", "n_draws")}
        assert e == dataclasses.replace(experiment(name.partition("/")[0], "paper"), **other)
        assert other == {"time": 30_000, "widths": (2, 4, 6, 10), "n_draws": 5}
    assert experiments.longer("quick") == {}


# ---- Overrides ------------------------------------------------------------------------------------------------------


def test_overrides_replace_and_none_keeps():
    """A given value replaces the profile's, None leaves it; a plan hands its values to every run."""
    changed = experiment("fig3_left", "paper", lr=0.1, widths=[2, 5], n_train=1000, n_latent=None, f="relu", seed=7)
    expected = dataclasses.replace(
        experiment("fig3_left", "paper"), lr=0.1, widths=(2, 5), n_train=1000, f="relu", seed=7
    )  # fmt: skip
    assert changed == expected
    nothing = dict.fromkeys(("lr", "widths", "n_train", "layers", "f", "data", "seed", "labels", "teacher_width"))
    assert plan(SETUPS, "paper", nothing) == plan(SETUPS, "paper")
    runs = plan(SETUPS, "quick", {"lr": 0.05, "seed": 9, "n_train": 777, "teacher_width": 2, "x": 1}, ["x"])
    assert {(e.lr, e.seed, e.n_train) for e in runs.values()} == {(0.05, 9, 777)}
    assert {e.teacher_width for e in runs.values() if e.task != "own"} == {2}
    assert runs["fig4_pretraining"].widths == (2,), "M of Fig. 4"


@pytest.mark.parametrize(
    ("name", "meaningless"),
    [
        ("fig1_left", {"n_inputs": 50, "n_draws": 9, "f": "relu", "n_latent": 3, "labels": "real",
                       "teacher_width": 2, "teacher_v": "ones", "teacher_activation": "relu"}),
        ("fig1_right", {"f": "relu", "n_latent": 3, "data": "digits"}),
        ("fig3_left", {"data": "digits"}),
        ("fig4", {"n_inputs": 50, "f": "relu", "n_latent": 3, "teacher_v": "ones", "teacher_activation": "relu"}),
        ("fig4_pretraining", {"widths": [9], "time": 5.0, "n_pairs": 9, "n_times": 9, "n_inputs": 50,
                              "labels": "real"}),
    ],
)  # fmt: skip
def test_parameters_without_meaning_are_dropped(name, meaningless):
    """One set of parameters serves all runs of a notebook: what means nothing to a set-up leaves it as it is."""
    assert experiment(name, **meaningless) == experiment(name)


# ---- Refusals -------------------------------------------------------------------------------------------------------


IMPOSSIBLE = [
    *[("widths", value) for value in ([0], [], [2, 2], [1.5], "3", 3, [True], ["2"], [2, -1])],
    *[("lr", value) for value in (0, -1, math.nan, math.inf, "0.2", True)],
    *[("time", value) for value in (0, -5.0, math.nan, math.inf, "10")],
    *[("init_scale", value) for value in (0, -1.0, math.nan)],
    *[("n_latent", value) for value in (0, -1, 2.5, 10_000)],
    *[("n_inputs", value) for value in (0, 1, 20.5, 5)],
    *[("n_test", value) for value in (0, 1)],
    *[("n_times", value) for value in (0, 2)],
    *[("n_pairs", value) for value in (0, 1.5, "2")],
    *[("n_draws", value) for value in (0, -1)],
    *[("teacher_width", value) for value in (0, 1.5)],
    *[("seed", value) for value in (-1, 1.5, "1", True)],
    *[("n_train", value) for value in (0, -1, 2.5, "60")],
    ("n_test_along", 1),
    ("f", "sign"), ("f", 3), ("f", ["sgn"]),
    ("labels", "signs"), ("labels", True),
    ("activation", "tanh"), ("activation", ["erf"]),
    ("teacher_v", "one"), ("teacher_v", 1), ("teacher_activation", "sgn"), ("teacher_activation", True),
    ("layers", "second"), ("layers", ["first", "second"]), ("layers", 1), ("layers", []),
    ("data", "cifar"), ("data", 1), ("data", ["mnist"]),
]  # fmt: skip


@pytest.mark.parametrize(("parameter", "value"), IMPOSSIBLE, ids=lambda value: repr(value))
def test_impossible_values_are_refused(parameter, value):
    """Whatever cannot be run is refused before anything is computed, in one sentence that names the parameter."""
    for setups in (["fig1_left"] if parameter in ("layers", "data") else ["fig3_left"], ["fig2_left_iid", *SETUPS]):
        with pytest.raises(ValueError, match=rf"\b{parameter}\b") as refusal:
            plan(setups, "quick", {parameter: value})
        check_sentence(refusal)


def test_unknown_names_are_refused():
    """A misspelt name is never ignored, and what identifies a set-up cannot be changed; what there is is listed."""
    for call, message, words in (
        (lambda: experiment("fig5"), "unknown set-up 'fig5'", SETUPS),
        (lambda: plan(["fig5"], "quick"), "unknown set-up 'fig5'", SETUPS),
        (lambda: plan("fig5", "quick"), "setups = 'fig5': give a list", []),
        (lambda: experiment("fig3_left", "slow"), "unknown profile 'slow'", PROFILES),
        (lambda: plan([], "slow"), "unknown profile 'slow'", PROFILES),
    ):
        with pytest.raises(ValueError, match=message) as refusal:
            call()
        check_sentence(refusal, *words)
    for parameter in ("learning_rate", "n_init", "inputs", "task", "figure", "name", "profile"):
        with pytest.raises(ValueError, match=f"unknown parameter '{parameter}'") as refusal:
            plan([], "quick", {parameter: 1})
        check_sentence(refusal, "lr", "n_pairs", "widths")
    with pytest.raises(ValueError, match="unknown parameter 'learning_rate'"):
        experiment("fig3_left", learning_rate=1)


# ---- The data of an experiment --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", ["both", "first"])
def test_data_of_a_latent_task(layers):
    """Structured inputs, D latent coordinates; the teacher lives on them, has M units, and in "first" mode v = 1."""
    e = tiny("fig3_left", layers=layers, teacher_width=2)
    data = dataset(e, rng=np.random.default_rng(111))
    assert data.x_train.shape == (76 * 20, 20) and data.x_test.shape == (50, 20)
    assert data.inputs.latent_train.shape == (1520, 3) and "f = sgn" in data.description
    assert (data.teacher.width, data.teacher.n_inputs) == (2, 3)
    assert np.array_equal(data.teacher.v, [1, 1]) is (layers == "first")
    assert set(np.unique(data.y_train)) == {-1, 1}
    real = dataset(dataclasses.replace(e, labels="real"), rng=np.random.default_rng(111))
    assert np.unique(real.y_train).size > 10
    np.testing.assert_array_equal(np.where(real.y_train >= 0, 1, -1), data.y_train)


@pytest.mark.parametrize("name", ["fig1_right", "fig3_right"])
@pytest.mark.parametrize("n_train", [None, 33])
def test_data_of_a_teacher_task(name, n_train):
    """The teacher acts on the N components with M units; P is n_train, or 76N."""
    data = dataset(tiny(name, n_train=n_train), rng=np.random.default_rng(112))
    assert data.x_train.shape == (n_train or 76 * 20, 20)
    assert (data.teacher.width, data.teacher.n_inputs) == (4, 20)
    assert (data.inputs.features is None) is (name == "fig1_right")
    assert np.unique(data.y_train).size > 10, "real labels"
    signs = dataset(tiny(name, labels="sign"), rng=np.random.default_rng(112))
    assert set(np.unique(signs.y_train)) == {-1, 1}


def test_data_of_digits():
    """Digits with odd against even, as many as asked for."""
    data = dataset(tiny("fig1_left", n_train=200), rng=np.random.default_rng(113))
    assert data.x_train.shape == (200, 64) and data.teacher is None
    assert "odd against even" in data.description


def test_data_of_a_pretrained_teacher():
    """Fig. 4: Gaussian inputs of the trained network's own N, labelled by it; it is passed in, and only here."""
    teacher = random_network(16, 4, rng=np.random.default_rng(114))
    data = dataset(tiny("fig4"), rng=np.random.default_rng(115), teacher=teacher)
    assert data.teacher is teacher and data.x_train.shape == (76 * 16, 16)
    for name, given in (("fig4", None), ("fig1_right", teacher)):
        with pytest.raises(ValueError, match="with task 'pretrained', and only then") as refusal:
            dataset(tiny(name), rng=np.random.default_rng(0), teacher=given)
        check_sentence(refusal)


@pytest.mark.parametrize("name", ["fig1_right", "fig3_left", "fig3_right"])
def test_activation_of_the_teacher(name):
    """The students' g, so that a student of the same architecture can reach zero error; or one of its own, in a network
    that is the same otherwise."""
    e = tiny(name, activation="relu", teacher_activation="erf", labels="real")
    ours, relu = (
        dataset(dataclasses.replace(e, teacher_activation=g), rng=np.random.default_rng(120)) for g in ("erf", None)
    )
    assert (ours.teacher.activation.name, relu.teacher.activation.name) == ("erf", "relu")
    np.testing.assert_array_equal(ours.teacher.W, relu.teacher.W)
    on = ours.inputs.latent_train if name == "fig3_left" else ours.x_train
    field = on @ ours.teacher.W.T / math.sqrt(on.shape[1])
    g = np.vectorize(math.erf)(field / math.sqrt(2))
    # float32 inputs, a sum over N = 20 or D = 3 of them
    np.testing.assert_allclose(ours.y_train, g @ ours.teacher.v, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layers", ["both", "first"])
@pytest.mark.parametrize("name", ["fig5_teacher", "fig5_latent", "fig6_latent", "fig6_teacher"])
def test_teachers_of_weight_one(name, layers):
    """Figs. 5, 6: ṽ* = 1 with both layers trained, too; the first layer is drawn, and differs between draws."""
    e = tiny(name, layers=layers, teacher_width=3)
    one, other = (dataset(e, rng=np.random.default_rng(seed)).teacher for seed in (1, 2))
    np.testing.assert_array_equal([one.v, other.v], 1)
    assert not np.any(one.W == other.W)
    drawn = dataset(tiny(name, teacher_v="drawn", teacher_width=3), rng=np.random.default_rng(1)).teacher
    assert not np.any(drawn.v == 1)


def test_labels_of_figure_10_can_be_learnt():
    """In every draw of the paper's profile both labels are about equally frequent, as they are for any odd g. The sign
    of a single ReLU unit would be +1 throughout in the draws with a positive second layer."""
    e = dataclasses.replace(experiment("fig10_latent", "paper", n_train=2000), n_inputs=50, n_test=2)
    relu = dataclasses.replace(e, teacher_activation=None)
    for draw in range(e.n_draws):
        ours, theirs = (
            dataset(one, rng=np.random.default_rng((e.seed, draw)).spawn(2)[0]) for one in (e, relu)
        )  # fmt: skip
        # five standard errors of 2000 fair coins
        assert abs(np.mean(ours.y_train == 1) - 0.5) < 5 * 0.5 / math.sqrt(2000)
        assert (theirs.y_train == 1).all() == (theirs.teacher.v[0] > 0)


# ---- Runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return run_experiment(tiny("fig3_left", n_train=60), progress=False)


def test_result_has_a_dimension_draw(result):
    """A run is `train` once per draw, with the experiment's sizes."""
    assert dict(result.sizes) == {
        "draw": 2, "init": 2, "student": 2, "width": 2, "time": result.sizes["time"], "inputs": 2, "hidden": 2,
        "input": 20,
    }  # fmt: skip
    assert result.draw.values.tolist() == [0, 1] and result.width.values.tolist() == [1, 2]
    for name, variable in result.data_vars.items():
        assert "draw" in variable.dims, name
    # 0, then 4 log-spaced times from 0.1 to 3, in whole steps
    np.testing.assert_allclose(result.time, np.rint(20 * np.array([0, 0.1, 0.31072, 0.96549, 3])) / 20)


def test_result_tells_what_was_run(result):
    """The attributes hold the experiment and what it was really run on, in types that a file can hold."""
    expected = {
        "name": "fig3_left", "figure": "Fig. 3 left", "profile": "quick", "inputs": "structured", "task": "latent",
        "activation": "erf", "layers": "both", "labels": "sign", "f": "sgn", "lr": 0.2, "time": 3.0, "init_scale": 1.0,
        "widths": [1, 2], "n_pairs": 2, "n_draws": 2, "n_latent": 3, "teacher_width": 1, "teacher_v": "drawn",
        "n_times": 5, "data": "auto", "seed": 1, "n_train": 60, "n_inputs": 20, "n_test": 50,
        "n_gauss": 50, "device": "cpu", "notice": "",
    }  # fmt: skip
    assert {key: result.attrs.get(key) for key in expected} == expected
    assert set(result.attrs) - set(expected) == {"dataset", "kind"} and result.attrs["kind"] == "structured"
    assert "f = sgn, D = 3; latent task, M = 1" in result.attrs["dataset"]
    assert all(isinstance(value, str | int | float | list) for value in result.attrs.values())


def test_same_seed_same_result(result):
    """The seed decides everything: equal seeds give identical results, other seeds other ones."""
    again = run_experiment(tiny("fig3_left", n_train=60), progress=False)
    xr.testing.assert_identical(again, result)
    other = run_experiment(tiny("fig3_left", n_train=60, seed=2), progress=False)
    assert not (other.W == result.W).any()
    assert not (other.eps_g_mse == result.eps_g_mse).any()


def test_draws_are_independent_and_do_not_depend_on_their_number(result):
    """Every draw has data and students of its own; asking for fewer leaves the first ones as they are."""
    assert not (result.W.isel(draw=0) == result.W.isel(draw=1)).any()
    one = run_experiment(tiny("fig3_left", n_train=60, n_draws=1), progress=False)
    xr.testing.assert_equal(one.isel(draw=0), result.isel(draw=0))
    e = tiny("fig3_left", n_train=60)
    rngs = [np.random.default_rng(seed) for seed in (1, 2)]
    first, second = (dataset(e, rng=rng) for rng in rngs)
    assert not np.any(first.inputs.features == second.inputs.features)
    assert not np.any(first.teacher.W == second.teacher.W)


# ---- Plans ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pretrained():
    """The network of Fig. 4 that the tests pass on: its N is not that of the other experiments."""
    return random_network(12, 4, rng=np.random.default_rng(118))


def some_plan():
    """Experiments of several sizes; the names are not those of the set-ups, and one set-up is there twice."""
    return {
        "latent": tiny("fig3_left", n_train=60, n_draws=3),
        "teacher": tiny("fig3_right", n_train=40, lr=0.1, seed=5),
        "again": tiny("fig3_left", n_train=60, n_draws=1, layers="first", init_scale=0.5),
        "pretrained": tiny("fig4", n_train=50, n_draws=2),
        "longer": tiny("fig1_right", n_train=50, time=4.0, n_test_along=20),
        "digits": tiny("fig1_left", n_train=70),
    }


def test_a_plan_is_its_experiments(pretrained):
    """`run_plan` is `run_experiment` for each, to the last bit; only task "pretrained" sees the teacher."""
    plan = some_plan()
    results = run_plan(plan, teacher=pretrained, progress=False)
    assert list(results) == list(plan)
    for name, e in plan.items():
        alone = run_experiment(e, teacher=pretrained if e.task == "pretrained" else None, progress=False)
        xr.testing.assert_identical(results[name], alone)
        assert results[name].draw.values.tolist() == list(range(e.n_draws))
        assert {key: results[name].attrs[key] for key in ("name", "task", "layers", "lr", "seed", "n_draws")} == {
            "name": e.name, "task": e.task, "layers": e.layers, "lr": e.lr, "seed": e.seed, "n_draws": e.n_draws
        }  # fmt: skip
    n_inputs = {name: result.attrs["n_inputs"] for name, result in results.items()}
    assert n_inputs == dict.fromkeys(plan, 20) | {"pretrained": 12, "digits": 64}
    assert {name: result.attrs.get("n_test_along") for name, result in results.items()} == (
        dict.fromkeys(plan) | {"longer": 20}
    )


def test_sizes_of_an_experiment_reach_the_training():
    """n_test is the number of Gaussian inputs, also for digits; n_test_along counts before the end."""
    digits = run_experiment(tiny("fig1_left", n_train=70), progress=False)
    assert digits.attrs["n_gauss"] == 50 < digits.attrs["n_test"]
    every, fewer = (run_experiment(tiny("fig3_right", n_train=40, n_test_along=n), progress=False) for n in (None, 10))
    for key in ("eps_g_mse", "eps_12_mse"):
        assert not (every[key] == fewer[key]).isel(time=slice(-1)).any()
        xr.testing.assert_identical(every[key].isel(time=-1), fewer[key].isel(time=-1))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_number_of_cores_does_not_change_a_run(threads, result, monkeypatch):
    """However many draws are trained at a time, the result is the same to the last bit."""
    monkeypatch.setattr(hardware, "threads", lambda: threads)
    xr.testing.assert_identical(run_experiment(tiny("fig3_left", n_train=60), progress=False), result)


def test_a_plan_on_a_device(pretrained, monkeypatch):
    """On a device, whose experiments are trained together, a plan has the results that it has on the processor.

    Up to rounding: weights below 4 are off by √steps roundings of 2.4e-7, 8 times as many at most; the outputs, with
    them errors, by ten times that, and a few of the 20 signs or more may be others where an output is 0 nearly.
    """
    plan = some_plan()
    expected = run_plan(plan, teacher=pretrained, progress=False)
    groups = []
    train_fleets = training.train_fleets

    def watched(runs, **arguments):
        groups.append(len(runs))
        return train_fleets(runs, **arguments)

    monkeypatch.setattr(training, "train_fleets", watched)
    for module in (hardware, training):
        # torch's processor device under a name that is not "cpu": the way of a GPU
        monkeypatch.setattr(module, "resolve", {"cuda": "cpu:0", "cpu:0": "cpu:0"}.__getitem__)
    results = run_plan(plan, teacher=pretrained, device="cuda", progress=False)
    assert groups == [6, 2, 2, 1], "latent, teacher and again are of one size"
    assert list(results) == list(plan)
    for name, ours in results.items():
        assert ours.attrs == expected[name].attrs | {"device": "cpu:0"}
        tolerance = 8 * math.sqrt(ours.time.values[-1] * ours.attrs["n_inputs"]) * 2.4e-7
        for key in ("W", "v"):
            np.testing.assert_allclose(ours[key], expected[name][key], rtol=0, atol=tolerance)
        for key in ("eps_g_mse", "eps_12_mse", "eps_g_mse_se", "eps_12_mse_se"):
            np.testing.assert_allclose(ours[key], expected[name][key], rtol=0, atol=10 * tolerance)
        for key in ("eps_g_frac", "eps_12_frac"):
            np.testing.assert_allclose(ours[key], expected[name][key], rtol=0, atol=2.5 / 20)


def test_a_teacher_is_needed_for_a_plan_with_a_pretrained_task():
    """A plan with a pretrained task and no network is refused; a teacher that no experiment needs is passed over."""
    plan = some_plan()
    with pytest.raises(ValueError, match="with task 'pretrained', and only then"):
        run_plan({"pretrained": plan["pretrained"]}, progress=False)
    teacher = random_network(3, 1, rng=np.random.default_rng(119))
    with_it = run_plan({"again": plan["again"]}, teacher=teacher, progress=False)
    xr.testing.assert_identical(with_it["again"], run_experiment(plan["again"], progress=False))


PLANS = ["paper", "some", "digits", "one change"]


def plan_of(which):
    if which == "digits":
        return {data: tiny("fig1_left", data=data) for data in ("digits", "mnist", "auto")}
    if which == "one change":
        changes = {"n_inputs": 21, "widths": [1, 3], "n_pairs": 3, "time": 4.0, "n_times": 6, "activation": "relu",
                   "n_test": 51, "n_test_along": 9, "lr": 0.1, "layers": "first", "init_scale": 0.5, "n_train": 9,
                   "seed": 3, "f": "relu", "n_latent": 4, "labels": "real", "teacher_width": 2}  # fmt: skip
        return {"none": tiny("fig3_left")} | {name: tiny("fig3_left", **{name: v}) for name, v in changes.items()}
    return some_plan() if which == "some" else experiments.whole_plan("paper")


@pytest.mark.parametrize("which", PLANS)
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_every_draw_is_trained_once_and_in_order(which, where):
    """The groups of a plan hold every draw of every experiment once, the draws of an experiment in order."""
    plan = plan_of(which)
    jobs = [job for group in groups_of_draws(plan, where) for job in group]
    assert sorted(jobs) == sorted((name, draw) for name, e in plan.items() for draw in range(e.n_draws))
    for name, e in plan.items():
        assert [draw for other, draw in jobs if other == name] == list(range(e.n_draws))


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 16])
def test_on_the_processor_experiments_come_one_by_one(threads, monkeypatch):
    """A group is one experiment, with a draw for every pair of cores, and one at least."""
    monkeypatch.setattr(hardware, "threads", lambda: threads)
    plan = {"five": tiny("fig3_left", n_draws=5), "two": tiny("fig3_left", n_draws=2)}
    expected = []
    most = {1: 1, 2: 1, 3: 1, 4: 2, 16: 8}[threads]
    for name, draws in (("five", 5), ("two", 2)):
        expected += [[(name, d) for d in range(start, min(start + most, draws))] for start in range(0, draws, most)]
    assert list(groups_of_draws(plan, "cpu")) == expected


@pytest.mark.parametrize("name", ["fig1_right", "fig3_left", "fig4"])
def test_both_readings_of_the_labels_train_as_one_fleet(name, monkeypatch):
    """Real labels and their signs share inputs, initial weights and samples, and are trained as if alone."""
    monkeypatch.setattr(hardware, "threads", lambda: 2)
    plan = {labels: tiny(name, labels=labels) for labels in ("real", "sign")}
    teacher = random_network(20, 4, rng=np.random.default_rng(5)) if name == "fig4" else None
    assert list(groups_of_draws(plan, "cpu")) == [[("real", draw), ("sign", draw)] for draw in range(2)]
    fleets, of = [], backends.Fleet.of
    monkeypatch.setattr(backends.Fleet, "of", lambda *given: fleets.append(given) or of(*given))
    both = experiments.run_plan(plan, teacher=teacher, progress=False)
    assert len(fleets) == 2 * 2 and {len(set(tasks)) for _, tasks in fleets} == {2}
    for labels, e in plan.items():
        alone = run_experiment(e, teacher=teacher, progress=False)
        assert both[labels].attrs == alone.attrs
        # rounding of single precision, after 3N steps of at most 0.2 each
        np.testing.assert_allclose(both[labels].W, alone.W, rtol=0, atol=1e-4)
    assert not np.allclose(both["real"].W, both["sign"].W, atol=0.01, equal_nan=True)


def shared(e):
    """What runs that are trained together must share: the arguments of `train_fleets` and N."""
    n_inputs = {"digits": e.data, "gaussian": e.n_inputs, "structured": e.n_inputs}[e.inputs]
    n_inputs = "the teacher's" if e.task == "pretrained" else n_inputs
    return n_inputs, e.widths, e.n_pairs, e.time, e.n_times, e.activation, e.n_test, e.n_test_along


@pytest.mark.parametrize("most", [1, 4, 10])
@pytest.mark.parametrize("which", PLANS)
def test_on_a_gpu_experiments_of_one_size_come_together(which, most, monkeypatch):
    """Runs of a group share what they must; those that do come in as few groups as their number allows."""
    monkeypatch.setattr(experiments, "_MOST_DRAWS", most)
    plan = plan_of(which)
    groups = list(groups_of_draws(plan, "cuda"))
    draws = {}
    for e in plan.values():
        draws[shared(e)] = draws.get(shared(e), 0) + e.n_draws
    assert sorted(map(len, groups), reverse=True)[0] <= most
    found = dict.fromkeys(draws, 0)
    for group in groups:
        (size,) = {shared(plan[name]) for name, _ in group}
        found[size] += 1
    assert found == {size: math.ceil(n / most) for size, n in draws.items()}


def test_label_of_the_progress_bar():
    """The bar shows what is trained: the set-up and its layers, the draw where there are several, and how many more."""
    plan = {"a": tiny("fig3_left", n_draws=3), "b": tiny("fig3_left", layers="first"), "one": tiny("fig4", n_draws=1)}
    for jobs, text in (
        ([("a", 1)], "fig3_left both 2/3"),
        ([("one", 0)], "fig4 both"),
        ([("a", 0), ("a", 1)], "fig3_left both"),
        ([("a", 2), ("b", 0), ("b", 1)], "fig3_left both and 1 more"),
    ):
        assert experiments._label(plan, jobs) == text


# ---- scale ----------------------------------------------------------------------------------------------------------


def test_scale_says_what_is_smaller(result):
    """N, time and number of initialisations where they are not the paper's, the paper's numbers in brackets."""
    text = scale_note(result)
    for part in ("N = 20 (784)", "D = 3 (10)", "time = 3 (10000)", "initialisations = 4 (", "P = 60 (76N)"):
        assert part in text
    assert text.endswith("; the paper's in brackets")


@pytest.mark.parametrize(
    ("name", "attrs", "expected"),
    [
        ("fig3_left", {}, "the paper's scale"),
        ("fig2_right_latent", {"layers": "first"}, "the paper's scale"),
        ("fig9_latent", {}, "the paper's scale"),
        ("fig1_right", {"n_latent": 3}, "the paper's scale"),
        ("fig1_left", {"kind": "mnist"}, "the paper's scale"),
        ("fig3_left", {"time": 600}, "time = 600 (10000)"),
        ("fig3_left", {"inits": 1, "draws": 2}, "initialisations = 2 (10)"),
        ("fig3_left", {"n_train": 1000}, "P = 1000 (76N)"),
        ("fig9_latent", {"n_inputs": 100, "n_latent": 50}, "N = 100 (500), D = 50 (250)"),
        ("fig3_left", {"labels": "real", "layers": "first"}, "real labels (sign), layers trained: first (both)"),
        ("fig1_left", {"n_inputs": 64, "n_train": 1347},
         "8×8 digits instead of MNIST; N = 64 (784), P = 1347 (76N)"),
    ],
    ids=str,
)  # fmt: skip
def test_scale_notes(name, attrs, expected):
    """Whatever differs from the set-up is said; a figure with a curve for either layer mode has both."""
    ending = "" if expected == "the paper's scale" else "; the paper's in brackets"
    assert scale_note(at_scale(name, **attrs)) == expected + ending
