"""Detectors as files: what comes back, what is refused, what is never left behind."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors
from small import tiny, waves

import lmmoe
from lmmoe import detectors
from lmmoe.detectors.saving import FORMAT, load, save
from lmmoe.errors import DataError

TRAIN, TEST = waves(300), waves(200, seed=1)

every = pytest.mark.parametrize("name", detectors.names())


def refused(path, message):
    return pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}")


def head_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def rewritten(path, *, head=None, arrays=None, without=()):
    """Write the file again with another header, or with other, or fewer, arrays."""
    new_head = head_of(path) | (head or {})
    new_arrays = load_file(path) | (arrays or {})
    kept = {key: value for key, value in new_arrays.items() if key not in without}
    save_file(kept, path, metadata={key: value for key, value in new_head.items() if value})
    return path


@pytest.fixture
def light(tmp_path):
    return save(tiny("LightMMoE").fit(TRAIN), tmp_path / "model.safetensors")


@pytest.fixture
def norm(tmp_path):
    return save(tiny("MTSExample").fit(TRAIN), tmp_path / "norm.safetensors")


# --- what comes back ---


@every
def test_it_scores_as_before_to_the_bit(name, tmp_path):
    made = tiny(name, seed=2, contamination=0.03).fit(TRAIN)
    path = save(made, tmp_path / "model.safetensors")
    back = load(path)
    assert type(back) is type(made) and back.name == name and back.fitted
    assert back.settings == made.settings
    assert back.parameters == made.parameters
    assert back.threshold_ == made.threshold_
    assert back.n_features_in_ == made.n_features_in_ == 4
    for array in ("decision_scores_", "labels_"):
        assert np.array_equal(getattr(back, array), getattr(made, array))
    assert np.array_equal(back.decision_function(TEST), made.decision_function(TEST))
    assert np.array_equal(back.predict(TEST), made.predict(TEST))


@every
def test_saved_again_it_is_the_same_file(name, tmp_path):
    first = save(tiny(name).fit(TRAIN), tmp_path / "1.safetensors")
    second = save(load(first), tmp_path / "2.safetensors")
    for path in (first, second):
        assert head_of(path)["format"] == FORMAT
    assert head_of(first) == head_of(second)
    before, after = load_file(first), load_file(second)
    assert before.keys() == after.keys()
    for key, array in before.items():
        assert array.dtype == after[key].dtype and np.array_equal(array, after[key])


@every
def test_one_that_came_back_can_be_fitted_anew(name, tmp_path):
    made = tiny(name).fit(TRAIN)
    back = load(save(tiny(name).fit(waves(280, channels=2)), tmp_path / "m.safetensors"))
    assert np.array_equal(back.fit(TRAIN).decision_function(TEST), made.decision_function(TEST))


def test_lightmmoe_brings_its_history_and_scaling_back(light):
    made, back = tiny("LightMMoE").fit(TRAIN), load(light)
    assert back.history == made.history
    assert np.array_equal(back.channel_scores(TEST), made.channel_scores(TEST))
    assert np.array_equal(back.forecasts(TEST), made.forecasts(TEST))
    assert np.array_equal(back.gate_weights(TEST), made.gate_weights(TEST))
    assert not back.network.training


def test_without_held_out_rows_the_history_comes_back_too(tmp_path):
    made = tiny("LightMMoE", held_out=0.0).fit(TRAIN)
    back = load(save(made, tmp_path / "m.safetensors"))
    assert back.history == made.history and back.history.held_out == []


def test_settings_may_be_numpys_numbers(tmp_path):
    made = tiny("LightMMoE", window=np.int64(5), shared=np.float32(0.5)).fit(TRAIN)
    assert load(save(made, tmp_path / "m.safetensors")).settings == made.settings


def test_the_public_names_are_these(tmp_path):
    made = tiny("MTSExample").fit(TRAIN)
    path = lmmoe.save_detector(made, str(tmp_path / "deep" / "er" / "m.safetensors"))
    assert lmmoe.load_detector(str(path)).threshold_ == made.threshold_


@every
def test_an_unfitted_one_is_not_saved(name, tmp_path):
    with pytest.raises(RuntimeError, match=f"{name} has not been fitted: there is nothing to save"):
        save(tiny(name), tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


# --- what is refused ---


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(light, share):
    content = light.read_bytes()
    light.write_bytes(content[: int(share * len(content))])
    with refused(light, "not a readable model"):
        load(light)


def test_something_after_the_end_is_refused(light):
    light.write_bytes(light.read_bytes() + b"more")
    with refused(light, "not a readable model"):
        load(light)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_refused(tmp_path, seed):
    path = tmp_path / "noise.safetensors"
    path.write_bytes(np.random.default_rng(seed).bytes(5000))
    with refused(path, "not a readable model"):
        load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with refused(path, "not a readable model"):
            load(path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "m.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (trace,))

    torch.save({"detector": Evil()}, path)
    with refused(path, "not a readable model"):
        load(path)
    assert not trace.exists()


def test_safetensors_of_others_are_refused(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file({"weight": np.zeros((2, 2))}, path)
    with refused(path, "not a detector of lmmoe, or of another format (None)"):
        load(path)
    save_file({"weight": np.zeros((2, 2))}, path, metadata={"format": "pt"})
    with refused(path, "(None)" if head_of(path) is None else "('pt')"):
        load(path)


def test_numbers_that_no_model_has_are_refused_whether_numpy_knows_them_or_not(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_tensors({"w": torch.zeros(2, dtype=torch.bfloat16)}, path, metadata={"format": FORMAT})
    with refused(path, "not a readable model"):
        load(path)
    pytest.importorskip("ml_dtypes")  # teaches NumPy bfloat16, as soon as it is imported
    with refused(path, "not a readable model (its numbers are {'bfloat16'})"):
        load(path)


@pytest.mark.parametrize("version", ["lmmoe detector 0", "lmmoe detector 2", "LMMOE DETECTOR 1"])
def test_another_format_is_refused(light, version):
    rewritten(light, head={"format": version})
    with refused(light, f"({version!r}). Expected {FORMAT!r}: fit and save it again"):
        load(light)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"detector": "Unknown"}, "no detector 'Unknown'"),
        ({"detector": "MTSExample"}, "MTSExample has no setting"),
        ({"detector": ""}, "'detector'"),
        ({"settings": ""}, "'settings'"),
        ({"settings": "{"}, ""),
        ({"settings": "[1]"}, ""),
        ({"settings": '"text"'}, ""),
        ({"settings": json.dumps({"window": 9})}, ""),
        ({"settings": json.dumps({"window": "8"})}, "window='8': expected a whole number"),
        ({"settings": json.dumps({"experts": 10**30})}, ""),
        ({"settings": json.dumps({"device": "no-such-device"})}, ""),
        ({"channels": "3"}, "4"),
        ({"channels": "many"}, "many"),
        ({"channels": ""}, "'channels'"),
        ({"threshold": "high"}, "high"),
        ({"threshold": ""}, "'threshold'"),
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_refused(light, head, message):
    rewritten(light, head=head)
    with refused(light, "the model does not fit its own header (") as caught:
        load(light)
    assert message in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_model_of_an_absent_device_is_refused(light):
    rewritten(light, head={"settings": json.dumps(tiny("LightMMoE").settings | {"device": "cuda"})})
    with refused(light, "the model does not fit its own header ("):
        load(light)


@every
def test_each_array_is_needed(name, tmp_path):
    path = save(tiny(name).fit(TRAIN), tmp_path / "m.safetensors")
    content = path.read_bytes()
    for key in load_file(path):
        path.write_bytes(content)
        rewritten(path, without=[key])
        with refused(path, "the model does not fit its own header ("):
            load(path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"network.conv": np.zeros((3, 3), np.float32)},
        {"network.tower": np.zeros((3, 4, 3), np.float32)},
        {"network.more": np.zeros(3, np.float32)},
        {"shift": np.zeros(3)},
        {"shift": np.zeros(0)},
        {"shift": np.zeros((4, 1))},
        {"scale": np.ones(5)},
        {"decision_scores": np.zeros((3, 3))},
        {"history.best_epoch": np.zeros(0)},
        {"history.best_epoch": np.array([np.nan])},
    ],
    ids=lambda arrays: " ".join(f"{key} {value.shape}" for key, value in arrays.items()),
)
def test_arrays_of_other_shapes_are_refused(light, arrays):
    rewritten(light, arrays=arrays)
    with refused(light, "the model does not fit its own header ("):
        load(light)


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 4), (4, 1)])
@pytest.mark.parametrize("key", ["shift", "scale"])
def test_a_norm_of_other_shapes_is_refused(norm, key, shape):
    rewritten(norm, arrays={key: np.ones(shape)})
    with refused(norm, "the model does not fit its own header ("):
        load(norm)


# --- nothing left behind ---


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(light, monkeypatch):
    before = light.read_bytes()

    def fails(arrays, path, metadata):
        Path(path).write_bytes(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        save(tiny("LightMMoE", seed=9).fit(TRAIN), light)
    assert light.read_bytes() == before
    assert list(light.parent.iterdir()) == [light]


# --- nothing unpickles ---


def test_nothing_in_the_package_unpickles():
    names = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in Path(lmmoe.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & modules, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("torch.load", "pd.read_pickle", "eval", "exec"), path
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                assert options.get("allow_pickle", "False") == "False", path
                if called == "np.load":
                    assert options["allow_pickle"] == "False", path
