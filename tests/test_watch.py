"""A watch: lines of any kind, times, restarts at any line; as a program in a pipe."""

import fcntl
import json
import math
import multiprocessing
import os
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from urllib.error import HTTPError

import numpy as np
import pytest
import watched
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import TEST, TRAIN, csv, fitted, jsonl, model, stamp

from benchmarks import soak
from lmmoe import detector, live
from lmmoe.__main__ import main
from lmmoe.errors import DataError
from lmmoe.live import command, serving
from lmmoe.live.clock import SEEN, Clock
from lmmoe.live.lines import LONGEST, Reader, Skipped, moment
from lmmoe.live.model import Facts, Model, Models
from lmmoe.live.watch import BLIND

nan = math.nan
LEVEL = 9.0  # added to a channel: far above its deviation
INCIDENT = TEST.copy()
INCIDENT[100:120, 1] += LEVEL
ROUGH = INCIDENT.copy()
ROUGH[np.random.default_rng(0).random(ROUGH.shape) < 0.05] = nan
THREE = ("cpu", "mem", "net")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return model().save(tmp_path_factory.mktemp("model") / "model.safetensors")


# --- lines as rows ---


BAD, FULL_ROW = "wrong number of cells", '{"cpu": 1, "mem": 2, "net": 3}'
CASES = (  # lines, each one's values or what is said of it, what is counted
    (["1,2.5,-3e2"], [[1, 2.5, -300]], {}),
    (['"1" , -inf,"FALSE"'], [[1, -math.inf, 0]], {}),
    (["1e400,true,0x10"], [[math.inf, 1, nan]], {"cells of text": 1}),
    (["net,Time,cpu,mem,Label", "3,0,1,2,0", "mem,net,cpu", "1,2,3"], [[1, 2, 3], [3, 1, 2]], {}),
    (["cpu,d,net", "1,9,3", "cpu,d,net", "4,9,6"], [[1, nan, 3], [4, nan, 6]], {"lost columns": 2}),
    (
        [FULL_ROW, '{"cpu": 1, "new": 2}', FULL_ROW],
        [[1, 2, 3], [1, nan, nan], [1, 2, 3]],
        {"lost columns": 2},
    ),
    (['{"cpu": null, "mem": true, "net": "7"}'], [[nan, 1, 7]], {}),
    (['{"cpu": [1], "mem": NaN, "net": "x"}'], [[nan, nan, nan]], {"cells of text": 2}),
    (['{"fields": {"cpu": 1, "net": 3, "mem": 2}, "tags": {"host": "a"}}'], [[1, 2, 3]], {}),
    (
        [f'{{"cpu": {"9" * 400}, "mem": -{"9" * 400}}}'],
        [[math.inf, -math.inf, nan]],
        {"lost columns": 1},
    ),
    ([",cpu,mem,net", "9,1,2,3"], [[1, 2, 3]], {}),
    (["1,2", "1,2,3"], [BAD, [1, 2, 3]], {}),
    (["exporter 1.2, ready", "1,2,3"], [BAD, [1, 2, 3]], {}),  # a greeting is no header
    (["{", '{"cpu": ' + "[" * 100_000, "1,2,3"], ["not JSON", "not JSON", [1, 2, 3]], {}),
    ([b"1" * (LONGEST + 1), "1,2,3"], ["line too long", [1, 2, 3]], {}),
    (
        [b"\xef\xbb\xbfcpu,mem,net\r", b"", b" \r", b"\xff\xfe\x00,2,3\r"],
        [[nan, 2, 3]],
        {"cells of text": 1},
    ),
    # One stray line with a channel's name is no header: the rows below it stay rows.
    (["cpu,mem,net", "1,2,3", "cpu", "cpu is high", "4,5,6"], [[1, 2, 3], BAD, BAD, [4, 5, 6]], {}),
)


def read(lines, names=THREE, time=None):
    """Each line's row, or the reason for skipping; what was odd."""
    rows, found, odd = np.random.default_rng(0).normal(size=(9, 3)), [], Counter()
    known = Model(detector("MTSExample").fit(rows), Facts.of(rows, names, time=time))
    reader = Reader(known, None)
    for line in lines:
        try:
            if (
                cells := reader.read(line if isinstance(line, bytes) else line.encode())
            ) is not None:
                found.append(known.columns.row(cells, odd))
        except Skipped as skipped:
            found.append(skipped.args[0])
    return found, odd


def test_lines_become_rows_or_say_why_not():
    for lines, expected, counts in CASES:
        found, odd = read(lines)
        plain = [row if isinstance(row, str) else row.values.tolist() for row in found]
        np.testing.assert_equal(plain, expected)
        assert odd == counts
    # A model without names takes the columns in its order, whatever the header says.
    (row,), _ = read(["when,a,b,c", "17,1,2,3"], names=None)
    assert row.values.tolist() == [1, 2, 3] and row.time == 17


def test_times_are_numbers_or_dates():
    for lines, expected in (
        (["17.5,1,2,3"], [(17.5, "17.5")]),
        (["2024-01-01,1,2,3"], [(1704067200, "2024-01-01")]),
        (["2024-01-01T00:00:01Z,1,2,3"], [(1704067201, "2024-01-01T00:00:01Z")]),
        (["noon,1,2,3"], [(None, "noon")]),
        ([",cpu,mem,net", "9,1,2,3"], [(None, None)]),
        (['{"net": 3, "TIME": 1, "cpu": 1}', FULL_ROW], [(1, 1), (None, None)]),
        (["cpu,mem,net,at", "1,2,3,99"], [(99, "99")]),
    ):
        assert [row[1:] for row in read(lines, time="AT")[0]] == expected
    assert moment("01/02/2024") is moment("nan") is moment([1]) is None  # the first reads two ways
    assert moment("2024-01-01T01:00:00+01:00") == (1704067200, True)
    assert moment("02/01/1970", "%d/%m/%Y") == moment("1970-1-2 0:00") == (86400, True)
    assert moment("01/01/1970 00:00:01.1234567", "%d/%m/%Y %H:%M:%S.%f") == (1.123456, True)


# --- times ---

NEXT, LATE = ("", 0), ("late", 0)
LEFT_OUT = ("late", "repeated", SEEN)


def orders(times, step=60.0):
    clock = Clock(step)
    return [clock.look(time) for time in times]


def test_gaps_repeated_and_late_rows_and_a_clock_set_back():
    assert orders([0, 60, 120, 145, 229, 300]) == [NEXT] * 6  # a little early or late
    assert orders([0, 240])[-1] == ("short gap", 3)
    assert orders([0, 300, 360]) == [NEXT, ("gap", 4), NEXT]
    assert orders([0, 1, 1000, 5], step=None) == [NEXT, NEXT, NEXT, LATE]
    assert orders([0, 60, 60, 30, 120])[2:] == [("repeated", 0), LATE, NEXT]
    times = [3600, 3660, *range(0, 420, 60)]
    assert orders(times)[2:] == [*[LATE] * 4, ("clock set back", 0), NEXT, NEXT]
    assert orders([3600, 300, 240, 180, 120, 60, 0])[1:] == [LATE] * 6  # in no order
    found = [order for order, _ in orders([0, 60, 1e9, *range(120, 600, 60)])]
    assert found[2:8] == ["gap", *["late"] * 4, "clock set back"]
    for blank in range(1, 8):  # rows without a time are not missing
        times = [0, 60, *[None] * blank, 60 * (2 + blank), 60 * (3 + blank)]
        assert orders(times) == [NEXT] * (4 + blank)
    assert orders([0, None, 60 * 9])[-1] == ("gap", 7)
    assert orders([0, None, 60 * 2, 60 * 4])[-1] == ("short gap", 1)  # counted once


def test_after_a_restart_times_already_seen_are_left_out_until_one_is_new():
    clock = Clock(60.0)
    for moment_ in range(600, 1260, 60):
        clock.look(moment_, mark=moment_)
    clock.resume()
    assert [clock.look(one) for one in (600, 900, 1200, 1140)] == [(SEEN, 0)] * 4
    assert [clock.look(one) for one in (1260, 1200, None)] == [NEXT, LATE, NEXT]
    clock.resume()
    assert clock.look(None) == NEXT  # nothing says that it was seen
    found = [clock.look(one)[0] for one in range(0, 360, 60)]
    assert found == [*["late"] * 4, "clock set back", ""]


far = st.sampled_from([0, 0, 0, 0, 0, 1, 5, 30, 10**9, -7, -40, -(10**9)])


@settings(deadline=None)
@given(st.lists(far, max_size=200), st.integers(0, 200), st.booleans())
def test_no_wrong_time_blinds_a_clock_and_rows_sent_again_are_not_taken_twice(jumps, cut, known):
    times = 1e10 + 60.0 * np.cumsum([1 + jump for jump in [0] * 20 + jumps + [0] * 20])
    rows = list(zip(times.tolist(), range(len(times)), strict=True))  # the mark tells rows apart
    whole, clock = Clock(60.0 if known else None), Clock(60.0 if known else None)
    orders_ = [whole.look(*row)[0] for row in rows]
    assert sum(order not in LEFT_OUT for order in orders_[-20:]) >= 15
    for row in rows[: min(cut + 20, len(rows))]:
        clock.look(*row)
    clock.resume()
    taken = [row for row in rows if clock.look(*row)[0] not in LEFT_OUT]  # from the start
    expected = zip(rows, orders_, strict=True)
    assert taken == [row for row, order in list(expected)[cut + 20 :] if order not in LEFT_OUT]
    assert len(whole.spans) <= 64


def test_rows_at_another_interval_than_the_training_rows_are_told():
    for minutes, expected in ((3, 1), (1, 0), (2, 1)):
        lines = [csv(row[None], number * minutes)[1] for number, row in enumerate(TEST)]
        made, _, told = fed(lines)
        assert sum("other interval" in text for text in told) == expected, minutes


# --- a watch ---


def quiet(made):
    """A threshold that no row of TEST comes near."""
    return 1.5 * made.detector.decision_function(TEST).max()


def watch(made=None, threshold=None, **options):
    told, made = [], made or model()
    threshold = quiet(made) if threshold is None else threshold
    return live.Watch(made, threshold=threshold, tell=told.append, **options), told


def fed(lines, **options):
    """A watch after some lines, its alarms as they opened, what it told."""
    made, told = watch(**options)
    events = [event for line in lines for event in made.feed(line)]
    return made, [event for event in events if event["event"] == "opened"], told


def test_an_incident_is_one_alarm_that_says_all():
    made, alarms, told = fed(csv(INCIDENT))
    assert len(alarms) == made.only.alarms == 1
    alarm = alarms[0]
    detector_, channels = made.only.model.detector, alarm["channels"]
    score = pytest.approx(detector_.decision_function(INCIDENT)[100], rel=1e-5)
    level = quiet(made.only.model)
    assert {name: value for name, value in alarm.items() if name != "channels"} == {
        "id": f"{stamp(100)} 100",
        "event": "opened",
        "entity": "",
        "time": stamp(100),
        "since": stamp(100),
        "row": 100,
        "score": score,
        "threshold": level,
        "severity": pytest.approx(alarm["score"] - level),
        "peak": score,
        "detector": "LightMMoE",
        "views": {},
    }
    assert channels[0]["share"] > 0.8 and channels[0] == {
        "channel": "mem",
        "share": channels[0]["share"],
        "forecast": pytest.approx(detector_.forecasts(INCIDENT)[100 - 8, 1], abs=1e-5),
        "observed": INCIDENT[100, 1],
    }
    assert sum(channel["share"] for channel in channels) == pytest.approx(1)
    assert json.loads(json.dumps(alarm, allow_nan=False)) == alarm and told == []
    assert made.report() == {"rows": 200, "scored": 192, "alarms": 1, "unscored": {"warming up": 8}}
    assert fed(jsonl(INCIDENT))[1] == fed(csv(INCIDENT, header=False))[1] == alarms
    bare = [",".join(map(repr, row.tolist())).encode() for row in INCIDENT]
    assert fed(bare)[1] == [alarm | {"time": None, "since": None, "id": "100"}]
    assert fed(bare, made=Model(fitted()))[1][0]["channels"][0]["channel"] == "channel 2"


def test_an_alarm_is_told_when_it_opens_every_hour_and_when_it_ends():
    rows = np.concatenate([TEST] * 3)
    rows[100:290, 1] += LEVEL
    lines, gap = csv(rows[:380]), csv(rows[400:], start=400, header=False)
    facts = {"rows_per_day": 1440.0}
    for name, threshold in (("LightMMoE", None), ("ThreeViews", "alarms:2")):
        made, _ = watch(model(name, facts), threshold, entity="web", accept_after=0)
        events = [event for line in [*lines, *gap] for event in made.feed(line)]
        events = [one for one in events if one["id"] == f"web {stamp(100)} 100"]
        assert [one["event"] for one in events[:1] + events[-1:]] == ["opened", "ended"]
        assert {one["event"] for one in events[1:-1]} == {"still"}
        stills = [one["row"] for one in events if one["event"] == "still"]
        assert stills == ([160, 220, 280] if threshold is None else [161, 222, 283])[: len(stills)]
        assert stills and {one["since"] for one in events} == {stamp(100)}
        assert events[-1]["reason"] == "quiet" and events[-1]["peak"] >= events[0]["score"]
        total = sum(events[0]["views"].values())
        assert total == pytest.approx(events[0]["score"] if threshold else 0)
        json.dumps(events, allow_nan=False)
    # A gap ends an alarm; a level that was accepted does, too.
    made, _ = watch(model(facts=facts))
    lines = csv(rows[:110]) + csv(rows[110:], start=200, header=False)
    events = [event for line in lines for event in made.feed(line)]
    assert (events[1]["reason"], events[1]["score"], events[1]["row"]) == ("gap", None, 110)
    rows[100:] += [0, 36, 36, 0]
    made, _ = watch(model("MTSExample", facts), "alarms:2")
    events = [event for line in csv(rows) for event in made.feed(line)]
    assert ("accepted as normal", 281) in [(one.get("reason"), one["row"]) for one in events]


def test_odd_cells_and_lines_are_counted_and_told_once():
    lines = csv(TEST)
    odd = {30: b"", 31: b"n/a", 32: b"oops", 33: b"inf", 34: b"1e300", 35: b"oops"}
    for number, cell in odd.items():
        cells = lines[number].split(b",")
        lines[number] = b",".join([*cells[:2], cell, *cells[3:]])
    lines[40] = b"noon" + lines[40][lines[40].index(b",") :]
    for line in (b"{", b"1,2", b"\x00\xff", b"x" * 2_000_000):
        lines[50:50] = [line, line]
    made, _, told = fed(lines, threshold=1e30)
    mended = {"filled cells": 5, "cells of text": 2, "cut cells": 1}
    assert made.report()["mended"] == mended | {"times not understood": 1}
    skipped = {"not JSON": 2, "wrong number of cells": 4, "line too long": 2}
    assert made.report()["skipped"] == skipped
    assert made.only.scored == 192 and len(told) == 7
    made, _, told = fed([*jsonl(TEST[:50]), b"{}", b'{"x": 1}'])
    assert made.report()["unscored"] == {"warming up": 8, "too few values": 2}
    assert any("lost columns (cpu, mem, net, disk)" in text for text in told)


def test_gaps_in_time_repeated_and_late_rows():
    made, alarms, told = fed(csv(INCIDENT[:110]) + csv(TEST[110:], start=200, header=False))
    counts = made.report()
    assert counts["events"] == {"gap": 1} and counts["unscored"]["warming up"] == 16
    assert len(alarms) == 1 and not made.only.stream.alarm.open
    made, _, _ = fed(csv(TEST[:60]) + csv(TEST[62:], start=62, header=False))
    assert made.report()["events"] == {"short gap": 1} and made.only.scored == 190
    filled = np.concatenate([TEST[:60], TEST[[59, 59]], TEST[62:], TEST[:1]])
    batch = made.only.model.detector.decision_function(filled)
    assert made.only.stream.step(TEST[0]).score == pytest.approx(batch[-1], rel=1e-5)
    lines = csv(TEST)
    made, _, _ = fed([*lines[:42], lines[41], lines[30], lines[20], *lines[41:]])
    assert made.report()["skipped"] == {"repeated": 2, "late": 2} and made.only.scored == 192
    assert np.array_equal(made.only.stream.window, fed(lines)[0].only.stream.window)


def test_times_are_read_as_the_training_rows_were():
    numbers = [f"{60 * n}," + ",".join(map(repr, r.tolist())) for n, r in enumerate(TEST)]
    lines = [line.encode() for line in numbers[:50] + numbers[90:]]
    report = fed(lines)[0].report()  # dates in training
    assert report["mended"] == {"times not understood": 160} and "events" not in report
    assert fed(lines, made=model(facts={"dates": False}))[0].report()["events"] == {"gap": 1}
    for form in (csv, jsonl):
        made, alarms, told = fed([line.replace(b"time", b"at") for line in form(INCIDENT)])
        assert alarms[0]["time"] is None and made.only.clock.latest is None
        assert sum("none of the first 10 rows has a time" in text for text in told) == 1


def test_options_that_mean_nothing_are_refused():
    bare = {"made": Model(fitted()), "threshold": 1.0, "accept_after": 5}
    for options, message in (
        ({"rows_per_day": 0.0, "threshold": "budget"}, "rows_per_day=0.0: a number above 0"),
        ({"accept_after": 1}, "accept_after=1: rows from 2 on, and"),
        (bare, "and the training means are needed"),
    ):
        with pytest.raises(DataError, match=message):
            watch(**options)


def test_rows_that_never_have_a_score_are_an_emergency(path, capfd):
    wrong = [line.replace(b",", b";") for line in csv(TEST)]
    utf16 = b"\n".join(csv(TEST)).decode().encode("utf-16").split(b"\n")
    nested = [b'{"data": ' + line + b"}" for line in jsonl(TEST)]
    for lines in (wrong, utf16, nested, [csv(TEST)[1]] * 200):
        made, _, told = fed(lines)
        assert sum(f"NOTHING IS WATCHED: {BLIND} rows" in text for text in told) == 1
        assert made.blind == [""] and made.only.blind + made.stray.blind >= 190
    for line in csv(TEST[:12], start=900, header=False):  # and is over with the next score
        made.feed(line)
    assert made.blind == [] and made.only.blind == 0
    for lines, status in (([*csv(TEST), *wrong], 1), ([*wrong, *csv(TEST)], 0)):
        assert here(path, b"\n".join(lines))[0] == status
        said = capfd.readouterr().err
        assert ("nothing was watched at the end: no line was a row" in said) == status


# --- many machines ---


def keyed(rows, names, start=0):
    lines = csv(rows, start, header=False)
    return [b"time,host,cpu,mem,net,disk"] + [
        line.replace(b",", f",{name},".encode(), 1) for line in lines for name in names
    ]


def test_each_machine_has_what_it_has_alone():
    lines, names = keyed(ROUGH, ["a", "b", "c"]), "abc"
    lines[300:300] = [b"garbage", b"host", lines[5], b'{"cpu": 1}', b"2024-01-01,,1,2,3,4"]
    lines = [line for n, line in enumerate(lines) if n % 3 or n < 400]  # one stops
    made, told = watch(threshold="pot:0.01", key="host")
    events = [event for line in lines for event in made.feed(line)]
    for name in names:
        own = [line for line in lines if f",{name},".encode() in line]
        alone, _ = watch(threshold="pot:0.01", entity=name)
        header = lines[0].replace(b",host", b"")
        own = [header] + [line.replace(f",{name}".encode(), b"", 1) for line in own]
        expected = [event for line in own for event in alone.feed(line)]
        assert [event for event in events if event["entity"] == name] == expected != []
        assert made.entities[name].counts == alone.only.counts
    assert made.stray.counts["skipped"] == {"wrong number of cells": 2, "no entity": 2}
    assert made.report()["rows"] == len(lines) - 1
    made.entities["a"].heard -= 1e6
    for _ in range(2):
        made.look_around()
    assert [text for text in told if "SILENT" in text] == [told[-1]] and told[-1].startswith("a, ")
    made.feed(keyed(TEST[:1], "a", start=900)[1])
    assert "rows come again" in "".join(told) and not made.entities["a"].silent


def test_models_of_a_folder_are_read_when_needed_and_again_when_they_change(tmp_path):
    for name in "ab":
        model("ThreeViews").save(tmp_path / f"{name}.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    model().save(tmp_path.parent / "secret.safetensors")
    told = []
    made = live.Watch(Models(tmp_path, told.append), key="host", tell=told.append)
    lines = keyed(INCIDENT, ["a", "b", "bad", "../secret", "日" * 99, "\0", "c"])
    for line in lines[:-70]:
        made.feed(line)
    made.feed(b'{"host": null, "cpu": 1}'), made.feed(b'{"host": "\\ud800", "cpu": 1}')
    assert list(made.entities) == ["a", "b"] and len(told) == 7  # and the kind of fault
    assert made.report()["skipped"] == {"no entity": 5 * 190 + 2}
    before, entity = made.entities["b"].stream, made.entities["a"]
    level = entity.stream.alarm.level
    one = live.Watch(Models(tmp_path / "a.safetensors"), tell=str)
    for line in csv(INCIDENT[:190]):
        one.feed(line)
    shifted = Model(detector("ThreeViews").fit(TRAIN + 3), model().facts)
    shifted.save(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"half a model")
    model("ThreeViews").save(tmp_path / "c.safetensors")
    made.look_around(), one.look_around()
    one.feed(csv(TEST, 190)[1])
    assert one.only.model.fingerprint == shifted.fingerprint and one.only.scored == 191
    assert made.entities["b"].stream is before and "the old model stays" in told[-1]
    entity = made.entities["a"]
    assert entity.rows == 190 and entity.stream.alarm.level == level and entity.clock.latest
    stream = entity.stream  # its window in the new model's units
    latest = stream.window[(stream.turn - 1) % len(stream.window), :, 0]
    assert np.allclose(latest * stream.spread + stream.base, stream.held[0])
    other = Model(fitted("ThreeViews"), Facts.of(TRAIN, ("cpu", "mem", "net", "other")))
    with pytest.raises(DataError, match="the state is that of a model with other channels"):
        watch(other)[0].only.load(entity.dump())
    other.save(tmp_path / "a.safetensors")
    made.look_around(), made.look_around()
    assert sum("and the old one stays: the state is that of" in text for text in told) == 1
    for line in lines[-70:]:
        made.feed(line)
    assert made.entities["c"].rows == 10 and entity.scored == 200
    assert sum(text.startswith("bad: ") for text in told) == 1


# --- stopped at any row and started again ---


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 200))
def test_a_watch_goes_on_at_any_line(cut):
    made = model(("LightMMoE", "PCA windows EWMA", "ThreeViews")[cut % 3])
    lines = csv(ROUGH)
    lines[150:150] = [b"garbage", lines[20], b""]
    options = {"threshold": ("pot:0.01", "alarms:20")[cut % 2], "accept_after": 15}
    whole, first, second = (watch(made, **options)[0] for _ in range(3))
    events = [whole.feed(line) for line in lines]
    for line in lines[:cut]:
        first.feed(line)
    first.pending = ["kept"]
    second.load(first.dump())
    assert second.pending == ["kept"]
    assert [second.feed(line) for line in lines[cut:]] == events[cut:]
    # A late row that comes right after the restart counts as one seen before it.
    for made in (whole, second):
        skipped = made.only.counts["skipped"]
        skipped["late"] += skipped.pop("seen before the restart", 0)
    assert second.report() == whole.report()


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_flipped_bits_of_states_and_models_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "f.safetensors"
    state = path.with_name("state")

    def flip(path):
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)

    flip(model("MTSExample").save(path))
    with pytest.raises(DataError):
        Model.load(path)
    for rows in ((0,), (12,), (0, 24)):  # at last damaged: all is as it was, or begins afresh
        with closing(serving.Store(state, again := watch()[0])) as store:
            assert again.only.rows in rows
            for line in csv(TEST[:12]):
                again.feed(line)
            store.save()
        if rows == (12,):
            flip(state)


# --- as a program in a pipe ---

LINES = b"\n".join(csv(INCIDENT)) + b"\n"
SIZE = 1031  # F_SETPIPE_SZ, Linux's
QUIET = str(quiet(model()))
linux = pytest.mark.skipif(sys.platform != "linux", reason="makes a pipe small, by Linux's call")


def until(reached, patience=60.0):
    end = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def here(path, lines, sink=None, **options):
    """Watch lines in this process; give the exit status and the alarms as they opened."""
    source, write = os.pipe()
    os.write(write, lines)  # less than a pipe holds
    os.close(write)
    with tempfile.TemporaryFile() as own:
        options = {"threshold": QUIET} | options
        options |= {"source": source, "sink": sink or own.fileno()}
        status = command.watch_pipe(path, **options)
        os.close(source), own.seek(0)
        return status, [one for line in own if (one := json.loads(line))["event"] == "opened"]


def loaded(path):
    made = live.Watch(model(), threshold=1.0, entity="model", tell=str)
    serving.Store(path, made).close()
    return made.only


@contextmanager
def meanwhile(act):
    """Do something in a thread while the block runs; what goes wrong there fails the test."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()


@linux
def test_killed_twenty_times_at_random_no_alarm_is_lost_or_doubled(tmp_path):
    path = model("ThreeViews").save(tmp_path / "m.safetensors")
    values = np.concatenate([TEST] * 4)
    lines = keyed(values, ["a", "b"])
    for place, minute in ((900, 10**8), (500, 300)):  # the year 2214, and a clock set back
        lines[place:place] = keyed(TEST[:1], ["a"], start=minute)[1:]
    (tmp_path / "rows").write_bytes(b"\n".join(lines) + b"\n")
    whole, _ = watch(Model.load(path), "alarms:40", key="host")
    expected = [json.dumps(event) for line in lines for event in whole.feed(line)]
    assert len(expected) > 60
    alarms, state, chance = tmp_path / "alarms", tmp_path / "state", random.Random(0)
    alarms.touch()
    pool, died = multiprocessing.get_context("forkserver"), 0
    pool.set_forkserver_preload(["watched", "lmmoe.live.watch"])
    for calls in [chance.randrange(400_000) for _ in range(20)] + [-1]:
        given_ = (path, tmp_path / "rows", alarms, state, calls)
        one = pool.Process(target=watched.killed, args=given_)
        one.start()
        one.join()
        died += one.exitcode == -signal.SIGKILL
        assert one.exitcode in (0, -signal.SIGKILL)
    found = alarms.read_text().splitlines()
    assert died > 5 and sorted(found) == sorted(expected) and len({*found}) == len(found)
    for name in "ab":  # each machine's in order
        own = [text for text in expected if f'"entity": "{name}"' in text]
        assert [text for text in found if f'"entity": "{name}"' in text] == own


def test_a_second_watch_on_a_state_is_refused_and_links_and_the_umask_hold(path, tmp_path):
    (tmp_path / "real").mkdir()
    state = tmp_path / "state"
    state.symlink_to(tmp_path / "real" / "state")
    before = os.umask(0o027)
    try:
        assert here(path, LINES, state=state)[0] == 0
    finally:
        os.umask(before)
    assert state.is_symlink() and (tmp_path / "real" / "state").stat().st_mode & 0o777 == 0o640
    with (
        closing(serving.Store(state, watch()[0])),
        pytest.raises(DataError, match="another watch keeps this state"),
    ):
        here(path, LINES, state=state)
    assert loaded(state).rows == 200


def test_a_damaged_or_foreign_state_is_told_and_replaced(path, tmp_path, capfd):
    state = tmp_path / "state"
    for damage in (b"", b"lmmoe live state 1, cut", None):
        state.unlink(missing_ok=True)
        if damage is None:
            assert here(path, LINES, state=state)[0] == 0
            with closing(sqlite3.connect(state)) as base:
                base.execute(f"UPDATE \"{serving.STATE}\" SET state = x'00' WHERE entity <> ''")
                base.commit()
        else:
            state.write_bytes(damage)
        capfd.readouterr()
        status, alarms = here(path, LINES, state=state)
        assert status == 0 and len(alarms) == 1 and loaded(state).rows == 200
        assert ("starting afresh" in capfd.readouterr().err) == (damage != b"")
    assert (tmp_path / "state.damaged").read_bytes() == b"lmmoe live state 1, cut"
    state.write_bytes(state.read_bytes().replace(b" model", b"\xa0model"))  # no UTF-8
    assert here(path, LINES, state=state)[0] == 0 and loaded(state).rows == 200
    assert "starting afresh" in capfd.readouterr().err


FULL = """
mount -t tmpfs -o size=64k tmpfs disk && echo mounted >&2 || exit 99
head -n 50 lines | "$@" && head -c 1000000 /dev/zero > disk/full
"$@" < lines > alarms && cp disk/state kept
mount -o remount,ro disk && ! "$@" < lines 2> refused
"""


def test_full_and_read_only_disks_are_told_once_and_the_old_state_stays_whole(
    path, tmp_path, capfd
):
    made = watch(entity="model")[0]
    with closing(serving.Store(tmp_path / "state", made)) as store:
        for only in (1, 0, 1):
            store.base.execute(f"PRAGMA query_only = {only}")
            assert [store.save(), store.save()] == [not only] * 2
            told = capfd.readouterr().err
            assert told.count("the state cannot be saved: attempt to write a readonly") == only
            assert told.count("the state is saved again") == 1 - only
    (tmp_path / "disk").mkdir()
    (tmp_path / "lines").write_bytes(LINES)
    words = ["unshare", "-rm", "sh", "-c", FULL, "sh", sys.executable, "-m", "lmmoe", "watch"]
    words += [path, "--state", "disk/state", "--save-every", "0", "--threshold", QUIET]
    try:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "mounted" not in done.stderr:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr[:200]}")
    assert done.returncode == 0 and done.stderr.count("the state cannot be saved: database or") == 1
    assert json.loads(done.stderr.splitlines()[-1])["scored"] == 192
    assert (tmp_path / "alarms").read_text().count("opened") == 1
    assert loaded(tmp_path / "kept").rows == 49
    refused = (tmp_path / "refused").read_text()
    assert refused.startswith("error: disk/state: the state cannot be written there (Read-only")
    assert refused.count("\n") == 1


def test_signals_save_the_state_while_it_waits_for_rows(path, tmp_path):
    for number, expected in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        state, before = tmp_path / f"{expected}", signal.getsignal(number)
        source, write = os.pipe()  # stays open: no end of the rows
        os.write(write, b"\n".join(csv(INCIDENT)[:121]) + b"\n")
        with open(tmp_path / "alarms", "w+b") as out:

            def saved(rows, state=state):  # looked up in a copy: it is locked
                os.kill(os.getpid(), signal.SIGHUP)
                return state.exists() and loaded(shutil.copy(state, tmp_path / "copy")).rows == rows

            def stop(number=number, out=out, write=write, saved=saved):
                until(lambda: os.fstat(out.fileno()).st_size and saved(120))
                os.write(write, b"\n".join(csv(TEST[:30], start=120, header=False)) + b"\n")
                until(lambda: saved(150))
                os.kill(os.getpid(), number)

            with meanwhile(stop):
                options = {"source": source, "sink": out.fileno(), "threshold": QUIET}
                options |= {"state": state, "save_every": 1e6}
                assert command.watch_pipe(path, **options) == expected
        os.close(source), os.close(write)
        assert signal.getsignal(number) is before and loaded(state).rows == 150
        assert (tmp_path / "alarms").read_bytes().count(b"opened") == 1


@linux
def test_a_slow_reader_is_waited_for_and_alarms_are_kept_where_nobody_reads(path, tmp_path, capfd):
    rows = np.tile(TEST, (5, 1))[:750]
    rows[20::25, 1] += 500
    lines = b"".join(",".join(map(repr, row.tolist())).encode() + b"\n" for row in rows)
    read, write = os.pipe()
    fcntl.fcntl(write, SIZE, 4096)  # no more than some alarms
    got, state, made = [], tmp_path / "state", watch(entity="model")[0]
    expected = [event for line in lines.splitlines() for event in made.feed(line)]
    assert len(expected) > 100

    def read_late():
        assert select.select([read], [], [], 60)[0]
        time.sleep(3 * command.PAUSE)  # it blocks all the while
        while b"".join(got).count(b"\n") < len(expected):
            got.append(os.read(read, 100))

    def stop():
        assert select.select([read], [], [], 60)[0]
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(read_late):
        assert here(path, lines, write)[0] == 0
    assert [json.loads(line) for line in b"".join(got).splitlines()] == expected
    with meanwhile(stop):
        assert here(path, lines, write, state=state)[0] == 0
    first = [json.loads(line) for line in os.read(read, 1 << 20).splitlines()]
    said = capfd.readouterr().err
    assert f"{len(expected) - len(first)} alarms were not taken: kept for the next start" in said
    with open(tmp_path / "rest", "w+b") as rest:
        here(path, b"", rest.fileno(), state=state)
        rest.seek(0)
        assert [*first, *map(json.loads, rest)] == expected
    os.close(read)
    assert here(path, LINES, write, state=tmp_path / "gone")[0] == 1
    os.close(write)
    said = capfd.readouterr().err
    assert "the reader of the alarms is gone\n" in said and "kept for the next start\n" in said


def test_metrics_say_what_came_by(path, monkeypatch, capfd):
    made = live.Watch(model(), threshold=float(QUIET), tell=str, entity="web")
    for line in [*csv(INCIDENT), b"garbage"]:
        made.feed(line)

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.read().decode()

    with serving.Metrics(made, 0) as server:
        port = server.server_port
        text = get("/metrics")
        assert get("/healthz") == "ok\n"
        made.looked -= 1e6
        for where, code in (("/", 404), ("/metrics/x", 404), ("/healthz", 503)):
            with pytest.raises(HTTPError, match=f"{code}"):
                get(where)
        with pytest.raises(DataError, match=f"no metrics on 127.0.0.1 port {port}: "):
            serving.Metrics(made, port)
        # With as many connections as are allowed, one more is closed without an answer.
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(serving.THREADS)]
        until(lambda: threading.active_count() == serving.THREADS)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as extra:
            assert extra.recv(1) == b""
        for one in held:
            one.close()
        until(lambda: threading.active_count() < serving.THREADS)
        assert get("/metrics") == text
    for line in (
        'lmmoe_rows_total{entity="web"} 200.0',
        'lmmoe_rows_scored_total{entity="web"} 192.0',
        'lmmoe_alarms_total{entity="web"} 1.0',
        'lmmoe_skipped_total{kind="wrong number of cells"} 1.0',
        'lmmoe_unscored_total{kind="warming up"} 8.0',
        'lmmoe_alarm_open{entity="web"} 0.0',
        f'lmmoe_threshold{{entity="web"}} {float(QUIET)}',
        f'lmmoe_score{{entity="web"}} {made.only.score}',
        'lmmoe_rows_without_score{entity="web"} 0.0',
        "lmmoe_lines_without_row 1.0",
        'lmmoe_last_row_timestamp_seconds{entity="web"} 1.70407914e+09',
    ):
        assert line in text.splitlines(), line
    assert here(path, LINES, metrics=0)[0] == 0
    assert "metrics: http://127.0.0.1:" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(DataError, match="need the package prometheus-client. pip install"):
        command.watch_pipe(path, metrics=0)


# --- the commands ---


def test_fit_and_what_the_commands_refuse(tmp_path, capsys, monkeypatch):
    table, out, link = tmp_path / "week.csv", tmp_path / "deep" / "m", tmp_path / "link.csv"
    table.write_bytes(b"\n".join(csv(TRAIN)))
    link.symlink_to(table)
    how = ["--detector", "PCA windows", "--set", "window=4", "--set", "ewma=5e-1", "-o", str(out)]
    assert main(["fit", str(table), *how]) == 0
    made = Model.load(out)
    level = live.Stream(made, threshold="budget").threshold
    assert made.detector.window == 4 and made.detector.ewma == 0.5
    assert f"threshold budget: {level:.6g}\n" in capsys.readouterr().out
    before, same_file = [table.read_bytes(), out.read_bytes()], "read and to be written at once"
    for words, message in (
        (["fit", table, "-o", out, "--set", "a"], "no setting"),
        (["fit", table, "-o", link], f"link.csv: {same_file}"),
        (["fit", out, "-o", table], "week.csv: there, and no model of lmmoe"),
        (["fit", table, "-o", table / "m"], "the model cannot be written there"),
        (["watch", out, "--state", out], f"m: {same_file}: the state would replace"),
        (["watch", out, "--state", table], "week.csv: there, and no state of lmmoe: not replaced"),
        (["watch", out, "--state", tmp_path], "there, and no state of lmmoe"),
        (["watch", out, "--threshold", "often"], "no threshold 'often'"),
        (["watch", table], "not readable"),
        (["watch", tmp_path], "a folder of models needs --key"),
    ):
        assert main([str(word) for word in words]) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
        assert message in said.err, said.err
    assert [table.read_bytes(), out.read_bytes()] == before
    with pytest.raises(DataError, match="would replace what is read"):
        with open(tmp_path / "alarms", "wb") as sink:
            command.watch_pipe(out, state=tmp_path / "alarms", sink=sink.fileno())


def test_the_package_is_light_until_it_is_used(tmp_path):
    paths = [str(model(name).save(tmp_path / f"{name}.st")) for name in ("PCA", "ThreeViews")]
    code = (
        "import sys, lmmoe.live as live, lmmoe.live.command; assert 'numpy' not in sys.modules;"
        "assert all(getattr(live, name) for name in live.__all__);"
        f"[live.Stream(live.Model.load(path)).step([0.0] * 4) for path in {paths}];"
        "assert not {'pandas', 'prometheus_client', 'scipy', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the soak ---


def test_some_seconds_at_full_speed_and_thousands_of_odd_lines(monkeypatch):
    found = soak.soak(3.0)
    assert found["rows"] > 100 and found["growth_mb"] < 20 and found["state_goes_on"]
    assert found["report"]["mended"]["filled cells"]
    for report in soak.fuzz(3000, seed=7)["reports"].values():
        assert {"wrong number of cells", "not JSON", "late"} <= report["skipped"].keys()
        assert {"cells of text", "lost columns"} <= report["mended"].keys()
