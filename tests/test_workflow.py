"""The report as a whole: made, killed, made again, and remade only where something changed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from lmmoe import paths

ROOT = Path(__file__).parent.parent
# Own data in a relative folder. Its names mean something to shells, YAML and format strings.
TINY = """
dataset: "{prod}"
detectors:
  LightMMoE: {epochs: 1, experts: 2, hidden: 8, out: 8, tower: 4, batch: 256}
  MTSExample: {}
"""
PATIENCE = 900  # seconds until something hangs, on a machine that is busy with other work


def copy_of_the_project(home, profile):
    """Copy what a report is made from, with a profile that takes seconds."""
    for name in ("lmmoe", "notebooks", "params", "profiles"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", home)
    (home / "params" / "tiny.yaml").write_text(profile)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    home = tmp_path_factory.mktemp("my project") / "a #1"  # every path must be quoted
    copy_of_the_project(home, TINY)
    (home / "{prod}").mkdir()
    rows = np.random.default_rng(0).normal(size=(1200, 4))
    label = np.zeros(1200, dtype=int)
    for start in (800, 1000):
        rows[start : start + 20] += 4
        label[start : start + 20] = 1
    table = pd.DataFrame(rows, columns=["a{0}", "'b\"", "-c", "d #"]).assign(label=label)
    table.to_csv(home / "{prod}" / 'cpu{i="h1"} c{1}.csv', index=False)
    table[790:820].to_csv(home / "{prod}" / "-dash.csv", index=False)  # too short to forecast
    (home / "{prod}" / "spoilt.csv").write_text("a,b,c,d,label\n1,2,3,oops,0\n")
    return home


def start(project, *words, cache="results/cache"):
    """Start a command of the project's own module."""
    return subprocess.Popen(
        [sys.executable, "-m", "lmmoe", *words],
        cwd=project,
        env=os.environ | {"LMMOE_CACHE": str(project / cache), "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


WEB, BRIEF = 'cpu{i="h1"} c{1}', "-dash"
REPORT = ("report", "params/tiny.yaml", "--cores", "2")


def done(process):
    """Exit status of a command, and what it said."""
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def planned(project):
    """How many jobs of each rule a start would run now."""
    status, said = done(start(project, *REPORT, "--dry-run"))
    assert status == 0, said
    counts = re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)
    return {rule: int(count) for rule, count in counts if rule != "total"}


def relatives(project):
    """Processes that work for this project."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = " ".join([*(process.info["cmdline"] or []), process.info["cwd"] or ""])
        if str(project) in words and process.pid != os.getpid():
            found.append(process)
    return found


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.05)


def fits(project):
    """When each finished fit was written."""
    found = (project / "results" / "cache").glob("*/costs.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


def hidden(project):
    """Files under temporary names."""
    found = [path for path in project.rglob(".*") if path.is_file() and path.parent != project]
    return [path for path in found if ".snakemake" not in path.parts]


def test_an_unknown_key_stops_before_the_first_job(project):
    (project / "params" / "slip.yaml").write_text("dataset: synthetic\nepoch: 3\n")
    status, said = done(start(project, "report", "params/slip.yaml"))
    assert status == 1 and "slip.yaml: unknown key 'epoch'" in said
    assert not (project / "results").exists()


# When the first fit of a job is done, and while a notebook executes.
@pytest.mark.parametrize("sign", ["cache/*/costs.json", "tiny/02_training/*.log"])
def test_killed_it_leaves_nothing_behind_and_goes_on(project, sign):
    before, began = fits(project), time.time_ns()
    running = start(project, *REPORT)

    def begun():  # a sign of this start: it holds the lock
        found = (path.stat().st_mtime_ns for path in (project / "results").glob(sign))
        return running.poll() is not None or max(found, default=0) > began

    wait_until(begun)
    status, said = done(start(project, *REPORT))  # a second one beside it
    assert status == 1 and "already" in said
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    wait_until(lambda: not relatives(project))
    for left in hidden(project):  # goes a day later, when its file is written next
        os.utime(left, (1e9, 1e9))
    assert not (project / "results" / "tiny" / "report.html").exists()
    assert before.items() <= fits(project).items()  # nothing is fitted again


def test_it_finishes_after_all_that(project):
    before = fits(project)
    status, said = done(start(project, *REPORT))
    assert status == 0, said
    assert before and before.items() <= fits(project).items()
    results, figures = project / "results" / "tiny", project / "figures" / "tiny"
    page = results / "report.html"
    *_, place, left_out = said.splitlines()  # the last words
    assert place == f"The report: {page.resolve()}"
    assert left_out.startswith("Left out: ") and "spoilt.csv, row 0, column 'd'" in left_out
    assert "\r" not in said and len(said.splitlines()) < 200  # no bars where nobody looks
    assert page.read_text(encoding="utf-8").count("<img") > 10
    rows = pd.read_csv(figures / "runs.csv")
    runs = rows["detector"] + " " + rows["protocol"] + " " + rows["entity"]
    assert len(runs) == 6 and runs.is_unique
    assert rows.loc[rows["entity"] == WEB, "average_precision"].notna().all()
    # What cannot be fitted is said, and the rest went on.
    failed = rows[rows["error"].notna()]
    assert set(failed["entity"]) == {BRIEF} and set(failed["detector"]) == {"LightMMoE"}
    brief = nbformat.read(results / "02_training" / f"{paths.plain(BRIEF)}.ipynb", as_version=4)
    assert "15 rows are too few for LightMMoE" in str(brief)
    names = {path.name for path in figures.iterdir()}
    assert {"provenance.json", "honest.csv", "forest.png", "data.csv"} <= names
    assert not hidden(project)


def test_what_is_published_is_not_computed_again(project):
    out = project / "again.csv"
    words = ["run", "params/tiny.yaml", WEB, str(out)]
    assert done(start(project, *words, cache="empty"))[0] == 0
    published = pd.read_csv(project / "figures" / "tiny" / "runs.csv").set_index("key")
    again = pd.read_csv(out).set_index("key")
    pd.testing.assert_frame_equal(again, published.loc[again.index], check_dtype=False)
    assert not (project / "empty").exists()


def test_only_what_depends_on_a_change_runs_again(project):
    everything = {"run": 2, "collect": 1, "notebook": 5, "measurement": 2, "training": 2, "page": 1}
    path = project / "notebooks" / "02_training.ipynb"
    first = path.read_bytes()
    book = nbformat.reads(first.decode(), as_version=4)
    book.cells[3].outputs = [nbformat.v4.new_output("stream", text="seen")]
    nbformat.write(book, path)
    assert planned(project) == {}  # nothing changed: an output is none
    book.cells[0].source += "\n\nOne more sentence."
    nbformat.write(book, path)
    assert planned(project) == {"training": 2, "page": 1}
    path.write_bytes(first)
    for name, text, expected in (
        ("params/tiny.yaml", "seeds: [0, 1]\n", everything),
        ("lmmoe/report/evaluation.py", "# changed\n", everything),
        (f"{{prod}}/{BRIEF}.csv", "1,2,3,4,0\n", everything | {"run": 1, "training": 1}),
    ):
        path = project / name
        first = path.read_bytes()
        path.write_bytes(first + text.encode())
        assert planned(project) == expected, name
        path.write_bytes(first)
    assert planned(project) == {}  # all is as it was, though touched
