"""Alarms at a threshold: by hand, against plain loops, what is refused."""

import math

import naive
import naive_alarms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe.metrics import alarms

FAST = settings(max_examples=100, deadline=None)


def bits(length, *rows):
    values = np.zeros(length)
    values[list(rows)] = 1
    return values


def test_by_hand():
    # Events: rows 20-29 and 60-61. Flagged: 3, 5 (one false alarm), 23 and 24, 45 (false).
    labels = bits(100, *range(20, 30), 60, 61)
    found = alarms(
        labels=labels, scores=bits(100, 3, 5, 23, 24, 45), threshold=0.5, rows_per_day=50
    )
    assert found.precision == 2 / 5 and found.recall == 2 / 12 and found.f1 == 4 / (5 + 12)
    assert found.events_found == 1 / 2 and found.delay == 3
    assert found.false_alarms_per_day == 2 / 2  # two in two days
    assert all(type(value) is float for value in found)


@pytest.mark.parametrize(("row", "count"), [(10, 1), (11, 1), (12, 2), (30, 2)])
def test_fewer_than_ten_rows_between_make_one_alarm(row, count):
    # Row 1 and row 11 have nine rows between them, row 1 and row 12 ten.
    found = alarms(labels=bits(60, 50), scores=bits(60, 1, row), threshold=0, rows_per_day=60)
    assert found.false_alarms_per_day == count


def test_an_alarm_that_reaches_over_an_event_is_not_false_but_does_not_find_it():
    found = alarms(labels=bits(40, 5), scores=bits(40, 3, 8), threshold=0, rows_per_day=40)
    assert found.false_alarms_per_day == 0 and found.events_found == 0
    assert found.precision == 0 and math.isnan(found.delay)


def test_an_alarm_beside_an_event_is_false():
    # The event is rows 5 and 6.
    labels = bits(40, 5, 6)
    for row in (4, 7):
        found = alarms(labels=labels, scores=bits(40, row), threshold=0, rows_per_day=40)
        assert found.false_alarms_per_day == 1, row
    for row in (5, 6):
        found = alarms(labels=labels, scores=bits(40, row), threshold=0, rows_per_day=40)
        assert found.false_alarms_per_day == 0 and found.delay == row - 5, row


def test_an_alarm_that_began_before_the_event_has_no_delay():
    found = alarms(labels=bits(40, 5, 6), scores=bits(40, 4, 5), threshold=0)
    assert found.delay == 0 and found.events_found == 1 and found.precision == 1 / 2


def test_a_score_at_the_threshold_is_not_above_it():
    assert alarms(labels=[0, 1], scores=[1, 2], threshold=2).recall == 0
    assert alarms(labels=[0, 1], scores=[1, 2], threshold=np.nextafter(2, 0)).recall == 1


def test_no_alarm_has_no_precision_and_no_delay():
    for threshold in (9, math.inf):
        found = alarms(labels=[0, 1], scores=[1, 2], threshold=threshold, rows_per_day=1)
        assert math.isnan(found.precision) and math.isnan(found.delay)
        assert found[1:5] == (0, 0, 0, 0)


def test_without_rows_per_day_there_is_no_rate():
    found = alarms(labels=[0, 1], scores=[1, 2], threshold=0)
    assert math.isnan(found.false_alarms_per_day)
    assert found.events_found == 1 and found.precision == 1 / 2


@FAST
@given(naive.cases(), st.sampled_from([-1.5, -0.9, -0.5, 0.0, 0.7, 1.5, 5.0]))
def test_equals_plain_loops(case, threshold):
    labels, scores = case
    flagged = [score > threshold for score in scores]
    found = alarms(labels=labels, scores=scores, threshold=threshold, rows_per_day=len(labels))
    assert found.f1 == pytest.approx(float(naive_alarms.f1(labels, flagged)))
    false = naive_alarms.false_alarms(labels, scores, threshold)
    assert found.false_alarms_per_day == pytest.approx(false)
    delays = naive_alarms.delays(labels, scores, threshold)
    assert found.events_found == pytest.approx(len(delays) / len(naive.events(labels)))
    if delays:
        assert found.delay == pytest.approx(np.mean(delays))
    if any(flagged):
        hits = sum(bool(label) and flag for label, flag in zip(labels, flagged, strict=True))
        assert found.precision == pytest.approx(hits / sum(flagged))
        assert found.recall == pytest.approx(hits / sum(labels))


def test_a_threshold_that_is_no_number():
    with pytest.raises(ValueError, match="threshold=nan: a number is needed"):
        alarms(labels=[0, 1], scores=[0, 1], threshold=math.nan)


@pytest.mark.parametrize("rows", [0, -1, math.nan, math.inf])
def test_bad_rows_per_day(rows):
    with pytest.raises(ValueError, match=f"rows_per_day={rows}: None or a number above 0"):
        alarms(labels=[0, 1], scores=[0, 1], threshold=0, rows_per_day=rows)
