"""Runs: computed once, known by what they depend on, kept in a table that only grows."""

import json
import platform
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import LIGHT, failing, make, series

from lmmoe.detectors import entry
from lmmoe.detectors.baselines import MTSExample
from lmmoe.report import evaluation, protocol, runs
from lmmoe.report.runs import Run

SERIES = series()
pytestmark = pytest.mark.usefixtures("small_runs")


@pytest.fixture
def fits(monkeypatch):
    """Note each fit of the L2 norm: the rows that it was given."""
    seen = []
    original = MTSExample._fit

    def fit(self, rows):
        seen.append(rows)
        original(self, rows)

    monkeypatch.setattr(MTSExample, "_fit", fit)
    return seen


# --- results ---


@pytest.mark.parametrize("name", ["LightMMoE", "MTSExample", "random"])
def test_a_result_is_what_fitting_and_scoring_give(name):
    settings = LIGHT if name == "LightMMoE" else {}
    run = Run(SERIES, name, seed=5, settings=settings)
    made = make(name, seed=5).fit(SERIES.train)
    for _ in range(2):  # computed, then from the cache
        result = runs.result(run)
        assert np.array_equal(result.scores, made.decision_function(SERIES.test))
        assert np.array_equal(result.detector.decision_scores_, made.decision_scores_)
        assert result.detector.settings == made.settings
        assert set(result.costs) == {*runs.SPENT, "host"}
        assert result.costs["host"] == f"{platform.system()} {platform.machine()}"
        assert result.costs["parameters"] == made.parameters
        assert result.costs["train_seconds"] > 0 and result.costs["score_seconds"] > 0


def test_a_result_is_computed_once(fits, own_cache):
    assert not own_cache.exists()
    first = runs.result(Run(SERIES, "MTSExample"))
    second = runs.result(Run(SERIES, "MTSExample"))
    assert len(fits) == 1
    assert np.array_equal(first.scores, second.scores)
    assert first.costs == second.costs
    names = {path.name for path in (own_cache / Run(SERIES, "MTSExample").key).iterdir()}
    arrays = {"scores.npy", "calibration.npy", "blame.npy"}
    assert names == arrays | {"model.safetensors", "costs.json"}


def test_the_protocol_chooses_the_rows_and_the_settings(fits):
    runs.result(Run(SERIES, "MTSExample", "ours"))
    runs.result(Run(SERIES, "MTSExample", "study"))
    assert np.array_equal(fits[0], SERIES.train)
    assert np.array_equal(fits[1], SERIES.train[:240])
    light = runs.result(Run(SERIES, "LightMMoE", "study", settings=LIGHT)).detector
    assert (light.held_out, light.first_scores) == (0.0, "zero")
    own = Run(SERIES, "LightMMoE", "study", settings=LIGHT | {"first_scores": "lowest"})
    assert runs.result(own).detector.first_scores == "lowest"


def test_the_protocols_are_those_of_the_specification():
    ours, study = protocol.PROTOCOLS["ours"], protocol.PROTOCOLS["study"]
    assert (ours.train_share, ours.margin, ours.settings) == (1.0, 0, {})
    assert (study.train_share, study.margin) == (0.8, 5)
    assert (ours.calibration, study.calibration) == (0.1, 0.0)
    assert study.settings == {"held_out": 0.0, "first_scores": "zero"}


def test_a_failing_fit_leaves_nothing_that_counts(monkeypatch, own_cache):
    def fails(self, rows):
        raise RuntimeError("no memory")

    run = Run(SERIES, "MTSExample")
    with monkeypatch.context() as patch:
        patch.setattr(MTSExample, "_fit", fails)
        with pytest.raises(RuntimeError, match="no memory"):
            runs.result(run)
    assert not (own_cache / run.key).exists()
    assert runs.result(run).scores.shape == (300,)


# --- keys ---


def test_the_same_run_has_the_same_key():
    first = Run(series(), "LightMMoE", settings={"window": 8, "epochs": 2})
    second = Run(series(), "LightMMoE", settings={"epochs": 2, "window": 8})
    assert first.key == second.key
    assert re.fullmatch("[0-9a-f]{16}", first.key)
    assert set(first.identity) == set(runs.IDENTITY)


def changed_test():
    test = SERIES.test.copy()
    test[-1, -1] = np.nextafter(test[-1, -1], np.inf)
    return series(test=test)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"protocol": "study"},
        {"detector": "random"},
        {"settings": {"contamination": 0.2}},
        {"series": changed_test()},
        {"series": series(labels=None)},
        {"series": series(entity="pump-2")},
        {"series": series(dataset="other")},
        {"series": series(train=SERIES.train[:-1])},
    ],
    ids=["seed", "protocol", "detector", "settings", "last bit", "labels", "entity", "set", "rows"],
)
def test_another_run_has_another_key(changes):
    run = Run(SERIES, "MTSExample")
    assert replace(run, **changes).key != run.key


def test_another_version_of_a_detector_has_another_key(monkeypatch):
    before = Run(SERIES, "MTSExample").key
    monkeypatch.setattr(MTSExample, "version", 2)
    assert Run(SERIES, "MTSExample").key != before


def test_another_torch_has_another_key_but_not_the_same_one_for_another_device(monkeypatch):
    keys = {}
    for version in ("2.13.0", "2.13.0+cpu", "2.13.0+cu126", "2.13.1"):
        installed = {"torch": version}
        monkeypatch.setattr(runs, "version", installed.__getitem__)
        run = Run(SERIES, "LightMMoE")
        assert run.identity["torch"] == version.split("+")[0]
        keys[version] = run.key
    assert keys["2.13.0"] == keys["2.13.0+cpu"] == keys["2.13.0+cu126"] != keys["2.13.1"]


@pytest.mark.parametrize(
    "changes", [{"train_share": 0.75}, {"margin": 4}, {"settings": {"held_out": 0.0}}], ids=str
)
def test_a_protocol_with_another_meaning_has_another_key(monkeypatch, changes):
    before = Run(SERIES, "MTSExample", "study").key
    other = replace(protocol.PROTOCOLS["study"], **changes)
    monkeypatch.setitem(protocol.PROTOCOLS, "study", other)
    assert Run(SERIES, "MTSExample", "study").key != before


# --- rows ---


def test_a_row_holds_identity_metrics_and_costs():
    run = Run(SERIES, "MTSExample", "study")
    line = runs.row(run, vus_window=7)
    assert set(line) | {"error"} == set(runs.ALL)
    assert line["key"] == run.key and line["vus_window"] == 7
    assert line["metrics"] == runs.judged(SERIES, 7)["metrics"]
    labels = protocol.PROTOCOLS["study"].labels(SERIES)
    assert labels.sum() == 25 + 2 * 5  # two events, each 5 rows longer
    found = runs.result(run)
    expected = evaluation.evaluate(
        labels, found.scores, vus_window=7, blame=found.blame, causes=[(0,)]
    )
    assert {name: line[name] for name in evaluation.COLUMNS} == pytest.approx(expected, nan_ok=True)
    assert expected["hit_rate_100"] == 1  # the first event was put into that channel


def test_a_row_under_our_protocol_has_label_free_metrics():
    run = Run(series(rows_per_day=100), "MTSExample")
    line, found = runs.row(run, vus_window=7), runs.result(run)
    expected = evaluation.evaluate(
        SERIES.labels, found.scores, vus_window=7, calibration=found.calibration, rows_per_day=100
    )
    shown = {name: expected[name] for name in evaluation.LABEL_FREE}
    assert {name: line[name] for name in shown} == pytest.approx(shown, nan_ok=True)
    assert line["quantile_f1"] > 0 and line["budget_false_alarms_per_day"] >= 0


def test_a_row_tells_which_events_are_found():
    """Two events in the first channel; the norm sees both, an alarm of random scores neither."""
    run, day = Run(SERIES, "MTSExample"), series(rows_per_day=100)
    for one, data in ((run, SERIES), (replace(run, series=day), day)):
        found = runs.result(one)
        hits = evaluation.events_found(
            SERIES.labels, found.scores, found.calibration, data.rows_per_day
        )
        digits = runs.row(one, vus_window=7)["found_events"]
        assert digits == "".join(str(int(hit)) for hit in hits) and len(digits) == 2
    assert runs.row(run, vus_window=7)["found_events"] == "11"
    # Without a threshold that needs no labels, and without labels.
    assert runs.row(replace(run, protocol="study"), vus_window=7)["found_events"] == ""
    bare = Run(series(labels=None, causes=None), "MTSExample")
    assert runs.row(bare, vus_window=7)["found_events"] == ""


def test_rows_from_before_a_column_was_added_are_no_longer_known(monkeypatch):
    before = runs.judged(SERIES, 7)
    monkeypatch.setattr(runs, "ALL", (*runs.ALL, "one more"))
    assert runs.judged(SERIES, 7) != before


def test_what_metrics_depend_on_is_version_window_causes_and_the_length_of_a_day(monkeypatch):
    found = runs.judged(SERIES, 7)
    assert list(found) == ["metrics", "vus_window"] and found["vus_window"] == 7
    assert runs.judged(SERIES, 8) == found | {"vus_window": 8}
    assert runs.judged(series(rows_per_day=100), 7) != found
    assert runs.judged(replace(SERIES, causes=None), 7) != found
    monkeypatch.setattr(evaluation, "VERSION", -1)
    assert runs.judged(SERIES, 7) != found


def test_rows_without_labels_have_no_metrics_and_no_error():
    line = runs.row(Run(series(labels=None, causes=None), "MTSExample"), vus_window=7)
    assert all(np.isnan(line[name]) for name in evaluation.COLUMNS)
    assert "error" not in line and line["train_seconds"] > 0


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        RuntimeError("bad"),
        MemoryError("bad"),
        NotImplementedError("bad"),
        np.linalg.LinAlgError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failing_detector_has_an_error_and_no_numbers(monkeypatch, error):
    failing(monkeypatch, error)
    line = runs.row(Run(SERIES, "MTSExample"), vus_window=7)
    assert line["error"] == f"{type(error).__name__}: bad"
    table = runs.ordered(pd.DataFrame([line]))
    assert table[[*evaluation.COLUMNS, *runs.SPENT, "host"]].isna().all(axis=None)


def test_scores_that_are_no_numbers_are_an_error(monkeypatch):
    monkeypatch.setattr(MTSExample, "_score", lambda self, rows: np.full(len(rows), np.nan))
    line = runs.row(Run(SERIES, "MTSExample"), vus_window=7)
    assert line["error"].startswith("ValueError: score nan at row 0")


def test_a_slip_in_the_code_is_not_taken_for_a_failing_detector(monkeypatch):
    failing(monkeypatch, NameError("slip"))
    with pytest.raises(NameError, match="slip"):
        runs.row(Run(SERIES, "MTSExample"), vus_window=7)


# --- protocols ---


def test_only_protocol_settings_that_a_detector_has_are_imposed():
    made = protocol.PROTOCOLS["study"].detector("MTSExample", seed=3)
    assert made.settings == {"seed": 3, "contamination": 0.1}
    assert json.loads(Run(SERIES, "MTSExample", "study").identity["settings"]) == {}


def test_seeded_detectors_say_so():
    assert entry("random").cls.seeded and entry("LightMMoE").cls.seeded
    assert not entry("MTSExample").cls.seeded
