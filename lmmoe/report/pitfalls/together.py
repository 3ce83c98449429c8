"""Several mistakes at once: one F1 with one after the other added, from scores at hand."""

import numpy as np

from lmmoe.data.series import Bits, Floats
from lmmoe.metrics import alarms, best_f1, quantile
from lmmoe.report.evaluation import SHARE
from lmmoe.report.pitfalls.fleet import pair
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.report.protocol import widened
from lmmoe.segments import runs

MARGIN = 5  # rows that EasyTSAD's default margin [0, 5] adds to every event, as the study did
STEPS = (
    "F1 at the quantile of held-out rows",
    "and point adjustment",
    "and the best threshold on test",
    f"and events widened by {MARGIN} rows",
)


def added(one: Scored) -> dict[str, float]:
    """F1 at a threshold that no label touched, then with mistakes 1, 2 and 11 added in turn."""
    cut = quantile(one.calibration, SHARE)
    wide = widened(one.labels, one.series.events, MARGIN)
    made = (
        alarms(labels=one.labels, scores=one.scores, threshold=cut).f1,
        alarms(labels=one.labels, scores=adjusted(one.labels, one.scores), threshold=cut).f1,
        best_f1(labels=one.labels, scores=one.scores, adjust="point").f1,
        best_f1(labels=wide, scores=one.scores, adjust="point").f1,
    )
    return dict(zip(STEPS, made, strict=True))


def adjusted(labels: Bits, scores: Floats) -> Floats:
    """Scores ``(t,)`` in which every event has its highest (Xu et al., WWW 2018)."""
    filled = np.array(scores, dtype=float)
    for start, end in runs(labels):
        filled[start:end] = filled[start:end].max()
    return filled


# None of the twenty: their sum. Its number is in no table of them.
TOGETHER = Mistake(
    0,
    "three at once",
    GROUPS[1],
    "Point adjustment, the best threshold on test and wider labels, one after the other.",
    "what papers on these data combine: OmniAnomaly, KDD 2019 (the first two); the study (all)",
    "Which of these are in one number?",
    "quantile_f1",
    "point_f1_pa",
    added,
    pair(STEPS[0], STEPS[-1]),
)
