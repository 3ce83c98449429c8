"""Pictures of the mistakes: what stands where, and a note where there is nothing."""

import numpy as np
import pytest
from drawing import drawn
from made_up_mistakes import copied, measured
from small import series

from lmmoe.report.pitfalls import MISTAKES, Measured
from lmmoe.report.plots import pitfalls as plots
from lmmoe.report.plots.style import colour
from lmmoe.report.tables import pitfalls as tables

MADE, TRIED = tables.table(measured()), tables.sweeps(measured())


def said(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_the_highest_mean_gain_stands_on_top():
    figure = drawn(lambda: plots.ranking(MADE))
    gains, moved = figure.axes
    names = [label.get_text() for label in gains.get_yticklabels()]
    assert names == ["zeros as first scores  (10)", "point adjustment  (1)"]
    dots = [np.asarray(one.get_offsets()) for one in gains.collections if len(one.get_offsets())]
    dots = [one for one in dots if one.shape == (2, 2)]
    tops = sorted(float(one[1, 0]) for one in dots)
    assert tops == pytest.approx([0.1, 0.3, 0.6])
    assert [bar.get_width() for bar in moved.patches][:2] == pytest.approx(
        [0, MADE["order_changes"].max()]
    )
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["LightMMoE", "PCA", "random scores"]


def test_what_lowers_the_others_is_marked():
    gains = drawn(lambda: plots.ranking(tables.table(copied()))).axes[0]
    assert [label.get_text() for label in gains.get_yticklabels()] == ["copied baselines  (16)*"]
    assert "* LightMMoE is flattered where the others fall" in [t.get_text() for t in gains.texts]
    assert not drawn(lambda: plots.ranking(MADE)).axes[0].texts


def test_only_mistakes_with_a_size_are_swept():
    figure = drawn(lambda: plots.sweeps(TRIED, MISTAKES))
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title("left") for ax in shown] == ["point adjustment (1)"]
    [ax] = shown
    assert len(ax.lines) == 3
    by_colour = {line.get_color(): line for line in ax.lines}
    assert list(by_colour[colour("random")].get_xdata()) == [0, 100]  # sorted
    assert list(by_colour[colour("random")].get_ydata()) == pytest.approx([0.7, 0.1])
    assert ax.get_ylabel() == "best F1"


def test_settings_that_are_no_numbers_are_no_points():
    more = TRIED.copy()
    more.loc[len(more)] = ["point adjustment", "PCA", "known", 0.5, 3]
    figure = drawn(lambda: plots.sweeps(more, MISTAKES))
    assert all(len(line.get_xdata()) == 2 for line in figure.axes[0].lines)


def test_adjustment_fills_the_event():
    made = series()
    scores = np.zeros(300)
    scores[105], scores[250] = 2, 1  # one row of the long event, and one false row
    figure = drawn(lambda: plots.adjustment_seen(made, scores))
    upper, strip = figure.axes
    kinds = [label.get_text() for label in strip.get_yticklabels()]
    # Flagged is row 105 alone: 1 hit of 25 rows; adjusted 20 of 25.
    assert kinds == ["as flagged: F1 0.08", "after adjustment: F1 0.89"]
    plain, adjusted = (one.get_paths() for one in strip.collections[:2])
    ends = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in (*plain, *adjusted)]
    assert ends == [(105, 106), (100, 120)]
    assert upper.get_title("left").startswith("random scores on pump-1")


def test_without_numbers_there_is_a_note():
    empty = Measured()
    assert said(drawn(lambda: plots.ranking(tables.table(empty)))) == [plots.NONE]
    assert said(drawn(lambda: plots.sweeps(tables.sweeps(empty), MISTAKES))) == [plots.NONE]
    for labels in (None, np.zeros(300, dtype=int), np.ones(300, dtype=int)):
        made = series(labels=labels)
        figure = drawn(lambda made=made: plots.adjustment_seen(made, np.zeros(300)))
        assert said(figure) == [plots.NONE]


def test_one_entity_has_dots_and_no_intervals():
    single = MADE.assign(low=np.nan, high=np.nan)
    figure = drawn(lambda: plots.ranking(single))
    assert len(figure.axes) == 2
