"""A watch: lines of any kind, times, restarts at any line; as a program in a pipe."""

import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watched import NAMES, TEST, TRAIN, csv, fitted, jsonl, model, stamp

from benchmarks import soak
from lmmoe import detector, live
from lmmoe.__main__ import main
from lmmoe.errors import DataError
from lmmoe.live import command
from lmmoe.live.model import Facts, Model
from lmmoe.live.watch import LONGEST, Clock, Order, Reader, Skipped, moment

nan = math.nan
LEVEL = 9.0  # added to a channel: far above its deviation
INCIDENT = TEST.copy()
INCIDENT[100:120, 1] += LEVEL
ROUGH = INCIDENT.copy()
ROUGH[np.random.default_rng(0).random(ROUGH.shape) < 0.05] = nan
THREE = ("cpu", "mem", "net")


# --- lines as rows ---


def read(lines, names=THREE, time=None):
    """Rows, None or the reason for skipping, of each line; the reader."""
    rows, found = np.random.default_rng(0).normal(size=(9, 3)), []
    known = Model(detector("MTSExample").fit(rows), Facts.of(rows, names))
    made = Reader(known, time, Counter())
    for line in lines:
        try:
            found.append(made.read(line if isinstance(line, bytes) else line.encode()))
        except Skipped as skipped:
            found.append(skipped.args[0])
    return found, made


def values(lines, **options):
    """The last row's values."""
    return read(lines, **options)[0][-1].values.tolist()


def same(row, expected):
    return np.array_equal(row.values, expected, equal_nan=True)


def test_without_a_header_cells_stand_in_the_models_order_perhaps_after_a_time():
    assert values(["1,2.5,-3e2"]) == [1, 2.5, -300]
    (first, second), made = read(["2024-01-01T00:00:00,1,2,3", "2024-01-01T00:01:00Z,1,2,3"])
    assert first.values.tolist() == [1, 2, 3] and first.written == "2024-01-01T00:00:00"
    assert second.time - first.time == 60 and made.dates is True
    assert read(["17.5,1,2,3"])[0][0].time == 17.5


def test_a_header_gives_order_and_time_and_a_later_one_changes_them():
    found, made = read(["net,Time,cpu,mem,Label", "3,0.5,1,2,0", "mem,net,cpu", "1,2,3"])
    assert found[0] is found[2] is None and not made.counts
    assert found[1].values.tolist() == [1, 2, 3] and found[1].time == 0.5
    assert found[3].values.tolist() == [3, 1, 2] and found[3].time is None
    assert read(["cpu,mem,net,at", "1,2,3,99"], time="AT")[0][1].time == 99
    # A model without names takes the columns in its order, whatever the header says.
    assert values(["a,b,c", "1,2,3"], names=None) == [1, 2, 3]
    assert read(["when,a,b,c", "17,1,2,3"], names=None)[0][1].time == 17


def test_new_and_lost_columns_are_counted_when_they_change():
    found, made = read(["cpu,disk,net", "1,9,3", "cpu,disk,net", "4,9,6"])
    assert same(found[1], [1, nan, 3]) and same(found[3], [4, nan, 6])
    assert made.counts == {"new columns": 1, "lost columns": 1}
    full = '{"cpu": 1, "mem": 2, "net": 3}'
    found, made = read([full, '{"cpu": 1, "new": 2, "net": 3}', full, '{"cpu": 1, "mem": 2}'])
    assert same(found[1], [1, nan, 3]) and found[2].values.tolist() == [1, 2, 3]
    assert made.counts == {"new columns": 1, "lost columns": 2}


def test_lines_that_are_no_rows_say_why():
    for line, reason in (
        ("1,2", "wrong number of cells"),
        ("exporter 1.2, ready", "wrong number of cells"),  # a greeting is no header
        ("{", "not JSON"),
        ('{"cpu": ' + "[" * 100_000, "not JSON"),
        (b"1" * (LONGEST + 1), "line too long"),
    ):
        found, _ = read([line, "1,2,3"])
        assert found[0] == reason and found[1].values.tolist() == [1, 2, 3]
    assert read(["cpu,mem,net", "1,2"])[0][1] == "wrong number of cells"
    found, _ = read([b"\xef\xbb\xbfcpu,mem,net\r", b"", b"  \r", b"\xff\xfe\x00,2,3\r"])
    assert found[:3] == [None] * 3 and same(found[3], [nan, 2, 3])


def test_cells_and_json_values_of_all_kinds():
    (row,), made = read(["1e400,true,0x10"])
    assert same(row, [math.inf, 1, nan]) and made.counts == {"cells of text": 1}
    assert values([' "1" , -inf,"FALSE"']) == [1, -math.inf, 0]
    found, _ = read(['{"net": 3, "cpu": 1, "TIME": "2024-01-01", "mem": 2}'])
    assert found[0].time == 1704067200 and found[0].written == "2024-01-01"
    assert found[0].values.tolist() == [1, 2, 3]
    (row,), made = read(['{"cpu": null, "mem": true, "net": "7"}'])
    assert same(row, [nan, 1, 7]) and not made.counts
    (row,), made = read(['{"cpu": [1], "mem": NaN, "net": "x"}'])
    assert same(row, [nan, nan, nan]) and made.counts == {"cells of text": 2}
    found, made = read(["2024-01-01,1,2,3", "17,1,2,3", "noon,1,2,3"])
    assert [row.time for row in found] == [1704067200, None, None]
    assert made.counts == {"times not understood": 2} and found[2].written == "noon"
    assert moment("01/02/2024") is moment("nan") is moment([1]) is None  # the first reads two ways
    assert moment("2024-01-01T01:00:00+01:00") == (1704067200, True)
    assert moment("02/01/1970", "%d/%m/%Y") == (86400, True)
    assert values([f'{{"cpu": {"9" * 400}, "mem": -{"9" * 400}, "net": Infinity}}'])[1] == -math.inf


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
objects = st.dictionaries(st.sampled_from([*THREE, "time", "x"]), json_values).map(json.dumps)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60) | st.text(max_size=40) | objects, max_size=12))
def test_any_line_is_a_row_or_a_reason(lines):
    for row in read(lines)[0]:
        assert row is None or isinstance(row, str) or row.values.shape == (3,)
        assert row is None or isinstance(row, str) or row.time is None or math.isfinite(row.time)


# --- times ---

NEXT, LATE, SEEN = (Order.NEXT, 0), (Order.LATE, 0), (Order.SEEN, 0)


def orders(times, step=60.0):
    clock = Clock(step)
    return [clock.look(time) for time in times]


def test_gaps_repeated_and_late_rows_and_a_clock_set_back():
    assert orders([0, 60, 120, 145, 229, 300]) == [NEXT] * 6  # a little early or late
    assert orders([0, 240])[-1] == (Order.BRIDGED, 3)
    assert orders([0, 300, 360]) == [NEXT, (Order.GAP, 4), NEXT]
    assert orders([0, 1, 1000, 5], step=None) == [NEXT, NEXT, NEXT, LATE]
    assert orders([0, 60, 60, 30, 120])[2:] == [(Order.REPEATED, 0), LATE, NEXT]
    times = [3600, 3660, *range(0, 420, 60)]
    assert orders(times)[2:] == [*[LATE] * 4, (Order.SET_BACK, 0), NEXT, NEXT]
    assert orders([3600, 300, 240, 180, 120, 60, 0])[1:] == [LATE] * 6  # in no order
    found = [order for order, _ in orders([0, 60, 1e9, *range(120, 600, 60)])]
    assert found[2:8] == [Order.GAP, *[Order.LATE] * 4, Order.SET_BACK]
    for blank in range(1, 8):  # rows without a time are not missing
        times = [0, 60, *[None] * blank, 60 * (2 + blank), 60 * (3 + blank)]
        assert orders(times) == [NEXT] * (4 + blank)
    assert orders([0, None, 60 * 9])[-1] == (Order.GAP, 7)
    assert orders([0, None, 60 * 2, 60 * 4])[-1] == (Order.BRIDGED, 1)  # counted once


def test_after_a_restart_times_already_seen_are_left_out_until_one_is_new():
    clock = Clock(60.0)
    for moment_ in range(600, 1260, 60):
        clock.look(moment_)
    clock.resumed = True
    assert [clock.look(one) for one in (600, 900, 1200, 1140)] == [SEEN] * 4
    assert [clock.look(one) for one in (1260, 1200, None)] == [NEXT, LATE, NEXT]
    clock.resumed = True
    assert clock.look(None) == NEXT  # nothing says that it was seen
    found = [clock.look(one)[0] for one in range(0, 360, 60)]
    assert found == [*[Order.LATE] * 4, Order.SET_BACK, Order.NEXT]


# --- a watch ---


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
    detector_, channels = made.model.detector, alarm["channels"]
    assert {name: value for name, value in alarm.items() if name != "channels"} == {
        "time": stamp(100),
        "row": 100,
        "score": pytest.approx(detector_.decision_function(INCIDENT)[100], rel=1e-5),
        "threshold": quiet(made.model),
        "detector": "LightMMoE",
    }
    assert channels[0]["share"] > 0.8 and channels[0] == {
        "channel": "mem",
        "share": channels[0]["share"],
        "forecast": pytest.approx(detector_.forecasts(INCIDENT)[100 - 8, 1], abs=1e-5),
        "observed": INCIDENT[100, 1],
    }
    shares = [channel["share"] for channel in channels]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    assert json.loads(json.dumps(alarm, allow_nan=False)) == alarm
    assert len(told) == 1 and "the alarm has ended" in told[0]
    counts = {"rows": 200, "scored": 192, "alarms": 1, "unscored": {"warming up": 8}}
    assert made.report() == counts
    assert fed(jsonl(INCIDENT))[1] == fed(csv(INCIDENT, header=False))[1] == alarms
    bare = [",".join(map(repr, row.tolist())).encode() for row in INCIDENT]
    assert fed(bare)[1] == [alarm | {"time": None}]
    assert fed(bare, made=Model(fitted()))[1][0]["channels"][0]["channel"] == "channel 2"


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
    mended = {"filled cells": 5, "cells of text": 2, "infinite cells": 1, "cut cells": 1}
    assert made.report()["mended"] == mended | {"times not understood": 1}
    skipped = {"not JSON": 2, "wrong number of cells": 4, "line too long": 2}
    assert made.report()["skipped"] == skipped
    assert made.scored == 192 and len(told) == 8
    made, _, _ = fed([*jsonl(TEST[:50]), b"{}", b'{"x": 1}'])
    assert made.report()["unscored"] == {"warming up": 8, "too few values": 2}


def test_a_lost_column_is_named():
    lines = jsonl(TEST[:20])
    lines[10:] = [
        json.dumps(json.loads(line) | {"mem": None, "cpu": 1}).encode() for line in lines[10:]
    ]
    lines[15:] = [line.replace(b'"mem"', b'"memory"') for line in lines[15:]]
    _, _, told = fed(lines)
    assert any("lost columns (mem)" in text for text in told)
    assert any("new columns (memory)" in text for text in told)


def test_gaps_in_time_repeated_and_late_rows():
    made, alarms, told = fed(csv(INCIDENT[:110]) + csv(TEST[110:], start=200, header=False))
    assert made.report()["events"] == {"gap": 1} and made.counts["unscored"]["warming up"] == 16
    assert len(alarms) == 1 and not made.stream.alarm.open and "ended (gap)" in "".join(told)
    made, _, _ = fed(csv(TEST[:60]) + csv(TEST[62:], start=62, header=False))
    assert made.report()["events"] == {"short gap": 1} and made.scored == 190
    filled = np.concatenate([TEST[:60], TEST[[59, 59]], TEST[62:], TEST[:1]])
    batch = made.model.detector.decision_function(filled)
    assert made.stream.step(TEST[0]).score == pytest.approx(batch[-1], rel=1e-5)
    lines = csv(TEST)
    made, _, _ = fed([*lines[:42], lines[41], lines[30], lines[20], *lines[41:]])
    assert made.report()["skipped"] == {"repeated": 2, "late": 2} and made.scored == 192
    assert np.array_equal(made.stream.window, fed(lines)[0].stream.window)
    made, _, _ = fed(csv(TEST[:100], start=1000) + csv(TEST[100:], start=0, header=False))
    assert made.report()["skipped"] == {"late": 4}
    assert made.report()["events"] == {"clock set back": 1}


def test_times_are_read_as_the_training_rows_were():
    numbers = [f"{60 * n}," + ",".join(map(repr, r.tolist())) for n, r in enumerate(TEST)]
    lines = [line.encode() for line in numbers[:50] + numbers[90:]]
    report = fed(lines)[0].report()  # dates in training
    assert report["mended"] == {"times not understood": 160} and "events" not in report
    for options in ({"made": model(facts={"dates": False})}, {"step": 60.0}):
        assert fed(lines, **options)[0].report()["events"] == {"gap": 1}
    for form in (csv, jsonl):
        made, alarms, told = fed(form(INCIDENT), time="nosuch")
        assert alarms[0]["time"] is None and made.clock.latest is None
        assert sum("none of the first 10 rows has a time" in text for text in told) == 1


def test_options_that_mean_nothing_are_refused():
    for options, message in (
        ({"step": nan}, "step=nan: a number above 0"),
        ({"rows_per_day": 0.0, "threshold": "budget"}, "rows_per_day=0.0: a number above 0"),
        ({"accept_after": 1}, "accept_after=1: a number of rows from 2 on is needed"),
        ({"made": Model(fitted()), "accept_after": 5, "threshold": 1.0}, "the training means"),
    ):
        with pytest.raises(DataError, match=message):
            watch(**options)


# --- stopped at any row and started again ---


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 200))
def test_a_watch_goes_on_at_any_line(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("state") / "w.safetensors"
    lines = csv(ROUGH)
    lines[150:150] = [b"garbage", lines[20], b""]
    options = {"threshold": "pot:0.01", "accept_after": 15}
    whole, first, second = (watch(**options)[0] for _ in range(3))
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


def test_states_of_others_and_other_files_are_refused(tmp_path):
    of_a_stream = live.Stream(model(), threshold=1.0).save(tmp_path / "s.safetensors")
    for other, message in (
        (watch(model("CAD"))[0].save(tmp_path / "cad"), "that of a stream with another model"),
        (watch(Model(fitted(seed=1)))[0].save(tmp_path / "1"), "that of a stream with another"),
        (of_a_stream, "of a stream, not of a watch"),
        (model().save(tmp_path / "model.safetensors"), "of another kind or format"),
        (tmp_path / "none.safetensors", "not readable"),
    ):
        with pytest.raises(DataError, match=message):
            watch()[0].load(other)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_flipped_bits_of_states_and_models_are_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    made = watch()[0]
    for save, load in ((made.save, made.load), (model("MTSExample").save, Model.load)):
        content = bytearray(save(folder / "f.safetensors").read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        (folder / "f.safetensors").write_bytes(content)
        with pytest.raises(DataError, match="f.safetensors: "):
            load(folder / "f.safetensors")


# --- as a program in a pipe ---

LINES = b"\n".join(csv(INCIDENT)) + b"\n"
SIZE = 1031  # F_SETPIPE_SZ, Linux's
QUIET = str(quiet(model()))
linux = pytest.mark.skipif(sys.platform != "linux", reason="makes a pipe small, by Linux's call")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return model().save(tmp_path_factory.mktemp("model") / "model.safetensors")


def until(reached, patience=60.0):
    end = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def here(path, lines, sink=None, **options):
    """Watch lines in this process; give the exit status and the alarms."""
    source, write = os.pipe()
    os.write(write, lines)  # less than a pipe holds
    os.close(write)
    with tempfile.TemporaryFile() as own:
        options |= {"source": source, "sink": sink or own.fileno(), "threshold": QUIET}
        status = command.watch_pipe(path, **options)
        os.close(source), own.seek(0)
        return status, [json.loads(line) for line in own]


def loaded(path):
    made = live.Watch(model(), threshold=1.0, tell=str)
    made.load(path)
    return made


@contextmanager
def meanwhile(act):
    """Do something in a thread while the block runs; what goes wrong there fails the test."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()


def test_killed_it_goes_on_from_its_last_state_and_rows_sent_again_are_left_out(path, tmp_path):
    state, lines = tmp_path / "state.safetensors", csv(INCIDENT)
    watching = [sys.executable, "-m", "lmmoe", "watch", str(path), "--threshold", QUIET]
    watching += ["--state", str(state), "--save-every", "20"]
    killed = subprocess.Popen(watching, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    killed.stdin.write(b"\n".join(lines[:91]) + b"\n")
    killed.stdin.flush()
    until(lambda: state.exists() and loaded(state).rows == 80)
    killed.kill()
    killed.wait()
    done = subprocess.run(watching, input=b"\n".join(lines), capture_output=True, timeout=120)
    assert [json.loads(line)["time"] for line in done.stdout.splitlines()] == [stamp(100)]
    assert json.loads(done.stderr.splitlines()[-1])["scored"] == 192


def test_a_damaged_or_foreign_state_is_told_and_replaced(path, tmp_path, capfd):
    state = tmp_path / "state.safetensors"
    for damage in (b"", b"lmmoe live state 1, cut", None):
        live.Watch(model("CAD"), threshold=1.0).save(state)
        if damage is not None:
            state.write_bytes(damage)
        status, alarms = here(path, LINES, state=state)
        assert status == 0 and len(alarms) == 1
        assert ": starting afresh" in capfd.readouterr().err and loaded(state).rows == 200


def test_the_state_is_saved_on_the_way_and_a_full_disk_does_not_end_the_watch(
    path, tmp_path, monkeypatch, capfd
):
    tried = []

    def full(self, path):
        tried.append(self.rows)
        raise OSError("no space left")

    monkeypatch.setattr(live.Watch, "save", full)
    status, alarms = here(path, LINES, state=tmp_path / "s.safetensors", save_every=60)
    assert status == 0 and tried == [60, 120, 180, 200] and len(alarms) == 1
    assert capfd.readouterr().err.count("the state cannot be saved: no space left") == 4


def test_signals_save_the_state_while_it_waits_for_rows(path, tmp_path):
    for number, expected in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        state, before = tmp_path / f"{expected}.safetensors", signal.getsignal(number)
        source, write = os.pipe()  # stays open: no end of the rows
        os.write(write, b"\n".join(csv(INCIDENT)[:151]) + b"\n")
        with open(tmp_path / "alarms", "w+b") as out:

            def stop(number=number, out=out):
                until(lambda: os.fstat(out.fileno()).st_size)
                os.kill(os.getpid(), number)

            with meanwhile(stop):
                options = {"source": source, "sink": out.fileno(), "threshold": QUIET}
                assert command.watch_pipe(path, **options, state=state) == expected
        os.close(source), os.close(write)
        assert signal.getsignal(number) is before and loaded(state).rows == 150
        assert (tmp_path / "alarms").read_bytes().count(b"\n") == 1


@linux
def test_a_slow_reader_is_waited_for_and_alarms_are_kept_where_nobody_reads(path, tmp_path, capfd):
    rows = np.tile(TEST, (5, 1))[:750]
    rows[20::25, 1] += 500
    lines = b"".join(",".join(map(repr, row.tolist())).encode() + b"\n" for row in rows)
    read, write = os.pipe()
    fcntl.fcntl(write, SIZE, 4096)  # no more than some alarms
    got, state = [], tmp_path / "state.safetensors"

    def read_late():
        assert select.select([read], [], [], 60)[0]
        time.sleep(3 * command.PAUSE)  # it blocks all the while
        while b"".join(got).count(b"\n") < 30:
            got.append(os.read(read, 100))

    def stop():
        assert select.select([read], [], [], 60)[0]
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(read_late):
        assert here(path, lines, write)[0] == 0
    expected = [json.loads(line)["row"] for line in b"".join(got).splitlines()]
    assert expected == list(range(20, 750, 25))
    with meanwhile(stop):
        assert here(path, lines, write, state=state)[0] == 0
    first = [json.loads(line) for line in os.read(read, 1 << 20).splitlines()]
    said = capfd.readouterr().err
    assert f"{30 - len(first)} alarms were not taken: kept for the next start" in said
    rest = here(path, b"", state=state)[1]
    assert [alarm["row"] for alarm in [*first, *rest]] == expected
    os.close(read)  # and where the reader is gone:
    assert here(path, LINES, write, state=tmp_path / "gone.safetensors")[0] == 1
    os.close(write)
    said = capfd.readouterr().err
    assert "the reader of the alarms is gone\n" in said and '"rows": 101,' in said
    assert "1 alarms were not taken: kept for the next start\n" in said


def test_metrics_say_what_came_by(path, monkeypatch, capfd):
    made = live.Watch(model(), threshold=float(QUIET), tell=str)
    with closing(command.Metrics(made, 0)) as server:
        for line in [*csv(INCIDENT), b"garbage"]:
            made.feed(line)
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
        with pytest.raises(DataError, match=f"no metrics on 127.0.0.1 port {server.port}: "):
            command.Metrics(made, server.port)
    for line in (
        "lmmoe_rows_total 201.0",
        "lmmoe_rows_scored_total 192.0",
        "lmmoe_alarms_total 1.0",
        'lmmoe_rows_skipped_total{kind="wrong number of cells"} 1.0',
        'lmmoe_rows_unscored_total{kind="warming up"} 8.0',
        "lmmoe_alarm_open 0.0",
        f"lmmoe_threshold {float(QUIET)}",
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
    small = ["window=4", "experts=2", "kernels=[2]", "hidden=4", "out=3", "tower=2", "epochs=1"]
    sets = [word for setting in small for word in ("--set", setting)]
    assert main(["fit", str(table), "-o", str(out), *sets]) == 0
    made = Model.load(out)
    assert made.detector.kernels == [2]
    assert (
        f"budget:1 {live.Stream(made, threshold='budget').threshold:.6g}\n"
        in capsys.readouterr().out
    )
    before = [table.read_bytes(), out.read_bytes()]
    same_file = "read and to be written at once"
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
        "assert not {'prometheus_client', 'torch'} & sys.modules.keys()"
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
