"""Readers: the layouts that people have on disk, each turned into `Series`.

Every reader is a module beside this one with three functions (``name`` is the data set's name,
``root`` the folder that holds the data sets):

- ``entities(name, root) -> list[str]``: which entities are there, none where the folder is missing;
- ``files(name, root, entity) -> list[Path]``: the files that hold one of them;
- ``read(name, root, entity, **reading) -> Series``: that entity.
"""

import inspect
import os
import re
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from lmmoe.data import kept
from lmmoe.data.series import Cause, Series, runs, showcase
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
    "runs",
    "showcase",
]

# Which module reads which data set; any other name is a path to somebody's own folder.
DATASETS = {
    "smd": "smd",
    "asd": "folders",
    "smap": "telemanom",
    "msl": "telemanom",
    "psm": "psm",
    "swat": "swat",
    "synthetic": "synthetic",
}


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data sets: ``root``, else ``LMMOE_DATA``, else the user's cache."""
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get("LMMOE_DATA"):
        return Path(os.environ["LMMOE_DATA"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lmmoe"))


def load(name: str, entity: str, root: str | Path | None = None, **reading: object) -> Series:
    """Read one entity of a data set.

    ``name`` is a key of `DATASETS`, or a path to a folder of one's own: `lmmoe.data.own` tells the
    layouts and the options that go into ``reading``. ``root`` is the folder that holds the data
    sets, see `data_root`. What was parsed once is kept in the cache (`lmmoe.data.kept`). Raises
    `DataError` where something is missing or bad.
    """
    check_options(name, reading)
    folder = data_root(root)
    present = entities(name, folder)
    if entity not in present:
        raise DataError(
            f"no entity {entity!r} of {name!r} here",
            file=folder if name in DATASETS else None,
            hint=f"Present: {', '.join(present)}" if present else missing_hint(name),
        )
    reader = _reader(name)
    return kept.series(
        partial(reader.read, name, folder, entity, **reading),
        reader.files(name, folder, entity),
        name if name in DATASETS else str(Path(name).expanduser().resolve()),
        entity,
        sorted(reading.items()),
    )


def entities(name: str, root: str | Path | None = None) -> list[str]:
    """The entities of a data set that are present, in natural order (machine-1-2 before 1-10).

    Raises `DataError` for a name that is neither in `DATASETS` nor a folder.
    """
    return sorted(_reader(name).entities(name, data_root(root)), key=_natural)


def files(name: str, entity: str, root: str | Path | None = None) -> list[Path]:
    """The files that hold one entity, none for generated data; raises as `entities` does."""
    return _reader(name).files(name, data_root(root), entity)


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
    known = [key for key in parameters if key not in ("name", "root", "entity")]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise DataError(
            f"no option {unknown[0]!r} for reading {name!r}",
            hint=f"Options: {', '.join(known)}" if known else "This data set has no options",
        )


def _reader(name: str) -> ModuleType:
    if name in DATASETS:
        return import_module(f"lmmoe.data.{DATASETS[name]}")
    if not Path(name).expanduser().is_dir():
        raise DataError(
            f"{name!r} is neither a known data set nor a folder",
            hint=f"Known: {', '.join(DATASETS)}; or give the path of a folder with your own data",
        )
    return import_module("lmmoe.data.own")


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
