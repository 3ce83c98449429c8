"""Pictures of cost: what detectors take, and quality against cost."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.names import METRIC_TITLES, colour
from lmmoe.report.plots import style
from lmmoe.report.plots.style import canvas, label_dots, log_scale, styled

CALLS = [f"rows_per_second_{rows}" for rows in (1, 16, 256, 4096)]
# Panels of `costs`: what the axis says, and the columns of a line's dots, the filled one first.
PANELS = {
    "train (s)": ["train_seconds"],
    "one row, median\nto 99 % (ms)": ["latency_p50_ms", "latency_p99_ms"],
    "rows a second, calls\nof 1, 16, 256, 4,096": CALLS,
    "memory to\ntrain (MB)": ["train_peak_mb"],
    "multiply-adds\na row": ["multiply_adds"],
    "learned (bytes)": ["learned_bytes"],
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
    order = table[table["error"].isna()].sort_values("train_seconds", ascending=False)
    figure, axes = canvas(width=10.5, height=1.5 + 0.2 * len(order), ncols=len(PANELS), sharey=True)
    for ax, (label, columns) in zip(axes, PANELS.items(), strict=True):
        for level, (name, line) in enumerate(order[columns].astype(float).iterrows()):
            values, own = line[line > 0], colour(name)  # a log axis has no 0
            at = [level] * len(values)
            ax.axhline(level, color="#EEEEEE", lw=0.6, zorder=0)
            ax.plot(values, at, color=own, lw=0.7, marker="o", ms=3, mfc="white", zorder=2)
            ax.scatter(values[:1], at[:1], 34 if name == "LightMMoE" else 16, color=own, zorder=3)
        ax.set_xlabel(label, fontsize=8)
        log_scale(ax, "x")
        ax.tick_params(labelsize=7)
    style.named_ticks(axes[0], list(order.index), fontsize=7)
    axes[0].set(title="what each detector costs (log scales)", ylim=(-0.7, len(order) - 0.3))
    style.family_legend(figure, order.index, loc="outside lower center", ncols=5)
    return figure


@styled
@style.labelled_only
def quality_and_cost(
    table: pd.DataFrame,
    *,
    ahead: Collection[str] = (),
    mark: str = "",
    against: Collection[str] = tuple(QUALITY_AGAINST),
) -> Figure:
    """Average precision of each detector against what it costs to train and to score.

    ``table`` has a row per detector with ``average_precision`` and the columns ``against`` which it
    is drawn, a panel each.
    Detectors that look ``ahead`` are hollow: they cannot raise an alarm when it is due. The stepped
    line is the Pareto front of the others: none of them left of it is as good. One detector may be
    marked by a ring.
    """
    many = len(table) > 8
    size = {"width": 10 if many else 7.5, "height": (5 if many else 3.4) * len(against) + 0.3}
    figure, axes = canvas(len(against), squeeze=False, **size)
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444", "mfc": "white"}
    more = [Line2D([], [], label="hollow: not available live", **ring)]
    style.family_legend(figure, table.index, more=more, loc="outside lower center", ncols=3)
    axes[0, 0].set_title("quality against cost (line: the best available live)")
    places = {}
    for ax, cost in zip(axes.flat, against, strict=True):
        known = table.dropna(subset=["average_precision", cost])
        if known.empty:  # matplotlib refuses an empty logarithmic axis
            continue
        x, y = known[cost].clip(lower=1e-3), known["average_precision"]
        edges = np.array([colour(name) for name in known.index])
        live, sizes = ~known.index.isin(ahead), np.where(known.index == "LightMMoE", 70, 32)
        fill = np.where(live, edges, "white")
        ax.scatter(x, y, sizes, facecolor=fill, edgecolor=edges, zorder=3)
        chosen = known.index == mark
        ax.scatter(x[chosen], y[chosen], 160, facecolor="none", edgecolor="black", lw=1.5)
        dearer = x[live].sort_values()
        best = y[dearer.index].cummax()
        steps = [*dearer, 3 * x.max()], [*best, best.max()]
        ax.step(*steps, where="post", color="#BBBBBB", lw=1, zorder=1)
        ax.set(
            xscale="log", xlabel=QUALITY_AGAINST[cost], ylabel=METRIC_TITLES["average_precision"]
        )
        ax.margins(x=0.12, y=0.15)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
        places[ax] = dict(zip(known.index, zip(x, y, strict=True), strict=True))
    for ax, dots in places.items():
        label_dots(ax, dots)  # last: it needs the figure's final layout
    return figure
