"""Checks the annotated types and shapes of the core's public functions while tests run (jaxtyping and beartype).

jaxtyping's own import hook decorates every function of a module, compiled kernels included, which numba cannot
compile then. This one wraps what a module lists in `__all__`, right after the module was imported.
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from types import FunctionType

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import jaxtyped

# joined by hmm_utils.model. as its annotations are made true
CHECKED: tuple[str, ...] = ("hmm_utils.model.", "hmm_utils.sgd.", "hmm_utils.theory.")


# a whole number is a float, as for mypy, and numpy's numbers are numbers
NUMBERS = FrozenDict({int: int | np.integer, float: float | int | np.integer | np.floating})
TYPECHECKER = beartype(conf=BeartypeConf(hint_overrides=NUMBERS))


def checked(function):
    return jaxtyped(function, typechecker=TYPECHECKER)


def wrap(module):
    for name in getattr(module, "__all__", ()):
        found = getattr(module, name)
        if getattr(found, "__module__", None) != module.__name__:
            continue
        if isinstance(found, FunctionType):
            setattr(module, name, checked(found))
        elif isinstance(found, type):
            for method, function in list(vars(found).items()):
                if isinstance(function, FunctionType) and (method == "__call__" or not method.startswith("_")):
                    setattr(found, method, checked(function))


class CheckedLoader(Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        wrap(module)

    def __getattr__(self, name):  # numba and inspect ask the loader for paths and sources
        return getattr(self.loader, name)


class CheckedFinder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith(CHECKED):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = CheckedLoader(spec.loader)
        return spec


# importing this is enough, and comes before the package is imported
sys.meta_path.insert(0, CheckedFinder())
