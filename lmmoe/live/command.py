"""The commands ``python -m lmmoe fit`` and ``watch``: from a table of one's own to alarms."""

import argparse
import errno
import json
import os
import select
import signal
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lmmoe.errors import DataError
from lmmoe.live.serving import Metrics, Store, tell

if TYPE_CHECKING:
    from lmmoe.live.model import Model

PAUSE = 0.5  # seconds between two looks at whether to stop, while nothing moves
PIECE = 65_536  # bytes at a time
TAIL = 1_000_000  # bytes at the end of a file of alarms that are looked at after a restart


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
        ("--channel", "a column to read; repeatable", {"action": "append", "dest": "channels"}),
        ("--dates", "how dates are written, as %%d/%%m/%%Y", {"metavar": "FORMAT"}),
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
