"""SMD from the repository that published it, and what of all data sets lies under the data root.

SMD's files are known by their git blob ids (``smd_blobs.csv``). A download is resumed, verified,
and never half there: it grows in a ``.part`` beside its place and is moved there when it is right.
"""

import csv
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from inspect import cleandoc
from pathlib import Path, PurePosixPath

import numpy as np
import requests
from urllib3.exceptions import MaxRetryError

from lmmoe import data
from lmmoe.data import reading, smd
from lmmoe.errors import DataError

COMMIT = "7fb0e0acf89ea49908896bcc9f9e80fcfff6baf4"
PUBLISHED = f"https://raw.githubusercontent.com/NetManAIOps/OmniAnomaly/{COMMIT}"
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be different a little later
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
CHUNK = 1 << 16  # bytes downloaded at a time

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
    with reading.naming(path), reading.OPENERS.get(path.suffix, open)(path, "rb") as file:
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def fault(file: Path, blob: str) -> str:
    """Say what is wrong with a file that should have this git blob id; empty where nothing is."""
    try:
        got = blob_id(file)
    except DataError as error:
        return str(error)
    return "" if got == blob else f"{file}: git blob id {got}, expected {blob}"


# --- fetching ---


class FetchError(DataError):
    """A fetch that failed: which files, why, and what to do."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: paths below the folder SMD, and bytes received."""

    new: list[str]
    present: list[str]
    size: int


def fetch_smd(
    folder: Path,
    *,
    base_url: str = PUBLISHED,
    entities: Sequence[str] = (),
    blobs: Mapping[str, str] | None = None,
    retries: int = 4,
    wait: float = 0.5,
    timeout: tuple[float, float] = (10.0, 60.0),
    progress: Progress = silent,
) -> Fetched:
    """Download SMD into ``folder``/SMD, all of it or the machines ``entities`` only.

    Files that are there and have the published content are left alone. ``base_url`` is the address
    of the folder that holds ServerMachineDataset. An attempt that fails for a passing reason is
    repeated up to ``retries`` times, the first time after ``wait`` seconds, then after twice as
    many; ``timeout`` is in seconds, for connecting and for each read. Raises `FetchError`: at once
    where nobody answers or nothing can be written, else at the end with all files that failed.
    """
    blobs = published_blobs() if blobs is None else blobs
    machines = list(dict.fromkeys(filter(None, map(machine_of, blobs))))
    if unknown := sorted(set(entities) - set(machines)):
        hint = f"Known: {', '.join(machines)}"
        raise FetchError(f"SMD has no machine {', '.join(unknown)}", hint=hint)
    # The licence asks to go with every copy, so it is fetched with a single machine, too.
    wanted = {None, *(entities or machines)}
    blobs = {path: blob for path, blob in blobs.items() if machine_of(path) in wanted}
    new, present, failed = [], [], []
    with requests.Session() as session:
        # Compressed transfer would make the bytes of a Range those of the compressed stream.
        session.headers["Accept-Encoding"] = "identity"
        source = _Source(base_url.rstrip("/"), session, retries, wait, timeout)
        for done, (path, blob) in enumerate(blobs.items()):

            def tell(path: str = path, done: int = done) -> None:
                progress(done, len(blobs), f"{source.size / 1e6:.1f} MB {path}")

            tell()
            target = folder / smd.FOLDER.parent / path
            there = reading.find(target)
            if there and not fault(there, blob):
                present.append(path)
                continue
            try:
                source.fetch(path, blob, target, tell)
                if there and there != target:  # a compressed copy with other content
                    there.unlink()
                new.append(path)
            except (_Unreachable, OSError) as error:
                raise FetchError(_by_hand(folder, target, error)) from error
            except DataError as error:
                failed.append(str(error))
        progress(len(blobs), len(blobs), f"{source.size / 1e6:.1f} MB")
    if failed:
        listed = "\n".join(failed)
        raise FetchError(
            f"{len(failed)} of {len(blobs)} files could not be fetched:\n{listed}\n"
            "The others are there; run the same command again to try these once more"
        )
    return Fetched(new, present, source.size)


class _Unreachable(Exception):
    """No connection came about, or the address is none: no other file could be fetched either."""


def _by_hand(folder: Path, target: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return (
            f"{target}: cannot be had ({error}). "
            "If the disk is why, make room or name another folder (--root, LMMOE_DATA)"
        )
    return (
        f"{error}.\nWithout a network, fill this folder by hand: {folder / smd.FOLDER}\n"
        f"with the folders {', '.join(smd.PARTS.values())}, each with one machine-G-N.txt per\n"
        "machine as published (plain, .xz or .gz); or set LMMOE_DATA to a folder that holds\n"
        f"{smd.FOLDER.as_posix()} already. What was begun is kept and continued next time"
    )


@dataclass
class _Source:
    """Where the files come from, how patiently they are asked for, and the bytes received."""

    base_url: str
    session: requests.Session
    retries: int
    wait: float
    timeout: tuple[float, float]
    size: int = 0

    def fetch(self, path: str, blob: str, target: Path, tell: Callable[[], None]) -> None:
        """Put a file with this content into its place; `DataError` where there is none."""
        part = target.with_name(target.name + ".part")
        for _ in range(2):  # what was left by an earlier run may be bad: once more, from nothing
            self._download(f"{self.base_url}/{path}", part, tell)
            got = blob_id(part)
            if got == blob:
                os.replace(part, target)
                return
            part.unlink()
        raise DataError(
            f"the server's content has git blob id {got}, expected {blob}",
            file=path,
            hint=f"Something else lies at {self.base_url}/{path}; nothing was kept of it",
        )

    def _download(self, url: str, part: Path, tell: Callable[[], None]) -> None:
        """Complete the part, trying again where the reason of a failure may pass."""
        for attempt in range(self.retries + 1):
            try:
                self._receive(url, part, tell)
                return
            except requests.RequestException as error:
                answer, cause = error.response, error.args[0] if error.args else error
                reason = str(getattr(cause, "reason", None) or cause)
                pause = self.wait * 2**attempt
                passing = isinstance(
                    error,
                    requests.ConnectionError
                    | requests.Timeout
                    | requests.exceptions.ChunkedEncodingError  # the body ended early
                    | requests.exceptions.ContentDecodingError,
                )
                if answer is not None:
                    reason = f"the server says {answer.status_code} {answer.reason}".rstrip()
                    passing = answer.status_code in PASSING
                    asked = answer.headers.get("Retry-After", "")
                    pause = min(float(asked) if asked.isdigit() else pause, LONGEST_WAIT)
                if passing and attempt < self.retries:
                    time.sleep(pause)
                elif isinstance(error, ValueError) or isinstance(cause, MaxRetryError):
                    raise _Unreachable(f"{url}: cannot be reached ({reason})") from error
                else:
                    raise DataError(f"{url}: {reason}") from error

    def _receive(self, url: str, part: Path, tell: Callable[[], None]) -> None:
        """Ask once for what is missing of a file and append it to the part."""
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self.session.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            start = response.headers.get("Content-Range", "").partition("-")[0]
            continued = response.status_code == 206 and start == f"bytes {have}"
            if have and not continued and response.status_code in (206, 416):
                part.unlink()  # the server has no such range: it is asked for the whole file
                self._receive(url, part, tell)
                return
            response.raise_for_status()
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab" if continued else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    self.size += len(chunk)
                    tell()


# --- what is there ---


@dataclass(frozen=True)
class Holding:
    """What is there of one data set; ``wrong`` has a message per file or entity."""

    name: str
    entities: list[str]
    facts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is there, not even something incomplete or wrong."""
        return not (self.entities or self.remarks or self.wrong)

    def lines(self) -> list[str]:
        """The holding as text, the first line starting with the name."""
        if self.empty:
            how = ": python -m lmmoe fetch smd" if self.name == "smd" else ""
            return [f"{self.name:<10} not here{how}"]
        number = f"{len(self.entities)} {'entity' if len(self.entities) == 1 else 'entities'}"
        below = [*self.remarks, *(f"wrong: {problem}" for problem in self.wrong)]
        first = f"{self.name:<10} {', '.join([number, *self.facts])}"
        return [first, *(f"{'':<10} {line}" for line in below)]


def layouts(names: Sequence[str]) -> list[str]:
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
    facts = (f"{size / 1e6:.1f} MB on disk",) if size else ()
    if name == "smd":
        return _audited(present, facts, root, progress)
    remarks, wrong, shapes = (), [], []
    if check and present:
        for done, entity in enumerate(present):
            progress(done, len(present), f"{name}/{entity}")
            try:
                series = data.load(name, entity, root)
                shapes += [series.train.shape, series.test.shape]
            except DataError as error:
                wrong.append(f"{entity}: {error}")
        progress(len(present), len(present), "")
        read = len(present) - len(wrong)
        remarks = (f"{read} of {len(present)} entities read without error",)
    else:
        shapes = _array_shapes(files)
    if shapes:
        channels = sorted({shape[1] for shape in shapes})
        span = " to ".join(map(str, dict.fromkeys((channels[0], channels[-1]))))
        facts += (f"{sum(shape[0] for shape in shapes):,} rows", f"{span} channels")
    return Holding(name, present, facts, remarks, tuple(wrong))


def _array_shapes(files: set[Path]) -> list[tuple[int, int]]:
    """Shapes of the halves, from the heads of ``.npy`` files; none at all if one is bad."""
    try:
        arrays = [
            np.load(file, mmap_mode="r", allow_pickle=False)
            for file in files
            if file.suffix == ".npy"
        ]
    except (ValueError, OSError, EOFError):
        return []
    return [array.shape for array in arrays if array.ndim == 2]  # labels have one axis


def _audited(present: list[str], facts: tuple[str, ...], root: Path, progress: Progress) -> Holding:
    """SMD, each file held against its published git blob id."""
    blobs = published_blobs()
    right, wrong, missing = [], {}, []
    for done, (path, blob) in enumerate(blobs.items()):
        progress(done, len(blobs), path)
        file = reading.find(root / smd.FOLDER.parent / path)
        if file is None:
            missing.append(path)
        elif problem := fault(file, blob):
            wrong[path] = problem
        else:
            right.append(path)
    progress(len(blobs), len(blobs), "")
    if not right and not wrong:
        return Holding("smd", [])  # at most downloads that were begun
    parts, have = (Counter(filter(None, map(machine_of, paths))) for paths in (blobs, right))
    complete = sum(have[machine] == count for machine, count in parts.items())
    begun = set(map(machine_of, [*right, *wrong]))
    remarks = (
        f"{len(right)} files right, {len(wrong)} wrong, {len(missing)} missing",
        f"{complete} of {len(parts)} machines complete",
        *(f"incomplete: {path} is missing" for path in missing if machine_of(path) in begun),
    )
    return Holding("smd", present, facts, remarks, tuple(wrong.values()))
