"""Pictures of the mistakes (`lmmoe.report.pitfalls`, `lmmoe.report.tables.pitfalls`)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from lmmoe.data import Series
from lmmoe.data.series import Floats
from lmmoe.metrics import alarms, best_f1
from lmmoe.report.pitfalls import MISTAKES, Mistake
from lmmoe.report.pitfalls.averages import SUBJECT
from lmmoe.report.plots.style import (
    EVENT,
    METRIC_TITLES,
    canvas,
    colour,
    note,
    shade_events,
    styled,
    time_axis,
    title,
)
from lmmoe.segments import runs

NONE = "No labelled events: no mistake can be made with them."
STEP = 0.2  # between the detectors of one row
AROUND = 0.4  # lengths of the event that are shown before and after it


@styled
def ranking(made: pd.DataFrame) -> Figure:
    """What each mistake gives to each detector, and how often it changes their order.

    ``made`` is `tables.pitfalls.table`. The mistake with the highest mean gain stands on top;
    thin lines are 95 % bootstrap intervals over entities.
    """
    if made.empty:
        return note(NONE)
    gains = made.groupby("mistake")["gain"].mean().sort_values(kind="stable")
    names, detectors = list(gains.index), list(dict.fromkeys(made["detector"]))
    figure, (ax, moved) = canvas(
        height=1.4 + 0.42 * len(names), ncols=2, sharey=True, width_ratios=[3, 1]
    )
    ax.axvline(0, color="#999999", lw=0.8)
    for place, name in enumerate(detectors):
        part = made[made["detector"] == name].set_index("mistake").reindex(names)
        levels = np.arange(len(names)) + STEP * ((len(detectors) - 1) / 2 - place)
        ax.hlines(levels, part["low"], part["high"], color=colour(name), lw=1, alpha=0.6)
        ax.scatter(part["gain"], levels, color=colour(name), s=18, zorder=3)
    changes = made.groupby("mistake")["order_changes"].first().reindex(names)
    moved.barh(range(len(names)), changes, color="#BBBBBB", height=0.6)
    for level, share in enumerate(changes):
        moved.text(share, level, f" {share:.0%}", va="center", fontsize=7)
    numbers = made.groupby("mistake")["number"].first()
    marks = {one.title: "*" for one in MISTAKES if one.by_others}
    labels = [f"{name}  ({numbers[name]}){marks.get(name, '')}" for name in names]
    ax.set_yticks(range(len(names)), labels)
    ax.set(ylim=(-0.6, len(names) - 0.4), xlabel="gain: number after the mistake - before")
    moved.set(xlim=(0, 1.2), xlabel="resampled fleets in which\nthe detectors' order changes")
    moved.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_title("what each mistake gives")
    moved.set_title("how often it reorders")
    if marks.keys() & set(names):
        text = f"* {SUBJECT} is flattered where the others fall"
        ax.text(0.99, 0.01, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=7)
    for each in (ax, moved):
        for level in range(1, len(names), 2):
            each.axhspan(level - 0.5, level + 0.5, color="#F4F4F4", zorder=0, lw=0)
    _legend(figure, detectors)
    return figure


def _legend(figure: Figure, detectors: list[str]) -> None:
    dots = {"marker": "o", "ls": "", "ms": 5}
    shown = [Line2D([], [], color=colour(name), label=title(name), **dots) for name in detectors]
    figure.legend(handles=shown, loc="outside lower center", ncols=len(detectors), fontsize=8)


@styled
def sweeps(tried: pd.DataFrame, mistakes: list[Mistake]) -> Figure:
    """How the number moves as a mistake grows, for the mistakes that have a size.

    ``tried`` is `lmmoe.report.tables.pitfalls.sweeps`.
    """
    shown = [one for one in mistakes if one.axis and (tried["mistake"] == one.title).any()]
    if not shown:
        return note(NONE)
    rows = -(-len(shown) // 3)
    figure, axes = canvas(rows, height=0.5 + 2.5 * rows, ncols=3, squeeze=False)
    for ax, one in zip(axes.flat, shown, strict=False):
        _sweep(ax, tried[tried["mistake"] == one.title], one)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    _legend(figure, list(dict.fromkeys(tried["detector"])))
    return figure


def _sweep(ax: Axes, part: pd.DataFrame, one: Mistake) -> None:
    sizes = pd.to_numeric(part["setting"], errors="coerce")
    known = part.assign(size=sizes).dropna(subset=["size", "value"])
    for name, line in known.groupby("detector", sort=False):
        ordered = line.sort_values("size")
        ax.plot(ordered["size"], ordered["value"], color=colour(name), marker="o", ms=3)
    metric = one.metric if one.metric == "best_f1" else one.reported
    ax.set_title(f"{one.title} ({one.number})", fontsize=9)
    ax.set_xlabel(one.axis, fontsize=7)
    ax.set_ylabel(METRIC_TITLES.get(metric, "F1"))
    ax.set_ylim(bottom=0)
    if sizes.min() > 0 and sizes.max() > 20 * sizes.min():
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.grid(alpha=0.25)


@styled
def adjustment_seen(series: Series, scores: Floats, detector: str = "random") -> Figure:
    """The longest event: what a detector flags, and what point adjustment counts as flagged.

    At the threshold that is best after adjustment, over the whole test half, whose two F1s are
    named.
    """
    if not series.events or series.labels is None or series.labels.all():
        return note(NONE)  # without a normal row there is no false alarm either
    cut = best_f1(labels=series.labels, scores=scores, adjust="point")
    plain = alarms(
        labels=series.labels, scores=scores, threshold=np.nextafter(cut.threshold, -np.inf)
    )
    start, end = max(series.events, key=_length)
    margin = max(int(AROUND * (end - start)), 10)
    rows = np.arange(max(start - margin, 0), min(end + margin, len(scores)))
    place, unit = time_axis(series, rows)
    flagged = scores >= cut.threshold
    counted = flagged.copy()
    for first, last in series.events:
        counted[first:last] |= flagged[first:last].any()
    figure, (ax, strip) = canvas(2, height=3.6, sharex=True, height_ratios=[3, 1])
    for each in (ax, strip):
        shade_events(each, series, start=int(rows[0]), stop=int(rows[-1]) + 1)
    ax.plot(place, scores[rows], color=colour(detector), lw=0.8)
    ax.axhline(cut.threshold, color="black", ls="--", lw=0.8)
    ax.scatter(place[flagged[rows]], scores[rows][flagged[rows]], color="black", s=14, zorder=3)
    ax.set(ylabel="score")
    ax.set_title(f"{title(detector)} on {series.entity}: an event (shaded), flagged rows (dots)")
    kinds = {
        f"as flagged: F1 {plain.f1:.2f}": flagged,
        f"after adjustment: F1 {cut.f1:.2f}": counted,
    }
    scale = series.rows_per_day or 1
    for level, bits in enumerate(kinds.values()):
        spans = [((rows[0] + a) / scale, (b - a) / scale) for a, b in runs(bits[rows])]
        shade = EVENT if level else "black"
        strip.broken_barh(spans, (-level - 0.3, 0.6), color=shade, lw=1)
    strip.set_yticks([0, -1], list(kinds))
    strip.set(ylim=(-1.6, 0.6), xlabel=f"{unit} of the test half")
    return figure


def _length(event: tuple[int, int]) -> int:
    return event[1] - event[0]
