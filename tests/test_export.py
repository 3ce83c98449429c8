"""Fitted forecasters as ONNX files: the same scores, in one file that takes raw rows."""

import sys

import numpy as np
import pytest

from lmmoe.__main__ import main
from lmmoe.detectors import detector
from lmmoe.errors import DataError
from lmmoe.live import Facts, Model
from lmmoe.report import export

SMALL = {"experts": 2, "kernels": 3, "hidden": 8, "out": 4, "tower": 3, "window": 6, "epochs": 1}
MANY = {"kernels": [3, 4], "hidden": [8, 6], "tower": [4, 3], "window": 5, "epochs": 1}
MADE = {
    "LightMMoE": SMALL | {"first_scores": "zero"},
    "CAD-FSE23": SMALL,  # forecasts 3 rows ahead, does not scale
    "HMMoE": {"experts": 2, "out": 4} | MANY,
}


def rows(count=240, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, 4))
    values[:, 1] = np.sin(np.arange(count) / 5)
    values[:, 3] = 1.0  # a channel that does not vary
    return values


@pytest.fixture(scope="module", params=MADE)
def pair(request, tmp_path_factory):
    made = detector(request.param, **MADE[request.param]).fit(rows())
    file = export.write(made, tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx")
    return made, export.Runtime(file)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    big = SMALL | {"hidden": 64, "out": 64}
    made = detector("LightMMoE", **big).fit(rows())
    return made, export.write(made, tmp_path_factory.mktemp("onnx") / "light.onnx")


class TestTheSameScores:
    def test_of_every_row(self, pair):
        made, runtime = pair
        assert (runtime.name, runtime.channels) == (made.name, 4)
        assert (runtime.threshold, runtime.unscored) == (made.threshold_, made.unscored)
        for count in (9, 240, 700):  # one piece, one call, several calls
            given = 3 * rows(count, seed=1)
            scores, expected = (one.decision_function(given) for one in pair[::-1])
            np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)

    def test_errors_and_forecasts(self, pair):
        made, runtime = pair
        given = rows(50, seed=2)
        size = made.min_rows
        pieces = np.stack([given[a : a + size] for a in range(len(given) - size + 1)])
        score, errors, forecast = runtime.judge(pieces)
        late = slice(made.unscored, None)
        np.testing.assert_allclose(errors, made.channel_scores(given)[late], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(forecast, made.forecasts(given), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(score, errors.mean(axis=1), rtol=1e-5)


def test_a_channel_of_large_values_loses_nothing(tmp_path):
    """In single precision 1e9 plus a deviation of 1 would be 1e9."""
    far = rows()
    far[:, 0] += 1e9
    made = detector("LightMMoE", **SMALL).fit(far)
    runtime = export.Runtime(export.write(made, tmp_path / "far.onnx"))
    expected = made.decision_function(far)
    assert expected.std() > 0.1
    np.testing.assert_allclose(runtime.decision_function(far), expected, rtol=1e-5, atol=1e-5)


class TestInt8:
    def test_is_smaller_and_near(self, light, tmp_path):
        made, file = light
        expected = made.decision_function(rows(seed=3))
        for given in (None, rows()):
            out = export.quantise(file, tmp_path / "int8.onnx", rows=given)
            scores = export.Runtime(out).decision_function(rows(seed=3))
            assert out.stat().st_size < 0.8 * file.stat().st_size
            assert np.abs(scores - expected).max() > 1e-5  # it does calculate in int8
            np.testing.assert_allclose(scores, expected, rtol=0.2, atol=0.2)

    def test_refuses_rows_that_do_not_fit(self, light, tmp_path):
        with pytest.raises(DataError, match=r"shape \(30, 3\): 4 channels and at"):
            export.quantise(light[1], tmp_path / "x.onnx", rows=np.zeros((30, 3)))
        assert not list(tmp_path.iterdir())


def test_bfloat16_is_near_and_not_equal():
    made = detector("LightMMoE", **SMALL).fit(rows())
    expected, scores = (
        one.decision_function(rows(seed=4)) for one in (made, export.Bfloat16(made))
    )
    np.testing.assert_allclose(scores, expected, rtol=0.1, atol=0.05)
    assert np.abs(scores - expected).max() > 1e-6
    assert made.network.experts.conv.dtype.itemsize == 4  # the detector's own stays


class TestRefuses:
    def test_where_packages_are_missing(self, monkeypatch, tmp_path, light):
        monkeypatch.setattr(export, "find_spec", {"onnx": 1, "onnxscript": 1}.get)
        wanted = "ONNX needs onnxruntime, not installed here. Install the extra: pip install"
        for call in (
            lambda: export.write(light[0], tmp_path / "x.onnx"),
            lambda: export.Runtime(light[1]),
            lambda: export.quantise(light[1], tmp_path / "x.onnx"),
        ):
            with pytest.raises(DataError, match=wanted):
                call()

    def test_what_is_no_fitted_forecaster_or_no_model(self, tmp_path):
        with pytest.raises(DataError, match="PCA cannot be exported: it does not forecast"):
            export.write(detector("PCA").fit(rows()), tmp_path / "x.onnx")
        with pytest.raises(RuntimeError, match="has not been fitted"):
            export.write(detector("LightMMoE"), tmp_path / "x.onnx")
        (tmp_path / "text.onnx").write_text("not a model")
        for name in ("text.onnx", "none.onnx"):
            with pytest.raises(DataError, match=f"{name}: not a readable ONNX file"):
                export.Runtime(tmp_path / name)

    def test_models_of_others(self, light, tmp_path):
        import onnx

        model = onnx.load(light[1])
        del model.metadata_props[:]
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(DataError, match=r"not one of lmmoe's \(None\)"):
            export.Runtime(tmp_path / "other.onnx")

    def test_rows_of_another_shape(self, light):
        with pytest.raises(DataError, match=r"shape \(6, 4\): 4 channels and at least 7 rows"):
            export.Runtime(light[1]).decision_function(np.zeros((6, 4)))


def test_command(light, tmp_path, capsys):
    model = Model(light[0], Facts.of(rows())).save(tmp_path / "model.safetensors")
    assert main(["export", str(model), str(tmp_path / "m.onnx"), "--int8"]) == 0
    size = (tmp_path / "m.onnx").stat().st_size
    assert f"m.onnx: written, {size:,} bytes" in capsys.readouterr().out
    assert size < 0.8 * light[1].stat().st_size
    assert export.Runtime(tmp_path / "m.onnx").name == "LightMMoE"
    model = Model(detector("PCA").fit(rows())).save(tmp_path / "model.safetensors")
    assert main(["export", str(model), str(tmp_path / "n.onnx")]) == 1
    assert "PCA cannot be exported" in capsys.readouterr().err


def test_scoring_a_file_needs_no_torch(light):
    """A machine that only scores should not have to load it."""
    import subprocess

    code = (
        "import sys, numpy; from lmmoe.report.export import Runtime;"
        f"Runtime({str(light[1])!r}).decision_function(numpy.zeros((9, 4)));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
