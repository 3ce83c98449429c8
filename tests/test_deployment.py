"""Kept rows, the network for all machines, and machines that no training has seen."""

import numpy as np
import pandas as pd
import pytest
import torch

from lmmoe.data import Series
from lmmoe.detectors import detector
from lmmoe.errors import DataError
from lmmoe.report.deployment import first_rows, fleet, kept, newcomer, story
from lmmoe.report.params import Profile

SMALL = {"experts": 2, "kernels": 3, "hidden": 8, "out": 4, "tower": 3, "window": 6, "epochs": 2}


def rows(count=200, seed=0, scale=1.0):
    values = np.random.default_rng(seed).normal(size=(count, 3))
    values[:, 1] = np.sin(np.arange(count) / 4)
    return scale * values + 5


def series(entity, seed=0, count=300):
    labels = np.zeros(count, dtype=int)
    labels[100:110] = 1
    test = rows(count, seed + 50)
    test[100:110] += 6
    return Series.checked(
        dataset="made up",
        entity=entity,
        train=rows(count, seed),
        test=test,
        labels=labels,
        rows_per_day=120,
    )


class TestKept:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("LMMOE_FRESH", raising=False)
        monkeypatch.setattr("lmmoe.paths.figures", lambda profile: tmp_path / "figures" / profile)
        self.folder, self.calls = tmp_path / "figures" / "p", 0

    def lines(self, **hidden):
        return kept.Kept("p", "t").lines({"entity": "01"}, hidden, self.compute)

    def compute(self):
        self.calls += 1
        return [{"method": "a", "value": 0.1}, {"method": "b", "error": "no"}]

    def test_are_computed_once_for_each_identity(self):
        first, again = self.lines(seed=0), self.lines(seed=0)
        assert first == again
        assert self.calls == 1
        assert self.lines(seed=1)[0]["key"] != first[0]["key"]
        assert self.calls == 2

    def test_come_from_the_published_table_without_the_cache(self, monkeypatch):
        columns = ("entity", "method", "value", "error")
        table = kept.table(self.lines(seed=0), columns)
        self.folder.mkdir(parents=True)
        table.to_csv(self.folder / "t.csv", index=False)
        monkeypatch.setenv("LMMOE_CACHE", "/nowhere")
        again = kept.table(self.lines(seed=0), columns)
        assert self.calls == 1
        pd.testing.assert_frame_equal(again, table)
        assert again["entity"].tolist() == ["01", "01"]  # not the number 1

    def test_a_fresh_report_does_not_look_at_it(self, monkeypatch, tmp_path):
        self.test_come_from_the_published_table_without_the_cache(monkeypatch)
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path / "other"))
        monkeypatch.setenv("LMMOE_FRESH", "1")
        self.lines(seed=0)
        assert self.calls == 2

    def test_a_failure_is_not_kept(self):
        with pytest.raises(ZeroDivisionError):
            kept.Kept("p", "t").lines({}, {}, lambda: 1 / 0)
        assert kept.Kept("p", "t").lines({}, {}, list) == []


class TestFleet:
    def test_no_window_holds_rows_of_two_machines(self):
        assert fleet._starts([5, 3, 4], 3).tolist() == [0, 1, 2, 5, 8, 9]

    def test_one_machine_learns_as_alone(self):
        """With all windows and nothing held out it is ordinary training, so near in its loss."""
        network = fleet.train([rows()], seed=0, **SMALL)
        alone = detector("LightMMoE", seed=0, held_out=0.0, **SMALL).fit(rows())
        own = fleet.shared(network, rows(), **SMALL)
        loss, expected = own.decision_scores_[6:].mean(), alone.decision_scores_[6:].mean()
        assert loss == pytest.approx(expected, rel=0.1)

    def test_each_machine_is_scaled_by_itself(self):
        network = fleet.train([rows(), rows(seed=1, scale=1000)], **SMALL)
        same = fleet.train([rows(), rows(seed=1)], **SMALL)
        for one, other in zip(network.parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)

    def test_the_new_machine_learns_its_scaling_alone(self):
        network = fleet.train([rows()], **SMALL)
        before = [part.clone() for part in network.parameters()]
        made = fleet.shared(network, rows(50, seed=3, scale=9), **SMALL)
        for part, old in zip(made.network.parameters(), before, strict=True):
            assert torch.equal(part, old)
        given = rows(60, seed=4, scale=9)
        scaled = (given - rows(50, seed=3, scale=9).mean(axis=0)) / rows(50, 3, 9).std(axis=0)
        windows = np.lib.stride_tricks.sliding_window_view(scaled[:-1], 6, axis=0)
        with torch.inference_mode():
            forecast = network(torch.tensor(windows.copy(), dtype=torch.float32)).numpy()
        expected = np.square(forecast - scaled[6:]).mean(axis=1)
        np.testing.assert_allclose(made.decision_function(given)[6:], expected, rtol=1e-3)

    def test_draws_no_more_windows_than_allowed(self, monkeypatch):
        steps = []
        original = fleet.Mixture._learner

        def counted(self, *given):
            learner = original(self, *given)
            step = learner.step
            learner.step = lambda w, t: (steps.append(len(w)), step(w, t))[1]
            return learner

        monkeypatch.setattr(fleet.Mixture, "_learner", counted)
        fleet.train([rows(), rows()], most=100, **SMALL)
        assert sum(steps) == 200  # two epochs

    @pytest.mark.parametrize(
        ("machines", "message"),
        [
            ([], "machines without rows"),
            ([np.zeros((50, 3)), np.zeros((50, 4))], "different channels"),
            ([np.zeros((50, 3)), np.zeros((6, 3))], r"fewer rows than a window needs \(7\)"),
        ],
    )
    def test_refuses(self, machines, message):
        with pytest.raises(DataError, match=message):
            fleet.train(machines, **SMALL)


class TestNewcomer:
    def test_groups(self):
        named = newcomer.groups(["machine-1-1", "machine-1-10", "machine-3-2"])
        assert list(named.values()) == ["machine-1", "machine-1", "machine-3"]
        assert list(newcomer.groups(list("abcd")).values()) == [
            "fold 1",
            "fold 2",
            "fold 3",
            "fold 1",
        ]

    def test_amounts_are_what_is_there(self):
        one = series("a")  # 120 rows a day, 300 in all
        assert first_rows.amounts(one) == [("first hour", 5), ("first day", 120), ("all rows", 300)]

    def test_a_network_never_sees_the_machines_group(self, monkeypatch):
        asked = []
        monkeypatch.setattr(fleet, "train", lambda given, seed: asked.append(given) or len(asked))
        halves = {name: series(name, number) for number, name in enumerate("abcd")}
        networks = newcomer._Networks(halves, newcomer.groups(list("abcd")), 0)
        assert networks.unseen("a") == networks.unseen("d")  # one group, one network
        assert [id(x) for x in asked[0]] == [id(halves[name].train) for name in "bc"]
        networks.seen()
        assert len(asked[1]) == 4

    def test_thresholds_come_from_rows_not_learned_from(self):
        own = detector("LightMMoE", **SMALL).fit(rows())
        assert first_rows._first_free(own, 200) == 180
        other = fleet.shared(own.network, rows(), **SMALL)
        assert first_rows._first_free(other, 200) == 6  # all that have scores of their own
        assert first_rows._first_free(detector("MTSExample").fit(rows()), 200) == 0

    def test_table(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LMMOE_CACHE", str(tmp_path))
        halves = {name: series(name, number) for number, name in enumerate("ab")}
        monkeypatch.setattr(Profile, "present", property(lambda self: list(halves)))
        monkeypatch.setattr(Profile, "load", lambda self, entity: halves[entity])
        table = newcomer.table(Profile(profile="none-such", vus_window=5))
        whole = table[table["learned"] == "all rows"]
        assert whole["method"].tolist() == list(first_rows.METHODS) * 2
        few = table[table["learned"] == "first hour"]  # 5 rows: a window needs 17
        assert few.loc[few["method"] == first_rows.UNSEEN, "error"].str.contains("too few").all()
        l2 = whole[(whole["method"] == "MTSExample") & (whole["entity"] == "a")].iloc[0]
        assert l2["average_precision"] == pytest.approx(1)  # the event stands far out
        assert (table["random" == table["method"]]["average_precision"] < 0.5).all()
        assert whole["normal_share"].between(0, 1).all()
        joined = newcomer.means(table)
        assert set(joined["entities"]) == {2}

    def test_entities_of_different_channels_give_an_empty_table(self, monkeypatch):
        halves = {"a": series("a"), "b": None}
        wide = {name: np.hstack([getattr(halves["a"], name)] * 2) for name in ("train", "test")}
        halves["b"] = Series.checked(
            dataset="made up", entity="b", labels=halves["a"].labels, rows_per_day=9, **wide
        )
        monkeypatch.setattr(Profile, "present", property(lambda self: list(halves)))
        monkeypatch.setattr(Profile, "load", lambda self, entity: halves[entity])
        assert newcomer.table(Profile(profile="none-such")).empty


class TestWithModels:
    rows = pd.DataFrame(
        {
            "entity": ["a", "a", "b", "b", "c"],
            "detector": ["LightMMoE", "PCA", "LightMMoE", "LightMMoE", "PCA"],
            "error": [None, "failed", None, "failed", None],
        }
    )

    @pytest.fixture(autouse=True)
    def all_present(self, monkeypatch):
        monkeypatch.setattr(Profile, "present", property(lambda self: self.entities))

    def test_keeps_entities_on_which_no_run_of_lightmmoe_failed(self):
        profile = Profile(entities=["a", "b", "c"])
        assert story.with_models(profile, self.rows).entities == ["a"]

    def test_none_is_an_error(self):
        profile = Profile(entities=["b", "c"])
        with pytest.raises(DataError, match="no entity that LightMMoE could be fitted to"):
            story.with_models(profile, self.rows)
