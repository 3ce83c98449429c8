"""The commands ``python -m lmmoe fit`` and ``watch``: from a table of one's own to alarms.

An option left out has the default of `lmmoe.live`.
"""

import argparse
import sys
from pathlib import Path

from lmmoe.errors import DataError


def add(commands: argparse._SubParsersAction) -> None:
    """Add both commands to those of ``python -m lmmoe``."""
    fit = commands.add_parser(
        "fit",
        help="fit a detector on a table of rows taken as normal",
        description="Fit a detector on the rows of a CSV or Parquet file, and write a file that "
        "'watch' takes.",
    )
    fit.add_argument("path", metavar="data", help="the table; lmmoe.data.own tells its layout")
    fit.add_argument("-o", "--out", type=Path, required=True, help="the model (.safetensors)")
    fit.add_argument("--detector", help="its name (default: LightMMoE)")
    fit.add_argument("--seed", type=int, help="fixes all that is random (default: 0)")
    fit.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; repeatable"
    )
    fit.add_argument("--label", metavar="COLUMN", help="the column of labels, which are left out")
    fit.add_argument("--missing", choices=["error", "fill"], help="what to do about empty cells")
    fit.set_defaults(run=_fit)

    watch = commands.add_parser(
        "watch",
        help="read rows on standard input, write a JSON line per alarm",
        description="Read rows (CSV with or without a header, or JSON lines) on standard input "
        "and write one JSON line per alarm on standard output; all else is on standard error.",
    )
    rules = "budget:PER_DAY (default: budget:1), quantile:SHARE, pot:RISK, spot:RISK or a number"
    release = "share of the threshold that ends alarms (default: 0.8)"
    watch.add_argument("path", metavar="model", help="a file that 'fit' wrote")
    watch.add_argument("--threshold", metavar="RULE", help=rules)
    watch.add_argument("--release", type=float, help=release)
    watch.add_argument(
        "--accept-after", type=int, metavar="ROWS", help="take a level that stays as normal"
    )
    watch.add_argument("--step", type=float, help="time between rows, to see gaps")
    watch.add_argument("--top", type=int, metavar="N", help="channels to name (default: 5)")
    watch.add_argument("--state", type=Path, help="go on from this file, and keep it up to date")
    watch.add_argument("--save-every", type=int, metavar="ROWS", help="(default: 1000)")
    watch.add_argument(
        "--metrics", type=int, metavar="PORT", help="serve counts to Prometheus (0: any free port)"
    )
    watch.add_argument("--host", help="address for the metrics (default: 127.0.0.1)")
    watch.set_defaults(run=_watch)
    for parser in (fit, watch):
        parser.add_argument("--time", metavar="COLUMN", help="the column of times")
        parser.add_argument("--rows-per-day", type=float, help="where no times tell it")


def _fit(options: argparse.Namespace) -> int:
    import yaml

    from lmmoe.live import model, outputs
    from lmmoe.live.alarms import DEFAULTS
    from lmmoe.live.stream import Stream

    outputs.check(options.out, "model", options.path)
    settings = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise DataError(f"{text!r} is no setting", hint="Write NAME=VALUE, such as epochs=3")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DataError(f"{text!r} is no setting ({error})") from error
    made, notes = model.fit(settings=settings, **_given(options, "out", "set"))
    try:
        made.save(options.out)
    except OSError as error:
        raise DataError(f"the model cannot be written ({error})", file=options.out) from error
    name, rows = made.detector.name, len(made.detector.decision_scores_)
    lines = [*notes, f"{name}: {rows} rows of {len(made.channels)} channels"]
    for rule in DEFAULTS:
        try:
            threshold = Stream(made, threshold=rule).alarm.threshold
            lines.append(f"threshold {rule}:{DEFAULTS[rule]:g} {threshold:.6g}")
        except DataError as error:
            lines.append(f"no threshold {rule}: {error}")
    sys.stdout.write("\n".join([*lines, f"{options.out}: written"]) + "\n")
    return 0


def _watch(options: argparse.Namespace) -> int:
    from lmmoe.live import pipe

    return pipe.watch(**_given(options))


def _given(options: argparse.Namespace, *without: str) -> dict[str, object]:
    """The options that were given, as keyword arguments."""
    own = ("run", *without)
    return {k: v for k, v in vars(options).items() if v is not None and k not in own}
