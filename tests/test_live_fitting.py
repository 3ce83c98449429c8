"""From a table to a model, and the facts that travel with it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from watched import DAY, NAMES, TRAIN, csv, fitted, model

import lmmoe
from lmmoe import live
from lmmoe.__main__ import main
from lmmoe.detectors import saving
from lmmoe.errors import DataError
from lmmoe.live import checksum, fitting
from lmmoe.live.model import Facts, Model, has_checksum

MIN = "window=4 experts=2 kernels=2 hidden=4 out=3 tower=2 epochs=1".split()
SETTINGS = fitting.settings(MIN)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "week.csv"
    path.write_bytes(b"\n".join(csv(TRAIN)))
    return path


def test_a_table_becomes_a_model_that_a_watch_can_use(table, tmp_path):
    made, notes = live.fit(table, settings=SETTINGS, seed=3)
    assert notes == [] and made.detector.name == "LightMMoE" and made.detector.seed == 3
    facts = made.facts
    assert facts.channels == NAMES and facts.named and facts.rows == len(TRAIN)
    assert facts.step == 60 and facts.dates and facts.rows_per_day == 1440
    assert facts.means == pytest.approx(TRAIN.mean(axis=0))
    assert facts.deviations == pytest.approx(TRAIN.std(axis=0))
    direct = lmmoe.detector("LightMMoE", seed=3, **SETTINGS).fit(TRAIN)
    assert np.array_equal(direct.decision_scores_, made.detector.decision_scores_)
    back = Model.load(made.save(tmp_path / "m.safetensors"))
    assert back.facts == facts and back.fingerprint == made.fingerprint
    assert np.array_equal(back.calibration, made.calibration)
    assert live.Stream(back).alarm.threshold == live.Stream(made).alarm.threshold


def test_times_may_be_numbers_or_none(tmp_path):
    rows = ["t,a,b", *(f"{5 * n},{x},{y}" for n, (x, y) in enumerate(TRAIN[:60, :2]))]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(rows))
    facts = live.fit(path, detector="PCA", time="t")[0].facts
    assert (facts.step, facts.dates, facts.rows_per_day) == (5, False, None)
    facts = live.fit(path, detector="PCA", rows_per_day=288.0)[0].facts
    assert (facts.channels, facts.step, facts.rows_per_day) == (("t", "a", "b"), None, 288)


def test_labels_and_gaps_are_mended_and_told(tmp_path):
    lines = csv(TRAIN)
    lines[0] += b",label"
    lines[1:] = [line + (b",1" if n < 3 else b",0") for n, line in enumerate(lines[1:])]
    cells = lines[9].split(b",")
    lines[9] = b",".join([cells[0], b"", *cells[2:]])
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\n".join(lines))
    made, notes = live.fit(path, detector="MTSExample", missing="fill")
    assert made.channels == NAMES and len(notes) == 2
    assert "1 missing cells filled" in notes[0] and "3 of 400 training rows are marked" in notes[1]
    with pytest.raises(DataError, match="the cell is missing"):
        live.fit(path, detector="MTSExample")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "no such"}, "no detector 'no such'"),
        ({"settings": {"epoch": 3}}, "LightMMoE has no setting 'epoch'"),
        ({"settings": {"epochs": "3"}}, "epochs='3': expected a whole number"),
        ({"detector": "SmartSimpleAD"}, "with SmartSimpleAD: its scores depend on all rows given"),
        ({"detector": "random"}, "random has no live score"),
        ({"detector": "pyod.models.ecod.ECOD"}, "ECOD: it cannot be saved"),
        ({"missing": "drop"}, "missing is 'drop', neither 'error' nor 'fill'"),
        (
            {"detector": "PCA", "rows_per_day": -1.0},
            "rows_per_day=-1.0: a number above 0 is needed",
        ),
        ({"settings": SETTINGS | {"window": 500}}, "400 rows are too few for LightMMoE"),
        ({"settings": SETTINGS | {"learning_rate": 1e30}}, "training diverged"),
    ],
    ids=str,
)
def test_what_cannot_be_fitted_is_refused(table, options, message):
    with pytest.raises(DataError, match=message):
        live.fit(table, **options)


def test_settings_are_read_as_yaml():
    assert fitting.settings(["a=1", "b=0.5", "c=[1, 2]", "d=yes", "e=text"]) == {
        "a": 1,
        "b": 0.5,
        "c": [1, 2],
        "d": True,
        "e": "text",
    }
    for text in ("a", "=1", "a=[1"):
        with pytest.raises(DataError, match="is no setting"):
            fitting.settings([text])


# --- facts in the file ---


def test_a_file_without_facts_is_a_model_without_them(tmp_path):
    path = lmmoe.save_detector(fitted(), tmp_path / "m.safetensors")
    assert saving.facts(path) is None
    made = Model.load(path)
    assert made.facts is None and made.channels == ("channel 1", "channel 2", *made.channels[2:])
    again = made.save(tmp_path / "again.safetensors")
    head = saving.header(again)
    assert len(head.pop(checksum.NAME)) == 64 and head == saving.header(path)
    assert has_checksum(again) and not has_checksum(path)
    assert Model.load(again).facts is None


def test_a_file_with_facts_is_a_detector_all_the_same(tmp_path):
    path = model().save(tmp_path / "m.safetensors")
    assert saving.facts(path)["channels"] == list(NAMES)
    assert lmmoe.load_detector(path).settings == fitted().settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the facts beside the model are not JSON"),
        ("[]", "the facts beside the model are no names with values"),
        ("{}", "the facts beside the model do not fit it"),
        ('{"channels": 3}', "do not fit it"),
        ({"channels": ["a"]}, "differ in number"),
        ({"channels": ["a", "a", "b", "c"]}, "two channels of one name"),
        ({"deviations": [1, 1, 1, 0]}, "must be above 0"),
        ({"deviations": [1, 1, 1, "x"]}, "do not fit it"),
        ({"means": [1, 1, 1, float("nan")]}, "a mean is not a finite number"),
        ({"step": -5}, "must be above 0"),
        ({"time": 3}, "time and pattern must be texts"),
        ({"channels": ["a", "b"], "means": [1, 2], "deviations": [1, 2]}, "facts of 2 channels"),
    ],
    ids=str,
)
def test_facts_that_do_not_fit_are_refused(tmp_path, text, message):
    path = model().save(tmp_path / "m.safetensors")
    if isinstance(text, dict):
        text = json.dumps(saving.facts(path) | text)
    checksum.write(path, load_file(path), saving.header(path) | {"facts": text})
    with pytest.raises(DataError, match=f"m.safetensors: .*{message}"):
        Model.load(path)


def test_facts_without_a_checksum_are_refused(tmp_path):
    path = model().save(tmp_path / "m.safetensors")
    head = {name: text for name, text in saving.header(path).items() if name != checksum.NAME}
    save_file(load_file(path), path, metadata=head)
    with pytest.raises(DataError, match="no checksum: damaged, or written by an older version"):
        Model.load(path)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_flipped_bit_is_refused(tmp_path_factory, data):
    path = model("MTSExample").save(tmp_path_factory.mktemp("flipped") / "m.safetensors")
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")  # of the header, as safetensors has it
    place = data.draw(st.integers(8 + size, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(DataError, match="m.safetensors: "):
        Model.load(path)


def test_fingerprints_tell_models_apart_but_not_devices():
    made = fitted("PCA windows EWMA")
    prints = [
        saving.fingerprint(one)
        for one in (made, fitted("PCA windows"), fitted(), fitted(seed=1), fitted("CAD"))
    ]
    assert len(set(prints)) == 5 and all(len(text) == 16 for text in prints)
    other = fitted("LightMMoE", epochs=2)
    before = saving.fingerprint(other)
    other.device = "cuda"
    try:
        assert saving.fingerprint(other) == before
    finally:
        other.device = "cpu"


# --- the command line ---


def test_fit_as_a_command(table, tmp_path, capsys):
    out = tmp_path / "deep" / "m.safetensors"
    sets = [word for setting in MIN for word in ("--set", setting)]
    assert main(["fit", str(table), "-o", str(out), *sets]) == 0
    said = capsys.readouterr().out.splitlines()
    made = Model.load(out)
    assert said[0] == "LightMMoE: 400 rows of 4 channels"
    budget = live.Stream(made).alarm.threshold
    assert said[1].startswith(f"thresholds by the last 40 rows: budget:1 {budget:.6g}, quantile:0.")
    assert said[-1] == f"{out}: written"


def test_what_is_fitted_is_described():
    assert "no times, so no alarm budget" in fitting.described(Model(fitted()))[-1]
    all_rows = fitting.described(Model(fitted("LightMMoE", held_out=0.0)))
    assert all_rows[1] == "no rows were held out: watch with a threshold of your own"


def test_commands_end_with_a_message_where_nothing_can_be_done(table, tmp_path, capsys):
    assert main(["fit", str(tmp_path / "none.csv"), "-o", str(tmp_path / "m")]) == 1
    assert main(["watch", str(table)]) == 1
    path = model().save(tmp_path / "m.safetensors")
    assert main(["watch", str(path), "--threshold", "often"]) == 1
    path.write_bytes(path.read_bytes()[:-10])
    assert main(["watch", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("error: ") == 4
    assert "not a readable model" in said.err and "no threshold 'often'" in said.err


def test_the_package_is_light_until_it_is_used():
    code = (
        "import sys, lmmoe.live as live; assert 'numpy' not in sys.modules;"
        "assert dir(live) == sorted(live.__all__);"
        "assert all(getattr(live, name) for name in live.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="module 'lmmoe.live' has no attribute 'Strem'"):
        live.Strem  # noqa: B018
    assert DAY == model().facts.rows_per_day
    assert isinstance(model().facts, Facts)
