"""Made-up files of SMD, and a local server for them with planned mishaps."""

import gzip
import hashlib
import random
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lmmoe.data.fetch import fetch_smd

BASE = "ServerMachineDataset"
LICENCE = f"{BASE}/LICENSE"
SMALL = f"{BASE}/test/machine-1-1.txt"
BIG = f"{BASE}/train/machine-1-1.txt"
OTHER = f"{BASE}/train/machine-1-2.txt"
FILES = {
    LICENCE: b"MIT\n",
    SMALL: b"0.5,1\n",
    BIG: random.Random(1).randbytes(300_000),
    OTHER: b"",
}


def git_id(content):
    """The git blob id, by its definition."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


BLOBS = {path: git_id(content) for path, content in FILES.items()}
TREE = {LICENCE: b"MIT\n"} | {  # two complete machines
    f"{BASE}/{part}/machine-1-{machine}.txt": f"{part} {machine}\n".encode()
    for part in ("train", "test", "test_label", "interpretation_label")
    for machine in (1, 2)
}
TREE_BLOBS = {path: git_id(content) for path, content in TREE.items()}


def fetch(mirror, folder, **options):
    """Fetch the made-up files without waiting between attempts."""
    return fetch_smd(
        folder, **{"base_url": mirror.url, "blobs": BLOBS, "wait": 0, "retries": 2, **options}
    )


def place(folder, path):
    """Where a file goes."""
    return folder / "SMD" / path


def put(file, content):
    """Write a file and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def on_disk(folder):
    """All files below SMD with their content, parts of downloads included."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder / "SMD").as_posix(): file.read_bytes() for file in files}


def fill(root, tree=TREE):
    """Lay out files of SMD under a data root."""
    for path, content in tree.items():
        put(place(root, path), content)


class Mirror:
    """Serves ``files`` (path to content); ``plans[path]`` are answers to give before the usual."""

    def __init__(self, files):
        self.files = files
        self.plans = defaultdict(list)
        self.asked = []  # (path, Range header or None), in order
        self.headers = []
        self.go_on = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path[1:]
                mirror.asked.append((path, self.headers["Range"]))
                mirror.headers.append(dict(self.headers))
                plan = mirror.plans[path]
                answer = plan.pop(0) if plan else ranges
                if path in mirror.files:
                    answer(self, mirror.files[path])
                else:
                    status(404)(self, b"")

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.go_on.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _send(handler, code, body, length=None, **headers):
    handler.send_response(code)
    headers["Content-Length"] = len(body) if length is None else length
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def ranges(handler, body):
    """The usual answer: the range that was asked for (206, or 416), else everything (200)."""
    asked = handler.headers["Range"]
    if asked is None:
        _send(handler, 200, body)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    if start >= len(body):
        _send(handler, 416, b"", Content_Range=f"bytes */{len(body)}")
    else:
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        _send(handler, 206, body[start:], Content_Range=where)


def whole(handler, body):
    """Ignore Range: everything, with status 200."""
    _send(handler, 200, body)


def other_range(handler, body):
    """Answer 206 with another range than was asked for."""
    _send(handler, 206, body[1:], Content_Range=f"bytes 1-{len(body) - 1}/{len(body)}")


def zipped(handler, body):
    """Send it compressed although nobody asked."""
    _send(handler, 200, gzip.compress(body), Content_Encoding="gzip")


def content(other):
    """Send something else."""
    return lambda handler, body: _send(handler, 200, other)


def status(code, **headers):
    """Send this status and no content."""
    return lambda handler, body: _send(handler, code, b"", **headers)


def cut(count):
    """Promise everything, send ``count`` bytes, close."""

    def answer(handler, body):
        _send(handler, 200, body[:count], length=len(body))
        handler.close_connection = True

    return answer


def hang(event, count):
    """Promise everything, send ``count`` bytes, then nothing until the event."""

    def answer(handler, body):
        cut(count)(handler, body)
        event.wait(20)

    return answer


def hang_up(handler, body):
    """Close without an answer."""
    handler.close_connection = True
