"""VUS: by hand, against plain loops, and what the definition implies."""

from math import sqrt

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe.metrics import average_precision, roc_auc, vus

FAST = settings(max_examples=40, deadline=None)
R = sqrt(1 / 2)  # the soft label at distance 1 for width 2: sqrt(1 - 1/2)


def close(value):
    return pytest.approx(value, rel=1e-13)


def test_one_event_without_buffer_by_hand():
    # 4 beats both normal rows, 2 beats one: 3 of 4 pairs. Recall 1/2 at precision 1, 1/2 at 2/3.
    found = vus(labels=[0, 1, 1, 0], scores=[1, 4, 2, 3], window=0)
    assert found == close((3 / 4, 1 / 2 + 1 / 3))
    assert found.roc == found[0] and found.pr == found[1]
    assert type(found.roc) is float and type(found.pr) is float


def test_an_event_not_found_costs_its_share():
    # >= 3: recall 1/2 x 1 of 2 events = 1/4, precision 1. >= 2: a false alarm, rate 1.
    # >= 1: recall 1, precision 2/3. ROC: 1/4 between rates 0 and 1.
    found = vus(labels=[1, 0, 1], scores=[3, 2, 1], window=0)
    assert found == close((1 / 4, 1 / 4 + 3 / 4 * 2 / 3))


def test_buffer_by_hand():
    # Widths 0 and 1 have no buffer. >= 3: row 1, rate 1/3. >= 2: recall 1, precision 1/2.
    # Width 2: rows 1 and 3 carry R; all in one region.
    # >= 3: row 1: hits R, positives 1 + R/2, rate (1 - R) / (4 - 1 - R/2), precision R.
    # >= 2: rows 1, 2: hits 1 + R above positives, so recall 1; same rate; precision (1 + R) / 2.
    # Then recall stays 1 while the rate grows to 1.
    recall, rate = R / (1 + R / 2), (1 - R) / (3 - R / 2)
    roc = rate * recall / 2 + (1 - rate)
    pr = recall * R + (1 - recall) * (1 + R) / 2
    case = {"labels": [0, 0, 1, 0], "scores": [1, 3, 2, 0]}
    assert vus(**case, window=1) == close((2 / 3, 1 / 2))
    assert vus(**case, window=2) == close(((2 * 2 / 3 + roc) / 3, (2 * 1 / 2 + pr) / 3))


def test_overlapping_soft_labels_add_up_to_one_at_most_and_touching_regions_merge():
    # Width 2: row 1 gets R + R > 1, so 1. Region of row 0 ends at 1, that of row 2 begins at 1.
    # >= 2: row 1: hits 1 of positives 2 + 1/2, one region of one; no false alarm ever: areas 1.
    # Widths 0, 1: >= 2 is false, rate 1. >= 1: 1/2 x 1/2, precision 1/2. >= 0: 1, precision 2/3.
    found = vus(labels=[1, 0, 1], scores=[1, 2, 0], window=2)
    assert found == close((1 / 3, (2 * (1 / 4 * 1 / 2 + 3 / 4 * 2 / 3) + 1) / 3))


def test_regions_a_row_apart_do_not_merge():
    # Width 2: rows 1 and 2 carry R; regions end at row 1 and begin at row 2: two.
    # (rate, recall) from >= 4 down to >= 1, where the second region is hit from >= 2 on.
    curve = [
        (0, 0),
        (0, 1 / 2 / 2),
        ((1 - R) / (2 - R / 2), (1 + R) / (2 + R / 2) / 2),
        ((2 - 2 * R) / (2 - R), (1 + 2 * R) / (2 + R)),
        ((2 - 2 * R) / (2 - R), 1),
        (1, 1),
    ]
    precision = [1, (1 + R) / 2, (1 + 2 * R) / 3, (2 + 2 * R) / 4]
    roc = sum((curve[i + 1][0] - curve[i][0]) * (curve[i + 1][1] + curve[i][1]) for i in range(5))
    pr = sum((curve[i + 1][1] - curve[i][1]) * precision[i] for i in range(4))
    # Widths 0 and 1: 1/4 at rate 0, then both false alarms, then recall 1 at precision 1/2.
    found = vus(labels=[1, 0, 0, 1], scores=[4, 3, 2, 1], window=2)
    assert found == close(((2 / 4 + roc / 2) / 3, (2 * (1 / 4 + 3 / 8) + pr) / 3))


def test_constant_scores_by_hand():
    case = {"labels": [0, 0, 1, 0, 0], "scores": np.ones(5)}
    assert vus(**case, window=0) == close((1 / 2, 1 / 5))
    # Width 2: two rows carry R; all five flagged: rate (4 - 2R) / (4 - R), precision (1 + 2R) / 5.
    rate = (4 - 2 * R) / (4 - R)
    expected = ((1 + (1 - rate / 2)) / 3, (2 / 5 + (1 + 2 * R) / 5) / 3)
    assert vus(**case, window=2) == close(expected)


def test_perfect_scores():
    labels = [1, 0, 0, 1, 1, 0, 1]
    assert vus(labels=labels, scores=labels, window=0) == close((1, 1))
    assert vus(labels=labels, scores=labels, window=1) == close((1, 1))


@FAST
@given(naive.cases(most=30), st.integers(0, 12) | st.sampled_from([30, 70]))
def test_equals_plain_loops(case, window):
    labels, scores = case
    found = vus(labels=labels, scores=scores, window=window)
    assert found == pytest.approx(naive.vus(labels, scores, window), abs=1e-12)


@pytest.mark.parametrize("rows", [249, 250, 251, 333, 600])
def test_more_rows_than_thresholds(rows):
    generator = np.random.default_rng(rows)
    labels = np.zeros(rows, dtype=int)
    for start, length in ((0, 3), (60, 1), (63, 7), (150, 40), (rows - 2, 2)):
        labels[start : start + length] = 1
    scores = np.round(generator.random(rows) + 0.2 * labels, 3)
    for window in (0, 5):
        found = vus(labels=labels, scores=scores, window=window)
        expected = naive.vus(labels.tolist(), scores.tolist(), window)
        assert found == pytest.approx(expected, abs=1e-12)


@FAST
@given(naive.cases())
def test_without_buffer_one_event_gives_the_plain_areas(case):
    labels, scores = case
    first = naive.events(labels)[0]
    labels = [int(row in first) for row in range(len(labels))]
    found = vus(labels=labels, scores=scores, window=0)
    assert found.roc == close(roc_auc(labels=labels, scores=scores))
    assert found.pr == close(average_precision(labels=labels, scores=scores))


@FAST
@given(naive.cases())
def test_several_events_can_only_lose_against_the_plain_areas(case):
    labels, scores = case
    found = vus(labels=labels, scores=scores, window=0)
    assert found.roc <= roc_auc(labels=labels, scores=scores) + 1e-12


@FAST
@given(naive.cases(), st.integers(0, 40))
def test_order_direction_and_range(case, window):
    labels, scores = np.array(case[0]), np.array(case[1])
    found = vus(labels=labels, scores=scores, window=window)
    assert 0 <= found.roc <= 1 + 1e-12 and 0 <= found.pr <= 1 + 1e-12
    ranks = np.unique(scores, return_inverse=True)[1]
    for changed in (3 * scores + 7, np.exp(scores), ranks):
        assert vus(labels=labels, scores=changed, window=window) == found
    backwards = vus(labels=labels[::-1], scores=scores[::-1], window=window)
    assert backwards == pytest.approx(found, abs=1e-12)


@FAST
@given(naive.cases())
def test_a_width_of_one_reaches_no_row(case):
    labels, scores = case
    none = vus(labels=labels, scores=scores, window=0)
    assert vus(labels=labels, scores=scores, window=1) == close(none)


@FAST
@given(naive.cases(), st.integers(1, 20))
def test_each_width_counts_the_same(case, window):
    labels, scores = case
    with_it = np.array(vus(labels=labels, scores=scores, window=window))
    without = np.array(vus(labels=labels, scores=scores, window=window - 1))
    last = with_it * (window + 1) - without * window
    assert last == pytest.approx(naive.areas(labels, scores, window), abs=1e-11)


def test_a_near_miss_beats_a_far_one_only_with_a_buffer():
    labels = np.arange(100) // 10 == 4  # the event ends at row 49
    for window, better in ((0, False), (3, False), (4, True), (10, True), (40, True)):
        near, far = (
            vus(labels=labels, scores=np.arange(100) == row, window=window) for row in (51, 90)
        )
        assert (near.roc > far.roc) == better, window  # width 3 reaches one row, width 4 two
        assert (near.pr > far.pr) == better, window


@pytest.mark.parametrize("window", [-1, 2.5, -0.5, float("nan"), float("inf")])
def test_bad_window(window):
    message = rf"window={window}: a whole number of rows from 0 on is needed"
    with pytest.raises(ValueError, match=message):
        vus(labels=[0, 1], scores=[0, 1], window=window)


def test_the_window_must_be_given():
    with pytest.raises(TypeError, match="window"):
        vus(labels=[0, 1], scores=[0, 1])
    case = {"labels": [0, 1, 0], "scores": [0, 1, 2]}
    assert vus(**case, window=4.0) == vus(**case, window=np.int64(4)) == vus(**case, window=4)
