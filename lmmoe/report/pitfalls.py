"""Twenty usual pitfalls of evaluation, each a function from a scored series to numbers by setting.

Titles, sources and what to ask of a paper stand in ``published/pitfalls.csv``. Two of the numbers
are compared (`report.pitfall_outcomes`); `report.pitfall_tables` makes all pitfalls on the entities
of a profile.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from zlib import crc32

import numpy as np

from lmmoe.data import Series
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.metrics import (
    alarm_budget,
    alarms,
    average_precision,
    best_affiliation_f1,
    best_f1,
    pa_k,
    pot,
    quantile,
    roc_auc,
)
from lmmoe.report import runs
from lmmoe.report.evaluation import PER_DAY, SHARE
from lmmoe.report.protocol import PROTOCOLS, widened
from lmmoe.report.runs import Run
from lmmoe.segments import segments

CHANCE, HELD_OUT = "random", "held-out rows"
Numbers = dict[str, float]  # by setting


@dataclass(eq=False)
class Scored:
    """One detector with one seed on one labelled entity; its run is read from the cache, or made.

    ``labels`` and ``scores`` are ``(t,)`` of the test half, the labels as published.
    """

    run: Run

    def __post_init__(self) -> None:
        self.series, self.labels = self.run.series, self.run.series.labels
        self.result = runs.result(self.run)
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

    @cached_property
    def held_out_channels(self) -> Floats:
        """The same of the held-out training rows, ``(h, c)``."""
        rows = len(self.calibration)
        return self.result.detector.channel_scores(self.series.train)[-rows:]

    def again(self, settings: dict[str, object], **changes: object) -> "Scored":
        """Run the same detector on the same entity with other settings, seed or protocol."""
        return Scored(replace(self.run, settings=self.run.settings | settings, **changes))


def judgeable(series: Series) -> bool:
    """Whether the test half has both events and normal rows."""
    return series.labels is not None and len(np.unique(series.labels)) == 2


def f1_at(one: Scored, threshold: float) -> float:
    """F1 of the rows with scores above a threshold."""
    return alarms(labels=one.labels, scores=one.scores, threshold=threshold).f1


def adjusted_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 after point adjustment."""
    return best_f1(labels=labels, scores=scores, adjust="point").f1


# --- Labels and rows ---


def point_adjustment(one: Scored) -> Numbers:
    """Best F1 under PA%K: 0 is point adjustment, 100 leaves the scores as they are."""
    f1 = pa_k(labels=one.labels, scores=one.scores).f1
    return {str(percent): float(f1[percent]) for percent in (0, 1, 2, 5, 10, 20, 30, 50, 70, 100)}


def overlapping_windows(one: Scored, window: int = 100) -> Numbers:
    """Point F1 (PA) with each row counted once, and once in every window that holds it."""
    window = min(window, len(one.scores))
    joined = (overlapped(values, window) for values in (one.labels, one.scores))
    return {"once": adjusted_f1(one.labels, one.scores), "in every window": adjusted_f1(*joined)}


def overlapped(values: np.ndarray, window: int) -> np.ndarray:
    """Join all windows of values ``(t,)``, one row apart, end to end: 0..w-1, 1..w, 2..w+1, ..."""
    return np.lib.stride_tricks.sliding_window_view(values, window).ravel()


def zeros_as_first_scores(one: Scored, first: int = 16) -> Numbers:
    """ROC AUC without the first rows, and with zeros as their scores.

    Below all other scores n free negatives beside N normal rows turn AUC into
    (N AUC + n) / (N + n); average precision ignores negatives at the bottom.
    """
    filled = one.scores.copy()
    filled[:first] = 0.0
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
    return {
        str(rows): best_f1(labels=moved(one.labels, rows), scores=one.scores).f1
        for rows in range(-5, 6)
    }


def moved(labels: Bits, rows: int) -> Bits:
    """Move labels ``(t,)`` by so many rows, later or (below 0) earlier; what comes in is normal."""
    result = np.roll(labels, rows)
    result[slice(rows) if rows >= 0 else slice(rows, None)] = 0
    return result


# --- Thresholds ---

# Peaks over threshold: ours (Siffer et al., KDD 2017), OmniAnomaly's level for each group of SMD
# (0.005, 0.0075 and 0.0001 from the top), TranAD's; q is ours, OmniAnomaly's 1e-3 or TranAD's 1e-5.
LEVELS = (0.98, 0.995, 0.9925, 0.9999, 0.99995)
RATES = (1e-4, 1e-3, 1e-5)
STEPS = (
    "F1 at the quantile of held-out rows",
    "and point adjustment",
    "and the best threshold on test",
    "and events widened by 5 rows",
)


def threshold_chosen_on_test(one: Scored) -> Numbers:
    """F1 at thresholds that no label touched, on a grid of scores, and at the best one."""
    found = {
        "quantile": f1_at(one, quantile(one.calibration, SHARE)),
        "POT": f1_at(one, pot(one.calibration)),
    }
    days = one.series.rows_per_day
    if days is not None:
        found["alarm budget"] = f1_at(one, alarm_budget(one.calibration, days, per_day=PER_DAY))
    found["best of a grid"] = grid_f1(one.labels, one.scores)
    return found | {"best": best_f1(labels=one.labels, scores=one.scores).f1}


def hits_and_false(labels: Bits, scores: Floats, cuts: Floats, side: str) -> tuple[Floats, Floats]:
    """Rows flagged at each cut, anomalous and normal ones: at or above it ("left"), or above."""
    flags = np.asarray(labels, dtype=bool)
    halves = (np.sort(scores[flags]), np.sort(scores[~flags]))
    return tuple(len(half) - np.searchsorted(half, cuts, side=side) for half in halves)


def grid_f1(labels: Bits, scores: Floats, steps: int = 1000) -> float:
    """Best F1 over equal steps from the lowest to the highest score; rows above it are flagged.

    As CAD's program (ESEC/FSE 2023) searches. One spike stretches the range, and the best threshold
    may then lie between two steps.
    """
    grid = np.linspace(scores.min(), scores.max(), steps, endpoint=False)
    hits, false = hits_and_false(labels, scores, grid, "right")
    return float(np.max(2 * hits / (hits + false + np.sum(labels))))


def threshold_rule_tuned_per_group(one: Scored) -> Numbers:
    """F1 at the peaks-over-threshold threshold of each level and rate."""
    return {
        f"{level:g} / {q:g}": f1_at(one, pot(one.calibration, level=level, q=q))
        for level, q in product(LEVELS, RATES)
    }


def known_share_of_anomalies(one: Scored) -> Numbers:
    """F1 where a given percentage of training and test rows is flagged; "known": as many as are.

    Anomaly Transformer's for SMD is 0.5.
    """
    joined = np.concatenate([one.result.detector.decision_scores_, one.scores])
    shares = {f"{percent:g}": percent for percent in (0.1, 0.2, 0.5, 1, 2, 5, 10)}
    shares["known"] = 100 * float(one.labels.sum()) / len(joined)
    found = {
        name: f1_at(one, float(np.quantile(joined, 1 - percent / 100)))
        for name, percent in shares.items()
    }
    return found | {"quantile": f1_at(one, quantile(one.calibration, SHARE))}


def three_at_once(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, then with pitfalls 1, 2 and 11 added in turn."""
    cut, filled = quantile(one.calibration, SHARE), np.array(one.scores, dtype=float)
    for start, end in one.series.events:
        filled[start:end] = filled[start:end].max()
    found = (
        f1_at(one, cut),
        alarms(labels=one.labels, scores=filled, threshold=cut).f1,
        adjusted_f1(one.labels, one.scores),
        adjusted_f1(widened(one.labels, one.series.events, 5), one.scores),
    )
    return dict(zip(STEPS, found, strict=True))


# --- What the test half tells ---

FLOOR = 0.01  # added to the interquartile range, as GDN's program does
BACK, AHEAD = 5, 3  # rows that QuoVadis averages with a row, before and after it


def moving_mean(scores: Floats, back: int, ahead: int = 0) -> Floats:
    """Mean of each row's score and its neighbours', ``(t,)``; at the ends of those that exist."""
    # Not by differences of running sums: beside one huge score the others would lose their digits.
    sums, counts = (
        np.lib.stride_tricks.sliding_window_view(np.pad(values, (back, ahead)), back + 1 + ahead)
        for values in (scores, np.ones(len(scores)))
    )
    return sums.sum(axis=1) / counts.sum(axis=1)


def errors_normalised_by_test_rows(one: Scored) -> Numbers:
    """Average precision of the highest channel, normalised by held-out or by test rows.

    By their median and interquartile range.
    """
    found = {"as it is": one.average_precision}
    by = {"held-out training rows": one.held_out_channels, "test rows": one.channels}
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

    The latter, up to the detector's own number, train on all rows and keep the last weights, a run
    each. A detector without epochs has no choice; of random scores five other draws are taken.
    """
    chance = one.run.detector == CHANCE
    last = 5 if chance else int(one.result.detector.settings.get("epochs", 0))
    found = {HELD_OUT: one.average_precision}
    for k in sorted({*range(1, last, 2), last} - {0}):
        settings = {} if chance else {"held_out": 0.0, "epochs": k}
        seed = one.run.seed + (k if chance else 0)
        found[str(k)] = one.again(settings, seed=seed).average_precision
    return found


def settings_picked_on_the_judged_series(one: Scored) -> Numbers:
    """Average precision by how channels are brought together and how long a mean trails behind.

    The mean is of the 4 highest channels: SMD's events touch 4 in the median.
    """
    highest = -np.sort(-one.channels, axis=1)[:, :4]
    made = {"own": one.scores, "max": highest[:, 0], "top 4": highest.mean(axis=1)}
    return {
        f"{kind} / {rows}": one.precision_of(moving_mean(scores, rows - 1))
        for (kind, scores), rows in product(made.items(), (1, 5, 20, 60))
    }


# --- Averages and comparisons ---


def kindest_average(one: Scored) -> Numbers:
    """Point F1 (PA) at the best threshold, and the counts that it comes from."""
    best, real = (
        best_f1(labels=one.labels, scores=one.scores, adjust="point"),
        float(one.labels.sum()),
    )
    hits = best.recall * real
    found = {"f1": best.f1, "precision": best.precision, "recall": best.recall}
    return found | {"hits": hits, "flagged": hits / best.precision, "anomalous": real}


def some_of_the_machines(one: Scored) -> Numbers:
    """Average precision, and how far channels moved from one half to the other.

    Drift: the mean over channels of |mean of the test half|, in the training half's deviations.
    """
    means = Scaling.of("z-score", one.series.train)(one.series.test).mean(axis=0)
    return {"average precision": one.average_precision, "drift": float(np.abs(means).mean())}


def best_seed(one: Scored) -> Numbers:
    """Average precision alone."""
    return {"average precision": one.average_precision}


def copied_baselines(one: Scored) -> Numbers:
    """Point F1 (PA) under the study's rules, and as a paper with other rules would print it.

    The study's: 80 % of the training rows, events widened by 5 rows. The others, as in CAD's paper
    (ESEC/FSE 2023): all training rows, labels as published.
    """
    scores = one.again({}, protocol="study").scores
    return {
        "same rules": adjusted_f1(PROTOCOLS["study"].labels(one.series), scores),
        "other rules": adjusted_f1(one.labels, one.scores),
    }


# --- Metrics and data ---

JITTER = 5  # rows by which the edges of events may be wrong


def a_few_long_events(one: Scored, draws: int = 5) -> Numbers:
    """ROC AUC as published, without the longest event, and with jittered labels.

    Not average precision: leaving an event's rows out changes the share of anomalies, which is what
    random scores reach there; in ROC AUC they reach 1/2 whatever the share.
    """
    found = {
        "all events": roc_auc(labels=one.labels, scores=one.scores),
        "longest left out": np.nan,
    }
    if len(one.series.events) > 1:
        start, end = max(one.series.events, key=lambda event: event[1] - event[0])
        rest = np.r_[:start, end : len(one.scores)]
        found["longest left out"] = roc_auc(labels=one.labels[rest], scores=one.scores[rest])
    rng = np.random.default_rng(crc32(one.series.entity.encode()))  # the same for all detectors
    drawn = [roc_auc(labels=jittered(one.labels, rng), scores=one.scores) for _ in range(draws)]
    return found | {f"edges moved by up to {JITTER}": float(np.mean(drawn))}


def jittered(labels: Bits, rng: np.random.Generator) -> Bits:
    """Move every event's edges by up to `JITTER` rows each; an event keeps a row at least."""
    result = np.zeros_like(labels)
    for event in zip(*segments(labels), strict=True):
        first, last = rng.integers(-JITTER, JITTER + 1, size=2) + event
        first = min(max(int(first), 0), len(labels) - 1)
        result[first : max(int(last), first + 1)] = 1
    return result


def metric_with_a_high_floor(one: Scored) -> Numbers:
    """Best F1 of the rows, kinder F1s with a high floor, and average precision beside them.

    All F1s at their best threshold, so that nothing but the metric differs.
    """
    data = {"labels": one.labels, "scores": one.scores}
    return {
        "average precision": one.average_precision,
        "best F1": best_f1(**data).f1,
        "composite F1": composite_f1(**data),
        "affiliation F1": best_affiliation_f1(**data).f1,
    }


def composite_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 of the rows' precision and the events' recall (Garg et al., TNNLS 2021: Fc1).

    An event counts as found where one of its rows is flagged, rows with ``score >= threshold``.
    """
    cuts = np.unique(scores[np.asarray(labels, dtype=bool)])  # between two precision only falls
    hits, false = hits_and_false(labels, scores, cuts, "left")
    tops = np.sort([scores[a:b].max() for a, b in zip(*segments(labels), strict=True)])
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
