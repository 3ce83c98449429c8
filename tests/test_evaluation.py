"""The columns of every results table, and what every metric refuses."""

import math
import re

import naive
import numpy as np
import pytest
from hypothesis import given, settings

from lmmoe.evaluation import COLUMNS, METRICS, evaluate
from lmmoe.metrics import average_precision, best_f1, roc_auc, vus

ALL = {
    **METRICS,
    "delayed": lambda **data: best_f1(**data, adjust="point", delay=2).f1,
    "vus": lambda **data: vus(**data, window=2),
}
# Events: rows 0-5 (n = 6, peak 2) and row 7 (n = 1, peak 5); see test_metrics_f1.
LABELS = [1, 1, 1, 1, 1, 1, 0, 1, 0, 0]
SCORES = [1, 0, 2, 1, 0, 0, 3, 5, 4, 1]


def test_columns():
    assert COLUMNS == (
        "average_precision",
        "roc_auc",
        "best_f1",
        "point_f1_pa",
        "event_f1_pa_log",
        "event_f1_pa_squeeze",
        "event_f1_pa_sqrt",
        "vus_roc",
        "vus_pr",
    )


def test_by_hand():
    found = evaluate(LABELS, SCORES, vus_window=0)
    assert tuple(found) == COLUMNS
    f1s = [found[name] for name in COLUMNS[2:7]]
    assert f1s == pytest.approx([14 / 17, 0.875, 0.75, 2 / 3, 0.75])  # test_metrics_f1
    # Pairs won against 3, 4, 1: 5 wins 3; 2 wins 1; each 1 half; each 0 none: 5 of 21.
    assert found["roc_auc"] == pytest.approx(5 / 21)
    # Precision 1 at 5 (of >= 5), 2/4 at 2, 4/7 at the two 1, 7/10 at the three 0; 7 rows.
    expected = (1 + 2 / 4 + 2 * 4 / 7 + 3 * 7 / 10) / 7
    assert found["average_precision"] == pytest.approx(expected)
    # Two events. Recall x share found: 1/7 x 1/2 at 5, then 2/7, 4/7, 7/7 with both found.
    steps = [(1 / 14, 1), (2 / 7, 2 / 4), (4 / 7, 4 / 7), (1, 7 / 10)]
    gains = np.diff([recall for recall, _ in steps], prepend=0)
    expected = sum(gain * precision for gain, (_, precision) in zip(gains, steps, strict=True))
    assert found["vus_pr"] == pytest.approx(expected)
    # False alarm rates 0 at 5, 1/3 at 4, 2/3 at 3, at 2 still, 1 at 1: trapezoids.
    assert found["vus_roc"] == pytest.approx(2 / 3 / 14 + 1 / 3 * (2 / 7 + 4 / 7) / 2)


@settings(max_examples=20, deadline=None)
@given(naive.cases())
def test_the_same_as_the_metrics_one_by_one(case):
    labels, scores = case
    found = evaluate(labels, scores, vus_window=3)
    data = {"labels": labels, "scores": scores}
    assert found["average_precision"] == average_precision(**data)
    assert found["roc_auc"] == roc_auc(**data)
    assert found["best_f1"] == float(naive.best_f1(labels, scores)[0])
    for name, adjust in (
        ("point_f1_pa", "point"),
        ("event_f1_pa_log", "log"),
        ("event_f1_pa_squeeze", "squeeze"),
        ("event_f1_pa_sqrt", "sqrt"),
    ):
        assert found[name] == float(naive.best_f1(labels, scores, adjust)[0]), name
    assert (found["vus_roc"], found["vus_pr"]) == vus(**data, window=3)


def test_the_window_is_used():
    narrow = evaluate(LABELS, SCORES, vus_window=0)
    wide = evaluate(LABELS, SCORES, vus_window=9)
    assert narrow["vus_roc"] != wide["vus_roc"] and narrow["vus_pr"] != wide["vus_pr"]
    assert {name: narrow[name] for name in METRICS} == {name: wide[name] for name in METRICS}
    with pytest.raises(TypeError):
        evaluate(LABELS, SCORES)
    with pytest.raises(ValueError, match="window=-1"):
        evaluate(LABELS, SCORES, vus_window=-1)


@pytest.mark.parametrize("labels", [None, [0, 0, 0], [1, 1, 1], np.zeros(3, bool), [0.0, 0.0, 0.0]])
def test_undefined_is_nan_and_never_a_number(labels):
    found = evaluate(labels, [0.1, 0.2, 0.3], vus_window=2)
    assert tuple(found) == COLUMNS and all(math.isnan(value) for value in found.values())


def test_adjusted_names_say_so():
    # Scores whose plain F1 is low and whose adjusted F1 is 1: the names that moved carry _pa.
    labels, scores = [1] * 9 + [0] * 9, [9] + [0] * 8 + [5] * 9
    found = evaluate(labels, scores, vus_window=0)
    perfect = {name for name, value in found.items() if value == 1}
    assert perfect == {name for name in COLUMNS if "_pa" in name}


NUMBERS = {"labels": [0, 1, 0], "scores": [0.3, 0.2, 0.1]}
BAD = [
    ({"labels": [0, 1, 2]}, "label 2 at row 2 is neither 0 nor 1 (were they swapped?)"),
    ({"labels": [0, 0.5, 1]}, "label 0.5 at row 1 is neither 0 nor 1"),
    ({"labels": [0, np.nan, 1]}, "label nan at row 1 is neither 0 nor 1"),
    ({"labels": [-1, 1, 1]}, "label -1 at row 0 is neither 0 nor 1"),
    ({"labels": [3, 3, 3]}, "label 3 at row 0 is neither 0 nor 1"),
    (
        {"labels": [0.3, 0.2, 0.1], "scores": [0, 1, 0]},
        "label 0.3 at row 0 is neither 0 nor 1 (were they swapped?)",
    ),
    ({"scores": [0.1, np.nan, 0.3]}, "score nan at row 1 is not a finite number"),
    ({"scores": [0.1, 0.2, np.inf]}, "score inf at row 2 is not a finite number"),
    ({"scores": [-np.inf, 0.2, np.nan]}, "score -inf at row 0 is not a finite number"),
    (
        {"scores": [0.1, 0.2]},
        "labels of shape (3,) and scores of shape (2,): both must be vectors of one length",
    ),
    ({"labels": [0, 1]}, "labels of shape (2,) and scores of shape (3,)"),
    ({"labels": [[0], [1], [0]]}, "labels of shape (3, 1) and scores of shape (3,)"),
    ({"labels": np.eye(2), "scores": np.eye(2)}, "labels of shape (2, 2) and scores of shape"),
    ({"labels": 1, "scores": 1.0}, "labels of shape () and scores of shape ()"),
    ({"labels": ["0", "1", "0"]}, "labels are <U1 and scores float64: numbers are needed"),
    ({"scores": ["a", "b", "c"]}, "labels are int64 and scores <U1: numbers are needed"),
    ({"scores": [None, 0.1, 0.2]}, "labels are int64 and scores object: numbers are needed"),
    ({"scores": [1j, 0.1, 0.2]}, "labels are int64 and scores complex128: numbers are needed"),
]


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(("changes", "message"), BAD)
def test_refused(metric, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ALL[metric](**(NUMBERS | changes))


# A single label is one class: undefined, not refused.
@pytest.mark.parametrize(
    ("changes", "message"), [bad for bad in BAD if np.ndim(bad[0].get("labels", []))]
)
def test_evaluate_passes_the_refusal_on(changes, message):
    given = NUMBERS | changes
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate(given["labels"], given["scores"], vus_window=2)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("labels", "what"), [([0, 0, 0], "normal"), ([1, 1, 1], "an anomaly"), ([], "")]
)
def test_one_class_only(metric, labels, what):
    message = f"every row is {what}.*the metric needs normal rows and anomalies"
    with pytest.raises(ValueError, match=message):
        ALL[metric](labels=labels, scores=[0.1, 0.2, 0.3][: len(labels)])


@pytest.mark.parametrize("metric", [best_f1, roc_auc, average_precision, vus])
def test_positional_arguments_are_refused(metric):
    with pytest.raises(TypeError, match="0 positional arguments"):
        metric([0, 1], [0.1, 0.2])
    with pytest.raises(TypeError, match="required keyword-only argument"):
        metric(labels=[0, 1])
