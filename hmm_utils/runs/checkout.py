"""The state of the git checkout that a folder lies in: what results and executed notebooks say they were made with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["commit"]


def commit(folder: Path, *, untracked: bool = False) -> tuple[str, bool] | None:
    """The commit's hash, and whether files differ from it; None outside git.

    untracked  whether files that git does not know count as a difference
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
