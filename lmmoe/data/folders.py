"""ASD, PSM and SWaT, each in a folder of its own under the root.

- ``ASD/<entity>/``, the Application Server Dataset (Li et al., KDD 2021): ``train.npy`` and
  ``test.npy`` ``(rows, channels)`` and ``test_label.npy`` ``(rows,)``.
- ``PSM/``, Pooled Server Metrics (Abdulaal et al., KDD 2021): ``train.csv``, ``test.csv`` and
  ``test_label.csv``, each with the time as its first column, which is dropped. Gaps are filled.
- ``SWaT/``, Secure Water Treatment (iTrust, SUTD): ``SWaT_Dataset_Normal_v0.csv`` or ``_v1.csv``
  (the highest version is read) and ``SWaT_Dataset_Attack_v0.csv``, perhaps with a line of groups
  above the header; labels are ``Normal``, ``Attack`` or ``A ttack``.

PSM and SWaT are tested on made-up files only.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lmmoe.data import own, reading
from lmmoe.data.own import Table
from lmmoe.data.series import Series
from lmmoe.errors import DataError

SWAT_TIME, SWAT_LABEL = "Timestamp", "Normal/Attack"
ROWS_PER_DAY = {"asd": 288, "psm": 1440, "swat": 86_400}
HEADER_WITHIN = 5  # lines of a file of SWaT


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The entities: of ASD the folders with both halves; PSM and SWaT are one of their own name."""
    if name == "asd":
        parts = {"train": "train", "test": "test", "labels": "test_label"}
        folders = (root / "ASD").glob("*/")
        found = {at.name: {p: at / f"{file}.npy" for p, file in parts.items()} for at in folders}
        return {e: p for e, p in found.items() if p["train"].is_file() and p["test"].is_file()}
    if name == "psm":
        files = {"train": "train.csv", "test": "test.csv", "labels": "test_label.csv"}
        parts = {part: reading.find(root / "PSM" / file) for part, file in files.items()}
        return {name: parts} if parts["train"].is_file() else {}
    normal, attack = (
        sorted((root / "SWaT").glob(f"SWaT_Dataset_{kind}_v?.csv*"))
        for kind in ("Normal", "Attack")
    )
    return {name: {"train": normal[-1], "test": attack[-1]}} if normal and attack else {}


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
    first = reading.read_text(path)[0].splitlines()[:HEADER_WITHIN]
    above = [n for n, line in enumerate(first) if SWAT_TIME in map(str.strip, line.split(","))]
    if not above:
        raise DataError(f"no column {SWAT_TIME!r} in the first {HEADER_WITHIN} lines", file=path)
    frame = reading.read_frame(path, skiprows=above[0]).rename(columns=str.strip)
    if SWAT_LABEL not in frame:
        raise DataError("no such column", file=path, column=SWAT_LABEL)
    labels, _ = reading.to_bits(frame.pop(SWAT_LABEL), path)
    values = reading.to_numbers(frame := frame.drop(columns=SWAT_TIME), path)
    return Table(path, values, tuple(frame), labels)
