"""The table of the mistakes by hand, and the tables that people read."""

import numpy as np
import pandas as pd
import pytest
from made_up_mistakes import measured, panel, switches

from lmmoe.report.pitfalls import GROUPS, MISTAKES, Measured
from lmmoe.report.statistics import bootstrap_mean
from lmmoe.report.tables import pitfalls as tables

MADE = tables.table(measured())
ZEROS = MISTAKES[9]  # zeros as first scores


def row(mistake, detector):
    found = MADE[(MADE["mistake"] == mistake) & (MADE["detector"] == detector)]
    return found.iloc[0]


def test_a_row_per_mistake_and_detector():
    assert list(MADE.columns) == tables.COLUMNS
    pairs = list(zip(MADE["number"], MADE["detector"], strict=True))
    assert pairs == [(n, name) for n in (1, 10) for name in ("LightMMoE", "PCA", "random")]


def test_means_gains_and_places_by_hand():
    light, pca, chance = (row("point adjustment", name) for name in ("LightMMoE", "PCA", "random"))
    assert (light["before"], light["after"]) == pytest.approx((0.6, 0.9))
    assert [one["gain"] for one in (light, pca, chance)] == pytest.approx([0.3, 0.1, 0.6])
    assert [one["rank_before"] for one in (light, pca, chance)] == [2, 1, 3]
    assert [one["rank_after"] for one in (light, pca, chance)] == [1, 2, 3]
    assert light["metric"] == "best_f1" and light["reported"] == "point_f1_pa"
    assert light["group"] == GROUPS[0]


def test_intervals_are_those_of_the_mean_gain():
    light = row("point adjustment", "LightMMoE")
    expected = bootstrap_mean([0.4, 0.2, 0.3])
    assert (light["low"], light["high"]) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_the_order_is_counted_on_the_same_entities():
    # LightMMoE stands .1 behind PCA on every entity before, and after it only where entity 2 (both
    # .8) makes up all three draws: that is one in 27, and no change. Random ties with PCA after the
    # mistake where entity 1 is drawn thrice.
    assert row("point adjustment", "PCA")["order_changes"] == pytest.approx(26 / 27, abs=0.01)
    assert MADE[MADE["number"] == 1]["order_changes"].nunique() == 1


def test_an_entity_that_one_detector_lacks_counts_for_none():
    zeros = MADE[MADE["number"] == 10]
    assert zeros["machines"].tolist() == [2, 2, 2]
    assert row("zeros as first scores", "LightMMoE")["gain"] == 0  # the third entity had a gain
    assert zeros["order_changes"].tolist() == [0, 0, 0]


def test_equals_share_the_better_place():
    zeros = {"left out": [0.4] * 3, "zeros": [0.4] * 3}
    low = {"left out": [0.3] * 3, "zeros": [0.2] * 3}
    names = {"LightMMoE": zeros, "PCA": zeros, "random": low}
    panels = [panel(name, values) for name, values in names.items()]
    equal = tables._lines(ZEROS, {ZEROS.title: panels})
    assert [line["rank_before"] for line in equal] == [1, 1, 3]


def test_one_entity_has_no_interval():
    one = panel("PCA", {"left out": [0.4, np.nan, np.nan], "zeros": [0.5, 0.6, 0.7]})
    [line] = tables._lines(ZEROS, {ZEROS.title: [one]})
    assert line["machines"] == 1 and line["gain"] == pytest.approx(0.1)
    assert np.isnan(line["low"]) and np.isnan(line["high"])


def test_no_entity_in_common_is_no_row():
    one = panel("PCA", {"left out": [0.4, np.nan, np.nan], "zeros": [0.5] * 3})
    other = panel("random", {"left out": [np.nan, 0.4, np.nan], "zeros": [0.5] * 3})
    assert tables._lines(ZEROS, {ZEROS.title: [one, other]}) == []


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ([0.1, 0.2], [0.3, 0.4], False),
        ([0.1, 0.2], [0.4, 0.3], True),
        ([0.2, 0.1], [0.3, 0.4], True),
        ([0.2, 0.2], [0.3, 0.4], False),  # from a tie
        ([0.1, 0.2], [0.3, 0.3], False),  # into one
        ([0.1, 0.2], [0.3 + 1e-12, 0.3], False),  # rounding is no order
        ([0.1, 0.2], [np.nan, 0.3], False),
        ([0.1, 0.2, 0.3], [0.2, 0.1, 0.3], True),
    ],
)
def test_turning_round(before, after, changes):
    found = tables.turned(np.array(before)[:, None], np.array(after)[:, None])
    assert found.tolist() == [changes]


def test_nothing_measured_gives_empty_tables():
    made = tables.table(Measured())
    assert made.empty and list(made.columns) == tables.COLUMNS
    tried = tables.sweeps(Measured())
    assert tried.empty and tables.of_mistake(tried, "best seed").empty
    assert tables.readable(made).empty and tables.readable(made, GROUPS[0]).empty
    assert tables.floors(Measured().floors).empty
    assert tables.amad(pd.DataFrame()).empty


def test_everything_that_was_tried():
    tried = tables.sweeps(measured())
    wide = tables.of_mistake(tried, "point adjustment")
    assert list(wide.columns) == ["LightMMoE", "PCA", "random"]
    assert wide.loc["100"].tolist() == ["0.600", "0.700", "0.100"]
    more = tried.copy()
    more.loc[len(more)] = ["point adjustment", "PCA", "50", 0.75, 3]
    assert tables.of_mistake(more, "point adjustment").loc["50"].tolist() == ["–", "0.750", "–"]
    assert list(wide.index) == ["100", "0"]  # in the order in which they were tried


def test_what_was_tried_is_told_of_the_entities_that_count():
    tried = tables.sweeps(measured())
    zeros = tried[tried["mistake"] == "zeros as first scores"]
    assert set(zeros["machines"]) == {2}  # the third lacks PCA
    light = zeros[zeros["detector"] == "LightMMoE"].set_index("setting")["value"]
    assert light.to_dict() == pytest.approx({"left out": 0.4, "zeros": 0.4})


def test_means_that_were_tried_are_those_of_the_table():
    tried = tables.sweeps(measured()).set_index(["mistake", "detector", "setting"])["value"]
    for line in MADE.itertuples():
        ends = {1: ("100", "0"), 10: ("left out", "zeros")}[line.number]
        found = [tried[line.mistake, line.detector, name] for name in ends]
        assert found == pytest.approx([line.before, line.after])


def test_nothing_tried_on_the_same_entities_is_no_row():
    one = panel("PCA", {"left out": [0.4, np.nan, np.nan], "zeros": [0.5] * 3})
    other = panel("random", {"left out": [np.nan, 0.4, np.nan], "zeros": [0.5] * 3})
    assert tables.sweeps(Measured({ZEROS.title: [one, other]})).empty


def test_the_table_for_people():
    shown = tables.readable(MADE, GROUPS[0])
    assert list(shown.columns) == ["LightMMoE", "PCA", "random", "reorders"]
    assert list(shown.index) == [
        ("point adjustment", "best F1 → Point F1 (PA)"),
        ("zeros as first scores", "ROC AUC"),
    ]
    assert shown.iloc[0].tolist() == ["0.600 → 0.900", "0.700 → 0.800", "0.100 → 0.700", "96%"]
    assert tables.readable(MADE, GROUPS[1]).empty


def test_an_adjusted_number_never_stands_without_random_scores():
    with_adjusted = MADE[MADE["reported"].str.contains("_pa")]
    for _, part in with_adjusted.groupby("mistake"):
        assert "random" in set(part["detector"])
    assert "random" in tables.readable(MADE)


def test_floors_for_people():
    shown = tables.floors(measured().floors)
    assert list(shown.index) == ["ROC AUC", "composite F1"]
    assert shown.loc["ROC AUC"].tolist() == [0.5, 0.8]


def test_amads_mistakes_by_hand():
    found = tables.amad(switches())
    assert list(found.index) == ["as published", "all mended", "random"]
    mended = found.loc["all mended"]
    assert mended["machines"] == 2
    assert mended["average_precision"] == pytest.approx(0.45)
    assert mended["average_precision_gain"] == pytest.approx(0.15)
    assert mended["average_precision_low"] == pytest.approx(0.1)
    assert mended["average_precision_high"] == pytest.approx(0.2)
    assert found.loc["as published", "best_f1_gain"] == 0
