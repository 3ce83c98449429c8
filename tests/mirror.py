"""Made-up files of SMD, and a local server for them with planned mishaps."""

import gzip
import random
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BASE = "ServerMachineDataset"
LICENCE = f"{BASE}/LICENSE"
SMALL = f"{BASE}/test/machine-1-1.txt"
BIG = f"{BASE}/train/machine-1-1.txt"
OTHER = f"{BASE}/train/machine-1-2.txt"
BYTES = random.Random(1).randbytes(300_000)
FILES = {LICENCE: b"MIT\n", SMALL: b"0.5,1\n", BIG: BYTES, OTHER: b""}


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
        plan = self.server.plans[path]
        answer = plan.pop(0) if plan else status(200)
        answer(self, self.server.files[path])

    def send(self, code, body, **headers):
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
    """Send this status."""
    return lambda handler, body: handler.send(code, body)


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
