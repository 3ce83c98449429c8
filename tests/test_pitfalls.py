"""The twenty pitfalls, worked out by hand and against naive versions."""

from types import SimpleNamespace

import naive
import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from small import LIGHT, series, waves

from lmmoe.metrics import average_precision, best_f1
from lmmoe.report import pitfalls
from lmmoe.report.experiment import PROTOCOLS, Run
from lmmoe.report.pitfalls import Scored
from lmmoe.segments import runs


def given(labels, scores, rows_per_day=None, entity="pump-1", detector=None, **others):
    """What `Scored` offers, with these labels and scores."""
    labels, scores = np.asarray(labels, dtype=np.int8), np.asarray(scores, dtype=float)

    def precision_of(values):
        return average_precision(labels=labels, scores=values)

    events = runs(labels)
    made = SimpleNamespace(entity=entity, labels=labels, events=events, rows_per_day=rows_per_day)
    return SimpleNamespace(
        series=made,
        labels=labels,
        scores=scores,
        result=SimpleNamespace(detector=detector),
        precision_of=precision_of,
        average_precision=precision_of(scores),
        **others,
    )


def labelled_scores(data, lowest=0):
    bits = data.draw(
        st.lists(st.integers(0, 1), min_size=4, max_size=25).filter(lambda b: 0 < sum(b) < len(b))
    )
    return bits, data.draw(st.lists(st.integers(lowest, 8), min_size=len(bits), max_size=len(bits)))


# --- Labels and rows ---


@settings(deadline=None)
@drawn(st.data())
def test_the_ends_of_point_adjustment_are_the_naive_metrics(data):
    bits, scores = labelled_scores(data)
    found = pitfalls.point_adjustment(given(bits, scores))
    assert found["0"] == pytest.approx(float(naive.best_f1(bits, scores, "point")[0]))
    assert found["100"] == pytest.approx(float(naive.best_f1(bits, scores)[0]))


def test_point_adjustment_by_hand():
    found = pitfalls.point_adjustment(
        given([0, 0, 1, 1, 1, 1, 0, 0], [0.1, 0.5, 0.2, 0.9, 0.3, 0.1, 0.4, 0.2])
    )
    # One flagged row finds the event. One of four rows is more than 20 % and no more than 30.
    assert found["0"] == found["20"] == 1
    assert found["30"] < 1 and found["100"] == pytest.approx(2 / 3)


def test_overlapping_windows_count_rows_again():
    assert pitfalls.overlapped(np.arange(5), 3).tolist() == [0, 1, 2, 1, 2, 3, 2, 3, 4]
    # Rows 0, 1, 1, 2, 2, 3: the event at the end counts once, the false row before it twice.
    found = pitfalls.overlapping_windows(given([0, 0, 0, 1], [0.1, 0.2, 0.9, 0.8]), window=2)
    assert found == pytest.approx({"once": 2 / 3, "in every window": 2 / 4})
    short = pitfalls.overlapping_windows(given([0, 0, 0, 1], [0.1, 0.2, 0.9, 0.8]))
    assert short["once"] == short["in every window"]  # shorter than the window


@settings(deadline=None)
@drawn(st.data())
def test_zeros_lift_roc_auc_by_their_share_of_the_normal_rows(data):
    bits, scores = labelled_scores(data, lowest=1)
    one = given([0] * 16 + bits, [9] * 16 + scores)
    found, normal = pitfalls.zeros_as_first_scores(one), bits.count(0)
    assert found["zeros"] == pytest.approx((normal * found["left out"] + 16) / (normal + 16))
    assert one.scores[0] == 9  # the scores of others are left alone


def test_a_margin_forgives_a_late_alarm():
    # The alarm comes two rows after the event: false at margins 0 and 1, the event's from 2 on.
    found = pitfalls.wider_labels(given([0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 5, 0, 0, 0, 0]))
    assert found["0"] == pytest.approx(2 / 3)
    assert found["1"] == pytest.approx(4 / 5)
    assert found["2"] == found["20"] == 1


def test_f1_peaks_where_labels_are_not_shifted():
    bits = np.zeros(60, dtype=int)
    bits[[20, 21, 22, 40, 41]] = 1
    found = pitfalls.labels_off_by_one(given(bits, bits + np.linspace(0, 0.1, 60)))
    assert max(found, key=found.get) == "0" and found["0"] == 1
    assert found["-1"] == pytest.approx(2 * 3 / 10)
    moves = {0: [0, 1, 1, 0], 1: [0, 0, 1, 1], 3: [0] * 4, -1: [1, 1, 0, 0], -2: [1, 0, 0, 0]}
    for rows, expected in moves.items():
        assert pitfalls.moved(np.array([0, 1, 1, 0]), rows).tolist() == expected


# --- Thresholds ---

LABELS, SCORES = [0, 0, 1, 1, 0, 0], [1.0, 2.0, 3.0, 9.0, 4.0, 0.0]


def naive_grid(labels, scores, steps):
    low, high = min(scores), max(scores)
    found = []
    for step in range(steps):
        flags = [score > low + (high - low) * step / steps for score in scores]
        hits = sum(f and y for f, y in zip(flags, labels, strict=True))
        found.append(2 * hits / (sum(flags) + sum(labels)))
    return max(found)


@settings(deadline=None)
@drawn(st.data())
def test_the_grid_is_the_naive_one(data):
    bits, scores = labelled_scores(data, lowest=-8)
    scores[0], scores[-1] = -8, 8  # 16 steps of a power of two: no rounding decides
    found = pitfalls.grid_f1(np.array(bits), np.array(scores, dtype=float), steps=16)
    assert found == pytest.approx(naive_grid(bits, scores, 16))


def test_a_spike_makes_the_grid_miss_the_best_threshold():
    labels, scores = np.array(LABELS), np.array(SCORES)
    assert pitfalls.grid_f1(labels, scores) == best_f1(labels=labels, scores=scores).f1
    scores[3] = 1e9
    assert best_f1(labels=labels, scores=scores).f1 == pytest.approx(0.8)
    assert pitfalls.grid_f1(labels, scores) == pytest.approx(2 / 3)


def test_threshold_rules_by_hand():
    calibration = np.arange(101) / 50  # the 0.99 quantile is 1.98: rows 1 to 4 are flagged
    found = pitfalls.threshold_chosen_on_test(given(LABELS, SCORES, calibration=calibration))
    assert found["quantile"] == pytest.approx(2 * 2 / (4 + 2))
    assert found["best"] == pytest.approx(0.8)  # 3, 4 and 9 flagged
    assert "alarm budget" not in found  # nobody said how many rows are a day
    one = given(LABELS, SCORES, calibration=calibration, rows_per_day=200)
    # Half a day allows no alarm: only rows above the highest calibration score, 2, are flagged.
    assert pitfalls.threshold_chosen_on_test(one)["alarm budget"] == pytest.approx(0.8)


def test_the_known_share_flags_as_many_rows_as_there_are_anomalies():
    trained = SimpleNamespace(decision_scores_=np.linspace(-2, -1, 94))
    one = given(LABELS, SCORES, calibration=np.zeros(10), detector=trained)
    found = pitfalls.known_share_of_anomalies(one)
    assert found["known"] == found["2"] == pytest.approx(2 * 1 / (2 + 2))  # 9 and 4: one hit
    assert found["1"] == pytest.approx(2 * 1 / (1 + 2))
    assert found["quantile"] == pytest.approx(2 * 2 / (5 + 2))


def test_three_at_once_by_hand():
    labels = [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    scores = [4, 1, 3, 1, 2.5, 0, 0, 0, 0, 0, 0, 0]
    one = given(labels, scores, calibration=np.arange(101) / 50)
    assert list(pitfalls.three_at_once(one).values()) == pytest.approx(
        [
            2 * 1 / (3 + 3),  # rows 0, 2 and 4 are flagged: one hit
            2 * 3 / (5 + 3),  # the whole event
            2 * 3 / (4 + 3),  # from 3 on row 4 is no alarm
            2 * 8 / (9 + 8),  # the event is rows 1 to 8, with row 0 before it
        ]
    )
    assert one.scores.tolist() == scores


# --- What the test half tells ---


@settings(deadline=None)
@drawn(
    st.lists(st.integers(-100, 100), min_size=1, max_size=15), st.integers(0, 6), st.integers(0, 6)
)
def test_the_moving_mean_is_the_naive_one(scores, back, ahead):
    found = pitfalls.moving_mean(np.array(scores, dtype=float), back, ahead)
    for row, value in enumerate(found):
        there = scores[max(row - back, 0) : row + ahead + 1]
        assert value == pytest.approx(sum(there) / len(there))


def test_one_huge_score_leaves_the_others_their_digits():
    found = pitfalls.moving_mean(np.array([1e17, 1, 2, 3, 4]), 1)
    assert found[2:].tolist() == [1.5, 2.5, 3.5]


def test_normalising_by_hand():
    # Channel 0 is noisy in both halves, channel 1 quiet in training and wild in the test half.
    held_out = np.array([[-4, 0], [-2, 0], [0, 0], [2, 0], [4, 0]], dtype=float)
    channels = np.array([[4, 0.0], [0, 0.0], [0, 3.0], [0, 0.0], [1, 0.0]])
    one = given([0, 0, 1, 0, 0], [4, 0, 3, 0, 1], channels=channels, held_out_channels=held_out)
    found = pitfalls.errors_normalised_by_test_rows(one)
    assert found == {"as it is": 0.5, "held-out training rows": 1, "test rows": 1}


def test_looking_ahead_by_hand():
    bits = np.zeros(40, dtype=int)
    bits[20] = 1
    found = pitfalls.smoothing_that_sees_ahead(given(bits, 9.0 * bits))
    assert list(found) == [str(ahead) for ahead in range(9)]
    assert list(found.values()) == pytest.approx([1 / 9] * 9)  # nine rows tie, wherever they lie


def test_scaling_by_test_rows_undoes_a_drift(small_runs):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 4))
    noise[100:120, 0] += 2
    made = series(train=rng.normal(size=(300, 4)), test=noise)
    moved = series(train=made.train, test=noise * [3.0, 0.5, 1.0, 2.0] + [1.0, -7.0, 0.0, 9.0])
    found, drifted = (
        pitfalls.data_scaled_by_test_rows(Scored(Run(one, "MTSExample"))) for one in (made, moved)
    )
    assert drifted["test rows"] == pytest.approx(found["test rows"])
    assert drifted["training rows"] != pytest.approx(found["training rows"])
    z = (made.test - made.test.mean(axis=0)) / made.test.std(axis=0)
    by_hand = average_precision(labels=made.labels, scores=(z**2).sum(axis=1))
    assert found["test rows"] == pytest.approx(by_hand)
    chance = pitfalls.data_scaled_by_test_rows(Scored(Run(made, "random", seed=3)))
    assert chance["training rows"] == chance["test rows"]  # the same draw


def test_epochs_that_are_tried(small_runs):
    one = Scored(Run(series(), "LightMMoE", settings=LIGHT | {"epochs": 4}))
    found = pitfalls.epoch_chosen_on_test(one)
    assert list(found) == ["held-out rows", "1", "3", "4"]
    assert found["held-out rows"] == one.average_precision
    last = Scored(Run(series(), "LightMMoE", settings=LIGHT | {"epochs": 4, "held_out": 0.0}))
    assert found["4"] == last.average_precision
    assert len(last.result.detector.history.training) == 4
    assert list(pitfalls.epoch_chosen_on_test(Scored(Run(series(), "PCA")))) == ["held-out rows"]
    chance = pitfalls.epoch_chosen_on_test(Scored(Run(series(), "random", seed=3)))
    assert list(chance) == ["held-out rows", "1", "3", "5"]
    assert chance["1"] == Scored(Run(series(), "random", seed=4)).average_precision


def test_settings_by_hand():
    channels, bits = np.zeros((70, 2)), np.zeros(70, dtype=int)
    channels[40], channels[10], bits[40] = [9, 0], [5, 5], 1
    one = given(bits, channels.mean(axis=1), channels=channels)
    found = pitfalls.settings_picked_on_the_judged_series(one)
    assert set(found) == {f"{k} / {r}" for k in ("own", "max", "top 4") for r in (1, 5, 20, 60)}
    assert found["own / 1"] == found["top 4 / 1"] == 0.5  # there are but two channels
    assert found["max / 1"] == 1 and found["max / 5"] == pytest.approx(1 / 5)


def test_held_out_channels_are_those_of_the_calibration_rows(small_runs):
    one = Scored(Run(series(train=waves(400, 4)), "MTSExample"))
    assert one.held_out_channels.shape == (40, 4)
    assert one.held_out_channels.sum(axis=1) == pytest.approx(one.calibration)
    assert one.channels.sum(axis=1) == pytest.approx(one.scores)
    one.result = SimpleNamespace(calibration=None)
    with pytest.raises(ValueError, match="MTSExample has no scores that could set a threshold"):
        _ = one.calibration


# --- Averages and comparisons ---


def test_counts_by_hand():
    # Flagged from .8 on: the event (2 rows, adjusted) and one false row.
    found = pitfalls.kindest_average(given([0, 1, 1, 0, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.1, 0.85]))
    assert found == pytest.approx(
        {"f1": 6 / 7, "precision": 3 / 4, "recall": 1, "hits": 3, "flagged": 4, "anomalous": 3}
    )


def test_drift_by_hand(small_runs):
    made = series(train=[[0.0, 1.0], [2.0, 1.0]] * 150, test=[[3.0, 1.5]] * 300, causes=None)
    # Channel 0: mean 1, deviation 1, moved by 2. Channel 1 does not vary: by its own unit, 0.5.
    found = pitfalls.some_of_the_machines(Scored(Run(made, "random")))
    assert found["drift"] == pytest.approx((2 + 0.5) / 2)


def test_the_rules_of_copied_rows(small_runs):
    made = series()
    ours, study = (
        Scored(Run(made, "LightMMoE", protocol, settings=LIGHT)) for protocol in ("ours", "study")
    )
    wide = PROTOCOLS["study"].labels(made)
    assert wide.sum() > made.labels.sum()
    assert pitfalls.copied_baselines(ours) == {
        "same rules": best_f1(labels=wide, scores=study.scores, adjust="point").f1,
        "other rules": best_f1(labels=made.labels, scores=ours.scores, adjust="point").f1,
    }


# --- Metrics and data ---


def naive_composite(labels, scores):
    best = 0.0
    for cut in scores:
        flags = [score >= cut for score in scores]
        hits = sum(f and y for f, y in zip(flags, labels, strict=True))
        events = [any(flags[a:b]) for a, b in runs(labels)]
        precision, recall = hits / sum(flags), sum(events) / len(events)
        if hits:
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


@settings(deadline=None)
@drawn(st.data())
def test_composite_f1_is_the_naive_one(data):
    bits, scores = labelled_scores(data)
    found = pitfalls.composite_f1(np.array(bits), np.array(scores, dtype=float))
    assert found == pytest.approx(naive_composite(bits, scores))


def test_the_longest_event_left_out_by_hand():
    # 43 normal rows. The long event is above all of them, the short one above all but row 0.
    labels = np.pad([0, 1, 1, 0, 1, 0], 20)
    scores = np.pad([0.5, 0.9, 0.8, 0.1, 0.4, 0.2], 20, constant_values=-1.0)
    found = pitfalls.a_few_long_events(given(labels, scores))
    assert found["all events"] == pytest.approx((43 + 43 + 42) / (3 * 43))
    assert found["longest left out"] == pytest.approx(42 / 43)
    assert set(pitfalls.a_few_long_events(given(labels, 0 * scores)).values()) == {0.5}
    alone = pitfalls.a_few_long_events(given(np.pad([1, 1], 20), np.pad([1.0, 2.0], 20)))
    assert np.isnan(alone["longest left out"]) and alone["all events"] == 1


@settings(deadline=None)
@drawn(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(0, 10_000))
def test_jittered_labels_stay_near_and_keep_a_row_of_each_event(bits, seed):
    labels = np.array(bits, dtype=np.int8)
    found = pitfalls.jittered(labels, np.random.default_rng(seed))
    near = np.convolve(labels, np.ones(2 * pitfalls.JITTER + 1), mode="same")[: len(labels)] > 0
    if len(labels) > 2 * pitfalls.JITTER:
        assert not found[~near].any()
    assert found.any() == labels.any()


def test_all_detectors_get_the_same_jitter():
    bits = np.zeros(100, dtype=int)
    bits[[10, *range(40, 60)]] = 1
    one, other = (pitfalls.a_few_long_events(given(bits, bits * factor)) for factor in (1.0, 2.0))
    assert one == other
    assert one != pitfalls.a_few_long_events(given(bits, 1.0 * bits, entity="another"))


def test_growing_scores_by_hand():
    # Four rows, ranks 1, 1/2, 1/4, 3/4; the event is last. Place: 1/4 to 1.
    found = pitfalls.events_late_in_the_series(given([0, 0, 0, 1], [0.9, 0.3, 0.1, 0.5]))
    assert found["0"] == found["0.1"] == 0.5
    assert found["1"] == found["place alone"] == 1
    rng = np.random.default_rng(0)
    one = given((rng.random(200) < 0.2).astype(int), rng.integers(0, 9, 200))
    assert pitfalls.events_late_in_the_series(one)["0"] == pytest.approx(one.average_precision)
