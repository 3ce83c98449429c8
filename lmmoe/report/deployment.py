"""What a detector is worth in use, for notebook 07.

`alarms` counts the alarms of live streams under each rule for thresholds, `steps` times a row that
comes alone, `chosen` says which detector belongs where. `watch`, `explain` and `restarted_exported`
tell one machine's story. Compressed models are in `lmmoe.report.compress`, machines that no
training has seen in `lmmoe.report.newcomers`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe import progress
from lmmoe.data.series import Floats, Series
from lmmoe.errors import DataError
from lmmoe.live.alarms import RELEASE, Alarm, Tail, checked_rule, threshold
from lmmoe.live.model import Facts, Model
from lmmoe.live.stream import Stream
from lmmoe.report import store
from lmmoe.report.experiment import FAILURES, Run, result
from lmmoe.report.export import Runtime, quantise, write
from lmmoe.report.measure import cpu_name
from lmmoe.report.profile import Profile, detector_of
from lmmoe.report.statistics import bootstrap_mean, largest_block
from lmmoe.report.tables import by_entity

VERSION = 1  # raise it when what this module measures changes
PROTOCOL = "ours"  # the one that holds rows back, by which thresholds are set
SUBJECT = "LightMMoE"
RULES = ("budget:1", "quantile:0.99", "pot:0.0001", "spot:0.0001")

# --- alarms of live streams ---

ALARMS = (
    *("dataset", "entity", "detector", "seed", "rule", "threshold", "last_threshold"),
    *("promised_share", "share", "promised_per_day", "alarms_per_day", "false_alarms_per_day"),
    *("days", "events", "found", "announced", "delay", "difference"),
)


def alarms(profile: Profile) -> pd.DataFrame:
    """Watch every labelled entity with LightMMoE and the L2 norm: a row each and rule, `ALARMS`.

    ``difference`` is the largest between a live score and the batch's, above 1 as a share of it;
    the others are `counted`'s. Empty where a day's rows are not known. What the published table
    knows is not watched again.
    """
    keep, lines = store.Table(profile.profile, "live"), []
    names = [name for name in (SUBJECT, "MTSExample") if name in profile.detectors]
    with progress.bar(len(profile.present), "live streams", unit="entity") as bar:
        for entity in profile.present:
            bar.set_postfix_str(entity, refresh=False)
            series = profile.load(entity)
            for name in names if series.rows_per_day and series.events else ():
                run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
                shown = {n: run.identity[n] for n in ("dataset", "entity", "detector", "seed")}
                hidden = {"run": run.key, "rules": RULES, "rows_per_day": series.rows_per_day}
                hidden |= {"measured": VERSION, "numpy": version("numpy")}
                lines += keep.lines(shown, hidden, lambda run=run: watched(run))
            bar.update()
    return pd.DataFrame(lines).reindex(columns=["key", *ALARMS])


def watched(run: Run) -> list[dict[str, object]]:
    """Watch the test half with a run's detector: the line of each rule."""
    model, batch = model_of(run), result(run).scores
    stream = Stream(model, threshold=0.0)
    scores = np.array([stream.step(row).score for row in run.series.test])
    known = ~np.isnan(scores)
    far = np.abs(scores - batch)[known] / np.maximum(np.abs(batch[known]), 1)
    head = {"difference": float(far.max(initial=0.0))}
    return [head | counted(run.series, model, scores, rule) for rule in RULES]


def model_of(run: Run) -> Model:
    """Give a run's detector, from the cache where it is known, with the facts of its rows."""
    series = run.series
    facts = Facts.of(series.train, series.channels, rows_per_day=series.rows_per_day)
    return Model(result(run).detector, facts)


def counted(
    series: Series, model: Model, scores: Floats, rule: str | float, release: float = RELEASE
) -> dict[str, object]:
    """Count what a rule makes of live scores ``(t,)`` of the test half.

    ``threshold`` at the start and ``last_threshold`` at the end; ``promised_share`` of normal rows
    above it (budget: none), and ``share``, what it is on the rows outside events;
    ``promised_per_day``, the alarms of a budget, with ``alarms`` and ``false_alarms`` a day: those
    that meet no event; ``events``, the share of them ``found``, which an alarm overlaps, and
    ``announced``, in which one opens (an alarm that has been open for days says nothing new);
    ``delay``, the mean number of rows from the start of a found event to its alarm.
    """
    word, value = checked_rule(rule)
    made = threshold(rule, model.calibration, series.rows_per_day)
    start = made.threshold if isinstance(made, Tail) else made
    found, above = episodes(scores, made, release, model.normal)
    normal = np.asarray(series.labels) == 0
    days = len(scores) / series.rows_per_day
    false = [one for one in found if normal[one[0] : one[1] + 1].all()]
    firsts = [next((a for a, b in found if b >= begin), end) for begin, end in series.events]
    pairs = list(zip(firsts, series.events, strict=True))
    delays = [max(first, begin) - begin for first, (begin, end) in pairs if first < end]
    opens = [any(begin <= a < end for a, _ in found) for begin, end in series.events]
    return {
        "rule": rule,
        "threshold": start,
        "last_threshold": made.threshold if isinstance(made, Tail) else made,
        "promised_share": {"quantile": 1 - value, "pot": value, "spot": value}.get(word, np.nan),
        "share": float(above[normal].mean()),
        "promised_per_day": value if word == "budget" else np.nan,
        "alarms_per_day": len(found) / days,
        "false_alarms_per_day": len(false) / days,
        "days": days,
        "events": len(series.events),
        "found": len(delays) / max(len(series.events), 1),
        "announced": sum(opens) / max(len(series.events), 1),
        "delay": float(np.mean(delays)) if delays else np.nan,
    }


def episodes(
    scores: Floats, rule: float | Tail, release: float = RELEASE, normal: float = -np.inf
) -> tuple[list[tuple[int, int]], npt.NDArray[np.bool_]]:
    """Give the alarms of live scores ``(t,)``: first row and last loud one of each, in order.

    Also which rows are above the threshold of their time ``(t,)``. A tail learns as it goes.
    ``release`` and ``normal`` are `Alarm`'s.
    """
    alarm = Alarm(rule.threshold if isinstance(rule, Tail) else rule, release, normal)
    found, above = [], np.zeros(len(scores), dtype=bool)
    for row, score in enumerate(scores.tolist()):
        if score != score:  # no score
            continue
        above[row] = alarm.above(score)
        was = alarm.open
        alarm.step(score, row)
        if isinstance(rule, Tail) and rule.update(score):
            alarm.threshold = rule.threshold
        if was and not alarm.open:
            found.append((alarm.first, alarm.last))
    return [*found, *([(alarm.first, alarm.last)] if alarm.open else [])], above


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Join the entities of `alarms`: a row per data set, detector and rule.

    Rates are alarms over all machine-days, ``found`` and ``announced`` events over all; shares and
    delays are means over entities; ``difference`` is the largest.
    """
    weights = {"alarms_per_day": "days", "false_alarms_per_day": "days"}
    weights |= {"found": "events", "announced": "events"}
    parts = rows.assign(**{name: rows[name] * rows[unit] for name, unit in weights.items()})
    joined = parts.groupby(["dataset", "detector", "rule"], sort=False).agg(
        **{name: (name, "sum") for name in weights},
        entities=("entity", "nunique"),
        days=("days", "sum"),
        events=("events", "sum"),
        promised_share=("promised_share", "first"),
        share=("share", "mean"),
        promised_per_day=("promised_per_day", "first"),
        delay=("delay", "mean"),
        difference=("difference", "max"),
    )
    for name, unit in weights.items():
        joined[name] /= joined[unit]
    return joined.reset_index()


# --- a row that comes alone ---

STEP, BATCH, ONNX, INT8 = "live step", "decision_function", "ONNX Runtime", "ONNX Runtime, int8"
SECONDS, FIRST = 1.0, 50  # at most so long; calls at the start that do not count
CALLS, FEW = 2000, 200  # at most; of the embedded data few, so that the way is shown in seconds
STEPS = (
    *("dataset", "entity", "detector", "way", "p50_ms", "p99_ms"),
    *("p50_processor_ms", "p99_processor_ms", "calls"),
    *("model_bytes", "state_bytes", "device", "error"),
)


def steps(profile: Profile, rows: pd.DataFrame) -> pd.DataFrame:
    """Time a live row of each detector on the profile's first entity, one thread: `STEPS`.

    Of the detectors that have succeeded there in ``rows`` (`lmmoe.report.runs`). LightMMoE is
    timed in every way, the others as live steps. Wall time is what somebody waits, and other work
    on the machine lengthens it, the 99th percentile most; processor time of the thread is what a
    quiet machine would make somebody wait. ``error`` says why a detector has no live score. What
    the published table knows is not timed again.
    """
    entity = profile.present[0]
    series, keep, lines = profile.load(entity), store.Table(profile.profile, "live_steps"), []
    good = rows[rows["error"].isna() & (rows["protocol"] == PROTOCOL) & (rows["entity"] == entity)]
    names = [n for n in profile.detectors if n == detector_of(n) and n in set(good["detector"])]
    calls = FEW if profile.dataset == "synthetic" else CALLS
    with progress.bar(len(names), "live rows", unit="detector") as bar:
        for name in names:
            bar.set_postfix_str(name, refresh=False)
            run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
            shown = {n: run.identity[n] for n in ("dataset", "entity", "detector")}
            hidden = {"run": run.key, "effort": [calls, SECONDS, STEPS], "measured": VERSION}
            lines += keep.lines(shown, hidden, lambda run=run: _timed(run, calls))
            bar.update()
    return pd.DataFrame(lines).reindex(columns=["key", *STEPS])


def _timed(run: Run, calls: int) -> list[dict[str, object]]:
    """Time whole steps of a stream (scaling, score, threshold, attribution), and other ways."""
    device = {"device": cpu_name()}
    try:
        model = model_of(run)
        # Without calibration scores no rule sets a threshold; what a step costs hangs on none.
        stream = Stream(model, threshold=1e300 if model.calibration is None else "quantile")
        line = percentiles(lambda row: stream.step(row).shares, run.series.test, calls)
        with TemporaryDirectory(prefix="lmmoe-") as folder:
            state = stream.save(Path(folder, "state.safetensors")).stat().st_size
            file = model.save(Path(folder, "model.safetensors")).stat().st_size
        scores = model.detector.decision_scores_.nbytes  # in the file only to set thresholds by
        lines = [{"way": STEP} | line | {"model_bytes": file - scores, "state_bytes": state}]
        if run.detector == SUBJECT:
            lines += _other_ways(model, run.series, calls)
    except (*FAILURES, NotImplementedError) as error:
        return [{"way": STEP, "error": str(error)} | device]
    return [line | device for line in lines]


def _other_ways(model: Model, series: Series, calls: int) -> list[dict[str, object]]:
    """Time single rows by the detector's own batch function and by ONNX Runtime."""
    made, size = model.detector, model.detector.min_rows
    given = [series.test[start : start + size] for start in range(65)]
    lines = [{"way": BATCH} | percentiles(made.decision_function, given, calls)]
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        plain = write(made, Path(folder, "model.onnx"))
        for way, file in ((ONNX, plain), (INT8, quantise(plain, Path(folder, "int8.onnx")))):
            own = percentiles(Runtime(file).judge, [piece[None] for piece in given], calls)
            lines.append({"way": way} | own | {"model_bytes": file.stat().st_size})
    return lines


def percentiles(
    work: Callable[[Floats], object], given: Floats | list[Floats], calls: int = CALLS
) -> dict[str, float | int]:
    """Time ``work`` on what is given in turn: median and 99th percentile in ms, how many calls.

    Of wall time, and of the thread's processor time.
    """
    for one in islice(cycle(given), FIRST):
        work(one)
    taken, end = [], time.perf_counter() + SECONDS
    for one in islice(cycle(given), calls):
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


# --- which detector belongs where ---

WAIT_MS = 10.0  # that a live row may take, 99 of 100: the study's own bound (slides, B043)
EDGE_BYTES = 200_000  # of model and state: what the study prints for LightMMoE's model (C073)
ROWS_A_MONTH = 43_200  # a row a minute for 30 days, after which a model is trained anew
BLIND = ("random", "row index", "untrained LightMMoE")  # controls, which nobody deploys
CHOICE = (
    *("place", "asks for", "detector", "average_precision", "p99_processor_ms", "kilobytes"),
    *("microseconds_per_row", "train_seconds", "core_seconds_a_month"),
)


class Place(NamedTuple):
    """A place of the study's: what it asks for, the column that says so, what it prefers by."""

    name: str
    rule: str
    admits: str
    prefers: str
    lowest: bool


PLACES = (
    Place(
        "real time",
        f"a live score, 99 of 100 rows within {WAIT_MS:g} ms of processor time; then the highest "
        "average precision",
        *("quick", "average_precision", False),
    ),
    Place(
        "edge",
        f"a live score, model and state within {EDGE_BYTES / 1000:g} kB; then the highest average "
        "precision",
        *("small", "average_precision", False),
    ),
    Place(
        "cloud",
        "as good as the best; then the fewest core-seconds a machine and month (trained once, a "
        "row a minute scored)",
        *("as_good", "core_seconds_a_month", True),
    ),
    Place(
        "batch",
        "as good as the best; then the fastest to score",
        *("as_good", "microseconds_per_row", True),
    ),
    Place("research", "the highest average precision", "all", "average_precision", lowest=False),
)


def candidates(rows: pd.DataFrame, live: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Join quality and costs of runs with `steps`, the costs of a live row: a row per detector.

    Only detectors that have run on (nearly) all entities, and no controls; none where there are no
    labelled events, and so no quality. ``as_good`` as the best: the mean average precision lies
    within the 95 % bootstrap interval of the best detector's.
    """
    quality = largest_block(by_entity(rows, protocol, "average_precision"))
    quality = quality.drop(columns=[name for name in BLIND if name in quality])
    good = rows[(rows["protocol"] == protocol) & rows["error"].isna()]
    costs = good.groupby("detector")[["train_seconds", "score_seconds", "test_rows"]].median()
    own = live[(live["way"] == STEP) & live["error"].isna()].set_index("detector")
    table = pd.DataFrame({"average_precision": quality.mean()}).join(costs)
    table = table.join(own[["p99_processor_ms", "model_bytes", "state_bytes"]])
    size = table["model_bytes"] + table["state_bytes"]
    table["kilobytes"] = size / 1000
    table["microseconds_per_row"] = 1e6 * table["score_seconds"] / table["test_rows"]
    scoring = table["microseconds_per_row"] * ROWS_A_MONTH / 1e6
    table["core_seconds_a_month"] = table["train_seconds"] + scoring
    table["all"] = True
    table["quick"] = table["p99_processor_ms"] <= WAIT_MS
    table["small"] = table["p99_processor_ms"].notna() & (size <= EDGE_BYTES)
    table["as_good"] = False
    if len(quality):
        best = bootstrap_mean(quality[table["average_precision"].idxmax()])
        table["as_good"] = table["average_precision"] >= best.low
    return table


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Apply the rules to `candidates`: a row per place; a place that nobody suits has a gap."""
    lines = []
    for place in PLACES:
        suited = table[table[place.admits]]
        line = {"place": place.name, "asks for": place.rule}
        if len(suited):
            ranked = suited.sort_values(place.prefers, ascending=place.lowest, kind="stable")
            line |= {"detector": ranked.index[0]} | ranked.iloc[0].to_dict()
        lines.append(line)
    return pd.DataFrame(lines).reindex(columns=list(CHOICE))


# --- one machine's story ---

AROUND, TRACES, TOP = 60, 3, 6  # rows around an alarm, channels closer, channels named


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


class Explained(NamedTuple):
    """Why an alarm opened at ``row``: shares of the score by channel, the highest first.

    Of the first of them also what was ``observed`` and ``forecast``, by rows from the alarm.
    """

    row: int
    shares: pd.Series
    observed: pd.DataFrame
    forecast: pd.DataFrame


def with_models(profile: Profile, rows: pd.DataFrame) -> Profile:
    """Keep the entities on which every run of LightMMoE in ``rows`` (`report.runs`) succeeded.

    Raises `DataError` where there is none.
    """
    light = rows[rows["detector"] == SUBJECT]
    good = light["error"].isna().groupby(light["entity"]).all()
    entities = [entity for entity in profile.present if good.get(entity, default=False)]
    if not entities:
        raise DataError("no entity that LightMMoE could be fitted to", file=profile.profile)
    return profile.model_copy(update={"entities": entities})


def watch(model: Model, series: Series, rule: str) -> Day:
    """Watch the day with the incident: an event that an alarm of the rule opens in, if one does.

    The longest such event of at most half a day, with rows before it; else the longest event; else
    the middle of the test half. Row by row, from as many rows before as the detector looks back.
    """
    day = int(min(series.rows_per_day or 1000, len(series.test)))
    stream = Stream(model, threshold=rule)
    level, release = stream.alarm.threshold, stream.alarm.release
    opened = [a for a, _ in episodes(model.detector.decision_function(series.test), level)[0]]
    sizes = {event: event[1] - event[0] for event in series.events}
    hit = [e for e in sizes if any(e[0] <= row < e[1] for row in opened)]
    short = [event for event in hit if sizes[event] <= day // 2]
    best = max(short or hit or sizes, key=sizes.get, default=(len(series.test) // 2,) * 2)
    start = min(max(best[0] - day // 3, 0), max(len(series.test) - day, 0))
    first = max(start - len(stream.window), 0)
    scores = np.array([stream.step(row).score for row in series.test[first : start + day]])
    found, _ = episodes(scores, level, release, model.normal)
    spans = [(a + first, b + first) for a, b in found]
    return Day(model.detector.name, start, start + day, scores[start - first :], level, spans)


def explain(model: Model, series: Series, day: Day) -> Explained | None:
    """Explain the day's first alarm in an event, else its first; None where there is none."""
    real = [a for a, _ in day.alarms if any(b <= a < e for b, e in series.events)]
    opened = [*real, *(a for a, _ in day.alarms)]
    if not opened:
        return None
    row, made = opened[0], model.detector
    first = max(row - AROUND, made.unscored)
    piece = series.test[first - made.unscored : row + AROUND]
    errors = made.channel_scores(piece)[made.unscored :][row - first]
    shares = pd.Series(errors / max(errors.sum(), np.finfo(float).tiny), list(series.channels))
    shares = shares.sort_values(ascending=False, kind="stable")[:TOP]
    index = np.arange(len(piece) - made.unscored) - (row - first)
    observed, forecast = (
        pd.DataFrame(values, index, list(series.channels))[shares.index[:TRACES]]
        for values in (piece[made.unscored :], made.forecasts(piece))
    )
    return Explained(row, shares, observed, forecast)
