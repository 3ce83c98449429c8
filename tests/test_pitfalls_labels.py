"""Mistakes with labels and rows, worked out by hand and against naive versions."""

import naive
import numpy as np
import pytest
from given_scores import given
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lmmoe.report.pitfalls import labels as pitfalls

#          0    1    2    3    4    5    6    7
LABELS = [0, 0, 1, 1, 1, 1, 0, 0]
SCORES = [0.1, 0.5, 0.2, 0.9, 0.3, 0.1, 0.4, 0.2]


def test_point_adjustment_by_hand():
    found = pitfalls.point_adjusted(given(LABELS, SCORES))
    # One flagged row, the highest, finds the event: F1 1. Without that: 4 of 4 rows are flagged
    # from 0.1 on with 4 false ones (2/3), or 3 of 4 from 0.2 on with 3 (0.6), or 1 of 4 alone.
    assert found["0"] == 1
    assert found["100"] == pytest.approx(2 / 3)
    # One of four rows is 25 %, which is more than 20 and no more than 30.
    assert found["20"] == 1 and found["30"] < 1


@settings(deadline=None)
@drawn(
    bits=st.lists(st.integers(0, 1), min_size=4, max_size=30).filter(lambda b: 0 < sum(b) < len(b)),
    data=st.data(),
)
def test_the_ends_of_point_adjustment_are_the_naive_metrics(bits, data):
    scores = data.draw(st.lists(st.integers(0, 5), min_size=len(bits), max_size=len(bits)))
    found = pitfalls.point_adjusted(given(bits, scores))
    assert found["0"] == pytest.approx(float(naive.best_f1(bits, scores, "point")[0]))
    assert found["100"] == pytest.approx(float(naive.best_f1(bits, scores)[0]))


def test_overlapped_windows_say_which_row_comes_where():
    # The test that shows the mistake: give rows their own numbers as values.
    assert pitfalls.overlapped(np.arange(5), 3).tolist() == [0, 1, 2, 1, 2, 3, 2, 3, 4]
    assert pitfalls.overlapped(np.arange(4), 1).tolist() == [0, 1, 2, 3]
    assert pitfalls.overlapped(np.arange(3), 3).tolist() == [0, 1, 2]


def test_overlapping_counts_rows_again(monkeypatch):
    monkeypatch.setattr(pitfalls, "WINDOW", 2)
    # Rows 0,1 1,2 2,3: labels 0 1 | 1 0 | 0 0: the event of one row is one of two, and rows 0 and 3
    # count once, 2 twice. Scores .1 .9 .8 .2: at .9 all found and none false.
    found = pitfalls.overlapping(given([0, 1, 0, 0], [0.1, 0.9, 0.8, 0.2]))
    assert found == {"once": 1.0, "in every window": 1.0}
    # With the scores of rows 1 and 2 swapped the best is one hit for one false: 2/3. Doubled, two
    # hits for two false: the same.
    found = pitfalls.overlapping(given([0, 1, 0, 0], [0.1, 0.8, 0.9, 0.2]))
    assert found == pytest.approx({"once": 2 / 3, "in every window": 2 / 3})
    # At the end of the series a row counts once: one hit, and two false.
    found = pitfalls.overlapping(given([0, 0, 0, 1], [0.1, 0.2, 0.9, 0.8]))
    assert found == pytest.approx({"once": 2 / 3, "in every window": 2 / 4})


def test_a_series_shorter_than_the_window_is_one_window():
    found = pitfalls.overlapping(given(LABELS, SCORES))
    assert found["once"] == found["in every window"]


def test_zeros_give_free_negatives(monkeypatch):
    monkeypatch.setattr(pitfalls, "FIRST", 2)
    # Row 3 stands above one of rows 2 and 4, and with the zeros above three of four.
    one = given([0, 0, 0, 1, 0], [9.0, 8.0, 0.9, 0.5, 0.2])
    assert pitfalls.zero_filled(one) == {"left out": 0.5, "zeros": 0.75}
    assert one.scores[0] == 9.0  # the scores of others are left alone
    # A zero is no gift where scores lie below it.
    found = pitfalls.zero_filled(given([0, 0, 0, 1], [1.0, 1.0, -3.0, -2.0]))
    assert found == {"left out": 1.0, "zeros": pytest.approx(1 / 3)}


def test_an_event_among_the_first_rows_is_lost(monkeypatch):
    monkeypatch.setattr(pitfalls, "FIRST", 2)
    found = pitfalls.zero_filled(given([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8]))
    # Kept: the second event alone, found. Filled: the first event ties with row 0, behind row 2.
    assert found["left out"] == 1
    assert found["zeros"] == pytest.approx((1 / 2 + 0 + 2) / 4)


@settings(deadline=None)
@drawn(
    bits=st.lists(st.integers(0, 1), min_size=2, max_size=20).filter(lambda b: 0 < sum(b) < len(b)),
    data=st.data(),
)
def test_zeros_lift_by_their_share_of_the_normal_rows_at_most(bits, data):
    scores = data.draw(st.lists(st.integers(1, 6), min_size=len(bits), max_size=len(bits)))
    first = pitfalls.FIRST
    found = pitfalls.zero_filled(given([0] * first + bits, [9] * first + scores))
    normal = bits.count(0)
    due = (normal * found["left out"] + first) / (normal + first)
    assert found["zeros"] == pytest.approx(due)
    assert 0 <= found["zeros"] - found["left out"] <= first / (normal + first) + 1e-12


def test_a_margin_forgives_a_late_alarm():
    # The alarm comes two rows after the event: false at margins 0 and 1, the event's from 2 on.
    found = pitfalls.with_margin(given([0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 5, 0, 0, 0, 0]))
    assert found["0"] == pytest.approx(2 / 3)
    assert found["1"] == pytest.approx(2 * 2 / (3 + 2))  # two rows of weight, one false
    assert found["2"] == 1
    assert found["20"] == 1


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, [0, 1, 1, 0, 0]),
        (1, [0, 0, 1, 1, 0]),
        (3, [0, 0, 0, 0, 1]),
        (-1, [1, 1, 0, 0, 0]),
        (-2, [1, 0, 0, 0, 0]),
        (-4, [0, 0, 0, 0, 0]),
    ],
)
def test_moved_labels(rows, expected):
    assert pitfalls.moved(np.array([0, 1, 1, 0, 0]), rows).tolist() == expected


def test_f1_peaks_where_labels_are_not_shifted():
    bits = np.zeros(60, dtype=int)
    bits[[20, 21, 22, 40, 41]] = 1
    found = pitfalls.shifted(given(bits, bits + np.linspace(0, 0.1, 60)))
    assert found["0"] == 1
    assert max(found, key=found.get) == "0"
    # A row early: of the flagged five rows three are still labelled.
    assert found["-1"] == pytest.approx(2 * 3 / 10)
    assert list(found) == [str(rows) for rows in range(-5, 6)]
