"""Fetching SMD from the repository that published it: resumed, verified, never half there."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests
from urllib3.exceptions import MaxRetryError

from lmmoe.data import reading, smd
from lmmoe.errors import DataError
from lmmoe.inventory import CHUNK, Progress, blob_id, fault, machine_of, published_blobs, silent

COMMIT = "7fb0e0acf89ea49908896bcc9f9e80fcfff6baf4"
PUBLISHED = f"https://raw.githubusercontent.com/NetManAIOps/OmniAnomaly/{COMMIT}"
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be different a little later
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for


class FetchError(DataError):
    """Files that could not be fetched: which, why, and what to do."""


class _Hopeless(FetchError):
    """What stopped this file would stop every other one: the network, the address, the disk."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: paths below the folder SMD, and bytes received."""

    new: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    size: int = 0


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
    blobs = _wanted(published_blobs() if blobs is None else blobs, entities)
    new, present, failed = [], [], []
    with requests.Session() as session:
        # Compressed transfer would make the bytes of a Range those of the compressed stream.
        session.headers["Accept-Encoding"] = "identity"
        job = _Job(folder, base_url.rstrip("/"), session, retries, wait, timeout, progress)
        job.total = len(blobs)
        for path, blob in blobs.items():
            try:
                (new if job.obtain(path, blob) else present).append(path)
            except _Hopeless:
                raise
            except FetchError as error:
                failed.append(str(error))
            job.done += 1
        job.tell("")
    if failed:
        listed = "\n".join(failed)
        raise FetchError(
            f"{len(failed)} of {len(blobs)} files could not be fetched:\n{listed}\n"
            "The others are there; run the same command again to try these once more"
        )
    return Fetched(new, present, job.size)


def _wanted(blobs: Mapping[str, str], entities: Sequence[str]) -> dict[str, str]:
    machines = [machine for path in blobs if (machine := machine_of(path))]
    unknown = sorted(set(entities) - set(machines))
    if unknown:
        raise FetchError(
            f"SMD has no machine {', '.join(unknown)}",
            hint=f"Known: {', '.join(dict.fromkeys(machines))}",
        )
    # The licence asks to go with every copy, so it is fetched with a single machine, too.
    kept = {None, *(entities or machines)}
    return {path: blob for path, blob in blobs.items() if machine_of(path) in kept}


@dataclass
class _Job:
    """One run: where to, where from, how patiently, and how far it is."""

    folder: Path
    base_url: str
    session: requests.Session
    retries: int
    wait: float
    timeout: tuple[float, float]
    progress: Progress
    total: int = 0
    done: int = 0
    size: int = 0  # bytes received

    def tell(self, path: str) -> None:
        """Report where the run is."""
        self.progress(self.done, self.total, f"{self.size / 1e6:.1f} MB {path}".rstrip())

    def obtain(self, path: str, blob: str) -> bool:
        """Have one file with this content in its place; False where it is there already."""
        self.tell(path)
        target = self.folder / smd.FOLDER.parent / path
        there = reading.find(target)
        if there and not fault(there, blob):
            return False
        try:
            self._replace(path, blob, target)
            if there and there != target:  # a compressed copy with other content
                there.unlink()
        except OSError as error:
            raise _Hopeless(
                f"cannot be had ({error})",
                file=target,
                hint="If the disk is why, make room or name another folder (--root, LMMOE_DATA)",
            ) from error
        return True

    def _replace(self, path: str, blob: str, target: Path) -> None:
        part = target.with_name(target.name + ".part")
        got = ""
        for _ in range(2):  # what was left by an earlier run may be bad: once more, from nothing
            self._download(path, part)
            got = blob_id(part)
            if got == blob:
                os.replace(part, target)
                return
            part.unlink()
        raise FetchError(
            f"the server's content has git blob id {got}, expected {blob}",
            file=path,
            hint=f"Something else lies at {self.base_url}/{path}; nothing was kept of it",
        )

    def _download(self, path: str, part: Path) -> None:
        """Complete the part, trying again where the reason of a failure may pass."""
        url = f"{self.base_url}/{path}"
        for attempt in range(self.retries + 1):
            try:
                self._receive(url, path, part)
                return
            except requests.RequestException as error:
                last = attempt == self.retries or not _may_pass(error)
                if last and _nobody_there(error):
                    raise _Hopeless(self._by_hand(url, error)) from error
                if last:
                    raise FetchError(f"{url}: {_reason(error)}") from error
                time.sleep(_pause(error, self.wait * 2**attempt))

    def _receive(self, url: str, path: str, part: Path) -> None:
        """Ask once for what is missing of a file and append it to the part."""
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self.session.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            start = response.headers.get("Content-Range", "").partition("-")[0]
            continued = response.status_code == 206 and start == f"bytes {have}"
            if have and not continued and response.status_code in (206, 416):
                part.unlink()  # the server has no such range: it is asked for the whole file
                self._receive(url, path, part)
                return
            response.raise_for_status()
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab" if continued else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    self.size += len(chunk)
                    self.tell(path)

    def _by_hand(self, url: str, error: requests.RequestException) -> str:
        place = self.folder / smd.FOLDER
        return (
            f"{url}: cannot be reached ({_reason(error)}).\n"
            f"Without a network, fill this folder by hand: {place}\n"
            f"with the folders {', '.join(smd.PARTS.values())}, each with one machine-G-N.txt per\n"
            "machine as published (plain, .xz or .gz); or set LMMOE_DATA to a folder that holds\n"
            f"{smd.FOLDER.as_posix()} already. What was begun is kept and continued next time"
        )


def _may_pass(error: requests.RequestException) -> bool:
    if error.response is not None:
        return error.response.status_code in PASSING
    broken = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,  # the body ended early
        requests.exceptions.ContentDecodingError,
    )
    return isinstance(error, broken)


def _nobody_there(error: requests.RequestException) -> bool:
    """Whether no connection came about at all, or the address is none (a ValueError, too)."""
    return isinstance(error, ValueError) or isinstance(_cause(error), MaxRetryError)


def _cause(error: requests.RequestException) -> object:
    return error.args[0] if error.args else error


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server says {error.response.status_code} {error.response.reason}".rstrip()
    cause = _cause(error)
    return str(getattr(cause, "reason", None) or cause)


def _pause(error: requests.RequestException, usual: float) -> float:
    """Seconds until the next attempt: what the server asks for (Retry-After), else the usual."""
    asked = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return min(float(asked) if asked.isdigit() else usual, LONGEST_WAIT)
