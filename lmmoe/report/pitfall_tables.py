"""Make all pitfalls on a profile's entities: what each gives to whom, in tables.

Every number is a statistic of the entities drawn: a function from how often each was drawn,
``(r, n)``, to ``(r,)``. So one bootstrap serves all of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe import progress
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import entry
from lmmoe.metrics import alarms, best_f1
from lmmoe.report import pitfalls
from lmmoe.report.evaluation import ADJUSTED, RANKING, evaluate
from lmmoe.report.params import Profile
from lmmoe.report.pitfalls import HELD_OUT, Scored, composite_f1, judgeable
from lmmoe.report.plots.style import METRIC_TITLES, title
from lmmoe.report.runs import FAILURES, Run
from lmmoe.report.statistics import DIGITS
from lmmoe.segments import segments

DETECTORS = ("LightMMoE", "MTSExample", "PCA", "random")
SEEDS = 5  # at least, of whatever is random (Garg et al., TNNLS 2021)
KINDS = ("mean of entities", "mean of groups", "of mean P and R", "pooled counts", "one threshold")
# Which machines of SMD others reported: InterFusion (KDD 2021; the files of its repository),
# TranAD (VLDB 2022; its issue 17), TSB-AD-M (NeurIPS 2024; its evaluation list, by length).
PUBLISHED = {
    "InterFusion": "1-1 1-6 1-7 2-1 2-2 2-7 2-8 3-3 3-4 3-6 3-8 3-11",
    "TranAD": "1-1 2-1 3-2 3-7",
    "TSB-AD": "1-2 1-3 1-4 1-5 1-7 2-1 2-2 2-3 2-6 2-7 2-8 3-1 3-2 3-4 3-6 3-7 3-8 3-9 3-10 3-11",
}
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

Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True, eq=False)
class Panel:
    """The numbers of one pitfall and one detector. Axes: s seeds, n entities.

    ``values`` holds ``(s, n)`` numbers by setting, NaN where a run failed or a number is not
    defined; ``labels`` ``(n,)`` and ``scores`` ``(s, n)`` are lists of arrays, None where missing.
    """

    detector: str
    entities: list[str]
    groups: list[str]
    values: dict[str, Floats]
    labels: list[Bits]
    scores: list[list[Floats | None]]

    def means(self) -> dict[str, Floats]:
        """Every setting's numbers ``(n,)``, seeds averaged."""
        return {name: nan_mean(values, axis=0) for name, values in self.values.items()}


class Outcome(NamedTuple):
    """Both numbers as statistics, and all that was tried likewise.

    ``known`` ``(n,)`` marks the entities that have all of them: no others may be drawn.
    """

    before: Statistic
    after: Statistic
    known: npt.NDArray[np.bool_]
    settings: dict[str, Statistic]


def mean_over(values: Floats, counts: Floats, among: npt.ArrayLike = 1) -> Floats:
    """Mean of values ``(n,)`` over the entities drawn, or those ``among`` them; NaN of none.

    ``counts`` is ``(r, n)``; an entity without a value must not be drawn.
    """
    weights = counts * np.asarray(among)
    total = weights.sum(axis=1)
    sums = weights @ np.nan_to_num(values)
    return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)


def nan_mean(values: npt.ArrayLike, axis: int | None = None) -> Floats:
    """Mean of the numbers that are there; NaN, without a warning, where there is none."""
    values = np.asarray(values, dtype=float)
    count = np.isfinite(values).sum(axis=axis)
    sums = np.where(np.isfinite(values), values, 0).sum(axis=axis)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


# --- What is compared ---


def compared(panel: Panel, before: str | Floats, after: str | Floats) -> Outcome:
    """Compare the means of two settings, or of arrays ``(n,)`` made of them."""
    means = panel.means()
    pair = [means[one] if isinstance(one, str) else one for one in (before, after)]
    known = np.isfinite([*pair, *means.values()]).all(axis=0)
    tried = {name: partial(mean_over, values) for name, values in means.items()}
    return Outcome(*(partial(mean_over, values) for values in pair), known, tried)


def best_setting(tried: dict[str, Floats], places: npt.ArrayLike) -> str:
    """The setting with the highest mean over some entities."""
    return max(tried, key=lambda name: float(np.nan_to_num(nan_mean(tried[name][places]), nan=-1)))


def quantile_or_best(panel: Panel) -> Outcome:
    """The quantile's F1 against the best one; and at one best threshold for all entities drawn."""

    def of_seed(scores: list[Floats | None], places: Iterable[int]) -> float:
        drawn = [(panel.labels[place], scores[place]) for place in places]
        if not drawn or any(values is None for _, values in drawn):
            return np.nan
        labels, values = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        cut = best_f1(labels=labels, scores=values).threshold
        below = np.nextafter(cut, -np.inf)  # its rows are flagged, too
        return np.mean([alarms(labels=y, scores=s, threshold=below).f1 for y, s in drawn])

    def one_for_all(counts: Floats) -> Floats:
        places = [np.repeat(np.arange(len(row)), row.astype(int)) for row in counts]
        return np.array([nan_mean([of_seed(row, p) for row in panel.scores]) for p in places])

    found = compared(panel, "quantile", "best")
    return found._replace(settings=found.settings | {"best, one for all": one_for_all})


def best_of_each_group(panel: Panel) -> Outcome:
    """Our level and rate against those with the best mean F1 in each group of entities."""
    tried, groups = panel.means(), np.array(panel.groups)
    after = np.full(len(groups), np.nan)
    for group in np.unique(groups):
        there = groups == group
        after[there] = tried[best_setting(tried, there)][there]
    return compared(panel, f"{pitfalls.LEVELS[0]:g} / {pitfalls.RATES[0]:g}", after)


def best_epoch(panel: Panel) -> Outcome:
    """All epochs against the best number of them for each entity, trained on the same rows.

    Where held-out rows end the training it also sees fewer rows: that is a setting of its own.
    """
    tried = panel.means()
    epochs = sorted(tried.keys() - {HELD_OUT}, key=int) or [HELD_OUT]
    return compared(panel, epochs[-1], np.fmax.reduce([tried[name] for name in epochs]))


def best_of_each_series(panel: Panel) -> Outcome:
    """One setting for all, chosen on a few entities and judged on the others, against each best.

    The few are the first entity of each of the first three groups; one alone chooses for itself.
    """
    tried = panel.means()
    first = [panel.groups.index(group) for group in dict.fromkeys(panel.groups)][:3]
    before = tried[best_setting(tried, first)].copy()
    if len(panel.entities) > len(first):
        before[first] = np.nan
    return compared(panel, before, np.fmax.reduce(list(tried.values())))


def averages(panel: Panel, seed: int) -> Statistic:
    """Make one Point F1 (PA) of many entities in the five ways of `KINDS`, ``(5, r)``.

    The mean of entities; the mean of groups' means; F1 of mean precision and mean recall (F1*); F1
    of hits, flagged and anomalous rows added up; one threshold for the rows of all entities.
    """
    parts = {name: values[seed] for name, values in panel.values.items()}
    groups, scores = np.array(panel.groups), panel.scores[seed]
    places = np.flatnonzero(np.isfinite(parts["f1"]))
    events = {n: segments(panel.labels[n]) for n in places}
    tops = {
        n: np.array([scores[n][a:b].max() for a, b in zip(*events[n], strict=True)]) for n in places
    }
    # Only the peaks of events need be tried: between two of them only false alarms are added.
    cuts = np.unique(np.concatenate([*tops.values(), []]))
    hits, false = np.zeros((2, len(groups), len(cuts)))
    for n in places:
        normal = np.sort(scores[n][panel.labels[n] == 0])
        hits[n] = (events[n][1] - events[n][0]) @ (tops[n][:, None] >= cuts)
        false[n] = len(normal) - np.searchsorted(normal, cuts, side="left")

    def of(counts: Floats) -> Floats:
        by_group = [mean_over(parts["f1"], counts, groups == group) for group in np.unique(groups)]
        precision, recall = (mean_over(parts[name], counts) for name in ("precision", "recall"))
        pooled = [counts @ np.nan_to_num(parts[name]) for name in ("hits", "flagged", "anomalous")]
        line = 2 * (counts @ hits) / (counts @ hits + counts @ false + pooled[2][:, None])
        return np.stack(
            [
                mean_over(parts["f1"], counts),
                nan_mean(by_group, axis=0),
                2 * precision * recall / (precision + recall),
                2 * pooled[0] / (pooled[1] + pooled[2]),
                line.max(axis=1),
            ]
        )

    return of


def highest_average(panel: Panel) -> Outcome:
    """The mean of entities against the highest of `KINDS`; seeds averaged."""
    known = np.isfinite(panel.values["f1"]).all(axis=0)
    seeds = [averages(panel, seed) for seed in range(len(panel.scores))]

    def mean(counts: Floats, pick: Callable[[Floats], Floats]) -> Floats:
        return pick(np.mean([one(counts) for one in seeds], axis=0))

    settings = {name: partial(mean, pick=lambda f, n=n: f[n]) for n, name in enumerate(KINDS)}
    return Outcome(settings[KINDS[0]], partial(mean, pick=partial(np.max, axis=0)), known, settings)


def some_entities(panel: Panel) -> Outcome:
    """All entities against InterFusion's where these are at hand, else the calmer half."""
    values, drift = (panel.means()[name] for name in ("average precision", "drift"))
    known = np.isfinite(values)
    calm = known & (drift <= np.median(drift[known]) if known.any() else False)
    settings = {"all": partial(mean_over, values)}
    settings["half that drifted least"] = shown = partial(mean_over, values, among=calm)
    for name, machines in PUBLISHED.items():
        reported = [f"machine-{number}" for number in machines.split()]
        there = np.isin(panel.entities, reported)
        if there.any():
            part = partial(mean_over, values, among=there)
            settings[f"{name}'s ({there.sum()} of {len(reported)} at hand)"] = part
            shown = part if name == "InterFusion" else shown
    return Outcome(settings["all"], shown, known, settings)


def best_of_seeds(panel: Panel) -> Outcome:
    """The mean of all seeds against the seed that is best over all entities."""
    values = panel.values["average precision"]  # (s, n)
    settings = {f"seed {n}": partial(mean_over, row) for n, row in enumerate(values, start=1)}
    settings["best seed of each entity"] = partial(mean_over, values.max(axis=0))

    def best(counts: Floats) -> Floats:
        return np.max([mean_over(row, counts) for row in values], axis=0)

    known = np.isfinite(values).all(axis=0)
    return Outcome(partial(mean_over, values.mean(axis=0)), best, known, settings)


def others_copied(panel: Panel) -> Outcome:
    """Every row by the same rules against rows from other rules; LightMMoE's own is run."""
    own = panel.detector == "LightMMoE"
    return compared(panel, "same rules", "same rules" if own else "other rules")


def without_the_longest(panel: Panel) -> Outcome:
    """Without the longest event against all events; and without one of the entities."""
    found, values = compared(panel, "longest left out", "all events"), panel.means()["all events"]

    def one_less(counts: Floats, pick: np.ufunc) -> Floats:
        means = [mean_over(values, counts, rest) for rest in 1 - np.eye(len(values))]  # (n, r)
        return pick.reduce(np.where(counts.T > 0, means, np.nan))

    picks = {"helps": np.fmin, "harms": np.fmax}
    more = {
        f"without the entity that {how} most": partial(one_less, pick=pick)
        for how, pick in picks.items()
    }
    return found._replace(settings=found.settings | more)


# Where before and after are no settings of the pitfall (`catalogue` names these).
COMPARED: dict[str, Callable[[Panel], Outcome]] = {
    "threshold chosen on test": quantile_or_best,
    "threshold rule tuned per group": best_of_each_group,
    "epoch chosen on test": best_epoch,
    "kindest average": highest_average,
    "some of the machines": some_entities,
    "a few long events": without_the_longest,
    "best seed": best_of_seeds,
    "copied baselines": others_copied,
    "settings picked on the judged series": best_of_each_series,
}


def catalogue() -> pd.DataFrame:
    """The twenty by title, in the order of their numbers; number 0 is three of them together.

    Columns ``number``, ``group``, what is ``wrong``, its ``source``, the ``question`` to ask of a
    paper, ``metric`` (the number before) and ``reported`` (after), both columns of the results
    table where it has them; ``axis`` names what the settings count, where they are numbers;
    ``before`` and ``after`` are the settings compared; ``first_seed_only`` where it needs refits.
    """
    path = files("lmmoe.report") / "published" / "pitfalls.csv"
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, index_col="title", dtype={"before": str})


def outcome(panel: Panel, pitfall: pd.Series) -> Outcome:
    """Give the numbers before and after a pitfall, a row of the `catalogue`."""
    made = COMPARED.get(pitfall.name)
    return made(panel) if made else compared(panel, pitfall["before"], pitfall["after"])


# --- Measuring ---


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


# --- Tables ---


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
