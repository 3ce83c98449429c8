"""A fleet's worth of made-up runs: many detectors, of plausible quality and cost."""

import numpy as np
import pandas as pd
from made_up_rows import line

from lmmoe.report import experiment
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.names import LOWER_IS_BETTER

# Detector: mean average precision, seconds to train one entity, microseconds to score a row.
QUALITY = {
    "LightMMoE": (0.38, 12, 40),
    "CAD": (0.40, 9, 35),
    "CAD-as-run": (0.36, 5, 8),
    "CAD-FSE23": (0.37, 20, 70),
    "HMMoE": (0.39, 60, 120),
    "MTSMixer": (0.21, 9, 30),
    "MTSMixerLighter": (0.24, 4, 12),
    "USAD": (0.42, 14, 10),
    "LSTM-AE": (0.41, 45, 90),
    "AMAD": (0.17, 80, 160),
    "AMAD-corrected": (0.30, 80, 150),
    "SmartSimpleAD": (0.33, 0.01, 2),
    "MTSExample": (0.44, 0.02, 0.5),
    "IsolationForest": (0.35, 0.4, 15),
    "random": (0.045, 0.01, 0.05),
    "row index": (0.05, 0.01, 0.05),
    "L2 min-max": (0.37, 0.01, 0.5),
    "range deviation": (0.32, 0.01, 0.6),
    "1-NN": (0.40, 0.03, 900),
    "PCA": (0.49, 0.05, 0.9),
    "PCA windows": (0.48, 0.9, 9),
    "PCA windows EWMA": (0.51, 0.9, 9),
    "last value": (0.12, 0.01, 0.6),
    "moving average": (0.28, 0.01, 0.8),
    "ridge VAR": (0.35, 0.6, 4),
    "k-means": (0.46, 1.5, 3),
    "linear": (0.40, 3, 2),
    "untrained LightMMoE": (0.31, 0.3, 40),
}
SEEDED = {"LightMMoE", "CAD", "CAD-as-run", "HMMoE", "USAD", "LSTM-AE", "AMAD", "random"}


def fleet(detectors=tuple(QUALITY), *, entities=28, seeds=3, protocols=("ours", "study")):
    """Rows of runs; AMAD ran on five entities only, and HMMoE failed once."""
    names = [f"machine-{1 + n // 10}-{1 + n % 10}" for n in range(entities)]
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.13, size=entities)
    lines = []
    for protocol in protocols:
        for detector in detectors:
            for entity, offset in zip(
                names[:5] if detector == "AMAD" else names, hard, strict=False
            ):
                for seed in range(seeds if detector in SEEDED else 1):
                    lines.append(_line(rng, detector, entity, offset, seed, protocol))
    if "HMMoE" in detectors:
        bad = next(n for n, one in enumerate(lines) if one["detector"] == "HMMoE")
        lines[bad] = line("HMMoE", lines[bad]["entity"], None)
    return experiment.ordered(pd.DataFrame(lines))


def _line(rng, detector, entity, offset, seed, protocol):
    quality, seconds, per_row = QUALITY.get(detector, (0.3, 1, 10))
    floor = quality < 0.1
    value = np.clip(quality + (0.2 if floor else 1) * (offset + rng.normal(0, 0.05)), 0.01, 0.99)
    values = dict.fromkeys(COLUMNS, value)
    for metric in COLUMNS:
        if metric in LOWER_IS_BETTER:
            values[metric] = 8 * (1 - value)
        elif "_pa" in metric:
            values[metric] = min(1, 0.78 + 0.3 * value + rng.normal(0, 0.03))
        else:
            values[metric] = min(1, value * rng.uniform(1, 1.2))
    values["average_precision"] = value
    costs = {"train_seconds": seconds * rng.uniform(0.8, 1.2), "score_seconds": per_row / 40}
    costs["test_rows"] = 25_000
    return line(detector, entity, value, seed=seed, protocol=protocol, **values, **costs)
