"""The files around the code: workflows, the issue form, the changelog and what tells contributors what to do."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "binder/README.md", "benchmarks/README.md", "docs/cluster.md")


def read(path):
    return (ROOT / path).read_text("utf-8")


def make_targets():
    return set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.M))


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/figure.yml"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_github_can_read_it(schema, files):
    """Against the published schemas, which come with check-jsonschema."""
    paths = sorted(map(str, ROOT.glob(files)))
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_there_is(path):
    """With no more rights than needed, every job with a limit unless it only publishes; targets of make that exist."""
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for name, job in workflow["jobs"].items() if name != "publish")
    targets = re.findall(r"run: make (?:PYTHON=python )?([a-z-]+)$", text, re.M)
    assert targets and set(targets) <= make_targets()


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
