"""Where the borders lie and why; from numbers to verdicts, and from the verdicts of parts to that of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hmm_utils.claims.records import FAILS, HOLDS, ONLY_IF, UNDECIDED, Finding, Value
from hmm_utils.runs import dimension

SMALL = 0.01
TINY = 1e-3
PAPER_END = 10_000.0
RATIO = 2.0
PLATEAU = 0.2
CHANCE = 0.4
SLOW = 0.2
AROUND = 1.2
AGREES = 0.02
NEAR = 0.1

SMALL_WHY = (
    f"an error of {SMALL} is five times below the smallest error of a student with K = 1 and still several standard "
    "errors of a test set of 4 000 above zero; finite training time leaves a tail that falls as a power of time"
)
RATIO_WHY = "the text says 'roughly' and 'about'; a factor of two is far from the factor of ten on Gaussian inputs"
PLATEAU_WHY = (
    "curves that flatten for good stay below about 0.1 in this measure, noise included, a plateau with a drop gives "
    "0.3 to 1"
)
CHANCE_WHY = f"'up to one half' is read as at least {CHANCE}"
ZERO_WHY = "zero is the claim's own border"
AROUND_WHY = (
    f"'around {dimension.PAPER}' is read as closer to {dimension.PAPER} than to 10, the D of the paper's own manifold, "
    f"or to 20: within a factor of √(20/14) ≈ {AROUND}; estimates from few inputs are too low, the more so the higher "
    "the dimension, and dividing by those of a manifold of known dimension mends that"
)

AGREES_WHY = (
    "means of five simulations with N = 1000 scatter by one per cent of ε_g, and Gaussian equivalence has corrections "
    f"of finite N and D besides: {AGREES:g} leaves room for both"
)


FINITE_WHY = (
    "the theory is that of N → ∞ and says nothing of how far N is from there; the tolerances are several times what "
    "the mean of ten simulations leaves"
)


def decide(yes: bool, no: bool) -> str:
    """A verdict from two one-sided tests: clearly inside the criterion, clearly outside, or neither."""
    return HOLDS if yes else FAILS if no else UNDECIDED


def above(value: Value, border: float) -> str:
    return decide(value.low > border, value.high < border)


def below(value: Value, border: float) -> str:
    return decide(value.high < border, value.low > border)


def between(value: Value, low: float, high: float) -> str:
    return decide(value.low > low and value.high < high, value.high < low or value.low > high)


_OPPOSITE = {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}


def opposite(finding: Finding) -> Finding:
    return replace(finding, verdict=_OPPOSITE[finding.verdict])


def worst(verdicts: Sequence[str]) -> str:
    """All parts must hold; one that fails decides, and conditions add up."""
    for verdict in (FAILS, UNDECIDED):
        if verdict in verdicts:
            return verdict
    conditions = dict.fromkeys(v.removeprefix(ONLY_IF) for v in verdicts if v.startswith(ONLY_IF))
    return ONLY_IF + ", and ".join(conditions) if conditions else HOLDS


def together(*parts: Finding) -> Finding:
    """All parts must hold, and all that was measured is told."""
    return Finding(
        tuple(value for part in parts for value in part.values),
        worst([part.verdict for part in parts]),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def labelled(label: str, finding: Finding) -> Finding:
    """The same with a label before every value and note."""
    values = tuple(replace(value, name=f"{label}: {value.name}") for value in finding.values)
    return Finding(values, finding.verdict, tuple(f"{label}: {note}" for note in finding.notes))


def unknown(note: str) -> Finding:
    return Finding((), UNDECIDED, (note,))


def noted(finding: Finding, note: str) -> Finding:
    return replace(finding, notes=(*finding.notes, note))
