"""Quality against cost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmmoe.plots.labels import label_dots
from lmmoe.plots.style import (
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
def quality_and_cost(table: pd.DataFrame, metric: str = "average_precision") -> Figure:
    """Quality of each detector against what it costs to train and, where known, to score.

    ``table`` is `lmmoe.tables.honest` or `summary`. The stepped line is the Pareto front: nobody
    left of it is as good.
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
        _panel(ax, dots)
        ax.set(xlabel=AXES[cost], ylabel=METRIC_TITLES[metric])
    axes[0, 0].set_title("quality against cost (line: nothing cheaper is better)")
    family_legend(figure, table.index, loc="outside lower center", ncols=3)
    for ax, cost in zip(axes[:, 0], costs, strict=True):
        known = table.dropna(subset=[metric, cost])
        places = zip(known[cost].clip(lower=1e-3), known[metric], strict=True)
        label_dots(ax, dict(zip(known.index, places, strict=True)))
    return figure


def _panel(ax: Axes, dots: pd.DataFrame) -> None:
    for name, dot in dots.iterrows():
        look = {"color": colour(name), "s": 70 if name == "LightMMoE" else 32, "zorder": 3}
        ax.scatter(dot["cost"], dot["quality"], **look)
    if len(dots):  # matplotlib refuses an empty logarithmic axis
        ax.set_xscale("log")
        front = pareto(dots["cost"], dots["quality"])
        edge = dots["cost"].max() * 3
        ax.step([*front["cost"], edge], [*front["quality"], front["quality"].max()], **STEP)
    ax.margins(x=0.12, y=0.15)
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)


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
