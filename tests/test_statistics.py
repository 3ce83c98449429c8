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
VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=12)


# --- bootstrap ---


def test_the_interval_of_two_values():
    # Half of the resamples hold both, a quarter only the one, a quarter only the other.
    assert statistics.bootstrap_mean([0, 1]) == (0.5, 0.0, 1.0)
    assert statistics.bootstrap_mean([0, 1], confidence=0.4) == (0.5, 0.5, 0.5)


def test_the_interval_against_a_loop():
    values = np.random.default_rng(3).random(7)
    values.sort()
    rng = np.random.default_rng(5)
    draws = [[values[i] for i in line] for line in rng.integers(7, size=(400, 7))]
    means = sorted(sum(draw) / 7 for draw in draws)
    found = statistics.bootstrap_mean(values, resamples=400, seed=5, confidence=0.9)
    # The quantile q of n sorted values lies at q (n - 1), between two of them.
    for bound, q in ((found.low, 0.05), (found.high, 0.95)):
        below, part = divmod(q * 399, 1)
        low, high = means[int(below)], means[int(below) + 1]
        assert bound == pytest.approx(low + part * (high - low))


def test_the_interval_does_not_depend_on_the_order_of_the_entities():
    values = np.random.default_rng(3).random(7)
    assert statistics.bootstrap_mean(values) == statistics.bootstrap_mean(values[::-1])


def test_the_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    found = statistics.bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.03 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03 * half)


def test_the_seed_fixes_the_interval():
    values = np.random.default_rng(0).random(20)
    assert statistics.bootstrap_mean(values) == statistics.bootstrap_mean(values, seed=0)
    assert statistics.bootstrap_mean(values) != statistics.bootstrap_mean(values, seed=1)


def test_the_interval_of_few_values_or_none():
    one = statistics.bootstrap_mean([0.3, NAN])
    assert one.mean == 0.3 and math.isnan(one.low) and math.isnan(one.high)
    assert all(map(math.isnan, statistics.bootstrap_mean([NAN])))
    assert all(map(math.isnan, statistics.bootstrap_mean([])))
    with_gap, without = ([0.1, NAN, 0.5, 0.2], [0.1, 0.5, 0.2])
    assert statistics.bootstrap_mean(with_gap) == statistics.bootstrap_mean(without)


@given(VALUES)
def test_the_interval_lies_within_the_values(values):
    found = statistics.bootstrap_mean(values, resamples=50)
    air = 1e-12
    assert min(values) - air <= found.low <= found.high <= max(values) + air


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.1])
def test_a_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match=f"confidence={confidence}: it must lie between 0 and 1"):
        statistics.bootstrap_mean([1, 2], confidence=confidence)


# --- Wilcoxon ---


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        ([1, 2, 3, 4, 5], 2 / 32),  # five pairs reach 0.0625 and no less
        ([-1], 1.0),
        # Ranks 1, 2, 3; minus 2. Sums up to 2: {}, {1}, {2}, three of eight choices.
        ([1, -2, 3], 6 / 8),
        # Equal sizes, rank 2 each; minus 2. Sums 0 and three times 2: four of eight.
        ([1, 1, -1], 1.0),
        ([0, 0, 1, 2, 3, 4, 5, 6], 2 / 64),  # zeros are dropped
        ([0, 0, 0], 1.0),
        ([NAN, 1, 2, 3, 4, 5, 6], 2 / 64),
        ([], NAN),
        ([NAN], NAN),
    ],
)
def test_wilcoxon_by_hand(differences, p):
    assert statistics.wilcoxon_p(differences) == pytest.approx(p, nan_ok=True)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_wilcoxon_against_all_signs(differences):
    sizes = [abs(d) for d in differences if d]
    ranks = stats.rankdata(sizes)
    above = [d > 0 for d in differences if d]
    total, plus = sum(ranks), sum(itertools.compress(ranks, above))
    rarer = min(plus, total - plus)
    sums = [
        sum(itertools.compress(ranks, signs))
        for signs in itertools.product((0, 1), repeat=len(sizes))
    ]
    expected = min(1, 2 * sum(one <= rarer for one in sums) / len(sums))
    assert statistics.wilcoxon_p(differences) == pytest.approx(expected)
    assert statistics.wilcoxon_p([-d for d in differences]) == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 6, 12, 40])
def test_wilcoxon_against_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, size=n)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert statistics.wilcoxon_p(differences) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_of_many_agrees_with_the_normal_approximation():
    differences = np.random.default_rng(1).normal(0.1, size=200)
    expected = stats.wilcoxon(differences, method="approx").pvalue
    assert statistics.wilcoxon_p(differences) == pytest.approx(expected, rel=0.02)


def test_noise_of_rounding_makes_no_ranks():
    # 0.3 - 0.1 and 0.5 - 0.3 differ by 3e-17: the same size, as in the second case by hand.
    assert statistics.wilcoxon_p([0.3 - 0.1, 0.5 - 0.3, 0.2 - 0.4]) == 1.0
    assert statistics.wilcoxon_p([0.1 + 0.2 - 0.3] * 6) == 1.0


# --- pairs ---


def test_pairs_by_hand():
    found = statistics.paired([0.5, 0.4, NAN, 0.3, 0.2], [0.1, 0.4, 0.9, 0.5, NAN])
    assert found[:2] == (3, pytest.approx(0.2 / 3))  # .4, 0, -.2
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert found.low == pytest.approx(-0.2) and found.high == pytest.approx(0.4)
    assert found.p == 1.0  # ranks 2 and 1, sums up to 1: two of four
    other = statistics.paired([0.1, 0.2], [0.3, 0.3], higher_is_better=False)
    assert (other.wins, other.losses) == (2, 0) and other.difference < 0


def test_pairs_that_are_none():
    found = statistics.paired([0.1, NAN], [NAN, 0.2])
    assert (found.pairs, found.wins, found.ties, found.losses) == (0, 0, 0, 0)
    assert all(map(math.isnan, (found.difference, found.low, found.high, found.p)))


@given(VALUES, VALUES)
def test_pairs_are_symmetric(first, second):
    first, second = zip(*zip(first, second, strict=False), strict=True)
    one, other = statistics.paired(first, second), statistics.paired(second, first)
    assert one.difference == pytest.approx(-other.difference, abs=1e-9)
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.p == pytest.approx(other.p)


def test_pairs_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\): give one value per entity"):
        statistics.paired([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"shapes \(1, 2\)"):
        statistics.paired([[1, 2]], [[1, 2]])


# --- Holm ---


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # .01 x 3; .03 x 2; .04 x 1 is not less
        ([0.04, NAN, 0.01], [0.04, NAN, 0.02]),  # two comparisons, not three
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.03], [0.03]),
        ([], []),
        ([NAN], [NAN]),
    ],
)
def test_holm_by_hand(p, adjusted):
    assert statistics.holm(p).tolist() == pytest.approx(adjusted, nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_rejects_what_the_step_down_rule_rejects(p):
    """Reject from the smallest on while p_i <= alpha / (m - i + 1); stop at the first failure."""
    alpha, rejected = 0.05, set()
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] * (len(p) - step) > alpha:
            break
        rejected.add(i)
    found = statistics.holm(p)
    assert {i for i, one in enumerate(found) if one <= alpha} == rejected
    assert all(found >= p) and all(found <= 1)


# --- ranks ---


def test_ranks_by_hand():
    table = pd.DataFrame({"low": [0.1, 0.2, 0.3], "high": [0.7, 0.8, 0.9], "mid": [0.4, 0.5, 0.6]})
    found = statistics.mean_ranks(table)
    assert found.ranks.to_dict() == {"high": 1, "mid": 2, "low": 3}
    assert list(found.ranks.index) == ["high", "mid", "low"]
    assert (found.entities, found.left_out) == (3, ())
    # 12 x 3 / (3 x 4) x (1 + 0 + 1) = 6; chi squared with 2 degrees of freedom: exp(-6 / 2).
    assert found.statistic == pytest.approx(6)
    assert found.p == pytest.approx(math.exp(-3))
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(12 / 18), abs=1e-3)
    down = statistics.mean_ranks(table, higher_is_better=False)
    assert list(down.ranks.index) == ["low", "mid", "high"]


def test_equal_values_share_their_mean_rank():
    # Equal but for rounding: 0.1 + 0.2 is not 0.3.
    found = statistics.mean_ranks(pd.DataFrame({"a": [0.1 + 0.2, 0.5], "b": [0.3, 0.4]}))
    assert found.ranks.to_dict() == {"a": 1.25, "b": 1.75}
    tied = statistics.mean_ranks(pd.DataFrame({"a": [0.5, 0.4], "b": [0.5, 0.4]}))
    assert tied.ranks.tolist() == [1.5, 1.5] and (tied.statistic, tied.p) == (0, 1)


@pytest.mark.parametrize("digits", [1, 9])  # with ties and without
def test_friedman_against_scipy(digits):
    table = pd.DataFrame(np.random.default_rng(7).random((12, 5)).round(digits))
    found = statistics.mean_ranks(table)
    expected = stats.friedmanchisquare(*table.to_numpy().T)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))


# The critical values that Demsar prints in table 5a, for 2 to 10 classifiers at 0.05.
DEMSAR = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)


@pytest.mark.parametrize(("k", "q"), list(enumerate(DEMSAR, start=2)))
def test_the_critical_difference_against_the_printed_values(k, q):
    table = pd.DataFrame(np.random.default_rng(k).random((14, k)))
    found = statistics.mean_ranks(table).critical_difference
    assert found == pytest.approx(q * math.sqrt(k * (k + 1) / (6 * 14)), rel=1e-3)


@pytest.mark.parametrize(
    "table", [pd.DataFrame(), pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": [1], "b": [2]})]
)
def test_too_little_to_rank(table):
    found = statistics.mean_ranks(table)
    assert len(found.ranks) == table.shape[1]
    assert all(map(math.isnan, (found.statistic, found.p, found.critical_difference)))


def test_a_detector_with_few_entities_is_left_out_rather_than_the_entities():
    table = pd.DataFrame(
        {"slow": [0.9, NAN, NAN, NAN], "a": [0.1, 0.2, 0.3, NAN], "b": [0.2, 0.1, 0.2, 0.3]},
        index=list("wxyz"),
    ).assign(none=NAN)
    # b alone keeps 4 values, a and b 3 x 2, all three 1 x 3.
    assert statistics.largest_block(table).equals(table.loc[list("wxy"), ["a", "b"]])
    found = statistics.mean_ranks(table)
    assert (found.entities, found.left_out) == (3, ("slow", "none"))
    assert found.ranks.to_dict() == pytest.approx({"a": 4 / 3, "b": 5 / 3})


def test_of_equal_blocks_the_one_with_more_detectors_is_taken():
    table = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, NAN]})  # 2 x 1 or 1 x 2
    assert statistics.largest_block(table).shape == (1, 2)
    assert statistics.largest_block(table * NAN).shape == (0, 0)
