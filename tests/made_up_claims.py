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
COLUMNS = list(claims.SCORES.values())
# Averages of Point F1, Event F1 log and squeeze as printed in the slides; LightMMoE's groups.
AVERAGES = {
    "MTSExample": (93.7, 76.7, 66.4),
    "HMMoE": (93.4, 76.0, 66.0),
    "SmartSimpleAD": (93.1, 70.0, 57.4),
    "CAD": (93.0, 74.3, 63.9),
    "AMAD": (92.6, 71.2, 59.7),
}
LIGHT = {"machine-1": 89.36, "machine-2": 97.8, "machine-3": 93.07}  # mean 93.41


def theirs(name, machine):
    """What the made-up study's run gave, in percent: Point F1, Event F1 log and squeeze."""
    light = LIGHT[machine.rpartition("-")[0]], 75.42, 64.67
    values = light if name == "LightMMoE" else AVERAGES[name]
    return tuple(value + (-1 if machine in LOW else 1) for value in values)


def study():
    """A table as `lmmoe.report.study.results` gives it, in percent."""
    index = pd.MultiIndex.from_product(
        [["LightMMoE", *AVERAGES], ALL], names=["detector", "entity"]
    )
    lines = [(point, point, point, *events) for point, *events in (theirs(*one) for one in index)]
    return pd.DataFrame(lines, index=index, columns=COLUMNS)


def run(detector, entity, value, *, seed=0, settings="{}", **others):
    """A run under the protocol of the study; ``value`` in percent for every score."""
    identity = {"dataset": "smd", "entity": entity, "detector": detector, "protocol": "study"}
    scores = dict.fromkeys(COLUMNS, value / 100)
    return identity | {"seed": seed, "settings": settings} | scores | others


def runs(detector, values, **others):
    """Runs on several machines: ``values`` in percent by machine."""
    return [run(detector, name, value, **others) for name, value in values.items()]


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
    """The audit of some runs; a claim is judged when asked for."""

    def __init__(self, *groups, **others):
        self.evidence = claims.Evidence(rows=frame(*groups), **others)

    def __call__(self, *names):
        """The verdicts."""
        return [self.line(name)["verdict"] for name in names]

    def line(self, name):
        return claims.judgement(studies.printed().loc[name], self.evidence)


def use(monkeypatch, table):
    """Let a made-up table stand for the results of the study's own runs."""
    monkeypatch.setattr(studies, "results", lambda: table / 100)
    monkeypatch.setattr(studies, "averages", cache(studies.averages.__wrapped__))
