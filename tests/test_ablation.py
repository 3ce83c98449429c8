"""The ablation: its plans, forecast errors and tables by hand, and its pictures."""

import json

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_rows import frame, line
from small import LIGHT, TwoSeries, series

from lmmoe import paths
from lmmoe.detectors import detector
from lmmoe.report import ablation, experiment, store
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.experiment import Run
from lmmoe.report.plots import ablation as pictures
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import holm

WHOLE = ablation.named("ablation")
NONE = pd.Series(dtype=float)


# --- plans ---


def test_every_committed_variant_can_be_made_and_is_described():
    assert len(WHOLE.detectors) == 46 + 1 + 4  # with the full model and yardsticks
    for name in (ablation.WHOLE, ablation.SMALL, *ablation.OTHER_DATA):
        plan = ablation.named(name)
        found = ablation.variants(plan)
        assert found["variant"].is_unique and set(found.index) <= set(WHOLE.detectors)
        for one in found.itertuples():
            detector(one.detector, **json.loads(one.settings))
        words = ablation.described(plan)
        assert len(words) == len(found)
        assert (words[["what it is", "defined by"]] != "").all(axis=None)
    found = ablation.variants(WHOLE)
    claimed = set(found.index[found["claimed"]])
    assert set(found.loc[list(claimed), "variant"]) == ablation.CLAIMED and len(claimed) == 8
    # What the study says something about runs everywhere, with three seeds.
    everywhere = {(name, seed) for name, _, seed in WHOLE.plan("machine-1-8") if name in claimed}
    assert everywhere == {(name, seed) for name in claimed for seed in range(3)}
    assert {name for name, _, _ in WHOLE.plan("machine-1-1")} == set(WHOLE.detectors)
    for name in ("LightMMoE / 8 experts", "LightMMoE / a / b / c"):
        with pytest.raises(ValueError, match="expected 'DETECTOR / GROUP / VARIANT'"):
            ablation.variants(Profile(detectors={name: {"experts": 8}}))


def test_the_report_on_smd_has_the_whole_one_where_its_machines_are(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "figures", lambda name: tmp_path / name)
    absent = Profile(profile="mine", dataset="asd", root=str(tmp_path))
    assert ablation.rows_of(absent).empty
    experiment.collect([frame(line("LightMMoE", "a", 0.5))], tmp_path / "mine" / "runs.csv")
    assert len(ablation.rows_of(absent)) == 1  # what is published
    plan = ablation.plan(Profile(vus_window=7))  # any other report: a small one on its own data
    assert plan.profile == "quick" and plan.dataset == "synthetic" and plan.vus_window == 7
    assert plan.entities == ["batch-1", "cache-1"]
    assert set(plan.detectors) == set(ablation.named(ablation.SMALL).detectors)
    assert ablation.on_other_data(plan) == [] and ablation.whole(Profile()) == []
    here = ["machine-1-1", "machine-1-2", "machine-1-8"]
    monkeypatch.setattr(Profile, "present", property(lambda self: here))
    report = Profile(profile="smd", dataset="smd", root="somewhere")
    plan = ablation.plan(report)
    assert plan.profile == "ablation" and plan.entities == here and plan.root == "somewhere"
    assert [one.entities for one in plan.passes] == [None, here[:2], here[:2]]
    assert [one.dataset for one in ablation.on_other_data(plan)] == ["asd", "synthetic"]
    assert len(ablation.whole(report)) == 3
    assert ablation.plan(Profile(profile="mine", dataset="smd")).profile == "mine"
    here[:2] = []
    assert [one.entities for one in ablation.plan(report).passes] == [None]


# --- forecast errors ---


def test_the_last_values_error_by_hand():
    # Ten rows are held out; two channels, one constant. The other steps by 2 every row there and
    # stands still before: deviation d, so each step counts (2 / d)^2, halved by the mean.
    moving = np.concatenate([np.zeros(90), 2.0 * np.arange(1, 11)])
    train = np.column_stack([moving, np.full(100, 7.0)])
    error = ablation.last_value_error(series(100, 2, train=train))
    assert error == pytest.approx((2 / moving.std()) ** 2 / 2)
    moving = np.concatenate([np.full(90, 5.0), np.zeros(10)])  # one step, into the first of them
    error = ablation.last_value_error(series(100, 1, train=moving[:, None], causes=()))
    assert error == pytest.approx((5 / moving.std()) ** 2 / 10)
    assert np.isnan(ablation.last_value_error(series(train=np.ones((300, 4)))))


def test_a_models_error_is_its_held_out_loss_over_the_last_values(
    tmp_path, monkeypatch, small_runs
):
    monkeypatch.setattr(paths, "figures", lambda name: tmp_path / name)
    run = [("LightMMoE", "ours", LIGHT), ("LightMMoE", "ours", LIGHT | {"loss": "l1"})]
    run += [("last value", "ours", {}), ("last value", "study", {}), ("random", "ours", {})]
    made = [Run(series(), name, rules, settings=own) for name, rules, own in run]
    rows = frame(*(experiment.row(each, vus_window=10) for each in made))
    errors = ablation.forecast_errors(rows, TwoSeries(profile="quick"), publish=True)
    assert not (tmp_path / "quick").exists()  # a small ablation publishes nothing
    assert list(errors.index) == list(rows["key"][:3])  # forecasters under our protocol only
    base = ablation.last_value_error(series())
    history = detector("LightMMoE", **LIGHT).fit(series().train).history
    assert errors.iloc[0] == pytest.approx(min(history.held_out) / base, rel=1e-5)
    # The loss of the other was an absolute error; its forecast error is squared all the same.
    model = detector("LightMMoE", **LIGHT | {"loss": "l1"}).fit(series().train)
    assert errors.iloc[1] == pytest.approx(model.decision_scores_[-30:].mean() / base)
    assert errors.iloc[2] == pytest.approx(1)
    assert ablation.forecast_errors(rows.assign(error="ValueError: no"), TwoSeries()).empty
    # Published errors are enough, and nothing is fitted.
    ablation.forecast_errors(rows, TwoSeries(profile="ablation"), publish=True)
    monkeypatch.setenv("LMMOE_CACHE", "nowhere")
    assert ablation.forecast_errors(rows, TwoSeries(profile="quick")).empty
    again = ablation.forecast_errors(rows, TwoSeries(profile="ablation"))
    pd.testing.assert_series_equal(again, errors, rtol=1e-9)


# --- the table, by hand ---

PLAN = Profile(
    detectors={
        "LightMMoE": {},
        "LightMMoE / experts / 1 expert": {"experts": 1},
        "LightMMoE / window / window 4": {"window": 4},
        "MTSExample": {},
        "random": {},
    },
    seeds=[0, 1],
)
ONE, FOUR = '{"experts": 1}', '{"window": 4}'


def row(name, entity, value, settings="{}", **others):
    key = f"{name} {settings} {entity} {others.get('seed', 0)} {others.get('protocol', 'ours')}"
    return line(name, entity, value, **others) | {"settings": settings, "key": key}


# By hand, seeds averaged first. Full: x-1 .3, x-2 .5 and y-1 1. One expert: .4, .4, no y-1.
ROWS = frame(
    row("LightMMoE", "x-1", 0.2, train_seconds=8.0),
    row("LightMMoE", "x-1", 0.4, seed=1, train_seconds=8.0),
    row("LightMMoE", "x-2", 0.5, train_seconds=4.0),
    row("LightMMoE", "y-1", 1.0, parameters=50, train_seconds=100.0),
    row("LightMMoE", "x-1", 0.4, ONE, parameters=20, train_seconds=2.0),
    row("LightMMoE", "x-2", 0.4, ONE, parameters=20, train_seconds=2.0),
    row("LightMMoE", "y-1", None, ONE),
    row("LightMMoE", "x-1", 0.3, '{"experts": 16}'),  # not in the plan
    row("MTSExample", "x-1", 0.6),
    row("random", "x-1", 0.1),
    row("LightMMoE", "x-1", 0.8, protocol="study"),
    row("LightMMoE", "x-2", 0.6, protocol="study"),
    row("LightMMoE", "y-1", 0.9, protocol="study"),
    row("LightMMoE", "x-1", 0.7, ONE, protocol="study"),
    row("random", "x-1", 0.5, protocol="study"),
)
ERRORS = pd.Series(
    {
        "LightMMoE {} x-1 0 ours": 0.5,
        "LightMMoE {} x-1 1 ours": 2.0,
        "LightMMoE {} x-2 0 ours": 1.0,
        f"LightMMoE {ONE} x-1 0 ours": 4.0,
        f"LightMMoE {ONE} x-2 0 ours": 0.25,
    }
)


@pytest.fixture(scope="module")
def table():
    return ablation.by_variant(PLAN, ROWS, ERRORS)


@pytest.fixture(scope="module")
def whole():
    """The table of the published runs."""
    rows = store.read(paths.figures("ablation") / "runs.csv", experiment.ALL)
    return ablation.by_variant(WHOLE, rows, ablation.forecast_errors(rows, WHOLE))


def test_published_tables_are_those_of_the_published_runs(whole):
    tables = {"smd": whole}
    for name in ablation.OTHER_DATA:
        plan = ablation.named(name)
        rows = store.read(paths.figures(name) / "runs.csv", experiment.ALL)
        tables[plan.dataset] = ablation.by_variant(plan, rows, ablation.forecast_errors(rows, plan))
    made = {"ablation": whole, "ablation_printed": ablation.printed(whole)}
    made["ablation_by_dataset"] = ablation.by_dataset(tables)
    for name, table in made.items():
        published = pd.read_csv(paths.figures("smd") / f"{name}.csv", index_col="variant")
        pd.testing.assert_frame_equal(table, published, rtol=1e-6, atol=1e-8, check_dtype=False)
    own = whole[(whole["group"] != "yardsticks") & (whole.index != "LightMMoE")]
    assert len(own) == 46
    for _, part in own.groupby("claimed"):  # p is corrected within each family
        assert part["holm_p"].to_numpy() == pytest.approx(holm(part["p"]))


def test_means_by_hand(table):
    assert list(table.index) == ["LightMMoE", "1 expert", "window 4", "MTSExample", "random"]
    assert list(table["group"]) == ["LightMMoE", "experts", "window", "yardsticks", "yardsticks"]
    assert list(table["settings"]) == ["{}", ONE, FOUR, "{}", "{}"]
    assert list(table["claimed"]) == [False, True, False, False, False]
    assert table["average_precision"].tolist() == pytest.approx(
        [0.6, 0.4, np.nan, 0.6, 0.1], nan_ok=True
    )
    assert table["entities"].tolist()[:2] == [3, 2] and table["seeds"].tolist()[:2] == [2, 1]
    assert table.loc["1 expert", "failed"] == 1 and table.loc["LightMMoE", "failed"] == 0
    assert table.loc["1 expert", "parameters"] == 20
    assert table["train_ratio"].tolist()[:2] == [1, (2 / 8 + 2 / 4) / 2]  # entity by entity
    # The study's average is that of its groups' averages: x (.8 + .6) / 2 = .7, y .9.
    assert table.loc["LightMMoE", "point_f1_pa"] == pytest.approx(0.8)


def test_differences_are_paired_by_entity(table):
    one = table.loc["1 expert"]
    ends = [f"average_precision_{end}" for end in ablation.ENDS]
    difference = ((0.4 - 0.3) + (0.4 - 0.5)) / 2
    assert one[ends].tolist() == pytest.approx([difference, -0.1, 0.1])
    assert one["p"] == 1
    assert one["point_f1_pa_difference"] == pytest.approx(0.7 - 0.8)
    assert np.isnan(one["point_f1_pa_low"])  # one entity has no interval
    assert table.loc["MTSExample", "average_precision_difference"] == pytest.approx(0.3)
    full = table.loc["LightMMoE"]
    assert full.filter(regex="difference|error_ratio|_low|_high|^p$").isna().all()
    # Forecast errors are averaged as ratios. Full: x-1 sqrt(.5 * 2) = 1, x-2 1; the other 4, 1/4.
    assert full["forecast_error"] == pytest.approx(1)
    ends = one[[f"forecast_error{end}" for end in ("", "_ratio", "_low")]]
    assert ends.tolist() == pytest.approx([1, 1, 0.25])
    assert np.isnan(table.loc["MTSExample", "forecast_error"])


def test_without_rows_labels_or_errors_there_are_gaps(table):
    empty = ablation.by_variant(PLAN, ROWS[:0], NONE)
    assert list(empty.columns) == list(table.columns) and empty["average_precision"].isna().all()
    unlabelled = ROWS.assign(**dict.fromkeys(COLUMNS, np.nan))
    bare = ablation.by_variant(PLAN, unlabelled, ERRORS)
    assert bare["average_precision_difference"].isna().all()
    assert bare.loc["1 expert", "forecast_error_ratio"] == pytest.approx(1)
    assert ablation.by_variant(PLAN, ROWS, NONE)["forecast_error"].isna().all()
    # Rows in common: one expert failed on y-1, L2 norm and random ran on x-1 alone.
    found = ablation.in_common(PLAN, ROWS)
    assert set(found["entity"]) == {"x-1"} and set(found["protocol"]) == {"ours", "study"}
    few = ROWS[ROWS["detector"] == "LightMMoE"]
    assert set(ablation.in_common(PLAN, few)["entity"]) == {"x-1", "x-2"}
    assert ablation.in_common(PLAN, ROWS[:0]).empty


def test_printed_numbers_stand_beside_ours(whole):
    found = ablation.printed(whole)
    assert found.loc["1 expert", ["expected", "measured"]].tolist() == [81, 87]
    # Two of the study's names are one setting.
    assert found.loc["specific only (s = 0)", ["expected", "measured"]].tolist() == [83, 91]
    assert found.loc["no towers", "measured_difference"] == pytest.approx(91.5 - 93.4)
    assert list(found.index)[-1] == "random" and "8 experts" not in found.index


def test_sweeps_hold_the_full_model_in_its_place(whole, table):
    found = ablation.sweeps(whole)
    experts = found[found["setting"] == "experts"]
    assert experts["value"].tolist() == [1, 2, 4, 8, 16]
    expected = whole.loc[["1 expert", "2 experts"], "average_precision_difference"].tolist()
    assert experts["difference"].tolist()[:3] == [*expected, 0]
    assert found[found["setting"] == "tower"]["value"].tolist() == [8, 16, 32, 64]  # not "none"
    assert ablation.sweeps(table).empty  # a setting tried once is no sweep
    figure = drawn(lambda: pictures.sweeps(found))
    assert {ax.get_xlabel() for ax in figure.axes} == set(pictures.SWEPT.values())


def texts(figure):
    found = [text.get_text() for ax in figure.axes for text in ax.texts]
    return found + [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]


def test_pictures_show_every_variant_and_what_is_behind(whole, table):
    found = texts(drawn(lambda: pictures.differences(whole)))
    assert {*whole.index, "experts"} - set(found) == {"LightMMoE", "random", "MTSExample"}
    size = f"{whole.loc['8 experts', 'parameters']:,.0f}"
    assert any(size in text for text in found)
    drawn(lambda: pictures.differences(table))  # intervals and forecast errors are missing
    bare = drawn(lambda: pictures.differences(whole.assign(average_precision_difference=np.nan)))
    assert "nothing to compare" in texts(bare)[0]
    fewer = whole.drop(index="8 experts")
    ends = [f"average_precision_{end}" for end in ablation.ENDS]
    fewer.loc["1 expert", ends], fewer.loc["2 experts", ends] = (0.5, 0.4, 0.6), (0.1, -0.1, 0.3)
    beside = ablation.by_dataset({"smd": whole, "asd": fewer})
    assert np.isnan(beside.loc["8 experts", "asd_difference"])
    shown = texts(drawn(lambda: pictures.by_dataset(beside)))
    assert "+0.500 *" in shown and "+0.100" in shown  # a star: the interval excludes 0
