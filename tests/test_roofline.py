"""LightMMoE against the processor's limits, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from lmmoe.report import roofline
from lmmoe.report.cost import QUICK

WORKS = ("network", "detector", "training")


def test_held_to_by_hand():
    limits = pd.DataFrame(
        {
            "limit": ["sgemm", "sgemv", "sgemv", "sgemv"],
            "gflops": [100.0, math.nan, math.nan, math.nan],
            "gigabytes_per_second": [1.0, 20.0, 50.0, 5.0],
        }
    )
    lines = [
        ("network", 1, 4.0, 1e9, 2e10),
        ("network", 8, 6.0, 3e11, 2e10),
        ("training", 1, 3.0, 1e9, 5e10),
    ]
    names = ["work", "batch", "seconds", "operations", "bytes"]
    points = pd.DataFrame(lines, columns=names).set_index(["work", "batch"])
    found = roofline.held_to(points, limits)
    # 20 GB at 20 GB/s take a second, whatever the arithmetic; 300 GFLOP take three.
    assert found.loc[("network", 1), ["bound", "times_bound"]].tolist() == [1, 4]
    assert found.loc[("network", 8), ["bound", "times_bound"]].tolist() == [3, 2]
    # A training step's weights and their copies are read at 50 GB/s.
    assert found.loc[("training", 1), ["bound", "times_bound"]].tolist() == [1, 3]
    assert found.loc[("network", 8), ["gflops", "times_sgemm", "intensity"]].tolist() == [50, 2, 15]


def test_least_traffic_by_hand():
    class Made:
        parameters, n_features_in_, window = 1000, 3, 5

    assert roofline.least_traffic("network", 7, Made) == 4 * (1000 + 7 * 2 * 3)
    assert roofline.least_traffic("training", 7, Made) == 4 * (10 * 1000 + 7 * 6 * 3)


def test_measured_once(monkeypatch):
    for name, value in {"SIDE": 32, "LARGE": 64, "CHANNELS": 3, "FEWEST": 32}.items():
        monkeypatch.setattr(roofline, name, value)
    monkeypatch.setitem(roofline.BATCHES, "quick", (1, 8))
    monkeypatch.setitem(roofline.ROUNDS, "quick", 1)
    monkeypatch.setattr(roofline, "isolated", lambda task, *given: task(*given))
    table, found = roofline.limits(QUICK)
    assert set(table.index) == {(work, batch) for work in WORKS for batch in (1, 8)}
    each = 3 * 16 * 32 + 4 * (24 * 128 + 128 * 64) + 3 * 64 + 3 * 4 * 64 + 3 * (64 * 16 + 16)
    assert table.loc[("network", 8), "operations"] == 2 * 8 * each
    assert table.loc[("training", 8), "operations"] == 3 * 2 * 8 * each
    assert (table["seconds"] > 0).all() and found.loc[0, "gflops"] > 0
    assert found["limit"].tolist() == ["sgemm", "sgemv", "sgemv", "sgemv"]
    monkeypatch.setattr(roofline, "isolated", None)  # the second look finds it kept
    pd.testing.assert_frame_equal(roofline.limits(QUICK)[0], table)


def test_training_is_the_difference_of_two_fits(monkeypatch):
    fits, spent = [], {1: 3.0, 2: 11.0}

    class Made:
        window = 16

        def __init__(self, name, epochs, **given):
            self.epochs, self.given = epochs, given

        def fit(self, rows):
            fits.append((self.epochs, len(rows), self.given["batch"]))

    monkeypatch.setattr(roofline, "detector", Made)
    monkeypatch.setattr(roofline, "once", lambda work: (work(), (spent[fits[-1][0]], 0))[1])
    # 8 s for 16 steps of 64 windows: half a second for a batch.
    assert roofline._training(np.zeros((20, 2)), 64, (1, 2)) == 0.5
    assert fits == [(1, 1040, 64), (2, 1040, 64)]
    assert roofline._training(np.zeros((20, 2)), 1, (1, 2)) == pytest.approx(8 / 64)
