"""Thresholds without labels: by hand, against plain loops, and scipy's Pareto distribution."""

import math

import naive_alarms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto

from lmmoe.metrics import alarm_budget, pot, quantile
from lmmoe.metrics.thresholds import fit_pareto

FAST = settings(max_examples=100, deadline=None)
SCORES = st.lists(st.integers(0, 9), min_size=1, max_size=80)


def test_quantile_by_hand():
    assert quantile([4, 1, 3, 2, 0], 0.75) == 3.0
    assert quantile([4, 1, 3, 2, 0], 1) == 4.0
    assert quantile([0, 1], 0.99) == pytest.approx(0.99)
    assert type(quantile([0, 1], 0)) is float


def spikes(length, **heights):
    scores = np.zeros(length)
    for place, height in heights.items():
        scores[int(place[1:])] = height
    return scores


def test_budget_by_hand():
    # Three spikes far apart in two days: two alarms are allowed, so the lowest is left out.
    scores = spikes(100, r10=5, r40=3, r80=4)
    assert alarm_budget(scores, 50) == 3
    assert alarm_budget(scores, 34) == 3  # 2.9 days: two alarms
    assert alarm_budget(scores, 33) == 0  # 3.03 days: all three, and all zeros are not above 0
    assert alarm_budget(scores, 100) == 4
    assert alarm_budget(scores, 50, per_day=0.5) == 4
    # Less than one alarm is none: nothing of calibration is above its highest score.
    assert alarm_budget(scores, 101) == 5 and alarm_budget(scores, 50, per_day=0) == 5


def test_close_rows_are_one_alarm():
    assert alarm_budget(spikes(60, r10=5, r20=3), 60) == 0  # nine rows between
    assert alarm_budget(spikes(60, r10=5, r21=3), 60) == 3  # ten


def test_lower_thresholds_that_keep_to_the_budget_by_growing_together_are_not_taken():
    # At 1 two alarms; at 0 all rows but the last are one alarm: yet 1 is too low already.
    scores = np.full(41, 1.0)
    scores[[10, 30]], scores[40] = 2, 0
    assert alarm_budget(scores, 41) == 2
    assert len(naive_alarms.stretches(scores, 0)) == 1
    assert alarm_budget(scores, 41, per_day=2) == 0


def test_budget_of_constant_scores_is_their_value():
    assert alarm_budget([3, 3, 3], 1) == alarm_budget([3, 3, 3], 1000) == 3
    assert alarm_budget([7], 1) == 7


def test_budget_is_not_cut_by_rounding():
    # 0.29 a day over 100 days is 28.999999999999996 alarms: 29 spikes may stay.
    scores = np.zeros(2900)
    scores[::100] = np.arange(29) + 1
    assert 0.29 * 100 < 29
    assert alarm_budget(scores, 29, per_day=0.29) == 0
    scores[50] = 0.5
    assert alarm_budget(scores, 29, per_day=0.29) == 0.5


@FAST
@given(SCORES, st.integers(0, 5))
def test_budget_equals_plain_loops(scores, allowed):
    found = alarm_budget(scores, len(scores), per_day=allowed)
    assert found == naive_alarms.alarm_budget(scores, allowed)
    assert len(naive_alarms.stretches(scores, found)) <= allowed


@pytest.mark.parametrize(
    ("shape", "scale"), [(0.3, 2.0), (0.0, 1.0), (-0.3, 5.0), (-0.9, 1.0), (1.5, 1e-6)]
)
def test_fit_finds_the_parameters_that_numbers_were_drawn_with(shape, scale):
    drawn = genpareto.rvs(shape, scale=scale, size=5000, random_state=0)
    found = fit_pareto(drawn)
    assert found == pytest.approx((shape, scale), rel=0.06, abs=0.06)


def likelihood(values, shape, scale):
    return genpareto.logpdf(values, shape, scale=scale).sum()


@pytest.mark.parametrize("seed", range(8))
def test_fit_is_as_likely_as_scipys(seed):
    generator = np.random.default_rng(seed)
    size, shape = int(generator.integers(10, 300)), generator.uniform(-0.6, 1)
    values = genpareto.rvs(shape, scale=3, size=size, random_state=seed)
    theirs, _, their_scale = genpareto.fit(values, floc=0)
    found = fit_pareto(values)
    assert found[0] >= -1
    if theirs >= -1:
        assert likelihood(values, *found) >= likelihood(values, theirs, their_scale) - 1e-3
    # And no worse than its neighbours.
    for factor in (0.999, 1.001):
        near = (found[0] * factor, found[1]), (found[0], found[1] * factor)
        assert all(likelihood(values, *other) <= likelihood(values, *found) for other in near)


def test_fit_of_equal_numbers_is_the_uniform_distribution_up_to_them():
    # Of all with g >= -1 that makes them most likely: density 1 / 2.
    assert fit_pareto([2.0] * 20) == pytest.approx((-1, 2), rel=1e-5)


def test_fit_of_exponential_quantiles_is_exponential():
    ranks = (np.arange(20_000) + 0.5) / 20_000
    assert fit_pareto(-3 * np.log(1 - ranks)) == pytest.approx((0, 3), rel=0.01, abs=0.01)


def test_pot_by_hand():
    # 20 of 1000 rows exceed 1, all by 2: uniform up to there. 1 + 2 (1 - 1e-4 * 1000 / 20).
    scores = np.repeat([0.0, 1.0, 3.0], [900, 80, 20])
    assert np.quantile(scores, 0.979) == 1
    assert pot(scores, level=0.979) == pytest.approx(1 + 2 * (1 - 0.1 / 20), rel=1e-5)


def test_pot_finds_the_rare_quantile_of_known_distributions():
    ranks = (np.arange(50_000) + 0.5) / 50_000
    assert pot(-np.log(1 - ranks)) == pytest.approx(-math.log(1e-4), rel=0.02)
    assert pot(ranks, q=1e-3) == pytest.approx(1 - 1e-3, rel=1e-3)
    assert pot((1 - ranks) ** -0.5) == pytest.approx(1e-4**-0.5, rel=0.05)


def test_pot_with_too_few_excesses_is_the_highest_score():
    scores = np.arange(450.0)  # the 0.98 quantile is 440.02: nine rows exceed it
    assert pot(scores) == 449
    assert pot(np.arange(500.0)) > 490  # ten do: fitted
    for few in ([3.0], [1, 2, 3], [5.0] * 1000, [0.0] * 99 + [1.0] * 900):
        assert pot(few) == max(few)


def test_pot_does_not_go_below_its_start():
    # 10 of a million rows exceed the quantile: a smaller share than q already.
    scores = np.append(np.zeros(1_000_000), np.arange(1.0, 11.0))
    assert pot(scores) == 0
    assert pot(scores, q=1e-6) > 5


@FAST
@given(st.integers(0, 10_000), st.sampled_from([1e-9, 0.5, 1e6]), st.sampled_from([-3, 0, 1e3]))
def test_pot_moves_and_stretches_with_the_scores(seed, factor, shift):
    scores = np.random.default_rng(seed).gamma(0.5, size=800)
    expected = pot(scores) * factor + shift
    assert pot(scores * factor + shift) == pytest.approx(expected, rel=1e-3, abs=factor * 1e-3)


@FAST
@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0, 1e3, 1e9]), min_size=1, max_size=200))
@pytest.mark.filterwarnings("error")
def test_pot_of_heavily_tied_scores_is_a_number(scores):
    for level in (0.5, 0.98):
        found = pot(scores, level=level)
        assert math.isfinite(found) and found >= np.quantile(scores, level)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], r"calibration of shape \(0,\)"),
        ([[1.0]], r"calibration of shape \(1, 1\)"),
        (["a"], "type <U1: a vector of at least one number is needed"),
        ([1, math.nan], "calibration score nan at row 1 is not finite"),
        ([math.inf, 1], "calibration score inf at row 0 is not finite"),
    ],
)
def test_bad_calibration(scores, message):
    for threshold in (pot, lambda s: quantile(s, 0.9), lambda s: alarm_budget(s, 10)):
        with pytest.raises(ValueError, match=message):
            threshold(scores)


def test_bad_settings():
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"share={share}: it must be from 0 to 1"):
            quantile([1], share)
    for rows in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"rows_per_day={rows}: a number above 0 is needed"):
            alarm_budget([1], rows)
    for per_day in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"per_day={per_day}: a number from 0 on is needed"):
            alarm_budget([1], 10, per_day=per_day)
    for odd in ({"level": 0}, {"level": 1}, {"q": 0}, {"q": 1}, {"q": math.nan}):
        with pytest.raises(ValueError, match="both must be above 0 and below 1"):
            pot([1], **odd)
    with pytest.raises(ValueError, match="excess 0.0: all must be above 0"):
        fit_pareto([1.0, 0.0])
