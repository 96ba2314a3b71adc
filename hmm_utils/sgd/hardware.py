"""Where training runs: on the processor, or on a GPU through torch."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hmm_utils.model.parameters import choice

__all__ = ["DEVICES", "cores", "describe", "limit_threads", "resolve", "threads"]

DEVICES = ("auto", "cpu", "cuda")

_limit: ContextVar[int | None] = ContextVar("limit", default=None)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Count the threads that train on the processor: one per core, unless a limit is lower.

    Limits are ``OMP_NUM_THREADS`` and that of :func:`limit_threads`.
    """
    variable = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limits = (cores(), int(variable) if variable.isdecimal() else None, _limit.get())
    return min(limit for limit in limits if limit)


@contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """Let the code in a ``with`` block train with at most n threads.

    The limit holds for the thread of Python that entered the block.
    """
    outer = _limit.set(min(n, _limit.get() or n))
    try:
        yield
    finally:
        _limit.reset(outer)


def _has_driver() -> bool:
    """Whether NVIDIA's driver library can be loaded, by the name under which torch would load it."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _has_gpu() -> bool:
    """Whether torch finds a GPU; torch takes seconds to import, so it is only asked if there is a driver."""
    if not _has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def resolve(name: str) -> str:
    """Choose the device for a name: "auto" means "cuda" if torch finds a GPU, and "cpu" otherwise.

    Parameters
    ----------
    name : str
        "auto", "cpu" or "cuda".

    Returns
    -------
    str
        "cpu" or "cuda".

    Raises
    ------
    ValueError
        For an unknown name, and for "cuda" without a GPU.
    """
    choice("device", name, DEVICES)
    if name == "cpu":
        return "cpu"
    if _has_gpu():
        return "cuda"
    if name == "cuda":
        raise ValueError(
            'device = "cuda" needs an NVIDIA GPU with its driver and a CUDA build of torch, and torch finds none here: '
            'use device = "cpu" or "auto".'
        )
    return "cpu"


def describe() -> tuple[str, bool]:
    """Describe what training can run on.

    Returns
    -------
    description : str
        One line.
    unused : bool
        Whether there is an NVIDIA driver but torch cannot use it.
    """
    if not _has_driver():
        return "the processor; no NVIDIA driver here", False
    if not _has_gpu():
        return "the processor; there is an NVIDIA driver, but torch finds no GPU", True
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}", False
