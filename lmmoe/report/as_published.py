"""Two published programs judged as they are: AMAD with its mistakes, and QuoVadis' evaluation."""

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import detector
from lmmoe.detectors.amad import SWITCHES
from lmmoe.metrics import average_precision, best_f1
from lmmoe.report import evaluation, store
from lmmoe.report.experiment import FAILURES, PROTOCOLS, Run
from lmmoe.report.pitfalls import AHEAD, BACK, FLOOR, Scored, adjusted_f1, judgeable, moving_mean
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import paired

# AMAD as published, with each mistake mended alone, and with all mended; the fit is the same.
VARIANTS: dict[str, dict[str, bool]] = {
    "as published": {},
    "no untrained heads": {"heads": False},
    "forest's sign right": {"wrong_sign": False},
    "causal average": {"centred": False},
    "not scaled over test rows": {"test_scaled": False},
    "all mended": dict.fromkeys(SWITCHES, False),
}


def amad(profile: Profile, entities: list[str] | None = None) -> pd.DataFrame:
    """Score the AMAD runs that the profile plans under the study's protocol with switches changed.

    A row per variant, and random scores: ``machines``, and the means over entities (seeds averaged
    first) of average precision, best F1 (both on the labels as published) and the study's Point F1
    (PA), with the 95 % bootstrap interval (``_low``, ``_high``) of the difference (``_gain``) to
    "as published". Empty where no AMAD is planned or nothing is labelled; an entity on which a run
    fails is left out.
    """
    planned = [
        (entity, seed)
        for entity in entities or profile.present
        for name, protocol, seed in profile.plan(entity)
        if (name, protocol) == ("AMAD", "study")
    ]
    lines: list[dict[str, object]] = []
    with progress.bar(len(planned), "AMAD's switches", unit="run") as bar:
        for entity, seed in planned:
            series = profile.load(entity)
            with suppress(*FAILURES):  # the table of runs says why
                if judgeable(series):
                    lines += _variants(profile, series, seed)
            bar.update()
    if not lines:
        return pd.DataFrame()
    means = pd.DataFrame(lines).groupby(["variant", "entity"], sort=False).mean()
    rows: dict[str, dict[str, float]] = {}
    for name, part in means.groupby("variant", sort=False):
        ours, rows[name] = part.droplevel("variant"), {"machines": len(part)}
        for metric in means:
            gain = paired(ours[metric], means.loc["as published", metric])
            rows[name] |= {metric: ours[metric].mean(), f"{metric}_gain": gain.difference}
            rows[name] |= {f"{metric}_low": gain.low, f"{metric}_high": gain.high}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def _variants(profile: Profile, series: Series, seed: int) -> list[dict[str, object]]:
    """Score the rows of one run anew with each variant: a line each, and one of random scores."""
    run, chance = (
        Run(series, name, "study", seed, profile.detectors[name]) for name in ("AMAD", "random")
    )
    asked = {"runs": [run.key, chance.key], "version": evaluation.VERSION, "variants": VARIANTS}

    def compute() -> dict[str, list[dict[str, object]]]:
        one, lines = Scored(run), []
        scored = {
            name: one.result.detector.rescored(series.test, **given) if given else one.scores
            for name, given in VARIANTS.items()
        }
        for name, scores in (scored | {"random": Scored(chance).scores}).items():
            line = {"variant": name, "entity": series.entity}
            line["average_precision"] = average_precision(labels=series.labels, scores=scores)
            line["best_f1"] = best_f1(labels=series.labels, scores=scores).f1
            line["point_f1_pa"] = adjusted_f1(PROTOCOLS["study"].labels(series), scores)
            lines.append(line)
        return {"lines": lines}

    return store.cached(store.key(asked), compute)["lines"]


def quovadis(fleet: Iterable[Series]) -> pd.DataFrame:
    """Score and judge PCA and the range deviation as a published comparison on SMD does it.

    Means over entities: detectors down, ``best_f1`` and ``average_precision`` across; entities
    without an event, or without a normal row, are left out. Source: Sarfraz et al., "Position: Quo
    Vadis, Unsupervised Time Series Anomaly Detection?" (ICML 2024), and the program published with
    it. Its numbers for these two are the farthest from ours; what it makes of a detector's errors
    and how it takes an area explain them.
    """
    made: dict[str, list[tuple[float, float]]] = {"PCA": [], "range deviation": []}
    for series in filter(judgeable, fleet):
        errors = detector("PCA").fit(series.train).channel_scores(series.test)
        made["PCA"].append(best_normalisation(series.labels, errors))
        outside = detector("range deviation").fit(series.train).decision_function(series.test)
        made["range deviation"].append(judged(series.labels, (outside > 0).astype(float)))
    means = {name: np.mean(found, axis=0) for name, found in made.items() if found}
    return pd.DataFrame.from_dict(means, orient="index", columns=["best_f1", "average_precision"])


def best_normalisation(labels: Bits, errors: Floats) -> tuple[float, float]:
    """Judge errors ``(t, c)`` in three ways; give the one of highest best F1 on these labels.

    Each channel's errors as they are, or normalised on these very rows by mean and deviation, or
    by median and interquartile range (0.01 added); then their mean over rows i - 5 to i + 3, 0 for
    the first five; then the highest of all channels.
    """
    smooth = np.stack([moving_mean(channel, BACK, AHEAD) for channel in errors.T], axis=1)
    low, middle, high = np.quantile(errors, [0.25, 0.5, 0.75], axis=0)
    deviation = np.where(errors.std(axis=0) > 0, errors.std(axis=0), 1.0)
    ways = ((0.0, 1.0), (errors.mean(axis=0), deviation), (middle, high - low + FLOOR))
    found = []
    for shift, scale in ways:
        scores = ((smooth - shift) / scale).max(axis=1)  # a mean of normalised errors is the same
        scores[:BACK] = 0
        found.append(judged(labels, scores))
    return max(found)


def judged(labels: Bits, scores: Floats) -> tuple[float, float]:
    """Give the best F1, and the area under the precision-recall curve by trapezoids.

    Trapezoids count what no threshold reaches (Davis and Goadrich, ICML 2006): that of a score of
    two values begins at a precision of 1 with a recall of 0.
    """
    from sklearn.metrics import auc, precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    return best_f1(labels=labels, scores=scores).f1, float(auc(recall, precision))
