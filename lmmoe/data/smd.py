"""SMD, the Server Machine Dataset (Su et al., KDD 2019), in the layout that it was published in.

``<root>/SMD/ServerMachineDataset/`` with the folders ``train``, ``test``, ``test_label`` and
``interpretation_label``, one ``machine-G-N.txt`` in each: one line per minute, 38 comma-separated
values, no header. Each file may be compressed (``.xz`` or ``.gz``). A line of an interpretation
file reads ``start-end:channel,channel,...``: rows from 0, end excluded; channels from 1.

The data set ``tsb-ad`` cuts the machines as TSB-AD-M does (Liu and Paparrizos, NeurIPS 2024): the
test half from ``first_row`` on is the whole series, which is scored; its first ``train_rows``
train. ``tsb_ad.csv`` has 13 of its 20 series of SMD, with the buffer of VUS of each.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lmmoe.data import reading
from lmmoe.data.series import Cause, Series
from lmmoe.errors import DataError

FOLDER = Path("SMD", "ServerMachineDataset")
CUTS = pd.read_csv(Path(__file__).with_name("tsb_ad.csv"), index_col="entity")
PARTS = {"train": "train", "test": "test", "labels": "test_label", "causes": "interpretation_label"}


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The machines whose training file is there; few have no interpretation."""
    folder = root / FOLDER
    files = [*folder.glob("train/*.txt"), *folder.glob("train/*.txt.[xg]z")]
    machines = {file.name.split(".")[0] for file in files}
    return {
        machine: {p: reading.find(folder / at / f"{machine}.txt") for p, at in PARTS.items()}
        for machine in (machines if name == "smd" else machines & {*CUTS.index})
    }


def read(parts: Mapping[str, Path], *, dataset: str, entity: str) -> Series:
    """One machine: about 24,000 to 28,000 rows of 38 channels in each half, one row a minute."""
    known, path = {"files": dict(parts), "rows_per_day": 1440}, parts["causes"]
    for part in ("train", "test", "labels"):
        frame = reading.read_frame(parts[part], header=None)
        known[part] = reading.to_numbers(frame, parts[part])
    if path.is_file():
        lines, shape = enumerate(reading.read_text(path)[0].split()), known["test"].shape
        known["causes"] = tuple(_cause(line, row, path, shape) for row, line in lines)
    known["labels"] = known["labels"][:, 0]
    if dataset == "tsb-ad":
        first, rows, known["vus_window"] = map(int, CUTS.loc[entity])
        known |= {"test": known["test"][first:], "labels": known["labels"][first:], "causes": None}
        known["train"] = known["test"][:rows]
    return Series.checked(dataset=dataset, entity=entity, **known)


def _cause(line: str, row: int, path: Path, shape: tuple[int, int]) -> Cause:
    """Parse a line of an interpretation file; ``shape`` is (rows, channels) of the test half."""
    try:
        start, end, first, *more = map(int, re.split("[-:,]", line))
        indices = tuple(channel - 1 for channel in (first, *more))
        if not start < end <= shape[0] or not 0 <= min(indices) <= max(indices) < shape[1]:
            raise ValueError(f"outside the {shape[0]} rows and {shape[1]} channels")
    except ValueError as error:
        hint = "Expected start-end:channel,channel,..."
        raise DataError(f"cannot read {line!r} ({error})", file=path, row=row, hint=hint) from error
    return Cause(start, end, indices)
