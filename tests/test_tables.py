"""Tables made from rows of runs: what is averaged over what, and what never is."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up_rows import ROWS, frame, light, line

from lmmoe import data
from lmmoe.data import Series, smd
from lmmoe.detectors import detector, names
from lmmoe.metrics import vus
from lmmoe.report import experiment, study, tables
from lmmoe.report.evaluation import ADJUSTED, COLUMNS, RANKING
from lmmoe.report.names import METRIC_TITLES
from lmmoe.report.statistics import holm, wilcoxon_p

SIX = [f"m-{n}" for n in range(6)]
# What a made-up study gave: one machine and one detector more than ours, nothing for random.
THEIRS = {
    ("LightMMoE", "machine-1-1"): (0.9, 0.6, 0.3),
    ("LightMMoE", "machine-1-2"): (0.7, 0.4, 0.1),
    ("LightMMoE", "machine-2-1"): (0.2, 0.1, 0.0),
    ("LightMMoE", "machine-3-9"): (0.0, 0.0, 0.0),
    ("CAD", "machine-1-1"): (1.0, 1.0, 1.0),
}


def of(detector, values, **more):
    return [line(detector, name, v, **more) for name, v in zip(SIX, values, strict=False)]


def test_seeds_are_averaged_first_then_entities_and_a_failure_is_never_a_zero():
    means = tables.entity_means(ROWS, "ours")
    table = tables.honest(ROWS, "ours")
    for metric in {*COLUMNS} - {*tables.SILENT}:
        found = means[metric].loc["LightMMoE"].to_dict()
        assert found == pytest.approx({"machine-1-1": 0.3, "machine-1-2": 0.5, "machine-2-1": 0.9})
        # (.3 + .5 + .9) / 3. The mean over runs would be .58, with the failure as a zero .4833.
        assert table.loc["LightMMoE", metric] == pytest.approx(1.7 / 3)
    assert list(table.index) == ["LightMMoE", "random"]  # best first
    behind = ["entities", "seeds", "runs", "failed", "train_seconds", "parameters"]
    assert table.loc["LightMMoE", behind].tolist() == [3, 2, 6, 1, 1.0, 5]
    assert not {*tables.SILENT} & set(table)
    mixed = frame(*light(), line("LightMMoE", "machine-1-1", 0.0, protocol="study"))
    assert tables.entity_means(mixed, "ours").equals(means.loc[["LightMMoE"]])


def test_by_entity_keeps_the_order_of_the_rows_and_leaves_failures_empty():
    values = {("low", "z"): 0.1, ("low", "machine-1-10"): 0.2}
    values |= {("high", "z"): None, ("high", "machine-1-10"): 0.9}
    lines = [line(*one, value) for one, value in values.items()]
    rows = frame(*lines, line("low", "elsewhere", 0.5, protocol="study"))
    table = tables.by_entity(rows, "ours", "roc_auc")
    assert list(table.index) == ["z", "machine-1-10"] and list(table) == ["high", "low"]
    assert math.isnan(table.loc["z", "high"]) and table.loc["z", "low"] == 0.1


def test_honest_by_hand():
    table = tables.honest(ROWS)
    first = table.loc["LightMMoE"]
    # Of 27 resamples of .3, .5, .9 one is all .3 and one all .9, 3.7 % each.
    assert first["average_precision_low"] == pytest.approx(0.3)
    assert first["average_precision_high"] == pytest.approx(0.9)
    assert first["microseconds_per_row"] == pytest.approx(100)  # .1 s for 1000 rows
    columns = ["average_precision", "best_f1", "no such", "train_seconds", "failed"]
    shown = tables.readable(table, columns)
    assert list(shown) == ["average precision (95 %)", "best F1", "train (s)", "failed"]
    assert shown.loc["LightMMoE"].tolist() == ["0.567 (0.300 to 0.900)", "0.567", "1", "1"]
    assert list(shown.index) == ["LightMMoE", "random scores"]
    fewer = tables.readable(table.assign(entities=[3, 2]), columns)
    assert list(fewer.index) == ["LightMMoE", "random scores (2 entities)"]


def test_nothing_adjusted_is_shown_without_random_scores():
    failed = line("random", "machine-1-1", None)
    elsewhere = line("random", "x", 0.1, protocol="study")
    for rows in (frame(*light()), frame(*light(), failed), frame(*light(), elsewhere)):
        assert not set(tables.honest(rows)) & set(ADJUSTED)
    assert set(tables.honest(ROWS)) & set(ADJUSTED)


def test_what_failed_and_what_nobody_labelled():
    rows = frame(line("a", "x", None), line("b", "x", 0.0), line("b", "y", None))
    table = tables.honest(rows)  # who always failed stands last, without numbers
    assert list(table.index) == ["b", "a"] and math.isnan(table.loc["a", "average_precision"])
    assert math.isnan(table.loc["b", "average_precision_low"])  # of one entity
    assert table[["entities", "runs", "failed"]].to_numpy().tolist() == [[1, 2, 1], [0, 1, 1]]
    for value, entities in ((math.nan, 2), (0.5, 1)):
        rows = frame(line("a", "x", math.nan), line("a", "y", value))
        assert tables.honest(rows).loc["a", ["entities", "train_seconds"]].tolist() == [entities, 1]


def test_comparisons_by_hand():
    base = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    values = {"up": base + np.arange(1, 7) / 60, "mixed": [0.2, 0.1, 0.3] + [math.nan] * 3}
    values = pd.DataFrame({"MTSExample": base} | values).assign(never=math.nan)
    table = tables.against(values)  # without PCA
    up, mixed, never = (table.loc[("MTSExample", name)] for name in ("up", "mixed", "never"))
    counted = ["entities", "wins", "ties", "losses"]
    assert up[counted].tolist() == [6, 6, 0, 0] and mixed[counted].tolist() == [3, 1, 1, 1]
    assert up["difference"] == pytest.approx(0.1 * 21 / 36)
    assert (up["p"], up["holm_p"]) == pytest.approx((2 / 64, 4 / 64))  # two comparisons have a p
    assert never["entities"] == 0 and never[["difference", "p", "holm_p"]].isna().all()
    tiny = tables.readable(table.assign(p=[1e-9, 0.0312, math.nan]))
    assert tiny["p"].tolist() == ["< 0.001", "0.031", "–"]
    assert tables.against(values[["up"]]).empty
    # Two references are compared once, and p is corrected over all.
    table = tables.against(values.iloc[:, :3], ["MTSExample", "up"])
    differences = [values[detector] - values[reference] for reference, detector in table.index]
    assert [name for name, _ in table.index] == ["MTSExample", "MTSExample", "up"]
    assert table["p"].tolist() == pytest.approx([*map(wilcoxon_p, differences)])
    assert table["holm_p"].tolist() == pytest.approx(holm(table["p"]).tolist())


# Three events on one entity, one on the next, none on the third.
EVENTS = {"m-2": [(10, 14), (20, 21), (50, 150)], "m-10": [(5, 8)], "quiet": []}


def found(detector, entity, digits, **more):
    return line(detector, entity, 0.5, found_events=digits, **more)


def test_events_by_hand():
    digits = {"PCA": ("1", "100"), "MTSExample": ("0", "101"), "random": ("1", "011")}
    digits |= {"SmartSimpleAD": ("", "")}  # it has no threshold
    rows = frame(
        *(found(name, "m-10", one) for name, (one, _) in digits.items()),
        *(found(name, "m-2", other) for name, (_, other) in digits.items()),
        *(found(name, "quiet", "") for name in digits),
        found("CAD", "m-2", "111"),  # fails on the other
        line("CAD", "m-10", None),
        found("PCA", "m-10", "0", seed=1),  # a later seed
    )
    table = tables.found_events(rows, "ours", EVENTS)
    # In the fleet's order; on each entity in time order.
    assert table.index.tolist() == [4, 1, 100, 3] and table.index.name == "rows"
    expected = {"MTSExample": "1010", "PCA": "1001", "random": "0111"}
    assert table.to_dict("list") == {n: [one == "1" for one in e] for n, e in expected.items()}
    missed = found("PCA", "m-10", ""), found("PCA", "m-10", "1", protocol="study")
    for one in (*missed, line("PCA", "m-10", None), found("PCA", "not in the fleet", "1")):
        assert tables.found_events(frame(one), "ours", EVENTS).empty


def test_the_headline_by_hand(monkeypatch):
    made = pd.DataFrame(THEIRS, study.METRICS).T.rename_axis(["detector", "entity"])
    monkeypatch.setattr(study, "results", lambda: made)
    table = study.study_headline(ROWS)
    # The mean of the groups' means: ours ((.3 + .5) / 2 + .9) / 2; machine-3-9 is not among ours.
    expected = {"point_f1_pa": 0.5, "event_f1_pa_log": 0.3, "event_f1_pa_squeeze": 0.1}
    for metric, theirs in expected.items():
        names = [metric, f"{metric}_study", f"{metric}_difference"]
        both = [0.65, theirs, 0.65 - theirs]
        assert table.loc["LightMMoE", names].tolist() == pytest.approx(both)
        # Random: (.1 + .1) / 2 and .4, nobody to compare with.
        assert table.loc["random", metric] == pytest.approx(0.25)
        assert math.isnan(table.loc["random", f"{metric}_study"])
    values = {"machine-1-1": 0.3, "machine-1-2": None, "machine-2-1": 0.9}
    failed = [line("LightMMoE", name, one, protocol="study") for name, one in values.items()]
    # Without machine-1-2 on either side: ours (.3 + .9) / 2, theirs (.9 + .2) / 2.
    both = study.study_headline(frame(*failed)).loc["LightMMoE"]
    assert both[["point_f1_pa", "point_f1_pa_study"]].tolist() == pytest.approx([0.6, 0.55])


def test_the_study_s_runs_stand_beside_ours_under_the_names_they_ran_as():
    names = ("CAD", "CAD-as-run", "CAD-FSE23")
    rows = frame(*(line(name, "machine-1-1", 0.5, protocol="study") for name in names))
    table = study.study_headline(rows)
    theirs = study.results().loc[("CAD", "machine-1-1"), "point_f1_pa"]
    expected = pytest.approx([theirs, theirs, math.nan], nan_ok=True)
    assert table.loc[[*names], "point_f1_pa_study"].tolist() == expected
    not_run = table.loc["OmniAnomaly"]
    assert not_run["point_f1_pa_study"] > 0 and math.isnan(not_run["point_f1_pa"])
    elsewhere = frame(line("LightMMoE", "web-1", 0.5, protocol="study"))
    assert "OmniAnomaly" not in study.study_headline(elsewhere).index


def test_numbers_that_others_print():
    rows = frame(*(line("PCA", f"machine-1-{n}", v) for n, v in enumerate((0.3, 0.4, 0.5, 0.6))))
    table = study.others(rows)
    assert set(table["detector"]) == {"PCA"} <= set(names())
    assert table["ours"].tolist() == pytest.approx([0.45] * len(table))
    assert (table["low"] < 0.45).all() and (table["high"] > 0.45).all()
    assert study.others(frame(line("PCA", "machine-1-1", None))).empty


def test_a_benchmark_trains_on_the_first_rows_and_has_a_buffer_for_each_series(root, monkeypatch):
    cuts = {"first_row": [1, 0], "train_rows": [2, 9], "vus_window": [4, 1]}
    cuts = pd.DataFrame(cuts, index=["machine-1-2", "elsewhere"])
    monkeypatch.setattr(smd, "CUTS", cuts)
    assert data.entities("tsb-ad", root) == ["machine-1-2"]
    series, whole = (data.load(name, "machine-1-2", root) for name in ("tsb-ad", "smd"))
    assert series.test.tolist() == whole.test[1:].tolist()
    assert series.train.tolist() == whole.test[1:3].tolist()
    assert series.labels.tolist() == whole.labels[1:].tolist() and series.causes is None
    scores = detector("MTSExample").fit(series.train).decision_function(series.test)
    row = experiment.row(experiment.Run(series, "MTSExample"), vus_window=100)
    expected = vus(labels=series.labels, scores=scores, window=4).pr
    assert (row["vus_window"], row["vus_pr"]) == (4, pytest.approx(expected))


def test_ours_stand_beside_the_values_of_a_benchmark(monkeypatch):
    theirs = study.store.published("tsb_ad", index_col="entity")
    assert len(theirs) == 13 and theirs.apply(lambda one: one.between(0, 1)).all(axis=None)
    given = {"known": [0.5, 0.25, 1.0], "Time-RCD": [0.9, 0.9, 1.0]}
    theirs = pd.DataFrame(given, index=[*SIX[:2], "elsewhere"])
    monkeypatch.setattr(study.store, "published", lambda *_, **__: theirs)
    rows = frame(*of("ThreeViews", [0.6, 0.6]), *of("random", [0.1, 0.2]), *of("PCA", [None, 0.4]))
    table = study.benchmark(rows)
    order = ["ThreeViews", "PCA", "known (published)", "random", study.OTHERWISE]
    assert list(table.index) == order  # measured otherwise: marked, and not ranked
    assert table["vus_pr"].tolist() == pytest.approx([0.6, 0.4, 0.375, 0.15, 0.9])
    assert table.loc["known (published)", "difference"] == pytest.approx(-0.225)
    assert table.loc["PCA", ["entities", "losses"]].tolist() == [1, 1]


def test_described_by_hand():
    # A column of 0.3 has a standard deviation near 1e-16 by rounding: it is constant all the same.
    train = np.column_stack([np.full(1000, 0.3), np.arange(1000.0), np.zeros(1000)])
    shared = {"dataset": "d", "train": train, "test": np.zeros((8, 3))}
    series = [
        Series.checked(entity="x", labels=[0, 1, 0, 1, 1, 1, 0, 0], **shared),
        Series.checked(entity="z", labels=None, **shared),
    ]
    table = tables.described(series)
    assert (table["train rows"] == 1000).all() and (table["constant in training"] == 2).all()
    assert table["events"].tolist() == [2, 0]
    assert table.loc["x", ["median length", "anomalous rows"]].tolist() == [2.0, 0.5]
    assert math.isnan(table.loc["z", "anomalous rows"])


def test_every_metric_has_a_title_and_an_adjusted_one_says_so():
    assert {*RANKING, *ADJUSTED} < set(METRIC_TITLES) < set(COLUMNS)
    adjusted = {name for name, title in METRIC_TITLES.items() if "(PA)" in title}
    assert adjusted == {name for name in METRIC_TITLES if "_pa" in name}
