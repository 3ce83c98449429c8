"""What the study printed, read with the digits that it printed, and what its own runs gave."""

import csv
import math
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import pandas as pd

# How a claim calls a score: our column (point-adjusted, a share of 1), and the study's own file's.
SCORES = {
    "point_f1": ("point_f1_pa", "point_f1"),
    "point_precision": ("point_precision_pa", "point_precision"),
    "point_recall": ("point_recall_pa", "point_recall"),
    "event_f1_log": ("event_f1_pa_log", "event_log_f1"),
    "event_f1_squeeze": ("event_f1_pa_squeeze", "event_squeeze_f1"),
}
# Kinds of claims that say what will be, not what was found: they can fail but contradict nothing.
FORECASTS = {"expected": "a prediction", "predicted": "a prediction", "criterion": "a target"}
CLOSE = 1e-9  # numbers nearer than this are equal: sums of printed decimals are not exact


class Claim(NamedTuple):
    """A line of ``claims.csv``, all as text."""

    id: str
    document: str
    subject: str
    scope: str
    metric: str
    value: str
    unit: str
    kind: str
    note: str

    @property
    def number(self) -> float:
        """The printed number, the middle of a printed range; NaN for a statement in words."""
        if self.unit == "text":
            return math.nan
        parts = _SPAN.fullmatch(self.value)
        return sum(map(float, parts.groups())) / 2 if parts else float(self.value)

    @property
    def half_digit(self) -> float:
        """Half a unit of the last printed digit, in the claim's unit.

        A score counts as printed to its last digit ("90" among "87" and "91" is 90 to the unit).
        Anything else that ends in zeros (200000 parameters, 80 %) counts as a round number.
        """
        digits = self.value.removesuffix(".0") if self.unit == "count" else self.value
        if "." in digits:
            return 0.5 * 10.0 ** -len(digits.partition(".")[2])
        zeros = 0 if self.is_score else len(digits) - len(digits.rstrip("0"))
        return 0.5 * 10.0**zeros

    @property
    def is_score(self) -> bool:
        """Whether it is about an F1, precision or recall, or a difference of two."""
        return self.metric.removesuffix(" gain").removesuffix(" loss") in SCORES

    @property
    def forecast(self) -> str:
        """What kind of forecast it is, in words; empty where it is none."""
        return FORECASTS.get(self.kind, "")


_SPAN = re.compile(r"(\d+)-(\d+)")


class Range(NamedTuple):
    """What counts as the printed number, both ends included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside (never for NaN)."""
        return self.low - CLOSE <= value <= self.high + CLOSE

    def meets(self, other: "Range") -> bool:
        """Whether some value lies in both."""
        return max(self.low, other.low) <= min(self.high, other.high) + CLOSE

    def widened(self, by: float) -> "Range":
        """Move both ends out."""
        return Range(self.low - by, self.high + by)


def bounded(claim: Claim) -> Range | None:
    """Give the range that a claim prints as a bound ("below", "3 to 5", "50-70"); None without."""
    if span := _SPAN.fullmatch(claim.value) or re.search(r"(\d+) to (\d+)", claim.unit):
        return Range(*map(float, span.groups()))
    if claim.unit.endswith(("below", "at most")):
        return Range(-math.inf, claim.number)
    if claim.unit.endswith(("above", "at least")):
        return Range(claim.number, math.inf)
    return None


def printed_range(claim: Claim) -> Range:
    """Give the values that round to the printed one: half a digit around it, or a bound's range.

    A difference of two numbers that were each rounded may be off by twice as much.
    """
    half = claim.half_digit * (2 if claim.metric.endswith((" gain", " loss")) else 1)
    return bounded(claim) or Range(claim.number - half, claim.number + half)


def origin_range(claim: Claim) -> Range:
    """Give the values that the study may have had when it printed this.

    Beyond `printed_range`, a number may have been cut instead of rounded (26.8 printed as 26; no
    such excuse for one that ends in zeros), or rounded twice (69.948 as 69.95, and that as 70.0: a
    tenth more).
    """
    low, high = printed_range(claim)
    if bounded(claim) or claim.unit == "rank":
        return Range(low, high)
    half = claim.half_digit
    cut = claim.number + 2 * half if half <= 0.5 else high
    return Range(low - half / 10, max(high + half / 10, cut))


@cache
def claims() -> tuple[Claim, ...]:
    """All claims, in the order of the file."""
    with (files("lmmoe.report") / "published" / "claims.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        return tuple(Claim(**line) for line in csv.DictReader(file))


def find(claim: Claim, *, subject: str, metric: str, scope: str) -> Claim | None:
    """Give the claim of the same document on something else; None where it prints none."""
    wanted = (claim.document, subject, metric, scope)
    found = [c for c in claims() if (c.document, c.subject, c.metric, c.scope) == wanted]
    return next((c for c in found if not c.forecast), found[0] if found else None)


def results() -> pd.DataFrame:
    """What the study's own runs gave, in percent, by (detector, machine): the columns of its file.

    One seed, best threshold on the test labels of each machine, point-adjusted.
    """
    with (files("lmmoe.report") / "published" / "study_results.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file).set_index(["detector", "machine"]) * 100


# What is one quantity under several names; the comparison report's "compute ratio" has the number
# that another of its pages calls the training time ratio.
_SAME_SUBJECT = {"ablation: full": "LightMMoE", "LightMMoE design": "LightMMoE"}
_SAME_METRIC = {"compute ratio": "training time ratio"}
_SAME_SCOPE = {"lightweighting methods": "vs conventional", "vs conventional MMoE": "-"}


def quantity(claim: Claim) -> tuple[str, str, str]:
    """Give subject, scope and metric in one spelling: equal for claims on the same quantity."""
    scope = claim.scope
    if claim.metric == "parameters" or claim.subject in _SAME_SUBJECT:
        scope = _SAME_SCOPE.get(scope, scope)
    subject = _SAME_SUBJECT.get(claim.subject, claim.subject)
    return subject, scope, _SAME_METRIC.get(claim.metric, claim.metric)


def rivals(claim: Claim) -> list[Claim]:
    """Other claims on the same quantity whose printed values exclude this one's.

    Forecasts neither contradict nor are contradicted, and an estimate does not stand against a
    measurement.
    """
    if claim.forecast or claim.unit == "text":
        return []
    mine = origin_range(claim)
    others = [c for c in claims() if c.id != claim.id and not c.forecast and c.unit != "text"]
    same = [c for c in others if quantity(c) == quantity(claim)]
    if claim.kind == "measured":
        same = [c for c in same if c.kind != "estimated"]
    return [c for c in same if not mine.meets(origin_range(c))]
