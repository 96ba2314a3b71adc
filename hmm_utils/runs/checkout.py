"""The state of the git checkout that a folder lies in, for the provenance of results and executed notebooks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["commit"]


def commit(folder: Path, *, untracked: bool = False) -> tuple[str, bool] | None:
    """Return the commit's hash, and whether files differ from it; None outside git.

    Parameters
    ----------
    untracked : bool
        Whether untracked files count as a difference.
    """
    git = ["git", "-C", os.fspath(folder)]
    status = ["status", "--porcelain", f"--untracked-files={'normal' if untracked else 'no'}"]
    try:
        head, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], status)
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head, bool(changes)
