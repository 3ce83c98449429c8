"""All mistakes together: the list, what is run, what happens where something fails."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import LIGHT, failing, waves

from lmmoe.detectors.amad import SWITCHES
from lmmoe.report import measure as costs
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.params import Profile
from lmmoe.report.pitfalls import DETECTORS, EXPERIMENTS, GROUPS, MISTAKES, amad, measure, measuring
from lmmoe.report.pitfalls.scored import Scored
from lmmoe.report.runs import Run

ENTITIES = ["brief", "pump", "well 1"]  # those with events
SETTINGS = {"LightMMoE": LIGHT | {"epochs": 1}, "PCA": {"components": 2}}


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
        patch.setattr(costs, "_give_back", lambda: None)
        yield profile, measure(profile)


@pytest.fixture
def profile(tmp_path, small_runs):
    """One entity."""
    folder = tmp_path / "own"
    folder.mkdir()
    write(folder, "pump")
    return Profile(dataset=str(folder), detectors=SETTINGS)


@pytest.fixture
def quick(monkeypatch):
    """Only what needs no training."""
    monkeypatch.setattr(measuring, "DETECTORS", ("MTSExample", "PCA", "random"))


def test_there_are_twenty_and_each_says_what_it_must():
    assert [one.number for one in MISTAKES] == list(range(1, 21))
    assert len({one.title for one in MISTAKES}) == 20
    assert {one.group for one in MISTAKES} == set(GROUPS)
    for one in MISTAKES:
        assert one.metric in COLUMNS and one.reported in {*COLUMNS, "f1"}
        assert one.wrong.endswith(".") and one.ask.endswith("?") and one.source


def test_every_mistake_is_made_with_every_detector(whole):
    _, found = whole
    assert list(found.panels) == [*(one.title for one in MISTAKES), "three at once"]
    for one in EXPERIMENTS:
        panels = found.panels[one.title]
        assert [panel.detector for panel in panels] == list(DETECTORS), one.title
        for panel in panels:
            assert panel.entities == ENTITIES
            seeds = 5 if panel.detector in ("LightMMoE", "random") else 1
            many = {values.shape for values in panel.values.values()}
            assert many == {(1 if one.first_seed_only else seeds, 3)}
            assert len(panel.scores) == (1 if one.first_seed_only else seeds)
            known = one.combine(panel).known
            # One of the good ones may have chosen the settings for the other.
            assert known[1:].any(), f"{one.title}, {panel.detector}"
    assert list(found.floors) == ["constant", "row index", *DETECTORS]


def test_an_entity_without_events_is_left_out(whole):
    profile, found = whole
    assert profile.present == ["brief", "calm", "pump", "well 1"]
    assert list(found.facts.index) == ENTITIES


def test_an_entity_too_short_for_one_detector_is_told(whole):
    _, found = whole
    assert any("LightMMoE on brief: DataError" in text for text in found.failures)
    assert all(" on brief: " in text for text in found.failures)
    light = next(p for p in found.panels["best seed"] if p.detector == "LightMMoE")
    assert np.isnan(light.values["average precision"][:, 0]).all()
    assert light.scores[0][0] is None


def test_numbers_are_those_of_the_runs(whole):
    profile, found = whole
    panel = found.panels["best seed"][0]
    given = SETTINGS["LightMMoE"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMOE_CACHE", profile.dataset + "/cache")
        runs = [Run(profile.load("pump"), "LightMMoE", "ours", seed, given) for seed in range(5)]
        own = [(one.average_precision, one.scores) for one in map(Scored, runs)]
    expected = [value for value, _ in own]
    assert panel.values["average precision"][:, 1].tolist() == expected
    assert len(np.unique(expected)) == 5
    assert all((a[1] == b).all() for a, (_, b) in zip(panel.scores, own, strict=True))


def test_a_detector_that_fails_costs_the_others_nothing(profile, quick, monkeypatch):
    failing(monkeypatch, RuntimeError("no luck"))
    found = measure(profile)
    assert found.failures == ["MTSExample on pump: RuntimeError: no luck"]
    for panels in found.panels.values():
        assert [one.detector for one in panels] == ["PCA", "random"]


def test_an_experiment_that_fails_costs_the_others_nothing(profile, quick, monkeypatch):
    def refuses(one):
        raise ValueError("not today")

    broken = [replace(one, measure=refuses) if one.number == 10 else one for one in EXPERIMENTS]
    monkeypatch.setattr(measuring, "EXPERIMENTS", tuple(broken))
    found = measure(profile)
    names = ("MTSExample", "PCA", "random")
    failed = [f"zeros as first scores, {name} on pump: ValueError: not today" for name in names]
    assert found.failures == failed
    assert found.panels["zeros as first scores"] == []
    assert len(found.panels["wider labels"]) == 3


def test_without_events_there_is_nothing(profile, tmp_path):
    write(tmp_path / "own", "calm", labelled=False)
    found = measure(profile, ["calm"])
    assert found.panels == {} and found.facts.empty and found.floors.empty


def seeds_of(*given):
    return measuring.seeds(Profile(seeds=list(given)), "LightMMoE")


def test_seeds_are_five_the_profiles_first():
    assert seeds_of(0) == [0, 1, 2, 3, 4]
    assert seeds_of(7) == [7, 0, 1, 2, 3]
    assert seeds_of(1, 0) == [1, 0, 2, 3, 4]
    assert seeds_of(3, 4, 5, 6, 7, 8) == [3, 4, 5, 6, 7]
    assert measuring.seeds(Profile(seeds=[5, 6]), "PCA") == [5]


# --- AMAD ---


@pytest.fixture
def with_amad(profile, monkeypatch, tmp_path):
    monkeypatch.setattr("lmmoe.paths.results", lambda name: tmp_path / "results" / name)
    detectors = {"AMAD": {"window": 16, "epochs": 1}}
    return Profile(dataset=profile.dataset, detectors=detectors, protocols=["study"])


def test_each_switch_is_turned_alone_and_all_together():
    assert list(amad.VARIANTS.values())[0] == {}
    alone = [given for given in amad.VARIANTS.values() if len(given) == 1]
    assert alone == [{name: False} for name in SWITCHES]
    assert list(amad.VARIANTS.values())[-1] == dict.fromkeys(SWITCHES, False)


def test_what_amads_switches_give(with_amad, monkeypatch, tmp_path):
    found = amad.switches(with_amad, ["pump"])
    assert list(found["variant"]) == [*amad.VARIANTS, "random"]
    series = with_amad.load("pump")
    one = Scored(Run(series, "AMAD", "study", 0, with_amad.detectors["AMAD"]))
    values = found.set_index("variant")["average_precision"]
    assert values["as published"] == pytest.approx(one.average_precision)
    right = one.detector.rescored(series.test, wrong_sign=False)
    again = Scored(one.run)
    again.__dict__["result"] = type("Given", (), {"scores": right})()
    assert values["forest's sign right"] == pytest.approx(again.average_precision)
    # A second time nothing is scored.
    monkeypatch.setattr(amad, "_lines", None)
    assert amad.switches(with_amad, ["pump"]).equals(found)
    assert len(list((tmp_path / "results").rglob("amad-*.csv"))) == 1


def test_no_amad_planned_none_shown(profile, with_amad, tmp_path):
    assert amad.switches(profile).empty
    write(tmp_path / "own", "calm", labelled=False)
    assert amad.switches(with_amad, ["calm"]).empty


def test_an_amad_that_fails_is_left_out(with_amad, monkeypatch):
    def fails(one, chance):
        raise RuntimeError("no luck")

    monkeypatch.setattr(amad, "_lines", fails)
    assert amad.switches(with_amad, ["pump"]).empty
