"""An int8 copy of an ONNX file, by ONNX Runtime's own quantiser.

*Dynamic*: weights are int8, every product's inputs are scaled as they come. *Static*: the inputs'
ranges are fixed beforehand, from training rows. Both follow Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 2.
Scaling and errors stay as they are: only products of matrices are made of small integers.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from lmmoe import paths
from lmmoe.detectors.base import Floats
from lmmoe.errors import DataError
from lmmoe.report.export import needed
from lmmoe.report.export.runtime import Runtime

PRODUCTS = ["MatMul", "Gemm"]
PIECES = 1024  # of the training rows, evenly spaced, that the ranges of static int8 come from
EACH = 128  # of them in a call


def quantise(path: str | Path, out: str | Path, *, rows: npt.ArrayLike | None = None) -> Path:
    """Write an int8 copy of what `report.export.write` wrote: dynamic, or static by raw ``rows``.

    ``rows`` ``(t, c)`` are training rows. Raises `DataError` where a package is missing, the file
    is of another kind, or the rows do not fit it.
    """
    needed.check(needed.WRITING)
    model = Runtime(path)
    with TemporaryDirectory(prefix="lmmoe-") as folder, paths.replacing(Path(out)) as part, _calm():
        plain = Path(folder, "prepared.onnx")
        _prepared(Path(path), plain)
        if rows is None:
            _dynamic(plain, part)
        else:
            _static(plain, part, Pieces(rows, model))
    return Path(out)


def _prepared(path: Path, out: Path) -> None:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Symbolic shapes fail on the open number of pieces; ONNX's own are enough.
    quant_pre_process(path, out, skip_symbolic_shape=True)


def _dynamic(path: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        path,
        out,
        op_types_to_quantize=PRODUCTS,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def _static(path: Path, out: Path, pieces: "Pieces") -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        path,
        out,
        pieces,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=PRODUCTS,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


class Pieces:
    """Training rows as ONNX Runtime's quantiser asks for them: a call's inputs at a time."""

    def __init__(self, rows: npt.ArrayLike, model: Runtime) -> None:
        values, size = np.asarray(rows, dtype=np.float64), model.unscored + 1
        if values.ndim != 2 or values.shape[1] != model.channels or len(values) < size:
            raise DataError(
                f"rows of shape {values.shape} for static int8: {model.channels} channels and at "
                f"least {size} rows are needed"
            )
        starts = np.linspace(0, len(values) - size, min(PIECES, len(values) - size + 1))
        self.calls = self._calls(values, starts.astype(int), size)

    @staticmethod
    def _calls(values: Floats, starts: npt.NDArray[np.int_], size: int) -> Iterator[dict]:
        for first in range(0, len(starts), EACH):
            part = starts[first : first + EACH]
            yield {"rows": np.stack([values[start : start + size] for start in part])}

    def get_next(self) -> dict[str, Floats] | None:
        """Give the next call's inputs; None after the last."""
        return next(self.calls, None)


@contextmanager
def _calm() -> Iterator[None]:
    """Without the quantiser's advice, which it gives through the root logger."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
