"""Detectors without a network: worked out by hand, against loops, scipy and scikit-learn."""

from itertools import product

import numpy as np
import pytest
import scipy.linalg
from scipy.signal import lfilter
from scipy.spatial.distance import cdist
from small import make, waves
from threadpoolctl import threadpool_info, threadpool_limits

from lmmoe.detectors.base import BLOCK, blocks
from lmmoe.detectors.classical import principal
from lmmoe.detectors.scaling import ewma
from lmmoe.errors import DataError

TRAIN, TEST = waves(150, channels=3), waves(60, channels=3, seed=1)
LEARNED = (TRAIN - TRAIN.mean(axis=0))[:135] / TRAIN.std(axis=0)
SCALED = (TEST - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)


def loop_windows(rows, window):
    """Flat windows, one by one."""
    return np.array([rows[i : i + window].ravel() for i in range(len(rows) - window + 1)])


def test_the_exponential_mean_is_scipys():
    values = np.array([1.0, 2, 6, 3])
    assert ewma(values, 0.2)[:2] == pytest.approx([1, 1.2])  # from the first, not from 0
    assert ewma(values, 0.0).tolist() == values.tolist()
    for rows in (63, 64, 65, 200):  # 64 are computed at once
        values, start = waves(rows), np.arange(4.0)
        for share in (1.0, 0.3, 5e-4):
            before = (1 - share) * start[None]
            expected = lfilter([share], [1, share - 1], values, axis=0, zi=before)
            assert ewma(values, share, start) == pytest.approx(expected[0], rel=1e-12)
            assert np.array_equal(ewma(values[:50], share, start), ewma(values, share, start)[:50])
        assert np.array_equal(ewma(values[:, 2], 0.3), ewma(values[:, 2:3], 0.3).ravel())


def test_blocks_hold_every_window_once_and_leave_the_rows_alone():
    for rows in [4, 5, BLOCK + 2, BLOCK + 3, BLOCK + 4]:
        values = np.random.default_rng(0).random((rows, 2))
        before, parts = values.copy(), list(blocks(values, 4))
        assert np.array_equal(np.concatenate(parts), loop_windows(values, 4))
        for part in parts:
            part -= 1
        assert np.array_equal(values, before)


def test_mtsexample_by_hand():
    # Means 1 and 0.1, deviations 1 and (1): rounding gives the constant channel one above 0.
    made = make("MTSExample").fit([[0.0, 0.1], [2.0, 0.1]] * 3)
    assert made.decision_function([[4.0, 2.1], [1.0, 0.1]]) == pytest.approx([9 + 4, 0])
    assert made.channel_scores([[4.0, 2.1]]) == pytest.approx(np.array([[9, 4]]))
    assert made.predict([[0.0, 0.1], [2.01, 0.1]]).tolist() == [0, 1]  # above 1, not at it
    assert made.parameters == 0


def test_floors_and_norms_by_hand():
    assert make("row index").fit(TRAIN).decision_function(TEST[:3]).tolist() == [0, 1, 2]
    made = make("L2 min-max").fit([[2, 5], [6, 5]])  # lowest 2 and 5; ranges 4 and (1)
    assert made.decision_function([[14, 9], [2, 5], [-2, 5]]).tolist() == [5, 0, 1]
    assert made.channel_scores([[14, 9]]).tolist() == [[9, 16]]
    made = make("range deviation").fit([[0, 5, 1], [4, 5, 1]])
    rows = [[4, 5, 1], [4.1, 5.5, 1], [-1, 5, 0.999], [9, 9, 9]]
    assert made.decision_function(rows).tolist() == [0, 2, 2, 3]
    assert made.channel_scores(rows[1:3]).tolist() == [[1, 1, 0], [1, 0, 1]]


def test_random_scores_are_their_own_for_each_seed_and_series():
    made = make("random", seed=7).fit(TRAIN)
    scores, shares = made.decision_function(TEST), made.channel_scores(TEST)
    assert 0 <= scores.min() and scores.max() < 1 and abs(scores.mean() - 0.5) < 0.1
    assert not np.isin(scores, made.decision_function(TEST + 1)).any()
    assert not np.isin(scores, made.decision_scores_).any()
    assert np.ptp(shares, axis=1).tolist() == [0] * 60
    assert shares.sum(axis=1) == pytest.approx(scores, rel=1e-12)


def test_forecasts_without_a_model_are_those_of_a_loop():
    for name, window in [("last value", 1), ("moving average", 16)]:
        found = make(name).fit(TRAIN).decision_function(TEST)
        means = [SCALED[t - window : t].sum(axis=0) / window for t in range(window, 60)]
        expected = ((SCALED[window:] - means) ** 2).mean(axis=1)
        assert found[window:] == pytest.approx(expected, rel=1e-10)


def test_nearest_neighbours_by_hand():
    made = make("1-NN", neighbours=2, held_out=0.0).fit([[-1], [1]])  # z-scores are the values
    assert made.decision_function([[3], [0], [1]]).tolist() == [3, 1, 1]
    assert made.channel_scores([[3], [0]]).tolist() == [[10], [1]]  # (4 + 16) / 2
    assert made.parameters == 2


def test_distances_to_the_nearest_rows_are_scipys():
    generator = np.random.default_rng(0)
    for neighbours, channels in product(range(1, 6), range(1, 5)):
        # Few values, so that many distances are equal.
        train = generator.integers(0, 4, (40, channels)).astype(float)
        test = generator.integers(-2, 6, (12, channels)).astype(float)
        made, scale = make("1-NN", neighbours=neighbours).fit(train), train.std(axis=0)
        distances = np.sort(cdist(test / scale, train[:36] / scale))[:, :neighbours]
        assert made.decision_function(test) == pytest.approx(distances.mean(axis=1), abs=1e-12)


def test_a_learned_row_is_at_distance_0_to_the_bit_and_a_held_out_one_is_not():
    train = waves(200, channels=38) * 1e3
    train[7] += 1e7  # products alone would leave rounding errors
    scores = make("1-NN").fit(train).decision_scores_
    assert not scores[:180].any() and (scores[180:] > 0).all()


def test_k_means_distances_are_scipys():
    made = make("k-means", window=5, clusters=7).fit(TRAIN)
    centres, parts = made._learned["centres"], loop_windows(SCALED, 5)
    assert centres.shape == (7, 15) and made.parameters == 105
    expected = cdist(parts, centres).min(axis=1)
    assert made.decision_function(TEST)[4:] == pytest.approx(expected, rel=1e-9)
    shares = made.channel_scores(TEST)[4:]
    assert np.sqrt(shares.sum(axis=1)) == pytest.approx(expected, rel=1e-9)


def test_there_is_always_something_that_the_directions_do_not_rebuild():
    sizes = [(50, 12, 10, 10), (50, 10, 10, 9), (50, 4, 10, 3), (50, 1, 10, 0), (5, 12, 10, 4)]
    for rows, channels, components, kept in sizes:
        values = np.random.default_rng(0).normal(size=(rows, channels))
        assert principal(values, 1, components)["directions"].shape == (kept, channels)
    rows = np.zeros((50, 12))
    rows[:, :2] = np.random.default_rng(0).normal(size=(50, 2))
    rows[:, 2] = rows[:, 0]
    assert len(principal(rows, 1, 10)["directions"]) == 2
    assert len(principal(rows[:, 5:], 4, 10)["directions"]) == 0


def test_pca_is_scikit_learns():
    from sklearn.decomposition import PCA

    for name, window, chosen in [
        ("PCA z-score", 1, {"components": 2, "score": "max"}),
        ("PCA z-score", 1, {"components": 2, "score": "mean"}),
        ("PCA windows", 8, {"components": 5, "window": 8}),
    ]:
        theirs = PCA(chosen["components"], svd_solver="full").fit(loop_windows(LEARNED, window))
        tests = loop_windows(SCALED, window)
        errors = np.abs(tests - theirs.inverse_transform(theirs.transform(tests)))[:, -3:]
        made = make(name, **chosen).fit(TRAIN)
        assert made.channel_scores(TEST)[window - 1 :] == pytest.approx(errors, abs=1e-10)
        kinds = {"max": errors.max(axis=1), "mean": (errors**2).mean(axis=1)}
        scores = kinds.get(chosen.get("score"), errors.mean(axis=1))
        assert made.decision_function(TEST)[window - 1 :] == pytest.approx(scores, abs=1e-10)
        assert made.parameters == theirs.mean_.size + theirs.components_.size


def test_ridge_is_scikit_learns_and_solved_on_one_thread(monkeypatch):
    from sklearn.linear_model import Ridge

    threads, solve = set(), scipy.linalg.solve

    def noted(*given, **more):
        threads.update(pool["num_threads"] for pool in threadpool_info())
        return solve(*given, **more)

    inputs, outputs = loop_windows(LEARNED[:-1], 4), LEARNED[4:]
    theirs = Ridge(alpha=0.5 * len(inputs)).fit(inputs, outputs)
    errors = (SCALED[4:] - theirs.predict(loop_windows(SCALED[:-1], 4))) ** 2
    monkeypatch.setattr(scipy.linalg, "solve", noted)  # now: scikit-learn's solves with it, too
    with threadpool_limits(2):
        made = make("ridge VAR", order=4, penalty=0.5).fit(TRAIN)
    assert threads == {1}  # OpenBLAS' Cholesky crashes on two at some 15,600 columns
    assert made.channel_scores(TEST)[4:] == pytest.approx(errors, abs=1e-10)
    assert made.decision_function(TEST)[4:] == pytest.approx(errors.mean(axis=1), abs=1e-10)
    assert made.parameters == 12 * 3 + 3


def test_the_forest_scores_as_scikit_learns_to_rounding():
    from sklearn.ensemble import IsolationForest

    for rows, seed in [(400, 0), (400, 5), (30, 1), (2, 0)]:
        train = waves(rows, channels=3)
        z_scores = (train - train.mean(axis=0)) / train.std(axis=0)
        cut = rows - rows // 10
        theirs = IsolationForest(n_estimators=20, max_samples=min(256, cut), random_state=seed)
        theirs.fit(z_scores[:cut])
        made = make("IsolationForest", trees=20, seed=seed).fit(train)
        assert made.decision_scores_ == pytest.approx(-theirs.score_samples(z_scores), rel=1e-12)


def naive_smart(train, test):
    """SmartSimpleAD in loops."""
    varying = [c for c in range(train.shape[1]) if len(set(train[:, c])) > 1]
    z_scores = (test[:, varying] - train[:, varying].mean(axis=0)) / train[:, varying].std(axis=0)
    rows = z_scores / len(varying)  # all weigh the same
    parts = [[], [], []]
    for t in range(len(rows)):
        near, wide = rows[max(t - 1, 0) : t + 2], rows[max(t - 3, 0) : t + 4]
        parts[0].append(sum(rows[t] ** 2))
        parts[1].append(sum(np.var(near, axis=0)))
        parts[2].append(sum(np.var(np.diff(wide, axis=0), axis=0)))
    unit = [(np.array(p) - min(p)) / (max(p) - min(p)) for p in parts]
    mixed = 0.6 * unit[0] + 0.25 * unit[1] + 0.15 * unit[2]
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / 0.8) ** 2)
    kernel /= kernel.sum()
    mirrored = np.concatenate([mixed[2::-1], mixed, mixed[:-4:-1]])
    smooth = [sum(kernel * mirrored[t : t + 7]) for t in range(len(mixed))]
    return 0.85 * mixed + 0.15 * np.array(smooth)


def test_smart_is_what_loops_give():
    train, test = TRAIN.copy(), TEST.copy()
    train[:, 1] = 0.1
    made = make("SmartSimpleAD").fit(train)
    assert made.decision_function(test) == pytest.approx(naive_smart(train, test), rel=1e-9)
    test[:, 1] = np.random.default_rng(0).normal(size=60) * 1e6  # constant in training: no weight
    assert np.array_equal(made.decision_function(test), made.decision_function(TEST))
    with pytest.raises(DataError, match="no channel varies in training, and SmartSimpleAD weighs"):
        make("SmartSimpleAD").fit(np.ones((50, 2)))
