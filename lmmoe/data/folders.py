"""One folder per entity, each half a NumPy file: ASD, and collections of the same form.

ASD is the Application Server Dataset (Li et al., KDD 2021): ``<root>/ASD/<entity>/`` with
``train.npy`` and ``test.npy`` ``(rows, channels)`` and ``test_label.npy`` ``(rows,)``, one row per
5 minutes. Collections kept for EasyTSAD look alike: there ``train_label.npy`` may lie beside them,
and an array ``(rows,)`` is one channel. `lmmoe.data.own` reads those through `read_arrays`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.labels import marked_note, to_bits
from lmmoe.data.series import Series

FOLDER = {"asd": "ASD"}
ROWS_PER_DAY = {"asd": 288}
FILES = {part: f"{part}.npy" for part in ("train", "test", "test_label")}


def entities(name: str, root: Path) -> list[str]:
    """The folders that hold both halves."""
    halves = (FILES["train"], FILES["test"])
    folders = (root / FOLDER[name]).glob("*/")
    return sorted(path.name for path in folders if all((path / half).is_file() for half in halves))


def files(name: str, root: Path, entity: str) -> list[Path]:
    """The three files of an entity, as far as they are there."""
    paths = (root / FOLDER[name] / entity / file for file in FILES.values())
    return [path for path in paths if path.is_file()]


def read(name: str, root: Path, entity: str) -> Series:
    """One entity; for ASD a server, 8640 and 4320 rows of 19 channels. Labels must be there."""
    parts = {part: root / FOLDER[name] / entity / file for part, file in FILES.items()}
    return read_arrays(parts, dataset=name, entity=entity, rows_per_day=ROWS_PER_DAY[name])


def read_arrays(
    parts: Mapping[str, Path],
    *,
    dataset: str,
    entity: str,
    rows_per_day: float | None = None,
    fill: bool = False,
) -> Series:
    """One entity from its arrays.

    ``parts`` names the files: ``train`` and ``test`` ``(rows, channels)`` or ``(rows,)``, and
    where there are any ``test_label`` and ``train_label`` ``(rows,)``. ``fill`` repeats the last
    value over NaN. Raises `DataError` for what `Series.checked` refuses.
    """
    train, train_notes = _half(parts["train"], fill=fill)
    test, test_notes = _half(parts["test"], fill=fill)
    notes = train_notes + test_notes
    if "train_label" in parts:
        marks = to_bits(pd.Series(_vector(parts["train_label"])), parts["train_label"])
        notes += marked_note(marks, len(train), parts["train_label"])
    labels = _vector(parts["test_label"]) if "test_label" in parts else None
    return Series.checked(
        dataset=dataset,
        entity=entity,
        train=train,
        test=test,
        labels=labels,
        rows_per_day=rows_per_day,
        notes=notes,
        files={"train": parts["train"], "test": parts["test"], "labels": parts.get("test_label")},
    )


def _half(path: Path, *, fill: bool) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The array ``(rows, channels)`` and what was mended."""
    values = reading.read_npy(path)
    values = values[:, None] if values.ndim == 1 else values
    if not fill or values.dtype.kind != "f" or values.ndim != 2:
        return values, ()
    values, holes = reading.fill_gaps(values.astype(np.float64))
    return values, reading.filled_note(holes, path)


def _vector(path: Path) -> np.ndarray:
    """Labels ``(rows,)``; a single column is taken as such a vector."""
    values = reading.read_npy(path)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
