"""ThreeViews taken apart: variants, and other models' errors in its first view."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from small import QUICK, TwoSeries, series

from lmmoe.detectors import detector
from lmmoe.metrics import average_precision
from lmmoe.report import views
from lmmoe.report.plots import comparison

NAMES = ("ThreeViews", "PCA windows", "MTSExample", "random")


@pytest.fixture
def profile(home):
    given = {name: QUICK.get(name, {}) for name in NAMES}
    return TwoSeries(profile="two", detectors=given, protocols=["ours"])


def test_variants_are_compared_with_three_views(profile):
    table = views.compared(views.variants(profile))
    assert list(table.index) == list(views.VARIANTS) and {*table["entities"][1:]} == {2}
    found = []
    for entity in profile.present:
        one = profile.load(entity)
        made = [detector("ThreeViews", **given).fit(one.train) for given in ({}, {"views": "BC"})]
        scores = [each.decision_function(one.test) for each in made]
        found.append([average_precision(labels=one.labels, scores=each) for each in scores])
    whole, less = np.mean(found, axis=0)
    assert table.loc["ThreeViews", "average_precision"] == pytest.approx(whole)
    assert table.loc["without A", "difference"] == pytest.approx(less - whole)


def test_another_models_errors_take_the_place_of_the_first_view(profile, monkeypatch):
    table, found = views.compared(views.of_models(profile)), []
    assert list(table.index) == ["ThreeViews", "PCA windows", "MTSExample"]
    for entity in profile.present:
        one = profile.load(entity)
        mean, deviation = one.train.mean(axis=0), one.train.std(axis=0)
        train, test = (np.abs(rows - mean) / deviation for rows in (one.train, one.test))
        unit = np.quantile(train[75:], 0.99, axis=0)
        means = [pd.Series((part / unit).mean(axis=1)) for part in (train, test)]
        heights = [each.ewm(alpha=0.5, adjust=False).mean() for each in means]
        rest = detector("ThreeViews", views="BC").fit(one.train).decision_function(one.test)
        scores = rest + np.log(1 + heights[1] / heights[0][75:].mean())
        found.append(average_precision(labels=one.labels, scores=scores))
    assert table.loc["MTSExample", "average_precision"] == pytest.approx(np.mean(found))
    blind = series(labels=None)
    monkeypatch.setattr(TwoSeries, "load", lambda self, entity: blind)
    assert views.compared(views.of_models(profile)).empty
    assert views.compared(views.variants(profile)).empty


def test_where_another_detector_is_better(profile, monkeypatch):
    values = pd.DataFrame({views.OURS: [0.5, 0.4], views.RIVAL: [0.6, 0.7]}, index=["m1", "m2"])
    scores, kept = dict(zip(values, np.zeros((2, 300)), strict=True)), views.result
    scores[views.OURS][[100, 150, 0]] = 9, 1, 2  # a row of the second event below a normal one
    scores[views.RIVAL][[100, 150, 0]] = 9, 3, 2
    monkeypatch.setattr(
        views, "result", lambda run: replace(kept(run), scores=scores[run.detector])
    )
    found, event, ranks, channels = views.loss(profile, values)
    assert (found.entity, event) == ("m2", (150, 155)) and channels[0] == 0  # what moves there
    shares = [ranks[name][[100, 150, 151]].tolist() for name in values]
    assert shares == pytest.approx(np.array([[0.5, 1, 275], [0.5, 0.5, 275]]) / 275)
    figure = drawn(lambda: comparison.loss(found, event, ranks, channels))
    assert len(figure.axes) == 2 + len(channels)
