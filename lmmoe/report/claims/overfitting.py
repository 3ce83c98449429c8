"""The rule for the claim that a network is too large for its data."""

import math

import pandas as pd

from lmmoe.report.claims.evidence import Evidence, ours
from lmmoe.report.claims.judging import Finding, shown
from lmmoe.report.claims.published import Claim, Range

SMALLER = "LightMMoE"


def overfitting(claim: Claim, evidence: Evidence) -> Finding:
    """Judge overfitting as the claims' table notes: training against test error by model size.

    A network that overfits has a lower error than `SMALLER` on the rows it learned from, and a
    higher one on rows it did not. Both by the median over machines of the ratio of the two
    networks' errors; what is told is the ratio on unseen rows.
    """
    name, table = ours(claim.subject), evidence.generalisation
    good = None if table is None or table.empty else table[table["error"].isna()]
    good = None if good is None else good[good["settings"] == "{}"]
    if good is None or not {name, SMALLER} <= set(good["detector"]):
        return Finding(f"not run yet: forecast errors of {name} and {SMALLER}.")
    by_name = good.set_index(["entity", "detector"])[["seen", "unseen"]].unstack("detector")
    ratios = pd.DataFrame({p: by_name[p][name] / by_name[p][SMALLER] for p in PARTS}).dropna()
    if ratios.empty:
        return Finding(f"No machine where {name} and {SMALLER} both have forecast errors.")
    learned, unseen = ratios.median()
    worse = int((ratios["unseen"] > 1).sum())
    how = (
        f"{name} forecasts rows that it learned from with {shown(learned)} times the error of "
        f"{SMALLER}, and the later rows of the training half, which neither saw, with "
        f"{shown(unseen)} times: medians of {len(ratios)} machines, on {worse} of which "
        "it is the worse one there. Overfitting would be below 1 and above 1."
    )
    # Both conditions in one number: at least 1 where the one ratio is below and the other above.
    return Finding(how, unseen, min(1 / learned, unseen), Range(1.0, math.inf))


PARTS = ("seen", "unseen")
