"""ASD, PSM and SWaT, each in a folder of its own under the root.

- ``ASD/<entity>/``, the Application Server Dataset (Li et al., KDD 2021): ``train.npy`` and
  ``test.npy`` ``(rows, channels)`` and ``test_label.npy`` ``(rows,)``.
- ``PSM/``, Pooled Server Metrics (Abdulaal et al., KDD 2021): ``train.csv``, ``test.csv`` and
  ``test_label.csv``, each with the time as its first column, which is dropped. Gaps are filled.
- ``SWaT/``, Secure Water Treatment (iTrust, SUTD): ``SWaT_Dataset_Normal_v0.csv`` or ``_v1.csv``
  (the highest version is read) and ``SWaT_Dataset_Attack_v0.csv``, perhaps with a line of groups
  above the header; labels are ``Normal``, ``Attack`` or ``A ttack``.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lmmoe.data import own, reading
from lmmoe.data.own import Table
from lmmoe.data.series import Series

SWAT_TIME, SWAT_LABEL = "Timestamp", "Normal/Attack"
ROWS_PER_DAY = {"asd": 288, "psm": 1440, "swat": 86_400}
PARTS = {"train": "train", "test": "test", "labels": "test_label"}


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The entities with both halves: of ASD the folders; PSM and SWaT are one of their own name."""
    if name == "swat":
        files = sorted((root / "SWaT").glob("SWaT_Dataset_*_v?.csv*"))
        last = {file.name.split("_")[2]: file for file in files}
        there = {"Normal", "Attack"} <= last.keys()
        return {name: {"train": last["Normal"], "test": last["Attack"]}} if there else {}
    suffix, folders = ".csv", {name: root / "PSM"}
    if name == "asd":
        suffix, folders = ".npy", {folder.name: folder for folder in (root / "ASD").glob("*/")}
    found = {
        entity: {part: reading.find(folder / f"{file}{suffix}") for part, file in PARTS.items()}
        for entity, folder in folders.items()
    }
    return {e: p for e, p in found.items() if p["train"].is_file() and p["test"].is_file()}


def read(parts: Mapping[str, Path], *, dataset: str, entity: str) -> Series:
    """One entity: a row per 5 minutes (ASD, with labels), per minute (PSM) or second (SWaT)."""
    half = {"asd": own.read_table, "psm": _psm_half, "swat": _swat_half}[dataset]
    train, test = half(parts["train"]), half(parts["test"])
    if "labels" in parts:
        test = own.labelled(test, parts["labels"])
    series = own.join(train, test, parts.get("labels", test.path), dataset, entity)
    return replace(series, rows_per_day=ROWS_PER_DAY[dataset])


def _psm_half(path: Path) -> Table:
    frame = reading.read_frame(path).iloc[:, 1:]
    values = reading.to_numbers(frame, path, fill=True)
    return Table(path, values, tuple(name.strip() for name in frame))


def _swat_half(path: Path) -> Table:
    text, _ = reading.read_text(path)
    header = text.rfind("\n", 0, text.find(SWAT_TIME) + 1) + 1
    frame = reading.read_frame(path, text[header:]).rename(columns=str.strip)
    time = reading.pick(frame, SWAT_TIME, (), "time", path)
    label = reading.pick(frame, SWAT_LABEL, (), "label", path)
    labels = reading.to_bits(frame.pop(label), path, [])
    values = reading.to_numbers(frame := frame.drop(columns=time), path)
    return Table(path, values, tuple(frame), labels)
