"""A fitted detector with what a live stream needs to know of the rows it was fitted on."""

import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from lmmoe.detectors import Detector, saving
from lmmoe.errors import DataError
from lmmoe.live import checksum
from lmmoe.live.checks import above_zero
from lmmoe.report.protocol import PROTOCOLS

Floats = npt.NDArray[np.float64]


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
        if not all(text is None or isinstance(text, str) for text in (self.time, self.pattern)):
            raise ValueError("time and pattern must be texts")
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
            channels or unnamed(values.shape[1]),
            tuple(values.mean(axis=0).tolist()),
            tuple(spread.tolist()),
            named=channels is not None,
            rows=len(values),
            **known,
        )


def unnamed(count: int) -> tuple[str, ...]:
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
        return self.facts.channels if self.facts else unnamed(self.detector.n_features_in_)

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
        made, protocol = self.detector, PROTOCOLS["ours"]
        rows = len(made.decision_scores_)
        learned = made._cut(rows) if hasattr(made, "_cut") else 0
        if made.rescales or learned > rows - int(protocol.calibration * rows):
            return None
        return protocol.calibrating(made.decision_scores_)

    @cached_property
    def normal(self) -> float:
        """The score of a common row: the calibration's median, -inf where there is none."""
        return -math.inf if self.calibration is None else float(np.median(self.calibration))

    def day(self, rows: float | None = None) -> float | None:
        """Rows a day: those given, else the facts'; None if unknown, `DataError` for 0 or less."""
        if rows is not None:
            above_zero("rows_per_day", rows)
            return rows
        return self.facts.rows_per_day if self.facts else None

    def save(self, path: str | Path) -> Path:
        """Write one file with a checksum, else as `lmmoe.save_detector` does; raises as that does.

        `lmmoe.load_detector` reads it, too.
        """
        known = asdict(self.facts) if self.facts else None
        with TemporaryDirectory(prefix="lmmoe-") as folder:
            plain = saving.save(self.detector, Path(folder, "model.safetensors"), facts=known)
            arrays, head = checksum.read(plain)
        return checksum.write(Path(path), arrays, head)

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read what `save` or `lmmoe.save_detector` wrote; `DataError` for anything else.

        What `save` wrote is held against its checksum; a plain detector has none. It is run on the
        processor, wherever it was fitted: for single rows nothing else pays.
        """
        made, kept = saving.load(path, device="cpu"), saving.facts(path)
        if kept is not None or has_checksum(path):
            checksum.check(*checksum.read(path), path)
        if kept is None:
            return cls(made)
        known = {each.name for each in fields(Facts)}
        try:
            return cls(made, Facts(**{name: kept[name] for name in known & kept.keys()}))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the facts beside the model do not fit it ({error})", file=path, hint="Fit it anew"
            ) from error


def has_checksum(path: str | Path) -> bool:
    """Whether damage to a model's file would show; raises `DataError` for another file."""
    return checksum.NAME in saving.header(path)
