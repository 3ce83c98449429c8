"""A checksum in a safetensors file: damage to its numbers shows when it is read.

A flipped bit in a weight leaves a file that loads, and scores that are wrong or NaN for hours.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmmoe import paths
from lmmoe.errors import DataError

NAME = "sha256"  # of the entry in the file's metadata


def of(arrays: Mapping[str, np.ndarray], head: Mapping[str, str]) -> str:
    """SHA-256 (FIPS 180-4), in hexadecimal, of the metadata and of the arrays, in name order."""
    digest = hashlib.sha256()
    for name, text in sorted(head.items()):
        if name != NAME:
            digest.update(repr((name, text)).encode())
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check(arrays: Mapping[str, np.ndarray], head: Mapping[str, str], path: str | Path) -> None:
    """Raise `DataError` where the checksum in ``head`` is not that of the contents, or is none."""
    if NAME not in head:
        problem = "no checksum: damaged, or written by an older version"
        raise DataError(problem, file=path, hint="Make the file anew")
    if head[NAME] != of(arrays, head):
        problem = "damaged: the contents do not fit the checksum beside them"
        raise DataError(problem, file=path, hint="Take a copy that is whole, or make the file anew")


def write(path: Path, arrays: Mapping[str, np.ndarray], head: Mapping[str, str]) -> Path:
    """Write arrays and texts with their checksum; the file is complete or not there."""
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with paths.replacing(path) as part:
        save_file(whole, part, metadata={**head, NAME: of(whole, head)})
    return path


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read arrays and texts; `SafetensorError`, `OSError` or `TypeError` for another file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, file.metadata() or {}
