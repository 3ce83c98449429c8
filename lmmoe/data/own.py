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
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path

import numpy as np

from lmmoe.data import folders, reading
from lmmoe.data.series import Bits, Series
from lmmoe.data.table import LEAST_EPOCH, Table, read_labels, read_table
from lmmoe.errors import DataError

PARTS = ("train", "test", "train_label", "test_label")
WHOLE = "whole"
FILE = re.compile(r"(?P<stem>[^.].*?)\.(csv(\.gz|\.xz)?|parquet|npy)", re.IGNORECASE)
SHARE = 0.5


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The entities in the folder ``name``: ``whole``, or ``train``, ``test`` and perhaps labels.

    Raises `DataError` where a file's other half is missing, or an entity is there twice.
    """
    folder = Path(name).expanduser().resolve()
    files = []  # entity, part, path
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            inner = ((file, *_split(file)) for file in sorted(path.iterdir()))
            files += [(path.name, part, file) for file, stem, part in inner if not stem and part]
        elif path.is_file():
            stem, part = _split(path)
            if part in PARTS or (part == WHOLE and path.suffix.lower() != ".npy"):
                files.append((stem or folder.name, part, path))
    found: dict[str, dict[str, Path]] = {}
    for entity, part, path in files:
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


def read(
    parts: Mapping[str, Path],
    *,
    dataset: str,
    entity: str,
    time: str | None = None,
    label: str | None = None,
    train_share: float = SHARE,
    missing: str = "error",
) -> Series:
    """One entity of a folder.

    Parameters
    ----------
    parts, dataset, entity
        The entity's files as `find` gives them, and what to call it.
    time, label
        Names of those columns (numbers, from 0, where there is no header) if they are others.
    train_share
        Layout (a): the part of the rows that train. Too small starves the detectors; too large
        leaves few events to test on.
    missing
        ``"error"`` refuses missing cells; ``"fill"`` repeats the channel's last value, in each half
        by itself, and counts the cells in ``Series.notes``.
    """
    number = isinstance(train_share, Real) and not isinstance(train_share, bool)
    if not number or not 0 < train_share < 1:
        raise DataError(f"train_share is {train_share!r}, not a number above 0 and below 1")
    if missing not in ("error", "fill"):
        raise DataError(f"missing is {missing!r}, neither 'error' nor 'fill'")
    fill, columns = missing == "fill", {"time": time, "label": label}
    if WHOLE in parts:
        halves = _cut(read_table(parts[WHOLE], **columns, fill=fill), train_share)
        return _joined(*halves, parts[WHOLE], dataset, entity)
    if train_share != SHARE:
        problem = "train_share is for one file per entity; here the halves are files of their own"
        raise DataError(problem, file=parts["train"])
    if _are_arrays(parts):
        if time is not None or label is not None:
            raise DataError("an array has no named columns (time=, label=)", file=parts["train"])
        return folders.read_arrays(parts, dataset=dataset, entity=entity, fill=fill)
    halves = _read_halves(parts, columns, fill=fill)
    return _joined(*halves, parts.get("test_label", parts["test"]), dataset, entity)


def _are_arrays(parts: Mapping[str, Path]) -> bool:
    """Whether an entity is of arrays; `DataError` where only some of its files are."""
    arrays = [path for path in parts.values() if path.suffix.lower() == ".npy"]
    if arrays and len(arrays) < len(parts):
        others = ", ".join(path.name for path in parts.values() if path not in arrays)
        raise DataError(f"an array beside tables ({others})", file=arrays[0], hint="Use one kind")
    return bool(arrays)


def _cut(table: Table, share: float) -> tuple[Table, Table]:
    """Layout (a): the table's first rows and the rest."""
    rows = len(table.values)
    cut = int(share * rows + 1e-9)  # 0.29 of 100 rows are 29, though 0.29 * 100 < 29
    if not 0 < cut < rows:
        problem = f"a train_share of {share} leaves a half of the {rows} rows empty"
        raise DataError(problem, file=table.path, hint="Both halves need rows")
    return table.rows(slice(cut)), replace(table.rows(slice(cut, None)), notes=())


def _read_halves(
    parts: Mapping[str, Path], columns: dict[str, str | None], *, fill: bool
) -> tuple[Table, Table]:
    """Layouts (b) and (c): both halves, with the labels of files beside them."""
    beside = parts.get("test_label")
    train = read_table(parts["train"], **columns, fill=fill, need_label=False)
    test = read_table(parts["test"], **columns, fill=fill, need_label=beside is None)
    if train.channels is not None and test.channels is not None:
        reading.check_channels(test.channels, train.channels, test.path)
    elif train.channels is not test.channels:
        bare, named = (train, test) if train.channels is None else (test, train)
        raise DataError(
            f"no header line, but {named.path.name} has one",
            file=bare.path,
            hint="Without it nobody can tell that both hold the same channels",
        )
    if beside is not None:
        test = replace(test, labels=_labels_beside(beside, test, columns))
    if "train_label" in parts:
        train = replace(train, labels=read_labels(parts["train_label"], **columns)[0])
    return train, test


def _labels_beside(path: Path, test: Table, columns: dict[str, str | None]) -> Bits:
    """The labels ``(t,)`` of a file of their own; `DataError` where they are of other rows."""
    if test.labels is not None:
        problem = f"labels are here and in {path.name}"
        raise DataError(problem, file=test.path, hint="Take one of them out")
    labels, times = read_labels(path, **columns)
    both = (
        times is not None and test.times is not None and times.dtype.kind == test.times.dtype.kind
    )
    if both and len(times) == len(test.times):
        bad = np.flatnonzero(times != test.times)
        if len(bad):
            problem = f"the time is not that of the same row of {test.path.name}"
            raise DataError(problem, file=path, row=int(bad[0]))
    return labels


def _joined(train: Table, test: Table, label_path: Path, dataset: str, entity: str) -> Series:
    """The series of two halves: gaps filled, what was found or mended told in its notes."""
    notes = train.notes + test.notes
    if train.labels is not None:
        notes += reading.marked_note(train.labels, len(train.values), train.path)
    train_values, filled = reading.fill_gaps(train.values, f"{train.path.name}, training half")
    notes += filled
    test_values, filled = reading.fill_gaps(test.values, f"{test.path.name}, test half")
    notes += filled
    numbers = train.times is not None and train.times.dtype.kind != "M"
    if numbers and train.times[0] < LEAST_EPOCH:
        notes += (f"{train.path.name}: times are numbers of an unknown unit: no figures per day",)
    return Series.checked(
        dataset=dataset,
        entity=entity,
        train=train_values,
        test=test_values,
        labels=test.labels,
        channels=train.channels,
        rows_per_day=train.rows_per_day,
        notes=notes,
        files={"train": train.path, "test": test.path, "labels": label_path},
    )
