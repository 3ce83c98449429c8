"""The ablation's pictures: drawn strictly, and holding what they should."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_ablation import NINE, ablation_rows
from small import series

from lmmoe.report.ablation import plans
from lmmoe.report.plots import ablation as pictures
from lmmoe.report.plots import inside as views
from lmmoe.report.tables import ablation as tables
from lmmoe.report.tables.inside_words import ERRORS


def made(**given):
    rows, errors = ablation_rows(**given)
    return tables.by_setting(plans.named("ablation"), rows, errors)


@pytest.fixture(scope="module")
def table():
    return made()


def texts(figure):
    found = [text.get_text() for ax in figure.axes for text in ax.texts]
    for ax in figure.axes:
        found += [label.get_text() for label in (*ax.get_yticklabels(), *ax.get_xticklabels())]
        found += [ax.get_title(loc="left"), ax.get_xlabel()]
    return found


def test_differences_show_every_variant_and_what_is_behind(table):
    figure = drawn(lambda: pictures.differences(table))
    found = texts(figure)
    assert {"1 expert", "extremely light", "L2 norm (MTSExample)", "experts", "gate"} <= set(found)
    assert "random scores" not in found and "LightMMoE" not in found
    assert f"{table.loc['8 experts', 'parameters']:,.0f}" in found
    assert figure.axes[1].get_xscale() == "log"


def test_an_interval_that_holds_the_full_model_is_grey(table):
    figure = drawn(lambda: pictures.differences(table))
    shown = table[table["average_precision_difference"].notna() & (table.index != "random")]
    dots = [one.get_facecolor()[0] for one in figure.axes[0].collections]
    grey = [tuple(np.round(dot[:3] * 255)) == (0xB0, 0xB0, 0xB0) for dot in dots]
    inside = (shown["average_precision_low"] <= 0) & (shown["average_precision_high"] >= 0)
    assert grey == inside.tolist()


def test_one_entity_can_be_drawn():
    few = made(entities=tuple(NINE[:1]))
    drawn(lambda: pictures.differences(few))
    drawn(lambda: pictures.what_buys_detection(few))
    drawn(lambda: pictures.sweeps(tables.sweeps(few)))
    drawn(lambda: pictures.printed_against_ours(tables.printed(few)))


def test_without_forecast_errors_the_rest_is_drawn(table):
    rows, _ = ablation_rows()
    bare = tables.by_setting(plans.named("ablation"), rows)
    drawn(lambda: pictures.differences(bare))
    drawn(lambda: pictures.what_buys_detection(bare))


def test_sweeps_have_a_panel_each(table):
    figure = drawn(lambda: pictures.sweeps(tables.sweeps(table)))
    shown = {ax.get_xlabel() for ax in figure.axes} - {""}
    assert shown == set(pictures.SWEPT.values())


def test_printed_numbers_need_random_scores(table):
    printed = tables.printed(table)
    figure = drawn(lambda: pictures.printed_against_ours(printed))
    assert "no towers" in texts(figure)
    without = drawn(lambda: pictures.printed_against_ours(printed.drop(index="random")))
    assert "nothing to compare" in texts(without)[0]


def test_opinions_star_what_leaves_zero_out(table):
    found = tables.opinions({"smd": table, "asd": table})
    figure = drawn(lambda: pictures.opinions(found))
    line = found.loc["mean (no gate)"]
    assert line["smd_high"] < 0 and f"{line['smd_difference']:+.3f} *" in texts(figure)
    line = found.loc["1 expert"]
    assert line["smd_low"] < 0 < line["smd_high"] and f"{line['smd_difference']:+.3f}" in texts(
        figure
    )
    alone = drawn(lambda: pictures.opinions(tables.opinions({"smd": table})))
    assert "not run on other data" in texts(alone)[0]


@pytest.mark.parametrize("draw", [pictures.differences, pictures.what_buys_detection])
def test_without_results_there_is_a_note(table, draw):
    bare = table.assign(average_precision_difference=np.nan)
    assert "nothing to compare" in texts(drawn(lambda: draw(bare)))[0]


def test_without_sweeps_there_is_a_note(table):
    assert "No setting" in texts(drawn(lambda: pictures.sweeps(tables.sweeps(table[:2]))))[0]


# --- inside ---


def test_gates_before_and_after():
    start = np.array([0.5, -1, 2])
    figure = drawn(lambda: views.gates_before_and_after(start, 2 * start))
    assert "correlation 1.000" in figure.axes[0].get_title(loc="left")
    none = drawn(lambda: views.gates_before_and_after(np.zeros(0), np.zeros(0)))
    assert "no weights" in texts(none)[0]


@pytest.mark.parametrize("event", [(0, 3), (100, 120), (299, 300), (150, 150)])
def test_gates_over_time_anywhere(event):
    made = series()
    shares = np.full((292, 4, 2), 0.5)
    draw = views.gates_over_time
    figure = drawn(lambda: draw(made, shares, np.full(292, 0.7), 1, event, around=30))
    assert figure.axes[0].get_ylabel() == made.channels[1]
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["expert 1", "expert 2"]


def test_expert_use_with_and_without_events():
    shares = np.full((3, 2), 0.5)
    for change in (shares - 0.5, shares * np.nan):
        figure = drawn(lambda c=change: views.expert_use(shares, shares, c, ["a", "b", "c"]))
        assert {"a", "b", "c"} <= set(texts(figure))


def test_disturbances_show_geometric_means():
    facts = pd.DataFrame({name: [0.5, 2.0] for name in ERRORS})
    figure = drawn(lambda: views.disturbances(facts))
    assert texts(figure).count("1.00") == len(ERRORS)
    assert "No fitted model" in texts(drawn(lambda: views.disturbances(facts * np.nan)))[0]


def test_similarity_of_experts():
    matrix = np.array([[1, 0.25], [0.25, 1]])
    figure = drawn(lambda: views.expert_similarity({"start": matrix, "trained": matrix}))
    assert texts(figure).count("0.25") == 4


def test_towers_alike_are_drawn_in_one_order_with_the_mean_of_pairs():
    groups = np.array([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]])
    none = np.full((3, 3), np.nan)
    figure = drawn(
        lambda: views.tower_likeness({"start": none, "trained": groups}, ["a", "b", "c"])
    )
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[1] == "trained (mean of pairs: -0.33)"
    # Channels a and c stand side by side.
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] in (
        ["b", "a", "c"],
        ["b", "c", "a"],
        ["a", "c", "b"],
        ["c", "a", "b"],
    )


def test_listening_says_what_the_diagonal_holds():
    heard, without = np.full((3, 3), 1 / 3), np.eye(3)
    errors = np.array([0.5, 2, np.nan])
    figure = drawn(lambda: views.listening(heard, without, errors, ["a", "b", "c"]))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0].endswith("(its own channel: 33%)")
    assert titles[1].endswith("(its own channel: 100%)")
