"""The claims of all notebooks: read, put in order, fitted to the terminal."""

from pathlib import Path

import pytest

from hmm_utils import verdicts


@pytest.mark.parametrize("text", ["{", "{}", '[{"claim": "C1"}]', '[{"claim": 1, "measured": "", "verdict": ""}]'])
def test_unreadable_claims(world, capfd, text):
    path = Path("build", "claims", "01_good.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    code, out, err = hmm(capfd, world, "claims")
    assert (code, out) == (1, "")
    assert err == f"hmm: {path} is not a list of claims: run 01_good again with --overwrite.\n"


def test_the_claims_table_fits_the_terminal():
    texts = {"statement": "a long statement " * 5, "measured": "a long text " * 9, "verdict": "holds only if " * 4}
    claims = [{"claim": f"C{n}", **texts, "notebook": "01_independent_students"} for n in range(3)]
    for width in (100, 160):
        lines = running.claims_text(claims, width).splitlines()
        assert max(map(len, lines)) <= width
