"""What a notebook leaves behind: the same bytes, all digits, whole files; and where it is from."""

import json
import subprocess

import numpy as np
import pandas as pd
from matplotlib import rc_context
from small import series

from lmmoe.report import experiment, measure
from lmmoe.report.outputs import Report
from lmmoe.report.plots.data import event_map
from lmmoe.report.profile import Profile


def test_out_counts_from_the_root_and_nothing_is_made_before_something_is_written(home):
    assert Report(Profile(), "figures/quick").folder == home / "figures" / "quick"
    assert Report(Profile(profile="mine")).folder == home / "results" / "mine"
    assert not (home / "figures").exists()


def test_a_figure_is_the_same_bytes_whatever_the_sessions_settings(home):
    report = Report(Profile(), "out")
    first = report.figure(event_map([series()]), "one").data
    with rc_context({"savefig.dpi": 30, "font.size": 20, "figure.constrained_layout.use": False}):
        assert report.figure(event_map([series()]), "two").data == first
    assert b"matplotlib" not in first.lower()  # no version inside
    assert sorted(path.name for path in report.folder.iterdir()) == ["one.png", "two.png"]


def test_a_table_is_written_with_all_digits_and_shown_rounded(home):
    report = Report(Profile(), "out")
    table = pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, np.nan], "count": [1, 2]})
    assert report.table(table, "numbers")["value"][0] == 0.333
    text = (report.folder / "numbers.csv").read_text()
    assert text == ",name,value,count\n0,a,0.3333333333,1\n1,b,,2\n"


def test_the_record_holds_what_makes_a_result_again(home):
    rows = {"entity": ["a", "b", "b"], "data": ["id of a", "id of b", "id of b"]}
    rows |= {"detector": ["MTSExample", "MTSExample", "random"], "version": ["1", "1", "3"]}
    rows |= {"error": [None, None, "ValueError: bad"]}
    profile = Profile(seeds=[0, 1])
    report = Report(profile, "out")
    report.provenance(profile, pd.DataFrame(rows).reindex(columns=experiment.ALL))
    facts = json.loads((report.folder / "provenance.json").read_text(encoding="utf-8"))
    assert Profile(**facts["parameters"]) == profile
    assert facts["data"] == {"a": "id of a", "b": "id of b"}
    assert facts["detector_versions"] == {"MTSExample": "1", "random": "3"}
    assert (facts["runs"], facts["failed"]) == (3, 1)
    assert facts["versions"]["torch"].startswith("2.") and facts["commit"] == "unknown"


def test_the_commit_says_where_code_differs(home, monkeypatch):
    def git(*words):
        words = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *words]
        return subprocess.check_output(words, cwd=home, text=True).strip()

    git("init", "--quiet")
    assert measure.commit() == "unknown"  # no commit yet
    (home / "lmmoe").mkdir()
    (home / "lmmoe" / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (home / "results.txt").write_text("no code")
    assert measure.commit() == git("rev-parse", "HEAD")
    (home / "lmmoe" / "code.py").write_text("2\n")
    assert measure.commit() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert measure.commit() == "unknown"  # no program
