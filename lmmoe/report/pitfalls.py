"""Twenty usual pitfalls of evaluation, each a function from a scored series to numbers by setting.

``published/pitfalls.csv`` says what is wrong, which two settings are compared, who did it and what
to ask of a paper; `measure` makes all on the entities of a profile, with one bootstrap.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property, partial
from itertools import product
from warnings import catch_warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from lmmoe import metrics, segments
from lmmoe.data.series import Bits, Floats, Series
from lmmoe.detectors import entry
from lmmoe.detectors.scaling import Scaling
from lmmoe.metrics import average_precision, best_f1, quantile, roc_auc
from lmmoe.report import experiment, store
from lmmoe.report.evaluation import ADJUSTED, RANKING, SHARE, evaluate
from lmmoe.report.experiment import PROTOCOLS, Run, widened
from lmmoe.report.measure import each
from lmmoe.report.names import METRIC_TITLES, title
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import DIGITS

DETECTORS = ("LightMMoE", "MTSExample", "PCA", "random")
SEEDS = 5  # at least, of whatever is random (Garg et al., TNNLS 2021)
GAINS = "number mistake detector metric reported before after gain machines low high".split()
GAINS += ["order_changes"]
NUMBERS = "mistake detector seed entity setting value".split()
Numbers = dict[str, float]  # by setting
# Before and after: means over all entities, then of each resample, (1 + r,); entities counted.
Outcome = tuple[Floats, Floats, int]


class Scored:
    """A run on a labelled entity; ``labels``, as published, and ``scores`` ``(t,)`` of its test."""

    def __init__(self, run: Run) -> None:
        self.run, self.series, self.labels = run, run.series, run.series.labels
        self.result = experiment.result(run)
        self.scores = self.result.scores
        self.average_precision = self.precision_of(self.scores)

    def precision_of(self, scores: Floats) -> float:
        """Average precision of scores ``(t,)`` made from the detector's."""
        return average_precision(labels=self.labels, scores=scores)

    def f1_at(self, threshold: float) -> float:
        """F1 of the rows with scores above a threshold."""
        return metrics.alarms(labels=self.labels, scores=self.scores, threshold=threshold).f1

    @property
    def calibration(self) -> Floats:
        """Scores ``(h,)`` of the held-out training rows; `ValueError` where there are none."""
        if self.result.calibration is None:
            raise ValueError(f"{self.run.detector} has no scores that could set a threshold")
        return self.result.calibration

    @cached_property
    def channels(self) -> Floats:
        """The share of each channel in each score, ``(t, c)``."""
        return self.result.detector.channel_scores(self.series.test)


def adjusted_f1(labels: Bits, scores: Floats) -> float:
    """Best F1 after point adjustment."""
    return best_f1(labels=labels, scores=scores, adjust="point").f1


def point_adjustment(one: Scored) -> Numbers:
    """Best F1 under PA%K: 0 is point adjustment, 100 leaves the scores as they are."""
    f1 = metrics.pa_k(labels=one.labels, scores=one.scores).f1
    return {str(percent): float(f1[percent]) for percent in (0, 1, 2, 5, 10, 20, 30, 50, 70, 100)}


def overlapping_windows(one: Scored) -> Numbers:
    """Point F1 (PA) with each row once, and of windows joined end to end: 0..99, 1..100, ..."""
    joined = (sliding_window_view(values, 100).ravel() for values in (one.labels, one.scores))
    return {"once": adjusted_f1(one.labels, one.scores), "in every window": adjusted_f1(*joined)}


def zeros_as_first_scores(one: Scored) -> Numbers:
    """ROC AUC without the first 16 rows, and with zeros as their scores."""
    left_out = roc_auc(labels=one.labels[16:], scores=one.scores[16:])
    filled = np.concatenate([np.zeros(16), one.scores[16:]])
    return {"left out": left_out, "zeros": roc_auc(labels=one.labels, scores=filled)}


def wider_labels(one: Scored) -> Numbers:
    """Point F1 (PA) on labels whose events end so many rows later."""
    return {
        str(margin): adjusted_f1(widened(one.labels, one.series.events, margin), one.scores)
        for margin in (0, 1, 2, 5, 10, 20)
    }


def labels_off_by_one(one: Scored) -> Numbers:
    """Best F1 on labels that lie so many rows too late (below 0: too early)."""
    found = {}
    for rows in range(-5, 6):
        moved = np.roll(one.labels, rows)
        moved[slice(rows) if rows >= 0 else slice(rows, None)] = 0  # what comes in is normal
        found[str(rows)] = best_f1(labels=moved, scores=one.scores).f1
    return found


# Peaks over threshold: ours (Siffer et al., KDD 2017), OmniAnomaly's level for each group of SMD
# (0.005, 0.0075 and 0.0001 from the top), TranAD's; q is ours, OmniAnomaly's 1e-3 or TranAD's 1e-5.
LEVELS = (0.98, 0.995, 0.9925, 0.9999, 0.99995)
RATES = (1e-4, 1e-3, 1e-5)


def threshold_chosen_on_test(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, and at the best one."""
    best = best_f1(labels=one.labels, scores=one.scores).f1
    return {"quantile": one.f1_at(quantile(one.calibration, SHARE)), "best": best}


def threshold_rule_tuned_per_group(one: Scored) -> Numbers:
    """F1 at the peaks-over-threshold threshold of each level and rate."""
    return {
        f"{level:g} / {q:g}": one.f1_at(metrics.pot(one.calibration, level=level, q=q))
        for level, q in product(LEVELS, RATES)
    }


def known_share_of_anomalies(one: Scored) -> Numbers:
    """F1 where a percentage of all rows is flagged; "known": as many as are anomalous."""
    joined = np.concatenate([one.result.detector.decision_scores_, one.scores])
    percents = {f"{p:g}": p for p in (0.1, 0.2, 0.5, 1, 2, 5, 10)}  # Anomaly Transformer: 0.5 (SMD)
    percents["known"] = 100 * float(one.labels.sum()) / len(joined)
    cuts = {name: np.quantile(joined, 1 - percent / 100) for name, percent in percents.items()}
    cuts["quantile"] = quantile(one.calibration, SHARE)
    return {name: one.f1_at(cut) for name, cut in cuts.items()}


def three_at_once(one: Scored) -> Numbers:
    """F1 at a threshold that no label touched, then with pitfalls 1, 2 and 11 added in turn."""
    cut, filled = quantile(one.calibration, SHARE), one.scores.copy()
    for start, end in segments.runs(one.labels):
        filled[start:end] = filled[start:end].max()
    wide = widened(one.labels, one.series.events, 5)
    return {
        "F1 at the quantile of held-out rows": one.f1_at(cut),
        "and point adjustment": metrics.alarms(labels=one.labels, scores=filled, threshold=cut).f1,
        "and the best threshold on test": adjusted_f1(one.labels, one.scores),
        "and events widened by 5 rows": adjusted_f1(wide, one.scores),
    }


def moving_mean(scores: Floats, back: int, ahead: int = 0) -> Floats:
    """Mean of each row's score and its neighbours', ``(t,)``; at the ends of those that exist."""
    sums, counts = (
        sliding_window_view(np.pad(values, (back, ahead)), back + 1 + ahead).sum(axis=1)
        for values in (scores, np.ones(len(scores)))
    )
    return sums / counts


def errors_normalised_by_test_rows(one: Scored) -> Numbers:
    """Average precision of the highest channel, by quartiles of held-out rows or of test rows."""
    learned = one.result.detector.channel_scores(one.series.train)
    by = {"held-out training rows": learned[-len(one.calibration) :], "test rows": one.channels}
    found = {}
    for name, rows in by.items():
        low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
        spread = high - low + 0.01  # as GDN's program has it
        found[name] = one.precision_of(((one.channels - middle) / spread).max(axis=1))
    return found


def smoothing_that_sees_ahead(one: Scored) -> Numbers:
    """Average precision of means over 9 rows, by how many of these come after the row."""
    return {str(n): one.precision_of(moving_mean(one.scores, 8 - n, n)) for n in range(9)}


def data_scaled_by_test_rows(one: Scored) -> Numbers:
    """Average precision as it is, and with the test half scaled by its own mean and deviation."""
    train, test = one.series.train, one.series.test
    # The detector scales by training rows, so the test half is given their mean and deviation.
    rows = Scaling.of("z-score", train).undone(Scaling.of("z-score", test)(test))
    # Random scores do not depend on the rows; drawing them anew would only add noise.
    blind = one.run.detector == "random"
    scores = one.scores if blind else one.result.detector.decision_function(rows)
    return {"training rows": one.average_precision, "test rows": one.precision_of(scores)}


def epoch_chosen_on_test(one: Scored) -> Numbers:
    """Average precision when held-out rows end the training, and after 1, 3, 5, ... epochs.

    The latter train on all rows. For random scores these are other draws; PCA has no choice.
    """
    chance = one.run.detector == "random"
    last = 5 if chance else int(one.result.detector.settings.get("epochs", 0))
    found = {}
    for k in sorted({*range(1, last, 2), last} - {0}):
        changed = {"seed": one.run.seed + k}
        if not chance:
            changed = {"settings": one.run.settings | {"held_out": 0.0, "epochs": k}}
        found[str(k)] = Scored(replace(one.run, **changed)).average_precision
    tried = list(found.values()) or [one.average_precision]
    return {"held-out rows": one.average_precision, "last": tried[-1], "best": max(tried)} | found


def settings_picked_on_the_judged_series(one: Scored) -> Numbers:
    """Average precision by how channels are brought together and how long a mean trails behind."""
    highest = -np.sort(-one.channels, axis=1)[:, :4]  # SMD's events touch 4 in the median
    made = {"own": one.scores, "max": highest[:, 0], "top 4": highest.mean(axis=1)}
    return {
        f"{kind} / {rows}": one.precision_of(moving_mean(scores, rows - 1))
        for (kind, scores), rows in product(made.items(), (1, 5, 20, 60))
    }


def kindest_average(one: Scored) -> Numbers:
    """Point F1 (PA) at the best threshold, its precision and its recall."""
    best = best_f1(labels=one.labels, scores=one.scores, adjust="point")
    return {"f1": best.f1, "precision": best.precision, "recall": best.recall}


def some_of_the_machines(one: Scored) -> Numbers:
    """Average precision, and the mean over channels of |mean of the test half|, in z-scores."""
    means = Scaling.of("z-score", one.series.train)(one.series.test).mean(axis=0)
    return {"average precision": one.average_precision, "drift": float(np.abs(means).mean())}


def best_seed(one: Scored) -> Numbers:
    """Average precision alone."""
    return {"average precision": one.average_precision}


def copied_baselines(one: Scored) -> Numbers:
    """Point F1 (PA) under the study's rules, and under those of CAD's paper, which are ours."""
    scores = Scored(replace(one.run, protocol="study")).scores
    same = adjusted_f1(PROTOCOLS["study"].labels(one.series), scores)
    other = adjusted_f1(one.labels, one.scores)
    copied = same if one.run.detector == "LightMMoE" else other
    return {"same rules": same, "other rules": other, "copied": copied}


def a_few_long_events(one: Scored) -> Numbers:
    """ROC AUC, which has a fixed floor, as published, and without the longest of several events."""
    found = {"all events": roc_auc(labels=one.labels, scores=one.scores)}
    if len(one.series.events) > 1:
        start, end = max(one.series.events, key=lambda event: event[1] - event[0])
        rest = np.r_[:start, end : len(one.scores)]
        found["longest left out"] = roc_auc(labels=one.labels[rest], scores=one.scores[rest])
    return found


def metric_with_a_high_floor(one: Scored) -> Numbers:
    """Best F1 of the rows, and best affiliation F1."""
    data = {"labels": one.labels, "scores": one.scores}
    return {"rows": best_f1(**data).f1, "affiliation": metrics.best_affiliation_f1(**data).f1}


def events_late_in_the_series(one: Scored) -> Numbers:
    """Average precision by how far ranks (0 to 1) grow from the first row to the last."""
    rows = len(one.scores)
    ranks = np.searchsorted(np.sort(one.scores), one.scores, side="right") / rows
    place = np.arange(1, rows + 1) / rows
    made = {f"{grown:g}": ranks + grown * place for grown in (0, 0.02, 0.1, 0.5, 1)}
    made["place alone"] = place
    return {name: one.precision_of(scores) for name, scores in made.items()}


# --- all of them: what each gives to whom ---


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
                    made[mistake] = globals()[mistake.replace(" ", "_")](one)
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
