"""The scores of every detector on two small series, as they were when its version was declared.

Who changes a detector's scores raises ``version`` of its class, since results are kept under it,
and renews the file, which this module does as a program: ``python tests/test_golden.py``. The
difference of `golden.json` then shows which detectors changed.
"""

import json
from pathlib import Path

import pytest

import lmmoe
from lmmoe import detectors, metrics

FILE = Path(__file__).with_name("golden.json")
SERIES = {"web-1": 1200, "cache-1": 700}  # synthetic; so many of their rows
TOLERANCE = 1e-6  # of the mean, the deviation and the highest score


def shortened(entity):
    """The first training rows, and test rows that begin before the first event."""
    given, rows = lmmoe.load("synthetic", entity), SERIES[entity]
    first = max(0, given.events[0][0] - rows // 3)
    part = slice(first, first + rows)
    return given.train[:rows], given.test[part], given.labels[part]


def measured(name):
    """Version, settings, and what the scores are on each series."""
    found = {"version": detectors.entry(name).cls.version}
    for entity in SERIES:
        train, test, labels = shortened(entity)
        made = lmmoe.detector(name)
        if getattr(made, "epochs", 0) > 2:
            made = lmmoe.detector(name, epochs=2)
        scores = made.fit(train).decision_function(test)
        found[entity] = {
            "mean": float(scores.mean()),
            "std": float(scores.std()),
            "highest": float(scores.max()),
            "training": float(made.decision_scores_.mean()),
            "ap": float(metrics.average_precision(labels=labels, scores=scores)),
        }
    return found | {"settings": lmmoe.detector(name).settings}


def test_scores_are_those_of_the_declared_version():
    known = json.loads(FILE.read_text(encoding="utf-8"))
    assert sorted(known) == sorted(detectors.names())
    for name, expected in known.items():
        found = measured(name)
        assert (found["version"], found["settings"]) == (expected["version"], expected["settings"])
        for entity in SERIES:
            assert found[entity] == pytest.approx(expected[entity], rel=TOLERANCE, abs=1e-9), (
                f"{name} scores {entity} otherwise: raise its version, and renew this file"
            )


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    new = {name: measured(name) for name in detectors.names()}
    lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in new.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
