"""What detectors cost: measured for each, and worked out for a fleet.

Every measurement runs in a process of its own with one thread, and is kept: a second report takes
it from the published table or from the cache. Seconds are processor seconds, latencies wall time.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch
from warnings import catch_warnings

import numpy as np
import pandas as pd
import psutil

from lmmoe import data
from lmmoe.data.series import Floats
from lmmoe.detectors import Detector, saving
from lmmoe.report import measure, store
from lmmoe.report.experiment import PROTOCOLS, Run
from lmmoe.report.profile import Profile

# What libraries of linear algebra read when they are loaded, so that it must be set before.
LIMITED = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "VECLIB_MAXIMUM")
ONE_THREAD = {f"{name}_THREADS": "1" for name in LIMITED}
LIBRARIES = ["pandas", "scipy.stats", "sklearn.decomposition", "sklearn.ensemble", "torch._dynamo"]
VERSION = 2  # raise it when what is measured changes
# All networks as they are written, by autograd: steps by hand, which some have, compare programs.
plainly = partial(patch, "lmmoe.mmoe_fast.suits", new=lambda network: False)
WARM_ROWS = 500  # of training, to load what a method imports when it is first used
WINDOWS = 64  # different rows that single calls go round: one alone would stay in the cache
FEWEST, MOST = 25, 10_000  # calls that a median is taken of, calls that are timed
FEW = ("LightMMoE", "CAD-as-run", "linear", "PCA windows EWMA", "PCA", "MTSExample", "random")

COLUMNS = (
    "key dataset entity data detector protocol settings seed version torch effort measured device "
    "parameters multiply_adds train_seconds score_rows score_seconds latency_p50_ms "
    "rows_per_second_1 rows_per_second_256 train_peak_mb inference_mb process_mb learned_bytes "
    "error"
).split()
# How long: repetitions, and within how many seconds; seconds of calls of few rows.
EFFORTS = {"quick": (3, 0.2, 0.05), "full": (7, 30.0, 2.0)}


def table(profile: Profile, *, entity: str = "") -> pd.DataFrame:
    """Measure the profile's detectors on one entity, the first: a row each with `COLUMNS`.

    The effort, of `EFFORTS`, is "full" on published data, else "quick": that one measures only
    `FEW` of the detectors, if the profile has any. One that fails has ``error`` and no numbers.
    """
    effort = "full" if profile.dataset in set(data.DATASETS) - {"synthetic"} else "quick"
    series, protocol = profile.load(entity or profile.present[0]), PROTOCOLS[profile.protocols[0]]
    train = protocol.train(series)
    names = [name for name in profile.detectors if name in FEW or effort != "quick"]
    keep, rows = store.Table(profile.profile, "efficiency"), []
    for name in measure.each(names or [*profile.detectors], "efficiency", "detector"):
        run = Run(series, name, profile.protocols[0], profile.seeds[0], profile.detectors[name])
        head = run.identity | {"detector": name, "effort": effort, "measured": VERSION}
        make = partial(protocol.detector, name, seed=run.seed, **run.settings)
        work = partial(_measured, make, train, series.test, EFFORTS[effort])
        [line] = keep.lines(head, {}, work)
        rows.append(line | head)  # the head once more: a table read back may have changed it
    return pd.DataFrame(rows).reindex(columns=COLUMNS).set_index("detector")


def _measured(make: Callable, train: Floats, test: Floats, effort: tuple) -> list[store.Line]:
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        file = Path(folder, "model.safetensors")
        found = isolated(costs_of, make, train, test, effort, file)
        if file.is_file():  # what training left behind must not count
            found |= isolated(memory_of, file, test)
    return [found | {"device": measure.cpu_name()}]


def isolated(task: Callable[..., dict], *given: object) -> dict:
    """Call ``task(*given)``, a function of a module, in a new process with one thread.

    Raises what the task raises, and `RuntimeError` where the process is killed.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, task.__module__])
    with patch.dict(os.environ, ONE_THREAD | {"LMMOE_PROGRESS": "off"}):  # it is inherited
        with ProcessPoolExecutor(1, context, initializer=measure.die_with_parent) as pool:
            return pool.submit(task, *given).result()


@plainly()
def costs_of(make: Callable, train: Floats, test: Floats, effort: tuple, file: Path) -> dict:
    """Measure training on rows ``train`` ``(t, c)`` and scoring rows ``test``: some of `COLUMNS`.

    ``make(**settings)`` gives a `Detector`; ``effort`` is one of `EFFORTS`. A latency is the wall
    time of a call that scores one row with its window. The model is written to ``file`` if it can.
    """
    made, (*bounds, call_seconds) = make(), effort
    brief = {"epochs": 1} if made.settings.get("epochs", 0) > 1 else {}
    make(**brief).fit(train[:WARM_ROWS])
    with measure.measured() as memory:
        first, _ = measure.once(lambda: made.fit(train))
    train_seconds = repeated(lambda: made.fit(train), *bounds, first)
    score_seconds = repeated(lambda: made.decision_function(test), *bounds)
    starts = np.linspace(0, len(test) - made.min_rows, WINDOWS, dtype=int)
    windows = [rows_for(made, test, 1, start) for start in starts]
    taken, spent = [], 0.0
    while spent < call_seconds or len(taken) < FEWEST:
        taken.append(measure.once(partial(made.decision_function, windows[len(taken) % WINDOWS])))
        spent += taken[-1][1]
    own, wall = np.array(taken[5:]).T  # the first set up what later ones find ready
    score = partial(made.decision_function, rows_for(made, test, 256))
    score()
    found = {
        "train_seconds": train_seconds,
        "train_peak_mb": memory.peak_mb,
        "score_seconds": score_seconds,
        "score_rows": len(test),
        "latency_p50_ms": 1000 * np.median(wall),
        "rows_per_second_1": 1 / own.mean(),
        "rows_per_second_256": 256 / repeated(score, MOST, call_seconds),
        "parameters": made.parameters,
        "multiply_adds": per_row(made, test),
    }
    if made.savable:
        scores = made.decision_scores_.nbytes  # of the training rows: nobody learned them
        found["learned_bytes"] = saving.save(made, file).stat().st_size - scores
    return found


def repeated(work: Callable[[], object], repeats: int, seconds: float, *first: float) -> float:
    """Median processor seconds of up to ``repeats`` times ``work``, no more after ``seconds``.

    ``first`` are those of repetitions that were done before.
    """
    taken, end = [*first], time.perf_counter() + seconds - sum(first)
    while not taken or (len(taken) < repeats and time.perf_counter() < end):
        taken.append(measure.once(work)[0])
    return float(np.median(taken))


@plainly()
def memory_of(file: Path, rows: Floats) -> store.Line:
    """MB to load the model in ``file`` and score 256 rows; ``process_mb``: with all libraries."""
    for batch in (1, 256):  # the first loads what is imported late
        with measure.measured() as memory:
            made = saving.load(file)
            made.decision_function(rows_for(made, rows, batch))
            del made
    return {"inference_mb": memory.peak_mb, "process_mb": psutil.Process().memory_info().rss / 1e6}


def rows_for(made: Detector, rows: Floats, batch: int, start: int = 0) -> Floats:
    """Give the rows ``(n, c)`` that a call needs to score ``batch`` consecutive ones.

    With what must stand before the first of them; beyond the last row the first follows again.
    """
    wanted = range(start, start + made.min_rows - 1 + batch)
    return rows.take(wanted, axis=0, mode="wrap")


@plainly()
def per_row(made: Detector, rows: Floats) -> float:
    """Count the multiply-adds to score one more row; ``rows`` ``(t, c)`` are any that it can score.

    Not counted is what is done once per element. NaN where that is all, or a package hides it.
    """
    from torch.backends import mkldnn
    from torch.utils.flop_counter import FlopCounterMode
    from torch.utils.module_tracker import ModuleTracker

    n, c = made.parameters, made.n_features_in_
    by_hand = {  # by class, of the methods that are not written in torch
        "RidgeVAR": n - c,  # without the intercept
        **dict.fromkeys(("KMeansAD", "NearestNeighbours"), n),  # with each centre or learned row
        **dict.fromkeys(("MTSExample", "L2MinMax", "MovingAverage"), c),  # a square a channel
    }
    directions = getattr(made, "_learned", {}).get("directions")
    if directions is not None:  # onto them, and back for the last row alone
        return float(directions.size + len(directions) * c)
    if type(made).__name__ in by_hand:
        return float(by_hand[type(made).__name__])
    counted = []
    for batch in (1, 65):
        with (
            # The tracker of modules fails where one gives out its weights as they are.
            patch.object(ModuleTracker, "_fw_post_hook", lambda *_: None),
            catch_warnings(action="ignore"),  # of settings for other devices
            mkldnn.flags(enabled=False),  # it makes one operation of a recurrent layer
            FlopCounterMode(display=False) as counter,
        ):
            made.decision_function(rows_for(made, rows, batch))
        counted.append(counter.get_total_flops() // 2)
    return (counted[1] - counted[0]) / 64 or np.nan  # what each call does once drops out


def fleet(
    table: pd.DataFrame, *, machines: int, every: float, retrain_days: float, core_hour: float
) -> pd.DataFrame:
    """Say how many cores keep up with a fleet, and what they cost a year: a row per detector.

    Each machine has a row ``every`` so many seconds and is trained every ``retrain_days``;
    ``core_hour`` is the price of a core for an hour. ``*_batch``: 256 rows are scored by one call.
    """
    found = pd.DataFrame(index=table.index)
    found["cores_row"] = machines / every / table["rows_per_second_1"]
    found["cores_batch"] = machines / every / table["rows_per_second_256"]
    found["cores_training"] = machines / (retrain_days * 86400) * table["train_seconds"]
    year = 8766 * core_hour  # leap days included
    for name, scoring in (("a_year", "cores_row"), ("a_year_batch", "cores_batch")):
        found[name] = year * (found[scoring] + found["cores_training"])
    return found.sort_values("a_year")
