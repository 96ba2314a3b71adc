"""`hmm`: what it says, what it refuses before anything runs, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.throwaway import CLAIMS, NAMES, write_notebook

from hmm_utils.app import __main__ as main_module
from hmm_utils.data import mnist
from hmm_utils.runs import paper
from hmm_utils.sgd import hardware

ROOT = Path(__file__).resolve().parent.parent

REFUSED = {
    "notebook": (["04"], 'There is no notebook "04": choose among 00_plain, 01_good, 02_bad, 03_other and all.'),
    "misspelt notebook": (["01_goood.ipynb"], '"01_goood.ipynb" (did you mean 01_good?): choose among'),
    "unknown parameter": (["01", "-p", "n_pair", "3"], '01_good has no parameter "n_pair" (did you mean n_pairs?)'),
    "other parameter": (["00", "-p", "n_pairs", "3"], '00_plain has no parameter "n_pairs": choose among seed.'),
    "known by none": (["00", "01", "-p", "momentum", "3"], 'None of the chosen notebooks has a parameter "momentum"'),
    "wrong type": (["01", "-p", "n_pairs", "many"], "n_pairs expects a whole number (int), not many."),
    "list": (["01", "-p", "widths", "3"], "01_good: widths expects a list (list), not 3: write [3]."),
    "impossible value": (["01", "-p", "n_pairs", "0"], "01_good: n_pairs = 0: give a whole number of at least 1."),
    "in one of several": (["00", "03", "-p", "lr", "-2"], "03_other: lr = -2.0: give a positive, finite number."),
    "not YAML": (["01", "-p", "widths", "[1, 2"], 'widths: "[1, 2" cannot be read as YAML'),
    "twice": (["01", "-p", "seed", "1", "-p", "seed", "2"], "seed is given 2 times: give it once."),
    "profile as parameter": (["01", "-p", "profile", "paper"], "profile is not set with -p: use --profile."),
    "profile": (["all", "--profile", "papr"], 'There is no profile "papr" (did you mean paper?): choose among'),
    "jobs": (["all", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    "out is a file": (["01", "--out", "file/deeper"], "file is not a folder: choose another --out."),
    "out is the notebooks": (["01", "--out", "note{books}", "--overwrite"], "the folder of the notebooks themselves"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_runs(world, hmm, arguments, message):
    Path("file").touch()
    before = sorted(Path().rglob("*"))
    code, out, err = hmm("run", "--notebooks", world, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("hmm: ") and err.count("\n") == 1 and err.endswith(".\n")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("notebook", "name", "value", "message"),
    [
        ("01", "device", "gpu", "choose one of auto, cpu, cuda."),
        ("01", "device", "cuda", "needs an NVIDIA GPU"),
        ("T2", "lr", "-1", "T2_deep_generators: lr = -1.0: give a positive, finite number."),
    ],
)
def test_values_are_checked_before_anything_runs(hmm, notebook, name, value, message, tmp_path, monkeypatch):
    """A device that is not available, and a value of a notebook that has no set-ups."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware, "_has_gpu", lambda: False)
    code, out, err = hmm("run", notebook, "-p", name, value)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    ["", "run", "run 01 --jobs two", "run 01 -p n_pairs", "run 01 --over", "walk", "claims --json --check"],
)
def test_usage_errors(capfd, arguments):
    with pytest.raises(SystemExit) as error:
        main_module.main(arguments.split())
    assert error.value.code == 2
    assert "usage: hmm" in capfd.readouterr().err


def test_a_finished_result_is_not_replaced(world, hmm):
    finished = [Path("build", f"{name}.ipynb") for name in ("01_good", "03_other")]
    Path("build").mkdir()
    for path in finished:
        path.write_text("precious")
    code, out, err = hmm("run", "--notebooks", world, "all")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "add --overwrite" in err
    assert all(str(path) in err and path.read_text() == "precious" for path in finished)
    assert sorted(Path("build").iterdir()) == finished and not list(world.glob("ran-*"))


@pytest.mark.parametrize(("values", "as_stated"), [((), True), (("-p", "seed", "2"), False)])
def test_changed_values_ask_for_nothing_beside_the_notebooks(hmm, monkeypatch, tmp_path, values, as_stated):
    asked = []
    monkeypatch.setattr(paper, "asked_for", lambda plans, as_stated: asked.append(as_stated) or [])
    assert hmm("run", "02", "--profile", "paper", "--dry-run", "--out", tmp_path, *values)[0] == 0
    assert asked == [as_stated]


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_no_notebooks(world, hmm, folder):
    code, _, err = hmm("run", "--notebooks", folder, "all")
    assert code == 2 and err.startswith(f"hmm: There are no notebooks in {folder}: ") and err.count("\n") == 1


def test_list_json(world, hmm):
    code, out, err = hmm("list", "--notebooks", world, "--json")
    assert (code, err) == (0, "")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert list(entries) == NAMES
    about = [[entries[name][key] for key in ("title", "section", "figures")] for name in ("01_good", "02_bad")]
    assert about == [["Students", "3.1", ["Fig. 1", "Fig. 2"]], ["02_bad", "", []]]
    parameters = entries["01_good"]["parameters"]
    assert [(p["name"], p["type"], p["default"]) for p in parameters] == [
        ("profile", "str", "quick"), ("out", "str", ""), ("seed", "int", 7), ("n_pairs", "int", 3),
        ("lr", "float", 0.5), ("widths", "list", None), ("label", "str", "erf"), ("boom", "bool", False),
    ]  # fmt: skip
    assert parameters[5]["help"] == "student widths K (None: the profile's)"


def test_list(world, hmm, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = hmm("list", "--notebooks", world)
    assert code == 0 and "01_good: Students (Sec. 3.1, Fig. 1, Fig. 2)\n" in out
    assert "  widths   list   null     student widths K (None: the\n" + " " * 27 + "profile's)\n" in out
    assert max(map(len, out.splitlines())) <= 60


def test_data(hmm, monkeypatch):
    monkeypatch.setattr(mnist, "load", lambda: None)
    code, out, _ = hmm("data")
    assert code == 0 and str(mnist.data_dir()) in out and "hash" in out

    def unreachable():
        raise mnist.DataError("The files cannot be had: go online.")

    monkeypatch.setattr(mnist, "load", unreachable)
    assert hmm("data") == (1, "", "hmm: The files cannot be had: go online.\n")


def test_a_reader_that_has_seen_enough():
    """A pipe that is closed, as by `hmm list | head`, is no error and leaves no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hmm_utils.app.__main__", "list"]
    process = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("code", ["import hmm_utils", "from hmm_utils.app.__main__ import main; main(['list'])"])
def test_nothing_heavy_is_imported(code):
    heavy = {"papermill", "nbformat", "jupyter_client", "yaml", "numpy", "torch", "numba", "xarray", "tqdm", "h5py"}
    code = f"import sys; {code}; sys.exit(str({heavy} & sys.modules.keys() or ''))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.stderr.strip() == ""


def test_overwrite(world, hmm):
    """What an earlier failure left is removed with the result that it would contradict; a new failure removes none."""
    build = Path("build")
    (build / "claims").mkdir(parents=True)
    for left in ("01_good.ipynb", "01_good.failed.ipynb", "claims/03_other.json"):
        (build / left).write_text("[]")
    code, out, err = hmm("run", "--notebooks", world, "01", "--overwrite")
    assert code == 0 and "C2" in out
    assert f"hmm: {build / '01_good.ipynb'} will be replaced.\n" in err
    assert [path.name for path in build.glob("*.ipynb")] == ["01_good.ipynb"]
    before = (build / "01_good.ipynb").read_text("utf-8")
    assert json.loads(before)["metadata"]["hmm"]["parameters"]["boom"] is False

    code, out, err = hmm("run", "--notebooks", world, "01", "--overwrite", "-p", "boom", "true")
    assert code == 1 and "C2" not in out and "ZeroDivisionError" in err
    assert (build / "01_good.ipynb").read_text("utf-8") == before
    assert (build / "01_good.failed.ipynb").is_file()


def test_leaving_early_is_no_success(world, hmm):
    write_notebook(world, "05_odd", ["import sys\nsys.exit(0)", CLAIMS])
    code, _, err = hmm("run", "--notebooks", world, "05")
    assert code == 1 and "SystemExit: 0" in err
    assert [path.name for path in Path("build").iterdir()] == ["05_odd.failed.ipynb"]


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A folder with two claims of one notebook, and what `hmm claims --json` would print of them."""
    monkeypatch.chdir(tmp_path)
    texts = ("statement", "section", "figure", "measured", "scale", "criterion", "tolerance")
    value = {"name": "ε_g", "mean": 0.02, "low": 0.01, "high": None, "n": 5, "over": "draws"}
    claim = dict.fromkeys(texts, "x") | {"notebook": "01_good", "verdict": "holds", "values": [value]}
    claims = [claim | {"claim": number} for number in ("C1", "C2")]
    Path("build", "claims").mkdir(parents=True)
    Path("build", "claims", "01_good.json").write_text(json.dumps(claims))
    return claims


def test_claims_for_programs(hmm, judged):
    """All fields, numbers as numbers, null where nothing is known: JSON that a strict reader takes."""
    code, out, err = hmm("claims", "--out", "build", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out, parse_constant=pytest.fail) == judged


def test_verdicts_are_checked(hmm, judged):
    Path("expected.json").write_text(json.dumps(judged))
    assert hmm("claims", "--out", "build", "--check", "expected.json") == (0, "2 of 2 verdicts are as expected.\n", "")
    judged[1]["verdict"] = "not enough data"
    judged.append(judged[0] | {"notebook": "02_later"})
    Path("expected.json").write_text(json.dumps(judged))
    code, out, err = hmm("claims", "--out", "build", "--check", "expected.json")
    assert code == 1
    assert out == '1 of 2 verdicts are as expected.\nC2 (01_good): "holds" (x) here, "not enough data" (x) there.\n'
    assert err == "hmm: Not compared, because not run here: 02_later.\n"


def test_verdicts_are_checked_against_the_committed_ones(hmm, judged, monkeypatch):
    assert ROOT / "results" / "verdicts.json" == main_module.COMMITTED
    monkeypatch.setattr(main_module, "COMMITTED", Path("results.json"))
    code, out, err = hmm("claims", "--out", "build", "--check")
    assert (code, out) == (1, "") and err.startswith("hmm: results.json is not a list of verdicts: make one with ")
    Path("results.json").write_text(json.dumps(judged))
    assert hmm("claims", "--out", "build", "--check")[0] == 0


def test_no_claims_yet(hmm):
    sentence = "hmm: There are no claims in there: make them with `hmm run all --out there`.\n"
    assert hmm("claims", "--out", "there") == (1, "", sentence)
