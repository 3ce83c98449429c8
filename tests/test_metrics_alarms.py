"""Alarms at a threshold, thresholds without labels, diagnosis: by hand and against plain loops."""

import math
from itertools import pairwise, permutations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto
from sklearn.metrics import ndcg_score

from lmmoe.metrics import affiliation, alarm_budget, alarms, best_f1, diagnosis, pot, quantile, vus
from lmmoe.metrics.thresholds import fit_pareto

FAST = settings(max_examples=60, deadline=None)


@FAST
@given(naive.cases(), st.sampled_from([-1.5, -0.9, -0.5, 0.0, 0.7, 1.5, 5.0, math.inf]))
def test_alarms_equal_plain_loops(case, threshold):
    labels, scores = case
    flagged = [score > threshold for score in scores]
    found = alarms(labels=labels, scores=scores, threshold=threshold, rows_per_day=len(labels))
    found_at = [[flagged[row] for row in rows] for rows in naive.events(labels)]
    delays = [rows.index(True) for rows in found_at if any(rows)]
    hits = sum(bool(label) and flag for label, flag in zip(labels, flagged, strict=True))
    expected = (
        hits / sum(flagged) if any(flagged) else math.nan,
        hits / sum(labels),
        float(naive.f1(labels, flagged)),
        len(delays) / len(naive.events(labels)),
        sum(not any(labels[row] for row in rows) for rows in naive.stretches(scores, threshold)),
        np.mean(delays) if delays else math.nan,
    )
    assert found == pytest.approx(expected, nan_ok=True)
    unknown = alarms(labels=labels, scores=scores, threshold=threshold)
    assert math.isnan(unknown.false_alarms_per_day) and unknown.f1 == found.f1


def test_a_budget_is_not_lost_by_rounding():
    # 0.29 a day over 100 days is 28.999999999999996 alarms: 29 spikes may stay.
    scores = np.zeros(2900)
    scores[::100] = np.arange(29) + 1
    assert 0.29 * 100 < 29 and alarm_budget(scores, 29, per_day=0.29) == 0


@FAST
@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(0, 9), st.integers(1, 4))
def test_budget_equals_plain_loops(scores, halves, days):
    found = alarm_budget(scores, len(scores) / days, per_day=halves / 2)
    assert found == naive.alarm_budget(scores, halves * days // 2)
    assert alarm_budget(scores, len(scores)) == naive.alarm_budget(scores, 1)


@pytest.mark.parametrize("seed", range(4))
def test_the_pareto_fit_is_as_likely_as_scipys(seed):
    def likelihood(shape, scale):
        return genpareto.logpdf(values, shape, scale=scale).sum()

    generator = np.random.default_rng(seed)
    size, shape = int(generator.integers(10, 300)), generator.uniform(-0.6, 1)
    values = genpareto.rvs(shape, scale=3, size=size, random_state=seed)
    theirs, _, their_scale = genpareto.fit(values, floc=0)
    found = fit_pareto(values)
    assert found[0] >= -1
    if theirs >= -1:
        assert likelihood(*found) >= likelihood(theirs, their_scale) - 1e-3
    for factor in (0.999, 1.001):  # and no worse than its neighbours
        for near in ((found[0] * factor, found[1]), (found[0], found[1] * factor)):
            assert likelihood(*near) <= likelihood(*found)


def test_pot_by_hand_and_of_known_distributions():
    # 20 of 1000 rows exceed 1, all by 2. Of all shapes from -1 on the uniform distribution makes
    # equal numbers most likely: 1 + 2 (1 - 1e-4 * 1000 / 20).
    scores = np.repeat([0.0, 1.0, 3.0], [900, 80, 20])
    assert pot(scores, level=0.979) == pytest.approx(1 + 2 * (1 - 0.1 / 20), rel=1e-5)
    ranks = (np.arange(50_000) + 0.5) / 50_000
    assert pot(-np.log(1 - ranks)) == pytest.approx(-math.log(1e-4), rel=0.02)
    assert pot(ranks, q=1e-3) == pytest.approx(1 - 1e-3, rel=1e-3)
    assert pot((1 - ranks) ** -0.5) == pytest.approx(1e-4**-0.5, rel=0.05)
    # Nine rows above the 0.98 quantile are too few, ten are fitted.
    assert pot(np.arange(450.0)) == 449 and pot(np.arange(500.0)) > 490
    # 10 of a million rows exceed the quantile: a smaller share than q already.
    rare = np.append(np.zeros(1_000_000), np.arange(1.0, 11.0))
    assert pot(rare) == 0 and pot(rare, q=1e-6) > 5


@FAST
@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, 1e3, 1e9]), min_size=1, max_size=200))
@pytest.mark.filterwarnings("error")
def test_pot_of_heavily_tied_scores_is_a_number(scores):
    for level in (0.5, 0.98):
        found = pot(scores, level=level)
        assert math.isfinite(found) and found >= np.quantile(scores, level)


def test_diagnosis_by_hand():
    # 110 % of 10 causes are 11 places, though 100 * 1.1 may come out below.
    found = diagnosis(blame=[range(30, 0, -1)], causes=[range(10, 20)], percent=110 * (1 - 1e-15))
    assert found.hit_rate == pytest.approx(1 / 10)
    # The mean is over events with causes.
    found = diagnosis(blame=[[9, 1]] * 3, causes=[(0,), (), (1,)], percent=100)
    assert found == (1 / 2, 1 / 2) and all(type(value) is float for value in found)
    assert np.isnan(diagnosis(blame=[[1, 2]], causes=[()], percent=100)).all()


@FAST
@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=6),
    st.data(),
    st.sampled_from([50, 100, 150, 400]),
)
def test_ties_are_the_mean_over_all_their_orders(blame, data, percent):
    channels = range(len(blame))
    at_fault = data.draw(st.sets(st.sampled_from(list(channels)), min_size=1))
    k = min(len(blame), max(1, percent * len(at_fault) // 100))
    shares = [
        len(at_fault.intersection(order[:k])) / len(at_fault)
        for order in permutations(channels)
        if all(blame[a] >= blame[b] for a, b in pairwise(order))
    ]
    found = diagnosis(blame=[blame], causes=[tuple(at_fault)], percent=percent)
    assert found.hit_rate == pytest.approx(np.mean(shares), rel=1e-13)
    truth = [[int(channel in at_fault) for channel in channels]]
    assert found.ndcg == pytest.approx(ndcg_score(truth, [blame], k=k), abs=1e-12)


def test_what_is_odd_is_refused():
    two = {"labels": [0, 1], "scores": [0, 1]}
    one = {"blame": [[1, 2]], "causes": [(0,)], "percent": 100}
    for function, options, message in [
        (best_f1, two | {"adjust": "pa"}, "adjust='pa': use None or one of point, raw, log, squee"),
        (best_f1, two | {"adjust": "point", "delay": 0}, "delay=0: a whole number of rows from 1"),
        (best_f1, two | {"delay": 3}, "delay is a kind of point adjustment: give adjust too"),
        (vus, two | {"window": math.inf}, "window=inf: a whole number of rows from 0 on is needed"),
        (affiliation, {"labels": [0, 1], "alarms": [0, 0.5]}, "alarm 0.5 at row 1 is neither 0"),
        (alarms, two | {"threshold": math.nan}, "threshold=nan: a number is needed"),
        (alarms, two | {"threshold": 0, "rows_per_day": 0}, "rows_per_day=0: None or a number"),
        (quantile, {"calibration": [], "share": 0.9}, r"calibration scores of shape \(0,\)"),
        (alarm_budget, {"calibration": [1, math.nan], "rows_per_day": 9}, "score nan at row 1"),
        (pot, {"calibration": [1], "q": math.nan}, "q=nan: both must be above 0 and below 1"),
        (diagnosis, one | {"causes": []}, r"blame of shape \(1, 2\) for the causes of 0"),
        (diagnosis, one | {"blame": [[1, math.nan]]}, "blame must be finite numbers"),
        (diagnosis, one | {"causes": [(-1,)]}, "event 0: no channel -1 among 2"),
        (diagnosis, one | {"percent": 0}, "percent=0: a number above 0 is needed"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(**options)
