"""Pictures that set detectors side by side, from the tables of `lmmoe.report.tables`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.names import METRIC_TITLES, colour
from lmmoe.report.plots import style
from lmmoe.report.plots.data import lanes
from lmmoe.report.plots.style import canvas, family_legend, labelled_only, named_ticks, styled
from lmmoe.report.views import Loss

# Okabe and Ito's colours, as names.VERDICTS; grey for what cannot be tested.
VERDICT_COLOURS = ["#009E73", "#56B4E9", "#D55E00", "#CC79A7", "#BBBBBB"]
CHANCE = {"color": colour("random"), "ls": ":", "lw": 1.2}


def _rows(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """A figure with a line for each detector of a table, named at the left."""
    figure, ax = canvas(width=8, height=max(2.5, 1.3 + 0.24 * len(table)))
    named_ticks(ax, list(table.index), fontsize=8)
    ax.set_ylim(-0.6, len(table) - 0.4)
    return figure, ax


def _floor(ax: Axes, values: pd.Series, label: str) -> list[Line2D]:
    """Draw what random scores reach, where they were run; give the line for the legend."""
    if "random" not in values:
        return []
    ax.axvline(values["random"], zorder=0, **CHANCE)
    return [Line2D([], [], label=label, **CHANCE)]


@styled
@labelled_only
def forest(honest: pd.DataFrame) -> Figure:
    """Mean average precision of every detector with its bootstrap interval (`tables.honest`).

    The dotted line is the mean of random scores, the floor. To the right: entities and seeds.
    """
    metric = "average_precision"
    order = honest.dropna(subset=metric).sort_values(metric)
    figure, ax = _rows(order)
    for level, (name, line) in enumerate(order.iterrows()):
        bounds = line[[f"{metric}_low", f"{metric}_high"]]
        ax.plot(bounds, [level, level], color=colour(name), lw=1.6, solid_capstyle="butt")
        ax.scatter(line[metric], level, color=colour(name), s=30, zorder=3)
        behind = f"{line[metric]:.3f}   {line['entities']:.0f} × {line['seeds']:.0f}"
        place = {"transform": ax.get_yaxis_transform(), "fontsize": 7, "va": "center"}
        ax.text(1.01, level, behind, **place)
    floor = _floor(ax, order[metric], "random scores: the floor")
    ax.set_xlabel(METRIC_TITLES[metric])
    ax.set_xlim(left=0)
    ax.grid(axis="x", alpha=0.25)
    ax.set_title("means and 95 % bootstrap intervals (right: mean, entities × seeds)")
    family_legend(figure, order.index, more=floor, ncols=3)
    return figure


@styled
@labelled_only
def heatmap(by_entity: pd.DataFrame, metric: str) -> Figure:
    """One metric of every detector (columns) on every entity (rows), the mean at the bottom.

    Grey: no result. The scale ends at 1, or at the highest value where a metric goes beyond.
    """
    table = pd.concat([by_entity, by_entity.mean().to_frame("mean").T])
    figure, ax = canvas(width=2.6 + 0.34 * table.shape[1], height=1.6 + 0.24 * len(table))
    top = max(1.0, np.nanmax(table.to_numpy(dtype=float)))
    look = {"annot": True, "fmt": ".2f", "annot_kws": {"size": 6}}
    sns.heatmap(table, ax=ax, cmap="crest", vmin=0, vmax=top, cbar=False, **look)
    ax.set_facecolor("#E0E0E0")
    ax.axhline(len(by_entity), color="white", lw=3)
    ax.tick_params(length=0, labelsize=7, axis="both")
    named_ticks(ax, list(table), axis="x", start=0.5, rotation=90)
    gaps = " (grey: no result)" if by_entity.isna().any(axis=None) else ""
    ax.set(title=f"{METRIC_TITLES[metric]} on each entity{gaps}", xlabel="", ylabel="")
    return figure


@styled
def events_found(found: pd.DataFrame) -> Figure:
    """Which events (shortest first) each detector finds at its threshold (`tables.found_events`).

    Detectors that find most stand on top, with their share at the right.
    """
    if found.empty:
        return style.note("No events, or no detector to find them.")
    lengths = found.index.to_numpy()
    names = list(found.mean().sort_values(ascending=False, kind="stable").index)
    # Equally long events: those that most detectors find come last.
    order = np.lexsort((found.sum(axis=1), lengths))
    sizes = {"height": 2.2 + 0.2 * len(names), "height_ratios": [0.9, 0.25 * len(names)]}
    figure, (upper, ax) = canvas(2, sharex=True, **sizes)
    edges = np.arange(len(order) + 1) - 0.5
    upper.step(edges, lengths[[*order, order[-1]]], where="post", color="#37474F", lw=1)
    style.log_scale(upper)
    upper.set(ylabel="rows", title="which detector finds which event (right: share found)")
    picture = np.ones((len(names), len(order), 4))
    for level, name in enumerate(names):
        picture[level, found[name].to_numpy()[order]] = to_rgba(colour(name))
        place = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 7}
        ax.text(1.005, level, f"{found[name].mean():.0%}", **place)
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    named_ticks(ax, names, fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    ax.set_xlabel(f"labelled events: {len(order)}, shortest first (coloured: found)")
    family_legend(figure, names, ncols=5)
    return figure


@styled
def model_or_scoring(tables: Mapping[str, pd.DataFrame], own: str, shared: str) -> Figure:
    """A panel per metric: each model under its own scoring (hollow) and the shared one (filled).

    ``tables`` gives for each metric detectors by scorings (`rescoring.summary`), of which ``own``
    and ``shared`` are two columns; small dots are the others. The best of the first table under
    its own scoring stands on top; the dotted line is random scores under theirs.
    """
    if any(table.empty for table in tables.values()):
        return style.note("No model has errors on the entities of all.")
    names = [name for name in next(iter(tables.values())).index[::-1] if name != "random"]
    size = {"height": 1.4 + 0.26 * len(names), "ncols": len(tables)}
    figure, axes = canvas(sharey=True, squeeze=False, **size)
    for ax, (metric, table) in zip(axes[0], tables.items(), strict=True):
        for level, name in enumerate(names):
            line, look = table.loc[name], {"color": colour(name)}
            others = line.drop([own, shared])
            ax.scatter(others, [level] * len(others), s=7, alpha=0.4, lw=0, **look)
            ax.plot([line[own], line[shared]], [level, level], lw=2, alpha=0.4, **look)
            ring = {"s": 34, "zorder": 3, "edgecolor": colour(name)}
            ax.scatter(line[own], level, facecolor="white", **ring)
            ax.scatter(line[shared], level, facecolor=colour(name), **ring)
        floor = _floor(ax, table[own], "random scores")
        ax.set(xlabel=METRIC_TITLES[metric], ylim=(-0.6, len(names) - 0.4))
        ax.grid(axis="x", alpha=0.25)
    named_ticks(axes[0, 0], names, fontsize=8)
    dot = {"marker": "o", "ls": "", "color": "#444444"}
    more = [
        Line2D([], [], ms=5, label="its own scoring", markerfacecolor="white", **dot),
        Line2D([], [], ms=5, label=shared, **dot),
        Line2D([], [], ms=2.5, label="other scorings", **dot),
    ]
    family_legend(figure, names, more=[*more, *floor], ncols=4)
    return figure


@styled
def loss(found: Loss) -> Figure:
    """An event that counts against a detector (`views.loss`): scores of two, and some channels.

    Scores as the share of normal rows that score as high, the most unusual rows on top.
    """
    series, (first, end), channels = found.series, found.event, found.channels
    names, around = list(found.ranks), 60 + 3 * (end - first)
    places = [0] * len(names) + channels
    figure, axes, rows, time = lanes(series, found.event, places, around=around)
    lowest = 0.5 / (series.labels == 0).sum()
    for ax, name in zip(axes, names, strict=False):
        ax.plot(time, np.maximum(found.ranks[name][rows], lowest), color=colour(name), lw=0.9)
        ax.set(yscale="log", ylim=(1, lowest), ylabel=name.replace(" ", "\n"))
        ax.set_yticks([1, lowest], ["all", "none"])
        ax.minorticks_off()
    for ax, channel in zip(axes[len(names) :], channels, strict=True):
        ax.plot(time, series.test[rows, channel], color="#37474F", lw=0.9)
    axes[0].set_title("share of normal rows with as high a score; below, channels (shaded: events)")
    return figure


@styled
def verdicts(counted: pd.Series) -> Figure:
    """One bar of how many claims got which verdict (a row of `claims.summary`)."""
    figure, ax = canvas(width=9, height=1.3)
    left = counted.cumsum() - counted
    bars = ax.barh([""] * len(counted), counted, left=left, color=VERDICT_COLOURS)
    ax.bar_label(bars, counted.astype(str), label_type="center", fontsize=8)
    ax.set(xlabel="claims", xlim=(0, counted.sum()))
    figure.legend(bars, counted.index, ncols=len(counted), loc="outside upper center", fontsize=7)
    return figure
