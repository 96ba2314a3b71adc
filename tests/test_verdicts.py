"""The claims of all notebooks: read, put in order, fitted to the terminal."""

import json

import pytest

from hmm_utils import verdicts

COLUMNS = ("claim", "statement", "section", "figure", "measured", "verdict", "notebook", "scale")


@pytest.mark.parametrize("text", ["{", "{}", '[{"claim": "C1"}]', '[{"claim": 1, "measured": "", "verdict": ""}]'])
def test_unreadable_claims(tmp_path, text):
    path = tmp_path / "claims" / "01_good.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(verdicts.ClaimsError) as error:
        verdicts.read_claims(tmp_path)
    assert str(error.value) == f"{path} is not a list of claims: run 01_good again with --overwrite."


def test_the_order_of_the_claims(tmp_path):
    numbers = ["C10", "C2b", "C2"]
    (tmp_path / "claims").mkdir()
    for name in ("02_later", "01_first"):
        claims = [dict.fromkeys(COLUMNS, "") | {"claim": number, "notebook": name} for number in numbers]
        (tmp_path / "claims" / f"{name}.json").write_text(json.dumps(claims))
    found = [(claim["claim"], claim["notebook"]) for claim in verdicts.read_claims(tmp_path)]
    assert found == [(number, name) for number in ("C2", "C2b", "C10") for name in ("01_first", "02_later")]
    assert [claim["claim"] for claim in verdicts.read_claims(tmp_path, ["01_first"])] == ["C2", "C2b", "C10"]


def test_the_claims_table_fits_the_terminal():
    texts = {"statement": "a long statement " * 5, "measured": "a long text " * 9, "verdict": "holds only if " * 4}
    claims = [{"claim": f"C{n}", **texts, "notebook": "01_independent_students"} for n in range(3)]
    for width in (100, 160):
        lines = verdicts.claims_text(claims, width).splitlines()
        assert max(map(len, lines)) <= width
