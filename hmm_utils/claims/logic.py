"""Verdicts: from intervals to the verdict of a part, and from the parts to that of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hmm_utils.claims.records import FAILS, HOLDS, ONLY_IF, UNDECIDED, Finding, Value

ZERO_WHY = "zero is the claim's own border"


def decide(yes: bool, no: bool) -> str:
    """Verdict of two one-sided tests: clearly inside the criterion, clearly outside, or neither."""
    return HOLDS if yes else FAILS if no else UNDECIDED


def above(value: Value, border: float) -> Finding:
    """Judge whether the value is above a border, with its whole interval."""
    return Finding((value,), decide(value.low > border, value.high < border))


def below(value: Value, border: float) -> Finding:
    """Judge whether the value is below a border, with its whole interval."""
    return negate(above(value, border))


def between(value: Value, low: float, high: float) -> Finding:
    """Judge whether the value lies between two borders, with its whole interval."""
    inside = value.low > low and value.high < high
    return Finding((value,), decide(inside, value.high < low or value.low > high))


_NEGATION = {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}


def negate(finding: Finding) -> Finding:
    """Judge whether the opposite holds; not defined for a verdict with a condition."""
    return replace(finding, verdict=_NEGATION[finding.verdict])


def worst(verdicts: Sequence[str]) -> str:
    """Verdict on a claim all of whose parts must hold: one failure decides, and conditions add up."""
    for verdict in (FAILS, UNDECIDED):
        if verdict in verdicts:
            return verdict
    conditions = dict.fromkeys(v.removeprefix(ONLY_IF) for v in verdicts if v.startswith(ONLY_IF))
    return ONLY_IF + ", and ".join(conditions) if conditions else HOLDS


def all_of(*parts: Finding) -> Finding:
    """Judge whether all parts hold, with the values and notes of each."""
    return Finding(
        tuple(value for part in parts for value in part.values),
        worst([part.verdict for part in parts]),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def by_case(one: tuple[str, Finding], other: tuple[str, Finding]) -> Finding:
    """Combine two alternative cases, each a condition with its finding.

    The claim holds (or fails) if it does so in both cases; where it fails in one case only, it holds only in the
    other; where one case is undecided, so is the claim.
    """
    findings = one[1], other[1]
    verdicts = {finding.verdict for finding in findings}
    if len(verdicts) == 1:
        verdict = findings[0].verdict
    elif FAILS in verdicts:
        case, found = other if findings[0].verdict == FAILS else one
        verdict = worst([ONLY_IF + case, found.verdict])
    else:
        verdict = UNDECIDED
    return replace(all_of(*findings), verdict=verdict)


def same_verdict(name: str, before: Finding, after: Finding) -> Finding:
    """Judge whether two verdicts agree.

    One that holds and one that holds on a condition agree on that condition; if one is undecided, so is the agreement.
    """
    verdicts = {before.verdict, after.verdict}
    if UNDECIDED in verdicts:
        same = UNDECIDED
    else:
        same = HOLDS if len(verdicts) == 1 else worst((before.verdict, after.verdict))
    return Finding(before.values + after.values, same, (f"{name}: {before.verdict} → {after.verdict}",))


def labelled(label: str, finding: Finding) -> Finding:
    """Put a label before every value and note of a finding."""
    values = tuple(replace(value, name=f"{label}: {value.name}") for value in finding.values)
    return Finding(values, finding.verdict, tuple(f"{label}: {note}" for note in finding.notes))


def undecided(note: str) -> Finding:
    """Make a finding without any value, with the reason for that."""
    return Finding((), UNDECIDED, (note,))


def noted(finding: Finding, note: str) -> Finding:
    """Add a note to a finding."""
    return replace(finding, notes=(*finding.notes, note))
