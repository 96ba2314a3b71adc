"""The playground as a reader meets it: in JupyterLab and as a page of Voilà, with a mouse and a keyboard."""

import re
import shutil
import time

import pytest
from conftest import PHONE, ROOT, own_settings
from helpers.servers import free_port, running

WIDE = {"width": 1400, "height": 1000}
# what a person who pressed would call broken; how long it took is printed
PATIENCE = 5.0
STATED = re.compile(r"time ([\d.e+]+) of (\d+) after ([\d.]+) s")


@pytest.fixture
def voila(tmp_path):
    """The playground as a page, as `make play` serves it; its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    given = re.search(r"^PAGE := ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    options = given.replace("\\\n", " ").split()
    assert "--Voila.ip=127.0.0.1" in options
    command = ["voila", "playground.ipynb", *options, "--no-browser", f"--port={port}"]
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    how = {"log": tmp_path / "voila.log", "cwd": tmp_path / "notebooks", "env": own_settings(tmp_path)}
    with running(command, answers=f"{address}/voila/static/voila.js", **how):
        yield address


class Play:
    """The app on a page, and what a person does with it."""

    def __init__(self, page):
        self.page = page
        self.app = page.locator(".hmm-play").first
        self.picture = self.app.locator("img.widget-image").first

    def button(self, name):
        # an icon is part of a button's name
        return self.app.locator("button", has_text=re.compile(rf"^\s*{name}\s*$"))

    def slider(self, name):
        """A slider's handle and the value that it shows."""
        row = self.app.locator(".widget-hslider", has_text=name)
        return row.locator(".noUi-handle"), row.locator(".widget-readout")

    def move(self, handle, steps=1):
        """As with the arrow keys."""
        handle.focus()
        for _ in range(steps):
            handle.press("ArrowRight")

    def finish(self):
        """Ends what is trained, if it has not ended, and waits for the last picture."""
        if self.button("stop").is_enabled():
            self.button("stop").click()
        self.until(lambda: self.button("train").is_enabled())
        self.page.wait_for_timeout(500)

    def stated(self):
        """The time and the end of training that the app states, and the seconds that it took; None before a curve."""
        found = STATED.search(self.app.inner_text())
        return found and tuple(map(float, found.groups()))

    def until(self, condition, seconds=60.0):
        """Waits for something to become true; returns the seconds that it took."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, self.app.inner_text()
            self.page.wait_for_timeout(20)
        return time.monotonic() - begun

    def picture_now(self):
        return self.picture.get_attribute("src")


def played(play, where, shot):
    """A slider is moved, a training started, watched and stopped, another one laid over it, and both are cleared."""
    play.until(lambda: play.button("train").is_enabled() and play.picture.is_visible())
    shot(f"playground-{where}-before")
    handle, value = play.slider("student K")
    before = int(value.inner_text())
    play.move(handle)
    play.until(lambda: int(value.inner_text()) > before)

    empty = play.picture_now()
    play.button("train").click()
    waited = play.until(lambda: play.picture_now() != empty)
    print(f"{where}: a curve {waited:.2f} s after pressing")
    assert waited < PATIENCE
    play.finish()

    # so long that it is seen to grow, and to be stopped
    for name, largest in (("end, steps/N", "10000"), ("inputs N", "784")):
        handle, value = play.slider(name)
        play.move(handle, steps=2)
        play.until(lambda value=value, largest=largest: value.inner_text() == largest)
    play.button("train").click()
    play.until(lambda: play.button("stop").is_enabled() and play.stated() and play.stated()[1] == 10_000)
    for _ in range(3):
        shown = play.stated()[0], play.picture_now()
        play.until(lambda shown=shown: play.stated()[0] > shown[0] and play.picture_now() != shown[1])
    assert play.stated()[0] < 10_000, "it has not ended by itself"
    shot(f"playground-{where}-training")

    play.button("stop").click()
    stopped = play.until(lambda: play.button("train").is_enabled() and "stopped" in play.app.inner_text())
    print(f"{where}: stopped {stopped:.2f} s after pressing")
    assert stopped < PATIENCE
    play.page.wait_for_timeout(500)
    at = play.stated()[0]
    play.page.wait_for_timeout(1000)
    assert play.stated()[0] == at < 10_000

    play.app.get_by_label("labels from").select_option("teacher on x")
    two = play.picture_now()
    play.button("train").click()
    play.until(lambda: play.picture_now() != two and play.stated() and play.stated()[0] > 1)
    play.finish()
    shot(f"playground-{where}-three")

    play.button("clear").click()
    play.until(lambda: "Nothing is trained yet" in play.app.inner_text())


def test_in_jupyterlab(lab, visit):
    """Run All, then play; what the page complains about, it does about nothing of ours."""
    seen = visit(WIDE)
    page = seen.page
    page.goto(f"{lab}/lab/tree/notebooks/playground.ipynb?reset")
    page.get_by_role("heading", name="Choose, and press").wait_for(timeout=60_000)
    idle = page.get_by_text("Python 3 (ipykernel) | Idle")
    idle.wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    # somewhere on the page: JupyterLab scrolls to the last cell
    page.locator(".hmm-play img").first.wait_for(state="attached", timeout=120_000)
    idle.wait_for(timeout=60_000)
    play = Play(page)
    play.app.evaluate("element => element.scrollIntoView()")
    played(play, "lab", seen.shot)
    assert seen.complaints == []


def test_as_a_page(voila, visit):
    """The same under Voilà, where the reader sees no code."""
    seen = visit(WIDE)
    seen.page.goto(voila, timeout=120_000)
    seen.page.locator(".hmm-play img").first.wait_for(timeout=120_000)
    assert seen.page.get_by_text("experiments.plan").count() == 0
    played(Play(seen.page), "voila", seen.shot)
    seen.shot("playground-voila-page", full_page=True)
    seen.page.set_viewport_size(PHONE)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Voilà's page asks a CDN for icons that it also has itself; a name that cannot be resolved is reported twice, the
    # second time without the name
    known = ("/npm/@fortawesome/fontawesome-free@", "Failed to load resource: net::ERR_NAME_NOT_RESOLVED")
    assert [complaint for complaint in seen.complaints if not any(words in complaint for words in known)] == []
