"""Intervals and paired tests: by hand, against brute force, against scipy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lmmoe.report import statistics

NAN = math.nan


def test_the_interval_by_hand():
    # Half of the resamples of two values hold both, a quarter only the one, a quarter the other.
    assert statistics.bootstrap_mean([0, 1]) == (0.5, 0.0, 1.0)
    for values, mean in (([0.3, NAN], 0.3), ([NAN], NAN), ([], NAN)):
        expected = pytest.approx((mean, NAN, NAN), nan_ok=True)
        assert statistics.bootstrap_mean(values) == expected
    # The mean of many values is normal.
    values = np.random.default_rng(0).normal(size=400)
    half = 1.96 * values.std() / 20
    expected = [values.mean(), values.mean() - half, values.mean() + half]
    found = statistics.bootstrap_mean(values)
    assert found == pytest.approx(expected, abs=0.03 * half)
    assert found == statistics.bootstrap_mean([*values[::-1], NAN])  # in any order


def test_wilcoxon_by_hand():
    for differences, p in (
        # Equal but for rounding, rank 2 each; minus 2. Sums 0 and three times 2: four of eight.
        ([0.3 - 0.1, 0.5 - 0.3, 0.2 - 0.4], 1.0),
        ([0, 0.1 + 0.2 - 0.3, 1, 2, 3, 4, 5, 6, NAN], 2 / 64),  # zeros and gaps are dropped
        *(([0, 0, 0], 1.0), ([NAN], NAN), ([], NAN)),
    ):
        assert statistics.wilcoxon_p(differences) == pytest.approx(p, nan_ok=True), differences


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_wilcoxon_against_all_signs(differences):
    ranks = stats.rankdata([abs(d) for d in differences if d])
    total, plus = sum(ranks), sum(itertools.compress(ranks, [d > 0 for d in differences if d]))
    choices = itertools.product((0, 1), repeat=len(ranks))
    sums = [sum(itertools.compress(ranks, signs)) for signs in choices]
    expected = min(1, 2 * sum(one <= min(plus, total - plus) for one in sums) / len(sums))
    assert statistics.wilcoxon_p(differences) == pytest.approx(expected)
    assert statistics.wilcoxon_p([-d for d in differences]) == pytest.approx(expected)


def test_pairs_by_hand():
    found = statistics.paired([0.5, 0.4, NAN, 0.3, 0.2], [0.1, 0.4, 0.9, 0.5, NAN])
    assert found[:2] == (3, pytest.approx(0.2 / 3))  # .4, 0, -.2
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert found.low == pytest.approx(-0.2) and found.high == pytest.approx(0.4)
    assert found.p == 1.0  # ranks 2 and 1, sums up to 1: two of four
    none = statistics.paired([0.1, NAN], [NAN, 0.2])
    assert (none.entities, none.wins, none.ties, none.losses) == (0, 0, 0, 0)
    assert all(map(math.isnan, (none.difference, none.low, none.high, none.p)))


def test_holm_by_hand():
    for p, adjusted in (
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # .01 x 3; .03 x 2; .04 x 1 is not less
        ([0.04, NAN, 0.01], [0.04, NAN, 0.02]),  # two comparisons, not three
        ([0.6, 0.7], [1.0, 1.0]),
        ([], []),
        ([NAN], [NAN]),
    ):
        assert statistics.holm(p).tolist() == pytest.approx(adjusted, nan_ok=True), p
