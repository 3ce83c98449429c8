"""Does a watch last? Rows at full speed for as long as one likes, and lines that make no sense.

    python -m benchmarks.soak --seconds 3600 --lines 100000 --out soak.json
    python -m benchmarks.soak --entities 500 [--each]

The soak lets a watch read rows as fast as it can, a few of them faulty, with its state saved and
its metrics served now and then; memory is looked at all the while. The fuzz feeds lines that were
made wrong on purpose (cut, flipped, joined, of other types, of random bytes) to several watches.
Neither may raise, every alarm must be JSON, and the counts must add up to the rows. The third form
measures memory, start-up and rows a second of many machines in one process, with a model for all or
one each.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import psutil

from lmmoe import detector, live, paths, progress
from lmmoe.live.model import Models
from lmmoe.live.serving import Metrics, Store
from lmmoe.live.watch import Watch

CHANNELS, STEP = 38, 60.0
START = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = tuple(f"c{number}" for number in range(CHANNELS))
WATCHED = ("LightMMoE", "PCA windows EWMA", "MTSExample")  # in the fuzz
FINITE = ("window", "held", "centres")  # parts of a state
PAUSE = 2000  # rows between two savings of the state
LOOKS = 100  # at the memory, and steps of the bar


def rows(count: int, seed: int) -> np.ndarray:
    """Daily and hourly waves with noise: ``(count, 38)``."""
    rng = np.random.default_rng(seed)
    times = np.arange(count)[:, None]
    period = np.where(np.arange(CHANNELS) % 2, 1440.0, 60.0)
    phase = rng.uniform(0, 2 * np.pi, CHANNELS)
    waves = np.sin(2 * np.pi * times / period + phase)
    return waves + 0.1 * rng.normal(size=(count, CHANNELS))


def model(name: str, **settings: object) -> live.Model:
    """A detector fitted on two days of such rows."""
    train = rows(2880, seed=0)
    facts = live.Facts.of(train, NAMES, step=STEP, dates=True, rows_per_day=1440.0)
    return live.Model(detector(name, **settings).fit(train), facts)


def faulty(seed: int) -> Iterator[bytes]:
    """Lines without end: rows of which about 1 in 100 has a fault, and incidents."""
    rng, values = random.Random(seed), rows(14_400, seed=1)
    yield ("time," + ",".join(NAMES)).encode()
    minute = 0
    while True:
        minute += rng.choice([1] * 397 + [2, 5, 40])
        cells = [f"{value:.6g}" for value in values[minute % len(values)]]
        if minute % 1000 < 10:
            cells[3] = "25"
        if rng.random() < 0.005:
            cells[rng.randrange(CHANNELS)] = rng.choice(["", "nan", "inf", "-1e300", "text"])
        line = ",".join([(START + timedelta(minutes=minute % 10**8)).isoformat(), *cells])
        yield line[: rng.randrange(len(line))].encode() if rng.random() < 0.002 else line.encode()


def soak(seconds: float, seed: int = 0) -> dict[str, object]:
    """Watch for so long; give the rows, and the memory (MB) from the first tenth of it on."""
    made = Watch(model("LightMMoE", epochs=1), tell=_nobody, threshold="pot", accept_after=1440)
    again = Watch(made.only.model, tell=_nobody, threshold="pot", accept_after=1440)
    memory, alarms, looked = [], 0, 0
    process = psutil.Process()
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        progress.bar(LOOKS, f"{seconds:.0f} s of rows", unit="%") as bar,
        Metrics(made, 0) as server,
    ):
        store = Store(Path(folder, "state"), made)
        for number, line in enumerate(faulty(seed)):
            alarms += _opened(made, line)
            if number % PAUSE == 0:
                store.save()
                _served(made, server.server_port)
            spent = time.perf_counter() - began
            if spent * LOOKS / seconds > looked:
                looked += 1
                bar.update()
                memory.append(process.memory_info().rss / 1e6)
            if spent > seconds:
                break
        store.save()
        store.close()
        Store(Path(folder, "state"), again).close()
    _add_up(made, alarms)
    late = memory[len(memory) // 10 :]
    return {
        "seconds": spent,
        "rows": made.only.rows,
        "rows_per_second": made.only.rows / spent,
        "alarms": alarms,
        "memory_mb": [late[0], max(late), late[-1]],
        "growth_mb": float(np.median(late[-10:]) - np.median(late[:10])),
        "report": made.report(),
        "state_goes_on": again.report() == made.report(),
    }


def _served(made: Watch, port: int) -> None:
    """Ask for the metrics as Prometheus does; `AssertionError` where they are not the watch's."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        if (
            f'lmmoe_rows_total{{entity=""}} {float(made.only.rows)}'
            not in answer.read().decode().splitlines()
        ):
            raise AssertionError(f"the metrics do not tell of {made.only.rows} rows")


def _add_up(made: Watch, alarms: int) -> None:
    """Raise `AssertionError` where the counts of a watch do not fit."""
    one = made.only
    taken = one.rows - one.counts["skipped"].total()
    if one.stream.rows != taken or alarms != one.alarms or one.scored < 0:
        raise AssertionError(made.report())


def _opened(made: Watch, line: bytes) -> int:
    """Feed a line; give the alarms that open, all of whose events must be JSON."""
    events = json.loads(json.dumps(made.feed(line), allow_nan=False))
    return sum(event["event"] == "opened" for event in events)


def _nobody(text: str) -> None:
    """Nobody listens."""


def _text(cell: object) -> str:
    """Write a cell as CSV has it; Python refuses whole numbers of thousands of digits."""
    return "1" + "0" * 400 if isinstance(cell, int) and cell > 1e300 else str(cell)


class Fuzzer:
    """Makes lines wrong, by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.values, self.minute = rows(500, seed=2), 0

    def line(self) -> bytes:
        """Give a line: a row in one of its forms, in some of the cases changed afterwards."""
        forms = [self._csv] * 8 + [self._json] * 8 + [self._header] * 2
        made = self.rng.choice(forms)()
        for _ in range(self.rng.choice([0] * 7 + [1, 1, 4])):
            made = self.rng.choice(
                [self._cut, self._flip, self._double, self._noise, self._swap, self._stay]
            )(made)
        return made.replace(b"\n", b" ")

    def _cells(self) -> list[object]:
        cells = [float(value) for value in self.rng.choice(self.values)]
        for _ in range(self.rng.choice([0] * 6 + [1, 1, 3, CHANNELS])):
            cells[self.rng.randrange(CHANNELS)] = self._odd()
        return cells[: self.rng.choice([CHANNELS] * 60 + [0, 1, CHANNELS - 1])]

    def _odd(self) -> object:
        odd = [None, "", "nan", "inf", "-inf", "1e999", "text", "\u0661", "0x1F", "1_0", True]
        odd += [1e300, -1e300, 5e-324, 10**400, [1], {"a": 1}, "9" * 5000, "\u0000", '"', "1,5"]
        return self.rng.choice(odd)

    def _time(self) -> object:
        self.minute += self.rng.choice([1] * 300 + [0, -3, 2, 9])
        known = START + timedelta(minutes=self.minute)
        times = [known.isoformat()] * 80 + [
            known.timestamp(),
            None,
            "noon",
            1e308,
            -1,
            "0001-01-01",
        ]
        return self.rng.choice([*times, "9999-12-31T23:59:59+00:00", True, [], "2024-13-01"])

    def _csv(self) -> bytes:
        return ",".join(map(_text, [self._time(), *self._cells()])).encode(errors="replace")

    def _json(self) -> bytes:
        names = [*NAMES, "new"] if self.rng.random() < 0.1 else NAMES
        row = {"time": self._time()} | dict(zip(names, self._cells(), strict=False))
        return json.dumps(row).encode()

    def _header(self) -> bytes:
        names = list(NAMES) + ["time", "label", "new", "c1"]
        if self.rng.random() < 0.98:
            names = ["time", *NAMES]
        else:
            self.rng.shuffle(names)
        return ",".join(names).encode()

    def _cut(self, line: bytes) -> bytes:
        return line[: self.rng.randrange(len(line) + 1)]

    def _flip(self, line: bytes) -> bytes:
        changed = bytearray(line)
        for _ in range(self.rng.choice([1, 2, 20])):
            if changed:
                changed[self.rng.randrange(len(changed))] = self.rng.randrange(256)
        return bytes(changed)

    def _double(self, line: bytes) -> bytes:
        return line + self.rng.choice([b"", b",", b" "]) + line

    def _noise(self, line: bytes) -> bytes:
        return self.rng.randbytes(self.rng.choice([1, 10, 1000]))

    def _swap(self, line: bytes) -> bytes:
        cells = line.split(b",")
        self.rng.shuffle(cells)
        return b",".join(cells)

    def _stay(self, line: bytes) -> bytes:
        return line


def fuzz(lines: int, seed: int = 0) -> dict[str, object]:
    """Feed so many odd lines, in equal parts to watches with several detectors."""
    reports = {}
    for number, name in enumerate(WATCHED):
        fuzzer, alarms = Fuzzer(seed + number), 0
        settings = {"epochs": 1} if name == "LightMMoE" else {}
        made = Watch(model(name, **settings), tell=_nobody, threshold="pot", accept_after=50)
        for _ in range(lines // len(WATCHED)):
            alarms += _opened(made, fuzzer.line())
        _add_up(made, alarms)
        if not all(np.isfinite(getattr(made.only.stream, part)).all() for part in FINITE):
            raise AssertionError(f"{name}: a state that is not finite")
        reports[name] = made.report()
    return {"lines": lines, "reports": reports}


def many(entities: int, *, each: bool) -> dict[str, float]:
    """Watch so many machines for an hour of rows, with a model for all or one each."""
    import subprocess
    import sys

    with tempfile.TemporaryDirectory() as folder:
        path = model("ThreeViews").save(Path(folder, "0.safetensors"))
        for number in range(1, entities if each else 1):
            os.link(path, path.with_name(f"{number}.safetensors"))
        code = "from benchmarks.soak import one_hour; one_hour(*__import__('sys').argv[1:])"
        words = [sys.executable, "-c", code, folder if each else str(path), str(entities)]
        return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def one_hour(path: str, entities: str) -> None:
    """Print what an hour of rows of so many machines takes in this process: processor time."""
    minutes = max(5, min(60, 30_000 // int(entities)))
    process, values = psutil.Process(), rows(minutes, seed=1)
    cells = [",".join(f"{value:.6g}" for value in row) for row in values]
    made = Watch(Models(path), key="host", tell=_nobody)
    made.feed(("time,host," + ",".join(NAMES)).encode())
    marks = []
    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder, "s"), made)) as store:
        for minute, text in enumerate(cells):
            when = (START + timedelta(minutes=minute)).isoformat()
            for number in range(int(entities)):
                made.feed(f"{when},{number},{text}".encode())
            marks.append(time.process_time())
        store.save()
        saved = time.process_time() - marks[-1]
        size = os.path.getsize(Path(folder, "s"))
    print(
        json.dumps(
            {
                "memory_mb": process.memory_info().rss / 1e6,
                "first_rows_s": marks[0],  # with the start, and all models read
                "rows_per_second": (minutes - 1) * int(entities) / (marks[-1] - marks[0]),
                "save_s": saved,
                "state_mb": size / 1e6,
            }
        )
    )


def main() -> None:
    """Run both and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600.0, help="of the soak (default: 3600)")
    parser.add_argument("--lines", type=int, default=100_000, help="of the fuzz (default: 100000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--growth", type=float, default=5.0, help="MB that memory may grow by")
    parser.add_argument("--entities", type=int, help="only measure so many machines in a process")
    parser.add_argument("--each", action="store_true", help="with a model each")
    parser.add_argument("--out", type=Path, help="write the result there, as JSON")
    options = parser.parse_args()
    if options.entities:
        print(json.dumps(many(options.entities, each=options.each), indent=2))
        return
    with np.errstate(all="ignore"):
        found = {"fuzz": fuzz(options.lines, options.seed)}
        found["soak"] = soak(options.seconds, options.seed)
    text = json.dumps(found, indent=2)
    print(text)
    if options.out:
        with paths.replacing(options.out) as part:
            part.write_text(text + "\n", encoding="utf-8")
    if found["soak"]["growth_mb"] > options.growth or not found["soak"]["state_goes_on"]:
        raise SystemExit("the soak failed: memory has grown, or the saved state does not go on")


if __name__ == "__main__":
    main()
