"""What lies under the data root: what is there of each data set, and whether it is right."""

import csv
import gzip
import hashlib
import lzma
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, resources
from inspect import cleandoc
from pathlib import Path, PurePosixPath

import numpy as np

from lmmoe import data
from lmmoe.data import reading, smd
from lmmoe.errors import DataError

CHUNK = 1 << 16  # bytes read, and downloaded, at a time
OPENERS = {".xz": lzma.open, ".gz": gzip.open}

Progress = Callable[[int, int, str], None]  # items done, items in all, what is at hand


def silent(done: int, total: int, note: str) -> None:
    """Tell nobody: the progress where none is asked for."""


def published_blobs() -> dict[str, str]:
    """The files of SMD as published, path to git blob id; paths start at ServerMachineDataset."""
    listing = resources.files("lmmoe") / "data" / "smd_blobs.csv"
    with listing.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["git_blob"] for row in csv.DictReader(file)}


def machine_of(path: str) -> str | None:
    """The machine that a published file belongs to; None for the licence."""
    file = PurePosixPath(path)
    return file.stem if file.suffix == ".txt" else None


def blob_id(path: Path) -> str:
    """The git blob id of a file's content, decompressed first where the name ends in .xz or .gz.

    SHA-1 of ``blob <size>``, a zero byte and the content (git-hash-object). Raises `DataError`
    where the file cannot be read or is damaged.
    """
    try:
        if path.suffix in OPENERS:
            # The size goes in first and only decompressing tells it: one file is held in memory.
            with OPENERS[path.suffix](path) as file:
                content = file.read()
            digest = _blob_start(len(content))
            digest.update(content)
            return digest.hexdigest()
        digest = _blob_start(path.stat().st_size)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()
    except reading.DAMAGE as error:
        raise DataError(
            f"cannot be read, truncated or damaged ({error})", file=path, hint="Get it again"
        ) from error


def _blob_start(size: int) -> "hashlib._Hash":
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def fault(file: Path, blob: str) -> str:
    """Say what is wrong with a file that should have this git blob id; empty where nothing is."""
    try:
        got = blob_id(file)
    except DataError as error:
        return str(error)
    return "" if got == blob else f"{file}: git blob id {got}, expected {blob}"


@dataclass(frozen=True)
class Audit:
    """The files of SMD held against the published list; paths as in `published_blobs`."""

    right: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)  # path to what is wrong
    missing: list[str] = field(default_factory=list)

    def summary(self) -> list[str]:
        """Count files and machines, and name the machines that have some of their files."""
        here = [*self.right, *self.wrong]
        parts = Counter(map(machine_of, [*here, *self.missing]))
        parts.pop(None, None)
        right = Counter(map(machine_of, self.right))
        complete = sum(right[machine] == count for machine, count in parts.items())
        lines = [
            f"{len(self.right)} files right, {len(self.wrong)} wrong, {len(self.missing)} missing",
            f"{complete} of {len(parts)} machines complete",
        ]
        begun = set(map(machine_of, here))
        lacking = [path for path in self.missing if machine_of(path) in begun]
        return lines + [f"incomplete: {path} is missing" for path in lacking]


def audit_smd(
    root: Path, *, blobs: Mapping[str, str] | None = None, progress: Progress = silent
) -> Audit:
    """Check each file of SMD under ``root`` against its published git blob id."""
    blobs = published_blobs() if blobs is None else blobs
    audit = Audit()
    for done, (path, blob) in enumerate(blobs.items()):
        progress(done, len(blobs), path)
        file = reading.find(root / smd.FOLDER.parent / path)
        if file is None:
            audit.missing.append(path)
        elif problem := fault(file, blob):
            audit.wrong[path] = problem
        else:
            audit.right.append(path)
    progress(len(blobs), len(blobs), "")
    return audit


@dataclass(frozen=True)
class Holding:
    """What is there of one data set."""

    name: str
    entities: list[str]
    size: int = 0  # bytes on disk
    rows: int = 0  # both halves of all entities; 0 where all would have to be read to know
    channels: frozenset[int] = frozenset()
    remarks: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()  # one message per file or entity

    @property
    def empty(self) -> bool:
        """Whether nothing is there, not even something incomplete or wrong."""
        return not (self.entities or self.remarks or self.wrong)

    def lines(self) -> list[str]:
        """The holding as text, the first line starting with the name."""
        if self.empty:
            how = ": python -m lmmoe fetch smd" if self.name == "smd" else ""
            return [f"{self.name:<10} not here{how}"]
        facts = [f"{len(self.entities)} {'entity' if len(self.entities) == 1 else 'entities'}"]
        facts += [f"{self.size / 1e6:.1f} MB on disk"] if self.size else []
        facts += [f"{self.rows:,} rows"] if self.rows else []
        facts += [f"{_span(self.channels)} channels"] if self.channels else []
        below = [*self.remarks, *(f"wrong: {problem}" for problem in self.wrong)]
        return [f"{self.name:<10} {', '.join(facts)}", *(f"{'':<10} {line}" for line in below)]


def layouts(names: list[str]) -> list[str]:
    """The layouts that these data sets are expected in, as their readers describe them."""
    readers: dict[str, list[str]] = {}
    for name in names:
        readers.setdefault(data.DATASETS[name], []).append(name)
    lines = []
    for reader, same in readers.items():
        text = cleandoc(import_module(f"lmmoe.data.{reader}").__doc__ or "").replace("``", "")
        lines += ["", f"{', '.join(same)}:", *(f"  {line}".rstrip() for line in text.splitlines())]
    return lines


def holding(name: str, root: Path, *, check: bool = False, progress: Progress = silent) -> Holding:
    """Look at one data set under ``root``.

    SMD's files are held against their published ids; of the others, ``check`` reads every entity.
    What is wrong is told in the holding, not raised.
    """
    try:
        present = data.entities(name, root)
        files = {file for entity in present for file in data.files(name, entity, root)}
    except DataError as error:
        return Holding(name, [], wrong=(str(error),))
    size = sum(file.stat().st_size for file in files)
    if name == "smd":
        return _smd_holding(present, size, root, progress)
    if check and present:
        return _read_all(name, present, size, root, progress)
    rows, channels = _array_shapes(files)
    return Holding(name, present, size, rows, channels)


def _smd_holding(present: list[str], size: int, root: Path, progress: Progress) -> Holding:
    audit = audit_smd(root, progress=progress)
    if not audit.right and not audit.wrong:
        return Holding("smd", [])  # at most downloads that were begun
    return Holding(
        "smd", present, size, remarks=tuple(audit.summary()), wrong=tuple(audit.wrong.values())
    )


def _read_all(name: str, present: list[str], size: int, root: Path, progress: Progress) -> Holding:
    rows, channels, wrong = 0, set(), []
    for done, entity in enumerate(present):
        progress(done, len(present), f"{name}/{entity}")
        try:
            series = data.load(name, entity, root)
        except DataError as error:
            wrong.append(f"{entity}: {error}")
            continue
        rows += len(series.train) + len(series.test)
        channels.add(len(series.channels))
    progress(len(present), len(present), "")
    remark = f"{len(present) - len(wrong)} of {len(present)} entities read without error"
    return Holding(name, present, size, rows, frozenset(channels), (remark,), tuple(wrong))


def _array_shapes(files: set[Path]) -> tuple[int, frozenset[int]]:
    """Rows in all and numbers of channels, from the heads of ``.npy`` files; 0 if one is bad."""
    rows, channels = 0, set()
    for file in files:
        if file.suffix == ".npy":
            try:
                shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
            except (ValueError, OSError, EOFError):
                return 0, frozenset()
            if len(shape) == 2:  # labels have one axis
                rows += shape[0]
                channels.add(shape[1])
    return rows, frozenset(channels)


def _span(numbers: frozenset[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
