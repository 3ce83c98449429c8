"""A fitted detector with what a live stream needs to know of the rows it was fitted on."""

import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.reading import FORMATS, TIMES, Table, read_table
from lmmoe.detectors import Detector, saving
from lmmoe.detectors import detector as make
from lmmoe.errors import DataError
from lmmoe.live import outputs

Floats = npt.NDArray[np.float64]
CALIBRATION = 0.1  # share at the end of the training rows whose scores set thresholds


@dataclass(frozen=True)
class Facts:
    """What training rows were like: kept beside the model, in the same file.

    ``channels`` are their names, ``named`` whether the data gave them; ``means`` and ``deviations``
    (population, 1 for a channel that does not vary) of each channel, in its unit. ``step`` is the
    median time from row to row: in seconds where times were dates (``dates``), else in the unit of
    the time column; None without one. ``time`` is that column's name, None where it has none;
    ``pattern`` how its dates are written, for `datetime.strptime`, None for ISO 8601.
    ``rows_per_day`` is None where a day is not known.
    """

    channels: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    named: bool = False
    step: float | None = None
    dates: bool = False
    time: str | None = None
    pattern: str | None = None
    rows_per_day: float | None = None
    rows: int = 0

    def __post_init__(self) -> None:
        for name in ("channels", "means", "deviations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.channels) == len(self.means) == len(self.deviations) > 0:
            raise ValueError("channels, means and deviations differ in number, or there are none")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("two channels of one name")
        if not all(map(math.isfinite, self.means)):
            raise ValueError("a mean is not a finite number")
        for value in (*self.deviations, self.step, self.rows_per_day):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{value}: deviations, step and rows_per_day must be above 0")

    @classmethod
    def of(
        cls, rows: npt.ArrayLike, channels: tuple[str, ...] | None = None, **known: object
    ) -> "Facts":
        """Take them from training rows ``(t, c)``."""
        values = np.asarray(rows, dtype=np.float64)
        spread = values.std(axis=0)
        spread[np.ptp(values, axis=0) == 0] = 1.0
        return cls(
            channels or _numbered(values.shape[1]),
            tuple(values.mean(axis=0).tolist()),
            tuple(spread.tolist()),
            named=channels is not None,
            rows=len(values),
            **known,
        )


def _numbered(count: int) -> tuple[str, ...]:
    """Names for channels without one, as `lmmoe.data.Series` gives them."""
    return tuple(f"channel {number + 1}" for number in range(count))


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted detector and the facts of its training rows; None where only its file is known."""

    detector: Detector
    facts: Facts | None = None

    def __post_init__(self) -> None:
        if not self.detector.fitted:
            raise RuntimeError(f"{self.detector.name} has not been fitted: call fit first")
        if self.facts and len(self.facts.channels) != self.detector.n_features_in_:
            raise ValueError(
                f"facts of {len(self.facts.channels)} channels for a detector of "
                f"{self.detector.n_features_in_}"
            )

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels' names, or numbers where they have none."""
        return self.facts.channels if self.facts else _numbered(self.detector.n_features_in_)

    @cached_property
    def fingerprint(self) -> str:
        """Tells this model from others: a stream's saved state belongs to one."""
        return saving.fingerprint(self.detector)

    @cached_property
    def calibration(self) -> Floats | None:
        """Scores of the last tenth of the training rows, which the detector was not fitted on.

        None where it learned from them as well, or scales scores over the rows given: then nothing
        in the model can set a threshold.
        """
        made, rows = self.detector, len(self.detector.decision_scores_)
        first = rows - int(CALIBRATION * rows)
        learned = made._cut(rows) if hasattr(made, "_cut") else 0
        return None if made.rescales or learned > first else made.decision_scores_[first:]

    @cached_property
    def normal(self) -> float:
        """The score of a common row: the calibration's median, -inf where there is none."""
        return -math.inf if self.calibration is None else float(np.median(self.calibration))

    def day(self, rows: float | None = None) -> float | None:
        """Rows a day: those given, else the facts'; None if unknown, `DataError` for 0 or less."""
        if rows is not None and not 0 < rows < math.inf:
            raise DataError(f"rows_per_day={rows}: a number above 0 is needed")
        return rows or (self.facts.rows_per_day if self.facts else None)

    def save(self, path: str | Path) -> Path:
        """Write one file with a checksum, else as `lmmoe.save_detector` does; raises as that does.

        `lmmoe.load_detector` reads it, too.
        """
        known = asdict(self.facts) if self.facts else None
        with TemporaryDirectory(prefix="lmmoe-") as folder:
            plain = saving.save(self.detector, Path(folder, "model.safetensors"), facts=known)
            return outputs.write(path, *outputs.read(plain, checked=False))

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read what `save` or `lmmoe.save_detector` wrote; `DataError` for anything else.

        What `save` wrote is held against its checksum; a plain detector has none. It is run on the
        processor, wherever it was fitted: for single rows nothing else pays.
        """
        known = saving.facts(path)
        if known is not None or has_checksum(path):
            outputs.read(path)
        made = saving.load(path, device="cpu")
        if known is None:
            return cls(made)
        names = {each.name for each in fields(Facts)}
        try:
            return cls(made, Facts(**{name: known[name] for name in names & known.keys()}))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the facts beside the model do not fit it ({error})", file=path, hint="Fit it anew"
            ) from error


def has_checksum(path: str | Path) -> bool:
    """Whether damage to a model's file would show; raises `DataError` for another file."""
    return outputs.SUM in saving.header(path)


def fit(
    path: str | Path,
    *,
    detector: str = "LightMMoE",
    seed: int = 0,
    time: str | None = None,
    label: str | None = None,
    missing: str = "error",
    rows_per_day: float | None = None,
    settings: dict[str, object] | None = None,
) -> tuple[Model, list[str]]:
    """Fit a detector on the rows of a CSV or Parquet file, taken as normal.

    The file is read as `lmmoe.data.own` reads one: ``time`` and ``label`` name those columns if
    they are others, labels are dropped, ``missing="fill"`` repeats a channel's last value where a
    cell is empty. ``rows_per_day`` is for rows without times. ``settings`` are the detector's. Also
    gives notes about what was mended.

    Raises `DataError` for rows or settings that cannot be used, for a detector that has no live
    score (`lmmoe.live.stream`) or cannot be saved, and where training diverges.
    """
    from lmmoe.live.stream import scorer

    if missing not in ("error", "fill"):
        raise DataError(f"missing is {missing!r}, neither 'error' nor 'fill'")
    try:
        made = make(detector, seed=seed, **(settings or {}))
    except ValueError as error:
        raise DataError(str(error)) from error
    if not made.savable or made.rescales:
        why = "its scores depend on all rows given" if made.savable else "it cannot be saved"
        raise DataError(f"nothing can watch with {made.name}: {why}")
    table = read_table(Path(path), time=time, label=label, fill=missing == "fill", need_label=False)
    rows, filled = reading.fill_gaps(table.values, table.path.name)
    notes = [*table.notes, *filled]
    if table.labels is not None:
        notes += reading.marked_note(table.labels, len(rows), table.path)
    known = _time_facts(table, time)
    if rows_per_day is not None:
        known["rows_per_day"] = rows_per_day
    try:
        model = Model(made.fit(rows), Facts.of(rows, table.channels, **known))
    except (RuntimeError, ValueError) as error:  # a DataError among them
        raise DataError(str(error), file=path) from error
    scorer(model)
    return model, notes


def _time_facts(table: Table, given: str | None) -> dict[str, object]:
    """What a table's time column says, as fields of `Facts`; ``given`` is its name, if any."""
    if table.times is None or len(table.times) < 2:
        return {}
    dates = table.times.dtype.kind == "M"
    steps = np.diff(table.times)
    step = float(np.median(steps / np.timedelta64(1, "s") if dates else steps))
    known = {"step": step, "dates": dates, "rows_per_day": table.rows_per_day}
    if table.path.suffix.lower() == ".parquet":
        from pyarrow.parquet import read_schema

        names = [str(name) for name in read_schema(table.path).names]
    else:
        first = next((row for row in reading.first_rows(table.path, 5) if any(row)), [])
        names = [name.strip() for name in first]
    place = 0
    if given is not None:
        place = names.index(given) if given in names else int(given)
    elif table.channels is not None:
        place = next((n for n, name in enumerate(names) if name.lower() in TIMES), 0)
    if table.channels is not None and names[place] not in table.channels:
        known["time"] = names[place]
    if dates and table.path.suffix.lower() != ".parquet":
        known["pattern"] = _pattern(table, place)
    return known


def _pattern(table: Table, place: int) -> str | None:
    """Give the pattern by which all cells of a column are the table's times; None for ISO 8601."""
    header = None if table.channels is None else 0
    frame = reading.read_frame(table.path, header=header, usecols=[place], dtype=str)
    text = frame.iloc[:, 0].str.strip()
    for each in FORMATS:
        read = pd.to_datetime(text, format=each, utc=True, errors="coerce").dt.tz_convert(None)
        if np.array_equal(read.to_numpy(), table.times):
            return None if each == "ISO8601" else each
    return None
