"""Lines in, alarms out: a stream with its reader and its clock, and all that can go wrong counted.

`lmmoe.live.pipe` lets a watch read a pipe.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from lmmoe.errors import DataError
from lmmoe.live import outputs
from lmmoe.live.model import Model
from lmmoe.live.rows import Reader, Row, Skipped
from lmmoe.live.stream import WARMING_UP, Step, Stream

BRIDGE = 3  # missing rows in a row that are filled with the last values; our choice
PATIENCE = 5  # late rows in rising order after which the clock is taken to have been set back
FIRST = 10  # rows, one of which must have a time where times are to be expected


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
    again: bool = False  # the latest row was seen before the restart

    def look(self, time: float | None) -> tuple[Order, int]:
        """Judge a row's time; also give the number of rows missing before it.

        A row without a time is taken to be the next one, and is not missing later on; among rows
        that were seen before a restart, up to `PATIENCE` in a row are taken to be such as well.
        """
        if time is None:
            self.untimed += 1
            seen = self.again and self.untimed <= PATIENCE
            return (Order.SEEN if seen else Order.NEXT), 0
        if self.latest is None or time > self.latest:
            missing = self._missing(time)
            self._take(time)
            if missing > BRIDGE:
                return Order.GAP, missing
            return (Order.BRIDGED if missing else Order.NEXT), missing
        if self.resumed and time >= self.first:
            self.again, self.untimed = True, 0
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
        self.resumed = self.again = False

    def _missing(self, time: float) -> int:
        if self.latest is None or not self.step:
            return 0
        # Half a step early or late is still the next row; the bound keeps the count an integer.
        away = round(min(max((time - self.latest) / self.step - 1, 0.0), 1e9))
        return max(away - self.untimed, 0)


class Watch:
    """Reads lines of rows and gives an alarm, as plain values, where one opens.

    ``time`` names the time column, ``step`` is the time from row to row in its unit (seconds for
    dates), by default that of the training rows. ``top`` channels are named by an alarm. ``tell``
    gets messages for the operator: the first of each kind of odd line, cell, time or gap, changed
    columns, ends of alarms. Other options: `Stream`'s. Raises `DataError` for an option that cannot
    be used.

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
        if top < 1:
            raise DataError(f"top={top}: a whole number from 1 on is needed")
        if step is not None and not 0 < step < math.inf:
            raise DataError(f"step={step}: a number above 0 is needed")
        self.model, self.top, self.tell = model, top, tell
        self.stream = Stream(model, **options)
        self.counts = {name: Counter() for name in ("skipped", "unscored", "events")}
        self.counts["mended"] = self.stream.counts
        facts = model.facts
        known = {"known_time": facts.time, "pattern": facts.pattern} if facts else {}
        known |= {"named": facts is not None and facts.named, "counts": self.stream.counts}
        self.reader = Reader(model.channels, time=time, tell=tell, **known)
        self._timed = bool(time or step or (facts and facts.step))  # times are to be expected
        self._told = {"new columns", "lost columns"}  # kinds of what is mended
        self.clock, self._step = Clock(step), step
        self.rows = self.alarms = 0
        self.pending: list[str] = []  # alarms, as lines, that nobody has taken yet

    def feed(self, line: bytes) -> dict[str, object] | None:
        """Take the next line; give the alarm that opens with it, if one does."""
        try:
            row = self.reader.read(line)
        except Skipped as skipped:
            self.rows += 1
            self._count("skipped", skipped.reason, str(skipped))
            return None
        if row is None:
            return None
        self.rows += 1
        alarm = self._scored(row) if self._in_order(row) else None
        for kind in self.counts["mended"].keys() - self._told:
            self._told.add(kind)
            self._say(f"{kind}, at {row.written}; more of these are only counted")
        return alarm

    def _in_order(self, row: Row) -> bool:
        """Follow the clock; tell whether the row is one to score."""
        if self.clock.latest is None and row.time is not None and self._step is None:
            self.clock.step = self._known_step()
        order, missing = self.clock.look(row.time)
        if order in (Order.REPEATED, Order.LATE, Order.SEEN):
            self._count("skipped", order.value, f"{order}, at {row.written}")
            return False
        if order is not Order.NEXT:
            self._count(
                "events", order.value, f"{order}, {missing} rows missing before {row.written}"
            )
        if order is Order.BRIDGED:
            self.stream.bridge(missing)
        elif order in (Order.GAP, Order.SET_BACK):
            if self.stream.alarm.open:
                self._ended("gap")
            self.stream.restart()
        return True

    def _known_step(self) -> float | None:
        """The training rows' step, if it is in the unit of these times; tell where it is not."""
        facts = self.model.facts
        if facts is None or facts.step is None:
            return None
        if facts.dates == self.reader.dates:
            return facts.step
        here, there = ("dates", "numbers") if self.reader.dates else ("numbers", "dates")
        self.tell(
            f"times are {here}, those of the training rows were {there}: gaps are not seen "
            "unless step (--step) gives the time from row to row"
        )
        return None

    def _scored(self, row: Row) -> dict[str, object] | None:
        step = self.stream.step(row.values)
        if self._timed and self.stream.rows == FIRST and self.clock.latest is None:
            self.tell(f"none of the first {FIRST} rows has a time that can be read: no gap is seen")
        if step.why == WARMING_UP:
            self.counts["unscored"][step.why] += 1
        elif step.why:
            self._count("unscored", step.why, f"no score, {step.why}")
        if step.event == "opened":
            return self._opened(row, step)
        if step.event:
            self._ended(step.event)
        return None

    def _opened(self, row: Row, step: Step) -> dict[str, object]:
        self.alarms += 1
        return {
            "time": row.written,
            "row": self.rows - 1,
            "score": step.score,
            "threshold": self.stream.alarm.threshold,
            "detector": self.model.detector.name,
            "channels": self.stream.explain(step, self.top),
        }

    def _ended(self, how: str) -> None:
        alarm, why = self.stream.alarm, "" if how == "ended" else f" ({how})"
        rows = alarm.last - alarm.first + 1
        self._say(f"the alarm has ended{why}: rows {rows}, highest score {alarm.peak:.6g}")

    def _count(self, name: str, kind: str, detail: str) -> None:
        """Count an odd row, and tell of the first of its kind."""
        self.counts[name][kind] += 1
        if self.counts[name][kind] == 1:
            self._say(f"{detail}; more of these are only counted")

    def _say(self, text: str) -> None:
        self.tell(f"row {self.rows - 1}: {text}")

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return self.rows - self.counts["skipped"].total() - self.counts["unscored"].total()

    def report(self) -> dict[str, object]:
        """Give the counts, as plain values."""
        counts = {name: dict(kinds) for name, kinds in self.counts.items() if kinds}
        return {"rows": self.rows, "scored": self.scored, "alarms": self.alarms} | counts

    def save(self, path: str | Path) -> Path:
        """Write all that the next lines depend on besides model and options, as one file."""
        arrays, facts = self.stream.state()
        reader = {name: getattr(self.reader, name) for name in ("header", "dates", "lines")}
        own = {"rows": self.rows, "alarms": self.alarms, "pending": self.pending}
        own |= {"counts": self.counts, "clock": asdict(self.clock), "reader": reader}
        return outputs.write_state(path, arrays, facts | {"watch": own})

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote; `DataError` where it is damaged or another model's.

        After an error, make another watch: this one may have taken a part.
        """
        arrays, facts = outputs.read_state(path)
        self.stream.restore(arrays, facts)
        try:
            own = facts["watch"]
            self.rows, self.alarms, self.pending = own["rows"], own["alarms"], own["pending"]
            for name in ("skipped", "unscored", "events"):
                self.counts[name].update(own["counts"][name])
            self._told.update(self.stream.counts)
            self.clock = Clock(**own["clock"])
            self.clock.step = self._step or self.clock.step
            self.clock.resumed, self.clock.again = self.clock.latest is not None, False
            self.reader.dates, self.reader.lines = own["reader"]["dates"], own["reader"]["lines"]
            if own["reader"]["header"] is not None:
                self.reader.take_header(own["reader"]["header"], compare=False)
        except outputs.UNFIT as error:
            raise DataError(f"the state does not fit a watch ({error})", file=path) from error
        old, now = facts["rule"], self.stream.rule
        if old != now:
            self.tell(
                f"the state was saved with the threshold {old[2]:.6g}, now it is {now[2]:.6g}"
            )
