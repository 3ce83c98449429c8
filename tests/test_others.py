"""Numbers that others print."""

import math

import pandas as pd
import pytest
from made_up_rows import frame, line

import lmmoe
from lmmoe.report.plots.style import METRIC_TITLES
from lmmoe.report.tables import others


class TestPrinted:
    def test_each_is_of_a_detector_and_a_metric_that_are_here(self):
        table = others.printed()
        assert {*table["detector"]} <= {*lmmoe.detectors.names()}
        assert {*table["metric"]} <= {*METRIC_TITLES}
        assert table["value"].between(0, 1).all()
        assert table["machines"].between(18, 28).all()
        assert not table.duplicated(["source", "detector", "metric"]).any()
        assert others.REBUILT in set(table["source"])


JUDGED = pd.DataFrame({"best_f1": [0.56], "average_precision": [0.5]}, index=["PCA"])


class TestBeside:
    def test_only_what_ran_with_its_interval_and_their_way(self):
        values = (0.3, 0.4, 0.5, 0.6)
        rows = frame(*(line("PCA", f"machine-1-{n}", v) for n, v in enumerate(values)))
        table = others.beside(rows, JUDGED)
        assert set(table["detector"]) == {"PCA"}
        assert table["ours"].to_list() == pytest.approx([0.45] * len(table))
        assert (table["low"] < 0.45).all()
        assert (table["high"] > 0.45).all()
        assert (table["entities"] == 4).all()
        theirs = table["source"] == others.REBUILT
        judged = table[theirs].set_index("metric")["rebuilt"]
        assert judged.to_dict() == {"best_f1": 0.56, "average_precision": 0.5}
        assert table.loc[~theirs, "rebuilt"].isna().all()

    def test_words_count_and_name_what_lies_outside(self):
        rows = frame(*(line("k-means", f"machine-1-{n}", v) for n, v in enumerate((0.46, 0.5))))
        table = others.beside(rows, JUDGED)
        text = others.in_words(table)
        assert text.startswith(f"Of {len(table)} numbers")
        assert "1 lie inside" in text and "2 here" in text  # .486, not .358
        assert text.count("\n- ") == len(table) - 1
        assert "k-means, VUS-PR: 0.358; ours 0.480" in text

    def test_a_rebuilt_number_is_told_wherever_it_lies(self):
        rows = frame(*(line("PCA", f"machine-1-{n}", v) for n, v in enumerate((0.1, 0.9))))
        text = others.in_words(others.beside(rows, JUDGED))
        assert "in their way 0.560" in text
        assert text.count("\n- ") == 2

    def test_one_entity_has_no_interval_to_lie_outside_of(self):
        table = others.beside(frame(line("k-means", "machine-1-1", 0.1)), JUDGED)
        assert math.isnan(table["low"].iloc[0])
        assert "one entity" in others.in_words(table)

    @pytest.mark.parametrize("name", ["LightMMoE", "PCA"])
    def test_nothing_known_or_nothing_but_failures(self, name):
        value = 0.1 if name == "LightMMoE" else None
        table = others.beside(frame(line(name, "machine-1-1", value)), JUDGED)
        assert table.empty
        assert "nothing" in others.in_words(table)

    def test_people_read_titles(self):
        table = others.people(others.beside(frame(line("IsolationForest", "a", 0.1)), JUDGED))
        assert set(table["metric"]) == {"VUS-PR"}
        assert "printed" in table
