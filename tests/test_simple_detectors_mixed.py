"""The isolation forest and SmartSimpleAD: by hand, against plain versions, and on real data."""

import os
from pathlib import Path

import numpy as np
import pytest
from small import make, waves

from lmmoe import data
from lmmoe.detectors.isolation import expected_depth
from lmmoe.errors import DataError
from lmmoe.metrics import best_f1
from lmmoe.report.experiment import PROTOCOLS
from lmmoe.report.others import study_results

TRAIN, TEST = waves(400, channels=3), waves(60, channels=3, seed=1)
PLAIN = [[-1.0], [1.0]]  # mean 0, deviation 1: z-scores are the values themselves


def column(*values):
    return np.array(values, dtype=float)[:, None]


# --- isolation forest ---


def test_the_expected_depth_by_hand():
    harmonic = np.log([2, 255]) + 0.5772156649015329
    expected = [0, 1, 2 * harmonic[0] - 4 / 3, 2 * harmonic[1] - 2 * 255 / 256]
    assert expected_depth(np.array([1, 2, 3, 256])) == pytest.approx(expected, rel=1e-12)
    assert expected[3] == pytest.approx(10.24, abs=0.005)


def test_a_forest_of_two_trees_by_hand():
    made = make("IsolationForest", trees=2, held_out=0.0).fit(PLAIN)
    made._learned = {
        # Node 0 sends values up to 0.5 to node 1, others to 2; the second tree is one leaf.
        "low": np.array([1, 1, 2, 3]),
        "high": np.array([2, 1, 2, 3]),
        "channel": np.zeros(4, dtype=int),
        "cut": np.array([0.5, 0, 0, 0]),
        "path": np.array([0.0, 3.0, 1.0, 5.0]),
        "roots": np.array([0, 3]),
        "steps": np.array([1]),
        "unit": np.array([2.0]),
    }
    found = made.decision_function(column(0, 0.5, 0.6))  # h = 4, 4 and 3
    assert found == pytest.approx([2**-2, 2**-2, 2**-1.5])


def test_the_forest_scores_as_scikit_learns_to_rounding():
    for rows, seed in [(400, 0), (400, 5), (30, 1), (2, 0)]:
        from sklearn.ensemble import IsolationForest

        train = waves(rows, channels=3)
        z_scores = (train - train.mean(axis=0)) / train.std(axis=0)
        cut = rows - rows // 10
        theirs = IsolationForest(n_estimators=20, max_samples=min(256, cut), random_state=seed)
        theirs.fit(z_scores[:cut])
        made = make("IsolationForest", trees=20, seed=seed).fit(train)
        assert made.decision_scores_ == pytest.approx(-theirs.score_samples(z_scores), rel=1e-12)


# --- SmartSimpleAD ---


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
    found = make("SmartSimpleAD").fit(train).decision_function(test)
    assert found == pytest.approx(naive_smart(train, test), rel=1e-9)


def test_a_channel_constant_in_training_weighs_nothing():
    train, wild = TRAIN.copy(), TEST.copy()
    train[:, 1] = 0.1
    wild[:, 1] = np.random.default_rng(0).normal(size=60) * 1e6
    made = make("SmartSimpleAD").fit(train)
    assert np.array_equal(made.decision_function(wild), made.decision_function(TEST))


def test_smart_needs_a_channel_that_varies():
    with pytest.raises(DataError, match="no channel varies in training, and SmartSimpleAD weighs"):
        make("SmartSimpleAD").fit(np.ones((50, 2)))


def test_smart_equals_the_studys_own_results():
    for machine in ["machine-1-3", "machine-3-7"]:
        root = Path(os.environ.get("LMMOE_DATA") or "none")
        if not (root / "SMD").is_dir():
            pytest.skip("LMMOE_DATA is not set, or has no SMD")
        series, study = data.load("smd", machine), PROTOCOLS["study"]
        made = study.detector("SmartSimpleAD").fit(study.train(series))
        scores, labels = made.decision_function(series.test), study.labels(series)
        theirs = study_results().loc[("SmartSimpleAD", machine)]
        for adjust, name in (("point", "point_f1_pa"), ("log", "event_f1_pa_log")):
            found = best_f1(labels=labels, scores=scores, adjust=adjust).f1
            assert found == pytest.approx(theirs[name], abs=1e-9)
