"""The commands ``python -m lmmoe fit`` and ``watch``: from a table of one's own to alarms."""

import argparse
import errno
import json
import math
import os
import select
import signal
import sqlite3
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Semaphore, Thread
from typing import TYPE_CHECKING

from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.live.model import Model
    from lmmoe.live.watch import Watch

PAUSE = 0.5  # seconds between two looks at whether to stop, while nothing moves
PIECE = 65_536  # bytes at a time
TAIL = 1_000_000  # bytes at the end of a file of alarms that are looked at after a restart
STATE = "lmmoe live state 8"  # the table of states
CONNECTIONS = 16  # at once, to the metrics
STUCK = 300.0  # seconds after which a watch that does not move is ill


def add(commands: argparse._SubParsersAction) -> None:
    """Add both commands; an option left out has the default of `lmmoe.live`."""
    column, many = {"metavar": "COLUMN"}, {"action": "append", "default": [], "dest": "changes"}
    alarms = {"dest": "threshold", "type": "alarms:{}".format, "metavar": "PER_DAY"}
    both = (
        ("--time", "the column of times", column),
        ("--rows-per-day", "where no times tell it", {"type": float}),
    )
    fit = (
        ("path", "the table, CSV or Parquet; lmmoe.data.own tells its layout", {"metavar": "data"}),
        ("--out", "the model (.safetensors)", {"type": Path, "required": True}),
        ("--update", "take detector, settings and channels from this model", {"metavar": "OLD"}),
        ("--detector", "its name (default: LightMMoE)", {}),
        ("--seed", "fixes all that is random (default: 0)", {"type": int}),
        ("--set", "a setting; repeatable", many | {"metavar": "NAME=VALUE"}),
        ("--label", "the column of labels, which are left out", column),
        ("--missing", "what to do about empty cells", {"choices": ["error", "fill"]}),
    )
    rules = "in place of --alarms: budget:PER_DAY, quantile:SHARE, pot:RISK or a number"
    watch = (
        ("path", "a file that 'fit' wrote, or a folder: one an entity", {"metavar": "model"}),
        ("--key", "the column of entities: rows of many machines", column),
        ("--alarms", "alarms and hours in alarm allowed a day (default: 2)", alarms),
        ("--threshold", rules, {"metavar": "RULE"}),
        ("--accept-after", "rows in alarm that make a level normal (0: never)", {"type": int}),
        ("--step", "time between rows, to see gaps", {"type": float}),
        ("--top", "channels to name (default: 5)", {"type": int}),
        ("--state", "go on from this file, and keep it up to date", {"type": Path}),
        ("--save-every", "seconds (default: 10)", {"type": float}),
        ("--silent", "seconds without a row of a machine, to be told", {"type": float}),
        ("--metrics", "port that serves /metrics and /healthz (0: any free)", {"type": int}),
        ("--host", "address for the metrics (default: 127.0.0.1)", {}),
    )
    fits = "fit a detector on a table of rows taken as normal, and write a file that 'watch' takes"
    watches = "read rows (CSV or JSON lines) on standard input, write alarms as JSON lines"
    for name, run, text, arguments in (
        ("fit", _fit, fits, fit + both),
        ("watch", watch_pipe, watches, watch + both),
    ):
        parser = commands.add_parser(name, help=text, description=text)
        parser.set_defaults(run=partial(_run, run))
        for flag, meaning, how in arguments:
            flags = ("-o", flag) if flag == "--out" else (flag,)
            parser.add_argument(*flags, help=meaning, **how)


def _run(command: Callable[..., int], options: argparse.Namespace) -> int:
    """Run a command with the options that were given."""
    return command(**{k: v for k, v in vars(options).items() if v is not None and k != "run"})


def _fit(path: str, out: Path, changes: list[str], **given: object) -> int:
    import yaml

    from lmmoe.live import model
    from lmmoe.live.alarms import DEFAULTS

    model.check_place(out, "model", path)
    try:
        settings = {n: yaml.safe_load(v) for n, v in (text.split("=", 1) for text in changes)}
    except (ValueError, yaml.YAMLError) as error:
        hint = "Write NAME=VALUE, such as epochs=3"
        raise DataError(f"--set {' '.join(changes)}: no setting ({error})", hint=hint) from error
    made, notes = model.fit(path, settings=settings, **given)
    try:
        made.save(out)
    except OSError as error:
        raise DataError(f"the model cannot be written ({error})", file=out) from error
    rows, channels = len(made.detector.decision_scores_), len(made.channels)
    lines = [*notes, f"{made.detector.name}: {rows} rows of {channels} channels"]
    lines += [f"channels: {', '.join(made.channels)}", f"time: {made.facts.time or 'no column'}"]
    for rule, number in DEFAULTS.items():
        try:
            units, alarm = made.alarm(rule)
            lines.append(f"threshold {rule}:{number:g} {units.score(alarm.level):.6g}")
        except DataError as error:
            lines.append(f"no threshold {rule}: {error}")
    sys.stdout.write("\n".join([*lines, f"{out}: written"]) + "\n")
    return 0


# --- watching a pipe ---


def watch_pipe(
    path: str | Path,
    *,
    key: str | None = None,
    state: str | Path | None = None,
    save_every: float = 10.0,
    metrics: int | None = None,
    host: str = "127.0.0.1",
    source: int = 0,
    sink: int = 1,
    **options: object,
) -> int:
    """Watch the rows that arrive at ``source`` and write alarms as JSON lines to ``sink``.

    Both are file descriptors. What is for people goes to standard error. ``path`` is a model or,
    with a ``key``, may be a folder of models, one an entity, of its name; models are read again
    when they change. ``state`` is a file that the watch goes on from. It is written every
    ``save_every`` seconds, after each line of alarms, after SIGHUP and at the end. With a port
    ``metrics`` (0: a free one), `Metrics` are served. Other options: those of `lmmoe.live.Watch`.

    Returns the exit status: 0 at the end of the rows or after SIGTERM, 130 after Ctrl-C, 1 where
    the alarms' reader is gone, or rows had no score for long when they ended. Raises `DataError`
    for a model or an option that cannot be used, and for a state that another watch keeps.
    """
    import numpy as np

    from lmmoe.live.model import check_place
    from lmmoe.live.watch import Watch

    if state is not None:
        check_place(state, "state", path, source, sink)
    if key is None and Path(path).is_dir():
        raise DataError("a folder of models needs --key", file=path)
    watch = Watch(Models(path), key=key, entity=Path(path).stem, tell=tell, **options)
    server = nullcontext() if metrics is None else Metrics(watch, metrics, host)
    status, due = 0, time.monotonic() + save_every
    with stopping() as signals, np.errstate(all="ignore"), closing(Store(state)) as store, server:
        written = tail(sink)
        # Alarms that nobody took from an earlier watch.
        pending = [text for text in store.load(watch) if text not in written]
        try:
            for lines in pieces(source, signals):
                for line in lines:
                    for event in watch.feed(line):
                        text = json.dumps(event, allow_nan=False)
                        pending += [] if text in written else [text]
                new = bool(pending)
                deliver(pending, sink, signals)
                again = signals.pop(signal.SIGHUP, None)
                if new or again or time.monotonic() >= due:
                    due = time.monotonic() + save_every
                    watch.look_around()
                    store.save(watch, pending)
        except OSError as error:
            gone, status = isinstance(error, BrokenPipeError), 1
            tell("the reader of the alarms is gone" if gone else f"cannot go on: {error}")
        saved = store.save(watch, pending)
    if pending:
        where = "kept for the next start" if saved else "lost"
        tell(f"{len(pending)} alarms were not taken: {where}")
    if watch.blind:
        status = status or not _stop(signals)
        tell(f"nothing was watched at the end: {', '.join(watch.blind[:5]) or 'no line was a row'}")
    tell(json.dumps(watch.report()))
    return int(status) or (130 if signals[signal.SIGINT] else 0)


class Models:
    """The models of entities: one file for all, or a folder with one each, read when needed.

    A model is read again when its file has changed; where that fails, the old one stays.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.known = Path(path), {}

    def __call__(self, entity: str) -> "Model | None":
        """Give an entity's model, or None; raises `DataError` for one that cannot be read."""
        from lmmoe.live.model import Model

        path = self.path
        if path.is_dir():
            path = path / f"{entity}.safetensors"
            if path.name != f"{entity}.safetensors":  # a name that leads elsewhere
                return None
        stamp, model = self.known.get(path, (None, None))
        try:
            found = path.stat()
            now = found.st_mtime_ns, found.st_size
            if now != stamp:
                self.known[path] = now, model  # what cannot be read is tried once
                self.known[path] = now, (model := Model.load(path))
        except FileNotFoundError:
            return model if path != self.path else model or Model.load(path)
        except (DataError, OSError) as error:
            if model is None:
                raise
            tell(f"{error}: the old model stays")
        return model


class Store:
    """Keeps what a watch knows, entity by entity, in one file, an SQLite database of its own.

    A save is on the disk whole or not at all. A damaged file is put aside. Raises `DataError` where
    another watch keeps the file.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path, self.base, self.saved, self.well = path, None, math.nan, True
        if path is None:
            return
        try:
            self._open()
        except sqlite3.OperationalError as error:
            problem = f"the state cannot be used ({error}): another watch may keep it"
            raise DataError(problem, file=path) from error
        except sqlite3.DatabaseError as error:
            tell(f"{path}: the state is damaged ({error}): starting afresh")
            self.base.close()
            real = Path(path).resolve()
            real.replace(f"{real}.damaged")
            Path(f"{real}-journal").unlink(missing_ok=True)
            self._open()

    def _open(self) -> None:
        self.base = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        for text in (
            "PRAGMA locking_mode = EXCLUSIVE",
            "BEGIN EXCLUSIVE",
            f'CREATE TABLE IF NOT EXISTS "{STATE}" (entity TEXT PRIMARY KEY, state BLOB)',
            "COMMIT",
        ):
            self.base.execute(text)

    def load(self, watch: "Watch") -> list[str]:
        """Let a watch go on; give the alarms that nobody has taken."""
        if self.base is None:
            return []
        states = dict(self.base.execute(f'SELECT entity, state FROM "{STATE}"'))
        if states:
            tell(f"going on from {self.path}: {len(states) - 1} entities")
        return watch.load(states)

    def save(self, watch: "Watch", pending: list[str]) -> bool:
        """Save what has changed; what goes wrong is told once, and tried again."""
        if self.base is None:
            return False
        try:
            self.base.execute("BEGIN")
            insert = f'INSERT OR REPLACE INTO "{STATE}" VALUES (?, ?)'
            self.base.executemany(insert, watch.dump(pending).items())
            self.base.execute("COMMIT")
        except sqlite3.Error as error:
            if self.base.in_transaction:
                self.base.execute("ROLLBACK")
            if self.well:
                tell(f"the state cannot be saved: {error}; the watch goes on")
            self.well = False
            return False
        if not self.well:
            tell("the state is saved again")
        watch.changed.clear()
        self.well, self.saved = True, time.time()
        return True

    def close(self) -> None:
        """Let others have the file."""
        if self.base is not None:
            self.base.close()


@contextmanager
def stopping() -> Iterator[Counter[int]]:
    """Count SIGTERM, SIGINT and SIGHUP inside a ``with`` block."""
    heard, numbers = Counter(), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(one, lambda number, frame: heard.update([number])) for one in numbers]
    try:
        yield heard
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _stop(heard: Counter[int]) -> bool:
    return bool(heard[signal.SIGTERM] or heard[signal.SIGINT])


def pieces(source: int, heard: Counter[int]) -> Iterator[list[bytes]]:
    """Give the lines that arrive at a file descriptor, without their ends, until told to stop.

    They come in lists, an empty one where nothing arrives for half a second. Empty lines are left
    out; one longer than `LONGEST` may be cut beyond it. After a request to stop, what has been read
    is still given, but for a line that has no end yet.
    """
    from lmmoe.live.watch import LONGEST

    left, piece = b"", b"\n"
    while piece and not _stop(heard):
        if not select.select([source], [], [], PAUSE)[0]:
            yield []
            continue
        piece = os.read(source, PIECE)
        *whole, left = (left + piece).split(b"\n")
        left = left[: LONGEST + 1]
        yield [*filter(None, whole if piece else [left])]


def tail(sink: int) -> set[str]:
    """Give the last lines of a file of alarms: what a killed watch has written is not repeated.

    A line that was cut is ended. Of a pipe nothing is known.
    """
    if not stat.S_ISREG(os.fstat(sink).st_mode) or not os.fstat(sink).st_size:
        return set()
    try:
        with open(f"/dev/fd/{sink}", "rb") as file:
            file.seek(max(0, os.fstat(sink).st_size - TAIL))
            content = file.read()
    except OSError:
        return set()
    if not content.endswith(b"\n"):
        os.write(sink, b"\n")
    return set(content.decode(errors="replace").splitlines())


def deliver(pending: list[str], sink: int, heard: Counter[int]) -> None:
    """Write lines, waiting as long as their reader needs, or a full disk, and take them off.

    Where a request to stop comes meanwhile, the rest stays pending. Raises `BrokenPipeError` where
    there is no reader any more.
    """
    full = False
    while pending:
        line = f"{pending[0]}\n".encode()
        while line:
            try:
                if select.select([], [sink], [], 0 if _stop(heard) else PAUSE)[1]:
                    # So much a pipe takes at once: more could wait beyond any request to stop.
                    line = line[os.write(sink, line[: select.PIPE_BUF]) :]
                elif _stop(heard):
                    return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if not full:
                    tell(f"alarms cannot be written: {error}; the watch waits")
                full = True
                if _stop(heard):
                    return
                time.sleep(PAUSE)
        pending.pop(0)


def tell(text: str) -> None:
    """Say something on standard error, but never wait for somebody to read it there."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="replace")[: select.PIPE_BUF])
    except (OSError, ValueError):
        return  # closed: nobody wants to know


class Metrics(ThreadingHTTPServer):
    """Serves a watch's figures to Prometheus at ``/metrics``, and ``/healthz``, while in ``with``.

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
        self.watch, self.free = watch, Semaphore(CONNECTIONS)
        self.page = partial(prometheus_client.generate_latest, self)
        try:
            super().__init__((host, port), Page)
        except (OSError, OverflowError) as error:
            raise DataError(f"no metrics on {host} port {port}: {error}") from error
        tell(f"metrics: http://{host}:{self.server_port}/metrics")

    def __enter__(self) -> "Metrics":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: object, address: object) -> None:
        """Take a connection, or close it at once where there are too many."""
        if self.free.acquire(blocking=False):
            super().process_request(request, address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: object, address: object) -> None:
        """Answer a connection."""
        try:
            super().process_request_thread(request, address)
        finally:
            self.free.release()

    def handle_error(self, request: object, address: object) -> None:
        """Nobody wants to know that a scrape broke off."""

    def collect(self) -> Iterator[object]:
        """Give the figures as they are; the client library calls this when it is asked."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        all_of = list(self.watch.entities.values())
        for family, name, text, value in (
            (CounterMetricFamily, "rows", "Rows read", lambda one: one.rows),
            (CounterMetricFamily, "rows_scored", "Rows with a score", lambda one: one.scored),
            (CounterMetricFamily, "alarms", "Alarms opened", lambda one: one.alarms),
            (GaugeMetricFamily, "alarm_open", "1 in an alarm", lambda one: one.stream.in_alarm),
            (GaugeMetricFamily, "score", "Score of the latest row", lambda one: one.score),
            (GaugeMetricFamily, "threshold", "Score of alarm", lambda one: one.stream.threshold),
            (GaugeMetricFamily, "rows_without_score", "Since a score", lambda one: one.blind),
            (GaugeMetricFamily, "silent", "1 where no rows come", lambda one: one.silent),
            (
                GaugeMetricFamily,
                "last_row_timestamp_seconds",
                "Time of the latest row",
                lambda one: math.nan if one.clock.latest is None else one.clock.latest,
            ),
        ):
            found = family(f"lmmoe_{name}", text, labels=["entity"])
            for one in all_of:
                found.add_metric([one.name], value(one))
            yield found
        for name, kinds in self.watch.report().items():
            if isinstance(kinds, dict):
                found = CounterMetricFamily(f"lmmoe_{name}", f"{name}, by kind", labels=["kind"])
                for kind, count in kinds.items():
                    found.add_metric([kind], count)
                yield found
        yield GaugeMetricFamily("lmmoe_lines_without_row", "Of nobody", self.watch.stray.blind)


class Page(BaseHTTPRequestHandler):
    """Answers one connection."""

    timeout = 10  # seconds

    def do_GET(self) -> None:  # noqa: N802
        """Give the figures, or whether the watch moves; else 404."""
        path, status, text = self.path.partition("?")[0], 200, b"ok\n"
        if path == "/metrics":
            text = self.server.page()
        elif path != "/healthz":
            status, text = 404, b"/metrics or /healthz\n"
        elif time.monotonic() - self.server.watch.looked > STUCK:
            status, text = 503, b"stuck\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *text: object) -> None:
        """Say nothing of each scrape."""
