"""Somebody's own folder. Its path is the data set's name.

Layouts; several may stand in one folder:

(a) ``<entity>.csv``: one file; its first part trains (``train_share``), the rest is the test half;
(b) ``<entity>_train.csv`` and ``<entity>_test.csv``;
(c) ``<entity>/train.csv`` and ``<entity>/test.csv``;
(d) ``<entity>/train.npy`` and ``<entity>/test.npy``, their labels ``test_label.npy``;

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
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.reading import Table
from lmmoe.data.series import Bits, Series
from lmmoe.errors import DataError

WHOLE = "whole"
# Paths below the folder, by layout: (c) and (d), (b), (a).
PART, TABLE = "(?P<part>train|test|train_label|test_label)", r"\.(csv(\.gz|\.xz)?|parquet)"
PATHS = (
    rf"(?P<entity>[^./][^/]*)/{PART}({TABLE}|\.npy)",
    rf"((?P<entity>[^./][^/]*?)_)?{PART}({TABLE}|\.npy)",
    rf"(?P<entity>[^./][^/]*?)(?P<part>){TABLE}",
)
SHARE = 0.5


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The entities in the folder ``name``: ``whole``, or ``train``, ``test`` and perhaps labels.

    Raises `DataError` where a file's other half is missing, or an entity is there twice.
    """
    folder = Path(name).expanduser().resolve()
    found: dict[str, dict[str, Path]] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        below = path.relative_to(folder).as_posix()
        matches = (re.fullmatch(pattern, below, re.IGNORECASE) for pattern in PATHS)
        match = next(filter(None, matches), None)
        if match is None or not path.is_file():
            continue
        entity, part = match["entity"] or folder.name, match["part"].lower() or WHOLE
        parts = found.setdefault(entity, {})
        if parts and (part in parts or WHOLE in (part, *parts)):
            other = parts.get(part) or next(iter(parts.values()))
            problem = f"entity {entity!r} is there twice, {other.relative_to(folder)} and {below}"
            raise DataError(problem, file=folder, hint="Take one of them out of the folder")
        parts[part] = path
    for parts in found.values():
        for half in ("train", "test"):
            if WHOLE not in parts and half not in parts:
                part, path = next(iter(parts.items()))
                hint = f"A file that is a whole entity must not end in _{part}"
                raise DataError(f"there is no {half} half beside it", file=path, hint=hint)
    return found


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
    columns, fill = {"time": time, "label": label}, missing == "fill"
    if WHOLE in parts:
        train, test = _cut(reading.read_table(parts[WHOLE], **columns, fill=fill), train_share)
        return join(train, test, test.path, dataset, entity)
    if train_share != SHARE:
        problem = "train_share is for one file per entity; here the halves are files of their own"
        raise DataError(problem, file=parts["train"])
    arrays = [path for path in parts.values() if path.suffix.lower() == ".npy"]
    if not arrays:
        train, test = _read_halves(parts, columns, fill=fill)
    elif len(arrays) < len(parts):
        others = ", ".join(path.name for path in parts.values() if path not in arrays)
        raise DataError(f"an array beside tables ({others})", file=arrays[0], hint="Use one kind")
    elif time is not None or label is not None:
        raise DataError("an array has no named columns (time=, label=)", file=parts["train"])
    else:
        train, test = _read_arrays(parts, fill=fill)
    return join(train, test, parts.get("test_label", test.path), dataset, entity)


def _cut(table: Table, share: float) -> tuple[Table, Table]:
    """Layout (a): the table's first rows and the rest."""
    rows = len(table.values)
    cut = int(share * rows + 1e-9)  # 0.29 of 100 rows are 29, though 0.29 * 100 < 29
    if not 0 < cut < rows:
        problem = f"a train_share of {share} leaves a half of the {rows} rows empty"
        raise DataError(problem, file=table.path, hint="Both halves need rows")
    marks = (None, None) if table.labels is None else (table.labels[:cut], table.labels[cut:])
    test = replace(table, values=table.values[cut:], labels=marks[1], notes=())
    return replace(table, values=table.values[:cut], labels=marks[0]), test


def _read_halves(
    parts: Mapping[str, Path], columns: dict[str, str | None], *, fill: bool
) -> tuple[Table, Table]:
    """Layouts (b) and (c): both halves, with the labels of files beside them."""
    beside = parts.get("test_label")
    train = reading.read_table(parts["train"], **columns, fill=fill, need_label=False)
    test = reading.read_table(parts["test"], **columns, fill=fill, need_label=beside is None)
    if (train.channels is None) != (test.channels is None):
        bare, named = (train, test) if train.channels is None else (test, train)
        raise DataError(
            f"no header line, but {named.path.name} has one",
            file=bare.path,
            hint="Without it nobody can tell that both hold the same channels",
        )
    if beside is not None:
        test = replace(test, labels=_labels_beside(beside, test, columns))
    if "train_label" in parts:
        train = replace(train, labels=reading.read_labels(parts["train_label"], **columns)[0])
    return train, test


def _labels_beside(path: Path, test: Table, columns: dict[str, str | None]) -> Bits:
    """The labels ``(t,)`` of a file of their own; `DataError` where they are of other rows."""
    if test.labels is not None:
        problem = f"labels are here and in {path.name}"
        raise DataError(problem, file=test.path, hint="Take one of them out")
    labels, times = reading.read_labels(path, **columns)
    both = times is not None and test.times is not None and len(times) == len(test.times)
    if both and times.dtype.kind == test.times.dtype.kind:
        bad = np.flatnonzero(times != test.times)
        if len(bad):
            problem = f"the time is not that of the same row of {test.path.name}"
            raise DataError(problem, file=path, row=int(bad[0]))
    return labels


def _read_arrays(parts: Mapping[str, Path], *, fill: bool) -> tuple[Table, Table]:
    """Layout (d): both halves; an array ``(rows,)`` is one channel."""
    halves = []
    for half in ("train", "test"):
        path, beside = parts[half], parts.get(f"{half}_label")
        array = reading.read_npy(path)
        if array.ndim not in (1, 2) or not array.size:
            problem = f"shape {array.shape}, expected (rows, channels), both above 0"
            raise DataError(problem, file=path)
        values = reading.to_numbers(pd.DataFrame(array), path, fill=fill)
        labels = None
        if beside is not None:
            labels = reading.to_bits(pd.Series(reading.read_npy(beside).ravel()), beside)
        halves.append(Table(path, values, None, labels, None, None, ()))
    return halves[0], halves[1]


def join(train: Table, test: Table, label_path: Path, dataset: str, entity: str) -> Series:
    """The series of two halves: gaps filled, what was found or mended told in its notes.

    Raises `DataError` where they hold other channels, and for what `Series.checked` refuses.
    """
    if train.channels is not None and test.channels is not None:
        reading.check_channels(test.channels, train.channels, test.path)
    notes = train.notes + test.notes
    if train.labels is not None:
        notes += reading.marked_note(train.labels, len(train.values), train.path)
    train_values, filled = reading.fill_gaps(train.values, f"{train.path.name}, training half")
    notes += filled
    test_values, filled = reading.fill_gaps(test.values, f"{test.path.name}, test half")
    notes += filled
    numbers = train.times is not None and train.times.dtype.kind != "M"
    if numbers and train.times[0] < reading.LEAST_EPOCH:
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
