"""Files to write: nobody's data may be replaced, and a bad place must show before the work."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from lmmoe.errors import DataError

# What files of ours contain, near one of their ends: what may be replaced.
MARKS = {"state": b"lmmoe live state", "model": b"lmmoe detector", "ONNX file": b"lmmoe onnx"}
LOOK = 1 << 20  # bytes at either end in which a mark is looked for


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
        if path.is_dir():
            raise DataError("a folder", file=path, hint=f"Name a file for the {kind}")
        if path.exists() and not (path.is_file() and _may_be_replaced(path, MARKS[kind])):
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


def _may_be_replaced(path: Path, mark: bytes) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LOOK)
        file.seek(max(size - LOOK, 0))
        return not size or mark in start or mark in file.read(LOOK)
