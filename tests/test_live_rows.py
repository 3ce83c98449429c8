"""Lines as rows, whatever they look like, and what a row's time says."""

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmmoe.live.rows import LONGEST, Reader, Skipped, moment
from lmmoe.live.watch import Clock, Order

NAMES = ("cpu", "mem", "net")
nan = math.nan


def read(lines, names=NAMES, **options):
    """Rows, None or the reason for skipping, of each line; the reader; what it told."""
    told, found = [], []
    made = Reader(names, tell=told.append, **options)
    for line in lines:
        try:
            found.append(made.read(line if isinstance(line, bytes) else line.encode()))
        except Skipped as skipped:
            found.append(skipped.reason)
    return found, made, told


def values(lines, **options):
    """The last row's values."""
    return read(lines, **options)[0][-1].values.tolist()


def same(row, expected):
    return np.array_equal(row.values, expected, equal_nan=True)


def test_without_a_header_cells_stand_in_the_models_order_perhaps_after_a_time():
    assert values(["1,2.5,-3e2"]) == [1, 2.5, -300]
    (first, second), made, _ = read(["2024-01-01T00:00:00,1,2,3", "2024-01-01T00:01:00Z,1,2,3"])
    assert first.values.tolist() == [1, 2, 3] and first.written == "2024-01-01T00:00:00"
    assert second.time - first.time == 60 and made.dates is True
    assert read(["17.5,1,2,3"])[0][0].time == 17.5


def test_a_header_gives_order_and_time_and_a_later_one_changes_them():
    found, _, told = read(["net,Time,cpu,mem,Label", "3,0.5,1,2,0", "mem,net,cpu", "1,2,3"])
    assert found[0] is found[2] is None and not told
    assert found[1].values.tolist() == [1, 2, 3] and found[1].time == 0.5
    assert found[3].values.tolist() == [3, 1, 2] and found[3].time is None
    assert read(["cpu,mem,net,at", "1,2,3,99"], time="AT")[0][1].time == 99


def test_a_first_column_without_a_channels_name_is_time_if_it_holds_dates():
    (_, row), _, _ = read(["when,cpu,mem,net", "2024-01-01 00:00,1,2,3"])
    assert row.time == 1704067200 and row.values.tolist() == [1, 2, 3]
    (_, row), made, _ = read(["id,cpu,mem,net", "17,1,2,3"])
    assert row.time is None and made.counts == {"times not understood": 1}


def test_new_and_lost_columns_are_counted_and_told_when_they_change():
    found, made, told = read(["cpu,disk,net", "1,9,3", "cpu,disk,net", "4,9,6"])
    assert same(found[1], [1, nan, 3]) and same(found[3], [4, nan, 6])
    assert made.counts == {"new columns": 1, "lost columns": 1} and len(told) == 2
    full = '{"cpu": 1, "mem": 2, "net": 3}'
    found, made, told = read([full, '{"cpu": 1, "new": 2, "net": 3}', full, '{"cpu": 1, "mem": 2}'])
    assert same(found[1], [1, nan, 3]) and found[2].values.tolist() == [1, 2, 3]
    assert made.counts == {"new columns": 1, "lost columns": 2}
    _, made, told = read([f'{{"cpu": 1, "mem": 2, "net": 3, "n{n}": 4}}' for n in range(100)])
    assert made.counts == {"new columns": 100} and len(told) == 20  # not for ever


def test_a_model_without_names_takes_those_of_any_header_in_order():
    options = {"names": ("channel 1", "channel 2"), "named": False}
    assert values(["a,b", "1,2"], **options) == [1, 2]
    found = read(["when,a,b", "2024-01-01,1,2"], **options)[0]
    assert found[1].values.tolist() == [1, 2] and found[1].time == 1704067200


def test_lines_that_are_no_rows_say_why():
    for line, reason in (
        ("1,2", "wrong number of cells"),
        ("exporter 1.2, ready", "wrong number of cells"),  # a greeting is no header
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"1" * (LONGEST + 1), "line too long"),
    ):
        found, _, _ = read([line, "1,2,3"])
        assert found[0] == reason and found[1].values.tolist() == [1, 2, 3]
    assert read(["cpu,mem,net", "1,2"])[0][1] == "wrong number of cells"
    found, _, _ = read([b"\xef\xbb\xbfcpu,mem,net\r", b"", b"  \r", b"\xff\xfe\x00,2,3\r"])
    assert found[:3] == [None] * 3 and same(found[3], [nan, 2, 3])


def test_cells_and_json_values_of_all_kinds():
    (row,), made, _ = read(["1e400,true,0x10"])
    assert same(row, [math.inf, 1, nan]) and made.counts == {"cells of text": 1}
    assert values([' "1" , -inf,"FALSE"']) == [1, -math.inf, 0]
    found, _, _ = read(['{"net": 3, "cpu": 1, "TIME": "2024-01-01", "mem": 2}', "[5, 1, 2, 3]"])
    assert found[0].time == 1704067200 and found[0].written == "2024-01-01"
    assert read(["[5, 1, 2, 3]"])[0][0].time == 5
    assert found[0].values.tolist() == found[1].values.tolist() == [1, 2, 3]
    (row,), made, _ = read(['{"cpu": null, "mem": true, "net": "7"}'])
    assert same(row, [nan, 1, 7]) and not made.counts
    (row,), made, _ = read(['{"cpu": [1], "mem": NaN, "net": "x"}'])
    assert same(row, [nan, nan, nan]) and made.counts == {"cells of text": 2}
    assert values([f'{{"cpu": {"9" * 400}, "mem": -{"9" * 400}, "net": Infinity}}'])[1] == -math.inf


def test_a_cell_as_a_moment():
    for cell, expected in (
        ("2024-01-01T01:00:00+01:00", (1704067200, True)),
        ("2024-01-01", (1704067200, True)),
        (" 12.5 ", (12.5, False)),
        ("01/02/2024", None),  # reads in two ways
        ("nan", None),
        (math.inf, None),
        (None, None),
        ([1], None),
    ):
        assert moment(cell) == expected
    assert moment("02/01/1970", "%d/%m/%Y") == (86400, True)
    found, made, _ = read(["2024-01-01,1,2,3", "17,1,2,3", "noon,1,2,3"])
    assert [row.time for row in found] == [1704067200, None, None]
    assert made.counts == {"times not understood": 2} and found[2].written == "noon"


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
objects = st.dictionaries(st.sampled_from([*NAMES, "time", "x"]), json_values).map(json.dumps)


@given(st.lists(st.binary(max_size=60) | st.text(max_size=40) | objects, max_size=12))
def test_any_line_is_a_row_or_a_reason(lines):
    for row in read([line.encode() if isinstance(line, str) else line for line in lines])[0]:
        assert row is None or isinstance(row, str) or row.values.shape == (3,)
        assert row is None or isinstance(row, str) or row.time is None or math.isfinite(row.time)


# --- times ---

NEXT, LATE, SEEN = (Order.NEXT, 0), (Order.LATE, 0), (Order.SEEN, 0)


def orders(times, step=60.0):
    clock = Clock(step)
    return [clock.look(time) for time in times]


def test_rows_in_step_bridges_and_gaps():
    assert orders([0, 60, 120, 145, 229, 300]) == [NEXT] * 6  # a little early or late
    assert orders([0, 240])[-1] == (Order.BRIDGED, 3)
    assert orders([0, 300, 360]) == [NEXT, (Order.GAP, 4), NEXT]
    assert orders([0, 1, 1000, 5], step=None) == [NEXT, NEXT, NEXT, LATE]


def test_repeated_and_late_rows_and_a_clock_set_back():
    repeated = (Order.REPEATED, 0)
    assert orders([0, 60, 60, 60, 30, 120])[2:] == [repeated, repeated, LATE, NEXT]
    times = [3600, 3660, *range(0, 420, 60)]
    assert orders(times)[2:] == [*[LATE] * 4, (Order.SET_BACK, 0), NEXT, NEXT]
    assert orders([3600, 300, 240, 180, 120, 60, 0])[1:] == [LATE] * 6  # in no order
    assert orders([3600, *[60] * 6])[1:] == [LATE] * 6
    found = [order for order, _ in orders([0, 60, 1e9, *range(120, 600, 60)])]
    assert found[2:8] == [Order.GAP, *[Order.LATE] * 4, Order.SET_BACK]
    assert set(found[8:]) == {Order.NEXT}


def test_rows_that_came_without_a_time_are_not_missing():
    for blank in range(1, 8):
        times = [0, 60, *[None] * blank, 60 * (2 + blank), 60 * (3 + blank)]
        assert orders(times) == [NEXT] * (4 + blank)
    assert orders([0, None, 60 * 9])[-1] == (Order.GAP, 7)
    assert orders([0, None, 60 * 2, 60 * 4])[-1] == (Order.BRIDGED, 1)  # counted once


def test_after_a_restart_times_already_seen_are_left_out_until_one_is_new():
    clock = Clock(60.0)
    for time in range(600, 1260, 60):
        clock.look(time)
    clock.resumed = True
    assert [clock.look(time) for time in (600, 900, None, 1200, 1140)] == [SEEN] * 5
    assert [clock.look(time) for time in (1260, 1200, None)] == [NEXT, LATE, NEXT]
    clock.resumed = True
    assert clock.look(None) == NEXT  # nothing says that it was seen
    clock.look(1260)
    assert [clock.look(None)[0] for _ in range(6)] == [*[Order.SEEN] * 5, Order.NEXT]
    found = [clock.look(time)[0] for time in range(0, 360, 60)]
    assert found == [*[Order.LATE] * 4, Order.SET_BACK, Order.NEXT]


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_any_times_have_an_order(times):
    assert all(missing >= 0 for _, missing in orders(times))
