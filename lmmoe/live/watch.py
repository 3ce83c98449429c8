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
from lmmoe.live.checks import above_zero, from_one
from lmmoe.live.clock import Clock, Order
from lmmoe.live.model import Model
from lmmoe.live.rows import Reader, Row, Skipped
from lmmoe.live.stream import WARMING_UP, Step, Stream

TOP = 5  # channels that an alarm names
FIRST = 10  # rows, one of which must have a time where times are to be expected
SKIPPED = (Order.REPEATED, Order.LATE, Order.SEEN)
MORE = "more of these are only counted"
ELSEWHERE = ("new columns", "lost columns", "scores without a number")  # told by other means
MENDED = {
    "cells of text": "text in a cell, taken as missing",
    "filled cells": "a cell without a value, for which the channel's last one stands in",
    "infinite cells": "an infinite value, taken as missing",
    "cut cells": "a value too far from the mean, cut",
    "times not understood": "a time that cannot be read, {!r}",
}


class Watch:
    """Reads lines of rows and gives an alarm, as plain values, where one opens.

    ``time`` names the time column, ``step`` is the time from row to row in its unit (seconds for
    dates), by default that of the training rows. ``tell`` gets a sentence for people: the first of
    each kind of odd line, cell, time or gap, changed columns, ends of alarms. Other options:
    `Stream`'s. Raises `DataError` for an option that cannot be used.
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
        from_one("top", top)
        if step is not None:
            above_zero("step", step)
        self.model, self.top, self.tell = model, top, tell
        self.stream = Stream(model, **options)
        facts = model.facts
        known = {"known_time": facts.time, "pattern": facts.pattern} if facts else {}
        named = facts is not None and facts.named
        self.reader = Reader(model.channels, named=named, time=time, tell=tell, **known)
        self._timed = bool(time or step or (facts and facts.step))  # times are to be expected
        self._told: set[str] = set(ELSEWHERE)  # kinds of what is mended
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
        found = self._scored(row) if self._in_order(row) else None
        self._mention(row)
        return found

    def _scored(self, row: Row) -> dict[str, object] | None:
        step = self.stream.step(row.values)
        if self._timed and self.stream.rows == FIRST and self.clock.latest is None:
            self.tell(f"none of the first {FIRST} rows has a time that can be read: no gap is seen")
        if step.why:
            self.unscored[step.why] += 1
            if self.unscored[step.why] == 1 and step.why != WARMING_UP:
                self.tell(f"row {self.rows - 1} has no score: {step.why}; {MORE}")
        if not step.event:
            return None
        return self._opened(row, step) if step.event == "opened" else self._ended(step.event)

    def _mention(self, row: Row) -> None:
        """Tell of what has been mended for the first time."""
        for counts in (self.reader.counts, self.stream.counts):
            for kind, count in counts.items():
                if count and kind not in self._told:
                    self._told.add(kind)
                    what = MENDED.get(kind, kind).format(row.written)
                    self.tell(f"row {self.rows - 1}: {what}; {MORE}")

    def _in_order(self, row: Row) -> bool:
        """Follow the clock; tell whether the row is one to score."""
        if self.clock.latest is None and row.time is not None and self._step is None:
            self.clock.step = self._known_step()
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
            self.tell(f"row {self.rows - 1} skipped: {detail}; {MORE}")

    def _count(self, event: str, detail: str) -> None:
        self.events[event] += 1
        if self.events[event] == 1:
            self.tell(f"row {self.rows - 1}: {event} {detail}; {MORE}")

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
            self._compare_rules(facts["rule"])
        except statefile.UNFIT as error:
            raise DataError(f"the state does not fit a watch ({error})", file=path) from error

    def _compare_rules(self, old: list) -> None:
        """Tell where the state was saved under another threshold."""
        if old != self.stream.rule:
            was, now = (
                f"{word}:{n:g}" if word else f"{n:g}" for word, n, _ in (old, self.stream.rule)
            )
            self.tell(
                f"the state was saved with the threshold {was} ({old[2]:.6g} at the start); "
                f"from now on it is {now} ({self.stream.rule[2]:.6g})"
            )

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
        self.clock.resume()
        reader = kept["reader"]
        if reader["header"] is not None:
            self.reader.tell, tell = _silent, self.reader.tell
            self.reader.take_header([str(name) for name in reader["header"]])
            self.reader.tell = tell
        self.reader.dates = None if reader["dates"] is None else bool(reader["dates"])
        self.reader.lines, self.reader.counts = int(reader["lines"]), _counter(reader["counts"])
        self._told.update(kind for kind, count in self.mended.items() if count)


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
