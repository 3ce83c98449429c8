"""Mistakes with labels and rows: what counts as found, and which rows count at all."""

import numpy as np

from lmmoe.data.series import Bits
from lmmoe.metrics import best_f1, pa_k, roc_auc
from lmmoe.report.pitfalls.fleet import pair
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.report.protocol import widened

GROUP = GROUPS[0]
PERCENTS = (0, 1, 2, 5, 10, 20, 30, 50, 70, 100)
MARGINS = (0, 1, 2, 5, 10, 20)  # the study's is 5
SHIFTS = range(-5, 6)
FIRST = 16  # rows that the study's LightMMoE cannot score and gives 0, its window
WINDOW = 100  # rows of a window in the programs that overlap them


def point_adjusted(one: Scored) -> dict[str, float]:
    """Best F1 under PA%K: 0 is point adjustment, 100 leaves the scores as they are."""
    f1 = pa_k(labels=one.labels, scores=one.scores).f1
    return {str(percent): float(f1[percent]) for percent in PERCENTS}


def overlapping(one: Scored) -> dict[str, float]:
    """Point F1 (PA) with each row counted once, and once in every window that holds it."""
    windows = {"once": 1, "in every window": min(WINDOW, len(one.scores))}
    return {
        name: best_f1(
            labels=overlapped(one.labels, window),
            scores=overlapped(one.scores, window),
            adjust="point",
        ).f1
        for name, window in windows.items()
    }


def overlapped(values: np.ndarray, window: int) -> np.ndarray:
    """Join all windows of values ``(t,)``, one row apart, end to end: 0..w-1, 1..w, 2..w+1, ..."""
    return np.lib.stride_tricks.sliding_window_view(values, window).ravel()


def zero_filled(one: Scored) -> dict[str, float]:
    """ROC AUC without the first rows, and with zeros as their scores.

    Below the scores of all others (errors are above 0) n free negatives beside N normal rows make
    AUC to (N AUC + n) / (N + n). Average precision would not see them: it asks at each hit how many
    false alarms stand above it.
    """
    filled = one.scores.copy()
    filled[:FIRST] = 0.0
    late = {"labels": one.labels[FIRST:], "scores": one.scores[FIRST:]}
    return {
        "left out": roc_auc(**late),
        "zeros": roc_auc(labels=one.labels, scores=filled),
    }


def with_margin(one: Scored) -> dict[str, float]:
    """Point F1 (PA) on labels whose events end so many rows later."""
    return {
        str(margin): best_f1(
            labels=widened(one.labels, one.series.events, margin),
            scores=one.scores,
            adjust="point",
        ).f1
        for margin in MARGINS
    }


def shifted(one: Scored) -> dict[str, float]:
    """Best F1 on labels that lie so many rows too late (below 0: too early)."""
    return {
        str(rows): best_f1(labels=moved(one.labels, rows), scores=one.scores).f1 for rows in SHIFTS
    }


def moved(labels: Bits, rows: int) -> Bits:
    """Move labels ``(t,)`` by so many rows, later or (below 0) earlier; what comes in is normal."""
    result = np.zeros_like(labels)
    if rows >= 0:
        result[rows:] = labels[: len(labels) - rows]
    else:
        result[:rows] = labels[-rows:]
    return result


MISTAKES = (
    Mistake(
        1,
        "point adjustment",
        GROUP,
        "If one row of an event is flagged, all its rows are counted as found, so that long events "
        "are won by chance.",
        "Kim et al., AAAI 2022; Sehili and Zhang, 2023; first in Xu et al., WWW 2018",
        "Is there a number without point adjustment, and what do random scores reach with it?",
        "best_f1",
        "point_f1_pa",
        point_adjusted,
        pair("100", "0"),
        axis="percent of an event that must be flagged before all of it counts",
    ),
    Mistake(
        9,
        "overlapping windows",
        GROUP,
        "Test windows overlap and are joined as if they were one series, so that a row counts as "
        "often as windows hold it and an event falls into many.",
        "Time-Series-Library, issue 561",
        "Is there exactly one score for each row?",
        "point_f1_pa",
        "point_f1_pa",
        overlapping,
        pair("once", "in every window"),
        first_seed_only=True,
    ),
    Mistake(
        10,
        "zeros as first scores",
        GROUP,
        f"The first {FIRST} rows, which a forecaster cannot score, get the score 0: negatives that "
        "nobody can get wrong. Judged by ROC AUC, which they can lift by their share of the normal "
        "rows at most; average precision cannot move, since it ignores negatives at the bottom.",
        "the study's program; CAD drops the rows with their labels instead",
        "What score do rows get that the model could not score?",
        "roc_auc",
        "roc_auc",
        zero_filled,
        pair("left out", "zeros"),
    ),
    Mistake(
        11,
        "wider labels",
        GROUP,
        "Every event is extended by 5 rows without a word, which makes short events twice as long "
        "and forgives late alarms.",
        "EasyTSAD's default margin [0, 5], which the study used",
        "Are the labels those that were published?",
        "point_f1_pa",
        "point_f1_pa",
        with_margin,
        pair("0", "5"),
        axis="rows by which every event is extended",
    ),
    Mistake(
        20,
        "labels off by one",
        GROUP,
        "The labels lie one row too early, because a file that counts from 0 is read as if it "
        "counted from 1.",
        "TranAD's preprocessing of SMD",
        "Does F1 peak where the labels are not shifted?",
        "best_f1",
        "best_f1",
        shifted,
        pair("0", "-1"),
        axis="rows by which the labels lie too late",
    ),
)
