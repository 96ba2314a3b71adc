"""The Sphinx side of the book: docstrings in the project's style, and MathJax from the site itself."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path

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
    app.connect("autodoc-process-docstring", _markup)
    app.connect("build-finished", _files)
    app.config.mathjax_path = MATHJAX
    return {"parallel_read_safe": True, "parallel_write_safe": True}
