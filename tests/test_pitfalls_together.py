"""Three mistakes, one after the other, by hand."""

import numpy as np
import pytest
from given_scores import given

from lmmoe.metrics import best_f1
from lmmoe.report.pitfalls import together

#          0  1  2  3  4    5 ...
LABELS = [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
SCORES = [4, 1, 3, 1, 2.5, 0, 0, 0, 0, 0, 0, 0]


def test_each_step_by_hand():
    one = given(LABELS, SCORES, calibration=np.arange(101) / 50)  # the 0.99 quantile is 1.98
    found = together.added(one)
    assert tuple(found) == together.STEPS
    assert list(found.values()) == pytest.approx(
        [
            2 * 1 / (3 + 3),  # rows 0, 2 and 4 are flagged: one hit
            2 * 3 / (5 + 3),  # the whole event
            2 * 3 / (4 + 3),  # from 3 on row 4 is no alarm
            2 * 8 / (9 + 8),  # the event is rows 1 to 8, with row 0 before it
        ]
    )


def test_an_event_has_its_highest_score():
    scores = np.array([1.0, 5.0, 2.0, 7.0])
    assert together.adjusted([1, 0, 1, 1], scores).tolist() == [1, 5, 7, 7]
    assert scores.tolist() == [1, 5, 2, 7]  # those of others are left alone


def test_the_best_plain_f1_of_adjusted_scores_is_the_adjusted_one():
    rng = np.random.default_rng(0)
    labels = np.repeat((rng.random(40) < 0.3).astype(int), 5)
    scores = rng.normal(size=200)
    filled = together.adjusted(labels, scores)
    expected = best_f1(labels=labels, scores=scores, adjust="point").f1
    assert best_f1(labels=labels, scores=filled).f1 == pytest.approx(expected)


def test_it_is_none_of_the_twenty():
    assert together.TOGETHER.number == 0
