"""Kept rows, alarms of live streams, machines that no training has seen, which detector where."""

import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn
from small import QUICK, TwoSeries, series

from lmmoe import metrics, paths
from lmmoe.data import Series
from lmmoe.detectors import detector
from lmmoe.errors import DataError
from lmmoe.live.model import Facts, Model
from lmmoe.report import deployment, experiment, new_machines, store
from lmmoe.report.new_machines import Shared, train_shared
from lmmoe.report.plots import deployment as plots
from lmmoe.report.profile import Profile

SMALL = {"experts": 2, "kernels": 3, "hidden": 8, "out": 4, "tower": 3, "window": 6, "epochs": 2}
LABELS = np.zeros(100, dtype=int)
LABELS[[*range(20, 30), *range(50, 55), *range(90, 95)]] = 1


def rows(count=200, seed=0, scale=1.0):
    values = np.random.default_rng(seed).normal(size=(count, 3))
    values[:, 1] = np.sin(np.arange(count) / 4)
    return scale * values + 5


def machine(entity, seed=0, channels=3):
    labels = np.zeros(300, dtype=int)
    labels[100:110] = 1
    test = rows(300, seed + 50)[:, :channels]
    test[100:110] += 6
    made = {"train": rows(300, seed)[:, :channels], "test": test, "labels": labels}
    return Series.checked(dataset="made up", entity=entity, rows_per_day=120, **made)


def test_kept_rows(tmp_path, monkeypatch):
    monkeypatch.delenv("LMMOE_FRESH", raising=False)
    monkeypatch.setattr("lmmoe.paths.figures", lambda profile: tmp_path / "figures" / profile)
    calls = []

    def lines(**hidden):
        return store.Table("p", "t").lines({"entity": "01"}, hidden, compute)

    def compute():
        calls.append(1)
        return [{"method": "a", "value": np.float64(0.1)}, {"method": "b", "error": "no"}]

    first = lines(seed=0)
    assert lines(seed=0) == first and len(calls) == 1
    assert lines(seed=1)[0]["key"] != first[0]["key"] and len(calls) == 2
    # From the published table, unless fresh.
    (tmp_path / "figures" / "p").mkdir(parents=True)
    pd.DataFrame(first).to_csv(tmp_path / "figures" / "p" / "t.csv", index=False)
    monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "other"))
    again = pd.DataFrame(lines(seed=0))
    assert len(calls) == 2 and again["entity"].tolist() == ["01", "01"]  # not the number 1
    pd.testing.assert_frame_equal(again[list(first[0])], pd.DataFrame(first)[list(first[0])])
    monkeypatch.setenv("LMMOE_FRESH", "1")
    lines(seed=0)
    assert len(calls) == 3
    # A failure is not kept.
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
        found = deployment.counted(*self.case(scores), scores, "3")
        expected = {"rule": "3", "threshold": 3, "last_threshold": 3}
        expected |= {"share": (scores[LABELS == 0] > 3).mean(), "alarms_per_day": 4 / 2}
        expected |= {"false_alarms_per_day": 2 / 2, "days": 2, "events": 3}
        assert found == expected | {"found": 2 / 3, "announced": 1 / 3, "delay": (2 + 0) / 2}
        made, model = self.case(scores)
        found = deployment.counted(made, model, scores, "pot:0.0001")
        assert found["threshold"] == metrics.pot(model.calibration) == found["last_threshold"]

    def test_an_alarm_at_the_end_counts_and_rows_without_a_score_do_not(self):
        found, above = deployment.episodes(np.array([np.nan, 5.0, 1.0, np.nan, 5.0]), 2.0)
        assert found == [(1, 4)] and above.tolist() == [False, True, False, False, True]
        assert deployment.episodes(np.zeros(4), 2.0) == ([], pytest.approx(np.zeros(4)))

    def test_a_profiles_streams_and_their_summary(self, monkeypatch):
        daily = {name: series(entity=name, rows_per_day=100.0) for name in ("m1", "m2")}
        monkeypatch.setattr(TwoSeries, "load", lambda self, entity: daily[entity])
        given = {name: QUICK.get(name, {}) for name in ("LightMMoE", "MTSExample")}
        table = deployment.alarms(TwoSeries(profile="none-such", detectors=given))
        assert len(table) == 16 and table["difference"].max() < 1e-5
        joined = deployment.summary(table)
        assert len(joined) == 8 and (joined["entities"] == 2).all() and (joined["days"] == 6).all()
        first = table[(table["detector"] == "LightMMoE") & (table["rule"] == "budget:1")]
        for name in ("alarms_per_day", "found", "announced", "share"):
            assert joined.iloc[0][name] == pytest.approx(first[name].mean())


class TestNewMachines:
    def test_one_machine_learns_as_alone_and_each_is_scaled_by_itself(self):
        """With all windows and nothing held out it is ordinary training, so near in its loss."""
        network = train_shared([rows()], seed=0, **SMALL)
        alone = detector("LightMMoE", seed=0, held_out=0.0, **SMALL).fit(rows())
        own = Shared.on(network, rows(), **SMALL)
        loss, expected = own.decision_scores_[6:].mean(), alone.decision_scores_[6:].mean()
        assert loss == pytest.approx(expected, rel=0.1)
        network = train_shared([rows(), rows(seed=1, scale=1000)], **SMALL)
        same = train_shared([rows(), rows(seed=1)], **SMALL)
        for one, other in zip(network.parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)

    def test_no_window_holds_rows_of_two_machines_and_no_more_are_drawn_than_allowed(
        self, monkeypatch
    ):
        lone, steps = new_machines.Mixture._learner, []
        given = [np.arange(9.0)[:, None], rows(9)[:, :1]]

        def counted(self, *parts):
            learner = lone(self, *parts)
            step = learner.step
            learner.step = lambda w, t: (steps.append((w, t)), step(w, t))[1]
            return learner

        monkeypatch.setattr(new_machines.Mixture, "_learner", counted)
        train_shared(given, **SMALL | {"epochs": 1})
        scale = np.concatenate([(one - one.mean()) / one.std() for one in given])[:, 0]
        legal = {tuple(np.float32(scale[a : a + 7])) for a in (0, 1, 2, 9, 10, 11)}
        seen = [torch.cat([w[:, 0], t], dim=1).numpy() for w, t in steps]
        assert {tuple(one) for one in np.concatenate(seen)} == legal
        steps.clear()
        train_shared([rows(), rows()], most=100, **SMALL)
        assert sum(len(windows) for windows, _ in steps) == 200  # two epochs

    def test_the_new_machine_learns_its_scaling_alone(self):
        network = train_shared([rows()], **SMALL)
        before = [part.clone() for part in network.parameters()]
        own, given = rows(50, seed=3, scale=9), rows(60, seed=4, scale=9)
        made = Shared.on(network, own, **SMALL)
        assert all(map(torch.equal, made.network.parameters(), before))
        scaled = torch.tensor((given - own.mean(axis=0)) / own.std(axis=0), dtype=torch.float32)
        with torch.inference_mode():
            forecast = network(scaled[:-1].unfold(0, 6, 1))
        expected = (forecast - scaled[6:]).square().mean(dim=1)
        np.testing.assert_allclose(made.decision_function(given)[6:], expected, rtol=1e-3)

    def test_refuses_machines_of_too_few_rows(self):
        with pytest.raises(DataError, match=r"fewer rows than a window needs \(7\)"):
            train_shared([np.zeros((50, 3)), np.zeros((6, 3))], **SMALL)

    def test_groups(self):
        named = new_machines.groups(["machine-1-1", "machine-1-10", "machine-3-2"])
        assert list(named.values()) == ["machine-1", "machine-1", "machine-3"]
        assert list(new_machines.groups(list("abcd")).values())[::3] == ["fold 1", "fold 1"]

    def test_table(self, monkeypatch):
        halves = {name: machine(name, number) for number, name in enumerate("ab")}
        monkeypatch.setattr(Profile, "present", property(lambda self: list(halves)))
        monkeypatch.setattr(Profile, "load", lambda self, entity: halves[entity])
        asked = []

        def noted(given, **how):
            asked.append(given)
            return train_shared(given, **how)

        monkeypatch.setattr(new_machines, "train_shared", noted)
        table = new_machines.table(Profile(profile="none-such", vus_window=5))
        learned = [[next(e for e in "ab" if halves[e].train is x) for x in g] for g in asked]
        assert learned == [["b"], ["a", "b"], ["a"]]  # never the machine itself, but last
        learned = table[["learned", "rows"]].drop_duplicates().to_numpy().tolist()
        assert learned == [["first hour", 5], ["first day", 120], ["all rows", 300]]
        whole = table[table["learned"] == "all rows"]
        unseen = new_machines.UNSEEN
        methods = [unseen, new_machines.SEEN, new_machines.OWN, "MTSExample", "random"]
        assert whole["method"].tolist() == methods * 2
        few = table[table["learned"] == "first hour"]  # 5 rows: a window needs 17
        assert few.loc[few["method"] == unseen, "error"].str.contains("too few").all()
        l2 = whole[(whole["method"] == "MTSExample") & (whole["entity"] == "a")].iloc[0]
        assert l2["average_precision"] == pytest.approx(1)  # the event stands far out
        assert whole["normal_share"].between(0, 1).all()
        means = new_machines.means(table)
        assert set(means["entities"]) == {2}
        assert len(drawn(lambda: plots.newcomers(means)).axes) == 2
        # Other channels: no network for all.
        halves["b"] = machine("b", channels=2)
        assert new_machines.table(Profile(profile="none-such")).empty

    def test_thresholds_come_from_rows_not_learned_from(self, monkeypatch):
        seen, evaluate = [], new_machines.evaluate

        def looked(labels, scores, **given):
            seen.append(len(given["calibration"]))
            return evaluate(labels, scores, **given)

        monkeypatch.setattr(new_machines, "evaluate", looked)
        own = detector("LightMMoE", **SMALL).fit(rows())
        network = Shared.on(own.network, rows(), **SMALL)
        for made in (own, network, detector("MTSExample").fit(rows())):
            new_machines.judged(made, machine("a"), 200, 5)
        assert seen == [20, 194, 200]  # the last tenth; all with scores of their own; all


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
    assert deployment.explain(model, made, day._replace(alarms=[])) is None
    assert len(drawn(lambda: plots.alarm(day, found, made)).axes) == 5
    assert len(drawn(lambda: plots.alarm(day, None, made)).axes) == 1


def test_live_steps_are_timed_and_a_detector_without_says_why(monkeypatch):
    monkeypatch.setattr(deployment, "CALLS", 20)
    names = ("LightMMoE", "MTSExample", "SmartSimpleAD")
    profile = TwoSeries(profile="p", dataset="own", detectors={n: QUICK.get(n, {}) for n in names})
    good = [{"entity": "m1", "detector": name, "protocol": "ours"} for name in names]
    table = deployment.steps(profile, experiment.ordered(pd.DataFrame(good)))
    light = table[table["detector"] == "LightMMoE"]
    ways = ["live step", "decision_function", "ONNX Runtime", "ONNX Runtime, int8"]
    assert light["way"].tolist() == ways and light["error"].isna().all()
    assert (light["p50_ms"] <= light["p99_ms"]).all() and light["model_bytes"].iloc[0] > 0
    assert table[table["detector"] == "SmartSimpleAD"]["error"].notna().all()


def test_places_take_what_their_rules_ask_for():
    columns = {"average_precision": [0.5, 0.4, 0.6], "quick": [True, True, False]}
    columns |= {"small": [False, True, False], "as_good": [True, False, True], "all": True}
    columns |= {"microseconds_per_row": [1.0, 0.1, 2], "core_seconds_a_month": [3.0, 0.1, 2]}
    table = pd.DataFrame(columns, index=["good", "light", "slow"])
    places = deployment.chosen(table).set_index("place")["detector"]
    assert list(places) == ["good", "light", "slow", "good", "slow"]
    none = deployment.chosen(table.assign(quick=False)).set_index("place")
    assert none["detector"].isna()["real time"]
    # As published on SMD.
    folder = paths.figures("smd")
    table = store.read(folder / "runs.csv", experiment.ALL)
    live = store.read(folder / "live_steps.csv")
    found = deployment.candidates(table, live, "ours")
    assert not {"random", "untrained LightMMoE"} & set(found.index)
    published = pd.read_csv(folder / "deployment_choice.csv")
    pd.testing.assert_frame_equal(deployment.chosen(found), published, rtol=1e-6)


def test_only_entities_with_models_stay(monkeypatch):
    monkeypatch.setattr(Profile, "present", property(lambda self: self.entities))
    lines = [("a", "LightMMoE", None), ("a", "PCA", "no"), ("b", "LightMMoE", "no")]
    table = pd.DataFrame([*lines, ("c", "PCA", None)], columns=["entity", "detector", "error"])
    assert deployment.with_models(Profile(entities=["a", "b", "c"]), table).entities == ["a"]
    with pytest.raises(DataError, match="no entity that LightMMoE could be fitted to"):
        deployment.with_models(Profile(entities=["b", "c"]), table)


def test_pictures_of_published_tables():
    folder = paths.figures("smd")
    steps = store.read(folder / "live_steps.csv")
    figure = drawn(lambda: plots.steps(steps))
    assert len(figure.axes[0].get_yticklabels()) == steps["error"].isna().sum()
    assert len(drawn(lambda: plots.newcomers(pd.DataFrame())).axes) == 1
