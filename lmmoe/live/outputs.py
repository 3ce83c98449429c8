"""Files of models and states: checked places, a checksum inside, complete or not there.

The checksum is SHA-256 (FIPS 180-4) of the arrays and of the metadata in a safetensors file. A
flipped bit in a weight leaves a file that loads, and scores that are wrong for hours.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from lmmoe import paths
from lmmoe.errors import DataError

Arrays = dict[str, np.ndarray]
SUM = "sha256"  # of the entry in the file's metadata
STATE = "lmmoe live state 3"
# What files of ours contain, near one of their ends: what may be replaced.
MARKS = {"state": b"lmmoe live state", "model": b"lmmoe detector", "ONNX file": b"lmmoe onnx"}
LOOK = 1 << 20  # bytes at either end in which a mark is looked for
# What contents that do not fit raise where they are taken back.
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def write(path: str | Path, arrays: Mapping[str, np.ndarray], head: Mapping[str, str]) -> Path:
    """Write arrays and texts with their checksum; the file is replaced in one go."""
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with paths.replacing(Path(path)) as part:
        save_file(whole, part, metadata={**head, SUM: _checksum(whole, head)})
    return Path(path)


def read(path: str | Path, *, checked: bool = True) -> tuple[Arrays, dict[str, str]]:
    """Read arrays and texts; `DataError` where they do not fit their checksum or have none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            head = file.metadata() or {}
    except (SafetensorError, OSError, TypeError) as error:
        raise DataError(f"not readable ({error})", file=path) from error
    if checked and SUM not in head:
        problem = "no checksum: damaged, or written by an older version"
        raise DataError(problem, file=path, hint="Make the file anew")
    if checked and head[SUM] != _checksum(arrays, head):
        problem = "damaged: the contents do not fit the checksum beside them"
        raise DataError(problem, file=path, hint="Take a copy that is whole, or make the file anew")
    return arrays, head


def _checksum(arrays: Mapping[str, np.ndarray], head: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(head.items()):
        if name != SUM:
            digest.update(repr((name, text)).encode())
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_state(path: str | Path, arrays: Arrays, facts: Mapping[str, object]) -> Path:
    """Write what a stream, watch or fleet knows: arrays by name and plain values."""
    return write(path, arrays, {"format": STATE, "facts": json.dumps(facts)})


def read_state(path: str | Path) -> tuple[Arrays, dict[str, object]]:
    """Read what `write_state` wrote; `DataError` for a damaged file or one of another kind."""
    arrays, head = read(path)
    if head.get("format") != STATE:
        problem = f"not a live state, or of another format ({head.get('format')!r})"
        raise DataError(problem, file=path)
    return arrays, json.loads(head["facts"])


def fill(arrays: Arrays, into: Arrays) -> None:
    """Copy arrays into those of the same names; `ValueError` where they are not alike."""
    for name, place in into.items():
        if arrays[name].shape != place.shape or arrays[name].dtype != place.dtype:
            raise ValueError(f"{name} is of shape {arrays[name].shape}, expected {place.shape}")
        place[...] = arrays[name]


def check(path: str | Path, kind: str, *inputs: str | Path | int) -> None:
    """Raise `DataError` unless a file of ``kind`` (one of `MARKS`) can be written to ``path``.

    It cannot where ``path`` is one of ``inputs`` (paths, or numbers of open files), holds anything
    but such a file, or lies where nothing can be written. An empty file may be replaced.
    """
    path = Path(path)
    try:
        if any(_same(path, each) for each in inputs):
            problem = f"read and to be written at once: the {kind} would replace what is read"
            raise DataError(problem, file=path, hint="Name another file")
        if path.exists() and not (path.is_file() and _holds(path, MARKS[kind])):
            hint = "Name another file, or remove this one"
            raise DataError(f"there, and no {kind} of lmmoe: not replaced", file=path, hint=hint)
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        problem = f"the {kind} cannot be written there ({error.strerror or error})"
        raise DataError(problem, file=path, hint="Name another file") from error


def _same(path: Path, other: str | Path | int) -> bool:
    if not isinstance(other, int) and Path(other).resolve() == path.resolve():
        return True
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is not there
        return False


def _holds(path: Path, mark: bytes) -> bool:
    """Whether a file is empty or contains a mark near one of its ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LOOK)
        file.seek(max(size - LOOK, 0))
        return not size or mark in start or mark in file.read(LOOK)
