"""Where ours and the study's own runs differ by more than twice the seed spread, and why."""

import numpy as np
import pandas as pd

from lmmoe.report import study
from lmmoe.report.plots.style import METRIC_TITLES, title
from lmmoe.report.tables.study import STUDY_METRICS, study_headline

SAME = 0.01  # percentage points that no seed is needed for
# What is known about a detector that differs; none of it was used to bring ours closer.
REASONS = {
    "CAD-as-run": (
        "presumably a setting that is not known of what ran as CAD, such as dropout; with half the "
        "epochs (`epochs: 4`) ours comes closer"
    ),
    "USAD": (
        "not chance, since its own seeds differ far less, but something in theirs that is not "
        "known; here, without early stopping, one of its two adversaries wins, and its scores are "
        "little more than a distance from one fixed output"
    ),
}
UNKNOWN = "the reason is not known"
# Where the study's words can be read in two ways and its results decided which one is run here.
SETTLED = {
    "MTSMixerLighter": (
        "its instance normalisation is not undone at the end; undone, it falls far short"
    )
}


def beyond(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences of the headline that are larger than twice the seed spread, in points.

    ``rows`` are runs (`report.runs`), of which those with a detector's own settings count. Columns
    ``detector``, ``metric``, ``difference`` (ours minus the study's, the same machines), ``spread``
    (standard deviation over seeds of ours, of LightMMoE's where one seed was run) and
    ``spread_of``, whose it is. Without any spread nothing is known to be larger.
    """
    rows = rows[rows["settings"] == "{}"]
    ours, lines = study.Runs(rows), []
    headline = study_headline(rows)
    ran = headline[headline["entities"] > 0]
    for metric in STUDY_METRICS:
        for name, difference in ran[f"{metric}_difference"].dropna().items():
            mine = ours.average(name, metric, study.machines())
            whose = "its own over seeds" if mine.own else "LightMMoE's over seeds"
            known = not np.isnan(mine.spread)
            if known and abs(100 * difference) > max(SAME, 2 * mine.spread):
                lines.append([name, metric, 100 * difference, mine.spread, whose])
    names = ["detector", "metric", "difference", "spread", "spread_of"]
    return pd.DataFrame(lines, columns=names)


def in_words(found: pd.DataFrame) -> str:
    """List the detectors of `beyond`, each with its differences and the reason, if one is known.

    Last comes what the study's results decided (`SETTLED`).
    """
    settled = "; ".join(f"{title(name)}: {what}" for name, what in SETTLED.items())
    settled = f"Read so that it meets the study's runs, since its words allow both: {settled}."
    if found.empty:
        none = "Nowhere do ours and the study's own runs differ by more than twice the seed spread."
        return f"{none} {settled}"
    lines = ["Ours and the study's own runs differ by more than twice the seed spread for:", ""]
    for name, part in found.groupby("detector", sort=False):
        told = ", ".join(
            f"{METRIC_TITLES[line.metric]} {line.difference:+.2f} points (spread {line.spread:.2f})"
            for line in part.itertuples()
        )
        whose = part["spread_of"].iloc[0]
        reason = REASONS.get(name, UNKNOWN)
        lines.append(f"- {title(name)}: {told}; the spread is {whose}. Why: {reason}.")
    return "\n".join([*lines, "", settled])
