"""Detectors as files: what comes back, what is refused, what is never left behind."""

import json
import re
import signal
import sys
from pathlib import Path
from resource import RLIMIT_FSIZE, RUSAGE_SELF, getrlimit, getrusage, setrlimit

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from small import tiny, waves
from watched import csv

import lmmoe
from lmmoe import detectors, live
from lmmoe.__main__ import main
from lmmoe.detectors.saving import FORMAT, load, save, write
from lmmoe.errors import DataError
from lmmoe.live import Model

TRAIN, TEST = waves(300), waves(200, seed=1)


def refused(path, message):
    return pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}")


def head_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def rewritten(path, *, head=None, arrays=None, without=()):
    """Write the file again with another header, or with other, or fewer, arrays."""
    new_head, new_arrays = head_of(path) | (head or {}), load_file(path) | (arrays or {})
    kept = {key: value for key, value in new_arrays.items() if key not in without}
    new_head.pop("sha256")
    write(path, kept, {key: value for key, value in new_head.items() if value})


@pytest.fixture
def light(tmp_path):
    return save(tiny("LightMMoE").fit(TRAIN), tmp_path / "model.safetensors")


# --- what comes back ---


def test_it_scores_as_before_to_the_bit(tmp_path):
    for name in detectors.names():
        made = tiny(name, seed=2, contamination=0.03).fit(TRAIN)
        back = load(save(made, tmp_path / "model.safetensors"))
        assert type(back) is type(made) and back.fitted
        for same in ("name", "settings", "parameters", "threshold_", "n_features_in_"):
            assert getattr(back, same) == getattr(made, same)
        for array in ("decision_scores_", "labels_"):
            assert np.array_equal(getattr(back, array), getattr(made, array))
        assert np.array_equal(back.decision_function(TEST), made.decision_function(TEST))


# --- what is refused ---


def test_what_is_no_such_file_is_refused(light, tmp_path):
    content, noise = light.read_bytes(), tmp_path / "noise.safetensors"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    for path in (noise, tmp_path / "none.safetensors", tmp_path):
        with refused(path, "not readable"):
            load(path)
    for share in [0, 0.001, 0.1, 0.5, 0.99]:
        light.write_bytes(content[: int(share * len(content))])
        with refused(light, "not readable"):
            load(light)
    for version in ["lmmoe detector 0", ""]:
        light.write_bytes(content)
        rewritten(light, head={"format": version})
        with refused(light, f"({version or None!r}). Expected {FORMAT!r}: make it anew"):
            load(light)


def test_an_absent_device_is_refused_with_advice_and_can_be_replaced(tmp_path):
    made = tiny("LightMMoE", seed=2).fit(TRAIN)
    made.device = "no-such-device"  # as if fitted where there is one
    path = save(made, tmp_path / "model.safetensors")
    made.device = "cpu"
    with refused(path, "no-such-device") as caught:
        load(path)
    hint = "If it was fitted on a device that is not here, give device='cpu'"
    assert str(caught.value).endswith(hint)
    back = lmmoe.load_detector(path, device="cpu")
    assert back.settings == made.settings and back.device == "cpu"
    assert np.array_equal(back.decision_function(TEST), made.decision_function(TEST))


def test_a_header_that_does_not_fit_is_refused(light):
    whole = light.read_bytes()
    for head, message in [
        ({"detector": "Unknown"}, "no detector 'Unknown' among lmmoe's own"),
        ({"settings": "[" * 100_000}, "recursion"),
        ({"channels": "1" * 12}, "it cannot have learned"),
        ({"detector": "MTSExample"}, "no setting"),
        ({"settings": "[1]"}, ""),
        ({"settings": json.dumps({"window": 9})}, ""),
        ({"settings": json.dumps({"window": "8"})}, "window='8': Input should be a valid integer"),
        ({"channels": "3"}, "4"),
        ({"channels": "many"}, "many"),
        ({"threshold": ""}, "'threshold'"),
    ]:
        light.write_bytes(whole)
        rewritten(light, head=head)
        with refused(light, "the model does not fit its own header (") as caught:
            load(light)
        assert message in str(caught.value)


def test_each_array_is_needed_in_its_shape(light, tmp_path):
    cases = [
        (light, {"arrays": {name: array}})
        for name, array in [
            ("network.tower", np.zeros((3, 4, 3), np.float32)),
            ("network.more", np.zeros(3, np.float32)),
            ("shift", np.zeros((4, 1))),
            ("scale", np.ones(5)),
            ("decision_scores", np.zeros((3, 3))),
            ("history.best_epoch", np.zeros(0)),
            ("history.best_epoch", np.array([np.nan])),
        ]
    ]
    for name in ("IsolationForest", "PCA windows", "USAD"):
        path = save(tiny(name).fit(TRAIN), tmp_path / f"{name}.safetensors")
        broadcast = {"shift": np.zeros(1), "mean": np.zeros(1)}  # each alone would fit
        cases += [(path, {"arrays": {k: broadcast[k]}}) for k in broadcast.keys() & load_file(path)]
        cases += [(path, {"without": [key]}) for key in load_file(path)]
    for path, changes in cases:
        whole = path.read_bytes()
        rewritten(path, **changes)
        with refused(path, "the model does not fit its own header ("):
            load(path)
        path.write_bytes(whole)


def test_a_file_names_no_class_of_others(light, tmp_path, monkeypatch):
    (tmp_path / "ran.py").write_text("from lmmoe.detectors.baselines import Random\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("ran.Random", "pyod.models.ecod.ECOD"):
        rewritten(light, head={"detector": name})
        with refused(light, f"no detector {name!r} among lmmoe's own"):
            load(light)
    assert "ran" not in sys.modules
    made = lmmoe.detector("ran.Random").fit(TRAIN)
    assert not made.savable
    with pytest.raises(NotImplementedError, match="ran.Random: a file names detectors of this"):
        save(made, light)


def test_settings_that_the_arrays_do_not_bear_out_take_no_memory(tmp_path):
    peak = getrusage(RUSAGE_SELF).ru_maxrss
    for name, setting, value in (
        ("LightMMoE", "hidden", 1_000_000),
        ("CAD-as-run", "window", 300),
        ("HMMoE", "kernels", [2, 2_000_000]),
        ("LSTM-AE", "hidden", 20_000),
        ("USAD", "latent", 10**10),
        ("linear", "window", 10**12),
        ("MTSMixer", "window", 20_000),
        ("PCA windows", "window", 10**9),
        ("moving average", "window", 10**18),
        ("ThreeViews", "width", 10**8),
        ("1-NN", "neighbours", 10**9),
    ):
        path = save(tiny(name).fit(TRAIN), tmp_path / "model.safetensors")
        changed = json.loads(head_of(path)["settings"]) | {setting: value}
        rewritten(path, head={"settings": json.dumps(changed)})
        with refused(path, "the model does not fit its own header ("):
            load(path)
    path = save(tiny("IsolationForest").fit(TRAIN), tmp_path / "model.safetensors")
    rewritten(path, arrays={"steps": np.array([10**18])})
    load(path)  # in no more steps than there are nodes
    assert getrusage(RUSAGE_SELF).ru_maxrss - peak < 300_000  # kB; one of these alone takes more


def test_what_the_checksum_does_not_cover_is_damaged(light):
    content, foreign = light.read_bytes(), light.with_name("foreign.safetensors")
    for old, new in ((b"LightMMoE", b"MightLLoE"), (b"sha256", b"sha652"), (content[-1:], b"\7")):
        before, found, after = content.rpartition(old)
        light.write_bytes(before + new + after if found else b"")
        with refused(light, "damaged: the contents do not fit the checksum"):
            load(light)
    arrays = {"x": torch.zeros(2, dtype=torch.bfloat16)}  # NumPy alone knows no such type
    foreign.write_bytes(safetensors.torch.save(arrays, {"format": FORMAT}))
    with pytest.raises(DataError, match="not readable|damaged"):
        load(foreign)


def test_a_full_disk_is_an_oserror_and_leaves_the_old_file(light):
    before, limits = light.read_bytes(), getrlimit(RLIMIT_FSIZE)
    made, handler = load(light), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    setrlimit(RLIMIT_FSIZE, (1000, limits[1]))  # no file may be longer
    try:
        with pytest.raises(OSError, match="File too large"):
            save(made, light)
    finally:
        setrlimit(RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert light.read_bytes() == before and [*light.parent.iterdir()] == [light]


# --- a live model that is fitted again ---


def test_an_update_keeps_detector_settings_and_the_channels_order(tmp_path):
    table, old, new = (tmp_path / name for name in ("week.csv", "old.st", "new.st"))
    table.write_bytes(b"\n".join(csv(TRAIN)))
    how = ["--detector", "PCA windows", "--set", "window=5", "--seed", "3", "-o", str(old)]
    assert main(["fit", str(table), *how]) == 0
    head, *lines = [line.split(b",") for line in csv(TEST)]
    turned = [b",".join([line[0], *line[:0:-1]]) for line in [head, *lines]]
    table.write_bytes(b"\n".join(turned))
    assert main(["fit", str(table), "--update", str(old), "-o", str(new)]) == 0
    made, before = Model.load(new), Model.load(old)
    expected = lmmoe.detector("PCA windows", window=5, seed=3).fit(TEST)
    assert made.channels == before.channels and made.detector.settings == before.detector.settings
    assert made.facts.means == pytest.approx(TEST.mean(axis=0))
    assert np.array_equal(made.detector.decision_scores_, expected.decision_scores_)
    table.write_bytes(b"\n".join(turned).replace(b"disk", b"fan"))
    with refused(table, "no column 'disk' (channels)"):
        live.fit(table, update=old)
    np.savetxt(table, TRAIN, delimiter=",")  # neither names nor times
    live.fit(table, detector="MTSExample", rows_per_day=100.0)[0].save(old)
    np.savetxt(table, TEST[:, :3], delimiter=",")
    with refused(table, "3 channels, other than the 4 of the old model"):
        live.fit(table, update=old)
    np.savetxt(table, TEST, delimiter=",", header="d,c,b,a", comments="")
    facts = live.fit(table, update=old)[0].facts
    assert (facts.channels, facts.rows_per_day) == (("d", "c", "b", "a"), 100)
    table.write_bytes(b"\n".join(csv(TRAIN)))  # of fewer channels, and by another detector
    asked = {"channels": ["mem", "cpu"], "settings": {"window": 5}}
    live.fit(table, detector="PCA windows", **asked)[0].save(old)
    for name, window, smoothed in ((None, 5, 0), ("PCA windows EWMA", 16, 0.2), ("PCA", 1, 0)):
        made = live.fit(table, update=old, detector=name)[0]
        found = made.channels, made.detector.window, getattr(made.detector, "ewma", 0)
        assert found == (("mem", "cpu"), window, smoothed)
    with refused(table, "3 channels, other than the 2 of the old model"):
        live.fit(table, update=old, channels=["cpu", "mem", "net"])


# --- nothing unpickles ---


def test_nothing_in_the_package_unpickles():
    modules = r"import (pickle|dill|cloudpickle|joblib|shelve|marshal)|from (pickle|dill|joblib) "
    calls = r"torch\.load\(|read_pickle\(|allow_pickle=(?!False)|(?<![.\w])(eval|exec)\("
    for path in Path(lmmoe.__file__).parent.rglob("*.py"):
        assert not re.search(f"{modules}|{calls}", path.read_text(encoding="utf-8")), path
