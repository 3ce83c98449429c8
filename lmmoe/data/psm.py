"""PSM, Pooled Server Metrics (Abdulaal et al., KDD 2021): tested on made-up files only.

``<root>/PSM/`` with ``train.csv``, ``test.csv`` and ``test_label.csv``, each with a header line and
the time in minutes as its first column, which is dropped. The other columns are the channels, or
the one label. The training half has gaps: they are filled, and counted in ``Series.notes``.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmmoe.data import reading
from lmmoe.data.series import Series
from lmmoe.errors import DataError

FOLDER = "PSM"
PARTS = {"train": "train.csv", "test": "test.csv", "labels": "test_label.csv"}


def entities(name: str, root: Path) -> list[str]:
    """The data set is one entity of its own name."""
    return [name] if reading.find(root / FOLDER / PARTS["train"]) else []


def files(name: str, root: Path, entity: str) -> list[Path]:
    """The three files, as far as they are there."""
    paths = (reading.find(root / FOLDER / file) for file in PARTS.values())
    return [path for path in paths if path is not None]


def read(name: str, root: Path, entity: str) -> Series:
    """The one series, one row a minute. Tested on made-up files only."""
    found = {part: reading.need(root / FOLDER / file) for part, file in PARTS.items()}
    train, channels, notes = _half(found["train"])
    test, test_channels, test_notes = _half(found["test"])
    reading.check_channels(test_channels, channels, found["test"])
    labels, columns = _table(found["labels"])
    if len(columns) != 1:
        raise DataError(f"{len(columns)} columns beside the time, not 1", file=found["labels"])
    return Series.checked(
        dataset=name,
        entity=entity,
        train=train,
        test=test,
        labels=labels[:, 0],
        channels=channels,
        rows_per_day=1440,
        notes=notes + test_notes,
        files=found,
    )


def _table(path: Path) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The numbers ``(rows, columns)`` after the first column, and the columns' names."""
    frame = reading.read_frame(path, low_memory=False).iloc[:, 1:]
    return reading.to_numbers(frame, path), tuple(str(name).strip() for name in frame.columns)


def _half(path: Path) -> tuple[npt.NDArray[np.float64], tuple[str, ...], tuple[str, ...]]:
    """One half ``(rows, channels)`` without gaps, the channels, and a note where there were any."""
    values, channels = _table(path)
    values, holes = reading.fill_gaps(values)
    return values, channels, reading.filled_note(holes, path)
