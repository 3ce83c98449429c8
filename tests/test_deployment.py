"""Kept rows, alarms of live streams, machines that no training has seen, which detector where."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small import QUICK, TwoSeries, series

from lmmoe import metrics
from lmmoe.data import Series
from lmmoe.detectors import detector
from lmmoe.errors import DataError
from lmmoe.live.model import Facts, Model
from lmmoe.report import deployment, experiment, newcomers, store
from lmmoe.report.plots import deployment as plots
from lmmoe.report.profile import Profile

SMALL = {"experts": 2, "kernels": 3, "hidden": 8, "out": 4, "tower": 3, "window": 6, "epochs": 2}
LABELS = np.zeros(100, dtype=int)
LABELS[[*range(20, 30), *range(50, 55), *range(90, 95)]] = 1


def rows(count=200, seed=0, scale=1.0):
    values = np.random.default_rng(seed).normal(size=(count, 3))
    values[:, 1] = np.sin(np.arange(count) / 4)
    return scale * values + 5


def machine(entity, seed=0, count=300):
    labels = np.zeros(count, dtype=int)
    labels[100:110] = 1
    test = rows(count, seed + 50)
    test[100:110] += 6
    made = {"train": rows(count, seed), "test": test, "labels": labels, "rows_per_day": 120}
    return Series.checked(dataset="made up", entity=entity, **made)


class TestKept:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("LMMOE_FRESH", raising=False)
        monkeypatch.setattr("lmmoe.paths.figures", lambda profile: tmp_path / "figures" / profile)
        self.folder, self.calls = tmp_path / "figures" / "p", 0

    def lines(self, **hidden):
        return store.Table("p", "t").lines({"entity": "01"}, hidden, self.compute)

    def compute(self):
        self.calls += 1
        return [{"method": "a", "value": np.float64(0.1)}, {"method": "b", "error": "no"}]

    def test_are_computed_once_for_each_identity(self):
        first, again = self.lines(seed=0), self.lines(seed=0)
        assert first == again and self.calls == 1
        assert self.lines(seed=1)[0]["key"] != first[0]["key"]
        assert self.calls == 2

    def test_come_from_the_published_table_unless_fresh(self, monkeypatch, tmp_path):
        table = pd.DataFrame(self.lines(seed=0))
        self.folder.mkdir(parents=True)
        table.to_csv(self.folder / "t.csv", index=False)
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "other"))
        again = pd.DataFrame(self.lines(seed=0))
        assert self.calls == 1 and again["entity"].tolist() == ["01", "01"]  # not the number 1
        pd.testing.assert_frame_equal(again[table.columns], table)
        monkeypatch.setenv("LMMOE_FRESH", "1")
        self.lines(seed=0)
        assert self.calls == 2

    def test_a_failure_is_not_kept(self):
        with pytest.raises(ZeroDivisionError):
            store.Table("p", "t").lines({}, {}, lambda: 1 / 0)
        assert store.Table("p", "t").lines({}, {}, list) == []


class TestAlarms:
    def case(self, scores):
        """A series of one channel, the roots of its scores, and a model that squares them."""
        test = np.sqrt(np.asarray(scores, dtype=float))[:, None]
        train = np.array([[-1.0], [1.0]] * 50)  # mean 0, deviation 1: the score is the square
        made = {"train": train, "test": test, "labels": LABELS, "rows_per_day": 50.0}
        one = Series.checked(dataset="d", entity="e", **made)
        return one, Model(detector("MTSExample").fit(train), Facts.of(train, rows_per_day=50.0))

    def test_a_case_by_hand(self):
        scores = np.zeros(100)
        scores[5] = 4  # false
        scores[22:25] = 4  # two rows into the first event
        scores[45] = 4  # opens before the second event, and is still open in it
        scores[51] = 4
        scores[70:72] = 4  # false
        found = deployment.counted(*self.case(scores), scores, 3.0, release=1.0)
        assert found == {
            "rule": 3.0,
            "threshold": 3.0,
            "last_threshold": 3.0,
            "promised_share": pytest.approx(np.nan, nan_ok=True),
            "share": pytest.approx((scores[LABELS == 0] > 3).mean()),
            "promised_per_day": pytest.approx(np.nan, nan_ok=True),
            "alarms_per_day": 4 / 2,
            "false_alarms_per_day": 2 / 2,
            "days": 2.0,
            "events": 3,
            "found": pytest.approx(2 / 3),
            "announced": pytest.approx(1 / 3),
            "delay": (2 + 0) / 2,
        }

    def test_promises_are_those_of_the_rules(self):
        made, model = self.case(np.arange(100))
        by = {r: deployment.counted(made, model, np.arange(100.0), r) for r in deployment.RULES}
        assert by["budget:1"]["promised_per_day"] == 1
        assert by["quantile:0.99"]["promised_share"] == pytest.approx(0.01)
        assert by["pot:0.0001"]["promised_share"] == by["spot:0.0001"]["promised_share"] == 1e-4
        assert by["pot:0.0001"]["threshold"] == metrics.pot(model.calibration)

    def test_an_alarm_at_the_end_counts_and_rows_without_a_score_do_not(self):
        found, above = deployment.episodes(np.array([np.nan, 5.0, 1.0, np.nan, 5.0]), 2.0)
        assert found == [(1, 4)] and above.tolist() == [False, True, False, False, True]
        assert deployment.episodes(np.zeros(4), 2.0) == ([], pytest.approx(np.zeros(4)))

    def test_a_profiles_streams_and_their_summary(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path))
        daily = {name: series(entity=name, rows_per_day=100.0) for name in ("m1", "m2")}
        monkeypatch.setattr(TwoSeries, "load", lambda self, entity: daily[entity])
        given = {name: QUICK.get(name, {}) for name in ("LightMMoE", "MTSExample")}
        table = deployment.alarms(TwoSeries(profile="none-such", detectors=given))
        assert len(table) == 16 and table["difference"].max() < 1e-5
        joined = deployment.summary(table)
        assert len(joined) == 8 and (joined["entities"] == 2).all() and (joined["days"] == 6).all()
        first = table[(table["detector"] == "LightMMoE") & (table["rule"] == "budget:1")]
        row = joined.iloc[0]
        for name in ("alarms_per_day", "found", "announced"):
            assert row[name] == pytest.approx(first[name].mean())
        assert row["false_alarms_per_day"] <= row["alarms_per_day"]


class TestNewcomers:
    def test_one_machine_learns_as_alone(self):
        """With all windows and nothing held out it is ordinary training, so near in its loss."""
        network = newcomers.train([rows()], seed=0, **SMALL)
        alone = detector("LightMMoE", seed=0, held_out=0.0, **SMALL).fit(rows())
        own = newcomers.shared(network, rows(), **SMALL)
        loss, expected = own.decision_scores_[6:].mean(), alone.decision_scores_[6:].mean()
        assert loss == pytest.approx(expected, rel=0.1)

    def test_each_machine_is_scaled_by_itself(self):
        network = newcomers.train([rows(), rows(seed=1, scale=1000)], **SMALL)
        same = newcomers.train([rows(), rows(seed=1)], **SMALL)
        for one, other in zip(network.parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)

    def test_no_window_holds_rows_of_two_machines_and_no_more_are_drawn_than_allowed(
        self, monkeypatch
    ):
        lone, steps = newcomers.Mixture._learner, []
        given = [np.arange(9.0)[:, None], rows(9)[:, :1]]

        def counted(self, *parts):
            learner = lone(self, *parts)
            step = learner.step
            learner.step = lambda w, t: (steps.append((w, t)), step(w, t))[1]
            return learner

        monkeypatch.setattr(newcomers.Mixture, "_learner", counted)
        newcomers.train(given, **SMALL | {"epochs": 1})
        assert sum(len(windows) for windows, _ in steps) == 2 * (9 - 6)
        scale = np.concatenate([(one - one.mean()) / one.std() for one in given])[:, 0]
        legal = {tuple(np.float32(scale[a : a + 7])) for a in (0, 1, 2, 9, 10, 11)}
        for windows, targets in steps:
            whole = torch.cat([windows[:, 0], targets], dim=1).numpy()
            assert {tuple(one) for one in whole} <= legal
        steps.clear()
        newcomers.train([rows(), rows()], most=100, **SMALL)
        assert sum(len(windows) for windows, _ in steps) == 200  # two epochs

    def test_the_new_machine_learns_its_scaling_alone(self):
        network = newcomers.train([rows()], **SMALL)
        before = [part.clone() for part in network.parameters()]
        made = newcomers.shared(network, rows(50, seed=3, scale=9), **SMALL)
        for part, old in zip(made.network.parameters(), before, strict=True):
            assert torch.equal(part, old)
        given = rows(60, seed=4, scale=9)
        scaled = (given - rows(50, seed=3, scale=9).mean(axis=0)) / rows(50, 3, 9).std(axis=0)
        windows = np.lib.stride_tricks.sliding_window_view(scaled[:-1], 6, axis=0)
        with torch.inference_mode():
            forecast = network(torch.tensor(windows.copy(), dtype=torch.float32)).numpy()
        expected = np.square(forecast - scaled[6:]).mean(axis=1)
        np.testing.assert_allclose(made.decision_function(given)[6:], expected, rtol=1e-3)

    def test_refuses(self):
        for machines, message in (
            ([], "machines without rows"),
            ([np.zeros((50, 3)), np.zeros((50, 4))], "different channels"),
            ([np.zeros((50, 3)), np.zeros((6, 3))], r"fewer rows than a window needs \(7\)"),
        ):
            with pytest.raises(DataError, match=message):
                newcomers.train(machines, **SMALL)

    def test_groups_and_amounts(self):
        named = newcomers.groups(["machine-1-1", "machine-1-10", "machine-3-2"])
        assert list(named.values()) == ["machine-1", "machine-1", "machine-3"]
        assert list(newcomers.groups(list("abcd")).values())[::3] == ["fold 1", "fold 1"]
        found = newcomers.amounts(machine("a"))  # 120 rows a day, 300 in all
        assert found == [("first hour", 5), ("first day", 120), ("all rows", 300)]

    def test_table(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path))
        halves = {name: machine(name, number) for number, name in enumerate("ab")}
        monkeypatch.setattr(Profile, "present", property(lambda self: list(halves)))
        monkeypatch.setattr(Profile, "load", lambda self, entity: halves[entity])
        train, asked = newcomers.train, []
        monkeypatch.setattr(
            newcomers, "train", lambda given, **how: asked.append(given) or train(given, **how)
        )
        table = newcomers.table(Profile(profile="none-such", vus_window=5))
        learned = [[next(e for e in "ab" if halves[e].train is x) for x in g] for g in asked]
        assert learned == [["b"], ["a", "b"], ["a"]]  # never the machine itself, but last
        whole = table[table["learned"] == "all rows"]
        methods = [newcomers.UNSEEN, newcomers.SEEN, newcomers.OWN, "MTSExample", "random"]
        assert whole["method"].tolist() == methods * 2
        few = table[table["learned"] == "first hour"]  # 5 rows: a window needs 17
        assert few.loc[few["method"] == newcomers.UNSEEN, "error"].str.contains("too few").all()
        l2 = whole[(whole["method"] == "MTSExample") & (whole["entity"] == "a")].iloc[0]
        assert l2["average_precision"] == pytest.approx(1)  # the event stands far out
        assert whole["normal_share"].between(0, 1).all()
        means = newcomers.means(table)
        assert set(means["entities"]) == {2}
        assert len(plots.newcomers(means).axes) == 2

    def test_thresholds_come_from_rows_not_learned_from(self, monkeypatch):
        seen = []
        budget = newcomers.alarm_budget
        monkeypatch.setattr(
            newcomers, "alarm_budget", lambda s, *a, **k: seen.append(len(s)) or budget(s, *a, **k)
        )
        own = detector("LightMMoE", **SMALL).fit(rows())
        network = newcomers.shared(own.network, rows(), **SMALL)
        for made in (own, network, detector("MTSExample").fit(rows())):
            newcomers.judged(made, machine("a"), 200, 5)
        assert seen == [20, 194, 200]  # the last tenth; all with scores of their own; all

    def test_entities_of_different_channels_give_an_empty_table(self, monkeypatch):
        one = machine("a")
        wide = {name: np.hstack([getattr(one, name)] * 2) for name in ("train", "test")}
        made = {"labels": one.labels, "rows_per_day": 9, **wide}
        halves = {"a": one, "b": Series.checked(dataset="made up", entity="b", **made)}
        monkeypatch.setattr(Profile, "present", property(lambda self: list(halves)))
        monkeypatch.setattr(Profile, "load", lambda self, entity: halves[entity])
        assert newcomers.table(Profile(profile="none-such")).empty


def test_the_story_of_an_alarm():
    made = series(rows_per_day=100.0)  # channel 1 is 5 too high in both events
    model = Model(
        detector("LightMMoE", **QUICK["LightMMoE"]).fit(made.train),
        Facts.of(made.train, made.channels, rows_per_day=100.0),
    )
    day = deployment.watch(model, made, "quantile")
    assert day.end - day.start == 100 == len(day.scores)
    batch = model.detector.decision_function(made.test)[day.start : day.end]
    np.testing.assert_allclose(day.scores, batch, rtol=1e-4)
    found = deployment.explain(model, made, day)
    assert any(first <= found.row < end for first, end in made.events)
    assert found.shares.index[0] == made.channels[0] and found.shares.sum() <= 1 + 1e-9
    assert found.observed.loc[0].iloc[0] == made.test[found.row, 0]
    assert deployment.explain(model, made, replace(day, alarms=[])) is None
    assert len(plots.alarm(day, found, made).axes) == 5
    assert len(plots.alarm(day, None, made).axes) == 1


def test_live_steps_are_timed_and_a_detector_without_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("LMMOE_CACHE", str(tmp_path))
    monkeypatch.setattr(deployment, "FEW", 20)
    names = ("LightMMoE", "MTSExample", "SmartSimpleAD")
    profile = TwoSeries(profile="p", detectors={n: QUICK.get(n, {}) for n in names})
    good = [{"entity": "m1", "detector": name, "protocol": "ours"} for name in names]
    table = deployment.steps(profile, experiment.ordered(pd.DataFrame(good)))
    light = table[table["detector"] == "LightMMoE"]
    ways = [deployment.STEP, deployment.BATCH, deployment.ONNX, deployment.INT8]
    assert light["way"].tolist() == ways and light["error"].isna().all()
    assert (light["p50_ms"] <= light["p99_ms"]).all() and light["model_bytes"].iloc[0] > 0
    assert table[table["detector"] == "SmartSimpleAD"]["error"].notna().all()
    assert len(plots.steps(table).axes) == 2


def test_places_take_what_their_rules_ask_for():
    names = ["good", "light", "slow", "random"]
    lines = [
        {"detector": name, "entity": f"e{n}", "protocol": "ours", "seed": 0, "error": None}
        | {"average_precision": quality + n / 1000, "train_seconds": seconds}
        | {"score_seconds": seconds, "test_rows": 1000}
        for n in range(5)
        for name, quality, seconds in zip(names, (0.5, 0.4, 0.6, 0.9), (9, 1, 99, 0), strict=True)
    ]
    rows = experiment.ordered(pd.DataFrame(lines))
    live = pd.DataFrame({"detector": names, "way": deployment.STEP, "error": None})
    live = live.assign(p99_processor_ms=[1.0, 1.0, 20.0, 0.1], state_bytes=1.0)
    live = live.assign(model_bytes=[3e5, 1e5, 1e6, 1.0])
    table = deployment.candidates(rows, live, "ours")
    assert "random" not in table.index  # a control
    places = deployment.chosen(table).set_index("place")["detector"]
    assert places.to_dict() == {
        "real time": "good",
        "edge": "light",
        "cloud": "slow",
        "batch": "slow",
        "research": "slow",
    }
    none = deployment.chosen(deployment.candidates(rows, live.assign(error="no"), "ours"))
    assert none.set_index("place")["detector"].isna()["real time"]


def test_only_entities_with_models_stay(monkeypatch):
    monkeypatch.setattr(Profile, "present", property(lambda self: self.entities))
    lines = [("a", "LightMMoE", None), ("a", "PCA", "no"), ("b", "LightMMoE", "no")]
    rows = pd.DataFrame([*lines, ("c", "PCA", None)], columns=["entity", "detector", "error"])
    assert deployment.with_models(Profile(entities=["a", "b", "c"]), rows).entities == ["a"]
    with pytest.raises(DataError, match="no entity that LightMMoE could be fitted to"):
        deployment.with_models(Profile(entities=["b", "c"]), rows)
