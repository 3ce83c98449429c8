"""What work costs: seconds and memory; and where it was done.

*Processor seconds* count only while this process runs: other work hardly changes them.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil

from lmmoe import paths, progress

INTERVAL = 0.01  # seconds between two looks at the memory: shorter peaks go unseen


def each(items: list[str], title: str, unit: str) -> Iterator[str]:
    """Give the items in turn, with progress."""
    with progress.bar(len(items), title, unit=unit) as bar:
        for item in items:
            bar.set_postfix_str(item, refresh=False)
            yield item
            bar.update()


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of ``work``."""
    own, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - own, time.perf_counter() - wall


@contextmanager
def measured() -> Iterator[SimpleNamespace]:
    """Measure the block, and fill in when it ends: wall ``seconds``, and ``peak_mb``.

    That is the peak of resident memory above the start in MB (10^6 bytes), sampled. What earlier
    work left behind is given back first (by glibc; elsewhere a second peak may be too low).
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
