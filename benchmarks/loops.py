"""The study's F1s and the VUS as one would first write them: the yardsticks for `lmmoe.metrics`."""

from collections.abc import Callable
from itertools import groupby
from math import floor, sqrt

import numpy as np

THRESHOLDS = 250  # of the VUS, as package TSB-AD 1.5 has them


def log3(length: int) -> int:
    """floor(log3(length + 3)), in whole numbers."""
    power = 1
    while 3 ** (power + 1) <= length + 3:
        power += 1
    return power


WEIGHTS: dict[str | None, Callable[[int], int]] = {
    None: lambda length: length,
    "point": lambda length: length,
    "log": log3,
    "squeeze": lambda length: 1,
    "sqrt": lambda length: floor(sqrt(length)),
}


def events(labels: np.ndarray) -> list[tuple[int, int]]:
    """First row, and row after the last, of every event."""
    found, row = [], 0
    for label, run in groupby(labels.tolist()):
        length = len(list(run))
        if label:
            found.append((row, row + length))
        row += length
    return found


def best_f1(labels: np.ndarray, scores: np.ndarray, adjust: str | None) -> float:
    """Best F1 over all thresholds, row by row; see `lmmoe.metrics.best_f1`."""
    values, weights = scores.tolist(), [1.0] * len(scores)
    if adjust is not None:
        for start, end in events(labels):
            top = max(values[start:end])
            for row in range(start, end):
                values[row] = top
                weights[row] = WEIGHTS[adjust](end - start) / (end - start)
    order = sorted(range(len(values)), key=lambda row: -values[row])
    positives = sum(weight for weight, label in zip(weights, labels, strict=True) if label)
    hits = alarms = best = 0.0
    for place, row in enumerate(order):
        if labels[row]:
            hits += weights[row]
        else:
            alarms += 1
        last_of_ties = place + 1 == len(order) or values[order[place + 1]] < values[row]
        if last_of_ties:
            best = max(best, 2 * hits / (hits + alarms + positives))
    return best


def vus(labels: np.ndarray, scores: np.ndarray, window: int) -> tuple[float, float]:
    """VUS-ROC and VUS-PR: all rows are looked at for each width and threshold."""
    descending = np.sort(scores)[::-1]
    grid = descending[np.floor(np.linspace(0, len(scores) - 1, THRESHOLDS)).astype(int)]
    areas = [_areas(labels, scores, grid, width) for width in range(window + 1)]
    roc, pr = np.mean(areas, axis=0)
    return float(roc), float(pr)


def _areas(
    labels: np.ndarray, scores: np.ndarray, grid: np.ndarray, width: int
) -> tuple[float, float]:
    soft, regions = _widened(labels, width)
    outside = np.where(labels, 0.0, soft)
    recalls, alarm_rates, precisions = [0.0], [0.0], []
    for threshold in grid:
        flagged = scores >= threshold
        hits = soft[flagged].sum()
        positives = labels.sum() + outside[flagged].sum() / 2
        found = sum(flagged[start:end].any() for start, end in regions) / len(regions)
        recalls.append(min(hits / positives, 1) * found)
        alarm_rates.append((flagged.sum() - hits) / (len(scores) - positives))
        precisions.append(hits / flagged.sum())
    pr = float(np.sum(np.diff(recalls) * precisions))
    return float(np.trapezoid([*recalls, 1.0], [*alarm_rates, 1.0])), pr


def _widened(labels: np.ndarray, width: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Soft labels ``(t,)``, and the regions: events widened by half the width and merged."""
    reach, soft = width // 2, labels.astype(np.float64)
    regions: list[tuple[int, int]] = []
    for start, end in events(labels):
        for distance in range(1, reach + 1):
            for row in (start - distance, end - 1 + distance):
                if 0 <= row < len(labels) and not labels[row]:
                    soft[row] += sqrt(1 - distance / width)
        first, last = max(start - reach, 0), min(end + reach, len(labels))
        if regions and regions[-1][1] > start - reach:  # they share a row at least
            first = regions.pop()[0]
        regions.append((first, last))
    return np.minimum(soft, 1.0), regions
