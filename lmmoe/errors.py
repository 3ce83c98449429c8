"""The one error that bad input raises: what was wrong, where, and what to do."""

from pathlib import Path


class DataError(ValueError):
    """Input that cannot be used.

    The message names the file, the row (from 0, without header lines) and the column (its name, or
    its number from 0) where they are known, and then says what to do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | int | None = None,
        hint: str = "",
    ) -> None:
        place = [str(file)] if file is not None else []
        place += [f"row {row}"] if row is not None else []
        if column is not None:
            place.append(f"column {column!r}" if isinstance(column, str) else f"column {column}")
        message = f"{', '.join(place)}: {problem}" if place else problem
        super().__init__(f"{message}. {hint}" if hint else message)
