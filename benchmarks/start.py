"""How long a reader waits: importing the package, and the first figure of a notebook, counted from its kernel's start.

    python benchmarks/start.py [NOTEBOOK]

The notebook (01_independent_students) runs at its quick profile in a fresh kernel up to its first figure, three times:
with an empty folder for compiled code, again with what the first run left there, and with what binder/warm.py leaves in
an empty one. Prints a table and writes it to build/bench-start.json. The later two must compile nothing: that they left
the folder as they found it is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench-start.json"
IMPORTS = ("hmm_utils", "hmm_utils.sgd.training", "hmm_utils.figures", "torch")


def import_seconds(module: str) -> float:
    """Of a fresh interpreter; RuntimeError if a module of this package brings torch along."""
    code = f"""
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start, "torch" in sys.modules)
"""
    took, torch = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    if torch == "True" and module != "torch":
        raise RuntimeError(f"importing {module} imports torch, which takes seconds: import it where it is needed.")
    return float(took)


def first_figure(path: Path) -> float:
    """Seconds from the start of a notebook's kernel to its first figure; RuntimeError if it has none."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    start = perf_counter()
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                client.execute_cell(cell, number)
                if any("image/png" in output.get("data", {}) for output in cell.outputs):
                    return perf_counter() - start
    raise RuntimeError(f"{path.name} shows no figure.")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures how long a reader waits for the first figure.")
    parser.add_argument("notebook", nargs="?", default="01_independent_students")
    path = ROOT / "notebooks" / f"{parser.parse_args(arguments).notebook}.ipynb"
    rows = {}
    for module in IMPORTS:
        import_seconds(module)  # from here on its files are in memory
        rows[f"import {module}"] = min(import_seconds(module) for _ in range(3))
        print(f"import {module:24} {rows[f'import {module}']:8.2f} s", flush=True)
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as warmed:
        begin = perf_counter()
        warm = [sys.executable, ROOT / "binder" / "warm.py"]
        subprocess.run(warm, env=os.environ | {"NUMBA_CACHE_DIR": warmed}, check=True)
        rows["binder/warm.py"] = perf_counter() - begin
        print(f"binder/warm.py: {rows['binder/warm.py']:.1f} s", flush=True)
        for start, folder in (("nothing compiled", own), ("second start", own), ("after binder/warm.py", warmed)):
            before = sorted(os.walk(folder))
            name = f"first figure of {path.stem}, {start}"
            with patch.dict(os.environ, NUMBA_CACHE_DIR=folder, TQDM_DISABLE="1"):
                rows[name] = first_figure(path)
            print(f"{name}: {rows[name]:.1f} s", flush=True)
            if start != "nothing compiled" and sorted(os.walk(folder)) != before:
                raise RuntimeError(f"{start}: the notebook compiled something anew, which is not kept or not warmed.")
    OUT.parent.mkdir(exist_ok=True)
    result = {"cores": os.cpu_count(), "seconds": rows}
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
