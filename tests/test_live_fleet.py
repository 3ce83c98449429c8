"""Many streams at a time: each gives what it gives alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import waves
from watched import DAY, NAMES, TEST, TRAIN, fitted, model

from lmmoe import live
from lmmoe.errors import DataError
from lmmoe.live.model import Facts, Model

RULE = "quantile:0.9"
nan = np.nan


def data(streams, rows, missing=0.0, seed=0):
    """Rows ``(t, n, c)`` with incidents, some cells missing."""
    made = np.stack([waves(rows, seed=seed + n) for n in range(streams)], axis=1)
    made[rows // 2 : rows // 2 + 5, ::3, 1] += 9
    made[np.random.default_rng(seed).random(made.shape) < missing] = nan
    return made


def compare(fleet, streams, rows):
    """Step both and hold them against each other, row by row."""
    for number, row in enumerate(rows):
        tick = fleet.step(row)
        steps = [one.step(own) for one, own in zip(streams, row, strict=True)]
        scores = np.array([step.score for step in steps])
        assert np.array_equal(np.isnan(scores), np.isnan(tick.scores)), number
        assert np.allclose(scores, tick.scores, rtol=1e-5, atol=1e-5, equal_nan=True), number
        for event, numbers in (("opened", tick.opened), ("ended", tick.ended)):
            assert [n for n, s in enumerate(steps) if s.event == event] == numbers.tolist()
        for opened in tick.opened:
            alone = streams[opened].explain(steps[opened])
            for one, other in zip(fleet.explain(tick, opened), alone, strict=True):
                assert one["channel"] == other["channel"]
                assert one["observed"] == other["observed"]
                assert one["share"] == pytest.approx(other["share"], abs=1e-5)
                near = other["forecast"] and pytest.approx(other["forecast"], rel=1e-4)
                assert one["forecast"] == near
    assert np.allclose(fleet.held, [one.held for one in streams])


def test_one_model_for_all():
    for name in ("LightMMoE", "HMMoE", "PCA windows EWMA", "k-means", "MTSExample"):
        made = model(name)
        count = 70 if name == "LightMMoE" else 5  # more than one block
        fleet = live.Fleet(made, count, threshold=RULE)
        streams = [live.Stream(made, threshold=RULE) for _ in range(count)]
        rows = data(count, 60, missing=0.1)
        rows[..., 0] = np.nan_to_num(rows[..., 0], nan=5.0)  # a row without any value is a gap here
        compare(fleet, streams, rows)


def test_one_model_each():
    models = [
        Model(fitted("LightMMoE", seed=n), Facts.of(TRAIN + n, NAMES, rows_per_day=DAY))
        for n in range(4)
    ]
    models.insert(2, models[1])
    fleet = live.Fleet(models, threshold=RULE)
    assert [part.stop - part.start for _, part in fleet.blocks] == [1, 2, 1, 1]
    compare(fleet, [live.Stream(one, threshold=RULE) for one in models], data(5, 50, 0.05))


def test_a_row_that_does_not_come_is_bridged_and_a_long_gap_starts_afresh():
    fleet = live.Fleet(model(), 3, threshold=RULE)
    streams = [live.Stream(model(), threshold=RULE) for _ in range(3)]
    rows = data(3, 60)
    rows[20:23, 1] = nan
    rows[20:24, 2] = nan
    for number, row in enumerate(rows):
        tick = fleet.step(row)
        steps = []
        for one, own in zip(streams, row, strict=True):
            if not np.isnan(own).all():
                steps.append(one.step(own).score)
                continue
            one.bridge(1)
            steps.append(nan)
        if number == 23:
            streams[2].restart()
        assert np.allclose(steps, tick.scores, atol=1e-5, equal_nan=True), number
    assert np.isfinite(tick.scores).all()


def test_a_gap_ends_an_alarm():
    fleet = live.Fleet(model(), 2, threshold=0.0)
    for row in data(2, 20):
        fleet.step(row)
    assert fleet.open.all()
    for _ in range(4):
        assert not len(fleet.step([[nan] * 4, [1.0] * 4]).ended)
    tick = fleet.step([[1.0] * 4] * 2)
    assert tick.ended.tolist() == [0] and fleet.open.tolist() == [False, True]


def test_entities_may_have_their_own_scale():
    made = model()
    shift, factor = np.array([[0.0] * 4, [100.0] * 4]), np.array([[1.0] * 4, [0.01] * 4])
    facts = made.facts
    fleet = live.Fleet(
        made,
        2,
        threshold=RULE,
        centres=np.array(facts.means) * factor + shift,
        spreads=np.array(facts.deviations) * factor,
    )
    stream = live.Stream(made, threshold=RULE)
    for row in TEST[:40]:
        tick = fleet.step(row * factor + shift)
        score = stream.step(row).score
        assert np.allclose(tick.scores, score, rtol=1e-4, equal_nan=True)
    both = [fleet.explain(tick, n) for n in (0, 1)]
    assert both[1][0]["forecast"] == pytest.approx(both[0][0]["forecast"] / 100 + 100, abs=1e-3)
    norm = live.Fleet(
        model("MTSExample"), 1, threshold=1.0, centres=[[0.0] * 4], spreads=[[1.0] * 4]
    )
    assert norm.step([[1.0, 2, 3, 4]]).scores[0] == pytest.approx(30)
    with pytest.raises(DataError, match="do not say the training means that rows are to be"):
        live.Fleet(Model(fitted("MTSExample")), 1, threshold=1.0, centres=[[0.0] * 4])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 60))
def test_saved_at_any_row_it_goes_on_as_before(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("fleet") / "state.safetensors"
    made = model("PCA windows EWMA") if cut % 2 else model()
    whole, first, second = (live.Fleet(made, 3, threshold=RULE) for _ in range(3))
    rows = data(3, 60, missing=0.1)
    ticks = [whole.step(row) for row in rows]
    for row in rows[:cut]:
        first.step(row)
    second.load(first.save(path))
    for row, tick in zip(rows[cut:], ticks[cut:], strict=True):
        again = second.step(row)
        assert np.array_equal(again.scores, tick.scores, equal_nan=True)
        assert np.array_equal(again.opened, tick.opened)
        assert np.array_equal(again.ended, tick.ended)


def test_states_of_others_are_refused(tmp_path):
    path = live.Fleet(model(), 3, threshold=1.0).save(tmp_path / "state.safetensors")
    for other in (
        live.Fleet(model(), 4, threshold=1.0),
        live.Fleet(model("CAD"), 3, threshold=1.0),
    ):
        with pytest.raises(DataError, match="that of a fleet with other models"):
            other.load(path)


# --- thresholds and settings ---


def test_thresholds_are_one_rule_or_a_number_each():
    made = model()
    assert live.Fleet(made, 3).threshold.tolist() == [live.Stream(made).alarm.threshold] * 3
    assert live.Fleet(made, 2, threshold=[1.0, 2.0]).threshold.tolist() == [1, 2]
    assert live.Fleet(made, 2, threshold=3.0).threshold.tolist() == [3, 3]
    with pytest.raises(ValueError, match="broadcast"):
        live.Fleet(made, 2, threshold=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="a fleet's thresholds do not learn. Use pot"):
        live.Fleet(made, 2, threshold="spot")


def test_models_must_look_back_equally_far():
    with pytest.raises(ValueError, match="look back differently"):
        live.Fleet([model(), model("LightMMoE", window=9)], threshold=1.0)
    with pytest.raises(ValueError, match="no streams: give their number"):
        live.Fleet(model(), threshold=1.0)
    with pytest.raises(ValueError, match=r"centres and spreads must be of shape \(2, 4\)"):
        live.Fleet(model(), 2, threshold=1.0, centres=np.zeros((2, 3)))


def test_the_callers_rows_are_left_alone_and_huge_ones_do_no_harm():
    fleet = live.Fleet(model(), 2, threshold=1.0)
    rows = data(2, 30)
    rows[15, 0, 1], rows[16, 1, 2] = 1e300, -np.inf
    before = rows.copy()
    with np.errstate(over="raise", invalid="raise"):
        found = np.array([fleet.step(row).scores for row in rows])
    assert np.array_equal(rows, before)
    assert np.isfinite(found[8:]).all() and found[15, 0] > 1e6
