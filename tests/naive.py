"""The metrics once more, in plain loops, as the definitions say and not as the package does.

Slow on purpose. Counts and integrals are exact (`Fraction`), so that the fast versions are compared
with the true value and ties between thresholds are real ties.
"""

from fractions import Fraction
from itertools import pairwise
from math import isqrt

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
        hits = missed = false = Fraction(0)
        for label, value, share in zip(labels, values, weights, strict=True):
            hits += share * (label and value >= threshold)
            missed += share * (label and value < threshold)
            false += share * (not label and value >= threshold)
        f1 = 2 * hits / (2 * hits + false + missed)
        if f1 > best[0]:
            best = (f1, hits / (hits + false), hits / (hits + missed), threshold)
    return best


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
    """Precision (None where no zone holds an alarm) and recall, integrated piece by piece."""
    spans = [(Fraction(rows[0]), Fraction(rows[-1] + 1)) for rows in events(labels)]
    borders = [(before[1] + after[0]) / 2 for before, after in pairwise(spans)]
    zones = list(pairwise([Fraction(0), *borders, Fraction(len(labels))]))
    flagged = [(Fraction(row), Fraction(row + 1)) for row, alarm in enumerate(alarms) if alarm]
    precisions, recalls = [], []
    for event, zone in zip(spans, zones, strict=True):
        inside = [(max(a, zone[0]), min(b, zone[1])) for a, b in flagged]
        inside = [(a, b) for a, b in inside if a < b]
        if inside:
            precisions.append(_precision(event, zone, inside))
        recalls.append(_recall(event, zone, inside) if inside else Fraction(0))
    mean = sum(precisions) / len(precisions) if precisions else None
    return mean, sum(recalls) / len(recalls)


def _precision(event, zone, alarms):
    def share(x):
        """How probable it is that a random point of the zone is no nearer to the event."""
        away = max(event[0] - x, x - event[1], Fraction(0))
        if away == 0:
            return Fraction(1)
        farther = max(event[0] - away - zone[0], 0) + max(zone[1] - event[1] - away, 0)
        return Fraction(farther) / (zone[1] - zone[0])

    gaps = (event[0] - zone[0], zone[1] - event[1])
    kinks = [*event, *(event[0] - gap for gap in gaps), *(event[1] + gap for gap in gaps)]
    return sum(_integral(share, a, b, kinks) for a, b in alarms) / sum(b - a for a, b in alarms)


def _recall(event, zone, alarms):
    def share(y):
        """How probable it is that a random point of the zone is no nearer to y than alarms are."""
        away = min(max(a - y, y - b, Fraction(0)) for a, b in alarms)
        nearer = min(y + away, zone[1]) - max(y - away, zone[0])
        return 1 - nearer / (zone[1] - zone[0])

    kinks = [edge for alarm in alarms for edge in alarm]
    kinks += [(a + b) / 2 for a in kinks for b in (*kinks, *zone)]
    return _integral(share, *event, kinks) / (event[1] - event[0])


def _integral(function, start, end, kinks):
    """Exact for a function that is linear between kinks, where it may jump: middles."""
    places = sorted({start, end, *(kink for kink in kinks if start < kink < end)})
    return sum((b - a) * function((a + b) / 2) for a, b in pairwise(places))


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


def delays(labels, scores, threshold):
    """Rows from the start of each event that holds a flagged row to the first of these."""
    flagged = [[scores[row] > threshold for row in rows] for rows in events(labels)]
    return [rows.index(True) for rows in flagged if any(rows)]


def alarm_budget(scores, allowed):
    """The lowest score at and above which no score gives more alarms than are allowed."""
    chosen = None
    for threshold in sorted(set(scores), reverse=True):
        if len(stretches(scores, threshold)) > allowed:
            break
        chosen = threshold
    return chosen


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
