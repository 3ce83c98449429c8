"""What a notebook leaves behind: the same bytes, all digits, whole files; and where it is from."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from small import series

from lmmoe.report import provenance, runs
from lmmoe.report.outputs import Report
from lmmoe.report.params import Profile, overrides
from lmmoe.report.plots import event_map


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project's root, with the shell in its notebooks."""
    (tmp_path / "Snakefile").touch()
    for folder in ("lmmoe", "notebooks"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


@pytest.fixture
def report(home):
    return Report(Profile(), "out")


def drawing():
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([1, 3, 2])
    return figure


# --- places ---


def test_out_counts_from_the_root(home):
    assert Report(Profile(), "figures/quick").folder == home / "figures" / "quick"
    assert Report(Profile(profile="mine")).folder == home / "results" / "mine"
    assert Report(Profile(), str(home / "else")).folder == home / "else"
    assert Report(Profile(), "out").file("runs.csv") == home / "out" / "runs.csv"


def test_nothing_is_made_before_something_is_written(report):
    assert not report.folder.exists()


# --- figures ---


def test_a_figure_is_the_same_bytes_each_time(report):
    shown = report.figure(drawing(), "one")
    first = report.file("one.png").read_bytes()
    report.figure(drawing(), "one")
    report.figure(drawing(), "two")
    assert report.file("one.png").read_bytes() == report.file("two.png").read_bytes() == first
    assert shown.data == first and shown.width == 4 * 96
    assert b"matplotlib" not in first.lower()  # no version inside
    assert sorted(path.name for path in report.folder.iterdir()) == ["one.png", "two.png"]


def test_a_figure_does_not_depend_on_the_sessions_settings(report):
    first = report.figure(event_map([series()]), "one").data
    with rc_context({"savefig.dpi": 30, "font.size": 20, "figure.constrained_layout.use": False}):
        assert report.figure(event_map([series()]), "one").data == first


def test_a_figure_is_the_same_in_another_process(report):
    report.figure(event_map([series()]), "here")
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from small import series; from lmmoe.report.params import Profile\n"
        "from lmmoe.report.plots import *\n"
        "from lmmoe.report.outputs import Report; Report(Profile(), sys.argv[1]).figure("
        "event_map([series()]), 'there')"
    )
    words = [sys.executable, "-c", code, str(report.folder), __file__.rpartition("/")[0]]
    subprocess.run(words, check=True)
    assert report.file("there.png").read_bytes() == report.file("here.png").read_bytes()


def test_a_figure_that_fails_leaves_the_old_one(report, monkeypatch):
    before = report.figure(drawing(), "one").data

    def fails(self, path, **given):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError, match="disk full"):
        report.figure(drawing(), "one")
    assert report.file("one.png").read_bytes() == before
    assert [path.name for path in report.folder.iterdir()] == ["one.png"]


# --- tables and facts ---


def test_a_table_is_written_with_all_digits_and_shown_rounded(report):
    table = pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, 2.0], "count": [1, 2]}, index=[5, 6])
    before = table.copy()
    shown = report.table(table, "numbers")
    assert shown["value"].tolist() == [0.333, 2.0] and shown["name"].tolist() == ["a", "b"]
    assert report.table(table, "numbers", digits=1)["value"].tolist() == [0.3, 2.0]
    pd.testing.assert_frame_equal(table, before)
    text = report.file("numbers.csv").read_text()
    assert text == ",name,value,count\n5,a,0.3333333333,1\n6,b,2,2\n"
    back = pd.read_csv(report.file("numbers.csv"), index_col=0)
    pd.testing.assert_frame_equal(back, table, rtol=1e-9)


def test_gaps_stay_gaps(report):
    table = pd.DataFrame({"value": [np.nan, 1.0]}, index=pd.Index(["a", "b"], name="detector"))
    assert report.table(table, "gaps")["value"].isna().tolist() == [True, False]
    assert report.file("gaps.csv").read_text() == "detector,value\na,\nb,1\n"


def test_facts_are_json(report):
    report.facts({"created": "now", "übrig": [1, 2.5, None], "inner": {"a": True}}, "facts")
    text = report.file("facts.json").read_text(encoding="utf-8")
    assert "übrig" in text and "\n" in text
    assert json.loads(text) == {"created": "now", "übrig": [1, 2.5, None], "inner": {"a": True}}
    with pytest.raises(TypeError):
        report.facts({"a": object()}, "facts")
    assert report.file("facts.json").read_text(encoding="utf-8") == text


# --- provenance ---


@pytest.fixture
def rows():
    runs_of = [("a", "MTSExample", 0), ("b", "MTSExample", 0), ("b", "random", 1)]
    table = pd.DataFrame(
        {
            "entity": [entity for entity, _, _ in runs_of],
            "data": [f"id of {entity}" for entity, _, _ in runs_of],
            "detector": [detector for _, detector, _ in runs_of],
            "version": [f"version of {detector}" for _, detector, _ in runs_of],
            "seed": [seed for _, _, seed in runs_of],
            "train_seconds": [1.0, 2.25, np.nan],
            "score_seconds": [0.5, 0.5, np.nan],
            "error": [None, None, "ValueError: bad"],
        }
    )
    return runs.ordered(table)


def test_the_record_holds_what_makes_a_result_again(home, rows):
    facts = provenance.record(Profile(seeds=[0, 1]), rows)
    assert facts["parameters"] == overrides(Profile(seeds=[0, 1]))
    assert facts["data"] == {"a": "id of a", "b": "id of b"}
    assert facts["detector_versions"] == {
        "MTSExample": "version of MTSExample",
        "random": "version of random",
    }
    assert facts["seeds"] == [0, 1]
    assert (facts["runs"], facts["failed"]) == (3, 1)
    assert facts["seconds"] == {"train_seconds": 3.2, "score_seconds": 1.0}
    assert facts["versions"]["torch"].startswith("2.")
    assert facts["versions"]["lmmoe"] != "not installed"
    assert facts["created"].endswith("+00:00")
    assert json.loads(json.dumps(facts)) == facts


def test_a_package_that_is_not_there_is_said_to_be_missing(home, rows, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    versions = provenance.record(Profile(), rows)["versions"]
    assert versions == {"numpy": np.__version__, "no-such-package": "not installed"}


def test_without_git_the_commit_is_unknown(home, monkeypatch):
    assert provenance.commit() == "unknown"  # no repository
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == "unknown"  # no program


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")
def test_the_commit_says_where_code_differs(home, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@b.c")

    def git(*words):
        done = subprocess.run(["git", *words], cwd=home, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    assert provenance.commit() == "unknown"  # no commit yet
    (home / "lmmoe" / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert provenance.commit() == head
    (home / "results.txt").write_text("no code")
    assert provenance.commit() == head
    (home / "lmmoe" / "code.py").write_text("2\n")
    assert provenance.commit() == f"{head}-dirty"
    git("checkout", "--quiet", "lmmoe")
    (home / "notebooks" / "new.ipynb").write_text("{}")
    assert provenance.commit() == f"{head}-dirty"
