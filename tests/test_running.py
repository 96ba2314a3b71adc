"""`hmm`: what it refuses before anything runs, and what a run leaves behind; on throw-away notebooks."""

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
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from hmm_utils import __version__, cli, mnist, running

ROOT = Path(__file__).resolve().parent.parent

PARAMETERS = """profile: str = "quick"  # scale of the runs
out: str = ""  # folder for figures and verdicts (empty: nothing is written)
steps: int = 3  # how many steps
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
     "measured": "ratio 0.3 | 0.4", "notebook": "NAME", "scale": f"{profile}, steps={steps}"} for claim in ("C10", "C2")
]
if out:
    Path(out, "claims").mkdir(parents=True, exist_ok=True)
    Path(out, "claims", "NAME.json").write_text(json.dumps(claims))
    Path(out, "figures").mkdir(exist_ok=True)
    Path(out, "figures", "NAME.png").touch()"""

SLEEPS = """import time
list(tqdm(range(2), desc="not to be silenced", disable=False))
Path("pid-NAME").write_text(str(os.getpid()))
time.sleep(60)"""


def plan(notebook, profile, overrides):
    """As in `hmm_utils.experiments`: refuse the impossible, else describe the runs."""
    assert not {"profile", "out"} & set(overrides)
    if overrides.get("steps", 1) < 1:
        raise ValueError(f"steps must be at least 1, not {overrides['steps']}: give a larger number.")
    return {"left": SimpleNamespace(seed=7), "right": SimpleNamespace(seed=7)}


EXPERIMENTS = SimpleNamespace(
    NOTEBOOKS={"01_good": SimpleNamespace(section="3.1", figures=("Fig. 1", "Fig. 2"), title="Students")},
    PROFILES=("quick", "paper"),
    plan=plan,
)

# The same command in a process of its own, for what depends on signals or on the environment at start-up.
DRIVER = """import signal, sys
from types import SimpleNamespace
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
sys.modules["hmm_utils.experiments"] = SimpleNamespace(
    NOTEBOOKS={}, PROFILES=("quick", "paper"), plan=lambda *_: {name: SimpleNamespace(seed=7) for name in "ab"})
from hmm_utils.cli import main
sys.exit(main(sys.argv[1:]))"""

# What `make test` or a user may have set.
NEUTRAL = {name: value for name, value in os.environ.items() if name not in {"TQDM_DISABLE", *running._THREADS}}


def write_notebook(folder, name, cells, *, parameters=PARAMETERS, kernelspec=True):
    texts = [text.replace("NAME", name) for text in [TRACE, *cells]]
    notebook = new_notebook(
        cells=[
            new_markdown_cell(f"Some text.\n\n# About {name}\n\n## A section"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, texts),
        ]
    )
    if kernelspec:
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def write_notebooks(folder):
    # Braces mean something to papermill; here they must not.
    folder = folder / "note{books}"
    write_notebook(folder, "00_plain", [], parameters='profile: str = "quick"', kernelspec=False)
    write_notebook(folder, "01_good", [BARS, FAILS, CLAIMS])
    write_notebook(folder, "02_bad", ['print("fine so far")', FAILS.replace("if boom", "if True")])
    write_notebook(folder, "03_other", [CLAIMS])
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with notebooks, entered; no git, and the throw-away `plan`."""
    monkeypatch.setitem(sys.modules, "hmm_utils.experiments", EXPERIMENTS)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return write_notebooks(tmp_path)


def hmm(capfd, notebooks, *arguments):
    """Exit code, stdout and stderr of `hmm`."""
    hidden = ["--notebooks", str(notebooks)] if arguments[0] in ("run", "list") else []
    capfd.readouterr()
    code = cli.main([*arguments, *hidden])
    return code, *capfd.readouterr()


def outputs(notebook, name):
    """All text that cells of an executed notebook wrote to this stream."""
    return "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == name)


def start(folder, notebooks, *arguments, **environment):
    """`hmm run` in a process group of its own, as a terminal starts it."""
    git = {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "run", *arguments, "--notebooks", str(notebooks)],
        cwd=folder,
        env={**NEUTRAL, **git, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


# --- what is refused ---------------------------------------------------------------------------------------------


REFUSED = {
    "notebook": (["04"], 'There is no notebook "04": choose among 00_plain, 01_good, 02_bad, 03_other and all.'),
    "misspelt notebook": (["01_goood.ipynb"], '"01_goood.ipynb" (did you mean 01_good?): choose among'),
    "elsewhere": (["elsewhere/01_good.ipynb"], 'There is no notebook "elsewhere/01_good.ipynb"'),
    "unknown parameter": (
        ["01", "-p", "stepz", "3"],
        '01_good has no parameter "stepz" (did you mean steps?): choose among steps, rate, widths, label and boom.',
    ),
    "no parameters": (["00", "-p", "steps", "3"], '00_plain has no parameter "steps": there are none to choose from.'),
    "known by none": (
        ["00", "01", "-p", "speed", "3"],
        'None of the chosen notebooks has a parameter "speed": choose among steps, rate, widths, label and boom.',
    ),
    "wrong type": (["01", "-p", "steps", "many"], "steps expects a whole number (int), not many."),
    "list": (["01", "-p", "widths", "3"], "01_good: widths expects a list (list), not 3: write [3]."),
    "impossible value": (["01", "-p", "steps", "0"], "01_good: steps must be at least 1, not 0: give a larger number."),
    "in one of several": (["00", "03", "-p", "steps", "-2"], "03_other: steps must be at least 1, not -2"),
    "not YAML": (["01", "-p", "widths", "[1, 2"], 'widths: "[1, 2" cannot be read as YAML'),
    "twice": (["01", "-p", "steps", "1", "-p", "steps", "2"], "steps is given 2 times: give it once."),
    "profile as parameter": (["01", "-p", "profile", "paper"], "profile is not set with -p: use --profile."),
    "out as parameter": (["01", "-p", "out", "there"], "out is not set with -p: use --out."),
    "profile": (
        ["all", "--profile", "papr"],
        'There is no profile "papr" (did you mean paper?): choose among quick and paper.',
    ),
    "jobs": (["all", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    "out is a file": (["01", "--out", "file/deeper"], "file is not a folder: choose another --out."),
    "out is the notebooks": (["01", "--out", "note{books}", "--overwrite"], "the folder of the notebooks themselves"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_runs(world, capfd, arguments, message):
    Path("file").touch()
    before = sorted(Path().rglob("*"))
    code, out, err = hmm(capfd, world, "run", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("hmm: ") and err.count("\n") == 1 and err.endswith(".\n")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["run", "01", "--jobs", "two"], ["run", "01", "-p", "steps"], ["run", "01", "--over"], ["walk"]],
)
def test_usage_errors(world, capfd, arguments):
    with pytest.raises(SystemExit) as error:
        cli.main(arguments)
    assert error.value.code == 2
    assert "usage: hmm" in capfd.readouterr().err


def test_a_finished_result_is_not_replaced(world, capfd):
    Path("build").mkdir()
    for name in ("01_good", "03_other"):
        Path("build", f"{name}.ipynb").write_text("precious")
    code, out, err = hmm(capfd, world, "run", "all")
    assert (code, out) == (2, "")
    assert err == (
        f"hmm: {Path('build', '01_good.ipynb')} and {Path('build', '03_other.ipynb')} are already there: "
        "add --overwrite to replace, or choose another --out.\n"
    )
    assert sorted(path.name for path in Path("build").iterdir()) == ["01_good.ipynb", "03_other.ipynb"]
    assert Path("build", "01_good.ipynb").read_text() == "precious"
    assert not list(world.glob("ran-*"))


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_no_notebooks(world, capfd, folder):
    code, _, err = hmm(capfd, folder, "run", "all")
    assert code == 2
    assert err == f"hmm: There are no notebooks in {folder}: name the folder that holds the project's NN_name.ipynb.\n"


def test_notebooks_of_the_current_folder(world, monkeypatch):
    monkeypatch.setattr(running, "__file__", str(Path("elsewhere", "hmm_utils", "running.py")))
    with pytest.raises(running.Refused, match="run hmm in the project's checkout"):
        running.notebooks_folder()
    world.rename("notebooks")
    assert running.notebooks_folder() == Path("notebooks").resolve()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("steps: int = 3  # as in n = 3", "papermill cannot read the line of the parameter steps"),
        ("steps: int = len('abc')", "the default of steps is not a plain value"),
        ("steps = None", "steps has no type"),
        ("steps: int = (", "is not Python"),
    ],
)
# papermill warns through its logger, besides.
def test_parameters_that_cannot_be_read(world, capfd, cell, message):
    write_notebook(world, "05_odd", [], parameters=cell)
    code, _, err = hmm(capfd, world, "list")
    assert code == 2
    assert re.search(rf"^hmm: 05_odd\.ipynb: .*{re.escape(message)}.*\.$", err, re.M)


def test_a_file_that_is_no_notebook(world, capfd):
    (world / "05_odd.ipynb").write_text("{")
    code, _, err = hmm(capfd, world, "run", "01")
    assert code == 2 and "05_odd.ipynb is not a notebook that can be read" in err
    assert not list(world.glob("ran-*"))


# --- names and values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["01_good"], ["01_good"]),
        (["01"], ["01_good"]),
        (["01_good.ipynb"], ["01_good"]),
        (["note{books}/01_good.ipynb"], ["01_good"]),
        (["03", "00", "03_other"], ["03_other", "00_plain"]),
        (["02", "all"], ["00_plain", "01_good", "02_bad", "03_other"]),
    ],
)
def test_names(world, names, chosen):
    known = running.discover(world.resolve(), EXPERIMENTS)
    assert [info.name for info in running.choose(names, known)] == chosen


def test_an_ambiguous_number(world):
    write_notebook(world, "01_twin", [])
    with pytest.raises(running.Refused, match='"01" means 01_good or 01_twin: write the whole name'):
        running.choose(["01"], running.discover(world, EXPERIMENTS))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "3", 3),
        ("int", "-3", -3),
        ("int", "1_000", 1000),
        ("float", "0.2", 0.2),
        ("float", "2", 2.0),
        ("float", "1e-2", 0.01),
        ("float", "1E3", 1000.0),
        ("float", "-.5e-1", -0.05),
        ("float", "1.5e+2", 150.0),
        ("str", "mnist", "mnist"),
        ("str", "'3'", "3"),
        ("str", "1e", "1e"),
        ("bool", "true", True),
        ("bool", "False", False),
        ("list", "[1, 2, 4]", [1, 2, 4]),
        ("list", "[1,2,4]", [1, 2, 4]),
        ("list", "[1e-2, 3, x]", [0.01, 3, "x"]),
        ("list", "['1e-2']", ["1e-2"]),
        ("list", "[]", []),
        ("list", "null", None),
        ("list", "None", None),
        ("float", "None", None),
    ],
)
def test_values(kind, text, value):
    converted = running.convert(text, running.Parameter("x", kind, None, ""))
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("list", "3", r"x expects a list \(list\), not 3: write \[3\]\."),
        ("list", "erf", r": write \[erf\]\."),
        ("list", "null", r"not null\."),
        ("list", "{a: 1}", r"not \{a: 1\}\."),
        ("int", "3.0", r"x expects a whole number \(int\), not 3\.0: write 3\."),
        ("int", "1e5", r": write 100000\."),
        ("int", "3.5", r"not 3\.5\."),
        ("int", "true", r"not true\."),
        ("int", "three", r"not three\."),
        ("int", "[3]", r"not \[3\]\."),
        ("float", "fast", r"x expects a number \(float\), not fast\."),
        ("float", "true", r"not true\."),
        ("float", "", r"not nothing\."),
        ("float", ".nan", r"x is \.nan, where only finite numbers make sense"),
        ("float", "1e999", "only finite numbers"),
        ("list", "[1, [.inf]]", "only finite numbers"),
        ("bool", "1", r"x expects true or false \(bool\), not 1: write true\."),
        ("bool", "maybe", r"not maybe\."),
        ("str", "3", r"""x expects a word \(str\), not 3: write "'3'" if you mean the word\."""),
        ("str", "[a]", r"not \[a\]\."),
        ("str", "2020-13-77", "looks like a number or a date, but is none"),
        ("str", "!!python/name:os.system", "cannot be read as YAML"),
        ("str", "'", "cannot be read as YAML"),
    ],
)
def test_values_of_the_wrong_type(kind, text, message):
    default = {"list": [], "int": 1, "float": 1.0, "bool": False, "str": ""}[kind]
    with pytest.raises(running.Refused, match=message):
        running.convert(text, running.Parameter("x", kind, default, ""))


def test_a_parameter_goes_where_it_is_known(world):
    prepared = running.prepare(
        ["00", "01", "03"], values=[("steps", "4"), ("rate", "1")], notebooks=world, experiments=EXPERIMENTS
    )
    assert [dict(job.given) for job in prepared.jobs] == [
        {"profile": "quick"},
        {"profile": "quick", "out": "../build", "steps": 4, "rate": 1.0},
        {"profile": "quick", "out": "../build", "steps": 4, "rate": 1.0},
    ]
    assert prepared.notes == (
        "steps is no parameter of 00_plain: ignored there.",
        "rate is no parameter of 00_plain: ignored there.",
    )


def test_out_far_from_the_notebooks_is_an_absolute_path(world, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    (job,) = running.prepare(["01"], out=far, notebooks=world, experiments=EXPERIMENTS).jobs
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


# --- hmm list, data, --help --------------------------------------------------------------------------------------


def test_list_json(world, capfd):
    code, out, err = hmm(capfd, world, "list", "--json")
    assert (code, err) == (0, "")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert list(entries) == ["00_plain", "01_good", "02_bad", "03_other"]
    good = entries["01_good"]
    assert (good["title"], good["section"], good["figures"]) == ("Students", "3.1", ["Fig. 1", "Fig. 2"])
    assert [(p["name"], p["type"], p["default"]) for p in good["parameters"]] == [
        ("profile", "str", "quick"),
        ("out", "str", ""),
        ("steps", "int", 3),
        ("rate", "float", 0.5),
        ("widths", "list", None),
        ("label", "str", "erf"),
        ("boom", "bool", False),
    ]
    assert good["parameters"][4]["help"] == "student widths K (None: the profile's)"
    bad = entries["02_bad"]
    assert (bad["title"], bad["section"], bad["figures"]) == ("About 02_bad", "", [])


def test_list(world, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = hmm(capfd, world, "list")
    assert code == 0
    assert "01_good: Students (Sec. 3.1, Fig. 1, Fig. 2)\n" in out
    assert "  widths   list   null     student widths K (None: the\n" + " " * 27 + "profile's)\n" in out
    assert max(map(len, out.splitlines())) <= 60


def test_data(capfd, monkeypatch):
    monkeypatch.setattr(mnist, "load", lambda: None)
    code, out, _ = hmm(capfd, None, "data")
    assert code == 0 and str(mnist.data_dir()) in out and "hash" in out

    def unreachable():
        raise mnist.DataError("The files cannot be had: go online.")

    monkeypatch.setattr(mnist, "load", unreachable)
    assert hmm(capfd, None, "data") == (1, "", "hmm: The files cannot be had: go online.\n")


def test_start_up_is_quick():
    heavy = {"papermill", "nbformat", "jupyter_client", "yaml", "numpy", "torch", "numba"}
    code = f"import sys, hmm_utils.cli; sys.exit(str({heavy} & sys.modules.keys() or ''))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.stderr.strip() == ""


# --- progress ----------------------------------------------------------------------------------------------------

BAR = "\rtraining:  50%|█████     | 1/2 [00:00<00:01,  1.0it/s, widths=[1, 2]]"
WARNING = "/a/b.py:6: UserWarning: large\n  warnings.warn(text)\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ""),
        ("\n", ""),
        (WARNING, WARNING),
        ("a blank line\n\n follows", "a blank line\n\n follows"),
        ("a Windows line\r\n", "a Windows line\n"),
        (BAR, ""),
        (f"{BAR}{BAR}\n", ""),
        (f"\n{BAR}\x1b[A", ""),
        (f"\r{' ' * 40}\r", ""),
        (f"{BAR}\n{WARNING}", WARNING),
        (f"{BAR}{WARNING}", WARNING),
        (f"{BAR}{BAR}\r   \r{WARNING}", WARNING),
        (f"\r   \x1b[A{WARNING}{BAR}", WARNING),
        (f"{WARNING}{BAR}{WARNING}", WARNING + WARNING),
        ("\r5it [00:00, 49.1it/s]\r10it [1:00:00, 49.1it/s]\n", ""),
        ("\r 40%|████      |\r 50%|█████     | half", ""),
    ],
)
def test_without_progress(text, left):
    assert running.without_progress(text) == left


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_relay(size):
    states, lines = [], []
    relay = running._Relay(states.append, lines.append)
    text = f"{WARNING}{BAR}{BAR.replace('1/2', '2/2')}\n\r    \x1b[A{WARNING}no end"
    for start in range(0, len(text), size):
        relay.write(text[start : start + size])
        relay.flush()
    assert lines == WARNING.splitlines() * 2
    relay.close()
    assert lines == [*WARNING.splitlines() * 2, "no end"]
    assert states[-1] == ""
    if size < len(text):
        assert "2/2" in "".join(states)


# --- running -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Everything in one go: `hmm run all` over notebooks of which one fails. Gives code, out, err and the folder."""
    folder = tmp_path_factory.mktemp("finished")
    notebooks = write_notebooks(folder)
    # A kernelspec of the user's that must not be taken for the running interpreter.
    stray = folder / "jupyter" / "kernels" / "python3"
    stray.mkdir(parents=True)
    (stray / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    arguments = ["all", "--profile", "paper", "-p", "steps", "4", "-p", "widths", "[1, 2]"]
    process = start(folder, notebooks, *arguments, JUPYTER_PATH=str(folder / "jupyter"))
    out, err = process.communicate(timeout=100)
    return SimpleNamespace(code=process.returncode, out=out, err=err, folder=folder)


def executed(finished, name):
    return nbformat.read(finished.folder / "build" / f"{name}.ipynb", as_version=4)


def test_a_failure_is_told_and_does_not_stop_the_others(finished):
    assert finished.code == 1
    assert sorted(path.name for path in (finished.folder / "build").iterdir()) == [
        "00_plain.ipynb",
        "01_good.ipynb",
        "02_bad.failed.ipynb",
        "03_other.ipynb",
        "claims",
        "claims.json",
        "claims.md",
        "figures",
    ]
    assert "02_bad failed\n  ZeroDivisionError: division by zero\n  in cell [5], line 5: ratio(0)\n" in finished.err
    assert "hmm: 1 of 4 notebooks failed.\n" in finished.err
    assert "Traceback" not in finished.err
    failed = executed(finished, "02_bad.failed")
    assert "fine so far" in outputs(failed, "stdout")
    assert failed.metadata.hmm.parameters.steps == 4


def test_metadata(finished):
    metadata = executed(finished, "01_good").metadata
    record = metadata.hmm
    assert record.parameters == {
        "profile": "paper",
        "out": "../build",
        "steps": 4,
        "rate": 0.5,
        "widths": [1, 2],
        "label": "erf",
        "boom": False,
    }
    assert (record.profile, record.seed, record.commit, record.dirty) == ("paper", 7, "unknown", None)
    assert record.versions.keys() == {"python", "hmm_utils", "numpy", "numba", "torch"}
    assert record.versions.hmm_utils == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.started)
    assert 0 < record.seconds < 60
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
    for sign in ("4/4 notebooks", "01_good:", "training:", "UserWarning: the learning rate is large"):
        assert sign in finished.err


def test_the_kernel_is_the_running_interpreter_in_the_notebooks_folder(finished):
    assert outputs(executed(finished, "01_good"), "stdout").split() == [sys.executable, "None", "None"]
    assert sorted(path.name for path in (finished.folder / "note{books}").glob("ran-*")) == [
        "ran-00_plain",
        "ran-01_good",
        "ran-02_bad",
        "ran-03_other",
    ]


def test_claims_are_collected(finished, capfd, monkeypatch):
    claims = json.loads((finished.folder / "build" / "claims.json").read_text("utf-8"))
    assert [(claim["claim"], claim["notebook"]) for claim in claims] == [
        ("C2", "01_good"),
        ("C2", "03_other"),
        ("C10", "01_good"),
        ("C10", "03_other"),
    ]
    assert claims[0]["scale"] == "paper, steps=4"
    text = (finished.folder / "build" / "claims.md").read_text("utf-8")
    assert "| C2 | wider is better | 3.1 | Fig. 1 | ratio 0.3 \\| 0.4 | holds | 01_good | paper, steps=4 |\n" in text
    table = [re.split(" {2,}", line) for line in finished.out.splitlines()]
    assert table[0] == ["claim", "what was measured", "verdict", "notebook"]
    assert ["C10 wider is better", "ratio 0.3 | 0.4", "holds", "03_other"] in table
    for place in (Path("build", "03_other.ipynb"), Path("build", "figures"), Path("build", "claims.md")):
        assert str(place) in finished.out
    assert "02_bad" not in finished.out
    monkeypatch.chdir(finished.folder)
    code, out, _ = hmm(capfd, None, "claims", "--out", "build")
    assert code == 0 and out in finished.out
    code, out, _ = hmm(capfd, None, "claims", "--json")
    assert code == 0 and json.loads(out) == claims


def test_overwrite(world, capfd):
    build = Path("build")
    (build / "claims").mkdir(parents=True)
    (build / "01_good.ipynb").write_text("old")
    (build / "01_good.failed.ipynb").write_text("older")
    (build / "claims" / "03_other.json").write_text("[]")
    code, out, err = hmm(capfd, world, "run", "01", "--overwrite")
    assert code == 0 and "C2" in out
    assert f"hmm: {build / '01_good.ipynb'} will be replaced.\n" in err
    # What an earlier failure left would contradict the result beside it.
    assert sorted(path.name for path in build.glob("*.ipynb")) == ["01_good.ipynb"]
    before = (build / "01_good.ipynb").read_text("utf-8")
    assert json.loads(before)["metadata"]["hmm"]["parameters"]["boom"] is False

    code, out, err = hmm(capfd, world, "run", "01", "--overwrite", "-p", "boom", "true")
    assert code == 1 and "C2" not in out
    assert "ZeroDivisionError" in err
    assert (build / "01_good.ipynb").read_text("utf-8") == before
    assert (build / "01_good.failed.ipynb").is_file()


def test_leaving_early_is_no_success(world, capfd):
    write_notebook(world, "05_odd", ["import sys\nsys.exit(0)", CLAIMS])
    code, _, err = hmm(capfd, world, "run", "05")
    assert code == 1 and "SystemExit: 0" in err
    assert [path.name for path in Path("build").iterdir()] == ["05_odd.failed.ipynb"]


def interrupt(process, pid_file):
    """Press Ctrl-C once the notebook that leaves `pid_file` runs; stdout and stderr."""
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"it never came so far: {process.communicate()}")
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    try:
        said = process.communicate(timeout=30)
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
    write_notebook(world, "06_sleeps", [BARS, SLEEPS])
    process = start(Path.cwd(), world, "01", "05", "06", "--jobs", "2", **dict.fromkeys(running._THREADS, "77"))
    out, err = interrupt(process, world / "pid-06_sleeps")
    assert (process.returncode, out) == (130, "")
    assert "05_dies failed\n  DeadKernelError: Kernel died\n" in err
    assert err.endswith(f"{INTERRUPTED}\n")
    assert "Traceback" not in err
    assert sorted(path.name for path in Path("build").glob("*.ipynb")) == ["01_good.ipynb", "05_dies.failed.ipynb"]
    share = str(max(1, running._cores() // 2))
    notebook = nbformat.read(Path("build", "01_good.ipynb"), as_version=4)
    assert outputs(notebook, "stdout").split() == [sys.executable, share, share]


def test_plain_papermill_runs_them_too(world, monkeypatch):
    from click.testing import CliRunner
    from papermill.cli import papermill

    monkeypatch.chdir(world)
    arguments = ["01_good.ipynb", "../executed.ipynb", "-p", "steps", "2", "-y", "widths: [1, 2]", "--no-progress-bar"]
    result = CliRunner().invoke(papermill, arguments)
    assert result.exit_code == 0, result.output
    notebook = nbformat.read("../executed.ipynb", as_version=4)
    assert notebook.metadata.papermill.parameters == {"steps": 2, "widths": [1, 2]}
    assert notebook.metadata.papermill.exception is None


# --- claims ------------------------------------------------------------------------------------------------------


def test_no_claims_yet(world, capfd):
    assert hmm(capfd, world, "claims", "--out", "there") == (
        1,
        "",
        "hmm: There are no claims in there: make them with `hmm run all --out there`.\n",
    )


@pytest.mark.parametrize("text", ["{", "{}", '[{"claim": "C1"}]', '[{"claim": 1, "measured": "", "verdict": ""}]'])
def test_unreadable_claims(world, capfd, text):
    path = Path("build", "claims", "01_good.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    code, out, err = hmm(capfd, world, "claims")
    assert (code, out) == (1, "")
    assert err == f"hmm: {path} is not a list of claims: run 01_good again with --overwrite.\n"


def test_the_claims_table_fits_the_terminal():
    texts = {"statement": "a long statement " * 5, "measured": "a long text " * 9, "verdict": "holds only if " * 4}
    claims = [{"claim": f"C{n}", **texts, "notebook": "01_independent_students"} for n in range(3)]
    for width in (100, 160):
        lines = running.claims_text(claims, width).splitlines()
        assert max(map(len, lines)) <= width
