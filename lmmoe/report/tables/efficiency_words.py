"""What was measured about cost, as sentences; every number is taken from the tables."""

import numpy as np
import pandas as pd

from lmmoe.report.efficiency.prices import Prices
from lmmoe.report.efficiency.roofline import SCORING, TRAIN
from lmmoe.report.plots.style import title

SUBJECT = "LightMMoE"
BLIND = ("random", "row index")  # they cost nothing since they look at nothing
BUSY = 0.9  # a smaller share of the processor is told
TRAINED_IN = 64  # windows of a batch, LightMMoE's own


def in_words(table: pd.DataFrame, points: pd.DataFrame, limits: pd.DataFrame) -> str:
    """Tell what detectors cost, and how far LightMMoE is from the limit: a list in Markdown."""
    good = table[table["error"].isna()]
    lines = [*_where(good), *_subject(good), *_range(good), *_limit(points, limits)]
    return "\n".join([*lines, *_second(good), *_busy(good), *_failed(table)])


def _where(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return ["No detector could be measured."]
    line = table.iloc[0]
    devices = " and ".join(sorted(table["device"].unique()))
    text = (
        f"On {line['entity']} of {line['dataset']} ({line['train_rows']:,.0f} training rows, "
        f"{line['channels']:.0f} channels), one thread of {devices}, {len(table)} detectors:"
    )
    return [text, ""]


def _subject(table: pd.DataFrame) -> list[str]:
    if SUBJECT not in table.index:
        return []
    line = table.loc[SUBJECT]
    alone = line["latency_p50_ms"], line["latency_p99_ms"]
    return [
        f"- **{SUBJECT}** learns {line['parameters']:,.0f} numbers and needs "
        f"{line['multiply_adds']:,.0f} multiply-adds a row. It trains in "
        f"{number(line['train_seconds'])} s, scores a row that comes alone in {number(alone[0])} "
        f"ms (99 of 100 within {number(alone[1])} ms), and {line['rows_per_second_256']:,.0f} rows "
        f"a second in calls of 256. Training takes {number(line['train_peak_mb'])} MB beyond the "
        f"libraries; what it learned, {number(line['learned_bytes'] / 1e3)} kB."
    ]


def _range(table: pd.DataFrame) -> list[str]:
    """The cheapest and the dearest, and how LightMMoE's cost stands to them."""
    seconds = pd.to_numeric(table["train_seconds"]).sort_values()
    if SUBJECT not in table.index:
        return []
    other = [name for name in seconds.index if name not in (SUBJECT, *BLIND)]
    if not other:
        return []
    parts = []
    for name in dict.fromkeys([other[0], other[-1]]):
        train = times(seconds[name], seconds[SUBJECT])
        score = times(*table.loc[[name, SUBJECT], "score_seconds"])
        parts.append(f"{title(name)} trains in {train} and scores in {score}")
    return [f"- Next to it, the cheapest and the dearest to train: {'; '.join(parts)}."]


def times(value: float, base: float) -> str:
    """Write one number as a multiple or a fraction of another: "3.2 times its", "1/50 of its"."""
    ratio = value / base
    return f"{number(ratio)} times its time" if ratio >= 1 else f"1/{number(1 / ratio)} of its time"


def _limit(points: pd.DataFrame, limits: pd.DataFrame) -> list[str]:
    peak = limits["gflops"].max()
    reads = limits.loc[limits["limit"] == "sgemv", "gigabytes_per_second"].iloc[0]
    scoring, training = (points.loc[work] for work in (SCORING, TRAIN))
    best = scoring["times_bound"].idxmin()
    near = training.index[np.abs(np.log(training.index / TRAINED_IN)).argmin()]
    most = training.index.max()
    return [
        f"- **Distance from the limit.** One thread here multiplies matrices at {number(peak)} "
        f"GFLOP/s and reads weights at {number(reads)} GB/s. {SUBJECT}'s network scores "
        f"{best:,} windows by one call in {number(scoring.loc[best, 'times_bound'])} times what "
        f"that allows, and a window alone in {number(scoring.loc[1, 'times_bound'])} times: there "
        f"the calls cost more than the arithmetic. Training takes "
        f"{number(training.loc[near, 'times_bound'])} times at batch {near:,}, "
        f"{number(training.loc[most, 'times_bound'])} times at batch {most:,}."
    ]


def _second(table: pd.DataFrame) -> list[str]:
    """What another device gave, by the median of the detectors that ran on it."""
    lines = []
    for device, part in table[table["second_device"].notna()].groupby("second_device"):
        ratio = pd.to_numeric(part["train_seconds"]) / pd.to_numeric(part["second_train_seconds"])
        lines.append(
            f"- On {device}, training is {number(ratio.median())} times as fast (median over the "
            f"{len(part)} that can use it; {number(ratio.min())} to {number(ratio.max())} times)."
        )
    return lines


def _busy(table: pd.DataFrame) -> list[str]:
    """Whether the machine had other work to do."""
    shares = pd.to_numeric(table["train_seconds"]) / pd.to_numeric(table["train_wall_seconds"])
    if not shares.min() < BUSY:
        return []
    return [
        f"- The machine was not idle: of the wall clock's time, training had the processor for "
        f"{100 * shares.median():.0f} % (median; at the least {100 * shares.min():.0f} %). Seconds "
        f"here are processor seconds, which such waiting does not touch; latencies contain it."
    ]


def _failed(table: pd.DataFrame) -> list[str]:
    bad = table[table["error"].notna()]
    return [f"- Failed: {title(name)} ({line['error']})." for name, line in bad.iterrows()]


def growth_in_words(laws: pd.DataFrame) -> str:
    """Tell how LightMMoE's costs grow; the upper half of each axis, where start-up costs are small.

    An exponent of 1 means twice the cost for twice the size.
    """
    parts = []
    for axis in laws.index.unique("axis"):
        if (axis, SUBJECT, "train_seconds") not in laws.index:
            continue
        train, score = (laws.loc[(axis, SUBJECT, f"{part}_seconds")] for part in ("train", "score"))
        parts.append(f"{axis} {power(train)} (scoring {power(score)})")
    return f"{SUBJECT}'s training grows as a power of: {'; '.join(parts)}." if parts else ""


def power(law: pd.Series) -> str:
    """Write an exponent with its standard error, where it has one."""
    error = "" if np.isnan(law["upper_error"]) else f" ± {law['upper_error']:.2f}"
    return f"{law['upper']:.2f}{error}"


def fleet_in_words(costs: pd.DataFrame, prices: Prices) -> str:
    """Tell what a fleet costs with the cheapest, with LightMMoE, and with the dearest."""
    known = costs.dropna(subset=["a_year"])
    names = [known.index[0], SUBJECT, known.index[-1]] if len(known) else []
    lines = [
        f"{prices.machines:,} machines, a row of each every {prices.seconds:g} s, a training of "
        f"each every {prices.retrain_days:g} days, {prices.core_hour:g} for a core and hour:",
        "",
    ]
    for name in dict.fromkeys(name for name in names if name in known.index):
        line = known.loc[name]
        lines.append(
            f"- {title(name)}: {number(line['cores_row'])} cores score row by row "
            f"({number(line['cores_batch'])} in calls of 256), {number(line['cores_training'])} "
            f"train; {line['a_year']:,.0f} a year ({line['a_year_batch']:,.0f})."
        )
    return "\n".join(lines)


def number(value: float) -> str:
    """Write a number with three digits that count, or none behind the point from 100 on."""
    if not np.isfinite(value):
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
