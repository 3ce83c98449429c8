"""Every fault that rows can have, and what a watch makes of it."""

import json
import math

import numpy as np
import pytest
from watched import DAY, NAMES, TEST, TRAIN, csv, fitted, jsonl, model, stamp

from lmmoe import live
from lmmoe.errors import DataError
from lmmoe.live.model import Facts, Model

LEVEL = 9.0  # added to a channel: far above its deviation
INCIDENT = TEST.copy()
INCIDENT[100:120, 1] += LEVEL


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
    assert len(told) == 1 and "the alarm has ended (rows " in told[0]
    assert made.report() == ["rows 200, scored 192, alarms 1", "unscored: warming up 8"]


def test_json_lines_and_bare_cells_give_the_same_alarm():
    expected = fed(csv(INCIDENT))[1]
    assert fed(jsonl(INCIDENT))[1] == expected
    assert fed(csv(INCIDENT, header=False))[1] == expected
    bare = [",".join(map(repr, row.tolist())).encode() for row in INCIDENT]
    assert fed(bare)[1] == [expected[0] | {"time": None}]


def test_only_the_top_channels_are_named():
    assert len(fed(csv(INCIDENT), top=2)[1][0]["channels"]) == 2


def test_a_detector_without_shares_names_no_channels():
    _, alarms, _ = fed(csv(INCIDENT), made=model("IsolationForest"), threshold=0.0)
    assert alarms[0]["channels"] == []


def test_another_forecaster_says_its_forecast_too():
    made, alarms, _ = fed(csv(INCIDENT), made=model("linear"))
    first = alarms[0]["channels"][0]
    forecast = made.model.detector.forecasts(INCIDENT)[alarms[0]["row"] - 16]
    assert first["forecast"] == pytest.approx(forecast[NAMES.index(first["channel"])], rel=1e-5)


def test_a_missing_cell_is_not_an_observation():
    lines = jsonl(INCIDENT)
    row = json.loads(lines[100])
    lines[100] = json.dumps(row | {"cpu": None}).encode()
    _, alarms, _ = fed(lines, top=4)
    assert {c["channel"] for c in alarms[0]["channels"]} == {"mem", "net", "disk"}  # cpu adds none


# --- the table of faults ---


def test_missing_text_and_infinite_cells_are_filled_and_counted():
    lines = csv(TEST)
    for number, cell in ((30, b""), (31, b"n/a"), (32, b"oops"), (33, b"inf")):
        cells = lines[number].split(b",")
        lines[number] = b",".join([*cells[:2], cell, *cells[3:]])
    made, _, _ = fed(lines)
    assert made.scored == 192
    assert made.report()[-1] == "mended: filled cells 4, cells of text 1, infinite cells 1"


def test_a_dead_channel_leaves_the_others_watched():
    lines = jsonl(INCIDENT)
    for number in range(50, 200):
        row = json.loads(lines[number])
        lines[number] = json.dumps(row | {"net": None}).encode()
    made, alarms, _ = fed(lines)
    assert [alarm["row"] for alarm in alarms] == [100]
    assert made.mended["filled cells"] == 150


def test_a_lost_column_is_told_and_the_rest_watched():
    def without(line):
        return json.dumps({k: v for k, v in json.loads(line).items() if k != "net"}).encode()

    lines = jsonl(INCIDENT)
    made, alarms, told = fed(lines[:50] + [without(line) for line in lines[50:]])
    assert [alarm["row"] for alarm in alarms] == [100]
    assert told[0] == "lost column: 'net' (its last values stand in)"
    assert made.mended == {"lost columns": 1, "filled cells": 150}


def test_a_new_column_is_left_out():
    lines = [line + b",7" for line in csv(INCIDENT)]
    lines[0] = b"time,cpu,mem,net,disk,fan"
    made, alarms, told = fed(lines)
    assert alarms == fed(csv(INCIDENT))[1] and told[0] == "new column: 'fan' (left out)"


def test_a_long_gap_starts_the_window_anew():
    lines = csv(TEST[:60]) + csv(TEST[60:120], start=90, header=False)
    made, _, told = fed(lines)
    assert made.events == {"gap": 1} and made.unscored == {"warming up": 16}
    assert told == [
        f"row 60: gap before {stamp(90)}, 30 rows missing; more of these are only counted"
    ]
    after = made.stream
    alone = live.Stream(model(), threshold=1e9)
    for row in TEST[60:120]:
        last = alone.step(row)
    assert np.array_equal(after.window, alone.window) and np.isfinite(last.score)


def test_a_gap_ends_an_alarm():
    lines = csv(INCIDENT[:110]) + csv(TEST[110:], start=200, header=False)
    made, alarms, told = fed(lines)
    assert len(alarms) == 1 and not made.stream.alarm.open
    assert any("the alarm ends with the gap (rows " in text for text in told)


def test_a_short_gap_is_bridged():
    lines = csv(TEST[:60]) + csv(TEST[62:], start=62, header=False)
    made, _, _ = fed(lines)
    assert made.events == {"short gap": 1} and made.unscored == {"warming up": 8}
    filled = np.concatenate([TEST[:60], TEST[[59, 59]], TEST[62:]])
    batch = made.model.detector.decision_function(filled)
    assert made.stream.rows == 198
    assert made.stream.step(TEST[0]).score == pytest.approx(
        made.model.detector.decision_function(np.concatenate([filled, TEST[:1]]))[-1], rel=1e-5
    )
    assert len(batch) == 200


def test_repeated_and_late_rows_are_left_out():
    lines = csv(TEST)
    again = [lines[41], lines[30], lines[20], *lines[41:]]
    made, _, told = fed(lines[:42] + again)
    assert made.skipped == {"repeated": 2, "late": 2}
    assert made.scored == 192
    assert told[1] == f"row 42 skipped: late, at {stamp(29)}; more of these are only counted"
    plain = fed(lines)[0]
    assert np.array_equal(made.stream.window, plain.stream.window)


def test_a_clock_set_back_costs_five_rows_and_a_window():
    made, _, _ = fed(csv(TEST[:100], start=1000) + csv(TEST[100:], start=0, header=False))
    assert made.skipped == {"late": 4} and made.events == {"clock set back": 1}
    assert made.unscored == {"warming up": 16}


def test_a_clock_set_forward_is_a_gap():
    made, _, _ = fed(csv(TEST[:100]) + csv(TEST[100:], start=10**6, header=False))
    assert made.skipped == {} and made.events == {"gap": 1}


def test_odd_lines_are_skipped_and_told_once():
    lines = csv(INCIDENT)
    for odd in (b"{", b"1,2", b"\x00\xff", b"[1,2", b"x" * 2_000_000, b"{}" * 3):
        lines[50:50] = [odd, odd]
    made, alarms, told = fed(lines)
    assert alarms[0]["time"] == stamp(100) and alarms[0]["row"] == 112
    assert made.skipped == {"not JSON": 6, "wrong number of cells": 4, "line too long": 2}
    assert sum("skipped" in text for text in told) == 3


def test_a_row_without_any_value_has_no_score():
    made, _, _ = fed([*jsonl(TEST[:50]), b"{}", b'{"x": 1}'])
    assert made.unscored == {"warming up": 8, "too few values": 2}


def test_a_level_that_stays_is_one_alarm():
    rows = np.concatenate([TEST, TEST, TEST])
    rows[200:, [1, 2]] += 4 * LEVEL
    made, alarms, _ = fed(csv(rows), made=model("MTSExample"))
    assert [alarm["row"] for alarm in alarms] == [200]
    assert made.stream.alarm.open


@pytest.mark.parametrize("name", ["MTSExample", "LightMMoE", "PCA windows EWMA"])
def test_a_level_may_become_the_normal_one(name):
    rows = np.concatenate([TEST, TEST, TEST])
    rows[200:, [1, 2]] += 4 * LEVEL
    rows[520:525, 0] += LEVEL
    made, alarms, told = fed(csv(rows), made=model(name), accept_after=200)
    rows_of = [alarm["row"] for alarm in alarms]
    # A smoothed error starts anew with the level, and its first value is not smooth yet.
    assert rows_of == ([200, 400, 520] if "EWMA" in name else [200, 520])
    assert any("its level is the normal one from now on" in text for text in told)
    moved = made.stream.offset
    assert moved[[1, 2]] == pytest.approx([4 * LEVEL] * 2, abs=1)
    assert abs(moved[[0, 3]]).max() < 1
    last = alarms[-1]["channels"][0]
    assert last["channel"] == "cpu" and last["observed"] == rows[520, 0]


def test_accepting_levels_needs_the_training_means():
    with pytest.raises(DataError, match="does not say the training means, which accept_after"):
        watch(Model(fitted()), threshold=1.0, accept_after=5)
    with pytest.raises(DataError, match="accept_after=1: a number of rows from 2 on is needed"):
        watch(accept_after=1)


# --- times that mean something else ---


def test_the_step_is_that_of_training_where_times_are_alike():
    numbers = [f"{60 * n}," + ",".join(map(repr, r.tolist())) for n, r in enumerate(TEST)]
    lines = [line.encode() for line in numbers[:50] + numbers[90:]]
    assert fed(lines)[0].events == {}  # dates in training, numbers here: no step is known
    plain = model(facts={"dates": False})
    assert fed(lines, made=plain)[0].events == {"gap": 1}
    assert fed(lines, step=60.0)[0].events == {"gap": 1}
    unknown = model(facts={"step": None})
    assert fed(csv(TEST[:50]) + csv(TEST[90:], 90, header=False), made=unknown)[0].events == {}


def test_times_that_cannot_be_read_are_passed_on():
    lines = [line.replace(b"2024", b"year 2024") for line in csv(INCIDENT)]
    made, alarms, _ = fed(lines)
    assert alarms[0]["time"] == "year " + stamp(100)
    assert made.mended["times not understood"] == 200


def test_a_time_that_is_no_number_does_not_spoil_the_line():
    lines = [json.dumps(json.loads(line) | {"time": math.nan}).encode() for line in jsonl(INCIDENT)]
    _, alarms, _ = fed(lines)
    assert alarms[0]["time"] is None


def test_a_model_without_facts_watches_by_position():
    bare = Model(fitted())
    lines = [",".join(map(repr, row.tolist())).encode() for row in INCIDENT]
    made, alarms, _ = fed(lines, made=bare)
    assert alarms[0]["channels"][0]["channel"] == "channel 2"
    numbered = Model(fitted(), Facts.of(TRAIN, rows_per_day=DAY))
    assert fed([b"a,b,c,d", *lines], made=numbered)[1][0]["channels"][0]["channel"] == "channel 2"
