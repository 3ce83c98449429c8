"""A whole ablation's runs, made up: plausible numbers for every variant of the committed plan."""

import json

import numpy as np
import pandas as pd
from made_up_rows import line

from lmmoe.detectors import entry
from lmmoe.report import experiment
from lmmoe.report.ablation import named, variants
from lmmoe.report.evaluation import COLUMNS

NINE = [f"machine-{group}-{number}" for group in (1, 2, 3) for number in (1, 2, 3)]
# Label: how far its average precision lies from the full model's, forecast error, seconds.
MOVED = {
    "LightMMoE": (0.0, 0.55, 10),
    "untrained LightMMoE": (0.05, 1.9, 0.5),
    "MTSExample": (0.05, 1.9, 0.02),
    "last value": (-0.09, 1.0, 0.02),
    "random": (-0.34, 1.0, 0.02),
}


def ablation_rows(plan=None, *, entities=tuple(NINE), seeds=1, dataset="smd"):
    """Rows of a plan, and its forecast errors by key."""
    plan = plan or named("ablation")
    rng = np.random.default_rng(0)
    lines, errors = [], {}
    for one in variants(plan).itertuples():
        drawn = rng.normal(0, 0.02), rng.uniform(0.4, 0.9), rng.uniform(3, 30)
        moved, error, seconds = MOVED.get(one.Index, drawn)
        for protocol in plan.protocols:
            for number, entity in enumerate(entities):
                for seed in range(seeds if entry(one.detector).cls.seeded else 1):
                    value = np.clip(0.2 + 0.05 * number + moved + rng.normal(0, 0.02), 0.01, 1)
                    key = f"{one.Index} {protocol} {entity} {seed}"
                    lines.append(_line(one, protocol, entity, seed, value, seconds, key, dataset))
                    if protocol == "ours" and one.detector != "MTSExample" != "random":
                        errors[key] = error * rng.uniform(0.8, 1.2)
    return experiment.ordered(pd.DataFrame(lines)), pd.Series(errors, name="forecast_error")


def _line(one, protocol, entity, seed, value, seconds, key, dataset):
    settings = json.loads(one.settings)
    size = 58_000 * settings.get("experts", 4) * settings.get("kernels", 8) / 8
    given = dict.fromkeys(COLUMNS, min(1.0, 0.7 + 0.4 * value)) | {"average_precision": value}
    given |= {"vus_pr": min(1.0, 1.1 * value), "settings": one.settings, "key": key}
    given |= {"train_seconds": seconds, "parameters": round(size)}
    found = line(one.detector, entity, value, seed=seed, protocol=protocol, dataset=dataset)
    return found | given
