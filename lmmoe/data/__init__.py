"""Readers: the layouts that people have on disk, each turned into `Series`.

Every reader is a module beside this one with two functions:

- ``find(name, root) -> {entity: {part: path}}``: which entities of the data set ``name`` are there,
  none where the folder is missing, and the files that hold each of them;
- ``read(parts, *, dataset, entity, **reading) -> Series``: one of them from its files.
"""

import hashlib
import inspect
import json
import os
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

from lmmoe import paths
from lmmoe.data.series import Cause, Series, showcase
from lmmoe.errors import DataError

__all__ = [
    "DATASETS",
    "Cause",
    "Series",
    "check_options",
    "data_root",
    "entities",
    "files",
    "load",
    "missing_hint",
    "showcase",
]

# Which module reads which data set; any other name is a path to somebody's own folder.
DATASETS = {
    "smd": "smd",
    "asd": "folders",
    "smap": "telemanom",
    "msl": "telemanom",
    "psm": "folders",
    "swat": "folders",
    "synthetic": "synthetic",
}
WORTH = 100_000  # bytes of text or Parquet; less is parsed in a few milliseconds
ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error)
SETTLED = 2.0  # seconds: the coarsest step of a file system's clock in use, FAT's


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data sets: ``root``, else ``LMMOE_DATA``, else the user's cache."""
    given = root or os.environ.get("LMMOE_DATA")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lmmoe"))


def load(name: str, entity: str, root: str | Path | None = None, **reading: object) -> Series:
    """Read one entity of a data set.

    ``name`` is a key of `DATASETS`, or a path to a folder of one's own: `lmmoe.data.own` tells the
    layouts and the options that go into ``reading``. ``root`` is the folder that holds the data
    sets, see `data_root`. What was parsed once is kept in the cache, see `_kept`. Raises
    `DataError` where something is missing or bad.
    """
    check_options(name, reading)
    reader, folder = _reader(name), data_root(root)
    found = reader.find(name, folder)
    if entity not in found:
        present = ", ".join(sorted(found, key=_natural))
        raise DataError(
            f"no entity {entity!r} of {name!r} here",
            file=folder if name in DATASETS else None,
            hint=f"Present: {present}" if present else missing_hint(name),
        )
    parts = found[entity]
    dataset = name if name in DATASETS else Path(name).expanduser().resolve().name
    return _kept(
        lambda: reader.read(parts, dataset=dataset, entity=entity, **reading),
        [path for path in parts.values() if path.is_file()],
        (dataset, entity, sorted(reading.items())),
    )


def entities(name: str, root: str | Path | None = None) -> list[str]:
    """The entities of a data set that are present, in natural order (machine-1-2 before 1-10).

    Raises `DataError` for a name that is neither in `DATASETS` nor a folder.
    """
    return sorted(_reader(name).find(name, data_root(root)), key=_natural)


def files(name: str, entity: str, root: str | Path | None = None) -> list[Path]:
    """The files that hold one entity, none for generated data; raises as `entities` does."""
    parts = _reader(name).find(name, data_root(root)).get(entity, {})
    return [path for path in parts.values() if path.is_file()]


def missing_hint(name: str) -> str:
    """What to do where a data set is not there."""
    if name == "smd":
        return "Run 'python -m lmmoe fetch smd', or set LMMOE_DATA to the folder that holds it"
    if name not in DATASETS:
        return "The folder holds none of the layouts that lmmoe.data.own describes"
    return "Set LMMOE_DATA to the folder that holds it; 'python -m lmmoe data' lists layouts"


def check_options(name: str, given: Mapping[str, object]) -> None:
    """Raise `DataError` for an option that the reader of a data set does not have."""
    module = import_module(f"lmmoe.data.{DATASETS.get(name, 'own')}")
    parameters = inspect.signature(module.read).parameters
    known = [key for key in parameters if key not in ("parts", "dataset", "entity")]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise DataError(
            f"no option {unknown[0]!r} for reading {name!r}",
            hint=f"Options: {', '.join(known)}" if known else "This data set has no options",
        )


def _reader(name: str) -> ModuleType:
    if name not in DATASETS and not Path(name).expanduser().is_dir():
        raise DataError(
            f"{name!r} is neither a known data set nor a folder",
            hint=f"Known: {', '.join(DATASETS)}; or give the path of a folder with your own data",
        )
    return import_module(f"lmmoe.data.{DATASETS.get(name, 'own')}")


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


# --- series kept in a binary form, so that the same text is not parsed twice ---


def _kept(read: Callable[[], Series], sources: Sequence[Path], identity: tuple) -> Series:
    """Give what ``read`` gives: a copy from an earlier time if it still holds, else read and kept.

    ``sources`` are all files that ``read`` looks at; ``identity`` tells apart what is read from the
    same files (entity, options). The copy is an ``.npz`` file in the folder ``data`` of
    `lmmoe.paths.cache`; the zip's checksums are checked when it is read, and a damaged, outdated or
    unwritable one costs speed only. It counts while `_origin` is the same. Two changes within one
    step of the file system's clock would leave that alone: so a file that changed less than
    `SETTLED` seconds ago is read, but not kept yet.
    """
    if sum(path.stat().st_size for path in sources if path.suffix != ".npy") < WORTH:
        return read()
    key = hashlib.sha256(repr((identity, [path.resolve() for path in sources])).encode())
    file = paths.cache() / "data" / f"{key.hexdigest()[:16]}.npz"
    origin = _origin(sources)
    found = _restored(file, origin)
    if found is None:
        found = read()
        values = {field.name: getattr(found, field.name) for field in fields(Series)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        rest = {name: value for name, value in values.items() if name not in arrays}
        with suppress(OSError):
            changed = max(path.stat().st_ctime for path in sources)
            if time.time() - changed >= SETTLED and _origin(sources) == origin:
                with paths.replacing(file) as part:
                    np.savez(part, **arrays, origin=origin, rest=json.dumps(rest))
    return found


def _origin(sources: Sequence[Path]) -> str:
    """What a copy depends on: the readers' code, and the state of each source file.

    The state is size, time of the last change (mtime), inode, and the time at which the system last
    saw it change (ctime). ``cp -p`` and ``rsync -t`` set the mtime; no program can set the ctime.
    """
    digest = hashlib.sha256(f"numpy {version('numpy')} pandas {version('pandas')}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for path in sources:
        stat = path.stat()
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        digest.update(repr(state).encode())
    return digest.hexdigest()


def _restored(file: Path, origin: str) -> Series | None:
    """Read a copy; None where there is none, or an outdated or damaged one."""
    try:
        with np.load(file, allow_pickle=False) as copy:
            if str(copy["origin"]) != origin:
                return None
            rest = json.loads(str(copy["rest"]))
            arrays = {name: copy[name] for name in copy.files if name not in ("origin", "rest")}
    except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, *ZIP_DAMAGE):
        return None
    for array in arrays.values():
        array.flags.writeable = False
    if rest["causes"] is not None:
        rest["causes"] = tuple(Cause(a, b, tuple(channels)) for a, b, channels in rest["causes"])
    rest |= {name: tuple(rest[name]) for name in ("channels", "notes")}
    return Series(**rest | arrays)  # checked before it was kept
