"""The readers of published layouts, on made-up roots and on the real data where it is."""

import os
from pathlib import Path

import numpy as np
import pytest
from made_up import ENTITIES, LABELS, SMD, TEST, TRAIN, fails, swat_text, write

from lmmoe import data
from lmmoe.data import reading

REAL = Path(os.environ.get("LMMOE_DATA") or "none")
ROWS_PER_DAY = {"smd": 1440, "asd": 288, "smap": None, "msl": None, "psm": 1440, "swat": 86_400}


@pytest.mark.parametrize("name", data.DATASETS)
def test_every_dataset_loads(root, name):
    entities = data.entities(name, root)
    assert entities == ENTITIES.get(name, entities) and entities
    series = data.load(name, entities[0], root)
    assert (series.dataset, series.entity) == (name, entities[0])
    assert np.isfinite(series.train).all() and np.isfinite(series.test).all()
    assert series.labels.shape == (len(series.test),)
    assert all(path.is_file() for path in data.files(name, entities[0], root))
    with fails("no option 'colour'", name, "This data set has no options"):
        data.load(name, entities[0], root, colour="red")


@pytest.mark.parametrize("name", ENTITIES)
def test_values_of_the_made_up_root(root, name):
    for entity in ENTITIES[name]:
        series = data.load(name, entity, root)
        assert series.train.tolist() == TRAIN and series.test.tolist() == TEST
        if entity != "P-2":
            assert series.labels.tolist() == LABELS
        assert series.rows_per_day == ROWS_PER_DAY[name]
        assert series.notes == ()
        assert len(data.files(name, entity, root)) >= 2


@pytest.mark.parametrize("name", ENTITIES)
def test_nothing_there(tmp_path, name, monkeypatch):
    assert data.entities(name, tmp_path) == []
    with fails(str(tmp_path), f"no entity 'x' of {name!r} here", "LMMOE_DATA"):
        data.load(name, "x", tmp_path)
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path))
    assert data.data_root() == tmp_path
    assert data.entities(name) == []


def test_unknown_names(root):
    with fails("'nosuch' is neither a known data set nor a folder", "smd, asd"):
        data.load("nosuch", "x", root)
    with fails("no entity 'machine-9-9'", "Present: machine-1-2, machine-1-10"):
        data.load("smd", "machine-9-9", root)


def test_smd_causes(root):
    assert data.load("smd", "machine-1-2", root).causes == (data.Cause(1, 3, (1, 0)),)
    assert len(data.files("smd", "machine-1-2", root)) == 4
    assert data.load("smd", "machine-1-10", root).causes is None
    assert len(data.files("smd", "machine-1-10", root)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-3:1\n1-3:x\n", ["machine-1-2.txt, row 1: cannot read '1-3:x'", "Expected start-end"]),
        ("1-3\n", ["row 0: cannot read '1-3'"]),
        ("1-2-3:1\n", ["row 0: cannot read"]),
        ("1-5:1\n", ["row 0: '1-5:1' lies outside the 4 rows and 2 channels"]),
        ("3-3:1\n", ["row 0: '3-3:1' lies outside"]),
        ("1-3:3\n", ["row 0: '1-3:3' lies outside"]),
        ("1-3:0\n", ["row 0: '1-3:0' lies outside"]),
    ],
)
def test_smd_causes_refused(root, text, message):
    write(root / SMD / "interpretation_label" / "machine-1-2.txt", text)
    with fails(*message):
        data.load("smd", "machine-1-2", root)


def test_smd_bad_files(root):
    write(root / SMD / "test_label" / "machine-1-2.txt", "0\n1\n3\n0\n")
    with fails("machine-1-2.txt, row 2: label 3.0 is neither 0 nor 1"):
        data.load("smd", "machine-1-2", root)
    write(root / SMD / "test" / "machine-1-2.txt", "1,2\n3,\n1,2\n1,2\n")
    with fails("machine-1-2.txt, row 1, column 1: nan is not a finite number"):
        data.load("smd", "machine-1-2", root)
    (root / SMD / "test" / "machine-1-2.txt").unlink()
    with fails("machine-1-2.txt: no such file, plain or as .xz or .gz"):
        data.load("smd", "machine-1-2", root)


def test_asd_needs_its_labels(root):
    (root / "ASD" / "omi-1" / "test_label.npy").unlink()
    with fails("test_label.npy: no such file"):
        data.load("asd", "omi-1", root)
    (root / "ASD" / "omi-2" / "test.npy").unlink()
    assert data.entities("asd", root) == ["omi-1"]


def test_telemanom_unites_lines_and_includes_ends(root):
    series = data.load("smap", "P-2", root)
    assert series.labels.tolist() == [1, 1, 0, 1]
    assert series.events == [(0, 2), (3, 4)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('S-1,SMAP,"[[1, 4]]",x,4', "column 'anomaly_sequences': [1, 4] lies outside the 4 test"),
        ('S-1,SMAP,"[[2, 1]]",x,4', "column 'anomaly_sequences': [2, 1] lies outside"),
        ('S-1,SMAP,"[[-1, 1]]",x,4', "column 'anomaly_sequences': [-1, 1] lies outside"),
        ('S-1,SMAP,"[[1]]",x,4', "column 'anomaly_sequences': cannot read '[[1]]'"),
        ('S-1,SMAP,"__import__(1)",x,4', "column 'anomaly_sequences': cannot read '__import__(1)'"),
        ('S-1,SMAP,"[[1, 2]]",x,5', "column 'num_values': S-1 has 4 test rows, but its labels"),
    ],
)
def test_telemanom_bad_labels(root, line, message):
    head = "chan_id,spacecraft,anomaly_sequences,class,num_values\n"
    first = 'M-1,MSL,"[[1, 2]]",[point],4\n'
    write(root / "telemanom" / "labeled_anomalies.csv", head + first + line + "\n")
    with fails("labeled_anomalies.csv, row 1, " + message):
        data.load("smap", "S-1", root)


def test_telemanom_label_file(root):
    path = root / "telemanom" / "labeled_anomalies.csv"
    path.write_text("chan_id,class\nS-1,x\n")
    with fails("labeled_anomalies.csv, column 'spacecraft': no such column"):
        data.entities("smap", root)
    path.unlink()
    with fails("labeled_anomalies.csv: no such file"):
        data.entities("smap", root)


def test_psm_gaps_are_filled_and_counted(root):
    write(root / "PSM" / "train.csv", "timestamp_(min),f_0,f_1\n0,,2\n1,3,\n2,5,6\n")
    series = data.load("psm", "psm", root)
    assert series.train.tolist() == [[3, 2], [3, 2], [5, 6]]
    assert series.notes == ("train.csv: 2 missing cells filled with the last value",)
    assert series.channels == ("f_0", "f_1")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train.csv", "t,f_0,f_1\n0,1,x\n", "train.csv, row 0, column 'f_1': 'x' is not a number"),
        ("test.csv", "t,f_0,f_2\n0,1,2\n", "test.csv: other channels than the training half"),
        ("test.csv", "t,f_0,f_1\n0,1,inf\n", "test.csv, row 0, column 'f_1': inf is not a finite"),
        ("test_label.csv", "t,label\n0,1\n", "test_label.csv: labels of shape (1,) for 4 test"),
        ("test_label.csv", "t,a,b\n0,1,1\n", "test_label.csv: 2 columns beside the time"),
        ("test_label.csv", "t,label\n0,0\n1,2\n2,0\n3,0\n", "row 1: label 2.0 is neither"),
    ],
)
def test_psm_refuses(root, file, text, message):
    write(root / "PSM" / file, text)
    with fails(message):
        data.load("psm", "psm", root)


def test_swat_names_versions_and_marked_training_rows(root):
    assert data.load("swat", "swat", root).channels == ("FIT101", "LIT101")
    rows = [(*row, word) for row, word in zip(TRAIN, ["Normal", "Attack", "Normal"], strict=True)]
    write(root / "SWaT" / "SWaT_Dataset_Normal_v1.csv", "\n,,,\n" + swat_text(rows))
    series = data.load("swat", "swat", root)
    marked = "1 of 3 training rows are marked as anomalies, all kept"
    assert series.notes == (f"SWaT_Dataset_Normal_v1.csv: {marked}",)
    assert data.files("swat", "swat", root)[0].name == "SWaT_Dataset_Normal_v1.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            swat_text([(1, 2, "Normal"), (1, 2, "Atack")]),
            "row 1, column 'Normal/Attack': 'Atack' is",
        ),
        (swat_text([(1, 2, "")]), "row 0, column 'Normal/Attack': 'nan' is neither"),
        (swat_text([(1, "off", "Normal")]), "row 0, column 'LIT101': 'off' is not a number"),
        ("a,b\n1,2\n", ": no column 'Timestamp' in the first 5 lines"),
        (" Timestamp,FIT101\n1,2\n", ", column 'Normal/Attack': no such column"),
        (" Timestamp,A,B,Normal/Attack\n1,1,2,Normal\n", ": other channels"),
    ],
)
def test_swat_refuses(root, text, message):
    write(root / "SWaT" / "SWaT_Dataset_Attack_v0.csv", text)
    with fails("SWaT_Dataset_Attack_v0.csv", message):
        data.load("swat", "swat", root)


@pytest.mark.skipif(not (REAL / SMD).is_dir(), reason="LMMOE_DATA does not hold SMD")
class TestRealSmd:
    def text(self, part, machine):
        return reading.read_text(reading.need(REAL / SMD / part / f"{machine}.txt")).split()

    def test_all_machines(self):
        if len(machines := data.entities("smd")) != 18:
            pytest.skip("another selection of machines")
        for machine in machines:
            series = data.load("smd", machine)
            assert series.train.shape[1] == series.test.shape[1] == 38
            labels = self.text("test_label", machine)
            assert len(series.test) == len(labels)
            assert series.labels.sum() == labels.count("1")
            assert len(series.causes) == len(self.text("interpretation_label", machine))

    def test_machine_1_1(self):
        series = data.load("smd", "machine-1-1")
        assert series.train.shape == series.test.shape == (28479, 38)
        assert series.labels.sum() == 2694 and len(series.events) == 8
        first = self.text("interpretation_label", "machine-1-1")[0]
        assert first == "15849-16368:1,9,10,12,13,14,15"
        assert series.causes[0] == data.Cause(15849, 16368, (0, 8, 9, 11, 12, 13, 14))
        row = [float(cell) for cell in self.text("test", "machine-1-1")[0].split(",")]
        assert series.test[0].tolist() == row


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
