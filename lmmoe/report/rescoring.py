"""Is it the model or the scoring? The errors of each model, turned into scores in the same ways.

A model forecasts or rebuilds each channel; what is made of its errors is a choice of its own, and
few publications vary one without the other.
"""

import numpy as np
import pandas as pd

from lmmoe.data.series import Floats
from lmmoe.detectors.scaling import ewma
from lmmoe.metrics import alarms, average_precision, best_f1, quantile
from lmmoe.report import experiment
from lmmoe.report.evaluation import SHARE
from lmmoe.report.experiment import Run, result
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import largest_block

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
SHARED = "smoothed absolute errors"  # the scoring of "PCA windows EWMA", given to all
METRICS = ("average_precision", "event_f1_pa_squeeze", "quantile_f1")
COLUMNS = ["key", "dataset", "entity", "detector", "settings", "seed", "scoring", *METRICS, "error"]


def table(profile: Profile) -> pd.DataFrame:
    """Judge every scoring of every model that the profile runs, with its first seed: `COLUMNS`.

    A row per entity, detector and scoring of `SCORINGS`; a detector that fails has one with
    ``error``. Entities without an event, or without a normal row, have none.
    """
    how = {"scorings": SCORINGS, "metrics": METRICS, "ewma": EWMA, "share": SHARE}
    return experiment.measurements(
        profile,
        "rescoring",
        wanted=lambda run: run.protocol == "ours" and run.detector in (*SQUARED, *ABSOLUTE, CHANCE),
        hidden=lambda run: how | {"squared": run.detector in SQUARED},
        measure=_measured,
    ).reindex(columns=COLUMNS)


def _measured(run: Run) -> list[dict[str, object]]:
    series, lines = run.series, []
    if not series.judgeable:
        return lines
    found = result(run)
    how = {"squared": run.detector in SQUARED, "unscored": found.detector.unscored}
    train = scorings(found.detector.channel_scores(series.train), **how) | {OWN: found.calibration}
    test = scorings(found.detector.channel_scores(series.test), **how) | {OWN: found.scores}
    for name in SCORINGS:
        data = {"labels": series.labels, "scores": test[name]}
        threshold = quantile(train[name][-len(found.calibration) :], SHARE)
        squeezed = best_f1(**data, adjust="squeeze").f1
        values = (average_precision(**data), squeezed, alarms(**data, threshold=threshold).f1)
        lines.append({"scoring": name} | dict(zip(METRICS, values, strict=True)))
    return lines


def scorings(channels: Floats, *, squared: bool, unscored: int = 0) -> dict[str, Floats]:
    """Make scores ``(t,)`` of channel scores ``(t, c)``, by each of `SCORINGS` but its own.

    Smoothed ones wait for no later row. Rows before ``unscored`` get the lowest score.
    """
    absolute = np.sqrt(channels[unscored:]) if squared else channels[unscored:]
    parts = (absolute**2, absolute, np.sort(absolute, axis=1)[:, -MOST:])
    made = {kind: part.mean(axis=1) for kind, part in zip(KINDS, parts, strict=True)}
    made |= {f"smoothed {kind}": ewma(scores, EWMA) for kind, scores in made.items()}
    return {name: np.concatenate([np.full(unscored, one.min()), one]) for name, one in made.items()}


def summary(measured: pd.DataFrame, metric: str = METRICS[0]) -> pd.DataFrame:
    """Means over entities: detectors down, the best under its own scoring first; `SCORINGS` across.

    Detectors and entities are those of `statistics.largest_block`; a detector's settings are the
    first that it has in the table. Empty where there is nothing to average.
    """
    first = measured.groupby("detector")["settings"].transform("first")
    good = measured[measured["error"].isna() & (measured["settings"] == first)]
    wide = good.pivot(index="entity", columns=["detector", "scoring"], values=metric)
    means = largest_block(wide).mean().unstack("scoring").reindex(columns=list(SCORINGS))
    return means.sort_values(OWN, ascending=False, kind="stable")
