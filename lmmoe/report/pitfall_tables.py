"""All pitfalls on the entities of a profile: what each gives to whom, with one bootstrap."""

from collections.abc import Callable
from functools import cache, partial
from warnings import catch_warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.series import Floats, Series
from lmmoe.detectors import entry
from lmmoe.report import pitfalls, store
from lmmoe.report.evaluation import ADJUSTED, RANKING, evaluate
from lmmoe.report.experiment import Run
from lmmoe.report.measure import each
from lmmoe.report.names import METRIC_TITLES, title
from lmmoe.report.pitfalls import LEVELS, RATES, Scored
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import DIGITS

DETECTORS = ("LightMMoE", "MTSExample", "PCA", "random")
SEEDS = 5  # at least, of whatever is random (Garg et al., TNNLS 2021)
GAINS = "number mistake detector metric reported before after gain machines low high".split()
GAINS += ["order_changes"]
NUMBERS = "mistake detector seed entity setting value".split()
# Before and after: means over all entities, then of each resample, (1 + r,); entities counted.
Outcome = tuple[Floats, Floats, int]


def catalogue() -> pd.DataFrame:
    """The twenty by title, in the order of their numbers; number 0 is three of them together.

    ``before`` and ``after`` are the settings compared, if not in `COMPARED`; ``axis`` names what
    settings count; ``first_seed_only`` where it needs refits.
    """
    return store.published("pitfalls", keep_default_na=False, index_col="title")


@cache
def resamples(entities: int) -> Floats:
    """Every entity once, then 10,000 draws with replacement: ``(1 + r, n)`` counts."""
    chosen = np.random.default_rng(0).integers(entities, size=(10_000, entities))
    drawn = (chosen[:, :, None] == np.arange(entities)).sum(axis=1)
    return np.concatenate([np.ones((1, entities)), drawn])


def means(values: npt.ArrayLike, among: npt.ArrayLike = 1) -> Floats:
    """Means ``(..., 1 + r)`` of values ``(..., n)`` of those drawn that are among some, or NaN."""
    values, among = np.asarray(values), np.asarray(among)
    counts = resamples(values.shape[-1]) * among
    with np.errstate(invalid="ignore"):
        return values @ counts.T / counts.sum(axis=1)


def by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Average the seeds of a detector's numbers: (setting, seed) down, entities across."""
    return table.groupby("setting", sort=False).mean()


def groups(table: pd.DataFrame) -> pd.Index:
    """The group of each entity: ``machine-1`` for SMD's ``machine-1-6``, else one for all."""
    return table.columns.str.extract(r"^(machine-\d+)-\d+$", expand=False).fillna("all")


def between(table: pd.DataFrame, before: str, after: str) -> Outcome:
    """Two settings of a pitfall."""
    return *means(by_setting(table).loc[[before, after]]), table.shape[1]


def best_of_each_group(table: pd.DataFrame) -> Outcome:
    """Our level and rate against those with the best mean F1 in each group of entities."""
    settings, group = by_setting(table), groups(table)
    best = group.map(settings.T.groupby(group).mean().idxmax(axis=1))
    after = [settings.loc[name, entity] for name, entity in zip(best, settings, strict=True)]
    return means(settings.loc[f"{LEVELS[0]:g} / {RATES[0]:g}"]), means(after), len(after)


def best_of_each_series(table: pd.DataFrame) -> Outcome:
    """One setting, chosen on the first of each of three groups, against the others' own best."""
    settings, first = by_setting(table), table.columns[~groups(table).duplicated()][:3]
    fixed = settings[first].mean(axis=1).idxmax()
    rest = settings.drop(columns=first) if len(first) < table.shape[1] else settings
    return means(rest.loc[fixed]), means(rest.max()), rest.shape[1]


def highest_average(table: pd.DataFrame) -> Outcome:
    """The mean of entities' Point F1 (PA) against the highest of three averages; seeds averaged."""
    f1, precision, recall = (table.loc[name] for name in ("f1", "precision", "recall"))
    group = groups(table)
    by_group = [means(f1, group == name) for name in group.unique()]
    of_means = 2 / (1 / means(precision) + 1 / means(recall))
    averages = [means(f1), np.nanmean(by_group, axis=0), of_means]  # (seeds, 1 + r) each
    found = np.mean(averages, axis=1)
    return found[0], found.max(axis=0), len(group)


# Machines of SMD that InterFusion reported (KDD 2021; the files of its repository).
REPORTED = "1-1 1-6 1-7 2-1 2-2 2-7 2-8 3-3 3-4 3-6 3-8 3-11"


def some_entities(table: pd.DataFrame) -> Outcome:
    """All entities against InterFusion's where these are at hand, else the calmer half."""
    values, drift = (by_setting(table).loc[name] for name in ("average precision", "drift"))
    shown = values.index.isin([f"machine-{number}" for number in REPORTED.split()])
    if not shown.any():
        shown = drift <= drift.median()
    return means(values), means(values, shown), len(values)


def best_of_seeds(table: pd.DataFrame) -> Outcome:
    """The mean of all seeds against the seed that is best over all entities."""
    return means(table.mean()), means(table).max(axis=0), table.shape[1]


COMPARED: dict[str, Callable[[pd.DataFrame], Outcome]] = {  # of the others `catalogue` tells
    "threshold rule tuned per group": best_of_each_group,
    "kindest average": highest_average,
    "some of the machines": some_entities,
    "best seed": best_of_seeds,
    "settings picked on the judged series": best_of_each_series,
}


def measure(profile: Profile, entities: list[str] | None = None) -> tuple:
    """Make every pitfall with every detector of `DETECTORS` on the entities that have both labels.

    Gives ``gains``, ``settings``, ``floors`` and ``failures``: a run that fails leaves its entity
    out. ``gains`` has a row per pitfall and detector: ``before`` and ``after`` are means (seeds
    averaged first) of ``metric`` and ``reported`` over the ``machines`` on which all detectors have
    all numbers; ``low`` and ``high`` bound the ``gain`` with 95 % bootstrap confidence (NaN with
    one machine); ``order_changes`` is the share of resamples in which detectors change places.
    ``settings`` has the means of pitfalls with an ``axis``; ``floors`` all metrics, also of scores
    that are all equal or the row's index.
    """
    failures, lines = [], []
    for series in map(profile.load, each(entities or profile.present, "pitfalls", "entity")):
        if series.judgeable:
            lines += _numbers(series, profile, failures)
    numbers = pd.DataFrame(lines, columns=NUMBERS)
    floors = numbers[numbers["mistake"] == "floors"]
    floors = floors.pivot_table("value", "setting", "detector", sort=False)
    floors = floors.reindex([*RANKING, *ADJUSTED]).rename(index=METRIC_TITLES, columns=title)
    return *tables(numbers), floors, list(dict.fromkeys(failures))


def _numbers(series: Series, profile: Profile, failures: list[str]) -> list[tuple[object, ...]]:
    """The numbers of one entity; as "floors" all metrics, also of scores that say nothing."""
    judge = partial(evaluate, series.labels, vus_window=series.vus_window or profile.vus_window)
    t = np.arange(len(series.labels), dtype=float)
    with catch_warnings(action="ignore"):  # scores that are all equal are meant here
        found = {("floors", "constant", 0): judge(0 * t), ("floors", "row index", 0): judge(t)}
    seeds = list(dict.fromkeys([*profile.seeds, *range(SEEDS)]))
    plan = [(d, seed) for d in DETECTORS for seed in seeds[: SEEDS if entry(d).cls.seeded else 1]]
    for name, seed in plan:
        try:
            one = Scored(Run(series, name, "ours", seed, profile.detectors.get(name, {})))
            made = {"floors": judge(one.scores)}
            for mistake, first_only in catalogue()["first_seed_only"].items():
                if seed == seeds[0] or not first_only:
                    made[mistake] = getattr(pitfalls, mistake.replace(" ", "_"))(one)
        except store.FAILURES as error:
            failures.append(f"{name} on {series.entity}: {type(error).__name__}: {error}")
        else:
            found |= {(mistake, name, seed): numbers for mistake, numbers in made.items()}
    return [(*run, series.entity, *each) for run, made in found.items() for each in made.items()]


def tables(numbers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make ``gains`` and ``settings`` of `measure` from its numbers, a row each."""
    gains, settings, index = [], [], ["detector", "setting", "seed", "entity"]
    for name, pitfall in catalogue().iterrows():
        own = numbers[numbers["mistake"] == name].set_index(index)["value"]
        table = own.unstack(sort=False).dropna(axis=1)
        if table.empty:
            continue
        panels = {one: table.loc[one] for one in DETECTORS if one in table.index}
        if pitfall["axis"]:
            mean = table.mean(axis=1).groupby(level=["detector", "setting"], sort=False).mean()
            settings += [(name, *behind, value) for behind, value in mean.items()]
        if pitfall["number"]:
            plain = partial(between, before=pitfall["before"], after=pitfall["after"])
            made = [COMPARED.get(name, plain)(panel) for panel in panels.values()]
            before, after = (np.array([one[end] for one in made]) for end in (0, 1))
            low, high = np.nanquantile((after - before)[:, 1:], [0.025, 0.975], axis=1)
            lines = pitfall[["number", "metric", "reported"]].to_dict()
            lines |= {"mistake": name, "detector": list(panels), "machines": made[0][2]}
            lines |= {"before": before[:, 0], "after": after[:, 0], "low": low, "high": high}
            # Resamples in which two detectors change places; equal ones do not.
            one, other = np.triu_indices(len(made), k=1)
            apart = [np.round(end[one, 1:] - end[other, 1:], DIGITS) for end in (before, after)]
            lines |= {"order_changes": (apart[0] * apart[1] < 0).any(axis=0).mean()}
            gains += pd.DataFrame(lines).to_dict("records")
    made = pd.DataFrame(gains, columns=GAINS)
    made["gain"] = made["after"] - made["before"]
    made.loc[made["machines"] == 1, ["low", "high"]] = np.nan
    return made, pd.DataFrame(settings, columns=["mistake", "detector", "setting", "value"])
