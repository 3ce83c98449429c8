"""The twenty pitfalls, by hand and against naive versions; their tables and pictures."""

from types import SimpleNamespace

import naive
import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from small import LIGHT, series

from lmmoe.metrics import average_precision
from lmmoe.report import pitfalls
from lmmoe.report import pitfalls as tables
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.experiment import PROTOCOLS, Run
from lmmoe.report.pitfalls import DETECTORS, Scored, catalogue
from lmmoe.report.plots import comparison as plots
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import bootstrap_mean
from lmmoe.segments import runs

SETTINGS = {"LightMMoE": LIGHT | {"epochs": 1}, "PCA": {"components": 2}}


def one(labels, scores, detector=None, calibration=None, channels=None):
    """A detector's scores on a series, without a run."""
    made = Scored.__new__(Scored)
    made.labels, made.scores = np.array(labels, dtype=np.int8), np.array(scores, dtype=float)
    made.series = SimpleNamespace(labels=made.labels, events=runs(made.labels), train=None)
    made.result = SimpleNamespace(detector=detector, calibration=calibration)
    made.average_precision, made.channels = made.precision_of(made.scores), channels
    return made


def test_point_adjustment_and_overlapping_windows():
    # One of the event's two rows is found at .9, the other at .2, behind a false row.
    found = pitfalls.point_adjustment(one([0, 1, 1, 0], [0.5, 0.9, 0.2, 0.1]))
    assert (found["0"], found["100"]) == pytest.approx((1, 4 / 5))
    # Rows 0 to 99, 1 to 100: the event at the end counts once, the false row before it twice.
    labels, scores = np.zeros(101, dtype=int), np.zeros(101)
    labels[100], scores[99:] = 1, [0.9, 0.8]
    found = pitfalls.overlapping_windows(one(labels, scores))
    assert found == pytest.approx({"once": 2 / 3, "in every window": 2 / 4})


@settings(deadline=None)
@given(naive.cases())
def test_zeros_lift_roc_auc_by_their_share_of_the_normal_rows(case):
    bits, scores = case
    scores, normal = [9] * 16 + [score + 2 for score in scores], bits.count(0)  # all above 0
    found = pitfalls.zeros_as_first_scores(one([0] * 16 + bits, scores))
    assert found["zeros"] == pytest.approx((normal * found["left out"] + 16) / (normal + 16))


def test_labels_that_are_wider_or_shifted():
    # The alarm comes two rows after the event: false at margins 0 and 1, the event's from 2 on.
    found = pitfalls.wider_labels(one([0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 5, 0, 0, 0, 0]))
    assert list(found.values()) == pytest.approx([2 / 3, 4 / 5, 1, 1, 1, 1])
    bits = np.zeros(60, dtype=int)
    bits[[0, 20, 21, 22, 40, 41]] = 1
    found = pitfalls.labels_off_by_one(one(bits, bits + np.linspace(0, 0.1, 60)))
    assert max(found, key=found.get) == "0" and found["0"] == 1
    assert found["-1"] == pytest.approx(2 * 3 / (5 + 5))  # row 0 does not come in at the other end


def test_thresholds_by_hand():
    labels, scores = [0, 0, 1, 1, 0, 0], [1, 2, 3, 9, 4, 0]
    calibration = np.arange(101) / 50  # the 0.99 quantile is 1.98: rows 1 to 4 are flagged
    found = pitfalls.threshold_chosen_on_test(one(labels, scores, calibration=calibration))
    assert found == pytest.approx({"quantile": 2 * 2 / (4 + 2), "best": 0.8})  # 3, 4 and 9 flagged
    trained = SimpleNamespace(decision_scores_=np.linspace(-2, -1, 94))
    found = pitfalls.known_share_of_anomalies(one(labels, scores, trained, np.zeros(10)))
    assert found["known"] == found["2"] == pytest.approx(2 * 1 / (2 + 2))  # 9 and 4: one hit
    assert found["1"] == pytest.approx(2 * 1 / (1 + 2))
    assert found["quantile"] == pytest.approx(2 * 2 / (5 + 2))
    labels, scores = np.zeros(12, dtype=int), np.zeros(12)
    labels[1:4], scores[:5] = 1, [4, 1, 3, 1, 2.5]
    found = pitfalls.three_at_once(one(labels, scores, calibration=calibration))
    # Rows 0, 2 and 4 are flagged: one hit. Then the whole event. From 3 on row 4 is no alarm. Last,
    # the event is rows 1 to 8, with row 0 before it.
    by_hand = [2 * 1 / (3 + 3), 2 * 3 / (5 + 3), 2 * 3 / (4 + 3), 2 * 8 / (9 + 8)]
    assert list(found.values()) == pytest.approx(by_hand)


@settings(deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=1), st.integers(0, 6), st.integers(0, 6))
def test_the_moving_mean_is_the_naive_one(scores, back, ahead):
    found = pitfalls.moving_mean(np.array(scores, dtype=float), back, ahead)
    for row, value in enumerate(found):
        there = scores[max(row - back, 0) : row + ahead + 1]
        assert value == pytest.approx(sum(there) / len(there))
    # One huge score leaves the others their digits.
    assert pitfalls.moving_mean(np.array([1e17, 1, 2, 3, 4]), 1)[2:].tolist() == [1.5, 2.5, 3.5]


def test_what_the_test_half_tells_by_hand():
    # Channel 0 is noisy in both halves, channel 1 quiet in training and wild in the test half.
    held_out = np.array([[-4, 0], [-2, 0], [0, 0], [2, 0], [4, 0]], dtype=float)
    channels = np.array([[4, 0.0], [0, 0.0], [0, 3.0], [0, 0.0], [1, 0.0]])
    learned = SimpleNamespace(channel_scores=lambda rows: np.concatenate([[[9, 9.0]], held_out]))
    made = one([0, 0, 1, 0, 0], channels.max(axis=1), learned, held_out[:, 0], channels)
    assert made.average_precision == 0.5
    found = pitfalls.errors_normalised_by_test_rows(made)
    assert found == {"held-out training rows": 1, "test rows": 1}
    bits = np.zeros(40, dtype=int)
    bits[20] = 1
    found = pitfalls.smoothing_that_sees_ahead(one(bits, 9.0 * bits))
    assert list(found.values()) == pytest.approx([1 / 9] * 9)  # nine rows tie, wherever they lie
    channels, bits = np.zeros((70, 2)), np.zeros(70, dtype=int)
    channels[40], channels[10], bits[40] = [9, 0], [5, 5], 1
    made = one(bits, channels.mean(axis=1), channels=channels)
    found = pitfalls.settings_picked_on_the_judged_series(made)
    assert found["own / 1"] == found["top 4 / 1"] == 0.5  # there are but two channels
    assert found["max / 1"] == 1 and found["max / 5"] == pytest.approx(1 / 5)


def test_scaling_by_test_rows_undoes_a_drift(small_runs):
    train, noise = np.random.default_rng(0).normal(size=(2, 300, 4))
    noise[100:120, 0] += 2
    moved = series(train=train, test=noise * [3.0, 0.5, 1.0, 2.0] + [1.0, -7.0, 0.0, 9.0])
    found = pitfalls.data_scaled_by_test_rows(Scored(Run(moved, "MTSExample")))
    z = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    by_hand = average_precision(labels=moved.labels, scores=(z**2).sum(axis=1))
    assert found["test rows"] == pytest.approx(by_hand) != found["training rows"]
    chance = pitfalls.data_scaled_by_test_rows(Scored(Run(moved, "random", seed=3)))
    assert chance["training rows"] == chance["test rows"]  # the same draw
    calm = series(train=[[0.0, 1.0], [2.0, 1.0]] * 150, test=[[3.0, 1.5]] * 300, causes=None)
    # Channel 0: mean 1, deviation 1, moved by 2. Channel 1 does not vary: by its own unit, 0.5.
    found = pitfalls.some_of_the_machines(Scored(Run(calm, "random")))
    assert found["drift"] == pytest.approx((2 + 0.5) / 2)


def test_runs_that_pitfalls_add(small_runs):
    made, epochs = series(), LIGHT | {"epochs": 4}
    found = pitfalls.epoch_chosen_on_test(Scored(Run(made, "LightMMoE", settings=epochs)))
    assert list(found) == ["held-out rows", "last", "best", "1", "3", "4"]
    last = Scored(Run(made, "LightMMoE", settings=epochs | {"held_out": 0.0}))
    assert found["last"] == found["4"] == last.average_precision
    assert found["best"] == max(found["1"], found["3"], found["4"])
    assert len(last.result.detector.history.training) == 4
    with pytest.raises(ValueError, match="LightMMoE has no scores that could set a threshold"):
        pitfalls.threshold_chosen_on_test(last)
    alone = pitfalls.epoch_chosen_on_test(Scored(Run(made, "PCA")))
    assert list(alone) == ["held-out rows", "last", "best"] and len(set(alone.values())) == 1
    chance = pitfalls.epoch_chosen_on_test(Scored(Run(made, "random", seed=3)))
    assert chance["1"] == Scored(Run(made, "random", seed=4)).average_precision
    wide = PROTOCOLS["study"].labels(made)
    for name, own, copied in (("LightMMoE", LIGHT, "same"), ("MTSExample", {}, "other")):
        ours, study = (Scored(Run(made, name, rules, settings=own)) for rules in PROTOCOLS)
        same = pitfalls.adjusted_f1(wide, study.scores)
        found = {"same rules": same, "other rules": pitfalls.adjusted_f1(made.labels, ours.scores)}
        assert pitfalls.copied_baselines(ours) == found | {"copied": found[f"{copied} rules"]}


def test_parts_long_events_and_growing_scores_by_hand():
    # Flagged from .8 on: the event (2 rows, adjusted) and one false row.
    found = pitfalls.kindest_average(one([0, 1, 1, 0, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.1, 0.85]))
    assert found == pytest.approx({"f1": 6 / 7, "precision": 3 / 4, "recall": 1})
    # 43 normal rows. The long event is above all of them, the short one above all but row 0.
    labels = np.pad([0, 1, 1, 0, 1, 0], 20)
    scores = np.pad([0.5, 0.9, 0.8, 0.1, 0.4, 0.2], 20, constant_values=-1.0)
    found = pitfalls.a_few_long_events(one(labels, scores))
    assert list(found.values()) == pytest.approx([(43 + 43 + 42) / (3 * 43), 42 / 43])
    assert list(pitfalls.a_few_long_events(one([0, 1, 1], [0, 1, 2]))) == ["all events"]
    # Four rows, ranks 1, 1/2, 1/4, 3/4; the event is last. Place: 1/4 to 1.
    found = pitfalls.events_late_in_the_series(one([0, 0, 0, 1], [0.9, 0.3, 0.1, 0.5]))
    assert found["0"] == found["0.1"] == 0.5
    assert found["1"] == found["place alone"] == 1


def panel(values, names=None):
    """``values`` lists a number per entity for each setting, or a row of them per seed."""
    parts = {name: pd.DataFrame(np.atleast_2d(given)) for name, given in values.items()}
    table = pd.concat(parts, names=["setting", "seed"])
    return table.set_axis(names or [f"pump-{n}" for n in table], axis=1)


def ends(outcome):
    """Before and after over all entities once."""
    return [float(end[0]) for end in outcome[:2]]


def test_there_are_twenty_and_each_says_what_it_must():
    table = catalogue()
    assert table["number"].tolist() == list(range(21)) and table.index.is_unique
    for name, line in table.iterrows():
        assert callable(getattr(pitfalls, name.replace(" ", "_")))
        assert line["metric"] in COLUMNS and line["reported"] in {*COLUMNS, "f1"}
        assert bool(line["before"] and line["after"]) != (name in tables.COMPARED)


def test_settings_chosen_by_group_and_by_series():
    names = ["machine-1-1", "machine-1-2", "machine-2-1", "machine-2-10"]
    fixed = "0.98 / 0.0001"
    values = {fixed: [0.5, 0.1, 0.1, 0.2], "other": [0.1, 0.4, 0.3, 0.1], "odd": [0.2] * 4}
    # Group 1: fixed .3, other .25. Group 2: fixed .15, other .2, odd .2, the first of equals.
    before, after, machines = tables.best_of_each_group(panel(values, names))
    assert machines == 4 and before == pytest.approx(tables.means(values[fixed]))
    assert after == pytest.approx(tables.means([0.5, 0.1, 0.3, 0.1]))
    # Entities of other data are one group: fixed .225, other .225, odd .2.
    assert ends(tables.best_of_each_group(panel(values)))[1] == pytest.approx(0.225)
    values = {"a": [0.9, 0.1, 0.2, 0.3], "b": [0.1, 0.8, 0.2, 0.7], "c": [0.5, 0.4, 0.3, 0.2]}
    found = tables.best_of_each_series(panel(values, names))
    # Those that did not choose are judged: the best of "a", which is best on the others, and each.
    assert found[2] == 2 and ends(found) == pytest.approx([0.2, 0.75])
    assert ends(tables.best_of_each_series(panel({"a": [0.4], "b": [0.6]}))) == [0.6, 0.6]


def test_the_best_seed_and_some_entities():
    made = panel({"average precision": [[0.1, 0.9], [0.4, 0.5], [0.3, 0.3]]})
    before, after, _ = tables.best_of_seeds(made)
    expected = {(1, 1): (2.5 / 6, 0.5), (2, 0): (0.8 / 3, 0.4), (0, 2): (1.7 / 3, 0.9)}
    for n, counts in enumerate(tables.resamples(2)[:20]):  # the best over the entities drawn
        assert (before[n], after[n]) == pytest.approx(expected[tuple(counts)])
    values = {"average precision": [0.3, 0.6, 0.9, 0.5], "drift": [1.0, 2.0, 3.0, 4.0]}
    assert ends(tables.some_entities(panel(values))) == pytest.approx([0.575, 0.45])  # calmer half
    names = ["machine-1-1", "machine-2-3", "machine-3-8", "machine-3-7"]  # InterFusion's: 1-1, 3-8
    assert ends(tables.some_entities(panel(values, names)))[1] == pytest.approx(0.6)


def test_the_highest_average_is_that_of_the_obvious_three_of_the_entities_drawn():
    names = ["machine-1-1", "machine-1-2", "machine-2-1", "machine-2-2", "machine-2-3"]
    seeds = np.random.default_rng(0).uniform(0.1, 1, (3, 2, 5))  # parts, seeds, entities
    parts = dict(zip(("f1", "precision", "recall"), seeds, strict=True))
    before, after, _ = tables.highest_average(panel(parts, names))
    for n, counts in enumerate(tables.resamples(5)[:50].astype(int)):
        averages = []
        for seed in (0, 1):
            drawn = pd.DataFrame({part: values[seed] for part, values in parts.items()})
            drawn = drawn.set_axis([name[:9] for name in names]).iloc[np.repeat(range(5), counts)]
            f1, precision, recall = drawn.mean()
            of_means = 2 * precision * recall / (precision + recall)
            averages.append([f1, drawn["f1"].groupby(level=0).mean().mean(), of_means])
        first, *others = np.mean(averages, axis=0)
        assert (before[n], after[n]) == pytest.approx((first, max(first, *others)))


class Fleet(Profile):
    """Two good entities, one without events, one too short for some."""

    @property
    def present(self):
        return ["pump", "well 1", "calm", "brief"]

    def load(self, entity):
        if entity in ("calm", "brief"):
            labels = np.zeros(300) if entity == "calm" else np.arange(8) // 6
            return series(len(labels), entity=entity, labels=labels, causes=None)
        return series(300 if entity == "pump" else 320, entity=entity)


def test_every_pitfall_is_made_with_every_detector(small_runs):
    profile = Fleet(detectors=SETTINGS)
    gains, tried, floors, failures = tables.measure(profile)
    made = gains.set_index(["number", "detector"])
    assert list(made.index) == [(n, name) for n in range(1, 21) for name in DETECTORS]
    machines = made["machines"].groupby("number").first()
    assert machines.pop(19) == 1  # one of the good ones chose the settings for the other
    assert set(machines) == {2}
    assert set(tried["mistake"]) == set(catalogue().query("axis != ''").index)
    assert list(floors)[:3] == ["constant", "row index", "LightMMoE"]
    assert floors.loc["ROC AUC", "constant"] == 0.5
    assert any("LightMMoE on brief: DataError" in text for text in failures)
    assert all(" on brief: " in text for text in failures)
    both = [profile.load(name) for name in ("pump", "well 1")]
    runs = [Scored(Run(each, "random", seed=seed)) for each in both for seed in range(5)]
    expected = np.mean([run.average_precision for run in runs])
    assert made.loc[(15, "random"), "before"] == pytest.approx(expected)


def made_up(by_title):
    """Tables of what lists before and after by pitfall and detector, a number per entity each."""
    lines = [
        (title, name, 0, f"pump-{n}", setting, value)
        for title, values in by_title.items()
        for name, pair in values.items()
        for setting, row in zip(catalogue().loc[title, ["before", "after"]], pair, strict=True)
        for n, value in enumerate(row)
    ]
    return tables.tables(pd.DataFrame(lines, columns=tables.NUMBERS))


@pytest.fixture(scope="module")
def made():
    adjusted = {
        "LightMMoE": ([0.5, 0.6, 0.7], [0.9, 0.8, 1.0]),  # means .6 and .9
        "PCA": ([0.6, 0.7, 0.8], [0.8, 0.8, 0.8]),  # means .7 and .8
        "random": ([0.1, 0.1, 0.1], [0.8, 0.6, 0.7]),  # means .1 and .7
    }
    zeros = {"LightMMoE": ([0.4] * 3, [0.4, 0.4, 0.401]), "PCA": ([0.5, 0.5, np.nan],) * 2}
    return made_up({"point adjustment": adjusted, "zeros as first scores": zeros})


def test_gains_and_places_by_hand(made):
    gains = made[0].set_index(["number", "detector"])
    light, pca, chance = (gains.loc[1, name] for name in ("LightMMoE", "PCA", "random"))
    assert (light["before"], light["after"]) == pytest.approx((0.6, 0.9))
    assert [line["gain"] for line in (light, pca, chance)] == pytest.approx([0.3, 0.1, 0.6])
    expected = bootstrap_mean([0.4, 0.2, 0.3])
    assert (light["low"], light["high"]) == pytest.approx(expected[1:], abs=0.01)
    # LightMMoE stands behind PCA on every entity before, and after it only where entity 2 (both .8)
    # makes up all three draws: one in 27, and no change.
    assert pca["order_changes"] == pytest.approx(26 / 27, abs=0.01)
    # An entity that one detector lacks counts for none.
    assert gains.loc[10, "machines"].tolist() == [2, 2]
    assert gains.loc[(10, "LightMMoE"), "gain"] == 0  # the third entity had a gain


def test_one_entity_has_no_interval_and_none_in_common_no_row():
    values = {"PCA": ([0.4, np.nan], [0.5, 0.6])}
    gains, _ = made_up({"zeros as first scores": values})
    assert gains["machines"].tolist() == [1] and gains["gain"].tolist() == pytest.approx([0.1])
    assert gains[["low", "high"]].isna().all(axis=None) and drawn(lambda: plots.gains(gains)).axes
    values["random"] = ([np.nan, 0.4], [0.5, 0.5])
    gains, tried = made_up({"zeros as first scores": values})
    assert gains.empty
    for plot in (
        lambda: plots.gains(gains),
        lambda: plots.sweeps(tried, catalogue()),
    ):
        assert plots.NO_PITFALL in [text.get_text() for ax in drawn(plot).axes for text in ax.texts]


def test_pictures(made):
    gains, tried = made
    [ax] = drawn(lambda: plots.gains(gains)).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["zeros as first scores  (10)", "point adjustment  (1)"]  # highest on top
    figure = drawn(lambda: plots.sweeps(tried, catalogue()))
    [ax] = [ax for ax in figure.axes if ax.axison]  # zeros have no size
    assert [list(line.get_xdata()) for line in ax.lines] == [[100, 0]] * 3
    assert list(ax.lines[2].get_ydata()) == pytest.approx([0.1, 0.7])
