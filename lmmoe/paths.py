"""Where things lie, whatever folder a notebook, a test or a shell was started in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

import psutil


def home() -> Path:
    """The project's root: the nearest folder upwards with a Snakefile, else where lmmoe lies."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "Snakefile").is_file() and (folder / "lmmoe").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


def results(profile: str) -> Path:
    """Executed notebooks, the page and other bulk of a profile, which git ignores."""
    return home() / "results" / profile


def figures(profile: str) -> Path:
    """A profile's published figures and tables."""
    return home() / "figures" / profile


def cache() -> Path:
    """Scores and models of finished runs; safe to delete, costs time."""
    return Path(os.environ.get("LMMOE_CACHE") or home() / "results" / "cache")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, renamed to ``path`` when the block ends well.

    What a killed process left under such a name is removed by the next one to write ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.stem)}.*{path.suffix}"):
        writer = left.name.removeprefix(f".{path.stem}.").removesuffix(path.suffix)
        if writer.isdigit() and not psutil.pid_exists(int(writer)):
            left.unlink(missing_ok=True)
    # The suffix stays last: writers choose the format by it.
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
