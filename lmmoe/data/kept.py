"""Series kept in a binary form, so that the same text is not parsed twice.

One file per entity and set of options in the folder ``data`` of `lmmoe.paths.cache`: safetensors,
the halves and labels as arrays, the rest as JSON in the header; nothing is pickled. These files are
copies: whatever is wrong with one, the source is read again, and no reader need know of them.

A kept series counts only while what it came from is the same: the code of the readers, and of each
source file the size, the time of the last change (mtime), the inode, and the time at which the
system last saw it change (ctime). A program can set the mtime, and ``cp -p`` or ``rsync -t`` does;
it cannot set the ctime. Two changes within one step of the clock would leave the ctime alone: so a
file that changed less than `SETTLED` seconds ago is read, but not kept yet.

Files are read whole. A mapped file would be there in a tenth of the time, but its pages would count
as memory of whichever detector first touches them, and a checksum must see all of them anyway.
"""

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np

from lmmoe import paths
from lmmoe.data.series import Cause, Series

WORTH = 100_000  # bytes of text or Parquet; less is parsed in a few milliseconds
SETTLED = 2.0  # seconds: the coarsest step of a file system's clock in use, FAT's
FOLD = 4099  # words: a prime, so that no two blocks of a disk fall on the same place


def series(read: Callable[[], Series], sources: Sequence[Path], *identity: object) -> Series:
    """Give what ``read`` gives: kept from an earlier time if it still holds, else read and kept.

    ``sources`` are all files that ``read`` looks at; ``identity`` tells apart what is read from the
    same files (entity, options). Raises what ``read`` raises. A folder that cannot be written to
    costs speed only.
    """
    try:
        if sum(path.stat().st_size for path in sources if path.suffix != ".npy") < WORTH:
            return read()
        origin, settled = _origin(sources), _settled(sources)
    except OSError:
        return read()  # which says what is wrong with the files
    key = hashlib.sha256(repr((identity, [name for name, *_ in origin["files"]])).encode())
    file = paths.cache() / "data" / f"{key.hexdigest()[:16]}.safetensors"
    found = _load(file, origin)
    if found is None:
        found = read()
        with suppress(OSError):
            if settled and _origin(sources) == origin:  # else it was changed while it was read
                _save(found, file, origin)
    return found


def _origin(sources: Sequence[Path]) -> dict[str, object]:
    """Say what a kept series depends on, in JSON's types."""
    files = []
    for path in map(Path.resolve, sources):
        stat = path.stat()
        files.append([str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])
    return {"code": _code(), "files": files}


def _settled(sources: Sequence[Path]) -> bool:
    return time.time() - max(path.stat().st_ctime for path in sources) >= SETTLED


@cache
def _code() -> str:
    """Key of all readers' code, and of the packages that parse for them."""
    import pandas as pd

    digest = hashlib.sha256(f"numpy {np.__version__} pandas {pd.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _save(made: Series, file: Path, origin: dict[str, object]) -> None:
    from safetensors.numpy import save_file

    given = {field.name: getattr(made, field.name) for field in fields(Series)}
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    rest = {name: value for name, value in given.items() if name not in arrays}
    text = json.dumps({"origin": origin, "series": rest})
    head = {"text": text, "checksum": _checksum(text, arrays)}
    with paths.replacing(file) as part:
        save_file(arrays, part, metadata=head)


def _load(file: Path, origin: dict[str, object]) -> Series | None:
    """Read a kept series; None where there is none, or an outdated or damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as kept:
            head = kept.metadata() or {}
            given = json.loads(head["text"])
            if given["origin"] != origin:
                return None
            arrays = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return None
    if head.get("checksum") != _checksum(head["text"], arrays):
        return None
    for array in arrays.values():
        array.flags.writeable = False
    rest = given["series"]
    if rest["causes"] is not None:
        rest["causes"] = tuple(Cause(a, b, tuple(channels)) for a, b, channels in rest["causes"])
    rest |= {name: tuple(rest[name]) for name in ("channels", "notes")}
    return Series(**{"labels": None} | rest | arrays)  # checked before it was kept


def _checksum(text: str, arrays: dict[str, np.ndarray]) -> str:
    """CRC-32 of all that is kept, the arrays folded; in text, as safetensors wants its header."""
    value = zlib.crc32(text.encode())
    for name in sorted(arrays):
        for part in (name.encode(), *_folded(arrays[name])):
            value = zlib.crc32(part, value)
    return f"{value:08x}"


def _folded(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exclusive or of an array's rows of `FOLD` words of 64 bits, and the bytes after the last row.

    A CRC of a whole recording would take several times as long as reading it. One damaged stretch
    that is shorter than a row always changes this, and blocks of a disk that change places do.
    """
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    end = len(flat) // (8 * FOLD) * (8 * FOLD)
    rows = flat[:end].view(np.uint64).reshape(-1, FOLD)
    return np.bitwise_xor.reduce(rows, axis=0), flat[end:]
