"""The README's numbers: written between markers from a profile's published table of runs."""

import re
from pathlib import Path

import pandas as pd

from lmmoe import paths
from lmmoe.errors import DataError
from lmmoe.report import claims, params, runs, tables
from lmmoe.report.plots.style import COST_TITLES, METRIC_TITLES, title

OTHERS = ("asd", "smap", "msl")  # further data sets, by the profiles that report on them
SHOWN = {  # column of the honest table: digits
    "vus_pr": 3,
    "best_f1": 3,
    "quantile_f1": 3,
    "budget_events_found": 2,
    "budget_false_alarms_per_day": 2,
    "hit_rate_150": 2,
    "point_f1_pa": 3,
    "train_seconds": 2,
    "microseconds_per_row": 1,
    "entities": 0,
    "seeds": 0,
}


def update(path: Path, profile: str) -> bool:
    """Write the blocks of ``path`` anew; tell whether anything changed.

    A block is what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
    """
    old = path.read_text(encoding="utf-8")
    new = rendered(old, profile)
    if new != old:
        with paths.replacing(path) as part:
            part.write_text(new, encoding="utf-8")
    return new != old


def rendered(text: str, profile: str) -> str:
    """Give the text with every block made from ``figures/<profile>``."""
    folder = paths.figures(profile)
    chosen = params.load(paths.home() / "params" / f"{profile}.yaml")
    rows = tables.of_profile(runs.read(folder / "runs.csv"), chosen)
    if rows.empty:
        raise DataError(
            "no runs", file=folder / "runs.csv", hint=f"make report PROFILE={profile} first"
        )
    blocks = {
        "facts": _facts(rows),
        "findings": tables.in_words(rows, "ours"),
        "results": _results(rows),
        "scoring": _scoring(folder),
        "elsewhere": _elsewhere(profile),
        "others": tables.others.in_words(_published(folder, "others")),
        "study": _study(rows),
        "claims": _claims(claims.audit_at_hand(chosen.dataset, rows=rows)),
    }
    for name, block in blocks.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        text, found = re.subn(pattern, lambda m, b=block: m[1] + b + "\n" + m[2], text, flags=re.S)
        if found != 1:
            raise DataError(f"{found} blocks named {name!r}, expected one", file="README.md")
    return text


def _published(folder: Path, name: str, by: str | list[str] | None = None) -> pd.DataFrame:
    """Read a table that a notebook published, indexed ``by`` columns of it."""
    file = folder / f"{name}.csv"
    if not file.is_file():
        raise DataError("not published", file=file, hint=f"make report PROFILE={folder.name} first")
    return pd.read_csv(file, index_col=by)


def _results(rows: pd.DataFrame) -> str:
    table = tables.honest(rows, "ours")
    titles = METRIC_TITLES | COST_TITLES
    lines = [["detector", "average precision (95 %)", *(titles[name] for name in SHOWN)]]
    for name, line in table.iterrows():
        low, high = line["average_precision_low"], line["average_precision_high"]
        first = f"{line['average_precision']:.3f} ({low:.2f} to {high:.2f})"
        numbers = [_number(line[column], digits) for column, digits in SHOWN.items()]
        lines.append([title(name), first, *numbers])
    notes = f"{tables.ahead_in_words(table)} {tables.seeds_in_words(rows)}".strip()
    return f"{_markdown(lines)}\n\n{notes}"


def _claims(audit: pd.DataFrame) -> str:
    table = claims.summary(audit)
    lines = [[name, *map(str, line)] for name, *line in table.itertuples()]
    return _markdown([["document", *table.columns], *lines])


def _scoring(folder: Path) -> str:
    """What the scoring is worth here, and in short on the other data sets."""
    lines = [tables.rescoring.in_words(_published(folder, "rescoring"))]
    for name in OTHERS:
        if (paths.figures(name) / "rescoring.csv").is_file():
            short = tables.rescoring.in_short(_published(paths.figures(name), "rescoring"))
            lines.append(f"- {name.upper()}: {short}")
    return "\n".join(lines)


def _elsewhere(profile: str) -> str:
    """Average precision on every data set whose report is published, best on the first first."""
    files = {name: paths.figures(name) / "honest.csv" for name in (profile, *OTHERS)}
    known = {
        name.upper(): pd.read_csv(file, index_col="detector")
        for name, file in files.items()
        if file.is_file()
    }
    table = pd.DataFrame({name: one["average_precision"] for name, one in known.items()})
    table = table.sort_values(profile.upper(), ascending=False)
    lines = [["detector", *table.columns]]
    for detector in table.index:
        cells = [_with_entities(one, detector) for one in known.values()]
        lines.append([title(detector), *cells])
    best = [f"{name} {title(column.idxmax())}" for name, column in table.items()]
    return f"{_markdown(lines)}\n\nHighest: {', '.join(best)}."


def _with_entities(honest: pd.DataFrame, detector: str) -> str:
    """Average precision, and of how many entities where not of all."""
    if detector not in honest.index:
        return "–"
    line, most = honest.loc[detector], honest["entities"].max()
    of = f" ({line['entities']:.0f} of {most})" if line["entities"] < most else ""
    return f"{_number(line['average_precision'], 3)}{of}"


def _number(value: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def _study(rows: pd.DataFrame) -> str:
    """Ours / the study's, in percent as the study prints them."""
    table = tables.study_headline(rows)
    lines = [["detector", *(METRIC_TITLES[metric] for metric in tables.STUDY_METRICS)]]
    for name, line in table.iterrows():
        cells = []
        for metric in tables.STUDY_METRICS:
            both = line[metric], line[f"{metric}_study"]
            cells.append(" / ".join("not run" if pd.isna(x) else f"{100 * x:.2f}" for x in both))
        lines.append([title(name), *cells])
    return _markdown(lines)


def _facts(rows: pd.DataFrame) -> str:
    counts = rows.groupby("dataset")["entity"].nunique()
    where = ", ".join(f"{count} machines of {name.upper()}" for name, count in counts.items())
    minutes = rows["train_seconds"].sum() / 60
    done = rows[rows["error"].isna()]
    made_with = ", ".join(sorted(set("torch " + done["torch"] + " on " + done["host"])))
    seeds = done.groupby("detector")["seed"].nunique()
    window = ", ".join(str(int(window)) for window in rows["vus_window"].unique())
    return (
        f"{where}, {seeds.min()} to {seeds.max()} seeds, {len(rows)} runs, {minutes:.0f} minutes "
        f"of training in all, one thread each ({made_with}). VUS-PR: buffers of up to {window} "
        "rows."
    )


def _markdown(lines: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (lines[0], rule, *lines[1:]))
