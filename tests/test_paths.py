"""Where things lie, files that are whole or not there, and how far work is."""

import io
import os

import pytest

from lmmoe import paths, progress


def test_replacing_shows_the_file_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "table[1].csv"
    with paths.replacing(path) as part:
        assert part.suffix == ".csv" and part.parent == path.parent
        part.write_text("1")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), paths.replacing(path) as part:
        part.write_text("2")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), paths.replacing(path):
        pass  # nothing was written
    assert path.read_text() == "1"
    assert list(path.parent.iterdir()) == [path]
    dead, living, other = (  # what a killed process left is removed
        path.with_name(f".{stem}.{pid}.csv")
        for stem, pid in (("table[1]", 2**22 + 1), ("table[1]", os.getppid()), ("b", 2**22 + 1))
    )
    for left in (dead, living, other):
        left.write_text("half")
    with paths.replacing(path) as part:
        part.write_text("whole")
    assert sorted(path.parent.iterdir()) == sorted([path, living, other])


def test_home_is_the_nearest_folder_with_a_snakefile(tmp_path, monkeypatch):
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "lmmoe").mkdir()
    (tmp_path / "project" / "Snakefile").touch()
    monkeypatch.chdir(inner)
    assert paths.home() == tmp_path / "project"
    assert paths.results("p") == tmp_path / "project" / "results" / "p"
    assert paths.figures("p") == tmp_path / "project" / "figures" / "p"
    monkeypatch.delenv("LMMOE_CACHE")
    assert paths.cache() == tmp_path / "project" / "results" / "cache"
    monkeypatch.chdir(tmp_path)
    assert (paths.home() / "lmmoe" / "paths.py").is_file()


# --- progress ---


def step_through():
    with progress.bar(4, "outer", unit="step") as outer:
        for _ in range(4):
            with progress.bar(2, "inner", unit="batch", inner=True) as inner:
                inner.update(2)
            outer.set_postfix(loss="0.5", refresh=False)
            outer.update()
        return not outer.disable  # closing sets it


def test_bars_are_for_terminals(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("LMMOE_PROGRESS", "off")
    assert not step_through()
    monkeypatch.delenv("LMMOE_PROGRESS")
    monkeypatch.setattr(progress, "_in_notebook", lambda: False)
    step_through()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert step_through()
    assert "outer:" in terminal.getvalue() and "step" in terminal.getvalue()


def test_a_file_gets_lines(monkeypatch, tmp_path, capsys):
    log = tmp_path / "work.log"
    log.write_text("before\n")
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    with progress.bar(500, "outer", unit="step") as bar:
        for _ in range(500):  # far less than SECONDS_BETWEEN_LINES
            bar.update()
    assert len(log.read_text().splitlines()) <= 3
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    step_through()
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert any(line.startswith("outer: 100%") and "4/4" in line for line in lines)
    assert any("loss=0.5" in line for line in lines)
    assert all(line.startswith(("outer:", "inner:")) and line.isascii() for line in lines[1:])
    assert b"\r" not in log.read_bytes() and b"\x1b" not in log.read_bytes()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ZeroDivisionError), progress.bar(2, "work", unit="step"):
        raise ZeroDivisionError


def test_fitting_shows_epochs_and_batches(monkeypatch, tmp_path):
    from small import make, waves

    log = tmp_path / "fit.log"
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    make("LightMMoE").fit(waves(100))
    text = log.read_text()
    assert "LightMMoE: 100%" in text and "2/2" in text
    assert "epoch 1:" in text and "epoch 2:" in text
