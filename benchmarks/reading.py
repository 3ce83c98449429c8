"""Reading one machine of SMD again: the copy that the first read left against that first read.

Every first read begins with an empty cache, and leaves a copy in it; the files themselves lie in
the system's memory already, both times.
"""

import lzma
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Figures, Given, Row, Spread, in_turn, machine, ratio, seconds
from lmmoe import data, paths
from lmmoe.data import smd

THREADS = ("one",)
ENTITY = "machine-1-1"
LEAST = 10.0  # times as fast
MILLI = 1e3


def rows(*, quick: bool) -> Iterator[Row]:
    """From plain text, and from compressed text."""
    given = machine()
    if quick:
        given = Given(given.train[:2000], given.test[:2000], given.labels[:2000], given.name)
    with TemporaryDirectory(prefix="bench-") as folder:
        os.environ["LMMOE_CACHE"] = str(Path(folder) / "cache")
        roots = {suffix: Path(folder) / suffix.strip(".") for suffix in (".txt", ".txt.xz")}
        for suffix, root in roots.items():
            _write(given, root, suffix)
        time.sleep(data.SETTLED + 0.1)  # what has just changed is not kept
        for suffix, root in roots.items():
            yield _row(given, root, suffix, turns=1 if quick else 11)


def _write(given: Given, root: Path, suffix: str) -> None:
    """Write SMD's layout with SMD's six digits."""
    parts = {"train": given.train, "test": given.test, "test_label": given.labels}
    for part, values in parts.items():
        path = root / smd.FOLDER / part / f"{ENTITY}{suffix}"
        path.parent.mkdir(parents=True)
        opener = lzma.open if suffix.endswith(".xz") else open
        with opener(path, "wt") as file:
            np.savetxt(file, values, fmt="%d" if values.ndim == 1 else "%.6f", delimiter=",")


def _row(given: Given, root: Path, suffix: str, turns: int) -> Row:
    def load() -> None:
        data.load("smd", ENTITY, root)

    def first(turn: int) -> Figures:
        shutil.rmtree(paths.cache(), ignore_errors=True)
        return {"seconds": seconds(load)}

    def again(turn: int) -> Figures:
        return {"seconds": seconds(load)}

    def bare(turn: int) -> Figures:
        return {
            "seconds": seconds(
                lambda: smd.read(smd.find("smd", root)[ENTITY], dataset="smd", entity=ENTITY)
            )
        }

    found = in_turn({"first": first, "again": again, "bare": bare}, turns)
    slow, taken, uncached = ([MILLI * value for value in found[key]["seconds"]] for key in found)
    size = sum(file.stat().st_size for file in paths.cache().rglob("*") if file.is_file())
    return Row(
        what=f"reading a machine again, {suffix}",
        unit="ms",
        ours=taken,
        yardstick="the first read",
        theirs=slow,
        compared=ratio(slow, taken),
        bound=("at least", LEAST),
        remarks={
            "rows": given.name,
            "reading without a cache, ms": Spread.of(uncached),
            "MB kept": size / 1e6,
        },
    )
