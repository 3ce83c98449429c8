"""Reading single files: text, Parquet and arrays; every failure is a `DataError`."""

import csv
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.series import GAPS, LABELS, MEND, TIMES, Bits, Floats
from lmmoe.errors import DataError

Times = npt.NDArray[np.datetime64] | npt.NDArray[np.float64] | npt.NDArray[np.int64]

OPENERS = {".xz": lzma.open, ".gz": gzip.open}  # how a text file may be compressed
DAMAGE = (ValueError, OSError, EOFError, csv.Error, lzma.LZMAError, zlib.error, zipfile.BadZipFile)
BIT_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}

# ISO 8601 first; where both fit, the month stands before the day, as pandas has it.
DATES = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
FORMATS = ("ISO8601", *map("".join, product(DATES, CLOCKS)))

# A plain number this large can only be the time since 1970, in this many units a second:
# as seconds 1e8 is the year 1973 and 1e11 the year 5138.
EPOCHS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))


# --- files ---


def find(path: Path) -> Path:
    """The file ``path`` as it is or compressed (.xz, .gz); ``path`` itself where there is none."""
    files = (path.with_name(path.name + suffix) for suffix in ("", *OPENERS))
    return next(filter(Path.is_file, files), path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what reading the file ``path`` raises into a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", file=path) from error
    except pd.errors.EmptyDataError as error:
        raise DataError("the file is empty", file=path) from error
    except DAMAGE as error:  # pyarrow's errors are of these kinds, too
        problem = f"cannot be read, truncated or damaged ({error})"
        raise DataError(problem, file=path, hint="Get it again") from error


def open_text(path: Path) -> TextIO:
    """Open a text file, plain or compressed; wrap it in `naming`."""
    return OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig")


def first_rows(path: Path, count: int) -> list[list[str]]:
    """The cells of a text file's first ``count`` lines; a blank line has none."""
    with naming(path), open_text(path) as file:
        return list(csv.reader(islice(file, count)))


def read_frame(path: Path, *, header: int | None = 0, **options: object) -> pd.DataFrame:
    """Read comma-separated text as `pandas.read_csv` does, but refuse rows of unequal length."""
    failure = None
    with naming(path):
        try:
            frame = pd.read_csv(path, header=header, low_memory=False, **options)
        except pd.errors.ParserError as error:
            failure = error
        # Pandas pads a short row, whose last cell is then empty, and takes the surplus of a long
        # first row for row names: the slow look at all rows is seldom needed.
        count = None if failure or frame.iloc[:, -1].isna().any() else 2
        with open_text(path) as file:
            cells = csv.reader(islice(file, options.get("skiprows", 0), None))
            rows = (row for row in cells if len(row) > 1 or "".join(row).strip())  # no blank lines
            widths = [len(row) for row in islice(rows, count)]
        for number, width in enumerate(widths, start=0 if header is None else -1):
            if width != widths[0]:
                problem = f"rows of unequal length: {width} cells, the first line has {widths[0]}"
                hint = "A short last row means a truncated file"
                raise DataError(problem, file=path, row=number, hint=hint)
        if failure:
            raise failure
    return frame


def read_npy(path: Path) -> np.ndarray:
    """Read a ``.npy`` file; never unpickles."""
    with naming(path):
        array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):  # an .npz under another name
        raise DataError("holds several arrays, expected one", file=path, hint="Use numpy.save")
    return array


# --- cells ---


def refuse(
    bad: npt.ArrayLike, cells: pd.DataFrame | pd.Series, problem: str, path: Path, hint: str = ""
) -> None:
    """Raise `DataError` for the first cell that is ``bad``; ``{}`` in ``problem`` is the cell."""
    places = np.argwhere(bad)
    if len(places):
        row, *number = places[0].tolist()
        column = cells.iloc[:, number[0]] if number else cells
        problem = f"{problem.format(column.iloc[row])} ({len(places)} such cells)"
        raise DataError(problem, file=path, row=row, column=column.name, hint=hint)


def to_numbers(frame: pd.DataFrame, path: Path, *, fill: bool = False) -> Floats:
    """Finite numbers ``(rows, columns)``, or `DataError`; ``fill`` leaves empty cells as NaN."""
    for name in frame.select_dtypes(["datetime", "datetimetz", "timedelta"]):  # else nanoseconds
        raise DataError("holds times, not numbers", file=path, column=name)
    values = frame.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    refuse(np.isnan(values) & frame.notna(), frame, "{!r} is not a number", path)
    bad = np.isinf(values) if fill else ~np.isfinite(values)
    refuse(bad, frame, "{} is not a finite number", path, MEND)
    return values


def to_bits(column: pd.Series, path: Path) -> Bits:
    """Labels ``(rows,)`` given as 0/1, as true/false or as such text; `DataError` for the rest."""
    bits = column.astype(str).str.strip().str.lower().map(BIT_WORDS)
    refuse(bits.isna(), column, "label {} is neither 0 nor 1", path)
    return bits.to_numpy(dtype=np.int8)


def fill_gaps(values: Floats, place: str) -> tuple[Floats, tuple[str, ...]]:
    """Replace NaN by the channel's last value, else its first, else 0; and a note that says so."""
    holes = np.isnan(values)
    if not holes.any():
        return values, ()
    values = pd.DataFrame(values).ffill().bfill().fillna(0.0).to_numpy()
    return values, (f"{place}: {holes.sum()} missing cells filled with the last value",)


def marked_note(marks: Bits, rows: int, path: Path) -> tuple[str, ...]:
    """How many rows of a training half are marked as anomalies, for ``Series.notes``."""
    if len(marks) != rows:
        raise DataError(f"{len(marks)} labels for {rows} training rows", file=path)
    note = f"{path.name}: {marks.sum()} of {rows} training rows are marked as anomalies, all kept"
    return (note,) if marks.any() else ()


# --- tables of somebody's own ---


@dataclass(frozen=True, eq=False)
class Table:
    """A file's columns, sorted by what they are. Axes: t rows (time), c channels.

    What the file does not have is None.
    """

    path: Path
    values: Floats  # (t, c), NaN for missing cells
    channels: tuple[str, ...] | None
    labels: Bits | None = None  # (t,)
    times: Times | None = None  # (t,), in UTC or plain numbers
    rows_per_day: float | None = None  # from the times, where their unit is known
    notes: tuple[str, ...] = ()
    time: str | None = None  # the name of their column
    pattern: str | None = None  # how their dates are written; None for ISO 8601


def read_table(
    path: Path, *, time: str | None, label: str | None, fill: bool, need_label: bool = True
) -> Table:
    """Read a file with channels; ``time`` and ``label`` name columns not in `TIMES`, `LABELS`.

    A named label column may be absent where ``need_label`` is false. Raises `DataError`.
    """
    frame, notes = _read_cells(path)
    times, time, pattern = _take_times(frame, time, path)
    absent = label is not None and not need_label and str(label) not in map(str, frame)
    column = None if absent else _pick(frame, label, LABELS, "label", path)
    labels = None if column is None else to_bits(frame.pop(column), path)
    if not len(frame.columns):
        raise DataError("no channel beside the time and the labels", file=path)
    values, names = to_numbers(frame, path, fill=fill), tuple(map(str, frame))
    kept = "could be labels too, and is kept as a channel"
    notes += [f"{path.name}: column {name!r} {kept}" for name in names if name.lower() in LABELS]
    per_day = None if times is None else _rows_per_day(times)
    channels = names if isinstance(frame.columns[0], str) else None  # numbers without a header
    return Table(path, values, channels, labels, times, per_day, tuple(notes), time, pattern)


def read_labels(path: Path, *, time: str | None, label: str | None) -> tuple[Bits, Times | None]:
    """Read a file of labels: the column so named, or the only one beside the time."""
    frame, _ = _read_cells(path)
    times, _, _ = _take_times(frame, time if str(time) in map(str, frame) else None, path)
    one = len(frame.columns) == 1
    column = frame.columns[0] if one else _pick(frame, label, LABELS, "label", path)
    if column is None:
        raise DataError("no label column found", file=path, hint="Name it with label=")
    return to_bits(frame[column], path), times


def _read_cells(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The file as it is, names stripped of blanks; and a note where row numbers were dropped."""
    if path.suffix.lower() == ".npy":
        array = read_npy(path)
        if array.ndim not in (1, 2):
            raise DataError(f"shape {array.shape}, expected (rows, channels)", file=path)
        frame = pd.DataFrame(array)
    elif path.suffix.lower() == ".parquet":
        with naming(path):
            frame = pd.read_parquet(path).rename(columns=str)
        index = frame.index  # else numbers left over from an earlier selection
        dated = isinstance(index, pd.DatetimeIndex) or index.name is not None
        frame = frame.reset_index(names=index.name or "time", drop=not dated)
    else:
        frame = _read_text(path)
    if frame.empty:
        raise DataError("no data rows", file=path)
    frame = frame.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)
    first = frame.iloc[:, 0]
    if first.name == "Unnamed: 0" and first.dtype.kind in "iu" and (np.diff(first) == 1).all():
        note = f"{path.name}: the first column has no name and counts the rows: dropped"
        return frame.drop(columns=first.name), [note]
    return frame, []


def _read_text(path: Path) -> pd.DataFrame:
    """A table as text, whose first line may hold names."""
    first = next(filter(any, first_rows(path, 5)), [])
    names = [cell.strip() for cell in first if cell.strip()]
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        raise DataError(f"one column, {names[0]!r}", file=path, hint="Separate the cells by commas")
    # Numbers, gaps, true or false are data, after a date perhaps; but not pandas's column numbers.
    rest = first[1:] if first and _is_date(first[0]) else first
    counted = first[:1] == [""] and rest[1:] == [str(number) for number in range(len(rest) - 1)]
    data = any(map(_is_value, rest)) and all(_is_value(cell, GAPS) for cell in rest)
    header = None if data and not counted else 0
    for name in names if header == 0 else ():
        if names.count(name) > 1:
            raise DataError("two columns of this name", file=path, column=name)
    # In a single column a blank line is a missing cell, not the gap between two rows.
    return read_frame(path, header=header, skip_blank_lines=len(first) > 1)


def _is_value(cell: str, gaps: tuple[str, ...] = ()) -> bool:
    text = cell.strip().lower()
    known = (*gaps, "true", "false", "nan")
    return text in known or bool(pd.notna(pd.to_numeric(text, errors="coerce")))


def _pick(
    frame: pd.DataFrame, name: str | None, known: tuple[str, ...], option: str, path: Path
) -> str | int | None:
    """The column ``name``, or the one with a known name; None where there is none of those."""
    if name is None:
        found = [column for column in frame if str(column).lower() in known]
    elif not (found := [column for column in frame if str(column) == str(name)]):
        hint = f"Columns: {', '.join(map(str, frame.columns[:20]))}"
        raise DataError(f"no column {name!r} ({option})", file=path, hint=hint)
    if len(found) > 1:
        problem = f"several columns could be the {option}: {', '.join(found)}"
        raise DataError(problem, file=path, hint=f"Name one with {option}=")
    return found[0] if found else None


# --- times ---


def _take_times(
    frame: pd.DataFrame, name: str | None, path: Path
) -> tuple[Times | None, str | None, str | None]:
    """Take the time column, which must rise, out of the frame: times, name, pattern of `Table`."""
    chosen = _pick(frame, name, TIMES, "time", path)
    if chosen is None:
        chosen = frame.columns[0]
        cell = next(iter(frame[chosen].dropna()), None)
        if not (isinstance(cell, pd.Timestamp) or (isinstance(cell, str) and _is_date(cell))):
            return None, None, None
    column = frame.pop(chosen)
    times, pattern = _parse_times(column)
    hint = "Write times as 2024-01-31 13:45:00, or name another column with time="
    unknown = pd.isna(times) | np.isinf(times.astype(np.float64))
    refuse(unknown, column, "'{}' is not a time", path, hint)
    late = np.append(False, times[1:] <= times[:-1])
    hint = "Sort the rows by time and keep one of each"
    refuse(late, column, "{} is not later than the row before", path, hint)
    return times, chosen if isinstance(chosen, str) else None, pattern


def _parse_times(column: pd.Series) -> tuple[Times, str | None]:
    """The column's times, NaT or NaN where a cell is none, and the format that most texts fit."""
    if column.dtype.kind in "iu" and column.notna().all():
        return column.to_numpy(dtype=np.int64), None  # nanoseconds since 1970 do not fit a float
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan), None
    if column.dtype.kind == "M":
        read = {"ISO8601": pd.to_datetime(column, utc=True)}
    else:
        text = column.astype("string").str.strip()
        formats = next(map(_formats, text.dropna()), None) or ["ISO8601"]
        read = {f: pd.to_datetime(text, format=f, utc=True, errors="coerce") for f in formats}
    best = max(read, key=lambda f: read[f].notna().sum())
    return read[best].dt.tz_convert(None).to_numpy(), None if best == "ISO8601" else best


def _is_date(text: str) -> bool:
    """Whether a text reads as a date in one of the known formats (a bare number does not)."""
    text = text.strip()
    return any(mark in text for mark in "-/.") and not _is_value(text) and bool(_formats(text))


def _formats(text: str) -> list[str]:
    """The formats in which this text is a time."""
    parsed = (pd.to_datetime(text, format=f, utc=True, errors="coerce") for f in FORMATS)
    return [each for each, time in zip(FORMATS, parsed, strict=True) if not pd.isna(time)]


def _rows_per_day(times: Times) -> float | None:
    """How many rows make a day, from the median step; None where the unit is not known."""
    steps, unit = np.diff(times), 1.0
    if times.dtype.kind == "M":
        steps = steps / np.timedelta64(1, "s")
    else:
        unit = next((unit for least, unit in EPOCHS if times[0] >= least), None)
    return float(86_400 * unit / np.median(steps)) if unit and len(steps) else None
