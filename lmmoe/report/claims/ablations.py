"""Rules for claims on variants of LightMMoE: single ones, their losses, and the best of a sweep."""

import json
import math
from itertools import combinations

from lmmoe.report.claims.design import DEFAULTS
from lmmoe.report.claims.evidence import Evidence, spelled
from lmmoe.report.claims.judging import Finding, accepted, interval, shown
from lmmoe.report.claims.published import SCORES, Claim, Range, bounded, find
from lmmoe.report.claims.scores import chance, difference

# The settings of LightMMoE that each of the study's variants is.
VARIANTS: dict[str, dict[str, object]] = {
    "one expert": {"experts": 1},
    "mean gate": {"gate": "mean"},
    "no shared gate": {"shared": 0.0},
    "specific gate only": {"shared": 0.0},
    "no towers": {"tower": []},
    "extreme lightweight": {"experts": 2, "kernels": 4, "hidden": 64, "out": 32, "tower": 8},
}
LOSSES = {"mixed gate vs mean weights": "mean gate", "one expert vs four": "one expert"}
SWEEPS = {
    "best number of experts": "experts",
    "best shared-gate ratio": "shared",
    "epochs": "epochs",
}
# Detectors of the study that are MMoEs too: how much their gaps change from some machines to all
# says how much the gap between two variants may change.
KIN = ("LightMMoE", "HMMoE", "CAD")
COLUMN, THEIRS = SCORES["point_f1"]


def variant(claim: Claim, evidence: Evidence) -> Finding:
    """Judge the average of one variant.

    The study published no runs of it. On fewer than all machines ours is moved by what the
    study's own LightMMoE changes from these machines to all.
    """
    name = claim.subject.removeprefix("ablation: ")
    mine = evidence.average("LightMMoE", COLUMN, evidence.fleet, _settings(name))
    if mine is None:
        return Finding(f"not run yet: LightMMoE with {_settings(name)}, protocol study.")
    whole, same = (
        evidence.study_average("LightMMoE", THEIRS, m) for m in (evidence.fleet, mine.machines)
    )
    moved = mine.value + whole - same
    how = (
        f"LightMMoE with {_settings(name)}: {shown(mine.value)} on {len(mine.machines)} of "
        f"{len(evidence.fleet)} machines, {mine.seeds}; about {shown(moved)} on all, as the "
        f"study's own LightMMoE moves from {shown(same)} to {shown(whole)}; seed spread "
        f"{mine.spread_of}. {chance(evidence, COLUMN, mine.machines)}"
    )
    doubt, limits = gap_shift(evidence, mine.machines), accepted(claim, mine.spread)
    how = f"{how} {_told(limits, doubt)}"
    return Finding(how, mine.value, moved, limits, doubt)


def loss(claim: Claim, evidence: Evidence) -> Finding:
    """Judge by how much a variant falls behind the full network, on the machines of both."""
    name = LOSSES[claim.subject.removeprefix("ablation: ")]
    printed = [
        find(claim, subject=f"ablation: {one}", metric="point_f1", scope=claim.scope)
        for one in ("full", name)
    ]
    study = math.nan if None in printed else printed[0].number - printed[1].number
    source = "The study's own printed averages give"
    mine = difference(evidence, ("LightMMoE", "{}"), ("LightMMoE", _settings(name)), COLUMN)
    if mine is None:
        how = f"not run yet: LightMMoE with {_settings(name)} beside the full one, protocol study."
        return Finding(how, study=study, source=source)
    how = (
        f"Full minus {name}: {shown(mine.value)} points on {len(mine.machines)} of "
        f"{len(evidence.fleet)} machines, {mine.seeds}; seed spread {mine.spread_of}. "
        f"{chance(evidence, COLUMN, mine.machines)}"
    )
    limits = bounded(claim) or accepted(claim, mine.spread)
    doubt = gap_shift(evidence, mine.machines)
    how = f"{how} {_told(limits, doubt)}"
    return Finding(how, mine.value, mine.value, limits, doubt, study, source)


def _told(limits: Range, doubt: float) -> str:
    """Say what is accepted, and how far the missing machines may move ours."""
    said = interval(limits)
    return f"{said[0].upper()}{said[1:]}; the missing machines may move ours by {shown(doubt)}."


def sweep(claim: Claim, evidence: Evidence) -> Finding:
    """Judge which value of one setting is best: no other may lead by more than the seeds explain.

    "Best" is by Point F1 on the test labels, as in the study.
    """
    setting = SWEEPS[claim.metric]
    chosen = _values(evidence, setting)
    tables = {t: evidence.by_seed("LightMMoE", COLUMN, evidence.fleet, t) for t in chosen}
    tables = {t: table for t, table in tables.items() if len(table)}
    shared = [frozenset(table.index) for table in tables.values()]
    common = frozenset.intersection(*shared) if shared else frozenset()
    if len(tables) < 2 or not common:
        return Finding(f"not run yet: LightMMoE with several values of {setting}, protocol study.")
    found = {chosen[t]: evidence.average("LightMMoE", COLUMN, common, t) for t in tables}
    best = max(found, key=lambda value: found[value].value)
    known = [one.spread for one in found.values() if not math.isnan(one.spread)]
    slack = 2 * max(known, default=0.0)
    said = next((one for value, one in found.items() if value == claim.number), None)
    order = ", ".join(f"{value}: {shown(one.value)}" for value, one in sorted(found.items()))
    how = (
        f"Point F1 by {setting} on {len(common)} of {len(evidence.fleet)} machines, the best "
        f"chosen on test labels as in the study: {order}; a lead up to {slack:.2f} is within the "
        f"seeds. "
        f"{chance(evidence, COLUMN, common)}"
    )
    if said is None:
        return Finding(f"not run yet: {setting} {claim.value}. {how}", float(best))
    behind = found[best].value - said.value
    return Finding(how, float(best), behind, Range(0.0, slack), gap_shift(evidence, common))


def _values(evidence: Evidence, setting: str) -> dict[str, float]:
    """Give the settings of runs that differ in one number only, and that number."""
    texts = {"{}", *evidence.runs.loc[evidence.runs["detector"] == "LightMMoE", "settings"]}
    given = {text: json.loads(text) for text in sorted(texts)}
    given = {text: one for text, one in given.items() if not one.keys() - {setting}}
    values = {text: one.get(setting, DEFAULTS[setting]) for text, one in given.items()}
    return {text: value for text, value in values.items() if isinstance(value, int | float)}


def gap_shift(evidence: Evidence, machines: frozenset[str]) -> float:
    """How much a gap between two MMoEs of the study changes from some machines to all, at most."""
    averages = {
        name: [evidence.study_average(name, THEIRS, m) for m in (machines, evidence.fleet)]
        for name in KIN
    }
    return max(
        abs((one[0] - two[0]) - (one[1] - two[1]))
        for one, two in combinations(averages.values(), 2)
    )


def _settings(name: str) -> str:
    return spelled("LightMMoE", json.dumps(VARIANTS[name]))
