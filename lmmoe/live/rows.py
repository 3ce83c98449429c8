"""Lines of text as rows: CSV with or without a header, or JSON, whatever comes next.

A line that begins with ``{`` is a row by the channels' names, one that begins with ``[`` the
values in the model's order, any other comma-separated cells. Cells stand in the order of the last
header or, before there is one, in the model's; the time may stand before them. A header is a line
without a number or a date that holds a channel's name, or the first one. Columns are
known by their names (those of times and labels are `lmmoe.data.own`'s): one that is no channel is
left out, a channel without one has no values.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.table import LABELS, TIMES
from lmmoe.live import cells

LONGEST = 1_000_000  # bytes of a line; a longer one is no row
TOLD = 20  # changes of columns that are told; more are counted
SHOWN = 100  # characters of a time that are passed on


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
    odd, ``tell`` gets a sentence about each change of the columns.
    """

    def __init__(
        self,
        channels: tuple[str, ...],
        *,
        named: bool = True,
        time: str | None = None,
        known_time: str | None = None,
        pattern: str | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.channels, self.named, self.tell = channels, named, tell
        self.pattern, self._given = pattern, time is not None
        self._wanted = time or known_time  # None where its loss is nothing to tell
        self.times = _time_names(channels, time, known_time)
        self.known = frozenset(channels)
        self.counts: Counter[str] = Counter()
        self.lines = 0
        self.header: list[str] | None = None
        self.dates: bool | None = None  # whether times are dates; the first one decides
        self._order: list[int] | None = None  # cell of each channel, -1 without one
        self._time, self._only_dates = None, False
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
        return self._from_cells(cells.split(text))

    def _from_json(self, text: str) -> Row:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Skipped("not JSON", type(error).__name__) from error
        if isinstance(found, list):
            return self._row(*self._by_position(found))
        names = list(found)
        place = self._time_place(names)
        if place is None:
            self._lost_time()
        self._compare(names, None if place is None else names[place])
        values = [found.get(name) for name in self.channels]
        return self._row(values, None if place is None else found[names[place]])

    def _from_cells(self, found: list[str]) -> Row | None:
        if self._is_header(found):
            self.take_header([cell.strip() for cell in found])
            return None
        if self._order is None:
            return self._row(*self._by_position(found))
        if len(found) != len(self.header):
            detail = f"{len(found)}, the header has {len(self.header)}"
            raise Skipped("wrong number of cells", detail)
        values = [found[place] if place >= 0 else None for place in self._order]
        return self._row(values, None if self._time is None else found[self._time])

    def _by_position(self, found: list) -> tuple[list, object]:
        """Values and time of cells without names."""
        extra = len(found) - len(self.channels)
        if extra not in (0, 1):
            detail = f"{len(found)}, expected {len(self.channels)}, or the time and these"
            raise Skipped("wrong number of cells", detail)
        return found[extra:], found[0] if extra else None

    def _row(self, values: list, time: object) -> Row:
        found, text = cells.numbers(values)
        if text:
            self.counts["cells of text"] += text
        if time is None:
            return Row(found)
        written = time[:SHOWN] if isinstance(time, str) else cells.finite(time)
        when = cells.moment(time, self.pattern)
        if when is None or self.dates not in (None, when[1]) or (self._only_dates and not when[1]):
            self.counts["times not understood"] += 1
            return Row(found, None, written)
        self.dates = when[1]
        return Row(found, when[0], written)

    def _is_header(self, found: list[str]) -> bool:
        if cells.finite(found[-1]) is not None:  # nearly all rows: no need to look further
            return False
        words = [word for word in map(str.strip, found) if word.lower() not in cells.WORDS]
        # A greeting before the rows is no header: there are too few cells in it.
        enough = len(found) >= max(len(self.channels), 1 + self.named)
        if self.known.isdisjoint(words) and not (self.lines == 1 and enough):
            return False
        dates = (cells.date_of(word, self.pattern) for word in words)
        return bool(words) and not any(dates) and all(cells.number(w) is None for w in words)

    def take_header(self, names: list[str]) -> None:
        """Find each channel's cell, and the time's."""
        time = self._time_place(names)
        rest = [n for n, name in enumerate(names) if n != time and name.lower() not in LABELS]
        # As lmmoe.data.own has it: a first column of dates is the time, if no other is named.
        first = (
            time is None
            and not self._given
            and rest[:1] == [0]
            and names[0] not in self.known
            and len(names) > 1
        )
        if time is None and not first:
            self._lost_time()
        self.header, self._time, self._only_dates = names, 0 if first else time, first
        if not self.named and self.known.isdisjoint(names):  # of names the model knows nothing
            if len(rest) == len(self.channels):
                self._order, self._time = rest, time
                return
            if first and len(rest) == len(self.channels) + 1:
                self._order = rest[1:]
                return
        self._order = [names.index(name) if name in names else -1 for name in self.channels]
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
            ("new column", set(columns) - self.known - set(old)),
            ("lost column", self.known.intersection(old).difference(columns)),
        ):
            if those:
                self.counts[f"{kind}s"] += len(those)
                if self.counts[f"{kind}s"] <= TOLD:
                    left = "left out" if kind == "new column" else "its last values stand in"
                    shown = ", ".join(sorted(map(repr, those))[:5])
                    self.tell(f"{kind}: {shown} ({left})")


def _time_names(channels: tuple[str, ...], time: str | None, known: str | None) -> tuple[str, ...]:
    """Names of the time column in small letters, the likeliest first."""
    if time is not None:
        return (time.lower(),)
    taken = {name.lower() for name in channels}
    common = tuple(name for name in TIMES if name not in taken)
    return common if known is None else (known.lower(), *common)
