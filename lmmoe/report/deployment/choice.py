"""Which detector belongs where: rules over what was measured, no opinion.

The places are the study's: real time, edge, cloud, batch, research. A place asks for something and
then prefers something; the rule is written beside the answer. Quality is the mean average precision
of the profile's runs under protocol ``ours``; "as good as the best" means that the mean lies within
the 95 % bootstrap interval of the best detector's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from lmmoe.report.deployment.steps import STEP
from lmmoe.report.statistics import bootstrap_mean, largest_block
from lmmoe.report.tables.means import by_entity

WAIT_MS = 10.0  # that a live row may take, 99 of 100: the study's own bound (slides, B043)
EDGE_BYTES = 200_000  # of model and state: what the study prints for LightMMoE's model (C073)
ROWS_A_MONTH = 43_200  # a row a minute for 30 days, after which a model is trained anew
BLIND = ("random", "row index", "untrained LightMMoE")  # controls, which nobody deploys
COLUMNS = (
    *("place", "asks for", "detector", "average_precision", "p99_processor_ms", "kilobytes"),
    *("microseconds_per_row", "train_seconds", "core_seconds_a_month"),
)


@dataclass(frozen=True)
class Place:
    """A place, its rule in words, whom the rule admits and the column that it prefers by."""

    name: str
    rule: str
    admits: Callable[[pd.DataFrame], pd.Series]
    prefers: str
    lowest: bool = True


def _everyone(table: pd.DataFrame) -> pd.Series:
    return pd.Series(data=True, index=table.index)


def _live(table: pd.DataFrame) -> pd.Series:
    return table["p99_processor_ms"] <= WAIT_MS


def _small(table: pd.DataFrame) -> pd.Series:
    return table["p99_processor_ms"].notna() & (table["kilobytes"] * 1000 <= EDGE_BYTES)


def _good(table: pd.DataFrame) -> pd.Series:
    return table["as_good"]


PLACES = (
    Place(
        "real time",
        f"a live score, 99 of 100 rows within {WAIT_MS:g} ms of processor time; then the highest "
        "average precision",
        _live,
        "average_precision",
        lowest=False,
    ),
    Place(
        "edge",
        f"a live score, model and state within {EDGE_BYTES / 1000:g} kB; then the highest average "
        "precision",
        _small,
        "average_precision",
        lowest=False,
    ),
    Place(
        "cloud",
        "as good as the best; then the fewest core-seconds a machine and month (trained once, a "
        "row a minute scored)",
        _good,
        "core_seconds_a_month",
    ),
    Place("batch", "as good as the best; then the fastest to score", _good, "microseconds_per_row"),
    Place(
        "research", "the highest average precision", _everyone, "average_precision", lowest=False
    ),
)


def candidates(rows: pd.DataFrame, steps: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Join quality and costs of runs with the costs of a live row: a row per detector.

    Only detectors that have run on (nearly) all entities, and no controls; none where there are
    no labelled events, and so no quality.
    """
    quality = by_entity(rows, protocol, "average_precision")
    quality = largest_block(quality)
    quality = quality.drop(columns=[name for name in BLIND if name in quality])
    good = rows[(rows["protocol"] == protocol) & rows["error"].isna()]
    costs = good.groupby("detector").agg(
        train_seconds=("train_seconds", "median"),
        score_seconds=("score_seconds", "median"),
        test_rows=("test_rows", "median"),
    )
    live = steps[(steps["way"] == STEP) & steps["error"].isna()].set_index("detector")
    table = pd.DataFrame({"average_precision": quality.mean()}).join(costs)
    table = table.join(live[["p99_processor_ms", "model_bytes", "state_bytes"]])
    table["kilobytes"] = (table["model_bytes"] + table["state_bytes"]) / 1000
    table["microseconds_per_row"] = 1e6 * table["score_seconds"] / table["test_rows"]
    scoring = table["microseconds_per_row"] * ROWS_A_MONTH / 1e6
    table["core_seconds_a_month"] = table["train_seconds"] + scoring
    table["as_good"] = False
    if len(quality):
        best = bootstrap_mean(quality[table["average_precision"].idxmax()])
        table["as_good"] = table["average_precision"] >= best.low
    return table


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Apply the rules to `candidates`: a row per place; a place that nobody suits has a gap."""
    lines = []
    for place in PLACES:
        suited = table[place.admits(table)]
        line = {"place": place.name, "asks for": place.rule}
        if len(suited):
            ranked = suited.sort_values(place.prefers, ascending=place.lowest, kind="stable")
            line |= {"detector": ranked.index[0]} | ranked.iloc[0].to_dict()
        lines.append(line)
    return pd.DataFrame(lines).reindex(columns=list(COLUMNS))
