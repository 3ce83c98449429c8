"""From what a rule found to a verdict, the same way for every claim."""

import math
from typing import NamedTuple

from lmmoe.report.claims.published import (
    CLOSE,
    Claim,
    Range,
    bounded,
    origin_range,
    printed_range,
    rivals,
)

HOLDS = "holds"
FAILS = "fails"
CONTRADICTED = "contradicted within the study"
UNTESTED = "cannot be tested here"
VERDICTS = (HOLDS, FAILS, CONTRADICTED, UNTESTED)


class Finding(NamedTuple):
    """What a rule found out about one claim; numbers in the claim's unit, NaN where unknown.

    ``measured`` is our number. ``value`` is what is tested against ``accepted``; without the latter
    nothing can be tested. ``doubt`` is how far ``value`` may be off because machines are missing.
    ``study`` is what the study's own material gives for the claim, from ``source``; ``referee``
    decides between printings that exclude each other where the study's own material does not.
    ``how`` says in words what was compared, or why nothing was.
    """

    how: str
    measured: float = math.nan
    value: float = math.nan
    accepted: Range | None = None
    doubt: float = 0.0
    study: float = math.nan
    source: str = ""
    referee: float = math.nan


class Judgement(NamedTuple):
    """Our number, a verdict of `VERDICTS`, and the reasons in words."""

    measured: float
    verdict: str
    why: str


def shown(value: float) -> str:
    """Write a number for people."""
    if not math.isfinite(value):
        return "unknown"
    if abs(value) >= 1000 or abs(value - round(value)) < CLOSE:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.4g}"


def printed(claim: Claim) -> str:
    """Write a printed number as it was printed, a count with its thousands apart."""
    return shown(claim.number) if claim.unit == "count" else claim.value


def interval(limits: Range) -> str:
    """Write what is accepted for people."""
    if math.isinf(limits.low):
        return f"accepted up to {shown(limits.high)}"
    if math.isinf(limits.high):
        return f"accepted from {shown(limits.low)} on"
    return f"accepted from {shown(limits.low)} to {shown(limits.high)}"


def accepted(claim: Claim, spread: float = math.nan, study: float = math.nan) -> Range:
    """Give what counts as the printed number: half a digit or twice the seed spread around it.

    The larger of the two; a bound has no such slack. ``study`` is the study's own unrounded number:
    to meet it is enough where it may have been printed so.
    """
    low, high = printed_range(claim)
    if bounded(claim):
        return Range(low, high)
    if not math.isnan(spread):
        low, high = min(low, claim.number - 2 * spread), max(high, claim.number + 2 * spread)
    if origin_range(claim).holds(study):
        low, high = min(low, study), max(high, study)
    return Range(low, high)


def judge(claim: Claim, found: Finding) -> Judgement:
    """Turn a finding into a verdict.

    First come contradictions: what is printed against what the study's own material gives, then
    against what it prints elsewhere. Forecasts contradict nothing; they fail.
    """
    origin = origin_range(claim)
    known = not math.isnan(found.study)
    notes = [f"{found.source} {shown(found.study)}; printed is {printed(claim)}."] if known else []
    others = rivals(claim)
    if others:
        values = " and ".join(f"{c.value} ({c.id})" for c in others)
        notes.append(f"The study also prints {values}.")
    decided = found.study if known else found.referee
    missed = known and not origin.holds(found.study)
    if not claim.forecast and (missed or (others and not origin.holds(decided))):
        verdict = CONTRADICTED
    elif found.accepted is None and known and claim.forecast:
        verdict = FAILS if missed else HOLDS
        notes.append("No run of ours can test it: the study's own number decides.")
    elif found.accepted is None:
        verdict = UNTESTED
    else:
        verdict = tested(found)
    if verdict == UNTESTED and found.accepted is not None:
        notes.append(f"Undecided: the missing machines may move it by {shown(found.doubt)}.")
    if claim.forecast:
        notes.append(f"The printed number was {claim.forecast}.")
    return Judgement(found.measured, verdict, " ".join([found.how, *notes]))


def tested(found: Finding) -> str:
    """Hold the value against what is accepted, with the doubt taken off or added on."""
    if not found.accepted.widened(found.doubt).holds(found.value):
        return FAILS
    return HOLDS if found.accepted.widened(-found.doubt).holds(found.value) else UNTESTED
