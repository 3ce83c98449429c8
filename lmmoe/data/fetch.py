"""SMD from the repository that published it.

Its files are known by their git blob ids (``smd_blobs.csv``). A download is resumed, verified,
and never half there: it grows in a ``.part`` beside its place and is moved there when it is right.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import requests
import urllib3

from lmmoe.data import reading, smd
from lmmoe.errors import DataError
from lmmoe.progress import bar

COMMIT = "7fb0e0acf89ea49908896bcc9f9e80fcfff6baf4"
PUBLISHED = f"https://raw.githubusercontent.com/NetManAIOps/OmniAnomaly/{COMMIT}"
LICENCE = "LICENSE"  # it asks to go with every copy, so it is fetched with a single machine, too
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be different a little later
RETRIES = 4  # of an attempt that failed for a passing reason
WAIT = 1.0  # seconds before the first retry, then twice as many each time
TIMEOUT = (10.0, 60.0)  # seconds, for connecting and for each read
CHUNK = 1 << 16  # bytes downloaded at a time, and the fewest in `PATIENCE` seconds
PATIENCE = 120.0
LARGEST = 12_000_000  # bytes of a file; the largest published one has less than 10 million


def published_blobs() -> dict[str, str]:
    """The files of SMD as published, path to git blob id; paths start at ServerMachineDataset."""
    table = pd.read_csv(Path(__file__).with_name("smd_blobs.csv"), index_col="path")
    return table["git_blob"].to_dict()


def fault(file: Path, blob: str) -> str:
    """Say what is wrong with a file, perhaps compressed, of this git blob id; "" if nothing is."""
    try:
        with reading.naming(file), reading.OPENERS.get(file.suffix, open)(file, "rb") as opened:
            content = opened.read()
    except DataError as error:
        return str(error)
    # As git-hash-object has it.
    hashed = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    got = hashed.hexdigest()
    return "" if got == blob else f"{file}: git blob id {got}, expected {blob}"


def fetch_smd(
    folder: Path, *, base_url: str = PUBLISHED, entities: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Download SMD into ``folder``/SMD, all of it or the machines ``entities`` only.

    ``base_url`` is the address of the folder that holds ServerMachineDataset. Gives the files that
    are new, and those that were there. Raises `DataError`: at once where nobody answers or nothing
    can be written, else at the end with all files that failed.
    """
    blobs = published_blobs()
    machines = sorted({Path(path).stem for path in blobs} - {LICENCE})
    if unknown := set(entities) - set(machines):
        hint = f"Known: {', '.join(machines)}"
        raise DataError(f"SMD has no machine {', '.join(sorted(unknown))}", hint=hint)
    stems = {LICENCE, *(entities or machines)}
    wanted = {path: blob for path, blob in blobs.items() if Path(path).stem in stems}
    new, present, failed = [], [], []
    with requests.Session() as session, bar(len(wanted), "fetch smd", unit=" files") as line:
        # Compressed transfer would make the bytes of a Range those of the compressed stream.
        session.headers["Accept-Encoding"] = "identity"
        for path, blob in wanted.items():
            target = folder / smd.FOLDER.parent / path
            there = reading.find(target)
            try:
                if not fault(there, blob):
                    present.append(path)
                    continue
                _download(session, f"{base_url.rstrip('/')}/{path}", blob, target)
                new.append(path)
                if there != target:  # a compressed copy with other content
                    there.unlink()
            except DataError as error:
                failed.append(str(error))
            except OSError as error:  # of the network or the disk: the other files would have it
                hint = f"Fill {folder / smd.FOLDER} by hand, or name another (--root, LMMOE_DATA)"
                raise DataError(f"cannot be had ({error})", file=target, hint=hint) from error
            finally:
                line.update()
    if failed:
        problem = f"{len(failed)} of {len(wanted)} files could not be fetched:"
        hint = "\nThe others are there; run the same command again to try these once more"
        raise DataError("\n".join([problem, *failed]), hint=hint)
    return new, present


def _download(session: requests.Session, url: str, blob: str, target: Path) -> None:
    """Put a file with this content into its place."""
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                if response.status_code != 416:  # else the part is as long as the file, or longer
                    response.raise_for_status()
                    _take(response, part)
        except requests.RequestException as error:
            bad_address = isinstance(error, ValueError)
            refused = error.response is not None and error.response.status_code not in PASSING
            if failures < RETRIES and not bad_address and not refused:
                time.sleep(WAIT * 2**failures)
                failures += 1
                continue
            if bad_address or isinstance(error, requests.ConnectionError | requests.Timeout):
                raise  # no other file would be had either
            raise DataError(str(error), file=url) from error
        problem = fault(part, blob)
        if not problem:
            part.replace(target)
            return
        part.unlink()
        if not have:  # else what an earlier run left was bad: once more, from nothing
            raise DataError(f"{problem}; nothing was kept of it", file=url)


def _take(response: requests.Response, part: Path) -> None:
    """Write what comes to a part, behind what is there if that was asked for."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # a few bytes could become as many as the disk takes
        raise DataError(f"it comes encoded ({encoding}), unasked", file=response.url)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab" if response.status_code == 206 else "wb") as file:
        due, goal = time.monotonic() + PATIENCE, file.tell() + CHUNK
        try:
            while piece := response.raw.read1(CHUNK):
                file.write(piece)
                if file.tell() > LARGEST:
                    part.unlink()
                    problem = f"longer than {LARGEST:,} bytes, as no file of SMD is"
                    raise DataError(f"{problem}; nothing was kept of it", file=response.url)
                if file.tell() >= goal:
                    due, goal = time.monotonic() + PATIENCE, file.tell() + CHUNK
                elif time.monotonic() > due:
                    raise requests.ReadTimeout(f"less than {CHUNK:,} bytes in {PATIENCE:g} s")
        except urllib3.exceptions.HTTPError as error:
            slow = isinstance(error, urllib3.exceptions.TimeoutError)
            raise (requests.Timeout if slow else requests.RequestException)(error) from error
