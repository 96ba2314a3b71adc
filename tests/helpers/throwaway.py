"""Throw-away notebooks, which train nothing and say that they run the set-up of notebook 00."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAMES = ["00_plain", "01_good", "02_bad", "03_other"]

PLACE = """profile: str = "quick"  # scale of the runs
out: str = ""  # folder for figures and verdicts (empty: nothing is written)
seed: int = 7"""

PARAMETERS = f"""{PLACE}
n_pairs: int = 3  # how many

# of the students
lr: float = 0.5  # learning rate
widths: list = None  # student widths K (None: the profile's)
label: str = "erf"  # activation
boom: bool = False  # fail on purpose
"""

# Every cell that runs leaves a trace in the kernel's folder, which has to be the folder of the notebooks.
TRACE = 'from pathlib import Path\nPath("ran-NAME").touch()'

BARS = """import warnings
from tqdm import tqdm
for epoch in tqdm(range(n_pairs), desc="training"):
    for step in tqdm(range(2), desc="inner", leave=False):
        pass
warnings.warn("the learning rate is large")
import os, sys
print(sys.executable, os.environ.get("OMP_NUM_THREADS"), os.environ.get("NUMBA_NUM_THREADS"))"""

FAILS = """def ratio(x):
    return 1 / x

if boom:
    ratio(0)"""

CLAIMS = """import json
claims = [
    {"claim": claim, "statement": "wider is better", "section": "3.1", "figure": "Fig. 1", "verdict": "holds",
     "measured": "ratio 0.3 | 0.4", "values": [], "notebook": "NAME", "scale": f"{profile}, n_pairs={n_pairs}"}
    for claim in ("C10", "C2")
]
if out:
    Path(out, "claims").mkdir(parents=True, exist_ok=True)
    Path(out, "claims", "NAME.json").write_text(json.dumps(claims))
    Path(out, "figures").mkdir(exist_ok=True)
    Path(out, "figures", "NAME.png").touch()"""


def write_notebook(folder, name, cells, *, parameters=PARAMETERS, kernelspec=True, about=()):
    texts = [text.replace("NAME", name) for text in [TRACE, *cells]]
    notebook = new_notebook(
        cells=[
            new_markdown_cell(f"# About {name}"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, texts),
        ]
    )
    if about is not None:
        extra = [line.partition(":")[0] for line in parameters.splitlines() if line.startswith(("label", "boom"))]
        notebook.metadata["hidden_manifold"] = {"title": name, "setups": ["vanilla"], "parameters": extra} | dict(about)
    if kernelspec:
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def write_notebooks(folder):
    # Braces mean something to papermill; here they must not.
    folder = folder / "note{books}"
    write_notebook(folder, "00_plain", [], parameters=PLACE, kernelspec=False)
    about = {"title": "Students", "section": "3.1", "figures": ["Fig. 1", "Fig. 2"]}
    write_notebook(folder, "01_good", [BARS, FAILS, CLAIMS], about=about)
    write_notebook(folder, "02_bad", ['print("fine so far")', FAILS.replace("if boom", "if True")])
    write_notebook(folder, "03_other", [CLAIMS])
    return folder
