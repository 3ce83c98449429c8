"""When an alarm opens and ends, and thresholds set without labels.

A rule for a threshold is written as a word with a number: ``budget:1`` (at most one alarm a day on
the calibration rows, `lmmoe.metrics.alarm_budget`), ``quantile:0.99`` (`lmmoe.metrics.quantile`),
``pot:0.0001`` (`lmmoe.metrics.pot`), ``spot:0.0001`` (the same, updated with every normal row:
`Tail`), or the threshold itself, such as ``12.5``. A word alone takes the number in `DEFAULTS`.
"""

import math
import sys
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget, pot, quantile
from lmmoe.metrics.alarms import APART
from lmmoe.metrics.thresholds import checked_calibration, exceeded

Floats = npt.NDArray[np.float64]
DEFAULTS = {"budget": 1.0, "quantile": 0.99, "pot": 1e-4, "spot": 1e-4}
RELEASE = 0.8  # of the threshold: our choice
# Live scores are as near as this to the same rows' batch scores, as a share: a row that sets the
# threshold must not be above it when it comes again.
ROUNDING = 1e-5
# What single precision leaves of a squared error where rows hardly differ, in squared deviations.
TINY = 1e-12
MOST = 512  # excesses that a tail keeps, so that a stream's state stays small
REFIT = 16  # excesses between two fits: one takes about as long as 30 rows


@dataclass
class Tail:
    """Peaks over threshold that go on learning: SPOT, with bounded memory.

    Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory", KDD 2017, algorithm 2:
    `lmmoe.metrics.pot` on the calibration scores first; then every score up to the threshold counts
    as a normal row, and one above the level t joins the excesses, to which the tail is fitted anew.
    A score above the threshold is an alarm, and nothing is learned from it. Two liberties, which
    bound memory and time: the fit sees the latest 512 excesses (the share of rows that exceed t is
    that of all), and is made every 16th of them.
    """

    q: float  # share of normal rows above the threshold
    start: float  # the level t
    rows: int
    exceeding: int
    threshold: float
    excesses: Floats
    waiting: int = 0  # excesses since the latest fit

    @classmethod
    def of(cls, calibration: npt.ArrayLike, q: float, level: float = 0.98) -> "Tail":
        """Begin with calibration scores ``(n,)``; `ValueError` for bad ones."""
        scores = checked_calibration(calibration)
        start = float(np.quantile(scores, level))
        excesses = scores[scores > start] - start
        threshold = pot(scores, level=level, q=q)
        return cls(q, start, len(scores), len(excesses), threshold, excesses[-MOST:])

    def update(self, score: float) -> bool:
        """Learn from one row's score; tell whether the threshold has moved."""
        if score > self.threshold:
            return False
        self.rows += 1
        if score <= self.start:
            return False
        self.exceeding += 1
        self.waiting += 1
        self.excesses = np.append(self.excesses, score - self.start)[-MOST:]
        if self.waiting < REFIT:
            return False
        self.waiting = 0
        self.threshold = self.start + exceeded(self.excesses, self.q * self.rows / self.exceeding)
        return True


@dataclass(slots=True)
class Alarm:
    """An alarm with hysteresis in height and in time.

    It opens with a row above ``threshold``, and ends after ``APART`` rows in a row (10) of which
    none is above ``release`` times the threshold. With a release of 1 these are the alarms that
    `lmmoe.metrics.alarms` counts; a lower one gives fewer and longer ones, for scores that swing
    about the threshold. ``normal`` is the score of a common row: the level that ends an alarm is
    not set below it (but never above the threshold), for then no alarm would end. "Above" is by
    more than rounding. A `Tail` given as the threshold goes on learning, and ``threshold`` follows.
    """

    threshold: float
    release: float = RELEASE
    normal: float = -math.inf
    tail: Tail | None = field(default=None, init=False)
    open: bool = False
    quiet: int = 0  # rows in a row that were not above the release level
    peak: float = 0.0  # highest score of the alarm
    first: int = -1  # row that opened it
    last: int = -1  # latest row above the release level

    def __post_init__(self) -> None:
        if not 0 <= self.release <= 1:
            raise DataError(f"release={self.release}: a share of the threshold is needed, 0 to 1")
        if isinstance(self.threshold, Tail):
            self.tail, self.threshold = self.threshold, self.threshold.threshold

    def above(self, score: float) -> bool:
        """Tell whether a score is one that opens an alarm."""
        return _above(score, self.threshold)

    def step(self, score: float, row: int) -> str:
        """Take a row's score; "opened" or "ended" where that happens with it, else ""."""
        event, ending = "", min(max(self.release * self.threshold, self.normal), self.threshold)
        if not self.open and self.above(score):
            self.open, self.quiet, self.peak, self.first, self.last = True, 0, score, row, row
            event = "opened"
        elif self.open and _above(score, ending):
            self.quiet, self.last, self.peak = 0, row, max(self.peak, score)
        elif self.open:
            self.quiet += 1
            self.open = self.quiet < APART
            event = "" if self.open else "ended"
        if self.tail is not None and self.tail.update(score):
            self.threshold = self.tail.threshold
        return event

    @property
    def state(self) -> dict[str, object]:
        """What a restart must know, but for the tail's excesses; the rest are settings."""
        known = {name: getattr(self, name) for name in ("open", "quiet", "peak", "first", "last")}
        return known | {"tail": self.tail and {**vars(self.tail), "excesses": None}}


def _above(score: float, level: float) -> bool:
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
    if not 0 <= value <= (1 if word in ("quantile", "pot", "spot") else sys.float_info.max):
        hint = f"Use a number, or one of {', '.join(DEFAULTS)}, as in 'budget:1'"
        raise DataError(f"no threshold {str(rule)!r}", hint=hint)
    return word, value


def threshold(
    rule: str | float, calibration: Floats | None, rows_per_day: float | None
) -> float | Tail:
    """Give a rule's threshold, or for ``spot`` the tail that has one.

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
        if word == "quantile":
            return quantile(calibration, value)
        return pot(calibration, q=value) if word == "pot" else Tail.of(calibration, value)
    except ValueError as error:
        raise DataError(f"threshold {str(rule)!r}: {error}") from error
