"""Companion to "Modelling the influence of data structure on learning in neural networks" (arXiv:1909.11500v1).

The modules, in the order data flows through them: `activations`, `networks`, `mnist`, `datasets`, `engine` with `blas`
(`oracle`: the same algorithm as a plain loop; `device` and `devices`: the same on a GPU), `observables`, `backends`,
`training` with `checkpoints`, `experiments`, `sweep` with `draws`, `store`, `checkout`, `files` and `cluster`,
`results`, `claims` with `dimension`, `scan`, `figures` and `scan_figures` with their `look`, `paper` with
`paper_figures`, `illustrations`, `directions`. `notebooks`, `terminal`, `running`, `verdicts` and `cli` run the
notebooks; `doctor` looks for what would stop them, `play` is one to play with. Beyond the paper: `generators` of
inputs, `streams` of fresh ones, `online` training on them, and `theory`, the equations that predict it.

Importing the package imports none of them: `hmm_utils.training` is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.2.0"

_MODULES = (
    *("activations", "backends", "blas", "checkout", "checkpoints", "claims", "cli", "cluster", "datasets"),
    *("device", "devices", "dimension", "directions", "doctor", "draws", "engine", "experiments", "figures"),
    *("files", "generators", "illustrations", "look", "mnist", "networks", "notebooks", "observables"),
    *("online", "oracle", "paper", "paper_figures", "play", "results", "running", "scan", "scan_figures", "store"),
    *("streams", "sweep", "terminal", "theory", "training", "verdicts"),
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
