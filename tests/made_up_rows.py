"""Rows of runs, made up."""

import pandas as pd

from lmmoe.report import experiment
from lmmoe.report.evaluation import COLUMNS

COSTS = {"train_seconds": 1.0, "train_peak_mb": 10.0, "score_seconds": 0.1}
COSTS |= {"test_rows": 1000, "parameters": 5}


def line(detector, entity, value, *, seed=0, protocol="ours", dataset="smd", **others):
    """A row whose metrics are all ``value``; None makes it a failed run."""
    identity = {"dataset": dataset, "entity": entity, "detector": detector}
    identity |= {"protocol": protocol, "seed": seed, "settings": "{}", "vus_window": 100}
    if value is None:
        return identity | {"error": "ValueError: too few rows"}
    return identity | dict.fromkeys(COLUMNS, value) | COSTS | others


def frame(*lines):
    return pd.DataFrame(lines).reindex(columns=experiment.ALL)


# Two seeds, two groups of machines, one failed run. By hand, with seeds averaged first:
# machine-1-1: (.2 + .4) / 2 = .3; machine-1-2: .5 alone; machine-2-1: (.8 + 1) / 2 = .9.
def light(protocol="ours"):
    values = {"machine-1-1": (0.2, 0.4), "machine-1-2": (0.5, None), "machine-2-1": (0.8, 1.0)}
    return [
        line("LightMMoE", name, value, seed=seed, protocol=protocol)
        for name, pair in values.items()
        for seed, value in enumerate(pair)
    ]


def chance(protocol="ours"):
    values = {"machine-1-1": 0.1, "machine-1-2": 0.1, "machine-2-1": 0.4}
    return [line("random", name, value, protocol=protocol) for name, value in values.items()]


ROWS = frame(*light(), *chance(), *light("study"), *chance("study"))
