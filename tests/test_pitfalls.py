"""The twenty pitfalls, by hand and against naive versions; their tables and pictures."""

from types import SimpleNamespace

import naive
import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from small import LIGHT, failing, series

import lmmoe
from lmmoe.detectors.amad import SWITCHES
from lmmoe.metrics import average_precision, best_f1
from lmmoe.report import as_published, pitfalls
from lmmoe.report import pitfall_tables as tables
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.experiment import PROTOCOLS, Run
from lmmoe.report.names import title
from lmmoe.report.pitfall_tables import DETECTORS, Panel, catalogue
from lmmoe.report.pitfalls import Scored
from lmmoe.report.plots import pitfalls as plots
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import bootstrap_mean
from lmmoe.segments import runs

SETTINGS = {"LightMMoE": LIGHT | {"epochs": 1}, "PCA": {"components": 2}}


def one(labels, scores, detector=None, **others):
    """What `Scored` offers, with these labels and scores."""
    labels, scores = np.asarray(labels, dtype=np.int8), np.asarray(scores, dtype=float)

    def precision_of(values):
        return average_precision(labels=labels, scores=values)

    made = {"labels": labels, "scores": scores, "precision_of": precision_of} | others
    made["series"] = SimpleNamespace(labels=labels, events=runs(labels), train=None)
    made["result"] = SimpleNamespace(detector=detector)
    return SimpleNamespace(average_precision=precision_of(scores), **made)


# --- Numbers of one series ---


@settings(deadline=None)
@given(naive.cases())
def test_the_ends_of_point_adjustment_and_composite_f1_are_the_naive_ones(case):
    bits, scores = case
    found = pitfalls.point_adjustment(one(bits, scores))
    assert found["0"] == pytest.approx(float(naive.best_f1(bits, scores, "point")[0]))
    assert found["100"] == pytest.approx(float(naive.best_f1(bits, scores)[0]))
    best = 0.0
    for cut in scores:
        flags = [score >= cut for score in scores]
        hits = sum(f and y for f, y in zip(flags, bits, strict=True))
        events = [any(flags[a:b]) for a, b in runs(bits)]
        precision, recall = hits / sum(flags), sum(events) / len(events)
        best = max(best, 2 * precision * recall / (precision + recall) if hits else 0)
    found = pitfalls.composite_f1(np.array(bits), np.array(scores, dtype=float))
    assert found == pytest.approx(best)


def test_overlapping_windows_count_rows_again():
    # Rows 0, 1, 1, 2, 2, 3: the event at the end counts once, the false row before it twice.
    found = pitfalls.overlapping_windows(one([0, 0, 0, 1], [0.1, 0.2, 0.9, 0.8]), window=2)
    assert found == pytest.approx({"once": 2 / 3, "in every window": 2 / 4})
    short = pitfalls.overlapping_windows(one([0, 0, 0, 1], [0.1, 0.2, 0.9, 0.8]))
    assert short["once"] == short["in every window"]  # shorter than the window


@settings(deadline=None)
@given(naive.cases())
def test_zeros_lift_roc_auc_by_their_share_of_the_normal_rows(case):
    bits, scores = case
    scores = [9] * 16 + [score + 2 for score in scores]  # all above 0
    found = pitfalls.zeros_as_first_scores(one([0] * 16 + bits, scores))
    normal = bits.count(0)
    assert found["zeros"] == pytest.approx((normal * found["left out"] + 16) / (normal + 16))


def test_labels_that_are_wider_or_shifted():
    # The alarm comes two rows after the event: false at margins 0 and 1, the event's from 2 on.
    found = pitfalls.wider_labels(one([0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 5, 0, 0, 0, 0]))
    assert list(found.values()) == pytest.approx([2 / 3, 4 / 5, 1, 1, 1, 1])
    bits = np.zeros(60, dtype=int)
    bits[[20, 21, 22, 40, 41]] = 1
    found = pitfalls.labels_off_by_one(one(bits, bits + np.linspace(0, 0.1, 60)))
    assert max(found, key=found.get) == "0" and found["0"] == 1
    assert found["-1"] == pytest.approx(2 * 3 / 10)
    # Nothing comes in at the other end: the event is gone three rows later.
    with pytest.raises(ValueError, match="normal"):
        pitfalls.labels_off_by_one(one([0, 1, 1, 0], [1, 2, 3, 4]))


LABELS, SCORES = [0, 0, 1, 1, 0, 0], [1.0, 2.0, 3.0, 9.0, 4.0, 0.0]


def test_thresholds_by_hand():
    calibration = np.arange(101) / 50  # the 0.99 quantile is 1.98: rows 1 to 4 are flagged
    found = pitfalls.threshold_chosen_on_test(one(LABELS, SCORES, calibration=calibration))
    assert found == pytest.approx({"quantile": 2 * 2 / (4 + 2), "best": 0.8})  # 3, 4 and 9 flagged
    trained = SimpleNamespace(decision_scores_=np.linspace(-2, -1, 94))
    made = one(LABELS, SCORES, calibration=np.zeros(10), detector=trained)
    found = pitfalls.known_share_of_anomalies(made)
    assert found["known"] == found["2"] == pytest.approx(2 * 1 / (2 + 2))  # 9 and 4: one hit
    assert found["1"] == pytest.approx(2 * 1 / (1 + 2))
    assert found["quantile"] == pytest.approx(2 * 2 / (5 + 2))
    labels, scores = np.zeros(12, dtype=int), np.zeros(12)
    labels[1:4], scores[:5] = 1, [4, 1, 3, 1, 2.5]
    made = one(labels, scores, calibration=calibration)
    assert list(pitfalls.three_at_once(made).values()) == pytest.approx(
        [
            2 * 1 / (3 + 3),  # rows 0, 2 and 4 are flagged: one hit
            2 * 3 / (5 + 3),  # the whole event
            2 * 3 / (4 + 3),  # from 3 on row 4 is no alarm
            2 * 8 / (9 + 8),  # the event is rows 1 to 8, with row 0 before it
        ]
    )
    assert made.scores.tolist() == scores.tolist()


@settings(deadline=None)
@given(
    st.lists(st.integers(-100, 100), min_size=1, max_size=15), st.integers(0, 6), st.integers(0, 6)
)
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
    made = one([0, 0, 1, 0, 0], channels.max(axis=1), channels=channels, calibration=held_out[:, 0])
    made.result.detector = learned
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
    assert set(found) == {f"{k} / {r}" for k in ("own", "max", "top 4") for r in (1, 5, 20, 60)}
    assert found["own / 1"] == found["top 4 / 1"] == 0.5  # there are but two channels
    assert found["max / 1"] == 1 and found["max / 5"] == pytest.approx(1 / 5)


def test_scaling_by_test_rows_undoes_a_drift(small_runs):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 4))
    noise[100:120, 0] += 2
    made = series(train=rng.normal(size=(300, 4)), test=noise)
    moved = series(train=made.train, test=noise * [3.0, 0.5, 1.0, 2.0] + [1.0, -7.0, 0.0, 9.0])
    found, drifted = (
        pitfalls.data_scaled_by_test_rows(Scored(Run(each, "MTSExample"))) for each in (made, moved)
    )
    z = (made.test - made.test.mean(axis=0)) / made.test.std(axis=0)
    by_hand = average_precision(labels=made.labels, scores=(z**2).sum(axis=1))
    assert found["test rows"] == pytest.approx(by_hand) == pytest.approx(drifted["test rows"])
    assert drifted["training rows"] != pytest.approx(found["training rows"])
    chance = pitfalls.data_scaled_by_test_rows(Scored(Run(made, "random", seed=3)))
    assert chance["training rows"] == chance["test rows"]  # the same draw
    calm = series(train=[[0.0, 1.0], [2.0, 1.0]] * 150, test=[[3.0, 1.5]] * 300, causes=None)
    # Channel 0: mean 1, deviation 1, moved by 2. Channel 1 does not vary: by its own unit, 0.5.
    found = pitfalls.some_of_the_machines(Scored(Run(calm, "random")))
    assert found["drift"] == pytest.approx((2 + 0.5) / 2)


def test_runs_that_pitfalls_add(small_runs):
    made, epochs = series(), LIGHT | {"epochs": 4}
    light = Scored(Run(made, "LightMMoE", settings=epochs))
    found = pitfalls.epoch_chosen_on_test(light)
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
    for name, own in (("LightMMoE", LIGHT), ("MTSExample", {})):
        ours, study = (Scored(Run(made, name, rules, settings=own)) for rules in PROTOCOLS)
        same = best_f1(labels=wide, scores=study.scores, adjust="point").f1
        other = best_f1(labels=made.labels, scores=ours.scores, adjust="point").f1
        found = pitfalls.copied_baselines(ours)
        copied = same if name == "LightMMoE" else other
        assert found == {"same rules": same, "other rules": other, "copied": copied}


def test_counts_long_events_and_growing_scores_by_hand():
    # Flagged from .8 on: the event (2 rows, adjusted) and one false row.
    found = pitfalls.kindest_average(one([0, 1, 1, 0, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.1, 0.85]))
    assert found == pytest.approx(
        {"f1": 6 / 7, "precision": 3 / 4, "recall": 1, "hits": 3, "flagged": 4, "anomalous": 3}
    )
    # 43 normal rows. The long event is above all of them, the short one above all but row 0.
    labels = np.pad([0, 1, 1, 0, 1, 0], 20)
    scores = np.pad([0.5, 0.9, 0.8, 0.1, 0.4, 0.2], 20, constant_values=-1.0)
    found = pitfalls.a_few_long_events(one(labels, scores))
    both = {"all events": (43 + 43 + 42) / (3 * 43), "longest left out": 42 / 43}
    assert found == pytest.approx(both)
    assert list(pitfalls.a_few_long_events(one([0, 1, 1], [0.0, 1, 2]))) == ["all events"]
    # Four rows, ranks 1, 1/2, 1/4, 3/4; the event is last. Place: 1/4 to 1.
    found = pitfalls.events_late_in_the_series(one([0, 0, 0, 1], [0.9, 0.3, 0.1, 0.5]))
    assert found["0"] == found["0.1"] == 0.5
    assert found["1"] == found["place alone"] == 1


# --- What is compared ---


def panel(values, *, names=None, rows=None):
    """``values`` lists a number per entity for each setting, or a row of them per seed."""
    lines = {
        (name, seed): row
        for name, given in values.items()
        for seed, row in enumerate(np.atleast_2d(np.array(given, dtype=float)))
    }
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis(columns="entity")
    table.index = pd.MultiIndex.from_tuples(lines, names=["setting", "seed"])
    return Panel(table.set_axis(names or [f"pump-{n}" for n in table], axis=1), rows)


def ends(outcome, counts):
    return [end(np.array(counts)).tolist() for end in outcome[:2]]


def test_there_are_twenty_and_each_says_what_it_must():
    table = catalogue()
    assert table["number"].tolist() == list(range(21)) and table.index.is_unique
    for name, line in table.iterrows():
        assert callable(getattr(pitfalls, name.replace(" ", "_")))
        assert line["metric"] in COLUMNS and line["reported"] in {*COLUMNS, "f1"}
        assert line["wrong"].endswith(".") and line["question"].endswith("?") and line["source"]
        assert bool(line["before"] and line["after"]) != (name in tables.COMPARED)


def test_resamples_and_means_of_what_was_drawn():
    values, counts = np.array([1.0, 2.0, 6.0]), np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]])
    assert tables.mean_of(values)(counts) == pytest.approx([3, 10 / 3, 1])
    with np.errstate(invalid="ignore"):
        some = tables.mean_of(values, [False, True, True])(counts)
    assert some[:2] == pytest.approx([4, 10 / 3]) and np.isnan(some[2])  # none of them drawn
    assert (tables.resamples(3).sum(axis=1) == 3).all()


def test_settings_chosen_by_group_by_series_and_by_seed():
    names = ["machine-1-1", "machine-1-2", "machine-2-1", "machine-2-10"]
    fixed, entities = "0.98 / 0.0001", np.eye(4)
    values = {fixed: [0.5, 0.1, 0.1, 0.2], "other": [0.1, 0.4, 0.3, 0.1], "odd": [0.2] * 4}
    # Group 1: fixed .3, other .25. Group 2: fixed .15, other .2, odd .2, the first of equals.
    found = ends(tables.best_of_each_group(panel(values, names=names)), entities)
    assert found == [values[fixed], [0.5, 0.1, 0.3, 0.1]]
    # Entities of other data are one group: fixed .225, other .225, odd .2.
    assert ends(tables.best_of_each_group(panel(values)), entities)[1] == values[fixed]
    values = {"a": [0.9, 0.1, 0.2, 0.3], "b": [0.1, 0.8, 0.2, 0.7], "c": [0.5, 0.4, 0.3, 0.2]}
    found = tables.best_of_each_series(panel(values, names=names))
    # Those that did not choose are judged: the best of "a", which is best on the others, and each.
    assert found[2] == 2 and ends(found, [[1, 1]]) == [[0.2], [0.75]]
    alone = tables.best_of_each_series(panel({"a": [0.4], "b": [0.6]}))
    assert ends(alone, [[1]]) == [[0.6], [0.6]]
    seeds = panel({"average precision": [[0.1, 0.9], [0.4, 0.5], [0.3, 0.3]]})
    before, after = ends(tables.best_of_seeds(seeds), [[1, 1], [2, 0], [0, 2]])
    assert before == pytest.approx([2.5 / 6, 0.8 / 3, 1.7 / 3])
    assert after == pytest.approx([0.5, 0.4, 0.9])  # the best over the entities drawn
    values = {"average precision": [0.3, 0.6, 0.9, 0.5], "drift": [1.0, 2.0, 3.0, 4.0]}
    found = ends(tables.some_entities(panel(values)), [[1] * 4])
    assert found == [pytest.approx([0.575]), pytest.approx([0.45])]  # the calmer half
    names = ["machine-1-1", "machine-2-3", "machine-3-8", "machine-3-7"]
    found = ends(tables.some_entities(panel(values, names=names)), [[1] * 4])
    assert found[1] == pytest.approx([0.6])  # InterFusion's: 1-1 and 3-8


def test_the_highest_average_is_that_of_the_obvious_five_of_the_entities_drawn():
    rows = []
    for seed in range(5):  # random scores with ties, higher in their events
        rng = np.random.default_rng(seed)
        labels = np.zeros(120, dtype=np.int8)
        for start in rng.choice(np.arange(5, 105, 20), size=3, replace=False):
            labels[start : start + int(rng.integers(2, 12))] = 1
        rows.append((labels, np.round(rng.normal(size=120) + 1.2 * labels, 1)))
    parts = [pitfalls.kindest_average(one(*pair)) for pair in rows]
    values = {name: [part[name] for part in parts] for name in parts[0]}
    names = ["machine-1-1", "machine-1-2", "machine-2-1", "machine-2-2", "machine-2-3"]
    found = tables.highest_average(panel(values, names=names, rows=[rows]))
    for counts in ([1, 1, 1, 1, 1], [2, 0, 1, 1, 1], [0, 0, 5, 0, 0], [1, 3, 0, 0, 1]):
        drawn = pd.DataFrame(parts).assign(group=[name[:9] for name in names])
        drawn = drawn.loc[np.repeat(np.arange(5), counts)]
        mean, total = drawn.mean(numeric_only=True), drawn.sum(numeric_only=True)
        # Normal rows between entities keep events apart.
        labels = np.concatenate([np.append(rows[n][0], 0) for n in drawn.index])
        scores = np.concatenate([np.append(rows[n][1], -99.0) for n in drawn.index])
        expected = [
            mean["f1"],
            drawn.groupby("group")["f1"].mean().mean(),
            2 / (1 / mean["precision"] + 1 / mean["recall"]),
            2 * total["hits"] / (total["flagged"] + total["anomalous"]),
            best_f1(labels=labels, scores=scores, adjust="point").f1,
        ]
        with np.errstate(invalid="ignore"):
            before, after = ends(found, [counts])
        assert (before, after) == (pytest.approx([mean["f1"]]), pytest.approx([max(expected)]))


# --- A whole profile ---


class Fleet(Profile):
    """Two good entities, one without events, one too short for some."""

    @property
    def present(self):
        return ["pump", "well 1", "calm", "brief"]

    def load(self, entity):
        if entity == "calm":
            return series(entity=entity, labels=np.zeros(300, dtype=int), causes=None)
        if entity == "brief":
            return series(8, entity=entity, labels=np.arange(8) // 6, causes=None)
        return series(300 if entity == "pump" else 320, entity=entity)


def test_every_pitfall_is_made_with_every_detector(small_runs):
    profile = Fleet(detectors=SETTINGS)
    found = tables.measure(profile)
    made = found.gains.set_index(["number", "detector"])
    assert list(made.index) == [(n, name) for n in range(1, 21) for name in DETECTORS]
    machines = made["machines"].groupby("number").first()
    assert machines.pop(19) == 1  # one of the good ones chose the settings for the other
    assert set(machines) == {2}
    axes = catalogue().query("axis != ''").index
    assert list(found.settings["mistake"].unique()) == list(axes)
    assert list(found.floors) == ["constant", "row index", *map(title, DETECTORS)]
    assert found.floors.loc["ROC AUC", "constant"] == 0.5
    assert any("LightMMoE on brief: DataError" in text for text in found.failures)
    assert all(" on brief: " in text for text in found.failures)
    runs = [
        Scored(Run(profile.load(name), "LightMMoE", "ours", seed, SETTINGS["LightMMoE"]))
        for name in ("pump", "well 1")
        for seed in range(5)
    ]
    expected = np.mean([run.average_precision for run in runs])
    assert made.loc[(15, "LightMMoE"), "before"] == pytest.approx(expected)


def test_what_fails_costs_the_others_nothing(small_runs, monkeypatch):
    def refuses(one):
        raise ValueError("not today")

    monkeypatch.setattr(tables, "DETECTORS", ("MTSExample", "PCA"))
    monkeypatch.setattr(pitfalls, "zeros_as_first_scores", refuses)
    failing(monkeypatch, RuntimeError("no luck"))
    found = tables.measure(Fleet(detectors=SETTINGS), ["pump"])
    assert found.failures == [
        "MTSExample on pump: RuntimeError: no luck",
        "zeros as first scores, PCA on pump: ValueError: not today",
    ]
    assert "zeros as first scores" not in set(found.gains["mistake"])
    assert set(found.gains["detector"]) == {"PCA"}
    for own, expected in (([7], [7, 0, 1, 2, 3]), ([3, 4, 5, 6, 7, 8], [3, 4, 5, 6, 7])):
        assert tables.seeds(Profile(seeds=own), "LightMMoE") == expected
    assert tables.seeds(Profile(seeds=[5, 6]), "PCA") == [5]


# --- Tables and pictures ---


def made_up(by_title):
    """Tables of what lists before and after by pitfall and detector, a number per entity each."""
    lines = [
        (title, name, 0, f"pump-{n}", setting, value)
        for title, values in by_title.items()
        for name, pair in values.items()
        for setting, row in zip(catalogue().loc[title, ["before", "after"]], pair, strict=True)
        for n, value in enumerate(row)
    ]
    names = ["mistake", "detector", "seed", "entity", "setting", "value"]
    rows = {line[1:4]: (None, None) for line in lines}
    return tables.tables(pd.DataFrame(lines, columns=names), rows)


ADJUSTED = {
    "LightMMoE": ([0.5, 0.6, 0.7], [0.9, 0.8, 1.0]),  # means .6 and .9
    "PCA": ([0.6, 0.7, 0.8], [0.8, 0.8, 0.8]),  # means .7 and .8
    "random": ([0.1, 0.1, 0.1], [0.8, 0.6, 0.7]),  # means .1 and .7
}
ZEROS = {
    "LightMMoE": ([0.4, 0.4, 0.4], [0.4, 0.4, 0.401]),
    "PCA": ([0.5, 0.5, np.nan], [0.5, 0.5, np.nan]),
    "random": ([0.4, 0.4, 0.1], [0.1, 0.1, 0.1]),
}


@pytest.fixture(scope="module")
def made():
    return made_up({"point adjustment": ADJUSTED, "zeros as first scores": ZEROS})


def test_gains_and_places_by_hand(made):
    assert made[0]["before"].dtype.kind == made[0]["low"].dtype.kind == "f"  # can be rounded
    gains = made[0].set_index(["number", "detector"])
    light, pca, chance = (gains.loc[1, name] for name in ADJUSTED)
    assert (light["before"], light["after"]) == pytest.approx((0.6, 0.9))
    assert [line["gain"] for line in (light, pca, chance)] == pytest.approx([0.3, 0.1, 0.6])
    expected = bootstrap_mean([0.4, 0.2, 0.3])
    assert (light["low"], light["high"]) == pytest.approx((expected.low, expected.high), abs=0.01)
    # LightMMoE stands behind PCA on every entity before, and after it only where entity 2 (both .8)
    # makes up all three draws: one in 27, and no change.
    assert pca["order_changes"] == pytest.approx(26 / 27, abs=0.01)
    # An entity that one detector lacks counts for none.
    assert gains.loc[10, "machines"].tolist() == [2, 2, 2]
    assert gains.loc[(10, "LightMMoE"), "gain"] == 0  # the third entity had a gain
    before = np.array([[0.1, 0.1, 0.2, 0.2, 0.1, 0.1], [0.2, 0.2, 0.1, 0.2, 0.2, 0.2]])
    after = np.array([[0.3, 0.4, 0.3, 0.3, 0.3, 0.3 + 1e-12], [0.4, 0.3, 0.4, 0.4, 0.3, 0.3]])
    assert tables.turned(before, after).tolist() == [False, True, True, False, False, False]


def test_one_entity_has_no_interval_and_none_in_common_no_row():
    values = {"PCA": ([0.4, np.nan], [0.5, 0.6])}
    gains, _ = made_up({"zeros as first scores": values})
    assert gains["machines"].tolist() == [1] and gains["gain"].tolist() == pytest.approx([0.1])
    assert gains[["low", "high"]].isna().all(axis=None)
    assert len(drawn(lambda: plots.ranking(gains)).axes) == 2
    values["random"] = ([np.nan, 0.4], [0.5, 0.5])
    assert made_up({"zeros as first scores": values})[0].empty


def test_tables_to_read_and_pictures(made):
    gains, tried = made
    shown = tables.readable(gains)
    assert list(shown.index) == [(1, "point adjustment"), (10, "zeros as first scores")]
    assert shown.loc[1].iloc[0].to_dict() == {
        **{"metric": "best F1 → Point F1 (PA)", "reorders": "96%", "LightMMoE": "0.600 → 0.900"},
        **{"PCA": "0.700 → 0.800", "random": "0.100 → 0.700"},
    }
    figure = drawn(lambda: plots.ranking(gains))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["zeros as first scores  (10)", "point adjustment  (1)"]  # highest on top
    figure = drawn(lambda: plots.sweeps(tried, catalogue()))
    [ax] = [ax for ax in figure.axes if ax.axison]  # zeros have no size
    assert [list(line.get_xdata()) for line in ax.lines] == [[0, 100]] * 3
    assert list(ax.lines[2].get_ydata()) == pytest.approx([0.7, 0.1])
    scores = np.zeros(300)
    scores[105], scores[250] = 2, 1  # one row of the long event, and one false row
    figure = drawn(lambda: plots.adjustment(series(), scores))
    kinds = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert kinds == ["as flagged: F1 0.08", "after adjustment: F1 0.89"]  # 1 and 20 of 25 rows


def test_without_events_there_is_a_note():
    gains, tried = made_up({})
    assert gains.empty and tried.empty and tables.readable(gains).empty
    calm = series(labels=np.zeros(300, dtype=int), causes=None)
    pictures = [lambda: plots.ranking(gains), lambda: plots.sweeps(tried, catalogue())]
    for plot in (*pictures, lambda: plots.adjustment(calm, np.zeros(300))):
        assert plots.NONE in [text.get_text() for ax in drawn(plot).axes for text in ax.texts]


# --- Two programs as published ---


def test_what_amads_switches_give(small_runs, monkeypatch):
    alone = [given for given in as_published.VARIANTS.values() if len(given) == 1]
    assert alone == [{name: False} for name in SWITCHES]
    detectors = {"AMAD": {"window": 16, "epochs": 1}, "random": {}}
    profile = Fleet(detectors=detectors, protocols=["study"])
    found = as_published.amad(profile, ["pump", "calm"])
    assert list(found.index) == [*as_published.VARIANTS, "random"]
    pump = profile.load("pump")
    published = Scored(Run(pump, "AMAD", "study", 0, profile.detectors["AMAD"]))
    right = published.result.detector.rescored(pump.test, wrong_sign=False)
    mended = average_precision(labels=pump.labels, scores=right)
    row = found.loc["forest's sign right"]
    assert row["average_precision"] == pytest.approx(mended)
    assert row["average_precision_gain"] == pytest.approx(mended - published.average_precision)
    assert row["machines"] == 1 and np.isnan(row["average_precision_low"])  # no interval of one
    monkeypatch.setattr(as_published, "Scored", None)  # a second time nothing is scored
    assert as_published.amad(profile, ["pump"]).equals(found)
    assert as_published.amad(profile, ["calm"]).empty
    assert as_published.amad(Fleet(detectors={"PCA": {}}, protocols=["study"])).empty


def test_quovadis_by_hand():
    # Flagged: two of the three anomalous rows and two normal ones. F1 = 2 * 2 / (4 + 3). The curve:
    # precision 1 at recall 0, 1/2 at 2/3, 3/10 at 1.
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    f1, area = as_published.judged(labels, np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0]))
    assert f1 == pytest.approx(4 / 7)
    assert area == pytest.approx((1 + 1 / 2) / 2 * 2 / 3 + (1 / 2 + 3 / 10) / 2 / 3)
    # Normalising by the judged rows hides a noisy channel.
    errors = np.abs(np.random.default_rng(0).normal(size=(400, 2))) * [100, 1]
    labels = np.zeros(400, dtype=int)
    labels[200:220], errors[200:220, 1] = 1, errors[200:220, 1] + 20
    plain = as_published.judged(labels, errors.max(axis=1))
    assert as_published.best_normalisation(labels, errors)[0] > 0.8 > 0.3 > plain[0]
    # The mean looks three rows ahead and five back.
    errors, labels = np.zeros((40, 1)), np.zeros(40, dtype=int)
    errors[20], labels[17:26] = 9.0, 1
    assert as_published.best_normalisation(labels, errors) == pytest.approx((1, 1))
    # Entities without both labels are left out.
    some, none = series(), series(labels=np.zeros(300, dtype=int), causes=None)
    found = as_published.quovadis([none, some])
    errors = lmmoe.detector("PCA").fit(some.train).channel_scores(some.test)
    best = as_published.best_normalisation(some.labels, errors)
    assert found.loc["PCA"].tolist() == list(best)
    learned = some.train[:270]  # a tenth is held out
    outside = (some.test < learned.min(axis=0)) | (some.test > learned.max(axis=0))
    flagged = as_published.judged(some.labels, outside.any(axis=1).astype(float))
    assert found.loc["range deviation"].tolist() == list(flagged)
    assert as_published.quovadis([none]).empty
