"""What the rules for thresholds are worth: false alarms and found events of live runs.

A detector that was fitted for a report watches the test half of its entity row by row; no label has
a say but in the counting.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data import Series
from lmmoe.live.alarms import RELEASE, Alarm, Tail, checked_rule, threshold
from lmmoe.live.model import Facts, Model
from lmmoe.live.stream import Stream
from lmmoe.report.runs import Run, result

Floats = npt.NDArray[np.float64]
RULES = ("budget:1", "quantile:0.99", "pot:0.0001", "spot:0.0001")


def table(runs: Iterable[Run], rules: Sequence[str] = RULES) -> pd.DataFrame:
    """Watch with each run's detector: a row per run and rule, of the columns in `judged`.

    ``difference`` is the largest between a live score and the batch's, above 1 as a share of it.
    Runs without rows a day, or whose detector has no live score or no calibration, are an error
    (`DataError`).
    """
    lines = []
    for run in runs:
        model = model_of(run)
        scores = live_scores(model, run.series.test)
        batch = result(run).scores
        known = ~np.isnan(scores)
        far = np.abs(scores - batch)[known] / np.maximum(np.abs(batch[known]), 1)
        head = {name: run.identity[name] for name in ("dataset", "entity", "detector", "seed")}
        head["difference"] = float(far.max(initial=0.0))
        lines += [head | judged(run.series, model, scores, rule) for rule in rules]
    return pd.DataFrame(lines)


def model_of(run: Run) -> Model:
    """Give a run's detector, from the cache where it is known, with the facts of its rows."""
    series = run.series
    known = {"rows_per_day": series.rows_per_day}
    return Model(result(run).detector, Facts.of(series.train, series.channels, **known))


def live_scores(model: Model, rows: Floats) -> Floats:
    """Score rows ``(t, c)`` one by one: ``(t,)``, NaN for those without a score."""
    stream = Stream(model, threshold=0.0)
    return np.array([stream.step(row).score for row in rows])


def judged(
    series: Series, model: Model, scores: Floats, rule: str, release: float = RELEASE
) -> dict[str, object]:
    """Count what a rule makes of live scores ``(t,)`` of the test half.

    ``threshold`` at the start and ``last_threshold`` at the end; ``promised_share`` of normal rows
    above it (budget: none), and ``share``, what it is on the rows outside events;
    ``promised_per_day``, the alarms of a budget, with ``alarms`` and ``false_alarms`` a day: those
    that meet no event; ``events``, the share of them ``found``, which an alarm overlaps, and
    ``announced``, in which one opens (an alarm that has been open for days says nothing new);
    ``delay``, the mean number of rows from the start of a found event to its alarm.
    """
    word, value = checked_rule(rule)
    made = threshold(rule, model.calibration, series.rows_per_day)
    start = made.threshold if isinstance(made, Tail) else made
    found, above = episodes(scores, made, release, model.normal)
    normal = np.asarray(series.labels) == 0
    days = len(scores) / series.rows_per_day
    false = [one for one in found if normal[one[0] : one[1] + 1].all()]
    firsts = [next((a for a, b in found if b >= begin), end) for begin, end in series.events]
    pairs = list(zip(firsts, series.events, strict=True))
    delays = [max(first, begin) - begin for first, (begin, end) in pairs if first < end]
    opens = [any(begin <= a < end for a, _ in found) for begin, end in series.events]
    return {
        "rule": rule,
        "threshold": start,
        "last_threshold": made.threshold if isinstance(made, Tail) else made,
        "promised_share": {"quantile": 1 - value, "pot": value, "spot": value}.get(word, np.nan),
        "share": float(above[normal].mean()),
        "promised_per_day": value if word == "budget" else np.nan,
        "alarms_per_day": len(found) / days,
        "false_alarms_per_day": len(false) / days,
        "days": days,
        "events": len(series.events),
        "found": len(delays) / max(len(series.events), 1),
        "announced": sum(opens) / max(len(series.events), 1),
        "delay": float(np.mean(delays)) if delays else np.nan,
    }


def episodes(
    scores: Floats, rule: float | Tail, release: float = RELEASE, normal: float = -np.inf
) -> tuple[list[tuple[int, int]], npt.NDArray[np.bool_]]:
    """Give the alarms of live scores ``(t,)``: first row and last loud one of each, in order.

    Also which rows are above the threshold of their time ``(t,)``. A tail learns as it goes.
    ``release`` and ``normal`` are `Alarm`'s.
    """
    alarm = Alarm(rule.threshold if isinstance(rule, Tail) else rule, release, normal)
    found, above = [], np.zeros(len(scores), dtype=bool)
    for row, score in enumerate(scores.tolist()):
        if score != score:  # no score
            continue
        above[row] = alarm.above(score)
        was = alarm.open
        alarm.step(score, row)
        if isinstance(rule, Tail) and rule.update(score):
            alarm.threshold = rule.threshold
        if was and not alarm.open:
            found.append((alarm.first, alarm.last))
    return [*found, *([(alarm.first, alarm.last)] if alarm.open else [])], above


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Join a `table`'s entities: a row per data set, detector and rule.

    Rates are alarms over all machine-days, ``found`` and ``announced`` events over all; shares and
    delays are means over entities; ``difference`` is the largest.
    """
    kinds = ["dataset", "detector", "rule"]
    rows = rows.assign(
        alarms=rows["alarms_per_day"] * rows["days"],
        false=rows["false_alarms_per_day"] * rows["days"],
        hits=rows["found"] * rows["events"],
        opens=rows["announced"] * rows["events"],
    )
    joined = rows.groupby(kinds, sort=False).agg(
        entities=("entity", "nunique"),
        days=("days", "sum"),
        alarms=("alarms", "sum"),
        false=("false", "sum"),
        hits=("hits", "sum"),
        opens=("opens", "sum"),
        events=("events", "sum"),
        promised_share=("promised_share", "first"),
        share=("share", "mean"),
        promised_per_day=("promised_per_day", "first"),
        delay=("delay", "mean"),
        difference=("difference", "max"),
    )
    joined.insert(2, "alarms_per_day", joined.pop("alarms") / joined["days"])
    joined.insert(3, "false_alarms_per_day", joined.pop("false") / joined["days"])
    joined.insert(4, "found", joined.pop("hits") / joined["events"])
    joined.insert(5, "announced", joined.pop("opens") / joined["events"])
    return joined.reset_index()
