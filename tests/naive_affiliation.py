"""Affiliation once more, exactly and slowly: integrals in `Fraction`, piece by piece."""

from fractions import Fraction
from itertools import pairwise

from naive import events


def affiliation(labels, alarms):
    """Precision (None where no zone holds an alarm) and recall."""
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
