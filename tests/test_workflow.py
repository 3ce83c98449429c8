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

ROOT = Path(__file__).parent.parent
# Own data in a relative folder: an entity with a space in its name, and one too short to forecast.
# Two passes, the second with what the first left.
TINY = """
dataset: my data
detectors:
  LightMMoE: {epochs: 1, experts: 2, hidden: 8, out: 8, tower: 4, batch: 256}
  MTSExample: {}
passes:
  - {without: [LightMMoE], protocols: [ours]}
  - {}
"""
RULES = ("runs_0", "runs_1", "data_exploration", "training", "comparison", "page")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy what the report is made from, with a profile that takes seconds."""
    home = tmp_path_factory.mktemp("my project")  # a space: every path must be quoted
    for name in ("lmmoe", "notebooks", "params"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", home)
    (home / "params" / "tiny.yaml").write_text(TINY)
    (home / "my data").mkdir()
    rows = np.random.default_rng(0).normal(size=(1200, 4))
    label = np.zeros(1200, dtype=int)
    for start in (800, 1000):
        rows[start : start + 20] += 4
        label[start : start + 20] = 1
    table = pd.DataFrame(rows, columns=list("abcd")).assign(label=label)
    table.to_csv(home / "my data" / "web 1.csv", index=False)
    table[790:820].to_csv(home / "my data" / "brief.csv", index=False)
    return home


def command(project, *words):
    return [sys.executable, "-m", "lmmoe", "report", "params/tiny.yaml", "--cores", "2", *words]


def environment(project):
    cache = {"LMMOE_CACHE": str(project / "results" / "cache")}
    return os.environ | cache | {"PYTHONPATH": str(project)}


def report(project, *words):
    return subprocess.run(
        command(project, *words),
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(project):
    return subprocess.Popen(
        command(project),
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def planned(project):
    """The rules that a start would run now."""
    done = report(project, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    return {rule for rule in RULES if re.search(rf"^{rule}\s+\d+$", done.stdout, re.MULTILINE)}


def relatives(project):
    """Processes that work for this project."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        here = str(project) in words or str(project) in (process.info["cwd"] or "")
        if here and process.pid != os.getpid():
            found.append(process)
    return found


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_an_unknown_key_stops_before_the_first_job(project):
    (project / "params" / "slip.yaml").write_text("dataset: synthetic\nepoch: 3\n")
    words = [sys.executable, "-m", "lmmoe", "report", "params/slip.yaml"]
    done = subprocess.run(
        words, cwd=project, env=environment(project), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "slip.yaml: unknown key 'epoch'" in done.stderr
    assert not (project / "results").exists()


# In turn: while the first runs compute, while notebooks execute, while the last ones do.
@pytest.mark.parametrize(
    "sign",
    ["results/tiny/runs/*/*.log", "results/tiny/02_training/*.log", "results/tiny/*05*.log"],
)
def test_killed_it_leaves_nothing_behind_and_goes_on(project, sign):
    running = start(project)
    assert wait_until(lambda: list(project.glob(sign)), 120), running.stdout.read()
    time.sleep(0.7)
    finished = {path: path.read_bytes() for path in (project / "results").glob("tiny/runs/*/*.csv")}
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert wait_until(lambda: not relatives(project), 10), relatives(project)
    for path, content in finished.items():
        assert path.read_bytes() == content


def test_it_finishes_after_all_that(project):
    done = report(project)
    assert done.returncode == 0, done.stdout + done.stderr
    page = project / "results" / "tiny" / "report.html"
    assert f"The report: {page.resolve()}" in done.stdout + done.stderr
    assert "100%" in done.stdout + done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") > 10
    assert "15 rows are too few for LightMMoE" in text  # said, and the rest went on
    rows = pd.read_csv(project / "figures" / "tiny" / "runs.csv")
    assert set(rows["detector"]) == {"LightMMoE", "MTSExample", "random"}
    assert set(rows.loc[rows["error"].notna(), "entity"]) == {"brief"}
    assert rows.loc[rows["entity"] == "web 1", "average_precision"].notna().all()
    passes = [pd.read_csv(page.parent / "runs" / n / "web 1.csv") for n in "01"]
    assert [len(part) for part in passes] == [2, 4]
    assert set(passes[0]["detector"] + passes[0]["protocol"]) == {"MTSExampleours", "randomours"}
    assert set(rows["key"]) >= {key for part in passes for key in part["key"]}
    assert len(rows) == 12 and rows["key"].is_unique
    figures = project / "figures" / "tiny"
    names = {path.name for path in figures.iterdir()}
    assert {"runs.csv", "provenance.json", "summary.csv", "adjustment.png", "data.csv"} <= names
    left = [path for path in project.rglob(".*") if path.is_file() and path.parent != project]
    assert not [path for path in left if ".snakemake" not in path.parts], left


def test_with_nothing_changed_nothing_runs(project):
    assert planned(project) == set()


def test_outputs_of_a_notebook_are_no_change(project):
    path = project / "notebooks" / "02_training.ipynb"
    book = nbformat.read(path, as_version=4)
    code = next(cell for cell in book.cells if cell.cell_type == "code")
    code.outputs.append(nbformat.v4.new_output("stream", text="seen"))
    nbformat.write(book, path)
    assert planned(project) == set()


def test_a_changed_notebook_runs_again_and_nothing_else(project):
    path = project / "notebooks" / "02_training.ipynb"
    kept = path.read_bytes()
    book = nbformat.read(path, as_version=4)
    book.cells[0].source += "\n\nOne more sentence."
    nbformat.write(book, path)
    assert planned(project) == {"training", "page"}
    path.write_bytes(kept)
    assert planned(project) == set()


def test_changed_parameters_and_code_run_again(project):
    profile = project / "params" / "tiny.yaml"
    profile.write_text(TINY + "seeds: [0, 1]\n")
    assert planned(project) == set(RULES)
    profile.write_text(TINY)
    assert planned(project) == set()
    module = project / "lmmoe" / "evaluation.py"
    kept = module.read_bytes()
    module.write_bytes(kept + b"\n# changed\n")
    assert planned(project) == set(RULES)
    module.write_bytes(kept)
    os.utime(module)  # touched, not changed
    assert planned(project) == set()


def test_a_second_start_beside_a_running_one_is_refused(project):
    (project / "results" / "tiny" / "report.html").unlink()
    running = start(project)
    assert wait_until(lambda: (project / ".snakemake" / "log").exists(), 60)
    assert wait_until(
        lambda: any("snakemake" in " ".join(p.cmdline()) for p in [psutil.Process(running.pid)]), 60
    )
    second = report(project)
    running.communicate(timeout=120)
    assert second.returncode == 1
    assert "already" in second.stderr
    assert running.returncode == 0
