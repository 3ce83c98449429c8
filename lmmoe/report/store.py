"""Where results lie, so that nothing expensive is done twice.

Three places, looked at in this order: the published tables (``figures/NAME/*.csv``, in git; not
with the variable ``LMMOE_FRESH``), the job tables of this report (``results/NAME/runs``), and the
cache (``results/cache``), which is safe to delete. A result is found by a key: a digest of all that
it depends on.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from warnings import warn

import numpy as np
import pandas as pd

from lmmoe import paths

# Texts in every table. By itself pandas reads an entity "01" as 1, and "NA" as nothing.
NAMES = (
    *("key", "dataset", "entity", "data", "detector", "protocol", "settings", "version", "torch"),
    *("metrics", "found_events", "effort", "measured"),
)
# Texts with gaps.
NOTES = ("error", "host", "device", "method", "rule", "group", "way", "kind", "base", "learned")
Line = dict[str, object]
# What a run may fail with; a slip in the code (NameError and the like) is not among them.
FAILURES = (ValueError, RuntimeError, MemoryError)


def key(identity: object) -> str:
    """Sixteen hexadecimal digits of what a result depends on, anything that JSON can hold."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path, columns: Iterable[str] = ("key",)) -> pd.DataFrame:
    """Read a table; an empty one with ``columns`` where there is no file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    header = pd.read_csv(path, nrows=0).columns
    gaps = {name: [""] for name in header if name not in NAMES}
    texts = dict.fromkeys((*NAMES, *NOTES), str)
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=gaps)


def published(name: str, **how: object) -> pd.DataFrame:
    """Read ``published/NAME.csv`` of this package; ``how`` goes to pandas."""
    return pd.read_csv(Path(__file__).parent / "published" / f"{name}.csv", **how)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table with ten significant digits, whole or not at all."""
    with paths.replacing(path) as part:
        table.to_csv(part, index=False, float_format="%.10g")


@contextmanager
def caching() -> Iterator[None]:
    """A block that writes to the cache: a full disk costs time later, which is told once."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        warn(f"{paths.cache()} cannot be written ({reason}): work goes on uncached", stacklevel=3)


class Table:
    """Lines of one table, ``figures/PROFILE/NAME.csv``: published, else cached, else computed."""

    def __init__(self, profile: str, name: str) -> None:
        self.name, file = name, paths.figures(profile) / f"{name}.csv"
        known = [] if os.environ.get("LMMOE_FRESH") else read(file).groupby("key", sort=False)
        self.known = {key: lines.to_dict("records") for key, lines in known}

    def lines(self, shown: Line, hidden: Line, compute: Callable[[], list[Line]]) -> list[Line]:
        """Give lines by what is ``shown`` in their first columns and what is ``hidden`` in the key.

        ``compute`` gives the other columns of each line. Where it fails there is one line with
        ``error`` and no key, which is not kept: others go on, and the next start tries it again.
        """
        name = key({"table": self.name} | shown | hidden)
        if name in self.known:
            return self.known[name]
        file = paths.cache() / "measured" / f"{name}.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))["lines"]
        except (OSError, ValueError):  # missing or damaged: measuring mends it
            try:
                text = json.dumps({"lines": compute()}, default=np.generic.item)
            except FAILURES as failure:
                return [shown | {"error": f"{type(failure).__name__}: {failure}"}]
            with caching(), paths.replacing(file) as part:
                part.write_text(text, encoding="utf-8")
            found = json.loads(text)["lines"]
        return [{"key": name} | shown | line for line in found]
