"""Pictures of deployment: an alarm explained, what a live row costs, what smaller models keep."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.report.names import OWN, SEEN, STEP, UNSEEN, colour, title
from lmmoe.report.plots import style
from lmmoe.report.plots.style import EVENT, canvas, log_scale, named_ticks, shade_events, styled

if TYPE_CHECKING:
    from lmmoe.report.deployment import Day, Explained

KINDS = {
    "as it is": "#000000",
    "pruning": "#D55E00",
    "distillation": "#009E73",
    "design": "#0072B2",
    "int8": "#CC79A7",
    "other arithmetic": "#56B4E9",
    "control": "#7F7F7F",
}
LINES = {
    UNSEEN: ("#0072B2", "-", "o"),
    SEEN: ("#0072B2", "--", "D"),
    OWN: ("#009E73", "-", "s"),
    "MTSExample": ("#D55E00", "-", "^"),
    "random": ("#7F7F7F", ":", "x"),
}


@styled
def alarm(day: "Day", explained: "Explained | None", series: Series) -> Figure:
    """A day of live scores with its alarms; which channels opened one, forecast against observed.

    Above: score, threshold (dashed), labelled events (shaded), alarms (red). Below, for the alarm
    explained: shares of the score by channel, and the first channels around the row it opened in.
    """
    count = 0 if explained is None else explained.observed.shape[1]
    figure = Figure(figsize=(10, 2.6 + 1.05 * count))
    grid = figure.add_gridspec(1 + count, 2, width_ratios=[1, 2.2], height_ratios=[2, *[1] * count])
    ax = figure.add_subplot(grid[0, :])
    unit = series.rows_per_day or 1
    ax.plot(np.arange(day.start, day.end) / unit, day.scores, color=colour(day.detector), lw=0.7)
    ax.axhline(day.threshold, color="black", ls="--", lw=0.9)
    shade_events(ax, series, start=day.start, stop=day.end)
    log_scale(ax)
    top = ax.get_ylim()[1]
    for first, last in day.alarms:
        ax.hlines(top, first / unit, (last + 1) / unit, color=EVENT, lw=5)
        ax.axvline(first / unit, color=EVENT, lw=0.6)
    label = "test half (days)" if series.rows_per_day else "test half (rows)"
    words = f"a day of {series.entity}: threshold dashed, events shaded, alarms red"
    ax.set(xlabel=label, ylabel="live score", title=words)
    if explained is None:
        return figure
    bars = figure.add_subplot(grid[1:, 0])
    shares = explained.shares[::-1]
    bars.barh(list(shares.index), 100 * shares, color="#0072B2")
    bars.tick_params(axis="y", labelsize=8)
    bars.set(xlabel="share of the score (%)", title=f"the alarm of row {explained.row:,}")
    for number, channel in enumerate(explained.observed):
        ax = figure.add_subplot(grid[1 + number, 1])
        ax.plot(explained.observed[channel], color="black", lw=1, label="observed")
        ax.plot(explained.forecast[channel], color="#D55E00", lw=1, label="forecast")
        ax.axvline(0, color=EVENT, lw=1)
        ax.set_ylabel(channel, fontsize=7)
        ax.tick_params(labelbottom=number == count - 1)
        if number == 0:
            ax.legend(fontsize=7, loc="upper left", ncols=2)
    ax.set_xlabel("rows from the alarm")
    return figure


@styled
def steps(table: pd.DataFrame) -> Figure:
    """Time of a row that comes alone, and bytes of model and state, a line per detector and way."""
    good = table[table["error"].isna()]
    good = good.sort_values("p50_processor_ms", ascending=False, kind="stable")
    figure, (left, right) = canvas(width=10, height=1.3 + 0.24 * len(good), ncols=2, sharey=True)
    places, own = np.arange(len(good)), [colour(name) for name in good["detector"]]
    middle, high = good["p50_processor_ms"], good["p99_processor_ms"]
    left.hlines(places, middle, high, color=own, lw=1.5, alpha=0.5)
    left.scatter(middle, places, color=own, s=24, zorder=3)
    left.scatter(high, places, color="white", edgecolor=own, s=14, zorder=3)
    for column, marker in (("model_bytes", "s"), ("state_bytes", "o")):
        right.scatter(good[column] / 1000, places, color=own, marker=marker, s=20)
        right.scatter([], [], color="0.5", marker=marker, s=20, label=column.removesuffix("_bytes"))
    for ax in (left, right):
        log_scale(ax, "x")
    named_ticks(left, list(good["detector"]), fontsize=7)
    ways = zip(good["detector"], good["way"], strict=True)
    left.set_yticklabels([title(n) if w == STEP else f"{title(n)}, {w}" for n, w in ways])
    left.set(xlabel="processor time of one row: median (filled) to 99 % (ms)")
    right.set(xlabel="model file, and state of a stream (kB)")
    right.legend(fontsize=7)
    return figure


@styled
def compression(shares: pd.DataFrame) -> Figure:
    """What smaller models keep (`lmmoe.report.compress.kept_shares`): a block of lines per base.

    Bytes left, average precision kept (dotted: what random scores keep), times the base's speed.
    """
    blocks = {base: block[::-1] for base, block in shares.groupby("base", sort=False)}
    sizes = [len(block) for block in blocks.values()]
    layout = {"squeeze": False, "sharey": "row", "height_ratios": sizes}
    figure, axes = canvas(len(sizes), height=1.2 + 0.25 * sum(sizes), ncols=3, **layout)
    for row, (base, block) in zip(axes, blocks.items(), strict=True):
        places, paint = np.arange(len(block)), block["kind"].map(KINDS)
        panels = {f"bytes left of {base}'s (%)": 100 * block["bytes"]}
        panels["average precision kept (%)"] = 100 * block["average_precision"]
        panels[f"times the speed of {base}"] = block["speed"]
        for ax, (label, values) in zip(row, panels.items(), strict=True):
            ax.grid(axis="y", alpha=0.4)
            ax.scatter(values, places, color=paint, s=26, zorder=3)
            ax.set_xlabel(label)
        row[0].set_yticks(places, [title(name) for name in block.index], fontsize=7)
        row[1].axvline(100 * block.loc["random", "average_precision"], color="0.5", ls=":", lw=1)
        row[1].set_xlim(0, 108 * block["average_precision"].max())
        log_scale(row[0], "x")
        log_scale(row[2], "x")
    kinds = [kind for kind in KINDS if kind in set(shares["kind"])]
    marks = [axes[0, 0].scatter([], [], color=KINDS[kind], s=26, label=kind) for kind in kinds]
    figure.legend(handles=marks, loc="outside lower center", ncols=7, fontsize=8)
    return figure


@styled
def newcomers(means: pd.DataFrame) -> Figure:
    """Quality and normal rows in alarm on a machine never seen, by how much it was learned from.

    ``means`` is `lmmoe.report.new_machines.means`.
    """
    if means.empty:
        return style.note("Too few machines of the same channels: none can be held out.")
    order = list(dict.fromkeys(means["learned"]))
    figure, axes = canvas(width=10, height=3.4, ncols=2)
    panels = (
        ("average_precision", "average precision (mean)", 1),
        ("normal_share", "normal rows in alarm (%, mean)", 100),
    )
    for ax, (column, label, factor) in zip(axes, panels, strict=True):
        for method, (paint, line, marker) in LINES.items():
            part = means[means["method"] == method].set_index("learned")[column].reindex(order)
            look = {"color": paint, "marker": marker, "ms": 5, "label": title(method)}
            ax.plot(order, factor * part, line, **look)
        ax.set(xlabel="learned from the machine's", ylabel=label)
        ax.set_ylim(bottom=0)
    axes[0].set_title(f"a machine never seen ({means['entities'].iloc[0]} tried)")
    axes[1].set_title("at a budget of one alarm a day")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
