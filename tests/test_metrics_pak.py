"""PA%K: by hand, against plain loops, and its two ends."""

import naive
import naive_alarms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe.metrics import best_f1, pa_k

FAST = settings(max_examples=60, deadline=None)


def test_by_hand():
    # One event of four rows, 4 3 2 1, among normal 3.5 and 0.
    # K < 25: one flagged row fills it: F1 1 at 4. K < 50: two are needed: at 3 all four hit and
    # one false alarm, 8 / (5 + 4). K < 75 and K < 100: three at 2, four at 1, the same.
    # K = 100: never filled: at 1 all four are flagged anyway, 8 / 9.
    found = pa_k(labels=[0, 1, 1, 1, 1, 0], scores=[3.5, 4, 3, 2, 1, 0])
    assert found.f1.tolist() == [1.0] * 25 + [8 / 9] * 76
    # Trapezoids of width 1/100: 24 at 1, one between, 75 at 8/9.
    assert found.area == pytest.approx(0.24 + 0.01 * (1 + 8 / 9) / 2 + 0.75 * 8 / 9, rel=1e-14)
    assert type(found.area) is float


def test_strictly_more_than_k_percent():
    # Two of four rows are above the normal one. K = 49: 2 > 1.96 fills. K = 50: 2 > 2 does not.
    # Then 4 / (2 + 4), or at 0 all: 8 / (5 + 4).
    found = pa_k(labels=[1, 1, 1, 1, 0], scores=[2, 2, 0, 0, 1])
    assert found.f1[49] == 1 and found.f1[50] == 8 / 9


def test_each_event_by_its_own_length():
    # Rows 0-1 with one flagged (50 %), rows 3-6 with one (25 %), normal 1.
    labels, scores = [1, 1, 0, 1, 1, 1, 1], [2, 0, 1, 2, 0, 0, 0]
    found = pa_k(labels=labels, scores=scores)
    assert found.f1[24] == 1
    # The long one is not filled: 3 hits of 6 at 2: 6 / (3 + 6); all flagged: 12 / (7 + 6).
    assert found.f1[25] == found.f1[100] == 12 / 13


@FAST
@given(naive.cases(), st.integers(0, 100))
def test_equals_plain_loops(case, percent):
    labels, scores = case
    found = pa_k(labels=labels, scores=scores)
    for k in {percent, 0, 25, 50, 100}:
        assert found.f1[k] == pytest.approx(float(naive_alarms.pa_k(labels, scores, k)), 1e-14)


@FAST
@given(naive.cases())
def test_from_point_adjustment_down_to_the_plain_f1(case):
    data = {"labels": case[0], "scores": case[1]}
    found = pa_k(**data)
    assert found.f1.shape == (101,)
    assert found.f1[0] == best_f1(**data, adjust="point").f1
    assert found.f1[100] == best_f1(**data).f1
    assert np.all(np.diff(found.f1) <= 0)
    assert found.area == pytest.approx((found.f1.sum() - (found.f1[0] + found.f1[100]) / 2) / 100)


@FAST
@given(naive.cases())
def test_only_the_order_of_scores_counts(case):
    labels, scores = case[0], np.array(case[1])
    expected = pa_k(labels=labels, scores=scores).f1.tolist()
    for changed in (3 * scores + 7, np.exp(scores)):
        assert pa_k(labels=labels, scores=changed).f1.tolist() == expected
