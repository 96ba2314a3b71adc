"""The paper's claims: statement, criterion and verdict, each claim in one place.

A check takes the labelled results of its set-ups and returns a ``Finding``: measured numbers, each with its 95 %
Student-t interval, and one of the verdicts "holds", "holds only if …", "does not follow from the stated parameters" and
"not enough data". The modules, from the general to the particular::

    records, measuring, logic
    independent_students, plateaus, hidden_manifold, appendices, intrinsic_dimension, equations_of_motion,
    deep_generators        the claims of a section, each record below its check
    judging, report        the verdicts on all claims, and tables of them

The names below are imported when they are first used: ``report`` needs none of them.
"""

from __future__ import annotations

from importlib import import_module

_NAMES = {
    "records": ("Claim", "Finding", "Judgement", "Judgements", "Value"),
    "independent_students": ("RATIO",),
    "plateaus": ("PLATEAU", "plateau_strength"),
    "hidden_manifold": ("CHANCE",),
    "judging": ("CLAIMS", "judge", "judge_stored", "plain", "save"),
}
_MODULES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
