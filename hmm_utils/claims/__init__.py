"""The paper's claims as records: what is said, where, how it is checked on results, and the verdict.

A check takes the labelled results of its set-ups and returns a `Finding`: measured numbers, each with its 95 %
Student-t interval, and one of the verdicts "holds", "holds only if …", "does not follow from the stated parameters" and
"not enough data".

    records    →  measuring, plateaus, criteria  →  behaviour  →  checks, theory  →  register  →  judging
"""

from hmm_utils.claims.criteria import CHANCE, PLATEAU, RATIO
from hmm_utils.claims.judging import judge, plain, save
from hmm_utils.claims.plateaus import plateau_strength
from hmm_utils.claims.records import Claim, Finding, Judgement, Judgements, Value
from hmm_utils.claims.register import CLAIMS

__all__ = [
    "CHANCE",
    "CLAIMS",
    "PLATEAU",
    "RATIO",
    "Claim",
    "Finding",
    "Judgement",
    "Judgements",
    "Value",
    "judge",
    "plain",
    "plateau_strength",
    "save",
]
