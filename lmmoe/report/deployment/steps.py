"""What a row costs that comes alone, and what a stream keeps: each detector on one entity.

Call by call on one thread, in two clocks. Wall time is what somebody waits, and other work on the
machine lengthens it, the 99th percentile most. Processor time of the thread is what a quiet machine
would make somebody wait: rules and verdicts go by it.
"""

import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.live.model import Model
from lmmoe.live.stream import Stream
from lmmoe.report.deployment import kept
from lmmoe.report.deployment.alarms_measured import model_of
from lmmoe.report.deployment.watching import PROTOCOL
from lmmoe.report.export.graph import write
from lmmoe.report.export.integers import quantise
from lmmoe.report.export.runtime import Runtime
from lmmoe.report.measure import cpu_name
from lmmoe.report.params import Profile, detector_of
from lmmoe.report.runs import FAILURES, Run

STEP, BATCH, ONNX, INT8 = "live step", "decision_function", "ONNX Runtime", "ONNX Runtime, int8"
VERSION = 1  # raise it when what this module measures changes
SUBJECT = "LightMMoE"  # which is timed in every way; the others as live steps
CALLS, SECONDS, FIRST = 2000, 1.0, 50  # at most so many, or so long; not counted at the start
FAR = 1e300  # a threshold that no score exceeds
COLUMNS = (
    *("dataset", "entity", "detector", "way", "p50_ms", "p99_ms"),
    *("p50_processor_ms", "p99_processor_ms", "calls"),
    *("model_bytes", "state_bytes", "device", "error"),
)


def table(profile: Profile, rows: pd.DataFrame) -> pd.DataFrame:
    """Time a live row of each detector on the profile's first entity: `COLUMNS`.

    Of those that have succeeded there in ``rows`` (`report.runs`). ``error`` says why a detector
    has no live score. What the published table knows is not timed again.
    """
    entity = profile.present[0]
    series, keep, found = profile.load(entity), kept.Kept(profile.profile, "live_steps"), []
    good = rows[rows["error"].isna() & (rows["protocol"] == PROTOCOL) & (rows["entity"] == entity)]
    names = [n for n in profile.detectors if n == detector_of(n) and n in set(good["detector"])]
    with progress.bar(len(names), "live rows", unit="detector") as bar:
        for name in names:
            bar.set_postfix_str(name, refresh=False)
            run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
            found += _kept(run, keep)
            bar.update()
    return kept.table(found, COLUMNS)


def _kept(run: Run, keep: kept.Kept) -> list[dict[str, object]]:
    shown = {name: run.identity[name] for name in ("dataset", "entity", "detector")}
    hidden = {"run": run.key, "effort": [CALLS, SECONDS, COLUMNS]}
    hidden["measured"] = VERSION
    return keep.lines(shown, hidden, lambda: [kept.plain(line) for line in _timed(run)])


def _timed(run: Run) -> list[dict[str, object]]:
    """Time one detector in each way that it has."""
    device = {"device": cpu_name()}
    try:
        model = model_of(run)
        lines = [{"way": STEP} | _live(model, run.series)]
        if run.detector == SUBJECT:
            lines += _others(model, run.series)
    except (*FAILURES, NotImplementedError) as error:
        return [{"way": STEP, "error": str(error)} | device]
    return [line | device for line in lines]


def _live(model: Model, series: Series) -> dict[str, float]:
    """Time whole steps of a stream: scaling, score, threshold, attribution."""
    # Without calibration scores no rule sets a threshold; what a step costs hangs on none.
    stream = Stream(model, threshold=FAR if model.calibration is None else "quantile")
    found = percentiles(lambda row: stream.step(row).shares, series.test)
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        state = stream.save(Path(folder, "state.safetensors")).stat().st_size
        file = model.save(Path(folder, "model.safetensors")).stat().st_size
    scores = model.detector.decision_scores_.nbytes  # in the file only to set thresholds by
    return found | {"model_bytes": file - scores, "state_bytes": state}


def _others(model: Model, series: Series) -> list[dict[str, object]]:
    """Time single rows by the detector's own batch function and by ONNX Runtime."""
    made, pieces = model.detector, series.test[: model.detector.min_rows + 64]
    size = made.min_rows
    given = np.lib.stride_tricks.sliding_window_view(pieces, size, axis=0).transpose(0, 2, 1)
    given = [np.ascontiguousarray(piece) for piece in given]
    lines = [{"way": BATCH} | percentiles(made.decision_function, given)]
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        plain = write(made, Path(folder, "model.onnx"))
        for way, file in ((ONNX, plain), (INT8, quantise(plain, Path(folder, "int8.onnx")))):
            runtime = Runtime(file)
            own = percentiles(runtime.judge, [piece[None] for piece in given])
            lines.append({"way": way} | own | {"model_bytes": file.stat().st_size})
    return lines


def percentiles(
    work: Callable[[Floats], object], given: Floats | list[Floats]
) -> dict[str, float | int]:
    """Time ``work`` on what is given in turn: median and 99th percentile in ms, how many calls.

    Of wall time, and of the thread's processor time.
    """
    for one in islice(cycle(given), FIRST):
        work(one)
    taken, end = [], time.perf_counter() + SECONDS
    for one in islice(cycle(given), CALLS):
        began, own = time.perf_counter(), time.thread_time()
        work(one)
        spent = time.thread_time() - own
        now = time.perf_counter()
        taken.append((now - began, spent))
        if now > end:
            break
    middle, high = 1000 * np.percentile(taken, [50, 99], axis=0)
    wall = {"p50_ms": float(middle[0]), "p99_ms": float(high[0])}
    own = {"p50_processor_ms": float(middle[1]), "p99_processor_ms": float(high[1])}
    return wall | own | {"calls": len(taken)}
