"""The columns of every results table, and what every metric refuses."""

import math
import re

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe import metrics
from lmmoe.metrics import average_precision, best_f1, roc_auc, vus
from lmmoe.report.evaluation import ADJUSTED, COLUMNS, DIAGNOSIS, LABEL_FREE, evaluate, events_found

ALL = {
    "average_precision": average_precision,
    "roc_auc": roc_auc,
    "best_f1": best_f1,
    "adjusted": lambda **data: best_f1(**data, adjust="log"),
    "delayed": lambda **data: best_f1(**data, adjust="point", delay=2),
    "several": lambda **data: metrics.best_f1s(**data, adjust=[None, "point"]),
    "vus": lambda **data: vus(**data, window=2),
    "pa_k": metrics.pa_k,
    "best_affiliation_f1": metrics.best_affiliation_f1,
    "affiliation": lambda *, labels, scores: metrics.affiliation(labels=labels, alarms=scores),
    "alarms": lambda **data: metrics.alarms(**data, threshold=0.5),
}
# Events: rows 0-5 (n = 6, peak 2) and row 7 (n = 1, peak 5); see test_metrics_f1.
LABELS = [1, 1, 1, 1, 1, 1, 0, 1, 0, 0]
SCORES = [1, 0, 2, 1, 0, 0, 3, 5, 4, 1]


def test_columns():
    assert " ".join(COLUMNS) == (
        "average_precision roc_auc best_f1 vus_roc vus_pr best_affiliation_f1 pa_k_area "
        "point_f1_pa point_precision_pa point_recall_pa "
        "event_f1_pa_log event_f1_pa_squeeze event_f1_pa_sqrt delay10_f1_pa "
        "quantile_f1 quantile_precision quantile_recall pot_f1 pot_precision pot_recall "
        "budget_f1 budget_events_found budget_false_alarms_per_day budget_delay "
        "hit_rate_100 hit_rate_150 ndcg_100 ndcg_150"
    )


def test_by_hand():
    found = evaluate(LABELS, SCORES, vus_window=0)
    assert tuple(found) == COLUMNS
    names = ("best_f1", "point_f1_pa", *(f"event_f1_pa_{n}" for n in ("log", "squeeze", "sqrt")))
    f1s = [found[name] for name in names]
    assert f1s == pytest.approx([14 / 17, 0.875, 0.75, 2 / 3, 0.75])  # test_metrics_f1
    assert found["point_precision_pa"] == 7 / 9 and found["point_recall_pa"] == 1
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


def test_label_free_by_hand():
    # 101 calibration scores 0..100: the 0.99 quantile is 99, POT's start 98 with two rows above:
    # too few, so the highest, 100. Two rows a day: every threshold keeps to one alarm in 50 days.
    labels, scores = [0, 1, 1, 1, 0, 0], [100, 99, 99.5, 101, 99.1, 0]
    given = {"vus_window": 0, "calibration": np.arange(101.0)}
    found = evaluate(labels, scores, **given, rows_per_day=2)
    # Above 99: rows 0, 2, 3, 4. Above 100: row 3. Above 0: all but the last, one alarm.
    assert (found["quantile_precision"], found["quantile_recall"]) == (1 / 2, 2 / 3)
    assert found["quantile_f1"] == 4 / 7
    assert (found["pot_precision"], found["pot_recall"], found["pot_f1"]) == (1, 1 / 3, 1 / 2)
    assert found["budget_f1"] == 6 / 8 and found["budget_events_found"] == 1
    assert found["budget_false_alarms_per_day"] == 0 and found["budget_delay"] == 0
    # 102 rows a day: less than one alarm, the highest score again.
    tight = evaluate(labels, scores, **given, rows_per_day=102)
    assert tight["budget_f1"] == 1 / 2 and tight["budget_delay"] == 2
    false = evaluate([0, 0, 0, 0, 0, 1], scores, **given, rows_per_day=102)
    assert false["budget_false_alarms_per_day"] == pytest.approx(102 / 6)
    assert math.isnan(false["budget_delay"]) and false["budget_events_found"] == 0


def test_events_found_by_hand():
    # 102 rows a day allow no alarm on 101 rows: the budget's threshold is their highest score, 100.
    labels = [1, 0, 1, 1, 0, 1, 1]
    scores = [99.5, 999, 3, 100.5, 999, 99, 100]
    found = events_found(labels, scores, np.arange(101.0), 102)
    assert found.dtype == bool and found.tolist() == [False, True, False]  # above it, not at it
    # Without a day the 0.99 quantile, 99.
    assert events_found(labels, scores, np.arange(101.0), None).tolist() == [True, True, True]
    assert events_found([0, 0], [1, 2], [0], None).tolist() == []


@settings(max_examples=20, deadline=None)
@given(naive.cases(), st.lists(st.integers(-4, 20), min_size=1, max_size=90))
def test_the_share_of_events_found_is_that_of_the_table(case, calibration):
    labels, scores = case
    given = {"calibration": np.array(calibration) / 4, "rows_per_day": 30}
    table = evaluate(labels, scores, vus_window=0, **given)
    found = events_found(labels, scores, **given)
    assert len(found) == len(naive.events(labels))
    assert found.mean() == pytest.approx(table["budget_events_found"])


def test_what_is_missing_leaves_its_columns_undefined():
    everything = {
        "calibration": [0.1, 0.2, 0.4],
        "rows_per_day": 3,
        "blame": [[3, 1, 2]],
        "causes": [(0, 2)],
    }
    per_day = {name for name in COLUMNS if name.startswith("budget")}
    for missing, undefined in (
        ("calibration", set(LABEL_FREE)),
        ("rows_per_day", per_day),
        ("blame", set(DIAGNOSIS)),
        ("causes", set(DIAGNOSIS)),
        (None, set()),
    ):
        given = {name: value for name, value in everything.items() if name != missing}
        found = evaluate([0, 1, 0], [0.1, 0.5, 0.3], vus_window=2, **given)
        assert tuple(found) == COLUMNS
        assert {name for name in found if math.isnan(found[name])} == undefined, missing
    assert all(type(value) is float for value in found.values())


def test_diagnosis_is_the_metrics():
    blame, causes = [[3.0, 1, 2, 0], [0, 0, 0, 0]], [(0, 1), (3,)]
    found = evaluate([0, 1, 0, 1], [0, 1, 2, 3], vus_window=0, blame=blame, causes=causes)
    for percent in (100, 150):
        expected = metrics.diagnosis(blame=blame, causes=causes, percent=percent)
        assert (found[f"hit_rate_{percent}"], found[f"ndcg_{percent}"]) == expected
    assert found["hit_rate_100"] < found["hit_rate_150"]


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
    delayed = best_f1(**data, adjust="point", delay=10).f1
    assert found["delay10_f1_pa"] == delayed
    assert found["pa_k_area"] == metrics.pa_k(**data).area
    assert found["best_affiliation_f1"] == metrics.best_affiliation_f1(**data).f1


@settings(max_examples=20, deadline=None)
@given(naive.cases(), st.lists(st.integers(-4, 20), min_size=1, max_size=90))
def test_label_free_columns_are_alarms_at_the_thresholds(case, calibration):
    labels, scores = case
    calibration = np.array(calibration) / 4
    found = evaluate(labels, scores, vus_window=0, calibration=calibration, rows_per_day=30)
    data = {"labels": labels, "scores": scores}
    for name, threshold in (
        ("quantile", metrics.quantile(calibration, 0.99)),
        ("pot", metrics.pot(calibration)),
    ):
        expected = metrics.alarms(**data, threshold=threshold)
        for part in ("f1", "precision", "recall"):
            value = found[f"{name}_{part}"]
            assert value == pytest.approx(getattr(expected, part), nan_ok=True), (name, part)
    budget = metrics.alarm_budget(calibration, 30)
    expected = metrics.alarms(**data, threshold=budget, rows_per_day=30)
    for part in ("f1", "events_found", "false_alarms_per_day", "delay"):
        assert found[f"budget_{part}"] == pytest.approx(getattr(expected, part), nan_ok=True), part


def test_the_window_is_used():
    narrow = evaluate(LABELS, SCORES, vus_window=0)
    wide = evaluate(LABELS, SCORES, vus_window=9)
    assert narrow["vus_roc"] != wide["vus_roc"] and narrow["vus_pr"] != wide["vus_pr"]
    same = set(COLUMNS) - {"vus_roc", "vus_pr", *LABEL_FREE, *DIAGNOSIS}
    assert {name: narrow[name] for name in same} == {name: wide[name] for name in same}
    with pytest.raises(TypeError):
        evaluate(LABELS, SCORES)
    with pytest.raises(ValueError, match="window=-1"):
        evaluate(LABELS, SCORES, vus_window=-1)


@pytest.mark.parametrize("labels", [None, [0, 0, 0], [1, 1, 1], np.zeros(3, bool), [0.0, 0.0, 0.0]])
def test_undefined_is_nan_and_never_a_number(labels):
    found = evaluate(labels, [0.1, 0.2, 0.3], vus_window=2)
    assert tuple(found) == COLUMNS and all(math.isnan(value) for value in found.values())


def test_what_point_adjustment_flatters_is_named():
    # Scores whose plain F1 is low and whose adjusted F1 is 1: what moved is in ADJUSTED.
    labels, scores = [1] * 9 + [0] * 9, [9] + [0] * 8 + [5] * 9
    found = evaluate(labels, scores, vus_window=0)
    perfect = {name for name, value in found.items() if value == 1}
    assert perfect == {*ADJUSTED} - {"pa_k_area"}
    # Filled up to K = 11, then 2 * 9 / (18 + 9).
    assert found["pa_k_area"] == pytest.approx(0.11 + 0.01 * 5 / 6 + 0.88 * 2 / 3)
    assert found["best_f1"] == pytest.approx(2 / 3)
    assert {name for name in COLUMNS if "_pa" in name} == {*ADJUSTED} - {"pa_k_area"}


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


@pytest.mark.parametrize("metric", [best_f1, roc_auc, average_precision, vus, metrics.pa_k])
def test_positional_arguments_are_refused(metric):
    with pytest.raises(TypeError, match="0 positional arguments"):
        metric([0, 1], [0.1, 0.2])
    with pytest.raises(TypeError, match="required keyword-only argument"):
        metric(labels=[0, 1])
