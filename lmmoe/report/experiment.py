"""One run: a detector with its settings and seed on one entity under one protocol.

``Profile -> planned -> Run -> result (fit and score, kept) -> row (metrics) -> runs.csv``.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from lmmoe import paths, progress
from lmmoe.data import Series
from lmmoe.data.reading import read_npy
from lmmoe.data.series import Bits, Floats
from lmmoe.detectors import Detector, detector, entry, saving
from lmmoe.errors import DataError
from lmmoe.report import evaluation, store
from lmmoe.report.evaluation import COLUMNS, SPENT, evaluate
from lmmoe.report.measure import each, measured
from lmmoe.report.names import detector_of
from lmmoe.report.profile import Profile
from lmmoe.report.store import FAILURES

MODEL = "model.safetensors"
MOST = 60.0  # seconds that a fit may take which nobody asked for


@dataclass(frozen=True)
class Protocol:
    """Which rows train, what counts as an event, and the settings that a detector must take."""

    name: str
    train_share: float  # of the training half, from its start; for scaling and fitting
    margin: int  # rows by which every event's end is moved on
    calibration: float = 0.0  # share at the end of the training rows that no model is fitted on
    settings: dict[str, object] = field(default_factory=dict)  # where a detector has them

    def train(self, series: Series) -> Floats:
        """Give the rows ``(t, c)`` to fit on."""
        return series.train[: int(self.train_share * len(series.train))]

    def labels(self, series: Series) -> Bits | None:
        """Give the labels ``(t,)`` to judge by; None where the series has none."""
        if series.labels is None or self.margin == 0:
            return series.labels
        return widened(series.labels, series.events, self.margin)

    def detector(self, name: str, *, seed: int = 0, **settings: object) -> Detector:
        """Make a detector as this protocol wants it; ``settings`` win."""
        known = entry(name := detector_of(name)).cls.setting_kinds()
        imposed = {key: value for key, value in self.settings.items() if key in known}
        return detector(name, seed=seed, **(imposed | settings))


def widened(labels: Bits, events: list[tuple[int, int]], margin: int) -> Bits:
    """Move every event's end ``margin`` rows on, as the study's evaluation does.

    Not beyond the last row, nor to the 2 rows before the next event.
    """
    wide = labels.copy()
    limits = [*(start - 2 for start, _ in events), len(labels)][1:]
    for (_, end), limit in zip(events, limits, strict=True):
        wide[end : max(end, min(end + margin, limit))] = 1
    return wide


PROTOCOLS = {
    "ours": Protocol("ours", 1.0, 0, calibration=0.1),
    # What the study's evaluation program does (an EasyTSAD configuration with margin [0, 5]); the
    # L2 norm then equals the study's own results on every machine.
    "study": Protocol("study", 0.8, 5, settings={"held_out": 0.0, "first_scores": "zero"}),
}


@dataclass(frozen=True, eq=False)
class Run:
    """What to run; ``detector`` is as in a profile, a label included. `key` names its result."""

    series: Series
    detector: str
    protocol: str = "ours"
    seed: int = 0
    settings: dict[str, object] = field(default_factory=dict)

    @cached_property
    def identity(self) -> store.Line:
        """What a result depends on, the first columns of its row."""
        return {
            "dataset": self.series.dataset,
            "entity": self.series.entity,
            "data": self.series.id,
            "detector": detector_of(self.detector),
            "protocol": self.protocol,
            "settings": json.dumps(self.settings, sort_keys=True),
            "seed": self.seed,
            "version": str(entry(detector_of(self.detector)).cls.version),
            "torch": version("torch").partition("+")[0],  # not whether for CUDA or not
        }

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits of the identity and of what the protocol means."""
        return store.key([self.identity, asdict(PROTOCOLS[self.protocol])])


@dataclass(frozen=True, eq=False)
class Result:
    """What fitting and scoring gave: ``scores`` ``(t,)`` of the test half, and what both cost.

    ``calibration`` are scores of training rows that may set a threshold, unless the model learned
    from them or rescales; ``blame`` ``(events, c)`` channel scores, summed over events with causes.
    """

    scores: Floats
    calibration: Floats | None
    blame: Floats | None
    costs: dict[str, float | str]
    load: Callable[[], Detector] | None

    @cached_property
    def detector(self) -> Detector:
        """The fitted detector; raises `NotImplementedError` where it cannot be saved."""
        if self.load is None:
            raise NotImplementedError("this detector cannot be saved: fit it to have it")
        return self.load()


def result(run: Run) -> Result:
    """Fit and score, or take what that gave from the cache."""
    folder = paths.cache() / run.key
    with suppress(OSError, ValueError):
        return kept(folder)
    shutil.rmtree(folder, ignore_errors=True)  # missing or damaged: computing mends it
    protocol, series = PROTOCOLS[run.protocol], run.series
    made = protocol.detector(run.detector, seed=run.seed, **run.settings)
    with measured() as training:
        made.fit(protocol.train(series))
    began = time.perf_counter()
    arrays = {"scores": made.decision_function(series.test), "calibration": None, "blame": None}
    score_seconds = time.perf_counter() - began
    rows = len(made.decision_scores_)
    held_out = int(protocol.calibration * rows)  # as many may set a threshold
    if held_out and made._cut(rows) <= rows - held_out and not made.rescales:
        arrays["calibration"] = made.decision_scores_[-held_out:]
    if series.causes:
        with suppress(NotImplementedError):  # it has no channel scores
            shares = made.channel_scores(series.test)
            blame = [shares[cause.start : cause.end].sum(axis=0) for cause in series.causes]
            arrays["blame"] = np.array(blame)
    spent = {
        "train_seconds": training.seconds,
        "train_peak_mb": training.peak_mb,
        "score_seconds": score_seconds,
        "test_rows": len(series.test),
        "parameters": made.parameters,
        "host": f"{platform.system()} {platform.machine()}",
    }
    with store.caching():
        _write(folder, made, arrays, spent)
    return Result(**arrays, costs=spent, load=(lambda: made) if made.savable else None)


def needed(run: Run) -> Result:
    """Give the result to a notebook that is about it, and which a `DataError` ends if it fails."""
    try:
        return result(run)
    except FAILURES as error:
        reason = f"{run.detector} failed here ({type(error).__name__}: {error})"
        raise DataError(reason, file=f"{run.series.dataset}/{run.series.entity}") from error


def kept(folder: Path) -> Result:
    """Read a result; raises `OSError` or `ValueError` where it is missing or damaged."""
    spent = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    files = spent.pop("files")
    if MODEL in files:
        saving.read(folder / MODEL, whole=False)  # the header knows how long it must be
    arrays = {name: f"{name}.npy" for name in ("scores", "calibration", "blame")}
    arrays = {n: read_npy(folder / file) if file in files else None for n, file in arrays.items()}
    load = partial(saving.load, folder / MODEL) if MODEL in files else None
    return Result(**arrays, costs=spent, load=load)


def _write(folder: Path, made: Detector, arrays: dict[str, object], spent: store.Line) -> None:
    """Write a result whole: another process may compute the same at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as part:
        whole = Path(part, folder.name)
        whole.mkdir()
        if made.savable:
            saving.save(made, whole / MODEL)
        for name, array in arrays.items():
            if array is not None:
                np.save(whole / f"{name}.npy", array)
        text = json.dumps(spent | {"files": [path.name for path in whole.iterdir()]})
        (whole / "costs.json").write_text(text, encoding="utf-8")
        with suppress(OSError):  # a process that was faster wrote the same
            whole.rename(folder)


KIND = ("dataset", "entity", "detector", "protocol", "settings", "seed")
ALL = ["key", *KIND, "data", "version", "torch", "metrics", "vus_window", *COLUMNS]
ALL += ["found_events", *SPENT, "host", "error"]


def row(run: Run, *, vus_window: int) -> store.Line:
    """Give the run's line of the table: identity, metrics, costs; on failure, ``error`` instead."""
    series, labels = run.series, PROTOCOLS[run.protocol].labels(run.series)
    head = {"key": run.key} | run.identity | judged(series, vus_window)
    causes = [cause.channels for cause in series.causes or ()] or None
    try:
        found = result(run)
        how = {"calibration": found.calibration, "rows_per_day": series.rows_per_day}
        how |= {"vus_window": head["vus_window"], "blame": found.blame, "causes": causes}
        return head | evaluate(labels, found.scores, **how) | found.costs
    except FAILURES as error:
        return head | {"error": f"{type(error).__name__}: {error}"}


def judged(series: Series, vus_window: int) -> store.Line:
    """What a row's metrics depend on besides its scores."""
    causes = [[*map(int, (one.start, one.end, *one.channels))] for one in series.causes or ()]
    parts = [evaluation.VERSION, ALL, series.rows_per_day, causes]  # old rows lack new columns
    return {"metrics": store.key(parts)[:10], "vus_window": series.vus_window or vus_window}


def planned(profile: Profile, series: Series) -> Iterator[Run]:
    """All runs of a profile on one entity."""
    for name, protocol, seed in profile.plan(series.entity):
        yield Run(series, name, protocol, seed, profile.detectors[name])


def table(profile: Profile, entities: list[str] | None = None) -> pd.DataFrame:
    """Give the rows of all runs of a profile, or of those on some entities, labels in the names.

    Rows that hold are taken from the published table, unless they failed, and from job tables.
    """
    entities = entities or profile.present
    published = store.read(paths.figures(profile.profile) / "runs.csv", ALL)
    tables = [] if os.environ.get("LMMOE_FRESH") else [published[published["error"].isna()]]
    tables += [store.read(file, ALL) for file in job_tables(profile.profile)]
    lines = (line for known in tables for line in known.to_dict("records"))
    known = {(line["key"], line["metrics"], line["vus_window"]): line for line in lines}
    rows, total = [], sum(len(profile.plan(entity)) for entity in entities)
    with progress.bar(total, "runs", unit="run") as bar:
        for entity in entities:
            series = profile.load(entity)
            judge = judged(series, profile.vus_window).values()
            for run in planned(profile, series):
                doing = f"{entity} {run.detector} {run.protocol} seed {run.seed}"
                bar.set_postfix_str(doing, refresh=False)
                made = known.get((run.key, *judge)) or row(run, vus_window=profile.vus_window)
                rows.append(made | {"detector": run.detector})
                bar.update()
    return pd.DataFrame(rows).reindex(columns=ALL)


def job_tables(profile: str) -> list[Path]:
    """The tables that the jobs of this report wrote."""
    return sorted((paths.results(profile) / "runs").glob("[!.]*.csv"))


def collect(rows: list[pd.DataFrame], path: Path) -> None:
    """Add rows, without labels, to a table; a newer row of the same run replaces the older."""
    both = pd.concat([store.read(path), *rows]).reindex(columns=ALL)
    both["detector"] = both["detector"].map(detector_of)
    both = both.drop_duplicates([*KIND, "vus_window"], keep="last")
    both = both.sort_values(["detector", "protocol", "dataset", "seed", "entity"], kind="stable")
    store.write(both, path)


def measurements(
    profile: Profile,
    name: str,
    wanted: Callable[[Run], bool],
    hidden: Callable[[Run], store.Line],
    measure: Callable[[Run], list[store.Line]],
) -> pd.DataFrame:
    """Measure the runs of a profile that are wanted, with its first seed: the table ``name``.

    ``hidden`` says what a line depends on besides the run; one that fails has ``error`` (`store`).
    So has one that needs a fit of more than `MOST`, by the table of runs.
    """
    keep, found = store.Table(profile.profile, name), []
    names = ("dataset", "entity", "detector", "settings", "seed")
    lack = f"no scores in the cache, and training takes more than {MOST:.0f} s"

    def lines(run: Run) -> list[store.Line]:
        if not (paths.cache() / run.key).is_dir():
            runs = store.read(paths.figures(profile.profile) / "runs.csv", ALL)
            if (runs.loc[runs["key"] == run.key, "train_seconds"] > MOST).any():
                raise RuntimeError(lack)
        return measure(run)

    for entity in each(profile.present, name, "entity"):
        for run in planned(profile, profile.load(entity)):
            if run.seed == profile.seeds[0] and wanted(run):
                shown = {name: run.identity[name] for name in names} | {"detector": run.detector}
                found += keep.lines(shown, {"run": run.key} | hidden(run), partial(lines, run))
    return pd.DataFrame(found)
