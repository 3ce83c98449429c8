"""Mistakes with metrics and data, by hand and against naive versions; facts of the data."""

import numpy as np
import pandas as pd
import pytest
from given_scores import given
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from made_up_mistakes import measured, tried
from naive import events
from small import series
from test_pitfalls_thresholds import panel

from lmmoe.metrics import average_precision
from lmmoe.report.evaluation import ADJUSTED, RANKING
from lmmoe.report.pitfalls import facts, floors
from lmmoe.segments import runs


def naive_composite(labels, scores):
    best = 0
    for cut in set(scores):
        flags = [score >= cut for score in scores]
        hits = sum(f and y for f, y in zip(flags, labels, strict=True))
        found = [any(flags[row] for row in rows) for rows in events(labels)]
        if hits:
            precision, recall = hits / sum(flags), sum(found) / len(found)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


@settings(deadline=None)
@drawn(
    bits=st.lists(st.integers(0, 1), min_size=2, max_size=25).filter(lambda b: 0 < sum(b) < len(b)),
    data=st.data(),
)
def test_composite_f1_is_the_naive_one(bits, data):
    scores = data.draw(st.lists(st.integers(0, 6), min_size=len(bits), max_size=len(bits)))
    found = floors.composite_f1(np.array(bits), np.array(scores, dtype=float))
    assert found == pytest.approx(naive_composite(bits, scores))


def test_composite_f1_by_hand():
    # One row of each event flagged and one false: precision 2/3, recall 1.
    found = floors.composite_f1([0, 1, 1, 0, 1], np.array([0.9, 0.8, 0.0, 0.1, 0.7]))
    assert found == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))


def far(labels, scores):
    """With normal rows around, all below the rest, so that moved labels leave some."""
    return np.pad(labels, 20), np.pad(np.array(scores), 20, constant_values=-1.0)


def test_the_longest_event_left_out_by_hand():
    # 43 normal rows. The long event is above all of them, the short one above all but row 0.
    found = floors.robust(given(*far([0, 1, 1, 0, 1, 0], [0.5, 0.9, 0.8, 0.1, 0.4, 0.2])))
    assert found["all events"] == pytest.approx((43 + 43 + 42) / (3 * 43))
    assert found["longest left out"] == pytest.approx(42 / 43)


def test_leaving_an_event_out_gives_nothing_to_scores_that_say_nothing():
    found = floors.robust(given(*far([0, 1, 1, 0, 1, 0], [-1.0] * 6)))
    assert set(found.values()) == {0.5}  # average precision would fall from 3/46 to 1/44


def test_an_event_alone_cannot_be_left_out():
    found = floors.robust(given(*far([0, 1, 1, 0], [0.5, 0.9, 0.8, 0.1])))
    assert np.isnan(found["longest left out"]) and found["all events"] == 1


@settings(deadline=None)
@drawn(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(0, 10_000))
def test_jittered_labels_stay_near_and_keep_a_row_of_each_event(bits, seed):
    labels = np.array(bits, dtype=np.int8)
    found = floors.jittered(labels, np.random.default_rng(seed))
    assert found.shape == labels.shape and found.dtype == labels.dtype
    near = np.convolve(labels, np.ones(2 * floors.JITTER + 1), mode="same")[: len(labels)] > 0
    if len(labels) > 2 * floors.JITTER:
        assert not found[~near].any()
    assert found.any() == labels.any()
    assert len(runs(found)) <= len(runs(labels))


def test_all_detectors_get_the_same_jitter():
    bits = np.zeros(100, dtype=int)
    bits[[10, *range(40, 60)]] = 1
    one, other = (floors.robust(given(bits, bits * factor, entity="a")) for factor in (1.0, 2.0))
    assert one == other
    third = floors.robust(given(bits, 1.0 * bits, entity="another"))
    key = f"edges moved by up to {floors.JITTER}"
    assert third[key] != one[key]
    assert 0.5 < one[key] < 1


def test_the_settings_tell_what_one_entity_decides():
    values = {"all events": [0.2, 0.4, 0.9], "longest left out": [0.1, 0.3, np.nan]}
    found = floors._rests_on(panel(values))
    assert found.known.tolist() == [True, True, False]
    # The third lacks a number and counts for none.
    assert tried(found) == pytest.approx(
        {
            "all events": 0.3,
            "longest left out": 0.2,
            "without the entity that helps most": 0.2,
            "without the entity that harms most": 0.4,
        }
    )


def test_one_entity_less_than_were_drawn():
    values = {"all events": [0.2, 0.4, 0.9], "longest left out": [0.1, 0.3, 0.5]}
    found = floors._rests_on(panel(values))
    # Drawn .2, .2 and .9: without .9, or without both .2.
    drawn = tried(found, [2, 0, 1])
    assert drawn["without the entity that helps most"] == pytest.approx(0.2)
    assert drawn["without the entity that harms most"] == pytest.approx(0.9)
    alone = tried(found, [0, 1, 0])
    assert np.isnan(alone["without the entity that helps most"])


def test_kinder_f1s_start_from_the_plain_one():
    found = floors.high_floor(given([0, 1, 1, 0, 1], [0.9, 0.8, 0.0, 0.1, 0.7]))
    assert list(found) == ["average precision", "best F1", "composite F1", "affiliation F1"]
    assert found["best F1"] == pytest.approx(2 * 3 / (5 + 3))  # all rows flagged
    assert found["composite F1"] == pytest.approx(0.8)
    one = next(one for one in floors.MISTAKES if one.number == 17)
    numbers = {name: [value] for name, value in found.items()}
    both = one.combine(panel(numbers))
    assert both.before(np.ones((1, 1))) == pytest.approx([0.75])
    assert both.after(np.ones((1, 1))) == pytest.approx([found["affiliation F1"]])


def test_creeping_scores_by_hand():
    # Four rows, ranks 1, 1/2, 1/4, 3/4; the event is last. Place: 1/4 to 1.
    found = floors.creeping(given([0, 0, 0, 1], [0.9, 0.3, 0.1, 0.5]))
    assert found["0"] == 0.5  # behind row 0
    assert found["0.1"] == 0.5  # .775 against 1.025
    assert found["1"] == 1  # 1.75 against 1.25
    assert found["place alone"] == 1


def test_no_creep_is_the_score_itself_ties_too():
    rng = np.random.default_rng(0)
    one = given((rng.random(200) < 0.2).astype(int), rng.integers(0, 9, 200))
    assert floors.creeping(one)["0"] == pytest.approx(one.average_precision)


def test_floors_of_trivial_scores():
    found = floors.trivial(series(), 20)
    labels = series().labels
    assert list(found) == ["constant", "row index"]
    assert found["constant"]["average_precision"] == pytest.approx(labels.mean())
    assert found["constant"]["roc_auc"] == 0.5
    share = labels.mean()
    assert found["constant"]["best_f1"] == pytest.approx(2 * share / (1 + share))
    index = average_precision(labels=labels, scores=np.arange(len(labels)))
    assert found["row index"]["average_precision"] == index
    assert set(found["row index"]) == {*RANKING, *ADJUSTED, "composite_f1"}


def test_floors_are_means_by_detector():
    table = floors.floors([("a", {"x": 1.0}), ("b", {"x": 5.0}), ("a", {"x": 3.0})])
    assert table.to_dict() == {"a": {"x": 2.0}, "b": {"x": 5.0}}
    assert floors.floors([]).empty


# --- facts ---


def test_facts_by_hand():
    train, test = np.zeros((300, 4)), np.zeros((300, 4))
    train[5, 0] = train[7, 1] = test[9, 1] = 1.0
    test[3, 2] = 2.0
    train[:, 3] = test[:, 3] = 1.0  # it does not move
    found = facts.of(series(train=train, test=test))  # events of 20 and 5 rows from 100 and 150 on
    assert found == {
        "first_event": 100,
        "longest_tenth": 20 / 25,
        "median_length": 12.5,
        "moving": 3,
        "1_in_train_alone": 1,
        "1_in_test_alone": 0,
        "1_in_both": 1,
        "1_in_neither": 1,
    }


def ends(moving, train, test, both, neither):
    """The sentence about counts of one entity, if there is one."""
    row = {"first_event": 9, "longest_tenth": 1, "median_length": 3, "moving": moving}
    counts = dict(zip(facts.ENDS, (train, test, both, neither), strict=True))
    lines = facts.in_words(pd.DataFrame([row | counts]), "own").splitlines()
    return next((line for line in lines if "channels that move" in line), None)


def test_where_the_highest_value_is_1_tells_what_the_scaling_saw():
    assert ends(20, 8, 10, 1, 1).endswith("together, so that the scaling saw the test half.")
    assert ends(20, 19, 0, 1, 0).endswith("the scaling was fitted on the training half.")
    assert ends(20, 1, 2, 17, 0).endswith("each half was scaled by itself, or cut off at 1.")
    assert ends(20, 1, 1, 0, 18) is None  # an accident
    assert ends(0, 0, 0, 0, 0) is None


def test_facts_in_words():
    text = facts.in_words(measured().facts, "asd")
    assert "begins at row 120 of its test half" in text
    assert (
        "holds 40% of its anomalous rows in the mean (20% to 60%); the median event has 15" in text
    )
    assert (
        "Of the 20 channels that move in either half, all entities together, the highest value is "
        "exactly 1 in the training half alone for 8, in the test half alone for 10, in both for 1, "
        "in neither for 1, which suggests" in text
    )
    assert "study" not in text
    assert facts.in_words(pd.DataFrame(), "smd") == "No labelled events: nothing to tell."


def test_the_studys_own_file_is_told_of_smd_alone():
    text = facts.in_words(measured().facts, "smd")
    assert "Of the 1680 F1s in the study's own results" in text  # 20 detectors, 28 machines, three


def results(**changes):
    lines = [
        {"detector": name, "machine": machine}
        | {f"{kind}_precision": 0.5 for kind in facts.KINDS}
        | {f"{kind}_recall": 1.0 for kind in facts.KINDS}
        | {f"{kind}_f1": 2 / 3 for kind in facts.KINDS}
        for name in ("a", "b", "c")
        for machine in (1, 2)
    ]
    lines[3] |= changes  # b on machine 2
    return pd.DataFrame(lines)


def test_an_impossible_f1_is_counted():
    assert facts.inconsistent(results()) == 0
    assert facts.inconsistent(results(point_f1=0.7, event_log_f1=0.6)) == 2
    assert facts.inconsistent(results(point_f1=0.0, point_precision=0.0, point_recall=0.0)) == 0


def test_rows_that_are_the_same_everywhere_are_twins():
    assert facts.twins(results(point_f1=0.7)) == [("a", "c")]
    assert facts.twins(results()) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_the_studys_own_results_can_be_read():
    table = facts.study_file()
    assert table.groupby("detector")["machine"].nunique().eq(28).all()
