"""Mistakes in averages, against the obvious way to compute each."""

import numpy as np
import pytest
from given_scores import given
from made_up_mistakes import tried
from small import LIGHT, series
from test_pitfalls_thresholds import panel

from lmmoe.metrics import best_f1
from lmmoe.report.pitfalls import averages
from lmmoe.report.pitfalls.averages import Averages
from lmmoe.report.pitfalls.fleet import Panel
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.runs import Run


def made_up(seed, rows=120):
    """An entity of random scores, higher in its events."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(rows, dtype=np.int8)
    for start in rng.choice(np.arange(5, rows - 15, 20), size=3, replace=False):
        labels[start : start + int(rng.integers(2, 12))] = 1
    return labels, np.round(rng.normal(size=rows) + 1.2 * labels, 1)  # rounded: with ties


FLEET = [made_up(seed) for seed in range(5)]
GROUPS = ["a", "a", "b", "b", "b"]


def fleet_panel(fleet=FLEET, groups=GROUPS):
    parts = [averages.counted(given(*one)) for one in fleet]
    values = {name: [part[name] for part in parts] for name in parts[0]}
    labels, scores = zip(*fleet, strict=True)
    return panel(values, groups=groups, labels=list(labels), scores=[list(scores)])


def found_on(fleet, groups):
    """The five averages, written out."""
    best = [best_f1(labels=y, scores=s, adjust="point") for y, s in fleet]
    f1 = [one.f1 for one in best]
    by_group = [
        np.mean([value for value, its in zip(f1, groups, strict=True) if its == group])
        for group in sorted(set(groups))
    ]
    p, r = (np.mean([getattr(one, part) for one in best]) for part in ("precision", "recall"))
    hits = flagged = real = 0
    for (labels, scores), one in zip(fleet, best, strict=True):
        filled = scores.copy()
        edges = np.flatnonzero(np.diff(labels, prepend=0, append=0))
        for start, end in edges.reshape(-1, 2):
            filled[start:end] = scores[start:end].max()
        alarms = filled >= one.threshold
        hits += (alarms & (labels == 1)).sum()
        flagged, real = flagged + alarms.sum(), real + labels.sum()
    # Rows between entities keep events apart.
    gap = (np.zeros(1, dtype=np.int8), np.array([-99.0]))
    parts = [part for one in fleet for part in (one, gap)]
    line = best_f1(
        labels=np.concatenate([y for y, _ in parts]),
        scores=np.concatenate([s for _, s in parts]),
        adjust="point",
    )
    return [
        np.mean(f1),
        np.mean(by_group),
        2 * p * r / (p + r),
        2 * hits / (flagged + real),
        line.f1,
    ]


def test_the_five_averages_are_the_obvious_ones():
    found = Averages(fleet_panel(), 0).all(np.ones((1, 5)))
    assert found[:, 0] == pytest.approx(found_on(FLEET, GROUPS))
    assert len(set(found[:, 0].round(9))) == 5  # five ways, five numbers


@pytest.mark.parametrize("counts", [[2, 0, 1, 1, 1], [0, 0, 5, 0, 0], [1, 3, 0, 0, 1]])
def test_drawing_an_entity_twice_is_having_it_twice(counts):
    places = np.repeat(np.arange(5), counts)
    expected = found_on([FLEET[i] for i in places], [GROUPS[i] for i in places])
    found = Averages(fleet_panel(), 0).all(np.array([counts], dtype=float))
    assert found[:, 0] == pytest.approx(expected)


def test_the_kindest_average_is_the_highest():
    found = averages._kindest_average(fleet_panel())
    everyone = np.ones((1, 5))
    assert found.before(everyone) == pytest.approx([tried(found)["mean of entities"]])
    assert found.after(everyone) == pytest.approx([max(tried(found).values())])
    assert tuple(found.settings) == averages.KINDS


def test_an_entity_without_scores_is_left_out():
    whole = fleet_panel()
    values = {name: np.where(np.arange(5) == 2, np.nan, row) for name, row in whole.values.items()}
    scores = [[None if i == 2 else one for i, one in enumerate(whole.scores[0])]]
    made = Panel("PCA", whole.entities, GROUPS, values, whole.labels, scores)
    found = averages._kindest_average(made)
    assert found.known.tolist() == [True, True, False, True, True]
    rest = [one for i, one in enumerate(FLEET) if i != 2]
    expected = found_on(rest, ["a", "a", "b", "b"])
    assert list(tried(found).values()) == pytest.approx(expected)


def test_no_entity_with_scores_has_no_average():
    values = dict.fromkeys(("f1", "precision", "recall", "hits", "flagged", "anomalous"), [np.nan])
    found = averages._kindest_average(panel(values, labels=[FLEET[0][0]]))
    assert not found.known.any()


def test_counts_by_hand():
    # Flagged from .8 on: the event (2 rows, adjusted) and one false row.
    found = averages.counted(given([0, 1, 1, 0, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.1, 0.85]))
    assert found == pytest.approx(
        {"f1": 6 / 7, "precision": 3 / 4, "recall": 1, "hits": 3, "flagged": 4, "anomalous": 3}
    )


def test_drift_by_hand():
    made = series(train=[[0.0, 1.0], [2.0, 1.0]] * 150, test=[[3.0, 1.5]] * 300, causes=None)
    one = Scored(Run(made, "random"))
    # Channel 0: mean 1, deviation 1, moved by 2. Channel 1 does not vary: by its own unit, 0.5.
    assert averages.drifted(one)["drift"] == pytest.approx((2 + 0.5) / 2)
    assert averages.drifted(one)["average precision"] == one.average_precision


def some(entities, values, drift):
    rows = {"average precision": np.array([values]), "drift": np.array([drift])}
    count = len(entities)
    return Panel("PCA", entities, ["all"] * count, rows, [None] * count, [[None] * count])


def test_the_calm_half_of_a_fleet():
    found = averages._some(
        some(["a", "b", "c", "d"], [0.1, 0.2, 0.3, np.nan], [3.0, 1.0, 2.0, 0.0])
    )
    assert found.known.tolist() == [True, True, True, False]
    known = found.known[None].astype(float)
    assert found.before(known) == pytest.approx([0.2])
    assert found.after(known) == pytest.approx([0.25])  # b and c, up to the median
    assert list(found.settings) == ["all", "half that drifted least"]


def test_the_machines_that_others_reported():
    names = ["machine-1-1", "machine-2-3", "machine-3-8"]
    found = averages._some(some(names, [0.3, 0.6, 0.9], [1.0, 2.0, 3.0]))
    assert found.after(np.ones((1, 3))) == pytest.approx([0.6])  # InterFusion's: 1-1 and 3-8
    assert tried(found) == pytest.approx(
        {
            "all": 0.6,
            "half that drifted least": 0.45,
            "InterFusion's (2 of 12 at hand)": 0.6,
            "TranAD's (1 of 4 at hand)": 0.3,
            "TSB-AD's (2 of 20 at hand)": 0.75,
        }
    )


def test_without_interfusions_machines_the_calm_half_is_shown():
    # 3-2 and 3-7 are TranAD's, 2-3 TSB-AD's; none is InterFusion's.
    names = ["machine-2-3", "machine-3-2", "machine-3-7"]
    found = averages._some(some(names, [0.3, 0.6, 0.9], [1.0, 2.0, 3.0]))
    assert tried(found)["TranAD's (2 of 4 at hand)"] == pytest.approx(0.75)
    assert found.after(np.ones((1, 3))) == pytest.approx([0.45])


def test_reported_machines_are_as_many_as_their_authors_say():
    numbers = {name: text.split() for name, text in averages.PUBLISHED.items()}
    assert {name: len(set(text)) for name, text in numbers.items()} == {
        "InterFusion": 12,
        "TranAD": 4,
        "TSB-AD": 20,
    }
    groups = {"1": 8, "2": 9, "3": 11}
    for text in numbers.values():
        for machine in text:
            group, number = machine.split("-")
            assert 1 <= int(number) <= groups[group]


def test_the_best_seed_is_best_over_the_entities_drawn():
    values = {"average precision": np.array([[0.1, 0.9], [0.4, 0.5], [0.3, 0.3]])}
    made = Panel("PCA", ["a", "b"], ["all"] * 2, values, [None] * 2, [[None] * 2] * 3)
    found = averages._best_seed(made)
    counts = np.array([[1, 1], [2, 0], [0, 2]])
    assert found.before(counts) == pytest.approx([2.5 / 6, 0.8 / 3, 1.7 / 3])
    assert found.after(counts) == pytest.approx([0.5, 0.4, 0.9])
    assert tried(found) == pytest.approx(
        {"seed 1": 0.5, "seed 2": 0.45, "seed 3": 0.3, "best seed of each entity": 0.65}
    )


def test_an_entity_without_one_of_the_seeds_is_left_out():
    values = {"average precision": np.array([[0.1, 0.9], [0.4, np.nan]])}
    made = Panel("PCA", ["a", "b"], ["all"] * 2, values, [None] * 2, [[None] * 2] * 2)
    found = averages._best_seed(made)
    assert found.known.tolist() == [True, False]
    assert tried(found) == pytest.approx(
        {"seed 1": 0.1, "seed 2": 0.4, "best seed of each entity": 0.4}
    )


@pytest.mark.parametrize(("detector", "after"), [("LightMMoE", 0.8), ("PCA", 0.7)])
def test_all_rows_but_the_subjects_are_copied(detector, after):
    found = averages._copied(panel({"same rules": [0.8], "other rules": [0.7]}, detector=detector))
    assert found.before(np.ones((1, 1))) == pytest.approx([0.8])
    assert found.after(np.ones((1, 1))) == pytest.approx([after])


def test_the_rules_of_copied_rows(small_runs):
    made = series()
    ours = Scored(Run(made, "LightMMoE", settings=LIGHT))
    found = averages.copied(ours)
    study = Scored(Run(made, "LightMMoE", "study", settings=LIGHT))
    wide = PROTOCOLS["study"].labels(made)
    assert wide.sum() > made.labels.sum()
    assert found["same rules"] == best_f1(labels=wide, scores=study.scores, adjust="point").f1
    assert (
        found["other rules"] == best_f1(labels=made.labels, scores=ours.scores, adjust="point").f1
    )
