"""Alarms of live streams, for notebook 07: one explained, and those of each rule counted."""

from functools import partial
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe.data.series import Floats, Series
from lmmoe.live.alarms import Alarm
from lmmoe.live.model import Facts, Model
from lmmoe.live.stream import Stream
from lmmoe.report import store
from lmmoe.report.experiment import Run, result
from lmmoe.report.measure import each
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what this module measures changes
PROTOCOL = "ours"  # the one that holds rows back, by which thresholds are set
WATCHED = ("LightMMoE", "MTSExample")
RULES = ("budget:1", "quantile:0.99", "pot:0.0001")
COLUMNS = ("key", "dataset", "entity", "detector", "seed", "rule", "threshold", "share")
COLUMNS += ("false_alarms_per_day", "days", "events", "found", "announced", "delay", "difference")
AROUND, TOP = 60, 6  # rows on each side of an alarm explained, channels named


def model_of(run: Run) -> Model:
    """Give a run's detector, from the cache where it is known, with the facts of its rows."""
    one = run.series
    facts = Facts.of(one.train, one.channels, rows_per_day=one.rows_per_day)
    return Model(result(run).detector, facts)


# --- one incident ---


class Incident(NamedTuple):
    """A day of the test half, rows ``start`` to ``end``, with the alarm that opens at ``row``.

    ``scores`` ``(t,)`` and ``alarms``, first and last loud row of each, are of the whole half;
    ``threshold`` is the rule's. ``shares`` are the highest shares of the score of
    ``row`` by channel, ``near`` what was "observed" and "forecast", by rows from ``row``.
    """

    start: int
    end: int
    row: int
    scores: Floats
    alarms: list[tuple[int, int]]
    threshold: float
    shares: pd.Series
    near: pd.DataFrame


def incident(model: Model, series: Series, rule: str) -> Incident:
    """Explain the first alarm of a rule that opens in an event, and show a day around it.

    Where none does, the first alarm; where there is none, the row with the highest score.
    """
    made, test, alarm = model.detector, series.test, Stream(model, threshold=rule).alarm
    scores = made.decision_function(test)
    found = episodes(scores, alarm)
    real = [a for a, _ in found if any(start <= a < end for start, end in series.events)]
    row = [*real, *(a for a, _ in found), int(scores.argmax())][0]
    day = int(min(series.rows_per_day or 1000, len(test)))
    start = min(max(row - day // 3, 0), len(test) - day)
    errors = pd.Series(made.channel_scores(test)[row], list(series.channels))
    shares = (errors / errors.sum()).nlargest(TOP)
    observed = pd.DataFrame(test, np.arange(len(test)) - row, errors.index)
    forecast = pd.DataFrame(made.forecasts(test), observed.index[made.unscored :], errors.index)
    near = pd.concat({"observed": observed, "forecast": forecast}, axis=1).loc[-AROUND:AROUND]
    return Incident(start, start + day, row, scores, found, alarm.threshold, shares, near)


# --- alarms under each rule ---


def alarms(profile: Profile) -> pd.DataFrame:
    """Watch every labelled entity with LightMMoE and the L2 norm: a row each and rule, `COLUMNS`.

    ``difference`` is the largest between a live score and the batch's, above 1 as a share of it;
    the others are `counted`'s. Empty where a day's rows are not known.
    """
    keep, lines = store.Table(profile.profile, "live"), []
    names = [name for name in WATCHED if name in profile.detectors]
    for entity in each(profile.present, "live streams", "entity"):
        series = profile.load(entity)
        for name in names if series.rows_per_day and series.events else ():
            run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
            shown = {n: run.identity[n] for n in ("dataset", "entity", "detector", "seed")}
            hidden = {"run": run.key, "rules": RULES, "rows_per_day": series.rows_per_day}
            hidden |= {"measured": VERSION, "numpy": version("numpy")}
            lines += keep.lines(shown, hidden, partial(watched, run))
    return pd.DataFrame(lines).reindex(columns=[*COLUMNS])


def watched(run: Run) -> list[store.Line]:
    """Watch the test half with a run's detector: the line of each rule."""
    model, batch = model_of(run), result(run).scores
    stream = Stream(model, threshold=0.0)
    scores = np.array([stream.step(row).score for row in run.series.test])
    far = float(np.nanmax(np.abs(scores - batch) / np.maximum(np.abs(batch), 1), initial=0.0))
    return [counted(run.series, model, scores, rule) | {"difference": far} for rule in RULES]


def counted(series: Series, model: Model, scores: Floats, rule: str) -> store.Line:
    """Count what a rule makes of live scores ``(t,)`` of the test half.

    Its ``threshold``; the ``share`` of normal rows above it; false alarms, which meet no
    event; the share of events ``found``, which an alarm overlaps, and ``announced``, in which one
    opens (one that has been open for days says nothing new); ``delay``, the mean number of rows
    from the start of a found event to its alarm.
    """
    alarm = Stream(model, threshold=rule).alarm
    found = episodes(scores, alarm)
    normal, days = np.asarray(series.labels) == 0, len(scores) / series.rows_per_day
    hits = [(s, [a for a, b in found if a < e and b >= s]) for s, e in series.events]
    met = pd.DataFrame(
        [(opened[0] - start, opened[-1] >= start) for start, opened in hits if opened],
        columns=["delay", "announced"],
    )
    return {
        "rule": rule,
        "threshold": alarm.threshold,
        "share": float((scores[normal] > alarm.threshold).mean()),
        "false_alarms_per_day": sum(normal[a : b + 1].all() for a, b in found) / days,
        "days": days,
        "events": len(hits),
        "found": len(met) / len(hits),
        "announced": int(met["announced"].sum()) / len(hits),
        "delay": float(met["delay"].clip(lower=0).mean()),
    }


def episodes(scores: Floats, alarm: Alarm) -> list[tuple[int, int]]:
    """Give the alarms of scores ``(t,)``, which ``alarm`` takes: first and last loud row of each.

    NaN are rows without a score.
    """
    found = []
    for row in np.flatnonzero(~np.isnan(scores)).tolist():
        if alarm.step(float(scores[row]), row) == "ended":
            found.append((alarm.first, alarm.last))
    return [*found, *([(alarm.first, alarm.last)] if alarm.open else [])]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Join the entities of `alarms`: a row per detector and rule.

    False alarms are counted over all machine-days, ``found`` and ``announced`` over all events;
    shares and delays are means over entities.
    """
    units = {"false_alarms_per_day": "days", "found": "events", "announced": "events"}
    parts = rows.assign(**{name: rows[name] * rows[unit] for name, unit in units.items()})
    groups = parts.groupby(["detector", "rule"], sort=False)
    total, means = groups[["days", "events", *units]].sum(), groups[["share", "delay"]].mean()
    return means.assign(**{name: total[name] / total[unit] for name, unit in units.items()})
