"""Watching a pipe: from a model's file to alarms on standard output, until the rows end."""

import json
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lmmoe.errors import DataError
from lmmoe.live import outputs, pipes
from lmmoe.live.checks import from_one
from lmmoe.live.model import Model, has_checksum
from lmmoe.live.watch import Watch

if TYPE_CHECKING:
    from lmmoe.live.metrics import Server

SAVE_EVERY = 1000  # rows between two savings of the state
HOST = "127.0.0.1"  # of the metrics: for this machine alone


def watch(
    path: str | Path,
    *,
    state: str | Path | None = None,
    save_every: int = SAVE_EVERY,
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
    from_one("save_every", save_every)
    if host is not None and metrics is None:
        raise DataError(f"host {host!r} without metrics", hint="Give their port, too (--metrics)")
    if state is not None:
        outputs.check(state, "state", path, source, sink)
    model = Model.load(path)
    if not has_checksum(path):
        tell(f"{path}: a plain detector, without a checksum: damage to its numbers would not show")
    made = _restored(model, None if state is None else Path(state), options)
    server = None if metrics is None else _served(made, metrics, host or HOST)
    try:
        with pipes.Stop() as stop, np.errstate(all="ignore"):
            return _loop(made, source, sink, stop, state and Path(state), save_every, server)
    finally:
        if server is not None:
            server.close()


def _served(made: Watch, port: int, host: str) -> "Server":
    from lmmoe.live.metrics import serve

    server = serve(made, port, host)
    tell(f"metrics: http://{host}:{server.port}/metrics")
    return server


def _restored(model: Model, state: Path | None, options: dict[str, object]) -> Watch:
    made = Watch(model, tell=tell, **options)
    if state is None or not state.exists():
        return made
    try:
        made.load(state)
        tell(f"going on from {state}, after row {made.rows - 1}")
        return made
    except DataError as error:
        tell(f"{error}: starting afresh")
        return Watch(model, tell=tell, **options)


def _loop(
    made: Watch,
    source: int,
    sink: int,
    stop: pipes.Stop,
    state: Path | None,
    save_every: int,
    server: "Server | None",
) -> int:
    status, due = 0, made.rows + save_every
    try:
        _deliver(made, sink, stop)  # what nobody took from an earlier watch
        for line in pipes.lines(source, stop):
            began = time.perf_counter()
            alarm = made.feed(line)
            if server is not None:
                server.observe(time.perf_counter() - began)
            if alarm is not None:
                made.pending.append(json.dumps(alarm, allow_nan=False))
                _deliver(made, sink, stop)
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
    for line in made.report():
        tell(line)
    return status or (130 if stop.asked == signal.SIGINT else 0)


def _deliver(made: Watch, sink: int, stop: pipes.Stop) -> None:
    """Write the alarms that nobody has taken yet; one that is not taken whole stays."""
    while made.pending:
        if not pipes.write(sink, f"{made.pending[0]}\n".encode(), stop):
            return
        made.pending.pop(0)


def _save(made: Watch, state: Path | None) -> bool:
    """Save where there is a place for it; a full disk must not end the watch."""
    if state is None:
        return False
    try:
        made.save(state)
    except OSError as error:
        tell(f"the state cannot be saved: {error}")
        return False
    return True


def tell(text: str) -> None:
    """Say something on standard error, but never wait for somebody to read it there."""
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="replace")[: select.PIPE_BUF])
    except (OSError, ValueError):
        return  # closed: nobody wants to know
