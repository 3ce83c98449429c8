"""Somebody's own folder, whose path is the data set's name; `docs/own-data.md` tells the layouts.

What a table may hold and what is made of it stands there, too. A file ``test_label`` beside the
test half, named like the halves, holds a column of labels or intervals (columns ``start`` and
``end``, or ``.json``); a file ``train_label`` is only counted.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.reading import Notes, Times
from lmmoe.data.series import LABELS, Bits, Floats, Series, numbered
from lmmoe.errors import DataError

# Paths below the folder: of a half, of a whole entity.
TABLE, PART = r"\.(csv(\.gz|\.xz)?|parquet)", "(?P<part>train|test|train_label|test_label)"
PATHS = (
    rf"((?P<entity>[^./][^/]*?)[_/])?{PART}({TABLE}|\.npy|(?<=label)\.json)",
    rf"(?P<entity>[^./][^/]*?)(?P<part>){TABLE}",
)
OPTIONS = ("time", "label", "channels", "long", "dates", "missing", "train_share")  # of `read`


@dataclass(frozen=True, eq=False)
class Table:
    """A file's columns, sorted by what they are. Axes: t rows (time), c channels.

    What the file does not have is None.
    """

    path: Path
    values: Floats  # (t, c), NaN for missing cells
    channels: tuple[str, ...] | None
    labels: Bits | None = None  # (t,)
    times: Times | None = None  # (t,), in UTC or plain numbers; they rise
    notes: tuple[str, ...] = ()
    time: str | None = None  # the name of their column
    pattern: str | None = None  # how their dates are written; None for ISO 8601
    backwards: bool = False  # whether the newest row stood first

    @property
    def rows_per_day(self) -> float | None:
        """How many rows make a day, from the median step; None where the unit is not known."""
        if self.times is None or len(self.times) < 2:
            return None
        step, _ = reading.usual_step(self.times)
        if self.times.dtype.kind == "M":
            return float(pd.Timedelta(days=1) / step)
        unit = reading.UNITS.get(reading.unit_of(self.times[0]))
        return float(86_400 * unit / step) if unit else None


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
            entity, part = match["entity"] or folder.name, match["part"].lower() or "whole"
            parts = found.setdefault(entity, {})
            if parts and (part in parts or "whole" in (part, *parts)):
                other = parts.get(part, next(iter(parts.values()))).relative_to(folder)
                problem = f"entity {entity!r} is there twice, {other} and {below}"
                raise DataError(problem, file=folder, hint="Take one of them out of the folder")
            parts[part] = path
    for parts in found.values():
        missing = [half for half in ("train", "test") if half not in parts]
        if missing and "whole" not in parts:
            part, path = next(iter(parts.items()))
            hint = f"A file that is a whole entity must not end in _{part}"
            raise DataError(f"there is no {missing[0]} half beside it", file=path, hint=hint)
    return found


def read(
    parts: Mapping[str, Path],
    *,
    dataset: str,
    entity: str,
    train_share: float = 0.5,
    **options: object,
) -> Series:
    """One entity of a folder.

    ``train_share`` is the part of the rows that train where one file holds all; the other `OPTIONS`
    are those of `read_table`. Each half is filled by itself. Raises `DataError`.
    """
    if not isinstance(train_share, float) or not 0 < train_share < 1:
        raise DataError(f"train_share is {train_share!r}, not a number above 0 and below 1")
    beside, columns = parts.get("test_label"), [options.get(name) for name in ("time", "label")]
    if "whole" in parts:
        whole = read_table(parts["whole"], **options)
        cut = int(train_share * len(whole.values) + 1e-9)  # 0.29 * 100 is a little under 29
        known = {name: getattr(whole, name) for name in ("values", "labels", "times")}
        known = {name: array for name, array in known.items() if array is not None}
        train = replace(whole, **{name: array[:cut] for name, array in known.items()})
        test = replace(whole, notes=(), **{name: array[cut:] for name, array in known.items()})
    else:
        train = read_table(parts["train"], **options, need_label=False)
        options["dates"] = options.get("dates") or train.pattern
        test = read_table(parts["test"], **options, need_label=beside is None)
        test = labelled(test, beside, entity, *columns) if beside else test
        if marks := parts.get("train_label"):
            train = labelled(replace(train, labels=None), marks, entity, *columns)
    if options.get("channels") is None and train.channels == test.channels:
        train, test = _without_labels(train, test)
    return join(train, test, beside or test.path, dataset, entity)


def read_table(
    path: Path,
    *,
    time: str | None = None,
    label: str | None = None,
    channels: list[str] | None = None,
    long: list[str] | None = None,
    dates: str | None = None,
    missing: str = "error",
    need_label: bool = True,
) -> Table:
    """Read a file with channels.

    ``time`` and ``label`` name those columns (numbers, from 0, where there is no header) if they
    are others, ``channels`` those to read, ``long`` a channel's name and value in files with a row
    per channel and time. ``dates`` is how dates are written (`datetime.strptime`). ``missing``
    cells are an ``"error"``, or ``"fill"`` leaves them as NaN. A named label column may be absent
    where ``need_label`` is false. Raises `DataError`.
    """
    if missing not in ("error", "fill"):
        raise DataError(f"missing is {missing!r}, neither 'error' nor 'fill'")
    if isinstance(channels, str) or isinstance(long, str) or (long and len(long) != 2):
        raise DataError("channels is a list of names, long one of two")
    frame, notes = reading.read_cells(path)
    times, time, pattern = reading.take_times(frame, time, dates, path, notes, channels)
    if long is not None:
        frame, times = _widened(frame, times, long, path, notes)
    backwards, labels = False, None
    if times is not None:
        backwards = len(times) > 1 and bool((times[1:] < times[:-1]).all())
        if backwards:
            frame, times = frame[::-1].reset_index(drop=True), times[::-1]
            notes.append("the newest row stands first: put in order of time")
        late, column = np.append(False, times[1:] <= times[:-1]), pd.Series(times, name=time)
        hint = f"Sort the rows by time and keep one of each. {_long_hint(frame)}".strip()
        reading.refuse(late, column, "{} is not later than the row before", path, hint)
    if label is None or need_label or str(label) in map(str, frame):
        column = reading.pick(frame, label, LABELS, "label", path)
        labels = None if column is None else reading.to_bits(frame.pop(column), path, notes)
    if channels is not None:
        frame = frame[[reading.pick(frame, name, (), "channels", path) for name in channels]]
    if not len(frame.columns):
        raise DataError("no channel beside the time and the labels", file=path)
    values = reading.to_numbers(frame, path, fill=missing == "fill", hint=_long_hint(frame))
    notes += [*reading.lost_digits(frame, values), *reading.step_notes(times)]
    notes = tuple(f"{path.name}: {note}" for note in notes)
    names = tuple(map(str, frame)) if isinstance(frame.columns[0], str) else None
    return Table(path, values, names, labels, times, notes, time, pattern, backwards)


def _widened(
    frame: pd.DataFrame, times: Times | None, long: list[str], path: Path, notes: Notes
) -> tuple[pd.DataFrame, Times]:
    """A column per channel, from a row per channel and time; and the times, in order."""
    name, value = (reading.pick(frame, column, (), "long", path) for column in long)
    if times is None:
        raise DataError("the long form needs a time", file=path, hint="Name it with time=")
    frame = frame.set_index([pd.Index(times), frame[name].astype(str).str.strip()])
    reading.refuse(frame.index.duplicated(), frame[name], "{!r} has two values at one time", path)
    if others := [str(column) for column in frame if column not in (name, value)]:
        notes.append(f"left out of the long form: {', '.join(others)}")
    wide = frame[value].unstack()
    return wide.reset_index(drop=True), wide.index.to_numpy()


def _long_hint(frame: pd.DataFrame) -> str:
    """What to do where the rows may be one per channel and time."""
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"]).astype(str)
    again = [name for name in texts if 2 * texts[name].nunique() <= len(frame)]
    words = [name for name in again if not reading.formats(texts[name].iloc[0])]
    numbers = frame.select_dtypes("number") if words else ()
    varying = [name for name in numbers if frame[name].nunique() > 1]
    known = f"{{long: [{words[0]}, {varying[-1]}]}}" if varying else ""
    return known and f"For a row per channel and time give reading: {known}"


# --- labels ---


def labelled(
    half: Table, path: Path, entity: str = "", time: str | None = None, label: str | None = None
) -> Table:
    """A half with the labels of a file: a column, or intervals (``start``, ``end``; JSON).

    Of several columns it is that named or known; where both files have times, rows find their
    labels by them. Raises `DataError`.
    """
    if half.labels is not None:
        problem = f"labels are here and in {path.name}"
        raise DataError(problem, file=half.path, hint="Take one of them out")
    if path.suffix.lower() == ".json":
        frame, notes = _read_json(path, entity)
    else:
        frame, notes = reading.read_cells(path)
    bounds = [name for name in frame if str(name).lower() in ("start", "end")]
    if len(bounds) == 2:
        labels = _marked(frame[sorted(bounds, reverse=True)], half, path, notes)
    else:
        named = time if str(time) in map(str, frame) else None
        times, _, _ = reading.take_times(frame, named, half.pattern, path, notes, None)
        one = len(frame.columns) == 1
        column = frame.columns[0] if one else reading.pick(frame, label, LABELS, "label", path)
        if column is None:
            raise DataError("no label column found", file=path, hint="Name it with label=")
        labels = reading.to_bits(frame[column], path, notes)
        if times is not None and half.times is not None:
            with reading.naming(path, "Give each time once"):
                labels = pd.Series(labels, times).reindex(half.times)
            problem = f"{{}} has no label in {path.name}"
            reading.refuse(labels.isna(), pd.Series(half.times, name=half.time), problem, half.path)
            labels = labels.to_numpy(dtype=np.int8)
        elif half.backwards:
            labels = labels[::-1]
    notes = tuple(f"{path.name}: {note}" for note in notes)
    return replace(half, labels=labels, notes=half.notes + notes)


def _read_json(path: Path, entity: str) -> tuple[pd.DataFrame, Notes]:
    """Intervals as the Numenta benchmark writes them: a list, or one under each entity's name."""
    text, notes = reading.read_text(path)
    with reading.naming(path, "Expected [[start, end], ...], or a list for each entity's name"):
        known = json.loads(text)
        if isinstance(known, dict):
            known |= {Path(name).stem: known[name] for name in known}
            if entity not in known:
                raise ValueError(f"nothing about {entity!r}, only {', '.join(known)}")
            known = known[entity]
        return pd.DataFrame(known or np.empty((0, 2)), columns=["start", "end"]), notes


def _marked(bounds: pd.DataFrame, half: Table, path: Path, notes: Notes) -> Bits:
    """The rows in intervals of times or row numbers, ends included; notes count them."""
    cells = pd.concat([bounds.iloc[:, 0], bounds.iloc[:, 1]], ignore_index=True)
    times, _ = reading.parse_times(cells, half.pattern, path, notes)
    reading.refuse(pd.isna(times), cells, "'{}' is no time or row", path)
    dated, at = times.dtype.kind == "M", half.times
    if at is None or (at.dtype.kind == "M") > dated:
        at = np.arange(len(half.values))
    if dated > (at.dtype.kind == "M"):
        raise DataError(f"dates, but {half.path.name} has no column of dates", file=path)
    first, last = times.reshape(2, -1, 1)
    inside = (first <= at) & (at <= last)  # (intervals, rows)
    bits, lost = inside.any(axis=0).astype(np.int8), (~inside.any(axis=1)).sum()
    notes.append(f"rows in intervals, ends included: {bits.sum()}")
    notes += [f"intervals outside the rows: {lost} of {len(bounds)}"] if lost else []
    return bits


def _without_labels(train: Table, test: Table) -> tuple[Table, Table]:
    """Take out channels that tell the label: a note names them.

    They are constant in training and only 0 or 1, or differ from their first value in just the
    labelled rows. Arrays are left alone, and so is a table without any other channel.
    """
    if train.path.suffix == ".npy" or not len(train.values) * len(test.values):
        return train, test
    first, both = train.values[0], np.vstack([train.values, test.values])
    out = np.isin(both, (0, 1)).all(axis=0) & (train.values == first).all(axis=0)
    if test.labels is not None and len(test.labels) == len(test.values) and test.labels.any():
        out |= ((test.values != first) == (test.labels == 1)[:, None]).all(axis=0)
    if out.all() or not out.any():
        return train, test
    names = np.array(train.channels or numbered(len(out)))
    told = "constant 0 or 1 in training, or like the label: no channel"
    hint = "label= names the labels, channels= the channels"
    note = f"{test.path.name}: {told}: {', '.join(names[out])}; {hint}"
    known = {"channels": tuple(names[~out].tolist()), "notes": (*test.notes, note)}
    test = replace(test, values=test.values[:, ~out], **known)
    return replace(train, values=train.values[:, ~out], channels=test.channels), test


# --- two halves ---


def join(train: Table, test: Table, label_path: Path, dataset: str, entity: str) -> Series:
    """The series of two halves with the same channels; notes tell what was found or mended."""
    expected, channels = train.channels or (), test.channels or ()
    if channels != expected:
        apart = sorted({*expected} ^ {*channels})[:5]  # of hundreds some do
        problem = f"other channels than in training, or in another order {apart}"
        raise DataError(problem, file=test.path, hint="label= may name one, channels= the others")
    notes, known = [*train.notes, *test.notes], {}
    if train.labels is not None:
        notes += reading.marked_note(train.labels, len(train.values), train.path)
    for part, name, half in (("train", "training half", train), ("test", "test half", test)):
        place = f"{half.path.name}, {name}"
        known[part], mended = reading.mend(half.values, place, train.channels, known.get("train"))
        notes += mended
    notes += _order_notes(train, test)
    if test.labels is not None and not test.labels.any():
        notes.append(f"{label_path.name}: no row of the test half is labelled an anomaly")
    known |= {"labels": test.labels, "rows_per_day": test.rows_per_day or train.rows_per_day}
    known |= {"channels": train.channels, "notes": tuple(notes)}
    files = {"train": train.path, "test": test.path, "labels": label_path}
    return Series.checked(dataset=dataset, entity=entity, files=files, **known)


def _order_notes(train: Table, test: Table) -> Notes:
    """What is odd about the times of the halves beside each other."""
    notes, name, (first, second) = [], test.path.name, (train.times, test.times)
    kinds = {None if each is None else each.dtype.kind for each in (first, second)}
    if None in kinds or len(kinds) > 1 or min(len(first), len(second)) < 2:
        return notes
    if shared := np.isin(second, first).sum():
        notes.append(f"{name}: {shared} of {len(second)} rows have times of the training half")
    elif second[0] < first[-1]:
        notes.append(f"{name}: the test half begins at {second[0]}, before training ends")
    (step, _), (other, _) = reading.usual_step(first), reading.usual_step(second)
    if abs(other - step) > step / 10:
        per_day = "figures per day are of the latter"
        notes.append(f"{name}: the step is {step} in training, {other} in the test half: {per_day}")
    return notes
