"""One stream, row by row: scores as in a batch, and what happens to rows that are not whole."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import DAY, NAMES, TEST, TRAIN, model, near

import lmmoe
from lmmoe import live
from lmmoe.data.synthetic import entities
from lmmoe.errors import DataError
from lmmoe.live.model import Facts, Model

SMD = Path(os.environ.get("LMMOE_DATA", "none"), "SMD")
FAMILY = ("LightMMoE", "CAD", "HMMoE")
WINDOW = 8
nan = np.nan


def stream(name="LightMMoE", threshold=1e9, **options):
    return live.Stream(model(name), threshold=threshold, **options)


def scores(made, rows):
    return np.array([made.step(row).score for row in rows])


@pytest.mark.parametrize("name", FAMILY)
def test_a_long_synthetic_series_has_the_batch_scores_on_every_row(name):
    series = lmmoe.load("synthetic", entities("synthetic", Path())[0])
    made = lmmoe.detector(name, epochs=1).fit(series.train[:600])
    follow = live.Stream(Model(made), threshold=1e9)
    rows = series.test[:200] if name == "HMMoE" else series.test[:1000]
    steps = [follow.step(row) for row in rows]
    first = made.unscored
    assert near([s.score for s in steps[first:]], made.decision_function(rows)[first:])
    assert near([s.errors for s in steps[first:]], made.channel_scores(rows)[first:])


@pytest.mark.skipif(not SMD.is_dir(), reason="SMD is not here")
@pytest.mark.parametrize("name", FAMILY)
def test_a_machine_of_smd_has_the_batch_scores_on_every_row(name):
    series = lmmoe.load("smd", "machine-1-1")
    made = lmmoe.detector(name, epochs=1).fit(series.train[-600:])
    follow = live.Stream(Model(made), threshold=1e9)
    rows = series.test[15500:16100]  # normal rows and the beginning of an incident
    steps = [follow.step(row) for row in rows]
    first = made.unscored
    batch, parts = made.decision_function(rows), made.channel_scores(rows)
    assert near([s.score for s in steps[first:]], batch[first:])
    # Single precision: a channel's own part is as good as the row's largest one allows.
    size = np.maximum(1, parts.max(axis=1))[first:, None]
    assert (np.abs(np.array([s.errors for s in steps[first:]]) - parts[first:]) / size).max() < 1e-5


def test_shares_sum_to_one_and_are_those_of_the_errors():
    made = stream()
    step = [made.step(row) for row in TEST[:20]][-1]
    assert step.shares.sum() == pytest.approx(1, abs=1e-6)
    assert np.allclose(step.shares, step.errors / step.errors.sum())
    assert step.score == pytest.approx(step.errors.mean(), rel=1e-6)


def test_a_row_without_any_error_has_shares_of_zero():
    made = live.Stream(model("MTSExample"), threshold=1e9)
    step = made.step(np.array(made.model.facts.means))
    assert step.score == 0 and step.shares.tolist() == [0, 0, 0, 0]
    assert made.explain(step) == []


@pytest.mark.parametrize("shape", [(), (3,), (5,), (1, 4)])
def test_a_row_of_another_shape_is_an_error(shape):
    with pytest.raises(ValueError, match=r"expected \(4,\)"):
        stream().step(np.zeros(shape))


def test_the_callers_row_is_neither_kept_nor_changed():
    made, row = stream(), TEST[0].copy()
    row[1] = nan
    before = row.copy()
    made.step(row)
    assert np.array_equal(row, before, equal_nan=True)
    row[:] = 1e6
    assert np.array_equal(made.held[[0, 2, 3]], before[[0, 2, 3]])


# --- missing cells ---


def test_a_missing_cell_takes_the_last_value_and_adds_nothing():
    rows = TEST[:60].copy()
    filled = rows.copy()
    filled[30:33, 2] = rows[29, 2]
    rows[30:33, 2] = nan
    made = stream()
    steps = [made.step(row) for row in rows]
    parts = made.model.detector.channel_scores(filled)
    for number in (30, 31, 32):
        assert steps[number].errors[2] == 0 and steps[number].missing.tolist() == [0, 0, 1, 0]
        assert steps[number].score == pytest.approx(parts[number, [0, 1, 3]].mean(), rel=1e-5)
    batch = made.model.detector.decision_function(filled)
    whole = [*range(WINDOW, 30), *range(33, 60)]  # rows after it see the filled cells
    assert near([steps[n].score for n in whole], batch[whole])
    assert made.counts["filled cells"] == 3 and made.counts["infinite cells"] == 0


def test_infinite_cells_are_missing_ones():
    rows = TEST[:20].copy()
    first, second = stream(), stream()
    rows[15, 0] = nan
    expected = scores(first, rows)
    rows[15, 0] = -np.inf
    assert np.array_equal(scores(second, rows), expected, equal_nan=True)
    assert second.counts["infinite cells"] == 1


def test_before_its_first_value_a_channel_is_at_its_mean():
    made = stream()
    made.step([nan, 1.0, 2.0, 3.0])
    assert made.held[0] == made.model.facts.means[0]


def test_a_channel_that_dies_leaves_the_others_their_scores():
    rows = TEST.copy()
    rows[50:, 3] = nan
    made = stream()
    steps = [made.step(row) for row in rows]
    assert all(np.isfinite(s.score) for s in steps[WINDOW:])
    assert all(s.errors[3] == 0 for s in steps[50:])
    filled = rows.copy()
    filled[50:, 3] = rows[49, 3]
    parts = made.model.detector.channel_scores(filled)
    assert near([s.errors[:3] for s in steps[WINDOW:]], parts[WINDOW:, :3])


def test_a_row_needs_values_in_half_of_its_channels():
    made = stream()
    scores(made, TEST[:20])
    half = made.step([nan, nan, *TEST[20, 2:]])
    less = made.step([nan, nan, nan, TEST[21, 3]])
    assert np.isfinite(half.score) and half.why == ""
    assert np.isnan(less.score) and less.why == "too few values" and less.errors is None


def test_other_detectors_score_the_row_as_filled():
    rows = TEST[:30].copy()
    filled = rows.copy()
    filled[20, 1] = rows[19, 1]
    rows[20, 1] = nan
    made = stream("PCA")
    got = [made.step(row) for row in rows]
    assert near([s.score for s in got], made.model.detector.decision_function(filled))
    assert got[20].errors[1] == 0  # but a cell that was not there is not to blame


@pytest.mark.parametrize("value", [1e300, -1e300, 1.7e308, 1e12])
@pytest.mark.parametrize("name", ["LightMMoE", "HMMoE", "linear", "MTSExample", "PCA windows EWMA"])
def test_a_huge_value_is_an_alarm_not_a_crash(name, value):
    made = stream(name, threshold=1e6)
    rows = TEST.copy()
    rows[40, 1] = value
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        steps = [made.step(row) for row in rows[:60]]
    assert steps[40].event == "opened" and np.isfinite(steps[40].score)
    assert all(np.isfinite(s.score) for s in steps[20:])
    assert made.explain(steps[-1], top=1)  # still able to
    assert made.counts["cut cells"] == 1


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.floats(allow_nan=True), min_size=4, max_size=4), max_size=30))
def test_no_row_of_numbers_breaks_a_stream(rows):
    made = stream(accept_after=5)
    for row in rows:
        step = made.step(row)
        assert np.isfinite(step.score) == (step.why == "")
    assert np.isfinite(made.window).all() and np.isfinite(made.held).all()
    found = scores(made, TEST[:30])
    assert np.isfinite(found[WINDOW:]).all()


# --- gaps ---


def test_bridged_rows_are_as_rows_with_the_last_values():
    made = stream()
    scores(made, TEST[:30])
    made.bridge(2)
    filled = np.concatenate([TEST[:30], TEST[[29, 29]], TEST[32:60]])
    batch = made.model.detector.decision_function(filled)
    assert near(scores(made, TEST[32:60]), batch[32:])


def test_after_a_restart_the_window_fills_anew():
    made = stream(threshold=0.0)
    assert scores(made, TEST[:30])[-1] > 0 and made.alarm.open
    made.restart()
    assert not made.alarm.open
    again = scores(made, TEST[100:140])
    assert np.isnan(again[:WINDOW]).all()
    alone = made.model.detector.decision_function(TEST[100:140])
    assert near(again[WINDOW:], alone[WINDOW:])


# --- thresholds and facts ---


def test_the_threshold_is_the_rules_and_rows_a_day_may_be_given():
    made = model()
    assert live.Stream(made).alarm.threshold == pytest.approx(
        lmmoe.metrics.alarm_budget(made.calibration, DAY, per_day=1)
    )
    bare = Model(made.detector)
    with pytest.raises(DataError, match="needs to know how many rows make a day"):
        live.Stream(bare)
    assert live.Stream(bare, rows_per_day=DAY).alarm.threshold == live.Stream(made).alarm.threshold


def test_facts_of_rows_are_their_means_and_deviations():
    facts = Facts.of([[1.0, 5.0], [3.0, 5.0]], ("a", "b"), rows_per_day=2.0)
    assert facts == Facts(("a", "b"), (2.0, 5.0), (1.0, 1.0), named=True, rows_per_day=2.0, rows=2)
    assert Facts.of(TRAIN).channels == tuple(f"channel {n}" for n in (1, 2, 3, 4))
    assert len(NAMES) == len(Facts.of(TRAIN).means)
