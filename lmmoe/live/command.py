"""The commands ``python -m lmmoe fit`` and ``watch``: from a table of one's own to alarms."""

import argparse
import errno
import json
import os
import re
import select
import signal
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lmmoe.errors import DataError
from lmmoe.live.serving import Metrics, Store, tell

if TYPE_CHECKING:
    from lmmoe.live.watch import Watch

LOOK = 10.0  # seconds between two looks at models and silent machines
PAUSE = 0.5  # seconds between two looks at whether to stop, while nothing moves
PIECE = 65_536  # bytes at a time
TAIL = 1_000_000  # bytes at the end of a file of alarms that are looked at after a restart


def add(commands: argparse._SubParsersAction) -> None:
    """Add both commands; an option left out has the default of `lmmoe.live`."""

    def command(name: str, run: Callable[..., int], text: str) -> Callable:
        absent = argparse.SUPPRESS
        parser = commands.add_parser(name, help=text, description=text, argument_default=absent)
        parser.set_defaults(
            run=lambda given: run(**{k: v for k, v in vars(given).items() if k != "run"})
        )
        parser.add_argument("--rows-per-day", type=float, help="where no times tell it")
        return parser.add_argument

    text = "fit a detector on a table of rows taken as normal, and write a file that 'watch' takes"
    one = command("fit", _fit, text)
    one("path", metavar="data", help="the table, CSV or Parquet; docs/own-data.md tells its layout")
    one("-o", "--out", type=Path, required=True, help="the model (.safetensors)")
    one("--time", metavar="COLUMN", help="the column of times")
    one("--update", metavar="OLD", help="take detector, settings and channels from this model")
    one("--detector", help="its name (default: ThreeViews)")
    one("--seed", type=int, help="fixes all that is random (default: 0)")
    one("--set", action="append", metavar="NAME=VALUE", help="a setting; repeatable")
    one("--label", metavar="COLUMN", help="the column of labels, which are left out")
    one("--channel", action="append", dest="channels", help="a column to read; repeatable")
    one("--dates", metavar="FORMAT", help="how dates are written, as %%d/%%m/%%Y")
    one("--missing", choices=["error", "fill"], help="what to do about empty cells")

    text = "read rows (CSV or JSON lines) on standard input, write alarms as JSON lines"
    one = command("watch", watch_pipe, text)
    rule, allowed = "alarms:{}".format, "alarms and hours in alarm allowed a day (default: 2)"
    rules = "in place of --alarms: budget:PER_DAY, quantile:SHARE, pot:RISK or a number"
    one("path", metavar="model", help="a file that 'fit' wrote, or a folder: one an entity")
    one("--key", metavar="COLUMN", help="the column of entities: rows of many machines")
    one("--alarms", dest="threshold", type=rule, metavar="PER_DAY", help=allowed)
    one("--threshold", metavar="RULE", help=rules)
    one("--accept-after", type=int, help="rows in alarm that make a level normal (0: never)")
    one("--state", type=Path, help="go on from this file, and keep it up to date")
    one("--save-every", type=float, help="seconds (default: 10)")
    one("--silent", type=float, help="seconds without a row of a machine, to be told")
    one("--metrics", type=int, help="port that serves /metrics and /healthz (0: any free)")
    one("--host", help="address for the metrics (default: 127.0.0.1)")


def _fit(path: str, out: Path, **given: object) -> int:
    import yaml

    from lmmoe import live
    from lmmoe.live.alarms import DEFAULTS
    from lmmoe.live.model import check_place

    check_place(out, "model", path)
    changes = given.pop("set", [])
    try:
        parts = (text.split("=", 1) for text in changes)  # YAML wants a dot in 1e-3
        settings = {n: yaml.safe_load(re.sub(r"^(\d+)e", r"\1.0e", v)) for n, v in parts}
    except (ValueError, yaml.YAMLError) as error:
        hint = "Write NAME=VALUE, such as epochs=3"
        raise DataError(f"--set {' '.join(changes)}: no setting ({error})", hint=hint) from error
    made, notes = live.fit(path, settings=settings, **given)
    try:
        made.save(out)
    except OSError as error:
        raise DataError(f"the model cannot be written ({error})", file=out) from error
    facts = made.facts
    lines = [*notes, f"{made.detector.name}: {facts.rows} rows, {len(made.channels)} channels"]
    lines += [f"channels: {', '.join(made.channels)}", f"time: {facts.time or 'no column'}"]
    for rule in DEFAULTS:
        try:
            lines.append(f"threshold {rule}: {live.Stream(made, threshold=rule).threshold:.6g}")
        except DataError as error:
            lines.append(f"no threshold {rule}: {error}")
    sys.stdout.write("\n".join([*lines, f"{out}: written\n"]))
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
    with a ``key``, a folder of models, one an entity. ``state`` is a file that the watch goes on
    from, written every ``save_every`` seconds, after each line of alarms, after SIGHUP and at the
    end. ``metrics`` is a port for `Metrics`. Other options: those of `lmmoe.live.Watch`.

    Returns the exit status: 0 at the end of the rows or after SIGTERM, 130 after Ctrl-C, 1 where
    the alarms' reader is gone, or rows had no score for long when they ended. Raises `DataError`
    for what cannot be used.
    """
    import numpy as np

    from lmmoe.live.model import Models, check_place
    from lmmoe.live.watch import Watch

    if state is not None:
        check_place(state, "state", path, source, sink)
    if key is None and Path(path).is_dir():
        raise DataError("a folder of models needs --key", file=path)
    watch = Watch(Models(path, tell), key=key, entity=Path(path).stem, tell=tell, **options)
    with (
        stopping() as heard,
        np.errstate(all="ignore"),
        closing(Store(state, watch)) if state else nullcontext() as store,
        nullcontext() if metrics is None else Metrics(watch, metrics, host),
    ):
        status = _follow(watch, store, source, sink, heard, save_every)
        saved = store and store.save()
    if watch.pending:
        where = "kept for the next start" if saved else "lost"
        tell(f"{len(watch.pending)} alarms were not taken: {where}")
    if watch.blind:
        status = status or not _stop(heard)
        tell(f"nothing was watched at the end: {', '.join(watch.blind[:5]) or 'no line was a row'}")
    tell(json.dumps(watch.report()))
    return int(status) or (130 if heard[signal.SIGINT] else 0)


def _follow(
    watch: "Watch", store: Store | None, source: int, sink: int, heard: Counter[int], every: float
) -> int:
    """Feed lines, deliver alarms and save until the end; give 1 where the sink fails."""
    written, due = tail(sink), time.monotonic() + every
    try:
        for lines in pieces(source, heard):
            found = (event for line in lines for event in watch.feed(line))
            watch.pending += (json.dumps(event, allow_nan=False) for event in found)
            new = bool(watch.pending)
            deliver(watch.pending, written, sink, heard)
            now, asked = time.monotonic(), heard.pop(signal.SIGHUP, None)
            if asked or now >= watch.looked + LOOK:
                watch.look_around()
            if store and (asked or new or now >= due):
                due = now + every
                store.save()
    except OSError as error:
        gone = isinstance(error, BrokenPipeError)
        tell("the reader of the alarms is gone" if gone else f"cannot go on: {error}")
        return 1
    return 0


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
    """Give the lines that arrive, but for empty ones, until told to stop.

    They come in lists, an empty one where nothing arrives for half a second. One longer than
    `LONGEST` may be cut; one without an end yet is lost after a request to stop.
    """
    from lmmoe.live.lines import LONGEST

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
    """Give the last lines of a file of alarms, none of a pipe; a line that was cut is ended."""
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


def deliver(pending: list[str], written: set[str], sink: int, heard: Counter[int]) -> None:
    """Write lines but those written, and take them off; wait for their reader, or a full disk.

    Where a request to stop comes meanwhile, the rest stays pending. Raises `BrokenPipeError` where
    there is no reader any more.
    """
    full = False
    while pending:
        line = b"" if pending[0] in written else f"{pending[0]}\n".encode()
        while line:
            wait, count = 0 if _stop(heard) else PAUSE, 0
            try:
                if select.select([], [sink], [], wait)[1]:
                    # So much a pipe takes at once: more could wait beyond any request to stop.
                    count = os.write(sink, line[: select.PIPE_BUF])
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if not full:
                    tell(f"alarms cannot be written: {error}; the watch waits")
                full = True
                time.sleep(wait)
            if not count and not wait:
                return
            line = line[count:]
        pending.pop(0)
