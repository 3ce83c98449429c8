"""Lines as rows of values, each with its time."""

import csv
import json
import math
import re
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import GAPS, TIMES

if TYPE_CHECKING:
    from lmmoe.live.model import Facts, Model

LONGEST = 1_000_000  # bytes of a line; a longer one is no row
SHOWN = 100  # characters of a time or a name that are passed on
WORDS = {"true": 1.0, "false": 0.0} | dict.fromkeys(GAPS, math.nan)
UNNAMED = "\0"  # column of times, where no column has a name


class Skipped(ValueError):
    """A line that is no row: the kind, for counting, and a detail."""


class Row(NamedTuple):
    """Values ``(c,)``, NaN where missing, and when they were taken."""

    values: npt.NDArray[np.float64]
    time: float | None = None  # a number as it was, or a date in seconds since 1970
    written: str | float | None = None  # what stood there


class Reader:
    """Splits lines into cells by the names of their columns.

    A line that begins with ``{`` has names itself, any other has comma-separated cells: under the
    last header or, without one, of the model's channels, perhaps after the time (`UNNAMED`). A
    header is a line without a number or a date with most of the names ``known`` (the channels; with
    a ``key`` this, later the last header's), or the first one of at least ``least`` cells.
    """

    def __init__(self, model: "Model | None", key: str | None) -> None:
        self.key, self.named = key, model is None or model.facts.named
        self.bare = [] if model is None else [UNNAMED, *model.channels]
        self.known = frozenset(self.bare[1:] or [key])
        self.least = math.inf if key else max(len(self.known), 1 + self.named)
        self.pattern = model and model.facts.pattern
        self.lines, self.header = 0, None

    def read(self, line: bytes) -> dict[str, object] | None:
        """Give cells by name; None for a header or a blank line; raises `Skipped`."""
        if len(line) > LONGEST:
            raise Skipped("line too long", f"more than {LONGEST} bytes")
        text = line.decode("utf-8", errors="replace").strip().removeprefix("\ufeff")
        if not text:
            return None
        self.lines += 1
        if text[0] == "{":
            return _object(text)
        try:
            cells = next(csv.reader([text]))
        except csv.Error as error:
            raise Skipped("not CSV", str(error)) from error
        if self._is_header(cells):
            names = [cell.strip() for cell in cells]
            if self.named or not self.known.isdisjoint(names):  # else the model knows of no names
                self.header = names
            return None
        names = self.header or self.bare[len(cells) < len(self.bare) :]
        if len(cells) != len(names):
            detail = f"{len(cells)}, expected {len(names) or 'a header first'}"
            raise Skipped("wrong number of cells", detail)
        return dict(zip(names, cells, strict=True))

    def _is_header(self, cells: list[str]) -> bool:
        last = number(cells[-1])
        if last is not None and math.isfinite(last):  # nearly all rows: no need to look further
            return False
        words = [word for word in map(str.strip, cells) if word.lower() not in WORDS]
        if not words or any(moment(one, self.pattern) or number(one) is not None for one in words):
            return False
        first = self.lines == 1 and len(cells) >= self.least  # fewer may greet
        known = frozenset(self.header) if self.key and self.header else self.known
        return first or 2 * len(known.intersection(words)) > len(known)


def _object(text: str) -> dict[str, object]:
    """Read a row by names."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Skipped("not JSON", type(error).__name__) from error
    for part in ("tags", "fields"):  # Telegraf's
        if isinstance(found.get(part), dict):
            found |= found.pop(part)
    return found


class Columns:
    """Takes the values of a model's channels and the time from cells by name.

    Cells of other names are left out; a channel without one has no value. The time column is named
    as in the training rows, or has a common name.
    """

    def __init__(self, facts: "Facts") -> None:
        self.channels = facts.channels
        taken = {*map(str.lower, self.channels)}
        # Names of the time column in small letters, the likeliest first.
        self.times = [facts.time.lower()] if facts.time else []
        self.times += [name for name in (UNNAMED, *TIMES) if name not in taken]
        self.pattern, self.dates = facts.pattern, facts.dates if facts.step else None
        # Of the latest row: its names, that of the time, and channels that have none.
        self.names, self.time, self.lost = [], None, []

    def row(self, cells: dict[str, object], counts: Counter[str]) -> Row:
        """Take a row; ``counts`` counts what was odd."""
        if self.names != (names := list(cells)):
            lower = {name.lower(): name for name in reversed(names)}
            self.names, self.lost = names, [name for name in self.channels if name not in cells]
            self.time = next((lower[name] for name in self.times if name in lower), None)
        if self.lost:
            counts["lost columns"] += len(self.lost)
        taken = [cells.get(name) for name in self.channels]
        try:
            values = np.array([float(cell) for cell in taken])
        except (TypeError, ValueError, OverflowError):
            found = [number(cell) for cell in taken]
            values = np.array(found, dtype=np.float64)
            counts += {"cells of text": found.count(None)}
        time = cells.get(self.time)
        if time is None:
            return Row(values)
        seconds, date = moment(time, self.pattern) or (None, None)
        written = time[:SHOWN] if isinstance(time, str) else seconds
        if date is None or self.dates not in (None, date):
            counts["times not understood"] += 1
            seconds = None
        return Row(values, seconds, written)


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
    for form in dict.fromkeys([pattern, None, ""]) if isinstance(cell, str) else ():
        with suppress(ValueError):  # "": as pandas reads dates, where nothing else does
            text = cell.strip() if form is None else re.sub(r"(\.\d{6})\d+", r"\1", cell.strip())
            text = re.sub(r"(?<![\d.,])\d(?!\d)", r"0\g<0>", text) if form == "" else text
            date = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), True
    return None
