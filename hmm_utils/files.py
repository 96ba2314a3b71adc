"""Files that are complete or absent: written beside their place and moved there, set aside if they cannot be read.

numpy, xarray and h5py are imported by the functions that need them, so that the command line starts quickly.
"""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

__all__ = [
    "DamagedFileWarning", "read_arrays", "read_dataset", "replace", "set_aside", "write_arrays", "write_datasets",
    "write_text",
]  # fmt: skip


class DamagedFileWarning(UserWarning):
    """A file could not be used; it was renamed, not deleted, and its content is computed again."""


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside ``path`` and move it there when it is complete and on the disk.

    Readers of ``path`` see the old file or the new one, even if the machine stops in between.

    Parameters
    ----------
    path : Path
        Its folder is created if it does not exist.
    write : callable
        Writes the file at the path that it is given.

    Raises
    ------
    OSError
        If the file cannot be written (a full disk, for example); nothing is left behind.
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


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, by :func:`replace`."""
    replace(path, lambda aside: aside.write_text(text, "utf-8"))


def set_aside(path: Path, why: str) -> Path:
    """Rename a file that cannot be used, with a warning, and return the new name."""
    place = next(p for n in range(1_000_000) if not (p := path.with_name(f"{path.name}.damaged-{n}")).exists())
    path.replace(place)
    warnings.warn(
        f"{path.name} {why}: it was renamed to {place.name} and is computed again.", DamagedFileWarning, stacklevel=4
    )
    return place


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers by name, by :func:`replace`."""
    import numpy as np

    def write(aside: Path) -> None:
        with open(aside, "wb") as file:
            np.savez(file, **dict(arrays))  # type: ignore[arg-type]  # numpy's stub takes every keyword for allow_pickle

    replace(path, write)


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read a file of :func:`write_arrays`.

    Returns
    -------
    dict or None
        None if there is no such file, or if it is damaged; it is then set aside.
    """
    import numpy as np

    try:
        # a zip file has a checksum for each array; numpy does not close a file that turns out to be none
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        _set_unreadable_aside(path, error)
        return None


def read_dataset(path: Path, group: str | None = None) -> xr.Dataset | None:
    """Read a netCDF file, or a group of one, into memory.

    Returns
    -------
    xarray.Dataset or None
        None if there is no such file or group, or if the file is damaged; it is then set aside.
    """
    import h5py
    import xarray as xr

    try:
        with h5py.File(path) as file:
            if group is not None and group not in file:
                return None
        with xr.open_dataset(path, group=group, engine="h5netcdf") as result:
            return result.load()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        _set_unreadable_aside(path, error)
        return None


def write_datasets(path: Path, groups: Mapping[str | None, xr.Dataset]) -> None:
    """Write results to a netCDF file in single precision, compressed and with checksums, by :func:`replace`.

    Parameters
    ----------
    path : Path
    groups : mapping
        Name of the group → result; None stands for the file itself.

    Raises
    ------
    OSError
        If the file cannot be written; an old one is then still in its place.
    """

    def write(aside: Path) -> None:
        for mode, (group, result) in zip(("w", *"a" * len(groups)), groups.items(), strict=False):
            packed = {"zlib": True, "complevel": 6, "shuffle": True, "fletcher32": True, "dtype": "float32"}
            # a single number has nothing to compress, and netCDF refuses to
            encoding = dict.fromkeys((name for name in result.data_vars if result[name].ndim), packed)
            result.to_netcdf(aside, mode=mode, group=group, engine="h5netcdf", encoding=encoding)  # type: ignore[call-overload]

    replace(path, write)


def _set_unreadable_aside(path: Path, error: Exception) -> None:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    set_aside(path, f"cannot be read ({reason})")
