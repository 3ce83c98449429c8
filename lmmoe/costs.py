"""What a piece of work costs: seconds, and memory above what was in use before."""

import ctypes
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

INTERVAL = 0.01  # seconds between two looks at the memory: shorter peaks go unseen


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
