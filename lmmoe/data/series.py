"""One entity's recording: what every reader returns and every detector takes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.segments import runs

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.int8]
LABELS = ("label", "labels", "anomaly", "is_anomaly", "attack")
TIMES = ("time", "timestamp", "date", "datetime", "@timestamp", "_time")
GAPS = ("", "na", "n/a", "nan", "null", "none", "undefined", "-")  # cells that are missing
FAR = 1e9  # deviations beyond which a value is cut, also live: its square fits a float32
MEND = "Fill or remove such cells; a folder of one's own can be read with missing='fill'"


class Cause(NamedTuple):
    """The channels that caused one event, as the data's authors say.

    Rows ``start`` (included) to ``end`` (excluded) of the test half, counted from 0; ``channels``
    are indices into ``Series.channels``, counted from 0.
    """

    start: int
    end: int
    channels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Series:
    """A training half taken as normal and a labelled test half of one entity.

    Axes: t rows (time), c channels. ``train`` is ``(t_train, c)`` and ``test`` ``(t_test, c)``,
    raw values; ``labels`` is ``(t_test,)`` of 0/1, or None where nobody labelled the data.
    ``vus_window`` is the widest buffer of VUS, in rows, where a benchmark has one for each series;
    ``notes`` say what a reader had to mend. Build one with `Series.checked`.
    """

    dataset: str
    entity: str
    train: Floats
    test: Floats
    labels: Bits | None
    channels: tuple[str, ...]
    causes: tuple[Cause, ...] | None = None
    rows_per_day: float | None = None
    vus_window: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def judgeable(self) -> bool:
        """Whether the test half has both labelled events and normal rows."""
        return self.labels is not None and len(np.unique(self.labels)) == 2

    @classmethod
    def checked(
        cls,
        *,
        dataset: str,
        entity: str,
        train: npt.ArrayLike,
        test: npt.ArrayLike,
        labels: npt.ArrayLike | None,
        channels: tuple[str, ...] | None = None,
        files: dict[str, object] | None = None,
        **known: object,
    ) -> "Series":
        """Build a series, or raise `DataError` that names the one of ``files``, row and column.

        ``known`` are the other attributes.
        """
        names = {part: f"{dataset}/{entity} ({part})" for part in ("train", "test", "labels")}
        names |= files or {}
        train = matrix(train, names["train"], channels).copy()  # it gets locked
        test = matrix(test, names["test"], channels).copy()
        if train.shape[1] != test.shape[1]:
            problem = f"{test.shape[1]} channels, but the training half has {train.shape[1]}"
            raise DataError(problem, file=names["test"])
        channels = channels or numbered(train.shape[1])
        labels = None if labels is None else _bits(labels, len(test), names["labels"])
        for array in (train, test):
            array.flags.writeable = False
        return cls(dataset, entity, train, test, labels, channels, **known)

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits of a SHA-256 over the values: the same data, the same id."""
        digest = hashlib.sha256()
        for array in (self.train, self.test, self.labels):
            if array is not None:
                digest.update(repr(array.shape).encode())
                digest.update(array.data)  # contiguous, as `matrix` makes it
        return digest.hexdigest()[:12]

    @cached_property
    def events(self) -> list[tuple[int, int]]:
        """The labelled events of the test half as (first row, row after the last)."""
        return [] if self.labels is None else runs(self.labels)


def numbered(count: int) -> tuple[str, ...]:
    """Names for channels that have none."""
    return tuple(f"channel {number + 1}" for number in range(count))


def matrix(
    values: npt.ArrayLike, file: str | None = None, channels: tuple[str, ...] | None = None
) -> Floats:
    """Finite numbers ``(rows, channels)`` in C order, not copied if they are; or `DataError`."""
    try:
        array = np.asarray(values, dtype=np.float64, order="C")  # one layout, one result
    except (TypeError, ValueError) as error:
        raise DataError(f"not numbers ({error})", file=file) from error
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"shape {array.shape}, expected (rows, channels), both above 0", file=file)
    if channels is not None and len(channels) != array.shape[1]:
        raise DataError(f"{array.shape[1]} columns for {len(channels)} channel names", file=file)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0].tolist()
        problem = f"{array[row, column]} is not a finite number ({len(bad)} such cells)"
        column = channels[column] if channels else column
        raise DataError(problem, file=file, row=row, column=column, hint=MEND)
    return array


def _bits(labels: npt.ArrayLike, rows: int, file: str) -> Bits:
    values = np.asarray(labels)
    if values.shape != (rows,):
        raise DataError(f"labels of shape {values.shape} for {rows} test rows", file=file)
    bad = np.flatnonzero(~np.isin(values, (0, 1)) | (values.dtype.kind in "OUS"))
    if len(bad):
        row = int(bad[0])
        raise DataError(f"label {values.tolist()[row]!r} is neither 0 nor 1", file=file, row=row)
    bits = values.astype(np.int8)
    bits.flags.writeable = False
    return bits
