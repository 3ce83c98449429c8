"""Rules for claims on F1, precision and recall: averages, differences, shares."""

import math

from lmmoe.report.claims.evidence import Average, Evidence, ours
from lmmoe.report.claims.judging import Finding, accepted, shown
from lmmoe.report.claims.published import SCORES, Claim, Range, bounded

CONVENTIONAL = "CAD-FSE23"  # the published MMoE detector whose size is near the study's 1,000,000


def score(claim: Claim, evidence: Evidence) -> Finding:
    """Judge an average over one group of machines, or over the three groups."""
    name = ours(claim.subject)
    theirs = "LightMMoE" if claim.subject == "ablation: full" else claim.subject
    return _judged(claim, evidence, name, theirs, claim.metric)


def _judged(claim: Claim, evidence: Evidence, name: str, theirs: str, metric: str) -> Finding:
    column, their_column = SCORES[metric]
    whole = evidence.scope(claim.scope)
    study = evidence.study_average(theirs, their_column, whole)
    source = f"The study's own runs give{_slip(claim, evidence, theirs, study)}"
    mine = evidence.average(name, column, whole)
    if mine is None:
        how = f"{not_run(name, column, evidence)} {chance(evidence, column, whole)}"
        return Finding(how, study=study, source=source)
    same = evidence.study_average(theirs, their_column, mine.machines)
    shift = evidence.shift(their_column, mine.machines, whole) if math.isnan(study) else 0.0
    found = compared(claim, mine, whole, study=study, same=same, shift=shift)
    how = f"{name}: {found.how} {chance(evidence, column, mine.machines)}"
    return found._replace(how=how, study=study, source=source)


def compared(
    claim: Claim,
    mine: Average,
    whole: frozenset[str],
    *,
    study: float,
    same: float,
    shift: float,
) -> Finding:
    """Hold our average against the printed one, or against the study's on the same machines.

    ``study`` and ``same`` are the study's own over all machines and over ours, NaN where it ran
    no such thing: then ``shift`` says how far the missing machines may move ours.
    """
    few = mine.machines < whole
    found = Finding("", measured=mine.value, value=mine.value)
    base = f"ours {mine.value:.2f}"
    where = f"{len(mine.machines)} of {len(whole)} machines, {mine.seeds}"
    slack = max(_half(claim), 0.0 if math.isnan(mine.spread) else 2 * mine.spread)
    allowed = f"allowed {_allowed(claim, mine, slack)}"
    if not few:
        how = f"{base} over all {where}, against the printed {claim.value}; {allowed}."
        return found._replace(how=how, accepted=accepted(claim, mine.spread, study))
    if math.isnan(study):
        how = f"{base} over {where}; the study published no runs of it to compare with; {allowed}."
        return found._replace(how=how, accepted=accepted(claim, mine.spread), doubt=shift)
    if bounded(claim) or claim.forecast:
        moved = mine.value + study - same
        how = (
            f"{base} over {where}; the study's own {shown(same)} on the same machines is "
            f"{shown(study)} on all, so ours would be about {shown(moved)}. The printed number is "
            "about all machines, and is tested where all are present."
        )
        return found._replace(how=how)
    how = f"{base} against the study's own {shown(same)} on the same {where}; {allowed}."
    return found._replace(how=how, accepted=Range(same - slack, same + slack))


def _half(claim: Claim) -> float:
    return claim.half_digit * (2 if claim.metric.endswith((" gain", " loss")) else 1)


def _allowed(claim: Claim, mine: Average, slack: float) -> str:
    if bounded(claim):
        return "nothing beyond the printed bound"
    if math.isnan(mine.spread) or slack > 2 * mine.spread:
        seed = mine.spread_of
        if not math.isnan(mine.spread):
            seed = f"{shown(mine.spread)}, {mine.spread_of}"
        digit = "a printed digit" if _half(claim) > claim.half_digit else "half a printed digit"
        return f"±{slack:.3g} ({digit}; seed spread {seed})"
    return f"±{slack:.3g} (twice the seed spread, {mine.spread_of})"


def _slip(claim: Claim, evidence: Evidence, theirs: str, study: float) -> str:
    """Name another column of the study's results that has the printed number, if one has."""
    if math.isnan(study) or claim.forecast or abs(study - claim.number) <= claim.half_digit:
        return ""
    whole = evidence.scope(claim.scope)
    values = {c: evidence.study_average(theirs, c, whole) for c in evidence.theirs}
    same = [c for c, v in values.items() if abs(v - claim.number) <= claim.half_digit]
    return f" {claim.value} for {' and '.join(same)}, but for this score" if same else ""


def chance(evidence: Evidence, column: str, machines: frozenset[str]) -> str:
    """Say what random scores reach on the same machines: the floor of point adjustment."""
    floor = evidence.average("random", column, machines)
    if floor is None:
        return "No random scores were run beside it."
    some = "" if floor.machines == machines else f" {len(floor.machines)} of"
    return f"Random scores reach {floor.value:.2f} on{some} these machines."


def not_run(name: str, column: str, evidence: Evidence) -> str:
    """Say why we have no number: the table has no such column, or no such run."""
    if len(evidence.runs) and column not in evidence.runs:
        return f"The table of runs has no column {column} yet."
    return f"No run of {name} under the study's protocol on these machines."


def gain(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a difference of two detectors' averages, on the machines that both ran on."""
    first, _, second = claim.subject.partition(" minus ")
    column, theirs = SCORES[claim.metric.removesuffix(" gain")]
    whole = evidence.scope(claim.scope)
    both = [evidence.study_average(name, theirs, whole) for name in (first, second)]
    study = both[0] - both[1]
    source = f"The study's own runs give {shown(both[0])} - {shown(both[1])} ="
    mine = difference(evidence, (ours(first), "{}"), (ours(second), "{}"), column)
    if mine is None:
        how = (
            f"Needs runs of both {ours(first)} and {ours(second)} with {column} on one machine. "
            f"{chance(evidence, column, whole)}"
        )
        return Finding(how, study=study, source=source)
    same = [evidence.study_average(name, theirs, mine.machines) for name in (first, second)]
    found = compared(claim, mine, whole, study=study, same=same[0] - same[1], shift=0.0)
    how = (
        f"{ours(first)} minus {ours(second)}: {found.how} {chance(evidence, column, mine.machines)}"
    )
    return found._replace(how=how, study=study, source=source)


def difference(
    evidence: Evidence, first: tuple[str, str], second: tuple[str, str], column: str
) -> Average | None:
    """Average the first's lead over the second, each a (detector, settings), on common machines."""
    tables = [evidence.by_seed(name, column, evidence.fleet, s) for name, s in (first, second)]
    common = set(tables[0].index) & set(tables[1].index)
    one, two = (evidence.average(name, column, common, s) for name, s in (first, second))
    if one is None or two is None:
        return None
    whose = f"of both: {one.spread_of}; {two.spread_of}"
    spread = math.hypot(one.spread, two.spread)
    return Average(
        one.value - two.value, one.machines, f"{one.seeds} and {two.seeds}", spread, whose
    )


def every_group(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a bound on all three groups by the lowest of them."""
    groups = ("machine-1", "machine-2", "machine-3")
    parts = [score(claim._replace(scope=group), evidence) for group in groups]
    study = min(part.study for part in parts)
    source = "The lowest group of the study's own runs has"
    if any(part.accepted is None for part in parts):
        return Finding(f"Needs all groups. {parts[0].how}", study=study, source=source)
    worst = min(parts, key=lambda part: part.value)
    lowest = min(part.measured for part in parts)
    how = f"The lowest group. {worst.how}"
    return worst._replace(measured=lowest, how=how, study=study, source=source)


def performance_kept(claim: Claim, evidence: Evidence) -> Finding:
    """Judge LightMMoE's Point F1 as a share of the conventional network's.

    The study ran no conventional MMoE; `CONVENTIONAL` stands for it.
    """
    column, theirs = SCORES["point_f1"]
    names = evidence.theirs.index.unique("detector")
    own = {name: evidence.study_average(name, theirs, evidence.fleet) for name in names}
    near = [n for n in own if accepted(claim).holds(100 * own["LightMMoE"] / own[n])]
    near = [n for n in near if n != "LightMMoE"]
    told = (
        "The study ran no conventional MMoE; its own runs give the printed share against "
        f"{', '.join(near) or 'none of its detectors'}."
    )
    tables = [evidence.by_seed(n, column, evidence.fleet) for n in ("LightMMoE", CONVENTIONAL)]
    common = frozenset(set(tables[0].index) & set(tables[1].index))
    if not common:
        return Finding(f"{told} Needs runs of LightMMoE and {CONVENTIONAL} on one machine.")
    light, full = (evidence.average(n, column, common) for n in ("LightMMoE", CONVENTIONAL))
    if not light.value or not full.value:
        return Finding(f"{told} An average of 0 has no share.")
    share = 100 * light.value / full.value
    spread = share * math.hypot(light.spread / light.value, full.spread / full.value)
    doubt = 0.0
    if common < evidence.fleet:
        here = {name: evidence.study_average(name, theirs, common) for name in names}
        light_shares = [100 * s["LightMMoE"] / s["CAD"] for s in (own, here)]
        doubt = abs(light_shares[0] - light_shares[1])
    how = (
        f"{told} LightMMoE {shown(light.value)} / {CONVENTIONAL} {shown(full.value)} on "
        f"{len(common)} of {len(evidence.fleet)} machines, {full.seeds}: {share:.1f} %. "
        f"{chance(evidence, column, light.machines)}"
    )
    return Finding(how, share, share, accepted(claim, spread), doubt)
