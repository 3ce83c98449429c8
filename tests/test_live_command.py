"""What the commands refuse before any work, and files that they may not replace."""

import os

import numpy as np
import pandas as pd
import pytest
from test_live_run import LINES, here
from watched import TRAIN, csv, model

import lmmoe
from lmmoe import live
from lmmoe.__main__ import main
from lmmoe.errors import DataError
from lmmoe.live import outputs, run
from lmmoe.live.model import Model


@pytest.fixture
def files(tmp_path):
    """A table and a model."""
    table = tmp_path / "week.csv"
    table.write_bytes(b"\n".join(csv(TRAIN)))
    return table, model("MTSExample").save(tmp_path / "m.safetensors")


def refused(words, message, capsys):
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert message in said.err, said.err


def test_nothing_but_files_of_its_own_kind_is_replaced(files, tmp_path, capsys):
    table, made = files
    before = [file.read_bytes() for file in files]
    link = tmp_path / "link.csv"
    link.symlink_to(table)
    same = "read and to be written at once"
    for words, message in (
        (["watch", made, "--state", made], f"m.safetensors: {same}: the state would replace"),
        (["watch", made, "--state", table], "week.csv: there, and no state of lmmoe: not replaced"),
        (["watch", made, "--state", tmp_path], "a folder. Name a file for the state"),
        (["fit", table, "-o", table], f"week.csv: {same}: the model would replace"),
        (["fit", table, "-o", link], f"link.csv: {same}"),
        (["fit", made, "-o", table], "week.csv: there, and no model of lmmoe"),
        (["fit", table, "-o", tmp_path], "a folder. Name a file for the model"),
        (["fit", table, "-o", table / "m"], "the model cannot be written there"),
        (["export", made, made], f"m.safetensors: {same}: the ONNX file would replace"),
        (["export", made, table], "week.csv: there, and no ONNX file of lmmoe"),
        (["export", made, table / "m.onnx"], "the ONNX file cannot be written there"),
    ):
        refused(words, message, capsys)
    assert [file.read_bytes() for file in files] == before


def test_files_of_its_own_kind_are_replaced(files, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    outputs.check(empty, "state")
    outputs.check(files[1], "model", files[0])
    outputs.check(live.Watch(model(), threshold=1.0).save(tmp_path / "s"), "state", files[1])
    long = tmp_path / "long.onnx"  # its mark stands at the end
    long.write_bytes(bytes(3 * outputs.LOOK) + b"lmmoe onnx 1")
    outputs.check(long, "ONNX file")
    with pytest.raises(DataError, match="there, and no model of lmmoe"):
        outputs.check(os.devnull, "model")


def test_the_place_of_the_alarms_is_not_for_the_state(files, tmp_path):
    out = tmp_path / "alarms"
    with out.open("wb") as file, pytest.raises(DataError, match="would replace what is read"):
        run.watch(files[1], state=out, sink=file.fileno())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--step", "nan"], "step=nan: a number above 0 is needed"),
        (["--top", "0"], "top=0: a whole number from 1 on is needed"),
        (["--rows-per-day", "0"], "rows_per_day=0.0: a number above 0 is needed"),
        (["--save-every", "0"], "save_every=0: a whole number from 1 on is needed"),
        (["--host", "0.0.0.0"], "host '0.0.0.0' without metrics. Give their port, too (--metrics)"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(files, words, message, capsys):
    refused(["watch", files[1], *words], message, capsys)


def test_hints_name_the_options(files, tmp_path, capsys):
    table, made = files
    lines = csv(TRAIN)
    cells = lines[9].split(b",")
    table.write_bytes(b"\n".join([*lines[:9], b",".join([cells[0], b"", *cells[2:]]), *lines[10:]]))
    out = tmp_path / "new"
    refused(["fit", table, "-o", out], "--missing fill repeats the channel's last value", capsys)
    lmmoe.save_detector(Model.load(made).detector, out)
    assert main(["watch", str(out)]) == 1
    assert "give rows_per_day (--rows-per-day)" in capsys.readouterr().err


def test_a_full_disk_is_told_after_the_fit(files, tmp_path, monkeypatch, capsys):
    def full(self, path):
        raise OSError("no space left")

    monkeypatch.setattr(Model, "save", full)
    words = ["fit", files[0], "-o", tmp_path / "new", "--detector", "MTSExample"]
    refused(words, "new: the model cannot be written (no space left)", capsys)


def test_a_plain_detector_is_told_to_be_unguarded(tmp_path, capfd):
    path = lmmoe.save_detector(model().detector, tmp_path / "plain.safetensors")
    with open(os.devnull, "wb") as sink:
        assert here(path, LINES, sink.fileno()) == 0
    assert "a plain detector, without a checksum: damage to its" in capfd.readouterr().err


def test_the_port_of_the_metrics_is_told(files, capfd):
    with open(os.devnull, "wb") as sink:
        assert here(files[1], LINES, sink.fileno(), metrics=0) == 0
    said = capfd.readouterr().err.splitlines()
    port = said[0].removeprefix("metrics: http://127.0.0.1:").removesuffix("/metrics")
    assert 0 < int(port) < 65536


# --- what fit finds out about times ---

STAMPS = pd.date_range("2024-01-13", periods=60, freq="min")


@pytest.mark.parametrize(
    ("place", "name", "form", "given", "expected"),
    [
        (0, "time", "%Y-%m-%d %H:%M", None, ("time", None, True)),
        (2, "time", "%Y-%m-%d %H:%M", None, ("time", None, True)),
        (2, "Date", "%m/%d/%Y %H:%M", None, ("Date", "%m/%d/%Y %H:%M", True)),
        (0, "when", "%d/%m/%Y %H:%M:%S", None, ("when", "%d/%m/%Y %H:%M:%S", True)),
        (1, "when", "%d.%m.%Y %H:%M", "when", ("when", "%d.%m.%Y %H:%M", True)),
        (2, "ts_ms", "%s", "ts_ms", ("ts_ms", None, False)),
    ],
)
def test_the_time_column_and_its_form_are_kept(tmp_path, place, name, form, given, expected):
    text = [str(60_000 * n) for n in range(60)] if form == "%s" else STAMPS.strftime(form)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    frame.insert(place, name, text)
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    facts = live.fit(path, detector="MTSExample", time=given)[0].facts
    assert (facts.time, facts.pattern, facts.dates) == expected and facts.channels == ("a", "b")
    made = live.Watch(live.fit(path, detector="MTSExample", time=given)[0], threshold=1.0, tell=str)
    for line in path.read_bytes().splitlines():
        made.feed(line)
    assert made.scored == 60 and made.clock.latest is not None and not made.mended


def test_days_that_come_first_are_known_by_later_rows(tmp_path):
    """On the first of January both ways of writing give the same date."""
    stamps = pd.date_range("2024-01-01", "2024-01-15", freq="h")
    frame = pd.DataFrame({"at": stamps.strftime("%d/%m/%Y %H:%M"), "a": np.arange(len(stamps))})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    facts = live.fit(tmp_path / "rows.csv", detector="MTSExample")[0].facts
    assert (facts.time, facts.pattern, facts.step) == ("at", "%d/%m/%Y %H:%M", 3600)


def test_rows_without_names_or_of_parquet(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("\n".join(f"{stamp:%m/%d/%Y %H:%M},{n},1" for n, stamp in enumerate(STAMPS)))
    facts = live.fit(path, detector="MTSExample")[0].facts
    assert (facts.time, facts.pattern, facts.step) == (None, "%m/%d/%Y %H:%M", 60)
    frame = pd.DataFrame({"a": np.arange(60.0), "at": STAMPS})
    frame.to_parquet(tmp_path / "rows.parquet")
    facts = live.fit(tmp_path / "rows.parquet", detector="MTSExample", time="at")[0].facts
    assert (facts.time, facts.pattern, facts.step) == ("at", None, 60)
