"""When an alarm begins and ends: one line for a bad hour, not sixty."""

import math

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.metrics.alarms import APART

Floats = npt.NDArray[np.float64]
RELEASE = 0.8  # of the threshold: our choice
# Live scores are as near as this to the same rows' batch scores, as a share (lmmoe.live.scorers):
# a row that sets the threshold must not be above it when it comes again.
ROUNDING = 1e-5
# What single precision leaves of a squared error where rows hardly differ, in squared deviations.
TINY = 1e-12


def bar(level: float | Floats) -> float | Floats:
    """Give what a live score must exceed to be above one or more levels by more than rounding."""
    return level + ROUNDING * abs(level) + TINY


class Alarm:
    """An alarm with hysteresis in height and in time.

    It opens with a row above ``threshold``, and ends after ``APART`` rows in a row (10) of which
    none is above ``release`` times the threshold. With a release of 1 these are the alarms that
    `lmmoe.metrics.alarms` counts; a lower one gives fewer and longer ones, for scores that swing
    about the threshold. ``normal`` is the score of a common row: the level that ends an alarm is
    not set below it (but never above the threshold), for then no alarm would end. "Above" is by
    more than rounding (`bar`). A row without a score changes nothing.
    """

    __slots__ = ("first", "last", "normal", "open", "peak", "quiet", "release", "threshold")

    def __init__(
        self, threshold: float, release: float = RELEASE, normal: float = -math.inf
    ) -> None:
        if not 0 <= release <= 1:
            raise DataError(f"release={release}: a share of the threshold from 0 to 1 is needed")
        self.threshold, self.release, self.normal = threshold, release, normal
        self.open, self.quiet, self.peak = False, 0, 0.0
        self.first = self.last = -1  # row that opened it, latest row above the release

    def above(self, score: float) -> bool:
        """Tell whether a score is one that opens an alarm."""
        return score > bar(self.threshold)

    def step(self, score: float, row: int) -> bool:
        """Take a row's score; tell whether an alarm has opened with it."""
        if not self.open:
            if self.above(score):
                self.open, self.quiet, self.peak = True, 0, score
                self.first = self.last = row
                return True
            return False
        if score > bar(min(max(self.release * self.threshold, self.normal), self.threshold)):
            self.quiet, self.last = 0, row
            self.peak = max(self.peak, score)
            return False
        self.quiet += 1
        self.open = self.quiet < APART
        return False

    @property
    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {name: getattr(self, name) for name in STATE}

    def restore(self, state: dict[str, float]) -> None:
        """Take back `state`; `KeyError`, `TypeError` or `ValueError` where it does not fit."""
        for name, kind in STATE.items():
            setattr(self, name, kind(state[name]))


STATE = {"open": bool, "quiet": int, "peak": float, "first": int, "last": int}
