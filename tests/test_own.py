"""Somebody's own folder: every layout and option, and every way in which it can be wrong."""

import gzip
import lzma

import numpy as np
import pandas as pd
import pytest
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

MARKED = "1 of 2 training rows are marked as anomalies, all kept"


# --- layouts ---


def test_layouts(tmp_path):
    for build, options, file_count in (
        (text_a, {"train_share": 3 / 7}, 1),
        (text_b, {}, 2),
        (text_c, {}, 2),
        (arrays, {}, 2),
    ):
        folder = tmp_path / build.__name__
        build(folder)
        for other in ("readme.txt", ".hidden.csv", ".ipynb_checkpoints/train.csv"):
            write(folder / other, "not data")
        assert data.entities(str(folder)) == ["pump"]
        assert len(data.files(str(folder), "pump")) == file_count
        series = load_own(folder, **options)
        assert (series.dataset, series.entity) == (build.__name__, "pump")
        assert series.train.tolist() == TRAIN and series.test.tolist() == TEST
        assert series.labels is None and series.rows_per_day is None and series.notes == ()
        names = ("channel 1", "channel 2") if build is arrays else ("cpu", "net")
        assert series.channels == names


def test_several_layouts_in_one_folder_and_a_folder_that_is_an_entity(tmp_path):
    text_b(tmp_path)
    write(tmp_path / "fan.2.csv", HEADER + TRAIN_TEXT)
    save(tmp_path / "omi-1" / "train.npy", TRAIN)
    save(tmp_path / "omi-1" / "test.npy", TEST)
    assert data.entities(str(tmp_path)) == ["fan.2", "omi-1", "pump"]
    assert load_own(tmp_path, "fan.2").train.tolist() == [[1, 2]]
    with fails("no entity 'x'", "Present: fan.2, omi-1, pump"):
        load_own(tmp_path, "x")
    assert data.entities(str(tmp_path / "omi-1")) == ["omi-1"]
    assert load_own(tmp_path / "omi-1", "omi-1").test.tolist() == TEST


def test_files_that_make_no_entity(tmp_path):
    for number, (files, message) in enumerate(
        (
            (["a.csv", "a.parquet"], "entity 'a' is there twice, a.csv and a.parquet"),
            (["a.csv", "a_train.csv"], "entity 'a' is there twice, a.csv and a_train.csv"),
            (["a/train.csv", "a_train.csv"], "'a' is there twice, a/train.csv and a_train.csv"),
            (["a_train.csv"], "a_train.csv: there is no test half beside it. A file that is a"),
            (["a/test_label.npy"], "test_label.npy: there is no train half beside it"),
        )
    ):
        for file in files:
            write(tmp_path / str(number) / file, "1,2\n")
        with fails(message):
            data.entities(str(tmp_path / str(number)))
    save(tmp_path / "alone.npy", TRAIN)
    with fails(f"no entity 'pump' of '{tmp_path}' here", "lmmoe.data.own"):
        load_own(tmp_path)


def test_compressed_and_truncated(tmp_path):
    for suffix, module in (("gz", gzip), ("xz", lzma)):
        file = tmp_path / suffix / f"pump.csv.{suffix}"
        write(file, "")
        file.write_bytes(module.compress((HEADER + TEST_TEXT).encode()))
        assert load_own(file.parent).test.tolist() == TEST[2:]
        text = "".join(f"{number},{number / 7}\n" for number in range(2000)).encode()
        whole = module.compress(text)
        file.write_bytes(whole[: len(whole) // 2])
        with fails(f"pump.csv.{suffix}: cannot be read"):
            load_own(file.parent)


def test_parquet(tmp_path):
    path = tmp_path / "pump.parquet"
    frame = pd.DataFrame([*TEST, *TEST], columns=["cpu", "net"])
    frame["attack"] = [False, False, True, False] * 2
    times = pd.date_range("2024-01-01", periods=8, freq="15min", tz="Europe/Berlin")
    # Numbers are left over from an earlier selection.
    for index, per_day in ((times, 96), (range(10, 18), None), (range(8), None)):
        frame.set_index(pd.Index(index)).to_parquet(path)
        series = load_own(tmp_path)
        assert series.test.tolist() == TEST and series.labels.tolist() == [0, 0, 1, 0]
        assert series.channels == ("cpu", "net") and series.rows_per_day == per_day
    when = pd.to_datetime(["2024-01-01", "2024-01-02"])
    for columns, message in (
        ({"cpu": [1.0, 2.0], "when": when}, ", column 'when': holds times, not numbers"),
        ({"cpu": [[1], [2]]}, ", row 0, column 'cpu'"),
    ):
        pd.DataFrame(columns).to_parquet(path)
        with fails(f"pump.parquet{message}"):
            load_own(tmp_path)
    for damaged in (path.read_bytes()[:-20], b""):
        path.write_bytes(damaged)
        with fails("pump.parquet: not a readable Parquet file"):
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
    write(tmp_path / "pump" / "test_label.csv", "0\n1\n")
    (tmp_path / "pump" / "test_label.npy").unlink()
    with fails("test.npy: an array beside tables (test_label.csv"):
        load_own(tmp_path)


# --- labels ---


def test_label_columns(tmp_path):
    for name in ("label", "Labels", "ANOMALY", "is_anomaly", " attack "):
        for words in (("0", "1"), ("0.0", "1.0"), ("False", "True"), ('"0"', " TRUE")):
            rows = zip(TEST, LABELS, strict=True)
            body = "".join(f"{a},{words[bit]},{b}\n" for (a, b), bit in rows)
            series = read_one(tmp_path, f"cpu,{name},net\n{body}")
            assert series.train.tolist() == TEST[:2] and series.labels.tolist() == LABELS[2:]
            assert series.channels == ("cpu", "net")
            assert series.notes == (f"pump.csv: {MARKED}",)


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
    write(tmp_path / "pump" / "test.csv", "cpu,net,Label\n7,8,0\n9,1,1\n2,3,1\n4,5,0\n")
    series = load_own(tmp_path)
    assert series.labels.tolist() == LABELS and series.notes == ()
    assert load_own(tmp_path, label="Label").labels.tolist() == LABELS
    write(tmp_path / "pump" / "test_label.csv", "0\n1\n1\n0\n")
    with fails("test.csv: labels are here and in test_label.csv"):
        load_own(tmp_path)
    write(tmp_path / "pump" / "test.csv", "time,cpu,net\n1,7,8\n2,9,1\n3,2,3\n")
    write(tmp_path / "pump" / "test_label.csv", "time,label\n1,0\n3,1\n4,0\n")
    with fails("test_label.csv, row 1: the time is not that of the same row of test.csv"):
        load_own(tmp_path)


# --- times ---


def test_times(tmp_path):
    for times, per_day in (
        (["2024-01-31", "2024-01-31 00:05", "2024-01-31T00:10:00", "2024-01-31 00:15"], 288),
        (["30/12/2015 10:00", "30/12/2015 11:00", "31/12/2015 10:00", "31/12/2015 11:00"], 24),
        (["12/30/2015", "12/31/2015", "01/01/2016", "01/02/2016"], 1),
        (["28.10.2024 00:00", "28.10.2024 06:00", "28.10.2024 12:00", "28.10.2024 18:00"], 4),
        ([1700000000, 1700000060, 1700000120, 1700000180], 1440),
        ([1700000000000, 1700000060000, 1700000120000, 1700000180000], 1440),
        ([1700000000.5, 1700000001, 1700000001.5, 1700000002], 172_800),
        (range(1700000000000000000, 1700000000000000004), 8.64e13),
    ):  # fmt: skip
        text = "Timestamp,cpu\n" + "".join(f"{time},{n}\n" for n, time in enumerate(times))
        series = read_one(tmp_path, text)
        assert series.rows_per_day == pytest.approx(per_day)
        assert series.channels == ("cpu",) and series.notes == ()
    days = ("2024-01-01 00:00", "2024-01-01 00:10", "2024-01-01 00:20", "2024-01-05")
    series = read_one(tmp_path, "date,cpu\n" + "".join(f"{day},1\n" for day in days))
    assert series.rows_per_day == 144  # by the median step
    series = read_one(tmp_path, "time,cpu\n0,1\n1,2\n2,3\n")
    assert series.rows_per_day is None
    assert series.notes == ("pump.csv: times are numbers of an unknown unit: no figures per day",)


def test_bad_times(tmp_path):
    for cells, row, message in (
        (["01-01 00:01", "01-01 00:00"], 1, "2024-01-01 00:00 is earlier than that of row 0 (1 su"),
        (["01-01", "01-02", "01-02"], 2, "2024-01-02 repeats the time of row 1 (1 such"),
        (["01-01 00:00", "01-01 25:00"], 1, "'2024-01-01 25:00' is not a time (1 such cells)"),
        (["01-01", "noon", "dusk"], 1, "'2024-noon' is not a time (2 such cells)"),
    ):
        text = "when,cpu\n" + "".join(f"2024-{cell},1\n" for cell in cells)
        with fails(f"pump.csv, row {row}, column 'when': {message}"):
            read_one(tmp_path, text)
    with fails("pump.csv, row 1, column 'when': 'nan' is not a time"):
        read_one(tmp_path, "when,cpu\n2024-01-01,1\n,2\n")
    for last, problem in (("3", "is earlier"), ("4", "repeats"), ("inf", "'inf' is not a time")):
        with fails("pump.csv, row 1, column 'time'", problem):
            read_one(tmp_path, f"cpu,time\n1,4\n2,{last}\n")


# --- header, cells, options ---


def test_first_line(tmp_path):
    for first in ("2024-01-01 00:00,1,2", "1,2,3", "1,,3", "NA,true,3", "-1e3,nan,0"):
        lines = [first.replace("00:00", f"00:0{row}") for row in range(4)]
        series = read_one(tmp_path, "\n".join(lines), missing="fill")
        assert len(series.train) == len(series.test) == 2 and series.channels[0] == "channel 1"
    for first in ("a,b", "1,b", ",x", "cpu 1,cpu 2", ",0"):
        series = read_one(tmp_path, f"{first}\n5,6\n7,8\n")
        assert series.train.tolist()[0][-1] == 6 and len(series.test) == 1
    pd.DataFrame([*TEST, *TEST]).to_csv(tmp_path / "pump.csv")
    series = load_own(tmp_path)
    assert series.train.tolist() == series.test.tolist() == TEST
    assert series.notes == ("pump.csv: the first column has no name and counts the rows: dropped",)


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
    # In a single column a blank line is a missing cell.
    with fails("pump.csv, row 1, column 'cpu': the cell is missing"):
        read_one(tmp_path, "cpu\n1\n\n3\n4\n")
    assert load_own(tmp_path, missing="fill").train.tolist() == [[1], [1]]
    assert read_one(tmp_path, "cpu,net\n1,2\n\n3,4\n\n").test.tolist() == [[3, 4]]


def test_train_share(tmp_path):
    for rows, percent in ((2, 50), (7, 99), (100, 29), (100, 57), (399, 1), (400, 58)):
        text = "".join(f"{row}\n" for row in range(rows))
        cut = rows * percent // 100
        series = read_one(tmp_path, text, train_share=percent / 100)
        assert series.train[:, 0].tolist() == list(range(cut))
        assert series.test[:, 0].tolist() == list(range(cut, rows))
    with fails("pump.csv: a train_share of 0.001 leaves a half of the 400 rows empty"):
        load_own(tmp_path, train_share=0.001)
    for share in (0, 1, float("nan"), "0.5", None, True):
        with fails(f"train_share is {share!r}, not a number above 0 and below 1"):
            load_own(tmp_path, train_share=share)


def test_other_bad_options(tmp_path):
    text_b(tmp_path)
    with fails("missing is 'drop', neither 'error' nor 'fill'"):
        load_own(tmp_path, missing="drop")
    with fails("no option 'trainshare'", "Options: time, label, train_share, missing"):
        load_own(tmp_path, trainshare=0.5)
    with fails("pump_train.csv: train_share is for one file per entity"):
        load_own(tmp_path, train_share=0.7)


def test_one_bad_file(tmp_path):
    for text, *message in (
        ("", "pump.csv: the file is empty"),
        ("cpu,net\n", "pump.csv: no data rows"),
        ("cpu\n1\n", "pump.csv: a train_share of 0.5 leaves a half of the 1 rows empty"),
        ("time,label\n1,0\n2,1\n", "pump.csv: no channel beside the time and the labels"),
        ("cpu,net\n1,2\n3,off\n", "pump.csv, row 1, column 'net': 'off' is not a number (1 such"),
        ("1,2\n3,off\n", "pump.csv, row 1, column 1: 'off' is not a number"),
        ("cpu,net\n1,2\n3,4\n5,-inf\n", "pump.csv, row 2, column 'net': the cell is infinite"),
        ("1,inf\n3,4\n", "pump.csv, row 0, column 1: the cell is infinite (1 such cells)"),
        ("cpu,net\n1,2\n3,4,5\n", "pump.csv, row 1: rows of unequal length: 3 cells, the first"),
        ("cpu,net\n1,2,3\n3,4,5\n", "pump.csv, row 0: rows of unequal length: 3 cells"),
        ("cpu,net\n1,2\n3,4\n5", "pump.csv, row 2: rows of unequal length: 1", "truncated file"),
        ("cpu\n1\n2\n\nx\n", "pump.csv, row 3, column 'cpu': 'x' is not a number"),
        ("cpu,cpu\n1,2\n3,4\n", "pump.csv, column 'cpu': two columns of this name"),
        ("cpu,label\n1,0\n2,2\n", "pump.csv, row 1, column 'label': label 2 is neither 0 nor 1"),
        ("cpu,label\n1,2\n2,0\n", "pump.csv, row 0, column 'label': label 2 is neither 0 nor 1"),
        ("cpu,label\n1,0\n2,\n", "pump.csv, row 1, column 'label': the label is missing"),
        ("cpu,label\n1,0\n2,bad\n", "pump.csv, row 1, column 'label': label bad is neither"),
        ("label,attack,cpu\n0,0,1\n", "pump.csv: several columns could be the label: label, att"),
        ("date,time,cpu\n1,1,1\n", "pump.csv: several columns could be the time: date, time"),
        ("a;b\n1;2\n", "pump.csv: one column", "Separate the cells by commas"),
        ("a\tb\n1\t2\n", "pump.csv: one column", "Separate the cells by commas"),
    ):  # fmt: skip
        for missing in ("error", "fill"):
            with fails(*message):
                read_one(tmp_path, text, missing=missing)


def test_two_halves_that_do_not_fit(tmp_path):
    for file, text, message in (
        ("test", "cpu,disk\n1,2\n", "test.csv: other channels than the training half (lacking ['n"),
        ("test", "net,cpu\n1,2\n", "test.csv: the channels of the training half in another order"),
        ("test", "cpu,net,x\n1,2,3\n", "test.csv: other channels than the training half"),
        ("test", "1,2\n", "test.csv: no header line, but train.csv has one"),
        ("train", "1,2\n", "train.csv: no header line, but test.csv has one"),
        ("test", "cpu,net\n1,2\n,3\n", "test.csv, row 1, column 'cpu': the cell is missing"),
        ("train", "cpu,net\n1,2\n3,inf\n", "train.csv, row 1, column 'net': the cell is infinite"),
        ("test_label", "0\n1\n", "test_label.csv: labels of shape (2,) for 4 test rows"),
        ("test_label", "0\n1\n2\n0\n", "test_label.csv, row 2, column 0: label 2 is neither"),
        ("test_label", "a,b\n0,1\n", "test_label.csv: no label column found"),
        ("test_label", "", "test_label.csv: the file is empty"),
    ):  # fmt: skip
        text_c(tmp_path)
        (tmp_path / "pump" / "test_label.csv").unlink(missing_ok=True)
        write(tmp_path / "pump" / f"{file}.csv", text)
        with fails(message):
            load_own(tmp_path)
    write(tmp_path / "b" / "pump_train.csv", "1,2\n")
    write(tmp_path / "b" / "pump_test.csv", "1,2,3\n")
    with fails("pump_test.csv: 3 channels, but the training half has 2"):
        load_own(tmp_path / "b")
