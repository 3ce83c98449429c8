"""The ablation's tables, worked out by hand on few rows and checked on a whole plan's."""

import json

import numpy as np
import pandas as pd
import pytest
from made_up_ablation import NINE, ablation_rows
from made_up_rows import frame, line

from lmmoe.report.ablation import plans, variants
from lmmoe.report.evaluation import ADJUSTED
from lmmoe.report.params import Profile
from lmmoe.report.statistics import holm
from lmmoe.report.study import printed
from lmmoe.report.tables import ablation as tables

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


# By hand, seeds averaged first. Full: x .3, y .5 and z 1. One expert: x .4, y .4, no z.
ROWS = frame(
    row("LightMMoE", "x-1", 0.2),
    row("LightMMoE", "x-1", 0.4, seed=1),
    row("LightMMoE", "x-2", 0.5),
    row("LightMMoE", "y-1", 1.0, parameters=50, train_seconds=4.0),
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
    return tables.by_setting(PLAN, ROWS, ERRORS)


@pytest.fixture(scope="module")
def whole():
    rows, errors = ablation_rows()
    return tables.by_setting(plans.named("ablation"), rows, errors)


def test_rows_are_labelled_by_detector_and_settings():
    found = tables.labelled(ROWS, PLAN)
    assert set(found["detector"]) == set(PLAN.detectors) - {"LightMMoE / window / window 4"}
    assert len(found) == len(ROWS) - 1
    assert tables.labelled(ROWS[:0], PLAN).empty


def test_a_row_per_setting_in_the_plans_order(table):
    assert list(table.index) == ["LightMMoE", "1 expert", "window 4", "MTSExample", "random"]
    assert list(table["group"]) == ["LightMMoE", "experts", "window", "yardsticks", "yardsticks"]
    assert list(table["settings"]) == ["{}", ONE, FOUR, "{}", "{}"]
    assert list(table["claimed"]) == [False, True, False, False, False]


def test_rows_in_common_are_those_of_entities_that_all_variants_with_results_ran_on():
    # One expert failed on y-1, L2 norm and random ran on x-1 alone; window 4 ran nowhere.
    found = tables.in_common(PLAN, ROWS)
    assert set(found["entity"]) == {"x-1"}
    assert len(found) == 9 and set(found["protocol"]) == {"ours", "study"}
    few = ROWS[ROWS["detector"] == "LightMMoE"]
    assert set(tables.in_common(PLAN, few)["entity"]) == {"x-1", "x-2"}
    assert tables.in_common(PLAN, ROWS[:0]).empty


def test_the_studys_scores_under_our_protocol_are_plain_means():
    fleet = (("x-1", 0.2), ("x-2", 0.4), ("y-1", 0.9))
    rows = [row("LightMMoE", name, 0.5, point_f1_pa=value) for name, value in fleet]
    rows += [row("LightMMoE", "x-1", 0.5, point_f1_pa=0.9, protocol="study")]
    found = tables.by_setting(PLAN, frame(*rows)).loc["LightMMoE"]
    assert found["point_f1_pa_ours"] == pytest.approx(0.5)  # by groups it would be .6
    assert found["point_f1_pa"] == pytest.approx(0.9)


def test_training_times_are_compared_entity_by_entity():
    spent = [("x-1", 8.0, 2.0), ("x-2", 4.0, 2.0), ("y-1", 100.0, 90.0)]
    lines = [row("LightMMoE", name, 0.5, train_seconds=full) for name, full, _ in spent]
    lines += [row("LightMMoE", name, 0.5, ONE, train_seconds=one) for name, _, one in spent[1:]]
    lines += [row("LightMMoE", "x-1", 0.5, ONE, train_seconds=2.0)]
    found = tables.by_setting(PLAN, frame(*lines))["train_ratio"]
    assert found["1 expert"] == 0.5 and found["LightMMoE"] == 1 and np.isnan(found["window 4"])


def test_means_by_hand(table):
    assert table["average_precision"].tolist() == pytest.approx(
        [0.6, 0.4, np.nan, 0.6, 0.1], nan_ok=True
    )
    assert table["entities"].tolist()[:2] == [3, 2] and table["seeds"].tolist()[:2] == [2, 1]
    assert table.loc["1 expert", "failed"] == 1 and table.loc["LightMMoE", "failed"] == 0
    assert table.loc["1 expert", ["parameters", "train_seconds"]].tolist() == [20, 2]
    # The study's average is that of its groups' averages: x (.8 + .6) / 2 = .7, y .9.
    assert table.loc["LightMMoE", "point_f1_pa"] == pytest.approx(0.8)


def test_differences_are_paired_by_entity(table):
    one = table.loc["1 expert"]
    assert one["average_precision_difference"] == pytest.approx(((0.4 - 0.3) + (0.4 - 0.5)) / 2)
    assert one["average_precision_low"] == pytest.approx(-0.1)
    assert one["average_precision_high"] == pytest.approx(0.1)
    assert one[["wins", "ties", "losses"]].tolist() == [1, 0, 1]
    assert one["p"] == 1
    assert one["point_f1_pa_difference"] == pytest.approx(0.7 - 0.8)
    assert np.isnan(one["point_f1_pa_low"])  # one entity has no interval
    assert table.loc["MTSExample", "average_precision_difference"] == pytest.approx(0.3)
    full = table.loc["LightMMoE"]
    assert full.filter(regex="difference|error_ratio|_low|_high|^p$").isna().all()


def test_forecast_errors_are_ratios_and_averaged_so(table):
    # Full: x-1 sqrt(.5 * 2) = 1, x-2 1. One expert: 4 and 1/4, so 1 too.
    assert table.loc["LightMMoE", "forecast_error"] == pytest.approx(1)
    assert table.loc["1 expert", "forecast_error"] == pytest.approx(1)
    assert table.loc["1 expert", "forecast_error_ratio"] == pytest.approx(1)
    assert table.loc["1 expert", "forecast_error_low"] == pytest.approx(0.25)
    assert table.loc["1 expert", "forecast_error_high"] == pytest.approx(4)
    assert np.isnan(table.loc["MTSExample", "forecast_error"])
    without = tables.by_setting(PLAN, ROWS)
    assert without["forecast_error"].isna().all()


def test_p_is_corrected_within_each_family(whole):
    own = whole[(whole["group"] != "yardsticks") & (whole.index != "LightMMoE")]
    assert own["claimed"].sum() == 8
    for _, part in own.groupby("claimed"):
        assert part["holm_p"].to_numpy() == pytest.approx(holm(part["p"]))
    assert whole.loc[whole["group"] == "yardsticks", "holm_p"].isna().all()


def test_of_no_rows_it_is_all_gaps():
    found = tables.by_setting(PLAN, ROWS[:0])
    assert len(found) == 5 and found["average_precision"].isna().all()
    assert set(found.columns) == set(tables.by_setting(PLAN, ROWS, ERRORS).columns)


def test_without_labels_there_are_costs_and_forecasts_only():
    from lmmoe.report.evaluation import COLUMNS

    bare = ROWS.assign(**dict.fromkeys(COLUMNS, np.nan))
    found = tables.by_setting(PLAN, bare, ERRORS)
    assert found["average_precision_difference"].isna().all()
    assert found.loc["1 expert", "forecast_error_ratio"] == pytest.approx(1)
    assert found.loc["1 expert", "parameters"] == 20


# --- beside the study ---


def test_printed_numbers_stand_beside_ours(whole):
    found = tables.printed(whole)
    said = {
        c.subject: c.number for c in printed() if c.metric == "point_f1" and "ablation" in c.subject
    }
    assert found.loc["1 expert", "expected"] == 81 and found.loc["1 expert", "measured"] == 87
    assert found.loc["LightMMoE", "measured"] == said["ablation: full"] == 93.4
    specific = found.loc["specific only (s = 0)"]  # two names for one setting
    assert (specific["expected"], specific["measured"]) == (83, 91)
    assert np.isnan(found.loc["extremely light", "measured"])
    assert found.loc["no towers", "expected_difference"] == 82 - 87
    assert found.loc["no towers", "measured_difference"] == pytest.approx(91.5 - 93.4)
    line = whole.loc["no towers"]
    assert found.loc["no towers", "ours"] == pytest.approx(100 * line["point_f1_pa"])
    assert found.loc["no towers", "ours_low"] == pytest.approx(100 * line["point_f1_pa_low"])
    assert list(found.index)[-1] == "random"
    assert found.loc["random", ["expected", "measured"]].isna().all()
    assert "8 experts" not in found.index  # no number was printed for it


def test_the_claims_rules_find_their_runs_among_the_rows():
    from lmmoe.report import claims as audits

    rows, _ = ablation_rows(seeds=2)
    audit = audits.audit(rows[:0], ablation=rows)
    chosen = audit[audit["subject"].str.startswith("ablation")]
    assert len(chosen) == 15 and chosen["measured"].notna().all()


# --- sweeps, opinions, for people ---


def test_sweeps_hold_the_full_model_in_its_place(whole):
    found = tables.sweeps(whole)
    experts = found[found["setting"] == "experts"]
    assert experts["value"].tolist() == [1, 2, 4, 8, 16]
    assert experts["difference"].iloc[2] == 0
    expected = whole.loc[["1 expert", "2 experts"], "average_precision_difference"].tolist()
    assert experts["difference"].tolist()[:2] == expected
    assert found[found["setting"] == "shared"]["value"].tolist() == [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
    assert found[found["setting"] == "tower"]["value"].tolist() == [8, 16, 32, 64]  # not "none"
    assert set(found["setting"]) == set(tables.BASE) & set(found["setting"])
    assert "gate" not in set(found["setting"]) and "out" not in set(found["setting"])


def test_a_setting_tried_once_is_no_sweep(table):
    assert tables.sweeps(table).empty


def test_opinions_side_by_side(whole):
    fewer = whole.drop(index="8 experts").assign(average_precision_difference=0.5)
    found = tables.opinions({"smd": whole, "asd": fewer})
    assert list(found)[:3] == ["smd_difference", "smd_low", "smd_high"]
    assert "LightMMoE" not in found.index and "random" not in found.index
    assert found.loc["1 expert", "asd_difference"] == 0.5
    assert np.isnan(found.loc["8 experts", "asd_difference"])
    expected = whole.loc["8 experts", "average_precision_low"]
    assert found.loc["8 experts", "smd_low"] == expected


def test_people_see_adjusted_scores_beside_random_ones_only(whole):
    names = [name for name in tables.COLUMNS if name.removesuffix("_ours") in ADJUSTED]
    titles = [tables.COLUMNS[name] for name in names]
    assert len(titles) == 3
    shown = tables.shown(whole)
    assert set(titles) <= set(shown) and "random scores" in shown.index
    without = tables.shown(whole.drop(index="random"))
    assert not set(titles) & set(without)
    assert shown.loc["1 expert", "average precision"] == round(
        whole.loc["1 expert", "average_precision"], 3
    )
    assert shown.loc["LightMMoE", "p (Holm)"] == ""


def test_made_up_rows_are_the_plans(whole):
    assert len(whole) == len(variants(plans.named("ablation")))
    assert (whole["entities"] == len(NINE)).all()
    assert [json.loads(text) for text in whole["settings"]]
