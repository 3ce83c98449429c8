"""The commands ``python -m lmmoe fit`` and ``watch``: from a table of one's own to alarms.

An option left out has the default of `lmmoe.live`.
"""

import argparse
import sys
from pathlib import Path

from lmmoe.errors import DataError

# How the library's hints name what are options here.
WORDS = (
    ("missing='fill'", "--missing fill"),
    ("with time=", "with --time"),
    ("with label=", "with --label"),
)


def add(commands: argparse._SubParsersAction) -> None:
    """Add both commands to those of ``python -m lmmoe``."""
    for parser in (_add_fit(commands), _add_watch(commands)):
        parser.add_argument("--time", metavar="COLUMN", help="the column of times")
        parser.add_argument("--rows-per-day", type=float, help="where no times tell it")


def _add_fit(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "fit",
        help="fit a detector on a table of rows taken as normal",
        description="Fit a detector on the rows of a CSV or Parquet file, and write a file that "
        "'watch' takes.",
    )
    parser.add_argument("path", metavar="data", help="the table; lmmoe.data.own tells its layout")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the model (.safetensors)")
    parser.add_argument("--detector", help="its name (default: LightMMoE)")
    parser.add_argument("--seed", type=int, help="fixes all that is random (default: 0)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; repeatable"
    )
    parser.add_argument(
        "--label", metavar="COLUMN", help="the column of labels, which are left out"
    )
    parser.add_argument("--missing", choices=["error", "fill"], help="what to do about empty cells")
    parser.set_defaults(run=_fit)
    return parser


def _add_watch(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "watch",
        help="read rows on standard input, write a JSON line per alarm",
        description="Read rows (CSV with or without a header, or JSON lines) on standard input "
        "and write one JSON line per alarm on standard output; all else is on standard error.",
    )
    parser.add_argument("path", metavar="model", help="a file that 'fit' wrote")
    parser.add_argument(
        "--threshold",
        metavar="RULE",
        help="budget:PER_DAY (default: budget:1), quantile:SHARE, pot:RISK, spot:RISK or a number",
    )
    parser.add_argument(
        "--release", type=float, help="share of the threshold that ends alarms (default: 0.8)"
    )
    parser.add_argument(
        "--accept-after", type=int, metavar="ROWS", help="take a level that stays as normal"
    )
    parser.add_argument("--step", type=float, help="time between rows, to see gaps")
    parser.add_argument("--top", type=int, metavar="N", help="channels to name (default: 5)")
    parser.add_argument("--state", type=Path, help="go on from this file, and keep it up to date")
    parser.add_argument("--save-every", type=int, metavar="ROWS", help="(default: 1000)")
    parser.add_argument(
        "--metrics", type=int, metavar="PORT", help="serve counts to Prometheus (0: any free port)"
    )
    parser.add_argument("--host", help="address for the metrics (default: 127.0.0.1)")
    parser.set_defaults(run=_watch)
    return parser


def _fit(options: argparse.Namespace) -> int:
    from lmmoe.live import fitting, outputs

    outputs.check(options.out, "model", options.path)
    settings = fitting.settings(options.set)
    try:
        model, notes = fitting.fit(settings=settings, **_given(options, "out", "set"))
    except DataError as error:
        raise DataError(_as_options(str(error))) from error
    try:
        model.save(options.out)
    except OSError as error:
        raise DataError(f"the model cannot be written ({error})", file=options.out) from error
    lines = [*notes, *fitting.described(model), f"{options.out}: written"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _watch(options: argparse.Namespace) -> int:
    from lmmoe.live import run

    return run.watch(**_given(options))


def _given(options: argparse.Namespace, *without: str) -> dict[str, object]:
    """The options that were given, as keyword arguments."""
    own = ("run", *without)
    return {k: v for k, v in vars(options).items() if v is not None and k not in own}


def _as_options(text: str) -> str:
    for word, option in WORDS:
        text = text.replace(word, option)
    return text
