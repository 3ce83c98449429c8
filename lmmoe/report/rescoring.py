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
COLUMNS = ("key", "dataset", "entity", "detector", "settings", "seed", "scoring", *METRICS, "error")


def table(profile: Profile) -> pd.DataFrame:
    """Judge every scoring of every model that the profile runs, with its first seed: `COLUMNS`.

    A row per entity, detector and scoring of `SCORINGS`; a detector that fails has one with
    ``error``. Entities without an event, or without a normal row, have none. What the published
    table knows is not measured again.
    """

    def wanted(run: Run) -> bool:
        known = run.detector in (*SQUARED, *ABSOLUTE, CHANCE) and run.protocol == "ours"
        return known and run.series.labels is not None and len(set(run.series.labels)) == 2

    def hidden(run: Run) -> dict[str, object]:
        given = {"scorings": SCORINGS, "metrics": METRICS, "ewma": EWMA, "share": SHARE}
        return given | {"squared": run.detector in SQUARED}

    found = experiment.measurements(profile, "rescoring", wanted, hidden, _measured)
    return pd.DataFrame(found).reindex(columns=list(COLUMNS))


def _measured(run: Run) -> list[dict[str, object]]:
    found, lines = result(run), []
    fitted = found.detector
    how = {"squared": run.detector in SQUARED, "unscored": fitted.unscored}
    test = scorings(fitted.channel_scores(run.series.test), **how) | {OWN: found.scores}
    train = scorings(fitted.channel_scores(run.series.train), **how)
    for name in SCORINGS:
        data = {"labels": run.series.labels, "scores": test[name]}
        flagged = np.nan
        if found.calibration is not None:
            held_out = train.get(name, found.calibration)[-len(found.calibration) :]
            flagged = alarms(**data, threshold=quantile(held_out, SHARE)).f1
        squeezed = best_f1(**data, adjust="squeeze").f1
        values = (average_precision(**data), squeezed, flagged)
        lines.append({"scoring": name} | dict(zip(METRICS, values, strict=True)))
    return lines


def scorings(channels: Floats, *, squared: bool, unscored: int = 0) -> dict[str, Floats]:
    """Make scores ``(t,)`` of channel scores ``(t, c)``, by each of `SCORINGS` but its own.

    Smoothed ones wait for no later row. Rows before ``unscored`` get the lowest score.
    """
    late = channels[unscored:]
    absolute = np.sqrt(late) if squared else late
    most = min(MOST, late.shape[1])
    highest = np.partition(absolute, -most, axis=1)[:, -most:]
    means = [part.mean(axis=1) for part in (absolute**2, absolute, highest)]
    plain = dict(zip(KINDS, means, strict=True))
    made = plain | {f"smoothed {kind}": ewma(one, EWMA) for kind, one in plain.items()}
    return {name: np.concatenate([np.full(unscored, one.min()), one]) for name, one in made.items()}


def summary(measured: pd.DataFrame, metric: str = METRICS[0]) -> pd.DataFrame:
    """Means over entities: detectors down, the best under its own scoring first; `SCORINGS` across.

    Detectors and entities are those of `statistics.largest_block`; a detector's settings are the
    first that it has in the table. Empty where there is nothing to average.
    """
    first = measured.groupby("detector")["settings"].transform("first")
    good = measured[measured["error"].isna() & (measured["settings"] == first)]
    block = largest_block(
        good.pivot(index="entity", columns=["detector", "scoring"], values=metric)
    )
    means = block.mean().unstack("scoring").reindex(columns=list(SCORINGS))
    return means.sort_values(OWN, ascending=False, kind="stable")
