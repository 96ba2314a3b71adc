"""The whole paper: what the stored results lack is computed, what they hold is not, and claims are judged on them."""

import json
from dataclasses import replace

import h5py
import pytest
import xarray as xr
from helpers.experiments import counted, tiny
from helpers.notebooks import NOTEBOOKS

from hmm_utils import claims
from hmm_utils.app import running
from hmm_utils.files import DamagedFileWarning
from hmm_utils.runs import archive, experiments, measurements, paper

NAMES = ("fig2_left_iid/first", "fig2_left_iid/both", "fig3_left", "fig3_right", "fig4_pretraining", "fig4")


RUNS = {name: tiny(name, "paper", n_train=60 if "pretraining" in name else None) for name in NAMES}
RUNS["fig4_pretraining"] = replace(RUNS["fig4_pretraining"], n_pairs=1)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The paper, small and without measurements, with folders for its archive and for its cache."""
    monkeypatch.setattr(paper, "plan", lambda: RUNS)
    monkeypatch.setattr(archive, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(paper, "unmeasured", lambda names, folder: {})
    monkeypatch.setenv("HMM_STORE", str(tmp_path / "store"))
    return RUNS, tmp_path / "store", tmp_path / "results"


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A cache with all draws of the small paper, and its results."""
    folder = tmp_path_factory.mktemp("cached")
    return folder, paper.compute(RUNS, folder, folder / "none", progress=False)


@pytest.fixture
def archived(small, cached):
    """The small paper with all its results in the archive, and nothing in the cache."""
    runs, _, folder = small
    assert [place.name for place in paper.write(cached[1], runs, folder)] == ["fig2.nc", "fig3.nc", "fig4.nc"]
    return small


@pytest.fixture
def computed(monkeypatch):
    return counted(monkeypatch)


ALL = {"fig2_left_iid/first": 2, "fig2_left_iid/both": 2, "fig3_left": 2, "fig3_right": 2, "fig4_pretraining": 1,
       "fig4": 2}  # fmt: skip


def test_what_is_stored_is_not_computed(small, cached, computed):
    """From nothing to an archive; then nothing is missing, with and without the cache."""
    runs, store, folder = small
    assert paper.lacking(runs, store, folder) == ALL
    assert paper.lacking(runs, cached[0], folder) == {}, "they are in the cache"
    paper.write(cached[1], runs, folder)
    assert paper.lacking(runs, store, folder) == {}, "they are in the archive"
    again = paper.compute(runs, store, folder, progress=False)
    assert not computed and not store.exists()
    for name in runs:
        xr.testing.assert_equal(again[name], cached[1][name].drop_vars({"W", "v"} - set(again[name].data_vars)))
    assert paper.write(again, runs, folder) == [], "nothing is new"


def test_only_what_is_missing_is_computed(archived, computed):
    """A figure that was deleted is computed and written again, and no other."""
    runs, store, folder = archived
    (folder / "fig3.nc").unlink()
    assert paper.lacking(runs, store, folder) == {"fig3_left": 2, "fig3_right": 2}
    found = paper.compute(runs, store, folder, progress=False)
    assert {name for name, _ in computed} == {"fig3_left", "fig3_right"}
    assert [place.name for place in paper.write(found, runs, folder)] == ["fig3.nc"]


def test_without_its_teacher_a_figure_is_missing(archived):
    """The keys of what a trained network teaches are not known before that network is."""
    runs, store, folder = archived
    (folder / "fig4.nc").unlink()
    assert paper.lacking(runs, store, folder) == {"fig4_pretraining": 1, "fig4": 2}


def test_a_part_of_a_figure_does_not_replace_its_file(small, cached):
    """One of the two plots of Fig. 3, or a run with another parameter, is no reason to write the figure's file."""
    runs, _, folder = small
    part = {"fig3_left": runs["fig3_left"]}
    assert paper.write(cached[1], part, folder) == []
    other = {name: replace(runs[name], lr=0.1) for name in ("fig3_left", "fig3_right")}
    assert paper.write(cached[1], other, folder) == []
    assert not folder.exists()


def test_sweeps_that_notebooks_ask_for():
    """Notebooks that share a run share a sweep, unless they mean different things by its name."""
    x, y, z = (tiny("fig3_left", n_latent=D) for D in (1, 2, 3))
    a, b, c = {"x": x, "y": y}, {"y": y, "z": z}, {"x": z}
    assert paper.asked_for([a, b], as_stated=False) == [a | b]
    assert paper.asked_for([a, c], as_stated=False) == [a, c]


def test_what_belongs_to_a_plan():
    """Longer runs and the scan around a set-up, unless a value was changed; together all that is stored."""
    plans = [experiments.plan(setups, "paper") for setups in (["fig1_left", "fig1_right"], ["fig2_left_iid"])]
    (stated,) = paper.asked_for(plans)
    assert set(stated) == {"fig1_right/longer"}.union(*plans)
    (changed,) = paper.asked_for(plans, as_stated=False)
    assert set(changed) == set().union(*plans)
    (all_runs,) = paper.asked_for([experiments.plan(about.setups, "paper") for about in NOTEBOOKS.values()])
    assert set(all_runs) == set(paper.plan()) | {"vanilla"}


def test_a_missing_run_is_named(archived):
    _, _, folder = archived
    (folder / "fig2.nc").unlink()
    with pytest.raises(FileNotFoundError, match=r"results lacks 2 of 6 runs, fig2_left_iid/first for one: compute"):
        paper.stored_runs(folder)


def test_claims_are_judged_in_their_order(archived):
    """All claims, by number, on the stored results; those whose runs are not there are undecided."""
    judgements = claims.judge_stored(archived[2])
    assert [j.claim for j in judgements] == [claim.number for claim in claims.CLAIMS]
    found = {j.claim: j for j in judgements}
    assert "N = 20 (784)" in found["C9"].scale and found["C9"].values
    assert found["C1"].verdict == "not enough data" and "no results of fig1_left" in found["C1"].measured


# ---- the command line ------------------------------------------------------------------------------------------------


def test_dry_run(small, cached, hmm, monkeypatch):
    """It says what would be computed, draw by draw, computes nothing, and reads each file once."""
    runs, store, folder = small
    monkeypatch.setattr(experiments, "plan", lambda setups, *_, **__: runs if "fig4" in setups else {})
    code, out, err = hmm("run", "all", "--profile", "paper", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [*(f"{name}: {n} of {n} draws" for name, n in ALL.items()), "11 draws to compute."]
    assert not store.exists() and not folder.exists()
    paper.write(cached[1], runs, folder)
    read = []

    def watched(function):
        return lambda path, *given, **how: read.append((path.name, *given)) or function(path, *given, **how)

    for name in ("_groups", "read_dataset"):
        monkeypatch.setattr(archive, name, watched(getattr(archive, name)))
    assert hmm("run", "all", "--profile", "paper", "--dry-run")[1] == "Nothing to compute: all 6 runs are stored.\n"
    assert read == [("fig2.nc",), ("fig3.nc",), ("fig4.nc",), ("fig4.nc", "fig4_pretraining")]


def test_a_damaged_figure_is_found_by_a_dry_run(archived):
    """One wrong bit: the file is set aside, and its draws are counted."""
    runs, store, folder = archived
    place = folder / "fig3.nc"
    with h5py.File(place) as file:
        chunk = file["fig3_left/eps_g_mse"].id.get_chunk_info(0)
    content = bytearray(place.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    place.write_bytes(content)
    with pytest.warns(DamagedFileWarning, match=r"^fig3\.nc cannot be read"):
        assert paper.lacking(runs, store, folder) == {"fig3_left": 2, "fig3_right": 2}


def test_dry_run_counts_what_is_no_run(small, hmm, monkeypatch):
    runs, _, _ = small
    monkeypatch.setattr(experiments, "plan", lambda *_, **__: {"fig3_left": runs["fig3_left"]})
    monkeypatch.setattr(paper, "unmeasured", lambda names, folder: {name: 1 for name in names})
    out = hmm("run", "00", "--profile", "paper", "--dry-run")[1]
    assert out.splitlines() == ["fig3_left: 2 of 2 draws", "intrinsic_dimension: 1 to measure", "3 draws to compute."]


def test_what_is_not_measured_is_counted(tmp_path):
    """All parts of the measurements that are asked for where there is nothing; none of those in the archive."""
    names = [name for about in NOTEBOOKS.values() for name in about.measurements]
    everything = {"intrinsic_dimension": 1, "t1": len(measurements.missing("t1", "paper", tmp_path)), "t2": 1}
    assert paper.unmeasured(names, tmp_path) == everything
    assert paper.unmeasured(["intrinsic_dimension"], tmp_path) == {"intrinsic_dimension": 1}
    assert paper.unmeasured(names, archive.FOLDER) == {}


def test_dry_run_of_what_is_not_stored(hmm, tmp_path):
    """It needs no leave to replace what it does not touch."""
    (tmp_path / "02_plateaus.ipynb").touch()
    code, out, err = hmm("run", "02", "--dry-run", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "02_plateaus: fig2_left_iid/first" and out.endswith("in the notebooks.\n")


def test_a_cluster_is_for_what_is_stored(hmm, tmp_path):
    code, out, err = hmm("run", "02", "--scheduler", "tcp://127.0.0.1:1", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith("hmm: --scheduler is for runs that are stored") and err.count("\n") == 1


def test_a_run_computes_what_is_missing_before_its_notebooks(archived, hmm, monkeypatch, tmp_path, computed):
    """What the notebooks will read is computed and written first."""
    runs, _, folder = archived
    (folder / "fig3.nc").unlink()
    monkeypatch.setattr(experiments, "plan", lambda *_, **__: runs)
    monkeypatch.setattr(running, "run", lambda *_: [] if (folder / "fig3.nc").exists() else pytest.fail("too early"))
    code, out, _ = hmm("run", "03", "--profile", "paper", "--out", tmp_path / "out")
    assert code == 0 and len(computed) == 4
    assert [line for line in out.splitlines() if line.endswith("is new.")] == [f"{folder / 'fig3.nc'} is new."]


@pytest.mark.parametrize("error", [OSError("No space left on device."), RuntimeError("a worker died.")], ids=repr)
def test_a_sweep_that_stops_runs_no_notebook(small, hmm, monkeypatch, tmp_path, error):
    """One sentence, exit code 1, and nothing is executed."""

    def stops(*_, **__):
        raise error

    monkeypatch.setattr(experiments, "plan", lambda *_, **__: small[0])
    monkeypatch.setattr(paper, "compute", stops)
    monkeypatch.setattr(running, "run", lambda *_: pytest.fail("notebooks were run"))
    assert hmm("run", "03", "--profile", "paper", "--out", tmp_path / "out") == (1, "", f"hmm: {error}\n")


def test_results_are_listed(archived, hmm):
    """A row for each stored run, and what is missing; the same for programs."""
    for name in ("fig2.nc", "fig4.nc"):
        (archived[2] / name).unlink()
    code, out, err = hmm("results")
    assert (code, err) == (0, "")
    head, *rows, last = out.splitlines()
    assert head.split() == ["figure", "run", "draws", "engine", "age", "complete", "scale"]
    assert [row.split()[3] for row in rows] == ["fig3_left", "fig3_right"]
    assert all("  yes  " in row and "N = 20 (784)" in row for row in rows)
    assert last.startswith("Missing: fig2_left_iid/first, fig2_left_iid/both, fig4_pretraining, fig4. `hmm run")
    listed = json.loads(hmm("results", "--json")[1])
    assert [row["name"] for row in listed["stored"]] == ["fig3_left", "fig3_right"] and len(listed["missing"]) == 4


def test_claims_of_the_stored_results(archived, hmm, tmp_path):
    """The table, its JSON, and the check: exit code 1 where a verdict is not the expected one, or without results."""
    assert "C9" in hmm("claims")[1]
    found = json.loads(hmm("claims", "--json")[1], parse_constant=pytest.fail)
    expected = tmp_path / "expected.json"
    expected.write_text(json.dumps(found))
    assert hmm("claims", "--check", expected)[0] == 0
    found[0]["verdict"] = "holds"
    expected.write_text(json.dumps(found))
    code, out, _ = hmm("claims", "--check", expected)
    assert code == 1 and 'C1 (01_independent_students): "not enough data"' in out
    for place in archived[2].iterdir():
        place.unlink()
    code, out, err = hmm("claims")
    assert (code, out) == (1, "")
    assert "lacks 6 of 6 runs" in err and err.count("\n") == 1
