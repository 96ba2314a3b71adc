"""A page for every public module of the package, with what it documents."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from hmm_book.errors import BookError

__all__ = ["modules", "pages", "public", "resolver"]


def modules(package: ModuleType) -> list[ModuleType]:
    """The package and all public modules in it, by name. Raises BookError for one without a docstring."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [package.__name__, *(m.name for m in found if not any(p.startswith("_") for p in m.name.split(".")))]
    loaded = [importlib.import_module(name) for name in sorted(names)]
    if silent := [module.__name__ for module in loaded if not (module.__doc__ or "").strip()]:
        raise BookError(f"{silent[0]} has no docstring: say in one what the module is for.")
    return loaded


def public(module: ModuleType) -> list[str]:
    """What the module offers, by name: `__all__`, or all that it defines itself and that has no underscore."""
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return list(getattr(module, "__all__", own))


def resolver(known: Iterable[ModuleType], within: str) -> Callable[[str], tuple[str, str] | None]:
    """Looks up what a docstring of the module `within` names: its role and its full name, if that is documented.

    A name is one of the module, of another one (`datasets.structured`), or a module.
    """
    by_name = {module.__name__: module for module in known}
    parent = within if hasattr(by_name[within], "__path__") else within.rpartition(".")[0]

    def resolve(text: str) -> tuple[str, str] | None:
        name = text.removesuffix("()")
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        for start in dict.fromkeys((within, parent, parent.partition(".")[0], "")):
            full = f"{start}.{name}" if start else name
            if full in by_name:
                return "py:mod", full
            module, _, last = full.rpartition(".")
            if module in by_name and last in public(by_name[module]) and _is_documented(by_name[module], last):
                return "py:obj", full
        return None

    return resolve


def _is_documented(module: ModuleType, name: str) -> bool:
    """Whether the page of the module has a place for it: for functions, also compiled ones, and for classes."""
    value = getattr(module, name)
    value = getattr(value, "py_func", value)
    return (inspect.isroutine(value) or inspect.isclass(value)) and bool(value.__doc__)


def pages(known: Iterable[ModuleType], folder: Path) -> list[str]:
    """Writes a page for every module and one that lists them; the names of the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [module.__name__ for module in known]
    for name in names:
        text = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"
        (folder / f"{name}.md").write_text(text, "utf-8")
    return names
