"""The files around the code: workflows, the issue form, the changelog and what tells contributors what to do."""

import importlib.util
import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from hmm_utils.app import doctor

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "binder/README.md", "benchmarks/README.md", "docs/cluster.md")


def read(path):
    return (ROOT / path).read_text("utf-8")


def workflow(name):
    # YAML 1.1 reads the key `on` as true
    found = yaml.safe_load(read(f".github/workflows/{name}.yml"))
    return found | {"on": found[True]}


def make_targets():
    return set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.M))


def steps(job):
    return [step["run"] for step in job["steps"] if "run" in step]


# ---- Workflows ------------------------------------------------------------------------------------------------------


def test_there_are_the_workflows():
    assert [path.stem for path in WORKFLOWS] == ["book", "tests", "weekly"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_jobs_end(path):
    """Every action at a major version, every job with a limit unless it only publishes, no more rights than needed."""
    found = workflow(path.stem)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert "timeout-minutes" in job or name == "publish"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/some@v1"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_there_is(path):
    """Every target of make that is run is one of this project's."""
    text = path.read_text("utf-8")
    for target in re.findall(r"run: make (?:PYTHON=python )?([a-z-]+)$", text, re.M):
        assert target in make_targets()


def test_oldest_and_newest_python_on_linux_and_macos():
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tools" / "lock.py")
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    ends = [lock.PYTHONS[0], lock.PYTHONS[-1]]
    matrix = workflow("tests")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix == {"os": ["ubuntu-latest", "macos-latest"], "python": ends}
    assert workflow("weekly")["jobs"]["newest"]["strategy"]["matrix"] == {"python": ends}


def test_what_is_run_when():
    assert {"push", "pull_request"} <= workflow("tests")["on"].keys()
    jobs = workflow("tests")["jobs"]
    assert "make PYTHON=python test" in steps(jobs["test"]) and "make test-browser" in steps(jobs["browser"])
    assert "make PYTHON=python book" in steps(workflow("book")["jobs"]["build"])
    assert "refs/heads/main" in workflow("book")["jobs"]["publish"]["if"]
    weekly = workflow("weekly")
    assert weekly["on"]["schedule"][0]["cron"].split()[-1] == "1"
    newest = " ".join(steps(weekly["jobs"]["newest"]))
    assert 'pip install $PIP_ARGS -e ".[test]"' in newest and "requirements.lock" not in newest
    assert "make PYTHON=python test-binder" in steps(weekly["jobs"]["binder"])


# ---- The issue form -------------------------------------------------------------------------------------------------


def test_form_asks_for_what_it_takes():
    """As GitHub wants a form: known kinds of field, each with a label and an id of its own; the output of doctor."""
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/figure.yml"))
    assert form["name"] == "This figure does not reproduce for me" and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    required = {f["id"] for f in fields if f.get("validations", {}).get("required")}
    assert {"figure", "profile", "parameters", "seen", "doctor"} <= required
    assert len({field["id"] for field in fields}) == len(fields)
    (asked,) = (field for field in fields if field["id"] == "doctor")
    assert "hmm doctor" in asked["attributes"]["label"] and callable(doctor.examine)


# ---- Changelog and pages --------------------------------------------------------------------------------------------


def test_changelog():
    """Releases from the newest to the oldest, each with its date and with sections of known names."""
    text = read("CHANGELOG.md")
    releases = re.findall(r"^## \[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})$", text, re.M)
    assert len(releases) == len(re.findall(r"^## ", text, re.M)) >= 2
    numbers = [tuple(map(int, release[:3])) for release in releases]
    days = [date.fromisoformat(release[3]) for release in releases]
    assert numbers == sorted(set(numbers), reverse=True) and days == sorted(days, reverse=True)
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= known


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_what_there_is(page):
    """Links to files, targets of make, and scripts that are called."""
    text, folder = read(page), (ROOT / page).parent
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (folder / link).exists()] == []
    commands = "\n".join(re.findall(r"`([^`\n]+)`", text) + re.findall(r"^```\n(.*?)^```", text, re.M | re.S))
    lines = [line.partition("#")[0].strip() for line in commands.splitlines()]
    targets = {word for line in lines if line.startswith("make ") for word in line.split()[1:2] if "=" not in word}
    assert targets <= make_targets() | {"PYTHON", "run"}
    scripts = re.findall(r"python ((?:tools|benchmarks|binder)/\w+\.py)", "\n".join(lines))
    tests = re.findall(r"tests/test_\w+\.py", text)
    assert [path for path in (*scripts, *tests) if not (ROOT / path).is_file()] == []
