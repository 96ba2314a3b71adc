"""Cores, threads and devices."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from hmm_utils.sgd import hardware


def test_number_of_cores(monkeypatch):
    """Cores are those that this process may use; where a system does not say that, those it has, or one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert hardware.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, expected in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert hardware.cores() == expected


@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, 4), ("1", 1), ("3", 3), ("8", 4), ("2,1", 2), ("", 4), ("0", 4), ("-1", 4), ("many", 4)],
)
def test_number_of_threads(variable, expected, monkeypatch):
    """One thread per core, or fewer if OMP_NUM_THREADS or ``limit_threads`` says so; nonsense is ignored."""
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert hardware.threads() == expected
    with hardware.limit_threads(2), hardware.limit_threads(3):
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(hardware.threads()))
        thread.start()
        thread.join()
        assert hardware.threads() == min(expected, 2) and elsewhere == [expected]
    assert hardware.threads() == expected


@pytest.mark.parametrize("gpu", [False, True])
def test_device_by_name(gpu, monkeypatch):
    """ "auto" takes the GPU if there is one; "cuda" insists; "cpu" does not even look."""
    monkeypatch.setattr(hardware, "_has_gpu", lambda: gpu)
    assert hardware.resolve("auto") == ("cuda" if gpu else "cpu")
    if gpu:
        assert hardware.resolve("cuda") == "cuda"
    else:
        with pytest.raises(ValueError, match=r'^device = "cuda" needs an .* GPU .* use device = "cpu" or "auto"\.$'):
            hardware.resolve("cuda")
    monkeypatch.setattr(hardware, "_has_gpu", None)
    assert hardware.resolve("cpu") == "cpu"
    with pytest.raises(ValueError, match="device = 'gpu': choose one of auto, cpu, cuda"):
        hardware.resolve("gpu")


def test_torch_decides_where_there_is_a_driver(monkeypatch):
    """A driver is not a GPU: what torch finds counts."""
    monkeypatch.setattr(hardware, "_has_driver", lambda: True)
    for found in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert hardware._has_gpu() is found


def test_torch_is_not_imported_to_find_no_gpu():
    """Importing torch takes seconds, which a machine without NVIDIA's driver should not wait for."""
    program = (
        "import sys\n"
        "from hmm_utils.sgd import hardware\n"
        "hardware._has_driver = lambda: False\n"
        "assert hardware.resolve('auto') == 'cpu'\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
