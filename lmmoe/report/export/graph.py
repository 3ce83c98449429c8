"""A fitted forecaster as one ONNX graph: raw rows in, scores out.

Axes: n pieces, w window, h horizon, c channels.

Input ``rows``, float64 ``(n, w + h, c)``: pieces of consecutive raw rows, oldest first, of which
the last is to be scored. Outputs: ``score``, float32 ``(n,)``, the mean over channels of
``errors``, float32 ``(n, c)``, the squared errors of the forecast in scaled units; ``forecast``,
float64 ``(n, c)``, in raw units. How many pieces one call takes is open. The file's metadata tell
detector, window, horizon, channels, the lowest score of the training rows and the threshold that
``predict`` has.
"""

import json
import logging
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from lmmoe import paths
from lmmoe.detectors.base import Detector
from lmmoe.detectors.neural import Forecaster
from lmmoe.errors import DataError
from lmmoe.report.export import needed

FORMAT = "lmmoe onnx 1"
OPSET = 20  # of ONNX operators; read by every ONNX Runtime since 1.17


class Scoring(nn.Module):
    """Scale pieces, forecast their last row, compare: the detector's scoring as one module."""

    def __init__(self, made: Forecaster) -> None:
        super().__init__()
        self.network, self.window = made.network, made.window
        self.register_buffer("shift", torch.from_numpy(made._scaling.shift))
        self.register_buffer("scale", torch.from_numpy(made._scaling.scale))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map pieces ``(n, w + h, c)`` to scores ``(n,)``, errors and forecasts ``(n, c)``."""
        scaled = ((rows - self.shift) / self.scale).float()
        forecast = self.network(scaled[:, : self.window].transpose(1, 2))
        errors = (forecast - scaled[:, -1]).square()
        return errors.mean(dim=1), errors, forecast.double() * self.scale + self.shift


def write(made: Detector, path: str | Path) -> Path:
    """Write a fitted forecaster (the MMoE family and its like) as ONNX, complete or not there.

    By `torch.export`. Raises `DataError` where a package is missing (`report.export.needed`) or the
    detector is no forecaster, `RuntimeError` where it has not been fitted.
    """
    needed.check(needed.WRITING)
    if not isinstance(made, Forecaster):
        raise DataError(
            f"{made.name} cannot be exported: it does not forecast with a network",
            hint="Export LightMMoE or another of its family",
        )
    if not made.fitted:
        raise RuntimeError(f"{made.name} has not been fitted: there is nothing to export")
    program = _program(made)
    for name, value in _facts(made).items():
        program.model.metadata_props[name] = value
    with paths.replacing(Path(path)) as part:
        program.save(part)
    return Path(path)


def _program(made: Forecaster) -> torch.onnx.ONNXProgram:
    module = Scoring(made).cpu().eval()
    # Two pieces: torch.export takes a size of 1 for fixed.
    sample = torch.zeros(2, made.unscored + 1, made.n_features_in_, dtype=torch.float64)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of packages that it does not need
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
            return torch.onnx.export(
                module,
                (sample,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("pieces")},),
                input_names=["rows"],
                output_names=["score", "errors", "forecast"],
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        log.setLevel(level)


def _facts(made: Forecaster) -> dict[str, str]:
    """What a user of the file needs to know, as the texts that ONNX's metadata are."""
    known = {
        "format": FORMAT,
        "detector": made.name,
        "window": made.window,
        "horizon": made.horizon,
        "channels": made.n_features_in_,
        "first_scores": made.first_scores,
        "threshold": made.threshold_,
    }
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in known.items()}
