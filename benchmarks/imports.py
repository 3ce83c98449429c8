"""Importing lmmoe, and making a first detector, against importing torch: a process each."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.measure import Row, in_turn, timed

THREADS = ("one",)
MOST = 0.3  # seconds more than torch
LINES = {
    "torch": "import torch",
    "import lmmoe": "import lmmoe",
    "a first detector": "import lmmoe; lmmoe.detector('LightMMoE')",
}


def rows(*, quick: bool) -> Iterator[Row]:
    """Seconds from the start of Python to its end."""
    programs = {name: timed(partial(_run, line)) for name, line in LINES.items()}
    found = in_turn(programs, 1 if quick else 9, warm=not quick)
    torch = found.pop("torch")["seconds"]
    for name, figures in found.items():
        more = [a - b for a, b in zip(figures["seconds"], torch, strict=True)]
        yield Row(
            what=name,
            unit="s",
            ours=figures["seconds"],
            yardstick="import torch (compared: seconds more)",
            theirs=torch,
            compared=more,
            bound=("at most", MOST),
        )


def _run(line: str) -> None:
    subprocess.run([sys.executable, "-c", line], check=True)
