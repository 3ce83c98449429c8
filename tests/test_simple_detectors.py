"""Detectors without a model to speak of: worked out by hand, and against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves

TRAIN, TEST = waves(120, channels=3), waves(60, channels=3, seed=1)
PLAIN = [[-1.0], [1.0]]  # mean 0, deviation 1: z-scores are the values themselves


def column(*values):
    return np.array(values, dtype=float)[:, None]


# --- floors and norms ---


def test_the_row_index_counts_from_0():
    made = make("row index").fit(TRAIN)
    assert made.decision_function(np.full((3, 3), 7)).tolist() == [0, 1, 2]
    with pytest.raises(NotImplementedError, match="row index does not say how much"):
        made.channel_scores(TEST)


def test_the_min_max_norm_by_hand():
    made = make("L2 min-max").fit([[0, 5], [4, 5]])  # lowest 0 and 5; ranges 4 and (1)
    assert made.decision_function([[12, 9], [0, 5], [-4, 5]]).tolist() == [5, 0, 1]
    assert made.channel_scores([[12, 9]]).tolist() == [[9, 16]]


def test_range_deviation_by_hand():
    made = make("range deviation").fit([[0, 5, 1], [4, 5, 1]])
    rows = [[4, 5, 1], [4.1, 5.5, 1], [-1, 5, 0.999], [9, 9, 9]]
    assert made.decision_function(rows).tolist() == [0, 2, 2, 3]
    assert made.channel_scores(rows[1:3]).tolist() == [[1, 1, 0], [1, 0, 1]]


# --- the nearest rows ---


def test_nearest_neighbours_by_hand():
    corners = [[-1, -1], [1, 1], [-1, 1], [1, -1]]  # mean 0, deviation 1
    made = make("1-NN", held_out=0.0).fit(corners)
    assert made.decision_function([[4, 5], [1, -1], [0, 3]]) == pytest.approx([5, 0, 5**0.5])
    assert made.channel_scores([[4, 5]]).tolist() == [[9, 16]]
    assert made.parameters == 8


def test_the_mean_over_several_neighbours_by_hand():
    made = make("1-NN", neighbours=2, held_out=0.0).fit(PLAIN)
    assert made.decision_function([[3], [0], [1]]).tolist() == [3, 1, 1]
    assert made.channel_scores([[3], [0]]).tolist() == [[10], [1]]  # (4 + 16) / 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 999))
def test_the_nearest_rows_are_those_of_a_loop(neighbours, channels, seed):
    generator = np.random.default_rng(seed)
    # Few values, so that many distances are equal.
    train = generator.integers(0, 4, (40, channels)).astype(float)
    test = generator.integers(-2, 6, (12, channels)).astype(float)
    made = make("1-NN", neighbours=neighbours).fit(train)
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    learned, scaled = (train[:36] - train.mean(axis=0)) / scale, (test - train.mean(axis=0)) / scale
    expected = [
        np.mean(sorted(np.sqrt(sum((x - y) ** 2)) for y in learned)[:neighbours]) for x in scaled
    ]
    assert made.decision_function(test) == pytest.approx(np.array(expected), abs=1e-12)


def test_a_learned_row_is_at_distance_0_to_the_bit_and_a_held_out_one_is_not():
    train = waves(200, channels=38) * 1e3
    train[7] += 1e7  # products alone would leave rounding errors
    scores = make("1-NN").fit(train).decision_scores_
    assert not scores[:180].any()
    assert (scores[180:] > 0).all()


# --- forecasts without a model ---


def test_the_last_value_by_hand():
    made = make("last value").fit(PLAIN)
    rows = column(0, 3, 2)
    assert made.decision_function(rows).tolist() == [1, 9, 1]
    assert made.channel_scores(rows).tolist() == [[0], [9], [1]]
    zero = make("last value", first_scores="zero").fit(PLAIN)
    assert zero.decision_function(rows).tolist() == [0, 9, 1]


def test_the_moving_average_by_hand():
    made = make("moving average", window=2).fit([*PLAIN, *PLAIN])
    # Forecasts 1 and 3.5.
    assert made.decision_function(column(0, 2, 5, 1)).tolist() == [6.25, 6.25, 16, 6.25]


def test_forecasts_without_a_model_are_those_of_a_loop():
    for name, window in [("last value", 1), ("moving average", 16)]:
        found = make(name).fit(TRAIN).decision_function(TEST)
        scaled = (TEST - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)
        expected = []
        for t in range(window, 60):
            errors = [scaled[t, c] - sum(scaled[t - window : t, c]) / window for c in range(3)]
            expected.append(sum(error**2 for error in errors) / 3)
        assert found[window:] == pytest.approx(np.array(expected), rel=1e-10)
        assert (found[:window] == min(found[window:])).all()
