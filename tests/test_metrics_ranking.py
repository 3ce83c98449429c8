"""ROC AUC and average precision: by hand, by counting pairs, and as scikit-learn has them."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import average_precision_score, roc_auc_score

from lmmoe.metrics import average_precision, best_f1, roc_auc

FAST = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("labels", "scores", "area", "precision"),
    [
        # Perfect, and the other way round. Reversed, row 1 is flagged last, at precision 1/3.
        ([0, 1, 0], [1, 3, 2], 1, 1),
        ([0, 1, 0], [3, 1, 2], 0, 1 / 3),
        # All tied: every pair half won; one threshold, precision = prevalence.
        ([0, 1, 0, 0], [5, 5, 5, 5], 1 / 2, 1 / 4),
        # Pairs: 4 beats 3 and 1, 2 beats 1 only: 3 of 4. Precision 1 at 4, then 2/3 at 2.
        ([1, 0, 1, 0], [4, 3, 2, 1], 3 / 4, (1 + 2 / 3) / 2),
        # 2 beats 1 and ties 2: 1.5 of 2. At 2 half of what is flagged is right.
        ([0, 1, 0], [1, 2, 2], 3 / 4, 1 / 2),
        # Anomalies 3, 1, 1 against 3, 0: 1/2 + 1 and twice 0 + 1: 3.5 of 6. Precision at 3: 1/2
        # (one of three found), at 1: 3/4 (the other two).
        ([1, 0, 1, 1, 0], [3, 3, 1, 1, 0], 7 / 12, (1 / 2 + 2 * 3 / 4) / 3),
        # One normal row, anomalies at both ends.
        ([1, 0, 1], [2, 1, 0], 1 / 2, (1 + 2 / 3) / 2),
        ([1, 0], [-1e-300, -2e-300], 1, 1),
        ([1, 0], [1.7e308, -1.7e308], 1, 1),
    ],
)
@pytest.mark.filterwarnings("error")
def test_by_hand(labels, scores, area, precision):
    assert roc_auc(labels=labels, scores=scores) == pytest.approx(area, rel=1e-15)
    found = average_precision(labels=labels, scores=scores)
    assert found == pytest.approx(precision, rel=1e-15)
    assert type(found) is float and type(roc_auc(labels=labels, scores=scores)) is float


@FAST
@given(naive.cases())
def test_equal_counting_pairs_and_scikit_learn(case):
    labels, scores = case
    area, precision = (metric(labels=labels, scores=scores) for metric in METRICS)
    assert area == pytest.approx(float(naive.roc_auc(labels, scores)), abs=1e-14)
    assert precision == pytest.approx(float(naive.average_precision(labels, scores)), abs=1e-14)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


METRICS = (roc_auc, average_precision)


@FAST
@given(naive.cases())
def test_only_the_order_of_scores_counts(case):
    labels, scores = case[0], np.array(case[1])
    ranks = np.unique(scores, return_inverse=True)[1]
    for metric in METRICS:
        before = metric(labels=labels, scores=scores)
        assert 0 <= before <= 1
        for changed in (3 * scores + 7, np.exp(scores), scores**3, ranks):
            assert metric(labels=labels, scores=changed) == before


@FAST
@given(naive.cases())
def test_symmetries(case):
    labels, scores = np.array(case[0]), np.array(case[1])
    area = roc_auc(labels=labels, scores=scores)
    assert roc_auc(labels=labels, scores=-scores) == pytest.approx(1 - area, abs=1e-14)
    assert roc_auc(labels=1 - labels, scores=scores) == pytest.approx(1 - area, abs=1e-14)
    for metric in METRICS:  # rows may come in any order
        backwards = metric(labels=labels[::-1], scores=scores[::-1])
        assert backwards == pytest.approx(metric(labels=labels, scores=scores), abs=1e-14)
        twice = metric(labels=np.tile(labels, 2), scores=np.tile(scores, 2))
        assert twice == pytest.approx(metric(labels=labels, scores=scores), abs=1e-14)


def test_large_samples_agree_with_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.random(30_000) < 0.04
    for scores in (generator.random(30_000) + 0.3 * labels, generator.integers(0, 9, 30_000)):
        area = roc_auc(labels=labels, scores=scores)
        assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        precision = average_precision(labels=labels, scores=scores)
        assert precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_random_scores_reach_what_the_docstrings_say():
    generator = np.random.default_rng(1)
    labels = np.arange(20_000) % 20 == 0  # prevalence .05
    scores = generator.random(20_000)
    assert roc_auc(labels=labels, scores=scores) == pytest.approx(0.5, abs=0.03)
    assert average_precision(labels=labels, scores=scores) == pytest.approx(0.05, abs=0.01)
    assert best_f1(labels=labels, scores=scores).f1 < 0.12
