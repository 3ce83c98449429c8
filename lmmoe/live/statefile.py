"""What a stream knows, as a file: safetensors with JSON in the header, complete or not there."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmmoe.errors import DataError
from lmmoe.live import checksum

FORMAT = "lmmoe live state 2"
Arrays = dict[str, np.ndarray]
# What contents that do not fit raise where they are taken back.
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def write(path: str | Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> Path:
    """Write arrays by name and plain values; the file is replaced in one go.

    Their checksum is in it (`lmmoe.live.checksum`).
    """
    head = {"format": FORMAT, "facts": json.dumps(facts)}
    return checksum.write(Path(path), arrays, head)


def read(path: str | Path) -> tuple[Arrays, dict[str, object]]:
    """Read what `write` wrote; `DataError` for a damaged file or one of another kind."""
    from safetensors import SafetensorError

    try:
        arrays, head = checksum.read(path)
        if head.get("format") != FORMAT:
            problem = f"not a live state, or of another format ({head.get('format')!r})"
            raise DataError(problem, file=path)
        checksum.check(arrays, head, path)
        facts = json.loads(head["facts"])
    except (SafetensorError, OSError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"not a readable state ({error})", file=path) from error
    if not isinstance(facts, dict):
        raise DataError("not a readable state (its facts are no names with values)", file=path)
    return arrays, facts


def fill(arrays: Arrays, into: Arrays) -> None:
    """Copy arrays into those of the same names; `ValueError` where they are not alike."""
    for name, place in into.items():
        given = arrays[name]
        if given.shape != place.shape or given.dtype != place.dtype:
            raise ValueError(f"{name}: {given.dtype} {given.shape}, expected {place.shape}")
        # NaN stands for "none yet" where something is carried on, and nowhere else.
        if name != "carry" and not np.isfinite(given).all():
            raise ValueError(f"{name}: not all are finite numbers")
        place[...] = given
