"""The rows of a profile: what is known is taken, from where, and what is tried again."""

from dataclasses import replace

import pandas as pd
import pytest
from small import failing, series

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import params, runs, tables
from lmmoe.report.cache import Result


@pytest.fixture
def profile(tmp_path, monkeypatch, small_runs):
    """Two made-up entities, the norm and random scores, both protocols, two seeds; a root."""
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    monkeypatch.delenv("LMMOE_FRESH", raising=False)
    fleet = {name: series(entity=name, rows=200 + 10 * n) for n, name in enumerate(("a", "01"))}
    monkeypatch.setattr(params.Profile, "load", lambda self, entity: fleet[entity])
    monkeypatch.setattr(params.Profile, "present", property(lambda self: list(fleet)))
    settings = {"MTSExample": {"contamination": 0.2}, "random": {}}
    given = {"profile": "tiny", "dataset": "made-up", "detectors": settings}
    return params.Profile(**given, seeds=[0, 1], vus_window=10)


@pytest.fixture
def published(tmp_path):
    """Where the profile's published table lies."""
    return tmp_path / "figures" / "tiny" / "runs.csv"


@pytest.fixture
def own(tmp_path):
    """Where the jobs of the profile's report leave their tables."""
    return tmp_path / "results" / "tiny" / "runs"


@pytest.fixture
def made(monkeypatch):
    """Note the runs whose rows are made."""
    runs_made = []
    original = runs.row

    def row(run, **given):
        runs_made.append(run)
        return original(run, **given)

    monkeypatch.setattr(runs, "row", row)
    return runs_made


def broken(monkeypatch, profile, error):
    """Give the table of a profile whose L2 norm fails on every entity."""
    with monkeypatch.context() as patch:
        failing(patch, error)
        return runs.table(profile)


def test_a_table_has_a_row_for_each_run(profile):
    table = runs.table(profile)
    assert list(table.columns) == list(runs.ALL)
    # The norm takes no seed: 2 entities x 2 protocols x (1 + 2).
    assert len(table) == 2 * len(profile.plan("a")) == 12
    seeds = table.groupby("detector")["seed"].unique()
    assert seeds["MTSExample"].tolist() == [0] and seeds["random"].tolist() == [0, 1]
    assert table["key"].is_unique and table["error"].isna().all()
    assert (table["settings"] == '{"contamination": 0.2}').sum() == 4
    part = runs.table(profile, ["01"])
    assert part["entity"].unique().tolist() == ["01"]
    pd.testing.assert_frame_equal(part, table[table["entity"] == "01"].reset_index(drop=True))


def test_a_profiles_rows_are_those_that_its_table_has(profile, published):
    asked = replace(profile, detectors={"LightMMoE": {"window": 8, "epochs": 2}} | {"random": {}})
    with pytest.MonkeyPatch.context() as patch:  # in place of training
        patch.setattr(
            runs, "result", lambda run: Result(published, run.series.test[:, 0], None, None, {})
        )
        table = runs.table(asked)
    runs.accumulate(table, published)
    runs.accumulate(runs.table(replace(profile, seeds=[5])), published)
    found = tables.of_profile(runs.read(published), asked)
    assert set(found["key"]) == set(table["key"]) and len(found) == 2 * 2 * 4
    found = tables.of_profile(runs.read(published), replace(asked, entities=["01"]))
    assert set(found["key"]) == set(table.loc[table["entity"] == "01", "key"])


# --- what is taken, and from where ---


def test_published_rows_are_taken_while_they_hold(profile, published, made):
    table = runs.table(profile)
    runs.accumulate(table, published)
    made.clear()
    again = runs.table(profile)
    assert made == []
    pd.testing.assert_frame_equal(again, table, rtol=1e-9, check_dtype=False)
    runs.table(replace(profile, seeds=[0, 2]))
    # Seed 2 of random, on two entities, under two protocols.
    assert [(run.detector, run.seed) for run in made] == [("random", 2)] * 4


def test_rows_for_several_vus_windows_stand_side_by_side(profile, published, made):
    for window in (10, 20, 10, 20):
        table = runs.table(replace(profile, vus_window=window))
        assert (table["vus_window"] == window).all()
        runs.accumulate(table, published)
    assert len(made) == 24
    assert len(runs.read(published)) == 24


@pytest.mark.parametrize("column", ["key", "metrics"])
def test_rows_of_other_code_are_made_anew(profile, published, made, column):
    wrong = runs.table(profile).assign(average_precision=0.123)
    wrong.loc[wrong["entity"] == "a", column] = "1234567890"
    runs.accumulate(wrong, published)
    made.clear()
    again = runs.table(profile)
    assert [run.series.entity for run in made] == ["a"] * 6
    by_entity = again.groupby("entity")["average_precision"]
    assert (by_entity.get_group("01") == 0.123).all()
    assert (by_entity.get_group("a") != 0.123).all()
    runs.accumulate(again, published)
    assert len(runs.read(published)) == 12


def test_published_failures_are_tried_again(profile, published, made, monkeypatch):
    table = broken(monkeypatch, profile, ValueError("broken"))
    runs.accumulate(table, published)
    failed = table["detector"] == "MTSExample"
    assert (table.loc[failed, "error"] == "ValueError: broken").all()
    assert table.loc[~failed, "error"].isna().all()
    made.clear()
    table = runs.table(profile)
    assert [run.detector for run in made] == ["MTSExample"] * 4
    assert table["error"].isna().all()
    runs.accumulate(table, published)
    assert len(runs.read(published)) == 12 and runs.read(published)["error"].isna().all()


def test_rows_of_the_reports_own_jobs_are_taken_failures_included(profile, own, made, monkeypatch):
    table = broken(monkeypatch, profile, ValueError("broken"))
    for entity, rows in table.groupby("entity"):
        runs.accumulate(rows, own / f"{entity}.csv")
    made.clear()
    again = runs.table(profile)
    assert made == []
    # A failure has none: a gap here, an empty text from a file.
    texts = {"columns": ["host", "found_events"]}
    expected = table.drop(**texts)
    pd.testing.assert_frame_equal(again.drop(**texts), expected, rtol=1e-9, check_dtype=False)
    assert (again["error"] == "ValueError: broken").sum() == 4


def test_a_row_of_an_own_job_wins_over_the_published_one(profile, published, own):
    table = runs.table(profile)
    runs.accumulate(table.assign(average_precision=0.123), published)
    runs.accumulate(table[table["entity"] == "a"].assign(average_precision=0.456), own / "a.csv")
    by_entity = runs.table(profile).groupby("entity")["average_precision"].unique()
    assert {name: values.tolist() for name, values in by_entity.items()} == {
        "a": [0.456],
        "01": [0.123],
    }


@pytest.mark.parametrize(("fresh", "count"), [("1", 6), ("", 0)])
def test_a_fresh_report_ignores_what_is_published(
    profile, published, own, made, monkeypatch, fresh, count
):
    table = runs.table(profile)
    runs.accumulate(table.assign(average_precision=0.123), published)
    runs.accumulate(table[table["entity"] == "a"].assign(average_precision=0.456), own / "a.csv")
    made.clear()
    monkeypatch.setenv("LMMOE_FRESH", fresh)
    again = runs.table(profile).set_index("entity")["average_precision"]
    assert [run.series.entity for run in made] == ["01"] * count
    assert (again["01"] == 0.123).all() == (fresh == "")
    assert (again["a"] == 0.456).all()


def test_another_profiles_tables_are_not_looked_at(profile, published, own, made):
    table = runs.table(profile)
    runs.accumulate(table, published)
    runs.accumulate(table, own / "a.csv")
    made.clear()
    runs.table(replace(profile, profile="other"))
    assert len(made) == 12


def test_what_another_job_has_half_written_is_not_read(profile, own, made):
    own.mkdir(parents=True)
    (own / ".a.4321.csv").write_text("")
    (own / ".01.4321.csv").write_text("key,datas")
    runs.table(profile)
    assert len(made) == 12


# --- failures that are tried again ---


def test_tables_with_failures_are_forgotten_and_no_others(profile, published, own, monkeypatch):
    failed, good = broken(monkeypatch, profile, RuntimeError("no memory")), runs.table(profile)
    runs.accumulate(failed, published)
    runs.accumulate(failed, own.parent.parent / "other" / "runs" / "a.csv")
    for name, rows in (("good", good), ("bad", failed), ("good too", good)):
        runs.accumulate(rows, own / f"{name}.csv")
    runs.forget_failures(profile)
    assert sorted(path.name for path in own.iterdir()) == ["good too.csv", "good.csv"]
    assert published.exists()
    assert (own.parent.parent / "other" / "runs" / "a.csv").exists()


def test_failures_by_bad_data_are_not_forgotten(profile, own, monkeypatch):
    error = DataError("too few rows", file="a.csv")
    failed = broken(monkeypatch, profile, error)
    assert (failed["error"] == "DataError: a.csv: too few rows").sum() == 4
    runs.accumulate(failed, own / "data.csv")
    mixed = failed.copy()
    mixed.loc[mixed["detector"] == "random", "error"] = "MemoryError: DataError"
    runs.accumulate(mixed, own / "mixed.csv")
    runs.forget_failures(profile)
    assert [path.name for path in own.iterdir()] == ["data.csv"]


def test_a_fresh_report_forgets_all_that_its_own_jobs_left_and_nothing_else(
    profile, published, own
):
    table = runs.table(profile)
    for path in (published, own / "0" / "a.csv", own.parent.parent / "other" / "runs" / "a.csv"):
        runs.accumulate(table, path)
    runs.forget(profile)
    assert not own.exists() and published.exists()
    assert (own.parent.parent / "other" / "runs" / "a.csv").exists()


def test_where_nothing_ran_nothing_is_forgotten(profile, tmp_path):
    runs.forget_failures(profile)
    runs.forget(profile)
    assert list(tmp_path.iterdir()) == []


def test_a_forgotten_failure_is_tried_again(profile, own, made, monkeypatch):
    runs.accumulate(broken(monkeypatch, profile, RuntimeError("no memory")), own / "all.csv")
    runs.forget_failures(profile)
    assert runs.table(profile)["error"].isna().all()
