"""Readers: the layouts that people have on disk, each turned into a `Series`.

Every reader is a module beside this one with two functions, and perhaps ``OPTIONS``:

- ``find(name, root) -> {entity: {part: path}}``: which entities of the data set ``name`` are there,
  none where the folder is missing, and the files that hold each of them;
- ``read(parts, *, dataset, entity, **options) -> Series``: one of them from its files.
"""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from platformdirs import user_cache_path

from lmmoe.data.series import Cause, Series
from lmmoe.errors import DataError

__all__ = ["Cause", "Series", "data_root", "entities", "files", "load"]

# Which module reads which data set; any other name is a path to somebody's own folder.
DATASETS = {"smd": "smd", "asd": "folders", "smap": "telemanom", "msl": "telemanom"}
DATASETS |= {"psm": "folders", "swat": "folders", "tsb-ad": "smd", "synthetic": "synthetic"}


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data sets: ``root``, else ``LMMOE_DATA``, else the user's cache."""
    given = root or os.environ.get("LMMOE_DATA") or user_cache_path("lmmoe")
    return Path(given).expanduser()


def load(name: str, entity: str, root: str | Path | None = None, **reading: object) -> Series:
    """Read one entity of a data set.

    ``name`` is a key of `DATASETS`, or a path to a folder of one's own: ``docs/own-data.md`` tells
    the layouts, `lmmoe.data.own` the options that go into ``reading``. ``root`` is the folder that
    holds the data sets, see `data_root`. Raises `DataError` where something is missing or bad.
    """
    check_options(name, reading)
    found = _find(name, root)
    if entity not in found:
        place = data_root(root) if name in DATASETS else None
        hint = f"Present: {', '.join(found)}" if found else missing_hint(name)
        raise DataError(f"no entity {entity!r} of {name!r} here", file=place, hint=hint)
    dataset = name if name in DATASETS else Path(name).expanduser().resolve().name
    return reader(name).read(found[entity], dataset=dataset, entity=entity, **reading)


def entities(name: str, root: str | Path | None = None) -> list[str]:
    """The entities of a data set that are present, in natural order (machine-1-2 before 1-10).

    Raises `DataError` for a name that is neither in `DATASETS` nor a folder.
    """
    return list(_find(name, root))


def files(name: str, entity: str, root: str | Path | None = None) -> list[Path]:
    """The files that hold one entity, none for generated data; raises as `entities` does."""
    return [path for path in _find(name, root).get(entity, {}).values() if path.is_file()]


def missing_hint(name: str) -> str:
    """What to do where a data set is not there."""
    if name not in DATASETS:
        return "The folder holds none of the layouts that docs/own-data.md describes"
    return "Set LMMOE_DATA as docs/own-data.md describes; 'python -m lmmoe fetch smd' fetches SMD"


def check_options(name: str, given: Mapping[str, object]) -> None:
    """Raise `DataError` for an option that the reader of a data set does not have."""
    known = getattr(reader(name), "OPTIONS", ())
    hint = f"Options: {', '.join(known)}" if known else "This data set has no options"
    for option in sorted(given.keys() - {*known}):
        raise DataError(f"no option {option!r} for reading {name!r}", hint=hint)


def reader(name: str) -> ModuleType:
    """The module that reads a data set."""
    return import_module(f"lmmoe.data.{DATASETS.get(name, 'own')}")


def _find(name: str, root: str | Path | None) -> dict[str, dict[str, Path]]:
    """The present entities in natural order, and the files of each."""
    if name not in DATASETS and not Path(name).expanduser().is_dir():
        hint = f"Known: {', '.join(DATASETS)}; or give the path of a folder with your own data"
        raise DataError(f"{name!r} is neither a known data set nor a folder", hint=hint)
    found = reader(name).find(name, data_root(root)).items()
    return dict(sorted(found, key=lambda at: re.sub(r"\d+", lambda n: n[0].zfill(20), at[0])))
