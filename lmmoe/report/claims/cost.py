"""Rules for claims on time, latency, throughput, memory, and what cannot be measured here."""

import math

import pandas as pd

from lmmoe.report.claims.evidence import Evidence, ours
from lmmoe.report.claims.judging import Finding, accepted, interval, shown
from lmmoe.report.claims.published import Claim, Range, bounded, claims, find, printed_range
from lmmoe.report.claims.scores import CONVENTIONAL

BASELINE = "MTSMixer"
COLUMNS = {"training time": "train_seconds", "inference time": "score_seconds"}
# Seconds in the study's own run-time files: totals over the machines of groups 1, 2 and 3.
STUDY_SECONDS = {
    ("CAD", "training time"): (149, 175, 205),
    ("CAD", "inference time"): (15, 18, 22),
    ("LightMMoE", "training time"): (5874, 6691, 1565),
    ("LightMMoE", "inference time"): (175, 192, 142),
}
# They learn by steps written by hand here, the others by autograd (`lmmoe.mmoe_fast`).
BY_HAND = ("LightMMoE", "CAD", "CAD-FSE23")
BY_ITS_PROGRAM = (
    " {} learns by steps written by hand here, several times as fast as the obvious program "
    "(`figures/bench`): the ratio compares programs as well as networks."
)
FIRST_GROUP, GROUPS = 8, 3  # machines in machine-1, groups
# Machines have 23.7 to 28.8 thousand rows in each half, so seconds per machine may differ by that.
LENGTHS = 28.8 / 23.7


def seconds(claim: Claim, evidence: Evidence) -> Finding:
    """Judge seconds only against the study's own: the hardware is unknown.

    The body prints the mean over groups of a group's total, the appendix the total of machine-1.
    """
    metric = claim.metric
    appendix = claim.scope == "appendix"
    files = STUDY_SECONDS.get((claim.subject, metric))
    machines = FIRST_GROUP if appendix else len(evidence.fleet) / GROUPS
    study, source = math.nan, ""
    if files:
        study = files[0] if appendix else sum(files) / GROUPS
        if abs(study - claim.number) <= 0.5:  # the files give whole seconds
            study = claim.number
        source = "The study's run-time files give about"
    elif appendix:
        study, source = _scaled(claim, evidence)
    spent = evidence.spent(ours(claim.subject), COLUMNS[metric])
    if spent.empty:
        return Finding(_missing([ours(claim.subject)]), study=study, source=source)
    mine = float(spent.median()) * machines
    how = (
        "Seconds on unknown hardware cannot be compared; ours, "
        f"{ours(claim.subject)}, one thread: median of {len(spent)} machines, "
        f"{shown(spent.median())} s, times {machines:.1f} machines."
    )
    return Finding(how, mine, study=study, source=source)


def _scaled(claim: Claim, evidence: Evidence) -> tuple[float, str]:
    """Give what the report's body makes of machine-1's total; the printed one if that is near."""
    body = find(claim, subject=claim.subject, metric=claim.metric, scope="SMD average")
    expected = body.number * GROUPS * FIRST_GROUP / len(evidence.fleet)
    printed = printed_range(claim)
    near = printed.low <= expected * LENGTHS and printed.high >= expected / LENGTHS
    source = f"The body's {body.value} s ({body.id}) make, for the 8 machines of machine-1, about"
    return (claim.number, f"{source} {shown(expected)}, near") if near else (expected, source)


def ratio(claim: Claim, evidence: Evidence) -> Finding:
    """Judge how many times the seconds of CAD a detector takes."""
    metric = "inference time" if claim.metric.startswith("inference") else "training time"
    other = claim.scope.removeprefix("vs ")
    printed = [
        find(claim, subject=name, metric=metric, scope="SMD average")
        for name in (claim.subject, other)
    ]
    study = printed[0].number / printed[1].number
    source = f"The study's own seconds ({printed[0].value} / {printed[1].value}) give"
    found = _ratio(claim, evidence, (ours(claim.subject), ours(other)), COLUMNS[metric], 0, 1)
    return found._replace(study=study, source=source)


def against_baseline(claim: Claim, evidence: Evidence) -> Finding:
    """Judge training time against the technical report's baseline: a share, or what it saves."""
    if claim.subject == BASELINE:
        return Finding("It is the reference: there is nothing to test.", 100.0)
    start, factor = {"%": (0, 100), "x": (0, 1)}.get(claim.unit.split()[0], (0, 1))
    if "less" in claim.unit:
        start, factor = 100, -100
    pair = (ours(claim.subject), BASELINE)
    return _ratio(claim, evidence, pair, "train_seconds", start, factor)


def against_conventional(claim: Claim, evidence: Evidence) -> Finding:
    """Judge the training time saved against a conventional MMoE: `CONVENTIONAL` stands for it."""
    pair = (ours(claim.subject), CONVENTIONAL)
    return _ratio(claim, evidence, pair, "train_seconds", 100, -100)


def _ratio(
    claim: Claim,
    evidence: Evidence,
    pair: tuple[str, str],
    column: str,
    start: float,
    factor: float,
) -> Finding:
    """Compare ``start + factor * ratio``, the ratio a median over machines, with the printed one.

    A median, since other work beside it slows some runs down.
    """
    spent = [evidence.spent(name, column) for name in pair]
    both = pd.concat(spent, axis=1, join="inner")
    both = both[(both > 0).all(axis=1)]
    if both.empty:
        return Finding(_missing(list(pair)))
    ratios = both.iloc[:, 0] / both.iloc[:, 1]
    middle = float(ratios.median())
    spread, whose = _ratio_spread(evidence, pair, column, middle)
    value = start + factor * middle
    limits = accepted(claim, abs(factor) * spread)
    how = (
        f"{pair[0]} takes {shown(middle)} times the {column.replace('_', ' ')} of {pair[1]}: "
        f"median of {len(both)} machines, {shown(ratios.min())} to {shown(ratios.max())}, on our "
        f"hardware and code; {shown(value)} against {claim.value}, {interval(limits)} (half a "
        f"printed digit or twice the seed spread {whose})."
    )
    if column == "train_seconds" and (pair[0] in BY_HAND) != (pair[1] in BY_HAND):
        how += BY_ITS_PROGRAM.format(next(name for name in pair if name in BY_HAND))
    return Finding(how, value, value, limits)


def _ratio_spread(
    evidence: Evidence, pair: tuple[str, str], column: str, middle: float
) -> tuple[float, str]:
    """Standard deviation over seeds of a ratio of medians; LightMMoE's where one seed was run."""
    parts, whose = [], []
    for name in pair:
        own = _relative_spread(evidence, name, column)
        borrowed = f"of {name} (LightMMoE's, one seed being run)"
        whose.append(f"of {name}" if own is not None else borrowed)
        parts.append(own if own is not None else _relative_spread(evidence, "LightMMoE", column))
    if None in parts:
        return math.nan, "unknown: one seed"
    return middle * math.hypot(*parts), " and ".join(dict.fromkeys(whose))


def _relative_spread(evidence: Evidence, name: str, column: str) -> float | None:
    table = evidence.by_seed(name, column, evidence.fleet).dropna()
    medians = table.median()
    return float(medians.std() / medians.mean()) if len(table) and len(medians) > 1 else None


def _missing(names: list[str]) -> str:
    run = " and ".join(dict.fromkeys(names))
    return f"No times of {run} under the study's protocol on one machine."


# Claims that a table of measurements answers, by metric: its column.
EFFICIENCY = {
    "latency": "latency_ms",
    "throughput": "samples_per_second",
    "memory": "inference_mb",
}
REFERENCE = "CAD"  # whose milliseconds the study's others are held against
# Of the 28 test halves together: Su et al., "Robust Anomaly Detection for Multivariate Time Series
# through Stochastic Recurrent Neural Network" (KDD 2019), table of data sets.
TEST_ROWS = 708_420


def efficiency(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a measurement of the table ``efficiency``: a bound on our hardware."""
    column, name = EFFICIENCY[claim.metric], ours(claim.subject)
    value = evidence.measured(name, column)
    if math.isnan(value):
        return Finding(f"not run yet: {column} of {name}.")
    how = f"{name}: {shown(value)} on our hardware, one thread, against the printed {claim.value}."
    return Finding(how, value, value, printed_range(claim))


def latency(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a bound on our hardware; a plain number by how many times CAD's it is.

    Milliseconds of unknown hardware mean nothing here, but how one detector stands to another does:
    `REFERENCE` is taken to need what is printed for it, and the others in proportion.
    """
    if bounded(claim):
        return efficiency(claim, evidence)
    name, other = ours(claim.subject), ours(REFERENCE)
    mine, base = (evidence.measured(each, EFFICIENCY["latency"]) for each in (name, other))
    printed = find(claim, subject=REFERENCE, metric=claim.metric, scope=claim.scope)
    if math.isnan(mine):
        return Finding(f"not run yet: {EFFICIENCY['latency']} of {name}.")
    how = f"On unknown hardware a plain number cannot be compared; ours: {name} {shown(mine)} ms"
    if claim == printed:
        return Finding(f"{how}. The other detectors' are held against it.", mine)
    if printed is None or math.isnan(base):
        return Finding(f"{how}, and nothing to hold it against.", mine)
    value = mine / base * printed.number
    own, theirs = printed_range(claim), printed_range(printed)
    limits = Range(own.low / theirs.high * printed.number, own.high / theirs.low * printed.number)
    how = (
        f"{how}, {shown(mine / base)} times that of {other}, which makes {shown(value)} ms where "
        f"{REFERENCE} takes the printed {printed.value} ms; {interval(limits)} (half a printed "
        "digit of both)."
    )
    return Finding(how, mine, value, limits)


def throughput(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a bound on our hardware; beside it, what the study's own inference time makes."""
    found = efficiency(claim, evidence)
    wanted = (claim.subject, "inference time", "SMD average")
    spent = next((c for c in claims() if (c.subject, c.metric, c.scope) == wanted), None)
    if spent is None:
        return found
    source = (
        f"The study's own inference time, {spent.value} s for a third of the {TEST_ROWS:,} test "
        f"rows ({spent.id}), gives"
    )
    return found._replace(study=TEST_ROWS / GROUPS / spent.number, source=source)


def memory(claim: Claim, evidence: Evidence) -> Finding:
    """Judge the memory of scoring beyond the libraries; beside it, the whole process."""
    found = efficiency(claim, evidence)
    whole = evidence.measured(ours(claim.subject), "process_mb")
    if math.isnan(whole) or math.isnan(found.measured):
        return found
    how = (
        f"{found.how} Counted is what the model and 256 rows need beyond the imported libraries; "
        f"the whole process holds {shown(whole)} MB."
    )
    return found._replace(how=how)


REASONS = {
    "GPU utilisation": "No GPU is used here, and the study names none.",
    "GPU memory": "No GPU is used here, and the study names none.",
    "CPU use": "The share of an unnamed processor: it depends on its cores and on other work.",
    "development cost": "Cost of development: neither runs nor documents can show it.",
    "deployment cost": "Cost of deployment: it depends on prices and on a place to deploy.",
}


def out_of_reach(claim: Claim, _: Evidence) -> Finding:
    """Say why nothing that this report measures can test a claim."""
    return Finding(REASONS[claim.metric])
