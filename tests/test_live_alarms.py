"""When an alarm opens and ends, and thresholds that go on learning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import tiny, waves

from lmmoe import detector, live, metrics
from lmmoe.errors import DataError
from lmmoe.live.alarms import MOST, Alarm, Tail, checked_rule, threshold
from lmmoe.live.model import Facts, Model
from lmmoe.metrics.thresholds import fit_pareto

SCORES = np.random.default_rng(0).exponential(size=2000)


def opened(scores, alarm):
    return [row for row, score in enumerate(scores) if alarm.step(score, row) == "opened"]


def test_it_ends_after_ten_quiet_rows_and_opens_again():
    alarm = Alarm(2.0, release=0.5)
    rows = [3.0] + [1.5] * 9 + [1.01] + [1.0] * 9 + [5.0] + [1.0] * 10 + [2.5]
    assert opened(rows, alarm) == [0, 31]
    alarm = Alarm(2.0, release=0.5)
    opened(rows[:30], alarm)
    assert alarm.open and (alarm.first, alarm.last, alarm.peak, alarm.quiet) == (0, 20, 5.0, 9)
    alarm.step(1.0, 30)
    assert not alarm.open


def test_the_release_level_keeps_a_swinging_score_one_alarm():
    swinging = np.tile([2.1, *[1.7] * 12], 5)
    assert len(opened(swinging, Alarm(2.0, release=1.0))) == 5
    assert len(opened(swinging, Alarm(2.0, release=0.8))) == 1


def test_rounding_opens_no_alarm():
    assert opened([2.00001, 2.000021], Alarm(2.0)) == [1]
    assert opened([0.0, 1e-13, 2e-12], Alarm(0.0)) == [2]
    assert opened([-2.00001, -1.99999, -1.99997], Alarm(-2.0)) == [2]


def test_rows_of_a_common_score_end_an_alarm():
    """Of constant rows all scores are alike, and the threshold is such a score."""
    rows = [1.0, 5.0, *[1.000001] * 10, 1.0]
    endless, ending = Alarm(1.0), Alarm(1.0, normal=1.0)
    assert opened(rows, endless) == opened(rows, ending) == [1]
    assert endless.open and not ending.open
    assert opened([5.0, *[1.5] * 30], high := Alarm(2.0, normal=3.0)) == [0] and not high.open


def test_constant_rows_give_no_endless_alarm():
    rows = np.tile([3.0, 1e6, 0.1, -7.0], (300, 1))
    shown = np.concatenate([rows[:60], rows[:10] + 50, rows[:120]])
    for name in ("LightMMoE", "linear", "MTSExample"):
        made = Model(tiny(name).fit(rows), Facts.of(rows, rows_per_day=100.0))
        stream, fleet = live.Stream(made), live.Fleet(made, 1)
        events = [stream.step(one).event for one in shown]
        ticks = [fleet.step(one[None]) for one in shown]
        assert [event for event in events if event] == ["opened", "ended"]
        assert events.index("opened") == 60
        assert [len(tick.opened) for tick in ticks] == [event == "opened" for event in events]
        assert [len(tick.ended) for tick in ticks] == [event == "ended" for event in events]


def test_rules_are_the_metrics_thresholds():
    assert threshold("quantile:0.9", SCORES, None) == metrics.quantile(SCORES, 0.9)
    assert threshold("quantile", SCORES, None) == metrics.quantile(SCORES, 0.99)
    assert threshold("budget:2", SCORES, 200) == metrics.alarm_budget(SCORES, 200, per_day=2)
    assert threshold("budget", SCORES, 200) == metrics.alarm_budget(SCORES, 200, per_day=1)
    assert threshold("pot:0.001", SCORES, None) == metrics.pot(SCORES, q=1e-3)
    assert threshold("spot:0.001", SCORES, None).threshold == metrics.pot(SCORES, q=1e-3)
    assert threshold(2.5, None, None) == threshold("2.5", None, None) == 2.5


def test_other_rules_are_refused():
    for rule in ("", "often:1", "quantile:2", "pot:-1", "budget:inf", "nan", ":"):
        with pytest.raises(DataError, match="no threshold .* Use a number, or one of budget"):
            checked_rule(rule)
    with pytest.raises(DataError, match="release=1.1: a share of the threshold from 0 to 1"):
        Alarm(1.0, 1.1)


def test_a_rule_says_what_it_lacks():
    with pytest.raises(DataError, match="no scores of rows that it was not fitted on: no pot"):
        threshold("pot", None, None)
    with pytest.raises(DataError, match="an alarm budget needs to know how many rows make a day"):
        threshold("budget", SCORES, None)
    with pytest.raises(DataError, match="threshold 'pot:1': .* below 1"):
        threshold("pot:1", SCORES, None)


def naive_spot(calibration, scores, q=1e-3, level=0.98, every=16):
    """Algorithm 2 of Siffer et al. with all excesses, fitted anew at every so many."""
    start = np.quantile(calibration, level)
    excesses = [score - start for score in calibration if score > start]
    rows, new = len(calibration), 0
    limit = metrics.pot(calibration, level=level, q=q)
    limits = []
    for score in scores:
        if score <= limit:
            rows += 1
            if score > start:
                excesses.append(score - start)
                new += 1
                if new == every:
                    new = 0
                    shape, scale = fit_pareto(np.array(excesses))
                    limit = start + scale / shape * ((q * rows / len(excesses)) ** -shape - 1)
        limits.append(limit)
    return np.array(limits)


def test_a_tail_is_spot_while_its_memory_lasts():
    rng = np.random.default_rng(1)
    scores = rng.exponential(scale=1.3, size=3000)  # heavier than the calibration
    tail = Tail.of(SCORES, q=1e-3)
    limits, moved = [], 0
    for score in scores:
        moved += tail.update(score)
        limits.append(tail.threshold)
    expected = naive_spot(SCORES, scores)
    assert moved == len(np.unique(expected)) - 1 > 5
    assert np.allclose(limits, expected, rtol=1e-9)


def test_a_tail_keeps_to_its_memory_and_learns_nothing_from_alarms():
    tail = Tail.of(SCORES, q=1e-3)
    before = tail.state
    assert not tail.update(1e9)
    assert tail.state == before
    for excess in np.random.default_rng(2).exponential(size=4 * MOST):
        tail.update(tail.start + excess)
    assert len(tail.excesses) == MOST and tail.exceeding > 3 * MOST


def test_a_tail_without_a_tail_stays_at_the_highest_score():
    tail = Tail.of(np.ones(50), q=1e-3)
    assert tail.threshold == 1.0
    assert not any(tail.update(1.0) for _ in range(100))


def test_a_stream_follows_its_tail():
    train = waves(6000)
    made = Model(detector("MTSExample").fit(train), Facts.of(train))
    stream = live.Stream(made, threshold="spot:0.001")
    fixed = live.Stream(made, threshold="pot:0.001")
    before = fixed.alarm.threshold
    assert stream.alarm.threshold == before and fixed.tail is None
    deviation = np.array(made.facts.deviations)
    for score in np.linspace(0, before, 900):  # four channels, each a quarter of it
        stream.step(made.facts.means + deviation * np.sqrt(score / 4))
    assert stream.alarm.threshold == stream.tail.threshold != before
    assert stream.tail.rows > len(made.calibration) + 800


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2), st.integers(0, 5))
def test_without_a_release_level_these_are_the_alarms_that_the_metric_counts(rows, level):
    rows += [(True, 0), (False, 0)]
    labels, scores = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    counted = metrics.alarms(
        labels=labels, scores=scores, threshold=level, rows_per_day=len(labels)
    )
    alarm, found = Alarm(float(level), release=1.0), []
    for row, score in enumerate(scores):
        if alarm.step(score, row) == "opened":
            found.append([row, row])
        elif alarm.open:
            found[-1][1] = alarm.last
    false = [one for one in found if not labels[one[0] : one[1] + 1].any()]
    assert len(false) == counted.false_alarms_per_day
    assert set(opened(scores, Alarm(float(level), release=0.5))) <= {one[0] for one in found}
