"""Tables of notebook 07 as people read them."""

import pandas as pd

from lmmoe.report.compression.shares import kept_shares
from lmmoe.report.deployment.newcomer import means
from lmmoe.report.plots.style import METRIC_TITLES, title

ALARMS = {
    "entities": "entities",
    "false_alarms_per_day": "false alarms a day",
    "alarms_per_day": "alarms a day",
    "found": "events found",
    "announced": "events announced",
    "delay": "delay (rows)",
}
STEPS = {
    "p50_ms": "median (ms)",
    "p99_ms": "99 % within (ms)",
    "p50_processor_ms": "median (ms of processor)",
    "p99_processor_ms": "99 % within (ms of processor)",
    "model_bytes": "model (kB)",
    "state_bytes": "state of a stream (kB)",
}
CHOICE = {
    "average_precision": "average precision",
    "p99_processor_ms": "live row, 99 % within (ms of processor)",
    "kilobytes": "model and state (kB)",
    "microseconds_per_row": "score a row (µs)",
    "train_seconds": "train (s)",
    "core_seconds_a_month": "core-seconds a month",
}

# What the study claims about deployment: these metrics, and its table of lightweighting methods.
CLAIMED = ("latency", "throughput", "model size", "memory", "deployment cost", "GPU memory")
METHODS = "lightweighting methods"  # a claim's scope


def alarms(summary: pd.DataFrame) -> pd.DataFrame:
    """Alarms under each rule (`deployment.watching.summary`), a row per detector and rule."""
    table = summary.set_index(["detector", "rule"]).reindex(columns=list(ALARMS))
    return table.rename(columns=ALARMS, index=title, level=0).round(2)


def steps(table: pd.DataFrame) -> pd.DataFrame:
    """Costs of a row that comes alone (`lmmoe.report.deployment.steps`), the quickest first."""
    good = table[table["error"].isna()].sort_values("p50_ms", kind="stable")
    shown = good.set_index(["detector", "way"])[list(STEPS)].astype(float)
    shown[["model_bytes", "state_bytes"]] /= 1000
    return shown.rename(columns=STEPS, index=title, level=0).round(3)


def compressed(table: pd.DataFrame) -> pd.DataFrame:
    """What each method keeps of its base (`compression.table`), in percent, and its speed."""
    shares = kept_shares(table).reset_index()
    for name in ("parameters", "bytes"):
        shares[f"{name} left (%)"] = (100 * shares[name]).round(1)
    for name in ("average_precision", "best_f1", "point_f1_pa", "event_f1_pa_log"):
        shares[f"{METRIC_TITLES[name]} kept (%)"] = (100 * shares[name]).round(1)
    shares["times its speed"] = shares["speed"].round(2)
    shares["method"] = shares["method"].map(title)
    said = [name for name in shares if "(%)" in name or name == "times its speed"]
    return shares.set_index(["base", "kind", "method"])[said]


def newcomers(table: pd.DataFrame) -> pd.DataFrame:
    """Means over new machines (`report.deployment.newcomer`): amounts down, what scores across."""
    joined = means(table)
    shown = joined.rename(
        columns=METRIC_TITLES
        | {"events_found": "events found", "false_alarms_per_day": "false alarms a day"}
        | {"normal_share": "share of normal rows in alarm"}
    )
    shown["method"] = shown["method"].map(title)
    return shown.set_index(["learned", "method"]).drop(columns="entities").round(3)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Which detector belongs where (`lmmoe.report.deployment.choice`)."""
    shown = table.drop(columns="asks for").set_index("place").rename(columns=CHOICE)
    shown["detector"] = shown["detector"].map(title, na_action="ignore")
    return shown.round(3)


def claims_of_deployment(audit: pd.DataFrame) -> pd.DataFrame:
    """Choose the claims about deployment from an audit (`lmmoe.report.claims.audit`)."""
    return audit[audit["metric"].isin(CLAIMED) | (audit["scope"] == METHODS)]
