"""ThreeViews taken apart: what each view and constant does, and whether a network adds to it."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from lmmoe.data.series import Floats, Series
from lmmoe.detectors import detector
from lmmoe.detectors.scaling import ewma
from lmmoe.detectors.three_views import FLOOR, SKIPPED, UNIT
from lmmoe.metrics import average_precision
from lmmoe.report.experiment import PROTOCOLS, Run, measurements, result
from lmmoe.report.profile import Profile
from lmmoe.report.tables import against

OURS, RIVAL = "ThreeViews", "PCA windows EWMA"
VARIANTS: dict[str, dict[str, object]] = {
    OURS: {},
    "without A": {"views": "BC"},
    "without B": {"views": "AC"},
    "without C": {"views": "AB"},
    "with D": {"views": "ABCD"},
    "no slow means": {"half_life": 1e12},
    "half-life 4 times": {"half_life": 5760.0},
    "width 1": {"width": 1},
    "width 16": {"width": 16},
    "4 directions": {"components": 4},
    "60 directions": {"components": 60},
    "smoothing 0.2": {"smoothing": 0.2},
    "no smoothing": {"smoothing": 1.0},
}
Measure = Callable[[Run], dict[str, Floats]]  # gives scores ``(t,)`` by variant
# Models whose errors take the place of view A's, and whether their channel scores are squares.
MODELS = {"MTSExample": True, "last value": True, "linear": True, "PCA windows": False}
MODELS |= {"LightMMoE": True, "CAD": True, "CAD-as-run": True, "LSTM-AE": True, "USAD": True}


def variants(profile: Profile) -> pd.DataFrame:
    """Judge `VARIANTS` on the labelled entities of a profile: lines for `compared`."""

    def measure(run: Run) -> dict[str, Floats]:
        train, test = PROTOCOLS["ours"].train(run.series), run.series.test
        made = {name: detector(OURS, **given).fit(train) for name, given in VARIANTS.items()}
        return {name: one.decision_function(test) for name, one in made.items()}

    return _table(profile, "views", {OURS}, measure, variants=VARIANTS)


def of_models(profile: Profile) -> pd.DataFrame:
    """Judge ThreeViews with the errors of each of `MODELS` in its view A: lines likewise.

    The view is made as its own is: errors in units of their 99 % quantile in training, the mean
    over channels, smoothed, and divided by its mean in training.
    """

    def measure(run: Run) -> dict[str, Floats]:
        if run.detector == OURS:
            return {OURS: result(run).scores}
        series, made = run.series, result(run).detector
        halves = [made.channel_scores(rows) for rows in (series.train, series.test)]
        errors = [np.sqrt(half) if MODELS[run.detector] else half for half in halves]
        seen = slice(max(min(SKIPPED, len(series.train) // 4), made.unscored), None)
        unit = np.maximum(np.quantile(errors[0][seen], UNIT, axis=0), FLOOR)
        train, test = (ewma((part / unit).mean(axis=1), 0.5) for part in errors)
        others = detector(OURS, views="BC").fit(PROTOCOLS["ours"].train(series))
        rest = others.decision_function(series.test)
        with np.errstate(divide="ignore", invalid="ignore"):  # no error in training: no score
            return {run.detector: rest + np.log1p(test / train[seen].mean())}

    return _table(profile, "views_of_models", {OURS, *MODELS}, measure)


def _table(
    profile: Profile, name: str, detectors: set[str], measure: Measure, **hidden: object
) -> pd.DataFrame:
    """Judge scores of variants on the profile's runs of some detectors: a line for each."""

    def wanted(run: Run) -> bool:
        return run.protocol == "ours" and run.detector in detectors and run.series.judgeable

    def lines(run: Run) -> list[dict[str, object]]:
        labels, scores = run.series.labels, measure(run)
        found = {name: average_precision(labels=labels, scores=scores[name]) for name in scores}
        return [{"variant": name, "average_precision": value} for name, value in found.items()]

    own = {"views": detector(OURS).version} | hidden
    columns = ["key", "entity", "variant", "average_precision"]
    return measurements(profile, name, wanted, lambda run: own, lines).reindex(columns=columns)


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare variants with ThreeViews, entity by entity: its row first, then the others'.

    Columns ``average_precision`` (mean) and those of `tables.against`.
    """
    values = rows.dropna().pivot(index="entity", columns="variant", values="average_precision")
    order = [OURS, *(name for name in dict.fromkeys(rows["variant"]) if name != OURS)]
    values = values[[name for name in order if name in values]]
    tests = against(values, [OURS]).droplevel("reference")
    return values.mean().to_frame("average_precision").join(tests)


def loss(
    profile: Profile, values: pd.DataFrame
) -> tuple[Series, tuple[int, int], dict[str, Floats], list[int]]:
    """Find the event that costs ThreeViews most where it loses most to `RIVAL`.

    ``values`` are average precision by entity (rows) and detector. Gives that entity; its event
    (first row, row after the last); for both detectors, for each row ``(t,)``, the share of normal
    rows that score as high (half a row for none); and the channels that score highest in the event.
    """
    series = profile.load((values[OURS] - values[RIVAL]).idxmin())
    found = {name: result(Run(series, name, "ours", profile.seeds[0])) for name in (OURS, RIVAL)}
    ranks = {}
    for name, one in found.items():
        normal = np.sort(one.scores[series.labels == 0])
        higher = len(normal) - np.searchsorted(normal, one.scores)
        ranks[name] = np.maximum(higher, 0.5) / len(normal)
    worse = np.log(ranks[OURS] / ranks[RIVAL])
    first, end = max(series.events, key=lambda event: worse[slice(*event)].sum())
    shares = [one.detector.channel_scores(series.test)[first:end].sum(0) for one in found.values()]
    highest = np.ravel([np.argsort(-share)[:2] for share in shares])
    return series, (first, end), ranks, list(dict.fromkeys(highest.tolist()))
