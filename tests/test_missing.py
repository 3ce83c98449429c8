"""Which jobs of a report have work: none whose rows are published, all others."""

import json
import subprocess
import sys

import pytest
from small import failing, series

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import missing, params, runs

FLEET = {name: series(entity=name, rows=200 + 10 * n) for n, name in enumerate(("a", "01"))}
# The last one is for one entity only; random scores come first in the first.
PASSES = [{"protocols": ["ours"]}, {"without": ["MTSExample"]}, {"entities": ["01"]}]
ALL = [(0, "a"), (0, "01"), (1, "a"), (1, "01"), (2, "01")]


@pytest.fixture
def profile(tmp_path, monkeypatch, small_runs):
    """Two made-up entities and three passes, in a root of their own."""
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    monkeypatch.delenv("LMMOE_FRESH", raising=False)
    monkeypatch.setattr(params.Profile, "load", lambda self, entity: FLEET[entity])
    monkeypatch.setattr(params.Profile, "present", property(lambda self: list(FLEET)))
    given = {"profile": "tiny", "dataset": "made-up", "detectors": {"MTSExample": {}}}
    return params.Profile(**given, passes=PASSES, vus_window=5)


@pytest.fixture
def published(tmp_path):
    """Where the profile's published table lies."""
    return tmp_path / "figures" / "tiny" / "runs.csv"


@pytest.fixture
def loaded(monkeypatch):
    """Note which entities are read."""
    seen = []

    def load(self, entity):
        seen.append(entity)
        return FLEET[entity]

    monkeypatch.setattr(params.Profile, "load", load)
    return seen


def test_without_a_published_table_all_jobs_have_work_and_nothing_is_read(profile, loaded):
    assert missing.jobs(profile) == ALL
    assert loaded == []


def test_with_every_row_published_no_job_has_work(profile, published, loaded):
    runs.accumulate(runs.table(profile), published)
    loaded.clear()
    assert missing.jobs(profile) == []
    assert loaded == ["a", "01"]  # each once, whatever the number of passes


def test_a_job_has_work_where_a_single_row_of_its_is_missing(profile, published):
    table = runs.table(profile)
    for number, line in table.iterrows():
        runs.accumulate(table.drop(index=number), published)
        [(part, entity)] = missing.jobs(profile)
        run = (line["detector"], line["protocol"], line["seed"])
        assert entity == line["entity"] and run in profile.plan(entity, part)
        published.unlink()


@pytest.mark.parametrize("column", ["key", "metrics"])
def test_rows_of_other_code_are_work(profile, published, column):
    table = runs.table(profile)
    table.loc[table["entity"] == "a", column] = "1234567890"
    runs.accumulate(table, published)
    assert missing.jobs(profile) == [(0, "a"), (1, "a")]


def test_published_failures_are_work(profile, published, monkeypatch):
    with monkeypatch.context() as patch:
        failing(patch, RuntimeError("no memory"))
        runs.accumulate(runs.table(profile), published)
    # The norm under the protocol "study" belongs to the last pass, which is for one entity.
    assert missing.jobs(profile) == [(0, "a"), (0, "01"), (2, "01")]


def test_another_vus_window_is_work(profile, published):
    runs.accumulate(runs.table(profile).assign(vus_window=6), published)
    assert missing.jobs(profile) == ALL


def test_a_fresh_report_has_all_the_work(profile, published, monkeypatch):
    runs.accumulate(runs.table(profile), published)
    monkeypatch.setenv("LMMOE_FRESH", "1")
    assert missing.jobs(profile) == ALL


def test_what_the_reports_own_jobs_left_is_not_looked_at(profile, tmp_path):
    """They are inputs of the report: a job whose table is there and up to date does not run."""
    runs.accumulate(runs.table(profile), tmp_path / "results" / "tiny" / "runs" / "0" / "a.csv")
    assert missing.jobs(profile) == ALL


def test_an_entity_that_cannot_be_read_is_left_to_its_own_job(profile, published, monkeypatch):
    runs.accumulate(runs.table(profile), published)

    def load(self, entity):
        if entity == "a":
            raise DataError("bad cell", file="a.csv", row=3)
        return FLEET[entity]

    monkeypatch.setattr(params.Profile, "load", load)
    assert missing.jobs(profile) == [(0, "a"), (1, "a")]


def test_a_profile_without_passes_has_one_job_an_entity(profile, published):
    plain = params.Profile(profile="tiny", dataset="made-up", detectors={"random": {}})
    assert missing.jobs(plain) == [(0, "a"), (0, "01")]


def test_as_a_program_it_writes_json(profile, published, tmp_path, monkeypatch):
    table = runs.table(profile)
    runs.accumulate(table[table["entity"] == "a"], published)
    monkeypatch.setattr("lmmoe.report.params.load", lambda path: profile)
    monkeypatch.setattr("lmmoe.report.execute.die_with_parent", lambda: None)
    monkeypatch.setenv("LMMOE_PROGRESS", "off")  # the job sets it: put back afterwards
    out = tmp_path / "new" / "missing.json"
    assert missing.main("tiny.yaml", str(out)) == 0
    assert json.loads(out.read_text()) == [[0, "01"], [1, "01"], [2, "01"]]
    assert sorted(path.name for path in out.parent.iterdir()) == ["missing.json", "missing.log"]


def test_a_profile_that_cannot_be_read_is_a_message_and_no_file(tmp_path):
    words = [
        sys.executable,
        "-m",
        "lmmoe.report.missing",
        "no-such.yaml",
        str(tmp_path / "out.json"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no-such.yaml: no such profile")
    assert not (tmp_path / "out.json").exists()


def test_rows_are_looked_up_by_what_the_table_holds(profile, published):
    """A table read back from its file knows the same runs as the one in memory."""
    table = runs.table(profile)
    runs.accumulate(table, published)
    assert set(runs.published(profile)) == {
        (line["key"], line["metrics"], line["vus_window"]) for line in table.to_dict("records")
    }
