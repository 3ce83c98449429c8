"""A made-up root with every published layout, and small writers."""

from pathlib import Path

import numpy as np
from small import told

from lmmoe.errors import DataError

TRAIN = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
TEST = [[7.0, 8.0], [9.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
LABELS = [0, 1, 1, 0]
SMD = Path("SMD", "ServerMachineDataset")
# What `data.entities` should find on the made-up root.
ENTITIES = {
    "smd": ["machine-1-2", "machine-1-10"],
    "asd": ["omi-1", "omi-2"],
    "smap": ["P-2", "S-1"],
    "msl": ["M-1"],
    "psm": ["psm"],
    "swat": ["swat"],
}


def fails(*parts):
    """The error whose message holds all ``parts``, in this order."""
    return told(DataError, *parts)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def lines(rows):
    return "\n".join(",".join(str(cell) for cell in np.atleast_1d(row)) for row in rows) + "\n"


def numbered(rows):
    return lines((number, *np.atleast_1d(row)) for number, row in enumerate(rows))


def swat_text(rows):
    header = " Timestamp, FIT101,LIT101 ,Normal/Attack\n"
    return header + lines(
        (f" 28/12/2015 10:00:{second:02d} AM", *row) for second, row in enumerate(rows)
    )


def make_root(folder):
    """A folder with all data sets, two channels and a few rows each."""
    for entity in ENTITIES["smd"]:
        for part, rows in (("train", TRAIN), ("test", TEST), ("test_label", LABELS)):
            write(folder / SMD / part / f"{entity}.txt", lines(rows))
    write(folder / SMD / "interpretation_label" / "machine-1-2.txt", "1-3:2,1\n")
    for entity in ENTITIES["asd"]:
        for part, rows in (("train", TRAIN), ("test", TEST), ("test_label", LABELS)):
            save(folder / "ASD" / entity / f"{part}.npy", np.array(rows, dtype=np.float32))
    for entity in (*ENTITIES["smap"], *ENTITIES["msl"], "not-in-the-list"):
        save(folder / "telemanom" / "train" / f"{entity}.npy", TRAIN)
        save(folder / "telemanom" / "test" / f"{entity}.npy", TEST)
    write(
        folder / "telemanom" / "labeled_anomalies.csv",
        "chan_id,spacecraft,anomaly_sequences,class,num_values\n"
        'S-1,SMAP,"[[1, 2]]",[point],4\n'
        'P-2,SMAP,"[[3, 3], [0, 1]]","[point, contextual]",4\n'
        'P-2,SMAP,"[[1, 1]]",[point],4\n'
        'M-1,MSL,"[[1, 2]]",[point],4\n'
        'no-files,MSL,"[[1, 2]]",[point],4\n',
    )
    write(folder / "PSM" / "train.csv", "timestamp_(min),f_0,f_1\n0,1,2\n1,3,4\n2,5,6\n")
    write(folder / "PSM" / "test.csv", "timestamp_(min),f_0,f_1\n" + numbered(TEST))
    write(folder / "PSM" / "test_label.csv", "timestamp_(min),label\n" + numbered(LABELS))
    normal = swat_text([(*row, "Normal") for row in TRAIN])
    write(folder / "SWaT" / "SWaT_Dataset_Normal_v0.csv", normal)
    words = ["Normal", "Attack", "A ttack", "Normal"]
    attack = swat_text([(*row, word) for row, word in zip(TEST, words, strict=True)])
    write(folder / "SWaT" / "SWaT_Dataset_Attack_v0.csv", ",,P1,\n" + attack)
