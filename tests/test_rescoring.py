"""Scores made of the same errors in several ways: by hand, and against the detectors' own."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from small import TwoSeries, series, tiny

from lmmoe import metrics
from lmmoe.detectors import detector
from lmmoe.report import rescoring
from lmmoe.report.plots import model_or_scoring
from lmmoe.report.tables import rescoring as tables


def plan(**changes):
    given = {"detectors": {"MTSExample": {}, "PCA": {}, "random": {}, "1-NN": {}}, "seeds": [0, 1]}
    return TwoSeries(**(given | {"profile": "none-such", "protocols": ["ours", "study"]} | changes))


class TestScorings:
    def test_by_hand(self):
        errors = np.array([[0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 12.0]])
        made = rescoring.scorings(errors**2, squared=True)
        assert made["squares"] == pytest.approx([0, 91 / 6, 24])
        assert made["absolute errors"] == pytest.approx([0, 3.5, 2])
        assert made["highest 4"] == pytest.approx([0, 4.5, 3])
        assert made["smoothed absolute errors"] == pytest.approx([0, 0.7, 0.8 * 0.7 + 0.4])
        same = rescoring.scorings(errors, squared=False)
        assert set(same) == {*rescoring.SCORINGS} - {rescoring.OWN}
        for name, scores in made.items():
            assert same[name] == pytest.approx(scores)

    def test_rows_before_the_first_scored_one_get_the_lowest_score_and_are_not_smoothed_in(self):
        errors = np.array([[0.0], [0.0], [5.0], [3.0], [4.0]])
        made = rescoring.scorings(errors, squared=False, unscored=2)
        assert made["absolute errors"].tolist() == [3, 3, 5, 3, 4]
        assert made["smoothed absolute errors"] == pytest.approx([4.48, 4.48, 5, 4.6, 4.48])

    def test_few_channels_have_fewer_highest(self):
        made = rescoring.scorings(np.array([[1.0, 3.0]]), squared=False)
        assert made["highest 4"] == made["absolute errors"] == [2]

    @pytest.mark.parametrize("name", rescoring.SQUARED)
    def test_channel_scores_are_the_squared_errors_of_the_score(self, name):
        one = series()
        made = tiny(name).fit(one.train)
        channels = made.channel_scores(one.test)
        squares = rescoring.scorings(channels, squared=True, unscored=rescoring.first(made))
        ratio = made.decision_function(one.test) / squares["squares"]
        assert ratio == pytest.approx(np.full(len(ratio), ratio[-1]), rel=1e-5)  # sum or mean

    def test_those_of_pca_are_absolute(self):
        one = series()
        channels = detector("PCA windows").fit(one.train).channel_scores(one.test)
        found = rescoring.scorings(channels, squared=False, unscored=15)
        for name, kind in (("PCA windows", ""), ("PCA windows EWMA", "smoothed ")):
            own = detector(name).fit(one.train).decision_function(one.test)
            assert found[f"{kind}absolute errors"] == pytest.approx(own)


@pytest.mark.usefixtures("small_runs")
class TestTable:
    def test_a_row_for_each_scoring_judged_as_the_detector_is(self):
        found = rescoring.table(plan())
        assert list(found) == ["key", *rescoring.COLUMNS]
        assert set(found["detector"]) == {"MTSExample", "PCA", "random"}  # 1-NN is left out
        assert len(found) == 2 * 3 * len(rescoring.SCORINGS) and set(found["seed"]) == {0}
        one = series(entity="m1")
        made = detector("PCA").fit(one.train)
        line = found.set_index(["entity", "detector", "scoring"]).loc["m1", "PCA"]
        scores = made.channel_scores(one.test).mean(axis=1)
        data = {"labels": one.labels, "scores": scores}
        cut = np.quantile(made.channel_scores(one.train).mean(axis=1)[-30:], 0.99)
        expected = (
            metrics.average_precision(**data),
            metrics.best_f1(**data, adjust="squeeze").f1,
            metrics.alarms(**data, threshold=cut).f1,
        )
        assert line.loc["absolute errors", list(rescoring.METRICS)].tolist() == pytest.approx(
            expected
        )
        own = metrics.average_precision(labels=one.labels, scores=made.decision_function(one.test))
        assert line.loc["own", "average_precision"] == pytest.approx(own)

    def test_nothing_is_scored_twice(self, monkeypatch):
        first = rescoring.table(plan())
        monkeypatch.setattr(rescoring, "result", None)
        pd.testing.assert_frame_equal(rescoring.table(plan()), first)

    def test_a_failure_is_told_and_the_others_go_on(self, monkeypatch):
        real = rescoring.result

        def fails(run):
            if run.detector == "PCA":
                raise ValueError("no such luck")
            return real(run)

        monkeypatch.setattr(rescoring, "result", fails)
        found = rescoring.table(plan())
        assert set(found["error"].dropna()) == {"ValueError: no such luck"}
        assert list(tables.summary(found).index) == ["MTSExample", "random"]

    def test_without_the_protocol_or_labels_there_is_nothing(self, monkeypatch):
        assert rescoring.table(plan(protocols=["study"])).empty
        monkeypatch.setattr(TwoSeries, "load", lambda self, name: series(entity=name, labels=None))
        found = rescoring.table(plan())
        assert found.empty and "nothing to compare" in tables.in_words(found)
        assert tables.people(found).empty
        drawn(lambda: model_or_scoring({"average_precision": tables.summary(found)}, "own", "x"))


def lines(name, own, shared, entities="abc", squeezed=0.5):
    """Rows of a table: ``own`` and ``shared`` per entity, the other scorings at 0.1."""
    for entity, first, second in zip(entities, own, shared, strict=True):
        values = dict.fromkeys(rescoring.SCORINGS, 0.1) | {"own": first, tables.SHARED: second}
        for scoring, value in values.items():
            head = {"entity": entity, "detector": name, "settings": "{}", "error": None}
            squeeze = squeezed if scoring == tables.SHARED else 0.6
            yield head | {
                "scoring": scoring,
                "average_precision": value,
                "event_f1_pa_squeeze": squeeze,
                "quantile_f1": 0.2,
            }


MEASURED = pd.DataFrame(
    [
        *lines("LightMMoE", (0.5, 0.6, 0.7), (0.6, 0.7, 0.8), squeezed=0.7),
        *lines("last value", (0.2, 0.3, 0.4), (0.6, 0.7, 0.7)),
        *lines("random", (0.1, 0.1, 0.1), (0.1, 0.1, 0.1)),
        *lines("PCA", (0.9, 0.9, 0.9), (0.9, 0.9, 0.9)),
    ]
)


class TestSummary:
    def test_means_of_entities_the_best_first(self):
        table = tables.summary(MEASURED)
        assert list(table.index) == ["PCA", "LightMMoE", "last value", "random"]
        assert list(table) == list(rescoring.SCORINGS)
        assert table["own"].tolist() == pytest.approx([0.9, 0.6, 0.3, 0.1])
        assert tables.people(MEASURED).loc["random scores", "own"] == 0.1

    def test_a_variant_does_not_count_and_the_first_settings_do(self):
        other = MEASURED.assign(settings='{"epochs": 1}', average_precision=0.9)
        both = pd.concat([MEASURED, other])
        pd.testing.assert_frame_equal(tables.summary(both), tables.summary(MEASURED))
        only = tables.summary(MEASURED.assign(settings='{"epochs": 1}'))
        pd.testing.assert_frame_equal(only, tables.summary(MEASURED))

    def test_one_that_ran_elsewhere_is_left_out_and_not_the_others(self):
        alone = pd.DataFrame(lines("HMMoE", [0.5], [0.5], entities="z"))
        failed = pd.DataFrame([{"entity": "a", "detector": "CAD", "settings": "{}", "error": "no"}])
        table = tables.summary(pd.concat([MEASURED, alone, failed]))
        pd.testing.assert_frame_equal(table, tables.summary(MEASURED))
        assert "nothing to compare" in tables.in_words(alone)

    def test_an_adjusted_picture_needs_random_scores(self):
        assert list(tables.summaries(MEASURED)) == list(rescoring.METRICS[:2])
        without = MEASURED[MEASURED["detector"] != "random"]
        assert list(tables.summaries(without)) == ["average_precision"]
        assert "Random" not in tables.in_words(without)

    def test_words(self):
        text = tables.in_words(MEASURED[MEASURED["detector"] != "PCA"])
        first, _, light, base, lead, threshold, price = text.splitlines()
        assert "means of 3 entities" in first and "2 models" in first
        assert "0.300 (last value) to 0.600 (LightMMoE), 0.300 apart;" in first
        assert "0.000 (smoothed squares), 0.033 (smoothed absolute errors) and 0.000 (" in first
        assert "0.667 (last value) to 0.700 (LightMMoE), 0.033 apart." in first
        assert light.startswith("- LightMMoE goes from 0.600 to 0.700: +0.100 [")
        assert base.startswith("- last value goes from 0.300 to 0.667: +0.367 [")
        assert ": +0.300 [" in lead and "; +0.033 [" in lead and "better on 1 of 3" in lead
        assert "gains for 0 of 2 models (+0.000 to +0.000)" in threshold
        assert "loses for 1 of 2 models (-0.100 to +0.100)" in price
        assert "leaves them 0.200 apart, 0.000 before. Random scores reach 0.500" in price

    def test_in_short(self):
        text = tables.in_short(MEASURED[MEASURED["detector"] != "PCA"])
        assert text.startswith("2 models lie 0.300 apart under their own scoring, 0.000 (smoothed")
        assert "LightMMoE goes from 0.600 to 0.700: +0.100 [" in text
        assert "LightMMoE" not in tables.in_short(MEASURED[MEASURED["detector"] != "LightMMoE"])
        assert tables.in_short(MEASURED[MEASURED["detector"] == "random"]) == ""

    def test_the_picture_has_a_panel_per_metric_and_random_scores_in_each(self):
        names = rescoring.METRICS[:2]
        summaries = {name: tables.summary(MEASURED, name) for name in names}
        figure = drawn(lambda: model_or_scoring(summaries, "own", tables.SHARED))
        assert len(figure.axes) == 2
        shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert shown == ["last value", "LightMMoE", "PCA"]
        for ax, floor in zip(figure.axes, (0.1, 0.6), strict=True):
            assert any(list(line.get_xdata()) == pytest.approx([floor] * 2) for line in ax.lines)
