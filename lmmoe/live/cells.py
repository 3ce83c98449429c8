"""Single cells of a line: numbers, gaps, times."""

import csv
import math
from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from lmmoe.data.table import GAPS

WORDS = {"true": 1.0, "false": 0.0} | dict.fromkeys(GAPS, math.nan)


def split(text: str) -> list[str]:
    """Split a line of comma-separated cells, quoted ones too."""
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text]))
    except csv.Error:  # a cell beyond the module's limit: no number in any case
        return text.split(",")


def number(cell: object) -> float | None:
    """A cell's value, NaN for a gap; None for what is no number."""
    try:
        return float(cell)
    except OverflowError:  # a whole number with hundreds of digits
        return math.inf if cell > 0 else -math.inf
    except (TypeError, ValueError):
        if cell is None:
            return math.nan
        return WORDS.get(cell.strip().lower()) if isinstance(cell, str) else None


def finite(cell: object) -> float | None:
    """A cell's value; None where it is no finite number."""
    found = number(cell)
    return found if found is not None and math.isfinite(found) else None


def numbers(cells: Iterable[object]) -> tuple[npt.NDArray[np.float64], int]:
    """Values ``(c,)`` of cells, NaN where there is none; also count the cells of other text."""
    cells = list(cells)
    try:
        return np.array([float(cell) for cell in cells]), 0
    except (TypeError, ValueError, OverflowError):
        found = [number(cell) for cell in cells]
        text = sum(value is None for value in found)
        return np.array([math.nan if value is None else value for value in found]), text


def moment(cell: object, pattern: str | None = None) -> tuple[float, bool] | None:
    """When a row was taken: a number as it is, or a date as seconds since 1970 (True).

    Dates are ISO 8601, or as ``pattern`` has it (`datetime.strptime`); one without a zone is taken
    as UTC. None for anything else: a date that reads in two ways would put rows in the wrong order
    without a word.
    """
    found = finite(cell)
    if found is not None:
        return found, False
    date = date_of(cell, pattern) if isinstance(cell, str) else None
    return None if date is None else (date.timestamp(), True)


def date_of(text: str, pattern: str | None = None) -> datetime | None:
    """Read a date in ISO 8601, or as ``pattern`` has it; None where it is none."""
    text = text.strip()
    try:
        date = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
    except ValueError:
        return date_of(text) if pattern else None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
