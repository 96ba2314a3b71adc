"""Peak memory of the notebooks: the largest resident memory of each one's kernel, run in the quick profile.

    python benchmarks/memory.py [NAME ...]

Every notebook (or those whose names start with NAME) runs in a fresh kernel from its first cell to its last; then the
operating system is asked for the peak of that process and, where it can be sampled, of the processes that it started.
Prints a table and writes it to build/bench-memory.json. What is above `LIMIT` is said, and the exit code is then 1:
Binder gives 2 GB, of which JupyterLab and a second open notebook take their part.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import nbformat
import psutil
from nbclient import NotebookClient

from hmm_utils.data import mnist
from hmm_utils.sgd import hardware

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
OUT = ROOT / "build" / "bench-memory.json"
LIMIT = 1.2e9
EVERY = 0.05
"""Seconds between two looks at the processes that a kernel started."""

# Peak of the process since its start: KiB on Linux, bytes on macOS.
ASK = "(lambda r: r.getrusage(r.RUSAGE_SELF).ru_maxrss)(__import__('resource'))"


@dataclass(frozen=True)
class Peak:
    """Of one notebook, in bytes and seconds.

    kernel    largest resident memory of the kernel's process
    children  largest sum over the processes that it started, as far as sampled; 0 if none was seen
    """

    notebook: str
    kernel: int
    children: int
    seconds: float


def measure(path: Path) -> Peak:
    """Runs a notebook to its end in a fresh kernel. Raises nbclient's CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": path.parent}}
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", resources=where)
    start = perf_counter()
    # what a kernel says outside its cells, such as how it is talked to, would tear the table
    with client.setup_kernel(stderr=subprocess.DEVNULL):
        pid = client.km.provisioner.process.pid
        with _children(pid) as largest:
            for number, cell in enumerate(notebook.cells):
                client.execute_cell(cell, number)
        return Peak(path.stem, _peak(pid, client), max(largest), perf_counter() - start)


def _peak(pid: int, client: NotebookClient) -> int:
    """The peak of a kernel's process, in bytes.

    Linux hands ru_maxrss on from the process that starts another, so that its own account is read where there is one.
    """
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.M)[1]) * 1024
    client.nb.cells.append(cell := nbformat.v4.new_code_cell(ASK))
    client.execute_cell(cell, len(client.nb.cells) - 1)
    return int(cell.outputs[0]["data"]["text/plain"]) * (1 if platform.system() == "Darwin" else 1024)


@contextmanager
def _children(pid: int) -> Iterator[list[int]]:
    """In the block, the resident memory of all processes below this one, sampled from time to time."""
    seen, over = [0], threading.Event()
    kernel = psutil.Process(pid)

    def look() -> None:
        while not over.wait(EVERY):
            seen.append(sum(map(_resident, kernel.children(recursive=True))))

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield seen
    finally:
        over.set()
        watch.join()


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has ended since
        return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measures the peak memory of the notebooks in the quick profile.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="how a notebook's name begins (default: all)")
    names = parser.parse_args(arguments).names
    chosen = [p for p in sorted(NOTEBOOKS.glob("[!.]*.ipynb")) if not names or p.stem.startswith(tuple(names))]
    if not chosen:
        parser.error(f"no notebook's name begins with {' or '.join(names)}")
    images = "MNIST" if mnist.is_available() else "the 8 × 8 digits"
    print(f"{hardware.threads()} of {hardware.cores()} cores, {images}")
    print(f"{'notebook':<34}{'GB':>6}{'children':>10}{'seconds':>9}")
    peaks = []
    for path in chosen:
        peaks.append(peak := measure(path))
        children = f"{peak.children / 1e9:.2f}" if peak.children else "–"
        print(f"{peak.notebook:<34}{peak.kernel / 1e9:>6.2f}{children:>10}{peak.seconds:>9.0f}", flush=True)
    OUT.parent.mkdir(exist_ok=True)
    about = {"threads": hardware.threads(), "cores": hardware.cores(), "images": images, "limit": LIMIT}
    text = json.dumps(about | {"peaks": [asdict(peak) for peak in peaks]}, indent=1, ensure_ascii=False)
    OUT.write_text(text + "\n", encoding="utf-8")
    above = [peak.notebook for peak in peaks if peak.kernel + peak.children > LIMIT]
    if above:
        print(f"Above {LIMIT / 1e9:g} GB: {', '.join(above)}.")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
