"""SMD, the Server Machine Dataset (Su et al., KDD 2019), in the layout that it was published in.

``<root>/SMD/ServerMachineDataset/`` with the folders ``train``, ``test``, ``test_label`` and
``interpretation_label``, one ``machine-G-N.txt`` in each: one line per minute, 38 comma-separated
values, no header. Each file may be compressed (``.xz`` or ``.gz``). A line of an interpretation
file reads ``start-end:channel,channel,...``: rows from 0, end excluded; channels from 1.
"""

from pathlib import Path

from lmmoe.data import reading
from lmmoe.data.series import Cause, Series
from lmmoe.errors import DataError

FOLDER = Path("SMD", "ServerMachineDataset")
PARTS = {"train": "train", "test": "test", "labels": "test_label", "causes": "interpretation_label"}


def entities(name: str, root: Path) -> list[str]:
    """The machines whose training file is there."""
    endings = tuple(f".txt{suffix}" for suffix in reading.SUFFIXES)  # not a begun .txt.part
    names = [file.name for file in (root / FOLDER / "train").glob("*.txt*")]
    return sorted({name.split(".")[0] for name in names if name.endswith(endings)})


def files(name: str, root: Path, entity: str) -> list[Path]:
    """The four files of a machine, or three where nobody interpreted its events."""
    paths = (reading.find(root / FOLDER / part / f"{entity}.txt") for part in PARTS.values())
    return [path for path in paths if path is not None]


def read(name: str, root: Path, entity: str) -> Series:
    """One machine: about 24,000 to 28,000 rows of 38 channels in each half, one row a minute."""
    paths = {part: root / FOLDER / folder / f"{entity}.txt" for part, folder in PARTS.items()}
    found = {part: reading.need(paths[part]) for part in ("train", "test", "labels")}
    values = {part: reading.read_matrix(path) for part, path in found.items()}
    interpretation = reading.find(paths["causes"])
    return Series.checked(
        dataset=name,
        entity=entity,
        train=values["train"],
        test=values["test"],
        labels=values["labels"][:, 0],
        causes=read_causes(interpretation, values["test"].shape) if interpretation else None,
        rows_per_day=1440,
        files=found,
    )


def read_causes(path: Path, shape: tuple[int, int]) -> tuple[Cause, ...]:
    """Parse an interpretation file for a test half of ``shape`` (rows, channels)."""
    lines = reading.read_text(path).split()
    return tuple(_cause(line, number, path, shape) for number, line in enumerate(lines))


def _cause(line: str, number: int, path: Path, shape: tuple[int, int]) -> Cause:
    try:
        span, channels = line.split(":")
        start, end = (int(row) for row in span.split("-"))
        indices = tuple(int(channel) - 1 for channel in channels.split(","))
    except ValueError as error:
        hint = "Expected start-end:channel,channel,..."
        raise DataError(f"cannot read {line!r}", file=path, row=number, hint=hint) from error
    if not 0 <= start < end <= shape[0] or not all(0 <= index < shape[1] for index in indices):
        raise DataError(
            f"{line!r} lies outside the {shape[0]} rows and {shape[1]} channels of the test half",
            file=path,
            row=number,
        )
    return Cause(start, end, indices)
