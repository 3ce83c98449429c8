"""The picture of our numbers against the study's: its dots, its line for chance, or a note."""

import math

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_rows import frame, line
from matplotlib.colors import to_hex

from lmmoe.report import plots, tables
from lmmoe.report.names import METRIC_TITLES, colour

METRICS = ("point_f1_pa", "event_f1_pa_log")


def machine(detector, entity, ours, theirs=math.nan):
    """A row as `tables.by_machine` gives it; the second metric is half of the first."""
    row = {"detector": detector, "entity": entity}
    for metric, factor in zip(METRICS, (1, 0.5), strict=True):
        row |= {metric: factor * ours, f"{metric}_study": factor * theirs}
    return row


MACHINES = pd.DataFrame(
    [
        machine("LightMMoE", "a", 0.8, 0.9),
        machine("LightMMoE", "b", 0.6, 0.7),
        machine("random", "a", 0.1),
        machine("random", "b", 0.4),
    ]
)


def chance_of(ax):
    """The dashed lines of an axis: their heights and colours."""
    dashed = [one for one in ax.lines if one.get_linestyle() == "--"]
    return [(one.get_ydata(), to_hex(one.get_color()).upper()) for one in dashed]


def test_chance_is_a_line_at_the_mean_of_random_scores():
    figure = drawn(lambda: plots.against_study(MACHINES))
    assert [ax.get_title() or ax.get_title("left") for ax in figure.axes] == [
        METRIC_TITLES[metric] for metric in METRICS
    ]
    for ax, mean in zip(figure.axes, (0.25, 0.125), strict=True):  # (.1 + .4) / 2, and half of it
        [(heights, shade)] = chance_of(ax)
        assert list(heights) == pytest.approx([mean, mean])
        assert shade == colour("random")
        low, high = ax.get_ylim()
        assert low < mean < high


def test_random_scores_have_a_line_and_no_dots():
    figure = drawn(lambda: plots.against_study(MACHINES))
    for ax, factor in zip(figure.axes, (1, 0.5), strict=True):
        [dots] = ax.collections
        # The study's number to the right, ours upwards.
        expected = factor * np.array([[0.9, 0.8], [0.7, 0.6]])
        assert np.asarray(dots.get_offsets()) == pytest.approx(expected)
    [legend] = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["the study's networks", "random scores, mean"]


@pytest.mark.parametrize("scores", [[], [math.nan, math.nan], [math.nan, 0.3]], ids=str)
def test_random_scores_that_failed_or_are_not_there_do_no_harm(scores):
    chance = [machine("random", name, value) for name, value in zip("ab", scores, strict=False)]
    figure = drawn(lambda: plots.against_study(pd.concat([MACHINES[:2], pd.DataFrame(chance)])))
    assert all(len(ax.collections) == 1 for ax in figure.axes)
    [(heights, _)] = chance_of(figure.axes[0])
    assert np.asarray(heights) == pytest.approx(0.3 if 0.3 in scores else math.nan, nan_ok=True)


def test_a_table_without_rows_gives_a_note():
    rows = frame(*(line(name, "web-1", 0.5, protocol="study") for name in ("LightMMoE", "random")))
    figure = drawn(lambda: plots.against_study(tables.by_machine(rows)))
    [ax] = figure.axes
    assert [text.get_text() for text in ax.texts] == ["The study ran none of these entities."]
    assert not ax.axison and not ax.lines and not ax.collections
    figure = drawn(lambda: plots.study_differences(tables.by_machine(rows)))
    assert figure.axes[0].texts[0].get_text() == "The study ran none of these entities."


def test_differences_by_hand():
    exact = [machine("MTSExample", name, 0.5, 0.5) for name in "ab"]
    figure = drawn(lambda: plots.study_differences(pd.concat([MACHINES, pd.DataFrame(exact)])))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    # Who comes out alike stands on top; random scores have no partner.
    assert names == ["LightMMoE", "L2 norm (MTSExample)"]
    for ax, factor in zip(figure.axes, (1, 0.5), strict=True):
        dots, mean, _, _ = [np.asarray(one.get_offsets()) for one in ax.collections]
        assert dots == pytest.approx(np.array([[-0.1 * factor, 0], [-0.1 * factor, 0]]))
        assert mean == pytest.approx(np.array([[-0.1 * factor, 0]]))


def test_a_machine_that_failed_is_no_difference():
    rows = [machine("LightMMoE", "a", 0.8, 0.9), machine("LightMMoE", "b", math.nan, 0.9)]
    figure = drawn(lambda: plots.study_differences(pd.DataFrame(rows)))
    assert len(figure.axes[0].collections[0].get_offsets()) == 1
