"""Where ours and the study's own runs differ by more than seeds explain, and why."""

import pandas as pd

from lmmoe.claims.evidence import Evidence
from lmmoe.plots.style import METRIC_TITLES, title
from lmmoe.tables.study import STUDY_METRICS, study_headline

SAME = 0.01  # percentage points that no seed is needed for
# What was found out about a detector that differs; none of it was used to bring ours closer.
REASONS = {
    "CAD-as-run": (
        "the settings that are known of what ran as CAD leave some open, such as dropout; ours "
        "comes closer when it is trained for half the epochs"
    ),
    "USAD": (
        "without early stopping one of its two adversaries wins, and what its scores then find on "
        "a machine hangs on the seed"
    ),
}
UNKNOWN = "the reason is not known"


def beyond(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences of the headline that are larger than twice the seed spread, in points.

    ``rows`` are runs (`lmmoe.runs`). Columns ``detector``, ``metric``, ``difference`` (ours minus
    the study's, the same machines), ``spread`` (standard deviation over seeds of ours, of
    LightMMoE's where one seed was run) and ``spread_of``, whose it is.
    """
    evidence, lines = Evidence(rows), []
    headline = study_headline(rows)
    ran = headline[headline["entities"] > 0]
    for metric in STUDY_METRICS:
        for name, difference in ran[f"{metric}_difference"].dropna().items():
            mine = evidence.average(name, metric, evidence.fleet)
            if abs(100 * difference) > max(SAME, 2 * mine.spread):
                lines.append([name, metric, 100 * difference, mine.spread, mine.spread_of])
    names = ["detector", "metric", "difference", "spread", "spread_of"]
    return pd.DataFrame(lines, columns=names)


def in_words(found: pd.DataFrame) -> str:
    """List the detectors of `beyond`, each with its differences and the reason, if one is known."""
    if found.empty:
        return "Nowhere do ours and the study's own runs differ by more than twice the seed spread."
    lines = ["Ours and the study's own runs differ by more than twice the seed spread for:", ""]
    for name, part in found.groupby("detector", sort=False):
        told = ", ".join(
            f"{METRIC_TITLES[line.metric]} {line.difference:+.2f} points (spread {line.spread:.2f})"
            for line in part.itertuples()
        )
        whose = part["spread_of"].iloc[0]
        reason = REASONS.get(name, UNKNOWN)
        lines.append(f"- {title(name)}: {told}; the spread is {whose}. Why: {reason}.")
    return "\n".join(lines)
