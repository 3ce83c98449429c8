"""Lines in, alarms out: lines as rows, what their times say, and all that can go wrong counted.

``docs/live.md`` tells what a watch makes of each fault.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.reading import GAPS, LABELS, TIMES
from lmmoe.errors import DataError
from lmmoe.live.model import Model
from lmmoe.live.stream import BRIDGE, WARMING_UP, Stream

LONGEST = 1_000_000  # bytes of a line; a longer one is no row
SHOWN = 100  # characters of a time that are passed on
WORDS = {"true": 1.0, "false": 0.0} | dict.fromkeys(GAPS, math.nan)
PATIENCE = 5  # late rows in rising order after which the clock is taken to have been set back
READER = ("lines", "dates", "columns", "header")  # of a reader, in a state
FIRST = 10  # rows, one of which must have a time where times are to be expected


class Skipped(ValueError):
    """A line that is no row: the kind, for counting, and a detail."""


class Row(NamedTuple):
    """Values ``(c,)``, NaN where missing, and when they were taken."""

    values: npt.NDArray[np.float64]
    time: float | None = None  # a number as it was, or a date in seconds since 1970
    written: str | float | None = None  # what stood there


class Layout(NamedTuple):
    """Where cells stand under names: each channel's place, -1 without one, and the time's."""

    names: list[str]
    places: list[int]
    time: int | None


class Reader:
    """Turns lines into rows of a model's channels.

    A line that begins with ``{`` is a row by the channels' names, any other comma-separated cells.
    Cells stand in the order of the last header or, before there is one, in the model's; the time
    may stand before them. A header is a line without a number or a date that names most channels,
    or the first one. Columns are known by their names (those of times and labels are
    `lmmoe.data.own`'s): one that is no channel is left out, a channel without one has no values.

    ``time`` names the time column; without it, that is the training rows', or else one of a common
    name. ``counts`` counts what was odd.
    """

    def __init__(self, model: Model, time: str | None, counts: Counter[str]) -> None:
        facts, self.channels = model.facts, model.channels
        self.known, self.columns = frozenset(self.channels), list(self.channels)
        self.named, self.pattern = facts.named, facts.pattern
        wanted, taken = time or facts.time, {name.lower() for name in self.channels}
        # Names of the time column in small letters, the likeliest first.
        self.times = [wanted.lower()] if wanted else []
        self.times += [] if time else [name for name in TIMES if name not in taken]
        self.counts, self.lines = counts, 0
        self.changed: dict[str, list[str]] = {}  # columns, by the latest header or object
        self.dates: bool | None = None  # whether times are dates; if not known, the first decides
        self.header: Layout | None = None  # of comma-separated cells
        self.object: Layout | None = None  # of the latest row in JSON

    def read(self, line: bytes) -> Row | None:
        """Read a line: None for a header or a blank line; raises `Skipped` for what is no row."""
        if len(line) > LONGEST:
            raise Skipped("line too long", f"more than {LONGEST} bytes")
        text = line.decode("utf-8", errors="replace").strip().removeprefix("\ufeff")
        if not text:
            return None
        self.lines += 1
        if text[0] == "{":
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise Skipped("not JSON", type(error).__name__) from error
            names = list(found)
            if self.object is None or names != self.object.names:
                self.object = self._layout(names)
            return self._row(self.object, list(found.values()))
        try:
            cells = next(csv.reader([text]))
        except csv.Error as error:
            raise Skipped("not CSV", str(error)) from error
        if self._is_header(cells):
            names = [cell.strip() for cell in cells]
            if self.named or not self.known.isdisjoint(names):  # else the model knows of no names
                self.header = self._layout(names)
            return None
        return self._row(self.header, cells)

    def _row(self, layout: Layout | None, cells: list) -> Row:
        """Take cells by a layout, or those of the channels in order, perhaps a time before them."""
        if layout is None:
            first = int(len(cells) != len(self.channels))
            names = [*[""] * first, *self.channels]
            layout = Layout(names, list(range(first, len(names))), 0 if first else None)
        if len(cells) != len(layout.names):
            detail = f"{len(cells)}, expected {len(layout.names)}"
            raise Skipped("wrong number of cells", detail)
        time = None if layout.time is None else cells[layout.time]
        cells.append(None)  # for channels without a place
        cells = [cells[place] for place in layout.places]
        try:
            values = np.array([float(cell) for cell in cells])
        except (TypeError, ValueError, OverflowError):
            found = [number(cell) for cell in cells]
            values = np.array([math.nan if value is None else value for value in found])
            self.counts += {"cells of text": found.count(None)}
        if time is None:
            return Row(values)
        seconds, date = moment(time, self.pattern) or (None, None)
        written = time[:SHOWN] if isinstance(time, str) else seconds
        if date is None or self.dates not in (None, date):
            self.counts["times not understood"] += 1
            return Row(values, None, written)
        self.dates = date
        return Row(values, seconds, written)

    def _is_header(self, cells: list[str]) -> bool:
        last = number(cells[-1])
        if last is not None and math.isfinite(last):  # nearly all rows: no need to look further
            return False
        words = [word for word in map(str.strip, cells) if word.lower() not in WORDS]
        if not words or any(moment(one, self.pattern) or number(one) is not None for one in words):
            return False
        # A greeting before the rows is no header: there are too few cells in it.
        enough = self.lines == 1 and len(cells) >= max(len(self.channels), 1 + self.named)
        return enough or 2 * len(self.known.intersection(words)) > len(self.known)

    def _layout(self, names: list[str]) -> Layout:
        """Find the cells of channels and time; count the columns that have changed."""
        lower = [name.lower() for name in names]
        time = next((lower.index(name) for name in self.times if name in lower), None)
        others = [*LABELS, *([] if time is None else [lower[time]])]
        columns = {name for name in names if name.lower() not in others}
        new, lost = columns.difference(self.known, self.columns), self.known - columns
        lost = lost.intersection(self.columns)
        self.changed = {"new columns": sorted(new), "lost columns": sorted(lost)}
        self.counts += {kind: len(those) for kind, those in self.changed.items()}
        self.columns = sorted(columns)
        places = [names.index(name) if name in names else -1 for name in self.channels]
        return Layout(names, places, time)


def number(cell: object) -> float | None:
    """Give a cell's value, NaN for a gap; None for what is no number."""
    try:
        return float(cell)
    except OverflowError:  # a whole number with hundreds of digits
        return math.inf if cell > 0 else -math.inf
    except (TypeError, ValueError):
        if cell is None:
            return math.nan
        return WORDS.get(cell.strip().lower()) if isinstance(cell, str) else None


def moment(cell: object, pattern: str | None = None) -> tuple[float, bool] | None:
    """When a row was taken: a number as it is, or a date as seconds since 1970 (True).

    Dates are ISO 8601, or as ``pattern`` has it (`datetime.strptime`); one without a zone is taken
    as UTC. None for anything else: a date that reads in two ways would put rows in the wrong order
    without a word.
    """
    found = number(cell)
    if found is not None:
        return (found, False) if math.isfinite(found) else None
    if not isinstance(cell, str):
        return None
    try:
        text = cell.strip()
        date = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
    except ValueError:
        return moment(cell) if pattern else None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), True


class Order(StrEnum):
    """What a row's time says."""

    NEXT = "next"
    BRIDGED = "short gap"  # some rows are missing: fill them
    GAP = "gap"  # too many are: what came before says nothing about this row
    SET_BACK = "clock set back"  # likewise
    REPEATED = "repeated"  # the time of the row before: not a row of its own
    LATE = "late"  # before the row before: its place is gone
    SEEN = "seen before the restart"  # somebody sends again what the saved state knows


@dataclass
class Clock:
    """Follows the rows' times, which are numbers in one unit.

    ``step`` is the time from row to row; None where it is not known, and then gaps are not seen.
    """

    step: float | None = None
    latest: float | None = None
    first: float | None = None  # since the start, or since the clock was set back
    behind: float = math.inf  # the last late row
    late: int = 0  # late rows in rising order
    untimed: int = 0  # rows without a time since the latest one with
    resumed: bool = False  # after a restart, until a row's time is new

    def look(self, time: float | None) -> tuple[Order, int]:
        """Judge a row's time; also give the number of rows missing before it.

        A row without a time is taken to be the next one, and is not missing later on.
        """
        if time is None:
            self.untimed += 1
            return Order.NEXT, 0
        if self.latest is None or time > self.latest:
            missing = 0
            if self.latest is not None and self.step:
                # Half a step early or late is still the next row; the bound keeps this an integer.
                away = round(min(max((time - self.latest) / self.step - 1, 0.0), 1e9))
                missing = max(away - self.untimed, 0)
            self._take(time)
            order = Order.GAP if missing > BRIDGE else Order.BRIDGED if missing else Order.NEXT
            return order, missing
        if self.resumed and time >= self.first:
            return Order.SEEN, 0
        if time == self.latest:
            return Order.REPEATED, 0
        self.late = self.late + 1 if time > self.behind else 1
        self.behind = time
        if self.late < PATIENCE:
            return Order.LATE, 0
        self.first = time
        self._take(time)
        return Order.SET_BACK, 0

    def _take(self, time: float) -> None:
        self.latest, self.late, self.behind, self.untimed = time, 0, math.inf, 0
        self.first = time if self.first is None else self.first
        self.resumed = False


class Watch:
    """Reads lines of rows and gives an alarm, as plain values, where one opens.

    ``time`` names the time column, ``step`` is the time from row to row in its unit (seconds for
    dates); by default both are those of the training rows. ``top`` channels are named by an alarm.
    ``tell`` gets messages for the operator: the first of each kind of fault, ends of alarms. Other
    options: `Stream`'s. Raises `DataError` for an option that cannot be used.

    ``counts`` counts rows that were skipped or have no score, mended cells and columns, and events
    such as gaps, each by kind.
    """

    def __init__(
        self,
        model: Model,
        *,
        time: str | None = None,
        step: float | None = None,
        top: int = 5,
        tell: Callable[[str], None] = print,
        **options: object,
    ) -> None:
        if step is not None and not 0 < step < math.inf:
            raise DataError(f"step={step}: a number above 0 is needed")
        self.model, self.top, self.tell = model, top, tell
        self.stream = Stream(model, **options)
        self.counts = {name: Counter() for name in ("skipped", "unscored", "events")}
        self.counts["mended"] = self.stream.counts
        self.reader = Reader(model, time, self.stream.counts)
        self.timed = bool(time or step or model.facts.step)  # as is expected
        self.clock = Clock(step or model.facts.step)
        if step is None and model.facts.step:
            self.reader.dates = model.facts.dates
        self.rows = self.alarms = 0
        self.pending: list[str] = []  # alarms, as lines, that nobody has taken yet

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return self.rows - self.counts["skipped"].total() - self.counts["unscored"].total()

    def feed(self, line: bytes) -> dict[str, object] | None:
        """Take the next line; give the alarm that opens with it, if one does."""
        mended, alarm = self.counts["mended"], None
        told = len(mended)
        try:
            row = self.reader.read(line)
        except Skipped as skipped:
            self.rows += 1
            self._count("skipped", *skipped.args)
            return None
        if row is not None:
            self.rows += 1
            alarm = self._scored(row) if self._in_order(row) else None
        for kind in list(mended)[told:]:
            which = ", ".join(self.reader.changed.get(kind, ())[:5])
            self._say(f"{kind}{which and f' ({which})'}; more of these are only counted")
        return alarm

    def _in_order(self, row: Row) -> bool:
        """Follow the clock; tell whether the row is one to score."""
        order, missing = self.clock.look(row.time)
        if order in (Order.REPEATED, Order.LATE, Order.SEEN):
            self._count("skipped", order, f"at {row.written}")
            return False
        if order is not Order.NEXT:
            self._count("events", order, f"{missing} rows missing before {row.written}")
        if order is Order.BRIDGED:
            self.stream.bridge(missing)
        elif order in (Order.GAP, Order.SET_BACK):
            if self.stream.alarm.open:
                self._ended("gap")
            self.stream.restart()
        return True

    def _scored(self, row: Row) -> dict[str, object] | None:
        threshold, step = self.stream.threshold, self.stream.step(row.values)
        if self.timed and self.stream.rows == FIRST and self.clock.latest is None:
            self.tell(f"none of the first {FIRST} rows has a time that can be read: no gap is seen")
        if step.why:
            self._count("unscored", step.why, "no score")
        if step.event in ("ended", "accepted"):
            self._ended(step.event)
        if step.event != "opened":
            return None
        self.alarms += 1
        return {
            "time": row.written,
            "row": self.rows - 1,
            "score": step.score,
            "threshold": threshold,
            "detector": self.model.detector.name,
            "channels": self.stream.explain(step, self.top),
        }

    def _ended(self, how: str) -> None:
        alarm, why = self.stream.alarm, "" if how == "ended" else f" ({how})"
        rows, peak = alarm.last - alarm.first + 1, self.stream.units.score(alarm.peak)
        self._say(f"the alarm has ended{why}: rows {rows}, highest score {peak:.6g}")

    def _count(self, name: str, kind: str, detail: str) -> None:
        """Count an odd row, and tell of the first of its kind."""
        self.counts[name][str(kind)] += 1
        if self.counts[name][kind] == 1 and kind != WARMING_UP:
            self._say(f"{kind} ({detail}); more of these are only counted")

    def _say(self, text: str) -> None:
        self.tell(f"row {self.rows - 1}: {text}")

    def report(self) -> dict[str, object]:
        """Give the counts, as plain values."""
        counts = {name: dict(kinds) for name, kinds in self.counts.items() if kinds}
        return {"rows": self.rows, "scored": self.scored, "alarms": self.alarms} | counts

    def save(self, path: str | Path) -> Path:
        """Write all that the next lines depend on besides model and options, as one file."""
        own = {name: getattr(self, name) for name in ("rows", "alarms", "pending", "counts")}
        own["reader"] = {name: getattr(self.reader, name) for name in READER}
        return self.stream.save(path, watch=own | {"clock": asdict(self.clock)})

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote; `DataError` where it is damaged or another model's."""
        own = self.stream.load(path, "watch")["watch"]
        self.rows, self.alarms, self.pending = own["rows"], own["alarms"], own["pending"]
        for name in ("skipped", "unscored", "events"):
            self.counts[name].update(own["counts"][name])
        self.clock = Clock(**own["clock"] | {"step": self.clock.step})
        self.clock.resumed = self.clock.latest is not None
        for name in READER:
            setattr(self.reader, name, own["reader"][name])
        self.reader.header = self.reader.header and Layout(*self.reader.header)
