"""What a pitfall is made of: the numbers before and after it, as statistics of the entities drawn.

A statistic is a function from how often each entity was drawn, ``(r, n)``, to ``(r,)``, so that one
bootstrap serves all pitfalls.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.series import Bits, Floats
from lmmoe.metrics import alarms, best_f1
from lmmoe.report import pitfalls
from lmmoe.report.pitfalls import HELD_OUT
from lmmoe.segments import segments

KINDS = ("mean of entities", "mean of groups", "of mean P and R", "pooled counts", "one threshold")
# Which machines of SMD others reported: InterFusion (KDD 2021; the files of its repository),
# TranAD (VLDB 2022; its issue 17), TSB-AD-M (NeurIPS 2024; its evaluation list, by length).
PUBLISHED = {
    "InterFusion": "1-1 1-6 1-7 2-1 2-2 2-7 2-8 3-3 3-4 3-6 3-8 3-11",
    "TranAD": "1-1 2-1 3-2 3-7",
    "TSB-AD": "1-2 1-3 1-4 1-5 1-7 2-1 2-2 2-3 2-6 2-7 2-8 3-1 3-2 3-4 3-6 3-7 3-8 3-9 3-10 3-11",
}

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
