"""What a run leaves behind, on throw-away notebooks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from helpers.throwaway import BARS, NAMES, write_notebook, write_notebooks

from hmm_utils import __version__
from hmm_utils.app import running
from hmm_utils.runs import checkout

ROOT = Path(__file__).resolve().parent.parent

SLEEPS = """import time
list(tqdm(range(2), desc="not to be silenced", disable=False))
Path("pid-NAME").write_text(str(os.getpid()))
time.sleep(60)"""

# `hmm` in a process of its own, for what depends on signals or on the environment at start-up.
DRIVER = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
from hmm_utils.app.__main__ import main
sys.exit(main(sys.argv[1:]))"""

# What `make test` or a user may have set.
NEUTRAL = {name: value for name, value in os.environ.items() if name not in {"TQDM_DISABLE", *running._THREADS}}


def outputs(notebook, name):
    """All text that cells of an executed notebook wrote to this stream."""
    return "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == name)


def start(folder, notebooks, *arguments, **environment):
    """`hmm run` in a process group of its own, as a terminal starts it."""
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "tests"]))
    ours = {"GIT_CEILING_DIRECTORIES": str(folder.parent), "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "run", *arguments, "--notebooks", str(notebooks)],
        cwd=folder,
        env={**NEUTRAL, **ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_a_parameter_goes_where_it_is_known(world):
    given = [("n_pairs", "4"), ("lr", "1")]
    prepared = running.prepare(["00", "01", "03"], profile="paper", values=given, notebooks=world)
    place = {"profile": "paper", "out": "../build"}
    values = {"n_pairs": 4, "lr": 1.0}
    assert [job.given for job in prepared.jobs] == [place, place | values, place | values]
    assert prepared.notes == (
        "n_pairs is no parameter of 00_plain: ignored there.",
        "lr is no parameter of 00_plain: ignored there.",
    )


def test_out_far_from_the_notebooks_is_an_absolute_path(world, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    (job,) = running.prepare(["01"], out=far, notebooks=world).jobs
    assert job.given["out"] == str(far)


def test_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert running._checkout(tmp_path) == {"commit": "unknown", "dirty": None}
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    clean = running._checkout(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"]) and clean["dirty"] is False
    (tmp_path / "new.py").touch()
    assert running._checkout(tmp_path) == {**clean, "dirty": True}
    # stored results do not mind files that git does not know
    assert checkout.commit(tmp_path) == (clean["commit"], False)
    subprocess.run([*git, "add", "new.py"], check=True)
    assert checkout.commit(tmp_path) == (clean["commit"], True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Everything in one go: `hmm run all` over notebooks of which one fails. Gives code, out, err and the folder."""
    folder = tmp_path_factory.mktemp("finished")
    notebooks = write_notebooks(folder)
    # A kernelspec of the user's that must not be taken for the running interpreter.
    stray = folder / "jupyter" / "kernels" / "python3"
    stray.mkdir(parents=True)
    (stray / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    values = ["-p", "n_pairs", "4", "-p", "widths", "[1, 2]"]
    process = start(folder, notebooks, "all", *values, JUPYTER_PATH=str(folder / "jupyter"))
    out, err = (said.decode() for said in process.communicate(timeout=100))
    return SimpleNamespace(code=process.returncode, out=out, err=err, folder=folder)


def executed(finished, name):
    return nbformat.read(finished.folder / "build" / f"{name}.ipynb", as_version=4)


def test_a_failure_is_reported_and_does_not_stop_the_others(finished):
    assert finished.code == 1
    notebooks = {"00_plain.ipynb", "01_good.ipynb", "02_bad.failed.ipynb", "03_other.ipynb"}
    others = {"claims", "claims.json", "claims.md", "figures"}
    assert {path.name for path in (finished.folder / "build").iterdir()} == notebooks | others
    assert "02_bad failed\n  ZeroDivisionError: division by zero\n  in cell [5], line 5: ratio(0)\n" in finished.err
    assert "hmm: 1 of 4 notebooks failed.\n" in finished.err
    assert "Traceback" not in finished.err
    failed = executed(finished, "02_bad.failed")
    assert "fine so far" in outputs(failed, "stdout")
    assert failed.metadata.hmm.parameters.n_pairs == 4


def test_metadata(finished):
    metadata = executed(finished, "01_good").metadata
    record = metadata.hmm
    given = {"profile": "quick", "out": "../build", "n_pairs": 4, "widths": [1, 2]}
    assert record.parameters == {**given, "seed": 7, "lr": 0.5, "label": "erf", "boom": False}
    assert (record.profile, record.seed, record.commit, record.dirty) == ("quick", 7, "unknown", None)
    assert record.versions.keys() == {"python", "hmm_utils", "numpy", "numba", "torch"}
    assert record.versions.hmm_utils == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.started)
    assert record.seconds > 0
    assert record.host.cores >= 1 and record.host.platform
    # Where the project lies is nobody's business, and would differ from run to run.
    assert str(finished.folder) not in json.dumps(metadata)


def test_progress_is_shown_but_not_kept(finished):
    notebook = executed(finished, "01_good")
    text = outputs(notebook, "stderr")
    assert "UserWarning: the learning rate is large" in text
    assert "\r" not in text and "training" not in text
    assert all(output.get("text") != "" for cell in notebook.cells for output in cell.get("outputs", []))
    # The bar over all notebooks, that over the cells of one, and that of its training.
    for sign in ("/4 notebooks", "01_good:", "training:", "UserWarning: the learning rate is large"):
        assert sign in finished.err
    assert "\r" not in finished.err, "in a file, states are lines"


def test_the_kernel_is_the_running_interpreter_in_the_notebooks_folder(finished):
    assert outputs(executed(finished, "01_good"), "stdout").split() == [sys.executable, "None", "None"]
    traces = sorted(path.name for path in (finished.folder / "note{books}").glob("ran-*"))
    assert traces == [f"ran-{name}" for name in NAMES]


def test_claims_are_collected(finished, hmm, monkeypatch):
    claims = json.loads((finished.folder / "build" / "claims.json").read_text("utf-8"))
    order = [(number, name) for number in ("C2", "C10") for name in ("01_good", "03_other")]
    assert [(claim["claim"], claim["notebook"]) for claim in claims] == order
    assert claims[0]["scale"] == "quick, n_pairs=4"
    text = (finished.folder / "build" / "claims.md").read_text("utf-8")
    assert "| C2 | wider is better | 3.1 | Fig. 1 | ratio 0.3 \\| 0.4 | holds | 01_good | quick, n_pairs=4 |\n" in text
    table = [re.split(" {2,}", line) for line in finished.out.splitlines()]
    assert table[0] == ["claim", "what was measured", "verdict", "notebook"]
    assert ["C10 wider is better", "ratio 0.3 | 0.4", "holds", "03_other"] in table
    for place in (Path("build", "03_other.ipynb"), Path("build", "figures"), Path("build", "claims.md")):
        assert str(place) in finished.out
    assert "02_bad" not in finished.out
    monkeypatch.chdir(finished.folder)
    code, out, _ = hmm("claims", "--out", "build")
    assert code == 0 and out in finished.out
    code, out, _ = hmm("claims", "--out", "build", "--json")
    assert code == 0 and json.loads(out) == claims


def interrupt(process, pid_file, *finished):
    """Press Ctrl-C once the notebook that leaves `pid_file` runs and these files exist; stdout and stderr."""
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text() and all(path.exists() for path in finished)):
        if process.poll() is not None or time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"it never came so far: {process.communicate()}")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    try:
        said = [text.decode() for text in process.communicate(timeout=30)]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"Ctrl-C does not end it: {process.communicate()}")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    return said


INTERRUPTED = "hmm: Interrupted: what was finished stays, the rest left nothing."


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_without_bars(world):
    write_notebook(world, "05_sleeps", [BARS, SLEEPS])
    process = start(Path.cwd(), world, "05", "03", TQDM_DISABLE="1")
    out, err = interrupt(process, world / "pid-05_sleeps")
    assert (process.returncode, out) == (130, "")
    warning, line, last = err.splitlines()
    assert "UserWarning: the learning rate is large" in warning and "warnings.warn" in line and last == INTERRUPTED
    assert list(Path("build").iterdir()) == []
    assert not (world / "ran-03_other").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_side_by_side(world):
    write_notebook(world, "05_dies", ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"])
    wait = 'import time\nwhile not Path("../build/05_dies.failed.ipynb").exists():\n    time.sleep(0.05)'
    write_notebook(world, "06_sleeps", [wait, BARS, SLEEPS])
    process = start(Path.cwd(), world, "01", "05", "06", "--jobs", "2", **dict.fromkeys(running._THREADS, "77"))
    # the first may still run when the second has died and the third has begun
    out, err = interrupt(process, world / "pid-06_sleeps", Path("build", "01_good.ipynb"))
    assert (process.returncode, out) == (130, "")
    assert "05_dies failed\n  DeadKernelError: Kernel died\n" in err
    assert err.endswith(f"{INTERRUPTED}\n")
    assert "Traceback" not in err
    assert sorted(path.name for path in Path("build").glob("*.ipynb")) == ["01_good.ipynb", "05_dies.failed.ipynb"]
    share = str(max(1, running.cores() // 2))
    notebook = nbformat.read(Path("build", "01_good.ipynb"), as_version=4)
    assert outputs(notebook, "stdout").split() == [sys.executable, share, share]
