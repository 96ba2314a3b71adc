"""JupyterLab as a reader meets it: a notebook is opened and run from the menu, and a .py opens as a notebook.

No complaint of the page is forgiven: with the settings of binder/jupyter JupyterLab asks for no news and no updates,
the only requests of its own that would leave the machine.
"""

import io
import os
import re
import shutil
import time

import nbformat
import numpy as np
import pytest
from conftest import ROOT, free_port, running
from PIL import Image

NOTEBOOK = "01_independent_students"
MINUTES = 10
"""A person would give up; on a machine that does other things too, the quick profile takes a minute or two."""


@pytest.fixture
def lab(tmp_path):
    """JupyterLab with the settings of `make lab`, on a copy of the notebooks, without those of whoever runs this."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "work" / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "hmm_utils", tmp_path / "work" / "hmm_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "work")
    own = {
        name: str(tmp_path / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }
    given = os.environ.get("JUPYTER_CONFIG_PATH")
    own["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [str(ROOT / "binder" / "jupyter"), given]))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        *("jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path / 'work'}"),
    ]
    with running(command, answers=f"{address}/api/status", log=tmp_path / "lab.log", env=own):
        yield address


def choose(page, menu, entry):
    """Opens a menu of the menu bar and clicks an entry of it."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(rf"^{menu}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(rf"^{re.escape(entry)}$")).click()


def shown(page):
    """The notebook in front."""
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def until(seen, condition, seconds, what):
    """Waits for something to become true; a page on which it does not is kept as a picture."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            seen.shot("lab-failed")
            pytest.fail(f"{what} after {seconds} s")
        seen.page.wait_for_timeout(200)


def prompts(page):
    """What stands before the code cells: [ ]: before one that was not run, [*]: before one that is waiting."""
    return shown(page).locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()


def is_drawn(png):
    """Whether a picture has something on it: pixels of more than a few colours, dark ones and light ones."""
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"), float)
    return grey.std() > 5 and grey.min() < 100 and grey.max() > 200


def test_run_all(lab, visit, tmp_path):
    """Every cell of a notebook is run from the menu and ends without an error; its figure is on the screen."""
    seen = visit()
    page = seen.page
    page.goto(f"{lab}/lab/tree/notebooks/{NOTEBOOK}.ipynb")
    shown(page).locator(".jp-Cell").first.wait_for(timeout=60_000)
    state = shown(page).locator(".jp-Notebook-ExecutionIndicator")
    until(seen, lambda: state.get_attribute("data-status") == "idle", 60, "the kernel has not started")
    path = tmp_path / "work" / "notebooks" / f"{NOTEBOOK}.ipynb"
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" and cell.source]

    choose(page, "Edit", "Clear Outputs of All Cells")
    until(seen, lambda: not shown(page).locator("img").count(), 10, "pictures are still there")
    choose(page, "Run", "Run All Cells")
    until(seen, lambda: any(re.search(r"[*\d]", prompt) for prompt in prompts(page)), 60, "nothing runs")
    until(
        seen,
        lambda: state.get_attribute("data-status") == "idle" and not any("*" in prompt for prompt in prompts(page)),
        60 * MINUTES,
        "the notebook is not finished",
    )

    choose(page, "File", "Save Notebook")
    until(seen, lambda: executed(path) == len(code), 60, f"{executed(path)} of {len(code)} cells are saved as run")
    kinds = {output.output_type for cell in cells(path) for output in cell.get("outputs", [])}
    assert "error" not in kinds and "display_data" in kinds

    heading = shown(page).locator("h2", has_text=re.compile("^Figure 1")).first
    page.locator(".jp-Notebook").first.hover()
    figure = shown(page).locator(".jp-OutputArea-output img").first
    until(seen, lambda: heading.count() or page.mouse.wheel(0, 400), 30, "there is no heading of the figure")
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    assert figure.evaluate("image => image.complete && image.naturalWidth") > 300
    box, window = figure.bounding_box(), page.viewport_size
    assert box["x"] >= 0 and box["x"] + box["width"] <= window["width"]
    assert box["y"] >= 0 and box["y"] + box["height"] <= window["height"]
    assert is_drawn(figure.screenshot())
    assert shown(page).locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    seen.shot("lab")
    assert not seen.complaints


def cells(path):
    return nbformat.read(path, as_version=4).cells


def executed(path):
    return sum(cell.get("execution_count") is not None for cell in cells(path))


def test_a_py_opens_as_a_notebook(lab, visit):
    """By a double click in the file browser, as a person would."""
    seen = visit()
    page = seen.page
    page.goto(f"{lab}/lab/tree/notebooks/index.ipynb")
    shown(page).locator(".jp-Cell").first.wait_for(timeout=60_000)
    entry = page.locator(".jp-DirListing-item", has_text="02_plateaus.py")
    entry.wait_for(timeout=30_000)
    entry.dblclick()
    page.locator(".lm-TabBar-tab.lm-mod-current", has_text="02_plateaus.py").first.wait_for(timeout=30_000)
    for kind in ("Code", "Markdown"):
        several = shown(page).locator(f".jp-{kind}Cell")
        until(seen, lambda several=several: several.count() > 2, 60, f"there are not more than two cells of {kind}")
    assert "Plateaus" in shown(page).locator("h1").first.inner_text()
    assert "jupytext_version" not in shown(page).inner_text(), "the header is shown as text"
    seen.shot("lab-py")
    assert not seen.complaints
