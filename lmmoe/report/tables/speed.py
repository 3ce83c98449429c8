"""What ``python -m benchmarks`` and its soak measured, for the README."""

import json
from pathlib import Path

from lmmoe.errors import DataError

HEAD = [
    "program",
    "what",
    "threads",
    "ours",
    "yardstick",
    "compared (quartiles)",
    "target",
    "reached",
]
SOAK = "soak.json"


def targets(folder: Path) -> list[list[str]]:
    """Give a line of cells for each row with a target, below a `HEAD`.

    ``folder`` holds a JSON file for each program; raises `DataError` where there is none.
    """
    lines = [
        [one["program"], *_cells(row)]
        for one in _programs(folder)
        for row in one["rows"]
        if row["bound"]
    ]
    return [HEAD, *lines]


def where(folder: Path) -> str:
    """Say on what it was measured, and how the soak went. Raises as `targets` does."""
    first = _programs(folder)[0]["environment"]
    text = f"{first['processor']}, {first['cores']} cores, torch {first['versions']['torch']}."
    if not (folder / SOAK).is_file():
        return text
    found = json.loads((folder / SOAK).read_text(encoding="utf-8"))
    soak, lines = found["soak"], found["fuzz"]["lines"]
    low, high, _ = soak["memory_mb"]
    return (
        f"{text} A watch that read rows without a pause for {soak['seconds'] / 60:.0f} minutes "
        f"took {soak['rows']:,}, some of them faulty; its memory went from {low:.0f} to at most "
        f"{high:.0f} MB (growth {soak['growth_mb']:.1f}). {lines:,} lines made wrong on purpose "
        "stopped none."
    )


def _programs(folder: Path) -> list[dict]:
    files = [file for file in sorted(folder.glob("*.json")) if file.name != SOAK]
    if not files:
        hint = f"python -m benchmarks --out {folder} first"
        raise DataError("no measurements", file=folder, hint=hint)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _cells(row: dict) -> list[str]:
    kind, value = row["bound"]
    compared = row["compared"]
    middle, low, high = (_short(compared[end]) for end in ("median", "low", "high"))
    return [
        row["what"],
        str(row["threads"]),
        f"{_short(row['ours']['median'])} {row['unit']}",
        row["yardstick"],
        f"{middle} ({low} to {high})",
        f"{kind} {_short(value)}",
        "yes" if row["reached"] else "**no**",
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
