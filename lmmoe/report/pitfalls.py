"""Twenty usual pitfalls of evaluation, each a function from a scored series to numbers by setting.

``published/pitfalls.csv`` says what is wrong, which two settings are compared, who did it and what
to ask of a paper; `report.pitfall_tables` makes all pitfalls on the entities of a profile.
"""

from dataclasses import replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lmmoe import metrics, segments
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.metrics import average_precision, best_f1, quantile, roc_auc
from lmmoe.report import experiment
from lmmoe.report.evaluation import SHARE
from lmmoe.report.experiment import PROTOCOLS, Run, widened

Numbers = dict[str, float]  # by setting


class Scored:
    """A run on a labelled entity; ``labels``, as published, and ``scores`` ``(t,)`` of its test."""

    def __init__(self, run: Run) -> None:
        self.run, self.series, self.labels = run, run.series, run.series.labels
        self.result = experiment.result(run)
        self.scores = self.result.scores
        self.average_precision = self.precision_of(self.scores)

    def precision_of(self, scores: Floats) -> float:
        """Average precision of scores ``(t,)`` made from the detector's."""
        return average_precision(labels=self.labels, scores=scores)

    def f1_at(self, threshold: float) -> float:
        """F1 of the rows with scores above a threshold."""
        return metrics.alarms(labels=self.labels, scores=self.scores, threshold=threshold).f1

    @property
    def calibration(self) -> Floats:
        """Scores ``(h,)`` of the held-out training rows; `ValueError` where there are none."""
        if self.result.calibration is None:
            raise ValueError(f"{self.run.detector} has no scores that could set a threshold")
        return self.result.calibration

    @cached_property
    def channels(self) -> Floats:
        """The share of each channel in each score, ``(t, c)``."""
        return self.result.detector.channel_scores(self.series.test)


def adjusted_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 after point adjustment."""
    return best_f1(labels=labels, scores=scores, adjust="point").f1


def point_adjustment(one: Scored) -> Numbers:
    """Best F1 under PA%K: 0 is point adjustment, 100 leaves the scores as they are."""
    f1 = metrics.pa_k(labels=one.labels, scores=one.scores).f1
    return {str(percent): float(f1[percent]) for percent in (0, 1, 2, 5, 10, 20, 30, 50, 70, 100)}


def overlapping_windows(one: Scored) -> Numbers:
    """Point F1 (PA) with each row once, and of windows joined end to end: 0..99, 1..100, ..."""
    joined = (sliding_window_view(values, 100).ravel() for values in (one.labels, one.scores))
    return {"once": adjusted_f1(one.labels, one.scores), "in every window": adjusted_f1(*joined)}


def zeros_as_first_scores(one: Scored) -> Numbers:
    """ROC AUC without the first 16 rows, and with zeros as their scores."""
    left_out = roc_auc(labels=one.labels[16:], scores=one.scores[16:])
    filled = np.concatenate([np.zeros(16), one.scores[16:]])
    return {"left out": left_out, "zeros": roc_auc(labels=one.labels, scores=filled)}


def wider_labels(one: Scored) -> Numbers:
    """Point F1 (PA) on labels whose events end so many rows later."""
    return {
        str(margin): adjusted_f1(widened(one.labels, one.series.events, margin), one.scores)
        for margin in (0, 1, 2, 5, 10, 20)
    }


def labels_off_by_one(one: Scored) -> Numbers:
    """Best F1 on labels that lie so many rows too late (below 0: too early)."""
    found = {}
    for rows in range(-5, 6):
        moved = np.roll(one.labels, rows)
        moved[slice(rows) if rows >= 0 else slice(rows, None)] = 0  # what comes in is normal
        found[str(rows)] = best_f1(labels=moved, scores=one.scores).f1
    return found


# Peaks over threshold: ours (Siffer et al., KDD 2017), OmniAnomaly's level for each group of SMD
# (0.005, 0.0075 and 0.0001 from the top), TranAD's; q is ours, OmniAnomaly's 1e-3 or TranAD's 1e-5.
LEVELS = (0.98, 0.995, 0.9925, 0.9999, 0.99995)
RATES = (1e-4, 1e-3, 1e-5)


def threshold_chosen_on_test(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, and at the best one."""
    best = best_f1(labels=one.labels, scores=one.scores).f1
    return {"quantile": one.f1_at(quantile(one.calibration, SHARE)), "best": best}


def threshold_rule_tuned_per_group(one: Scored) -> Numbers:
    """F1 at the peaks-over-threshold threshold of each level and rate."""
    return {
        f"{level:g} / {q:g}": one.f1_at(metrics.pot(one.calibration, level=level, q=q))
        for level, q in product(LEVELS, RATES)
    }


def known_share_of_anomalies(one: Scored) -> Numbers:
    """F1 where a percentage of all rows is flagged; "known": as many as are anomalous."""
    joined = np.concatenate([one.result.detector.decision_scores_, one.scores])
    percents = {f"{p:g}": p for p in (0.1, 0.2, 0.5, 1, 2, 5, 10)}  # Anomaly Transformer: 0.5 (SMD)
    percents["known"] = 100 * float(one.labels.sum()) / len(joined)
    cuts = {name: np.quantile(joined, 1 - percent / 100) for name, percent in percents.items()}
    cuts["quantile"] = quantile(one.calibration, SHARE)
    return {name: one.f1_at(cut) for name, cut in cuts.items()}


def three_at_once(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, then with pitfalls 1, 2 and 11 added in turn."""
    cut, filled = quantile(one.calibration, SHARE), one.scores.copy()
    for start, end in segments.runs(one.labels):
        filled[start:end] = filled[start:end].max()
    wide = widened(one.labels, one.series.events, 5)
    return {
        "F1 at the quantile of held-out rows": one.f1_at(cut),
        "and point adjustment": metrics.alarms(labels=one.labels, scores=filled, threshold=cut).f1,
        "and the best threshold on test": adjusted_f1(one.labels, one.scores),
        "and events widened by 5 rows": adjusted_f1(wide, one.scores),
    }


def moving_mean(scores: Floats, back: int, ahead: int = 0) -> Floats:
    """Mean of each row's score and its neighbours', ``(t,)``; at the ends of those that exist."""
    sums, counts = (
        sliding_window_view(np.pad(values, (back, ahead)), back + 1 + ahead).sum(axis=1)
        for values in (scores, np.ones(len(scores)))
    )
    return sums / counts


def errors_normalised_by_test_rows(one: Scored) -> Numbers:
    """Average precision of the highest channel, by quartiles of held-out rows or of test rows."""
    learned = one.result.detector.channel_scores(one.series.train)
    by = {"held-out training rows": learned[-len(one.calibration) :], "test rows": one.channels}
    found = {}
    for name, rows in by.items():
        low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
        spread = high - low + 0.01  # as GDN's program has it
        found[name] = one.precision_of(((one.channels - middle) / spread).max(axis=1))
    return found


def smoothing_that_sees_ahead(one: Scored) -> Numbers:
    """Average precision of means over 9 rows, by how many of these come after the row."""
    return {str(n): one.precision_of(moving_mean(one.scores, 8 - n, n)) for n in range(9)}


def data_scaled_by_test_rows(one: Scored) -> Numbers:
    """Average precision as it is, and with the test half scaled by its own mean and deviation."""
    train, test = one.series.train, one.series.test
    # The detector scales by training rows, so the test half is given their mean and deviation.
    rows = Scaling.of("z-score", train).undone(Scaling.of("z-score", test)(test))
    # Random scores do not depend on the rows; drawing them anew would only add noise.
    blind = one.run.detector == "random"
    scores = one.scores if blind else one.result.detector.decision_function(rows)
    return {"training rows": one.average_precision, "test rows": one.precision_of(scores)}


def epoch_chosen_on_test(one: Scored) -> Numbers:
    """Average precision when held-out rows end the training, and after 1, 3, 5, ... epochs.

    The latter train on all rows. For random scores these are other draws; PCA has no choice.
    """
    chance = one.run.detector == "random"
    last = 5 if chance else int(one.result.detector.settings.get("epochs", 0))
    found = {}
    for k in sorted({*range(1, last, 2), last} - {0}):
        changed = {"seed": one.run.seed + k}
        if not chance:
            changed = {"settings": one.run.settings | {"held_out": 0.0, "epochs": k}}
        found[str(k)] = Scored(replace(one.run, **changed)).average_precision
    tried = list(found.values()) or [one.average_precision]
    return {"held-out rows": one.average_precision, "last": tried[-1], "best": max(tried)} | found


def settings_picked_on_the_judged_series(one: Scored) -> Numbers:
    """Average precision by how channels are brought together and how long a mean trails behind."""
    highest = -np.sort(-one.channels, axis=1)[:, :4]  # SMD's events touch 4 in the median
    made = {"own": one.scores, "max": highest[:, 0], "top 4": highest.mean(axis=1)}
    return {
        f"{kind} / {rows}": one.precision_of(moving_mean(scores, rows - 1))
        for (kind, scores), rows in product(made.items(), (1, 5, 20, 60))
    }


def kindest_average(one: Scored) -> Numbers:
    """Point F1 (PA) at the best threshold, its precision and its recall."""
    best = best_f1(labels=one.labels, scores=one.scores, adjust="point")
    return {"f1": best.f1, "precision": best.precision, "recall": best.recall}


def some_of_the_machines(one: Scored) -> Numbers:
    """Average precision, and the mean over channels of |mean of the test half|, in z-scores."""
    means = Scaling.of("z-score", one.series.train)(one.series.test).mean(axis=0)
    return {"average precision": one.average_precision, "drift": float(np.abs(means).mean())}


def best_seed(one: Scored) -> Numbers:
    """Average precision alone."""
    return {"average precision": one.average_precision}


def copied_baselines(one: Scored) -> Numbers:
    """Point F1 (PA) under the study's rules, and under those of CAD's paper, which are ours."""
    scores = Scored(replace(one.run, protocol="study")).scores
    same = adjusted_f1(PROTOCOLS["study"].labels(one.series), scores)
    other = adjusted_f1(one.labels, one.scores)
    copied = same if one.run.detector == "LightMMoE" else other
    return {"same rules": same, "other rules": other, "copied": copied}


def a_few_long_events(one: Scored) -> Numbers:
    """ROC AUC, which has a fixed floor, as published, and without the longest of several events."""
    found = {"all events": roc_auc(labels=one.labels, scores=one.scores)}
    if len(one.series.events) > 1:
        start, end = max(one.series.events, key=lambda event: event[1] - event[0])
        rest = np.r_[:start, end : len(one.scores)]
        found["longest left out"] = roc_auc(labels=one.labels[rest], scores=one.scores[rest])
    return found


def metric_with_a_high_floor(one: Scored) -> Numbers:
    """Best F1 of the rows, and best affiliation F1."""
    data = {"labels": one.labels, "scores": one.scores}
    return {"rows": best_f1(**data).f1, "affiliation": metrics.best_affiliation_f1(**data).f1}


def events_late_in_the_series(one: Scored) -> Numbers:
    """Average precision by how far ranks (0 to 1) grow from the first row to the last."""
    rows = len(one.scores)
    ranks = np.searchsorted(np.sort(one.scores), one.scores, side="right") / rows
    place = np.arange(1, rows + 1) / rows
    made = {f"{grown:g}": ranks + grown * place for grown in (0, 0.02, 0.1, 0.5, 1)}
    made["place alone"] = place
    return {name: one.precision_of(scores) for name, scores in made.items()}
