"""Intervals, paired tests and mean ranks: by hand, against brute force, against scipy."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lmmoe.report import statistics

NAN = math.nan


def test_the_interval_by_hand():
    # Half of the resamples of two values hold both, a quarter only the one, a quarter the other.
    assert statistics.bootstrap_mean([0, 1]) == (0.5, 0.0, 1.0)
    assert statistics.bootstrap_mean([0, 1], confidence=0.4) == (0.5, 0.5, 0.5)
    one = statistics.bootstrap_mean([0.3, NAN])
    assert one.mean == 0.3 and math.isnan(one.low) and math.isnan(one.high)
    assert all(map(math.isnan, (*statistics.bootstrap_mean([NAN]), *statistics.bootstrap_mean([]))))
    with pytest.raises(ValueError, match="confidence=95: it must lie between 0 and 1"):
        statistics.bootstrap_mean([1, 2], confidence=95)
    # The mean of many values is normal.
    values = np.random.default_rng(0).normal(size=400)
    found, half = statistics.bootstrap_mean(values), 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.03 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03 * half)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12))
def test_the_interval_is_fixed_by_values_and_seed(values):
    found = statistics.bootstrap_mean(values, resamples=50)
    assert found == statistics.bootstrap_mean([*values[::-1], NAN], resamples=50, seed=0)
    assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12


def test_wilcoxon_by_hand():
    for differences, p in (
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        ([1, 2, 3, 4, 5], 2 / 32),  # five pairs reach 0.0625 and no less
        ([-1], 1.0),
        # Ranks 1, 2, 3; minus 2. Sums up to 2: {}, {1}, {2}, three of eight choices.
        ([1, -2, 3], 6 / 8),
        # Equal sizes, rank 2 each; minus 2. Sums 0 and three times 2: four of eight.
        ([1, 1, -1], 1.0),
        # As before but for rounding: 0.3 - 0.1 and 0.5 - 0.3 differ by 3e-17.
        ([0.3 - 0.1, 0.5 - 0.3, 0.2 - 0.4], 1.0),
        ([0, 0.1 + 0.2 - 0.3, 1, 2, 3, 4, 5, 6, NAN], 2 / 64),  # zeros and gaps are dropped
        ([0, 0, 0], 1.0),
        ([NAN], NAN),
        ([], NAN),
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


def test_wilcoxon_against_scipy():
    for n in (3, 12, 40):
        differences = np.random.default_rng(n).normal(0.3, size=n)
        expected = stats.wilcoxon(differences, method="exact").pvalue
        assert statistics.wilcoxon_p(differences) == pytest.approx(expected, rel=1e-9)
    many = np.random.default_rng(1).normal(0.1, size=200)
    expected = stats.wilcoxon(many, method="approx").pvalue
    assert statistics.wilcoxon_p(many) == pytest.approx(expected, rel=0.02)


def test_pairs_by_hand():
    found = statistics.paired([0.5, 0.4, NAN, 0.3, 0.2], [0.1, 0.4, 0.9, 0.5, NAN])
    assert found[:2] == (3, pytest.approx(0.2 / 3))  # .4, 0, -.2
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert found.low == pytest.approx(-0.2) and found.high == pytest.approx(0.4)
    assert found.p == 1.0  # ranks 2 and 1, sums up to 1: two of four
    costs = statistics.paired([0.1, 0.2], [0.3, 0.3], higher_is_better=False)
    assert (costs.wins, costs.losses) == (2, 0) and costs.difference < 0
    none = statistics.paired([0.1, NAN], [NAN, 0.2])
    assert (none.pairs, none.wins, none.ties, none.losses) == (0, 0, 0, 0)
    assert all(map(math.isnan, (none.difference, none.low, none.high, none.p)))
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\): give one value per entity"):
        statistics.paired([1, 2], [1, 2, 3])


def test_holm_by_hand():
    for p, adjusted in (
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # .01 x 3; .03 x 2; .04 x 1 is not less
        ([0.04, NAN, 0.01], [0.04, NAN, 0.02]),  # two comparisons, not three
        ([0.6, 0.7], [1.0, 1.0]),
        ([], []),
        ([NAN], [NAN]),
    ):
        assert statistics.holm(p).tolist() == pytest.approx(adjusted, nan_ok=True), p


def test_ranks_by_hand():
    table = pd.DataFrame({"low": [0.1, 0.2, 0.3], "high": [0.7, 0.8, 0.9], "mid": [0.4, 0.5, 0.6]})
    found = statistics.mean_ranks(table)
    assert list(found.ranks.items()) == [("high", 1), ("mid", 2), ("low", 3)]
    assert (found.entities, found.left_out) == (3, ())
    # 12 x 3 / (3 x 4) x (1 + 0 + 1) = 6; chi squared with 2 degrees of freedom: exp(-6 / 2).
    assert (found.statistic, found.p) == pytest.approx((6, math.exp(-3)))
    costs = statistics.mean_ranks(table, higher_is_better=False)
    assert list(costs.ranks.index) == ["low", "mid", "high"]
    # Equal but for rounding: 0.1 + 0.2 is not 0.3.
    tied = statistics.mean_ranks(pd.DataFrame({"a": [0.1 + 0.2, 0.5], "b": [0.3, 0.4]}))
    assert tied.ranks.to_dict() == {"a": 1.25, "b": 1.75}


def test_ranks_against_scipy_and_the_printed_values():
    for digits in (1, 9):  # with ties and without
        table = pd.DataFrame(np.random.default_rng(7).random((12, 5)).round(digits))
        found = statistics.mean_ranks(table)
        assert (found.statistic, found.p) == pytest.approx(stats.friedmanchisquare(*table.T.values))
    # The critical values of Demsar's table 5a, for 2 to 10 classifiers at 0.05.
    printed = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for k, q in enumerate(printed, start=2):
        found = statistics.mean_ranks(pd.DataFrame(np.random.default_rng(k).random((14, k))))
        expected = q * math.sqrt(k * (k + 1) / (6 * 14))
        assert found.critical_difference == pytest.approx(expected, rel=1e-3)


def test_too_little_to_rank():
    for columns in ({}, {"a": [1.0, 2.0]}, {"a": [1], "b": [2]}):
        found = statistics.mean_ranks(pd.DataFrame(columns))
        assert len(found.ranks) == len(columns)
        assert all(map(math.isnan, (found.statistic, found.p, found.critical_difference)))
    tied = statistics.mean_ranks(pd.DataFrame(dict.fromkeys("abc", [0.5, 0.4])))
    assert tied.ranks.tolist() == [2, 2, 2] and math.isnan(tied.p)


def test_a_detector_with_few_entities_is_left_out_rather_than_the_entities():
    values = {"slow": [0.9, NAN, NAN, NAN], "a": [0.1, 0.2, 0.3, NAN], "b": [0.2, 0.1, 0.2, 0.3]}
    table = pd.DataFrame(values, index=list("wxyz")).assign(none=NAN)
    # b alone keeps 4 values, a and b 3 x 2, all three 1 x 3.
    assert statistics.largest_block(table).equals(table.loc[list("wxy"), ["a", "b"]])
    found = statistics.mean_ranks(table)
    assert (found.entities, found.left_out) == (3, ("slow", "none"))
    assert found.ranks.to_dict() == pytest.approx({"a": 4 / 3, "b": 5 / 3})
    equal = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, NAN]})  # 2 x 1 or 1 x 2: more detectors
    assert statistics.largest_block(equal).shape == (1, 2)
    assert statistics.largest_block(equal * NAN).shape == (0, 0)
