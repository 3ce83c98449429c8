"""SMAP and MSL, telemetry of two spacecraft (Hundman et al., KDD 2018), as published.

``<root>/telemanom/`` with ``train/<entity>.npy`` and ``test/<entity>.npy`` ``(rows, channels)`` and
``labeled_anomalies.csv``, which says the spacecraft of every entity and its anomalies as
``[[first, last], ...]``: rows of the test half from 0, both included, in no order. An entity may
have several lines (P-2 has two): their rows are united. The labels concern channel 0, the
telemetry; the other channels are mostly commands. How many rows make a day is not known.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmmoe.data import reading
from lmmoe.data.series import Series
from lmmoe.errors import DataError

FOLDER = "telemanom"
COLUMNS = ("chan_id", "spacecraft", "anomaly_sequences", "num_values")


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The channels of this spacecraft whose two arrays are there."""
    folder = root / FOLDER
    if not folder.is_dir():
        return {}
    labels = reading.find(folder / "labeled_anomalies.csv")
    lines = reading.read_frame(labels, usecols=COLUMNS)
    found = {}
    for entity in lines.loc[lines["spacecraft"] == name.upper(), "chan_id"]:
        halves = {half: folder / half / f"{entity}.npy" for half in ("train", "test")}
        if all(file.is_file() for file in halves.values()):
            found[entity] = {**halves, "labels": labels}
    return found


def read(parts: Mapping[str, Path], *, dataset: str, entity: str) -> Series:
    """One entity: 25 channels for SMAP, 55 for MSL, some hundred to 8,640 rows in each half."""
    train, test = (reading.read_npy(parts[half]) for half in ("train", "test"))
    lines = reading.read_frame(parts["labels"], usecols=COLUMNS)
    labels = np.zeros(len(test), dtype=np.int8)
    for line in lines[lines["chan_id"] == entity].itertuples():
        try:
            if line.num_values != len(test):
                raise ValueError(f"its labels are for {line.num_values} rows")
            for first, last in json.loads(line.anomaly_sequences):
                if not 0 <= first <= last < len(test):
                    raise ValueError(f"[{first}, {last}] lies outside")
                labels[first : last + 1] = 1
        except (TypeError, ValueError) as error:
            problem = f"cannot label the {len(test)} test rows of {entity} ({error})"
            hint = "Expected [[first, last], ...]"
            raise DataError(problem, file=parts["labels"], row=line.Index, hint=hint) from error
    values = {"train": train, "test": test, "labels": labels}
    return Series.checked(dataset=dataset, entity=entity, **values, files=dict(parts))
