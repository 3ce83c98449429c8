"""Measuring work: in a process of its own, on two clocks, its memory, and on which processor.

*Processor seconds* count only while this process runs: with one thread and nothing to wait for, a
quiet machine's wall clock would show the same, and other work on the machine cannot change them
much. *Wall seconds* are what somebody waits.
"""

import ctypes
import gc
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import psutil

from lmmoe import paths

INTERVAL = 0.01  # seconds between two looks at the memory: shorter peaks go unseen
# What libraries of linear algebra read when they are loaded, so that it must be set before.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
LIBRARIES = [
    "pandas",
    "psutil",
    "scipy.stats",
    "sklearn.decomposition",
    "sklearn.ensemble",
    "torch",
]


def isolated(task: Callable[..., dict], *given: object) -> dict:
    """Call ``task(*given)``, a function of a module, in a new process with one thread.

    The process is a copy of one that has imported `LIBRARIES` and done nothing else, so that it
    starts at once and its memory holds no earlier work. Raises what the task raises, and
    `RuntimeError` where the process is killed.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with patch.dict(os.environ, ONE_THREAD | {"LMMOE_PROGRESS": "off"}):  # it is inherited
        with ProcessPoolExecutor(1, context, initializer=die_with_parent) as pool:
            return pool.submit(task, *given).result()


class Timing(NamedTuple):
    """What one repetition of some work takes: medians.

    Where ``wall_seconds`` are many more than ``seconds`` of processor time, other work shared the
    machine. ``spread`` is the highest minus the lowest processor time over the median; NaN for one
    repetition.
    """

    seconds: float
    wall_seconds: float
    spread: float
    repeats: int


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of ``work``."""
    own, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - own, time.perf_counter() - wall


def repeated(
    work: Callable[[], object], repeats: int, seconds: float, first: tuple[float, float] = ()
) -> Timing:
    """Time ``work`` up to ``repeats`` times, and no more once ``seconds`` have gone by.

    ``first`` is what `once` said of a repetition that was done before and counts.
    """
    taken = [first] if first else [once(work)]
    end = time.perf_counter() + seconds - taken[0][1]
    while len(taken) < repeats and time.perf_counter() < end:
        taken.append(once(work))
    own, wall = np.array(taken).T
    middle = float(np.median(own))
    spread = float(np.ptp(own)) / middle if len(own) > 1 and middle else float("nan")
    return Timing(middle, float(np.median(wall)), spread, len(own))


@dataclass
class Cost:
    """Wall seconds, and the peak of resident memory above the start in MB (10^6 bytes)."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block; the result is filled in when it ends.

    Memory is sampled, not traced, so that it works alike on Linux and macOS and slows nothing.
    What earlier work left behind would hide what this needs: it is given back first, where the C
    library can (glibc; elsewhere the peak of a second run in one process may be too low).
    """
    _give_back()
    cost, done = Cost(), threading.Event()
    process = psutil.Process()
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
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def cpu_name() -> str:
    """Name of the processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, name = line.partition(":")
            if key.strip() == "model name":
                return f"{name.strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


def die_with_parent() -> None:
    """End this process and its children as soon as the parent is gone, even killed with -9.

    A watching thread rather than Linux's prctl, so that macOS behaves alike.
    """
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
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", "lmmoe", "notebooks", "params", "Snakefile")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-dirty" if changed else head


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=paths.home(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
