"""What each way of learning gets out of a new machine's first rows: measured on one entity.

A module of its own, so that measured rows hold as long as it and what it imports stay the same.
"""

from collections.abc import Callable, Iterator

import numpy as np

from lmmoe.data import Series
from lmmoe.detectors import Detector, detector
from lmmoe.metrics import alarm_budget, alarms
from lmmoe.mmoe import MMoE
from lmmoe.report.deployment import fleet
from lmmoe.report.evaluation import PER_DAY, evaluate

AMOUNTS = {"first hour": 1 / 24, "first day": 1.0, "first week": 7.0}  # days
ALL = "all rows"
UNSEEN, SEEN, OWN = "one for all, machine unseen", "one for all, machine seen", "own model"
METHODS = (UNSEEN, SEEN, OWN, "MTSExample", "random")
QUALITY = ("average_precision", "best_f1", "vus_pr", "point_f1_pa")
LIVE = ("events_found", "false_alarms_per_day", "normal_share")
FAILURES = (ValueError, RuntimeError, MemoryError)


def amounts(series: Series) -> list[tuple[str, int]]:
    """Name how much is learned from, with the number of rows; what is there only in part is not."""
    wanted = {name: round(days * series.rows_per_day) for name, days in AMOUNTS.items()}
    there = [(name, rows) for name, rows in wanted.items() if rows < len(series.train)]
    return [*there, (ALL, len(series.train))]


def lines(
    series: Series,
    rows: int,
    *,
    unseen: Callable[[], MMoE],
    seen: Callable[[], MMoE],
    vus_window: int,
    seed: int,
) -> Iterator[dict[str, object]]:
    """Measure each of `METHODS`, learned from the first ``rows``; the seen network only from all.

    ``unseen`` and ``seen`` give the networks for all machines that have not, and have, learned from
    this one. A method that cannot learn from so few rows has ``error`` in place of numbers.
    """
    whole = rows == len(series.train)
    learned = series.train[:rows]
    ways: dict[str, Callable[[], Detector]] = {
        UNSEEN: lambda: fleet.shared(unseen(), learned, seed=seed),
        SEEN: lambda: fleet.shared(seen(), learned, seed=seed),
        OWN: lambda: detector("LightMMoE", seed=seed).fit(learned),
        "MTSExample": lambda: detector("MTSExample").fit(learned),
        "random": lambda: detector("random", seed=seed).fit(learned),
    }
    for method in METHODS:
        if method == SEEN and not whole:
            continue
        try:
            yield {"method": method} | judged(ways[method](), series, rows, vus_window)
        except FAILURES as error:
            # A method that cannot learn from so few rows must not cost the others.
            yield {"method": method, "error": f"{type(error).__name__}: {error}"}


def judged(made: Detector, series: Series, rows: int, vus_window: int) -> dict[str, float]:
    """Judge a fitted detector on the test half; alarms at a budget of one a day.

    The budget's threshold is set on the training rows that no network has learned from: all for
    one that came from elsewhere, the last tenth for one's own. ``normal_share`` is the share of the
    rows outside events above it: an alarm that never ends meets every event, and is not false.
    """
    scores = made.decision_function(series.test)
    values = evaluate(series.labels, scores, vus_window=vus_window)
    free = made.decision_scores_[_first_free(made, rows) :]
    threshold = alarm_budget(free, series.rows_per_day, per_day=PER_DAY)
    found = alarms(
        labels=series.labels, scores=scores, threshold=threshold, rows_per_day=series.rows_per_day
    )
    live = {name: float(getattr(found, name)) for name in LIVE[:2]}
    live["normal_share"] = float((scores[np.asarray(series.labels) == 0] > threshold).mean())
    return {name: float(values[name]) for name in QUALITY} | live


def _first_free(made: Detector, rows: int) -> int:
    """The first training row whose score may set a threshold."""
    learned = made._cut(rows) if hasattr(made, "_cut") else 0
    unscored = getattr(made, "unscored", 0)  # their scores are not their own
    return max(unscored, learned if learned < rows else 0)
