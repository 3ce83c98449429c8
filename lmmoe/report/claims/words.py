"""The audit in short: how many claims hold, and the few that matter most."""

import math

import pandas as pd

from lmmoe.report.claims.evidence import Evidence
from lmmoe.report.claims.judging import VERDICTS, shown
from lmmoe.report.claims.published import FORECASTS, SCORES

# What a reader will ask about first: the headline, the ranks, the size, the time, the novelty.
FIRST = {
    "headline": ("C001", "C002", "C003"),
    "against the L2 norm, which trains nothing": ("B060", "B061", "B062"),
    "ranks": ("B019", "C085"),
    "parameters": ("A002", "C060", "C063", "A021"),
    "time": ("C086", "C087", "A022", "B041"),
    "novelty": ("A001",),
}

UNITLESS = ("text", "count", "ratio", "rank")


def counts(audit: pd.DataFrame) -> pd.DataFrame:
    """Count claims by document (rows, "all" last) and verdict (columns, all four always)."""
    table = pd.crosstab(audit["document"], audit["verdict"]).reindex(columns=list(VERDICTS))
    table = table.fillna(0).astype(int).loc[list(dict.fromkeys(audit["document"]))]
    table.loc["all"] = table.sum()
    return table.rename_axis(index="document", columns=None)


def counted(audit: pd.DataFrame, about: str) -> str:
    """Count the verdicts on the claims ``about`` something: a sentence."""
    said = ", ".join(f"“{verdict}” {n}" for verdict, n in audit["verdict"].value_counts().items())
    return f"Of {len(audit)} claims about {about}: {said}."


def listed(audit: pd.DataFrame) -> str:
    """List claims as a table in Markdown: printed, ours, verdict and why."""
    head = ["claim", "of", "printed", "ours", "verdict", "why"]
    lines = [_row(head), _row(["---", "---", "---:", "---:", "---", "---"])]
    for claim in audit.to_dict("records"):
        scope = "" if claim["scope"] == "-" else f" ({claim['scope']})"
        unit = "" if claim["unit"] in UNITLESS else f" {claim['unit']}"
        cells = [
            f"{claim['id']}, {claim['metric']}",
            f"{claim['subject']}{scope}",
            f"{claim['value']}{unit}",
            "" if math.isnan(claim["measured"]) else shown(claim["measured"]),
            f"**{claim['verdict']}**",
            claim["why"],
        ]
        lines.append(_row(cells))
    return "\n".join(lines)


def chance(rows: pd.DataFrame) -> dict[str, float]:
    """What random scores reach on the machines at hand, in percent, by the claims' metric.

    Without a run of them a metric is missing: no adjusted number should then be shown.
    """
    evidence = Evidence(rows)
    found = {
        metric: evidence.average("random", column, evidence.fleet)
        for metric, (column, _) in SCORES.items()
    }
    return {metric: one.value for metric, one in found.items() if one is not None}


def in_words(audit: pd.DataFrame) -> str:
    """Write a page of Markdown: the counts, then the claims that matter most with our numbers.

    A point-adjusted score stands beside that of random scores, as each reason says.
    """
    table = counts(audit)
    hold, fail, contradicted, untested = table.loc["all"]
    total = (
        f"{hold} hold, {fail} fail, {contradicted} are contradicted within the study, {untested} "
        "cannot be tested here. On fewer than all machines our runs are compared with the study's "
        "own on the same ones; each reason says what was compared"
    )
    forecasts = ((audit["verdict"] == "fails") & audit["kind"].isin(list(FORECASTS))).sum()
    total += f". Of those that fail, {forecasts} were forecasts or targets"
    head = ["document", *VERDICTS]
    lines = [f"Of {len(audit)} printed claims: {total}.", "", _row(head)]
    lines.append(_row(["---", *["---:"] * len(VERDICTS)]))
    pairs = zip(table.index, table.to_numpy(), strict=True)
    lines += [_row([str(name), *map(str, line)]) for name, line in pairs]
    by_id = audit.set_index("id")
    for topic, ids in FIRST.items():
        lines += ["", f"**{topic[0].upper()}{topic[1:]}**", ""]
        lines += [_bullet(name, by_id.loc[name]) for name in ids]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _bullet(name: str, line: pd.Series) -> str:
    """One claim: what is printed, our number, the verdict and why."""
    unit = "" if line["unit"] in UNITLESS else f" {line['unit']}"
    scope = "" if line["scope"] == "-" else f", {line['scope']}"
    ours = "" if math.isnan(line["measured"]) else f", ours {shown(line['measured'])}{unit}"
    return (
        f"- {name} ({line['document']}): {line['subject']}{scope}, {line['metric']}: printed "
        f"{line['value']}{unit}{ours}: **{line['verdict']}**. {line['why']}"
    )
