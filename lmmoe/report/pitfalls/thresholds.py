"""Mistakes with thresholds: everybody's F1 is high once the labels choose where to cut."""

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt

from lmmoe.data.series import Bits, Floats
from lmmoe.metrics import alarm_budget, alarms, best_f1, pot, quantile
from lmmoe.report.evaluation import PER_DAY, SHARE
from lmmoe.report.pitfalls.fleet import Outcome, Panel, nan_mean, outcome, pair
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake
from lmmoe.report.pitfalls.scored import Scored

GROUP = GROUPS[1]
STEPS = 1000  # thresholds between the lowest and the highest score in CAD's program
# Peaks over threshold: ours (Siffer et al., KDD 2017), OmniAnomaly's level for each group of SMD
# (0.005, 0.0075 and 0.0001 from the top), TranAD's; q is ours, OmniAnomaly's 1e-3 or TranAD's 1e-5.
LEVELS = (0.98, 0.995, 0.9925, 0.9999, 0.99995)
RATES = (1e-4, 1e-3, 1e-5)
FIXED = f"{LEVELS[0]:g} / {RATES[0]:g}"
RATIOS = (0.1, 0.2, 0.5, 1, 2, 5, 10)  # percent; Anomaly Transformer's for SMD is 0.5


def by_rule(one: Scored) -> dict[str, float]:
    """F1 at thresholds that no label touched, on a grid of scores, and at the best one."""
    values = {
        "quantile": _f1(one, quantile(one.calibration, SHARE)),
        "POT": _f1(one, pot(one.calibration)),
    }
    days = one.series.rows_per_day
    if days is not None:
        values["alarm budget"] = _f1(one, alarm_budget(one.calibration, days, per_day=PER_DAY))
    values["best of a grid"] = grid_f1(one.labels, one.scores)
    return values | {"best": best_f1(labels=one.labels, scores=one.scores).f1}


def by_level(one: Scored) -> dict[str, float]:
    """F1 at the peaks-over-threshold threshold of each level and rate."""
    return {
        f"{level:g} / {q:g}": _f1(one, pot(one.calibration, level=level, q=q))
        for level, q in product(LEVELS, RATES)
    }


def by_ratio(one: Scored) -> dict[str, float]:
    """F1 where a given percentage of training and test rows is flagged; "known": as many as are."""
    joined = np.concatenate([one.detector.decision_scores_, one.scores])
    known = 100 * float(one.labels.sum()) / len(joined)
    shares = {f"{ratio:g}": ratio for ratio in RATIOS} | {"known": known}
    values = {
        name: _f1(one, float(np.quantile(joined, 1 - percent / 100)))
        for name, percent in shares.items()
    }
    return values | {"quantile": _f1(one, quantile(one.calibration, SHARE))}


def _f1(one: Scored, threshold: float) -> float:
    return alarms(labels=one.labels, scores=one.scores, threshold=threshold).f1


def grid_f1(labels: Bits, scores: Floats, steps: int = STEPS) -> float:
    """Best F1 over equal steps from the lowest to the highest score; rows above it are flagged.

    As CAD's program (ESEC/FSE 2023) searches. One spike stretches the range, and the best threshold
    may then lie between two steps.
    """
    grid = np.linspace(scores.min(), scores.max(), steps, endpoint=False)
    flags = np.asarray(labels, dtype=bool)
    hits = flags.sum() - np.searchsorted(np.sort(scores[flags]), grid, side="right")
    false = (~flags).sum() - np.searchsorted(np.sort(scores[~flags]), grid, side="right")
    return float(np.max(2 * hits / (hits + false + flags.sum())))


def _chosen(panel: Panel) -> Outcome:
    """The fixed quantile against the best threshold, and one best threshold for all entities."""
    found = pair("quantile", "best")(panel)
    return found._replace(
        settings=found.settings | {"best, one for all": partial(_one_for_all, panel)}
    )


def _one_for_all(panel: Panel, counts: Floats) -> Floats:
    """`shared` over the entities drawn, seeds averaged; NaN where no seed scored them all."""
    places = [np.repeat(np.arange(len(row)), row.astype(int)) for row in counts]
    return np.array([nan_mean([_of_seed(panel, row, p) for row in panel.scores]) for p in places])


def _of_seed(panel: Panel, scores: Sequence[Floats | None], places: npt.NDArray[np.intp]) -> float:
    drawn = [scores[place] for place in places]
    found = [one for one in drawn if one is not None]
    if not found or len(found) < len(drawn):
        return float("nan")
    return shared([panel.labels[place] for place in places], found)


def shared(labels: Sequence[Bits], scores: Sequence[Floats]) -> float:
    """Mean F1 of entities at the one threshold that is best for all their rows together."""
    cut = best_f1(labels=np.concatenate(labels), scores=np.concatenate(scores)).threshold
    below = np.nextafter(cut, -np.inf)  # its rows are flagged, too
    pairs = zip(labels, scores, strict=True)
    return float(np.mean([alarms(labels=y, scores=s, threshold=below).f1 for y, s in pairs]))


def _per_group(panel: Panel) -> Outcome:
    """The fixed level and rate against those with the best mean F1 in each group of entities."""
    tried = {name: panel.mean(name) for name in panel.values}
    after = np.full(len(panel.entities), np.nan)
    groups = np.array(panel.groups)
    for group in np.unique(groups):
        there = groups == group
        best = max(tried, key=partial(_mean_among, tried, there))
        after[there] = tried[best][there]
    return outcome(panel, tried[FIXED], after)


def _mean_among(tried: dict[str, Floats], there: np.ndarray, name: str) -> float:
    return float(np.nan_to_num(nan_mean(tried[name][there]), nan=-1.0))


MISTAKES = (
    Mistake(
        2,
        "threshold chosen on test",
        GROUP,
        "The threshold is the one with the highest F1 on the very labels that F1 is then "
        "reported on.",
        "OmniAnomaly, KDD 2019 (bf_search); CAD, ESEC/FSE 2023, says so openly",
        "Who chose the threshold, and would the rule work on a day without labels?",
        "quantile_f1",
        "best_f1",
        by_rule,
        _chosen,
    ),
    Mistake(
        3,
        "threshold rule tuned per group",
        GROUP,
        "The level and rate of peaks over threshold are set per group of machines, by what gives "
        "the best F1 on the test labels.",
        "OmniAnomaly (a level per group of SMD), TranAD (level and a multiplier per data set)",
        "Are the threshold rule's own settings the same for all data?",
        "pot_f1",
        "pot_f1",
        by_level,
        _per_group,
    ),
    Mistake(
        4,
        "known share of anomalies",
        GROUP,
        "The threshold is a percentile of training and test scores together, at a share of "
        "anomalies that only the labels tell.",
        "Anomaly Transformer, ICLR 2022; Time-Series-Library, issues 332 and 807",
        "Does the threshold need the share of anomalies, or scores of the test half?",
        "quantile_f1",
        "f1",
        by_ratio,
        pair("quantile", "known"),
        axis="percent of all rows that are assumed to be anomalous",
    ),
)
