"""Throw-away notebooks, and the plan that stands in for `hmm_utils.runs.experiments.plan` beside them."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from hmm_utils.runs import experiments

NAMES = ["00_plain", "01_good", "02_bad", "03_other"]

PLACE = """profile: str = "quick"  # scale of the runs
out: str = ""  # folder for figures and verdicts (empty: nothing is written)
seed: int = 7"""

PARAMETERS = f"""{PLACE}
steps: int = 3  # how many steps

# of the students
rate: float = 0.5  # learning rate
widths: list = None  # student widths K (None: the profile's)
label: str = "erf"  # activation
boom: bool = False  # fail on purpose
"""

# Every cell that runs leaves a trace in the kernel's folder, which has to be the folder of the notebooks.
TRACE = 'from pathlib import Path\nPath("ran-NAME").touch()'

BARS = """import warnings
from tqdm import tqdm
for epoch in tqdm(range(steps), desc="training"):
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
     "measured": "ratio 0.3 | 0.4", "values": [], "notebook": "NAME", "scale": f"{profile}, steps={steps}"}
    for claim in ("C10", "C2")
]
if out:
    Path(out, "claims").mkdir(parents=True, exist_ok=True)
    Path(out, "claims", "NAME.json").write_text(json.dumps(claims))
    Path(out, "figures").mkdir(exist_ok=True)
    Path(out, "figures", "NAME.png").touch()"""


def plan(setups, profile, overrides, extra_parameters=()):
    """As in `hmm_utils.runs.experiments`: refuse the impossible."""
    assert not {"profile", "out"} & set(overrides)
    if overrides.get("steps", 1) < 1:
        raise ValueError(f"steps must be at least 1, not {overrides['steps']}: give a larger number.")


def replace_plan(replace):
    """Replaces, by `replace(module, name, value)`, what a run asks `experiments`: nothing is planned or stored."""
    replace(experiments, "plan", plan)
    replace(experiments, "is_archived", lambda profile: False)


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
        notebook.metadata["hidden_manifold"] = {"title": name} | dict(about)
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
