"""Execute the committed notebooks from their percent scripts: ``make notebooks [ONLY=01]``.

The .py is the source. Each is turned into a notebook, executed in the quick profile without progress bars (whose text
would be stored and compared), and only a complete one replaces the .ipynb beside it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hmm_utils import files

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def main(chosen: list[str]) -> int:
    """Execute the notebooks whose names start with one of ``chosen``; all if it is empty."""
    os.environ["TQDM_DISABLE"] = "1"
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    scripts = [p for p in sorted(NOTEBOOKS.glob("*.py")) if not chosen or any(p.name.startswith(c) for c in chosen)]
    if not scripts:
        known = ", ".join(sorted(p.stem for p in NOTEBOOKS.glob("*.py")))
        print(f"No notebook starts with {' or '.join(chosen)}: name one of {known}.")
        return 2
    for script in scripts:
        print(f"{script.name} …", flush=True)
        target = script.with_suffix(".ipynb")
        notebook = jupytext.read(script)
        if target.exists():
            _keep_ids(notebook, nbformat.read(target, as_version=4))
        NotebookClient(
            notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}}
        ).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        files.replace(target, lambda aside, executed=notebook: jupytext.write(executed, aside, fmt="ipynb"))
    return 0


def _keep_ids(new, old) -> None:
    """Unchanged cells keep their ids, so that a re-execution shows up as changed outputs only."""
    ids: dict[str, list[str]] = {}
    for cell in old.cells:
        ids.setdefault(cell.source, []).append(cell.id)
    for cell in new.cells:
        # two cells may read alike
        if same := ids.get(cell.source):
            cell.id = same.pop(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
