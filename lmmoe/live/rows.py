"""Lines of text as rows: CSV with or without a header, or JSON, whatever comes next.

A line that begins with ``{`` is a row by the channels' names, one that begins with ``[`` the
values in the model's order, any other comma-separated cells. Cells stand in the order of the last
header or, before there is one, in the model's; the time may stand before them. A header is a line
without a number or a date that holds a channel's name, or the first one. Columns are
known by their names (those of times and labels are `lmmoe.data.own`'s): one that is no channel is
left out, a channel without one has no values.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.reading import GAPS, LABELS, TIMES

LONGEST = 1_000_000  # bytes of a line; a longer one is no row
TOLD = 20  # changes of columns that are told; more are counted
SHOWN = 100  # characters of a time that are passed on
WORDS = {"true": 1.0, "false": 0.0} | dict.fromkeys(GAPS, math.nan)


class Skipped(ValueError):
    """A line that is no row; ``reason`` is the kind, for counting."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


class Row(NamedTuple):
    """Values ``(c,)``, NaN where missing, and when they were taken.

    ``time`` is a number as it was, or a date in seconds since 1970; None where there is none or it
    cannot be read. ``written`` is what stood there.
    """

    values: npt.NDArray[np.float64]
    time: float | None = None
    written: str | float | None = None


class Reader:
    """Turns lines into rows of ``channels``.

    ``named`` says whether the model knows their names from data. ``time`` names the time column;
    without it, that is ``known_time``, the training rows', or else one of a common name.
    ``pattern`` says how dates are written, where not as in ISO 8601. ``counts`` counts what was
    odd, ``tell`` gets a message about each change of the columns.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        *,
        named: bool = True,
        time: str | None = None,
        known_time: str | None = None,
        pattern: str | None = None,
        counts: Counter[str] | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.channels, self.named, self.tell = channels, named, tell
        self.pattern, self._given = pattern, time is not None
        self._wanted = time or known_time  # None where its loss is nothing to tell
        self.known = frozenset(channels)
        # Names of the time column in small letters, the likeliest first.
        taken = {name.lower() for name in channels}
        common = [known_time.lower()] if known_time else []
        common += [name for name in TIMES if name not in taken]
        self.times = [time.lower()] if time is not None else common
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.lines = 0
        self.header: list[str] | None = None
        self.dates: bool | None = None  # whether times are dates; the first one decides
        self._order: list[int] | None = None  # cell of each channel, -1 without one
        self._time: int | None = None  # cell of the time
        self._only_dates = False  # a time column that was found by its place
        self._names: list[str] = []  # as last seen
        self._columns: list[str] = list(channels)  # those of them that are neither time nor label

    def read(self, line: bytes) -> Row | None:
        """Read a line: None for a header or a blank line; raises `Skipped` for what is no row."""
        if len(line) > LONGEST:
            raise Skipped("line too long", f"more than {LONGEST} bytes")
        text = line.decode("utf-8", errors="replace").strip().removeprefix("\ufeff")
        if not text:
            return None
        self.lines += 1
        if text[0] in "{[":
            return self._from_json(text)
        try:
            cells = next(csv.reader([text])) if '"' in text else text.split(",")
        except csv.Error:  # a cell beyond the module's limit: no number in any case
            cells = text.split(",")
        if self._is_header(cells):
            self.take_header([cell.strip() for cell in cells])
            return None
        if self._order is None:
            return self._by_position(cells)
        if len(cells) != len(self.header):
            detail = f"{len(cells)}, the header has {len(self.header)}"
            raise Skipped("wrong number of cells", detail)
        values = [cells[place] if place >= 0 else None for place in self._order]
        return self._row(values, None if self._time is None else cells[self._time])

    def _from_json(self, text: str) -> Row:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Skipped("not JSON", type(error).__name__) from error
        if isinstance(found, list):
            return self._by_position(found)
        names = list(found)
        place = self._time_place(names)
        if place is None:
            self._lost_time()
        time = None if place is None else names[place]
        self._compare(names, time)
        values = [found.get(name) for name in self.channels]
        return self._row(values, None if time is None else found[time])

    def _by_position(self, cells: list) -> Row:
        """Take cells without names: those of the channels, perhaps a time before them."""
        extra = len(cells) - len(self.channels)
        if extra not in (0, 1):
            detail = f"{len(cells)}, expected {len(self.channels)}, or the time and these"
            raise Skipped("wrong number of cells", detail)
        return self._row(cells[extra:], cells[0] if extra else None)

    def _row(self, cells: list, time: object) -> Row:
        try:
            values = np.array([float(cell) for cell in cells])
        except (TypeError, ValueError, OverflowError):
            found = [number(cell) for cell in cells]
            values = np.array([math.nan if value is None else value for value in found])
            if text := found.count(None):
                self.counts["cells of text"] += text
        if time is None:
            return Row(values)
        when = moment(time, self.pattern)
        written = time[:SHOWN] if isinstance(time, str) else when and when[0]
        if when is None or self.dates not in (None, when[1]) or (self._only_dates and not when[1]):
            self.counts["times not understood"] += 1
            return Row(values, None, written)
        self.dates = when[1]
        return Row(values, when[0], written)

    def _is_header(self, cells: list[str]) -> bool:
        last = number(cells[-1])
        if last is not None and math.isfinite(last):  # nearly all rows: no need to look further
            return False
        words = [word for word in map(str.strip, cells) if word.lower() not in WORDS]
        # A greeting before the rows is no header: there are too few cells in it.
        enough = len(cells) >= max(len(self.channels), 1 + self.named)
        if self.known.isdisjoint(words) and not (self.lines == 1 and enough):
            return False
        dates = (moment(word, self.pattern) for word in words)
        return bool(words) and not any(dates) and all(number(word) is None for word in words)

    def take_header(self, names: list[str], *, compare: bool = True) -> None:
        """Find each channel's cell, and the time's."""
        time = self._time_place(names)
        rest = [n for n, name in enumerate(names) if n != time and name.lower() not in LABELS]
        # As lmmoe.data.own has it: a first column of dates is the time, if no other is named.
        first = time is None and not self._given and rest[:1] == [0] and len(names) > 1
        first = first and names[0] not in self.known
        if time is None and not first:
            self._lost_time()
        self.header, self._time, self._only_dates = names, 0 if first else time, first
        self._order = [names.index(name) if name in names else -1 for name in self.channels]
        if not self.named and self.known.isdisjoint(names):  # of names the model knows nothing
            channels = len(self.channels)
            if len(rest) == channels:
                self._order, self._time = rest, time
                return
            if first and len(rest) == channels + 1:
                self._order = rest[1:]
                return
        if compare:
            self._compare(names, None if self._time is None else names[self._time])

    def _time_place(self, names: list[str]) -> int | None:
        lower = [name.lower() for name in names]
        return next((lower.index(name) for name in self.times if name in lower), None)

    def _lost_time(self) -> None:
        """Tell, once, where a time column should be and is not."""
        if self._wanted is not None:
            without = "rows without times are taken as they come, and gaps are not seen"
            self.tell(f"no column {self._wanted!r} for the times: {without}")
            self._wanted = None

    def _compare(self, names: list[str], time: str | None) -> None:
        """Count and tell which columns are new and which are lost, where this has changed."""
        if names == self._names:
            return
        columns = [name for name in names if name != time and name.lower() not in LABELS]
        old, self._columns, self._names = self._columns, columns, names
        for kind, those in (
            ("new columns", set(columns) - self.known - set(old)),
            ("lost columns", self.known.intersection(old).difference(columns)),
        ):
            if those:
                self.counts[kind] += len(those)
                if self.counts[kind] <= TOLD:
                    self.tell(f"{kind}: {', '.join(sorted(map(repr, those))[:5])}")


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
    text = cell.strip()
    try:
        date = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
    except ValueError:
        return moment(cell) if pattern else None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return date.timestamp(), True
