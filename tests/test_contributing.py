"""The example in CONTRIBUTING.md, followed to the letter in a copy of the project; and what it says of the layers."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE = TEXT.partition("## Add a non-linearity")[2].partition("\n## ")[0]
RECORD, CLAIM, NOTEBOOK = re.findall(r"^```python\n(.*?)^```", EXAMPLE, re.M | re.S)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of package and notebooks in which the example was followed."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("hmm_utils", "notebooks"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    nonlinearities = copy / "hmm_utils/model/nonlinearities.py"
    appendices = copy / "hmm_utils/claims/appendices.py"
    text = nonlinearities.read_text("utf-8")
    (first,) = re.findall(r"^ +Nonlinearity\(name=\"sgn\".*\n", text, re.M)
    nonlinearities.write_text(text.replace(first, first + RECORD), "utf-8")
    text = appendices.read_text("utf-8")
    (names,) = re.findall(r"^CLAIMS = \((.*)\)$", text, re.M)
    appendices.write_text(text.replace(f"CLAIMS = ({names})", f"{CLAIM}\nCLAIMS = ({names}, C20)"), "utf-8")
    (copy / "notebooks/F_softsign.py").write_text(NOTEBOOK, "utf-8")
    subprocess.run(["jupytext", "--quiet", "--to", "ipynb", "notebooks/F_softsign.py"], cwd=copy, check=True)
    return copy


def hmm(project, *arguments):
    command = [sys.executable, "-m", "hmm_utils.app", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=project, env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_notebook_judges_the_claim_on_the_nonlinearity(project, tmp_path):
    """It is listed, trains on inputs with the new f, and its verdict is written."""
    assert "F_softsign" in hmm(project, "list")
    sizes = {"n_inputs": 40, "time": 5, "widths": "[1, 2]"}
    hmm(project, "run", "F", "--out", tmp_path, *(word for k, v in sizes.items() for word in ("-p", k, v)))
    (judgement,) = json.loads((tmp_path / "claims/F_softsign.json").read_text("utf-8"))
    assert judgement["claim"] == "C20" and "N = 40" in judgement["scale"]
    assert (tmp_path / "figures/softsign.png").exists()


def test_layers_are_those_that_are_enforced():
    contract, _ = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (printed,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
    assert tomllib.loads(printed) == {"layers": contract["layers"]}
