"""The study's metrics against loops over rows, and the VUS against package TSB-AD.

Where TSB-AD is not installed its time is that which was measured on a machine like the one that the
targets were set on: 3.8 s with version 1.5; the ratio to it then compares two machines. Metrics as
one would first write them are timed in any case.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import groupby
from math import floor, sqrt

import numpy as np

from benchmarks.measure import Given, Row, in_turn, machine, ratio, timed
from lmmoe import metrics
from lmmoe.detectors import detector

THREADS = ("one",)
ADJUSTMENTS = ("point", "log", "squeeze", "sqrt", None)
WINDOW = 100
THRESHOLDS = 250  # of the VUS, as package TSB-AD 1.5 has them
TSB_AD = 3.8  # seconds, 28,479 rows, window 100
MILLI = 1e3


def rows(*, quick: bool) -> Iterator[Row]:
    """F1s, then VUS."""
    given, turns = machine(), 1 if quick else 7
    if quick:
        given = given._replace(test=given.test[-4000:], labels=given.labels[-4000:].copy())
        given.labels[1000:1100] = 1  # so that there is an event
    scores = detector("MTSExample").fit(given.train[:2000]).decision_function(given.test)
    yield from _f1s(given, scores, turns)
    yield from _volumes(given, scores, 4 if quick else WINDOW, turns)


def _f1s(given: Given, scores: np.ndarray, turns: int) -> Iterator[Row]:
    def ours() -> list[float]:
        of = {"labels": given.labels, "scores": scores}
        return [metrics.best_f1(**of, adjust=kind).f1 for kind in ADJUSTMENTS]

    def theirs() -> list[float]:
        return [best_f1(given.labels, scores, kind) for kind in ADJUSTMENTS]

    far = float(np.max(np.abs(np.subtract(ours(), theirs()))))
    found = in_turn({"ours": timed(ours, 0.1), "loops": timed(theirs)}, turns)
    taken, slow = ([MILLI * value for value in found[name]["seconds"]] for name in found)
    what = f"five best F1s, {len(scores):,} rows"
    remarks = {"rows": given.name, "largest difference": far}
    yield Row(
        what=what,
        unit="ms",
        ours=taken,
        yardstick="loops over rows",
        theirs=slow,
        compared=ratio(slow, taken),
        remarks=remarks,
    )
    absolute = "(compared: ms, all five together)"
    yield Row(what, "ms", taken, absolute, None, taken, ("at most", 15.0))


def _volumes(given: Given, scores: np.ndarray, window: int, turns: int) -> Iterator[Row]:
    def ours() -> tuple[float, float]:
        return metrics.vus(labels=given.labels, scores=scores, window=window)

    def obvious() -> tuple[float, float]:
        return vus(given.labels, scores, window)

    def package() -> tuple[float, float]:
        from TSB_AD.evaluation.basic_metrics import generate_curve

        return generate_curve(given.labels.astype(int), scores, window)[-2:]

    theirs = {"all rows for each width and threshold": obvious}
    if find_spec("TSB_AD"):
        theirs["package TSB-AD"] = package
    programs = {"ours": timed(ours)} | {name: timed(work) for name, work in theirs.items()}
    found = in_turn(programs, turns)
    taken = found["ours"]["seconds"]
    what = f"VUS-ROC and VUS-PR, window {window}, {len(scores):,} rows"
    for name, work in theirs.items():
        yield Row(
            what=what,
            unit="s",
            ours=taken,
            yardstick=name,
            theirs=found[name]["seconds"],
            compared=ratio(found[name]["seconds"], taken),
            bound=("at least", 40.0) if work is package else None,
            remarks={"largest difference": float(np.max(np.abs(np.subtract(ours(), work()))))},
        )
    if package not in theirs.values():
        slow = [TSB_AD] * len(taken)
        yield Row(
            what=what,
            unit="s",
            ours=taken,
            yardstick="package TSB-AD 1.5, measured earlier",
            theirs=slow,
            compared=ratio(slow, taken),
            bound=("at least", 40.0),
            remarks={"yardstick": "not of this run: the package is not installed here"},
        )


# --- F1s and VUS as one would first write them ---


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
