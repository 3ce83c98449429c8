"""Small made-up series and detectors that fit them in a blink."""

import re

import numpy as np
import pytest

from lmmoe import detectors
from lmmoe.data import Cause, Series
from lmmoe.detectors.baselines import MTSExample
from lmmoe.report.profile import Profile

LIGHT = {"window": 8, "experts": 2, "kernels": 2, "hidden": 8, "out": 4, "tower": 3}
LIGHT |= {"epochs": 2, "batch": 64}
# Settings that make a detector quick; the others are quick as they are.
DEEP = LIGHT | {"kernels": [2, 3], "hidden": [8, 6], "tower": [4, 3]}
QUICK = {
    "CAD": LIGHT,
    "CAD-FSE23": LIGHT,
    "HMMoE": DEEP,
    "LightMMoE": LIGHT,
    "untrained LightMMoE": LIGHT | {"epochs": 0},
}
# Those that take long at their own settings: for tests of what every detector promises.
BRIEF = {"window": 8, "epochs": 2}
TINY = QUICK | {
    "AMAD": {"window": 16, "epochs": 1},
    "AMAD-corrected": {"window": 16, "epochs": 1},
    "CAD-as-run": BRIEF | {"examples": 100},
    "IsolationForest": {"trees": 10},
    "LSTM-AE": BRIEF | {"hidden": 8},
    "MTSMixer": BRIEF,
    "OmniAnomaly": BRIEF | {"hidden": 8, "flows": 2, "scored": 4, "stride": 4},
    "MTSMixerLighter": BRIEF,
    "USAD": BRIEF | {"latent": 4},
}
FOREIGN = "pyod.models.ecod.ECOD"  # another package's, whose model no file of ours can hold


def make(name, **settings):
    return detectors.detector(name, **(QUICK.get(name, {}) | settings))


def tiny(name, **settings):
    return detectors.detector(name, **(TINY.get(name, {}) | settings))


def waves(rows=300, channels=4, seed=0, noise=0.1):
    """Sines of several phases and heights, with noise: ``(rows, channels)``."""
    time = np.arange(rows)[:, None] / 25
    number = np.arange(channels)
    noises = np.random.default_rng(seed).normal(0, noise, (rows, channels))
    return (1 + number) * (np.sin(2 * np.pi * time + number) + noises) + 10 * number


def series(rows=300, channels=4, **changes):
    """Waves with two labelled events in the test half, the first with its causes."""
    test = waves(rows, channels, seed=1)
    labels = np.zeros(rows, dtype=int)
    for start, end in ((rows // 3, rows // 3 + 20), (rows // 2, rows // 2 + 5)):
        test[start:end, 0] += 5
        labels[start:end] = 1
    given = {
        "dataset": "made-up",
        "entity": "pump-1",
        "train": waves(rows, channels),
        "test": test,
        "labels": labels,
        "causes": (Cause(rows // 3, rows // 3 + 20, (0,)),),
    }
    return Series.checked(**(given | changes))


def failing(monkeypatch, error):
    """Let the L2 norm fail when it scores."""

    def fails(self, rows):
        raise error

    monkeypatch.setattr(MTSExample, "_score", fails)


def told(error, *parts):
    """An error whose message holds all ``parts``, in this order."""
    return pytest.raises(error, match=".*".join(re.escape(part) for part in parts))


class TwoSeries(Profile):
    """A profile whose data are two made-up series."""

    @property
    def present(self):
        return ["m1", "m2"]

    def load(self, entity):
        return series(entity=entity)
