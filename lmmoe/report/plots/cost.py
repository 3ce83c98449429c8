"""Pictures of cost: what detectors take, LightMMoE's limits, growth, and quality against cost."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from lmmoe.report.names import METRIC_TITLES, colour, title
from lmmoe.report.plots import style
from lmmoe.report.plots.style import canvas, label_dots, styled

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


def log_axes(ax: Axes, axes: str, ticks: Collection[float] | None = None) -> None:
    """Make axes, such as "xy", logarithmic with few, short labels: 0.01, 256, 10k, 1M."""

    def short(value: float, _: int) -> str:
        steps = int(np.clip(np.log10(value) // 3, 0, 4)) if value >= 1e4 else 0
        return f"{value / 1000**steps:,g}{['', 'k', 'M', 'G', 'T'][steps]}"

    for name in axes:
        ax.set(**{f"{name}scale": "log"})
        own, (low, high) = getattr(ax, f"{name}axis"), getattr(ax, f"get_{name}lim")()
        subs = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)
        own.set(major_locator=LogLocator(numticks=5, subs=subs), minor_locator=NullLocator())
        if ticks is not None:
            own.set_ticks(ticks)
        own.set(major_formatter=FuncFormatter(short), minor_formatter=NullFormatter())


@styled
def costs(table: pd.DataFrame) -> Figure:
    """Every measure of cost, a panel each, every detector a line; cheapest to train on top.

    ``table`` is `lmmoe.report.cost.table`. A gap: not defined, or not measured.
    """
    known = table[table["error"].isna()]
    if known.empty:
        return style.note("No detector could be measured.")
    order = known.sort_values("train_seconds", ascending=False, kind="stable")
    size = {"width": 10.5, "height": 1.5 + 0.2 * len(order)}
    figure, axes = canvas(1, **size, ncols=len(PANELS), sharey=True)
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
        log_axes(ax, "x")
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
    figure, (left, right) = canvas(1, width=10.5, height=4.4, ncols=2)
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
    log_axes(left, "xy")
    left.set(xlabel="operations per byte that must move", ylabel="GFLOP/s on one thread")
    left.set(title="LightMMoE under the processor's roof")
    left.set_ylim(points["gflops"].min() / 2, peak * 2)
    left.legend(fontsize=7, loc="lower right", title="read at", title_fontsize=7)
    log_axes(right, "x", sorted(points.index.unique("batch")))
    log_axes(right, "y", (1, 2, 5, 10, 20, 50, 100))
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
    look = {
        name: {"color": colour(name), "ls": line, "marker": ".", "ms": 4}
        for name, line in zip(names, ("-", "--", ":", "-."), strict=False)
    }
    for row, measure in zip(axes, ("train_seconds", "score_seconds"), strict=True):
        for ax, axis in zip(row, shown, strict=True):
            for name, part in points[points["axis"] == axis].groupby("detector", sort=False):
                exponent = f"{laws.loc[(axis, name, measure), 'upper']:.2f}"
                ax.plot(part["value"], part[measure], label=exponent, **look[name])
            log_axes(ax, "xy")
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
def quality_and_cost(
    table: pd.DataFrame, metric: str = "average_precision", *, ahead: Collection[str] = ()
) -> Figure:
    """Quality of each detector against what it costs to train and, where known, to score.

    ``table`` has a row per detector with ``metric``, ``train_seconds`` and, where it is known,
    ``microseconds_per_row``. Detectors that look ``ahead`` are hollow: they cannot raise an alarm
    when it is due. The stepped line is the Pareto front of the others: none of them left of it is
    as good.
    """
    costs = [name for name in QUALITY_AGAINST if name in table and table[name].notna().any()]
    costs, many = costs or ["train_seconds"], len(table) > 8
    size = {"width": 10 if many else 7.5, "height": len(costs) * (5 if many else 3.4) + 0.3}
    figure, axes = canvas(len(costs), **size, squeeze=False)
    hollow = table.index.isin(ahead).any()
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444", "markerfacecolor": "white"}
    more = [Line2D([], [], label="hollow: not available live", **ring)] if hollow else []
    style.family_legend(figure, table.index, more=more, loc="outside lower center", ncols=3)
    whose = " that is available live" if hollow else ""
    axes[0, 0].set_title(f"quality against cost (line: nothing cheaper{whose} is better)")
    places = {}
    for ax, cost in zip(axes[:, 0], costs, strict=True):
        known = table.dropna(subset=[metric, cost])
        x, y = known[cost].clip(lower=1e-3), known[metric]
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
        ax.set(xlabel=QUALITY_AGAINST[cost], ylabel=METRIC_TITLES[metric])
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
