"""Affiliation: by hand, against exact integrals piece by piece, and what the definition implies."""

import math

import naive
import naive_affiliation
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe.metrics import affiliation, best_affiliation_f1

FAST = settings(max_examples=100, deadline=None)


def close(value):
    return pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize(
    ("labels", "alarms", "precision", "recall"),
    [
        ([0, 1, 0], [0, 1, 0], 1, 1),
        # One zone of 3. At distance d before the event (2 - 2d) / 3 of it lies farther, 1/3 in the
        # mean of row 0. From it, at u in the event, 2u of 3 lies nearer: 1/3 lost.
        ([0, 1, 0], [1, 0, 0], 1 / 3, 2 / 3),
        ([0, 1, 0], [0, 0, 1], 1 / 3, 2 / 3),
        # Both neighbours: 2u of 3 up to the event's middle, u = 1/2, and back: 1/12 lost twice.
        ([0, 1, 0], [1, 0, 1], 1 / 3, 5 / 6),
        ([0, 1, 0], [1, 1, 1], (1 / 3 + 1 + 1 / 3) / 3, 1),
        # Zones [0, 2.5) and [2.5, 5); row 2 is half in each. Distance 1 to 1.5, farther is what
        # is left of 1.5: 1/4 in the mean, of 2.5. Recall: from y in [0, 1], 2 - y on the right and
        # all of y on the left lie nearer: 2 of 2.5.
        ([1, 0, 0, 0, 1], [0, 0, 1, 0, 0], 0.1, 0.2),
        # The second zone holds no alarm: no precision, recall 0.
        ([1, 0, 0, 1], [1, 0, 0, 0], 1, 1 / 2),
        # At u behind the alarm u on the left and min(u, 2 - u) on the right lie nearer: over
        # u in [0, 2] that sums up to 2 + 1, of 6, in an event of 3.
        ([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 0, 0], 1, 5 / 6),
    ],
)
def test_by_hand(labels, alarms, precision, recall):
    found = affiliation(labels=labels, alarms=alarms)
    assert found.precision == close(precision)
    assert found.recall == close(recall)
    assert found.f1 == close(2 * precision * recall / (precision + recall))
    assert all(type(value) is float for value in found)


def test_no_alarm_at_all_has_no_precision():
    found = affiliation(labels=[0, 1, 0], alarms=[0, 0, 0])
    assert math.isnan(found.precision) and math.isnan(found.f1) and found.recall == 0


@FAST
@given(naive.cases(), st.data())
def test_equals_exact_integrals(case, data):
    labels, _ = case
    rare = st.integers(0, data.draw(st.sampled_from([1, 3, 9]))).map(lambda value: value == 1)
    alarms = data.draw(st.lists(rare, min_size=len(labels), max_size=len(labels)))
    found = affiliation(labels=labels, alarms=alarms)
    precision, recall = naive_affiliation.affiliation(labels, alarms)
    assert found.recall == pytest.approx(float(recall), abs=1e-13)
    if precision is None:
        assert math.isnan(found.precision)
    else:
        assert found.precision == pytest.approx(float(precision), abs=1e-13)


@FAST
@given(naive.cases())
def test_flagging_everything_gives_the_floor_that_the_docstring_names(case):
    labels, _ = case
    found = affiliation(labels=labels, alarms=np.ones(len(labels)))
    spans = [(rows[0], rows[-1] + 1) for rows in naive.events(labels)]
    borders = [(a[1] + b[0]) / 2 for a, b in zip(spans, spans[1:], strict=False)]
    zones = zip([0, *borders], [*borders, len(labels)], spans, strict=True)
    shares = [(end - start) / (right - left) for left, right, (start, end) in zones]
    assert found.recall == 1
    assert found.precision == close(np.mean([(1 + share**2) / 2 for share in shares]))
    assert found.f1 >= 2 / 3 - 1e-12


@FAST
@given(naive.cases(), st.data())
def test_mirrored_in_time_it_is_the_same(case, data):
    labels = case[0]
    alarms = data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    there = affiliation(labels=labels, alarms=alarms)
    back = affiliation(labels=labels[::-1], alarms=alarms[::-1])
    assert back == pytest.approx(there, abs=1e-13, nan_ok=True)


@FAST
@given(naive.cases())
def test_the_best_of_all_thresholds(case):
    # Up to 250 rows every score is tried.
    labels, scores = case
    found = best_affiliation_f1(labels=labels, scores=scores)
    f1s = {}
    for threshold in sorted(set(scores), reverse=True):
        alarms = [score >= threshold for score in scores]
        precision, recall = naive_affiliation.affiliation(labels, alarms)
        f1s[threshold] = 2 * precision * recall / (precision + recall)
    assert found.f1 == pytest.approx(float(max(f1s.values())), abs=1e-12)
    assert float(f1s[found.threshold]) == pytest.approx(found.f1, abs=1e-12)
    alarms = np.array(scores) >= found.threshold
    assert found[:3] == pytest.approx(
        tuple(getattr(affiliation(labels=labels, alarms=alarms), n) for n in found._fields[:3])
    )


def test_of_equal_f1s_the_highest_threshold():
    # Row 1 alone is perfect, and stays so down to row 0's score.
    found = best_affiliation_f1(labels=[0, 1, 1, 0], scores=[1, 3, 2, 1])
    assert found == (1.0, 1.0, 1.0, 2.0)


def test_more_rows_than_thresholds():
    generator = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=int)
    labels[[*range(100, 130), *range(600, 605), 998, 999]] = 1
    scores = generator.random(1000)
    found = best_affiliation_f1(labels=labels, scores=scores)
    grid = -np.sort(-scores)[np.floor(np.linspace(0, 999, 250)).astype(int)]
    f1s = [affiliation(labels=labels, alarms=scores >= threshold).f1 for threshold in grid]
    assert found.f1 == close(max(f1s)) and found.threshold == grid[np.argmax(f1s)]


@pytest.mark.parametrize("value", [2, 0.5, -1])
def test_alarms_must_be_0_or_1(value):
    with pytest.raises(ValueError, match=f"alarm {value}.* at row 2 is neither 0 nor 1"):
        affiliation(labels=[0, 1, 0], alarms=[0, 1, value])
