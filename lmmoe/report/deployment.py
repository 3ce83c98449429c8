"""What a detector is worth in use, for notebook 07.

`alarms` counts the alarms of live streams under each rule for thresholds, `steps` times a row that
comes alone, `chosen` says which detector belongs where. `watch` and `explain` tell one machine's
story.
"""

import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.series import Floats, Series
from lmmoe.errors import DataError
from lmmoe.live.alarms import Alarm, Tail, threshold
from lmmoe.live.model import Facts, Model
from lmmoe.live.stream import Stream
from lmmoe.report import store
from lmmoe.report.experiment import FAILURES, Run, result
from lmmoe.report.export import Runtime, quantise, write
from lmmoe.report.measure import cpu_name, each
from lmmoe.report.names import STEP
from lmmoe.report.profile import Profile, detector_of
from lmmoe.report.statistics import bootstrap_mean, largest_block
from lmmoe.report.tables import by_entity

VERSION = 1  # raise it when what this module measures changes
PROTOCOL = "ours"  # the one that holds rows back, by which thresholds are set
SUBJECT, L2 = "LightMMoE", "MTSExample"
RULES = ("budget:1", "quantile:0.99", "pot:0.0001", "spot:0.0001")

# --- alarms of live streams ---

ALARMS = tuple(
    "dataset entity detector seed rule threshold last_threshold share alarms_per_day "
    "false_alarms_per_day days events found announced delay difference".split()
)


def alarms(profile: Profile) -> pd.DataFrame:
    """Watch every labelled entity with LightMMoE and the L2 norm: a row each and rule, `ALARMS`.

    ``difference`` is the largest between a live score and the batch's, above 1 as a share of it;
    the others are `counted`'s. Empty where a day's rows are not known.
    """
    keep, lines = store.Table(profile.profile, "live"), []
    names = [name for name in (SUBJECT, L2) if name in profile.detectors]
    for entity in each(profile.present, "live streams", "entity"):
        series = profile.load(entity)
        for name in names if series.rows_per_day and series.events else ():
            run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
            shown = {n: run.identity[n] for n in ("dataset", "entity", "detector", "seed")}
            hidden = {"run": run.key, "rules": RULES, "rows_per_day": series.rows_per_day}
            hidden |= {"measured": VERSION, "numpy": version("numpy")}
            lines += keep.lines(shown, hidden, partial(watched, run))
    return pd.DataFrame(lines).reindex(columns=["key", *ALARMS])


def watched(run: Run) -> list[store.Line]:
    """Watch the test half with a run's detector: the line of each rule."""
    model, batch = model_of(run), result(run).scores
    stream = Stream(model, threshold=0.0)
    scores = np.array([stream.step(row).score for row in run.series.test])
    far = float(np.nanmax(np.abs(scores - batch) / np.maximum(np.abs(batch), 1), initial=0.0))
    return [counted(run.series, model, scores, rule) | {"difference": far} for rule in RULES]


def model_of(run: Run) -> Model:
    """Give a run's detector, from the cache where it is known, with the facts of its rows."""
    series = run.series
    facts = Facts.of(series.train, series.channels, rows_per_day=series.rows_per_day)
    return Model(result(run).detector, facts)


def counted(series: Series, model: Model, scores: Floats, rule: str) -> store.Line:
    """Count what a rule makes of live scores ``(t,)`` of the test half.

    ``threshold`` at the start and ``last_threshold`` at the end; the ``share`` of normal rows above
    it; alarms a day, and the false ones, which meet no event; the share of events ``found``, which
    an alarm overlaps, and ``announced``, in which one opens (one that has been open for days says
    nothing new); ``delay``, the mean number of rows from the start of a found event to its alarm.
    """
    level = threshold(rule, model.calibration, series.rows_per_day)
    first = getattr(level, "threshold", level)  # a tail's moves
    found, above = episodes(scores, level, model.normal)
    normal = np.asarray(series.labels) == 0
    days, false = len(scores) / series.rows_per_day, [normal[a : b + 1].all() for a, b in found]
    events = pd.DataFrame(series.events, columns=["start", "end"])
    ends = np.array([last for _, last in found] + [np.inf])
    opens = np.array([row for row, _ in found] + [np.inf])
    # The first alarm that lasts into each event, or begins after it; and the first to open then.
    reach, new = (edge.searchsorted(events["start"]) for edge in (ends, opens))
    hit, announced = opens[reach] < events["end"], opens[new] < events["end"]
    return {
        "rule": rule,
        "threshold": first,
        "last_threshold": getattr(level, "threshold", level),
        "share": float(above[normal].mean()),
        "alarms_per_day": len(found) / days,
        "false_alarms_per_day": sum(false) / days,
        "days": days,
        "events": len(events),
        "found": float(hit.mean()),
        "announced": float(announced.mean()),
        "delay": float(np.maximum(opens[reach] - events["start"], 0)[hit].mean()),
    }


def episodes(
    scores: Floats, level: float | Tail, normal: float = -np.inf
) -> tuple[list[tuple[int, int]], npt.NDArray[np.bool_]]:
    """Give the alarms of live scores ``(t,)``: first row and last loud one of each, in order.

    Also which rows are above the threshold of their time ``(t,)``. ``normal`` is `Alarm`'s.
    """
    alarm, found, above = Alarm(level, normal=normal), [], np.zeros(len(scores), dtype=bool)
    for row in np.flatnonzero(~np.isnan(scores)).tolist():
        score = float(scores[row])
        above[row] = alarm.above(score)
        if alarm.step(score, row) == "ended":
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
    ways = dict.fromkeys((*weights, "days", "events"), "sum") | {"entity": "nunique"}
    ways |= {"share": "mean", "delay": "mean", "difference": "max"}
    joined = parts.groupby(["dataset", "detector", "rule"], sort=False).agg(ways)
    for name, unit in weights.items():
        joined[name] /= joined[unit]
    return joined.rename(columns={"entity": "entities"}).reset_index()


# --- a row that comes alone ---

SECONDS, FIRST = 1.0, 50  # at most so long; calls first that do not count
CALLS, FEW = 2000, 200  # at most; of the embedded data few, so that the way is shown in seconds
STEPS = tuple(
    "dataset entity detector way p50_ms p99_ms p50_processor_ms p99_processor_ms calls model_bytes "
    "state_bytes device error".split()
)


def steps(profile: Profile, rows: pd.DataFrame) -> pd.DataFrame:
    """Time a live row of each detector on the profile's first entity, one thread: `STEPS`.

    Of the detectors that have succeeded there in ``rows`` (`lmmoe.report.experiment.table`).
    Processor time of the thread is what a quiet machine would make somebody wait. ``error`` says
    why a detector has no live score.
    """
    entity = profile.present[0]
    series, keep, lines = profile.load(entity), store.Table(profile.profile, "live_steps"), []
    good = rows[rows["error"].isna() & (rows["protocol"] == PROTOCOL) & (rows["entity"] == entity)]
    names = [n for n in profile.detectors if n == detector_of(n) and n in set(good["detector"])]
    calls = FEW if profile.dataset == "synthetic" else CALLS
    for name in each(names, "live rows", "detector"):
        run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
        shown = {n: run.identity[n] for n in ("dataset", "entity", "detector")}
        hidden = {"run": run.key, "effort": [calls, SECONDS, STEPS], "measured": VERSION}
        lines += keep.lines(shown, hidden, partial(timed, run, calls))
    return pd.DataFrame(lines).reindex(columns=["key", *STEPS])


def timed(run: Run, calls: int) -> list[store.Line]:
    """Time whole steps of a stream (scaling, score, threshold, attribution).

    Of LightMMoE also its own batch function and ONNX Runtime on single rows.
    """
    device, test = {"device": cpu_name()}, run.series.test
    try:
        model = model_of(run)
        made = model.detector
        # Without calibration scores no rule sets a threshold; what a step costs hangs on none.
        stream = Stream(model, threshold=1e300 if model.calibration is None else "quantile")
        line = {"way": STEP} | percentiles(lambda row: stream.step(row).shares, list(test), calls)
        with TemporaryDirectory(prefix="lmmoe-") as folder:
            line["state_bytes"] = stream.save(Path(folder, "state.safetensors")).stat().st_size
            size = model.save(Path(folder, "model.safetensors")).stat().st_size
            # Without the training scores, which are in the file only to set thresholds by.
            lines = [line | {"model_bytes": size - made.decision_scores_.nbytes}]
            if run.detector == SUBJECT:
                given = [test[start : start + made.min_rows] for start in range(65)]
                own = percentiles(made.decision_function, given, calls)
                lines.append({"way": "decision_function"} | own)
                plain = write(made, Path(folder, "model.onnx"))
                small = quantise(plain, Path(folder, "int8.onnx"))
                for way, file in (("ONNX Runtime", plain), ("ONNX Runtime, int8", small)):
                    own = percentiles(Runtime(file).judge, [one[None] for one in given], calls)
                    lines.append({"way": way, "model_bytes": file.stat().st_size} | own)
    except (*FAILURES, NotImplementedError) as error:
        lines = [{"way": STEP, "error": str(error)}]
    return [line | device for line in lines]


def percentiles(work: Callable[[Floats], object], given: list[Floats], calls: int) -> store.Line:
    """Time ``work`` on what is given in turn: median and 99th percentile in ms, how many calls.

    Of wall time, and of the thread's processor time.
    """
    for one in islice(cycle(given), FIRST):
        work(one)
    taken, end = [], time.perf_counter() + SECONDS
    for one in islice(cycle(given), calls):
        began, own = time.perf_counter(), time.thread_time()
        work(one)
        taken.append((time.perf_counter() - began, time.thread_time() - own))
        if time.perf_counter() > end:
            break
    middle, high = (1000 * np.percentile(taken, [50, 99], axis=0)).tolist()
    found = {"p50_ms": middle[0], "p99_ms": high[0], "calls": len(taken)}
    return found | {"p50_processor_ms": middle[1], "p99_processor_ms": high[1]}


# --- which detector belongs where ---

WAIT_MS = 10.0  # that a live row may take, 99 of 100: the study's own bound (slides, B043)
EDGE_BYTES = 200_000  # of model and state: what the study prints for LightMMoE's model (C073)
ROWS_A_MONTH = 43_200  # a row a minute for 30 days, after which a model is trained anew
BLIND = ("random", "row index", "untrained LightMMoE")  # controls, which nobody deploys
CHOICE = (
    *("place", "detector", "average_precision", "p99_processor_ms", "kilobytes"),
    *("microseconds_per_row", "train_seconds", "core_seconds_a_month"),
)
AP = "average_precision"
# The study's places: which column of `candidates` admits a detector, which one ranks those.
PLACES = {
    "real time": ("quick", AP),
    "edge": ("small", AP),
    "cloud": ("as_good", "core_seconds_a_month"),
    "batch": ("as_good", "microseconds_per_row"),
    "research": ("all", AP),
}


def candidates(rows: pd.DataFrame, live: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Join quality and costs of runs with `steps`, the costs of a live row: a row per detector.

    Only detectors that have run on (nearly) all entities, and no controls; none without labelled
    events. ``as_good`` as the best: the mean average precision lies within the 95 % bootstrap
    interval of the best detector's.
    """
    quality = largest_block(by_entity(rows, protocol, AP)).drop(columns=[*BLIND], errors="ignore")
    good = rows[(rows["protocol"] == protocol) & rows["error"].isna()]
    costs = good.groupby("detector")[["train_seconds", "score_seconds", "test_rows"]].median()
    own = live[(live["way"] == STEP) & live["error"].isna()].set_index("detector")
    table = pd.DataFrame({AP: quality.mean()}).join(costs)
    table = table.join(own[["p99_processor_ms", "model_bytes", "state_bytes"]])
    table["kilobytes"] = (table["model_bytes"] + table["state_bytes"]) / 1000
    table["microseconds_per_row"] = 1e6 * table["score_seconds"] / table["test_rows"]
    scoring = table["microseconds_per_row"] * ROWS_A_MONTH / 1e6
    table["core_seconds_a_month"] = table["train_seconds"] + scoring
    table["all"] = True
    table["quick"] = table["p99_processor_ms"] <= WAIT_MS
    table["small"] = table["p99_processor_ms"].notna() & (1000 * table["kilobytes"] <= EDGE_BYTES)
    best = bootstrap_mean(quality[table[AP].idxmax()]).low if len(quality) else np.inf
    return table.assign(as_good=table[AP] >= best)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Apply the rules to `candidates`: a row per place; a place that nobody suits has a gap."""
    lines = []
    for place, (admits, prefers) in PLACES.items():
        lines.append({"place": place})
        if len(suited := table[table[admits]]):
            ranked = suited.sort_values(prefers, ascending=prefers != AP, kind="stable")
            lines[-1] |= {"detector": ranked.index[0]} | ranked.iloc[0].to_dict()
    return pd.DataFrame(lines).reindex(columns=list(CHOICE))


# --- one machine's story ---

AROUND, TRACES, TOP = 60, 3, 6  # rows around an alarm, channels closer, channels named


class Day(NamedTuple):
    """A watched stretch of the test half, rows ``start`` to ``end``: live scores, and alarms.

    ``alarms`` are first and last loud row of each, counted in the test half.
    """

    detector: str
    start: int
    end: int
    scores: Floats
    threshold: float
    alarms: list[tuple[int, int]]


class Explained(NamedTuple):
    """Why an alarm opened at ``row``: the highest shares of the score by channel.

    Of the first of them also what was ``observed`` and ``forecast``, by rows from the alarm.
    """

    row: int
    shares: pd.Series
    observed: pd.DataFrame
    forecast: pd.DataFrame


def with_models(profile: Profile, rows: pd.DataFrame) -> Profile:
    """Keep the entities on which LightMMoE never failed in ``rows``; `DataError` where none is."""
    light = rows[rows["detector"] == SUBJECT]
    good = light["error"].isna().groupby(light["entity"]).all()
    entities = [entity for entity in profile.present if good.get(entity, default=False)]
    if not entities:
        raise DataError("no entity that LightMMoE could be fitted to", file=profile.profile)
    return profile.model_copy(update={"entities": entities})


def watch(model: Model, series: Series, rule: str) -> Day:
    """Watch the day with the incident: an event that an alarm of the rule opens in, if one does.

    The longest such event of at most half a day; else the longest; else the middle of the test
    half. Row by row, from as many rows before as the detector looks back.
    """
    day = int(min(series.rows_per_day or 1000, len(series.test)))
    stream = Stream(model, threshold=rule)
    level = stream.alarm.threshold
    opened = [a for a, _ in episodes(model.detector.decision_function(series.test), level)[0]]
    sizes = {event: event[1] - event[0] for event in series.events}
    hit = [e for e in sizes if any(e[0] <= row < e[1] for row in opened)]
    short = [event for event in hit if sizes[event] <= day // 2]
    best = max(short or hit or sizes, key=sizes.get, default=(len(series.test) // 2,) * 2)
    start = min(max(best[0] - day // 3, 0), len(series.test) - day)
    first = max(start - len(stream.window), 0)
    scores = np.array([stream.step(row).score for row in series.test[first : start + day]])
    found, _ = episodes(scores, level, model.normal)
    spans = [(a + first, b + first) for a, b in found]
    return Day(model.detector.name, start, start + day, scores[start - first :], level, spans)


def explain(model: Model, series: Series, day: Day) -> Explained | None:
    """Explain the day's first alarm in an event, else its first; None where there is none."""
    opened = [a for a, _ in day.alarms]
    real = [a for a in opened if any(b <= a < e for b, e in series.events)]
    if not opened:
        return None
    row, made = (real or opened)[0], model.detector
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
