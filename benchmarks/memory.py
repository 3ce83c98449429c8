"""Memory that training LightMMoE on one machine needs beyond the imports.

Each run is a process of its own. Beyond the imports means: the highest resident memory that the
process ever had, less what it had when all was imported and no row had been read. Beside it: after
a first small fit, which loads what is loaded late; and the windows copied out, as a DataLoader of
them would hold them.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Figures, Row, Spread, in_turn, machine

THREADS = ("one", "all")
MOST = 150.0
MB = 1e6
SMALL = 300  # rows of the first small fit


def rows(*, quick: bool) -> Iterator[Row]:
    """As it comes, after a small fit, and the windows copied out."""
    given = machine()
    train = given.train[:2000] if quick else given.train
    with TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "train.npy"
        np.save(file, train)
        programs = {kind: _program(kind, file) for kind in ("plain", "warm", "copied")}
        found = in_turn(programs, 1 if quick else 3, warm=False)
    copied = Spread.of(found["copied"]["peak"])
    for kind, what in (("plain", "beyond the imports"), ("warm", "beyond a first small fit")):
        peak = Spread.of(found[kind]["peak"])
        yield Row(
            what=f"memory of training LightMMoE, {what}",
            unit="MB",
            ours=peak,
            yardstick="all windows copied out, without any training",
            theirs=copied,
            compared=peak,
            bound=("at most", MOST) if kind == "plain" else None,
            remarks={
                "rows": f"{given.name}, {train.shape}",
                "the process with its imports, MB": Spread.of(found[kind]["start"]),
            },
        )


def _program(kind: str, file: Path) -> Callable[[int], Figures]:
    def run(turn: int) -> Figures:
        words = [sys.executable, "-m", "benchmarks.memory", kind, str(file)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    return run


def measured(kind: str, file: Path) -> Figures:
    """Train, or only copy windows out, in this process: MB at the start, and MB more at most."""
    from benchmarks.training import loader
    from lmmoe.detectors import detector
    from lmmoe.detectors.scaling import Scaling

    made = detector("LightMMoE", epochs=2)  # a second epoch brings nothing new
    if kind == "warm":
        detector("LightMMoE", epochs=1).fit(np.random.default_rng(0).normal(size=(SMALL, 38)))
    start = resident()
    train = np.load(file, allow_pickle=False)
    if kind == "copied":
        kept = loader(Scaling.of("z-score", train)(train), "LightMMoE")
        assert len(kept.dataset)
    else:
        made.fit(train)
    return {"start": start / MB, "peak": (highest() - start) / MB}


def resident() -> int:
    """Bytes of memory that this process has now."""
    import psutil

    return psutil.Process().memory_info().rss


def highest() -> int:
    """Bytes of memory that this process had at most.

    Linux tells it of the program alone; getrusage, for the rest, of what was there before it too.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))
