"""Our numbers on SMD beside those that others print for detectors of the same names."""

from importlib.resources import files

import pandas as pd

from lmmoe.report.plots.style import METRIC_TITLES, title
from lmmoe.report.statistics import bootstrap_mean
from lmmoe.report.tables.means import entity_means

PROTOCOL = "ours"
REBUILT = "Sarfraz et al., ICML 2024"  # whose way `lmmoe.report.as_published.quovadis` repeats


def printed() -> pd.DataFrame:
    """Numbers on SMD from other publications.

    Columns ``source``, ``detector`` and ``metric`` under our names, ``value``, ``machines`` of 28,
    and ``way``: what is known to differ from ours in how it was made.
    """
    with (files("lmmoe.report") / "published" / "others.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def beside(rows: pd.DataFrame, rebuilt: pd.DataFrame) -> pd.DataFrame:
    """Hold ours against `printed`, for the detectors of which ``rows`` have results.

    Adds ``ours``, its 95 % bootstrap interval over entities (``low``, ``high``; NaN for one),
    their number (``entities``), and ``rebuilt``, ours scored and judged in their way, from
    `lmmoe.report.as_published.quovadis`.
    """
    means, lines = entity_means(rows, PROTOCOL), []
    known = means.index.unique("detector")
    for line in printed().itertuples(index=False):
        values = means.loc[[line.detector] if line.detector in known else [], line.metric].dropna()
        if values.empty:
            continue
        mean, low, high = bootstrap_mean(values)
        ours = {"ours": mean, "low": low, "high": high, "entities": len(values)}
        if line.source == REBUILT and line.detector in rebuilt.index:
            ours["rebuilt"] = rebuilt.loc[line.detector, line.metric]
        lines.append(line._asdict() | ours)
    order = ["source", "detector", "metric", "value", "machines"]
    order += ["ours", "low", "high", "entities", "rebuilt", "way"]
    return pd.DataFrame(lines).reindex(columns=order)


def in_words(table: pd.DataFrame) -> str:
    """Say how many of `beside` lie near ours, what differs in the others, what the way explains."""
    known = table[table["low"].notna()]
    if known.empty:
        return "Others print nothing on the detectors that ran here, or these ran on one entity."
    inside = known["value"].between(known["low"], known["high"])
    judged, outside = known[known["rebuilt"].notna()], known[~inside & known["rebuilt"].isna()]
    lines = [
        f"Of {len(known)} numbers that others print for detectors of these names on SMD, "
        f"{inside.sum()} lie inside the 95 % interval of ours. The intervals are wide, and the "
        f"machines are others: {known['entities'].max()} here, 18 to 28 there.",
        "",
        *(
            f"- {_named(line)}; ours {line.ours:.3f}, and in their way {line.rebuilt:.3f}. "
            f"Their way: {line.way}."
            for line in judged.itertuples()
        ),
        *(
            f"- {_named(line)}; ours {line.ours:.3f} ({line.low:.3f} to {line.high:.3f}). "
            f"What differs: {line.way}."
            for line in outside.itertuples()
        ),
    ]
    return "\n".join(lines)


def _named(line: tuple) -> str:
    metric = METRIC_TITLES[line.metric]
    return f"{line.source}, {title(line.detector)}, {metric}: {line.value:.3f}"


def people(table: pd.DataFrame) -> pd.DataFrame:
    """`beside` under the names that people read."""
    titles = {
        "value": "printed",
        "machines": "machines",
        "low": "from",
        "high": "to",
        "entities": "machines here",
        "rebuilt": "in their way",
        "way": "what differs",
    }
    made = table.round(3).rename(columns=titles)
    made["detector"] = made["detector"].map(title)
    made["metric"] = made["metric"].map(METRIC_TITLES)
    return made.set_index("source")
