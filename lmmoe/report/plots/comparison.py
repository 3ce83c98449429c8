"""Pictures that set detectors side by side. They take the tables of `lmmoe.report.tables`."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.plots.style import (
    METRIC_TITLES,
    canvas,
    colour,
    family_legend,
    labelled_only,
    named_ticks,
    styled,
    title,
)

MANY = 8  # from here on a picture is drawn narrower per detector


@styled
@labelled_only
def heatmap(by_entity: pd.DataFrame, metric: str) -> Figure:
    """One metric of every detector (columns) on every entity (rows), the mean at the bottom.

    Grey: no result. The scale ends at 1, or at the highest value where a metric goes beyond.
    """
    table = pd.concat([by_entity, by_entity.mean().to_frame("mean").T])
    many = table.shape[1] > MANY
    figure, ax = canvas(
        width=2.6 + (0.34 if many else 0.95) * table.shape[1], height=1.6 + 0.24 * len(table)
    )
    top = max(1.0, np.nanmax(table.to_numpy(dtype=float)))
    sns.heatmap(
        table.rename(columns=title),
        ax=ax,
        cmap="crest",
        vmin=0,
        vmax=top,
        annot=table.map(_short if many and top == 1 else "{:.2f}".format).to_numpy(),
        fmt="",
        annot_kws={"size": 6 if many else 7},
        cbar=False,
    )
    ax.set_facecolor("#E0E0E0")
    ax.axhline(len(by_entity), color="white", lw=3)
    ax.tick_params(length=0, labelsize=7, axis="both")
    named_ticks(ax, list(table), axis="x", start=0.5, rotation=90 if many else 0)
    gaps = " (grey: no result)" if by_entity.isna().any(axis=None) else ""
    ax.set(title=f"{METRIC_TITLES[metric]} on each entity{gaps}", xlabel="", ylabel="")
    return figure


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


@styled
@labelled_only
def what_adjustment_hides(summary: pd.DataFrame) -> Figure:
    """The same scores with and without point adjustment: from best F1 to Point F1 (PA).

    The dotted line is what random scores reach when adjusted.
    """
    order = summary.sort_values("best_f1", na_position="first")
    figure, ax = canvas(width=8, height=1.3 + (0.24 if len(order) > MANY else 0.42) * len(order))
    for level, (name, line) in enumerate(order.iterrows()):
        plain, adjusted = line["best_f1"], line["point_f1_pa"]
        ax.plot([plain, adjusted], [level, level], color=colour(name), lw=2, alpha=0.4)
        ax.scatter(plain, level, color=colour(name), s=34, zorder=3)
        ax.scatter(adjusted, level, color="white", edgecolor=colour(name), s=34, zorder=3)
        for value, side in ((plain, "right"), (adjusted, "left")):
            nudge = -0.015 if side == "right" else 0.015
            ax.text(value + nudge, level, f"{value:.2f}", ha=side, va="center", fontsize=7)
    named_ticks(ax, list(order.index), fontsize=8)
    floor = _floor(ax, order["point_f1_pa"], "random scores, adjusted")
    ax.set(xlim=(-0.03, 1.08), ylim=(-0.6, len(order) - 0.4), xlabel="F1 at the best threshold")
    ax.set_title("what point adjustment hides (filled: plain, hollow: adjusted)")
    family_legend(figure, order.index, more=floor, loc="outside lower center", ncols=3)
    return figure


def _floor(ax: Axes, values: pd.Series, label: str) -> list[Line2D]:
    """Draw what random scores reach, where they were run; give the line for the legend."""
    if "random" not in values:
        return []
    look = {"color": colour("random"), "ls": ":", "lw": 1.2, "zorder": 0}
    ax.axvline(values["random"], **look)
    return [Line2D([], [], label=label, **look)]


@styled
@labelled_only
def forest(honest: pd.DataFrame) -> Figure:
    """Mean average precision of every detector with its bootstrap interval (`tables.honest`).

    The dotted line is the mean of random scores, the floor. To the right: entities and seeds.
    """
    metric = "average_precision"
    order = honest.dropna(subset=metric).sort_values(metric)
    figure, ax = canvas(width=8, height=1.3 + (0.24 if len(order) > MANY else 0.42) * len(order))
    for level, (name, line) in enumerate(order.iterrows()):
        bounds = line[[f"{metric}_low", f"{metric}_high"]]
        ax.plot(bounds, [level, level], color=colour(name), lw=1.6, solid_capstyle="butt")
        ax.scatter(line[metric], level, color=colour(name), s=30, zorder=3)
        behind = f"{line[metric]:.3f}   {line['entities']:.0f} × {line['seeds']:.0f}"
        place = {"transform": ax.get_yaxis_transform(), "fontsize": 7, "va": "center"}
        ax.text(1.01, level, behind, **place)
    named_ticks(ax, list(order.index), fontsize=8)
    floor = _floor(ax, order[metric], "random scores: the floor")
    ax.set(ylim=(-0.6, len(order) - 0.4), xlabel=METRIC_TITLES[metric])
    ax.set_xlim(left=0)
    ax.grid(axis="x", alpha=0.25)
    ax.set_title("means and 95 % bootstrap intervals (right: mean, entities × seeds)")
    family_legend(figure, order.index, more=floor, loc="outside lower center", ncols=3)
    return figure
