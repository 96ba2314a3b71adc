"""Files that are whole or not there: written aside and moved into place, and set aside when they cannot be read."""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import h5py
import numpy as np
import xarray as xr

__all__ = [
    "DamagedFileWarning",
    "read_arrays",
    "read_dataset",
    "replace",
    "set_aside",
    "write_arrays",
    "write_datasets",
]


class DamagedFileWarning(UserWarning):
    """A file could not be used; it was renamed, not deleted, and what it held is computed again."""


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` make a file beside `path` and moves it there when it is complete and on the disk.

    Whoever reads `path` sees the old file or the new one, whenever the machine stops. Raises OSError, with nothing left
    behind, if the file cannot be written (a full disk, say).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        write(aside)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def set_aside(path: Path, why: str) -> Path:
    """Renames a file that cannot be used, and warns; the new name."""
    place = next(p for n in range(1_000_000) if not (p := path.with_name(f"{path.name}.damaged-{n}")).exists())
    path.replace(place)
    warnings.warn(
        f"{path.name} {why}: it was renamed to {place.name} and is computed again.", DamagedFileWarning, stacklevel=4
    )
    return place


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays of numbers by name."""

    def write(aside: Path) -> None:
        with open(aside, "wb") as file:
            np.savez(file, **arrays)

    replace(path, write)


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote; None if there is no such file, or if it is damaged: then it is set aside."""
    try:
        # a zip file has a checksum for each array; numpy does not close a file that turns out to be none
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        _cannot_be_read(path, error)
        return None


def read_dataset(path: Path, group: str | None = None) -> xr.Dataset | None:
    """A netCDF file, or a group of one, in memory; None if there is none, or if it is damaged: then it is set aside."""
    try:
        with h5py.File(path) as file:
            if group is not None and group not in file:
                return None
        with xr.open_dataset(path, group=group, engine="h5netcdf") as file:
            return file.load()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        _cannot_be_read(path, error)
        return None


def write_datasets(path: Path, groups: Mapping[str | None, xr.Dataset]) -> None:
    """Writes a netCDF file of one group for each result (None: the file itself is the group), in single precision,
    compressed and with checksums. Raises OSError if it cannot be written, and then an old file is still there."""

    def write(aside: Path) -> None:
        for mode, (group, result) in zip(("w", *"a" * len(groups)), groups.items(), strict=False):
            packed = {"zlib": True, "complevel": 6, "shuffle": True, "fletcher32": True, "dtype": "float32"}
            # a single number has nothing to compress, and netCDF refuses to
            encoding = dict.fromkeys((name for name in result.data_vars if result[name].ndim), packed)
            result.to_netcdf(aside, mode=mode, group=group, engine="h5netcdf", encoding=encoding)

    replace(path, write)


def _cannot_be_read(path: Path, error: Exception) -> None:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    set_aside(path, f"cannot be read ({reason})")
