"""What a machine gets that no training has seen: in its first hour, day and week, and later.

One network is trained on the machines of the other groups (a group is held out at a time), each
scaled by itself; the new machine learns its scaling from its first rows and nothing else. Beside it
stand a model of its own from the same rows, the L2 norm and random scores, and last, with all rows,
a network that saw the machine too. First rows are those of the training half, taken as normal; all
is judged on the whole test half, so that the numbers differ by what was learned alone.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lmmoe import progress, training
from lmmoe.data.series import Floats, Series
from lmmoe.detectors import Detector, detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.detectors.scaling import Scaling
from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget, alarms, average_precision, best_f1s, vus
from lmmoe.mmoe import MMoE
from lmmoe.report import kept
from lmmoe.report.evaluation import PER_DAY
from lmmoe.report.params import Profile
from lmmoe.report.runs import FAILURES, Run, result

VERSION = 1  # raise it when what this module measures changes
AMOUNTS = {"first hour": 1 / 24, "first day": 1.0, "first week": 7.0}  # days
ALL = "all rows"
UNSEEN, SEEN, OWN = "one for all, machine unseen", "one for all, machine seen", "own model"
FOLDS = 3  # where entities have no groups
# Windows an epoch, drawn anew for each; our choice: the time of four machines of SMD. Of the
# embedded data few, so that the way is shown in seconds.
MOST, FEW = 100_000, 1_000
QUALITY = ("average_precision", "best_f1", "vus_pr", "point_f1_pa")
LIVE = ("events_found", "false_alarms_per_day", "normal_share")
COLUMNS = ("dataset", "entity", "group", "learned", "rows", "method", *QUALITY, *LIVE, "error")


class Shared(Mixture):
    """A LightMMoE that begins with a network given: `fit` learns a machine's scaling alone."""

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        self.history = training.History()

    def _cut(self, rows: int) -> int:
        """The network has learned from none of these rows: all may set a threshold."""
        return 0


def shared(network: MMoE, rows: npt.ArrayLike, **settings: object) -> Shared:
    """Put a network to work on a machine: learn its scaling from raw rows ``(t, c)``."""
    made = Shared(**settings)
    made.network = network
    return made.fit(rows)


def train(
    machines: Sequence[npt.ArrayLike], *, seed: int = 0, most: int = MOST, **settings: object
) -> MMoE:
    """Train LightMMoE's network on raw training rows ``(t, c)`` of several machines together.

    Each machine's rows are scaled by themselves; no window holds rows of two. ``most`` bounds the
    windows of an epoch. ``settings`` are LightMMoE's; nothing stops training early.

    Raises `DataError` for no machine, machines of different channels or too few rows.
    """
    like = detector("LightMMoE", seed=seed, **settings)
    rows = [np.asarray(each, dtype=np.float64) for each in machines]
    if not rows or len({each.shape[1:] for each in rows}) != 1:
        raise DataError("machines without rows, or with different channels: no network for all")
    if min(map(len, rows)) < like.min_rows:
        raise DataError(f"a machine with fewer rows than a window needs ({like.min_rows})")
    scaled = [
        torch.from_numpy(Scaling.of("z-score", each)(each).astype(np.float32)) for each in rows
    ]
    generator = torch.Generator().manual_seed(seed)
    network = like._build(rows[0].shape[1], torch.Generator().manual_seed(seed))
    learner = like._learner(network, scaled[0][: like.window].T[None], generator)
    whole = torch.cat(scaled)
    inputs = training.windows(whole, like.window)
    # First rows of the windows that lie, with their target, within one machine.
    ends = np.cumsum([len(each) for each in rows])
    starts = torch.cat(
        [
            torch.arange(end - len(each), end - like.min_rows + 1)
            for each, end in zip(rows, ends, strict=True)
        ]
    )
    for _ in range(like.epochs):
        learner.network.train()
        order = starts[torch.randperm(len(starts), generator=generator)[:most]]
        total = torch.zeros(())
        for chosen in order.split(like.batch):
            goal = whole[chosen + like.unscored]
            total += learner.step(inputs[chosen], goal) * len(chosen)
        loss = float(total) / len(order)
        if not np.isfinite(loss):
            raise RuntimeError("training on all machines diverged: lower learning_rate")
        learner.end_epoch(loss)
    learner.network.eval()
    return learner.network


def groups(entities: list[str]) -> dict[str, str]:
    """Name each entity's group: "machine-2" of SMD's "machine-2-5"; else one of three folds."""
    named = [re.fullmatch(r"(machine-\d+)-\d+", entity) for entity in entities]
    if all(named):
        return {entity: found[1] for entity, found in zip(entities, named, strict=True)}
    return {entity: f"fold {number % FOLDS + 1}" for number, entity in enumerate(entities)}


def table(profile: Profile) -> pd.DataFrame:
    """Measure all methods on all entities of a profile: a row each and amount, `COLUMNS`.

    Empty where there are fewer than two groups, or entities differ in channels or have no labels
    or no days. What the published table knows is not measured again; nor is a network trained that
    no row needs.
    """
    loaded = {entity: profile.load(entity) for entity in profile.present}
    usable = {name: one for name, one in loaded.items() if one.events and one.rows_per_day}
    group_of, seed = groups(list(usable)), profile.seeds[0]
    same_channels = len({one.train.shape[1] for one in usable.values()}) == 1
    if len(set(group_of.values())) < 2 or not same_channels:
        return pd.DataFrame(columns=["key", *COLUMNS])
    most = FEW if profile.dataset == "synthetic" else MOST

    @cache
    def network(without: str) -> MMoE:
        """The network of the machines outside a group; of all for ""."""
        rows = [one.train for name, one in usable.items() if group_of[name] != without]
        return train(rows, seed=seed, most=most)

    keep, lines = kept.Kept(profile.profile, "new_machine"), []
    with progress.bar(len(usable), "new machines", unit="entity") as bar:
        for entity, one in usable.items():
            bar.set_postfix_str(entity, refresh=False)
            shown = {"dataset": one.dataset, "entity": entity, "group": group_of[entity]}
            hidden = {
                "data": {name: (each.id, group_of[name]) for name, each in usable.items()},
                "seed": seed,
                "most": most,
                "vus_window": profile.vus_window,
                "rows_per_day": one.rows_per_day,
                "measured": VERSION,
            }
            lines += keep.lines(
                shown,
                hidden,
                lambda one=one, group=group_of[entity]: [
                    line
                    for name, rows in amounts(one)
                    for line in measured(
                        one, name, rows, network, group, vus_window=profile.vus_window, seed=seed
                    )
                ],
            )
            bar.update()
    return pd.DataFrame(lines).reindex(columns=["key", *COLUMNS])


def amounts(series: Series) -> list[tuple[str, int]]:
    """Name how much is learned from, with the number of rows; what is there only in part is not."""
    wanted = {name: round(days * series.rows_per_day) for name, days in AMOUNTS.items()}
    there = [(name, rows) for name, rows in wanted.items() if rows < len(series.train)]
    return [*there, (ALL, len(series.train))]


def measured(
    series: Series,
    learned: str,
    rows: int,
    network: Callable[[str], MMoE],
    group: str,
    *,
    vus_window: int,
    seed: int,
) -> list[dict[str, object]]:
    """Measure each method, learned from the first ``rows``; the seen network only from all.

    ``network`` gives the network of all machines but a group's. A method that cannot learn from so
    few rows has ``error`` in place of numbers.
    """
    few = series.train[:rows]
    ways: dict[str, Callable[[], Detector]] = {
        UNSEEN: lambda: shared(network(group), few, seed=seed),
        SEEN: lambda: shared(network(""), few, seed=seed),
        # From all rows it is a run of this report, and kept.
        OWN: lambda: (
            result(Run(series, "LightMMoE", seed=seed)).detector
            if learned == ALL
            else detector("LightMMoE", seed=seed).fit(few)
        ),
        "MTSExample": lambda: detector("MTSExample").fit(few),
        "random": lambda: detector("random", seed=seed).fit(few),
    }
    lines = []
    for method, make in ways.items():
        if method == SEEN and learned != ALL:
            continue
        line = {"learned": learned, "rows": rows, "method": method}
        try:
            lines.append(line | judged(make(), series, rows, vus_window))
        except FAILURES as error:
            # A method that cannot learn from so few rows must not cost the others.
            lines.append(line | {"error": f"{type(error).__name__}: {error}"})
    return lines


def judged(made: Detector, series: Series, rows: int, vus_window: int) -> dict[str, float]:
    """Judge a fitted detector on the test half; alarms at a budget of one a day.

    The budget's threshold is set on the training rows that no network has learned from: all for
    one that came from elsewhere, the last tenth for one's own. ``normal_share`` is the share of the
    rows outside events above it: an alarm that never ends meets every event, and is not false.
    """
    scores = made.decision_function(series.test)
    data = {"labels": series.labels, "scores": scores}
    f1s = best_f1s(**data, adjust=[None, "point"])
    learned = made._cut(rows) if hasattr(made, "_cut") else 0
    # The first scores of a window are not their own.
    first = max(getattr(made, "unscored", 0), learned if learned < rows else 0)
    free = made.decision_scores_[first:]
    threshold = alarm_budget(free, series.rows_per_day, per_day=PER_DAY)
    found = alarms(**data, threshold=threshold, rows_per_day=series.rows_per_day)
    return {
        "average_precision": float(average_precision(**data)),
        "best_f1": float(f1s[None].f1),
        "vus_pr": float(vus(**data, window=vus_window).pr),
        "point_f1_pa": float(f1s["point"].f1),
        "events_found": float(found.events_found),
        "false_alarms_per_day": float(found.false_alarms_per_day),
        "normal_share": float((scores[np.asarray(series.labels) == 0] > threshold).mean()),
    }


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over entities that every method and amount has: a row per amount and method."""
    good = rows[rows["error"].isna()]
    counted = good.groupby("entity").size()
    whole = good[good["entity"].isin(counted[counted == counted.max()].index)]
    joined = whole.groupby(["learned", "method"], sort=False)[[*QUALITY, *LIVE]].mean()
    joined.insert(0, "entities", whole["entity"].nunique())
    return joined.reset_index()
