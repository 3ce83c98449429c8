"""How far LightMMoE is from what the processor can do: the roofline model.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures" (Communications of the ACM, 2009): work of I operations per byte of memory traffic
runs at the peak rate, or at I times the bandwidth, whichever is lower. Here both limits are what
this machine reaches on one thread when asked for nothing else: a product of large matrices in
single precision (sgemm), and a matrix times a vector (sgemv), which reads each number once.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import numpy as np
import pandas as pd

from lmmoe.detectors import Detector, detector, entry
from lmmoe.report import store
from lmmoe.report.cost import QUICK, Effort, per_row, rows_for
from lmmoe.report.measure import cpu_name, isolated, once

VERSION = 2  # raise it when what this module measures changes
CHANNELS = 38  # of a machine of SMD
SIDE = 1024  # of the matrices of the large product: 2 GFLOP, longer than any start-up
LARGE = 8192  # side of a matrix that no cache holds: 256 MB
FLOAT = 4  # bytes of a number in single precision
BATCHES = {"quick": (1, 64, 1024), "full": (1, 4, 16, 64, 256, 1024, 4096)}
ROUNDS = {"quick": 2, "full": 7}
EPOCHS = {"quick": (1, 2), "full": (1, 4)}  # of two fits, whose difference is training alone
STEPS, FEWEST, MOST = 16, 64, 2048  # of a training epoch: steps; and windows, or one batch
# Operations of training a row, in those of scoring it: its forward pass, and twice that for the
# gradients of inputs and of weights (Kaplan et al., "Scaling Laws for Neural Language Models",
# 2020, section 2.1).
TRAINING = 3
# Passes over the weights in a training step, at the least: read forwards and backwards, their
# gradient written; then Adam reads gradient, weight and two moments and writes the last three.
PASSES = 10
STATE = 4  # copies of the weights that a step goes round: themselves, gradient, two moments
SCORING, WHOLE, TRAIN = "network", "detector", "training"


def limits(effort: Effort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold LightMMoE to the limits of one thread of this processor: points, and limits.

    Measured on synthetic rows of 38 channels; kept with the processor's name. ``points`` has a line
    for each work and batch (see `held_to`), ``limits`` one for the product of matrices and one for
    each size of memory: that of the weights, of a training step, and beyond any cache.
    """
    name = "quick" if effort.name == QUICK.name else "full"
    identity = {"what": "roofline", "effort": name, "device": cpu_name(), "measured": VERSION}
    identity |= {"torch": version("torch").partition("+")[0]}
    identity |= {"detector": entry("LightMMoE").cls.version}
    found = store.cached(store.key(identity), lambda: isolated(measure, name))
    found = {part: pd.DataFrame(lines) for part, lines in found.items()}
    limits = found["limits"].assign(device=cpu_name())
    return held_to(found["points"].set_index(["work", "batch"]), limits), limits


def held_to(points: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Add what the ``limits`` allow to ``points`` (seconds, operations, bytes by work and batch).

    ``gflops`` reached, ``intensity`` (operations per byte), ``bound`` (least possible seconds),
    ``times_bound`` (how many times that it took) and ``times_sgemm``. The bandwidth is that of the
    memory that holds the weights, or a training step's copies of them.
    """
    peak = float(limits["gflops"].max())
    reads = limits.loc[limits["limit"] == "sgemv", "gigabytes_per_second"].to_list()
    bandwidth = np.where(points.index.get_level_values("work") == TRAIN, reads[1], reads[0])
    points = points.assign(gflops=1e-9 * points["operations"] / points["seconds"])
    points["intensity"] = points["operations"] / points["bytes"]
    slow = points["bytes"] / (1e9 * bandwidth)
    points["bound"] = np.maximum(points["operations"] / (1e9 * peak), slow)
    points["times_bound"] = points["seconds"] / points["bound"]
    points["times_sgemm"] = peak / points["gflops"]
    return points.sort_index()


def measure(effort: str) -> dict[str, list[dict[str, object]]]:
    """Measure the limits and LightMMoE in turns, so that all see the same machine.

    Medians of processor seconds over rounds.
    """
    batches = BATCHES[effort]
    rows = np.random.default_rng(0).standard_normal((max(batches) + 64, CHANNELS))
    made = detector("LightMMoE", epochs=0).fit(rows[:200])
    works = _works(made, rows, batches)
    works |= {(TRAIN, batch): partial(_training, rows, batch, EPOCHS[effort]) for batch in batches}
    taken = {name: [] for name in works}
    for _ in range(ROUNDS[effort]):
        for name, seconds in works.items():
            taken[name].append(seconds())
    products, found = per_row(made, rows), {"limits": [], "points": []}
    for (name, size), values in taken.items():
        seconds = float(np.median(values))
        if name in ("sgemm", "sgemv"):
            line = {"limit": name, "side": size, "gflops": float("nan")}
            if name == "sgemm":
                line["gflops"] = 2e-9 * size**3 / seconds
            read = FLOAT * size**2
            line |= {"megabytes": read / 1e6, "gigabytes_per_second": 1e-9 * read / seconds}
            found["limits"].append(line)
        else:
            line = {"work": name, "batch": size, "seconds": seconds}
            line["operations"] = 2 * size * products * (TRAINING if name == TRAIN else 1)
            line["bytes"] = least_traffic(name, size, made)
            found["points"].append(line)
    return found


def _works(
    made: Detector, rows: np.ndarray, batches: tuple[int, ...]
) -> dict[tuple[str, int], Callable[[], float]]:
    """What is timed besides training: the limits, the network alone, and the whole detector."""
    import torch

    @torch.inference_mode()
    def forward(windows: torch.Tensor) -> torch.Tensor:
        return made.network(windows)

    square = torch.randn(SIDE, SIDE)
    found = {("sgemm", SIDE): partial(torch.matmul, square, square)}
    for side in (*(int((n * made.parameters) ** 0.5) for n in (1, STATE)), LARGE):
        found["sgemv", side] = partial(torch.mv, torch.ones(side, side), torch.ones(side))
    for batch in batches:
        given = rows_for(made, rows, batch)
        windows = torch.from_numpy(given.astype(np.float32))[:-1].unfold(0, made.window, 1)
        found[SCORING, batch] = partial(forward, windows)
        found[WHOLE, batch] = partial(made.decision_function, given)
    return {name: partial(_seconds, work) for name, work in found.items()}


def _seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one of several repetitions that take at least 10 ms together."""
    work()
    own, _ = once(work)
    times = max(1, int(0.01 / max(own, 1e-7)))
    total, _ = once(lambda: [work() for _ in range(times)])
    return total / times


def _training(rows: np.ndarray, batch: int, epochs: tuple[int, int]) -> float:
    """Processor seconds to train on ``batch`` windows once.

    From two fits that differ by some epochs alone, so that scaling and scoring drop out.
    """
    count = max(batch, min(MOST, max(FEWEST, STEPS * batch)))
    spent = []
    for number in epochs:
        made = detector("LightMMoE", epochs=number, held_out=0.0, batch=batch)
        given = rows.take(range(count + made.window), axis=0, mode="wrap")
        spent.append(once(partial(made.fit, given))[0])
    # Noise may turn a difference round; no time is none.
    return max(spent[1] - spent[0], 1e-9) / (epochs[1] - epochs[0]) * batch / count


def least_traffic(work: str, batch: int, made: Detector) -> float:
    """Bytes that must move for a batch; sums that stay in registers move none.

    The weights once for scoring (`PASSES` for training); scoring reads each row once and writes a
    forecast, training reads whole windows, since it takes them in random order.
    """
    rows = made.window + 1 if work == TRAIN else 2
    weights = made.parameters * (PASSES if work == TRAIN else 1)
    return FLOAT * (weights + batch * rows * made.n_features_in_)
