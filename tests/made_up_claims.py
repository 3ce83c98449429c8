"""A made-up study of six machines whose averages are what the real one printed, and runs of ours.

Each group has two machines, one a point below the printed group mean and one a point above; so
over the three lower ones every average is one point (in percent) below the whole.
"""

from functools import cache

import pandas as pd

from lmmoe.report import claims
from lmmoe.report import study as studies

LOW = ("machine-1-1", "machine-2-1", "machine-3-1")
HIGH = ("machine-1-2", "machine-2-2", "machine-3-2")
ALL = (*LOW, *HIGH)
COLUMNS = {
    "point_f1": "point_f1_pa",
    "point_precision": "point_precision_pa",
    "point_recall": "point_recall_pa",
    "event_log_f1": "event_f1_pa_log",
    "event_squeeze_f1": "event_f1_pa_squeeze",
}
# Averages of point_f1, event_log_f1, event_squeeze_f1 as printed in the slides; LightMMoE's groups.
AVERAGES = {
    "MTSExample": (93.7, 76.7, 66.4),
    "HMMoE": (93.4, 76.0, 66.0),
    "SmartSimpleAD": (93.1, 70.0, 57.4),
    "CAD": (93.0, 74.3, 63.9),
    "AMAD": (92.6, 71.2, 59.7),
}
LIGHT = {"machine-1": 89.36, "machine-2": 97.8, "machine-3": 93.07}  # mean 93.41


def theirs(name, machine):
    """What the made-up study's run gave, in percent: point_f1, event_log_f1, event_squeeze_f1."""
    step = -1 if machine in LOW else 1
    if name == "LightMMoE":
        return LIGHT[machine.rpartition("-")[0]] + step, 75.42 + step, 64.67 + step
    return tuple(value + step for value in AVERAGES[name])


def study():
    """A table as `lmmoe.report.study.results` gives it."""
    lines = []
    for name in ("LightMMoE", *AVERAGES):
        for machine in ALL:
            point, log, squeeze = theirs(name, machine)
            scores = (point, point, point, log, squeeze)
            lines.append(
                {"detector": name, "machine": machine} | dict(zip(COLUMNS, scores, strict=True))
            )
    return pd.DataFrame(lines).set_index(["detector", "machine"])


def run(detector, entity, value, *, seed=0, settings="{}", **others):
    """A run under the protocol of the study; ``value`` in percent for every score."""
    identity = {"dataset": "smd", "entity": entity, "detector": detector, "protocol": "study"}
    scores = dict.fromkeys(COLUMNS.values(), value / 100)
    return identity | {"seed": seed, "settings": settings} | scores | others


def runs(detector, values, *, seed=0, **others):
    """Runs on several machines: ``values`` in percent by machine."""
    return [run(detector, name, value, seed=seed, **others) for name, value in values.items()]


def copied(name, machines, *, plus=0.0, ours=None, **others):
    """Runs of ours that give the made-up study's Point F1, moved by ``plus`` points."""
    values = {machine: theirs(name, machine)[0] + plus for machine in machines}
    return runs(ours or name, values, **others)


def flat(detector, value, machines=ALL, **others):
    """Runs with the same value, in percent, on all machines."""
    return runs(detector, dict.fromkeys(machines, value), **others)


def frame(*groups):
    return pd.DataFrame([line for group in groups for line in group])


class Judged:
    """The audit of some runs like a table by claim; a line is made when asked for."""

    def __init__(self, *groups, **others):
        self.evidence = claims.Evidence(frame(*groups), **others)
        self.loc = self

    def __getitem__(self, key):
        names, columns = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(names, list):
            return pd.Series([self[name, columns] for name in names], names)
        claim = next(one for one in studies.printed() if one.id == names)
        return pd.Series(claims.judgement(claim, self.evidence), dtype=object)[columns]


judged = Judged


def use(monkeypatch, table):
    """Let a made-up table stand for the results of the study's own runs."""
    monkeypatch.setattr(studies, "results", lambda: table)
    monkeypatch.setattr(studies, "_lookup", cache(studies._lookup.__wrapped__))


def verdicts(table, *names):
    return table.loc[list(names), "verdict"].tolist()


def compressed_models():
    """What ways to make a network smaller keep, as ``compression.csv`` tells it."""
    lines = [
        ("HMMoE", "as it is", "HMMoE", 1000, 0.9),
        ("HMMoE", "pruning", "half of the experts", 400, 0.81),
        ("HMMoE", "pruning", "units, not trained on", 100, 0.1),
        ("HMMoE", "int8", "int8, dynamic", 1000, 0.9),
        ("HMMoE", "distillation", "taught", 300, 0.45),
        ("LightMMoE", "as it is", "LightMMoE", 75, 0.9),
        ("LightMMoE", "pruning", "half of the kernels", 30, 0.1),
        ("", "control", "random", 0, 0.72),
    ]
    names = ["base", "kind", "method", "parameters", "point_f1_pa"]
    return pd.DataFrame(lines, columns=names).assign(entity="m", error=None)
