"""What work costs: seconds on two clocks, memory, multiply-adds; in a process of its own.

*Processor seconds* count only while this process runs: with one thread and nothing to wait for, a
quiet machine's wall clock would show the same, and other work on the machine cannot change them
much. *Wall seconds* are what somebody waits.
"""

import ctypes
import gc
import os
import platform
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil

from lmmoe import paths, progress
from lmmoe.data.series import Floats
from lmmoe.detectors import Detector

INTERVAL = 0.01  # seconds between two looks at the memory: shorter peaks go unseen
# What libraries of linear algebra read when they are loaded, so that it must be set before.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
LIBRARIES = ["pandas", "scipy.stats", "sklearn.decomposition", "sklearn.ensemble", "torch"]
PROBE = 64  # rows by which two calls differ whose multiply-adds are counted
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
    # A product with each centre, or with each learned row.
    **dict.fromkeys(("KMeansAD", "NearestNeighbours"), lambda made: made.parameters),
    # A square added for each channel, or likewise.
    **dict.fromkeys(("MTSExample", "L2MinMax", "MovingAverage"), lambda made: made.n_features_in_),
}


def each(items: list[str], title: str, unit: str) -> Iterator[str]:
    """Give the items in turn, with progress."""
    with progress.bar(len(items), title, unit=unit) as bar:
        for item in items:
            bar.set_postfix_str(item, refresh=False)
            yield item
            bar.update()


def isolated(task: Callable[..., dict], *given: object) -> dict:
    """Call ``task(*given)``, a function of a module, in a new process with one thread.

    Raises what the task raises, and `RuntimeError` where the process is killed.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with patch.dict(os.environ, ONE_THREAD | {"LMMOE_PROGRESS": "off"}):  # it is inherited
        with ProcessPoolExecutor(1, context, initializer=die_with_parent) as pool:
            return pool.submit(task, *given).result()


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of ``work``."""
    own, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - own, time.perf_counter() - wall


def repeated(
    work: Callable[[], object], repeats: int, seconds: float, first: tuple[float, float] = ()
) -> dict[str, float]:
    """Time ``work`` up to ``repeats`` times, and no more once ``seconds`` have gone by.

    ``first`` is what `once` said of a repetition that was done before and counts. Gives medians of
    processor ``seconds`` and ``wall_seconds``, ``spread`` (highest minus lowest processor time over
    the median; NaN for one repetition) and the number of ``repeats``.
    """
    taken = [first] if first else [once(work)]
    end = time.perf_counter() + seconds - taken[0][1]
    while len(taken) < repeats and time.perf_counter() < end:
        taken.append(once(work))
    own, wall = np.array(taken).T
    middle = float(np.median(own))
    spread = float(np.ptp(own)) / middle if len(own) > 1 and middle else float("nan")
    found = {"seconds": middle, "wall_seconds": float(np.median(wall))}
    return found | {"spread": spread, "repeats": len(own)}


@dataclass
class Cost:
    """Wall seconds, and the peak of resident memory above the start in MB (10^6 bytes)."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block; the result is filled in when it ends.

    Memory is sampled, not traced, which slows nothing. What earlier work left behind is given back
    first (by glibc; elsewhere the peak of a second run in one process may be too low).
    """
    _give_back()
    cost, done, process = Cost(), threading.Event(), psutil.Process()
    start = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(INTERVAL):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - began
        done.set()
        watcher.join()
        cost.peak_mb = (max(peak, process.memory_info().rss) - start) / 1e6


def _give_back() -> None:
    """Return freed memory to the system."""
    gc.collect()
    gc.freeze()  # what is left is mostly the libraries': it need not be looked through again
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def cpu_name() -> str:
    """Name of the processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    if info.is_file() and (name := re.search(r"model name\s*: (.*)", info.read_text())):
        return f"{name[1].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


# --- multiply-adds ---


def rows_for(made: Detector, rows: Floats, batch: int, start: int = 0) -> Floats:
    """Give the rows ``(n, c)`` that a call needs to score ``batch`` consecutive ones.

    With what must stand before the first of them; beyond the last row the first follows again.
    """
    wanted = range(start, start + made.min_rows - 1 + batch)
    return np.ascontiguousarray(rows.take(wanted, axis=0, mode="wrap"))


def per_row(made: Detector, rows: Floats) -> float:
    """Count the multiply-adds to score one more row; ``rows`` ``(t, c)`` are any that it can score.

    A multiply-add is one product and one sum. Counted are products of matrices (convolutions and
    recurrent layers are such) and sums of products; what is done once per element (scaling,
    activations) is not. NaN where a method has no product, or where another package hides them.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from torch.utils.module_tracker import ModuleTracker

    from lmmoe.detectors.neural import Forecaster

    for cls in type(made).__mro__:
        if cls.__name__ in PRODUCTS:
            return float(PRODUCTS[cls.__name__](made))
    # Of a forecaster its network as it is written down: a faster way to the same numbers may put
    # biases into its products.
    plain = isinstance(made, Forecaster)
    score = partial(Forecaster._forecasts, made) if plain else made.decision_function

    def lstm(inputs: tuple, of_inputs: tuple, of_state: tuple, *_: object, **__: object) -> int:
        """Shapes (w, b, n) and of two matrices: a product with each in every step."""
        return 2 * int(np.prod(inputs[:-1]) * (np.prod(of_inputs) + np.prod(of_state)))

    layer = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)  # missing on some processors
    counted = []
    for batch in (1, 1 + PROBE):
        # The tracker of modules fails where one gives out its weights as they are.
        with patch.object(ModuleTracker, "_fw_post_hook", lambda *_: None):
            with FlopCounterMode(display=False, custom_mapping={layer: lstm}) as counter:
                score(rows_for(made, rows, batch))
        counted.append(counter.get_total_flops() // 2)
    # What each call does once drops out.
    return (counted[1] - counted[0]) / PROBE or float("nan")


def die_with_parent() -> None:
    """End this process and its children as soon as the parent is gone, even killed with -9."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def commit() -> str:
    """The commit of the working tree, ``-dirty`` where code differs from it, else "unknown"."""

    def git(*words: str) -> str:
        how = {"cwd": paths.home(), "text": True, "stderr": subprocess.DEVNULL}
        return subprocess.check_output(["git", *words], **how).strip()

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", "lmmoe", "notebooks", "params", "Snakefile")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head
