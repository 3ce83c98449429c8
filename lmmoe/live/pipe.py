"""Watching a pipe: from a model's file to alarms on standard output, until the rows end."""

import json
import math
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

from lmmoe.errors import DataError
from lmmoe.live import outputs
from lmmoe.live.model import Model, has_checksum
from lmmoe.live.rows import LONGEST
from lmmoe.live.watch import Watch

PAUSE = 0.5  # seconds between two looks at whether to stop, while nothing moves
PIECE = 65_536  # bytes at a time
# Seconds: a row takes a tenth of a millisecond, a slow detector or machine a thousand times that.
BUCKETS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1, 1.0)


class Stop:
    """Hears SIGTERM and SIGINT inside a ``with`` block; ``asked`` is the signal, or 0."""

    def __init__(self) -> None:
        self.asked = 0

    def __enter__(self) -> "Stop":
        self._before = {n: signal.signal(n, self._hear) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = number


def lines(source: int, stop: Stop) -> Iterator[bytes]:
    """Give the lines that arrive at a file descriptor, without their ends.

    Of a line that is longer than `LONGEST`, so many bytes and one are given. After a request to
    stop, what has been read is still given, but for a line that has no end yet.
    """
    left, cut = b"", False
    while not stop.asked:
        if not select.select([source], [], [], PAUSE)[0]:
            continue
        piece = os.read(source, PIECE)
        if not piece:
            if left and not cut:
                yield left
            return
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            if not cut:
                yield line
            cut = False
        if len(left) > LONGEST:
            if not cut:
                yield left[: LONGEST + 1]
            left, cut = b"", True


def deliver(watch: Watch, sink: int, stop: Stop) -> None:
    """Write the alarms that nobody has taken yet, waiting as long as their reader needs.

    Where a request to stop comes while the reader takes nothing, the rest stays pending. Raises
    `BrokenPipeError` where there is no reader any more.
    """
    while watch.pending:
        line = f"{watch.pending[0]}\n".encode()
        while line:
            if select.select([], [sink], [], 0 if stop.asked else PAUSE)[1]:
                # So much a pipe takes at once: more could wait beyond any request to stop.
                line = line[os.write(sink, line[: select.PIPE_BUF]) :]
            elif stop.asked:
                return
        watch.pending.pop(0)


def tell(text: str) -> None:
    """Say something on standard error, but never wait for somebody to read it there."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="replace")[: select.PIPE_BUF])
    except (OSError, ValueError):
        return  # closed: nobody wants to know


class Metrics:
    """Serves a watch's counts to Prometheus over HTTP; needs the package prometheus-client.

    ``port`` 0 takes a free one. Raises `DataError` where the port or the package cannot be had.
    """

    def __init__(self, watch: Watch, port: int, host: str = "127.0.0.1") -> None:
        try:
            import prometheus_client as client
        except ImportError as error:
            problem = "metrics need the package prometheus-client"
            raise DataError(problem, hint="pip install 'lmmoe[live]'") from error
        self._watch, registry = watch, client.CollectorRegistry()
        name, text = "lmmoe_row_seconds", "Time from a line to its verdict"
        self.latency = client.Histogram(name, text, registry=registry, buckets=BUCKETS)
        registry.register(self)
        try:
            self._server, self._thread = client.start_http_server(port, host, registry)
        except (OSError, OverflowError) as error:
            raise DataError(f"no metrics on {host} port {port}: {error}") from error
        self.port = self._server.server_port

    def collect(self) -> Iterator[object]:
        """Give the counts as they are; the client library calls this when it is asked."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        watch = self._watch
        yield CounterMetricFamily("lmmoe_rows", "Rows read", value=watch.rows)
        yield CounterMetricFamily("lmmoe_rows_scored", "Rows with a score", value=watch.scored)
        yield CounterMetricFamily("lmmoe_alarms", "Alarms opened", value=watch.alarms)
        for name, kind, text in (
            ("lmmoe_rows_skipped", "skipped", "Rows left out, by reason"),
            ("lmmoe_rows_unscored", "unscored", "Rows taken in without a score, by reason"),
            ("lmmoe_mended", "mended", "Cells and columns that were not as they should be"),
            ("lmmoe_events", "events", "Gaps and the like"),
        ):
            family = CounterMetricFamily(name, text, labels=["kind"])
            for label, count in dict(watch.counts[kind]).items():
                family.add_metric([label], count)
            yield family
        alarm, latest = watch.stream.alarm, watch.clock.latest
        yield GaugeMetricFamily("lmmoe_alarm_open", "1 in an alarm", value=alarm.open)
        yield GaugeMetricFamily("lmmoe_threshold", "Score of alarm", value=alarm.threshold)
        yield GaugeMetricFamily(
            "lmmoe_latest_row_time",
            "Time of the latest row, seconds since 1970 where rows have dates",
            value=math.nan if latest is None else latest,
        )

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def watch(
    path: str | Path,
    *,
    state: str | Path | None = None,
    save_every: int = 1000,
    metrics: int | None = None,
    host: str | None = None,
    source: int = 0,
    sink: int = 1,
    **options: object,
) -> int:
    """Watch the rows that arrive at ``source`` and write a JSON line per alarm to ``sink``.

    Both are file descriptors. What is for people goes to standard error. ``state`` is a file that
    the watch goes on from where it exists, and that is written every ``save_every`` rows and at the
    end; a damaged one, or another model's, is told and replaced, any other file is refused. With
    ``metrics``, a port (0: a free one, which is told), counts are served for Prometheus on
    ``host``, by default 127.0.0.1. Other options: `Watch`'s.

    Returns the exit status: 0 at the end of the rows or after SIGTERM, 130 after Ctrl-C, 1 where
    the alarms' reader is gone. Raises `DataError` for a model or an option that cannot be used.
    """
    if save_every < 1:
        raise DataError(f"save_every={save_every}: a whole number from 1 on is needed")
    if host is not None and metrics is None:
        raise DataError(f"host {host!r} without metrics", hint="Give their port, too (--metrics)")
    if state is not None:
        outputs.check(state, "state", path, source, sink)
    model = Model.load(path)
    if not has_checksum(path):
        tell(f"{path}: a plain detector, without a checksum: damage to its numbers would not show")
    made = Watch(model, tell=tell, **options)
    if state is not None and Path(state).exists():
        try:
            made.load(state)
            tell(f"going on from {state}, after row {made.rows - 1}")
        except DataError as error:
            tell(f"{error}: starting afresh")
            made = Watch(model, tell=tell, **options)
    server = None
    if metrics is not None:
        server = Metrics(made, metrics, host or "127.0.0.1")
        tell(f"metrics: http://{host or '127.0.0.1'}:{server.port}/metrics")
    try:
        with Stop() as stop, np.errstate(all="ignore"):
            return _loop(made, source, sink, stop, state, save_every, server)
    finally:
        if server is not None:
            server.close()


def _loop(
    made: Watch,
    source: int,
    sink: int,
    stop: Stop,
    state: str | Path | None,
    save_every: int,
    server: Metrics | None,
) -> int:
    status, due = 0, made.rows + save_every
    try:
        deliver(made, sink, stop)  # what nobody took from an earlier watch
        for line in lines(source, stop):
            began = time.perf_counter()
            alarm = made.feed(line)
            if server is not None:
                server.latency.observe(time.perf_counter() - began)
            if alarm is not None:
                made.pending.append(json.dumps(alarm, allow_nan=False))
                deliver(made, sink, stop)
            if made.rows >= due:
                due = made.rows + save_every
                _save(made, state)
    except BrokenPipeError:
        status = 1
        tell("the reader of the alarms is gone")
    except OSError as error:
        status = 1
        tell(f"cannot read or write any more: {error}")
    saved = _save(made, state)
    if made.pending:
        where = "kept for the next start" if saved else "lost"
        tell(f"{len(made.pending)} alarms were not taken: {where}")
    tell(json.dumps(made.report()))
    return status or (130 if stop.asked == signal.SIGINT else 0)


def _save(made: Watch, state: str | Path | None) -> bool:
    """Save where there is a place for it; a full disk must not end the watch."""
    if state is None:
        return False
    try:
        made.save(state)
    except OSError as error:
        tell(f"the state cannot be saved: {error}")
        return False
    return True
