"""Smaller models and exported ones, against what they are by definition."""

import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from drawing import drawn
from small import series

from lmmoe import paths
from lmmoe.__main__ import main
from lmmoe.detectors import detector, saving
from lmmoe.errors import DataError
from lmmoe.live import Facts, Model
from lmmoe.report import compress, export, store
from lmmoe.report.compress import Student, pruned
from lmmoe.report.experiment import Run
from lmmoe.report.plots import deployment as pictures

LIGHT = {"experts": 3, "kernels": 4, "hidden": 6, "out": 5, "tower": 3, "window": 6, "epochs": 1}
HEAVY = {"experts": 4, "kernels": [4, 6], "hidden": [8, 6], "out": 4, "tower": [4, 3]}
MADE = {"LightMMoE": LIGHT, "HMMoE": HEAVY | {"window": 5, "epochs": 1}}


def rows(count=200, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, 3))
    values[:, 1] = np.sin(np.arange(count) / 4)
    return values


def same_scores(one, other, **near):
    given = rows(seed=1)
    np.testing.assert_allclose(one.decision_function(given), other.decision_function(given), **near)


@pytest.fixture(params=MADE)
def made(request):
    return detector(request.param, **MADE[request.param]).fit(rows())


def as_pruned(made, **shares):
    return pruned(made, rows(), epochs=0, **shares)


class TestPruning:
    def test_dead_units_are_those_that_go(self, made):
        """In each expert other kernels and units have no weight: without them nothing changes."""
        last = f".{len(made.network.experts.layers.weights) - 1}"
        for name, part in made.network.state_dict().items():
            if name.startswith(("experts.conv", "experts.norm.")):
                part = part.view(*part.shape[:-1], made.experts, -1).movedim(-2, 0)
            elif not name.startswith("experts.") or ("layers" in name and name.endswith(last)):
                continue
            size = part.shape[-1]
            for expert in range(made.experts):
                part[expert, ..., (np.arange(size // 2) + expert) % size] = 0
        smaller, light = as_pruned(made, kernels=0.5, hidden=0.5), made.name == "LightMMoE"
        assert smaller.kernels == ([2] if light else [2, 3])
        assert smaller.hidden == ([3] if light else [4, 3])
        same_scores(smaller, made, rtol=1e-4, atol=1e-5)

    def test_the_least_used_experts_go(self, made):
        """The gate's softmax is then over the others: worked out from the parts of the network."""
        stay = sorted(np.argsort(made.gate_weights(rows()).mean(axis=(0, 1)))[-2:].tolist())
        smaller = as_pruned(made, experts=0.5)
        assert smaller.experts == 2
        windows = made._windows(rows(seed=1))
        with torch.inference_mode():
            shares = made.network.gate(windows)[..., stay]
            shares /= shares.sum(dim=-1, keepdim=True)
            expert = made.network.experts(windows)[stay]
            expected = made.network.towers(torch.bmm(shares, expert.transpose(0, 1))).numpy()
            np.testing.assert_allclose(smaller.network(windows).numpy(), expected, atol=1e-5)

    def test_it_can_be_saved_and_leaves_the_original_alone(self, made, tmp_path):
        before = made.decision_function(rows())
        same_scores(as_pruned(made), made, rtol=0)
        smaller = as_pruned(made, kernels=0.5, hidden=0.5, experts=0.5)
        again = saving.load(saving.save(smaller, tmp_path / "small.safetensors"))
        assert again.name == made.name
        same_scores(again, smaller, rtol=0)
        np.testing.assert_array_equal(made.decision_function(rows()), before)

    def test_training_goes_on_from_the_weights_given(self):
        made = detector("LightMMoE", **LIGHT).fit(rows())
        on = pruned(made, rows(), epochs=3)
        anew = detector("LightMMoE", **LIGHT | {"epochs": 3}).fit(rows())
        assert on.history.training[0] < anew.history.training[0]  # it does not begin at chance
        other = detector("LightMMoE", **LIGHT, gate="mean").fit(rows())
        with pytest.raises(DataError, match="cannot be pruned: other experts or gate"):
            pruned(other, rows(), experts=0.5)


def taught(teacher, share, **settings):
    made = Student(**LIGHT | settings)
    made.teacher, made.share = teacher, share
    return made.fit(rows())


def test_a_student_without_its_teacher_and_one_that_learns_from_it_alone(tmp_path):
    """Trained long on forecasts only, it is nearer to the teacher than training on truth is."""
    teacher = detector("HMMoE", **MADE["HMMoE"]).fit(rows())
    student, plain = taught(teacher, 0.0), detector("LightMMoE", **LIGHT).fit(rows())
    np.testing.assert_array_equal(student.decision_scores_, plain.decision_scores_)
    assert student.history.held_out == plain.history.held_out
    again = saving.load(saving.save(student, tmp_path / "student.safetensors"))
    same_scores(again, student, rtol=0)
    long = {"epochs": 15, "held_out": 0.0, "expert_dropout": 0.0}
    plain, goal = detector("LightMMoE", **LIGHT | long).fit(rows()), teacher.forecasts(rows())[10:]
    near, far = (
        np.square(one.forecasts(rows())[-len(goal) :] - goal).mean()
        for one in (taught(teacher, 1.0, **long), plain)
    )
    assert near < 0.7 * far


def test_every_method_is_measured_and_one_that_fails_costs_no_other(monkeypatch):
    one = series(rows=260)
    runs = {name: Run(one, name, "study", settings=MADE[name]) for name in MADE}

    def fails(*given, **settings):
        raise RuntimeError("no")

    monkeypatch.setattr(compress, "Student", fails)
    methods = store.published("smaller", keep_default_na=False)
    table = pd.DataFrame(compress.measured(runs, methods, 5)).assign(entity="m")
    assert table["method"].tolist() == methods["method"].tolist()
    taught = table["kind"] == "distillation"
    assert (table[taught]["error"] == "RuntimeError: no").all()
    good = table[~taught & (table["kind"] != "control")]
    assert good["error"].isna().all()
    assert good[["parameters", "bytes", "average_precision", "speed"]].notna().all(axis=None)
    shares = compress.kept_shares(table)
    light = shares[shares["base"] == "LightMMoE"]
    assert light.loc["LightMMoE", ["bytes", "average_precision", "speed"]].eq(1).all()
    assert light.loc["half of the experts", "bytes"] < 1


def test_shares_are_ratios_of_means_over_the_methods_own_machines():
    lines = [("as it is", "whole", "m", 0.4, 1.0), ("as it is", "whole", "n", 0.1, 1.0)]
    lines += [("pruning", "half", "m", 0.3, 2.0)]  # it failed on n
    lines += [("int8", "int8", "m", 0.4, 0.5), ("int8", "int8", "n", 0.2, 0.3)]
    lines += [("control", "random", "n", 0.1, None)]
    columns = ["kind", "method", "entity", "average_precision", "speed"]
    table = pd.DataFrame(lines, columns=columns).assign(base="whole", bytes=1, error=None)
    shares = compress.kept_shares(table)
    assert shares["average_precision"].to_list() == pytest.approx([1, 0.75, 0.6 / 0.5, 1])
    assert shares.loc["int8", "speed"] == pytest.approx(0.4)
    table = compress.kept_shares(store.read(paths.figures("smd") / "compression.csv"))
    assert len(table[table.index == "random"]) == 2  # beside each base
    assert len(drawn(lambda: pictures.compression(table)).axes) == 6


# --- ONNX ---

EXPORTED = {
    "LightMMoE": LIGHT | {"first_scores": "zero"},
    "CAD-FSE23": LIGHT | {"experts": 2},  # forecasts 3 rows ahead, does not scale
    "HMMoE": MADE["HMMoE"],
    "CAD-as-run": {"window": 6, "epochs": 1, "examples": 50},
    "LightMMoE of series": LIGHT | {"expert": "series"},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_the_same_scores_errors_and_forecasts(name, tmp_path):
    flat = rows(240)
    flat[:, 2] = 1.0  # a channel that does not vary
    far = [1e9 if name == "LightMMoE" else 0, 0, 0]  # in single precision no deviation is left
    made = detector(name.partition(" of ")[0], **EXPORTED[name]).fit(flat + far)
    runtime = export.Runtime(export.write(made, tmp_path / "made.onnx"))
    facts = runtime.session.get_modelmeta().custom_metadata_map
    assert (facts["detector"], float(facts["threshold"])) == (made.name, made.threshold_)
    near = {"rtol": 1e-5, "atol": 1e-5}
    for count in (9, 240, 700):  # one piece, one call, several calls
        given = 3 * rows(count, seed=1) + far
        scores, expected = (one.decision_function(given) for one in (runtime, made))
        np.testing.assert_allclose(scores, expected, **near)
    score, errors, forecast = runtime.session.run(None, {"rows": runtime.pieces(given)})
    np.testing.assert_allclose(errors, made.channel_scores(given)[made.unscored :], **near)
    np.testing.assert_allclose(forecast, made.forecasts(given), **near)
    np.testing.assert_allclose(score, errors.mean(axis=1), rtol=1e-5)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    made = detector("LightMMoE", **LIGHT | {"hidden": 64, "out": 64}).fit(rows())
    return made, export.write(made, tmp_path_factory.mktemp("onnx") / "light.onnx")


def test_int8_is_near_and_not_equal(light, tmp_path):
    made, file = light
    expected = made.decision_function(rows(seed=3))
    for given in (None, rows()):
        out = export.quantise(file, tmp_path / "int8.onnx", rows=given)
        scores = export.Runtime(out).decision_function(rows(seed=3))
        assert out.stat().st_size < 0.8 * file.stat().st_size
        assert np.abs(scores - expected).max() > 1e-5  # it does calculate in int8
        np.testing.assert_allclose(scores, expected, rtol=0.2, atol=0.2)


def test_what_cannot_be_exported_or_read(light, tmp_path, monkeypatch):
    out = tmp_path / "x.onnx"
    with pytest.raises(DataError, match="PCA cannot be exported: it does not forecast"):
        export.write(detector("PCA").fit(rows()), out)
    with pytest.raises(RuntimeError, match="has not been fitted"):
        export.write(detector("LightMMoE"), out)
    with pytest.raises(DataError, match=r"shape \(30, 4\): 3 channels and at least 7 rows"):
        export.quantise(light[1], out, rows=np.zeros((30, 4)))
    assert not out.exists()
    out.write_text("not a model")
    for name in ("x.onnx", "none.onnx"):
        with pytest.raises(DataError, match=f"{name}: not a readable ONNX file"):
            export.Runtime(tmp_path / name)
    model = onnx.load(light[1])
    del model.metadata_props[:]
    onnx.save(model, out)
    with pytest.raises(DataError, match=r"not one of lmmoe's \(None\)"):
        export.Runtime(out)
    content = light[1].read_bytes()
    for at in (len(content) // 2, content.index(b"sha256") + 20, content.index(b"sha256")):
        out.write_bytes(content[:at] + b"x" + content[at + 1 :])
        with pytest.raises(DataError, match="damaged|not one of lmmoe's"):
            export.Runtime(out)
    monkeypatch.setattr(light[0].network, "forward", lambda x: 1.001 * x[:, :, 0])
    with pytest.raises(DataError, match="as ONNX, the detector scores otherwise"):
        export.write(light[0], out)
    assert out.read_bytes()[:at] == content[:at] and len([*tmp_path.iterdir()]) == 1
    monkeypatch.setattr(export, "find_spec", {"onnx": 1, "onnxscript": 1}.get)
    for call, given in ((export.write, light), (export.quantise, (light[1], out))):
        with pytest.raises(DataError, match="ONNX needs onnxruntime, not installed here"):
            call(*given)


def test_command(light, tmp_path, capsys):
    model = Model(light[0], Facts.of(rows())).save(tmp_path / "model.safetensors")
    assert main(["export", str(model), str(tmp_path / "m.onnx"), "--int8"]) == 0
    size = (tmp_path / "m.onnx").stat().st_size
    assert f"m.onnx: written, {size:,} bytes" in capsys.readouterr().out
    assert size < 0.8 * light[1].stat().st_size


def test_scoring_a_file_needs_no_torch(light):
    """A machine that only scores should not have to load it."""
    code = (
        "import sys, numpy; from lmmoe.report.export import Runtime;"
        f"Runtime({str(light[1])!r}).decision_function(numpy.zeros((9, 3)));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
