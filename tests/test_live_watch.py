"""Every fault that rows can have, and what a watch makes of it; restarts at any line."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import NAMES, TEST, csv, fitted, jsonl, model, stamp

from lmmoe import live
from lmmoe.errors import DataError
from lmmoe.live import outputs
from lmmoe.live.model import Model

LEVEL = 9.0  # added to a channel: far above its deviation
INCIDENT = TEST.copy()
INCIDENT[100:120, 1] += LEVEL
ROUGH = INCIDENT.copy()
ROUGH[np.random.default_rng(0).random(ROUGH.shape) < 0.05] = np.nan


def quiet(made):
    """A threshold that no row of TEST comes near."""
    return 1.5 * made.detector.decision_function(TEST).max()


def watch(made=None, threshold=None, **options):
    told, made = [], made or model()
    threshold = quiet(made) if threshold is None else threshold
    return live.Watch(made, threshold=threshold, tell=told.append, **options), told


def fed(lines, **options):
    made, told = watch(**options)
    alarms = [alarm for line in lines if (alarm := made.feed(line)) is not None]
    return made, alarms, told


def test_an_incident_is_one_alarm_that_says_all():
    made, alarms, told = fed(csv(INCIDENT))
    assert len(alarms) == made.alarms == 1
    alarm = alarms[0]
    assert list(alarm) == ["time", "row", "score", "threshold", "detector", "channels"]
    assert alarm["time"] == stamp(100) and alarm["row"] == 100 and alarm["detector"] == "LightMMoE"
    batch = made.model.detector.decision_function(INCIDENT)
    assert alarm["score"] == pytest.approx(batch[100], rel=1e-5)
    assert alarm["threshold"] == quiet(made.model) < alarm["score"]
    first = alarm["channels"][0]
    forecast = made.model.detector.forecasts(INCIDENT)[100 - 8]
    assert first["channel"] == "mem" and first["share"] > 0.8
    assert first["observed"] == INCIDENT[100, 1]
    assert first["forecast"] == pytest.approx(forecast[1], abs=1e-5)
    shares = [channel["share"] for channel in alarm["channels"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    assert json.loads(json.dumps(alarm, allow_nan=False)) == alarm
    assert len(told) == 1 and "the alarm has ended" in told[0]
    counts = {"rows": 200, "scored": 192, "alarms": 1, "unscored": {"warming up": 8}}
    assert made.report() == counts


def test_json_lines_and_bare_cells_give_the_same_alarm():
    expected = fed(csv(INCIDENT))[1]
    assert fed(jsonl(INCIDENT))[1] == fed(csv(INCIDENT, header=False))[1] == expected
    bare = [",".join(map(repr, row.tolist())).encode() for row in INCIDENT]
    assert fed(bare)[1] == [expected[0] | {"time": None}]
    unnamed = fed(bare, made=Model(fitted()))[1]
    assert unnamed[0]["channels"][0]["channel"] == "channel 2"


def test_channels_of_an_alarm():
    assert len(fed(csv(INCIDENT), top=2)[1][0]["channels"]) == 2
    assert fed(csv(INCIDENT), made=model("IsolationForest"), threshold=0.0)[1][0]["channels"] == []
    made, alarms, _ = fed(csv(INCIDENT), made=model("linear"))
    first = alarms[0]["channels"][0]
    forecast = made.model.detector.forecasts(INCIDENT)[alarms[0]["row"] - 16]
    assert first["forecast"] == pytest.approx(forecast[NAMES.index(first["channel"])], rel=1e-5)
    lines = jsonl(INCIDENT)
    lines[100] = json.dumps(json.loads(lines[100]) | {"cpu": None}).encode()
    _, alarms, _ = fed(lines, top=4)
    assert {c["channel"] for c in alarms[0]["channels"]} == {"mem", "net", "disk"}  # cpu adds none


def test_odd_cells_are_mended_counted_and_told_once():
    lines = csv(TEST)
    odd = {30: b"", 31: b"n/a", 32: b"oops", 33: b"inf", 34: b"1e300", 35: b"oops"}
    for number, cell in odd.items():
        cells = lines[number].split(b",")
        lines[number] = b",".join([*cells[:2], cell, *cells[3:]])
    lines[40] = b"noon" + lines[40][lines[40].index(b",") :]
    made, _, told = fed(lines, threshold=1e30)
    mended = {"filled cells": 5, "cells of text": 2, "infinite cells": 1, "cut cells": 1}
    assert made.report()["mended"] == mended | {"times not understood": 1}
    assert made.scored == 192 and len(told) == 5


def test_a_lost_channel_leaves_the_others_watched():
    lines = jsonl(INCIDENT)
    for lost in ({"net": None}, {}):  # dead, and no longer there
        rows = [json.loads(line) for line in lines]
        for row in rows[50:]:
            row.pop("net")
            row.update(lost)
        made, alarms, _ = fed([json.dumps(row).encode() for row in rows])
        assert [alarm["row"] for alarm in alarms] == [100]
        assert made.counts["mended"]["filled cells"] == 150
    made, _, _ = fed([*jsonl(TEST[:50]), b"{}", b'{"x": 1}'])
    assert made.report()["unscored"] == {"warming up": 8, "too few values": 2}


def test_a_long_gap_ends_an_alarm_and_starts_the_window_anew():
    made, _, _ = fed(csv(TEST[:60]) + csv(TEST[60:120], start=90, header=False))
    assert made.report()["events"] == {"gap": 1}
    assert made.report()["unscored"] == {"warming up": 16}
    alone = live.Stream(model(), threshold=1e9)
    for row in TEST[60:120]:
        alone.step(row)
    assert np.array_equal(made.stream.window, alone.window)
    made, alarms, told = fed(csv(INCIDENT[:110]) + csv(TEST[110:], start=200, header=False))
    assert len(alarms) == 1 and not made.stream.alarm.open and "ended (gap)" in "".join(told)


def test_a_short_gap_is_bridged():
    made, _, _ = fed(csv(TEST[:60]) + csv(TEST[62:], start=62, header=False))
    assert made.report()["events"] == {"short gap": 1} and made.scored == 190
    filled = np.concatenate([TEST[:60], TEST[[59, 59]], TEST[62:], TEST[:1]])
    batch = made.model.detector.decision_function(filled)
    assert made.stream.step(TEST[0]).score == pytest.approx(batch[-1], rel=1e-5)


def test_repeated_and_late_rows_are_left_out_and_a_clock_may_be_set():
    lines = csv(TEST)
    made, _, _ = fed([*lines[:42], lines[41], lines[30], lines[20], *lines[41:]])
    assert made.report()["skipped"] == {"repeated": 2, "late": 2} and made.scored == 192
    assert np.array_equal(made.stream.window, fed(lines)[0].stream.window)
    made, _, _ = fed(csv(TEST[:100], start=1000) + csv(TEST[100:], start=0, header=False))
    assert made.report()["skipped"] == {"late": 4}
    assert made.report()["events"] == {"clock set back": 1}


def test_odd_lines_are_skipped_and_told_once():
    lines = csv(INCIDENT)
    for odd in (b"{", b"1,2", b"\x00\xff", b"[1,2", b"x" * 2_000_000, b"{}" * 3):
        lines[50:50] = [odd, odd]
    made, alarms, told = fed(lines)
    assert alarms[0]["time"] == stamp(100) and alarms[0]["row"] == 112
    skipped = {"not JSON": 6, "wrong number of cells": 4, "line too long": 2}
    assert made.report()["skipped"] == skipped
    assert sum("only counted" in text for text in told) == 3


def test_a_level_that_stays_is_one_alarm_and_may_become_the_normal_one():
    rows = np.concatenate([TEST, TEST, TEST])
    rows[200:, [1, 2]] += 4 * LEVEL
    made, alarms, _ = fed(csv(rows), made=model("MTSExample"))
    assert [alarm["row"] for alarm in alarms] == [200] and made.stream.alarm.open
    rows[520:525, 0] += LEVEL
    for name in ("MTSExample", "LightMMoE", "PCA windows EWMA"):
        made, alarms, told = fed(csv(rows), made=model(name), accept_after=200)
        # A smoothed error starts anew with the level, and its first value is not smooth yet.
        expected = [200, 400, 520] if "EWMA" in name else [200, 520]
        assert [alarm["row"] for alarm in alarms] == expected
        assert any("(accepted)" in text for text in told)
        assert made.stream.offset[[1, 2]] == pytest.approx([4 * LEVEL] * 2, abs=1)
        assert abs(made.stream.offset[[0, 3]]).max() < 1
        last = alarms[-1]["channels"][0]
        assert last["channel"] == "cpu" and last["observed"] == rows[520, 0]


def test_the_step_is_that_of_training_where_times_are_alike():
    numbers = [f"{60 * n}," + ",".join(map(repr, r.tolist())) for n, r in enumerate(TEST)]
    lines = [line.encode() for line in numbers[:50] + numbers[90:]]
    made, _, told = fed(lines)
    assert "events" not in made.report() and "times are numbers" in told[0]  # dates in training
    for options in ({"made": model(facts={"dates": False})}, {"step": 60.0}):
        assert fed(lines, **options)[0].report()["events"] == {"gap": 1}


def test_times_are_read_as_the_training_rows_were():
    def written(line):
        date, comma, rest = line.decode().partition(",")
        return f"{date[8:10]}/{date[5:7]}/{date[:4]} {date[11:]}{comma}{rest}".encode()

    lines = [line.replace(b"time,", b"at,") for line in csv(INCIDENT)]
    lines = [lines[0], *map(written, lines[1:])]
    known = {"time": "at", "pattern": "%d/%m/%Y %H:%M:%S"}
    made, alarms, told = fed(lines, made=model(facts=known))
    assert alarms[0]["time"] == "01/01/2024 01:40:00" and len(told) == 1
    assert made.clock.latest == made.clock.first + 199 * 60


def test_times_that_are_not_there_are_told():
    for form in (csv, jsonl):
        made, alarms, told = fed(form(INCIDENT), time="nosuch")
        assert alarms[0]["time"] is None and made.clock.latest is None
        assert sum("nosuch" in text for text in told) == 1
        assert sum("none of the first 10 rows has a time" in text for text in told) == 1
    lines = [json.dumps(json.loads(line) | {"time": math.nan}).encode() for line in jsonl(INCIDENT)]
    assert fed(lines)[1][0]["time"] is None


def test_options_that_mean_nothing_are_refused():
    for options, message in (
        ({"step": math.nan}, "step=nan: a number above 0"),
        ({"top": 0}, "top=0: a whole number from 1 on"),
        ({"rows_per_day": 0.0}, "rows_per_day=0.0: a number above 0"),
        ({"accept_after": 1}, "accept_after=1: a number of rows from 2 on is needed"),
        ({"made": Model(fitted()), "accept_after": 5, "threshold": 1.0}, "the training means"),
    ):
        with pytest.raises(DataError, match=message):
            watch(**options)


# --- stopped at any row and started again ---


def test_a_stream_goes_on_to_the_bit(tmp_path):
    for name in ("LightMMoE", "PCA windows EWMA", "MTSExample"):
        whole, first, second = (
            live.Stream(model(name), threshold="spot:0.01", accept_after=15) for _ in range(3)
        )
        steps = [whole.step(row) for row in ROUGH]
        assert {"opened", "accepted"} <= {step.event for step in steps} or name != "LightMMoE"
        for row in ROUGH[:107]:  # in an alarm
            first.step(row)
        second.load(first.save(tmp_path / "state.safetensors"))
        for row, step in zip(ROUGH[107:], steps[107:], strict=True):
            again = second.step(row)
            assert (again.score, again.event) == (step.score, step.event)
            assert np.array_equal(again.errors, step.errors)
        assert second.alarm.threshold == whole.alarm.threshold and second.counts == whole.counts


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 200))
def test_a_watch_goes_on_at_any_line(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("state") / "w.safetensors"
    lines = csv(ROUGH)
    lines[150:150] = [b"garbage", lines[20], b""]
    whole, first, second = (watch()[0] for _ in range(3))
    alarms = [whole.feed(line) for line in lines]
    for line in lines[:cut]:
        first.feed(line)
    first.pending = ['{"row": 3}']
    second.load(first.save(path))
    assert second.pending == first.pending
    assert [second.feed(line) for line in lines[cut:]] == alarms[cut:]
    # A late row that comes right after the restart counts as one seen before it.
    for made in (whole, second):
        skipped = made.counts["skipped"]
        skipped["late"] += skipped.pop("seen before the restart", 0)
    assert second.report() == whole.report()


def test_rows_sent_again_after_a_restart_are_left_out(tmp_path):
    lines, whole, first = csv(ROUGH), watch()[0], watch()[0]
    every = [alarm["time"] for line in lines if (alarm := whole.feed(line))]
    alarms = [alarm["time"] for line in lines[:150] if (alarm := first.feed(line))]
    path = first.save(tmp_path / "w.safetensors")
    for start, again in ((140, 10), (1, 149), (150, 0)):  # tail's ten lines, the whole file, none
        second = watch()[0]
        second.load(path)
        assert not any(second.feed(line) for line in lines[start:150])
        assert second.counts["skipped"]["seen before the restart"] == again
        rest = [alarm["time"] for line in lines[150:] if (alarm := second.feed(line))]
        assert alarms + rest == every and second.scored == whole.scored


def test_states_of_others_and_other_files_are_refused(tmp_path):
    path = watch()[0].save(tmp_path / "w.safetensors")
    for other in (model("CAD"), Model(fitted(seed=1), model().facts)):
        with pytest.raises(DataError, match="that of a stream with another model"):
            watch(other)[0].load(path)
    with pytest.raises(DataError, match="the state does not fit a watch"):
        watch()[0].load(live.Stream(model(), threshold=1.0).save(tmp_path / "s.safetensors"))
    with pytest.raises(DataError, match="not a live state, or of another format"):
        watch()[0].load(model().save(tmp_path / "model.safetensors"))
    arrays, facts = outputs.read_state(path)
    outputs.write_state(path, arrays | {"held": np.zeros(3)}, facts)
    with pytest.raises(DataError, match="the state does not fit the stream"):
        watch()[0].load(path)
    path.write_bytes(path.read_bytes()[:-10])
    for damaged in (path, tmp_path / "none.safetensors"):
        with pytest.raises(DataError, match="not readable"):
            watch()[0].load(damaged)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_flipped_bits_of_states_and_models_are_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    for save, load in (
        (watch()[0].save, watch()[0].load),
        (model("MTSExample").save, Model.load),
    ):
        path = save(folder / "f.safetensors")
        content = bytearray(path.read_bytes())
        header = 8 + int.from_bytes(content[:8], "little")
        place = data.draw(st.integers(header if load == Model.load else 0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        with pytest.raises(DataError, match="f.safetensors: "):
            load(path)


def test_another_rule_is_told_and_taken(tmp_path):
    path = watch(threshold="quantile:0.9")[0].save(tmp_path / "w.safetensors")
    made, told = watch(threshold="spot:0.01")
    start = made.stream.alarm.threshold
    made.load(path)
    assert made.stream.alarm.threshold == start and "saved with the threshold" in told[0]


def test_a_state_is_small_at_38_channels(tmp_path):
    rows = np.random.default_rng(0).normal(size=(800, 38))
    facts = live.Facts.of(rows, tuple(f"a long name {n}" for n in range(38)), rows_per_day=100.0)
    made = live.Watch(Model(fitted_on("PCA windows", rows), facts), threshold="spot", tell=str)
    for row in rows[:100]:
        made.feed(json.dumps(dict(zip(facts.channels, row.tolist(), strict=True))).encode())
    made.stream.tail.excesses = np.ones(512)
    assert made.save(tmp_path / "w.safetensors").stat().st_size < 16_000


def fitted_on(name, rows):
    from lmmoe import detectors

    return detectors.detector(name).fit(rows)
