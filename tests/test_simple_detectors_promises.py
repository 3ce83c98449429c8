"""What the simple detectors promise: held-out rows, causality, files, odd channels, few rows."""

import warnings

import numpy as np
import pytest
from small import make, waves

import lmmoe

LEARNING = {
    "1-NN": {},
    "PCA z-score": {"components": 2},
    "PCA windows": {},
    "PCA windows EWMA": {},
    "ridge VAR": {},
    "k-means": {"clusters": 5},
    "IsolationForest": {"trees": 20},
}
SCALING = ("L2 min-max", "range deviation", "last value", "moving average", "SmartSimpleAD")
WINDOWED = (
    "last value",
    "moving average",
    "PCA windows",
    "PCA windows EWMA",
    "ridge VAR",
    "k-means",
)
SHARES = sorted({*LEARNING, *SCALING} - {"IsolationForest", "SmartSimpleAD"})
TRAIN, TEST = waves(300), waves(100, seed=1)

LEARNING_CASES = LEARNING
WINDOWED_CASES = WINDOWED
EVERY_CASES = [*SCALING, *LEARNING]


def fitted(name, train=TRAIN, **settings):
    return make(name, **LEARNING.get(name, {}), **settings).fit(train)


# --- held-out rows ---


def test_held_out_rows_are_not_learned_from():
    for name in LEARNING_CASES:
        made = fitted(name)
        # In another order they leave means and deviations alone, but for rounding.
        other = TRAIN.copy()
        other[270:] = other[:269:-1]
        again = fitted(name, other)
        assert again.decision_function(TEST) == pytest.approx(
            made.decision_function(TEST), rel=1e-6
        )
        assert not np.allclose(again.decision_scores_[270:], made.decision_scores_[270:])


# --- windows ---


def test_a_score_sees_no_later_row():
    for name in WINDOWED_CASES:
        made = fitted(name)
        wild = TEST.copy()
        wild[60:] += 1e3
        first = made.unscored
        before, after = made.decision_function(TEST), made.decision_function(wild)
        assert after[first:60] == pytest.approx(before[first:60], rel=1e-9)
        assert after[60] > before[60]


def test_unscored_rows_get_the_lowest_score_or_0():
    for name in WINDOWED_CASES:
        lowest, zero = fitted(name), fitted(name, first_scores="zero")
        first = lowest.unscored
        scores = lowest.decision_function(TEST)
        assert (scores[:first] == scores[first:].min()).all()
        assert not zero.decision_function(TEST)[:first].any()
        assert np.array_equal(zero.decision_function(TEST)[first:], scores[first:])
        assert not lowest.channel_scores(TEST)[:first].any()


# --- channels ---


def test_the_channel_that_fails_has_the_highest_share():
    for name in SHARES:
        wild = TEST.copy()
        wild[70, 2] += 100
        made = fitted(name)
        shares = made.channel_scores(wild)[70]
        assert shares.argmax() == 2 and (shares >= 0).all()


def test_where_nothing_varies_nothing_fails():
    for name in sorted({*LEARNING, *SCALING} - {"SmartSimpleAD"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = fitted(name, np.full((300, 2), 0.1))
            assert np.ptp(made.decision_scores_) < 1e-9
            raised = made.decision_function(np.full((40, 2), 0.1) + np.eye(40, 2, -20))
        assert np.isfinite(raised).all()
        assert name == "IsolationForest" or raised[20] > raised[19]


# --- files ---


# --- few rows ---


def test_the_fewest_rows_pass_without_a_warning():
    for name in EVERY_CASES:
        for channels in [1, 4]:
            made = make(name, **LEARNING.get(name, {}))
            rows = waves(made.min_rows + 1, channels)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for few in (rows[1:], rows):
                    assert np.isfinite(made.fit(few).decision_function(few)).all()
            with pytest.raises(
                lmmoe.DataError, match=f"{made.min_rows - 1} rows are too few for {name}"
            ):
                made.fit(rows[2:])


def test_the_range_is_that_of_the_rows_learned_from():
    train = np.zeros((100, 2))
    train[95] = [1, -1]  # among the last tenth, which is held out
    made = make("range deviation").fit(train)
    assert made.decision_scores_.tolist() == [0.0] * 95 + [2.0] + [0.0] * 4
    assert not make("range deviation", held_out=0.0).fit(train).decision_scores_.any()
