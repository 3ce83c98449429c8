"""The anomalies of the generated fleet: where they lie, what they are, which channels cause them.

Six kinds. Two are loud (``spike``, ``shift``), one grows loud (``leak``), and three keep each value
in its usual range, so that its size does not give them away. As in real incidents most kinds reach
several channels at once, and the loud ones are restless: how far off a value is varies from row to
row.

- ``spike``: 4 to 7 channels jump, by 3 to 6 standard deviations on average, for 3 to 6 rows.
- ``shift``: 5 to 8 channels move to another level, by 1.5 to 3 standard deviations on average.
- ``relation``: 6 or 7 channels (the machine's own or the service's) repeat a stretch of the
  training half instead of following the load. Each of them, and the group for itself, looks normal.
- ``duration``: a burst as they come and go in 2 or 3 rows, which goes on for 23 rows or more.
- ``stuck``: 1 or 2 channels freeze at their last value.
- ``leak``: 6 channels rise slowly, up to 3.5 to 5 standard deviations on average, and are back at
  once when the process restarts.

Axes: t rows, c channels. Lengths are in rows, one a minute.
"""

from typing import NamedTuple

import numpy as np

from lmmoe.data.series import Cause, Floats

Group = tuple[int, ...]

QUIET = 100  # no event before this row of the test half: windows fill there
GAP = 20  # normal rows after an event at least
SHARE = 0.075  # of the rows may be anomalous; the leaks, the longest events, take what is left
# Shortest and longest event of each kind, both included: the others leave a leak its 30 rows.
LENGTHS = {
    "spike": (3, 6),
    "shift": (12, 20),
    "relation": (18, 30),
    "duration": (23, 27),
    "stuck": (10, 14),
    "leak": (30, 80),
}
KINDS = tuple(LENGTHS)
# What comes beyond one event of each kind: the short kinds more often, as faults do.
MORE = ("relation", "duration", "spike", "shift", "stuck", "spike", "relation", "leak")
RESTLESS = 0.5  # sd, from row to row, of how far off a value is; as a share of the mean
BLEND = 4  # rows over which a broken relation fades in and out, so that its edges are no jump


class Fault(NamedTuple):
    """One event: rows ``start`` to ``end`` (excluded) of the test half."""

    kind: str
    start: int
    end: int


class Targets(NamedTuple):
    """Which channels (indices from 0) a kind of fault may hit.

    ``single``: any of these, each for itself (spike, shift, stuck); ``related`` and ``leaking``:
    one of these groups as a whole; ``bursting``: the channels of the duration events, in order.
    """

    single: Group
    related: tuple[Group, ...]
    leaking: tuple[Group, ...]
    bursting: tuple[Group, ...]


def plan(rows: int, random: np.random.RandomState) -> tuple[Fault, ...]:
    """Place the events in a test half of ``rows`` rows, in order of time, none overlapping.

    About 12 events in 4,000 rows, at least one of each kind.
    """
    count = max(len(KINDS), rows * (10 + int(4 * random.random_sample())) // 4000)
    extra = count - len(KINDS)
    kinds = KINDS + (MORE * (1 + extra // len(MORE)))[:extra]
    kinds = [kinds[i] for i in np.argsort(random.random_sample(count))]
    lengths = _lengths(kinds, rows, random)
    free = rows - QUIET - sum(lengths) - GAP * count
    offsets = QUIET + (free * np.sort(random.random_sample(count))).astype(int)
    faults, taken = [], 0
    for kind, length, offset in zip(kinds, lengths, offsets, strict=True):
        start = int(offset) + taken
        faults.append(Fault(kind, start, start + length))
        taken += length + GAP
    return tuple(faults)


def _lengths(kinds: list[str], rows: int, random: np.random.RandomState) -> list[int]:
    lengths = [_between(LENGTHS[kind], random) for kind in kinds]
    others = sum(length for kind, length in zip(kinds, lengths, strict=True) if kind != "leak")
    most = int(SHARE * rows - others) // kinds.count("leak")
    return [min(n, most) if k == "leak" else n for k, n in zip(kinds, lengths, strict=True)]


def inject(
    train: Floats,
    test: Floats,
    faults: tuple[Fault, ...],
    targets: Targets,
    random: np.random.RandomState,
) -> tuple[Floats, tuple[Cause, ...]]:
    """The test half ``(t, c)`` with the faults in it, and the cause of each fault.

    Duration events must be in ``test`` already, for a burst reaches all channels that follow the
    load; here they only get their cause. ``train`` gives scales and the stretches to repeat.
    """
    test, sd = test.copy(), train.std(axis=0)
    bursting = iter(targets.bursting)
    causes = []
    for fault in faults:
        channels = next(bursting) if fault.kind == "duration" else _hit(fault, targets, random)
        place = np.ix_(range(fault.start, fault.end), channels)
        block, scale = test[place], sd[list(channels)]
        if fault.kind in ("spike", "shift"):
            step = _step(fault.kind, block, scale, random)
            test[place] = block + scale * step * _restless(block, random)
        elif fault.kind == "relation":
            test[place] = _repeat(block, train[:, channels])
        elif fault.kind == "stuck":
            test[place] = test[fault.start - 1, list(channels)]
        elif fault.kind == "leak":
            ramp = np.linspace(0, _uniform((3.5, 5), random), len(block))[:, None]
            test[place] = block + scale * ramp * _restless(block, random)
        causes.append(Cause(fault.start, fault.end, channels))
    return test, tuple(causes)


def _hit(fault: Fault, targets: Targets, random: np.random.RandomState) -> Group:
    if fault.kind in ("relation", "leak"):
        groups = targets.related if fault.kind == "relation" else targets.leaking
        return groups[int(len(groups) * random.random_sample())]
    few = {"spike": (4, 7), "shift": (5, 8), "stuck": (1, 2)}[fault.kind]
    order = np.argsort(random.random_sample(len(targets.single)))[: _between(few, random)]
    return tuple(sorted(targets.single[i] for i in order))


def _step(kind: str, block: Floats, scale: Floats, random: np.random.RandomState) -> Floats:
    """How far each channel of ``block (t, c)`` jumps, ``(c,)``, in standard deviations."""
    if kind == "spike":
        return 3 + 3 * random.random_sample(len(scale))
    size = 1.5 + 1.5 * random.random_sample(len(scale))
    sign = np.where(random.random_sample(len(scale)) < 0.5, -1, 1)
    # No reading of a server falls below 0: such a channel moves up instead.
    lowest = (block + (1 + 2 * RESTLESS) * sign * size * scale).min(axis=0)
    return np.where(lowest < 0, size, sign * size)


def _repeat(block: Floats, train: Floats) -> Floats:
    """A stretch of ``train (t_train, c)`` to stand in for ``block (t, c)``.

    Of the stretches that lie 1.9 to 2.7 standard deviations off and hold no burst it takes the one
    whose mean square z-score is nearest to the block's own: elsewhere, but as loud. Clipped to the
    training range.
    """
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
    mixed = weight * train[start : start + len(block)] + (1 - weight) * block
    return np.clip(mixed, train.min(axis=0), train.max(axis=0))


def _restless(block: Floats, random: np.random.RandomState) -> Floats:
    """A factor about 1 for each value of ``block (t, c)``, cut at two deviations: 0 to 2."""
    return 1 + RESTLESS * np.clip(random.standard_normal(block.shape), -2, 2)


def _uniform(bounds: tuple[float, float], random: np.random.RandomState) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * random.random_sample()


def _between(bounds: tuple[int, int], random: np.random.RandomState) -> int:
    """A whole number, both ends included."""
    return bounds[0] + int((bounds[1] - bounds[0] + 1) * random.random_sample())
