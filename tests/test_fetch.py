"""Fetching SMD: verified, with errors that say what to do; and what lies on the disk."""

import gzip
import hashlib
import lzma
import os
import random
import socket
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_up import fails

from lmmoe import data
from lmmoe.__main__ import main
from lmmoe.data import fetch as module
from lmmoe.data.fetch import fault, fetch_smd, published_blobs
from lmmoe.errors import DataError

REAL = Path(os.environ.get("LMMOE_DATA") or "none")


# --- a local server with planned mishaps ---

BASE = "ServerMachineDataset"
LICENCE = f"{BASE}/LICENSE"
SMALL = f"{BASE}/test/machine-1-1.txt"
BIG = f"{BASE}/train/machine-1-1.txt"
OTHER = f"{BASE}/train/machine-1-2.txt"
BYTES = random.Random(1).randbytes(300_000)
FILES = {LICENCE: b"MIT\n", SMALL: b"0.5,1\n", BIG: BYTES, OTHER: b""}


def git_id(content):
    """The git blob id, by its definition."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class Mirror(ThreadingHTTPServer):
    """Serves ``files`` (path to content); ``plans[path]`` are answers to give before the usual."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.plans = files, defaultdict(list)
        self.asked = []  # paths, in order
        self.go_on = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *error):
        self.go_on.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path[1:]
        self.server.asked.append(path)
        assert self.headers["Accept-Encoding"] == "identity"
        plan, files = self.server.plans[path], self.server.files
        if path not in files:
            self.send(404)
        elif plan:
            plan.pop(0)(self, files[path])
        else:
            self.send(200, files[path])

    def send(self, code, body=b"", **headers):
        """Send a body, of this length unless a header says another."""
        self.send_response(code)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *arguments):
        pass


def zipped(handler, body):
    """Send it compressed although nobody asked."""
    handler.send(200, gzip.compress(body), Content_Encoding="gzip")


def status(code):
    """Send this status and no content."""
    return lambda handler, body: handler.send(code)


def cut(count, until=None):
    """Promise everything, send ``count`` bytes, then nothing until the event; close."""

    def answer(handler, body):
        handler.send(200, body[:count], Content_Length=len(body))
        handler.close_connection = True
        if until:
            until.wait(20)

    return answer


def hang_up(handler, body):
    """Close without an answer."""
    handler.close_connection = True


@pytest.fixture
def mirror():
    with Mirror(dict(FILES)) as mirror:
        yield mirror


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """The made-up files stand for the published ones; no waiting, no data of this machine's."""
    published = {path: git_id(content) for path, content in FILES.items()}
    monkeypatch.setattr(module, "published_blobs", lambda: published)
    monkeypatch.setattr(module, "RETRIES", 2)
    monkeypatch.setattr(module, "WAIT", 0)
    monkeypatch.delenv("LMMOE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


def put(folder, path, content):
    file = folder / "SMD" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def on_disk(folder):
    """All files below SMD with their content, temporary ones included."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder / "SMD").as_posix(): file.read_bytes() for file in files}


def test_what_is_wanted_is_fetched_verified_and_not_asked_for_again(mirror, tmp_path):
    with Mirror({f"a/copy/{path}": content for path, content in FILES.items()}) as deeper:
        fetch_smd(tmp_path, base_url=f"{deeper.url}/a/copy/", entities=["machine-1-2"])
    assert on_disk(tmp_path) == {path: FILES[path] for path in (LICENCE, OTHER)}
    for found in (([SMALL, BIG], [LICENCE, OTHER]), ([], list(FILES))):
        assert fetch_smd(tmp_path, base_url=mirror.url) == found
        assert on_disk(tmp_path) == FILES and len(mirror.asked) == 2
    with fails("no machine machine-9-9. Known: machine-1-1, machine-1-2"):
        fetch_smd(tmp_path, base_url=mirror.url, entities=["machine-1-1", "machine-9-9"])


def test_compressed_files_count_and_wrong_ones_are_replaced(mirror, tmp_path):
    put(tmp_path, SMALL + ".gz", gzip.compress(FILES[SMALL]))
    put(tmp_path, OTHER + ".xz", lzma.compress(FILES[OTHER]))
    put(tmp_path, LICENCE, b"another")
    for left in (lzma.compress(b"other"), lzma.compress(FILES[BIG])[:-40], b""):
        (tmp_path / "SMD" / BIG).unlink(missing_ok=True)
        put(tmp_path, BIG + ".xz", left)
        new, present = fetch_smd(tmp_path, base_url=mirror.url)
        assert BIG in new and {SMALL, OTHER} <= {*present}
        found = on_disk(tmp_path)
        assert found.keys() == {LICENCE, BIG, SMALL + ".gz", OTHER + ".xz"}
        assert (found[BIG], found[LICENCE]) == (FILES[BIG], FILES[LICENCE])


# --- failures ---


def test_a_passing_failure_is_tried_again(mirror, tmp_path):
    mirror.plans[SMALL] = [status(500), hang_up]
    mirror.plans[BIG] = [status(429)]
    fetch_smd(tmp_path, base_url=mirror.url)
    assert on_disk(tmp_path) == FILES
    assert [mirror.asked.count(path) for path in (LICENCE, SMALL, BIG, OTHER)] == [1, 3, 2, 1]


def test_failures_are_told_at_the_end_and_do_not_stop_the_others(mirror, tmp_path, made_up):
    made_up.setattr(module, "TIMEOUT", (5, 2))
    del mirror.files[LICENCE]
    mirror.files[OTHER] = b"<html>log in first</html>"
    put(tmp_path, OTHER, b"0.5,2\n")
    got = f"{OTHER}: git blob id {git_id(mirror.files[OTHER])}, expected {git_id(b'')}"
    for plan, why in (
        ([status(500)] * 3, "500 Internal Server Error"),
        ([cut(1000)], "it broke off .*1000 bytes read"),
        ([cut(1000, until=mirror.go_on)], "it broke off .*timed out"),  # silence
        ([zipped], "it comes encoded .gzip., unasked"),
    ):
        mirror.plans[BIG] = plan
        match = f"(?s)^3 of 4 files .*{LICENCE}: 404 Not Found.*{BIG}: {why}.*{got}"
        with pytest.raises(DataError, match=match):
            fetch_smd(tmp_path, base_url=mirror.url)
        assert on_disk(tmp_path) == {OTHER: b"0.5,2\n", SMALL: FILES[SMALL]}  # what was there stays
    assert mirror.asked.count(LICENCE) == 4 and mirror.asked.count(BIG) == 6


def test_what_is_too_long_or_too_slow_is_not_taken(mirror, tmp_path, made_up):
    made_up.setattr(module, "LARGEST", 250_000)
    with pytest.raises(DataError, match=f"(?s)1 of 4 files.*{BIG}: longer than 250,000 bytes"):
        fetch_smd(tmp_path, base_url=mirror.url)
    clock = SimpleNamespace(monotonic=count(0, 1801).__next__)
    made_up.setattr(module, "time", clock)
    (tmp_path / "SMD" / SMALL).unlink()
    with pytest.raises(DataError, match=f"(?s)2 of 4 files.*{SMALL}: not whole after 1800 s"):
        fetch_smd(tmp_path, base_url=mirror.url)
    assert on_disk(tmp_path) == {path: FILES[path] for path in (LICENCE, OTHER)}


def test_what_no_other_file_would_escape_stops_at_once(mirror, tmp_path):
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for address in (closed, "no-scheme/here", "ftp://127.0.0.1/x", ""):
            with fails("LICENSE: cannot be had", str(tmp_path / "SMD" / BASE), "LMMOE_DATA"):
                fetch_smd(tmp_path, base_url=address)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "SMD").write_text("a file where a folder should be")
    with fails("LICENSE: cannot be had", "LMMOE_DATA"):
        fetch_smd(tmp_path, base_url=mirror.url)
    assert len(mirror.asked) <= 1


# --- git blob ids, and what is there ---


def test_blob_ids(tmp_path):
    # Those of nothing, and of the example in the book Pro Git, section "Git Objects".
    for text, known in (
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"test content\n", "d670460b4b4aece5915caf5c68d12f560a9fe3e4"),
    ):
        for suffix, pack in (("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)):
            file = tmp_path / f"file{suffix}"
            file.write_bytes(pack(text))
            assert fault(file, known) == "" and known in fault(file, "0" * 40)
    listed = published_blobs()  # as published, not the made-up ones
    assert len(listed) == 1 + 4 * 28
    assert listed[f"{BASE}/LICENSE"] == "a35f9e98caf3d5d6d6164ef9a303ec4216780c01"


def test_the_data_command(root, tmp_path, capsys):
    def told(folder, *options, status=0):
        assert main(["data", "--root", str(folder), *options]) == status
        return capsys.readouterr().out

    lines = told(tmp_path / "typo").splitlines()
    assert lines[0] == f"data root: {tmp_path / 'typo'} (no such folder)"
    assert [line.split()[0] for line in lines[1:9]] == list(data.DATASETS)
    bad = root / "ASD" / "omi-2" / "test.npy"
    np.save(bad, [[1.0, np.nan]])
    (root / "SMD").rename(root / "elsewhere")
    said = told(root)  # a listing reads no values
    assert "\nsmd        not here\nasd        2 entities\n" in said
    assert f"\nasd        wrong: {bad}, row 0, column 1: nan" in told(root, "--check", status=1)
    (root / "telemanom" / "labeled_anomalies.csv").write_text("chan_id\n")
    assert "smap       wrong: " in told(root, status=1)


def test_the_fetch_command(mirror, tmp_path, made_up, capsys):
    made_up.setenv("LMMOE_DATA", str(tmp_path))
    words = ["fetch", "smd", "--url", mirror.url, "--entity", "machine-1-1"]
    assert main(words) == 0 and main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 3 files fetched, 0 were there already",
        f"{tmp_path}: 0 files fetched, 3 were there already",
    ]


@pytest.mark.skipif(not (REAL / "SMD").is_dir(), reason="LMMOE_DATA has no SMD")
def test_the_real_files_are_those_published(made_up):
    made_up.setattr(module, "published_blobs", published_blobs)
    machines = data.entities("smd", REAL)
    with Mirror({}) as nobody:
        new, there = fetch_smd(REAL, base_url=nobody.url, entities=machines)
    assert new == [] and len(there) == 4 * len(machines) + 1
