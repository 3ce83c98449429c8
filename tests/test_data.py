"""`Series`, single files, the published layouts and folders of one's own."""

import gzip
import lzma
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from made_up import ENTITIES, LABELS, SMD, TEST, TRAIN, fails, lines, save, swat_text, write

from lmmoe import data
from lmmoe.data import Series, reading

REAL = Path(os.environ.get("LMMOE_DATA") or "none")
ROWS_PER_DAY = {"smd": 1440, "asd": 288, "smap": None, "msl": None, "psm": 1440, "swat": 86_400}
MARKED = "training rows are marked as anomalies, all kept"


# --- series ---


def checked(**changes):
    given = {"dataset": "d", "entity": "e", "train": TRAIN, "test": TEST[:2], "labels": [0, 1]}
    return Series.checked(**(given | changes))


def test_checked_keeps_values_and_closes_them():
    series = checked()
    assert series.train.tolist() == TRAIN and series.test.tolist() == TEST[:2]
    assert series.channels == ("channel 1", "channel 2") and series.events == [(1, 2)]
    for array, kind in (("train", np.float64), ("test", np.float64), ("labels", np.int8)):
        assert getattr(series, array).dtype == kind
        with pytest.raises(ValueError):
            getattr(series, array)[0] = 1
    assert checked(labels=None).labels is None and checked(labels=None).events == []


def test_checked_refuses():
    for changes, message in (
        ({"train": [["a", "b"]]}, "d/e (train): not numbers"),
        ({"train": [1.0, 2.0]}, "d/e (train): shape (2,), expected (rows, channels)"),
        ({"test": np.zeros((2, 3))}, "d/e (test): 3 channels, but the training half has 2"),
        ({"test": [[0, 0], [0, np.nan]]}, "d/e (test), row 1, column 1: nan"),
        ({"train": [[0, -np.inf]], "channels": ("a", "b")}, "row 0, column 'b': -inf"),
        ({"channels": ("a",)}, "d/e (train): 2 columns for 1 channel names"),
        ({"labels": ["0", "1"]}, "d/e (labels), row 0: label '0' is neither 0 nor 1"),
        ({"labels": [0, 2]}, "d/e (labels), row 1: label 2 is neither 0 nor 1"),
        ({"labels": [0], "files": {"labels": "l.csv"}}, "l.csv: labels of shape (1,) for 2"),
    ):
        with fails(message):
            checked(**changes)


def test_id_follows_the_values_only():
    assert re.fullmatch("[0-9a-f]{12}", checked().id)
    other = checked(dataset="other", train=np.array(TRAIN, order="F"))
    assert checked().id == other.id and other.train.flags.c_contiguous
    tall = {"train": np.reshape(TRAIN, (6, 1)), "test": np.reshape(TEST[:2], (4, 1))}
    moved = {"train": TRAIN[:2], "test": [TRAIN[2], *TEST[:2]]}  # of the same values
    others = (
        {"labels": [1, 0]},
        {"labels": None},
        {"labels": None} | tall,
        {"labels": None} | moved,
    )
    assert len({checked().id, *(checked(**other).id for other in others)}) == 5


# --- single files ---


def numbers(path):
    return reading.to_numbers(reading.read_frame(path, header=None), path)


def test_text_plain_and_compressed(tmp_path):
    noise = np.random.default_rng(0).random((500, 4))
    text = "\n".join(",".join(map(str, row)) for row in noise).encode()
    for suffix, opener in ((".gz", gzip), (".xz", lzma)):
        path = tmp_path / f"m.txt{suffix}"
        whole = opener.compress(text)
        path.write_bytes(whole)
        assert reading.find(tmp_path / "m.txt") == path
        assert reading.read_text(path) == (text.decode(), [])
        np.testing.assert_allclose(numbers(path), noise, rtol=1e-15)
        for kept in (whole[: len(whole) // 2], whole[:-5], whole[:12], b"no archive at all"):
            path.write_bytes(kept)
            with fails(f"m.txt{suffix}: cannot be read", "get it again"):
                numbers(path)
        path.unlink()
    assert reading.find(tmp_path / "m.txt") == tmp_path / "m.txt"
    with fails("m.txt: no such file"):
        numbers(tmp_path / "m.txt")


def test_text_that_pandas_would_take(tmp_path):
    path = tmp_path / "m.txt"
    # It reads the first as row names and pads the third without a word.
    for text, options, row in (
        ("a,b\n0,2,3\n1,5,6\n", {}, 0),
        ("a,b,c,d\n1,2,3\n", {}, 0),
        ("a,b\r1,2\r3,\r4\r", {}, 2),
        ("1,2\n\n3,4,5\n", {"header": None}, 1),
        ('1,"2,3"\n\n4,5,6\n', {"header": None}, 1),
    ):
        path.write_bytes(text.encode())
        with fails(f"m.txt, row {row}: rows of unequal length"):
            reading.read_frame(path, **options)
    for encoding, message in (("utf-16-le", "zero bytes"), ("utf-16", "'utf-16-le' codec can't")):
        path.write_bytes("größe,b\n1,2\n".encode(encoding)[:-1])
        with fails(f"m.txt: cannot be read ({message}"):
            reading.read_frame(path)


# --- published layouts ---


def test_the_made_up_root(root):
    for name in data.DATASETS:
        entities = data.entities(name, root)
        assert entities == ENTITIES.get(name, entities) and entities
        for entity in ENTITIES.get(name, []):
            series = data.load(name, entity, root)
            assert (series.dataset, series.entity) == (name, entity)
            assert series.train.tolist() == TRAIN and series.test.tolist() == TEST
            assert series.labels.tolist() == ([1, 1, 0, 1] if entity == "P-2" else LABELS)
            assert series.rows_per_day == ROWS_PER_DAY[name] and series.notes == ()
            assert len(data.files(name, entity, root)) >= 2
        with fails("no option 'colour'", name, "This data set has no options"):
            data.load(name, entities[0], root, colour="red")
    assert data.load("smap", "P-2", root).events == [(0, 2), (3, 4)]  # two lines, ends included
    assert data.load("smd", "machine-1-2", root).causes == (data.Cause(1, 3, (1, 0)),)
    assert data.load("smd", "machine-1-10", root).causes is None
    assert [len(data.files("smd", machine, root)) for machine in ENTITIES["smd"]] == [4, 3]
    assert data.load("swat", "swat", root).channels == ("FIT101", "LIT101")
    with fails("no entity 'machine-9-9'", "Present: machine-1-2, machine-1-10"):
        data.load("smd", "machine-9-9", root)


def test_nothing_there(root, tmp_path, monkeypatch):
    for name in ENTITIES:
        assert data.entities(name, tmp_path) == []
        with fails(str(tmp_path), f"no entity 'x' of {name!r} here", "LMMOE_DATA"):
            data.load(name, "x", tmp_path)
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path))
    assert data.data_root() == tmp_path and data.entities("smd") == []
    with fails("'nosuch' is neither a known data set nor a folder", "smd, asd"):
        data.load("nosuch", "x", root)


def test_published_layouts_refuse(root):
    """A file with one thing wrong: which file, which row and column, and why."""
    machine, sat = ("smd", "machine-1-2"), ("smap", "S-1")
    psm, swat = ("psm", "psm"), ("swat", "swat")
    attack, listing = "SWaT/SWaT_Dataset_Attack_v0.csv", "telemanom/labeled_anomalies.csv"
    head = "chan_id,spacecraft,anomaly_sequences,class,num_values\n"
    sequences = f'{head}M-1,MSL,"[[1, 2]]",[point],4\nS-1,SMAP,"%s",x,%d\n'
    for (name, entity), file, text, message in (
        (machine, SMD / "interpretation_label", "1-3:1\n1-3:x\n", ", row 1: cannot read '1-3:x'"),
        (machine, SMD / "interpretation_label", "3-3:1\n", ", row 0: cannot read '3-3:1' (out"),
        (machine, SMD / "interpretation_label", "1-3:0\n", ", row 0: cannot read '1-3:0' (out"),
        (machine, SMD / "test_label", "0\n1\n3\n0\n", ", row 2: label 3.0 is neither 0 nor 1"),
        (machine, SMD / "test", "1,2\n3,\n1,2\n1,2\n", ", row 1, column 1: nan is not a fini"),
        (machine, SMD / "test", None, ": no such file"),
        (("asd", "omi-1"), "ASD/omi-1/test_label.npy", None, ": no such file"),
        (sat, listing, sequences % ("[[1, 4]]", 4), ", row 1: cannot label the 4 test rows of S-1"),
        (sat, listing, sequences % ("exit()", 4), ", row 1: cannot label the 4 test rows"),
        (sat, listing, sequences % ("[[1, 2]]", 5), ", row 1: cannot label the 4 test rows"),
        (sat, listing, "chan_id,class\nS-1,x\n", ": cannot be read (Usecols"),
        (psm, "PSM/train.csv", "t,f_0,f_1\n0,1,x\n", ", row 0, column 'f_1': 'x' is not a number"),
        (psm, "PSM/test_label.csv", "t,a,b\n0,1,1\n", ": no label column found"),
        (swat, attack, swat_text([(1, 2, "Atack")]), ", row 0, column 'Normal/Attack': label A"),
        (swat, attack, swat_text([(1, "", "Normal")]), ", row 0, column 'LIT101': nan is not a f"),
        (swat, attack, "a,b\n1,2\n", ": no column 'Timestamp' (time). Columns: a, b"),
        (swat, attack, " Timestamp,FIT101\n1,2\n", ": no column 'Normal/Attack' (label). Column"),
    ):
        path = root / file if "." in str(file) else root / file / f"{entity}.txt"
        before = path.read_bytes()
        path.unlink() if text is None else write(path, text)
        with fails(f"{path}{message}"):
            data.load(name, entity, root)
        path.write_bytes(before)


def test_psm_has_gaps_and_swat_two_versions(root):
    write(root / "PSM" / "train.csv", "timestamp_(min),f_0,f_1\n0,,2\n1,3,\n2,5,6\n")
    series = data.load("psm", "psm", root)
    assert series.train.tolist() == [[3, 2], [3, 2], [5, 6]]
    assert series.notes[0].endswith("half: missing cells filled with the last value: 2")
    assert series.channels == ("f_0", "f_1")
    rows = [(*row, word) for row, word in zip(TRAIN, ["Normal", "Attack", "Normal"], strict=True)]
    write(root / "SWaT" / "SWaT_Dataset_Normal_v1.csv", "\n,,,\n" + swat_text(rows))
    marked = f"SWaT_Dataset_Normal_v1.csv: 1 of 3 {MARKED}"
    assert data.load("swat", "swat", root).notes == (marked,)


# --- folders of one's own: layouts ---

HEADER = "cpu,net\n"
TRAIN_TEXT = HEADER + "1,2\n3,4\n5,6\n"
TEST_TEXT = HEADER + "7,8\n9,1\n2,3\n4,5\n"


def load_own(folder, entity="pump", **options):
    return data.load(str(folder), entity, **options)


def read_one(folder, text, **options):
    """Write one file and read its entity."""
    write(folder / "pump.csv", text)
    return load_own(folder, **options)


def halves(folder, between="/"):
    """A file for each half, in a folder or beside each other."""
    write(folder / f"pump{between}train.csv", TRAIN_TEXT)
    write(folder / f"pump{between}test.csv", TEST_TEXT)


def test_layouts(tmp_path):
    write(tmp_path / "one.2.csv", TRAIN_TEXT + TEST_TEXT.removeprefix(HEADER))
    for half, rows, text in (("train", TRAIN, TRAIN_TEXT), ("test", TEST, TEST_TEXT)):
        write(tmp_path / f"beside_{half}.csv", text)
        write(tmp_path / "inside" / f"{half.title()}.CSV", text)
        (tmp_path / f"packed_{half}.csv.gz").write_bytes(gzip.compress(text.encode()))
        save(tmp_path / "omi-1" / f"{half}.npy", rows)
    for other in ("readme.txt", ".hidden.csv", ".ipynb_checkpoints/train.csv", "x/y/train.csv"):
        write(tmp_path / other, "not data")
    found = ["beside", "inside", "omi-1", "one.2", "packed"]
    assert data.entities(str(tmp_path)) == found
    for entity in found:
        series = load_own(tmp_path, entity, train_share=3 / 7)
        assert (series.dataset, series.entity) == (tmp_path.name, entity)
        assert series.train.tolist() == TRAIN and series.test.tolist() == TEST
        assert series.labels is None and series.rows_per_day is None and series.notes == ()
        named = ("channel 1", "channel 2") if entity == "omi-1" else ("cpu", "net")
        assert series.channels == named
        assert len(data.files(str(tmp_path), entity)) == (1 if entity == "one.2" else 2)
    assert data.entities(str(tmp_path / "omi-1")) == ["omi-1"]  # a folder that is an entity
    assert load_own(tmp_path / "omi-1", "omi-1").test.tolist() == TEST


def test_names_are_data(tmp_path):
    folder, names = tmp_path / "x" / "{prod} #1", ["-dash", 'cpu{instance="h1"}', "c{1}"]
    for name in names:
        write(folder / f"{name}.csv", TRAIN_TEXT)
        assert load_own(folder, name).entity == name
        assert data.files(str(folder), name) == [folder / f"{name}.csv"]
    assert data.entities(str(folder)) == names


def test_files_that_make_no_entity(tmp_path):
    for files, message in (
        ("a.csv a.parquet", "entity 'a' is there twice, a.csv and a.parquet"),
        ("a/train.csv a_train.csv", "'a' is there twice, a/train.csv and a_train.csv"),
        ("a_train.csv", "a_train.csv: there is no test half beside it. A file that is a"),
        ("a/test_label.npy", "test_label.npy: there is no train half beside it"),
    ):
        folder = tmp_path / files.replace("/", " ")
        for file in files.split():
            write(folder / file, "1,2\n")
        with fails(message):
            data.entities(str(folder))
    save(tmp_path / "alone.npy", TRAIN)
    with fails(f"no entity 'pump' of '{tmp_path}' here", "docs/own-data.md"):
        load_own(tmp_path)


def test_parquet(tmp_path):
    path = tmp_path / "pump.parquet"
    frame = pd.DataFrame([*TEST, *TEST], columns=["cpu", "net"])
    frame["attack"] = [False, False, True, False] * 2
    times = pd.date_range("2024-01-01", periods=8, freq="15min", tz="Europe/Berlin")
    # Numbers are left over from an earlier selection.
    for index, per_day in ((times, 96), (times.tz_localize(None), 96), (range(10, 18), None)):
        frame.set_index(pd.Index(index)).to_parquet(path)
        series = load_own(tmp_path)
        assert series.test.tolist() == TEST and series.labels.tolist() == [0, 0, 1, 0]
        assert series.channels == ("cpu", "net") and series.rows_per_day == per_day
    pd.DataFrame({"cpu": [1.0, 2.0], "when": times[:2]}).to_parquet(path)
    with fails("pump.parquet, column 'when': holds times, not numbers"):
        load_own(tmp_path)
    for columns, problem in ((["time", "cpu"], "already exists"), (["cpu", "cpu "], "two columns")):
        pd.DataFrame([*TEST, *TEST], times, columns).to_parquet(path)
        with fails("pump.parquet", problem):
            load_own(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with fails("pump.parquet: cannot be read"):
        load_own(tmp_path)


def test_arrays(tmp_path):
    folder = tmp_path / "pump"
    save(folder / "train.npy", [1.0, np.nan, 3.0])  # one channel
    save(folder / "test.npy", [4.0, 5.0])
    save(folder / "test_label.npy", [[False], [True]])
    save(folder / "train_label.npy", [0, 1, 1])
    with fails("train.npy, row 1, column 0: nan is not a finite", "missing='fill'"):
        load_own(tmp_path)
    series = load_own(tmp_path, missing="fill")
    assert series.train.tolist() == [[1], [1], [3]] and series.labels.tolist() == [0, 1]
    filled = "train.npy, training half: missing cells filled with the last value: 1"
    assert series.notes == (f"train.npy: 2 of 3 {MARKED}", filled)
    with fails("train.npy: no column 'cpu' (time)"):
        load_own(tmp_path, time="cpu", missing="fill")
    save(folder / "test_label.npy", [0, 1, 0])
    with fails("test_label.npy: labels of shape (3,) for 2 test rows"):
        load_own(tmp_path, missing="fill")
    (folder / "test_label.npy").unlink()
    write(folder / "test_label.csv", "0\n1\n")  # kinds of files may be mixed
    assert load_own(tmp_path, missing="fill").labels.tolist() == [0, 1]
    for array, problem in (({"a": 1}, "Object arrays"), (np.zeros((2, 2, 2)), "Must pass 2-d")):
        np.save(folder / "test.npy", array, allow_pickle=True)  # it is never unpickled
        with fails(f"test.npy: cannot be read ({problem}"):
            load_own(tmp_path, missing="fill")
    write(folder / "test.npy", "no array")
    with fails("test.npy: cannot be read (the magic string"):
        load_own(tmp_path, missing="fill")


# --- folders of one's own: labels, times, cells ---


def test_label_columns(tmp_path):
    names = ("label", "Labels", "ANOMALY", "is_anomaly", " attack ")
    pairs = (("0", "1"), ("0.0", "1.0"), ("False", "True"), ('"0"', " TRUE"), ("normal", "attack"))
    for name, (no, yes) in zip(names, pairs, strict=True):
        series = read_one(tmp_path, f"cpu,{name},net\n7,{no},8\n9,{yes},1\n2,{yes},3\n4,{no},5\n")
        assert series.train.tolist() == TEST[:2] and series.labels.tolist() == LABELS[2:]
        assert series.channels == ("cpu", "net") and series.notes == (f"pump.csv: 1 of 2 {MARKED}",)


def test_named_columns(tmp_path):
    text = "state,when,label,cpu\n0,1,5,1\n1,2,6,2\n0,3,7,3\n1,4,8,4\n"
    series = read_one(tmp_path, text, time="when", label="state")
    assert series.channels == ("label", "cpu") and series.labels.tolist() == [0, 1]
    for option in ("time", "label"):
        with fails(f"pump.csv: no column 'nosuch' ({option})", "Columns: state, when, label, cpu"):
            load_own(tmp_path, **{option: "nosuch"})
    series = read_one(tmp_path, "1,0,10\n2,1,20\n", time="0", label="1")
    assert series.test.tolist() == [[20]] and series.labels.tolist() == [1]
    assert series.channels == ("channel 1",)


def test_label_files(tmp_path):
    halves(tmp_path, "_")
    several = "time,other,label\n1,9,0\n2,9,1\n3,9,1\n4,9,0\n"
    for text in ("0\n1\n1\n0\n", "is it?\n0\n1\n1\n0\n", several):
        write(tmp_path / "pump_test_label.csv", text)
        assert load_own(tmp_path).labels.tolist() == LABELS
    assert load_own(tmp_path, label="label").labels.tolist() == LABELS
    write(tmp_path / "pump_train_label.csv", "0\n1\n0\n")
    assert load_own(tmp_path).notes == (f"pump_train.csv: 1 of 3 {MARKED}",)
    write(tmp_path / "pump_train_label.csv", "0\n1\n")
    with fails("pump_train.csv: 2 labels for 3 training rows"):
        load_own(tmp_path)
    (tmp_path / "pump_train_label.csv").unlink()
    write(tmp_path / "pump_test.csv", "cpu,net,Label\n7,8,0\n9,1,1\n2,3,1\n4,5,0\n")
    with fails("pump_test.csv: labels are here and in pump_test_label.csv"):
        load_own(tmp_path)
    (tmp_path / "pump_test_label.csv").unlink()
    for options in ({}, {"label": "Label"}):
        series = load_own(tmp_path, **options)
        assert series.labels.tolist() == LABELS and series.notes == ()
    write(tmp_path / "pump_test.csv", "time,cpu,net\n1,7,8\n2,9,1\n3,2,3\n")
    for text, *message in (
        ("4,1\n1,0\n3,1", "pump_test.csv, row 1, column 'time': 2 has no label in pump_test_label"),
        ("1,0\n1,1\n2,1", "pump_test_label.csv: cannot be read (cannot reindex", "each time once"),
    ):
        write(tmp_path / "pump_test_label.csv", f"time,label\n{text}\n")
        with fails(*message):
            load_own(tmp_path)
    write(tmp_path / "pump_test_label.csv", "time,label\n4,1\n3,1\n2,0\n1,1\n")
    assert load_own(tmp_path).labels.tolist() == [1, 0, 1]


def test_times(tmp_path):
    for times, per_day in (
        (["2024-01-31", "2024-01-31 00:05", "2024-01-31T00:10:00", "2024-01-31 00:15"], 288),
        (["12/30/2015", "12/31/2015", "01/01/2016", "01/02/2016"], 1),
        (["28.10.2024 00:00", "28.10.2024 06:00", "28.10.2024 12:00", "28.10.2024 18:00"], 4),
        ([1700000000000, 1700000060000, 1700000120000, 1700000180000], 1440),
        ([1700000000.5, 1700000001, 1700000001.5, 1700000002], 172_800),
        (range(1700000000000000000, 1700000000000000004), 8.64e13),
    ):
        text = "Timestamp,cpu\n" + "".join(f"{time},{n}\n" for n, time in enumerate(times))
        series = read_one(tmp_path, text)
        assert series.rows_per_day == pytest.approx(per_day)
        assert series.channels == ("cpu",) and series.notes == ()
    assert read_one(tmp_path, "time,cpu\n0,1\n1,2\n2,3\n").rows_per_day is None


def test_first_line(tmp_path):
    for first in ("2024-01-01 00:00,4,2", "5,2,3", "5,,3", "NA,true,3", "-1e3,nan,0"):
        rows = [first.replace("00:00", f"00:0{row}") for row in range(4)]
        series = read_one(tmp_path, "\n".join(rows), missing="fill")
        assert len(series.train) == len(series.test) == 2 and series.channels[0] == "channel 1"
    for first in ("a,b", "1,b", ",x", "cpu 1,cpu 2", ",0"):
        series = read_one(tmp_path, f"{first}\n5,6\n7,8\n")
        assert series.train.tolist() == [[5, 6]] and len(series.test) == 1
    series = read_one(tmp_path, "# made by a program\n# cpu,label\n1,0\n2,0\n3,1\n4,0\n")
    assert series.channels == ("cpu",) and series.labels.tolist() == [1, 0]
    pd.DataFrame(TEST).to_csv(tmp_path / "pump.csv")
    assert [*load_own(tmp_path).train.tolist(), *load_own(tmp_path).test.tolist()] == TEST
    assert "the first column has no name and counts the rows" in load_own(tmp_path).notes[0]


def test_missing_cells(tmp_path):
    text = "cpu,net,gone\n1,,\n,4,\n5,6,\n,8,\n7,,\n9,1,\n"
    with fails("pump.csv, row 0, column 'net': nan is not a finite number (10 in all)"):
        read_one(tmp_path, text)
    series = load_own(tmp_path, missing="fill")
    # Each half by itself: no value of the test half may reach the training half, or the reverse.
    assert series.train.tolist() == [[1, 4, 0], [1, 4, 0], [5, 6, 0]]
    assert series.test.tolist() == [[7, 8, 0], [7, 8, 0], [9, 1, 0]]
    filled = "half: missing cells filled with the last value: 5"
    assert series.notes == tuple(f"pump.csv, {part} {filled}" for part in ("training", "test"))
    # In a single column a blank line is a missing cell.
    with fails("pump.csv, row 1, column 'cpu': nan is not a finite number"):
        read_one(tmp_path, "cpu\n1\n\n3\n4\n")
    assert load_own(tmp_path, missing="fill").train.tolist() == [[1], [1]]
    assert read_one(tmp_path, "cpu,net\n1,2\n\n3,4\n\n").test.tolist() == [[3, 4]]


def test_options(tmp_path):
    for rows, percent in ((2, 50), (7, 99), (100, 29), (100, 57), (400, 58)):
        series = read_one(tmp_path, lines(range(rows)), train_share=percent / 100)
        assert series.train[:, 0].tolist() == list(range(rows * percent // 100))
        assert [*series.train, *series.test] == list(range(rows))
    for option, value, message in (
        ("missing", "drop", "missing is 'drop', neither 'error' nor 'fill'"),
        ("trainshare", 0.5, "no option 'trainshare'"),
        *(("train_share", share, f"train_share is {share!r}, not") for share in (0, "0.5", True)),
    ):
        with fails(message):
            load_own(tmp_path, **{option: value})


def test_one_bad_file(tmp_path):
    for text, message in (
        ("", ": cannot be read (No columns"),
        ("cpu,net\n", ": no data rows"),
        ("cpu\n1\n", ": shape (0, 1), expected (rows, channels), both above 0"),
        ("time,label\n1,0\n2,1\n", ": no channel beside the time and the labels"),
        ("cpu,net\n1,2\n3,off\n", ", row 1, column 'net': 'off' is not a number (1 in all"),
        ("cpu,net\n1,2\n3,4,5\n", ", row 1: rows of unequal length: 3 cells, the first"),
        ("cpu,cpu\n1,2\n3,4\n", ", column 'cpu': two columns of this name"),
        ("cpu,label\n1,0\n2,2\n", ", row 1, column 'label': label 2 is neither 0 nor 1"),
        ("d,cpu\n2024-01-02,1\n2024-01-02,1\n", ", row 1, column 'd': 2024-01-02 00:00:00 is"),
        ("d,cpu\n2024-01-01,1\nnoon,1\n", ", row 1, column 'd': 'noon' is not a time (1 in all"),
        ("cpu,time\n1,4\n2,4\n", ", row 1, column 'time': 4 is not later"),
        ("cpu,time\n1,4\n2,inf\n", ", row 1, column 'time': 'inf' is not a time"),
    ):
        for missing in ("error", "fill"):
            with fails(f"pump.csv{message}"):
                read_one(tmp_path, text, missing=missing)


def test_two_halves_that_do_not_fit(tmp_path):
    other = "test.csv: other channels than in training, or in another order "
    for file, text, message in (
        ("test", "cpu,disk\n1,2\n", f"{other}['disk', 'net']"),
        ("test", "net,cpu\n1,2\n", f"{other}[]"),
        ("train", "1,2\n", f"{other}['cpu', 'net']"),
        ("test_label", "0\n1\n", "test_label.csv: labels of shape (2,) for 4 test rows"),
        ("test_label", "0\n1\n2\n0\n", "test_label.csv, row 2, column 0: label 2 is neither"),
        ("test_label", "a,b\n0,1\n", "test_label.csv: no label column found"),
    ):
        halves(tmp_path)
        (tmp_path / "pump" / "test_label.csv").unlink(missing_ok=True)
        write(tmp_path / "pump" / f"{file}.csv", text)
        with fails(message):
            load_own(tmp_path)


# --- folders of one's own: files as people have them ---

CASES = Path(__file__).parent / "cases"
PLAIN = {"channels": ["cpu", "mem"], "first": [50.13, 58.05], "per_day": 288, "events": []}
EXPECTED = yaml.safe_load((CASES / "expected.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("given", EXPECTED, ids=lambda given: given["case"])
def test_files_as_people_have_them(given):
    expected, options = PLAIN | given, given.get("options", {})
    if "error" in given:
        with fails(given["error"]):
            load_own(CASES / given["case"], "h", **options)
        return
    series = load_own(CASES / given["case"], "h", **options)
    assert list(series.channels) == expected["channels"]
    assert series.train[0].tolist() == expected["first"]
    assert [list(event) for event in series.events] == expected["events"]
    assert series.rows_per_day == pytest.approx(expected["per_day"])
    notes = "; ".join(series.notes)
    assert given["note"] in notes if "note" in given else not notes


def test_a_cell_far_out_is_no_measurement():
    far = "half: cells beyond 1e+09 standard deviations {}: 1, the first is 1.79769e+308 in row {}"
    train, test = (load_own(CASES / f"sentinel_{half}", "h") for half in ("tr", "te"))
    assert far.format("filled with the last value", 20) + ", column 'm2'" in train.notes[0]
    assert far.format("cut there", 30) in test.notes[0] and 1e9 < test.test[30, 2] < 1e11
    assert train.train[20, 2] == train.train[19, 2] and train.train[:, 2].std() < 10


def test_dates_that_two_readings_fit(tmp_path):
    rows = "".join(f"01/02/2024 00:{minute:02d},{minute}\n" for minute in range(8))
    with fails("pump.csv, column 'when': dates may be %m/%d/%Y %H:%M or %d", "Say which by dates"):
        read_one(tmp_path, f"when,cpu\n{rows}")
    assert load_own(tmp_path, dates="%d/%m/%Y %H:%M").rows_per_day == 1440
    with fails("pump.csv, row 0, column 'when': '01/02/2024 00:00' is not a time"):
        load_own(tmp_path, dates="%d.%m.%y")
    # Two rows alone fit both, too: what the training half says holds for the test half.
    write(tmp_path / "fan_train.csv", (CASES / "dayfirst" / "h.csv").read_text())
    write(tmp_path / "fan_test.csv", "Time,cpu,mem\n09/02/2024 00:00,1,2\n09/02/2024 01:00,3,4\n")
    assert load_own(tmp_path, "fan").rows_per_day == 24
    write(tmp_path / "fan_test.csv", "Time,cpu,mem\n2024-02-09 00:00,1,2\n2024-02-09 01:00,3,4\n")
    assert load_own(tmp_path, "fan").rows_per_day == 24


def test_notes_on_times(tmp_path):
    days = [*range(1, 6), *range(15, 20)]
    rows = [f"2024-03-{day:02d},{17e8 + 86_400 * day:.0f},{day}\n" for day in days]
    write(tmp_path / "h_train.csv", "time,ts,cpu\n" + "".join(rows))
    later = [row.replace("2024-03", "2024-04") for row in rows]
    write(tmp_path / "h_test.csv", "time,ts,cpu\n" + "".join(later[::-1]))
    label = tmp_path / "h_test_label.csv"
    write(label, "start,end\n2024-04-02,2024-04-03\n2023-01-01,2023-01-02\n")
    series = load_own(tmp_path, "h")
    gap = "1 of 9 steps are not 1 days 00:00:00; the longest, 10 days 00:00:00, follows row 4"
    clock, outside = (
        "column 'ts' runs like a clock: no channel",
        "intervals outside the rows: 1 of 2",
    )
    for part, note in (("train", gap), ("test", gap), ("train", clock), ("test_label", outside)):
        assert f"h_{part}.csv: {note}" in series.notes
    assert series.events == [(1, 3)] and series.channels == ("cpu",)
    assert load_own(tmp_path, "h", channels=["cpu", "ts"]).channels == ("cpu", "ts")
    # Labels without times stand beside rows in the order of their file.
    write(label, "\n".join("1100000000"))
    assert load_own(tmp_path, "h").events == [(8, 10)]
    label.unlink()
    for text, *message in (
        ('{"a/fan.csv": []}', ": cannot be read (nothing about 'h', only a/fan.csv, fan)"),
        ("[[1, 2, 3]]", ": cannot be read (2 columns", "Expected [[start, end]"),
        ("[[1, 2]", ": cannot be read (Expecting ','", "Expected [[start, end]"),
        ('[["noon", 1]]', ", row 0: 'noon' is no time or row"),
    ):
        write(tmp_path / "h_test_label.json", text)
        with fails("h_test_label.json", *message):
            load_own(tmp_path, "h")
    for text, events in (("[[1, 2], [5, 5]]", [(1, 3), (5, 6)]), ('{"a/h.csv": []}', [])):
        write(tmp_path / "h_test_label.json", text)
        assert load_own(tmp_path, "h").events == events


# --- the real data ---


@pytest.mark.skipif(not REAL.is_dir(), reason="LMMOE_DATA does not name a folder")
def test_real_data():
    for name, entity, known, shape, events in (
        ("smd", "machine-1-1", "7501f0c88945", (28479, 38), 8),
        ("asd", "omi-1", "b1c2bf488c6a", (4320, 19), 7),
        ("smap", "P-2", "63b91f85a8d0", (8209, 25), 1),  # rows 5350-6575 and 5300-6420
        ("msl", "M-1", "776e076cddc8", (2277, 55), 1),
    ):
        if entity in data.entities(name):
            series = data.load(name, entity)
            assert (series.id, series.test.shape, len(series.events)) == (known, shape, events)
            cause = data.Cause(15849, 16368, (0, 8, 9, 11, 12, 13, 14))
            assert name != "smd" or (series.causes[0], len(series.causes)) == (cause, 8)
