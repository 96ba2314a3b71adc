"""A real browser for the tests in this folder, which `make test-browser` runs and `make test` does not.

They need a Chromium, from HMM_CHROMIUM or the path; nothing is downloaded. Servers listen on the loopback interface,
and the browser is told to resolve no other name: what is not served from here cannot be loaded, and is seen.
"""

import http.server
import os
import shutil
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from helpers.servers import free_port, running
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"

# without background work, as each of its connections would be tried and refused
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def chromium() -> str:
    """The browser's path. Raises pytest.UsageError, which ends the run, if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("HMM_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found or not Path(found).exists():
        raise pytest.UsageError(
            f"tests in a browser need Chromium, and there is none at {found or 'any of its usual names'}: install it "
            "(Debian: apt-get install chromium) or set HMM_CHROMIUM to its path."
        )
    return found


def pytest_sessionstart(session):
    chromium()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page, and what it complained about: errors on its console, uncaught exceptions, requests that failed."""

    def __init__(self, browser, size):
        self.page = browser.new_page(viewport=size)
        self.complaints = []
        self.page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", lambda r: r.status >= 400 and self.complaints.append(f"{r.url}: {r.status}"))

    def _failed(self, request):
        # what the browser itself gives up when it goes on to another page is no fault of the page
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def shot(self, name, **how):
        """Keeps a picture of the page for people to look at, in build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", **how)


@pytest.fixture
def visit(browser):
    """A new page of a given size: `visit()` or `visit(PHONE)`; closed after the test."""
    visits = []

    def open_page(size=DESKTOP):
        visits.append(Visit(browser, size))
        return visits[-1]

    yield open_page
    for one in visits:
        one.page.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """The files of a folder at an address on the loopback interface."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def own_settings(folder):
    """An environment without settings of whoever runs the tests; those of binder/jupyter hold, as in `make lab`."""
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    given = filter(None, [str(ROOT / "binder" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH")])
    own |= {"JUPYTER_CONFIG_PATH": os.pathsep.join(given), "HMM_OFFLINE": "1"}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | own


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of the notebooks in `work`, without a password and only for this machine; its address."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "work" / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "work")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        *("jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path / 'work'}"),
    ]
    log = tmp_path / "lab.log"
    with running(command, answers=f"{address}/api/status", log=log, cwd=ROOT, env=own_settings(tmp_path)):
        yield address
