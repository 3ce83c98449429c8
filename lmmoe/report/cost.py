"""What detectors cost: measured for each, how it grows with the data, and what a fleet would pay.

Every measurement runs in a process of its own with one thread, and is kept: a second report takes
it from the published table or from the cache. Seconds are processor seconds, latencies wall time.
"""

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

from lmmoe import data, progress
from lmmoe.detectors import Detector, detector, entry, saving
from lmmoe.detectors.base import Floats
from lmmoe.report import store
from lmmoe.report.experiment import FAILURES, PROTOCOLS, Run
from lmmoe.report.measure import cpu_name, isolated, measured, once, repeated
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what is measured changes
BATCHES = (1, 16, 256, 4096)  # rows scored by one call
WARM_ROWS = 500  # of training, to load what a method imports when it is first used
WINDOWS = 64  # different rows that single calls go round: one alone would stay in the cache
FEWEST, MOST = 20, 10_000  # calls that a percentile is taken of, calls that are timed
PROBE = 64  # rows by which two calls differ whose multiply-adds are counted
FEW = ("LightMMoE", "CAD-as-run", "linear", "PCA windows EWMA", "PCA", "MTSExample", "random")
HOURS = 8766  # of a year, leap days included

SECOND = (
    *("device", "train_seconds", "score_seconds", "latency_p50_ms", "latency_p99_ms"),
    *("latency_calls", f"rows_per_second_{BATCHES[-1]}"),
)
COLUMNS = (
    *("key", "dataset", "entity", "data", "detector", "protocol", "settings", "seed"),
    *("version", "torch", "effort", "measured"),
    *("device", "parameters", "multiply_adds", "channels"),
    *("train_rows", "train_seconds", "train_wall_seconds", "train_spread", "train_repeats"),
    *("score_rows", "score_seconds", "score_wall_seconds", "score_spread", "score_repeats"),
    *("latency_p50_ms", "latency_p99_ms", "latency_calls"),
    *(f"rows_per_second_{batch}" for batch in BATCHES),
    *("train_peak_mb", "inference_mb", "process_mb", "model_bytes", "learned_bytes", "rescales"),
    *(f"second_{name}" for name in SECOND),
    "error",
)

# Multiply-adds to score a row, by class, of the methods that are not written in torch.
PRODUCTS: dict[str, Callable[[Detector], float]] = {
    # Onto the directions and back; the parameters are a mean and the directions.
    "PCA": lambda made: 2 * (made.parameters - made.n_features_in_),
    # Likewise for a window, but back for its last row alone.
    "PCAWindows": lambda made: (
        (made.parameters // (made.window * made.n_features_in_) - 1)
        * (made.window + 1)
        * made.n_features_in_
    ),
    "RidgeVAR": lambda made: made.parameters - made.n_features_in_,  # without the intercept
    "KMeansAD": lambda made: made.parameters,  # a product with each centre
    "NearestNeighbours": lambda made: made.parameters,  # and with each learned row
    "MTSExample": lambda made: made.n_features_in_,  # a square added for each channel
    "L2MinMax": lambda made: made.n_features_in_,
    "MovingAverage": lambda made: made.n_features_in_,
}

# --- every detector ---


@dataclass(frozen=True)
class Effort:
    """How long to measure: ``repeats`` of training and scoring, but not beyond ``seconds`` each.

    Calls of few rows are repeated for ``call_seconds``.
    """

    name: str
    repeats: int
    seconds: float
    call_seconds: float


QUICK = Effort("quick", repeats=3, seconds=0.2, call_seconds=0.05)
FULL = Effort("full", repeats=7, seconds=30.0, call_seconds=2.0)


def effort_for(profile: Profile) -> Effort:
    """Long measurements on published data; short ones on synthetic and on people's own data."""
    published = profile.dataset in data.DATASETS and profile.dataset != "synthetic"
    return FULL if published else QUICK


def table(
    profile: Profile, *, entity: str = "", effort: Effort | None = None, second: str | None = None
) -> pd.DataFrame:
    """Measure the profile's detectors on one entity: a row each with `COLUMNS`, by detector.

    The entity is the first with as many training rows as most, unless named, since cost grows with
    them. A quick ``effort`` (default: `effort_for`) measures only `FEW` of the detectors, or all
    where the profile has none of these. ``second`` names a torch device whose figures get columns
    of their own; None looks for one, "" leaves it out. What the published table or the cache holds
    under the same key is not measured again. A detector that fails has ``error`` and no numbers.
    """
    effort = effort or effort_for(profile)
    device, device_name = _second_device() if second is None else (second, second)
    if not entity:
        lengths = {name: len(profile.load(name).train) for name in profile.present}
        middle = np.median(list(lengths.values()))
        entity = next(name for name, length in lengths.items() if length >= middle)
    series, protocol = profile.load(entity), PROTOCOLS[profile.protocols[0]]
    halves = protocol.train(series), series.test
    names = list(profile.detectors)
    if effort.name == QUICK.name:
        names = [name for name in names if name in FEW] or names
    keep, rows = store.Table(profile.profile, "efficiency"), []
    with progress.bar(len(names), "efficiency", unit="detector") as bar:
        for name in names:
            bar.set_postfix_str(name, refresh=False)
            seed, settings = profile.seeds[0], profile.detectors[name]
            run = Run(series, name, profile.protocols[0], seed, settings)
            head = run.identity | {"effort": effort.name, "measured": VERSION}
            make = partial(protocol.detector, name, seed=seed, **settings)
            other = device if "device" in make().settings else ""
            work = partial(_measured, make, *halves, effort, other, device_name)
            try:
                hidden = {"second": device_name} if other else {}
                [line] = keep.lines(head, hidden, lambda work=work: [store.plain(work())])
                rows.append(
                    line | head
                )  # the head once more: a table read back may have changed it
            except FAILURES as error:
                # One that fails must not cost the others; the next start tries it again.
                rows.append(head | {"error": f"{type(error).__name__}: {error}"})
            bar.update()
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS)).set_index("detector")


def read(path: Path) -> pd.DataFrame:
    """Read a table that `table` gave, by detector; an empty one where there is no file."""
    return store.read(path).reindex(columns=list(COLUMNS)).set_index("detector")


def _measured(
    make: Callable, train: Floats, test: Floats, effort: Effort, second: str, second_name: str
) -> dict[str, object]:
    """Measure on the processor, memory to score where nothing was trained; then elsewhere."""
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        file = Path(folder, "model.safetensors")
        found = isolated(costs_of, make, train, test, effort, file) | {"device": cpu_name()}
        if file.is_file():
            found |= isolated(memory_of, file, test)
        if second:
            make = partial(make, device=second)
            try:  # in wall seconds: the processor only waits for the device
                other = isolated(costs_of, make, train, test, effort, file, "wall_seconds")
            except FAILURES as error:
                return found | {"second_device": f"{second_name}: {error}"}
            other["device"] = second_name
            for part in ("train", "score"):
                other[f"{part}_seconds"] = other[f"{part}_wall_seconds"]
            found |= {f"second_{name}": other[name] for name in SECOND}
    return found


def _second_device() -> tuple[str, str]:
    """Torch's and its maker's name of a device beside the processor, "" where there is none."""
    import torch

    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    return ("mps", "mps") if torch.backends.mps.is_available() else ("", "")


def costs_of(
    make: Callable[..., Detector],
    train: Floats,
    test: Floats,
    effort: Effort,
    file: Path,
    clock: str = "seconds",
) -> dict[str, float | bool]:
    """Measure training on rows ``train`` ``(t, c)`` and scoring rows ``test``: some of `COSTS`.

    ``make(**settings)`` gives the detector. Rows a second are by the ``clock`` of `Timing`. The
    fitted model is written to ``file`` where it can be saved. Raises what the detector raises.
    """
    bounds = effort.repeats, effort.seconds
    made = make()
    brief = {"epochs": 1} if made.settings.get("epochs", 0) > 1 else {}
    make(**brief).fit(train[:WARM_ROWS])
    with measured() as memory:
        first = once(lambda: made.fit(train))
    training = repeated(lambda: made.fit(train), *bounds, first)
    scoring = repeated(lambda: made.decision_function(test), *bounds)
    found = {"train_rows": len(train), "channels": train.shape[1], "score_rows": len(test)}
    for part, timing in (("train", training), ("score", scoring)):
        found |= {f"{part}_{name}": value for name, value in timing._asdict().items()}
    found |= latency(made, test, effort)
    for batch in BATCHES[1:]:
        given = rows_for(made, test, batch)
        made.decision_function(given)
        score = partial(made.decision_function, given)
        call = repeated(score, MOST, effort.call_seconds)
        found[f"rows_per_second_{batch}"] = batch / getattr(call, clock)
    found |= {"parameters": made.parameters, "multiply_adds": per_row(made, test)}
    found |= {"train_peak_mb": memory.peak_mb, "rescales": made.rescales}
    found |= {"model_bytes": float("nan"), "learned_bytes": float("nan")}
    if made.savable:
        saving.save(made, file)
        size = file.stat().st_size  # with the training rows' scores, which nobody learned
        found |= {"model_bytes": size, "learned_bytes": size - made.decision_scores_.nbytes}
    return found


def memory_of(file: Path, rows: Floats) -> dict[str, float]:
    """MB to load the model in ``file`` and score 256 rows, beyond the imports.

    ``process_mb`` is all that the process then holds, libraries included.
    """

    def load(batch: int) -> None:
        made = saving.load(file)
        made.decision_function(rows_for(made, rows, batch))

    load(1)
    with measured() as cost:
        load(256)
    return {"inference_mb": cost.peak_mb, "process_mb": psutil.Process().memory_info().rss / 1e6}


def rows_for(made: Detector, rows: Floats, batch: int, start: int = 0) -> Floats:
    """Give the rows ``(n, c)`` that a call needs to score ``batch`` consecutive ones.

    These and what must stand before the first of them: the smallest input has one row to score.
    Beyond the last row the first follows again: the time to score rows is not in their values.
    """
    wanted = range(start, start + made.min_rows - 1 + batch)
    return np.ascontiguousarray(rows.take(wanted, axis=0, mode="wrap"))


def latency(made: Detector, rows: Floats, effort: Effort) -> dict[str, float]:
    """Time single calls that score one row with its window, through the detector's contract.

    Median and 99th percentile of wall milliseconds; rows a second by the processor's clock.
    """
    starts = np.linspace(0, max(0, len(rows) - made.min_rows), WINDOWS).astype(int)
    windows = [rows_for(made, rows, 1, start) for start in starts]
    for window in windows[:5]:  # they set up what later ones find ready
        made.decision_function(window)
    taken, spent = [], 0.0
    while spent < effort.call_seconds or len(taken) < FEWEST:
        taken.append(once(partial(made.decision_function, windows[len(taken) % WINDOWS])))
        spent += taken[-1][1]
    own, wall = np.array(taken).T
    middle, high = 1000 * np.percentile(wall, [50, 99])
    found = {"latency_p50_ms": float(middle), "latency_p99_ms": float(high)}
    return found | {"latency_calls": len(taken), "rows_per_second_1": 1 / float(own.mean())}


def per_row(made: Detector, rows: Floats) -> float:
    """Count the multiply-adds to score one more row; ``rows`` ``(t, c)`` are any that it can score.

    A multiply-add is one product and one sum. Counted are products of matrices (convolutions and
    recurrent layers are such) and sums of products; what is done once per element (scaling,
    activations, the squares of a network's errors) is not: it grows slower. NaN where a method has
    no product (comparisons, ranks, random numbers), or where another package hides them.
    """
    for cls in type(made).__mro__:
        if cls.__name__ in PRODUCTS:
            return float(PRODUCTS[cls.__name__](made))
    # Of a forecaster its network as it is written down: a faster way to the same numbers may put
    # biases into its products.
    plain = [vars(cls)["_forecasts"] for cls in type(made).__mro__ if "_forecasts" in vars(cls)]
    forecasts = plain and getattr(made, "horizon", 1)
    score = partial(plain[-1], made) if forecasts else made.decision_function
    one, more = (multiply_adds(score, rows_for(made, rows, batch)) for batch in (1, 1 + PROBE))
    return (more - one) / PROBE or float("nan")  # what each call does once drops out


def multiply_adds(work: Callable[..., object], *given: object) -> int:
    """Count the multiply-adds of the torch operations that ``work(*given)`` executes."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    lstm = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)
    total = 0

    class Counter(TorchDispatchMode):  # FlopCounterMode hooks modules: it needs gradients
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
            nonlocal total
            kwargs, packet = kwargs or {}, func._overloadpacket
            if packet not in flop_registry and packet is not lstm:
                with self:  # a layer is made of operations that the registry knows
                    parts = func.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
            out = func(*args, **kwargs)
            if packet is lstm:  # (w, b, n): a product with inputs and state in each step
                inputs, of_inputs, of_state = args[:3]
                total += inputs[..., 0].numel() * (of_inputs.numel() + of_state.numel())
            elif packet in flop_registry:
                total += flop_registry[packet](*args, **kwargs, out_val=out) // 2
            return out

    with Counter():
        work(*given)
    return total


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
# The study's subject; the simple method that leads on SMD; one that learns a matrix of channels;
# one that learns nothing.
GROWN = {
    "quick": ("LightMMoE", "PCA"),
    "full": ("LightMMoE", "PCA windows", "PCA", "MTSExample"),
}


def sizes(effort: Effort) -> list[dict[str, object]]:
    """Give the sizes to measure: every axis for every detector that has it.

    ``value`` is the size on an ``axis``; ``settings``, ``channels``, ``rows`` and ``entities`` say
    what that means for detector and data. A training is one epoch where there are epochs. Rows come
    beside those of the first window, so that a longer window leaves as many to learn from. A quick
    effort takes three sizes in the middle and an eighth of the rows.
    """
    found = []
    quick = effort.name == QUICK.name
    for axis, values in AXES.items():
        for name in GROWN["quick" if quick else "full"]:
            known = detector(name).settings
            if axis not in BASE and axis not in known:
                continue
            brief = {k: v for k, v in {"epochs": 1, "held_out": 0.0}.items() if k in known}
            for value in values[1:4] if quick else values:
                at = BASE | {axis: value}
                settings = brief | ({} if axis in BASE else {axis: value})
                window = int((known | settings).get("window", 0))
                if window * at["channels"] > WIDEST.get(name, np.inf):
                    continue
                rows = at["rows"] // (8 if quick else 1)
                found.append(
                    {"axis": axis, "value": rows if axis == "rows" else value, "detector": name}
                    | {"settings": settings, "channels": at["channels"], "rows": rows + window}
                    | {"entities": at["entities"]}
                )
    return found


def growth(effort: Effort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure `sizes` on synthetic rows: the points, and the `exponents` fitted to them."""
    wanted = sizes(effort)
    names = GROWN["quick" if effort.name == QUICK.name else "full"]
    identity = {"what": "growth", "measured": VERSION, "effort": effort.name, "sizes": wanted}
    identity |= {"device": cpu_name(), "torch": version("torch").partition("+")[0]}
    identity |= {"versions": [entry(name).cls.version for name in names]}
    found = store.cached(store.key(identity), lambda: isolated(costs_at, wanted, effort))
    points = pd.DataFrame(found["points"])
    return points, exponents(points)


def costs_at(wanted: list[dict], effort: Effort) -> dict[str, list[dict[str, object]]]:
    """Train and score ``entities`` models in turn, each on rows of its own, at each of `sizes`."""

    def cost(size: dict) -> dict[str, float]:
        shape = size["entities"], size["rows"], size["channels"]
        fleet = list(np.random.default_rng(0).standard_normal(shape))
        models = [detector(size["detector"], **size["settings"]) for _ in fleet]
        pairs = list(zip(models, fleet, strict=True))
        bounds = effort.repeats, effort.call_seconds
        training = repeated(lambda: [made.fit(rows) for made, rows in pairs], *bounds)
        scoring = repeated(lambda: [made.decision_function(rows) for made, rows in pairs], *bounds)
        scored = sum(len(rows) - made.min_rows + 1 for made, rows in pairs)
        counted = per_row(models[0], fleet[0]) * scored
        return dict(zip(MEASURES, (training.seconds, scoring.seconds, counted), strict=True))

    for size in {size["detector"]: size for size in reversed(wanted)}.values():
        cost(size)  # loads what a method imports when it is first used
    return {"points": [size | cost(size) for size in wanted]}


def exponents(points: pd.DataFrame) -> pd.DataFrame:
    """Fit a power law to every measure of every detector on every axis: one row each.

    Least squares of log cost on log size. ``exponent`` and its standard error ``error`` are of all
    sizes, ``upper`` and ``upper_error`` of the upper half of the axis (its middle included) alone:
    at small sizes, what every call costs hides the growth. NaN where too few points tell.
    """

    def law(sizes: np.ndarray, costs: np.ndarray) -> tuple[float, float, int]:
        good = np.isfinite(costs) & (costs > 0)
        x, y = np.log(sizes[good]), np.log(costs[good])
        if len(np.unique(x)) < 2:
            return np.nan, np.nan, len(x)
        line = stats.linregress(x, y)
        return line.slope, line.stderr if len(x) > 2 else np.nan, len(x)

    lines = []
    for (axis, name), part in points.groupby(["axis", "detector"], sort=False):
        part = part.sort_values("value")
        values = part["value"].to_numpy(float)
        upper = values >= np.median(values)
        for measure in MEASURES:
            costs = part[measure].to_numpy(float)
            whole, top = law(values, costs), law(values[upper], costs[upper])
            lines.append(
                {"axis": axis, "detector": name, "measure": measure}
                | {"from": values[0], "to": values[-1], "points": whole[2]}
                | {"exponent": whole[0], "error": whole[1]}
                | {"upper": top[0], "upper_error": top[1]}
            )
    return pd.DataFrame(lines).set_index(["axis", "detector", "measure"])


# --- a fleet, and tables for readers ---


def fleet(
    table: pd.DataFrame, *, machines: int, every: float, retrain_days: float, core_hour: float
) -> pd.DataFrame:
    """Say how many cores keep up with a fleet, and what they cost a year: a row per detector.

    A row of each machine ``every`` so many seconds; ``core_hour`` is the price of a processor core
    for an hour. ``cores_row``: each row scored by a call of its own, as it comes in.
    ``cores_batch``: 256 rows by one call, which needs rows kept back or one model for many
    machines. ``cores_training``: one training every ``retrain_days``. ``a_year`` adds training to
    the first, ``a_year_batch`` to the second. ``models_gb`` is what all models take together. Cores
    are used in full; reading, sending and keeping the data is not in it. NaN: not measured.
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


def evidence(table: pd.DataFrame) -> pd.DataFrame | None:
    """Give the columns that `lmmoe.report.claims.audit` asks for; None where nothing was measured.

    "latency_ms": the median call that scores one row with its window. "samples_per_second": 256
    rows by one call. "inference_mb": to load the model and score 256 rows, beyond the imports.
    """
    good = table[table["error"].isna()].reset_index()
    names = {"latency_p50_ms": "latency_ms", "rows_per_second_256": "samples_per_second"}
    wanted = ["detector", "latency_ms", "samples_per_second", "inference_mb", "process_mb"]
    return good.rename(columns=names)[wanted] if len(good) else None


# Columns of `table` and `fleet` under the names and in the units that people read.
TITLES = {
    "parameters": ("parameters", 1, 0),
    "multiply_adds": ("multiply-adds a row", 1, 0),
    "train_seconds": ("train (s)", 1, 3),
    "microseconds_per_row": ("score a row (µs)", 1, 2),
    "latency_p50_ms": ("one row alone (ms)", 1, 3),
    "train_peak_mb": ("memory, train (MB)", 1, 1),
    "learned_bytes": ("learned (kB)", 1e-3, 1),
    "second_train_seconds": ("second device, train (s)", 1, 3),
    "second_latency_p50_ms": ("second device, one row alone (ms)", 1, 3),
    "cores_row": ("cores, row by row", 1, 2),
    "cores_batch": ("cores, 256 rows a call", 1, 3),
    "cores_training": ("cores, training", 1, 2),
    "a_year": ("a year, row by row", 1, 0),
    "a_year_batch": ("a year, 256 rows a call", 1, 0),
    "models_gb": ("all models (GB)", 1, 1),
}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Choose, scale, round and name the columns of `table` or `fleet` that people read."""
    from lmmoe.report.names import title

    columns = {
        name: (pd.to_numeric(table[column]) * factor).round(digits)
        for column, (name, factor, digits) in TITLES.items()
        if column in table and table[column].notna().any()
    }
    return pd.DataFrame(columns, index=table.index).rename(index=title)
