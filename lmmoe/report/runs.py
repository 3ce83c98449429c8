"""One run: a detector with its settings and seed on one entity under one protocol.

Everything expensive is done once. A run's scores and model lie in the cache under a key of data,
settings, seed and version; its metrics are a row of a table that accumulates (``runs.csv``).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from lmmoe import paths, progress
from lmmoe.data import Series
from lmmoe.data.series import Bits
from lmmoe.detectors import entry
from lmmoe.errors import DataError
from lmmoe.report import cache, evaluation
from lmmoe.report.cache import Result
from lmmoe.report.evaluation import COLUMNS, evaluate, events_found
from lmmoe.report.params import Profile, detector_of
from lmmoe.report.protocol import PROTOCOLS

# What a run may fail with; a slip in the code (NameError and the like) is not among them.
FAILURES = (ValueError, RuntimeError, MemoryError)
Known = dict[tuple[object, ...], dict[str, object]]  # rows by key, metrics' version and VUS window


@dataclass(frozen=True, eq=False)
class Run:
    """What to run; `key` names its result."""

    series: Series
    detector: str
    protocol: str = "ours"
    seed: int = 0
    settings: dict[str, object] = field(default_factory=dict)

    @cached_property
    def identity(self) -> dict[str, object]:
        """What a result depends on, the first columns of its row."""
        return {
            "dataset": self.series.dataset,
            "entity": self.series.entity,
            "data": self.series.id,
            "detector": self.detector,
            "protocol": self.protocol,
            "settings": json.dumps(self.settings, sort_keys=True),
            "seed": self.seed,
            "version": str(entry(self.detector).cls.version),
            "torch": version("torch").partition("+")[0],  # not whether for CUDA or not
        }

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits of the identity and of what the protocol means."""
        text = json.dumps([self.identity, asdict(PROTOCOLS[self.protocol])], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def result(run: Run) -> Result:
    """Fit and score, or take what that gave from the cache."""
    folder = paths.cache() / run.key
    try:
        return cache.kept(folder)
    except (OSError, ValueError):  # missing, half-written or damaged: computing mends it
        protocol = PROTOCOLS[run.protocol]
        made = protocol.detector(run.detector, seed=run.seed, **run.settings)
        cache.compute(made, run.series, protocol, folder)
        return cache.kept(folder)


def needed(run: Run) -> Result:
    """Give the result to a notebook that is about it; raises `DataError` where the run fails.

    Such an error ends a notebook where it is, with the reason on the page, and nothing else: what
    cannot be fitted to one entity must not cost the report of the others.
    """
    try:
        return result(run)
    except DataError:
        raise
    except FAILURES as error:
        place = f"{run.series.dataset}/{run.series.entity}"
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{run.detector} failed here ({reason})", file=place) from error


def row(run: Run, *, vus_window: int) -> dict[str, object]:
    """Give the run's line of the table: identity, metrics, costs; on failure, ``error`` instead."""
    head = {"key": run.key} | run.identity | judged(run.series, vus_window)
    try:
        found, labels = result(run), PROTOCOLS[run.protocol].labels(run.series)
        values = evaluate(
            labels,
            found.scores,
            vus_window=vus_window,
            calibration=found.calibration,
            rows_per_day=run.series.rows_per_day,
            blame=found.blame,
            causes=[cause.channels for cause in run.series.causes or ()] or None,
        )
        return head | values | found.costs | {"found_events": _found_events(run, found, labels)}
    except FAILURES as error:
        # One detector that fails must not cost the others; the next start tries it again.
        return head | {"error": f"{type(error).__name__}: {error}"}


def _found_events(run: Run, found: Result, labels: Bits | None) -> str:
    """A digit for each labelled event, in time order: 1 where an alarm of the budget lies in it.

    Empty without labels ``(t,)``, or without scores that may set a threshold.
    """
    if labels is None or found.calibration is None:
        return ""
    hits = events_found(labels, found.scores, found.calibration, run.series.rows_per_day)
    return "".join("1" if hit else "0" for hit in hits)


def judged(series: Series, vus_window: int) -> dict[str, object]:
    """What a row's metrics depend on besides its scores."""
    parts = [
        evaluation.VERSION,
        ALL,  # a row from before the table had a column lacks it
        series.rows_per_day,
        [[cause.start, cause.end, *cause.channels] for cause in series.causes or ()],
    ]
    digest = hashlib.sha256(json.dumps(parts, default=int).encode()).hexdigest()
    return {"metrics": digest[:10], "vus_window": vus_window}


def planned(profile: Profile, series: Series, part: int | None = None) -> Iterator[Run]:
    """All runs of a profile on one entity, or those of one of its passes."""
    for name, protocol, seed in profile.plan(series.entity, part):
        yield Run(series, detector_of(name), protocol, seed, profile.detectors[name])


def table(
    profile: Profile, entities: list[str] | None = None, part: int | None = None
) -> pd.DataFrame:
    """Give the rows of all runs of a profile, or of some entities, or of one pass.

    Only what is missing is computed: rows that still hold are taken from the tables that the
    profile's workflow and earlier reports left (`earlier`).
    """
    known = earlier(profile)
    entities = entities or profile.present
    rows = []
    total = sum(len(profile.plan(entity, part)) for entity in entities)
    with progress.bar(total, "runs", unit="run") as bar:
        for entity in entities:
            series = profile.load(entity)
            judge = tuple(judged(series, profile.vus_window).values())
            for run in planned(profile, series, part):
                doing = f"{entity} {run.detector} {run.protocol} seed {run.seed}"
                bar.set_postfix_str(doing, refresh=False)
                old = known.get((run.key, *judge))
                rows.append(old or row(run, vus_window=profile.vus_window))
                bar.update()
    return ordered(pd.DataFrame(rows))


def earlier(profile: Profile) -> Known:
    """Known rows: the published table's, then what this report's own jobs wrote.

    Of the published ones (`published`) none that failed; of the jobs' own all.
    """
    own = sorted((paths.results(profile.profile) / "runs").rglob("[!.]*.csv"))
    return published(profile) | _by_key(map(read, own))


def published(profile: Profile) -> Known:
    """Rows of the published table that did not fail.

    None where the environment variable ``LMMOE_FRESH`` is set.
    """
    if os.environ.get("LMMOE_FRESH"):
        return {}
    rows = read(paths.figures(profile.profile) / "runs.csv")
    return _by_key([rows[rows["error"].isna()]])


def _by_key(tables: Iterable[pd.DataFrame]) -> Known:
    lines = [line for rows in tables for line in rows.to_dict("records")]
    return {(line["key"], line["metrics"], line["vus_window"]): line for line in lines}


def forget(profile: Profile) -> None:
    """Delete what this report's own jobs wrote; the cache keeps the scores that they made."""
    shutil.rmtree(paths.results(profile.profile) / "runs", ignore_errors=True)


def forget_failures(profile: Profile) -> None:
    """Delete this report's job tables that hold a run to try again: one that bad data did not end.

    Bad data fails the same way until it changes; a lack of memory may have passed.
    """
    for path in (paths.results(profile.profile) / "runs").rglob("[!.]*.csv"):
        errors = read(path)["error"].dropna().astype(str)
        if not errors.str.startswith(DataError.__name__).all():
            path.unlink()


def read(path: Path) -> pd.DataFrame:
    """Read a table of rows; an empty one where there is no file."""
    if not path.is_file():
        return ordered(pd.DataFrame())
    # By itself pandas reads an entity "01" as 1, and "NA" as nothing.
    gaps = {name: [""] for name in ALL if name not in TEXTS}
    texts = dict.fromkeys(TEXTS, str)
    return ordered(pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=gaps))


def accumulate(rows: pd.DataFrame, path: Path) -> None:
    """Add rows to the table at ``path``; a newer row of the same run replaces the older."""
    both = pd.concat([read(path), rows]).drop_duplicates([*KIND, "vus_window"], keep="last")
    both = both.sort_values(["detector", "protocol", "dataset", "seed", "entity"], kind="stable")
    with paths.replacing(path) as part:
        both.to_csv(part, index=False, float_format="%.10g")


KIND = ("dataset", "entity", "detector", "protocol", "settings", "seed")
IDENTITY = (*KIND, "data", "version", "torch")
TEXTS = ("key", *(name for name in IDENTITY if name != "seed"), "metrics", "found_events")
SPENT = ("train_seconds", "train_peak_mb", "score_seconds", "test_rows", "parameters")
ALL = ("key", *IDENTITY, "metrics", "vus_window", *COLUMNS, "found_events", *SPENT, "host", "error")


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the table all its columns, in order."""
    return rows.reindex(columns=list(ALL))
