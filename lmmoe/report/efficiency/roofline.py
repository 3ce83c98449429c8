"""How far LightMMoE is from what the processor can do: the roofline model.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures" (Communications of the ACM, 2009): work of I operations per byte of memory traffic
runs at the peak rate, or at I times the bandwidth, whichever is lower. Here both limits are what
this machine reaches on one thread when asked for nothing else: a product of large matrices in
single precision (sgemm), and a matrix times a vector (sgemv), which reads each number once.
"""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pandas as pd

from lmmoe.detectors import Detector, detector, entry
from lmmoe.report.efficiency.hardware import cpu_name
from lmmoe.report.efficiency.operations import TRAINING, per_row
from lmmoe.report.efficiency.timing import Effort, once, rows_for

VERSION = 1  # raise it when what this module measures changes
CHANNELS = 38  # of a machine of SMD
SIDE = 1024  # of the matrices of the large product: 2 GFLOP, longer than any start-up
LARGE = 8192  # side of a matrix that no cache holds: 256 MB
FLOAT = 4  # bytes of a number in single precision
BATCHES = {"quick": (1, 64, 4096), "full": (1, 4, 16, 64, 256, 1024, 4096)}
ROUNDS = {"quick": 3, "full": 7}
EPOCHS = {"quick": (1, 2), "full": (1, 4)}  # of two fits, whose difference is training alone
STEPS, FEWEST, MOST = 16, 256, 2048  # of a training epoch: steps; and windows, or one batch
# Passes over the weights in a training step, at the least: read forwards and backwards, their
# gradient written; then Adam reads gradient, weight and two moments and writes the last three.
PASSES = 10
# Copies of the weights that a training step goes round: themselves, gradient, two moments.
STATE = 4
TINY = 1e-9  # seconds, in place of a difference that noise turned round
SCORING, WHOLE, TRAIN = "network", "detector", "training"


def measure(spec: dict) -> dict[str, list[dict[str, float | str]]]:
    """Measure the limits and LightMMoE in turns, so that all see the same machine: runs in `child`.

    Medians of processor seconds over rounds. ``limits`` has a line for the product of matrices and
    one for each size of memory; ``points`` one for each work and batch.
    """
    effort = Effort(**spec["effort"])
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((max(BATCHES[effort.name]) + 64, CHANNELS))
    made = detector("LightMMoE", epochs=0).fit(rows[:200])
    works = _limits(made.parameters) | _scoring(made, rows, BATCHES[effort.name])
    taken: dict[tuple, list[float]] = {name: [] for name in works}
    for batch in BATCHES[effort.name]:
        taken[TRAIN, batch] = []
    for _ in range(ROUNDS[effort.name]):
        for name, work in works.items():
            taken[name].append(_seconds(work))
        for batch in BATCHES[effort.name]:
            taken[TRAIN, batch].append(_training(rows, batch, effort))
    middle = {name: float(np.median(values)) for name, values in taken.items()}
    return _lines(middle, made, per_row(made, rows))


def _seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one of several repetitions that take at least 10 ms together."""
    work()
    own, _ = once(work)
    times = max(1, int(0.01 / max(own, 1e-7)))
    total, _ = once(lambda: [work() for _ in range(times)])
    return total / times


def _limits(parameters: int) -> dict[tuple, Callable[[], object]]:
    """Products that show the peak rate, and the bandwidth of memories of several sizes."""
    import torch

    square = torch.randn(SIDE, SIDE)
    found: dict[tuple, Callable[[], object]] = {("sgemm", SIDE): lambda: square @ square}
    for side in (*(int((n * parameters) ** 0.5) for n in (1, STATE)), LARGE):
        matrix, vector = torch.ones(side, side), torch.ones(side)
        found["sgemv", side] = lambda matrix=matrix, vector=vector: matrix @ vector
    return found


def _scoring(
    made: Detector, rows: np.ndarray, batches: tuple[int, ...]
) -> dict[tuple, Callable[[], object]]:
    """Scoring: the network on windows that are ready, and the detector on raw rows."""
    import torch

    def forward(windows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return made.network(windows)

    found: dict[tuple, Callable[[], object]] = {}
    for batch in batches:
        given = rows_for(made, rows, batch)
        windows = torch.from_numpy(given.astype(np.float32))[:-1].unfold(0, made.window, 1)
        found[SCORING, batch] = lambda windows=windows: forward(windows)
        found[WHOLE, batch] = lambda given=given: made.decision_function(given)
    return found


def _training(rows: np.ndarray, batch: int, effort: Effort) -> float:
    """Processor seconds to train on ``batch`` windows once.

    From two fits that differ by some epochs alone, so that scaling and scoring drop out.
    """
    count = max(batch, min(MOST, max(FEWEST, STEPS * batch)))
    fewer, more = EPOCHS[effort.name]
    settings = {"held_out": 0.0, "batch": batch}
    fits = [detector("LightMMoE", epochs=number, **settings) for number in (fewer, more)]
    given = rows.take(range(count + fits[0].window), axis=0, mode="wrap")
    short, long = (once(lambda made=made: made.fit(given))[0] for made in fits)
    return max(long - short, TINY) / (more - fewer) * batch / count


def _lines(middle: dict[tuple, float], made: Detector, products: float) -> dict:
    limits = [
        {
            "limit": name,
            "side": side,
            "gflops": 2e-9 * side**3 / seconds if name == "sgemm" else float("nan"),
            "megabytes": FLOAT * side**2 / 1e6,
            "gigabytes_per_second": FLOAT * side**2 / seconds / 1e9,
        }
        for (name, side), seconds in middle.items()
        if name in ("sgemm", "sgemv")
    ]
    points = [
        {
            "work": name,
            "batch": size,
            "seconds": seconds,
            "operations": 2 * size * products * (TRAINING if name == TRAIN else 1),
            "bytes": _bytes(name, size, made),
        }
        for (name, size), seconds in middle.items()
        if name in (SCORING, WHOLE, TRAIN)
    ]
    return {"limits": limits, "points": points, "device": cpu_name()}


def _bytes(work: str, batch: int, made: Detector) -> float:
    """Bytes that must move at the least for a batch; sums that stay in registers move none.

    The weights once for scoring (`PASSES` for training); scoring reads each row once and writes a
    forecast, training reads whole windows, since it takes them in random order.
    """
    rows = made.window + 1 if work == TRAIN else 2
    weights = made.parameters * (PASSES if work == TRAIN else 1)
    return FLOAT * (weights + batch * rows * made.n_features_in_)


def roofline(found: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make two tables of what `measure` gave: the points, and the limits that they are held to.

    Points by (work, batch): ``gflops`` reached, ``intensity`` (operations per byte), ``bound``
    (seconds that the limits allow) and ``times_bound`` (how many times that it took). The bandwidth
    is that of the memory that holds the weights, or a training step's copies of them.
    """
    limits = pd.DataFrame(found["limits"])
    peak = float(limits["gflops"].max())
    reads = limits.loc[limits["limit"] == "sgemv", "gigabytes_per_second"].to_list()
    points = pd.DataFrame(found["points"]).set_index(["work", "batch"])
    training = points.index.get_level_values("work") == TRAIN
    bandwidth = np.where(training, reads[1], reads[0])
    points["gflops"] = 1e-9 * points["operations"] / points["seconds"]
    points["intensity"] = points["operations"] / points["bytes"]
    slow = points["bytes"] / (1e9 * bandwidth)
    points["bound"] = np.maximum(points["operations"] / (1e9 * peak), slow)
    points["times_bound"] = points["seconds"] / points["bound"]
    points["times_sgemm"] = peak / points["gflops"]
    limits["device"] = found["device"]
    return points.sort_index(), limits


def identity(effort: Effort) -> dict[str, object]:
    """Say what `measure` depends on."""
    return {
        "what": "roofline",
        "effort": effort.name,
        "device": cpu_name(),
        "torch": version("torch").partition("+")[0],
        "detector": entry("LightMMoE").cls.version,
        "measured": VERSION,
    }
