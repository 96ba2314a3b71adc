"""Which notebooks there are, which one a name means, and what a text gives to a parameter."""

from pathlib import Path

import pytest
from throwaway import NAMES, write_notebook

from hmm_utils import notebooks
from hmm_utils.notebooks import Parameter, Refused, choose, convert, discover


def test_notebooks_of_the_current_folder(world, monkeypatch):
    monkeypatch.setattr(running, "__file__", str(Path("elsewhere", "hmm_utils", "running.py")))
    with pytest.raises(running.Refused, match="run hmm in the project's checkout"):
        running.notebooks_folder()
    world.rename("notebooks")
    assert running.notebooks_folder() == Path("notebooks").resolve()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("steps: int = 3  # as in n = 3", "papermill cannot read the line of the parameter steps"),
        ("steps: int = len('abc')", "the default of steps is not a plain value"),
        ("steps = None", "steps has no type"),
        ("steps: int = (", "is not Python"),
    ],
)
# papermill warns through its logger, besides.
def test_parameters_that_cannot_be_read(world, capfd, cell, message):
    write_notebook(world, "05_odd", [], parameters=cell)
    code, _, err = hmm(capfd, world, "list")
    assert code == 2
    assert re.search(rf"^hmm: 05_odd\.ipynb: .*{re.escape(message)}.*\.$", err, re.M)


def test_a_file_that_is_no_notebook(world, capfd):
    (world / "05_odd.ipynb").write_text("{")
    code, _, err = hmm(capfd, world, "run", "01")
    assert code == 2 and "05_odd.ipynb is not a notebook that can be read" in err
    assert not list(world.glob("ran-*"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["01_good"], ["01_good"]),
        (["01"], ["01_good"]),
        (["01_good.ipynb"], ["01_good"]),
        (["note{books}/01_good.ipynb"], ["01_good"]),
        (["03", "00", "03_other"], ["03_other", "00_plain"]),
        (["02", "all"], ["00_plain", "01_good", "02_bad", "03_other"]),
    ],
)
def test_names(world, names, chosen):
    known = running.discover(world.resolve(), EXPERIMENTS)
    assert [info.name for info in running.choose(names, known)] == chosen


def test_an_ambiguous_number(world):
    write_notebook(world, "01_twin", [])
    with pytest.raises(running.Refused, match='"01" means 01_good or 01_twin: write the whole name'):
        running.choose(["01"], running.discover(world, EXPERIMENTS))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "3", 3),
        ("int", "-3", -3),
        ("int", "1_000", 1000),
        ("float", "0.2", 0.2),
        ("float", "2", 2.0),
        ("float", "1e-2", 0.01),
        ("float", "1E3", 1000.0),
        ("float", "-.5e-1", -0.05),
        ("float", "1.5e+2", 150.0),
        ("str", "mnist", "mnist"),
        ("str", "'3'", "3"),
        ("str", "1e", "1e"),
        ("bool", "true", True),
        ("bool", "False", False),
        ("list", "[1, 2, 4]", [1, 2, 4]),
        ("list", "[1,2,4]", [1, 2, 4]),
        ("list", "[1e-2, 3, x]", [0.01, 3, "x"]),
        ("list", "['1e-2']", ["1e-2"]),
        ("list", "[]", []),
        ("list", "null", None),
        ("list", "None", None),
        ("float", "None", None),
    ],
)
def test_values(kind, text, value):
    converted = running.convert(text, running.Parameter("x", kind, None, ""))
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
        ("float", ".nan", r"x is \.nan, where only finite numbers make sense"),
        ("float", "1e999", "only finite numbers"),
        ("list", "[1, [.inf]]", "only finite numbers"),
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
    with pytest.raises(running.Refused, match=message):
        running.convert(text, running.Parameter("x", kind, default, ""))
