"""What a new machine gets: a network trained on others, or one of its own from few rows."""

import re
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lmmoe import training
from lmmoe.data.series import Floats, Series
from lmmoe.detectors import Detector, detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.detectors.scaling import Scaling
from lmmoe.errors import DataError
from lmmoe.metrics import alarm_budget
from lmmoe.mmoe import MMoE
from lmmoe.report import store
from lmmoe.report.evaluation import PER_DAY, evaluate
from lmmoe.report.experiment import FAILURES, Run, result
from lmmoe.report.measure import each
from lmmoe.report.names import OWN, SEEN, UNSEEN
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what this module measures changes
SUBJECT, L2 = "LightMMoE", "MTSExample"

AMOUNTS = {"first hour": 1 / 24, "first day": 1.0, "first week": 7.0}  # days
ALL = "all rows"
FOLDS = 3  # where entities have no groups
# Windows an epoch, drawn anew for each; our choice: the time of four machines of SMD. Of the
# embedded data few, so that the way is shown in seconds.
WINDOWS, FEW_WINDOWS = 100_000, 1_000
QUALITY = ("average_precision", "best_f1", "vus_pr", "point_f1_pa")
LIVE = ("events_found", "false_alarms_per_day", "normal_share")
NEW = ("dataset", "entity", "group", "learned", "rows", "method", *QUALITY, *LIVE, "error")


class Shared(Mixture):
    """A LightMMoE that begins with a network given: `fit` learns a machine's scaling alone."""

    @classmethod
    def on(cls, network: MMoE, rows: npt.ArrayLike, **settings: object) -> "Shared":
        """Put a network to work on a machine: learn its scaling from raw rows ``(t, c)``."""
        made = cls(**settings)
        made.network = network
        return made.fit(rows)

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        self.history = training.History()

    def _cut(self, rows: int) -> int:
        """The network has learned from none of these rows: all may set a threshold."""
        return 0


def train_shared(
    rows: list[Floats], *, seed: int = 0, most: int = WINDOWS, **settings: object
) -> MMoE:
    """Train LightMMoE's network on raw training rows ``(t, c)``, an array a machine, together.

    Each machine's rows are scaled by themselves; no window holds rows of two. ``most`` bounds the
    windows of an epoch; nothing stops training early. Raises `DataError` for too few rows,
    `RuntimeError` where training diverges.
    """
    like = detector(SUBJECT, seed=seed, **settings)
    if min(map(len, rows)) < like.min_rows:
        raise DataError(f"a machine with fewer rows than a window needs ({like.min_rows})")
    scaled = [torch.from_numpy(Scaling.of("z-score", one)(one).astype(np.float32)) for one in rows]
    generator = torch.Generator().manual_seed(seed)
    network = like._build(rows[0].shape[1], torch.Generator().manual_seed(seed))
    learner = like._learner(network, scaled[0][: like.window].T[None], generator)
    whole = torch.cat(scaled)
    inputs = training.windows(whole, like.window)
    # First rows of the windows that lie, with their target, within one machine.
    ends = np.cumsum([len(one) for one in rows])
    spans = zip(ends, rows, strict=True)
    within = [range(end - len(one), end - like.unscored) for end, one in spans]
    starts = torch.from_numpy(np.concatenate(within))
    for _ in range(like.epochs):
        learner.network.train()
        order = starts[torch.randperm(len(starts), generator=generator)[:most]]
        total = torch.zeros(())
        for chosen in order.split(like.batch):
            total += learner.step(inputs[chosen], whole[chosen + like.unscored]) * len(chosen)
        loss = float(total) / len(order)
        if not np.isfinite(loss):
            raise RuntimeError("training on all machines diverged: lower learning_rate")
        learner.end_epoch(loss)
    learner.network.eval()
    return learner.network


def groups(entities: list[str]) -> dict[str, str]:
    """Name each entity's group: "machine-2" of SMD's "machine-2-5"; else one of three folds."""
    if all(re.fullmatch(r"machine-\d+-\d+", entity) for entity in entities):
        return {entity: entity.rpartition("-")[0] for entity in entities}
    return {entity: f"fold {number % FOLDS + 1}" for number, entity in enumerate(entities)}


def table(profile: Profile) -> pd.DataFrame:
    """Measure all methods on all entities of a profile: a row each and amount, with `NEW`.

    One network is trained on the machines of the other groups (a group is held out at a time); the
    new machine learns its scaling from its first training rows, taken as normal, and nothing else.
    Beside it stand a model of its own from the same rows, the L2 norm and random scores, and last,
    with all rows, a network that saw the machine too. All is judged on the whole test half. Empty
    where there are fewer than two groups, or entities differ in channels or have no labels or days.
    """
    loaded = {entity: profile.load(entity) for entity in profile.present}
    usable = {name: one for name, one in loaded.items() if one.events and one.rows_per_day}
    group_of, seed = groups(list(usable)), profile.seeds[0]
    if len(set(group_of.values())) < 2 or len({s.train.shape[1] for s in usable.values()}) > 1:
        return pd.DataFrame([]).reindex(columns=["key", *NEW])
    most = FEW_WINDOWS if profile.dataset == "synthetic" else WINDOWS

    @cache
    def network(without: str) -> MMoE:
        """The network of the machines outside a group; of all for ""."""
        rows = [one.train for name, one in usable.items() if group_of[name] != without]
        return train_shared(rows, seed=seed, most=most)

    keep, lines, window = store.Table(profile.profile, "new_machine"), [], profile.vus_window
    for entity in each(list(usable), "new machines", "entity"):
        one, group = usable[entity], group_of[entity]
        shown = {"dataset": one.dataset, "entity": entity, "group": group}
        hidden = {"data": {name: (other.id, group_of[name]) for name, other in usable.items()}}
        hidden |= {"seed": seed, "most": most, "vus_window": window, "measured": VERSION}
        hidden |= {"rows_per_day": one.rows_per_day}
        work = partial(measured_new, one, network, group, window, seed)
        lines += keep.lines(shown, hidden, work)
    return pd.DataFrame(lines).reindex(columns=["key", *NEW])


def measured_new(
    series: Series, network: Callable[[str], MMoE], group: str, vus_window: int, seed: int
) -> list[store.Line]:
    """Measure each method, learned from each of `AMOUNTS` that is there, and from all rows.

    ``network`` gives the network of all machines but a group's; one that saw the machine is only
    measured with all rows.
    """
    ways: dict[str, Callable[[Floats], Detector]] = {
        UNSEEN: lambda few: Shared.on(network(group), few, seed=seed),
        SEEN: lambda few: Shared.on(network(""), few, seed=seed),
        # From all rows it is a run of this report, and kept.
        OWN: lambda few: (
            result(Run(series, SUBJECT, seed=seed)).detector
            if len(few) == len(series.train)
            else detector(SUBJECT, seed=seed).fit(few)
        ),
        L2: lambda few: detector(L2).fit(few),
        "random": lambda few: detector("random", seed=seed).fit(few),
    }
    wanted = {name: round(days * series.rows_per_day) for name, days in AMOUNTS.items()}
    there = {name: rows for name, rows in wanted.items() if rows < len(series.train)}
    lines = []
    for learned, rows in (there | {ALL: len(series.train)}).items():
        for method in ways if learned == ALL else [way for way in ways if way != SEEN]:
            line = {"learned": learned, "rows": rows, "method": method}
            try:
                made = ways[method](series.train[:rows])
                lines.append(line | judged(made, series, rows, vus_window))
            except FAILURES as error:
                lines.append(line | {"error": f"{type(error).__name__}: {error}"})
    return lines


def judged(made: Detector, series: Series, rows: int, vus_window: int) -> dict[str, float]:
    """Judge a fitted detector on the test half; alarms at a budget of one a day.

    The budget's threshold is set on the training rows that no network has learned from: all for
    one that came from elsewhere, the last tenth for one's own. ``normal_share`` is the share of the
    rows outside events above it: an alarm that never ends meets every event, and is not false.
    """
    scores, daily = made.decision_function(series.test), series.rows_per_day
    learned = made._cut(rows)
    # The first scores of a window are not their own.
    free = made.decision_scores_[max(made.unscored, learned if learned < rows else 0) :]
    given = {"vus_window": vus_window, "calibration": free, "rows_per_day": daily}
    found = evaluate(series.labels, scores, **given)
    quality = {name: float(found[name]) for name in QUALITY}
    quality |= {name: float(found[f"budget_{name}"]) for name in LIVE[:2]}
    above = scores > alarm_budget(free, daily, per_day=PER_DAY)
    return quality | {"normal_share": float(above[np.asarray(series.labels) == 0].mean())}


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over entities that every method and amount has: a row per amount and method."""
    good = rows[rows["error"].isna()]
    counted = good.groupby("entity").size()
    whole = good[good["entity"].isin(counted[counted == counted.max()].index)]
    joined = whole.groupby(["learned", "method"], sort=False)[[*QUALITY, *LIVE]].mean()
    joined.insert(0, "entities", whole["entity"].nunique())
    return joined.reset_index()
