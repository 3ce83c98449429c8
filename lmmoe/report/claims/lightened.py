"""The rule for the study's table of ways to make a network smaller."""

import math

from lmmoe.report.claims.evidence import Evidence
from lmmoe.report.claims.judging import Finding, interval, shown
from lmmoe.report.claims.published import Claim, Range, printed_range

METHODS = ("pruning", "distillation", "quantisation")


def lightened(claim: Claim, evidence: Evidence) -> Finding:
    """Judge a method by our smallest model of its kind: it must save, or keep, the printed share.

    Smallest in parameters, of the study's large network (HMMoE), and trained on if it was pruned.
    "Performance kept" is by Point F1 (PA), the study's headline; beside it stand what random
    scores keep, and average precision. More than the printed share is no failure.
    """
    from lmmoe.report.compress import (  # imports torch
        DISTILLING,
        INTEGERS,
        LARGE,
        PRUNING,
        kept_shares,
    )

    kind = dict(zip(METHODS, (PRUNING, DISTILLING, INTEGERS), strict=True))[claim.subject]
    table = evidence.compressed
    shares = None if table is None or table.empty else kept_shares(table)
    if shares is not None:
        shares = shares[(shares["base"] == LARGE) & ~shares.index.str.contains("not trained")]
    if shares is None or not (shares["kind"] == kind).any():
        return Finding(f"not run yet: {claim.subject} of {LARGE}.")
    line = shares[shares["kind"] == kind].sort_values("parameters", kind="stable").iloc[0]
    said = f"{line.name}, of {LARGE}, on {line['entities']} of {len(evidence.fleet)} machines"
    if claim.metric == "parameter reduction":
        value = 100 * (1 - line["parameters"])
        how = (
            f"{said}: {value:.1f} % of parameters saved, {100 * (1 - line['bytes']):.1f} % of bytes"
        )
    else:
        value = 100 * line["point_f1_pa"]
        chance = 100 * shares["point_f1_pa"].get("random", math.nan)
        how = (
            f"{said}: {value:.1f} % of Point F1 (PA) kept, of which random scores keep "
            f"{shown(chance)} %; {100 * line['average_precision']:.1f} % of average precision"
        )
    limits = Range(printed_range(claim).low, math.inf)
    return Finding(f"{how}; {interval(limits)}, the printed share or more.", value, value, limits)
