"""Which rule judges which claim. No verdict stands here: rules compute them."""

import math
import re
from collections.abc import Callable

import pandas as pd

from lmmoe.report.claims import ablations, cost, counts, lightened, overfitting, ranks, scores
from lmmoe.report.claims.evidence import Evidence
from lmmoe.report.claims.judging import FAILS, UNTESTED, Finding, Judgement, judge
from lmmoe.report.claims.published import SCORES, Claim, claims

Rule = Callable[[Claim, Evidence], Finding]

# By metric, and by metric and scope where one metric is claimed of several things.
RULES: dict[str | tuple[str, str], Rule] = {
    **dict.fromkeys(SCORES, scores.score),
    **dict.fromkeys((f"{metric} gain" for metric in SCORES), scores.gain),
    ("point_f1", "every group"): scores.every_group,
    "point_f1 rank": ranks.rank,
    "overall rank": ranks.rank,
    **dict.fromkeys(ablations.SWEEPS, ablations.sweep),
    "parameters": counts.total,
    ("parameters", "one expert"): counts.part,
    ("parameters", "gates"): counts.part,
    ("parameters", "towers"): counts.part,
    ("parameters", "relative to MTSMixer"): counts.against_baseline,
    ("parameters", "success criterion"): counts.against_baseline,
    ("parameters", "vs conventional"): counts.against_conventional,
    "parameter reduction": counts.against_conventional,
    "parameter ratio": counts.parameter_ratio,
    "point_f1 per parameter": counts.per_parameter,
    "point_f1 per parameter ratio": counts.per_parameter_ratio,
    "model size": counts.model_size,
    "operations": counts.product,
    "speed-up": counts.speed_up,
    "window reduction": counts.window_reduction,
    "expert network width": counts.size_change,
    "convolution kernels": counts.size_change,
    "number of experts": counts.size_change,
    "tower hidden units": counts.size_change,
    "performance kept": scores.performance_kept,
    "training time": cost.seconds,
    "inference time": cost.seconds,
    ("training time", "relative to MTSMixer"): cost.against_baseline,
    ("training time", "success criterion"): cost.against_baseline,
    "training speed-up": cost.against_baseline,
    "training time reduction": cost.against_conventional,
    "training time ratio": cost.ratio,
    "inference time ratio": cost.ratio,
    "compute ratio": cost.ratio,
    "latency": cost.latency,
    "throughput": cost.throughput,
    "memory": cost.memory,
    "overfitting": overfitting.overfitting,
    **dict.fromkeys(cost.REASONS, cost.out_of_reach),
}
TITLES = {"CAD": "Beyond Sharing: Conflict-Aware Multivariate Time Series Anomaly Detection"}


def rule(claim: Claim) -> Rule:
    """Choose the rule for a claim."""
    name = claim.subject.removeprefix("ablation: ")
    if name in ablations.VARIANTS:
        return ablations.variant
    if name in ablations.LOSSES:
        return ablations.loss
    if claim.subject in lightened.METHODS:
        return lightened.lightened
    return RULES.get((claim.metric, claim.scope)) or RULES[claim.metric]


def judgement(claim: Claim, evidence: Evidence) -> Judgement:
    """Judge one claim."""
    if claim.metric == "novelty":
        return novelty(claim)
    return judge(claim, rule(claim)(claim, evidence))


def novelty(claim: Claim) -> Judgement:
    """Judge "first": it fails where the claim's note names an earlier publication that did it."""
    earlier = re.search(r"\(([^)]*\b(?:19|20)\d\d)\)", claim.note)
    compared = {c.subject for c in claims() if c.subject != claim.subject}
    named = [name for name in sorted(compared) if re.search(rf"\b{name}\b", claim.note)]
    if not earlier:
        return Judgement(math.nan, UNTESTED, "No earlier publication is known to this report.")
    titles = [f' {name}: "{TITLES[name]}".' for name in named if name in TITLES]
    own = f" The study itself compares with {', '.join(named)}." if named else ""
    why = f"An earlier publication did so: {claim.note}.{''.join(titles)}{own}"
    return Judgement(math.nan, FAILS, why)


def audit(
    rows: pd.DataFrame,
    *,
    ablation: pd.DataFrame | None = None,
    efficiency: pd.DataFrame | None = None,
    compressed: pd.DataFrame | None = None,
    generalisation: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Hold every printed claim against the results: one line per claim, always all of them.

    ``rows`` are runs (`lmmoe.report.runs.read`), of which those under the protocol ``study`` on SMD
    count; ``ablation`` are more such rows, of LightMMoE with other settings; the other
    tables are measurements (`report.claims.evidence.Evidence` says which). What is not there makes
    claims untestable, not wrong. Columns: those of ``claims.csv`` (as text, as printed),
    ``measured`` (our number in the claim's unit, NaN where there is none), ``verdict`` (one of
    `lmmoe.report.claims.VERDICTS`) and ``why``.
    """
    evidence = Evidence(rows, ablation, efficiency, compressed, generalisation)
    lines = [claim._asdict() | judgement(claim, evidence)._asdict() for claim in claims()]
    return pd.DataFrame(lines)
