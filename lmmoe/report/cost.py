"""What detectors cost: measured for each, how it grows, how far from the limits, for a fleet.

Every measurement runs in a process of its own with one thread, and is kept: a second report takes
it from the published table or from the cache. Seconds are processor seconds, latencies wall time.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import psutil
from scipy import stats

from lmmoe import data
from lmmoe.data.series import Floats
from lmmoe.detectors import Detector, detector, entry, saving
from lmmoe.report import measure, store
from lmmoe.report.experiment import FAILURES, PROTOCOLS, Run
from lmmoe.report.measure import per_row, repeated, rows_for
from lmmoe.report.names import title
from lmmoe.report.profile import Profile

VERSION, LIMITS_VERSION = 1, 2  # raise them when what is measured changes
CALLS = (16, 256, 4096)  # rows scored by one call, beside single ones
WARM_ROWS = 500  # of training, to load what a method imports when it is first used
WINDOWS = 64  # different rows that single calls go round: one alone would stay in the cache
FEWEST, MOST = 20, 10_000  # calls that a percentile is taken of, calls that are timed
FEW = ("LightMMoE", "CAD-as-run", "linear", "PCA windows EWMA", "PCA", "MTSExample", "random")
HOURS = 8766  # of a year, leap days included

COLUMNS = (
    "key dataset entity data detector protocol settings seed version torch effort measured device "
    "parameters multiply_adds channels train_rows train_seconds train_wall_seconds train_spread "
    "train_repeats score_rows score_seconds score_wall_seconds score_spread score_repeats "
    "latency_p50_ms latency_p99_ms latency_calls rows_per_second_1 rows_per_second_16 "
    "rows_per_second_256 rows_per_second_4096 train_peak_mb inference_mb process_mb model_bytes "
    "learned_bytes rescales error"
).split()


@dataclass(frozen=True)
class Effort:
    """How long to measure: ``repeats`` of training and scoring, but not beyond ``seconds`` each.

    Calls of few rows are repeated for ``call_seconds``; growth is that of the detectors ``grown``.
    LightMMoE is held to the processor's limits with ``batches`` of rows, in ``rounds``; its
    training is the difference of two fits of so many ``epochs``.
    """

    name: str
    repeats: int
    seconds: float
    call_seconds: float
    grown: tuple[str, ...] = ("LightMMoE", "PCA")
    batches: tuple[int, ...] = (1, 64, 1024)
    rounds: int = 2
    epochs: tuple[int, int] = (1, 2)


QUICK = Effort("quick", repeats=3, seconds=0.2, call_seconds=0.05)
# The study's subject; the simple method that leads on SMD; one that learns a matrix of channels;
# one that learns nothing.
GROWN = ("LightMMoE", "PCA windows", "PCA", "MTSExample")
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
FULL = Effort("full", 7, 30.0, 2.0, grown=GROWN, batches=BATCHES, rounds=7, epochs=(1, 4))


def effort_for(profile: Profile) -> Effort:
    """Long measurements on published data; short ones on synthetic and on people's own data."""
    return FULL if profile.dataset in set(data.DATASETS) - {"synthetic"} else QUICK


# --- every detector ---


def table(profile: Profile, effort: Effort, *, entity: str = "") -> pd.DataFrame:
    """Measure the profile's detectors on one entity: a row each with `COLUMNS`, by detector.

    The entity is the first with as many training rows as most, unless named. A quick ``effort``
    measures only `FEW` of the detectors, or all where the profile has none of these. A detector
    that fails has ``error`` and no numbers.
    """
    if not entity:
        rows = pd.Series({name: len(profile.load(name).train) for name in profile.present})
        entity = rows.index[rows >= rows.median()][0]
    series, protocol = profile.load(entity), PROTOCOLS[profile.protocols[0]]
    train, names = protocol.train(series), list(profile.detectors)
    if effort.name == QUICK.name:
        names = [name for name in names if name in FEW] or names
    keep, rows = store.Table(profile.profile, "efficiency"), []
    for name in measure.each(names, "efficiency", "detector"):
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
        if file.is_file():
            found |= measure.isolated(memory_of, file, test)
    return [found | {"device": measure.cpu_name()}]


def costs_of(
    make: Callable[..., Detector], train: Floats, test: Floats, effort: Effort, file: Path
) -> store.Line:
    """Measure training on rows ``train`` ``(t, c)`` and scoring rows ``test``: some of `COLUMNS`.

    ``make(**settings)`` gives the detector. A latency is the wall time of a call that scores one
    row with its window. The fitted model is written to ``file`` where it can be saved. Raises what
    the detector raises.
    """
    bounds, made = (effort.repeats, effort.seconds), make()
    brief = {"epochs": 1} if made.settings.get("epochs", 0) > 1 else {}
    make(**brief).fit(train[:WARM_ROWS])
    with measure.measured() as memory:
        first = measure.once(lambda: made.fit(train))
    training = repeated(lambda: made.fit(train), *bounds, first)
    scoring = repeated(lambda: made.decision_function(test), *bounds)
    found = {"train_rows": len(train), "channels": train.shape[1], "score_rows": len(test)}
    for part, timing in (("train", training), ("score", scoring)):
        found |= {f"{part}_{name}": value for name, value in timing.items()}
    starts = np.linspace(0, max(0, len(test) - made.min_rows), WINDOWS).astype(int)
    windows = [rows_for(made, test, 1, start) for start in starts]
    for window in windows[:5]:  # they set up what later ones find ready
        made.decision_function(window)
    taken, spent = [], 0.0
    while spent < effort.call_seconds or len(taken) < FEWEST:
        taken.append(measure.once(partial(made.decision_function, windows[len(taken) % WINDOWS])))
        spent += taken[-1][1]
    own, wall = np.array(taken).T
    middle, high = 1000 * np.percentile(wall, [50, 99])
    found |= {"latency_p50_ms": float(middle), "latency_p99_ms": float(high)}
    found |= {"latency_calls": len(taken), "rows_per_second_1": 1 / float(own.mean())}
    for rows in CALLS:
        score = partial(made.decision_function, rows_for(made, test, rows))
        score()
        found[f"rows_per_second_{rows}"] = (
            rows / repeated(score, MOST, effort.call_seconds)["seconds"]
        )
    found |= {"parameters": made.parameters, "multiply_adds": per_row(made, test)}
    found |= {"train_peak_mb": memory.peak_mb, "rescales": made.rescales}
    if made.savable:
        size = saving.save(made, file).stat().st_size
        # Without the training rows' scores, which nobody learned.
        found |= {"model_bytes": size, "learned_bytes": size - made.decision_scores_.nbytes}
    return found


def memory_of(file: Path, rows: Floats) -> store.Line:
    """MB to load the model in ``file`` and score 256 rows, beyond the imports.

    ``process_mb`` is all that the process then holds, libraries included.
    """

    def load(batch: int) -> None:
        made = saving.load(file)
        made.decision_function(rows_for(made, rows, batch))

    load(1)  # and what is imported late
    with measure.measured() as memory:
        load(256)
    return {"inference_mb": memory.peak_mb, "process_mb": psutil.Process().memory_info().rss / 1e6}


# --- how it grows ---

AXES: dict[str, tuple[int, ...]] = {
    "channels": (10, 32, 100, 316, 1000),
    "window": (4, 8, 16, 32, 64, 128),
    "experts": (1, 2, 4, 8, 16),
    "rows": (500, 1000, 2000, 4000, 8000, 16000),
    "entities": (1, 2, 4, 8, 16),
}
BASE = {"channels": 38, "rows": 2000, "entities": 1}  # what the other axes stand at
MEASURES = ("train_seconds", "score_seconds", "multiply_adds")
WIDEST = {"PCA windows": 2048}  # numbers in a window; it learns a matrix of that side


def sizes(effort: Effort) -> list[store.Line]:
    """Give the sizes to measure: every axis for every detector that has it.

    ``value`` is the size on an ``axis``; ``settings``, ``channels``, ``rows`` (beside those of the
    first window) and ``entities`` say what that means for detector and data. A training is one
    epoch where there are epochs. A quick effort takes three sizes in the middle and an eighth of
    the rows.
    """
    found, quick = [], effort.name == QUICK.name
    for axis, values in AXES.items():
        for name in effort.grown:
            known = detector(name).settings
            if axis not in BASE and axis not in known:
                continue
            brief = {k: v for k, v in {"epochs": 1, "held_out": 0.0}.items() if k in known}
            for value in values[1:4] if quick else values:
                at = BASE | {axis: value}
                rows = at["rows"] // (8 if quick else 1)
                settings = brief | ({} if axis in BASE else {axis: value})
                window = (known | settings).get("window", 0)
                if window * at["channels"] <= WIDEST.get(name, np.inf):
                    line = {"axis": axis, "value": rows if axis == "rows" else value}
                    line |= {"detector": name, "settings": settings, "channels": at["channels"]}
                    found.append(line | {"rows": rows + window, "entities": at["entities"]})
    return found


def growth(effort: Effort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure `sizes` on synthetic rows: the points, and the `exponents` fitted to them."""
    versions = [entry(name).cls.version for name in effort.grown]
    identity = {"what": "growth", "measured": VERSION, "sizes": sizes(effort), "versions": versions}
    points = pd.DataFrame(_kept(identity, costs_at, effort)["points"])
    return points, exponents(points)


def _kept(identity: store.Line, work: Callable, effort: Effort) -> dict[str, list[store.Line]]:
    """Measure in a process of its own, unless the cache knows the result on this processor."""
    identity |= {"effort": effort.name, "device": measure.cpu_name()}
    identity |= {"torch": version("torch").partition("+")[0]}
    return store.cached(store.key(identity), lambda: measure.isolated(work, effort))


def costs_at(effort: Effort) -> dict[str, list[store.Line]]:
    """Train and score ``entities`` models in turn, each on rows of its own, at each of `sizes`."""

    def cost(size: store.Line) -> store.Line:
        shape = size["entities"], size["rows"], size["channels"]
        fleet = list(np.random.default_rng(0).standard_normal(shape))
        pairs = [(detector(size["detector"], **size["settings"]), rows) for rows in fleet]
        bounds = effort.repeats, effort.call_seconds
        training = repeated(lambda: [made.fit(rows) for made, rows in pairs], *bounds)
        scoring = repeated(lambda: [made.decision_function(rows) for made, rows in pairs], *bounds)
        scored = size["entities"] * (size["rows"] - pairs[0][0].min_rows + 1)
        counted = per_row(*pairs[0]) * scored
        return dict(zip(MEASURES, (training["seconds"], scoring["seconds"], counted), strict=True))

    wanted = sizes(effort)
    for size in {size["detector"]: size for size in reversed(wanted)}.values():
        cost(size)  # loads what a method imports when it is first used
    return {"points": [size | cost(size) for size in wanted]}


def exponents(points: pd.DataFrame) -> pd.DataFrame:
    """Fit a power law to every measure of every detector on every axis: one row each.

    Least squares of log cost on log size. ``exponent`` and its standard error ``error`` are of all
    sizes, ``upper`` and ``upper_error`` of the upper half of the axis (its middle included) alone:
    at small sizes, what every call costs hides the growth. NaN where too few points tell.
    """

    def law(part: pd.DataFrame, cost: str) -> tuple[float, float, int]:
        good = part[part[cost] > 0]
        if good["value"].nunique() < 2:
            return np.nan, np.nan, len(good)
        line = stats.linregress(np.log(good["value"]), np.log(good[cost]))
        return line.slope, line.stderr if len(good) > 2 else np.nan, len(good)

    lines = []
    for (axis, name), part in points.groupby(["axis", "detector"], sort=False):
        sizes = part["value"]
        for cost in MEASURES:
            slope, error, count = law(part, cost)
            upper, upper_error, _ = law(part[sizes >= sizes.median()], cost)
            lines.append(
                {"axis": axis, "detector": name, "measure": cost}
                | {"from": float(sizes.min()), "to": float(sizes.max()), "points": count}
                | {"exponent": slope, "error": error, "upper": upper, "upper_error": upper_error}
            )
    return pd.DataFrame(lines).set_index(["axis", "detector", "measure"])


# --- LightMMoE against the limits of the processor ---

CHANNELS = 38  # of a machine of SMD
SIDE = 1024  # of the matrices of the large product: 2 GFLOP, longer than any start-up
LARGE = 8192  # side of a matrix that no cache holds: 256 MB
FLOAT = 4  # bytes of a number in single precision
EPOCH = (64, 16, 2048)  # windows of one: at least, in steps, at most (but one step is whole)
# Operations of training a row, in those of scoring it: its forward pass, and twice that for the
# gradients of inputs and of weights (Kaplan et al., "Scaling Laws for Neural Language Models",
# 2020, section 2.1).
TRAINING = 3
# Passes over the weights in a training step, at the least: read forwards and backwards, their
# gradient written; then Adam reads gradient, weight and two moments and writes the last three.
PASSES = 10
STATE = 4  # copies of the weights that a step goes round: themselves, gradient, two moments


def limits(effort: Effort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold LightMMoE to the roofline of one thread of this processor: points, and limits.

    Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for
    Multicore Architectures" (Communications of the ACM, 2009): work of I operations per byte of
    memory traffic runs at the peak rate, or at I times the bandwidth, whichever is lower. Both are
    measured: by a product of large matrices in single precision (sgemm), and by a matrix times a
    vector (sgemv) as large as the weights, as a training step's copies of them, and as no cache.
    """
    identity = {"what": "roofline", "measured": LIMITS_VERSION}
    identity |= {"detector": entry("LightMMoE").cls.version}
    found = _kept(identity, measure_limits, effort)
    reached = pd.DataFrame(found["limits"]).assign(device=measure.cpu_name())
    return held_to(pd.DataFrame(found["points"]).set_index(["work", "batch"]), reached), reached


def held_to(points: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Add what the ``limits`` allow to ``points`` (seconds, operations, bytes by work and batch).

    ``gflops`` reached, ``intensity`` (operations per byte), ``bound`` (least possible seconds),
    ``times_bound`` and ``times_sgemm``. The bandwidth is that of memory as large as the weights, or
    as a training step's copies of them.
    """
    peak = float(limits["gflops"].max())
    reads = limits.loc[limits["limit"] == "sgemv", "gigabytes_per_second"].to_list()
    bandwidth = np.where(points.index.get_level_values("work") == "training", reads[1], reads[0])
    points = points.assign(gflops=1e-9 * points["operations"] / points["seconds"])
    points["intensity"] = points["operations"] / points["bytes"]
    slow = points["bytes"] / (1e9 * bandwidth)
    points["bound"] = np.maximum(points["operations"] / (1e9 * peak), slow)
    points["times_bound"] = points["seconds"] / points["bound"]
    points["times_sgemm"] = peak / points["gflops"]
    return points.sort_index()


def measure_limits(effort: Effort) -> dict[str, list[store.Line]]:
    """Measure the limits and LightMMoE in turns, so that all see the same machine."""
    import torch

    rows = np.random.default_rng(0).standard_normal((max(effort.batches) + 64, CHANNELS))
    made = detector("LightMMoE", epochs=0).fit(rows[:200])
    square = torch.randn(SIDE, SIDE)
    works = {("sgemm", SIDE): partial(torch.matmul, square, square)}
    for side in (*(int((n * made.parameters) ** 0.5) for n in (1, STATE)), LARGE):
        works["sgemv", side] = partial(torch.mv, torch.ones(side, side), torch.ones(side))
    for batch in effort.batches:
        given = rows_for(made, rows, batch)
        windows = torch.from_numpy(given.astype(np.float32))[:-1].unfold(0, made.window, 1)
        works["network", batch] = partial(made.network, windows)
        works["detector", batch] = partial(made.decision_function, given)
    taken = defaultdict(list)
    for _ in range(effort.rounds):
        with torch.inference_mode():
            for name, work in works.items():
                work()
                taken[name].append(repeated(work, MOST, 0.01)["seconds"])
        for batch in effort.batches:
            taken["training", batch].append(training_seconds(rows, batch, effort.epochs))
    products, found = per_row(made, rows), {"limits": [], "points": []}
    for (name, size), several in taken.items():
        seconds = float(np.median(several))
        if name in ("sgemm", "sgemv"):
            rate = 2e-9 * size**3 / seconds if name == "sgemm" else float("nan")
            line = {"limit": name, "side": size, "gflops": rate}
            line |= {"megabytes": FLOAT * size**2 / 1e6}
            line |= {"gigabytes_per_second": 1e-9 * FLOAT * size**2 / seconds}
            found["limits"].append(line)
        else:
            line = {"work": name, "batch": size, "seconds": seconds}
            line["operations"] = 2 * size * products * (TRAINING if name == "training" else 1)
            weights = made.parameters * (PASSES if name == "training" else 1)
            # Scoring reads each row once, training whole windows, in random order; and forecasts.
            moved = size * (made.window + 1 if name == "training" else 2)
            line["bytes"] = FLOAT * (weights + moved * CHANNELS)
            found["points"].append(line)
    return found


def training_seconds(rows: Floats, batch: int, epochs: tuple[int, int]) -> float:
    """Processor seconds to train on ``batch`` windows once: of two fits that differ in epochs."""
    fewest, steps, most = EPOCH
    count = max(batch, min(most, max(fewest, steps * batch)))
    given = rows.take(range(count + detector("LightMMoE").window), axis=0, mode="wrap")
    spent = []
    for number in epochs:
        made = detector("LightMMoE", epochs=number, held_out=0.0, batch=batch)
        spent.append(measure.once(partial(made.fit, given))[0])
    # Noise may turn a difference round; no time is none.
    return max(spent[1] - spent[0], 1e-9) / (epochs[1] - epochs[0]) * batch / count


# --- a fleet, and tables for readers ---


def fleet(
    table: pd.DataFrame, *, machines: int, every: float, retrain_days: float, core_hour: float
) -> pd.DataFrame:
    """Say how many cores keep up with a fleet, and what they cost a year: a row per detector.

    A row of each machine ``every`` so many seconds; ``core_hour`` is the price of a processor core
    for an hour. ``cores_row``: each row scored by a call of its own; ``cores_batch``: 256 rows by
    one call; ``cores_training``: one training every ``retrain_days``. ``a_year`` adds training to
    the first, ``a_year_batch`` to the second. ``models_gb`` is what all models take together.
    """
    found = pd.DataFrame(index=table.index)
    found["cores_row"] = machines / every / table["rows_per_second_1"]
    found["cores_batch"] = machines / every / table["rows_per_second_256"]
    found["cores_training"] = machines / (retrain_days * 86400) * table["train_seconds"]
    year = HOURS * core_hour
    found["a_year"] = year * (found["cores_row"] + found["cores_training"])
    found["a_year_batch"] = year * (found["cores_batch"] + found["cores_training"])
    found["models_gb"] = machines * table["learned_bytes"] / 1e9
    return found.sort_values("a_year")


# Columns of `table` and `fleet` under the names and in the units that people read.
TITLES = {
    "parameters": ("parameters", 1, 0),
    "multiply_adds": ("multiply-adds a row", 1, 0),
    "train_seconds": ("train (s)", 1, 3),
    "microseconds_per_row": ("score a row (µs)", 1, 2),
    "latency_p50_ms": ("one row alone (ms)", 1, 3),
    "train_peak_mb": ("memory, train (MB)", 1, 1),
    "learned_bytes": ("learned (kB)", 1e-3, 1),
    "cores_row": ("cores, row by row", 1, 2),
    "cores_batch": ("cores, 256 rows a call", 1, 3),
    "cores_training": ("cores, training", 1, 2),
    "a_year": ("a year, row by row", 1, 0),
    "a_year_batch": ("a year, 256 rows a call", 1, 0),
    "models_gb": ("all models (GB)", 1, 1),
}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Choose, scale, round and name the columns of `table` or `fleet` that people read."""
    columns = {
        name: (pd.to_numeric(table[column]) * factor).round(digits)
        for column, (name, factor, digits) in TITLES.items()
        if column in table and table[column].notna().any()
    }
    return pd.DataFrame(columns, index=table.index).rename(index=title)
