"""The project's notebooks, and what they say of themselves."""

from hmm_utils.app.notebooks import discover, notebooks_folder

NOTEBOOKS = discover(notebooks_folder())
