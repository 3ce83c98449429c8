"""When an alarm begins and ends: one line for a bad hour, not sixty."""

from lmmoe.errors import DataError
from lmmoe.metrics.alarms import APART

RELEASE = 0.8  # of the threshold: our choice


class Alarm:
    """An alarm with hysteresis in height and in time.

    It opens with a row above ``threshold``, and ends after ``APART`` rows in a row (10) of which
    none is above ``release`` times the threshold. With a release of 1 these are the alarms that
    `lmmoe.metrics.alarms` counts; a lower one gives fewer and longer ones, for scores that swing
    about the threshold. A row without a score changes nothing.
    """

    __slots__ = ("first", "last", "open", "peak", "quiet", "release", "threshold")

    def __init__(self, threshold: float, release: float = RELEASE) -> None:
        if not 0 <= release <= 1:
            raise DataError(f"release={release}: a share of the threshold from 0 to 1 is needed")
        self.threshold, self.release = threshold, release
        self.open, self.quiet, self.peak = False, 0, 0.0
        self.first = self.last = -1  # row that opened it, latest row above the release

    def step(self, score: float, row: int) -> bool:
        """Take a row's score; tell whether an alarm has opened with it."""
        if not self.open:
            if score > self.threshold:
                self.open, self.quiet, self.peak = True, 0, score
                self.first = self.last = row
                return True
            return False
        if score > min(self.release * self.threshold, self.threshold):
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
