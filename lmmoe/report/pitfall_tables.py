"""Make all pitfalls on a profile's entities: what each gives to whom, in tables."""

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe import progress
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import entry
from lmmoe.report import pitfalls
from lmmoe.report.evaluation import ADJUSTED, RANKING, evaluate
from lmmoe.report.experiment import FAILURES, Run
from lmmoe.report.names import METRIC_TITLES, title
from lmmoe.report.pitfall_outcomes import Outcome, Panel, catalogue, outcome
from lmmoe.report.pitfalls import Scored, composite_f1, judgeable
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import DIGITS

DETECTORS = ("LightMMoE", "MTSExample", "PCA", "random")
SEEDS = 5  # at least, of whatever is random (Garg et al., TNNLS 2021)
TITLES = METRIC_TITLES | {
    "best_affiliation_f1": "affiliation F1",  # always at its best threshold here
    "f1": "F1",
    "composite_f1": "composite F1",
}
COLUMNS = [
    *("number", "mistake", "group", "detector", "metric", "reported", "before", "after", "gain"),
    *("machines", "low", "high", "rank_before", "rank_after", "order_changes"),
]
SHORT = {"MTSExample": "L2 norm"}  # where columns are narrow


@dataclass(frozen=True, eq=False)
class Measured:
    """The panels of each pitfall by its title, one per detector that has numbers.

    ``floors``: every metric's means by detector, and of scores that are all equal or the row's
    index. ``failures``: what went wrong. Without labelled events all are empty.
    """

    panels: dict[str, list[Panel]] = field(default_factory=dict)
    floors: pd.DataFrame = field(default_factory=pd.DataFrame)
    failures: list[str] = field(default_factory=list)


def measure(profile: Profile, entities: list[str] | None = None) -> Measured:
    """Make every pitfall with every detector of `DETECTORS` on the entities that have both labels.

    Scores come from the cache, or are computed (`report.runs.result`). A run that fails costs the
    others nothing and is named under ``failures``.
    """
    chosen = entities or profile.present
    plan = [(name, seed) for name in DETECTORS for seed in seeds(profile, name)]
    labels, scores, metrics = {}, {}, []
    values: dict[tuple[str, str, str, int], dict[str, float]] = {}
    failures: dict[str, None] = {}  # in order, nothing twice
    with progress.bar(len(chosen) * len(plan), "pitfalls", unit="run") as bar:
        for series in map(profile.load, chosen):
            if not judgeable(series):
                bar.update(len(plan))
                continue
            labels[series.entity] = series.labels
            index = np.arange(len(series.labels), dtype=float)
            for name, trivial in (("constant", 0 * index), ("row index", index)):
                metrics.append(_metrics(name, series.labels, trivial, profile))
            for name, seed in plan:
                bar.set_postfix_str(f"{series.entity} {name} seed {seed}", refresh=False)
                bar.update()
                run = Run(series, name, "ours", seed, profile.detectors.get(name, {}))
                try:
                    one = Scored(run)
                    metrics.append(_metrics(name, one.labels, one.scores, profile))
                except FAILURES as error:
                    failures[f"{name} on {series.entity}: {_reason(error)}"] = None
                    continue
                scores[name, series.entity, seed] = one.scores
                first = seed == seeds(profile, name)[0]
                for title, made in _numbers(one, first=first, failures=failures).items():
                    values[title, name, series.entity, seed] = made
    if not labels:
        return Measured(failures=list(failures))
    panels = {title: [] for title in catalogue().index}
    for (title, only_first), name in product(catalogue()["first_seed_only"].items(), DETECTORS):
        places = [
            [(name, entity, seed) for entity in labels]
            for seed in seeds(profile, name)[: 1 if only_first else None]
        ]
        grid = [[values.get((title, *place), {}) for place in row] for row in places]
        settings = dict.fromkeys(key for row in grid for cell in row for key in cell)
        table = {
            key: np.array([[cell.get(key, np.nan) for cell in row] for row in grid])
            for key in settings
        }
        if table:
            kept = [[scores.get(place) for place in row] for row in places]
            known = (name, list(labels), group_of(list(labels)), table, list(labels.values()), kept)
            panels[title].append(Panel(*known))
    floors = pd.DataFrame(metrics).groupby("detector", sort=False).mean().T
    order = [name for name in ("constant", "row index", *DETECTORS) if name in floors]
    return Measured(panels, floors[order], list(failures))


def _numbers(one: Scored, *, first: bool, failures: dict[str, None]) -> dict[str, dict[str, float]]:
    """Every pitfall's numbers of one run, by title, but for those that fail."""
    found = {}
    for name, only_first in catalogue()["first_seed_only"].items():
        if first or not only_first:
            try:
                found[name] = getattr(pitfalls, name.replace(" ", "_"))(one)
            except FAILURES as error:
                run = f"{one.run.detector} on {one.series.entity}"
                failures[f"{name}, {run}: {_reason(error)}"] = None
    return found


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _metrics(name: str, labels: Bits, scores: Floats, profile: Profile) -> dict[str, object]:
    found = evaluate(labels, scores, vus_window=profile.vus_window)
    chosen = {metric: found[metric] for metric in (*RANKING, *ADJUSTED)}
    return {"detector": name} | chosen | {"composite_f1": composite_f1(labels, scores)}


def seeds(profile: Profile, name: str) -> list[int]:
    """The seeds of a detector: `SEEDS` where they make a difference, the profile's first."""
    if not entry(name).cls.seeded:
        return profile.seeds[:1]
    more = [seed for seed in range(SEEDS) if seed not in profile.seeds]
    return [*profile.seeds, *more][:SEEDS]


def group_of(entities: list[str]) -> list[str]:
    """The group of each entity: ``machine-1`` for SMD's ``machine-1-6``; one group elsewhere."""
    parts = [name.rsplit("-", 1) for name in entities]
    smd = all(len(part) == 2 and part[0].startswith("machine-") for part in parts)
    return [part[0] if smd else "all" for part in parts]


def resamples(known: npt.NDArray[np.bool_], *, draws: int = 10_000, seed: int = 0) -> Floats:
    """Draw the known entities with replacement: how often each was drawn, ``(draws, n)``."""
    places, counts = np.flatnonzero(known), np.zeros((draws, len(known)))
    chosen = np.random.default_rng(seed).integers(len(places), size=(draws, len(places)))
    np.add.at(counts, (np.arange(draws)[:, None], places[chosen]), 1)
    return counts


def turned(before: Floats, after: Floats) -> npt.NDArray[np.bool_]:
    """Tell of each resample whether two detectors (rows) change places, ``(r,)``; ties do not."""
    one, other = np.triu_indices(len(before), k=1)
    apart = np.round(before[one] - before[other], DIGITS)
    return (apart * np.round(after[one] - after[other], DIGITS) < 0).any(axis=0)


def tables(measured: Measured) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What each pitfall gives to each detector, and every number that was tried.

    First table: a row per pitfall and detector. ``before`` and ``after`` are means over entities
    (seeds averaged first) of ``metric`` and of what is ``reported`` in its place; ``gain`` is their
    difference, ``low`` and ``high`` bound it with 95 % bootstrap confidence over entities (NaN with
    one). ``machines`` counts the entities on which all detectors have all the pitfall's numbers:
    the others are left out for all. ``rank_before`` and ``rank_after`` are places among these
    detectors (1 is best, equals share the better place). ``order_changes``: the share of resamples
    in which at least two detectors stand the other way round after the pitfall.

    Second table: ``mistake``, ``detector``, ``setting`` and its ``value``, a mean over the same
    entities, also of the three pitfalls together.
    """
    gains, tried = [], []
    for name, pitfall in catalogue().iterrows():
        made = [
            (panel.detector, outcome(panel, pitfall)) for panel in measured.panels.get(name, [])
        ]
        found = [(detector, one) for detector, one in made if one.known.any()]
        common = np.logical_and.reduce([one.known for _, one in found] or [False])
        if not common.any():
            continue
        machines = int(common.sum())
        everyone = common[None].astype(float)
        for detector, one in found:
            for setting, mean in one.settings.items():
                tried.append((name, detector, setting, float(mean(everyone)[0]), machines))
        if pitfall["number"]:
            gains.append(_gains(name, pitfall, found, common))
    columns = ["mistake", "detector", "setting", "value", "machines"]
    made = pd.concat(gains, ignore_index=True) if gains else pd.DataFrame(columns=COLUMNS)
    return made[COLUMNS], pd.DataFrame(tried, columns=columns)


def _gains(
    name: str, pitfall: pd.Series, found: list[tuple[str, Outcome]], common: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    """The first table's rows of one pitfall; ``common`` ``(n,)`` are the entities that count."""
    counts = np.concatenate([common[None].astype(float), resamples(common)])
    before, after = (np.array([one[end](counts) for _, one in found]) for end in (0, 1))  # (d, 1+r)
    lines = pd.DataFrame({"detector": [detector for detector, _ in found]})
    lines["mistake"] = name
    lines[["number", "group", "metric", "reported"]] = pitfall[
        ["number", "group", "metric", "reported"]
    ].tolist()
    lines["before"], lines["after"] = before[:, 0], after[:, 0]
    lines["gain"], lines["machines"] = lines["after"] - lines["before"], int(common.sum())
    ends = np.nanquantile((after - before)[:, 1:], [0.025, 0.975], axis=1)
    lines["low"], lines["high"] = ends if common.sum() > 1 else np.nan * ends
    for when in ("before", "after"):
        lines[f"rank_{when}"] = lines[when].round(DIGITS).rank(ascending=False, method="min")
    lines["order_changes"] = float(turned(before[:, 1:], after[:, 1:]).mean())
    return lines


def readable(made: pd.DataFrame) -> pd.DataFrame:
    """The first table to read: a pitfall a row, a detector a column, "before → after" in the cells.

    *reorders* is ``order_changes``.
    """
    if made.empty:
        return pd.DataFrame()
    names = made[["metric", "reported"]].apply(
        lambda column: column.map(lambda x: TITLES.get(x, x))
    )
    same = names["metric"] == names["reported"]
    ends = made[["before", "after"]].map("{:.3f}".format)
    cells = made.assign(
        cell=ends["before"] + " → " + ends["after"],
        metric=names["metric"].where(same, names["metric"] + " → " + names["reported"]),
        reorders=made["order_changes"].map("{:.0%}".format),
    )
    index = ["number", "mistake", "metric", "reorders"]
    wide = cells.pivot_table(
        index=index, columns="detector", values="cell", aggfunc="first", sort=False
    )
    wide = wide.reset_index().set_index(["number", "mistake"]).rename_axis(columns=None)
    order = [name for name in wide if name not in index]
    wide = wide[["metric", *order, "reorders"]]
    return wide.rename(columns=SHORT).rename_axis(index={"mistake": "pitfall"})


def floors(measured: Measured) -> pd.DataFrame:
    """What each metric gives to whom (`Measured.floors`), under titles."""
    order = [name for name in TITLES if name in measured.floors.index]
    return measured.floors.loc[order].rename(index=TITLES, columns=title)
