"""Progress of long work: bars where somebody looks, lines where nobody can.

The environment variable ``LMMOE_PROGRESS`` decides: unset, bars in a notebook or on a terminal;
``off``, nothing; a file name, one line every few seconds appended to it. The report's workflow sets
the last one, so that no bar ends up in a stored cell.
"""

import os
import sys
from pathlib import Path

from tqdm import auto, std

SECONDS_BETWEEN_LINES = 5.0


def bar(total: int, title: str, *, unit: str) -> std.tqdm:
    """Start a bar over ``total`` steps; use it as a context manager and call ``update``."""
    target = os.environ.get("LMMOE_PROGRESS", "")
    look = {"total": total, "desc": title, "unit": unit, "leave": False, "dynamic_ncols": True}
    if target == "off":
        return std.tqdm(**look, disable=True)
    if target:
        pace = {"mininterval": SECONDS_BETWEEN_LINES, "maxinterval": 2 * SECONDS_BETWEEN_LINES}
        return std.tqdm(**look, **pace, file=_Lines(Path(target)), ascii=True, position=0)
    if auto.tqdm is not std.tqdm and "ipykernel" in sys.modules:  # a notebook
        return auto.tqdm(**look)
    return std.tqdm(**look, position=0, disable=None)  # None: silent unless a terminal


class _Lines:
    """A file for tqdm that keeps each state of a bar as a line of its own."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        line = text.replace("\r", "").replace("\x1b[A", "").strip()
        if line:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def flush(self) -> None:
        """Nothing to do: every line is written at once."""
