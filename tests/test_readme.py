"""What the README says of the claims is what was found."""

import json
import re
from pathlib import Path

import pytest

from hmm_utils import claims

ROOT = Path(__file__).resolve().parent.parent
VERDICTS = {claim["claim"]: claim["verdict"] for claim in json.loads((ROOT / "results" / "verdicts.json").read_text())}
# the number of a claim, its verdict in italics
SAID = dict(re.findall(r"\b(C\d+) \*([^*]+)\*", (ROOT / "README.md").read_text("utf-8")))
PAPER = [claim.number for claim in claims.CLAIMS if claim.number.startswith("C")]


def test_every_claim_of_the_paper_is_there():
    assert sorted(SAID) == sorted(PAPER)


@pytest.mark.parametrize("number", PAPER)
def test_the_verdict_is_the_committed_one(number):
    """In full, or without what \"does not follow\" is short for."""
    assert SAID[number] in (VERDICTS[number], VERDICTS[number].removesuffix(" from the stated parameters"))
