"""A fitted detector with what a live stream must know of its training rows; files of these."""

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, model_validator
from pydantic.dataclasses import dataclass

from lmmoe.data.series import numbered
from lmmoe.detectors import Detector, saving
from lmmoe.detectors import detector as make
from lmmoe.detectors.base import Positive
from lmmoe.detectors.scaling import Scaling
from lmmoe.errors import DataError
from lmmoe.live.alarms import DAY, Alarm, Units, checked_rule, threshold
from lmmoe.live.lines import Columns
from lmmoe.live.scoring import Forecasting, Rebuilding, Sliding, Viewing

Floats = npt.NDArray[np.float64]
SCORERS = {"Mixture": Forecasting, "PCAWindows": Rebuilding, "ThreeViews": Viewing}  # of ours
CALIBRATION = 0.1  # share at the end of the training rows whose scores set thresholds
# What files of ours contain: what may be replaced.
MARKS = {"state": b"lmmoe live state", "model": b"lmmoe detector", "ONNX file": b"lmmoe onnx"}


@dataclass(frozen=True)
class Facts:
    """What training rows were like: kept beside the model, in the same file.

    What is not known is None or empty.
    """

    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    means: tuple[FiniteFloat, ...] = ()
    deviations: tuple[Positive, ...] = ()  # population's; 1 for a channel that does not vary
    named: bool = False  # whether the data gave the channels' names
    step: Positive | None = None  # median time from row to row, in seconds where times are dates
    dates: bool = False
    time: str | None = None  # name of the time column
    pattern: str | None = None  # how dates are written (`datetime.strptime`); None: ISO 8601, too
    rows_per_day: Positive | None = None
    rows: int = 0

    @model_validator(mode="after")
    def _go_together(self) -> "Facts":
        numbers = {len(self.means or self.channels), len(self.deviations or self.channels)}
        if numbers != {len(set(self.channels))}:
            raise ValueError("channels, means and deviations differ in number, or a name is twice")
        return self

    @classmethod
    def of(
        cls, rows: npt.ArrayLike, channels: tuple[str, ...] | None = None, **known: object
    ) -> "Facts":
        """Take them from training rows ``(t, c)``."""
        found = Scaling.of("z-score", np.asarray(rows, dtype=np.float64))
        names, known["named"] = channels or numbered(len(found.shift)), channels is not None
        return cls(names, tuple(found.shift), tuple(found.scale), rows=len(rows), **known)


class Model:
    """A fitted detector and the facts of its training rows, as far as they are known."""

    def __init__(self, detector: Detector, facts: Facts | None = None) -> None:
        if not detector.fitted:
            raise RuntimeError(f"{detector.name} has not been fitted: call fit first")
        count = detector.n_features_in_
        self.detector, self.facts = detector, facts or Facts(numbered(count))
        self.channels, self.columns = self.facts.channels, Columns(self.facts)
        if len(self.channels) != count:
            raise ValueError(f"facts of {len(self.channels)} channels for a detector of {count}")

    @cached_property
    def fingerprint(self) -> str:
        """Tells this model from others: a stream's saved state belongs to one."""
        return saving.fingerprint(self.detector)

    @cached_property
    def calibration(self) -> Floats | None:
        """Scores of the last tenth of the training rows, unless the detector was fitted on them.

        None, too, where it scales scores over the rows given.
        """
        made, rows = self.detector, len(self.detector.decision_scores_)
        first = rows - int(CALIBRATION * rows)
        unfit = made.rescales or made._cut(rows) > first
        return None if unfit else made.decision_scores_[first:]

    @cached_property
    def scorer(self) -> Forecasting | Rebuilding | Sliding:
        """What scores rows one by one, the quickest; `DataError` where no live score exists."""
        made = self.detector
        if made.rescales:
            raise DataError(f"{made.name} has no live score: its scores depend on all rows given")
        # By name, since a class derived from these may score otherwise.
        kind = SCORERS.get(type(made).__name__) if made.savable else None
        return kind(made) if kind else Sliding(made, self.facts)

    def alarm(self, rule: str | float, rows_per_day: float | None = None) -> tuple[Units, Alarm]:
        """Give units of scores, and an alarm by a rule; raises as `lmmoe.live.alarms.threshold`."""
        known = self.facts.rows_per_day if rows_per_day is None else rows_per_day
        (word, value), level = checked_rule(rule), threshold(rule, self.calibration, known)
        made, daily = self.detector, known or DAY
        if word != "alarms":
            return Units(), Alarm(level, minutes=DAY / daily)
        units = Units.of(made.decision_scores_, daily, logarithm=not made.logarithmic)
        return units, Alarm(max(0.0, float(units(level))), value, DAY / daily)

    def save(self, path: str | Path) -> Path:
        """Write one file, as `lmmoe.save_detector` does, and which `lmmoe.load_detector` reads."""
        return saving.save(self.detector, path, facts=asdict(self.facts))

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read what `save` or `lmmoe.save_detector` wrote, for the processor; or `DataError`."""
        made = saving.load(path, device="cpu")
        try:
            return cls(made, Facts(**made.facts) if made.facts else None)
        except (TypeError, ValueError) as error:
            problem = f"the facts beside the model do not fit it ({str(error)[:300]})"
            raise DataError(problem, file=path, hint="Fit it anew") from error


class Models:
    """The models of entities: one file for all, or a folder with one each, read when needed.

    A model is read again when its file has changed; where that fails, ``tell`` is told and the old
    one stays.
    """

    def __init__(self, path: str | Path, tell: Callable[[str], None] = print) -> None:
        self.path, self.tell, self.known = Path(path), tell, {}

    def __call__(self, entity: str) -> Model:
        """Give an entity's model; raises `DataError` where none can be read."""
        path = self.path / f"{entity}.safetensors" if self.path.is_dir() else self.path
        stamp, model, fault = self.known.get(path, (None, None, DataError("no model", file=path)))
        try:
            found = path.stat()
            now = found.st_mtime_ns, found.st_size
        except (OSError, ValueError):  # not there, or no name of a file
            now = stamp
        if now != stamp and self.path in (path, path.parent):  # else the name leads elsewhere
            try:
                model = Model.load(path)
            except DataError as error:
                fault = error
                if model:
                    self.tell(f"{error}: the old model stays")
            self.known[path] = now, model, fault
        if model is None:
            raise fault.with_traceback(None)
        return model


def fit(
    path: str | Path,
    *,
    update: str | Path | None = None,
    detector: str | None = None,
    seed: int | None = None,
    rows_per_day: float | None = None,
    settings: dict[str, object] | None = None,
    **options: object,
) -> tuple[Model, list[str]]:
    """Fit a detector (ThreeViews) on the rows of a CSV or Parquet file, taken as normal.

    `lmmoe.data.own.read_table` reads the file and takes the ``options``; labels are dropped.
    ``rows_per_day`` is for rows without times. ``settings`` are the detector's. With ``update``, an
    older model's file, the channels and their order are as there, and so are detector, settings and
    form of times that are not given. Also gives notes about what was mended, and about less than a
    week of calibration.

    Raises `DataError` for rows or settings that cannot be used, for a detector that has no live
    score (`lmmoe.live.scoring`) or cannot be saved, and where training diverges.
    """
    from lmmoe.data import own, reading  # pandas: a watch does without

    old, given = None if update is None else Model.load(update), settings or {}
    given = given if seed is None else {"seed": seed} | given
    if old:
        if detector in (None, old.detector.name):  # another one has settings of its own
            detector, given = old.detector.name, old.detector.settings | given
        asked = {"channels": list(old.channels) if old.facts.named else None}
        options = asked | {"time": old.facts.time, "dates": old.facts.pattern} | options
    try:
        made = make(detector or "ThreeViews", **given)
    except ValueError as error:
        raise DataError(str(error)) from error
    if made.rescales or not made.savable:
        why = "its scores depend on all rows given" if made.rescales else "it cannot be saved"
        raise DataError(f"nothing can watch with {made.name}: {why}")
    table = own.read_table(Path(path), need_label=False, **options)
    rows, mended = reading.mend(table.values, table.path.name, table.channels)
    notes, channels = [*table.notes, *mended], table.channels
    if table.labels is not None:
        notes += reading.marked_note(table.labels, len(rows), table.path)
    kept = old and (old.channels if old.facts.named else channels)
    if old and (kept != channels or len(old.channels) != rows.shape[1]):
        problem = f"{rows.shape[1]} channels, other than the {len(old.channels)} of the old model"
        raise DataError(problem, file=path, hint="Fit a new model")
    daily = table.rows_per_day or (old and old.facts.rows_per_day)
    daily = daily if rows_per_day is None else rows_per_day
    known = {"rows_per_day": daily, "time": table.time, "pattern": table.pattern}
    if table.times is not None and len(table.times) > 1:
        dates, steps = table.times.dtype.kind == "M", np.diff(table.times)
        steps = steps / np.timedelta64(1, "s") if dates else steps
        known |= {"dates": dates, "step": float(np.median(steps))}
    try:
        model = Model(made.fit(rows), Facts.of(rows, channels, **known))
    except (RuntimeError, ValueError) as error:  # a DataError among them
        raise DataError(str(error), file=path) from error
    _ = model.scorer  # there is one
    calibration = model.calibration
    if calibration is not None and daily and (days := len(calibration) / daily) < 7:
        notes.append(f"thresholds come from the last {days:.2g} days: a week has other days, too")
    return model, notes


# --- files ---


def check_place(path: str | Path, kind: str, *inputs: str | Path | int) -> None:
    """Raise `DataError` unless a file of ``kind`` (one of `MARKS`) can be written to ``path``.

    It cannot where ``path`` is one of ``inputs`` (paths, or numbers of open files), holds anything
    but such a file, or lies where nothing can be written. An empty file may be replaced.
    """
    path, problem, mark = Path(path), "", MARKS[kind]
    try:
        if path.exists() and any(os.path.exists(i) and os.path.samefile(path, i) for i in inputs):
            problem = f"read and to be written at once: the {kind} would replace what is read"
        elif path.exists() and not (path.is_file() and mark in (path.read_bytes() or mark)):
            problem = f"there, and no {kind} of lmmoe: not replaced"
        path.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        problem = f"the {kind} cannot be written there ({error.strerror or error})"
    if problem:
        raise DataError(problem, file=path, hint="Name another file")
