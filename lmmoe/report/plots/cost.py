"""The picture of quality against cost."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.names import METRIC_TITLES, NON_CAUSAL, colour
from lmmoe.report.plots import style

QUALITY_AGAINST = {
    "train_seconds": "seconds to train on one entity (log scale)",
    "microseconds_per_row": "microseconds to score one row (log scale)",
}


@style.styled
@style.labelled_only
def quality_and_cost(
    table: pd.DataFrame,
    *,
    mark: str = "",
    against: Collection[str] = tuple(QUALITY_AGAINST),
) -> Figure:
    """Average precision of each detector against what it costs to train and to score.

    ``table`` has a row per detector with ``average_precision`` and the columns ``against`` which it
    is drawn, a panel each. Those without live alarms are hollow. The stepped line is the Pareto
    front of the others without controls. A ring may ``mark`` one. Those with results on fewer
    ``entities`` than others are left out.
    """
    if "entities" in table:
        table = table[table["entities"] == table["entities"].max()]
    many = len(table) > 8
    size = {"width": 10 if many else 7.5, "height": (5 if many else 3.4) * len(against) + 0.3}
    figure, axes = style.canvas(len(against), squeeze=False, **size)
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444", "mfc": "white"}
    more = [Line2D([], [], label="hollow: not available live", **ring)]
    style.family_legend(figure, table.index, more=more, ncols=3)
    axes[0, 0].set_title("quality against cost (line: the best available live)")
    places = {}
    for ax, cost in zip(axes.flat, against, strict=True):
        known = table.dropna(subset=["average_precision", cost])
        if known.empty:  # matplotlib refuses an empty logarithmic axis
            continue
        x, y = known[cost].clip(lower=1e-3), known["average_precision"]
        edges = np.array([colour(name) for name in known.index])
        live, sizes = ~known.index.isin(NON_CAUSAL), np.where(known.index == "LightMMoE", 70, 32)
        ax.scatter(x, y, sizes, facecolor=np.where(live, edges, "white"), edgecolor=edges, zorder=3)
        chosen = known.index == mark
        ax.scatter(x[chosen], y[chosen], 160, facecolor="none", edgecolor="black", lw=1.5)
        dearer = x[live & (edges != colour("random"))].sort_values()
        best = y[dearer.index].cummax()
        steps = [*dearer, 3 * x.max()], [*best, best.max()]
        ax.step(*steps, where="post", color="#BBBBBB", lw=1, zorder=1)
        style.log_scale(ax, "x")
        ax.set(xlabel=QUALITY_AGAINST[cost], ylabel=METRIC_TITLES["average_precision"])
        ax.margins(x=0.2, y=0.15)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
        places[ax] = dict(zip(known.index, zip(x, y, strict=True), strict=True))
    for ax, dots in places.items():
        style.label_dots(ax, dots)
    return figure
