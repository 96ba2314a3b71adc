"""Fixtures for the tests of what runs the notebooks."""

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
