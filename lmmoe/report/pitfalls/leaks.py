"""Mistakes in which the test half tells the detector what it should not know."""

from functools import partial
from itertools import product

import numpy as np

from lmmoe.data.series import Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.metrics import average_precision
from lmmoe.report.pitfalls.fleet import Outcome, Panel, nan_mean, outcome, pair
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake
from lmmoe.report.pitfalls.scored import Scored

GROUP = GROUPS[2]
FLOOR = 0.01  # added to the interquartile range, GDN's program
ROWS = 9  # that the smoothing averages: QuoVadis' window i-5..i+3
AHEAD = 3  # of them, rows after the one that is scored
MOST = 4  # channels in a mean of the highest: SMD's events touch 4 in the median
TRAILS = (1, 5, 20, 60)  # rows of the trailing means that are tried
TUNED_ON = 3  # groups whose first entity chooses the settings
CHANCE = "random"
DRAWS = 5  # of random scores stand for as many epochs
HELD_OUT = "held-out rows"


def normalised(one: Scored) -> dict[str, float]:
    """Average precision of the worst channel's score, normalised by held-out or by test rows."""
    return {
        "as it is": one.average_precision,
        "held-out training rows": _worst(one, one.held_out_channels),
        "test rows": _worst(one, one.channels),
    }


def _worst(one: Scored, rows: Floats) -> float:
    """Normalise channels by the median and interquartile range of rows ``(h, c)``; the highest."""
    low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
    worst = ((one.channels - middle) / (high - low + FLOOR)).max(axis=1)
    return average_precision(labels=one.labels, scores=worst)


def looking_ahead(one: Scored) -> dict[str, float]:
    """Average precision of means over 9 rows, by how many of these come after the row."""
    return {
        str(ahead): average_precision(
            labels=one.labels, scores=moving_mean(one.scores, ROWS - 1 - ahead, ahead)
        )
        for ahead in range(ROWS)
    }


def moving_mean(scores: Floats, back: int, ahead: int = 0) -> Floats:
    """Mean of each row's score and its neighbours', ``(t,)``; at the ends of those that exist."""
    # Not by differences of running sums: beside one huge score the others would lose their digits.
    sums, counts = (
        np.lib.stride_tricks.sliding_window_view(np.pad(values, (back, ahead)), back + 1 + ahead)
        for values in (scores, np.ones(len(scores)))
    )
    return sums.sum(axis=1) / counts.sum(axis=1)


def scaled_by_test(one: Scored) -> dict[str, float]:
    """Average precision as it is, and with the test half scaled by its own mean and deviation."""
    train, test = one.series.train, one.series.test
    # The detector scales by training rows, so the test half is given their mean and deviation.
    moved = Scaling.z_score(train).undone(Scaling.z_score(test)(test))
    # Random scores know no rows: moved ones would but draw anew, and the gain be noise.
    blind = one.run.detector == CHANCE
    scores = one.scores if blind else one.detector.decision_function(moved)
    return {
        "training rows": one.average_precision,
        "test rows": average_precision(labels=one.labels, scores=scores),
    }


def by_epoch(one: Scored) -> dict[str, float]:
    """Average precision when held-out rows end the training, and after 1, 3, 5, ... epochs.

    The latter, up to the detector's own number, train on all rows and keep the last weights (a run
    of its own each, hence every other number). What has no epochs has no choice; of random scores,
    which every epoch would draw anew, other draws are taken.
    """
    values = {HELD_OUT: one.average_precision}
    if one.run.detector == CHANCE:
        others = {k: one.again(seed=one.run.seed + k) for k in _every_other(DRAWS)}
    else:
        last = int(one.detector.settings.get("epochs", 0))
        others = {k: one.again(held_out=0.0, epochs=k) for k in _every_other(last)}
    return values | {str(k): other.average_precision for k, other in others.items()}


def _every_other(last: int) -> list[int]:
    """1, 3, 5, ... and the last itself; nothing up to 0."""
    return sorted({*range(1, last, 2), last}) if last else []


def by_setting(one: Scored) -> dict[str, float]:
    """Average precision by how channels are brought together and how long a mean trails behind."""
    highest = -np.sort(-one.channels, axis=1)[:, : min(MOST, one.channels.shape[1])]
    made = {"own": one.scores, "max": highest[:, 0], f"top {MOST}": highest.mean(axis=1)}
    return {
        f"{kind} / {rows}": average_precision(
            labels=one.labels, scores=moving_mean(scores, rows - 1)
        )
        for (kind, scores), rows in product(made.items(), TRAILS)
    }


def _best_epoch(panel: Panel) -> Outcome:
    """All epochs against the best number of them for each entity, trained on the same rows.

    Where held-out rows end the training it also sees fewer rows: that stands among the settings.
    """
    epochs = sorted((name for name in panel.values if name != HELD_OUT), key=int)
    if not epochs:
        only = panel.mean(HELD_OUT)
        return outcome(panel, only, only)
    tried = [panel.mean(name) for name in epochs]
    return outcome(panel, tried[-1], highest_of(tried))


def _tuned(panel: Panel) -> Outcome:
    """One setting for all, chosen on a few entities and judged on the others, against each best.

    The few are the first entity of each of the first groups; one entity alone chooses for itself.
    """
    tried = {name: panel.mean(name) for name in panel.values}
    first = [panel.groups.index(group) for group in dict.fromkeys(panel.groups)][:TUNED_ON]
    frozen = max(tried, key=partial(_mean_at, tried, first))
    before, after = tried[frozen].copy(), highest_of(list(tried.values()))
    if len(panel.entities) > len(first):
        before[first] = np.nan
    return outcome(panel, before, after)


def _mean_at(tried: dict[str, Floats], places: list[int], name: str) -> float:
    return float(np.nan_to_num(nan_mean(tried[name][places]), nan=-1.0))


def highest_of(values: list[Floats]) -> Floats:
    """The highest of several numbers of each entity, ``(n,)``; NaN where there is none."""
    return np.fmax.reduce(values)


MISTAKES = (
    Mistake(
        5,
        "errors normalised by test rows",
        GROUP,
        "Each channel's errors are divided by their spread on the test half, though training rows "
        "were at hand.",
        "GDN, AAAI 2021 (its program); QuoVadis, ICML 2024 (chosen by test F1)",
        "Whose median and spread normalise the errors?",
        "average_precision",
        "average_precision",
        normalised,
        pair("held-out training rows", "test rows"),
    ),
    Mistake(
        6,
        "smoothing that sees ahead",
        GROUP,
        "The scores are averaged with rows that come after the one that is judged, which no live "
        "alarm can do.",
        f"QuoVadis, ICML 2024 ({AHEAD} rows); Garg et al., TNNLS 2021 (a centred kernel)",
        "Could the score be computed at the moment that it is about?",
        "average_precision",
        "average_precision",
        looking_ahead,
        pair("0", str(AHEAD)),
        axis=f"rows ahead, of the {ROWS} that are averaged",
    ),
    Mistake(
        7,
        "data scaled by test rows",
        GROUP,
        "The test half is scaled by its own mean and spread, which hides a drift and needs "
        "tomorrow's rows.",
        "TranAD, VLDB 2022 (each file by itself)",
        "Is the scaling fitted on training rows alone?",
        "average_precision",
        "average_precision",
        scaled_by_test,
        pair("training rows", "test rows"),
    ),
    Mistake(
        8,
        "epoch chosen on test",
        GROUP,
        "Training ends at the epoch with the best test result; before, after a fixed number of "
        "epochs on the same rows.",
        "Time-Series-Library tests every epoch; CAD's program validates on its training rows",
        "Which rows ended the training, and were they kept out of it?",
        "average_precision",
        "average_precision",
        by_epoch,
        _best_epoch,
        axis="epochs (random scores: draws)",
        first_seed_only=True,
    ),
    Mistake(
        19,
        "settings picked on the judged series",
        GROUP,
        "The settings are those that do best on each series' own test labels; here how channels "
        "are brought together and how long a mean trails, before chosen on a few other series.",
        "TranAD, issue 17; TSB-AD (NeurIPS 2024) keeps a tuning list apart",
        "On which series were settings chosen, and are these among the judged ones?",
        "average_precision",
        "average_precision",
        by_setting,
        _tuned,
    ),
)
