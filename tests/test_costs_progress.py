"""Measuring what work costs, and telling how far it is."""

import io
import platform
import threading
import time

import pytest
from tqdm import std

from lmmoe import progress
from lmmoe.report import measure as costs

# --- costs ---


def test_seconds_are_wall_seconds():
    with costs.measured() as cost:
        assert cost == costs.Cost(0.0, 0.0)
        time.sleep(0.12)
    assert 0.12 <= cost.seconds < 10


def test_memory_is_the_peak_above_the_start():
    with costs.measured() as cost:
        held = bytearray(60_000_000)
        held[::4096] = bytes([1]) * len(held[::4096])  # touched pages only are resident
        time.sleep(5 * costs.INTERVAL)
        del held
    assert 40 < cost.peak_mb < 200
    with costs.measured() as idle:
        pass
    assert 0 <= idle.peak_mb < 40


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is given back by glibc only")
def test_memory_that_was_used_before_is_seen_again():
    def use():
        # Small blocks: the C library keeps them when they are freed, above all below one in use.
        blocks = [bytearray(1000) for _ in range(50_000)]
        time.sleep(5 * costs.INTERVAL)
        return blocks[-1]

    with costs.measured() as first:
        above = use()
    with costs.measured() as second:
        use()
    assert 45 < first.peak_mb < 80
    assert 40 < second.peak_mb < 80
    assert len(above) == 1000


def test_an_error_ends_the_watch_and_comes_through():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), costs.measured() as cost:
        time.sleep(0.02)
        raise ZeroDivisionError
    assert cost.seconds >= 0.02
    assert threading.active_count() == before


def test_measures_may_be_nested():
    with costs.measured() as outer:
        with costs.measured() as inner:
            time.sleep(0.03)
        time.sleep(0.03)
    assert outer.seconds >= inner.seconds + 0.03


# --- progress ---


def step_through(total=4):
    with progress.bar(total, "work", unit="step") as bar:
        for _ in range(total):
            bar.set_postfix(loss="0.5", refresh=False)
            bar.update()
        return not bar.disable  # closing sets it


def test_off_means_nothing_at_all(monkeypatch, capsys):
    monkeypatch.setenv("LMMOE_PROGRESS", "off")
    assert not step_through()
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.delenv("LMMOE_PROGRESS")
    monkeypatch.setattr(progress, "_in_notebook", lambda: False)
    step_through()
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("LMMOE_PROGRESS")
    monkeypatch.setattr(progress, "_in_notebook", lambda: False)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert step_through()
    assert "work:" in terminal.getvalue() and "step" in terminal.getvalue()
    assert "\n" not in terminal.getvalue().strip()  # one line, which then goes away


def test_a_file_gets_lines(monkeypatch, tmp_path, capsys):
    log = tmp_path / "work.log"
    log.write_text("before\n")
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    step_through()
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[1].startswith("work:   0%") and "0/4" in lines[1]
    assert any(line.startswith("work: 100%") and "4/4" in line for line in lines)
    assert any("loss=0.5" in line for line in lines)
    assert all(line.isascii() and line == line.strip() and line for line in lines)
    assert capsys.readouterr() == ("", "")


def test_lines_are_few(monkeypatch, tmp_path):
    log = tmp_path / "work.log"
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    step_through(total=500)  # far less than SECONDS_BETWEEN_LINES
    assert len(log.read_text().splitlines()) <= 2


def test_a_bar_in_a_bar_leaves_whole_lines(monkeypatch, tmp_path):
    log = tmp_path / "work.log"
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.bar(2, "outer", unit="epoch") as outer:
        for _ in range(2):
            with progress.bar(2, "inner", unit="batch", inner=True) as inner:
                inner.update(2)
            outer.update()
    for line in log.read_text().splitlines():
        assert line.startswith(("outer:", "inner:"))
        assert "\x1b" not in line
    assert b"\r" not in log.read_bytes()


def test_an_error_in_the_work_comes_through(monkeypatch, tmp_path):
    monkeypatch.setenv("LMMOE_PROGRESS", str(tmp_path / "work.log"))
    with pytest.raises(ZeroDivisionError), progress.bar(2, "work", unit="step"):
        raise ZeroDivisionError
    assert not [bar for bar in getattr(std.tqdm, "_instances", ()) if not bar.disable]


def test_fitting_shows_epochs_and_batches(monkeypatch, tmp_path):
    from small import make, waves

    log = tmp_path / "fit.log"
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    make("LightMMoE").fit(waves(100))
    text = log.read_text()
    assert "LightMMoE: 100%" in text and "2/2" in text
    assert "epoch 1:" in text and "epoch 2:" in text
