"""What the rules are worth, counted from live runs."""

import numpy as np
import pytest
from small import QUICK, series
from watched import NAMES

from lmmoe import detector, metrics
from lmmoe.data import Series
from lmmoe.live.model import Facts, Model
from lmmoe.report.deployment import alarms_measured as measure
from lmmoe.report.runs import Run

LABELS = np.zeros(100, dtype=int)
LABELS[[*range(20, 30), *range(50, 55), *range(90, 95)]] = 1


def case(scores, labels=LABELS):
    """A series of one channel whose rows are its scores' roots, and a model that squares them."""
    rows = np.sqrt(np.asarray(scores, dtype=float))[:, None]
    train = np.array([[-1.0], [1.0]] * 50)  # mean 0, deviation 1: the score is the square
    made = Series.checked(
        dataset="d", entity="e", train=train, test=rows, labels=labels, rows_per_day=50.0
    )
    return made, Model(detector("MTSExample").fit(train), Facts.of(train, rows_per_day=50.0))


def test_a_case_by_hand():
    scores = np.zeros(100)
    scores[5] = 4  # false
    scores[22:25] = 4  # two rows into the first event
    scores[45] = 4  # opens before the second event, and is still open in it
    scores[51] = 4
    scores[70:72] = 4  # false
    made, model = case(scores)
    assert np.array_equal(measure.live_scores(model, made.test), made.test[:, 0] ** 2)
    found = measure.judged(made, model, scores, 3.0, release=1.0)
    normal = LABELS == 0
    assert found == {
        "rule": 3.0,
        "threshold": 3.0,
        "last_threshold": 3.0,
        "promised_share": pytest.approx(np.nan, nan_ok=True),
        "share": pytest.approx((scores[normal] > 3).mean()),
        "promised_per_day": pytest.approx(np.nan, nan_ok=True),
        "alarms_per_day": 4 / 2,
        "false_alarms_per_day": 2 / 2,
        "days": 2.0,
        "events": 3,
        "found": pytest.approx(2 / 3),
        "announced": pytest.approx(1 / 3),
        "delay": (2 + 0) / 2,
    }


def test_promises_are_those_of_the_rules():
    made, model = case(np.arange(100))
    scores = np.arange(100.0)
    by = {rule: measure.judged(made, model, scores, rule) for rule in measure.RULES}
    assert by["budget:1"]["promised_per_day"] == 1 and np.isnan(by["budget:1"]["promised_share"])
    assert by["quantile:0.99"]["promised_share"] == pytest.approx(0.01)
    assert by["pot:0.0001"]["promised_share"] == by["spot:0.0001"]["promised_share"] == 1e-4
    assert by["pot:0.0001"]["threshold"] == metrics.pot(model.calibration)


def test_an_alarm_at_the_end_counts_and_rows_without_a_score_do_not():
    found, above = measure.episodes(np.array([np.nan, 5.0, 1.0, np.nan, 5.0]), 2.0)
    assert found == [(1, 4)] and above.tolist() == [False, True, False, False, True]
    assert measure.episodes(np.zeros(4), 2.0) == ([], pytest.approx(np.zeros(4)))


def test_a_table_of_runs_and_its_summary():
    runs = [
        Run(series(entity=name, rows_per_day=100.0), which, settings=QUICK.get(which, {}))
        for name in ("a", "b")
        for which in ("LightMMoE", "MTSExample")
    ]
    table = measure.table(runs, rules=("budget:1", "spot"))
    assert len(table) == 8 and table["difference"].max() < 1e-5
    assert list(table["detector"].unique()) == ["LightMMoE", "MTSExample"]
    summary = measure.summary(table)
    assert len(summary) == 4 and (summary["entities"] == 2).all() and (summary["days"] == 6).all()
    first = table[(table["detector"] == "LightMMoE") & (table["rule"] == "budget:1")]
    row = summary.iloc[0]
    assert row["alarms_per_day"] == pytest.approx(first["alarms_per_day"].mean())
    assert row["found"] == pytest.approx(first["found"].mean())
    assert row["false_alarms_per_day"] <= row["alarms_per_day"]
    assert measure.model_of(runs[0]).channels == runs[0].series.channels
    assert len(NAMES) == len(runs[0].series.channels)
