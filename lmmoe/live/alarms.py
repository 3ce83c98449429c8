"""When an alarm opens and ends, and thresholds set without labels.

A rule for a threshold is written as a word with a number: ``budget:1`` (at most one alarm a day on
the calibration rows, `lmmoe.metrics.alarm_budget`), ``quantile:0.99`` (`lmmoe.metrics.quantile`),
``pot:0.0001`` (`lmmoe.metrics.pot`), or the threshold itself, such as ``12.5``. A word alone takes
the number in `DEFAULTS`.
"""

import math
import sys
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget, pot, quantile
from lmmoe.metrics.alarms import APART

Floats = npt.NDArray[np.float64]
DEFAULTS = {"budget": 1.0, "quantile": 0.99, "pot": 1e-4}
RELEASE = 0.8  # of the threshold: our choice
# Live scores are as near as this to the same rows' batch scores, as a share: a row that sets the
# threshold must not be above it when it comes again.
ROUNDING = 1e-5
# What single precision leaves of a squared error where rows hardly differ, in squared deviations.
TINY = 1e-12


@dataclass(slots=True)
class Alarm:
    """An alarm with hysteresis in height and in time.

    It opens with a row above ``threshold``, and ends after ``APART`` rows in a row (10) of which
    none is above ``release`` times the threshold. With a release of 1 these are the alarms that
    `lmmoe.metrics.alarms` counts; a lower one gives fewer and longer ones, for scores that swing
    about the threshold. ``normal`` is the score of a common row: the level that ends an alarm is
    not set below it (but never above the threshold), for then no alarm would end. "Above" is by
    more than rounding.
    """

    threshold: float
    release: float = RELEASE
    normal: float = -math.inf
    open: bool = False
    quiet: int = 0  # rows in a row that were not above the release level
    peak: float = 0.0  # highest score of the alarm
    first: int = -1  # row that opened it
    last: int = -1  # latest row above the release level

    def __post_init__(self) -> None:
        if not 0 <= self.release <= 1:
            raise DataError(f"release={self.release}: a share of the threshold is needed, 0 to 1")

    def step(self, score: float, row: int) -> str:
        """Take a row's score; "opened" or "ended" where that happens with it, else ""."""
        if not self.open:
            if not above(score, self.threshold):
                return ""
            self.open, self.quiet, self.peak, self.first, self.last = True, 0, score, row, row
            return "opened"
        ending = min(max(self.release * self.threshold, self.normal), self.threshold)
        if above(score, ending):
            self.quiet, self.last, self.peak = 0, row, max(self.peak, score)
        else:
            self.quiet += 1
            self.open = self.quiet < APART
        return "" if self.open else "ended"

    @property
    def state(self) -> dict[str, object]:
        """What a restart must know; threshold, release and normal are settings."""
        known = asdict(self)
        return {name: known[name] for name in ("open", "quiet", "peak", "first", "last")}


def above(score: float, level: float) -> bool:
    """Tell whether a live score is above a level by more than rounding."""
    return score > level + ROUNDING * abs(level) + TINY


def checked_rule(rule: str | float) -> tuple[str, float]:
    """Split a rule into word and number; "" is the word of a bare number.

    Raises `DataError` for a rule that does not exist, and for a number that it cannot have.
    """
    word, _, number = str(rule).partition(":")
    if word not in DEFAULTS:
        word, number = "", str(rule)
    try:
        value = float(number or DEFAULTS.get(word, math.nan))
    except ValueError:
        value = math.nan
    if not 0 <= value <= (1 if word in ("quantile", "pot") else sys.float_info.max):
        hint = f"Use a number, or one of {', '.join(DEFAULTS)}, as in 'budget:1'"
        raise DataError(f"no threshold {str(rule)!r}", hint=hint)
    return word, value


def threshold(rule: str | float, calibration: Floats | None, rows_per_day: float | None) -> float:
    """Give a rule's threshold.

    Raises `DataError` where the rule needs calibration scores ``(n,)`` or ``rows_per_day`` and
    there are none.
    """
    word, value = checked_rule(rule)
    if not word:
        return value
    if calibration is None:
        problem = f"the model holds no scores of rows that it was not fitted on: no {word}"
        raise DataError(problem, hint="Give the threshold as a number, or fit with held_out=0.1")
    if word == "budget" and rows_per_day is None:
        problem = "an alarm budget needs to know how many rows make a day"
        raise DataError(problem, hint="Fit on rows with times, or give rows_per_day")
    try:
        if word == "budget":
            return alarm_budget(calibration, rows_per_day, per_day=value)
        return quantile(calibration, value) if word == "quantile" else pot(calibration, q=value)
    except ValueError as error:
        raise DataError(f"threshold {str(rule)!r}: {error}") from error
