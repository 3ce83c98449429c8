"""Alarms of live streams, counted and explained."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from small import QUICK, TwoSeries, make, series

from lmmoe import metrics
from lmmoe.data import Series
from lmmoe.detectors import detector
from lmmoe.live.alarms import Alarm, episodes
from lmmoe.live.model import Facts, Model
from lmmoe.report import deployment, experiment, store
from lmmoe.report.plots import deployment as plots

LABELS = np.zeros(100, dtype=int)
LABELS[[*range(20, 30), *range(50, 55), *range(90, 95)]] = 1


def counted(scores, rule):
    """Count the alarms in a series of one channel, the roots of its scores, by the L2 norm."""
    train = np.array([[-1.0], [1.0]] * 50)  # mean 0, deviation 1: the score is the square
    halves = {"train": train, "test": np.sqrt(scores)[:, None], "labels": LABELS}
    one = Series.checked(dataset="d", entity="e", rows_per_day=50.0, **halves)
    model = Model(detector("MTSExample").fit(train), Facts.of(train, rows_per_day=50.0))
    return deployment.counted(one, model, scores, rule), model


def test_a_case_by_hand():
    scores = np.zeros(100)
    scores[5] = 4  # false; alarms end with the tenth quiet row
    scores[21:25] = 4  # a row into the first event
    scores[45] = 4  # opens before the second event, and is still open in it
    scores[51] = 4
    scores[70:72] = 4  # false
    found, model = counted(scores, "3")
    expected = {"rule": "3", "threshold": 3, "days": 2, "events": 3, "false_alarms_per_day": 3 / 2}
    minutes = 24 * 60 / 50  # a row
    expected |= {"found": 2 / 3, "announced": 1 / 3, "delay": minutes}
    inside = [*range(5, 16), *range(21, 35), *range(45, 62), *range(70, 82)]
    expected["share"] = sum(LABELS[row] == 0 for row in inside) / (LABELS == 0).sum()
    # The alarms open at 5, 21, 45 and 70, and a twentieth of the half are 5 rows; of
    # each event, which is longer than an hour, the first two rows count.
    starts = [20, 50, 90]
    moved = [[(row + 5 * turn) % 100 for row in (5, 21, 45, 70)] for turn in range(1, 20)]
    hits = [any(start <= row < start + 2 for row in rows) for rows in moved for start in starts]
    expected["chance"] = pytest.approx(np.mean(hits))
    assert found == expected
    assert counted(scores, "pot:0.0001")[0]["threshold"] == metrics.pot(
        model.detector.decision_scores_[-10:]
    )
    scores = np.array([np.nan, 5.0, 1.0, np.nan, 5.0])  # rows without a score do not count
    assert list(episodes(scores, Alarm(2.0))) == [(1, 5, True)]
    quiet, _ = counted(np.zeros(100), "3")
    assert quiet["found"] == quiet["announced"] == 0 and np.isnan(quiet["delay"])


def test_a_profiles_streams_and_their_summary(monkeypatch, tmp_path):
    daily = {name: series(entity=name, rows_per_day=100.0) for name in ("m1", "m2")}
    monkeypatch.setattr(TwoSeries, "load", lambda self, entity: daily[entity])
    given = {name: QUICK.get(name, {}) for name in ("LightMMoE", "MTSExample", "SmartSimpleAD")}
    profile = TwoSeries(profile="none-such", detectors=given, protocols=["ours", "study"])
    table = deployment.alarms(profile)
    assert len(table) == 2 * 3 * len(deployment.RULES) and set(table["rule"]) == {*deployment.RULES}
    assert "SmartSimpleAD" not in set(table["detector"])  # sees later rows
    # One machine of one event in a day, announced; the other of three in three days, none.
    table = table.groupby("entity").head(1).assign(days=[1, 3], events=[1, 3], announced=[1.0, 0])
    table = table.assign(detector="LightMMoE", rule="alarms:2")
    joined = deployment.summary(table.assign(false_alarms_per_day=[4.0, 0], share=[0.1, 0.3]))
    shown = joined.loc[("alarms:2", "LightMMoE")]
    expected = {"false_alarms_per_day": 1, "announced": 0.25, "share": 0.2}
    assert shown[[*expected]].to_dict() == pytest.approx(expected)
    run = experiment.Run(daily["m1"], "LightMMoE", settings=given["LightMMoE"])
    slow = pd.DataFrame([{"key": run.key, "train_seconds": 61.0}])
    monkeypatch.setattr(store, "read", lambda *_: slow.reindex(columns=experiment.ALL))
    monkeypatch.setenv("LMMOE_CACHE", str(tmp_path))  # its scores are not there
    [error] = deployment.alarms(profile)["error"].dropna()
    assert "training takes more than 60 s" in error
    daily |= {name: series(entity=name) for name in daily}  # a day's rows are not known
    assert deployment.summary(deployment.alarms(profile)).empty


def test_the_story_of_an_alarm():
    made = series(rows_per_day=100.0)  # channel 1 is 5 too high in both events
    facts = Facts.of(made.train, made.channels, rows_per_day=100.0)
    model = Model(make("LightMMoE").fit(made.train), facts)
    found = deployment.incident(model, made, "quantile")
    assert found.end - found.start == 100 and found.start <= found.row < found.end
    assert found.row in [first for first, _ in found.alarms]
    assert any(first <= found.row < end for first, end in made.events)
    assert len({*found.levels}) == 1 and found.scores[found.row] > found.levels[found.row]
    moved = deployment.incident(model, made, "alarms:2")
    opened = moved.alarms[0][0]
    assert moved.levels[opened] < moved.scores[opened] and np.diff(moved.levels)[opened] > 0
    assert found.shares.index[0] == made.channels[0] and found.shares.sum() <= 1 + 1e-9
    now = found.near.loc[0]
    assert now["observed"].to_list() == made.test[found.row].tolist()
    errors = ((now["observed"] - now["forecast"]) / made.train.std(axis=0)) ** 2
    assert found.scores[found.row] == pytest.approx(errors.mean(), rel=1e-3)
    assert len(drawn(lambda: plots.alarm(found, made)).axes) == 5
    silent = deployment.incident(model, made, "1e9")
    assert silent.alarms == [] and silent.row == silent.scores.argmax()
    assert len(drawn(lambda: plots.alarm(silent, made)).axes) == 5
