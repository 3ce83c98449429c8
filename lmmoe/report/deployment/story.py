"""The pieces of notebook 07's story: a day that is watched, an alarm, a restart."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.errors import DataError
from lmmoe.live.model import Model
from lmmoe.live.stream import Stream
from lmmoe.report.deployment.alarms_measured import episodes
from lmmoe.report.export import Runtime, write
from lmmoe.report.params import Profile

AROUND = 60  # rows before and after an alarm that its picture shows
TRACES = 3  # channels of which it shows forecast and value
TOP = 6  # channels that are named


@dataclass(frozen=True, eq=False)
class Day:
    """A watched stretch of the test half: rows ``start`` to ``end``, their live scores.

    ``alarms`` are first and last loud row of each, counted in the test half.
    """

    detector: str
    start: int
    end: int
    scores: Floats
    threshold: float
    alarms: list[tuple[int, int]]


class Trace(NamedTuple):
    """One channel around an alarm: value and forecast ``(t,)``, in its unit."""

    channel: str
    observed: Floats
    forecast: Floats


@dataclass(frozen=True, eq=False)
class Alarmed:
    """Why an alarm opened at ``row``: channels with their shares, and the first of them closer."""

    row: int
    channels: list[str]
    shares: list[float]
    rows: Floats
    traces: list[Trace]


class Restart(NamedTuple):
    """A stream that was stopped and went on, against one that was not."""

    row: int
    rows: int
    difference: float
    bytes: int


class Exported(NamedTuple):
    """A model as ONNX: bytes of the file, largest difference of a score (above 1: as a share)."""

    bytes: int
    difference: float
    rows: int


def with_models(profile: Profile, rows: pd.DataFrame) -> Profile:
    """Keep the entities on which every run of LightMMoE in ``rows`` (`report.runs`) succeeded.

    Raises `DataError` where there is none.
    """
    light = rows[rows["detector"] == "LightMMoE"]
    good = light["error"].isna().groupby(light["entity"]).all()
    kept = [entity for entity in profile.present if good.get(entity, default=False)]
    if not kept:
        raise DataError("no entity that LightMMoE could be fitted to", file=profile.profile)
    return replace(profile, entities=kept)


def possible(rule: str, series: Series) -> str:
    """Give the rule, or the quantile's in place of a budget where a day's rows are not known."""
    return "quantile" if rule.startswith("budget") and not series.rows_per_day else rule


def watch(model: Model, series: Series, rule: str) -> Day:
    """Watch the day with the incident: an event that an alarm of the rule opens in, if one does.

    The longest such event of at most half a day, with rows before it; else the longest event; else
    the middle of the test half. Row by row, from as many rows before as the detector looks back.
    """
    day = int(min(series.rows_per_day or 1000, len(series.test)))
    probe = Stream(model, threshold=rule)
    batch = model.detector.decision_function(series.test)
    opened = [first for first, _ in episodes(batch, probe.alarm.threshold)[0]]
    start = _start(series, opened, day)
    stream = Stream(model, threshold=rule)
    first = max(start - len(stream.window), 0)
    scores = np.array([stream.step(row).score for row in series.test[first : start + day]])
    found, _ = episodes(scores, probe.alarm.threshold, probe.alarm.release, model.normal)
    alarms = [(a + first, b + first) for a, b in found]
    own = scores[start - first :]
    return Day(model.detector.name, start, start + len(own), own, probe.alarm.threshold, alarms)


def _start(series: Series, opened: list[int], day: int) -> int:
    sizes = {event: event[1] - event[0] for event in series.events}
    hit = [e for e in sizes if any(e[0] <= row < e[1] for row in opened)]
    short = [event for event in hit if sizes[event] <= day // 2]
    best = max(short or hit or sizes, key=sizes.get, default=(len(series.test) // 2,) * 2)
    return min(max(best[0] - day // 3, 0), max(len(series.test) - day, 0))


def explain(model: Model, series: Series, day: Day) -> Alarmed | None:
    """Explain the day's first alarm in an event, else its first; None where there is none."""
    real = [a for a, _ in day.alarms if any(b <= a < e for b, e in series.events)]
    inside = [*real, *(a for a, _ in day.alarms)]
    if not inside:
        return None
    row, made = inside[0], model.detector
    first = max(row - AROUND, made.unscored)
    piece = series.test[first - made.unscored : row + AROUND]
    errors = made.channel_scores(piece)[made.unscored :][row - first]
    shares = errors / max(errors.sum(), np.finfo(float).tiny)
    order = np.argsort(-shares, kind="stable")[:TOP]
    forecasts, observed = made.forecasts(piece), piece[made.unscored :]
    traces = [
        Trace(series.channels[number], observed[:, number], forecasts[:, number])
        for number in order[:TRACES]
    ]
    names = [series.channels[number] for number in order]
    rows = np.arange(len(observed)) - (row - first)
    return Alarmed(row, names, shares[order].tolist(), rows, traces)


def restart(model: Model, series: Series, day: Day, rule: str) -> Restart:
    """Stop a stream in the middle of the day, load model and state from files, and go on."""
    rows, middle = series.test[day.start : day.end], (day.end - day.start) // 2
    whole = Stream(model, threshold=rule)
    expected = np.array([whole.step(row).score for row in rows])
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        file, state = Path(folder, "model.safetensors"), Path(folder, "state.safetensors")
        model.save(file)
        begun = Stream(model, threshold=rule)
        before = [begun.step(row).score for row in rows[:middle]]
        size = begun.save(state).stat().st_size
        del begun  # as a killed process would leave it: only the files are there
        again = Stream(Model.load(file), threshold=rule)
        again.load(state)
    after = [again.step(row).score for row in rows[middle:]]
    far = np.abs(np.array([*before, *after]) - expected)
    return Restart(day.start + middle, len(rows), float(np.nanmax(far)), size)


def export(model: Model, series: Series) -> Exported:
    """Write the model as ONNX, score the test half by ONNX Runtime and compare."""
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        file = write(model.detector, Path(folder, "model.onnx"))
        scores = Runtime(file).decision_function(series.test)
        size = file.stat().st_size
    own = model.detector.decision_function(series.test)
    far = np.abs(scores - own) / np.maximum(np.abs(own), 1)
    return Exported(size, float(far.max()), len(own))
