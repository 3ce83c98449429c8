"""Reading single files; every failure is a `DataError` that names the place."""

import csv
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from lmmoe.data.series import Bits, Floats
from lmmoe.errors import DataError

OPENERS = {".xz": lzma.open, ".gz": gzip.open}  # how a text file may be compressed
DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error, UnicodeDecodeError)
BIT_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def find(path: Path) -> Path | None:
    """The file ``path`` as it is or compressed (``.xz``, ``.gz``); None where there is none."""
    candidates = (path.with_name(path.name + suffix) for suffix in ("", *OPENERS))
    return next((file for file in candidates if file.is_file()), None)


def need(path: Path) -> Path:
    """Like `find`, but a missing file is an error."""
    file = find(path)
    if file is None:
        raise DataError("no such file, plain or as .xz or .gz", file=path)
    return file


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what reading the file ``path`` raises into a `DataError`."""
    try:
        yield
    except pd.errors.EmptyDataError as error:
        raise DataError("the file is empty", file=path) from error
    except (pd.errors.ParserError, csv.Error) as error:
        raise DataError(f"not comma-separated text ({error})".strip(), file=path) from error
    except DAMAGE as error:
        raise DataError(
            f"cannot be read, truncated or damaged ({error})", file=path, hint="Get it again"
        ) from error


def read_frame(
    path: Path, *, header: int | None = 0, skiprows: int = 0, **options: object
) -> pd.DataFrame:
    """Read comma-separated text as `pandas.read_csv` does, plain or compressed.

    ``header`` is 0 where the first line (after ``skiprows`` lines) holds names, None where it does
    not. Rows of unequal length raise as well: pandas pads the short ones without a word, and takes
    the surplus of long ones for row names.
    """
    with naming(path):
        try:
            frame = pd.read_csv(
                path, header=header, skiprows=skiprows, **{"low_memory": False, **options}
            )
        except pd.errors.ParserError:
            _check_even(path, header, skiprows)  # says which row, if that is the reason
            raise
        # A short row leaves its last cell empty, and only where the first row is long pandas takes
        # row names: so the slow look at all rows is seldom needed.
        _check_even(path, header, skiprows, None if frame.iloc[:, -1].isna().any() else 2)
        return frame


def _check_even(path: Path, header: int | None, skiprows: int, count: int | None = None) -> None:
    """Raise where one of ``count`` rows (all: None) has other than the first's number of cells."""
    with _open(path) as file:
        cells = csv.reader(islice(file, skiprows, None))
        rows = (row for row in cells if len(row) > 1 or "".join(row).strip())  # no blank lines
        width = len(next(rows, []))
        for number, row in enumerate(islice(rows, None if count is None else count - 1)):
            if len(row) != width:
                raise DataError(
                    f"rows of unequal length: {len(row)} cells, the first line has {width}",
                    file=path,
                    row=number + (header is None),
                    hint="A short last row means a truncated file",
                )


def first_rows(path: Path, count: int) -> list[list[str]]:
    """The cells of a text file's first ``count`` lines; a blank line has none."""
    with naming(path), _open(path) as file:
        return list(csv.reader(islice(file, count)))


def read_text(path: Path) -> str:
    """The text of a file, plain or compressed."""
    with naming(path), _open(path) as file:
        return file.read()


def _open(path: Path) -> TextIO:
    return OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig")


def read_npy(path: Path) -> np.ndarray:
    """Read a ``.npy`` file; never unpickles."""
    if not path.is_file():
        raise DataError("no such file", file=path)
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, zipfile.BadZipFile, *DAMAGE) as error:
        raise DataError(f"not a readable array ({error})", file=path) from error
    if not isinstance(array, np.ndarray):  # an .npz under another name
        raise DataError("holds several arrays, expected one", file=path, hint="Use numpy.save")
    return array


def to_numbers(frame: pd.DataFrame, path: Path) -> Floats:
    """The frame as numbers ``(rows, columns)``; text and times raise, empty cells become NaN."""
    for name, column in frame.items():
        if column.dtype.kind in "mM":  # pandas would hand over nanoseconds
            raise DataError("holds times, not numbers", file=path, column=shown(name))
        if column.dtype.kind not in "fiub":
            numbers = pd.to_numeric(column, errors="coerce")
            bad = np.flatnonzero(numbers.isna() & column.notna())
            if len(bad):
                raise DataError(
                    f"{column.iloc[bad[0]]!r} is not a number ({len(bad)} such cells)",
                    file=path,
                    row=int(bad[0]),
                    column=shown(name),
                )
    return frame.apply(pd.to_numeric).to_numpy(dtype=np.float64)


def to_bits(column: pd.Series, path: Path) -> Bits:
    """Labels ``(rows,)`` given as 0/1, as true/false or as such text; `DataError` for the rest."""
    bits = column.astype(str).str.strip().str.lower().map(BIT_WORDS)
    bad = np.flatnonzero(bits.isna())
    if len(bad):
        cell = column.iloc[bad[0]]
        problem = "the label is missing" if pd.isna(cell) else f"label {cell} is neither 0 nor 1"
        raise DataError(
            f"{problem} ({len(bad)} such cells)",
            file=path,
            row=int(bad[0]),
            column=None if column.name is None else shown(column.name),
        )
    return bits.to_numpy(dtype=np.int8)


def shown(column: object) -> str:
    """A column for a message: its name in quotes, or its number."""
    return repr(column) if isinstance(column, str) else str(column)


def fill_gaps(values: Floats, place: str) -> tuple[Floats, tuple[str, ...]]:
    """Replace NaN by the channel's last value, at the start by its first; 0 where it has none.

    ``values`` is ``(rows, channels)``. Also gives a note for ``Series.notes`` where there were
    gaps; ``place`` names the file there.
    """
    holes = np.isnan(values)
    if not holes.any():
        return values, ()
    values = pd.DataFrame(values).ffill().bfill().fillna(0.0).to_numpy()
    return values, (f"{place}: {holes.sum()} missing cells filled with the last value",)


def marked_note(marks: Bits, rows: int, path: Path) -> tuple[str, ...]:
    """How many rows of a training half are marked as anomalies, for ``Series.notes``."""
    if len(marks) != rows:
        raise DataError(f"{len(marks)} labels for {rows} training rows", file=path)
    marked = int(marks.sum())
    return (f"{path.name}: {marked} of {rows} training rows are marked as anomalies, all kept",)


def check_channels(channels: tuple[str, ...], expected: tuple[str, ...], path: Path) -> None:
    """Raise `DataError` where a test half has other channels than its training half."""
    if channels == expected:
        return
    lacking = [name for name in expected if name not in channels]
    extra = [name for name in channels if name not in expected]
    problem = "the channels of the training half in another order"
    if lacking or extra:
        named = f"lacking {lacking[:5]}, extra {extra[:5]}"  # of hundreds, some say enough
        problem = f"other channels than the training half ({named})"
    hint = "Both halves must hold the same channels in the same order"
    raise DataError(problem, file=path, hint=hint)
