"""The command ``python -m lmmoe export``."""

import argparse
import sys
from pathlib import Path


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
    from tempfile import TemporaryDirectory

    from lmmoe.export import quantise, write
    from lmmoe.live.model import Model

    made = Model.load(options.model).detector
    if options.int8:
        with TemporaryDirectory(prefix="lmmoe-") as folder:
            quantise(write(made, Path(folder, "model.onnx")), options.out)
    else:
        write(made, options.out)
    sys.stdout.write(f"{options.out}: written, {options.out.stat().st_size:,} bytes\n")
    return 0
