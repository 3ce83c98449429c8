"""SWaT, the Secure Water Treatment testbed (iTrust, SUTD): tested on made-up files only.

``<root>/SWaT/`` with one CSV file of normal operation and one with attacks, as iTrust hands them
out: ``SWaT_Dataset_Normal_v0.csv`` or ``_v1.csv`` (the highest version that is there is read) and
``SWaT_Dataset_Attack_v0.csv``. A line of groups may stand above the header; names have blanks
around them; the first column is ``Timestamp`` and the last ``Normal/Attack``, with the words
``Normal``, ``Attack`` and, in places, ``A ttack``.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.labels import marked_note
from lmmoe.data.series import Bits, Series
from lmmoe.errors import DataError

FOLDER = "SWaT"
STEMS = ("SWaT_Dataset_Normal", "SWaT_Dataset_Attack")
TIME = "Timestamp"
LABEL = "Normal/Attack"
SUFFIXES = (".csv", ".gz", ".xz")
HEADER_WITHIN = 5  # lines


def entities(name: str, root: Path) -> list[str]:
    """The data set is one entity of its own name."""
    return [name] if len(files(name, root, name)) == len(STEMS) else []


def files(name: str, root: Path, entity: str) -> list[Path]:
    """The two files, of each the highest version."""
    versions = ([*(root / FOLDER).glob(f"{stem}*.csv*")] for stem in STEMS)
    readable = ([path for path in paths if path.suffix in SUFFIXES] for paths in versions)
    return [max(paths) for paths in readable if paths]


def read(name: str, root: Path, entity: str) -> Series:
    """The one series, one row a second. Tested on made-up files only."""
    train_file, test_file = files(name, root, entity)
    train, marks = _table(train_file)
    test, labels = _table(test_file)
    channels = tuple(train.columns)
    reading.check_channels(tuple(test.columns), channels, test_file)
    return Series.checked(
        dataset=name,
        entity=entity,
        train=reading.to_numbers(train, train_file),
        test=reading.to_numbers(test, test_file),
        labels=labels,
        channels=channels,
        rows_per_day=86_400,
        notes=marked_note(marks, len(train), train_file) if marks.any() else (),
        files={"train": train_file, "test": test_file, "labels": test_file},
    )


def _table(path: Path) -> tuple[pd.DataFrame, Bits]:
    """The channels of a file ``(rows, channels)`` and its labels ``(rows,)``."""
    frame = reading.read_frame(path, skiprows=_lines_above_header(path), low_memory=False)
    frame.columns = [str(name).strip() for name in frame.columns]
    if LABEL not in frame:
        raise DataError("no such column", file=path, column=repr(LABEL))
    labels = _bits(frame.pop(LABEL), path)
    return frame.drop(columns=TIME), labels


def _lines_above_header(path: Path) -> int:
    for number, cells in enumerate(reading.first_rows(path, HEADER_WITHIN)):
        if TIME in (cell.strip() for cell in cells):
            return number
    raise DataError(
        f"no column {TIME!r} in the first {HEADER_WITHIN} lines",
        file=path,
        hint="Export the sheet as CSV with its header line",
    )


def _bits(column: pd.Series, path: Path) -> Bits:
    """The words ``(rows,)`` as 0/1, blanks inside them ignored."""
    words = column.astype(str).str.replace(r"\s", "", regex=True).str.lower()
    bad = np.flatnonzero(~words.isin(["normal", "attack"]))
    if len(bad):
        raise DataError(
            f"'{column.iloc[bad[0]]}' is neither 'Normal' nor 'Attack'",
            file=path,
            row=int(bad[0]),
            column=repr(LABEL),
        )
    return (words == "attack").to_numpy(dtype=np.int8)
