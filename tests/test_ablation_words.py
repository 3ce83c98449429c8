"""The ablation in sentences: numbers from the table, conclusions only where it has them."""

import numpy as np
import pandas as pd
import pytest
from made_up_ablation import NINE, ablation_rows

from lmmoe.report.ablation import plans
from lmmoe.report.tables import ablation as tables
from lmmoe.report.tables import ablation_words, inside_words

PLAN = plans.named("ablation")
EIGHTEEN = [f"machine-{group}-{number}" for group in (1, 2, 3) for number in range(1, 7)]


def made(**given):
    rows, errors = ablation_rows(**given)
    return tables.by_setting(PLAN, rows, errors)


@pytest.fixture(scope="module")
def table():
    return made()


def said(table, **more):
    return ablation_words.findings(table, "smd", **more)


def line_with(text, words):
    [found] = [line for line in text.splitlines() if words in line]
    return found


def test_the_head_says_what_is_behind(table):
    head = said(table).splitlines()[0]
    assert head.startswith("46 variants against the full LightMMoE on smd, each on 9 entities")
    full = table.loc["LightMMoE"]
    assert f"average precision {full['average_precision']:.3f}" in head
    assert f"forecast error {full['forecast_error']:.2f}" in head
    mixed = table.assign(seeds=table["seeds"].where(~table["claimed"], 3))
    assert "each on 9 entities with 1 to 3 seeds" in said(mixed)
    assert "38 of the variants ran with one seed" in said(mixed)


def test_only_what_survives_the_correction_is_said_to_differ(table):
    text = said(table)
    first = line_with(text, "the study claims something about")
    sure = table[table["claimed"] & (table["holm_p"] < 0.05)]
    assert (
        len(sure) == 1 and f"**1** differs after Holm's correction (5 %): {sure.index[0]}" in first
    )
    line = sure.iloc[0]
    assert f"{line['average_precision_difference']:+.3f}" in first
    second = line_with(text, "that it does not")
    assert "**none** differs" in second and "with 9 entities none could be below 0.15" in second


def test_intervals_that_leave_zero_out_stand_beside_what_chance_would_give(table):
    others = table[(table["group"] != "yardsticks") & ~table["claimed"]].drop(index="LightMMoE")
    out = (others["average_precision_low"] > 0) | (others["average_precision_high"] < 0)
    second = line_with(said(table), "that it does not")
    assert f"The 95 % interval of {out.sum()} more leave 0 out" in second
    assert "by chance alone about 3.9 would" in second


def test_bootstrap_intervals_of_few_values_miss_more_often_than_they_say():
    # Student with one degree of freedom is Cauchy: beyond 1.95996 sqrt(1 / 2) in both tails.
    assert ablation_words.missing(2) == pytest.approx(1 - 2 * np.arctan(1.385903824) / np.pi)
    assert ablation_words.missing(1) == 1 and 0.05 < ablation_words.missing(10_000) < 0.0502
    rng = np.random.default_rng(0)
    given = rng.normal(size=(4000, 9))
    drawn = rng.integers(0, 9, size=(4000, 400, 9))
    means = np.take_along_axis(given[:, None], drawn, axis=2).mean(axis=2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert ((low > 0) | (high < 0)).mean() == pytest.approx(ablation_words.missing(9), abs=0.02)


def test_where_nothing_differs_it_says_so(table):
    flat = table.assign(holm_p=1.0, average_precision_low=-0.01, average_precision_high=0.01)
    text = said(flat)
    assert text.count("**none** differs") == 2
    assert text.count("No other interval leaves 0 out") == 2
    alike = line_with(text, "No difference beyond 0.02 of average precision")
    assert "1 expert" in alike and "and 34 more" in alike


def test_with_few_entities_nothing_is_tested():
    text = said(made(entities=tuple(NINE[:3])))
    assert "Fewer than 6 entities: no test can reach 5 %" in text
    assert "Holm" not in text and "leaves 0 out" not in text


def test_with_many_entities_the_test_has_power():
    text = said(made(entities=tuple(EIGHTEEN)))
    assert "none could be below" not in text


def test_the_studys_numbers_stand_beside_ours_and_random_ones(table):
    printed = tables.printed(table)
    found = line_with(said(table, printed=printed), "Point F1 (PA)")
    assert f"random scores reach {printed.loc['random', 'ours']:.1f} %" in found
    ours = printed.loc["1 expert"]
    assert (
        f"1 expert: it expects -6.0 and prints -6.4, we find {ours['ours_difference']:+.1f}"
        in found
    )
    assert "extremely light: it expects -3.0, we find" in found
    assert "Point F1" not in said(table, printed=printed.drop(index="random"))
    assert "Point F1" not in said(table, printed=printed.assign(ours=np.nan))


def test_forecasts_and_detection_are_correlated_by_rank(table):
    own = table[~table["group"].isin(["yardsticks", "horizon"])].drop(index="LightMMoE")
    better = 1 - table["forecast_error_ratio"]  # 0 where the full model is
    assert "over the variants: -1.00" in said(table.assign(average_precision_difference=better))
    best = own["forecast_error_ratio"].idxmin()
    assert f"Forecasting best: {best} ({own.loc[best, 'forecast_error_ratio']:.2f}" in said(table)
    assert "Forecasting best" not in said(table.assign(forecast_error_ratio=np.nan))


def test_costs_name_the_smallest_that_is_not_worse_and_the_dear_ones(table):
    text = line_with(said(table), "The smallest whose interval")
    own = table[(table["group"] != "yardsticks") & (table["average_precision_high"] > 0)]
    name = own.drop(index="LightMMoE", errors="ignore")["parameters"].idxmin()
    assert f"below 0: {name}, {own.loc[name, 'parameters']:,.0f} parameters" in text
    slow = table.assign(
        train_ratio=np.where(table.index == "16 experts", 10.0, 1.0), average_precision_low=-0.1
    )
    dear = line_with(said(slow), "Paid for without a gain")
    assert dear.endswith("in training time: 16 experts (10.0 times).")
    gained = slow.assign(average_precision_low=0.1, average_precision_high=0.2)
    assert "Paid for" not in said(gained)


def test_other_data_are_an_opinion(table):
    found = tables.opinions({"smd": table, "asd": table, "synthetic": table})
    for end in ("difference", "low", "high"):
        found[f"synthetic_{end}"] *= -1
    text = line_with(said(table, opinions=found), "on other data")
    assert "asd +1.00 (the same sign for 100%), synthetic -1.00 (the same sign for 0%)" in text
    assert "on other data" not in said(table, opinions=tables.opinions({"smd": table}))


def test_failures_are_told(table):
    failed = table.assign(failed=np.where(table.index == "window 128", 4, 0))
    assert "Failed, and in no average: 4 runs, among them window 128 4." in said(failed)
    assert "Failed" not in said(table)


def test_without_any_difference_there_is_one_sentence(table):
    bare = table.assign(average_precision_difference=np.nan)
    assert said(bare) == "On smd: no variant with labelled events to judge it by."


def test_definitions_are_a_table_of_all_variants():
    lines = ablation_words.definitions(PLAN).splitlines()
    assert len(lines) == 2 + len(PLAN.detectors)
    assert {line.count("|") for line in lines} == {7}
    assert any("random scores" in line for line in lines)


# --- inside ---

FACTS = pd.DataFrame(
    {
        "gate_weights_like_start": [0.99, 0.95],
        "gate_entropy": [0.6, 0.8],
        "gate_weight_moved": [0.1, 0.3],
        "gate_entropy_start": [0.5, 0.7],
        "tower_likeness": [0.2, 0.4],
        "tower_likeness_start": [0.0, 0.1],
        "gate_entropy_events": [0.4, np.nan],
        "busiest_expert": [0.3, 0.5],
        "expert_similarity": [0.8, 0.6],
        "expert_similarity_start": [0.5, 0.5],
        "own_channel": [0.4, 0.2],
        "own_channel_experts": [0.05, 0.05],
    }
    | {name: [0.5, 2.0] for name in inside_words.ERRORS}
    | {"gates at their mean": [1.0, 4.0], "the best expert alone": [2.0, 2.0]},
    index=["a", "b"],
)


def test_what_is_inside_by_hand():
    text = inside_words.in_words(FACTS)
    assert text.startswith("Of 2 fitted models, on average")
    assert "their weights correlate 0.970 with" in text
    assert "(lowest 0.950), and 20% of the weight on experts has gone to others." in text
    assert "(cosine) of 0.30, 0.05 with random weights" in text
    assert "Their entropy is 0.70 of the largest, 0.60 before training and 0.40 at labelled" in text
    # Geometric means: as trained sqrt(.5 * 2) = 1, gates at their mean 2, the best expert 2.
    assert "held at its mean share changes the forecast error by +100%" in text
    assert "The best of them alone changes the forecast error by +100%, the worst by +0%" in text
    assert "its own channel with 30% of its sensitivity, and with 5% where" in text


def test_entities_without_a_model_do_not_count():
    gaps = pd.concat([FACTS.iloc[:1], FACTS.iloc[:1] * np.nan])
    assert inside_words.in_words(gaps).startswith("Of one fitted model;")
    assert inside_words.in_words(FACTS * np.nan) == "No fitted model to look into."
    assert inside_words.in_words(pd.DataFrame(index=["a"])) == "No fitted model to look into."
    no_events = FACTS.assign(gate_entropy_events=np.nan)
    assert "at labelled events" not in inside_words.in_words(no_events)


def test_forecasts_are_ranked_with_the_full_model_and_without_other_horizons(table):
    own = table["group"].ne("yardsticks")
    better = table.assign(forecast_error_ratio=table["forecast_error_ratio"].where(~own, 1.5))
    better.loc["2 rows ahead", "forecast_error_ratio"] = 9.0
    better.loc["window 4", "forecast_error_ratio"] = 2.0
    line = line_with(said(better), "Forecasting best")
    assert line.startswith("- Forecasting best: the full model; worst: window 4 (2.00 of")


def test_it_says_which_variants_take_slower_steps(table):
    line = line_with(said(table), "compare programs too")
    for name in ("adaptive", "time-series experts", "mean (no gate)", "s learned", "no towers"):
        assert name in line
    assert "16 experts" not in line and " take the steps of autograd" in line
