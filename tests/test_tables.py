"""Tables made from rows of runs: what is averaged over what, and what never is."""

import csv
import math
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from made_up_rows import ROWS, frame, light, line

from lmmoe.data import Series
from lmmoe.report import runs, tables
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.plots.style import METRIC_TITLES
from lmmoe.report.tables.means import AVERAGED

# What a made-up study gave: one machine and one detector more than ours, nothing for random.
THEIRS = pd.DataFrame(
    [
        ("LightMMoE", "machine-1-1", 0.9, 0.6, 0.3),
        ("LightMMoE", "machine-1-2", 0.7, 0.4, 0.1),
        ("LightMMoE", "machine-2-1", 0.2, 0.1, 0.0),
        ("LightMMoE", "machine-3-9", 0.0, 0.0, 0.0),
        ("AMAD", "machine-1-1", 1.0, 1.0, 1.0),
    ],
    columns=["detector", "entity", *tables.STUDY_METRICS],
).set_index(["detector", "entity"])


@pytest.fixture
def made_up_study(monkeypatch):
    monkeypatch.setattr(tables.study, "study_results", lambda: THEIRS)


def test_seeds_are_averaged_first():
    means = tables.entity_means(ROWS, "ours")
    assert list(means.columns) == [*COLUMNS, *runs.SPENT]
    for metric in COLUMNS:
        found = means[metric].loc["LightMMoE"].to_dict()
        assert found == pytest.approx({"machine-1-1": 0.3, "machine-1-2": 0.5, "machine-2-1": 0.9})
    assert len(means) == 6
    assert tables.entity_means(ROWS, "other").empty


def test_a_protocol_does_not_leak_into_another():
    mixed = frame(*light(), *[line("LightMMoE", "machine-1-1", 0.0, protocol="study")])
    assert tables.entity_means(mixed, "ours").equals(tables.entity_means(frame(*light()), "ours"))


def test_summary_by_hand():
    table = tables.summary(ROWS, "ours")
    # (.3 + .5 + .9) / 3. The mean over runs would be .58, with the failure as a zero .4833.
    assert list(table.index) == ["LightMMoE", "random"]  # best first
    for metric in AVERAGED:
        assert table.loc["LightMMoE", metric] == pytest.approx(1.7 / 3)
        assert table.loc["random", metric] == pytest.approx(0.2)
    assert table["runs"].to_dict() == {"LightMMoE": 6, "random": 3}
    assert table["failed"].to_dict() == {"LightMMoE": 1, "random": 0}
    assert table.loc["LightMMoE", "train_seconds"] == 1.0  # a failure costs no zero seconds
    assert table.loc["LightMMoE", "parameters"] == 5


def test_no_mean_of_what_is_not_defined_where_nothing_is_flagged():
    table = tables.summary(ROWS, "ours")
    assert not {"quantile_precision", "pot_precision", "budget_delay"} & set(table)


def test_an_entity_that_failed_altogether_is_in_no_mean():
    rows = frame(line("a", "x", 0.6), line("a", "y", None), line("b", "x", 0.5), line("b", "y", 1))
    table = tables.summary(rows, "ours")
    assert table["average_precision"].to_dict() == pytest.approx({"b": 0.75, "a": 0.6})
    assert table["failed"].to_dict() == {"b": 0, "a": 1}


def test_a_detector_that_always_failed_stands_last_without_numbers():
    table = tables.summary(frame(line("a", "x", None), line("b", "x", 0.0)), "ours")
    assert list(table.index) == ["b", "a"]
    assert table.loc["a", AVERAGED].isna().all()
    assert table.loc["a", ["runs", "failed"]].tolist() == [1, 1]
    only = tables.summary(frame(line("a", "x", None)), "ours")
    assert only.loc["a", AVERAGED].isna().all() and only.loc["a", "failed"] == 1


def test_seed_spread_by_hand():
    rows = frame(
        *[line("a", "x", value, seed=seed) for seed, value in ((0, 0.1), (1, 0.5))],
        *[line("a", "y", value, seed=seed) for seed, value in ((0, 0.3), (1, 0.3))],
        line("a", "z", 0.9, seed=0),  # without its second seed it would shift the mean
        line("b", "x", 0.7),
        line("a", "x", 0.9, seed=0, protocol="study"),
    )
    spread = tables.seed_spread(rows, "ours")
    # Means over entities .2 and .4, deviation from .3 with n - 1: sqrt(.01 + .01).
    assert spread.loc["a"].tolist() == pytest.approx([math.sqrt(0.02)] * len(AVERAGED))
    assert spread.loc["b"].isna().all()


def test_by_entity_by_hand():
    table = tables.by_entity(ROWS, "ours", "vus_pr")
    assert list(table.columns) == ["LightMMoE", "random"]
    assert list(table.index) == ["machine-1-1", "machine-1-2", "machine-2-1"]
    assert table["LightMMoE"].tolist() == pytest.approx([0.3, 0.5, 0.9])
    assert table["random"].tolist() == pytest.approx([0.1, 0.1, 0.4])


def test_by_entity_keeps_the_order_of_the_rows_and_leaves_failures_empty():
    rows = frame(
        line("low", "z", 0.1),
        line("low", "machine-1-10", 0.2),
        line("high", "z", None),
        line("high", "machine-1-10", 0.9),
        line("low", "elsewhere", 0.5, protocol="study"),
    )
    table = tables.by_entity(rows, "ours", "roc_auc")
    assert list(table.index) == ["z", "machine-1-10"]
    assert list(table.columns) == ["high", "low"]
    assert math.isnan(table.loc["z", "high"]) and table.loc["z", "low"] == 0.1


def test_study_results_are_the_published_file():
    found = tables.study_results()
    with (files("lmmoe.report") / "published" / "study_results.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(found) == len(lines) == 560
    assert [found.index.get_level_values(i).nunique() for i in (0, 1)] == [20, 28]
    assert found.index.is_unique and not found.isna().any(axis=None)
    for one in lines:
        values = found.loc[(one["detector"], one["machine"])].to_dict()
        assert values == {
            "point_f1_pa": float(one["point_f1"]),
            "event_f1_pa_log": float(one["event_log_f1"]),
            "event_f1_pa_squeeze": float(one["event_squeeze_f1"]),
        }
    first = found.loc[("MTSExample", "machine-1-1")].tolist()
    assert first == [0.999634369, 0.96969697, 0.888888889]


def test_by_machine_by_hand(made_up_study):
    table = tables.by_machine(ROWS)
    ours, theirs = list(tables.STUDY_METRICS), [f"{name}_study" for name in tables.STUDY_METRICS]
    assert list(table.columns) == ["detector", "entity", *ours, *theirs]
    assert table["detector"].value_counts().to_dict() == {"LightMMoE": 3, "random": 3}
    chance = table[table["detector"] == "random"].set_index("entity")
    assert chance[theirs].isna().all(axis=None)  # the study did not run it
    assert chance["point_f1_pa"].tolist() == [0.1, 0.1, 0.4]
    by_name = table[table["detector"] == "LightMMoE"].set_index("entity")
    assert by_name.loc["machine-1-1", ours].tolist() == pytest.approx([0.3] * 3)
    assert by_name.loc["machine-1-1", theirs].tolist() == [0.9, 0.6, 0.3]
    assert by_name.loc["machine-1-2", ours].tolist() == pytest.approx([0.5] * 3)
    assert by_name.loc["machine-2-1", theirs].tolist() == [0.2, 0.1, 0.0]


def test_by_machine_leaves_out_what_has_no_partner_and_is_not_random(made_up_study):
    rows = frame(
        line("LightMMoE", "machine-1-1", 0.5, protocol="study"),
        line("LightMMoE", "machine-9-9", 0.5, protocol="study"),  # unknown to the study
        line("MTSExample", "machine-1-1", 0.5, protocol="study"),  # they ran it elsewhere only
        line("random", "machine-1-1", 0.1, protocol="ours"),
    )
    table = tables.by_machine(rows)
    assert table[["detector", "entity"]].to_numpy().tolist() == [["LightMMoE", "machine-1-1"]]


def test_by_machine_is_empty_where_the_study_knows_none_of_the_entities(made_up_study):
    rows = frame(*(line(name, "web-1", 0.5, protocol="study") for name in ("LightMMoE", "random")))
    found = tables.by_machine(rows)
    assert found.empty  # random scores alone compare nothing
    assert list(found.columns) == list(tables.by_machine(ROWS).columns)


def test_by_machine_takes_the_published_file_and_the_studys_protocol_only():
    rows = frame(
        line("MTSExample", "machine-1-1", 0.25),
        line("MTSExample", "machine-1-1", 0.5, protocol="study"),
        line("MTSExample", "web-1", 0.5, protocol="study"),
    )
    table = tables.by_machine(rows)
    assert table["entity"].tolist() == ["machine-1-1"]
    assert table.loc[0, "point_f1_pa"] == 0.5
    assert table.loc[0, "point_f1_pa_study"] == 0.999634369


def test_study_headline_by_hand(made_up_study):
    table = tables.study_headline(ROWS)
    assert list(table.index) == ["LightMMoE", "random"]
    assert list(table.columns)[:3] == [
        "point_f1_pa",
        "point_f1_pa_study",
        "point_f1_pa_difference",
    ]
    # Ours: group 1 (.3 + .5) / 2 = .4, group 2 .9, so .65; the plain mean would be .5667.
    # Theirs on the same machines: (.9 + .7) / 2 and .2: .5; (.6 + .4) / 2 and .1: .3;
    # (.3 + .1) / 2 and 0: .1. Their machine-3-9 is not among ours.
    expected = {"point_f1_pa": 0.5, "event_f1_pa_log": 0.3, "event_f1_pa_squeeze": 0.1}
    for metric, theirs in expected.items():
        found = table.loc["LightMMoE", [metric, f"{metric}_study", f"{metric}_difference"]]
        assert found.tolist() == pytest.approx([0.65, theirs, 0.65 - theirs])
        # Random: (.1 + .1) / 2 and .4, nobody to compare with.
        assert table.loc["random", metric] == pytest.approx(0.25)
        assert math.isnan(table.loc["random", f"{metric}_study"])
        assert math.isnan(table.loc["random", f"{metric}_difference"])


def test_study_headline_compares_on_the_same_machines_where_one_failed(made_up_study):
    rows = frame(
        line("LightMMoE", "machine-1-1", 0.3, protocol="study"),
        line("LightMMoE", "machine-1-2", None, protocol="study"),
        line("LightMMoE", "machine-2-1", 0.9, protocol="study"),
    )
    found = tables.study_headline(rows).loc["LightMMoE"]
    # Without machine-1-2 on either side: ours (.3 + .9) / 2, theirs (.9 + .2) / 2.
    assert found["point_f1_pa"] == pytest.approx(0.6)
    assert found["point_f1_pa_study"] == pytest.approx(0.55)
    assert found["point_f1_pa_difference"] == pytest.approx(0.05)


def test_study_headline_of_other_data_is_a_plain_mean():
    rows = frame(
        line("a", "web-1", 0.2, protocol="study"), line("a", "db-1", 0.4, protocol="study")
    )
    table = tables.study_headline(rows)
    assert table.loc["a", "point_f1_pa"] == pytest.approx(0.3)
    assert table.filter(regex="_study|_difference").isna().all(axis=None)


def test_machine_1_is_not_the_group_of_machine_10():
    rows = frame(
        line("a", "machine-1-1", 0.0, protocol="study"),
        line("a", "machine-1-10", 0.0, protocol="study"),
        line("a", "machine-10-1", 1.0, protocol="study"),
    )
    assert tables.study_headline(rows).loc["a", "point_f1_pa"] == 0.5


def test_described_by_hand():
    # A column of 0.3 has a standard deviation near 1e-16 by rounding: it is constant all the same.
    train = np.column_stack([np.full(1000, 0.3), np.arange(1000.0), np.zeros(1000)])
    assert train[:, 0].std() > 0
    shared = {"dataset": "d", "train": train, "test": np.zeros((8, 3))}
    fleet = [
        Series.checked(entity="x", labels=[0, 1, 0, 1, 1, 1, 0, 0], **shared),
        Series.checked(entity="y", labels=np.zeros(8), **shared),
        Series.checked(entity="z", labels=None, **shared),
    ]
    table = tables.described(fleet)
    assert list(table.index) == ["x", "y", "z"]
    assert (table["train rows"] == 1000).all() and (table["test rows"] == 8).all()
    assert (table["channels"] == 3).all() and (table["constant in training"] == 2).all()
    assert table["events"].tolist() == [2, 0, 0]
    assert table.loc["x", ["median length", "anomalous rows"]].tolist() == [2.0, 0.5]
    assert math.isnan(table.loc["y", "median length"]) and table.loc["y", "anomalous rows"] == 0
    assert math.isnan(table.loc["z", "anomalous rows"])


def test_judged_has_all_metrics_under_their_titles():
    values = {name: i / 10 for i, name in enumerate(COLUMNS)}
    table = tables.judged({"MTSExample": values, "random": dict.fromkeys(COLUMNS, 0.5)})
    assert list(table.columns) == ["L2 norm (MTSExample)", "random scores"]
    assert len(table) == len(COLUMNS) and table.loc["average precision"].tolist() == [0.0, 0.5]
    assert set(METRIC_TITLES) == set(COLUMNS)
    for name, value in values.items():
        assert table.loc[METRIC_TITLES[name], "L2 norm (MTSExample)"] == value
    # An adjusted number says so, and no other does.
    adjusted = {title for title in table.index if "(PA)" in title}
    assert adjusted == {METRIC_TITLES[name] for name in COLUMNS if "_pa" in name}


def test_the_headline_for_people_has_ours_and_theirs_under_each_metric():
    headline = tables.study_headline(ROWS)
    table = tables.beside_study(headline)
    assert table.columns[:3].tolist() == [
        (METRIC_TITLES["point_f1_pa"], word) for word in ("ours", "the study's", "difference")
    ]
    assert table.columns[-2:].tolist() == [("", "entities"), ("", "seeds")]
    assert "random scores" in table.index and len(table) == len(headline)
    for metric in tables.STUDY_METRICS:
        both = table.loc["LightMMoE", METRIC_TITLES[metric]]
        assert both["ours"] == round(headline.loc["LightMMoE", metric], 3)
        assert both["difference"] == pytest.approx(both["ours"] - both["the study's"], abs=2e-3)


def test_what_was_not_run_stands_beside_with_the_study_s_numbers_alone():
    line = tables.study_headline(ROWS).loc["OmniAnomaly"]
    theirs = tables.study_results().loc["OmniAnomaly", "point_f1_pa"]
    first = theirs[["machine-1-1", "machine-1-2"]].mean()
    assert line["point_f1_pa_study"] == pytest.approx((first + theirs["machine-2-1"]) / 2)
    assert line[["point_f1_pa", "event_f1_pa_log", "point_f1_pa_difference"]].isna().all()
    assert line[["entities", "seeds"]].tolist() == [0, 0]
    elsewhere = ROWS.assign(entity="web-1").drop_duplicates(["detector", "protocol", "seed"])
    assert "OmniAnomaly" not in tables.study_headline(elsewhere).index
