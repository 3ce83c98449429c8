"""Which events which detectors find, over all entities."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from lmmoe.report.plots.style import title
from lmmoe.report.statistics import largest_block

BLIND = ("random", "row index")  # they look at no data: what they find is chance


def found_events(
    rows: pd.DataFrame, protocol: str, fleet: Mapping[str, Sequence[tuple[int, int]]]
) -> pd.DataFrame:
    """Tell for each labelled event (rows) and each detector (columns) whether it is found.

    ``fleet`` gives each entity's events as (first row, row after the last). Found means that an
    alarm of the budget lies in the event (`report.evaluation.events_found`), at a detector's lowest
    seed. The index holds ``entity``, ``first row`` and ``rows``. Only entities and detectors
    without a gap count (`lmmoe.report.statistics.largest_block`): failures and detectors without a
    threshold are left out. Raises `ValueError` where a row tells of another number of events.
    """
    chosen = rows[
        (rows["protocol"] == protocol) & rows["entity"].map(lambda one: bool(fleet.get(one)))
    ]
    chosen = chosen[~chosen["found_events"].isin(["", math.nan])]
    first = chosen.sort_values("seed", kind="stable").drop_duplicates(["detector", "entity"])
    digits = first.pivot(index="entity", columns="detector", values="found_events")
    block = largest_block(digits)
    parts = {entity: _events(entity, line, fleet[entity]) for entity, line in block.iterrows()}
    names = ["entity", "first row", "rows"]
    if not parts:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[]] * 3, names=names))
    return pd.concat([parts[entity] for entity in fleet if entity in parts]).rename_axis(names)


def _events(entity: str, line: pd.Series, events: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """One entity's part: ``line`` holds a digit per event for each detector."""
    for name, digits in line.items():
        if len(digits) != len(events):
            raise ValueError(f"{name} on {entity}: {len(digits)} digits for {len(events)} events")
    index = [(entity, start, end - start) for start, end in events]
    hits = {name: [digit == "1" for digit in digits] for name, digits in line.items()}
    return pd.DataFrame(hits, index=pd.MultiIndex.from_tuples(index))


def finders(found: pd.DataFrame) -> pd.Series:
    """Count for each event of `found_events` the detectors that find it, chance (`BLIND`) not."""
    return found.drop(columns=list(BLIND), errors="ignore").sum(axis=1).astype(int)


def hard_events(found: pd.DataFrame) -> pd.DataFrame:
    """List the events of `found_events` that nobody, or a single detector, finds: ``found by``."""
    hard = found.drop(columns=list(BLIND), errors="ignore")[finders(found) <= 1]
    by = [
        next((title(name) for name in hard if line[name]), "nobody") for _, line in hard.iterrows()
    ]
    table = pd.DataFrame({"found by": by}, index=hard.index)
    return table.sort_values("found by", key=lambda names: names != "nobody", kind="stable")


def events_in_words(found: pd.DataFrame) -> str:
    """How many events nobody, one and all detectors find, and how many random scores do."""
    count, able = finders(found), [name for name in found if name not in BLIND]
    if not len(found) or not able:
        return "No labelled events, or no detector with a threshold that needs no labels."
    shares = {
        "nobody finds": (count == 0).sum(),
        "a single one": (count == 1).sum(),
        "all of them": (count == len(able)).sum(),
    }
    parts = [f"{who} {number} ({number / len(found):.0%})" for who, number in shares.items()]
    chance = f" Random scores find {found['random'].mean():.0%}." if "random" in found else ""
    entities = found.index.get_level_values("entity").nunique()
    return (
        f"{len(found)} labelled events on {entities} entities and {len(able)} detectors with a "
        f"threshold that no label touched: {', '.join(parts)}.{chance}"
    )
