"""SMD from the repository that published it, and what of all data sets lies under the data root.

SMD's files are known by their git blob ids (``smd_blobs.csv``). A download is resumed, verified,
and never half there: it grows in a ``.part`` beside its place and is moved there when it is right.
"""

import csv
import hashlib
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from inspect import getdoc
from pathlib import Path
from textwrap import indent

import requests

from lmmoe import data
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
CHUNK = 1 << 16  # bytes downloaded at a time


def published_blobs() -> dict[str, str]:
    """The files of SMD as published, path to git blob id; paths start at ServerMachineDataset."""
    listing = resources.files("lmmoe") / "data" / "smd_blobs.csv"
    with listing.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["git_blob"] for row in csv.DictReader(file)}


def fault(file: Path, blob: str) -> str:
    """Say what is wrong with a file that should have this git blob id; empty where nothing is.

    The id is the SHA-1 of ``blob <size>``, a zero byte and the content (git-hash-object),
    decompressed first where the name ends in .xz or .gz.
    """
    try:
        with reading.naming(file), reading.OPENERS.get(file.suffix, open)(file, "rb") as opened:
            content = opened.read()
    except DataError as error:
        return str(error)
    hashed = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    got = hashed.hexdigest()
    return "" if got == blob else f"{file}: git blob id {got}, expected {blob}"


# --- fetching ---


def fetch_smd(
    folder: Path, *, base_url: str = PUBLISHED, entities: Sequence[str] = ()
) -> tuple[list[str], list[str], int]:
    """Download SMD into ``folder``/SMD, all of it or the machines ``entities`` only.

    ``base_url`` is the address of the folder that holds ServerMachineDataset. Gives the files that
    are new, those that were there with the published content, and how many bytes were received.
    Raises `DataError`: at once where nobody answers or nothing can be written, else at the end with
    all files that failed.
    """
    blobs = published_blobs()
    machines = sorted({Path(path).stem for path in blobs} - {LICENCE})
    if unknown := set(entities) - set(machines):
        hint = f"Known: {', '.join(machines)}"
        raise DataError(f"SMD has no machine {', '.join(sorted(unknown))}", hint=hint)
    stems = {LICENCE, *(entities or machines)}
    wanted = {path: blob for path, blob in blobs.items() if Path(path).stem in stems}
    new, present, failed, size = [], [], [], 0
    with requests.Session() as session, bar(len(wanted), "fetch smd", unit=" files") as line:
        # Compressed transfer would make the bytes of a Range those of the compressed stream.
        session.headers["Accept-Encoding"] = "identity"
        line.miniters, line.dynamic_miniters = 0, False  # drawn while one file is loading, too
        for path, blob in wanted.items():
            target = folder / smd.FOLDER.parent / path
            there = reading.find(target)
            try:
                if not fault(there, blob):
                    present.append(path)
                    continue
                for received in _download(session, f"{base_url.rstrip('/')}/{path}", blob, target):
                    size += received
                    line.set_postfix_str(f"{size / 1e6:.1f} MB {path}", refresh=False)
                    line.update(0)
                if there != target:  # a compressed copy with other content
                    there.unlink()
                new.append(path)
            except DataError as error:
                failed.append(str(error))
            except OSError as error:  # of the network or the disk: the other files would have it
                raise DataError(
                    f"cannot be had ({error})",
                    file=target,
                    hint=f"Fill {folder / smd.FOLDER} by hand with the files as published, or name "
                    "a folder that holds SMD already or has room (--root, LMMOE_DATA). What was "
                    "begun is kept and continued next time",
                ) from error
            finally:
                line.update()
    if failed:
        raise DataError(
            f"{len(failed)} of {len(wanted)} files could not be fetched:\n" + "\n".join(failed),
            hint="\nThe others are there; run the same command again to try these once more",
        )
    return new, present, size


def _download(session: requests.Session, url: str, blob: str, target: Path) -> Iterator[int]:
    """Put a file with this content into its place; yield the bytes of each chunk.

    Raises `DataError` where the server refuses the file or has another one, `OSError` where nobody
    answers or the file cannot be written.
    """
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                if response.status_code != 416:  # else the part is as long as the file, or longer
                    response.raise_for_status()
                    part.parent.mkdir(parents=True, exist_ok=True)
                    with part.open("ab" if response.status_code == 206 else "wb") as file:
                        for chunk in response.iter_content(CHUNK):
                            file.write(chunk)
                            yield len(chunk)
        except requests.RequestException as error:
            bad_address = isinstance(error, ValueError)
            refused = error.response is not None and error.response.status_code not in PASSING
            if failures == RETRIES or bad_address or refused:
                if bad_address or isinstance(error, requests.ConnectionError):
                    raise
                raise DataError(str(error), file=url) from error
            time.sleep(WAIT * 2**failures)
            failures += 1
            continue
        problem = fault(part, blob)
        if not problem:
            part.replace(target)
            return
        part.unlink()
        if not have:  # else what an earlier run left was bad: once more, from nothing
            raise DataError(f"{problem}; nothing was kept of it", file=url)


# --- what is there ---


def inventory(name: str, root: Path, *, check: bool = False) -> tuple[list[str], list[str]]:
    """Look at one data set under ``root``: what is there, line by line, and what is wrong with it.

    SMD's files are held against their published ids; of the others, ``check`` reads every entity.
    Both lists are empty where nothing is there.
    """
    try:
        present = data.entities(name, root)
        files = {file for entity in present for file in data.files(name, entity, root)}
    except DataError as error:
        return [], [str(error)]
    if not present:
        return [], []
    size = sum(file.stat().st_size for file in files) / 1e6
    facts = f"{len(present)} {'entity' if len(present) == 1 else 'entities'}, {size:.1f} MB on disk"
    remarks, wrong = [], []
    if name == "smd":
        remarks, wrong = _audit(root)
    elif check:
        rows = 0
        with bar(len(present), name, unit=" entities") as line:
            for entity in present:
                try:
                    series = data.load(name, entity, root)
                    rows += len(series.train) + len(series.test)
                except DataError as error:
                    wrong.append(f"{entity}: {error}")
                line.update()
        read = len(present) - len(wrong)
        remarks = [f"{read} of {len(present)} entities read without error, {rows:,} rows"]
    return [facts, *remarks], wrong


def _audit(root: Path) -> tuple[list[str], list[str]]:
    """SMD, each file held against its published git blob id: remarks, and what is wrong."""
    blobs = published_blobs()
    files = {path: reading.find(root / smd.FOLDER.parent / path) for path in blobs}
    here = {path: file for path, file in files.items() if file.is_file()}
    wrong = []
    with bar(len(here), "smd", unit=" files") as line:
        for path, file in here.items():
            wrong += filter(None, [fault(file, blobs[path])])
            line.update()
    missing = [path for path in blobs if path not in here]
    begun = {Path(path).stem for path in here}
    counts = f"{len(here) - len(wrong)} files right, {len(wrong)} wrong, {len(missing)} missing"
    lacking = [f"incomplete: {path} is missing" for path in missing if Path(path).stem in begun]
    return [counts, *lacking], wrong


def layouts(names: Sequence[str]) -> str:
    """The layouts that these data sets are expected in, as their readers describe them."""
    texts: dict[str, list[str]] = {}
    for name in names:
        texts.setdefault(getdoc(data.reader(name)) or "", []).append(name)
    return "\n".join(
        f"\n{', '.join(same)}:\n{indent(text.replace('``', ''), '  ')}"
        for text, same in texts.items()
    )
