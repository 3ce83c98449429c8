"""All pitfalls on a profile: what is compared, the bootstrap, the tables, the pictures."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from small import LIGHT, failing, series, waves

from lmmoe.metrics import best_f1
from lmmoe.report import measure as measuring
from lmmoe.report import pitfall_outcomes as outcomes
from lmmoe.report import pitfall_tables as tables
from lmmoe.report import pitfalls
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.experiment import Run
from lmmoe.report.pitfall_outcomes import Panel, catalogue
from lmmoe.report.pitfall_tables import DETECTORS, Measured, measure
from lmmoe.report.pitfalls import Scored
from lmmoe.report.plots import pitfalls as plots
from lmmoe.report.profile import Profile
from lmmoe.report.statistics import bootstrap_mean

SETTINGS = {"LightMMoE": LIGHT | {"epochs": 1}, "PCA": {"components": 2}}


def panel(values, *, groups=None, labels=None, scores=None, detector="PCA"):
    """``values`` lists a number per entity for each setting, or a row of them per seed."""
    values = {name: np.atleast_2d(np.array(row, dtype=float)) for name, row in values.items()}
    seeds, count = next(iter(values.values())).shape
    return Panel(
        detector,
        [f"pump-{n}" for n in range(count)],
        groups or ["all"] * count,
        values,
        labels or [None] * count,
        scores or [[None] * count] * seeds,
    )


def tried(found, counts=None):
    """The settings' statistics: over all entities that count, or as often as drawn."""
    drawn = found.known[None].astype(float) if counts is None else np.array([counts], dtype=float)
    return {name: float(mean(drawn)[0]) for name, mean in found.settings.items()}


def test_there_are_twenty_and_each_says_what_it_must():
    table = catalogue()
    assert table["number"].tolist() == list(range(21)) and table.index.is_unique
    for title, one in table.iterrows():
        assert callable(getattr(pitfalls, title.replace(" ", "_")))
        assert one["metric"] in COLUMNS and one["reported"] in {*COLUMNS, "f1"}
        assert one["wrong"].endswith(".") and one["question"].endswith("?") and one["source"]
        assert bool(one["before"] and one["after"]) != (title in outcomes.COMPARED)


# --- What is compared ---


def test_means_of_what_was_drawn():
    values, counts = np.array([1.0, 2.0, 6.0]), np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]])
    assert outcomes.mean_over(values, counts) == pytest.approx([3, 10 / 3, 1])
    some = outcomes.mean_over(values, counts, among=[False, True, True])
    assert some[:2] == pytest.approx([4, 10 / 3]) and np.isnan(some[2])  # none of them drawn
    assert outcomes.mean_over(np.array([1.0, np.nan]), np.array([[2, 0]])) == [1]


def test_an_entity_that_lacks_a_setting_counts_for_none():
    made = panel({"a": [1.0, 2.0, np.nan, 3], "b": [3.0, 3.0, 5.0, 9], "c": [0, 0, 0, np.nan]})
    found = outcomes.compared(made, "a", "b")
    assert found.known.tolist() == [True, True, False, False]
    everyone = found.known[None].astype(float)
    assert (found.before(everyone), found.after(everyone)) == ([1.5], [3])
    assert tried(found) == {"a": 1.5, "b": 3, "c": 0}
    seeds = panel({"a": [[1.0, 5.0], [3.0, np.nan]]})
    assert seeds.means()["a"].tolist() == [2, 5]  # averaged first


def test_resamples_draw_known_entities_only():
    known = np.array([True, False, True, True])
    counts = tables.resamples(known, draws=500)
    assert (counts.sum(axis=1) == 3).all() and (counts[:, 1] == 0).all()
    assert counts.mean(axis=0)[[0, 2, 3]] == pytest.approx([1, 1, 1], abs=0.15)
    values = np.random.default_rng(0).normal(size=18)
    means = outcomes.mean_over(values, tables.resamples(np.ones(18, dtype=bool)))
    found = bootstrap_mean(values)
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx([found.low, found.high], abs=0.02)


def test_settings_by_group_are_those_with_the_best_mean():
    fixed = "0.98 / 0.0001"
    values = {fixed: [0.5, 0.1, 0.1, np.nan], "other": [0.1, 0.4, 0.3, np.nan]}
    values["odd"] = [0.2, 0.2, 0.2, 0.9]
    found = outcomes.best_of_each_group(panel(values, groups=["a", "a", "b", "b"]))
    # Group a: fixed .3, other .25. Group b, of what is known: odd (.2 + .9) / 2.
    assert found.before(np.eye(4))[:3] == pytest.approx([0.5, 0.1, 0.1])
    assert found.after(np.eye(4))[:3] == pytest.approx([0.5, 0.1, 0.2])
    assert found.known.tolist() == [True, True, True, False]


def test_one_threshold_for_all_is_the_best_of_all_rows_drawn():
    labels = [np.array([0, 1, 0]), np.array([0, 1, 0])]
    scores = [np.array([0.1, 0.9, 0.2]), np.array([5.0, 7.0, 6.0])]
    values = {"quantile": [0.0, 0.2], "best": [1, 1]}
    found = outcomes.quantile_or_best(panel(values, labels=labels, scores=[scores]))
    assert found.after(np.ones((1, 2))) == [1]
    # From 7 on: one hit of two. From .9 on: both events, two false: 2/3 too, but the highest wins.
    assert tried(found)["best, one for all"] == pytest.approx((0 + 1) / 2)
    assert tried(found, [1, 0])["best, one for all"] == 1
    lacking = outcomes.quantile_or_best(panel(values, labels=labels, scores=[[scores[0], None]]))
    assert np.isnan(tried(lacking)["best, one for all"])


def test_the_best_epoch_of_each_entity():
    values = {"held-out rows": [0.8, 0.6], "1": [0.4, 0.9], "9": [0.7, 0.2], "10": [0.3, 0.5]}
    found = outcomes.best_epoch(panel(values))
    assert found.before(np.eye(2)) == pytest.approx([0.3, 0.5])  # all ten, not "9"
    assert found.after(np.eye(2)) == pytest.approx([0.7, 0.9])
    alone = outcomes.best_epoch(panel({"held-out rows": [0.5, 0.6]}))
    assert alone.after(np.eye(2)) == pytest.approx([0.5, 0.6])


def test_settings_are_chosen_on_the_first_of_each_group():
    values = {"a": [0.9, 0.1, 0.2, 0.3], "b": [0.1, 0.8, 0.2, 0.7], "c": [0.5, 0.4, 0.3, 0.2]}
    found = outcomes.best_of_each_series(panel(values, groups=["x", "x", "y", "y"]))
    assert found.known.tolist() == [False, True, False, True]  # those that did not choose
    judged = np.array([[0, 1, 0, 1]])
    assert (found.before(judged), found.after(judged)) == (pytest.approx([0.2]), [0.75])
    alone = outcomes.best_of_each_series(panel({"a": [0.4], "b": [0.6]}))
    assert alone.before(np.ones((1, 1))) == alone.after(np.ones((1, 1))) == [0.6]


def fleet():
    """Five entities of random scores with ties, higher in their events."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = np.zeros(120, dtype=np.int8)
        for start in rng.choice(np.arange(5, 105, 20), size=3, replace=False):
            labels[start : start + int(rng.integers(2, 12))] = 1
        yield labels, np.round(rng.normal(size=120) + 1.2 * labels, 1)


FLEET, GROUPS = list(fleet()), ["a", "a", "b", "b", "b"]


def five_averages(places):
    """Written out, of these entities."""
    chosen, groups = [FLEET[n] for n in places], [GROUPS[n] for n in places]
    best = [best_f1(labels=y, scores=s, adjust="point") for y, s in chosen]
    f1 = [one.f1 for one in best]
    of_groups = [[v for v, g in zip(f1, groups, strict=True) if g == name] for name in set(groups)]
    p, r = (np.mean([getattr(one, part) for one in best]) for part in ("precision", "recall"))
    hits = flagged = real = 0
    for (labels, scores), one in zip(chosen, best, strict=True):
        filled = scores.copy()
        for start, end in np.flatnonzero(np.diff(labels, prepend=0, append=0)).reshape(-1, 2):
            filled[start:end] = scores[start:end].max()
        hits += ((filled >= one.threshold) & (labels == 1)).sum()
        flagged, real = flagged + (filled >= one.threshold).sum(), real + labels.sum()
    # Normal rows between entities keep events apart.
    labels = np.concatenate([np.append(y, 0) for y, _ in chosen])
    scores = np.concatenate([np.append(s, -99.0) for _, s in chosen])
    line = best_f1(labels=labels, scores=scores, adjust="point").f1
    means = np.mean([np.mean(values) for values in of_groups])
    return [np.mean(f1), means, 2 * p * r / (p + r), 2 * hits / (flagged + real), line]


def test_the_five_averages_are_the_obvious_ones_of_the_entities_drawn():
    parts = []
    for labels, scores in FLEET:
        best = best_f1(labels=labels, scores=scores, adjust="point")
        hits = best.recall * labels.sum()
        parts.append(
            {"f1": best.f1, "precision": best.precision, "recall": best.recall, "hits": hits}
            | {"flagged": hits / best.precision, "anomalous": labels.sum()}
        )
    values = {name: [part[name] for part in parts] for name in parts[0]}
    labels, scores = (list(part) for part in zip(*FLEET, strict=True))
    found = outcomes.highest_average(panel(values, groups=GROUPS, labels=labels, scores=[scores]))
    for counts in ([1, 1, 1, 1, 1], [2, 0, 1, 1, 1], [0, 0, 5, 0, 0], [1, 3, 0, 0, 1]):
        expected = five_averages(np.repeat(np.arange(5), counts))
        assert list(tried(found, counts).values()) == pytest.approx(expected)
        assert found.after(np.array([counts])) == pytest.approx([max(expected)])
    # An entity whose run failed is in none of them.
    for row in values.values():
        row[2] = np.nan
    scores[2] = None
    found = outcomes.highest_average(panel(values, groups=GROUPS, labels=labels, scores=[scores]))
    assert found.known.tolist() == [True, True, False, True, True]
    assert list(tried(found).values()) == pytest.approx(five_averages([0, 1, 3, 4]))


def test_some_of_the_machines():
    values = {"average precision": [0.3, 0.6, 0.9, np.nan], "drift": [1.0, 2.0, 3.0, 0.0]}
    made = panel(values)
    found = outcomes.some_entities(made)
    assert found.known.tolist() == [True, True, True, False]
    assert found.after(found.known[None]) == pytest.approx([0.45])  # the calmer half
    made.entities[:] = ["machine-1-1", "machine-2-3", "machine-3-8", "machine-3-7"]
    found = outcomes.some_entities(made)
    assert found.after(found.known[None]) == pytest.approx([0.6])  # InterFusion's: 1-1 and 3-8
    assert tried(found)["TSB-AD's (3 of 20 at hand)"] == pytest.approx(0.75)


def test_the_best_seed_is_best_over_the_entities_drawn():
    found = outcomes.best_of_seeds(
        panel({"average precision": [[0.1, 0.9], [0.4, 0.5], [0.3, 0.3]]})
    )
    counts = np.array([[1, 1], [2, 0], [0, 2]])
    assert found.before(counts) == pytest.approx([2.5 / 6, 0.8 / 3, 1.7 / 3])
    assert found.after(counts) == pytest.approx([0.5, 0.4, 0.9])
    assert tried(found)["best seed of each entity"] == pytest.approx(0.65)


def test_all_rows_but_the_subjects_are_copied():
    values, one = {"same rules": [0.8], "other rules": [0.7]}, np.ones((1, 1))
    for detector, after in (("LightMMoE", 0.8), ("PCA", 0.7)):
        found = outcomes.others_copied(panel(values, detector=detector))
        assert (found.before(one), found.after(one)) == ([0.8], [after])


def test_the_settings_tell_what_one_entity_decides():
    values = {"all events": [0.2, 0.4, 0.9], "longest left out": [0.1, 0.3, 0.5]}
    found = outcomes.without_the_longest(panel(values))
    helps, harms = (f"without the entity that {how} most" for how in ("helps", "harms"))
    assert tried(found)[helps] == pytest.approx(0.3)
    assert tried(found)[harms] == pytest.approx(0.65)
    # Drawn .2, .2 and .9: without .9, or without both .2.
    assert tried(found, [2, 0, 1])[helps] == pytest.approx(0.2)
    assert tried(found, [2, 0, 1])[harms] == pytest.approx(0.9)
    assert np.isnan(tried(found, [0, 1, 0])[helps])


def test_groups_are_those_of_smd():
    smd = ["machine-1-1", "machine-1-10", "machine-3-2"]
    assert tables.group_of(smd) == ["machine-1", "machine-1", "machine-3"]
    assert tables.group_of(["web-1", "machine-1-1"]) == ["all", "all"]


# --- Measuring ---


def write(folder, name, *, labelled=True, rows=300):
    """One entity of own data: half of it to learn from, two events in the rest."""
    values = waves(2 * rows, 4, seed=len(name))
    label = np.zeros(2 * rows, dtype=int)
    for start, end in ((rows + 60, rows + 80), (rows + 160, rows + 165)):
        values[start:end, 0] += 1.5
        label[start:end] = labelled
    table = pd.DataFrame(values, columns=list("abcd")).assign(label=label)
    table[: rows + 240].to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four entities measured once: two good ones, one without events, one too short for some."""
    home = tmp_path_factory.mktemp("whole")
    for name in ("pump", "well 1"):
        write(home, name)
    write(home, "calm", labelled=False)
    table = pd.read_csv(home / "pump.csv")
    pd.concat([table[:5], table[355:365]]).to_csv(home / "brief.csv", index=False)
    profile = Profile(dataset=str(home), detectors=SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMOE_CACHE", str(home / "cache"))
        patch.setattr(measuring, "_give_back", lambda: None)
        runs = [
            Run(profile.load("pump"), "LightMMoE", "ours", seed, SETTINGS["LightMMoE"])
            for seed in range(5)
        ]
        yield measure(profile), [Scored(run).average_precision for run in runs]


def test_every_pitfall_is_made_with_every_detector(whole):
    found, expected = whole
    assert list(found.panels) == list(catalogue().index)
    for title, one in catalogue().iterrows():
        assert [made.detector for made in found.panels[title]] == list(DETECTORS), title
        for made in found.panels[title]:
            assert made.entities == ["brief", "pump", "well 1"]  # "calm" has no events
            seeds = 5 if made.detector in ("LightMMoE", "random") else 1
            seeds = 1 if one["first_seed_only"] else seeds
            assert {values.shape for values in made.values.values()} == {(seeds, 3)}
            # One of the good ones may have chosen the settings for the other.
            assert outcomes.outcome(made, one).known[1:].any(), f"{title}, {made.detector}"
    assert list(found.floors) == ["constant", "row index", *DETECTORS]
    light = found.panels["best seed"][0]
    assert light.values["average precision"][:, 1].tolist() == expected
    assert len(set(expected)) == 5
    assert found.floors.loc["roc_auc", "constant"] == 0.5


def test_an_entity_too_short_for_one_detector_is_told(whole):
    found, _ = whole
    assert any("LightMMoE on brief: DataError" in text for text in found.failures)
    assert all(" on brief: " in text for text in found.failures)
    light = found.panels["best seed"][0]
    assert np.isnan(light.values["average precision"][:, 0]).all() and light.scores[0][0] is None


def test_what_fails_costs_the_others_nothing(tmp_path, small_runs, monkeypatch):
    def refuses(one):
        raise ValueError("not today")

    (tmp_path / "own").mkdir()
    write(tmp_path / "own", "pump")
    profile = Profile(dataset=str(tmp_path / "own"), detectors=SETTINGS)
    monkeypatch.setattr(tables, "DETECTORS", ("MTSExample", "PCA"))
    monkeypatch.setattr(pitfalls, "zeros_as_first_scores", refuses)
    failing(monkeypatch, RuntimeError("no luck"))
    found = measure(profile)
    assert found.failures == [
        "MTSExample on pump: RuntimeError: no luck",
        "zeros as first scores, PCA on pump: ValueError: not today",
    ]
    assert found.panels["zeros as first scores"] == []
    assert [one.detector for one in found.panels["wider labels"]] == ["PCA"]


def test_seeds_are_five_the_profiles_first():
    for given, expected in (([0], range(5)), ([7], [7, 0, 1, 2, 3]), ([3, 4, 5, 6, 7, 8], None)):
        assert tables.seeds(Profile(seeds=given), "LightMMoE") == list(expected or given[:5])
    assert tables.seeds(Profile(seeds=[5, 6]), "PCA") == [5]


# --- Tables and pictures ---


def measured():
    """Best F1 without and with point adjustment; ROC AUC without and with zeros."""
    adjusted = {
        "LightMMoE": ([0.5, 0.6, 0.7], [0.9, 0.8, 1.0]),  # means .6 and .9
        "PCA": ([0.6, 0.7, 0.8], [0.8, 0.8, 0.8]),  # means .7 and .8
        "random": ([0.1, 0.1, 0.1], [0.8, 0.6, 0.7]),  # means .1 and .7
    }
    zeros = {
        "LightMMoE": ([0.4, 0.4, 0.4], [0.4, 0.4, 0.401]),
        "PCA": ([0.5, 0.5, np.nan], [0.5, 0.5, np.nan]),
        "random": ([0.4, 0.4, 0.1], [0.1, 0.1, 0.1]),
    }
    return {
        "point adjustment": [
            panel({"100": a, "0": b}, detector=name) for name, (a, b) in adjusted.items()
        ],
        "zeros as first scores": [
            panel({"left out": a, "zeros": b}, detector=name) for name, (a, b) in zeros.items()
        ],
    }


MADE, TRIED = tables.tables(Measured(measured()))


def row(mistake, detector):
    return MADE[(MADE["mistake"] == mistake) & (MADE["detector"] == detector)].iloc[0]


def test_gains_and_places_by_hand():
    assert list(MADE.columns) == tables.COLUMNS
    light, pca, chance = (row("point adjustment", name) for name in ("LightMMoE", "PCA", "random"))
    assert (light["before"], light["after"]) == pytest.approx((0.6, 0.9))
    assert [one["gain"] for one in (light, pca, chance)] == pytest.approx([0.3, 0.1, 0.6])
    assert [one["rank_before"] for one in (light, pca, chance)] == [2, 1, 3]
    assert [one["rank_after"] for one in (light, pca, chance)] == [1, 2, 3]
    expected = bootstrap_mean([0.4, 0.2, 0.3])
    assert (light["low"], light["high"]) == pytest.approx((expected.low, expected.high), abs=0.01)
    # LightMMoE stands behind PCA on every entity before, and after it only where entity 2 (both .8)
    # makes up all three draws: one in 27, and no change.
    assert pca["order_changes"] == pytest.approx(26 / 27, abs=0.01)


def test_an_entity_that_one_detector_lacks_counts_for_none():
    zeros = MADE[MADE["number"] == 10]
    assert zeros["machines"].tolist() == [2, 2, 2]
    assert row("zeros as first scores", "LightMMoE")["gain"] == 0  # the third entity had a gain
    assert zeros["rank_before"].tolist() == [2, 1, 2]  # equals share the better place
    left = TRIED[(TRIED["mistake"] == "zeros as first scores") & (TRIED["setting"] == "left out")]
    assert left["value"].tolist() == pytest.approx([0.4, 0.5, 0.4])
    assert left["machines"].tolist() == [2, 2, 2]


def test_one_entity_has_no_interval_and_none_in_common_no_row():
    one = panel({"left out": [0.4, np.nan], "zeros": [0.5, 0.6]})
    made, _ = tables.tables(Measured({"zeros as first scores": [one]}))
    assert made["machines"].tolist() == [1] and made["gain"].tolist() == pytest.approx([0.1])
    assert made[["low", "high"]].isna().all(axis=None)
    assert len(drawn(lambda: plots.ranking(made)).axes) == 2
    other = panel({"left out": [np.nan, 0.4], "zeros": [0.5, 0.5]}, detector="random")
    for table in tables.tables(Measured({"zeros as first scores": [one, other]})):
        assert table.empty


def test_turning_round():
    before = np.array([[0.1, 0.1, 0.2, 0.2, 0.1, 0.1], [0.2, 0.2, 0.1, 0.2, 0.2, 0.2]])
    after = np.array([[0.3, 0.4, 0.3, 0.3, 0.3, 0.3 + 1e-12], [0.4, 0.3, 0.4, 0.4, 0.3, 0.3]])
    assert tables.turned(before, after).tolist() == [False, True, True, False, False, False]


def test_tables_to_read():
    shown = tables.readable(MADE)
    assert list(shown.columns) == ["metric", "LightMMoE", "PCA", "random", "reorders"]
    assert list(shown.index) == [(1, "point adjustment"), (10, "zeros as first scores")]
    first = ["best F1 → Point F1 (PA)", "0.600 → 0.900", "0.700 → 0.800", "0.100 → 0.700", "96%"]
    assert shown.iloc[0].tolist() == first
    found = Measured(floors=pd.DataFrame({"PCA": {"composite_f1": 0.1, "roc_auc": 0.8}}))
    assert tables.floors(found)["PCA"].to_dict() == {"ROC AUC": 0.8, "composite F1": 0.1}


def test_pictures_show_the_tables():
    figure = drawn(lambda: plots.ranking(MADE))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["zeros as first scores  (10)", "point adjustment  (1)"]  # highest on top
    figure = drawn(lambda: plots.sweeps(TRIED, catalogue()))
    [ax] = [ax for ax in figure.axes if ax.axison]  # zeros have no size
    assert [list(line.get_xdata()) for line in ax.lines] == [[0, 100]] * 3
    assert list(ax.lines[2].get_ydata()) == pytest.approx([0.7, 0.1])
    scores = np.zeros(300)
    scores[105], scores[250] = 2, 1  # one row of the long event, and one false row
    figure = drawn(lambda: plots.adjustment(series(), scores))
    kinds = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert kinds == ["as flagged: F1 0.08", "after adjustment: F1 0.89"]  # 1 and 20 of 25 rows


def test_without_events_there_is_a_note():
    made, some = tables.tables(Measured())
    assert made.empty and some.empty and tables.readable(made).empty
    calm = series(labels=np.zeros(300, dtype=int), causes=None)
    for plot in (
        lambda: plots.ranking(made),
        lambda: plots.sweeps(some, catalogue()),
        lambda: plots.adjustment(calm, np.zeros(300)),
    ):
        assert plots.NONE in [text.get_text() for ax in drawn(plot).axes for text in ax.texts]
