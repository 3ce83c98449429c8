"""Rows of a table that are measured once: taken from the published table, then from the cache."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from lmmoe import paths, progress
from lmmoe.report import records
from lmmoe.report.params import Profile
from lmmoe.report.runs import FAILURES, Run, planned


class Kept:
    """Lines of one table, ``figures/<profile>/<name>.csv``, by what they depend on.

    A line is taken from the published table where its key is there (unless the environment variable
    ``LMMOE_FRESH`` is set), else from the cache, else computed.
    """

    def __init__(self, profile: str, name: str) -> None:
        self.name, self.known = name, {}
        if not os.environ.get("LMMOE_FRESH"):
            rows = read(paths.figures(profile) / f"{name}.csv")
            for line in rows.to_dict("records"):
                self.known.setdefault(line["key"], []).append(line)

    def lines(
        self,
        shown: dict[str, object],
        hidden: dict[str, object],
        compute: Callable[[], list[dict[str, object]]],
    ) -> list[dict[str, object]]:
        """Give lines by what is ``shown`` in their first columns and what is ``hidden`` in the key.

        ``compute`` gives the other columns of each line, plain values; what it raises goes on.
        """
        key = records.key({"table": self.name} | shown | hidden)
        if key in self.known:
            return self.known[key]
        found = records.kept(key, lambda: {"lines": [plain(line) for line in compute()]})["lines"]
        return [{"key": key} | shown | line for line in found]


def of_runs(
    profile: Profile,
    name: str,
    title: str,
    wanted: Callable[[Run], bool],
    hidden: Callable[[Run], dict[str, object]],
    measure: Callable[[Run], list[dict[str, object]]],
) -> list[dict[str, object]]:
    """Measure the runs of a profile that are wanted, with its first seed: lines of table ``name``.

    ``hidden`` says what a line depends on besides the run. A run that fails has one line with
    ``error``, which is not kept: the next start tries again. ``title`` names the work's progress.
    """
    keep, found = Kept(profile.profile, name), []
    with progress.bar(len(profile.present), title, unit="entity") as bar:
        for entity in profile.present:
            for run in filter(wanted, planned(profile, profile.load(entity))):
                if run.seed == profile.seeds[0]:
                    found += _of_run(keep, run, hidden(run), measure)
            bar.update()
    return found


def _of_run(
    keep: Kept,
    run: Run,
    hidden: dict[str, object],
    measure: Callable[[Run], list[dict[str, object]]],
) -> list[dict[str, object]]:
    names = ("dataset", "entity", "detector", "settings", "seed")
    shown = {name: run.identity[name] for name in names}
    hidden = {"run": run.key} | hidden
    try:
        return keep.lines(shown, hidden, lambda: measure(run))
    except FAILURES as error:
        return [shown | {"error": f"{type(error).__name__}: {error}"}]


def read(path: Path) -> pd.DataFrame:
    """Read a table of kept lines; an empty one where there is no file.

    Names stay text: by itself pandas reads an entity "01" as 1.
    """
    if not path.is_file():
        return pd.DataFrame(columns=["key"])
    names = ("key", "dataset", "entity", "detector", "method", "rule", "device", "error", "group")
    names += ("way", "kind", "base", "learned", "protocol")
    texts = dict.fromkeys(names, str)
    gaps = {name: [""] for name in pd.read_csv(path, nrows=0).columns}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=gaps)


def table(lines: Iterable[dict[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Join lines to a table of fixed columns, the same whether they were read or computed."""
    return pd.DataFrame(list(lines)).reindex(columns=["key", *columns])


def plain(values: dict[str, object]) -> dict[str, object]:
    """Turn NumPy's numbers into Python's, so that they can be kept as JSON."""
    return json.loads(json.dumps(values, default=lambda number: number.item()))
