"""The commands ``python -m lmmoe fit`` and ``watch``: from a table of one's own to alarms."""

import argparse
import json
import math
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.live.watch import Watch

PAUSE = 0.5  # seconds between two looks at whether to stop, while nothing moves
PIECE = 65_536  # bytes at a time


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
        ("path", "a file that 'fit' wrote", {"metavar": "model"}),
        ("--alarms", "alarms and hours in alarm allowed a day (default: 2)", alarms),
        ("--threshold", rules, {"metavar": "RULE"}),
        ("--accept-after", "take a level that stays so many rows as normal", {"type": int}),
        ("--step", "time between rows, to see gaps", {"type": float}),
        ("--top", "channels to name (default: 5)", {"type": int}),
        ("--state", "go on from this file, and keep it up to date", {"type": Path}),
        ("--save-every", "rows (default: 1000)", {"type": int}),
        ("--metrics", "port that serves counts to Prometheus (0: any free)", {"type": int}),
        ("--host", "address for the metrics (default: 127.0.0.1)", {}),
    )
    fits = "fit a detector on a table of rows taken as normal, and write a file that 'watch' takes"
    watches = "read rows (CSV or JSON lines) on standard input, write a JSON line per alarm"
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
    state: str | Path | None = None,
    save_every: int = 1000,
    metrics: int | None = None,
    host: str = "127.0.0.1",
    source: int = 0,
    sink: int = 1,
    **options: object,
) -> int:
    """Watch the rows that arrive at ``source`` and write a JSON line per alarm to ``sink``.

    Both are file descriptors. What is for people goes to standard error. ``state`` is a file that
    the watch goes on from where it exists, and that is written every ``save_every`` rows and at the
    end; a damaged one, or another model's, is replaced, any other file is refused. With a port
    ``metrics`` (0: a free one), counts are served for Prometheus. Other options: those of
    `lmmoe.live.Watch`.

    Returns the exit status: 0 at the end of the rows or after SIGTERM, 130 after Ctrl-C, 1 where
    the alarms' reader is gone. Raises `DataError` for a model or an option that cannot be used.
    """
    import numpy as np

    from lmmoe.live.model import check_place

    if state is not None:
        check_place(state, "state", path, source, sink)
    made = _opened(path, state, options)
    server = nullcontext() if metrics is None else closing(Metrics(made, metrics, host))
    status, due = 0, made.rows + save_every
    with stopping() as heard, np.errstate(all="ignore"), server:
        try:
            deliver(made, sink, heard)  # what nobody took from an earlier watch
            for line in lines(source, heard):
                alarm = made.feed(line)
                if alarm is not None:
                    made.pending.append(json.dumps(alarm, allow_nan=False))
                    deliver(made, sink, heard)
                if made.rows >= due:
                    due = made.rows + save_every
                    _save(made, state)
        except OSError as error:
            gone, status = isinstance(error, BrokenPipeError), 1
            tell("the reader of the alarms is gone" if gone else f"cannot go on: {error}")
        saved = _save(made, state)
    if made.pending:
        where = "kept for the next start" if saved else "lost"
        tell(f"{len(made.pending)} alarms were not taken: {where}")
    tell(json.dumps(made.report()))
    return status or (130 if signal.SIGINT in heard else 0)


def _opened(path: str | Path, state: str | Path | None, options: dict[str, object]) -> "Watch":
    """Make the watch of a model's file; it goes on from its state, where there is a good one."""
    from lmmoe.live.model import Model
    from lmmoe.live.watch import Watch

    made = Watch(Model.load(path), tell=tell, **options)
    try:
        if state is not None and Path(state).exists():
            made.load(state)
            tell(f"going on from {state}, after row {made.rows - 1}")
    except DataError as error:
        tell(f"{error}: starting afresh")
    return made


def _save(made: "Watch", state: str | Path | None) -> bool:
    """Save where there is a place for it; a full disk must not end the watch."""
    try:
        return state is not None and bool(made.save(state))
    except OSError as error:
        tell(f"the state cannot be saved: {error}")
        return False


@contextmanager
def stopping() -> Iterator[list[int]]:
    """Hear SIGTERM and SIGINT inside a ``with`` block: a list that they are appended to."""
    heard, numbers = [], (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(one, lambda number, frame: heard.append(number)) for one in numbers]
    try:
        yield heard
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def lines(source: int, heard: list[int]) -> Iterator[bytes]:
    """Give the lines that arrive at a file descriptor, without their ends, until told to stop.

    Empty ones are left out; one longer than `LONGEST` may be cut beyond it. After a request to
    stop, what has been read is still given, but for a line that has no end yet.
    """
    from lmmoe.live.watch import LONGEST

    left, piece = b"", b"\n"
    while piece and not heard:
        if not select.select([source], [], [], PAUSE)[0]:
            continue
        piece = os.read(source, PIECE)
        *whole, left = (left + piece).split(b"\n")
        left = left[: LONGEST + 1]
        yield from filter(None, whole if piece else [left])


def deliver(watch: "Watch", sink: int, heard: list[int]) -> None:
    """Write the alarms that nobody has taken yet, waiting as long as their reader needs.

    Where a request to stop comes while the reader takes nothing, the rest stays pending. Raises
    `BrokenPipeError` where there is no reader any more.
    """
    while watch.pending:
        line = f"{watch.pending[0]}\n".encode()
        while line:
            if select.select([], [sink], [], 0 if heard else PAUSE)[1]:
                # So much a pipe takes at once: more could wait beyond any request to stop.
                line = line[os.write(sink, line[: select.PIPE_BUF]) :]
            elif heard:
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

    def __init__(self, watch: "Watch", port: int, host: str = "127.0.0.1") -> None:
        try:
            import prometheus_client as client
        except ImportError as error:
            problem = "metrics need the package prometheus-client"
            raise DataError(problem, hint="pip install 'lmmoe[live]'") from error
        self.watch, registry = watch, client.CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = client.start_http_server(port, host, registry)
        except (OSError, OverflowError) as error:
            raise DataError(f"no metrics on {host} port {port}: {error}") from error
        self.port = self._server.server_port
        tell(f"metrics: http://{host}:{self.port}/metrics")

    def collect(self) -> Iterator[object]:
        """Give the counts as they are; the client library calls this when it is asked."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        watch, alarm = self.watch, self.watch.stream.alarm
        latest = math.nan if watch.clock.latest is None else watch.clock.latest
        for family, name, text, value in (
            (CounterMetricFamily, "rows", "Rows read", watch.rows),
            (CounterMetricFamily, "rows_scored", "Rows with a score", watch.scored),
            (CounterMetricFamily, "alarms", "Alarms opened", watch.alarms),
            (CounterMetricFamily, "rows_skipped", "Rows left out, by reason", "skipped"),
            (CounterMetricFamily, "rows_unscored", "Rows without a score, by reason", "unscored"),
            (CounterMetricFamily, "mended", "Cells and columns not as they should be", "mended"),
            (CounterMetricFamily, "events", "Gaps and the like", "events"),
            (GaugeMetricFamily, "alarm_open", "1 in an alarm", alarm.open),
            (GaugeMetricFamily, "threshold", "Score of alarm", watch.stream.threshold),
            (GaugeMetricFamily, "latest_row_time", "Time of the latest row", latest),
        ):
            if not isinstance(value, str):
                yield family(f"lmmoe_{name}", text, value=value)
                continue
            counted = family(f"lmmoe_{name}", text, labels=["kind"])
            for kind, count in dict(watch.counts[value]).items():
                counted.add_metric([kind], count)
            yield counted

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
