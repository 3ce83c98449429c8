"""One file of somebody's own (CSV or Parquet) as channels, labels and times."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.labels import to_bits
from lmmoe.data.series import Bits
from lmmoe.data.times import Times, is_date, is_time, read_times
from lmmoe.errors import DataError

LABELS = ("label", "labels", "anomaly", "is_anomaly", "attack")
TIMES = ("time", "timestamp", "date", "datetime")
GAPS = ("", "na", "n/a", "nan", "null", "none")  # cells of a first line that are data all the same
SHOWN = 20  # how many column names a message lists


@dataclass(frozen=True, eq=False)
class Table:
    """A file's columns, sorted by what they are. Axes: t rows (time), c channels.

    ``values`` is ``(t, c)`` with NaN for missing cells; ``channels`` are their names, None where
    the file has no header; ``labels`` is ``(t,)`` of 0/1 and ``times`` ``(t,)``, where there are
    such columns.
    """

    path: Path
    values: npt.NDArray[np.float64]
    channels: tuple[str, ...] | None
    labels: Bits | None
    times: Times | None
    notes: tuple[str, ...]


def read_table(
    path: Path, *, time: str | None, label: str | None, fill: bool, need_label: bool = True
) -> Table:
    """Read a file with channels; `DataError` for a cell that is not a finite number.

    ``time`` and ``label`` name those columns; without a name they are found by `TIMES` and
    `LABELS`. Missing cells are an error too, unless ``fill`` leaves them as NaN for
    `reading.fill_gaps`. A named label column may be absent where ``need_label`` is false.
    """
    frame = _frame(path)
    named = not all(isinstance(column, int) for column in frame.columns)
    times = _take_times(frame, time, path)
    absent_label = label is not None and not need_label and _match(frame, label) is None
    column = None if absent_label else _pick(frame, label, LABELS, "label", path)
    labels = None if column is None else to_bits(frame.pop(column), path)
    notes = _drop_counter(frame, path)
    if not len(frame.columns):
        raise DataError("no channel beside the time and the labels", file=path)
    values = reading.to_numbers(frame, path)
    _check_cells(values, frame.columns, path, fill=fill)
    notes += tuple(
        f"{path.name}: column {name!r} could be labels too, and is kept as a channel"
        for name in frame.columns
        if str(name).lower() in LABELS
    )
    channels = tuple(str(name) for name in frame.columns) if named else None
    return Table(path, values, channels, labels, times, notes)


def read_labels(path: Path, *, time: str | None, label: str | None) -> tuple[Bits, Times | None]:
    """Read a file of labels: the column so named, or the only one beside the time."""
    frame = _frame(path)
    times = _take_times(frame, time if _match(frame, time) is not None else None, path)
    _drop_counter(frame, path)
    if len(frame.columns) == 1:
        return to_bits(frame.iloc[:, 0], path), times
    column = _pick(frame, label, LABELS, "label", path)
    if column is None:
        raise DataError(
            "no label column found",
            file=path,
            hint=f"Name it with label=; columns: {_shown(frame)}",
        )
    return to_bits(frame[column], path), times


def _frame(path: Path) -> pd.DataFrame:
    """The file as it is, names stripped of blanks; `DataError` where it holds no rows."""
    if path.suffix.lower() == ".parquet":
        frame = _parquet(path)
    else:
        first = next((cells for cells in reading.first_rows(path, 5) if any(cells)), [])
        names = [cell.strip() for cell in first if cell.strip()]
        if len(names) == 1 and re.search(r"[;\t]", names[0]):
            raise DataError(
                f"one column, {names[0]!r}", file=path, hint="Separate the cells by commas"
            )
        header = None if _is_data(first) else 0
        if header == 0 and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError("two columns of this name", file=path, column=reading.shown(twice))
        # In a single column a blank line is a missing cell, not the gap between two rows.
        frame = reading.read_frame(
            path, header=header, low_memory=False, skip_blank_lines=len(first) > 1
        )
    if not len(frame):
        raise DataError("no data rows", file=path)
    return frame.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)


def _parquet(path: Path) -> pd.DataFrame:
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
    rest = cells[1:] if is_date(cells[0]) else cells
    if not cells[0].strip() and rest[1:] == [str(number) for number in range(len(rest) - 1)]:
        return False  # the names that pandas gives to unnamed columns, above its row numbers
    return any(_is_value(cell, gaps=()) for cell in rest) and all(map(_is_value, rest))


def _is_value(cell: str, gaps: tuple[str, ...] = GAPS) -> bool:
    text = cell.strip().lower()
    if text in gaps or text in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


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
            hint = f"Columns: {_shown(frame)}"
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


def _take_times(frame: pd.DataFrame, name: str | None, path: Path) -> Times | None:
    """Take the time column out of the frame, in place; None where there is none."""
    column = _pick(frame, name, TIMES, "time", path)
    if column is None and is_time(frame.iloc[:, 0]):
        column = frame.columns[0]
    return None if column is None else read_times(frame.pop(column), path)


def _drop_counter(frame: pd.DataFrame, path: Path) -> tuple[str, ...]:
    """Drop, in place, the row numbers that pandas writes as a first column without a name."""
    if not len(frame.columns) or frame.columns[0] != "Unnamed: 0":
        return ()
    first = frame.iloc[:, 0]
    if first.dtype.kind not in "iu" or not (np.diff(first) == 1).all():
        return ()
    frame.pop("Unnamed: 0")
    return (f"{path.name}: the first column has no name and counts the rows: dropped",)


def _check_cells(
    values: npt.NDArray[np.float64], names: pd.Index, path: Path, *, fill: bool
) -> None:
    """Raise `DataError` for infinite cells, and for missing ones unless they may be filled."""
    tests: tuple[tuple[Callable, str, str], ...] = (
        (np.isinf, "is infinite", "Mend or remove such rows"),
        (np.isnan, "is missing", "missing='fill' repeats the channel's last value"),
    )
    for test, problem, hint in tests[: 1 if fill else 2]:
        bad = np.argwhere(test(values))
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise DataError(
                f"the cell {problem} ({len(bad)} such cells)",
                file=path,
                row=row,
                column=reading.shown(names[column]),
                hint=hint,
            )


def _shown(frame: pd.DataFrame) -> str:
    """The first column names, for a message."""
    names = [str(column) for column in frame.columns]
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
