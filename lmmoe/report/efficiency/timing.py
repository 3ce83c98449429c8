"""Seconds of repeated work on one thread, on a machine that may have other work to do.

Two clocks. *Processor seconds* count only while this process runs: with one thread and nothing to
wait for, a quiet machine's wall clock would show the same, and a busy one's cannot change them
much. Costs are in these. *Wall seconds* are what somebody waits; latency is in these.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from lmmoe.detectors import Detector
from lmmoe.detectors.base import Floats

BATCHES = (1, 16, 256, 4096)  # rows scored by one call, in the table of detectors
FEWEST = 20  # calls that a percentile is taken of at least
WINDOWS = 64  # different rows that single calls go round: one alone would stay in the cache
FIRST = 5  # calls before the first that counts: they set up what later ones find ready


@dataclass(frozen=True)
class Effort:
    """How long to measure. A piece of work is repeated until either bound is met, but done once.

    ``repeats`` of training and scoring within ``seconds`` each; ``calls`` for a single row within
    ``call_seconds``, which also bounds the calls for each batch.
    """

    name: str
    repeats: int
    seconds: float
    calls: int
    call_seconds: float


QUICK = Effort("quick", repeats=3, seconds=0.5, calls=300, call_seconds=0.2)
FULL = Effort("full", repeats=7, seconds=30.0, calls=5000, call_seconds=2.0)


@dataclass(frozen=True)
class Timing:
    """What one repetition of some work takes: medians.

    ``seconds`` of processor time, ``wall_seconds`` on the clock: where the latter are many more,
    other work shared the machine. ``spread`` is the highest minus the lowest processor time over
    the median; NaN for one repetition.
    """

    seconds: float
    wall_seconds: float
    spread: float
    repeats: int


def timed(taken: list[tuple[float, float]]) -> Timing:
    """Sum up (processor, wall) seconds of each repetition."""
    own, wall = np.array(taken).T
    middle = float(np.median(own))
    spread = float(np.ptp(own)) / middle if len(own) > 1 and middle else float("nan")
    return Timing(middle, float(np.median(wall)), spread, len(own))


def repeated(work: Callable[[], object], *, repeats: int, seconds: float) -> Timing:
    """Time ``work`` up to ``repeats`` times, and no more once ``seconds`` have gone by."""
    taken: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while not taken or (len(taken) < repeats and time.perf_counter() < end):
        taken.append(once(work))
    return timed(taken)


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of ``work``."""
    own, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - own, time.perf_counter() - wall


def rows_for(made: Detector, rows: Floats, batch: int, start: int = 0) -> Floats:
    """Give the rows ``(n, c)`` that a call needs to score ``batch`` consecutive ones.

    These and what must stand before the first of them: the smallest input has one row to score.
    Beyond the last row the first follows again: the time to score rows is not in their values.
    """
    wanted = range(start, start + made.min_rows - 1 + batch)
    return np.ascontiguousarray(rows.take(wanted, axis=0, mode="wrap"))


def latencies(made: Detector, rows: Floats, effort: Effort) -> tuple[Floats, float]:
    """Time single calls that score one row with its window, through the detector's contract.

    Wall seconds of each call ``(n,)``, and processor seconds of a call, the mean.
    """
    starts = np.linspace(0, max(0, len(rows) - made.min_rows), WINDOWS).astype(int)
    windows = [rows_for(made, rows, 1, start) for start in starts]
    for window in windows[:FIRST]:
        made.decision_function(window)
    taken: list[float] = []
    own, end = time.process_time(), time.perf_counter() + effort.call_seconds
    for window in cycle(windows):
        began = time.perf_counter()
        made.decision_function(window)
        now = time.perf_counter()
        taken.append(now - began)
        if len(taken) >= effort.calls or (now > end and len(taken) >= FEWEST):
            break
    return np.array(taken), (time.process_time() - own) / len(taken)


def call(made: Detector, rows: Floats, batch: int, effort: Effort) -> Timing:
    """Time calls that score ``batch`` rows each."""
    given = rows_for(made, rows, batch)
    made.decision_function(given)
    return repeated(
        lambda: made.decision_function(given), repeats=effort.calls, seconds=effort.call_seconds
    )
