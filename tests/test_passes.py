"""Passes: which runs of a profile come first, that none is lost or done twice, and slips."""

import re

import pandas as pd
import pytest
from small import series

from lmmoe import __main__ as cli
from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import params, runs, tables
from lmmoe.report.params import Profile

# The norm takes no seed, random scores do.
GIVEN = {
    "detectors": {"MTSExample": {}, "random": {}},
    "protocols": ["ours", "study"],
    "seeds": [3, 4],
}
FLEET = {name: series(entity=name, rows=200 + 10 * n) for n, name in enumerate(("a", "b"))}
PASSES = [
    {"seeds": [3], "protocols": ["study"]},
    {"without": ["MTSExample"], "entities": ["b"]},
    {},
]


def planned(entity, part=None, **changes):
    return Profile(**(GIVEN | changes)).plan(entity, part)


@pytest.fixture
def fleet(tmp_path, monkeypatch, small_runs):
    """Let profiles find two made-up entities, and their results a place of their own."""
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    monkeypatch.delenv("LMMOE_FRESH", raising=False)
    monkeypatch.setattr(Profile, "load", lambda self, entity: FLEET[entity])
    monkeypatch.setattr(Profile, "present", property(lambda self: list(FLEET)))
    return Profile(**GIVEN, profile="tiny", dataset="made-up", passes=PASSES, vus_window=5)


# --- the plan ---


def test_without_passes_all_is_one_pass():
    expected = [
        ("MTSExample", "ours", 3),
        ("MTSExample", "study", 3),
        ("random", "ours", 3),
        ("random", "ours", 4),
        ("random", "study", 3),
        ("random", "study", 4),
    ]
    assert planned("a") == planned("a", 0) == expected
    assert planned("a", passes=[{}]) == expected


def test_passes_by_hand():
    first = [("MTSExample", "study", 3), ("random", "study", 3)]
    second = [("random", "ours", 3), ("random", "ours", 4), ("random", "study", 4)]
    assert planned("b", passes=PASSES) == [*first, *second, ("MTSExample", "ours", 3)]
    assert [planned("b", part, passes=PASSES) for part in range(3)] == [
        first,
        second,
        [("MTSExample", "ours", 3)],
    ]
    # The second pass is not for this entity: the third has what is left.
    assert planned("a", 1, passes=PASSES) == []
    assert planned("a", 2, passes=PASSES) == [("MTSExample", "ours", 3), *second]


def test_what_comes_first_is_run_first_and_nothing_twice():
    passes = [{"detectors": ["random", "MTSExample"], "protocols": ["study", "ours"]}, {}, {}]
    plan = planned("a", passes=passes)
    assert plan[:2] == [("random", "study", 3), ("random", "study", 4)]
    assert len(plan) == len(set(plan)) == 6
    assert planned("a", 1, passes=passes) == planned("a", 2, passes=passes) == []


def test_the_parts_together_are_the_plan():
    for entity in ("a", "b"):
        parts = [planned(entity, part, passes=PASSES) for part in range(3)]
        assert sum(parts, []) == planned(entity, passes=PASSES)
        assert set(planned(entity, passes=PASSES)) == set(planned(entity))


def test_a_detector_without_a_random_part_runs_with_the_first_seed_whatever_a_pass_says():
    assert planned("a", passes=[{"seeds": [4], "detectors": ["MTSExample"]}]) == [
        ("MTSExample", "ours", 3),
        ("MTSExample", "study", 3),
        # Never without random scores.
        ("random", "ours", 4),
        ("random", "study", 4),
    ]
    # The second pass has nothing left to do for it.
    plan = planned("a", passes=[{"seeds": [3]}, {"seeds": [4]}])
    assert [run for run in plan if run[0] == "MTSExample"] == plan[:2]
    assert [run[2] for run in plan if run[0] == "random"] == [3, 3, 4, 4]


def test_what_no_pass_names_is_not_run():
    plan = planned("a", passes=[{"detectors": ["random"], "seeds": [4], "protocols": ["ours"]}])
    assert plan == [("random", "ours", 4)]
    assert planned("a", passes=[{"entities": ["b"]}]) == []


@pytest.mark.parametrize("part", [-1, 3, 99])
def test_a_pass_that_is_not_there_is_refused(part):
    with pytest.raises(DataError, match=f"^no pass {part}: there are 3, counted from 0$"):
        planned("a", part, passes=PASSES)
    with pytest.raises(DataError, match="^no pass 1: there are 1, counted from 0$"):
        planned("a", 1)


# --- slips ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{seeds: [0]}", "passes={'seeds': [0]}: expected a list"),
        ("[seeds]", "passes='seeds': expected 'key: value' lines"),
        ("[{seed: [0]}]", "passes[0]: 'seed' is none of detectors, without, entities, protocols"),
        ("[{}, {settings: [a]}]", "passes[1]: 'settings' is none of detectors"),
        ("[{1: [0]}]", "passes (key)=1: expected a text"),
        ("[{seeds: 0}]", "passes.seeds=0: expected a list"),
        ("[{detectors: {random: {}}}]", "passes.detectors={'random': {}}: expected a list"),
        ("[{}, {seeds: [1]}]", "passes[1].seeds: 1 is not among the profile's seeds"),
        ("[{seeds: [no]}]", "passes[0].seeds=False: expected a whole number"),
        ("[{seeds: ['0']}]", "passes[0].seeds='0': expected a whole number"),
        ("[{detectors: [PCA]}]", "passes[0].detectors: 'PCA' is not among the profile's detectors"),
        ("[{without: [PCA]}]", "passes[0].without: 'PCA' is not among the profile's detectors"),
        ("[{detectors: [[random]]}]", "passes[0].detectors=['random']: expected a text"),
        ("[{protocols: [theirs]}]", "passes[0].protocols: 'theirs' is not among the profile's"),
        ("[{protocols: [study]}]", "passes[0].protocols: 'study' is not among the profile's"),
        ("[{entities: [b]}]", "passes[0].entities: 'b' is not among the profile's entities"),
        ("[{entities: []}]", "passes[0].entities is empty: leave it out to take all"),
        ("[{without: []}]", "passes[0].without is empty: leave it out to take all"),
    ],
)
def test_a_slip_names_the_pass_and_the_key(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"detectors: {{MTSExample: {{}}}}\nprotocols: [ours]\nentities: [a]\npasses: {text}\n"
    )
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        params.load(path)


def test_entities_of_a_pass_must_be_there_even_if_the_profile_takes_all():
    profile = Profile(passes=[{"entities": ["web-1"]}, {"entities": ["web-9", "web-1"]}])
    with pytest.raises(DataError, match="^.*no web-9 of 'synthetic' here"):
        assert profile.present
    assert Profile(passes=[{"entities": ["web-1"]}]).present == Profile().present


# --- the tables ---


def test_all_parts_together_are_the_whole_table(fleet):
    parts = [runs.table(fleet, part=part) for part in range(3)]
    assert [len(part) for part in parts] == [4, 3, 1 + 4]
    together = pd.concat(parts).sort_values("key")[list(runs.IDENTITY)]
    whole = runs.table(fleet).sort_values("key")[list(runs.IDENTITY)]
    pd.testing.assert_frame_equal(
        together.reset_index(drop=True), whole.reset_index(drop=True), check_dtype=False
    )
    assert list(runs.table(fleet)["entity"].unique()) == ["a", "b"]


def test_an_empty_part_is_a_table_without_rows_that_can_be_read(fleet, tmp_path):
    table = runs.table(fleet, ["a"], 1)
    assert table.empty and list(table.columns) == list(runs.ALL)
    table.to_csv(tmp_path / "part.csv", index=False)
    assert runs.read(tmp_path / "part.csv").empty


def test_of_profile_keeps_exactly_the_planned_rows(fleet):
    everything = Profile(**GIVEN, profile="tiny", dataset="made-up", vus_window=5)
    rows = runs.table(everything)
    assert len(rows) == 2 * 6
    narrow = Profile(
        **GIVEN,
        dataset="made-up",
        vus_window=5,
        passes=[{"seeds": [4], "protocols": ["ours"]}, {"entities": ["b"], "without": ["random"]}],
    )
    kept = tables.of_profile(rows, narrow)
    found = list(kept[["entity", "detector", "protocol", "seed"]].itertuples(index=False))
    assert sorted(map(tuple, found)) == [
        ("a", "MTSExample", "ours", 3),
        ("a", "random", "ours", 4),
        ("b", "MTSExample", "ours", 3),
        ("b", "MTSExample", "study", 3),
        # Never without random scores, whatever a pass says.
        *(("b", "random", *run) for run in (("ours", 3), ("ours", 4), ("study", 3), ("study", 4))),
    ]
    assert len(tables.of_profile(rows, everything)) == 12


# --- the command line ---


def test_a_part_on_the_command_line(fleet, tmp_path, monkeypatch):
    monkeypatch.setattr("lmmoe.report.params.load", lambda path: fleet)
    monkeypatch.setattr("lmmoe.report.execute.die_with_parent", lambda: None)
    for words, count in ((["--part", "0"], 2), (["--part", "1"], 3), ([], 6)):
        out = tmp_path / "out.csv"
        assert cli.main(["run", "tiny.yaml", "b", str(out), *words]) == 0
        rows = runs.read(out)
        assert len(rows) == count and set(rows["entity"]) == {"b"}


def test_a_wrong_part_on_the_command_line_is_told(fleet, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lmmoe.report.params.load", lambda path: fleet)
    monkeypatch.setattr("lmmoe.report.execute.die_with_parent", lambda: None)
    assert cli.main(["run", "tiny.yaml", "b", str(tmp_path / "out.csv"), "--part", "3"]) == 1
    assert capsys.readouterr().err == "error: no pass 3: there are 3, counted from 0\n"
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(SystemExit):
        cli.main(["run", "tiny.yaml", "b", "out.csv", "--part", "first"])
    assert "--part: invalid int value: 'first'" in capsys.readouterr().err
