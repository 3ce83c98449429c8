"""SMAP and MSL, telemetry of two spacecraft (Hundman et al., KDD 2018), as published.

``<root>/telemanom/`` with ``train/<entity>.npy`` and ``test/<entity>.npy`` ``(rows, channels)`` and
``labeled_anomalies.csv``, which says the spacecraft of every entity and its anomalies as
``[[first, last], ...]``: rows of the test half from 0, both included, in no order. An entity may
have several lines (P-2 has two): their rows are united. The labels concern channel 0, the
telemetry; the other channels are mostly commands. How many rows make a day is not known.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from lmmoe.data import reading
from lmmoe.data.series import Bits, Series
from lmmoe.errors import DataError

FOLDER = "telemanom"
LABELS = "labeled_anomalies.csv"
COLUMNS = ("chan_id", "spacecraft", "anomaly_sequences", "num_values")


def entities(name: str, root: Path) -> list[str]:
    """The channels of this spacecraft whose two arrays are there."""
    if not (root / FOLDER).is_dir():
        return []
    lines = _lines(root)
    mine = set(lines.loc[lines["spacecraft"] == name.upper(), "chan_id"])
    return sorted(
        entity for entity in mine if all(half.is_file() for half in _halves(root, entity))
    )


def files(name: str, root: Path, entity: str) -> list[Path]:
    """The two arrays and the label file, which is the same for all."""
    return [*_halves(root, entity), reading.need(root / FOLDER / LABELS)]


def read(name: str, root: Path, entity: str) -> Series:
    """One entity: 25 channels for SMAP, 55 for MSL, some hundred to 8,640 rows in each half."""
    train, test = _halves(root, entity)
    values = reading.read_npy(test)
    return Series.checked(
        dataset=name,
        entity=entity,
        train=reading.read_npy(train),
        test=values,
        labels=_labels(root, entity, len(values)),
        files={"train": train, "test": test, "labels": root / FOLDER / LABELS},
    )


def _halves(root: Path, entity: str) -> tuple[Path, Path]:
    return root / FOLDER / "train" / f"{entity}.npy", root / FOLDER / "test" / f"{entity}.npy"


def _lines(root: Path) -> pd.DataFrame:
    """The label file, one line per entity or several."""
    path = reading.need(root / FOLDER / LABELS)
    lines = reading.read_frame(path)
    missing = [column for column in COLUMNS if column not in lines]
    if missing:
        raise DataError("no such column", file=path, column=repr(missing[0]))
    return lines


def _labels(root: Path, entity: str, rows: int) -> Bits:
    """The 0/1 labels ``(rows,)`` of a test half."""
    path = reading.need(root / FOLDER / LABELS)
    lines = _lines(root)
    labels = np.zeros(rows, dtype=np.int8)
    for number in np.flatnonzero(lines["chan_id"] == entity):
        line = lines.iloc[number]
        if line["num_values"] != rows:
            raise DataError(
                f"{entity} has {rows} test rows, but its labels are for {line['num_values']}",
                file=path,
                row=int(number),
                column="'num_values'",
                hint="Arrays and labels must be of the same release",
            )
        for first, last in _spans(line["anomaly_sequences"], rows, path, int(number)):
            labels[first : last + 1] = 1
    return labels


def _spans(text: str, rows: int, path: Path, number: int) -> list[tuple[int, int]]:
    """Parse ``[[first, last], ...]``, both included."""
    place = {"file": path, "row": number, "column": "'anomaly_sequences'"}
    try:
        spans = [(int(first), int(last)) for first, last in json.loads(text)]
    except (TypeError, ValueError) as error:
        hint = "Expected [[first, last], ...]"
        raise DataError(f"cannot read {text!r}", **place, hint=hint) from error
    for first, last in spans:
        if not 0 <= first <= last < rows:
            raise DataError(f"[{first}, {last}] lies outside the {rows} test rows", **place)
    return spans
