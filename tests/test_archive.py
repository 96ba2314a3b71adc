"""Stored figures: what is written is read, found by its content, and never computed again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import h5py
import numpy as np
import pytest
import xarray as xr
from helpers.experiments import counted, run_cached, tiny_plan

from hmm_utils.data import mnist
from hmm_utils.files import DamagedFileWarning
from hmm_utils.model import networks
from hmm_utils.runs import archive, experiments, paper, sweep
from hmm_utils.sgd import block, training


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A plan of two figures, its results, and the folder of its store."""
    folder = tmp_path_factory.mktemp("store")
    plan = tiny_plan("fig3_left", "fig2_left_iid/both", "fig3_right")
    return plan, run_cached(plan, folder), folder


def test_a_figure_is_one_file_and_a_run_one_group(swept, tmp_path):
    """What is read is what was written, but for the weights, in compressed single precision with labelled axes."""
    plan, found, _ = swept
    assert [path.name for path in archive.save(tmp_path, plan, found)] == ["fig2.nc", "fig3.nc"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig2.nc", "fig3.nc"]
    for name, expected in found.items():
        read = archive.load(tmp_path, name, plan[name])
        xr.testing.assert_equal(read, expected.drop_vars(["W", "v"]))
        assert {k: v for k, v in read.attrs.items()} == expected.attrs
        assert {v.dtype for v in read.data_vars.values()} == {np.dtype("f4")}
        assert all(v.encoding["zlib"] and v.encoding["fletcher32"] for v in read.data_vars.values())
        assert {"draw", "init", "student", "width", "time", "inputs"} == set(read.dims)
    with h5py.File(tmp_path / "fig3.nc") as file:
        kinds = {item.dtype.kind for group in file.values() for item in group.values()}
    assert kinds <= set("ifOS"), "no opaque objects"
    assert archive.load(tmp_path, "fig3_middle", plan["fig3_left"]) is None
    assert archive.load(tmp_path / "nowhere", "fig3_left", plan["fig3_left"]) is None


def test_stored_figures_are_not_computed_again(swept, tmp_path, monkeypatch):
    """With the figures' files and an empty store a sweep reads everything, and only what they lack is computed."""
    plan, found, _ = swept
    archive.save(tmp_path, plan, found)
    computed = counted(monkeypatch)
    read = run_cached(plan, tmp_path / "store", archive_folder=tmp_path)
    assert not computed and not (tmp_path / "store").exists()
    for name in plan:
        xr.testing.assert_equal(read[name], found[name].drop_vars(["W", "v"]))
        assert read[name].attrs == found[name].attrs
    more = plan | tiny_plan("fig3_left", n_draws=3)
    again = run_cached(more, tmp_path / "store", archive_folder=tmp_path)
    assert computed == [("fig3_left", 2)]
    # a result of stored draws and a new one has what both have
    assert again["fig3_left"].sizes["draw"] == 3 and "W" not in again["fig3_left"]
    monkeypatch.setattr(block, "VERSION", block.VERSION + 1)
    computed.clear()
    run_cached(tiny_plan("fig3_left"), tmp_path / "store", archive_folder=tmp_path)
    assert computed == [("fig3_left", 0), ("fig3_left", 1)], "another version of the engine"


def test_the_network_that_teaches_keeps_its_weights(tmp_path):
    """Fig. 4's teacher can be had from the stored figure, and is the one that was trained."""
    plan = tiny_plan("fig4_pretraining", n_train=60, teacher_width=2)
    found = run_cached(plan, tmp_path / "store")
    archive.save(tmp_path, plan, found)
    read = archive.load(tmp_path, "fig4_pretraining", plan["fig4_pretraining"])
    ours, stored = (archive.pretrained_teacher(result) for result in (found["fig4_pretraining"], read))
    assert isinstance(stored, networks.Network)
    np.testing.assert_array_equal(ours.W, stored.W)
    np.testing.assert_array_equal(ours.v, stored.v)


def test_one_pair_of_students_of_the_digits_can_be_looked_at(tmp_path):
    """Its weights are those that were trained; the others, which would fill the file, are NaN."""
    plan = tiny_plan("fig1_left", n_train=60)
    found = run_cached(plan, tmp_path / "store")
    archive.save(tmp_path, plan, found)
    read = archive.load(tmp_path, "fig1_left", plan["fig1_left"])
    for w in ("W", "v"):
        np.testing.assert_array_equal(read[w].isel(draw=0, init=0), found["fig1_left"][w].isel(draw=0, init=0))
        assert read[w].isel(init=1).isnull().all()


@pytest.mark.parametrize("damage", ["cut", "not netCDF"])
def test_a_damaged_figure_is_set_aside(swept, damage, tmp_path):
    """It is named and renamed, its runs count as not stored, and the other figures are still read."""
    plan, found, store = swept
    archive.save(tmp_path, plan, found)
    place = tmp_path / "fig3.nc"
    held = place.read_bytes()
    place.write_bytes(held[: len(held) // 2] if damage == "cut" else b"x" * 3000)
    assert {path.name for path, _, _ in archive.keys(tmp_path).values()} == {"fig2.nc"}
    with pytest.warns(DamagedFileWarning, match=r"^fig3\.nc cannot be read .* renamed to fig3\.nc\.damaged-0"):
        assert archive.load(tmp_path, "fig3_left", plan["fig3_left"]) is None
    assert archive.load(tmp_path, "fig2_left_iid/both", plan["fig2_left_iid/both"]) is not None
    assert run_cached(plan, store, archive_folder=tmp_path)["fig3_left"].sizes["draw"] == 2


def test_a_figure_that_cannot_be_written_stays_as_it_was(swept, tmp_path, monkeypatch):
    """On a full disk the old file survives and nothing half is left."""
    plan, found, _ = swept
    archive.save(tmp_path, plan, found)
    held = (tmp_path / "fig3.nc").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="No space left"):
        archive.save(tmp_path, plan, found)
    assert (tmp_path / "fig3.nc").read_bytes() == held and len(list(tmp_path.iterdir())) == 2


def test_what_is_stored_is_listed(swept, tmp_path):
    """Figures in their order, with scale, draws, age, version, and whether they are complete."""
    plan, found, _ = swept
    yesterday = (datetime.now(UTC) - timedelta(days=1, hours=1)).isoformat(timespec="seconds")
    found = found | {"fig3_right": found["fig3_right"].assign_attrs(date=yesterday)}
    archive.save(tmp_path, plan, found)
    rows = list(archive.list_runs(tmp_path, plan | {"fig3_right": replace(plan["fig3_right"], n_draws=3)}))
    assert [(row.figure, row.name) for row in rows] == [
        ("Fig. 2 left", "fig2_left_iid/both"), ("Fig. 3 left", "fig3_left"), ("Fig. 3 right", "fig3_right"),
    ]  # fmt: skip
    assert [row.age for row in rows] == ["today", "today", "1 day"]
    for row in rows:
        assert (row.draws, row.engine, row.complete) == (2, block.VERSION, row.name != "fig3_right")
        assert "N = 20 (784)" in row.scale and row.seconds >= 0


def test_only_figures_are_stored(swept, tmp_path):
    _, found, _ = swept
    with pytest.raises(ValueError, match=r"vanilla belongs to Sec\. 2\.1, which is no figure"):
        archive.save(tmp_path, tiny_plan("vanilla"), {"vanilla": found["fig3_left"]})


STALE = {"n_test": 51, "n_test_along": 9, "n_times": 6, "time": 5.0, "lr": 0.1, "seed": 9, "n_draws": 1, "widths": (1,)}


@pytest.mark.parametrize("name", STALE)
def test_stale_results_are_not_complete(swept, tmp_path, name):
    """Results that were stored with another value than is planned, whatever it is."""
    plan, found, _ = swept
    archive.save(tmp_path, plan, found)
    assert archive.examine(tmp_path, plan).n_runs == 3
    other = plan | {"fig3_left": replace(plan["fig3_left"], **{name: STALE[name]})}
    state = archive.examine(tmp_path, other)
    assert (state.n_runs, state.missing, state.incomplete, state.damaged) == (2, (), ("fig3_left",), ())
    assert [row.name for row in archive.list_runs(tmp_path, other) if not row.complete] == ["fig3_left"]


def test_a_file_that_cannot_be_listed_is_set_aside(swept, tmp_path):
    plan, found, _ = swept
    archive.save(tmp_path, plan, found)
    damaged = bytearray((tmp_path / "fig2.nc").read_bytes())
    with h5py.File(tmp_path / "fig2.nc") as file:
        at = file["fig2_left_iid, both/eps_g_mse"].id.get_chunk_info(0).byte_offset
    damaged[at] ^= 1
    (tmp_path / "fig2.nc").write_bytes(damaged)
    with pytest.warns(DamagedFileWarning, match=r"^fig2\.nc cannot be read"):
        rows = list(archive.list_runs(tmp_path, plan))
    assert [row.name for row in rows] == ["fig3_left", "fig3_right"]


# ---- The project's own archive ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher():
    e = paper.plan()["fig4_pretraining"]
    return archive.pretrained_teacher(archive.load(archive.FOLDER, e.name, e))


def test_the_archive_holds_the_planned_draws_and_nothing_else(teacher, tmp_path):
    """A changed value of the paper's profile or of a set-up, a field's default, or a text in the keys, is seen here."""
    stored = archive.keys(archive.FOLDER)
    assert {unit.key for unit in sweep.units(paper.plan(), tmp_path, teacher, stored)} == set(stored)
    state = archive.examine(archive.FOLDER, paper.plan())
    assert (state.n_runs, state.missing, state.incomplete, state.damaged) == (len(paper.plan()), (), (), ())
    listed = {row.name: row.figure for row in archive.list_runs(archive.FOLDER, paper.plan())}
    assert listed == {name: e.figure for name, e in paper.plan().items()}
    assert sum(place.stat().st_size for place in archive.FOLDER.glob("*.nc")) < 25e6, "they are in the repository"


def test_a_damaged_file_costs_only_its_own_runs(tmp_path):
    """Fig. 4, whose keys need its teacher, still counts as stored when another file is damaged."""
    for place in archive.FOLDER.glob("*.nc"):
        (tmp_path / place.name).symlink_to(place)
    for name in ("fig1.nc", "t2.nc"):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(b"no netCDF")
    state = archive.examine(tmp_path, paper.plan())
    lost = sum(archive.figure_file(e) == "fig1.nc" for e in paper.plan().values())
    assert (state.n_runs, state.missing, state.incomplete) == (len(paper.plan()) - lost, (), ())
    assert state.damaged == ("fig1.nc", "t2.nc")


KINDS = (
    "fig1_left", "fig1_right", "fig1_right_signs", "fig2_right_latent/first", "fig3_left", "fig4", "fig5_latent",
    "fig10_latent",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_stored_draws_are_those_that_are_trained_today(name, teacher):
    """One pair of the first draw, trained to an early time with the data, weights and samples of the stored run.

    Errors differ by roundings, 1e-7, and by single samples of 10 000 whose sign they decide.
    """
    e, early = paper.plan()[name], 6
    if e.inputs == "digits" and not mnist.is_available():
        pytest.skip("MNIST is not on this machine")
    times = training.evaluation_times(e.time, e.n_times)
    # at the last time, errors are measured with more test inputs
    short = replace(e, time=times[early], n_times=early + 1, widths=e.widths[:2][-1:], n_pairs=1, n_draws=1)
    result = experiments.run_experiment(
        short, teacher=teacher if e.task == "pretrained" else None, progress=False
    ).isel(time=slice(early))  # fmt: skip
    stored = archive.load(archive.FOLDER, name, e)
    assert stored.attrs["n_pairs"] == e.n_pairs, "the file still has the old name"
    stored = stored.sel(width=result["width"]).isel(draw=[0], init=[0], time=slice(early))
    np.testing.assert_allclose(stored["time"], result["time"])
    for error in ("eps_g_mse", "eps_g_frac", "eps_12_mse", "eps_12_frac"):
        difference = abs(stored[error] - result[error].assign_coords(time=stored["time"]))
        assert difference.size and float(difference.max()) < 5e-4, error
