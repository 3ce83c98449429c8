"""Best F1, plain and point-adjusted: by hand, and against plain loops."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe.metrics import ADJUSTMENTS, best_f1, best_f1s

ANY = [None, *ADJUSTMENTS]
DELAYS = st.none() | st.integers(1, 15)
FAST = settings(max_examples=60, deadline=None)


def test_there_are_five_adjustments():
    assert set(ADJUSTMENTS) == {"point", "raw", "log", "squeeze", "sqrt"}


# In the comments: hits + misses are the weights of the events, flagged = hits + false alarms,
# F1 = 2 hits / (flagged + weight of all events).


def test_plain_by_hand():
    # >= 5: 0 hits. >= 4: 2 * 1 / (2 + 3) = .4. >= 3: 2 * 2 / (4 + 3) = .57. All: 6 / (5 + 3).
    best = best_f1(labels=[0, 1, 1, 0, 1], scores=[5, 4, 3, 3, 1])
    assert best == (0.75, 0.6, 1.0, 1.0)
    assert best.f1 == 0.75 and best.precision == 0.6
    assert best.recall == 1.0 and best.threshold == 1.0


def test_tied_scores_enter_together():
    # Row 0 alone would be perfect, but row 1 has the same score: 2 * 1 / (2 + 1).
    assert best_f1(labels=[1, 0, 0, 0], scores=[2, 2, 1, 1]) == (2 / 3, 0.5, 1.0, 2.0)
    assert best_f1(labels=[0, 1, 0, 0], scores=[2, 2, 1, 1]) == (2 / 3, 0.5, 1.0, 2.0)


def test_tied_peaks_enter_together():
    # Event (weight 2) and row 0 at 3: 2 * 2 / (3 + 2).
    best = best_f1(labels=[0, 1, 1, 0], scores=[3, 3, 1, 0], adjust="point")
    assert best == (0.8, 2 / 3, 1.0, 3.0)


def test_minus_zero_is_zero():
    assert best_f1(labels=[1, 0], scores=[0.0, -0.0]) == (2 / 3, 0.5, 1.0, 0.0)


def test_constant_scores_flag_everything():
    for adjust in ANY:
        best = best_f1(labels=[0, 1, 0, 0], scores=[7, 7, 7, 7], adjust=adjust)
        assert best == (0.4, 0.25, 1.0, 7.0), adjust  # 2 * 1 / (4 + 1)


def test_of_equal_f1s_the_highest_threshold_is_given():
    # >= 4: 2 * 1 / (1 + 2). >= 1: 2 * 2 / (4 + 2), the same. Between: .5, .4.
    assert best_f1(labels=[1, 0, 0, 1], scores=[4, 3, 2, 1]) == (2 / 3, 1.0, 0.5, 4.0)


def test_perfect_and_reversed():
    assert best_f1(labels=[0, 1, 0], scores=[-3, -1, -2]) == (1.0, 1.0, 1.0, -1.0)
    # Only by flagging all: 2 * 1 / (3 + 1).
    assert best_f1(labels=[0, 1, 0], scores=[3, 1, 2]) == (0.5, 1 / 3, 1.0, 1.0)


# Events: rows 0-5 (n = 6, peak 2) and row 7 (n = 1, peak 5). Normal rows: 3, 4, 1.
LABELS = [1, 1, 1, 1, 1, 1, 0, 1, 0, 0]
SCORES = [1, 0, 2, 1, 0, 0, 3, 5, 4, 1]


@pytest.mark.parametrize(
    ("adjust", "expected"),
    [
        # Weights 6 and 1. >= 5: 2 / (1 + 7). >= 2: 14 / (9 + 7).
        ("point", (0.875, 7 / 9, 1.0, 2.0)),
        ("raw", (0.875, 7 / 9, 1.0, 2.0)),
        # floor(log3(9)) = 2 and floor(log3(4)) = 1. >= 5: 2 / (1 + 3). >= 2: 6 / (5 + 3).
        ("log", (0.75, 0.6, 1.0, 2.0)),
        # floor(sqrt(6)) = 2 and 1: the same.
        ("sqrt", (0.75, 0.6, 1.0, 2.0)),
        # 1 and 1. >= 5: 2 / (1 + 2). >= 2: 4 / (4 + 2): equal, so the higher threshold.
        ("squeeze", (2 / 3, 1.0, 0.5, 5.0)),
        # No adjustment. >= 1: 3 event rows of n = 6 and row 7 hit, 3 false: 8 / (7 + 7) = .571.
        # >= 0, all rows: 14 / (10 + 7).
        (None, (14 / 17, 0.7, 1.0, 0.0)),
    ],
)
def test_every_adjustment_by_hand(adjust, expected):
    assert best_f1(labels=LABELS, scores=SCORES, adjust=adjust) == pytest.approx(expected, 1e-15)


def test_delay_by_hand():
    labels, scores = [0, 1, 1, 1, 0], [2, 1, 3, 9, 4]
    # First row only, peak 1: all must be flagged, 6 / (5 + 3); the event keeps its weight of 3.
    expected = {1: (0.75, 0.6, 1.0, 1.0)}
    # First two, peak 3: row 4 is a false alarm, 6 / (4 + 3).
    expected[2] = (6 / 7, 0.75, 1.0, 3.0)
    expected[3] = expected[4] = expected[None] = (1.0, 1.0, 1.0, 9.0)
    for delay, values in expected.items():
        assert best_f1(labels=labels, scores=scores, adjust="point", delay=delay) == values, delay
    # One event of weight 1 and two false alarms: 2 / (3 + 1).
    squeezed = best_f1(labels=labels, scores=scores, adjust="squeeze", delay=1)
    assert squeezed == (0.5, 1 / 3, 1.0, 1.0)


def test_delay_does_not_look_behind_the_event():
    # Row 1 keeps its 1, whatever follows: all three rows flagged, 2 / (3 + 1).
    behind = best_f1(labels=[0, 1, 0], scores=[1, 1, 9], adjust="point", delay=5)
    assert behind == (0.5, 1 / 3, 1.0, 1.0)
    # The 9 belongs to the second event. >= 9: 2 / (1 + 2). >= 1: all but row 1.
    both = best_f1(labels=[1, 0, 1], scores=[1, 0, 9], adjust="point", delay=3)
    assert both == (1.0, 1.0, 1.0, 1.0)


def test_events_at_the_first_and_the_last_row():
    labels, scores = [1, 1, 0, 0, 1], [0, 3, 2, 1, 4]
    # Peaks 3 and 4 above both normal rows.
    assert best_f1(labels=labels, scores=scores, adjust="point") == (1.0, 1.0, 1.0, 3.0)
    # Peaks 0 and 4. >= 4: 2 / (1 + 3). All: 6 / (5 + 3).
    delayed = best_f1(labels=labels, scores=scores, adjust="point", delay=1)
    assert delayed == (0.75, 0.6, 1.0, 0.0)
    # The peak may be the very last row, or the very first.
    assert best_f1(labels=[0, 1, 1], scores=[5, 1, 6], adjust="point").f1 == 1.0
    assert best_f1(labels=[1, 1, 0], scores=[6, 1, 5], adjust="point").f1 == 1.0
    assert best_f1(labels=[1, 1, 0], scores=[-6, -9, -7], adjust="point").threshold == -6.0


@pytest.mark.parametrize(
    ("adjust", "length", "expected"),
    [
        # log3: 4 -> 1, 8 -> 1, 9 -> 2, 26 -> 2, 27 -> 3, 242 -> 4, 243 -> 5, 728 -> 5, 729 -> 6
        *[("log", n, w) for n, w in ((1, 1), (5, 1), (6, 2), (23, 2), (24, 3))],
        *[("log", n, w) for n, w in ((239, 4), (240, 5), (725, 5), (726, 6))],
        *[("sqrt", n, w) for n, w in ((1, 1), (3, 1), (4, 2), (8, 2), (9, 3), (15, 3), (16, 4))],
        *[("sqrt", n, w) for n, w in ((99, 9), (100, 10), (9999, 99), (10000, 100))],
        *[(name, n, n) for name in ("point", "raw") for n in (1, 2, 240)],
        *[("squeeze", n, 1) for n in (1, 2, 240)],
    ],
)
def test_weight_of_an_event(adjust, length, expected):
    # The event and one normal row share a score: precision w / (w + 1), F1 2w / (2w + 1).
    labels = [0] + [1] * length
    best = best_f1(labels=labels, scores=np.ones(length + 1), adjust=adjust)
    assert best.precision == expected / (expected + 1)
    assert best.f1 == 2 * expected / (2 * expected + 1)


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
def test_weights_of_long_events_are_exact(adjust):
    near = [3**k - 3 + d for k in range(2, 30) for d in (-1, 0, 1)]
    near += [k * k + d for k in (2, 15, 1000, 1_000_003) for d in (-1, 0, 1)]
    lengths = [n for n in near if n > 0] + list(range(1, 300))
    weights = ADJUSTMENTS[adjust](np.array(lengths))
    assert [int(weight) for weight in weights] == [naive.weight(n, adjust) for n in lengths]


@FAST
@given(naive.cases(), st.sampled_from(ANY), DELAYS)
def test_equals_plain_loops(case, adjust, delay):
    labels, scores = case
    delay = None if adjust is None else delay
    best = best_f1(labels=labels, scores=scores, adjust=adjust, delay=delay)
    expected = naive.best_f1(labels, scores, adjust, delay)
    assert best.threshold == expected[3]
    assert best[:3] == pytest.approx([float(value) for value in expected[:3]], rel=1e-14)


@FAST
@given(naive.cases(), st.sampled_from(["point", "raw"]), DELAYS)
def test_the_threshold_gives_the_f1_when_applied(case, adjust, delay):
    labels, scores = (np.array(part) for part in case)
    for values, best in (
        (scores, best_f1(labels=labels, scores=scores)),
        (
            np.array(naive.adjusted(labels, scores, adjust, delay)[0]),
            best_f1(labels=labels, scores=scores, adjust=adjust, delay=delay),
        ),
    ):
        alarms = values >= best.threshold
        hits = np.sum(alarms & (labels == 1))
        assert best.precision == pytest.approx(hits / alarms.sum())
        assert best.recall == pytest.approx(hits / labels.sum())
        assert best.f1 == pytest.approx(2 * hits / (alarms.sum() + labels.sum()))


@FAST
@given(naive.cases(), st.sampled_from(ANY))
def test_only_the_order_of_scores_counts(case, adjust):
    labels, scores = np.array(case[0]), np.array(case[1])
    before = best_f1(labels=labels, scores=scores, adjust=adjust)
    ranks = np.unique(scores, return_inverse=True)[1]
    for change in (lambda s: 3 * s + 7, np.exp, np.arctan, lambda s: s**3):
        after = best_f1(labels=labels, scores=change(scores), adjust=adjust)
        assert after[:3] == before[:3]
        assert after.threshold == pytest.approx(change(before.threshold), rel=1e-14)
    ranked = best_f1(labels=labels, scores=ranks, adjust=adjust)
    assert ranked[:3] == before[:3]


@FAST
@given(naive.cases(), st.integers(1, 15))
def test_adjustment_never_lowers_f1_and_delay_never_raises_it(case, delay):
    labels, scores = case
    plain = best_f1(labels=labels, scores=scores).f1
    point = best_f1(labels=labels, scores=scores, adjust="point").f1
    assert plain <= point <= 1
    for adjust in ADJUSTMENTS:
        free = best_f1(labels=labels, scores=scores, adjust=adjust)
        f1s = [
            best_f1(labels=labels, scores=scores, adjust=adjust, delay=k).f1
            for k in (delay, delay + 1)
        ]
        assert f1s[0] <= f1s[1] <= free.f1
        for enough in (60, 10**9, 2**63 - 1, 10**30):
            assert best_f1(labels=labels, scores=scores, adjust=adjust, delay=enough) == free


@FAST
@given(naive.cases())
def test_raw_is_point_and_short_events_make_all_adjustments_equal(case):
    labels, scores = case
    point = best_f1(labels=labels, scores=scores, adjust="point")
    assert best_f1(labels=labels, scores=scores, adjust="raw") == point
    single = [label if row % 2 else 0 for row, label in enumerate(labels)]
    if any(single):  # events of one row: nothing to adjust, nothing to weigh
        results = {best_f1(labels=single, scores=scores, adjust=adjust) for adjust in ANY}
        assert len(results) == 1


def test_kinds_of_numbers_make_no_difference():
    expected = best_f1(labels=LABELS, scores=SCORES, adjust="log")
    for kind in (bool, np.uint8, np.int64, np.float32):
        labels = np.array(LABELS, dtype=kind)
        for other in (np.uint8, np.int16, np.float32):
            scores = np.array(SCORES, dtype=other)
            assert best_f1(labels=labels, scores=scores, adjust="log") == expected


def test_inputs_stay_as_they_are():
    labels, scores = np.array(LABELS), np.array(SCORES, dtype=float)
    best_f1(labels=labels, scores=scores, adjust="point", delay=2)
    assert labels.tolist() == LABELS and scores.tolist() == SCORES
    assert all(type(value) is float for value in best_f1(labels=labels, scores=scores))


@pytest.mark.parametrize("adjust", ["Point", "", "pa", "log3", True])
def test_unknown_adjustment(adjust):
    message = r"use None or one of point, raw, log, squeeze, sqrt"
    with pytest.raises(ValueError, match=message):
        best_f1(labels=[0, 1], scores=[0, 1], adjust=adjust)


@pytest.mark.parametrize("delay", [0, -1, 2.5, 0.5, float("nan"), float("inf")])
def test_bad_delay(delay):
    message = rf"delay={delay}: a whole number of rows from 1 on is needed"
    with pytest.raises(ValueError, match=message):
        best_f1(labels=[0, 1], scores=[0, 1], adjust="point", delay=delay)


def test_delay_without_adjustment():
    with pytest.raises(ValueError, match="delay is a kind of point adjustment: give adjust too"):
        best_f1(labels=[0, 1], scores=[0, 1], delay=3)


def test_a_whole_delay_may_be_a_float():
    given = {"labels": [1, 1, 0], "scores": [0, 3, 1], "adjust": "point"}
    assert best_f1(**given, delay=2.0) == best_f1(**given, delay=np.int64(2)) == (1, 1, 1, 3)


@FAST
@given(naive.cases(), st.lists(st.sampled_from(ANY)), DELAYS)
def test_several_adjustments_from_one_sort_are_the_same(case, kinds, delay):
    data = {"labels": case[0], "scores": case[1]}
    kinds = [kind for kind in kinds if kind is not None or delay is None]
    found = best_f1s(**data, adjust=kinds, delay=delay)
    assert found == {kind: best_f1(**data, adjust=kind, delay=delay) for kind in kinds}


def test_one_odd_adjustment_among_several_is_refused():
    for kinds, delay, message in (
        (["point", "pa"], None, "adjust='pa': use None or one of"),
        (["point", None], 3, "delay is a kind of point adjustment"),
        (["point"], 0, "delay=0: a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            best_f1s(labels=[0, 1], scores=[0, 1], adjust=kinds, delay=delay)
