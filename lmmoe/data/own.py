"""Somebody's own folder. Its path is the data set's name.

Layouts; several may stand in one folder:

(a) ``<entity>.csv``: one file; its first part trains (``train_share``), the rest is the test half;
(b) ``<entity>_train.csv`` and ``<entity>_test.csv``;
(c) ``<entity>/train.csv`` and ``<entity>/test.csv``;
(d) ``<entity>/train.npy`` and ``<entity>/test.npy``, see `lmmoe.data.folders`.

``.parquet`` may stand for ``.csv``; a ``.csv`` may be compressed (``.xz``, ``.gz``). A folder that
is itself as in (c) or (d) is one entity of its own name. Labels are a column of the test half, or
a file ``test_label`` beside it, named like the halves. A file ``train_label`` is only counted.

Columns of a table, whatever their capitals (each row is one step of time):

- ``time``, ``timestamp``, ``date`` or ``datetime``, or a first column of dates, is the time. It
  must rise from row to row, gives ``Series.rows_per_day``, and is no channel.
- ``label``, ``labels``, ``anomaly``, ``is_anomaly`` or ``attack`` holds the labels, 0/1 or
  true/false. Those of the training half are dropped and counted in ``Series.notes``; its rows stay.
  Without any labels ``Series.labels`` is None.
- Every other column is a channel: finite numbers.

A first line of numbers only (or of a date and numbers) is data, any other is the header. Names that
are all numbers would thus be read as data: give the columns names.

Options of `lmmoe.data.load` (see `read`): ``time``, ``label``, ``train_share``, ``missing``.
"""

import re
from collections.abc import Iterator
from functools import partial
from numbers import Real
from pathlib import Path

import numpy as np

from lmmoe.data import folders, reading
from lmmoe.data.labels import marked_note
from lmmoe.data.series import Bits, Floats, Series
from lmmoe.data.table import Table, read_labels, read_table
from lmmoe.data.times import rows_per_day
from lmmoe.errors import DataError

PARTS = ("train", "test", "train_label", "test_label")
WHOLE = "whole"
FILE = re.compile(r"(?P<stem>[^.].*?)\.(csv(\.gz|\.xz)?|parquet|npy)", re.IGNORECASE)
SHARE = 0.5


def entities(name: str, root: Path) -> list[str]:
    """The entities in the folder ``name``; `DataError` where a file's other half is missing."""
    return sorted(_scan(_folder(name)))


def files(name: str, root: Path, entity: str) -> list[Path]:
    """The files of one entity."""
    return list(_scan(_folder(name)).get(entity, {}).values())


def read(
    name: str,
    root: Path,
    entity: str,
    *,
    time: str | None = None,
    label: str | None = None,
    train_share: float = SHARE,
    missing: str = "error",
) -> Series:
    """One entity of the folder ``name``.

    Parameters
    ----------
    time, label
        Names of those columns (numbers, from 0, where there is no header) if they are others.
    train_share
        Layout (a): the part of the rows that train. Too small starves the detectors; too large
        leaves few events to test on.
    missing
        ``"error"`` refuses missing cells; ``"fill"`` repeats the channel's last value, in each half
        by itself, and counts the cells in ``Series.notes``.
    """
    _check_options(train_share, missing)
    folder = _folder(name)
    parts = _scan(folder)[entity]
    whole = parts.get(WHOLE)
    if whole is None and train_share != SHARE:
        problem = "train_share is for one file per entity; here the halves are files of their own"
        raise DataError(problem, file=parts["train"])
    fill = missing == "fill"
    if _are_arrays(parts):
        if time is not None or label is not None:
            raise DataError("an array has no named columns (time=, label=)", file=parts["train"])
        return folders.read_arrays(parts, dataset=folder.name, entity=entity, fill=fill)
    columns = {"time": time, "label": label, "fill": fill}
    made = _from_two(parts, **columns) if whole is None else _cut(whole, train_share, **columns)
    return Series.checked(dataset=folder.name, entity=entity, **made)


def _cut(path: Path, share: float, **columns: object) -> dict[str, object]:
    """Layout (a), as arguments of `Series.checked`."""
    table = read_table(path, **columns)
    rows = len(table.values)
    cut = int(share * rows + 1e-9)  # 0.29 of 100 rows are 29, though 0.29 * 100 < 29
    if not 0 < cut < rows:
        problem = f"a train_share of {share} leaves a half of the {rows} rows empty"
        raise DataError(problem, file=path, hint="Both halves need rows")
    train, train_notes = _filled(table.values[:cut], path, "training half")
    test, test_notes = _filled(table.values[cut:], path, "test half")
    marked = () if table.labels is None else marked_note(table.labels[:cut], cut, path)
    return {
        "train": train,
        "test": test,
        "labels": None if table.labels is None else table.labels[cut:],
        "channels": table.channels,
        "rows_per_day": None if table.times is None else rows_per_day(table.times),
        "notes": table.notes + marked + train_notes + test_notes + _no_unit(table),
        "files": dict.fromkeys(("train", "test", "labels"), path),
    }


def _from_two(
    parts: dict[str, Path], *, time: str | None, label: str | None, fill: bool
) -> dict[str, object]:
    """Layouts (b) and (c), as arguments of `Series.checked`."""
    own_labels = "test_label" not in parts
    table = partial(read_table, time=time, label=label, fill=fill)
    train = table(parts["train"], need_label=False)
    test = table(parts["test"], need_label=own_labels)
    _check_same_channels(train, test)
    labels = test.labels if own_labels else _labels_beside(parts["test_label"], test, time, label)
    marks = train.labels
    if "train_label" in parts:
        marks, _ = read_labels(parts["train_label"], time=time, label=label)
    marked = () if marks is None else marked_note(marks, len(train.values), parts["train"])
    train_values, train_notes = _filled(train.values, train.path, "training half")
    test_values, test_notes = _filled(test.values, test.path, "test half")
    return {
        "train": train_values,
        "test": test_values,
        "labels": labels,
        "channels": train.channels,
        "rows_per_day": None if train.times is None else rows_per_day(train.times),
        "notes": train.notes + test.notes + marked + train_notes + test_notes + _no_unit(train),
        "files": {**parts, "labels": parts["test" if own_labels else "test_label"]},
    }


def _labels_beside(path: Path, test: Table, time: str | None, label: str | None) -> Bits:
    """The labels ``(t,)`` of a file of their own; `DataError` where they are of other rows."""
    if test.labels is not None:
        problem = f"labels are here and in {path.name}"
        raise DataError(problem, file=test.path, hint="Take one of them out")
    labels, times = read_labels(path, time=time, label=label)
    both = (
        times is not None and test.times is not None and times.dtype.kind == test.times.dtype.kind
    )
    if both and len(times) == len(test.times):
        bad = np.flatnonzero(times != test.times)
        if len(bad):
            problem = f"the time is not that of the same row of {test.path.name}"
            raise DataError(problem, file=path, row=int(bad[0]))
    return labels


def _check_same_channels(train: Table, test: Table) -> None:
    if train.channels is not None and test.channels is not None:
        reading.check_channels(test.channels, train.channels, test.path)
    elif train.channels is not test.channels:
        bare, named = (train, test) if train.channels is None else (test, train)
        raise DataError(
            f"no header line, but {named.path.name} has one",
            file=bare.path,
            hint="Without it nobody can tell that both hold the same channels",
        )


def _filled(values: Floats, path: Path, half: str) -> tuple[Floats, tuple[str, ...]]:
    """The half ``(rows, channels)`` without gaps, and a note where there were any."""
    values, holes = reading.fill_gaps(values)
    return values, reading.filled_note(holes, path, half)


def _no_unit(table: Table) -> tuple[str, ...]:
    """A note where times are numbers of an unknown unit."""
    if table.times is None or len(table.times) < 2 or rows_per_day(table.times) is not None:
        return ()
    return (f"{table.path.name}: times are numbers of an unknown unit: no figures per day",)


def _check_options(train_share: float, missing: str) -> None:
    if (
        isinstance(train_share, bool)
        or not isinstance(train_share, Real)
        or not 0 < train_share < 1
    ):
        raise DataError(f"train_share is {train_share!r}, not a number above 0 and below 1")
    if missing not in ("error", "fill"):
        raise DataError(f"missing is {missing!r}, neither 'error' nor 'fill'")


def _are_arrays(parts: dict[str, Path]) -> bool:
    """Whether an entity is of arrays; `DataError` where only some of its files are."""
    arrays = [path for path in parts.values() if path.suffix.lower() == ".npy"]
    if arrays and len(arrays) < len(parts):
        others = ", ".join(path.name for path in parts.values() if path not in arrays)
        raise DataError(f"an array beside tables ({others})", file=arrays[0], hint="Use one kind")
    return bool(arrays)


def _folder(name: str) -> Path:
    return Path(name).expanduser().resolve()


def _scan(folder: Path) -> dict[str, dict[str, Path]]:
    """The files of every entity: ``whole``, or ``train``, ``test`` and perhaps labels."""
    found: dict[str, dict[str, Path]] = {}
    for entity, part, path in _parts(folder):
        parts = found.setdefault(entity, {})
        if parts and (part in parts or WHOLE in (part, *parts)):
            other = parts.get(part) or next(iter(parts.values()))
            names = f"{other.relative_to(folder)} and {path.relative_to(folder)}"
            hint = "Take one of them out of the folder"
            raise DataError(f"entity {entity!r} is there twice, {names}", file=folder, hint=hint)
        parts[part] = path
    for parts in found.values():
        for half in ("train", "test"):
            if WHOLE not in parts and half not in parts:
                part, path = next(iter(parts.items()))
                hint = f"A file that is a whole entity must not end in _{part}"
                raise DataError(f"there is no {half} half beside it", file=path, hint=hint)
    return found


def _parts(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Entity, part and path of every file of a known layout."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            for file in sorted(path.iterdir()):
                stem, part = _split(file)
                if not stem and part in PARTS:
                    yield path.name, part, file
        elif path.is_file():
            stem, part = _split(path)
            if part in PARTS or (part == WHOLE and path.suffix.lower() != ".npy"):
                yield stem or folder.name, part, path


def _split(path: Path) -> tuple[str, str]:
    """A file name's entity and part; the part is empty where the kind of file is unknown."""
    match = FILE.fullmatch(path.name)
    if match is None:
        return "", ""
    stem = match["stem"]
    for part in PARTS:
        if stem.lower() == part:
            return "", part
        if stem.lower().endswith(f"_{part}"):
            return stem[: -len(part) - 1], part
    return stem, WHOLE
