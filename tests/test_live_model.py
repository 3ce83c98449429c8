"""From a table to a model, the facts that travel with it, and the commands."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from test_live_pipe import LINES, here
from watched import NAMES, TRAIN, csv, fitted, model

import lmmoe
from lmmoe import live
from lmmoe.__main__ import main
from lmmoe.detectors import saving
from lmmoe.errors import DataError
from lmmoe.live import outputs, pipe
from lmmoe.live.model import Model

SMALL = ["window=4", "experts=2", "kernels=[2]", "hidden=4", "out=3", "tower=2", "epochs=1"]
SETTINGS = {"window": 4, "experts": 2, "kernels": [2], "hidden": 4, "out": 3, "tower": 2}
SETTINGS["epochs"] = 1


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "week.csv"
    path.write_bytes(b"\n".join(csv(TRAIN)))
    return path


def test_a_table_becomes_a_model_that_a_watch_can_use(table, tmp_path):
    made, notes = live.fit(table, settings=SETTINGS, seed=3)
    facts = made.facts
    assert notes == [] and made.detector.name == "LightMMoE" and made.detector.seed == 3
    assert facts.channels == NAMES and facts.named and facts.rows == len(TRAIN)
    assert facts.step == 60 and facts.dates and facts.rows_per_day == 1440
    assert facts.means == pytest.approx(TRAIN.mean(axis=0))
    assert facts.deviations == pytest.approx(TRAIN.std(axis=0))
    direct = lmmoe.detector("LightMMoE", seed=3, **SETTINGS).fit(TRAIN)
    assert np.array_equal(direct.decision_scores_, made.detector.decision_scores_)
    path = made.save(tmp_path / "m.safetensors")
    back = Model.load(path)
    assert back.facts == facts and back.fingerprint == made.fingerprint
    assert np.array_equal(back.calibration, made.calibration)
    assert live.Stream(back).alarm.threshold == live.Stream(made).alarm.threshold
    assert lmmoe.load_detector(path).settings == made.detector.settings


STAMPS = pd.date_range("2024-01-13", periods=60, freq="min")


def test_the_time_column_and_its_form_are_kept(tmp_path):
    path = tmp_path / "rows.csv"
    for place, name, form, given, pattern in (
        (2, "time", "%Y-%m-%d %H:%M", None, None),
        (2, "Date", "%m/%d/%Y %H:%M", None, "%m/%d/%Y %H:%M"),
        (0, "when", "%d/%m/%Y %H:%M:%S", None, "%d/%m/%Y %H:%M:%S"),
        (1, "when", "%d.%m.%Y %H:%M", "when", "%d.%m.%Y %H:%M"),
        (2, "ts_ms", None, "ts_ms", None),
    ):
        text = [60_000 * n for n in range(60)] if form is None else STAMPS.strftime(form)
        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
        frame.insert(place, name, text)
        frame.to_csv(path, index=False)
        made = live.fit(path, detector="MTSExample", time=given)[0]
        facts = made.facts
        assert (facts.time, facts.pattern, facts.dates) == (name, pattern, form is not None)
        watch = live.Watch(made, threshold=1.0, tell=str)
        for line in path.read_bytes().splitlines():
            watch.feed(line)
        assert watch.scored == 60 and watch.clock.latest is not None
        assert facts.channels == ("a", "b") and not watch.counts["mended"]


def test_rows_without_names_times_or_of_parquet(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("\n".join(f"{stamp:%m/%d/%Y %H:%M},{n},1" for n, stamp in enumerate(STAMPS)))
    facts = live.fit(path, detector="MTSExample")[0].facts
    assert (facts.time, facts.pattern, facts.step) == (None, "%m/%d/%Y %H:%M", 60)
    frame = pd.DataFrame({"a": np.arange(60.0), "at": STAMPS})
    frame.to_parquet(tmp_path / "rows.parquet")
    facts = live.fit(tmp_path / "rows.parquet", detector="MTSExample", time="at")[0].facts
    assert (facts.time, facts.pattern, facts.step) == ("at", None, 60)
    frame[["a"]].to_csv(path, index=False)
    facts = live.fit(path, detector="MTSExample", rows_per_day=288.0)[0].facts
    assert (facts.channels, facts.step, facts.rows_per_day) == (("a",), None, 288)


def test_labels_and_gaps_are_mended_and_noted(tmp_path):
    lines = csv(TRAIN)
    lines[0] += b",label"
    lines[1:] = [line + (b",1" if n < 3 else b",0") for n, line in enumerate(lines[1:])]
    cells = lines[9].split(b",")
    lines[9] = b",".join([cells[0], b"", *cells[2:]])
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\n".join(lines))
    made, notes = live.fit(path, detector="MTSExample", missing="fill")
    assert made.channels == NAMES and len(notes) == 2
    with pytest.raises(DataError, match="the cell is missing"):
        live.fit(path, detector="MTSExample")


def test_what_cannot_be_fitted_is_refused(table):
    for options, message in (
        ({"detector": "no such"}, "no detector 'no such'"),
        ({"settings": {"epoch": 3}}, "LightMMoE has no setting 'epoch'"),
        ({"detector": "SmartSimpleAD"}, "with SmartSimpleAD: its scores depend on all rows given"),
        ({"detector": "random"}, "random has no live score"),
        ({"detector": "pyod.models.ecod.ECOD"}, "ECOD: it cannot be saved"),
        ({"missing": "drop"}, "missing is 'drop', neither 'error' nor 'fill'"),
        ({"settings": SETTINGS | {"window": 500}}, "400 rows are too few for LightMMoE"),
        ({"settings": SETTINGS | {"learning_rate": 1e30}}, "training diverged"),
    ):
        with pytest.raises(DataError, match=message):
            live.fit(table, **options)
    with pytest.raises(RuntimeError, match="PCA has not been fitted: call fit first"):
        Model(lmmoe.detector("PCA"))


# --- facts in the file ---


def test_a_plain_detector_is_a_model_without_facts_and_checksum(tmp_path, capfd):
    path = lmmoe.save_detector(fitted(), tmp_path / "m.safetensors")
    made = Model.load(path)
    assert made.facts is None and made.channels[0] == "channel 1"
    assert outputs.SUM in saving.header(made.save(tmp_path / "again.safetensors"))
    with open(os.devnull, "wb") as sink:
        assert here(path, LINES, sink.fileno()) == 0
    assert "a plain detector, without a checksum" in capfd.readouterr().err


def test_facts_that_do_not_fit_or_are_unguarded_are_refused(tmp_path):
    path = model().save(tmp_path / "m.safetensors")
    arrays, head = load_file(path), saving.header(path)
    head.pop(outputs.SUM)
    for text, message in (
        ("{", "the facts beside the model are not JSON"),
        ("{}", "the facts beside the model do not fit it"),
        ({"channels": ["a", "a", "b", "c"]}, "two channels of one name"),
        ({"deviations": [1, 1, 1, 0]}, "must be above 0"),
        ({"means": [1, 1, 1, float("nan")]}, "a mean is not a finite number"),
        ({"channels": ["a", "b"], "means": [1, 2], "deviations": [1, 2]}, "facts of 2 channels"),
    ):
        if isinstance(text, dict):
            text = json.dumps(json.loads(head["facts"]) | text)
        outputs.write(path, arrays, head | {"facts": text})
        with pytest.raises(DataError, match=f"m.safetensors: .*{message}"):
            Model.load(path)
    save_file(arrays, path, metadata=head)
    with pytest.raises(DataError, match="no checksum: damaged, or written by an older version"):
        Model.load(path)


def test_fingerprints_tell_models_apart():
    made = (fitted("PCA windows EWMA"), fitted("PCA windows"), fitted(), fitted(seed=1))
    assert len({saving.fingerprint(one) for one in made}) == 4


# --- the commands ---


def refused(words, message, capsys):
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert message in said.err, said.err


def test_fit_as_a_command(table, tmp_path, capsys):
    out = tmp_path / "deep" / "m.safetensors"
    sets = [word for setting in SMALL for word in ("--set", setting)]
    assert main(["fit", str(table), "-o", str(out), *sets]) == 0
    said = capsys.readouterr().out
    made = Model.load(out)
    assert made.detector.settings["kernels"] in (2, [2])
    assert f"budget:1 {live.Stream(made).alarm.threshold:.6g}\n" in said
    refused(["fit", table, "-o", out, "--set", "a"], "is no setting", capsys)


def test_nothing_but_files_of_its_own_kind_is_replaced(table, tmp_path, capsys):
    made = model("MTSExample").save(tmp_path / "m.safetensors")
    link = tmp_path / "link.csv"
    link.symlink_to(table)
    before = [table.read_bytes(), made.read_bytes()]
    same = "read and to be written at once"
    for words, message in (
        (["watch", made, "--state", made], f"m.safetensors: {same}: the state would replace"),
        (["watch", made, "--state", table], "week.csv: there, and no state of lmmoe: not replaced"),
        (["watch", made, "--state", tmp_path], "there, and no state of lmmoe"),
        (["fit", table, "-o", link], f"link.csv: {same}"),
        (["fit", made, "-o", table], "week.csv: there, and no model of lmmoe"),
        (["fit", table, "-o", table / "m"], "the model cannot be written there"),
        (["watch", made, "--save-every", "0"], "save_every=0: a whole number from 1 on is needed"),
        (["watch", made, "--host", "0.0.0.0"], "host '0.0.0.0' without metrics. Give their port"),
        (["watch", made, "--threshold", "often"], "no threshold 'often'"),
        (["watch", table], "not a readable model"),
    ):
        refused(words, message, capsys)
    assert [table.read_bytes(), made.read_bytes()] == before
    out = tmp_path / "alarms"
    with out.open("wb") as file, pytest.raises(DataError, match="would replace what is read"):
        pipe.watch(made, state=out, sink=file.fileno())


def test_files_of_its_own_kind_are_replaced(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    outputs.check(empty, "state")
    outputs.check(model().save(tmp_path / "m"), "model")
    outputs.check(live.Watch(model(), threshold=1.0).save(tmp_path / "s"), "state")
    long = tmp_path / "long.onnx"  # its mark stands at the end
    long.write_bytes(bytes(3 * outputs.LOOK) + b"lmmoe onnx 1")
    outputs.check(long, "ONNX file")
    with pytest.raises(DataError, match="there, and no model of lmmoe"):
        outputs.check(os.devnull, "model")


def test_a_full_disk_is_told_after_the_fit(table, tmp_path, monkeypatch, capsys):
    def full(self, path):
        raise OSError("no space left")

    monkeypatch.setattr(Model, "save", full)
    words = ["fit", table, "-o", tmp_path / "new", "--detector", "MTSExample"]
    refused(words, "new: the model cannot be written (no space left)", capsys)


def test_the_package_is_light_until_it_is_used():
    code = (
        "import sys, lmmoe.live as live; assert 'numpy' not in sys.modules;"
        "assert all(getattr(live, name) for name in live.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
