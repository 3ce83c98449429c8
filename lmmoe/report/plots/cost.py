"""Pictures of cost: what detectors take, LightMMoE's limits, growth, and quality against cost."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.names import METRIC_TITLES, colour, title
from lmmoe.report.plots import style
from lmmoe.report.plots.style import canvas, label_dots, log_scale, styled

# Each panel of `costs`: from a column to another, what the axis says, and the factor to its unit.
PANELS = (
    (("train_seconds",), "train (s)", 1),
    (("latency_p50_ms", "latency_p99_ms"), "one row, median\nto 99 % (ms)", 1),
    (
        ("rows_per_second_1", "rows_per_second_16", "rows_per_second_256", "rows_per_second_4096"),
        "rows a second, calls\nof 1, 16, 256, 4,096",
        1,
    ),
    (("train_peak_mb",), "memory to\ntrain (MB)", 1),
    (("multiply_adds",), "multiply-adds\na row", 1),
    (("learned_bytes",), "learned (kB)", 1e-3),
)
WORKS = {
    "network": ("o", "#0072B2", "scoring, the network alone"),
    "detector": ("s", "#56B4E9", "scoring, from raw rows"),
    "training": ("^", "#D55E00", "training"),
}
QUALITY_AGAINST = {
    "train_seconds": "seconds to train on one entity (log scale)",
    "microseconds_per_row": "microseconds to score one row (log scale)",
}


@styled
def costs(table: pd.DataFrame) -> Figure:
    """Every measure of cost, a panel each, every detector a line; cheapest to train on top.

    ``table`` is `lmmoe.report.cost.table`. A gap: not defined, or not measured.
    """
    known = table[table["error"].isna()]
    order = known.sort_values("train_seconds", ascending=False, kind="stable")
    height = 1.5 + 0.2 * len(order)
    figure, axes = canvas(width=10.5, height=height, ncols=len(PANELS), sharey=True)
    for ax, (columns, label, factor) in zip(axes, PANELS, strict=True):
        for level, (name, line) in enumerate(order[list(columns)].astype(float).iterrows()):
            values = factor * line[line > 0].to_numpy()  # a log axis has no 0
            places = np.full(len(values), level)
            ax.axhline(level, color="#EEEEEE", lw=0.6, zorder=0)
            ax.plot(values, places, color=colour(name), lw=1.4, alpha=0.45)
            ax.scatter(values[1:], places[1:], color="white", edgecolor=colour(name), s=9, zorder=2)
            big = 34 if name == "LightMMoE" else 16
            ax.scatter(values[:1], places[:1], color=colour(name), s=big, zorder=3)
        ax.set_xlabel(label, fontsize=8)
        log_scale(ax, "x")
        ax.tick_params(labelsize=7)
    axes[0].set_title("what each detector costs (log scales)")
    style.named_ticks(axes[0], list(order.index), fontsize=7)
    axes[0].set_ylim(-0.7, len(order) - 0.3)
    style.family_legend(figure, order.index, loc="outside lower center", ncols=5)
    return figure


@styled
def roofline(points: pd.DataFrame, limits: pd.DataFrame) -> Figure:
    """LightMMoE under the roof that bandwidth and arithmetic set, and how far below it.

    ``points`` and ``limits`` are those of `lmmoe.report.cost.limits`. Left: rate against operations
    per byte of the least traffic, a point for each batch. Right: times the least time.
    """
    figure, (left, right) = canvas(width=10.5, height=4.4, ncols=2)
    peak = limits["gflops"].max()
    ends = points["intensity"].min() / 2, points["intensity"].max() * 2
    reads = limits[limits["limit"] == "sgemv"].to_dict("records")
    names = ("weights", "weights of a training step", "more than any cache")
    for line, shade, name in zip(reads, ("0.2", "0.5", "0.75"), names, strict=True):
        rate = line["gigabytes_per_second"]
        x = np.array([ends[0], peak / rate, ends[1]])
        label = f"{rate:.0f} GB/s: {name}, {line['megabytes']:.3g} MB"
        left.plot(x, np.minimum(peak, rate * x), color=shade, lw=1.2, label=label, zorder=0)
    left.text(ends[1], peak * 1.06, f"sgemm: {peak:.0f} GFLOP/s", ha="right", fontsize=8)
    for work, (marker, own, label) in WORKS.items():
        part = points.loc[work]
        look = {"marker": marker, "color": own, "ms": 4.5, "lw": 1}
        left.plot(part["intensity"], part["gflops"], **look)
        right.plot(part.index, part["times_bound"], **look, label=label)
    for batch, line in points.loc["network"].iloc[[0, -1]].iterrows():
        below = {"xytext": (0, -11), "textcoords": "offset points", "ha": "center", "va": "center"}
        left.annotate(f"batch {batch:,}", (line["intensity"], line["gflops"]), fontsize=7, **below)
    log_scale(left, "xy")
    left.set(xlabel="operations per byte that must move", ylabel="GFLOP/s on one thread")
    left.set(
        title="LightMMoE under the processor's roof", ylim=(points["gflops"].min() / 2, peak * 2)
    )
    left.legend(fontsize=7, loc="lower right", title="read at", title_fontsize=7)
    log_scale(right, "x", sorted(points.index.unique("batch")))
    log_scale(right, "y", (1, 2, 5, 10, 20, 50, 100))
    right.axhline(1, color="0.6", lw=1, label="the limit")
    right.set(xlabel="rows in a call", ylabel="times the least possible time")
    right.set(title="how far from the limit", ylim=(0.9, points["times_bound"].max() * 1.3))
    right.legend(fontsize=8)
    return figure


@styled
def growth(points: pd.DataFrame, laws: pd.DataFrame) -> Figure:
    """Training and scoring time along each axis, with the exponent of its upper half.

    ``points`` and ``laws`` are those of `lmmoe.report.cost.growth`.
    """
    shown, names = points["axis"].unique(), points["detector"].unique()
    layout = {"ncols": len(shown), "squeeze": False, "sharey": "row", "sharex": "col"}
    figure, axes = canvas(2, width=11, height=5.4, **layout)
    lines = zip(names, ("-", "--", ":", "-."), strict=False)
    look = {name: {"color": colour(name), "ls": ls, "marker": ".", "ms": 4} for name, ls in lines}
    for row, measure in zip(axes, ("train_seconds", "score_seconds"), strict=True):
        for ax, axis in zip(row, shown, strict=True):
            for name, part in points[points["axis"] == axis].groupby("detector", sort=False):
                exponent = f"{laws.loc[(axis, name, measure), 'upper']:.2f}"
                ax.plot(part["value"], part[measure], label=exponent, **look[name])
            log_scale(ax, "xy")
            ax.tick_params(labelsize=7)
            ax.legend(fontsize=7, handlelength=1.8, title="exponent", title_fontsize=6.5)
            ax.grid(alpha=0.2)
        row[0].set_ylabel(measure.replace("_seconds", " (s)"))
    for ax, axis in zip(axes[1], shown, strict=True):
        ax.set_xlabel("rows in the window" if axis == "window" else axis)
    words = "how cost grows (log scales; exponent of the upper half)"
    figure.suptitle(words, x=0.01, ha="left", fontsize=10, fontweight="bold")
    handles = [Line2D([], [], label=title(name), **look[name]) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names), fontsize=8)
    return figure


@styled
@style.labelled_only
def quality_and_cost(table: pd.DataFrame, *, ahead: Collection[str] = ()) -> Figure:
    """Average precision of each detector against what it costs to train and to score.

    ``table`` has a row per detector with ``average_precision`` and the columns `QUALITY_AGAINST`.
    Detectors that look ``ahead`` are hollow: they cannot raise an alarm when it is due. The stepped
    line is the Pareto front of the others: none of them left of it is as good.
    """
    many = len(table) > 8
    figure, axes = canvas(2, width=10 if many else 7.5, height=10.3 if many else 7.1)
    hollow = table.index.isin(ahead).any()
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444", "markerfacecolor": "white"}
    more = [Line2D([], [], label="hollow: not available live", **ring)] if hollow else []
    style.family_legend(figure, table.index, more=more, loc="outside lower center", ncols=3)
    whose = " that is available live" if hollow else ""
    axes[0].set_title(f"quality against cost (line: nothing cheaper{whose} is better)")
    places = {}
    for ax, (cost, label) in zip(axes, QUALITY_AGAINST.items(), strict=True):
        known = table.dropna(subset=["average_precision", cost])
        x, y = known[cost].clip(lower=1e-3), known["average_precision"]
        for name in known.index:
            inside = "white" if name in ahead else colour(name)
            look = {"facecolor": inside, "edgecolor": colour(name), "zorder": 3}
            ax.scatter(x[name], y[name], s=70 if name == "LightMMoE" else 32, **look)
        if len(known):  # matplotlib refuses an empty logarithmic axis
            ax.set_xscale("log")
        live = ~known.index.isin(ahead)
        front = pareto(x[live], y[live])
        if len(front):
            steps = [*front["cost"], 3 * x.max()], [*front["quality"], front["quality"].max()]
            ax.step(*steps, where="post", color="#BBBBBB", lw=1, zorder=1)
        ax.margins(x=0.12, y=0.15)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
        ax.set(xlabel=label, ylabel=METRIC_TITLES["average_precision"])
        places[ax] = dict(zip(known.index, zip(x, y, strict=True), strict=True))
    for ax, dots in places.items():
        label_dots(ax, dots)  # last: it needs the figure's final layout
    return figure


def pareto(cost: pd.Series, quality: pd.Series) -> pd.DataFrame:
    """Choose what nothing beats: dearer ones are here only where they are better.

    Columns ``cost`` and ``quality``, cheapest first; of equal costs the best, of equal qualities
    the cheapest.
    """
    dots = pd.DataFrame({"cost": cost, "quality": quality}).dropna()
    dots = dots.sort_values(["cost", "quality"], ascending=[True, False], kind="stable")
    best_before = dots["quality"].cummax().shift().fillna(-np.inf)
    return dots[dots["quality"] > best_before]
