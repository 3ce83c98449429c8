"""Made-up files of SMD, and a local server for them with planned mishaps."""

import gzip
import hashlib
import random
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Mirror:
    """Serves ``files`` (path to content); ``plans[path]`` are answers to give before the usual."""

    def __init__(self, files):
        self.files = files
        self.plans = defaultdict(list)
        self.asked = []  # (path, Range header or None), in order
        self.go_on = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path[1:]
                mirror.asked.append((path, self.headers["Range"]))
                assert self.headers["Accept-Encoding"] == "identity"
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


def send(handler, code, body, length=None, **headers):
    """Send a body that claims to have this length."""
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
        send(handler, 200, body)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    if start >= len(body):
        send(handler, 416, b"", Content_Range=f"bytes */{len(body)}")
    else:
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        send(handler, 206, body[start:], Content_Range=where)


def whole(handler, body):
    """Ignore Range: everything, with status 200."""
    send(handler, 200, body)


def other_range(handler, body):
    """Answer 206 with another range than was asked for."""
    send(handler, 206, body[1:], Content_Range=f"bytes 1-{len(body) - 1}/{len(body)}")


def zipped(handler, body):
    """Send it compressed although nobody asked."""
    send(handler, 200, gzip.compress(body), Content_Encoding="gzip")


def status(code):
    """Send this status and no content."""
    return lambda handler, body: send(handler, code, b"")


def cut(count):
    """Promise everything, send ``count`` bytes, close."""

    def answer(handler, body):
        send(handler, 200, body[:count], length=len(body))
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
