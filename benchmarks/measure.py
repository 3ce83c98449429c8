"""What the programs share: rows to work on, taking turns, medians with their spread, output.

On a machine with other work two runs one after the other compare the work, not the programs. So
programs take turns (A B A B ...), and a ratio is that of one turn; given are the median and the
quartiles over all turns.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lmmoe import data, paths

Figures = dict[str, float]
PACKAGES = ("lmmoe", "numpy", "pandas", "torch", "onnxruntime", "TSB-AD")
ROWS, CHANNELS = 28_479, 38  # of SMD's machine-1-1
EVERY, LONG = 3000, 300  # rows from one made-up event to the next, and rows of one


class Given(NamedTuple):
    """Rows ``(t, c)`` to train on and to score, labels ``(t,)`` of the latter, and their name."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    name: str


def machine() -> Given:
    """Give the first machine of SMD that is here, or as many rows of random walks.

    What is timed hardly depends on the values, so that anyone can run the programs.
    """
    present = data.entities("smd")
    if present:
        series = data.load("smd", present[0])
        return Given(series.train, series.test, series.labels, f"SMD {present[0]}")
    steps = np.random.default_rng(0).normal(size=(2, ROWS, CHANNELS))
    walks = np.cumsum(steps, axis=1)
    labels = (np.arange(ROWS) % EVERY >= EVERY - LONG).astype(np.int8)
    return Given(walks[0], walks[1], labels, "random walks")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the turns."""

    median: float
    low: float
    high: float
    turns: int

    @classmethod
    def of(cls, values: "list[float] | Spread | None") -> "Spread | None":
        """Sum up one value a turn; what is summed up already, or missing, stays as it is."""
        if values is None or isinstance(values, Spread):
            return values
        low, median, high = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(low), float(high), len(values))


@dataclass(frozen=True)
class Row:
    """One line of a program's table: ours, the yardstick, and how they compare.

    All three may be given as one value a turn. ``compared`` is the ratio (or difference) that
    ``bound`` is about: it should be at least or at most ``bound[1]``; None where nothing is asked
    for. ``remarks`` holds whatever else a reader needs: by which the results agree, what the
    yardstick is, what could not be measured.
    """

    what: str
    unit: str
    ours: Spread
    yardstick: str = ""
    theirs: Spread | None = None
    compared: Spread | None = None
    bound: tuple[str, float] | None = None  # ("at least" or "at most", value)
    remarks: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("ours", "theirs", "compared"):
            object.__setattr__(self, name, Spread.of(getattr(self, name)))

    @property
    def reached(self) -> bool | None:
        """Whether the median keeps the bound; None without one."""
        if self.bound is None or self.compared is None:
            return None
        kind, value = self.bound
        median = self.compared.median
        return median >= value if kind == "at least" else median <= value


def in_turn(
    programs: Mapping[str, Callable[[int], Figures]], turns: int, *, warm: bool = True
) -> dict[str, dict[str, list[float]]]:
    """Call every program once a turn: ``found[program][figure]``, one value a turn.

    A program takes the number of the turn, for instance as a seed, and gives figures by name. With
    ``warm`` a turn goes before that is not counted: it sets up what later ones find ready.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in programs}
    for turn in range(-1 if warm else 0, turns):
        for name, program in programs.items():
            figures = program(max(turn, 0))
            if turn >= 0:
                for key, value in figures.items():
                    found[name].setdefault(key, []).append(float(value))
    return found


def seconds(work: Callable[[], object], least: float = 0.0) -> float:
    """Seconds of one call; short work is repeated for ``least`` seconds, and the median taken."""
    taken = []
    while not taken or sum(taken) < least:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def timed(work: Callable[[], object], least: float = 0.0) -> Callable[[int], Figures]:
    """Make a program of some work: its figure is ``seconds``."""
    return lambda turn: {"seconds": seconds(work, least)}


def ratio(above: list[float], below: list[float]) -> Spread:
    """Ratio of two programs' figures, turn by turn."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


def environment() -> dict[str, object]:
    """Where and when: versions, processor, threads, other work on the machine, date."""
    from lmmoe.report.measure import commit, cpu_name

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "processor": cpu_name(),
        "cores": cores(),
        "load": os.getloadavg()[0],  # processes that wanted a core, mean over the last minute
        "versions": {name: _version(name) for name in PACKAGES},
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def write(path: Path, head: dict[str, object], rows: list[dict[str, object]]) -> None:
    """Write one program's results; the file is whole or not there."""
    with paths.replacing(path) as part:
        text = json.dumps(head | {"rows": rows}, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def as_json(row: Row, threads: int, *, quick: bool) -> dict[str, object]:
    """Give a row as plain values, with the threads that it was measured on.

    A quick run says nothing about a bound.
    """
    return {"threads": threads} | asdict(row) | {"reached": None if quick else row.reached}


def table(rows: list[dict[str, object]]) -> str:
    """Lay rows (`as_json`) out for a terminal."""
    lines = [("what", "threads", "ours", "yardstick", "theirs", "compared", "target", "")]
    for row in rows:
        asked = "" if row["bound"] is None else " ".join(map(_short, row["bound"]))
        mark = {True: "reached", False: "MISSED", None: ""}[row["reached"]]
        spreads = [_spread(row[key], row["unit"]) for key in ("ours", "theirs")]
        compared = _spread(row["compared"], "")
        name, yardstick = row["what"], row["yardstick"]
        threads = str(row["threads"])
        lines.append((name, threads, spreads[0], yardstick, spreads[1], compared, asked, mark))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in cells)


def _spread(given: dict[str, float] | None, unit: str) -> str:
    if given is None:
        return ""
    low, median, high = (_short(given[key]) for key in ("low", "median", "high"))
    return f"{median} {unit}".strip() + f" ({low} to {high})"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
