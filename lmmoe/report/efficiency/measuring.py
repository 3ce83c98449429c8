"""What one detector costs. These functions run in a process of their own (`child`).

A row of the table is kept as long as this module and what it imports stay the same.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from lmmoe import costs
from lmmoe.detectors import Detector, detector, saving
from lmmoe.detectors.base import Floats
from lmmoe.report.efficiency.operations import per_row
from lmmoe.report.efficiency.timing import (
    BATCHES,
    Effort,
    Timing,
    call,
    latencies,
    once,
    repeated,
    rows_for,
    timed,
)

WARM_ROWS = 500  # of training, to load what a method imports when it is first used
VERSION = 1  # raise it when what this module measures changes
BATCH = 256  # rows scored at once where the memory of scoring is measured
MB = 1e6


def made(spec: dict, **changes: object) -> Detector:
    """Make the detector that a spec names."""
    settings = spec["settings"] | changes
    return detector(spec["detector"], seed=spec["seed"], **settings)


def warm(spec: dict, train: Floats) -> None:
    """Fit once on a few rows, so that imports count neither as time nor as memory."""
    brief = {"epochs": 1} if spec["settings"].get("epochs", 0) > 1 else {}
    made(spec, **brief).fit(train[:WARM_ROWS])


def costs_of(spec: dict, train: Floats, test: Floats) -> dict[str, float | bool]:
    """Measure training on rows ``train`` ``(t, c)`` and scoring rows ``test``, on one thread.

    Seconds and rows a second are of processor time, latency is of wall time. The fitted model is
    written to ``spec["file"]`` where it can be saved. Raises what the detector raises.
    """
    effort = Effort(**spec["effort"])
    warm(spec, train)
    fitted, training, peak = trained(spec, train, effort)
    scoring = scored(fitted, test, effort)
    taken, own = latencies(fitted, test, effort)
    calls = {
        f"rows_per_second_{batch}": batch / call(fitted, test, batch, effort).seconds
        for batch in BATCHES
        if batch > 1
    }
    return (
        {"parameters": fitted.parameters, "multiply_adds": per_row(fitted, test)}
        | {"train_rows": len(train), "channels": train.shape[1], "train_peak_mb": peak}
        | {f"train_{name}": value for name, value in asdict(training).items()}
        | {"score_rows": len(test)}
        | {f"score_{name}": value for name, value in asdict(scoring).items()}
        | percentiles(taken)
        | {"rows_per_second_1": 1 / own}
        | calls
        | sizes(fitted, Path(spec["file"]))
        | {"rescales": fitted.rescales}
    )


def second_of(spec: dict, train: Floats, test: Floats) -> dict[str, float]:
    """Measure the same on another device, ``spec["settings"]["device"]``: all in wall seconds."""
    effort = Effort(**spec["effort"])
    warm(spec, train)
    fitted, training, _ = trained(spec, train, effort)
    taken, _ = latencies(fitted, test, effort)
    largest = BATCHES[-1]
    long = call(fitted, test, largest, effort)
    return {
        "train_seconds": training.wall_seconds,
        "score_seconds": scored(fitted, test, effort).wall_seconds,
        f"rows_per_second_{largest}": largest / long.wall_seconds,
    } | percentiles(taken)


def memory_of(spec: dict, rows: Floats) -> dict[str, float]:
    """MB to load the model in ``spec["file"]`` and score `BATCH` rows, beyond the imports.

    ``process_mb`` is all that the process then holds, libraries included.
    """
    import psutil

    _loaded(spec["file"], rows, 1)
    with costs.measured() as cost:
        _loaded(spec["file"], rows, BATCH)
    whole = psutil.Process().memory_info().rss / MB
    return {"inference_mb": cost.peak_mb, "process_mb": whole}


def _loaded(file: str, rows: Floats, batch: int) -> None:
    model = saving.load(file)
    model.decision_function(rows_for(model, rows, batch))


def trained(spec: dict, train: Floats, effort: Effort) -> tuple[Detector, Timing, float]:
    """Fit, and fit again where that does not take long: model, time of a fit, MB of the first."""
    fitted, first = made(spec), []
    with costs.measured() as cost:
        first.append(once(lambda: fitted.fit(train)))
    if 2 * cost.seconds > effort.seconds:
        return fitted, timed(first), cost.peak_mb
    again = repeated(lambda: fitted.fit(train), repeats=effort.repeats, seconds=effort.seconds)
    return fitted, again, cost.peak_mb


def scored(fitted: Detector, test: Floats, effort: Effort) -> Timing:
    """Time scoring the whole of ``test`` ``(t, c)``."""
    return repeated(
        lambda: fitted.decision_function(test), repeats=effort.repeats, seconds=effort.seconds
    )


def percentiles(taken: Floats) -> dict[str, float]:
    """Give the median and the 99th percentile of calls ``(n,)`` in milliseconds; how many."""
    middle, high = 1000 * np.percentile(taken, [50, 99])
    found = {"latency_p50_ms": float(middle), "latency_p99_ms": float(high)}
    return found | {"latency_calls": len(taken)}


def sizes(fitted: Detector, file: Path) -> dict[str, float]:
    """Bytes of the saved file, and of what was learned: without the training rows' scores."""
    if not fitted.savable:
        return {"model_bytes": float("nan"), "learned_bytes": float("nan")}
    saving.save(fitted, file)
    whole = file.stat().st_size
    return {"model_bytes": whole, "learned_bytes": whole - fitted.decision_scores_.nbytes}
