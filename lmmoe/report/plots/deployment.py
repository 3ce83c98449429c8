"""Pictures of deployment: an alarm explained, and what smaller models keep."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lmmoe.data import Series
from lmmoe.report.deployment import Incident
from lmmoe.report.names import COLOURS, colour, title
from lmmoe.report.plots.style import EVENT, canvas, log_scale, shade_events, styled, time_axis


@styled
def alarm(found: Incident, series: Series) -> Figure:
    """A day of scores with its alarms, and which channels opened one, observed and forecast.

    Above: score, level (dashed), labelled events (shaded), alarms (red; the triangle is explained).
    Below: shares of the score by channel in that row, and the first channels around it.
    """
    names, day = found.shares.index[:3], slice(found.start, found.end)
    figure = Figure(figsize=(10, 2.6 + 1.05 * len(names)))
    places = [["day", "day"], *(["shares", number] for number in range(len(names)))]
    ratios = {"width_ratios": [1, 2.2], "height_ratios": [2] + [1] * len(names)}
    axes = figure.subplot_mosaic(places, **ratios)
    ax, (time, unit) = axes["day"], time_axis(series, np.arange(len(found.scores) + 1))
    ax.plot(time[:-1][day], found.scores[day], color=colour("LightMMoE"), lw=0.7)
    ax.plot(time[:-1][day], found.levels[day], color="black", ls="--", lw=0.9)
    shade_events(ax, series, start=day.start, stop=day.stop)
    log_scale(ax)
    spans = [(time[first], time[end] - time[first]) for first, end in found.alarms]
    ax.broken_barh(spans, (0.94, 0.05), transform=ax.get_xaxis_transform(), color=EVENT)
    ax.vlines([first for first, _ in spans], *ax.get_ylim(), color=EVENT, lw=0.6, zorder=0)
    ax.plot(time[found.row], found.scores[found.row], "v", color=EVENT, ms=6)
    ax.set_title(f"a day of {series.entity} (dashed: level; shaded: events; red: alarms)")
    ax.set(xlabel=f"test half ({unit})", ylabel="score", xlim=time[[found.start, found.end]])
    ax = axes["shares"]
    ax.barh(found.shares.index[::-1], 100 * found.shares[::-1], color="#0072B2")
    ax.set(xlabel="share of the score (%)", title=f"row {found.row:,}")
    for number, channel in enumerate(names):
        for name, paint in (("observed", "black"), ("forecast", "#D55E00")):
            axes[number].plot(found.near[name, channel], color=paint, lw=1, label=name)
        axes[number].axvline(0, color=EVENT, lw=1)
        axes[number].set_ylabel(channel, fontsize=7)
        axes[number].tick_params(labelbottom=number == len(names) - 1)
    axes[0].legend(fontsize=7, loc="upper left", ncols=2)
    axes[len(names) - 1].set_xlabel("rows from the alarm")
    return figure


@styled
def compression(shares: pd.DataFrame) -> Figure:
    """What smaller models keep (`lmmoe.report.compress.kept_shares`): a block of lines per base.

    Bytes left, average precision kept (dotted: what random scores keep), times the base's speed.
    """
    blocks = {base: block[::-1] for base, block in shares.groupby("base", sort=False)}
    sizes = [len(block) for block in blocks.values()]
    kinds = dict(zip(shares["kind"].unique(), COLOURS, strict=False))
    layout = {"squeeze": False, "sharey": "row", "height_ratios": sizes}
    figure, axes = canvas(len(sizes), height=1.2 + 0.25 * sum(sizes), ncols=3, **layout)
    for row, (base, block) in zip(axes, blocks.items(), strict=True):
        kept = 100 * block["average_precision"]
        panels = {f"bytes left of {base}'s (%)": 100 * block["bytes"]}
        panels |= {"average precision kept (%)": kept, f"times the speed of {base}": block["speed"]}
        for ax, (label, values) in zip(row, panels.items(), strict=True):
            ax.grid(axis="y", alpha=0.4)
            ax.scatter(values, range(len(block)), color=block["kind"].map(kinds), s=26, zorder=3)
            ax.set_xlabel(label)
        row[0].set_yticks(range(len(block)), map(title, block.index), fontsize=7)
        if kept.notna().any():  # something is labelled
            row[1].axvline(kept["random"], color="0.5", ls=":", lw=1)
            row[1].set_xlim(0, 1.08 * kept.max())
        log_scale(row[0], "x")
        log_scale(row[2], "x")
    for kind, shade in kinds.items():
        row[0].scatter([], [], color=shade, s=26, label=kind)
    figure.legend(loc="outside lower center", ncols=7, fontsize=8)
    return figure
