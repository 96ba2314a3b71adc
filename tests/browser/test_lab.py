"""JupyterLab as a reader uses it: a notebook is opened and run from the menu, and a .py opens as a notebook.

The page may not report any error: with the settings of binder/jupyter JupyterLab asks for no news and no updates, the
only requests of its own that would leave the machine.
"""

import io
import re

import nbformat
import numpy as np
from PIL import Image
from playwright.sync_api import expect

NOTEBOOK = "01_independent_students"
MINUTES = 10
"""The quick profile takes a minute or two, longer on a busy machine; a reader would give up before this."""


def choose(page, menu, entry):
    """Opens a menu of the menu bar and clicks an entry of it."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(rf"^{menu}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(rf"^{re.escape(entry)}$")).click()


def shown(page):
    """The notebook in front."""
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def is_drawn(png):
    """Whether a picture has something on it: pixels of more than a few colours, dark ones and light ones."""
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"), float)
    return grey.std() > 5 and grey.min() < 100 and grey.max() > 200


def wait_until(page, condition):
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(200)
    raise AssertionError("nothing happens any more")


def executed(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.get("execution_count") is not None]


def test_run_all(lab, visit, tmp_path):
    """Every cell of a notebook is run from the menu and ends without an error; its figure is on the screen."""
    seen = visit()
    page = seen.page
    page.goto(f"{lab}/lab/tree/notebooks/{NOTEBOOK}.ipynb")
    shown(page).locator(".jp-Cell").first.wait_for(timeout=60_000)
    kernel = expect(shown(page).locator(".jp-Notebook-ExecutionIndicator"))
    kernel.to_have_attribute("data-status", "idle", timeout=60_000)
    path = tmp_path / "work" / "notebooks" / f"{NOTEBOOK}.ipynb"
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" and cell.source]

    choose(page, "Edit", "Clear Outputs of All Cells")
    expect(shown(page).locator("img")).to_have_count(0, timeout=10_000)
    choose(page, "Run", "Run All Cells")
    # [ ]: not run, [*]: waiting, [1]: finished
    prompts = shown(page).locator(".jp-CodeCell .jp-InputPrompt")
    expect(prompts.filter(has_text=re.compile(r"[*\d]"))).not_to_have_count(0, timeout=60_000)
    expect(prompts.filter(has_text="*")).to_have_count(0, timeout=60_000 * MINUTES)
    kernel.to_have_attribute("data-status", "idle", timeout=60_000 * MINUTES)

    choose(page, "File", "Save Notebook")
    wait_until(page, lambda: len(executed(path)) == len(code))
    kinds = {output.output_type for cell in executed(path) for output in cell.outputs}
    assert "error" not in kinds and "display_data" in kinds

    page.locator(".jp-Notebook").first.hover()
    heading = shown(page).locator("h2", has_text=re.compile("^Figure 1"))
    wait_until(page, lambda: heading.count() or page.mouse.wheel(0, 400))
    figure = shown(page).locator(".jp-OutputArea-output img").first
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    assert figure.evaluate("image => image.complete && image.naturalWidth") > 300
    expect(figure).to_be_in_viewport(ratio=1)
    assert is_drawn(figure.screenshot())
    assert shown(page).locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    seen.shot("lab")
    assert not seen.complaints


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
        shown(page).locator(f".jp-{kind}Cell").nth(2).wait_for(timeout=60_000)
    assert "Plateaus" in shown(page).locator("h1").first.inner_text()
    assert "jupytext_version" not in shown(page).inner_text(), "the header is shown as text"
    seen.shot("lab-py")
    assert not seen.complaints
