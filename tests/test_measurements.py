"""hmm_utils.runs.measurements: what is stored, read and computed; the stored results, and what they were drawn from."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray as xr

from hmm_utils.data import mnist
from hmm_utils.files import DamagedFileWarning
from hmm_utils.model import nonlinearities
from hmm_utils.runs import archive, comparison, deep, dimension, experiments, measurements, seeds
from hmm_utils.runs.measurements import MEASUREMENTS, configuration, load, measure, missing
from hmm_utils.theory.online import predictions

CASE = dict(f="sgn", n_inputs=40, n_latent=4, time=1.0, students=[[1, "first", 0.2]])
VALUES = {
    "intrinsic_dimension": dict(n_images=60, n_subsamples=2, neighbours=[2, 4]),
    "t1": dict(
        teacher_width=1, n_simulations=2, n_times=3, n_predicted=2, n_plateaus=3, cases=[CASE, CASE | {"f": "erf"}],
    ),
    "t2": dict(
        n_inputs=24, n_latent=6, hidden=[8], channels=[2], stride=7, few=2, n_samples=200, n_fields=200, n_test=50,
        n_starts=2, n_simulations=2, width=2, teacher_width=1, lr=0.2, time=100.0, n_times=5,
    ),
}  # fmt: skip
PARTS = {
    "intrinsic_dimension": ["intrinsic_dimension"],
    "t1": ["t1/x", "t1/simulation/sgn_N40_D4", "t1/simulation/erf_N40_D4"],
    "t2": ["t2"],
}


@pytest.fixture
def tiny(monkeypatch):
    """Profiles with tiny values, numbers that depend on the seed alone as results, and a list of what is computed."""
    computed = []

    def result(what, seed):
        computed.append(what)
        return xr.Dataset({"x": ("n", [seed / 3])}, attrs={"notice": "8×8 digits stand in", "n_inputs": 64})

    monkeypatch.setattr(dimension, "measure", lambda c, progress: result("dimension", c.seed))
    monkeypatch.setattr(deep, "measure", lambda c, progress: result("deep", c.seed))
    monkeypatch.setattr(comparison, "compare", lambda case, seed, **how: result(case.f, seed))
    monkeypatch.setattr(predictions, "PREDICTIONS", {"x": lambda n_draws, seed: result("x", seed)})
    monkeypatch.setattr(mnist, "is_available", lambda: False)
    profiles = {"paper": {"archived": True} | VALUES, "quick": dict(VALUES)}
    table = json.loads(json.dumps({"defaults": {"data": "auto", "seed": 1}, "profiles": profiles}))
    monkeypatch.setattr(experiments, "settings", lambda: table)
    return table, computed


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_stored_results_are_read_again(tiny, tmp_path, name):
    """All parts go to one file and are read from it, equal to single precision, with their provenance."""
    _, computed = tiny
    assert load(name, "paper", tmp_path) == {} and missing(name, "paper", tmp_path) == PARTS[name]
    first = measure(name, "paper", tmp_path)
    n = len(computed)
    assert missing(name, "paper", tmp_path) == [] and [p.name for p in tmp_path.iterdir()] == [f"{name}.nc"]
    again = measure(name, "paper", tmp_path)
    assert len(computed) == n == len(PARTS[name]) and list(first) == list(again) == PARTS[name]
    for key, result in first.items():
        xr.testing.assert_allclose(result.drop_attrs(), again[key].drop_attrs(), rtol=1e-6)
        assert again[key]["x"].dtype == np.float32
        assert again[key].attrs.keys() == result.attrs.keys() >= {"configuration", "versions", "commit", "date"}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_other_values_are_not_stored(tiny, tmp_path, name):
    """The quick profile, and values other than the profile's, are computed and neither read nor written."""
    measure(name, "paper", tmp_path)
    before = (tmp_path / f"{name}.nc").read_bytes()
    measure(name, "quick", tmp_path)
    for result in measure(name, "paper", tmp_path, seed=2).values():
        assert result["x"].item() == 2 / 3 and json.loads(result.attrs["configuration"])["seed"] == 2
    assert (tmp_path / f"{name}.nc").read_bytes() == before


@pytest.mark.parametrize("change", ["configuration", "version", "damage"])
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_outdated_results_are_computed_again(tiny, tmp_path, monkeypatch, name, change):
    """Of another configuration or version, or in a file that cannot be read, which is set aside with a warning."""
    table, computed = tiny
    measure(name, "paper", tmp_path)
    del computed[:]
    place, values = tmp_path / f"{name}.nc", table["profiles"]["paper"][name]
    if change == "configuration":
        # of a case whose time changed, that alone
        changed = values["cases"][1] if name == "t1" else values
        changed |= {"time": 2.0} if name != "intrinsic_dimension" else {"n_images": 61}
    elif change == "version":
        other = replace(MEASUREMENTS[name], version=MEASUREMENTS[name].version + 1)
        monkeypatch.setattr(measurements, "MEASUREMENTS", MEASUREMENTS | {name: other})
    else:
        place.write_bytes(place.read_bytes()[:200])
        with pytest.warns(DamagedFileWarning, match=rf"{name}\.nc cannot be read .* computed again"):
            assert load(name, "paper", tmp_path) == {}
        assert (tmp_path / f"{name}.nc.damaged-0").exists()
    outdated = PARTS[name][-1:] if change == "configuration" else PARTS[name]
    assert missing(name, "paper", tmp_path) == outdated
    measure(name, "paper", tmp_path)
    assert len(computed) == len(outdated) and missing(name, "paper", tmp_path) == []


def test_small_digits_stand_in_only_while_mnist_is_missing(tiny, tmp_path, monkeypatch):
    """A result of the 8×8 digits is outdated once MNIST is available, unless they were chosen (then without notice)."""
    measure("intrinsic_dimension", "paper", tmp_path)
    monkeypatch.setattr(mnist, "is_available", lambda: True)
    assert missing("intrinsic_dimension", "paper", tmp_path) == ["intrinsic_dimension"]
    chosen = xr.Dataset(attrs={"notice": "", "n_inputs": 64})
    assert not dimension.outdated(configuration("intrinsic_dimension", "paper", data="digits"), chosen)


@pytest.mark.parametrize(
    ("name", "profile", "values", "sentence"),
    [
        ("t2", "slow", {}, "unknown profile 'slow': choose one of quick, paper"),
        ("intrinsic_dimension", "quick", {"n_image": 3}, "unknown parameter 'n_image': choose one of data, n_images"),
        ("intrinsic_dimension", "quick", {"n_images": 0}, "n_images = 0: give a whole number of at least 1"),
        ("intrinsic_dimension", "quick", {"n_subsamples": -1}, "n_subsamples = -1: give a whole number"),
        ("t1", "paper", {"n_simulations": 1}, "n_simulations = 1: give a whole number of at least 2"),
        ("t1", "quick", {"cases": [CASE | {"n_simulations": 1}]}, "n_simulations = 1: give a whole number"),
        ("t1", "quick", {"cases": [CASE | {"f": "cube"}]}, "f = 'cube': choose one of"),
        ("t1", "quick", {"cases": [CASE | {"n_latent": 0}]}, "n_latent = 0: give a whole number"),
        ("t1", "quick", {"cases": [CASE | {"time": 0.01}]}, r"time = 0.01: give more than 0\.05"),
        ("t1", "quick", {"cases": [CASE | {"students": []}]}, r"students = \[\]: give at least one"),
        ("t1", "quick", {"cases": [CASE | {"students": [[2, "second", 0.2]]}]}, "layers = 'second': choose one of"),
        ("t2", "quick", {"n_starts": 0}, "n_starts = 0: give a whole number of at least 1"),
        ("t2", "quick", {"hidden": (5, 0)}, "hidden = 0: give a whole number"),
        ("t2", "quick", {"hidden": (5, 2.5)}, "hidden = 2.5: give a whole number"),
        ("t2", "quick", {"time": float("nan")}, "time = nan: give a positive"),
        ("t2", "quick", {"lr": -1.0}, "lr = -1.0: give a positive"),
    ],
)  # fmt: skip
def test_impossible_configurations(name, profile, values, sentence):
    with pytest.raises(ValueError, match=sentence):
        configuration(name, profile, **values)


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_profiles(profile):
    """Both profiles are complete; own values replace theirs, None does not."""
    c = configuration("intrinsic_dimension", profile)
    assert set(dimension.USUAL.values()) <= set(c.neighbours) and (c.data, c.seed) == ("auto", 1)
    assert c.n_images * c.n_subsamples <= 60_000 and 10 * max(c.neighbours) <= c.n_images
    c = configuration("t1", profile)
    assert len(comparison.parts(c)) == len(predictions.PREDICTIONS) + len(c.cases), "no two parts have one name"
    c = configuration("t2", profile, seed=7, lr=None)
    assert c.times[0] == 0 and c.times[-1] == pytest.approx(c.time) and len(c.times) == c.n_times
    assert c.n_simulations >= 5 and (c.width, c.teacher_width, c.lr, c.seed) == (2, 2, 0.2, 7)


def test_draws_and_simulations_of_each_part():
    """Plateaus have draws of their own, and a case may have simulations of its own; both decide what is stored."""
    cases = [CASE, CASE | {"f": "erf", "n_simulations": 7}]
    c = configuration("t1", "quick", n_simulations=3, n_predicted=4, n_plateaus=5, cases=cases)
    parts = comparison.parts(c)
    draws = {name: decides["n_draws"] for name, (decides, _) in parts.items() if name in predictions.PREDICTIONS}
    assert draws == {"error_against_delta": 4, "error_against_width": 4, "plateaus": 5}
    simulations = {name: decides["n_simulations"] for name, (decides, _) in parts.items() if name not in draws}
    assert simulations == {"simulation/sgn_N40_D4": 3, "simulation/erf_N40_D4": 7}
    for decides, compute in parts.values():
        assert all(decides[name] == value for name, value in compute.keywords.items())


# ---- the stored results ------------------------------------------------------------------------------------------


def groups(place):
    """Names of the groups of a file that say by which configuration they were computed; of the file itself: ""."""
    with h5py.File(place) as file:
        found = [""] if "configuration" in file.attrs else []
        file.visititems(lambda name, item: found.append(name) if "configuration" in item.attrs else None)
        outside = [name for name in file if isinstance(file[name], h5py.Dataset)] if found != [""] else []
    assert outside == [], "all numbers belong to a part"
    return sorted(found)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_stored_results_are_those_of_the_paper_profile(name):
    """Every part of the plan is stored, nothing else is, and each says from which commit."""
    found = load(name, "paper", archive.FOLDER)
    assert missing(name, "paper", archive.FOLDER) == [] and len(found) > 0
    assert groups(archive.FOLDER / f"{name}.nc") == sorted(key.removeprefix(name).removeprefix("/") for key in found)
    assert all(result.attrs["commit"] and result.attrs["date"] for result in found.values())
    assert all(np.isfinite(result[of]).any() for result in found.values() for of in result.data_vars)


@pytest.mark.parametrize("part", ["scaling/sgn_N500_D50", "simulation/relu_N4000_D400", "simulation/erf_N4000_D400"])
def test_a_stored_simulation_is_drawn_again(part):
    """The first six times of one simulation: its weights, features and samples are those that are stored.

    Stored in single precision; training itself rounds Q and R, of order 1, by some 1e-6.
    """
    c = configuration("t1", "paper")
    stored = load("t1", "paper", archive.FOLDER)[f"t1/{part}"].isel(draw=0, time=slice(6))
    case = replace(next(case for case in c.cases if case.name == part), time=float(stored["time"][-1]), n_draws=1)
    again = comparison.compare(case, teacher_width=c.teacher_width, n_simulations=1, n_times=6, seed=c.seed)
    for name in ("Q", "R", "eps_g"):
        first = stored[name].isel(simulation=0)
        np.testing.assert_allclose(again[name].isel(draw=0, simulation=0).transpose(*first.dims), first, atol=1e-5)


@pytest.mark.parametrize("name", ["sgn, one layer", "decoder", "f even"])
def test_stored_starts_of_generators_are_drawn_again(name):
    """ε_g on test inputs before training: generator, teacher, student and test inputs are those that are stored.

    The mean of 2000 samples is taken off here, not of 100 000: each of N ≈ 1000 inputs is shifted by 1/√2000 of its
    own, which changes ε_g by about 1/2000. Another draw's differs by a per cent at least.
    """
    few = dict(n_samples=2000, n_starts=1, n_simulations=1, n_fields=10, time=4.0, n_times=3)
    c = replace(configuration("t2", "paper"), **few)
    case, moments = deep.with_moments(c, name)
    again = deep.compare(case, moments, c, rng=deep._rngs(c, name, "student")[0])
    stored = load("t2", "paper", archive.FOLDER)["t2"].sel(generator=name)
    first, *others = stored["eps_g_test_mse"].isel(simulation=0, time=0) / again["eps_g_test_mse"].values[0, 0, 0] - 1
    assert abs(first) < 1e-3 and min(map(abs, others)) > 0.01


def test_stored_predictions_are_drawn_again():
    """The first student of the first draw, of each prediction that is drawn."""
    stored, how = load("t1", "paper", archive.FOLDER), dict(n_draws=1, seed=configuration("t1", "paper").seed)
    width = predictions.error_against_width(**how, widths=(1,))["eps_g"][0, 0, 0]
    np.testing.assert_allclose(width, stored["t1/error_against_width"]["eps_g"][0, 0, 0], rtol=1e-5)
    curve = predictions.plateaus(**how, tasks=(("iid", 0),))["eps_g"][0, 0, 0]
    np.testing.assert_allclose(curve, stored["t1/plateaus"]["eps_g"][0, 0, 0], rtol=1e-4)


def test_draws_do_not_depend_on_the_order_of_tables(monkeypatch):
    """Non-linearities and generators in another order, and a new one first, leave all seeds as they are."""
    case = comparison.Case(**CASE | {"f": "erf", "students": ((1, "first", 0.2),)})
    how = dict(teacher_width=1, n_simulations=1, n_times=3, seed=1)
    c = configuration("t2", "quick")
    before = comparison.compare(case, **how), [deep._rngs(c, name, "generator")[0].random() for name in deep.CASES]
    names = list(deep.CASES)
    for module, table in ((nonlinearities, "NONLINEARITIES"), (comparison, "NONLINEARITIES"), (deep, "CASES")):
        turned = {"new": None} | dict(reversed(getattr(module, table).items()))
        monkeypatch.setattr(module, table, turned)
    after = comparison.compare(case, **how), [deep._rngs(c, name, "generator")[0].random() for name in names]
    xr.testing.assert_identical(before[0].drop_attrs(), after[0].drop_attrs())
    assert before[1] == after[1]
    assert seeds.word("new", seeds.CASES) not in seeds.CASES.values()
