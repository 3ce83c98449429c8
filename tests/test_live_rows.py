"""Lines as rows, whatever they look like."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmoe.live import cells
from lmmoe.live.rows import LONGEST, Reader, Skipped

NAMES = ("cpu", "mem", "net")
nan = math.nan


class Told(list):
    """Collects sentences."""

    def __call__(self, text):
        self.append(text)


def reader(names=NAMES, **options):
    return Reader(names, tell=Told(), **options)


def read(lines, **options):
    """Rows, None or the reason for skipping, of each line; and the reader."""
    made, found = reader(**options), []
    for line in lines:
        try:
            found.append(made.read(line if isinstance(line, bytes) else line.encode()))
        except Skipped as skipped:
            found.append(skipped.reason)
    return found, made


def values(row):
    return row.values.tolist()


def same(row, expected):
    return np.array_equal(row.values, expected, equal_nan=True)


# --- CSV ---


def test_without_a_header_cells_stand_in_the_models_order():
    (row,), _ = read(["1,2.5,-3e2"])
    assert values(row) == [1, 2.5, -300] and row.time is None and row.written is None


def test_one_cell_more_is_the_time_before_them():
    (first, second), made = read(["2024-01-01T00:00:00,1,2,3", "2024-01-01T00:01:00Z,1,2,3"])
    assert values(first) == [1, 2, 3] and first.written == "2024-01-01T00:00:00"
    assert second.time - first.time == 60 and made.dates is True
    (row,), _ = read(["17.5,1,2,3"])
    assert row.time == 17.5


def test_a_header_gives_the_order_and_the_time():
    found, made = read(["net,Time,cpu,mem", "3,0.5,1,2"])
    assert found[0] is None and values(found[1]) == [1, 2, 3] and found[1].time == 0.5
    assert made.tell == []


def test_a_first_column_without_a_channels_name_is_time_if_it_holds_dates():
    (_, row), _ = read(["when,cpu,mem,net", "2024-01-01 00:00,1,2,3"])
    assert row.time == 1704067200 and values(row) == [1, 2, 3]
    (_, row), made = read(["id,cpu,mem,net", "17,1,2,3"])
    assert row.time is None and made.counts["times not understood"] == 1


def test_the_time_column_may_be_named():
    (_, row), _ = read(["cpu,mem,net,at", "1,2,3,99"], time="AT")
    assert row.time == 99


def test_labels_are_left_out_without_a_word():
    (_, row), made = read(["cpu,mem,net,Label", "1,2,3,1"])
    assert values(row) == [1, 2, 3] and not made.tell and not made.counts


def test_new_and_lost_columns_are_told_once():
    found, made = read(["cpu,disk,net", "1,9,3", "cpu,disk,net", "4,9,6"])
    assert same(found[1], [1, nan, 3]) and same(found[3], [4, nan, 6])
    assert made.counts == {"new columns": 1, "lost columns": 1}
    assert made.tell == [
        "new column: 'disk' (left out)",
        "lost column: 'mem' (its last values stand in)",
    ]


def test_a_later_header_changes_the_order():
    found, _ = read(["cpu,mem,net", "1,2,3", "net,mem,cpu", "1,2,3"])
    assert values(found[1]) == [1, 2, 3] and values(found[3]) == [3, 2, 1]


def test_a_row_of_text_is_no_header_unless_it_names_a_channel():
    found, made = read(["1,2,3", "a,b,c", "n/a,,NaN"])
    assert same(found[1], [nan, nan, nan]) and same(found[2], [nan, nan, nan])
    assert made.counts == {"cells of text": 3}


def test_a_first_row_of_gaps_or_with_a_date_is_data():
    (row,), _ = read(["NaN,,null"])
    assert same(row, [nan, nan, nan])
    (row,), _ = read(["2024-01-01,,NaN,null"])
    assert row.written == "2024-01-01"


def test_a_model_without_names_takes_columns_in_order():
    names = ("channel 1", "channel 2", "channel 3")
    for header, line in (("a,b,c", "1,2,3"), ("time,a,b,c", "0,1,2,3"), ("t,a,b,c", "0,1,2,3")):
        (_, row), made = read([header, line], names=names, named=False)
        assert values(row) == [1, 2, 3] and not made.tell, header


@pytest.mark.parametrize("line", ["1,2", "1,2,3,4,5", "1", '"1,2,3"', "1;2;3"])
def test_other_numbers_of_cells_are_no_row(line):
    assert read([line, "1,2,3"])[0][0] == "wrong number of cells"
    assert read(["cpu,mem,net", "1,2"])[0][1] == "wrong number of cells"


def test_a_greeting_before_the_rows_is_no_header():
    found, _ = read(["exporter 1.2, ready", "1,2,3"])
    assert found[0] == "wrong number of cells" and values(found[1]) == [1, 2, 3]
    (first, row), made = read(["hello", "5"], names=("cpu",))
    assert same(first, [nan]) and values(row) == [5] and made.header is None


def test_a_header_of_strangers_loses_all_channels():
    found, made = read(["time,a,b,c", "0,1,2,3"])
    assert same(found[1], [nan, nan, nan])
    assert made.counts == {"new columns": 3, "lost columns": 3}


def test_cells_of_all_kinds():
    (row,), made = read(["1e400,true,0x10"])
    assert same(row, [math.inf, 1, nan]) and made.counts == {"cells of text": 1}
    (row,), _ = read([' "1" , -inf,"FALSE"'])
    assert same(row, [1, -math.inf, 0])


def test_blank_lines_and_marks_of_byte_order_are_passed_over():
    found, _ = read([b"\xef\xbb\xbfcpu,mem,net\r", b"", b"  \r", b"1,2,3\r"])
    assert found[:3] == [None] * 3 and values(found[3]) == [1, 2, 3]


def test_bytes_that_are_no_text_do_no_harm():
    found, _ = read([b"\xff\xfe\x00,2,3", b"1,2,3"])
    assert values(found[1]) == [1, 2, 3]


# --- JSON ---


def test_json_rows_go_by_name_or_in_order():
    found, _ = read(['{"net": 3, "cpu": 1, "TIME": "2024-01-01", "mem": 2}', "[1, 2, 3]"])
    assert values(found[0]) == values(found[1]) == [1, 2, 3]
    assert found[0].time == 1704067200 and found[0].written == "2024-01-01"
    (row,), _ = read(["[5, 1, 2, 3]"])
    assert row.time == 5 and row.written == 5


def test_json_values_of_all_kinds():
    (row,), made = read(['{"cpu": null, "mem": true, "net": "7"}'])
    assert same(row, [nan, 1, 7]) and not made.counts
    (row,), made = read(['{"cpu": [1], "mem": NaN, "net": "x"}'])
    assert same(row, [nan, nan, nan]) and made.counts == {"cells of text": 2}
    (row,), _ = read([f'{{"cpu": {"9" * 400}, "mem": -{"9" * 400}, "net": Infinity}}'])
    assert same(row, [math.inf, -math.inf, math.inf])


def test_json_keys_come_and_go():
    full = '{"cpu": 1, "mem": 2, "net": 3}'
    found, made = read([full, '{"cpu": 1, "new": 2, "net": 3}', full, '{"cpu": 1, "mem": 2}'])
    assert same(found[1], [1, nan, 3]) and values(found[2]) == [1, 2, 3]
    assert made.counts == {"new columns": 1, "lost columns": 2}
    assert len(made.tell) == 3


def test_ever_new_keys_are_not_told_for_ever():
    _, made = read([f'{{"cpu": 1, "mem": 2, "net": 3, "n{n}": 4}}' for n in range(100)])
    assert made.counts == {"new columns": 100} and len(made.tell) == 20


@pytest.mark.parametrize("line", ["{", "[1, 2", "{1}", "[" * 100_000, '{"a": ' * 50_000])
def test_what_is_not_json_is_no_row(line):
    assert read([line])[0] == ["not JSON"]


def test_a_line_may_be_too_long():
    assert read([b"1" * (LONGEST + 1)])[0] == ["line too long"]


# --- times ---


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-01-01T00:00:00", (1704067200, True)),
        ("2024-01-01T01:00:00+01:00", (1704067200, True)),
        ("2024-01-01", (1704067200, True)),
        (" 12.5 ", (12.5, False)),
        (12, (12, False)),
        ("01/02/2024", None),
        ("nan", None),
        (math.inf, None),
        ("", None),
        (None, None),
        ([1], None),
        ("0001-01-01T00:00:00+23:59", "any"),
    ],
)
def test_moments(cell, expected):
    found = cells.moment(cell)
    assert found == expected or expected == "any"


def test_times_of_another_kind_than_the_first_are_not_understood():
    found, made = read(["2024-01-01,1,2,3", "17,1,2,3", "noon,1,2,3"])
    assert [row.time for row in found] == [1704067200, None, None]
    assert made.counts == {"times not understood": 2} and found[2].written == "noon"


# --- anything ---


@given(st.lists(st.binary(max_size=60) | st.text(max_size=40).map(str.encode), max_size=12))
def test_any_bytes_are_a_row_or_a_reason(lines):
    found, _ = read(lines)
    for row in found:
        assert row is None or isinstance(row, str) or row.values.shape == (3,)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from([*NAMES, "time", "x"]), json_values), max_size=6))
def test_any_json_is_a_row_or_a_reason(rows):
    found, _ = read([json.dumps(row) for row in rows])
    for row in found:
        assert isinstance(row, str) or row.values.shape == (3,)
        assert isinstance(row, str) or row.time is None or math.isfinite(row.time)
