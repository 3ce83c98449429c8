"""Labels as people write them, turned into 0 and 1."""

from pathlib import Path

import numpy as np
import pandas as pd

from lmmoe.data.reading import shown
from lmmoe.data.series import Bits
from lmmoe.errors import DataError

WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def to_bits(column: pd.Series, path: Path) -> Bits:
    """Labels ``(rows,)`` given as 0/1, as true/false or as such text; `DataError` for the rest."""
    words = column.astype(str).str.strip().str.lower()
    bits = words.map(WORDS)
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


def marked_note(marks: Bits, rows: int, path: Path) -> tuple[str, ...]:
    """How many rows of a training half are marked as anomalies, for ``Series.notes``."""
    if len(marks) != rows:
        raise DataError(f"{len(marks)} labels for {rows} training rows", file=path)
    marked = int(marks.sum())
    return (f"{path.name}: {marked} of {rows} training rows are marked as anomalies, all kept",)
