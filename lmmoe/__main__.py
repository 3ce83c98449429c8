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
    notebook = commands.add_parser("notebook", help="execute one notebook with a profile")
    notebook.set_defaults(run=_notebook)
    page = commands.add_parser("page", help="join executed notebooks to one HTML page")
    page.set_defaults(run=_page)
    for parser in (report, run, notebook, page):
        parser.add_argument("params", help="a profile: a file like params/smd.yaml")

    run.add_argument("entity", help="which entity")
    run.add_argument("out", type=Path, help="the table to write (.csv)")
    run.add_argument("--part", type=int, help="only this pass of the profile, counted from 0")
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

    readme = commands.add_parser("readme", help="write the README's numbers from published tables")
    readme.add_argument("--profile", default="smd", help="whose tables (default: smd)")
    readme.set_defaults(run=_readme)


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
        print("\n".join(layouts(missing)))
    return 0 if right else 1


def _report(options: argparse.Namespace) -> int:
    from lmmoe.report import params, workflow

    profile = params.load(options.params)
    print(f"profile {profile.profile}: {len(profile.present)} entities of {profile.dataset}")
    how = {"cores": options.cores, "dry_run": options.dry_run, "fresh": options.fresh}
    return workflow.start(Path(options.params), **how)


def _run(options: argparse.Namespace) -> int:
    from lmmoe import paths
    from lmmoe.report import execute, params, runs

    execute.die_with_parent()
    profile = params.load(options.params)
    if options.log:
        execute.log_progress(options.log, options.entity)
    rows = runs.table(profile, [options.entity], options.part)
    with paths.replacing(options.out) as part:
        rows.to_csv(part, index=False)
    for error in rows["error"].dropna():
        print(f"{options.entity}: a run failed: {error}", file=sys.stderr)
    return 0


def _notebook(options: argparse.Namespace) -> int:
    from lmmoe.report import execute, params

    execute.die_with_parent()
    extra = {"out": options.figures} | ({"entity": options.entity} if options.entity else {})
    profile = params.load(options.params)
    file = str(Path(options.params).resolve())
    execute.run(options.notebook, options.out, profile=profile, extra=extra, file=file)
    return 0


def _page(options: argparse.Namespace) -> int:
    from lmmoe.report import params, workflow

    workflow.build_page(params.load(options.params), options.out)
    return 0


def _refresh(options: argparse.Namespace) -> int:
    from lmmoe.report import execute

    for notebook in options.notebooks:
        execute.refresh(notebook)
    return 0


def _readme(options: argparse.Namespace) -> int:
    from lmmoe import paths
    from lmmoe.report import readme

    changed = readme.update(paths.home() / "README.md", options.profile)
    print("README.md: " + ("written anew" if changed else "up to date"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
