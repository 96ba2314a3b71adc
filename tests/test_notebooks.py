"""The committed notebooks: complete, clean, in step with their scripts, and with parameters that can be set."""

import ast
import re
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest
from helpers.notebooks import NOTEBOOKS
from jupytext.config import load_jupytext_configuration_file
from papermill import inspect_notebook

from hmm_utils import claims
from hmm_utils.claims import report
from hmm_utils.runs import experiments

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"

# What only exists on the machine that ran a notebook. `(?<!…)` spares addresses such as https://a.b/home/.
LOCAL_PATH = re.compile(
    r"(?<![\w.~-])/(?:home|root|tmp|var|opt|mnt|usr|srv|media|private|Users|Volumes)/|\b[A-Za-z]:\\+\w|site-packages"
)
PARAMETER = re.compile(r"(\w+): (str|int|float|bool|list) = (.+?)  # (\S.*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LONGEST_FUNCTION = 5  # lines; what needs more belongs into the package


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


@cache
def committed(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture
def notebook(name):
    return committed(name)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def syntax(notebook):
    """All nodes of the syntax trees of code cells."""
    return (node for cell in code(notebook) for node in ast.walk(ast.parse(cell.source)))


def texts(cell):
    """All that the outputs of a cell say in words: streams, plain text, HTML and tracebacks, no pictures."""
    for output in cell.outputs:
        yield from (output[key] for key in ("text", "ename", "evalue") if key in output)
        yield from output.get("traceback", [])
        yield from (str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def parameters(notebook):
    """(name, type, default, help) of each line of the parameters cell, as written."""
    (cell,) = tagged(notebook, "parameters")
    matches = [(line, PARAMETER.fullmatch(line)) for line in cell.source.splitlines()]
    assert [line for line, match in matches if not match] == [], "not `name: type = value  # help`"
    return [match.groups() for _, match in matches]


def defaults(notebook):
    """What a run without any choices hands to `experiments.plan`."""
    values = {name: ast.literal_eval(default) for name, _, default, _ in parameters(notebook)}
    return values.pop("profile"), {name: value for name, value in values.items() if name not in ("out", "device")}


# ---- which there are ---------------------------------------------------------------------------------------------


def test_every_notebook_is_a_pair_and_says_what_it_is():
    """Every .py has its .ipynb and the reverse, and each describes itself in its metadata."""
    for kind in ("py", "ipynb"):
        assert sorted(path.stem for path in FOLDER.glob(f"[!.]*.{kind}")) == sorted(NOTEBOOKS)


# ---- what is stored ----------------------------------------------------------------------------------------------


def test_all_cells_were_run_in_order(notebook):
    """Every code cell was executed once, from the first to the last, in a fresh kernel."""
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_outputs_are_stored(notebook):
    """A reader sees at least one picture and one text without running anything."""
    kinds = {kind for cell in code(notebook) for output in cell.outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    assert any(text.strip() for cell in code(notebook) for text in texts(cell))


def test_nothing_accidental_is_stored(notebook):
    """No error, no warning (what a reader should know is said in the text), no progress bar."""
    for cell in code(notebook):
        assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in cell.outputs), cell.source
        for text in texts(cell):
            assert "\r" not in text and not re.search(r"\d+%\|", text), f"a progress bar below:\n{cell.source}"


def test_a_cell_is_compared_with_its_stored_text(notebook):
    """At least one cell is tagged for nbval to compare its output, and each of these has printed something."""
    cells = tagged(notebook, "nbval-check-output")
    assert cells and all(any(o.output_type == "stream" and o.text.strip() for o in cell.outputs) for cell in cells)


def test_no_local_path_is_stored(name, notebook):
    """Neither sources nor outputs nor metadata name a folder of the machine that ran the notebook."""
    said = [(FOLDER / f"{name}.py").read_text("utf-8"), str(notebook.metadata)]
    said += [cell.source for cell in notebook.cells] + [str(cell.metadata) for cell in notebook.cells]
    said += [text for cell in code(notebook) for text in texts(cell)]
    found = [text[max(m.start() - 40, 0) : m.end() + 40] for text in said for m in LOCAL_PATH.finditer(text)]
    assert found == []


# ---- parameters --------------------------------------------------------------------------------------------------


def test_lines_of_the_parameters_cell(name, notebook):
    """One parameters cell; each line declares a type, a literal default of that type (or None) and a help, all of which
    `hmm` and papermill find. Without choices a notebook runs at the quick profile and leaves no files behind; one that
    trains something has a parameter that says where."""
    found = parameters(notebook)
    values = {parameter: ast.literal_eval(default) for parameter, _, default, _ in found}
    assert all(v is None or type(v).__name__ == kind for v, (_, kind, *_) in zip(values.values(), found, strict=True))
    assert len(values) == len(found) and "seed" in values and (values["profile"], values["out"]) == ("quick", "")
    assert ("device" in values) == bool(NOTEBOOKS[name].setups)
    seen = inspect_notebook(notebook).values()
    assert [(p["name"], p["inferred_type_name"], p["default"], p["help"]) for p in seen] == found
    assert [(p.name, p.type, p.default, p.help) for p in NOTEBOOKS[name].parameters] == [
        (name, kind, values[name], text) for name, kind, _, text in found
    ]


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_defaults_are_the_profile(name, notebook, profile):
    """`plan` accepts every parameter, and the defaults in the cell change nothing about what a profile says."""
    _, values = defaults(notebook)
    assert "seed" in values
    about = NOTEBOOKS[name]
    assert experiments.plan(about.setups, profile, values, about.extra) == experiments.plan(about.setups, profile)
    lists = [node for node in syntax(notebook) if isinstance(node, ast.List)]
    assert not about.setups or str(list(about.setups)) in map(ast.unparse, lists), "cells plan what the metadata say"


def test_every_parameter_is_used(notebook):
    """No parameter is declared and then never read."""
    read = {node.id for node in syntax(notebook) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert [name for name, *_ in parameters(notebook) if name not in read] == []


# ---- what a cell may hold ----------------------------------------------------------------------------------------


def test_no_machinery_in_cells(notebook):
    """Cells hold physics: no classes, and no function longer than a few lines."""
    for node in syntax(notebook):
        assert not isinstance(node, ast.ClassDef), f"class {node.name}"
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{node.name} is too long"


def test_first_cell_says_what_to_expect(notebook):
    """A notebook opens with its title, and with what you'll do, learn and need."""
    assert all(cell.source.strip() for cell in notebook.cells)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \S.*What you'll do.*What you'll learn.*What you'll need", first.source, re.DOTALL)


def test_links_lead_somewhere(notebook):
    """Links to other files, notebooks above all, name files that exist beside the notebook."""
    links = [link for text in markdown(notebook) for link in LINK.findall(text)]
    assert any(link.startswith("https://arxiv.org/abs/1909.11500") for link in links)
    local = [link.partition("#")[0] for link in links if not re.match(r"https?://|mailto:|#", link)]
    assert [link for link in local if not (FOLDER / link).is_file()] == []


def test_notebooks_are_linked():
    """Every notebook but the first is linked from another one."""
    linked = set()
    for name in NOTEBOOKS:
        text = "\n".join(markdown(committed(name)))
        linked |= {link.removesuffix(".ipynb") for link in LINK.findall(text)} - {name}
    assert set(NOTEBOOKS) - linked <= {min(NOTEBOOKS)}


def test_the_index_leads_everywhere():
    """The index has a paragraph and a link for every other notebook, with the figures that it holds."""
    index = committed("index")
    paragraphs = [text for source in markdown(index) for text in source.split("\n\n") if text.startswith("**[")]
    named = {LINK.search(text)[1].removesuffix(".ipynb"): text for text in paragraphs}
    assert list(named) == [name for name in NOTEBOOKS if name != "index"]
    for name, about in NOTEBOOKS.items():
        for figure in about.figures:
            number = figure.removeprefix("Fig. ").partition(" ")[0]
            assert re.search(rf"Figs?\..*\b{number}\b", named[name]), f"{figure} in the paragraph of {name}"


def test_the_index_lists_every_claim():
    """The table of the index has a row for each claim with what is said, where, the notebook that judges it, and the
    committed verdict."""
    index = committed("index")
    (table,) = (
        o["data"]["text/markdown"] for c in code(index) for o in c.outputs if "text/markdown" in o.get("data", {})
    )
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == [claim.number for claim in claims.CLAIMS]
    known_verdicts = report.read_verdicts(ROOT / "results" / "verdicts.json")
    for claim, row, known in zip(claims.CLAIMS, rows, known_verdicts, strict=True):
        assert row[1:3] == [claim.statement, f"{claim.section}, {claim.figure}"]
        assert LINK.fullmatch(row[3])[1] == f"{claim.notebook}.ipynb"
        assert (claim.number, row[4]) == (known["claim"], f"*{known['verdict']}*")


# ---- the two halves of a pair ------------------------------------------------------------------------------------


CONFIG = load_jupytext_configuration_file(str(ROOT / "pyproject.toml"))


def cells(notebook):
    return [(cell.cell_type, cell.source, list(cell.metadata.get("tags", []))) for cell in notebook.cells]


def test_notebook_is_that_of_its_script(name, notebook):
    """The .ipynb has the cells (kinds, sources, tags), the kernel and the metadata that its .py gives."""
    generated = jupytext.read(FOLDER / f"{name}.py", config=CONFIG)
    assert cells(notebook) == cells(generated) and notebook.metadata.kernelspec.name == "python3"
    for key in ("kernelspec", "hidden_manifold"):
        assert notebook.metadata[key] == generated.metadata[key]


def test_script_is_that_of_its_notebook(name):
    """The .py that the .ipynb gives, under the project's settings, is the committed one to the byte."""
    generated = jupytext.writes(jupytext.read(FOLDER / f"{name}.ipynb", config=CONFIG), "py:percent", config=CONFIG)
    # bytes decoded, so that line ends count and pytest shows a difference line by line
    assert generated == (FOLDER / f"{name}.py").read_bytes().decode("utf-8")
