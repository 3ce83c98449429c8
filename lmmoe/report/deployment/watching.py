"""Alarms of live streams under each rule for thresholds, on all entities of a profile, kept."""

from importlib.metadata import version

import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.report.deployment import alarms_measured as measure
from lmmoe.report.deployment import kept
from lmmoe.report.params import Profile
from lmmoe.report.runs import Run

VERSION = 1  # raise it when what this module measures changes
DETECTORS = ("LightMMoE", "MTSExample")
PROTOCOL = "ours"  # the one that holds rows back, by which thresholds are set
COLUMNS = (
    *("dataset", "entity", "detector", "seed", "rule", "threshold", "last_threshold"),
    *("promised_share", "share", "promised_per_day", "alarms_per_day", "false_alarms_per_day"),
    *("days", "events", "found", "announced", "delay", "difference"),
)


def table(profile: Profile) -> pd.DataFrame:
    """Watch every labelled entity with the profile's `DETECTORS`: a row per entity, detector, rule.

    Columns as in `alarms_measured`. Empty where a day's rows are not known. What the published
    table knows is not watched again.
    """
    keep, rows = kept.Kept(profile.profile, "live"), []
    names = [name for name in DETECTORS if name in profile.detectors]
    with progress.bar(len(profile.present), "live streams", unit="entity") as bar:
        for entity in profile.present:
            bar.set_postfix_str(entity, refresh=False)
            series = profile.load(entity)
            if series.rows_per_day and series.events:
                for name in names:
                    rows += _watched(profile, series, name, keep)
            bar.update()
    return kept.table(rows, COLUMNS)


def _watched(
    profile: Profile, series: Series, name: str, keep: kept.Kept
) -> list[dict[str, object]]:
    run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
    names = ("dataset", "entity", "detector", "seed")
    shown = {key: run.identity[key] for key in names}
    hidden = {"run": run.key, "rules": measure.RULES, "rows_per_day": series.rows_per_day}
    hidden |= {"measured": VERSION, "numpy": version("numpy")}

    def watch() -> list[dict[str, object]]:
        lines = measure.table([run]).drop(columns=list(names)).to_dict("records")
        return [kept.plain(line) for line in lines]

    return keep.lines(shown, hidden, watch)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Join a `table`'s entities (`alarms_measured.summary`): a row per detector and rule."""
    return rows if rows.empty else measure.summary(rows)
