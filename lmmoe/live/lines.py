"""Lines as rows, and what their times say."""

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import GAPS, LABELS, TIMES
from lmmoe.live.model import Model

LONGEST = 1_000_000  # bytes of a line; a longer one is no row
SHOWN = 100  # characters of a time or a name that are passed on
WORDS = {"true": 1.0, "false": 0.0} | dict.fromkeys(GAPS, math.nan)
BRIDGE = 3  # missing rows in a row in whose place the last values pass; our choice
PATIENCE = 5  # late rows in rising order after which the clock is taken to have been set back
SPANS = 64  # of times that a clock remembers
PACE = 1.05  # by how much a row changes what is known of the time from row to row
ODD_PACE = (0.55, 1.8)  # shares of the training rows' step at which a watch speaks up


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
    """Splits lines into cells, and finds the names of their columns.

    A line that begins with ``{`` is a row by names, any other comma-separated cells under the last
    header. A header is a line without a number or a date that holds most of the names ``known``
    (the channels; with a ``key`` this or, later, the last header's names), or the first one of at
    least ``least`` cells.
    """

    def __init__(self, model: Model | None, key: str | None) -> None:
        self.key, self.named = key, model is None or model.facts.named
        self.known = frozenset([key] if key else model.channels)
        self.least = math.inf if key else max(len(self.known), 1 + self.named)
        self.pattern = model and model.facts.pattern
        self.lines, self.header = 0, None

    def read(self, line: bytes) -> tuple[list[str] | None, list] | None:
        """Give names and cells; None for a header or a blank line; raises `Skipped`."""
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
            for part in ("tags", "fields"):  # Telegraf's
                if isinstance(found.get(part), dict):
                    found |= found.pop(part)
            return list(found), list(found.values())
        try:
            cells = next(csv.reader([text]))
        except csv.Error as error:
            raise Skipped("not CSV", str(error)) from error
        if not self._is_header(cells):
            return self.header, cells
        names = [cell.strip() for cell in cells]
        if self.named or not self.known.isdisjoint(names):  # else the model knows of no names
            self.header = names
        return None

    def _is_header(self, cells: list[str]) -> bool:
        last = number(cells[-1])
        if last is not None and math.isfinite(last):  # nearly all rows: no need to look further
            return False
        words = [word for word in map(str.strip, cells) if word.lower() not in WORDS]
        if not words or any(moment(one, self.pattern) or number(one) is not None for one in words):
            return False
        # A greeting before the rows is no header: there are too few cells in it.
        first = self.lines == 1 and len(cells) >= self.least
        known = frozenset(self.header) if self.key and self.header else self.known
        return first or 2 * len(known.intersection(words)) > len(known)


class Columns:
    """Takes a model's channels and the time from cells; ``counts`` counts what was odd.

    Columns are known by their names: one that is no channel is left out, a channel without one has
    no values. Without names, cells stand in the model's order, perhaps after the time. The time
    column is named as in the training rows, or has a common name.
    """

    def __init__(self, model: Model, key: str | None, counts: Counter[str]) -> None:
        facts, self.channels, self.counts = model.facts, model.channels, counts
        self.known, self.columns = frozenset(self.channels), list(self.channels)
        self.pattern, self.key = facts.pattern, key
        # Names of the time column in small letters, the likeliest first.
        self.times = [facts.time.lower()] if facts.time else []
        self.times += [name for name in TIMES if name not in map(str.lower, self.channels)]
        self.changed: dict[str, list[str]] = {}  # columns, by the latest header or object
        # Whether times are dates; if not known, the first decides.
        self.dates: bool | None = facts.dates if facts.step else None
        self.layout: Layout | None = None  # of the latest row with names

    def row(self, names: list[str] | None, cells: list) -> Row:
        """Take a row; raises `Skipped` for a wrong number of cells."""
        layout = self.layout
        if names is None:
            first = int(len(cells) != len(self.channels))
            names = [*[""] * first, *self.channels]
            layout = Layout(names, list(range(first, len(names))), 0 if first else None)
        elif layout is None or (names is not layout.names and names != layout.names):
            layout = self.layout = self._layout(names)
        if len(cells) != len(layout.names):
            detail = f"{len(cells)}, expected {len(layout.names)}"
            raise Skipped("wrong number of cells", detail)
        time = None if layout.time is None else cells[layout.time]
        cells = [*cells, None]  # for channels without a place
        cells = [cells[place] for place in layout.places]
        try:
            values = np.array([float(cell) for cell in cells])
        except (TypeError, ValueError, OverflowError):
            found = [number(cell) for cell in cells]
            values = np.array(found, dtype=np.float64)
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

    def _layout(self, names: list[str]) -> Layout:
        """Find the cells of channels and time; count the columns that have changed."""
        lower = [name.lower() for name in names]
        time = next((lower.index(name) for name in self.times if name in lower), None)
        others = [*LABELS, *([] if time is None else [lower[time]])]
        columns = {name for name in names if name.lower() not in others and name != self.key}
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
    as UTC. None for anything else, as for a date that reads in two ways.
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
    """Follows the rows' times, which are numbers in one unit."""

    step: float | None = None  # from row to row; where it is not known, gaps are not seen
    latest: float | None = None
    mark: int | None = None  # tells the latest row with a time from others
    spans: list[list[float]] = field(default_factory=list)  # times of rows; the last one grows
    pace: float = 0.0  # about the median of the times from row to row
    behind: float = math.inf  # the last late row
    late: int = 0  # late rows in rising order
    untimed: int = 0  # rows without a time since the latest one with
    resumed: bool = False  # after a restart, until a row is new

    def resume(self) -> None:
        """Expect rows that were sent before."""
        self.resumed, self.late, self.behind = self.latest is not None, 0, math.inf

    def look(self, time: float | None, mark: int = 0) -> tuple[Order, int]:
        """Judge a row's time; also give the number of rows missing before it.

        A row without a time is the next one, and is not missing later on. After a restart, a time
        at which rows were taken was seen, until the latest row comes again, known by its ``mark``:
        where a clock was wrong, new rows may have the times of old ones.
        """
        if time is None:
            self.untimed += 1
            return Order.NEXT, 0
        if self.resumed and self._known(time):
            self.resumed, self.late = (time, mark) != (self.latest, self.mark), 0
            return Order.SEEN, 0
        if self.latest is None or time > self.latest:
            missing, apart = 0, False
            if self.latest is not None:
                passed = time - self.latest
                self.pace = self.pace or self.step or passed
                apart = passed > (BRIDGE + 2) * self.pace * (self.untimed + 1)
                self.pace *= PACE if passed > self.pace else 1 / PACE
                if self.step:
                    # Half a step early or late is still the next row; the bound makes an integer.
                    away = round(min(max(passed / self.step - 1, 0.0), 1e9))
                    missing = max(away - self.untimed, 0)
            order = Order.GAP if missing > BRIDGE else Order.BRIDGED if missing else Order.NEXT
            self._take(time, mark, apart=apart)
            return order, missing
        if time == self.latest:
            return Order.REPEATED, 0
        self.late = self.late + 1 if time > self.behind else 1
        self.behind = time
        if self.late < PATIENCE:
            if not self._known(time):
                self._keep([time, time], len(self.spans) - 1)
            return Order.LATE, 0
        self._take(time, mark, apart=True)
        return Order.SET_BACK, 0

    @property
    def odd_pace(self) -> bool:
        """Whether rows come at half or twice the interval of the training rows."""
        return bool(self.step and self.pace) and not (
            ODD_PACE[0] * self.step < self.pace < ODD_PACE[1] * self.step
        )

    def _take(self, time: float, mark: int, *, apart: bool) -> None:
        self.latest, self.late, self.behind, self.untimed = time, 0, math.inf, 0
        self.resumed, self.mark = False, mark
        if self.spans and not apart:
            self.spans[-1][1] = time
        else:
            self._keep([time, time], len(self.spans))

    def _known(self, time: float) -> bool:
        return any(first <= time <= last for first, last in self.spans)

    def _keep(self, span: list[float], place: int) -> None:
        """Keep a span; of too many, the two with the smallest hole between become one."""
        self.spans.insert(place, span)
        if len(self.spans) > SPANS:
            old = sorted(self.spans[:-1])
            holes = [after[0] - before[1] for before, after in pairwise(old)]
            at = holes.index(min(holes))
            last = max(old[at][1], old[at + 1][1])
            self.spans[:-1] = [*old[:at], [old[at][0], last], *old[at + 2 :]]
