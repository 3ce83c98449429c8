"""What a table's time column is called and how its dates are written, for the watch to know."""

from pathlib import Path

import numpy as np
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.table import FORMATS, TIMES, Table
from lmmoe.live import cells


def of(table: Table, time: str | None = None) -> dict[str, str]:
    """Give ``time`` and ``pattern``, as in `lmmoe.live.Facts`, as far as they are known.

    ``time`` is the name that the user gave, if any. The pattern is the one in which all cells read
    as the times that `lmmoe.data` made of them; none is needed for ISO 8601.
    """
    if table.times is None:
        return {}
    names = _names(table.path)
    place = _place(names, table, time)
    found = {} if place is None or table.channels is None else {"time": names[place]}
    if table.path.suffix.lower() != ".parquet" and table.times.dtype.kind == "M":
        pattern = _pattern(table, place or 0)
        found |= {} if pattern is None else {"pattern": pattern}
    return found


def _names(path: Path) -> list[str]:
    if path.suffix.lower() == ".parquet":
        from pyarrow.parquet import read_schema

        return [str(name) for name in read_schema(path).names]
    first = next((row for row in reading.first_rows(path, 5) if any(row)), [])
    return [name.strip() for name in first]


def _place(names: list[str], table: Table, time: str | None) -> int | None:
    """The number of the time column, found as `lmmoe.data.table` finds it."""
    if time is not None:
        numbered = table.channels is None and time.isdigit() and int(time) < len(names)
        return names.index(time) if time in names else int(time) if numbered else None
    known = (place for place, name in enumerate(names) if name.lower() in TIMES)
    first = 0 if names and names[0] not in (table.channels or ()) else None
    return next(known, first)


def _pattern(table: Table, place: int) -> str | None:
    header = None if table.channels is None else 0
    frame = reading.read_frame(table.path, header=header, usecols=[place], dtype=str)
    text = frame.iloc[:, 0].str.strip()
    if not isinstance(text.iloc[0], str) or cells.date_of(text.iloc[0]) is not None:
        return None
    for each in FORMATS[1:]:  # the first is ISO 8601
        first = pd.to_datetime(text.iloc[:1], format=each, utc=True, errors="coerce")
        if first.isna().any():
            continue
        read = pd.to_datetime(text, format=each, utc=True, errors="coerce").dt.tz_convert(None)
        if np.array_equal(read.to_numpy(), table.times):
            return each
    return None
