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
    are new, and those that were there. Raises `DataError` for the first one that cannot be had; the
    next call goes on there.
    """
    blobs = published_blobs()
    machines = sorted({Path(path).stem for path in blobs} - {LICENCE})
    if unknown := set(entities) - set(machines):
        hint = f"Known: {', '.join(machines)}"
        raise DataError(f"SMD has no machine {', '.join(sorted(unknown))}", hint=hint)
    stems = {LICENCE, *(entities or machines)}
    wanted = {path: blob for path, blob in blobs.items() if Path(path).stem in stems}
    again = {"status_forcelist": PASSING, "backoff_factor": WAIT, "raise_on_status": False}
    new = []
    with requests.Session() as session, bar(len(wanted), "fetch smd", unit=" files") as line:
        session.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=Retry(RETRIES, **again)))
        for path, blob in wanted.items():
            target = folder / smd.FOLDER.parent / path
            if fault(reading.find(target), blob):
                _fetch(session, f"{base_url.rstrip('/')}/{path}", blob, target)
                new.append(path)
            line.update()
    return new, [path for path in wanted if path not in new]


def _fetch(session: requests.Session, url: str, blob: str, target: Path) -> None:
    """Write what lies there to ``target``; `DataError` for what is not as it should be."""
    content, due = bytearray(), time.monotonic() + PATIENCE
    try:
        with session.get(url, stream=True, timeout=TIMEOUT) as response:
            response.raise_for_status()
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":  # a few bytes could become as many as the memory takes
                raise OSError(f"it comes encoded ({encoding}), unasked")
            while piece := response.raw.read1(1 << 16):
                content += piece
                if len(content) > LARGEST:
                    raise OSError(f"longer than {LARGEST:,} bytes, as no file is")
                if time.monotonic() > due:
                    raise OSError(f"not whole after {PATIENCE:g} s")
        if (got := git_blob(content)) != blob:
            raise OSError(f"git blob id {got}, expected {blob}")
        with paths.replacing(target) as part:
            part.write_bytes(content)
    except (OSError, urllib3.exceptions.HTTPError) as error:  # of the network or the disk
        hint = (
            "Run the command again to go on, fill the folder by hand, or name another (LMMOE_DATA)"
        )
        raise DataError(f"cannot be had from {url} ({error})", file=target, hint=hint) from error
