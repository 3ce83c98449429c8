"""Mistakes in bringing numbers together: over entities, over seeds, from other papers."""

from functools import partial

import numpy as np

from lmmoe.data.series import Bits, Floats
from lmmoe.detectors.scaling import Scaling
from lmmoe.metrics import best_f1
from lmmoe.report.pitfalls.fleet import Outcome, Panel, mean_over, nan_mean, outcome
from lmmoe.report.pitfalls.mistake import GROUPS, Mistake
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.segments import segments

GROUP = GROUPS[3]
SUBJECT = "LightMMoE"  # whose table it would be: its own row is run, the others are copied
CALM, KEPT_CALM = "half that drifted least", "InterFusion"
# Which machines of SMD others reported: InterFusion (KDD 2021; the files of its repository),
# TranAD (VLDB 2022; its issue 17), TSB-AD-M (NeurIPS 2024; its evaluation list, by length).
PUBLISHED = {
    KEPT_CALM: "1-1 1-6 1-7 2-1 2-2 2-7 2-8 3-3 3-4 3-6 3-8 3-11",
    "TranAD": "1-1 2-1 3-2 3-7",
    "TSB-AD": "1-2 1-3 1-4 1-5 1-7 2-1 2-2 2-3 2-6 2-7 2-8 3-1 3-2 3-4 3-6 3-7 3-8 3-9 3-10 3-11",
}
KINDS = ("mean of entities", "mean of groups", "of mean P and R", "pooled counts", "one threshold")


def judged(one: Scored) -> dict[str, float]:
    """Average precision alone."""
    return {"average precision": one.average_precision}


def counted(one: Scored) -> dict[str, float]:
    """Point F1 (PA) at the best threshold, and the counts that it comes from."""
    best = best_f1(labels=one.labels, scores=one.scores, adjust="point")
    hits = best.recall * float(one.labels.sum())
    return {
        "f1": best.f1,
        "precision": best.precision,
        "recall": best.recall,
        "hits": hits,
        "flagged": hits / best.precision,
        "anomalous": float(one.labels.sum()),
    }


def drifted(one: Scored) -> dict[str, float]:
    """Average precision, and how far channels moved from one half to the other.

    Drift: the mean over channels of |mean of the test half|, in the training half's deviations.
    """
    moved = Scaling.z_score(one.series.train)(one.series.test).mean(axis=0)
    return judged(one) | {"drift": float(np.abs(moved).mean())}


def copied(one: Scored) -> dict[str, float]:
    """Point F1 (PA) under the study's rules, and as a paper with other rules would print it.

    The study's: 80 % of the training rows, events widened by 5 rows. The others, as in CAD's paper
    (ESEC/FSE 2023): all training rows, labels as published.
    """
    study = one.again(protocol="study")
    labels = study.protocol_labels
    return {
        "same rules": best_f1(labels=labels, scores=study.scores, adjust="point").f1,
        "other rules": best_f1(labels=one.labels, scores=one.scores, adjust="point").f1,
    }


class Averages:
    """Five ways to make one F1 of many entities, for one seed.

    `best_f1` of each entity; the mean of groups' means; F1 of mean precision and mean recall (F1*);
    F1 of hits, flagged and anomalous rows added up; one threshold for all rows in a line. Each
    takes ``counts`` ``(r, n)``, how often an entity was drawn, and gives ``(r,)``.
    """

    def __init__(self, panel: Panel, seed: int) -> None:
        self.parts = {name: values[seed] for name, values in panel.values.items()}
        self.groups = np.array(panel.groups)
        self.known = np.isfinite(self.parts["f1"])
        each = list(zip(panel.labels, panel.scores[seed], self.known, strict=True))
        tops = [event_peaks(y, s) if known else NOTHING for y, s, known in each]
        # Only the peaks of events need be tried: between two of them false alarms alone are added.
        cuts = np.unique(np.concatenate([highest for highest, _ in tops]))
        found = [
            tally(y, s, top, cuts) if known else np.zeros((2, len(cuts)))
            for (y, s, known), top in zip(each, tops, strict=True)
        ]
        self.hits, self.false = np.stack(found, axis=1)  # (n, thresholds) each

    def all(self, counts: Floats) -> Floats:
        """The five of `KINDS`, ``(5, r)``."""
        parts = self.parts
        groups = [self.groups == group for group in np.unique(self.groups)]
        by_group = [mean_over(parts["f1"], counts, among) for among in groups]
        precision = mean_over(parts["precision"], counts)
        recall = mean_over(parts["recall"], counts)
        hits, flagged, real = (
            counts @ np.nan_to_num(parts[name]) for name in ("hits", "flagged", "anomalous")
        )
        line_hits, line_false = counts @ self.hits, counts @ self.false
        line = 2 * line_hits / (line_hits + line_false + real[:, None])
        return np.stack(
            [
                mean_over(parts["f1"], counts),
                nan_mean(by_group, axis=0),
                2 * precision * recall / (precision + recall),
                2 * hits / (flagged + real),
                line.max(axis=1),
            ]
        )


NOTHING = (np.empty(0), np.empty(0))


def event_peaks(labels: Bits, scores: Floats) -> tuple[Floats, Floats]:
    """The distinct highest scores of events and, for each, the rows of events at or above it."""
    start, end = segments(labels)
    tops = np.array([scores[a:b].max() for a, b in zip(start, end, strict=True)])
    values = np.unique(tops)
    return values, np.array([(end - start)[tops >= value].sum() for value in values], dtype=float)


def tally(labels: Bits, scores: Floats, tops: tuple[Floats, Floats], cuts: Floats) -> Floats:
    """Rows of events found and false alarms at each threshold, ``(2, thresholds)``."""
    values, rows = tops
    hits = np.append(rows, 0.0)[np.searchsorted(values, cuts, side="left")]
    normal = np.sort(scores[labels == 0])
    return np.stack([hits, len(normal) - np.searchsorted(normal, cuts, side="left")])


def _kindest_average(panel: Panel) -> Outcome:
    """The mean of entities against the kindest of `KINDS`; seeds averaged."""
    seeds = [Averages(panel, s) for s in range(len(panel.scores))]
    known = np.logical_and.reduce([one.known for one in seeds])
    settings = {name: partial(_one_of, seeds, place) for place, name in enumerate(KINDS)}
    return Outcome(settings[KINDS[0]], partial(_highest, seeds), known, settings)


def _averaged(seeds: list[Averages], counts: Floats) -> Floats:
    return np.mean([one.all(counts) for one in seeds], axis=0)


def _one_of(seeds: list[Averages], place: int, counts: Floats) -> Floats:
    return _averaged(seeds, counts)[place]


def _highest(seeds: list[Averages], counts: Floats) -> Floats:
    return _averaged(seeds, counts).max(axis=0)


def _some(panel: Panel) -> Outcome:
    """All entities against InterFusion's where these are at hand, else the calmer half."""
    values, drift = panel.mean("average precision"), panel.mean("drift")
    known = np.isfinite(values)
    calm = known & (drift <= np.median(drift[known]) if known.any() else False)
    chosen = {CALM: partial(mean_over, values, among=calm)}
    shown = chosen[CALM]
    for name, machines in PUBLISHED.items():
        reported = {f"machine-{number}" for number in machines.split()}
        there = np.array([entity in reported for entity in panel.entities])
        if there.any():
            part = partial(mean_over, values, among=there)
            chosen[f"{name}'s ({there.sum()} of {len(reported)} at hand)"] = part
            shown = part if name == KEPT_CALM else shown
    everyone = partial(mean_over, values)
    return Outcome(everyone, shown, known, {"all": everyone} | chosen)


def _best_seed(panel: Panel) -> Outcome:
    """The mean of all seeds against the seed that is best over all entities."""
    values = panel.values["average precision"]  # (s, n)
    known = np.isfinite(values).all(axis=0)
    settings = {
        f"seed {place}": partial(mean_over, row) for place, row in enumerate(values, start=1)
    }
    settings["best seed of each entity"] = partial(mean_over, values.max(axis=0))
    mean = partial(mean_over, values.mean(axis=0))
    return Outcome(mean, partial(_best_of, values), known, settings)


def _best_of(values: Floats, counts: Floats) -> Floats:
    return np.max([mean_over(row, counts) for row in values], axis=0)


def _copied(panel: Panel) -> Outcome:
    """Every row by the same rules against rows that other rules gave; the subject's is run."""
    before = panel.mean("same rules")
    after = before if panel.detector == SUBJECT else panel.mean("other rules")
    return outcome(panel, before, after)


MISTAKES = (
    Mistake(
        12,
        "kindest average",
        GROUP,
        "Five averages are in use (mean of entities, of groups, of precision and recall, pooled "
        "counts, one threshold), and tables mix them; here each detector takes its kindest.",
        "OmniAnomaly, issue 17 (pooled); CAD, ESEC/FSE 2023 (of mean P and R); the study (groups)",
        "How exactly was the average made, and is it the same in every row?",
        "point_f1_pa",
        "point_f1_pa",
        counted,
        _kindest_average,
    ),
    Mistake(
        13,
        "some of the machines",
        GROUP,
        "Results are shown for part of the data set: here, of SMD, the machines that InterFusion "
        "kept for drifting little, elsewhere the half of the entities that drifted least.",
        "InterFusion, KDD 2021 (12 of 28 machines); TranAD (4), TSB-AD (20)",
        "Are all entities of the data set in the average?",
        "average_precision",
        "average_precision",
        drifted,
        _some,
    ),
    Mistake(
        15,
        "best seed",
        GROUP,
        "One run with one seed is shown, and nobody knows how many were tried: here the best.",
        "TranAD, issue 21; against it Garg et al., TNNLS 2021 (five seeds)",
        "How many seeds, and how far do they spread?",
        "average_precision",
        "average_precision",
        judged,
        _best_seed,
    ),
    Mistake(
        16,
        "copied baselines",
        GROUP,
        f"The row of {SUBJECT} is run under one set of rules; the others are copied from a paper "
        "that had other labels and training rows. Its own number stays (a gain of 0): it is "
        "flattered where the others fall.",
        "CAD's table 2 has two rows alike, TranAD's README a column twice, CARLA's a row whose "
        "precision and recall cannot give its F1",
        "Was every row run by the authors, under the same rules?",
        "point_f1_pa",
        "point_f1_pa",
        copied,
        _copied,
        first_seed_only=True,
        by_others=True,
    ),
)
