"""The scripts of benchmarks/, which are no package."""

import importlib
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@contextmanager
def scripts():
    """Imports scripts by name: they find each other, and the numbers of threads that they set last no longer."""
    with patch.dict(os.environ), patch.object(sys, "path", [str(FOLDER), *sys.path]):
        yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)
