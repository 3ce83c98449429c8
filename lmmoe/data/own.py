"""Somebody's own folder. Its path is the data set's name.

Layouts; several may stand in one folder:

(a) ``<entity>.csv``: one file; its first part trains (``train_share``), the rest is the test half;
(b) ``<entity>_train.csv`` and ``<entity>_test.csv``;
(c) ``<entity>/train.csv`` and ``<entity>/test.csv``;
(d) ``<entity>/train.npy`` and ``<entity>/test.npy``: ``(rows, channels)``, or ``(rows,)`` for one.

``.parquet`` may stand for ``.csv``; a ``.csv`` may be compressed (``.xz``, ``.gz``). A folder that
is itself as in (c) or (d) is one entity of its own name. Labels are a column of the test half, or
a file ``test_label`` beside it, named like the halves. A file ``train_label`` is only counted.

The columns of a table, whatever their capitals, are the time (one of `reading.TIMES`, or a first
column of dates; it must rise, and gives ``Series.rows_per_day``), labels (one of `reading.LABELS`;
0/1 or true/false; those of the training half are only counted) and channels of finite numbers. A
first line of numbers only, or of a date and numbers, is data, any other is the header.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lmmoe.data import reading
from lmmoe.data.reading import Table
from lmmoe.data.series import Series
from lmmoe.errors import DataError

WHOLE = "whole"
# Paths below the folder, by layout: (b) to (d), (a).
TABLE, PART = r"\.(csv(\.gz|\.xz)?|parquet)", "(?P<part>train|test|train_label|test_label)"
PATHS = (
    rf"((?P<entity>[^./][^/]*?)[_/])?{PART}({TABLE}|\.npy)",
    rf"(?P<entity>[^./][^/]*?)(?P<part>){TABLE}",
)
SHARE = 0.5


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The entities in the folder ``name``: ``whole``, or ``train``, ``test`` and perhaps labels.

    Raises `DataError` where a file's other half is missing, or an entity is there twice.
    """
    folder = Path(name).expanduser().resolve()
    found: dict[str, dict[str, Path]] = {}
    for path in filter(Path.is_file, sorted([*folder.glob("*"), *folder.glob("*/*")])):
        below = path.relative_to(folder).as_posix()
        half, whole = (re.fullmatch(pattern, below, re.IGNORECASE) for pattern in PATHS)
        if match := half or whole:
            entity, part = match["entity"] or folder.name, match["part"].lower() or WHOLE
            parts = found.setdefault(entity, {})
            if parts and (part in parts or WHOLE in (part, *parts)):
                other = parts.get(part, next(iter(parts.values()))).relative_to(folder)
                problem = f"entity {entity!r} is there twice, {other} and {below}"
                raise DataError(problem, file=folder, hint="Take one of them out of the folder")
            parts[part] = path
    for parts in found.values():
        missing = [half for half in ("train", "test") if half not in parts]
        if missing and WHOLE not in parts:
            part, path = next(iter(parts.items()))
            hint = f"A file that is a whole entity must not end in _{part}"
            raise DataError(f"there is no {missing[0]} half beside it", file=path, hint=hint)
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

    ``time`` and ``label`` name those columns (numbers, from 0, where there is no header) if they
    are others; ``train_share`` is the part of the rows that train in layout (a). ``missing`` cells
    are an ``"error"``, or ``"fill"`` repeats the channel's last value, in each half by itself.
    """
    if not isinstance(train_share, float) or not 0 < train_share < 1:
        raise DataError(f"train_share is {train_share!r}, not a number above 0 and below 1")
    if missing not in ("error", "fill"):
        raise DataError(f"missing is {missing!r}, neither 'error' nor 'fill'")
    columns, fill, beside = {"time": time, "label": label}, missing == "fill", None
    if WHOLE in parts:
        whole = reading.read_table(parts[WHOLE], **columns, fill=fill)
        cut = int(train_share * len(whole.values) + 1e-9)  # 0.29 * 100 is a little under 29
        marks, rest = (None, None) if whole.labels is None else np.split(whole.labels, [cut])
        train = replace(whole, values=whole.values[:cut], labels=marks)
        test = replace(whole, values=whole.values[cut:], labels=rest, notes=())
    elif train_share != SHARE:
        problem = "train_share is for one file per entity; here the halves are files of their own"
        raise DataError(problem, file=parts["train"])
    else:
        beside = parts.get("test_label")
        train = reading.read_table(parts["train"], **columns, fill=fill, need_label=False)
        test = reading.read_table(parts["test"], **columns, fill=fill, need_label=beside is None)
        if beside is not None:
            test = _with_labels(test, beside, columns)
        if "train_label" in parts:
            train = replace(train, labels=reading.read_labels(parts["train_label"], **columns)[0])
    return join(train, test, beside or test.path, dataset, entity)


def _with_labels(test: Table, beside: Path, columns: dict[str, str | None]) -> Table:
    """The test half with the labels of a file beside it, whose times must be its own."""
    if test.labels is not None:
        problem = f"labels are here and in {beside.name}"
        raise DataError(problem, file=test.path, hint="Take one of them out")
    labels, times = reading.read_labels(beside, **columns)
    both = times is not None and test.times is not None and times.shape == test.times.shape
    if both and times.dtype.kind == test.times.dtype.kind and (times != test.times).any():
        problem = f"the time is not that of the same row of {test.path.name}"
        raise DataError(problem, file=beside, row=int(np.argmax(times != test.times)))
    return replace(test, labels=labels)


def join(train: Table, test: Table, label_path: Path, dataset: str, entity: str) -> Series:
    """The series of two halves with the same channels; notes tell what was found or mended."""
    expected, channels = train.channels or (), test.channels or ()
    if channels != expected:
        apart = sorted({*expected} ^ {*channels})[:5]  # of hundreds some do
        problem = f"other channels than in training, or in another order {apart}"
        raise DataError(problem, file=test.path)
    notes, values = train.notes + test.notes, {}
    if train.labels is not None:
        notes += reading.marked_note(train.labels, len(train.values), train.path)
    for part, name, half in (("train", "training half", train), ("test", "test half", test)):
        values[part], filled = reading.fill_gaps(half.values, f"{half.path.name}, {name}")
        notes += filled
    if train.times is not None and train.rows_per_day is None:
        notes += (f"{train.path.name}: times are numbers of an unknown unit: no figures per day",)
    values |= {"labels": test.labels, "rows_per_day": train.rows_per_day, "notes": notes}
    files = {"train": train.path, "test": test.path, "labels": label_path}
    known = {"channels": train.channels, "files": files}
    return Series.checked(dataset=dataset, entity=entity, **values, **known)
