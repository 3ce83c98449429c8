"""The metrics once more, in plain loops, as the definitions say and not as the package does.

Slow on purpose. Counts are exact (`Fraction`), so that the fast versions are compared with the
true value and ties between thresholds are real ties.
"""

from fractions import Fraction
from math import isqrt, sqrt

import numpy as np
from hypothesis import strategies as st


def events(labels):
    """Lists of the rows of every event."""
    found = []
    for row, label in enumerate(labels):
        if label and row and labels[row - 1]:
            found[-1].append(row)
        elif label:
            found.append([row])
    return found


def weight(length, adjust):
    if adjust == "log":
        power = 0
        while 3 ** (power + 1) <= length + 3:
            power += 1
        return power
    return {"point": length, "raw": length, "squeeze": 1, "sqrt": isqrt(length)}[adjust]


def adjusted(labels, scores, adjust, delay=None):
    """Scores after point adjustment, and what each row counts: an event shares out its weight."""
    values, weights = list(scores), [Fraction(1)] * len(scores)
    for rows in events(labels):
        top = max(scores[row] for row in rows[:delay])
        for row in rows:
            values[row] = top
            weights[row] = Fraction(weight(len(rows), adjust), len(rows))
    return values, weights


def best_f1(labels, scores, adjust=None, delay=None):
    """F1, precision, recall and threshold, the highest threshold where several are best."""
    values, weights = scores, [Fraction(1)] * len(scores)
    if adjust is not None:
        values, weights = adjusted(labels, scores, adjust, delay)
    best = (Fraction(-1),)
    for threshold in sorted(set(values), reverse=True):
        hits = missed = false_alarms = Fraction(0)
        for label, value, share in zip(labels, values, weights, strict=True):
            if label and value >= threshold:
                hits += share
            elif label:
                missed += share
            elif value >= threshold:
                false_alarms += share
        f1 = 2 * hits / (2 * hits + false_alarms + missed)
        if f1 > best[0]:
            best = (f1, hits / (hits + false_alarms), hits / (hits + missed), threshold)
    return best


def roc_auc(labels, scores):
    """The share of (anomalous, normal) pairs in the right order; ties count one half."""
    won = pairs = Fraction(0)
    for label, score in zip(labels, scores, strict=True):
        for other, rival in zip(labels, scores, strict=True):
            if label and not other:
                pairs += 1
                won += Fraction(2 if score > rival else int(score == rival), 2)
    return won / pairs


def average_precision(labels, scores):
    """The mean over anomalous rows of the precision that is had by flagging from their score on."""
    precisions = []
    for label, score in zip(labels, scores, strict=True):
        if label:
            flagged = [other for other, rival in zip(labels, scores, strict=True) if rival >= score]
            precisions.append(Fraction(sum(map(int, flagged)), len(flagged)))
    return sum(precisions) / len(precisions)


def vus(labels, scores, window):
    """VUS-ROC and VUS-PR: the mean over widths."""
    pairs = [areas(labels, scores, width) for width in range(window + 1)]
    return tuple(sum(pair[i] for pair in pairs) / len(pairs) for i in (0, 1))


def areas(labels, scores, width):
    """ROC and PR area of one width, threshold by threshold."""
    total, reach = len(scores), width // 2
    soft = [_soft(labels, row, width) for row in range(total)]
    spans = _regions(labels, reach)
    descending = sorted(scores, reverse=True)
    grid = [descending[int(place)] for place in np.floor(np.linspace(0, total - 1, 250))]
    curve, pr = [(0.0, 0.0)], 0.0
    for threshold in dict.fromkeys(grid):  # a repeated threshold would add nothing
        flagged = [row for row in range(total) if scores[row] >= threshold]
        hits = sum(soft[row] for row in flagged)
        outside = sum(soft[row] for row in flagged if not labels[row])
        positives = sum(map(int, labels)) + outside / 2
        found = [any(start <= row <= end for row in flagged) for start, end in spans]
        recall = min(hits / positives, 1) * sum(found) / len(found)
        pr += (recall - curve[-1][1]) * hits / len(flagged)
        curve.append(((len(flagged) - hits) / (total - positives), recall))
    curve.append((1.0, 1.0))
    steps = zip(curve[:-1], curve[1:], strict=True)
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in steps), pr


def _soft(labels, row, width):
    """1 inside events, else what all events within half a width give together, at most 1."""
    if labels[row]:
        return 1.0
    distances = [min(abs(row - inside) for inside in rows) for rows in events(labels)]
    return min(1.0, sum(sqrt(1 - d / width) for d in distances if d <= width // 2))


def _regions(labels, reach):
    """First and last row of the widened events, those that touch or overlap made one."""
    spans = []
    for rows in events(labels):
        if spans and spans[-1][1] >= rows[0] - reach:
            spans[-1][1] = rows[-1] + reach
        else:
            spans.append([rows[0] - reach, rows[-1] + reach])
    return spans


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
