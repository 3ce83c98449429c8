"""Lines in, alarms out: a stream with its reader and its clock, and all that can go wrong counted.

`lmmoe.live.run` lets it watch a pipe.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lmmoe.errors import DataError
from lmmoe.live import statefile
from lmmoe.live.clock import Clock, Order
from lmmoe.live.model import Model
from lmmoe.live.rows import Reader, Row, Skipped
from lmmoe.live.stream import Step, Stream

TOP = 5  # channels that an alarm names
SKIPPED = (Order.REPEATED, Order.LATE)


class Watch:
    """Reads lines of rows and gives an alarm, as plain values, where one opens.

    ``time`` names the time column, ``step`` is the time from row to row in its unit (seconds for
    dates), by default that of the training rows. ``tell`` gets a sentence for people: the first of
    each kind of odd line, changed columns, gaps, ends of alarms. Other options: `Stream`'s.
    """

    def __init__(
        self,
        model: Model,
        *,
        time: str | None = None,
        step: float | None = None,
        top: int = TOP,
        tell: Callable[[str], None] = print,
        **options: object,
    ) -> None:
        self.model, self.top, self.tell = model, top, tell
        self.stream = Stream(model, **options)
        named = model.facts is not None and model.facts.named
        self.reader = Reader(model.channels, named=named, time=time, tell=tell)
        self.clock, self._step = Clock(step), step
        self.rows = self.alarms = 0
        self.skipped: Counter[str] = Counter()  # rows by reason
        self.unscored: Counter[str] = Counter()  # rows by reason
        self.events: Counter[str] = Counter()  # gaps and the like
        self.pending: list[str] = []  # alarms, as lines, that nobody has taken yet

    def feed(self, line: bytes) -> dict[str, object] | None:
        """Take the next line; give the alarm that opens with it, if one does."""
        try:
            row = self.reader.read(line)
        except Skipped as skipped:
            self.rows += 1
            self._skip(skipped.reason, str(skipped))
            return None
        if row is None:
            return None
        self.rows += 1
        if not self._in_order(row):
            return None
        step = self.stream.step(row.values)
        if step.why:
            self.unscored[step.why] += 1
        if not step.event:
            return None
        return self._opened(row, step) if step.event == "opened" else self._ended(step.event)

    def _in_order(self, row: Row) -> bool:
        """Follow the clock; tell whether the row is one to score."""
        if self.clock.latest is None and row.time is not None and self._step is None:
            facts = self.model.facts
            self.clock.step = facts.step if facts and facts.dates == self.reader.dates else None
        order, missing = self.clock.look(row.time)
        if order is Order.NEXT:
            return True
        if order in SKIPPED:
            self._skip(order.value, f"{order.value}, at {row.written}")
            return False
        self._count(order.value, f"before {row.written}, {missing} rows missing")
        if order is Order.BRIDGED:
            self.stream.bridge(missing)
            return True
        if self.stream.alarm.open:
            self._ended("gap")
        self.stream.restart()
        return True

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
        alarm = self.stream.alarm
        size = f"rows {alarm.last - alarm.first + 1}, highest score {alarm.peak:.6g}"
        self.tell(f"row {self.rows - 1}: the alarm {ENDS[how]} ({size})")

    def _skip(self, reason: str, detail: str) -> None:
        self.skipped[reason] += 1
        if self.skipped[reason] == 1:
            self.tell(f"row {self.rows - 1} skipped: {detail}; more of these are only counted")

    def _count(self, event: str, detail: str) -> None:
        self.events[event] += 1
        if self.events[event] == 1:
            self.tell(f"row {self.rows - 1}: {event} {detail}; more of these are only counted")

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return self.rows - self.skipped.total() - self.unscored.total()

    @property
    def mended(self) -> Counter[str]:
        """Cells and columns that were not as they should be, by kind."""
        return self.reader.counts + self.stream.counts

    def report(self) -> list[str]:
        """Say in a few lines what came by."""
        lines = [f"rows {self.rows}, scored {self.scored}, alarms {self.alarms}"]
        for title in ("skipped", "unscored", "mended", "events"):
            counts: Counter[str] = getattr(self, title)
            if counts.total():
                parts = (f"{kind} {count}" for kind, count in counts.most_common() if count)
                lines.append(f"{title}: {', '.join(parts)}")
        return lines

    def save(self, path: str | Path) -> Path:
        """Write all that the next lines depend on besides model and options, as one file."""
        arrays, facts = self.stream.state()
        return statefile.write(path, arrays, facts | {"watch": self._state()})

    def _state(self) -> dict[str, object]:
        own = {name: getattr(self, name) for name in (*COUNTS, *COUNTERS, "pending")}
        reader = {"header": self.reader.header, "dates": self.reader.dates}
        reader |= {"lines": self.reader.lines, "counts": self.reader.counts}
        return own | {"clock": asdict(self.clock), "reader": reader}

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote; `DataError` where it is damaged or another model's.

        After an error, make another watch: this one may have taken a part.
        """
        arrays, facts = statefile.read(path)
        self.stream.restore(arrays, facts)
        try:
            self._restore(facts["watch"])
        except statefile.UNFIT as error:
            raise DataError(f"the state does not fit a watch ({error})", file=path) from error

    def _restore(self, kept: dict[str, object]) -> None:
        for name in COUNTS:
            setattr(self, name, int(kept[name]))
        for name in COUNTERS:
            setattr(self, name, _counter(kept[name]))
        self.pending = [json.dumps(json.loads(line)) for line in kept["pending"]]
        clock = Clock(**kept["clock"])
        clock.look(clock.latest)  # raises where its numbers are none
        self.clock = Clock(**kept["clock"])
        self.clock.step = self._step or self.clock.step
        reader = kept["reader"]
        if reader["header"] is not None:
            self.reader.tell, tell = _silent, self.reader.tell
            self.reader.take_header([str(name) for name in reader["header"]])
            self.reader.tell = tell
        self.reader.dates = None if reader["dates"] is None else bool(reader["dates"])
        self.reader.lines, self.reader.counts = int(reader["lines"]), _counter(reader["counts"])


ENDS = {
    "ended": "has ended",
    "gap": "ends with the gap",
    "accepted": "ends: its level is the normal one from now on",
}
COUNTS = ("rows", "alarms")
COUNTERS = ("skipped", "unscored", "events")


def _counter(counts: dict[str, int]) -> Counter[str]:
    return Counter({str(name): int(count) for name, count in counts.items()})


def _silent(text: str) -> None:
    """What a header said has been told before."""
