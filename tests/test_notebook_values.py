"""Which notebooks there are, which one a name means, and what a text gives to a parameter."""

from pathlib import Path

import nbformat
import pytest
from helpers.throwaway import NAMES, write_notebook
from papermill import inspect_notebook

from hmm_utils.app import notebooks
from hmm_utils.app.notebooks import Parameter, Refused, choose, convert, discover


def test_notebooks_of_the_current_folder(world, monkeypatch):
    monkeypatch.setattr(notebooks, "__file__", str(Path("elsewhere", "hmm_utils", "notebooks.py")))
    with pytest.raises(Refused, match="run hmm in the project's checkout"):
        notebooks.notebooks_folder()
    world.rename("notebooks")
    assert notebooks.notebooks_folder() == Path("notebooks").resolve()


@pytest.mark.parametrize("line", ["steps: int = len('abc')", "steps = None", "steps: int = (", "print()"])
def test_parameters_that_cannot_be_read(world, line):
    write_notebook(world, "05_odd", [], parameters=f"# {line}\n{line}")
    with pytest.raises(Refused) as error:
        discover(world)
    assert str(error.value).startswith(f"05_odd.ipynb: in the parameters cell, write `{line}` as `name: type = value")


@pytest.mark.parametrize("about", [{"figure": ["Fig. 1"]}, {"path": "x"}])
def test_metadata_that_cannot_be_read(world, about):
    write_notebook(world, "05_odd", [], about=about)
    with pytest.raises(Refused, match=rf"05_odd\.ipynb: hidden_manifold in its metadata is wrong \(.*{min(about)}"):
        discover(world)


@pytest.mark.parametrize("line", ["steps: int = 3  # as in n = 3", "n: int | None = None  # P"])
def test_papermills_inspector_loses_parameters(world, line):
    """Why `hmm` reads the cell by itself: papermill drops such a line without a word, `hmm` refuses it."""
    write_notebook(world, "05_odd", [], parameters=line)
    assert inspect_notebook(nbformat.read(world / "05_odd.ipynb", as_version=4)) == {}
    with pytest.raises(Refused, match=r"05_odd\.ipynb: in the parameters cell, write"):
        discover(world)


def test_a_file_that_is_no_notebook(world):
    (world / "05_odd.ipynb").write_text("{")
    with pytest.raises(Refused, match=r"05_odd\.ipynb is not a notebook that can be read"):
        discover(world)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["01_good"], ["01_good"]),
        (["01"], ["01_good"]),
        (["01_good.ipynb"], ["01_good"]),
        (["note{books}/01_good.ipynb"], ["01_good"]),
        (["03", "00", "03_other"], ["03_other", "00_plain"]),
        (["02", "all"], NAMES),
    ],
)
def test_names(world, names, chosen):
    known = discover(world.resolve())
    assert [info.name for info in choose(names, known)] == chosen


def test_an_ambiguous_number(world):
    write_notebook(world, "01_twin", [])
    with pytest.raises(Refused, match='"01" means 01_good or 01_twin: write the whole name'):
        choose(["01"], discover(world))


VALUES = {
    "int": {"3": 3, "-3": -3, "1_000": 1000},
    "float": {"0.2": 0.2, "2": 2.0, "1e-2": 0.01, "1E3": 1000.0, "-.5e-1": -0.05, "1.5e+2": 150.0, "None": None},
    "str": {"mnist": "mnist", "'3'": "3", "1e": "1e"},
    "bool": {"true": True, "False": False},
    "list": {"[1, 2]": [1, 2], "[1e-2, 3, x]": [0.01, 3, "x"], "['1e-2']": ["1e-2"], "null": None, "None": None},
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, values in VALUES.items() for text in values])
def test_values(kind, text):
    value = VALUES[kind][text]
    converted = convert(text, Parameter("x", kind, None, ""))
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("list", "3", r"x expects a list \(list\), not 3: write \[3\]\."),
        ("list", "erf", r": write \[erf\]\."),
        ("list", "null", r"not null\."),
        ("list", "{a: 1}", r"not \{a: 1\}\."),
        ("int", "3.0", r"x expects a whole number \(int\), not 3\.0: write 3\."),
        ("int", "1e5", r": write 100000\."),
        ("int", "3.5", r"not 3\.5\."),
        ("int", "true", r"not true\."),
        ("int", "three", r"not three\."),
        ("int", "[3]", r"not \[3\]\."),
        ("float", "fast", r"x expects a number \(float\), not fast\."),
        ("float", "true", r"not true\."),
        ("float", "", r"not nothing\."),
        ("bool", "1", r"x expects true or false \(bool\), not 1: write true\."),
        ("bool", "maybe", r"not maybe\."),
        ("str", "3", r"""x expects a word \(str\), not 3: write "'3'" if you mean the word\."""),
        ("str", "[a]", r"not \[a\]\."),
        ("str", "2020-13-77", "looks like a number or a date, but is none"),
        ("str", "!!python/name:os.system", "cannot be read as YAML"),
        ("str", "'", "cannot be read as YAML"),
    ],
)
def test_values_of_the_wrong_type(kind, text, message):
    default = {"list": [], "int": 1, "float": 1.0, "bool": False, "str": ""}[kind]
    with pytest.raises(Refused, match=message):
        convert(text, Parameter("x", kind, default, ""))


def test_a_stray_notebook_is_left_alone(world):
    """A notebook of the reader's own beside the project's neither runs with `all` nor stands in its way."""
    write_notebook(world, "Untitled", [], about=None)
    assert "Untitled" not in discover(world) and "01_good" in discover(world)
