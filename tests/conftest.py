"""Fixtures for the tests of what runs the notebooks, and of scripts that are in no package."""

import importlib
import os
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import shapes  # noqa: F401 (before the package: checks annotated shapes)
from helpers.throwaway import write_notebooks

from hmm_utils.app import __main__ as main_module


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with notebooks, beside which the test stands; no git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return write_notebooks(tmp_path)


@pytest.fixture
def hmm(capfd):
    """Exit code, stdout and stderr of `hmm` with these arguments."""

    def call(*arguments):
        capfd.readouterr()
        code = main_module.main(list(map(str, arguments)))
        return code, *capfd.readouterr()

    return call


@pytest.fixture(scope="module")
def load():
    """Imports scripts by name: they find each other, and the numbers of threads that they set last no longer."""
    folders = [Path(__file__).resolve().parents[1] / name for name in ("benchmarks", "tools")]
    with patch.dict(os.environ), patch.object(sys, "path", [*map(str, folders), *sys.path]):
        yield importlib.import_module
    for folder in folders:
        for path in folder.glob("*.py"):
            sys.modules.pop(path.stem, None)
