"""Twenty usual pitfalls of evaluation, each a function from a scored series to numbers by setting.

``published/pitfalls.csv`` says which two settings are compared, with titles, sources and what to
ask of a paper; `report.pitfall_tables` makes all pitfalls on the entities of a profile.
"""

from dataclasses import replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lmmoe import metrics, segments
from lmmoe.data import Series
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.metrics import average_precision, best_f1, quantile, roc_auc
from lmmoe.report import experiment
from lmmoe.report.evaluation import SHARE
from lmmoe.report.experiment import PROTOCOLS, Run, widened

Numbers = dict[str, float]  # by setting


class Scored:
    """One detector with one seed on one labelled entity; its run is read from the cache, or made.

    ``labels`` and ``scores`` are ``(t,)`` of the test half, the labels as published.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.series, self.labels = run, run.series, run.series.labels
        self.result = experiment.result(run)
        self.scores = self.result.scores
        self.average_precision = self.precision_of(self.scores)

    def precision_of(self, scores: Floats) -> float:
        """Average precision of scores ``(t,)`` made from the detector's."""
        return average_precision(labels=self.labels, scores=scores)

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


def judgeable(series: Series) -> bool:
    """Whether the test half has both events and normal rows."""
    return series.labels is not None and len(np.unique(series.labels)) == 2


def f1_at(one: Scored, threshold: float) -> float:
    """F1 of the rows with scores above a threshold."""
    return metrics.alarms(labels=one.labels, scores=one.scores, threshold=threshold).f1


def adjusted_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 after point adjustment."""
    return best_f1(labels=labels, scores=scores, adjust="point").f1


def adjusted(labels: Bits, scores: Floats) -> Floats:
    """Point adjustment: every row of an event gets the event's highest score, ``(t,)``."""
    filled = np.array(scores, dtype=float)
    for start, end in segments.runs(labels):
        filled[start:end] = filled[start:end].max()
    return filled


def hits_and_false(labels: Bits, scores: Floats, cuts: Floats, side: str) -> tuple[Floats, Floats]:
    """Rows flagged at each cut, anomalous and normal ones: at or above it ("left"), or above."""
    flags = np.asarray(labels, dtype=bool)
    halves = (np.sort(scores[flags]), np.sort(scores[~flags]))
    return tuple(len(half) - np.searchsorted(half, cuts, side=side) for half in halves)


# --- Labels and rows ---


def point_adjustment(one: Scored) -> Numbers:
    """Best F1 under PA%K: 0 is point adjustment, 100 leaves the scores as they are."""
    f1 = metrics.pa_k(labels=one.labels, scores=one.scores).f1
    return {str(percent): float(f1[percent]) for percent in (0, 1, 2, 5, 10, 20, 30, 50, 70, 100)}


def overlapping_windows(one: Scored, window: int = 100) -> Numbers:
    """Point F1 (PA) with each row once, and of windows joined end to end: 0..w-1, 1..w, ..."""
    joined = (
        sliding_window_view(values, min(window, len(values))).ravel()
        for values in (one.labels, one.scores)
    )
    return {"once": adjusted_f1(one.labels, one.scores), "in every window": adjusted_f1(*joined)}


def zeros_as_first_scores(one: Scored, first: int = 16) -> Numbers:
    """ROC AUC without the first rows, and with zeros as their scores: free negatives."""
    filled = np.concatenate([np.zeros(first), one.scores[first:]])
    return {
        "left out": roc_auc(labels=one.labels[first:], scores=one.scores[first:]),
        "zeros": roc_auc(labels=one.labels, scores=filled),
    }


def wider_labels(one: Scored) -> Numbers:
    """Point F1 (PA) on labels whose events end so many rows later; the study's margin is 5."""
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


# --- Thresholds ---

# Peaks over threshold: ours (Siffer et al., KDD 2017), OmniAnomaly's level for each group of SMD
# (0.005, 0.0075 and 0.0001 from the top), TranAD's; q is ours, OmniAnomaly's 1e-3 or TranAD's 1e-5.
LEVELS = (0.98, 0.995, 0.9925, 0.9999, 0.99995)
RATES = (1e-4, 1e-3, 1e-5)


def threshold_chosen_on_test(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, and at the best one."""
    best = best_f1(labels=one.labels, scores=one.scores).f1
    return {"quantile": f1_at(one, quantile(one.calibration, SHARE)), "best": best}


def threshold_rule_tuned_per_group(one: Scored) -> Numbers:
    """F1 at the peaks-over-threshold threshold of each level and rate."""
    return {
        f"{level:g} / {q:g}": f1_at(one, metrics.pot(one.calibration, level=level, q=q))
        for level, q in product(LEVELS, RATES)
    }


def known_share_of_anomalies(one: Scored) -> Numbers:
    """F1 where a percentage of all rows is flagged; "known": as many as are anomalous."""
    joined = np.concatenate([one.result.detector.decision_scores_, one.scores])
    shares = {f"{percent:g}": percent for percent in (0.1, 0.2, 0.5, 1, 2, 5, 10)}
    # Anomaly Transformer's for SMD is 0.5.
    shares["known"] = 100 * float(one.labels.sum()) / len(joined)
    cuts = {name: float(np.quantile(joined, 1 - part / 100)) for name, part in shares.items()}
    cuts["quantile"] = quantile(one.calibration, SHARE)
    return {name: f1_at(one, cut) for name, cut in cuts.items()}


def three_at_once(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, then with pitfalls 1, 2 and 11 added in turn."""
    cut, filled = quantile(one.calibration, SHARE), adjusted(one.labels, one.scores)
    wide = widened(one.labels, one.series.events, 5)
    return {
        "F1 at the quantile of held-out rows": f1_at(one, cut),
        "and point adjustment": metrics.alarms(labels=one.labels, scores=filled, threshold=cut).f1,
        "and the best threshold on test": adjusted_f1(one.labels, one.scores),
        "and events widened by 5 rows": adjusted_f1(wide, one.scores),
    }


# --- What the test half tells ---

FLOOR = 0.01  # added to the interquartile range, as GDN's program does
BACK, AHEAD = 5, 3  # rows that QuoVadis averages with a row, before and after it
CHANCE = "random"


def moving_mean(scores: Floats, back: int, ahead: int = 0) -> Floats:
    """Mean of each row's score and its neighbours', ``(t,)``; at the ends of those that exist."""
    # Not by differences of running sums: beside one huge score the others would lose their digits.
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
        found[name] = one.precision_of(((one.channels - middle) / (high - low + FLOOR)).max(axis=1))
    return found


def smoothing_that_sees_ahead(one: Scored) -> Numbers:
    """Average precision of means over 9 rows, by how many of these come after the row."""
    rows = BACK + AHEAD
    return {
        str(ahead): one.precision_of(moving_mean(one.scores, rows - ahead, ahead))
        for ahead in range(rows + 1)
    }


def data_scaled_by_test_rows(one: Scored) -> Numbers:
    """Average precision as it is, and with the test half scaled by its own mean and deviation."""
    train, test = one.series.train, one.series.test
    # The detector scales by training rows, so the test half is given their mean and deviation.
    rows = Scaling.of("z-score", train).undone(Scaling.of("z-score", test)(test))
    # Random scores do not depend on the rows; drawing them anew would only add noise.
    blind = one.run.detector == CHANCE
    scores = one.scores if blind else one.result.detector.decision_function(rows)
    return {"training rows": one.average_precision, "test rows": one.precision_of(scores)}


def epoch_chosen_on_test(one: Scored) -> Numbers:
    """Average precision when held-out rows end the training, and after 1, 3, 5, ... epochs.

    The latter, a run each, train on all rows and keep the last weights. A detector without epochs
    has no choice; of random scores five other draws are taken.
    """
    chance = one.run.detector == CHANCE
    last = 5 if chance else int(one.result.detector.settings.get("epochs", 0))
    found = {}
    for k in sorted({*range(1, last, 2), last} - {0}):
        changed = one.run.settings | ({} if chance else {"held_out": 0.0, "epochs": k})
        seed = one.run.seed + (k if chance else 0)
        run = replace(one.run, settings=changed, seed=seed)
        found[str(k)] = Scored(run).average_precision
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


# --- Averages and comparisons ---


def kindest_average(one: Scored) -> Numbers:
    """Point F1 (PA) at the best threshold, and the counts that it comes from."""
    best = best_f1(labels=one.labels, scores=one.scores, adjust="point")
    hits = best.recall * float(one.labels.sum())
    found = {"f1": best.f1, "precision": best.precision, "recall": best.recall}
    return found | {"hits": hits, "flagged": hits / best.precision, "anomalous": one.labels.sum()}


def some_of_the_machines(one: Scored) -> Numbers:
    """Average precision, and the mean over channels of |mean of the test half|, in z-scores."""
    means = Scaling.of("z-score", one.series.train)(one.series.test).mean(axis=0)
    return {"average precision": one.average_precision, "drift": float(np.abs(means).mean())}


def best_seed(one: Scored) -> Numbers:
    """Average precision alone."""
    return {"average precision": one.average_precision}


def copied_baselines(one: Scored) -> Numbers:
    """Point F1 (PA) under the study's rules, and under those of CAD's paper (ESEC/FSE 2023).

    There all training rows train, and labels are as published. LightMMoE's row is not copied.
    """
    scores = Scored(replace(one.run, protocol="study")).scores
    same = adjusted_f1(PROTOCOLS["study"].labels(one.series), scores)
    other = adjusted_f1(one.labels, one.scores)
    copied = same if one.run.detector == "LightMMoE" else other
    return {"same rules": same, "other rules": other, "copied": copied}


# --- Metrics and data ---


def a_few_long_events(one: Scored) -> Numbers:
    """ROC AUC as published, and without the longest event, if there is another.

    Not average precision, where random scores reach the share of anomalies, which changes.
    """
    found = {"all events": roc_auc(labels=one.labels, scores=one.scores)}
    if len(one.series.events) > 1:
        start, end = max(one.series.events, key=lambda event: event[1] - event[0])
        rest = np.r_[:start, end : len(one.scores)]
        found["longest left out"] = roc_auc(labels=one.labels[rest], scores=one.scores[rest])
    return found


def metric_with_a_high_floor(one: Scored) -> Numbers:
    """Best F1 of the rows, and of affiliation: nothing but the metric differs."""
    data = {"labels": one.labels, "scores": one.scores}
    return {"rows": best_f1(**data).f1, "affiliation": metrics.best_affiliation_f1(**data).f1}


def composite_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 of the rows' precision and the events' recall (Garg et al., TNNLS 2021: Fc1).

    An event counts as found where one of its rows is flagged, rows with ``score >= threshold``.
    """
    cuts = np.unique(scores[np.asarray(labels, dtype=bool)])  # between two precision only falls
    hits, false = hits_and_false(labels, scores, cuts, "left")
    tops = np.sort([scores[start:end].max() for start, end in segments.runs(labels)])
    recall = 1 - np.searchsorted(tops, cuts, side="left") / len(tops)
    precision = hits / (hits + false)
    return float(np.max(2 * precision * recall / (precision + recall)))


def events_late_in_the_series(one: Scored) -> Numbers:
    """Average precision by how far ranks (0 to 1) grow from the first row to the last."""
    rows = len(one.scores)
    ranks = np.searchsorted(np.sort(one.scores), one.scores, side="right") / rows
    place = np.arange(1, rows + 1) / rows
    made = {f"{grown:g}": ranks + grown * place for grown in (0, 0.02, 0.1, 0.5, 1)}
    made["place alone"] = place
    return {name: one.precision_of(scores) for name, scores in made.items()}
