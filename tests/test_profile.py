"""Profiles: the committed ones load, slips are named, and a plan holds every run once."""

import re
from pathlib import Path

import pytest

from lmmoe.errors import DataError
from lmmoe.report import profile
from lmmoe.report.profile import Profile

ROOT = Path(__file__).parent.parent


def write(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_committed_profiles_load_under_the_name_of_their_file():
    files = sorted((ROOT / "params").glob("*.yaml"))
    assert [profile.load(file).profile for file in files] == [file.stem for file in files]


def test_a_file_says_what_differs_from_the_defaults(tmp_path):
    path = write(
        tmp_path,
        "dataset: mine\nentities: [pump-1]\nseeds: [3, 4]\nvus_window: 0\n"
        "reading: {missing: fill}\ndetectors: {LightMMoE: {epochs: 2, shared: 1}}\n",
    )
    made = profile.load(path)
    # Random scores are always there: a point-adjusted number means nothing without theirs.
    assert made.detectors == {"LightMMoE": {"epochs": 2, "shared": 1}, "random": {}}
    assert (made.profile, made.seeds, made.vus_window) == ("mine", [3, 4], 0)
    assert made.protocols == Profile().protocols
    assert profile.load(write(tmp_path, "# nothing\n")) == Profile(profile="mine")


def test_a_base_holds_where_a_file_is_silent(tmp_path):
    write(tmp_path, "profile: base\nseeds: [1, 2]\nprotocols: [ours]\n", "base.yaml")
    made = profile.load(write(tmp_path, "base: base.yaml\nseeds: [7]\n"))
    assert (made.profile, made.seeds, made.protocols) == ("mine", [7], ["ours"])


def test_slips_are_named_with_the_file(tmp_path):
    slips = {
        "epoch: 3": "unknown key 'epoch'",
        "profile: ../up": "profile='../up'",
        "seeds: 3": "seeds=3",
        "seeds: [yes]": "seeds.0=True",
        "seeds: [-1]": "seeds.0=-1",
        "seeds: []": "seeds=[]",
        "protocols: [theirs]": "protocols.0='theirs'",
        "vus_window: -1": "vus_window=-1",
        "detectors: {LightMMoE: {epoch: 3}}": "LightMMoE has no setting 'epoch'",
        "detectors: {LightMMoE: {epochs: many}}": "epochs='many'",
        "detectors: {LightMMoE: {seed: 1}}": "give 'seeds'",
        "detectors: {NoSuch: {}}": "no detector 'NoSuch'",
        "detectors: {PCA: {}, PCA / again: {}}": "PCA / again: these settings stand",
        "passes: [{detectors: [CAD]}]": "'CAD' is not the profile's",
        "passes: [{seeds: [9]}]": "passes[0].seeds: 9",
        "passes: [{machines: [a]}]": "passes.0.machines",
        "- a list": "expected lines of the form",
        "a: [": "not YAML",
        "base: no.yaml": "no such profile. There are ",
    }
    for text, reason in slips.items():
        path = write(tmp_path, text)
        with pytest.raises(DataError, match=re.escape(reason)) as caught:
            profile.load(path)
        assert str(caught.value).startswith(str(tmp_path)), text


def test_a_plan_holds_every_run_once_and_what_comes_first_first():
    given = {"detectors": {"MTSExample": {}}, "protocols": ["ours", "study"], "seeds": [3, 4]}
    # The norm takes no seed, random scores do.
    whole = [("MTSExample", p, 3) for p in ("ours", "study")]
    whole += [("random", p, s) for p in ("ours", "study") for s in (3, 4)]
    assert Profile(**given).plan("a") == whole
    first = [("MTSExample", "study", 3), ("random", "study", 3)]
    passes = [
        {"seeds": [3], "protocols": ["study"]},
        {"without": ["MTSExample"], "entities": ["b"]},
        {},
    ]
    made = Profile(**given, passes=passes)
    assert made.plan("a") == [*first, *(run for run in whole if run not in first)]
    of_b = made.plan("b")
    assert sorted(of_b) == sorted(whole) and of_b[:2] == first
    assert of_b[2:5] == [("random", "ours", 3), ("random", "ours", 4), ("random", "study", 4)]


def test_entities_must_be_there():
    with pytest.raises(DataError, match="no web-77 of 'synthetic' here"):
        _ = Profile(entities=["web-77"]).present
