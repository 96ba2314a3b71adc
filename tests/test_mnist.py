"""hmm_utils.data.mnist against files made here and a server on the loopback interface; no network is used."""

import gzip
import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest

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
        assert array.dtype == np.uint8
        assert array.shape == (shape if len(shape) == 1 else (shape[0], shape[1] * shape[2]))
        assert array.tobytes() == payload[4 + 4 * len(shape) :]
        assert array.flags.writeable


def failure(directory, *mirrors, timeout=PATIENT):
    """The message of the DataError that `fetch` ends with, one sentence."""
    with pytest.raises(DataError) as caught:
        fetch(directory, *mirrors, timeout=timeout)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert ". " not in message
    return message


@pytest.mark.parametrize("below", ["", "mnist"])
@pytest.mark.parametrize("packed", [True, False])
def test_local_files_are_read_without_network(tmp_path, packed, below):
    assert not is_available(tmp_path, files=FILES)
    put(tmp_path / below, packed=packed)
    assert is_available(tmp_path, files=FILES)
    assert_complete(fetch(tmp_path))
    assert_complete(fetch(str(tmp_path)))


def test_download_stores_the_files_and_later_loads_need_no_mirror(tmp_path, server):
    new = tmp_path / "not" / "yet"
    assert_complete(fetch(new, server.url("good") + "/"))
    assert files_below(new) == sorted(f"mnist/{name}.gz" for name in FILES)
    assert_complete(fetch(new))
    assert server.asked == [("good", f"{name}.gz") for name in FILES]


def test_only_missing_files_are_downloaded(tmp_path, server):
    put(tmp_path)
    (tmp_path / f"{SECOND}.gz").unlink()
    assert not is_available(tmp_path, files=FILES)
    assert_complete(fetch(tmp_path, server.url("good")))
    assert server.asked == [("good", f"{SECOND}.gz")]


def test_a_file_that_a_mirror_unpacked_is_packed_again(tmp_path, server):
    assert_complete(fetch(tmp_path, server.url("plain")))
    assert files_below(tmp_path) == sorted(f"mnist/{name}.gz" for name in FILES)
    assert gzip.decompress((tmp_path / "mnist" / f"{FIRST}.gz").read_bytes()) == PAYLOADS[FIRST]
    assert_complete(fetch(tmp_path))


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
    assert files_below(tmp_path) == sorted(f"mnist/{name}.gz" for name in FILES)
    # a mirror that lets one wait is asked once, one that answers badly may do better with the next file
    assert [mode for mode, _ in server.asked].count(bad) == (1 if silent else len(FILES))


def test_all_mirrors_bad(tmp_path, server, refusing):
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
    asked = []

    def unknown(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("NO_PROXY", "*")
    message = failure(tmp_path, *mnist.MIRRORS)
    assert all(f"{mirror} (host not found)" in message for mirror in mnist.MIRRORS)
    assert len(asked) == len(mnist.MIRRORS)


def test_no_mirrors_and_nonsense_mirrors(tmp_path):
    assert "none was given" in failure(tmp_path)
    assert "nonsense (MissingSchema)" in failure(tmp_path, "nonsense")


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
    tried = []

    class Probe(socket.socket):
        def connect(self, address):
            tried.append(address)
            super().connect(address)

    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", dropping)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [entry] * 20)
    monkeypatch.setattr(socket, "socket", Probe)
    message = failure(tmp_path, "http://many.example/", timeout=(0.2, 10))
    assert "http://many.example/ (timed out after 0.2 s)" in message
    assert tried == [dropping]


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
    put(tmp_path)
    sha256, _ = FILES[SECOND]
    for shape in [(6,), (4,), (5, 1)]:
        with pytest.raises(DataError, match=f"MNIST file {SECOND} starts with 0000080100000005"):
            load(tmp_path, mirrors=[], files=FILES | {SECOND: (sha256, shape)})
    with pytest.raises(DataError, match="starts with 00000803000000050000000200000003 and has 46 bytes"):
        load(tmp_path, mirrors=[], files=FILES | {FIRST: (FILES[FIRST][0], (5, 3, 2))})
    # a header that is right does not make up for data that is missing
    short = PAYLOADS[SECOND][:-1]
    (tmp_path / f"{SECOND}.gz").write_bytes(short)
    with pytest.raises(DataError, match="has 12 bytes"):
        load(tmp_path, mirrors=[], files=FILES | {SECOND: (hashlib.sha256(short).hexdigest(), (5,))})


def test_directory_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_text("in the way")
    message = failure(tmp_path / "file" / "data", server.url("good"))
    for part in (f"{FIRST}.gz", str(tmp_path / "file" / "data"), "cannot be written", "HMM_DATA_DIR"):
        assert part in message
    assert server.asked == []
    assert files_below(tmp_path) == ["file"]


def test_existing_folder_without_permission(tmp_path, server, monkeypatch):
    def denied(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    # pretended, since nothing is denied to root, as whom tests in containers often run
    monkeypatch.setattr(Path, "touch", denied)
    assert "cannot be written to" in failure(tmp_path, server.url("good"))
    monkeypatch.setattr(Path, "read_bytes", denied)
    put(tmp_path)
    assert f"{tmp_path / FIRST}.gz cannot be read (Permission denied)" in failure(tmp_path, server.url("good"))
    assert server.asked == []


def test_failure_to_move_into_place_leaves_nothing(tmp_path, server, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "No space left on device" in failure(tmp_path, server.url("good"))
    assert files_below(tmp_path) == []


def test_two_downloads_at_once_do_not_collide(tmp_path, server):
    start = threading.Barrier(4)

    def one(_):
        start.wait(5)
        return fetch(tmp_path, server.url("good"))

    with ThreadPoolExecutor(4) as pool:
        for data in pool.map(one, range(4)):
            assert_complete(data)
    assert files_below(tmp_path) == sorted(f"mnist/{name}.gz" for name in FILES)


def test_data_dir(tmp_path, server, monkeypatch):
    monkeypatch.setenv("HMM_DATA_DIR", "")
    assert data_dir() == pooch.os_cache("hidden-manifold")
    monkeypatch.setenv("HMM_DATA_DIR", "~/data")
    assert "~" not in str(data_dir())
    monkeypatch.setenv("HMM_DATA_DIR", str(tmp_path))
    assert data_dir() == tmp_path
    assert_complete(fetch(None, server.url("good")))
    assert files_below(tmp_path) == sorted(f"mnist/{name}.gz" for name in FILES)
    assert is_available(files=FILES)


@pytest.mark.parametrize(
    ("progress", "disable", "shown"), [(True, None, True), (True, "1", False), (False, None, False)]
)
def test_progress_bar(tmp_path, server, progress, disable, shown):
    # tqdm reads TQDM_DISABLE when it is imported, hence a process of its own
    code = f"from hmm_utils import mnist; mnist.load({str(tmp_path)!r}, [{server.url('good')!r}], (5, 5), {progress}"
    env = {key: value for key, value in os.environ.items() if not key.startswith("TQDM_")}
    command = [sys.executable, "-W", "error", "-c", f"{code}, files={FILES})"]
    env |= {} if disable is None else {"TQDM_DISABLE": disable}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (f"{FIRST}.gz" in done.stderr) if shown else (done.stderr == "")


@pytest.mark.skipif(not is_available(), reason="the MNIST files are not here: `hmm data` downloads them")
def test_the_real_files():
    data = load(mirrors=[])
    assert [array.shape for array in data] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    assert all(array.dtype == np.uint8 for array in data)
    assert data.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # the mean of the training pixels, on the scale 0 to 1, that everyone normalises MNIST by
    assert data.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_problems_of_each_file(tmp_path):
    """Good, missing, damaged: a sentence per file, and nothing is fetched."""
    first, second, third, _ = FILES
    (tmp_path / f"{first}.gz").write_bytes(gzip.compress(PAYLOADS[first]))
    (tmp_path / second).write_bytes(PAYLOADS[second])
    (tmp_path / third).write_bytes(PAYLOADS[third][:-1])
    good, also_good, damaged, missing = mnist.problems(tmp_path, files=FILES).values()
    assert (good, also_good, missing) == ("", "", "missing")
    assert "wrong bytes" in damaged and "delete it" in damaged
