"""The columns of every results table, and what every metric refuses."""

import math
import re
from functools import partial

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmoe import metrics
from lmmoe.report.evaluation import ADJUSTED, COLUMNS, DIAGNOSIS, LABEL_FREE, evaluate

F1S = {f"event_f1_pa_{adjust}": adjust for adjust in ("log", "squeeze", "sqrt")}
F1S |= {"point_f1_pa": "point", "best_f1": None}


def test_events_found_by_hand():
    labels, scores = [1, 0, 1, 1, 0, 1, 1], [99.5, 999, 3, 100.5, 999, 99, 100]
    for rows_per_day, hits in ((102, "010"), (None, "111")):  # above 100, not at it; above 99
        given = {"calibration": np.arange(101.0), "rows_per_day": rows_per_day}
        assert evaluate(labels, scores, vus_window=0, **given)["found_events"] == hits


@settings(max_examples=20, deadline=None)
@given(naive.cases(), st.lists(st.integers(-4, 20), min_size=1, max_size=90))
def test_each_column_is_its_metric(case, calibration):
    labels, scores = case
    given = {"calibration": np.array(calibration) / 4, "rows_per_day": 30}
    found = evaluate(labels, scores, vus_window=3, **given)
    data = {"labels": labels, "scores": scores}
    expected = {name: getattr(metrics, name)(**data) for name in ("average_precision", "roc_auc")}
    expected |= {name: naive.best_f1(labels, scores, how)[0] for name, how in F1S.items()}
    point = metrics.best_f1(**data, adjust="point")
    expected |= {"point_precision_pa": point.precision, "point_recall_pa": point.recall}
    expected["vus_roc"], expected["vus_pr"] = metrics.vus(**data, window=3)
    expected["delay10_f1_pa"] = metrics.best_f1(**data, adjust="point", delay=10).f1
    expected["pa_k_area"] = metrics.pa_k(**data).area
    expected["best_affiliation_f1"] = metrics.best_affiliation_f1(**data).f1
    thresholds = {"pot": metrics.pot(given["calibration"])}
    thresholds["quantile"] = metrics.quantile(given["calibration"], 0.99)
    thresholds["budget"] = metrics.alarm_budget(given["calibration"], 30)
    for name, threshold in thresholds.items():
        judged = metrics.alarms(**data, threshold=threshold, rows_per_day=30)._asdict()
        names = {f"{name}_{part}": value for part, value in judged.items()}
        expected |= {name: value for name, value in names.items() if name in COLUMNS}
    assert {*expected} == {*COLUMNS} - {*DIAGNOSIS}
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=0, rel=1e-12, nan_ok=True), name
    hits = found["found_events"]
    assert hits.count("1") / len(hits) == pytest.approx(found["budget_events_found"])


def test_what_is_missing_leaves_its_columns_undefined():
    whole = {"calibration": [0.1, 0.2, 0.4], "rows_per_day": 3, "blame": [[3, 1, 2, 0]]}
    whole |= {"causes": [(0, 3)]}
    per_day = {name for name in COLUMNS if name.startswith("budget")}
    undefined = set(LABEL_FREE), per_day, set(DIAGNOSIS), set(DIAGNOSIS), set()
    for missing, expected in zip((*whole, "nothing"), undefined, strict=True):
        given = {name: value for name, value in whole.items() if name != missing}
        found = evaluate([0, 1, 0], [0.1, 0.5, 0.3], vus_window=2, **given)
        assert ("found_events" in found) == (missing != "calibration")
        assert [*found][: len(COLUMNS)] == [*COLUMNS]
        assert all(type(found[name]) is float for name in COLUMNS)
        assert {name for name in COLUMNS if math.isnan(found[name])} == expected, missing
    for percent in (100, 150):
        parts = metrics.diagnosis(blame=whole["blame"], causes=whole["causes"], percent=percent)
        assert (found[f"hit_rate_{percent}"], found[f"ndcg_{percent}"]) == parts
    for labels in (None, [0, 0, 0], np.ones(3, bool)):  # undefined is NaN and never a number
        found = evaluate(labels, [0.1, 0.2, 0.3], vus_window=2, calibration=[0.1])
        assert tuple(found) == COLUMNS and all(math.isnan(value) for value in found.values())


def test_what_point_adjustment_flatters_is_named():
    # Scores whose plain F1 is low and whose adjusted F1 is 1: what moved is in ADJUSTED.
    found = evaluate([1] * 9 + [0] * 9, [9] + [0] * 8 + [5] * 9, vus_window=0)
    assert {name for name, value in found.items() if value == 1} == {*ADJUSTED} - {"pa_k_area"}
    # Filled up to K = 11, then 2 * 9 / (18 + 9).
    assert found["pa_k_area"] == pytest.approx(0.11 + 0.01 * 5 / 6 + 0.88 * 2 / 3)
    assert found["best_f1"] == pytest.approx(2 / 3)


def test_every_metric_refuses_what_is_no_input():
    takers = [
        *(metrics.average_precision, metrics.roc_auc, metrics.best_f1, metrics.pa_k),
        *(metrics.best_affiliation_f1, partial(metrics.best_f1, adjust="point")),
        *(partial(metrics.vus, window=2), partial(metrics.alarms, threshold=0.5)),
        lambda labels, scores: metrics.affiliation(labels=labels, alarms=scores),
        partial(evaluate, vus_window=2),
    ]
    for changes, message in (
        ({"labels": [0.3, 0.2, 0.1], "scores": [0, 1, 0]}, "label 0.3 at row 0 is neither 0 nor 1"),
        ({"labels": [0, np.nan, 1]}, "label nan at row 1 is not a finite number"),
        ({"scores": [0.1, 0.2, np.inf]}, "score inf at row 2 is not a finite number"),
        ({"scores": [0.1, 0.2]}, "3 labels for 2 scores"),
        ({"scores": [None, 0.1, 0.2]}, "scores of shape (3,) and type object: a vector of numbers"),
    ):
        for taker in takers:
            with pytest.raises(ValueError, match=re.escape(message)):
                taker(**({"labels": [0, 1, 0], "scores": [0.3, 0.2, 0.1]} | changes))
    for taker in takers[:-1]:  # the table has NaN there
        with pytest.raises(ValueError, match="same label.*needs normal rows and anomal"):
            taker(labels=[0, 0], scores=[0.1, 0.2])
