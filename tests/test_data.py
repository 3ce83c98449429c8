"""The contract of `Series`, reading single files, and the readers of published layouts."""

import gzip
import lzma
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_up import ENTITIES, LABELS, SMD, TEST, TRAIN, fails, swat_text, write

from lmmoe import data
from lmmoe.data import Series, reading
from lmmoe.segments import runs, segments

REAL = Path(os.environ.get("LMMOE_DATA") or "none")
ROWS_PER_DAY = {"smd": 1440, "asd": 288, "smap": None, "msl": None, "psm": 1440, "swat": 86_400}
TELEMANOM = "chan_id,spacecraft,anomaly_sequences,class,num_values\n"


# --- series ---


def checked(**changes):
    given = {"dataset": "d", "entity": "e", "train": TRAIN, "test": TEST[:2], "labels": [0, 1]}
    return Series.checked(**(given | changes))


def test_checked_keeps_values_and_closes_them():
    series = checked()
    assert series.train.tolist() == TRAIN and series.test.tolist() == TEST[:2]
    assert series.train.dtype == np.float64 and series.labels.dtype == np.int8
    assert series.channels == ("channel 1", "channel 2")
    assert series.events == [(1, 2)]
    for array in (series.train, series.test, series.labels):
        with pytest.raises(ValueError):
            array[0] = 1
    assert checked(labels=None).labels is None and checked(labels=None).events == []


def test_checked_refuses():
    for changes, *message in (
        ({"train": [["a", "b"]]}, "d/e (train): not numbers"),
        ({"train": [1.0, 2.0]}, "d/e (train): shape (2,), expected (rows, channels)"),
        ({"test": np.zeros((0, 2))}, "d/e (test): shape (0, 2)"),
        ({"test": np.zeros((2, 3))}, "d/e (test): 3 channels, but the training half has 2"),
        ({"test": [[0, 0], [0, np.nan]]}, "d/e (test), row 1, column 1: nan", "1 such cells"),
        ({"train": [[0, -np.inf]], "channels": ("a", "b")}, "row 0, column 'b': -inf"),
        ({"channels": ("a",)}, "d/e (train): 2 columns for 1 channel names"),
        ({"labels": [0]}, "d/e (labels): labels of shape (1,) for 2 test rows"),
        ({"labels": ["0", "1"]}, "d/e (labels): labels are text: "),
        ({"labels": [0, 2]}, "d/e (labels), row 1: label 2 is neither 0 nor 1"),
        ({"labels": [np.nan, 1]}, "row 0: label nan"),
        ({"labels": [0], "files": {"labels": "l.csv"}}, "l.csv: labels of shape"),
    ):
        with fails(*message):
            checked(**changes)


def test_id_follows_the_values_only():
    assert re.fullmatch("[0-9a-f]{12}", checked().id)
    assert checked().id == checked(dataset="other", train=np.array(TRAIN, order="F")).id
    others = [
        {"labels": None},
        {"labels": [1, 0]},
        {"test": [[7, 8], [9, 11]]},
        {"train": TRAIN[:2], "test": [TRAIN[2], *TEST[:2]], "labels": [0, 0, 1]},
    ]
    assert len({checked().id, *(checked(**other).id for other in others)}) == 5


@given(st.lists(st.booleans(), max_size=60))
def test_runs_rebuild_the_vector(bits):
    rebuilt = np.zeros(len(bits), dtype=bool)
    for start, end in runs(bits):
        assert not rebuilt[start:end].any() and (start == 0 or not rebuilt[start - 1])
        rebuilt[start:end] = True
    assert rebuilt.tolist() == bits
    for kind in (int, np.uint8, float):
        starts, ends = segments(np.array(bits, dtype=kind))
        assert list(zip(starts, ends, strict=True)) == runs(bits)


# --- single files ---


def numbers(path):
    return reading.to_numbers(reading.read_frame(path, header=None), path)


def test_text_plain_and_compressed(tmp_path):
    for suffix, opener in (("", open), (".gz", gzip.open), (".xz", lzma.open)):
        path = tmp_path / suffix[1:] / f"m.txt{suffix}"
        path.parent.mkdir(exist_ok=True)
        with opener(path, "wt") as file:
            file.write("1,2.5\n-3e2,\n")
        np.testing.assert_array_equal(numbers(path), [[1, 2.5], [-300, np.nan]])
        assert reading.find(path.parent / "m.txt") == reading.need(path.parent / "m.txt") == path
        assert reading.read_text(path).split() == ["1,2.5", "-3e2,"]
        assert reading.first_rows(path, 1) == [["1", "2.5"]]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4)))
def test_numbers_are_what_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("matrix") / "m.txt"
    write(path, "\n".join(",".join(repr(float(cell)) for cell in row) for row in values))
    np.testing.assert_allclose(numbers(path), values, rtol=1e-14)


def test_bad_text(tmp_path):
    path = tmp_path / "m.txt"
    for text, *message in (
        ("", "m.txt: the file is empty"),
        ("1,2\n3,x\n5,y\n", "m.txt, row 1, column 1: 'x' is not a number (2 such cells)"),
        ("1,2\n3,4\n5\n", "m.txt, row 2: rows of unequal length: 1 cells, the first line has 2"),
        ("1,2\n\n3,4,5\n", "m.txt, row 1: rows of unequal length: 3 cells"),
        ("1\n2,3\n", "m.txt, row 1: rows of unequal length: 2 cells, the first line has 1"),
        ('1,"2\n3,4\n', "m.txt", "not comma-separated"),
    ):
        write(path, text)
        with fails(*message):
            numbers(path)
    # pandas reads the first as row names and pads the last without a word.
    for text in ("a,b\n0,2,3\n1,5,6\n", "a,b\n1,2,3,4\n", "a,b,c,d\n1,2,3\n"):
        write(path, text)
        with fails("m.txt, row 0: rows of unequal length"):
            reading.read_frame(path)
    write(path, "junk\na,b\n1,2\n3,\n4\n")
    with fails("row 2: rows of unequal length: 1 cells, the first line has 2"):
        reading.read_frame(path, skiprows=1)
    path.write_bytes("größe\n1\n".encode("latin-1"))
    with fails("m.txt: cannot be read"):
        reading.read_frame(path)
    path.write_text("a,b\n1,2\n", encoding="utf-8-sig")
    assert list(reading.read_frame(path).columns) == reading.first_rows(path, 2)[0] == ["a", "b"]


def test_truncated_archives(tmp_path):
    noise = np.random.default_rng(0).random((500, 4))
    text = "\n".join(",".join(map(str, row)) for row in noise).encode()
    for suffix, module in ((".xz", lzma), (".gz", gzip)):
        path, whole = tmp_path / f"m.txt{suffix}", module.compress(text)
        for kept in (whole[: len(whole) // 2], whole[:-5], whole[:12], b"no archive at all"):
            path.write_bytes(kept)
            for read in (numbers, reading.read_text):
                with fails(f"m.txt{suffix}: cannot be read", "Get it again"):
                    read(path)


def test_read_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6).reshape(2, 3))
    assert reading.read_npy(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    whole = path.read_bytes()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for damaged in (path.read_bytes(), whole[:-3], b""):  # never unpickled
        path.write_bytes(damaged)
        with fails("a.npy: not a readable array"):
            reading.read_npy(path)
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2), b=np.zeros(2))
    with fails("a.npy: holds several arrays"):
        reading.read_npy(path)
    for read in (reading.need, reading.read_npy):
        with fails("none", "no such file"):
            read(tmp_path / "none")


def test_gaps_and_channels(tmp_path):
    gap = np.nan
    values, notes = reading.fill_gaps(np.array([[gap, 1, gap], [2, gap, gap], [gap, 3, gap]]), "f")
    assert values.tolist() == [[2, 1, 0], [2, 1, 0], [2, 3, 0]]
    assert notes == ("f: 6 missing cells filled with the last value",)
    whole = np.ones((2, 2))
    assert reading.fill_gaps(whole, "f") == (whole, ())
    path = tmp_path / "t.csv"
    reading.check_channels(("a", "b"), ("a", "b"), path)
    with fails("t.csv: the channels of the training half in another order"):
        reading.check_channels(("b", "a"), ("a", "b"), path)
    with fails("t.csv: other channels than the training half (lacking ['b'], extra ['c'])"):
        reading.check_channels(("a", "c"), ("a", "b"), path)
    with fails("t.csv, column 'when': holds times"):
        reading.to_numbers(pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}), path)


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


def test_nothing_there(root, tmp_path, monkeypatch):
    for name in ENTITIES:
        assert data.entities(name, tmp_path) == []
        with fails(str(tmp_path), f"no entity 'x' of {name!r} here", "LMMOE_DATA"):
            data.load(name, "x", tmp_path)
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path))
    assert data.data_root() == tmp_path and data.entities("smd") == []
    with fails("'nosuch' is neither a known data set nor a folder", "smd, asd"):
        data.load("nosuch", "x", root)
    with fails("no entity 'machine-9-9'", "Present: machine-1-2, machine-1-10"):
        data.load("smd", "machine-9-9", root)


def test_smd(root):
    assert data.load("smd", "machine-1-2", root).causes == (data.Cause(1, 3, (1, 0)),)
    assert data.load("smd", "machine-1-10", root).causes is None
    assert [len(data.files("smd", machine, root)) for machine in ENTITIES["smd"]] == [4, 3]
    for folder, text, message in (
        ("interpretation_label", "1-3:1\n1-3:x\n", "row 1: cannot read '1-3:x'. Expected start-"),
        ("interpretation_label", "1-2-3:1\n", "row 0: cannot read"),
        ("interpretation_label", "1-5:1\n", "row 0: '1-5:1' lies outside the 4 rows and 2 chann"),
        ("interpretation_label", "3-3:1\n", "row 0: '3-3:1' lies outside"),
        ("interpretation_label", "1-3:0\n", "row 0: '1-3:0' lies outside"),
        ("test_label", "0\n1\n3\n0\n", "row 2: label 3.0 is neither 0 nor 1"),
        ("test", "1,2\n3,\n1,2\n1,2\n", "row 1, column 1: nan is not a finite number"),
    ):
        path = root / SMD / folder / "machine-1-2.txt"
        before = path.read_text()
        write(path, text)
        with fails(f"{path}, {message}"):
            data.load("smd", "machine-1-2", root)
        write(path, before)
    path.unlink()
    with fails("machine-1-2.txt: no such file, plain or as .xz or .gz"):
        data.load("smd", "machine-1-2", root)


def test_asd_needs_its_labels(root):
    (root / "ASD" / "omi-1" / "test_label.npy").unlink()
    with fails("test_label.npy: no such file"):
        data.load("asd", "omi-1", root)
    (root / "ASD" / "omi-2" / "test.npy").unlink()
    assert data.entities("asd", root) == ["omi-1"]


def test_telemanom_refuses(root):
    path = root / "telemanom" / "labeled_anomalies.csv"
    for line, message in (
        ('S-1,SMAP,"[[1, 4]]",x,4', "'anomaly_sequences': [1, 4] lies outside the 4 test rows"),
        ('S-1,SMAP,"[[2, 1]]",x,4', "'anomaly_sequences': [2, 1] lies outside"),
        ('S-1,SMAP,"[[-1, 1]]",x,4', "'anomaly_sequences': [-1, 1] lies outside"),
        ('S-1,SMAP,"__import__(1)",x,4', "'anomaly_sequences': cannot read '__import__(1)'"),
        ('S-1,SMAP,"[[1, 2]]",x,5', "'num_values': S-1 has 4 test rows, but its labels"),
    ):
        write(path, f'{TELEMANOM}M-1,MSL,"[[1, 2]]",[point],4\n{line}\n')
        with fails(f"labeled_anomalies.csv, row 1, column {message}"):
            data.load("smap", "S-1", root)
    write(path, "chan_id,class\nS-1,x\n")
    with fails("labeled_anomalies.csv, column 'spacecraft': no such column"):
        data.entities("smap", root)
    path.unlink()
    with fails("labeled_anomalies.csv: no such file"):
        data.entities("smap", root)


def test_psm(root):
    write(root / "PSM" / "train.csv", "timestamp_(min),f_0,f_1\n0,,2\n1,3,\n2,5,6\n")
    series = data.load("psm", "psm", root)
    assert series.train.tolist() == [[3, 2], [3, 2], [5, 6]]
    assert series.notes == ("train.csv: 2 missing cells filled with the last value",)
    assert series.channels == ("f_0", "f_1")
    for file, text, message in (
        ("train", "t,f_0,f_1\n0,1,x\n", "train.csv, row 0, column 'f_1': 'x' is not a number"),
        ("test", "t,f_0,f_2\n0,1,2\n", "test.csv: other channels than the training half"),
        ("test", "t,f_0,f_1\n0,1,inf\n", "test.csv, row 0, column 'f_1': inf is not a finite"),
        ("test_label", "t,label\n0,1\n", "test_label.csv: labels of shape (1,) for 4 test"),
        ("test_label", "t,a,b\n0,1,1\n", "test_label.csv: 2 columns beside the time"),
    ):
        path = root / "PSM" / f"{file}.csv"
        before = path.read_text()
        write(path, text)
        with fails(message):
            data.load("psm", "psm", root)
        write(path, before)


def test_swat(root):
    assert data.load("swat", "swat", root).channels == ("FIT101", "LIT101")
    rows = [(*row, word) for row, word in zip(TRAIN, ["Normal", "Attack", "Normal"], strict=True)]
    write(root / "SWaT" / "SWaT_Dataset_Normal_v1.csv", "\n,,,\n" + swat_text(rows))
    marked = "1 of 3 training rows are marked as anomalies, all kept"
    assert data.load("swat", "swat", root).notes == (f"SWaT_Dataset_Normal_v1.csv: {marked}",)
    for text, message in (
        (swat_text([(1, 2, "Normal"), (1, 2, "Atack")]), "row 1, column 'Normal/Attack': 'Atack'"),
        (swat_text([(1, "off", "Normal")]), "row 0, column 'LIT101': 'off' is not a number"),
        ("a,b\n1,2\n", ": no column 'Timestamp' in the first 5 lines"),
        (" Timestamp,FIT101\n1,2\n", ", column 'Normal/Attack': no such column"),
        (" Timestamp,A,B,Normal/Attack\n1,1,2,Normal\n", ": other channels"),
    ):
        write(root / "SWaT" / "SWaT_Dataset_Attack_v0.csv", text)
        with fails("SWaT_Dataset_Attack_v0.csv", message):
            data.load("swat", "swat", root)


# --- the real data ---


@pytest.mark.skipif(not (REAL / SMD).is_dir(), reason="LMMOE_DATA does not hold SMD")
def test_real_smd():
    def text(part, machine):
        return reading.read_text(reading.need(REAL / SMD / part / f"{machine}.txt")).split()

    for machine in data.entities("smd")[:3]:
        series, labels = data.load("smd", machine), text("test_label", machine)
        assert series.train.shape[1] == series.test.shape[1] == 38
        assert len(series.test) == len(labels) and series.labels.sum() == labels.count("1")
        assert len(series.causes) == len(text("interpretation_label", machine))
        row = [float(cell) for cell in text("test", machine)[0].split(",")]
        assert series.test[0].tolist() == row
    series = data.load("smd", "machine-1-1")
    assert series.id == "7501f0c88945"
    assert series.train.shape == series.test.shape == (28479, 38)
    assert series.labels.sum() == 2694 and len(series.events) == 8
    assert series.causes[0] == data.Cause(15849, 16368, (0, 8, 9, 11, 12, 13, 14))


@pytest.mark.skipif(not (REAL / "ASD").is_dir(), reason="LMMOE_DATA does not hold ASD")
def test_real_asd():
    series = data.load("asd", data.entities("asd")[0])
    assert series.train.shape == (8640, 19) and series.test.shape == (4320, 19)
    assert series.labels.any() and not series.labels.all()


@pytest.mark.skipif(not (REAL / "telemanom").is_dir(), reason="LMMOE_DATA does not hold telemanom")
def test_real_telemanom():
    assert (len(data.entities("smap")), len(data.entities("msl"))) == (54, 27)
    assert data.load("smap", "P-2").events == [(5300, 6576)]  # 5350-6575 and 5300-6420
    assert data.load("smap", "P-1").events == [(2149, 2350), (3539, 3780), (4536, 4845)]
    assert data.load("msl", "M-1").test.shape[1] == 55
