"""Forecast errors of runs, from what the cache holds: against hand-worked and direct numbers."""

import numpy as np
import pandas as pd
import pytest
from made_up_rows import frame
from small import LIGHT, series

from lmmoe.detectors import detector
from lmmoe.report import runs
from lmmoe.report.ablation.forecast import forecast_errors, last_value_error
from lmmoe.report.params import Profile
from lmmoe.report.runs import Run

pytestmark = pytest.mark.usefixtures("small_runs")


class Plan(Profile):
    """A profile whose data is one made-up series."""

    def load(self, entity):
        return series(entity=entity)


def row(name, **settings):
    return runs.row(Run(series(), name, settings=settings), vus_window=10)


def test_the_last_values_error_by_hand():
    # Ten rows are held out; two channels, one constant. The other steps by 2 every row there and
    # stands still before: deviation d, so each step counts (2 / d)^2, halved by the mean.
    moving = np.concatenate([np.zeros(90), 2.0 * np.arange(1, 11)])
    train = np.column_stack([moving, np.full(100, 7.0)])
    made = series(100, 2, train=train)
    assert last_value_error(made) == pytest.approx((2 / moving.std()) ** 2 / 2)


def test_the_first_held_out_row_is_compared_with_the_row_before_it():
    moving = np.concatenate([np.full(90, 5.0), np.zeros(10)])
    made = series(100, 1, train=moving[:, None], causes=())
    assert last_value_error(made) == pytest.approx((5 / moving.std()) ** 2 / 10)


def test_it_is_the_error_of_the_detector_of_that_name():
    found = runs.result(Run(series(), "last value"))
    assert last_value_error(series()) == pytest.approx(found.calibration.mean())
    rows = frame(row("last value"))
    assert forecast_errors(rows, Plan()).tolist() == [pytest.approx(1)]


def test_a_models_error_is_its_held_out_loss_over_the_last_values():
    rows = frame(row("LightMMoE", **LIGHT), row("LightMMoE", **LIGHT | {"loss": "l1"}))
    errors = forecast_errors(rows, Plan())
    history = detector("LightMMoE", **LIGHT).fit(series().train).history
    expected = min(history.held_out) / last_value_error(series())
    assert errors[rows["key"][0]] == pytest.approx(expected, rel=1e-5)
    # The loss of the other was an absolute error; its forecast error is squared all the same.
    model = detector("LightMMoE", **LIGHT | {"loss": "l1"}).fit(series().train)
    squared = model.decision_scores_[-30:].mean() / last_value_error(series())
    assert errors[rows["key"][1]] == pytest.approx(squared)


def test_only_forecasters_under_our_protocol_have_one():
    study = runs.row(Run(series(), "last value", "study"), vus_window=10)
    rows = frame(row("MTSExample"), row("random"), study)
    assert forecast_errors(rows, Plan()).empty


def test_what_is_not_in_the_cache_comes_from_the_known_ones_and_is_never_fitted(monkeypatch):
    rows = frame(row("last value"))
    monkeypatch.setenv("LMMOE_CACHE", "nowhere")
    assert forecast_errors(rows, Plan()).empty
    known = pd.Series({rows["key"][0]: 0.25, "another": 9.0})
    assert forecast_errors(rows, Plan(), known).to_dict() == {rows["key"][0]: 0.25}


def test_failed_runs_have_none():
    rows = frame(row("last value")).assign(error="ValueError: no")
    assert forecast_errors(rows, Plan()).empty


def test_where_nothing_moves_there_is_no_ratio():
    still = series(train=np.ones((300, 4)))
    made = runs.row(Run(still, "last value"), vus_window=10)

    class Still(Profile):
        def load(self, entity):
            return still

    assert forecast_errors(frame(made), Still()).isna().all()
