"""Reading single files, with errors that name the place."""

import csv
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.errors import DataError

SUFFIXES = ("", ".xz", ".gz")  # how a text file may be compressed
DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error, UnicodeDecodeError)


def find(path: Path) -> Path | None:
    """The file ``path`` as it is or compressed (``.xz``, ``.gz``); None where there is none."""
    candidates = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
    return next((file for file in candidates if file.is_file()), None)


def need(path: Path) -> Path:
    """Like `find`, but a missing file is an error."""
    file = find(path)
    if file is None:
        raise DataError("no such file, plain or as .xz or .gz", file=path)
    return file


def read_frame(
    path: Path, *, header: int | None = 0, skiprows: int = 0, **options: object
) -> pd.DataFrame:
    """Read comma-separated text as `pandas.read_csv` does, but every failure is a `DataError`.

    ``header`` is 0 where the first line (after ``skiprows`` lines) holds names, None where it does
    not. Rows of unequal length raise as well: pandas pads the short ones without a word, and takes
    the surplus of long ones for row names.
    """
    try:
        try:
            frame = pd.read_csv(path, header=header, skiprows=skiprows, **options)
        except pd.errors.ParserError as error:
            _check_even(path, header, skiprows)
            raise DataError(f"not comma-separated text ({error})".strip(), file=path) from error
        # A short row leaves its last cell empty, and only where the first row is long pandas takes
        # row names: so the slow look at all rows is seldom needed.
        _check_even(path, header, skiprows, None if frame.iloc[:, -1].isna().any() else 2)
        return frame
    except pd.errors.EmptyDataError as error:
        raise DataError("the file is empty", file=path) from error
    except DAMAGE as error:
        raise DataError(
            f"cannot be read, truncated or damaged ({error})", file=path, hint="Get it again"
        ) from error


def first_rows(path: Path, count: int) -> list[list[str]]:
    """The cells of a text file's first ``count`` lines; a blank line has none."""
    try:
        with _open(path) as file:
            return list(csv.reader(islice(file, count)))
    except (csv.Error, *DAMAGE) as error:
        raise DataError(f"cannot be read ({error})", file=path, hint="Get it again") from error


def _open(path: Path) -> TextIO:
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix.lower(), open)
    return opener(path, "rt", encoding="utf-8-sig")


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    # Blank lines are skipped, as pandas does.
    return (cells for cells in csv.reader(lines) if len(cells) > 1 or "".join(cells).strip())


def _check_even(path: Path, header: int | None, skiprows: int, count: int | None = None) -> None:
    """Raise where one of ``count`` rows (all: None) has other than the first's number of cells."""
    with _open(path) as file:
        rows = islice(_rows(islice(file, skiprows, None)), count)
        try:
            width = len(next(rows, []))
            for row, cells in enumerate(rows, start=1 if header is None else 0):
                if len(cells) != width:
                    raise DataError(
                        f"rows of unequal length: {len(cells)} cells, the first line has {width}",
                        file=path,
                        row=row,
                        hint="A short last row means a truncated file",
                    )
        except csv.Error as error:
            raise DataError(f"not comma-separated text ({error})", file=path) from error


def read_matrix(path: Path) -> npt.NDArray[np.float64]:
    """Read comma-separated numbers without a header, ``(rows, columns)``."""
    frame = read_frame(path, header=None, low_memory=False)
    return to_numbers(frame, path)


def to_numbers(frame: pd.DataFrame, path: Path) -> npt.NDArray[np.float64]:
    """The frame as numbers ``(rows, columns)``; text and times raise, empty cells become NaN."""
    for name, column in frame.items():
        place = shown(name)
        if column.dtype.kind in "mM":  # pandas would hand over nanoseconds
            raise DataError("holds times, not numbers", file=path, column=place)
        if column.dtype.kind not in "fiub":
            numbers = pd.to_numeric(column, errors="coerce")
            bad = np.flatnonzero(numbers.isna() & column.notna())
            if len(bad):
                raise DataError(
                    f"{column.iloc[bad[0]]!r} is not a number ({len(bad)} such cells)",
                    file=path,
                    row=int(bad[0]),
                    column=place,
                )
    return frame.apply(pd.to_numeric).to_numpy(dtype=np.float64)


def shown(column: object) -> str:
    """A column for a message: its name in quotes, or its number."""
    return repr(column) if isinstance(column, str) else str(column)


def read_text(path: Path) -> str:
    """The text of a file, plain or compressed."""
    try:
        with _open(path) as file:
            return file.read()
    except DAMAGE as error:
        raise DataError(f"cannot be read ({error})", file=path, hint="Get it again") from error


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


def fill_gaps(
    values: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], int]:
    """Replace NaN by the channel's last value (at the start by its first); also count them.

    A channel without any value becomes 0. Axes: ``(rows, channels)``.
    """
    holes = np.isnan(values)
    if holes.any():
        values = pd.DataFrame(values).ffill().bfill().fillna(0.0).to_numpy()
    return values, int(holes.sum())


def filled_note(holes: int, path: Path, part: str = "") -> tuple[str, ...]:
    """What `fill_gaps` did in a file or ``part`` of it, for ``Series.notes``; none without gaps."""
    place = f"{path.name}, {part}" if part else path.name
    return (f"{place}: {holes} missing cells filled with the last value",) if holes else ()


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
