"""Pictures of many detectors: everything shown, nothing on top of anything else."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from hypothesis import given
from hypothesis import strategies as st
from lmmoe.report.plots.labels import label_dots
from lmmoe.report.plots.ranks import groups_within
from made_up_fleet import QUALITY, fleet
from matplotlib.figure import Figure
from matplotlib.text import Text

from lmmoe.report import names, plots, tables
from lmmoe.report.plots.cost import pareto
from lmmoe.report.statistics import mean_ranks

ROWS = fleet(entities=6)
HONEST = tables.honest(ROWS)
TITLES = {names.title(name) for name in QUALITY}


def words(ax):
    return [text.get_text() for text in ax.texts]


def ticks(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def extent(label):
    """Where the words stand, without the line that leads to them."""
    label.get_window_extent()  # puts an annotation in its place
    return Text.get_window_extent(label)


def overlaps(ax):
    """Pairs of labels that share some area."""
    boxes = {text.get_text(): extent(text) for text in ax.texts}
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
    ]


# --- quality against cost ---


def test_every_detector_is_named_at_both_costs_and_no_name_covers_another():
    figure = drawn(lambda: plots.quality_and_cost(HONEST))
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "log"]
    for ax, cost in zip(figure.axes, ("train", "score"), strict=True):
        assert cost in ax.get_xlabel() and ax.get_ylabel() == "average precision"
        assert set(words(ax)) == TITLES and len(ax.texts) == 28
        assert overlaps(ax) == []


def test_who_looks_ahead_is_hollow_and_on_no_front():
    table = HONEST.iloc[:3].assign(average_precision=[0.9, 0.5, 0.4], train_seconds=[1.0, 1.0, 2.0])
    for ahead, top in (((), 0.9), (table.index[:1], 0.5)):
        ax = drawn(lambda a=ahead: plots.quality_and_cost(table, ahead=a)).axes[0]
        white = [bool((dot.get_facecolor()[0] == 1).all()) for dot in ax.collections]
        assert white == [name in ahead for name in table.index]
        assert max(ax.lines[0].get_ydata()) == top
    assert not drawn(lambda: plots.quality_and_cost(table, ahead=table.index)).axes[0].lines


def test_without_scoring_times_there_is_one_panel():
    [ax] = drawn(lambda: plots.quality_and_cost(tables.summary(ROWS, "ours"))).axes
    assert set(words(ax)) == TITLES


def test_labels_of_dots_in_one_place_stand_around_it():
    figure = Figure(figsize=(5, 4))
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    label_dots(ax, {f"detector {n}": (0.5, 0.5) for n in range(12)})
    assert len(ax.texts) == 12 and overlaps(ax) == []
    frame = ax.get_window_extent()
    for text in ax.texts:
        box = extent(text)
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
    label_dots(ax, {})  # nothing to name
    assert len(ax.texts) == 12


def test_a_label_in_a_corner_stays_inside():
    figure = Figure(figsize=(4, 3))
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    label_dots(ax, {"a rather long name": (0.99, 0.99), "another long name": (0.01, 0.01)})
    for text in ax.texts:
        box = extent(text)
        frame = ax.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
        assert frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_the_front_by_hand():
    cost = pd.Series({"cheap": 1, "beaten": 2, "better": 2, "worse": 3, "best": 4, "same": 5})
    quality = pd.Series(
        {"cheap": 0.1, "beaten": 0.2, "better": 0.3, "worse": 0.2, "best": 0.5, "same": 0.5}
    )
    assert list(pareto(cost, quality).index) == ["cheap", "better", "best"]
    assert list(pareto(cost, quality.where(quality != 0.3)).index) == ["cheap", "beaten", "best"]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=10))
def test_the_front_holds_what_nothing_beats(dots):
    cost, quality = (pd.Series(values) for values in zip(*dots, strict=True))
    front = set(pareto(cost, quality).itertuples(index=False, name=None))
    unbeaten = {
        (c, q) for c, q in dots if not any(x <= c and y >= q and (x, y) != (c, q) for x, y in dots)
    }
    assert front == unbeaten


# --- heat map, forest, adjustment ---


def test_a_wide_heatmap_shows_all_and_leaves_gaps_grey():
    table = tables.by_entity(ROWS, "ours", "average_precision")
    figure = drawn(lambda: plots.heatmap(table, "average_precision"))
    [ax] = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == [names.title(n) for n in table]
    cells = ax.collections[0].get_array()
    gaps = table.isna().sum().sum()
    assert cells.shape == (7, 28) and cells.mask.sum() == gaps == 1  # AMAD on the sixth entity
    assert ax.get_title("left") == "average precision on each entity (grey: no result)"
    assert len(ax.texts) == 7 * 28 - gaps
    assert figure.get_figwidth() < 13
    assert all(len(text) == 3 for text in words(ax))  # .46


def test_the_scale_of_a_heatmap_goes_on_where_a_metric_does():
    table = pd.DataFrame({"a": [0.5, 8.0], "b": [2.0, np.nan]}, index=["x", "y"])
    mesh = drawn(lambda: plots.heatmap(table, "budget_delay")).axes[0].collections[0]
    assert mesh.get_clim() == (0, 8)


def test_the_forest_stands_in_order_with_its_floor():
    [ax] = drawn(lambda: plots.forest(HONEST)).axes
    assert ticks(ax) == [names.title(name) for name in HONEST.index[::-1]]
    floor = [one for one in ax.lines if one.get_linestyle() == ":"]
    assert [set(one.get_xdata()) for one in floor] == [{HONEST.loc["random", "average_precision"]}]
    bars = [one.get_xdata() for one in ax.lines if one.get_linestyle() == "-"]
    bounds = HONEST[["average_precision_low", "average_precision_high"]].to_numpy()[::-1]
    assert np.array(bars) == pytest.approx(bounds)
    assert any(text.endswith("5 × 3") for text in words(ax))  # AMAD


def test_adjusted_scores_stand_over_the_floor_of_random_ones():
    [ax] = drawn(lambda: plots.what_adjustment_hides(HONEST)).axes
    floor = [one for one in ax.lines if one.get_linestyle() == ":"]
    assert [set(one.get_xdata()) for one in floor] == [{HONEST.loc["random", "point_f1_pa"]}]
    assert len(ticks(ax)) == 28 and ticks(ax)[-1] == names.title(HONEST["best_f1"].idxmax())


def test_bold_is_the_studys_subject_only():
    ax = drawn(lambda: plots.forest(HONEST)).axes[0]
    bold = [label.get_text() for label in ax.get_yticklabels() if label.get_weight() == "bold"]
    assert bold == ["LightMMoE"]


# --- critical differences ---


@pytest.mark.parametrize(
    ("ranks", "critical", "groups"),
    [
        ([1, 2, 3], 1.5, [(0, 1), (1, 2)]),
        ([1, 2, 3], 1.0, []),  # as far apart as the critical difference: they differ
        ([1, 1.5, 2, 4], 1.2, [(0, 2)]),  # what lies inside a group is no group of its own
        ([1, 2, 3], 9, [(0, 2)]),
        ([1], 9, []),
    ],
)
def test_groups_by_hand(ranks, critical, groups):
    assert groups_within(np.array(ranks, dtype=float), critical) == groups


def test_ranks_are_drawn_with_their_groups():
    ranks = mean_ranks(tables.by_entity(ROWS, "ours", "average_precision"))
    [ax] = drawn(lambda: plots.critical_difference(ranks)).axes
    named = [text for text in words(ax) if any(name in text for name in TITLES)]
    assert len(named) == 27  # without AMAD
    bars = [one for one in ax.lines if one.get_linewidth() == 2.5]
    groups = groups_within(ranks.ranks.to_numpy(), ranks.critical_difference)
    assert len(bars) == len(groups) > 0
    assert "6 entities" in ax.get_title() and ax.get_title().endswith("fewer entities: AMAD")
    assert any(f"critical difference {ranks.critical_difference:.2f}" == text for text in words(ax))


def test_ranks_of_one_entity_give_a_note():
    table = tables.by_entity(ROWS, "ours", "average_precision").head(1)
    [ax] = drawn(lambda: plots.critical_difference(mean_ranks(table))).axes
    assert words(ax) == ["Fewer than two detectors or entities: there are no ranks to compare."]


# --- events ---


def test_events_stand_shortest_first_and_the_best_detector_on_top():
    found = {"random": [False, False, True], "PCA": [True, False, True]}
    figure = drawn(lambda: plots.events_found(found, [30, 2, 5]))
    upper, ax = figure.axes
    # Each length over the width of its event.
    assert upper.lines[0].get_xdata().tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert upper.lines[0].get_ydata().tolist() == [2, 5, 30, 30]
    assert ticks(ax) == ["PCA", "random scores"]
    shown = np.asarray(ax.images[0].get_array())[..., :3]
    assert (shown < 1).any(axis=2).tolist() == [[False, True, True], [False, True, False]]
    assert [text.strip() for text in words(ax)] == ["67%", "33%"]


def test_events_of_a_whole_fleet_can_be_drawn():
    rng = np.random.default_rng(0)
    found = {name: rng.random(327) < 0.5 for name in QUALITY}
    figure = drawn(lambda: plots.events_found(found, rng.integers(2, 3000, size=327)))
    assert figure.axes[1].images[0].get_array().shape == (28, 327, 4)


def test_events_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"PCA: shape \(2,\), but there are 3 events"):
        plots.events_found({"PCA": [True, False]}, [1, 2, 3])
    [ax] = drawn(lambda: plots.events_found({}, [1, 2])).axes
    assert words(ax) == ["No events, or no detector to find them."]
    assert words(drawn(lambda: plots.events_found({"a": []}, [])).axes[0]) == words(ax)
