"""Models under their own scoring and under one for all (`lmmoe.report.tables.rescoring`)."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.plots.style import (
    METRIC_TITLES,
    canvas,
    colour,
    family_legend,
    named_ticks,
    note,
    styled,
)

OWN_LABEL = "its own scoring"
OTHERS_LABEL = "other scorings"


@styled
def model_or_scoring(summaries: Mapping[str, pd.DataFrame], own: str, shared: str) -> Figure:
    """A panel per metric: each model under its own scoring (hollow) and the shared one (filled).

    ``summaries`` gives tables of detectors by scorings, of which ``own`` and ``shared`` are two
    columns; small dots are the others. The best of the first table under its own scoring stands on
    top; the dotted line is random scores under theirs.
    """
    if not summaries or any(table.empty for table in summaries.values()):
        return note("No model has errors on the entities of all.")
    names = [name for name in next(iter(summaries.values())).index[::-1] if name != "random"]
    figure, axes = canvas(
        height=1.4 + 0.26 * len(names), ncols=len(summaries), sharey=True, squeeze=False
    )
    for ax, (metric, table) in zip(axes[0], summaries.items(), strict=True):
        _panel(ax, table.reindex(names), own, shared)
        if "random" in table.index:
            ax.axvline(table.loc["random", own], color=colour("random"), ls=":", lw=1.2, zorder=0)
        ax.set(xlabel=METRIC_TITLES[metric], ylim=(-0.6, len(names) - 0.4))
        ax.grid(axis="x", alpha=0.25)
    axes[0, 0].set_title("the model or the scoring?")
    named_ticks(axes[0, 0], names, fontsize=8)
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444"}
    more = [
        Line2D([], [], label=OWN_LABEL, markerfacecolor="white", **ring),
        Line2D([], [], label=shared, **ring),
        Line2D([], [], label=OTHERS_LABEL, **(ring | {"ms": 2.5, "color": "#999999"})),
    ]
    if any("random" in table.index for table in summaries.values()):
        more.append(Line2D([], [], label="random scores", color=colour("random"), ls=":", lw=1.2))
    family_legend(figure, names, more=more, loc="outside lower center", ncols=4)
    return figure


def _panel(ax: Axes, table: pd.DataFrame, own: str, shared: str) -> None:
    for level, (name, line) in enumerate(table.iterrows()):
        look = {"edgecolor": colour(name), "s": 34, "zorder": 3}
        others = line.drop([own, shared])
        ax.scatter(others, [level] * len(others), s=7, color=colour(name), alpha=0.4, lw=0)
        ax.plot([line[own], line[shared]], [level, level], color=colour(name), lw=2, alpha=0.4)
        ax.scatter(line[own], level, facecolor="white", **look)
        ax.scatter(line[shared], level, facecolor=colour(name), **look)
