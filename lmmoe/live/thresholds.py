"""Thresholds of a live stream, set without labels, some of which go on learning.

A rule is written as a word with a number: ``budget:1`` (at most one alarm a day on the calibration
rows, `lmmoe.metrics.alarm_budget`), ``quantile:0.99`` (`lmmoe.metrics.quantile`), ``pot:0.0001``
(`lmmoe.metrics.pot`), ``spot:0.0001`` (the same, updated with every normal row: `Tail`), or the
threshold itself, such as ``12.5``. Without a number, a rule's own default is taken, which are these
but for the last. How many false alarms each gives in truth, on SMD and ASD, is in the table
``live.csv`` of those profiles' figures (`lmmoe.live.measure`).
"""

import math

import numpy as np
import numpy.typing as npt

from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget, pot, quantile
from lmmoe.metrics.checks import checked_calibration
from lmmoe.metrics.thresholds import FEWEST_EXCESSES, fit_pareto
from lmmoe.report.evaluation import PER_DAY, SHARE

Floats = npt.NDArray[np.float64]
LEVEL, RISK = 0.98, 1e-4  # of peaks over threshold: those of lmmoe.metrics.pot
DEFAULTS = {"budget": PER_DAY, "quantile": SHARE, "pot": RISK, "spot": RISK}
MOST = 512  # excesses that a tail keeps, so that a stream's state stays small
REFIT = 16  # excesses between two fits: one takes about as long as 30 rows


class Tail:
    """Peaks over threshold that go on learning: SPOT, with bounded memory.

    Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory", KDD 2017, algorithm 2:
    `lmmoe.metrics.pot` on the calibration scores first; then every score up to the threshold counts
    as a normal row, and one above the level t joins the excesses, to which the tail is fitted anew.
    A score above the threshold is an alarm, and nothing is learned from it. Two liberties, which
    bound memory and time: the fit sees the latest 512 excesses (the share of rows that exceed t is
    that of all), and is made every 16th of them.
    """

    def __init__(self, calibration: npt.ArrayLike, q: float = RISK, level: float = LEVEL) -> None:
        scores = checked_calibration(calibration)
        self.q, self.start = q, float(np.quantile(scores, level))
        excesses = scores[scores > self.start] - self.start
        self.rows, self.exceeding, self.waiting = len(scores), len(excesses), 0
        self.excesses = excesses[-MOST:].copy()
        self.threshold = pot(scores, level=level, q=q)

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
        self.threshold = self._fitted()
        return True

    def _fitted(self) -> float:
        """The formula of `lmmoe.metrics.pot`, with the counts of all rows so far."""
        shape, scale = fit_pareto(self.excesses)
        ratio = min(1.0, self.q * self.rows / self.exceeding)
        grown = np.expm1(-shape * math.log(ratio)) / shape if shape else -math.log(ratio)
        return float(self.start + scale * grown)

    @property
    def numbers(self) -> dict[str, float]:
        """All of the state but ``excesses``."""
        return {name: getattr(self, name) for name in NUMBERS}

    @classmethod
    def restored(cls, numbers: dict[str, float], excesses: Floats) -> "Tail":
        """Take back `numbers` and ``excesses``; `LookupError`, `ValueError` if they do not fit."""
        made = cls.__new__(cls)
        for name, kind in NUMBERS.items():
            setattr(made, name, kind(numbers[name]))
        made.excesses = excesses
        if excesses.ndim != 1 or len(excesses) > min(MOST, made.exceeding):
            raise ValueError(f"excesses of shape {excesses.shape} for {made.exceeding} of them")
        return made


NUMBERS = {
    "q": float,
    "start": float,
    "rows": int,
    "exceeding": int,
    "waiting": int,
    "threshold": float,
}


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
        raise DataError(
            f"no threshold {str(rule)!r}",
            hint=f"Use a number, or one of {', '.join(DEFAULTS)}, as in 'budget:1'",
        )
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
        raise DataError(
            f"the model holds no scores of rows that it was not fitted on: no {word}",
            hint="Give the threshold as a number, or fit with held_out=0.1 (--set held_out=0.1)",
        )
    if word == "budget" and rows_per_day is None:
        raise DataError(
            "an alarm budget needs to know how many rows make a day",
            hint="Fit on rows with a time column, give rows_per_day (--rows-per-day), or use "
            "another threshold",
        )
    try:
        if word == "budget":
            return alarm_budget(calibration, rows_per_day, per_day=value)
        if word == "quantile":
            return quantile(calibration, value)
        return pot(calibration, q=value) if word == "pot" else Tail(calibration, value)
    except ValueError as error:
        raise DataError(f"threshold {str(rule)!r}: {error}") from error
