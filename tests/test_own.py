"""Somebody's own folder: every layout and option."""

import gzip
import lzma

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import (
    HEADER,
    LABELS,
    TEST,
    TEST_TEXT,
    TRAIN,
    TRAIN_TEXT,
    arrays,
    fails,
    load_own,
    read_one,
    save,
    text_a,
    text_b,
    text_c,
    write,
)

from lmmoe import data

LABELLED = "cpu,net,Label\n7,8,0\n9,1,1\n2,3,1\n4,5,0\n"


@pytest.mark.parametrize(
    ("build", "options", "file_count"),
    [(text_a, {"train_share": 3 / 7}, 1), (text_b, {}, 2), (text_c, {}, 2), (arrays, {}, 2)],
)
def test_layouts(tmp_path, build, options, file_count):
    folder = tmp_path / "plant"
    build(folder)
    write(folder / "readme.txt", "not data")
    write(folder / ".hidden.csv", "not data")
    write(folder / ".ipynb_checkpoints" / "train.csv", "not data")
    assert data.entities(str(folder)) == ["pump"]
    assert len(data.files(str(folder), "pump")) == file_count
    series = load_own(folder, **options)
    assert (series.dataset, series.entity) == ("plant", "pump")
    assert series.train.tolist() == TRAIN and series.test.tolist() == TEST
    assert series.labels is None and series.rows_per_day is None and series.notes == ()
    names = ("channel 1", "channel 2") if build is arrays else ("cpu", "net")
    assert series.channels == names


def test_several_layouts_in_one_folder(tmp_path):
    text_b(tmp_path)
    write(tmp_path / "fan.2.csv", HEADER + TRAIN_TEXT)
    save(tmp_path / "omi-1" / "train.npy", TRAIN)
    save(tmp_path / "omi-1" / "test.npy", TEST)
    assert data.entities(str(tmp_path)) == ["fan.2", "omi-1", "pump"]
    assert load_own(tmp_path, "fan.2").train.tolist() == [[1, 2]]
    with fails("no entity 'x'", "Present: fan.2, omi-1, pump"):
        load_own(tmp_path, "x")


@pytest.mark.parametrize("build", [text_c, arrays])
def test_a_folder_that_is_an_entity_itself(tmp_path, build):
    build(tmp_path)
    assert data.entities(str(tmp_path / "pump")) == ["pump"]
    assert load_own(tmp_path / "pump").test.tolist() == TEST


@pytest.mark.parametrize("opener", [gzip.open, lzma.open])
def test_compressed(tmp_path, opener):
    suffix = {gzip.open: "gz", lzma.open: "xz"}[opener]
    with opener(tmp_path / f"pump.csv.{suffix}", "wt") as file:
        file.write(HEADER + TEST_TEXT)
    assert load_own(tmp_path).test.tolist() == TEST[2:]


@pytest.mark.parametrize("index", ["times", "numbers", "none"])
def test_parquet(tmp_path, index):
    frame = pd.DataFrame([*TEST, *TEST], columns=["cpu", "net"])
    frame["attack"] = [False, False, True, False] * 2
    if index == "times":
        frame.index = pd.date_range("2024-01-01", periods=8, freq="15min", tz="Europe/Berlin")
    if index == "numbers":
        frame.index = range(10, 18)  # left over from an earlier selection
    frame.to_parquet(tmp_path / "pump.parquet")
    series = load_own(tmp_path)
    assert series.test.tolist() == TEST and series.labels.tolist() == [0, 0, 1, 0]
    assert series.channels == ("cpu", "net")
    assert series.rows_per_day == (96 if index == "times" else None)


@pytest.mark.parametrize("name", ["label", "Labels", "ANOMALY", "is_anomaly", " attack "])
@pytest.mark.parametrize("words", [("0", "1"), ("0.0", "1.0"), ("False", "True"), ('"0"', " TRUE")])
def test_label_columns(tmp_path, name, words):
    rows = zip(TEST, LABELS, strict=True)
    body = "".join(f"{a},{words[bit]},{b}\n" for (a, b), bit in rows)
    series = read_one(tmp_path, f"cpu,{name},net\n{body}")
    assert series.train.tolist() == TEST[:2] and series.labels.tolist() == LABELS[2:]
    assert series.channels == ("cpu", "net")
    marked = "1 of 2 training rows are marked as anomalies, all kept"
    assert series.notes == (f"pump.csv: {marked}",)


def test_named_columns(tmp_path):
    text = "state,when,label,cpu\n0,1,5,1\n1,2,6,2\n0,3,7,3\n1,4,8,4\n"
    series = read_one(tmp_path, text, time="when", label="state")
    assert series.channels == ("label", "cpu") and series.labels.tolist() == [0, 1]
    assert "pump.csv: column 'label' could be labels too, and is kept as a channel" in series.notes
    with fails("pump.csv: no column 'nosuch' (time)", "Columns: state, when, label, cpu"):
        load_own(tmp_path, time="nosuch")
    with fails("pump.csv: no column 'nosuch' (label)"):
        load_own(tmp_path, label="nosuch")
    # Without a header the columns go by their numbers.
    series = read_one(tmp_path, "1,0,10\n2,1,20\n", time="0", label="1")
    assert series.test.tolist() == [[20]] and series.labels.tolist() == [1]


def test_label_files(tmp_path):
    text_b(tmp_path)
    for text in (
        "0\n1\n1\n0\n",
        "is it?\n0\n1\n1\n0\n",
        "time,other,label\n1,9,0\n2,9,1\n3,9,1\n4,9,0\n",
    ):
        write(tmp_path / "pump_test_label.csv", text)
        assert load_own(tmp_path).labels.tolist() == LABELS
    assert load_own(tmp_path, label="label").labels.tolist() == LABELS
    write(tmp_path / "pump_train_label.csv", "0\n1\n0\n")
    assert load_own(tmp_path).notes == (
        "pump_train.csv: 1 of 3 training rows are marked as anomalies, all kept",
    )
    write(tmp_path / "pump_train_label.csv", "0\n1\n")
    with fails("pump_train.csv: 2 labels for 3 training rows"):
        load_own(tmp_path)


def test_labels_in_the_test_half(tmp_path):
    text_c(tmp_path)
    write(tmp_path / "pump" / "test.csv", LABELLED)
    series = load_own(tmp_path)
    assert series.labels.tolist() == LABELS and series.notes == ()
    assert load_own(tmp_path, label="Label").labels.tolist() == LABELS
    write(tmp_path / "pump" / "test_label.csv", "0\n1\n1\n0\n")
    with fails("test.csv: labels are here and in test_label.csv"):
        load_own(tmp_path)


def test_arrays_with_labels_gaps_and_one_channel(tmp_path):
    arrays(tmp_path)
    save(tmp_path / "pump" / "train.npy", [1.0, np.nan, 3.0])
    save(tmp_path / "pump" / "test.npy", [4.0, 5.0])
    save(tmp_path / "pump" / "test_label.npy", [[False], [True]])
    save(tmp_path / "pump" / "train_label.npy", [0, 1, 1])
    with fails("train.npy, row 1, column 0: nan is not a finite number", "missing='fill'"):
        load_own(tmp_path)
    series = load_own(tmp_path, missing="fill")
    assert series.train.tolist() == [[1], [1], [3]] and series.labels.tolist() == [0, 1]
    assert series.notes == (
        "train.npy: 1 missing cells filled with the last value",
        "train_label.npy: 2 of 3 training rows are marked as anomalies, all kept",
    )
    with fails("train.npy: an array has no named columns"):
        load_own(tmp_path, label="label")
    save(tmp_path / "pump" / "test_label.npy", [0, 1, 0])
    with fails("test_label.npy: labels of shape (3,) for 2 test rows"):
        load_own(tmp_path, missing="fill")


@pytest.mark.parametrize(
    ("times", "per_day"),
    [
        (["2024-01-31 23:58", "2024-01-31 23:59", "2024-02-01 00:00:00", "2024-02-01"], None),
        (["2024-01-31", "2024-01-31 00:05", "2024-01-31T00:10:00", "2024-01-31 00:15"], 288),
        (["31/12/2015 11:59:59 PM", "01/01/2016 0:00:00", "x", "y"], None),
        (["30/12/2015 10:00", "30/12/2015 11:00", "31/12/2015 10:00", "31/12/2015 11:00"], 24),
        (["12/30/2015", "12/31/2015", "01/01/2016", "01/02/2016"], 1),
        (["28.10.2024 00:00", "28.10.2024 06:00", "28.10.2024 12:00", "28.10.2024 18:00"], 4),
        ([1700000000, 1700000060, 1700000120, 1700000180], 1440),
        ([1700000000000, 1700000060000, 1700000120000, 1700000180000], 1440),
        ([1700000000.5, 1700000001, 1700000001.5, 1700000002], 172_800),
        (range(1700000000000000000, 1700000000000000004), 8.64e13),
    ],
)  # fmt: skip
def test_times(tmp_path, times, per_day):
    text = "Timestamp,cpu\n" + "".join(f"{time},{n}\n" for n, time in enumerate(times))
    if per_day is None:
        with fails("pump.csv, row", "column 'Timestamp'"):
            read_one(tmp_path, text)
        return
    series = read_one(tmp_path, text)
    assert series.rows_per_day == pytest.approx(per_day)
    assert series.channels == ("cpu",) and series.notes == ()


def test_median_step_and_unknown_unit(tmp_path):
    series = read_one(
        tmp_path,
        "date,cpu\n2024-01-01 00:00,1\n2024-01-01 00:10,2\n2024-01-01 00:20,3\n2024-01-05,4\n",
    )
    assert series.rows_per_day == 144
    series = read_one(tmp_path, "time,cpu\n0,1\n1,2\n2,3\n")
    assert series.rows_per_day is None
    assert series.notes == ("pump.csv: times are numbers of an unknown unit: no figures per day",)


@pytest.mark.parametrize(
    "first", ["2024-01-01 00:00,1,2", "1,2,3", "1,,3", "NA,true,3", "-1e3,nan,0"]
)
def test_no_header(tmp_path, first):
    lines = [first.replace("00:00", f"00:0{row}") for row in range(4)]
    series = read_one(tmp_path, "\n".join(lines), missing="fill")
    assert len(series.train) == len(series.test) == 2
    assert series.channels[0] == "channel 1"


@pytest.mark.parametrize("first", ["a,b", "1,b", ",x", "cpu 1,cpu 2", ",0"])
def test_header(tmp_path, first):
    series = read_one(tmp_path, f"{first}\n5,6\n7,8\n")
    assert series.train.tolist()[0][-1] == 6 and len(series.test) == 1


def test_row_numbers_of_pandas_are_no_channel(tmp_path):
    pd.DataFrame([*TEST, *TEST]).to_csv(tmp_path / "pump.csv")
    series = load_own(tmp_path)
    assert series.train.tolist() == series.test.tolist() == TEST
    assert series.notes == ("pump.csv: the first column has no name and counts the rows: dropped",)


def test_blank_line_in_one_column_is_a_missing_cell(tmp_path):
    with fails("pump.csv, row 1, column 'cpu': the cell is missing"):
        read_one(tmp_path, "cpu\n1\n\n3\n4\n")
    assert load_own(tmp_path, missing="fill").train.tolist() == [[1], [1]]
    assert read_one(tmp_path, "cpu,net\n1,2\n\n3,4\n\n").test.tolist() == [[3, 4]]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 400), st.integers(1, 99))
def test_train_share_cuts_exactly(tmp_path_factory, rows, percent):
    folder = tmp_path_factory.mktemp("share")
    text = "".join(f"{row}\n" for row in range(rows))
    cut = rows * percent // 100
    if cut == 0:
        with fails("pump.csv: a train_share of", f"leaves a half of the {rows} rows empty"):
            read_one(folder, text, train_share=percent / 100)
        return
    series = read_one(folder, text, train_share=percent / 100)
    assert series.train[:, 0].tolist() == list(range(cut))
    assert series.test[:, 0].tolist() == list(range(cut, rows))


def test_missing_cells(tmp_path):
    text = "cpu,net,gone\n1,,\n,4,\n5,6,\n,8,\n7,,\n9,1,\n"
    with fails(
        "pump.csv, row 0, column 'net': the cell is missing (10 such cells)", "missing='fill'"
    ):
        read_one(tmp_path, text)
    series = load_own(tmp_path, missing="fill")
    # Each half by itself: no value of the test half may reach the training half, or the reverse.
    assert series.train.tolist() == [[1, 4, 0], [1, 4, 0], [5, 6, 0]]
    assert series.test.tolist() == [[7, 8, 0], [7, 8, 0], [9, 1, 0]]
    assert series.notes == (
        "pump.csv, training half: 5 missing cells filled with the last value",
        "pump.csv, test half: 5 missing cells filled with the last value",
    )
