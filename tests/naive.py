"""The metrics once more, slowly, as the definitions say and not as the package does."""

from fractions import Fraction
from itertools import pairwise, takewhile
from math import isqrt

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import precision_recall_curve

from benchmarks import metrics as loops


def events(labels):
    """Lists of the rows of every event."""
    places = ndimage.find_objects(ndimage.label(labels)[0])
    return [[*range(rows.start, rows.stop)] for (rows,) in places]


def weight(length, adjust):
    known = {"log": loops.log3(length), "squeeze": 1, "sqrt": isqrt(length)}
    return known.get(adjust, length)


def adjusted(labels, scores, adjust, delay=None):
    """Scores after point adjustment, and what each row counts: an event shares out its weight."""
    values, weights = list(scores), [1.0] * len(scores)
    for rows in events(labels):
        top = max(scores[row] for row in rows[:delay])
        for row in rows:
            values[row] = top
            weights[row] = weight(len(rows), adjust) / len(rows)
    return values, weights


def best_f1(labels, scores, adjust=None, delay=None):
    """F1, precision, recall and threshold, the highest threshold where several are best."""
    values, weights = scores, None
    if adjust is not None:
        values, weights = adjusted(labels, scores, adjust, delay)
    *parts, thresholds = precision_recall_curve(labels, values, sample_weight=weights)
    precision, recall = (part[:-1] for part in parts)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best = np.flatnonzero(f1 > f1.max() - 1e-12)[-1]
    return f1[best], precision[best], recall[best], thresholds[best]


def pa_k(labels, scores, percent):
    """Best F1 where an event is filled once strictly more than K % of its rows are flagged."""
    best = Fraction(0)
    for threshold in set(scores):
        flagged = [score >= threshold for score in scores]
        for rows in events(labels):
            if sum(flagged[row] for row in rows) * 100 > percent * len(rows):
                for row in rows:
                    flagged[row] = True
        best = max(best, f1(labels, flagged))
    return best


def f1(labels, flagged):
    pairs = list(zip(map(bool, labels), flagged, strict=True))
    return Fraction(2 * pairs.count((True, True)), sum(map(int, labels)) + sum(map(int, flagged)))


def affiliation(labels, alarms):
    """Precision (NaN where no zone holds an alarm) and recall, from the middles of quarter rows.

    All is linear within a quarter of a row, so this is exact but for rounding.
    """
    quarters = np.arange(0.125, len(labels), 0.25)
    spans = [(rows[0], rows[-1] + 1) for rows in events(labels)]
    borders = [(before[1] + after[0]) / 2 for before, after in pairwise(spans)]
    precisions, recalls = [], []
    for (start, end), (first, last) in zip(
        spans, pairwise([0, *borders, len(labels)]), strict=True
    ):
        x = quarters[(first < quarters) & (quarters < last)]
        flagged = x[np.array(alarms, dtype=bool)[x.astype(int)]]
        if not len(flagged):
            recalls.append(0)
            continue
        # How probable it is that a random point of the zone is no nearer to the event.
        away = np.maximum(start - flagged, flagged - end)
        farther = np.maximum(start - away - first, 0) + np.maximum(last - end - away, 0)
        precisions.append(np.where(away > 0, farther / (last - first), 1).mean())
        # How probable it is that a random point of the zone is no nearer to a point of the event
        # than alarms are.
        y = x[(start < x) & (x < end)]
        away = np.maximum(np.abs(y[:, None] - flagged).min(axis=1) - 0.125, 0)
        nearer = np.minimum(y + away, last) - np.maximum(y - away, first)
        recalls.append(1 - nearer.mean() / (last - first))
    return np.mean(precisions) if precisions else np.nan, np.mean(recalls)


def stretches(scores, threshold):
    """Rows from the first to the last of every alarm; flagged rows fewer than 10 apart are one."""
    found = []
    for row, score in enumerate(scores):
        if score > threshold:
            if found and row - found[-1][-1] - 1 < 10:
                found[-1] = range(found[-1][0], row + 1)
            else:
                found.append(range(row, row + 1))
    return found


def alarm_budget(scores, allowed):
    """The lowest score at and above which no score gives more alarms than are allowed."""
    falling = sorted(set(scores), reverse=True)
    return [*takewhile(lambda cut: len(stretches(scores, cut)) <= allowed, falling)][-1]


@st.composite
def cases(draw, most=60):
    """Labels and scores of 2 to ``most`` rows: events of all lengths anywhere, many tied scores."""
    first = draw(st.booleans())
    lengths = draw(st.lists(st.integers(1, 12), min_size=2, max_size=9))
    labels = [int(first) ^ (i % 2) for i, length in enumerate(lengths) for _ in range(length)]
    labels = labels[:most]
    size = {"min_size": len(labels), "max_size": len(labels)}
    levels = draw(st.sampled_from([2, 4, 20]))
    return labels, [level / 4 - 1 for level in draw(st.lists(st.integers(0, levels), **size))]
