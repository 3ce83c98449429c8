"""When an alarm opens and ends, and thresholds set without labels.

A rule for a threshold is written as a word with a number: ``budget:1`` (at most one alarm a day on
the calibration rows, `lmmoe.metrics.alarm_budget`), ``quantile:0.99`` (`lmmoe.metrics.quantile`),
``pot:0.0001`` (`lmmoe.metrics.pot`), ``spot:0.0001`` (the same, updated with every normal row:
`Tail`), or the threshold itself, such as ``12.5``. A word alone takes the number in `DEFAULTS`.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget, pot, quantile
from lmmoe.metrics.alarms import APART
from lmmoe.metrics.thresholds import FEWEST_EXCESSES, checked_calibration, fit_pareto

Floats = npt.NDArray[np.float64]
DEFAULTS = {"budget": 1.0, "quantile": 0.99, "pot": 1e-4, "spot": 1e-4}
RELEASE = 0.8  # of the threshold: our choice
# Live scores are as near as this to the same rows' batch scores, as a share (lmmoe.live.stream):
# a row that sets the threshold must not be above it when it comes again.
ROUNDING = 1e-5
# What single precision leaves of a squared error where rows hardly differ, in squared deviations.
TINY = 1e-12
MOST = 512  # excesses that a tail keeps, so that a stream's state stays small
REFIT = 16  # excesses between two fits: one takes about as long as 30 rows


def bar(level: float | Floats) -> float | Floats:
    """Give what a live score must exceed to be above one or more levels by more than rounding."""
    return level + ROUNDING * abs(level) + TINY


@dataclass(slots=True)
class Alarm:
    """An alarm with hysteresis in height and in time.

    It opens with a row above ``threshold``, and ends after ``APART`` rows in a row (10) of which
    none is above ``release`` times the threshold. With a release of 1 these are the alarms that
    `lmmoe.metrics.alarms` counts; a lower one gives fewer and longer ones, for scores that swing
    about the threshold. ``normal`` is the score of a common row: the level that ends an alarm is
    not set below it (but never above the threshold), for then no alarm would end. "Above" is by
    more than rounding (`bar`). A row without a score changes nothing.
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
            problem = f"release={self.release}: a share of the threshold from 0 to 1 is needed"
            raise DataError(problem)

    def above(self, score: float) -> bool:
        """Tell whether a score is one that opens an alarm."""
        return score > bar(self.threshold)

    def step(self, score: float, row: int) -> str:
        """Take a row's score; "opened" or "ended" where that happens with it, else ""."""
        if not self.open:
            if not self.above(score):
                return ""
            self.open, self.quiet, self.peak, self.first, self.last = True, 0, score, row, row
            return "opened"
        if score > bar(min(max(self.release * self.threshold, self.normal), self.threshold)):
            self.quiet, self.last = 0, row
            self.peak = max(self.peak, score)
            return ""
        self.quiet += 1
        self.open = self.quiet < APART
        return "" if self.open else "ended"

    @property
    def state(self) -> dict[str, float]:
        """What a restart must know; the rest are settings."""
        names = ("open", "quiet", "peak", "first", "last")
        return {name: getattr(self, name) for name in names}


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
        if self.waiting < REFIT or len(self.excesses) < FEWEST_EXCESSES:
            return False
        self.waiting = 0
        # The formula of `lmmoe.metrics.pot`, with the counts of all rows so far.
        shape, scale = fit_pareto(self.excesses)
        ratio = min(1.0, self.q * self.rows / self.exceeding)
        grown = np.expm1(-shape * math.log(ratio)) / shape if shape else -math.log(ratio)
        self.threshold = float(self.start + scale * grown)
        return True

    @property
    def state(self) -> dict[str, float]:
        """All but ``excesses``."""
        return {name: value for name, value in asdict(self).items() if name != "excesses"}


def checked_rule(rule: str | float) -> tuple[str, float]:
    """Split a rule into word and number; "" is the word of a bare number.

    Raises `DataError` for a rule that does not exist, and for a number that it cannot have.
    """
    word, _, number = str(rule).partition(":")
    if not number and word not in DEFAULTS:
        word, number = "", word
    try:
        value = float(number) if number else DEFAULTS[word]
    except (KeyError, ValueError):
        value = math.nan
    top = math.inf if word in ("", "budget") else 1
    if (word and word not in DEFAULTS) or not (0 <= value <= top and math.isfinite(value)):
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
