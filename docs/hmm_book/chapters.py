"""Notebooks as chapters: the same cells with numbered equations and figures, anchors, captions, and a box on how to
run them again.

The notebooks stay plain: an equation is `$$ … $$`, a figure the output of a cell. Numbers and anchors are put on here,
into a copy. Equation 2 of notebook 03 that has no number of the paper's is (3.2), figure 4 is Figure 3.4; a figure's
anchor is the name under which its cell saves it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat

from hmm_book import unitex
from hmm_book.errors import BookError
from hmm_utils.app.notebooks import NotebookInfo, Parameter, discover

__all__ = ["Chapter", "Figure", "anchor_of_equation", "chapters", "group", "pages"]

GROUPS = ("The paper", "Its appendices", "Beyond version 1", "Play")

_EQUATION = re.compile(r"^\$\$(.+?)\$\$[ \t]*$", re.S | re.M)
_FENCE = re.compile(r"^```.*?^```[ \t]*$", re.S | re.M)
_TAG = re.compile(r"\\tag\{(\w+)\}")
# two equations side by side, with the paper's numbers written beside them
_BESIDE = re.compile(r"\\quad\((\d+)\)")
# what a reference must not be looked for in: code, formulas, links
_NO_PROSE = re.compile(r"(```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\[[^\]\n]*\]\([^)\n]*\))", re.S)
_SAVED = re.compile(r"figures\.save\(\w+, \"(\w+)\"")
_NEED = re.compile(r"\*\*What you'll need\.\*\*(.*?)(?:\n\n|\Z)", re.S)
# arXiv's address of a paper → its entry in the bibliography
_CITED = {"1909.11500v1": "goldt2019", "1909.11500v4": "goldt2020", "2006.14709": "goldt2020equivalence"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_SOURCE_LINK = re.compile(r"\]\(\.\./(hmm_utils/[\w/]+)\.py\)")


@dataclass(frozen=True)
class Figure:
    """A figure of the book.

    anchor    in its page, the same as the name that its cell saves it under
    label     what it is called, Figure 3.4
    caption   in Markdown
    """

    anchor: str
    label: str
    caption: str


@dataclass(frozen=True)
class Chapter:
    """A notebook with what the book needs to know of it.

    name, number  03_hidden_manifold_model and 3
    title         how contents and links call it
    section       of the paper
    equations     the paper's numbers of equations that are displayed here, "6" for Eq. (6)
    figures       in order
    notebook      the changed copy
    """

    name: str
    number: str
    title: str
    section: str
    equations: tuple[str, ...]
    figures: tuple[Figure, ...]
    notebook: nbformat.NotebookNode


def _number(name: str) -> str:
    """3 of 03_hidden_manifold_model, B of B_plateau…; of a notebook without a number its initial."""
    head, _, rest = name.partition("_")
    if not rest:
        return head[0].upper()
    return head.lstrip("0") or "0"


def group(chapter: Chapter) -> str:
    """The part of the book that a chapter belongs to, one of GROUPS."""
    head = chapter.name.partition("_")[0]
    if head.isdigit() or chapter.name == "index":
        return GROUPS[0]
    if re.fullmatch(r"[A-S]", head):
        return GROUPS[1]
    return GROUPS[2] if re.fullmatch(r"T\d+", head) else GROUPS[3]


def _in_order(folder: Path) -> list[NotebookInfo]:
    """The notebooks of a folder in the paper's order. Raises BookError for one without metadata."""
    known = discover(folder)
    strangers = {path.stem for path in folder.glob("*.ipynb") if not path.name.startswith(".")} - set(known)
    if strangers:
        raise BookError(
            f"{', '.join(sorted(strangers))} in {folder.name}/ does not say what it is: give it a block "
            "hidden_manifold in its header, as the other notebooks have it, to make it a chapter."
        )
    if not known:
        raise BookError(f"there are no notebooks in {folder}: name the project's folder of notebooks.")
    return sorted(known.values(), key=lambda info: info.name != "index")


def chapters(folder: Path, repository: str) -> list[Chapter]:
    """The chapters of the notebooks in a folder, in the paper's order.

    repository  owner/name on GitHub, for the links to Binder

    Raises BookError for a notebook that no list has, that was not executed, or two figures of one name.
    """
    made = [_chapter(info, repository) for info in _in_order(folder)]
    seen: dict[str, str] = {}
    for chapter in made:
        for figure in chapter.figures:
            if figure.anchor in seen:
                raise BookError(
                    f"{chapter.name} and {seen[figure.anchor]} both save a figure as {figure.anchor}: rename one."
                )
            seen[figure.anchor] = chapter.name
    return [replace(chapter, notebook=_linked(chapter, made)) for chapter in made]


def _chapter(info: NotebookInfo, repository: str) -> Chapter:
    notebook = nbformat.read(info.path, as_version=4)
    _check_executed(info, notebook)
    number = _number(info.name)
    equations = _number_equations(notebook, number)
    figures = _number_figures(notebook, info.name, number)
    _still(notebook)
    _head(notebook, info, number, repository)
    return Chapter(info.name, number, info.title, info.section, equations, figures, notebook)


def _check_executed(info: NotebookInfo, notebook: nbformat.NotebookNode) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    again = f"run `make notebooks` (or tools/notebooks.py {info.name}) and commit what it writes."
    if not any(cell.outputs for cell in cells):
        raise BookError(f"{info.path.name} has no outputs: {again}")
    if any(cell.execution_count is None for cell in cells):
        raise BookError(f"{info.path.name} has cells that were not executed: {again}")
    if any(output.output_type == "error" for cell in cells for output in cell.outputs):
        raise BookError(f"{info.path.name} stopped at an error: mend it and {again}")


# --- equations ---------------------------------------------------------------------------------------------------


def anchor_of_equation(chapter: str, paper_number: str) -> str:
    """Where Eq. (6) stands in chapter 3: eq-3-paper-6."""
    return f"eq-{chapter.lower()}-paper-{paper_number}"


def _number_equations(notebook: nbformat.NotebookNode, number: str) -> tuple[str, ...]:
    """Puts anchors on all displayed equations and a number on those that do not have the paper's."""
    papers: list[str] = []
    own = 0

    def numbered(match: re.Match) -> str:
        nonlocal own
        body = match[1].rstrip()
        found = _TAG.findall(body) or _BESIDE.findall(body)
        if found:
            new = [one for one in found if one not in papers]
            papers.extend(new)
            anchors = [anchor_of_equation(number, one) for one in new]
        else:
            own += 1
            anchors = [f"eq-{number.lower()}-{own}"]
            body = rf"{body} \tag{{{number}.{own}}}"
        return "".join(f"({anchor})=\n" for anchor in anchors) + f"$${body}$$"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts = re.split(f"({_FENCE.pattern})", cell.source, flags=re.S | re.M)
            cell.source = "".join(p if p.startswith("```") else _EQUATION.sub(numbered, p) for p in parts)
    return tuple(papers)


# --- figures -----------------------------------------------------------------------------------------------------


def _number_figures(notebook: nbformat.NotebookNode, name: str, number: str) -> tuple[Figure, ...]:
    modules = _imports(notebook)
    found: list[Figure] = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or not any("image/png" in o.get("data", {}) for o in cell.outputs):
            continue
        label = f"Figure {number}.{len(found) + 1}"
        saved = _SAVED.search(cell.source)
        anchor = saved[1].lower().replace("_", "-") if saved else f"{name.lower().replace('_', '-')}-{len(found) + 1}"
        drawn_by = _drawn_by(cell.source, modules)
        place = _place(saved[1] if saved else "", drawn_by)
        told = unitex.markdown(_first_paragraph(drawn_by)) if drawn_by else ""
        caption = f"**{label}.**" + (f" *{place}.*" if place else "") + (f" {told}" if told else "")
        cell.metadata["mystnb"] = {
            "figure": {"caption": caption, "name": anchor},
            "image": {"alt": f"{label}. {place}".strip()},
        }
        found.append(Figure(anchor, label, caption))
    return tuple(found)


def _imports(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What the notebook calls its modules: alias → full name."""
    aliases: dict[str, str] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "import" in cell.source:
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hmm_utils"):
                    aliases |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return aliases


def _drawn_by(source: str, modules: Mapping[str, str]) -> object | None:
    """The function of the package whose result the cell calls `figure`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(
                targets=[ast.Name(id="figure")],
                value=ast.Call(func=ast.Attribute(value=ast.Name(id=alias), attr=function)),
            ) if alias in modules:
                return getattr(importlib.import_module(modules[alias]), function, None)
    return None


def _first_paragraph(function: object) -> str:
    """What the docstring says is drawn; without the figures that the function serves, and the form of its arguments."""
    said = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
    said = re.sub(r"^Figs?\. [^:.]*(?:Fig\. [^:.]*)?: ", "", said)
    return re.sub(r" \(\w+ → \([^)]*\)\)", "", said)


def _place(saved: str, drawn_by: object | None) -> str:
    """Which figure of the paper it is, and how large the runs were, read off the name under which it is saved."""
    stored = re.search(r"_(paper|stored)$", saved)
    paper = re.fullmatch(r"fig(\d+)(?:_(left|right|top|bottom))?(?:_paper)?", saved)
    if paper and getattr(drawn_by, "__module__", "").endswith("paper_figures"):
        which = f"Fig. {paper[1]}" + (f" {paper[2]}" if paper[2] else "")
        return f"{which} of the paper, " + ("at the paper's scale" if stored else "smaller and live")
    return "At the paper's scale" if stored else ""


def _still(notebook: nbformat.NotebookNode) -> None:
    """Sliders and buttons need a kernel: a sentence stands in their place."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if _WIDGET in output.get("data", {}):
                kept = {kind: data for kind, data in output.data.items() if kind.startswith("image/")}
                said = {"text/markdown": "*Here the notebook has controls, which need it to run: see the box above.*"}
                output.data = nbformat.from_dict(kept or said)


# --- the head of a page ------------------------------------------------------------------------------------------


def _head(notebook: nbformat.NotebookNode, info: NotebookInfo, number: str, repository: str) -> None:
    """A number before the title, and behind the first cell the box on how to run the notebook again."""
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        raise BookError(f"{info.path.name} does not begin with a title: make `# Title` its first line.")
    need = _NEED.search(first.source)
    if need is None:
        raise BookError(f"{info.path.name} does not say **What you'll need.** in its first cell: add time and memory.")
    if info.name.partition("_")[2]:
        first.source = f"# {number} · {first.source[2:]}"
    # the box says it
    first.source = first.source.replace(need[0], "").rstrip()
    for paper, entry in _CITED.items():
        link = f"(https://arxiv.org/abs/{paper})"
        first.source = first.source.replace(link, f"{link} {{cite}}`{entry}`", 1)
    box = _box(info, " ".join(need[1].split()), repository)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(box, id="rerun"))


def _box(info: NotebookInfo, need: str, repository: str) -> str:
    binder = f"https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/notebooks/{info.name}.ipynb"
    given = [p for p in info.parameters if p.name not in ("profile", "out")]
    plain = [p for p in given if isinstance(p.default, int | float | str)]
    # a value stays on the line of its name
    values = " ".join(f"-p\N{NO-BREAK SPACE}{p.name}\N{NO-BREAK SPACE}{_shell(p)}" for p in plain)
    papermill = textwrap.wrap(f"papermill {info.name}.ipynb mine.ipynb {values}", 72, subsequent_indent="    ")
    lines = [
        f"hmm run {info.name} --out mine",
        f"hmm run {info.name} --profile paper --out mine",
        *" \\\n".join(papermill).replace("\N{NO-BREAK SPACE}", " ").splitlines(),
    ]
    rows = [f"| `{p.name}` | {p.type} | `{p.default!r}` | {_cell(p.help)} |" for p in info.parameters]
    return "\n".join(
        [
            "::::{admonition} Rerun it yourself",
            ":class: rerun",
            "",
            f"{need}",
            "",
            f"[Open it on Binder]({binder}), or in a checkout (papermill in its folder `notebooks/`):",
            "",
            "```text",
            *lines,
            "```",
            "",
            f":::{{dropdown}} {len(rows)} parameters",
            "| parameter | type | default | |",
            "|---|---|---|---|",
            *rows,
            ":::",
            "::::",
        ]
    )


def _shell(parameter: Parameter) -> str:
    return f'"{parameter.default}"' if parameter.default == "" else str(parameter.default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- links -------------------------------------------------------------------------------------------------------


def _linked(chapter: Chapter, all_chapters: Iterable[Chapter]) -> nbformat.NotebookNode:
    """The notebook with links on its references to equations and figures of the paper, and to the package's code."""
    before: dict[str, str] = {}
    for other in all_chapters:
        before |= {n: anchor_of_equation(other.number, n) for n in other.equations}
        if other.name == chapter.name:
            break
    drawn = {figure.anchor for other in all_chapters for figure in other.figures}

    def equation(match: re.Match) -> str:
        return f"[{match[0]}](#{before[match[1]]})" if match[1] in before else match[0]

    def figure(match: re.Match) -> str:
        names = (f"fig{match[1]}-{match[2]}-paper", f"fig{match[1]}-paper")
        target = next((name for name in names if name in drawn), None)
        return f"[{match[0]}](#{target})" if target else match[0]

    def prose(text: str) -> str:
        text = re.sub(r"\bEq\. \((\d+)\)", equation, text)
        return re.sub(r"\bFig\. (\d+)(?:,? \(?(left|right)\b\)?)?", figure, text)

    notebook = chapter.notebook
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.get("id") != "rerun":
            text = _SOURCE_LINK.sub(lambda m: f"](../api/{m[1].replace('/', '.')}.md)", cell.source)
            parts = _NO_PROSE.split(text)
            lines = [part if i % 2 else _not_in_headings(prose, part) for i, part in enumerate(parts)]
            cell.source = "".join(lines)
        if figured := cell.metadata.get("mystnb", {}).get("figure"):
            figured["caption"] = re.sub(r"\bEq\. \((\d+)\)", equation, figured["caption"])
    return notebook


def _not_in_headings(change, text: str) -> str:
    return "".join(line if line.startswith("#") else change(line) for line in text.splitlines(keepends=True))


def pages(made: Iterable[Chapter], folder: Path) -> None:
    """Writes the chapters' notebooks into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in made:
        nbformat.write(chapter.notebook, folder / f"{chapter.name}.ipynb")
