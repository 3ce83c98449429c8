"""What a watch tells at once, of times that cannot be followed above all."""

import math

import numpy as np
import pytest
from test_live_watch import INCIDENT, fed, watch
from watched import TEST, csv, jsonl, model, stamp

from lmmoe.errors import DataError
from lmmoe.live.scorers import Judged


def test_each_kind_of_mended_cell_is_told_once_when_it_comes():
    lines = csv(TEST)
    for number, cell in ((30, b"oops"), (31, b"oops"), (33, b"inf"), (34, b"inf"), (36, b"1e300")):
        cells = lines[number].split(b",")
        lines[number] = b",".join([*cells[:2], cell, *cells[3:]])
    lines[40] = b"noon" + lines[40][lines[40].index(b",") :]
    lines[50] = b",".join([lines[50].split(b",")[0], b"", b"", b"", b"1"])
    made, _, told = fed(lines, threshold=1e30)
    assert [text.partition(";")[0] for text in told] == [
        "row 29: text in a cell, taken as missing",
        "row 29: a cell without a value, for which the channel's last one stands in",
        "row 32: an infinite value, taken as missing",
        "row 35: a value too far from the mean, cut",
        "row 39: a time that cannot be read, 'noon'",
        "row 49 has no score: too few values",
    ]
    assert all(text.endswith("; more of these are only counted") for text in told)
    assert made.mended["cells of text"] == 2 and made.events == {}


def test_a_score_that_is_no_number_is_told(monkeypatch):
    made, told = watch(model("MTSExample"), threshold=1.0)
    nan = Judged(np.array([math.nan]), None, None)
    monkeypatch.setattr(made.stream.scorer, "judge", lambda *given: nan)
    for line in csv(TEST[:3]):
        made.feed(line)
    assert told == ["row 0 has no score: not a number; more of these are only counted"]


def test_the_training_rows_time_column_is_remembered():
    lines = [line.replace(b"time,", b"at,") for line in csv(INCIDENT)]
    made, alarms, told = fed(
        [line for n, line in enumerate(lines) if not 50 < n < 80], made=model(facts={"time": "at"})
    )
    assert alarms[0]["time"] == stamp(100) and made.events == {"gap": 1}
    assert not any("column" in text for text in told)


def test_dates_are_read_as_the_training_rows_were():
    def written(line):
        date, comma, rest = line.decode().partition(",")
        return f"{date[8:10]}/{date[5:7]}/{date[:4]} {date[11:]}{comma}{rest}".encode()

    lines = csv(INCIDENT)
    lines = [lines[0], *map(written, lines[1:])]
    made, alarms, told = fed(lines, made=model(facts={"pattern": "%d/%m/%Y %H:%M:%S"}))
    assert alarms[0]["time"] == "01/01/2024 01:40:00" and len(told) == 1
    assert made.clock.latest == made.clock.first + 199 * 60


@pytest.mark.parametrize("form", [csv, jsonl])
def test_a_time_column_that_is_not_there_is_told_once(form):
    made, alarms, told = fed(form(INCIDENT), time="nosuch")
    assert told[0].startswith("no column 'nosuch' for the times: ")
    assert alarms[0]["time"] is None and made.clock.latest is None
    assert sum("nosuch" in text for text in told) == 1
    assert told[2] == "none of the first 10 rows has a time that can be read: no gap is seen"


def test_another_kind_of_times_is_told():
    lines = [
        f"{60 * n},".encode() + b",".join(line.split(b",")[1:])
        for n, line in enumerate(csv(TEST, header=False))
    ]
    _, _, told = fed(lines)
    assert len(told) == 1
    assert told[0].startswith("times are numbers, those of the training rows were dates: gaps are")
    assert fed(lines, step=60.0)[2] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": math.nan}, "step=nan: a number above 0"),
        ({"step": 0.0}, "step=0.0: a number above 0"),
        ({"step": -60.0}, "step=-60.0: a number above 0"),
        ({"top": 0}, "top=0: a whole number from 1 on"),
        ({"rows_per_day": 0.0}, "rows_per_day=0.0: a number above 0"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        watch(**options)
