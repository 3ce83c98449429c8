"""One file of somebody's own (CSV or Parquet) as channels, labels and times.

`read_table` is a pipeline: cells, time column, label column, row numbers, numbers. Each step takes
what it knows out of the frame; what is left are the channels.
"""

import re
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.series import Bits, Floats
from lmmoe.errors import DataError

Times = npt.NDArray[np.datetime64] | npt.NDArray[np.float64] | npt.NDArray[np.int64]

LABELS = ("label", "labels", "anomaly", "is_anomaly", "attack")
TIMES = ("time", "timestamp", "date", "datetime")
GAPS = ("", "na", "n/a", "nan", "null", "none")  # cells of a first line that are data all the same
SHOWN = 20  # how many column names a message lists

# ISO 8601 first; where both fit, the month stands before the day, as pandas has it.
DATES = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
FORMATS = ("ISO8601", *(date + clock for date, clock in product(DATES, CLOCKS)))

DAY = 86_400  # seconds
# A plain number this large can only be the time since 1970, in this many units a second:
# as seconds 1e8 is the year 1973 and 1e11 the year 5138.
EPOCHS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))
LEAST_EPOCH = EPOCHS[-1][0]


@dataclass(frozen=True, eq=False)
class Table:
    """A file's columns, sorted by what they are. Axes: t rows (time), c channels.

    ``values`` is ``(t, c)`` with NaN for missing cells; ``channels`` are their names, None where
    the file has no header; ``labels`` is ``(t,)`` of 0/1 and ``times`` ``(t,)``, where there are
    such columns; ``rows_per_day`` follows from the times of the whole file, where their unit is
    known.
    """

    path: Path
    values: Floats
    channels: tuple[str, ...] | None
    labels: Bits | None
    times: Times | None
    rows_per_day: float | None
    notes: tuple[str, ...]

    def rows(self, chosen: slice) -> "Table":
        """The table with some of its rows only; ``rows_per_day`` and ``notes`` stay."""
        given = {name: getattr(self, name) for name in ("values", "labels", "times")}
        return replace(self, **{k: None if v is None else v[chosen] for k, v in given.items()})


def read_table(
    path: Path, *, time: str | None, label: str | None, fill: bool, need_label: bool = True
) -> Table:
    """Read a file with channels; `DataError` for a cell that is not a finite number.

    ``time`` and ``label`` name those columns; without a name they are found by `TIMES` and
    `LABELS`. Missing cells are an error too, unless ``fill`` leaves them as NaN for
    `reading.fill_gaps`. A named label column may be absent where ``need_label`` is false.
    """
    frame = _read_cells(path)
    named = not all(isinstance(column, int) for column in frame.columns)
    times = _take_times(frame, time, path)
    column = None
    if label is None or need_label or _match(frame, label) is not None:
        column = _pick(frame, label, LABELS, "label", path)
    labels = None if column is None else reading.to_bits(frame.pop(column), path)
    notes = _drop_counter(frame, path)
    if not len(frame.columns):
        raise DataError("no channel beside the time and the labels", file=path)
    values = reading.to_numbers(frame, path)
    _refuse(np.isinf(values), frame, path, "is infinite", "Mend or remove such rows")
    if not fill:
        hint = "missing='fill' repeats the channel's last value"
        _refuse(np.isnan(values), frame, path, "is missing", hint)
    notes += tuple(
        f"{path.name}: column {name!r} could be labels too, and is kept as a channel"
        for name in frame.columns
        if str(name).lower() in LABELS
    )
    channels = tuple(str(name) for name in frame.columns) if named else None
    per_day = None if times is None else _rows_per_day(times)
    return Table(path, values, channels, labels, times, per_day, notes)


def read_labels(path: Path, *, time: str | None, label: str | None) -> tuple[Bits, Times | None]:
    """Read a file of labels: the column so named, or the only one beside the time."""
    frame = _read_cells(path)
    times = _take_times(frame, time if _match(frame, time) is not None else None, path)
    _drop_counter(frame, path)
    if len(frame.columns) == 1:
        return reading.to_bits(frame.iloc[:, 0], path), times
    column = _pick(frame, label, LABELS, "label", path)
    if column is None:
        hint = f"Name it with label=; columns: {_listed(frame)}"
        raise DataError("no label column found", file=path, hint=hint)
    return reading.to_bits(frame[column], path), times


# --- cells ---


def _read_cells(path: Path) -> pd.DataFrame:
    """The file as it is, names stripped of blanks; `DataError` where it holds no rows."""
    frame = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not len(frame):
        raise DataError("no data rows", file=path)
    return frame.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)


def _read_csv(path: Path) -> pd.DataFrame:
    first = next((cells for cells in reading.first_rows(path, 5) if any(cells)), [])
    names = [cell.strip() for cell in first if cell.strip()]
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        hint = "Separate the cells by commas"
        raise DataError(f"one column, {names[0]!r}", file=path, hint=hint)
    header = None if _is_data(first) else 0
    if header == 0 and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError("two columns of this name", file=path, column=reading.shown(twice))
    # In a single column a blank line is a missing cell, not the gap between two rows.
    return reading.read_frame(path, header=header, skip_blank_lines=len(first) > 1)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (ValueError, *reading.DAMAGE) as error:  # pyarrow's errors are of these kinds
        raise DataError(f"not a readable Parquet file ({error})", file=path) from error
    frame.columns = [str(name) for name in frame.columns]
    if isinstance(frame.index, pd.DatetimeIndex) or frame.index.name is not None:
        return frame.reset_index(names=frame.index.name or "time")
    return frame.reset_index(drop=True)  # numbers left over from an earlier selection


def _is_data(cells: list[str]) -> bool:
    """Whether a first line holds values: numbers, gaps, true or false, at first perhaps a date."""
    if not cells:
        return False
    rest = cells[1:] if _is_date(cells[0]) else cells
    if not cells[0].strip() and rest[1:] == [str(number) for number in range(len(rest) - 1)]:
        return False  # the names that pandas gives to unnamed columns, above its row numbers
    return any(_is_value(cell) for cell in rest) and all(_is_value(cell, GAPS) for cell in rest)


def _is_value(cell: str, gaps: tuple[str, ...] = ()) -> bool:
    text = cell.strip().lower()
    if text in gaps or text in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- columns ---


def _match(frame: pd.DataFrame, name: str | None) -> str | int | None:
    """The column of this name (of this number where there is no header), None without one."""
    same = (column for column in frame.columns if name is not None and str(column) == str(name))
    return next(same, None)


def _pick(
    frame: pd.DataFrame, name: str | None, known: tuple[str, ...], option: str, path: Path
) -> str | int | None:
    """The column ``name``, or the one with a known name; None where there is none of those."""
    if name is not None:
        column = _match(frame, name)
        if column is None:
            hint = f"Columns: {_listed(frame)}"
            raise DataError(f"no column {name!r} ({option})", file=path, hint=hint)
        return column
    found = [column for column in frame.columns if str(column).lower() in known]
    if len(found) > 1:
        raise DataError(
            f"several columns could be the {option}: {', '.join(found)}",
            file=path,
            hint=f"Name one with {option}=, or take the others out",
        )
    return found[0] if found else None


def _drop_counter(frame: pd.DataFrame, path: Path) -> tuple[str, ...]:
    """Drop, in place, the row numbers that pandas writes as a first column without a name."""
    if not len(frame.columns) or frame.columns[0] != "Unnamed: 0":
        return ()
    first = frame.iloc[:, 0]
    if first.dtype.kind not in "iu" or not (np.diff(first) == 1).all():
        return ()
    frame.pop("Unnamed: 0")
    return (f"{path.name}: the first column has no name and counts the rows: dropped",)


def _refuse(
    bad: npt.NDArray[np.bool_], frame: pd.DataFrame, path: Path, problem: str, hint: str
) -> None:
    """Raise `DataError` for the first of the cells ``bad (t, c)``, if there is one."""
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"the cell {problem} ({bad.sum()} such cells)",
            file=path,
            row=row,
            column=reading.shown(frame.columns[column]),
            hint=hint,
        )


def _listed(frame: pd.DataFrame) -> str:
    """The first column names, for a message."""
    names = [str(column) for column in frame.columns]
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


# --- times ---


def _take_times(frame: pd.DataFrame, name: str | None, path: Path) -> Times | None:
    """Take the time column out of the frame, in place; None where there is none.

    The times ``(t,)`` are in UTC, or plain numbers; `DataError` unless each row is later. Dates are
    ISO 8601, or written with the month or the day first, or with points. Times without a zone are
    taken as UTC.
    """
    chosen = _pick(frame, name, TIMES, "time", path)
    if chosen is None:
        first = frame.iloc[:, 0]
        cells = first.dropna()
        text = len(cells) > 0 and isinstance(cells.iloc[0], str) and _is_date(cells.iloc[0])
        if first.dtype.kind != "M" and not text:
            return None
        chosen = frame.columns[0]
    column = frame.pop(chosen)
    times = _parse_times(column)
    place = {"file": path, "column": reading.shown(column.name)}
    bad = np.flatnonzero(pd.isna(times) | np.isinf(times.astype(np.float64)))
    if len(bad):
        raise DataError(
            f"'{column.iloc[bad[0]]}' is not a time ({len(bad)} such cells)",
            **place,
            row=int(bad[0]),
            hint="Write times as 2024-01-31 13:45:00, or name another column with time=",
        )
    late = np.flatnonzero(times[1:] <= times[:-1])
    if len(late):
        row = int(late[0]) + 1
        what = "repeats the time" if times[row] == times[row - 1] else "is earlier than that"
        raise DataError(
            f"{column.iloc[row]!s} {what} of row {row - 1} ({len(late)} such rows)",
            **place,
            row=row,
            hint="Sort the rows by time and keep one of each",
        )
    return times


def _parse_times(column: pd.Series) -> Times:
    """The column's times, NaT or NaN where a cell is none; text by the format that fits most."""
    if column.dtype.kind == "M":
        zone = getattr(column.dtype, "tz", None)
        return (column if zone is None else column.dt.tz_convert(None)).to_numpy()
    if column.dtype.kind in "iu" and column.notna().all():
        return column.to_numpy(dtype=np.int64)  # nanoseconds since 1970 do not fit a float
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    text = column.astype("string").str.strip()
    filled = text.dropna()
    best = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns, UTC]")
    for each in _formats(filled.iloc[0]) if len(filled) else []:
        times = pd.to_datetime(text, format=each, utc=True, errors="coerce")
        if times.notna().sum() > best.notna().sum():
            best = times
        if best.notna().all():
            break
    return best.dt.tz_convert(None).to_numpy()


def _is_date(text: str) -> bool:
    """Whether a text reads as a date in one of the known formats (a bare number does not)."""
    text = text.strip()
    return any(mark in text for mark in "-/.") and not _is_value(text) and bool(_formats(text))


def _formats(text: str) -> list[str]:
    """The formats in which this text is a time."""
    return [
        each
        for each in FORMATS
        if not pd.isna(pd.to_datetime(text, format=each, utc=True, errors="coerce"))
    ]


def _rows_per_day(times: Times) -> float | None:
    """How many rows make a day, from the median step; None where the unit is not known."""
    if len(times) < 2:
        return None
    if times.dtype.kind == "M":
        return float(DAY / np.median(np.diff(times) / np.timedelta64(1, "s")))
    unit = next((unit for least, unit in EPOCHS if times[0] >= least), None)
    return None if unit is None else float(DAY * unit / np.median(np.diff(times)))
