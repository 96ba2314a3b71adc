"""What the book adds to Sphinx: links on references to the paper, and MathJax from the site itself."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext import autosummary
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

MATHJAX = "tex-svg-full.js"


class LabelEquations(SphinxTransform):
    r"""Make equations with a number of the paper, ``\tag{6}``, targets of references.

    The number is the paper's and MathJax shows it, in JupyterLab too, so that Sphinx has none to give.
    """

    default_priority = 500

    def apply(self, **kwargs: object) -> None:
        """Change the document of one page."""
        for equation in self.document.findall(nodes.math_block):
            # two equations side by side have their numbers beside them
            numbers = re.findall(r"\\tag\{(\d+)\}|\\quad\((\d+)\)", equation.astext())
            names = [f"{self.env.docname}-eq-{one or other}" for one, other in numbers]
            if new := [name for name in names if name not in self.document.nameids]:
                equation["names"] += new
                self.document.note_explicit_target(equation)


class LinkToThePaper(SphinxPostTransform):
    """Link "Eq. (6)" and "Fig. 2" (left) in prose to the equation and to the figure, if the book shows them.

    An equation of the same page comes first, otherwise that of the first page; a figure is that at the paper's scale.
    """

    default_priority = 5
    not_in = (nodes.title, nodes.reference, nodes.literal, nodes.math, nodes.FixedTextElement)
    reference = re.compile(r"\bEq\. \((\d+)\)|\bFig\. (\d+)(?=(?:,? \(?(left|right)\b)?)")

    def run(self, **kwargs: object) -> None:
        """Change the document of one page."""
        for text in list(self.document.findall(nodes.Text)):
            if self.reference.search(text) and not self._within(text, self.not_in):
                text.parent.replace(text, self._linked(text))

    def _within(self, node: nodes.Node | None, kinds: tuple[type[nodes.Node], ...]) -> bool:
        return node is not None and (isinstance(node, kinds) or self._within(node.parent, kinds))

    def _linked(self, text: str) -> list[nodes.Node]:
        parts: list[nodes.Node] = []
        end = 0
        for match in self.reference.finditer(text):
            if target := self._target(*match.groups()):
                link = make_refnode(self.app.builder, self.env.docname, *target, nodes.Text(match[0]))
                parts += [nodes.Text(text[end : match.start()]), link]
                end = match.end()
        return [*parts, nodes.Text(text[end:])]

    def _target(self, equation: str | None, figure: str | None, side: str | None) -> tuple[str, str] | None:
        """Page and place of an equation or of a figure."""
        labels = self.env.domains.standard_domain.anonlabels
        if equation:
            pages = (self.env.docname, *sorted(self.env.found_docs))
            names = [f"{page}-eq-{equation}" for page in pages]
        else:
            names = [f"fig{figure}-{side}-paper", f"fig{figure}-paper"]
        return next((labels[name] for name in names if name in labels), None)


class KeepPunctuation(SphinxPostTransform):
    """Keep the full stop or the bracket that follows a formula on the formula's line."""

    default_priority = 800
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Change the document of one page."""
        for formula in list(self.document.findall(nodes.math)):
            following = formula.next_node(descend=False, siblings=True)
            if isinstance(following, nodes.Text) and (mark := re.match(r"[-.,:;!?’”)\]]+", following)):
                both = nodes.inline("", "", formula.deepcopy(), nodes.Text(mark[0]), classes=["nowrap"])
                formula.parent.replace(following, nodes.Text(following[mark.end() :]))
                formula.parent.replace(formula, both)


def _readable_defaults(app: Sphinx, what: str, name: str, value: object, options: object, *signature: str | None):
    """Write "..." for a default that is no literal, ``<function …>``, which Sphinx cannot parse."""
    arguments, returned = signature
    return (re.sub(r"= <[^,]*>(?=[,)])", "= ...", arguments), returned) if arguments else None


def _hide_values(app: Sphinx, document: nodes.document) -> None:
    """Remove values of constants: long tables, and paths of the machine that builds.

    autodoc's ``:no-value:`` does not reach the members of a module.
    """
    for value in list(document.findall(addnodes.desc_annotation)):
        if value.astext().startswith(" = "):
            value.parent.remove(value)


def _copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Add the one file of MathJax that pages load (TeX to SVG, with all packages and glyphs); remove unused files.

    The theme leaves templates and source maps among its files.
    """
    if exception is None:
        static = Path(app.outdir) / "_static"
        for unused in [*static.glob("*macros.html"), *static.rglob("*.map")]:
            unused.unlink()
        files = distribution("sphinx-mathjax-offline").files or []
        found = next(Path(str(file.locate())) for file in files if file.name == MATHJAX)
        shutil.copyfile(found, static / MATHJAX)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transforms and the file of MathJax with Sphinx."""
    app.add_transform(LabelEquations)
    app.add_post_transform(LinkToThePaper)
    app.add_post_transform(KeepPunctuation)
    app.connect("autodoc-process-signature", _readable_defaults)
    app.connect("doctree-read", _hide_values)
    app.connect("build-finished", _copy_mathjax)
    app.config.mathjax_path = MATHJAX
    # "Eq. (1)" does not end the first sentence of a docstring; Sphinx has no option for it
    autosummary.WELL_KNOWN_ABBREVIATIONS += ("Eq.", "Eqs.", "Fig.", "Figs.", "Sec.", "App.")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
