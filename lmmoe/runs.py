"""One run: a detector with its settings and seed on one entity under one protocol.

Everything expensive is done once. A run's scores and model lie in the cache under a key of data,
settings, seed and code; its metrics are a row of a table that accumulates (``runs.csv``).
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe import code, costs, paths, progress
from lmmoe.data import Series
from lmmoe.data.reading import read_npy
from lmmoe.data.series import Floats
from lmmoe.detectors import Detector, entry, saving
from lmmoe.errors import DataError
from lmmoe.evaluation import COLUMNS, evaluate
from lmmoe.params import Profile
from lmmoe.protocol import PROTOCOLS


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
            "code": code.key(entry(self.detector).cls.__module__),
            "torch": version("torch").partition("+")[0],  # not whether for CUDA or not
        }

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits of the identity and of what the protocol means."""
        text = json.dumps([self.identity, asdict(PROTOCOLS[self.protocol])], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Result(NamedTuple):
    """A fitted detector, its scores ``(t,)`` of the test half, and what both cost."""

    detector: Detector
    scores: Floats
    costs: dict[str, float]


def result(run: Run) -> Result:
    """Fit and score, or take both from the cache."""
    folder = paths.cache() / run.key
    try:
        return _kept(folder)
    except (OSError, ValueError):  # missing, half-written or damaged: computing mends it
        _compute(run, folder)
        return _kept(folder)


def _kept(folder: Path) -> Result:
    spent = _read_json(folder / "costs.json")  # written last
    made = saving.load(folder / "model.safetensors")
    return Result(made, read_npy(folder / "scores.npy"), spent)


def _compute(run: Run, folder: Path) -> None:
    protocol = PROTOCOLS[run.protocol]
    made = protocol.detector(run.detector, seed=run.seed, **run.settings)
    with costs.measured() as training:
        made.fit(protocol.train(run.series))
    with costs.measured() as scoring:
        scores = made.decision_function(run.series.test)
    saving.save(made, folder / "model.safetensors")
    with paths.replacing(folder / "scores.npy") as part:
        np.save(part, scores)
    spent = {
        "train_seconds": training.seconds,
        "train_peak_mb": training.peak_mb,
        "score_seconds": scoring.seconds,
        "parameters": made.parameters,
        "host": f"{platform.system()} {platform.machine()}",
    }
    with paths.replacing(folder / "costs.json") as part:
        part.write_text(json.dumps(spent), encoding="utf-8")


def row(run: Run, *, vus_window: int) -> dict[str, object]:
    """Give the run's line of the table: identity, metrics, costs; on failure, ``error`` instead."""
    head = {"key": run.key} | run.identity | judged(vus_window)
    try:
        _, scores, spent = result(run)
        labels = PROTOCOLS[run.protocol].labels(run.series)
        return head | evaluate(labels, scores, vus_window=vus_window) | spent
    except (ValueError, RuntimeError, MemoryError, NotImplementedError) as error:
        # One detector that fails must not cost the others; the next start tries it again.
        return head | {"error": f"{type(error).__name__}: {error}"}


def judged(vus_window: int) -> dict[str, object]:
    """What a row's metrics depend on besides its scores."""
    return {"metrics": code.key("lmmoe.evaluation", "lmmoe.protocol"), "vus_window": vus_window}


def planned(profile: Profile, entity: str) -> Iterator[Run]:
    """All runs of a profile on one entity."""
    series = profile.load(entity)
    for name, settings in profile.detectors.items():
        for protocol in profile.protocols:
            for seed in _seeds(profile, name):
                yield Run(series, name, protocol, seed, settings)


def per_entity(profile: Profile) -> int:
    """How many runs `planned` gives for one entity."""
    return len(profile.protocols) * sum(len(_seeds(profile, name)) for name in profile.detectors)


def _seeds(profile: Profile, name: str) -> list[int]:
    return profile.seeds if entry(name).cls.seeded else profile.seeds[:1]


def table(profile: Profile, entities: list[str] | None = None) -> pd.DataFrame:
    """Give the rows of all runs of a profile, or of some entities.

    Only what is missing is computed: rows that still hold are taken from the tables that the
    profile's workflow and earlier reports left (`earlier`).
    """
    known = earlier(profile)
    entities = entities or profile.present
    rows = []
    with progress.bar(len(entities) * per_entity(profile), "runs", unit="run") as bar:
        for entity in entities:
            for run in planned(profile, entity):
                doing = f"{entity} {run.detector} {run.protocol} seed {run.seed}"
                bar.set_postfix_str(doing, refresh=False)
                old = known.get((run.key, *judged(profile.vus_window).values()))
                rows.append(old or row(run, vus_window=profile.vus_window))
                bar.update()
    return ordered(pd.DataFrame(rows))


def earlier(profile: Profile) -> dict[tuple[object, ...], dict[str, object]]:
    """Known rows by key, metrics' code and VUS window.

    The published table comes first, without its failures, and not at all where the environment
    variable ``LMMOE_FRESH`` is set; then what this report's own jobs wrote, failures included.
    """
    published = ordered(pd.DataFrame())
    if not os.environ.get("LMMOE_FRESH"):
        published = read(paths.figures(profile.profile) / "runs.csv")
    own = sorted((paths.results(profile.profile) / "runs").glob("[!.]*.csv"))
    tables = [published[published["error"].isna()], *map(read, own)]
    lines = [line for rows in tables for line in rows.to_dict("records")]
    return {(line["key"], line["metrics"], line["vus_window"]): line for line in lines}


def forget_failures(profile: Profile) -> None:
    """Delete this report's job tables that hold a run to try again: one that bad data did not end.

    Bad data fails the same way until it changes; a lack of memory may have passed.
    """
    for path in (paths.results(profile.profile) / "runs").glob("[!.]*.csv"):
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
IDENTITY = (*KIND, "data", "code", "torch")
TEXTS = ("key", *(name for name in IDENTITY if name != "seed"), "metrics")
SPENT = ("train_seconds", "train_peak_mb", "score_seconds", "parameters")
ALL = ("key", *IDENTITY, "metrics", "vus_window", *COLUMNS, *SPENT, "host", "error")


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the table all its columns, in order."""
    return rows.reindex(columns=list(ALL))


def _read_json(path: Path) -> dict[str, float]:
    return json.loads(path.read_text(encoding="utf-8"))
