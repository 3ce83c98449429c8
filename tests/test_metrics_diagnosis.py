"""HitRate and NDCG: by hand, against all orders of tied channels, and as scikit-learn has it."""

import math
from itertools import permutations
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from lmmoe.metrics import diagnosis

FAST = settings(max_examples=60, deadline=None)


def close(value):
    return pytest.approx(value, rel=1e-13)


def test_by_hand():
    # Ranking: 3, 0, 2, 1. Causes 0 and 1; two are looked at: 0 is found, at place 2.
    blame = [[5, 1, 3, 9]]
    found = diagnosis(blame=blame, causes=[(0, 1)], percent=100)
    ideal = 1 + 1 / log2(3)
    assert found == close((1 / 2, 1 / log2(3) / ideal))
    assert all(type(value) is float for value in found)
    # 150 %: three are looked at, the same is found.
    assert diagnosis(blame=blame, causes=[(0, 1)], percent=150) == found
    # 200 %: all four: 1 at place 4 as well.
    expected = (1, (1 / log2(3) + 1 / log2(5)) / ideal)
    assert diagnosis(blame=blame, causes=[(0, 1)], percent=200) == close(expected)


@pytest.mark.parametrize(
    ("causes", "percent", "looked_at"),
    [(1, 100, 1), (1, 150, 1), (2, 150, 3), (3, 150, 4), (1, 10, 1), (9, 50, 4), (8, 150, 10)],
)
def test_how_many_are_looked_at(causes, percent, looked_at):
    # Ten channels in order of blame; the causes are the last ones.
    blame, at_fault = [list(range(10, 0, -1))], [tuple(range(10 - causes, 10))]
    found = diagnosis(blame=blame, causes=at_fault, percent=percent).hit_rate
    assert found == close(max(0, looked_at - (10 - causes)) / causes)


def test_looked_at_is_not_cut_by_rounding():
    # 110 % of 10 causes are 11 places, though 1.1 / 100 * 100 * 10 may come out below.
    blame = [list(range(30, 0, -1))]
    for percent in (110, 100 * 1.1, 110 * (1 - 1e-15)):
        found = diagnosis(blame=blame, causes=[tuple(range(10, 20))], percent=percent)
        assert found.hit_rate == close(1 / 10)


def test_perfect_and_useless():
    blame = [[9, 8, 1, 0], [0, 1, 2, 3]]
    for percent in (100, 150):
        assert diagnosis(blame=blame, causes=[(0, 1), (3,)], percent=percent) == close((1, 1))
    assert diagnosis(blame=blame, causes=[(2, 3), (0,)], percent=100) == (0, 0)


def test_the_mean_is_over_events_with_causes():
    blame = [[9, 1], [9, 1], [9, 1]]
    assert diagnosis(blame=blame, causes=[(0,), (), (1,)], percent=100) == (1 / 2, 1 / 2)
    for no_blame, nobody in (([[1, 2]], [()]), (np.zeros((0, 3)), [])):
        found = diagnosis(blame=no_blame, causes=nobody, percent=100)
        assert math.isnan(found.hit_rate) and math.isnan(found.ndcg)


@pytest.mark.parametrize("percent", [100, 150])
def test_equal_blame_gives_what_a_random_ranking_has(percent):
    generator = np.random.default_rng(0)
    causes = [(0, 1, 5), (3,), tuple(range(7))]
    level = diagnosis(blame=np.zeros((3, 8)), causes=causes, percent=percent)
    hit_rate = np.mean([min(8, percent * len(c) // 100) / 8 for c in causes])
    assert level.hit_rate == close(hit_rate)
    drawn = [
        diagnosis(blame=generator.random((3, 8)), causes=causes, percent=percent)
        for _ in range(1000)
    ]
    assert np.mean(drawn, axis=0) == pytest.approx(level, abs=0.03)


BLAME = st.lists(st.integers(0, 3), min_size=2, max_size=6)


@FAST
@given(BLAME, st.data(), st.sampled_from([50, 100, 150, 400]))
def test_ties_are_the_mean_over_all_their_orders(blame, data, percent):
    channels = range(len(blame))
    at_fault = data.draw(st.sets(st.sampled_from(list(channels)), min_size=1))
    k = min(len(blame), max(1, percent * len(at_fault) // 100))
    ideal = sum(1 / log2(i + 2) for i in range(min(k, len(at_fault))))
    values = []
    for order in permutations(channels):
        if all(blame[a] >= blame[b] for a, b in zip(order, order[1:], strict=False)):
            found = [i for i, channel in enumerate(order[:k]) if channel in at_fault]
            gain = sum(1 / log2(i + 2) for i in found)
            values.append((len(found) / len(at_fault), gain / ideal))
    found = diagnosis(blame=[blame], causes=[tuple(at_fault)], percent=percent)
    assert found == close(tuple(np.mean(values, axis=0)))


@FAST
@given(BLAME, st.data(), st.sampled_from([50, 100, 150]))
def test_ndcg_is_scikit_learns(blame, data, percent):
    at_fault = data.draw(st.sets(st.sampled_from(range(len(blame))), min_size=1))
    truth = [[int(channel in at_fault) for channel in range(len(blame))]]
    k = min(len(blame), max(1, percent * len(at_fault) // 100))
    found = diagnosis(blame=[blame], causes=[tuple(at_fault)], percent=percent).ndcg
    assert found == pytest.approx(ndcg_score(truth, [blame], k=k), abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blame": [1, 2]}, r"blame of shape \(2,\) for the causes of 1 events"),
        ({"causes": []}, r"blame of shape \(1, 2\) for the causes of 0 events"),
        ({"blame": [[1, math.nan]]}, "blame must be finite numbers"),
        ({"blame": [["a", "b"]]}, "blame must be finite numbers"),
        ({"causes": [(2,)]}, "event 0: no channel 2 among 2"),
        ({"causes": [(-1,)]}, "event 0: no channel -1 among 2"),
        ({"causes": [(1, 1)]}, r"event 0 names a channel twice: \(1, 1\)"),
        ({"percent": 0}, "percent=0: a number above 0 is needed"),
        ({"percent": math.nan}, "percent=nan: a number above 0 is needed"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        diagnosis(**({"blame": [[1, 2]], "causes": [(0,)], "percent": 100} | changes))
