"""Somebody's own folder: every way in which it can be wrong."""

import gzip
import lzma

import pandas as pd
import pytest
from made_up import (
    HEADER,
    TRAIN,
    TRAIN_TEXT,
    arrays,
    fails,
    load_own,
    read_one,
    save,
    text_b,
    text_c,
    write,
)

from lmmoe import data


@pytest.mark.parametrize(
    ("clocks", "row", "message"),
    [
        (["00:01", "00:00"], 1, "2024-01-01 00:00 is earlier than that of row 0 (1 such rows)"),
        (["00:00", "00:01", "00:01"], 2, "2024-01-01 00:01 repeats the time of row 1 (1 such"),
        (["00:00", "25:00", "00:01"], 1, "'2024-01-01 25:00' is not a time (1 such cells)"),
        (["00:00", "noon", "dusk"], 1, "'2024-01-01 noon' is not a time (2 such cells)"),
    ],
)
def test_bad_times(tmp_path, clocks, row, message):
    text = "when,cpu\n" + "".join(f"2024-01-01 {clock},1\n" for clock in clocks)
    with fails(f"pump.csv, row {row}, column 'when': {message}"):
        read_one(tmp_path, text)


def test_missing_time(tmp_path):
    with fails("pump.csv, row 1, column 'when': 'nan' is not a time"):
        read_one(tmp_path, "when,cpu\n2024-01-01,1\n,2\n")


def test_bad_times_given_as_numbers(tmp_path):
    for last, problem in (("3", "is earlier"), ("4", "repeats"), ("inf", "'inf' is not a time")):
        with fails("pump.csv, row 1, column 'time'", problem):
            read_one(tmp_path, f"cpu,time\n1,4\n2,{last}\n")


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan"), "0.5", None, True])
def test_train_share_out_of_range(tmp_path, share):
    with fails(f"train_share is {share!r}, not a number above 0 and below 1"):
        read_one(tmp_path, HEADER + TRAIN_TEXT, train_share=share)


def test_other_bad_options(tmp_path):
    text_b(tmp_path)
    with fails("missing is 'drop', neither 'error' nor 'fill'"):
        load_own(tmp_path, missing="drop")
    with fails("no option 'trainshare'", "Options: time, label, train_share, missing"):
        load_own(tmp_path, trainshare=0.5)
    with fails("pump_train.csv: train_share is for one file per entity"):
        load_own(tmp_path, train_share=0.7)


@pytest.mark.parametrize("missing", ["error", "fill"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ["pump.csv: the file is empty"]),
        ("cpu,net\n", ["pump.csv: no data rows"]),
        ("cpu\n1\n", ["pump.csv: a train_share of 0.5 leaves a half of the 1 rows empty"]),
        ("time,label\n1,0\n2,1\n", ["pump.csv: no channel beside the time and the labels"]),
        ("cpu,net\n1,2\n3,off\n", ["pump.csv, row 1, column 'net': 'off' is not a number (1 such"]),
        ("1,2\n3,off\n", ["pump.csv, row 1, column 1: 'off' is not a number"]),
        ("cpu,net\n1,2\n3,4\n5,-inf\n", ["pump.csv, row 2, column 'net': the cell is infinite"]),
        ("1,inf\n3,4\n", ["pump.csv, row 0, column 1: the cell is infinite (1 such cells)"]),
        ("cpu,net\n1,2\n3,4,5\n", ["pump.csv, row 1: rows of unequal length: 3 cells, the first"]),
        ("cpu,net\n1,2,3\n3,4,5\n", ["pump.csv, row 0: rows of unequal length: 3 cells"]),
        ("cpu,net\n1,2\n3,4\n5", ["pump.csv, row 2: rows of unequal length: 1", "truncated file"]),
        ("cpu\n1\n2\n\nx\n", ["pump.csv, row 3, column 'cpu': 'x' is not a number"]),
        ("cpu,cpu\n1,2\n3,4\n", ["pump.csv, column 'cpu': two columns of this name"]),
        ("cpu,label\n1,0\n2,2\n", ["pump.csv, row 1, column 'label': label 2 is neither 0 nor 1"]),
        ("cpu,label\n1,2\n2,0\n", ["pump.csv, row 0, column 'label': label 2 is neither 0 nor 1"]),
        ("cpu,label\n1,0\n2,\n", ["pump.csv, row 1, column 'label': the label is missing"]),
        ("cpu,label\n1,0\n2,bad\n", ["pump.csv, row 1, column 'label': label bad is neither"]),
        ("label,attack,cpu\n0,0,1\n", ["pump.csv: several columns could be the label: label, att"]),
        ("date,time,cpu\n1,1,1\n", ["pump.csv: several columns could be the time: date, time"]),
    ],
)  # fmt: skip
def test_one_bad_file(tmp_path, text, message, missing):
    with fails(*message):
        read_one(tmp_path, text, missing=missing)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
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
    ],
)  # fmt: skip
def test_two_halves_that_do_not_fit(tmp_path, file, text, message):
    text_c(tmp_path)
    write(tmp_path / "pump" / f"{file}.csv", text)
    with fails(message):
        load_own(tmp_path)


def test_labels_of_other_times(tmp_path):
    text_c(tmp_path)
    write(tmp_path / "pump" / "test.csv", "time,cpu,net\n1,7,8\n2,9,1\n3,2,3\n")
    write(tmp_path / "pump" / "test_label.csv", "time,label\n1,0\n3,1\n4,0\n")
    with fails("test_label.csv, row 1: the time is not that of the same row of test.csv"):
        load_own(tmp_path)


def test_headless_halves_of_other_widths(tmp_path):
    write(tmp_path / "pump_train.csv", "1,2\n")
    write(tmp_path / "pump_test.csv", "1,2,3\n")
    with fails("pump_test.csv: 3 channels, but the training half has 2"):
        load_own(tmp_path)


def test_bad_parquet(tmp_path):
    path = tmp_path / "pump.parquet"
    frame = pd.DataFrame({"cpu": [1.0, 2.0], "when": pd.to_datetime(["2024-01-01", "2024-01-02"])})
    frame.to_parquet(path)
    with fails("pump.parquet, column 'when': holds times, not numbers"):
        load_own(tmp_path)
    pd.DataFrame({"cpu": [[1], [2]]}).to_parquet(path)
    with fails("pump.parquet, row 0, column 'cpu'", "is not a number"):
        load_own(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with fails("pump.parquet: not a readable Parquet file"):
        load_own(tmp_path)
    path.write_bytes(b"")
    with fails("pump.parquet: not a readable Parquet file"):
        load_own(tmp_path)


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_truncated_archive(tmp_path, suffix):
    text = "".join(f"{number},{number / 7}\n" for number in range(2000)).encode()
    whole = {"gz": gzip, "xz": lzma}[suffix].compress(text)
    (tmp_path / f"pump.csv.{suffix}").write_bytes(whole[: len(whole) // 2])
    with fails(f"pump.csv.{suffix}: cannot be read"):
        load_own(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.csv", "a.parquet"], ["entity 'a' is there twice, a.csv and a.parquet"]),
        (["a.csv", "a_train.csv"], ["entity 'a' is there twice, a.csv and a_train.csv"]),
        (["a_train.csv", "a_train.csv.gz"], ["entity 'a' is there twice"]),
        (["a/train.csv", "a_train.csv"], ["'a' is there twice, a/train.csv and a_train.csv"]),
        (["a_train.csv"], ["a_train.csv: there is no test half", "must not end in _train"]),
        (["a_Test.csv"], ["a_Test.csv: there is no train half", "must not end in _test"]),
        (["a/test_label.npy"], ["test_label.npy: there is no train half beside it"]),
    ],
)  # fmt: skip
def test_files_that_make_no_entity(tmp_path, files, message):
    for file in files:
        write(tmp_path / file, "1,2\n")
    with fails(*message):
        data.entities(str(tmp_path))


def test_arrays_beside_tables(tmp_path):
    arrays(tmp_path)
    write(tmp_path / "pump" / "test_label.csv", "0\n1\n1\n0\n")
    with fails("test.npy: an array beside tables (test_label.csv)"):
        load_own(tmp_path)


def test_empty_folder(tmp_path):
    save(tmp_path / "alone.npy", TRAIN)
    assert data.entities(str(tmp_path)) == []
    with fails(f"no entity 'pump' of '{tmp_path}' here", "lmmoe.data.own"):
        load_own(tmp_path)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_cells_separated_otherwise(tmp_path, mark):
    write(tmp_path / "web.csv", f"a{mark}b\n1{mark}2\n")
    with fails("web.csv: one column", "Separate the cells by commas"):
        data.load(str(tmp_path), "web")
