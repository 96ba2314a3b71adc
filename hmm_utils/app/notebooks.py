"""The notebooks of a folder: what they say of themselves, their parameters, and what a name or a value means to them.

A notebook of the project says of itself, in the block ``hidden_manifold`` of its metadata (the header of its ``.py``),
which figures and which set-ups it is about::

    hidden_manifold:
      title: Independent students
      section: '3.1'                 of the paper
      figures: [Fig. 1]
      setups: [fig1_left, …]         that it runs
      measurements: [t2]             what else it does that a claim is judged on, without training anything
      parameters: [width]            what can be set in it besides the parameters of an ``Experiment``

Only ``title`` is required. A request that cannot be fulfilled raises :class:`Refused`.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Notebooks are read as JSON: nbformat takes seconds to import, and so do papermill and hmm_utils.runs.experiments.

__all__ = [
    "NotebookInfo",
    "Parameter",
    "Refused",
    "assign",
    "choose",
    "convert",
    "discover",
    "listed",
    "notebooks_folder",
    "unknown",
]

BLOCK = "hidden_manifold"
_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
_EXAMPLES = {"str": "a word", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list"}
# Papermill's inspector silently drops a line with a second `=`; such a line is an error here. It also takes seconds to
# import and evaluates no default.
_LINE = re.compile(rf"(\w+): ({'|'.join(_TYPES)}) = ([^=]+?)(?:  # ([^=]*))?")
_PLACE = ("profile", "out")  # set by options of their own


class Refused(ValueError):
    """The request cannot be fulfilled, and nothing was run; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Parameter:
    """A line of a notebook's parameters cell; ``type`` is str, int, float, bool or list."""

    name: str
    type: str
    default: object
    help: str


@dataclass(frozen=True, kw_only=True)
class NotebookInfo:
    """A notebook: its metadata (see the module) and its parameters.

    Attributes
    ----------
    extra : tuple of str
        Parameters besides those of an ``Experiment``.
    """

    name: str
    path: Path
    title: str
    section: str = ""
    figures: tuple[str, ...] = ()
    setups: tuple[str, ...] = ()
    measurements: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...]


# --- finding -----------------------------------------------------------------------------------------------------


def notebooks_folder(given: str | os.PathLike | None = None) -> Path:
    """Find the folder of the notebooks: ``given``, or the project's, or ``notebooks`` in the current folder.

    Raises
    ------
    Refused
        If it holds no notebook.
    """
    beside = Path(__file__).resolve().parents[2] / "notebooks"
    for folder in [beside, Path("notebooks")] if given is None else [Path(given)]:
        if _sources(folder):
            return folder.resolve()
    if given is not None:
        raise Refused(f"There are no notebooks in {given}: name the folder that holds the project's NN_name.ipynb.")
    raise Refused("The notebooks are not here: run hmm in the project's checkout, beside its notebooks/ folder.")


def discover(folder: Path) -> dict[str, NotebookInfo]:
    """Read the project's notebooks in a folder, in the order of their names; others are ignored.

    Raises
    ------
    Refused
        If a notebook cannot be read, its metadata are not those of the module's docstring, or a line of its parameters
        cell is not ``name: type = value  # help``.
    """
    found = {path: _read(path) for path in _sources(folder)}
    return {path.stem: _info(path, content) for path, content in found.items() if BLOCK in content["metadata"]}


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
        return {part: content[part] for part in ("metadata", "cells")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise Refused(f"{path.name} is not a notebook that can be read ({reason}): restore it.") from None


def _info(path: Path, content: dict) -> NotebookInfo:
    tagged = (cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", []))
    source = "".join(next((cell["source"] for cell in tagged), ""))
    lines = (line.rstrip() for line in source.splitlines())
    parameters = tuple(_parameter(line, path) for line in lines if line and not line.startswith("#"))
    block: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content["metadata"][BLOCK].items()}
    extra = block.pop("parameters", ())
    try:
        return NotebookInfo(name=path.stem, path=path, extra=extra, parameters=parameters, **block)
    except TypeError as error:
        reason = str(error).rpartition("__init__() ")[2]
        raise Refused(f"{path.name}: {BLOCK} in its metadata is wrong ({reason}): correct it.") from None


def _parameter(line: str, path: Path) -> Parameter:
    try:
        name, kind, default, text = _LINE.fullmatch(line).groups("")  # type: ignore[union-attr]
        return Parameter(name, kind, ast.literal_eval(default), text)
    except (AttributeError, ValueError, SyntaxError):
        rule = "`name: type = value  # help` with a plain value and no other ="
        raise Refused(f"{path.name}: in the parameters cell, write `{line}` as {rule}.") from None


# --- names -------------------------------------------------------------------------------------------------------


def choose(names: Sequence[str], known: Mapping[str, NotebookInfo]) -> list[NotebookInfo]:
    """Find the notebooks of these names, each once.

    Parameters
    ----------
    names : sequence of str
        ``01_plateaus``, ``01``, ``01_plateaus.ipynb``, a path, or ``all``.
    known : mapping
        What :func:`discover` returned.

    Raises
    ------
    Refused
        For a name that no notebook has, or more than one.
    """
    if "all" in names:
        return list(known.values())
    return list({info.name: info for info in (_one(name, known) for name in names)}.values())


def _one(name: str, known: Mapping[str, NotebookInfo]) -> NotebookInfo:
    stem = name.removesuffix(".ipynb")
    matches = [info for info in known.values() if stem in (info.name, info.name.partition("_")[0])]
    # What the shell completes: notebooks/01_plateaus.ipynb.
    matches = matches or [info for info in known.values() if Path(name).resolve() == info.path]
    if not matches:
        raise unknown("There is no notebook", name, [*known, "all"])
    if len(matches) > 1:
        raise Refused(f'"{name}" means {" or ".join(info.name for info in matches)}: write the whole name.')
    return matches[0]


def unknown(what: str, word: str, known: Collection[str]) -> Refused:
    """Make the refusal of a word that is not known; ``what`` begins the sentence."""
    close = difflib.get_close_matches(word, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return Refused(f'{what} "{word}"{meant}: choose among {listed(known)}.')


def listed(words: Collection[str]) -> str:
    """Join words by commas and an "and"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


# --- values ------------------------------------------------------------------------------------------------------


def assign(
    values: Sequence[tuple[str, str]], chosen: Sequence[NotebookInfo]
) -> tuple[dict[str, dict[str, object]], list[str]]:
    """Distribute values over notebooks.

    Parameters
    ----------
    values : sequence of (str, str)
        A parameter's name and the text of its value.
    chosen : sequence of NotebookInfo
        The notebooks that are run.

    Returns
    -------
    overrides : dict
        The values of each notebook.
    notes : list of str
        A sentence for each value that some notebooks have no use for.

    Raises
    ------
    Refused
        For a name that no notebook knows, and for a value that is not of its type.
    """
    overrides: dict[str, dict[str, object]] = {info.name: {} for info in chosen}
    notes = []
    names = [name for name, _ in values]
    for name, text in values:
        _check_name(name, names, chosen)
        takers = {info.name: p for info in chosen for p in info.parameters if p.name == name}
        for taker, parameter in takers.items():
            try:
                overrides[taker][name] = convert(text, parameter)
            except Refused as refusal:
                # The same name may have another type elsewhere.
                raise Refused(f"{taker}: {refusal}") from None
        if others := [info.name for info in chosen if info.name not in takers]:
            notes.append(f"{name} is no parameter of {listed(others)}: ignored there.")
    return overrides, notes


def _check_name(name: str, names: Sequence[str], chosen: Sequence[NotebookInfo]) -> None:
    if name in _PLACE:
        raise Refused(f"{name} is not set with -p: use --{name}.")
    if names.count(name) > 1:
        raise Refused(f"{name} is given {names.count(name)} times: give it once.")
    accepted = dict.fromkeys(p.name for info in chosen for p in info.parameters if p.name not in _PLACE)
    if name not in accepted:
        lacks = "None of the chosen notebooks has a" if len(chosen) > 1 else f"{chosen[0].name} has no"
        raise unknown(f"{lacks} parameter", name, accepted)


def convert(text: str, parameter: Parameter) -> object:
    """Read the value that a text, as YAML, gives to a parameter.

    Raises
    ------
    Refused
        If it is not of the parameter's type.
    """
    import yaml

    try:
        value = yaml.load(text, Loader=_loader())
    except yaml.YAMLError:
        raise Refused(f'{parameter.name}: "{text}" cannot be read as YAML: check brackets and quotes.') from None
    except (ValueError, OverflowError):
        raise Refused(f'{parameter.name}: "{text}" looks like a number or a date, but is none: correct it.') from None
    if parameter.default is None and (value is None or text == "None"):
        return None
    if parameter.type == "float" and type(value) is int:
        value = float(value)
    if type(value) is not _TYPES[parameter.type]:
        expected = f"expects {_EXAMPLES[parameter.type]} ({parameter.type})"
        raise Refused(f"{parameter.name} {expected}, not {text or 'nothing'}{_advice(text, value, parameter.type)}.")
    return value


def _loader() -> type:
    """Make a safe YAML loader for which 1e-2 is a number, as in YAML 1.2."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    exponent = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    return Loader


def _advice(text: str, value: object, kind: str) -> str:
    if kind == "list" and isinstance(value, bool | int | float | str):
        return f": write [{text}]"
    if kind == "str" and value is not None and not isinstance(value, list | dict):
        return f": write \"'{text}'\" if you mean the word"
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return f": write {int(value)}"
    if kind == "bool" and isinstance(value, int):
        return f": write {'true' if value else 'false'}"
    return ""
