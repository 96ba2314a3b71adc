"""The Sphinx side of the book: docstrings in the project's style, and MathJax from the site itself."""

from __future__ import annotations

import ast
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

import hmm_utils
from hmm_book import api
from hmm_book.docstrings import to_rst

MATHJAX = "tex-svg-full.js"


def _markup(app, what, name, obj, options, lines: list[str]) -> None:
    """autodoc's docstrings, before it parses them."""
    known = api.modules(hmm_utils)
    names = {module.__name__ for module in known}
    within = name
    while within not in names:
        within = within.rpartition(".")[0]
    text = "\n".join(lines)
    lines[:] = to_rst(text, api.resolver(known, within))


def _plain_values(app, doctree) -> None:
    """Constants show their value if it is one: no paths of the machine that builds, no functions, no addresses."""
    for entry in doctree.findall(addnodes.desc):
        if entry.get("objtype") in ("data", "attribute"):
            for note in list(entry.findall(addnodes.desc_annotation)):
                _, is_value, value = note.astext().partition("= ")
                if is_value and not _is_literal(value):
                    note.parent.remove(note)


def _is_literal(value: str) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return False
    return len(value) < 80


class KeepPunctuation(SphinxPostTransform):
    """No line begins with the full stop or the bracket that follows a formula."""

    default_priority = 800
    formats = ("html",)

    def run(self, **kwargs) -> None:
        for formula in list(self.document.findall(nodes.math)):
            parent, at = formula.parent, formula.parent.index(formula)
            behind = parent[at + 1] if at + 1 < len(parent) else None
            text = str(behind) if isinstance(behind, nodes.Text) else ""
            # docutils keeps an escaped blank as a NUL and a blank
            if mark := re.match(r"(?:\x00 )?([-.,:;!?’”)\]]+)", text):
                kept = nodes.inline("", "", formula.deepcopy(), nodes.Text(mark[1]), classes=["nowrap"])
                parent[at : at + 2] = [kept, nodes.Text(text[mark.end() :])]


def _files(app, exception) -> None:
    """The one file of MathJax that the pages load, TeX in, SVG out, all TeX packages and glyphs within; and away with
    what the theme leaves among its files and no page needs: templates, and maps for those who debug its scripts."""
    if exception is None:
        static = Path(app.outdir) / "_static"
        for unneeded in [*static.glob("*macros.html"), *static.rglob("*.map")]:
            unneeded.unlink()
        files = distribution("sphinx-mathjax-offline").files or []
        found = next(Path(str(file.locate())) for file in files if file.name == MATHJAX)
        shutil.copyfile(found, static / MATHJAX)


def setup(app) -> dict[str, bool]:
    app.add_post_transform(KeepPunctuation)
    app.connect("autodoc-process-docstring", _markup)
    app.connect("doctree-read", _plain_values)
    app.connect("build-finished", _files)
    app.config.mathjax_path = MATHJAX
    return {"parallel_read_safe": True, "parallel_write_safe": True}
