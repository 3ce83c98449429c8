"""A fitted forecaster as an ONNX file, which any ONNX Runtime scores with: no PyTorch, no lmmoe.

`write` makes it, `Runtime` scores rows by it; in a shell: ``python -m lmmoe export``.

Input ``rows``, float64 ``(n, w + h, c)``: n pieces of consecutive *raw* rows, window and horizon
long, of which the last is scored. Outputs: ``score``, float32 ``(n,)``, the mean over channels of
``errors``, float32 ``(n, c)``, the squared errors of the forecast in scaled units; ``forecast``,
float64 ``(n, c)``, in raw units. The file's metadata hold what scoring needs, the threshold of
``predict``, and a SHA-256 of the file with zeros in its place. Needs the extra ``export``; scoring
needs ``onnxruntime`` alone.
"""

import hashlib
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np

from lmmoe import paths
from lmmoe.data.series import Floats
from lmmoe.detectors import Detector
from lmmoe.errors import DataError

FORMAT = "lmmoe onnx 1"
PLACE = b"\n\x06sha256\x12\x40"  # protobuf's bytes before the 64 digits of the checksum
OPSET = 20  # of ONNX operators; read by every ONNX Runtime since 1.17
BATCH = 256  # pieces a call: the fastest of 64 to 4096
PIECES = 1024  # of the training rows, evenly spaced, that the ranges of static int8 come from


def write(made: Detector, path: str | Path) -> Path:
    """Write a fitted forecaster as ONNX that scores like the detector, complete or not there.

    Raises `DataError` where a package is missing or the detector is no forecaster, `RuntimeError`
    where it has not been fitted.
    """
    _need("onnx", "onnxruntime", "onnxscript")
    import torch
    from torch import Tensor, nn

    from lmmoe.detectors.neural import Forecaster

    if not isinstance(made, Forecaster):
        problem = f"{made.name} cannot be exported: it does not forecast with a network"
        raise DataError(problem, hint="Export LightMMoE or another of its family")
    if not made.fitted:
        raise RuntimeError(f"{made.name} has not been fitted: there is nothing to export")

    class Scoring(nn.Module):
        """Scale pieces, forecast their last row, compare."""

        def __init__(self) -> None:
            super().__init__()
            self.network = made.network
            self.register_buffer("shift", torch.from_numpy(made._scaling.shift))
            self.register_buffer("scale", torch.from_numpy(made._scaling.scale))

        def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            scaled = ((rows - self.shift) / self.scale).float()
            forecast = self.network(scaled[:, : made.window].transpose(1, 2))
            errors = (forecast - scaled[:, -1]).square()
            return errors.mean(dim=1), errors, forecast.double() * self.scale + self.shift

    # Two pieces: torch.export takes a size of 1 for fixed.
    sample = torch.zeros(2, made.unscored + 1, made.n_features_in_, dtype=torch.float64)
    how = {"input_names": ["rows"], "output_names": ["score", "errors", "forecast"]}
    how |= {"dynamic_shapes": ({0: torch.export.Dim("pieces")},), "opset_version": OPSET}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # no advice
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(Scoring().cpu().eval(), (sample,), verbose=False, **how)
    facts = {"format": FORMAT, "detector": made.name, "channels": made.n_features_in_}
    facts |= {name: getattr(made, name) for name in ("window", "horizon", "first_scores")}
    facts |= {"threshold": made.threshold_, "sha256": "0" * 64}
    program.model.metadata_props.update({name: str(fact) for name, fact in facts.items()})
    with paths.replacing(Path(path)) as part:
        program.save(part)
        _finish(part, made)
    return Path(path)


def quantise(path: str | Path, out: str | Path, *, rows: Floats | None = None) -> Path:
    """Write an int8 copy of what `write` wrote, by ONNX Runtime's own quantiser.

    Inputs of its products are scaled as they come, or with raw training ``rows`` ``(t, c)`` by
    ranges fixed from these (Jacob et al., CVPR 2018, section 2). Raises `DataError` where a package
    is missing, the file is of another kind, or the rows do not fit it.
    """
    _need("onnx", "onnxruntime", "onnxscript")
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    int8, work = quantization.QuantType.QInt8, quantization.quantize_dynamic
    how = {"op_types_to_quantize": ["MatMul", "Gemm"], "weight_type": int8}
    how |= {"extra_options": {"MatMulConstBOnly": True}}
    if rows is not None:
        work = quantization.quantize_static
        pieces = Runtime(path).pieces(rows)
        starts = np.linspace(0, len(pieces) - 1, min(PIECES, len(pieces))).astype(int)
        calls = iter([{"rows": pieces[starts]}])
        how |= {"calibration_data_reader": SimpleNamespace(get_next=lambda: next(calls, None))}
        how |= {"quant_format": quantization.QuantFormat.QDQ, "activation_type": int8}
    with TemporaryDirectory() as folder, paths.replacing(Path(out)) as part:
        plain = Path(folder, "prepared.onnx")
        # Symbolic shapes fail on the open number of pieces; ONNX's own are enough.
        quant_pre_process(Path(path), plain, skip_symbolic_shape=True)
        work(plain, part, **how)
        _finish(part)
    return Path(out)


def _finish(part: Path, made: Detector | None = None) -> None:
    """Put in the checksum; run one piece and several, which score as by the detector."""
    part.write_bytes(_signed(part.read_bytes()))
    runtime, noise = Runtime(part), np.random.default_rng(0)
    for pieces in (1, 7):
        rows = noise.normal(size=(runtime.unscored + pieces, runtime.channels))
        rows = made._scaling.undone(rows) if made else rows
        scores = runtime.decision_function(rows)[runtime.unscored :]
        expected = made.decision_function(rows)[made.unscored :] if made else scores
        if not np.allclose(scores, expected, rtol=1e-3, atol=1e-5):
            raise DataError("as ONNX, the detector scores otherwise: nothing was written")


def _signed(content: bytes) -> bytes:
    """Put the right checksum in its place, if there is one."""
    before, place, after = content.rpartition(PLACE)
    zeros = before + place + b"0" * 64 + after[64:]
    return before + place + hashlib.sha256(zeros).hexdigest().encode() + after[64:]


class Runtime:
    """Scores rows by ONNX Runtime, on one thread of the processor.

    Raises `DataError` where ONNX Runtime is not installed, or the file is not of this kind.
    """

    def __init__(self, path: str | Path) -> None:
        _need("onnxruntime")
        from onnxruntime import InferenceSession, SessionOptions
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        broken = (states.InvalidProtobuf, states.InvalidGraph, states.Fail, OSError)
        try:
            content = Path(path).read_bytes()
            if PLACE in content and content != _signed(content):
                raise DataError("damaged", file=path, hint="Take a whole copy, or write it anew")
            self.session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except broken as error:
            raise DataError(f"not a readable ONNX file ({error})", file=path) from error
        facts = self.session.get_modelmeta().custom_metadata_map
        if facts.get("format") != FORMAT or "sha256" not in facts:
            problem = f"an ONNX file, but not one of lmmoe's ({facts.get('format')!r})"
            raise DataError(problem, file=path, hint="Write it with: python -m lmmoe export")
        self.channels, self.first_scores = int(facts["channels"]), facts["first_scores"]
        self.unscored = int(facts["window"]) + int(facts["horizon"]) - 1

    def decision_function(self, X: Floats) -> Floats:
        """Score consecutive raw rows ``(t, c)``: ``(t,)``, as the detector's own method does.

        Raises `DataError` for rows of another shape or too few of them.
        """
        pieces = self.pieces(X)
        parts = (pieces[start : start + BATCH] for start in range(0, len(pieces), BATCH))
        scores = [self.session.run(["score"], {"rows": part.copy()})[0] for part in parts]
        late = np.concatenate(scores).astype(np.float64)
        first = late.min() if self.first_scores == "lowest" else 0.0
        return np.concatenate([np.full(self.unscored, first), late])

    def pieces(self, X: Floats) -> Floats:
        """Cut rows ``(t, c)`` into pieces, a view ``(t - unscored, w + h, c)``; raises as above."""
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.channels or len(rows) <= self.unscored:
            wanted = f"{self.channels} channels and at least {self.unscored + 1} rows are needed"
            raise DataError(f"rows of shape {rows.shape}: {wanted}")
        view = np.lib.stride_tricks.sliding_window_view(rows, self.unscored + 1, axis=0)
        return view.transpose(0, 2, 1)


def _need(*packages: str) -> None:
    if missing := [name for name in packages if find_spec(name) is None]:
        problem = f"ONNX needs {', '.join(missing)}, not installed here"
        raise DataError(problem, hint="Install the extra: pip install -e .[export]")
