"""Mistakes with thresholds: rules without labels, grids, settings by group."""

from types import SimpleNamespace

import numpy as np
import pytest
from given_scores import given
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from made_up_mistakes import tried

from lmmoe.metrics import best_f1
from lmmoe.report.pitfalls import thresholds
from lmmoe.report.pitfalls.fleet import Panel

LABELS = [0, 0, 1, 1, 0, 0]
SCORES = [1.0, 2.0, 3.0, 9.0, 4.0, 0.0]


def naive_grid(labels, scores, steps):
    """F1 at every step, one at a time."""
    low, high = min(scores), max(scores)
    found = []
    for step in range(steps):
        cut = low + (high - low) * step / steps
        flags = [score > cut for score in scores]
        hits = sum(f and y for f, y in zip(flags, labels, strict=True))
        found.append(2 * hits / (sum(flags) + sum(labels)))
    return max(found)


def panel(values, *, groups=None, labels=None, scores=None, detector="PCA"):
    """One seed; ``values`` lists a number per entity for each setting."""
    count = len(next(iter(values.values())))
    return Panel(
        detector,
        [f"pump-{n}" for n in range(count)],
        groups or ["all"] * count,
        {name: np.array([row], dtype=float) for name, row in values.items()},
        labels or [None] * count,
        scores or [[None] * count],
    )


@settings(deadline=None)
@drawn(
    bits=st.lists(st.integers(0, 1), min_size=2, max_size=20).filter(lambda b: 0 < sum(b) < len(b)),
    data=st.data(),
)
def test_the_grid_is_the_naive_one(bits, data):
    scores = data.draw(st.lists(st.integers(-8, 8), min_size=len(bits), max_size=len(bits)))
    # 16 steps of ranges that are powers of two: no rounding decides.
    scores[0], scores[-1] = -8, 8
    found = thresholds.grid_f1(np.array(bits), np.array(scores, dtype=float), steps=16)
    assert found == pytest.approx(naive_grid(bits, scores, 16))


def test_a_spike_makes_the_grid_miss_the_best_threshold():
    labels, scores = np.array(LABELS), np.array(SCORES)
    assert thresholds.grid_f1(labels, scores) == best_f1(labels=labels, scores=scores).f1
    spiked = scores.copy()
    spiked[3] = 1e9
    # Above the lowest step only the spike is left, or (not above the lowest score) all but it.
    assert best_f1(labels=labels, scores=spiked).f1 == pytest.approx(0.8)
    assert thresholds.grid_f1(labels, spiked) == pytest.approx(2 * 1 / (1 + 2))


def test_the_grid_never_beats_the_best():
    rng = np.random.default_rng(0)
    labels, scores = (rng.random(300) < 0.2).astype(int), rng.normal(size=300)
    found = thresholds.grid_f1(labels, scores)
    assert found <= best_f1(labels=labels, scores=scores).f1
    assert found == pytest.approx(best_f1(labels=labels, scores=scores).f1, abs=0.02)


def test_rules_by_hand():
    one = given(LABELS, SCORES, calibration=np.arange(101) / 50)  # the 0.99 quantile is 1.98
    found = thresholds.by_rule(one)
    # Above 1.98 lie rows 1 to 4: two hits of four flagged.
    assert found["quantile"] == pytest.approx(2 * 2 / (4 + 2))
    assert found["best"] == pytest.approx(0.8)  # 3, 4 and 9 flagged
    assert "alarm budget" not in found  # nobody said how many rows are a day
    found = thresholds.by_rule(given(LABELS, SCORES, calibration=one.calibration, rows_per_day=200))
    # Half a day allows no alarm: nothing above the highest calibration score, 2; rows 2 to 4 are.
    assert found["alarm budget"] == pytest.approx(0.8)


def test_every_level_and_rate_is_tried():
    calibration = np.random.default_rng(0).exponential(size=2000)
    found = thresholds.by_level(given(LABELS, SCORES, calibration=calibration))
    assert len(found) == len(thresholds.LEVELS) * len(thresholds.RATES)
    assert thresholds.FIXED == "0.98 / 0.0001"
    assert thresholds.FIXED in found


def test_the_known_share_flags_as_many_rows_as_there_are_anomalies():
    trained = SimpleNamespace(decision_scores_=np.linspace(-2, -1, 94))
    one = given(LABELS, SCORES, calibration=np.zeros(10), detector=trained)
    found = thresholds.by_ratio(one)
    # 2 of 100 rows are anomalous, so the two highest are flagged, 9 and 4: one hit.
    assert found["known"] == pytest.approx(2 * 1 / (2 + 2))
    assert found["2"] == found["known"]
    assert found["1"] == pytest.approx(2 * 1 / (1 + 2))
    # Above 0, the held-out rows' quantile: five rows, two hits.
    assert found["quantile"] == pytest.approx(2 * 2 / (5 + 2))


def test_settings_by_group_are_those_with_the_best_mean():
    values = {
        thresholds.FIXED: [0.5, 0.1, 0.1, np.nan],
        "other": [0.1, 0.4, 0.3, np.nan],
        "odd": [0.2, 0.2, 0.2, 0.9],
    }
    found = thresholds._per_group(panel(values, groups=["a", "a", "b", "b"]))
    counts = np.eye(4)
    # Group a: fixed .3, other .25. Group b, of what is known: odd (.2 + .9) / 2.
    assert found.before(counts)[:3] == pytest.approx([0.5, 0.1, 0.1])
    assert found.after(counts)[:3] == pytest.approx([0.5, 0.1, 0.2])
    assert found.known.tolist() == [True, True, True, False]
    # Of the three that have all: the fourth's .9 under "odd" stands in no mean.
    assert tried(found) == pytest.approx({thresholds.FIXED: 0.7 / 3, "other": 0.8 / 3, "odd": 0.2})


def test_a_group_without_numbers_has_none():
    found = thresholds._per_group(panel({thresholds.FIXED: [np.nan], "other": [np.nan]}))
    assert not found.known.any()


def test_one_threshold_for_all_is_the_best_of_all_rows():
    labels = [np.array([0, 1, 0]), np.array([0, 1, 0])]
    scores = [np.array([0.1, 0.9, 0.2]), np.array([5.0, 7.0, 6.0])]
    # From 7 on: one hit of two. From .9 on: both events, two false: 2/3 too, but the highest wins.
    found = thresholds._chosen(
        panel({"quantile": [0.0, 0.2], "best": [1, 1]}, labels=labels, scores=[scores])
    )
    values = tried(found)
    assert values["best, one for all"] == pytest.approx((0 + 1) / 2)
    assert values["best"] == 1
    assert found.after(np.ones((1, 2))) == pytest.approx([1.0])


def test_one_threshold_for_all_needs_all_scores():
    labels = [np.array([0, 1]), np.array([0, 1])]
    made = panel(
        {"quantile": [0.5] * 2, "best": [1] * 2}, labels=labels, scores=[[labels[0], None]]
    )
    assert np.isnan(tried(thresholds._chosen(made))["best, one for all"])


def test_one_threshold_for_all_is_made_of_the_entities_drawn():
    labels = [np.array([0, 1, 0]), np.array([0, 1, 0])]
    scores = [np.array([0.1, 0.9, 0.2]), np.array([5.0, 7.0, 6.0])]
    found = thresholds._chosen(
        panel({"quantile": [0.0, 0.2], "best": [1, 1]}, labels=labels, scores=[scores])
    )
    # Each by itself is found by its own best threshold.
    assert tried(found, [1, 0])["best, one for all"] == 1
    assert tried(found, [0, 2])["best, one for all"] == 1
