"""Scoring with an ONNX file: what `lmmoe.report.export.write` wrote, or its int8 copy."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmmoe.detectors.base import Floats
from lmmoe.errors import DataError
from lmmoe.report.export import needed

FORMAT = "lmmoe onnx 1"  # that of lmmoe.report.export.graph, which would load PyTorch
BATCH = 256  # pieces a call: the fastest of 64 to 4096 here


class Runtime:
    """Scores rows by ONNX Runtime on the processor, on ``threads`` threads.

    Raises `DataError` where ONNX Runtime is not installed, or the file is not of this kind.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        needed.check(needed.SCORING)
        self.session = _session(Path(path), threads)
        facts = self.session.get_modelmeta().custom_metadata_map
        if facts.get("format") != FORMAT:
            raise DataError(
                f"an ONNX file, but not one of lmmoe's ({facts.get('format')!r})",
                file=path,
                hint="Write it with: python -m lmmoe export",
            )
        self.name, self.first_scores = facts["detector"], facts["first_scores"]
        self.channels, self.threshold = int(facts["channels"]), float(facts["threshold"])
        self.unscored = int(facts["window"]) + int(facts["horizon"]) - 1

    def judge(self, pieces: npt.NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
        """Score the last row of each piece ``(n, w + h, c)``: scores, errors, forecasts.

        ``(n,)``, ``(n, c)`` and ``(n, c)``; errors are in scaled units, forecasts in raw ones.
        """
        score, errors, forecast = self.session.run(None, {"rows": pieces})
        return score, errors, forecast

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Score consecutive raw rows ``(t, c)``: ``(t,)``, as the detector's own method does.

        Raises `DataError` for rows of another shape or too few of them.
        """
        rows = np.ascontiguousarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.channels or len(rows) <= self.unscored:
            raise DataError(
                f"rows of shape {rows.shape}: {self.channels} channels and at least "
                f"{self.unscored + 1} rows are needed"
            )
        late = np.concatenate(
            [
                self.session.run(["score"], {"rows": np.ascontiguousarray(part)})[0]
                for part in _parts(rows, self.unscored + 1)
            ]
        ).astype(np.float64)
        first = late.min() if self.first_scores == "lowest" else 0.0
        return np.concatenate([np.full(self.unscored, first), late])


def _parts(rows: Floats, size: int) -> list[Floats]:
    """Pieces of ``size`` consecutive rows, `BATCH` at a time, as views ``(n, size, c)``."""
    pieces = np.lib.stride_tricks.sliding_window_view(rows, size, axis=0).transpose(0, 2, 1)
    return [pieces[start : start + BATCH] for start in range(0, len(pieces), BATCH)]


def _session(path: Path, threads: int) -> object:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except (states.InvalidProtobuf, states.InvalidGraph, states.Fail, states.NoSuchFile) as error:
        raise DataError(f"not a readable ONNX file ({error})", file=path) from error
