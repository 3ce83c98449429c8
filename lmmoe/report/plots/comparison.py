"""Pictures that set detectors side by side, from the tables of `lmmoe.report.tables`."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmmoe.report.names import METRIC_TITLES, colour, title
from lmmoe.report.plots.style import (
    canvas,
    family_legend,
    labelled_only,
    log_scale,
    named_ticks,
    note,
    styled,
)
from lmmoe.report.statistics import MeanRanks

MANY = 8  # from here on a picture is drawn narrower per detector
CHANCE = {"color": colour("random"), "ls": ":", "lw": 1.2}
BELOW = {"loc": "outside lower center"}


def _rows(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """A figure with a line for each detector of a table, named at the left."""
    figure, ax = canvas(width=8, height=1.3 + (0.24 if len(table) > MANY else 0.42) * len(table))
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
    family_legend(figure, order.index, more=floor, ncols=3, **BELOW)
    return figure


@styled
@labelled_only
def what_adjustment_hides(summary: pd.DataFrame) -> Figure:
    """The same scores with and without point adjustment: from best F1 to Point F1 (PA).

    The dotted line is what random scores reach when adjusted.
    """
    order = summary.sort_values("best_f1", na_position="first")
    figure, ax = _rows(order)
    for level, (name, line) in enumerate(order.iterrows()):
        plain, adjusted = line["best_f1"], line["point_f1_pa"]
        ax.plot([plain, adjusted], [level, level], color=colour(name), lw=2, alpha=0.4)
        ax.scatter(plain, level, color=colour(name), s=34, zorder=3)
        ax.scatter(adjusted, level, color="white", edgecolor=colour(name), s=34, zorder=3)
        for value, side, nudge in ((plain, "right", -0.015), (adjusted, "left", 0.015)):
            ax.text(value + nudge, level, f"{value:.2f}", ha=side, va="center", fontsize=7)
    floor = _floor(ax, order["point_f1_pa"], "random scores, adjusted")
    ax.set(xlim=(-0.03, 1.08), xlabel="F1 at the best threshold")
    ax.set_title("effect of point adjustment (filled: plain, hollow: adjusted)")
    family_legend(figure, order.index, more=floor, ncols=3, **BELOW)
    return figure


@styled
@labelled_only
def heatmap(by_entity: pd.DataFrame, metric: str) -> Figure:
    """One metric of every detector (columns) on every entity (rows), the mean at the bottom.

    Grey: no result. The scale ends at 1, or at the highest value where a metric goes beyond.
    """
    table = pd.concat([by_entity, by_entity.mean().to_frame("mean").T])
    many = table.shape[1] > MANY
    size = {"width": 2.6 + (0.34 if many else 0.95) * table.shape[1]}
    figure, ax = canvas(height=1.6 + 0.24 * len(table), **size)
    top = max(1.0, np.nanmax(table.to_numpy(dtype=float)))
    texts = table.map("{:.2f}".format)
    if many and top == 1:  # short of room
        texts = texts.map(lambda text: text.removeprefix("0"))
    look = {"annot": texts.to_numpy(), "fmt": "", "annot_kws": {"size": 6 if many else 7}}
    sns.heatmap(table, ax=ax, cmap="crest", vmin=0, vmax=top, cbar=False, **look)
    ax.set_facecolor("#E0E0E0")
    ax.axhline(len(by_entity), color="white", lw=3)
    ax.tick_params(length=0, labelsize=7, axis="both")
    named_ticks(ax, list(table), axis="x", start=0.5, rotation=90 if many else 0)
    gaps = " (grey: no result)" if by_entity.isna().any(axis=None) else ""
    ax.set(title=f"{METRIC_TITLES[metric]} on each entity{gaps}", xlabel="", ylabel="")
    return figure


@styled
def critical_difference(ranks: MeanRanks) -> Figure:
    """Mean ranks, and which of them are too near to tell apart (Demsar, JMLR 2006, figure 1).

    A thick line joins detectors whose mean ranks lie closer than Nemenyi's critical difference.
    """
    means, critical = ranks.ranks, ranks.critical_difference
    if not np.isfinite(critical):
        return note("Fewer than two detectors or entities: there are no ranks to compare.")
    count, half = len(means), -(-len(means) // 2)
    groups = groups_within(means.to_numpy(), critical)
    top = 0.9 + 0.3 * len(groups)  # lines of text below the axis that the groups need
    figure, ax = canvas(width=9, height=1.5 + 0.2 * (half + top))
    sides = (1 - 0.02 * count, count * 1.02)
    ax.set(xlim=sides, ylim=(top + half, -3))
    ax.axis("off")
    ax.plot([1, count], [0, 0], color="black", lw=0.8)
    for rank in range(1, count + 1, 1 if count <= 12 else 3):
        ax.plot([rank, rank], [0, -0.25], color="black", lw=0.8)
        ax.text(rank, -0.4, str(rank), ha="center", va="bottom", fontsize=7.5)
    end = min(1 + critical, count)
    ax.plot([1, end], [-1.9, -1.9], color="black", lw=1.2, marker="|")
    ax.text((1 + end) / 2, -2.1, f"critical difference {critical:.2f}", ha="center", fontsize=7.5)
    for level, (first, last) in enumerate(groups):
        ends = means.iloc[first] - 0.002 * count, means.iloc[last] + 0.002 * count
        ax.plot(ends, [0.6 + 0.3 * level] * 2, color="#333333", lw=2.5, solid_capstyle="butt")
    for place, (name, rank) in enumerate(means.items()):
        left = place < half  # the better half is named at the left, in a column
        level = top + (place if left else count - 1 - place)
        across = [rank, rank, sides[0] if left else sides[1]]
        ax.plot(across, [0, level, level], color=colour(name), lw=0.8, alpha=0.8)
        text = f"{title(name)}  {rank:.2f} " if left else f" {rank:.2f}  {title(name)}"
        look = {"ha": "right" if left else "left", "va": "center", "fontsize": 7.5}
        look |= {"color": colour(name), "weight": "bold" if name == "LightMMoE" else "normal"}
        ax.text(0.0 if left else 1.0, level, text, transform=ax.get_yaxis_transform(), **look)
    p = "< 0.001" if ranks.p < 0.001 else f"= {ranks.p:.3f}"
    ax.set_title(f"mean ranks over {ranks.entities} entities (Friedman: p {p})", loc="center")
    family_legend(figure, means.index, ncols=5, **BELOW)
    return figure


def groups_within(ranks: npt.NDArray[np.float64], critical: float) -> list[tuple[int, int]]:
    """Find the longest stretches of sorted ranks ``(k,)`` that span less than ``critical``.

    First and last position of each, those inside another and those of one detector left out.
    """
    lasts = np.searchsorted(ranks, ranks + critical, side="left") - 1
    groups: list[tuple[int, int]] = []
    for first, last in enumerate(lasts.tolist()):
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


@styled
def events_found(found: pd.DataFrame) -> Figure:
    """Which events (shortest first) each detector finds at its threshold (`tables.found_events`).

    Detectors that find most stand on top, with their share at the right.
    """
    if found.empty:
        return note("No events, or no detector to find them.")
    lengths = found.index.get_level_values("rows").to_numpy()
    names = list(found.mean().sort_values(ascending=False, kind="stable").index)
    # Equally long events: those that most detectors find come last.
    order = np.lexsort((found.sum(axis=1), lengths))
    sizes = {"height": 2.2 + 0.2 * len(names), "height_ratios": [0.9, 0.25 * len(names)]}
    figure, (upper, ax) = canvas(2, sharex=True, **sizes)
    edges = np.arange(len(order) + 1) - 0.5
    upper.step(edges, lengths[[*order, order[-1]]], where="post", color="#37474F", lw=1)
    log_scale(upper)
    upper.set(ylabel="rows", title="which detector finds which event (right: share found)")
    picture = np.ones((len(names), len(order), 4))
    for level, name in enumerate(names):
        picture[level, found[name].to_numpy()[order]] = to_rgba(colour(name))
        place = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 7}
        ax.text(1.005, level, f"{found[name].mean():.0%}", **place)
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    for level in range(1, len(names)):
        ax.axhline(level - 0.5, color="#DDDDDD", lw=0.5)
    named_ticks(ax, names, fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    ax.set_xlabel(f"labelled events: {len(order)}, shortest first (coloured: found)")
    family_legend(figure, names, ncols=5, **BELOW)
    return figure


@styled
def model_or_scoring(tables: Mapping[str, pd.DataFrame], own: str, shared: str) -> Figure:
    """A panel per metric: each model under its own scoring (hollow) and the shared one (filled).

    ``tables`` gives for each metric detectors by scorings (`rescoring.summary`), of which ``own``
    and ``shared`` are two columns; small dots are the others. The best of the first table under
    its own scoring stands on top; the dotted line is random scores under theirs.
    """
    if any(table.empty for table in tables.values()):
        return note("No model has errors on the entities of all.")
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
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444"}
    more = [
        Line2D([], [], label="its own scoring", markerfacecolor="white", **ring),
        Line2D([], [], label=shared, **ring),
        Line2D([], [], label="other scorings", **(ring | {"ms": 2.5, "color": "#999999"})),
    ]
    family_legend(figure, names, more=[*more, *floor], ncols=4, **BELOW)
    return figure


@styled
def against_study(machines: pd.DataFrame) -> Figure:
    """Our numbers against the study's own, machine by machine (`others.by_machine`)."""
    if machines.empty:
        return note("The study ran none of these entities.")
    metrics = [column for column in machines if f"{column}_study" in machines]
    figure, axes = canvas(height=3.9, ncols=len(metrics))
    floor = {"color": colour("random"), "ls": "--", "label": "random scores, mean"}
    for ax, metric in zip(axes, metrics, strict=True):
        known = machines.dropna(subset=f"{metric}_study")
        for name, part in known.groupby("detector"):
            dots = {"s": 16, "alpha": 0.6, "lw": 0, "color": colour(name)}
            ax.scatter(part[f"{metric}_study"], part[metric], **dots)
        chance = machines.loc[machines["detector"] == "random", metric].mean()
        ax.plot([0, 1], [0, 1], color="#999999", lw=0.8)
        ax.axhline(chance, **floor)
        low = min(known[[metric, f"{metric}_study"]].min().min(), chance) - 0.03
        ax.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
        ax.set(title=METRIC_TITLES[metric], xlabel="the study's run", ylabel="ours")
    shown = [name for name in machines["detector"].unique() if name != "random"]
    family_legend(figure, shown, more=[Line2D([], [], **floor)], ncols=4, **BELOW)
    return figure


@styled
def errors_by_size(sizes: pd.DataFrame) -> Figure:
    """Forecast errors of each network over its number of parameters (`generalisation.summary`).

    A hollow mark is the error on learned rows, a full one that on later rows; the line between is
    what a network loses on rows that it did not see.
    """
    if sizes.empty:
        return note("No forecast errors: none was run under the study's protocol, or all failed.")
    figure, ax = canvas(width=8, height=4)
    for name, line in sizes.iterrows():
        look, x = {"color": colour(name)}, line["parameters"]
        ax.plot([x, x], [line["seen"], line["unseen"]], lw=1, **look)
        ax.scatter(x, line["seen"], s=45, facecolors="white", edgecolors=look["color"], zorder=3)
        ax.scatter(x, line["unseen"], s=45, zorder=3, **look)
        place = (x, line[["seen", "unseen"]].max())
        text = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        ax.annotate(title(name), place, (0, 7), **text)
    ax.axhline(1, color="#999999", ls="--", lw=1, zorder=1, label="the last value")
    ring = {"s": 45, "edgecolors": "black", "label": "rows that it learned from"}
    ax.scatter([], [], facecolors="white", **ring)
    ax.scatter([], [], s=45, color="black", label="later rows of the training half")
    ax.set_xscale("log")
    ax.margins(x=0.15, y=0.15)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="parameters (log scale)", ylabel="squared error, as a share of the last value's")
    figure.legend(ncols=3, fontsize=8, **BELOW)
    return figure
