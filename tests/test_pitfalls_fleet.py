"""Means over entities that were drawn, and the drawing."""

import numpy as np
import pytest
from made_up_mistakes import tried
from test_pitfalls_thresholds import panel

from lmmoe.report.pitfalls.fleet import (
    Panel,
    group_of,
    mean_over,
    nan_mean,
    outcome,
    pair,
    resamples,
)
from lmmoe.report.statistics import bootstrap_mean


def test_means_of_what_was_drawn():
    values = np.array([1.0, 2.0, 6.0])
    counts = np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]])
    assert mean_over(values, counts) == pytest.approx([3, 10 / 3, 1])
    assert mean_over(values, counts, among=[False, True, True])[:2] == pytest.approx([4, 10 / 3])
    assert np.isnan(mean_over(values, counts, among=[False, True, True])[2])  # none of them drawn


def test_an_entity_without_a_value_does_no_harm_undrawn():
    assert mean_over(np.array([1.0, np.nan]), np.array([[2, 0]])) == pytest.approx([1])


def test_nan_means_by_hand():
    table = np.array([[1, np.nan, np.nan], [3, 4, np.nan]])
    assert nan_mean(table, axis=0)[:2].tolist() == [2, 4]
    assert np.isnan(nan_mean(table, axis=0)[2])
    assert nan_mean(table) == pytest.approx(8 / 3)
    assert np.isnan(nan_mean([]))


def test_resamples_draw_known_entities_only():
    counts = resamples(np.array([True, False, True, True]), draws=500)
    assert counts.shape == (500, 4)
    assert (counts.sum(axis=1) == 3).all()
    assert (counts[:, 1] == 0).all()
    assert counts.mean(axis=0)[[0, 2, 3]] == pytest.approx([1, 1, 1], abs=0.15)
    assert (counts == resamples(np.array([True, False, True, True]), draws=500)).all()
    assert not resamples(np.array([False]), draws=3).any()


def test_resamples_agree_with_the_bootstrap_of_means():
    values = np.random.default_rng(0).normal(size=18)
    drawn = mean_over(values, resamples(np.ones(18, dtype=bool)))
    found = bootstrap_mean(values)
    assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([found.low, found.high], abs=0.02)


def test_a_pair_compares_means():
    found = pair("a", "b")(panel({"a": [1.0, 2.0, np.nan], "b": [3.0, 3.0, 5.0], "c": [0, 0, 0]}))
    assert found.known.tolist() == [True, True, False]
    everyone = found.known[None].astype(float)
    assert found.before(everyone) == pytest.approx([1.5])
    assert found.after(everyone) == pytest.approx([3])
    # b of the third, 5, stands in no mean beside the others'.
    assert tried(found) == pytest.approx({"a": 1.5, "b": 3, "c": 0})


def test_an_entity_that_lacks_another_setting_counts_for_none():
    made = panel({"a": [1.0, 2.0, 3.0], "b": [3.0, 3.0, 9.0], "c": [0.5, 0.5, np.nan]})
    found = pair("a", "b")(made)
    assert found.known.tolist() == [True, True, False]
    assert tried(found) == pytest.approx({"a": 1.5, "b": 3, "c": 0.5})


def test_seeds_are_averaged_first():
    values = {"a": np.array([[1.0, 5.0], [3.0, np.nan]])}
    made = Panel("PCA", ["x", "y"], ["all", "all"], values, [None] * 2, [[None] * 2] * 2)
    assert made.mean("a").tolist() == [2, 5]
    assert made.means["a"](np.ones((1, 2))) == pytest.approx([3.5])


def test_an_outcome_knows_where_both_numbers_are():
    made = panel({"a": [0.0, 0.0, 0.0]})
    found = outcome(made, np.array([1, np.nan, 1]), np.array([1, 1, np.nan]))
    assert found.known.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["machine-1-1", "machine-1-10", "machine-3-2"], ["machine-1", "machine-1", "machine-3"]),
        (["web-1", "db-1"], ["all", "all"]),
        (["machine-1-1", "pump"], ["all", "all"]),
        (["pump"], ["all"]),
    ],
)
def test_groups_are_those_of_smd(names, groups):
    assert group_of(names) == groups
