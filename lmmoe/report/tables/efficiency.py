"""Tables of what detectors cost, for people. They take what `lmmoe.report.efficiency` measured."""

import pandas as pd

from lmmoe.report.efficiency.timing import BATCHES
from lmmoe.report.plots.style import title
from lmmoe.report.tables.honest import honest

# Columns of `lmmoe.report.efficiency.table` under the names and in the units that people read.
TITLES = {
    "parameters": ("parameters", 1, 0),
    "multiply_adds": ("multiply-adds a row", 1, 0),
    "train_seconds": ("train (s)", 1, 3),
    "score_microseconds": ("score a row (µs)", 1, 2),
    "latency_p50_ms": ("one row, median (ms)", 1, 3),
    "latency_p99_ms": ("one row, 99 % (ms)", 1, 3),
    **{
        f"rows_per_second_{batch}": (f"rows/s, {batch} a call", 1, 0)
        for batch in BATCHES
        if batch > 1
    },
    "train_peak_mb": ("memory, train (MB)", 1, 1),
    "inference_mb": ("memory, score (MB)", 1, 1),
    "model_bytes": ("file (kB)", 1e-3, 1),
    "learned_bytes": ("learned (kB)", 1e-3, 1),
}
SECOND = {
    "second_train_seconds": ("train (s)", 1, 3),
    "second_latency_p50_ms": ("one row, median (ms)", 1, 3),
    f"second_rows_per_second_{BATCHES[-1]}": (f"rows/s, {BATCHES[-1]} a call", 1, 0),
}
FLEET = {
    "cores_row": ("cores, row by row", 1, 2),
    "cores_batch": ("cores, 256 rows a call", 1, 3),
    "cores_training": ("cores, training", 1, 2),
    "a_year": ("a year, row by row", 1, 0),
    "a_year_batch": ("a year, 256 rows a call", 1, 0),
    "models_gb": ("all models (GB)", 1, 1),
}
# What the study claims about cost, by the metric of a claim: what is measured, what is counted.
MEASURED = (
    *("training time", "training time ratio", "training time reduction", "training speed-up"),
    *("inference time", "inference time ratio", "compute ratio", "latency", "throughput"),
    *("memory", "GPU memory", "GPU utilisation", "CPU use"),
)
COUNTED = (
    *("parameters", "parameter reduction", "parameter ratio", "model size"),
    *("operations", "speed-up"),
)


def people(table: pd.DataFrame) -> pd.DataFrame:
    """Make the main table: a row per detector, cheapest to train first; failed ones at the end.

    Where a second device was measured, its figures stand last, under its name.
    """
    table = table.assign(score_microseconds=1e6 * table["score_seconds"] / table["score_rows"])
    table = table.sort_values("train_seconds", na_position="last", kind="stable")
    made = _titled(table, TITLES)
    for device in table["second_device"].dropna().unique():
        there = table["second_device"] == device
        made = made.join(_titled(table[there], SECOND).add_prefix(f"{device}: "))
    return made.rename(index=title)


def _titled(table: pd.DataFrame, titles: dict[str, tuple[str, float, int]]) -> pd.DataFrame:
    """Choose, scale and round columns."""
    columns = {
        name: (pd.to_numeric(table[column]) * factor).round(digits)
        for column, (name, factor, digits) in titles.items()
    }
    return pd.DataFrame(columns, index=table.index)


def sureness(table: pd.DataFrame) -> pd.DataFrame:
    """Say how sure the seconds are: repetitions, their spread, and how busy the machine was.

    Spread is the slowest minus the fastest over the median, in percent. Below 100 % of the
    processor, other work took the rest.
    """
    made = {}
    for part, name in (("train", "train"), ("score", "score")):
        seconds, wall = (pd.to_numeric(table[f"{part}_{c}"]) for c in ("seconds", "wall_seconds"))
        made[f"{name}, repetitions"] = table[f"{part}_repeats"]
        made[f"{name}, spread (%)"] = (100 * pd.to_numeric(table[f"{part}_spread"])).round(0)
        made[f"{name}, processor (%)"] = (100 * seconds / wall).round(0)
    made["calls of one row"] = table["latency_calls"]
    return pd.DataFrame(made, index=table.index).rename(index=title)


def growth(laws: pd.DataFrame) -> pd.DataFrame:
    """Give the exponents as people read them: a row per axis and detector."""
    names = {
        "train_seconds": "training",
        "score_seconds": "scoring",
        "multiply_adds": "multiply-adds",
    }
    upper = laws["upper"].map("{:.2f}".format) + " ± " + laws["upper_error"].map("{:.2f}".format)
    table = upper.unstack("measure", sort=False).rename(columns=names)
    ranges = laws.groupby(["axis", "detector"], sort=False)[["from", "to"]].first().astype(int)
    table.insert(0, "sizes", [f"{line['from']} to {line['to']}" for _, line in ranges.iterrows()])
    return table.rename(index=title, level="detector").replace("nan ± nan", "")


def fleet(costs: pd.DataFrame) -> pd.DataFrame:
    """Give what a fleet costs (`lmmoe.report.efficiency.fleet`) as people read it."""
    return _titled(costs, FLEET).rename(index=title)


def against_quality(rows: pd.DataFrame, protocol: str, table: pd.DataFrame) -> pd.DataFrame:
    """Join quality, the means over entities of runs, with the measured costs.

    For `lmmoe.report.plots.quality_and_cost`: detectors that have both, best first.
    """
    quality = honest(rows, protocol)[["average_precision"]]
    costs = pd.DataFrame(
        {
            "train_seconds": pd.to_numeric(table["train_seconds"]),
            "microseconds_per_row": 1e6 * table["score_seconds"] / table["score_rows"],
        }
    )
    return quality.join(costs, how="inner")


def claims_of_cost(
    audit: pd.DataFrame, metrics: tuple[str, ...] = (*MEASURED, *COUNTED)
) -> pd.DataFrame:
    """Choose the claims about cost from an audit (`report.claims.audit`), those of some metrics.

    Ways to make a network smaller are notebook 07's.
    """
    return audit[audit["metric"].isin(metrics) & (audit["scope"] != "lightweighting methods")]
