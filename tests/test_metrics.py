"""F1, ROC, PR and PA%K, VUS, affiliation: by hand, against plain loops, other programs' values."""

import json
import warnings
from pathlib import Path

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import metrics as loops
from lmmoe.metrics import (
    ADJUSTMENTS,
    affiliation,
    average_precision,
    best_affiliation_f1,
    best_f1,
    pa_k,
    roc_auc,
    vus,
)

ANY = [None, *ADJUSTMENTS]
DELAYS = st.none() | st.integers(1, 15)
FAST = settings(max_examples=60, deadline=None)


# --- what independent programs gave for the same labels and scores (`oracles/README.md`) ---

FOLDER = Path(__file__).parent / "oracles"
ORACLES = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
KINDS = {
    "point_f1_pa": {"adjust": "point"},
    "event_f1_pa_log": {"adjust": "log"},
    "event_f1_pa_squeeze": {"adjust": "squeeze"},
    "event_f1_pa_sqrt": {"adjust": "sqrt"},
    "event_f1_pa_raw": {"adjust": "raw"},
    "point_f1_delay3": {"adjust": "point", "delay": 3},
    "point_f1_delay10": {"adjust": "point", "delay": 10},
}
# At which score, counted from the highest, affiliation F1 is TSB-AD's: found by trying all.
PLACES = {"long": 35, "noise0": 12, "noise1": 331, "noise2": 62, "noise3": 101, "tiny": 4}
PLACES |= {"signal0": 31, "signal1": 180, "signal2": 122, "signal3": 1137}


@pytest.fixture(scope="module")
def oracles():
    with np.load(FOLDER / "cases.npz", allow_pickle=False) as file:
        parts = ("labels", "scores")
        return {name: {part: file[f"{name}__{part}"] for part in parts} for name in ORACLES}


@pytest.mark.parametrize("case", PLACES)
def test_the_studys_program_finds_the_same_f1s(oracles, case):
    assert ORACLES.keys() == PLACES.keys() and ORACLES[case]["study"].keys() == KINDS.keys()
    for name, expected in ORACLES[case]["study"].items():
        found = best_f1(**oracles[case], **KINDS[name])._asdict()
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("case", PLACES)
def test_tsb_ad_finds_the_same(oracles, case):
    given, windows = oracles[case], ORACLES[case]["tsb_ad"]
    assert len(windows) == (1 if case == "tiny" else 2)
    for window, expected in windows.items():
        found = vus(**given, window=int(window))
        pairs = {"VUS-ROC": found.roc, "VUS-PR": found.pr, "AUC-ROC": roc_auc(**given)}
        for name, value in (pairs | {"AUC-PR": average_precision(**given)}).items():
            assert value == pytest.approx(expected[name], rel=0, abs=1e-6), (window, name)
        # TSB-AD tries a grid of thresholds; the exact best can only be higher, and not by much.
        for name, adjust in (("Standard-F1", None), ("PA-F1", "point")):
            assert -1e-6 < best_f1(**given, adjust=adjust).f1 - expected[name] < 0.05, name
        # Its grid of values and ours of ranks differ: neither best is always the higher. But its
        # value must be what our exact integrals give at some score, or the definitions differ.
        threshold = np.sort(given["scores"])[-1 - PLACES[case]]
        at = affiliation(labels=given["labels"], alarms=given["scores"] >= threshold)
        assert at.f1 == pytest.approx(expected["Affiliation-F"], abs=1e-12)
        assert best_affiliation_f1(**given).f1 > expected["Affiliation-F"] - 0.03


def test_weights_of_long_events_are_exact():
    near = [3**k - 3 + d for k in range(2, 30) for d in (-1, 0, 1)]
    near += [k * k + d for k in (2, 15, 1000, 1_000_003) for d in (-1, 0, 1)]
    lengths = [n for n in near if n > 0] + list(range(1, 300))
    for adjust, rule in ADJUSTMENTS.items():
        weights = [int(weight) for weight in rule(np.array(lengths))]
        assert weights == [naive.weight(n, adjust) for n in lengths]


@FAST
@given(naive.cases(), st.sampled_from(ANY), DELAYS)
def test_f1_equals_plain_loops_and_areas_scikit_learn(case, adjust, delay):
    labels, scores = case
    ranked = {roc_auc: roc_auc_score, average_precision: average_precision_score}
    for metric, theirs in ranked.items():
        expected = theirs(labels, scores)
        assert metric(labels=labels, scores=scores) == pytest.approx(expected, rel=1e-12)
    delay = None if adjust is None else delay
    found = best_f1(labels=labels, scores=scores, adjust=adjust, delay=delay)
    expected = naive.best_f1(labels, scores, adjust, delay)
    assert found.threshold == expected[3]
    assert found[:3] == pytest.approx(expected[:3], rel=1e-14)
    free = {"labels": labels, "scores": scores, "adjust": adjust or "point"}
    assert best_f1(**free, delay=10**30) == best_f1(**free)  # more than any event has


def test_equal_scores_are_told_and_judged_as_flagging_every_row():
    same = {"labels": [0, 1, 1, 0, 0], "scores": [0.5] * 5}
    expected = {roc_auc: 0.5, average_precision: 0.4, best_f1: (4 / 7, 0.4, 1, 0.5)}
    for metric, value in expected.items():
        with pytest.warns(UserWarning, match="all 5 scores are 0.5: they tell no row from another"):
            assert metric(**same) == pytest.approx(value)
    with warnings.catch_warnings(action="error"):  # no alarm at all is nothing odd
        assert affiliation(labels=same["labels"], alarms=[0] * 5).recall == 0


@FAST
@given(naive.cases(), st.integers(0, 100))
def test_pa_k_equals_plain_loops(case, percent):
    labels, scores = case
    found = pa_k(labels=labels, scores=scores)
    for k in {percent, 0, 25, 50, 100}:
        assert found.f1[k] == pytest.approx(float(naive.pa_k(labels, scores, k)), 1e-14)
    assert found.f1[0] == best_f1(labels=labels, scores=scores, adjust="point").f1
    assert found.f1[100] == best_f1(labels=labels, scores=scores).f1
    assert found.area == pytest.approx((found.f1.sum() - (found.f1[0] + found.f1[100]) / 2) / 100)


@FAST
@given(naive.cases(most=30), st.integers(0, 12) | st.sampled_from([30, 70]))
def test_vus_equals_plain_loops(case, window):
    labels, scores = case
    found = vus(labels=labels, scores=scores, window=window)
    expected = loops.vus(np.array(labels), np.array(scores), window)
    assert found == pytest.approx(expected, abs=1e-12)


def test_vus_of_more_rows_than_thresholds():
    for rows in [249, 250, 251, 600]:
        generator, labels = np.random.default_rng(rows), np.zeros(rows, dtype=int)
        for start, length in ((0, 3), (60, 1), (63, 7), (150, 40), (rows - 2, 2)):
            labels[start : start + length] = 1
        scores = np.round(generator.random(rows) + 0.2 * labels, 3)
        for window in (0, 5):
            found = vus(labels=labels, scores=scores, window=window)
            assert found == pytest.approx(loops.vus(labels, scores, window), abs=1e-12)


@FAST
@given(naive.cases(), st.data())
def test_affiliation_equals_exact_integrals(case, data):
    labels, _ = case
    rare = st.integers(0, data.draw(st.sampled_from([1, 3, 9]))).map(lambda value: value == 1)
    alarms = data.draw(st.lists(rare, min_size=len(labels), max_size=len(labels)))
    found = affiliation(labels=labels, alarms=alarms)
    precision, recall = naive.affiliation(labels, alarms)
    assert found.recall == pytest.approx(recall, abs=1e-13)
    assert found.precision == pytest.approx(precision, abs=1e-13, nan_ok=True)
    assert np.isnan(found.f1) == np.isnan(precision)


@FAST
@given(naive.cases())
def test_the_best_affiliation_of_all_thresholds(case):
    # Up to 250 rows every score is tried.
    labels, scores = case
    found, f1s = best_affiliation_f1(labels=labels, scores=scores), {}
    for threshold in sorted(set(scores), reverse=True):
        alarms = [score >= threshold for score in scores]
        precision, recall = naive.affiliation(labels, alarms)
        f1s[threshold] = 2 * precision * recall / (precision + recall)
    assert found.f1 == pytest.approx(max(f1s.values()), abs=1e-12)
    assert f1s[found.threshold] == pytest.approx(found.f1, abs=1e-12)
    at = affiliation(labels=labels, alarms=np.array(scores) >= found.threshold)
    assert (at.f1, at.precision, at.recall) == pytest.approx(found[:3])


def test_the_best_affiliation_of_equal_ones():
    # Row 1 alone is perfect, and stays so down to row 0's score.
    found = best_affiliation_f1(labels=[0, 1, 1, 0], scores=[1, 3, 2, 1])
    assert found == (1.0, 1.0, 1.0, 2.0)
