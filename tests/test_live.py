"""Alarms, scores row by row, fleets of streams, and models with their facts."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import waves
from watched import DAY, NAMES, TEST, TRAIN, csv, fitted, model, near

import lmmoe
from lmmoe import detector, detectors, live, metrics
from lmmoe.detectors import saving
from lmmoe.errors import DataError
from lmmoe.live.alarms import Alarm, checked_rule, episodes, threshold
from lmmoe.live.model import Model
from lmmoe.live.scoring import Forecasting, Sliding

nan = np.nan
WINDOW = 8
SCORES = np.random.default_rng(0).exponential(size=2000)
# Their score of a row depends on rows after it, or on all that are scored with it.
REFUSED = ("AMAD", "MTSMixer", "MTSMixerLighter", "OmniAnomaly", "random", "row index")
REFUSED += ("SmartSimpleAD",)
WITHOUT_SHARES = ("AMAD-corrected", "IsolationForest")


def stream(name="LightMMoE", threshold=1e9, **options):
    return live.Stream(model(name), threshold=threshold, **options)


def scores(made, rows):
    return np.array([made.step(row).score for row in rows])


# --- alarms and thresholds ---


def opened(scores, alarm):
    return [row for row, score in enumerate(scores) if alarm.step(score, row) == "opened"]


def test_an_alarm_ends_after_ten_quiet_rows_and_opens_again():
    alarm = Alarm(2.0)
    rows = [3.0] + [1.5] * 8 + [2.5] + [1.0] * 9 + [5.0] + [1.0] * 10 + [2.5]
    assert opened(rows, alarm) == [0, 30]
    alarm = Alarm(2.0)
    opened(rows[:29], alarm)
    assert alarm.open and (alarm.first, alarm.peak, alarm.quiet) == (0, 5.0, 9)
    assert alarm.step(1.0, 29) == "ended" and not alarm.open
    assert opened([2.00001, 2.000021], Alarm(2.0)) == [1]  # not by rounding
    assert opened([0.0, 1e-13, 2e-12], Alarm(0.0)) == [2]
    assert opened([-2.00001, -1.99999, -1.99997], Alarm(-2.0)) == [2]


def naive(values, level, minutes, per_day):
    """The rule as it is written down: events, rows in alarm, the level at the end."""
    events, inside, state, start, quiet = [], [], "none", 0, 0
    for row, value in enumerate(values):
        event, loud = "", value > level * (1 + 1e-5) + 1e-12  # not by rounding alone
        if state == "open":
            inside.append(row)
            quiet = 0 if loud else quiet + 1
            level += 0.1 * minutes / 60
            if quiet >= max(1, round(10 / minutes)):
                state, event = "none", "ended"
            elif row - start >= round(60 / minutes):
                state, level = "long", level + 0.25 * max(value - level, 0)
        elif loud:
            event = "opened" if state == "none" else "still"
            state, start, quiet, level = "open", row, 0, level + 0.1
            inside.append(row)
        elif state == "long":
            state, event = "none", "ended"
        events.append(event)
        level = max(0, level - 0.1 * per_day * minutes / 1440)
    return events, inside, level


scores_of_any_kind = st.lists(st.integers(-30, 500).map(lambda one: one / 10 + 0.037), min_size=1)


@settings(deadline=None)
@given(
    scores_of_any_kind.map(lambda one: np.repeat(one, 7)),
    st.floats(0, 5),
    st.sampled_from([0.5, 1.0, 5.0, 30.0]),
    st.floats(0.1, 50),
    st.integers(2, 200),
)
def test_alarms_and_hours_in_alarm_are_paid_for_whatever_the_scores(
    values, level, minutes, daily, accept
):
    events, inside, last = naive(values.tolist(), level, minutes, daily)
    for accept_after in (math.inf, accept):
        alarm, found, rows, paid = Alarm(level, daily, minutes), [], 0, 0.0
        for row, value in enumerate(values.tolist()):
            running = alarm.open and not alarm.long
            found.append(alarm.step(value, row))
            paid += 1 if found[-1] in ("opened", "still") else running * minutes / 60
            rows = (rows + (not alarm.long)) * alarm.open
            if rows >= accept_after:
                alarm.accept()
                rows = 0
        end = alarm.level_at(len(values))
        assert paid <= daily * len(values) * minutes / 1440 + (end - level) / 0.1 + 1e-6
        assert end <= max(level, values.max()) + 0.2  # so it is two a day in the long run
        if accept_after == math.inf:
            assert found == events and end == pytest.approx(last, abs=1e-9)
    spans = episodes(values, Alarm(level, daily, minutes))
    assert [row for first, end, _ in spans for row in range(first, end)] == inside


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2), st.integers(0, 5))
def test_without_a_release_level_these_are_the_alarms_that_the_metric_counts(rows, level):
    rows += [(True, 0), (False, 0)]
    labels, scores = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    counted = metrics.alarms(
        labels=labels, scores=scores, threshold=level, rows_per_day=len(labels)
    )
    alarm, found = Alarm(float(level)), []
    for row, score in enumerate(scores):
        if alarm.step(score, row) == "opened":
            found.append([row, row])
        elif alarm.open:
            found[-1][1] = row - alarm.quiet
    false = [one for one in found if not labels[one[0] : one[1] + 1].any()]
    assert len(false) == counted.false_alarms_per_day


def test_rules_are_the_metrics_thresholds_or_refused():
    assert threshold("quantile", SCORES, None) == metrics.quantile(SCORES, 0.99)
    assert threshold("budget:2", SCORES, 200) == metrics.alarm_budget(SCORES, 200, per_day=2)
    assert threshold("pot:0.001", SCORES, None) == metrics.pot(SCORES, q=1e-3)
    assert threshold(2.5, None, None) == threshold("2.5", None, None) == 2.5
    for rule in ("", "often:1", "quantile:2", "pot:-1", "budget:inf", "nan", ":"):
        with pytest.raises(DataError, match="no threshold .* Use a number, or one of alarms"):
            checked_rule(rule)
    for arguments, message in (
        (("pot", None, None), "no scores of rows that it was not fitted on: no pot"),
        (("budget", SCORES, None), "an alarm budget needs to know how many rows make a day"),
        (("pot:1", SCORES, None), "threshold 'pot:1': .* below 1"),
    ):
        with pytest.raises(DataError, match=message):
            threshold(*arguments)


# --- one stream ---


def test_every_row_of_every_detector_has_the_batch_score_and_channel_scores():
    rows, kinds = TEST[:30], [{"horizon": 3, "gate": "attention"}, {"normalise": True, "window": 1}]
    kinds += [{"tower": [], "expert": "series"}]
    for name in detectors.names():
        if name in REFUSED:
            with pytest.raises(DataError, match=f"{name} has no live score: "):
                live.Stream(model(name), threshold=0.0)
            continue
        more = [model(name, **kind) for kind in kinds] if name == "LightMMoE" else []
        assert all(isinstance(made.scorer, Forecasting) for made in more)
        for made in (model(name), Model(fitted(name)), *more):  # with facts and without
            follow = live.Stream(made, threshold=0.0)
            steps, errors = zip(*[(follow.step(row), follow.errors()) for row in rows], strict=True)
            first = made.detector.min_rows - 1
            assert all(np.isnan(step.score) and step.why == "warming up" for step in steps[:first])
            batch = made.detector.decision_function(rows)
            assert near([step.score for step in steps[first:]], batch[first:]), name
            if name in WITHOUT_SHARES:
                assert not any(each is not None for each in errors)
            else:
                parts = made.detector.channel_scores(rows)
                assert near(errors[first:], parts[first:]), name
                shares = [one["share"] for one in follow.explain()]
                assert sum(shares) == pytest.approx(float(errors[-1].any()), abs=1e-6)
    mine = type("Mine", (type(fitted("PCA windows")),), {})  # it may score otherwise
    assert type(Model(mine(window=4).fit(TRAIN)).scorer) is Sliding


def test_a_missing_cell_takes_the_last_value_and_adds_nothing():
    rows = TEST[:60].copy()
    filled = rows.copy()
    filled[30:33, 2] = rows[29, 2]
    rows[30, 2], rows[31:33, 2] = np.inf, nan
    before = rows.copy()
    made = stream()
    steps, errors = zip(*[(made.step(row), made.errors()) for row in rows], strict=True)
    assert np.array_equal(rows, before, equal_nan=True)  # the caller's rows are left alone
    parts = made.model.detector.channel_scores(filled)
    for number in (30, 31, 32):
        assert (errors[number] == 0).tolist() == [0, 0, 1, 0]
        assert steps[number].score == pytest.approx(parts[number, [0, 1, 3]].mean(), rel=1e-5)
    batch = made.model.detector.decision_function(filled)
    whole = [*range(WINDOW, 30), *range(33, 60)]  # rows after it see the filled cells
    assert near([steps[n].score for n in whole], batch[whole])
    assert made.counts == {"filled cells": 3}
    other = stream("PCA")  # scores the row as filled, but does not blame the cell
    steps, errors = zip(*[(other.step(row), other.errors()) for row in rows], strict=True)
    assert near([s.score for s in steps], other.model.detector.decision_function(filled))
    assert errors[31][2] == 0
    made = stream("MTSExample")
    step = made.step(np.array(made.model.facts.means))  # no error at all
    assert step.score == 0 and made.explain() == []


def test_a_row_needs_values_in_half_of_its_channels_and_is_seen_as_filled_without_them():
    for name in ("LightMMoE", "PCA windows EWMA", "ThreeViews"):
        made, filled = stream(name), TEST[:24].copy()
        scores(made, TEST[:20])
        half = made.step([nan, nan, *TEST[20, 2:]])
        less = made.step([nan, nan, nan, TEST[21, 3]])
        assert np.isfinite(half.score) and half.why == ""
        assert np.isnan(less.score) and less.why == "too few values" and made.errors() is None
        filled[20:22, :2], filled[21, 2] = TEST[19, :2], TEST[20, 2]
        assert near(scores(made, TEST[22:24]), made.model.detector.decision_function(filled)[22:])
    with pytest.raises(ValueError, match="expected"):
        made.step([1.0, 2.0])


def test_a_huge_value_is_an_alarm_not_a_crash():
    for name in ("LightMMoE", "ThreeViews", "PCA windows EWMA"):
        for value in (-1e300, 1.7e308, 1e12):
            made, rows = stream(name, threshold=20.0), TEST[:60].copy()
            rows[40, 1] = value
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                steps = [made.step(row) for row in rows]
            assert steps[40].event == "opened" and np.isfinite(steps[40].score)
            assert all(np.isfinite(step.score) for step in steps[20:])
            assert made.explain(top=1) and made.counts["cut cells"] == 1


def test_missing_rows_are_bridged_and_a_restart_fills_the_window_anew():
    filled = np.concatenate([TEST[:30], TEST[[29, 29]], TEST[32:60]])
    for name in ("LightMMoE", "PCA windows EWMA", "ThreeViews"):
        made = stream(name, threshold=0.0)
        batch, first = made.model.detector.decision_function, made.scorer.context
        scores(made, TEST[:30])
        made.bridge(2)
        assert near(scores(made, TEST[32:60]), batch(filled)[32:]) and made.alarm.open
        made.restart()
        assert not made.alarm.open
        again = scores(made, TEST[100:140])
        assert np.isnan(again[:first]).all()
        assert near(again[first:], batch(TEST[100:140])[first:])


def test_a_level_that_stays_becomes_the_normal_one():
    rows = np.concatenate([TEST, TEST])
    rows[100:, [1, 2]] += 36
    for name in ("MTSExample", "LightMMoE", "PCA windows"):
        level = 1.5 * model(name).detector.decision_function(TEST).max()
        made = stream(name, level, accept_after=80)
        events = {row: step.event for row, step in enumerate(map(made.step, rows[:300]))}
        assert {row: event for row, event in events.items() if event} == {
            100: "opened",
            **{row: "still" for row in range(104, 179, 4)},  # every hour: 100 rows are a day
            179: "accepted",
        }
        assert (made.centres - made.base)[0, [1, 2]] == pytest.approx([36] * 2, abs=3)
        # From then on, rows are scored as if the level had always been there.
        batch = made.model.detector.decision_function(rows[100:] - (made.centres - made.base))
        assert near(scores(made, rows[300:]), batch[200:])


def test_hours_of_an_alarm_that_ended_do_not_count_to_the_next_ones_acceptance():
    rows = np.concatenate([TEST] * 3)
    rows[[*range(100, 161), *range(300, 361)], 1] += 36  # an hour each, then the level decides
    made = live.Stream(model("MTSExample", {"rows_per_day": 1440.0}), accept_after=100)
    events = [made.step(row).event for row in rows]
    assert events[100] == events[300] == "opened" and events[161] == events[361] == "ended"
    assert "accepted" not in events


def test_another_rule_begins_where_it_would_have_begun():
    first = stream("MTSExample", 1e9)
    scores(first, TEST)
    second = live.Stream(first.model, threshold="alarms:2", rows_per_day=1440.0)
    level = second.threshold
    second.load(first.dump())
    assert second.rows == len(TEST) and second.threshold == pytest.approx(level)


# --- many streams ---


def compare(fleet, streams, rows):
    """Step both and hold them against each other, row by row."""
    for number, row in enumerate(rows):
        tick = fleet.tick(row)
        steps = [one.step(own) for one, own in zip(streams, row, strict=True)]
        found = np.array([step.score for step in steps])
        assert np.allclose(found, tick.scores, rtol=1e-5, atol=1e-5, equal_nan=True), number
        assert {n: step.event for n, step in enumerate(steps) if step.event} == tick.events
        for place in tick.events:
            named = [fleet.explain(place), streams[place].explain()]
            found, alone = (pd.DataFrame(one).fillna(nan) for one in named)
            pd.testing.assert_frame_equal(found, alone, rtol=1e-4, atol=1e-5, check_dtype=False)


def data(streams, rows, missing=0.0):
    """Rows ``(t, n, c)`` with incidents, some cells missing."""
    made = np.stack([waves(rows, seed=n) for n in range(streams)], axis=1)
    made[rows // 2 : rows // 2 + 5, ::3, 1] += 9
    made[np.random.default_rng(0).random(made.shape) < missing] = nan
    made[20:23, 1] = nan  # rows that did not come
    return made


def test_each_stream_of_a_fleet_gives_what_it_gives_alone():
    for name in ("LightMMoE", "ThreeViews", "PCA windows EWMA", "linear"):
        made, count = model(name), 70 if name == "LightMMoE" else 5  # more than one block
        options = {"threshold": "pot:0.05", "accept_after": 20}
        alone = [live.Stream(made, **options) for _ in range(count)]
        compare(live.Fleet(made, count, **options), alone, data(count, 60, missing=0.1))


# --- models and their facts ---


def test_calibration_scores_and_thresholds_are_those_of_rows_held_out():
    made = model()
    assert np.array_equal(made.calibration, made.detector.decision_scores_[-40:])
    assert model(held_out=0.0).calibration is model("SmartSimpleAD").calibration is None
    assert len(model("MTSExample").calibration) == 40  # learns its scaling alone
    expected = metrics.alarm_budget(made.calibration, DAY, per_day=1)
    assert live.Stream(made, threshold="budget").threshold == expected
    bare = Model(made.detector)
    assert live.Stream(bare, threshold="budget", rows_per_day=DAY).threshold == expected
    with pytest.raises(DataError, match="needs to know how many rows make a day"):
        live.Stream(bare, threshold="budget")


SETTINGS = {"window": 4, "experts": 2, "kernels": [2], "hidden": 4, "out": 3, "tower": 2}
SETTINGS["epochs"] = 1


def test_a_table_becomes_a_model_in_a_file(tmp_path):
    table = tmp_path / "week.csv"
    table.write_bytes(b"\n".join(csv(TRAIN)))
    made, notes = live.fit(table, detector="LightMMoE", settings=SETTINGS, seed=3)
    facts = made.facts
    assert ["thresholds come from the last 0.028 days" in note for note in notes] == [True]
    assert made.detector.name == "LightMMoE" and made.detector.seed == 3
    assert facts.channels == NAMES and facts.named and facts.rows == len(TRAIN)
    assert facts.step == 60 and facts.dates and facts.rows_per_day == 1440
    assert facts.means == pytest.approx(TRAIN.mean(axis=0))
    assert facts.deviations == pytest.approx(TRAIN.std(axis=0))
    direct = detector("LightMMoE", seed=3, **SETTINGS).fit(TRAIN)
    assert np.array_equal(direct.decision_scores_, made.detector.decision_scores_)
    path = made.save(tmp_path / "m.safetensors")
    back = Model.load(path)
    assert back.facts == facts and back.fingerprint == made.fingerprint
    assert np.array_equal(back.calibration, made.calibration)
    assert lmmoe.load_detector(path).settings == made.detector.settings
    bare = Model.load(lmmoe.save_detector(made.detector, path))
    assert not bare.facts.means and bare.channels[0] == "channel 1"


def test_the_time_column_and_its_form_are_kept(tmp_path):
    path, stamps = tmp_path / "rows.csv", pd.date_range("2024-01-13", periods=60, freq="min")
    for place, name, form, given_ in (
        (2, "time", "%Y-%m-%d %H:%M", None),
        (0, "when", "%d/%m/%Y %H:%M:%S", None),
        (1, "when", "%d.%m.%Y %H:%M", "when"),
        (1, "when", "%Y/%m/%d %H:%M", "when"),
        (2, "ts_ms", None, "ts_ms"),
    ):
        text = [60_000 * n for n in range(60)] if form is None else stamps.strftime(form)
        pattern = form if name == "when" else None
        frame = pd.DataFrame(TEST[:60, :2], columns=["a", "b"])
        frame.insert(place, name, text)
        frame.to_csv(path, index=False)
        made = live.fit(path, detector="MTSExample", time=given_)[0]
        facts = made.facts
        assert (facts.time, facts.pattern, facts.dates) == (name, pattern, form is not None)
        watch = live.Watch(made, threshold=1.0, tell=str)
        for line in path.read_bytes().splitlines():
            watch.feed(line)
        assert watch.only.scored == 60 and watch.only.clock.latest is not None
        assert facts.channels == ("a", "b") and not watch.only.counts["mended"]
    path.write_text("\n".join(f"{stamp:%m/%d/%Y %H:%M},{n},1" for n, stamp in enumerate(stamps)))
    facts = live.fit(path, detector="MTSExample", rows_per_day=288.0)[0].facts
    assert (facts.time, facts.pattern, facts.step) == (None, "%m/%d/%Y %H:%M", 60)
    assert facts.rows_per_day == 288
    pd.DataFrame({"a": np.arange(60.0), "at": stamps}).to_parquet(tmp_path / "rows.parquet")
    facts = live.fit(tmp_path / "rows.parquet", detector="MTSExample", time="at")[0].facts
    assert (facts.time, facts.pattern, facts.step) == ("at", None, 60)


def test_what_cannot_be_fitted_is_refused_and_what_is_mended_is_noted(tmp_path):
    table, lines, light = tmp_path / "week.csv", csv(TRAIN), {"detector": "LightMMoE"}
    table.write_bytes(b"\n".join(lines))
    for options, message in (
        ({"settings": {"epoch": 3}}, "ThreeViews has no setting 'epoch'"),
        ({"detector": "SmartSimpleAD"}, "nothing can watch with SmartSimpleAD: its scores depend"),
        ({"detector": "random"}, "random has no live score"),
        ({"detector": "pyod.models.ecod.ECOD"}, "ECOD: it cannot be saved"),
        (light | {"settings": SETTINGS | {"window": 500}}, "400 rows are too few for LightMMoE"),
        (light | {"settings": SETTINGS | {"learning_rate": 1e30}}, "training diverged"),
    ):
        with pytest.raises(DataError, match=message):
            live.fit(table, **options)
    with pytest.raises(RuntimeError, match="PCA has not been fitted: call fit first"):
        Model(lmmoe.detector("PCA"))
    lines[0] += b",label"
    lines[1:] = [line + (b",1" if n < 3 else b",0") for n, line in enumerate(lines[1:])]
    lines[9] = b",".join([lines[9].split(b",")[0], b"", *lines[9].split(b",")[2:]])
    table.write_bytes(b"\n".join(lines))
    made, notes = live.fit(table, detector="MTSExample", missing="fill")
    assert made.channels == NAMES and len(notes) == 3
    with pytest.raises(DataError, match="nan is not a finite number"):
        live.fit(table, detector="MTSExample")


def test_facts_that_do_not_fit_are_refused(tmp_path):
    path = model().save(tmp_path / "m.safetensors")
    arrays, head = saving.read(path)
    for changed, message in (
        (None, "the model does not fit its own header"),
        ({"channels": ["a", "a", "b", "c"]}, "a name is twice"),
        ({"deviations": [1, 1, 1, 0]}, "greater than 0"),
        ({"channels": ["a", "b"], "means": [1, 2], "deviations": [1, 2]}, "facts of 2 channels"),
    ):
        text = json.dumps(json.loads(head["facts"]) | changed) if changed else "{"
        saving.write(path, arrays, head | {"facts": text})
        with pytest.raises(DataError, match=f"(?s)m.safetensors: .*{message}"):
            Model.load(path)
    made = (fitted("PCA windows EWMA"), fitted("PCA windows"), fitted(), fitted(seed=1))
    assert len({saving.fingerprint(one) for one in made}) == 4
