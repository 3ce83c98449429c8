"""The command line: ``python -m lmmoe COMMAND``.

A command is a block in an `_add_` function, and a function that takes the options and returns an
exit status. The latter import what they need themselves, so that ``--help`` is quick.
"""

import argparse
import os
import sys
from pathlib import Path

from lmmoe.errors import DataError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 1 after an error, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        return options.run(options)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from lmmoe.live import command as live
    from lmmoe.report import export

    parser = argparse.ArgumentParser(
        prog="python -m lmmoe", description="Anomaly detection in multivariate time series."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_data_commands(commands)
    live.add(commands)
    export.add(commands)
    _add_report_commands(commands)
    _add_upkeep_commands(commands)
    return parser


def _add_data_commands(commands: argparse._SubParsersAction) -> None:
    root_help = "the folder that holds the data sets (default: LMMOE_DATA, else the user's cache)"
    fetch = commands.add_parser(
        "fetch",
        help="download a data set and verify it",
        description="Download a data set and verify it. An interrupted download is continued.",
    )
    fetch.add_argument("dataset", choices=["smd"], help="which data set")
    fetch.add_argument("--root", metavar="FOLDER", help=root_help)
    fetch.add_argument(
        "--entity", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    fetch.add_argument(
        "--url", help="a mirror: the address of the folder that holds ServerMachineDataset"
    )
    fetch.set_defaults(run=_fetch)

    data = commands.add_parser(
        "data",
        help="list the data sets that are there and check them",
        description="List the data sets under the data root; SMD is held against its published "
        "contents. The exit status is 1 if something is wrong.",
    )
    data.add_argument("--root", metavar="FOLDER", help=root_help)
    data.add_argument(
        "--check", action="store_true", help="read every entity of the other data sets, too"
    )
    data.set_defaults(run=_data)


def _add_report_commands(commands: argparse._SubParsersAction) -> None:
    """The report, and the jobs that its workflow is made of."""
    report = commands.add_parser(
        "report",
        help="make the whole report of a profile",
        description="Make a profile's tables, figures and page; what is up to date is kept.",
    )
    report.add_argument("--cores", type=int, default=os.cpu_count(), help="jobs at a time")
    report.add_argument("--dry-run", action="store_true", help="only tell what would run")
    report.add_argument(
        "--fresh", action="store_true", help="compute every run here, whatever is published"
    )
    report.set_defaults(run=_report)

    run = commands.add_parser("run", help="fit and score a profile's detectors on one entity")
    run.set_defaults(run=_run)
    collect = commands.add_parser("collect", help="add tables of runs to a published one")
    collect.add_argument("out", type=Path, help="the published table (.csv)")
    collect.add_argument("tables", type=Path, nargs="+", help="tables that `run` wrote")
    collect.set_defaults(run=_collect)
    notebook = commands.add_parser("notebook", help="execute one notebook with a profile")
    notebook.set_defaults(run=_notebook)
    page = commands.add_parser("page", help="join executed notebooks to one HTML page")
    page.set_defaults(run=_page)
    for parser in (report, run, notebook, page):
        parser.add_argument("params", help="a profile: a file like params/smd.yaml")

    run.add_argument("entity", help="which entity")
    run.add_argument("out", type=Path, help="the table to write (.csv)")
    run.add_argument("--log", type=Path, help="write progress there, and to the terminal as lines")
    notebook.add_argument("notebook", type=Path, help="the notebook to execute")
    notebook.add_argument("out", type=Path, help="the executed notebook to write")
    notebook.add_argument("--figures", default="", help="the folder for figures and tables")
    notebook.add_argument("--entity", help="for a notebook about one entity")
    page.add_argument("out", type=Path, help="the page to write (.html)")


def _add_upkeep_commands(commands: argparse._SubParsersAction) -> None:
    refresh = commands.add_parser("refresh", help="execute the committed notebooks in place")
    refresh.add_argument("notebooks", type=Path, nargs="+", help="the notebooks")
    refresh.set_defaults(run=_refresh)


def _fetch(options: argparse.Namespace) -> int:
    from lmmoe import data
    from lmmoe.data.fetch import PUBLISHED, fetch_smd

    root = data.data_root(options.root)
    new, present, size = fetch_smd(root, base_url=options.url or PUBLISHED, entities=options.entity)
    print(
        f"{root}: {len(new)} files fetched ({size / 1e6:.1f} MB), {len(present)} were there already"
    )
    return 0


def _data(options: argparse.Namespace) -> int:
    from lmmoe import data
    from lmmoe.data.fetch import inventory, layouts

    root = data.data_root(options.root)
    print(f"data root: {root}" if root.is_dir() else f"data root: {root} (no such folder)")
    missing, right = [], True
    for name in data.DATASETS:
        lines, wrong = inventory(name, root, check=options.check)
        if not lines and not wrong:
            missing.append(name)
            lines = ["not here" + (": python -m lmmoe fetch smd" if name == "smd" else "")]
        lines += [f"wrong: {problem}" for problem in wrong]
        print(f"{name:<10} " + f"\n{'':<11}".join(lines))
        right = right and not wrong
    if missing:
        print("\nLayouts expected of what is not here (<root> is the data root):")
        print(layouts(missing))
    return 0 if right else 1


def _report(options: argparse.Namespace) -> int:
    from lmmoe import paths
    from lmmoe.report import execute, profile

    chosen = profile.load(options.params)
    print(f"profile {chosen.profile}: {len(chosen.present)} entities of {chosen.dataset}")
    print(f"the page: {paths.results(chosen.profile) / 'report.html'}", flush=True)
    how = {"cores": options.cores, "dry_run": options.dry_run, "fresh": options.fresh}
    return execute.start(Path(options.params), **how)


def _run(options: argparse.Namespace) -> int:
    from lmmoe.report import execute, experiment, measure, profile, store

    measure.die_with_parent()
    if options.log:
        execute.log_progress(options.log, options.entity)
    rows = experiment.table(profile.load(options.params), [options.entity])
    store.write(rows, options.out)
    for error in rows["error"].dropna():
        print(f"{options.entity}: a run failed: {error}", file=sys.stderr)
    return 0


def _collect(options: argparse.Namespace) -> int:
    from lmmoe.report import experiment, measure, store

    measure.die_with_parent()
    tables = [store.read(table, experiment.ALL) for table in options.tables]
    experiment.collect(tables, options.out)
    return 0


def _notebook(options: argparse.Namespace) -> int:
    from lmmoe.report import execute, measure

    measure.die_with_parent()
    given = {"profile": str(Path(options.params).resolve()), "out": options.figures}
    given |= {"entity": options.entity} if options.entity else {}
    execute.run(options.notebook, options.out, parameters=given)
    return 0


def _page(options: argparse.Namespace) -> int:
    from lmmoe.report import page, profile

    page.build(profile.load(options.params), options.out)
    return 0


def _refresh(options: argparse.Namespace) -> int:
    from lmmoe.report import execute

    for notebook in options.notebooks:
        execute.refresh(notebook)
    return 0


if __name__ == "__main__":
    sys.exit(main())
