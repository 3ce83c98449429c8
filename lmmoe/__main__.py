"""The command line: a command is a line in `_parser`, and a function of the options.

The functions import what they need themselves, so that ``--help`` is quick.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lmmoe.errors import DataError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 1 after an error, 130 after Ctrl-C."""
    # Grammars of addresses take a second to compile; jsonschema checks notebooks without them.
    sys.modules.setdefault("rfc3987_syntax", None)
    options = _parser().parse_args(argv)
    try:
        return options.run(options) or 0
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from lmmoe.live import command as live

    parser = argparse.ArgumentParser(
        prog="python -m lmmoe", description="Anomaly detection in multivariate time series."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(run: Callable, text: str, *arguments: tuple) -> None:
        command = commands.add_parser(run.__name__[1:], help=text, description=text)
        command.set_defaults(run=run)
        for name, meaning, *settings in arguments:
            command.add_argument(name, help=meaning, **dict(*settings))

    flag, file = {"action": "store_true"}, {"type": Path}
    root = ("--root", "the folder of the data sets (default: LMMOE_DATA, else the user's cache)")
    dataset = ("dataset", "which data set", {"choices": ["smd"]})
    only = ("--entity", "only this one; repeatable", {"action": "append"})
    url = ("--url", "a mirror: the address of the folder that holds ServerMachineDataset")
    add(_fetch, "download a data set, or what is missing of it", dataset, root, only, url)
    check = ("--check", "read every entity", flag)
    add(_data, "list the data sets that are there and check them (status 1: wrong)", root, check)
    live.add(commands)
    out = ("out", "the file to write", file)
    model, int8 = ("model", "a file that `fit` wrote", file), ("--int8", "8-bit weights", flag)
    add(_export, "write a fitted model as ONNX, which takes raw rows", model, out, int8)

    params = ("params", "a profile: a file like params/smd.yaml", file)
    cores = ("--cores", "jobs at a time", {"type": int, "default": os.cpu_count()})
    dry = ("--dry-run", "only tell what would run", flag)
    fresh = ("--fresh", "compute every run here, whatever is published", flag)
    cluster = ("--cluster", "send the jobs there: a folder of profiles/, such as slurm")
    make = "make a profile's tables, figures and page"
    add(_report, make, params, cores, cluster, dry, fresh)
    # The jobs that the report's workflow is made of.
    entity, log = (
        ("entity", "which one, or its files' name"),
        ("--log", "a file for progress, as lines", file),
    )
    add(_run, "fit and score a profile's detectors on one entity", params, entity, out, log)
    tables = ("tables", "tables that `run` wrote", file | {"nargs": "+"})
    add(_collect, "add tables of runs to a published one", out, tables)
    notebook = ("notebook", "the notebook to execute", file)
    figures = ("--figures", "the folder for figures and tables", {"default": ""})
    one = ("--entity", "for a notebook about one entity")
    add(_notebook, "execute one notebook with a profile", params, notebook, out, figures, one)
    add(_page, "join executed notebooks to a page, and to Markdown", params, out)
    return parser


def _fetch(options: argparse.Namespace) -> None:
    from lmmoe import data
    from lmmoe.data.fetch import PUBLISHED, fetch_smd

    root, url = data.data_root(options.root), options.url or PUBLISHED
    new, present = fetch_smd(root, base_url=url, entities=options.entity or ())
    print(f"{root}: {len(new)} files fetched, {len(present)} were there already")


def _data(options: argparse.Namespace) -> int:
    from lmmoe import data

    root, status = data.data_root(options.root), 0
    print(f"data root: {root}" + ("" if root.is_dir() else " (no such folder)"))
    for name in data.DATASETS:
        try:
            found = data.entities(name, root)
            print(f"{name:<10} {len(found)} entities" if found else f"{name:<10} not here")
            for entity in found if options.check else ():
                data.load(name, entity, root)
        except DataError as error:
            print(f"{name:<10} wrong: {error}")
            status = 1
    print("\nThe layouts expected here are those of docs/own-data.md, 'Published data sets'.")
    return status


def _export(options: argparse.Namespace) -> None:
    from lmmoe.live.model import Model, check_place
    from lmmoe.report import export

    check_place(options.out, "ONNX file", options.model)
    made = Model.load(options.model).detector
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        plain = Path(folder, "model.onnx") if options.int8 else options.out
        export.write(made, plain)
        if options.int8:
            export.quantise(plain, options.out)
    print(f"{options.out}: written, {options.out.stat().st_size:,} bytes")


def _report(options: argparse.Namespace) -> int:
    from lmmoe import paths
    from lmmoe.report import execute, profile

    chosen = profile.load(options.params)
    print(f"profile {chosen.profile}: {len(chosen.present)} entities of {chosen.dataset}")
    for reason in chosen.unreadable.values():
        print(f"left out: {reason}")
    print(f"the page: {paths.results(chosen.profile) / 'report.html'}", flush=True)
    how = {name: getattr(options, name) for name in ("cores", "cluster", "dry_run", "fresh")}
    return execute.start(options.params, chosen, **how)


def _run(options: argparse.Namespace) -> None:
    from lmmoe.report import execute, experiment, measure, profile, store

    measure.die_with_parent()
    if options.log:
        execute.log_progress(options.log)
    chosen = profile.load(options.params)
    entity = chosen.named(options.entity)
    rows = experiment.table(chosen, [entity])
    store.write(rows, options.out)
    for error in rows["error"].dropna():
        print(f"{entity}: a run failed: {error}", file=sys.stderr)


def _collect(options: argparse.Namespace) -> None:
    from lmmoe.report import experiment, measure, store

    measure.die_with_parent()
    tables = [store.read(table, experiment.ALL) for table in options.tables]
    experiment.collect(tables, options.out)


def _notebook(options: argparse.Namespace) -> None:
    from lmmoe.report import execute, measure

    measure.die_with_parent()
    given = {"profile": str(options.params.resolve()), "out": options.figures}
    if options.entity:
        from lmmoe.report import profile

        given |= {"entity": profile.load(options.params).named(options.entity)}
    execute.run(options.notebook, options.out, parameters=given)


def _page(options: argparse.Namespace) -> None:
    from lmmoe.report import page, profile

    made = profile.load(options.params)
    page.build(made, options.out)
    page.markdown(made)


if __name__ == "__main__":
    sys.exit(main())
