"""ASD, PSM and SWaT, each in a folder of its own under the root.

ASD is the Application Server Dataset (Li et al., KDD 2021): ``<root>/ASD/<entity>/`` with
``train.npy`` and ``test.npy`` ``(rows, channels)`` and ``test_label.npy`` ``(rows,)``, one row per
5 minutes. Collections kept for EasyTSAD look alike: there ``train_label.npy`` may lie beside them,
and an array ``(rows,)`` is one channel. `lmmoe.data.own` reads those through `read_arrays`.

PSM, Pooled Server Metrics (Abdulaal et al., KDD 2021): ``<root>/PSM/`` with ``train.csv``,
``test.csv`` and ``test_label.csv``, each with a header line and the time in minutes as its first
column, which is dropped. The other columns are the channels, or the one label. The training half
has gaps: they are filled, and counted in ``Series.notes``. Tested on made-up files only.

SWaT, the Secure Water Treatment testbed (iTrust, SUTD): ``<root>/SWaT/`` with one CSV file of
normal operation and one with attacks, as iTrust hands them out: ``SWaT_Dataset_Normal_v0.csv`` or
``_v1.csv`` (the highest version that is there is read) and ``SWaT_Dataset_Attack_v0.csv``. A line
of groups may stand above the header; names have blanks around them; the first column is
``Timestamp`` and the last ``Normal/Attack``, with the words ``Normal``, ``Attack`` and, in places,
``A ttack``. Tested on made-up files only.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.series import Bits, Floats, Series
from lmmoe.errors import DataError

SWAT_TIME, SWAT_LABEL = "Timestamp", "Normal/Attack"
HEADER_WITHIN = 5  # lines of a file of SWaT


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The entities: of ASD the folders with both halves; PSM and SWaT are one of their own name."""
    if name == "asd":
        files = {part: f"{part}.npy" for part in ("train", "test", "test_label")}
        folders = [
            folder
            for folder in (root / "ASD").glob("*/")
            if (folder / files["train"]).is_file() and (folder / files["test"]).is_file()
        ]
        return {at.name: {part: at / file for part, file in files.items()} for at in folders}
    if name == "psm":
        files = {"train": "train.csv", "test": "test.csv", "labels": "test_label.csv"}
        paths = {part: root / "PSM" / file for part, file in files.items()}
        found = {part: reading.find(path) or path for part, path in paths.items()}
        return {name: found} if found["train"].is_file() else {}
    found = {}
    for half, stem in (("train", "SWaT_Dataset_Normal"), ("test", "SWaT_Dataset_Attack")):
        versions = (root / "SWaT").glob(f"{stem}*.csv*")
        if readable := [path for path in versions if path.suffix in (".csv", *reading.OPENERS)]:
            found[half] = max(readable)
    return {name: found} if len(found) == 2 else {}


def read(parts: Mapping[str, Path], *, dataset: str, entity: str) -> Series:
    """One entity.

    ASD: a server, 8640 and 4320 rows of 19 channels, one row per 5 minutes; its labels must be
    there. PSM: one row a minute. SWaT: one row a second.
    """
    if dataset == "asd":
        return read_arrays(parts, dataset=dataset, entity=entity, rows_per_day=288)
    return (_read_psm if dataset == "psm" else _read_swat)(parts, dataset, entity)


def read_arrays(
    parts: Mapping[str, Path],
    *,
    dataset: str,
    entity: str,
    rows_per_day: float | None = None,
    fill: bool = False,
) -> Series:
    """One entity from its arrays.

    ``parts`` names the files: ``train`` and ``test`` ``(rows, channels)`` or ``(rows,)``, and
    where there are any ``test_label`` and ``train_label`` ``(rows,)``. ``fill`` repeats the last
    value over NaN. Raises `DataError` for what `Series.checked` refuses.
    """
    halves, notes = {}, ()
    for half in ("train", "test"):
        values = reading.read_npy(parts[half])
        values = values[:, None] if values.ndim == 1 else values
        if fill and values.dtype.kind == "f" and values.ndim == 2:
            filled = reading.fill_gaps(values.astype(np.float64), parts[half].name)
            values, notes = filled[0], notes + filled[1]
        halves[half] = values
    vectors = {}
    for part in ("train_label", "test_label"):
        if part in parts:
            values = reading.read_npy(parts[part])
            column = values.ndim == 2 and values.shape[1] == 1
            vectors[part] = values[:, 0] if column else values
    if "train_label" in vectors:
        marks = reading.to_bits(pd.Series(vectors["train_label"]), parts["train_label"])
        notes += reading.marked_note(marks, len(halves["train"]), parts["train_label"])
    return Series.checked(
        dataset=dataset,
        entity=entity,
        **halves,
        labels=vectors.get("test_label"),
        rows_per_day=rows_per_day,
        notes=notes,
        files={"train": parts["train"], "test": parts["test"], "labels": parts.get("test_label")},
    )


def _read_psm(parts: Mapping[str, Path], dataset: str, entity: str) -> Series:
    values: dict[str, Floats] = {}
    names: dict[str, tuple[str, ...]] = {}
    notes = ()
    for part, path in parts.items():
        frame = reading.read_frame(reading.need(path)).iloc[:, 1:]
        names[part] = tuple(str(name).strip() for name in frame.columns)
        values[part] = reading.to_numbers(frame, path)
        if part != "labels":
            values[part], filled = reading.fill_gaps(values[part], path.name)
            notes += filled
    reading.check_channels(names["test"], names["train"], parts["test"])
    if len(names["labels"]) != 1:
        problem = f"{len(names['labels'])} columns beside the time, not 1"
        raise DataError(problem, file=parts["labels"])
    return Series.checked(
        dataset=dataset,
        entity=entity,
        train=values["train"],
        test=values["test"],
        labels=values["labels"][:, 0],
        channels=names["train"],
        rows_per_day=1440,
        notes=notes,
        files=dict(parts),
    )


def _read_swat(parts: Mapping[str, Path], dataset: str, entity: str) -> Series:
    (train, marks), (test, labels) = (_swat_table(parts[half]) for half in ("train", "test"))
    channels = tuple(train.columns)
    reading.check_channels(tuple(test.columns), channels, parts["test"])
    return Series.checked(
        dataset=dataset,
        entity=entity,
        train=reading.to_numbers(train, parts["train"]),
        test=reading.to_numbers(test, parts["test"]),
        labels=labels,
        channels=channels,
        rows_per_day=86_400,
        notes=reading.marked_note(marks, len(train), parts["train"]) if marks.any() else (),
        files={**parts, "labels": parts["test"]},
    )


def _swat_table(path: Path) -> tuple[pd.DataFrame, Bits]:
    """The channels of a file of SWaT ``(rows, channels)`` and its labels ``(rows,)``."""
    first = [[cell.strip() for cell in row] for row in reading.first_rows(path, HEADER_WITHIN)]
    above = next((number for number, row in enumerate(first) if SWAT_TIME in row), None)
    if above is None:
        raise DataError(
            f"no column {SWAT_TIME!r} in the first {HEADER_WITHIN} lines",
            file=path,
            hint="Export the sheet as CSV with its header line",
        )
    frame = reading.read_frame(path, skiprows=above).rename(columns=lambda name: str(name).strip())
    if SWAT_LABEL not in frame:
        raise DataError("no such column", file=path, column=repr(SWAT_LABEL))
    column = frame.pop(SWAT_LABEL)
    words = column.astype(str).str.replace(r"\s", "", regex=True).str.lower()
    bad = np.flatnonzero(~words.isin(["normal", "attack"]))
    if len(bad):
        raise DataError(
            f"'{column.iloc[bad[0]]}' is neither 'Normal' nor 'Attack'",
            file=path,
            row=int(bad[0]),
            column=repr(SWAT_LABEL),
        )
    return frame.drop(columns=SWAT_TIME), (words == "attack").to_numpy(dtype=np.int8)
