"""What stands around a watch: its states in a database, its figures for Prometheus, its voice."""

import math
import os
import select
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, active_count
from typing import TYPE_CHECKING

from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.live.watch import Watch

STATE = "lmmoe live state 10"  # the table of states
THREADS = 18  # of this process: 16 connections to the metrics
STUCK = 300.0  # seconds after which a watch that does not move is ill


def tell(text: str) -> None:
    """Say something on standard error, but never wait for somebody to read it there."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="replace")[: select.PIPE_BUF])
    except (OSError, ValueError):
        return  # closed: nobody wants to know


class Store:
    """Keeps what a watch knows, entity by entity, in one file, an SQLite database of its own.

    The watch goes on from what is there. A save is on the disk whole or not at all; each state
    carries a checksum. A damaged file is put aside. Raises `DataError` where another watch keeps
    the file, or the disk does not take it.
    """

    def __init__(self, path: str | Path, watch: "Watch") -> None:
        self.watch, self.well, states = watch, True, {}
        try:
            rows = self._open(path)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                busy = "another watch keeps this state"
                problem = busy if code == sqlite3.SQLITE_BUSY else f"the state fails ({error})"
                raise DataError(problem, file=path) from error
            tell(f"{path}: the state is damaged ({error}): starting afresh")
            real = Path(path).resolve()
            real.replace(f"{real}.damaged")
            Path(f"{real}-journal").unlink(missing_ok=True)
            rows = self._open(path)
        for name, state in rows:
            if state and sha256(f"{name}".encode() + state[32:]).digest() == state[:32]:
                states[name] = state[32:]
            else:
                tell(f"{name or 'what is common to all'}: damaged in the state: starting afresh")
        if states:
            tell(f"going on from {path}: {len(states.keys() - {''})} entities")
            watch.load(states)

    def _open(self, path: str | Path) -> list[tuple[str, bytes | None]]:
        """Open the file and keep it; give the states."""
        self.base = sqlite3.connect(path, timeout=0, isolation_level=None)
        self.base.executescript(
            "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;"
            f'CREATE TABLE IF NOT EXISTS "{STATE}" (entity TEXT PRIMARY KEY, state BLOB); COMMIT'
        )
        query = f'SELECT CAST(entity AS TEXT), CAST(state AS BLOB) FROM "{STATE}"'
        return self.base.execute(query).fetchall()

    def save(self) -> bool:
        """Save what has changed; what goes wrong is told once, and tried again."""
        found = self.watch.dump().items()
        states = ((name, sha256(name.encode() + one).digest() + one) for name, one in found)
        try:
            with self.base:  # commits, or rolls back
                self.base.execute("BEGIN")
                self.base.executemany(f'INSERT OR REPLACE INTO "{STATE}" VALUES (?, ?)', states)
        except sqlite3.Error as error:
            if self.well:
                tell(f"the state cannot be saved: {error}; the watch goes on")
            self.well = False
            return False
        if not self.well:
            tell("the state is saved again")
        self.watch.changed.clear()
        self.well, self.watch.saved = True, time.time()
        return True

    def close(self) -> None:
        """Let others have the file."""
        self.base.close()


class Metrics(ThreadingHTTPServer):
    """Serves a watch's figures to Prometheus at ``/metrics``, and ``/healthz``, until it is left.

    It needs the package prometheus-client. ``port`` 0 takes a free one. Raises `DataError` where
    the port or the package cannot be had.
    """

    daemon_threads = True

    def __init__(self, watch: "Watch", port: int, host: str = "127.0.0.1") -> None:
        try:
            import prometheus_client
        except ImportError as error:
            problem = "metrics need the package prometheus-client"
            raise DataError(problem, hint="pip install 'lmmoe[live]'") from error
        self.watch, self.page = watch, partial(prometheus_client.generate_latest, self)
        try:
            super().__init__((host, port), Page)
        except (OSError, OverflowError) as error:
            raise DataError(f"no metrics on {host} port {port}: {error}") from error
        tell(f"metrics: http://{host}:{self.server_port}/metrics")
        Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def verify_request(self, request: object, address: object) -> bool:
        """Take a connection, unless there are too many."""
        return active_count() < THREADS

    def handle_error(self, request: object, address: object) -> None:
        """Nobody wants to know that a scrape broke off."""

    def collect(self) -> Iterator[object]:
        """Give the figures as they are; the client library calls this when it is asked."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        watch = self.watch
        for family, name, text, value in (
            (Counter, "rows", "Rows read", lambda one: one.rows),
            (Counter, "rows_scored", "Rows with a score", lambda one: one.scored),
            (Counter, "alarms", "Alarms opened", lambda one: one.alarms),
            (Gauge, "alarm_open", "1 in an alarm", lambda one: one.stream.alarm.open),
            (Gauge, "score", "Score of the latest row", lambda one: one.score),
            (Gauge, "threshold", "Score of alarm", lambda one: one.stream.threshold),
            (Gauge, "rows_without_score", "Since a score", lambda one: one.blind),
            (Gauge, "silent", "1 where no rows come", lambda one: one.silent),
            (Gauge, "last_row_timestamp_seconds", "Its time", lambda one: one.clock.latest),
        ):
            found = family(f"lmmoe_{name}", text, labels=["entity"])
            for one in list(watch.entities.values()):
                number = value(one)
                found.add_metric([one.name], math.nan if number is None else number)
            yield found
        for name, kinds in watch.report().items():
            if isinstance(kinds, dict):
                found = Counter(f"lmmoe_{name}", f"{name}, by kind", labels=["kind"])
                for kind, count in kinds.items():
                    found.add_metric([kind], count)
                yield found
        stray, saved = "lmmoe_lines_without_row", "lmmoe_state_saved_timestamp_seconds"
        yield Gauge(stray, "Lines of nobody since one of somebody", value=watch.stray.blind)
        yield Gauge(saved, "When the state was last saved", value=watch.saved)


class Page(BaseHTTPRequestHandler):
    """Answers one connection."""

    timeout = 10  # seconds

    def do_GET(self) -> None:  # noqa: N802
        """Give the figures, or whether the watch moves; else 404."""
        path, stuck = self.path.partition("?")[0], time.monotonic() - self.server.watch.looked
        if path not in ("/metrics", "/healthz") or (path == "/healthz" and stuck > STUCK):
            self.send_error(404 if path != "/healthz" else 503)
            return
        text = self.server.page() if path == "/metrics" else b"ok\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *text: object) -> None:
        """Say nothing of each scrape."""
