"""Is it the model or the scoring? The errors of each model, turned into scores in the same ways.

A model forecasts or rebuilds each channel; what is made of its errors is a choice of its own, and
few publications vary one without the other.
"""

import numpy as np
import pandas as pd

from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import Detector
from lmmoe.detectors.scaling import ewma
from lmmoe.metrics import alarms, average_precision, best_f1, quantile
from lmmoe.report import kept
from lmmoe.report.evaluation import SHARE
from lmmoe.report.params import Profile
from lmmoe.report.pitfalls import judgeable
from lmmoe.report.runs import Run, result

PROTOCOL = "ours"
# Models that forecast or rebuild the last row, and score it by the mean or the maximum of the
# channels' errors; the L2 norm's is the mean. Whose channel scores are squared errors, and whose
# absolute ones (tests hold them to it). Random scores are the floor.
SQUARED = (
    *("MTSExample", "last value", "moving average", "ridge VAR", "linear", "LSTM-AE"),
    *("untrained LightMMoE", "CAD-as-run", "LightMMoE", "CAD", "CAD-FSE23", "HMMoE"),
)
ABSOLUTE = ("PCA", "PCA z-score", "PCA windows")
CHANCE = "random"
OWN = "own"
MOST = 4  # channels in a mean of the highest: SMD's events touch 4 in the median
EWMA = 0.2  # that of "PCA windows EWMA", singled out by trials on SMD
KINDS = ("squares", "absolute errors", f"highest {MOST}")
SCORINGS = (OWN, *KINDS, *(f"smoothed {kind}" for kind in KINDS))
METRICS = ("average_precision", "event_f1_pa_squeeze", "quantile_f1")
COLUMNS = ("dataset", "entity", "detector", "settings", "seed", "scoring", *METRICS, "error")


def table(profile: Profile) -> pd.DataFrame:
    """Judge every scoring of every model that the profile runs, with its first seed: `COLUMNS`.

    A row per entity, detector and scoring of `SCORINGS`; a detector that fails has one with
    ``error``. Entities without an event, or without a normal row, have none. What the published
    table knows is not measured again.
    """
    title = "models and scorings"
    found = kept.of_runs(profile, "rescoring", title, _wanted, _hidden, _measured)
    return kept.table(found, COLUMNS)


def _wanted(run: Run) -> bool:
    known = run.detector in (*SQUARED, *ABSOLUTE, CHANCE)
    return run.protocol == PROTOCOL and known and judgeable(run.series)


def _hidden(run: Run) -> dict[str, object]:
    hidden = {"scorings": SCORINGS, "metrics": METRICS, "ewma": EWMA, "share": SHARE}
    return hidden | {"squared": run.detector in SQUARED}


def _measured(run: Run) -> list[dict[str, object]]:
    found = result(run)
    how = {"squared": run.detector in SQUARED, "unscored": first(found.detector)}
    test, train = (
        scorings(found.detector.channel_scores(rows), **how)
        for rows in (run.series.test, run.series.train)
    )
    held_out = dict.fromkeys(SCORINGS)
    if found.calibration is not None:
        held_out = {name: scores[-len(found.calibration) :] for name, scores in train.items()}
    test[OWN], held_out[OWN] = found.scores, found.calibration
    return [
        {"scoring": name} | judged(run.series.labels, test[name], held_out[name])
        for name in SCORINGS
    ]


def first(fitted: Detector) -> int:
    """The first row that a fitted detector scores."""
    return getattr(fitted, "unscored", 0)


def scorings(channels: Floats, *, squared: bool, unscored: int = 0) -> dict[str, Floats]:
    """Make scores ``(t,)`` of channel scores ``(t, c)``, by each of `SCORINGS` but its own.

    The mean over channels of squared or of absolute errors, or of the highest absolute ones; each
    also as an exponentially weighted mean (`lmmoe.detectors.scaling.ewma`), which waits for no
    later row. Rows before ``unscored`` get the lowest score.
    """
    late = channels[unscored:]
    absolute = np.sqrt(late) if squared else late
    most = min(MOST, late.shape[1])
    highest = np.partition(absolute, -most, axis=1)[:, -most:]
    means = [part.mean(axis=1) for part in (absolute**2, absolute, highest)]
    plain = dict(zip(KINDS, means, strict=True))
    made = plain | {f"smoothed {kind}": ewma(one, EWMA) for kind, one in plain.items()}
    return {name: np.concatenate([np.full(unscored, one.min()), one]) for name, one in made.items()}


def judged(labels: Bits, scores: Floats, held_out: Floats | None) -> dict[str, float]:
    """Give `METRICS` for scores ``(t,)``; without held-out scores the last is NaN."""
    data = {"labels": labels, "scores": scores}
    flagged = np.nan
    if held_out is not None:
        flagged = alarms(**data, threshold=quantile(held_out, SHARE)).f1
    squeezed = best_f1(**data, adjust="squeeze").f1
    return dict(zip(METRICS, (average_precision(**data), squeezed, flagged), strict=True))
