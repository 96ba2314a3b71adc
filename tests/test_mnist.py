"""hmm_utils.data.mnist against files made here and a server on the loopback interface; no network is used."""

import gzip
import hashlib
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pooch
import pytest
from helpers.experiments import check_sentence

from hmm_utils.data import mnist
from hmm_utils.data.mnist import DataError, data_dir, is_available, load

SHAPES = dict(zip(mnist.FILES, [(5, 2, 3), (5,), (3, 2, 3), (3,)], strict=True))
FIRST, SECOND, *_ = SHAPES
PATIENT, BRIEF = (10.0, 10.0), (10.0, 0.4)  # s; brief only where a server keeps silent on purpose


def idx(shape, offset=0):
    """An IDX payload of uint8 numbers offset, offset + 1, … (mod 251)."""
    data = bytes((offset + i) % 251 for i in range(prod(shape)))
    return struct.pack(f">I{len(shape)}I", 0x800 + len(shape), *shape) + data


PAYLOADS = {name: idx(shape, offset=7 * len(name)) for name, shape in SHAPES.items()}
STORED = sorted(f"mnist/{name}.gz" for name in SHAPES)
FILES = {name: (hashlib.sha256(PAYLOADS[name]).hexdigest(), shape) for name, shape in SHAPES.items()}


def answer(mode, name):
    """(status, bytes announced, bytes sent) of the server for the file `name` under the path /`mode`/."""
    good = gzip.compress(PAYLOADS[name])
    return {
        "good": (200, good, good),
        "plain": (200, PAYLOADS[name], PAYLOADS[name]),
        "forbidden": (403, b"no", b"no"),
        "cut": (200, good, good[:20]),
        # a proxy that gave up in the middle, but closes its own answer correctly
        "short": (200, good[:20], good[:20]),
        "stall": (200, good, good[:20]),
        "hang": (200, good, b""),
        "wrong": (200, *[gzip.compress(PAYLOADS[name][:-1] + b"\xff")] * 2),
        "html": (200, *[b"<html>Please log in</html>"] * 2),
    }[mode]


@pytest.fixture
def server(monkeypatch):
    """`url(mode)` is a mirror that answers as in `answer`; `asked` lists (mode, file) as requests come in."""
    asked, over = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as with the real mirrors, unless the client closes them

        def do_GET(self):
            mode, file = self.path.split("/")[-2:]
            asked.append((mode, file))
            status, announced, sent = answer(mode, file.removesuffix(".gz"))
            self.close_connection = announced != sent
            if mode == "hang":
                over.wait(30)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(announced)))
            self.end_headers()
            self.wfile.write(sent)
            if mode == "stall":
                over.wait(30)

        def log_message(self, *args):
            pass

    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # leaving the block then joins the hanging answers, so that none outlives its test
        request_queue_size = 64  # the default of 5 drops connections when several clients come at once

    with Server(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield SimpleNamespace(url=lambda mode: f"http://127.0.0.1:{httpd.server_port}/{mode}", asked=asked)
        over.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """The settings of whoever runs the tests are not those of the tests."""
    monkeypatch.delenv("HMM_OFFLINE", raising=False)


@pytest.fixture
def refusing():
    """A mirror whose port nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


def fetch(directory, *mirrors, timeout=PATIENT):
    return load(directory, mirrors=mirrors, timeout=timeout, progress=False, files=FILES)


def put(folder, *, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, payload in PAYLOADS.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(payload) if packed else payload)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_complete(data):
    assert data._fields == ("x_train", "y_train", "x_test", "y_test")
    for array, payload, shape in zip(data, PAYLOADS.values(), SHAPES.values(), strict=True):
        assert array.dtype == np.uint8 and array.flags.writeable
        assert array.shape == (shape if len(shape) == 1 else (shape[0], shape[1] * shape[2]))
        assert array.tobytes() == payload[4 + 4 * len(shape) :]


def failure(directory, *mirrors, timeout=PATIENT):
    """The message of the DataError that `fetch` ends with, one sentence."""
    with pytest.raises(DataError) as caught:
        fetch(directory, *mirrors, timeout=timeout)
    check_sentence(caught)
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "mnist"])
@pytest.mark.parametrize("packed", [True, False])
def test_local_files_are_read_without_network(tmp_path, packed, below):
    put(tmp_path / below, packed=packed)
    assert is_available(tmp_path, files=FILES)
    assert_complete(fetch(str(tmp_path)))


@pytest.mark.parametrize("mode", ["good", "plain"])
def test_downloads_are_stored_packed_and_later_loads_need_no_mirror(tmp_path, server, mode):
    """Also what a mirror has unpacked; only what is missing is asked for."""
    new = tmp_path / "not" / "yet"
    assert_complete(fetch(new, server.url(mode) + "/"))
    assert files_below(new) == STORED
    assert gzip.decompress((new / STORED[0]).read_bytes()) in PAYLOADS.values()
    assert_complete(fetch(new))
    assert server.asked == [(mode, f"{name}.gz") for name in FILES]
    (new / "mnist" / f"{SECOND}.gz").unlink()
    assert not is_available(new, files=FILES)
    assert_complete(fetch(new, server.url("good")))
    assert server.asked[len(FILES) :] == [("good", f"{SECOND}.gz")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("forbidden", "HTTP 403"),
        ("hang", "timed out after 0.4 s"),
        ("stall", "timed out after 0.4 s"),
        ("cut", "cut off"),
        ("short", "cut off"),
        ("wrong", "wrong bytes"),
        ("html", "wrong bytes"),
    ],
)
def test_a_bad_mirror_is_named_with_its_reason_or_replaced_by_a_good_one(tmp_path, server, bad, reason):
    silent = reason.startswith("timed out")
    timeout = BRIEF if silent else PATIENT
    assert f"{server.url(bad)} ({reason})" in failure(tmp_path, server.url(bad), timeout=timeout)
    assert files_below(tmp_path) == []
    server.asked.clear()
    assert_complete(fetch(tmp_path, server.url(bad), server.url("good"), timeout=timeout))
    assert files_below(tmp_path) == STORED
    # a mirror that lets one wait is asked once, one that answers badly may do better with the next file
    assert [mode for mode, _ in server.asked].count(bad) == (1 if silent else len(FILES))


def test_all_mirrors_bad(tmp_path, server, refusing):
    assert "none was given" in failure(tmp_path)
    message = failure(tmp_path, refusing, server.url("forbidden"), server.url("cut"))
    for part in (f"{FIRST}.gz", str(tmp_path / "mnist"), "`hmm data`", f"{refusing} (connection refused)", "HTTP 403"):
        assert part in message
    assert files_below(tmp_path) == []
    assert {file for _, file in server.asked} == {f"{FIRST}.gz"}


def test_a_mirror_left_out_for_a_later_file_is_still_named(tmp_path, server, refusing, monkeypatch):
    good = server.url("good")
    monkeypatch.setitem(PAYLOADS, SECOND, b"changed on the server")
    message = failure(tmp_path, refusing, good)
    assert f"{SECOND}.gz" in message
    assert f"{refusing} (connection refused), {good} (wrong bytes)" in message
    assert files_below(tmp_path) == [f"mnist/{FIRST}.gz"]


def test_an_unknown_host_is_looked_up_once(tmp_path, monkeypatch):
    asked = Mock(side_effect=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setenv("NO_PROXY", "*")
    message = failure(tmp_path, *mnist.MIRRORS)
    assert all(f"{mirror} (host not found)" in message for mirror in mnist.MIRRORS)
    assert asked.call_count == len(mnist.MIRRORS)


@pytest.fixture
def dropping(monkeypatch):
    """The address of a port that drops new connections, as some firewalls do."""
    if sys.platform != "linux":
        pytest.skip("a full backlog drops connections on Linux only")
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        yield full.getsockname()


def test_many_addresses_that_drop_packets_cost_one_timeout(tmp_path, dropping, monkeypatch):
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", dropping)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [entry] * 20)
    probes = Mock(wraps=socket.socket)
    monkeypatch.setattr(socket, "socket", probes)
    message = failure(tmp_path, "http://many.example/", timeout=(0.2, 10))
    assert "http://many.example/ (timed out after 0.2 s)" in message and probes.call_count == 1


def test_connection_lost_after_it_was_tried(tmp_path, dropping, monkeypatch):
    monkeypatch.setattr(mnist, "_knock", lambda *args: None)
    assert "(timed out after 0.2 s)" in failure(tmp_path, f"http://127.0.0.1:{dropping[1]}", timeout=(0.2, 10))


def test_through_a_proxy_the_mirror_itself_need_not_be_reachable(tmp_path, server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url("").rstrip("/"))
    assert_complete(fetch(tmp_path, "http://mirror.invalid/good"))


@pytest.mark.parametrize("value", ["1", "true", "Yes"])
def test_offline_does_not_download(tmp_path, server, monkeypatch, value):
    for other in ("", "0", "no"):
        monkeypatch.setenv("HMM_OFFLINE", other)
        assert not mnist.is_offline()
    monkeypatch.setenv("HMM_OFFLINE", value)
    put(tmp_path)
    assert_complete(fetch(tmp_path, server.url("good")))
    (tmp_path / f"{SECOND}.gz").unlink()
    message = failure(tmp_path, server.url("good"))
    for part in (f"{SECOND}.gz", str(tmp_path), "HMM_OFFLINE", "`hmm data`", "by hand", 'data="digits"', 'data="auto"'):
        assert part in message
    assert server.asked == []
    assert not (tmp_path / "mnist").exists()


PACKED = gzip.compress(PAYLOADS[SECOND])


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (f"{SECOND}.gz", PACKED[:-9], "cut off"),
        (f"{SECOND}.gz", PACKED[:12] + b"\x00\xff\x00" + PACKED[15:], "corrupt gzip"),
        (f"{SECOND}.gz", PACKED + b"more", "corrupt gzip"),
        (f"{SECOND}.gz", gzip.compress(idx((5,), offset=1)), "wrong bytes"),
        (f"{SECOND}.gz", b"", "wrong bytes"),
        (SECOND, PAYLOADS[SECOND][:-1], "wrong bytes"),
    ],
    ids=["truncated", "corrupt", "trailing", "other payload", "empty", "truncated plain"],
)
def test_damaged_local_file_is_reported_and_left_alone(tmp_path, server, file, content, reason):
    put(tmp_path)
    (tmp_path / f"{SECOND}.gz").unlink()
    (tmp_path / file).write_bytes(content)
    message = failure(tmp_path, server.url("good"))
    for part in (str(tmp_path / file), reason, FILES[SECOND][0][:12], "delete it", "`hmm data`"):
        assert part in message
    assert (tmp_path / file).read_bytes() == content
    assert server.asked == []


def test_header_must_match_the_shape(tmp_path):
    """A header that is right does not make up for data that are missing."""
    short = PAYLOADS[SECOND][:-1]
    for payload, shape, end in ((None, (6,), ""), (None, (5, 1), ""), (short, (5,), ".*has 12 bytes")):
        put(tmp_path)
        if payload:
            (tmp_path / f"{SECOND}.gz").write_bytes(payload)
        files = FILES | {SECOND: (hashlib.sha256(payload or PAYLOADS[SECOND]).hexdigest(), shape)}
        with pytest.raises(DataError, match=f"MNIST file {SECOND} starts with 0000080100000005{end}"):
            load(tmp_path, mirrors=[], files=files)


def test_directory_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_text("in the way")
    message = failure(tmp_path / "file" / "data", server.url("good"))
    assert str(tmp_path / "file" / "data") in message and "cannot be written" in message
    assert server.asked == []


def test_existing_folder_without_permission(tmp_path, server, monkeypatch):
    """Pretended, since nothing is denied to root, as whom tests in containers often run."""
    denied = Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr(Path, "touch", denied)
    assert "cannot be written to" in failure(tmp_path, server.url("good"))
    monkeypatch.setattr(Path, "read_bytes", denied)
    put(tmp_path)
    assert f"{tmp_path / FIRST}.gz cannot be read (Permission denied)" in failure(tmp_path, server.url("good"))
    assert server.asked == []


def test_two_downloads_at_once_do_not_collide(tmp_path, server):
    with ThreadPoolExecutor(4) as pool:
        for data in pool.map(lambda _: fetch(tmp_path, server.url("good")), range(4)):
            assert_complete(data)
    assert files_below(tmp_path) == STORED


def test_data_dir(tmp_path, server, monkeypatch):
    for given, folder in (
        ("", pooch.os_cache("hidden-manifold")),
        ("~/data", Path.home() / "data"),
        (tmp_path, tmp_path),
    ):
        monkeypatch.setenv("HMM_DATA_DIR", str(given))
        assert data_dir() == folder
    assert_complete(fetch(None, server.url("good")))
    assert files_below(tmp_path) == STORED and is_available(files=FILES)


@pytest.mark.parametrize("progress", [True, False])
def test_progress_bar(tmp_path, server, monkeypatch, progress):
    """A bar for each file, which TQDM_DISABLE can switch off: an explicit `disable` would override it."""
    bars, bar = [], mnist.tqdm
    monkeypatch.setattr(mnist, "tqdm", lambda **how: bars.append((how["desc"], how.get("disable"))) or bar(**how))
    load(tmp_path, [server.url("good")], PATIENT, progress, files=FILES)
    assert bars == [(f"{name}.gz", None if progress else True) for name in FILES]


@pytest.mark.skipif(not is_available(), reason="the MNIST files are not here: `hmm data` downloads them")
def test_the_real_files():
    data = load(mirrors=[])
    assert [(array.shape, array.dtype) for array in data] == [
        (shape, np.uint8) for shape in ((60000, 784), (60000,), (10000, 784), (10000,))
    ]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # the mean of the training pixels, on the scale 0 to 1, that everyone normalises MNIST by
    assert data.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_problems_of_each_file(tmp_path):
    """Good, damaged, missing: a sentence per file, and nothing is fetched."""
    put(tmp_path)
    (tmp_path / f"{FIRST}.gz").unlink()
    (tmp_path / f"{SECOND}.gz").write_bytes(PAYLOADS[SECOND][:-1])
    missing, damaged, *good = mnist.problems(tmp_path, files=FILES).values()
    assert (missing, good) == ("missing", ["", ""])
    assert "wrong bytes" in damaged and "delete it" in damaged
