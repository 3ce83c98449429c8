"""What a machine gets that no training has seen: in its first hour, day and week, and later.

One network is trained on the machines of the other groups (a group is held out at a time), each
scaled by itself; the new machine learns its scaling from its first rows and nothing else. Beside it
stand a model of its own from the same rows, the L2 norm and random scores, and last, with all rows,
a network that saw the machine too. First rows are those of the training half, taken as normal; all
is judged on the whole test half, so that the numbers differ by what was learned alone.
"""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.mmoe import MMoE
from lmmoe.report.deployment import first_rows, fleet, kept
from lmmoe.report.deployment.first_rows import LIVE, QUALITY, amounts
from lmmoe.report.params import Profile

VERSION = 1  # raise it when what this module measures changes
FOLDS = 3  # where entities have no groups
COLUMNS = ("dataset", "entity", "group", "learned", "rows", "method", *QUALITY, *LIVE, "error")


def groups(entities: list[str]) -> dict[str, str]:
    """Name each entity's group: "machine-2" of SMD's "machine-2-5"; else one of three folds."""
    named = [re.fullmatch(r"(machine-\d+)-\d+", entity) for entity in entities]
    if all(named):
        return {entity: found[1] for entity, found in zip(entities, named, strict=True)}
    return {entity: f"fold {number % FOLDS + 1}" for number, entity in enumerate(entities)}


def table(profile: Profile) -> pd.DataFrame:
    """Measure all methods on all entities of a profile: a row each and amount, `COLUMNS`.

    Empty where there are fewer than two groups, or entities differ in channels or have no labels
    or no days. What the published table knows is not measured again; nor is a network
    trained that no row needs.
    """
    keep, series = kept.Kept(profile.profile, "new_machine"), _usable(profile)
    of_group = groups(list(series))
    if len(set(of_group.values())) < 2:
        return kept.table([], COLUMNS)
    networks, seed = _Networks(series, of_group, profile.seeds[0]), profile.seeds[0]
    rows = []
    with progress.bar(len(series), "new machines", unit="entity") as bar:
        for entity, one in series.items():
            bar.set_postfix_str(entity, refresh=False)
            shown = {"dataset": one.dataset, "entity": entity, "group": of_group[entity]}
            hidden = {
                "data": {name: (each.id, of_group[name]) for name, each in series.items()},
                "seed": seed,
                "vus_window": profile.vus_window,
                "rows_per_day": one.rows_per_day,
                "measured": VERSION,
            }
            rows += keep.lines(shown, hidden, _measuring(one, networks, profile.vus_window, seed))
            bar.update()
    return kept.table(rows, COLUMNS)


def _usable(profile: Profile) -> dict[str, Series]:
    """Entities with labels and days, of as many channels as the first."""
    found = {entity: profile.load(entity) for entity in profile.present}
    good = {
        entity: one
        for entity, one in found.items()
        if one.labels is not None and one.events and one.rows_per_day
    }
    first = next(iter(good.values()), None)
    same = {e: one for e, one in good.items() if one.train.shape[1] == first.train.shape[1]}
    return same if len(same) == len(good) else {}


class _Networks:
    """The networks for all, each trained when it is first asked for."""

    def __init__(self, series: dict[str, Series], of_group: dict[str, str], seed: int) -> None:
        self.series, self.of_group, self.seed = series, of_group, seed
        self.made: dict[str, MMoE] = {}

    def without(self, group: str) -> MMoE:
        """The network of the machines outside a group; of all for ""."""
        if group not in self.made:
            rows = [s.train for entity, s in self.series.items() if self.of_group[entity] != group]
            self.made[group] = fleet.train(rows, seed=self.seed)
        return self.made[group]

    def unseen(self, entity: str) -> MMoE:
        """The network that no machine of the entity's group was in."""
        return self.without(self.of_group[entity])

    def seen(self) -> MMoE:
        """The network of all machines."""
        return self.without("")


def _measuring(
    series: Series, networks: _Networks, vus_window: int, seed: int
) -> Callable[[], list[dict[str, object]]]:
    def measure() -> list[dict[str, object]]:
        return [
            kept.plain({"learned": name, "rows": rows} | line)
            for name, rows in amounts(series)
            for line in first_rows.lines(
                series,
                rows,
                unseen=lambda: networks.unseen(series.entity),
                seen=networks.seen,
                vus_window=vus_window,
                seed=seed,
            )
        ]

    return measure


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over entities that every method and amount has: a row per amount and method."""
    good = rows[rows["error"].isna()]
    numbers = [*QUALITY, *LIVE]
    counted = good.groupby("entity").size()
    whole = good[good["entity"].isin(counted[counted == counted.max()].index)]
    joined = whole.groupby(["learned", "method"], sort=False)[numbers].mean().reset_index()
    joined.insert(2, "entities", len(np.unique(whole["entity"])))
    return joined
