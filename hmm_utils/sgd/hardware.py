"""Where training runs: on the processor, or on a GPU through torch."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

__all__ = ["DEVICES", "cores", "describe", "limit_threads", "resolve", "threads"]

DEVICES = ("auto", "cpu", "cuda")

_most: ContextVar[float] = ContextVar("most", default=inf)


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """The number of threads that train on the processor: one per core, or OMP_NUM_THREADS or `limit_threads` if that is
    less."""
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    given = int(limit) if limit.isdecimal() and int(limit) > 0 else inf
    return min(cores(), given, _most.get())


@contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """In the block, what this thread of the process trains takes n threads at most."""
    outer = _most.set(min(n, _most.get()))
    try:
        yield
    finally:
        _most.reset(outer)


def _has_driver() -> bool:
    """Whether NVIDIA's driver library can be loaded, by the name under which torch would load it."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _has_gpu() -> bool:
    """Whether torch finds a GPU; torch, which takes seconds to import, is asked only where there is a driver."""
    if not _has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def resolve(name: str) -> str:
    """The device that a name stands for, "cpu" or "cuda"; "auto" is "cuda" where torch finds a GPU and "cpu" elsewhere.

    Raises ValueError for an unknown name, and for "cuda" without a GPU.
    """
    if name not in DEVICES:
        raise ValueError(f"device = {name!r}: choose one of {', '.join(DEVICES)}.")
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
    """What there is to train on, in words, and whether an NVIDIA driver is here of which torch makes no use."""
    if not _has_driver():
        return "the processor; no NVIDIA driver here", False
    if not _has_gpu():
        return "the processor; there is an NVIDIA driver, but torch finds no GPU", True
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}", False
