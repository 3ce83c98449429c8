"""What detectors cost: measured for each, and worked out for a fleet.

Every measurement runs in a process of its own with one thread, and is kept: a second report takes
it from the published table or from the cache. Seconds are processor seconds, latencies wall time.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil

from lmmoe import data
from lmmoe.data.series import Floats
from lmmoe.detectors import saving
from lmmoe.report import measure, store
from lmmoe.report.experiment import FAILURES, PROTOCOLS, Run
from lmmoe.report.measure import per_row, repeated, rows_for
from lmmoe.report.names import COST_TITLES, title
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what is measured changes
WARM_ROWS = 500  # of training, to load what a method imports when it is first used
WINDOWS = 64  # different rows that single calls go round: one alone would stay in the cache
FEWEST, MOST = 25, 10_000  # calls that a percentile is taken of, calls that are timed
FEW = ("LightMMoE", "CAD-as-run", "linear", "PCA windows EWMA", "PCA", "MTSExample", "random")

COLUMNS = (
    "key dataset entity data detector protocol settings seed version torch effort measured device "
    "parameters multiply_adds train_seconds score_rows score_seconds latency_p50_ms latency_p99_ms "
    "rows_per_second_1 rows_per_second_16 rows_per_second_256 rows_per_second_4096 train_peak_mb "
    "inference_mb process_mb learned_bytes error"
).split()


class Effort(NamedTuple):
    """How long: up to ``repeats`` in ``seconds``; calls of few rows for ``call_seconds``."""

    name: str
    repeats: int
    seconds: float
    call_seconds: float


QUICK = Effort("quick", repeats=3, seconds=0.2, call_seconds=0.05)
FULL = Effort("full", repeats=7, seconds=30.0, call_seconds=2.0)


def table(profile: Profile, *, entity: str = "", effort: Effort | None = None) -> pd.DataFrame:
    """Measure the profile's detectors on one entity, the first: a row each with `COLUMNS`.

    The ``effort`` is `FULL` on published data, and `QUICK` on synthetic and on people's own: that
    one measures only `FEW` of the detectors, or all where the profile has none of these. A detector
    that fails has ``error`` and no numbers.
    """
    published = profile.dataset in set(data.DATASETS) - {"synthetic"}
    effort = effort or (FULL if published else QUICK)
    series, protocol = profile.load(entity or profile.present[0]), PROTOCOLS[profile.protocols[0]]
    train, quick = protocol.train(series), effort.name == QUICK.name
    names = [name for name in profile.detectors if name in FEW or not quick]
    keep, rows = store.Table(profile.profile, "efficiency"), []
    for name in measure.each(names or [*profile.detectors], "efficiency", "detector"):
        run = Run(series, name, profile.protocols[0], profile.seeds[0], profile.detectors[name])
        head = run.identity | {"effort": effort.name, "measured": VERSION}
        make = partial(protocol.detector, name, seed=run.seed, **run.settings)
        try:
            [line] = keep.lines(head, {}, partial(_measured, make, train, series.test, effort))
            rows.append(line | head)  # the head once more: a table read back may have changed it
        except FAILURES as error:
            # One that fails must not cost the others; the next start tries it again.
            rows.append(head | {"error": f"{type(error).__name__}: {error}"})
    return pd.DataFrame(rows).reindex(columns=COLUMNS).set_index("detector")


def _measured(make: Callable, train: Floats, test: Floats, effort: Effort) -> list[store.Line]:
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        file = Path(folder, "model.safetensors")
        found = measure.isolated(costs_of, make, train, test, effort, file)
        if file.is_file():  # what training left behind must not count
            found |= measure.isolated(memory_of, file, test)
    return [found | {"device": measure.cpu_name()}]


def costs_of(make: Callable, train: Floats, test: Floats, effort: Effort, file: Path) -> dict:
    """Measure training on rows ``train`` ``(t, c)`` and scoring rows ``test``: some of `COLUMNS`.

    ``make(**settings)`` gives a `Detector`. A latency is the wall time of a call that scores one
    row with its window. The fitted model is written to ``file`` where it can be saved. Raises what
    the detector raises.
    """
    made, bounds = make(), (effort.repeats, effort.seconds)
    brief = {"epochs": 1} if made.settings.get("epochs", 0) > 1 else {}
    make(**brief).fit(train[:WARM_ROWS])
    with measure.measured() as memory:
        first, _ = measure.once(lambda: made.fit(train))
    train_seconds = repeated(lambda: made.fit(train), *bounds, first)
    score_seconds = repeated(lambda: made.decision_function(test), *bounds)
    found = {"train_seconds": train_seconds, "train_peak_mb": memory.peak_mb}
    found |= {"score_seconds": score_seconds, "score_rows": len(test)}
    starts = np.linspace(0, len(test) - made.min_rows, WINDOWS, dtype=int)
    windows = [rows_for(made, test, 1, start) for start in starts]
    taken, spent = [], 0.0
    while spent < effort.call_seconds or len(taken) < FEWEST:
        taken.append(measure.once(partial(made.decision_function, windows[len(taken) % WINDOWS])))
        spent += taken[-1][1]
    own, wall = np.array(taken[5:]).T  # the first set up what later ones find ready
    middle, high = 1000 * np.percentile(wall, [50, 99])
    found |= {"latency_p50_ms": middle, "latency_p99_ms": high, "rows_per_second_1": 1 / own.mean()}
    for rows in (16, 256, 4096):
        score = partial(made.decision_function, rows_for(made, test, rows))
        score()
        found[f"rows_per_second_{rows}"] = rows / repeated(score, MOST, effort.call_seconds)
    found |= {"parameters": made.parameters, "multiply_adds": per_row(made, test)}
    if made.savable:
        scores = made.decision_scores_.nbytes  # of the training rows: nobody learned them
        found["learned_bytes"] = saving.save(made, file).stat().st_size - scores
    return found


def memory_of(file: Path, rows: Floats) -> store.Line:
    """MB to load the model in ``file`` and score 256 rows; ``process_mb``: with all libraries."""
    for batch in (1, 256):  # the first loads what is imported late
        with measure.measured() as memory:
            made = saving.load(file)
            made.decision_function(rows_for(made, rows, batch))
            del made
    return {"inference_mb": memory.peak_mb, "process_mb": psutil.Process().memory_info().rss / 1e6}


def fleet(
    table: pd.DataFrame, *, machines: int, every: float, retrain_days: float, core_hour: float
) -> pd.DataFrame:
    """Say how many cores keep up with a fleet, and what they cost a year: a row per detector.

    A row of each machine ``every`` so many seconds; ``core_hour`` is the price of a core for an
    hour. ``cores_row``, ``a_year``: each row scored by a call of its own; ``*_batch``: 256 rows by
    one call; years with training, every ``retrain_days``. ``models_gb``: all models together.
    """
    found = pd.DataFrame(index=table.index)
    found["cores_row"] = machines / every / table["rows_per_second_1"]
    found["cores_batch"] = machines / every / table["rows_per_second_256"]
    found["cores_training"] = machines / (retrain_days * 86400) * table["train_seconds"]
    year = 8766 * core_hour  # leap days included
    for name, scoring in (("a_year", "cores_row"), ("a_year_batch", "cores_batch")):
        found[name] = year * (found[scoring] + found["cores_training"])
    found["models_gb"] = machines * table["learned_bytes"] / 1e9
    return found.sort_values("a_year")


TITLES = COST_TITLES | {
    "multiply_adds": "multiply-adds a row",
    "latency_p50_ms": "one row alone (ms)",
    "learned_bytes": "learned (bytes)",
    "cores_row": "cores, row by row",
    "cores_batch": "cores, 256 rows a call",
    "cores_training": "cores, training",
    "a_year": "a year, row by row",
    "a_year_batch": "a year, 256 rows a call",
    "models_gb": "all models (GB)",
}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Choose, round and name the columns of `table` or `fleet` that people read."""
    known = table.filter(TITLES).dropna(axis=1, how="all")
    return known.round(3).rename(index=title, columns=TITLES)
