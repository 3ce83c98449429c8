"""One stream, row by row: scores as in a batch, and what happens to rows that are not whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import QUICK
from watched import DAY, TEST, TRAIN, fitted, model, near

import lmmoe
from lmmoe import detectors, live
from lmmoe.detectors.base import Detector
from lmmoe.errors import DataError
from lmmoe.live.forward import Forward, supported
from lmmoe.live.model import Model
from lmmoe.live.stream import Forecasting, Sliding, scorer

WINDOW = 8
nan = np.nan
# Their score of a row depends on rows after it, or on all that are scored with it.
REFUSED = ("AMAD", "MTSMixer", "MTSMixerLighter", "random", "row index", "SmartSimpleAD")
WITHOUT_SHARES = ("AMAD-corrected", "IsolationForest")


def stream(name="LightMMoE", threshold=1e9, **options):
    return live.Stream(model(name), threshold=threshold, **options)


def scores(made, rows):
    return np.array([made.step(row).score for row in rows])


def test_every_row_of_every_detector_has_the_batch_score_and_channel_scores():
    rows = TEST[:30]
    for name in detectors.names():
        if name in REFUSED:
            continue
        for made in (model(name), Model(fitted(name))):  # with facts and without
            follow = live.Stream(made, threshold=0.0)
            steps = [follow.step(row) for row in rows]
            first = follow.scorer.context
            assert first == made.detector.min_rows - 1
            assert all(np.isnan(step.score) and step.why == "warming up" for step in steps[:first])
            batch = made.detector.decision_function(rows)
            assert near([step.score for step in steps[first:]], batch[first:]), name
            if name in WITHOUT_SHARES:
                assert all(step.errors is None and step.shares is None for step in steps)
            else:
                parts = made.detector.channel_scores(rows)
                assert near([step.errors for step in steps[first:]], parts[first:]), name


def test_detectors_that_look_ahead_or_at_all_rows_are_refused():
    for name in REFUSED:
        with pytest.raises(DataError, match=f"{name} has no live score: "):
            live.Stream(model(name), threshold=0.0)


class LooksFarther(Detector):
    """Says that one row will do, and sees the one before as well."""

    name = "looks farther"

    def _fit(self, rows):
        pass

    def _score(self, rows):
        return np.abs(np.diff(rows[:, 0], prepend=0.0))


def test_how_far_a_detector_looks_is_tried_not_believed():
    with pytest.raises(DataError, match="looks farther has no live score"):
        scorer(Model(LooksFarther().fit(TRAIN)))


def test_a_smoothed_score_starts_anew_with_its_window():
    made = model("PCA windows EWMA")
    follow = live.Stream(made, threshold=0.0)
    scores(follow, TEST[:50])
    follow.restart()
    again = scores(follow, TEST[100:140])
    alone = made.detector.decision_function(TEST[100:140])
    assert np.isnan(again[:15]).all() and near(again[15:], alone[15:])
    assert made.detector.ewma == 0.2  # what the scorer does is its own


def test_many_pieces_at_once_are_as_each_alone():
    for name in ("LSTM-AE", "k-means", "IsolationForest", "PCA"):
        made = scorer(model(name))
        size = made.context + 1
        pieces = np.stack([TEST[i : i + size] for i in (0, 50, 90)], axis=2)  # (l + 1, c, n)
        got = made.judge(pieces[:-1], pieces[-1]).scores
        alone = [
            made.judge(p[:-1, :, None], p[-1][:, None]).scores[0] for p in pieces.transpose(2, 0, 1)
        ]
        assert np.allclose(got, alone, rtol=1e-6)


def test_calibration_scores_are_those_of_rows_held_out():
    made = model("LightMMoE")
    assert np.array_equal(made.calibration, made.detector.decision_scores_[-40:])
    assert model("LightMMoE", held_out=0.0).calibration is None
    assert model("PCA", held_out=0.05).calibration is None
    assert len(model("MTSExample").calibration) == 40  # learns its scaling alone
    assert model("SmartSimpleAD").calibration is None
    assert DAY == made.facts.rows_per_day


def test_a_long_series_has_the_batch_scores_on_every_row():
    series = lmmoe.load("synthetic", "web-1")
    for name in ("LightMMoE", "CAD", "HMMoE"):
        made = lmmoe.detector(name, epochs=1).fit(series.train[:600])
        follow = live.Stream(Model(made), threshold=1e9)
        rows = series.test[:300]
        steps, first = [follow.step(row) for row in rows], made.unscored
        assert near([s.score for s in steps[first:]], made.decision_function(rows)[first:])
        assert near([s.errors for s in steps[first:]], made.channel_scores(rows)[first:])


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


def test_the_callers_row_is_neither_kept_nor_changed():
    made, row = stream(), TEST[0].copy()
    row[1] = nan
    before = row.copy()
    made.step(row)
    assert np.array_equal(row, before, equal_nan=True)
    row[:] = 1e6
    assert np.array_equal(made.held[[0, 2, 3]], before[[0, 2, 3]])


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


def test_a_huge_value_is_an_alarm_not_a_crash():
    for name in ("LightMMoE", "HMMoE", "linear", "MTSExample", "PCA windows EWMA"):
        for value in (-1e300, 1.7e308, 1e12):
            made, rows = stream(name, threshold=1e6), TEST[:60].copy()
            rows[40, 1] = value
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                steps = [made.step(row) for row in rows]
            assert steps[40].event == "opened" and np.isfinite(steps[40].score)
            assert all(np.isfinite(step.score) for step in steps[20:])
            assert made.explain(steps[-1], top=1) and made.counts["cut cells"] == 1


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


def test_the_threshold_is_the_rules_and_rows_a_day_may_be_given():
    made = model()
    assert live.Stream(made).alarm.threshold == pytest.approx(
        lmmoe.metrics.alarm_budget(made.calibration, DAY, per_day=1)
    )
    bare = Model(made.detector)
    with pytest.raises(DataError, match="needs to know how many rows make a day"):
        live.Stream(bare)
    assert live.Stream(bare, rows_per_day=DAY).alarm.threshold == live.Stream(made).alarm.threshold


# --- the forward pass in NumPy against the network itself ---


def test_the_forward_pass_in_numpy_is_the_networks():
    cases = [(name, {}) for name in ("LightMMoE", "CAD", "CAD-FSE23", "HMMoE")]
    for changes in (
        {"experts": 1},
        {"shared": 0.0},
        {"shared": 1.0},
        {"gate": "learned", "temperature": True},
        {"hidden": [8, 7, 6], "kernels": [2, 3, 4], "tower": [5, 4, 3]},
        {"normalise": True},
        {"window": 1},
    ):
        cases.append(("LightMMoE", changes))
    for name, changes in cases:
        made = detectors.detector(name, **(QUICK[name] | changes))
        built = made._build(5, torch.Generator().manual_seed(3)).eval()
        noise = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for part in built.state_dict().values():
                part += 0.3 * torch.rand(part.shape, generator=noise)
        assert supported(built) and isinstance(scorer(model(name)), Forecasting)
        for count, size in ((1, 1.0), (65, 1.0), (4, 1e4)):
            rng = np.random.default_rng(count)
            x = size * rng.normal(size=(made.window, 5, count)).astype(np.float32)
            before = x.copy()
            with torch.inference_mode():
                expected = built(torch.from_numpy(x.transpose(2, 1, 0).copy())).numpy().T
            got = Forward(built)(x)
            assert np.allclose(got, expected, rtol=1e-5, atol=1e-5 * size), (name, changes)
            assert np.array_equal(x, before)


def test_networks_with_other_parts_are_run_as_a_batch():
    for changes in ({"gate": "attention"}, {"tower": []}, {"expert": "series"}):
        made = model("LightMMoE", **changes)
        assert isinstance(scorer(made), Sliding)
        got = scores(live.Stream(made, threshold=0.0), TEST[:30])
        assert near(got[8:], made.detector.decision_function(TEST[:30])[8:])
