"""A fitted forecaster as an ONNX file, which any ONNX Runtime scores with: no PyTorch, no lmmoe.

>>> from lmmoe.report import export
>>> export.write(model.detector, "model.onnx")  # doctest: +SKIP
>>> export.Runtime("model.onnx").decision_function(rows)  # doctest: +SKIP

Or in a shell: ``python -m lmmoe export model.safetensors model.onnx [--int8]``.

Axes: n pieces, w window, h horizon, c channels. Input ``rows``, float64 ``(n, w + h, c)``: pieces
of consecutive *raw* rows, oldest first, of which the last is scored. Outputs: ``score``, float32
``(n,)``, the mean over channels of ``errors``, float32 ``(n, c)``, the squared errors of the
forecast in scaled units; ``forecast``, float64 ``(n, c)``, in raw units. The scaling is in the
graph, in double precision; the network runs in single precision. The file's metadata hold detector,
window, horizon, channels, how the first rows are scored and the threshold of ``predict``.

Needs the extra ``export``; scoring needs ``onnxruntime`` alone, and loads no torch.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING

from lmmoe import paths
from lmmoe.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lmmoe.detectors import Detector

    Floats = npt.NDArray[np.float64]

FORMAT = "lmmoe onnx 1"
OPSET = 20  # of ONNX operators; read by every ONNX Runtime since 1.17
BATCH = 256  # pieces a call: the fastest of 64 to 4096
PRODUCTS = ["MatMul", "Gemm"]  # what int8 changes; scaling and errors stay as they are
PIECES = 1024  # of the training rows, evenly spaced, that the ranges of static int8 come from
PART = 128  # of them in a call


def write(made: Detector, path: str | Path) -> Path:
    """Write a fitted forecaster (the MMoE family and its like) as ONNX, complete or not there.

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
    how |= {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("pieces")},)}
    with _quiet():
        program = torch.onnx.export(
            Scoring().cpu().eval(), (sample,), opset_version=OPSET, verbose=False, **how
        )
    facts = {"format": FORMAT, "detector": made.name, "first_scores": made.first_scores}
    facts |= {"window": made.window, "horizon": made.horizon}
    facts |= {"channels": made.n_features_in_, "threshold": made.threshold_}
    program.model.metadata_props.update({name: str(fact) for name, fact in facts.items()})
    with paths.replacing(Path(path)) as part:
        program.save(part)
    return Path(path)


def quantise(path: str | Path, out: str | Path, *, rows: npt.ArrayLike | None = None) -> Path:
    """Write an int8 copy of what `write` wrote, by ONNX Runtime's own quantiser.

    *Dynamic*: weights are int8, every product's inputs are scaled as they come. *Static*: their
    ranges are fixed beforehand, from raw training ``rows`` ``(t, c)``. Both follow Jacob et al.,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, section 2. Raises `DataError` where a package is missing, the file is of another
    kind, or the rows do not fit it.
    """
    _need("onnx", "onnxruntime", "onnxscript")
    import numpy as np
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    pieces = None if rows is None else Runtime(path).pieces(rows)
    int8 = quantization.QuantType.QInt8
    how = {"op_types_to_quantize": PRODUCTS, "weight_type": int8}
    how |= {"extra_options": {"MatMulConstBOnly": True}}
    with (
        TemporaryDirectory(prefix="lmmoe-") as folder,
        paths.replacing(Path(out)) as part,
        _quiet(),
    ):
        plain = Path(folder, "prepared.onnx")
        # Symbolic shapes fail on the open number of pieces; ONNX's own are enough.
        quant_pre_process(Path(path), plain, skip_symbolic_shape=True)
        if pieces is None:
            quantization.quantize_dynamic(plain, part, **how)
        else:
            starts = np.linspace(0, len(pieces) - 1, min(PIECES, len(pieces))).astype(int)
            calls = ({"rows": pieces[some]} for some in np.split(starts, range(PART, PIECES, PART)))
            reader = SimpleNamespace(get_next=lambda: next(calls, None))
            form = {"quant_format": quantization.QuantFormat.QDQ, "activation_type": int8}
            quantization.quantize_static(plain, part, reader, **form, **how)
    return Path(out)


class Runtime:
    """Scores rows by ONNX Runtime, on one thread of the processor.

    Raises `DataError` where ONNX Runtime is not installed, or the file is not of this kind.
    """

    def __init__(self, path: str | Path) -> None:
        _need("onnxruntime")
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        broken = (states.InvalidProtobuf, states.InvalidGraph, states.Fail, states.NoSuchFile)
        where = {"providers": ["CPUExecutionProvider"]}
        try:
            self.session = onnxruntime.InferenceSession(Path(path), options, **where)
        except broken as error:
            raise DataError(f"not a readable ONNX file ({error})", file=path) from error
        facts = self.session.get_modelmeta().custom_metadata_map
        if facts.get("format") != FORMAT:
            problem = f"an ONNX file, but not one of lmmoe's ({facts.get('format')!r})"
            raise DataError(problem, file=path, hint="Write it with: python -m lmmoe export")
        self.name, self.first_scores = facts["detector"], facts["first_scores"]
        self.channels, self.threshold = int(facts["channels"]), float(facts["threshold"])
        self.unscored = int(facts["window"]) + int(facts["horizon"]) - 1

    def judge(self, pieces: Floats) -> tuple[Floats, Floats, Floats]:
        """Score the last row of each piece ``(n, w + h, c)``: scores, errors, forecasts.

        ``(n,)``, ``(n, c)`` and ``(n, c)``; errors are in scaled units, forecasts in raw ones.
        """
        return tuple(self.session.run(None, {"rows": pieces}))

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Score consecutive raw rows ``(t, c)``: ``(t,)``, as the detector's own method does.

        Raises `DataError` for rows of another shape or too few of them.
        """
        import numpy as np

        pieces, scores = self.pieces(X), []
        for start in range(0, len(pieces), BATCH):
            given = np.ascontiguousarray(pieces[start : start + BATCH])
            scores += self.session.run(["score"], {"rows": given})
        late = np.concatenate(scores).astype(np.float64)
        first = late.min() if self.first_scores == "lowest" else 0.0
        return np.concatenate([np.full(self.unscored, first), late])

    def pieces(self, X: npt.ArrayLike) -> Floats:
        """Cut rows ``(t, c)`` into pieces, a view ``(t - unscored, w + h, c)``; raises as above."""
        import numpy as np

        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.channels or len(rows) <= self.unscored:
            wanted = f"{self.channels} channels and at least {self.unscored + 1} rows are needed"
            raise DataError(f"rows of shape {rows.shape}: {wanted}")
        view = np.lib.stride_tricks.sliding_window_view(rows, self.unscored + 1, axis=0)
        return view.transpose(0, 2, 1)


def _need(*packages: str) -> None:
    """Raise `DataError` that names the packages which are not installed."""
    if missing := [name for name in packages if find_spec(name) is None]:
        problem = f"ONNX needs {', '.join(missing)}, not installed here"
        raise DataError(problem, hint="Install the extra: pip install -e .[export]")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice of exporter and quantiser."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


# --- the command ``python -m lmmoe export`` ---


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m lmmoe``."""
    about = "Write a model of the MMoE family as an ONNX file, which takes raw rows."
    export = commands.add_parser("export", help="write a fitted model as ONNX", description=about)
    export.add_argument("model", type=Path, help="a file that 'fit' wrote")
    export.add_argument("out", type=Path, help="the file to write (.onnx)")
    export.add_argument("--int8", action="store_true", help="with weights of 8 bits")
    export.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from lmmoe.live.model import Model, check_place

    check_place(options.out, "ONNX file", options.model)
    made = Model.load(options.model).detector
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        file = write(made, Path(folder, "model.onnx") if options.int8 else options.out)
        if options.int8:
            quantise(file, options.out)
    sys.stdout.write(f"{options.out}: written, {options.out.stat().st_size:,} bytes\n")
    return 0
