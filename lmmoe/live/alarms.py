"""When an alarm opens and ends, and levels set without labels.

A rule is a word with a number: ``alarms:2`` (so many alarms and hours in alarm a day are paid for,
`Alarm`); or a level that stays: ``budget:1`` (at most one alarm a day on calibration rows),
``quantile:0.99``, ``pot:0.0001`` (`lmmoe.metrics`), or a bare number. A word alone takes the number
in `DEFAULTS`.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget, pot, quantile
from lmmoe.metrics.alarms import APART

Floats = npt.NDArray[np.float64]
DEFAULTS = {"alarms": 2.0, "budget": 1.0, "quantile": 0.99, "pot": 1e-4}
# Live scores are as near as this to the same rows' batch scores, as a share: a row that sets the
# threshold must not be above it when it comes again.
ROUNDING = 1e-5
# What single precision leaves of a squared error where rows hardly differ, in squared deviations.
TINY = 1e-12
DAY = 1440.0  # minutes; rows whose times are not known count as minutes
# Of the rule "alarms": what an alarm, or an hour in alarm, raises the level by; how much nearer the
# level comes to a score that outlasts an alarm.
COST, NEARER = 0.1, 0.25
QUIET, LONGEST = 10, 60  # minutes without a loud row that end an alarm; until the next row decides
LEAST = 1e-6  # score: lower ones have no logarithm to speak of


class Units(NamedTuple):
    """How a score becomes one that levels are compared with.

    Its logarithm (itself, where it is a sum of logarithms) less the training scores' median, in
    units of the distance from there to their 99 % quantile.
    """

    centre: float = 0.0
    spread: float = 1.0
    logarithm: bool = False

    @classmethod
    def of(cls, training: Floats, rows_per_day: float, *, logarithm: bool) -> "Units":
        """Take them from training scores ``(t,)``, less the first day or quarter of these."""
        scores = training[min(int(rows_per_day), len(training) // 4) :]
        scores = np.log(np.maximum(scores, LEAST)) if logarithm else scores
        middle, high = np.quantile(scores, [0.5, 0.99])
        return cls(float(middle), max(float(high - middle), 0.001), logarithm)

    def __call__(self, scores: npt.ArrayLike) -> Floats:
        """Turn scores of any shape into these units."""
        values = np.log(np.maximum(scores, LEAST)) if self.logarithm else np.asarray(scores)
        return (values - self.centre) / self.spread

    def score(self, value: float) -> float:
        """Turn a value in these units into a score."""
        plain = value * self.spread + self.centre
        return math.exp(plain) if self.logarithm else plain


@dataclass(slots=True)
class Alarm:
    """An alarm of one stream; scores come in `Units`.

    It opens with a row above ``level``, by more than rounding, and ends with the `APART`-th row in
    a row that is not above it. A level of the rule "alarms" (this project's own) moves: each alarm
    and each hour in alarm raises it by 0.1, and it falls by 0.1 for each of the ``per_day`` alarms
    of a day, to 0 at the lowest. There an alarm ends after ten quiet minutes. After an hour the
    level goes a quarter of the way to a score that is still above it; if the next row is not above
    it, the alarm has ended, else the same alarm goes on, and is paid for like one that opens.
    """

    level: float
    per_day: float | None = None  # None: the level stays
    minutes: float = 1.0  # from row to row
    at: int = 0  # row for which the level is right
    open: bool = False
    long: bool = False  # open for an hour: the next row decides
    quiet: int = 0  # rows in a row that were not above the level
    peak: float = 0.0  # highest score of the alarm
    first: int = -1  # row that opened it, or went on with it after an hour
    nearer: float = 0.0  # by how much the level has come nearer to the scores of this alarm

    def step(self, score: float, row: int) -> str:
        """Take a row's score: "opened", "still" or "ended" where that happens with it, else ""."""
        self.level, self.at, was_open = self.level_at(row), row, self.open
        loud = score > self.level + ROUNDING * abs(self.level) + TINY
        moves, hour = self.per_day is not None, max(1, round(LONGEST / self.minutes))
        if loud:
            self.peak = max(self.peak, score) if was_open else score
        if was_open and not self.long:
            self.quiet = 0 if loud else self.quiet + 1
            self.level += moves * COST * self.minutes / 60
            if self.quiet >= (max(1, round(QUIET / self.minutes)) if moves else APART):
                self.open = False
                return "ended"
            if moves and row - self.first >= hour:
                nearer = NEARER * max(score - self.level, 0)
                self.long, self.level, self.nearer = True, self.level + nearer, self.nearer + nearer
                return ""
            return "still" if (row - self.first) % hour == 0 else ""
        self.open, self.long = loud, False
        if loud:
            self.nearer *= was_open
            self.quiet, self.first, self.level = 0, row, self.level + moves * COST
            return "still" if was_open else "opened"
        return "ended" if was_open else ""

    def accept(self) -> None:
        """End with scores that are normal from now on: the level need not be near to them."""
        self.level -= min(self.nearer, max(self.level, 0.0))
        self.open = False

    @property
    def fall(self) -> float:
        """How far the level falls from row to row."""
        return COST * (self.per_day or 0.0) * self.minutes / DAY

    def level_at(self, row: int) -> float:
        """The level that a row's score is held against."""
        fallen = self.fall * (row - self.at)
        return max(min(self.level, 0.0), self.level - fallen)


def episodes(scores: Floats, alarm: Alarm) -> Iterator[tuple[int, int, bool]]:
    """Give the hours in alarm of scores ``(t,)`` in `Units`, the last one of an alarm shorter.

    First row, row after the last, whether an alarm opens with it. Rows without a score (NaN) do not
    exist for an alarm.
    """
    floor, new = alarm.level if alarm.per_day is None else 0.0, True  # up to it nothing opens
    for row, score in enumerate(scores.tolist()):
        if math.isnan(score) or (score <= floor and not alarm.open):
            continue
        waited, event = alarm.long, alarm.step(score, row)
        if alarm.long or (event == "ended" and not waited):
            yield alarm.first, row + 1, new
        elif alarm.first == row:
            new = event == "opened"
    if alarm.open and not alarm.long:
        yield alarm.first, len(scores), new


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
        hint = f"Use a number, or one of {', '.join(DEFAULTS)}, as in 'alarms:2'"
        raise DataError(f"no threshold {str(rule)!r}", hint=hint)
    return word, value


def threshold(rule: str | float, calibration: Floats | None, rows_per_day: float | None) -> float:
    """Give a rule's level at the start, as a score; that of "alarms" is the budget of one a day.

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
        if word == "quantile":
            return quantile(calibration, value)
        if word == "pot":
            return pot(calibration, q=value)
        per_day = value if word == "budget" else 1.0
        daily = DAY if rows_per_day is None else rows_per_day
        return alarm_budget(calibration, daily, per_day=per_day)
    except ValueError as error:
        raise DataError(f"threshold {str(rule)!r}: {error}") from error
