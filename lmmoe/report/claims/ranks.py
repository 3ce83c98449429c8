"""Rules for claims on a rank among the detectors that a document compares."""

import math

from lmmoe.report.claims.evidence import Evidence, group_average, ours
from lmmoe.report.claims.judging import Finding, shown
from lmmoe.report.claims.published import SCORES, Claim, Range, claims
from lmmoe.report.claims.scores import chance

F1S = ("point_f1", "event_f1_log", "event_f1_squeeze")


def rank(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a rank among the detectors of the claim's document: by a score, or by all F1s.

    "Overall" is not defined by the study; it is taken as the mean of the three F1s.
    """
    metrics = F1S if claim.metric == "overall rank" else (claim.metric.removesuffix(" rank"),)
    rivals = _compared_in(claim)
    tables = [
        evidence.by_seed(ours(name), SCORES[metric][0], evidence.fleet)
        for name in rivals
        for metric in metrics
    ]
    whole = {name: _mean_study(evidence, name, metrics, evidence.fleet) for name in rivals}
    study, order = _place(whole, claim.subject)
    words = "the mean of the three F1s (the study does not define it)" if len(metrics) > 1 else ""
    source = f"By {words or metrics[0]} the study's own runs order {order}: rank"
    common = frozenset(set.intersection(*(set(table.index) for table in tables)))
    floors = " ".join(
        f"{metric}: {chance(evidence, SCORES[metric][0], common or evidence.fleet)}"
        for metric in metrics
    )
    if not common:
        how = f"Needs runs of {', '.join(map(ours, rivals))} on one machine."
        return Finding(f"{how} {floors}", study=study, source=source)
    mine = {name: _mean_ours(evidence, name, metrics, common) for name in rivals}
    place, order = _place(mine, claim.subject)
    few = common < evidence.fleet
    theirs = {name: _mean_study(evidence, name, metrics, common) for name in rivals}
    target = _place(theirs, claim.subject)[0] if few else claim.number
    low, high = _places(evidence, mine, claim.subject, metrics, common)
    against = f"the study's own runs give rank {target:.0f} on these" if few else "all are there"
    how = (
        f"Ours (CAD is CAD-as-run): {order}, rank {place:.0f} on {len(common)} machines, from "
        f"{low:.0f} to {high:.0f} within twice LightMMoE's seed spread; {against}."
    )
    return Finding(f"{how} {floors}", place, target, Range(low, high), study=study, source=source)


def _compared_in(claim: Claim) -> list[str]:
    """The detectors that a document compares by measured averages."""
    return [
        c.subject
        for c in claims()
        if (c.document, c.scope, c.metric) == (claim.document, "SMD average", "point_f1")
        and c.kind == "measured"
        and ":" not in c.subject
    ]


def _mean_study(
    evidence: Evidence, name: str, metrics: tuple[str, ...], machines: frozenset[str]
) -> float:
    values = [evidence.study_average(name, SCORES[m][1], machines) for m in metrics]
    return sum(values) / len(values)


def _mean_ours(
    evidence: Evidence, name: str, metrics: tuple[str, ...], machines: frozenset[str]
) -> float:
    tables = [evidence.by_seed(ours(name), SCORES[m][0], machines) for m in metrics]
    return 100 * sum(group_average(table.mean(axis=1)) for table in tables) / len(tables)


def _place(values: dict[str, float], name: str) -> tuple[float, str]:
    """Give the rank of one, 1 for the highest, and all of them in words."""
    ordered = sorted(values, key=values.get, reverse=True)
    words = ", ".join(f"{one} {shown(values[one])}" for one in ordered)
    return 1.0 + sum(value > values[name] for value in values.values()), words


def _places(
    evidence: Evidence,
    values: dict[str, float],
    name: str,
    metrics: tuple[str, ...],
    machines: frozenset[str],
) -> tuple[float, float]:
    """Best and worst rank that twice LightMMoE's seed spread allows."""
    found = [evidence.average("LightMMoE", SCORES[m][0], machines) for m in metrics]
    spreads = [one.spread for one in found if one is not None and not math.isnan(one.spread)]
    slack = 2 * max(spreads, default=0.0)
    others = [value - values[name] for one, value in values.items() if one != name]
    return 1.0 + sum(lead > slack for lead in others), 1.0 + sum(lead > -slack for lead in others)
