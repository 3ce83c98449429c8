"""TSB-AD's split: the rows that train, what is scored, and who stands beside whom."""

import numpy as np
import pandas as pd
import pytest
from small import TwoSeries, series

from lmmoe.detectors import detector
from lmmoe.metrics import vus
from lmmoe.report import tsb_ad


def test_a_series_is_the_test_half_learned_from_its_first_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("lmmoe.paths.home", lambda: tmp_path)
    names = ("ThreeViews", "MTSExample", "PCA windows")
    profile = TwoSeries(profile="two", detectors={name: {} for name in names}, protocols=["ours"])
    first, second = profile.present
    given = {"first_row": [10, 0, 0], "train_rows": [60, 5, 5], "vus_window": [4, 9, 9]}
    given |= {"known": [0.5, 0.25, 1.0], "Time-RCD": [0.1, 0.2, 1.0]}
    index = pd.Index([first, second, "elsewhere"], name="entity")
    monkeypatch.setattr(tsb_ad, "published", lambda: pd.DataFrame(given, index=index))
    table = tsb_ad.table(profile)
    assert len(table) == 8  # random scores stand in every profile
    short = table[table["error"].notna()]  # five rows are fewer than a window of 16
    assert short[["entity", "detector"]].to_numpy().tolist() == [[second, "PCA windows"]]
    whole = series(entity=first)
    rows, labels = whole.test[10:], whole.labels[10:]
    scores = detector("MTSExample").fit(rows[:60]).decision_function(rows)
    values = table.pivot(index="entity", columns="detector", values="vus_pr")
    expected = vus(labels=labels, scores=scores, window=4).pr
    assert values.loc[first, "MTSExample"] == pytest.approx(expected)
    beside = tsb_ad.compared(table)
    assert set(beside.index) == {*names, "random", "known (published)", "Time-RCD (published)"}
    assert beside.loc["known (published)", "vus_pr"] == 0.375
    lead = values["ThreeViews"] - np.array([0.5, 0.25])
    assert beside.loc["known (published)", "difference"] == pytest.approx(lead.mean())
    assert beside.loc["Time-RCD (published)", "whose"] == "published, otherwise measured"
    assert beside["vus_pr"].dropna().is_monotonic_decreasing


def test_the_published_series_are_thirteen_of_smd():
    table = tsb_ad.published()
    assert len(table) == 13 and table.index.str.fullmatch(r"machine-\d-\d+").all()
    assert (
        table.drop(columns=[*tsb_ad.PROTOCOL]).apply(lambda one: one.between(0, 1)).all(axis=None)
    )
