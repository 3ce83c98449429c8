"""The errors of models: turned into scores in the same ways, and on learned and on later rows.

A model forecasts or rebuilds each channel; what is made of its errors is a choice of its own, and
few publications vary one without the other.
"""

import numpy as np
import pandas as pd

from lmmoe.data.series import Floats
from lmmoe.detectors.scaling import ewma
from lmmoe.metrics import alarms, average_precision, best_f1, quantile
from lmmoe.report.evaluation import SHARE
from lmmoe.report.experiment import PROTOCOLS, Run, measurements, result
from lmmoe.report.profile import Profile

# Models that forecast or rebuild the last row and score it by the mean or maximum of its errors:
# whose channel scores are squared, and whose absolute ones (tests hold them to it).
SQUARED = (
    *("MTSExample", "last value", "moving average", "ridge VAR", "linear", "LSTM-AE"),
    *("untrained LightMMoE", "CAD-as-run", "LightMMoE", "CAD", "CAD-FSE23", "HMMoE"),
)
ABSOLUTE = ("PCA", "PCA z-score", "PCA windows")
OWN = "own"
MOST = 4  # channels in a mean of the highest: SMD's events touch 4 in the median
EWMA = 0.2  # that of "PCA windows EWMA", singled out by trials on SMD
KINDS = ("squares", "absolute errors", f"highest {MOST}")
SCORINGS = (OWN, *KINDS, *(f"smoothed {kind}" for kind in KINDS))
SHARED = "smoothed absolute errors"  # the scoring of "PCA windows EWMA", given to all
METRICS = ("average_precision", "event_f1_pa_squeeze", "quantile_f1")
RUN = ["dataset", "entity", "detector", "settings", "seed"]
COLUMNS = ["key", *RUN, "scoring", *METRICS, "error"]

# Under the protocol "study" each scores a row by its mean squared forecast error, in z-scores.
FORECASTERS = ("linear", "CAD-as-run", "LightMMoE", "CAD", "HMMoE")
BASE = "last value"
FIRST = 20  # rows that are left out at the start, more where a window is longer
NUMBERS = ("parameters", "seen", "unseen")
ERRORS = [*RUN, *NUMBERS, "error"]


def table(profile: Profile) -> pd.DataFrame:
    """Judge every scoring of every model that the profile runs, with its first seed: `COLUMNS`.

    A row per entity with events, detector and scoring of `SCORINGS`, or one with ``error``.
    """
    models = [("ours", name) for name in (*SQUARED, *ABSOLUTE, "random")]
    how = {"scorings": SCORINGS, "metrics": METRICS, "ewma": EWMA, "share": SHARE}
    return measurements(
        profile,
        "rescoring",
        wanted=lambda run: run.series.judgeable and (run.protocol, run.detector) in models,
        hidden=lambda run: how | {"squared": run.detector in SQUARED},
        measure=_measured,
    ).reindex(columns=COLUMNS)


def _measured(run: Run) -> list[dict[str, object]]:
    series, lines, found = run.series, [], result(run)
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


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Mean average precision: detectors down, the best under its own scoring first; `SCORINGS`.

    Of detectors that have no gap.
    """
    good = measured[measured["error"].isna()]
    wide = good.pivot(index="entity", columns=["detector", "scoring"], values=METRICS[0])
    means = wide.dropna(axis="columns").mean().unstack("scoring").reindex(columns=[*SCORINGS])
    return means.sort_values(OWN, ascending=False, kind="stable")


def generalisation(profile: Profile) -> pd.DataFrame:
    """Measure each forecaster of the profile with the first seed: key and `ERRORS`.

    Under the study's protocol nothing stops a training early, and the last fifth of the training
    half is never learned from. ``seen`` and ``unseen`` are mean squared errors over the rows before
    and in it, as shares of what repeating the last value gives; NaN where rows do not move.
    """
    models, how = [("study", name) for name in FORECASTERS], {"first": FIRST, "columns": ERRORS}
    return measurements(
        profile,
        "generalisation",
        wanted=lambda run: (run.protocol, run.detector) in models,
        hidden=lambda run: how | {"base": Run(run.series, BASE, run.protocol).key},
        measure=_errors,
    ).reindex(columns=["key", *ERRORS])


def _errors(run: Run) -> list[dict[str, object]]:
    protocol, rows, model = PROTOCOLS[run.protocol], run.series.train, result(run).detector
    learned = protocol.train(run.series)
    base = protocol.detector(BASE).fit(learned).decision_function(rows)
    errors, line = model.decision_function(rows), {"parameters": model.parameters}
    parts = slice(max(FIRST, model.unscored), len(learned)), slice(len(learned), None)
    for name, part in zip(("seen", "unseen"), parts, strict=True):
        line[name] = float(errors[part].mean() / (base[part].mean() or np.nan))
    return [line]


def medians(measured: pd.DataFrame) -> pd.DataFrame:
    """Medians of errors over the entities of all, by detector.

    A median, since on a machine whose load changed any forecast may be off by any factor.
    """
    good = measured.dropna(subset=["seen", "unseen"])
    wide = good.pivot(index="entity", columns="detector", values=[*NUMBERS]).dropna()
    table = wide.median().unstack(0).reindex(columns=[*NUMBERS])
    return table.assign(entities=len(wide)).sort_values("parameters", kind="stable")
