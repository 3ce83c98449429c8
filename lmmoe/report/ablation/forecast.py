"""How well the variants forecast: what they are trained for."""

import numpy as np
import pandas as pd

from lmmoe import paths
from lmmoe.data import Series
from lmmoe.detectors.scaling import Scaling
from lmmoe.report import cache
from lmmoe.report.params import Profile
from lmmoe.report.protocol import PROTOCOLS

PROTOCOL = "ours"  # the other one holds no rows out
FORECASTERS = ("LightMMoE", "untrained LightMMoE", "last value")  # their score is an error


def last_value_error(series: Series) -> float:
    """Mean squared error, in z-scores, of the row before as the forecast.

    On the training rows that the protocol ``ours`` holds out: what every forecaster must beat
    (Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, section 5.2).
    """
    rows = PROTOCOLS[PROTOCOL].train(series)
    scaled = Scaling.z_score(rows)(rows)
    errors = np.zeros(len(rows))
    errors[1:] = (np.diff(scaled, axis=0) ** 2).mean(axis=1)
    return float(PROTOCOLS[PROTOCOL].calibrating(errors).mean())


def forecast_errors(rows: pd.DataFrame, plan: Profile, known: pd.Series | None = None) -> pd.Series:
    """Forecast errors on held-out rows, relative to the last value's, by the key of a run.

    A forecaster's scores of the held-out rows are its squared errors there, so no model is needed.
    They come from the cache, or where a run is no longer there from ``known``; nothing is fitted. 1
    is as good as repeating the last value, 0 is perfect.
    """
    good = rows["error"].isna() & (rows["protocol"] == PROTOCOL)
    chosen = rows[good & rows["detector"].isin(FORECASTERS)]
    found = {} if known is None else known[known.index.isin(chosen["key"])].to_dict()
    for entity, part in chosen[~chosen["key"].isin(list(found))].groupby("entity", sort=False):
        errors = {key: _held_out(key) for key in part["key"]}
        if any(error is not None for error in errors.values()):
            base = last_value_error(plan.load(entity)) or np.nan  # nothing moves: undefined
            found |= {key: error / base for key, error in errors.items() if error is not None}
    return pd.Series(found, name="forecast_error", dtype=float).rename_axis("key")


def _held_out(key: str) -> float | None:
    """Mean score of the held-out rows of a finished run; None where the cache has none."""
    try:
        scores = cache.kept(paths.cache() / key).calibration
    except (OSError, ValueError):
        return None
    return None if scores is None else float(np.mean(scores))
