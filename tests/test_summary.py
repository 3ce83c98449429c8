"""The answer of a report: one rule, and what stands beside."""

import numpy as np
import pandas as pd
import pytest
from small import series

from lmmoe.report import names, summary, tables

COLUMNS = ["average_precision", *names.OPERATORS, "train_seconds"]
HONEST = pd.DataFrame(
    {
        "AMAD": [0.9, np.nan, np.nan, np.nan, 9],  # sees later rows
        "untrained LightMMoE": [0.8, 0.9, 1, 0.01, 1],
        "PCA windows EWMA": [0.6, 0.5, 1, 0.01, 2],  # the highest that can be taken
        "PCA windows": [0.5, 0.6, 1, 0.01, 3],
        "LightMMoE": [0.55, 0.6, 1, 0.01, 2],  # within the interval, announces most
        "linear": [0.49, 0.99, 1, 0.01, 1],  # below it
        "random": [0.05, 0.01, 1, 0.01, 0],
    },
    index=COLUMNS,
).T


def test_the_rule_of_recommendation():
    values = pd.DataFrame([HONEST["average_precision"]] * 3)
    values["LightMMoE"] = [0.9, 0.1, 0.65]  # .05 below the best on average, and once far above
    ranked = summary.ranked(HONEST, values)
    assert list(ranked.index) == ["LightMMoE", "PCA windows EWMA", "PCA windows", "linear"]
    chosen = summary.chosen(HONEST, ranked)
    assert list(chosen.index) == ["LightMMoE", "PCA windows EWMA", "random"]
    shown = tables.readable(chosen, COLUMNS).loc["LightMMoE"]
    assert shown.tolist() == ["0.550", "60%", "1.00", "1.0%", "2"]
    unknown = HONEST.assign(announced=np.nan)  # the order of average precision
    assert list(summary.ranked(unknown, values).index)[:2] == ["PCA windows EWMA", "LightMMoE"]
    blind = values.assign(random=[0.9, 0.1, 0.65])  # chance may be as good as the best
    assert summary.ranked(HONEST, blind).empty
    shown = summary.chosen(HONEST, HONEST.iloc[:0])
    assert list(shown.index)[:2] == ["AMAD", "untrained LightMMoE"]
    assert summary.ranked(unknown.assign(average_precision=np.nan), values).empty


def test_unusual_hours_name_their_channels():
    one, scores = series(rows_per_day=240.0), np.ones(300)
    scores[120:130] = 5.0  # an hour is 10 rows
    channels = np.full((300, 4), 0.25)
    channels[120:130, 2] = 4.0
    table = summary.unusual(one, scores, channels, count=2)
    assert table.index[0] == "pump-1, row 120" and len(table) == 2
    assert table.iloc[0]["channels"].startswith(one.channels[2])
    assert table.iloc[0]["times the median"] == pytest.approx(5)
