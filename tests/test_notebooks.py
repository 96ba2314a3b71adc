"""The committed notebooks: complete, clean, in step with their scripts, and with parameters that can be set."""

import ast
import re
import shutil
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


@pytest.fixture
def notebook(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


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


def test_every_notebook_is_a_pair_and_known():
    """Every .py has its .ipynb and the reverse, and these are the notebooks that hmm_utils.runs.experiments knows."""
    scripts, notebooks = (
        sorted(path.stem for path in FOLDER.glob(f"*.{kind}") if not path.name.startswith("."))
        for kind in ("py", "ipynb")
    )
    assert len(scripts) >= 4
    assert scripts == notebooks == sorted(NOTEBOOKS)


# ---- what is stored ----------------------------------------------------------------------------------------------


def test_all_cells_were_run_in_order(notebook):
    """Every code cell was executed once, from the first to the last, in a fresh kernel."""
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_outputs_are_stored(notebook):
    """A reader sees at least one picture and one text without running anything."""
    kinds = {kind for cell in code(notebook) for output in cell.outputs for kind in output.get("data", {})}
    assert "image/png" in kinds
    assert any(text.strip() for cell in code(notebook) for text in texts(cell))


def test_no_error_is_stored(notebook):
    """No cell ended with an exception."""
    assert [o.ename for cell in code(notebook) for o in cell.outputs if o.output_type == "error"] == []


def test_no_progress_bar_is_stored(notebook):
    """The text of progress bars, which is another one in every run, is not stored."""
    for cell in code(notebook):
        for text in texts(cell):
            assert "\r" not in text and not re.search(r"\d+%\|", text), f"a progress bar below:\n{cell.source}"


def test_nothing_on_stderr_is_stored(notebook):
    """No warning is stored: what a reader should know is said in the text."""
    assert [o.text for cell in code(notebook) for o in cell.outputs if o.get("name") == "stderr"] == []


def test_a_cell_is_compared_with_its_stored_text(notebook):
    """At least one cell is tagged for nbval to compare its output, and each of these has printed something."""
    cells = tagged(notebook, "nbval-check-output")
    assert cells
    for cell in cells:
        assert cell.cell_type == "code"
        assert any(o.output_type == "stream" and o.text.strip() for o in cell.outputs), f"no output:\n{cell.source}"


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("'/home/someone/x.npz'", True),
        ("/root/a", True),
        ("(/tmp/b/c.py:3)", True),
        ("file:///Users/me", True),
        (r"C:\Users\me", True),
        ("lib/site-packages/tqdm/auto.py:21", True),
        ("https://arxiv.org/abs/1909.11500", False),
        ("https://example.org/home/x", False),
        ("one/two, K/M, steps/N, build/tmp/x", False),
        (r"$\epsilon_g:\frac12$ and 1/tmp/2", False),
    ],
)
def test_local_paths_are_recognised(text, local):
    """The guard below sees absolute paths of any system, and takes no address or fraction for one."""
    assert bool(LOCAL_PATH.search(text)) == local


def test_no_local_path_is_stored(name, notebook):
    """Neither sources nor outputs nor metadata name a folder of the machine that ran the notebook."""
    said = [(FOLDER / f"{name}.py").read_text("utf-8"), str(notebook.metadata)]
    said += [cell.source for cell in notebook.cells] + [str(cell.metadata) for cell in notebook.cells]
    said += [text for cell in code(notebook) for text in texts(cell)]
    found = [text[max(m.start() - 40, 0) : m.end() + 40] for text in said for m in LOCAL_PATH.finditer(text)]
    assert found == []


# ---- parameters --------------------------------------------------------------------------------------------------


def test_lines_of_the_parameters_cell(name, notebook):
    """There is one parameters cell; each line declares a type, a literal default of that type (or None) and a help.
    A notebook that trains something says where."""
    found = parameters(notebook)
    for parameter, kind, default, _ in found:
        value = ast.literal_eval(default)
        assert value is None or type(value).__name__ == kind, f"{parameter}: {kind} = {default}"
    names = [parameter for parameter, *_ in found]
    assert len(set(names)) == len(names)
    assert {"profile", "seed", "out"} <= set(names)
    assert ("device" in names) == bool(NOTEBOOKS[name].setups)


def test_papermill_reads_every_parameter(notebook):
    """papermill finds every line of the parameters cell with its type, default and help."""
    seen = inspect_notebook(notebook)
    by_papermill = [(p["name"], p["inferred_type_name"], p["default"], p["help"]) for p in seen.values()]
    assert by_papermill == parameters(notebook)


def test_committed_run_is_a_quick_one_that_writes_nothing(notebook):
    """Without choices a notebook runs at the quick profile and leaves no files behind."""
    values = {name: ast.literal_eval(default) for name, _, default, _ in parameters(notebook)}
    assert (values["profile"], values["out"]) == ("quick", "")


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_defaults_are_the_profile(name, notebook, profile):
    """`plan` accepts every parameter, and the defaults in the cell change nothing about what a profile says."""
    _, values = defaults(notebook)
    assert "seed" in values
    planned = experiments.plan(name, profile, values)
    assert planned == experiments.plan(name, profile, {})
    assert {run.partition("/")[0] for run in planned} == set(NOTEBOOKS[name].setups)


def test_unknown_parameters_are_refused(name, notebook):
    """`plan` does not swallow a misspelt parameter."""
    profile, values = defaults(notebook)
    for wrong in ("n_init", "out", "device"):
        with pytest.raises(ValueError, match=f"unknown parameter '{wrong}'"):
            experiments.plan(name, profile, {**values, wrong: 1})


def test_every_parameter_is_used(notebook):
    """No parameter is declared and then never read."""
    (cell,) = tagged(notebook, "parameters")
    after = notebook.cells[notebook.cells.index(cell) + 1 :]
    trees = [ast.parse(other.source) for other in after if other.cell_type == "code"]
    read = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert [name for name, *_ in parameters(notebook) if name not in read] == []


# ---- what a cell may hold ----------------------------------------------------------------------------------------


def test_no_machinery_in_cells(notebook):
    """Cells hold physics: no classes, and no function longer than a few lines."""
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), f"class {node.name}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n_lines = node.end_lineno - node.lineno + 1
                assert n_lines <= LONGEST_FUNCTION, f"{node.name} has {n_lines} lines"


def test_first_cell_says_what_to_expect(notebook):
    """A notebook opens with its title, and with what you'll do, learn and need."""
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \S", first.source)
    places = [first.source.find(f"What you'll {verb}") for verb in ("do", "learn", "need")]
    assert -1 not in places and places == sorted(places)


def test_no_cell_is_empty(notebook):
    """No cell is left over from editing."""
    assert [i for i, cell in enumerate(notebook.cells) if not cell.source.strip()] == []


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
        text = "\n".join(markdown(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)))
        linked |= {link.removesuffix(".ipynb") for link in LINK.findall(text)} - {name}
    assert set(NOTEBOOKS) - linked <= {min(NOTEBOOKS)}


def test_the_index_leads_everywhere():
    """The index has a paragraph and a link for every other notebook, with the figures that it holds."""
    index = nbformat.read(FOLDER / "index.ipynb", as_version=4)
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
    index = nbformat.read(FOLDER / "index.ipynb", as_version=4)
    (table,) = (
        o["data"]["text/markdown"] for c in code(index) for o in c.outputs if "text/markdown" in o.get("data", {})
    )
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == [claim.number for claim in claims.CLAIMS]
    committed = report.read_verdicts(ROOT / "results" / "verdicts.json")
    for claim, row, known in zip(claims.CLAIMS, rows, committed, strict=True):
        assert row[1:3] == [claim.statement, f"{claim.section}, {claim.figure}"]
        assert LINK.fullmatch(row[3])[1] == f"{claim.notebook}.ipynb"
        assert (claim.number, row[4]) == (known["claim"], f"*{known['verdict']}*")


# ---- the two halves of a pair ------------------------------------------------------------------------------------


@pytest.fixture
def scratch(name, tmp_path):
    """The pair and the project's jupytext settings in a folder where anything may be written."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind in ("py", "ipynb"):
        shutil.copy(FOLDER / f"{name}.{kind}", tmp_path)
    return tmp_path / name, load_jupytext_configuration_file(str(tmp_path / "pyproject.toml"))


def cells(notebook):
    return [(cell.cell_type, cell.source, list(cell.metadata.get("tags", []))) for cell in notebook.cells]


def test_notebook_is_that_of_its_script(scratch):
    """The .ipynb has the cells (kinds, sources, tags) and the kernel that its .py gives anew."""
    path, config = scratch
    committed = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    jupytext.write(jupytext.read(path.with_suffix(".py"), config=config), path.with_suffix(".ipynb"), config=config)
    anew = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    assert cells(committed) == cells(anew)
    assert committed.metadata.kernelspec == anew.metadata.kernelspec
    assert committed.metadata.kernelspec.name == "python3"


def test_script_is_that_of_its_notebook(scratch):
    """The .py that the .ipynb gives anew, under the project's settings, is the committed one to the byte."""
    path, config = scratch
    notebook = jupytext.read(path.with_suffix(".ipynb"), config=config)
    anew = jupytext.writes(notebook, fmt="py:percent", config=config)
    # bytes decoded, so that line ends count and pytest shows a difference line by line
    assert anew == path.with_suffix(".py").read_bytes().decode("utf-8")


def test_both_halves_read_alike(scratch):
    """jupytext reads the same cells from both files, whatever the settings."""
    path, _ = scratch
    assert cells(jupytext.read(path.with_suffix(".py"))) == cells(jupytext.read(path.with_suffix(".ipynb")))
