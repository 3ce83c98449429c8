"""How far work is: bars where somebody looks, lines in a file where nobody can."""

import io
import sys

from small import make, waves

from lmmoe import progress


def step_through(total=4):
    with progress.bar(total, "work", unit="step") as bar:
        for _ in range(total):
            bar.set_postfix(loss="0.5", refresh=False)
            bar.update()


def test_bars_are_for_terminals(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    for setting in ("off", ""):
        monkeypatch.setenv("LMMOE_PROGRESS", setting)
        step_through()
        assert capsys.readouterr() == ("", "")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    step_through()
    assert "work:" in terminal.getvalue() and "step" in terminal.getvalue()
    assert "\n" not in terminal.getvalue().strip()  # one line, which then goes away


def test_a_file_gets_whole_lines(monkeypatch, tmp_path, capsys):
    log = tmp_path / "work.log"
    monkeypatch.setenv("LMMOE_PROGRESS", str(log))
    step_through(total=500)  # far less than the seconds between two lines
    assert len(log.read_text().splitlines()) <= 2
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    log.write_text("before\n")
    step_through()
    make("LightMMoE").fit(waves(100))  # a bar of epochs
    first, *lines = log.read_text().splitlines()
    assert first == "before" and lines[0].startswith("work:   0%") and "0/4" in lines[0]
    assert any(line.startswith("work: 100%") and "loss=0.5" in line for line in lines)
    assert all(line.startswith(("work:", "LightMMoE:")) for line in lines)
    assert not {b"\x1b", b"\r"} & set(log.read_bytes()) and capsys.readouterr() == ("", "")
