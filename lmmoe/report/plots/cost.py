"""Quality against cost."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.plots.labels import label_dots
from lmmoe.report.plots.style import (
    METRIC_TITLES,
    canvas,
    colour,
    family_legend,
    labelled_only,
    styled,
)

AXES = {
    "train_seconds": "seconds to train on one entity (log scale)",
    "microseconds_per_row": "microseconds to score one row (log scale)",
}


@styled
@labelled_only
def quality_and_cost(
    table: pd.DataFrame, metric: str = "average_precision", *, ahead: Collection[str] = ()
) -> Figure:
    """Quality of each detector against what it costs to train and, where known, to score.

    ``table`` is `lmmoe.report.tables.honest` or `summary`. Detectors that look ahead
    (`report.tables.AHEAD`) are hollow: they cannot raise an alarm when it is due. The stepped line
    is the Pareto front of the others: none of them left of it is as good.
    """
    costs = [name for name in AXES if name in table and table[name].notna().any()]
    many = len(table) > 8
    figure, axes = canvas(
        max(len(costs), 1),
        width=10 if many else 7.5,
        height=max(len(costs), 1) * (5 if many else 3.4) + 0.3,
        squeeze=False,
    )
    for ax, cost in zip(axes[:, 0], costs or ["train_seconds"], strict=True):
        known = table.dropna(subset=[metric, cost])
        dots = pd.DataFrame({"cost": known[cost].clip(lower=1e-3), "quality": known[metric]})
        _panel(ax, dots, ahead)
        ax.set(xlabel=AXES[cost], ylabel=METRIC_TITLES[metric])
    some_ahead = table.index.isin(ahead).any()
    live = " that is available live" if some_ahead else ""
    axes[0, 0].set_title(f"quality against cost (line: nothing cheaper{live} is better)")
    more = [Line2D([], [], label=HOLLOW, **RING)] if some_ahead else []
    family_legend(figure, table.index, more=more, loc="outside lower center", ncols=3)
    for ax, cost in zip(axes[:, 0], costs, strict=True):
        known = table.dropna(subset=[metric, cost])
        places = zip(known[cost].clip(lower=1e-3), known[metric], strict=True)
        label_dots(ax, dict(zip(known.index, places, strict=True)))
    return figure


def _panel(ax: Axes, dots: pd.DataFrame, ahead: Collection[str]) -> None:
    for name, dot in dots.iterrows():
        inside = "white" if name in ahead else colour(name)
        look = {"facecolor": inside, "edgecolor": colour(name), "zorder": 3}
        ax.scatter(dot["cost"], dot["quality"], s=70 if name == "LightMMoE" else 32, **look)
    live = dots[~dots.index.isin(ahead)]
    if len(dots):  # matplotlib refuses an empty logarithmic axis
        ax.set_xscale("log")
    if len(live):
        front = pareto(live["cost"], live["quality"])
        edge = dots["cost"].max() * 3
        ax.step([*front["cost"], edge], [*front["quality"], front["quality"].max()], **STEP)
    ax.margins(x=0.12, y=0.15)
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)


HOLLOW = "hollow: not available live"
RING = {"marker": "o", "ls": "", "ms": 5, "color": "#444444", "markerfacecolor": "white"}
STEP = {"where": "post", "color": "#BBBBBB", "lw": 1, "zorder": 1}


def pareto(cost: pd.Series, quality: pd.Series) -> pd.DataFrame:
    """Choose what nothing beats: dearer ones are here only where they are better.

    Columns ``cost`` and ``quality``, cheapest first; of equal costs the best, of equal qualities
    the cheapest.
    """
    dots = pd.DataFrame({"cost": cost, "quality": quality}).dropna()
    dots = dots.sort_values(["cost", "quality"], ascending=[True, False], kind="stable")
    best_before = np.maximum.accumulate([-np.inf, *dots["quality"]])[:-1]
    return dots[dots["quality"] > best_before]
