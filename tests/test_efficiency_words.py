"""Tables, sentences and pictures of cost, from a made-up table."""

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_costs import costs, growth, limits
from made_up_rows import frame, line

from lmmoe.report import plots
from lmmoe.report.efficiency import Prices, fleet
from lmmoe.report.plots import efficiency as pictures
from lmmoe.report.tables import efficiency as tables
from lmmoe.report.tables import efficiency_words as words

PRICES = Prices()


class TestTables:
    def test_people_read_units_and_the_cheapest_first(self):
        table = tables.people(costs())
        names = ["random scores", "L2 norm (MTSExample)", "LightMMoE", "HMMoE", "PCA"]
        assert list(table.index) == names
        light = table.loc["LightMMoE"]
        assert light["train (s)"] == 10 and light["score a row (µs)"] == 10_000
        assert light["one row, median (ms)"] == 0.5 and light["one row, 99 % (ms)"] == 1
        assert light["rows/s, 256 a call"] == 256_000
        assert light["file (kB)"] == 1000 and light["learned (kB)"] == 500
        assert table.loc["PCA"].isna().all()
        assert math.isnan(table.loc["random scores", "multiply-adds a row"])
        assert not [name for name in table if "processor" in name]

    def test_a_second_device_stands_last_under_its_name(self):
        table = costs()
        there = table.index == "LightMMoE"
        table["second_device"] = np.where(there, "a card", None)
        table["second_train_seconds"] = np.where(there, 2.0, np.nan)
        found = tables.people(table)
        assert list(found)[-3] == "a card: train (s)"
        assert found["a card: train (s)"].dropna().to_dict() == {"LightMMoE": 2.0}
        assert "On a card, training is 5 times as fast (median over the 1 " in words.in_words(
            table, *limits()
        )

    def test_sureness(self):
        table = tables.sureness(costs(train_wall_seconds=40.0))
        assert table.loc["LightMMoE", "train, spread (%)"] == 25
        assert table.loc["LightMMoE", "train, processor (%)"] == 25
        assert table.loc["LightMMoE", "score, processor (%)"] == 100

    def test_growth(self):
        _, laws = growth()
        table = tables.growth(laws)
        first = table.loc[("channels", "LightMMoE")]
        assert first["sizes"] == "10 to 1000" and first["training"] == "2.00 ± nan"
        assert first["multiply-adds"] == "1.00 ± nan"
        assert table.loc[("rows", "PCA"), "multiply-adds"] == ""

    def test_quality_joins_measured_costs(self):
        rows = frame(line("LightMMoE", "x", 0.5), line("random", "x", 0.1), line("CAD", "x", 0.9))
        table = tables.against_quality(rows, "ours", costs())
        assert list(table.index) == ["LightMMoE", "random"]  # CAD was not measured
        light = table.loc["LightMMoE"]
        assert light[["average_precision", "train_seconds"]].tolist() == [0.5, 10]
        assert light["microseconds_per_row"] == 10_000
        drawn(lambda: plots.quality_and_cost(table))
        drawn(lambda: plots.quality_and_cost(table.iloc[:0]))

    def test_fleet(self):
        table = tables.fleet(fleet(costs(), PRICES))
        assert table.loc["LightMMoE", "cores, row by row"] == 16.67


class TestWords:
    def test_by_hand(self):
        lines = words.in_words(costs(), *limits()).splitlines()
        assert lines[0] == (
            "On machine-1-1 of smd (28,479 training rows, 38 channels), one thread of a processor, "
            "4 detectors:"
        )
        assert lines[2] == (
            "- **LightMMoE** learns 232,390 numbers and needs 259,552 multiply-adds a row. It "
            "trains in 10 s, scores a row that comes alone in 0.5 ms (99 of 100 within 1 ms), and "
            "256,000 rows a second in calls of 256. Training takes 60 MB beyond the libraries; "
            "what it learned, 500 kB."
        )
        # Random scores look at nothing, so they are not named as the cheapest.
        assert lines[3] == (
            "- Next to it, the cheapest and the dearest to train: L2 norm (MTSExample) trains in "
            "1/100 of its time and scores in 1/100 of its time; HMMoE trains in 40 times its time "
            "and scores in 40 times its time."
        )
        assert lines[4].startswith(
            "- **Distance from the limit.** One thread here multiplies matrices at 100 GFLOP/s and "
            "reads weights at 20 GB/s. LightMMoE's network scores 64 windows by one call in 2 "
            "times what that allows, and a window alone in 10 times: "
        )
        assert lines[4].endswith("Training takes 2 times at batch 64, 2 times at batch 4,096.")
        assert lines[5:] == ["- Failed: PCA (MemoryError: none left)."]

    def test_a_busy_machine_is_told(self):
        found = words.in_words(costs(train_wall_seconds=[20, 0.4, 0.01, 400, None]), *limits())
        assert "had the processor for 75 % (median; at the least 25 %)" in found
        assert "not idle" not in words.in_words(costs(), *limits())

    def test_without_its_subject_or_anything(self):
        found = words.in_words(costs().drop("LightMMoE"), *limits())
        assert "**LightMMoE**" not in found and "3 detectors" in found
        alone = words.in_words(costs().loc[["LightMMoE", "random"]], *limits())
        assert "Next to it" not in alone
        assert words.in_words(costs().loc[["PCA"]], *limits()).startswith("No detector could")

    def test_growth(self):
        points, laws = growth()
        found = words.growth_in_words(laws)
        start = "LightMMoE's training grows as a power of: channels 2.00 (scoring 1.00); rows 2.00"
        assert found.startswith(start)
        laws["upper_error"] = 0.126
        assert "channels 2.00 ± 0.13" in words.growth_in_words(laws)
        assert words.growth_in_words(laws.drop("LightMMoE", level="detector")) == ""

    def test_fleet(self):
        lines = words.fleet_in_words(fleet(costs(), PRICES), PRICES).splitlines()
        assert lines[0] == (
            "1,000,000 machines, a row of each every 60 s, a training of each every 30 days, 0.05 "
            "for a core and hour:"
        )
        # 16,667 rows a second over 1,000; 10 s times 10^6 over 2,592,000 s.
        assert lines[3] == (
            "- LightMMoE: 16.7 cores score row by row (0.0651 in calls of 256), 3.86 train; 8,996 "
            "a year (1,720)."
        )
        assert [text.split(":")[0] for text in lines[2:]] == [
            "- random scores",
            "- LightMMoE",
            "- HMMoE",
        ]
        assert "unknown" not in words.fleet_in_words(fleet(costs().loc[["PCA"]], PRICES), PRICES)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1234.5, "1,234"),
            (99.96, "100"),
            (0.000123, "0.000123"),
            (2, "2"),
            (math.nan, "unknown"),
        ],
    )
    def test_numbers(self, value, text):
        assert words.number(value) == text


class TestPictures:
    def test_every_detector_and_every_measure(self):
        figure = drawn(lambda: pictures.costs(costs()))
        assert len(figure.axes) == len(pictures.PANELS)
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names == ["HMMoE", "LightMMoE", "L2 norm (MTSExample)", "random scores"]
        dots = [len(c.get_offsets()) for c in figure.axes[2].collections]
        assert sorted(dots) == [1] * 4 + [3] * 4  # rows a second: 1 by 1 filled, three batches not

    def test_the_roof(self):
        points, found = limits()
        left, right = drawn(lambda: pictures.roofline(points, found)).axes
        tops = [max(one.get_ydata()) for one in left.lines[:3]]
        assert tops == [100.0] * 3
        shown = {one.get_label(): list(one.get_ydata()) for one in right.lines}
        assert shown["training"] == pytest.approx([10, 2, 2])
        low, _ = left.get_ylim()
        assert low < points["gflops"].min()

    def test_growth(self):
        figure = drawn(lambda: pictures.growth(*growth()))
        assert len(figure.axes) == 4
        assert [ax.get_xlabel() for ax in figure.axes[2:]] == ["channels", "rows"]
        assert [t.get_text() for t in figure.axes[0].get_legend().texts] == ["2.00", "2.00"]

    def test_fleet(self):
        ax = drawn(lambda: pictures.fleet(fleet(costs(), PRICES), PRICES)).axes[0]
        assert ax.get_title(loc="left") or ax.get_title()
        assert len(ax.get_yticklabels()) == 4
        marks = [c.get_offsets()[0, 0] for c in ax.collections]
        assert max(marks) == pytest.approx(40 * 1e6 / 60 / 1000)

    def test_nothing_measured(self):
        bad = costs().loc[["PCA"]]
        for figure in (pictures.costs(bad), pictures.fleet(fleet(bad, PRICES), PRICES)):
            assert [t.get_text() for t in figure.axes[0].texts] == [
                "No detector could be measured."
            ]
        assert isinstance(bad, pd.DataFrame) and mpl.rcParams["font.size"] != 9
