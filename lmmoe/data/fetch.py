"""SMD from the repository that published it.

Its files are known by their git blob ids (``smd_blobs.csv``). A download is verified, and never
half there; what is there is not fetched again.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from lmmoe import paths
from lmmoe.data import reading, smd
from lmmoe.errors import DataError
from lmmoe.progress import bar

COMMIT = "7fb0e0acf89ea49908896bcc9f9e80fcfff6baf4"
PUBLISHED = f"https://raw.githubusercontent.com/NetManAIOps/OmniAnomaly/{COMMIT}"
LICENCE = "LICENSE"  # it asks to go with every copy, so it is fetched with a single machine, too
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be different a little later
RETRIES, WAIT = 4, 1.0  # where nobody or such an answer comes; seconds, twice as many each time
TIMEOUT = (10.0, 60.0)  # seconds, for connecting and without a byte
PATIENCE = 1800.0  # seconds for a file
LARGEST = 12_000_000  # bytes of a file; the largest published one has less than 10 million


def published_blobs() -> dict[str, str]:
    """The files of SMD as published, path to git blob id; paths start at ServerMachineDataset."""
    table = pd.read_csv(Path(__file__).with_name("smd_blobs.csv"), index_col="path")
    return table["git_blob"].to_dict()


def fault(file: Path, blob: str) -> str:
    """Say what is wrong with a file, perhaps compressed, of this git blob id; "" if nothing is."""
    try:
        with reading.naming(file), reading.OPENERS.get(file.suffix, open)(file, "rb") as opened:
            got = git_blob(opened.read())
    except DataError as error:
        return str(error)
    return "" if got == blob else f"{file}: git blob id {got}, expected {blob}"


def git_blob(content: bytes) -> str:
    """Give the id that git-hash-object gives."""
    whole = b"blob %d\0" % len(content) + content
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


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
        how = {"status_forcelist": PASSING, "backoff_factor": WAIT, "raise_on_status": False}
        retries = Retry(RETRIES, **how)
        session.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        for path, blob in wanted.items():
            target = folder / smd.FOLDER.parent / path
            there = reading.find(target)
            try:
                if not fault(there, blob):
                    present.append(path)
                    continue
                content = _content(session, url := f"{base_url.rstrip('/')}/{path}")
                if (got := git_blob(content)) != blob:
                    raise DataError(f"git blob id {got}, expected {blob}", file=url)
                with paths.replacing(target) as part:
                    part.write_bytes(content)
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


def _content(session: requests.Session, url: str) -> bytes:
    """Give what lies there; `DataError` for what is not as it should be."""
    content, due = bytearray(), time.monotonic() + PATIENCE
    with session.get(url, stream=True, timeout=TIMEOUT) as response:
        encoding = response.headers.get("Content-Encoding", "identity")
        if not response.ok:
            raise DataError(f"{response.status_code} {response.reason}", file=url)
        if encoding != "identity":  # a few bytes could become as many as the memory takes
            raise DataError(f"it comes encoded ({encoding}), unasked", file=url)
        try:
            while piece := response.raw.read1(1 << 16):
                content += piece
                if len(content) > LARGEST:
                    problem = f"longer than {LARGEST:,} bytes, as no file of SMD is"
                    raise DataError(problem, file=url)
                if time.monotonic() > due:
                    raise DataError(f"not whole after {PATIENCE:g} s", file=url)
        except urllib3.exceptions.HTTPError as error:
            raise DataError(f"it broke off ({error})", file=url) from error
    return bytes(content)
