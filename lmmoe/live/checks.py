"""Options that must be numbers of a kind."""

import math

from lmmoe.errors import DataError


def above_zero(name: str, value: float) -> None:
    """Raise `DataError` unless a number is above 0 and finite."""
    if not 0 < value < math.inf:
        raise DataError(f"{name}={value}: a number above 0 is needed")


def from_one(name: str, value: int) -> None:
    """Raise `DataError` unless a number is 1 or more."""
    if value < 1:
        raise DataError(f"{name}={value}: a whole number from 1 on is needed")
