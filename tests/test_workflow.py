"""The report as a whole: made, killed, made again, and remade only where something changed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
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
PATIENCE = 900  # seconds until something hangs, on a machine that is busy with other work
# Which runs have work is seen once "known" has looked, so a plan that begins there has none yet.
RULES = ("known", "data_exploration", "training", "comparison", "page")
RUNS = ("runs_0", "runs_1")


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
        timeout=PATIENCE,
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


def planned(project, *words):
    """The rules that a start would run now."""
    done = report(project, "--dry-run", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = (*RULES, *RUNS)
    return {rule for rule in rules if re.search(rf"^{rule}\s+\d+$", done.stdout, re.MULTILINE)}


def relatives(project):
    """Processes that work for this project."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        here = str(project) in words or str(project) in (process.info["cwd"] or "")
        if here and process.pid != os.getpid():
            found.append(process)
    return found


def records(project, output):
    """Where Snakemake marks an output that a job has begun, and notes what it was made from."""
    name = urlsafe_b64encode(str(output.relative_to(project)).encode()).decode()
    return (project / ".snakemake" / folder / name for folder in ("incomplete", "metadata"))


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
    for log in project.glob(sign):  # of the start before
        log.unlink()
    running = start(project)
    assert wait_until(lambda: list(project.glob(sign)), PATIENCE), running.stdout.read()
    time.sleep(0.7)
    finished = {path: path.read_bytes() for path in (project / "results").glob("tiny/runs/*/*.csv")}
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert wait_until(lambda: not relatives(project), 10), relatives(project)
    for path, content in finished.items():
        assert path.read_bytes() == content


def test_it_finishes_after_all_that(project):
    table = next((project / "results" / "tiny" / "runs").glob("*/*.csv"))
    mark, record = records(project, table)
    # As if killed between a job's end and Snakemake's note of it.
    record.unlink(missing_ok=True)
    mark.touch()
    done = report(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert record.is_file() and not mark.exists()
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
    assert {"found_by.png", "hard_events.csv"} <= names
    # The study ran on SMD alone: elsewhere its part has neither pictures nor headings.
    assert not [name for name in names if name.startswith(("study", "claims"))]
    headings = re.findall(r"<h\d[^>]*>([^<]*)", text)
    assert "The study's protocol " in headings and "The events of all entities " in headings
    assert not [one for one in headings if "one by one" in one or "own runs" in one]
    left = [path for path in project.rglob(".*") if path.is_file() and path.parent != project]
    assert not [path for path in left if ".snakemake" not in path.parts], left


def test_with_nothing_changed_nothing_runs(project):
    assert planned(project) == set()
    assert "known" in planned(project, "--fresh")


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
    module = project / "lmmoe" / "report" / "evaluation.py"
    kept = module.read_bytes()
    module.write_bytes(kept + b"\n# changed\n")
    assert planned(project) == set(RULES)
    module.write_bytes(kept)
    os.utime(module)  # touched, not changed
    assert planned(project) == set()


def test_a_fit_that_fails_is_a_message_in_the_notebook_of_its_entity(project):
    """A learning rate of 1e30 makes the loss infinite: `RuntimeError`, which is not bad data."""
    wild = TINY.replace("epochs: 1,", "epochs: 1, learning_rate: 1.0e+30,")
    (project / "params" / "wild.yaml").write_text(wild)
    out = project / "results" / "wild" / "web 1.ipynb"
    words = ["notebook", "params/wild.yaml", "notebooks/02_training.ipynb", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "lmmoe", *words, "--entity", "web 1"],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    said = "my data/web 1: LightMMoE failed here (RuntimeError: training diverged in epoch 1"
    assert f"DataError: {said}" in done.stderr
    errors = [
        output.evalue
        for cell in nbformat.read(out, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert len(errors) == 1 and errors[0].startswith(said)


def test_what_is_published_needs_no_job_and_a_second_start_is_refused_meanwhile(project):
    """Another key of the code, but the same rows: only what failed on bad data is tried again."""
    with (project / "lmmoe" / "report" / "plots" / "style.py").open("a") as module:
        module.write("\n# changed\n")
    before = pd.read_csv(project / "figures" / "tiny" / "runs.csv")
    running = start(project)
    # The lock is held by then.
    process = psutil.Process(running.pid)
    assert wait_until(lambda: "snakemake" in " ".join(process.cmdline()), PATIENCE)
    second = report(project)
    said, _ = running.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert "already" in second.stderr
    assert running.returncode == 0, said
    assert set(re.findall("fit and score the detectors on (.*)", said)) == {"brief, pass 1"}
    missing = project / "results" / "tiny" / "runs" / "missing.json"
    assert json.loads(missing.read_text()) == [[1, "brief"]]
    assert planned(project) == set()
    pd.testing.assert_frame_equal(pd.read_csv(project / "figures" / "tiny" / "runs.csv"), before)
