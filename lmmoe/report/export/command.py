"""The command ``python -m lmmoe export``."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lmmoe.errors import DataError

if TYPE_CHECKING:
    from lmmoe.detectors import Detector


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m lmmoe``."""
    export = commands.add_parser(
        "export",
        help="write a fitted model as ONNX",
        description="Write a model of the MMoE family as an ONNX file, which takes raw rows.",
    )
    export.add_argument("model", type=Path, help="a file that 'fit' wrote")
    export.add_argument("out", type=Path, help="the file to write (.onnx)")
    export.add_argument("--int8", action="store_true", help="with weights of 8 bits")
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the model, write the file, tell its size; errors are `DataError`."""
    from lmmoe.live import outputs
    from lmmoe.live.model import Model
    from lmmoe.report.export import needed

    outputs.check(options.out, "ONNX file", options.model)
    needed.check(needed.WRITING)
    made = Model.load(options.model).detector
    try:
        _write(made, options.out, int8=options.int8)
    except OSError as error:
        raise DataError(f"the ONNX file cannot be written ({error})", file=options.out) from error
    sys.stdout.write(f"{options.out}: written, {options.out.stat().st_size:,} bytes\n")
    return 0


def _write(made: "Detector", out: Path, *, int8: bool) -> None:
    from tempfile import TemporaryDirectory

    from lmmoe.report.export import quantise, write

    if not int8:
        write(made, out)
        return
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        quantise(write(made, Path(folder, "model.onnx")), out)
