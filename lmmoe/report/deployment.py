"""What a detector is worth in use, for notebook 07.

`alarms` counts the alarms of live streams under each rule for thresholds, `steps` times a row that
comes alone, `new_machines` says what a machine gets that no training has seen, `chosen` which
detector belongs where. `watch` and `explain` tell one machine's story.
"""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lmmoe import training
from lmmoe.data.series import Floats, Series
from lmmoe.detectors import Detector, detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.detectors.scaling import Scaling
from lmmoe.errors import DataError
from lmmoe.live.alarms import RELEASE, Alarm, Tail, checked_rule, threshold
from lmmoe.live.model import Facts, Model
from lmmoe.live.stream import Stream
from lmmoe.metrics import alarm_budget
from lmmoe.mmoe import MMoE
from lmmoe.report import kept
from lmmoe.report.evaluation import PER_DAY, evaluate
from lmmoe.report.export import Runtime, quantise, write
from lmmoe.report.measure import cpu_name, each
from lmmoe.report.params import Profile, detector_of
from lmmoe.report.runs import FAILURES, Run, result
from lmmoe.report.statistics import bootstrap_mean, largest_block
from lmmoe.report.tables.means import by_entity

VERSION = 1  # raise it when what this module measures changes
PROTOCOL = "ours"  # the one that holds rows back, by which thresholds are set
SUBJECT, L2 = "LightMMoE", "MTSExample"
RULES = ("budget:1", "quantile:0.99", "pot:0.0001", "spot:0.0001")

# --- alarms of live streams ---

ALARMS = tuple(
    "dataset entity detector seed rule threshold last_threshold promised_share share "
    "promised_per_day alarms_per_day false_alarms_per_day days events found announced delay "
    "difference".split()
)


def alarms(profile: Profile) -> pd.DataFrame:
    """Watch every labelled entity with LightMMoE and the L2 norm: a row each and rule, `ALARMS`.

    ``difference`` is the largest between a live score and the batch's, above 1 as a share of it;
    the others are `counted`'s. Empty where a day's rows are not known.
    """
    keep, lines = kept.Kept(profile.profile, "live"), []
    names = [name for name in (SUBJECT, L2) if name in profile.detectors]
    for entity in each(profile.present, "live streams", "entity"):
        series = profile.load(entity)
        for name in names if series.rows_per_day and series.events else ():
            run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
            shown = {n: run.identity[n] for n in ("dataset", "entity", "detector", "seed")}
            hidden = {"run": run.key, "rules": RULES, "rows_per_day": series.rows_per_day}
            hidden |= {"measured": VERSION, "numpy": version("numpy")}
            lines += keep.lines(shown, hidden, partial(watched, run))
    return kept.table(lines, ALARMS)


def watched(run: Run) -> list[dict[str, object]]:
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


def counted(
    series: Series, model: Model, scores: Floats, rule: str | float, release: float = RELEASE
) -> dict[str, object]:
    """Count what a rule makes of live scores ``(t,)`` of the test half.

    ``threshold`` at the start and ``last_threshold`` at the end; ``promised_share`` of normal rows
    above it, and ``share``, what it is; ``promised_per_day``, the alarms of a budget; alarms a day,
    and the false ones, which meet no event; the share of events ``found``, which an alarm overlaps,
    and ``announced``, in which one opens (one that has been open for days says nothing new);
    ``delay``, the mean number of rows from the start of a found event to its alarm.
    """
    word, value = checked_rule(rule)
    level = threshold(rule, model.calibration, series.rows_per_day)
    first = getattr(level, "threshold", level)  # a tail's moves
    found, above = episodes(scores, level, release, model.normal)
    normal = np.asarray(series.labels) == 0
    days, false = len(scores) / series.rows_per_day, [normal[a : b + 1].all() for a, b in found]
    events = pd.DataFrame(series.events, columns=["start", "end"])
    ends = np.array([last for _, last in found] + [np.inf])
    opens = np.array([row for row, _ in found] + [np.inf])
    # The first alarm that lasts into each event, or begins after it; and the first to open then.
    reach, new = (edge.searchsorted(events["start"]) for edge in (ends, opens))
    hit, announced = opens[reach] < events["end"], opens[new] < events["end"]
    delay = np.maximum(opens[reach] - events["start"], 0)[hit].mean()
    promised = {"quantile": 1 - value, "pot": value, "spot": value}.get(word, np.nan)
    counts = {"rule": rule, "threshold": first}
    counts |= {"last_threshold": getattr(level, "threshold", level), "promised_share": promised}
    counts |= {"share": float(above[normal].mean())}
    counts |= {"promised_per_day": value if word == "budget" else np.nan}
    counts |= {"alarms_per_day": len(found) / days, "false_alarms_per_day": sum(false) / days}
    counts |= {"days": days, "events": len(events), "found": float(hit.mean())}
    return counts | {"announced": float(announced.mean()), "delay": float(delay)}


def episodes(
    scores: Floats, rule: float | Tail, release: float = RELEASE, normal: float = -np.inf
) -> tuple[list[tuple[int, int]], npt.NDArray[np.bool_]]:
    """Give the alarms of live scores ``(t,)``: first row and last loud one of each, in order.

    Also which rows are above the threshold of their time ``(t,)``. ``release`` and ``normal`` are
    `Alarm`'s.
    """
    alarm = Alarm(getattr(rule, "threshold", rule), release, normal)
    found, above = [], np.zeros(len(scores), dtype=bool)
    for row, score in enumerate(scores.tolist()):
        if score != score:  # no score
            continue
        above[row] = alarm.above(score)
        ended = alarm.step(score, row) == "ended"
        if isinstance(rule, Tail) and rule.update(score):
            alarm.threshold = rule.threshold
        if ended:
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
    ways |= {"promised_share": "first", "promised_per_day": "first", "share": "mean"}
    ways |= {"delay": "mean", "difference": "max"}
    joined = parts.groupby(["dataset", "detector", "rule"], sort=False).agg(ways)
    for name, unit in weights.items():
        joined[name] /= joined[unit]
    return joined.rename(columns={"entity": "entities"}).reset_index()


# --- a row that comes alone ---

STEP, SECONDS, FIRST = "live step", 1.0, 50  # at most so long; calls first that do not count
CALLS, FEW = 2000, 200  # at most; of the embedded data few, so that the way is shown in seconds
STEPS = tuple(
    "dataset entity detector way p50_ms p99_ms p50_processor_ms p99_processor_ms calls model_bytes "
    "state_bytes device error".split()
)


def steps(profile: Profile, rows: pd.DataFrame) -> pd.DataFrame:
    """Time a live row of each detector on the profile's first entity, one thread: `STEPS`.

    Of the detectors that have succeeded there in ``rows`` (`lmmoe.report.runs`). Wall time is what
    somebody waits, and other work on the machine lengthens it; processor time of the thread is what
    a quiet machine would make somebody wait. ``error`` says why a detector has no live score.
    """
    entity = profile.present[0]
    series, keep, lines = profile.load(entity), kept.Kept(profile.profile, "live_steps"), []
    good = rows[rows["error"].isna() & (rows["protocol"] == PROTOCOL) & (rows["entity"] == entity)]
    names = [n for n in profile.detectors if n == detector_of(n) and n in set(good["detector"])]
    calls = FEW if profile.dataset == "synthetic" else CALLS
    for name in each(names, "live rows", "detector"):
        run = Run(series, name, PROTOCOL, profile.seeds[0], profile.detectors[name])
        shown = {n: run.identity[n] for n in ("dataset", "entity", "detector")}
        hidden = {"run": run.key, "effort": [calls, SECONDS, STEPS], "measured": VERSION}
        lines += keep.lines(shown, hidden, partial(timed, run, calls))
    return kept.table(lines, STEPS)


def timed(run: Run, calls: int) -> list[dict[str, object]]:
    """Time whole steps of a stream (scaling, score, threshold, attribution).

    Of LightMMoE also its own batch function and ONNX Runtime on single rows.
    """
    device, test = {"device": cpu_name()}, run.series.test
    try:
        model = model_of(run)
        made = model.detector
        # Without calibration scores no rule sets a threshold; what a step costs hangs on none.
        stream = Stream(model, threshold=1e300 if model.calibration is None else "quantile")
        line = {"way": STEP} | percentiles(lambda row: stream.step(row).shares, test, calls)
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


def percentiles(
    work: Callable[[Floats], object], given: Floats | list[Floats], calls: int
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
        taken.append((time.perf_counter() - began, time.thread_time() - own))
        if time.perf_counter() > end:
            break
    middle, high = (1000 * np.percentile(taken, [50, 99], axis=0)).tolist()
    found = {"p50_ms": middle[0], "p99_ms": high[0], "calls": len(taken)}
    return found | {"p50_processor_ms": middle[1], "p99_processor_ms": high[1]}


# --- a machine that no training has seen ---

AMOUNTS = {"first hour": 1 / 24, "first day": 1.0, "first week": 7.0}  # days
ALL = "all rows"
UNSEEN, SEEN, OWN = "one for all, machine unseen", "one for all, machine seen", "own model"
FOLDS = 3  # where entities have no groups
# Windows an epoch, drawn anew for each; our choice: the time of four machines of SMD. Of the
# embedded data few, so that the way is shown in seconds.
WINDOWS, FEW_WINDOWS = 100_000, 1_000
QUALITY = ("average_precision", "best_f1", "vus_pr", "point_f1_pa")
LIVE = ("events_found", "false_alarms_per_day", "normal_share")
NEW = ("dataset", "entity", "group", "learned", "rows", "method", *QUALITY, *LIVE, "error")


class Shared(Mixture):
    """A LightMMoE that begins with a network given: `fit` learns a machine's scaling alone."""

    @classmethod
    def on(cls, network: MMoE, rows: npt.ArrayLike, **settings: object) -> "Shared":
        """Put a network to work on a machine: learn its scaling from raw rows ``(t, c)``."""
        made = cls(**settings)
        made.network = network
        return made.fit(rows)

    def _fit(self, rows: Floats) -> None:
        self._scaling = Scaling.of(self.scaling, rows)
        self.history = training.History()

    def _cut(self, rows: int) -> int:
        """The network has learned from none of these rows: all may set a threshold."""
        return 0


def train_shared(
    machines: list[npt.ArrayLike], *, seed: int = 0, most: int = WINDOWS, **settings: object
) -> MMoE:
    """Train LightMMoE's network on raw training rows ``(t, c)`` of several machines together.

    Each machine's rows are scaled by themselves; no window holds rows of two. ``most`` bounds the
    windows of an epoch; nothing stops training early. Raises `DataError` for no machine, machines
    of different channels or too few rows.
    """
    like = detector(SUBJECT, seed=seed, **settings)
    rows = [np.asarray(one, dtype=np.float64) for one in machines]
    if not rows or len({one.shape[1:] for one in rows}) != 1:
        raise DataError("machines without rows, or with different channels: no network for all")
    if min(map(len, rows)) < like.min_rows:
        raise DataError(f"a machine with fewer rows than a window needs ({like.min_rows})")
    scaled = [torch.from_numpy(Scaling.z_score(one)(one).astype(np.float32)) for one in rows]
    generator = torch.Generator().manual_seed(seed)
    network = like._build(rows[0].shape[1], torch.Generator().manual_seed(seed))
    learner = like._learner(network, scaled[0][: like.window].T[None], generator)
    whole = torch.cat(scaled)
    inputs = training.windows(whole, like.window)
    # First rows of the windows that lie, with their target, within one machine.
    ends = np.cumsum([len(one) for one in rows])
    within = [
        range(end - len(one), end - like.unscored) for end, one in zip(ends, rows, strict=True)
    ]
    starts = torch.from_numpy(np.concatenate(within))
    for _ in range(like.epochs):
        learner.network.train()
        order = starts[torch.randperm(len(starts), generator=generator)[:most]]
        total = torch.zeros(())
        for chosen in order.split(like.batch):
            total += learner.step(inputs[chosen], whole[chosen + like.unscored]) * len(chosen)
        loss = float(total) / len(order)
        if not np.isfinite(loss):
            raise RuntimeError("training on all machines diverged: lower learning_rate")
        learner.end_epoch(loss)
    learner.network.eval()
    return learner.network


def groups(entities: list[str]) -> dict[str, str]:
    """Name each entity's group: "machine-2" of SMD's "machine-2-5"; else one of three folds."""
    if all(re.fullmatch(r"machine-\d+-\d+", entity) for entity in entities):
        return {entity: entity.rpartition("-")[0] for entity in entities}
    return {entity: f"fold {number % FOLDS + 1}" for number, entity in enumerate(entities)}


def new_machines(profile: Profile) -> pd.DataFrame:
    """Measure all methods on all entities of a profile: a row each and amount, with `NEW`.

    One network is trained on the machines of the other groups (a group is held out at a time); the
    new machine learns its scaling from its first training rows, taken as normal, and nothing else.
    Beside it stand a model of its own from the same rows, the L2 norm and random scores, and last,
    with all rows, a network that saw the machine too. All is judged on the whole test half. Empty
    where there are fewer than two groups, or entities differ in channels or have no labels or days.
    """
    loaded = {entity: profile.load(entity) for entity in profile.present}
    usable = {name: one for name, one in loaded.items() if one.events and one.rows_per_day}
    group_of, seed = groups(list(usable)), profile.seeds[0]
    if len(set(group_of.values())) < 2 or len({s.train.shape[1] for s in usable.values()}) > 1:
        return kept.table([], NEW)
    most = FEW_WINDOWS if profile.dataset == "synthetic" else WINDOWS

    @cache
    def network(without: str) -> MMoE:
        """The network of the machines outside a group; of all for ""."""
        rows = [one.train for name, one in usable.items() if group_of[name] != without]
        return train_shared(rows, seed=seed, most=most)

    keep, lines, window = kept.Kept(profile.profile, "new_machine"), [], profile.vus_window
    for entity in each(list(usable), "new machines", "entity"):
        one, group = usable[entity], group_of[entity]
        shown = {"dataset": one.dataset, "entity": entity, "group": group}
        hidden = {"data": {name: (other.id, group_of[name]) for name, other in usable.items()}}
        hidden |= {"seed": seed, "most": most, "vus_window": window, "measured": VERSION}
        hidden |= {"rows_per_day": one.rows_per_day}
        work = partial(measured_new, one, network, group, window, seed)
        lines += keep.lines(shown, hidden, work)
    return kept.table(lines, NEW)


def amounts(series: Series) -> list[tuple[str, int]]:
    """Name how much is learned from, with the number of rows; what is there only in part is not."""
    wanted = {name: round(days * series.rows_per_day) for name, days in AMOUNTS.items()}
    there = [(name, rows) for name, rows in wanted.items() if rows < len(series.train)]
    return [*there, (ALL, len(series.train))]


def measured_new(
    series: Series, network: Callable[[str], MMoE], group: str, vus_window: int, seed: int
) -> list[dict[str, object]]:
    """Measure each method, learned from each of the `amounts`; the seen network only from all.

    ``network`` gives the network of all machines but a group's.
    """
    ways: dict[str, Callable[[Floats], Detector]] = {
        UNSEEN: lambda few: Shared.on(network(group), few, seed=seed),
        SEEN: lambda few: Shared.on(network(""), few, seed=seed),
        # From all rows it is a run of this report, and kept.
        OWN: lambda few: (
            result(Run(series, SUBJECT, seed=seed)).detector
            if len(few) == len(series.train)
            else detector(SUBJECT, seed=seed).fit(few)
        ),
        L2: lambda few: detector(L2).fit(few),
        "random": lambda few: detector("random", seed=seed).fit(few),
    }
    lines = []
    for learned, rows in amounts(series):
        for method in ways:
            if method == SEEN and learned != ALL:
                continue
            line = {"learned": learned, "rows": rows, "method": method}
            try:
                made = ways[method](series.train[:rows])
                lines.append(line | judged(made, series, rows, vus_window))
            except FAILURES as error:
                lines.append(line | {"error": f"{type(error).__name__}: {error}"})
    return lines


def judged(made: Detector, series: Series, rows: int, vus_window: int) -> dict[str, float]:
    """Judge a fitted detector on the test half; alarms at a budget of one a day.

    The budget's threshold is set on the training rows that no network has learned from: all for
    one that came from elsewhere, the last tenth for one's own. ``normal_share`` is the share of the
    rows outside events above it: an alarm that never ends meets every event, and is not false.
    """
    scores, daily = made.decision_function(series.test), series.rows_per_day
    learned = made._cut(rows)
    # The first scores of a window are not their own.
    free = made.decision_scores_[max(made.unscored, learned if learned < rows else 0) :]
    given = {"vus_window": vus_window, "calibration": free, "rows_per_day": daily}
    found = evaluate(series.labels, scores, **given)
    quality = {name: float(found[name]) for name in QUALITY}
    quality |= {name: float(found[f"budget_{name}"]) for name in LIVE[:2]}
    above = scores > alarm_budget(free, daily, per_day=PER_DAY)
    return quality | {"normal_share": float(above[np.asarray(series.labels) == 0].mean())}


def new_machine_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over entities that every method and amount has: a row per amount and method."""
    good = rows[rows["error"].isna()]
    counted = good.groupby("entity").size()
    whole = good[good["entity"].isin(counted[counted == counted.max()].index)]
    joined = whole.groupby(["learned", "method"], sort=False)[[*QUALITY, *LIVE]].mean()
    joined.insert(0, "entities", whole["entity"].nunique())
    return joined.reset_index()


# --- which detector belongs where ---

WAIT_MS = 10.0  # that a live row may take, 99 of 100: the study's own bound (slides, B043)
EDGE_BYTES = 200_000  # of model and state: what the study prints for LightMMoE's model (C073)
ROWS_A_MONTH = 43_200  # a row a minute for 30 days, after which a model is trained anew
BLIND = ("random", "row index", "untrained LightMMoE")  # controls, which nobody deploys
CHOICE = (
    *("place", "asks for", "detector", "average_precision", "p99_processor_ms", "kilobytes"),
    *("microseconds_per_row", "train_seconds", "core_seconds_a_month"),
)
AP = "average_precision"
_BEST, _AS_GOOD = "the highest average precision", "as good as the best; then the"
_LIVE = "a live score,"
ASKED = {
    "real time": f"{_LIVE} 99 of 100 rows within {WAIT_MS:g} ms of processor time; then {_BEST}",
    "edge": f"{_LIVE} model and state within {EDGE_BYTES / 1000:g} kB; then {_BEST}",
    "cloud": f"{_AS_GOOD} fewest core-seconds a machine and month (trained once, a row a minute "
    "scored)",
    "batch": f"{_AS_GOOD} fastest to score",
    "research": _BEST,
}
# The study's places: which column of `candidates` admits, which one is preferred.
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
    quality = largest_block(by_entity(rows, protocol, "average_precision"))
    quality = quality.drop(columns=[name for name in BLIND if name in quality])
    good = rows[(rows["protocol"] == protocol) & rows["error"].isna()]
    costs = good.groupby("detector")[["train_seconds", "score_seconds", "test_rows"]].median()
    own = live[(live["way"] == STEP) & live["error"].isna()].set_index("detector")
    table = pd.DataFrame({"average_precision": quality.mean()}).join(costs)
    table = table.join(own[["p99_processor_ms", "model_bytes", "state_bytes"]])
    table["kilobytes"] = (table["model_bytes"] + table["state_bytes"]) / 1000
    table["microseconds_per_row"] = 1e6 * table["score_seconds"] / table["test_rows"]
    scoring = table["microseconds_per_row"] * ROWS_A_MONTH / 1e6
    table["core_seconds_a_month"] = table["train_seconds"] + scoring
    table["all"] = True
    table["quick"] = table["p99_processor_ms"] <= WAIT_MS
    table["small"] = table["p99_processor_ms"].notna() & (1000 * table["kilobytes"] <= EDGE_BYTES)
    table["as_good"] = False
    if len(quality):
        best = bootstrap_mean(quality[table["average_precision"].idxmax()])
        table["as_good"] = table["average_precision"] >= best.low
    return table


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Apply the rules to `candidates`: a row per place; a place that nobody suits has a gap."""
    lines = []
    for place, (admits, prefers) in PLACES.items():
        lines.append({"place": place, "asks for": ASKED[place]})
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
    return replace(profile, entities=entities)


def watch(model: Model, series: Series, rule: str) -> Day:
    """Watch the day with the incident: an event that an alarm of the rule opens in, if one does.

    The longest such event of at most half a day; else the longest; else the middle of the test
    half. Row by row, from as many rows before as the detector looks back.
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
