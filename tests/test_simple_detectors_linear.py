"""Principal components, autoregression and k-means: by hand, and against plain versions."""

import numpy as np
import pytest
from small import make, waves

from lmmoe.detectors.base import BLOCK, blocks
from lmmoe.detectors.pca import principal
from lmmoe.detectors.scaling import ewma

TRAIN, TEST = waves(150, channels=3), waves(60, channels=3, seed=1)
LEARNED = (TRAIN - TRAIN.mean(axis=0))[:135] / TRAIN.std(axis=0)
SCALED = (TEST - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)
PLAIN = [[-1.0], [1.0]]  # mean 0, deviation 1: z-scores are the values themselves


def column(*values):
    return np.array(values, dtype=float)[:, None]


def loop_windows(rows, window):
    """Flat windows, one by one."""
    return np.array([rows[i : i + window].ravel() for i in range(len(rows) - window + 1)])


# --- windows ---


def test_blocks_hold_every_window_once_and_leave_the_rows_alone():
    for rows in [4, 5, BLOCK + 2, BLOCK + 3, BLOCK + 4]:
        values = np.random.default_rng(0).random((rows, 2))
        before = values.copy()
        parts = list(blocks(values, 4))
        assert np.array_equal(np.concatenate(parts), loop_windows(values, 4))
        for part in parts:
            part -= 1
        assert np.array_equal(values, before)


# --- principal components of rows ---


def test_pca_by_hand():
    # The main direction is (1, 1, 0): (3, 1, .) is rebuilt as (2, 2, .), the constant not at all.
    train = [[-1, -1, 7], [1, 1, 7]]
    made = make("PCA z-score", held_out=0.0).fit(train)
    assert made.channel_scores([[3, 1, 12]]) == pytest.approx(np.array([[1, 1, 5]]))
    assert made.decision_function([[3, 1, 12], [2, 2, 7]]) == pytest.approx([5, 0], abs=1e-12)
    mean = make("PCA z-score", held_out=0.0, score="mean").fit(train)
    assert mean.decision_function([[3, 1, 12]]) == pytest.approx([27 / 3])
    assert made.parameters == 3 + 3


def test_there_is_always_something_that_the_directions_do_not_rebuild():
    sizes = [(50, 12, 10, 10), (50, 10, 10, 9), (50, 4, 10, 3), (50, 1, 10, 0), (5, 12, 10, 4)]
    for rows, channels, components, kept in sizes:
        found = principal(np.random.default_rng(0).normal(size=(rows, channels)), 1, components)
        directions = found["directions"]
        assert directions.shape == (kept, channels)
        assert directions @ directions.T == pytest.approx(np.eye(kept), abs=1e-12)


def test_directions_without_variance_are_not_kept():
    rows = np.zeros((50, 12))
    rows[:, :2] = np.random.default_rng(0).normal(size=(50, 2))
    rows[:, 2] = rows[:, 0]
    assert len(principal(rows, 1, 10)["directions"]) == 2
    assert len(principal(rows[:, 5:], 4, 10)["directions"]) == 0
    # A step of the constant channel 5 is an error in full.
    made = make("PCA z-score").fit(rows)
    rows[-1, 5] = 3
    assert made.decision_function(rows[-1:]) == pytest.approx([3])


def test_pca_is_scikit_learns():
    for score, rule in [("max", lambda e: e.max(axis=1)), ("mean", lambda e: (e**2).mean(axis=1))]:
        from sklearn.decomposition import PCA

        theirs = PCA(2, svd_solver="full").fit(LEARNED)
        errors = np.abs(SCALED - theirs.inverse_transform(theirs.transform(SCALED)))
        made = make("PCA z-score", components=2, score=score).fit(TRAIN)
        assert made.channel_scores(TEST) == pytest.approx(errors, abs=1e-10)
        assert made.decision_function(TEST) == pytest.approx(rule(errors), abs=1e-10)


# --- principal components of windows ---


def test_pca_of_windows_is_scikit_learns():
    from sklearn.decomposition import PCA

    theirs = PCA(5, svd_solver="full").fit(loop_windows(LEARNED, 8))
    tests = loop_windows(SCALED, 8)
    errors = np.abs(tests - theirs.inverse_transform(theirs.transform(tests)))[:, -3:]
    made = make("PCA windows", window=8, components=5).fit(TRAIN)
    assert made.channel_scores(TEST)[7:] == pytest.approx(errors, abs=1e-10)
    assert made.decision_function(TEST)[7:] == pytest.approx(errors.mean(axis=1), abs=1e-10)
    assert not made.channel_scores(TEST)[:7].any()
    assert (made.decision_function(TEST)[:7] == made.decision_function(TEST)[7:].min()).all()
    assert made.parameters == 24 + 5 * 24


def test_the_moving_mean_by_hand():
    assert ewma(column(0, 10, 0), 0.2).ravel() == pytest.approx([0, 2, 1.6])
    assert ewma(column(5, 0), 0.2).ravel() == pytest.approx([5, 4])  # not from 0
    assert ewma(column(5, 0), 0.0).ravel().tolist() == [5, 0]


def test_the_smoothed_score_is_the_plain_one_smoothed_from_its_first_row_on():
    plain = make("PCA windows").fit(TRAIN).decision_function(TEST)
    found = make("PCA windows EWMA").fit(TRAIN).decision_function(TEST)
    assert found[15:] == pytest.approx(ewma(plain[15:, None], 0.2).ravel())
    assert (found[:15] == found[15:].min()).all()


# --- autoregression ---


def test_ridge_by_hand():
    # Pairs (-1, 1), (1, -1), (-1, 1); centred: X'X = 8/3, X'Y = -8/3, penalty 3 * 1.
    made = make("ridge VAR", order=1, penalty=1.0, held_out=0.0).fit(column(-1, 1, -1, 1))
    assert made._learned["weights"] == pytest.approx(np.array([[-8 / 17]]))
    assert made._learned["intercept"] == pytest.approx([3 / 17])
    # 1 is followed by -5/17.
    assert made.decision_function(column(1, 0, 3 / 17)) == pytest.approx([0, 25 / 289, 0])
    assert made.parameters == 2


def test_ridge_is_scikit_learns():
    from sklearn.linear_model import Ridge

    inputs, outputs = loop_windows(LEARNED[:-1], 4), LEARNED[4:]
    theirs = Ridge(alpha=0.5 * len(inputs)).fit(inputs, outputs)
    errors = (SCALED[4:] - theirs.predict(loop_windows(SCALED[:-1], 4))) ** 2
    made = make("ridge VAR", order=4, penalty=0.5).fit(TRAIN)
    assert made.channel_scores(TEST)[4:] == pytest.approx(errors, abs=1e-10)
    assert made.decision_function(TEST)[4:] == pytest.approx(errors.mean(axis=1), abs=1e-10)


# --- k-means ---


def test_k_means_by_hand():
    made = make("k-means", window=2, clusters=2, held_out=0.0).fit(column(-1, 1, -1, 1))
    made._learned["centres"] = np.array([[0.0, 0.0], [3.0, 4.0]])
    rows = column(0, 0, 4, 5)  # nearest to (0, 0), then (3, 4) twice
    assert made.decision_function(rows) == pytest.approx([0, 0, 3, 2**0.5])
    assert made.channel_scores(rows).ravel() == pytest.approx([0, 0, 9, 2])


def test_k_means_distances_are_those_of_a_loop():
    made = make("k-means", window=5, clusters=7).fit(TRAIN)
    centres = made._learned["centres"]
    assert centres.shape == (7, 15) and made.parameters == 105
    expected = [
        min(np.linalg.norm(part - centre) for centre in centres) for part in loop_windows(SCALED, 5)
    ]
    assert made.decision_function(TEST)[4:] == pytest.approx(expected, rel=1e-9)
    shares = made.channel_scores(TEST)[4:]
    assert np.sqrt(shares.sum(axis=1)) == pytest.approx(expected, rel=1e-9)
