"""Time columns: are they in order, and how many rows make a day."""

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.reading import shown
from lmmoe.errors import DataError

Times = npt.NDArray[np.datetime64] | npt.NDArray[np.float64] | npt.NDArray[np.int64]

# ISO 8601 first; where both fit, the month stands before the day, as pandas has it.
DATES = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
FORMATS = ("ISO8601", *(date + clock for date, clock in product(DATES, CLOCKS)))

DAY = 86_400  # seconds
# A plain number this large can only be the time since 1970, in this many units a second:
# as seconds 1e8 is the year 1973 and 1e11 the year 5138.
EPOCHS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))


def is_time(column: pd.Series) -> bool:
    """Whether a column holds times: such values, or text whose first cell reads as a date."""
    if column.dtype.kind == "M":
        return True
    cells = column.dropna()
    return len(cells) > 0 and isinstance(cells.iloc[0], str) and is_date(cells.iloc[0])


def is_date(text: str) -> bool:
    """Whether a text reads as a date in one of the known formats (a bare number does not)."""
    text = text.strip()
    return any(mark in text for mark in "-/.") and not _is_number(text) and bool(_formats(text))


def read_times(column: pd.Series, path: Path) -> Times:
    """The times ``(rows,)`` in UTC, or plain numbers; `DataError` unless each row is later.

    Dates are ISO 8601, or written with the month or the day first, or with points. Times without a
    zone are taken as UTC.
    """
    times = _values(column)
    bad = np.flatnonzero(pd.isna(times) | np.isinf(times.astype(np.float64)))
    if len(bad):
        raise DataError(
            f"'{column.iloc[bad[0]]}' is not a time ({len(bad)} such cells)",
            file=path,
            row=int(bad[0]),
            column=shown(column.name),
            hint="Write times as 2024-01-31 13:45:00, or name another column with time=",
        )
    late = np.flatnonzero(times[1:] <= times[:-1])
    if len(late):
        row = int(late[0]) + 1
        what = "repeats the time" if times[row] == times[row - 1] else "is earlier than that"
        raise DataError(
            f"{column.iloc[row]!s} {what} of row {row - 1} ({len(late)} such rows)",
            file=path,
            row=row,
            column=shown(column.name),
            hint="Sort the rows by time and keep one of each",
        )
    return times


def rows_per_day(times: Times) -> float | None:
    """How many rows make a day, from the median step; None where the unit is not known."""
    if len(times) < 2:
        return None
    if times.dtype.kind == "M":
        return float(DAY / np.median(np.diff(times) / np.timedelta64(1, "s")))
    unit = next((unit for least, unit in EPOCHS if times[0] >= least), None)
    return None if unit is None else float(DAY * unit / np.median(np.diff(times)))


def _values(column: pd.Series) -> Times:
    """The column's values, NaT or NaN where a cell is not a time."""
    if column.dtype.kind == "M":
        zone = getattr(column.dtype, "tz", None)
        return (column if zone is None else column.dt.tz_convert(None)).to_numpy()
    if column.dtype.kind in "iu" and column.notna().all():
        return column.to_numpy(dtype=np.int64)  # nanoseconds since 1970 do not fit a float
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return _parse(column).dt.tz_convert(None).to_numpy()


def _parse(column: pd.Series) -> pd.Series:
    """Text as times in UTC, in the format that fits most cells; NaT where it does not fit."""
    text = column.astype("string").str.strip()
    filled = text.dropna()
    best = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns, UTC]")
    for each in _formats(filled.iloc[0]) if len(filled) else []:
        times = pd.to_datetime(text, format=each, utc=True, errors="coerce")
        if times.notna().sum() > best.notna().sum():
            best = times
        if best.notna().all():
            break
    return best


def _formats(text: str) -> list[str]:
    """The formats in which this text is a time."""
    return [
        each
        for each in FORMATS
        if not pd.isna(pd.to_datetime(text, format=each, utc=True, errors="coerce"))
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
