"""The claims of all notebooks: read, put in order, fitted to the terminal."""

import json

import pytest

from hmm_utils.claims import report

COLUMNS = ("claim", "statement", "section", "figure", "measured", "verdict", "notebook", "scale")


VALUE = {"name": "ε", "mean": 0.1, "low": None, "high": None, "n": 1, "over": "draws"}
CLAIM = dict.fromkeys(COLUMNS, "") | {"values": [VALUE]}
UNREADABLE = {
    "not JSON": "{",
    "not a list": "{}",
    "a number": "3",
    "not records": '["C1"]',
    "not all columns": '[{"claim": "C1"}]',
    "a number as a text": json.dumps([dict.fromkeys(COLUMNS, "") | {"scale": 1}]),
    "no values": json.dumps([dict.fromkeys(COLUMNS, "") | {"values": None}]),
    "a text as a number": json.dumps([CLAIM | {"values": [VALUE | {"low": "0.1"}]}]),
    "true as a number": json.dumps([CLAIM | {"values": [VALUE | {"n": True}]}]),
    "not all numbers": json.dumps([CLAIM | {"values": [VALUE, {"name": "ε", "over": "draws", "mean": 0.1}]}]),
    "a value without a name": json.dumps([CLAIM | {"values": [VALUE | {"name": None}]}]),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_claims(tmp_path, text):
    """A file that cannot be read is named, and how to make one; verdicts need no values."""
    path = tmp_path / "claims" / "01_good.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(report.ClaimsError) as error:
        report.read_claims(tmp_path)
    assert str(error.value) == f"{path} is not a list of claims: run 01_good again with --overwrite."
    for file in (tmp_path / "missing.json", *([] if '"values"' in text else [path])):
        with pytest.raises(report.ClaimsError) as error:
            report.read_verdicts(file)
        assert str(error.value) == f"{file} is not a list of verdicts: make one with `hmm claims --json > {file}`."


def test_the_order_of_the_claims(tmp_path):
    numbers = ["C10", "C2b", "C2"]
    (tmp_path / "claims").mkdir()
    for name in ("02_later", "01_first"):
        claims = [CLAIM | {"claim": number, "notebook": name} for number in numbers]
        (tmp_path / "claims" / f"{name}.json").write_text(json.dumps(claims))
    found = [(claim["claim"], claim["notebook"]) for claim in report.read_claims(tmp_path)]
    assert found == [(number, name) for number in ("C2", "C2b", "C10") for name in ("01_first", "02_later")]
    assert [claim["claim"] for claim in report.read_claims(tmp_path, ["01_first"])] == ["C2", "C2b", "C10"]


def test_the_claims_table_fits_the_terminal():
    texts = {"statement": "a long statement " * 5, "measured": "a long text " * 9, "verdict": "holds only if " * 4}
    claims = [{"claim": f"C{n}", **texts, "notebook": "01_independent_students"} for n in range(3)]
    for width in (100, 160):
        lines = report.claims_text(claims, width).splitlines()
        assert max(map(len, lines)) <= width


def judged(number, verdict="holds", notebook="01_first", scale="N = 100 (784)"):
    return {"claim": number, "notebook": notebook, "verdict": verdict, "scale": scale}


def test_equal_verdicts():
    """The same verdicts agree in any order, whatever else the claims say."""
    claims = [judged("C1"), judged("C2", "not enough data")]
    expected = [judged("C2", "not enough data", scale="another"), judged("C1") | {"measured": "something"}]
    assert report.compare(claims, expected) == report.Comparison((), 2, ())


def test_different_verdicts():
    """Each difference is reported with both verdicts and both scales, in the order of the claims; so is a claim that
    only one side has."""
    claims = [judged("C10", "not enough data"), judged("C2", "not enough data"), judged("C3"), judged("C4")]
    expected = [judged("C10"), judged("C2", scale="the paper's scale"), judged("C3"), judged("C1")]
    assert report.compare(claims, expected) == report.Comparison(
        (
            'C1 (01_first): not judged here, "holds" (N = 100 (784)) there.',
            'C2 (01_first): "not enough data" (N = 100 (784)) here, "holds" (the paper\'s scale) there.',
            'C4 (01_first): "holds" (N = 100 (784)) here, not known there.',
            'C10 (01_first): "not enough data" (N = 100 (784)) here, "holds" (N = 100 (784)) there.',
        ),
        1,
        (),
    )


def test_notebooks_that_were_not_run_are_not_compared():
    """Claims of a notebook without any claim here are left out, and the notebook is named; a claim of the same number
    in another notebook is another one."""
    claims = [judged("C1")]
    expected = [judged("C1"), judged("C1", "not enough data", "02_later"), judged("C9", notebook="00_earlier")]
    assert report.compare(claims, expected) == report.Comparison((), 1, ("00_earlier", "02_later"))
