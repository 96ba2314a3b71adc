"""Sphinx's configuration of the book, whose sources `hmm_book.make` puts together."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hmm_book.make import REPOSITORY

project = "The hidden manifold model, to run yourself"
author = "The hidden-manifold-companion authors"
copyright = f"{author}. MIT licence"
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
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

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# A reference to something public of the project must lead there; numpy and the rest have no page here.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!hmm_utils\.).*"), (r"py:.*", r"hmm_utils\..*\._\w+")]

templates_path = []
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
