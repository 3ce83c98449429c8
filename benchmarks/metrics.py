"""The study's metrics against loops over rows, and the VUS against package TSB-AD.

Where TSB-AD is not installed its time is that which was measured on a machine like the one that the
targets were set on: 3.8 s with version 1.5; the ratio to it then compares two machines. An obvious
implementation (`benchmarks.loops`) is timed in any case.
"""

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from benchmarks import loops
from benchmarks.given import Given, machine
from benchmarks.measure import Row, Spread, in_turn, ratio, timed
from lmmoe import metrics
from lmmoe.detectors import detector

THREADS = ("one",)
ADJUSTMENTS = ("point", "log", "squeeze", "sqrt", None)
WINDOW = 100
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
        found = metrics.best_f1s(labels=given.labels, scores=scores, adjust=ADJUSTMENTS)
        return [found[kind].f1 for kind in ADJUSTMENTS]

    def theirs() -> list[float]:
        return [loops.best_f1(given.labels, scores, kind) for kind in ADJUSTMENTS]

    far = float(np.max(np.abs(np.subtract(ours(), theirs()))))
    found = in_turn({"ours": timed(ours, 0.1), "loops": timed(theirs)}, turns)
    taken, slow = ([MILLI * value for value in found[name]["seconds"]] for name in found)
    what = f"five best F1s, {len(scores):,} rows"
    remarks = {"rows": given.name, "largest difference": far}
    yield Row(
        what=what,
        unit="ms",
        ours=Spread.of(taken),
        yardstick="loops over rows",
        theirs=Spread.of(slow),
        compared=ratio(slow, taken),
        remarks=remarks,
    )
    absolute = "(compared: ms, all five together)"
    yield Row(what, "ms", Spread.of(taken), absolute, None, Spread.of(taken), ("at most", 15.0))


def _volumes(given: Given, scores: np.ndarray, window: int, turns: int) -> Iterator[Row]:
    def ours() -> tuple[float, float]:
        return metrics.vus(labels=given.labels, scores=scores, window=window)

    def obvious() -> tuple[float, float]:
        return loops.vus(given.labels, scores, window)

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
            ours=Spread.of(taken),
            yardstick=name,
            theirs=Spread.of(found[name]["seconds"]),
            compared=ratio(found[name]["seconds"], taken),
            bound=("at least", 40.0) if work is package else None,
            remarks={"largest difference": float(np.max(np.abs(np.subtract(ours(), work()))))},
        )
    if package not in theirs.values():
        slow = [TSB_AD] * len(taken)
        yield Row(
            what=what,
            unit="s",
            ours=Spread.of(taken),
            yardstick="package TSB-AD 1.5, measured earlier",
            theirs=Spread.of(slow),
            compared=ratio(slow, taken),
            bound=("at least", 40.0),
            remarks={"yardstick": "not of this run: the package is not installed here"},
        )
