"""Choice by rule, claims beside ours, sentences and pictures: on numbers made up by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up_costs import compressed_models

from lmmoe.report import claims
from lmmoe.report.compression.measuring import in_turns
from lmmoe.report.deployment import choice, newcomer, steps, story, watching
from lmmoe.report.plots import deployment as plots
from lmmoe.report.tables import deployment as tables
from lmmoe.report.tables import deployment_words as words


@pytest.fixture
def compressed():
    return compressed_models()


@pytest.fixture
def timed():
    lines = [
        ("LightMMoE", steps.STEP, 0.1, 6.0, 100, 50, None),
        ("LightMMoE", steps.BATCH, 0.2, 0.3, math.nan, math.nan, None),
        ("LightMMoE", steps.ONNX, 0.05, 0.1, 300, math.nan, None),
        ("LightMMoE", steps.INT8, 0.04, 0.1, 100, math.nan, None),
        ("A", steps.STEP, 0.01, 0.02, 900_000, 10, None),
        ("B", steps.STEP, 1.0, 20.0, 10, 10, None),
        ("C", steps.STEP, math.nan, math.nan, math.nan, math.nan, "C has no live score"),
    ]
    names = ["detector", "way", "p50_processor_ms", "p99_processor_ms"]
    table = pd.DataFrame(lines, columns=[*names, "model_bytes", "state_bytes", "error"])
    return table.assign(p50_ms=2 * table[names[2]], p99_ms=2 * table[names[3]])  # busy


class TestChoice:
    @pytest.fixture
    def candidates(self):
        table = pd.DataFrame(
            {
                "average_precision": [0.5, 0.4, 0.3, 0.2],
                "p99_processor_ms": [math.nan, 5.0, 20.0, 1.0],
                "kilobytes": [math.nan, 900.0, 10.0, 10.0],
                "microseconds_per_row": [10.0, 20.0, 1.0, 0.1],
                "core_seconds_a_month": [9.0, 1.0, 0.5, 0.1],
                "as_good": [True, True, False, False],
            },
            index=["no live score", "too large", "too slow", "small"],
        )
        return table.assign(train_seconds=1.0)

    def test_rules(self, candidates):
        found = choice.chosen(candidates).set_index("place")["detector"].to_dict()
        assert found == {
            "real time": "too large",  # best of those within 10 ms
            "edge": "too slow",  # best of those within 200 kB
            "cloud": "too large",  # cheapest of those as good as the best
            "batch": "no live score",
            "research": "no live score",
        }

    def test_a_place_for_nobody_has_a_gap(self, candidates):
        found = choice.chosen(candidates.assign(p99_processor_ms=math.nan)).set_index("place")
        assert found.loc[["real time", "edge"], "detector"].isna().all()
        assert "real time" not in words.chosen(found.reset_index(), candidates)
        assert words.rules(found.reset_index()).startswith("- *real time*: a live score, 99 of 100")

    def test_sentence_about_the_subject(self, candidates):
        text = words.chosen(choice.chosen(candidates), candidates.rename({"small": "LightMMoE"}))
        assert "edge: **too slow**" in text
        assert text.endswith("is chosen nowhere: by average precision it is number 4 (0.200).")

    def test_candidates(self, timed):
        values = {"A": [0.9, 0.8], "B": [0.1, 0.2], "random": [0.5, 0.5]}
        rows = pd.DataFrame(
            [
                {"dataset": "d", "entity": str(number), "detector": name, "protocol": "ours",
                 "seed": 0, "average_precision": value, "train_seconds": 2.0,
                 "score_seconds": 0.5, "test_rows": 1000, "error": None}
                for name, pair in values.items()
                for number, value in enumerate(pair)
            ]
        )  # fmt: skip
        from lmmoe.report.runs import ordered

        found = choice.candidates(ordered(rows), timed, "ours")
        assert list(found.index) == ["A", "B"]  # nobody deploys random scores
        assert found.loc["A", "microseconds_per_row"] == pytest.approx(500)
        assert found.loc["A", "core_seconds_a_month"] == pytest.approx(2 + 43_200 * 5e-4)
        assert found.loc["A", "kilobytes"] == pytest.approx(900.01)
        assert found["as_good"].tolist() == [True, False]


def test_claims_about_deployment():
    chosen = tables.claims_of_deployment(claims.audit(pd.DataFrame()))
    assert {"A029", "B045", "B047", "B054", "C073", "B059"} <= set(chosen["id"])
    assert not {"C001", "A032", "B041"} & set(chosen["id"])


class TestWords:
    def test_alarms(self):
        line = {"detector": "MTSExample", "rule": "budget:1", "false_alarms_per_day": 0.25}
        line |= {"found": 0.5, "announced": 0.25, "events": 8}
        line |= {"promised_per_day": 1.0, "alarms_per_day": 2.0}
        text = words.alarms(pd.DataFrame([line | {"promised_share": math.nan, "share": 0.1}]))
        assert text == (
            "- L2 norm (MTSExample), a budget of one alarm a day: 0.25 false alarms a machine-day, "
            "50% of 8 events found (25% by an alarm that began in them); 2.00 alarms a day in all, "
            "where at most 1 was promised on training rows."
        )

    def test_compressed_names_the_smallest_and_what_chance_keeps(self, compressed):
        text = words.compressed(compressed)
        assert "Of HMMoE (1 entity); random scores keep 25% of its average precision" in text
        assert "pruning, the smallest (half of the experts): 40% of the parameters" in text
        assert "Failed" not in text
        bad = compressed.assign(error=None)
        bad.loc[1, "error"] = "RuntimeError: no"
        assert "- Failed: half of the experts." in words.compressed(bad)

    def test_live_rows(self, timed):
        text = words.live_rows(timed)
        assert "3 detectors have a live score: from 0.01 ms a row (A) to 1 ms (B)" in text
        assert "LightMMoE: 0.1 ms for a live step" in text
        assert "Without a live score: C." in text

    def test_restart(self):
        same = words.restarted(story.Restart(70, 100, 0.0, 4321))
        assert "every score is the same to the last bit" in same
        assert "differ by at most 0.01" in words.restarted(story.Restart(70, 100, 0.01, 4321))

    def test_nothing_to_tell(self):
        empty = pd.DataFrame(columns=["key", *newcomer.COLUMNS])
        assert "none can be held out" in words.newcomers(empty)
        assert words.alarms(watching.summary(pd.DataFrame())) == words.NO_ALARMS


def drawn(figure):
    figure.canvas.draw()
    return [ax for ax in figure.axes if ax.axison]


class TestPictures:
    def test_of_costs(self, timed, compressed):
        for figure in (plots.steps(timed), plots.compression(compressed)):
            for ax in drawn(figure):
                assert ax.get_xlabel()
                assert ax.get_title(loc="left") or ax.get_ylabel()

    def test_of_an_alarm_and_of_none(self):
        trace = story.Trace("cpu", np.ones(4), np.zeros(4))
        alarm = story.Alarmed(9, ["cpu", "disk"], [0.8, 0.2], np.arange(-2, 2), [trace])
        axes = drawn(plots.alarm(alarm))
        assert [patch.get_width() for patch in axes[0].patches] == pytest.approx([80, 20])
        assert not drawn(plots.alarm(None))

    def test_of_thresholds(self):
        line = {"detector": "LightMMoE", "rule": "budget:1", "false_alarms_per_day": 0.5}
        line |= {"found": 0.8, "announced": 0.3, "entities": 3}
        (ax,) = drawn(plots.thresholds(pd.DataFrame([line])))
        assert ax.lines[0].get_ydata().tolist() == [30, 80]
        for dot, height in zip(ax.lines[1:3], (80, 30), strict=True):
            assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (0.5, height)
        assert ax.lines[1].get_markerfacecolor() == "white" != ax.lines[2].get_markerfacecolor()
        assert not drawn(plots.thresholds(pd.DataFrame()))


def test_tables_round_and_name(timed, compressed):
    shown = tables.compressed(compressed)
    line = shown.loc[("HMMoE", "control", "random scores")]
    assert line["average precision kept (%)"] == 25
    assert tables.steps(timed).iloc[0].name == ("A", steps.STEP)


def test_turns_time_every_scorer_as_often():
    calls = []

    class One:
        def __init__(self, name):
            self.name = name

        def decision_function(self, X):
            calls.append(self.name)
            return X

    taken = in_turns({"a": One("a"), "b": One("b")}, np.zeros((3, 2)))
    assert calls == ["a", "b"] * 6  # in turn, the first turn not counted
    assert [len(values) for values in taken.values()] == [5, 5]
