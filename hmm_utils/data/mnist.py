"""The MNIST digits of LeCun, Cortes & Burges as raw bytes: read from disk, or downloaded and checked.

The four files are in the IDX format (big-endian: two zero bytes, the type code 0x08 for uint8, the number of axes, the
length of each axis as uint32, then the data), gzip-compressed. Mirrors compress them differently, so that only the
uncompressed payload has a fixed SHA-256, which is checked at every load.

Environment variables: HMM_DATA_DIR sets the data directory, HMM_OFFLINE=1 forbids downloads, TQDM_DISABLE=1 hides the
progress bars.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import numpy as np
import requests
from tqdm import TqdmWarning, tqdm
from urllib3.exceptions import ReadTimeoutError

with warnings.catch_warnings():
    # pooch asks tqdm for a widget that this project does not use, and tqdm complains that it cannot have it
    warnings.simplefilter("ignore", TqdmWarning)
    import pooch

from hmm_utils.files import replace

__all__ = [
    *("FILES", "MIRRORS", "TIMEOUT", "DataError", "Mnist", "cache_dir", "data_dir", "is_available", "is_offline"),
    *("load", "problems"),
]

FILES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", (60000, 28, 28)),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", (60000,)),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", (10000, 28, 28)),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", (10000,)),
}
"""Name → (SHA-256 of the payload, shape), in the order of the fields of :class:`Mnist`."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)

TIMEOUT = (4.0, 10.0)
"""Seconds to connect, and between two arrivals of data."""

_GZIP_MAGIC = b"\x1f\x8b"


class DataError(RuntimeError):
    """Data are missing, unreachable or wrong; the message is one sentence that says what to do."""


class Mnist(NamedTuple):
    """MNIST as stored, uint8: pixels from 0 (background) to 255, labels from 0 to 9.

    Attributes
    ----------
    x_train, x_test : (60000, 784) and (10000, 784) uint8 arrays
    y_train, y_test : (60000,) and (10000,) uint8 arrays
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def data_dir() -> Path:
    """Folder of the data: HMM_DATA_DIR if it is set and not empty, otherwise :func:`cache_dir`."""
    chosen = os.environ.get("HMM_DATA_DIR")
    return Path(chosen).expanduser() if chosen else cache_dir()


def cache_dir() -> Path:
    """Folder ``hidden-manifold`` of the user's cache."""
    return Path(pooch.os_cache("hidden-manifold"))


def is_available(directory: str | os.PathLike | None = None, *, files: Mapping = FILES) -> bool:
    """Whether all four files are in ``directory`` (default: ``data_dir()``); their contents are not checked."""
    directory = _resolve(directory)
    return all(_find(directory, name) for name in files)


def is_offline() -> bool:
    """Whether HMM_OFFLINE forbids downloads."""
    return os.environ.get("HMM_OFFLINE", "").strip().lower() in ("1", "true", "yes")


def problems(directory: str | os.PathLike | None = None, *, files: Mapping = FILES) -> dict[str, str]:
    """Problem of each file in ``directory`` (default: ``data_dir()``), without downloading any.

    Returns
    -------
    dict
        Name → "" for an intact file, "missing", or a sentence.
    """
    directory, found = _resolve(directory), {}
    for name, (sha256, _) in files.items():
        path = _find(directory, name)
        try:
            found[name] = "missing" if path is None else ""
            if path is not None:
                _read(path, sha256)
        except DataError as error:
            found[name] = str(error)
    return found


def load(
    directory: str | os.PathLike | None = None,
    mirrors: Iterable[str] = MIRRORS,
    timeout: tuple[float, float] = TIMEOUT,
    progress: bool = True,
    *,
    files: Mapping[str, tuple[str, tuple[int, ...]]] = FILES,
) -> Mnist:
    """MNIST from disk; missing files are first downloaded.

    Parameters
    ----------
    directory : path, optional
        Folder that contains the files, in itself or in its folder ``mnist``, as NAME.gz or NAME; by default
        ``data_dir()``. Downloads go to ``directory``/mnist.
    mirrors : iterable of str
        Base URLs, tried in this order for each file.
    timeout : (float, float)
        Seconds to connect, and between two arrivals of data.
    progress : bool
        Whether to show a progress bar for each download.
    files : mapping
        Name → (SHA-256 of the payload, shape), in the order of the fields of :class:`Mnist`.

    Raises
    ------
    DataError
        If a file is damaged (it is left as it is), if it is missing while HMM_OFFLINE is set, if no mirror delivers it
        (the remaining files are then not tried), or if it cannot be written.
    """
    directory = _resolve(directory)
    missing = [name for name in files if not _find(directory, name)]
    if missing and is_offline():
        raise DataError(
            f"MNIST file {missing[0]}.gz is missing from {directory / 'mnist'} and HMM_OFFLINE forbids downloading it: "
            f"{_remedy('unset HMM_OFFLINE and run `hmm data` with a network')}."
        )
    arrays = []
    mirrors = tuple(mirrors)
    unreachable: dict[str, str] = {}
    for name, (sha256, shape) in files.items():
        path = _find(directory, name)
        if path:
            payload = _read(path, sha256)
        else:
            payload = _download(name, sha256, directory / "mnist", mirrors, unreachable, timeout, progress)
        arrays.append(_parse_idx(payload, name, shape))
    return Mnist(*arrays)


def _resolve(directory: str | os.PathLike | None) -> Path:
    return data_dir() if directory is None else Path(directory).expanduser()


def _find(directory: Path, name: str) -> Path | None:
    """Path of the file ``name``, or None."""
    places = (folder / file for folder in (directory / "mnist", directory) for file in (f"{name}.gz", name))
    # unlike Path.is_file, os.path.isfile takes a folder without permission for one without the file
    return next((place for place in places if os.path.isfile(place)), None)


def _remedy(first: str) -> str:
    return f'{first}, or put the file there by hand, or use data="digits" or data="auto"'


def _checked_payload(raw: bytes, sha256: str) -> bytes:
    """Decompress ``raw`` if it is gzip; raise DataError with a reason of a few words unless its SHA-256 is right."""
    try:
        # the first bytes decide, not the name: some servers undo the compression on the way
        payload = gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw
    except EOFError:
        raise DataError("cut off") from None
    except (gzip.BadGzipFile, zlib.error):
        raise DataError("corrupt gzip") from None
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise DataError("wrong bytes")
    return payload


def _read(path: Path, sha256: str) -> bytes:
    """Payload of a file on disk; raises DataError if it cannot be read or is damaged."""
    try:
        return _checked_payload(path.read_bytes(), sha256)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): check the disk and the permissions of the file."
        ) from error
    except DataError as reason:
        raise DataError(
            f"{path} is damaged ({reason}; its uncompressed content should have SHA-256 {sha256[:12]}…): "
            f"delete it, then `hmm data` downloads it again."
        ) from None


def _parse_idx(payload: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Array in an IDX payload, all axes but the first flattened; raises DataError unless it has ``shape``."""
    header = struct.pack(f">HBB{len(shape)}I", 0, 0x08, len(shape), *shape)
    if not payload.startswith(header) or len(payload) != len(header) + prod(shape):
        raise DataError(
            f"MNIST file {name} starts with {payload[: len(header)].hex()} and has {len(payload)} bytes where the IDX "
            f"format of uint8 data of shape {shape} wants {header.hex()} and {len(header) + prod(shape)}: "
            f"correct the shape, or the file and its SHA-256, in the table of files."
        )
    # the copy is writable; numpy's view of bytes is not, and some libraries warn of that
    flat = (shape[0], prod(shape[1:])) if len(shape) > 1 else shape
    return np.frombuffer(payload, np.uint8, offset=len(header)).reshape(flat).copy()


def _download(
    name: str,
    sha256: str,
    folder: Path,
    mirrors: tuple[str, ...],
    unreachable: dict[str, str],
    timeout: tuple[float, float],
    progress: bool,
) -> bytes:
    """Download a file into ``folder``, as NAME.gz, and return its payload.

    ``unreachable``, mirror → reason, lists mirrors not to be asked (again); those found unreachable here are added.
    Raises DataError if no mirror delivers the file or if it cannot be written.
    """
    payload = b""

    def write(aside: Path) -> None:
        nonlocal payload
        aside.touch()  # a folder that cannot be written to should show before any waiting
        payload = _first_good(name, sha256, folder, aside, mirrors, unreachable, timeout, progress)
        if not aside.read_bytes().startswith(_GZIP_MAGIC):
            aside.write_bytes(gzip.compress(payload))

    try:
        replace(folder / f"{name}.gz", write)
    except OSError as error:
        raise DataError(
            f"MNIST file {name}.gz cannot be written to {folder} ({error.strerror}): "
            f"set HMM_DATA_DIR to a folder that you can write to and that has 12 MB free."
        ) from error
    return payload


def _first_good(
    name: str,
    sha256: str,
    folder: Path,
    file: Path,
    mirrors: tuple[str, ...],
    unreachable: dict[str, str],
    timeout: tuple[float, float],
    progress: bool,
) -> bytes:
    """Download from the first mirror that delivers it to ``file``, compressed or not, and return the payload.

    Other arguments and errors are those of ``_download``, except that an OSError of the disk passes through.
    """
    reasons = {}
    for mirror in mirrors:
        if mirror not in unreachable:
            try:
                _fetch(f"{mirror.rstrip('/')}/{name}.gz", file, timeout, progress)
                return _checked_payload(file.read_bytes(), sha256)
            except ConnectionError as reason:
                unreachable[mirror] = str(reason)
            except DataError as reason:
                reasons[mirror] = str(reason)
    tried = ", ".join(f"{mirror} ({unreachable.get(mirror) or reasons[mirror]})" for mirror in mirrors)
    remedy = _remedy("check the network and run `hmm data` again")
    raise DataError(
        f"MNIST file {name}.gz is missing from {folder} and no mirror delivered it, "
        f"tried {tried or 'none since none was given'}: {remedy}."
    )


def _fetch(url: str, path: Path, timeout: tuple[float, float], progress: bool) -> None:
    """Download ``url`` to ``path``, unchecked.

    Raises, with a reason of a few words, ConnectionError if the server does not answer or stops sending, in which case
    it is not worth asking again, and DataError if it answers with an error or breaks off. OSErrors of the disk pass
    through.
    """
    connect, read = timeout
    _knock(url, connect)
    # given only where needed, since an explicit `disable` overrides TQDM_DISABLE
    disable = {} if progress else {"disable": True}
    # a bar of our own since pooch's is nameless and stays on screen; its total must not be 0 or None, which pooch
    # takes for no bar, and is corrected by pooch once the server has announced it
    with tqdm(total=1, unit="B", unit_scale=True, leave=False, desc=url.rsplit("/", 1)[-1], **disable) as bar:
        download = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=timeout)
        try:
            download(url, str(path), None)
        except requests.HTTPError as error:
            response = cast(requests.Response, error.response)
            response.close()
            raise DataError(f"HTTP {response.status_code}") from None
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise DataError("cut off") from None
        except requests.ConnectTimeout:
            raise ConnectionError(f"timed out after {connect:g} s") from None
        except requests.RequestException as error:
            # silence in the middle of the body is not a requests.ReadTimeout; both are built around that of urllib3
            silent = isinstance(next(iter(error.args), None), ReadTimeoutError)
            raise ConnectionError(f"timed out after {read:g} s" if silent else type(error).__name__) from None


def _knock(url: str, timeout: float) -> None:
    """Raise ConnectionError, with a reason of a few words, unless the server of ``url`` accepts a connection.

    A connection proper is tried at every address of the host with the full timeout each, minutes for the big mirrors
    behind a firewall that drops packets; this tries one address per family. Nothing is tried where a proxy is set,
    since the proxy then makes the connection, or for a URL without a host, which requests refuses in better words.
    """
    parts = urlsplit(url)
    if requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) or not parts.hostname:
        return
    reason = "host not found"
    with suppress(socket.gaierror, UnicodeError):
        port = parts.port or {"http": 80}.get(parts.scheme, 443)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        for family, address in {entry[0]: entry[4] for entry in reversed(found)}.items():
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(timeout)
                try:
                    return probe.connect(address)
                except TimeoutError:
                    reason = f"timed out after {timeout:g} s"
                except OSError as error:
                    reason = (error.strerror or "no connection").lower()
    raise ConnectionError(reason)
