"""Numbers that others print, and our scores judged in their way."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up_rows import frame, line

import lmmoe
from lmmoe.data import Series
from lmmoe.report.pitfalls import quovadis
from lmmoe.report.plots.style import METRIC_TITLES
from lmmoe.report.tables import others


class TestTheirWay:
    def test_a_score_of_two_values_by_hand(self):
        # Flagged: two of the three anomalous rows and two normal ones. F1 = 2 * 2 / (4 + 3), of all
        # rows 2 * 3 / (10 + 3). The curve: precision 1 at recall 0, 1/2 at 2/3, 3/10 at 1.
        labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
        scores = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0])
        f1, area = quovadis.judged(labels, scores)
        assert f1 == pytest.approx(4 / 7)
        assert area == pytest.approx((1 + 1 / 2) / 2 * 2 / 3 + (1 / 2 + 3 / 10) / 2 / 3)

    def test_normalising_by_the_judged_rows_hides_a_noisy_channel(self):
        rng = np.random.default_rng(0)
        errors = np.abs(rng.normal(size=(400, 2))) * [100, 1]
        labels = np.zeros(400, dtype=int)
        labels[200:220] = 1
        errors[200:220, 1] += 20
        plain = quovadis.judged(labels, errors.max(axis=1))
        assert quovadis.best_way(labels, errors)[0] > 0.8 > 0.3 > plain[0]

    def test_the_mean_looks_three_rows_ahead_and_five_back(self):
        errors = np.zeros((40, 1))
        errors[20] = 9.0
        labels = np.zeros(40, dtype=int)
        labels[17:26] = 1
        assert quovadis.best_way(labels, errors) == pytest.approx((1, 1))

    def test_channels_are_smoothed_before_the_highest_is_taken(self):
        # One long error in one channel against short ones that take turns in two: these add up
        # only where the highest is taken first.
        errors = np.zeros((60, 2))
        errors[20:29, 0] = 4.0
        errors[40:49:2, 0] = errors[41:49:2, 1] = 6.0
        labels = np.zeros(60, dtype=int)
        labels[24:26] = 1
        assert quovadis.best_way(labels, errors)[0] > 0.6

    def test_entities_without_both_labels_are_left_out(self):
        rng = np.random.default_rng(1)
        rows = rng.normal(size=(300, 3))
        rows[199] += 9  # in the test rows; and in the training rows, which are the same
        some, none = (
            Series("smd", "machine", rows, rows[:200], labels, ("a", "b", "c"))
            for labels in ((np.arange(200) < 5).astype(np.uint8), np.zeros(200, np.uint8))
        )
        found = quovadis.rebuilt([none, some])
        assert list(found.index) == ["PCA", "range deviation"]
        assert list(found) == ["best_f1", "average_precision"]
        errors = lmmoe.detector("PCA").fit(rows).channel_scores(some.test)
        assert found.loc["PCA"].tolist() == list(quovadis.best_way(some.labels, errors))
        learned = rows[:270]  # a tenth is held out
        outside = (some.test < learned.min(axis=0)) | (some.test > learned.max(axis=0))
        flagged = outside.any(axis=1).astype(float)
        assert found.loc["range deviation"].tolist() == list(quovadis.judged(some.labels, flagged))
        assert quovadis.rebuilt([none]).empty


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
