"""The same errors scored in several ways, and errors on learned and on later rows."""

import numpy as np
import pandas as pd
import pytest
from small import TwoSeries, series, tiny

from lmmoe import metrics
from lmmoe.detectors import detector
from lmmoe.report import rescoring
from lmmoe.report.experiment import PROTOCOLS

pytestmark = pytest.mark.usefixtures("small_runs")
ONE = series(entity="m1")
DETECTORS = {"MTSExample": {}, "PCA": {}, "random": {}, "1-NN": {}, "linear": {"epochs": 1}}

PLAN = TwoSeries(
    profile="none-such", detectors=DETECTORS, protocols=["ours", "study"], seeds=[0, 1]
)


def test_scorings_by_hand():
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
    # Rows before the first scored one get the lowest score and are not smoothed in.
    made = rescoring.scorings(np.array([[0, 0, 5, 3, 4.0]]).T, squared=False, unscored=2)
    assert made["absolute errors"].tolist() == made["highest 4"].tolist() == [3, 3, 5, 3, 4]
    assert made["smoothed absolute errors"] == pytest.approx([4.48, 4.48, 5, 4.6, 4.48])


def test_channel_scores_are_the_errors_of_the_detectors_own_score():
    for name in (*rescoring.SQUARED, *rescoring.ABSOLUTE):
        made, squared = tiny(name).fit(ONE.train), name in rescoring.SQUARED
        how = {"squared": squared, "unscored": made.unscored}
        found = rescoring.scorings(made.channel_scores(ONE.test), **how)
        own = found["squares" if squared else "absolute errors"]
        ratio = made.decision_function(ONE.test) / own  # a score is their sum or their mean
        assert ratio == pytest.approx(np.full(len(ratio), ratio[-1]), rel=1e-5), name
    smoothed = detector("PCA windows EWMA").fit(ONE.train).decision_function(ONE.test)
    assert found[rescoring.SHARED] == pytest.approx(smoothed)  # of the last one, PCA windows


def test_a_row_for_each_scoring_judged_as_the_detector_is():
    found = rescoring.table(PLAN)
    assert list(found) == list(rescoring.COLUMNS) and set(found["seed"]) == {0}
    assert set(found["detector"]) == {*DETECTORS} - {"1-NN"}  # whose distance has no parts
    assert len(found) == 2 * 4 * len(rescoring.SCORINGS) and found["error"].isna().all()
    made = detector("PCA").fit(ONE.train)
    scores = made.channel_scores(ONE.test).mean(axis=1)
    cut = np.quantile(made.channel_scores(ONE.train).mean(axis=1)[-30:], 0.99)
    data = {"labels": ONE.labels, "scores": scores}
    squeezed = metrics.best_f1(**data, adjust="squeeze").f1
    flagged = metrics.alarms(**data, threshold=cut).f1
    expected = [metrics.average_precision(**data), squeezed, flagged]
    line = found.query("entity == 'm1' and detector == 'PCA'").set_index("scoring")
    assert line.loc["absolute errors", [*rescoring.METRICS]].tolist() == pytest.approx(expected)
    own = metrics.average_precision(labels=ONE.labels, scores=made.decision_function(ONE.test))
    assert line.loc["own", "average_precision"] == pytest.approx(own)


def test_scorings_are_averaged_where_all_have_them_the_best_first():
    def lines(name, own, entities="abc"):
        for entity, value in zip(entities, own, strict=True):
            for scoring in rescoring.SCORINGS:
                yield entity, name, scoring, value if scoring == "own" else 0.1, None

    rows = [*lines("LightMMoE", (0.5, 0.6, 0.7)), *lines("PCA", (0.9, 0.9, 0.9))]
    rows += [*lines("HMMoE", [0.5], "c"), ("a", "CAD", None, None, "no")]
    names = ["entity", "detector", "scoring", "average_precision", "error"]
    table = rescoring.summary(pd.DataFrame(rows, columns=names))
    assert table["own"].to_dict() == pytest.approx({"PCA": 0.9, "LightMMoE": 0.6})
    assert list(table.index) == ["PCA", "LightMMoE"] and list(table) == list(rescoring.SCORINGS)


def test_errors_on_learned_and_on_later_rows():
    found = rescoring.generalisation(PLAN)
    assert list(found) == ["key", *rescoring.ERRORS]
    assert found["detector"].tolist() == ["linear"] * 2  # no other is a forecaster
    assert found["entity"].tolist() == ["m1", "m2"] and set(found["seed"]) == {0}
    cut = int(0.8 * len(ONE.train))
    model = PROTOCOLS["study"].detector("linear", epochs=1).fit(ONE.train[:cut])
    plain = detector("last value").fit(ONE.train[:cut])
    errors, base = (one.decision_function(ONE.train) for one in (model, plain))
    for name, part in (("seen", slice(20, cut)), ("unseen", slice(cut, None))):
        expected = errors[part].mean() / base[part].mean()
        assert found.loc[0, name] == pytest.approx(expected, rel=1e-5)


def test_medians_of_the_entities_of_all_the_smallest_first():
    lines = [("HMMoE", e, 99, 0.2, v) for e, v in zip("abcd", (0.4, 0.6, 9, 5), strict=True)]
    lines += [("linear", e, 10, 0.5, v) for e, v in zip("abc", (0.5, 1.0, 2.0), strict=True)]
    rows = pd.DataFrame(lines, columns=["detector", "entity", *rescoring.NUMBERS])
    table = rescoring.medians(rows.assign(settings="{}", error=None))  # d lacks linear
    assert list(table.index) == ["linear", "HMMoE"] and table["entities"].tolist() == [3, 3]
    assert table["unseen"].tolist() == [1.0, 0.6]


def test_a_failure_is_told_and_is_in_no_mean(monkeypatch):
    def fails(run):
        raise ValueError(f"no such luck with {run.detector}")

    monkeypatch.setattr(rescoring, "result", fails)
    ways = {rescoring.table: rescoring.summary, rescoring.generalisation: rescoring.medians}
    for measure, averaged in ways.items():
        failed = measure(PLAN)
        assert failed["error"].str.startswith("ValueError: no such luck with ").all()
        assert averaged(failed).empty
