"""Errors on learned and on later rows: by hand, against scores made anew, and the claim on them."""

import math

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_claims import Judged
from small import TwoSeries, series

from lmmoe.detectors import detector
from lmmoe.report import generalisation, kept
from lmmoe.report.plots.generalisation import errors_by_size
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.tables import generalisation as by_size

pytestmark = pytest.mark.usefixtures("small_runs")
LINEAR = {"epochs": 1}


def plan(**changes):
    given = {"detectors": {"linear": LINEAR, "MTSExample": {}}, "seeds": [0, 1]}
    return TwoSeries(**(given | {"profile": "none-such", "protocols": ["study", "ours"]} | changes))


def line(name, entity="m1", seen=0.5, unseen=0.8, parameters=10, error=None):
    head = {"entity": entity, "detector": name, "settings": "{}", "parameters": parameters}
    return head | {"seen": seen, "unseen": unseen, "error": error}


class TestTable:
    def test_both_errors_from_the_fitted_model(self):
        found = generalisation.table(plan())
        assert list(found) == ["key", *generalisation.COLUMNS]
        assert found["detector"].tolist() == ["linear"] * 2  # no forecaster is the L2 norm
        assert found["entity"].tolist() == ["m1", "m2"] and set(found["seed"]) == {0}
        rows = series().train
        cut = int(0.8 * len(rows))
        model = PROTOCOLS["study"].detector("linear", **LINEAR).fit(rows[:cut])
        plain = detector("last value").fit(rows[:cut])
        errors = [one.decision_function(rows) for one in (model, plain)]
        for name, part in (("seen", slice(20, cut)), ("unseen", slice(cut, None))):
            expected = errors[0][part].mean() / errors[1][part].mean()
            assert found.loc[0, name] == pytest.approx(expected, rel=1e-5)

    def test_nothing_is_fitted_twice(self, monkeypatch):
        first = generalisation.table(plan())
        monkeypatch.setattr(generalisation, "result", None)
        pd.testing.assert_frame_equal(generalisation.table(plan()), first)

    def test_what_was_published_is_read_back(self, tmp_path):
        first = generalisation.table(plan()).assign(settings="{}")  # else it is in no summary
        first.to_csv(tmp_path / "generalisation.csv", index=False)
        again = by_size.summary(kept.read(tmp_path / "generalisation.csv"))
        assert list(again.index) == ["linear"]
        assert again.equals(by_size.summary(first))

    def test_a_failure_is_told(self, monkeypatch):
        def fails(run):
            raise ValueError("no such luck")

        monkeypatch.setattr(generalisation, "result", fails)
        found = generalisation.table(plan())
        assert set(found["error"]) == {"ValueError: no such luck"} and found["seen"].isna().all()
        assert by_size.summary(found.assign(settings="{}")).empty

    def test_without_the_protocol_there_is_nothing(self):
        assert generalisation.table(plan(protocols=["ours"])).empty

    def test_rows_that_stand_still_have_no_share(self):
        assert math.isnan(generalisation.share(np.ones(3), np.zeros(3)))
        assert generalisation.share(np.array([1.0, 3.0]), np.array([4.0])) == 0.5


class TestSummary:
    def test_medians_over_entities_of_all_the_smallest_first(self):
        rows = [line("HMMoE", e, 0.2, v, 99) for e, v in zip("abcd", (0.4, 0.6, 9, 5), strict=True)]
        rows += [line("linear", e, 0.5, v) for e, v in zip("abc", (0.5, 1.0, 2.0), strict=True)]
        table = by_size.summary(pd.DataFrame(rows))  # d lacks linear
        assert list(table.index) == ["linear", "HMMoE"]
        assert table["unseen"].tolist() == [1.0, 0.6] and table["entities"].tolist() == [3, 3]
        assert table["gap"].tolist() == pytest.approx([2.0, 3.0])
        assert by_size.in_words(table) == (
            "Medians of 3 entities. From linear (10 parameters) to HMMoE (99) the error on rows "
            "that were learned from goes from 0.50 to 0.20 of the last value's, on later rows from "
            "1.00 to 0.60. HMMoE forecasts later rows best."
        )
        assert by_size.in_words(table.iloc[:1]) == (
            "linear, medians of 3 entities: 0.50 of the last value's error on rows that were "
            "learned from, 1.00 on later ones."
        )
        assert by_size.people(table).loc["HMMoE", "later over learned"] == 3.0
        drawn(lambda: errors_by_size(table))

    def test_nothing_to_sum_up(self):
        empty = by_size.summary(pd.DataFrame(columns=["key", *generalisation.COLUMNS]))
        assert "No forecaster" in by_size.in_words(empty)
        drawn(lambda: errors_by_size(empty))


class TestClaim:
    @pytest.mark.parametrize(
        ("learned", "unseen", "verdict"),
        [
            (0.5, 1.2, "reproduced"),  # better where it learned, worse where it did not
            (0.5, 0.9, "better than claimed"),
            (1.1, 1.2, "better than claimed"),  # worse everywhere is no overfitting
            (1.1, 0.9, "better than claimed"),
        ],
    )
    def test_both_conditions(self, learned, unseen, verdict):
        rows = [line("LightMMoE", e, 0.5, 0.8) for e in "abc"]
        rows += [line("HMMoE", e, 0.5 * learned, 0.8 * unseen) for e in "ab"]
        rows += [line("HMMoE", "c", 0.5 * learned, 80.0), line("HMMoE", "d", 9, 9)]
        rows += [line("HMMoE", "a", 7, 7, error="failed")]
        rows += [line("HMMoE", "a", 7, 7) | {"settings": '{"epochs": 1}'}]  # another network
        found = Judged(generalisation=pd.DataFrame(rows)).line("C088")
        assert found["verdict"] == verdict
        assert found["measured"] == pytest.approx(min(1 / learned, unseen))
        assert "median over 3 machines" in found["reason"]

    def test_untested_without_both(self):
        for rows in (None, pd.DataFrame(columns=["key"]), pd.DataFrame([line("HMMoE")])):
            found = Judged(generalisation=rows).line("C088")
            assert found["verdict"] == "not testable here"
        apart = pd.DataFrame([line("HMMoE", "a"), line("LightMMoE", "b")])
        assert Judged(generalisation=apart).line("C088")["verdict"] == "not testable here"
