"""Small fitted models and made-up rows for the tests of live detection."""

import json
import os
import signal
import sys
from functools import cache
from itertools import count

import numpy as np
from small import tiny, waves

from lmmoe.live import command
from lmmoe.live.model import Facts, Model

TRAIN = waves(400)
TEST = waves(200, seed=1)
NAMES = ("cpu", "mem", "net", "disk")
DAY = 100.0  # rows


def fitted(name="LightMMoE", **settings):
    return _fitted(name, json.dumps(settings))


@cache
def _fitted(name, settings):
    return tiny(name, **json.loads(settings)).fit(TRAIN)


def model(name="LightMMoE", facts=None, **settings):
    known = {"rows_per_day": DAY, "step": 60.0, "dates": True} | (facts or {})
    return Model(fitted(name, **settings), Facts.of(TRAIN, NAMES, **known))


def stamp(row):
    """The time of a row, one a minute."""
    return (np.datetime64("2024-01-01T00:00:00") + np.timedelta64(60 * row, "s")).item().isoformat()


def csv(rows, start=0, *, header=True):
    """Lines of rows with their times."""
    head = [",".join(("time", *NAMES)).encode()] if header else []
    lines = (",".join([stamp(start + i), *map(repr, r.tolist())]) for i, r in enumerate(rows))
    return head + [line.encode() for line in lines]


def jsonl(rows, start=0):
    made = (
        {"time": stamp(start + i)} | dict(zip(NAMES, row.tolist(), strict=True))
        for i, row in enumerate(rows)
    )
    return [json.dumps(row).encode() for row in made]


def near(live, batch):
    """Whether scores agree to 1e-5, as a share where they are above 1; none is missing."""
    return np.allclose(live, batch, rtol=1e-5, atol=1e-5)


def killed(path, rows, alarms, state, calls):
    """Watch rows sent from the start; die, as by ``kill -9``, after so many calls of functions."""
    left = count()

    def die(frame, event, arg):
        if next(left) == calls:
            os.kill(os.getpid(), signal.SIGKILL)

    source, sink = os.open(rows, os.O_RDONLY), os.open(alarms, os.O_WRONLY | os.O_APPEND)
    options = {"source": source, "sink": sink, "state": state, "threshold": "alarms:40"}
    sys.setprofile(die)
    command.watch_pipe(path, **options, key="host", save_every=0.01)
