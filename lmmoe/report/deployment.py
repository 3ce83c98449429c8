"""Alarms of live streams, for notebook 07: one explained, and those of each rule counted."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe.data.series import Floats, Series
from lmmoe.live.alarms import DAY, episodes
from lmmoe.live.model import Facts, Model
from lmmoe.report import store
from lmmoe.report.experiment import Run, measurements, result
from lmmoe.report.names import NON_CAUSAL, detector_of
from lmmoe.report.profile import Profile
from lmmoe.segments import runs

VERSION = 2  # raise it when what this module measures changes
RULES = ("alarms:2", "alarms:1", "budget:1", "quantile:0.99", "pot:0.0001")
TURNS = 20  # parts of the test half by which alarms are moved to see what chance announces
COLUMNS = ("key", "dataset", "entity", "detector", "settings", "seed", "rule", "threshold")
COLUMNS += ("announced", "chance", "found", "false_alarms_per_day", "share", "delay")
COLUMNS += ("days", "events", "error")
AROUND, TOP = 60, 6  # rows on each side of an alarm explained, channels named


def model_of(run: Run) -> Model:
    """Give a run's detector, from the cache where it is known, with the facts of its rows."""
    one = run.series
    facts = Facts.of(one.train, one.channels, rows_per_day=one.rows_per_day)
    return Model(result(run).detector, facts)


class Incident(NamedTuple):
    """A day of the test half, rows ``start`` to ``end``, with the alarm that opens at ``row``.

    ``scores`` ``(t,)``, the alarm's ``levels`` ``(t,)`` and ``alarms``, first row of each and row
    after the last, are of the whole half. ``shares`` are the highest shares of the score of ``row``
    by channel, ``near`` what was "observed" and "forecast", by rows from ``row``.
    """

    start: int
    end: int
    row: int
    scores: Floats
    alarms: list[tuple[int, int]]
    levels: Floats
    shares: pd.Series
    near: pd.DataFrame


def incident(model: Model, series: Series, rule: str) -> Incident:
    """Explain the first alarm of a rule that opens in an event, and show a day around it.

    Where none does, the first alarm; where there is none, the row with the highest score.
    """
    made, test, (units, alarm) = model.detector, series.test, model.alarm(rule)
    scores = made.decision_function(test)
    levels, inside = np.empty(len(scores)), np.empty(len(scores), dtype=bool)
    for now, score in enumerate(units(scores).tolist()):
        levels[now] = units.score(alarm.level_at(now))
        alarm.step(score, now)
        inside[now] = alarm.open
    found = runs(inside)
    real = [a for a, _ in found if any(start <= a < end for start, end in series.events)]
    row = [*real, *(a for a, _ in found), int(scores.argmax())][0]
    day = int(min(series.rows_per_day or 1000, len(test)))
    start = min(max(row - day // 3, 0), len(test) - day)
    errors = pd.Series(made.channel_scores(test)[row], list(series.channels))
    shares = (errors / errors.sum()).nlargest(TOP)
    observed = pd.DataFrame(test, np.arange(len(test)) - row, errors.index)
    forecast = pd.DataFrame(made.forecasts(test), observed.index[made.unscored :], errors.index)
    near = pd.concat({"observed": observed, "forecast": forecast}, axis=1).loc[-AROUND:AROUND]
    return Incident(start, start + day, row, scores, found, levels, shares, near)


def alarms(profile: Profile) -> pd.DataFrame:
    """Count the alarms of detectors with a live score on every labelled entity: `COLUMNS`.

    A row for each of `RULES`, of the profile's first seed. Scores are the batch's, which live ones
    equal. Empty where a day's rows are not known.
    """

    def wanted(run: Run) -> bool:
        known = run.series.judgeable and run.series.rows_per_day is not None
        return run.protocol == "ours" and known and detector_of(run.detector) not in NON_CAUSAL

    def hidden(run: Run) -> store.Line:
        return {"rules": RULES, "rows_per_day": run.series.rows_per_day, "measured": VERSION}

    def measure(run: Run) -> list[store.Line]:
        made = model_of(run), result(run).scores
        return [counted(run.series, *made, rule) for rule in RULES]

    return measurements(profile, "live", wanted, hidden, measure).reindex(columns=[*COLUMNS])


def counted(series: Series, model: Model, scores: Floats, rule: str) -> store.Line:
    """Count what a rule makes of scores ``(t,)`` of the test half, as an operator would.

    Its ``threshold`` at the start; the share of events ``announced``: an alarm opens in the event,
    in its first hour where it is longer; those announced by ``chance``, by the same alarms at other
    times; those ``found``: there is an alarm at any time in the event; false alarms, which open
    outside events; the ``share`` of normal time in alarm; ``delay``, the median minutes from the
    start of an announced event to its alarm. An alarm that is still the same opens no second time.
    """
    units, alarm = model.alarm(rule)
    level, rows, inside = units.score(alarm.level), len(scores), np.zeros(len(scores), dtype=bool)
    spans = list(episodes(units(scores), alarm))
    for first, end, _ in spans:
        inside[first:end] = True
    opens = np.array([first for first, _, new in spans if new], dtype=int)
    minutes, normal = DAY / series.rows_per_day, np.asarray(series.labels) == 0
    starts, ends = np.array(series.events).T
    ends = np.minimum(ends, starts + max(1, round(60 / minutes)))

    def waits(opens: np.ndarray) -> np.ndarray:
        """Rows from the start of each event announced to its alarm."""
        opens = np.sort(opens)
        next_one = np.append(opens, 2 * rows)[np.searchsorted(opens, starts)]
        return (next_one - starts)[next_one < ends]

    others = [waits((opens + rows * turn // TURNS) % rows) for turn in range(1, TURNS)]
    found, days = [inside[start:end].any() for start, end in series.events], rows * minutes / DAY
    return {
        "rule": rule,
        "threshold": level,
        "announced": len(waits(opens)) / len(starts),
        "chance": float(np.mean([len(one) for one in others])) / len(starts),
        "found": float(np.mean(found)),
        "false_alarms_per_day": int(normal[opens].sum()) / days,
        "share": float(inside[normal].mean()),
        "delay": float(np.median(waits(opens))) * minutes if len(waits(opens)) else np.nan,
        "days": days,
        "events": len(starts),
    }


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Join the entities of `alarms`: a row per rule and detector, which announces most first.

    False alarms are counted over all days, ``announced`` and ``chance`` over all events; shares are
    means over entities, delays medians.
    """
    units = {"announced": "events", "chance": "events", "false_alarms_per_day": "days"}
    good = rows[rows["error"].isna()]
    parts = good.assign(**{name: good[name] * good[unit] for name, unit in units.items()})
    groups = parts.groupby(["rule", "detector"], sort=False)
    total = groups[["days", "events", *units]].sum()
    table = pd.DataFrame({name: total[name] / total[unit] for name, unit in units.items()})
    table["share"], table["delay"] = groups["share"].mean(), groups["delay"].median()
    order = table.sort_values("announced", ascending=False, kind="stable").index
    return table.loc[sorted(order, key=lambda one: RULES.index(one[0]))]
