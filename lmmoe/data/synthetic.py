"""The embedded data set: a small fleet of generated servers, for tests and first steps.

Four servers, 24 channels, one row a minute, no file needed. A few hidden factors (load, disk
traffic, memory, disk usage) drive the channels: days and nights, slow and fast wandering, bursts of
2 or 3 minutes, periodic jobs, a disk that fills and is cleaned up at night. The test half goes on
where the training half ends, drifts a little, and holds anomalies of six kinds. Two are loud, one
grows loud, and three keep each value in its usual range:

- ``spike``: 4 to 7 channels jump, by 3 to 6 standard deviations on average, for 3 to 6 rows.
- ``shift``: 5 to 8 channels move to another level, by 1.5 to 3 standard deviations on average.
- ``relation``: 6 or 7 channels repeat a stretch of the training half instead of following the load.
- ``duration``: a burst as they come and go in 2 or 3 rows, which goes on for 23 rows or more.
- ``stuck``: 1 or 2 channels freeze at their last value.
- ``leak``: 6 channels rise slowly, up to 3.5 to 5 standard deviations on average.

Sizes were set so that LightMMoE has an average precision of about 0.5: it is no benchmark.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lmmoe.data.series import Cause, Floats, Series

Fault = tuple[str, int, int]  # kind, first row of the test half, row after the last

DAY = 1440  # rows
ROWS = 4000  # of a half
HIGHEST = 0.9  # what a row of a burst may add to a factor
# Hour of the highest load, height of the daily cycle, weight of disk traffic, minutes from one
# periodic job to the next (at most 15, so that 16 rows hold one); the server's words for requests,
# failures, two delays and workers.
SERVERS = {
    "web-1": (20, 1.0, 0.7, 10, "requests responses_5xx latency_p50 latency_p99 workers"),
    "db-1": (19, 0.9, 1.3, 5, "queries deadlocks query_p50 query_p99 sessions"),
    "cache-1": (21, 1.1, 0.5, 15, "gets evictions lookup_p50 lookup_p99 clients"),
    "batch-1": (3, 0.7, 1.2, 12, "tasks tasks_failed task_p50 task_p99 slots_busy"),
}
# The anomalies: rows of the test half, end excluded.
EVENTS = {
    "web-1": """spike 299-305, shift 726-738, duration 828-855, stuck 922-933, stuck 1965-1979,
        spike 2790-2794, shift 3057-3069, relation 3129-3159, duration 3285-3308, leak 3812-3854,
        relation 3921-3948""",
    "db-1": """stuck 163-174, spike 675-680, shift 740-754, leak 850-880, duration 1330-1353,
        duration 1501-1526, spike 1683-1688, relation 1853-1880, relation 2001-2027,
        relation 2070-2093, spike 2491-2496, shift 3117-3130, stuck 3325-3336""",
    "cache-1": """spike 106-110, relation 1103-1126, leak 1557-1594, duration 2051-2075,
        stuck 2203-2213, stuck 2741-2751, relation 2895-2913, duration 3002-3028, shift 3183-3197,
        spike 3332-3335, shift 3668-3683""",
    "batch-1": """stuck 203-216, leak 866-937, duration 1152-1179, spike 1260-1263, stuck 1303-1313,
        spike 1362-1365, relation 1420-1440, spike 1623-1626, duration 1678-1705, shift 2365-2381,
        relation 2459-2479, relation 2793-2811, shift 3445-3464""",
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
RESTLESS = 0.5  # sd, from row to row, of how far off a value is; as a share of the mean
BLEND = 4  # rows over which a broken relation fades in and out, so that its edges are no jump

# Which channels a kind of fault may hit: any of SINGLE, each for itself, or a group as a whole.
APART = ("disk_used", "swap_used", "processes")  # a disk does not jump; the others often rest
SINGLE = tuple(
    i for i, c in enumerate(CHANNELS) if c.weights and not c.tail and c.name not in APART
)
GROUPS = {
    "relation": (
        "cpu_user cpu_system load_1m threads mem_used processes",
        "net_in_eth0 net_out_eth0 tcp_established open_files {0}_rate {2} {4}",
    ),
    "leak": (
        "cpu_system threads mem_used swap_used processes {2}",
        "threads tcp_established open_files processes {2} {4}",
    ),
}
FEW = {"spike": (4, 7), "shift": (5, 8), "stuck": (1, 2)}  # channels hit, of SINGLE


def find(name: str, root: Path) -> dict[str, dict[str, Path]]:
    """The servers of the fleet, which have no files; ``name`` and ``root`` play no part."""
    return {entity: {} for entity in SERVERS}


def read(parts: Mapping[str, Path], *, dataset: str, entity: str) -> Series:
    """One server, the same everywhere: 4,000 rows of 24 channels in each half."""
    words = re.findall(r"(\w+) (\d+)-(\d+)", EVENTS[entity])
    faults = [(kind, int(start), int(end)) for kind, start, end in words]
    work = _work(entity, faults)
    values = _readings(entity, work, _random(entity, 0))
    causes = _inject(values, faults, work, _random(entity, 3))
    # Counts whole, nothing below 0 or above a limit; four decimals hide a libm's last bits.
    whole = [channel.whole for channel in CHANNELS]
    values = np.clip(values, 0, [channel.most for channel in CHANNELS])
    values = np.round(np.where(whole, np.round(values), values), 4)
    labels = np.zeros(ROWS, dtype=np.int8)
    for _, start, end in faults:
        labels[start:end] = 1
    own = SERVERS[entity][-1].split()
    known = {"channels": tuple(channel.name.format(*own) for channel in CHANNELS)}
    known |= {"train": values[:ROWS], "test": values[ROWS:], "labels": labels}
    known |= {"causes": causes, "rows_per_day": DAY}
    return Series.checked(dataset=dataset, entity=entity, **known)


def _random(entity: str, part: int, number: int = 0) -> np.random.RandomState:
    """A stream of its own for each part (2 once drew the events): draws in one move no other."""
    # Not default_rng: numpy's policy (NEP 19) freezes the stream of RandomState for good, while
    # that of Generator may change with any release, and this data set must not.
    return np.random.RandomState([0, list(SERVERS).index(entity), part, number])  # noqa: NPY002


# --- normal operation ---


def _work(entity: str, faults: list[Fault]) -> dict[str, Floats]:
    """What bursts of 2 or 3 rows, and those of duration events, add to a factor ``(2 * ROWS,)``."""
    work = {"load": np.zeros(2 * ROWS), "io": np.zeros(2 * ROWS)}
    busy = {ROWS + row for _, start, end in faults for row in range(start, end)}
    random, start = _random(entity, 1), 30
    while start < 2 * ROWS - 3:
        end = start + 2 + int(2 * random.random_sample())
        factor, heights = _burst(end - start, random)
        if busy.isdisjoint(range(start - 1, end + 1)):
            work[factor][start:end] = heights
        start = end + 100 + int(340 * random.random_sample())
    for number, (kind, start, end) in enumerate(faults, start=1):
        if kind == "duration":
            factor, heights = _burst(end - start, _random(entity, 3, number))
            work[factor][ROWS + start : ROWS + end] = heights
    return work


def _burst(rows: int, random: np.random.RandomState) -> tuple[str, Floats]:
    """The factor that a burst drives, and the height of each of its rows."""
    factor = "load" if random.random_sample() < 0.5 else "io"
    return factor, HIGHEST * (0.25 + 0.75 * random.random_sample(rows))  # in fits and starts


def _factors(
    entity: str, work: dict[str, Floats], random: np.random.RandomState
) -> dict[str, Floats]:
    """The hidden causes of all readings, each ``(2 * ROWS,)``, of the order of 1."""
    time, (peak, swing, weight, every, _) = np.arange(2 * ROWS), SERVERS[entity]
    shocks = random.standard_normal((2 * ROWS, 4))
    wander = _autoregress(shocks * [0.02, 0.03, 0.03, 0.008], [0.98, 0.6, 0.98, 0.998])
    cycle = np.cos(2 * np.pi * (time / DAY - peak / 24))
    # Flat days and nights: a group of channels that shows the other one is off, yet as loud.
    daily = 0.42 + 0.3 * cycle * (1.5 - 0.5 * cycle**2) + 0.06 * time / len(time)
    lasting = np.maximum(swing * daily + wander[:, 0] + wander[:, 1], 0.02)
    load = _add(lasting, work["load"])
    job = (time % every < 2) * 0.15
    io = np.maximum(0.25 + 0.2 * load + wander[:, 2] + job, 0.02)
    io = weight * _add(io, work["io"])
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


def _add(base: Floats, work: Floats) -> Floats:
    """A factor with its bursts: in the test half none goes beyond the training half."""
    room = (base[:ROWS] + work[:ROWS]).max() - base
    room[:ROWS] = HIGHEST
    return base + work * np.minimum(room / HIGHEST, 1)


def _readings(entity: str, work: dict[str, Floats], random: np.random.RandomState) -> Floats:
    """All channels ``(2 * ROWS, c)`` without faults."""
    factors = _factors(entity, work, random)
    total, width = 2 * ROWS, len(CHANNELS)
    spread = 0.8 + 0.4 * random.random_sample(width)  # no two servers have the same sizes
    steady = _autoregress(0.8 * random.standard_normal((total, width)), [0.6] * width)
    peaks = np.exp(0.8 * random.standard_normal((total, width)))
    values = np.empty((total, width))
    for i, channel in enumerate(CHANNELS):
        driven = sum(weight * factors[name] for name, weight in channel.weights.items())
        signal = driven + channel.noise * steady[:, i] + channel.tail * peaks[:, i]
        values[:, i] = channel.base + channel.unit * spread[i] * signal
    rare = random.random_sample(total)
    values[:, INDEX["tcp_retransmits"]] = np.floor(3 * rare**1.5)
    # A new release in the test half is no fault: a trap for those who divide by a tiny deviation.
    start = total // 2 + int(total * (0.1 + 0.3 * random.random_sample()))
    values[start:, INDEX["release"]] += 1
    return values


def _autoregress(shocks: Floats, keep: list[float]) -> Floats:
    """First-order autoregression ``x[t] = keep * x[t-1] + shocks[t]`` per column, ``(t, k)``."""
    values, keep, lag = shocks.copy(), np.array(keep), 1
    while lag < len(values):  # each turn doubles how many shocks a row has taken up
        values[lag:] += keep * values[:-lag]
        keep, lag = keep**2, 2 * lag
    return values


# --- anomalies ---


def _inject(
    values: Floats, faults: list[Fault], work: dict[str, Floats], random: np.random.RandomState
) -> tuple[Cause, ...]:
    """Put the faults into the test half of ``values (2 * ROWS, c)``; the cause of each."""
    train, test = values[:ROWS], values[ROWS:]
    sd, causes = train.std(axis=0), []
    for kind, start, end in faults:
        if kind == "duration":  # there already, in all channels that follow the work
            moved = ("load", "queue") if work["load"][ROWS + start] else ("io",)
            pulls = [max(c.weights.get(factor, 0) for factor in moved) for c in CHANNELS]
            channels = tuple(i for i, pull in enumerate(pulls) if pull >= 0.4)
        elif kind in GROUPS:
            names = GROUPS[kind][int(2 * random.random_sample())].split()
            channels = tuple(INDEX[name] for name in names)
        else:
            order = np.argsort(random.random_sample(len(SINGLE)))
            fewest, most = FEW[kind]
            hit = order[: fewest + int((most - fewest + 1) * random.random_sample())]
            channels = tuple(sorted(SINGLE[i] for i in hit))
        causes.append(Cause(start, end, channels))
        place = np.ix_(range(start, end), channels)
        block, scale = test[place], sd[list(channels)]
        if kind == "relation":
            test[place] = _repeat(block, train[:, channels])
        elif kind == "stuck":
            test[place] = test[start - 1, list(channels)]
        elif kind != "duration":
            if kind == "spike":
                step = 3 + 3 * random.random_sample(len(scale))
            elif kind == "leak":
                step = np.linspace(0, 3.5 + 1.5 * random.random_sample(), len(block))[:, None]
            else:
                size = 1.5 + 1.5 * random.random_sample(len(scale))
                sign = np.where(random.random_sample(len(scale)) < 0.5, -1, 1)
                # No reading of a server falls below 0: such a channel moves up instead.
                lowest = (block + (1 + 2 * RESTLESS) * sign * size * scale).min(axis=0)
                step = np.where(lowest < 0, size, sign * size)
            restless = 1 + RESTLESS * np.clip(random.standard_normal(block.shape), -2, 2)
            test[place] = block + scale * step * restless
    return tuple(causes)


def _repeat(block: Floats, train: Floats) -> Floats:
    """A stretch of ``train (t_train, c)`` to stand in for ``block (t, c)``: elsewhere, as loud."""
    # Of those 1.9 to 2.7 standard deviations off without a burst, the one with the mean square
    # z-score nearest to the block's own.
    mean, sd = train.mean(axis=0), train.std(axis=0)
    known, own = (train - mean) / sd, (block - mean) / sd
    starts = np.arange(0, len(train) - len(block), 3)
    stretches = known[starts[:, None] + np.arange(len(block))]  # (starts, t, c)
    distance = np.abs(stretches - own).mean(axis=(1, 2))
    loudness = np.abs((stretches**2).mean(axis=(1, 2)) - (own**2).mean())
    unfit = np.maximum(np.abs(distance - 2.3) - 0.4, 0)
    unfit += np.maximum(np.abs(stretches).max(axis=(1, 2)) - 2.5, 0)
    start = starts[np.argmin(loudness + 100 * unfit)]
    fade = np.minimum(np.arange(1, len(block) + 1), np.arange(len(block), 0, -1)) / (BLEND + 1)
    weight = np.minimum(fade, 1)[:, None]
    return weight * train[start : start + len(block)] + (1 - weight) * block
