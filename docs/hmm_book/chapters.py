"""Notebooks as chapters: the same cells with labelled figures, captions, and a box on how to run them again.

The notebooks stay plain; what is added here goes into a copy. The fourth figure of notebook 03 is Figure 3.4 (Sphinx's
own numbers would count chapters, where the notebooks are called 03, A or T1), and its label is the name under which its
cell saves it. Its caption is the summary of the function that draws it.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat

from hmm_book.errors import BookError
from hmm_utils.app.notebooks import NotebookInfo, Parameter, discover

__all__ = ["Chapter", "Figure", "chapters", "pages"]

GROUPS = ("The paper", "Its appendices", "Beyond version 1", "Play")

_SAVED = re.compile(r"figures\.save\(\w+, \"(\w+)\"")
_PAPER = re.compile(r"fig(\d+)(?:_(left|right))?(?:_paper)?")
_CLAIM = re.compile(r"[CT][\d.]+")
_NEED = re.compile(r"\*\*What you'll need\.\*\*(.*?)(?:\n\n|\Z)", re.S)
# arXiv's address of a paper → its entry in the bibliography
_CITED = {"1909.11500v1": "goldt2019", "1909.11500v4": "goldt2020", "2006.14709": "goldt2020equivalence"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_SOURCE_LINK = re.compile(r"\]\(\.\./(hmm_utils/[\w/]+)\.py\)")


@dataclass(frozen=True)
class Figure:
    """A figure of the book.

    Attributes
    ----------
    anchor : str
        Its label, the name that its cell saves it under.
    label : str
        Its number in the text, "Figure 3.4".
    claims : tuple of str
        Numbers of the claims that it shows, tags of its cell.
    """

    anchor: str
    label: str
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """A notebook as a chapter of the book.

    Attributes
    ----------
    name, number, title : str
        ``03_hidden_manifold_model``, "3" and the title in the contents.
    group : str
        The part of the book, one of GROUPS.
    figures : tuple of Figure
        In order.
    notebook : NotebookNode
        The changed copy.
    """

    name: str
    number: str
    title: str
    group: str
    figures: tuple[Figure, ...]
    notebook: nbformat.NotebookNode


def chapters(folder: Path, repository: str) -> list[Chapter]:
    """Make the chapters of the notebooks in a folder, in the paper's order.

    Parameters
    ----------
    folder : Path
        The notebooks.
    repository : str
        owner/name on GitHub, for links to Binder.

    Raises
    ------
    BookError
        For an unknown or unexecuted notebook, and for two figures of one name.
    """
    known = discover(folder)
    if not known:
        raise BookError(f"There are no notebooks in {folder}: name the project's folder of notebooks.")
    paths = (path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    if unknown := sorted({path.stem for path in paths} - set(known)):
        raise BookError(
            f"{', '.join(unknown)} in {folder.name}/ does not describe itself: add the block hidden_manifold to its "
            "metadata, as the other notebooks have it."
        )
    found = [_chapter(info, repository) for info in known.values()]
    owners: dict[str, str] = {}
    for chapter in found:
        for figure in chapter.figures:
            if figure.anchor in owners:
                both = f"{owners[figure.anchor]} and {chapter.name}"
                raise BookError(f"{both} both save a figure as {figure.anchor}: rename one.")
            owners[figure.anchor] = chapter.name
    return sorted(found, key=lambda chapter: (GROUPS.index(chapter.group), chapter.name != "index", chapter.name))


def _chapter(info: NotebookInfo, repository: str) -> Chapter:
    notebook = nbformat.read(info.path, as_version=4)
    _check_executed(info, notebook)
    head, _, rest = info.name.partition("_")
    number = (head.lstrip("0") or "0") if rest else head[0].upper()
    figures = _label_figures(notebook, info.name, number)
    _replace_widgets(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _SOURCE_LINK.sub(lambda m: f"](../api/{m[1].replace('/', '.')}.rst)", cell.source)
    _add_box(notebook, info, number, repository)
    return Chapter(info.name, number, info.title, _group(info.name), figures, notebook)


def _group(name: str) -> str:
    """Return the part of the book: 03_… and the index, A_…, T1_…, or without a number."""
    kinds = (r"\d+_.*|index", r"[A-S]_.*", r"T\d+_.*", ".*")
    return next(part for part, kind in zip(GROUPS, kinds, strict=True) if re.fullmatch(kind, name))


def _check_executed(info: NotebookInfo, notebook: nbformat.NotebookNode) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    again = f"run `make notebooks` (or tools/notebooks.py {info.name}) and commit the result."
    if not any(cell.outputs for cell in cells):
        raise BookError(f"{info.path.name} has no outputs: {again}")
    if any(cell.execution_count is None for cell in cells):
        raise BookError(f"{info.path.name} has cells that were not executed: {again}")
    if any(output.output_type == "error" for cell in cells for output in cell.outputs):
        raise BookError(f"{info.path.name} stopped at an error: fix it and {again}")


def _label_figures(notebook: nbformat.NotebookNode, name: str, number: str) -> tuple[Figure, ...]:
    """Give every picture its label and its caption, in the cells' metadata."""
    modules: dict[str, object] = {}
    found: list[Figure] = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        _import_modules(cell.source, modules)
        if not any("image/png" in output.get("data", {}) for output in cell.outputs):
            continue
        label = f"Figure {number}.{len(found) + 1}"
        saved = match[1] if (match := _SAVED.search(cell.source)) else f"{name}_{len(found) + 1}"
        anchor = saved.lower().replace("_", "-")
        place = _place(saved)
        caption = [f"**{label}.**", f"*{place}.*" if place else "", _caption(cell.source, modules)]
        cell.metadata["mystnb"] = {
            "figure": {"caption": " ".join(filter(None, caption)), "name": anchor},
            "image": {"alt": f"{label}. {place}".strip()},
        }
        claims = tuple(tag for tag in cell.metadata.get("tags", ()) if _CLAIM.fullmatch(tag))
        found.append(Figure(anchor, label, claims))
    return tuple(found)


def _import_modules(source: str, modules: dict[str, object]) -> None:
    """Import what a cell imports from the package, under the cell's names."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hmm_utils"):
            exec(ast.unparse(node), modules)


def _caption(source: str, modules: dict[str, object]) -> str:
    """Return what the docstring of the function that draws the cell's ``figure`` says before its first section."""
    called = re.search(r"^ *figure = (\w+)\.(\w+)\(", source, re.M)
    function = getattr(modules.get(called[1]), called[2], None) if called else None
    docstring = (inspect.getdoc(function) or "") if function else ""
    prose = re.split(r"\n\w+\n---", docstring)[0]
    # names in double backquotes are code in Markdown too; elsewhere nothing is markup
    parts = re.split(r"(``.+?``)", " ".join(prose.split()))
    return "".join(part if part.startswith("``") else re.sub(r"([*_$\\<\[\]`])", r"\\\1", part) for part in parts)


def _place(saved: str) -> str:
    """Tell which figure of the paper it is, and how large the runs were, by the name under which it is saved."""
    at_scale = saved.endswith(("_paper", "_stored"))
    if paper := _PAPER.fullmatch(saved):
        scale = "at the paper's scale" if at_scale else "smaller and live"
        # with a no-break space, no reference that would become a link
        side = f" {paper[2]}" if paper[2] else ""
        return f"Fig.\N{NO-BREAK SPACE}{paper[1]}{side} of the paper, {scale}"
    return "At the paper's scale" if at_scale else ""


def _replace_widgets(notebook: nbformat.NotebookNode) -> None:
    """Put a sentence in the place of sliders and buttons, which need a kernel."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if _WIDGET in output.get("data", {}):
                images = {kind: data for kind, data in output.data.items() if kind.startswith("image/")}
                notice = "*Here the notebook has interactive controls; see the box above on how to run it.*"
                output.data = nbformat.from_dict(images or {"text/markdown": notice})


# --- the top of a page -------------------------------------------------------------------------------------------


def _add_box(notebook: nbformat.NotebookNode, info: NotebookInfo, number: str, repository: str) -> None:
    """Put the number before the title, and add the box on how to run the notebook again after the first cell."""
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        raise BookError(f"{info.path.name} does not begin with a title: make `# Title` its first line.")
    need = _NEED.search(first.source)
    if need is None:
        raise BookError(f"{info.path.name} does not say **What you'll need.** in its first cell: add time and memory.")
    if "_" in info.name:
        first.source = f"# {number} · {first.source[2:]}"
    # time and memory are in the box
    first.source = first.source.replace(need[0], "").rstrip()
    for paper, entry in _CITED.items():
        link = f"(https://arxiv.org/abs/{paper})"
        first.source = first.source.replace(link, f"{link} {{cite}}`{entry}`", 1)
    box = _box(info, " ".join(need[1].split()), repository)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(box, id="rerun"))


def _box(info: NotebookInfo, need: str, repository: str) -> str:
    binder = f"https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/notebooks/{info.name}.ipynb"
    given = (p for p in info.parameters if p.name not in ("profile", "out"))
    plain = [p for p in given if isinstance(p.default, int | float | str)]
    # a value stays on the line of its name
    values = " ".join(f"-p\N{NO-BREAK SPACE}{p.name}\N{NO-BREAK SPACE}{_shell(p)}" for p in plain)
    lines = textwrap.wrap(f"papermill {info.name}.ipynb mine.ipynb {values}", 72, subsequent_indent="    ")
    papermill = " \\\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
    helps = [p.help.replace("|", "\\|") for p in info.parameters]
    rows = [f"| `{p.name}` | {p.type} | `{p.default!r}` | {h} |" for p, h in zip(info.parameters, helps, strict=True)]
    table = "\n".join(rows)
    return f"""\
::::{{admonition}} Rerun it yourself
:class: rerun

{need}

[Open it on Binder]({binder}), or in a checkout (papermill in its folder `notebooks/`):

```text
hmm run {info.name} --out mine
hmm run {info.name} --profile paper --out mine
{papermill}
```

:::{{dropdown}} {len(rows)} parameters
| parameter | type | default | |
|---|---|---|---|
{table}
:::
::::"""


def _shell(parameter: Parameter) -> str:
    return '""' if parameter.default == "" else str(parameter.default)


def pages(made: Iterable[Chapter], folder: Path) -> None:
    """Write the chapters' notebooks into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in made:
        nbformat.write(chapter.notebook, folder / f"{chapter.name}.ipynb")
