"""What the experiments might have given, made up: two mistakes, three detectors, three entities."""

import numpy as np
import pandas as pd

from lmmoe.report.pitfalls import Measured
from lmmoe.report.pitfalls.fleet import Panel
from lmmoe.report.pitfalls.together import STEPS, TOGETHER

ENTITIES = ["machine-1-1", "machine-1-2", "machine-2-1"]
# Best F1 without and with point adjustment, by entity.
ADJUSTED = {
    "LightMMoE": ([0.5, 0.6, 0.7], [0.9, 0.8, 1.0]),  # means .6 and .9
    "PCA": ([0.6, 0.7, 0.8], [0.8, 0.8, 0.8]),  # means .7 and .8
    "random": ([0.1, 0.1, 0.1], [0.8, 0.6, 0.7]),  # means .1 and .7
}
# ROC AUC without the first rows, and with zeros there.
ZEROS = {
    "LightMMoE": ([0.4, 0.4, 0.4], [0.4, 0.4, 0.401]),
    "PCA": ([0.5, 0.5, np.nan], [0.5, 0.5, np.nan]),
    "random": ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]),
}


def panel(detector, values):
    rows = {name: np.array([row], dtype=float) for name, row in values.items()}
    groups = ["machine-1", "machine-1", "machine-2"]
    return Panel(detector, ENTITIES, groups, rows, [None] * 3, [[None] * 3])


def measured():
    adjusted = [panel(name, {"100": a, "0": b}) for name, (a, b) in ADJUSTED.items()]
    zeros = [panel(name, {"left out": a, "zeros": b}) for name, (a, b) in ZEROS.items()]
    floors = pd.DataFrame(
        {"constant": {"roc_auc": 0.5, "composite_f1": 0.1}, "PCA": {"roc_auc": 0.8}}
    )
    facts = pd.DataFrame(
        {
            "first_event": [120.0, 300.0],
            "longest_tenth": [0.2, 0.6],
            "median_length": [10.0, 20.0],
            "moving": [8.0, 12.0],
            "1_in_train_alone": [3.0, 5.0],
            "1_in_test_alone": [4.0, 6.0],
            "1_in_both": [1.0, 0.0],
            "1_in_neither": [0.0, 1.0],
        },
        index=["a", "b"],
    )
    panels = {"point adjustment": adjusted, "zeros as first scores": zeros}
    return Measured(panels, floors, facts)


def copied():
    """Point F1 (PA) of baselines that were run by the same rules, and by others."""
    values = {"LightMMoE": (0.8, 0.7), "PCA": (0.9, 0.6), "random": (0.7, 0.75)}
    panels = [
        panel(name, {"same rules": [same] * 3, "other rules": [other] * 3})
        for name, (same, other) in values.items()
    ]
    return Measured({"copied baselines": panels})


def several():
    """F1 with three mistakes added in turn."""
    values = {"LightMMoE": (0.3, 0.5, 0.8, 0.9), "random": (0.0, 0.3, 0.6, 0.7)}
    panels = [
        panel(name, {step: [f1] * 3 for step, f1 in zip(STEPS, row, strict=True)})
        for name, row in values.items()
    ]
    return Measured({TOGETHER.title: panels})


def tried(found, counts=None):
    """What an outcome's settings give: over all entities that count, or as often as drawn."""
    everyone = found.known[None].astype(float) if counts is None else np.array([counts])
    return {name: float(mean(everyone)[0]) for name, mean in found.settings.items()}


def switches():
    """Lines as `lmmoe.report.pitfalls.amad.switches` gives them."""
    values = {"as published": (0.2, 0.4), "all mended": (0.3, 0.6), "random": (0.1, 0.1)}
    return pd.DataFrame(
        [
            {
                "variant": name,
                "entity": entity,
                "seed": 0,
                "average_precision": value,
                "best_f1": value + 0.1,
                "point_f1_pa": 0.9,
            }
            for name, both in values.items()
            for entity, value in zip("ab", both, strict=True)
        ]
    )
