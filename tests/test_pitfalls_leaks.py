"""Mistakes in which the test half leaks: what each may see, and what it does with it."""

from types import SimpleNamespace

import numpy as np
import pytest
from given_scores import given
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from made_up_mistakes import tried
from small import LIGHT, series, waves
from test_pitfalls_thresholds import panel

from lmmoe.metrics import average_precision
from lmmoe.report.pitfalls import leaks
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.report.runs import Run


def naive_mean(scores, row, back, ahead):
    there = [scores[i] for i in range(row - back, row + ahead + 1) if 0 <= i < len(scores)]
    return sum(there) / len(there)


@settings(deadline=None)
@drawn(
    scores=st.lists(st.integers(-100, 100), min_size=1, max_size=15),
    back=st.integers(0, 6),
    ahead=st.integers(0, 6),
)
def test_the_moving_mean_is_the_naive_one(scores, back, ahead):
    found = leaks.moving_mean(np.array(scores, dtype=float), back, ahead)
    assert found == pytest.approx([naive_mean(scores, i, back, ahead) for i in range(len(scores))])


def test_a_trailing_mean_sees_no_later_row():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50)
    changed = scores.copy()
    changed[30:] = rng.normal(size=20)
    same = leaks.moving_mean(scores, 8) == leaks.moving_mean(changed, 8)
    assert same[:30].all() and not same[30:].any()
    same = leaks.moving_mean(scores, 5, 3) == leaks.moving_mean(changed, 5, 3)
    assert same[:27].all() and not same[27:].any()


def test_one_huge_score_leaves_the_others_their_digits():
    scores = np.array([1e17, 1, 2, 3, 4, 5, 6])
    assert leaks.moving_mean(scores, 1)[2:].tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]


def test_looking_ahead_by_hand():
    # A peak on the event alone: a mean from 8 rows before to the row leaves 1/9 there and after.
    bits = np.zeros(40, dtype=int)
    bits[20] = 1
    found = leaks.looking_ahead(given(bits, 9.0 * bits))
    assert list(found) == [str(ahead) for ahead in range(9)]
    # All nine rows that hold the peak tie, wherever the window lies.
    assert list(found.values()) == pytest.approx([1 / 9] * 9)


def test_normalising_by_hand():
    # Channel 0 is noisy in both halves, channel 1 quiet in training and wild in the test half.
    held_out = np.array([[-4, 0], [-2, 0], [0, 0], [2, 0], [4, 0]], dtype=float)
    channels = np.array([[4, 0.0], [0, 0.0], [0, 3.0], [0, 0.0], [1, 0.0]])
    one = given([0, 0, 1, 0, 0], [4, 0, 3, 0, 1], channels=channels, held_out_channels=held_out)
    found = leaks.normalised(one)
    # Held out: channel 0 by 4.01 (quartiles -2 and 2), channel 1 by 0.01: the event is highest.
    assert found["held-out training rows"] == 1
    # As it is, row 0 stands before it.
    assert found["as it is"] == 0.5
    # By the test half: channel 0's quartiles are 0 and 1, its row 0 gets 4 / 1.01; channel 1's 0.
    assert found["test rows"] == 1


def test_scaling_by_test_rows_undoes_a_drift():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 4))
    noise[100:120, 0] += 2  # an event that the norm of a row finds in part
    made = series(train=rng.normal(size=(300, 4)), test=noise)
    moved = series(train=made.train, test=noise * [3.0, 0.5, 1.0, 2.0] + [1.0, -7.0, 0.0, 9.0])
    plain, drifted = (Scored(Run(one, "MTSExample")) for one in (made, moved))
    found, after = leaks.scaled_by_test(plain), leaks.scaled_by_test(drifted)
    assert after["test rows"] == pytest.approx(found["test rows"])
    assert after["training rows"] != pytest.approx(found["training rows"])
    assert found["training rows"] == plain.average_precision
    z = (made.test - made.test.mean(axis=0)) / made.test.std(axis=0)
    by_hand = average_precision(labels=made.labels, scores=(z**2).sum(axis=1))
    assert found["test rows"] == pytest.approx(by_hand)


def test_scores_that_know_no_rows_are_the_same_draw(small_runs):
    one = Scored(Run(series(), "random", seed=3))
    found = leaks.scaled_by_test(one)
    assert found["training rows"] == found["test rows"] == one.average_precision


def test_the_last_epoch_is_tried_too():
    assert leaks._every_other(5) == [1, 3, 5]
    assert leaks._every_other(4) == [1, 3, 4]
    assert leaks._every_other(1) == [1]
    assert leaks._every_other(0) == []


def test_epochs_that_are_tried(small_runs):
    one = Scored(Run(series(), "LightMMoE", settings=LIGHT | {"epochs": 3}))
    found = leaks.by_epoch(one)
    assert list(found) == ["held-out rows", "1", "3"]
    assert found["held-out rows"] == one.average_precision
    last = Scored(Run(series(), "LightMMoE", settings=LIGHT | {"epochs": 3, "held_out": 0.0}))
    assert found["3"] == last.average_precision
    assert len(last.detector.history.training) == 3 and not last.detector.history.held_out


def test_what_has_no_epochs_has_no_choice(small_runs):
    assert list(leaks.by_epoch(Scored(Run(series(), "PCA")))) == ["held-out rows"]
    chance = leaks.by_epoch(Scored(Run(series(), "random", seed=3)))
    other = Scored(Run(series(), "random", seed=4))
    assert list(chance) == ["held-out rows", "1", "3", "5"]
    assert chance["1"] == other.average_precision
    assert len(set(chance.values())) == 4


def test_the_best_epoch_of_each_entity():
    values = {"held-out rows": [0.8, 0.6], "1": [0.4, 0.9], "9": [0.7, 0.2], "10": [0.3, 0.5]}
    found = leaks._best_epoch(panel(values))
    # The same rows before and after: all ten epochs, and the best. Held-out rows stand apart.
    assert found.before(np.eye(2)) == pytest.approx([0.3, 0.5])
    assert found.after(np.eye(2)) == pytest.approx([0.7, 0.9])
    assert tried(found)["held-out rows"] == pytest.approx(0.7)
    alone = leaks._best_epoch(panel({"held-out rows": [0.5, 0.6]}))
    assert alone.after(np.eye(2)) == pytest.approx([0.5, 0.6])


def test_settings_by_hand():
    channels = np.tile([[0.0, 0.0]], (70, 1))
    channels[40] = [9, 0]  # one channel: the mean dilutes it
    channels[10] = [5, 5]
    bits = np.zeros(70, dtype=int)
    bits[40] = 1
    found = leaks.by_setting(given(bits, channels.mean(axis=1), channels=channels))
    assert set(found) == {f"{k} / {r}" for k in ("own", "max", "top 4") for r in (1, 5, 20, 60)}
    assert found["own / 1"] == found["top 4 / 1"] == 0.5  # there are but two channels
    assert found["max / 1"] == 1
    assert found["max / 5"] == pytest.approx(1 / 5)


def test_settings_are_frozen_on_the_first_of_each_group():
    values = {"a": [0.9, 0.1, 0.2, 0.3], "b": [0.1, 0.8, 0.2, 0.7], "c": [0.5, 0.4, 0.3, 0.2]}
    found = leaks._tuned(panel(values, groups=["x", "x", "y", "y"]))
    # The first of x and of y choose a (.9 + .2); pump-1 and pump-3 are judged.
    assert found.known.tolist() == [False, True, False, True]
    assert found.before(np.array([[0, 1, 0, 1]])) == pytest.approx([0.2])
    assert found.after(np.array([[0, 1, 0, 1]])) == pytest.approx([(0.8 + 0.7) / 2])
    # The settings' means are over the judged ones, too.
    assert tried(found) == pytest.approx({"a": 0.2, "b": 0.75, "c": 0.3})


def test_an_entity_alone_chooses_for_itself():
    found = leaks._tuned(panel({"a": [0.4], "b": [0.6]}))
    assert found.known.tolist() == [True]
    assert found.before(np.ones((1, 1))) == found.after(np.ones((1, 1))) == [0.6]


def test_a_detector_without_held_out_scores_says_so():
    result = SimpleNamespace(calibration=None)
    one = Scored(Run(series(), "PCA"))
    one.__dict__["result"] = result
    with pytest.raises(ValueError, match="PCA has no scores that could set a threshold"):
        _ = one.calibration


def test_a_series_without_labels_says_so():
    with pytest.raises(ValueError, match="pump-1 has no labels"):
        _ = Scored(Run(series(labels=None), "PCA")).labels


def test_held_out_channels_are_those_of_the_calibration_rows():
    made = series(train=waves(400, 4))
    one = Scored(Run(made, "MTSExample"))
    assert one.held_out_channels.shape == (40, 4)
    assert one.held_out_channels.sum(axis=1) == pytest.approx(one.calibration)
    assert one.channels.sum(axis=1) == pytest.approx(one.scores)
