"""Which variants run where: labels in profiles, the committed plans, small ones and whole ones."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from made_up_ablation import NINE
from small import LIGHT, series

from lmmoe import detectors, paths
from lmmoe.errors import DataError
from lmmoe.report import ablation, params, runs
from lmmoe.report.ablation import plans
from lmmoe.report.ablation.definitions import GROUPS, VARIANTS
from lmmoe.report.ablation.variants import CLAIMED
from lmmoe.report.params import Profile
from lmmoe.report.study import spelled

WHOLE = plans.named("ablation")
LABEL = "LightMMoE / experts / 8 experts"


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# --- labels and bases in profiles ---


def test_a_label_runs_a_detector_with_other_settings_and_is_not_in_its_row():
    profile = Profile(detectors={"LightMMoE": {}, LABEL: {"experts": 8}}, protocols=["ours"])
    assert profile.plan("pump-1") == [
        ("LightMMoE", "ours", 0),
        (LABEL, "ours", 0),
        ("random", "ours", 0),
    ]
    planned = list(runs.planned(profile, series()))
    assert [(one.detector, one.settings) for one in planned] == [
        ("LightMMoE", {}),
        ("LightMMoE", {"experts": 8}),
        ("random", {}),
    ]
    assert planned[1].key == runs.Run(series(), "LightMMoE", settings={"experts": 8}).key


def test_a_labelled_detector_without_a_random_part_runs_once():
    given = {"MTSExample / more": {"contamination": 0.2}}
    profile = Profile(detectors=given, protocols=["ours"], seeds=[3, 4])
    assert [run for run in profile.plan("a") if run[0] != "random"] == [
        ("MTSExample / more", "ours", 3)
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Unknown / more": {}}, "detectors.Unknown / more: no detector 'Unknown'"),
        ({LABEL: {"expert": 8}}, f"detectors.{LABEL}: expert=8: expected 'window' or"),
        ({"random": {}, "random / more": {}}, "random / more: the same settings as 'random'"),
        (
            {
                "LightMMoE / a": {"window": 4, "tower": []},
                "LightMMoE / b": {"tower": [], "window": 4},
            },
            "LightMMoE / b: the same settings as 'LightMMoE / a'",
        ),
    ],
)
def test_a_slip_in_a_label_is_named(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Profile(detectors=given)


def test_a_base_holds_where_a_profile_is_silent(tmp_path):
    write(tmp_path, "one.yaml", "profile: one\ndataset: mine\nseeds: [1, 2]\nvus_window: 7\n")
    child = write(tmp_path, "two.yaml", "base: one.yaml\nseeds: [3]\n")
    expected = Profile(profile="two", dataset="mine", seeds=[3], vus_window=7)
    assert params.load(child) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: none.yaml", "none.yaml: no such profile"),
        ("base: ../none.yaml", "none.yaml: no such profile"),
        ("base: child.yaml", "child.yaml: a base with a base of its own"),
        ("base: slip.yaml", "child.yaml: unknown key 'epoch'"),
        ("base: list.yaml", "list.yaml: expected lines of the form"),
    ],
)
def test_a_bad_base_is_named(tmp_path, text, message):
    write(tmp_path, "slip.yaml", "epoch: 3\n")
    write(tmp_path, "list.yaml", "- a\n")
    with pytest.raises(DataError, match=re.escape(message)):
        params.load(write(tmp_path, "child.yaml", text))


# --- the committed plans ---


@pytest.mark.parametrize("name", [plans.WHOLE, plans.SMALL, *plans.OPINIONS])
def test_every_committed_variant_can_be_made_and_is_defined(name):
    plan = plans.named(name)
    found = ablation.variants(plan)
    names = [one.name for one in found]
    assert len(set(names)) == len(names)
    for one in found:
        detectors.detector(one.detector, **json.loads(one.settings))
        assert one.definition.meaning and one.definition.source
        assert one.label in plan.detectors
    changed = [spelled(one.settings) for one in found if one.detector == "LightMMoE"]
    assert changed.count("{}") == 1, "a variant that is the full model"
    assert set(plan.detectors) <= set(WHOLE.detectors)


def test_every_definition_is_used():
    found = ablation.variants(WHOLE)
    assert {one.group for one in found} - {"LightMMoE"} == set(GROUPS)
    assert set(VARIANTS) <= {one.name for one in found}


def test_the_whole_plan_holds_what_the_study_varies():
    """The list of the study's variants, and what is added to it, one by one."""
    given = [plan for plan in WHOLE.detectors.values()]
    for setting, values in {
        "experts": [1, 2, 8, 16],
        "shared": [0.0, 0.1, 0.3, 0.5, 0.9, 1.0],
        "kernels": [4, 16, 32],
        "hidden": [64, 256, 512],
        "tower": [[], 8, 32, 64],
        "window": [4, 8, 32, 64, 128],
        "horizon": [2, 3, 5, 10],
        "gate": ["mean", "learned", "attention", "hierarchical"],
        "loss": ["l1", "huber"],
        "batch": [32, 128, 256],
        "epochs": [1, 2, 10, 20],
        "expert": ["series"],
        "adaptive": [True],
    }.items():
        assert [one[setting] for one in given if list(one) == [setting]] == values, setting
    assert {"experts": 2, "kernels": 4, "hidden": 64, "out": 32, "tower": 8} in given
    assert {"expert_dropout": 0.0, "tower_dropout": 0.0} in given


def test_what_the_study_claims_something_about_runs_everywhere_and_the_rest_on_nine_machines():
    found = {one.label: one for one in ablation.variants(WHOLE)}
    assert WHOLE.passes[1]["entities"] == [
        f"machine-{n}" for n in "1-1 1-2 1-3 2-1 2-2 2-3 3-2 3-3 3-4".split()
    ]
    rest = list(WHOLE.plan("machine-1-1", 1))
    begun = {name for name, _, _ in WHOLE.plan("machine-1-1", 0)}
    assert {name for name, _, _ in rest} == set(WHOLE.detectors) - begun
    assert {(kind, seed) for _, kind, seed in rest} == {("ours", 0)}
    assert list(WHOLE.plan("machine-1-8", 1)) == []
    first = {(name, protocol) for name, protocol, _ in WHOLE.plan("machine-1-8", 0)}
    assert {seed for name, _, seed in WHOLE.plan("machine-1-8", 0) if found[name].claimed} == {
        *range(3)
    }
    claimed = {name for name, _ in first if found[name].claimed}
    assert len(claimed) == len(CLAIMED) - 1  # two of the study's names are one setting
    assert claimed == {one.label for one in found.values() if one.claimed}
    others = {"LightMMoE", "untrained LightMMoE", "MTSExample", "last value", "random"}
    assert first == {(name, kind) for name in claimed | others for kind in ("ours", "study")}


@pytest.mark.parametrize(
    "name", ["LightMMoE / 8 experts", "LightMMoE / size / x", "LightMMoE / a / b / c"]
)
def test_a_label_of_another_form_is_refused(name):
    profile = Profile(detectors={name: {"experts": 8}})
    with pytest.raises(ValueError, match="expected 'DETECTOR / GROUP / VARIANT'"):
        ablation.variants(profile)


# --- which plan a report has ---


def test_any_report_but_that_of_smd_has_a_small_ablation_on_its_own_data():
    run = Profile(vus_window=7)
    plan = ablation.plan(run)
    assert plan.profile == "quick" and plan.dataset == "synthetic" and plan.vus_window == 7
    assert plan.entities == ["batch-1", "cache-1"]
    assert set(plan.detectors) == set(plans.named("ablation-quick").detectors)
    assert ablation.opinions(plan) == {} and ablation.whole(run) == []


def test_the_report_on_smd_has_the_whole_one_where_its_machines_are(monkeypatch):
    here = [*NINE[:2], "machine-1-8"]
    monkeypatch.setattr(Profile, "present", property(lambda self: here))
    plan = ablation.plan(Profile(profile="smd", dataset="smd", root="somewhere"))
    assert plan.profile == "ablation" and plan.entities == here and plan.root == "somewhere"
    assert [one.get("entities") for one in plan.passes] == [None, NINE[:2], NINE[:2]]
    assert set(ablation.opinions(plan)) == {"asd", "synthetic"}
    assert ablation.opinions(plan)["asd"].root == "somewhere"
    names = [one.profile for one in ablation.whole(Profile(profile="smd", dataset="smd"))]
    assert names == ["ablation", "ablation-asd", "ablation-synthetic"]
    assert ablation.plan(Profile(profile="mine", dataset="smd")).profile == "mine"


def test_passes_without_machines_are_left_out():
    found = plans._at_hand(WHOLE, ["machine-1-8"])
    assert found.passes == WHOLE.passes[:1]  # the one on all machines
    only = replace(WHOLE, passes=WHOLE.passes[1:])
    assert plans._at_hand(only, ["machine-1-8"]) is None


def test_data_that_are_not_here_are_no_jobs(monkeypatch, tmp_path):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path))
    assert not plans.present(plans.named("ablation-asd"))
    assert plans.present(plans.named("ablation-synthetic"))


# --- collecting ---


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    for folder in ("lmmoe", "mine"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    made = series(400)
    table = pd.DataFrame(made.test, columns=list("abcd")).assign(label=made.labels)
    table.to_csv(tmp_path / "mine" / "pump.csv", index=False)
    return tmp_path


def tiny(profile):
    given = {"LightMMoE": LIGHT, "LightMMoE / experts / 1 expert": LIGHT | {"experts": 1}}
    return Profile(profile=profile, dataset="mine", detectors=given)


def test_rows_and_errors_of_a_plan_of_its_own_are_published(home, small_runs):
    rows, errors = ablation.collected(tiny("ablation"), publish=True)
    assert rows["error"].isna().all() and len(rows) == 6
    ours = rows[(rows["protocol"] == "ours") & (rows["detector"] == "LightMMoE")]
    assert list(errors.index) == list(ours["key"]) and (errors > 0).all()
    folder = paths.figures("ablation")
    assert set(runs.read(folder / "runs.csv")["key"]) == set(rows["key"])
    kept = pd.read_csv(folder / "forecast_errors.csv", index_col="key")["forecast_error"]
    pd.testing.assert_series_equal(kept, errors, rtol=1e-9)


def test_in_a_fresh_clone_the_published_tables_are_enough(home, small_runs, monkeypatch):
    rows, errors = ablation.collected(tiny("ablation"), publish=True)
    monkeypatch.setenv("LMMOE_CACHE", str(home / "another"))
    monkeypatch.setattr(runs, "result", None)  # nothing may be fitted
    again, known = ablation.collected(tiny("ablation"), publish=False)
    assert list(again["key"]) == list(rows["key"])
    pd.testing.assert_series_equal(known, errors, rtol=1e-9, check_index_type=False)
    (home / "mine" / "pump.csv").unlink()
    absent, known = ablation.collected(tiny("ablation"), publish=False)
    assert set(absent["key"]) == set(rows["key"]) and len(known) == len(errors)


def test_a_small_ablation_publishes_nothing(home, small_runs):
    ablation.collected(tiny("quick"), publish=True)
    assert not paths.figures("quick").exists()
