"""Companion to "Modelling the influence of data structure on learning in neural networks" (arXiv:1909.11500v1).

`model` and `sgd` are the core, to be read first; each folder imports only from those above it:

    model     the paper's objects as formulas
    data      inputs that no formula draws
    sgd       exact one-sample SGD, and the same as a plain loop
    theory    predictions of what SGD does, one folder a theory
    runs      what is run and where it is stored
    claims    statement, criterion, verdict
    figures   labelled results → matplotlib figures
    play      the live playground
    app       the command `hmm`

The modules that a notebook needs are loaded by their short names, `from hmm_utils import training`, when they are
first used; importing the package imports none of them.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.3.0"

_FOLDERS = {
    "model": ("activations", "datasets", "networks", "nonlinearities", "observables"),
    "data": ("digits", "generators", "mnist", "streams"),
    "sgd": ("block", "online", "reference", "training"),
    "runs": (
        *("archive", "cluster", "comparison", "deep", "dimension", "experiments", "measurements", "paper"),
        *("scan", "sweep"),
    ),
    "theory": ("directions",),
    "figures": ("paper_figures",),
    "": ("claims", "figures", "play", "theory"),
}
_MODULES = {
    name: ".".join(filter(None, (__name__, folder, name))) for folder, names in _FOLDERS.items() for name in names
}


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
