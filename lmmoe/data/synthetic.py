"""The embedded data set: a small fleet of generated servers, for tests and first steps.

Four servers, 24 channels, one row a minute, no file needed. A few hidden factors (load, disk
traffic, memory, disk usage) drive the channels: days and nights, slow and fast wandering, bursts of
2 or 3 minutes, periodic jobs, a disk that fills and is cleaned up at night. The test half goes on
where the training half ends and drifts a little. `lmmoe.data.synthetic_faults` adds the anomalies.

It is no benchmark. It shows that a detector works and which kind of event it finds. Its sizes were
set so that LightMMoE finds about half and the norm of a row a quarter (average precision): such
numbers say nothing about real servers.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lmmoe.data.series import Floats, Series
from lmmoe.data.synthetic_faults import Fault, Group, Targets, inject, plan
from lmmoe.errors import DataError

DAY = 1440  # rows
HIGHEST = 0.9  # what a row of a burst may add to a factor
LEAST_ROWS = 2000  # of a half: six events, one of each kind, need so many to stay rare


class Server(NamedTuple):
    """What a server is like; heights are in units of the load's daily range."""

    peak: float  # hour of the highest load
    swing: float  # height of the daily cycle
    io: float  # weight of disk traffic
    job: int  # minutes from one periodic job to the next; at most 15, so that 16 rows hold one
    service: str  # what it calls its requests, failures, two delays and workers


SERVERS = {
    "web-1": Server(20, 1.0, 0.7, 10, "requests responses_5xx latency_p50 latency_p99 workers"),
    "db-1": Server(19, 0.9, 1.3, 5, "queries deadlocks query_p50 query_p99 sessions"),
    "cache-1": Server(21, 1.1, 0.5, 15, "gets evictions lookup_p50 lookup_p99 clients"),
    "batch-1": Server(3, 0.7, 1.2, 12, "tasks tasks_failed task_p50 task_p99 slots_busy"),
}


class Channel(NamedTuple):
    """Value = base + unit * (weighted factors + noise + heavy tail)."""

    name: str  # {0} to {4}: the server's own word
    base: float
    unit: float
    weights: dict[str, float]
    noise: float = 0.05  # sd of its own autocorrelated noise
    tail: float = 0.0  # weight of a log-normal part, which makes rare high peaks
    whole: bool = False  # a count: rounded to whole numbers
    most: float = np.inf  # 100 for a percentage that is often high


CHANNELS = (
    Channel("cpu_user", 6, 40, {"load": 1}, most=100),
    Channel("cpu_system", 3, 12, {"load": 0.8, "io": 0.4}),
    Channel("cpu_iowait", 0.5, 6, {"io": 1}, tail=0.01),
    Channel("load_1m", 0.3, 6, {"load": 1, "io": 0.2}),
    Channel("threads", 220, 180, {"lasting_15m": 1}, noise=0.02, whole=True),
    Channel("mem_used", 40, 12, {"memory": 1, "lasting_15m": 0.5}, noise=0.02),
    Channel("mem_cached", 26, 6, {"memory": -0.7, "io": 0.2}, noise=0.03),
    Channel("swap_used", 2, 12, {"memory": 1}, noise=0.02, whole=True),
    Channel("disk_used", 55, 8, {"disk": 1}, noise=0.01),
    Channel("disk_read_sda", 1.5, 30, {"io": 1}, noise=0.06, tail=0.01),
    Channel("disk_write_sda", 4, 22, {"io": 0.9, "load": 0.4}, noise=0.06),
    Channel("disk_util_sda", 5, 45, {"io": 1, "load": 0.2}, noise=0.05, most=100),
    Channel("net_in_eth0", 2, 35, {"load": 1}, noise=0.06),
    Channel("net_out_eth0", 4, 80, {"load": 1}, noise=0.07),
    Channel("tcp_retransmits", 0, 0, {}, noise=0, whole=True),
    Channel("tcp_established", 60, 400, {"lasting_5m": 1}, noise=0.04, whole=True),
    Channel("open_files", 900, 700, {"lasting_5m": 0.8}, whole=True),
    Channel("processes", 182, 2, {"lasting_15m": 2.5}, noise=0.2, whole=True),
    Channel("{0}_rate", 20, 300, {"load": 1}),
    Channel("{1}_rate", 0, 2, {"queue": 0.5}, tail=0.04),
    Channel("{2}", 12, 20, {"queue": 0.6, "io": 0.2}, noise=0.06),
    Channel("{3}", 60, 120, {"queue": 0.7}, tail=0.08),
    Channel("{4}", 4, 30, {"load": 1}, whole=True),
    Channel("release", 41, 0, {}, noise=0),
)
INDEX = {channel.name: i for i, channel in enumerate(CHANNELS)}
RETRANSMITS, RELEASE = INDEX["tcp_retransmits"], INDEX["release"]
PARTS = {part: i for i, part in enumerate(("noise", "bursts", "plan", "faults"))}


class Burst(NamedTuple):
    """Rows ``start`` to ``end`` (excluded), from 0 at the first training row, of extra work."""

    start: int
    end: int
    factor: str  # "load" or "io"
    heights: tuple[float, ...]  # of each row, in units of the factor


def entities(name: str, root: Path) -> list[str]:
    """The servers of the fleet; ``name`` and ``root`` play no part."""
    return list(SERVERS)


def files(name: str, root: Path, entity: str) -> list[Path]:
    """None: the data are generated."""
    return []


def read(name: str, root: Path, entity: str) -> Series:
    """One server with the default seed: 4,000 rows of 24 channels in each half."""
    return generate(entity)


def generate(entity: str, seed: int = 0, rows: int = 4000) -> Series:
    """One server with ``rows`` rows in each half, the same everywhere for the same seed.

    Raises `DataError` for an unknown server, under 2,000 rows, or a seed outside 0 to 2^32 - 1.
    """
    faults = _faults(entity, seed, rows)
    surges = [
        _burst(_random(entity, seed, "faults", 1 + i), rows + fault.start, rows + fault.end)
        for i, fault in enumerate(faults)
        if fault.kind == "duration"
    ]
    random = _random(entity, seed, "noise")
    factors = _factors(SERVERS[entity], rows, [*bursts(entity, seed, rows), *surges], random)
    values = _readings(factors, random)
    train, clean = values[:rows], values[rows:]
    targets = _targets(tuple(surge.factor for surge in surges))
    test, causes = inject(train, clean, faults, targets, _random(entity, seed, "faults"))
    labels = np.zeros(rows, dtype=np.int8)
    for cause in causes:
        labels[cause.start : cause.end] = 1
    return Series.checked(
        dataset="synthetic",
        entity=entity,
        train=_finish(train),
        test=_finish(test),
        labels=labels,
        channels=tuple(c.name.format(*SERVERS[entity].service.split()) for c in CHANNELS),
        causes=causes,
        rows_per_day=DAY,
    )


def kinds(entity: str, seed: int = 0, rows: int = 4000) -> tuple[str, ...]:
    """The kind of each event of `generate`, in the order of its ``events`` and ``causes``."""
    return tuple(fault.kind for fault in _faults(entity, seed, rows))


def bursts(entity: str, seed: int = 0, rows: int = 4000) -> tuple[Burst, ...]:
    """The normal bursts of both halves: 2 or 3 rows each, the test half begins at row ``rows``.

    None touches an event.
    """
    busy = {r for f in _faults(entity, seed, rows) for r in range(rows + f.start, rows + f.end)}
    random = _random(entity, seed, "bursts")
    found, start = [], 30
    while start < 2 * rows - 3:
        end = start + 2 + int(2 * random.random_sample())
        burst = _burst(random, start, end)
        found += [] if busy.intersection(range(start - 1, end + 1)) else [burst]
        start = end + 100 + int(340 * random.random_sample())
    return tuple(found)


def _burst(random: np.random.RandomState, start: int, end: int) -> Burst:
    """A burst as any other but for its length, which its first rows do not tell."""
    factor = "load" if random.random_sample() < 0.5 else "io"
    heights = HIGHEST * (0.25 + 0.75 * random.random_sample(end - start))  # in fits and starts
    return Burst(start, end, factor, tuple(heights))


def _faults(entity: str, seed: int, rows: int) -> tuple[Fault, ...]:
    if entity not in SERVERS:
        raise DataError(f"no generated server {entity!r}", hint=f"There are {', '.join(SERVERS)}")
    if rows < LEAST_ROWS:
        raise DataError(f"{rows} rows are too few", hint=f"Take at least {LEAST_ROWS}")
    if not 0 <= seed < 2**32:
        raise DataError(f"seed {seed} is out of range", hint="Take one from 0 to 2**32 - 1")
    return plan(rows, _random(entity, seed, "plan"))


def _random(entity: str, seed: int, part: str, number: int = 0) -> np.random.RandomState:
    """A stream of its own for each part: more draws in one do not move another."""
    key = [seed, list(SERVERS).index(entity), PARTS[part], number]
    # Not default_rng: numpy's policy (NEP 19) freezes the stream of RandomState for good, while
    # that of Generator may change with any release, and this data set must not.
    return np.random.RandomState(key)  # noqa: NPY002


def _factors(
    server: Server, rows: int, extra: list[Burst], random: np.random.RandomState
) -> dict[str, Floats]:
    """The hidden causes of all readings, each ``(2 * rows,)``, of the order of 1."""
    time = np.arange(2 * rows)
    shocks = random.standard_normal((2 * rows, 4))
    wander = _autoregress(shocks * [0.02, 0.03, 0.03, 0.008], [0.98, 0.6, 0.98, 0.998])
    cycle = np.cos(2 * np.pi * (time / DAY - server.peak / 24))
    # Flat days and nights: a group of channels that shows the other one is off, yet as loud.
    daily = 0.42 + 0.3 * cycle * (1.5 - 0.5 * cycle**2) + 0.06 * time / len(time)
    lasting = np.maximum(server.swing * daily + wander[:, 0] + wander[:, 1], 0.02)
    load = _add(lasting, [burst for burst in extra if burst.factor == "load"])
    job = (time % server.job < 2) * 0.15
    io = np.maximum(0.25 + 0.2 * load + wander[:, 2] + job, 0.02)
    io = server.io * _add(io, [burst for burst in extra if burst.factor == "io"])
    # Bursts are short requests: they hold no memory, connection or thread. Else a long burst would
    # drive what follows slowly out of its usual range, and need no clock to be found.
    smooth = lasting[0] + _autoregress((lasting - lasting[0])[:, None] * [0.3, 0.08], [0.7, 0.92])
    # The disk fills faster under load; each night the clean-up leaves a tenth of the day behind.
    filled = np.cumsum(load) / (0.4 * DAY)
    cleaned = np.maximum(time - (time + 0.3 * DAY) % DAY, 0).astype(int)  # the last clean-up
    return {
        "load": load,
        "lasting_5m": smooth[:, 0],
        "lasting_15m": smooth[:, 1],
        "queue": load**2,  # waiting grows faster than the load
        "io": io,
        "memory": 0.4 + 0.3 * smooth[:, 1] + wander[:, 3],
        "disk": filled - 0.9 * filled[cleaned],
    }


def _add(base: Floats, extra: list[Burst]) -> Floats:
    """A factor ``(2 * rows,)`` with its bursts, those of the training half first in the list.

    A burst in the test half is made smaller where it would go beyond the training half: a long one
    is to stand out by its length alone.
    """
    values, half = base.copy(), len(base) // 2
    for burst in extra:
        rows = slice(burst.start, burst.end)
        room = values[:half].max() - base[rows] if burst.start >= half else HIGHEST
        values[rows] += np.array(burst.heights) * np.clip(room / HIGHEST, 0, 1)
    return values


def _readings(factors: dict[str, Floats], random: np.random.RandomState) -> Floats:
    """All channels ``(t, c)`` without faults."""
    total, width = len(factors["load"]), len(CHANNELS)
    spread = 0.8 + 0.4 * random.random_sample(width)  # no two servers have the same sizes
    steady = _autoregress(0.8 * random.standard_normal((total, width)), np.full(width, 0.6))
    peaks = np.exp(0.8 * random.standard_normal((total, width)))
    values = np.empty((total, width))
    for i, channel in enumerate(CHANNELS):
        driven = sum(weight * factors[name] for name, weight in channel.weights.items())
        signal = driven + channel.noise * steady[:, i] + channel.tail * peaks[:, i]
        values[:, i] = channel.base + channel.unit * spread[i] * signal
    rare = random.random_sample(total)
    values[:, RETRANSMITS] = np.floor(3 * rare**1.5)
    # A new release in the test half is no fault: a trap for those who divide by a tiny deviation.
    values[total // 2 + int(total * (0.1 + 0.3 * random.random_sample())) :, RELEASE] += 1
    return values


def _finish(values: Floats) -> Floats:
    """Counts whole, nothing below 0 or above a limit; four decimals hide a libm's last bits."""
    whole = [channel.whole for channel in CHANNELS]
    values = np.clip(values, 0, [channel.most for channel in CHANNELS])
    values[:, whole] = np.round(values[:, whole])
    return np.round(values, 4)


def _targets(surges: tuple[str, ...]) -> Targets:
    def named(names: str) -> Group:
        return tuple(INDEX[name] for name in names.split())

    def followers(burst: str) -> Group:
        moved = ("load", "queue") if burst == "load" else ("io",)
        pulls = [max(channel.weights.get(factor, 0) for factor in moved) for channel in CHANNELS]
        return tuple(i for i, pull in enumerate(pulls) if pull >= 0.4)

    apart = ("disk_used", "swap_used", "processes")  # a disk does not jump; the others often rest
    fine = [c.weights and not c.tail and c.name not in apart for c in CHANNELS]
    return Targets(
        single=tuple(i for i, fits in enumerate(fine) if fits),
        related=(
            named("cpu_user cpu_system load_1m threads mem_used processes"),
            named("net_in_eth0 net_out_eth0 tcp_established open_files {0}_rate {2} {4}"),
        ),
        leaking=(
            named("cpu_system threads mem_used swap_used processes {2}"),
            named("threads tcp_established open_files processes {2} {4}"),
        ),
        bursting=tuple(followers(surge) for surge in surges),
    )


def _autoregress(shocks: Floats, keep: list[float] | Floats) -> Floats:
    """First-order autoregression ``x[t] = keep * x[t-1] + shocks[t]`` per column, ``(t, k)``.

    Also the exponential moving average, with ``(1 - keep)`` times the input as the shocks.
    """
    keep = np.asarray(keep)
    values = np.empty_like(shocks)
    last = np.zeros(shocks.shape[1])
    for row, shock in enumerate(shocks):
        last = keep * last + shock
        values[row] = last
    return values
