"""From results to judgements: what the scale of runs adds to a verdict, tables and files."""

import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.claims import (
    BY_NUMBER,
    FAILS,
    HOLDS,
    TEACHER,
    UNDECIDED,
    falls,
    find,
    floor,
    generated,
    grows,
    made,
    measured,
    plateau,
    results,
    trained,
)

from hmm_utils.app import __main__ as main_module
from hmm_utils.claims import Judgement, Judgements, Value, judge, save
from hmm_utils.runs import deep, dimension, experiments

GOOD = {
    "fig1_left": {"eps_g": falls, "on_test": falls, "on_gauss": grows},
    "fig1_right": TEACHER,
    "fig1_right_signs": TEACHER,
    "fig3_left": {"on_gauss": grows},
    "fig3_right": TEACHER,
    "fig2_right_teacher": {"mse": plateau},
    "fig2_right_latent": {"mse": floor},
    "fig9_latent": {"eps_g": lambda K, t: 0.2 + 0.03 * np.log(K) - 0.01 * np.log(K) * (t < t[-1])},
    "fig9_teacher": TEACHER,
}


@pytest.fixture(scope="module")
def first_notebook():
    """The judgements on made-up results of notebook 01, smaller than the paper's."""
    smaller = {"n_inputs": 50, "time": 500, "n_pairs": 3, "n_draws": 2}
    plan = experiments.plan(["fig1_left", "fig1_right", "fig1_right_signs"], "paper", smaller)
    return judge("01_independent_students", {name: made(e, **GOOD[name]) for name, e in plan.items()})


def judged(number, laws=None, **overrides):
    """The judgement of one claim by `judge`, beside those that lack their results."""
    found = judge(BY_NUMBER[number].notebook, results(number, GOOD | (laws or {}), **overrides))
    (one,) = (j for j in found if j.claim == number)
    return one


def test_judge_gives_a_notebooks_claims(first_notebook):
    """`judge` judges all claims of a notebook and no others, with what the claims say about themselves and what was
    measured as numbers, which the text repeats."""
    assert [j.claim for j in first_notebook] == ["C1", "C2", "C3", "C4", "C5"]
    for j in first_notebook:
        for name in ("statement", "section", "figure", "notebook", "criterion", "tolerance"):
            assert getattr(j, name) == getattr(BY_NUMBER[j.claim], name)
        assert j.verdict == HOLDS and j.values and all(str(value) in j.measured for value in j.values)
        assert all(value.low < value.mean < value.high for value in j.values)
    assert judge("index", {}) == ()
    c1, *_, c4, _ = first_notebook
    (slope,) = c1.values
    assert (slope.name, slope.n, slope.over) == ("dε_g/dlnK", 3, "initialisations")
    assert slope.mean == pytest.approx(-0.15, abs=0.02)
    assert [(value.n, value.over) for value in c4.values] == [(2, "draws")] * 2


def test_judge_reports_the_scale(first_notebook):
    """Each judgement reports how the scale of its runs compares with the paper's, once if it is the same for all; what
    is no training run has a text of its own."""
    by_number = {j.claim: j.scale for j in first_notebook}
    assert by_number["C1"] == "time = 500 (10000), initialisations = 3 (10); the paper's in brackets"
    assert by_number["C4"] == "N = 50 (784), time = 500 (10000), initialisations = 6 (30); the paper's in brackets"
    found = judge("T2_deep_generators", {deep.NAME: generated()})
    assert [j.claim for j in found] == ["T2.1", "T2.2", "T2.3", "T2.4"]
    assert {j.scale for j in found} == {"N = 100, 4 teachers, 2 simulations of each up to time 7"}


@pytest.mark.parametrize("notebook", dict.fromkeys(claim.notebook for claim in BY_NUMBER.values()))
def test_judge_names_missing_results(notebook):
    """A claim without the results of its set-ups is not enough data, and names them."""
    for j in judge(notebook, {}):
        assert (j.verdict, j.measured) == (UNDECIDED, f"no results of {', '.join(BY_NUMBER[j.claim].setups)}")


@pytest.mark.parametrize("missing", ["fig3_left", "fig3_right"])
def test_judge_needs_the_runs_that_are_compared(missing):
    """Without the runs at D = 10 C17 is not enough data, and names the missing ones; what fails without them, fails."""
    found = results("C17", GOOD | {"fig3_left": {"eps_g": 0.02}})
    assert [j.verdict for j in judge("D_extensive_features", found)] == [HOLDS]
    found.pop(missing)
    (judgement,) = judge("D_extensive_features", found)
    assert judgement.verdict == UNDECIDED and missing in judgement.measured
    failing = results("C17", GOOD | {"fig9_latent": {"eps_g": falls}})
    failing.pop(missing)
    assert find("C17", failing).verdict == FAILS


@pytest.mark.parametrize(("number", "n_draws", "noted"), [("C9", 1, True), ("C9", 2, False), ("C1", 1, False)])
def test_judge_notes_a_single_draw(number, n_draws, noted):
    """Intervals of a single draw of inputs and teacher are noted as such, but not for MNIST, of which there is one."""
    note = "intervals over the initialisations of a single draw of inputs and teacher"
    assert (note in judged(number, n_draws=n_draws).measured) == noted


@pytest.mark.parametrize(
    ("number", "laws"),
    [
        ("C8", {"fig3_right": {"eps_g": 0.1, "on_gauss": 0.1}}),
        ("C9", {"fig3_left": {"on_gauss": falls}}),
        ("C10", {"fig2_right_teacher": {"mse": floor}}),
    ],
)
def test_failure_at_another_manifold_decides_nothing(number, laws):
    """At another D/N than the paper's 10/784 a failing claim is not enough data, with a note; one that holds, holds."""
    other = {"n_inputs": 200, "n_latent": 10}
    found = judged(number, laws, **other)
    assert found.verdict == UNDECIDED and "D/N" in found.measured
    assert judged(number, **other).verdict == HOLDS
    for same in ({}, {"n_inputs": 392, "n_latent": 5}):
        found = judged(number, laws, **same)
        assert found.verdict == FAILS and "D/N" not in found.measured


def test_size_of_unstructured_inputs_is_no_excuse():
    """A claim about Gaussian inputs fails at any N."""
    failing = {name: {"eps_g": 0.1} for name in ("fig1_right", "fig1_right_signs")}
    assert judged("C4", failing, n_inputs=100, n_latent=50).verdict == FAILS


def test_judge_names_the_digits():
    """On the 8×8 digits a judgement names them."""
    (c19,) = judge("00_setup", {dimension.NAME: measured(mnist=False)})
    assert c19.scale == "8×8 digits instead of MNIST; 4 × 60 images; the paper states no number"
    c11 = judge("03_hidden_manifold_model", {"fig4_pretraining": trained(0.05, mnist=False)})[3]
    for j in (c11, c19):
        assert j.verdict == UNDECIDED and "on 8×8 digits instead of MNIST" in j.measured


# ---- showing and saving ------------------------------------------------------------------------------------------

SPECIAL = Judgement(
    claim="C<1>", statement="a & b", section="3.1", figure="'Fig.' 1", notebook="n", measured="0.1 < ε < 0.2",
    verdict="holds only if x > \"y\"", criterion="<b>bold</b>", tolerance="<script>", scale="s",
    values=(Value("ε", 0.15, 0.1, 0.2, 3, "draws"), Value("δ", np.nan, -np.inf, np.inf, 0, "initialisations")),
)  # fmt: skip


def test_table_in_a_notebook(first_notebook):
    """Judgements show themselves as an HTML table with a row per claim, in which nothing is taken for markup; in a
    terminal each is a line with its verdict and what was measured."""
    judgements = Judgements([*first_notebook, SPECIAL])
    table = ElementTree.fromstring(judgements._repr_html_())
    assert table.tag == "table"
    head, *rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert head[1:] == ["claim", "measured", "criterion", "verdict"]
    for row, j in zip(rows, judgements, strict=True):
        assert row == [j.claim, f"{j.statement} (Sec. {j.section}, {j.figure})", j.measured, j.criterion, j.verdict]
    assert repr(judgements).splitlines() == [f"{j.claim}: {j.verdict}. {j.measured}" for j in judgements]


def test_save_writes_json(first_notebook, tmp_path, capsys):
    """`save` writes a JSON list of all fields of each judgement, which `hmm claims` can read, and nothing else."""
    save(Judgements([*first_notebook, SPECIAL]), "01_independent_students", tmp_path / "new")
    path = tmp_path / "new" / "claims" / "01_independent_students.json"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    stored = json.loads(path.read_text("utf-8"))
    expected = [entry | {"values": list(entry["values"])} for entry in map(asdict, (*first_notebook, SPECIAL))]
    expected[-1]["values"][1] |= {"mean": None, "low": None, "high": None}
    assert stored == expected and [list(entry) for entry in stored] == [list(entry) for entry in expected]
    assert "ε" in path.read_text("utf-8"), "readable without a decoder"
    assert main_module.main(["claims", "--json", "--out", str(tmp_path / "new")]) == 0
    assert json.loads(capsys.readouterr().out) == stored


def test_save_replaces_only_by_something_complete(first_notebook, tmp_path, monkeypatch):
    """The file gets its name in one step, when all of it is written; an earlier one stays until then."""
    save(Judgements(), "n", tmp_path)
    moved = []
    monkeypatch.setattr(Path, "replace", lambda aside, path: moved.append(len(json.loads(aside.read_text("utf-8")))))
    save(first_notebook, "n", str(tmp_path))
    assert moved == [5] and json.loads((tmp_path / "claims" / "n.json").read_text()) == []


def test_save_writes_nothing_without_a_folder(first_notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(first_notebook, "01_independent_students", "")
    assert list(tmp_path.iterdir()) == []
