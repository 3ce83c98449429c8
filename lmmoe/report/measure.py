"""What work costs: seconds on two clocks, memory, multiply-adds; in a process of its own.

*Processor seconds* count only while this process runs, so that other work on the machine hardly
changes them. *Wall seconds* are what somebody waits.
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
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
from warnings import catch_warnings

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
LIBRARIES = ["pandas", "scipy.stats", "sklearn.decomposition", "sklearn.ensemble", "torch._dynamo"]


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
    context.set_forkserver_preload([*LIBRARIES, task.__module__])
    with patch.dict(os.environ, ONE_THREAD | {"LMMOE_PROGRESS": "off"}):  # it is inherited
        with ProcessPoolExecutor(1, context, initializer=die_with_parent) as pool:
            return pool.submit(task, *given).result()


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of ``work``."""
    own, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - own, time.perf_counter() - wall


def repeated(work: Callable[[], object], repeats: int, seconds: float, *first: float) -> float:
    """Median processor seconds of up to ``repeats`` times ``work``, no more after ``seconds``.

    ``first`` are those of repetitions that were done before.
    """
    taken, end = [*first], time.perf_counter() + seconds - sum(first)
    while not taken or (len(taken) < repeats and time.perf_counter() < end):
        taken.append(once(work)[0])
    return float(np.median(taken))


@contextmanager
def measured() -> Iterator[SimpleNamespace]:
    """Measure the block, and fill in when it ends: wall ``seconds``, and ``peak_mb``.

    That is the peak of resident memory above the start in MB (10^6 bytes): sampled, not traced,
    which slows nothing. What earlier work left behind is given back first (by glibc; elsewhere the
    peak of a second run in one process may be too low).
    """
    gc.collect()
    gc.freeze()  # what is left is mostly the libraries': it need not be looked through again
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    done, process = threading.Event(), psutil.Process()
    start = process.memory_info().rss
    cost = SimpleNamespace(seconds=0.0, peak_mb=0.0)

    def watch() -> None:
        ended = False
        while not ended:
            ended = done.wait(INTERVAL)
            cost.peak_mb = max(cost.peak_mb, (process.memory_info().rss - start) / 1e6)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch)
        began = time.perf_counter()
        try:
            yield cost
        finally:
            cost.seconds = time.perf_counter() - began
            done.set()


def cpu_name() -> str:
    """Name of the processor, as far as the system tells it, and in a job of Slurm of the node."""
    info = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    name = platform.processor() or platform.machine()
    if info.is_file() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        name = f"{found[1].strip()} ({platform.machine()})"
    return " on ".join(filter(None, [name, os.environ.get("SLURMD_NODENAME")]))


def rows_for(made: Detector, rows: Floats, batch: int, start: int = 0) -> Floats:
    """Give the rows ``(n, c)`` that a call needs to score ``batch`` consecutive ones.

    With what must stand before the first of them; beyond the last row the first follows again.
    """
    wanted = range(start, start + made.min_rows - 1 + batch)
    return np.ascontiguousarray(rows.take(wanted, axis=0, mode="wrap"))


def per_row(made: Detector, rows: Floats) -> float:
    """Count the multiply-adds to score one more row; ``rows`` ``(t, c)`` are any that it can score.

    Counted are products of matrices (convolutions and recurrent layers are such) and sums of
    products; what is done once per element (scaling, activations) is not. NaN where a method has no
    product, or where another package hides them.
    """
    from torch.backends import mkldnn
    from torch.utils.flop_counter import FlopCounterMode
    from torch.utils.module_tracker import ModuleTracker

    from lmmoe.detectors.neural import Forecaster

    n, c = made.parameters, made.n_features_in_
    directions = getattr(made, "_learned", {}).get("directions")
    if directions is not None:  # onto them, and back for the last row alone
        return float(directions.size + len(directions) * c)
    by_hand = {  # by class, of the other methods that are not written in torch
        "RidgeVAR": n - c,  # without the intercept
        **dict.fromkeys(("KMeansAD", "NearestNeighbours"), n),  # with each centre or learned row
        **dict.fromkeys(("MTSExample", "L2MinMax", "MovingAverage"), c),  # a square a channel
    }
    if type(made).__name__ in by_hand:
        return float(by_hand[type(made).__name__])
    # Of a forecaster its network as it is written down: a faster way to the same numbers may put
    # biases into its products.
    plain = isinstance(made, Forecaster)
    score = partial(Forecaster._forecasts, made) if plain else made.decision_function
    counted = []
    for batch in (1, 65):
        with (
            # The tracker of modules fails where one gives out its weights as they are.
            patch.object(ModuleTracker, "_fw_post_hook", lambda *_: None),
            catch_warnings(action="ignore"),  # of settings for other devices
            mkldnn.flags(enabled=False),  # it makes one operation of a recurrent layer
            FlopCounterMode(display=False) as counter,
        ):
            score(rows_for(made, rows, batch))
        counted.append(counter.get_total_flops() // 2)
    # What each call does once drops out.
    return (counted[1] - counted[0]) / 64 or float("nan")


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
    git = partial(subprocess.check_output, cwd=paths.home(), text=True, stderr=subprocess.DEVNULL)
    code = ("lmmoe", "notebooks", "params", "Snakefile")
    try:
        head = git(["git", "rev-parse", "HEAD"]).strip()
        changed = git(["git", "status", "--porcelain", "--", *code])
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head
