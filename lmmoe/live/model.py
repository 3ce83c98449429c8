"""A fitted detector with what a live stream needs to know of the rows it was fitted on."""

import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmmoe.detectors import Detector, saving
from lmmoe.errors import DataError
from lmmoe.protocol import PROTOCOLS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What training rows were like: kept beside the model, in the same file.

    ``channels`` are their names, ``named`` whether the data gave them; ``means`` and ``deviations``
    (population, 1 for a channel that does not vary) of each channel, in its unit. ``step`` is the
    median time from row to row: in seconds where times were dates (``dates``), else in the unit of
    the time column; None without one. ``rows_per_day`` is None where a day is not known.
    """

    channels: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    named: bool = False
    step: float | None = None
    dates: bool = False
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

    def save(self, path: str | Path) -> Path:
        """Write one file, as `lmmoe.save_detector` does; raises as that does."""
        known = asdict(self.facts) if self.facts else None
        return saving.save(self.detector, path, facts=known)

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read what `save` or `lmmoe.save_detector` wrote; `DataError` for anything else.

        It is run on the processor, wherever it was fitted: for single rows nothing else pays.
        """
        made, kept = saving.load(path, device="cpu"), saving.facts(path)
        if kept is None:
            return cls(made)
        known = {each.name for each in fields(Facts)}
        try:
            return cls(made, Facts(**{name: kept[name] for name in known & kept.keys()}))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the facts beside the model do not fit it ({error})", file=path, hint="Fit it anew"
            ) from error
