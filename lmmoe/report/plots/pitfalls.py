"""Pictures of the pitfalls (`lmmoe.report.pitfall_tables`)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.metrics import alarms, best_f1
from lmmoe.report import names
from lmmoe.report.names import METRIC_TITLES, colour
from lmmoe.report.plots import style
from lmmoe.report.plots.style import canvas, styled
from lmmoe.segments import runs

NONE = "No labelled events: no pitfall can be shown with them."


@styled
def ranking(gains: pd.DataFrame) -> Figure:
    """What each pitfall gives to each detector, and how often it changes their order.

    The pitfall with the highest mean gain stands on top; thin lines are 95 % bootstrap intervals
    over entities.
    """
    if gains.empty:
        return style.note(NONE)
    order = gains.groupby(["mistake", "number"])["gain"].mean().sort_values(kind="stable").index
    names, rows = order.get_level_values("mistake"), np.arange(len(order))
    layout = {"ncols": 2, "sharey": True, "width_ratios": [3, 1]}
    figure, (ax, moved) = canvas(height=1.4 + 0.36 * len(order), **layout)
    ax.axvline(0, color="#999999", lw=0.8)
    detectors = list(gains["detector"].unique())
    for place, name in enumerate(detectors):
        part = gains[gains["detector"] == name].set_index("mistake").reindex(names)
        levels = rows + 0.2 * ((len(detectors) - 1) / 2 - place)
        ax.hlines(levels, part["low"], part["high"], color=colour(name), lw=1, alpha=0.6)
        ax.scatter(part["gain"], levels, color=colour(name), s=18, zorder=3)
    changes = gains.groupby("mistake")["order_changes"].first().reindex(names)
    bars = moved.barh(rows, changes, color="#BBBBBB", height=0.6)
    moved.bar_label(bars, [f" {share:.0%}" for share in changes], fontsize=7)
    ax.set_yticks(rows, [f"{name}  ({number})" for name, number in order])
    ax.set(ylim=(-0.6, len(order) - 0.4), xlabel="gain: number after the pitfall - before")
    ax.set_title("what each pitfall gives")
    moved.set(xlim=(0, 1.25), xlabel="share of resamples", title="order changes")
    moved.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for level in rows[1::2]:
        for each in (ax, moved):
            each.axhspan(level - 0.5, level + 0.5, color="#F4F4F4", zorder=0, lw=0)
    return _with_legend(figure, detectors)


def _with_legend(figure: Figure, detectors: list[str]) -> Figure:
    dots = [Line2D([], [], color=colour(d), label=names.title(d), marker="o") for d in detectors]
    figure.legend(handles=dots, loc="outside lower center", ncols=len(dots), fontsize=8)
    return figure


@styled
def sweeps(settings: pd.DataFrame, pitfalls: pd.DataFrame) -> Figure:
    """How the number moves as a pitfall grows, for those of the catalogue that have an ``axis``."""
    shown = pitfalls[pitfalls.index.isin(settings["mistake"])]
    if shown.empty:
        return style.note(NONE)
    rows = -(-len(shown) // 3)
    figure, axes = canvas(rows, height=0.5 + 2.5 * rows, ncols=3, squeeze=False)
    for ax, (name, about) in zip(axes.flat, shown.iterrows(), strict=False):
        part = settings[settings["mistake"] == name]
        sizes = pd.to_numeric(part["setting"], errors="coerce")
        if sizes.isna().all():  # steps, not sizes
            sizes = part.groupby("detector").cumcount()
            ax.set_xticks(sorted(sizes.unique()))
        for detector, line in part.assign(size=sizes).dropna().groupby("detector", sort=False):
            line = line.sort_values("size")
            ax.plot(line["size"], line["value"], color=colour(detector), marker="o", ms=3)
        metric = about["metric"] if about["metric"] == "best_f1" else about["reported"]
        metric = METRIC_TITLES.get(metric, "F1") if about["number"] else "F1"
        number = f" ({about['number']})" if about["number"] else ""
        ax.set_title(f"{name}{number}", fontsize=9)
        ax.set(ylabel=metric, ylim=(0, None))
        ax.set_xlabel(about["axis"], fontsize=7)
        if sizes.min() > 0 and sizes.max() > 20 * sizes.min():
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    return _with_legend(figure, list(settings["detector"].unique()))


@styled
def adjustment(series: Series, scores: Floats, detector: str = "random") -> Figure:
    """The longest event: what a detector flags, and what point adjustment counts as flagged.

    At the threshold that is best after adjustment, over the whole test half, whose two F1s are
    named.
    """
    if not series.events or series.labels.all():
        return style.note(NONE)  # without a normal row there is no false alarm either
    best = best_f1(labels=series.labels, scores=scores, adjust="point")
    below = np.nextafter(best.threshold, -np.inf)
    plain = alarms(labels=series.labels, scores=scores, threshold=below).f1
    start, end = max(series.events, key=lambda event: event[1] - event[0])
    margin = max(int(0.4 * (end - start)), 10)
    rows = np.arange(max(start - margin, 0), min(end + margin, len(scores)))
    flagged = scores > below
    counted = flagged.copy()
    for first, last in series.events:
        counted[first:last] |= flagged[first:last].any()
    figure, (ax, strip) = canvas(2, height=3.2, sharex=True, height_ratios=[3, 1])
    place, unit = style.time_axis(series, rows)
    for each in (ax, strip):
        style.shade_events(each, series, start=int(rows[0]), stop=int(rows[-1]) + 1)
    ax.plot(place, scores[rows], color=colour(detector), lw=0.8)
    ax.axhline(best.threshold, color="black", ls="--", lw=0.8)
    ax.scatter(place[flagged[rows]], scores[rows][flagged[rows]], color="black", s=14, zorder=3)
    shown = f"{names.title(detector)} on {series.entity}"
    ax.set(ylabel="score", title=f"{shown}: an event (shaded), flagged rows (dots)")
    scale = series.rows_per_day or 1
    for level, (bits, shade) in enumerate(((flagged, "black"), (counted, style.EVENT))):
        spans = [((rows[0] + a) / scale, (b - a) / scale) for a, b in runs(bits[rows])]
        strip.broken_barh(spans, (-level - 0.3, 0.6), color=shade, lw=1)
    texts = [f"as flagged: F1 {plain:.2f}", f"after adjustment: F1 {best.f1:.2f}"]
    strip.set_yticks([0, -1], texts)
    strip.set(ylim=(-1.6, 0.6), xlabel=f"{unit} of the test half")
    return figure
