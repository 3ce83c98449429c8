import hashlib
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from mirror import BASE, TREE, TREE_BLOBS, Mirror, fill, hang, put, status

from lmmoe.__main__ import _bar, main
from lmmoe.data import DATASETS
from lmmoe.errors import DataError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No proxy, no bars, no data of this machine's."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LMMOE_PROGRESS", "off")
    monkeypatch.delenv("LMMOE_DATA", raising=False)


@pytest.fixture
def listed(monkeypatch):
    """The made-up files stand for the published ones."""
    monkeypatch.setattr("lmmoe.data.fetch.published_blobs", lambda: TREE_BLOBS)


def run(*arguments, **options):
    command = [sys.executable, "-m", "lmmoe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


# --- the frame ---


def test_help_names_the_commands():
    done = run("--help")
    assert done.returncode == 0
    assert "fetch" in done.stdout
    assert "list the data sets" in done.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys, lmmoe, lmmoe.__main__ as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pandas', 'torch', 'requests', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["fetch"], ["fetch", "asd"]])
def test_bad_usage_is_exit_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m lmmoe" in capsys.readouterr().err


def test_a_data_error_is_a_message_and_exit_status_1(monkeypatch, capsys):
    def fail(*arguments, **options):
        raise DataError("bad cell", file="a.csv", row=3)

    monkeypatch.setattr("lmmoe.data.fetch.holding", fail)
    assert main(["data"]) == 1
    assert capsys.readouterr().err == "error: a.csv, row 3: bad cell\n"


def test_ctrl_c_is_exit_status_130(monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lmmoe.data.fetch.fetch_smd", interrupt)
    assert main(["fetch", "smd"]) == 130
    assert "interrupted" in capsys.readouterr().err


# --- fetch ---


def test_fetch_fills_the_root_and_says_so(listed, tmp_path, capsys):
    with Mirror(TREE) as mirror:
        arguments = ["fetch", "smd", "--root", str(tmp_path), "--url", mirror.url]
        assert main(arguments) == 0
        said = capsys.readouterr().out
        assert said == f"{tmp_path}: 9 files fetched (0.0 MB), 0 were there already\n"
        assert main(arguments) == 0
        assert "0 files fetched (0.0 MB), 9 were there already" in capsys.readouterr().out
        assert len(mirror.asked) == 9
    assert (tmp_path / "SMD" / BASE / "test/machine-1-2.txt").read_bytes() == b"test 2\n"


def test_fetch_can_be_limited_and_takes_the_root_from_the_environment(
    listed, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("LMMOE_DATA", str(tmp_path))
    with Mirror(TREE) as mirror:
        assert main(["fetch", "smd", "--url", mirror.url, "--entity", "machine-1-2"]) == 0
    assert "5 files fetched" in capsys.readouterr().out
    names = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert names == {"LICENSE", "machine-1-2.txt"}


def test_fetch_as_a_program_tells_what_failed(tmp_path):
    with Mirror({}) as mirror:
        options = ["--url", mirror.url, "--entity", "machine-1-1", "--entity", "machine-3-11"]
        done = run("fetch", "smd", "--root", tmp_path, *options)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: 9 of 9 files could not be fetched:\n")
    assert f"{mirror.url}/{BASE}/train/machine-3-11.txt: the server says 404" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(mirror.asked) == 9


def test_ctrl_c_ends_the_program_without_a_traceback(tmp_path):
    with Mirror({f"{BASE}/LICENSE": b"x" * 100}) as mirror:
        mirror.plans[f"{BASE}/LICENSE"] = [hang(mirror.go_on, 50)]
        command = [sys.executable, "-m", "lmmoe", "fetch", "smd", "--url", mirror.url]
        # Who starts the tests in the background of a shell has SIGINT ignored, and so all children.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        program = subprocess.Popen(
            [*command, "--root", str(tmp_path)], stderr=subprocess.PIPE, text=True, preexec_fn=heard
        )
        patience = time.monotonic() + 30
        while not mirror.asked and time.monotonic() < patience:
            time.sleep(0.02)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=30)
    assert program.returncode == 130
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said


def test_fetch_moves_the_bar(listed, tmp_path, monkeypatch):
    log = tmp_path / "bars"
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    monkeypatch.setattr("lmmoe.progress.SECONDS_BETWEEN_LINES", 0)
    with Mirror(TREE) as mirror:
        mirror.plans[f"{BASE}/LICENSE"] = [status(503, Retry_After=0)]
        assert main(["fetch", "smd", "--root", str(tmp_path), "--url", mirror.url]) == 0
    drawn = log.read_text()
    assert "fetch smd" in drawn
    assert "9/9" in drawn
    assert f"0.0 MB {BASE}/test/machine-1-2.txt" in drawn


def test_the_bar_is_drawn_while_one_file_is_loading(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMOE_PROGRESS", str(tmp_path / "bars"))
    monkeypatch.setattr("lmmoe.progress.SECONDS_BETWEEN_LINES", 0)
    with _bar("fetch", " files") as progress:
        progress(1, 2, "at the start")
        for _ in range(20):
            progress(1, 2, "in the middle")
    assert "in the middle" in (tmp_path / "bars").read_text()


# --- data ---


def test_an_empty_root_lists_the_layouts(tmp_path, capsys):
    assert main(["data", "--root", str(tmp_path / "typo")]) == 0
    assert capsys.readouterr().out.startswith(f"data root: {tmp_path / 'typo'} (no such folder)\n")
    assert main(["data", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[:3] == [
        f"data root: {tmp_path}",
        "smd        not here: python -m lmmoe fetch smd",
        "asd        not here",
    ]
    for name in DATASETS:
        assert sum(line.startswith(f"{name:<10} ") for line in lines) == 1
    assert {"smd:", "smap, msl:", "asd, psm, swat:"} < {*lines} and "synthetic:" not in lines
    assert "<root>/SMD/ServerMachineDataset/ with the folders train, test" in said


def test_a_wrong_file_is_named_and_the_exit_status_is_1(listed, tmp_path, capsys):
    fill(tmp_path)
    assert main(["data", "--root", str(tmp_path)]) == 0
    bad = tmp_path / "SMD" / BASE / "test" / "machine-1-2.txt"
    put(bad, b"test 3\n")
    assert main(["data", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "8 files right, 1 wrong, 0 missing" in said
    assert "1 of 2 machines complete" in said
    expected = TREE_BLOBS[f"{BASE}/test/machine-1-2.txt"]
    got = hashlib.sha1(b"blob 7\0test 3\n").hexdigest()
    assert f"wrong: {bad}: git blob id {got}, expected {expected}" in said


def test_check_reads_every_entity_and_names_the_bad_one(root, capsys):
    bad = root / "ASD" / "omi-2" / "test.npy"
    np.save(bad, [[1.0, np.nan]])
    done = run("data", env={**os.environ, "LMMOE_DATA": str(root)})
    assert "\nasd        2 entities, 0.0 MB on disk, 11 rows, 2 channels\n" in done.stdout
    assert main(["data", "--root", str(root), "--check"]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 entities read without error" in said
    assert f"wrong: omi-2: {bad}, row 0, column 1: nan" in said
