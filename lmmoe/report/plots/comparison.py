"""Pictures that set detectors, variants of one, or ways of judging them, side by side."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lmmoe.data.series import Floats, Series
from lmmoe.report.names import COLOURS, METRIC_TITLES, NON_CAUSAL, colour, detector_of, title
from lmmoe.report.plots import style
from lmmoe.report.plots.data import lanes
from lmmoe.report.plots.style import canvas, family_legend, labelled_only, named_ticks, styled

# Okabe and Ito's colours, as names.VERDICTS; grey for what cannot be tested.
VERDICT_COLOURS = ["#009E73", "#56B4E9", "#D55E00", "#CC79A7", "#BBBBBB"]
CHANCE = {"color": colour("random"), "ls": ":", "lw": 1.2}
QUALITY_AGAINST = {
    "train_seconds": "seconds to train on one entity (log scale)",
    "microseconds_per_row": "microseconds to score one row (log scale)",
}
NO_PITFALL = "No labelled events: no pitfall can be shown with them."


def _floor(ax: Axes, values: pd.Series) -> list[Line2D]:
    """Draw what random scores reach, where they were run; give the line for the legend."""
    if "random" not in values:
        return []
    ax.axvline(values["random"], zorder=0, **CHANCE)
    return [Line2D([], [], label="random scores: the floor", **CHANCE)]


@styled
@labelled_only
def forest(honest: pd.DataFrame) -> Figure:
    """Mean average precision of every detector with its bootstrap interval (`tables.honest`).

    The dotted line is the mean of random scores, the floor. To the right: runs, and entities.
    """
    order = honest.dropna(subset="average_precision").sort_values("average_precision")
    mean, levels, paint = order["average_precision"], range(len(order)), order.index.map(colour)
    figure, ax = canvas(width=8, height=max(2.5, 1.3 + 0.24 * len(order)))
    bounds = order["average_precision_low"], order["average_precision_high"]
    ax.hlines(levels, *bounds, color=paint, lw=1.6)
    ax.scatter(mean, levels, color=paint, s=30, zorder=3)
    named_ticks(ax, list(order.index), fontsize=8)
    behind = zip(mean, order["runs"], order["entities"], strict=True)
    right = ax.secondary_yaxis("right")
    right.set_yticks(levels, [f"{x:.3f}   {n:.0f} / {e:.0f}" for x, n, e in behind], fontsize=7)
    right.tick_params(length=0)
    ax.set(xlim=(0, None), ylim=(-0.6, len(order) - 0.4), xlabel="average precision")
    ax.grid(axis="x", alpha=0.25)
    ax.set_title("means and 95 % bootstrap intervals (right: mean, runs / entities)")
    family_legend(figure, order.index, more=_floor(ax, mean), ncols=3)
    return figure


@styled
@labelled_only
def heatmap(by_entity: pd.DataFrame) -> Figure:
    """Average precision of every detector (columns) on every entity (rows), means at the bottom."""
    import seaborn as sns  # with scipy.stats: a second, for a picture of its own

    table = pd.concat([by_entity, by_entity.mean().to_frame("mean").T])
    figure, ax = canvas(width=2.6 + 0.34 * table.shape[1], height=1.6 + 0.24 * len(table))
    few = table.shape[1] <= 20  # more numbers would be too small to read
    look = {"annot": few, "cbar": not few, "fmt": ".2f", "annot_kws": {"size": 6}}
    sns.heatmap(table, ax=ax, cmap="crest", vmin=0, vmax=1, **look)
    ax.set_facecolor("#E0E0E0")
    ax.axhline(len(by_entity), color="white", lw=3)
    ax.tick_params(length=0, labelsize=7, axis="both")
    named_ticks(ax, list(table), axis="x", start=0.5, rotation=90)
    gaps = " (grey: no result)" if by_entity.isna().any(axis=None) else ""
    ax.set(title=f"average precision on each entity{gaps}", xlabel="", ylabel="")
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
    hits, paints = found[names].to_numpy()[order].T, to_rgba_array([colour(n) for n in names])
    picture = np.where(hits[..., None], paints[:, None], 1.0)
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    named_ticks(ax, names, fontsize=7)
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(names)), map("{:.0%}".format, found[names].mean()), fontsize=7)
    for axis in (ax, right):
        axis.tick_params(axis="y", length=0)
    ax.set_xticks([])
    ax.set_xlabel(f"labelled events: {len(order)}, shortest first (coloured: found)")
    family_legend(figure, names, ncols=5)
    return figure


@styled
@labelled_only
def model_or_scoring(table: pd.DataFrame, own: str, shared: str) -> Figure:
    """Each model under its own scoring (hollow) and the shared one (filled), the best on top.

    ``table`` has average precision, detectors by scorings (`rescoring.summary`), of which ``own``
    and ``shared`` are two columns; small dots are the others. The dotted line is random scores.
    """
    names = list(table.index.drop("random", errors="ignore")[::-1])
    figure, ax = canvas(width=8, height=1.6 + 0.26 * len(names))
    for level, name in enumerate(names):
        line, look = table.loc[name], {"color": colour(name)}
        others = line.drop([own, shared])
        ax.scatter(others, [level] * len(others), s=7, alpha=0.4, lw=0, **look)
        ax.plot([line[own], line[shared]], [level, level], lw=2, alpha=0.4, **look)
        for scoring, face in ((own, "white"), (shared, colour(name))):
            ring = {"facecolor": face, "edgecolor": colour(name)}
            ax.scatter(line[scoring], level, s=34, zorder=3, **ring)
    ax.set(xlabel="average precision", ylim=(-0.6, len(names) - 0.4))
    ax.grid(axis="x", alpha=0.25)
    named_ticks(ax, names, fontsize=8)
    more, dot = _floor(ax, table[own]), {"marker": "o", "ls": "", "color": "#444444"}
    more += [
        Line2D([], [], ms=5, label="its own scoring", markerfacecolor="white", **dot),
        Line2D([], [], ms=5, label=shared, **dot),
        Line2D([], [], ms=2.5, label="other scorings", **dot),
    ]
    family_legend(figure, names, more=more, ncols=4)
    return figure


@styled
def loss(
    series: Series, event: tuple[int, int], ranks: Mapping[str, Floats], channels: list[int]
) -> Figure:
    """An event that counts against a detector (`views.loss`): scores of two, and some channels."""
    places, around = [0] * len(ranks) + channels, 60 + 3 * (event[1] - event[0])
    figure, axes, rows, time = lanes(series, event, places, around=around)
    lowest = 0.5 / (series.labels == 0).sum()
    for ax, (name, values) in zip(axes, ranks.items(), strict=False):
        ax.plot(time, values[rows], color=colour(name), lw=0.9)
        ax.set(yscale="log", ylim=(1, lowest), ylabel=name.replace(" ", "\n"))
        ax.set_yticks([1, 0.1, 0.01, 0.001], ["100 %", "10 %", "1 %", "0.1 %"], fontsize=6)
        ax.yaxis.labelpad = 22  # beside them
        ax.minorticks_off()
    for ax, channel in zip(axes[len(ranks) :], channels, strict=True):
        ax.plot(time, series.test[rows, channel], color="#37474F", lw=0.9)
    axes[0].set_title("share of normal rows with as high a score; channels (shaded: events)")
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


@styled
@labelled_only
def quality_and_cost(
    table: pd.DataFrame,
    *,
    mark: str = "",
    against: Collection[str] = tuple(QUALITY_AGAINST),
) -> Figure:
    """Average precision of each detector against what it costs to train and to score.

    ``table`` has a row per detector with ``average_precision`` and the columns ``against`` which it
    is drawn, a panel each. The stepped line is the Pareto front of those with live alarms, without
    controls. A ring may ``mark`` one. Those with fewer ``entities`` are left out.
    """
    if "entities" in table:
        table = table[table["entities"] == table["entities"].max()]
    many = len(table) > 8
    size = {"width": 10 if many else 7.5, "height": (5 if many else 3.4) * len(against) + 0.3}
    figure, axes = canvas(len(against), squeeze=False, **size)
    ring = {"marker": "o", "ls": "", "ms": 5, "color": "#444444", "mfc": "white"}
    more = [Line2D([], [], label="hollow: not available live", **ring)]
    family_legend(figure, table.index, more=more, ncols=3)
    axes[0, 0].set_title("quality against cost (line: Pareto front of those available live)")
    places = {}
    for ax, cost in zip(axes.flat, against, strict=True):
        known = table.dropna(subset=["average_precision", cost])
        if known.empty:  # matplotlib refuses an empty logarithmic axis
            continue
        x, y = known[cost].clip(lower=1e-3), known["average_precision"]
        edges = np.array([colour(name) for name in known.index])
        live = ~known.index.map(detector_of).isin(NON_CAUSAL)
        sizes = np.where(known.index == "LightMMoE", 70, 32)
        ax.scatter(x, y, sizes, facecolor=np.where(live, edges, "white"), edgecolor=edges, zorder=3)
        chosen = known.index == mark
        ax.scatter(x[chosen], y[chosen], 160, facecolor="none", edgecolor="black", lw=1.5)
        dearer = x[live & (edges != colour("random"))].sort_values()
        best = y[dearer.index].cummax()
        ax.step([*dearer, 3 * x.max()], [*best, best.max()], "#BBB", where="post", lw=1, zorder=1)
        style.log_scale(ax, "x")
        ax.set(xlabel=QUALITY_AGAINST[cost], ylabel=METRIC_TITLES["average_precision"])
        ax.margins(x=0.2, y=0.15)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
        places[ax] = dict(zip(known.index, zip(x, y, strict=True), strict=True))
    for ax, dots in places.items():
        style.label_dots(ax, dots)
    return figure


@styled
def differences(table: pd.DataFrame) -> Figure:
    """Draw `lmmoe.report.ablation.by_variant`: what every variant changes, with 95 % intervals.

    Left average precision, right the forecast error. Grey: the interval holds the full model.
    """
    known = table[table["average_precision_difference"].notna() & (table.index != "random")]
    if known.empty:
        return style.note("No variant beside the full model has results: nothing to compare.")
    groups = known["group"]
    shades = dict(zip(groups.unique(), COLOURS, strict=False))
    # A line's room above each group.
    levels = np.arange(len(known)) + 1.3 * (groups.ne(groups.shift()).cumsum().to_numpy() - 1)
    layout = {"ncols": 2, "sharey": True, "width_ratios": [1.4, 1]}
    figure, (left, right) = canvas(width=8, height=1.3 + 0.175 * levels[-1], **layout)
    for ax, metric, neutral in ((left, "average_precision", 0), (right, "forecast_error", 1)):
        middle, low, high = known.filter(regex=f"^{metric}_").to_numpy(dtype=float).T
        sure = (low > neutral) | (high < neutral)
        look = {"color": np.where(sure, groups.map(shades), "#B0B0B0"), "zorder": 3}
        ax.hlines(levels, low, high, lw=1.6, **look)
        ax.scatter(middle, levels, s=18, **look)
        ax.axvline(neutral, color="#333333", lw=0.8, ls=":")  # the full model
        ax.grid(axis="x", alpha=0.25)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set(major_locator=MaxNLocator(5), major_formatter=StrMethodFormatter("{x:g}"))
    left.set(xlabel="average precision: variant - full model", title="detection (right: better)")
    right.set(xlabel="forecast error: variant / full model", title="forecasting (left: better)")
    low, high = right.get_xlim()
    if high > 6 * low > 0:
        style.log_scale(right, "x")
    left.set_yticks(levels, [title(name) for name in known.index], fontsize=7.5)
    left.set_ylim(levels[-1] + 0.8, levels[0] - 2)
    look = {"weight": "bold", "fontsize": 8, "ha": "right", "va": "center"}
    look["transform"] = left.get_yaxis_transform()
    for group, level in pd.Series(levels, groups).groupby(level=0).first().items():
        left.text(-0.01, level - 1, group, color=shades[group], **look)
    return figure


@styled
def gains(table: pd.DataFrame) -> Figure:
    """What each pitfall gives to each detector, the most on top; right, how often orders change."""
    if table.empty:
        return style.note(NO_PITFALL)
    means = table.groupby(["mistake", "number"])[["gain", "order_changes"]].mean()
    means = means.sort_values("gain", kind="stable")
    figure, ax = canvas(height=1.4 + 0.36 * len(means))
    ax.axvline(0, color="#999999", lw=0.8)
    rows, numbers = np.arange(len(means)), means.index.get_level_values("number")
    for place, (name, part) in enumerate(table.groupby("detector", sort=False)):
        part, levels = part.set_index("number").reindex(numbers), rows - 0.2 * place
        ax.hlines(levels, part["low"], part["high"], color=colour(name), lw=1, alpha=0.6)
        ax.scatter(part["gain"], levels, color=colour(name), s=18, label=title(name), zorder=3)
    ax.set_yticks(rows - 0.3, [f"{name}  ({number})" for name, number in means.index])
    ax.set(title="what each pitfall gives", xlabel="gain: number after the pitfall - before")
    shares = ax.secondary_yaxis("right")
    shares.set_yticks(rows - 0.3, [f"{share:.0%}" for share in means["order_changes"]])
    shares.set_ylabel("order changes")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return figure


@styled
def sweeps(settings: pd.DataFrame, pitfalls: pd.DataFrame) -> Figure:
    """How the number moves as a pitfall grows, for those of the catalogue that have an ``axis``."""
    if settings.empty:
        return style.note(NO_PITFALL)
    shown = pitfalls[pitfalls.index.isin(settings["mistake"])]
    figure, axes = canvas(4, width=8, height=9.5, ncols=2)
    for ax, (name, about) in zip(axes.flat, shown.iterrows(), strict=False):
        part = settings[settings["mistake"] == name]
        sizes = pd.to_numeric(part["setting"], errors="coerce")
        if sizes.isna().all():  # steps, not sizes
            sizes = part.groupby("detector").cumcount()
        for detector, line in part.assign(size=sizes).dropna().groupby("detector"):
            look = {"color": colour(detector), "label": title(detector), "marker": "o", "ms": 3}
            ax.plot(line["size"], line["value"], **look)
        one_metric = about["metric"] == about["reported"]
        ax.set(ylabel=METRIC_TITLES[about["metric"]] if one_metric else "F1", ylim=(0, None))
        ax.set_title(f"{name} ({about['number']})", fontsize=9)
        ax.set_xlabel(about["axis"], fontsize=7)
        ax.locator_params(axis="x", nbins=5)
        if sizes.max() > 20 * sizes.min() > 0:
            style.log_scale(ax, "x")
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    figure.legend(handles=axes.flat[0].lines, loc="outside lower center", ncols=4, fontsize=8)
    return figure
