"""Sphinx's configuration of the book, whose sources ``hmm_book.make`` puts together."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hmm_book.make import REPOSITORY

project = "The hidden manifold model: a runnable companion"
author = "The hidden-manifold-companion authors"
copyright = f"{author}. MIT licence"
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "hmm_book.extension",
]

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
# widgets need a kernel, and their scripts would be loaded from elsewhere
nb_ipywidgets_js = {}
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
# a browser's own configuration of MathJax is below
myst_update_mathjax = False
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]

napoleon_google_docstring = False
# types as they are written: "(P, N) float array" names no classes
napoleon_use_param = False
napoleon_use_rtype = False
# the fields of a dataclass, described once, by its docstring
napoleon_custom_sections = [("Attributes", "params_style")]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# Formulas are literal blocks: nothing in them is coloured as code, or offered to be copied.
highlight_language = "none"
copybutton_selector = "div:not(.highlight-none) > div.highlight pre"

# A word in single backquotes is a reference to something public, too; code has double ones.
default_role = "py:obj"
# A role must lead to something public of the project. Types in signatures are looked up as classes, and most have no
# page here.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:class", r"(?!hmm_utils\.).*"),
    (r"py:.*", r"(numpy|scipy|torch|xarray|matplotlib|sklearn)\..*"),
    (r"py:.*", r"hmm_utils\..*\._\w+"),
]
# autosummary looks for its templates beside the assembled sources
templates_path = [str(Path(__file__).parent / "_templates")]
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["book.css"]
html_theme = "sphinx_book_theme"
html_title = "The hidden manifold model"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "repository_url": f"https://github.com/{REPOSITORY}",
    "navbar_persistent": [],
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "max_navbar_depth": 2,
    "show_toc_level": 2,
}

mathjax3_config = {
    # the package's formulas may not ask for a file of their own
    "options": {"enableMenu": False, "processHtmlClass": "math", "ignoreHtmlClass": ".*"},
    "svg": {"fontCache": "global", "scale": 0.95},
    "tex": {"tags": "none"},
}
