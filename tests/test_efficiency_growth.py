"""Power laws, sizes to measure, the roofline and the price of a fleet, against numbers by hand."""

import json
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from lmmoe.report.efficiency import Prices, child, fleet, growth, limits, roofline, scaling, timing
from lmmoe.report.efficiency.scaling import Point, exponents, points, power_law
from lmmoe.report.efficiency.timing import Effort

SHORT = Effort("quick", repeats=1, seconds=0.01, calls=2, call_seconds=0.001)


class TestPowerLaw:
    def test_exact(self):
        sizes = np.array([1, 10, 100])
        law = power_law(sizes, 3 * sizes**2)
        assert law.exponent == pytest.approx(2) and law.error == pytest.approx(0, abs=1e-7)
        assert power_law(sizes, np.full(3, 7.0)).exponent == pytest.approx(0)

    def test_a_standard_error_by_hand(self):
        # In logarithms: x = -1, 0, 1 and y = 0, 3, 0 over the base e: slope 0, residuals -1, 2, -1,
        # 6 over one degree of freedom, over a sum of squares of 2: the root of 3.
        law = power_law(np.exp([-1.0, 0, 1]), np.exp([0.0, 3, 0]))
        assert law.exponent == pytest.approx(0) and law.error == pytest.approx(math.sqrt(3))

    @given(
        st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e6)), min_size=3, max_size=12)
    )
    @settings(max_examples=50, deadline=None)
    def test_as_another_program_fits_it(self, pairs):
        sizes, costs = (np.array(values, float) for values in zip(*pairs, strict=True))
        law = power_law(sizes, costs)
        if len(np.unique(sizes)) < 2:
            assert math.isnan(law.exponent)
            return
        assume(len(set(costs)) > 1)  # scipy has no error for a level line
        other = stats.linregress(np.log(sizes), np.log(costs))
        assert law.exponent == pytest.approx(other.slope, rel=1e-6, abs=1e-6)
        assert law.error == pytest.approx(other.stderr, rel=1e-5, abs=1e-5)

    def test_what_is_not_known_is_left_out(self):
        sizes, costs = np.array([1, 2, 4, 8]), np.array([1, np.nan, 16, 0.0])
        law = power_law(sizes, costs)
        assert (law.exponent, law.points) == (pytest.approx(2), 2) and math.isnan(law.error)
        assert math.isnan(power_law(sizes, np.full(4, np.nan)).exponent)


class TestPoints:
    def test_full_sizes(self):
        found = points(timing.FULL, ("LightMMoE", "PCA"))
        light = [p for p in found if p.detector == "LightMMoE"]
        channels = [p.channels for p in light if p.axis == "channels"]
        assert (min(channels), max(channels)) == (10, 1000)
        base = {"epochs": 1, "held_out": 0.0}
        assert [p.settings for p in light if p.axis == "experts"][1] == base | {"experts": 2}
        assert {p.axis for p in light} == set(scaling.AXES)
        assert {p.axis for p in found if p.detector == "PCA"} == {"channels", "rows", "entities"}
        # As many rows to learn from, whatever stands before the first of them.
        assert {p.rows - p.settings.get("window", 16) for p in light if p.axis != "rows"} == {2000}
        assert {p.rows for p in found if p.detector == "PCA" and p.axis != "rows"} == {2000}
        rows = [(p.value, p.rows) for p in light if p.axis == "rows"]
        assert rows[0] == (500, 516) and rows[-1] == (16000, 16016)

    def test_quick_ones_have_fewer_rows_but_as_many_channels(self):
        found = points(timing.QUICK)
        assert max(p.channels for p in found) == 1000
        assert {p.rows for p in found if p.axis == "channels" and p.detector == "PCA"} == {250}
        rows = [(p.value, p.rows) for p in found if p.axis == "rows" and p.detector == "PCA"]
        assert rows == [(n, n) for n in (62, 125, 250, 500, 1000, 2000)]  # an eighth, as measured

    def test_what_would_take_too_long_is_left_out(self):
        found = points(timing.FULL, ("PCA windows",))
        assert max(p.channels for p in found) == 100  # 16 times 316 numbers are too many
        assert max(p.value for p in found if p.axis == "window") == 32

    def test_a_point_is_measured(self):
        made = Point("entities", 3, "LightMMoE", {"epochs": 0, "window": 4}, 2, 30, 3)
        [line] = scaling.measure({"effort": asdict(SHORT), "points": [asdict(made)]})["points"]
        # Two channels: convolutions 256, experts' layers 40,960, gates 32, mixture 512, towers.
        each = 2 * 4 * 32 + 4 * (16 * 128 + 128 * 64) + 2 * 16 + 2 * 4 * 64 + 2 * (64 * 16 + 16)
        assert line["multiply_adds"] == 3 * 26 * each
        assert line["train_seconds"] > 0 and line["score_seconds"] > 0
        assert {key: line[key] for key in asdict(made)} == asdict(made)


def made_up_points():
    sizes = (1, 2, 4, 8)
    return pd.DataFrame(
        {"axis": "rows", "detector": name, "value": size, "train_seconds": 5.0 + size**power}
        | {"score_seconds": 2.0 * size, "multiply_adds": nan}
        for name, power, nan in (("a", 1, 7.0), ("b", 2, math.nan))
        for size in sizes
    )


def test_exponents_of_a_table():
    found = exponents(made_up_points())
    assert found.loc[("rows", "a", "score_seconds"), "exponent"] == pytest.approx(1)
    assert found.loc[("rows", "a", "multiply_adds"), "exponent"] == pytest.approx(0)
    assert math.isnan(found.loc[("rows", "b", "multiply_adds"), "exponent"])
    line = found.loc[("rows", "b", "train_seconds")]
    # The upper half is 4 and 8: from 21 to 69, and two points have no error.
    assert line["upper"] == pytest.approx(math.log2(69 / 21)) and math.isnan(line["upper_error"])
    assert line["exponent"] < line["upper"]
    assert (line["from"], line["to"], line["points"]) == (1, 8, 4)


FOUND = {
    "device": "a processor",
    "limits": [
        {"limit": "sgemm", "side": 4, "gflops": 100.0, "gigabytes_per_second": 1.0},
        {"limit": "sgemv", "side": 2, "gflops": math.nan, "gigabytes_per_second": 20.0},
        {"limit": "sgemv", "side": 3, "gflops": math.nan, "gigabytes_per_second": 50.0},
        {"limit": "sgemv", "side": 9, "gflops": math.nan, "gigabytes_per_second": 5.0},
    ],
    "points": [
        {"work": "network", "batch": 1, "seconds": 4.0, "operations": 1e9, "bytes": 2e10},
        {"work": "network", "batch": 8, "seconds": 6.0, "operations": 3e11, "bytes": 2e10},
        {"work": "detector", "batch": 1, "seconds": 5.0, "operations": 1e9, "bytes": 2e10},
        {"work": "training", "batch": 1, "seconds": 3.0, "operations": 1e9, "bytes": 5e10},
    ],
}


class TestRoofline:
    def test_by_hand(self):
        table, found = roofline.roofline(FOUND)
        # 20 GB at 20 GB/s take a second, whatever the arithmetic; 300 GFLOP take three.
        assert table.loc[("network", 1), ["bound", "times_bound"]].tolist() == [1, 4]
        assert table.loc[("network", 8), ["bound", "times_bound"]].tolist() == [3, 2]
        assert table.loc[("detector", 1), "times_bound"] == 5
        # A training step's weights and their copies are read at 50 GB/s.
        assert table.loc[("training", 1), ["bound", "times_bound"]].tolist() == [1, 3]
        assert table.loc[("network", 8), "gflops"] == 50
        assert table.loc[("network", 8), "times_sgemm"] == 2
        assert table.loc[("network", 8), "intensity"] == 15
        assert set(found["device"]) == {"a processor"}

    def test_least_traffic_by_hand(self):
        class Made:
            parameters, n_features_in_, window = 1000, 3, 5

        assert roofline._bytes("network", 7, Made) == 4 * (1000 + 7 * 2 * 3)
        assert roofline._bytes("training", 7, Made) == 4 * (10 * 1000 + 7 * 6 * 3)

    def test_measured(self, monkeypatch):
        monkeypatch.setattr(roofline, "SIDE", 32)
        monkeypatch.setattr(roofline, "LARGE", 64)
        monkeypatch.setattr(roofline, "CHANNELS", 3)
        monkeypatch.setattr(roofline, "FEWEST", 32)
        monkeypatch.setitem(roofline.BATCHES, "quick", (1, 8))
        monkeypatch.setitem(roofline.ROUNDS, "quick", 1)
        monkeypatch.setattr(roofline, "_seconds", lambda work: work() is None or 0.5)
        monkeypatch.setattr(child, "run", lambda task, spec: json.loads(json.dumps(task(spec))))
        table, found = limits(SHORT)
        assert set(table.index) == {(w, b) for w in WORKS for b in (1, 8)}
        each = 3 * 16 * 32 + 4 * (24 * 128 + 128 * 64) + 3 * 64 + 3 * 4 * 64 + 3 * (64 * 16 + 16)
        assert table.loc[("network", 8), "operations"] == 2 * 8 * each
        assert table.loc[("training", 8), "operations"] == 3 * 2 * 8 * each
        assert found.loc[0, "gflops"] == pytest.approx(2e-9 * 32**3 / 0.5)
        assert found["limit"].tolist() == ["sgemm", "sgemv", "sgemv", "sgemv"]
        # The second look finds it kept.
        monkeypatch.setattr(child, "run", None)
        assert limits(SHORT)[0].equals(table)

    def test_training_is_the_difference_of_two_fits(self, monkeypatch):
        class Made:
            window = 16

            def __init__(self, name, epochs, **given):
                self.epochs, self.given = epochs, given

            def fit(self, rows):
                fits.append((self.epochs, len(rows), self.given["batch"]))

        fits, spent = [], {1: 3.0, 2: 11.0}
        monkeypatch.setattr(roofline, "detector", Made)
        monkeypatch.setattr(roofline, "once", lambda work: (work(), (spent[fits[-1][0]], 0))[1])
        rows = np.zeros((20, 2))
        # 8 s for 16 steps of 64 windows: half a second for a batch.
        assert roofline._training(rows, 64, SHORT) == 0.5
        assert fits == [(1, 1040, 64), (2, 1040, 64)]
        assert roofline._training(rows, 4096, SHORT) == 8  # one step
        assert roofline._training(rows, 1, SHORT) == 8 / 256


WORKS = ("network", "detector", "training")


def test_growth_is_measured_once(monkeypatch):
    asked = []

    def here(task, spec):
        asked.append(len(spec["points"]))
        return {"points": [p | dict.fromkeys(scaling.MEASURES, 1.0) for p in spec["points"]]}

    monkeypatch.setattr(child, "run", here)
    table, laws = growth(timing.QUICK)
    assert asked == [len(points(timing.QUICK))] == [len(table)]
    assert laws["exponent"].to_numpy() == pytest.approx(0)
    growth(timing.QUICK)
    assert len(asked) == 1
    growth(timing.QUICK, ("PCA",))
    assert len(asked) == 2


class TestFleet:
    TABLE = pd.DataFrame(
        {
            "rows_per_second_1": [100.0, 1000.0, np.nan],
            "rows_per_second_256": [1000.0, 1000.0, np.nan],
            "train_seconds": [864.0, 0.0, np.nan],
            "learned_bytes": [1e6, np.nan, np.nan],
        },
        index=["slow", "quick", "failed"],
    )

    def test_by_hand(self):
        prices = Prices(machines=6000, seconds=60, retrain_days=10, core_hour=0.1)
        found = fleet(self.TABLE, prices)
        assert list(found.index) == ["quick", "slow", "failed"]
        # 100 rows a second: a core row by row. 6,000 trainings of 864 s in 864,000 s: six cores.
        slow = found.loc["slow"]
        assert slow[["cores_row", "cores_batch", "cores_training"]].tolist() == [1, 0.1, 6]
        assert slow["a_year"] == pytest.approx(7 * 8766 * 0.1)
        assert slow["a_year_batch"] == pytest.approx(6.1 * 8766 * 0.1)
        assert slow["models_gb"] == 6
        assert found.loc["quick", "cores_row"] == 0.1 and math.isnan(found["models_gb"]["quick"])
        assert found.loc["failed"].isna().all()

    @given(st.integers(1, 10**7), st.floats(0.1, 1000), st.floats(0.001, 10))
    def test_in_proportion(self, machines, seconds, price):
        one = fleet(self.TABLE, Prices(machines, seconds, 30, price)).loc["slow"]
        two = fleet(self.TABLE, Prices(2 * machines, seconds, 30, price)).loc["slow"]
        assert two.to_numpy() == pytest.approx(2 * one.to_numpy())
        dear = fleet(self.TABLE, Prices(machines, seconds, 30, 2 * price)).loc["slow"]
        assert dear["a_year"] == pytest.approx(2 * one["a_year"])
        assert dear["cores_row"] == one["cores_row"]
