"""Companion to "Modelling the influence of data structure on learning in neural networks" (arXiv:1909.11500v1).

The modules, in the order data flows through them: `activations`, `networks`, `mnist`, `datasets`, `generators` (deep
networks that make inputs), `engine` with `blas` (`oracle`: the same algorithm as a plain loop; `device` and `devices`:
the same on a GPU), `observables`, `backends`, `training` with `checkpoints`, `experiments`, `sweep` with `store` and
`files`, `claims`, `figures`. `notebooks`, `terminal`, `running`, `verdicts` and `cli` run the notebooks.

Importing the package imports none of them: `hmm_utils.training` is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_MODULES = (
    *("activations", "backends", "blas", "checkpoints", "claims", "cli", "datasets", "device"),
    *("devices", "engine", "experiments", "figures", "files", "generators", "mnist", "networks", "notebooks"),
    *("observables", "oracle", "running", "store", "sweep", "terminal", "training", "verdicts"),
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
