"""Profiles: the committed ones load, slips are named, the notebooks have the same parameters."""

import ast
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import get_origin

import pytest
import yaml
from papermill import inspect_notebook

from lmmoe.errors import DataError
from lmmoe.report import params
from lmmoe.report.params import Profile

ROOT = Path(__file__).parent.parent
PROFILES = sorted((ROOT / "params").glob("*.yaml"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What a notebook may be told besides a profile.
EXTRAS = dict.fromkeys(("out", "entity", "protocol", "rule"), "str")
EXTRAS |= {"machines": "int", "every": "float", "retrain_days": "float", "core_hour": "float"}


def write(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path, *parts):
    """The file, then all ``parts`` in this order."""
    words = ".*".join(re.escape(part) for part in (f"{path}: ", *parts))
    return pytest.raises(DataError, match=f"(?s)^{words}")


# --- what is right ---


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_committed_profiles_load(path):
    profile = params.load(path)
    assert profile.profile == path.stem
    assert list(params.overrides(profile)) == [entry.name for entry in fields(Profile)]


def test_quick_has_more_detectors_than_the_defaults_and_nothing_else():
    quick = params.load(ROOT / "params" / "quick.yaml")
    assert replace(quick, detectors=Profile().detectors) == Profile()
    assert set(quick.detectors) > set(Profile().detectors)


def test_a_profile_by_hand(tmp_path):
    path = write(
        tmp_path,
        "dataset: mine\nentities: [pump-1]\nseeds: [3, 4]\nvus_window: 0\n"
        "reading: {missing: fill}\ndetectors: {LightMMoE: {epochs: 2, shared: 1}, random: {}}\n",
    )
    assert params.load(str(path)) == Profile(
        profile="mine",
        dataset="mine",
        entities=["pump-1"],
        reading={"missing": "fill"},
        detectors={"LightMMoE": {"epochs": 2, "shared": 1}, "random": {}},
        seeds=[3, 4],
        vus_window=0,
    )


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_all_defaults(tmp_path, text):
    assert params.load(write(tmp_path, text)) == Profile(profile="mine")


def test_a_profile_may_have_another_name_than_its_file(tmp_path):
    assert params.load(write(tmp_path, "profile: other")).profile == "other"


@pytest.mark.parametrize("name", ["smd-2_v1.0", "2024", "Fräsmaschine"])
def test_a_name_may_be_anything_that_is_safe_as_a_folder(tmp_path, name):
    path = tmp_path / f"{name}.yaml"
    path.touch()
    assert params.load(path).profile == name


def test_random_scores_are_always_among_the_detectors():
    given = {"MTSExample": {"contamination": 0.2}}
    profile = Profile(detectors=given)
    assert list(profile.detectors.items()) == [*given.items(), ("random", {})]
    assert list(given) == ["MTSExample"]  # the caller's own stays as it is
    assert Profile(detectors={}).detectors == {"random": {}}
    assert list(Profile(detectors={"random": {}, "MTSExample": {}}).detectors)[0] == "random"


def test_random_scores_keep_the_settings_that_they_were_given(tmp_path):
    profile = params.load(write(tmp_path, "detectors: {random: {contamination: 0.2}}"))
    assert profile.detectors == {"random": {"contamination": 0.2}}


def test_profiles_do_not_share_their_lists():
    first, second = Profile(), Profile()
    first.detectors["more"] = {}
    first.seeds.append(9)
    assert second == Profile() and 9 not in second.seeds


def test_overrides_are_plain_and_complete(tmp_path):
    profile = params.load(write(tmp_path, "detectors: {random: {contamination: 0.2}}"))
    values = params.overrides(profile)
    assert yaml.safe_load(yaml.safe_dump(values)) == values
    assert Profile(**values) == profile
    assert Profile.chosen(values | {"something": "else"}) == profile


# --- what is wrong ---


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("epoch: 3", ["unknown key 'epoch'. Known: profile, dataset, ", "seeds"]),
        ("1: 3", ["unknown key 1"]),
        ("vus_window: many", ["vus_window='many': expected a whole number"]),
        ("vus_window: 1.5", ["vus_window=1.5: expected a whole number"]),
        ("vus_window: yes", ["vus_window=True: expected a whole number"]),
        ("vus_window:", ["vus_window=None: expected a whole number"]),
        ("vus_window: -1", ["vus_window=-1: a number of rows from 0 on is needed"]),
        ("dataset: 3", ["dataset=3: expected a text"]),
        ("dataset: [smd]", ["dataset=['smd']: expected a text"]),
        ("profile: 2024", ["profile=2024: expected a text"]),
        ("profile: ''", ["profile='': it names folders, so only letters, digits, dots"]),
        ("profile: ..", ["profile='..': it names folders"]),
        ("profile: .hidden", ["profile='.hidden': it names folders"]),
        ("profile: --fresh", ["profile='--fresh': it names folders"]),
        ("profile: up/down", ["profile='up/down': it names folders"]),
        ("profile: two words", ["profile='two words': it names folders"]),
        ('profile: "line\\n"', [r"profile='line\n': it names folders"]),
        ("entities: machine-1-1", ["entities='machine-1-1': expected a list"]),
        ("entities: [1]", ["entities=1: expected a text"]),
        ("entities: [a, b, a]", ["entities=['a', 'b', 'a']: something stands there twice"]),
        ("entities: {a: b}", ["entities={'a': 'b'}: expected a list"]),
        ("seeds: 3", ["seeds=3: expected a list"]),
        ("seeds: ['3']", ["seeds='3': expected a whole number"]),
        ("seeds: [yes]", ["seeds=True: expected a whole number"]),
        ("seeds: []", ["seeds is empty: at least one is needed"]),
        ("seeds: [3, 3]", ["seeds=[3, 3]: something stands there twice"]),
        ("seeds: [0, -1]", ["seeds=[0, -1]: whole numbers from 0 on are needed"]),
        ("reading: {missing: fill}", ["no option 'missing' for reading 'synthetic'"]),
        (
            "dataset: mine\nreading: {fill: yes}",
            ["no option 'fill' for reading 'mine'. Options: time, label, train_share, missing"],
        ),
        ("reading: [fill]", ["reading=['fill']: expected 'key: value' lines"]),
        ("reading: {1: fill}", ["reading (key)=1: expected a text"]),
        ("detectors: [LightMMoE]", ["detectors=['LightMMoE']: expected 'key: value' lines"]),
        ("detectors: {LightMMoE: }", ["detectors.LightMMoE=None: expected 'key: value' lines"]),
        ("detectors: {LightMMoE: [5]}", ["detectors.LightMMoE=[5]: expected 'key: value' lines"]),
        ("detectors: {Unknown: {}}", ["detectors.Unknown: no detector 'Unknown'", "LightMMoE"]),
        ("detectors: {3: {}}", ["detectors (key)=3: expected a text"]),
        (
            "detectors: {LightMMoE: {windows: 3}}",
            ["detectors.LightMMoE: LightMMoE has no setting 'windows'", "window"],
        ),
        (
            "detectors: {LightMMoE: {epochs: many}}",
            ["detectors.LightMMoE: epochs='many': expected a whole number"],
        ),
        (
            "detectors: {LightMMoE: {learning_rate: 1e-3}}",
            ["detectors.LightMMoE: learning_rate='1e-3': expected a number (YAML reads 1e-3"],
        ),
        (
            "detectors: {LightMMoE: {shared: yes}}",
            ["detectors.LightMMoE: shared=True: expected a number"],
        ),
        (
            "detectors: {LightMMoE: {epochs: -1}}",
            ["detectors.LightMMoE: epochs=-1: expected greater"],
        ),
        ("detectors: {random: {seed: 3}}", ["detectors.random.seed: give 'seeds'"]),
        ("protocols: [theirs]", ["protocols: 'theirs' is none of ours, study"]),
        ("protocols: [study, study]", ["protocols=['study', 'study']: something stands there"]),
        ("protocols: []", ["protocols is empty: at least one is needed"]),
        ("protocols: ours", ["protocols='ours': expected a list"]),
        ("- dataset", ["expected lines of the form 'key: value'"]),
        ("dataset", ["expected lines of the form 'key: value'"]),
        ("[]", ["expected lines of the form 'key: value'"]),
        ("seeds: [1, 2", ["not YAML (", "line 1"]),
        ("dataset: smd\n  seeds: 1: 2", ["not YAML ("]),
        ("a: !!python/object/apply:os.getcwd []", ["not YAML (", "python/object"]),
    ],
)
def test_a_slip_names_the_file_and_the_key(tmp_path, text, parts):
    path = write(tmp_path, text)
    with refused(path, *parts):
        params.load(path)


def test_a_missing_profile_tells_which_there_are(tmp_path):
    write(tmp_path, "")
    with refused(tmp_path / "smd.yaml", "no such profile. There are mine.yaml"):
        params.load(tmp_path / "smd.yaml")


def test_a_file_whose_name_names_no_folder_is_refused(tmp_path):
    path = tmp_path / "two words.yaml"
    path.touch()
    with refused(path, "profile='two words': it names folders"):
        params.load(path)


def test_a_folder_and_bytes_are_no_profile(tmp_path):
    with refused(tmp_path, "no such profile"):
        params.load(tmp_path)
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"dataset: \xff\xfe\n")
    with refused(path, "not YAML ("):
        params.load(path)


def test_the_same_slips_stop_a_notebook():
    with pytest.raises(ValueError, match="seeds='0': expected a list"):
        Profile.chosen(params.overrides(Profile()) | {"seeds": "0"})


def test_missing_data_are_told_before_anything_runs(tmp_path):
    profile = Profile(dataset="smd", root=str(tmp_path))
    with refused(tmp_path, "no entities of 'smd' here. Run 'python -m lmmoe fetch smd'"):
        assert profile.present
    profile = Profile(entities=["web-1", "web-9", "web-8"])
    with pytest.raises(DataError, match="no web-9, web-8 of 'synthetic' here"):
        assert profile.present
    assert Profile().present == ["batch-1", "cache-1", "db-1", "web-1"]
    assert Profile(entities=["web-1"]).present == ["web-1"]


def test_own_data_count_from_the_projects_root(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    for folder in ("lmmoe", "notebooks", "mine"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mine" / "pump_train.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "mine" / "pump_test.csv").write_text("a,b\n5,6\n")
    monkeypatch.chdir(tmp_path / "notebooks")
    for dataset in ("mine", str(tmp_path / "mine")):
        profile = Profile(dataset=dataset)
        assert profile.present == ["pump"]
        assert profile.load("pump").test.tolist() == [[5, 6]]
        names = {path.name for path in profile.files("pump")}
        assert names == {"pump_train.csv", "pump_test.csv"}
    with refused(tmp_path / "empty", "no entities of 'smd' here"):
        assert Profile(dataset="smd", root="empty").present


# --- the notebooks ---


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebooks_parameters_are_the_profiles(path):
    found = inspect_notebook(str(path))
    if ".yaml" in found["profile"]["default"]:  # it takes the profile's file
        assert set(found) == {"profile", "out"}
        return
    extras = set(found) - {entry.name for entry in fields(Profile)}
    assert extras <= set(EXTRAS)
    default = Profile()
    for entry in fields(Profile):
        parameter = found[entry.name]
        assert ast.literal_eval(parameter["default"]) == getattr(default, entry.name), entry.name
        kind = get_origin(entry.type) or entry.type
        assert parameter["inferred_type_name"] == kind.__name__, entry.name
    for name in extras:
        assert found[name]["inferred_type_name"] == EXTRAS[name]
    assert ast.literal_eval(found["out"]["default"]) == ""
